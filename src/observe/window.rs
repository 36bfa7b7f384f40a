//! One signal's sliding window on a fixed time grid. In go samples and the range they were asked for, out
//! comes a series with gaps. A slot holds a value only if the source reported a finite one for exactly that
//! time: nothing is interpolated, carried forward or moved.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::model::signal::{Sample, Series, SignalKey};

/// Newest part of the window that is asked for again with every read, seconds: samples and recording rules
/// may arrive late.
const OVERLAP_S: i64 = 120;
/// The overlap is at least this many slots, for coarse steps.
const OVERLAP_SLOTS_MIN: i64 = 2;

/// A range to ask for, both ends on the grid and inclusive, seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start_s: i64,
    pub end_s: i64,
}

impl Span {
    /// The oldest `slots` slots of it.
    #[must_use]
    pub fn first(self, slots: usize, step_s: u32) -> Self {
        let length_s = i64::from(step_s).saturating_mul(slots.max(1) as i64 - 1);
        Self { end_s: self.end_s.min(self.start_s.saturating_add(length_s)), ..self }
    }

    /// How many slots it has.
    #[must_use]
    pub fn slots(self, step_s: u32) -> usize {
        usize::try_from((self.end_s - self.start_s) / i64::from(step_s.max(1)) + 1).unwrap_or(1)
    }

    /// The newest `slots` slots of it.
    #[must_use]
    pub fn last(self, slots: usize, step_s: u32) -> Self {
        let length_s = i64::from(step_s).saturating_mul(slots.max(1) as i64 - 1);
        Self { start_s: self.start_s.max(self.end_s.saturating_sub(length_s)), ..self }
    }
}

/// The slots of the last `window_s` seconds up to the newest successful read.
#[derive(Debug, Clone)]
pub struct Window {
    step_s: i64,
    slots: usize,
    /// Time of the newest slot; `None` before the first successful read.
    end_s: Option<i64>,
    /// A gap is a NaN, which no value is: half the bytes of an option, and there are very many.
    values: VecDeque<f64>,
}

impl Window {
    /// An empty window of `window_s / step_s` slots. Both are at least 1 here: [`super::signals`] checks
    /// them.
    #[must_use]
    pub fn new(step_s: u32, window_s: u32) -> Self {
        let step_s = step_s.max(1);
        let slots = (window_s / step_s).max(1) as usize;
        Self { step_s: i64::from(step_s), slots, end_s: None, values: VecDeque::new() }
    }

    #[cfg(test)]
    /// A window that holds just these slots.
    #[must_use]
    pub fn of(series: &Series) -> Self {
        let slots = series.values.len();
        let values: VecDeque<f64> = series.values.iter().map(|it| it.unwrap_or(f64::NAN)).collect();
        let end_s = slots.checked_sub(1).map(|newest| series.at(newest).as_second());
        Self { step_s: i64::from(series.step_s), slots, end_s, values }
    }

    /// A window as [`super::past`] had kept it; `None` of a grid that no window has. It has as many slots as it can hold.
    #[must_use]
    pub fn restored(step_s: u32, end_s: i64, values: impl Iterator<Item = f64>) -> Option<Self> {
        let step_s = i64::from(step_s);
        let is_grid = step_s > 0 && end_s.rem_euclid(step_s) == 0 && Timestamp::from_second(end_s).is_ok();
        let values: VecDeque<f64> = values.map(|it| if it.is_finite() { it } else { f64::NAN }).collect();
        let spans = is_grid && end_s.checked_sub(step_s * values.len() as i64).is_some();
        spans.then_some(Self { step_s, slots: values.len(), end_s: Some(end_s), values })
    }

