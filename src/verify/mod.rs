//! Did it help? Judges the signal before the change and after the sync.
//! Samples come in, a verdict goes out. Missing data never becomes an answer.

mod target;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use crate::model::policy::VerifySpec;
use crate::model::signal::Series;
use crate::model::verdict::{Outcome, Verdict};

use target::Target;

/// Time after the sync that belongs to neither side: pods become ready, connections move, rates over a
/// minute still remember the old state. Seconds.
pub const SETTLE_S: u32 = 60;

/// Fewer samples than this (or than half the slots of the window) say nothing.
pub const MIN_SAMPLES: usize = 5;

/// Share of the samples that must be inside the target for "recovered", percent.
pub const INSIDE_PERCENT: usize = 90;

/// Worse means farther off by more than this share of the value before.
pub const WORSE_SHARE: f64 = 0.25;

/// What there is to judge by.
#[derive(Debug, Clone, Copy)]
pub struct VerifyInput<'a> {
    pub spec: &'a VerifySpec,
    /// The signal of `spec`; `None` when its source did not answer.
    pub signal: Option<&'a Series>,
    /// The newest sample of `signal` may be this old, seconds; beyond that its source is silent, and silence is no
    /// proof. How late samples arrive depends on the source, so it is the signal's setting.
    pub staleness_s: u32,
    /// The signals of `spec.dependants` for which there is data. Higher is worse.
    pub dependants: &'a [Series],
    /// When the incident started.
    pub incident_since: Timestamp,
    pub merged_at: Timestamp,
    pub synced_at: Timestamp,
    /// Band in which the signal was expected before the incident, in its unit.
    pub expected: Option<(f64, f64)>,
    /// The alert that belongs to the incident has been resolved by its source.
    pub resolved_alert: bool,
}

/// The verdict at `now`, or `None`: too early, look again.
///
/// The after window is the last `window_s` seconds and must lie wholly behind the sync and the settle time.
/// Recovered: at least 90 % of its samples are inside the target, and the signal was outside before. Worse:
/// farther outside than before by a quarter, or a dependant is. NotRecovered: still outside when `within_s`
/// is over, never earlier. Whatever cannot be said by then is Unknown, with the sample counts.
#[must_use]
pub fn judge(input: &VerifyInput<'_>, now: Timestamp) -> Option<Verdict> {
    let settled = later(input.synced_at, SETTLE_S);
    let first_full = later(settled, input.spec.window_s);
    if now < first_full {
        return None;
    }
    let over = now >= later(input.synced_at, input.spec.within_s);
    let case =
        Case { input, now, over, evidence: input.signal.map(|signal| Evidence::of(input, signal, now)) };
    case.outcome().map(|(outcome, text)| case.verdict(outcome, text))
}

/// Whether the signal has been inside its target (below `below`, or inside `expected` when that is `None`)
/// for the last `window_s` seconds, so that the end of a remediation may be proposed. `None`: not enough
/// data to say, or the newest sample is older than `staleness_s`. A signal whose newest value is outside is not calm, however quiet the window before it was:
/// otherwise a surge would count as over in the moment it begins.
#[must_use]
pub fn calm(
    (series, staleness_s): (&Series, u32),
    below: Option<f64>,
    expected: Option<(f64, f64)>,
    window_s: u32,
    now: Timestamp,
) -> Option<bool> {
    let target = Target::of(below, expected)?;
    let window = Window::of(series, earlier(now, window_s), now);
    let (_, newest) = series.last().filter(|(at, _)| is_fresh(*at, staleness_s, now))?;
    if target.off(newest) > 0.0 {
        return Some(false);
    }
    window.is_enough().then(|| target.holds(&window.values))
}

/// The samples of one window, and how many there could have been.
#[derive(Debug)]
struct Window {
    values: Vec<f64>,
    slots: usize,
}

impl Window {
    fn of(series: &Series, from: Timestamp, to: Timestamp) -> Self {
        let length_s = to.duration_since(from).as_secs().max(0);
        let slots = usize::try_from(length_s / i64::from(series.step_s.max(1))).unwrap_or(usize::MAX);
        let mut values = series.between(from, to);
        values.retain(|value| value.is_finite());
        Self { values, slots }
    }

    fn is_enough(&self) -> bool {
        self.values.len() >= MIN_SAMPLES && self.values.len() >= self.slots / 2
    }

    /// The middle value, of an even number the mean of the two; `None` without samples.
    fn median(&self) -> Option<f64> {
        let mut values = self.values.clone();
        values.sort_unstable_by(f64::total_cmp);
        let upper = *values.get(values.len() / 2)?;
        if values.len() % 2 == 1 { Some(upper) } else { Some(values[values.len() / 2 - 1].midpoint(upper)) }
    }

