//! Precision and recall of events over a data set, at one threshold and at the best ones. Units come in.
//! An event counts once and a false page is one episode: what a person on call feels. One threshold for all
//! series, never one per series.

use super::quantile::{quantile, spaced, unique};
use super::unit::{Outcome, Unit};

/// Candidate thresholds of each kind.
const GRID: usize = 60;
/// Scores of one series that take part in choosing thresholds.
const POOLED_PER_SERIES: usize = 20_000;
/// What the seed promises, and what `R@P85` is measured at.
const PRECISION: f64 = 0.85;

/// Sums over the series of a data set at one threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EventFigures {
    pub events: usize,
    pub found: usize,
    pub false_pages: usize,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub false_pages_per_week: f64,
    pub delay_median_s: Option<f64>,
}

pub fn harmonic(precision: f64, recall: f64) -> f64 {
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

pub fn at(units: &[&Unit], threshold: f64) -> EventFigures {
    summed(units, &units.iter().map(|unit| unit.at(threshold)).collect::<Vec<_>>())
}

pub fn summed(units: &[&Unit], outcomes: &[Outcome]) -> EventFigures {
    let found = outcomes.iter().flat_map(|it| &it.found).filter(|it| **it).count();
    let false_pages: usize = outcomes.iter().map(|it| it.false_pages).sum();
    let events: usize = units.iter().map(|unit| unit.events.len()).sum();
    let weeks: f64 = units.iter().map(|unit| unit.weeks()).sum();
    let mut delays: Vec<f64> = outcomes.iter().flat_map(|it| it.delays_s.iter().copied()).collect();
    delays.sort_unstable_by(f64::total_cmp);
    let precision = share(found as f64, (found + false_pages) as f64);
    let recall = share(found as f64, events as f64);
    EventFigures {
        events,
        found,
        false_pages,
        precision,
        recall,
        f1: harmonic(precision, recall),
        false_pages_per_week: share(false_pages as f64, weeks),
        delay_median_s: (!delays.is_empty()).then(|| quantile(&delays, 0.5)),
    }
}

/// Descending: quantiles of all scores, close together near the top, and of the highest score in each event.
/// The lowest score of all is the background and never a threshold.
pub fn thresholds(units: &[&Unit]) -> Vec<f64> {
    let mut pool: Vec<f64> = Vec::new();
    let mut highest: Vec<f64> = Vec::new();
    for unit in units {
        let stride = (unit.scores.len() / POOLED_PER_SERIES).max(1);
        pool.extend(unit.scores.iter().step_by(stride));
        highest.extend(unit.events.iter().map(|&event| unit.highest(event)));
    }
    let scores = units.iter().flat_map(|unit| unit.scores.iter().copied());
    let floor = scores.fold(f64::INFINITY, f64::min);
    pool.sort_unstable_by(f64::total_cmp);
    highest.sort_unstable_by(f64::total_cmp);
    let mut grid: Vec<f64> = Vec::new();
    if !pool.is_empty() {
        grid.extend(spaced(-0.3, -5.0, GRID).iter().map(|it| quantile(&pool, 1.0 - 10_f64.powf(*it))));
        grid.push(quantile(&pool, 1.0));
    }
    if !highest.is_empty() {
        grid.extend(spaced(0.0, 1.0, GRID).iter().map(|it| quantile(&highest, *it)));
    }
    let mut grid = unique(grid);
    grid.retain(|threshold| *threshold > floor);
    grid.reverse();
    grid
}

/// The best that one threshold for all series reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sweep {
    pub best_f1: f64,
    pub best_f1_threshold: f64,
    pub recall_at_precision: f64,
    pub recall_at_one_page: f64,
}

pub fn sweep(units: &[&Unit]) -> Sweep {
    let mut best = Sweep::default();
    for threshold in thresholds(units) {
        let figures = at(units, threshold);
        if figures.f1 > best.best_f1 {
            (best.best_f1, best.best_f1_threshold) = (figures.f1, threshold);
        }
        if figures.precision >= PRECISION {
            best.recall_at_precision = best.recall_at_precision.max(figures.recall);
        }
        if figures.false_pages_per_week <= 1.0 {
            best.recall_at_one_page = best.recall_at_one_page.max(figures.recall);
        }
    }
    best
}
