//! The windows of one signal. Answers of its source go in; out come the state of every series, and what to ask for next.
//!
//! A series that somebody names keeps its whole window. Of any other the window is as short as its newest values need,
//! once the stream of the detector has learned from the rest of it. Named later, its past is read again, a part at a time
//! beside what is new; what was pushed cannot be asked for, and its window grows from what is there: after a restart from
//! what the process before had of it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::metrics::{FoundSeries, RangeResult, SourceError};
use super::past::Past;
use super::signals::{Keep, MAX_SERIES, MAX_SERIES_ALL, Meaning, SignalConfig, SignalState};
use super::window::{Span, Window};
use crate::model::causes::causes;
use crate::model::ids::SignalName;
use crate::model::signal::{Sample, ServiceOf, SignalKey, SourceKind};

/// Most samples that one answer about many series should hold, beside what overlaps: some ten megabytes of JSON.
pub const ANSWER_SAMPLES: usize = 400_000;
/// Slots of the first part of a long window, asked for when nobody knows yet how many series there are; how many times as
/// long as the one before a part may be, for series may appear at any time; and as what share of it a part is tried
/// again that got no answer.
const FIRST_SLOTS: usize = 1;
const LONGER_MAX: usize = 4;
const SHORTER: usize = 8;
/// Slots that are kept of a series that nobody names, when its stream has learned from them: two sparklines, an hour at
/// the usual step.
pub const SHORT_SLOTS: usize = 120;

/// Places that series nobody names leave to those that somebody does.
pub const SERIES_RESERVED: usize = 2_000;

/// What the windows of all signals have left.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Series that may begin.
    pub series: usize,
    /// Slots of the window of a series that nobody names.
    pub slots: usize,
}

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    New,
    Past,
}

#[derive(Debug)]
struct Kept {
    /// Shared with what was told of the last tick: whoever holds that longer makes every window be copied.
    window: Arc<Window>,
    /// The stream of the series has all that the window holds.
    is_learned: bool,
}

impl Kept {
    fn new(window: Window) -> Self {
        Self { window: Arc::new(window), is_learned: false }
    }
}

/// The past of series that were named when their windows were short already.
#[derive(Debug)]
struct Recalled {
    progress: Window,
    windows: BTreeMap<SignalName, Window>,
}

#[derive(Debug)]
pub struct Watched {
    pub config: SignalConfig,
    meaning: Meaning,
    /// How far it is read: what every window of it is moved by.
    progress: Window,
    windows: BTreeMap<SignalName, Kept>,
    /// Services whose series keep their whole windows.
    named: BTreeSet<SignalName>,
    recalled: Option<Recalled>,
    /// Slots of the next part of what is asked for, beside those that overlap: as many as the newest answer lets expect to fit.
    part_slots: usize,
    /// Services that the newest answer has and nobody watches: two series claim to be the same, or there was no room.
    pub unwatched: BTreeSet<SignalName>,
    pub error: Option<Arc<SourceError>>,
    pub warnings: Vec<String>,
    /// Why the past of series that were named is still missing.
    pub past_warning: Option<String>,
}

impl Watched {
    pub fn new(config: SignalConfig) -> Self {
        let progress = Window::new(config.step_s, config.window_s);
        let windows = match &config.service {
            ServiceOf::Named(service) => BTreeMap::from([(service.clone(), Kept::new(progress.clone()))]),
            ServiceOf::Label(_) => BTreeMap::new(),
        };
        Self {
            meaning: config.meaning(),
            config,
            progress,
            windows,
            named: BTreeSet::new(),
            recalled: None,
            part_slots: FIRST_SLOTS,
            unwatched: BTreeSet::new(),
            error: None,
            warnings: Vec::new(),
            past_warning: None,
        }
    }

