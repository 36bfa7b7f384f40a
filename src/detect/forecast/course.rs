//! The usual course of a day, in parts of it. Values come in; how high a part usually is, and how far a usual day moves
//! between two moments come out. The moves are kept beside the levels and are no differences of them: each day counts for
//! a quarter in both, and on a signal that rises every day two levels of a different age lie a good part of a day's rise
//! apart, where nothing moved.

/// Most parts of a day.
const MAX_PARTS: usize = 288;
/// Weight of the newest day in what is usual.
const NEWEST_DAY: f64 = 0.25;
/// A move that was farther off the usual one than this many times what is common counts as if it were as far off: a shift
/// of the level is one move that does not come again at the same time of the next day.
const MOST_OFF: f64 = 4.0;
/// Weight of the newest move in what is common, and the most that it counts there, in times of what is common.
const OFF_RATE: f64 = 0.01;
const MOST_COMMON: f64 = 100.0;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Part {
    level: Option<f64>,
    /// From the mean of the part before it to its own.
    moved: Option<f64>,
}

/// Parts are counted from the midnight that slots are counted from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Course {
    /// Of a day.
    slots: usize,
    parts: Vec<Part>,
    /// The part that is under way, the sum of its values and their number.
    now: Option<(u64, f64, f64)>,
    /// The newest part that is over, and its mean.
    over: Option<(u64, f64)>,
    /// How far a move is commonly off the usual one.
    off: f64,
}

impl Course {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, parts: vec![Part::default(); slots.min(MAX_PARTS)], now: None, over: None, off: 0.0 }
    }

    /// A part is usual when it is over.
    pub(super) fn push(&mut self, slot: u64, value: f64) {
        let (slots, parts) = (self.slots as u64, self.parts.len() as u64);
        let part = slot / slots * parts + slot % slots * parts / slots;
        match &mut self.now {
            Some((now, sum, count)) if *now == part => {
                *sum += value;
                *count += 1.0;
            }
            now => {
                if let Some((over, sum, count)) = now.replace((part, value, 1.0)) {
                    self.note(over, sum / count);
                }
            }
        }
    }

    fn note(&mut self, part: u64, mean: f64) {
        let before = self.over.replace((part, mean)).filter(|it| it.0 + 1 == part);
        let place = self.index(part);
        let usual = &mut self.parts[place];
        usual.level = Some(usual.level.map_or(mean, |it| it + NEWEST_DAY * (mean - it)));
        if let Some((_, before)) = before {
            let moved = mean - before;
            let off = usual.moved.map_or(0.0, |it| moved - it);
            let (most, counts) = if self.off > 0.0 {
                (MOST_OFF * self.off, off.abs().min(MOST_COMMON * self.off))
            } else {
                (off.abs(), off.abs())
            };
            usual.moved = Some(usual.moved.map_or(moved, |it| it + NEWEST_DAY * off.clamp(-most, most)));
            self.off += if self.off > 0.0 { OFF_RATE * (counts - self.off) } else { counts };
        }
    }

    fn index(&self, part: u64) -> usize {
        usize::try_from(part % self.parts.len() as u64).unwrap_or(0)
    }

    /// The part whose middle is the last before `slot`, and how much of the way to the next middle is behind it.
    fn place(&self, slot: u64) -> (u64, f64) {
        let (slots, parts) = (self.slots as u64, self.parts.len() as u64);
        let middle = if parts < slots { 0.5 } else { 0.0 };
        // A day later than it is, so that what lies before the first middle has a part too.
        let in_day = (slot % slots) as f64 * parts as f64 / slots as f64 + parts as f64 - middle;
        (slot / slots * parts + in_day.floor() as u64, in_day.fract())
    }

    /// The usual value at that time of the day, between the middles of its parts.
    pub(super) fn level(&self, slot: u64) -> Option<f64> {
        let (part, share) = self.place(slot);
        let (left, right) = (self.parts[self.index(part)].level?, self.parts[self.index(part + 1)].level?);
        Some(left * (1.0 - share) + right * share)
    }

    /// How far a usual day moves from one slot to a later one; `None` where a part between them is not known, and for more
    /// than a day.
    pub(super) fn moved(&self, from: u64, to: u64) -> Option<f64> {
        let ((first, first_share), (last, last_share)) = (self.place(from), self.place(to));
        if last - first > self.parts.len() as u64 {
            return None;
        }
        let after = |part: u64| self.parts[self.index(part + 1)].moved;
        let whole: Option<f64> = (first..last).map(after).sum();
        Some(whole? - first_share * after(first)? + last_share * after(last)?)
    }
}
