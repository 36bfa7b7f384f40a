//! A `RemediationAction` in a cluster: what people and programs there see of a record of the ledger. A record comes in,
//! the object goes out. The same record gives the same object on every replica and at every hour, so writing it again
//! changes nothing.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::condition::{Condition, Conditions, Truth, sentence, time};
use super::policy_status::mode;
use crate::model::action::{
    API_VERSION, ActionState, MergedBy, Phase, Purpose, RemediationAction, RiskClass,
};
use crate::model::policy::Mode;
use crate::model::reason::ReasonCode;

/// Most reasons that are listed.
const HOLDS_MAX: usize = 10;
/// Most fields that are listed; a playbook changes fewer.
const CHANGES_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 1000;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) enum Decision {
    /// Recorded, nothing written.
    Observe,
    /// A person merges.
    Review,
    /// It merges by itself once nothing holds it.
    AutoMerge,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) enum Risk {
    Low,
    Medium,
    High,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) enum Why {
    /// It answers an incident.
    Remediate,
    /// It undoes what is no longer needed.
    Expire,
    /// It undoes what did not help.
    Revert,
}

/// What was decided.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionSpec {
    /// Name of the policy.
    #[schemars(length(max = 63))]
    policy: String,
    /// Kind and name of what is changed, in this namespace: Deployment/checkout.
    #[schemars(length(max = 320))]
    target: String,
    /// The playbook.
    #[schemars(length(max = 63))]
    action: String,
    purpose: Why,
    /// Name of the action that this one undoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    undoes: Option<String>,
    risk: Risk,
    decision: Decision,
    /// How far the policy went when this was decided.
    #[schemars(length(max = 16))]
    mode: String,
    #[schemars(length(max = 63))]
    incident: String,
    /// What triggered.
    #[schemars(length(max = 1000))]
    cause: String,
    /// The highest score of the anomalies behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    score_percent: Option<i64>,
    /// What, why, who merges, how to undo.
    #[schemars(length(max = 1000))]
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    head: Option<String>,
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    changes: Vec<Change>,
}

/// One field of one file.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Change {
    #[schemars(length(max = 1024))]
    file: String,
    #[schemars(length(max = 1000))]
    field: String,
    #[schemars(length(max = 1000))]
    before: String,
    #[schemars(length(max = 1000))]
    after: String,
}

/// Written by tars.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionStatus {
    observed_generation: i64,
    /// Pending, Running, Succeeded, Failed or Cancelled; the conditions say more.
    #[schemars(length(max = 16))]
    phase: &'static str,
    /// Where it stands in the ledger.
    #[schemars(length(max = 32))]
    state: &'static str,
    #[schemars(extend("format" = "date-time"))]
    proposed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pull_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    merged_commit: Option<String>,
    /// tars or a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    merged_by: Option<&'static str>,
    /// Why it waits, or why it was closed.
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    holds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome>,
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    conditions: Vec<Condition>,
}

/// What came of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    success: bool,
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    changes: Vec<OutcomeChange>,
    #[schemars(length(max = 1000))]
    revert_hint: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OutcomeChange {
    #[schemars(length(max = 400))]
    resource: String,
    #[schemars(length(max = 400))]
    action: String,
    #[schemars(length(max = 1000))]
    before: String,
    #[schemars(length(max = 1000))]
    after: String,
}

/// The object without its status, as it is applied. `labels` are put on it.
#[must_use]
pub fn object(record: &RemediationAction, labels: &Json) -> Json {
    json!({
        "apiVersion": API_VERSION,
        "kind": "RemediationAction",
        "metadata": {
            "name": record.id(), "namespace": record.spec.target.namespace, "labels": labels,
        },
        "spec": spec(record),
    })
}

