//! From evidence to incidents: one per policy, target and cause, however many alerts say the same. Anomalies,
//! alerts and query results come in, incidents with bounded evidence go out. Never remembers: how long a
//! trigger has held is the caller's to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::action::Cause;
use crate::model::alert::{Alert, Alerts};
use crate::model::anomaly::{Anomaly, Episode, Severity};
use crate::model::decision::Incident;
use crate::model::duration;
use crate::model::forecast::Forecast;
use crate::model::ids::{Fingerprint, Namespace, PolicyName, WorkloadRef, digest_hex};
use crate::model::policy::{Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::signal::SignalKey;

/// Most alerts that one incident keeps as evidence.
pub const MAX_ALERTS: usize = 10;
/// Most labels of one alert, and characters of one value, that are kept.
const MAX_LABELS: usize = 32;
const MAX_LABEL_CHARS: usize = 256;
/// Longest query that goes into a cause key as it is, bytes.
const MAX_QUERY_KEY: usize = 120;

/// What is known right now.
pub struct Evidence<'a> {
    pub anomalies: &'a [Anomaly],
    /// Answers about the limits of forecast triggers; one that is missing is neither yes nor no.
    pub forecasts: &'a [Forecast],
    pub alerts: &'a Alerts,
    /// Policy, index of the trigger in it, and whether the query's result is not empty.
    pub promql: &'a [(PolicyName, usize, bool)],
    /// Since when this trigger (policy and index) has held without a break; `None`: since now. Keep it with
    /// the help of [`active_triggers`] and [`lasts`].
    pub since: &'a dyn Fn(&PolicyName, usize) -> Option<Timestamp>,
}

impl std::fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evidence")
            .field("anomalies", &self.anomalies.len())
            .field("alerts", &self.alerts.len())
            .finish_non_exhaustive()
    }
}

/// What of the evidence satisfies one trigger.
#[derive(Default)]
struct Match<'a> {
    anomalies: Vec<&'a Anomaly>,
    forecasts: Vec<&'a Forecast>,
    alerts: Vec<&'a Alert>,
}

/// The trigger's stable text, part of the fingerprint.
pub fn cause_key(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Anomaly { signal, .. } => format!("anomaly {signal}"),
        Trigger::Forecast { signal, crossing, within_s, .. } => {
            format!("forecast {signal} {crossing} within {}", duration::format_s(*within_s))
        }
        Trigger::Promql { query, .. } if query.len() <= MAX_QUERY_KEY => format!("promql {query}"),
        Trigger::Promql { query, .. } => format!("promql {}", &digest_hex(&[query])[..16]),
        Trigger::Webhook { alertname, labels } => {
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            format!("webhook {alertname}{{{}}}", labels.join(","))
        }
    }
}

fn kind_of(trigger: &Trigger) -> &'static str {
    match trigger {
        Trigger::Anomaly { .. } => "anomaly",
        Trigger::Forecast { .. } => "forecast",
        Trigger::Promql { .. } => "promql",
        Trigger::Webhook { .. } => "webhook",
    }
}

fn matched<'a>(
    policy: &Policy,
    index: usize,
    trigger: &Trigger,
    evidence: &Evidence<'a>,
) -> Option<Match<'a>> {
    match trigger {
        Trigger::Anomaly { signal, threshold, min_severity, .. } => {
            let newest = newest(evidence.anomalies, signal)?;
            let strong =
                newest.score >= *threshold && min_severity.is_none_or(|least| newest.severity >= least);
            (strong && newest.value.is_finite())
                .then(|| Match { anomalies: vec![newest], ..Match::default() })
        }
        Trigger::Forecast { signal, crossing, within_s, probability, .. } => {
            let answer = evidence.forecasts.iter().find(|it| it.answers(signal, *crossing, *within_s))?;
            (answer.probability >= *probability && answer.is_finite())
                .then(|| Match { forecasts: vec![answer], ..Match::default() })
        }
        Trigger::Promql { .. } => {
            let fires = |it: &&(PolicyName, usize, bool)| it.0 == policy.name && it.1 == index && it.2;
            evidence.promql.iter().find(fires).map(|_| Match::default())
        }
        Trigger::Webhook { alertname, labels } => {
            let wanted = |it: &&Alert| labels.iter().all(|(key, value)| it.labels.get(key) == Some(value));
            let named = evidence.alerts.firing(alertname);
            let alerts: Vec<_> = named.iter().map(Arc::as_ref).filter(wanted).collect();
            (!alerts.is_empty()).then(|| Match { alerts, ..Match::default() })
        }
    }
}

/// The newest word about a signal: an older anomaly of it may be over.
fn newest<'a>(anomalies: &'a [Anomaly], signal: &SignalKey) -> Option<&'a Anomaly> {
    anomalies.iter().filter(|it| it.key == *signal).max_by_key(|it| it.at)
}

