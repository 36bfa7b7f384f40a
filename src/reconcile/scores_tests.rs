//! Each promise of the scores of the loop by itself, and a restart in the middle of the loop.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::eval::{CandidateName, Meta};
use crate::model::anomaly::{FALSE_ALARMS_PER_WEEK, Method, ModelName, Weights};
use crate::model::fixtures::{at, signal};
use crate::model::signal::{Sample, Series, ServiceOf, SignalKey, SourceKind};
use crate::observe::metrics::{FoundSeries, InstantResult, Labels, MetricSource, RangeResult, SourceError};
use crate::observe::signals::{Meaning, SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::observe::window::Window;
use crate::outside::clock::{Clock as _, OutsideClock};
use crate::outside::files;
use crate::reconcile::evidence::{Evidence, Observer};
use crate::reconcile::harness::{self, World, latency_policy};

const STEP_S: i64 = 30;
const DAY_SLOTS: i64 = 2_880;

/// A signal with a season of an hour, some noise, gaps, and a surge near the end of the second day.
fn value(slot: i64) -> Option<f64> {
    let noise = (slot.wrapping_mul(2_654_435_761) >> 7).rem_euclid(1_000) as f64 / 100.0;
    let season = 20.0 * (std::f64::consts::TAU * slot as f64 / 120.0).sin();
    let surge = if (5_000..5_040).contains(&slot) { 300.0 } else { 0.0 };
    (slot % 97 != 0).then_some(180.0 + season + noise + surge)
}

/// The day up to slot `end`.
fn state(key: SignalKey, end: i64) -> SignalState {
    let first = (end - DAY_SLOTS + 1).max(0);
    let series = Series {
        key: key.clone(),
        start: at(first * STEP_S),
        step_s: STEP_S as u32,
        values: (first..=end).map(value).collect(),
    };
    SignalState {
        key,
        window: Arc::new(Window::of(&series)),
        age_s: Some(0),
        stale: false,
        staleness_s: 120,
        period: None,
        meaning: Meaning([1; 16]),
        error: None,
    }
}

fn key() -> SignalKey {
    signal("backend", "latency_p95")
}

fn look(scores: &mut Scores, end: i64) -> Option<Anomaly> {
    scores.restore();
    scores.look(&[state(key(), end)], at(end * STEP_S)).pop()
}

fn scores() -> Scores {
    Scores::new(EnsembleSettings::default())
}

fn is_from_stream(anomaly: &Anomaly) -> bool {
    anomaly.method == Method::Stream
}

#[test]
fn the_score_of_the_loop_is_that_of_the_detector_that_is_evaluated() {
    let mut candidate = CandidateName::Stream.start(Meta {
        interval_s: STEP_S as u32,
        every: 1,
        false_alarms_per_week: FALSE_ALARMS_PER_WEEK,
    });
    let mut scores = scores();
    let mut surge: f64 = 0.0;
    for slot in 0..5_100 {
        let evaluated = candidate.step(at(slot * STEP_S).as_second(), value(slot));
        // The first look has most of the past at once, the others a few slots each.
        if slot < 2_000 || slot % 3 == 1 {
            continue;
        }
        match look(&mut scores, slot) {
            None => assert_eq!(value(slot), None),
            Some(anomaly) => assert_eq!(anomaly.score.get(), evaluated, "slot {slot}"),
        }
        surge = surge.max(evaluated);
    }
    assert!(surge >= 0.9, "{surge}");
}

#[test]
fn the_window_speaks_alone_until_the_stream_has_seen_two_blocks_and_both_say_who_they_are() {
    let mut scores = scores();
    let young = look(&mut scores, 400).unwrap();
    assert!(!is_from_stream(&young) && !young.warming_up, "{young:?}");
    assert_eq!(
        young.score,
        detect::score(&state(key(), 400).series(), &EnsembleSettings::default()).unwrap().score
    );
    let settled = look(&mut scores, 500).unwrap();
    assert!(is_from_stream(&settled), "{settled:?}");
    assert_eq!((settled.recent.len(), settled.models.len()), (60 - 1, 3), "one slot of the hour is a gap");
}

#[test]
fn a_series_that_vanishes_and_returns_goes_on_from_what_was_known_for_a_week() {
    let mut scores = scores();
    look(&mut scores, 5_000);
    let known = scores.states[&key()].state.clone();
    for slot in 5_001..5_030 {
        assert!(scores.look(&[], at(slot * STEP_S)).is_empty());
    }
    assert!(scores.states[&key()].state == known);
    let back = look(&mut scores, 5_030).unwrap();
    assert!(is_from_stream(&back), "{back:?}");
    assert_eq!(scores.states[&key()].state.last_s(), Some(at(5_030 * STEP_S).as_second()));
    let later_s = 5_030 * STEP_S + FORGET_AFTER_S + 60;
    scores.look(&[], at(later_s));
    assert_eq!(scores.states.len(), 1, "a clock alone forgets nothing");
    let other = signal("frontend", "latency_p95");
    scores.look(&[state(other.clone(), later_s / STEP_S)], at(later_s));
    assert_eq!(scores.states.keys().collect::<Vec<_>>(), [&other]);
}

#[test]
fn of_too_many_series_those_that_were_silent_for_the_longest_are_forgotten() {
    let mut scores = scores();
    let key = |service: i64| signal(&format!("s{service}"), "latency_p95");
    let (ends, now) = ([210, 190, 230, 220, 200], at(230 * STEP_S));
    scores.look(&(0..5).map(|it| state(key(it), ends[it as usize])).collect::<Vec<_>>(), now);
    scores.forget(now, 5);
    assert_eq!(scores.states.len(), 5);
    scores.forget(now, 3);
    assert_eq!(scores.states.keys().cloned().collect::<Vec<_>>(), [key(0), key(2), key(3)]);
}

#[test]
fn series_without_a_newest_value_take_no_turn_from_others_and_make_nobody_wait() {
    let gap = |it: i64| {
        let mut gone = state(signal(&format!("gone{it}"), "latency_p95"), 200);
        let mut series = gone.series();
        series.values.push(None);
        gone.window = Arc::new(Window::of(&series));
        gone
    };
    let here = state(signal("here", "latency_p95"), 200);
    let signals: Vec<_> = (0..4).map(gap).chain([here]).collect();
    let mut scores = scores();
    let anomalies = scores.turn(&signals, at(201 * STEP_S), (usize::MAX, 200));
    assert_eq!(anomalies.iter().map(|it| it.key.service.as_str()).collect::<Vec<_>>(), ["here"]);
    assert!(!scores.is_behind(&signals[0].key.signal));
}

#[test]
fn another_query_and_a_clock_that_was_far_ahead_start_afresh() {
    let mut scores = scores();
    look(&mut scores, 5_000);
    let mut other = state(key(), 5_001);
    other.meaning = Meaning([2; 16]);
    let mut short = other.series();
    short.values.truncate(100);
    other.window = Arc::new(Window::of(&short));
    let now = at(5_001 * STEP_S);
    assert!(
        !is_from_stream(&scores.look(&[other], now)[0]),
        "what was learned of another query says nothing"
    );
    look(&mut scores, 5_001);
    let back = look(&mut scores, 2_500).unwrap();
    assert!(is_from_stream(&back));
    assert_eq!(scores.states[&key()].state.last_s(), Some(at(2_500 * STEP_S).as_second()));
}

#[test]
fn a_first_start_takes_as_many_ticks_as_it_needs_and_comes_to_the_same() {
    let signals =
        |end: i64| (0..8).map(|it| state(signal(&format!("s{it}"), "latency_p95"), end)).collect::<Vec<_>>();
    let (mut bounded, mut at_once) = (scores(), scores());
    for tick in 0..6 {
        let (signals, now) = (signals(3_000), at(3_000 * STEP_S));
        let anomalies = bounded.turn(&signals, now, (4_000, usize::MAX));
        assert_eq!(anomalies.len(), 8, "those that are not fed yet are judged by their windows");
        let fed = anomalies.iter().filter(|it| is_from_stream(it)).count();
        assert!((fed == 8) == (tick == 5), "tick {tick}: {fed}");
        at_once.look(&signals, now);
    }
    assert!(bounded.states == at_once.states);
}

#[test]
fn windows_that_have_no_turn_in_one_tick_have_it_in_the_next() {
    let signals: Vec<_> = (0..4).map(|it| state(signal(&format!("s{it}"), "latency_p95"), 200)).collect();
    let mut scores = scores();
    let latency = &signals[0].key.signal;
    let mut judged: Vec<_> = (0..2)
        .flat_map(|_| {
            let judged = scores.turn(&signals, at(200 * STEP_S), (usize::MAX, 400));
            assert!(scores.is_behind(latency), "who has no turn is not calm");
            judged
        })
        .map(|it| it.key)
        .collect();
    judged.sort();
    assert_eq!(judged, signals.iter().map(|it| it.key.clone()).collect::<Vec<_>>());
    scores.turn(&signals, at(200 * STEP_S), (usize::MAX, usize::MAX));
    assert!(!scores.is_behind(latency));
}

#[test]
fn a_process_that_restarts_goes_on_where_the_last_one_was_even_behind_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("states");
    let mut continuous = scores();
    let mut first = scores().kept_in(file.clone());
    for slot in [3_001, 4_003, 4_998] {
        assert_eq!(look(&mut first, slot), look(&mut continuous, slot));
    }
    first.keep(std::iter::empty());
    let mut second = scores().kept_in(file.clone());
    for slot in 4_999..5_010 {
        assert_eq!(look(&mut second, slot), look(&mut continuous, slot));
    }
    assert!(second.states == continuous.states);
    // What a crash loses is in the window still.
    let mut third = scores().kept_in(file);
    assert_eq!(look(&mut third, 5_010), look(&mut continuous, 5_010));
    assert!(third.states == continuous.states);
}

