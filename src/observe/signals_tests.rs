//! Windows fed by scripted sources: failures, order, time, and many series by one query.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;

use super::*;
use crate::model::fixtures::{at, signal};
use crate::model::signal::Sample;
use crate::observe::metrics::{FoundSeries, InstantResult, Labels};
use crate::observe::watched::{ANSWER_SAMPLES, SERIES_RESERVED, SHORT_SLOTS};
use crate::outside::clock::OutsideClock;

/// Answers every slot with its own second of the epoch, except for the queries that are to fail.
#[derive(Debug, Default)]
struct Source {
    failing: Mutex<BTreeSet<String>>,
    /// Queries with this letter in their name never get an answer.
    hanging: Option<char>,
    asked: Mutex<HashMap<String, Vec<(i64, i64)>>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// There are no series before this time, and an answer of more samples is refused; 0 for neither.
    since_s: i64,
    samples_max: usize,
    /// One series for each, by label; a single one without labels when there are none.
    apps: Mutex<Vec<String>>,
    /// Queries as they came.
    order: Mutex<Vec<String>>,
}

impl MetricSource for Source {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        Box::pin(async move {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            let span = (start.as_second(), end.as_second());
            self.order.lock().unwrap().push(query.to_owned());
            self.asked.lock().unwrap().entry(query.to_owned()).or_default().push(span);
            if self.hanging.is_some_and(|letter| query.contains(letter)) {
                std::future::pending::<()>().await;
            }
            if self.failing.lock().unwrap().contains(query) {
                return Err(SourceError::NotTheApi("broken".into()));
            }
            let times = (span.0..=span.1).step_by(step_s as usize);
            let sample = |t| Sample { at: Timestamp::from_second(t).unwrap(), value: t as f64 };
            let samples: Vec<Sample> = times.filter(|it| *it >= self.since_s).map(sample).collect();
            let apps = self.apps.lock().unwrap().clone();
            if apps.is_empty() {
                return Ok(RangeResult::one(samples));
            }
            let series = |app: &String| FoundSeries {
                labels: Labels::of(vec![("app".to_owned(), app.clone())]),
                samples: samples.clone(),
            };
            let many = if samples.is_empty() { &[] } else { apps.as_slice() };
            if self.samples_max > 0 && many.len() * samples.len() > self.samples_max {
                return Err(SourceError::NotTheApi("too much".into()));
            }
            Ok(RangeResult { series: many.iter().map(series).collect(), warnings: Vec::new() })
        })
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        Box::pin(async { Ok(InstantResult { non_empty: false, value: None }) })
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

fn watched(source: Source) -> (Arc<Source>, Sources) {
    let source = Arc::new(source);
    (Arc::clone(&source), Sources::only(source))
}

fn config(name: &str) -> SignalConfig {
    SignalConfig {
        signal: signal("backend", name).signal,
        service: ServiceOf::Named(signal("backend", name).service),
        source: SourceKind::Prometheus,
        query: name.into(),
        step_s: 60,
        window_s: 3_600,
        period: None,
        staleness_s: 180,
    }
}

#[tokio::test]
async fn one_failing_signal_keeps_its_window_and_harms_no_other() {
    let (source, sources) = watched(Source::default());
    let mut windows = SignalWindows::new(vec![config("good"), config("bad")]).unwrap();
    windows.tick(&sources, at(0)).await;
    source.failing.lock().unwrap().insert("bad".into());
    let states = windows.tick(&sources, at(600)).await;
    assert!(states[0].error.is_none() && !states[0].stale);
    assert_eq!(states[0].series().newest(), Some(at(600)));
    assert!(states[1].error.is_some() && states[1].stale);
    assert_eq!((states[1].series().newest(), states[1].age_s), (Some(at(0)), Some(600)));
    assert_eq!(states[1].series().present(), 60);

    source.failing.lock().unwrap().clear();
    let states = windows.tick(&sources, at(660)).await;
    assert!(states[1].error.is_none() && !states[1].stale);
    assert_eq!(states[1].series().present(), 60, "the outage left no hole");
}

#[tokio::test]
async fn only_the_bootstrap_reads_the_whole_window() {
    let (source, sources) = watched(Source::default());
    let mut windows = SignalWindows::new(vec![config("a")]).unwrap();
    for now_s in [0, 30, 60, 90, 120] {
        windows.tick(&sources, at(now_s)).await;
    }
    let asked = source.asked.lock().unwrap()["a"].clone();
    let lengths: Vec<i64> = asked.iter().map(|(start, end)| end - start).collect();
    assert_eq!(lengths, [3_540, 180, 180]);
}

#[tokio::test]
async fn queries_run_side_by_side_but_never_more_than_the_bound() {
    let (source, sources) = watched(Source::default());
    let configs = (0..40).map(|n| config(&format!("s{n}"))).collect();
    let states = SignalWindows::new(configs).unwrap().tick(&sources, at(0)).await;
    assert_eq!(states.len(), 40);
    assert!(states.iter().all(|state| state.error.is_none()));
    assert_eq!(source.most_running.load(Ordering::SeqCst), QUERIES_AT_ONCE);
}

#[tokio::test]
async fn a_round_ends_in_time_and_slow_signals_do_not_starve_the_others() {
    let (_, sources) = watched(Source { hanging: Some('h'), ..Source::default() });
    let names = (0..QUERIES_AT_ONCE).map(|n| format!("h{n}")).chain(["good".into()]);
    let mut windows = SignalWindows::new(names.map(|name| config(&name)).collect()).unwrap();
    let mut good = Vec::new();
    for _ in 0..2 {
        windows.round(&sources, at(0), Duration::from_millis(50)).await;
        let states = windows.states(at(0));
        assert!(matches!(states[0].error.as_deref(), Some(SourceError::Slow(_))), "it was asked");
        let other = states[QUERIES_AT_ONCE].error.as_deref();
        assert!(matches!(other, None | Some(SourceError::OutOfTime)), "{other:?}");
        good.push(states[QUERIES_AT_ONCE].error.is_none());
    }
    assert_eq!(good, [false, true]);
}

#[test]
fn a_signal_without_any_sample_is_stale_and_has_no_age() {
    let states = SignalWindows::new(vec![config("a")]).unwrap().states(at(0));
    assert!(states[0].stale && states[0].age_s.is_none() && states[0].series().values.is_empty());
}

#[test]
fn unusable_settings_are_refused_with_the_name_of_the_signal() {
    let error = SignalWindows::new(vec![config("a"), config("a")]).unwrap_err();
    assert_eq!(error, SignalsError::Twice("backend/a".into()));
    for (step_s, window_s) in [(0, 60), (60, 60), (60, 0), (1, 100_001)] {
        let error = SignalWindows::new(vec![SignalConfig { step_s, window_s, ..config("a") }]).unwrap_err();
        assert!(matches!(error, SignalsError::Slots { .. }), "{step_s} {window_s}");
    }
    let blank = SignalConfig { query: "  ".into(), ..config("a") };
    assert!(matches!(SignalWindows::new(vec![blank]).unwrap_err(), SignalsError::NoQuery(_)));
}

fn by_app(window_s: u32) -> SignalConfig {
    SignalConfig { service: ServiceOf::Label("app".into()), window_s, ..config("many") }
}

fn apps(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("app-{n:05}")).collect()
}

