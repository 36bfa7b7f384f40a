//! Keeps the windows of all configured signals fed. In go the settings and, each tick, a source and the
//! time; out comes one state per signal: its series, its age, and what went wrong with it alone. A failed
//! read changes no window, and the next one asks for what was missed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout;

use super::metrics::{MetricSource, RangeResult, SourceError};
use super::window::{Span, Window};
use crate::model::signal::{Series, SignalKey};
use crate::outside::clock::Stopwatch;

/// Queries under way at the same time.
const QUERIES_AT_ONCE: usize = 8;
/// A round of queries ends after this long, answered or not. Shorter than the default tick of 30 s, so that
/// a slow source delays decisions by one round at most.
const ROUND_DEADLINE: Duration = Duration::from_secs(25);
/// Most signals of one process.
pub const MAX_SIGNALS: usize = 1_000;
/// Most slots of one window: a day at one second, and a little more.
pub const MAX_SLOTS: u32 = 100_000;

/// One watched signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalConfig {
    pub key: SignalKey,
    /// PromQL from the settings, sent as it is.
    pub query: String,
    /// Distance between two samples, seconds.
    pub step_s: u32,
    /// Length of the window, seconds; a day unless said otherwise.
    pub window_s: u32,
    /// Season in slots, when it is known; otherwise the detector finds it.
    pub period: Option<u32>,
    /// Older than this, the newest sample is no evidence, seconds.
    pub staleness_s: u32,
}

/// The settings of a signal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignalsError {
    #[error("signal {0} is configured twice; give one of them another name")]
    Twice(SignalKey),
    #[error("signal {0} has an empty query")]
    NoQuery(SignalKey),
    #[error(
        "signal {key}: a step of {step_s} s and a window of {window_s} s give {slots} samples; use 2 to \
         {MAX_SLOTS}"
    )]
    Slots { key: SignalKey, step_s: u32, window_s: u32, slots: u32 },
    #[error("{0} signals are configured; at most {MAX_SIGNALS} are possible")]
    TooMany(usize),
}

/// What is known about one signal after a tick.
#[derive(Debug, Clone)]
pub struct SignalState {
    pub key: SignalKey,
    /// The window as last read; gaps are `None`. It does not move while the source is unavailable.
    pub series: Series,
    /// Seconds since that time, never negative.
    pub age_s: Option<u64>,
    /// The newest value is too old to act on, or there is none.
    pub stale: bool,
    /// Why the newest read failed; `None` when it worked.
    pub error: Option<Arc<SourceError>>,
    /// What the source warned of in its newest answer; untrusted text.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
struct Watched {
    config: SignalConfig,
    window: Window,
    error: Option<Arc<SourceError>>,
    warnings: Vec<String>,
}

/// The windows of all signals.
#[derive(Debug)]
pub struct SignalWindows {
    watched: Vec<Watched>,
    /// Which signal the next round asks for first: it moves on, so that slow signals cannot starve the rest.
    first: usize,
}

impl SignalWindows {
    /// The season that the settings declare for a signal, in slots.
    #[must_use]
    pub fn period(&self, key: &SignalKey) -> Option<u32> {
        self.watched.iter().find(|it| it.config.key == *key)?.config.period
    }

    /// Empty windows for `configs`.
    ///
    /// # Errors
    /// [`SignalsError`] names the signal whose settings cannot be used.
    pub fn new(configs: Vec<SignalConfig>) -> Result<Self, SignalsError> {
        if configs.len() > MAX_SIGNALS {
            return Err(SignalsError::TooMany(configs.len()));
        }
        let mut seen = BTreeSet::new();
        for SignalConfig { key, query, step_s, window_s, .. } in &configs {
            if !seen.insert(key.clone()) {
                return Err(SignalsError::Twice(key.clone()));
            }
            if query.trim().is_empty() {
                return Err(SignalsError::NoQuery(key.clone()));
            }
            let slots = window_s.checked_div(*step_s).unwrap_or(0);
            if !(2..=MAX_SLOTS).contains(&slots) {
                let (key, step_s, window_s) = (key.clone(), *step_s, *window_s);
                return Err(SignalsError::Slots { key, step_s, window_s, slots });
            }
        }
        let watch = |config: SignalConfig| Watched {
            window: Window::new(config.step_s, config.window_s),
            config,
            error: None,
            warnings: Vec::new(),
        };
        Ok(Self { watched: configs.into_iter().map(watch).collect(), first: 0 })
    }

