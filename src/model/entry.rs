//! One ledger entry: the envelope that the commit's trailers carry, and the record as it is afterwards.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{ActionState, RemediationAction};
use super::ids::{
    ActionId, EntryId, Fingerprint, IncidentId, InstanceId, ObjectId, PolicyName, RepoId, WorkloadRef,
};
use super::request::Request;

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// The first entry; binds the ledger to its repository.
    Genesis,
    /// An action enters this state.
    Transition(ActionState),
    /// A person asked for something.
    Asked,
    /// A folded state, so that a reader need not start at the genesis.
    Checkpoint,
}

impl EntryKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Genesis => "Genesis",
            Self::Transition(state) => state.as_str(),
            Self::Asked => "Asked",
            Self::Checkpoint => "Checkpoint",
        }
    }

    /// Reads what [`EntryKind::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Genesis" => Some(Self::Genesis),
            "Asked" => Some(Self::Asked),
            "Checkpoint" => Some(Self::Checkpoint),
            _ => ActionState::ALL.into_iter().find(|s| s.as_str() == text).map(Self::Transition),
        }
    }
}

/// What an action entry is about; repeated in the envelope so that `git log` alone tells the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub action: ActionId,
    pub incident: IncidentId,
    pub fingerprint: Fingerprint,
    pub policy: PolicyName,
    pub target: WorkloadRef,
    /// Tree the proposal computes; `None` in Observe mode.
    pub tree: Option<ObjectId>,
}

/// The signed head of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub seq: u64,
    /// Id of the entry before; `None` only for the genesis.
    pub prev: Option<EntryId>,
    pub id: EntryId,
    pub kind: EntryKind,
    /// Only that of a transition.
    pub subject: Option<Subject>,
    pub repo: RepoId,
    /// Ledger time: never older than the entry before.
    pub time: Timestamp,
    pub instance: InstanceId,
}

/// Who signed a commit, as the reader found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A key of the allow-list; its SHA-256 fingerprint as `ssh-keygen -l` prints it.
    Allowed(String),
    Unsigned,
    /// Signed, but not by a key of the allow-list, or over other bytes; says which.
    Rejected(String),
}

/// An entry as read from the branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub commit: ObjectId,
    /// Parents of the commit; a ledger is linear, so at most one.
    pub parents: Vec<ObjectId>,
    pub signer: Signer,
    pub envelope: Envelope,
    /// The action's record after this entry; only in a transition.
    pub record: Option<RemediationAction>,
    /// What a person asked for.
    pub request: Option<Request>,
    /// Folded state as stored by a checkpoint (JSON); `None` otherwise.
    pub checkpoint: Option<String>,
}
