//! Each promise of the detector by itself; the whole story is in `story_tests.rs`.

use proptest::prelude::*;

use super::ewma::Ewma;
use super::forest::Forest;
use super::stl::Stl;
use super::story_tests::{Noise, day, series};
use super::*;

fn model_score(model: ModelName, score: f64, weight: f64) -> ModelScore {
    ModelScore { model, score: Score::new(score).unwrap(), weight, evidence: String::new() }
}

fn scored(values: &[f64]) -> Anomaly {
    score(&series(values), &EnsembleSettings::default()).unwrap()
}

#[test]
fn the_worked_example_is_0_876_and_high() {
    let (score, confidence) = combine(&[
        model_score(ModelName::Stl, 0.85, 0.4),
        model_score(ModelName::IsolationForest, 0.90, 0.4),
        model_score(ModelName::Ewma, 0.88, 0.2),
    ]);
    assert!((score.get() - 0.876).abs() < 1e-12, "{score:?}");
    assert_eq!(Severity::of(score), Severity::High);
    let expected = 1.0 - (((0.02667_f64.powi(2)) + 0.02333_f64.powi(2) + 0.00333_f64.powi(2)) / 3.0).sqrt();
    assert!((confidence.get() - expected).abs() < 1e-4, "{confidence:?}");
}

#[test]
fn no_models_give_no_score_and_no_confidence() {
    assert_eq!(combine(&[]), (Score::ZERO, Score::ZERO));
}

#[test]
fn the_shared_scale_is_half_at_3_sigma_and_0_8_at_6() {
    assert!((calibrated(3.0).get() - 0.5).abs() < 1e-12);
    assert!((calibrated(-6.0).get() - 0.8).abs() < 1e-12);
    assert!((calibrated(13.1).get() - 0.95).abs() < 0.01);
    assert_eq!(calibrated(0.0), Score::ZERO);
    assert_eq!(calibrated(f64::NAN), Score::ZERO);
}

#[test]
fn a_gap_in_the_newest_slot_is_not_scored() {
    let mut gap = series(&day(1, 300, 30.0));
    gap.values.push(None);
    assert_eq!(score(&gap, &EnsembleSettings::default()), None);
    gap.values.push(Some(f64::NAN));
    assert_eq!(score(&gap, &EnsembleSettings::default()), None);
}

#[test]
fn fewer_than_two_values_are_not_scored() {
    assert_eq!(score(&series(&[]), &EnsembleSettings::default()), None);
    assert_eq!(score(&series(&[180.0]), &EnsembleSettings::default()), None);
    assert!(score(&series(&[180.0, 181.0]), &EnsembleSettings::default()).is_some());
}

#[test]
fn before_100_samples_the_ewma_votes_alone_and_confidence_says_so() {
    let anomaly = scored(&day(1, 99, 30.0));
    assert!(anomaly.warming_up);
    assert_eq!(anomaly.models.len(), 1);
    assert_eq!((anomaly.models[0].model, anomaly.models[0].weight), (ModelName::Ewma, 1.0));
    assert!(anomaly.confidence.get() <= 0.5);
    let grown = scored(&day(1, 100, 30.0));
    assert!(!grown.warming_up);
    assert_eq!(grown.models.len(), 3);
}

#[test]
fn a_young_signal_does_not_cry_wolf() {
    for seed in 0..20 {
        for length in 2..60 {
            let anomaly = scored(&day(seed, length, 120.0));
            assert!(anomaly.score.get() < 0.8, "seed {seed} length {length}: {anomaly:?}");
        }
    }
}

#[test]
fn a_flat_line_scores_nothing() {
    for value in [0.0, 1.0, -3.5, 1e-300, 1e300] {
        assert_eq!(scored(&vec![value; 400]).score.get(), 0.0, "{value}");
    }
}

#[test]
fn jitter_on_a_flat_line_is_not_an_anomaly() {
    let mut values = vec![100.0; 400];
    values.push(101.0);
    assert!(scored(&values).score.get() < 0.3);
}

#[test]
fn a_jump_off_a_flat_line_is_an_anomaly() {
    for (level, jump) in [(100.0, 200.0), (100.0, 20.0), (0.0, 5.0)] {
        let mut values = vec![level; 400];
        values.push(jump);
        let anomaly = scored(&values);
        assert!(anomaly.score.get() >= 0.85, "{level} -> {jump}: {anomaly:?}");
    }
}

