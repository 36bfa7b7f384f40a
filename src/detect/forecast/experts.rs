//! The simple forecasts that are mixed. Values come in, one guess of each comes out.

use super::average::Average;
use super::course::Course;
use super::regression::Regression;

pub(super) const EXPERTS: usize = 12;
pub(super) const FEATURES: usize = 8;
/// Place of the last value among the guesses.
pub(super) const LAST: usize = 0;

/// What is left of the trend after an eighth of the look-ahead time.
const DAMPING: f64 = 0.9;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Experts {
    horizon: usize,
    /// Place of the newest value on the grid.
    pub(super) slot: u64,
    last: f64,
    count: f64,
    /// Over a quarter of the look-ahead time, all of it, 4 and 16 times.
    averages: [Average; 4],
    /// The same over a quarter and all, of values that were carried along the usual course of the day to now.
    carried: [Average; 2],
    level: f64,
    trend: f64,
    /// Moves by a small step towards each value: what half of them lie below.
    middle: f64,
    /// The usual change within the look-ahead time: the unit of all errors.
    change: f64,
    course: Course,
}

impl Experts {
    pub(super) fn new(horizon: usize, day: usize) -> Self {
        let span = horizon as f64;
        Self {
            horizon,
            slot: 0,
            last: 0.0,
            count: 0.0,
            averages: [0.25, 1.0, 4.0, 16.0].map(|times| Average::over(times * span)),
            carried: [0.25, 1.0].map(|times| Average::over(times * span)),
            level: 0.0,
            trend: 0.0,
            middle: 0.0,
            change: 0.0,
            course: Course::new(day),
        }
    }

    pub(super) fn has_values(&self) -> bool {
        self.count > 0.0
    }

    pub(super) fn push(&mut self, slot: u64, value: f64) {
        if !self.has_values() {
            (self.level, self.last, self.middle) = (value, value, value);
        }
        let moved = self.course.moved(self.slot, slot).filter(|_| self.has_values());
        self.carried.iter_mut().for_each(|it| it.carry(moved));
        self.carried.iter_mut().for_each(|it| it.push(value));
        self.count += 1.0;
        self.averages.iter_mut().for_each(|it| it.push(value));
        let (rate, before) = (1.0 - (-3.0 / self.horizon as f64).exp(), self.level);
        self.level += self.trend + rate * (value - self.level - self.trend);
        self.trend += rate * 0.3 * (self.level - before - self.trend);
        let moved = (value - self.averages[1].value).abs().max((value - self.last).abs());
        self.change += (1.0 / (8.0 * self.horizon as f64)).max(1.0 / self.count) * (moved - self.change);
        let step = 0.04 * self.change * (8.0 / self.horizon as f64).min(1.0);
        self.middle += (value - self.middle).clamp(-step, step);
        self.last = value;
        self.slot = slot;
        self.course.push(slot, value);
    }

    /// What every simple forecast says about the value one look-ahead time after the newest, the features of the
    /// regression, and the unit.
    pub(super) fn guesses(&self, regression: &Regression) -> ([f64; EXPERTS], [f64; FEATURES], f64) {
        let [fast, whole, slow, slowest] = self.averages.map(|it| it.value);
        let then = self.slot + self.horizon as u64;
        let (usual, moved) = (self.course.level(then), self.course.moved(self.slot, then));
        let [seasonal_fast, seasonal] = self.carried.map(|it| moved.map_or(whole, |moved| it.value + moved));
        let damping = DAMPING.powf(8.0 / self.horizon as f64);
        let trending =
            self.level + self.trend * damping * (1.0 - damping.powf(self.horizon as f64)) / (1.0 - damping);
        let half = moved.map_or(whole, |_| 0.5 * seasonal + 0.5 * fast);
        let unit = self.change.max(1e-12);
        let plain = usual.unwrap_or(slow);
        // What is not known yet is no news to the regression: it would learn to lean on what stands in for it, and be
        // far off on the day that it is known.
        let others = [
            Some(fast),
            Some(whole),
            Some(slow),
            Some(slowest),
            moved.map(|_| seasonal_fast),
            moved.map(|_| seasonal),
            usual,
            Some(trending),
        ];
        let features = others.map(|it| it.map_or(0.0, |it| (it - self.last) / unit));
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
