//! The isolation vote: how alone a value is among what the series did before, by value, difference, mean and
//! deviation. Half-space chains over fixed cuts stand for the trees: cells that are rarely visited are isolated, and
//! one that was never visited is new. A value goes in, surprises come out.

use super::newness::Newness;
use super::pack::Pack;
use super::tail::{Blocks, Tail, of_pair};
use super::{Point, rate};

/// Cuts of the range at each depth; a cell of depth `d` is a pair of bins.
const CUTS: [u32; DEPTHS] = [2, 4, 8, 16];
const DEPTHS: usize = 4;
/// Where the counts of each depth begin.
const STARTS: [usize; DEPTHS] = [0, 9, 34, 115];
const CELLS: usize = 404;
/// Points after which all counts are halved, so that what the series does now outweighs what it did.
const HALVING: u32 = 65_536;
/// The range shrinks to what was seen since the last halving, if that is less than this share of it: even the deepest
/// cuts see one bin then.
const SHRINK_BELOW: f32 = 1.0 / 16.0;
/// Values in the rolling mean and deviation.
const ROLLING: f32 = 10.0;
/// Rarity varies by this much without a reason: counts are approximate.
const RARITY_NOISE: f32 = 0.1;

/// Counts of visited cells (Manzoor et al., 2018, "xStream"; half-space chains), in one byte each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chain {
    counts: [u8; CELLS],
    before: [u8; DEPTHS],
}

/// What a chain says of one visit.
struct Visit {
    /// Mean over the depths of ln(visits of all cells / visits of this cell).
    rarity: f32,
    /// Of each depth: 1 for a cell that was never visited, 1 / (1 + visits) for one that was.
    newness: [f32; DEPTHS],
}