#[tokio::test]
async fn a_thousand_series_are_one_query_and_a_state_each() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = apps(1_000);
    let mut windows = SignalWindows::new(vec![by_app(3_600)]).unwrap();
    windows.tick(&sources, at(0)).await;
    let before = source.asked.lock().unwrap()["many"].len();
    let states = windows.tick(&sources, at(60)).await;
    assert_eq!(source.asked.lock().unwrap()["many"].len(), before + 1, "one query, not one for each series");
    assert_eq!(states.len(), 1_000);
    assert_eq!(states[7].key, signal("app-00007", "many"));
    for state in &states {
        assert_eq!(state.series().present(), 60, "{}", state.key);
        assert_eq!(state.series().newest(), Some(at(60)), "{}", state.key);
    }
}

#[tokio::test]
async fn a_long_window_of_many_series_comes_in_parts_oldest_first_and_whole() {
    for step_s in [1, 60] {
        let (source, sources) = watched(Source::default());
        *source.apps.lock().unwrap() = apps(500);
        let config = SignalConfig { step_s, ..by_app(2_000 * step_s) };
        let mut windows = SignalWindows::new(vec![config]).unwrap();
        let states = windows.tick(&sources, at(0)).await;
        let asked = source.asked.lock().unwrap()["many"].clone();
        assert!(asked.len() > 2, "{asked:?}");
        assert!(asked.is_sorted() && asked.last().unwrap().1 == at(0).as_second(), "{asked:?}");
        for (from, to) in asked {
            let slots = (to - from) / i64::from(step_s) + 1;
            assert!(slots * 500 <= (ANSWER_SAMPLES as i64) + 500 * 130, "{slots}");
        }
        assert!(states.iter().all(|it| it.series().present() == 2_000), "the parts join up");
    }
}

