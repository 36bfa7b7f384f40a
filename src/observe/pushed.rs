//! Samples that were sent here. In go messages of remote write; out come, as from any other source, the values of
//! the series that some signal asks for, slot by slot. Of each only what the next ticks need is kept, and nothing of
//! a series that no signal means. It never asks anybody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::metrics::{FoundSeries, InstantResult, Labels, MetricSource, RangeResult, SourceError};
use super::remote_write::{self, Point, Sent, WriteError};
use super::signals::{MAX_SERIES, MAX_SERIES_ALL};
use crate::model::pushed::{Tally, WriteVersion};
use crate::model::selector::{NAME_LABEL, Selector};
use crate::model::signal::Sample;
use crate::outside::clock::OutsideClock;

/// Samples older than the newest of their series, or than the clock, by more than this are late, milliseconds: no tick asks
/// for them. Longer than any pause between two ticks that is not an outage.
const KEPT_MS: i64 = 15 * 60 * 1_000;
/// Samples further ahead of the clock than this are refused, milliseconds: one of them would make all others late.
const AHEAD_MS: i64 = 10 * 60 * 1_000;
/// Most samples kept of one series: one a second for as long as they are kept.
const KEPT_MAX: usize = 900;
/// Label bytes of all series that are kept. Series with the usual few hundred reach the bound on their number first.
const LABEL_BYTES_ALL: usize = 128 * 1024 * 1024;

/// The selectors of all signals that are fed by push, and what was sent for them.
#[derive(Debug)]
pub struct Pushed {
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Store {
    questions: Vec<Question>,
    room: Room,
    /// The encoded labels of the series at hand.
    key: Vec<u8>,
}

/// What is left for series that begin, of any question.
#[derive(Debug)]
struct Room {
    series: usize,
    label_bytes: usize,
}

#[derive(Debug)]
struct Question {
    query: String,
    selector: Selector,
    /// By the encoded labels. Nothing is kept of a series that is not meant: to look at its labels again is cheap.
    series: HashMap<Box<[u8]>, Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Oldest first, no two of the same time. A stale marker is a NaN and needs no other sign.
    points: VecDeque<Point>,
}

impl Pushed {
    /// Nothing sent yet, for these queries.
    #[must_use]
    pub fn new(queries: impl IntoIterator<Item = (String, Selector)>) -> Self {
        let question = |(query, selector)| Question { query, selector, series: HashMap::new() };
        let questions = queries.into_iter().map(question).collect();
        let room = Room { series: MAX_SERIES_ALL, label_bytes: LABEL_BYTES_ALL };
        Self { store: Mutex::new(Store { questions, room, key: Vec::new() }) }
    }

    /// Takes what is wanted of a message.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub fn take(&self, version: WriteVersion, body: &[u8], now: Timestamp) -> Result<Tally, WriteError> {
        let message = remote_write::unpack(body)?;
        // A message that breaks off is sent again as a whole: what stands before that place must not count twice.
        remote_write::read(version, &message, &mut |_| {})?;
        let mut tally = Tally::default();
        let latest_ms = now.as_millisecond().saturating_add(AHEAD_MS);
        let mut store = self.store();
        let contents =
            remote_write::read(version, &message, &mut |sent| store.keep(sent, latest_ms, &mut tally))?;
        tally.samples = contents.points as u64;
        tally.refused = contents.refused_points as u64;
        tally.refused_series = contents.refused_series as u64;
        tally.histograms = contents.histograms as u64;
        Ok(tally)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn keep(&mut self, sent: &Sent<'_>, latest_ms: i64, tally: &mut Tally) {
        let Self { questions, room, key } = self;
        key.clear();
        let mut watched = false;
        for question in questions.iter_mut().filter(|it| it.may_mean(sent)) {
            if key.is_empty() {
                encode(sent.labels, key);
            }
            watched |= question.take((key, sent), latest_ms, room, tally);
        }
        if !watched {
            tally.unwatched += sent.points.len() as u64;
        }
    }
}

/// The labels as bytes that are equal only for equal labels.
fn encode(labels: &[(&str, &str)], into: &mut Vec<u8>) {
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        into.extend_from_slice(&(text.len() as u64).to_le_bytes()[..4]);
        into.extend_from_slice(text.as_bytes());
    }
}

/// The labels that [`encode`] was given.
fn decode(mut key: &[u8]) -> Labels {
    let mut text = || {
        let (length, rest) = key.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        key = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    Labels::of(std::iter::from_fn(|| Some((text()?, text()?))).collect())
}

fn value_of<'a>(sent: &Sent<'a>, name: &str) -> &'a str {
    sent.labels.iter().find(|it| it.0 == name).map_or("", |it| it.1)
}

