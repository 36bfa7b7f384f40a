//! The JSON of GitHub's REST API (2022-11-28), and nothing else. Bodies that the driver has bounded come in, nouns go
//! out; fields that are not named here are ignored, words that are not known prove nothing. Nothing is sent from here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::forge::{
    self, Access, Account, Check, CheckState, MergeMethod, Permissions, Protection, PullRequest, PullState,
    RepositoryFacts, Review, ReviewVerdict,
};
use crate::model::ids::ObjectId;

#[derive(Debug, Deserialize)]
pub struct User {
    pub login: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    site_admin: bool,
}

impl From<User> for Account {
    fn from(it: User) -> Self {
        Self { login: it.login, is_site_admin: it.site_admin }
    }
}

fn login(user: Option<User>) -> String {
    user.map(|it| it.login).unwrap_or_default()
}

/// An app, as it sees itself.
#[derive(Debug, Deserialize)]
pub struct App {
    slug: String,
}

impl From<App> for Account {
    fn from(it: App) -> Self {
        Self { login: format!("{}[bot]", it.slug), is_site_admin: false }
    }
}

/// An app where it is installed, with what it was given: area to `read`, `write` or `admin`.
#[derive(Debug, Deserialize)]
pub struct Installation {
    #[serde(default)]
    permissions: BTreeMap<String, String>,
}

impl Installation {
    pub fn may_write(&self, area: &str) -> bool {
        self.permissions.get(area).is_some_and(|it| matches!(it.as_str(), "write" | "admin"))
    }

    pub fn permissions(&self) -> Permissions {
        let read = self.permissions.contains_key("contents");
        Permissions { read, push: self.may_write("contents"), admin: self.may_write("administration") }
    }
}

#[derive(Debug, Default, Deserialize)]
struct WirePermissions {
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    push: bool,
    #[serde(default)]
    pull: bool,
}

#[derive(Debug, Deserialize)]
pub struct Repository {
    id: u64,
    full_name: String,
    default_branch: String,
    html_url: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    permissions: Option<WirePermissions>,
    // Told only to those who may push; what is not told is found out by the merge.
    allow_merge_commit: Option<bool>,
    allow_rebase_merge: Option<bool>,
    allow_squash_merge: Option<bool>,
    delete_branch_on_merge: Option<bool>,
}

impl From<Repository> for RepositoryFacts {
    fn from(it: Repository) -> Self {
        let rights = it.permissions.unwrap_or_default();
        let methods = [
            (it.allow_merge_commit, MergeMethod::Merge),
            (it.allow_rebase_merge, MergeMethod::Rebase),
            (it.allow_squash_merge, MergeMethod::Squash),
        ];
        Self {
            id: it.id,
            full_name: it.full_name,
            default_branch: it.default_branch,
            url: it.html_url,
            archived: it.archived,
            pull_requests_enabled: true,
            permissions: Permissions { read: rights.pull, push: rights.push, admin: rights.admin },
            merge_methods: methods.into_iter().filter(|it| it.0.unwrap_or(true)).map(|it| it.1).collect(),
            deletes_merged_branches: it.delete_branch_on_merge.unwrap_or(false),
        }
    }
}

/// `merge_method` of a merge; GitHub never fast-forwards.
pub fn merge_method(method: MergeMethod) -> Option<&'static str> {
    match method {
        MergeMethod::Merge => Some("merge"),
        MergeMethod::Rebase => Some("rebase"),
        MergeMethod::Squash => Some("squash"),
        MergeMethod::FastForward | MergeMethod::RebaseMerge => None,
    }
}

