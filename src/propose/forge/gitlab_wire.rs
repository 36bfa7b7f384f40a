//! The JSON of GitLab's API, version 4, and nothing else. Bodies that the driver has bounded come in, nouns go out;
//! fields that are not named here are ignored. Nothing is sent from here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::gitlab_checks::PIPELINE;
use crate::model::forge::{
    self, Access, Account, Check, CheckState, MergeMethod, Permissions, Protection, PullRequest, PullState,
    RepositoryFacts, Review, ReviewVerdict,
};
use crate::model::ids::ObjectId;

/// The sign of a draft, at the beginning of its title.
pub const DRAFT: &str = "Draft: ";
/// All ways to write it that GitLab has known.
const DRAFTS: [&str; 5] = ["Draft:", "[Draft]", "(Draft)", "WIP:", "[WIP]"];
/// Levels of access, as numbers.
const GUEST: u32 = 10;
const REPORTER: u32 = 20;
const DEVELOPER: u32 = 30;
const MAINTAINER: u32 = 40;

#[derive(Debug, Deserialize)]
pub struct User {
    pub id: u64,
    pub username: String,
    /// Told to administrators only.
    #[serde(default)]
    is_admin: bool,
    #[serde(default = "active")]
    state: String,
}

fn active() -> String {
    "active".to_owned()
}

impl User {
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }

    pub fn is(&self, login: &str) -> bool {
        self.username.eq_ignore_ascii_case(login)
    }

    /// Tokens of projects and groups, and GitLab itself, write under such names.
    fn is_bot(&self) -> bool {
        let kept = ["ghost", "support-bot", "alert-bot", "GitLabDuo", "gitlab-bot"];
        let of_a_token = |it: &str| it.split('_').any(|part| part.starts_with("bot"));
        let token = ["project_", "group_"].iter().any(|it| self.username.starts_with(it));
        (token && of_a_token(&self.username)) || kept.contains(&self.username.as_str())
    }
}

impl From<&User> for Account {
    fn from(it: &User) -> Self {
        Self { login: it.username.clone(), is_site_admin: it.is_admin }
    }
}

fn login(user: Option<User>) -> String {
    user.map(|it| it.username).unwrap_or_default()
}

#[derive(Debug, Deserialize)]
pub struct Member {
    access_level: u32,
    #[serde(default = "active")]
    state: String,
}

impl Member {
    /// Somebody who still waits to be let in, or was shut out, has none.
    pub fn level(&self) -> u32 {
        if self.state == "active" { self.access_level } else { 0 }
    }
}

#[derive(Debug, Deserialize)]
pub struct Project {
    id: u64,
    path_with_namespace: String,
    /// Absent while the repository is empty.
    #[serde(default)]
    default_branch: Option<String>,
    web_url: String,
    #[serde(default)]
    visibility: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    merge_requests_access_level: Option<String>,
    #[serde(default)]
    merge_method: String,
    #[serde(default)]
    squash_option: String,
    #[serde(default)]
    remove_source_branch_after_merge: Option<bool>,
    #[serde(default)]
    only_allow_merge_if_pipeline_succeeds: Option<bool>,
}

impl Project {
    /// A project has one way, and squashing before it. Semi-linear history ends in a merge commit too, and is refused
    /// where the branch is not on the newest commit.
    pub fn merge_methods(&self) -> BTreeSet<MergeMethod> {
        let plain = match self.merge_method.as_str() {
            "ff" => Some(MergeMethod::FastForward),
            "merge" | "rebase_merge" => Some(MergeMethod::Merge),
            _ => None,
        };
        match self.squash_option.as_str() {
            "always" => [MergeMethod::Squash].into(),
            "never" => plain.into_iter().collect(),
            _ => plain.into_iter().chain([MergeMethod::Squash]).collect(),
        }
    }

    pub fn facts(self, level: u32, me: &User) -> RepositoryFacts {
        let merge_methods = self.merge_methods();
        let permissions = Permissions {
            read: self.access(level) >= Access::Read || me.is_admin,
            push: level >= DEVELOPER || me.is_admin,
            admin: level >= MAINTAINER || me.is_admin,
        };
        RepositoryFacts {
            id: self.id,
            full_name: self.path_with_namespace,
            default_branch: self.default_branch.unwrap_or_default(),
            url: self.web_url,
            archived: self.archived,
            pull_requests_enabled: self.merge_requests_access_level.is_none_or(|it| it != "disabled"),
            permissions,
            merge_methods,
            deletes_merged_branches: self.remove_source_branch_after_merge.unwrap_or_default(),
        }
    }

