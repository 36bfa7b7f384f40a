//! Checkpoints: a folded history goes out as JSON, and comes back as the same history, so that a reader
//! starts at the newest checkpoint instead of the genesis. A checkpoint is a claim about the entries before
//! it; the fold compares it with what it folded itself and never believes it where it can count.

use thiserror::Error;

use crate::model::history::History;
use crate::model::ids::{InvalidName, RepoPath};

/// An entry whose number is a multiple of this is a checkpoint.
pub const EVERY: u64 = 256;
/// Largest checkpoint that is read, bytes.
pub const MAX_CHECKPOINT_BYTES: usize = 64 * 1024 * 1024;

/// A checkpoint could not be written or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("cannot write the checkpoint as JSON")]
    Write(#[source] serde_json::Error),
    #[error("the checkpoint is not a folded history of this version")]
    Read(#[source] serde_json::Error),
    #[error("the checkpoint is {0} bytes, more than {MAX_CHECKPOINT_BYTES}")]
    TooLarge(usize),
    #[error("the checkpoint is not in the form that tars writes")]
    NotCanonical,
    #[error("the checkpoint's file has no valid name")]
    Path(#[source] InvalidName),
}

/// Should the entry with this number be a checkpoint?
#[must_use]
pub fn checkpoint_due(seq: u64) -> bool {
    seq > 0 && seq.is_multiple_of(EVERY)
}

/// The one file of the ledger's tree that holds the newest checkpoint.
///
/// # Errors
/// [`CheckpointError::Path`]; cannot happen.
pub fn checkpoint_file() -> Result<RepoPath, CheckpointError> {
    RepoPath::new("checkpoint.json").map_err(CheckpointError::Path)
}

/// The folded state *before* the checkpoint's own entry, as JSON with a final newline.
///
/// # Errors
/// [`CheckpointError`] when it cannot be written, or would be too large to read.
pub fn to_json(history: &History) -> Result<String, CheckpointError> {
    let mut text = serde_json::to_string(history).map_err(CheckpointError::Write)?;
    text.push('\n');
    if text.len() > MAX_CHECKPOINT_BYTES { Err(CheckpointError::TooLarge(text.len())) } else { Ok(text) }
}

/// Reads what [`to_json`] wrote. Step the checkpoint's own entry on the result, then the entries after it.
///
/// # Errors
/// [`CheckpointError`] for anything that [`to_json`] would have written differently.
pub fn from_json(text: &str) -> Result<History, CheckpointError> {
    if text.len() > MAX_CHECKPOINT_BYTES {
        return Err(CheckpointError::TooLarge(text.len()));
    }
    let history: History = serde_json::from_str(text).map_err(CheckpointError::Read)?;
    if to_json(&history)? == text { Ok(history) } else { Err(CheckpointError::NotCanonical) }
}
