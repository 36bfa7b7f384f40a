//! What decide says about one incident, always with reasons.

use super::action::{Cause, Purpose, Risk};
use super::ids::{Fingerprint, PolicyName, WorkloadRef};
use super::limits::BudgetUse;
use super::playbook::{Plan, PlaybookName};
use super::reason::Reason;

/// One cause on one target under one policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub fingerprint: Fingerprint,
    pub policy: PolicyName,
    pub target: WorkloadRef,
    pub cause: Cause,
}

/// A decided action.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedAction {
    pub playbook: PlaybookName,
    pub purpose: Purpose,
    pub plan: Plan,
    /// Risk by playbook and plan; the merge permit computes it again from the diff and takes the higher.
    pub risk: Risk,
    /// Playbooks considered before this one, with the reason they were not taken.
    pub rejected: Vec<(PlaybookName, Reason)>,
    /// Budget lines as they would be if this merged.
    pub budget: Vec<BudgetUse>,
    /// What stands between the proposal and an automatic merge, as known before rendering; empty means it
    /// may merge by itself if the permit agrees.
    pub holds: Vec<Reason>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// Open (or, in Observe mode, record) this action.
    Propose(Box<DecidedAction>),
    /// Nothing now; the reasons say what would have to change.
    Hold(Vec<Reason>),
    /// Nothing tars may do; a person has to look.
    Escalate(Vec<Reason>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub incident: Incident,
    pub verb: Verb,
}