/// The status of `record`, whose object has this `generation` and whose pull request has this number.
#[must_use]
pub fn status(record: &RemediationAction, pull: Option<u64>, generation: i64) -> Json {
    let status = &record.status;
    json!(ActionStatus {
        observed_generation: generation,
        phase: phase(status.phase),
        state: status.state.as_str(),
        proposed_at: time(proposed_at(record)),
        pull_request: pull.map(|number| format!("#{number}")),
        merged_commit: status.merge.as_ref().map(|it| it.commit.to_string()),
        merged_by: status.merge.as_ref().map(|it| match it.by {
            MergedBy::Tars => "tars",
            MergedBy::Person => "a person",
        }),
        holds: status.holds.iter().take(HOLDS_MAX).map(|it| cut(&it.to_string())).collect(),
        result: status.result.as_ref().map(|it| Outcome {
            success: it.success,
            changes: it
                .changes
                .iter()
                .take(CHANGES_MAX)
                .map(|it| OutcomeChange {
                    resource: sentence(&it.resource, 400),
                    action: sentence(&it.action, 400),
                    before: cut(&it.before),
                    after: cut(&it.after),
                })
                .collect(),
            revert_hint: cut(&it.revert_hint),
        }),
        conditions: conditions(record, generation),
    })
}

fn cut(text: &str) -> String {
    sentence(text, TEXT_CHARS_MAX)
}

fn spec(record: &RemediationAction) -> ActionSpec {
    let spec = &record.spec;
    let (purpose, undoes) = match &spec.purpose {
        Purpose::Remediate => (Why::Remediate, None),
        Purpose::Expire { of } => (Why::Expire, Some(of.to_string())),
        Purpose::Revert { of } => (Why::Revert, Some(of.to_string())),
    };
    let score = spec
        .cause
        .anomalies
        .iter()
        .map(|it| it.score.get())
        .fold(None, |most: Option<f64>, it| Some(most.map_or(it, |most| most.max(it))));
    let fields = spec.change.as_ref().map(|it| it.fields.as_slice()).unwrap_or_default();
    ActionSpec {
        policy: spec.policy.to_string(),
        target: format!("{}/{}", spec.target.kind, spec.target.name),
        action: spec.playbook.as_str().to_owned(),
        purpose,
        undoes,
        risk: match spec.risk.class {
            RiskClass::Low => Risk::Low,
            RiskClass::Medium => Risk::Medium,
            RiskClass::High => Risk::High,
        },
        decision: match (spec.mode, spec.is_automatic()) {
            (Mode::Observe, _) => Decision::Observe,
            (_, true) => Decision::AutoMerge,
            (_, false) => Decision::Review,
        },
        mode: mode(spec.mode).to_owned(),
        incident: spec.incident.to_string(),
        cause: cut(&spec.cause.key),
        // A score is in 0..=1.
        score_percent: score.map(|it| (it * 100.0).round() as i64),
        sentence: cut(&spec.sentence),
        branch: spec.change.as_ref().map(|it| it.branch.to_string()),
        head: spec.change.as_ref().map(|it| it.head.to_string()),
        changes: fields
            .iter()
            .take(CHANGES_MAX)
            .map(|it| Change {
                file: it.file.to_string(),
                field: cut(&it.field),
                before: cut(it.before()),
                after: cut(it.after()),
            })
            .collect(),
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Cancelled => "Cancelled",
    }
}

/// When the record was made. A record has a first line of its story by construction; an empty story is as old as time.
fn proposed_at(record: &RemediationAction) -> Timestamp {
    record.status.timeline.first().map_or(Timestamp::UNIX_EPOCH, |it| it.at)
}

/// When the record came to stand where it stands.
fn moved_at(record: &RemediationAction) -> Timestamp {
    record.status.timeline.last().map_or(Timestamp::UNIX_EPOCH, |it| it.at)
}

/// One condition: its type, what is true of it, why, in words, and since when.
type Told<'a> = (&'static str, Truth, &'a str, &'a str, Timestamp);

