//! Pull requests on a forge, behind one small trait. Nouns of `model::forge` go in and come out; one adapter
//! for each product speaks its API. Whether anything should be proposed, merged or closed is decided elsewhere:
//! a merge needs the permit, pinned to its head. Native auto-merge is never used.
//!
//! Writes that say the same twice are sent again by themselves. One whose answer was lost is
//! [`error::Outlook::Unknown`]: the caller reads again (a new pull request by its head branch, a merge by its state).

mod error;
pub mod gitea;
mod gitea_people;
mod gitea_wire;
pub mod github;
pub mod github_client;
mod github_people;
mod github_wire;
pub mod gitlab;
mod gitlab_checks;
mod gitlab_people;
mod gitlab_wire;
mod pages;
mod reply;
mod traffic;
mod twins;

use std::fmt::Debug;

use futures_util::future::BoxFuture;

pub use self::error::{ForgeError, Outlook, Trouble};
pub use self::traffic::Traffic;
use crate::decide::MergePermit;
use crate::model::forge::{
    Access, Account, Checks, Comment, ForgeCapabilities, Grants, MergeMethod, Protection, PullRequest,
    Reaction, RepositoryFacts, Review,
};
use crate::model::ids::{BranchName, ObjectId};
use crate::outside::clock::OutsideClock;

/// What an operation gives.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ForgeError>>;

/// A pull request to be.
#[derive(Debug, Clone, Copy)]
pub struct PullDraft<'a> {
    pub head: &'a BranchName,
    pub base: &'a BranchName,
    pub title: &'a str,
    pub body: &'a str,
}

/// One line under a commit; a context has one at a time.
#[derive(Debug, Clone, Copy)]
pub struct Status<'a> {
    /// For example `tars/policy`.
    pub context: &'a str,
    pub state: StatusState,
    pub description: &'a str,
    pub url: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusState {
    Pending,
    Success,
    Failure,
}

impl StatusState {
    /// As Gitea and GitHub call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// How a permitted merge is done.
#[derive(Debug, Clone, Copy)]
pub struct Merging<'a> {
    pub permit: &'a MergePermit,
    pub method: MergeMethod,
    /// Title and message of the commit that the forge makes; a fast-forward makes none.
    pub title: &'a str,
    pub message: &'a str,
}

/// A forge with one repository and one token.
pub trait Forge: Debug + Send + Sync {
    fn capabilities(&self) -> ForgeCapabilities;

    /// The newest time the forge's own clock showed; `None` before the first answer.
    fn outside_clock(&self) -> Option<OutsideClock>;

    /// Whose token it is.
    fn whoami(&self) -> Answer<'_, Account>;

    fn repository(&self) -> Answer<'_, RepositoryFacts>;

    /// What the token's scopes allow, found out without writing anything.
    fn grants(&self) -> Answer<'_, Grants>;

    /// What protects `branch`; `None`: there is no such branch.
    fn protection<'a>(&'a self, branch: &'a BranchName) -> Answer<'a, Option<Protection>>;

    /// Every open pull request of the repository, newest first.
    fn open_pulls(&self) -> Answer<'_, Vec<PullRequest>>;

    /// The pull request from `head` to `base`: the open one, otherwise the newest.
    fn find<'a>(&'a self, head: &'a BranchName, base: &'a BranchName) -> Answer<'a, Option<PullRequest>>;

    /// Everything about one, native auto-merge and who closed it included.
    fn read(&self, number: u64) -> Answer<'_, PullRequest>;

    /// Opens a pull request. The forge refuses a second open one from the same head to the same base
    /// ([`Trouble::Conflict`]).
    fn create<'a>(&'a self, draft: PullDraft<'a>) -> Answer<'a, PullRequest>;

    fn update<'a>(&'a self, number: u64, title: &'a str, body: &'a str) -> Answer<'a, PullRequest>;

    /// Says why in a comment, then closes.
    fn close<'a>(&'a self, number: u64, reason: &'a str) -> Answer<'a, PullRequest>;

    /// Keeps exactly one comment of ours with this marker; `true` when something was written.
    fn comment<'a>(&'a self, number: u64, marker: Marker, text: &'a str) -> Answer<'a, bool>;

    /// What was said under it, oldest first; of a long talk the newest [`COMMENTS_MAX`].
    ///
    /// [`COMMENTS_MAX`]: crate::model::forge::COMMENTS_MAX
    fn comments(&self, number: u64) -> Answer<'_, Vec<Comment>>;

    /// What this person may do in the repository now: the least that the forge lets this token know for certain.
    fn access<'a>(&'a self, login: &'a str) -> Answer<'a, Access>;

    /// Puts a sign under a comment; the same one twice is one.
    fn react(&self, comment: u64, reaction: Reaction) -> Answer<'_, ()>;

    /// Adds and removes these labels and touches no other: one that a person sets meanwhile must never be lost. Those
    /// the repository does not know are made; one to remove that is not there is fine.
    fn relabel<'a>(&'a self, number: u64, add: &'a [&'a str], remove: &'a [&'a str]) -> Answer<'a, ()>;

    fn request_review<'a>(&'a self, number: u64, reviewers: &'a [&'a str]) -> Answer<'a, ()>;

    /// Posts a status unless ours says the same already; `true` when it was written.
    fn set_status<'a>(&'a self, head: &'a ObjectId, status: Status<'a>) -> Answer<'a, bool>;

    /// The newest word of every check on exactly this commit.
    fn checks<'a>(&'a self, head: &'a ObjectId) -> Answer<'a, Checks>;

    fn reviews(&self, number: u64) -> Answer<'_, Vec<Review>>;

    /// Merges the permitted head, and no other.
    fn merge<'a>(&'a self, number: u64, merging: Merging<'a>) -> Answer<'a, PullRequest>;
}

/// What tells one kind of our comments from the others, hidden in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Why the pull request was closed.
    Closed,
    /// What `/tars explain` answers.
    Explanation,
    /// What the newest other command is answered.
    Reply,
    /// That the branch is somebody else's now.
    HandedOver,
    /// That a merge dropped the trailers.
    Trailers,
}

impl Marker {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "<!-- tars:closed -->",
            Self::Explanation => "<!-- tars:explanation -->",
            Self::Reply => "<!-- tars:reply -->",
            Self::HandedOver => "<!-- tars:handed-over -->",
            Self::Trailers => "<!-- tars:trailers -->",
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test that starts a server and looks for it on disk")]
#[path = "../../../tests/suite/support/fake.rs"]
mod stand_in;

#[cfg(test)]
mod contract_tests;

#[cfg(test)]
#[path = "gitea_tests.rs"]
pub(crate) mod gitea_tests;

#[cfg(test)]
#[path = "github_tests.rs"]
mod github_tests;

#[cfg(test)]
#[path = "gitlab_tests.rs"]
mod gitlab_tests;
