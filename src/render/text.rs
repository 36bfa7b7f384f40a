//! The words every surface shares: the decision sentence and its parts. A record comes in, plain text of one
//! line goes out, without Markdown; whoever shows it escapes it for the place it goes to.

use jiff::Timestamp;

use super::escape::{name, one_line};
use crate::model::action::{ActionState, MergedBy, Purpose, RemediationAction, RiskClass};
use crate::model::anomaly::Anomaly;
use crate::model::change::{FieldChange, shown};
use crate::model::correlation::Correlation;
use crate::model::forecast::Forecast;
use crate::model::playbook::Plan;
use crate::model::policy::Mode;
use crate::model::reason::ReasonCode;
use crate::model::request;

/// Longest part of a sentence, characters.
const MAX_PART_CHARS: usize = 240;

/// Longest value that a person would type to undo a change, bytes.
const MAX_TYPED_BYTES: usize = 60;

/// What, why, who merges, how to undo: the one sentence (of four) that the pull request, the command line,
/// the notification and the event all show.
#[must_use]
pub fn decision_sentence(record: &RemediationAction) -> String {
    format!("{} {}. {} Undo: {}.", what(record), why(record), who(record), undo(record))
}

/// `Scale out shop/backend from 3 to 5 replicas`.
pub fn what(record: &RemediationAction) -> String {
    let target = &record.spec.target;
    let object = format!("{}/{}", target.namespace, target.name);
    match &record.spec.plan {
        Plan::Scale { from, to, autoscaler: None } => {
            let verb = if to > from { "Scale out" } else { "Scale in" };
            format!("{verb} {object} from {from} to {to} replicas")
        }
        Plan::Scale { from, to, autoscaler: Some(hpa) } => {
            let verb = if to > from { "Scale out" } else { "Scale in" };
            format!(
                "{verb} {object} from at least {from} to at least {to} replicas (autoscaler {})",
                hpa.name
            )
        }
        Plan::Images { images, .. } => match &images[..] {
            [one] => format!("Roll back {object} to {}", one_line(&brief(shown(Some(&one.to))), 120)),
            many => format!("Roll back {} images of {object}", many.len()),
        },
        Plan::PodTemplate { good } => format!("Roll back the pod template of {object} to {}", good.short()),
        Plan::Restart { .. } => format!("Restart {object}"),
        Plan::Undo { changes } => undo_title(&object, changes, &record.spec.purpose),
    }
}

fn undo_title(object: &str, changes: &[FieldChange], purpose: &Purpose) -> String {
    let verb = if matches!(purpose, Purpose::Revert { .. }) { "Revert" } else { "Take back" };
    match changes {
        [one] if one.is_sealed() => format!("{verb} {} of {object}", one_line(&one.field, 120)),
        [FieldChange { field, from: Some(from), to: Some(to), .. }] if is_count(field) => {
            let verb = if matches!(purpose, Purpose::Revert { .. }) { "Revert" } else { "Scale back" };
            format!("{verb} {object} from {from} to {to} replicas")
        }
        [FieldChange { field, from: Some(from), .. }] if is_count(field) => {
            format!("{verb} the count of {from} replicas set for {object}")
        }
        [one] => format!("{verb} {} of {object}", one_line(&one.field, 120)),
        many => format!("{verb} {} fields of {object}", many.len()),
    }
}

pub fn is_count(field: &str) -> bool {
    let field = field.rsplit('|').next().unwrap_or_default();
    matches!(field, "spec.replicas" | "spec.minReplicas" | "spec.minReplicaCount")
        || field.contains("replicas[name=") && field.ends_with("].count")
}

/// `because backend/latency_p95 is 520, expected 150 to 230, since 10:00Z`.
pub fn why(record: &RemediationAction) -> String {
    match &record.spec.purpose {
        Purpose::Revert { of } if record.spec.cause.trigger == request::TRIGGER => {
            return format!("because a person asked to undo {of}");
        }
        Purpose::Expire { of } => return format!("because {of} helped and is no longer needed"),
        Purpose::Revert { of } => return format!("because {of} did not help"),
        Purpose::Remediate => {}
    }
    let cause = &record.spec.cause;
    let since = clock(cause.since);
    if let Some(first) = cause.anomalies.first() {
        let more = match cause.anomalies.len() {
            1 => String::new(),
            n => format!(" (and {} more signals)", n - 1),
        };
        return format!("because {}{more} since {since}", reading(first));
    }
    if let Some(first) = cause.forecasts.first() {
        return format!("because {} since {since}", outlook(first));
    }
    match cause.alerts.first() {
        Some(alert) => format!("because the alert {} fires since {since}", name(alert.name())),
        None => {
            let key: Vec<String> = cause.key.split(' ').map(name).collect();
            format!("because of {} since {since}", one_line(&key.join(" "), MAX_PART_CHARS))
        }
    }
}

