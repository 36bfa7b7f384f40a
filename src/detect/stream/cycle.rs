//! Looks for a period in one series: a ring of coarse means, looked at whenever all of it is new. Deviations go in,
//! a period goes out. Days and weeks have tables of their own and are not looked for. A look takes a hundred times as
//! long as a value: series that began together take turns.

use crate::detect::find_period;

use super::Point;
use super::pack::{EMPTY, Pack, long, short};

/// Means in the ring, and how long it is to reach back at least, seconds.
const RING: usize = 256;
const REACH_S: u32 = 17 * 3600;
/// A period repeats this often in the ring, or it is not believed.
const REPEATS: u32 = 3;

/// Series that began together look within so many means after the first one that does: a quarter of the ring.
const TURNS: u32 = 64;

/// The ring of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ring {
    means: [u16; RING],
    sum: f32,
    points: u32,
    next: u16,
    /// Means until the next look.
    wait: u16,
}

impl Default for Ring {
    fn default() -> Self {
        Self::in_turn(0)
    }
}

impl Ring {
    /// An empty ring; those with another turn look at another time.
    pub fn in_turn(turn: u32) -> Self {
        let wait = RING as u16 + (turn % TURNS) as u16;
        Self { means: [EMPTY; RING], sum: 0.0, points: 0, next: 0, wait }
    }

    /// Values per mean.
    fn stride(step_s: u32) -> u32 {
        let most = (REACH_S / RING as u32 / step_s.max(1)).max(1);
        // Of an hour a whole number of means: what people schedule is then told exactly.
        let whole = |stride: &u32| 3600_u32.is_multiple_of(stride.saturating_mul(step_s.max(1)));
        (1..=most).rev().find(whole).unwrap_or(most)
    }

    /// When its turn has come: the period the ring shows, seconds, 0 for none. A mean is of a stretch of time, however many
    /// values are missing of it.
    pub fn step(&mut self, deviation: f32, point: &Point) -> Option<u32> {
        let (step_s, stride) = (point.step_s, Self::stride(point.step_s));
        let stretch = point.at_s.div_euclid(i64::from(step_s) * i64::from(stride));
        let place = stretch.rem_euclid(RING as i64) as u16;
        if place == self.next || self.points == 0 {
            self.next = place;
            self.sum += deviation;
            self.points = self.points.saturating_add(1);
            return None;
        }
        // What was missed is as the mean before it.
        let mean = short(self.sum / self.points as f32);
        let passed = (i64::from(place) - i64::from(self.next)).rem_euclid(RING as i64) as u16;
        for after in 0..passed {
            self.means[usize::from(self.next + after) % RING] = mean;
        }
        (self.sum, self.points, self.next) = (deviation, 1, place);
        self.wait = self.wait.saturating_sub(passed);
        if self.wait > 0 {
            return None;
        }
        self.wait = RING as u16;
        let mut means = self.means.map(|it| f64::from(long(it)));
        means.rotate_left(usize::from(self.next));
        let found = find_period(&means).filter(|slots| slots * REPEATS <= RING as u32);
        Some(found.map_or(0, |slots| slots.saturating_mul(stride).saturating_mul(step_s)))
    }

    #[cfg(test)]
    pub fn waits(&self) -> u16 {
        self.wait
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.u16s(&mut self.means);
        pack.f32(&mut self.sum);
        pack.u32(&mut self.points);
        pack.u16(&mut self.next);
        pack.u16(&mut self.wait);
    }
}
