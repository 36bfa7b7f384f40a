//! Asks the detectors what they know. In go their addresses and the least score of interest; out comes one answer for each:
//! a report that can be used, or why there is none. Who does not answer, answers for another shard, or answers with what it
//! saw long ago is not known, and never calm.

use std::fmt::Debug;

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use thiserror::Error;

use crate::model::anomaly::Score;
use crate::model::shard::{InvalidShard, Shard, ShardReport};
use crate::outside::http::{Http, HttpError};
use crate::outside::secret::Secret;

/// Why a shard is not known.
#[derive(Debug, Error)]
pub enum ShardError {
    #[error("its detector does not answer")]
    Http(#[source] HttpError),
    #[error("its detector answers HTTP {0}")]
    Status(u16),
    #[error("its detector answers with something else; is it the same version?")]
    NotAReport(#[source] serde_json::Error),
    #[error("who answers for it is shard {0}")]
    Another(Shard),
    /// Without its age: these words are also a status and what is said once, and must not change with every look.
    #[error("its detector looked last more than {0} s ago, or by a clock that is as far ahead")]
    Old(u32),
    #[error("there is no such shard")]
    NoShard(#[source] InvalidShard),
}

/// Somebody who answers for every shard.
pub trait ShardSource: Debug + Send + Sync {
    /// One answer for each shard, by ordinal, with everything that scores `floor` or more.
    fn ask(&self, floor: Score, now: Timestamp) -> BoxFuture<'_, Vec<Result<ShardReport, ShardError>>>;
}

/// Detectors over HTTP. The client bounds time and size of every answer.
#[derive(Debug)]
pub struct Detectors {
    pub http: Http,
    /// By ordinal.
    pub urls: Vec<String>,
    pub token: Option<Secret>,
    pub age_max_s: u32,
}

impl ShardSource for Detectors {
    fn ask(&self, floor: Score, now: Timestamp) -> BoxFuture<'_, Vec<Result<ShardReport, ShardError>>> {
        let asked = (0..).zip(&self.urls).map(move |(ordinal, url)| self.ask_one(ordinal, url, floor, now));
        Box::pin(join_all(asked))
    }
}

impl Detectors {
    async fn ask_one(
        &self,
        ordinal: u32,
        url: &str,
        floor: Score,
        now: Timestamp,
    ) -> Result<ShardReport, ShardError> {
        let total = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        let expected = Shard::new(ordinal, total).map_err(ShardError::NoShard)?;
        let (place, floor) = (format!("{url}/api/v1/anomalies"), floor.get().to_string());
        let reply = self.http.get(&place, &[("floor", &floor)], self.token.as_ref()).await;
        let reply = reply.map_err(ShardError::Http)?;
        if reply.status != 200 {
            return Err(ShardError::Status(reply.status));
        }
        let report: ShardReport = serde_json::from_slice(&reply.body).map_err(ShardError::NotAReport)?;
        if report.shard != expected {
            return Err(ShardError::Another(report.shard));
        }
        // One that looks from the future is no better than one that stopped looking.
        let age_s = now.duration_since(report.at).as_secs();
        if age_s.abs() > i64::from(self.age_max_s) {
            return Err(ShardError::Old(self.age_max_s));
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::super::loopback::{Act, http, server};
    use super::*;
    use crate::model::fixtures::{anomaly, at, signal};

    fn report(ordinal: u32, total: u32, looked_s: i64) -> String {
        let scored = [anomaly(signal("backend", "latency_p95"), 0.9, at(looked_s))];
        let shard = Shard::new(ordinal, total).unwrap();
        serde_json::to_string(&ShardReport::new(shard, at(looked_s), Vec::new(), &scored, 1)).unwrap()
    }

    /// What is known when two detectors answer so; the request of the first, too.
    async fn asked(first: Act, second: Act) -> (Vec<Result<ShardReport, ShardError>>, String) {
        let (one, seen) = server(vec![first]).await;
        let (two, _) = server(vec![second]).await;
        let token = Some(Secret::new("hunter2").unwrap());
        let detectors = Detectors { http: http(), urls: vec![one, two], token, age_max_s: 120 };
        let answers = detectors.ask(Score::new(0.8).unwrap(), at(0)).await;
        let seen = seen.await.unwrap().remove(0);
        (answers, format!("{}\n{}", seen.line, seen.head))
    }

    #[tokio::test]
    async fn every_detector_is_asked_with_the_token_and_answers_for_its_own_shard() {
        let (first, second) = (Act::Answer(200, report(0, 2, 0)), Act::Answer(200, report(1, 2, -119)));
        let (answers, seen) = asked(first, second).await;
        assert!(seen.starts_with("GET /api/v1/anomalies?floor=0.8 HTTP/1.1\n"), "{seen}");
        assert!(seen.contains("authorization: bearer hunter2"), "{seen}");
        let known: Vec<_> = answers.iter().map(|it| it.as_ref().unwrap().shard).collect();
        assert_eq!(known, [0, 1].map(|it| Shard::new(it, 2).unwrap()));
    }

    #[tokio::test]
    async fn what_is_no_fresh_word_of_the_right_shard_is_no_word() {
        let bad = [
            (Act::Hang, "does not answer"),
            (Act::Answer(503, "{}".into()), "HTTP 503"),
            (Act::Answer(200, "{}".into()), "something else"),
            (Act::Answer(200, report(1, 2, 0)), "shard 1 of 2"),
            (Act::Answer(200, report(0, 3, 0)), "shard 0 of 3"),
            (Act::Answer(200, report(0, 2, -121)), "more than 120 s ago"),
            (Act::Answer(200, report(0, 2, 121)), "more than 120 s ago"),
        ];
        for (act, why) in bad {
            let (answers, _) = asked(act, Act::Answer(200, report(1, 2, 0))).await;
            let error = answers[0].as_ref().unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
            assert!(answers[1].is_ok(), "{why}: the other one answers");
        }
    }
}