impl Default for Chain {
    fn default() -> Self {
        Self { counts: [0; CELLS], before: [0; DEPTHS] }
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
    /// Judged by the visits before this one.
    fn visit(&mut self, bins: impl Fn(usize) -> (u32, u32), visits: u32, logs: &[f32; 256]) -> Visit {
        let mut seen = Visit { rarity: 0.0, newness: [0.0; DEPTHS] };
        let all = (visits as f32 + 1.0).ln();
        for (depth, cuts) in CUTS.into_iter().enumerate() {
            let (a, b) = bins(depth);
            let place = (a.min(cuts) * (cuts + 1) + b.min(cuts)) as usize;
            let cell = &mut self.counts[STARTS[depth] + place];
            seen.rarity += (all - logs[usize::from(*cell)]) / DEPTHS as f32;
            seen.newness[depth] = 1.0 / (1.0 + counted(*cell) as f32);
            let exponent = u32::from(*cell >> 4).saturating_sub(1);
            if *cell < u8::MAX && mixed(visits ^ (depth as u32) << 28) & ((1 << exponent) - 1) == 0 {
                *cell += 1;
            }
        }
        seen
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

/// From the smallest to the largest of what was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    low: f32,
    high: f32,
}

impl Span {
    /// Whatever comes next is its extreme; finite, so that it can be kept in a file.
    const NONE: Self = Self { low: f32::MAX, high: f32::MIN };

    fn at(value: f32) -> Self {
        Self { low: value, high: value }
    }

    fn include(&mut self, value: f32) {
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
    }

    fn width(&self) -> f32 {
        self.high - self.low
    }

    /// From 0 at the low end to 1 at the high one.
    fn place(&self, value: f32) -> f32 {
        if self.width() > 0.0 { ((value - self.low) / self.width()).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Extremes of the value, of its rolling mean, and of its rolling deviation from 0 on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    value: Span,
    mean: Span,
    deviation: Span,
}

impl Range {
    fn at(value: f32) -> Self {
        Self { value: Span::at(value), mean: Span::at(value), deviation: Span::at(0.0) }
    }

    fn include(&mut self, value: f32, mean: f32, deviation: f32) {
        self.value.include(value);
        self.mean.include(mean);
        self.deviation.include(deviation);
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
    pairs: [[Tail; 2]; 2],
    tails: [Tail; 3],
    /// Of steps and of shapes.
    newness: [Newness; 2],
}

impl Default for Isolation {
    fn default() -> Self {
        let none = Range::at(0.0);
        Self {
            steps: Chain::default(),
            shapes: Chain::default(),
            visits: 0,
            range: none,
            recent: none,
            mean: 0.0,
            variance: 0.0,
            pairs: [[Tail::default(); 2]; 2],
            tails: [Tail::default(); 3],
            newness: [Newness::default(); 2],
        }
    }
}

/// Names of the features, in the order of their surprises.
pub const FEATURES: [&str; 5] =
    ["difference", "value", "deviation", "value after the one before", "mean with deviation"];

impl Isolation {
    /// The surprises, and how new this step and this shape are; `off_level` is how far the value is from the long run.
    pub fn step(&mut self, point: &Point, off_level: f32, logs: &[f32; 256]) -> ([f32; 5], [f32; 2]) {
        let value = point.value;
        if point.count <= 1.0 {
            self.mean = value;
            (self.range, self.recent) = (Range::at(value), Range::at(value));
        }
        let deviation = self.variance.max(0.0).sqrt();
        self.range.include(value, self.mean, deviation);
        self.recent.include(value, self.mean, deviation);
        let range = self.range;
        let bin = |depth: usize, place: f32| (place * CUTS[depth] as f32 + 0.5) as u32;
        let (place, before) = (range.value.place(value), self.steps.before);
        let step = self.steps.visit(|depth| (u32::from(before[depth]), bin(depth, place)), self.visits, logs);
        self.steps.before = std::array::from_fn(|depth| bin(depth, place) as u8);
        let (middle, spread) = (range.mean.place(self.mean), range.deviation.place(deviation));
        let shape = self.shapes.visit(|depth| (bin(depth, middle), bin(depth, spread)), self.visits, logs);
        // Single steps are many: the coarsest cut tells nothing of them. Shapes are few: the finest is new too often.
        let new =
            [self.newness[0].step(&step.newness[1..]), self.newness[1].step(&shape.newness[..DEPTHS - 1])];
        self.count_visit();
        let first = 1.0 / point.count;
        let (alpha, off) = (rate(ROLLING).max(first), value - self.mean);
        self.mean += alpha * off;
        self.variance = (1.0 - alpha) * (self.variance + alpha * off * off);
        let deviation = (self.variance + point.floor * point.floor).sqrt();
        let surprises = [
            of_pair(&mut self.pairs[0], point.difference, point.floor),
            of_pair(&mut self.pairs[1], off_level, point.floor),
            self.tails[0].surprise(deviation),
            self.tails[1].surprise(step.rarity),
            self.tails[2].surprise(shape.rarity),
        ];
        (surprises, new)
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
        let recent = self.recent;
        if recent.value.width() > 0.0 && recent.value.width() < SHRINK_BELOW * self.range.value.width() {
            self.range = recent;
            (self.steps, self.shapes, self.visits) = (Chain::default(), Chain::default(), 0);
            self.newness.iter_mut().for_each(Newness::mute);
        }
        self.recent = Range { value: Span::NONE, mean: Span::NONE, deviation: Span::at(0.0) };
    }

    pub fn close(&mut self, blocks: &Blocks, point: &Point) {
        blocks.close_pairs(&mut self.pairs, point);
        blocks.close(&mut self.tails[0], point.least);
        blocks.close(&mut self.tails[1], RARITY_NOISE);
        blocks.close(&mut self.tails[2], RARITY_NOISE);
        self.newness.iter_mut().for_each(|it| it.close(blocks));
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        for chain in [&mut self.steps, &mut self.shapes] {
            pack.bytes(&mut chain.counts);
            pack.bytes(&mut chain.before);
        }
        pack.u32(&mut self.visits);
        for range in [&mut self.range, &mut self.recent] {
            for span in [&mut range.value, &mut range.mean, &mut range.deviation] {
                pack.f32(&mut span.low);
                pack.f32(&mut span.high);
            }
        }
        for value in [&mut self.mean, &mut self.variance] {
            pack.f32(value);
        }
        self.pairs.iter_mut().flatten().chain(&mut self.tails).for_each(|tail| tail.pack(pack));
        self.newness.iter_mut().for_each(|it| it.pack(pack));
    }
}