#[tokio::test]
async fn a_window_goes_on_in_place_and_what_was_told_of_it_stays_as_it_was_told() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = apps(3);
    let mut windows = SignalWindows::new(vec![by_app(600)]).unwrap();
    let places = |states: &[SignalState]| states.iter().map(|it| Arc::as_ptr(&it.window)).collect::<Vec<_>>();
    let first = places(&windows.tick(&sources, at(0)).await);
    let held = windows.tick(&sources, at(60)).await;
    assert_eq!(places(&held), first, "nothing was copied");
    let before: Vec<Series> = held.iter().map(SignalState::series).collect();
    let next = windows.tick(&sources, at(120)).await;
    assert_eq!(held.iter().map(SignalState::series).collect::<Vec<_>>(), before);
    assert!(next.iter().all(|it| it.last().is_some_and(|it| it.0 == at(120))));
}

#[tokio::test]
async fn series_come_and_go_with_the_answers() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = apps(2);
    let mut windows = SignalWindows::new(vec![by_app(600)]).unwrap();
    assert_eq!(windows.tick(&sources, at(0)).await.len(), 2);
    *source.apps.lock().unwrap() = vec!["app-00001".into(), "new".into()];
    let states = windows.tick(&sources, at(240)).await;
    let present: Vec<_> = states.iter().map(|it| (it.key.service.as_str(), it.stale)).collect();
    assert_eq!(present, [("app-00000", true), ("app-00001", false), ("new", false)]);
    let states = windows.tick(&sources, at(840)).await;
    assert_eq!(states.len(), 2, "a window without a value is forgotten");
}

#[tokio::test]
async fn series_that_no_service_can_be_named_after_are_left_out_and_told() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = vec!["a".into(), "b".into(), "b".into(), "no name".into(), String::new()];
    let mut windows = SignalWindows::new(vec![by_app(600)]).unwrap();
    let states = windows.tick(&sources, at(0)).await;
    assert_eq!(states.iter().map(|it| it.key.service.as_str()).collect::<Vec<_>>(), ["a"]);
    let warnings = windows.troubles().remove(0).warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("4 of the series"), "{warnings:?}");
    let read = windows.reads(at(0)).remove(0);
    let unwatched: Vec<_> = read.unwatched.iter().map(SignalName::as_str).collect();
    assert_eq!((unwatched, read.trouble), (vec!["b"], None), "of b nothing is known, of a everything");
    // Where one series is meant, several are an error.
    let mut windows = SignalWindows::new(vec![config("one")]).unwrap();
    let states = windows.tick(&sources, at(0)).await;
    assert!(matches!(states[0].error.as_deref(), Some(SourceError::SeveralSeries { count: 5, .. })));
}

#[tokio::test]
async fn there_is_a_bound_on_series_and_it_is_told() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = apps(MAX_SERIES + 3);
    let mut windows = SignalWindows::new(vec![by_app(600)]).unwrap();
    let kept = MAX_SERIES - SERIES_RESERVED;
    assert_eq!(windows.tick(&sources, at(0)).await.len(), kept);
    let left_out = SERIES_RESERVED + 3;
    let warnings = windows.troubles().remove(0).warnings;
    assert!(warnings[0].starts_with(&format!("{left_out} series beyond")), "{warnings:?}");
    let trouble = windows.reads(at(0)).remove(0).trouble;
    assert_eq!(trouble, Some(format!("{left_out} of its series are not watched")), "they are not calm");
    // One that a policy names comes after all others here, and has its place.
    let last = format!("app-{:05}", MAX_SERIES + 2);
    windows.name(&[signal(&last, by_app(600).signal.as_str())].into(), &BTreeSet::new());
    let states = windows.tick(&sources, at(60)).await;
    assert_eq!((states.len(), states[kept].key.service.as_str()), (kept + 1, last.as_str()));
}

