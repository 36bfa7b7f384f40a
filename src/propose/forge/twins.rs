//! What Gitea and GitHub have alike, because one learned it from the other: a pull request is edited, and its talk belongs
//! to an issue of the same number. What an adapter brings comes in, writes go out; where the two differ is in the adapters.

use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};

use super::error::{ForgeError, Trouble};
use super::reply::decoded;
use super::{Answer, Forge, Marker};
use crate::model::forge::{PullRequest, Reaction};
use crate::outside::http::{HttpReply, Method};

/// What an adapter brings.
pub(super) trait Twin: Forge {
    /// A write below the repository; `repeatable` when doing it twice is the same as once.
    fn send<'a>(
        &'a self,
        what: &'static str,
        place: (Method, &'a [&'a str]),
        body: &'a Json,
        repeatable: bool,
    ) -> Answer<'a, HttpReply>;

    /// The answer to a write as a pull request.
    fn written(&self, what: &'static str, reply: &HttpReply) -> Result<PullRequest, ForgeError>;
}

async fn edit(
    forge: &impl Twin,
    what: &'static str,
    number: u64,
    edit: &Json,
) -> Result<PullRequest, ForgeError> {
    let number = number.to_string();
    let reply = forge.send(what, (Method::Patch, &["pulls", &number]), edit, true).await?;
    forge.written(what, &reply)
}

pub(super) async fn update(
    forge: &impl Twin,
    number: u64,
    title: &str,
    body: &str,
) -> Result<PullRequest, ForgeError> {
    let (what, whole) = ("edit the pull request", json!({ "title": title, "body": body }));
    match edit(forge, what, number, &whole).await {
        // Gitea refuses an edit of a text that changes at the same moment. This one says all of it, so it may come after.
        Err(error) if error.trouble == Trouble::Conflict => edit(forge, what, number, &whole).await,
        outcome => outcome,
    }
}

pub(super) async fn close(forge: &impl Twin, number: u64, reason: &str) -> Result<PullRequest, ForgeError> {
    comment(forge, number, Marker::Closed, reason).await?;
    edit(forge, "close the pull request", number, &json!({ "state": "closed" })).await
}

pub(super) async fn comment(
    forge: &impl Twin,
    number: u64,
    marker: Marker,
    text: &str,
) -> Result<bool, ForgeError> {
    let what = "write the comment";
    let me = forge.whoami().await?;
    // Anybody can write the marker; a comment of somebody else is not ours to edit.
    let is_ours = |body: &str, by: &str| by == me.login && body.starts_with(marker.as_str());
    let ours = forge.comments(number).await?.into_iter().find(|it| is_ours(&it.body, &it.by));
    let body = json!({ "body": format!("{}\n{text}", marker.as_str()) });
    let number = number.to_string();
    let reply = match ours {
        Some(it) if Some(it.body.as_str()) == body["body"].as_str() => return Ok(false),
        Some(it) => {
            let id = it.id.to_string();
            forge.send(what, (Method::Patch, &["issues", "comments", &id]), &body, true).await?
        }
        None => forge.send(what, (Method::Post, &["issues", &number, "comments"]), &body, false).await?,
    };
    decoded::<IgnoredAny>(what, &reply, false).map(|_| true)
}

pub(super) async fn request_review(
    forge: &impl Twin,
    number: u64,
    reviewers: &[&str],
) -> Result<(), ForgeError> {
    let (what, number) = ("request the review", number.to_string());
    let place: (Method, &[&str]) = (Method::Post, &["pulls", &number, "requested_reviewers"]);
    let reply = forge.send(what, place, &json!({ "reviewers": reviewers }), true).await?;
    decoded::<IgnoredAny>(what, &reply, false).map(|_| ())
}

pub(super) async fn react(forge: &impl Twin, comment: u64, reaction: Reaction) -> Result<(), ForgeError> {
    let content = match reaction {
        Reaction::Seen => "eyes",
        Reaction::Done => "+1",
        Reaction::Refused => "-1",
    };
    let (what, comment) = ("react to a comment", comment.to_string());
    let place: (Method, &[&str]) = (Method::Post, &["issues", "comments", &comment, "reactions"]);
    let reply = forge.send(what, place, &json!({ "content": content }), true).await?;
    decoded::<IgnoredAny>(what, &reply, false).map(|_| ())
}