#[test]
fn a_drop_is_an_anomaly_and_the_evidence_says_below() {
    let mut values = day(3, 1200, 120.0);
    values.push(20.0);
    let anomaly = scored(&values);
    assert!(anomaly.score.get() >= 0.85, "{anomaly:?}");
    assert!(anomaly.models[2].evidence.contains("below the moving mean"), "{anomaly:?}");
}

#[test]
fn a_counter_that_is_mostly_zero_does_not_call_every_one_an_anomaly() {
    let mut noise = Noise(3);
    let mut values: Vec<f64> = (0..1000).map(|_| if noise.gauss() > 1.9 { 1.0 } else { 0.0 }).collect();
    values.push(1.0);
    assert!(scored(&values).score.get() < 0.8, "{:?}", scored(&values));
}

#[test]
fn a_steady_climb_is_its_own_normal() {
    let mut noise = Noise(5);
    let values: Vec<f64> = (0..1000).map(|slot| 1000.0 + f64::from(slot) + 3.0 * noise.gauss()).collect();
    assert!(scored(&values).score.get() < 0.6, "{:?}", scored(&values));
}

#[test]
fn gaps_are_bridged_for_the_season_and_never_scored() {
    let values = day(4, 1500, 120.0);
    let mut holes = series(&values);
    for slot in (100..1400).filter(|slot| slot % 7 == 0 || (600..620).contains(slot)) {
        holes.values[slot] = None;
    }
    let anomaly = score(&holes, &EnsembleSettings::default()).unwrap();
    assert_eq!(anomaly.period, Some(120));
    assert!(anomaly.score.get() < 0.6, "{anomaly:?}");
}

#[test]
fn after_a_long_outage_the_season_is_learnt_from_what_came_after_it() {
    let mut outage = series(&day(4, 1500, 60.0));
    for slot in 200..900 {
        outage.values[slot] = None;
    }
    let window = Prepared::of(&outage).unwrap();
    assert_eq!(window.grid.len(), 1500 - 1 - 60 - 900);
    assert_eq!(window.ahead, 61);
    assert_eq!(find_period(&window.grid), Some(60));
}

#[test]
fn only_the_last_24_hours_count() {
    let mut values = vec![9000.0; 500];
    values.extend(day(2, 2880, 120.0));
    let with_history = scored(&values);
    assert_eq!(with_history, Anomaly { at: with_history.at, ..scored(&values[500..]) });
}

#[test]
fn a_given_season_too_long_for_the_window_falls_back_to_the_level() {
    let settings = EnsembleSettings { period: Some(400), ..EnsembleSettings::default() };
    let anomaly = score(&series(&day(2, 600, 120.0)), &settings).unwrap();
    assert!(anomaly.models[0].evidence.contains("no season"), "{anomaly:?}");
    assert_eq!(anomaly.period, None);
}

#[test]
fn the_true_season_is_found() {
    for (length, season) in [(2880, 120), (2880, 24), (2880, 5), (2880, 60), (2880, 360), (240, 24), (400, 7)]
    {
        let found = find_period(&day(1, length, f64::from(season)));
        assert_eq!(found, Some(season), "{length} values");
    }
    let week: Vec<f64> =
        (0..2016).map(|slot| 5.0 + (f64::from(slot) * std::f64::consts::TAU / 288.0).sin()).collect();
    assert_eq!(find_period(&week), Some(288));
    let pulses: Vec<f64> = (0..1200).map(|slot| if slot % 40 < 3 { 9.0 } else { 1.0 }).collect();
    assert_eq!(find_period(&pulses), Some(40));
}

