//! A remediator whose detectors come and go: what it holds, what it leaves alone, and that it goes on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::Reconciler;
use super::evidence::{Evidence, Observer};
use super::harness::{POLICY, TICK, World, latency_policy, open, signal};
use super::report::TickReport;
use crate::detect::EnsembleSettings;
use crate::model::action::ActionState;
use crate::model::anomaly::{Episode, Score};
use crate::model::fixtures::anomaly;
use crate::model::history::History;
use crate::model::ids::SignalName;
use crate::model::reason::ReasonCode;
use crate::model::selector::Selector;
use crate::model::services::ServiceGraph;
use crate::model::shard::{Shard, ShardReport, SignalRead, home};
use crate::model::signal::{ServiceOf, SignalKey, SourceKind};
use crate::observe::metrics::MetricSource;
use crate::observe::pushed::Pushed;
use crate::observe::shards::{ShardError, ShardSource};
use crate::observe::signals::{SignalConfig, SignalState, SignalWindows};
use crate::observe::sources::Sources;
use crate::outside::clock::Clock as _;

/// Two detectors; the one that watches the latency says what the test wants.
#[derive(Debug, Default)]
struct Detectors {
    lost: Mutex<BTreeSet<u32>>,
    calm: Mutex<bool>,
    lull: Mutex<bool>,
}

impl Detectors {
    fn lose(&self, ordinal: u32) {
        self.lost.lock().unwrap().insert(ordinal);
    }

    fn find_all(&self) {
        self.lost.lock().unwrap().clear();
    }

    fn calm(&self) {
        *self.calm.lock().unwrap() = true;
    }
}

impl ShardSource for Detectors {
    fn ask(&self, floor: Score, now: Timestamp) -> BoxFuture<'_, Vec<Result<ShardReport, ShardError>>> {
        let one = |ordinal| {
            if self.lost.lock().unwrap().contains(&ordinal) {
                return Err(ShardError::Status(503));
            }
            let read = SignalRead {
                signal: signal().signal,
                of: ServiceOf::Named(signal().service),
                trouble: None,
                unwatched: BTreeSet::new(),
            };
            let score = if *self.calm.lock().unwrap() { 0.1 } else { 0.9 };
            let mut scored = anomaly(signal(), score, now);
            if *self.lull.lock().unwrap() {
                let worst = scored.score;
                scored.score = Score::clamped(0.79);
                scored.episode = Some(Episode { start: now, peak: now, worst, end: None, adopted: false });
            }
            let own: Vec<_> = (ordinal == home(&signal(), 2)).then_some(scored).into_iter().collect();
            let report = ShardReport::new(Shard::new(ordinal, 2).unwrap(), now, vec![read], &own, own.len());
            Ok(report.above(floor))
        };
        std::future::ready((0..2).map(one).collect()).boxed()
    }
}

/// Of the detectors, the one that watches the signal, and the other one.
fn ours_and_other() -> (u32, u32) {
    let ours = home(&signal(), 2);
    (ours, 1 - ours)
}

fn anomaly_policy(mode: &str) -> String {
    let text = latency_policy(mode);
    let edited = text.replace(
        "{ type: promql, query: slow }",
        "{ type: anomaly, signal: latency_p95, service: backend, threshold: 0.8 }",
    );
    assert_ne!(text, edited);
    edited
}

fn remediator(world: &World, name: &str, detectors: &Arc<Detectors>) -> Reconciler {
    world.reconciler_with(name, |parts| parts.observer.hear(Arc::clone(detectors) as Arc<dyn ShardSource>))
}

fn is_merged(history: &History) -> bool {
    open(history, "backend").is_some_and(|it| it.state() == ActionState::Merged)
}

