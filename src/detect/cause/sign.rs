//! How far one metric left its own past when an incident began, and when. One track comes in, at most one sign
//! goes out. Nothing is compared with other metrics here.

use super::role::Role;
use crate::detect::robust::{Spread, quantile, sorted};

/// The share of the past that may lie beyond "normal" on either side, and where a Gaussian has it. Wider than
/// for scoring: the hours before an incident often hold the end of another.
const TAIL: f64 = 0.05;
const TAIL_SIGMA: f64 = 1.645;
/// A past that never moved does not make a move of this share of its level a wonder.
const FLOOR_SHARE: f64 = 0.01;
/// Below this share of slots with a value, or this many values, there is no past to compare with.
const PRESENT_SHARE: f64 = 0.3;
const PAST_MIN: usize = 8;
/// Slots after the beginning that are looked at; what happens later is consequence.
pub const AFTER_SLOTS: usize = 10;
/// Values right before the beginning: who differed already then did not begin with the incident.
const JUST_BEFORE: usize = 3;
/// The onset is the beginning of the stretch before the peak that reaches this share of it, with no more than one
/// slot in a row that does not.
const ONSET_SHARE: f64 = 1.0 / 3.0;
const ONSET_GAP_SLOTS: usize = 2;
/// More distance than this is no more suspicious.
const DISTANCE_MAX: f64 = 1e4;

/// The values of one metric of one service on a regular grid, oldest first; a gap is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Track<'a> {
    pub service: &'a str,
    pub metric: &'a str,
    pub start_s: i64,
    pub step_s: u32,
    pub values: &'a [Option<f64>],
}

/// A change for the worse: of this metric, this far, since then.
#[derive(Debug, Clone, PartialEq)]
pub struct Sign {
    pub metric: String,
    pub role: Role,
    /// Distance from the past in sigma-equivalents; negative: below.
    pub sigmas: f64,
    pub onset_s: i64,
}

impl Sign {
    /// Strength on a scale on which ten times as far is one step more.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.sigmas.abs().ln_1p()
    }
}

/// How `track` changed at `since_s` or within `most` slots after, as known at `now_s`. `None`: not for the worse, or
/// nobody can tell.
pub fn sign(track: &Track<'_>, since_s: i64, now_s: i64, most: usize) -> Option<Sign> {
    let step_s = i64::from(track.step_s.max(1));
    let slots = |until_s: i64| {
        let count = until_s.saturating_sub(track.start_s).div_euclid(step_s).max(0);
        usize::try_from(count).unwrap_or(usize::MAX).min(track.values.len())
    };
    // The first slot at or after `since_s`, and the one after `now_s`.
    let (begin, end) = (slots(since_s.saturating_add(step_s - 1)), slots(now_s.saturating_add(step_s)));
    let past: Vec<f64> = finite(&track.values[..begin]).map(|(_, value)| value).collect();
    if past.len() < PAST_MIN || (past.len() as f64) < PRESENT_SHARE * begin as f64 {
        return None;
    }
    let after = &track.values[begin..end.min(begin.saturating_add(most)).max(begin)];
    let recent = sorted(past[past.len() - JUST_BEFORE.min(past.len())..].to_vec());
    let (just_before, centre) = (quantile(&recent, 0.5), quantile(&sorted(past.clone()), 0.5));
    let floor = (FLOOR_SHARE * centre.abs()).max(f64::MIN_POSITIVE);
    let spread = Spread::with_tail(past, floor, (TAIL, TAIL_SIGMA));
    let distance = |value: f64| spread.z(value).clamp(-DISTANCE_MAX, DISTANCE_MAX);
    let far: Vec<(usize, f64)> = finite(after).map(|(slot, value)| (slot, distance(value))).collect();
    let change = finite(after).map(|(slot, value)| (slot, distance(spread.centre + (value - just_before))));
    let (long, short) = (agreed(&far), agreed(&change.collect::<Vec<_>>()));
    let sigmas = if long.abs() < short.abs() { long } else { short };
    let role = Role::of(track.metric);
    let worse = match role {
        Role::Inside | Role::Load => sigmas != 0.0,
        Role::Calls | Role::Answers { worse_is_up: true } => sigmas > 0.0,
        Role::Answers { worse_is_up: false } => sigmas < 0.0,
    };
    if long * short <= 0.0 || !worse {
        return None;
    }
    let onset_s = track.start_s + (begin + onset(&far, sigmas.signum())?) as i64 * step_s;
    Some(Sign { metric: track.metric.to_owned(), role, sigmas, onset_s })
}

/// The slot at which what is farthest on this side began.
fn onset(distances: &[(usize, f64)], side: f64) -> Option<usize> {
    let (at, &(slot, peak)) =
        distances.iter().enumerate().rev().max_by(|a, b| (side * a.1.1).total_cmp(&(side * b.1.1)))?;
    let mut first = slot;
    for &(slot, distance) in distances[..at].iter().rev() {
        if side * distance >= ONSET_SHARE * side * peak {
            first = slot;
        } else if first - slot >= ONSET_GAP_SLOTS {
            break;
        }
    }
    Some(first)
}

fn finite(values: &[Option<f64>]) -> impl Iterator<Item = (usize, f64)> {
    let present = |(slot, value): (usize, &Option<f64>)| Some((slot, (*value)?));
    values.iter().enumerate().filter_map(present).filter(|(_, value)| value.is_finite())
}

/// The distance that two values agree on: the second largest, if it is on the same side. One value alone is
/// believed by half.
fn agreed(distances: &[(usize, f64)]) -> f64 {
    let mut all: Vec<f64> = distances.iter().map(|it| it.1).collect();
    all.sort_unstable_by(|a, b| b.abs().total_cmp(&a.abs()).then(b.total_cmp(a)));
    match all[..] {
        [] => 0.0,
        [only] => only / 2.0,
        [largest, second, ..] => {
            if largest * second > 0.0 {
                second
            } else {
                0.0
            }
        }
    }
}
