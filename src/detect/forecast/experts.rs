//! The simple forecasts that are mixed. Values come in, one guess of each comes out.

use super::average::Average;
use super::regression::Regression;

pub(super) const EXPERTS: usize = 12;
pub(super) const FEATURES: usize = 8;
/// Place of the last value among the guesses.
pub(super) const LAST: usize = 0;

/// Most parts of a day whose usual value is kept.
const MAX_PARTS: usize = 288;
/// Weight of the newest day in what is usual.
const NEWEST_DAY: f64 = 0.25;
/// What is left of the trend after an eighth of the look-ahead time.
const DAMPING: f64 = 0.9;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Experts {
    horizon: usize,
    day: usize,
    last: f64,
    count: f64,
    /// Over a quarter of the look-ahead time, all of it, 4 and 16 times.
    averages: [Average; 4],
    /// The same of the distance from the usual course of the day, over a quarter and all.
    departures: [Average; 2],
    level: f64,
    trend: f64,
    /// Moves by a small step towards each value: what half of them lie below.
    middle: f64,
    /// The usual change within the look-ahead time: the unit of all errors.
    change: f64,
    usual: Vec<Option<f64>>,
    part: Option<usize>,
    part_sum: f64,
    part_count: f64,
}

impl Experts {
    pub(super) fn new(horizon: usize, day: usize) -> Self {
        let span = horizon as f64;
        Self {
            horizon,
            day,
            last: 0.0,
            count: 0.0,
            averages: [0.25, 1.0, 4.0, 16.0].map(|times| Average::over(times * span)),
            departures: [0.25, 1.0].map(|times| Average::over(times * span)),
            level: 0.0,
            trend: 0.0,
            middle: 0.0,
            change: 0.0,
            usual: vec![None; day.min(MAX_PARTS)],
            part: None,
            part_sum: 0.0,
            part_count: 0.0,
        }
    }

    pub(super) fn has_values(&self) -> bool {
        self.count > 0.0
    }

    fn place(&self, slot: u64) -> usize {
        usize::try_from(slot % self.day as u64).unwrap_or(0)
    }

    /// The usual value at that time of the day, between the middles of its parts.
    fn usual_at(&self, slot: u64) -> Option<f64> {
        let parts = self.usual.len();
        let middle = if parts < self.day { 0.5 } else { 0.0 };
        let position = self.place(slot) as f64 * parts as f64 / self.day as f64 - middle + parts as f64;
        let (part, share) = (position.floor() as usize, position.fract());
        let (left, right) = (self.usual[part % parts]?, self.usual[(part + 1) % parts]?);
        Some(left * (1.0 - share) + right * share)
    }

    pub(super) fn push(&mut self, slot: u64, value: f64) {
        if !self.has_values() {
            (self.level, self.last, self.middle) = (value, value, value);
        }
        self.count += 1.0;
        if let Some(usual) = self.usual_at(slot) {
            self.departures.iter_mut().for_each(|it| it.push(value - usual));
        }
        self.averages.iter_mut().for_each(|it| it.push(value));
        let (rate, before) = (1.0 - (-3.0 / self.horizon as f64).exp(), self.level);
        self.level += self.trend + rate * (value - self.level - self.trend);
        self.trend += rate * 0.3 * (self.level - before - self.trend);
        let moved = (value - self.averages[1].value).abs().max((value - self.last).abs());
        self.change += (1.0 / (8.0 * self.horizon as f64)).max(1.0 / self.count) * (moved - self.change);
        let step = 0.04 * self.change * (8.0 / self.horizon as f64).min(1.0);
        self.middle += (value - self.middle).clamp(-step, step);
        self.last = value;
        self.note(slot, value);
    }

    /// Adds the value to its part of the day; a part counts when it is over.
    fn note(&mut self, slot: u64, value: f64) {
        let part = self.place(slot) * self.usual.len() / self.day;
        if self.part != Some(part) {
            if let Some(usual) = self.part.and_then(|it| self.usual.get_mut(it)) {
                let mean = self.part_sum / self.part_count;
                *usual = Some(usual.map_or(mean, |before| before + NEWEST_DAY * (mean - before)));
            }
            (self.part, self.part_sum, self.part_count) = (Some(part), 0.0, 0.0);
        }
        self.part_sum += value;
        self.part_count += 1.0;
    }

    /// What every simple forecast says about the value one look-ahead time after `slot`, the features of the
    /// regression, and the unit.
    pub(super) fn guesses(
        &self,
        slot: u64,
        regression: &Regression,
    ) -> ([f64; EXPERTS], [f64; FEATURES], f64) {
        let [fast, whole, slow, slowest] = self.averages.map(|it| it.value);
        let usual = self.usual_at(slot + self.horizon as u64);
        let [seasonal_fast, seasonal] =
            self.departures.map(|it| usual.map_or(whole, |usual| usual + it.value));
        let damping = DAMPING.powf(8.0 / self.horizon as f64);
        let trending =
            self.level + self.trend * damping * (1.0 - damping.powf(self.horizon as f64)) / (1.0 - damping);
        let half = usual.map_or(whole, |usual| 0.5 * (usual + self.departures[1].value) + 0.5 * fast);
        let unit = self.change.max(1e-12);
        let plain = usual.unwrap_or(slow);
        let others = [fast, whole, slow, slowest, seasonal_fast, seasonal, plain, trending];
        let features = others.map(|it| (it - self.last) / unit);
        let learnt = self.last + unit * regression.answer(&features);
        let guesses = [
            self.last,
            fast,
            whole,
            slow,
            slowest,
            trending,
            seasonal_fast,
            seasonal,
            half,
            learnt,
            plain,
            self.middle,
        ];
        (guesses, features, unit)
    }
}
