//! The isolation vote: how alone a value is among what the series did before, by value, difference, mean and
//! deviation. Half-space chains over fixed cuts stand for the trees: cells that are rarely visited are isolated.
//! A value goes in, a surprise comes out.

use super::pack::Pack;
use super::tail::{Blocks, Tail, of_pair};
use super::{Point, rate};

/// Cuts of the range at each depth; a cell of depth `d` is a pair of bins.
const CUTS: [u32; 5] = [2, 4, 8, 16, 32];
/// Where the counts of each depth begin; the two deepest share cells by a hash.
const STARTS: [usize; 5] = [0, 9, 34, 115, 371];
const CELLS: usize = 627;
const HASHED: usize = 256;
/// Points after which all counts are halved, so that what the series does now outweighs what it did.
const HALVING: u32 = 65_536;
/// The range shrinks to what was seen since the last halving, if that is less than this share of it.
const SHRINK_BELOW: f32 = 0.25;
/// Values in the rolling mean and deviation, and hours of the level.
const ROLLING: f32 = 10.0;
const LEVEL_H: f32 = 48.0;
/// Rarity varies by this much without a reason: counts are approximate.
const RARITY_NOISE: f32 = 0.1;

/// Counts of visited cells (Manzoor et al., 2018, "xStream"; half-space chains), in one byte each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chain {
    counts: [u8; CELLS],
    before: [u8; 5],
}

impl Default for Chain {
    fn default() -> Self {
        Self { counts: [0; CELLS], before: [0; 5] }
    }
}

/// A count in a byte: four bits of mantissa, four of exponent (Morris, 1978, "Counting large numbers of events
/// in small registers").
fn counted(code: u8) -> u32 {
    let (mantissa, exponent) = (u32::from(code & 15), u32::from(code >> 4));
    if exponent == 0 { mantissa } else { (16 + mantissa) << (exponent - 1) }
}

fn halved(code: u8) -> u8 {
    if code < 32 { (counted(code) / 2) as u8 } else { code - 16 }
}

impl Chain {
    /// Mean over the depths of ln(visits of all cells / visits of this cell), before this visit.
    fn visit(&mut self, bins: impl Fn(u32) -> (u32, u32), visits: u32, logs: &[f32; 256]) -> f32 {
        let mut rarity = 0.0;
        let all = (visits as f32 + 1.0).ln();
        for depth in 0..CUTS.len() {
            let cuts = CUTS[depth];
            let (a, b) = bins(depth as u32);
            let (a, b) = (a.min(cuts), b.min(cuts));
            let flat = (a * (cuts + 1) + b) as usize;
            let place = if cuts <= 8 { flat } else { (mixed(flat as u32) as usize) % HASHED };
            let cell = &mut self.counts[STARTS[depth] + place];
            rarity += all - logs[usize::from(*cell)];
            let exponent = u32::from(*cell >> 4).saturating_sub(1);
            if *cell < u8::MAX && mixed(visits ^ (depth as u32) << 28) & ((1 << exponent) - 1) == 0 {
                *cell += 1;
            }
        }
        rarity / CUTS.len() as f32
    }

    fn halve(&mut self) {
        self.counts.iter_mut().for_each(|code| *code = halved(*code));
    }
}

fn mixed(value: u32) -> u32 {
    let mut mixed = value.wrapping_mul(0x9E37_79B1);
    mixed ^= mixed >> 15;
    mixed = mixed.wrapping_mul(0x2C1B_3C6D);
    mixed ^ (mixed >> 12)
}

/// ln(count + 1/2) of every code; shared by all series.
pub fn logs() -> [f32; 256] {
    let mut logs = [0.0; 256];
    for (code, log) in logs.iter_mut().enumerate() {
        *log = (counted(code as u8) as f32 + 0.5).ln();
    }
    logs
}

/// Extremes of the value, and the largest rolling deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f32,
    high: f32,
    deviation: f32,
}

