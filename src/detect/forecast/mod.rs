//! Looks a fixed time ahead of one signal: values of a regular grid come in one by one, an expected value, an interval
//! and the probability of crossing a limit come out. Constant work and memory per value; no clock, no random source.
//!
//! Several simple forecasts (the last value, averages, a damped trend, the usual course of the day, and a regression over
//! all of them) are mixed by how well each did lately. How sure the mixture may be is not derived from any model: the
//! errors of its own earlier forecasts are kept, and what it says next is off by as much, as often (conformal prediction).
//! Before there are enough of them it says nothing: "no forecast" is neither yes nor no.

mod average;
mod course;
mod errors;
mod experts;
mod regression;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::VecDeque;

use errors::Errors;
use experts::{EXPERTS, Experts, FEATURES};
use regression::Regression;

use crate::model::forecast::{Crossing, MAX_PROBABILITY};

pub use watch::Watch;

/// Forecasts that are remembered and judged per look-ahead time; more would only repeat one another.
const SAMPLES_PER_HORIZON: usize = 4;
/// Look-ahead times that must have been judged before the first forecast.
const LEAST_HORIZONS: usize = 12;
/// Larger values count as gaps: their squares would not be finite.
const MAX_SIZE: f64 = 1e100;
/// How often a value may lie outside the interval, and how fast the width follows when it does so more or less often.
const OUTSIDE: f64 = 0.1;
const OUTSIDE_RATE: f64 = 0.005;
/// Weight of the newest loss in the judgement of a simple forecast, and how sharply the better ones are preferred.
const LOSS_RATE: f64 = 0.01;
const PREFERENCE: f64 = 12.0;

/// A forecast of an earlier moment that waits for what really came.
#[derive(Debug, Clone, PartialEq)]
struct Pending {
    due: u64,
    guesses: [f64; EXPERTS],
    features: [f64; FEATURES],
    value: f64,
    unit: f64,
    ahead: f64,
    interval: Option<(f64, f64)>,
    highest: f64,
    lowest: f64,
}

/// The value ahead and where nine of ten such values lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ahead {
    pub expected: f64,
    pub interval: (f64, f64),
}

/// One signal, one look-ahead time.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecaster {
    horizon: usize,
    experts: Experts,
    regression: Regression,
    losses: [f64; EXPERTS],
    pending: VecDeque<Pending>,
    /// Of the newest forecast that was remembered. Values may come in odd slots only: no slot is a better one than another.
    remembered: Option<u64>,
    /// Errors at the end of the look-ahead time, and of the extremes on the way, in units of the signal's usual change.
    at_end: Errors,
    above: Errors,
    below: Errors,
    outside: f64,
}

impl Forecaster {
    /// Looks `horizon` slots ahead on a grid with `day` slots per day.
    #[must_use]
    pub fn new(horizon: usize, day: usize) -> Self {
        let horizon = horizon.max(1);
        Self {
            horizon,
            experts: Experts::new(horizon, day.max(1)),
            regression: Regression::new(),
            losses: [0.0; EXPERTS],
            pending: VecDeque::with_capacity(SAMPLES_PER_HORIZON + 1),
            remembered: None,
            at_end: Errors::new(),
            above: Errors::new(),
            below: Errors::new(),
            outside: OUTSIDE,
        }
    }

    fn stride(&self) -> usize {
        (self.horizon / SAMPLES_PER_HORIZON).max(1)
    }

    /// The next value, at `slot` of the grid, counted from any midnight UTC; slots only grow, and one that is left out is a gap.
    pub fn push(&mut self, slot: u64, value: f64) {
        if value.is_nan()
            || value.abs() > MAX_SIZE
            || (self.experts.has_values() && slot <= self.experts.slot)
        {
            return;
        }
        for pending in &mut self.pending {
            pending.highest = pending.highest.max(value);
            pending.lowest = pending.lowest.min(value);
        }
        while let Some(pending) = self.pending.pop_front_if(|it| it.due <= slot) {
            // What was due in a gap is never known.
            if pending.due == slot {
                self.judge(&pending, value);
            }
        }
        self.experts.push(slot, value);
        if self.remembered.is_none_or(|it| slot - it >= self.stride() as u64) {
            self.remembered = Some(slot);
            self.remember(value);
        }
    }

