//! Exponentially weighted mean and variance (Finch, 2009): the simplest baseline. No seasons, no robustness.

use super::{Candidate, of_sigmas};

/// 2 / (span + 1), span 20.
const ALPHA: f64 = 2.0 / 21.0;
/// Values before anything is scored.
const SETTLED: usize = 20;

#[derive(Debug, Clone, Default)]
pub struct Ewma {
    mean: f64,
    variance: f64,
    seen: usize,
}

impl Candidate for Ewma {
    fn step(&mut self, _at_s: i64, value: Option<f64>) -> f64 {
        let Some(value) = value else { return 0.0 };
        let distance = if self.seen == 0 { 0.0 } else { value - self.mean };
        let sigma = self.variance.sqrt();
        let score = match self.seen >= SETTLED && distance != 0.0 {
            true => of_sigmas(distance / sigma.max(1e-9 * value.abs().max(1.0))),
            false => 0.0,
        };
        if self.seen == 0 {
            self.mean = value;
        }
        self.seen += 1;
        self.mean += ALPHA * distance;
        self.variance = (1.0 - ALPHA) * (self.variance + ALPHA * distance * distance);
        score
    }
}
