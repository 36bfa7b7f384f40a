//! The stream over a window: a window and a state come in, the state knows what is new in the window, and the window's
//! newest slot is judged. Never: a value twice, a gap as a value, or a step back in time.

use crate::detect::recent;
use crate::model::anomaly::Anomaly;
use crate::model::signal::Series;

use super::{Detector, State};

impl Detector {
    /// Steps through the values of `series` that are newer than what `state` knows, `values_max` at most; how many
    /// there were comes back.
    ///
    /// A value that comes late, into a slot older than the newest one that was fed, is not learned, and neither is a
    /// correction of one that was: a state has no past to change. Windows have both.
    pub fn feed(&self, state: &mut State, series: &Series, values_max: usize) -> usize {
        let (start_s, step_s) = (series.start.as_second(), i64::from(series.step_s.max(1)));
        let first = match state.last_s() {
            Some(last_s) => last_s.saturating_sub(start_s).div_euclid(step_s).saturating_add(1).max(0),
            None => 0,
        };
        let fresh = series.values.iter().enumerate().skip(usize::try_from(first).unwrap_or(usize::MAX));
        let present = fresh.filter(|(_, value)| value.is_some_and(f64::is_finite));
        let mut fed = 0;
        for (index, value) in present.take(values_max) {
            self.step(state, start_s.saturating_add(step_s.saturating_mul(index as i64)), *value);
            fed += 1;
        }
        fed
    }

    /// What the newest slot of `series` is. `None`: it is a gap, the state is not fed up to it or was fed another value
    /// before it was corrected, or the state has seen too little to call anything rare.
    #[must_use]
    pub fn judge(&self, state: &State, series: &Series) -> Option<Anomaly> {
        let newest = series.values.len().checked_sub(1)?;
        let value = series.values.get(newest).copied().flatten()?;
        let is_fed = state.last_s() == Some(series.at(newest).as_second()) && state.value == value;
        if !is_fed || !state.blocks.settled() || self.warms_up(state) {
            return None;
        }
        Some(Anomaly { recent: recent(series), ..self.explain(state, &series.key)? })
    }
}

impl State {
    /// When the newest value was; `None` before there was one.
    #[must_use]
    pub fn last_s(&self) -> Option<i64> {
        (self.count > 0).then_some(self.last_s)
    }

    /// Distance of the values, seconds.
    #[must_use]
    pub fn step_s(&self) -> u32 {
        self.step_s
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::story_tests::{day, series};
    use crate::detect::stream::Settings;

    fn detector() -> Detector {
        Detector::new(&Settings::default())
    }

    #[test]
    fn a_late_value_and_a_corrected_one_change_nothing_that_was_learned() {
        let detector = detector();
        let mut window = series(&day(1, 100, 20.0));
        window.values[90] = None;
        let mut state = detector.start(30);
        assert_eq!(detector.feed(&mut state, &window, usize::MAX), 99);
        let before = state;
        window.values[90] = Some(5_000.0);
        window.values[99] = Some(7_000.0);
        assert_eq!(detector.feed(&mut state, &window, usize::MAX), 0);
        assert_eq!(state, before);
    }

    #[test]
    fn the_newest_slot_is_judged_only_when_it_holds_a_value_that_was_fed_and_the_stream_is_settled() {
        let detector = detector();
        let mut window = series(&day(2, 479, 20.0));
        let mut state = detector.start(30);
        detector.feed(&mut state, &window, usize::MAX);
        assert_eq!(detector.judge(&state, &window), None, "not settled");
        window.values.push(Some(180.0));
        assert_eq!(detector.judge(&state, &window), None, "not fed");
        detector.feed(&mut state, &window, usize::MAX);
        let anomaly = detector.judge(&state, &window).unwrap();
        assert_eq!((anomaly.at, anomaly.value, anomaly.recent.len()), (window.at(479), 180.0, 60));
        window.values[479] = Some(900.0);
        detector.feed(&mut state, &window, usize::MAX);
        assert_eq!(detector.judge(&state, &window), None, "another value was fed");
        window.values.push(None);
        detector.feed(&mut state, &window, usize::MAX);
        assert_eq!(detector.judge(&state, &window), None, "a gap is no score");
    }

    #[test]
    fn a_surge_of_twenty_minutes_is_an_anomaly_for_as_long_and_its_band_stays_where_it_was() {
        // A block of maxima ends 20 slots before it, with its first value, and within it.
        for (seed, slots) in [(0, 2_900), (1, 2_880), (2, 2_879), (3, 2_860)] {
            let detector = detector();
            let mut values = day(seed, slots, 120.0);
            let mut state = detector.start(30);
            detector.feed(&mut state, &series(&values), usize::MAX);
            let before = detector.judge(&state, &series(&values)).unwrap().expected;
            for slot in 0..40 {
                values.push(520.0 + f64::from(slot % 5));
                detector.feed(&mut state, &series(&values), usize::MAX);
                let anomaly = detector.judge(&state, &series(&values)).unwrap();
                assert!(anomaly.score.get() >= 0.85, "seed {seed}, slot {slot}: {anomaly:?}");
                let (low, high) = anomaly.expected;
                assert!(high < 260.0 && high - low < 2.0 * (before.1 - before.0), "slot {slot}: {anomaly:?}");
            }
        }
    }

    #[test]
    fn a_new_level_is_what_is_expected_within_three_hours() {
        let detector = detector();
        let mut values = day(3, 2_880, 120.0);
        values.extend(day(4, 360, 120.0).iter().map(|it| it + 300.0));
        let mut state = detector.start(30);
        detector.feed(&mut state, &series(&values), usize::MAX);
        let (low, high) = detector.judge(&state, &series(&values)).unwrap().expected;
        assert!(low < 480.0 && 480.0 < high, "{low} to {high}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn slices_of_any_size_and_windows_that_move_teach_what_one_feeding_teaches(
            seed in 0_u64..1000,
            gaps in prop::collection::vec(0_usize..700, 0..60),
            slices in prop::collection::vec((1_usize..200, 1_usize..90), 1..60),
        ) {
            let detector = detector();
            let mut whole = series(&day(seed, 700, 60.0));
            for gap in gaps {
                whole.values[gap] = None;
            }
            let mut at_once = detector.start(30);
            detector.feed(&mut at_once, &whole, usize::MAX);
            let mut state = detector.start(30);
            let mut end = 0;
            for (longer, values_max) in slices.iter().cycle() {
                end = (end + longer).min(700);
                // A window never moves past what is not fed yet: it is a day long.
                let start = state.last_s().map_or(0, |last_s| {
                    usize::try_from((last_s - whole.start.as_second()) / 30).unwrap_or(0)
                });
                let mut window = whole.clone();
                window.start = whole.at(start);
                window.values = whole.values[start..end].to_vec();
                let fed = detector.feed(&mut state, &window, *values_max);
                prop_assert!(fed <= *values_max);
                if end == 700 && fed == 0 {
                    break;
                }
            }
            prop_assert_eq!(state, at_once);
        }
    }
}