/// Is the anomaly that satisfied `trigger` not over, although its score may be low right now? Nothing begins and
/// nothing is done in a lull, but what held before it has held without a break.
#[must_use]
pub fn lasts(trigger: &Trigger, anomalies: &[Anomaly]) -> bool {
    let Trigger::Anomaly { signal, threshold, min_severity, .. } = trigger else { return false };
    let is_grave = |it: &Episode| min_severity.is_none_or(|least| Severity::of(it.worst) >= least);
    newest(anomalies, signal)
        .is_some_and(|it| it.lasts_at(*threshold) && it.episode.as_ref().is_some_and(is_grave))
}

/// The triggers whose condition holds right now, whether or not for long enough. The caller keeps the time
/// at which each appeared here, and forgets it when it is gone and does not last.
#[must_use]
pub fn active_triggers(policies: &[Policy], evidence: &Evidence<'_>) -> BTreeSet<(PolicyName, usize)> {
    let mut active = BTreeSet::new();
    for policy in policies {
        for (index, trigger) in policy.triggers.iter().enumerate() {
            if matched(policy, index, trigger, evidence).is_some() {
                active.insert((policy.name.clone(), index));
            }
        }
    }
    active
}

/// What one alert says about where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Target(&'a WorkloadRef),
    /// Several allowed resources could be meant.
    Unclear,
    /// It names something that the policy may not touch.
    Elsewhere,
}

/// Where the evidence of one policy can belong.
struct Places<'a> {
    namespace: &'a Namespace,
    /// With the label that names such a workload.
    targets: Vec<(String, WorkloadRef)>,
}

impl<'a> Places<'a> {
    fn of(policy: &'a Policy) -> Self {
        let with_label = |it: WorkloadRef| (it.kind.as_str().to_ascii_lowercase(), it);
        Self { namespace: &policy.namespace, targets: policy.targets().into_iter().map(with_label).collect() }
    }

    fn of_alert(&self, alert: &Alert) -> Place<'_> {
        let label = |key: &str| alert.labels.get(key).map(String::as_str);
        if label("namespace").is_some_and(|it| it != self.namespace.as_str()) {
            return Place::Elsewhere;
        }
        // Who owns the pod is a fact of the cluster, not a guess from labels.
        if let Some(owner) = &alert.owner {
            let own = self.targets.iter().find(|(_, target)| target == owner);
            return own.map_or(Place::Elsewhere, |(_, target)| Place::Target(target));
        }
        let named = |(key, target): &(String, WorkloadRef)| label(key) == Some(target.name.as_str());
        if self.targets.iter().any(named) {
            return self.only(named);
        }
        // An alert about another workload must not move ours, even if ours is the only one allowed.
        if ["deployment", "statefulset", "daemonset"].iter().any(|kind| label(kind).is_some()) {
            return Place::Elsewhere;
        }
        let service = ["service", "app", "workload"].map(label);
        self.only(|(_, target)| service.contains(&Some(target.name.as_str())))
    }

    /// Of a cause that names a service, or nothing.
    fn of_service(&self, service: Option<&str>) -> Place<'_> {
        self.only(|(_, target)| Some(target.name.as_str()) == service)
    }

    /// The only one that is meant, or the only one there is.
    fn only(&self, is_meant: impl Fn(&(String, WorkloadRef)) -> bool) -> Place<'_> {
        let mut hits = self.targets.iter().filter(|it| is_meant(it));
        match (hits.next(), hits.next(), &self.targets[..]) {
            (Some((_, only)), None, _) | (None, _, [(_, only)]) => Place::Target(only),
            _ => Place::Unclear,
        }
    }
}

/// Does the evidence of `incident` point at its target? `incidents` gives an unclear one the policy's first
/// resource, so that there is something to explain; nothing may be done about it.
pub fn check_target(incident: &Incident, policy: &Policy) -> Result<(), Reason> {
    if !policy.allows(&incident.target) {
        let text = format!("{} is not in allowedResources of {}", incident.target, policy.name);
        return Err(Reason::new(ReasonCode::TargetNotAllowed, text));
    }
    let cause = &incident.cause;
    let all = Places::of(policy);
    let mut places: Vec<_> = cause.alerts.iter().map(|alert| all.of_alert(alert)).collect();
    let keys = cause.anomalies.iter().map(|it| &it.key).chain(cause.forecasts.iter().map(|it| &it.key));
    places.extend(keys.map(|it| all.of_service(Some(it.service.as_str()))));
    if places.is_empty() {
        places.push(all.of_service(None));
    }
    if places.iter().all(|place| *place == Place::Target(&incident.target)) {
        return Ok(());
    }
    let names: Vec<_> = policy.targets().iter().map(ToString::to_string).collect();
    let text = format!("nothing says which is meant: {}", names.join(", "));
    Err(Reason::new(ReasonCode::AmbiguousTarget, text))
}

