//! The edits callers can ask for, and the loop that plans, splices and proves each of them.

use super::error::YamlError;
use super::oracle;
use super::path::Path;
use super::plan;
use super::scalar::Value;
use super::source;

/// One typed change of one document; `document` is its index in the stream, from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Gives an existing scalar (or null) another value.
    Set { document: usize, path: Path, value: Value },
    /// Sets a mapping entry, or adds it at the end of its mapping, creating mappings on the way.
    Put { document: usize, path: Path, value: Value },
    /// Takes out a mapping entry or list item with its lines and the comment on its last line.
    Remove { document: usize, path: Path },
    /// Adds a mapping with these entries at the end of a list; the list may be missing or null.
    Append { document: usize, path: Path, entries: Vec<(String, Value)> },
}

impl Edit {
    /// The document's index.
    #[must_use]
    pub fn document(&self) -> usize {
        match self {
            Self::Set { document, .. }
            | Self::Put { document, .. }
            | Self::Remove { document, .. }
            | Self::Append { document, .. } => *document,
        }
    }
}

/// Makes the edits one after the other and returns the new bytes. Every byte the edits do not name stays.
///
/// # Errors
/// Any [`YamlError`]; then nothing is changed. [`YamlError::Oracle`] means the result did not read as
/// intended.
pub fn apply(source: &[u8], edits: &[Edit]) -> Result<Vec<u8>, YamlError> {
    let mut text = source::text(source)?.to_owned();
    let mut before = oracle::read_twice(&text)?;
    for edit in edits {
        let document = edit.document();
        let found = before.documents.len();
        let tree = before.documents.get(document).ok_or(YamlError::NoDocument { wanted: document, found })?;
        let plan = plan::plan(&text, tree, edit)?;
        let edited = source::splice(&text, &plan.splices)
            .ok_or_else(|| YamlError::Oracle { reason: "the planned ranges overlap".to_owned() })?;
        source::text(edited.as_bytes())?;
        let after = oracle::read_twice(&edited).map_err(|error| match error {
            YamlError::Bound { .. } => error,
            error => YamlError::Oracle { reason: error.to_string() },
        })?;
        oracle::check(&before, &after, document, &plan.trail, &plan.change)?;
        (text, before) = (edited, after);
    }
    Ok(text.into_bytes())
}
