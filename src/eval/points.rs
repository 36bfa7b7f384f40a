//! Figures that count points: the delayed F1 of the KPI competition (AIOps challenge 2018: a segment is found
//! whole if an alert comes within its first points, else missed whole) and average precision. No events here
//! but as runs of points.

use super::events::{harmonic, share};
use super::quantile::unique;
use super::unit::Unit;

/// Points after the first in which an alert is in time: by sampling below an hour, below a day, and slower.
const IN_TIME: [usize; 3] = [7, 3, 1];

/// The delayed F1 at a threshold and at the best one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DelayedF1 {
    pub f1: f64,
    pub best_f1: f64,
}

pub fn delayed_f1(units: &[&Unit], threshold: f64) -> DelayedF1 {
    let mut segments: Vec<(f64, f64)> = Vec::new();
    let mut normal: Vec<f64> = Vec::new();
    for unit in units {
        let reach = match unit.interval_s {
            short if short < 3600.0 => IN_TIME[0],
            hourly if hourly < 86_400.0 => IN_TIME[1],
            _ => IN_TIME[2],
        };
        for event in &unit.events {
            let end = (event.first + reach + 1).min(event.last + 1);
            let highest = unit.scores[event.first..end].iter().copied().fold(f64::MIN, f64::max);
            segments.push((highest, (event.last - event.first + 1) as f64));
        }
        normal.extend(unit.scores.iter().zip(&unit.labels).filter(|it| !it.1).map(|it| *it.0));
    }
    normal.sort_unstable_by(f64::total_cmp);
    let total: f64 = segments.iter().map(|it| it.1).sum();
    let f1_at = |threshold: f64| {
        let hit: f64 = segments.iter().filter(|it| it.0 >= threshold).map(|it| it.1).sum();
        let wrong = (normal.len() - normal.partition_point(|score| *score < threshold)) as f64;
        harmonic(share(hit, hit + wrong), share(hit, total))
    };
    let candidates = unique(segments.iter().map(|it| it.0).collect());
    DelayedF1 { f1: f1_at(threshold), best_f1: candidates.into_iter().map(f1_at).fold(0.0, f64::max) }
}

/// Area under the precision-recall steps, one step per distinct score.
pub fn average_precision(labels: &[bool], scores: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = labels.iter().filter(|label| **label).count() as f64;
    let (mut hits, mut before, mut area) = (0.0, 0.0, 0.0);
    for (rank, &row) in order.iter().enumerate() {
        hits += f64::from(u8::from(labels[row]));
        let next = order.get(rank + 1);
        if next.is_none_or(|&next| scores[next] != scores[row]) {
            area += (hits - before) / positives * hits / (rank + 1) as f64;
            before = hits;
        }
    }
    area
}