    /// Its slots, oldest first; a gap is a NaN.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied()
    }

    fn on_grid(&self, time_s: i64) -> i64 {
        time_s - time_s.rem_euclid(self.step_s)
    }

    fn length_s(&self) -> i64 {
        self.step_s * (self.slots as i64 - 1)
    }

    /// What to ask for at `now`: everything the first time, after a pause longer than the window and after
    /// the clock went back by more than what is asked for again anyway; otherwise what is new and a small overlap. `None`
    /// when no new slot has begun.
    #[must_use]
    pub fn wanted(&self, now: Timestamp) -> Option<Span> {
        let to = self.on_grid(now.as_second());
        let everything = Span { start_s: to - self.length_s(), end_s: to };
        let Some(end_s) = self.end_s else { return Some(everything) };
        if to <= end_s {
            // A clock that was set right by seconds comes back to where it was. What is read already stays, and of what was
            // pushed there is no more.
            return (end_s - to > self.overlap_s()).then_some(everything);
        }
        let start_s = self.on_grid(end_s - self.overlap_s()).max(everything.start_s);
        Some(Span { start_s, end_s: to })
    }

    fn overlap_s(&self) -> i64 {
        OVERLAP_S.max(OVERLAP_SLOTS_MIN * self.step_s)
    }

    /// Slots of a read that an earlier one may have had already.
    #[must_use]
    pub fn overlap_slots(&self) -> usize {
        (self.overlap_s() / self.step_s + 1) as usize
    }

    /// Takes in the answer for `asked`. A value overwrites the one of the same slot; a slot without one keeps
    /// what an earlier answer reported for it.
    pub fn absorb(&mut self, asked: Span, samples: &[Sample]) {
        self.move_to(asked);
        let Some(end_s) = self.end_s else { return };
        let first_s = end_s - self.step_s * (self.values.len() as i64 - 1);
        for sample in samples {
            let at_s = sample.at.as_second();
            let exact = sample.at.subsec_nanosecond() == 0 && at_s.rem_euclid(self.step_s) == 0;
            if !exact || !(asked.start_s..=asked.end_s).contains(&at_s) || at_s < first_s {
                continue;
            }
            let index = ((at_s - first_s) / self.step_s) as usize;
            if let Some(slot) = self.values.get_mut(index)
                && sample.value.is_finite()
            {
                *slot = sample.value;
            }
        }
    }

    /// Makes the end of `asked` the newest slot. Slots that `asked` does not join up with are dropped.
    fn move_to(&mut self, asked: Span) {
        let joined =
            self.end_s.is_some_and(|end_s| asked.start_s <= end_s + self.step_s && asked.end_s >= end_s);
        if !joined {
            self.values.clear();
            self.end_s = None;
        }
        let from_s = self.end_s.map_or(asked.start_s, |end_s| end_s + self.step_s);
        let fresh = ((asked.end_s - from_s) / self.step_s + 1).clamp(0, self.slots as i64);
        self.values.extend(std::iter::repeat_n(f64::NAN, fresh as usize));
        let surplus = self.values.len().saturating_sub(self.slots);
        self.values.drain(..surplus);
        self.end_s = Some(asked.end_s);
    }

    /// Keeps the newest `slots` slots, and as many as come late, and gives back the memory of the rest.
    pub fn shorten(&mut self, slots: usize) {
        let slots = slots.max(self.overlap_slots());
        let surplus = self.values.len().saturating_sub(slots);
        self.values.drain(..surplus);
        if self.values.capacity() / 2 > slots {
            // A few slots come before the next time.
            self.values.shrink_to(slots + slots / 8);
        }
    }

    /// Goes on from where `past` ended, with as many slots as before.
    pub fn go_on_from(&mut self, past: Self) {
        (self.end_s, self.values) = (past.end_s, past.values);
        let surplus = self.values.len().saturating_sub(self.slots);
        self.values.drain(..surplus);
    }

    /// Takes in what `past` has of the time before it, and of slots that are gaps here.
    pub fn precede(&mut self, past: &Self) {
        let (Some(end_s), Some(first_s), Some(past_s)) = (self.end_s, self.time_s(0), past.time_s(0)) else {
            return;
        };
        let oldest_s = first_s.min(past_s.max(end_s - self.length_s()));
        for _ in 0..(first_s - oldest_s) / self.step_s {
            self.values.push_front(f64::NAN);
        }
        for (index, value) in past.values.iter().enumerate() {
            let own = (past_s + index as i64 * self.step_s - oldest_s) / self.step_s;
            let own = usize::try_from(own).ok().and_then(|own| self.values.get_mut(own));
            if let Some(slot) = own.filter(|it| it.is_nan()) {
                *slot = *value;
            }
        }
    }

    /// Time of the newest slot, seconds; `None` before the first successful read.
    #[must_use]
    pub fn end_s(&self) -> Option<i64> {
        self.end_s
    }

    /// Distance of two slots, seconds.
    #[must_use]
    pub fn step_s(&self) -> u32 {
        u32::try_from(self.step_s).unwrap_or(u32::MAX)
    }

    /// Does it hold as many slots as it can?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.values.len() >= self.slots
    }

    /// Slots that it holds now.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.values.len()
    }

    /// Is its newest slot a gap, or is there none?
    #[must_use]
    pub fn ends_in_gap(&self) -> bool {
        self.values.back().is_none_or(|value| value.is_nan())
    }

    /// The newest value, with its time.
    #[must_use]
    pub fn last(&self) -> Option<(Timestamp, f64)> {
        let index = self.values.iter().rposition(|value| !value.is_nan())?;
        let at = Timestamp::from_second(self.time_s(index)?).ok()?;
        Some((at, *self.values.get(index)?))
    }

    fn time_s(&self, index: usize) -> Option<i64> {
        Some(self.end_s? - (self.values.len() as i64 - 1 - index as i64) * self.step_s)
    }

    /// The window as a series; empty before the first successful read.
    #[must_use]
    pub fn series(&self, key: SignalKey) -> Series {
        self.from(0, key)
    }

    /// The part of it that is newer than `after_s`, and `slots` of it at least, as far as there are so many.
    #[must_use]
    pub fn newest(&self, after_s: Option<i64>, slots: usize, key: SignalKey) -> Series {
        let first_s = self.time_s(0).unwrap_or(0);
        let index = after_s.map_or(0, |after_s| after_s.saturating_sub(first_s).div_euclid(self.step_s) + 1);
        let index = usize::try_from(index).unwrap_or(0);
        self.from(index.min(self.values.len().saturating_sub(slots)), key)
    }

    fn from(&self, index: usize, key: SignalKey) -> Series {
        let start = self.time_s(index).and_then(|start_s| Timestamp::from_second(start_s).ok());
        let values = self.values.range(index..).map(|value| (!value.is_nan()).then_some(*value)).collect();
        Series { key, start: start.unwrap_or(Timestamp::UNIX_EPOCH), step_s: self.step_s(), values }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::fixtures::{at, signal};

    const BASE_S: i64 = 1_795_428_000;

    fn sample(offset_s: i64, value: f64) -> Sample {
        Sample { at: at(offset_s), value }
    }

    fn span(from_s: i64, to_s: i64) -> Span {
        Span { start_s: BASE_S + from_s, end_s: BASE_S + to_s }
    }

    fn values(window: &Window) -> Vec<Option<f64>> {
        window.series(signal("backend", "latency_p95")).values
    }

    #[test]
    fn the_first_read_wants_the_whole_window_and_the_next_only_what_is_new() {
        let mut window = Window::new(60, 86_400);
        let first = window.wanted(at(30)).unwrap();
        assert_eq!(first, span(-1_439 * 60, 0));
        window.absorb(first, &[]);
        assert_eq!(window.wanted(at(59)), None);
        assert_eq!(window.wanted(at(61)), Some(span(-120, 60)));
    }

    #[test]
    fn a_gap_stays_a_gap_and_nan_is_no_value() {
        let mut window = Window::new(60, 300);
        let samples = [sample(-240, 1.0), sample(-120, f64::NAN), sample(-60, f64::INFINITY), sample(0, 5.0)];
        window.absorb(span(-240, 0), &samples);
        assert_eq!(values(&window), [Some(1.0), None, None, None, Some(5.0)]);
        assert_eq!(window.last(), Some((at(0), 5.0)));
    }

    #[test]
    fn a_sample_off_the_grid_or_outside_the_question_is_not_taken() {
        let mut window = Window::new(60, 300);
        window.absorb(span(-240, 0), &[sample(-30, 1.0), sample(60, 2.0), sample(-300, 3.0)]);
        assert_eq!(values(&window), [None; 5]);
    }

    #[test]
    fn a_late_sample_fills_its_slot_and_an_absent_one_does_not_erase() {
        let mut window = Window::new(60, 300);
        window.absorb(span(-240, 0), &[sample(-60, 1.0)]);
        window.absorb(span(-120, 60), &[sample(0, 2.0), sample(60, 3.0)]);
        assert_eq!(values(&window), [None, None, Some(1.0), Some(2.0), Some(3.0)]);
    }

    #[test]
    fn the_newest_part_is_what_is_newer_and_never_shorter_than_asked_for() {
        let mut window = Window::new(60, 300);
        assert_eq!(window.newest(None, 2, signal("s", "x")).values, []);
        window.absorb(span(-240, 0), &[sample(-240, 1.0), sample(-120, 2.0), sample(0, 3.0)]);
        let newest = |after_s: Option<i64>, slots| window.newest(after_s, slots, signal("s", "x"));
        let whole = window.series(signal("s", "x"));
        assert_eq!(newest(None, 0), whole, "nothing is known yet");
        for (after_s, slots, first) in
            [(-180, 0, 2), (-180, 4, 1), (-150, 0, 2), (0, 0, 5), (0, 2, 3), (60, 9, 0), (-9_999, 1, 0)]
        {
            let part = newest(Some(BASE_S + after_s), slots);
            assert_eq!(part.values, whole.values[first..], "{after_s} {slots}");
            assert_eq!(part.start, whole.at(first), "{after_s} {slots}");
        }
        assert_eq!(newest(Some(i64::MIN), 1), whole);
        assert_eq!(newest(Some(i64::MAX), 1).values, [Some(3.0)]);
    }

    #[test]
    fn a_pause_longer_than_the_window_starts_over() {
        let mut window = Window::new(60, 300);
        window.absorb(span(-240, 0), &[sample(0, 1.0)]);
        let wanted = window.wanted(at(10_000)).unwrap();
        assert_eq!(wanted, span(9_720, 9_960));
        window.absorb(wanted, &[]);
        assert_eq!(values(&window), [None; 5]);
    }

    #[test]
    fn a_clock_that_goes_back_starts_over_instead_of_waiting_for_the_future() {
        let mut window = Window::new(60, 300);
        window.absorb(span(86_400 - 240, 86_400), &[sample(86_400, 9.0)]);
        let wanted = window.wanted(at(0)).unwrap();
        window.absorb(wanted, &[sample(0, 1.0)]);
        assert_eq!(values(&window), [None, None, None, None, Some(1.0)]);
    }

    #[test]
    fn a_clock_that_is_set_right_by_a_little_comes_back_to_where_it_was_and_forgets_nothing() {
        let mut window = Window::new(60, 600);
        window.absorb(span(-540, 0), &[sample(-300, 1.0), sample(0, 2.0)]);
        let before = values(&window);
        for back_s in [1, 61, 120] {
            assert_eq!(window.wanted(at(-back_s)), None, "{back_s} s back");
        }
        window.absorb(window.wanted(at(60)).unwrap(), &[]);
        assert_eq!(values(&window)[..9], before[1..]);
        assert!(window.wanted(at(-121)).is_some_and(|it| it.end_s == at(-180).as_second()));
    }

    proptest! {
        #[test]
        fn a_window_that_was_cut_and_has_its_past_back_is_the_one_that_was_never_cut(
            slots in 1_u32..300,
            seen in 1_i64..400,
            (cut, lost) in (0_usize..200, 0_i64..300),
        ) {
            let truth = |it: i64| sample(it * 60, if it % 3 == 0 { f64::NAN } else { it as f64 });
            let read = |from: i64, to: i64| {
                let mut window = Window::new(60, slots * 60);
                let samples: Vec<Sample> = (from..=to).map(truth).collect();
                window.absorb(span(from * 60, to * 60), &samples);
                window
            };
            let whole = read(-seen, 0);
            let mut short = whole.clone();
            short.shorten(cut);
            let left = short.slots();
            prop_assert!(left == whole.slots().min(cut.max(whole.overlap_slots())));
            prop_assert_eq!(values(&short), &values(&whole)[whole.slots() - left..]);
            // A source need not have all of the past any more, and may have more of it than was seen.
            let past = read(-seen - 5 + lost, 0);
            short.precede(&past);
            let have = past.slots().max(left);
            let expected = values(&read(1 - have as i64, 0));
            prop_assert_eq!(values(&short), expected);
            prop_assert_eq!(short.end_s(), whole.end_s());
        }

        /// Whatever the order of ticks, every value in the window is the source's value for that very slot,
        /// the window is never longer than configured, and it ends at the last answered slot.
        #[test]
        fn no_value_is_ever_invented(
            step_s in 1_u32..120,
            slots in 1_u32..40,
            ticks in prop::collection::vec((0_i64..2_000, any::<bool>()), 1..30),
        ) {
            let truth = |at_s: i64| (at_s % 3 != 0).then_some(at_s as f64);
            let mut window = Window::new(step_s, step_s * slots);
            for (offset_s, answered) in ticks {
                let Some(asked) = window.wanted(at(offset_s)) else { continue };
                prop_assert!((asked.end_s - asked.start_s) / i64::from(step_s) < i64::from(slots) + 1);
                if !answered { continue }
                let samples: Vec<Sample> = (asked.start_s..=asked.end_s)
                    .step_by(step_s as usize)
                    .filter_map(|t| Some(Sample { at: Timestamp::from_second(t).unwrap(), value: truth(t)? }))
                    .collect();
                window.absorb(asked, &samples);
                let series = window.series(signal("s", "x"));
                prop_assert!(series.values.len() <= slots as usize);
                prop_assert_eq!(series.at(series.values.len() - 1).as_second(), asked.end_s);
                for (index, value) in series.values.iter().enumerate() {
                    prop_assert_eq!(*value, truth(series.at(index).as_second()));
                }
            }
        }
    }
}