    /// Reads what is new from `source` and returns the state of every signal, in the order of the settings.
    /// Failures stay with their signal; the round ends within 25 s.
    pub async fn tick(&mut self, source: &dyn MetricSource, now: Timestamp) -> Vec<SignalState> {
        self.round(source, now, ROUND_DEADLINE).await;
        self.states(now)
    }

    async fn round(&mut self, source: &dyn MetricSource, now: Timestamp, deadline: Duration) {
        let wanted = self.watched.iter().enumerate().filter_map(|(index, watched)| {
            let span = watched.window.wanted(now)?;
            Some((index, span, watched.config.query.clone(), watched.config.step_s))
        });
        let mut wanted: Vec<_> = wanted.collect();
        let mut unanswered: BTreeSet<usize> = wanted.iter().map(|(index, ..)| *index).collect();
        let split = wanted.partition_point(|(index, ..)| *index < self.first);
        wanted.rotate_left(split);
        self.first = (self.first + QUERIES_AT_ONCE) % self.watched.len().max(1);
        let mut answers = futures_util::stream::iter(wanted)
            .map(|(index, span, query, step_s)| async move {
                (index, span, read(source, &query, span, step_s).await)
            })
            .buffer_unordered(QUERIES_AT_ONCE);
        let clock = Stopwatch::start();
        while let Ok(Some((index, span, answer))) =
            timeout(deadline.saturating_sub(clock.elapsed()), answers.next()).await
        {
            unanswered.remove(&index);
            if let Some(watched) = self.watched.get_mut(index) {
                watched.take(span, answer);
            }
        }
        for index in unanswered {
            if let Some(watched) = self.watched.get_mut(index) {
                watched.error = Some(Arc::new(SourceError::OutOfTime));
            }
        }
    }

    /// The state of every signal as of the last tick, with ages at `now`.
    #[must_use]
    pub fn states(&self, now: Timestamp) -> Vec<SignalState> {
        self.watched.iter().map(|watched| watched.state(now)).collect()
    }
}

async fn read(
    source: &dyn MetricSource,
    query: &str,
    span: Span,
    step_s: u32,
) -> Result<RangeResult, SourceError> {
    let at = |second| {
        Timestamp::from_second(second).map_err(|_| SourceError::BadRange("before or after all time"))
    };
    source.range(query, at(span.start_s)?, at(span.end_s)?, step_s).await
}

impl Watched {
    fn take(&mut self, span: Span, answer: Result<RangeResult, SourceError>) {
        match answer {
            Ok(RangeResult { samples, warnings }) => {
                self.window.absorb(span, &samples);
                self.warnings = warnings;
                self.error = None;
            }
            Err(error) => {
                self.warnings.clear();
                self.error = Some(Arc::new(error));
            }
        }
    }

    fn state(&self, now: Timestamp) -> SignalState {
        let newest = self.window.newest();
        let age_s =
            newest.map(|newest| now.as_second().saturating_sub(newest.as_second()).max(0).unsigned_abs());
        SignalState {
            key: self.config.key.clone(),
            series: self.window.series(self.config.key.clone()),
            age_s,
            stale: age_s.is_none_or(|age_s| age_s > u64::from(self.config.staleness_s)),
            error: self.error.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::model::fixtures::{at, signal};
    use crate::model::signal::Sample;
    use crate::observe::metrics::InstantResult;
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
                self.asked.lock().unwrap().entry(query.to_owned()).or_default().push(span);
                if self.hanging.is_some_and(|letter| query.contains(letter)) {
                    std::future::pending::<()>().await;
                }
                if self.failing.lock().unwrap().contains(query) {
                    return Err(SourceError::NotTheApi("broken".into()));
                }
                let times = (span.0..=span.1).step_by(step_s as usize);
                let sample = |t| Sample { at: Timestamp::from_second(t).unwrap(), value: t as f64 };
                Ok(RangeResult { samples: times.map(sample).collect(), warnings: Vec::new() })
            })
        }

