//! The tree of the ledger branch: a record comes in, the file edits of its transition go out, and back. Never
//! touches a repository; the caller applies the edits on top of the head's tree.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

use crate::model::action::{ActionState, RemediationAction};
use crate::model::ids::{InvalidName, RepoPath};
use crate::model::request::Request;

/// Largest record that is read, bytes.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Largest request that is read, bytes; its texts are bounded.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// A record could not be written or read.
#[derive(Debug, Error)]
pub enum RecordError {
    #[error("cannot write the record {id} as YAML")]
    Write { id: String, source: yaml_serde::Error },
    #[error("the record is not a RemediationAction of this version")]
    Read(#[source] yaml_serde::Error),
    #[error("the record is {0} bytes, more than {MAX_RECORD_BYTES}")]
    TooLarge(usize),
    #[error("the record's file has no valid name")]
    Path(#[source] InvalidName),
}

/// One edit of the ledger's tree: the contents to write, or `None` to remove the file.
pub type TreeEdit = (RepoPath, Option<String>);

/// Where the record stands while its action holds the target.
///
/// # Errors
/// [`RecordError::Path`]; cannot happen for checked names.
pub fn open_path(record: &RemediationAction) -> Result<RepoPath, RecordError> {
    RepoPath::new(format!("open/{}.yaml", record.spec.target.key())).map_err(RecordError::Path)
}

/// Where the record stands once its action no longer holds the target: by the UTC date of its first timeline
/// event, so that later entries find the same file. (A record without a timeline is refused by the fold.)
///
/// # Errors
/// [`RecordError::Path`] when the year has a sign or more than four digits.
pub fn closed_path(record: &RemediationAction) -> Result<RepoPath, RecordError> {
    let first = record.status.timeline.first().map_or(Timestamp::UNIX_EPOCH, |event| event.at);
    let date = first.to_zoned(TimeZone::UTC).date();
    let day = format!("{:04}/{:02}/{:02}", date.year(), date.month(), date.day());
    RepoPath::new(format!("actions/{day}/{}.yaml", record.id())).map_err(RecordError::Path)
}

/// The tree edits of a transition, from the record as it is afterwards.
///
/// A verdict or a close moves the file from `open/` to `actions/`; an undo that is recorded later only
/// rewrites the one in `actions/`, because by then `open/` may hold another action of the same target.
///
/// # Errors
/// [`RecordError`] when the record cannot be written or is larger than a reader would take.
pub fn files(record: &RemediationAction) -> Result<Vec<TreeEdit>, RecordError> {
    let yaml = record_to_yaml(record)?;
    let edit = |(path, written): (_, bool)| (path, written.then(|| yaml.clone()));
    Ok(paths(record)?.into_iter().map(edit).collect())
}

/// The paths of [`files`], and whether each is written.
///
/// # Errors
/// [`RecordError::Path`].
pub fn paths(record: &RemediationAction) -> Result<Vec<(RepoPath, bool)>, RecordError> {
    if record.state().is_open() {
        return Ok(vec![(open_path(record)?, true)]);
    }
    let kept = (closed_path(record)?, true);
    match record.state() {
        ActionState::Observed | ActionState::Reverted | ActionState::Expired => Ok(vec![kept]),
        _ => Ok(vec![(open_path(record)?, false), kept]),
    }
}

/// The record's one wire form.
///
/// # Errors
/// [`RecordError::Write`], or [`RecordError::TooLarge`] for one that could not be read back.
pub fn record_to_yaml(record: &RemediationAction) -> Result<String, RecordError> {
    let yaml = yaml_serde::to_string(record)
        .map_err(|source| RecordError::Write { id: record.id().to_string(), source })?;
    if yaml.len() > MAX_RECORD_BYTES { Err(RecordError::TooLarge(yaml.len())) } else { Ok(yaml) }
}

/// Reads what [`record_to_yaml`] wrote.
///
/// # Errors
/// [`RecordError`] for anything too large, not YAML, or with an unknown, missing or ill-typed field.
pub fn record_from_yaml(bytes: &[u8]) -> Result<RemediationAction, RecordError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    yaml_serde::from_slice(bytes).map_err(RecordError::Read)
}

/// Where a request stands: a later one of the same kind about the same thing replaces it.
///
/// # Errors
/// [`RecordError::Path`]; cannot happen for checked names.
pub fn request_path(request: &Request) -> Result<RepoPath, RecordError> {
    RepoPath::new(format!("asked/{}.yaml", request.key())).map_err(RecordError::Path)
}

/// The tree edit of a request.
///
/// # Errors
/// [`RecordError`] when it cannot be written.
pub fn request_file(request: &Request) -> Result<TreeEdit, RecordError> {
    let yaml =
        yaml_serde::to_string(request).map_err(|source| RecordError::Write { id: request.key(), source })?;
    Ok((request_path(request)?, Some(yaml)))
}

/// Reads what [`request_file`] wrote.
///
/// # Errors
/// [`RecordError`] for anything too large, not YAML, or with an unknown, missing or ill-typed field.
pub fn request_from_yaml(bytes: &[u8]) -> Result<Request, RecordError> {
    if bytes.len() > MAX_REQUEST_BYTES {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    yaml_serde::from_slice(bytes).map_err(RecordError::Read)
}
