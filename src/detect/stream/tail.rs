//! How rare a statistic of one series is: the maxima of blocks of time are taken for Gumbel, and a value is
//! told as the time in which it is to be expected once. Statistics go in, surprises (ln of hours) come out.
//! Never: a threshold, or more than a fixed number of bytes per statistic.

use super::Point;
use super::pack::Pack;

/// Shortest block, seconds and points: shorter ones would not be independent of each other.
const BLOCK_S: u32 = 2 * 3600;
const BLOCK_POINTS: u32 = 16;
/// Blocks before anything can be called rare.
const SETTLED: u16 = 2;
/// Memories, blocks: five days and three weeks of 2 h. What either of them has seen is no surprise.
const MEMORY: [f32; 2] = [64.0, 256.0];
/// A side (up, down) that was never exercised is believed to be this much of the other.
const OTHER_SIDE: f32 = 0.5;
/// More surprise than this says nothing more: e^30 hours.
pub const SURPRISE_MAX: f32 = 30.0;
/// sqrt(6) / pi, and Euler's constant: scale and place of a Gumbel distribution from mean and deviation.
const GUMBEL_SCALE: f32 = 0.779_696_8;
const EULER: f32 = 0.577_215_7;

/// The tail of one statistic (Gumbel, 1958, "Statistics of Extremes"), with exponentially forgotten moments.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tail {
    highest: f32,
    mean: [f32; 2],
    variance: [f32; 2],
    place: [f32; 2],
    /// 1 / scale; 0 where there was no spread.
    slope: [f32; 2],
}

impl Tail {
    /// Standard units above what a block has at its highest; the statistic joins its block.
    pub fn surprise(&mut self, statistic: f32) -> f32 {
        self.highest = self.highest.max(statistic);
        let of = |index: usize| {
            let above = statistic - self.place[index];
            if above <= 0.0 && self.slope[index] == 0.0 { 0.0 } else { above * self.slope[index] }
        };
        of(0).min(of(1))
    }

    fn scale(&self, index: usize) -> f32 {
        self.variance[index].max(0.0).sqrt() * GUMBEL_SCALE
    }

    fn absorb(&mut self, blocks: &Blocks) {
        for (index, memory) in MEMORY.into_iter().enumerate() {
            let rate = blocks.rate(memory);
            let distance = self.highest - self.mean[index];
            self.mean[index] += rate * distance;
            self.variance[index] = (1.0 - rate) * (self.variance[index] + rate * distance * distance);
        }
        self.highest = 0.0;
    }

    fn refit(&mut self, at_least: [f32; 2]) {
        for (index, least) in at_least.into_iter().enumerate() {
            let scale = self.scale(index);
            self.place[index] = self.mean[index] - EULER * scale;
            self.slope[index] = 1.0 / scale.max(least).max(SCALE_MIN);
        }
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.f32(&mut self.highest);
        for index in 0..2 {
            pack.f32(&mut self.mean[index]);
            pack.f32(&mut self.variance[index]);
            pack.f32(&mut self.place[index]);
            pack.f32(&mut self.slope[index]);
        }
    }
}

/// In units of the statistics, which are near 1: a scale is never 0.
const SCALE_MIN: f32 = 1e-9;

/// The clock that all tails of a series share.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Blocks {
    points: u32,
    closed: u16,
}

impl Blocks {
    /// Points per block, and what a block is worth in ln of hours.
    pub fn length(step_s: u32) -> (u32, f32) {
        let step_s = step_s.max(1);
        let points = (BLOCK_S / step_s).max(BLOCK_POINTS);
        (points, (f64::from(points) * f64::from(step_s) / 3600.0).ln() as f32)
    }

    /// Is there anything to compare with yet?
    pub fn settled(&self) -> bool {
        self.closed >= SETTLED
    }

    /// Weight of the newest block in a mean over so many, or over all there were.
    pub fn rate(&self, memory: f32) -> f32 {
        (1.0 / f32::from(self.closed.max(1))).max(1.0 / memory)
    }

    /// One point further; true at the end of a block. What goes on is not learned from before it is over: a block waits for that as long
    /// again as it is.
    pub fn advance(&mut self, length: u32, goes_on: bool) -> bool {
        self.points = self.points.saturating_add(1);
        let ends = self.points >= length && (!goes_on || self.points >= length.saturating_mul(2));
        if ends {
            self.points = 0;
            self.closed = self.closed.saturating_add(1);
        }
        ends
    }

    /// Tails of one-sided statistics, up and down next to each other.
    pub fn close_pairs(&self, pairs: &mut [[Tail; 2]], point: &Point) {
        for [up, down] in pairs {
            up.absorb(self);
            down.absorb(self);
            let (above, below) = ([up.scale(0), up.scale(1)], [down.scale(0), down.scale(1)]);
            up.refit(below.map(|it| (it * OTHER_SIDE).max(point.least)));
            down.refit(above.map(|it| (it * OTHER_SIDE).max(point.least)));
        }
    }

    pub fn close(&self, tail: &mut Tail, at_least: f32) {
        tail.absorb(self);
        tail.refit([at_least; 2]);
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.u32(&mut self.points);
        pack.u16(&mut self.closed);
    }
}

/// The surprise of a signed deviation: of the side it is on.
pub fn of_pair(pair: &mut [Tail; 2], deviation: f32, floor: f32) -> f32 {
    let size = |side: f32| (side.max(0.0).powi(2) + floor * floor).sqrt();
    let up = pair[0].surprise(size(deviation));
    let down = pair[1].surprise(size(-deviation));
    up.max(down)
}
