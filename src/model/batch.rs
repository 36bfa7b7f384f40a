//! A batch: proposals that wait for a person on one branch, one commit each, every commit on top of the one
//! before. Records come in, the line they stand in goes out. It never says what may join or must leave.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{ActionSpec, RemediationAction, RiskClass};
use super::change::ProposedChange;
use super::history::History;
use super::ids::{ActionId, BranchName, InvalidName, ObjectId};
use super::policy::Mode;

/// What the branch of a batch begins with; the id of the action that began it follows.
const BRANCH_PREFIX: &str = "tars/batch-";

impl ActionSpec {
    /// May it ever merge without a person? Fixed when it is proposed. What may has a branch of its own.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.mode == Mode::AutoMerge && self.risk.class == RiskClass::Low
    }
}

impl ProposedChange {
    /// Is it on a branch that other proposals may join?
    #[must_use]
    pub fn is_on_batch(&self) -> bool {
        self.branch.as_str().starts_with(BRANCH_PREFIX)
    }

    /// Is its branch the own one of `action`: named after it?
    #[must_use]
    pub fn is_on_own_branch(&self, action: &ActionId) -> bool {
        let name = self.branch.as_str();
        match name.strip_prefix(BRANCH_PREFIX) {
            Some(begun_by) => begun_by == action.as_str(),
            None => name.starts_with("tars/") && name.ends_with(&format!("/{action}")),
        }
    }
}

/// The branch of the batch that `action` begins.
///
/// # Errors
/// Never in practice.
pub fn branch(action: &ActionId) -> Result<BranchName, InvalidName> {
    BranchName::new(format!("{BRANCH_PREFIX}{action}"))
}

/// Of `records`, those that wait on `branch`, the lowest commit first.
#[must_use]
pub fn line<'a>(
    records: impl IntoIterator<Item = &'a RemediationAction>,
    branch: &BranchName,
) -> Vec<&'a RemediationAction> {
    let on: Vec<(&ProposedChange, &RemediationAction)> = records
        .into_iter()
        .filter(|it| it.state().waits())
        .filter_map(|it| it.spec.change.as_ref().map(|change| (change, it)))
        .filter(|(change, _)| change.branch == *branch)
        .collect();
    let heads: BTreeSet<&ObjectId> = on.iter().map(|(change, _)| &change.head).collect();
    let above: BTreeMap<&ObjectId, &(&ProposedChange, &RemediationAction)> =
        on.iter().map(|row| (&row.0.base, row)).collect();
    let mut line = Vec::new();
    for lowest in on.iter().filter(|(change, _)| !heads.contains(&change.base)) {
        let mut next = Some(lowest);
        while let Some((change, record)) = next {
            line.push(*record);
            next = above.get(&change.head).copied();
        }
    }
    line
}

impl History {
    /// The proposals that wait on `branch`, the lowest commit first.
    #[must_use]
    pub fn waiting_on(&self, branch: &BranchName) -> Vec<&RemediationAction> {
        line(self.open.values(), branch)
    }
}