        fn instant<'a>(
            &'a self,
            _: &'a str,
            _: Timestamp,
        ) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
            Box::pin(async { Ok(InstantResult { non_empty: false, value: None }) })
        }

        fn outside_clock(&self) -> Option<OutsideClock> {
            None
        }
    }

    fn config(name: &str) -> SignalConfig {
        SignalConfig {
            key: signal("backend", name),
            query: name.into(),
            step_s: 60,
            window_s: 3_600,
            period: None,
            staleness_s: 180,
        }
    }

    #[tokio::test]
    async fn one_failing_signal_keeps_its_window_and_harms_no_other() {
        let source = Source::default();
        let mut windows = SignalWindows::new(vec![config("good"), config("bad")]).unwrap();
        windows.tick(&source, at(0)).await;
        source.failing.lock().unwrap().insert("bad".into());
        let states = windows.tick(&source, at(600)).await;
        assert!(states[0].error.is_none() && !states[0].stale);
        assert_eq!(states[0].series.newest(), Some(at(600)));
        assert!(states[1].error.is_some() && states[1].stale);
        assert_eq!((states[1].series.newest(), states[1].age_s), (Some(at(0)), Some(600)));
        assert_eq!(states[1].series.present(), 60);

        source.failing.lock().unwrap().clear();
        let states = windows.tick(&source, at(660)).await;
        assert!(states[1].error.is_none() && !states[1].stale);
        assert_eq!(states[1].series.present(), 60, "the outage left no hole");
    }

    #[tokio::test]
    async fn only_the_bootstrap_reads_the_whole_window() {
        let source = Source::default();
        let mut windows = SignalWindows::new(vec![config("a")]).unwrap();
        for now_s in [0, 30, 60, 90, 120] {
            windows.tick(&source, at(now_s)).await;
        }
        let asked = source.asked.lock().unwrap()["a"].clone();
        let lengths: Vec<i64> = asked.iter().map(|(start, end)| end - start).collect();
        assert_eq!(lengths, [3_540, 180, 180]);
    }

    #[tokio::test]
    async fn queries_run_side_by_side_but_never_more_than_the_bound() {
        let source = Source::default();
        let configs = (0..40).map(|n| config(&format!("s{n}"))).collect();
        let states = SignalWindows::new(configs).unwrap().tick(&source, at(0)).await;
        assert_eq!(states.len(), 40);
        assert!(states.iter().all(|state| state.error.is_none()));
        assert_eq!(source.most_running.load(Ordering::SeqCst), QUERIES_AT_ONCE);
    }

    #[tokio::test]
    async fn a_round_ends_in_time_and_slow_signals_do_not_starve_the_others() {
        let source = Source { hanging: Some('h'), ..Source::default() };
        let names = (0..QUERIES_AT_ONCE).map(|n| format!("h{n}")).chain(["good".into()]);
        let mut windows = SignalWindows::new(names.map(|name| config(&name)).collect()).unwrap();
        let mut good = Vec::new();
        for _ in 0..2 {
            windows.round(&source, at(0), Duration::from_millis(50)).await;
            let states = windows.states(at(0));
            assert!(matches!(states[0].error.as_deref(), Some(SourceError::OutOfTime)));
            good.push(states[QUERIES_AT_ONCE].error.is_none());
        }
        assert_eq!(good, [false, true]);
    }

    #[test]
    fn a_signal_without_any_sample_is_stale_and_has_no_age() {
        let states = SignalWindows::new(vec![config("a")]).unwrap().states(at(0));
        assert!(states[0].stale && states[0].age_s.is_none() && states[0].series.values.is_empty());
    }

    #[test]
    fn unusable_settings_are_refused_with_the_name_of_the_signal() {
        let error = SignalWindows::new(vec![config("a"), config("a")]).unwrap_err();
        assert_eq!(error, SignalsError::Twice(signal("backend", "a")));
        for (step_s, window_s) in [(0, 60), (60, 60), (60, 0), (1, 100_001)] {
            let error =
                SignalWindows::new(vec![SignalConfig { step_s, window_s, ..config("a") }]).unwrap_err();
            assert!(matches!(error, SignalsError::Slots { .. }), "{step_s} {window_s}");
        }
        let blank = SignalConfig { query: "  ".into(), ..config("a") };
        assert!(matches!(SignalWindows::new(vec![blank]).unwrap_err(), SignalsError::NoQuery(_)));
    }
}
