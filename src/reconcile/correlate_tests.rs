//! A service in trouble and one that calls it, on the whole order: who is acted on, who is held.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::evidence::Observer;
use super::harness::*;
use super::report::TickReport;
use super::{Parts, Reconciler};
use crate::detect::EnsembleSettings;
use crate::model::action::ActionState as S;
use crate::model::alert::AlertStatus;
use crate::model::anomaly::Score;
use crate::model::ids::SignalName;
use crate::model::reason::ReasonCode;
use crate::model::services::ServiceGraph;
use crate::model::shard::{Shard, ShardReport, home};
use crate::model::signal::{ServiceOf, SourceKind};
use crate::observe::shards::{ShardError, ShardSource};
use crate::observe::signals::{Keep, SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::outside::clock::Clock as _;

pub const SERVICES: [&str; 2] = ["frontend", "backend"];

/// Scales `service` by two when its latency is strange.
fn policy(service: &str, mode: &str) -> String {
    let trigger = format!("- {{ type: anomaly, signal: latency_p95, service: {service}, threshold: 0.8 }}");
    scale_policy(service, service, SLOW, mode)
        .replace(&format!("- {{ type: promql, query: {SLOW} }}"), &trigger)
        .replace("service: backend\n", &format!("service: {service}\n"))
}

/// Two services, each with a policy, each as slow as always.
pub fn world(mode: &str) -> World {
    let world = World::with(&[
        ("apps/frontend.yaml", &deployment("frontend")),
        ("apps/backend.yaml", &deployment("backend")),
        ("policies/frontend.yaml", &policy("frontend", mode)),
        ("policies/backend.yaml", &policy("backend", mode)),
    ]);
    for service in SERVICES {
        world.metrics.level_of(service, 100.0);
    }
    world
}

pub fn observer(world: &World, measured: &[&str], keep: Keep) -> Observer {
    let config = |service: &&str| SignalConfig {
        signal: SignalName::new("latency_p95").unwrap(),
        service: ServiceOf::Named(SignalName::new(*service).unwrap()),
        source: SourceKind::Prometheus,
        query: (*service).to_owned(),
        step_s: 30,
        window_s: 7_200,
        period: None,
        staleness_s: 300,
    };
    let mut windows = SignalWindows::new(measured.iter().map(config).collect()).unwrap();
    windows.keep(keep);
    let sources = Sources::only(Arc::new(world.metrics.clone()));
    Observer::new(sources, windows, EnsembleSettings::default())
}

fn reconciler(world: &World, measured: &[&str], calls: &[(&str, &str)]) -> Reconciler {
    let graph = ServiceGraph::of(calls.iter().copied());
    let observer = observer(world, measured, Keep::All).with_graph(graph);
    world.reconciler_with("a", |parts: &mut Parts| parts.observer = observer)
}

/// Detectors as they are, without the wire.
#[derive(Debug)]
struct Detectors(Mutex<Vec<(Shard, Observer)>>);

impl Detectors {
    fn of(world: &World) -> Self {
        let one = |ordinal| {
            let shard = Shard::new(ordinal, 2).unwrap();
            (shard, observer(world, &SERVICES, Keep::Shard(shard)))
        };
        Self(Mutex::new((0..2).map(one).collect()))
    }
}

impl ShardSource for Detectors {
    fn ask(&self, floor: Score, now: Timestamp) -> BoxFuture<'_, Vec<Result<ShardReport, ShardError>>> {
        async move {
            let mut answers = Vec::new();
            for (shard, observer) in self.0.lock().await.iter_mut() {
                let evidence = observer.scan(now).await;
                let (reads, scored) = (observer.reads(now), &evidence.anomalies);
                let report = ShardReport::new(*shard, now, reads, scored, evidence.signals.len());
                answers.push(Ok(report.above(floor)));
            }
            answers
        }
        .boxed()
    }
}

/// Both services become slow at once, the one that is called and the one that calls it.
pub async fn both_slow(world: &World, tars: &mut Reconciler) -> TickReport {
    world.run(tars, 3).await;
    for service in SERVICES {
        world.metrics.level_of(service, 500.0);
    }
    let report = world.run(tars, 1).await;
    world.run(tars, 3).await;
    report
}

pub fn policies(world: &World) -> Vec<String> {
    world.story().into_iter().filter(|it| it.1 == S::Proposed).map(|it| it.0).collect()
}

#[tokio::test]
async fn the_cause_is_acted_on_and_its_victim_is_held_with_the_way_named() {
    let world = world("Propose");
    let mut tars = reconciler(&world, &SERVICES, &[("frontend", "backend")]);
    let report = both_slow(&world, &mut tars).await;
    assert_eq!(policies(&world), ["backend"], "{report:?}");
    let held = report.held.iter().find(|it| it.incident.policy.as_str() == "frontend").unwrap();
    assert!(!held.escalate, "one page is enough");
    assert_eq!(held.reasons[0].code, ReasonCode::CauseElsewhere);
    let text = &held.reasons[0].text;
    assert!(text.starts_with("frontend calls backend, where latency_p95 left its past by "), "{text}");
    let record = open(tars.memory().history(), "backend").unwrap();
    let correlation = record.spec.cause.correlation.as_ref().unwrap();
    assert_eq!((&correlation.way, &correlation.victims), (&vec!["backend".into()], &vec!["frontend".into()]));
    let shown = &record.spec.pull_request.as_ref().unwrap().body;
    assert!(shown.contains("CauseElsewhere") && shown.contains("frontend"), "{shown}");
}

