//! The verdicts, one story each: an incident from 0 s, merged at 120 s, synced at 180 s.

use proptest::prelude::*;

use super::*;
use crate::model::fixtures::{at, signal, verify_spec};

/// Slots of 30 s from -3600 s on; `value` gives the value at a second, `None` a gap.
fn series(name: &str, until_s: i64, value: impl Fn(i64) -> Option<f64>) -> Series {
    Series {
        key: signal("backend", name),
        start: at(-3600),
        step_s: 30,
        values: (-120..=until_s / 30).map(|slot| value(slot * 30)).collect(),
    }
}

/// Incident from 0 s, merged at 120 s, synced at 180 s; window 600 s, verdict within 1200 s of the sync.
struct Story {
    spec: VerifySpec,
    signal: Option<Series>,
    dependants: Vec<Series>,
    expected: Option<(f64, f64)>,
    resolved: bool,
    since: i64,
    merged: i64,
    synced: i64,
}

impl Story {
    fn new(value: impl Fn(i64) -> Option<f64>) -> Self {
        Self {
            spec: verify_spec(),
            signal: Some(series("latency_p95", 4000, value)),
            dependants: Vec::new(),
            expected: None,
            resolved: false,
            since: 0,
            merged: 120,
            synced: 180,
        }
    }

    fn after(after_s: i64, after: f64) -> Self {
        Self::new(move |s| {
            Some(if s < 0 {
                180.0
            } else if s <= after_s {
                520.0
            } else {
                after
            })
        })
    }

    fn judge(&self, now_s: i64) -> Option<Verdict> {
        let known = self.signal.as_ref().map(|signal| {
            let slots = usize::try_from((now_s + 3600) / 30 + 1).unwrap();
            Series { values: signal.values[..slots.min(signal.values.len())].to_vec(), ..signal.clone() }
        });
        let input = VerifyInput {
            spec: &self.spec,
            signal: known.as_ref(),
            staleness_s: STALENESS_S,
            dependants: &self.dependants,
            incident_since: at(self.since),
            merged_at: at(self.merged),
            synced_at: at(self.synced),
            expected: self.expected,
            resolved_alert: self.resolved,
        };
        judge(&input, at(now_s))
    }

    fn outcome(&self, now_s: i64) -> Option<Outcome> {
        self.judge(now_s).map(|verdict| verdict.outcome)
    }
}

const STALENESS_S: u32 = 150;
/// The end of the first full window behind the sync and the settle time.
const FULL_S: i64 = 180 + 60 + 600;
/// The end of the time for a verdict.
const OVER_S: i64 = 180 + 1200;

#[test]
fn recovered_when_the_whole_window_after_the_sync_is_below_the_limit() {
    let verdict = Story::after(200, 210.0).judge(FULL_S).unwrap();
    assert_eq!(verdict.outcome, Outcome::Recovered);
    assert_eq!((verdict.before, verdict.after), (Some(520.0), Some(210.0)));
    assert_eq!((verdict.samples_before, verdict.samples_after), (5, 21));
    assert_eq!(
        verdict.text,
        "backend/latency_p95 went from 520 (5 samples) to 210 (21 samples, 21 of them below 250)."
    );
}

#[test]
fn no_verdict_before_a_whole_window_lies_behind_the_sync() {
    let story = Story::after(200, 210.0);
    assert_eq!(story.outcome(FULL_S - 1), None);
    assert_eq!(story.outcome(100), None);
}

#[test]
fn a_slow_recovery_is_waited_for_and_then_recognised() {
    let story = Story::after(600, 210.0);
    assert_eq!(story.outcome(FULL_S), None);
    assert_eq!(story.outcome(1230), Some(Outcome::Recovered));
}

#[test]
fn not_recovered_is_claimed_only_when_the_time_is_over() {
    let story = Story::after(200, 500.0);
    assert_eq!(story.outcome(FULL_S), None);
    assert_eq!(story.outcome(OVER_S - 1), None);
    assert_eq!(story.outcome(OVER_S), Some(Outcome::NotRecovered));
}

#[test]
fn a_value_at_the_limit_has_not_recovered() {
    assert_eq!(Story::after(200, 250.0).outcome(OVER_S), Some(Outcome::NotRecovered));
}

#[test]
fn worse_when_the_signal_is_a_quarter_farther_off_than_before() {
    assert_eq!(Story::after(200, 700.0).outcome(FULL_S), Some(Outcome::Worse));
    assert_eq!(Story::after(200, 600.0).outcome(FULL_S), None);
}

#[test]
fn worse_names_the_dependant_even_when_the_signal_recovered() {
    let mut story = Story::after(200, 210.0);
    story.dependants.push(series("db_latency", FULL_S, |s| Some(if s <= 200 { 5.0 } else { 20.0 })));
    let verdict = story.judge(FULL_S).unwrap();
    assert_eq!(verdict.outcome, Outcome::Worse);
    assert_eq!(verdict.text, "dependant backend/db_latency rose from 5 (21 samples) to 20 (21 samples).");
}

