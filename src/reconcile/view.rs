//! What one look at the git side gives: refs, the watched branch, and what became of a proposal's branch.
//! Fetched refs come in, answers about one proposal go out. It reads the local copy only and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::TurnError;
use crate::decide;
use crate::model::change::{FieldChange, ProposedChange};
use crate::model::ids::{BranchName, ObjectId};
use crate::model::playbook::Plan;
use crate::model::reason::Reason;
use crate::model::trailers;
use crate::observe::repository::Snapshot;
use crate::observe::rivals::{Look, Rivals};
use crate::outside::git::Objects;
use crate::render;

/// How far back a merge by a person is looked for.
const MERGE_SEARCH_MAX: usize = 500;

/// The remote as it was at the last fetch.
#[derive(Debug)]
pub struct View<'a> {
    pub refs: &'a BTreeMap<String, String>,
    pub objects: &'a Objects,
    pub snapshot: Arc<Snapshot>,
    /// Branches that are neither the watched one, nor the ledger, nor proposals; not asked for when nothing
    /// is open, and the reason when they could not be read.
    pub others: Option<Result<BTreeMap<String, String>, String>>,
    pub rivals: &'a Rivals,
}

/// Where a proposal's branch stands, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchFate {
    /// As tars left it, not in the watched branch.
    Waiting,
    /// The change is in the watched branch since this commit.
    Merged(ObjectId),
    /// Somebody pushed to the branch.
    Taken(ObjectId),
    /// Somebody deleted the branch without merging it.
    Deleted,
}

