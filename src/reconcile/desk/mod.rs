//! The pull requests of one repository, as this process knows them: read before anything is decided, brought in line
//! with the ledger after everything is decided. The forge's answers come in; what stands there about each waiting
//! proposal goes out, and texts, labels, comments and statuses go to the forge.
//!
//! A pull request is a projection: nothing is remembered on the forge that the ledger or git does not say, any
//! replica may write it, and writing it twice changes nothing. It never decides and never merges by itself.

mod merge;
mod read;
pub mod show;
mod talk;

#[cfg(test)]
pub mod scripted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::decide::{Ground, OnForge, PullSeen};
use crate::model::change::ProposedChange;
use crate::model::forge::{Comment, PullRequest, PullState, RequiredCheck};
use crate::model::ids::{ActionId, BranchName, InstanceId};
use crate::model::request::Request;
use crate::propose::forge::{Forge, ForgeError, Trouble};

/// The token's rights and the branch's protection are asked for again after this long.
const GROUND_AGE_MAX: SignedDuration = SignedDuration::from_mins(5);
/// What is said under merged pull requests is read this often.
const MERGED_TALK_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Most pull requests whose texts are remembered; beyond, the oldest number is compared anew.
const SHOWN_MAX: usize = 1_000;

/// What the settings say about pull requests.
#[derive(Debug, Clone, Default)]
pub struct DeskSettings {
    pub required_checks: Vec<RequiredCheck>,
    /// Asked for a review when a person has to merge.
    pub reviewers: Vec<String>,
    /// Least time between two writes.
    pub pace: Duration,
}

/// A text that was written, and how the forge keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    wanted: u64,
    kept: u64,
    status: Option<u64>,
    asked_for_review: bool,
}

/// What stays the same of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    number: u64,
    url: String,
}

/// Merges of one action that the forge refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusals {
    count: u32,
    said: String,
    newest: Timestamp,
}

/// Pull requests of one repository.
#[derive(Debug)]
pub struct Desk {
    forge: Arc<dyn Forge>,
    base: BranchName,
    settings: DeskSettings,
    ground: Option<(Timestamp, Ground)>,
    /// Of proposals that wait, by head branch, as of the last reading.
    seen: BTreeMap<BranchName, PullSeen>,
    /// Every open pull request from a branch of ours, as of the last reading.
    open: Vec<PullRequest>,
    /// Why the last reading failed.
    unread: Option<String>,
    /// The forge asked not to be asked before this time.
    quiet_until: Option<Timestamp>,
    /// Pull requests that were seen once, by head branch; `None`: the forge has none.
    known: BTreeMap<BranchName, Option<Known>>,
    shown: BTreeMap<u64, Shown>,
    /// Merges that were asked for and not answered: they may still be under way.
    unsettled: BTreeSet<ActionId>,
    /// Merges the forge said it made for us.
    merged: BTreeSet<ActionId>,
    refusals: BTreeMap<ActionId, Refusals>,
    instance: InstanceId,
    /// What was said under each pull request, as of the time the forge says it last changed.
    talk: BTreeMap<u64, (Timestamp, Vec<Comment>)>,
    rights: talk::Rights,
    wishes: Vec<Request>,
    replies: Vec<talk::Reply>,
    /// Comments that were answered by this process.
    answered: BTreeSet<u64>,
    /// When what was said under merged ones was read last.
    merged_read_at: Option<Timestamp>,
    wrote_at: Option<crate::outside::clock::Stopwatch>,
}

impl Desk {
    #[must_use]
    pub fn new(
        forge: Arc<dyn Forge>,
        base: BranchName,
        instance: InstanceId,
        settings: DeskSettings,
    ) -> Self {
        Self {
            forge,
            base,
            settings,
            ground: None,
            seen: BTreeMap::new(),
            open: Vec::new(),
            unread: Some("it was not read yet".to_owned()),
            quiet_until: None,
            known: BTreeMap::new(),
            shown: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            merged: BTreeSet::new(),
            refusals: BTreeMap::new(),
            instance,
            talk: BTreeMap::new(),
            rights: BTreeMap::new(),
            wishes: Vec::new(),
            replies: Vec::new(),
            answered: BTreeSet::new(),
            merged_read_at: None,
            wrote_at: None,
        }
    }

    /// Where the proposal of `change` stands.
    #[must_use]
    pub fn stands(&self, change: &ProposedChange) -> OnForge<'_> {
        if let Some(why) = &self.unread {
            return OnForge::Unread(why);
        }
        match (self.seen.get(&change.branch), &self.ground) {
            (Some(seen), Some((_, ground))) => OnForge::Seen(seen, ground),
            _ => OnForge::Missing,
        }
    }

    /// A pull request that ended on the forge while its proposal waits.
    #[must_use]
    pub fn ended(&self, change: &ProposedChange) -> Option<&PullRequest> {
        if self.unread.is_some() {
            return None;
        }
        self.seen.get(&change.branch).map(|it| &it.pull).filter(|it| it.state != PullState::Open)
    }

    /// Is this a pull request into the watched branch? A person can turn it to another one.
    #[must_use]
    pub fn is_here(&self, pull: &PullRequest) -> bool {
        pull.base == self.base.as_str()
    }

    /// A forge that limits our rate gets what it asks for, and what was read before it said so is old by then.
    fn heed(&mut self, error: &ForgeError) {
        if let Trouble::RateLimited(until) = error.trouble {
            self.quiet_until = Some(until);
            self.unread = Some(error.to_string());
        }
    }

    fn know(&mut self, branch: &BranchName, pull: &PullRequest) {
        let known = Known { number: pull.number, url: pull.url.clone() };
        self.known.insert(branch.clone(), Some(known));
    }

    /// Number of the pull request of `branch`, if it is known.
    #[must_use]
    pub fn number(&self, branch: &BranchName) -> Option<u64> {
        self.known.get(branch)?.as_ref().map(|it| it.number)
    }

    /// May a merge of this action, which tars asked for, still be under way? Then its branch has to move before its
    /// reservation can be given back: the forge merges no other head than the one it was given.
    #[must_use]
    pub fn is_unsettled(&self, action: &ActionId) -> bool {
        self.unsettled.contains(action)
    }

    /// Did tars, and no person, have the forge merge this action?
    #[must_use]
    pub fn merged_here(&self, action: &ActionId, branch: &BranchName) -> bool {
        let me = self.ground.as_ref().map(|(_, ground)| &ground.account.login);
        match self.seen.get(branch).and_then(|it| it.pull.merged_by.as_ref()) {
            Some(by) => Some(by) == me,
            None => self.merged.contains(action) || self.unsettled.contains(action),
        }
    }
}
