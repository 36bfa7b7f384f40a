//! Has a merged commit reached the cluster? In go the commit, when it was merged and the time now; out
//! comes what the configured probe says. It reports what it was told and compares nothing with git: whether
//! a reported commit contains ours is for the caller to find out.

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::landing::{Landing, Seen};
use super::metrics::SourceError;
use super::sources::Sources;
use crate::layout::Index;
use crate::model::action::RemediationAction;
use crate::model::ids::ObjectId;
use crate::outside::http::{Http, HttpError};
use crate::outside::kube::KubeError;

/// Placeholder for the commit id in a metric query.
const COMMIT: &str = "$commit";
/// Most of a probe's answer that is looked at, bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How to find out.
#[derive(Debug, Clone)]
pub enum SyncProbe {
    /// It takes this long, and nobody reports it.
    FixedWait { wait_s: u32 },
    /// A page that names the commit that is live.
    Http { url: String },
    /// A query that gives at least 1 once the commit is live. `$commit` stands for its id.
    Metric { query: String },
    /// What Argo CD or Flux report in the cluster, and the rollout of the workload.
    Cluster(Landing),
}

/// What a probe is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub commit: &'a ObjectId,
    pub merged_at: Timestamp,
    pub now: Timestamp,
    /// Whose change the commit brought.
    pub record: &'a RemediationAction,
    /// The watched branch.
    pub index: &'a Index,
}

/// What the probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Live since (at the latest) this time.
    Yes(Timestamp),
    /// This other commit is live; ours is too if this one descends from it.
    Reported(ObjectId),
    /// These commits are applied, and this is what runs of them.
    Seen(Seen),
    NotYet,
    /// The probe gave no usable answer; says why.
    Unknown(String),
}

