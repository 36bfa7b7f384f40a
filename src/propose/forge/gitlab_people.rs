//! The part of GitLab's adapter that is about people: what they said and approved, what they may do, whom to ask, and a
//! sign that they were heard. Calls of the trait come in, requests go out. Of somebody's rights, and of what was
//! approved, it says the least that is certain.
//!
//! GitLab knows a comment only together with its merge request, so the id of a comment holds both numbers here.

use std::ops::ControlFlow;

use serde_json::json;

use super::Marker;
use super::error::{ForgeError, Trouble};
use super::gitlab::GitLab;
use super::gitlab_wire as wire;
use super::reply::decoded;
use crate::model::forge::{Access, COMMENTS_MAX, Comment, Reaction, Review};
use crate::outside::http::Method;

/// The lower bits of a comment's id are the note's own, the others the merge request's.
const NOTE_BITS: u32 = 40;

/// One id for a note of a merge request; `None` when it is larger than any that GitLab has given.
fn comment_id(number: u64, note: u64) -> Option<u64> {
    let fits = note >> NOTE_BITS == 0 && number.leading_zeros() >= NOTE_BITS;
    fits.then_some(number << NOTE_BITS | note)
}

/// Merge request and note.
fn of_comment(id: u64) -> (u64, u64) {
    (id >> NOTE_BITS, id & ((1 << NOTE_BITS) - 1))
}

