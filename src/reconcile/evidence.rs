//! One look at the metrics and the alerts: windows, scores, firing alerts, queries that answer.
//! The sources are read once per tick; deciding may happen several times on the same evidence. Nothing is
//! written but the spool's own housekeeping.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::calls::Calls;
use super::correlate::Correlations;
use super::gather::Gathered;
use super::scores::Scores;
use crate::detect::EnsembleSettings;
use crate::detect::forecast::Watch;
use crate::model::action::RemediationAction;
use crate::model::alert::{Alert, AlertStatus, Alerts};
use crate::model::anomaly::Anomaly;
use crate::model::forecast::Forecast;
use crate::model::ids::PolicyName;
use crate::model::policy::{Policy, Trigger};
use crate::model::services::ServiceGraph;
use crate::model::shard::SignalRead;
use crate::model::signal::{Series, SignalKey};
use crate::observe::metrics::SourceError;
use crate::observe::shards::ShardSource;
use crate::observe::signals::{SignalState, SignalWindows, Trouble};
use crate::observe::sources::Sources;
use crate::observe::spool::Spool;

/// Queries of triggers under way at the same time, and how long a look waits for all of them: however many do not
/// answer, alerts are heard and merges followed.
const TRIGGERS_AT_ONCE: usize = 8;
const TRIGGERS_WITHIN: Duration = Duration::from_secs(10);

/// Everything measured in one tick.
#[derive(Debug)]
pub struct Evidence {
    pub at: Timestamp,
    /// A policy asks for a few of them by name, and there may be tens of thousands.
    pub signals: BTreeMap<SignalKey, SignalState>,
    /// How each of the signals was read.
    pub troubles: Vec<Trouble>,
    pub anomalies: Vec<Anomaly>,
    /// What the detectors said; `None`: this process scores itself.
    pub gathered: Option<Gathered>,
    /// One for every forecast trigger with enough history.
    pub forecasts: Vec<Forecast>,
    pub alerts: Arc<Alerts>,
    /// Policy, query of its trigger, and whether the query answered with anything. The query and not its
    /// place: the policy may be another one by the time this is used.
    pub promql: Vec<(PolicyName, String, bool)>,
    /// Which troubles are one incident, and whose fault it is.
    pub correlations: Correlations,
    /// An outside clock and the local time at which it was seen.
    pub outside_clock: Option<(Timestamp, Timestamp)>,
}

impl Evidence {
    /// What was read, and nothing that follows from it.
    #[must_use]
    pub fn read(at: Timestamp, signals: Vec<SignalState>, troubles: Vec<Trouble>) -> Self {
        Self {
            at,
            signals: signals.into_iter().map(|it| (it.key.clone(), it)).collect(),
            troubles,
            anomalies: Vec::new(),
            gathered: None,
            forecasts: Vec::new(),
            alerts: Arc::default(),
            promql: Vec::new(),
            correlations: Correlations::default(),
            outside_clock: None,
        }
    }

    #[must_use]
    pub fn series(&self, key: &SignalKey) -> Option<Series> {
        self.state(key).map(SignalState::series)
    }

    #[must_use]
    pub fn state(&self, key: &SignalKey) -> Option<&SignalState> {
        self.signals.get(key)
    }

    #[must_use]
    pub fn anomaly(&self, key: &SignalKey) -> Option<&Anomaly> {
        self.anomalies.iter().find(|it| it.key == *key)
    }

    /// Is this trigger of `policy` an anomaly while the signal is inside the policy's limit? Nothing is done
    /// about one, so an incident does not begin with it either: "before the change" would be mostly a time
    /// without trouble.
    #[must_use]
    pub fn is_harmless(&self, policy: &Policy, trigger: usize) -> bool {
        let is_anomaly = matches!(policy.triggers.get(trigger), Some(Trigger::Anomaly { .. }));
        let newest = || self.state(&policy.verify.signal)?.last();
        is_anomaly && newest().zip(policy.verify.below).is_some_and(|((_, value), below)| value < below)
    }

    /// Is an alert with this fingerprint known to be resolved?
    #[must_use]
    pub fn is_resolved(&self, alert: &Alert) -> bool {
        self.has_status(alert, AlertStatus::Resolved)
    }

