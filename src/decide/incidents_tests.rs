//! Incidents: one per cause, bounded, and only about what the evidence names.

use std::sync::Arc;

use jiff::Timestamp;

use crate::decide::incidents::check_target;
use crate::decide::{Evidence, Facts, Guards, active_triggers, decide, incidents, lasts};
use crate::model::alert::{Alert, AlertStatus, Alerts};
use crate::model::anomaly::{Anomaly, Episode, Score, Severity};
use crate::model::decision::{Incident, Verb};
use crate::model::fixtures::{anomaly, at, labels, policy, signal};
use crate::model::forecast::{Crossing, Forecast};
use crate::model::history::History;
use crate::model::ids::*;
use crate::model::limits::GlobalLimits;
use crate::model::policy::{AllowedResource, Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode as C};

fn alert<const N: usize>(index: i64, extra: [(&str, &str); N]) -> Alert {
    let mut labels = labels(extra);
    labels.insert("alertname".into(), "Slow".into());
    labels.insert("pod".into(), index.to_string());
    let (starts_at, fingerprint) = (at(-index), format!("{index:016x}"));
    Alert { status: AlertStatus::Firing, labels, starts_at, ends_at: None, fingerprint, owner: None }
}

fn webhook(names: &[&str]) -> Policy {
    let mut it = policy();
    it.triggers = vec![Trigger::Webhook { alertname: "Slow".into(), labels: labels([]) }];
    let allowed = |name: &&str| AllowedResource {
        kind: KindName::new("Deployment").unwrap(),
        name: ObjectName::new(*name).unwrap(),
    };
    it.allowed_resources = names.iter().map(allowed).collect();
    it
}

fn never(_: &PolicyName, _: usize) -> Option<Timestamp> {
    None
}

fn found(policies: &[Policy], alerts: &[Alert]) -> Vec<Incident> {
    let alerts = &alerts.iter().cloned().map(Arc::new).collect();
    incidents(
        policies,
        &Evidence { anomalies: &[], forecasts: &[], alerts, promql: &[], since: &never },
        at(0),
    )
}

#[test]
fn a_storm_of_a_hundred_thousand_alerts_is_one_incident() {
    let alerts: Vec<_> = (0..100_000).map(|index| alert(index, [])).collect();
    let found = found(&[webhook(&["backend"])], &alerts);
    assert_eq!(found.len(), 1);
    let cause = &found[0].cause;
    assert_eq!((cause.alerts.len(), cause.alerts_total), (10, 100_000));
    assert_eq!(cause.alerts[0].starts_at, at(0), "the newest are kept");
    assert_eq!(cause.since, at(-99_999));
}

#[test]
fn a_resolved_alert_starts_nothing() {
    let mut over = alert(1, []);
    over.status = AlertStatus::Resolved;
    assert!(found(&[webhook(&["backend"])], &[over]).is_empty());
}

#[test]
fn a_suspended_policy_and_one_that_allows_nothing_have_no_incident() {
    let suspended = Policy { suspend: true, ..webhook(&["backend"]) };
    assert!(found(&[suspended, webhook(&[])], &[alert(1, [])]).is_empty());
}

#[test]
fn labels_choose_among_several_targets() {
    let policy = webhook(&["backend", "frontend"]);
    let alerts = [
        alert(1, [("deployment", "backend")]),
        alert(2, [("service", "frontend")]),
        alert(3, [("service", "frontend"), ("namespace", "other")]),
        alert(4, [("deployment", "database")]),
    ];
    let names: Vec<_> = found(&[policy], &alerts).iter().map(|it| it.target.name.to_string()).collect();
    assert_eq!(names, ["backend", "frontend"]);
}

#[test]
fn an_alert_about_another_workload_does_not_move_the_only_one_allowed() {
    assert!(found(&[webhook(&["backend"])], &[alert(1, [("deployment", "frontend")])]).is_empty());
}

#[test]
fn an_unclear_target_is_held_with_the_candidates() {
    let policy = webhook(&["backend", "frontend"]);
    let incident = found(std::slice::from_ref(&policy), &[alert(1, [])]).remove(0);
    let facts = Facts { workload: Err(Reason::new(C::TargetNotFound, "")), load: None, inside_target: None };
    let min_confidence = Score::ZERO;
    let guards = Guards { frozen: None, clock: Ok(()), evidence_age_max_s: 60, min_confidence };
    let limits = GlobalLimits::default();
    let decision = decide(&incident, &policy, &facts, &History::default(), &limits, &guards, at(0));
    let Verb::Hold(reasons) = decision.verb else { panic!() };
    assert_eq!(reasons[0].code, C::AmbiguousTarget);
    assert!(reasons[0].text.contains("shop/Deployment/backend, shop/Deployment/frontend"));
}

