//! Recursive least squares over what the simple forecasts say. Features and outcomes come in, a bounded number comes
//! out, whatever came in.

use super::experts::FEATURES;

/// How much of what was learnt is left after one more outcome.
const KEEPS: f64 = 0.998;
/// Bounds, in units of the signal's usual change: of a feature, of an outcome, of a surprise, and of the answer.
const MAX_FEATURE: f64 = 20.0;
const MAX_OUTCOME: f64 = 6.0;
const MAX_SURPRISE: f64 = 3.0;
const MAX_ANSWER: f64 = 10.0;
/// Where nothing was to be learnt for long, uncertainty stays below this.
const MAX_TRACE: f64 = 1e3;

type Row = [f64; FEATURES];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Regression {
    weights: Row,
    covariance: [Row; FEATURES],
}

impl Regression {
    pub(super) fn new() -> Self {
        let mut covariance = [[0.0; FEATURES]; FEATURES];
        for (index, row) in covariance.iter_mut().enumerate() {
            row[index] = 1.0;
        }
        Self { weights: [0.0; FEATURES], covariance }
    }

    /// The expected change.
    pub(super) fn answer(&self, features: &Row) -> f64 {
        dot(&self.weights, &bounded(features)).clamp(-MAX_ANSWER, MAX_ANSWER)
    }

    pub(super) fn learn(&mut self, features: &Row, outcome: f64) {
        let features = bounded(features);
        let gain: Row = self.covariance.each_ref().map(|row| dot(row, &features));
        let size = KEEPS + dot(&features, &gain);
        let outcome = outcome.clamp(-MAX_OUTCOME, MAX_OUTCOME);
        let surprise = (outcome - dot(&self.weights, &features)).clamp(-MAX_SURPRISE, MAX_SURPRISE);
        for (weight, gain) in self.weights.iter_mut().zip(gain) {
            *weight += gain / size * surprise;
        }
        for (row, left) in self.covariance.iter_mut().zip(gain) {
            for (cell, right) in row.iter_mut().zip(gain) {
                *cell = (*cell - left * right / size) / KEEPS;
            }
        }
        self.restrain();
    }

    fn restrain(&mut self) {
        let trace: f64 = self.covariance.iter().enumerate().map(|(index, row)| row[index]).sum();
        if !size_is_positive(&self.covariance) || !self.weights.iter().all(|it| it.is_finite()) {
            // Rounding made nonsense of it: begin anew.
            *self = Self::new();
        } else if trace > MAX_TRACE {
            self.covariance.iter_mut().flatten().for_each(|cell| *cell *= MAX_TRACE / trace);
        }
    }
}

fn size_is_positive(covariance: &[Row; FEATURES]) -> bool {
    covariance.iter().enumerate().all(|(index, row)| row[index].is_finite() && row[index] >= 0.0)
}

fn bounded(features: &Row) -> Row {
    features.map(|it| if it.is_nan() { 0.0 } else { it.clamp(-MAX_FEATURE, MAX_FEATURE) })
}

fn dot(left: &Row, right: &Row) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}
