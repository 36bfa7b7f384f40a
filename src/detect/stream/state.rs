//! All that is remembered of one series, in a fixed number of bytes. Values come in, values in units of the
//! series go out. Nothing here judges.

use super::average::Averages;
use super::cycle::Ring;
use super::episode::{Episode, Episodes};
use super::isolation::Isolation;
use super::pack::{InvalidState, Pack, Reader, VERSION, Writer};
use super::season::Seasons;
use super::tail::Blocks;
use super::{ALL_FEATURES, FEATURES, Point};

/// What a value may be in units of the series at most, so that no square overflows.
const LARGEST: f64 = 1e18;
/// Deviations below this share of the usual difference are as good as none.
const FLOOR_SHARE: f32 = 0.1;
/// The same of the value itself, for series that hardly ever move: less is rounding, and nobody's incident.
const FLOOR_OF_VALUE: f64 = 1e-4;
/// A first difference below this share of the value is rounding, and no measure of the series.
const UNIT_OF_VALUE: f64 = 1e-12;
/// Steps without a value after which the next one does not follow from the last.
const LONG_GAP_STEPS: i64 = 30;
/// Usual differences that the models follow a value at once, and moves before the usual one is known.
const JUMP: f32 = 200.0;
const JUMPS_FROM: u32 = 100;
/// Differences that the usual one is the mean of.
const USUAL_POINTS: u32 = 1000;

/// One series. Small, flat and `Copy`: a million of them are one vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    pub(super) last_s: i64,
    pub(super) value: f64,
    origin: f64,
    /// Of one unit, in the unit of the signal; 0 before there was a difference.
    unit: f64,
    pub(super) step_s: u32,
    pub(super) count: u32,
    before: f32,
    /// Mean size of the differences that are not 0.
    usual: f32,
    moves: u32,
    /// Equal values in a row.
    pub(super) flat: u16,
    /// No value so far was negative, so no expectation is either.
    negative: u16,
    pub(super) blocks: Blocks,
    pub(super) ring: Ring,
    pub(super) seasons: Seasons,
    pub(super) isolation: Isolation,
    pub(super) averages: Averages,
    pub(super) surprises: [f32; ALL_FEATURES],
    /// What the isolation vote says more because it is new: the step, the shape.
    pub(super) newness: [f32; 2],
    /// Centre and deviation expected of the newest value before it came.
    pub(super) expected: (f32, f32),
    pub(super) episodes: Episodes,
}

impl State {
    pub(super) fn new(step_s: u32) -> Self {
        Self {
            last_s: i64::MIN,
            value: 0.0,
            origin: 0.0,
            unit: 0.0,
            step_s: step_s.max(1),
            count: 0,
            before: 0.0,
            usual: 0.0,
            moves: 0,
            flat: 0,
            negative: 0,
            blocks: Blocks::default(),
            ring: Ring::default(),
            seasons: Seasons::default(),
            isolation: Isolation::default(),
            averages: Averages::default(),
            surprises: [0.0; ALL_FEATURES],
            newness: [0.0; 2],
            expected: (0.0, 0.0),
            episodes: Episodes::default(),
        }
    }

    /// The newest episode of anomalous values, open or over.
    #[must_use]
    pub fn episode(&self) -> Option<Episode> {
        self.episodes.newest()
    }

    /// What each model says of the newest value (seasonal, isolation, averages): ln of the hours in which it is to
    /// be expected once, the mean over the features of the model; the isolation adds what was never seen before.
    #[must_use]
    pub fn votes(&self) -> [f32; 3] {
        let (seasonal, rest) = self.surprises.split_at(FEATURES[0]);
        let (isolation, averages) = rest.split_at(FEATURES[1]);
        let [seasonal, isolation, averages] =
            [seasonal, isolation, averages].map(|part| part.iter().sum::<f32>() / part.len() as f32);
        [seasonal, isolation + self.newness.iter().sum::<f32>(), averages]
    }

