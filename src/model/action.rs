//! `RemediationAction`: the record of one playbook applied to one target for one incident. It is what the
//! ledger stores, what a pull request shows and what the cluster projection will carry.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::anomaly::Anomaly;
use super::change::{ProposedChange, PullRequestText};
use super::correlation::Correlation;
use super::forecast::Forecast;
use super::ids::{ActionId, Fingerprint, IncidentId, ObjectId, PolicyName, RepoPath, WorkloadRef};
use super::limits::{BudgetUse, LimitsInForce};
use super::playbook::{Plan, PlaybookName};
use super::policy::{Mode, VerifySpec};
use super::reason::Reason;
use super::verdict::Verdict;

/// Group and version of the wire form.
pub const API_VERSION: &str = "aiops.tars/v1alpha1";

/// Risk class, computed from the diff and the playbook, never taken from a policy's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RiskClass {
    Low,
    Medium,
    High,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    pub class: RiskClass,
    pub reason: String,
}

/// Why an action exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Purpose {
    /// Answer an incident.
    Remediate,
    /// Undo an action that helped and is no longer needed.
    Expire { of: ActionId },
    /// Undo an action that did not help.
    Revert { of: ActionId },
}

/// What triggered, with the evidence as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cause {
    /// `anomaly`, `forecast`, `promql`, `webhook`, `expiry`, `verification` or `request`.
    pub trigger: String,
    /// Stable text that goes into the fingerprint, for example `anomaly backend/latency_p95`.
    pub key: String,
    pub since: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecasts: Vec<Forecast>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// How many different alerts fired; `alerts` keeps the newest few of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alerts_total: u32,
    /// `None`: no graph of calls, or nobody is suspected clearly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Correlation>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Where an action stands. [`ActionState::may_become`] is the whole state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ActionState {
    Observed,
    Proposed,
    MergeReserved,
    Merged,
    Synced,
    Verified,
    NotRecovered,
    Worse,
    Unknown,
    Reverted,
    Expired,
    Closed,
}

impl ActionState {
    pub const ALL: [Self; 12] = [
        Self::Observed,
        Self::Proposed,
        Self::MergeReserved,
        Self::Merged,
        Self::Synced,
        Self::Verified,
        Self::NotRecovered,
        Self::Worse,
        Self::Unknown,
        Self::Reverted,
        Self::Expired,
        Self::Closed,
    ];

    /// Is `next` a legal successor? A reservation that could not be used goes back to `Proposed`; its
    /// budget slot stays taken.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use ActionState as S;
        match self {
            S::Observed | S::Reverted | S::Expired | S::Closed => false,
            S::Proposed => matches!(next, S::Proposed | S::MergeReserved | S::Merged | S::Closed),
            S::MergeReserved => matches!(next, S::Proposed | S::Merged | S::Closed),
            // What a forge merged and nobody computed is wrong at once, applied or not.
            S::Merged => matches!(next, S::Synced | S::Unknown | S::Worse),
            S::Synced => matches!(next, S::Verified | S::NotRecovered | S::Worse | S::Unknown),
            S::Verified | S::Unknown => matches!(next, S::Expired | S::Reverted),
            S::NotRecovered | S::Worse => matches!(next, S::Reverted),
        }
    }

    /// Is it a proposal that was not merged and not closed? Its branch and pull request stand open.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::Proposed | Self::MergeReserved)
    }

    /// Does the action hold its target (its file stands in `open/`)?
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Proposed | Self::MergeReserved | Self::Merged | Self::Synced)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "Observed",
            Self::Proposed => "Proposed",
            Self::MergeReserved => "MergeReserved",
            Self::Merged => "Merged",
            Self::Synced => "Synced",
            Self::Verified => "Verified",
            Self::NotRecovered => "NotRecovered",
            Self::Worse => "Worse",
            Self::Unknown => "Unknown",
            Self::Reverted => "Reverted",
            Self::Expired => "Expired",
            Self::Closed => "Closed",
        }
    }

    /// The seed's phase for this state.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::Observed | Self::Proposed => Phase::Pending,
            Self::MergeReserved | Self::Merged | Self::Synced => Phase::Running,
            Self::Verified | Self::Expired => Phase::Succeeded,
            Self::NotRecovered | Self::Worse | Self::Unknown | Self::Reverted => Phase::Failed,
            Self::Closed => Phase::Cancelled,
        }
    }
}

/// The seed's `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Who merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergedBy {
    Tars,
    Person,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergeRecord {
    /// The commit of the watched branch that brought the change in.
    pub commit: ObjectId,
    pub by: MergedBy,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: ActionId,
    pub namespace: super::ids::Namespace,
}

/// What was decided; does not change after the proposal except by a rebuild of the branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionSpec {
    pub incident: IncidentId,
    pub fingerprint: Fingerprint,
    pub policy: PolicyName,
    /// File and commit the policy was read at.
    pub policy_path: RepoPath,
    pub policy_commit: ObjectId,
    pub mode: Mode,
    pub target: WorkloadRef,
    pub playbook: PlaybookName,
    pub purpose: Purpose,
    pub plan: Plan,
    pub risk: Risk,
    pub cause: Cause,
    pub limits: LimitsInForce,
    pub verify: VerifySpec,
    pub revert_after_s: Option<u32>,
    pub auto_revert: bool,
    /// The decision sentence: what, why, who merges, how to undo.
    pub sentence: String,
    /// Playbooks that were considered and not taken, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<(PlaybookName, Reason)>,
    /// Budget lines as they would be if this merged.
    pub budget: Vec<BudgetUse>,
    /// `None` in Observe mode.
    pub change: Option<ProposedChange>,
    pub pull_request: Option<PullRequestText>,
}

/// The seed's `status.result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionResult {
    pub success: bool,
    pub changes: Vec<ResultChange>,
    pub revert_hint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultChange {
    pub resource: String,
    pub action: String,
    pub before: String,
    pub after: String,
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineEvent {
    pub at: Timestamp,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionStatus {
    pub state: ActionState,
    pub phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ActionResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why it does not merge by itself right now, or why it was closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Reason>,
    /// When the undo is due, once merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The action that undid this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<ActionId>,
    pub timeline: Vec<TimelineEvent>,
}

/// The record, in its wire form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemediationAction {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: ActionSpec,
    pub status: ActionStatus,
}

impl RemediationAction {
    #[must_use]
    pub fn id(&self) -> &ActionId {
        &self.metadata.name
    }

    #[must_use]
    pub fn state(&self) -> ActionState {
        self.status.state
    }

    /// Moves to `next`, keeps `phase` in step and adds a line to the timeline. Whether the move is legal is
    /// the ledger's to check.
    pub fn enter(&mut self, next: ActionState, at: Timestamp, text: impl Into<String>) {
        self.status.state = next;
        self.status.phase = next.phase();
        self.status.timeline.push(TimelineEvent { at, text: text.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_action_never_moves_again() {
        for last in [ActionState::Observed, ActionState::Reverted, ActionState::Expired, ActionState::Closed]
        {
            for next in ActionState::ALL {
                assert!(!last.may_become(next), "{last:?} -> {next:?}");
            }
        }
    }

    #[test]
    fn nothing_is_verified_without_having_been_synced() {
        let before: Vec<_> =
            ActionState::ALL.into_iter().filter(|s| s.may_become(ActionState::Verified)).collect();
        assert_eq!(before, [ActionState::Synced]);
    }
}
