//! Each promise of the streaming detector by itself.

use proptest::prelude::*;

use super::episode::Episodes;
use super::pack::{InvalidState, long, short};
use super::*;
use crate::detect::story_tests::{Noise, day};
use crate::model::fixtures;

const BASE_S: i64 = 1_767_225_600;

fn detector() -> Detector {
    Detector::new(&Settings::default())
}

/// Steps through values at a distance of `step_s` and keeps the scores.
fn run(state: &mut State, step_s: u32, values: &[f64]) -> Vec<f64> {
    let from = i64::from(state.count);
    let one = |(index, value): (usize, &f64)| {
        let at_s = BASE_S + (from + index as i64) * i64::from(step_s);
        detector().step(state, at_s, Some(*value)).score.map_or(f64::NAN, Score::get)
    };
    values.iter().enumerate().map(one).collect()
}

/// Days of a signal at 5 minutes: 180, a season of 20 over the day, a swing of 15 over ten days, noise of 6.
fn daily(seed: u64, days: usize) -> Vec<f64> {
    day(seed, days * 288, 288.0)
}

#[test]
fn the_state_is_small_and_never_grows() {
    assert!(size_of::<State>() <= 4096, "{}", size_of::<State>());
    let mut state = detector().start(300);
    let young = state.encode().len();
    run(&mut state, 300, &daily(1, 30));
    assert_eq!(state.encode().len(), young);
    assert!(young <= size_of::<State>(), "{young}");
}

#[test]
fn a_flat_line_is_never_an_anomaly() {
    for value in [0.0, 1.0, -3.5, 1e-300, 1e300] {
        let mut state = detector().start(60);
        assert!(run(&mut state, 60, &[value; 3000]).iter().all(|it| *it == 0.0), "{value}");
    }
    let mut state = detector().start(300);
    let mut noise = Noise(2);
    let noisy: Vec<f64> = (0..2_880).map(|_| 200.0 + 10.0 * noise.gauss()).collect();
    run(&mut state, 300, &noisy);
    let scores = run(&mut state, 300, &[200.0; 600]);
    assert!(scores[16..].iter().all(|it| *it == 0.0), "a series that went flat within its band stays quiet");
}

#[test]
fn what_is_no_value_and_what_is_no_later_time_is_no_score_and_changes_nothing() {
    let detector = detector();
    let mut state = detector.start(300);
    run(&mut state, 300, &daily(3, 3));
    let before = state;
    for (later_s, value) in
        [(300, None), (300, Some(f64::NAN)), (300, Some(f64::INFINITY)), (0, Some(1.0)), (-300, Some(1.0))]
    {
        let step = detector.step(&mut state, before.last_s + later_s, value);
        assert_eq!((step.score, step.news), (None, Score::ZERO));
        assert_eq!(state, before);
    }
}

#[test]
fn a_surge_and_a_drop_on_a_daily_season_are_anomalies_and_quiet_days_are_not() {
    for seed in 0..4 {
        let mut state = detector().start(300);
        run(&mut state, 300, &daily(seed, 14));
        let quiet = run(&mut state, 300, &daily(seed + 100, 7));
        let pages = quiet.iter().filter(|it| **it >= 0.8).count();
        assert!(pages <= 2, "seed {seed}: {pages} scores of a quiet week");
        for value in [520.0, 20.0] {
            let mut state = state;
            let scores = run(&mut state, 300, &[value; 2]);
            assert!(scores[0] >= 0.9, "seed {seed}, {value}: {scores:?}");
        }
    }
}

#[test]
fn a_level_shift_is_an_anomaly_at_first_and_normal_within_two_days() {
    let mut state = detector().start(300);
    run(&mut state, 300, &daily(4, 14));
    let shifted: Vec<f64> = daily(5, 6).iter().map(|it| it + 300.0).collect();
    let scores = run(&mut state, 300, &shifted);
    assert!(scores[0] >= 0.9, "{}", scores[0]);
    let late = scores[2 * 288..].iter().copied().fold(0.0, f64::max);
    assert!(late < 0.8, "{late}");
}

