//! Promises of the forecaster: bounded, the same for the same values, silent without history, honest about its errors.

use proptest::prelude::*;

use super::*;
use crate::model::fixtures::{at, signal};
use crate::model::signal::Series;

const HORIZON: usize = 20;
const DAY: usize = 1_440;

/// A value between -1 and 1 that has no pattern, from its position alone.
fn noise(slot: u64) -> f64 {
    let mixed = slot.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn daily(slot: u64) -> f64 {
    let turn = slot as f64 / DAY as f64 * std::f64::consts::TAU;
    200.0 + 80.0 * turn.sin() + 6.0 * noise(slot)
}

fn fed(values: impl IntoIterator<Item = (u64, f64)>) -> Forecaster {
    let mut forecaster = Forecaster::new(HORIZON, DAY);
    values.into_iter().for_each(|(slot, value)| forecaster.push(slot, value));
    forecaster
}

#[test]
fn without_enough_history_there_is_no_forecast_and_no_probability() {
    let least = (LEAST_HORIZONS * HORIZON) as u64;
    let young = fed((0..least).map(|slot| (slot, daily(slot))));
    assert_eq!((young.ahead(), young.probability(Crossing::Above(0.0))), (None, None));
    let grown = fed((0..least + 2 * HORIZON as u64).map(|slot| (slot, daily(slot))));
    assert!(grown.ahead().is_some() && grown.probability(Crossing::Above(0.0)).is_some());
}

#[test]
fn values_that_come_in_odd_slots_alone_are_learned_from_too() {
    // Pushed every minute at :25, on a grid of half a minute.
    for parity in [0, 1] {
        let mut forecaster = Forecaster::new(2 * HORIZON, 2 * DAY);
        (0..2_000).for_each(|minute| forecaster.push(2 * minute + parity, daily(minute)));
        assert!(forecaster.ahead().is_some(), "{parity}");
    }
}

#[test]
fn a_day_that_repeats_is_forecast_with_less_error_than_the_day_before_gives() {
    let mut forecaster = Forecaster::new(HORIZON, DAY);
    let (mut own, mut naive, mut inside, mut asked) = (0.0, 0.0, 0.0, 0.0);
    for slot in 0..(6 * DAY) as u64 {
        forecaster.push(slot, daily(slot));
        if slot < (3 * DAY) as u64 {
            continue;
        }
        let ahead = forecaster.ahead().unwrap();
        let came = daily(slot + HORIZON as u64);
        own += (ahead.expected - came).abs();
        naive += (daily(slot + HORIZON as u64 - DAY as u64) - came).abs();
        inside += f64::from(u8::from((ahead.interval.0..=ahead.interval.1).contains(&came)));
        asked += 1.0;
    }
    assert!(own / naive < 0.8, "{}", own / naive);
    assert!((0.87..=0.93).contains(&(inside / asked)), "{}", inside / asked);
}

#[test]
fn what_is_called_probable_happens_that_often() {
    let mut forecaster = Forecaster::new(HORIZON, DAY);
    let (mut said, mut happened, mut asked) = (0.0, 0.0, 0.0);
    for slot in 0..(8 * DAY) as u64 {
        forecaster.push(slot, daily(slot));
        let crossing = Crossing::Above(240.0);
        let Some(probability) = forecaster.probability(crossing).filter(|it| (0.2..0.8).contains(it)) else {
            continue;
        };
        let highest = (1..=HORIZON as u64).map(|ahead| daily(slot + ahead)).fold(0.0, f64::max);
        said += probability;
        happened += f64::from(u8::from(highest >= 240.0));
        asked += 1.0;
    }
    assert!(asked > 100.0);
    assert!((said / asked - happened / asked).abs() < 0.15, "{} {}", said / asked, happened / asked);
}

#[test]
fn a_flat_line_is_forecast_flat_and_crosses_nothing() {
    let forecaster = fed((0..2_000).map(|slot| (slot, 5.0)));
    let ahead = forecaster.ahead().unwrap();
    assert!((ahead.expected - 5.0).abs() < 1e-9);
    assert!(forecaster.probability(Crossing::Above(6.0)).unwrap() < 0.05);
    assert!(forecaster.probability(Crossing::Below(4.0)).unwrap() < 0.05);
}

/// A disk that fills by 0.77 in each look-ahead time; three times a day two scrapes fail, and the value before them is repeated.
fn rising(slot: u64) -> f64 {
    let read_at = if slot % (DAY as u64 / 3) < 3 { slot - slot % (DAY as u64 / 3) } else { slot };
    20.0 + 0.77 * read_at as f64 / HORIZON as f64 + 0.35 * noise(read_at)
}

#[test]
fn what_rises_every_day_is_foreseen_to_rise_as_much_when_its_first_days_end() {
    // The first value comes at any time of the day, and what is usual at a time of the day is known a day after it.
    for started in [0, 13, 500, 1_430] {
        let mut forecaster = Forecaster::new(HORIZON, DAY);
        let (mut sure, mut came, mut inside, mut asked) = (0, 0, 0, 0);
        for slot in started..started + (4 * DAY) as u64 {
            forecaster.push(slot, rising(slot));
            let Some(ahead) = forecaster.ahead().filter(|_| slot > started + 12 * 60) else { continue };
            let due = rising(slot + HORIZON as u64);
            assert!((ahead.expected - due).abs() < 1.5, "{slot} from {started}: {} {due}", ahead.expected);
            asked += 1;
            inside += u32::from((ahead.interval.0..=ahead.interval.1).contains(&due));
            let highest = (1..=HORIZON as u64).map(|it| rising(slot + it)).fold(0.0, f64::max);
            for above in [0.4, 0.8, 1.2, 1.6, 2.4] {
                let limit = rising(slot) + above;
                let is_sure = forecaster.probability(Crossing::Above(limit)).unwrap() >= 0.9;
                sure += u32::from(is_sure);
                came += u32::from(is_sure && highest >= limit);
            }
        }
        assert!(sure > 100 && f64::from(came) >= 0.9 * f64::from(sure), "{came} of {sure} from {started}");
        assert!(f64::from(inside) > 0.86 * f64::from(asked), "{inside} of {asked} from {started}");
    }
}

#[test]
fn a_shift_of_the_level_is_not_expected_again_at_the_same_time_of_the_next_days() {
    let shifted = |slot: u64| if slot < 3 * DAY as u64 + 700 { daily(slot) } else { daily(slot) + 300.0 };
    let mut forecaster = Forecaster::new(HORIZON, DAY);
    for slot in 0..6 * DAY as u64 {
        forecaster.push(slot, shifted(slot));
        if slot > 4 * DAY as u64 {
            let expected = forecaster.ahead().unwrap().expected;
            let due = shifted(slot + HORIZON as u64);
            assert!((expected - due).abs() < 25.0, "{slot}: {expected} {due}");
        }
    }
}

fn series(from: usize, to: usize) -> Series {
    let values = (from..to).map(|slot| (slot % 37 != 5).then(|| daily(slot as u64))).collect();
    Series { key: signal("backend", "latency_p95"), start: at(from as i64 * 60), step_s: 60, values }
}

#[test]
fn a_watch_that_is_fed_tick_by_tick_says_what_one_made_anew_from_the_same_window_says() {
    let (whole, crossing) = (series(0, 1_500), Crossing::Above(250.0));
    let mut made_anew = Watch::new(1_200, &whole).unwrap();
    made_anew.feed(&whole);
    let mut followed = Watch::new(1_200, &whole).unwrap();
    for end in (10..=1_500).step_by(7).chain([1_500]) {
        followed.feed(&series(0, end));
    }
    let forecast = made_anew.forecast(&whole, crossing);
    assert!(forecast.is_some());
    assert_eq!(followed.forecast(&whole, crossing), forecast);
}

#[test]
fn a_window_that_lost_what_was_fed_last_begins_anew() {
    let mut watch = Watch::new(1_200, &series(0, 10)).unwrap();
    watch.feed(&series(0, 1_000));
    assert!(watch.forecast(&series(0, 1_000), Crossing::Above(250.0)).is_some());
    watch.feed(&series(5_000, 5_010));
    assert_eq!(watch.forecast(&series(5_000, 5_010), Crossing::Above(250.0)), None);
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -1e3..1e3_f64,
        2 => Just(7.0),
        1 => any::<f64>(),
        1 => prop_oneof![Just(1e99), Just(-1e99), Just(f64::NAN), Just(f64::INFINITY)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_values_give_finite_ordered_and_repeatable_answers(
        values in prop::collection::vec((1..4_u64, value()), 300..900),
        horizon in 1..30_usize,
        limit in -1e3..1e3_f64,
    ) {
        let run = || {
            let mut forecaster = Forecaster::new(horizon, DAY);
            let mut slot = 0;
            for (gap, value) in &values {
                slot += gap;
                forecaster.push(slot, *value);
            }
            forecaster
        };
        let forecaster = run();
        if let Some(Ahead { expected, interval: (low, high) }) = forecaster.ahead() {
            prop_assert!(expected.is_finite() && low.is_finite() && high.is_finite() && low <= high);
            let [nearer, farther] = [limit, limit + 10.0]
                .map(|limit| forecaster.probability(Crossing::Above(limit)).unwrap());
            prop_assert!(farther <= nearer && nearer <= MAX_PROBABILITY && farther >= 1.0 - MAX_PROBABILITY);
        }
        prop_assert!(forecaster.pending.len() <= 2 * SAMPLES_PER_HORIZON + 1);
        prop_assert_eq!(format!("{:?}", forecaster), format!("{:?}", run()));
    }
}
