//! Failures of the command line: a kind that decides the exit code, one sentence, its causes, and hints.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | yes, nothing to do, all passed |
//! | 1 | ran fine, the answer is no: a difference, a failed check, a failed verification |
//! | 2 | usage or invalid input |
//! | 3 | something outside cannot be reached |
//! | 4 | the other side does not know us, or does not allow it |
//! | 5 | refused by policy, budget or suspension |
//! | 6 | conflict: somebody else holds the lock or changed the branch |
//! | 7 | `--timeout` has passed |
//!
//! All others are reserved.

use std::error::Error;
use std::fmt::Write as _;

use crate::outside::git::GitError;

/// What kind of "no" it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    No,
    Usage,
    Unreachable,
    Denied,
    Refused,
    Conflict,
    TimedOut,
}

impl Kind {
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Denied => 4,
            Self::Refused => 5,
            Self::Conflict => 6,
            Self::TimedOut => 7,
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

/// Did the remote repository not know us, or not let us? Git has no exit status for it. Its own words, in the
/// fixed locale it runs in, decide nothing but the exit code; what the remote said (`remote: ...`) is not
/// asked.
#[must_use]
pub fn denied(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(GitError::Remote { detail, .. }) = error.downcast_ref() {
            return detail.split(" | ").any(is_denial);
        }
        next = error.source();
    }
    false
}

/// One line of git's, or of ssh's.
fn is_denial(line: &str) -> bool {
    let Some(fatal) = line.strip_prefix("fatal: ") else {
        return !line.starts_with("remote:") && line.contains("Permission denied (");
    };
    let asks = ["Authentication failed for", "could not read Username for", "could not read Password for"];
    let status = ["The requested URL returned error: 401", "The requested URL returned error: 403"];
    asks.iter().any(|it| fatal.starts_with(it)) || status.iter().any(|it| fatal.ends_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_told_from_a_remote_that_cannot_be_reached() {
        let said = |detail: &str| {
            let git = GitError::Remote { what: "list the branches of", detail: detail.to_owned() };
            denied(&crate::reconcile::error::TurnError::Fetch(git))
        };
        for detail in [
            "fatal: Authentication failed for 'https://a.example/b/'",
            "fatal: could not read Username for 'https://a.example': terminal prompts disabled",
            "fatal: unable to access 'https://a.example/': The requested URL returned error: 403",
            "git@a.example: Permission denied (publickey). | fatal: Could not read from remote repository.",
        ] {
            assert!(said(detail), "{detail}");
        }
        for detail in [
            "fatal: unable to access 'https://a.example/': Could not resolve host: a.example",
            "fatal: unable to access 'https://a.example/': The requested URL returned error: 500",
            "remote: Permission denied (for a joke) | fatal: the remote end hung up unexpectedly",
            "remote: fatal: Authentication failed for you",
            "git said nothing",
        ] {
            assert!(!said(detail), "{detail}");
        }
    }

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
