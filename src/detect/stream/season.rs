//! The STL vote: what is left of a value after its season and its trend. Seasons are tables by time of day, by
//! time of week and by a period found in the data; the trend follows what they leave. A value goes in, a
//! surprise and an expectation come out. Never: a season that predicts worse than none.

use super::pack::{EMPTY, Pack, long, short};
use super::tail::{Blocks, Tail, of_pair};
use super::{Point, rate, rate_of_hours};

const DAY_S: i64 = 86_400;
const WEEK_S: i64 = 7 * DAY_S;
const DAY_BINS: usize = 288;
const WEEK_BINS: usize = 168;
const PERIOD_BINS: usize = 64;
/// Share of the newest cycle in a bin, once it was filled often enough.
const DAY_SHARE: f32 = 0.25;
const WEEK_SHARE: f32 = 0.5;
const PERIOD_SHARE: f32 = 0.15;
/// Hours of the level that seasons deviate from (shorter ones take part of the week for a level), and over which their errors are
/// compared.
const LEVEL_H: f32 = 96.0;
const ERROR_H: f32 = 24.0;
/// Points of the trend of what the season leaves, and hours of the smoothed remainder.
const TREND: f32 = 8.0;
const REMAINDER_H: f32 = 1.0;
/// Hours, and points at least, that values beyond the band leave it where it is; after that it follows them.
const ADOPT_S: u32 = 2 * 3600;
const ADOPT_POINTS: u32 = 12;
/// Values beyond the band, less those within it, that are more than chance.
const OUTSIDE_POINTS: u16 = 1;
/// The new normal is this many deviations away, or seasons and band follow it without a step.
const CHANGE: f32 = 20.0;
/// Deviations from the band's centre at which it ends.
pub const BAND: f32 = 3.0;
/// Points over which the spread within the band is averaged, and before which every value is within it.
const NOISE_POINTS: f32 = 120.0;
const YOUNG_POINTS: f32 = 30.0;
/// A season is used while its error is below this share of the error without it.
const BETTER: f32 = 0.95;

/// One table of a season: deviations from the level, and the mean of the bin that is being filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Table<const BINS: usize> {
    bins: [u16; BINS],
    sum: f32,
    points: u16,
    bin: u16,
    /// Mean absolute error of what the table said.
    error: f32,
}

impl<const BINS: usize> Default for Table<BINS> {
    fn default() -> Self {
        Self { bins: [EMPTY; BINS], sum: 0.0, points: 0, bin: 0, error: 0.0 }
    }
}

impl<const BINS: usize> Table<BINS> {
    /// The bin of a moment: a cycle has at most one bin per step.
    fn place(cycle_s: i64, at_s: i64, step_s: u32) -> usize {
        let bins = (cycle_s / i64::from(step_s.max(1))).clamp(1, BINS as i64);
        (at_s.rem_euclid(cycle_s) * bins / cycle_s) as usize
    }

    fn get(&self, bin: usize) -> Option<f32> {
        self.bins.get(bin).filter(|it| **it != EMPTY).map(|it| long(*it))
    }

    fn learn(&mut self, bin: usize, deviation: f32, share: f32) {
        if bin != usize::from(self.bin) {
            if self.points > 0 {
                let mean = self.sum / f32::from(self.points);
                if let Some(slot) = self.bins.get_mut(usize::from(self.bin)) {
                    let old = long(*slot);
                    *slot = short(if *slot == EMPTY { mean } else { old + share * (mean - old) });
                }
            }
            (self.bin, self.sum, self.points) = (bin as u16, 0.0, 0);
        }
        self.sum += deviation;
        self.points = self.points.saturating_add(1);
    }

    fn pack(&mut self, pack: &mut impl Pack) {
        pack.u16s(&mut self.bins);
        pack.f32(&mut self.sum);
        pack.u16(&mut self.points);
        pack.u16(&mut self.bin);
        pack.f32(&mut self.error);
    }
}