impl View<'_> {
    #[must_use]
    pub fn main(&self) -> &ObjectId {
        &self.snapshot.commit
    }

    #[must_use]
    pub fn branch_head(&self, branch: &BranchName) -> Option<ObjectId> {
        let head = self.refs.get(&format!("refs/heads/{branch}"))?;
        ObjectId::new(head.as_str()).ok()
    }

    /// Why a change of `fields` gives way to somebody else's, with the other branches as they are in `others`.
    ///
    /// # Errors
    /// When the local copy cannot be read.
    pub fn contested(
        &self,
        others: &BTreeMap<String, String>,
        fields: &[FieldChange],
        plan: &Plan,
        now: Timestamp,
    ) -> Result<Vec<Reason>, TurnError> {
        let recent_since = now.checked_sub(SignedDuration::from_secs(decide::RECENT_S)).unwrap_or(now);
        let look = Look { objects: self.objects, main: self.main(), others, now, recent_since };
        let rivals = self.rivals.find(&look, fields).map_err(TurnError::Rivals)?;
        Ok(decide::yields(&rivals, plan))
    }

    /// What happened to a proposal that tars pushed as `change`, on a branch that it left at `tip`.
    ///
    /// # Errors
    /// When the local copy cannot be read.
    pub fn fate(&self, change: &ProposedChange, tip: &ObjectId) -> Result<BranchFate, TurnError> {
        if let Some(commit) = self.merged_as(change)? {
            return Ok(BranchFate::Merged(commit));
        }
        Ok(match self.branch_head(&change.branch) {
            None => BranchFate::Deleted,
            Some(head) if head == *tip => BranchFate::Waiting,
            Some(head) => BranchFate::Taken(head),
        })
    }

    /// The first-parent commit of the watched branch that brought the change in, whether by fast-forward,
    /// merge, rebase or squash: what counts is the resulting content, because a forge may rewrite all else.
    fn merged_as(&self, change: &ProposedChange) -> Result<Option<ObjectId>, TurnError> {
        let main = self.main();
        if *main == change.base {
            return Ok(None);
        }
        if !self.is_known(change)? {
            return self.arrived_without_branch(change);
        }
        let contains =
            self.objects.is_ancestor(change.head.as_str(), main.as_str()).map_err(TurnError::Objects)?;
        if !contains && self.moved_paths(change)?.is_none_or(|moved| !moved.all_as_proposed) {
            return Ok(None);
        }
        // Newest first: the last one for which the content is already there is the one that brought it.
        let mut brought = main.clone();
        for commit in self.since_base(change)? {
            if !self.holds_proposed_files(change, &commit)? {
                break;
            }
            brought = commit;
        }
        Ok(Some(brought))
    }

    /// Does the watched branch still say, in a commit's trailers, which action `commit` brought in: because our commit
    /// is part of it, or because whoever made another of it took its message over?
    ///
    /// # Errors
    /// When the local copy cannot be read.
    pub fn keeps_trailers(&self, change: &ProposedChange, commit: &ObjectId) -> Result<bool, TurnError> {
        let head = change.head.as_str();
        if self.objects.has(head).map_err(TurnError::Objects)?
            && self.objects.is_ancestor(head, commit.as_str()).map_err(TurnError::Objects)?
        {
            return Ok(true);
        }
        let made = self.objects.commit(commit.as_str()).map_err(TurnError::Objects)?;
        Ok(trailers::claims(&made.message))
    }

    /// Does this copy have the proposal's commit? A fresh one has not when the branch was deleted and the
    /// commit never became part of the watched branch.
    fn is_known(&self, change: &ProposedChange) -> Result<bool, TurnError> {
        let has = |id: &ObjectId| self.objects.has(id.as_str()).map_err(TurnError::Objects);
        Ok(has(&change.head)? && has(&change.base)?)
    }

    /// First-parent commits of the watched branch above the proposal's base, newest first: all of a window
    /// when the branch was rewritten and the base is on that line no more.
    fn since_base(&self, change: &ProposedChange) -> Result<Vec<ObjectId>, TurnError> {
        let line =
            self.objects.walk(self.main().as_str(), None, MERGE_SEARCH_MAX).map_err(TurnError::Objects)?;
        let above = line.into_iter().take_while(|it| it != change.base.as_str());
        Ok(above.map(ObjectId::new).collect::<Result<_, _>>()?)
    }

    /// The commit that brought a change whose own commit is gone, as after a squash by a forge that then
    /// deletes the branch: every field has the proposed value, since the newest commit that touched its file.
    fn arrived_without_branch(&self, change: &ProposedChange) -> Result<Option<ObjectId>, TurnError> {
        let index = &self.snapshot.index;
        if change.fields.is_empty() || !change.fields.iter().all(|field| render::stands(index, field)) {
            return Ok(None);
        }
        let mut brought = self.main().clone();
        for commit in self.since_base(change)? {
            let later = self
                .objects
                .changed_paths(Some(commit.as_str()), self.main().as_str())
                .map_err(TurnError::Objects)?;
            let touched =
                |(path, _, _): &(String, _, _)| change.fields.iter().any(|it| it.file.as_str() == path);
            if later.iter().any(touched) {
                break;
            }
            brought = commit;
        }
        Ok(Some(brought))
    }

    fn holds_proposed_files(&self, change: &ProposedChange, commit: &ObjectId) -> Result<bool, TurnError> {
        let wanted = self
            .objects
            .changed_paths(Some(change.base.as_str()), change.head.as_str())
            .map_err(TurnError::Objects)?;
        let differing = self
            .objects
            .changed_paths(Some(commit.as_str()), change.head.as_str())
            .map_err(TurnError::Objects)?;
        Ok(!wanted.iter().any(|(path, _, _)| differing.iter().any(|(other, _, _)| other == path)))
    }

    /// Did the watched branch move under the files of the proposal since it was computed? `None`: no file
    /// of the proposal was touched.
    ///
    /// # Errors
    /// When the local copy cannot be read.
    pub fn moved_paths(&self, change: &ProposedChange) -> Result<Option<Moved>, TurnError> {
        if *self.main() == change.base {
            return Ok(None);
        }
        if !self.is_known(change)? {
            let paths = change.fields.iter().map(|it| it.file.to_string()).collect();
            return Ok(Some(Moved { paths, all_as_proposed: false }));
        }
        let (base, head) = (change.base.as_str(), change.head.as_str());
        let proposed = self.objects.changed_paths(Some(base), head).map_err(TurnError::Objects)?;
        let mut touched = Vec::new();
        for (path, _, _) in &proposed {
            // Only these paths: how much else moved on the watched branch does not matter here.
            let at = |commit: &str| self.objects.entry(commit, path).map_err(TurnError::Objects);
            let now = at(self.main().as_str())?;
            if now != at(base)? {
                touched.push((path, now == at(head)?));
            }
        }
        if touched.is_empty() {
            return Ok(None);
        }
        let all_as_proposed = touched.len() == proposed.len() && touched.iter().all(|(_, same)| *same);
        Ok(Some(Moved { paths: touched.iter().map(|(path, _)| (*path).clone()).collect(), all_as_proposed }))
    }
}

/// Files of a proposal that the watched branch changed as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub paths: Vec<String>,
    /// Every file of the proposal stands on the watched branch exactly as proposed.
    pub all_as_proposed: bool,
}
