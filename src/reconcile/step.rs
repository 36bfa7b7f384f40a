//! One write, as data: decided first, carried out afterwards, each as exactly one push.

use crate::decide::MergePermit;
use crate::model::action::{ActionState, RemediationAction};
use crate::model::decision::Decision;
use crate::model::ids::{ActionId, Fingerprint};

/// What is to be written next.
#[derive(Debug)]
pub enum Step {
    /// Render a decision and open (or, in Observe mode, record) the action.
    Open(Box<Decision>),
    /// Record an action in its new state; `drop_branch`: delete the proposal's branch in the same push.
    Enter { record: Box<RemediationAction>, drop_branch: bool },
    /// The watched branch moved under a waiting proposal: compute it again.
    Rebuild(Box<RemediationAction>),
    /// Bring a reserved action into the watched branch and record it as merged, in one push.
    Merge { record: Box<RemediationAction>, permit: MergePermit },
    /// Fold the history into a checkpoint.
    Checkpoint,
}

/// What a step is about: what is put aside for the rest of a tick when the step cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    Action(ActionId),
    Cause(Fingerprint),
    /// The ledger itself: nothing can go on without it.
    Ledger,
}

impl Step {
    /// Does it take a slot of a budget?
    #[must_use]
    pub fn reserves(&self) -> bool {
        matches!(self, Self::Enter { record, .. } if record.state() == ActionState::MergeReserved)
    }

    /// Does it only say anew why `before` waits?
    #[must_use]
    pub fn is_note(&self, before: &RemediationAction) -> bool {
        let waits = |it: &RemediationAction| it.state() == ActionState::Proposed;
        matches!(self, Self::Enter { record, .. } if waits(record) && waits(before))
    }

    #[must_use]
    pub fn about(&self) -> About {
        match self {
            Self::Open(decision) => About::Cause(decision.incident.fingerprint.clone()),
            Self::Enter { record, .. } | Self::Rebuild(record) => About::Action(record.id().clone()),
            Self::Merge { record, .. } => About::Action(record.id().clone()),
            Self::Checkpoint => About::Ledger,
        }
    }

    #[must_use]
    pub fn enter(record: RemediationAction, drop_branch: bool) -> Self {
        Self::Enter { record: Box::new(record), drop_branch }
    }
}
