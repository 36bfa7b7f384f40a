//! What a forge knows, as data: pull requests, checks, reviews, permissions, protection, and what it can show.
//! Adapters fill these in, everybody else reads them. No rule of one product lives here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::ids::ObjectId;

/// Branches of tars begin with this; the ledger's too.
pub const BRANCH_PREFIX: &str = "tars/";
/// Most comments of one pull request that are looked at: the newest ones.
pub const COMMENTS_MAX: usize = 1000;

/// What a forge can show and do, so that texts and controls are made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ForgeCapabilities {
    /// Most characters of a pull request's body; a longer one takes the reduced form.
    pub body_chars_max: usize,
    /// A ticked box in the body is a control.
    pub checkboxes: bool,
    /// `<details>` folds.
    pub details: bool,
    pub mermaid: bool,
    /// `> [!NOTE]`.
    pub callouts: bool,
    /// The forge can merge by itself when its own conditions hold. tars never uses it.
    pub native_auto_merge: bool,
}

impl ForgeCapabilities {
    /// No forge: the ledger and a terminal show the text, and nobody reads a ticked box or a comment.
    pub const LOCAL: Self = Self {
        body_chars_max: 58_000,
        checkboxes: false,
        details: true,
        mermaid: false,
        callouts: true,
        native_auto_merge: false,
    };

    /// Gitea and Forgejo.
    pub const GITEA: Self = Self {
        body_chars_max: 1_000_000,
        checkboxes: true,
        details: true,
        mermaid: true,
        callouts: true,
        native_auto_merge: true,
    };
    /// GitHub and its Enterprise. It takes 65,536 characters; what it makes of them must fit too.
    pub const GITHUB: Self = Self { body_chars_max: 58_000, ..Self::GITEA };
    /// GitLab 13.4 and newer.
    pub const GITLAB: Self = Self::GITEA;
}

/// Who a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    pub login: String,
    /// May do anything on the whole forge.
    pub is_site_admin: bool,
}

/// What the token's account may do with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Permissions {
    pub read: bool,
    pub push: bool,
    /// Can change protection, and in most forges go around it.
    pub admin: bool,
}

/// Whether the forge lets this token do something; asked without doing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Grant {
    Yes,
    /// In the forge's own words.
    No(String),
}

/// What the token's scopes allow beside reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Create, edit, close and merge pull requests; post statuses.
    pub pull_requests: Grant,
    /// Comment and label.
    pub comments: Grant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum MergeMethod {
    /// The very commit that was reviewed, with its signature.
    FastForward,
    Merge,
    Rebase,
    RebaseMerge,
    Squash,
}

impl MergeMethod {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FastForward => "fast-forward",
            Self::Merge => "merge commit",
            Self::Rebase => "rebase",
            Self::RebaseMerge => "rebase and merge commit",
            Self::Squash => "squash",
        }
    }
}

/// The repository as the forge describes it to this token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryFacts {
    /// Stays the same when the repository is renamed.
    pub id: u64,
    /// `owner/name` as the forge spells it.
    pub full_name: String,
    pub default_branch: String,
    pub url: String,
    pub archived: bool,
    pub pull_requests_enabled: bool,
    pub permissions: Permissions,
    pub merge_methods: BTreeSet<MergeMethod>,
    pub deletes_merged_branches: bool,
}

/// What protects a branch, as far as this token may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protection {
    pub is_protected: bool,
    pub required_approvals: u32,
    /// Names of checks, or patterns with `*`.
    pub required_checks: Vec<String>,
    /// May this token push to the branch directly?
    pub may_push: bool,
    pub may_merge: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PullState {
    Open,
    Closed,
    /// With the commit that the base branch got, if the forge says.
    Merged(Option<ObjectId>),
}

