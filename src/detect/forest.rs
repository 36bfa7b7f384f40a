//! Isolation forest over [value, difference, rolling mean, rolling standard deviation]: how few cuts set
//! the newest point apart. A prepared window comes in, a vote goes out. The same seed gives the same forest.

use crate::model::anomaly::ModelName;

use super::prepared::Prepared;
use super::robust::{TAIL, TAIL_SIGMA, quantile, sorted};
use super::{Model, Vote, calibrated, number};

/// Trees and points per tree that Liu, Ting and Zhou (2008), "Isolation Forest", recommend.
const TREES: usize = 100;
const SUBSAMPLE: usize = 256;

/// Values in the rolling mean and standard deviation.
const ROLLING: usize = 10;

/// Points of the window whose scores say what a normal score is.
const CALIBRATION_POINTS: usize = 160;

/// The smallest believable distance between the median score and the upper tail.
const TAIL_MIN: f64 = 0.02;

const FEATURES: usize = 4;
const LEAF: usize = usize::MAX;

type Point = [f64; FEATURES];

/// Liu, Ting and Zhou (2008), trained on the window without its newest half hour.
///
/// Calibration: the raw score (0.5 = ordinary) of the newest point is compared with the raw scores of the
/// window's own points. Their median is 0 sigma, their 97.5 % quantile 1.96 sigma, and the line through both
/// is followed outwards, because a forest knows no distances beyond the points it has seen.
#[derive(Debug, Clone, Copy)]
pub struct Forest {
    pub seed: u64,
}

impl Model for Forest {
    fn name(&self) -> ModelName {
        ModelName::IsolationForest
    }

    fn score(&self, window: &Prepared) -> Vote {
        let mut random = Random(self.seed);
        let points = points(window, &mut random);
        let newest = points.last().copied().unwrap_or_default();
        let reference = &points[..window.reference];
        let trees = Trees::grow(reference, &mut random);
        let stride = reference.len().div_ceil(CALIBRATION_POINTS).max(1);
        let usual = sorted(reference.iter().step_by(stride).map(|point| trees.score(point)).collect());
        let middle = quantile(&usual, 0.5);
        let tail = (quantile(&usual, 1.0 - TAIL) - middle).max(TAIL_MIN);
        let raw = trees.score(&newest);
        let z = (TAIL_SIGMA * (raw - middle) / tail).max(0.0);
        Vote {
            score: calibrated(z),
            expected: (f64::NEG_INFINITY, f64::INFINITY),
            evidence: format!(
                "isolation {} where the window has {} at the median and {} at 97.5 % ({} sigma)",
                number(raw),
                number(middle),
                number(quantile(&usual, 1.0 - TAIL)),
                number(z),
            ),
        }
    }
}

/// One point per past value and one for the newest, which comes last. The past is dithered by the floor: a
/// constant line becomes a thin band, so that a jump off it can be cut off and jitter inside it cannot.
fn points(window: &Prepared, random: &mut Random) -> Vec<Point> {
    let mut values = Vec::with_capacity(window.past.len() + 1);
    for &value in &window.past {
        values.push(value + window.floor * (2.0 * random.share() - 1.0));
    }
    values.push(window.newest);
    let mut points = Vec::with_capacity(values.len());
    let mut start = 0;
    let mut breaks = window.breaks.iter().copied().peekable();
    for (index, &value) in values.iter().enumerate() {
        if breaks.next_if_eq(&index).is_some() {
            start = index;
        }
        let recent = &values[start.max((index + 1).saturating_sub(ROLLING))..=index];
        let count = recent.len() as f64;
        let mut sum = 0.0;
        for value in recent {
            sum += value;
        }
        let mean = sum / count;
        let mut squares = 0.0;
        for value in recent {
            squares += (value - mean) * (value - mean);
        }
        let difference = if index > start { value - values[index - 1] } else { 0.0 };
        points.push([value, difference, mean, (squares / count).sqrt()]);
    }
    points
}

/// A cut, or a leaf whose `at` is the path length to it.
#[derive(Debug, Clone, Copy)]
struct Node {
    feature: usize,
    at: f64,
    /// Extremes of the feature among the points that were cut here.
    low: f64,
    high: f64,
    /// Index of the child below the cut; the other child is the next one.
    below: usize,
}

impl Node {
    const UNCUT: Self = Self { feature: LEAF, at: 0.0, low: 0.0, high: 0.0, below: 0 };
}

