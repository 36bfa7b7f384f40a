//! A condition as Kubernetes has them (KEP-1623): true, false or unknown, why in one word and in one sentence, and
//! since when. Values come in, the wire form goes out.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Longest sentence in a condition, in characters; the API allows more, a table does not.
const MESSAGE_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// What is known about one side of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Condition {
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub kind: String,
    pub status: Truth,
    /// One word, for programs.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// One sentence, for people.
    #[schemars(length(max = 1000))]
    pub message: String,
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the object that this is about.
    pub observed_generation: i64,
}

/// A time as the API writes it: whole seconds.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Conditions of one object: all about the same generation.
#[derive(Debug)]
pub(super) struct Conditions {
    pub generation: i64,
    pub list: Vec<Condition>,
}

impl Conditions {
    pub(super) fn put(&mut self, kind: &str, status: Truth, reason: &str, message: &str, since: Timestamp) {
        self.list.push(Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: sentence(message, MESSAGE_CHARS_MAX),
            last_transition_time: time(since),
            observed_generation: self.generation,
        });
    }
}

/// Text on one line, without anything a terminal would obey.
pub(super) fn sentence(text: &str, chars_max: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect()
}
