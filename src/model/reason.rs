//! Why: the fixed vocabulary of refusals and holds. The same code stands in the ledger, in `tars explain`,
//! in the pull request and in a metric label; the text beside it is for people.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($(#[doc = $doc:literal] $name:ident,)*) => {
        /// A stable, documented code; never renamed, never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ReasonCode { $(#[doc = $doc] $name,)* }

        impl ReasonCode {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// One sentence for `tars explain CODE`.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $doc.trim_ascii(),)* }
            }
        }
    };
}

reasons! {
    /// The policy's mode is Observe (or dryRun): the decision is recorded and nothing is written.
    ObserveOnly,
    /// The policy is suspended in its own file.
    PolicySuspended,
    /// A file named SUSPENDED stands beside the policies on the watched branch: nothing merges by itself.
    Frozen,
    /// The target is not in the policy's allowedResources, or is of a kind that decides who may do what.
    TargetNotAllowed,
    /// The file to change is outside the policy's allowedPaths, or is a protected path.
    PathNotAllowed,
    /// The change would leave the playbook's bounds.
    OutOfBounds,
    /// The target already has the most the playbook allows.
    AtMaximum,
    /// The policy has used its executions of the last hour.
    BudgetExhausted,
    /// All policies together have used the executions of the last hour.
    GlobalBudgetExhausted,
    /// Too many proposals are open already.
    TooManyOpenProposals,
    /// The last action on this target is too recent.
    Cooldown,
    /// Another proposal for the same target is open.
    ProposalOpen,
    /// The same change was reverted for the same cause before.
    RevertedBefore,
    /// A person closed the proposal for this cause; it stays quiet for a while.
    Snoozed,
    /// This alert, with this start time, was acted on already.
    AlreadyHandled,
    /// The models do not agree enough.
    LowConfidence,
    /// The target is only a victim: a service that it calls is suspected to be the cause.
    CauseElsewhere,
    /// Fewer samples than the detector needs.
    WarmingUp,
    /// The newest sample is too old to act on.
    EvidenceStale,
    /// The signal has no data.
    SignalMissing,
    /// The detector that watches the signal is not heard, or cannot say: nobody knows whether there is an anomaly.
    DetectorLost,
    /// The signal is back to normal.
    SignalRecovered,
    /// The trigger has not held for long enough yet.
    NotLongEnough,
    /// A HorizontalPodAutoscaler owns the replicas and its bounds leave no room.
    HPAOwnsReplicas,
    /// Something other than the manifest owns the field.
    FieldOwnedElsewhere,
    /// The cluster has another count, or other bounds, than the repository: somebody changed them by hand.
    Drifted,
    /// What the cluster runs could not be read; nothing is proposed blindly.
    ClusterUnreadable,
    /// The target is not declared in the repository.
    TargetNotFound,
    /// More than one place could be changed; the candidates are listed.
    AmbiguousTarget,
    /// The file or field cannot be edited safely; the text says why.
    EditRefused,
    /// Who can read the encrypted file is not exactly who the operator's settings say.
    UnexpectedRecipients,
    /// The rendered objects did not change in exactly the intended fields.
    ProofFailed,
    /// No earlier release is known, or the last one is too old to be the cause.
    NoReleaseToUndo,
    /// The rollout strategy could take down more pods than the policy allows.
    RolloutTooWide,
    /// The risk class of the change needs a person.
    RiskNeedsHuman,
    /// The policy's mode lets only people merge.
    ReviewRequired,
    /// The proposal's branch carries a commit that tars did not make.
    HumanCommits,
    /// The watched branch moved under the files of the proposal.
    BaseMoved,
    /// Somebody else is changing the same field: on an open branch, or on the watched branch a moment ago.
    YieldsToOthers,
    /// The policy was changed or removed after the proposal was made.
    PolicyChanged,
    /// The local clock and an outside clock differ too much, or the ledger lies in the future.
    ClockUntrusted,
    /// The ledger was rewritten, is unreadable, or is signed by an unknown key.
    LedgerUntrusted,
    /// The proposal was closed by a person.
    ClosedByPerson,
    /// The remote could not be reached.
    RemoteUnreachable,
    /// The forge could not be read: what its pull requests say is not known.
    ForgeUnreachable,
    /// The proposal has no pull request yet.
    PullRequestMissing,
    /// The pull request is not the one tars opened any more: closed, a draft, or for another branch.
    PullRequestAltered,
    /// A person holds the pull request, by the label tars/hold or the comment /tars hold.
    HeldByPerson,
    /// A reviewer asks for changes.
    ChangesRequested,
    /// The protection of the watched branch asks for more approvals of this very commit.
    ApprovalsMissing,
    /// A required check of this very commit is missing, waiting or failed, or somebody else posted it.
    ChecksNotGreen,
    /// The token of tars could go around the protection of the watched branch: it merges nothing by itself.
    TokenTooStrong,
    /// Nothing protects the watched branch on the forge: what has to be green is up to nobody.
    BranchUnprotected,
    /// The forge does not let tars merge.
    MergeRefused,
    /// Somebody switched the forge's own automatic merge on: it knows no budget and pins no tree.
    NativeAutoMerge,
    /// The merged commit lost the trailers of the proposal: the audit is complete in the ledger only.
    TrailersDropped,
    /// What the forge merged is not the tree that was computed: somebody has to look, and a revert is proposed.
    ForeignTree,
    /// The change did not reach the cluster in time.
    SyncTimeout,
    /// The change was applied and the signal did not recover.
    VerificationFailed,
}

/// A code with the numbers of this case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    pub code: ReasonCode,
    pub text: String,
}

impl Reason {
    #[must_use]
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.text)
    }
}
