//! The EWMA vote: how far a value is from its moving averages, how far a fast average is from a slow one, and
//! how much the values move. A value goes in, a surprise comes out. No seasons here. At a change point that became the
//! new normal the averages begin anew.

use super::pack::Pack;
use super::tail::{Blocks, Tail, of_pair};
use super::{Point, rate, rate_of_hours};

/// Spans of the averages that a value is compared with, points.
const SPANS: [f32; 2] = [8.0, 60.0];
/// Hours of the fast and of the slow average that are compared with each other.
const FAST_H: f32 = 1.0;
const SLOW_H: f32 = 24.0;
/// Hours over which movement is averaged.
const MOVEMENT_H: f32 = 2.0;
/// Points after which the spread of a band is trusted, and sigma beyond which a value does not widen it.
const NOISE_POINTS: f32 = 120.0;
const NOISE_CUT: f32 = 3.0;
/// Values before which every value is within the band.
const YOUNG_POINTS: u32 = 30;
/// The fast and the slow average are this many deviations apart at a change point, or there was none.
const CHANGE: f32 = 6.0;
/// What the fast average knows of a new level is worth so many values.
const KNOWN_POINTS: u32 = 8;

/// Averages of one series (Roberts, 1959), and the tails of what deviates from them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Averages {
    mean: [f32; 2],
    fast: f32,
    slow: f32,
    movement: f32,
    noise: f32,
    /// Values since the averages began, or began anew.
    since: u32,
    pairs: [[Tail; 2]; 3],
    moving: Tail,
}

/// Names of the features, in the order of their surprises.
pub const FEATURES: [&str; 4] =
    ["distance from the short average", "distance from the long average", "shift of the mean", "movement"];

impl Averages {
    /// `adopts`: what lasted until this value is the new normal.
    pub fn step(&mut self, point: &Point, adopts: bool) -> [f32; 4] {
        if self.since == 0 {
            (self.mean, self.fast, self.slow) = ([point.value; 2], point.value, point.value);
        }
        if adopts && (self.fast - self.slow).abs() >= CHANGE * self.noise.sqrt() {
            // Without this the long averages crawl to the new level for as long as they reach back.
            (self.mean[1], self.slow, self.since) = (self.fast, self.fast, KNOWN_POINTS);
        }
        self.since = self.since.saturating_add(1);
        let off = [point.value - self.mean[0], point.value - self.mean[1]];
        let first = 1.0 / self.since as f32;
        let cut = NOISE_CUT * self.noise.sqrt() + point.floor;
        let near = if self.since > YOUNG_POINTS { off[0].clamp(-cut, cut) } else { off[0] };
        self.noise += rate(NOISE_POINTS).max(first) * (near * near - self.noise);
        for (index, off) in off.into_iter().enumerate() {
            self.mean[index] += rate(SPANS[index]).max(first) * off;
        }
        self.fast += rate_of_hours(FAST_H, point.step_h).max(first) * (point.value - self.fast);
        self.slow += rate_of_hours(SLOW_H, point.step_h).max(first) * (point.value - self.slow);
        let hours = rate_of_hours(MOVEMENT_H, point.step_h).max(first);
        self.movement += hours * (point.difference.abs() - self.movement);
        let shift = self.fast - self.slow;
        let moving = (self.movement * self.movement + point.floor * point.floor).sqrt();
        [
            of_pair(&mut self.pairs[0], off[0], point.floor),
            of_pair(&mut self.pairs[1], off[1], point.floor),
            of_pair(&mut self.pairs[2], shift, point.floor),
            self.moving.surprise(moving),
        ]
    }

    /// Centre and deviation that the next value is expected at.
    pub fn band(&self) -> (f32, f32) {
        (self.mean[0], self.noise.sqrt())
    }

    #[cfg(test)]
    pub fn means(&self) -> [f32; 3] {
        [self.mean[0], self.mean[1], self.slow]
    }

    pub fn close(&mut self, blocks: &Blocks, point: &Point) {
        blocks.close_pairs(&mut self.pairs, point);
        blocks.close(&mut self.moving, point.least);
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.f32s(&mut self.mean);
        for value in [&mut self.fast, &mut self.slow, &mut self.movement, &mut self.noise] {
            pack.f32(value);
        }
        pack.u32(&mut self.since);
        self.pairs.iter_mut().flatten().for_each(|tail| tail.pack(pack));
        self.moving.pack(pack);
    }
}