#[test]
fn zeros_with_some_ones_and_a_steady_climb_are_quiet() {
    let mut noise = Noise(3);
    let bursts: Vec<f64> = (0..6000).map(|_| if noise.gauss() > 1.9 { 1.0 } else { 0.0 }).collect();
    let climb: Vec<f64> = (0..6000).map(|it| 1000.0 + f64::from(it) + 3.0 * noise.gauss()).collect();
    for (name, values) in [("bursts", bursts), ("climb", climb)] {
        let mut state = detector().start(60);
        let scores = run(&mut state, 60, &values);
        let mut high: Vec<usize> = (1000..scores.len()).filter(|it| scores[*it] >= 0.8).collect();
        high.dedup_by(|later, before| *later - *before <= 10);
        assert!(high.len() <= 2, "{name} pages at {high:?}");
    }
}

#[test]
fn a_young_series_does_not_cry_wolf_and_says_that_it_is_young() {
    let detector = detector();
    for seed in 0..20 {
        let mut state = detector.start(30);
        for (index, value) in day(seed, 99, 120.0).into_iter().enumerate() {
            let step = detector.step(&mut state, index as i64 * 30, Some(value));
            assert!(step.score.is_some_and(|it| it.get() < 0.8), "{step:?}");
            assert!(step.warming_up && step.confidence.get() <= 0.5, "{step:?}");
        }
        let step = detector.step(&mut state, 99 * 30, Some(180.0));
        assert!(!step.warming_up);
    }
    // Before two blocks nothing is rare, so the first day is what may be wrong.
    let wrong = (0..20).filter(|seed| {
        let first: Vec<f64> = day(*seed, 2_880, 120.0);
        run(&mut detector.start(30), 30, &first).iter().any(|it| *it >= 0.8)
    });
    assert!(wrong.count() <= 1, "of twenty quiet first days");
}

#[test]
fn an_episode_has_a_start_a_peak_and_an_end_and_what_was_said_is_no_news() {
    let detector = detector();
    let mut state = detector.start(300);
    run(&mut state, 300, &daily(6, 14));
    let start_s = state.last_s + 300;
    let mut news = Vec::new();
    for (index, value) in [400.0, 520.0, 470.0].into_iter().enumerate() {
        news.push(detector.step(&mut state, start_s + index as i64 * 300, Some(value)).news.get());
    }
    let open = state.episode().unwrap();
    assert_eq!((open.start_s, open.end_s), (start_s, None));
    assert!(news[0] >= 0.8 && news[2] < 0.5, "{news:?}");
    let quiet = daily(7, 1);
    for (index, value) in quiet.iter().enumerate() {
        detector.step(&mut state, start_s + (index as i64 + 4) * 300, Some(*value));
    }
    let over = state.episode().unwrap();
    assert!(over.end_s.is_some_and(|end_s| end_s >= over.peak_s), "{over:?}");
}

#[test]
fn the_same_again_is_news_only_after_ten_calm_minutes_or_twelve_hours() {
    let mut episodes = Episodes::default();
    let minutes = [
        (0, 9.0, 9.0),
        (1, 9.0, 0.0),
        (2, 4.0, 0.0),
        (8, 8.0, 0.0),
        (9, 1.0, 0.0),
        (18, 1.0, 0.0),
        (19, 8.0, 8.0),
        (20, 8.5, 8.5),
        (40, 5.0, 0.0),
        (741, 5.0, 5.0),
    ];
    for (minute, surprise, news) in minutes {
        assert_eq!(episodes.step(1_000_000 + 60 * minute, surprise, (5.0, false)), news, "minute {minute}");
    }
}

#[test]
fn the_explanation_names_each_model_its_share_the_band_and_the_feature() {
    let detector = detector();
    let mut state = detector.start(300);
    assert_eq!(detector.explain(&state, &fixtures::signal("backend", "latency_p95")), None);
    let values = daily(8, 14);
    run(&mut state, 300, &values);
    run(&mut state, 300, &[520.0]);
    let anomaly = detector.explain(&state, &fixtures::signal("backend", "latency_p95")).unwrap();
    assert_eq!((anomaly.value, anomaly.period), (520.0, Some(288)));
    let expected = values[0];
    assert!(anomaly.expected.0 < expected && expected < anomaly.expected.1, "{anomaly:?}");
    assert_eq!(anomaly.models.iter().map(|it| it.model).collect::<Vec<_>>(), ModelName::ALL);
    let stl = &anomaly.models[0].evidence;
    assert!(stl.contains("season of a day") && stl.contains("% of the score"), "{stl}");
    assert!(anomaly.models.iter().all(|it| it.evidence.contains(" comes once in ")), "{anomaly:?}");
}