impl GitLab {
    /// The newest notes of people, newest first.
    async fn notes(&self, what: &'static str, number: u64) -> Result<Vec<wire::Note>, ForgeError> {
        let number = number.to_string();
        let rest = ["merge_requests", number.as_str(), "notes"];
        let mut all = Vec::new();
        let query = [("order_by", "created_at"), ("sort", "desc")];
        self.each::<wire::Note>(what, (&rest, &query), |it| {
            if !it.system {
                all.push(it);
            }
            if all.len() < COMMENTS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
        Ok(all)
    }

    pub(super) async fn all_comments(&self, number: u64) -> Result<Vec<Comment>, ForgeError> {
        let what = "read the comments";
        let noun = |it: wire::Note| {
            let id = comment_id(number, it.id);
            let id = id.ok_or_else(|| ForgeError::unreadable(what, "the id of a note is too large", true));
            id.map(|id| it.noun(id))
        };
        self.notes(what, number).await?.into_iter().rev().map(noun).collect()
    }

    pub(super) async fn upsert_comment(
        &self,
        number: u64,
        marker: Marker,
        text: &str,
    ) -> Result<bool, ForgeError> {
        let what = "write the comment";
        let me = self.account().await?;
        // Anybody can write the marker; a comment of somebody else is not ours to edit. The oldest is kept.
        let is_ours = |it: &wire::Note| it.is_by(me) && it.body.starts_with(marker.as_str());
        let ours = self.notes(what, number).await?.into_iter().rev().find(is_ours);
        let text = wire::without_quick_actions(&format!("{}\n{text}", marker.as_str()));
        let body = json!({ "body": text });
        let number = number.to_string();
        let reply = match ours {
            // GitLab takes away what is blank at the end.
            Some(it) if it.body.trim_end() == text.trim_end() => return Ok(false),
            Some(it) => {
                let id = it.id.to_string();
                let place: (Method, &[&str]) = (Method::Put, &["merge_requests", &number, "notes", &id]);
                self.write(what, place, &body, true).await?
            }
            None => {
                let place: (Method, &[&str]) = (Method::Post, &["merge_requests", &number, "notes"]);
                self.write(what, place, &body, false).await?
            }
        };
        decoded::<wire::Note>(what, &reply, false).map(|_| true)
    }

    /// Adding the same twice is a 404 to GitLab, as is a comment that is gone: only looking tells them apart.
    pub(super) async fn add_reaction(&self, comment: u64, reaction: Reaction) -> Result<(), ForgeError> {
        let what = "react to a comment";
        let name = match reaction {
            Reaction::Seen => "eyes",
            Reaction::Done => "thumbsup",
            Reaction::Refused => "thumbsdown",
        };
        let (number, note) = of_comment(comment);
        let (number, note) = (number.to_string(), note.to_string());
        let rest = ["merge_requests", number.as_str(), "notes", note.as_str(), "award_emoji"];
        if self.is_there(what, &rest, name).await? {
            return Ok(());
        }
        let reply = self.write(what, (Method::Post, &rest), &json!({ "name": name }), true).await?;
        if reply.status == 404 && self.is_there(what, &rest, name).await? {
            return Ok(());
        }
        decoded::<wire::AwardEmoji>(what, &reply, false).map(|_| ())
    }

    async fn is_there(&self, what: &'static str, rest: &[&str], name: &str) -> Result<bool, ForgeError> {
        let me = self.account().await?;
        let mut found = false;
        self.each::<wire::AwardEmoji>(what, (rest, &[]), |it| {
            found |= it.name == name && it.is_by(me);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        Ok(found)
    }

    /// The level in the project that this account has by itself, its groups and those that were invited.
    pub(super) async fn level(&self, what: &'static str, user: u64) -> Result<u32, ForgeError> {
        let reply = self.get(what, &["members", "all", &user.to_string()]).await?;
        if reply.status == 404 {
            return Ok(0);
        }
        decoded::<wire::Member>(what, &reply, true).map(|it| it.level())
    }

    async fn user(&self, what: &'static str, login: &str) -> Result<Option<wire::User>, ForgeError> {
        let found: Vec<wire::User> = self.read_at(what, &["users"], &[("username", login)]).await?;
        Ok(found.into_iter().find(|it| it.is(login) && it.is_active()))
    }

    pub(super) async fn access_of(&self, login: &str) -> Result<Access, ForgeError> {
        let what = "ask what somebody may do";
        let Some(user) = self.user(what, login).await? else { return Ok(Access::None) };
        let level = self.level(what, user.id).await?;
        Ok(self.project(what).await?.access(level))
    }

    /// Those who were asked already stay. Without a licence GitLab keeps one reviewer only and says nothing.
    pub(super) async fn ask_reviewers(&self, number: u64, reviewers: &[&str]) -> Result<(), ForgeError> {
        let what = "request the review";
        let here = |why: &str| ForgeError::refused_here(what, Trouble::Missing, why);
        let now = self.wire_pull(what, number).await?.reviewers;
        let mut ids: Vec<u64> = now.iter().map(|it| it.id).collect();
        for login in reviewers {
            let found = self.user(what, login).await?;
            let found = found.ok_or_else(|| here(&format!("there is no active user {login}")))?;
            if !ids.contains(&found.id) {
                ids.push(found.id);
            }
        }
        let kept = self.edit(what, number, &json!({ "reviewer_ids": ids })).await?.reviewers;
        if reviewers.iter().any(|login| kept.iter().any(|it| it.is(login))) {
            return Ok(());
        }
        Err(here("none of them may review it"))
    }

    pub(super) async fn all_reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        let what = "read the reviews";
        let place = number.to_string();
        // First what they could be of, then the approvals: one that comes in between is of a newer head, and then this
        // one can no longer be merged.
        let mut newest = None;
        let rest = ["merge_requests", place.as_str(), "versions"];
        self.each::<wire::Version>(what, (&rest, &[]), |it| {
            // The newest comes first.
            newest = Some(it);
            ControlFlow::Break(())
        })
        .await?;
        let approvals: wire::Approvals = self.read_as(what, &["merge_requests", &place, "approvals"]).await?;
        let settings: Option<wire::ApprovalSettings> = self.read_if_shown(what, &["approvals"]).await?;
        let settings = settings.unwrap_or_default();
        let given = approvals.approved_by.into_iter();
        let mut all: Vec<Review> = given.map(|it| it.review(newest.as_ref(), &settings)).collect();
        let asked: Option<Vec<wire::Reviewer>> =
            self.read_if_shown(what, &["merge_requests", &place, "reviewers"]).await?;
        all.extend(asked.unwrap_or_default().into_iter().filter_map(wire::Reviewer::review));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_found_again_by_its_id_alone() {
        for (number, note) in [(1, 1), (42, 3_000_000_000), ((1 << 24) - 1, (1 << NOTE_BITS) - 1)] {
            assert_eq!(comment_id(number, note).map(of_comment), Some((number, note)));
        }
        assert_eq!(comment_id(1, 1 << NOTE_BITS), None);
        assert_eq!(comment_id(1 << 24, 1), None);
    }
}
