//! Typed events for the log. In goes one [`Event`], out goes one `tracing` record with fixed field names.
//! Text that a stranger wrote is escaped and cut before it gets here into a field; no secret and no file
//! content is ever a field.

use std::fmt;

use tracing::{debug, error, info, warn};

use crate::model::action::ActionState;
use crate::model::causes::causes;
use crate::model::ids::{ActionId, PolicyName, WorkloadRef};
use crate::model::reason::Reason;

/// Longest free text in one field, characters.
const MAX_TEXT_CHARS: usize = 500;

/// Free text made safe for a log line: control characters, line separators and direction overrides become
/// `\u{..}` escapes, and what is too long is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean(String);

impl Clean {
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len().min(MAX_TEXT_CHARS));
        for (index, character) in text.chars().enumerate() {
            if index == MAX_TEXT_CHARS {
                clean.push('…');
                break;
            }
            if is_deceptive(character) {
                clean.extend(character.escape_unicode());
            } else {
                clean.push(character);
            }
        }
        Self(clean)
    }

    /// An error with its causes, joined by `: `.
    #[must_use]
    pub fn chain(error: &dyn std::error::Error) -> Self {
        Self::new(&causes(error))
    }
}

/// Characters that move the cursor, break the line or reorder what a person sees.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' 
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing worth a log line.
#[derive(Debug)]
pub enum Event<'a> {
    Started {
        version: &'a str,
        instance: &'a str,
    },
    Stopped,
    Listening {
        address: std::net::SocketAddr,
    },
    Ticked {
        duration_ms: u64,
        signals: usize,
        unavailable: usize,
    },
    SignalFailed {
        signal: &'a str,
        error: &'a dyn std::error::Error,
    },
    SignalBack {
        signal: &'a str,
    },
    /// Nothing is known of the series of this shard.
    DetectorLost {
        shard: usize,
        error: &'a dyn std::error::Error,
    },
    DetectorBack {
        shard: usize,
    },
    /// Traces show other calls between services than before.
    CallsSeen {
        calls: usize,
        names_left_out: usize,
    },
    SourceWarned {
        signal: &'a str,
        warning: &'a str,
    },
    AlertsReceived {
        firing: u64,
        resolved: u64,
        repeated: u64,
        refused: u64,
    },
    AlertsTruncated {
        count: u64,
    },
    AlertsRefused {
        reason: &'a str,
    },
    Held {
        policy: &'a PolicyName,
        target: &'a WorkloadRef,
        reason: &'a Reason,
    },
    Moved {
        action: &'a ActionId,
        policy: &'a PolicyName,
        target: &'a WorkloadRef,
        state: ActionState,
        why: &'a str,
    },
    /// A file among the policies was not accepted: nothing of it acts.
    PolicyRefused {
        problem: &'a str,
    },
    /// The repository's own template for pull requests is not used; the built-in one is.
    TemplateRefused {
        problem: &'a str,
    },
    /// A file of the inbox could not be read at start; it is left where it is.
    InboxFileUnreadable {
        file: &'a str,
    },
    /// What the detector had learned, or some of it, does not outlive the process.
    Unlearned {
        error: &'a dyn std::error::Error,
    },
    /// A push said neither yes nor no; the branch was read again.
    PushSettled {
        landed: bool,
    },
    Failed {
        stage: &'a str,
        error: &'a dyn std::error::Error,
    },
    /// It went well again, after so many failures in a row.
    Recovered {
        stage: &'a str,
        failed: u64,
    },
    /// What was told already still lasts; for who debugs.
    Lasts {
        what: &'a str,
    },
}

impl Event<'_> {
    /// Writes the event to the log.
    pub fn emit(&self) {
        match self {
            Self::Started { version, instance } => info!(version, instance, "started"),
            Self::Stopped => info!("stopped"),
            Self::Listening { address } => info!(%address, "listening"),
            Self::Ticked { duration_ms, signals, unavailable } => {
                debug!(duration_ms, signals, unavailable, "tick done");
            }
            Self::AlertsReceived { firing, resolved, repeated, refused } => {
                info!(firing, resolved, repeated, refused, "alerts received");
            }
            Self::Held { policy, target, reason } => {
                let (code, text) = (reason.code.as_str(), Clean::new(&reason.text));
                info!(%policy, %target, reason = code, %text, "held");
            }
            Self::Moved { action, policy, target, state, why } => {
                let (state, text) = (state.as_str(), Clean::new(why));
                info!(%action, %policy, %target, state, %text, "action moved");
            }
            Self::InboxFileUnreadable { file } => {
                let file = Clean::new(file);
                tracing::warn!(%file, "unreadable file in the inbox");
            }
            Self::PushSettled { landed } => info!(landed, "unclear push settled by reading again"),
            Self::CallsSeen { calls, names_left_out } => {
                info!(calls, names_left_out, "calls between services seen");
            }
            Self::DetectorBack { shard } => info!(shard, "detector heard again"),
            Self::SignalBack { signal } => info!(%signal, "signal available again"),
            Self::Recovered { stage, failed } => info!(stage, failed, "works again"),
            Self::Lasts { what } => debug!(what = %Clean::new(what), "still so"),
            trouble => trouble.emit_trouble(),
        }
    }

    fn emit_trouble(&self) {
        match self {
            Self::SignalFailed { signal, error } => {
                warn!(%signal, error = %Clean::chain(*error), "signal unavailable");
            }
            Self::DetectorLost { shard, error } => {
                warn!(shard, error = %Clean::chain(*error), "detector lost");
            }
            Self::SourceWarned { signal, warning } => {
                warn!(%signal, text = %Clean::new(warning), "source warned");
            }
            Self::PolicyRefused { problem } => warn!(text = %Clean::new(problem), "policy refused"),
            Self::TemplateRefused { problem } => warn!(text = %Clean::new(problem), "template refused"),
            Self::Unlearned { error } => {
                warn!(error = %Clean::chain(*error), "what the detector learned does not outlive a restart");
            }
            Self::AlertsTruncated { count } => warn!(count, "Alertmanager left alerts out of a message"),
            Self::AlertsRefused { reason } => warn!(text = %Clean::new(reason), "alerts refused"),
            Self::Failed { stage, error } => error!(stage, error = %Clean::chain(*error), "failed"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_overrides_are_escaped() {
        let clean = Clean::new("a\nb\x1b[31mc\u{202e}d\u{2028}e").to_string();
        assert_eq!(clean, "a\\u{a}b\\u{1b}[31mc\\u{202e}d\\u{2028}e");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(Clean::new(&"x".repeat(100_000)).to_string().chars().count(), MAX_TEXT_CHARS + 1);
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer failed")]
        struct Outer(#[source] fmt::Error);
        let text = Clean::chain(&Outer(fmt::Error)).to_string();
        assert!(text.starts_with("outer failed: an error occurred"), "{text}");
    }
}
