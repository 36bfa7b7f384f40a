//! What can go wrong in one turn, by the act that failed. The category is the metric label and decides
//! whether waiting helps.

use thiserror::Error;

use crate::ledger::{CheckpointError, GrammarError, RecordError, Violation};
use crate::model::ids::{InvalidName, ObjectId};
use crate::observe::policies::PoliciesError;
use crate::observe::repository::RepositoryError;
use crate::observe::rivals::RivalError;
use crate::observe::spool::SpoolError;
use crate::outside::files::FileError;
use crate::outside::git::GitError;
use crate::outside::random::RandomError;
use crate::propose::ProposeError;
use crate::propose::forge::ForgeError;
use crate::render::TemplateError;

/// One turn could not be finished. Nothing is half done: every write is one push.
#[derive(Debug, Error)]
pub enum TurnError {
    #[error("could not read the remote repository")]
    Fetch(#[source] GitError),
    #[error("could not read the local copy of the repository")]
    Objects(#[source] GitError),
    #[error("the repository has no branch {0}")]
    NoMain(String),
    #[error("could not read the watched branch")]
    Repository(#[source] RepositoryError),
    #[error("could not read the policies in force")]
    Policies(#[source] PoliciesError),
    #[error("could not see who else changes the same field")]
    Rivals(#[source] RivalError),
    #[error("ledger commit {commit} is not a ledger entry")]
    Grammar {
        commit: ObjectId,
        #[source]
        source: GrammarError,
    },
    #[error("the ledger breaks its own rules at {commit}")]
    Violation {
        commit: ObjectId,
        #[source]
        source: Violation,
    },
    #[error("ledger commit {commit} does not carry the files of its entry: {detail}")]
    Files { commit: ObjectId, detail: String },
    #[error("ledger commit {commit} carries no readable record")]
    Record {
        commit: ObjectId,
        #[source]
        source: RecordError,
    },
    #[error("ledger commit {commit} carries no readable checkpoint")]
    Checkpoint {
        commit: ObjectId,
        #[source]
        source: CheckpointError,
    },
    #[error("the ledger cannot be trusted: {0}")]
    Rewritten(String),
    /// Not a lost race: nothing on the remote had moved. What the remote said is untrusted text.
    #[error("the remote refused a push although nothing had moved there: {0}")]
    Refused(String),
    #[error("the next ledger entry would break its rules")]
    Draft(#[source] Violation),
    #[error("the next ledger entry could not be written down")]
    Message(#[source] GrammarError),
    #[error("the record of the next ledger entry could not be written down")]
    DraftRecord(#[source] RecordError),
    #[error("the checkpoint could not be written down")]
    DraftCheckpoint(#[source] CheckpointError),
    #[error("the last seen ledger position could not be kept")]
    LastSeen(#[source] FileError),
    /// Found before anything is signed: an entry that nobody believes would stop every reader.
    #[error("the next ledger entry would not be believed: {0}")]
    SigningKey(String),
    #[error("could not write")]
    Propose(#[source] ProposeError),
    #[error("the forge did not do as asked")]
    Forge(#[source] ForgeError),
    #[error("could not make the pull request text")]
    Text(#[source] TemplateError),
    #[error("git gave a name that is none")]
    Name(#[from] InvalidName),
    #[error("old alerts could not be forgotten")]
    Spool(#[source] SpoolError),
    #[error("the operating system gave no random bytes")]
    Random(#[source] RandomError),
}

/// A bounded set: metric label and log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCategory {
    Remote,
    Local,
    Ledger,
    Configuration,
}

impl ErrorCategory {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Local => "local",
            Self::Ledger => "ledger",
            Self::Configuration => "configuration",
        }
    }
}

/// Did this machine fail, before the remote was even asked?
fn is_local(error: &GitError) -> bool {
    use GitError::{Files, Objects, Program, Random};
    matches!(error, Files(_) | Objects { .. } | Program { .. } | Random(_))
}

impl TurnError {
    #[must_use]
    pub fn category(&self) -> ErrorCategory {
        match self {
            Self::Fetch(GitError::Settings { .. }) => ErrorCategory::Configuration,
            Self::Fetch(error) if is_local(error) => ErrorCategory::Local,
            Self::Fetch(_) | Self::Policies(_) | Self::Refused(_) | Self::Forge(_) => ErrorCategory::Remote,
            Self::NoMain(_) | Self::Repository(_) | Self::Text(_) | Self::SigningKey(_) => {
                ErrorCategory::Configuration
            }
            Self::Grammar { .. }
            | Self::Violation { .. }
            | Self::Files { .. }
            | Self::Record { .. }
            | Self::Checkpoint { .. }
            | Self::Rewritten(_) => ErrorCategory::Ledger,
            Self::Objects(_)
            | Self::Rivals(_)
            | Self::LastSeen(_)
            | Self::Propose(_)
            | Self::Name(_)
            | Self::Random(_)
            | Self::Spool(_)
            | Self::Draft(_)
            | Self::Message(_)
            | Self::DraftRecord(_)
            | Self::DraftCheckpoint(_) => ErrorCategory::Local,
        }
    }

    /// Does it concern one action or one cause only, so that the others can go on?
    #[must_use]
    pub fn is_local_to_step(&self) -> bool {
        match self.category() {
            ErrorCategory::Remote => matches!(self, Self::Refused(_) | Self::Forge(_)),
            ErrorCategory::Ledger => false,
            ErrorCategory::Configuration | ErrorCategory::Local => !matches!(
                self,
                Self::NoMain(_) | Self::SigningKey(_) | Self::LastSeen(_) | Self::Random(_) | Self::Fetch(_)
            ),
        }
    }

    /// May the local copy be at fault? Making a new one is always safe, but costs a whole fetch: a remote
    /// that cannot be reached, a rule, or a name that git refuses say nothing about the copy.
    #[must_use]
    pub fn doubts_copy(&self) -> bool {
        let git = match self {
            Self::Fetch(git) => return git.needs_reopen(),
            Self::Repository(RepositoryError::Unread(_)) => return true,
            Self::Objects(git)
            | Self::Rivals(RivalError::Git(git))
            | Self::Repository(RepositoryError::Git { source: git, .. })
            | Self::Propose(ProposeError::Git { source: git, .. }) => git,
            _ => return false,
        };
        !matches!(
            git,
            GitError::Refused { .. }
                | GitError::TooLarge { .. }
                | GitError::Malformed { .. }
                | GitError::EmptyChange
                | GitError::Sign(_)
        )
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        if let Self::Forge(error) = self {
            return error.hint();
        }
        if let Self::Policies(_) = self {
            return "nothing is decided on policies that may have changed; tars check says what is wrong with the cluster";
        }
        if let Self::Refused(_) = self {
            return "check that tars may push to the watched branch, the ledger branch and tars/* \
                    (branch protection, hooks, a branch named like one of their folders)";
        }
        if let Self::Fetch(GitError::Program { .. }) = self {
            return "install git 2.32 or newer where the PATH of tars finds it";
        }
        match self.category() {
            ErrorCategory::Remote => {
                "tars tries again at the next tick; check `repository.url`, `repository.token_file`, the network, \
                 and the space below `repository.state_dir`"
            }
            ErrorCategory::Configuration if matches!(self, Self::Fetch(_)) => "check `repository.url`",
            ErrorCategory::Configuration if matches!(self, Self::SigningKey(_)) => {
                "renew the key, or name another in `signing.key_file`; its public half belongs in the allowed keys; \
                 then restart tars"
            }
            ErrorCategory::Configuration => "check `repository.branch` and the files it names",
            ErrorCategory::Ledger => {
                "tars writes nothing until a person has looked: run `tars audit verify` on a fresh clone"
            }
            ErrorCategory::Local if matches!(self, Self::Fetch(_) | Self::LastSeen(_) | Self::Spool(_)) => {
                "is there space below `repository.state_dir`, and may tars write and open files there?"
            }
            ErrorCategory::Local => "tars makes a new local copy and tries again at the next tick",
        }
    }
}
