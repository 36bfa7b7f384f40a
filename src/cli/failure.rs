//! Failures of the command line: a kind that decides the exit code, one sentence, its causes, and hints.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | yes, nothing to do, all passed |
//! | 1 | ran fine, the answer is no: a difference, a failed check, a failed verification |
//! | 2 | usage or invalid input |
//! | 3 | something outside cannot be reached |
//! | 5 | refused by policy, budget or suspension |
//! | 6 | conflict: somebody else holds the lock or changed the branch |
//!
//! All others are reserved.

use std::error::Error;
use std::fmt::Write as _;

/// What kind of "no" it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    No,
    Usage,
    Unreachable,
    Refused,
    Conflict,
}

impl Kind {
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 5,
            Self::Conflict => 6,
        }
    }
}

/// A command that did not end with yes. An empty message means that everything was said on standard output
/// already.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub source: Option<Box<dyn Error + Send + Sync>>,
    pub hints: Vec<String>,
}

impl Failure {
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new() }
    }

    /// The answer is no, and the output has said so.
    #[must_use]
    pub fn answered_no() -> Self {
        Self::new(Kind::No, "")
    }

    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    #[must_use]
    pub fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// `error: …`, one line per cause, then the hints; ends with a newline unless there is nothing to say.
    #[must_use]
    pub fn render(&self) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let mut text = format!("error: {}\n", self.message);
        let mut cause = self.source.as_deref().map(|it| it as &dyn Error);
        while let Some(error) = cause {
            let _ = writeln!(text, "  caused by: {error}");
            cause = error.source();
        }
        for hint in &self.hints {
            let _ = writeln!(text, "  hint: {hint}");
        }
        text
    }
}

/// An error and its causes in one line, for lists in which each finding is a line.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let inner = std::io::Error::other("connection refused");
        let failure =
            Failure::new(Kind::Unreachable, "could not reach Prometheus").because(inner).hint("is it up?");
        assert_eq!(
            failure.render(),
            "error: could not reach Prometheus\n  caused by: connection refused\n  hint: is it up?\n"
        );
    }
}