/// Level, seasons and trend of one series, and the tails of what they leave.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seasons {
    /// What values are compared with in the long run.
    level: f32,
    /// The same for seasons and the band, which a new normal moves at once.
    anchor: f32,
    day: Table<DAY_BINS>,
    week: Table<WEEK_BINS>,
    cycle: Table<PERIOD_BINS>,
    /// Length of the found period, seconds; 0: none.
    pub cycle_s: u32,
    /// Mean absolute error without a season.
    error: f32,
    trend: f32,
    remainder: f32,
    /// Where the band lies around level and season: as the trend, but values beyond the band do not move it.
    held: f32,
    noise: f32,
    /// Values beyond the band, less those within it, up to where it follows them.
    outside: u16,
    pairs: [[Tail; 2]; 3],
}

/// Names of the features, in the order of their surprises.
pub const FEATURES: [&str; 3] =
    ["remainder", "deviation from the season", "smoothed deviation from the season"];

/// Which season is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    None,
    Day,
    Week,
    /// Found in the data, seconds.
    Found(u32),
}

impl Seasons {
    fn said(&self, at_s: i64, step_s: u32) -> [Option<f32>; 3] {
        let cycle = i64::from(self.cycle_s.max(1));
        [
            self.day.get(Table::<DAY_BINS>::place(DAY_S, at_s, step_s)),
            self.week.get(Table::<WEEK_BINS>::place(WEEK_S, at_s, step_s)),
            if self.cycle_s > 0 {
                self.cycle.get(Table::<PERIOD_BINS>::place(cycle, at_s, step_s))
            } else {
                None
            },
        ]
    }

    /// The season that errs least, and what it says of this moment.
    fn best(&self, said: [Option<f32>; 3]) -> (Season, f32) {
        let kinds = [Season::Day, Season::Week, Season::Found(self.cycle_s)];
        let errors = [self.day.error, self.week.error, self.cycle.error];
        let mut best = (Season::None, 0.0);
        let mut least = self.error * BETTER;
        for index in 0..3 {
            if let Some(value) = said[index]
                && errors[index] < least
            {
                (best, least) = ((kinds[index], value), errors[index]);
            }
        }
        best
    }

    pub fn season(&self, at_s: i64, step_s: u32) -> Season {
        self.best(self.said(at_s, step_s)).0
    }

    /// The surprises, and whether what lasted until this value is the new normal with it.
    pub fn step(&mut self, point: &Point) -> ([f32; 3], bool) {
        let first = 1.0 / point.count;
        if point.count <= 1.0 {
            (self.level, self.anchor) = (point.value, point.value);
        }
        let deviation = self.off_level(point);
        let off_anchor = point.value - self.anchor;
        let said = self.said(point.at_s, point.step_s);
        let (_, season) = self.best(said);
        let left = deviation - season;
        let off = left - self.trend;
        self.judge(point, off_anchor, said);
        self.remainder += rate_of_hours(REMAINDER_H, point.step_h).max(first) * (left - self.remainder);
        let adopts = self.place_band(point, off_anchor - season);
        if adopts && (self.level + self.remainder - self.anchor).abs() >= CHANGE * self.noise.sqrt() {
            // Seasons would take the way to the new level for one of their own, and the band would lag behind it for days.
            (self.anchor, self.held) = (self.level + self.remainder, 0.0);
        }
        self.trend += rate(TREND).max(first) * off;
        let slow = rate_of_hours(LEVEL_H, point.step_h).max(first);
        self.level += slow * deviation;
        self.anchor += slow * (point.value - self.anchor);
        let surprises = [
            of_pair(&mut self.pairs[0], off, point.floor),
            of_pair(&mut self.pairs[1], left, point.floor),
            of_pair(&mut self.pairs[2], self.remainder, point.floor),
        ];
        (surprises, adopts)
    }

