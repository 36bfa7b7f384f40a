//! The JSON of Gitea's and Forgejo's API, version 1, and nothing else. Bodies that the driver has bounded come in,
//! nouns go out; fields that are not named here are ignored. Nothing is sent from here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::forge::{
    self, Access, Account, Check, CheckState, MergeMethod, Permissions, Protection, PullRequest, PullState,
    RepositoryFacts, Review, ReviewVerdict,
};
use crate::model::ids::ObjectId;

#[derive(Debug, Deserialize)]
pub struct User {
    /// Accounts that the forge itself keeps have none above zero: the runner of its actions, the ghost.
    #[serde(default)]
    pub id: i64,
    pub login: String,
    #[serde(default)]
    pub is_admin: bool,
}

impl From<User> for Account {
    fn from(it: User) -> Self {
        Self { login: it.login, is_site_admin: it.is_admin }
    }
}

fn login(user: Option<User>) -> String {
    user.map(|it| it.login).unwrap_or_default()
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
    pub private: bool,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    has_pull_requests: bool,
    #[serde(default)]
    permissions: Option<WirePermissions>,
    #[serde(default)]
    allow_merge_commits: bool,
    #[serde(default)]
    allow_rebase: bool,
    #[serde(default)]
    allow_rebase_explicit: bool,
    #[serde(default)]
    allow_squash_merge: bool,
    #[serde(default)]
    allow_fast_forward_only_merge: bool,
    #[serde(default)]
    default_delete_branch_after_merge: bool,
}

impl From<Repository> for RepositoryFacts {
    fn from(it: Repository) -> Self {
        let rights = it.permissions.unwrap_or_default();
        let methods = [
            (it.allow_fast_forward_only_merge, MergeMethod::FastForward),
            (it.allow_merge_commits, MergeMethod::Merge),
            (it.allow_rebase, MergeMethod::Rebase),
            (it.allow_rebase_explicit, MergeMethod::RebaseMerge),
            (it.allow_squash_merge, MergeMethod::Squash),
        ];
        Self {
            id: it.id,
            full_name: it.full_name,
            default_branch: it.default_branch,
            url: it.html_url,
            archived: it.archived,
            pull_requests_enabled: it.has_pull_requests,
            permissions: Permissions { read: rights.pull, push: rights.push, admin: rights.admin },
            merge_methods: methods.into_iter().filter(|it| it.0).map(|it| it.1).collect(),
            deletes_merged_branches: it.default_delete_branch_after_merge,
        }
    }
}

/// `Do` of a merge.
pub fn merge_style(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::FastForward => "fast-forward-only",
        MergeMethod::Merge => "merge",
        MergeMethod::Rebase => "rebase",
        MergeMethod::RebaseMerge => "rebase-merge",
        MergeMethod::Squash => "squash",
    }
}

#[derive(Debug, Deserialize)]
pub struct Branch {
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    required_approvals: u32,
    #[serde(default)]
    enable_status_check: bool,
    #[serde(default)]
    status_check_contexts: Option<Vec<String>>,
    #[serde(default)]
    user_can_push: bool,
    #[serde(default)]
    user_can_merge: bool,
}

impl From<Branch> for Protection {
    fn from(it: Branch) -> Self {
        // The list outlives the switch.
        let required = it.status_check_contexts.filter(|_| it.enable_status_check);
        Self {
            is_protected: it.protected,
            required_approvals: it.required_approvals,
            required_checks: required.unwrap_or_default(),
            may_push: it.user_can_push,
            may_merge: it.user_can_merge,
        }
    }
}

#[derive(Debug, Deserialize)]
struct End {
    /// The branch's name even when the branch is gone; `ref` is not.
    #[serde(default)]
    label: String,
    /// Empty when the branch, or the repository it was in, is gone.
    #[serde(default)]
    sha: String,
    /// -1 when the repository is gone.
    #[serde(default)]
    repo_id: i64,
}

