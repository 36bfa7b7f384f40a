//! From scores to episodes: when one began, its peak, its end, and how much of a score is news after what the
//! last hours already said. Surprises come in. Never: a page of its own.

use super::pack::Pack;

/// A page says enough for this long, seconds, unless something worse comes, or all was calm for `END_S` in between.
const QUIET_S: i64 = 12 * 3600;
/// Calm is what is below this share of what the page said.
const CALM: f32 = 0.5;
/// An episode that began at the alert goes on until the surprise was below this share of it for `END_S`.
const STAY: f32 = 0.6;
const END_S: i64 = 600;

/// A stretch of anomalous values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    pub start_s: i64,
    pub peak_s: i64,
    /// ln of hours.
    pub peak: f32,
    pub end_s: Option<i64>,
    /// What lasted in it became the new normal.
    pub adopted: bool,
}

/// What is remembered of the last episode and of the last page.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Episodes {
    start_s: i64,
    peak_s: i64,
    peak: f32,
    last_s: i64,
    open: bool,
    adopted: bool,
    said: f32,
    said_s: i64,
    /// Since when it is calm; 0: it is not.
    calm_s: i64,
}

impl Episodes {
    /// The surprise, or 0 where what was said in the last hours is still enough.
    /// `adopts`: what lasted until this value is the new normal.
    pub fn step(&mut self, at_s: i64, surprise: f32, (alert, adopts): (f32, bool)) -> f32 {
        self.follow(at_s, surprise, alert);
        self.adopted |= self.open && adopts;
        let is_calm = surprise < CALM * self.said;
        let was_calm = self.calm_s != 0 && at_s.saturating_sub(self.calm_s) >= END_S;
        let is_over = at_s.saturating_sub(self.said_s) > QUIET_S || (was_calm && !is_calm);
        self.calm_s = match (is_calm, self.calm_s) {
            (false, _) => 0,
            (true, 0) => at_s,
            (true, since_s) => since_s,
        };
        if !is_over && surprise <= self.said {
            return 0.0;
        }
        (self.said, self.said_s) = (surprise, at_s);
        surprise.max(0.0)
    }

    fn follow(&mut self, at_s: i64, surprise: f32, alert: f32) {
        if !self.open {
            if surprise >= alert {
                (self.start_s, self.peak_s, self.last_s) = (at_s, at_s, at_s);
                (self.peak, self.open, self.adopted) = (surprise, true, false);
            }
            return;
        }
        if surprise > self.peak {
            (self.peak, self.peak_s) = (surprise, at_s);
        }
        if surprise >= STAY * alert {
            self.last_s = at_s;
        } else if at_s.saturating_sub(self.last_s) >= END_S {
            self.open = false;
        }
    }

    #[must_use]
    pub fn newest(&self) -> Option<Episode> {
        let end_s = (!self.open).then_some(self.last_s);
        (self.peak > 0.0).then_some(Episode {
            start_s: self.start_s,
            peak_s: self.peak_s,
            peak: self.peak,
            end_s,
            adopted: self.adopted,
        })
    }

    pub fn pack(&mut self, pack: &mut impl Pack) {
        for at in [&mut self.start_s, &mut self.peak_s, &mut self.last_s, &mut self.said_s, &mut self.calm_s]
        {
            pack.i64(at);
        }
        pack.f32(&mut self.peak);
        let mut flags = u16::from(self.open) | u16::from(self.adopted) << 1;
        pack.u16(&mut flags);
        (self.open, self.adopted) = (flags & 1 != 0, flags & 2 != 0);
        pack.f32(&mut self.said);
    }
}
