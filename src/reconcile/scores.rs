//! Scores the windows of a tick: the streaming detector, one state per series, fed with what is new since the last tick;
//! the batch ensemble on the window alone until the stream of a series has seen enough. Signals come in, anomalies go
//! out. States outlive the process in a file.
//!
//! A state is fed up to the newest slot with a value. What arrives later for an older slot changes the window, not the
//! state. After a restart the state goes on where it was written, from the window that is read anyway; without a file,
//! the window is all it learns from. Windows that were pushed are in the file too: nobody could be asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::states::{Known, States, StatesFile};
use crate::detect::stream::{Detector, Settings};
use crate::detect::{self, EnsembleSettings, RECENT};
use crate::model::anomaly::Anomaly;
use crate::model::ids::SignalName;
use crate::model::signal::SignalKey;
use crate::observe::past::Past;
use crate::observe::signals::{MAX_SERIES_ALL, SignalState};
use crate::telemetry::events::Event;

/// Values that are fed in one tick, a few seconds of work at most: a first start with many series takes several ticks,
/// during which windows are judged by themselves.
const FEED_MAX: usize = 2_000_000;
/// Slots of windows that are judged by themselves in one tick, which takes the models much longer.
const BATCH_SLOTS_MAX: usize = 2_000_000;
/// A state is written this often, and when the process ends. What a crash loses, the windows still have.
const KEEP_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// A series that brought no value for so long is forgotten, counted from the newest value of all: the longest season, and a
/// little. A clock that is wrong for a moment forgets nothing.
const FORGET_AFTER_S: i64 = 8 * 86_400;
/// Most series that something is known of: all that are watched, and some that were. Of more, those without a value for the
/// longest are forgotten first.
const STATES_MAX: usize = MAX_SERIES_ALL / 5 * 6;
/// A state from the future waits for its time this long, then it is given up: the clock was wrong.
const AHEAD_MAX_S: i64 = 3_600;

/// Keeps what the detector knows of every series.
#[derive(Debug)]
pub struct Scores {
    ensemble: EnsembleSettings,
    /// By the season that is declared, seconds.
    detectors: BTreeMap<Option<u32>, Detector>,
    states: States,
    /// `None`: a restart starts from the windows.
    file: Option<StatesFile>,
    is_read: bool,
    kept_at: Option<Timestamp>,
    /// The series with which the next tick begins, so that all get their turn where not all fit into one.
    first: usize,
    /// Signals with a series that there was no time for in this tick.
    behind: BTreeSet<SignalName>,
    /// Places of those that their streams judged at the newest look.
    judged: Vec<usize>,
}

impl Scores {
    #[must_use]
    pub fn new(ensemble: EnsembleSettings) -> Self {
        Self {
            ensemble,
            detectors: BTreeMap::new(),
            states: States::new(),
            file: None,
            is_read: false,
            kept_at: None,
            first: 0,
            behind: BTreeSet::new(),
            judged: Vec::new(),
        }
    }

    /// With a file in which states are kept.
    #[must_use]
    pub fn kept_in(self, path: PathBuf) -> Self {
        Self { file: Some(StatesFile::new(path)), ..self }
    }

    /// What the newest value of every signal is; nothing for one whose newest slot is a gap.
    pub fn look(&mut self, signals: &[SignalState], now: Timestamp) -> Vec<Anomaly> {
        let anomalies = self.turn(signals, now, (FEED_MAX, BATCH_SLOTS_MAX));
        self.forget(now, STATES_MAX);
        anomalies
    }

    /// Was there a series of this signal that the newest look had no time for?
    #[must_use]
    pub fn is_behind(&self, signal: &SignalName) -> bool {
        self.behind.contains(signal)
    }

