//! The part of Gitea's adapter that is about people: what they said and did to a pull request, and what they may
//! do. Calls of the trait come in, requests go out. Of somebody's rights it says the least that is certain.

use super::error::ForgeError;
use super::gitea::Gitea;
use super::gitea_wire as wire;
use super::reply::decoded;
use crate::model::forge::{Access, COMMENTS_MAX, Comment, PullRequest, PullState};

impl Gitea {
    /// A pull request with what only its history tells.
    pub(super) async fn whole_pull(&self, number: u64) -> Result<PullRequest, ForgeError> {
        let what = "read the pull request";
        let pull = self.pull(what, number).await?;
        if matches!(pull.state, PullState::Merged(_)) {
            return Ok(pull);
        }
        // Gitea gives the whole history when no page is named; the driver bounds it.
        let happened: Option<Vec<_>> =
            self.read_as(what, &["issues", &number.to_string(), "timeline"]).await?;
        Ok(wire::complete(pull, happened.unwrap_or_default()))
    }

    pub(super) async fn all_comments(&self, number: u64) -> Result<Vec<Comment>, ForgeError> {
        let what = "read the comments";
        let number = number.to_string();
        // Not a list of pages, and oldest first.
        let all: Vec<wire::Comment> = self.read_as(what, &["issues", &number, "comments"]).await?;
        let surplus = all.len().saturating_sub(COMMENTS_MAX);
        Ok(all.into_iter().skip(surplus).map(wire::Comment::noun).collect())
    }

    /// Gitea tells somebody's rights to administrators only, which tars should not be, and leaves out what teams
    /// bring. Everybody sees who can be assigned: all who may write, and members of teams that may do less. Where
    /// such a team reaches the repository, being assignable proves nothing.
    pub(super) async fn access_of(&self, login: &str) -> Result<Access, ForgeError> {
        let what = "ask what somebody may do";
        let told = self.get(what, &["collaborators", login, "permission"]).await?;
        let told = match told.status {
            403 => Access::None,
            404 => return Ok(Access::None),
            _ => decoded::<wire::Level>(what, &told, true)?.access(),
        };
        if told >= Access::Write {
            return Ok(told);
        }
        let assignees: Vec<wire::User> = self.read_as(what, &["assignees"]).await?;
        if wire::has(&assignees, login) {
            return Ok(if self.assignees_write(what).await? { Access::Write } else { Access::Read });
        }
        let may_read = told == Access::Read
            || !self.read_as::<wire::Repository>(what, &[]).await?.private
            || wire::has(&self.read_as::<Vec<wire::User>>(what, &["reviewers"]).await?, login);
        Ok(if may_read { Access::Read } else { Access::None })
    }

    /// May everybody who can be assigned write as well?
    async fn assignees_write(&self, what: &'static str) -> Result<bool, ForgeError> {
        let teams = self.get(what, &["teams"]).await?;
        // It belongs to a person, who has no teams.
        if teams.status == 405 {
            return Ok(true);
        }
        Ok(!decoded::<Vec<wire::Team>>(what, &teams, true)?.iter().any(wire::Team::is_doubtful))
    }
}
