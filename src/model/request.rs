//! What a person asked tars for: to stay quiet for a while, or to undo what it did. A request is an entry of the
//! ledger, so that every replica heeds it, whoever took it: the command line or a comment. Whether it is heeded
//! at once or later is decided elsewhere.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::action::{ActionState, RemediationAction};
use super::history::{Effect, History};
use super::ids::{ActionId, Fingerprint, PolicyName, WorkloadRef};
use super::playbook::Plan;
use super::reason::{Reason, ReasonCode};

/// Longest quiet that can be asked for: what is to be quiet for ever is suspended in git.
pub const QUIET_MAX_S: i64 = 30 * 24 * 3600;
/// Most characters of who asked.
const BY_CHARS_MAX: usize = 100;
/// Most characters of the reason.
const REASON_CHARS_MAX: usize = 200;
/// [`super::action::Cause::trigger`] of an undo that a person asked for.
pub const TRIGGER: &str = "request";

/// What is to be left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "whom", content = "name", rename_all = "camelCase")]
pub enum Whom {
    /// Everything under this policy.
    Policy(PolicyName),
    /// This target, under any policy.
    Target(WorkloadRef),
    /// One cause, whichever playbook answers it.
    Cause(Fingerprint),
}

impl Whom {
    /// One word that no other has; part of a file name.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Policy(name) => format!("policy-{name}"),
            Self::Target(target) => format!("target-{}", target.key()),
            Self::Cause(fingerprint) => format!("cause-{fingerprint}"),
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Target(target) => write!(f, "{target}"),
            Self::Cause(fingerprint) => write!(f, "cause {}", fingerprint.short()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Wish {
    /// Propose nothing until then, and close what waits. A time that is over ends a quiet that was asked for.
    Quiet { of: Whom, until: Timestamp },
    /// Propose the undo of this merged action.
    Revert { of: ActionId },
}

/// A wish, and whose it is. The texts are of people: one line each, bounded, nothing in them is obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub wish: Wish,
    pub by: String,
    pub reason: String,
}

impl Request {
    #[must_use]
    pub fn new(wish: Wish, by: &str, reason: &str) -> Self {
        Self { wish, by: one_line(by, BY_CHARS_MAX), reason: one_line(reason, REASON_CHARS_MAX) }
    }

    /// Quiet for the cause of `record`.
    #[must_use]
    pub fn quiet(record: &RemediationAction, until: Timestamp, by: &str, reason: &str) -> Self {
        Self::new(Wish::Quiet { of: Whom::Cause(record.spec.fingerprint.clone()), until }, by, reason)
    }

    /// Name of its file among those of the ledger; a later request of the same name replaces it.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.wish {
            Wish::Quiet { of, .. } => format!("quiet-{}", of.key()),
            Wish::Revert { of } => format!("revert-{of}"),
        }
    }

    /// Who asked and why.
    #[must_use]
    pub fn signature(&self) -> String {
        match self.reason.as_str() {
            "" => format!("asked for by {}", self.by),
            reason => format!("asked for by {}: {reason}", self.by),
        }
    }

    /// Why it cannot be recorded at `now`.
    ///
    /// # Errors
    /// [`CannotAsk`].
    pub fn check(&self, history: &History, now: Timestamp) -> Result<(), CannotAsk> {
        if self.by.is_empty() || *self != Self::new(self.wish.clone(), &self.by, &self.reason) {
            return Err(CannotAsk::Text);
        }
        match &self.wish {
            Wish::Quiet { until, .. } if until.duration_since(now).as_secs() > QUIET_MAX_S => {
                Err(CannotAsk::TooLong)
            }
            Wish::Quiet { .. } => Ok(()),
            Wish::Revert { of } => history.can_revert(of),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wish {
            Wish::Quiet { of, until } => write!(f, "quiet for {of} until {until}, {}", self.signature()),
            Wish::Revert { of } => write!(f, "revert of {of}, {}", self.signature()),
        }
    }
}

/// Text of a person as one bounded line without characters that act on a terminal or hide.
fn one_line(text: &str, chars_max: usize) -> String {
    let hides = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    let plain: String = text.chars().map(|c| if c.is_control() || hides(c) { ' ' } else { c }).collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(chars_max).collect::<String>().trim_end().to_owned()
}

/// Why a request cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotAsk {
    #[error("it does not say who asks, or not on one short line")]
    Text,
    #[error("quiet lasts 30 days at most; what is to stay quiet is suspended in git")]
    TooLong,
    #[error("{id} was not merged: it is {}", .state.as_str())]
    NotMerged { id: ActionId, state: ActionState },
    #[error(
        "nothing of {0} is left to undo that the ledger knows of: it never merged, or is undone, or was long ago"
    )]
    Unknown(ActionId),
    #[error("{0} leaves nothing behind that could be put back")]
    Fleeting(ActionId),
    #[error("{of} is being undone already, by {by}")]
    BeingUndone { of: ActionId, by: ActionId },
    #[error("{of} undoes another action, and an undo is not undone")]
    IsUndo { of: ActionId },
    #[error("{later} changed the same target later: that one goes first")]
    LaterFirst { later: ActionId },
    #[error("its undo was asked for already")]
    AskedAlready,
}