    /// The value in units of the series, and what is known around it.
    pub(super) fn point(&mut self, at_s: i64, value: f64) -> Point {
        if self.count == 0 {
            self.origin = value;
        }
        let off = value - self.origin;
        if self.unit == 0.0 && off != 0.0 && off.is_finite() {
            self.unit = off.abs().max(value.abs() * UNIT_OF_VALUE).max(f64::MIN_POSITIVE);
        }
        let in_units =
            |it: f64| if self.unit > 0.0 { (it / self.unit).clamp(-LARGEST, LARGEST) as f32 } else { 0.0 };
        let scaled = self.believed(in_units(off));
        let least = in_units(FLOOR_OF_VALUE * (self.origin + f64::from(scaled) * self.unit).abs());
        let apart_s = at_s.saturating_sub(self.last_s);
        let after_gap = self.count == 0 || apart_s > LONG_GAP_STEPS * i64::from(self.step_s);
        let difference = scaled - self.before;
        self.flat = if difference.abs() <= least { self.flat.saturating_add(1) } else { 0 };
        if difference != 0.0 && !after_gap {
            self.moves = self.moves.saturating_add(1).min(USUAL_POINTS);
            self.usual += (difference.abs() - self.usual) / self.moves as f32;
        }
        self.count = self.count.saturating_add(1);
        (self.before, self.last_s, self.value) = (scaled, at_s, value);
        self.negative |= u16::from(value < 0.0);
        Point {
            at_s,
            step_s: self.step_s,
            step_h: self.step_s as f32 / 3600.0,
            value: scaled,
            difference: if after_gap { 0.0 } else { difference },
            count: self.count as f32,
            floor: (FLOOR_SHARE * self.usual).max(least),
            least,
        }
    }

    /// What is learned of a value that is far beyond everything before: a part of the way there. One such sample would blind the models
    /// for weeks; of a series that stays there, they see it all within minutes. Nothing is cut of the way back.
    fn believed(&self, scaled: f32) -> f32 {
        let centre = self.expected.0;
        let most = (JUMP * self.usual).max((self.before - centre).abs());
        if self.moves < JUMPS_FROM {
            return scaled;
        }
        scaled.clamp(self.before.min(centre) - most, self.before.max(centre) + most)
    }

    /// A value in units of the series in the unit of the signal; no expectation of one that is never negative is.
    pub(super) fn in_unit(&self, scaled: f32) -> f64 {
        let value = (self.origin + f64::from(scaled) * self.unit).clamp(f64::MIN, f64::MAX);
        if self.negative == 0 { value.max(0.0) } else { value }
    }

    pub(super) fn unit(&self) -> f64 {
        self.unit
    }

    fn pack(&mut self, pack: &mut impl Pack) {
        pack.i64(&mut self.last_s);
        for value in [&mut self.value, &mut self.origin, &mut self.unit] {
            pack.f64(value);
        }
        for value in [&mut self.step_s, &mut self.count, &mut self.moves] {
            pack.u32(value);
        }
        pack.f32(&mut self.before);
        pack.f32(&mut self.usual);
        pack.u16(&mut self.flat);
        pack.u16(&mut self.negative);
        self.blocks.pack(pack);
        self.ring.pack(pack);
        self.seasons.pack(pack);
        self.isolation.pack(pack);
        self.averages.pack(pack);
        pack.f32s(&mut self.surprises);
        pack.f32s(&mut self.newness);
        pack.f32(&mut self.expected.0);
        pack.f32(&mut self.expected.1);
        self.episodes.pack(pack);
    }

    /// The state as bytes, version first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(vec![VERSION]);
        let mut copy = *self;
        copy.pack(&mut writer);
        writer.0
    }

    /// # Errors
    /// [`InvalidState`] for bytes that [`State::encode`] of this version did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidState> {
        let (version, rest) = bytes.split_first().ok_or(InvalidState::Length(0))?;
        if *version != VERSION {
            return Err(InvalidState::Version(*version));
        }
        let mut state = Self::new(1);
        let mut reader = Reader::new(rest);
        state.pack(&mut reader);
        reader.finish()?;
        state.step_s = state.step_s.max(1);
        Ok(state)
    }
}