fn codes(report: &TickReport) -> Vec<ReasonCode> {
    report.held.iter().flat_map(|it| &it.reasons).map(|it| it.code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shard_holds_its_policies_by_name_and_they_go_on_when_it_is_back() {
    let (ours, other) = ours_and_other();
    let world = World::new(&anomaly_policy("Propose"));
    let detectors = Arc::new(Detectors::default());
    let mut tars = remediator(&world, "a", &detectors);
    detectors.lose(ours);
    for _ in 0..3 {
        let report = world.tick(&mut tars).await;
        assert_eq!(codes(&report), [ReasonCode::DetectorLost]);
        let text = &report.held[0].reasons[0].text;
        assert!(text.contains(&format!("shard {ours} of 2")), "{text}");
        assert_eq!(
            (report.held[0].escalate, report.held[0].incident.target.name.as_str()),
            (false, "backend")
        );
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }
    assert!(world.proposals().is_empty());
    detectors.find_all();
    detectors.lose(other);
    world.until(&mut tars, 2, |history| open(history, "backend").is_some()).await;
    world.run(&mut tars, 3).await;
    assert_eq!(world.proposals().len(), 1);
}

/// The signal is calm by what the remediator measures itself: without a word of the detector that ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_is_not_closed_as_needless_while_its_shard_is_lost() {
    let (ours, _) = ours_and_other();
    let world = World::new(&anomaly_policy("Propose"));
    let detectors = Arc::new(Detectors::default());
    let mut tars = remediator(&world, "a", &detectors);
    world.until(&mut tars, 2, |history| open(history, "backend").is_some()).await;
    world.metrics.level(100.0);
    detectors.calm();
    detectors.lose(ours);
    world.run(&mut tars, 30).await;
    assert!(world.states().iter().all(|it| *it == ActionState::Proposed), "{:?}", world.story());
    let record = open(tars.memory().history(), "backend").unwrap();
    assert!(
        record.status.holds.iter().any(|it| it.code == ReasonCode::DetectorLost),
        "{:?}",
        record.status.holds
    );
    detectors.find_all();
    world.until(&mut tars, 3, |history| open(history, "backend").is_none()).await;
    assert_eq!(world.states().last(), Some(&ActionState::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_merges_on_what_a_lost_shard_said_before() {
    let (ours, _) = ours_and_other();
    let world = World::new(&anomaly_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("wait\n"))]);
    let detectors = Arc::new(Detectors::default());
    let mut tars = remediator(&world, "a", &detectors);
    world.until(&mut tars, 2, |history| open(history, "backend").is_some()).await;
    detectors.lose(ours);
    world.commit(&[("policies/SUSPENDED", None)]);
    world.run(&mut tars, 6).await;
    assert!(world.states().iter().all(|it| *it == ActionState::Proposed), "{:?}", world.story());
    detectors.find_all();
    world.until(&mut tars, 4, is_merged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_that_is_heard_merges_nothing_while_the_values_to_verify_by_are_old() {
    let world = World::new(&anomaly_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("wait\n"))]);
    let detectors = Arc::new(Detectors::default());
    let mut tars = remediator(&world, "a", &detectors);
    world.until(&mut tars, 2, |history| open(history, "backend").is_some()).await;
    world.metrics.level(None);
    world.run(&mut tars, 12).await;
    world.commit(&[("policies/SUSPENDED", None)]);
    world.run(&mut tars, 4).await;
    assert!(world.states().iter().all(|it| *it == ActionState::Proposed), "{:?}", world.story());
    world.metrics.level(500.0);
    world.until(&mut tars, 4, is_merged).await;
}

/// Whoever watches the cause may be the one that is lost.
#[tokio::test(flavor = "multi_thread")]
async fn with_calls_known_a_lost_shard_holds_every_merge_that_may_answer_another_ones_trouble() {
    let (_, other) = ours_and_other();
    for (calls, expected) in [(vec![], true), (vec![("backend", "cart")], false)] {
        let world = World::new(&latency_policy("AutoMerge"));
        let detectors = Arc::new(Detectors::default());
        detectors.lose(other);
        let mut tars = world.reconciler_with("a", |parts| {
            parts.observer.graph = ServiceGraph::of(calls.iter().copied());
            parts.observer.hear(Arc::clone(&detectors) as Arc<dyn ShardSource>);
        });
        world.run(&mut tars, 5).await;
        let merged = world.states().contains(&ActionState::Merged);
        assert_eq!(merged, expected, "{calls:?}: {:?}", world.story());
        detectors.find_all();
        if !merged {
            world.until(&mut tars, 3, is_merged).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_remediators_act_once_on_what_the_detectors_say() {
    let world = World::new(&anomaly_policy("AutoMerge"));
    let detectors = Arc::new(Detectors::default());
    let (mut one, mut two) = (remediator(&world, "one", &detectors), remediator(&world, "two", &detectors));
    for _ in 0..4 {
        tokio::join!(one.tick(), two.tick());
        world.clock.advance(TICK);
    }
    let merged = world.states().into_iter().filter(|it| *it == ActionState::Merged).count();
    assert_eq!(merged, 1, "{:?}", world.story());
    assert!(world.file("apps/backend.yaml").contains("replicas: 5"));
}

/// Its own windows are of what policies name: a remediator that nobody asks to verify asks for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_remediator_measures_what_it_verifies_and_nothing_else() {
    let world = World::new(&anomaly_policy("Propose"));
    let detectors = Arc::new(Detectors::default());
    let config = |key: SignalKey| SignalConfig {
        signal: key.signal,
        service: ServiceOf::Named(key.service),
        source: SourceKind::Prometheus,
        query: "latency".to_owned(),
        step_s: 30,
        window_s: 2_400,
        period: None,
        staleness_s: 300,
    };
    let unnamed = SignalKey { signal: signal().signal, service: SignalName::new("checkout").unwrap() };
    let mut tars = world.reconciler_with("a", |parts| {
        let windows = SignalWindows::new(vec![config(signal()), config(unnamed)]).unwrap();
        let sources = Sources::only(Arc::new(world.metrics.clone()));
        parts.observer = Observer::new(sources, windows, EnsembleSettings::default());
        parts.observer.hear(Arc::clone(&detectors) as Arc<dyn ShardSource>);
    });
    let (evidence, _) = tars.tick().await;
    assert_eq!(evidence.signals.keys().cloned().collect::<Vec<_>>(), [signal()]);
    world.commit(&[(POLICY, None)]);
    world.run(&mut tars, 2).await;
    let (evidence, _) = tars.tick().await;
    let named = tars.memory().history().open.len();
    assert_eq!(evidence.signals.len(), named, "an action that is open is still judged");
}

/// It forecasts, finds causes and verifies by windows of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_to_a_remediator_outlives_it() {
    let world = World::new(&anomaly_policy("Observe"));
    let folder = tempfile::tempdir().unwrap();
    let start = |push: Arc<dyn MetricSource>| {
        let config = SignalConfig {
            signal: signal().signal,
            service: ServiceOf::Named(signal().service),
            source: SourceKind::Push,
            query: "latency".to_owned(),
            step_s: 30,
            window_s: 2_400,
            period: None,
            staleness_s: 300,
        };
        world.reconciler_with("a", |parts| {
            let windows = SignalWindows::new(vec![config]).unwrap();
            let sources = Sources { push: Some(push), ..Sources::only(Arc::new(world.metrics.clone())) };
            let observer = Observer::new(sources, windows, EnsembleSettings::default());
            parts.observer = observer.kept_in(folder.path().join("detector.states"));
            parts.observer.hear(Arc::new(Detectors::default()));
        })
    };
    let mut before = start(Arc::new(world.metrics.clone()));
    world.run(&mut before, 3).await;
    let (seen, _) = before.tick().await;
    before.keep();
    drop(before);
    let nothing_yet = Pushed::new([("latency".to_owned(), Selector::parse("latency").unwrap())]);
    let (goes_on, _) = start(Arc::new(nothing_yet)).tick().await;
    let last = |evidence: &Evidence| evidence.state(&signal()).and_then(SignalState::last);
    assert!(last(&seen).is_some());
    assert_eq!(last(&goes_on), last(&seen));
}

/// Both end nothing and both begin nothing: the proposal comes three minutes after the first look, not after the last break.
#[tokio::test(flavor = "multi_thread")]
async fn a_lull_and_a_lost_answer_do_not_restart_the_time_that_a_trigger_has_to_hold() {
    let (ours, _) = ours_and_other();
    let world =
        World::new(&anomaly_policy("Propose").replace("threshold: 0.8 }", "threshold: 0.8, for: 3m }"));
    let detectors = Arc::new(Detectors::default());
    let mut tars = remediator(&world, "a", &detectors);
    let first = world.clock.now();
    let report = world.run(&mut tars, 2).await;
    assert_eq!(codes(&report), [ReasonCode::NotLongEnough]);
    *detectors.lull.lock().unwrap() = true;
    assert_eq!(codes(&world.run(&mut tars, 1).await), []);
    *detectors.lull.lock().unwrap() = false;
    detectors.lose(ours);
    assert_eq!(codes(&world.run(&mut tars, 1).await), [ReasonCode::DetectorLost]);
    detectors.find_all();
    while world.clock.now().duration_since(first).as_secs() < 180 {
        assert_eq!(codes(&world.run(&mut tars, 1).await), [ReasonCode::NotLongEnough]);
    }
    // What has held long enough opens nothing while it is not seen.
    *detectors.lull.lock().unwrap() = true;
    world.run(&mut tars, 2).await;
    assert!(world.proposals().is_empty());
    *detectors.lull.lock().unwrap() = false;
    world.run(&mut tars, 1).await;
    let record = open(tars.memory().history(), "backend").unwrap();
    assert_eq!(record.spec.cause.since, first);
}