#[test]
fn an_hour_on_a_day_is_two_seasons_and_one_of_any_shape_is_one() {
    let wave = |slot: usize, period: f64| (std::f64::consts::TAU * slot as f64 / period).sin();
    for (hour, day) in [(20.0, 10.0), (10.0, 20.0), (20.0, 20.0), (10.0, 60.0)] {
        let mut noise = Noise(3);
        let mut value = |slot| hour * wave(slot, 60.0) + day * wave(slot, 1440.0) + 4.0 * noise.gauss();
        let values: Vec<f64> = (0..5 * 1440).map(&mut value).collect();
        assert_eq!(find_periods(&values), [60, 1440], "{hour} and {day}");
    }
    let week = |slot: usize| {
        if slot / 24 % 7 < 5 { 30.0 * wave(slot, 24.0) + 60.0 } else { 10.0 * wave(slot, 24.0) }
    };
    let values: Vec<f64> = (0..6 * 168).map(week).collect();
    assert_eq!(find_periods(&values), [24, 168], "days of a week that ends quietly");
    let mut noise = Noise(4);
    let shapes: [&dyn Fn(usize) -> f64; 4] = [
        &|slot| wave(slot, 96.0),
        &|slot| f64::from(u8::from(slot % 96 < 8)),
        &|slot| (slot % 96) as f64 / 48.0,
        &|slot| wave(slot, 96.0).max(0.0) + wave(slot, 32.0).max(0.0),
    ];
    for (index, shape) in shapes.iter().enumerate() {
        let values: Vec<f64> = (0..20 * 96).map(|slot| 10.0 * shape(slot) + noise.gauss()).collect();
        assert_eq!(find_periods(&values).last(), Some(&96), "shape {index}");
        assert!(index == 3 || find_periods(&values).len() == 1, "shape {index}: {:?}", find_periods(&values));
    }
    let white: Vec<f64> = (0..2000).map(|_| noise.gauss()).collect();
    assert!(find_periods(&white).is_empty());
}

#[test]
fn nothing_has_no_season() {
    let mut noise = Noise(11);
    let white: Vec<f64> = (0..1000).map(|_| noise.gauss()).collect();
    let mut level = 0.0;
    let red: Vec<f64> = (0..1000)
        .map(|_| {
            level = 0.9 * level + noise.gauss();
            level
        })
        .collect();
    let trend: Vec<f64> = (0..1000).map(|slot| 0.3 * f64::from(slot)).collect();
    for values in [vec![], vec![1.0], vec![0.0; 500], vec![7.3; 500], white, red, trend, vec![f64::NAN; 500]]
    {
        assert_eq!(find_period(&values), None, "{:?}", values.first());
    }
}

#[test]
fn the_same_seed_gives_the_same_anomaly() {
    let values = day(9, 700, 60.0);
    assert_eq!(scored(&values), scored(&values));
}

#[test]
fn a_sparkline_has_one_character_per_value() {
    assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "▁▂▃▄▅▆▇█");
    assert_eq!(sparkline(&[5.0, 5.0, f64::NAN]), "▁▁ ");
    assert_eq!(sparkline(&[f64::MIN, f64::MAX]), "▁█");
    assert_eq!(sparkline(&[]), "");
}

#[test]
fn evidence_names_numbers_in_the_unit_of_the_signal() {
    let mut values = vec![100.0; 400];
    values.push(300.0);
    let anomaly = scored(&values);
    assert_eq!(
        anomaly.models[0].evidence,
        "residual 200.0 is 200.0 sigma from 0 (expected 100.0, no season), 42 % of the score, from the window alone"
    );
    assert_eq!(anomaly.expected, (97.0, 103.0));
}