#[tokio::test]
async fn a_source_that_is_not_configured_is_an_error_of_its_signals_alone() {
    let (_, sources) = watched(Source::default());
    let pushed = SignalConfig { source: SourceKind::Push, ..config("pushed") };
    let mut windows = SignalWindows::new(vec![pushed, config("asked")]).unwrap();
    let states = windows.tick(&sources, at(0)).await;
    assert!(matches!(states[0].error.as_deref(), Some(SourceError::NotConfigured(SourceKind::Push))));
    assert!(states[1].error.is_none());
}

#[tokio::test]
async fn a_slot_that_may_still_be_filled_is_not_looked_at_yet() {
    let (_, sources) = watched(Source::default());
    let sources = Sources { push: sources.prometheus.clone(), ..sources };
    let pushed = SignalConfig { source: SourceKind::Push, ..config("pushed") };
    let mut windows = SignalWindows::new(vec![pushed, config("asked")]).unwrap();
    let newest = |states: Vec<SignalState>| states.iter().map(|it| it.series().newest()).collect::<Vec<_>>();
    let states = windows.tick(&sources, at(64)).await;
    assert_eq!(newest(states), [Some(at(0)), Some(at(60))]);
    assert_eq!(newest(windows.tick(&sources, at(65)).await), [Some(at(60)), Some(at(60))]);
}

#[test]
fn a_signal_by_label_and_one_by_name_cannot_share_a_key() {
    let clash = SignalConfig { signal: config("a").signal, ..by_app(600) };
    let error = SignalWindows::new(vec![config("a"), clash]).unwrap_err();
    assert_eq!(error, SignalsError::Twice("a by app".into()));
    let other = SignalConfig { service: ServiceOf::Named(SignalName::new("web").unwrap()), ..config("a") };
    assert!(SignalWindows::new(vec![config("a"), other]).is_ok());
}

fn services(states: &[SignalState]) -> Vec<String> {
    states.iter().map(|it| it.key.service.to_string()).collect()
}

/// What one detector does not watch, another one does, and none asks for what it cannot need.
#[tokio::test]
async fn detectors_part_the_series_and_none_is_missed_or_watched_twice() {
    let apps = apps(40);
    let mut seen = Vec::new();
    for ordinal in 0..3 {
        let (_, sources) = watched(Source { apps: Mutex::new(apps.clone()), ..Source::default() });
        let mut windows = SignalWindows::new(vec![by_app(600)]).unwrap();
        windows.keep(Keep::Shard(Shard::new(ordinal, 3).unwrap()));
        let states = windows.tick(&sources, at(0)).await;
        assert!((5..25).contains(&states.len()), "{ordinal}: {}", states.len());
        seen.extend(services(&states));
        assert_eq!(windows.reads(at(0)).iter().filter(|it| it.trouble.is_some()).count(), 0);
    }
    seen.sort();
    let mut all = apps;
    all.sort();
    assert_eq!(seen, all);
    let single = signal("backend", "one");
    for ordinal in 0..2 {
        let (source, sources) = watched(Source::default());
        let mut windows = SignalWindows::new(vec![config("one")]).unwrap();
        let shard = Shard::new(ordinal, 2).unwrap();
        windows.keep(Keep::Shard(shard));
        let count = windows.tick(&sources, at(0)).await.len();
        assert_eq!(
            (count == 1, source.asked.lock().unwrap().contains_key("one")),
            (shard.has(&single), shard.has(&single))
        );
        assert_eq!(windows.troubles().len(), count);
    }
}

fn span(from: i64, to: i64) -> Span {
    Span { start_s: at(from).as_second(), end_s: at(to).as_second() }
}

const ROOMY: Room = Room { series: 10_000, slots: 100_000 };

/// The answer of a source that has a value for every slot of these services.
fn answer(signal: &mut Watched, reading: Reading, names: &[&str], (from, to): (i64, i64), room: Room) {
    let samples: Vec<Sample> =
        (from..=to).step_by(60).map(|it| Sample { at: at(it), value: it as f64 }).collect();
    let series = |name: &&str| FoundSeries {
        labels: Labels::of(vec![("app".to_owned(), (*name).to_owned())]),
        samples: samples.clone(),
    };
    let answer = RangeResult { series: names.iter().map(series).collect(), warnings: Vec::new() };
    assert!(signal.take((reading, span(from, to)), Ok(answer), (&Keep::All, room)));
}

