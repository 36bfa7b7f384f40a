//! Writes git: ledger entries, proposal branches, merges.
//! Checked changes and merge permits come in, commits go out. A push without either does not compile: the
//! only way to a [`ProposalCommit`] is through `CheckedChanges`, the only way to a merge through a
//! `MergePermit`. What to write is decided elsewhere.

pub mod forge;

use jiff::Timestamp;
use thiserror::Error;

use crate::decide::MergePermit;
use crate::model::ids::{BranchName, InvalidName, ObjectId};
use crate::outside::git::{CommitDraft, GitError, Mirror, PushOutcome, RefUpdate};
use crate::outside::sign::SigningKey;
use crate::render::CheckedChanges;

/// Writing to git failed before it was known whether anything landed.
#[derive(Debug, Error)]
pub enum ProposeError {
    #[error("could not write {what}")]
    Git {
        what: &'static str,
        #[source]
        source: GitError,
    },
    #[error("{head} does not hold the tree that was computed")]
    OtherTree { head: ObjectId },
    #[error("git answered with an object id that is none")]
    ObjectId(#[source] InvalidName),
}

/// Who writes, and where.
#[derive(Debug)]
pub struct Writer {
    pub signer: SigningKey,
    pub name: String,
    pub email: String,
    /// The watched branch.
    pub main: BranchName,
    pub ledger: BranchName,
}

/// A commit in the local object store that holds exactly some checked changes.
#[derive(Debug, Clone)]
pub struct ProposalCommit {
    head: ObjectId,
    tree: ObjectId,
}

impl ProposalCommit {
    #[must_use]
    pub fn head(&self) -> &ObjectId {
        &self.head
    }

    #[must_use]
    pub fn tree(&self) -> &ObjectId {
        &self.tree
    }
}

/// A ledger entry ready to be committed on top of `parent`.
#[derive(Debug)]
pub struct EntryDraft<'a> {
    /// Head of the ledger branch the entry was decided on; `None` creates the branch.
    pub parent: Option<&'a ObjectId>,
    pub message: &'a str,
    /// Path and new contents; `None` removes the file.
    pub files: Vec<(String, Option<Vec<u8>>)>,
    pub time: Timestamp,
}

/// A push of ledger entries: every branch of it, and how it ended.
#[derive(Debug)]
pub struct Recording {
    pub updates: Vec<RefUpdate>,
    pub outcome: PushOutcome,
}

/// A proposal branch that rides in the same atomic push as its ledger entries.
#[derive(Debug)]
pub enum Rider<'a> {
    /// Create the branch; it must not exist.
    Create(&'a BranchName, &'a ProposalCommit),
    /// Move the branch from the commit tars made before: to one that replaces it, or to one on top of it.
    Rebuild(&'a BranchName, &'a ProposalCommit, &'a ObjectId),
    /// Delete the branch if it still holds the commit tars made.
    Delete(&'a BranchName, &'a ObjectId),
    /// Bring the proposal into the watched branch (the first name) as a fast-forward, so that what the branch
    /// then holds is exactly the tree that was computed, and delete the proposal's branch. The entry that
    /// says "merged" and the merge itself land together or not at all: a replica that gave the reservation
    /// back meanwhile and the one that merges cannot both win.
    Merge(&'a BranchName, &'a MergePermit),
}

fn full(branch: &BranchName) -> String {
    format!("refs/heads/{branch}")
}

fn object_id(text: String) -> Result<ObjectId, ProposeError> {
    ObjectId::new(text).map_err(ProposeError::ObjectId)
}

impl Rider<'_> {
    fn updates(&self) -> Vec<RefUpdate> {
        let update = |branch, new: Option<&ObjectId>, expect: Option<&ObjectId>| RefUpdate {
            name: full(branch),
            new: new.map(ToString::to_string),
            expect: expect.map(ToString::to_string),
        };
        match self {
            Self::Create(branch, commit) => vec![update(branch, Some(commit.head()), None)],
            Self::Rebuild(branch, commit, old) => vec![update(branch, Some(commit.head()), Some(old))],
            Self::Delete(branch, old) => vec![update(branch, None, Some(old))],
            Self::Merge(main, permit) => vec![
                update(main, Some(permit.head()), Some(permit.base())),
                update(permit.branch(), None, Some(permit.head())),
            ],
        }
    }
}

impl Writer {
    fn identity(&self) -> (String, String) {
        (self.name.clone(), self.email.clone())
    }

    /// Commits checked changes on `base`, into the local object store only.
    ///
    /// # Errors
    /// When the object store cannot be written or a path leads through a symlink.
    pub fn commit(
        &self,
        mirror: &Mirror,
        changes: &CheckedChanges,
        base: &ObjectId,
        message: &str,
        time: Timestamp,
    ) -> Result<ProposalCommit, ProposeError> {
        let edits = changes.files().iter().map(|(path, bytes)| (path.to_string(), Some(bytes.clone())));
        let draft = CommitDraft {
            base_tree: Some(base.to_string()),
            edits: edits.collect(),
            parents: vec![base.to_string()],
            message: message.to_owned(),
            author: self.identity(),
            time_s: time.as_second(),
        };
        let written = mirror
            .objects()
            .write_commit(&draft, &self.signer)
            .map_err(|source| ProposeError::Git { what: "the proposal's commit", source })?;
        Ok(ProposalCommit { head: object_id(written.commit)?, tree: object_id(written.tree)? })
    }

    /// Commits one ledger entry, into the local object store only.
    ///
    /// # Errors
    /// When the object store cannot be written.
    pub fn write_entry(&self, mirror: &Mirror, entry: EntryDraft<'_>) -> Result<ObjectId, ProposeError> {
        let parent = entry.parent.map(ToString::to_string);
        let draft = CommitDraft {
            base_tree: parent.clone(),
            edits: entry.files,
            parents: parent.into_iter().collect(),
            message: entry.message.to_owned(),
            author: self.identity(),
            time_s: entry.time.as_second(),
        };
        let written = mirror
            .objects()
            .write_commit(&draft, &self.signer)
            .map_err(|source| ProposeError::Git { what: "a ledger entry", source })?;
        object_id(written.commit)
    }

    /// Pushes the entries that were written on top of `head`, up to `newest`, with the riders, in one atomic
    /// push that holds only if the ledger still stands at `head`: all of it lands, or nothing.
    ///
    /// # Errors
    /// When git could not be started, or a merge would not bring the tree that was computed; a push that may
    /// or may not have landed is not an error but [`PushOutcome::Unknown`].
    pub async fn record(
        &self,
        mirror: &Mirror,
        head: Option<&ObjectId>,
        newest: &ObjectId,
        riders: &[Rider<'_>],
    ) -> Result<Recording, ProposeError> {
        let git = |source| ProposeError::Git { what: "the ledger", source };
        for rider in riders {
            let Rider::Merge(_, permit) = rider else { continue };
            let tree = mirror.objects().tree_of(permit.head().as_str()).map_err(git)?;
            if tree != permit.tree().as_str() {
                return Err(ProposeError::OtherTree { head: permit.head().clone() });
            }
        }
        let mut updates = vec![RefUpdate {
            name: full(&self.ledger),
            new: Some(newest.to_string()),
            expect: head.map(ToString::to_string),
        }];
        updates.extend(riders.iter().flat_map(Rider::updates));
        let outcome = mirror.push(&updates).await.map_err(git)?;
        Ok(Recording { updates, outcome })
    }
}
