//! What happened to an action, as Events of a cluster. A record comes in; the moments worth telling, and the object for each,
//! go out. A name is made from what it tells, so the same moment told by two replicas is one Event.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::condition::time;
use crate::model::action::{API_VERSION, ActionState, MergedBy, Purpose, RemediationAction};
use crate::model::ids::digest_hex;
use crate::model::reason::ReasonCode;
use crate::model::verdict::Outcome;

/// Longest note in bytes; a server takes 1024.
const NOTE_BYTES_MAX: usize = 1_000;
/// Longest name of who reports, in bytes.
const INSTANCE_BYTES_MAX: usize = 128;
const CONTROLLER: &str = "aiops.tars/tars";

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub reason: &'static str,
    pub is_warning: bool,
    pub at: Timestamp,
    pub note: String,
}

/// The object that an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regarding {
    pub api_version: &'static str,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Everything about `record` that a person would want to read beside the workload, oldest first.
#[must_use]
pub fn moments(record: &RemediationAction) -> Vec<Moment> {
    let status = &record.status;
    let mut all = Vec::new();
    let mut tell = |reason, is_warning, at: Option<Timestamp>, note: &str| {
        if let Some(at) = at {
            all.push(Moment { reason, is_warning, at, note: note.to_owned() });
        }
    };
    let began = status.timeline.first().map(|it| it.at);
    let last = status.timeline.last();
    let (moved, story) = (last.map(|it| it.at), last.map_or("", |it| it.text.as_str()));
    let opened = match (record.state(), &record.spec.purpose) {
        (ActionState::Observed, _) => "Observed",
        (_, Purpose::Remediate) => "Proposed",
        (_, Purpose::Expire { .. } | Purpose::Revert { .. }) => "RevertProposed",
    };
    tell(opened, false, began, &record.spec.sentence);
    let merge = status.merge.as_ref();
    let by = merge.map(|it| match it.by {
        MergedBy::Tars => format!("{} is merged, by tars", it.commit.short()),
        MergedBy::Person => format!("{} is merged, by a person", it.commit.short()),
    });
    tell("Merged", false, merge.map(|it| it.at), by.as_deref().unwrap_or_default());
    tell("Synced", false, status.synced_at, "the change is applied");
    if let Some(verdict) = &status.verdict {
        let is_late = status.holds.iter().any(|it| it.code == ReasonCode::SyncTimeout);
        let (reason, is_warning) = match verdict.outcome {
            Outcome::Recovered => ("Verified", false),
            Outcome::NotRecovered | Outcome::Worse => (ReasonCode::VerificationFailed.as_str(), true),
            Outcome::Unknown if is_late => (ReasonCode::SyncTimeout.as_str(), true),
            Outcome::Unknown => ("NoVerdict", true),
        };
        tell(reason, is_warning, Some(verdict.judged_at), &verdict.text);
    }
    match record.state() {
        ActionState::Closed => {
            let why = status.holds.first().map_or_else(|| story.to_owned(), ToString::to_string);
            tell("Closed", false, moved, &why);
        }
        ActionState::Reverted => tell("Reverted", false, moved, story),
        ActionState::Expired => tell("Expired", false, moved, story),
        _ => {}
    }
    all
}

/// The Event by which `instance` tells `moment` of `record` beside `about`.
#[must_use]
pub fn event(record: &RemediationAction, moment: &Moment, about: &Regarding, instance: &str) -> Json {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": name(record, moment, about), "namespace": about.namespace },
        "eventTime": moment.at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        "reportingController": CONTROLLER,
        "reportingInstance": cut(instance, INSTANCE_BYTES_MAX),
        "action": record.spec.playbook.as_str(),
        "reason": moment.reason,
        "type": if moment.is_warning { "Warning" } else { "Normal" },
        "note": cut(&moment.note, NOTE_BYTES_MAX),
        "regarding": {
            "apiVersion": about.api_version, "kind": about.kind,
            "namespace": about.namespace, "name": about.name, "uid": about.uid,
        },
        "related": {
            "apiVersion": API_VERSION, "kind": "RemediationAction",
            "namespace": record.spec.target.namespace, "name": record.id(),
        },
    })
}

/// The name of that Event.
#[must_use]
pub fn name(record: &RemediationAction, moment: &Moment, about: &Regarding) -> String {
    let told = digest_hex(&["event", moment.reason, &time(moment.at), &about.kind, &about.name, &about.uid]);
    format!("{}.{}", record.id(), &told[..12])
}

/// One line of at most so many bytes, without anything a terminal would obey.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    line.truncate(line.floor_char_boundary(bytes_max));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::MergeRecord;
    use crate::model::fixtures::{at, oid, proposed, target};
    use crate::model::verdict::Verdict;

    fn about() -> Regarding {
        Regarding {
            api_version: "apps/v1",
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "checkout".to_owned(),
            uid: "7d1c".to_owned(),
        }
    }

    fn judged(outcome: Outcome) -> RemediationAction {
        let mut record = proposed("latency", &target("shop/Deployment/checkout"), 1, at(0));
        record.status.merge = Some(MergeRecord { commit: oid('c'), by: MergedBy::Tars, at: at(60) });
        record.status.synced_at = Some(at(90));
        record.status.verdict = Some(Verdict {
            outcome,
            before: None,
            after: None,
            samples_before: 0,
            samples_after: 0,
            judged_at: at(700),
            text: "latency fell".to_owned(),
        });
        record
    }

    fn told(record: &RemediationAction) -> Vec<&'static str> {
        moments(record).iter().map(|it| it.reason).collect()
    }

    #[test]
    fn a_record_tells_its_whole_story_in_order_however_late_one_looks() {
        assert_eq!(told(&proposed("latency", &target("shop/Deployment/a"), 1, at(0))), ["Proposed"]);
        assert_eq!(told(&judged(Outcome::Recovered)), ["Proposed", "Merged", "Synced", "Verified"]);
        let worse = judged(Outcome::Worse);
        assert_eq!(told(&worse).last(), Some(&"VerificationFailed"));
        assert!(moments(&worse).last().unwrap().is_warning);
        let mut reverted = worse.clone();
        reverted.enter(ActionState::Reverted, at(900), "undone");
        assert_eq!(told(&reverted)[4..], ["Reverted"]);
        let times: Vec<_> = moments(&reverted).iter().map(|it| it.at).collect();
        assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn one_moment_has_one_name_beside_each_object_and_every_moment_its_own() {
        let record = judged(Outcome::Recovered);
        let all = moments(&record);
        let policy = Regarding { kind: "RemediationPolicy".to_owned(), ..about() };
        let mut names: Vec<_> =
            [about(), policy].iter().flat_map(|it| all.iter().map(|m| name(&record, m, it))).collect();
        assert_eq!(name(&record, &all[0], &about()), names[0], "any replica finds the same");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 2 * all.len());
    }

    #[test]
    fn what_strangers_wrote_cannot_break_the_object() {
        let mut record = judged(Outcome::Recovered);
        record.spec.sentence = "é\n\u{1b}[31m".repeat(600);
        let made = event(&record, &moments(&record)[0], &about(), "tars-0");
        let note = made["note"].as_str().unwrap();
        assert!(
            note.len() <= 1_000 && note.len() > 900 && !note.contains(['\n', '\u{1b}']),
            "{}",
            note.len()
        );
        assert_eq!(made["eventTime"], "2026-11-23T10:00:00.000000Z");
    }
}