    /// Series that have a window.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    fn empty_window(&self) -> Window {
        Window::new(self.config.step_s, self.config.window_s)
    }

    fn key(&self, service: &SignalName) -> SignalKey {
        SignalKey { signal: self.config.signal.clone(), service: service.clone() }
    }

    /// Only what `after` has is kept from now on.
    pub fn keep(&mut self, before: &Keep, after: &Keep) {
        let signal = self.config.signal.clone();
        let has = |keep: &Keep, service: &SignalName| {
            keep.has(&SignalKey { signal: signal.clone(), service: service.clone() })
        };
        self.windows.retain(|service, _| has(after, service));
        if let ServiceOf::Named(service) = &self.config.service {
            if has(after, service) && !has(before, service) {
                let anew = self.empty_window();
                self.windows.insert(service.clone(), Kept::new(anew.clone()));
                self.progress = anew;
            }
            return;
        }
        match after {
            Keep::Named { keys, services } => {
                let names = named_of(&signal, keys, services);
                self.recall(names.into_iter().filter(|it| !has(before, it)).collect());
            }
            Keep::All | Keep::Shard(_) => self.progress = self.empty_window(),
        }
    }

    /// The series of these services keep their whole windows from now on, and no others.
    pub fn name(&mut self, keys: &BTreeSet<SignalKey>, services: &BTreeSet<SignalName>) {
        if matches!(self.config.service, ServiceOf::Named(_)) {
            return;
        }
        let named = named_of(&self.config.signal, keys, services);
        let is_short = |it: &&SignalName| self.windows.get(*it).is_some_and(|it| !it.window.is_full());
        let new = named.difference(&self.named).filter(is_short).cloned().collect();
        self.named = named;
        self.recall(new);
    }

    /// The windows that no source has, for the next process.
    pub fn pasts(&self) -> impl Iterator<Item = Past> {
        let kept = self.windows.iter().filter(|_| self.config.source == SourceKind::Push);
        kept.map(|(service, kept)| Past {
            key: self.key(service),
            meaning: self.meaning,
            window: Window::clone(&kept.window),
        })
    }

    /// Goes on from where the process before this one ended. One that does not fit, or that there is no room for, is let go.
    pub fn restore(&mut self, past: Past, (keep, room): (&Keep, Room)) {
        let Past { key, meaning, window } = past;
        let is_new = !self.windows.contains_key(&key.service);
        let has_room = !is_new || (room.series > 0 && self.windows.len() < MAX_SERIES);
        let fits = meaning == self.meaning && window.step_s() == self.config.step_s && keep.has(&key);
        let Some(end_s) = window.end_s().filter(|_| fits && has_room) else { return };
        if self.config.source != SourceKind::Push || *self.progress.end_s().get_or_insert(end_s) != end_s {
            return;
        }
        let mut whole = self.empty_window();
        whole.go_on_from(window);
        self.windows.insert(key.service, Kept::new(whole));
        self.progress.absorb(Span { start_s: end_s, end_s }, &[]);
    }

    /// The stream has learned all that the window of this series holds.
    pub fn learned(&mut self, service: &SignalName) {
        if let Some(kept) = self.windows.get_mut(service) {
            kept.is_learned = true;
        }
    }

    /// Begins to read the past of these series, and of those that were not finished.
    fn recall(&mut self, new: BTreeSet<SignalName>) {
        // What was never read begins with its past anyway.
        if new.is_empty() || self.progress.end_s().is_none() || self.config.source == SourceKind::Push {
            return;
        }
        let unfinished = self.recalled.take().map(|it| it.windows).unwrap_or_default();
        let names = new.into_iter().chain(unfinished.into_keys());
        let windows = names.map(|it| (it, self.empty_window())).collect();
        self.recalled = Some(Recalled { progress: self.empty_window(), windows });
    }

    /// What to ask for next: all that is missing of one series, or as much of many as fits an answer.
    pub fn wanted(&self, now: Timestamp, room: Room) -> Option<Span> {
        let settled = SignedDuration::from_secs(i64::from(self.config.source.settled_after_s()));
        let span = self.progress.wanted(now.checked_sub(settled).unwrap_or(now))?;
        match self.config.service {
            ServiceOf::Named(_) => Some(span),
            ServiceOf::Label(_) => Some(self.part(span.last(room.slots, self.config.step_s))),
        }
    }

    /// What to ask for next of the past, up to where everything is read.
    pub fn wanted_past(&self) -> Option<Span> {
        let (past, end_s) = (self.recalled.as_ref()?, self.progress.end_s()?);
        Some(self.part(past.progress.wanted(Timestamp::from_second(end_s).ok()?)?))
    }

    fn part(&self, span: Span) -> Span {
        // What overlaps with the part before is asked for again: a part is longer, or it would never end.
        span.first(self.part_slots + self.progress.overlap_slots(), self.config.step_s)
    }

    /// How long the next part is, from what came of this one. Any failure may be one of size: sources have limits of their
    /// own, and say so in words of their own.
    fn resize(&mut self, span: Span, answer: &Result<RangeResult, SourceError>) {
        self.part_slots = match answer {
            Ok(answer) => {
                let slots = span.slots(self.config.step_s);
                let samples: usize = answer.series.iter().map(|it| it.samples.len()).sum();
                let fitting = slots.saturating_mul(ANSWER_SAMPLES) / samples.max(1);
                // One as long as before may be tried again where so many series as now allow it.
                fitting.clamp(FIRST_SLOTS, slots.saturating_mul(LONGER_MAX).max(self.part_slots))
            }
            Err(_) => (self.part_slots / SHORTER).max(FIRST_SLOTS),
        };
    }

    pub fn failed(&mut self, error: SourceError) {
        self.warnings.clear();
        self.error = Some(Arc::new(error));
    }

    /// Takes in an answer; false when there is none.
    pub fn take(
        &mut self,
        (reading, span): (Reading, Span),
        answer: Result<RangeResult, SourceError>,
        (keep, room): (&Keep, Room),
    ) -> bool {
        self.resize(span, &answer);
        let answer = match reading {
            Reading::New => answer,
            Reading::Past => return self.take_past(span, answer),
        };
        match answer.and_then(|it| self.absorb(span, it, (keep, room))) {
            Ok(()) => self.error = None,
            Err(error) => self.failed(error),
        }
        self.error.is_none()
    }

    /// What is new of the signal is known or not, whatever becomes of its past.
    fn take_past(&mut self, span: Span, answer: Result<RangeResult, SourceError>) -> bool {
        let failed = answer.map(|it| self.absorb_past(span, it)).err();
        self.past_warning = failed.map(|error| {
            format!("the past of series that a policy names is not read yet: {}", causes(&error))
        });
        self.past_warning.is_none()
    }

    fn absorb(
        &mut self,
        span: Span,
        mut answer: RangeResult,
        (keep, room): (&Keep, Room),
    ) -> Result<(), SourceError> {
        let mut warnings = std::mem::take(&mut answer.warnings);
        let step_s = i64::from(self.config.step_s);
        match &self.config.service {
            ServiceOf::Named(_) => {
                let samples = answer.only()?;
                for kept in self.windows.values_mut() {
                    Arc::make_mut(&mut kept.window).absorb(span, &samples);
                }
            }
            ServiceOf::Label(label) => {
                let Services { mut found, ambiguous, unusable } = by_service(answer.series, label);
                found.retain(|service, _| keep.has(&self.key(service)));
                if unusable > 0 {
                    warnings.push(SourceError::NoService(unusable, label.clone()).to_string());
                }
                let left_out = self.absorb_many(span, &found, (keep, room));
                let many = left_out.len();
                self.unwatched = ambiguous.into_iter().filter(|it| keep.has(&self.key(it))).collect();
                self.unwatched.extend(left_out);
                if many > 0 {
                    warnings.push(format!(
                        "{many} series beyond the first {MAX_SERIES} of a signal, or {MAX_SERIES_ALL} of all, are \
                         not watched"
                    ));
                }
            }
        }
        // After a clock went back, or where so many series were away for so long that there is no room for all that they
        // missed, a window begins anew and is shorter than it should be.
        let begins_anew =
            self.progress.end_s().is_some_and(|end_s| span.start_s - end_s > step_s || span.end_s < end_s);
        self.progress.absorb(span, &[]);
        if begins_anew {
            self.recall(self.named.clone());
        }
        self.warnings = warnings;
        Ok(())
    }

    /// Moves every window; new series there was no room for come back. Those that somebody names have a share of the room
    /// that no others take, or whoever sends enough series would take it from them.
    fn absorb_many(
        &mut self,
        span: Span,
        found: &BTreeMap<SignalName, Vec<Sample>>,
        (keep, room): (&Keep, Room),
    ) -> Vec<SignalName> {
        let is_named = |it: &SignalName| matches!(keep, Keep::Named { .. }) || self.named.contains(it);
        let new = found.keys().filter(|it| !self.windows.contains_key(*it));
        let (named, others): (Vec<_>, Vec<_>) = new.cloned().partition(is_named);
        let left = room.series.min(MAX_SERIES.saturating_sub(self.windows.len()));
        let rest = left.saturating_sub(named.len().max(SERIES_RESERVED));
        let mut left_out = Vec::new();
        for (mut names, places) in [(named, left), (others, rest)] {
            left_out.extend(names.split_off(names.len().min(places)));
            for service in names {
                // It has no past here: its window begins with this answer.
                self.windows.insert(service, Kept::new(self.empty_window()));
            }
        }
        for (service, kept) in &mut self.windows {
            let window = Arc::make_mut(&mut kept.window);
            let slots = if std::mem::take(&mut kept.is_learned) { SHORT_SLOTS } else { room.slots };
            if !self.named.contains(service) {
                window.shorten(slots);
            }
            window.absorb(span, found.get(service).map_or(&[][..], Vec::as_slice));
        }
        // A series that has been gone for a whole window is forgotten.
        self.windows.retain(|_, kept| kept.window.last().is_some());
        left_out
    }

    fn absorb_past(&mut self, span: Span, answer: RangeResult) {
        let (Some(past), ServiceOf::Label(label)) = (&mut self.recalled, &self.config.service) else {
            return;
        };
        let found = by_service(answer.series, label).found;
        for (service, window) in &mut past.windows {
            window.absorb(span, found.get(service).map_or(&[][..], Vec::as_slice));
        }
        past.progress.absorb(span, &[]);
        if past.progress.end_s() != self.progress.end_s() {
            return;
        }
        for (service, past) in self.recalled.take().into_iter().flat_map(|it| it.windows) {
            if let Some(kept) = self.windows.get_mut(&service) {
                Arc::make_mut(&mut kept.window).precede(&past);
            }
        }
    }

    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = SignalState> {
        self.windows.iter().map(move |(service, kept)| self.state(self.key(service), &kept.window, now))
    }

    fn state(&self, key: SignalKey, window: &Arc<Window>, now: Timestamp) -> SignalState {
        let age_s =
            window.last().map(|(at, _)| now.as_second().saturating_sub(at.as_second()).max(0).unsigned_abs());
        SignalState {
            key,
            window: Arc::clone(window),
            age_s,
            stale: age_s.is_none_or(|age_s| age_s > u64::from(self.config.staleness_s)),
            staleness_s: self.config.staleness_s,
            period: self.config.period,
            meaning: self.meaning,
            error: self.error.clone(),
        }
    }
}