#[test]
fn a_broken_file_is_no_failure_and_is_replaced_and_states_are_kept_every_hour() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("states");
    files::write_durable(&file, b"not ours").unwrap();
    let mut scores = scores().kept_in(file.clone());
    assert!(look(&mut scores, 3_001).is_some());
    assert_eq!(files::read_bounded(&file, 100).unwrap(), b"not ours");
    let keeps = |scores: &mut Scores, slot: i64| scores.keeps(at(slot * STEP_S));
    assert_eq!(
        [3_001, 3_002, 3_001 + 119].map(|slot| keeps(&mut scores, slot)),
        [false; 3],
        "nothing new to keep"
    );
    assert!(keeps(&mut scores, 3_001 + 120) && !keeps(&mut scores, 3_001 + 121));
    scores.keep(std::iter::empty());
    assert!(StatesFile::new(file).read().unwrap().0 == scores.states);
}

/// Answers with [`value`].
#[derive(Debug)]
struct Wave;

impl MetricSource for Wave {
    fn range<'a>(
        &'a self,
        _: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let times = (start.as_second()..=end.as_second()).step_by(step_s as usize);
        let sample = |second: i64| {
            let slot = (second - at(0).as_second()).div_euclid(STEP_S);
            Some(Sample { at: Timestamp::from_second(second).ok()?, value: value(slot)? })
        };
        std::future::ready(Ok(RangeResult::one(times.filter_map(sample).collect()))).boxed()
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        std::future::ready(Ok(InstantResult { non_empty: false, value: None })).boxed()
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_of_the_loop_changes_no_score() {
    let world = World::new(&latency_policy("Observe"));
    let folder = tempfile::tempdir().unwrap();
    let start = |instance: &str, file: Option<&str>| {
        let config = SignalConfig {
            signal: harness::signal().signal,
            service: ServiceOf::Named(harness::signal().service),
            source: SourceKind::Prometheus,
            query: "wave".to_owned(),
            step_s: STEP_S as u32,
            window_s: 86_400,
            period: None,
            staleness_s: 300,
        };
        let windows = SignalWindows::new(vec![config]).unwrap();
        let observer = Observer::new(Sources::only(Arc::new(Wave)), windows, EnsembleSettings::default());
        let observer = match file {
            Some(file) => observer.kept_in(folder.path().join(file)),
            None => observer,
        };
        world.reconciler_with(instance, |parts| parts.observer = observer)
    };
    let mut whole = start("a", None);
    let mut first = Some(start("b", Some("states")));
    for tick in 0..12 {
        if tick == 6 {
            first.take().unwrap().keep();
            // Longer away than the window reaches back would need the file; here it has to agree with the window.
            first = Some(start("b", Some("states")));
        }
        let (one, _) = whole.tick().await;
        let (other, _) = first.as_mut().unwrap().tick().await;
        assert_eq!(one.anomalies, other.anomalies);
        assert!(value(DAY_SLOTS + tick).is_none() || is_from_stream(&one.anomalies[0]));
        world.clock.advance(harness::TICK);
    }
    assert!(world.clock.now() > at(86_400));
}

/// Has what was pushed to a process that started at this slot, of two services.
#[derive(Debug)]
struct Pushes(i64);

impl MetricSource for Pushes {
    fn range<'a>(
        &'a self,
        _: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let series = |(service, later): (&str, i64)| {
            let times = (start.as_second()..=end.as_second()).step_by(step_s as usize);
            let sample = |second: i64| {
                let slot = (second - at(0).as_second()).div_euclid(STEP_S);
                let at = Timestamp::from_second(second).ok()?;
                (slot >= self.0).then_some(Sample { at, value: value(slot + later)? })
            };
            FoundSeries {
                labels: Labels::of(vec![("app".to_owned(), service.to_owned())]),
                samples: times.filter_map(sample).collect(),
            }
        };
        let series = [("backend", 0), ("web", 7)].map(series).into();
        std::future::ready(Ok(RangeResult { series, warnings: Vec::new() })).boxed()
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        std::future::ready(Ok(InstantResult { non_empty: false, value: None })).boxed()
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

#[tokio::test]
async fn what_was_pushed_outlives_the_process_before_its_stream_is_settled_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let start = |file: &str, slot: i64, query: &str| {
        let config = SignalConfig {
            signal: key().signal,
            service: ServiceOf::Label("app".to_owned()),
            source: SourceKind::Push,
            query: query.to_owned(),
            step_s: STEP_S as u32,
            window_s: 86_400,
            period: None,
            staleness_s: 300,
        };
        let windows = SignalWindows::new(vec![config]).unwrap();
        let sources = Sources { push: Some(Arc::new(Pushes(slot))), ..Sources::only(Arc::new(Wave)) };
        Observer::new(sources, windows, EnsembleSettings::default()).kept_in(folder.path().join(file))
    };
    // Of a settled one more or less of the past is kept.
    let newest = |series: &Series| series.values.iter().rev().copied().take(110).collect::<Vec<_>>();
    let (mut whole, mut restarted) = (start("whole", 0, "wave"), start("states", 0, "wave"));
    for slot in 0..620 {
        if [150, 250, 600].contains(&slot) {
            restarted.keep();
            // What no look has asked for yet is sent again.
            restarted = start("states", slot - 1, "wave");
        }
        let now = at(slot * STEP_S);
        let (one, other) = (whole.scan(now).await, restarted.scan(now).await);
        assert_eq!(one.anomalies, other.anomalies, "slot {slot}");
        let windows = |of: &Evidence| of.signals.values().map(|it| newest(&it.series())).collect::<Vec<_>>();
        assert_eq!(windows(&one), windows(&other), "slot {slot}");
    }
    // What was pushed for another query says nothing about this one.
    restarted.keep();
    let mut other = start("states", 620, "another");
    assert!(other.scan(at(620 * STEP_S)).await.signals.values().all(|it| it.series().values.len() < 100));
}

#[test]
fn other_settings_of_the_score_keep_what_was_learned_and_mean_something_else_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("states");
    let mut before = scores().kept_in(file.clone());
    look(&mut before, 5_010);
    before.keep(std::iter::empty());
    let changed = EnsembleSettings {
        weights: Weights::in_proportion(1.0, 0.0, 0.0).unwrap(),
        warm_up_samples: 1_000,
        false_alarms_per_week: 0.01,
        ..EnsembleSettings::default()
    };
    let mut after = Scores::new(changed).kept_in(file);
    let (one, other) = (look(&mut before, 5_011).unwrap(), look(&mut after, 5_011).unwrap());
    assert!(is_from_stream(&other), "nothing is learned anew: {other:?}");
    let votes = |scores: &Scores| scores.states[&key()].state.votes();
    assert_eq!(votes(&after), votes(&before), "how rare a value is does not depend on who asks");
    assert!(other.score < one.score, "what comes so often is worth less: {other:?}");
    let names = |it: &Anomaly| it.models.iter().map(|it| it.model).collect::<Vec<_>>();
    assert_eq!((names(&one).len(), names(&other)), (3, vec![ModelName::Stl]));
}