    /// Is an alert with this fingerprint known to fire?
    #[must_use]
    pub fn is_firing(&self, alert: &Alert) -> bool {
        self.has_status(alert, AlertStatus::Firing)
    }

    fn has_status(&self, alert: &Alert, status: AlertStatus) -> bool {
        self.alerts.find(&alert.fingerprint).is_some_and(|it| it.status == status)
    }
}

/// Keeps the windows of all signals and scores them.
#[derive(Debug)]
pub struct Observer {
    pub(super) sources: Sources,
    pub(super) windows: SignalWindows,
    detectors: Option<Arc<dyn ShardSource>>,
    scores: Scores,
    /// By signal and look-ahead time, as long as some policy asks for it.
    watches: BTreeMap<(SignalKey, u32), Watch>,
    /// Empty: every trouble stands for itself.
    pub(super) graph: ServiceGraph,
    /// Who makes the graph anew; `None`: it stays as it is.
    calls: Option<Calls>,
}

impl Observer {
    #[must_use]
    pub fn new(sources: Sources, windows: SignalWindows, ensemble: EnsembleSettings) -> Self {
        Self {
            sources,
            windows,
            scores: Scores::new(ensemble),
            watches: BTreeMap::new(),
            graph: ServiceGraph::default(),
            calls: None,
            detectors: None,
        }
    }

    /// With the calls between services, so that victims can be told from causes.
    #[must_use]
    pub fn with_graph(mut self, graph: ServiceGraph) -> Self {
        self.graph = graph;
        self
    }

    /// With calls that are seen as time goes by.
    #[must_use]
    pub fn with_calls(self, calls: Calls) -> Self {
        Self { calls: Some(calls), ..self }
    }

    /// With a file in which what was learned outlives the process.
    #[must_use]
    pub fn kept_in(self, path: PathBuf) -> Self {
        Self { scores: self.scores.kept_in(path), ..self }
    }

    /// Writes that file now.
    pub fn keep(&self) {
        self.scores.keep(self.windows.pasts());
    }

    /// From now on others score, and windows are kept of what is decided and judged by.
    pub fn hear(&mut self, detectors: Arc<dyn ShardSource>) {
        self.detectors = Some(detectors);
    }

    /// Who is asked what no signal is: triggers and the state of the sync.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// How every signal was read last, as of the look at `now`.
    #[must_use]
    pub fn reads(&self, now: Timestamp) -> Vec<SignalRead> {
        let mut reads = self.windows.reads(now);
        for read in reads.iter_mut().filter(|it| it.trouble.is_none() && self.scores.is_behind(&it.signal)) {
            read.trouble = Some("not all of its series are scored yet".to_owned());
        }
        reads
    }

    /// Reads what is new and scores every signal whose newest slot holds a value. Nobody else is asked.
    pub async fn scan(&mut self, now: Timestamp) -> Evidence {
        let signals = self.read(now).await;
        let anomalies = self.scores.look(&signals, now);
        self.windows.learned(self.scores.learned(&signals));
        self.keep_in_time(now);
        Evidence { anomalies, ..self.evidence(signals, now) }
    }

    /// The windows as of `now`, going on from what the process before this one had.
    pub(super) async fn read(&mut self, now: Timestamp) -> Vec<SignalState> {
        self.windows.restore(self.scores.restore());
        self.windows.tick(&self.sources, now).await
    }

    /// What a crash would lose is written now and then.
    pub(super) fn keep_in_time(&mut self, now: Timestamp) {
        if self.scores.keeps(now) {
            self.keep();
        }
    }

    /// What was read, before anybody scores it.
    pub(super) fn evidence(&self, signals: Vec<SignalState>, now: Timestamp) -> Evidence {
        Evidence::read(now, signals, self.windows.troubles())
    }

    /// Everything that decisions about `policies` and `records` need; both are those of the last look at the repository.
    /// PromQL triggers are asked here, so that one slow query does not hold up the git side.
    pub async fn look(
        &mut self,
        spool: &Spool,
        (policies, records): (&[Policy], &[&RemediationAction]),
        now: Timestamp,
    ) -> Evidence {
        if let Some(graph) = self.calls.as_mut().and_then(|it| it.changed(policies, now)) {
            self.graph = graph;
        }
        let mut evidence = match self.detectors.clone() {
            Some(detectors) => self.gather(&*detectors, policies, records, now).await,
            None => {
                let (keys, services) = self.named(policies, records);
                self.windows.name(&keys, &services);
                self.scan(now).await
            }
        };
        evidence.forecasts = self.forecasts(&evidence.signals, policies);
        evidence.promql = self.ask_triggers(policies, now, TRIGGERS_WITHIN, &mut evidence.troubles).await;
        evidence.alerts = spool.load();
        evidence.correlations = self.correlations(&evidence);
        evidence.outside_clock = self.outside_clock();
        evidence
    }