/// The probe could not be asked.
#[derive(Debug, Error)]
pub enum ProbeError {
    #[error("cannot reach the sync probe")]
    Http(#[source] HttpError),
    #[error("cannot query the sync metric")]
    Metric(#[source] SourceError),
    #[error("cannot see in the cluster what is applied")]
    Cluster(#[source] KubeError),
}

impl SyncProbe {
    /// Asks the probe.
    ///
    /// # Errors
    /// [`ProbeError`] when the probe cannot be asked; that is neither yes nor no.
    pub async fn synced(
        &self,
        question: Question<'_>,
        sources: &Sources,
        http: &Http,
    ) -> Result<ProbeAnswer, ProbeError> {
        let Question { commit, merged_at, now, record, index } = question;
        match self {
            Self::FixedWait { wait_s } => {
                let wait = SignedDuration::from_secs(i64::from(*wait_s));
                let due = merged_at.checked_add(wait).unwrap_or(Timestamp::MAX);
                Ok(if now >= due { ProbeAnswer::Yes(due) } else { ProbeAnswer::NotYet })
            }
            Self::Http { url } => {
                let reply = http.get(url, &[], None).await.map_err(ProbeError::Http)?;
                Ok(read_page(reply.status, &reply.body, commit, now))
            }
            Self::Metric { query } => {
                // An object id is hex digits by construction, so it cannot change the query's structure.
                let query = query.replace(COMMIT, commit.as_str());
                let result = sources.instant(&query, now).await.map_err(ProbeError::Metric)?;
                Ok(match (result.value, result.non_empty) {
                    (Some(value), _) if value >= 1.0 => ProbeAnswer::Yes(now),
                    (Some(_), _) | (None, false) => ProbeAnswer::NotYet,
                    (None, true) => ProbeAnswer::Unknown("the sync query has no single finite value".into()),
                })
            }
            Self::Cluster(landing) => {
                let seen = landing.look(record, index).await.map_err(ProbeError::Cluster)?;
                Ok(ProbeAnswer::Seen(seen))
            }
        }
    }
}

fn read_page(status: u16, body: &[u8], commit: &ObjectId, now: Timestamp) -> ProbeAnswer {
    if status != 200 {
        return ProbeAnswer::Unknown(format!("the sync probe answered HTTP {status}"));
    }
    if body.len() > MAX_BODY_BYTES {
        return ProbeAnswer::Unknown(format!("the sync probe answered more than {MAX_BODY_BYTES} bytes"));
    }
    let text = String::from_utf8_lossy(body);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let mut ids: Vec<ObjectId> = words.filter_map(|word| ObjectId::new(word).ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    match <[ObjectId; 1]>::try_from(ids) {
        Ok([id]) if id == *commit => ProbeAnswer::Yes(now),
        Ok([id]) => ProbeAnswer::Reported(id),
        Err(ids) if ids.is_empty() => ProbeAnswer::Unknown("the sync probe's answer names no commit".into()),
        Err(ids) => ProbeAnswer::Unknown(format!("the sync probe's answer names {} commits", ids.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::layout::index;
    use crate::model::fixtures::{at, oid, proposed, target};
    use crate::model::tree::RepoTree;
    use crate::observe::loopback::{Act, http, server};
    use crate::observe::metrics::{InstantResult, MetricSource, RangeResult};
    use crate::outside::clock::OutsideClock;

    #[derive(Debug)]
    struct Fixed(InstantResult, Mutex<String>);

    impl MetricSource for Fixed {
        fn range<'a>(
            &'a self,
            _: &'a str,
            _: Timestamp,
            _: Timestamp,
            _: u32,
        ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
            Box::pin(async { Ok(RangeResult::default()) })
        }
        fn instant<'a>(
            &'a self,
            query: &'a str,
            _: Timestamp,
        ) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
            Box::pin(async move {
                query.clone_into(&mut self.1.lock().unwrap());
                Ok(self.0)
            })
        }
        fn outside_clock(&self) -> Option<OutsideClock> {
            None
        }
    }

    async fn ask(
        probe: &SyncProbe,
        now_s: i64,
        source: &Arc<Fixed>,
        http: &Http,
    ) -> Result<ProbeAnswer, ProbeError> {
        let commit = oid('a');
        let record = proposed("backend-latency", &target("shop/Deployment/backend"), 1, at(0));
        let index = index(&RepoTree::held(oid('b'), BTreeMap::new()));
        let (merged_at, now) = (at(0), at(now_s));
        let question = Question { commit: &commit, merged_at, now, record: &record, index: &index };
        probe.synced(question, &Sources::only(Arc::clone(source) as Arc<dyn MetricSource>), http).await
    }

    fn fixed(non_empty: bool, value: Option<f64>) -> Arc<Fixed> {
        Arc::new(Fixed(InstantResult { non_empty, value }, Mutex::default()))
    }

    #[tokio::test]
    async fn a_fixed_wait_is_over_when_it_is_over() {
        let http = http();
        let probe = SyncProbe::FixedWait { wait_s: 60 };
        let source = fixed(false, None);
        let early = ask(&probe, 59, &source, &http).await.unwrap();
        assert_eq!(early, ProbeAnswer::NotYet);
        let late = ask(&probe, 500, &source, &http).await.unwrap();
        assert_eq!(late, ProbeAnswer::Yes(at(60)));
    }

    #[tokio::test]
    async fn a_metric_says_yes_from_one_upwards_and_unknown_when_it_is_not_one_number() {
        let http = http();
        let probe = SyncProbe::Metric { query: "max(up{revision=\"$commit\"})".into() };
        for (non_empty, value, expected) in [
            (true, Some(1.0), ProbeAnswer::Yes(at(9))),
            (true, Some(3.0), ProbeAnswer::Yes(at(9))),
            (true, Some(0.0), ProbeAnswer::NotYet),
            (false, None, ProbeAnswer::NotYet),
            (true, None, ProbeAnswer::Unknown("the sync query has no single finite value".into())),
        ] {
            let source = fixed(non_empty, value);
            let answer = ask(&probe, 9, &source, &http).await.unwrap();
            assert_eq!(answer, expected);
            assert_eq!(*source.1.lock().unwrap(), format!("max(up{{revision=\"{}\"}})", oid('a')));
        }
    }

    #[tokio::test]
    async fn a_page_is_asked_with_get_and_its_commit_is_handed_back() {
        let (address, serving) = server(vec![Act::Answer(200, oid('b').to_string())]).await;
        let probe = SyncProbe::Http { url: format!("{address}/revision") };
        let answer = ask(&probe, 9, &fixed(false, None), &http()).await.unwrap();
        assert_eq!(answer, ProbeAnswer::Reported(oid('b')));
        assert_eq!(serving.await.unwrap()[0].line, "GET /revision HTTP/1.1");
        let gone = ask(&probe, 9, &fixed(false, None), &http()).await;
        assert!(matches!(gone, Err(ProbeError::Http(_))));
    }

    #[test]
    fn a_page_counts_only_when_it_names_exactly_one_whole_commit_id() {
        let read = |body: &str| read_page(200, body.as_bytes(), &oid('a'), at(9));
        let ours = oid('a');
        assert_eq!(read(&format!("main@sha1:{ours}\n")), ProbeAnswer::Yes(at(9)));
        assert_eq!(read(&format!("{{\"revision\":\"{}\"}}", oid('b'))), ProbeAnswer::Reported(oid('b')));
        for useless in [
            String::new(),
            "ok".into(),
            ours.short().to_owned(),
            format!("x{ours}"),
            format!("{ours}0"),
            ours.as_str().to_uppercase(),
            format!("{ours} {}", oid('b')),
        ] {
            assert!(matches!(read(&useless), ProbeAnswer::Unknown(_)), "{useless}");
        }
        let huge = format!("{ours}{}", " ".repeat(MAX_BODY_BYTES));
        assert!(matches!(read(&huge), ProbeAnswer::Unknown(_)));
        assert!(matches!(read_page(500, ours.as_str().as_bytes(), &ours, at(9)), ProbeAnswer::Unknown(_)));
    }
}
