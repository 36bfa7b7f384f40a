//! What a `RemediationPolicy` in a cluster says about itself. What is known about it comes in, its status goes out. The same
//! knowledge gives the same status on every replica, so writing it again changes nothing.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::condition::{Condition, Conditions, Truth, time};
use super::object::{PolicyObject, Standing};
use crate::model::ids::RepoId;
use crate::model::policy::Mode;
use crate::model::reason::ReasonCode;

/// Most names in one sentence.
const NAMES_MAX: usize = 5;

/// Where the policy in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum Source {
    /// This object.
    Cluster,
    /// The repository, whose policy of this name is in force.
    Repository,
    /// Nothing: there is no such policy in force.
    Nothing,
}

/// What is known about a policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As far as the settings let it go.
    pub mode: Mode,
    /// Why nothing of it merges by itself, whatever its mode is.
    pub brake: Option<ReasonCode>,
    pub open: u32,
    /// Executions of the last hour, and how many it may have.
    pub used: u32,
    pub limit: u32,
    pub last_action: Option<Timestamp>,
    /// Signals it needs.
    pub signals: u32,
    /// Those of them without current data.
    pub missing: Vec<String>,
}

/// Written by tars.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyStatus {
    pub observed_generation: i64,
    /// Whose status this is: tars for this repository wrote it.
    #[schemars(length(max = 512))]
    pub repository: String,
    pub source: Source,
    /// How far it may go: its own mode, or the settings' when that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub mode: Option<&'static str>,
    /// Its actions that are not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<i64>,
    /// Executions of the last hour, and how many it may have: 1/2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub budget: Option<String>,
    /// Signals with current data, of those it needs: 2/2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub signals: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_action_time: Option<String>,
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The status of `object` for tars of `repository`, as of `now`. What stands there is looked at: a condition that did not
/// change keeps its time, and a last action that is remembered there is not forgotten. `None`: it is not ours to say.
#[must_use]
pub fn status(
    object: &PolicyObject,
    standing: &Standing,
    facts: Option<&Facts>,
    repository: &RepoId,
    now: Timestamp,
) -> Option<Json> {
    let (before, generation) = (&object.status, object.meta.generation);
    let of_others = before["repository"].as_str().is_some_and(|it| it != repository.as_str());
    if of_others && *standing == Standing::NotAsked {
        return None;
    }
    let (source, ready, reason, message) = judged(standing);
    let mut told = Told { conditions: Conditions { generation, list: Vec::new() }, before, now };
    told.put("Ready", ready, reason, &message);
    told.put("Stalled", !ready, reason, &message);
    if let Some(it) = facts {
        budget(&mut told, it);
        signals(&mut told, it);
        merging(&mut told, it);
    }
    let remembered = before["lastActionTime"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
    let remembered = remembered.filter(|it| *it <= now);
    Some(json!(PolicyStatus {
        observed_generation: generation,
        repository: repository.to_string(),
        source,
        mode: facts.map(|it| mode(it.mode)),
        open: facts.map(|it| it.open.into()),
        budget: facts.map(|it| format!("{}/{}", it.used, it.limit)),
        signals: facts.map(|it| format!("{}/{}", it.signals as usize - it.missing.len(), it.signals)),
        last_action_time: facts.and_then(|it| it.last_action.max(remembered)).map(time),
        conditions: told.conditions.list,
    }))
}

struct Told<'a> {
    conditions: Conditions,
    before: &'a Json,
    now: Timestamp,
}

impl Told<'_> {
    fn put(&mut self, kind: &str, is_true: bool, reason: &str, message: &str) {
        let (truth, word) = if is_true { (Truth::True, "True") } else { (Truth::False, "False") };
        let conditions = self.before["conditions"].as_array().into_iter().flatten();
        let same = conditions.filter(|it| it["type"] == kind && it["status"] == word);
        let since = same.filter_map(|it| it["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok()).next();
        let since = since.filter(|it| *it <= self.now).unwrap_or(self.now);
        self.conditions.put(kind, truth, reason, message, since);
    }
}

fn budget(told: &mut Told<'_>, it: &Facts) {
    let reason = if it.used < it.limit { "Free" } else { ReasonCode::BudgetExhausted.as_str() };
    let message = format!("{} of {} executions of the last hour", it.used, it.limit);
    told.put("BudgetAvailable", it.used < it.limit, reason, &message);
}

fn signals(told: &mut Told<'_>, it: &Facts) {
    let named = it.missing.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
    let (reason, message) = match it.missing.len() {
        0 => ("Current", "every signal has current data".to_owned()),
        count => ("SignalMissing", format!("{count} of {} without current data: {named}", it.signals)),
    };
    told.put("SignalsHealthy", it.missing.is_empty(), reason, &message);
}

fn merging(told: &mut Told<'_>, it: &Facts) {
    let (may, reason, message) = match (it.brake, it.mode) {
        (Some(code), _) => (false, code.as_str(), "nothing merges by itself"),
        (None, Mode::AutoMerge) => {
            (true, "AutoMerge", "low-risk actions inside every budget merge by themselves")
        }
        (None, Mode::Propose) => {
            (false, ReasonCode::ReviewRequired.as_str(), "people merge what is proposed")
        }
        (None, Mode::Observe) => {
            (false, ReasonCode::ObserveOnly.as_str(), "decisions are recorded, nothing is proposed")
        }
    };
    told.put("AutoMergePossible", may, reason, message);
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "Observe",
        Mode::Propose => "Propose",
        Mode::AutoMerge => "AutoMerge",
    }
}

fn judged(standing: &Standing) -> (Source, bool, &'static str, String) {
    let here = |text: &str| (Source::Repository, false, "RepositoryWins", text.to_owned());
    match standing {
        Standing::Used => (Source::Cluster, true, "InForce", "this object is in force".to_owned()),
        Standing::SameInRepository => {
            (Source::Repository, true, "InForce", "the same policy of the repository is in force".to_owned())
        }
        Standing::RepositoryWins => {
            here("the repository has another policy of this name, and that one is in force")
        }
        Standing::NotAsked => {
            let message = "policies are read from the repository only, and it has none of this name";
            (Source::Nothing, false, "NotAsked", message.to_owned())
        }
        Standing::Invalid(first, count) => {
            let more = if *count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            (Source::Nothing, false, "Invalid", format!("{first}{more}"))
        }
        Standing::SecondOfItsName(namespace) => {
            let message = format!("the policy of this name in namespace {namespace} is older, and in force");
            (Source::Nothing, false, "SecondOfItsName", message)
        }
    }
}

#[cfg(test)]
#[path = "policy_status_tests.rs"]
mod tests;