#[test]
fn what_was_never_there_says_so_and_is_less_new_each_time() {
    let detector = detector();
    let mut state = detector.start(300);
    run(&mut state, 300, &daily(9, 14));
    // Up and down around the mean: no single value is far off.
    let shaking: Vec<f64> = (0..12).map(|it| if it % 2 == 0 { 150.0 } else { 90.0 }).collect();
    let key = fixtures::signal("backend", "latency_p95");
    let (mut newest, mut said) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let mut highest = 0.0_f32;
        for value in &shaking {
            run(&mut state, 300, &[*value]);
            highest = highest.max(state.newness.iter().sum());
            said.push(detector.explain(&state, &key).unwrap().models.remove(1).evidence);
        }
        newest.push(highest);
        run(&mut state, 300, &daily(20 + round, 1));
    }
    assert!(newest[0] > 2.0 && newest[3] < 0.6 * newest[0], "{newest:?}");
    assert!(said.iter().any(|it| it.contains("was hardly ever there before")), "{said:?}");
}

#[test]
fn newness_alone_is_told_too() {
    let detector = detector();
    let mut state = detector.start(300);
    run(&mut state, 300, &daily(9, 14));
    (state.surprises, state.newness) = ([0.0; ALL_FEATURES], [0.0, 6.0]);
    let anomaly = detector.explain(&state, &fixtures::signal("backend", "latency_p95")).unwrap();
    let said: Vec<&str> = anomaly.models.iter().map(|it| it.evidence.as_str()).collect();
    assert_eq!((said[0], said[2]), ("nothing stands out", "nothing stands out"));
    assert!(
        said[1].starts_with("such a mean with such a deviation was hardly ever there before, 100 %"),
        "{said:?}"
    );
}

#[test]
fn a_range_that_shrank_makes_nothing_new() {
    let mut noise = Noise(5);
    let mut values: Vec<f64> = (0..140_000).map(|_| 100.0 + 10.0 * noise.gauss()).collect();
    values[5] = 1e9;
    let mut state = detector().start(30);
    let shrinks = 65_536 + 32_768;
    run(&mut state, 30, &values[..shrinks - 100]);
    let mut newest = 0.0_f32;
    for value in &values[shrinks - 100..shrinks + 2_000] {
        run(&mut state, 30, &[*value]);
        newest = newest.max(state.newness.iter().sum());
    }
    assert!(newest < 1.0, "{newest}");
}

#[test]
fn a_period_of_an_hour_is_found_and_used_and_noise_has_none() {
    let detector = detector();
    let mut state = detector.start(30);
    run(&mut state, 30, &day(9, 3 * 2880, 120.0));
    assert_eq!(state.seasons.cycle_s, 3600);
    assert!(detector.period(&state).is_some(), "a season is in use");
    let mut noise = Noise(10);
    let white: Vec<f64> = (0..3 * 2880).map(|_| noise.gauss()).collect();
    let mut state = detector.start(30);
    run(&mut state, 30, &white);
    assert_eq!((state.seasons.cycle_s, detector.period(&state)), (0, None));
}

#[test]
fn series_that_begin_together_look_for_a_period_one_after_the_other_and_find_the_same() {
    let values = day(15, 3 * 2880, 120.0);
    let looks = |turn: u32| {
        let mut state = detector().start_in_turn(30, turn);
        let found = |slot: &usize| {
            let at_s = BASE_S + *slot as i64 * 30;
            let before = state.ring;
            detector().step(&mut state, at_s, Some(values[*slot]));
            before.waits() < state.ring.waits()
        };
        let slots: Vec<usize> = (0..values.len()).filter(found).collect();
        (slots, state.seasons.cycle_s)
    };
    let all: Vec<(Vec<usize>, u32)> = (0..80).step_by(16).map(looks).collect();
    assert!(all.iter().all(|(_, cycle_s)| *cycle_s == 3600), "{all:?}");
    for pair in all[..4].windows(2) {
        assert!(pair[0].0[0] + 16 * 6 == pair[1].0[0], "{all:?}");
    }
    assert_eq!(all[0], all[4], "turns come again");
    assert!(all.iter().all(|(slots, _)| slots.windows(2).all(|it| it[1] - it[0] == 256 * 6)), "{all:?}");
}