/// What the calls between services say: the way to the suspected cause, then those that are its victims.
pub fn correlation(correlation: &Correlation) -> Vec<String> {
    let way = one_line(&correlation.to_string(), MAX_PART_CHARS);
    let victims = correlation.victims.iter().map(|it| one_line(it, MAX_PART_CHARS));
    let blamed = victims.map(|it| format!("{it} is in trouble too and calls it, directly or not"));
    std::iter::once(way).chain(blamed).collect()
}

/// `backend/latency_p95 is 520, expected 150 to 230,`.
fn reading(anomaly: &Anomaly) -> String {
    let (low, high) = anomaly.expected;
    format!("{} is {}, expected {} to {},", anomaly.key, number(anomaly.value), number(low), number(high))
}

/// `backend/latency_p95 is 180 and is forecast to cross 250 within 20m (p 0.93),`.
pub fn outlook(forecast: &Forecast) -> String {
    let (value, limit) = (number(forecast.value), number(forecast.crossing.limit()));
    let (within, probability) = (forecast.within(), score(forecast.probability.get()));
    format!("{} is {value} and is forecast to cross {limit} within {within} (p {probability}),", forecast.key)
}

/// Who decides, in one sentence.
pub fn who(record: &RemediationAction) -> String {
    let hold = record.status.holds.first();
    if let Some(merge) = &record.status.merge {
        let by = match merge.by {
            MergedBy::Tars => "It merged by itself",
            MergedBy::Person => "A person merged it",
        };
        return format!("{by} at {} as {}.", clock(merge.at), merge.commit.short());
    }
    if record.state() == ActionState::Closed {
        return "It was closed without merging.".into();
    }
    match (record.spec.mode, hold) {
        (Mode::Observe, _) => "Nothing is written: the policy only observes.".into(),
        _ if merges_itself(record) => "It merges by itself when its checks pass.".into(),
        (_, Some(hold)) => {
            format!("A person merges it: {}.", one_line(hold.text.trim_end_matches('.'), MAX_PART_CHARS))
        }
        (Mode::Propose, None) => "A person merges it: the policy only proposes.".into(),
        (Mode::AutoMerge, None) => format!(
            "A person merges it: {} risk, {}.",
            risk_word(record.spec.risk.class),
            one_line(&record.spec.risk.reason, MAX_PART_CHARS)
        ),
    }
}

/// Would this merge without a person, as far as the record knows?
pub fn merges_itself(record: &RemediationAction) -> bool {
    record.spec.mode == Mode::AutoMerge
        && (record.spec.purpose == Purpose::Remediate || record.spec.auto_revert)
        && record.status.holds.iter().all(|hold| passes_by_itself(hold.code))
        && record.spec.risk.class == RiskClass::Low
}

/// Does this hold end without anybody doing anything about it?
pub fn passes_by_itself(code: ReasonCode) -> bool {
    use ReasonCode as C;
    matches!(
        code,
        C::ChecksNotGreen
            | C::PullRequestMissing
            | C::ForgeUnreachable
            | C::RemoteUnreachable
            | C::DetectorLost
    )
}

pub fn risk_word(class: RiskClass) -> &'static str {
    match class {
        RiskClass::Low => "low",
        RiskClass::Medium => "medium",
        RiskClass::High => "high",
    }
}

/// How to take it back by hand, and when tars proposes to.
pub fn undo(record: &RemediationAction) -> String {
    let by_hand = match fields(record) {
        [] => "revert this commit".to_owned(),
        [one] if one.is_sealed() => "revert this commit".to_owned(),
        [one] => match &one.from {
            // Nobody types a digest; the diff has it.
            Some(from) if from.len() > MAX_TYPED_BYTES => "revert this commit".to_owned(),
            Some(from) => {
                format!("set {} back to {} in {}", one_line(&one.field, 120), one_line(from, 120), one.file)
            }
            None => format!("remove {} from {}", one_line(&one.field, 120), one.file),
        },
        _ => "revert this commit".to_owned(),
    };
    match record.spec.revert_after_s.filter(|_| record.spec.purpose == Purpose::Remediate) {
        Some(after_s) => format!("{by_hand}; tars proposes it {} after recovery", duration(after_s)),
        None => by_hand,
    }
}