/// Scores of the three models and of the ensemble with `newest` at the end of `values`.
fn with_newest(values: &[f64], newest: f64) -> (f64, f64, f64) {
    let mut values = values.to_vec();
    values.push(newest);
    let anomaly = scored(&values);
    let of = |index: usize| anomaly.models[index].score.get();
    (of(0), of(2), anomaly.score.get())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_farther_the_newest_value_the_higher_the_score(
        seed in 0_u64..1000,
        (near, far) in (0.0..3.0_f64, 0.0..3.0_f64),
        up in any::<bool>(),
    ) {
        let values = day(seed, 360, 40.0);
        let (near, far) = (near.min(far), near.max(far));
        let place = |distance: f64| if up { 230.0 + 100.0 * distance } else { 130.0 - 100.0 * distance };
        let (stl, ewma, ensemble) = with_newest(&values, place(near));
        let (stl_far, ewma_far, ensemble_far) = with_newest(&values, place(far));
        prop_assert!(stl_far >= stl && ewma_far >= ewma);
        // The forest's cuts are steps, so it may step back a little.
        prop_assert!(ensemble_far >= ensemble - 0.02, "{ensemble} then {ensemble_far}");
    }

    #[test]
    fn any_window_gives_finite_scores_or_none(
        values in prop::collection::vec(prop::option::weighted(0.9, prop::num::f64::ANY), 0..260),
        period in prop::option::of(any::<u32>()),
        step_s in prop_oneof![Just(0_u32), Just(1), Just(30), Just(86_400), any::<u32>()],
    ) {
        let series = Series { values, step_s, ..series(&[]) };
        let settings = EnsembleSettings { period, ..EnsembleSettings::default() };
        if let Some(anomaly) = score(&series, &settings) {
            prop_assert!(series.values.last().is_some_and(Option::is_some));
            prop_assert!(anomaly.score.get().is_finite() && anomaly.confidence.get().is_finite());
            prop_assert!(anomaly.expected.0.is_finite() && anomaly.expected.1.is_finite());
            prop_assert!(anomaly.expected.0 <= anomaly.expected.1);
            let weights: f64 = anomaly.models.iter().map(|model| model.weight).sum();
            prop_assert!((weights - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_unit_of_the_signal_does_not_matter(
        seed in 0_u64..1000,
        newest in 100.0..400.0_f64,
        exponent in -12..12_i32,
    ) {
        let mut values = day(seed, 360, 40.0);
        values.push(newest);
        let scaled: Vec<f64> = values.iter().map(|value| value * 10_f64.powi(exponent)).collect();
        prop_assert!((scored(&values).score.get() - scored(&scaled).score.get()).abs() < 0.01);
    }

    #[test]
    fn the_level_of_the_signal_hardly_matters(
        seed in 0_u64..1000,
        newest in 300.0..500.0_f64,
        shift in -100.0..300.0_f64,
    ) {
        let mut values = day(seed, 360, 40.0);
        values.push(newest);
        let shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
        prop_assert!((scored(&values).score.get() - scored(&shifted).score.get()).abs() < 0.05);
    }

    #[test]
    fn a_season_is_never_longer_than_a_third_of_the_values(
        values in prop::collection::vec(-1e300..1e300_f64, 0..200),
    ) {
        if let Some(period) = find_period(&values) {
            prop_assert!(period >= 3 && period as usize * 3 <= values.len());
        }
    }

    #[test]
    fn every_model_stands_alone(
        seed in any::<u64>(),
        length in 2_usize..300,
        period in prop::option::of(0_u32..200),
    ) {
        let window = Prepared::of(&series(&day(seed, length, 30.0))).unwrap();
        for model in [&Stl { period } as &dyn Model, &Forest { seed }, &Ewma {}] {
            prop_assert!((0.0..1.0).contains(&model.score(&window).score.get()));
        }
    }
}

#[test]
fn a_series_of_which_nobody_knows_anything_is_judged_by_a_stream_of_all_of_it_and_a_short_one_by_itself() {
    let wave = |slot: usize| 100.0 + 40.0 * (slot as f64 / 60.0 * std::f64::consts::TAU).sin();
    let judged = |values: Vec<f64>| {
        judge(&Series { step_s: 60, ..series(&values) }, &EnsembleSettings::default()).unwrap()
    };
    let calm = judged((0..2_000).map(wave).collect());
    assert_eq!((calm.method, calm.period), (Method::Stream, Some(60)));
    assert!(calm.score.get() < 0.2, "{calm:?}");
    let surge = judged((0..2_000).map(wave).chain([400.0]).collect());
    assert!(surge.score.get() > 0.9, "{surge:?}");
    let short = judged((0..150).map(wave).chain([400.0]).collect());
    assert_eq!(short.method, Method::Window);
    for model in surge.models.iter().chain(&short.models).filter(|it| it.score.get() > 0.1) {
        assert!(model.evidence.contains("% of the score"), "{model:?}");
    }
}

#[test]
fn a_short_season_in_a_long_window_is_told_and_not_a_multiple_of_it() {
    // An hour of pulses, or of teeth, is no whole number of the averages that long seasons are looked for on.
    let mut noise = Noise(5);
    for days in [3, 5, 7] {
        for shape in [|at: f64| f64::from(u8::from(at < 0.1)), |at: f64| at] {
            let mut value =
                |slot: usize| 100.0 + 40.0 * shape((slot % 120) as f64 / 120.0) + 4.0 * noise.gauss();
            let values: Vec<f64> = (0..days * 2_880).map(&mut value).collect();
            assert_eq!(find_periods(&values), [120], "{days} days");
        }
    }
}
