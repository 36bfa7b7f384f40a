//! What went wrong with a forge, and what that means for whoever asked. An answer or the lack of one comes in,
//! one typed error goes out. Kinds come from statuses; the forge's own words are shown and decide nothing.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;
use thiserror::Error;

use crate::outside::api::ApiError;
use crate::outside::command::is_unprintable;
use crate::outside::http::HttpReply;

/// Longest piece of the forge's own words in an error, characters.
const SAID_CHARS_MAX: usize = 300;

/// An operation that did not succeed.
#[derive(Debug, Error)]
#[error("could not {what}{}{}", status_note(*.status), said_note(.said))]
pub struct ForgeError {
    /// The operation, as in "could not ...".
    pub what: &'static str,
    pub status: Option<u16>,
    /// The forge's message: bounded, made printable, untrusted.
    pub said: String,
    pub trouble: Trouble,
    #[source]
    source: Option<Box<ApiError>>,
}

fn status_note(status: Option<u16>) -> String {
    status.map_or_else(String::new, |it| format!(" (HTTP {it})"))
}

fn said_note(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What kind of "no" it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The token is not known.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    /// Not there, or not shown to this token.
    Missing,
    /// Against the rules as things stand: protection, draft, checks, method, archived.
    NotReady,
    /// The state is another than assumed: the head moved, the pull request exists already.
    Conflict,
    /// The forge does not understand the request, or we not the answer.
    Protocol,
    RateLimited(Timestamp),
    /// Nothing was done, and nothing says that it cannot be.
    Unreachable,
    /// The write was sent, and whether it was carried out is not known.
    Lost,
    /// The address leads elsewhere: a redirect, a page on another server.
    Elsewhere,
}

/// What the caller may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// The same will be refused again until somebody changes something.
    Permanent,
    /// Try again later.
    Transient,
    RateLimited(Timestamp),
    /// It may have been done: read before trying again.
    Unknown,
}

impl ForgeError {
    /// From an answer that is not a success.
    pub(super) fn refused(what: &'static str, reply: &HttpReply, is_read: bool) -> Self {
        let trouble = match reply.status {
            401 => Trouble::Unauthenticated,
            403 => Trouble::Forbidden,
            404 | 410 => Trouble::Missing,
            405 | 422 | 423 => Trouble::NotReady,
            409 | 412 => Trouble::Conflict,
            // A server that broke off has perhaps done its part already.
            500.. if is_read => Trouble::Unreachable,
            500.. => Trouble::Lost,
            _ => Trouble::Protocol,
        };
        Self { what, status: Some(reply.status), said: words(&reply.body), trouble, source: None }
    }

    /// From the lack of an answer.
    pub(super) fn unanswered(what: &'static str, source: ApiError) -> Self {
        let trouble = match &source {
            ApiError::NoAnswer { .. } => Trouble::Unreachable,
            // Whoever answers a write so may have passed it on.
            ApiError::Lost(_) | ApiError::Unasked { is_read: false, .. } => Trouble::Lost,
            ApiError::RateLimited { until, .. } => Trouble::RateLimited(*until),
            ApiError::Redirected { .. } | ApiError::ForeignPage { .. } => Trouble::Elsewhere,
            ApiError::Address(_) | ApiError::Unasked { .. } => Trouble::Protocol,
        };
        Self { what, status: None, said: String::new(), trouble, source: Some(Box::new(source)) }
    }

    /// The credential that the request needed was not given out; the request itself was never sent.
    pub(super) fn not_let_in(what: &'static str, status: u16, why: &str) -> Self {
        let trouble = if status >= 500 { Trouble::Unreachable } else { Trouble::Unauthenticated };
        Self { what, status: Some(status), said: shown(why), trouble, source: None }
    }

    /// From an answer that is none of this API; `is_read`: asking did nothing.
    pub(super) fn unreadable(what: &'static str, why: &str, is_read: bool) -> Self {
        let trouble = if is_read { Trouble::Protocol } else { Trouble::Lost };
        let said = shown(&format!("the answer is not the forge's API: {why}"));
        Self { what, status: None, said, trouble, source: None }
    }

    /// Refused here, before anything was sent.
    #[must_use]
    pub fn refused_here(what: &'static str, trouble: Trouble, why: &str) -> Self {
        Self { what, status: None, said: shown(why), trouble, source: None }
    }

    /// The same, known to be because it exists already.
    pub(super) fn into_conflict(self) -> Self {
        Self { trouble: Trouble::Conflict, ..self }
    }

    /// The same, where this forge means something else by the status.
    pub(super) fn meaning(self, trouble: Trouble) -> Self {
        Self { trouble, ..self }
    }

    /// The same, known to come after something that may have been done.
    pub(super) fn after_a_write(self) -> Self {
        Self { trouble: Trouble::Lost, ..self }
    }

    #[must_use]
    pub fn outlook(&self) -> Outlook {
        match self.trouble {
            Trouble::Unreachable => Outlook::Transient,
            Trouble::RateLimited(until) => Outlook::RateLimited(until),
            Trouble::Lost => Outlook::Unknown,
            _ => Outlook::Permanent,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.trouble {
            Trouble::Unauthenticated => {
                "the token is unknown or expired: make a new one and put it into forge.token_file; of an app, id, \
                 installation_id and private_key_file must belong together"
            }
            Trouble::Forbidden => {
                "give the token the scopes that SECURITY.md lists, and its account write access to the repository"
            }
            Trouble::Missing => {
                "check forge.url and forge.repository; forges also say this of what the token may not see"
            }
            Trouble::NotReady => "the repository's rules do not allow it now; tars forge check names them",
            Trouble::Conflict => "somebody else was faster; read again",
            Trouble::Protocol => "is forge.url the address of the web interface, and forge.kind right?",
            Trouble::RateLimited(_) => "ask less often, or raise the limit of this account",
            Trouble::Unreachable => "is forge.url right, and does a proxy or firewall stand in between?",
            Trouble::Lost => "look at the pull request before trying again",
            Trouble::Elsewhere => {
                "set forge.url to the address the forge itself uses (Gitea: ROOT_URL, GitLab: external_url), and forge.repository to its present name"
            }
        }
    }
}

/// The message of an error body, or the body itself. A message may be a text or a list of them by field (GitLab).
fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: Option<Json>,
        error_description: Option<Json>,
        error: Option<Json>,
    }
    let said = serde_json::from_slice::<Message>(body).ok();
    let said = said.and_then(|it| it.message.or(it.error_description).or(it.error)).map(|it| match it {
        Json::String(text) => text,
        other => other.to_string(),
    });
    shown(&said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
}

/// Printable, one line, bounded.
fn shown(text: &str) -> String {
    let mut safe = String::new();
    for c in text.trim().chars().take(SAID_CHARS_MAX) {
        if c.is_whitespace() {
            safe.push(' ');
        } else if is_unprintable(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}