/// Every incident that the evidence shows, in the order of policies and triggers: one per policy, target and
/// cause. A suspended policy has none, and neither has one that allows nothing; a resolved alert starts
/// nothing.
#[must_use]
pub fn incidents(policies: &[Policy], evidence: &Evidence<'_>, now: Timestamp) -> Vec<Incident> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for policy in policies.iter().filter(|it| !it.suspend) {
        let places = Places::of(policy);
        let Some((_, first)) = places.targets.first() else { continue };
        for (index, trigger) in policy.triggers.iter().enumerate() {
            let Some(hit) = matched(policy, index, trigger, evidence) else { continue };
            let since = (evidence.since)(&policy.name, index).unwrap_or(now).min(now);
            for (place, hit) in by_place(&places, hit) {
                let target = match place {
                    Place::Target(target) => target,
                    Place::Unclear => first,
                    Place::Elsewhere => continue,
                };
                let incident = incident(policy, target.clone(), trigger, &hit, since);
                if seen.insert(incident.fingerprint.clone()) {
                    found.push(incident);
                }
            }
        }
    }
    found
}

/// The incident that this trigger would make, for somebody who does not know whether it holds: it names the target, and
/// has no evidence. `None` where nothing would be done about it either way.
#[must_use]
pub fn suspected(policy: &Policy, trigger: &Trigger, now: Timestamp) -> Option<Incident> {
    let places = Places::of(policy);
    let (_, first) = places.targets.first().filter(|_| !policy.suspend)?;
    let service = match trigger {
        Trigger::Anomaly { signal, .. } | Trigger::Forecast { signal, .. } => Some(signal.service.as_str()),
        Trigger::Promql { .. } | Trigger::Webhook { .. } => None,
    };
    let target = match places.of_service(service) {
        Place::Target(target) => target,
        Place::Unclear | Place::Elsewhere => first,
    };
    Some(incident(policy, target.clone(), trigger, &Match::default(), now))
}

fn by_place<'a, 'b>(places: &'b Places<'_>, hit: Match<'a>) -> Vec<(Place<'b>, Match<'a>)> {
    if hit.alerts.is_empty() {
        let forecast = || hit.forecasts.first().map(|it| &it.key);
        let key = hit.anomalies.first().map(|it| &it.key).or_else(forecast);
        let service = key.map(|it| it.service.as_str());
        return vec![(places.of_service(service), hit)];
    }
    let mut groups: BTreeMap<Place<'_>, Vec<&Alert>> = BTreeMap::new();
    for alert in hit.alerts {
        groups.entry(places.of_alert(alert)).or_default().push(alert);
    }
    let group = |(place, alerts)| (place, Match { alerts, ..Match::default() });
    groups.into_iter().map(group).collect()
}

fn incident(
    policy: &Policy,
    target: WorkloadRef,
    trigger: &Trigger,
    hit: &Match<'_>,
    since: Timestamp,
) -> Incident {
    let key = cause_key(trigger);
    let preferred = policy.actions.first().map_or("", |it| it.name().as_str());
    let mut alerts = hit.alerts.clone();
    alerts.sort_unstable_by(|a, b| {
        (b.starts_at, &a.fingerprint, &a.labels).cmp(&(a.starts_at, &b.fingerprint, &b.labels))
    });
    alerts.dedup_by(|a, b| a.fingerprint == b.fingerprint && a.labels == b.labels);
    let since = alerts.last().map_or(since, |oldest| oldest.starts_at.min(since));
    Incident {
        fingerprint: Fingerprint::of(&policy.name, &target, preferred, &key),
        policy: policy.name.clone(),
        target,
        cause: Cause {
            trigger: kind_of(trigger).to_owned(),
            key,
            since,
            anomalies: hit.anomalies.iter().map(|it| finite(it)).collect(),
            forecasts: hit.forecasts.iter().map(|it| (*it).clone()).collect(),
            alerts: alerts.iter().take(MAX_ALERTS).map(|it| bounded(it)).collect(),
            alerts_total: u32::try_from(alerts.len()).unwrap_or(u32::MAX),
            correlation: None,
        },
    }
}

/// A record keeps only finite numbers, so that it can be written, read and compared.
fn finite(anomaly: &Anomaly) -> Anomaly {
    let bound = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
    let mut kept = anomaly.clone();
    kept.expected = (bound(kept.expected.0), bound(kept.expected.1));
    kept.recent.retain(|value| value.is_finite());
    for model in &mut kept.models {
        model.weight = bound(model.weight);
    }
    kept
}

/// An alert as large as its sender liked must not become a record that nobody can read. The labels that
/// say where it belongs are kept first.
fn bounded(alert: &Alert) -> Alert {
    const PLACES: [&str; 8] =
        ["alertname", "namespace", "deployment", "statefulset", "daemonset", "service", "app", "workload"];
    let mut keys: Vec<_> = alert.labels.keys().collect();
    keys.sort_by_key(|key| !PLACES.contains(&key.as_str()));
    let cut = |text: &str| text.chars().take(MAX_LABEL_CHARS).collect::<String>();
    let labels = keys.into_iter().take(MAX_LABELS).filter(|key| key.len() <= MAX_LABEL_CHARS);
    let labels = labels.map(|key| (key.clone(), cut(&alert.labels[key]))).collect();
    Alert { labels, fingerprint: cut(&alert.fingerprint), ..alert.clone() }
}
