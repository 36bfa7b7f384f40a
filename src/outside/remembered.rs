//! What a server answered before, so that it can say "still so" instead of saying it again. In: answers to GETs, and who
//! asked for them. Out: the condition for the next time, and the answer that a 304 confirms. Nothing of it is used
//! without that 304: every read reaches the server, so what is remembered can be needless, and never out of date.
//!
//! GitHub and GitLab name the state of every answer. Gitea 1.26 does so for raw files only: there nothing is remembered.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use jiff::SignedDuration;
use reqwest::Url;

use super::http::{HttpReply, HttpRequest, Method};

/// Most answers of one server.
pub const ENTRIES_MAX: usize = 256;
/// Most bytes of all of them, addresses and headers included.
pub const BYTES_MAX: usize = 8 << 20;
/// Most bytes of one, so that a single list does not drive out all the others.
const ENTRY_BYTES_MAX: usize = BYTES_MAX / 8;
/// Headers that say something about the content. The others say something about the moment, and come with each 304.
const LASTING_HEADERS: [&str; 2] = ["link", "x-oauth-scopes"];
/// A time of change with less than this before the answer tells two changes of one second not apart (RFC 9110,
/// 8.8.2.2), the clocks of several servers behind one name included.
const MODIFIED_AGE_MIN: SignedDuration = SignedDuration::from_secs(60);

/// What one answer is an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// With its query; the origin is a part of it.
    url: Url,
    /// Who asks, and what they accept. A hash: a second copy of the token would be one too many.
    asker: u64,
}

/// An answer, and what the server calls this state of it.
#[derive(Debug)]
pub(super) struct Entry {
    question: Question,
    condition: (&'static str, String),
    reply: HttpReply,
}

impl Entry {
    /// The header that asks whether it is still so.
    pub(super) fn condition(&self) -> (&'static str, &str) {
        (self.condition.0, &self.condition.1)
    }

    /// The answer, as `says_so` (a 304) confirms it.
    pub(super) fn confirmed(&self, says_so: &HttpReply) -> HttpReply {
        let body = self.reply.body.clone();
        HttpReply { status: 200, content_type: self.reply.content_type.clone(), body, ..says_so.clone() }
            .with_missing(&self.reply, &LASTING_HEADERS)
    }

    fn bytes(&self) -> usize {
        let headers = LASTING_HEADERS.iter().filter_map(|it| self.reply.header(it)).map(str::len);
        let kept: usize = headers.sum();
        size_of::<Self>()
            + self.question.url.as_str().len()
            + self.condition.1.len()
            + kept
            + self.reply.body.len()
    }
}

/// The memory; what was longest not confirmed goes first.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    hasher: RandomState,
    /// The newest last.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Remembered {
    /// What `request` asks of `url`; `None` when its answer is nothing to remember.
    pub(super) fn question(&self, url: &Url, request: &HttpRequest<'_>) -> Option<Question> {
        if request.method != Method::Get || request.body.is_some() {
            return None;
        }
        let mut url = url.clone();
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let token = request.credential.map(|(scheme, token)| (scheme, token.expose()));
        Some(Question { url, asker: self.hasher.hash_one((token, request.headers)) })
    }

    pub(super) fn find(&self, question: &Question) -> Option<Arc<Entry>> {
        self.entries.iter().find(|it| it.question == *question).map(Arc::clone)
    }

    /// Takes what the server just said, and forgets what it said before.
    pub(super) fn take(&mut self, question: Question, reply: &HttpReply) {
        let is_known = |it: &Entry| it.question == question;
        match reply.status {
            304 => {
                let at = self.entries.iter().position(|it| is_known(it));
                let confirmed = at.and_then(|at| self.entries.remove(at));
                self.entries.extend(confirmed);
            }
            200 => {
                self.retain(|it| !is_known(it));
                self.keep(question, reply);
            }
            // A moment's trouble says nothing about the content.
            429 | 500.. => {}
            _ => self.retain(|it| !is_known(it)),
        }
    }

    /// Forgets what a write to `url` changes for certain: the thing itself, what is below it, and the lists it is in. For
    /// room only: what else it changes, the server will say, as it will of what somebody else writes.
    pub(super) fn forget(&mut self, url: &Url) {
        let is_below = |it: &str, of: &str| {
            it.strip_prefix(of.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let written = url.path();
        self.retain(|it| {
            let path = it.question.url.path();
            !is_below(path, written) && !is_below(written, path)
        });
    }

    fn keep(&mut self, question: Question, reply: &HttpReply) {
        let Some(condition) = condition(reply) else { return };
        let content_type = reply.content_type.clone();
        let kept = HttpReply { status: 200, content_type, body: reply.body.clone(), ..HttpReply::default() };
        let entry = Entry { question, condition, reply: kept.with_missing(reply, &LASTING_HEADERS) };
        let bytes = entry.bytes();
        if bytes > ENTRY_BYTES_MAX {
            return;
        }
        while self.entries.len() >= ENTRIES_MAX || self.bytes + bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
        self.bytes += bytes;
        self.entries.push_back(Arc::new(entry));
    }

    fn retain(&mut self, stays: impl Fn(&Entry) -> bool) {
        self.entries.retain(|it| stays(it));
        self.bytes = self.entries.iter().map(|it| it.bytes()).sum();
    }
}

/// How to ask whether this is still so. A weak tag is enough: the server that gave it says what it means by "the same".
fn condition(reply: &HttpReply) -> Option<(&'static str, String)> {
    if let Some(tag) = reply.header("etag") {
        return Some(("if-none-match", tag.to_owned()));
    }
    let modified = reply.header("last-modified")?;
    let age = reply.date?.duration_since(super::http::http_date(modified)?);
    (age >= MODIFIED_AGE_MIN).then(|| ("if-modified-since", modified.to_owned()))
}

#[cfg(test)]
#[path = "remembered_tests.rs"]
mod tests;