#[derive(Debug, Default, Deserialize)]
struct RequiredChecks {
    #[serde(default)]
    contexts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RequiredReviews {
    required_approving_review_count: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
struct Enabled {
    #[serde(default)]
    enabled: bool,
}

/// What everybody who reads the repository sees of a branch.
#[derive(Debug, Deserialize)]
pub struct Branch {
    #[serde(default)]
    protected: bool,
    protection: Option<Classic>,
    required_approving_review_count: Option<u32>,
}

/// A branch protection rule of the older kind; whole to administrators only.
#[derive(Debug, Default, Deserialize)]
pub struct Classic {
    required_status_checks: Option<RequiredChecks>,
    required_pull_request_reviews: Option<RequiredReviews>,
    restrictions: Option<IgnoredAny>,
    #[serde(default)]
    lock_branch: Enabled,
}

/// One rule of a ruleset that holds for the branch.
#[derive(Debug, Deserialize)]
pub struct Rule {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: RuleParameters,
}

#[derive(Debug, Default, Deserialize)]
struct RuleParameters {
    #[serde(default)]
    required_approving_review_count: u32,
    #[serde(default)]
    required_status_checks: Vec<RuleCheck>,
}

#[derive(Debug, Deserialize)]
struct RuleCheck {
    context: String,
}

/// Both kinds of rules together, as far as they could be read.
pub fn protection(branch: Branch, classic: Option<Classic>, rules: Vec<Rule>, may_write: bool) -> Protection {
    let mut approvals = branch.required_approving_review_count.unwrap_or(0);
    let mut checks = BTreeSet::new();
    let (mut may_push, mut may_merge) = (may_write, may_write);
    let is_protected = branch.protected || !rules.is_empty();
    for it in branch.protection.into_iter().chain(classic) {
        checks.extend(it.required_status_checks.unwrap_or_default().contexts);
        if let Some(reviews) = it.required_pull_request_reviews {
            approvals = approvals.max(reviews.required_approving_review_count.unwrap_or(0));
            may_push = false;
        }
        may_push &= it.restrictions.is_none() && !it.lock_branch.enabled;
        may_merge &= !it.lock_branch.enabled;
    }
    for rule in rules {
        match rule.kind.as_str() {
            "pull_request" => {
                approvals = approvals.max(rule.parameters.required_approving_review_count);
                may_push = false;
            }
            "required_status_checks" => {
                checks.extend(rule.parameters.required_status_checks.into_iter().map(|it| it.context));
            }
            // Only those who may go around the rule can change the branch; a queue merges by itself.
            "update" | "merge_queue" => (may_push, may_merge) = (false, false),
            _ => {}
        }
    }
    Protection {
        is_protected,
        required_approvals: approvals,
        required_checks: checks.into_iter().collect(),
        may_push,
        may_merge,
    }
}

#[derive(Debug, Deserialize)]
struct End {
    #[serde(rename = "ref")]
    branch: String,
    sha: ObjectId,
    /// `None` when the fork is gone.
    repo: Option<EndRepository>,
}

#[derive(Debug, Deserialize)]
struct EndRepository {
    id: u64,
}

#[derive(Debug, Deserialize)]
pub struct Label {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Pull {
    number: u64,
    state: String,
    #[serde(default)]
    title: String,
    body: Option<String>,
    user: Option<User>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    draft: bool,
    /// `None` while GitHub is still looking, and in lists.
    mergeable: Option<bool>,
    merged_at: Option<Timestamp>,
    /// Of an open one it is a commit that nobody has.
    merge_commit_sha: Option<ObjectId>,
    merged_by: Option<User>,
    #[serde(default)]
    html_url: String,
    updated_at: Timestamp,
    auto_merge: Option<IgnoredAny>,
    base: End,
    head: End,
    #[serde(default)]
    requested_reviewers: Vec<User>,
    /// In lists it is not told.
    #[serde(default)]
    pub comments: u64,
}

impl Pull {
    /// Reviews that were asked for and not given.
    pub fn requested(&mut self) -> Vec<Review> {
        let asked = |it: User| Review {
            by: it.login,
            verdict: ReviewVerdict::Requested,
            head: None,
            is_official: false,
            is_outdated: false,
        };
        std::mem::take(&mut self.requested_reviewers).into_iter().map(asked).collect()
    }
}

impl From<Pull> for PullRequest {
    fn from(it: Pull) -> Self {
        let state = match (it.merged_at, it.state.as_str()) {
            (Some(_), _) => PullState::Merged(it.merge_commit_sha),
            (None, "open") => PullState::Open,
            (None, _) => PullState::Closed,
        };
        let home = it.base.repo.map(|it| it.id);
        Self {
            number: it.number,
            state,
            title: it.title,
            body: it.body.unwrap_or_default(),
            author: login(it.user),
            labels: names(it.labels),
            is_foreign: home.is_none() || it.head.repo.map(|it| it.id) != home,
            branch: it.head.branch,
            head: it.head.sha,
            base: it.base.branch,
            is_draft: it.draft,
            is_mergeable: it.mergeable == Some(true),
            url: it.html_url,
            updated_at: it.updated_at,
            auto_merge: it.auto_merge.is_some(),
            closed_by: None,
            merged_by: it.merged_by.map(|it| it.login),
        }
    }
}

/// A pull request as an issue: that side knows who closed it.
#[derive(Debug, Deserialize)]
pub struct Issue {
    closed_by: Option<User>,
}

impl Issue {
    pub fn closed_by(self) -> Option<String> {
        self.closed_by.map(|it| it.login)
    }
}

#[derive(Debug, Deserialize)]
pub struct Comment {
    pub id: u64,
    body: Option<String>,
    user: Option<User>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Comment {
    pub fn noun(self) -> forge::Comment {
        forge::Comment {
            id: self.id,
            is_bot: self.user.as_ref().is_none_or(|it| it.kind != "User"),
            by: login(self.user),
            at: self.created_at,
            is_edited: self.updated_at != self.created_at,
            body: self.body.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct WireStatus {
    pub context: String,
    pub state: String,
    description: Option<String>,
    target_url: Option<String>,
    creator: Option<User>,
}

impl WireStatus {
    pub fn is_by(&self, account: &Account) -> bool {
        self.creator.as_ref().is_some_and(|it| it.login == account.login)
    }

    /// State, description and address.
    pub fn words(&self) -> (&str, &str, &str) {
        let description = self.description.as_deref().unwrap_or_default();
        (self.state.as_str(), description, self.target_url.as_deref().unwrap_or_default())
    }
}

impl From<WireStatus> for Check {
    fn from(it: WireStatus) -> Self {
        let state = match it.state.as_str() {
            "success" => CheckState::Success,
            "pending" => CheckState::Pending,
            "failure" | "error" => CheckState::Failure,
            _ => CheckState::Other,
        };
        let description = it.description.unwrap_or_default();
        Self { context: it.context, state, description, by: login(it.creator) }
    }
}

#[derive(Debug, Deserialize)]
pub struct CheckRuns {
    pub check_runs: Vec<CheckRun>,
}

impl IntoIterator for CheckRuns {
    type Item = CheckRun;
    type IntoIter = std::vec::IntoIter<CheckRun>;
    fn into_iter(self) -> Self::IntoIter {
        self.check_runs.into_iter()
    }
}

#[derive(Debug, Deserialize)]
pub struct CheckRun {
    name: String,
    pub head_sha: String,
    status: String,
    conclusion: Option<String>,
    app: Option<App>,
    #[serde(default)]
    output: Output,
}

#[derive(Debug, Default, Deserialize)]
struct Output {
    title: Option<String>,
}

impl From<CheckRun> for Check {
    fn from(it: CheckRun) -> Self {
        let state = match (it.status.as_str(), it.conclusion.as_deref()) {
            ("completed", Some("success")) => CheckState::Success,
            (
                "completed",
                Some("failure" | "timed_out" | "cancelled" | "action_required" | "startup_failure"),
            ) => CheckState::Failure,
            ("completed", _) => CheckState::Other,
            _ => CheckState::Pending,
        };
        let description = it.output.title.unwrap_or_default();
        // As the app's account is called; no person can be.
        let by = it.app.map(|it| Account::from(it).login).unwrap_or_default();
        Self { context: it.name, state, description, by }
    }
}

#[derive(Debug, Deserialize)]
pub struct WireReview {
    user: Option<User>,
    #[serde(default)]
    state: String,
    commit_id: Option<String>,
}

/// Reviews as they count now; they come oldest first, and somebody's word holds until the next one that is more
/// than a remark. Who may give an official one is not known here.
pub fn reviews(all: Vec<WireReview>) -> Vec<Review> {
    let mut reviews: Vec<Review> = Vec::new();
    for it in all {
        let by = login(it.user);
        let verdict = match it.state.as_str() {
            "APPROVED" => ReviewVerdict::Approved,
            "CHANGES_REQUESTED" => ReviewVerdict::ChangesRequested,
            "COMMENTED" => ReviewVerdict::Commented,
            _ => ReviewVerdict::Other,
        };
        if matches!(verdict, ReviewVerdict::Approved | ReviewVerdict::ChangesRequested) {
            for earlier in reviews.iter_mut().filter(|it| it.by == by) {
                earlier.is_outdated = true;
            }
        }
        reviews.push(Review {
            is_outdated: it.state == "DISMISSED",
            head: it.commit_id.and_then(|it| ObjectId::new(it).ok()),
            is_official: false,
            by,
            verdict,
        });
    }
    reviews
}

/// What somebody may do. A role that an organisation has made counts as the plain one it is built on.
#[derive(Debug, Deserialize)]
pub struct Level {
    permission: String,
    #[serde(default)]
    role_name: String,
}

impl Level {
    pub fn access(&self) -> Access {
        match (self.role_name.as_str(), self.permission.as_str()) {
            ("admin", _) | (_, "admin") => Access::Admin,
            ("write" | "maintain", _) | (_, "write") => Access::Write,
            ("triage", _) => Access::Triage,
            (_, "read") => Access::Read,
            _ => Access::None,
        }
    }
}

pub fn names(labels: Vec<Label>) -> BTreeSet<String> {
    labels.into_iter().map(|it| it.name).collect()
}

#[cfg(test)]
#[path = "github_wire_tests.rs"]
mod tests;
