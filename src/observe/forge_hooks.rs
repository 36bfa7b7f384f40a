//! Deliveries of a forge, judged. A delivery with its raw body comes in, and whether it is a reason to look again
//! goes out. The proof is checked before anything is parsed. Nothing that a delivery says becomes a fact: the state
//! is always read from the forge.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::model::delivery::{Delivery, Heard, Proof, Sender};
use crate::outside::secret::Secret;

/// Most marks of deliveries that are remembered; each delivery leaves two at most.
const MARKS_MAX: usize = 8192;
/// A mark is forgotten after this long.
const MARK_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// A delivery that signs its time may be this far from ours.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Events that may change what tars would do, as GitHub, Gitea and Forgejo call them.
const EVENTS: [&str; 14] = [
    "check_run",
    "check_suite",
    "create",
    "delete",
    "issue_comment",
    "pull_request",
    "pull_request_approved",
    "pull_request_comment",
    "pull_request_rejected",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "status",
    "workflow_run",
];
/// The same as GitLab calls them.
const GITLAB_EVENTS: [&str; 6] =
    ["Emoji Hook", "Job Hook", "Merge Request Hook", "Note Hook", "Pipeline Hook", "Push Hook"];

type Mark = [u8; 32];

/// What was delivered lately.
#[derive(Debug, Default)]
struct Marks {
    by_age: VecDeque<(Timestamp, Mark)>,
    all: BTreeSet<Mark>,
}

impl Marks {
    /// Remembers `marks`; `true` when one of them was known.
    fn are_known(&mut self, marks: &[Mark], now: Timestamp) -> bool {
        while let Some((at, mark)) = self.by_age.front().copied()
            && now.duration_since(at) > MARK_AGE_MAX
        {
            self.by_age.pop_front();
            self.all.remove(&mark);
        }
        let is_known = marks.iter().any(|it| self.all.contains(it));
        for mark in marks {
            if self.all.insert(*mark) {
                self.by_age.push_back((now, *mark));
            }
        }
        while self.by_age.len() > MARKS_MAX {
            if let Some((_, oldest)) = self.by_age.pop_front() {
                self.all.remove(&oldest);
            }
        }
        is_known
    }
}

/// Who may say that something happened, and to which repository.
#[derive(Debug)]
pub struct ForgeHooks {
    secret: Secret,
    /// `owner/name`
    repository: String,
    marks: Mutex<Marks>,
}

impl ForgeHooks {
    #[must_use]
    pub fn new(secret: Secret, repository: String) -> Self {
        Self { secret, repository, marks: Mutex::default() }
    }

    /// Judges a delivery.
    pub fn hear(&self, delivery: &Delivery, body: &[u8], now: Timestamp) -> Heard {
        if !self.is_proven(&delivery.proof, body, now) {
            return Heard::Forged;
        }
        // The identifier may be anybody's, the body is signed: one of them known is a replay.
        let mut marks = vec![Sha256::digest(body).into()];
        marks.extend(delivery.id.as_ref().map(|id| Mark::from(Sha256::digest(id.as_bytes()))));
        if self.marks.lock().unwrap_or_else(PoisonError::into_inner).are_known(&marks, now) {
            return Heard::Replayed;
        }
        let (is_ping, matters) = match delivery.sender {
            Sender::GitLab => (false, GITLAB_EVENTS.contains(&delivery.event.as_str())),
            Sender::GitHub | Sender::Gitea => {
                (delivery.event == "ping", EVENTS.contains(&delivery.event.as_str()))
            }
        };
        if !is_ping && !matters {
            return Heard::Ignored;
        }
        let Ok(payload) = serde_json::from_slice::<Payload>(body) else { return Heard::NotJson };
        if !payload.name().is_some_and(|name| name.eq_ignore_ascii_case(&self.repository)) {
            return Heard::OtherRepository;
        }
        if is_ping { Heard::Ping } else { Heard::Nudged }
    }

    fn is_proven(&self, proof: &Proof, body: &[u8], now: Timestamp) -> bool {
        match proof {
            Proof::OverBody(code) => self.secret.signs(&[body], code),
            Proof::Token(token) => self.secret.matches(token),
            Proof::OverAll { id, at_s, codes } => {
                let is_fresh = Timestamp::from_second(*at_s)
                    .is_ok_and(|at| now.duration_since(at).unsigned_abs() <= SKEW_MAX.unsigned_abs());
                let at = at_s.to_string();
                let signed: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", body];
                // Every code is looked at, so that the time does not say which one was close.
                let right = codes.iter().filter(|it| self.secret.signs_webhook(&signed, it)).count();
                is_fresh && right > 0
            }
        }
    }
}

/// All that is read of a payload: whose it is.
#[derive(Deserialize)]
struct Payload {
    repository: Option<Repository>,
    project: Option<Project>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: Option<String>,
}

impl Payload {
    fn name(self) -> Option<String> {
        let named = self.repository.and_then(|it| it.full_name);
        named.or_else(|| self.project.and_then(|it| it.path_with_namespace))
    }
}

#[cfg(test)]
#[path = "forge_hooks_tests.rs"]
mod tests;
