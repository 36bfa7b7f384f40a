//! Keeps the windows of all configured signals fed. In go the settings and, each tick, the sources and the
//! time; out comes one state per series: its values, its age, and what went wrong with it alone. One query is asked
//! for all series of a signal. A failed read changes no window, and the next one asks for what was missed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::time::timeout;

use super::metrics::{MetricSource, RangeResult, SourceError};
use super::past::Past;
use super::sources::Sources;
use super::watched::{Reading, Room, Watched};
use super::window::{Span, Window};
use crate::model::causes::causes;
use crate::model::ids::SignalName;
use crate::model::shard::{Shard, SignalRead, UNWATCHED_MAX};
use crate::model::signal::{Series, ServiceOf, SignalKey, SourceKind};
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
/// Most series of one signal; what an answer has beyond is left out and told. An answer about them has to fit.
pub const MAX_SERIES: usize = 50_000;
/// Most series of all signals, at some nine kilobytes each with what the detector knows of them. Of so many a first look still goes
/// back further than a stream takes to settle.
pub const MAX_SERIES_ALL: usize = 100_000;
/// Slots of all windows of series that nobody names, 8 bytes each: a day of twenty thousand at 30 s. Where there are more, a
/// first look does not go back so far.
const SLOTS_ALL: usize = 60_000_000;
/// A round asks for what is past, beside what is new, for this long.
const PAST_WITHIN: Duration = Duration::from_secs(5);

/// One watched signal: one query, whose answer is one series or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalConfig {
    pub signal: SignalName,
    pub service: ServiceOf,
    pub source: SourceKind,
    /// From the settings, sent as it is.
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

/// Digest of what the values of a signal are: who is asked what, at which distance, with which season.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning(pub [u8; 16]);

impl SignalConfig {
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        let mut hash = Sha256::new();
        let label = match &self.service {
            ServiceOf::Named(_) => "",
            ServiceOf::Label(label) => label,
        };
        for text in [self.source.as_str(), label, &self.query] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update(self.step_s.to_le_bytes());
        hash.update(self.period.unwrap_or(0).to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Meaning(short)
    }

    /// How people call it: `service/signal`, or `signal by label` when it has many services.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.service {
            ServiceOf::Named(service) => format!("{service}/{}", self.signal),
            ServiceOf::Label(label) => format!("{} by {label}", self.signal),
        }
    }

    /// The one series of it, where the settings name that.
    fn only(&self) -> Option<SignalKey> {
        let ServiceOf::Named(service) = &self.service else { return None };
        Some(SignalKey { signal: self.signal.clone(), service: service.clone() })
    }
}

/// The settings of a signal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignalsError {
    #[error("signal {0} is configured twice; give one of them another name")]
    Twice(String),
    #[error("signal {0} has an empty query")]
    NoQuery(String),
    #[error(
        "signal {name}: a step of {step_s} s and a window of {window_s} s give {slots} samples; use 2 to \
         {MAX_SLOTS}"
    )]
    Slots { name: String, step_s: u32, window_s: u32, slots: u32 },
    #[error("{0} signals are configured; at most {MAX_SIGNALS} are possible")]
    TooMany(usize),
}

/// What is known about one series after a tick.
#[derive(Debug, Clone)]
pub struct SignalState {
    pub key: SignalKey,
    /// The window as last read: the one that goes on, and no copy. It does not move while the source is unavailable.
    pub window: Arc<Window>,
    /// Seconds since the newest value, never negative.
    pub age_s: Option<u64>,
    /// The newest value is too old to act on, or there is none.
    pub stale: bool,
    /// From which age on it is, seconds.
    pub staleness_s: u32,
    /// The season that the settings declare, in slots.
    pub period: Option<u32>,
    /// What its values are; what was learned of others says nothing about it.
    pub meaning: Meaning,
    /// Why the newest read failed; `None` when it worked.
    pub error: Option<Arc<SourceError>>,
}

impl SignalState {
    /// A copy of the whole window, for the few that are judged by it; gaps are `None`.
    #[must_use]
    pub fn series(&self) -> Series {
        self.window.series(self.key.clone())
    }

    /// A copy of what is newer than `after_s`, and of `slots` at least.
    #[must_use]
    pub fn newest(&self, after_s: Option<i64>, slots: usize) -> Series {
        self.window.newest(after_s, slots, self.key.clone())
    }

    /// The newest value, with its time.
    #[must_use]
    pub fn last(&self) -> Option<(Timestamp, f64)> {
        self.window.last()
    }
}

/// What went wrong with one signal at the last tick, for all its series.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// As [`SignalConfig::name`] has it.
    pub name: String,
    pub error: Option<Arc<SourceError>>,
    /// What the source warned of in its newest answer, and what of it could not be used; untrusted text.
    pub warnings: Vec<String>,
}

/// Of which series windows are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    All,
    /// Those of one shard: others watch the rest.
    Shard(Shard),
    /// These series, and every series of these services.
    Named {
        keys: BTreeSet<SignalKey>,
        services: BTreeSet<SignalName>,
    },
}

