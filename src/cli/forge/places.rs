//! Where each product keeps the settings that `tars forge check` looks at, in the product's own words. A kind comes in,
//! names of places and scopes go out. Nothing is asked here.

use crate::config::ForgeKind;

/// The words of one product. Places are below the repository's page.
#[derive(Debug)]
pub struct Places {
    /// What lets a token say whose it is.
    pub identity: &'static str,
    /// What a token needs to write pull requests and statuses.
    pub pull_requests: &'static str,
    /// What it needs to comment and label.
    pub comments: &'static str,
    pub collaborators: &'static str,
    pub pull_requests_unit: &'static str,
    pub new_rule: &'static str,
    /// Number of approvals in a rule.
    pub approvals: &'static str,
    pub checks: &'static str,
    pub may_merge: &'static str,
    pub may_push: &'static str,
    pub methods: &'static str,
    /// A merge commit keeps what was reviewed; a forge that fast-forwards does better.
    pub fast_forwards: bool,
}

const GITEA: Places = Places {
    identity: "read:user",
    pull_requests: "write:repository",
    comments: "write:issue",
    collaborators: "settings/collaboration",
    pull_requests_unit: "settings: Units > Pull Requests > Enable Repository Pull Requests",
    new_rule: "Settings > Branches > Add New Rule: require status checks, and pull requests for everybody",
    approvals: "Required approvals",
    checks: "Enable Status Check in the branch's protection rule",
    may_merge: "merge allow list",
    may_push: "disable push",
    methods: "settings: Units > Pull Requests > Fast-forward only",
    fast_forwards: true,
};

const GITHUB: Places = Places {
    identity: "repo",
    pull_requests: "repo, or Contents, Pull requests and Commit statuses: write",
    comments: "repo, or Pull requests: write",
    collaborators: "settings/access",
    pull_requests_unit: "settings: Features > Pull requests",
    new_rule: "Settings > Rules > New branch ruleset: require status checks, and a pull request before merging",
    approvals: "Required approvals",
    checks: "Require status checks to pass in the branch's rule",
    may_merge: "bypass list, or leave the merge queue",
    may_push: "require a pull request before merging",
    methods: "settings: General > Pull Requests > Allow merge commits",
    fast_forwards: false,
};

const GITLAB: Places = Places {
    identity: "api",
    pull_requests: "api",
    comments: "api",
    collaborators: "-/project_members",
    pull_requests_unit: "edit: Visibility, project features, permissions > Merge requests",
    new_rule: "Settings > Repository > Protected branches: nobody may push, Developers may merge",
    approvals: "the approvals required",
    checks: "Settings > Merge requests > Pipelines must succeed, or name checks in forge.required_checks",
    may_merge: "\"Allowed to merge\" list",
    may_push: "set \"Allowed to push and merge\" to \"No one\"",
    methods: "-/settings/merge_requests: Fast-forward merge, and Squash commits when merging: Do not allow",
    fast_forwards: true,
};

#[must_use]
pub fn of(kind: ForgeKind) -> &'static Places {
    match kind {
        ForgeKind::Gitea => &GITEA,
        ForgeKind::GitHub => &GITHUB,
        ForgeKind::GitLab => &GITLAB,
    }
}