#[test]
fn a_dependant_without_data_or_with_its_usual_noise_says_nothing() {
    let mut story = Story::after(200, 210.0);
    story.dependants.push(series("no_data", FULL_S, |_| None));
    story.dependants.push(series("relieved", FULL_S, |s| Some(if s <= 200 { 90.0 } else { 30.0 })));
    story.dependants.push(series("noisy", FULL_S, |s| Some(if s % 90 == 0 { 20.0 } else { 5.0 })));
    assert_eq!(story.outcome(FULL_S), Some(Outcome::Recovered));
}

#[test]
fn unknown_when_the_source_is_silent_and_only_when_the_time_is_over() {
    let story = Story::new(|s| (s < 200).then_some(520.0));
    assert_eq!(story.outcome(FULL_S), None);
    let verdict = story.judge(OVER_S).unwrap();
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert_eq!((verdict.samples_before, verdict.samples_after), (5, 0));
    assert_eq!(verdict.text, "backend/latency_p95 has no samples after the change.");
}

#[test]
fn unknown_when_the_source_did_not_answer_at_all() {
    let mut story = Story::after(200, 210.0);
    story.signal = None;
    assert_eq!(story.outcome(FULL_S), None);
    assert_eq!(story.outcome(OVER_S), Some(Outcome::Unknown));
}

#[test]
fn too_few_samples_are_unknown_with_their_count() {
    let story = Story::new(|s| if s <= 200 { Some(520.0) } else { (s % 120 == 0).then_some(210.0) });
    let verdict = story.judge(OVER_S).unwrap();
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert!(verdict.text.contains("5 of 20 samples"), "{}", verdict.text);
}

#[test]
fn a_source_that_fell_silent_after_good_samples_does_not_prove_recovery() {
    let story = Story::new(|s| match s {
        ..=200 => Some(520.0),
        201..=640 => Some(210.0),
        _ => None,
    });
    assert_eq!(story.outcome(FULL_S), None);
}

#[test]
fn a_resolved_alert_alone_is_unknown_and_says_so() {
    let mut story = Story::new(|_| None);
    story.resolved = true;
    let verdict = story.judge(OVER_S).unwrap();
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert!(verdict.text.ends_with("the alert is resolved, which alone proves nothing."), "{}", verdict.text);
}

#[test]
fn unknown_when_the_signal_was_never_outside() {
    assert_eq!(Story::new(|_| Some(180.0)).outcome(FULL_S), None);
    assert_eq!(Story::new(|_| Some(180.0)).outcome(OVER_S), Some(Outcome::Unknown));
}

#[test]
fn unknown_when_nothing_is_known_from_before() {
    let story = Story::new(|s| (s > 200).then_some(180.0));
    assert_eq!(story.outcome(OVER_S), Some(Outcome::Unknown));
}

#[test]
fn a_signal_that_comes_and_goes_is_unknown() {
    let story = Story::new(|s| Some(if s <= 200 || s % 120 == 0 { 520.0 } else { 210.0 }));
    assert_eq!(story.outcome(OVER_S), Some(Outcome::Unknown));
}

#[test]
fn one_outlier_in_the_window_does_not_deny_recovery() {
    let story = Story::new(|s| Some(if s <= 200 || s == 600 { 520.0 } else { 210.0 }));
    assert_eq!(story.outcome(FULL_S), Some(Outcome::Recovered));
}

#[test]
fn samples_between_merge_and_sync_count_as_before_when_the_merge_was_fast() {
    let mut story = Story::after(60, 210.0);
    (story.merged, story.synced) = (0, 60);
    let verdict = story.judge(60 + 60 + 600).unwrap();
    assert_eq!((verdict.outcome, verdict.samples_before), (Outcome::Recovered, 3));
}

#[test]
fn the_sample_that_showed_the_incident_is_before_the_change_however_fast_the_sync_was() {
    let mut story = Story::after(0, 210.0);
    (story.since, story.merged, story.synced) = (17, 18, 25);
    let verdict = story.judge(25 + 60 + 600).unwrap();
    assert_eq!(
        (verdict.outcome, verdict.before, verdict.samples_before),
        (Outcome::Recovered, Some(520.0), 1)
    );
}

#[test]
fn a_sample_from_long_before_the_incident_says_nothing_about_it() {
    let mut story = Story::new(|s| if s <= -300 { Some(520.0) } else { (s > 60).then_some(210.0) });
    (story.since, story.merged, story.synced) = (17, 18, 25);
    assert_eq!(story.outcome(25 + 1200), Some(Outcome::Unknown));
}