impl PullState {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Merged(_) => "merged",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PullRequest {
    pub number: u64,
    pub state: PullState,
    pub title: String,
    pub body: String,
    pub author: String,
    pub labels: BTreeSet<String>,
    /// Name of the head branch.
    pub branch: String,
    pub head: ObjectId,
    /// The head branch is in another repository: whoever named it, it is not ours.
    pub is_foreign: bool,
    pub base: String,
    pub is_draft: bool,
    /// Nothing stands against a merge but rules; `false` also while the forge is still looking.
    pub is_mergeable: bool,
    pub url: String,
    /// Moves with every push, comment, label, review and edit.
    pub updated_at: Timestamp,
    /// Somebody told the forge to merge by itself. Where the forge keeps this apart from the pull request (Gitea),
    /// only reading that one pull request tells; everything else says `false`.
    #[serde(skip)]
    pub auto_merge: bool,
    /// Who closed it without merging; told as [`PullRequest::auto_merge`] is.
    #[serde(skip)]
    pub closed_by: Option<String>,
    pub merged_by: Option<String>,
}

impl PullRequest {
    /// Is the head one of tars' branches, in this repository?
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.is_foreign && self.branch.starts_with(BRANCH_PREFIX)
    }
}

/// What somebody wrote under a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comment {
    pub id: u64,
    /// Empty when the account is gone.
    pub by: String,
    /// The forge says that no person is behind it.
    pub is_bot: bool,
    pub at: Timestamp,
    /// The text is another one than at first. Whoever may write to the repository may change it, and it still
    /// carries the name of its first author: never an order.
    pub is_edited: bool,
    pub body: String,
}

/// What a person may do in the repository, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Access {
    None,
    Read,
    /// Label, close and assign; forges without it (Gitea) go from read to write.
    Triage,
    Write,
    Admin,
}

impl Access {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A sign under a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Reaction {
    /// Eyes: read, and being worked on.
    Seen,
    /// Thumbs up.
    Done,
    /// Thumbs down.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum CheckState {
    Success,
    Pending,
    Failure,
    /// Skipped, neutral, or a word that is not known: it proves nothing.
    Other,
}

/// The newest word of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub context: String,
    pub state: CheckState,
    pub description: String,
    /// Who posted it.
    pub by: String,
}

/// A check that must be `success` before anything merges by itself, and who has to say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequiredCheck {
    /// A name, or a pattern with `*`.
    pub context: String,
    /// Account or app that posts it; `None`: whoever may.
    pub by: Option<String>,
}

/// All checks of exactly one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checks {
    pub head: ObjectId,
    pub all: Vec<Check>,
}

/// What the checks say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ChecksVerdict {
    /// Every required check is there and `success`, and no other one failed.
    Green,
    /// Nothing is required and nothing was reported.
    None,
    Waiting(Vec<String>),
    Failed(Vec<String>),
}

impl ChecksVerdict {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::None => "none",
            Self::Waiting(_) => "waiting",
            Self::Failed(_) => "failed",
        }
    }
}

impl Checks {
    /// The checks that `pattern` names.
    pub fn named<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = &'a Check> {
        self.all.iter().filter(move |it| is_named(pattern, &it.context))
    }

    /// Holds the checks against the `required` names. A required check that is missing, skipped or neutral is
    /// waited for: only `success` is a yes.
    #[must_use]
    pub fn verdict(&self, required: &[String]) -> ChecksVerdict {
        let failed = |it: &&Check| it.state == CheckState::Failure;
        let red: Vec<String> = self.all.iter().filter(failed).map(|it| it.context.clone()).collect();
        if !red.is_empty() {
            return ChecksVerdict::Failed(red);
        }
        let is_yes = |pattern: &&String| {
            let mut named = self.named(pattern).peekable();
            named.peek().is_some() && named.all(|it| it.state == CheckState::Success)
        };
        let missing = required.iter().filter(|it| !is_yes(it)).cloned();
        let running = self.all.iter().filter(|it| it.state == CheckState::Pending);
        let waiting: BTreeSet<String> = missing.chain(running.map(|it| it.context.clone())).collect();
        match (waiting.is_empty(), self.all.is_empty()) {
            (false, _) => ChecksVerdict::Waiting(waiting.into_iter().collect()),
            (true, true) => ChecksVerdict::None,
            (true, false) => ChecksVerdict::Green,
        }
    }
}