    fn correlations(&self, evidence: &Evidence) -> Correlations {
        let Evidence { signals, anomalies, alerts, at, .. } = evidence;
        Correlations::of(signals, anomalies, alerts, &self.graph, *at)
    }

    fn outside_clock(&self) -> Option<(Timestamp, Timestamp)> {
        self.sources.outside_clock().map(|clock| (clock.says, clock.seen_at))
    }

    /// Answers for the forecast triggers of `policies`. What nobody asks for any more is forgotten, and a signal whose
    /// newest value is old is not looked ahead of.
    fn forecasts(
        &mut self,
        signals: &BTreeMap<SignalKey, SignalState>,
        policies: &[Policy],
    ) -> Vec<Forecast> {
        let mut before = std::mem::take(&mut self.watches);
        let mut answers = Vec::new();
        for trigger in policies.iter().flat_map(|it| &it.triggers) {
            let Trigger::Forecast { signal, crossing, within_s, .. } = trigger else { continue };
            let Some(state) = signals.get(signal) else { continue };
            let (id, series) = ((signal.clone(), *within_s), state.series());
            if !self.watches.contains_key(&id) {
                let known = before.remove(&id).or_else(|| Watch::new(*within_s, &series));
                let Some(mut watch) = known else { continue };
                watch.feed(&series);
                self.watches.insert(id.clone(), watch);
            }
            let watch = self.watches.get(&id).filter(|_| !state.stale);
            answers.extend(watch.and_then(|it| it.forecast(&series, *crossing)));
        }
        answers
    }

    /// What the queries of triggers give, as far as they answer `within` this long.
    pub(super) async fn ask_triggers(
        &self,
        policies: &[Policy],
        now: Timestamp,
        within: Duration,
        troubles: &mut Vec<Trouble>,
    ) -> Vec<(PolicyName, String, bool)> {
        let triggers =
            policies.iter().flat_map(|policy| policy.triggers.iter().enumerate().map(move |it| (policy, it)));
        let asked: Vec<_> = triggers
            .filter_map(|(policy, (index, trigger))| match trigger {
                Trigger::Promql { query, .. } => Some((policy, index, query)),
                Trigger::Anomaly { .. } | Trigger::Forecast { .. } | Trigger::Webhook { .. } => None,
            })
            .collect();
        let mut answers = BTreeMap::new();
        let asking = stream::iter(asked.iter().enumerate())
            .map(|(place, (.., query))| self.sources.instant(query, now).map(move |it| (place, it)))
            .buffer_unordered(TRIGGERS_AT_ONCE)
            .for_each(|(place, answer)| {
                answers.insert(place, answer);
                ready(())
            });
        // What is missing then was slow.
        drop(timeout(within, asking).await);
        let mut answered = Vec::new();
        for (place, (policy, index, query)) in asked.into_iter().enumerate() {
            // A query that cannot be answered is neither firing nor resolved, and somebody has to know.
            let answer = answers.remove(&place).unwrap_or(Err(SourceError::Slow(within)));
            let error = answer.map(|it| answered.push((policy.name.clone(), query.clone(), it.non_empty)));
            let name = format!("trigger {} of policy {}", index + 1, policy.name);
            troubles.push(Trouble { name, error: error.err().map(Arc::new), warnings: Vec::new() });
        }
        answered
    }
}

/// What the evidence of a look says about a trigger that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Now,
    /// Not right now, but its anomaly goes on.
    InALull,
    /// Nobody can tell, and what held before is believed to go on for this long, seconds.
    Unknown {
        most_s: u32,
    },
}

/// Since when one trigger has held, and when that was last known.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    since: Timestamp,
    known_at: Timestamp,
}

/// Since when each trigger has held without a break; what "for 2 minutes" is measured with. A trigger is its
/// policy and the stable text of its cause: an edited one begins anew.
#[derive(Debug, Default)]
pub struct Since {
    triggers: BTreeMap<(PolicyName, String), Stretch>,
}

