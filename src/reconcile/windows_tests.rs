//! Short windows decide as whole ones do: the same fleet once as series of one signal, whose windows are short unless
//! somebody names them, and once as signals of one series each, whose windows are always whole.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use proptest::prelude::*;

use super::evidence::{Evidence, Observer};
use crate::detect::EnsembleSettings;
use crate::model::anomaly::Score;
use crate::model::fixtures::{at, policy, signal};
use crate::model::forecast::Crossing;
use crate::model::ids::SignalName;
use crate::model::policy::{Policy, Trigger};
use crate::model::services::ServiceGraph;
use crate::model::signal::{Sample, ServiceOf, SourceKind};
use crate::observe::metrics::{FoundSeries, InstantResult, Labels, MetricSource, RangeResult, SourceError};
use crate::observe::signals::{SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::observe::spool::Spool;
use crate::outside::clock::OutsideClock;

const STEP_S: i64 = 30;
const DAY_SLOTS: i64 = 2_880;
/// The last one is never named.
const SERVICES: [&str; 6] = ["cart", "db", "mail", "search", "web", "zip"];
const ALL: &str = "all";
/// A query that never gets an answer.
const HANGS: &str = "hangs";

/// Every service has a season, noise, gaps, values that come late, and surges.
#[derive(Debug, Default)]
struct Fleet {
    now_s: Mutex<i64>,
    is_away: Mutex<bool>,
}

fn noise(service: usize, slot: i64) -> i64 {
    (slot.wrapping_add(service as i64 * 7_919).wrapping_mul(2_654_435_761) >> 9).rem_euclid(1_000)
}

fn value(service: usize, slot: i64) -> Option<f64> {
    let noise = noise(service, slot);
    let season = 20.0 * (std::f64::consts::TAU * slot as f64 / 120.0).sin();
    let surge = if (slot / 9 + service as i64) % 7 == 0 && slot > DAY_SLOTS { 300.0 } else { 0.0 };
    (noise % 31 != 0).then_some(180.0 + season + surge + noise as f64 / 100.0)
}

impl Fleet {
    fn samples(&self, service: usize, (from_s, to_s): (i64, i64)) -> Vec<Sample> {
        let now_s = *self.now_s.lock().unwrap();
        let one = |at_s: i64| {
            let slot = (at_s - at(0).as_second()) / STEP_S;
            let late_s = if noise(service, slot) % 11 == 0 { 45 } else { 0 };
            let value = value(service, slot).filter(|_| at_s + late_s <= now_s)?;
            Some(Sample { at: Timestamp::from_second(at_s).unwrap(), value })
        };
        (from_s..=to_s).step_by(STEP_S as usize).filter_map(one).collect()
    }
}

impl MetricSource for Fleet {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        _: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let span = (start.as_second(), end.as_second());
        let one = |(index, service): (usize, &&str)| FoundSeries {
            labels: Labels::of(vec![("app".to_owned(), (*service).to_owned())]),
            samples: self.samples(index, span),
        };
        let all = SERVICES.iter().enumerate();
        let series = all.filter(|it| query == ALL || query == *it.1).map(one).collect();
        let answer = match *self.is_away.lock().unwrap() {
            true => Err(SourceError::NotTheApi("away".to_owned())),
            false => Ok(RangeResult { series, warnings: Vec::new() }),
        };
        std::future::ready(answer).boxed()
    }

    fn instant<'a>(
        &'a self,
        query: &'a str,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        if query == HANGS {
            return std::future::pending().boxed();
        }
        std::future::ready(Ok(InstantResult { non_empty: false, value: None })).boxed()
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

fn config(query: &str, service: ServiceOf) -> SignalConfig {
    SignalConfig {
        signal: SignalName::new("latency_p95").unwrap(),
        service,
        source: SourceKind::Prometheus,
        query: query.to_owned(),
        step_s: STEP_S as u32,
        window_s: 86_400,
        period: None,
        staleness_s: 120,
    }
}