impl Range {
    fn include(&mut self, value: f32, deviation: f32) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.deviation = self.deviation.max(deviation);
    }

    fn place(&self, value: f32) -> f32 {
        let width = self.high - self.low;
        if width > 0.0 { ((value - self.low) / width).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// What one series did, and the tails of how rare it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Isolation {
    /// (value before, value).
    steps: Chain,
    /// (rolling mean, rolling deviation).
    shapes: Chain,
    visits: u32,
    range: Range,
    recent: Range,
    mean: f32,
    variance: f32,
    level: f32,
    pairs: [[Tail; 2]; 2],
    tails: [Tail; 3],
}

impl Default for Isolation {
    fn default() -> Self {
        let none = Range { low: 0.0, high: 0.0, deviation: 0.0 };
        Self {
            steps: Chain::default(),
            shapes: Chain::default(),
            visits: 0,
            range: none,
            recent: none,
            mean: 0.0,
            variance: 0.0,
            level: 0.0,
            pairs: [[Tail::default(); 2]; 2],
            tails: [Tail::default(); 3],
        }
    }
}

/// Names of the features, in the order of their surprises.
pub const FEATURES: [&str; 5] =
    ["difference", "value", "deviation", "value after the one before", "mean with deviation"];

impl Isolation {
    pub fn step(&mut self, point: &Point, logs: &[f32; 256]) -> [f32; 5] {
        let value = point.value;
        if point.count <= 1.0 {
            (self.mean, self.level) = (value, value);
            self.range = Range { low: value, high: value, deviation: 0.0 };
            self.recent = self.range;
        }
        let deviation = self.variance.max(0.0).sqrt();
        self.range.include(value, deviation);
        self.recent.include(value, deviation);
        let range = self.range;
        let place = range.place(value);
        let bin = |cuts: u32, place: f32| (place * cuts as f32 + 0.5) as u32;
        let before = self.steps.before;
        let step = self.steps.visit(
            |depth| (u32::from(before[depth as usize]), bin(CUTS[depth as usize], place)),
            self.visits,
            logs,
        );
        for (depth, cuts) in CUTS.into_iter().enumerate() {
            self.steps.before[depth] = bin(cuts, place) as u8;
        }
        let (middle, spread) = (range.place(self.mean), share(deviation, range.deviation));
        let shape = self.shapes.visit(
            |depth| (bin(CUTS[depth as usize], middle), bin(CUTS[depth as usize], spread)),
            self.visits,
            logs,
        );
        self.count_visit();
        let off_level = value - self.level;
        let first = 1.0 / point.count;
        self.level += super::rate_of_hours(LEVEL_H, point.step_h).max(first) * off_level;
        let (alpha, off) = (rate(ROLLING).max(first), value - self.mean);
        self.mean += alpha * off;
        self.variance = (1.0 - alpha) * (self.variance + alpha * off * off);
        let deviation = (self.variance + point.floor * point.floor).sqrt();
        [
            of_pair(&mut self.pairs[0], point.difference, point.floor),
            of_pair(&mut self.pairs[1], off_level, point.floor),
            self.tails[0].surprise(deviation),
            self.tails[1].surprise(step),
            self.tails[2].surprise(shape),
        ]
    }

    /// Forgets in halves, and lets the range shrink when an outlier of long ago made it useless.
    fn count_visit(&mut self) {
        self.visits = self.visits.saturating_add(1);
        if self.visits < HALVING {
            return;
        }
        self.visits /= 2;
        self.steps.halve();
        self.shapes.halve();
        let (all, recent) = (self.range.high - self.range.low, self.recent.high - self.recent.low);
        if recent > 0.0 && recent < SHRINK_BELOW * all {
            self.range = self.recent;
            (self.steps, self.shapes, self.visits) = (Chain::default(), Chain::default(), 0);
        }
        let (low, high) = (self.recent.high, self.recent.low);
        self.recent = Range { low, high, deviation: 0.0 };
    }

    pub fn close(&mut self, blocks: &Blocks) {
        blocks.close_pairs(&mut self.pairs);
        blocks.close(&mut self.tails[0], 0.0);
        blocks.close(&mut self.tails[1], RARITY_NOISE);
        blocks.close(&mut self.tails[2], RARITY_NOISE);
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        for chain in [&mut self.steps, &mut self.shapes] {
            pack.bytes(&mut chain.counts);
            pack.bytes(&mut chain.before);
        }
        pack.u32(&mut self.visits);
        for range in [&mut self.range, &mut self.recent] {
            for value in [&mut range.low, &mut range.high, &mut range.deviation] {
                pack.f32(value);
            }
        }
        for value in [&mut self.mean, &mut self.variance, &mut self.level] {
            pack.f32(value);
        }
        self.pairs.iter_mut().flatten().chain(&mut self.tails).for_each(|tail| tail.pack(pack));
    }
}

fn share(part: f32, whole: f32) -> f32 {
    if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 }
}