    /// The band follows the values within it. An incident neither moves nor widens it, until it has lasted so long that
    /// it is the new normal: true for the value with which it is.
    fn place_band(&mut self, point: &Point, left: f32) -> bool {
        let first = 1.0 / point.count;
        let off = left - self.held;
        let cut = BAND * self.noise.sqrt() + point.floor;
        let is_young = point.count <= YOUNG_POINTS;
        let is_outside = !is_young && off.abs() > cut;
        let most = Self::most_outside(point.step_s);
        let before = self.outside;
        self.outside = if is_outside {
            self.outside.saturating_add(1).min(most)
        } else {
            self.outside.saturating_sub(1)
        };
        if is_outside && self.outside < most {
            return false;
        }
        let near = if is_young { off } else { off.clamp(-cut, cut) };
        self.noise += rate(NOISE_POINTS).max(first) * (near * near - self.noise);
        self.held += rate(TREND).max(first) * off;
        is_outside && before < most
    }

    /// Values beyond the band after which it follows them.
    fn most_outside(step_s: u32) -> u16 {
        (ADOPT_S / step_s.max(1)).max(ADOPT_POINTS).min(u32::from(u16::MAX)) as u16
    }

    /// Has the series been beyond its band for some values, and not for so long that it is the new normal?
    pub fn is_outside(&self, step_s: u32) -> bool {
        (OUTSIDE_POINTS..Self::most_outside(step_s)).contains(&self.outside)
    }

    /// Errors of every season first, then the value becomes part of them.
    fn judge(&mut self, point: &Point, deviation: f32, said: [Option<f32>; 3]) {
        let rate = rate_of_hours(ERROR_H, point.step_h).max(1.0 / point.count);
        self.error += rate * (deviation.abs() - self.error);
        let errors = [&mut self.day.error, &mut self.week.error, &mut self.cycle.error];
        for (error, said) in errors.into_iter().zip(said) {
            *error += rate * ((deviation - said.unwrap_or(0.0)).abs() - *error);
        }
        let (at_s, step_s) = (point.at_s, point.step_s);
        self.day.learn(Table::<DAY_BINS>::place(DAY_S, at_s, step_s), deviation, DAY_SHARE);
        self.week.learn(Table::<WEEK_BINS>::place(WEEK_S, at_s, step_s), deviation, WEEK_SHARE);
        if self.cycle_s > 0 {
            let bin = Table::<PERIOD_BINS>::place(i64::from(self.cycle_s), at_s, step_s);
            self.cycle.learn(bin, deviation, PERIOD_SHARE);
        }
    }

    /// A period was found in the data, or none: the table of another one is of no use.
    pub fn found(&mut self, cycle_s: u32) {
        if cycle_s != self.cycle_s {
            self.cycle = Table::default();
            self.cycle.error = self.error;
            self.cycle_s = cycle_s;
        }
    }

    /// What is expected at a moment, and how far values lie around it.
    pub fn band(&self, at_s: i64, step_s: u32) -> (f32, f32) {
        let (_, season) = self.best(self.said(at_s, step_s));
        (self.anchor + season + self.held, self.noise.sqrt())
    }

    /// Deviation of a value from the long run; of the first one none.
    pub fn off_level(&self, point: &Point) -> f32 {
        if point.count <= 1.0 { 0.0 } else { point.value - self.level }
    }

    /// Deviation of a value from the level that seasons are of.
    pub fn off_anchor(&self, value: f32) -> f32 {
        value - self.anchor
    }

    pub fn close(&mut self, blocks: &Blocks, point: &Point) {
        blocks.close_pairs(&mut self.pairs, point);
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.f32(&mut self.level);
        pack.f32(&mut self.anchor);
        self.day.pack(pack);
        self.week.pack(pack);
        self.cycle.pack(pack);
        pack.u32(&mut self.cycle_s);
        for value in [&mut self.error, &mut self.trend, &mut self.remainder, &mut self.held, &mut self.noise]
        {
            pack.f32(value);
        }
        pack.u16(&mut self.outside);
        self.pairs.iter_mut().flatten().for_each(|tail| tail.pack(pack));
    }
}
