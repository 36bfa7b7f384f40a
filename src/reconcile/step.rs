//! One write, as data: decided first, carried out afterwards, each as exactly one push.

use std::collections::BTreeSet;

use crate::decide::MergePermit;
use crate::model::action::{ActionState, RemediationAction};
use crate::model::change::ProposedChange;
use crate::model::decision::Decision;
use crate::model::ids::{ActionId, BranchName, Fingerprint, ObjectId};
use crate::model::request::Request;

/// What is to be written next.
#[derive(Debug)]
pub enum Step {
    /// Render a decision and open (or, in Observe mode, record) the action.
    Open(Box<Decision>),
    /// Record actions in their new states, in this order; `drop_branch`: delete their branch, at which the
    /// last of them stands, in the same push.
    Enter { records: Vec<RemediationAction>, drop_branch: bool },
    /// Record those that left, and compute those that stay again, because the watched branch moved under them
    /// or because the commit of another has to go. `tip` is what `branch` holds now.
    Rebuild { left: Vec<RemediationAction>, stay: Vec<RemediationAction>, branch: BranchName, tip: ObjectId },
    /// Bring a reserved action into the watched branch and record it as merged, in one push.
    Merge { record: Box<RemediationAction>, permit: MergePermit },
    /// Record what a person asked for; the steps that heed it follow from the ledger, here or elsewhere.
    Ask(Request),
    /// Fold the history into a checkpoint.
    Checkpoint,
}

/// What a step is about: what is put aside for the rest of a tick when the step cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    Actions(BTreeSet<ActionId>),
    Cause(Fingerprint),
    /// The ledger itself: nothing can go on without it.
    Ledger,
}

impl About {
    #[must_use]
    pub fn actions<'a>(records: impl IntoIterator<Item = &'a RemediationAction>) -> Self {
        Self::Actions(records.into_iter().map(|it| it.id().clone()).collect())
    }
}

impl Step {
    /// Does it take a slot of a budget?
    #[must_use]
    pub fn reserves(&self) -> bool {
        let reserved = |it: &RemediationAction| it.state() == ActionState::MergeReserved;
        matches!(self, Self::Enter { records, .. } if records.iter().any(reserved))
    }

    /// Does it only say anew why `before` waits?
    #[must_use]
    pub fn is_note(&self, before: &RemediationAction) -> bool {
        let waits = |it: &RemediationAction| it.state() == ActionState::Proposed;
        matches!(self, Self::Enter { records, .. } if records.iter().all(waits) && waits(before))
    }

    #[must_use]
    pub fn about(&self) -> About {
        match self {
            Self::Open(decision) => About::Cause(decision.incident.fingerprint.clone()),
            Self::Enter { records, .. } => About::actions(records),
            Self::Rebuild { left, stay, .. } => About::actions(left.iter().chain(stay)),
            Self::Merge { record, .. } => About::actions([&**record]),
            Self::Ask(_) | Self::Checkpoint => About::Ledger,
        }
    }

    #[must_use]
    pub fn enter(record: RemediationAction, drop_branch: bool) -> Self {
        Self::Enter { records: vec![record], drop_branch }
    }

    /// Computes the only proposal of its branch again.
    #[must_use]
    pub fn rebuild(record: &RemediationAction, change: &ProposedChange) -> Self {
        Self::Rebuild {
            left: Vec::new(),
            stay: vec![record.clone()],
            branch: change.branch.clone(),
            tip: change.head.clone(),
        }
    }
}