/// Slots and time of the newest value, of every series.
fn shape(signal: &Watched) -> Vec<(usize, i64)> {
    let newest = |it: &SignalState| it.last().unwrap().0.as_second() - at(0).as_second();
    signal.states(at(0)).map(|it| (it.window.slots(), newest(&it))).collect()
}

fn named(signal: &SignalConfig, names: &[&str]) -> BTreeSet<SignalKey> {
    names
        .iter()
        .map(|it| SignalKey { signal: signal.signal.clone(), ..crate::model::fixtures::signal(it, "x") })
        .collect()
}

#[test]
fn what_is_kept_goes_on_while_the_past_of_another_is_read() {
    let mut signal = Watched::new(by_app(3_600));
    answer(&mut signal, Reading::New, &["a"], (0, 3_540), ROOMY);
    let keep = |names: &[&str]| Keep::Named { keys: named(&by_app(3_600), names), services: BTreeSet::new() };
    signal.keep(&keep(&["a"]), &keep(&["a", "b"]));
    assert_eq!(signal.wanted_past(), Some(span(0, 3_540)));
    answer(&mut signal, Reading::New, &["a", "b"], (3_480, 3_600), ROOMY);
    assert_eq!(shape(&signal), [(60, 3_600), (3, 3_600)]);
    answer(&mut signal, Reading::Past, &["a", "b"], (60, 1_800), ROOMY);
    assert_eq!(shape(&signal), [(60, 3_600), (3, 3_600)]);
    answer(&mut signal, Reading::Past, &["a", "b"], (1_680, 3_600), ROOMY);
    assert_eq!((shape(&signal), signal.wanted_past()), (vec![(60, 3_600), (60, 3_600)], None));
    assert!(signal.states(at(3_600)).all(|it| it.series().present() == 60), "neither lost a value");
}

#[test]
fn where_there_is_little_room_a_look_goes_back_less_far_and_what_is_named_is_read_again() {
    let config = by_app(60 * 1_000);
    let mut signal = Watched::new(config.clone());
    signal.name(&named(&config, &["a"]), &BTreeSet::new());
    answer(&mut signal, Reading::New, &["a", "b"], (-59_940, -30_000), ROOMY);
    let tight = Room { series: 0, slots: 200 };
    assert_eq!(signal.wanted(at(0), tight), Some(span(-199 * 60, 0)));
    answer(&mut signal, Reading::New, &["a", "b", "c"], (-199 * 60, 0), tight);
    assert_eq!(shape(&signal), [(200, 0), (200, 0)], "no room for a third");
    assert!(signal.warnings[0].starts_with("1 series beyond"), "{:?}", signal.warnings);
    assert_eq!(signal.wanted_past(), Some(span(-59_940, 0)));
    answer(&mut signal, Reading::Past, &["a", "b"], (-59_940, 0), tight);
    assert_eq!(shape(&signal), [(1_000, 0), (200, 0)]);
    answer(&mut signal, Reading::New, &["a", "b"], (-60, 120), tight);
    assert_eq!(shape(&signal), [(1_000, 120), (202, 120)]);
    answer(&mut signal, Reading::New, &["a", "b"], (60, 180), tight);
    assert_eq!(shape(&signal), [(1_000, 180), (201, 180)], "what nobody names takes no more room");
}

#[tokio::test]
async fn what_nobody_names_is_short_once_it_is_learned_and_has_its_past_back_with_a_name() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = ["a", "b", "c"].map(str::to_owned).to_vec();
    let config = by_app(18_000);
    let mut windows = SignalWindows::new(vec![config.clone()]).unwrap();
    let nothing = BTreeSet::new();
    let slots = |states: &[SignalState]| states.iter().map(|it| it.window.slots()).collect::<Vec<_>>();
    windows.name(&named(&config, &["a"]), &nothing);
    assert_eq!(slots(&windows.tick(&sources, at(0)).await), [300; 3]);
    assert_eq!(slots(&windows.tick(&sources, at(60)).await), [300; 3], "nobody learned of them yet");
    windows.learned(&named(&config, &["a", "b", "c"]));
    assert_eq!(slots(&windows.tick(&sources, at(120)).await), [300, SHORT_SLOTS + 1, SHORT_SLOTS + 1]);
    windows.name(&named(&config, &["b"]), &["c"].map(|it| SignalName::new(it).unwrap()).into());
    windows.learned(&named(&config, &["a", "b", "c"]));
    let states = windows.tick(&sources, at(180)).await;
    assert_eq!(slots(&states), [SHORT_SLOTS + 1, 300, 300]);
    for state in &states {
        let series = state.series();
        let truth = (0..series.values.len()).map(|slot| Some(series.at(slot).as_second() as f64));
        assert!(series.values.iter().copied().eq(truth), "{}", state.key);
    }
    let asked = source.asked.lock().unwrap()[&config.query].len();
    windows.tick(&sources, at(240)).await;
    assert_eq!(source.asked.lock().unwrap()[&config.query].len(), asked + 1, "the past is read once");
}