#[test]
fn more_false_alarms_allowed_is_a_higher_score_for_the_same_value() {
    let scores = [0.1, 1.0, 7.0].map(|false_alarms_per_week| {
        let detector = Detector::new(&Settings { false_alarms_per_week, ..Settings::default() });
        let mut state = detector.start(300);
        run(&mut state, 300, &daily(11, 14));
        detector.step(&mut state, BASE_S + 14 * 86_400, Some(330.0)).score.unwrap().get()
    });
    assert!(scores[0] < scores[1] && scores[1] < scores[2], "{scores:?}");
}

/// Mean distance of the expectation from trend and season of the batch decomposition over the last day, in
/// units of the season's amplitude.
fn from_batch(values: &[f64], period: usize, step_s: u32) -> f64 {
    let fit = stlrs::Stl::params().robust(true).fit(values, period).unwrap();
    let detector = detector();
    let mut state = detector.start(step_s);
    let mut apart = 0.0;
    for (index, value) in values.iter().enumerate() {
        let at_s = BASE_S + index as i64 * i64::from(step_s);
        if index + period >= values.len() {
            let batch = fit.trend()[index] + fit.seasonal()[index];
            let expected = state.in_unit(state.seasons.band(at_s, state.step_s).0);
            apart += (expected - batch).abs() / period as f64;
        }
        detector.step(&mut state, at_s, Some(*value));
    }
    apart / 20.0
}

#[test]
fn the_online_decomposition_is_near_the_batch_one_on_seasonal_series() {
    for (values, period, step_s) in [
        (day(12, 21 * 288, 288.0), 288, 300),
        (day(13, 14 * 24, 24.0), 24, 3600),
        (day(14, 2880 * 3, 120.0), 120, 30),
    ] {
        let apart = from_batch(&values, period, step_s);
        assert!(apart < 0.15, "period {period}: {apart}");
    }
}

#[test]
fn the_short_numbers_of_tables_keep_two_digits() {
    for value in [0.0_f32, 1.0, -1.5, 3.0e-9, 123.456, -9.9e12] {
        assert!((long(short(value)) - value).abs() <= value.abs() / 256.0, "{value}");
    }
    assert!(long(pack::EMPTY).is_nan());
}

