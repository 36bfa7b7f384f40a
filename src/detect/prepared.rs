//! One window made ready for the models: cut to 24 hours, free of gaps and of the unit of the signal.
//! A series comes in, a [`Prepared`] goes out. A gap never becomes a value that is scored.

use crate::model::signal::Series;

use super::robust::{quantile, sorted};

/// Length of the window that is looked at, seconds: one day.
pub const WINDOW_S: u32 = 86_400;

/// The newest stretch that no model may learn its expectation from, seconds: an incident this young cannot
/// have become the new normal.
const GUARD_S: u32 = 1_800;

/// The longest run of missing slots that is bridged by a line for the decomposition. At a longer one the
/// decomposition starts anew behind it.
const MAX_BRIDGED_SLOTS: usize = 30;

/// Deviations smaller than this share of the signal's level count as less than one sigma: a line at 100 that
/// moves to 101 is nothing to act on, however flat it was before. The level of a signal that is mostly 0 is
/// the size of what it is when it is not.
const FLOOR_SHARE: f64 = 0.01;

/// The floor in normalised units is never smaller, so that nothing divides by zero.
const FLOOR_MIN: f64 = 1e-9;

/// Normalised values beyond this are cut to it, so that no square overflows.
const LARGEST: f64 = 1e6;

/// A window in normalised units: every number here times `scale` is in the unit of the signal.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The present values, oldest first; the newest one is `newest`, not in here.
    pub past: Vec<f64>,
    /// Indices into `past` whose value follows a gap too long to be bridged.
    pub breaks: Vec<usize>,
    /// The value to be scored.
    pub newest: f64,
    /// How many of `past` are older than the guard.
    pub reference: usize,
    /// The slots before the guard and after the last long gap, short gaps bridged by a line. For the
    /// decomposition only.
    pub grid: Vec<f64>,
    /// Slots from the last of `grid` to the newest, at least 1.
    pub ahead: usize,
    /// The smallest spread a model may believe in.
    pub floor: f64,
    pub scale: f64,
    /// No value of the window is negative, so no expectation is either.
    pub never_negative: bool,
}

impl Prepared {
    /// `None` when the newest slot is a gap or the window holds fewer than two values.
    pub fn of(series: &Series) -> Option<Self> {
        let length = (WINDOW_S / series.step_s.max(1)).max(2) as usize;
        let window = &series.values[series.values.len().saturating_sub(length)..];
        let slots: Vec<Option<f64>> = window.iter().map(|slot| slot.filter(|v| v.is_finite())).collect();
        let (&newest, past) = slots.split_last()?;
        let newest = newest?;
        let first = past.iter().position(Option::is_some)?;
        let past = &past[first..];
        let guard = (GUARD_S / series.step_s.max(1)) as usize;
        let guard = guard.min(past.len() / 4);
        let mut old = &past[..past.len() - guard];
        if old.iter().all(Option::is_none) {
            old = past;
        }
        let reference: Vec<f64> = old.iter().flatten().copied().collect();
        let (scale, level) = scale_and_level(&reference, newest);
        let normal = |value: f64| (value / scale).clamp(-LARGEST, LARGEST);
        let (grid, end) = bridge(old);
        Some(Self {
            past: past.iter().flatten().map(|&value| normal(value)).collect(),
            breaks: breaks(past),
            newest: normal(newest),
            reference: reference.len(),
            grid: grid.into_iter().map(normal).collect(),
            ahead: past.len() + 1 - end,
            floor: (FLOOR_SHARE * if level > 0.0 { level / scale } else { 1.0 }).max(FLOOR_MIN),
            scale,
            never_negative: slots.iter().flatten().all(|&value| value >= 0.0),
        })
    }

    /// `value` in the unit of the signal, cut at 0 for a signal that is never negative.
    pub fn in_unit(&self, value: f64) -> f64 {
        let value = (value * self.scale).clamp(f64::MIN, f64::MAX);
        if self.never_negative { value.max(0.0) } else { value }
    }
}

/// What to divide by so that ordinary values are near 1, and the median of the absolute values.
fn scale_and_level(reference: &[f64], newest: f64) -> (f64, f64) {
    let sizes = sorted(reference.iter().map(|value| value.abs()).collect());
    let level = quantile(&sizes, 0.5);
    let largest = quantile(&sizes, 1.0);
    let scale = [quantile(&sizes, 0.95), largest, newest.abs()].into_iter().find(|&size| size > 0.0);
    (scale.unwrap_or(1.0), level)
}

/// The slots after the last long gap, and the index in `slots` just behind the last one used.
fn bridge(slots: &[Option<f64>]) -> (Vec<f64>, usize) {
    let mut grid = Vec::with_capacity(slots.len());
    let mut last: Option<(usize, f64)> = None;
    for (index, slot) in slots.iter().enumerate() {
        let Some(value) = *slot else { continue };
        if let Some((before, from)) = last {
            let missing = index - before - 1;
            if missing > MAX_BRIDGED_SLOTS {
                grid.clear();
            } else {
                let share = |step: usize| step as f64 / (missing + 1) as f64;
                grid.extend((1..=missing).map(|step| from * (1.0 - share(step)) + value * share(step)));
            }
        }
        grid.push(value);
        last = Some((index, value));
    }
    (grid, last.map_or(0, |(index, _)| index + 1))
}

fn breaks(slots: &[Option<f64>]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut missing = 0;
    let mut present = 0;
    for slot in slots {
        if slot.is_none() {
            missing += 1;
            continue;
        }
        if missing > MAX_BRIDGED_SLOTS {
            found.push(present);
        }
        missing = 0;
        present += 1;
    }
    found
}