#[tokio::test]
async fn a_part_of_a_past_is_asked_for_first_however_many_signals_have_something_new() {
    let (source, sources) = watched(Source::default());
    *source.apps.lock().unwrap() = vec!["a".to_owned()];
    let signals: Vec<SignalConfig> = (0..20)
        .map(|it| SignalConfig {
            service: ServiceOf::Label("app".into()),
            window_s: 18_000,
            ..config(&format!("q{it}"))
        })
        .collect();
    let mut windows = SignalWindows::new(signals.clone()).unwrap();
    for time in [0, 60] {
        windows.tick(&sources, at(time)).await;
        windows.learned(&signals.iter().flat_map(|it| named(it, &["a"])).collect::<Vec<_>>());
    }
    windows.tick(&sources, at(120)).await;
    windows.name(&named(&signals[19], &["a"]), &BTreeSet::new());
    source.order.lock().unwrap().clear();
    windows.tick(&sources, at(180)).await;
    let order = source.order.lock().unwrap().clone();
    assert!(order[..QUERIES_AT_ONCE].contains(&"q19".to_owned()), "{order:?}");
}

#[test]
fn a_past_that_cannot_be_read_is_told_and_makes_nothing_that_is_new_unknown() {
    let mut signal = Watched::new(by_app(3_600));
    answer(&mut signal, Reading::New, &["a", "b"], (0, 3_540), ROOMY);
    signal.learned(&SignalName::new("b").unwrap());
    answer(&mut signal, Reading::New, &["a", "b"], (3_480, 3_600), ROOMY);
    let keep = |names: &[&str]| Keep::Named { keys: named(&by_app(3_600), names), services: BTreeSet::new() };
    signal.keep(&keep(&["a"]), &keep(&["a", "b"]));
    let span = signal.wanted_past().unwrap();
    let broken = Err(SourceError::NotTheApi("broken".into()));
    assert!(!signal.take((Reading::Past, span), broken, (&Keep::All, ROOMY)));
    assert!(signal.error.is_none());
    assert!(signal.past_warning.as_ref().is_some_and(|it| it.contains("the past of")), "{signal:?}");
    let again = signal.wanted_past().unwrap();
    assert!(again.start_s == span.start_s && again.end_s < span.end_s, "a smaller part of it is asked for");
    answer(&mut signal, Reading::Past, &["a", "b"], (60, 3_600), ROOMY);
    assert_eq!(signal.past_warning, None);
}

#[test]
fn after_a_clock_went_back_what_is_named_has_its_past_read_again() {
    let config = by_app(60 * 1_000);
    let mut signal = Watched::new(config.clone());
    signal.name(&named(&config, &["a"]), &BTreeSet::new());
    answer(&mut signal, Reading::New, &["a", "b"], (-59_940, 0), ROOMY);
    let tight = Room { series: 0, slots: 200 };
    let back = signal.wanted(at(-3_600), tight).unwrap();
    assert_eq!(back, span(-3_600 - 199 * 60, -3_600));
    answer(&mut signal, Reading::New, &["a", "b"], (-3_600 - 199 * 60, -3_600), tight);
    assert_eq!(signal.wanted_past(), Some(span(-3_600 - 999 * 60, -3_600)));
}

