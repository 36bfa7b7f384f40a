//! The edits callers can ask for, and the loop that plans, splices and proves each of them.

use super::error::YamlError;
use super::fresh::Fresh;
use super::grow;
use super::inside::{self, MAX_INSIDE};
use super::node::Document;
use super::oracle::{self, Change, Reading};
use super::path::Path;
use super::plan::{self, Plan};
use super::scalar::Value;
use super::source::{self, Splice};

/// One typed change of one document; `document` is its index in the stream, from 0.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(test), expect(dead_code, reason = "no caller writes trees, documents or inner texts yet"))]
pub enum Edit {
    /// Gives an existing scalar (or null) another value.
    Set { document: usize, path: Path, value: Value },
    /// Sets a mapping entry, or adds it at the end of its mapping, creating mappings on the way.
    Put { document: usize, path: Path, value: Value },
    /// Adds a mapping entry that is not there or null, with a value of any shape, creating mappings on the
    /// way. A path that ends with `[name=app]` adds an item with that entry at the end of its list.
    Insert { document: usize, path: Path, tree: Fresh },
    /// Takes out a mapping entry or list item with its lines and the comment on its last line.
    Remove { document: usize, path: Path },
    /// Adds a mapping with these entries at the end of a list; the list may be missing or null.
    Append { document: usize, path: Path, entries: Vec<(String, Value)> },
    /// Adds a document at the end of the stream; the tree is a mapping.
    AddDocument { tree: Fresh },
    /// Makes an edit of the YAML text in a literal block scalar (`patch: |-`).
    Inside { document: usize, path: Path, edit: Box<Edit> },
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
        let made = make(&text, &before, edit, 0)?;
        (text, before) = (made.text, made.reading);
    }
    Ok(text.into_bytes())
}

/// An edit that was made and proven.
struct Made {
    splices: Vec<Splice>,
    text: String,
    reading: Reading,
}

/// Makes one edit; `depth` counts the texts around this one.
fn make(text: &str, before: &Reading, edit: &Edit, depth: usize) -> Result<Made, YamlError> {
    let (document, plan) = match edit {
        Edit::AddDocument { tree } => {
            (before.documents.len(), grow::add_document(text, &before.documents, tree)?)
        }
        Edit::Inside { document, path, edit } => {
            (*document, make_inside(text, chosen(before, *document)?, path, edit, depth)?)
        }
        Edit::Set { document, path, .. }
        | Edit::Put { document, path, .. }
        | Edit::Insert { document, path, .. }
        | Edit::Remove { document, path }
        | Edit::Append { document, path, .. } => {
            (*document, plan::plan(text, chosen(before, *document)?, path, edit)?)
        }
    };
    let edited = source::splice(text, &plan.splices)
        .ok_or_else(|| YamlError::Oracle { reason: "the planned ranges overlap".to_owned() })?;
    source::text(edited.as_bytes())?;
    let after = oracle::read_twice(&edited).map_err(|error| match error {
        YamlError::Bound { .. } => error,
        error => YamlError::Oracle { reason: error.to_string() },
    })?;
    oracle::check(before, &after, document, &plan.trail, &plan.change)?;
    Ok(Made { splices: plan.splices, text: edited, reading: after })
}

fn chosen(reading: &Reading, wanted: usize) -> Result<&Document, YamlError> {
    let found = reading.documents.len();
    reading.documents.get(wanted).ok_or(YamlError::NoDocument { wanted, found })
}

/// Makes and proves an edit of an embedded text by the same rules, and carries its splices out to the file.
fn make_inside(
    text: &str,
    document: &Document,
    path: &Path,
    edit: &Edit,
    depth: usize,
) -> Result<Plan, YamlError> {
    let (node, trail) = plan::find(text, document, path)?;
    if depth == MAX_INSIDE {
        return plan::unsupported(node, "texts inside texts are edited two deep, no deeper");
    }
    let embedded = inside::open(text, node)?;
    let before = oracle::read_twice(&embedded.text)
        .map_err(|error| YamlError::Embedded { line: node.line, source: Box::new(error) })?;
    // The first line of the text is the one below the header.
    let made = make(&embedded.text, &before, edit, depth + 1).map_err(|error| error.below(node.line))?;
    let read = inside::chomped(text, node, &made.text);
    if oracle::check_same(&made.reading, &oracle::read_twice(&read)?).is_err() {
        return plan::unsupported(node, "the header would drop line breaks that the edited text ends with");
    }
    let splices = embedded.outward(&made.splices);
    Ok(Plan { splices, trail, change: Change::Text(read) })
}
