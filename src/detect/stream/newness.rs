//! How new something is to one series: what it never did before is 1, what it did n times is 1 / (1 + n). Series that
//! do new things all the time have nothing new to tell. Newness by depth comes in, a number from 0 to 1 goes out.

use super::pack::Pack;
use super::tail::Blocks;

/// Blocks over which the usual newness is averaged: five days of 2 h.
const MEMORY: f32 = 64.0;

/// What is usually new in one series.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Newness {
    highest: f32,
    /// Mean over the blocks of the newest there was in each.
    usual: f32,
}

impl Newness {
    /// Mean over the depths, less what is usual.
    pub fn step(&mut self, depths: &[f32]) -> f32 {
        let new = depths.iter().sum::<f32>() / depths.len().max(1) as f32;
        self.highest = self.highest.max(new);
        new * (1.0 - self.usual)
    }

    pub fn close(&mut self, blocks: &Blocks) {
        self.usual += blocks.rate(MEMORY) * (self.highest - self.usual);
        self.highest = 0.0;
    }

    /// All was forgotten, so all will be new: that says nothing until the blocks after it were not.
    pub fn mute(&mut self) {
        self.usual = 1.0;
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        pack.f32(&mut self.highest);
        pack.f32(&mut self.usual);
    }
}