#[test]
fn bytes_that_are_no_state_are_refused_with_what_to_do() {
    let bytes = detector().start(60).encode();
    let mut later = bytes.clone();
    later[0] = pack::VERSION + 1;
    assert_eq!(State::decode(&later), Err(InvalidState::Version(pack::VERSION + 1)));
    for wrong in [&bytes[..0], &bytes[..bytes.len() - 1], &[bytes.as_slice(), &[0]].concat()] {
        assert!(matches!(State::decode(wrong), Err(InvalidState::Length(_))));
    }
    let mut none = bytes;
    none[9..17].copy_from_slice(&f64::NAN.to_le_bytes());
    assert_eq!(State::decode(&none), Err(InvalidState::Number));
    assert!(InvalidState::Number.to_string().contains("learn the series anew"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_restored_state_is_the_continuous_one_to_the_last_bit(seed in any::<u64>(), cut in 1_usize..1500) {
        let values = day(seed, 1500, 60.0);
        let mut whole = detector().start(60);
        let scores = run(&mut whole, 60, &values);
        let mut first = detector().start(60);
        run(&mut first, 60, &values[..cut]);
        let mut second = State::decode(&first.encode()).unwrap();
        prop_assert_eq!(second, first);
        prop_assert_eq!(run(&mut second, 60, &values[cut..]), scores[cut..].to_vec());
        prop_assert_eq!(second, whole);
    }

    #[test]
    fn any_values_at_any_times_give_a_score_or_none(
        steps in prop::collection::vec((any::<i64>(), prop::option::weighted(0.9, prop::num::f64::ANY)), 0..300),
        step_s in any::<u32>(),
    ) {
        let detector = detector();
        let mut state = detector.start(step_s);
        for (at_s, value) in steps {
            let step = detector.step(&mut state, at_s, value);
            prop_assert!(step.score.is_none() || value.is_some_and(f64::is_finite));
            prop_assert!(step.confidence.get().is_finite());
        }
        prop_assert!(State::decode(&state.encode()).is_ok(), "what is written can be read");
    }

    #[test]
    fn large_and_small_values_in_turn_never_break_the_state(
        values in prop::collection::vec(prop_oneof![-1e300..1e300_f64, -1e-300..1e-300_f64, -1.0..1.0_f64], 500),
    ) {
        let mut state = detector().start(60);
        prop_assert!(run(&mut state, 60, &values).iter().all(|it| (0.0..=1.0).contains(it)));
        prop_assert!(State::decode(&state.encode()).is_ok());
    }

    #[test]
    fn any_bytes_are_refused_or_can_be_gone_on_with(seed in any::<u64>()) {
        let length = detector().start(60).encode().len();
        let mut random = seed;
        let mut bytes: Vec<u8> = (0..length).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as u8
        }).collect();
        bytes[0] = pack::VERSION;
        // Random floats are nearly always finite one by one, never all of them.
        for exponent in bytes.iter_mut().skip(4).step_by(1) { *exponent &= 0x3f; }
        if let Ok(mut state) = State::decode(&bytes) {
            let last_s = state.last_s;
            for later in 1..100 {
                detector().step(&mut state, last_s.saturating_add(later * 60), Some(later as f64));
            }
        }
    }

    #[test]
    fn after_a_level_that_was_adopted_the_averages_are_there_and_after_a_short_incident_where_they_were(
        seed in 0_u64..1000,
        shift in prop_oneof![-2000.0..-200.0_f64, 200.0..2000.0_f64],
        step_s in prop_oneof![Just(60_u32), Just(300)],
        short in 0.01..0.8_f64,
    ) {
        // Noise of 6: a level is adopted after 2 h.
        let level = |seed: u64, length: usize, by: f64| -> Vec<f64> {
            let mut noise = Noise(seed);
            (0..length).map(|_| 180.0 + by + 6.0 * noise.gauss()).collect()
        };
        let means = |state: &State| state.averages.means().map(|it| state.in_unit(it));
        let adopted = 7_200 / step_s as usize;
        let short = (short * adopted as f64).ceil() as usize;
        let mut state = detector().start(step_s);
        // Below 0, so that no mean is cut there.
        run(&mut state, step_s, &[-1.0]);
        run(&mut state, step_s, &level(seed, 3000, 0.0));
        let before = state;
        run(&mut state, step_s, &level(seed + 1, short, shift));
        let crawls = means(&state)[2] - means(&before)[2];
        prop_assert!(crawls.abs() < 0.15 * shift.abs(), "{crawls}");
        run(&mut state, step_s, &level(seed + 2, 2 * adopted - short, shift));
        // Of the last values alone the noise is larger; the long averages forget the level before as fast as they can.
        for (mean, noise) in means(&state).into_iter().zip([12.0, 6.0, 6.0]) {
            prop_assert!((mean - 180.0 - shift).abs() < 0.01 * shift.abs() + noise, "{:?}", means(&state));
        }
    }

    #[test]
    fn unit_and_origin_of_the_signal_do_not_matter(
        seed in any::<u64>(),
        exponent in -12..12_i32,
        // So far that a part of the value is the smallest deviation that means anything, a shift does matter.
        shift in -1e3..1e3_f64,
    ) {
        let values = day(seed, 1500, 60.0);
        let moved: Vec<f64> = values.iter().map(|it| it * 2_f64.powi(exponent)).collect();
        let shifted: Vec<f64> = values.iter().map(|it| it + shift).collect();
        let plain = run(&mut detector().start(60), 60, &values);
        prop_assert_eq!(&run(&mut detector().start(60), 60, &moved), &plain);
        let moved = run(&mut detector().start(60), 60, &shifted);
        // In the first blocks a part of the value may be more than all the noise that was seen.
        for (index, (a, b)) in moved.iter().zip(&plain).enumerate().skip(480) {
            prop_assert!((a - b).abs() < 0.05, "{index}: {a} {b}");
        }
    }

    #[test]
    fn the_farther_a_value_the_higher_what_each_distance_says(
        seed in 0_u64..1000,
        (near, far) in (0.0..3.0_f64, 0.0..3.0_f64),
        up in any::<bool>(),
    ) {
        let mut state = detector().start(60);
        run(&mut state, 60, &day(seed, 1500, 60.0));
        let place = |distance: f64| if up { 230.0 + 100.0 * distance } else { 130.0 - 100.0 * distance };
        // Remainder, season, both averages and movement. What is smoothed may come from the other side.
        let distances = |distance: f64| {
            let mut state = state;
            run(&mut state, 60, &[place(distance)]);
            [0, 1, 8, 9, 11].map(|feature| state.surprises[feature])
        };
        let (near, far) = (distances(near.min(far)), distances(near.max(far)));
        prop_assert!(near.iter().zip(far).all(|(near, far)| far >= *near), "{near:?} {far:?}");
    }
}
