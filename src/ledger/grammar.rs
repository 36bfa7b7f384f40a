//! The text of an entry: an envelope goes out as a commit message, a commit message comes in as an envelope.
//! There is exactly one way to write an envelope, and anything else is refused. Never reads a file or a tag,
//! never repairs.

use std::str::FromStr;

use jiff::Timestamp;
use thiserror::Error;

use crate::model::entry::{EntryKind, Envelope, Subject};
use crate::model::ids::*;
use crate::model::trailers::{self, TrailerError};

/// Longest headline, characters.
const MAX_HEADLINE: usize = 72;
/// Longest commit message that is looked at, bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// A commit message is not an entry, or an envelope cannot be written as one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrammarError {
    #[error("the message is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    #[error("the trailers break the grammar of an entry")]
    Trailers(#[source] TrailerError),
    #[error("trailer {0:?} is not one of an entry")]
    UnknownKey(String),
    #[error("trailer {0} is missing")]
    MissingKey(&'static str),
    #[error("trailer {key} is not {what}")]
    Value { key: &'static str, what: &'static str },
    #[error("the trailers are right but not in the form or order that tars writes")]
    NotCanonical,
    #[error("the subject is not 'tars: ... (#{seq})'")]
    SubjectLine { seq: u64 },
}

const KEYS: [&str; 13] = [
    "Tars-Seq",
    "Tars-Prev",
    "Tars-Entry",
    "Tars-Kind",
    "Tars-Id",
    "Tars-Incident",
    "Tars-Fingerprint",
    "Tars-Policy",
    "Tars-Target",
    "Tars-Tree",
    "Tars-Repo",
    "Tars-Time",
    "Tars-Instance",
];

/// Keeps letters, digits, spaces and harmless punctuation: a headline can neither break the line nor reorder
/// it, mention a person, close an issue or become a link.
fn headline_text(headline: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || (c.is_ascii_graphic() && !"@#<>`[]\\!".contains(c));
    let spaced: String = headline.chars().map(|c| if kept(c) { c } else { ' ' }).collect();
    let words = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(MAX_HEADLINE).collect();
    match short.trim_end() {
        "" => "ledger entry".to_owned(),
        text => text.to_owned(),
    }
}

fn pairs(envelope: &Envelope) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("Tars-Seq", envelope.seq.to_string())];
    if let Some(prev) = &envelope.prev {
        pairs.push(("Tars-Prev", prev.to_string()));
    }
    pairs.push(("Tars-Entry", envelope.id.to_string()));
    pairs.push(("Tars-Kind", envelope.kind.as_str().to_owned()));
    if let Some(subject) = &envelope.subject {
        pairs.push(("Tars-Id", subject.action.to_string()));
        pairs.push(("Tars-Incident", subject.incident.to_string()));
        pairs.push(("Tars-Fingerprint", subject.fingerprint.to_string()));
        pairs.push(("Tars-Policy", subject.policy.to_string()));
        pairs.push(("Tars-Target", subject.target.to_string()));
        if let Some(tree) = &subject.tree {
            pairs.push(("Tars-Tree", tree.to_string()));
        }
    }
    pairs.push(("Tars-Repo", envelope.repo.to_string()));
    pairs.push(("Tars-Time", envelope.time.to_string()));
    pairs.push(("Tars-Instance", envelope.instance.to_string()));
    pairs
}

fn paragraph(envelope: &Envelope) -> Result<String, TrailerError> {
    let pairs = pairs(envelope);
    let borrowed: Vec<_> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
    trailers::write(&borrowed)
}

fn body(envelope: &Envelope) -> String {
    match &envelope.subject {
        None => format!("Entry {} of the tars ledger: {}.", envelope.seq, envelope.kind.as_str()),
        Some(subject) => format!(
            "Entry {} of the tars ledger: {} enters {}\nfor {}\nunder policy {}.",
            envelope.seq,
            subject.action,
            envelope.kind.as_str(),
            subject.target,
            subject.policy
        ),
    }
}

