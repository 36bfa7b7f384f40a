//! The part of GitHub's adapter that is about people: what they said and did to a pull request, and what they may do. Calls
//! of the trait come in, requests go out. An approval counts only from somebody who may write, asked at the time of
//! reading.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::error::ForgeError;
use super::github::{GitHub, PAGE_ITEMS};
use super::github_wire as wire;
use super::reply::decoded;
use crate::model::forge::{Access, COMMENTS_MAX, Comment, PullRequest, PullState, Review, ReviewVerdict};

/// Most people whose right to approve is looked up for one pull request.
const APPROVERS_MAX: usize = 20;

impl GitHub {
    /// A pull request with what only its other side, the issue, tells.
    pub(super) async fn whole_pull(&self, number: u64) -> Result<PullRequest, ForgeError> {
        let what = "read the pull request";
        let pull = PullRequest::from(self.wire_pull(what, number).await?);
        if pull.state != PullState::Closed {
            return Ok(pull);
        }
        let issue: wire::Issue =
            decoded(what, &self.get(what, &["issues", &number.to_string()]).await?, true)?;
        Ok(PullRequest { closed_by: issue.closed_by(), ..pull })
    }

    /// The newest comments, oldest first. How many there are is known, so a flood costs no more than a few pages.
    async fn newest_comments(
        &self,
        what: &'static str,
        number: u64,
    ) -> Result<Vec<wire::Comment>, ForgeError> {
        let count = usize::try_from(self.wire_pull(what, number).await?.comments).unwrap_or(usize::MAX);
        let page = (count.saturating_sub(COMMENTS_MAX) / PAGE_ITEMS + 1).to_string();
        let number = number.to_string();
        let mut all = Vec::new();
        let rest = ["issues", number.as_str(), "comments"];
        self.each::<Vec<wire::Comment>, _>(what, (&rest, &[("page", page.as_str())]), |it| {
            all.push(it);
            ControlFlow::Continue(())
        })
        .await?;
        let surplus = all.len().saturating_sub(COMMENTS_MAX);
        Ok(all.split_off(surplus))
    }

    pub(super) async fn all_comments(&self, number: u64) -> Result<Vec<Comment>, ForgeError> {
        let all = self.newest_comments("read the comments", number).await?;
        Ok(all.into_iter().map(wire::Comment::noun).collect())
    }

    pub(super) async fn all_reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        let what = "read the reviews";
        let mut pull = self.wire_pull(what, number).await?;
        let given = self.all(what, &["pulls", &number.to_string(), "reviews"], &[]).await?;
        let mut reviews = wire::reviews(given);
        let mut writers: BTreeMap<String, bool> = BTreeMap::new();
        for review in &mut reviews {
            if review.verdict != ReviewVerdict::Approved || review.is_outdated || review.by.is_empty() {
                continue;
            }
            let may_write = match writers.get(&review.by) {
                Some(known) => *known,
                None if writers.len() >= APPROVERS_MAX => false,
                None => self.access_of(&review.by).await? >= Access::Write,
            };
            writers.insert(review.by.clone(), may_write);
            review.is_official = may_write;
        }
        reviews.extend(pull.requested());
        Ok(reviews)
    }

    pub(super) async fn access_of(&self, login: &str) -> Result<Access, ForgeError> {
        let what = "ask what somebody may do";
        let reply = self.get(what, &["collaborators", login, "permission"]).await?;
        match reply.status {
            // Nobody of this name; or an app, which is no collaborator.
            404 => Ok(Access::None),
            _ => decoded::<wire::Level>(what, &reply, true).map(|it| it.access()),
        }
    }
}
