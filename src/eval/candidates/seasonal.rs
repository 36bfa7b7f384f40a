//! Trend and seasons by regression, refitted once a day: what Prophet does (Taylor and Letham, 2018, "Forecasting
//! at scale"): a piecewise straight trend and Fourier terms of day and week, with a ridge instead of its priors.
//! Residuals are measured in robust sigmas of the fit. No holidays, no sampling.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use super::{Candidate, Meta, of_sigmas};

const DAY_S: f64 = 86_400.0;
const WEEK_S: f64 = 7.0 * DAY_S;
/// Harmonics of the day and of the week.
const DAILY: usize = 8;
const WEEKLY: usize = 3;
/// Places at which the trend may bend, evenly spaced in the window.
const BENDS: usize = 4;
/// Level, slope, bends, harmonics.
const TERMS: usize = 2 + BENDS + 2 * DAILY + 2 * WEEKLY;
/// Most values kept, and most that a fit looks at.
const KEPT_MAX: usize = 28 * 1_440;
const FITTED_MAX: usize = 4_000;
const KEPT_S: f64 = 28.0 * DAY_S;
/// Values before the first fit.
const SETTLED: usize = 100;
/// Shrinks every term but level and slope, in units of the mean square of a term.
const RIDGE: f64 = 1e-3;
const MAD_TO_SIGMA: f64 = 1.4826;

type Terms = [f64; TERMS];

#[derive(Debug, Clone)]
struct Fit {
    start_s: f64,
    length_s: f64,
    /// The first value of the window: what is regressed are distances to it, so that a flat line is exactly 0.
    origin: f64,
    weights: Terms,
    sigma: f64,
}

impl Fit {
    fn expected(&self, at_s: f64) -> f64 {
        let terms = terms(at_s, self.start_s, self.length_s);
        self.origin + terms.iter().zip(&self.weights).map(|(term, weight)| term * weight).sum::<f64>()
    }
}

fn terms(at_s: f64, start_s: f64, length_s: f64) -> Terms {
    let mut all = [0.0; TERMS];
    let time = (at_s - start_s) / length_s;
    (all[0], all[1]) = (1.0, time);
    for bend in 0..BENDS {
        all[2 + bend] = (time - (bend + 1) as f64 / (BENDS + 1) as f64).max(0.0);
    }
    let mut next = 2 + BENDS;
    for (season_s, harmonics) in [(DAY_S, DAILY), (WEEK_S, WEEKLY)] {
        for harmonic in 1..=harmonics {
            let angle = TAU * harmonic as f64 * at_s.rem_euclid(season_s) / season_s;
            (all[next], all[next + 1]) = (angle.sin(), angle.cos());
            next += 2;
        }
    }
    all
}

#[derive(Debug, Clone)]
pub struct Seasonal {
    kept: VecDeque<(f64, f64)>,
    fit: Option<Fit>,
    fitted_s: f64,
    rows_max: usize,
}

impl Seasonal {
    pub fn new(meta: Meta) -> Self {
        let rows = (KEPT_S / f64::from(meta.interval_s.max(1))) as usize;
        Self { kept: VecDeque::new(), fit: None, fitted_s: f64::MIN, rows_max: rows.clamp(SETTLED, KEPT_MAX) }
    }

    fn refit(&mut self) {
        let (Some(first), Some(last)) = (self.kept.front(), self.kept.back()) else { return };
        let (start_s, origin, length_s) = (first.0, first.1, (last.0 - first.0).max(1.0));
        let stride = self.kept.len().div_ceil(FITTED_MAX);
        let mut matrix = [[0.0; TERMS]; TERMS];
        let mut right = [0.0; TERMS];
        let mut count = 0.0;
        for (at_s, value) in self.kept.iter().step_by(stride) {
            let row = terms(*at_s, start_s, length_s);
            for (i, term) in row.iter().enumerate() {
                right[i] += term * (value - origin);
                for (j, other) in row.iter().enumerate().take(i + 1) {
                    matrix[i][j] += term * other;
                }
            }
            count += 1.0;
        }
        for (i, row) in matrix.iter_mut().enumerate() {
            row[i] += if i < 2 { 1e-9 } else { RIDGE } * count;
        }
        let Some(weights) = solved(matrix, right) else { return };
        let mut fit = Fit { start_s, length_s, origin, weights, sigma: 0.0 };
        let rest = |it: &(f64, f64)| (it.1 - fit.expected(it.0)).abs();
        let mut rest: Vec<f64> = self.kept.iter().step_by(stride).map(rest).collect();
        rest.sort_unstable_by(f64::total_cmp);
        fit.sigma = MAD_TO_SIGMA * rest.get(rest.len() / 2).copied().unwrap_or(0.0);
        self.fit = Some(fit);
    }
}

/// Solves a symmetric positive system, given its lower half, by Cholesky's decomposition.
fn solved(mut matrix: [[f64; TERMS]; TERMS], mut right: Terms) -> Option<Terms> {
    for i in 0..TERMS {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
            let rest = matrix[i][j] - inner;
            if i == j {
                if rest <= 0.0 || !rest.is_finite() {
                    return None;
                }
                matrix[i][i] = rest.sqrt();
            } else {
                matrix[i][j] = rest / matrix[j][j];
            }
        }
        let inner: f64 = (0..i).map(|k| matrix[i][k] * right[k]).sum();
        right[i] = (right[i] - inner) / matrix[i][i];
    }
    for i in (0..TERMS).rev() {
        let inner: f64 = (i + 1..TERMS).map(|k| matrix[k][i] * right[k]).sum();
        right[i] = (right[i] - inner) / matrix[i][i];
    }
    Some(right)
}

impl Candidate for Seasonal {
    fn step(&mut self, at_s: i64, value: Option<f64>) -> f64 {
        let Some(value) = value else { return 0.0 };
        let at_s = at_s as f64;
        let score = self.fit.as_ref().map_or(0.0, |fit| {
            let distance = value - fit.expected(at_s);
            of_sigmas(distance / fit.sigma.max(1e-6 * value.abs().max(1e-3)))
        });
        self.kept.push_back((at_s, value));
        if self.kept.len() > self.rows_max {
            self.kept.pop_front();
        }
        if self.kept.len() >= SETTLED && at_s - self.fitted_s >= DAY_S {
            self.refit();
            self.fitted_s = at_s;
        }
        score
    }
}