/// Services of a signal that are named: by one of its series, or with all that they have.
fn named_of(
    signal: &SignalName,
    keys: &BTreeSet<SignalKey>,
    services: &BTreeSet<SignalName>,
) -> BTreeSet<SignalName> {
    let own = keys.iter().filter(|it| it.signal == *signal).map(|it| &it.service);
    services.iter().chain(own).cloned().collect()
}

/// Series by the value of a label.
pub struct Services {
    pub found: BTreeMap<SignalName, Vec<Sample>>,
    /// Two or more claim to be the same service: which of them is meant is not ours to guess, so none is in `found`.
    pub ambiguous: BTreeSet<SignalName>,
    /// How many series are not in `found`, with those that have no such label.
    pub unusable: usize,
}

pub fn by_service(series: Vec<FoundSeries>, label: &str) -> Services {
    let all = series.len();
    let mut found: BTreeMap<SignalName, Vec<Sample>> = BTreeMap::new();
    let mut ambiguous = BTreeSet::new();
    for FoundSeries { labels, samples } in series {
        let Ok(service) = SignalName::new(labels.get(label)) else { continue };
        match found.entry(service) {
            Entry::Occupied(first) => {
                ambiguous.insert(first.key().clone());
            }
            Entry::Vacant(place) => {
                place.insert(samples);
            }
        }
    }
    found.retain(|service, _| !ambiguous.contains(service));
    let unusable = all - found.len();
    Services { found, ambiguous, unusable }
}