    fn remember(&mut self, value: f64) {
        let (guesses, features, unit) = self.experts.guesses(&self.regression);
        let ahead = mixed(&guesses, &self.losses);
        let interval = self.interval(ahead, unit);
        self.pending.push_back(Pending {
            due: self.experts.slot + self.horizon as u64,
            guesses,
            features,
            value,
            unit,
            ahead,
            interval,
            highest: f64::NEG_INFINITY,
            lowest: f64::INFINITY,
        });
    }

    fn judge(&mut self, then: &Pending, value: f64) {
        for (loss, guess) in self.losses.iter_mut().zip(then.guesses) {
            let off = ((guess - value).abs() / then.unit).min(10.0);
            *loss += LOSS_RATE * (off - *loss);
        }
        self.regression.learn(&then.features, (value - then.value) / then.unit);
        self.at_end.push((value - then.ahead) / then.unit);
        self.above.push((then.highest - then.value.max(then.ahead)) / then.unit);
        self.below.push((then.lowest - then.value.min(then.ahead)) / then.unit);
        if let Some((low, high)) = then.interval {
            let missed = if (low..=high).contains(&value) { 0.0 } else { 1.0 };
            self.outside = (self.outside + OUTSIDE_RATE * (OUTSIDE - missed)).clamp(0.005, 0.5);
        }
    }

    /// Look-ahead times that were judged.
    fn horizons(&self) -> usize {
        self.at_end.len() * self.stride() / self.horizon
    }

    fn interval(&self, ahead: f64, unit: f64) -> Option<(f64, f64)> {
        if self.horizons() < LEAST_HORIZONS {
            return None;
        }
        let (low, high) = self.at_end.between(self.outside)?;
        Some((ahead + unit * low, ahead + unit * high))
    }

    /// What is expected at the end of the look-ahead time; `None` before there is enough history.
    #[must_use]
    pub fn ahead(&self) -> Option<Ahead> {
        let (guesses, _, unit) = self.experts.guesses(&self.regression);
        let expected = mixed(&guesses, &self.losses);
        Some(Ahead { expected, interval: self.interval(expected, unit)? })
    }

    /// How probable it is that a value crosses the limit at any time within the look-ahead time; `None` before there
    /// is enough history. Never surer than the number of independent errors allows.
    #[must_use]
    pub fn probability(&self, crossing: Crossing) -> Option<f64> {
        let (guesses, _, unit) = self.experts.guesses(&self.regression);
        let (ahead, value) = (self.ahead()?.expected, guesses[experts::LAST]);
        let share = match crossing {
            Crossing::Above(limit) => self.above.share(|it| value.max(ahead) + unit * it >= limit),
            Crossing::Below(limit) => self.below.share(|it| value.min(ahead) + unit * it <= limit),
        };
        let surest = (1.0 - 1.0 / (self.horizons() as f64 + 2.0)).min(MAX_PROBABILITY);
        Some(share.clamp(1.0 - surest, surest))
    }
}

/// The guesses, each by how much worse than the best it was lately. Lies between the smallest and the largest.
fn mixed(guesses: &[f64; EXPERTS], losses: &[f64; EXPERTS]) -> f64 {
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let (mut sum, mut weights) = (0.0, 0.0);
    for (guess, loss) in guesses.iter().zip(losses) {
        let weight = (-PREFERENCE * (loss - best) / best.max(1e-9)).exp();
        sum += weight * guess;
        weights += weight;
    }
    sum / weights
}