    /// Which of the `signals` of the newest look were judged by their streams: those know all that their windows hold, and
    /// need nothing of it again.
    pub fn learned<'a>(&self, signals: &'a [SignalState]) -> impl Iterator<Item = &'a SignalKey> {
        self.judged.iter().filter_map(|place| signals.get(*place)).map(|it| &it.key)
    }

    fn turn(
        &mut self,
        signals: &[SignalState],
        now: Timestamp,
        (feed, batch): (usize, usize),
    ) -> Vec<Anomaly> {
        let (mut feed_left, mut batch_left) = (feed, batch);
        let mut anomalies = Vec::with_capacity(signals.len());
        let first = self.first.checked_rem(signals.len()).unwrap_or(0);
        let mut next = None;
        self.behind.clear();
        self.judged.clear();
        for place in (first..signals.len()).chain(0..first) {
            let Some(signal) = signals.get(place) else { continue };
            let before = feed_left;
            match self.judge(signal, now, &mut feed_left) {
                Some(anomaly) => {
                    self.judged.push(place);
                    anomalies.push(anomaly);
                }
                // Nobody has a score for a gap.
                None if signal.window.ends_in_gap() => {}
                None if batch_left > 0 => {
                    batch_left = batch_left.saturating_sub(signal.window.slots());
                    anomalies.extend(self.alone(signal));
                }
                None => {
                    next = next.or(Some(place));
                    self.behind.insert(signal.key.signal.clone());
                }
            }
            if feed_left == 0 && before > 0 {
                next = next.or(Some(place));
            }
        }
        self.first = next.unwrap_or(0);
        anomalies
    }

    /// The stream: fed with what is new, then asked.
    fn judge(&mut self, signal: &SignalState, now: Timestamp, feed_left: &mut usize) -> Option<Anomaly> {
        let step_s = signal.window.step_s();
        let period_s = signal.period.map(|slots| slots.saturating_mul(step_s));
        let ensemble = self.ensemble;
        let detector = self
            .detectors
            .entry(period_s)
            .or_insert_with(|| Detector::new(&Settings { period_s, ..ensemble.streaming(step_s) }));
        let goes_on = |known: &&mut Known| {
            let ahead_s = known.state.last_s().map_or(0, |last_s| last_s.saturating_sub(now.as_second()));
            known.meaning == signal.meaning && known.state.step_s() == step_s && ahead_s <= AHEAD_MAX_S
        };
        let known = match self.states.get_mut(&signal.key).filter(goes_on) {
            Some(_) => self.states.get_mut(&signal.key)?,
            None => {
                let turn = u32::try_from(self.states.len()).unwrap_or(u32::MAX);
                let state = Box::new(detector.start_in_turn(step_s, turn));
                self.states.insert(signal.key.clone(), Known { meaning: signal.meaning, state });
                self.states.get_mut(&signal.key)?
            }
        };
        let fresh = signal.newest(known.state.last_s(), RECENT);
        *feed_left -= detector.feed(&mut known.state, &fresh, *feed_left);
        detector.judge(&known.state, &fresh)
    }

    /// The batch ensemble on the window alone.
    fn alone(&self, signal: &SignalState) -> Option<Anomaly> {
        let period = signal.period.or(self.ensemble.period);
        detect::score(&signal.series(), &EnsembleSettings { period, ..self.ensemble })
    }

    fn forget(&mut self, now: Timestamp, states_max: usize) {
        let last_s = |known: &Known| known.state.last_s();
        let newest_s = self.states.values().filter_map(last_s).max().unwrap_or(i64::MIN);
        let oldest_s = newest_s.min(now.as_second()).saturating_sub(FORGET_AFTER_S);
        self.states.retain(|_, known| last_s(known).is_none_or(|it| it >= oldest_s));
        let Some(surplus) = self.states.len().checked_sub(states_max).filter(|it| *it > 0) else { return };
        let mut ages: Vec<(Option<i64>, SignalKey)> =
            self.states.iter().map(|(key, known)| (last_s(known), key.clone())).collect();
        ages.select_nth_unstable(surplus - 1);
        for (_, key) in ages.iter().take(surplus) {
            self.states.remove(key);
        }
    }

    /// Reads the file, before the first look; the windows in it come back, for they are no business of this one.
    pub fn restore(&mut self) -> Vec<Past> {
        if std::mem::replace(&mut self.is_read, true) {
            return Vec::new();
        }
        match self.file.as_ref().map(StatesFile::read) {
            Some(Ok((states, pasts))) => {
                self.states = states;
                pasts
            }
            Some(Err(error)) => {
                Event::Unlearned { error: &error }.emit();
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Is it time to write the file, as of the look at `now`?
    pub fn keeps(&mut self, now: Timestamp) -> bool {
        if self.kept_at.is_some_and(|at| now.duration_since(at).abs() < KEEP_EVERY) {
            return false;
        }
        // A process that ends at once wrote nothing, and a first look has nothing worth it.
        self.kept_at.replace(now).is_some()
    }

    /// Writes the states, and windows that nobody could ask for again; what goes wrong is told and no failure.
    pub fn keep(&self, pasts: impl Iterator<Item = Past>) {
        // What was never read must not be replaced by nothing.
        let Some(file) = self.file.as_ref().filter(|_| self.is_read) else { return };
        if let Err(error) = file.write(&self.states, pasts) {
            Event::Unlearned { error: &error }.emit();
        }
    }
}

#[cfg(test)]
#[path = "scores_tests.rs"]
mod tests;