#[tokio::test]
async fn without_calls_or_with_calls_the_other_way_every_trouble_stands_for_itself_or_for_the_other() {
    let alone = world("Propose");
    both_slow(&alone, &mut reconciler(&alone, &SERVICES, &[])).await;
    let mut both = policies(&alone);
    both.sort();
    assert_eq!(both, ["backend", "frontend"]);
    let turned = world("Propose");
    both_slow(&turned, &mut reconciler(&turned, &SERVICES, &[("backend", "frontend")])).await;
    assert_eq!(policies(&turned), ["frontend"]);
}

#[tokio::test]
async fn a_victim_that_stays_slow_when_the_cause_is_well_again_is_acted_on() {
    let world = world("Propose");
    let mut tars = reconciler(&world, &SERVICES, &[("frontend", "backend")]);
    both_slow(&world, &mut tars).await;
    assert_eq!(policies(&world), ["backend"]);
    world.clock.advance(std::time::Duration::from_secs(2 * 3_600));
    world.metrics.level_of("backend", 100.0);
    world.run(&mut tars, 1).await;
    world.metrics.level_of("frontend", 5_000.0);
    world.run(&mut tars, 4).await;
    assert!(policies(&world).contains(&"frontend".to_owned()), "{:?}", policies(&world));
}

#[tokio::test]
async fn an_alert_about_a_service_without_a_signal_is_held_for_the_one_it_calls() {
    let world = world("Propose");
    let by_alert = policy("frontend", "Propose").replace(
        "{ type: anomaly, signal: latency_p95, service: frontend, threshold: 0.8 }",
        "{ type: webhook, alertname: Slow }",
    );
    world.commit(&[("policies/frontend.yaml", Some(&by_alert))]);
    let mut tars = reconciler(&world, &["backend"], &[("frontend", "backend")]);
    let mut told = alert("Slow", AlertStatus::Firing, world.clock.now());
    told.labels.insert("deployment".into(), "frontend".into());
    world.run(&mut tars, 3).await;
    world.metrics.level_of("backend", 500.0);
    tars.spool().accept(&[told], world.clock.now()).unwrap();
    let report = world.run(&mut tars, 1).await;
    assert_eq!(policies(&world), ["backend"], "{report:?}");
    let held = report.held.iter().find(|it| it.incident.policy.as_str() == "frontend").unwrap();
    assert_eq!(held.reasons[0].code, ReasonCode::CauseElsewhere);
}

/// Two detectors see one service each, and no policy is about the cause: its past is read for the graph alone.
#[tokio::test]
async fn a_remediator_holds_a_victim_whose_cause_another_shard_scores() {
    let world = world("Propose");
    world.commit(&[("policies/backend.yaml", None)]);
    let homes = SERVICES.map(|it| home(&crate::model::fixtures::signal(it, "latency_p95"), 2));
    assert_ne!(homes[0], homes[1]);
    let graph = ServiceGraph::of([("frontend", "backend")]);
    let mut observer = observer(&world, &SERVICES, Keep::All).with_graph(graph);
    observer.hear(Arc::new(Detectors::of(&world)));
    let mut tars = world.reconciler_with("a", |parts: &mut Parts| parts.observer = observer);
    let report = both_slow(&world, &mut tars).await;
    assert_eq!(policies(&world), [""; 0], "{report:?}");
    let held = report.held.iter().find(|it| it.incident.policy.as_str() == "frontend").unwrap();
    assert_eq!(held.reasons[0].code, ReasonCode::CauseElsewhere);
    let text = &held.reasons[0].text;
    assert!(text.starts_with("frontend calls backend, where latency_p95 left its past by "), "{text}");
    assert!(held.escalate, "nobody else says that backend is the cause");
}

/// What the first look at both slow services makes of the frontend, with `policy` for the backend.
async fn frontend_with(policy: Option<&str>) -> (bool, Vec<(ReasonCode, String)>) {
    let world = world("Propose");
    world.commit(&[("policies/backend.yaml", policy)]);
    let report = both_slow(&world, &mut reconciler(&world, &SERVICES, &[("frontend", "backend")])).await;
    let held = report.held.into_iter().find(|it| it.incident.policy.as_str() == "frontend").unwrap();
    (held.escalate, held.reasons.into_iter().map(|it| (it.code, it.text)).collect())
}

#[tokio::test]
async fn a_victim_of_a_cause_that_no_policy_acts_on_calls_a_person() {
    let suspended = policy("backend", "Propose").replace("spec:\n", "spec:\n  suspend: true\n");
    for nobody in [None, Some(suspended.as_str())] {
        let (escalate, reasons) = frontend_with(nobody).await;
        assert!(escalate, "{reasons:?}");
        assert!(reasons.iter().all(|it| it.0 == ReasonCode::CauseElsewhere), "{reasons:?}");
        let text = &reasons.last().unwrap().1;
        assert_eq!(text, "no policy that is in force acts on backend: somebody has to look there");
    }
    let observes = policy("backend", "Observe");
    assert!(!frontend_with(Some(&observes)).await.0, "somebody chose to look on there");
}

#[tokio::test]
async fn nobody_is_called_for_a_victim_before_its_trigger_has_held_long_enough() {
    let world = world("Propose");
    let waits = policy("frontend", "Propose").replace("threshold: 0.8 }", "threshold: 0.8, for: 5m }");
    world.commit(&[("policies/backend.yaml", None), ("policies/frontend.yaml", Some(&waits))]);
    let report = both_slow(&world, &mut reconciler(&world, &SERVICES, &[("frontend", "backend")])).await;
    let codes: Vec<_> = report.held[0].reasons.iter().map(|it| it.code).collect();
    assert_eq!(codes, [ReasonCode::NotLongEnough, ReasonCode::CauseElsewhere]);
    assert!(!report.held[0].escalate);
}
