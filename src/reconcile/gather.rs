//! What a remediator knows from its detectors. In go their answers and the policies, out come anomalies, and for every
//! trigger whose detector is not heard the reason to hold: nobody knows whether it holds, so nothing is opened, closed or
//! merged on that ground. Whose fault a trouble is, is asked of its own windows: a score does not show what changed and when.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::evidence::{Evidence, Observer};
use super::in_force::signals_of;
use super::report::Held;
use super::turn::Turn;
use crate::decide;
use crate::model::action::{Purpose, RemediationAction};
use crate::model::anomaly::{Anomaly, Score};
use crate::model::causes::causes;
use crate::model::ids::SignalName;
use crate::model::playbook::{PlaybookSpec, ScaleBy};
use crate::model::policy::{Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::services::ServiceGraph;
use crate::model::shard::{Known, ShardReport, home};
use crate::model::signal::SignalKey;
use crate::observe::shards::{ShardError, ShardSource};
use crate::observe::signals::Keep;

/// From this score on the severity is medium, and the service of the series in trouble.
const TROUBLE: f64 = 0.8;

/// What all detectors said at one look, by ordinal.
#[derive(Debug)]
pub struct Gathered {
    answers: Vec<Result<ShardReport, ShardError>>,
    /// It is known which service calls which, so every trouble may be another one's.
    has_calls: bool,
}

impl Gathered {
    #[must_use]
    pub fn total(&self) -> usize {
        self.answers.len()
    }

    /// Shards of which nothing is known, and why.
    pub fn lost(&self) -> impl Iterator<Item = (usize, &ShardError)> {
        self.answers.iter().enumerate().filter_map(|(ordinal, it)| Some((ordinal, it.as_ref().err()?)))
    }

    fn total_u32(&self) -> u32 {
        u32::try_from(self.answers.len()).unwrap_or(u32::MAX)
    }

    /// Every anomaly that its own detector reports.
    fn anomalies(&self) -> Vec<Anomaly> {
        let own = |report: &ShardReport| {
            let shard = report.shard;
            let own = report.anomalies.iter().filter(move |it| shard.has(&it.key));
            own.cloned().collect::<Vec<_>>()
        };
        self.answers.iter().flatten().flat_map(own).collect()
    }

    /// Why nobody knows whether `trigger` holds; `None` where its detector says so, or nobody has to.
    #[must_use]
    pub fn unknown(&self, trigger: &Trigger) -> Option<Reason> {
        let Trigger::Anomaly { signal, threshold, .. } = trigger else { return None };
        let total = self.total_u32();
        let ordinal = home(signal, total);
        let why = match self.answers.get(usize::try_from(ordinal).ok()?)? {
            Err(error) => causes(error),
            Ok(report) => match report.about(signal, *threshold) {
                Known::Scored(_) | Known::Less => return None,
                Known::Unknown(why) => why.to_owned(),
            },
        };
        let text = format!("nothing is known of {signal} in shard {ordinal} of {total}: {why}");
        Some(Reason::new(ReasonCode::DetectorLost, text))
    }
}

/// The least score that some policy asks for, or that makes a service one in trouble where that is asked for.
fn floor(policies: &[Policy], graph: &ServiceGraph) -> Score {
    let thresholds = policies.iter().flat_map(|it| &it.triggers).filter_map(|it| match it {
        Trigger::Anomaly { threshold, .. } => Some(threshold.get()),
        Trigger::Forecast { .. } | Trigger::Promql { .. } | Trigger::Webhook { .. } => None,
    });
    let trouble = if graph.is_empty() { 1.0 } else { TROUBLE };
    Score::clamped(thresholds.fold(trouble, f64::min))
}

/// Every series that policies in force, and actions that are not over, are decided or judged by.
fn named(policies: &[Policy], records: &[&RemediationAction]) -> BTreeSet<SignalKey> {
    let mut keys: BTreeSet<SignalKey> = policies.iter().flat_map(signals_of).collect();
    for action in policies.iter().flat_map(|it| &it.actions) {
        if let PlaybookSpec::ScaleOut { by: ScaleBy::Queue { load, .. }, .. } = action {
            keys.insert(load.clone());
        }
    }
    for verify in records.iter().map(|it| &it.spec.verify) {
        keys.extend([&verify.signal].into_iter().chain(&verify.dependants).cloned());
    }
    keys
}

impl Observer {
    /// The series that somebody names, and the services whose calls are known: their windows say what happened.
    pub(super) fn named(
        &self,
        policies: &[Policy],
        records: &[&RemediationAction],
    ) -> (BTreeSet<SignalKey>, BTreeSet<SignalName>) {
        let services = self.graph.services().into_iter().filter_map(|it| SignalName::new(it).ok());
        (named(policies, records), services.collect())
    }

    /// Reads the series that somebody names and those of services that call each other, and hears of all others from `detectors`.
    pub(super) async fn gather(
        &mut self,
        detectors: &dyn ShardSource,
        policies: &[Policy],
        records: &[&RemediationAction],
        now: Timestamp,
    ) -> Evidence {
        let (keys, services) = self.named(policies, records);
        self.windows.keep(Keep::Named { keys, services });
        let asking = detectors.ask(floor(policies, &self.graph), now);
        let (signals, answers) = tokio::join!(self.read(now), asking);
        self.keep_in_time(now);
        let gathered = Gathered { answers, has_calls: !self.graph.is_empty() };
        let mut evidence = self.evidence(signals, now);
        evidence.anomalies = gathered.anomalies();
        evidence.gathered = Some(gathered);
        evidence
    }
}

impl Turn<'_> {
    /// Why nobody knows whether `trigger` holds.
    pub(super) fn unknown(&self, trigger: &Trigger) -> Option<Reason> {
        self.evidence.gathered.as_ref()?.unknown(trigger)
    }

    /// Why nobody knows whose trouble `record` answers: the cause may be a series of a detector that is not heard.
    pub(super) fn unjudged(&self, record: &RemediationAction) -> Option<Reason> {
        let gathered = self.evidence.gathered.as_ref().filter(|it| it.has_calls)?;
        let (ordinal, error) =
            gathered.lost().next().filter(|_| record.spec.purpose == Purpose::Remediate)?;
        let total = gathered.total();
        let text = format!(
            "the cause may be in shard {ordinal} of {total}, and nothing is known of it: {}",
            causes(error)
        );
        Some(Reason::new(ReasonCode::DetectorLost, text))
    }

    /// Everything that cannot be ruled out, because the detector that would see it is not heard.
    pub(super) fn unseen(&self) -> Vec<Held> {
        let mut held = Vec::new();
        for policy in self.policies {
            for trigger in &policy.triggers {
                let Some(reason) = self.unknown(trigger) else { continue };
                let Some(incident) = decide::suspected(policy, trigger, self.now) else { continue };
                held.push(Held { incident, escalate: false, reasons: vec![reason] });
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::anomaly::Severity;
    use crate::model::fixtures::{anomaly, at, policy, proposed, signal, target};
    use crate::model::shard::{Shard, SignalRead};
    use crate::model::signal::ServiceOf;

    fn report(ordinal: u32, trouble: Option<&str>, scored: &[Anomaly]) -> ShardReport {
        let signals = vec![SignalRead {
            signal: SignalName::new("latency_p95").unwrap(),
            of: ServiceOf::Label("app".into()),
            trouble: trouble.map(str::to_owned),
            unwatched: BTreeSet::new(),
        }];
        ShardReport::new(Shard::new(ordinal, 2).unwrap(), at(0), signals, scored, scored.len())
    }

    /// Of two shards `backend/latency_p95` is in the first, `frontend/latency_p95` in the second.
    #[test]
    fn a_lost_shard_hides_its_own_series_and_no_other() {
        let scored = anomaly(signal("frontend", "latency_p95"), 0.9, at(0));
        let answers = vec![Err(ShardError::Status(503)), Ok(report(1, None, std::slice::from_ref(&scored)))];
        let gathered = Gathered { answers, has_calls: false };
        let mut trigger = policy().triggers.remove(0);
        let reason = gathered.unknown(&trigger).unwrap();
        assert_eq!(reason.code, ReasonCode::DetectorLost);
        assert!(
            reason.text.contains("backend/latency_p95 in shard 0 of 2: its detector answers HTTP 503"),
            "{reason}"
        );
        if let Trigger::Anomaly { signal: key, .. } = &mut trigger {
            *key = signal("frontend", "latency_p95");
        }
        assert_eq!(gathered.unknown(&trigger), None);
        assert_eq!(gathered.anomalies(), [scored]);
        assert_eq!(gathered.lost().map(|it| it.0).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_a_detector_could_not_read_is_not_known_and_what_is_not_its_own_is_not_believed() {
        let foreign = anomaly(signal("frontend", "latency_p95"), 0.9, at(0));
        let answers = vec![Ok(report(0, Some("no answer in time"), &[foreign])), Ok(report(1, None, &[]))];
        let gathered = Gathered { answers, has_calls: false };
        let reason = gathered.unknown(&policy().triggers[0]).unwrap();
        assert!(reason.text.ends_with("shard 0 of 2: no answer in time"), "{reason}");
        assert_eq!(gathered.anomalies(), []);
    }

    #[test]
    fn windows_are_kept_of_what_policies_and_open_actions_name_and_of_nothing_else() {
        let (mut first, mut second) = (policy(), policy());
        first.verify.dependants = vec![signal("checkout", "errors")];
        let load = signal("queue", "length");
        second.actions = vec![PlaybookSpec::ScaleOut {
            by: ScaleBy::Queue { load: load.clone(), per_replica: 10, utilisation_percent: 70 },
            max_replicas: 5,
        }];
        second.triggers.clear();
        let mut record = proposed("backend-latency", &target("shop/Deployment/backend"), 1, at(0));
        record.spec.verify.signal = signal("gone", "latency");
        let keys = named(&[first, second], &[&record]);
        let expected =
            [signal("backend", "latency_p95"), signal("checkout", "errors"), signal("gone", "latency"), load];
        assert_eq!(keys, expected.into());
        let (nobody, calls) = (ServiceGraph::default(), ServiceGraph::of([("web", "cart")]));
        assert_eq!(floor(&[policy()], &nobody).get(), 0.8);
        assert_eq!([&nobody, &calls].map(|it| floor(&[], it).get()), [1.0, TROUBLE]);
        assert_eq!(Severity::of(Score::clamped(TROUBLE)), Severity::Medium);
        assert_eq!(Severity::of(Score::clamped(TROUBLE - 0.01)), Severity::Low);
    }
}
