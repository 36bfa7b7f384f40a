//! What a proposal's pull request says about merging it: who holds it, which checks and approvals are missing,
//! whether it still is what tars opened. What the forge said a moment ago comes in, reasons go out. Nothing on a
//! forge can allow what the ledger, the policy or the diff forbid: this only adds objections.

use std::collections::BTreeSet;

use crate::model::change::ProposedChange;
use crate::model::forge::{
    Account, BRANCH_PREFIX, Checks, ChecksVerdict, MergeMethod, Permissions, Protection, PullRequest,
    PullState, RequiredCheck, Review, ReviewVerdict,
};
use crate::model::ids::BranchName;
use crate::model::reason::{Reason, ReasonCode};

/// A person who puts this label on a pull request stops its automatic merge until it is gone.
pub const HOLD_LABEL: &str = "tars/hold";

/// Ways to merge through a forge, the best first: what keeps the reviewed commit and its signature, then what
/// gives the watched branch the computed tree all the same.
const METHODS: [MergeMethod; 4] =
    [MergeMethod::FastForward, MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase];

/// What the forge says of the repository and of the token that tars has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    pub account: Account,
    pub permissions: Permissions,
    pub methods: BTreeSet<MergeMethod>,
    /// Of the watched branch; `None`: the forge has no such branch.
    pub protection: Option<Protection>,
    pub base: BranchName,
    /// Checks that the settings ask for, beside those of the protection.
    pub required_checks: Vec<RequiredCheck>,
}

impl Ground {
    /// How tars would merge here; `None`: the repository allows no way that tars takes.
    #[must_use]
    pub fn method(&self) -> Option<MergeMethod> {
        METHODS.into_iter().find(|it| self.methods.contains(it))
    }
}

/// One pull request as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSeen {
    pub pull: PullRequest,
    /// Of exactly the commit that tars proposed.
    pub checks: Checks,
    pub reviews: Vec<Review>,
    /// Who holds it, and how; `None`: nobody.
    pub held: Option<String>,
    /// What the forge said when it refused, several times, to merge it.
    pub refused: Option<String>,
}

/// Where a proposal stands on the forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnForge<'a> {
    /// There is no forge: the branch is all there is.
    Nowhere,
    /// The forge could not be read, for this reason.
    Unread(&'a str),
    /// No pull request was opened yet.
    Missing,
    Seen(&'a PullSeen, &'a Ground),
}

/// Everything on the forge that stands against an automatic merge of `change`.
#[must_use]
pub fn objections(on: OnForge<'_>, change: &ProposedChange) -> Vec<Reason> {
    match on {
        OnForge::Nowhere => Vec::new(),
        OnForge::Unread(why) => vec![Reason::new(ReasonCode::ForgeUnreachable, why)],
        OnForge::Missing => {
            vec![Reason::new(ReasonCode::PullRequestMissing, "its pull request is not open yet")]
        }
        OnForge::Seen(seen, ground) => {
            let mut reasons = pull(seen, ground, change);
            reasons.extend(people(seen, ground, change));
            reasons.extend(checks(seen, ground, change));
            reasons.extend(rights(seen, ground));
            reasons
        }
    }
}

/// Is it still the pull request that tars opened?
fn pull(seen: &PullSeen, ground: &Ground, change: &ProposedChange) -> Vec<Reason> {
    let pull = &seen.pull;
    let mut reasons = Vec::new();
    if pull.auto_merge {
        let text = format!("somebody told the forge to merge #{} by itself; take that back", pull.number);
        reasons.push(Reason::new(ReasonCode::NativeAutoMerge, text));
    }
    let mut altered = |text: String| reasons.push(Reason::new(ReasonCode::PullRequestAltered, text));
    if pull.state != PullState::Open {
        altered(format!("pull request #{} is {}", pull.number, pull.state.as_str()));
    }
    if pull.base != ground.base.as_str() {
        altered(format!("pull request #{} goes to another branch than {}", pull.number, ground.base));
    }
    if pull.is_foreign || pull.branch != change.branch.as_str() {
        altered(format!("pull request #{} comes from another branch", pull.number));
    }
    if pull.is_draft {
        altered(format!("somebody made pull request #{} a draft", pull.number));
    }
    reasons
}