#[derive(Debug, Deserialize)]
pub struct Label {
    pub id: i64,
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Pull {
    number: u64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
    user: Option<User>,
    #[serde(default)]
    labels: Option<Vec<Label>>,
    state: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    mergeable: bool,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<String>,
    #[serde(default)]
    html_url: String,
    updated_at: Timestamp,
    merged_by: Option<User>,
    base: End,
    head: End,
}

impl Pull {
    /// `None` when it has no head that could be read: somebody's, whose fork is gone.
    pub fn noun(self) -> Option<PullRequest> {
        let state = match (self.merged, self.state.as_str()) {
            (true, _) => PullState::Merged(self.merge_commit_sha.and_then(|sha| ObjectId::new(sha).ok())),
            (false, "open") => PullState::Open,
            (false, _) => PullState::Closed,
        };
        Some(PullRequest {
            number: self.number,
            state,
            title: self.title,
            body: self.body,
            author: login(self.user),
            labels: names(self.labels),
            is_foreign: self.head.repo_id != self.base.repo_id,
            branch: self.head.label,
            head: ObjectId::new(self.head.sha).ok()?,
            base: self.base.label,
            is_draft: self.draft,
            is_mergeable: self.mergeable,
            url: self.html_url,
            updated_at: self.updated_at,
            auto_merge: false,
            closed_by: None,
            merged_by: self.merged_by.map(|it| it.login),
        })
    }
}

#[derive(Debug, Deserialize)]
pub struct Comment {
    pub id: u64,
    #[serde(default)]
    pub body: String,
    user: Option<User>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Comment {
    pub fn noun(self) -> forge::Comment {
        forge::Comment {
            id: self.id,
            is_bot: self.user.as_ref().is_none_or(|it| it.id <= 0),
            by: login(self.user),
            at: self.created_at,
            is_edited: self.updated_at != self.created_at,
            body: self.body,
        }
    }
}

/// One entry of what happened to a pull request, oldest first.
#[derive(Debug, Deserialize)]
pub struct Happening {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
}

/// What the pull request itself does not say.
pub fn complete(pull: PullRequest, happened: Vec<Option<Happening>>) -> PullRequest {
    let (mut auto_merge, mut closed_by) = (false, None);
    for it in happened.into_iter().flatten() {
        match it.kind.as_str() {
            "pull_scheduled_merge" => auto_merge = true,
            "pull_cancel_scheduled_merge" => auto_merge = false,
            "close" => closed_by = it.user.map(|it| it.login),
            _ => {}
        }
    }
    let closed_by = closed_by.filter(|_| pull.state == PullState::Closed);
    PullRequest { auto_merge, closed_by, ..pull }
}

/// What somebody may do, told to those who may ask.
#[derive(Debug, Deserialize)]
pub struct Level {
    permission: String,
}

impl Level {
    pub fn access(&self) -> Access {
        match self.permission.as_str() {
            "owner" | "admin" => Access::Admin,
            "write" => Access::Write,
            "read" => Access::Read,
            _ => Access::None,
        }
    }
}

/// A team of the organisation that reaches the repository.
#[derive(Debug, Deserialize)]
pub struct Team {
    /// Unit (`repo.code`, `repo.pulls` ...) to `read`, `write`, `admin` or `owner`.
    #[serde(default)]
    units_map: BTreeMap<String, String>,
}

impl Team {
    /// Its members count as assignees, and may still not write code.
    pub fn is_doubtful(&self) -> bool {
        let writes = |level: &String| matches!(level.as_str(), "write" | "admin" | "owner");
        let is_assignable = self.units_map.values().any(writes)
            || self.units_map.get("repo.pulls").is_some_and(|it| it == "read");
        is_assignable && !self.units_map.get("repo.code").is_some_and(writes)
    }
}

/// Does the list name this login? Gitea's logins know no case.
pub fn has(users: &[User], login: &str) -> bool {
    users.iter().any(|it| it.login.eq_ignore_ascii_case(login))
}

#[derive(Debug, Deserialize)]
pub struct Combined {
    pub sha: String,
    #[serde(default)]
    pub statuses: Option<Vec<WireStatus>>,
}

#[derive(Debug, Deserialize)]
pub struct WireStatus {
    pub context: String,
    /// The state; the API calls it so.
    pub status: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub target_url: String,
    creator: Option<User>,
}

impl WireStatus {
    pub fn is_by(&self, account: &Account) -> bool {
        self.creator.as_ref().is_some_and(|it| it.login == account.login)
    }
}

impl From<WireStatus> for Check {
    fn from(it: WireStatus) -> Self {
        let state = match it.status.as_str() {
            "success" => CheckState::Success,
            "pending" => CheckState::Pending,
            "failure" | "error" => CheckState::Failure,
            _ => CheckState::Other,
        };
        Self { context: it.context, state, description: it.description, by: login(it.creator) }
    }
}

#[derive(Debug, Deserialize)]
pub struct WireReview {
    user: Option<User>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    commit_id: String,
    #[serde(default)]
    stale: bool,
    #[serde(default)]
    official: bool,
    #[serde(default)]
    dismissed: bool,
}

impl From<WireReview> for Review {
    fn from(it: WireReview) -> Self {
        let verdict = match it.state.as_str() {
            "APPROVED" => ReviewVerdict::Approved,
            "REQUEST_CHANGES" => ReviewVerdict::ChangesRequested,
            "COMMENT" => ReviewVerdict::Commented,
            "REQUEST_REVIEW" => ReviewVerdict::Requested,
            _ => ReviewVerdict::Other,
        };
        Self {
            by: login(it.user),
            verdict,
            head: ObjectId::new(it.commit_id).ok(),
            is_official: it.official,
            is_outdated: it.stale || it.dismissed,
        }
    }
}

/// An empty list may be null.
pub fn names(labels: Option<Vec<Label>>) -> BTreeSet<String> {
    labels.unwrap_or_default().into_iter().map(|it| it.name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pull(head: &serde_json::Value) -> Option<PullRequest> {
        let base = json!({ "label": "main", "sha": "", "repo_id": 7 });
        let wire = json!({ "number": 1, "state": "open", "base": base, "head": head, "labels": null,
            "updated_at": "2026-11-23T10:00:00Z" });
        serde_json::from_value::<Pull>(wire).unwrap().noun()
    }

    #[test]
    fn a_pull_request_whose_fork_is_gone_does_not_hide_the_others() {
        assert_eq!(pull(&json!({ "label": "tars/x", "sha": "", "repo_id": -1 })), None);
        assert!(pull(&json!({ "label": "tars/x", "sha": "c".repeat(40), "repo_id": 7 })).unwrap().is_ours());
    }

    #[test]
    fn a_branch_of_a_fork_is_not_ours_whatever_its_name() {
        for (label, repo_id) in [("tars/x", 8), ("tars/x", -1), ("feature", 7), ("tarsx", 7), ("", 7)] {
            let found = pull(&json!({ "label": label, "sha": "c".repeat(40), "repo_id": repo_id })).unwrap();
            assert!(!found.is_ours(), "{label} {repo_id}");
        }
    }

    #[test]
    fn required_checks_count_only_while_the_rule_is_on() {
        let branch = |on: bool| {
            let wire =
                json!({ "protected": true, "enable_status_check": on, "status_check_contexts": ["ci"] });
            Protection::from(serde_json::from_value::<Branch>(wire).unwrap()).required_checks
        };
        assert_eq!((branch(true), branch(false)), (vec!["ci".to_owned()], Vec::new()));
    }

    #[test]
    fn only_the_word_success_is_a_success() {
        for (word, state) in [
            ("success", CheckState::Success),
            ("pending", CheckState::Pending),
            ("failure", CheckState::Failure),
            ("error", CheckState::Failure),
            ("warning", CheckState::Other),
            ("skipped", CheckState::Other),
            ("Success", CheckState::Other),
            ("", CheckState::Other),
        ] {
            let wire = json!({ "context": "ci", "status": word, "creator": null });
            assert_eq!(
                Check::from(serde_json::from_value::<WireStatus>(wire).unwrap()).state,
                state,
                "{word}"
            );
        }
    }
}
