//! Exponentially weighted mean and variance: the fast model, and the only one while a signal warms up.
//! A prepared window comes in, a vote goes out. A surge does not teach it that surges are normal at once.

use crate::model::anomaly::ModelName;

use super::prepared::Prepared;
use super::{Model, Vote, calibrated, number};

/// Weight of the newest value: 2 / (span + 1) with a span of 30 values.
const ALPHA: f64 = 2.0 / 31.0;

/// Values after which the averages are trusted. Before, they are plain averages of what there is, and the
/// distance counts in proportion.
const SETTLED: usize = 20;

/// A value farther off than this many sigma is an outlier to the state (it still gets its score): it moves
/// the mean as if it were 1 sigma off and widens the variance as if it were [`CUT`] sigma off.
const OUTLIER: f64 = 4.0;
const CUT: f64 = 3.0;

/// Outliers widen the variance this much more slowly than ordinary values do, yet they do: a signal that
/// really became noisier is believed after some hundred values.
const OUTLIER_SLOWDOWN: f64 = 32.0;

/// Mean and variance by Finch (2009), "Incremental calculation of weighted mean and variance", with
/// outliers cut as in a robust exponential smoother (Gelper, Fried and Croux, 2010).
#[derive(Debug, Clone, Copy, Default)]
pub struct Ewma {}

#[derive(Debug, Clone, Copy)]
struct State {
    mean: f64,
    variance: f64,
    seen: usize,
}

impl State {
    fn sigma(self, floor: f64) -> f64 {
        self.variance.sqrt().max(floor)
    }

    fn learn(&mut self, value: f64, floor: f64) {
        self.seen += 1;
        let sigma = self.sigma(floor);
        let distance = value - self.mean;
        let (step, reach, rate) = if self.seen > SETTLED && distance.abs() > OUTLIER * sigma {
            (ALPHA * sigma.copysign(distance), CUT * sigma, ALPHA / OUTLIER_SLOWDOWN)
        } else {
            let rate = ALPHA.max(1.0 / self.seen as f64);
            (rate * distance, distance, rate)
        };
        self.mean += step;
        self.variance = (1.0 - rate) * (self.variance + rate * reach * reach);
    }
}

impl Model for Ewma {
    fn name(&self) -> ModelName {
        ModelName::Ewma
    }

    fn score(&self, window: &Prepared) -> Vote {
        let mut state = State { mean: 0.0, variance: 0.0, seen: 0 };
        for &value in &window.past {
            state.learn(value, window.floor);
        }
        let trust = (state.seen as f64 / SETTLED as f64).min(1.0);
        let sigma = state.sigma(window.floor) / trust.max(f64::MIN_POSITIVE);
        let distance = window.newest - state.mean;
        let z = distance / sigma;
        Vote {
            score: calibrated(z),
            expected: (state.mean - 3.0 * sigma, state.mean + 3.0 * sigma),
            evidence: format!(
                "value is {} sigma {} the moving mean {} (sigma {})",
                number(z.abs()),
                if distance < 0.0 { "below" } else { "above" },
                number(state.mean * window.scale),
                number(sigma * window.scale),
            ),
        }
    }
}
