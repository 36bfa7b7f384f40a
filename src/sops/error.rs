//! Why a SOPS file was not read or not changed. No message ever holds plaintext, an identity or a data key.

use thiserror::Error;

use crate::yaml::YamlError;

/// A refusal. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SopsError {
    #[error("this file has no SOPS metadata")]
    NotSops,
    #[error("this is already a SOPS file")]
    AlreadySops,
    #[error("{0} SOPS files are recognised, but neither opened nor changed")]
    Store(&'static str),
    #[error("the file cannot be read as YAML")]
    Yaml(#[source] YamlError),
    #[error("the file cannot be read as JSON")]
    Json(#[source] serde_json::Error),
    #[error("line {line}: {reason}")]
    Tree { line: usize, reason: &'static str },
    #[error("line {line}, {path}: {reason}")]
    Value { line: usize, path: String, reason: &'static str },
    #[error("sops.{field}: {reason}")]
    Metadata { field: String, reason: String },
    #[error("{field}: the pattern cannot be used")]
    Pattern {
        field: &'static str,
        #[source]
        source: regex::Error,
    },
    #[error(
        "line {line}: it is not certain to which value this comment belongs, and the file's rule needs that"
    )]
    Comment { line: usize },
    #[error("identity line {line}: {reason}")]
    Identity { line: usize, reason: &'static str },
    #[error("no identity opens this file; it is encrypted for {}", recipients.join(", "))]
    NoIdentity { recipients: Vec<String> },
    #[error("its MAC covers plain values too (mac_only_encrypted is not set), and no identity is at hand")]
    Covered,
    #[error("the shares of the data key do not fit together: {reason}")]
    Shares { reason: &'static str },
    #[error("line {line}, {path}: the value does not decrypt; it was changed, moved or renamed")]
    Forged { line: usize, path: String },
    #[error("the MAC does not match: the file was changed without its key")]
    MacMismatch,
    #[error("{recipient} can read this file and is not an expected recipient")]
    Stranger { recipient: String },
    #[error("{recipient} is an expected recipient and cannot read this file")]
    Missing { recipient: String },
    #[error("{recipient:?} is no age recipient that a file can be encrypted for")]
    Recipient { recipient: String },
    #[error("{path} cannot be changed without an identity: {reason}")]
    NeedsIdentity { path: String, reason: &'static str },
    #[error("{path} cannot be changed: {reason}")]
    Refused { path: String, reason: &'static str },
    #[error("the random source gave nothing, or the same bytes twice")]
    Random,
    #[error("the data key could not be encrypted")]
    Envelope(#[source] std::io::Error),
    #[error("the written file does not read as intended: {reason}")]
    Oracle { reason: &'static str },
}

impl SopsError {
    /// What a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoIdentity { .. } | Self::NeedsIdentity { .. } | Self::Covered => {
                "give an age identity of a recipient: --age-key-file, SOPS_AGE_KEY_FILE or SOPS_AGE_KEY"
            }
            Self::MacMismatch | Self::Forged { .. } => {
                "find the commit that changed the file without sops, and undo it; do not re-encrypt over it"
            }
            Self::Stranger { .. } => {
                "find out who added the recipient before anything is written to the file"
            }
            Self::Store(_) => "use the sops program for this file",
            _ => return None,
        })
    }
}