impl Keep {
    pub(super) fn has(&self, key: &SignalKey) -> bool {
        match self {
            Self::All => true,
            Self::Shard(shard) => shard.has(key),
            Self::Named { keys, services } => keys.contains(key) || services.contains(&key.service),
        }
    }

    /// Can an answer about this signal have a series to keep?
    fn may_have(&self, config: &SignalConfig) -> bool {
        match (&config.service, self) {
            (ServiceOf::Named(_), _) => config.only().is_some_and(|key| self.has(&key)),
            (ServiceOf::Label(_), Self::Named { keys, services }) => {
                !services.is_empty() || keys.iter().any(|it| it.signal == config.signal)
            }
            (ServiceOf::Label(_), Self::All | Self::Shard(_)) => true,
        }
    }
}

/// The windows of all signals.
#[derive(Debug)]
pub struct SignalWindows {
    watched: Vec<Watched>,
    /// Where the signals with many series are in it.
    by_signal: BTreeMap<SignalName, usize>,
    keep: Keep,
    /// Which signal the next round asks for first: it moves on, so that slow signals cannot starve the rest.
    first: usize,
}

impl SignalWindows {
    /// Empty windows for `configs`.
    ///
    /// # Errors
    /// [`SignalsError`] names the signal whose settings cannot be used.
    pub fn new(configs: Vec<SignalConfig>) -> Result<Self, SignalsError> {
        if configs.len() > MAX_SIGNALS {
            return Err(SignalsError::TooMany(configs.len()));
        }
        for (at, config) in configs.iter().enumerate() {
            let (name, SignalConfig { query, step_s, window_s, .. }) = (config.name(), config);
            if configs.iter().take(at).any(|other| overlap(other, config)) {
                return Err(SignalsError::Twice(name));
            }
            if query.trim().is_empty() {
                return Err(SignalsError::NoQuery(name));
            }
            let slots = window_s.checked_div(*step_s).unwrap_or(0);
            if !(2..=MAX_SLOTS).contains(&slots) {
                let (step_s, window_s) = (*step_s, *window_s);
                return Err(SignalsError::Slots { name, step_s, window_s, slots });
            }
        }
        let many = configs.iter().enumerate().filter(|(_, it)| it.only().is_none());
        let by_signal = many.map(|(at, it)| (it.signal.clone(), at)).collect();
        let watched = configs.into_iter().map(Watched::new).collect();
        Ok(Self { watched, by_signal, keep: Keep::All, first: 0 })
    }

    /// From now on only these series have windows, and a signal without any is not asked for. One that is new here is read
    /// from the beginning of its window.
    pub fn keep(&mut self, keep: Keep) {
        if self.keep == keep {
            return;
        }
        for watched in &mut self.watched {
            watched.keep(&self.keep, &keep);
        }
        self.keep = keep;
    }

    /// From now on these series, and every series of these services, keep their whole windows; of others only what
    /// [`SignalWindows::learned`] leaves. One that is new here gets its past back where the source still has it.
    pub fn name(&mut self, keys: &BTreeSet<SignalKey>, services: &BTreeSet<SignalName>) {
        for watched in &mut self.watched {
            watched.name(keys, services);
        }
    }