impl History {
    /// Can the undo of `of` be asked for: is it merged, does it last, and does nobody undo it yet?
    ///
    /// # Errors
    /// [`CannotAsk`] with what stands in the way.
    pub fn can_revert(&self, of: &ActionId) -> Result<(), CannotAsk> {
        if let Some(effect) = self.effects.get(of) {
            return match (&effect.undo, self.newest_effect(effect)) {
                (Some(by), _) => Err(CannotAsk::BeingUndone { of: of.clone(), by: by.clone() }),
                (None, newest) if newest.record.id() != of => {
                    Err(CannotAsk::LaterFirst { later: newest.record.id().clone() })
                }
                (None, _) if self.reverts.contains_key(of) => Err(CannotAsk::AskedAlready),
                (None, _) => Ok(()),
            };
        }
        if self.reverts.contains_key(of) {
            return Err(CannotAsk::AskedAlready);
        }
        let Some(record) = self.record(of) else { return Err(CannotAsk::Unknown(of.clone())) };
        if record.status.merge.is_none() {
            return Err(CannotAsk::NotMerged { id: of.clone(), state: record.state() });
        }
        if record.undoes().is_some() {
            return Err(CannotAsk::IsUndo { of: of.clone() });
        }
        if matches!(record.spec.plan, Plan::Restart { .. }) {
            return Err(CannotAsk::Fleeting(of.clone()));
        }
        Ok(())
    }

    fn newest_effect<'a>(&'a self, effect: &'a Effect) -> &'a Effect {
        let key = effect.record.spec.target.key();
        let same = self.effects.values().filter(|it| it.record.spec.target.key() == key);
        same.max_by_key(|it| it.seq).unwrap_or(effect)
    }

    /// Why nothing is proposed for these causes on `target` under `policy` at `now`: a person asked for quiet.
    #[must_use]
    pub fn quiet(
        &self,
        policy: &PolicyName,
        target: &WorkloadRef,
        causes: &[Fingerprint],
        now: Timestamp,
    ) -> Option<Reason> {
        let about = [Whom::Policy(policy.clone()), Whom::Target(target.clone())];
        let causes = causes.iter().map(|it| Whom::Cause(it.clone()));
        let asked = about.into_iter().chain(causes).filter_map(|whom| self.quiet.get(&whom.key()));
        let until = |it: &Request| match it.wish {
            Wish::Quiet { until, .. } => Some(until).filter(|until| *until > self.ledger_now(now)),
            Wish::Revert { .. } => None,
        };
        let (until, request) =
            asked.filter_map(|it| Some((until(it)?, it))).max_by_key(|(until, _)| *until)?;
        let end = until.strftime("%Y-%m-%dT%H:%M:%SZ");
        Some(Reason::new(ReasonCode::Snoozed, format!("quiet until {end}, {}", request.signature())))
    }

    /// The same for an action that waits. What a person asked for is not silenced by an earlier wish for quiet.
    #[must_use]
    pub fn quiet_about(&self, record: &RemediationAction, now: Timestamp) -> Option<Reason> {
        let spec = &record.spec;
        if spec.cause.trigger == TRIGGER {
            return None;
        }
        self.quiet(&spec.policy, &spec.target, std::slice::from_ref(&spec.fingerprint), now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, proposed, target};
    use super::*;

    fn quiet(of: Whom, until: Timestamp) -> Request {
        Request::new(Wish::Quiet { of, until }, "Ann <ann@example.com>", "load test")
    }

    #[test]
    fn texts_of_people_become_one_harmless_line() {
        let wish = Wish::Revert { of: ActionId::new("act-0123456789ab").unwrap() };
        let request = Request::new(wish, "An\u{202e}n\n\u{1b}[2J", &"x ".repeat(1000));
        assert_eq!(request.by, "An n [2J");
        assert_eq!(request.reason.chars().count(), 199);
        assert_eq!(Request::new(request.wish.clone(), &request.by, &request.reason), request);
    }

    #[test]
    fn the_longest_quiet_that_concerns_an_action_counts_and_ends_on_time() {
        let record = proposed("p", &target("shop/Deployment/backend"), 1, at(0));
        let mut history = History { time: at(0), ..History::default() };
        for (whom, until) in [
            (Whom::Policy(record.spec.policy.clone()), at(100)),
            (Whom::Target(record.spec.target.clone()), at(300)),
            (Whom::Cause(record.spec.fingerprint.clone()), at(200)),
        ] {
            history.quiet.insert(whom.key(), quiet(whom, until));
        }
        let reason = history.quiet_about(&record, at(299)).unwrap();
        assert_eq!(reason.code, ReasonCode::Snoozed);
        assert!(reason.text.ends_with("asked for by Ann <ann@example.com>: load test"), "{reason}");
        assert_eq!(history.quiet_about(&record, at(300)), None);
        let other = proposed("q", &target("shop/Deployment/frontend"), 1, at(0));
        assert_eq!(history.quiet_about(&other, at(1)), None);
    }

    #[test]
    fn quiet_for_more_than_a_month_is_refused() {
        let whom = || Whom::Policy(PolicyName::new("p").unwrap());
        let history = History::default();
        assert_eq!(quiet(whom(), at(QUIET_MAX_S)).check(&history, at(0)), Ok(()));
        let long = quiet(whom(), at(QUIET_MAX_S + 1));
        assert_eq!(long.check(&history, at(0)), Err(CannotAsk::TooLong));
    }
}