/// A name, or a pattern whose `*` stands for anything. Other signs of patterns match only themselves: such a
/// rule is waited for, never taken for satisfied.
fn is_named(pattern: &str, context: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = context.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ReviewVerdict {
    Approved,
    ChangesRequested,
    Commented,
    /// Asked, and not answered yet.
    Requested,
    /// Written and not sent, or a word that is not known.
    Other,
}

/// One review, as it counts now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Review {
    pub by: String,
    pub verdict: ReviewVerdict,
    /// The commit it was given for.
    pub head: Option<ObjectId>,
    /// Counts for the branch's protection.
    pub is_official: bool,
    /// The head moved since, or somebody dismissed it.
    pub is_outdated: bool,
}

impl Review {
    /// An approval that counts, of exactly this commit.
    #[must_use]
    pub fn approves(&self, head: &ObjectId) -> bool {
        self.verdict == ReviewVerdict::Approved
            && self.is_official
            && !self.is_outdated
            && self.head.as_ref() == Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::oid;

    fn checks(all: &[(&str, CheckState)]) -> Checks {
        let check = |(context, state): &(&str, CheckState)| Check {
            context: (*context).to_owned(),
            state: *state,
            description: String::new(),
            by: "ci".to_owned(),
        };
        Checks { head: oid('c'), all: all.iter().map(check).collect() }
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn only_success_of_every_required_check_is_green() {
        use CheckState::{Failure, Other, Pending, Success};
        let required = names(&["build", "lint/*"]);
        let verdict = |all: &[(&str, CheckState)]| checks(all).verdict(&required);
        assert_eq!(verdict(&[("build", Success), ("lint/a", Success)]), ChecksVerdict::Green);
        assert_eq!(verdict(&[("build", Success)]), ChecksVerdict::Waiting(names(&["lint/*"])));
        for doubtful in [Pending, Other] {
            let seen = verdict(&[("build", doubtful), ("lint/a", Success)]);
            assert_eq!(seen, ChecksVerdict::Waiting(names(&["build"])), "{doubtful:?}");
        }
        let one_of_two = [("build", Success), ("lint/a", Success), ("lint/b", Other)];
        assert_eq!(verdict(&one_of_two), ChecksVerdict::Waiting(names(&["lint/*"])));
        let red = [("build", Success), ("lint/a", Success), ("extra", Failure)];
        assert_eq!(verdict(&red), ChecksVerdict::Failed(names(&["extra"])));
        assert_eq!(checks(&[]).verdict(&[]), ChecksVerdict::None);
    }

    #[test]
    fn a_pattern_names_what_it_says_and_no_more() {
        for (pattern, context, expected) in [
            ("build", "build", true),
            ("build", "build2", false),
            ("ci/*", "ci/a/b", true),
            ("*", "anything", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("a*a", "a", false),
            ("ci/?", "ci/a", false),
            ("", "", true),
        ] {
            assert_eq!(is_named(pattern, context), expected, "{pattern} {context}");
        }
    }

    #[test]
    fn an_approval_counts_for_one_commit_only() {
        let review = Review {
            by: "someone".to_owned(),
            verdict: ReviewVerdict::Approved,
            head: Some(oid('c')),
            is_official: true,
            is_outdated: false,
        };
        assert!(review.approves(&oid('c')) && !review.approves(&oid('d')));
        for void in [
            Review { is_official: false, ..review.clone() },
            Review { is_outdated: true, ..review.clone() },
            Review { verdict: ReviewVerdict::Commented, ..review.clone() },
            Review { head: None, ..review },
        ] {
            assert!(!void.approves(&oid('c')), "{void:?}");
        }
    }
}