    /// The streams of these series have learned all that their windows hold.
    pub fn learned<'a>(&mut self, keys: impl IntoIterator<Item = &'a SignalKey>) {
        for key in keys {
            let watched = self.by_signal.get(&key.signal).and_then(|at| self.watched.get_mut(*at));
            if let Some(watched) = watched {
                watched.learned(&key.service);
            }
        }
    }

    /// What no source can be asked for again, for the next process.
    pub fn pasts(&self) -> impl Iterator<Item = Past> {
        self.watched.iter().flat_map(Watched::pasts)
    }

    /// Goes on from what the process before this one had; before the first round.
    pub fn restore(&mut self, pasts: Vec<Past>) {
        if pasts.is_empty() {
            return;
        }
        let places = self.watched.iter().enumerate();
        let only: BTreeMap<SignalKey, usize> =
            places.filter_map(|(at, it)| Some((it.config.only()?, at))).collect();
        let mut room = self.room();
        for past in pasts {
            let at = self.by_signal.get(&past.key.signal).or_else(|| only.get(&past.key));
            if let Some(watched) = at.and_then(|at| self.watched.get_mut(*at)) {
                let before = watched.len();
                watched.restore(past, (&self.keep, room));
                room.series -= watched.len() - before;
            }
        }
    }

    fn room(&self) -> Room {
        let series: usize = self.watched.iter().map(Watched::len).sum();
        Room { series: MAX_SERIES_ALL.saturating_sub(series), slots: SLOTS_ALL / series.max(1) }
    }

    /// Reads what is new from `sources` and returns the state of every series, in the order of the settings and
    /// then of the services. Failures stay with their signal; the round ends within 25 s.
    pub async fn tick(&mut self, sources: &Sources, now: Timestamp) -> Vec<SignalState> {
        self.round(sources, now, ROUND_DEADLINE).await;
        self.states(now)
    }

    async fn round(&mut self, sources: &Sources, now: Timestamp, deadline: Duration) {
        let mut in_turn: Vec<usize> = (0..self.watched.len()).collect();
        in_turn.rotate_left(self.first.min(self.watched.len()));
        self.first = (self.first + QUERIES_AT_ONCE) % self.watched.len().max(1);
        in_turn.retain(|index| self.watched.get(*index).is_some_and(|it| self.keep.may_have(&it.config)));
        let mut unanswered: BTreeSet<usize> = in_turn.iter().copied().collect();
        let mut slow = BTreeSet::new();
        // One part of a past is asked for in every round, however long what is new takes.
        let wants_past = |at: &usize| self.watched.get(*at).is_some_and(|it| it.wanted_past().is_some());
        let owed = in_turn.iter().copied().find(wants_past);
        let mut in_past: BTreeSet<usize> = owed.into_iter().collect();
        let past = owed.into_iter().map(|it| (it, Reading::Past));
        let mut waiting: VecDeque<_> = past.chain(in_turn.into_iter().map(|it| (it, Reading::New))).collect();
        let mut running = FuturesUnordered::new();
        let clock = Stopwatch::start();
        loop {
            while running.len() < QUERIES_AT_ONCE
                && let Some((index, reading)) = waiting.pop_front()
            {
                let room = self.room();
                let Some(watched) = self.watched.get_mut(index) else { continue };
                let asked = match reading {
                    Reading::New => watched.wanted(now, room),
                    Reading::Past => watched.wanted_past().filter(|_| clock.elapsed() < PAST_WITHIN),
                };
                let Some(span) = asked else {
                    if reading == Reading::Past {
                        in_past.remove(&index);
                    } else {
                        unanswered.remove(&index);
                        if in_past.insert(index) {
                            waiting.push_back((index, Reading::Past));
                        }
                    }
                    continue;
                };
                let source = match sources.of(watched.config.source) {
                    Ok(source) => Arc::clone(source),
                    Err(error) => {
                        watched.failed(error);
                        unanswered.remove(&index);
                        continue;
                    }
                };
                if reading == Reading::New {
                    slow.insert(index);
                }
                let (query, step_s) = (watched.config.query.clone(), watched.config.step_s);
                running.push(
                    async move { (index, (reading, span), read(&*source, &query, span, step_s).await) },
                );
            }
            let left = deadline.saturating_sub(clock.elapsed());
            let Ok(Some((index, asked, answer))) = timeout(left, running.next()).await else { break };
            if asked.0 == Reading::New {
                slow.remove(&index);
                unanswered.remove(&index);
            }
            let room = self.room();
            let Some(watched) = self.watched.get_mut(index) else { continue };
            // A long window of many series comes in parts, oldest first.
            if watched.take(asked, answer, (&self.keep, room)) {
                waiting.push_back((index, asked.0));
            }
        }
        self.give_up(&unanswered, &slow, deadline);
    }

    /// Nothing new is known of these signals, and of the slow ones not for want of a turn.
    fn give_up(&mut self, unanswered: &BTreeSet<usize>, slow: &BTreeSet<usize>, after: Duration) {
        for index in unanswered {
            let is_slow = slow.contains(index);
            if let Some(watched) = self.watched.get_mut(*index) {
                watched.failed(if is_slow { SourceError::Slow(after) } else { SourceError::OutOfTime });
            }
        }
    }

    /// The state of every series as of the last tick, with ages at `now`.
    #[must_use]
    pub fn states(&self, now: Timestamp) -> Vec<SignalState> {
        self.watched.iter().flat_map(|watched| watched.states(now)).collect()
    }

    /// How the last tick went, one for each signal.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        let trouble = |it: &Watched| Trouble {
            name: it.config.name(),
            error: it.error.clone(),
            warnings: it.warnings.iter().chain(&it.past_warning).cloned().collect(),
        };
        self.asked().map(trouble).collect()
    }

    /// How the last tick went, for who has to know whether what is kept is all there is.
    #[must_use]
    pub fn reads(&self, now: Timestamp) -> Vec<SignalRead> {
        let read = |it: &Watched| SignalRead {
            signal: it.config.signal.clone(),
            of: it.config.service.clone(),
            trouble: match &it.error {
                Some(error) => Some(causes(error.as_ref())),
                None if it.unwatched.len() > UNWATCHED_MAX => {
                    Some(format!("{} of its series are not watched", it.unwatched.len()))
                }
                None => it.wanted(now, self.room()).map(|_| "its past is still being read".to_owned()),
            },
            unwatched: it.unwatched.iter().take(UNWATCHED_MAX).cloned().collect(),
        };
        self.asked().map(read).collect()
    }

    fn asked(&self) -> impl Iterator<Item = &Watched> {
        self.watched.iter().filter(|it| self.keep.may_have(&it.config))
    }
}

/// Could two signals have a series of the same key?
fn overlap(one: &SignalConfig, other: &SignalConfig) -> bool {
    let apart =
        matches!((&one.service, &other.service), (ServiceOf::Named(a), ServiceOf::Named(b)) if a != b);
    one.signal == other.signal && !apart
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

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