#[test]
fn an_anomaly_tells_since_when_and_how_bad_it_is_and_for_an_hour_that_it_is_over() {
    let mut scores = scores();
    assert_eq!(look(&mut scores, 4_999).unwrap().episode, None, "nothing was wrong so far");
    let (mut first, mut worst, mut told) = (None, (0.0, at(0)), Vec::new());
    for slot in 5_000..5_300 {
        let Some(anomaly) = look(&mut scores, slot) else { continue };
        let score = anomaly.score.get();
        first = first.or((score >= 0.8).then_some(anomaly.at));
        if score > worst.0 {
            worst = (score, anomaly.at);
        }
        if let Some(episode) = anomaly.episode {
            assert_eq!(Some(episode.start), first, "slot {slot}");
            assert_eq!((episode.worst.get(), episode.peak), worst, "slot {slot}");
        }
        assert!(score < 0.8 || anomaly.episode.is_some_and(|it| it.end.is_none()), "slot {slot}");
        told.push((anomaly.at, anomaly.episode));
    }
    let over = told.iter().position(|(_, episode)| episode.is_some_and(|it| it.end.is_some())).unwrap();
    let (seen, end) = (told[over].0, told[over].1.unwrap().end.unwrap());
    let after = |when: Timestamp| when.duration_since(end).as_secs();
    assert!((600..700).contains(&after(seen)), "over when it was calm for ten minutes: {end} {seen}");
    for (when, episode) in &told[over..] {
        assert_eq!(episode.map(|it| it.end), (after(*when) <= 3_600).then_some(Some(end)), "{when}");
    }
    assert!(after(told.last().unwrap().0) > 3_600);
}
