//! What people said under the pull requests: labels, comments and ticked boxes, each with what its author may do in
//! the repository at this moment. What was said comes in; holds, wishes for the ledger and answers go out. Whoever
//! may not is told so; whoever was answered is not answered again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Desk;
use crate::decide::HOLD_LABEL;
use crate::model::action::RemediationAction;
use crate::model::control::{self, Asked, Control};
use crate::model::forge::{Access, Comment, PullRequest, Reaction};
use crate::model::history::{History, later};
use crate::model::request::{Request, Wish};
use crate::propose::forge::{ForgeError, Marker};
use crate::render::{self, Comment as Words, replies};

/// A comment older than this is not acted on any more when it is read for the first time.
const FRESH_FOR: SignedDuration = SignedDuration::from_hours(1);
/// Most comments that are remembered as answered.
const ANSWERED_MAX: usize = 10_000;

/// What is to be written under a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub number: u64,
    /// The comment that is answered.
    pub comment: u64,
    pub reaction: Reaction,
    pub text: Option<(Marker, String)>,
}

/// What was heard under one pull request.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub held: Option<String>,
    pub wishes: Vec<Request>,
}

impl Desk {
    /// Listens to what was said about `record` under `pull`.
    pub(super) async fn listen(
        &mut self,
        pull: &PullRequest,
        record: &RemediationAction,
        history: &History,
        now: Timestamp,
    ) -> Result<Heard, ForgeError> {
        let mut heard = Heard::default();
        if pull.labels.contains(HOLD_LABEL) {
            heard.held = Some(format!("the label {HOLD_LABEL} is on #{}", pull.number));
        }
        let me = self.ground.as_ref().map_or_else(String::new, |(_, ground)| ground.account.login.clone());
        for ticked in control::ticked(&pull.body) {
            if let Control::Snooze { for_s, .. } = ticked {
                let until = later(now, i64::from(for_s));
                heard.wishes.push(Request::quiet(record, until, "a ticked box", ""));
            }
        }
        for comment in self.comments_of(pull).await? {
            match control::asked(&comment, &me, Some(&self.instance)) {
                Asked::Nothing => {}
                Asked::Unusable(why) => {
                    self.reply(
                        pull,
                        &comment,
                        Reaction::Refused,
                        Some((Marker::Reply, replies::refusal(&why))),
                    );
                }
                Asked::Control(control) => {
                    let access = self.access_of(&comment.by).await?;
                    if access < control.needs() {
                        let text = replies::not_allowed(&control, access);
                        self.reply(pull, &comment, Reaction::Refused, Some((Marker::Reply, text)));
                    } else {
                        self.obey(&control, (pull, &comment, access), record, &mut heard, now);
                    }
                }
            }
        }
        heard.wishes.retain(|it| is_news(it, record, history, now));
        Ok(heard)
    }

    fn obey(
        &mut self,
        control: &Control,
        (pull, comment, access): (&PullRequest, &Comment, Access),
        record: &RemediationAction,
        heard: &mut Heard,
        now: Timestamp,
    ) {
        let by = format!("{} on #{}", comment.by, pull.number);
        let is_fresh = now.duration_since(comment.at).abs() <= FRESH_FOR;
        let text = match control {
            Control::Hold { reason } => {
                let why = reason.as_ref().map_or_else(String::new, |it| format!(": {it}"));
                heard.held = Some(format!("held by {by}{why}"));
                None
            }
            // The label is somebody's too, and stays.
            Control::Unhold { .. } if pull.labels.contains(HOLD_LABEL) => {
                Some((Marker::Reply, format!("The label `{HOLD_LABEL}` is still on: take it off to let go.")))
            }
            Control::Unhold { .. } => {
                heard.held = None;
                None
            }
            Control::Snooze { for_s, reason } => {
                let until = later(comment.at, i64::from(*for_s));
                heard.wishes.push(Request::quiet(record, until, &by, reason.as_deref().unwrap_or_default()));
                None
            }
            Control::Revert if is_fresh => {
                let wish = Wish::Revert { of: record.id().clone() };
                heard.wishes.push(Request::new(wish, &by, ""));
                None
            }
            // Every tick scores again; what a ticked box or this comment adds is an answer.
            Control::Refresh | Control::Revert => None,
            Control::Explain { why_not } => {
                let what = Words::Explanation { why_not: *why_not };
                let text = render::comment(record, what, &self.forge.capabilities());
                Some((Marker::Explanation, text))
            }
            Control::Help => Some((Marker::Reply, replies::help(access, &self.instance))),
        };
        self.reply(pull, comment, Reaction::Done, text);
    }

    fn reply(
        &mut self,
        pull: &PullRequest,
        comment: &Comment,
        reaction: Reaction,
        text: Option<(Marker, String)>,
    ) {
        if !self.answered.insert(comment.id) {
            return;
        }
        while self.answered.len() > ANSWERED_MAX {
            self.answered.pop_first();
        }
        self.replies.push(Reply { number: pull.number, comment: comment.id, reaction, text });
    }

    /// What was said under `pull`; asked for only when something there has changed.
    async fn comments_of(&mut self, pull: &PullRequest) -> Result<Vec<Comment>, ForgeError> {
        if let Some((at, known)) = self.talk.get(&pull.number)
            && *at == pull.updated_at
        {
            return Ok(known.clone());
        }
        let comments = self.forge.comments(pull.number).await?;
        self.talk.insert(pull.number, (pull.updated_at, comments.clone()));
        Ok(comments)
    }

    async fn access_of(&mut self, login: &str) -> Result<Access, ForgeError> {
        if let Some(known) = self.rights.get(login) {
            return Ok(*known);
        }
        let access = self.forge.access(login).await?;
        self.rights.insert(login.to_owned(), access);
        Ok(access)
    }

    /// A wish that was heard at the last reading and that the ledger can take now.
    pub fn wish(&self, history: &History, now: Timestamp) -> Option<&Request> {
        let is_quiet = |it: &Request| history.quiet.get(&quiet_key(it)) == Some(it);
        self.wishes.iter().find(|it| it.check(history, now).is_ok() && !is_quiet(it))
    }

    /// Writes the answers that are due.
    pub(super) async fn answer(&mut self) -> Result<(), ForgeError> {
        while let Some(reply) = self.replies.first().cloned() {
            self.forge.react(reply.comment, Reaction::Seen).await?;
            if let Some((marker, text)) = &reply.text {
                self.pace().await;
                self.forge.comment(reply.number, *marker, text).await?;
            }
            self.forge.react(reply.comment, reply.reaction).await?;
            self.replies.remove(0);
        }
        Ok(())
    }
}

/// Is it not what the ledger says already, and not over?
fn is_news(request: &Request, record: &RemediationAction, history: &History, now: Timestamp) -> bool {
    let is_said = match &request.wish {
        Wish::Quiet { until, .. } => *until <= now || history.quiet_about(record, now).is_some(),
        Wish::Revert { .. } => false,
    };
    !is_said && request.check(history, now).is_ok()
}

fn quiet_key(request: &Request) -> String {
    match &request.wish {
        Wish::Quiet { of, .. } => of.key(),
        Wish::Revert { .. } => String::new(),
    }
}

/// Rights as they were asked for in one reading: asked anew in the next.
pub(super) type Rights = BTreeMap<String, Access>;