fn people(seen: &PullSeen, ground: &Ground, change: &ProposedChange) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(held) = &seen.held {
        reasons.push(Reason::new(ReasonCode::HeldByPerson, held.as_str()));
    }
    let against = |it: &&Review| it.verdict == ReviewVerdict::ChangesRequested && !it.is_outdated;
    if let Some(review) = seen.reviews.iter().find(against) {
        let text = format!("{} asks for changes", review.by);
        reasons.push(Reason::new(ReasonCode::ChangesRequested, text));
    }
    let needed = ground.protection.as_ref().map_or(0, |it| it.required_approvals);
    let approvers: BTreeSet<&str> =
        seen.reviews.iter().filter(|it| it.approves(&change.head)).map(|it| it.by.as_str()).collect();
    if approvers.len() < usize::try_from(needed).unwrap_or(usize::MAX) {
        let text = format!("{} of {needed} approvals of {}", approvers.len(), change.head.short());
        reasons.push(Reason::new(ReasonCode::ApprovalsMissing, text));
    }
    reasons
}

/// The checks of exactly the proposed commit. Our own statuses say what this function says: they are no proof.
fn checks(seen: &PullSeen, ground: &Ground, change: &ProposedChange) -> Vec<Reason> {
    let not_green = |text: String| vec![Reason::new(ReasonCode::ChecksNotGreen, text)];
    if seen.checks.head != change.head {
        return not_green(format!("the checks of {} were not read", change.head.short()));
    }
    let is_own = |context: &str, by: &str| context.starts_with(BRANCH_PREFIX) && by == ground.account.login;
    let all = seen.checks.all.iter().filter(|it| !is_own(&it.context, &it.by)).cloned();
    let checks = Checks { head: change.head.clone(), all: all.collect() };
    let protected = ground.protection.iter().flat_map(|it| &it.required_checks);
    let asked = ground.required_checks.iter().map(|it| &it.context);
    let required: Vec<String> = protected.chain(asked).cloned().collect();
    match checks.verdict(&required) {
        ChecksVerdict::Failed(names) => return not_green(format!("failed: {}", names.join(", "))),
        ChecksVerdict::Waiting(names) => return not_green(format!("waiting for {}", names.join(", "))),
        ChecksVerdict::Green | ChecksVerdict::None => {}
    }
    for wanted in ground.required_checks.iter() {
        let Some(by) = &wanted.by else { continue };
        let other = checks.named(&wanted.context).find(|it| it.by != *by);
        if let Some(other) = other {
            return not_green(format!("{} was posted by {}, not by {by}", other.context, other.by));
        }
    }
    Vec::new()
}

/// A token that can go around the rules of the forge makes them worth nothing; one that may not merge cannot.
fn rights(seen: &PullSeen, ground: &Ground) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(said) = &seen.refused {
        reasons.push(Reason::new(ReasonCode::MergeRefused, said.as_str()));
    }
    let who = &ground.account.login;
    if ground.permissions.admin || ground.account.is_site_admin {
        let text = format!("{who} administers the repository and could go around its protection");
        reasons.push(Reason::new(ReasonCode::TokenTooStrong, text));
    }
    if !ground.protection.as_ref().is_some_and(|it| it.is_protected) {
        let text = format!("{} has no protection on the forge, so nothing has to be green", ground.base);
        reasons.push(Reason::new(ReasonCode::BranchUnprotected, text));
    }
    if ground.protection.as_ref().is_some_and(|it| !it.may_merge) {
        let text = format!("{who} may not merge into {}", ground.base);
        reasons.push(Reason::new(ReasonCode::MergeRefused, text));
    }
    if ground.method().is_none() {
        let text = "the repository allows neither fast-forward, merge commit, squash nor rebase";
        reasons.push(Reason::new(ReasonCode::MergeRefused, text));
    }
    reasons
}
