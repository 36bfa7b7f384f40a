//! The score of the Numenta Anomaly Benchmark, standard profile (Lavin and Ahmad, 2015): an alert early in a
//! window earns most, later ones of the same window nothing, one outside costs more the farther it is from the
//! window before. 0 is a detector that never alerts, 100 a perfect one. Whole files come in.

/// Weights of the standard profile.
const HIT: f64 = 1.0;
const FALSE_ALERT: f64 = 0.11;
const MISS: f64 = 1.0;
/// The share of a file, and the most rows, in which alerts do not count.
const PROBATION_SHARE: f64 = 0.15;
const PROBATION_ROWS: f64 = 750.0;
/// Windows farther behind than this many lengths make no difference any more.
const FAR: f64 = 3.0;

/// One file: all of its scores, and its windows as first and last row.
#[derive(Debug, Clone)]
pub struct NabFile {
    pub scores: Vec<f64>,
    pub windows: Vec<(usize, usize)>,
}

/// The score at a threshold and at the best one for all files.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NabScore {
    pub at_threshold: f64,
    pub best: f64,
}

fn sigmoid(x: f64) -> f64 {
    2.0 / (1.0 + (5.0 * x).min(700.0).exp()) - 1.0
}

/// `None` when no file has a window.
pub fn score(files: &[&NabFile], threshold: f64) -> Option<NabScore> {
    let count = files.iter().map(|file| file.windows.len()).sum::<usize>() as f64;
    if count == 0.0 {
        return None;
    }
    let mut changes: Vec<(f64, f64)> = Vec::new();
    let mut nothing = 0.0;
    for file in files {
        nothing -= MISS * changes_of(file, &mut changes) as f64;
    }
    changes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut sum, mut best, mut at_threshold) = (nothing, f64::MIN, nothing);
    for (index, (score, change)) in changes.iter().enumerate() {
        sum += change;
        if *score >= threshold {
            at_threshold = sum;
        }
        if changes.get(index + 1).is_none_or(|next| next.0 != *score) {
            best = best.max(sum);
        }
    }
    let normal = |value: f64| 100.0 * (value - nothing) / (count * HIT - nothing);
    Some(NabScore { at_threshold: normal(at_threshold), best: normal(best).max(0.0) })
}

/// What the total gains when the threshold falls to each score; answers the number of windows that count.
fn changes_of(file: &NabFile, changes: &mut Vec<(f64, f64)>) -> usize {
    let rows = file.scores.len();
    let probation = (PROBATION_SHARE * rows as f64).floor().min(PROBATION_ROWS).ceil() as usize;
    let mut windows = file.windows.clone();
    windows.sort_unstable();
    let mut cost = vec![-1.0; rows];
    let mut inside = vec![false; rows];
    for (index, &(first, last)) in windows.iter().enumerate() {
        inside[first..=last].fill(true);
        let next = windows.get(index + 1).map_or(rows, |next| next.0);
        if last > first {
            for (index, cost) in cost[last + 1..next].iter_mut().enumerate() {
                let x = (index + 1) as f64 / (last - first) as f64;
                *cost = if x > FAR { -1.0 } else { sigmoid(x) };
            }
        }
    }
    let outside = (probation..rows).filter(|row| !inside[*row]);
    changes.extend(outside.map(|row| (file.scores[row], cost[row] * FALSE_ALERT)));
    let mut counted = 0;
    for (first, last) in windows {
        let mut alerts: Vec<usize> = (first.max(probation)..=last).collect();
        counted += usize::from(!alerts.is_empty());
        alerts.sort_by(|&a, &b| file.scores[b].total_cmp(&file.scores[a]));
        let mut reached = -MISS;
        for row in alerts {
            let place = -((last - row + 1) as f64) / (last - first + 1) as f64;
            let worth = (sigmoid(place) * HIT / sigmoid(-1.0)).max(reached);
            changes.push((file.scores[row], worth - reached));
            reached = worth;
        }
    }
    counted
}
