//! Counts of targets that nothing renders here. A plan and the place that a person named come in; one edit of one
//! value goes out. Without a rendering, the proof is the file itself: the named value differs and nothing else.

use serde_json::Value as Json;

use super::edits::{Planned, RenderRequest, document_of};
use super::values;
use crate::layout::{Address, FieldPath, Index, NamedCount, as_leaf, edit_refused, json, leaves};
use crate::model::change::FieldChange;
use crate::model::reason::{Reason, ReasonCode};
use crate::yaml;

/// The edit that makes the named count `to`.
///
/// # Errors
/// As [`Index::named_count`], or when nobody named a place.
pub fn scale(request: &RenderRequest<'_>, to: u32) -> Result<Planned, Reason> {
    let named = request.index.named_count(request.target, request.write_to)?;
    let named = named
        .ok_or_else(|| edit_refused(format!("nobody named the place of the count of {}", request.target)))?;
    let change = FieldChange {
        resource: request.target.clone(),
        file: named.file.clone(),
        field: named.at.to_string(),
        from: Some(named.count.to_string()),
        to: Some(to.to_string()),
    };
    planned(change, named)
}

/// The undo of such an edit; `None` when the resource is rendered, or nothing names the place.
pub fn undo(index: &Index, change: &FieldChange) -> Option<Result<Planned, Reason>> {
    let named = index.written_count(change).transpose()?;
    Some(named.and_then(|named| planned(change.clone(), named)))
}

fn planned(change: FieldChange, named: NamedCount) -> Result<Planned, Reason> {
    let Some(to) = change.to.clone() else {
        return Err(edit_refused(format!("{} was not there before, and a count never goes", change.field)));
    };
    let write = match (&named.current, to.parse::<u32>()) {
        (Json::Number(_), Ok(count)) => Json::from(count),
        _ => Json::from(to),
    };
    let edit = values::edit(&change, named.document, &write, true)?;
    Ok(Planned { edit, change, intents: Vec::new(), unrendered: Some(named.note) })
}

/// Compares the file before and after: exactly the named value differs.
///
/// # Errors
/// `ProofFailed` with the first other place.
pub fn only_moves(planned: &Planned, before: &[u8], after: &[u8]) -> Result<(), Reason> {
    let FieldChange { file, field, to, .. } = &planned.change;
    let failed = |why: String| Err(Reason::new(ReasonCode::ProofFailed, format!("{file}: {why}")));
    let (Ok(old), Ok(new)) = (yaml::read(before), yaml::read(after)) else {
        return failed("cannot be read".to_owned());
    };
    let (Some(at), Some(document)) = (Address::parse(field), document_of(&planned.edit)) else {
        return failed(format!("{field:?} is no place"));
    };
    if old.len() != new.len() {
        return failed("documents come or go".to_owned());
    }
    for (index, (old, new)) in old.iter().zip(&new).enumerate() {
        let (old, new) = (json(&old.root), json(&new.root));
        let mut moved = differing(&old, &new);
        let mut wanted = if index == document { vec![as_leaf(&new, &at.path)] } else { Vec::new() };
        if let Some(text) = at.text.as_ref().filter(|_| index == document) {
            let inner = (at.ground(&old).unwrap_or_default(), at.ground(&new).unwrap_or_default());
            if moved == [as_leaf(&new, text)] {
                moved = differing(&inner.0, &inner.1);
            }
            wanted = vec![as_leaf(&inner.1, &at.path)];
        }
        let holds = at.find(&new).map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        if moved != wanted || index == document && holds != *to {
            let list: Vec<String> = moved.iter().map(ToString::to_string).collect();
            return failed(format!("the edit is of {field}, but {} differ", list.join(", ")));
        }
    }
    Ok(())
}

/// Paths that hold something else; items of lists by their position.
fn differing(old: &Json, new: &Json) -> Vec<FieldPath> {
    let (old, new) = (leaves(old), leaves(new));
    let mut paths: Vec<FieldPath> = old.keys().chain(new.keys()).cloned().collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| old.get(path) != new.get(path));
    paths
}

#[cfg(test)]
#[path = "unrendered_tests.rs"]
mod tests;
