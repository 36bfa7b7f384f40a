//! Looks for a period in one series: a ring of coarse means, looked at whenever it is full anew. Deviations go in,
//! a period goes out. Days and weeks have tables of their own and are not looked for.

use crate::detect::find_period;

use super::pack::{EMPTY, Pack, long, short};

/// Means in the ring, and how long it is to reach back at least, seconds.
const RING: usize = 256;
const REACH_S: u32 = 17 * 3600;
/// A period repeats this often in the ring, or it is not believed.
const REPEATS: u32 = 3;

/// The ring of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ring {
    means: [u16; RING],
    sum: f32,
    points: u32,
    next: u16,
}

impl Default for Ring {
    fn default() -> Self {
        Self { means: [EMPTY; RING], sum: 0.0, points: 0, next: 0 }
    }
}

impl Ring {
    /// Values per mean.
    fn stride(step_s: u32) -> u32 {
        let most = (REACH_S / RING as u32 / step_s.max(1)).max(1);
        // Of an hour a whole number of means: what people schedule is then told exactly.
        let whole = |stride: &u32| 3600_u32.is_multiple_of(stride.saturating_mul(step_s.max(1)));
        (1..=most).rev().find(whole).unwrap_or(most)
    }

    /// At the end of a ring: the period it shows, seconds, 0 for none.
    pub fn step(&mut self, deviation: f32, step_s: u32) -> Option<u32> {
        self.sum += deviation;
        self.points = self.points.saturating_add(1);
        let stride = Self::stride(step_s);
        if self.points < stride {
            return None;
        }
        if let Some(slot) = self.means.get_mut(usize::from(self.next)) {
            *slot = short(self.sum / self.points as f32);
        }
        (self.sum, self.points) = (0.0, 0);
        self.next = self.next.saturating_add(1);
        if usize::from(self.next) < RING {
            return None;
        }
        self.next = 0;
        let means = self.means.map(|it| f64::from(long(it)));
        let found = find_period(&means).filter(|slots| slots * REPEATS <= RING as u32);
        Some(found.map_or(0, |slots| slots.saturating_mul(stride).saturating_mul(step_s)))
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.u16s(&mut self.means);
        pack.f32(&mut self.sum);
        pack.u32(&mut self.points);
        pack.u16(&mut self.next);
    }
}
