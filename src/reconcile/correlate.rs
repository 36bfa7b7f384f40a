//! The troubles of one tick, grouped over the graph of calls, each group with its suspects. Signals, anomalies and
//! alerts come in; for a service it answers whether it is the cause of others or their victim. Judged by
//! `src/detect/cause/`; without a graph there is no answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::detect::cause::{self, Suspect, Track, Trouble};
use crate::model::alert::{AlertStatus, Alerts};
use crate::model::anomaly::{Anomaly, Severity};
use crate::model::correlation::Correlation;
use crate::model::services::ServiceGraph;
use crate::model::signal::{Series, SignalKey};
use crate::observe::signals::SignalState;

/// An incident that began longer ago has become the past that everything is compared with: suspicion lapses.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(1);
/// Troubles with more time between them are not one incident.
const APART_S: i64 = 600;
/// Longer chains of calls blame nobody.
const WAY_MAX: usize = 20;
/// Labels of an alert that may name its service, the most telling first.
const SERVICE_LABELS: [&str; 6] = ["service", "app", "workload", "deployment", "statefulset", "daemonset"];

/// One incident: services in trouble, and who is suspected, the first one most.
#[derive(Debug)]
struct Group {
    services: BTreeSet<String>,
    suspects: Vec<Suspect>,
}

/// The incidents of one tick.
#[derive(Debug, Default)]
pub struct Correlations {
    groups: Vec<Group>,
    graph: ServiceGraph,
}

fn track(series: &Series) -> Track<'_> {
    Track {
        service: series.key.service.as_str(),
        metric: series.key.signal.as_str(),
        start_s: series.start.as_second(),
        step_s: series.step_s,
        values: &series.values,
    }
}

impl Correlations {
    /// Groups what is wrong at `now` and ranks the suspects of each group.
    #[must_use]
    pub fn of(
        signals: &BTreeMap<SignalKey, SignalState>,
        anomalies: &[Anomaly],
        alerts: &Alerts,
        graph: &ServiceGraph,
        now: Timestamp,
    ) -> Self {
        if graph.is_empty() {
            return Self::default();
        }
        let (now_s, back_s) = (now.as_second(), now.as_second() - LOOK_BACK.as_secs());
        // Who calls nobody, and is called by nobody, is neither a victim nor has any.
        let services = graph.services();
        let related = || signals.values().filter(|it| services.contains(it.key.service.as_str()));
        let mut troubles: Vec<Trouble<'_>> = Vec::new();
        let wrong = anomalies.iter().filter(|it| it.severity >= Severity::Medium && !it.warming_up);
        let wrong: BTreeMap<&SignalKey, &Anomaly> = wrong.map(|it| (&it.key, it)).collect();
        for state in related() {
            let Some(anomaly) = wrong.get(&state.key) else { continue };
            let series = state.series();
            let track = track(&series);
            // A short window needs half of itself to know what is normal.
            let half_s = i64::from(track.step_s) * (track.values.len() / 2) as i64;
            let from_s = back_s.max(track.start_s + half_s);
            // One strange value has no second one yet that agrees.
            let start_s = cause::begins(&[track], from_s, now_s).unwrap_or(anomaly.at.as_second());
            troubles.push(Trouble { start_s, end_s: now_s, service: state.key.service.as_str() });
        }
        let measured = troubles.len();
        for alert in alerts.iter().filter(|it| it.status == AlertStatus::Firing) {
            let named = SERVICE_LABELS.iter().find_map(|label| alert.labels.get(*label));
            let named = named.filter(|it| services.contains(it.as_str()));
            let start_s = alert.starts_at.as_second().clamp(back_s, now_s);
            troubles.extend(named.map(|service| Trouble { start_s, end_s: now_s, service }));
        }
        if troubles.is_empty() {
            return Self { groups: Vec::new(), graph: graph.clone() };
        }
        let series: Vec<Series> = related().map(SignalState::series).collect();
        let tracks: Vec<Track<'_>> = series.iter().map(track).collect();
        let group = |members: Vec<usize>| {
            // An alert says when somebody noticed, a signal when it began.
            let starts = |of: &dyn Fn(usize) -> bool| {
                members.iter().filter(|it| of(**it)).map(|&it| troubles[it].start_s).min()
            };
            let since_s = starts(&|it| it < measured).or_else(|| starts(&|_| true)).unwrap_or(now_s);
            Group {
                services: members.iter().map(|&it| troubles[it].service.to_owned()).collect(),
                suspects: cause::rank(&tracks, graph, since_s, now_s),
            }
        };
        let groups = cause::groups(&troubles, graph, APART_S).into_iter().map(group).collect();
        Self { groups, graph: graph.clone() }
    }

    /// What is known about `service`; `None`: it is in no incident, or nobody is suspected clearly.
    #[must_use]
    pub fn about(&self, service: &str) -> Option<Correlation> {
        // A service without a signal of its own is in no group, and may call one that is.
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|it| !it.services.contains(service));
        groups.into_iter().find_map(|it| self.within(it, service))
    }

    fn within(&self, group: &Group, service: &str) -> Option<Correlation> {
        let first = group.suspects.first()?;
        let suspect = match cause::culprit(&group.suspects, service, &self.graph) {
            Some(culprit) => culprit,
            None if first.service == service && !first.victims.is_empty() => first,
            None => return None,
        };
        let sign = suspect.signs.first()?;
        let way = self.graph.way(service, &suspect.service).filter(|it| it.len() <= WAY_MAX)?;
        Some(Correlation {
            way: way.into_iter().map(str::to_owned).collect(),
            metric: sign.metric.clone(),
            sigmas: sign.sigmas,
            since: Timestamp::from_second(suspect.onset_s()?).ok()?,
            victims: suspect.victims.clone(),
        })
    }
}
