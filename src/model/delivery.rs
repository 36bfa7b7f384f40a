//! A message by which a forge says that something happened: what it is about, how it proves where it comes from, and
//! what became of it. Plain values; a delivery is a hint to look again, and nothing in it is believed.

/// Which product's way of sending it follows. Forgejo follows Gitea's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    GitHub,
    Gitea,
    GitLab,
}

/// How a delivery proves that its sender knows the secret. A code is HMAC-SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A code over the body (GitHub, Gitea, Forgejo).
    OverBody([u8; 32]),
    /// Codes over identifier, time and body; one of them must be right (Standard Webhooks: GitLab's signing token).
    OverAll { id: String, at_s: i64, codes: Vec<[u8; 32]> },
    /// The secret itself (GitLab's older way).
    Token(Vec<u8>),
}

/// A delivery without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub sender: Sender,
    /// The kind of event, in the sender's words.
    pub event: String,
    /// The sender's name for this delivery; nothing signs it, except in [`Proof::OverAll`].
    pub id: Option<String>,
    pub proof: Proof,
}

/// What became of a delivery: a closed set, so it may be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The loop looks again soon.
    Nudged,
    /// The sender only asked whether somebody listens.
    Ping,
    /// Known already; nothing was done.
    Replayed,
    /// An event that changes nothing for tars.
    Ignored,
    OtherRepository,
    /// No proof that could be checked.
    Unsigned,
    /// The proof is wrong, or too old.
    Forged,
    NotJson,
    TooLarge,
    TooSlow,
    /// Too many at the same time.
    Shed,
}

impl Heard {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nudged => "nudged",
            Self::Ping => "ping",
            Self::Replayed => "replayed",
            Self::Ignored => "ignored",
            Self::OtherRepository => "other_repository",
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Shed => "shed",
        }
    }
}