impl Question {
    /// A look at the name alone: most of what is sent is about other metrics.
    fn may_mean(&self, sent: &Sent<'_>) -> bool {
        self.selector.metric().is_none_or(|name| value_of(sent, NAME_LABEL) == name)
    }

    /// Is the series one of this question?
    fn take(
        &mut self,
        (key, sent): (&[u8], &Sent<'_>),
        latest_ms: i64,
        room: &mut Room,
        tally: &mut Tally,
    ) -> bool {
        if !self.series.contains_key(key) {
            if !self.selector.matches(|name| value_of(sent, name)) {
                return false;
            }
            if self.series.len() == MAX_SERIES || room.series == 0 || room.label_bytes < key.len() {
                tally.no_room += sent.points.len() as u64;
                return true;
            }
            room.series -= 1;
            room.label_bytes -= key.len();
            self.series.insert(key.into(), Ring::default());
        }
        let Some(ring) = self.series.get_mut(key) else { return false };
        for point in sent.points {
            ring.take(*point, latest_ms, tally);
        }
        true
    }

    /// The values at `start`, `start + step`, ... up to `end`, of every series that has any.
    fn range(&mut self, (start_ms, end_ms, step_ms): (i64, i64, i64), room: &mut Room) -> Vec<FoundSeries> {
        let found = self.series.iter().filter_map(|(key, ring)| {
            let samples = ring.samples((start_ms, end_ms, step_ms));
            (!samples.is_empty()).then(|| FoundSeries { labels: decode(key), samples })
        });
        let found = found.collect();
        // A series that stopped must not keep the place of one that begins.
        let gone = start_ms - KEPT_MS;
        self.series.retain(|key, ring| {
            let stays = ring.points.back().is_some_and(|point| point.at_ms >= gone);
            if !stays {
                room.series += 1;
                room.label_bytes += key.len();
            }
            stays
        });
        found
    }
}

impl Ring {
    fn take(&mut self, point: Point, latest_ms: i64, tally: &mut Tally) {
        if point.at_ms > latest_ms {
            tally.ahead += 1;
            return;
        }
        let newest_ms = self.points.back().map_or(i64::MIN, |it| it.at_ms);
        let clock_ms = latest_ms.saturating_sub(AHEAD_MS);
        if point.at_ms < newest_ms.max(clock_ms).saturating_sub(KEPT_MS) {
            tally.late += 1;
            return;
        }
        if point.at_ms > newest_ms {
            self.points.push_back(point);
            tally.kept += 1;
        } else {
            match self.points.binary_search_by_key(&point.at_ms, |it| it.at_ms) {
                Ok(_) => tally.repeated += 1,
                Err(at) => {
                    self.points.insert(at, point);
                    tally.kept += 1;
                    tally.out_of_order += 1;
                }
            }
        }
        let oldest_ms = self.points.back().map_or(i64::MIN, |it| it.at_ms.saturating_sub(KEPT_MS));
        while self.points.len() > KEPT_MAX || self.points.front().is_some_and(|it| it.at_ms < oldest_ms) {
            self.points.pop_front();
        }
    }

    /// A slot has the newest sample of the step that ends with it, and a tenth more, because scrapes are not
    /// punctual. A stale marker, or any other NaN, is nothing.
    fn samples(&self, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut points = self.points.iter().peekable();
        let mut newest: Option<Point> = None;
        let mut slot_ms = start_ms;
        while slot_ms <= end_ms {
            while let Some(point) = points.next_if(|it| it.at_ms <= slot_ms) {
                newest = Some(*point);
            }
            let fresh = newest.filter(|it| it.at_ms > slot_ms - step_ms - step_ms / 10 && !it.value.is_nan());
            if let (Some(point), Ok(at)) = (fresh, Timestamp::from_millisecond(slot_ms)) {
                samples.push(Sample { at, value: point.value });
            }
            slot_ms += step_ms;
        }
        samples
    }
}

impl MetricSource for Pushed {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let span = (start.as_millisecond(), end.as_millisecond(), i64::from(step_s) * 1_000);
        let mut store = self.store();
        let Store { questions, room, .. } = &mut *store;
        let answer = match questions.iter_mut().find(|it| it.query == query) {
            _ if step_s == 0 => Err(SourceError::BadRange("the step is 0")),
            Some(question) => Ok(RangeResult { series: question.range(span, room), warnings: Vec::new() }),
            None => Err(SourceError::BadRange("no signal of this process is fed by that query")),
        };
        Box::pin(std::future::ready(answer))
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        Box::pin(std::future::ready(Err(SourceError::WrongType("stream of pushed samples"))))
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

#[cfg(test)]
#[path = "pushed_tests.rs"]
mod tests;