#[test]
fn an_alert_that_was_acted_on_waits_for_a_new_start() {
    let policy = webhook(&["backend"]);
    let incident = found(std::slice::from_ref(&policy), &[alert(5, [])]).remove(0);
    let mut history = History::default();
    history.handled.insert(incident.fingerprint.clone(), at(-5));
    let facts = Facts { workload: Err(Reason::new(C::TargetNotFound, "")), load: None, inside_target: None };
    let guards = Guards { frozen: None, clock: Ok(()), evidence_age_max_s: 60, min_confidence: Score::ZERO };
    let limits = GlobalLimits::default();
    let codes =
        |incident: &Incident| match decide(incident, &policy, &facts, &history, &limits, &guards, at(0)).verb
        {
            Verb::Hold(reasons) => reasons.iter().map(|it| it.code).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
    assert_eq!(codes(&incident), [C::AlreadyHandled]);
    let again = found(std::slice::from_ref(&policy), &[alert(4, [])]).remove(0);
    assert_eq!(codes(&again), [C::TargetNotFound]);
}

#[test]
fn the_newest_word_about_a_signal_counts() {
    let key = signal("backend", "latency_p95");
    let anomalies = [anomaly(key.clone(), 0.99, at(-60)), anomaly(key, 0.1, at(0))];
    let evidence = Evidence {
        anomalies: &anomalies,
        forecasts: &[],
        alerts: &Alerts::default(),
        promql: &[],
        since: &never,
    };
    assert!(incidents(&[policy()], &evidence, at(0)).is_empty());
}

#[test]
fn a_value_that_is_no_number_is_no_anomaly_and_no_record_keeps_one() {
    let mut odd = anomaly(signal("backend", "latency_p95"), 0.99, at(0));
    odd.expected = (f64::NEG_INFINITY, f64::NAN);
    odd.recent = vec![1.0, f64::NAN];
    let since = |_: &PolicyName, _: usize| Some(at(500));
    let seen = |odd: &Anomaly| {
        let anomalies = [odd.clone()];
        let evidence = Evidence {
            anomalies: &anomalies,
            forecasts: &[],
            alerts: &Alerts::default(),
            promql: &[],
            since: &since,
        };
        incidents(&[policy()], &evidence, at(0))
    };
    let cause = seen(&odd).remove(0).cause;
    assert_eq!((cause.anomalies[0].expected, &cause.anomalies[0].recent), ((f64::MIN, 0.0), &vec![1.0]));
    assert_eq!(cause.since, at(0), "nothing has held since the future");
    odd.value = f64::NAN;
    assert!(seen(&odd).is_empty());
}

#[test]
fn a_forecast_counts_for_its_own_limit_and_only_when_it_is_sure_enough() {
    let (key, crossing) = (signal("backend", "latency_p95"), Crossing::Above(250.0));
    let mut it = policy();
    let probability = Score::new(0.9).unwrap();
    let for_s = 0;
    it.triggers =
        vec![Trigger::Forecast { signal: key.clone(), crossing, within_s: 1_200, probability, for_s }];
    let said = |crossing: Crossing, probability: f64| Forecast {
        key: key.clone(),
        at: at(0),
        value: 180.0,
        crossing,
        within_s: 1_200,
        probability: Score::new(probability).unwrap(),
        expected: 260.0,
        interval: (240.0, 280.0),
    };
    let seen = |forecasts: &[Forecast]| {
        let evidence =
            Evidence { anomalies: &[], forecasts, alerts: &Alerts::default(), promql: &[], since: &never };
        incidents(std::slice::from_ref(&it), &evidence, at(0))
    };
    let sure = said(crossing, 0.93);
    let cause = seen(std::slice::from_ref(&sure)).remove(0).cause;
    assert_eq!(cause.key, "forecast backend/latency_p95 above 250 within 20m");
    assert_eq!((cause.trigger.as_str(), cause.forecasts), ("forecast", vec![sure]));
    assert!(seen(&[said(crossing, 0.89)]).is_empty());
    assert!(seen(&[said(Crossing::Above(251.0), 0.93)]).is_empty());
    assert!(seen(&[]).is_empty(), "no forecast is no yes");
}

#[test]
fn a_query_belongs_to_its_policy_and_index() {
    let mut it = policy();
    it.triggers = vec![Trigger::Promql { query: "up == 0".into(), for_s: 0 }];
    let name = it.name.clone();
    for (row, count) in [((name.clone(), 0, true), 1), ((name.clone(), 1, true), 0), ((name, 0, false), 0)] {
        let promql = [row];
        let evidence = Evidence {
            anomalies: &[],
            forecasts: &[],
            alerts: &Alerts::default(),
            promql: &promql,
            since: &never,
        };
        assert_eq!(incidents(std::slice::from_ref(&it), &evidence, at(0)).len(), count);
        assert_eq!(active_triggers(std::slice::from_ref(&it), &evidence).len(), count);
    }
}

#[test]
fn an_alert_as_large_as_its_sender_liked_is_cut() {
    let mut huge = alert(1, [("namespace", "shop")]);
    for index in 0..1000 {
        huge.labels.insert(format!("a{index}"), "x".repeat(5000));
    }
    let kept = found(&[webhook(&["backend"])], &[huge]).remove(0).cause.alerts.remove(0);
    assert!(kept.labels.len() <= 32 && kept.labels.values().all(|it| it.len() <= 256));
    assert_eq!((kept.name(), kept.labels["namespace"].as_str()), ("Slow", "shop"));
}

#[test]
fn an_alert_about_a_pod_is_about_the_workload_that_owns_it() {
    let policy = webhook(&["checkout", "payments"]);
    let mut about = alert(1, []);
    let found = |alert: &Alert| {
        let alerts: Alerts = [Arc::new(alert.clone())].into_iter().collect();
        let evidence =
            Evidence { anomalies: &[], forecasts: &[], alerts: &alerts, promql: &[], since: &|_, _| None };
        incidents(std::slice::from_ref(&policy), &evidence, at(0))
    };
    let unclear = &found(&about)[0];
    assert!(check_target(unclear, &policy).is_err(), "two workloads could be meant");
    about.owner = Some(policy.targets()[1].clone());
    let clear = &found(&about)[0];
    assert_eq!((clear.target.name.as_str(), check_target(clear, &policy)), ("payments", Ok(())));
    // Somebody else's pod moves nothing of ours, even when only one workload is allowed.
    about.owner =
        Some(WorkloadRef { name: ObjectName::new("other").unwrap(), ..policy.targets()[0].clone() });
    assert_eq!(found(&about), []);
}

#[test]
fn an_anomaly_lasts_while_its_episode_is_open_and_was_as_bad_as_the_trigger_asks() {
    let mut trigger = policy().triggers.remove(0);
    let worst = |score: f64| Score::new(score).unwrap();
    let lull = |worst: Score, end: Option<Timestamp>| Anomaly {
        episode: Some(Episode { start: at(-300), peak: at(-200), worst, end, adopted: false }),
        ..anomaly(signal("backend", "latency_p95"), 0.79, at(0))
    };
    let open = lull(worst(0.9), None);
    assert!(lasts(&trigger, std::slice::from_ref(&open)));
    let evidence = Evidence {
        anomalies: std::slice::from_ref(&open),
        forecasts: &[],
        alerts: &Alerts::default(),
        promql: &[],
        since: &never,
    };
    assert!(active_triggers(&[policy()], &evidence).is_empty(), "nothing is done in a lull");
    assert!(!lasts(&trigger, &[lull(worst(0.9), Some(at(-60)))]), "over");
    assert!(!lasts(&trigger, &[lull(worst(0.79), None)]), "never as bad");
    assert!(
        !lasts(&trigger, &[open.clone(), anomaly(open.key.clone(), 0.1, at(30))]),
        "the newest word counts"
    );
    assert!(!lasts(&trigger, &[]));
    if let Trigger::Anomaly { min_severity, .. } = &mut trigger {
        *min_severity = Some(Severity::Critical);
    }
    assert!(!lasts(&trigger, &[open]));
    assert!(lasts(&trigger, &[lull(worst(0.96), None)]));
}