fn conditions(record: &RemediationAction, generation: i64) -> Vec<Condition> {
    let mut conditions = Conditions { generation, list: Vec::new() };
    let state = record.state();
    let story = record.status.timeline.last().map_or("", |it| it.text.as_str());
    let (moved, sentence) = (moved_at(record), record.spec.sentence.as_str());
    let truth = |it: bool| if it { Truth::True } else { Truth::False };
    let good = matches!(state, ActionState::Observed | ActionState::Verified | ActionState::Expired);
    let stuck = matches!(state, ActionState::NotRecovered | ActionState::Worse | ActionState::Unknown);
    let proposed = state != ActionState::Observed;
    let dropped = record.status.holds.iter().any(|it| it.code == ReasonCode::TrailersDropped);
    let told: [Told<'_>; 9] = [
        ("Ready", truth(good), state.as_str(), story, moved),
        ("Reconciling", truth(state.is_open()), state.as_str(), story, moved),
        ("Stalled", truth(stuck), state.as_str(), story, moved),
        (
            "Proposed",
            truth(proposed),
            if proposed { "Proposed" } else { "ObserveOnly" },
            sentence,
            proposed_at(record),
        ),
        merged(record),
        synced(record),
        verified(record),
        ("Reverted", truth(state == ActionState::Reverted), state.as_str(), story, moved),
        (
            "AuditComplete",
            truth(!dropped),
            if dropped { ReasonCode::TrailersDropped.as_str() } else { "Recorded" },
            "every step is a signed entry of the ledger",
            proposed_at(record),
        ),
    ];
    for (kind, status, reason, message, since) in told {
        conditions.put(kind, status, reason, message, since);
    }
    conditions.list
}

fn merged(record: &RemediationAction) -> Told<'_> {
    let hold = record.status.holds.first();
    let why = hold.map_or(record.state().as_str(), |it| it.code.as_str());
    let words = hold.map_or("", |it| it.text.as_str());
    match &record.status.merge {
        Some(merge) => ("Merged", Truth::True, "Merged", "the change is on the watched branch", merge.at),
        None if record.state().is_open() => ("Merged", Truth::Unknown, why, words, proposed_at(record)),
        None => ("Merged", Truth::False, why, words, moved_at(record)),
    }
}

fn synced(record: &RemediationAction) -> Told<'_> {
    let state = record.state();
    match record.status.synced_at {
        Some(at) => ("Synced", Truth::True, "Synced", "the change is applied", at),
        None if state.is_open() => {
            ("Synced", Truth::Unknown, state.as_str(), "not applied yet", proposed_at(record))
        }
        None if record.status.merge.is_some() => {
            let timeout = ReasonCode::SyncTimeout;
            let hold = record.status.holds.iter().find(|it| it.code == timeout);
            let words = hold.map_or("the change was not seen applied", |it| it.text.as_str());
            ("Synced", Truth::False, timeout.as_str(), words, moved_at(record))
        }
        None => ("Synced", Truth::False, state.as_str(), "there was nothing to apply", moved_at(record)),
    }
}

/// Unknown while it is not judged, so that `kubectl wait --for=condition=Verified` waits.
fn verified(record: &RemediationAction) -> Told<'_> {
    use crate::model::verdict::Outcome as O;
    let Some(verdict) = &record.status.verdict else {
        let (truth, since) = match record.state() {
            state if state.is_open() => (Truth::Unknown, proposed_at(record)),
            ActionState::Unknown => (Truth::Unknown, moved_at(record)),
            _ => (Truth::False, moved_at(record)),
        };
        return ("Verified", truth, record.state().as_str(), "it was not judged", since);
    };
    let (truth, reason) = match verdict.outcome {
        O::Recovered => (Truth::True, "Recovered"),
        O::NotRecovered => (Truth::False, ReasonCode::VerificationFailed.as_str()),
        O::Worse => (Truth::False, "Worse"),
        O::Unknown => (Truth::Unknown, "NoVerdict"),
    };
    ("Verified", truth, reason, &verdict.text, verdict.judged_at)
}