#[tokio::test]
async fn what_was_pushed_cannot_be_asked_for_again_and_grows_from_what_is_there() {
    let (source, sources) = watched(Source::default());
    let sources = Sources { push: sources.prometheus.clone(), ..sources };
    *source.apps.lock().unwrap() = vec!["a".to_owned()];
    let config = SignalConfig { source: SourceKind::Push, ..by_app(18_000) };
    let mut windows = SignalWindows::new(vec![config.clone()]).unwrap();
    windows.tick(&sources, at(0)).await;
    windows.learned(&named(&config, &["a"]));
    windows.tick(&sources, at(60)).await;
    let asked = source.asked.lock().unwrap()[&config.query].len();
    windows.name(&named(&config, &["a"]), &BTreeSet::new());
    windows.learned(&named(&config, &["a"]));
    assert_eq!(windows.tick(&sources, at(180)).await[0].window.slots(), SHORT_SLOTS + 3);
    assert_eq!(source.asked.lock().unwrap()[&config.query].len(), asked + 1);
}

#[tokio::test]
async fn a_series_that_is_named_later_has_its_whole_past_and_one_that_is_not_named_any_more_is_gone() {
    let apps = ["a", "b", "c"].map(str::to_owned).to_vec();
    let (source, sources) = watched(Source { apps: Mutex::new(apps), ..Source::default() });
    let mut windows = SignalWindows::new(vec![by_app(600), config("one")]).unwrap();
    let named = |names: &[(&str, &str)]| {
        let keys = names.iter().map(|(service, name)| signal(service, name)).collect();
        Keep::Named { keys, services: BTreeSet::new() }
    };
    let by = by_app(600).signal.to_string();
    windows.keep(named(&[("a", &by)]));
    assert_eq!(services(&windows.tick(&sources, at(0)).await), ["a"]);
    assert!(!source.asked.lock().unwrap().contains_key("one"), "nobody named it");
    windows.keep(named(&[("b", &by)]));
    let states = windows.tick(&sources, at(600)).await;
    assert_eq!(services(&states), ["b"]);
    assert!(states.iter().all(|it| it.series().values.iter().all(Option::is_some)), "{states:?}");
    assert_eq!(states[0].series().values.len(), 10);
    let services_of = |service| [SignalName::new(service).unwrap()].into();
    windows.keep(Keep::Named { keys: BTreeSet::new(), services: services_of("a") });
    let states = windows.tick(&sources, at(660)).await;
    assert_eq!(services(&states), ["a"]);
    assert!(states[0].series().values.iter().all(Option::is_some), "from the beginning: {states:?}");
    windows.keep(named(&[]));
    assert!(windows.tick(&sources, at(660)).await.is_empty() && windows.troubles().is_empty());
    source.apps.lock().unwrap().clear();
    windows.keep(named(&[("backend", "one")]));
    let states = windows.tick(&sources, at(660)).await;
    assert_eq!((services(&states), states[0].series().present()), (vec!["backend".to_owned()], 60));
}

/// Nothing tells from an empty past how many series there will be.
#[tokio::test]
async fn a_past_in_which_thousands_of_series_appear_is_read_in_a_few_questions() {
    let since_s = at(-1_000 * 60).as_second();
    let samples_max = 2 * ANSWER_SAMPLES;
    let (source, sources) = watched(Source { since_s, samples_max, ..Source::default() });
    *source.apps.lock().unwrap() = apps(3_000);
    let mut windows = SignalWindows::new(vec![by_app(3_000 * 60)]).unwrap();
    let mut ticks = 0;
    while windows.reads(at(0)).remove(0).trouble.is_some() {
        windows.tick(&sources, at(0)).await;
        ticks += 1;
        assert!(ticks < 6, "{:?}", windows.troubles());
    }
    let states = windows.states(at(0));
    assert!(states.len() == 3_000 && states.iter().all(|it| it.series().present() == 1_001));
    let asked = source.asked.lock().unwrap()["many"].len();
    assert!(asked < 40, "{asked} questions");
}

/// One window is kept of an answer about thousands: the answer must fit all the same.
#[tokio::test]
async fn how_much_is_asked_for_at_once_follows_what_is_answered_and_not_what_is_kept() {
    let (source, sources) = watched(Source { apps: Mutex::new(apps(10_000)), ..Source::default() });
    let mut windows = SignalWindows::new(vec![by_app(6_000)]).unwrap();
    let key = SignalKey { signal: by_app(600).signal, ..signal("app-00001", "x") };
    windows.keep(Keep::Named { keys: [key].into(), services: BTreeSet::new() });
    assert_eq!(windows.tick(&sources, at(0)).await[0].series().values.len(), 100);
    let asked = source.asked.lock().unwrap()[&by_app(600).query].clone();
    assert!(asked.iter().all(|(start, end)| (end - start) / 60 <= 60), "{asked:?}");
}