/// The commit message of an entry: a fixed-form subject, a body for people, and the trailers.
///
/// # Errors
/// [`GrammarError::Trailers`] when a value does not fit a trailer; only a target whose `namespace/Kind/name`
/// is longer than 256 bytes does that.
pub fn message(envelope: &Envelope, headline: &str) -> Result<String, GrammarError> {
    let trailers = paragraph(envelope).map_err(GrammarError::Trailers)?;
    let headline = headline_text(headline);
    Ok(format!("tars: {headline} (#{})\n\n{}\n\n{trailers}", envelope.seq, body(envelope)))
}

/// Takes the trailers one by one, in any order; what is left over is unknown.
struct Reader(Vec<(String, String)>);

impl Reader {
    fn optional(&mut self, key: &'static str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| other == key)?;
        Some(self.0.swap_remove(index).1)
    }

    fn text(&mut self, key: &'static str) -> Result<String, GrammarError> {
        self.optional(key).ok_or(GrammarError::MissingKey(key))
    }

    fn name<T: TryFrom<String>>(&mut self, key: &'static str, what: &'static str) -> Result<T, GrammarError> {
        let text = self.text(key)?;
        T::try_from(text).map_err(|_| GrammarError::Value { key, what })
    }

    fn parsed<T: FromStr>(&mut self, key: &'static str, what: &'static str) -> Result<T, GrammarError> {
        self.text(key)?.parse().map_err(|_| GrammarError::Value { key, what })
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(other, _)| other == key)
    }

    fn subject(&mut self) -> Result<Option<Subject>, GrammarError> {
        if !self.has("Tars-Id") {
            return Ok(None);
        }
        let action = self.name("Tars-Id", "an action id")?;
        let incident = self.name("Tars-Incident", "an incident id")?;
        let fingerprint = self.name("Tars-Fingerprint", "a fingerprint")?;
        let policy = self.name("Tars-Policy", "a policy name")?;
        let target = WorkloadRef::parse(&self.text("Tars-Target")?)
            .map_err(|_| GrammarError::Value { key: "Tars-Target", what: "namespace/Kind/name" })?;
        let tree = if self.has("Tars-Tree") { Some(self.name("Tars-Tree", "an object id")?) } else { None };
        Ok(Some(Subject { action, incident, fingerprint, policy, target, tree }))
    }
}

/// Reads what [`message`] wrote.
///
/// # Errors
/// [`GrammarError`] for anything else: another paragraph at the end, an unknown, missing or repeated key, a
/// value out of its grammar, another order or encoding, another subject line.
pub fn parse_message(message: &str) -> Result<Envelope, GrammarError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(GrammarError::TooLong);
    }
    let pairs = trailers::parse(message).map_err(GrammarError::Trailers)?;
    if let Some((key, _)) = pairs.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
        return Err(GrammarError::UnknownKey(key.clone()));
    }
    let mut reader = Reader(pairs);
    let seq: u64 = reader.parsed("Tars-Seq", "a number")?;
    let prev = if reader.has("Tars-Prev") { Some(reader.name("Tars-Prev", "an entry id")?) } else { None };
    let id = reader.name("Tars-Entry", "an entry id")?;
    let kind = EntryKind::parse(&reader.text("Tars-Kind")?)
        .ok_or(GrammarError::Value { key: "Tars-Kind", what: "a kind of entry" })?;
    let subject = reader.subject()?;
    let repo = reader.name("Tars-Repo", "a repository id")?;
    let time: Timestamp = reader.parsed("Tars-Time", "an RFC 3339 time")?;
    let instance = reader.name("Tars-Instance", "an instance id")?;
    if let Some((key, _)) = reader.0.into_iter().next() {
        return Err(GrammarError::UnknownKey(key));
    }
    let envelope = Envelope { seq, prev, id, kind, subject, repo, time, instance };
    let expected = paragraph(&envelope).map_err(GrammarError::Trailers)?;
    if !message.ends_with(&format!("\n\n{expected}")) {
        return Err(GrammarError::NotCanonical);
    }
    let subject_line = message.split('\n').next().unwrap_or_default();
    if !subject_line.starts_with("tars: ") || !subject_line.ends_with(&format!(" (#{seq})")) {
        return Err(GrammarError::SubjectLine { seq });
    }
    Ok(envelope)
}