    fn largest(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The two windows of the judged signal.
#[derive(Debug)]
struct Evidence {
    target: Option<Target>,
    before: Window,
    after: Window,
    fresh: bool,
}

impl Evidence {
    fn of(input: &VerifyInput<'_>, signal: &Series, now: Timestamp) -> Self {
        let start = input.incident_since.max(earlier(input.merged_at, input.spec.window_s));
        let start = in_force(signal, input.staleness_s, start);
        let mut before = Window::of(signal, start, input.merged_at);
        if !before.is_enough() {
            // A merge may follow the start of the incident within seconds. Until the sync the change has not
            // taken effect, so those samples are "before" as well.
            before = Window::of(signal, start, input.synced_at);
        }
        Self {
            target: Target::of(input.spec.below, input.expected),
            before,
            after: Window::of(signal, earlier(now, input.spec.window_s), now),
            fresh: signal.newest().is_some_and(|newest| is_fresh(newest, input.staleness_s, now)),
        }
    }
}

struct Case<'a> {
    input: &'a VerifyInput<'a>,
    now: Timestamp,
    /// The time for a verdict is over.
    over: bool,
    evidence: Option<Evidence>,
}

impl Case<'_> {
    fn outcome(&self) -> Option<(Outcome, String)> {
        if let Some(text) = self.worse_dependant() {
            return Some((Outcome::Worse, text));
        }
        match &self.evidence {
            Some(evidence) if evidence.after.is_enough() && evidence.fresh => self.compared(evidence),
            Some(evidence) if !evidence.after.values.is_empty() => {
                let why = if evidence.after.is_enough() { "its newest sample is too old" } else { "too few" };
                self.unknown(&format!(
                    "{} has {} of {} samples after the change: {why}",
                    self.input.spec.signal,
                    evidence.after.values.len(),
                    evidence.after.slots,
                ))
            }
            _ => self.unknown(&format!("{} has no samples after the change", self.input.spec.signal)),
        }
    }

    fn compared(&self, evidence: &Evidence) -> Option<(Outcome, String)> {
        let (Some(target), Some(after)) = (evidence.target, evidence.after.median()) else {
            return self.unknown("there is neither a limit nor a band from before the incident to judge by");
        };
        let facts = self.facts(evidence, target, after);
        let before = evidence.before.median();
        if target.holds(&evidence.after.values) {
            return match before {
                Some(before) if target.off(before) > 0.0 => Some((Outcome::Recovered, facts)),
                Some(_) => self.unknown(&format!("{facts}: it was inside before the change as well")),
                None => self.unknown(&format!("{facts}: nothing is known from before the change")),
            };
        }
        let off = target.off(after);
        if let Some(before) = before.filter(|_| evidence.before.is_enough())
            && off - target.off(before) > WORSE_SHARE * target.scale(before)
        {
            return Some((Outcome::Worse, facts));
        }
        if !self.over {
            return None;
        }
        if off > 0.0 {
            Some((Outcome::NotRecovered, facts))
        } else {
            self.unknown(&format!("{facts}: it comes and goes"))
        }
    }

    /// The first dependant that is clearly worse than in the window before the merge: its median after the
    /// sync is a quarter higher than the median before, and higher than any sample before.
    fn worse_dependant(&self) -> Option<String> {
        let window_s = self.input.spec.window_s;
        self.input.dependants.iter().find_map(|series| {
            let before = Window::of(series, earlier(self.input.merged_at, window_s), self.input.merged_at);
            let after = Window::of(series, earlier(self.now, window_s), self.now);
            let (was, is) = (before.median()?, after.median()?);
            let sure = before.is_enough() && after.is_enough();
            (sure && is > before.largest() && is - was > WORSE_SHARE * was.abs()).then(|| {
                format!(
                    "dependant {} rose from {} ({} samples) to {} ({} samples)",
                    series.key,
                    number(was),
                    before.values.len(),
                    number(is),
                    after.values.len()
                )
            })
        })
    }

    /// Unknown once the time is over; before that there is still something to wait for.
    fn unknown(&self, text: &str) -> Option<(Outcome, String)> {
        self.over.then(|| (Outcome::Unknown, text.to_owned()))
    }

    fn facts(&self, evidence: &Evidence, target: Target, after: f64) -> String {
        let before = evidence.before.median().map_or_else(|| "unknown".into(), number);
        format!(
            "{} went from {before} ({} samples) to {} ({} samples, {} of them {target})",
            self.input.spec.signal,
            evidence.before.values.len(),
            number(after),
            evidence.after.values.len(),
            target.inside(&evidence.after.values),
        )
    }

    fn verdict(&self, outcome: Outcome, mut text: String) -> Verdict {
        if self.input.resolved_alert {
            text.push_str(match outcome {
                Outcome::Recovered => "; the alert is resolved",
                _ => "; the alert is resolved, which alone proves nothing",
            });
        }
        text.push('.');
        let evidence = self.evidence.as_ref();
        let count = |window: Option<&Window>| {
            u32::try_from(window.map_or(0, |window| window.values.len())).unwrap_or(u32::MAX)
        };
        Verdict {
            outcome,
            before: evidence.and_then(|evidence| evidence.before.median()),
            after: evidence.and_then(|evidence| evidence.after.median()),
            samples_before: count(evidence.map(|evidence| &evidence.before)),
            samples_after: count(evidence.map(|evidence| &evidence.after)),
            judged_at: self.now,
            text,
        }
    }
}

/// Time of the sample that is in force at `at`: the newest one that is not later, unless it is too old to count.
/// An incident is noticed between two samples, and the one that showed it lies before that moment; a merge and
/// its sync may both be over before the next one.
fn in_force(series: &Series, staleness_s: u32, at: Timestamp) -> Timestamp {
    let is_known = |index: &usize| series.values[*index].is_some() && series.at(*index) <= at;
    let newest = (0..series.values.len()).rev().find(is_known).map(|index| series.at(index));
    newest.filter(|newest| is_fresh(*newest, staleness_s, at)).unwrap_or(at)
}

fn is_fresh(newest: Timestamp, staleness_s: u32, now: Timestamp) -> bool {
    now <= later(newest, staleness_s)
}

fn later(time: Timestamp, seconds: u32) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
}

fn earlier(time: Timestamp, seconds: u32) -> Timestamp {
    time.checked_sub(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MIN)
}

/// As many digits as a reader needs.
fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => return format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 1e-3 || size == 0.0 => format!("{value:.4}"),
        _ => return format!("{value:.2e}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').into()
}