    /// What somebody of this level may do here. Guests of a private project see no code and no merge requests; who
    /// may see an internal one cannot be known from outside.
    pub fn access(&self, level: u32) -> Access {
        match level {
            MAINTAINER.. => Access::Admin,
            DEVELOPER.. => Access::Write,
            REPORTER.. => Access::Triage,
            GUEST.. if self.visibility != "private" => Access::Read,
            _ if self.visibility == "public" => Access::Read,
            _ => Access::None,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Branch {
    #[serde(default)]
    name: String,
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    developers_can_merge: bool,
    #[serde(default)]
    can_push: bool,
}

/// A rule about approvals. Only some editions have them.
#[derive(Debug, Deserialize)]
pub struct ApprovalRule {
    #[serde(default)]
    approvals_required: u32,
    #[serde(default)]
    applies_to_all_protected_branches: bool,
    #[serde(default)]
    protected_branches: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl ApprovalRule {
    /// A rule of a pattern is taken to concern the branch: better one approval too many.
    fn concerns(&self, branch: &str, is_protected: bool) -> bool {
        match (self.applies_to_all_protected_branches, self.protected_branches.as_slice()) {
            (true, _) => is_protected,
            (false, []) => true,
            (false, some) => some.iter().any(|it| it.name == branch || it.name.contains('*')),
        }
    }
}

/// The rule under exactly the branch's name, told to those who may ask.
#[derive(Debug, Deserialize)]
pub struct ProtectedBranch {
    #[serde(default)]
    merge_access_levels: Vec<AccessLevel>,
}

#[derive(Debug, Deserialize)]
struct AccessLevel {
    access_level: Option<u32>,
    /// One person, where the edition can name one.
    user_id: Option<u64>,
    group_id: Option<u64>,
}

impl AccessLevel {
    fn lets(&self, me: &User, level: u32) -> bool {
        match (self.user_id, self.group_id) {
            (Some(user), _) => user == me.id,
            (None, Some(_)) => false,
            (None, None) => self.access_level.is_some_and(|it| it > 0 && it <= level),
        }
    }
}

impl Branch {
    pub fn protection(
        self,
        project: &Project,
        rules: &[ApprovalRule],
        named: Option<ProtectedBranch>,
        (me, level): (&User, u32),
    ) -> Protection {
        let concerning = rules.iter().filter(|it| it.concerns(&self.name, self.protected));
        let may_merge = match named {
            Some(rule) => rule.merge_access_levels.iter().any(|it| it.lets(me, level)),
            None if !self.protected || self.developers_can_merge => level >= DEVELOPER,
            None => level >= MAINTAINER,
        };
        let needs_pipeline = project.only_allow_merge_if_pipeline_succeeds == Some(true);
        Protection {
            is_protected: self.protected,
            required_approvals: concerning.map(|it| it.approvals_required).max().unwrap_or_default(),
            required_checks: needs_pipeline.then(|| PIPELINE.to_owned()).into_iter().collect(),
            may_push: self.can_push,
            may_merge,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Pull {
    pub iid: u64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: Option<String>,
    state: String,
    author: Option<User>,
    #[serde(default)]
    pub labels: BTreeSet<String>,
    source_branch: String,
    target_branch: String,
    sha: Option<String>,
    /// Absent when the fork is gone.
    source_project_id: Option<u64>,
    target_project_id: u64,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    merge_status: String,
    #[serde(default)]
    detailed_merge_status: Option<String>,
    #[serde(default)]
    hinto_conflicts: bool,
    #[serde(default)]
    web_url: String,
    updated_at: Timestamp,
    #[serde(default)]
    merge_when_pipeline_succeeds: bool,
    closed_by: Option<User>,
    merge_user: Option<User>,
    merged_by: Option<User>,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
    #[serde(default)]
    pub squash_on_merge: bool,
    #[serde(default)]
    pub reviewers: Vec<User>,
}

impl Pull {
    /// `None` when it has no head that could be read.
    pub fn noun(self) -> Option<PullRequest> {
        let is_mergeable = self.is_mergeable();
        let head = ObjectId::new(self.sha?).ok()?;
        let state = match self.state.as_str() {
            "merged" => {
                let made = self.merge_commit_sha.or(self.squash_commit_sha);
                let made = made.and_then(|sha| ObjectId::new(sha).ok());
                // A fast-forward makes none.
                PullState::Merged(Some(made.unwrap_or_else(|| head.clone())))
            }
            // Locked: being merged at this moment.
            "opened" | "locked" => PullState::Open,
            _ => PullState::Closed,
        };
        let closed_by = self.closed_by.filter(|_| state == PullState::Closed);
        // Of an open one it is who told GitLab to merge later.
        let is_merged = matches!(state, PullState::Merged(_));
        let merged_by = self.merge_user.or(self.merged_by).filter(|_| is_merged);
        Some(PullRequest {
            number: self.iid,
            title: if self.draft { without_draft(&self.title) } else { self.title },
            body: self.description.unwrap_or_default(),
            author: login(self.author),
            labels: self.labels,
            is_foreign: self.source_project_id != Some(self.target_project_id),
            branch: self.source_branch,
            head,
            base: self.target_branch,
            is_draft: self.draft,
            is_mergeable,
            url: self.web_url,
            updated_at: self.updated_at,
            auto_merge: state == PullState::Open && self.merge_when_pipeline_succeeds,
            closed_by: closed_by.map(|it| it.username),
            merged_by: merged_by.map(|it| it.username),
            state,
        })
    }

    /// What only rules stand against can be merged; the words for conflicts and for "still looking" are few.
    fn is_mergeable(&self) -> bool {
        let doubtful = ["checking", "unchecked", "preparing", "conflict", "broken_status", "need_rebase"];
        let detail = self.detailed_merge_status.as_deref().unwrap_or_default();
        self.state == "opened"
            && self.merge_status == "can_be_merged"
            && !self.hinto_conflicts
            && !doubtful.contains(&detail)
    }
}

/// The title that a person made a draft of.
fn without_draft(title: &str) -> String {
    let starts = |it: &&&str| title.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it));
    let sign = DRAFTS.iter().find(starts).map_or(0, |it| it.len());
    title.get(sign..).unwrap_or(title).trim_start().to_owned()
}

/// GitLab carries out lines such as `/merge` in any text, with the rights of whoever sends it, and takes them away. It
/// knows them at the very beginning of a line only, after dropping carriage returns; a space before changes nothing
/// that a reader sees.
pub fn without_quick_actions(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut is_at_start = true;
    for c in text.chars().filter(|it| *it != '\r') {
        if is_at_start && c == '/' {
            safe.push(' ');
        }
        is_at_start = c == '\n';
        safe.push(c);
    }
    safe
}

#[derive(Debug, Deserialize)]
pub struct Note {
    pub id: u64,
    #[serde(default)]
    pub body: String,
    author: Option<User>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Written by GitLab about what happened.
    #[serde(default)]
    pub system: bool,
}

impl Note {
    pub fn is_by(&self, user: &User) -> bool {
        self.author.as_ref().is_some_and(|it| it.id == user.id)
    }

    /// `id`: under which it is known here.
    pub fn noun(self, id: u64) -> forge::Comment {
        forge::Comment {
            id,
            is_bot: self.author.as_ref().is_none_or(User::is_bot),
            by: login(self.author),
            at: self.created_at,
            is_edited: self.updated_at != self.created_at,
            body: self.body,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct AwardEmoji {
    pub name: String,
    user: Option<User>,
}

impl AwardEmoji {
    pub fn is_by(&self, user: &User) -> bool {
        self.user.as_ref().is_some_and(|it| it.id == user.id)
    }
}

/// A job of a pipeline, or what somebody posted.
#[derive(Debug, Deserialize)]
pub struct WireStatus {
    pub id: u64,
    pub sha: String,
    #[serde(default, rename = "ref")]
    pub reference: String,
    pub name: String,
    pub status: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    target_url: Option<String>,
    #[serde(default)]
    allow_failure: bool,
    #[serde(default)]
    pub pipeline_id: Option<u64>,
    author: Option<User>,
}

impl WireStatus {
    pub fn is_by(&self, login: &str) -> bool {
        self.author.as_ref().is_some_and(|it| it.username == login)
    }

    pub fn description(&self) -> &str {
        self.description.as_deref().unwrap_or_default()
    }

    pub fn target_url(&self) -> &str {
        self.target_url.as_deref().unwrap_or_default()
    }

    /// Done, and no reason for its pipeline not to be green.
    pub fn is_no_obstacle(&self) -> bool {
        match check_state(&self.status) {
            CheckState::Success => true,
            CheckState::Pending => false,
            CheckState::Failure => self.allow_failure,
            CheckState::Other => self.allow_failure || self.status == "skipped",
        }
    }

    pub fn check(&self) -> Check {
        // What may fail proves nothing when it does.
        let state = match check_state(&self.status) {
            CheckState::Failure if self.allow_failure => CheckState::Other,
            state => state,
        };
        let by = self.author.as_ref().map(|it| it.username.clone()).unwrap_or_default();
        Check { context: self.name.clone(), state, description: self.description().to_owned(), by }
    }
}

/// Of a job, a status or a pipeline.
pub fn check_state(word: &str) -> CheckState {
    match word {
        "success" => CheckState::Success,
        "created"
        | "waiting_for_resource"
        | "preparing"
        | "waiting_for_callback"
        | "pending"
        | "running"
        | "scheduled"
        | "canceling" => CheckState::Pending,
        "failed" | "canceled" => CheckState::Failure,
        _ => CheckState::Other,
    }
}

#[derive(Debug, Deserialize)]
pub struct Pipeline {
    pub id: u64,
    pub sha: String,
    #[serde(default, rename = "ref")]
    pub reference: String,
    pub status: String,
    #[serde(default)]
    pub source: String,
    user: Option<User>,
}

impl Pipeline {
    /// Made by GitLab to hold what others posted.
    pub fn is_external(&self) -> bool {
        self.source == "external"
    }

    pub fn by(&self) -> String {
        self.user.as_ref().map(|it| it.username.clone()).unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
pub struct Approvals {
    #[serde(default)]
    pub approved_by: Vec<Approval>,
}

#[derive(Debug, Deserialize)]
pub struct Approval {
    user: User,
    /// Newer ones say so.
    approved_at: Option<Timestamp>,
}

/// What the project does with approvals. Only some editions have it.
#[derive(Debug, Default, Deserialize)]
pub struct ApprovalSettings {
    #[serde(default)]
    pub reset_approvals_on_push: bool,
}

/// The merge request as it stood after one push.
#[derive(Debug, Deserialize)]
pub struct Version {
    head_commit_sha: String,
    created_at: Timestamp,
}

impl Approval {
    /// GitLab does not say which commit was approved. It was the newest one when the approval came after it; where
    /// the time is not told, when a push takes approvals away. Otherwise it may be an older one.
    pub fn review(self, newest: Option<&Version>, settings: &ApprovalSettings) -> Review {
        let is_of = |version: &&Version| match self.approved_at {
            Some(at) => at > version.created_at,
            None => settings.reset_approvals_on_push,
        };
        let head = newest.filter(is_of);
        let head = head.and_then(|it| ObjectId::new(it.head_commit_sha.as_str()).ok());
        Review {
            by: self.user.username,
            verdict: ReviewVerdict::Approved,
            is_official: true,
            is_outdated: head.is_none(),
            head,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Reviewer {
    user: User,
    #[serde(default)]
    state: String,
}

impl Reviewer {
    /// Approvals are read elsewhere.
    pub fn review(self) -> Option<Review> {
        let verdict = match self.state.as_str() {
            "requested_changes" => ReviewVerdict::ChangesRequested,
            "reviewed" => ReviewVerdict::Commented,
            "unreviewed" | "review_started" | "unapproved" => ReviewVerdict::Requested,
            "approved" => return None,
            _ => ReviewVerdict::Other,
        };
        let by = self.user.username;
        Some(Review { by, verdict, head: None, is_official: true, is_outdated: false })
    }
}

#[cfg(test)]
#[path = "gitlab_wire_tests.rs"]
mod tests;
