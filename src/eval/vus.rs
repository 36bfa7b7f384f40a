//! VUS-PR: the volume under the precision-recall surface over buffers around the events (Paparrizos et al.,
//! 2022, "Volume Under the Surface"). Labels and scores of one series come in, one number goes out.

use super::quantile::spaced;
use super::unit::{Event, runs};

/// Thresholds, at evenly spaced ranks of the scores.
const THRESHOLDS: usize = 250;

/// `None` without an event. `window` is the widest buffer, in rows.
pub fn vus_pr(labels: &[bool], scores: &[f64], window: usize) -> Option<f64> {
    let events = runs(labels);
    if events.is_empty() {
        return None;
    }
    let (first_at, predicted) = ranked(scores);
    let surface = Surface::of(&events, labels, &first_at, window);
    let hits = cumulated(labels.iter().zip(&first_at).filter(|it| *it.0).map(|it| (*it.1, 1.0)));
    let positives = labels.iter().filter(|label| **label).count() as f64;
    let mut volume = 0.0;
    for width in 0..=window {
        let near = surface.near(width);
        let exists = surface.exists(width / 2);
        let mut before = 0.0;
        for at in 0..THRESHOLDS {
            let hit = hits[at] + near[at];
            let recall = (hit / (positives + near[at] / 2.0)).min(1.0) * exists[at];
            volume += (recall - before) * hit / predicted[at];
            before = recall;
        }
    }
    Some(volume / (window + 1) as f64)
}

/// For each row the first threshold at which it is an alert, and for each threshold how many rows are.
fn ranked(scores: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let places = spaced(0.0, (scores.len() - 1) as f64, THRESHOLDS);
    let thresholds: Vec<f64> = places.iter().map(|place| sorted[*place as usize]).collect();
    let first = |score: &f64| thresholds.partition_point(|threshold| threshold > score);
    let count = |threshold: &f64| sorted.partition_point(|score| score >= threshold) as f64;
    (scores.iter().map(first).collect(), thresholds.iter().map(count).collect())
}

/// Running sums over the thresholds; what is never an alert counts nowhere.
fn cumulated(amounts: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
    let mut sums = vec![0.0; THRESHOLDS + 1];
    for (at, amount) in amounts {
        sums[at] += amount;
    }
    for at in 1..THRESHOLDS {
        sums[at] += sums[at - 1];
    }
    sums
}

/// What the buffers of all widths are made from.
struct Surface<'a> {
    events: &'a [Event],
    /// Per event: its first threshold within 0, 1, 2... rows around it.
    reached: Vec<Vec<usize>>,
    /// Unlabelled rows around events: row, first threshold, and its distances to events.
    around: Vec<(usize, Vec<usize>)>,
}

impl<'a> Surface<'a> {
    fn of(events: &'a [Event], labels: &[bool], first_at: &[usize], window: usize) -> Self {
        let half = window / 2;
        let mut distances: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
        let mut reached = Vec::with_capacity(events.len());
        for event in events {
            let mut best = first_at[event.first..=event.last].iter().copied().min().unwrap_or(THRESHOLDS);
            let mut row = vec![best];
            for distance in 1..=half {
                let sides = [event.first.checked_sub(distance), Some(event.last + distance)];
                for at in sides.into_iter().flatten().filter(|at| *at < labels.len()) {
                    best = best.min(first_at[at]);
                    if !labels[at] {
                        distances.entry(at).or_default().push(distance);
                    }
                }
                row.push(best);
            }
            reached.push(row);
        }
        let around = distances.into_iter().map(|(row, distances)| (first_at[row], distances)).collect();
        Self { events, reached, around }
    }

    /// Weighted rows of the buffer of this width that are alerts.
    fn near(&self, width: usize) -> Vec<f64> {
        let half = width / 2;
        let weight = |distances: &[usize]| {
            let near = distances.iter().filter(|distance| **distance <= half);
            near.map(|distance| (1.0 - *distance as f64 / width as f64).sqrt()).sum::<f64>().min(1.0)
        };
        cumulated(self.around.iter().map(|(at, distances)| (*at, weight(distances))))
    }

    /// The share of events, those whose buffers touch being one, that any alert reaches.
    fn exists(&self, half: usize) -> Vec<f64> {
        let mut segments: Vec<usize> = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let reached = self.reached[index][half];
            let touches = index > 0 && self.events[index - 1].last + 2 * half >= event.first;
            match segments.last_mut() {
                Some(segment) if touches => *segment = (*segment).min(reached),
                _ => segments.push(reached),
            }
        }
        let count = segments.len() as f64;
        let mut sums = cumulated(segments.into_iter().map(|at| (at, 1.0)));
        sums.iter_mut().for_each(|sum| *sum /= count);
        sums
    }
}
