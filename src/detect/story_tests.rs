//! A day of a service whose 95th percentile latency is about 180 ms, with an hourly season, a slow daily
//! swing and noise, and what happens when it rises.

use super::*;
use crate::model::fixtures;

/// Reproducible Gaussian noise (sum of twelve uniforms).
pub struct Noise(pub u64);

impl Noise {
    pub fn gauss(&mut self) -> f64 {
        let mut sum = -6.0;
        for _ in 0..12 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (self.0 >> 33) as f64 / (1_u64 << 31) as f64;
        }
        sum
    }
}

/// `length` slots of 180 ms +- 20 ms season of `season` slots, +- 15 ms over the day, 6 ms noise.
pub fn day(seed: u64, length: usize, season: f64) -> Vec<f64> {
    let mut noise = Noise(seed.wrapping_mul(7919).wrapping_add(13));
    let wave = |slot: usize, period: f64| (std::f64::consts::TAU * slot as f64 / period).sin();
    (0..length)
        .map(|slot| 180.0 + 20.0 * wave(slot, season) + 15.0 * wave(slot, 2880.0) + 6.0 * noise.gauss())
        .collect()
}

pub fn series(values: &[f64]) -> Series {
    Series {
        key: fixtures::signal("backend", "latency_p95"),
        start: fixtures::at(0),
        step_s: 30,
        values: values.iter().copied().map(Some).collect(),
    }
}

/// A day with an hourly season, then `slots` values raised by `rise`.
fn raised(seed: u64, rise: f64, slots: usize) -> Anomaly {
    let mut values = day(seed, 2880 + slots, 120.0);
    for value in &mut values[2880..] {
        *value += rise;
    }
    score(&series(&values), &EnsembleSettings::default()).unwrap()
}

#[test]
fn a_rise_from_180_to_520_ms_scores_high_within_two_slots() {
    for seed in 0..4 {
        for slots in 1..=2 {
            let anomaly = raised(seed, 340.0, slots);
            assert!(anomaly.score.get() >= 0.85, "seed {seed}, slot {slots}: {anomaly:?}");
            assert!(anomaly.severity >= Severity::High);
            assert!(anomaly.confidence.get() >= 0.85, "{anomaly:?}");
            assert_eq!(anomaly.period, Some(120));
            assert!((130.0..190.0).contains(&anomaly.expected.0), "{anomaly:?}");
            assert!((170.0..260.0).contains(&anomaly.expected.1), "{anomaly:?}");
            assert_eq!(anomaly.recent.len(), 60);
        }
    }
}

#[test]
fn the_surge_stays_an_anomaly_for_twenty_minutes() {
    for slots in [5, 10, 20, 30, 40] {
        let anomaly = raised(1, 340.0, slots);
        assert!(anomaly.score.get() >= 0.8, "slot {slots}: {anomaly:?}");
    }
}

#[test]
fn the_quiet_minutes_after_a_surge_are_quiet() {
    let mut values = day(1, 2880 + 60, 120.0);
    for value in &mut values[2880..2920] {
        *value += 340.0;
    }
    let anomaly = score(&series(&values), &EnsembleSettings::default()).unwrap();
    assert!(anomaly.score.get() < 0.8, "{anomaly:?}");
}

#[test]
fn a_surge_that_repeats_within_the_day_is_an_anomaly_again() {
    let mut values = day(2, 2880, 120.0);
    for value in &mut values[1000..1040] {
        *value += 340.0;
    }
    values.extend([520.0, 521.0]);
    let anomaly = score(&series(&values), &EnsembleSettings::default()).unwrap();
    assert!(anomaly.score.get() >= 0.8, "{anomaly:?}");
}

/// A sample of the slots of quiet days; the threshold leaves a margin, because a full day has 2,880 slots
/// and may hold less than one false alarm at 0.8.
#[test]
fn quiet_days_stay_far_below_the_threshold() {
    for seed in 0..3 {
        let values = day(seed, 2 * 2880, 120.0);
        for end in (2880..2 * 2880).step_by(150) {
            let anomaly = score(&series(&values[end - 2880..end]), &EnsembleSettings::default()).unwrap();
            assert!(anomaly.score.get() < 0.7, "seed {seed}, slot {end}: {anomaly:?}");
        }
    }
}

#[test]
fn without_a_season_a_surge_does_not_become_the_level_for_twenty_minutes() {
    let mut noise = Noise(8);
    let mut values: Vec<f64> = (0..1500).map(|_| 180.0 + 6.0 * noise.gauss()).collect();
    for minute in 1..=20 {
        values.extend([520.0 + 6.0 * noise.gauss(), 520.0 + 6.0 * noise.gauss()]);
        let anomaly = score(&series(&values), &EnsembleSettings::default()).unwrap();
        assert_eq!(anomaly.period, None);
        assert!(anomaly.score.get() >= 0.85, "minute {minute}: {anomaly:?}");
    }
}