struct Trees {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    /// Average path length of an unsuccessful search among a tree's points: the unit of depth.
    unit: f64,
}

impl Trees {
    fn grow(points: &[Point], random: &mut Random) -> Self {
        let size = points.len().min(SUBSAMPLE);
        let height = usize::BITS - size.saturating_sub(1).leading_zeros();
        let mut trees = Self {
            nodes: Vec::with_capacity(TREES * size * 2),
            roots: Vec::with_capacity(TREES),
            unit: average_path(size),
        };
        let mut order: Vec<usize> = (0..points.len()).collect();
        let mut sample = vec![[0.0; FEATURES]; size];
        for _ in 0..TREES {
            for index in 0..size {
                let other = index + random.below(order.len() - index);
                order.swap(index, other);
                sample[index] = points[order[index]];
            }
            trees.grow_one(&mut sample, height, random);
        }
        trees
    }

    fn grow_one(&mut self, sample: &mut [Point], height: u32, random: &mut Random) {
        let root = self.nodes.len();
        self.roots.push(root);
        self.nodes.push(Node::UNCUT);
        let mut open = vec![(root, 0, sample.len(), 0)];
        while let Some((node, start, end, depth)) = open.pop() {
            let part = &mut sample[start..end];
            let cut = if depth < height && part.len() > 1 { choose_cut(part, random) } else { None };
            let Some(Cut { feature, at, low, high }) = cut else {
                self.nodes[node].at = f64::from(depth) + average_path(part.len());
                continue;
            };
            let middle = start + partition(part, feature, at);
            let below = self.nodes.len();
            self.nodes[node] = Node { feature, at, low, high, below };
            self.nodes.push(Node::UNCUT);
            self.nodes.push(Node::UNCUT);
            open.push((below, start, middle, depth + 1));
            open.push((below + 1, middle, end, depth + 1));
        }
    }

    /// `2^(-E[path] / c(n))`, in 0..=1.
    ///
    /// A plain forest cannot tell a point just outside its sample from one far away: both end in the same
    /// leaf. Here the path is the expected one had the point been in the sample: a cut drawn between the
    /// sample and a point outside its range would have set the point apart at once, and the chance of such
    /// a cut is the point's distance from the range over the range with the point in it.
    fn score(&self, point: &Point) -> f64 {
        let mut paths = 0.0;
        for &root in &self.roots {
            let mut node = self.nodes[root];
            let mut depth = 0.0;
            let mut reached = 1.0;
            while node.feature != LEAF {
                let value = point[node.feature];
                depth += 1.0;
                if value < node.low || value > node.high {
                    let outside = if value < node.low { node.low - value } else { value - node.high };
                    let apart = outside / (outside + node.high - node.low);
                    paths += reached * apart * depth;
                    reached *= 1.0 - apart;
                }
                node = self.nodes[if value < node.at { node.below } else { node.below + 1 }];
            }
            paths += reached * node.at;
        }
        let mean = paths / self.roots.len().max(1) as f64;
        if self.unit > 0.0 { (-mean / self.unit).exp2() } else { 0.5 }
    }
}

struct Cut {
    feature: usize,
    at: f64,
    low: f64,
    high: f64,
}

/// A random feature that is not constant here, and a random place between its extremes.
fn choose_cut(part: &[Point], random: &mut Random) -> Option<Cut> {
    let first = random.below(FEATURES);
    for offset in 0..FEATURES {
        let feature = (first + offset) % FEATURES;
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for point in part {
            let value = point[feature];
            if value < low {
                low = value;
            }
            if value > high {
                high = value;
            }
        }
        let at = low + (high - low) * random.share();
        if low < at && at <= high {
            return Some(Cut { feature, at, low, high });
        }
    }
    None
}

/// Points below the cut first; returns how many they are.
fn partition(part: &mut [Point], feature: usize, at: f64) -> usize {
    let mut below = 0;
    for index in 0..part.len() {
        if part[index][feature] < at {
            part.swap(index, below);
            below += 1;
        }
    }
    below
}

/// c(n) of Liu, Ting and Zhou (2008), equation 1: the average path length of an unsuccessful search in a
/// binary search tree of n points.
fn average_path(points: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    let n = points as f64;
    match points {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => 2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n,
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seeded, the same on every machine. Not for secrets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in 0..1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..bound; 0 when `bound` is 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.share() * bound as f64) as usize
    }
}