#[test]
fn without_a_limit_the_band_from_before_the_incident_is_the_target() {
    let mut story = Story::after(200, 190.0);
    story.spec.below = None;
    assert_eq!(story.outcome(OVER_S), Some(Outcome::Unknown));
    story.expected = Some((150.0, 210.0));
    assert_eq!(story.outcome(FULL_S), Some(Outcome::Recovered));
    let mut fallen = Story::after(200, 20.0);
    fallen.spec.below = None;
    fallen.expected = Some((150.0, 210.0));
    assert_eq!(fallen.outcome(OVER_S), Some(Outcome::NotRecovered));
}

#[test]
fn the_time_for_a_verdict_is_never_shorter_than_one_window() {
    let mut story = Story::after(200, 500.0);
    story.spec.within_s = 10;
    assert_eq!(story.outcome(FULL_S - 1), None);
    assert_eq!(story.outcome(FULL_S), Some(Outcome::NotRecovered));
}

#[test]
fn samples_that_always_arrive_late_are_judged_within_the_staleness_of_their_signal() {
    let late_s = i64::from(STALENESS_S);
    for (silent_s, expected) in [(late_s, Outcome::Recovered), (late_s + 30, Outcome::Unknown)] {
        let newest = OVER_S - silent_s;
        let story = Story::new(move |s| match s {
            ..=200 => Some(if s < 0 { 180.0 } else { 520.0 }),
            _ => (s <= newest).then_some(180.0),
        });
        assert_eq!(story.outcome(OVER_S), Some(expected), "silent for {silent_s} s");
    }
}

#[test]
fn calm_needs_data_and_a_target() {
    let quiet = series("latency_p95", 600, |_| Some(180.0));
    assert_eq!(calm((&quiet, STALENESS_S), Some(250.0), None, 600, at(600)), Some(true));
    assert_eq!(calm((&quiet, STALENESS_S), Some(150.0), None, 600, at(600)), Some(false));
    assert_eq!(calm((&quiet, STALENESS_S), None, Some((100.0, 200.0)), 600, at(600)), Some(true));
    assert_eq!(calm((&quiet, STALENESS_S), None, None, 600, at(600)), None);
    assert_eq!(calm((&quiet, STALENESS_S), Some(250.0), None, 600, at(1000)), None);
    let empty = series("latency_p95", 600, |_| None);
    assert_eq!(calm((&empty, STALENESS_S), Some(250.0), None, 600, at(600)), None);
}

proptest! {
    #[test]
    fn missing_data_never_turns_into_recovered_or_not_recovered(
        keep in prop::collection::vec(any::<bool>(), 21),
        after in prop_oneof![Just(210.0), Just(520.0)],
    ) {
        let known = keep.iter().filter(|keep| **keep).count();
        let story = Story::new(move |s| match s {
            ..=200 => Some(520.0),
            _ if s <= OVER_S - 600 => None,
            _ => keep[usize::try_from((OVER_S - s).max(0) / 30).unwrap() % 21].then_some(after),
        });
        let outcome = story.outcome(OVER_S).unwrap();
        if known < 10 {
            prop_assert_eq!(outcome, Outcome::Unknown);
        }
        prop_assert!(!(after > 250.0 && outcome == Outcome::Recovered));
        prop_assert!(!(after < 250.0 && outcome == Outcome::NotRecovered));
    }

    #[test]
    fn any_numbers_and_times_give_a_verdict_or_none(
        values in prop::collection::vec(prop::option::of(prop::num::f64::ANY), 0..80),
        (since, merged, synced, now) in (-4000_i64..4000, -4000_i64..4000, -4000_i64..4000, -4000_i64..4000),
        below in prop::option::of(prop::num::f64::ANY),
    ) {
        let signal = Series { key: signal("backend", "latency_p95"), start: at(-1000), step_s: 30, values };
        let mut spec = verify_spec();
        spec.below = below;
        let input = VerifyInput {
            spec: &spec,
            signal: Some(&signal),
            staleness_s: STALENESS_S,
            dependants: std::slice::from_ref(&signal),
            incident_since: at(since),
            merged_at: at(merged),
            synced_at: at(synced),
            expected: None,
            resolved_alert: true,
        };
        if let Some(verdict) = judge(&input, at(now)) {
            prop_assert!(verdict.before.is_none_or(f64::is_finite));
            prop_assert!(verdict.after.is_none_or(f64::is_finite));
        }
    }
}

#[test]
fn a_surge_is_not_calm_in_the_moment_it_begins() {
    let mut surging = series("latency_p95", 600, |_| Some(180.0));
    let newest = surging.values.iter().rposition(Option::is_some).unwrap();
    surging.values[newest] = Some(900.0);
    let now = surging.at(newest);
    assert_eq!(calm((&surging, STALENESS_S), Some(250.0), None, 600, now), Some(false));
    surging.values[newest] = Some(180.0);
    assert_eq!(calm((&surging, STALENESS_S), Some(250.0), None, 600, now), Some(true));
}