impl Since {
    /// Notes what the look at `now` says; a trigger that it does not name is over. Only one that holds begins.
    pub fn update(
        &mut self,
        triggers: impl IntoIterator<Item = ((PolicyName, String), Holds)>,
        now: Timestamp,
    ) {
        let mut next = BTreeMap::new();
        for (trigger, holds) in triggers {
            let before = self.triggers.get(&trigger).copied();
            let after = match holds {
                Holds::Now => Some(Stretch { since: before.map_or(now, |it| it.since), known_at: now }),
                Holds::InALull => before.map(|it| Stretch { known_at: now, ..it }),
                Holds::Unknown { most_s } => before.filter(|it| {
                    now.duration_since(it.known_at) <= SignedDuration::from_secs(i64::from(most_s))
                }),
            };
            next.extend(after.map(|it| (trigger, it)));
        }
        self.triggers = next;
    }

    #[must_use]
    pub fn get(&self, policy: &PolicyName, cause: &str) -> Option<Timestamp> {
        self.triggers.get(&(policy.clone(), cause.to_owned())).map(|it| it.since)
    }
}

/// Difference between the local and an outside clock, when one was seen within the last five minutes.
#[must_use]
pub fn clock_skew(evidence: &Evidence) -> Option<SignedDuration> {
    let (outside, local) = evidence.outside_clock?;
    let fresh = evidence.at.duration_since(local) < SignedDuration::from_mins(5);
    fresh.then(|| local.duration_since(outside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{at, policy};
    use crate::observe::signals::Meaning;
    use crate::observe::window::Window;

    fn evidence(key: &SignalKey, newest: f64) -> Evidence {
        let series =
            Series { key: key.clone(), start: at(0), step_s: 30, values: vec![Some(100.0), Some(newest)] };
        let state = SignalState {
            key: key.clone(),
            window: Arc::new(Window::of(&series)),
            age_s: Some(0),
            stale: false,
            staleness_s: 120,
            period: None,
            meaning: Meaning([0; 16]),
            error: None,
        };
        Evidence::read(at(30), vec![state], Vec::new())
    }

    #[test]
    fn a_lull_and_a_short_gap_break_nothing_and_begin_nothing() {
        let id = || (policy().name, "anomaly web/latency".to_owned());
        let gap = Holds::Unknown { most_s: 60 };
        let mut since = Since::default();
        let mut then = |holds: Option<Holds>, s: i64| {
            since.update(holds.map(|it| (id(), it)), at(s));
            since.get(&id().0, &id().1)
        };
        assert_eq!([then(Some(gap), 0), then(Some(Holds::InALull), 30)], [None, None]);
        assert_eq!(then(Some(Holds::Now), 60), Some(at(60)));
        assert_eq!(then(Some(Holds::InALull), 600), Some(at(60)));
        assert_eq!([then(Some(gap), 630), then(Some(gap), 660)], [Some(at(60)); 2]);
        assert_eq!(then(Some(Holds::Now), 690), Some(at(60)));
        assert_eq!([then(Some(gap), 750), then(Some(gap), 751)], [Some(at(60)), None], "a gap is no answer");
        assert_eq!(then(Some(Holds::Now), 780), Some(at(780)));
        assert_eq!([then(None, 810), then(Some(Holds::InALull), 840)], [None, None], "it was over");
    }

    #[test]
    fn an_anomaly_inside_the_limit_begins_no_incident_and_one_outside_does() {
        let mut policy = policy();
        policy.verify.below = Some(250.0);
        let key = policy.verify.signal.clone();
        assert!(matches!(policy.triggers[0], Trigger::Anomaly { .. }));
        assert!(evidence(&key, 249.0).is_harmless(&policy, 0));
        assert!(!evidence(&key, 250.0).is_harmless(&policy, 0));
        policy.verify.below = None;
        assert!(!evidence(&key, 249.0).is_harmless(&policy, 0));
        policy.verify.below = Some(250.0);
        let labels = BTreeMap::new();
        policy.triggers[0] = Trigger::Webhook { alertname: "Slow".into(), labels };
        assert!(!evidence(&key, 249.0).is_harmless(&policy, 0), "an alert speaks for itself");
    }
}
