//! Season, trend and remainder (STL): how far the newest value is from what the time of day and the trend
//! promised. A prepared window comes in, a vote goes out. The newest half hour never shapes the promise.

use stlrs::Stl as Decomposition;

use crate::model::anomaly::ModelName;

use super::prepared::Prepared;
use super::robust::{Spread, median};
use super::{Model, Vote, calibrated, number};

/// Robustness iterations; the weights hardly change after the second.
const OUTER_LOOPS: usize = 2;

/// Smoothers are evaluated this often per cycle and joined by lines: they are far smoother than that.
const JUMPS: usize = 5;

/// Values whose median is the level of a signal without a season.
const LEVEL_VALUES: usize = 30;

/// At most this many past errors are looked at for the spread; more cost time and say nothing new.
const ERRORS: usize = 600;

/// Cleveland, Cleveland, McRae and Terpenning (1990), robust, with a season that is the same all day
/// ("periodic"), on the window without its newest half hour. The trend is carried forward flat, and the
/// spread is that of the errors the same rule would have made over the window, so that a drifting signal
/// is judged by its drift. Without a season of at least two full cycles, the level is a running median.
#[derive(Debug, Clone, Copy)]
pub struct Stl {
    /// Season in slots, when there is one.
    pub period: Option<u32>,
}

/// What was promised for the newest slot before drift, and the errors of earlier promises.
struct Promise {
    value: f64,
    errors: Vec<f64>,
    basis: String,
}

impl Model for Stl {
    fn name(&self) -> ModelName {
        ModelName::Stl
    }

    fn score(&self, window: &Prepared) -> Vote {
        let promise = self.period.and_then(|period| seasonal(window, period as usize));
        let promise = promise.unwrap_or_else(|| level(window));
        let spread = Spread::of(promise.errors, window.floor);
        let expected = promise.value + spread.centre;
        let residual = window.newest - promise.value;
        let z = spread.z(residual);
        Vote {
            score: calibrated(z),
            expected: (expected - 3.0 * spread.below, expected + 3.0 * spread.above),
            evidence: format!(
                "residual {} is {} sigma from 0 (expected {}, {})",
                number((window.newest - expected) * window.scale),
                number(z.abs()),
                number(expected * window.scale),
                promise.basis,
            ),
        }
    }
}

/// `None` when there are fewer than two full cycles, or no error could be observed.
fn seasonal(window: &Prepared, period: usize) -> Option<Promise> {
    let grid = &window.grid;
    let cycles = grid.len() / period.max(2);
    if cycles < 2 || grid.len() <= window.ahead {
        return None;
    }
    let fit = Decomposition::params()
        .robust(true)
        .outer_loops(OUTER_LOOPS)
        .seasonal_length(10 * cycles + 1)
        .trend_jump(period.div_ceil(JUMPS))
        .low_pass_jump(period.div_ceil(JUMPS))
        .fit(grid, period)
        .ok()?;
    let (season, trend) = (fit.seasonal(), fit.trend());
    let last = grid.len() - 1;
    let same_phase = last + window.ahead - window.ahead.div_ceil(period) * period;
    let promised = |at: usize| trend[at - window.ahead] + season[at];
    let errors: Vec<f64> = (window.ahead..grid.len())
        .step_by(stride(grid.len() - window.ahead))
        .map(|at| grid[at] - promised(at))
        .collect();
    let value = trend[last] + season[same_phase];
    let sane = value.is_finite() && errors.iter().all(|error| error.is_finite());
    sane.then(|| Promise { value, errors, basis: format!("season of {period} slots") })
}

fn level(window: &Prepared) -> Promise {
    let past = &window.past[..window.reference];
    let ahead = (window.past.len() + 1 - window.reference).min(past.len() / 2).max(1);
    let level_before = |end: usize| median(&past[end.saturating_sub(LEVEL_VALUES)..end]);
    let first = (ahead + LEVEL_VALUES).min(past.len() / 2 + ahead).min(past.len());
    let stride = stride(past.len() - first).max(8.min(past.len() / 40).max(1));
    let errors =
        (first..past.len()).step_by(stride).map(|at| past[at] - level_before(at + 1 - ahead)).collect();
    Promise { value: level_before(past.len()), errors, basis: "no season".into() }
}

fn stride(available: usize) -> usize {
    available.div_ceil(ERRORS).max(1)
}
