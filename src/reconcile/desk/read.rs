//! Reading the forge: one list of what is open, and for each waiting proposal its checks, reviews and controls.
//! When any of it cannot be read, nothing of it counts: half a picture is no leave to merge.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Desk, GROUND_AGE_MAX};
use crate::decide::{Ground, HOLD_LABEL, PullSeen};
use crate::model::action::ActionState;
use crate::model::change::ProposedChange;
use crate::model::forge::{Checks, PullRequest, PullState};
use crate::model::history::History;
use crate::model::ids::{ActionId, BranchName};
use crate::propose::forge::ForgeError;

impl Desk {
    /// Reads what the forge says now about every proposal of `history` that waits.
    ///
    /// # Errors
    /// The forge's; until the next success every proposal is held.
    pub async fn read(&mut self, history: &History, now: Timestamp) -> Result<(), ForgeError> {
        let outcome = self.try_read(history, now).await;
        self.unread = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }

    async fn try_read(&mut self, history: &History, now: Timestamp) -> Result<(), ForgeError> {
        self.read_ground(now).await?;
        let open = self.forge.open_pulls().await?;
        self.open = open.into_iter().filter(PullRequest::is_ours).collect();
        let mut seen = BTreeMap::new();
        for (action, change) in waiting(history) {
            if let Some(pull) = self.pull_of(&change.branch).await? {
                self.numbers.insert(change.branch.clone(), pull.number);
                let mut closer = self.look_closer(pull, &change).await?;
                closer.refused = self.refusal(&action, now).map(str::to_owned);
                seen.insert(change.branch, closer);
            }
        }
        let waits =
            |branch: &BranchName| history.open.values().any(|it| is_on(it.spec.change.as_ref(), branch));
        self.numbers.retain(|branch, _| waits(branch));
        self.seen = seen;
        Ok(())
    }

    async fn read_ground(&mut self, now: Timestamp) -> Result<(), ForgeError> {
        let is_fresh = |at: &Timestamp| now.duration_since(*at).abs() <= GROUND_AGE_MAX;
        if self.ground.as_ref().is_some_and(|(at, _)| is_fresh(at)) {
            return Ok(());
        }
        let account = self.forge.whoami().await?;
        let facts = self.forge.repository().await?;
        let protection = self.forge.protection(&self.base).await?;
        let ground = Ground {
            account,
            permissions: facts.permissions,
            methods: facts.merge_methods,
            protection,
            base: self.base.clone(),
            required_checks: self.settings.required_checks.clone(),
        };
        self.ground = Some((now, ground));
        Ok(())
    }

    /// The pull request from `branch`: the open one into the watched branch, otherwise one that somebody turned to
    /// another branch, otherwise the one that was known, otherwise whatever the forge finds.
    async fn pull_of(&self, branch: &BranchName) -> Result<Option<PullRequest>, ForgeError> {
        let from = |it: &&PullRequest| it.branch == branch.as_str();
        let here = |it: &&PullRequest| from(it) && it.base == self.base.as_str();
        let listed = self.open.iter().find(here).or_else(|| self.open.iter().find(from)).map(|it| it.number);
        // A list does not tell everything, and some of it late.
        match listed.or_else(|| self.numbers.get(branch).copied()) {
            Some(number) => self.forge.read(number).await.map(Some),
            None => self.forge.find(branch, &self.base).await,
        }
    }

    async fn look_closer(&self, pull: PullRequest, change: &ProposedChange) -> Result<PullSeen, ForgeError> {
        if pull.state != PullState::Open {
            let checks = Checks { head: change.head.clone(), all: Vec::new() };
            return Ok(PullSeen { pull, checks, reviews: Vec::new(), held: None, refused: None });
        }
        let checks = self.forge.checks(&change.head).await?;
        let reviews = self.forge.reviews(pull.number).await?;
        let held = pull
            .labels
            .contains(HOLD_LABEL)
            .then(|| format!("the label {HOLD_LABEL} is on #{}", pull.number));
        Ok(PullSeen { pull, checks, reviews, held, refused: None })
    }
}

/// The newest action and change of every branch on which a proposal waits.
fn waiting(history: &History) -> Vec<(ActionId, ProposedChange)> {
    let waits = |state| matches!(state, ActionState::Proposed | ActionState::MergeReserved);
    let changes =
        history.open.values().filter(|it| waits(it.state())).filter_map(|it| it.spec.change.as_ref());
    let branches: BTreeSet<&BranchName> = changes.map(|it| &it.branch).collect();
    let newest = |branch| {
        let line = history.waiting_on(branch);
        let record = line.last()?;
        Some((record.id().clone(), record.spec.change.clone()?))
    };
    branches.into_iter().filter_map(newest).collect()
}

fn is_on(change: Option<&ProposedChange>, branch: &BranchName) -> bool {
    change.is_some_and(|it| it.branch == *branch)
}