fn observer(fleet: &Arc<Fleet>, configs: Vec<SignalConfig>) -> Observer {
    let windows = SignalWindows::new(configs).unwrap();
    let sources = Sources::only(Arc::<Fleet>::clone(fleet));
    Observer::new(sources, windows, EnsembleSettings::default())
        .with_graph(ServiceGraph::of([("web", "cart"), ("cart", "db")]))
}

/// A policy that looks ahead of this service, and judges by it.
fn ahead_of(service: &str) -> Policy {
    let key = signal(service, "latency_p95");
    let mut policy = policy();
    let (crossing, probability) = (Crossing::Above(400.0), Score::clamped(0.5));
    policy.triggers =
        vec![Trigger::Forecast { signal: key.clone(), crossing, within_s: 1_200, probability, for_s: 0 }];
    policy.verify.signal = key;
    policy
}

/// Nothing that is decided by differs.
fn same(short: &Evidence, whole: &Evidence, named: &[&str]) -> Result<(), TestCaseError> {
    prop_assert_eq!(&short.anomalies, &whole.anomalies);
    prop_assert_eq!(&short.forecasts, &whole.forecasts);
    for service in SERVICES {
        prop_assert_eq!(short.correlations.about(service), whole.correlations.about(service));
        let key = signal(service, "latency_p95");
        let slots = [short, whole].map(|it| it.state(&key).map_or(0, |it| it.window.slots()));
        prop_assert!(slots[0] <= slots[1]);
        if named.contains(&service) || ["web", "cart", "db"].contains(&service) {
            prop_assert_eq!(short.series(&key), whole.series(&key), "{}", service);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn short_windows_decide_as_whole_ones_do(
        ticks in prop::collection::vec((1_i64..4, 0_usize..4, 0_u32..12), 8..24),
        outage in 1_i64..400,
    ) {
        let fleet = Arc::new(Fleet::default());
        let by_name = |it: &&str| config(it, ServiceOf::Named(SignalName::new(*it).unwrap()));
        let mut short = observer(&fleet, vec![config(ALL, ServiceOf::Label("app".to_owned()))]);
        let mut whole = observer(&fleet, SERVICES.iter().map(by_name).collect());
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 86_400).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (mut slot, mut shortest) = (DAY_SLOTS, DAY_SLOTS as usize);
        let (half, last, mut named) = (ticks.len() / 2, ticks.len() - 1, &[][..]);
        for (index, (slots, choice, fails)) in ticks.into_iter().enumerate() {
            slot += if index == half { outage } else { slots };
            let now = at(slot * STEP_S);
            *fleet.now_s.lock().unwrap() = now.as_second();
            let is_away = fails == 0 && index > 0 && index < last;
            *fleet.is_away.lock().unwrap() = is_away;
            // With a name comes a question for the past, and nobody has it while the source is away.
            if !is_away {
                named = [&["mail"][..], &["search"], &["mail", "search"], &[]][choice];
            }
            let policies: Vec<Policy> = named.iter().map(|it| ahead_of(it)).collect();
            let [one, other] = [&mut short, &mut whole]
                .map(|it| runtime.block_on(it.look(&spool, (&policies, &[]), now)));
            same(&one, &other, named)?;
            let slots = one.signals.values().map(|it| it.window.slots());
            shortest = shortest.min(slots.min().unwrap_or(usize::MAX));
        }
        prop_assert!(shortest < 200 + outage as usize, "what nobody named was short: {}", shortest);
    }
}

#[tokio::test]
async fn triggers_that_get_no_answer_hold_up_no_look_and_are_told() {
    let fleet = Arc::new(Fleet::default());
    let observer = observer(&fleet, Vec::new());
    let asks = |query: &str| Trigger::Promql { query: query.to_owned(), for_s: 0 };
    let mut policy = policy();
    policy.triggers = [vec![asks("up"); 5], vec![asks(HANGS); 40]].concat();
    let mut troubles = Vec::new();
    let answered = observer.ask_triggers(&[policy], at(0), Duration::from_millis(50), &mut troubles).await;
    assert_eq!((answered.len(), troubles.len()), (5, 45));
    let slow = troubles.iter().filter(|it| matches!(it.error.as_deref(), Some(SourceError::Slow(_))));
    assert_eq!(slow.count(), 40);
}
