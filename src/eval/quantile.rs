//! Order statistics as numpy computes them (the linear method, number 7 of Hyndman and Fan, 1996), to the last
//! bit where a threshold depends on it. Sorted numbers come in; no thresholds are chosen here.

/// The `share` quantile of ascending `sorted`; 0 of nothing.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = share * last as f64;
    if at >= last as f64 {
        return sorted[last];
    }
    let below = at.max(0.0).floor();
    let (a, b) = (sorted[below as usize], sorted[below as usize + 1]);
    let (part, whole) = (at.max(0.0) - below, b - a);
    // Which end the interpolation starts from decides its last bit, and a threshold is compared with `>=`.
    if part >= 0.5 { b - whole * (1.0 - part) } else { a + whole * part }
}

/// `count` numbers from `from` to `to`, both included.
pub fn spaced(from: f64, to: f64, count: usize) -> Vec<f64> {
    let step = (to - from) / count.saturating_sub(1).max(1) as f64;
    let mut all: Vec<f64> = (0..count).map(|index| index as f64 * step + from).collect();
    if let (Some(last), true) = (all.last_mut(), count > 1) {
        *last = to;
    }
    all
}

/// Ascending, each value once.
pub fn unique(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    values
}
