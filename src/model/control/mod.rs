//! What people ask of tars under a pull request: a comment such as `/tars hold`, or a ticked box in the body.
//! Text and its author come in, a [`Control`] or the reason for a "no" goes out. Whether its author may is for
//! the caller to ask, at that moment. There is no control that approves or merges: the forge's own buttons do
//! that, bound by its rules and attributed to a person.

mod grammar;
mod lines;

use super::forge::{Access, Comment};
use super::ids::InstanceId;
use super::playbook::PlaybookName;

/// A longer comment is not read at all, bytes.
pub const COMMENT_BYTES_MAX: usize = 64 * 1024;
/// Longest line that can be a command, bytes.
pub const COMMAND_BYTES_MAX: usize = 400;
/// Longest reason that is kept, characters.
pub const REASON_CHARS_MAX: usize = 200;
/// Shortest and longest snooze, seconds.
pub const SNOOZE_MIN_S: u32 = 300;
pub const SNOOZE_MAX_S: u32 = 30 * 24 * 3600;

/// One thing a person can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// No automatic merge until it is taken back.
    Hold {
        reason: Option<String>,
    },
    Unhold {
        reason: Option<String>,
    },
    /// Score again, and rebuild the branch if the change differs.
    Refresh,
    /// Close, and do not propose this again for a while.
    Snooze {
        for_s: u32,
        reason: Option<String>,
    },
    /// The decision as one comment; or why another action was not chosen.
    Explain {
        why_not: Option<PlaybookName>,
    },
    /// Propose the way back, after the merge.
    Revert,
    Help,
}

impl Control {
    /// The word after `/tars`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hold { .. } => "hold",
            Self::Unhold { .. } => "unhold",
            Self::Refresh => "refresh",
            Self::Snooze { .. } => "snooze",
            Self::Explain { .. } => "explain",
            Self::Revert => "revert",
            Self::Help => "help",
        }
    }

    /// The least access that may ask for it. Nothing needs more than write access: whoever has that could do the
    /// same by hand, so a comment gives nobody a right.
    #[must_use]
    pub fn needs(&self) -> Access {
        needs(self.word())
    }
}

/// Every control: its word, what follows it, what it does, and who may.
pub const CONTROLS: [(&str, &str, &str, Access); 7] = [
    (
        "hold",
        "[REASON]",
        "no automatic merge until `unhold`; the label `tars/hold` does the same",
        Access::Triage,
    ),
    ("unhold", "[REASON]", "take a hold back", Access::Triage),
    ("refresh", "", "look at the evidence again; rebuild the branch if the change differs", Access::Write),
    ("snooze", "DURATION [REASON]", "close, and do not propose this again for so long", Access::Write),
    ("explain", "[--why-not ACTION]", "show how this was decided, or why not another action", Access::Read),
    ("revert", "", "propose the way back, after the merge", Access::Write),
    ("help", "", "this list", Access::Read),
];

fn needs(word: &str) -> Access {
    CONTROLS.iter().find(|it| it.0 == word).map_or(Access::Admin, |it| it.3)
}

/// Why a text that is addressed to tars is no control. The words somebody wrote are untrusted and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    Unknown {
        word: String,
        near: Option<&'static str>,
    },
    /// `merge` or `approve`.
    NeverByComment(&'static str),
    /// `snooze` without a duration.
    NoDuration,
    Duration {
        given: String,
    },
    /// A duration beyond [`SNOOZE_MIN_S`] and [`SNOOZE_MAX_S`].
    OutOfRange {
        given: String,
    },
    Playbook {
        given: String,
        near: Option<&'static str>,
    },
    /// Words that this control does not take.
    Surplus {
        control: &'static str,
        given: String,
    },
    /// More than one command in one comment; none of them counts.
    Several,
    TooLong,
}

/// What a comment asks of this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: it is talk, or not for us.
    Nothing,
    Control(Control),
    /// It was meant for us and cannot be used.
    Unusable(Unusable),
}

/// Reads a comment. Talk of bots, of the account `me` that tars writes with, and of accounts that are gone is never
/// a command, nor is a comment that was edited: its words may be somebody else's.
#[must_use]
pub fn asked(comment: &Comment, me: &str, instance: Option<&InstanceId>) -> Asked {
    let is_machine = comment.is_bot || comment.by.ends_with("[bot]") || comment.by.eq_ignore_ascii_case(me);
    if is_machine || comment.by.is_empty() || comment.is_edited {
        return Asked::Nothing;
    }
    grammar::read(&comment.body, instance)
}

/// The boxes that are ticked in a body of ours, each kind once: `- [x] <!-- tars:refresh -->` and
/// `- [x] <!-- tars:snooze=24h -->`. Who ticked it the body does not say; editing it takes write access, which is
/// what these two need.
#[must_use]
pub fn ticked(body: &str) -> Vec<Control> {
    if body.len() > COMMENT_BYTES_MAX * 16 {
        return Vec::new();
    }
    let text = lines::unified(body);
    let mut found: Vec<Control> = Vec::new();
    for control in lines::own(&text).into_iter().filter_map(|it| grammar::ticked(it.text)) {
        if found.iter().all(|it| it.word() != control.word()) {
            found.push(control);
        }
    }
    found
}

#[cfg(test)]
mod tests;
