//! What on-call people meet: outages that stay, bad samples, counters of nothing, new levels. Each story is told to the detector
//! as values, and what it says is what a person would read.

use super::*;
use crate::detect::story_tests::Noise;
use crate::model::anomaly::Anomaly;
use crate::model::fixtures::signal;

const STEP_S: i64 = 30;
const DAY: i64 = 2_880;

/// A state that has seen `values`, and what comes after them.
struct Story {
    detector: Detector,
    state: State,
    step_s: i64,
}

impl Story {
    fn of(step_s: i64, values: impl IntoIterator<Item = f64>) -> Self {
        let detector = Detector::new(&Settings::default());
        let state = detector.start(step_s as u32);
        let mut story = Self { detector, state, step_s };
        story.goes_on(values);
        story
    }

    fn goes_on(&mut self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut scores = Vec::new();
        for value in values {
            let at_s = self.state.last_s.max(0) + self.step_s;
            scores.push(self.detector.step(&mut self.state, at_s, Some(value)).score.unwrap().get());
        }
        scores
    }

    fn says(&self) -> Anomaly {
        self.detector.explain(&self.state, &signal("backend", "requests")).unwrap()
    }
}

fn noise(seed: u64, count: i64, middle: f64, sigma: f64) -> Vec<f64> {
    let mut noise = Noise(seed);
    (0..count).map(|_| middle + sigma * noise.gauss()).collect()
}

#[test]
fn a_total_outage_is_an_anomaly_for_as_long_as_it_is_not_the_new_normal_and_never_told_as_over() {
    for step_s in [10, 30, 60] {
        let mut story = Story::of(step_s, noise(1, 3 * 86_400 / step_s, 200.0, 10.0));
        let scores = story.goes_on(vec![0.0; (3_600 / step_s) as usize]);
        assert!(scores.iter().all(|it| *it >= 0.9), "{step_s} s: {scores:?}");
        assert_eq!(story.says().episode.unwrap().end, None);
        story.goes_on(vec![0.0; (5_700 / step_s) as usize]);
        let said = story.says().episode.unwrap();
        assert!(said.adopted && said.to_string().contains("taken for the new normal since"), "{said}");
    }
}

#[test]
fn a_change_that_nobody_would_look_at_is_no_incident_however_constant_the_series_was() {
    for (before, after, is_incident) in [
        (100.0, 100.001, false),
        (0.3, 0.300_000_000_000_000_04, false),
        (-5e9, -5e9 - 1_000.0, false),
        (100.0, 150.0, true),
        (0.0, 5.0, true),
        (5e9, 7e9, true),
    ] {
        let mut story = Story::of(STEP_S, vec![before; 2 * DAY as usize]);
        let highest = story.goes_on([after; 10]).into_iter().fold(0.0, f64::max);
        assert_eq!(highest >= 0.8, is_incident, "{before} to {after}: {highest}");
    }
}

#[test]
fn a_ratio_that_is_nothing_but_rounding_has_its_outage_all_the_same() {
    let rounding = (0..2 * DAY).map(|it| if it % 7 == 3 { 1.1e-16 } else { 0.0 });
    let mut story = Story::of(STEP_S, rounding);
    let scores = story.goes_on([0.9; 60]);
    assert!(scores.iter().all(|it| *it >= 0.8), "{scores:?}");
}

/// A unit that somebody mistook, or a counter that overflowed, for one sample.
#[test]
fn one_absurd_sample_does_not_blind_the_models_for_weeks() {
    for absurd in [6_000.0, 1e6, 1e15, -1e9] {
        let mut story = Story::of(STEP_S, noise(2, 10 * DAY, 180.0, 6.0));
        assert!(story.goes_on([absurd])[0] >= 0.9);
        story.goes_on(noise(3, 5 * DAY, 180.0, 6.0));
        let (low, high) = story.says().expected;
        assert!(low > 140.0 && high < 220.0, "{absurd}: {low} to {high}");
        let highest = story.goes_on(noise(4, 20, 520.0, 6.0)).into_iter().fold(0.0, f64::max);
        assert!(highest >= 0.8, "after {absurd}: {highest}");
    }
}

#[test]
fn a_new_level_however_far_is_known_within_hours_and_is_no_season() {
    for level in [480.0, 1e5] {
        let mut story = Story::of(60, noise(5, 10 * 1_440, 180.0, 6.0));
        let shift = level - 180.0;
        assert!(story.goes_on([level])[0] >= 0.9);
        story.goes_on(noise(6, 180, 180.0, 6.0).into_iter().map(|it| it + shift));
        for day in 0..10 {
            story.goes_on(noise(7 + day, 1_440, 180.0, 6.0).into_iter().map(|it| it + shift));
            let said = story.says();
            let (low, high) = said.expected;
            assert!((low..=high).contains(&level), "{level}, day {day}: {low} to {high}");
            assert_eq!(said.period, None, "{level}, day {day}");
        }
    }
}

#[test]
fn what_people_shift_by_an_hour_in_spring_is_no_incident() {
    let daily = |shift_h: i64| {
        move |it: i64| {
            let hour = ((it + shift_h * 12).rem_euclid(288)) as f64 / 12.0;
            300.0 + 200.0 * (std::f64::consts::TAU * (hour - 8.0) / 24.0).sin()
        }
    };
    let mut jitter = Noise(8);
    let values: Vec<f64> = (0..288 * 21).map(|it| daily(0)(it) + 6.0 * jitter.gauss()).collect();
    let mut story = Story::of(300, values);
    let after: Vec<f64> = (0..288 * 3).map(|it| daily(1)(it) + 6.0 * jitter.gauss()).collect();
    let highest = story.goes_on(after).into_iter().fold(0.0, f64::max);
    assert!(highest < 0.8, "{highest}");
}

#[test]
fn a_period_is_of_time_and_not_of_the_values_that_came() {
    for missing in [0_u64, 10, 20] {
        let mut jitter = Noise(9);
        let detector = Detector::new(&Settings::default());
        let mut state = detector.start(60);
        for minute in 0..4 * 1_440_i64 {
            let is_missing = (minute as u64).wrapping_mul(0x9E37_79B9) % 100 < missing;
            let value = 100.0 + 40.0 * (std::f64::consts::TAU * minute as f64 / 60.0).sin() + jitter.gauss();
            detector.step(&mut state, minute * 60, (!is_missing).then_some(value));
        }
        assert_eq!(state.seasons.cycle_s, 3_600, "{missing} % are missing");
    }
}

/// The rate of a counter is asked for; where that is not possible a reset is one sample, and says nothing after it.
#[test]
fn a_rate_that_falls_to_nothing_at_a_restart_and_comes_back_is_over_when_it_is_back() {
    let mut story = Story::of(STEP_S, noise(10, 5 * DAY, 200.0, 10.0));
    story.goes_on([0.0; 4]);
    let after = story.goes_on(noise(11, 120, 200.0, 10.0));
    let late = after[30..].iter().copied().fold(0.0, f64::max);
    assert!(late < 0.8, "{late}");
    assert!(story.says().episode.unwrap().end.is_some());
}