/// An image without most of its digest, which the diff has whole.
pub fn brief(value: &str) -> String {
    const SHOWN: usize = "sha256:".len() + 12;
    match value.split_once('@') {
        Some((name, digest)) if digest.starts_with("sha256:") => match digest.get(..SHOWN) {
            Some(start) => format!("{name}@{start}…"),
            None => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

/// The fields that change, as far as they are known: an undo knows them before it is rendered.
pub fn fields(record: &RemediationAction) -> &[FieldChange] {
    record.spec.change.as_ref().map_or(&[], |change| &change.fields)
}

/// What counts as recovered.
pub fn verify(record: &RemediationAction) -> String {
    let spec = &record.spec.verify;
    let goal = match spec.below {
        Some(limit) => format!("below {}", number(limit)),
        None => "back in its expected band".to_owned(),
    };
    let window = duration(spec.window_s);
    format!("{} {goal} for {window}, within {} of the sync", spec.signal, duration(spec.within_s))
}

/// `90s`, `15min`, `2h`.
pub fn duration(seconds: u32) -> String {
    match seconds {
        s if s >= 3600 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{}min", s / 60),
        s => format!("{s}s"),
    }
}

/// `2026-11-23T10:00Z`: minutes are enough for people, the ledger has the rest.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// A measured value without noise: whole from 100 up, at most two decimals from 1 up, else three significant
/// digits, because an error ratio of 0.0014 is not 0.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".into();
    }
    let size = value.abs();
    let decimals = match size {
        _ if size >= 100.0 => return format!("{value:.0}"),
        _ if !(f64::MIN_POSITIVE..1.0).contains(&size) => 2,
        // Between 1e-308 and 1 the logarithm lies in -308..0.
        _ => (2.0 - size.log10().floor()).min(12.0) as usize,
    };
    let text = format!("{value:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A score or confidence in 0..=1.
pub fn score(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::anomaly::Score;
    use crate::model::fixtures::{anomaly, at, proposed, signal, target};
    use crate::model::forecast::Crossing;
    use crate::model::reason::Reason;

    fn record() -> RemediationAction {
        let mut record = proposed("backend-latency", &target("shop/Deployment/backend"), 7, at(0));
        record.spec.cause.anomalies = vec![anomaly(signal("backend", "latency_p95"), 0.9, at(0))];
        record
    }

    #[test]
    fn a_forecast_is_told_with_its_limit_its_time_and_its_probability() {
        let mut record = proposed("backend-latency", &target("shop/Deployment/backend"), 7, at(0));
        record.spec.cause.forecasts = vec![Forecast {
            key: signal("backend", "latency_p95"),
            at: at(0),
            value: 180.0,
            crossing: Crossing::Above(250.0),
            within_s: 1_200,
            probability: Score::new(0.93).unwrap(),
            expected: 260.0,
            interval: (240.0, 280.0),
        }];
        let expected =
            "because backend/latency_p95 is 180 and is forecast to cross 250 within 20m (p 0.93), since";
        assert!(why(&record).starts_with(expected), "{}", why(&record));
    }

    #[test]
    fn the_sentence_says_what_why_who_and_how_to_undo() {
        assert_eq!(
            decision_sentence(&record()),
            "Scale out shop/backend from 3 to 5 replicas because backend/latency_p95 is 520, expected 150 to \
             230, since 2026-11-23T10:00Z. It merges by itself when its checks pass. Undo: set spec.replicas \
             back to 3 in apps/backend.yaml; tars proposes it 1h after recovery."
        );
    }

    #[test]
    fn a_held_action_names_the_hold_and_never_promises_to_merge_itself() {
        let mut record = record();
        record.status.holds = vec![Reason::new(ReasonCode::BudgetExhausted, "2 of 2 used this hour")];
        assert!(decision_sentence(&record).contains("A person merges it: 2 of 2 used this hour."));
        record.status.holds.clear();
        record.spec.risk.class = RiskClass::High;
        assert!(decision_sentence(&record).contains("A person merges it: high risk"));
        record.spec.mode = Mode::Observe;
        assert!(decision_sentence(&record).contains("Nothing is written"));
    }

    #[test]
    fn a_digest_is_shown_as_far_as_people_compare_it() {
        let image = format!("registry.example/api:2.4.0@sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(brief(&image), "registry.example/api:2.4.0@sha256:0123456789ab…");
        assert_eq!(brief("api:1@sha256:"), "api:1@sha256:");
        let mut record = record();
        if let Some(change) = &mut record.spec.change {
            change.fields[0].from = Some(image);
        }
        assert!(undo(&record).starts_with("revert this commit"), "{}", undo(&record));
    }

    #[test]
    fn an_undo_reads_as_going_back() {
        let mut record = record();
        let of = record.id().clone();
        record.spec.purpose = Purpose::Expire { of: of.clone() };
        let swap = |it: &FieldChange| FieldChange { from: it.to.clone(), to: it.from.clone(), ..it.clone() };
        record.spec.plan = Plan::Undo { changes: fields(&record).iter().map(swap).collect() };
        assert_eq!(what(&record), "Scale back shop/backend from 5 to 3 replicas");
        record.spec.purpose = Purpose::Revert { of };
        assert_eq!(what(&record), "Revert shop/backend from 5 to 3 replicas");
        assert!(why(&record).ends_with("did not help"));
    }
}
