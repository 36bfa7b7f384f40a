//! Reading the forge: one list of what is open, and for each waiting proposal its checks, reviews and controls.
//! When any of it cannot be read, nothing of it counts: half a picture is no leave to merge.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Desk, GROUND_AGE_MAX, MERGED_TALK_EVERY};
use crate::decide::{Ground, PullSeen};
use crate::model::action::RemediationAction;
use crate::model::change::ProposedChange;
use crate::model::forge::{Checks, PullRequest, PullState};
use crate::model::history::History;
use crate::model::ids::BranchName;
use crate::model::request::Request;
use crate::propose::forge::ForgeError;

impl Desk {
    /// Reads what the forge says now about every proposal of `history` that waits.
    ///
    /// # Errors
    /// The forge's; until the next success every proposal is held. While it wants to be left alone, it is.
    pub async fn read(&mut self, history: &History, now: Timestamp) -> Result<(), ForgeError> {
        if self.quiet_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.quiet_until = None;
        let outcome = self.try_read(history, now).await;
        self.unread = outcome.as_ref().err().map(ToString::to_string);
        if let Err(error) = &outcome {
            self.heed(error);
        }
        outcome
    }

    async fn try_read(&mut self, history: &History, now: Timestamp) -> Result<(), ForgeError> {
        self.read_ground(now).await?;
        let open = self.forge.open_pulls().await?;
        self.open = open.into_iter().filter(PullRequest::is_ours).collect();
        self.rights.clear();
        let mut seen = BTreeMap::new();
        let mut wishes = Vec::new();
        for record in waiting(history) {
            let Some(change) = &record.spec.change else { continue };
            let Some(pull) = self.pull_of(&change.branch).await? else { continue };
            self.know(&change.branch, &pull);
            let mut closer = self.look_closer(pull, change).await?;
            closer.refused = self.refusal(record.id(), now).map(str::to_owned);
            if closer.pull.state == PullState::Open {
                let heard = self.listen(&closer.pull, record, history, now).await?;
                closer.held = heard.held;
                wishes.extend(heard.wishes);
            }
            seen.insert(change.branch.clone(), closer);
        }
        wishes.extend(self.listen_to_merged(history, now).await?);
        (self.seen, self.wishes) = (seen, wishes);
        let numbers: BTreeSet<u64> = self.known.values().flatten().map(|it| it.number).collect();
        self.talk.retain(|number, _| numbers.contains(number));
        Ok(())
    }

    /// Under a merged pull request somebody may ask for the way back.
    async fn listen_to_merged(
        &mut self,
        history: &History,
        now: Timestamp,
    ) -> Result<Vec<Request>, ForgeError> {
        let is_due = |at: &Timestamp| now.duration_since(*at).abs() >= MERGED_TALK_EVERY;
        if self.merged_read_at.as_ref().is_some_and(|at| !is_due(at)) {
            return Ok(Vec::new());
        }
        let mut wishes = Vec::new();
        let in_force = history.effects.values().map(|it| &it.record);
        let merged = history.open.values().filter(|it| it.status.merge.is_some()).chain(in_force);
        for record in merged {
            let Some(change) = &record.spec.change else { continue };
            let Some(number) = self.number(&change.branch) else { continue };
            let pull = self.forge.read(number).await?;
            wishes.extend(self.listen(&pull, record, history, now).await?.wishes);
        }
        self.merged_read_at = Some(now);
        Ok(wishes)
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
        match listed.or_else(|| self.number(branch)) {
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
        Ok(PullSeen { pull, checks, reviews, held: None, refused: None })
    }
}

/// The newest action of every branch on which a proposal waits.
fn waiting(history: &History) -> Vec<&RemediationAction> {
    let changes =
        history.open.values().filter(|it| it.state().waits()).filter_map(|it| it.spec.change.as_ref());
    let branches: BTreeSet<&BranchName> = changes.map(|it| &it.branch).collect();
    branches.into_iter().filter_map(|branch| history.waiting_on(branch).last().copied()).collect()
}
