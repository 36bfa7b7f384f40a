//! Edits of Helm values. A field of an object that Helm renders comes in; one edit of a values file, or of values
//! inside an `Application` or a `HelmRelease`, goes out. Objects of other origin are none of its business.

use serde_json::Value as Json;

use super::edits::{Planned, document_of};
use super::proof::{Expected, Intent};
use crate::layout::{Address, Field, FieldPath, Index, ValuePlace, edit_refused, unwritten, written};
use crate::model::change::{FieldChange, is_sealed};
use crate::model::ids::WorkloadRef;
use crate::model::reason::Reason;
use crate::yaml;

/// The edit that makes `field` of `target` become `wanted`; `None` when Helm does not render the target.
pub fn by_field(
    index: &Index,
    target: &WorkloadRef,
    field: &Field,
    wanted: &Json,
) -> Option<Result<Planned, Reason>> {
    match index.field_path(target, field) {
        Ok(path) => by_path(index, target, &path, wanted),
        Err(_) => None,
    }
}

/// The same for any leaf of the rendered target.
pub fn by_path(
    index: &Index,
    target: &WorkloadRef,
    path: &FieldPath,
    wanted: &Json,
) -> Option<Result<Planned, Reason>> {
    let place = index.value_place(target, path, wanted)?;
    Some(place.and_then(|place| {
        let change = change(index, target, &place);
        let expected = Expected::Value(wanted.clone());
        let intents = vec![Intent { object: target.clone(), path: path.clone(), expected }];
        let edit = edit(&change, place.document, &place.write, place.current.is_some())?;
        Ok(Planned { edit, change, intents, unrendered: None })
    }))
}

/// Replaces what stands at the place of `change`, or adds it.
pub fn edit(
    change: &FieldChange,
    document: usize,
    write: &Json,
    is_there: bool,
) -> Result<yaml::Edit, Reason> {
    let value = match write {
        Json::String(text) => yaml::Value::Text(text.clone()),
        other => unwritten(&written(other).unwrap_or_default()),
    };
    placed(change, document, |document, path| {
        if is_there {
            yaml::Edit::Set { document, path, value }
        } else {
            yaml::Edit::Put { document, path, value }
        }
    })
}

/// The object that holds the values in its own text changes as well.
pub fn carried(index: &Index, planned: &Planned) -> Vec<Intent> {
    let FieldChange { resource, file, field, .. } = &planned.change;
    let Some(document) = document_of(&planned.edit) else { return Vec::new() };
    let carriers = index.carriers(file, document, field).into_iter();
    carriers
        .filter(|(object, _)| object != resource)
        .map(|(object, path)| Intent { object, path, expected: Expected::Changed })
        .collect()
}

fn change(index: &Index, target: &WorkloadRef, place: &ValuePlace) -> FieldChange {
    let field = place.at.to_string();
    let stands = index.value_at(&place.file, place.document, &field);
    let sealed = stands.filter(|it| it.as_str().is_some_and(is_sealed));
    FieldChange {
        resource: target.clone(),
        file: place.file.clone(),
        field,
        from: sealed.as_ref().or(place.current.as_ref()).and_then(written),
        to: written(&place.write),
    }
}

/// An edit in the document, or in the string that `field` names.
fn placed(
    change: &FieldChange,
    document: usize,
    make: impl FnOnce(usize, yaml::Path) -> yaml::Edit,
) -> Result<yaml::Edit, Reason> {
    let FieldChange { field, .. } = change;
    let at = Address::parse(field).ok_or_else(|| edit_refused(format!("{field:?} is not a field path")))?;
    at.edit(document, make)
}

/// The undo of a change in the values of a release; `None` when it was none.
pub fn undo(index: &Index, change: &FieldChange) -> Option<Result<Planned, Reason>> {
    let FieldChange { resource, file, field, from: held, to: restored } = change;
    let documents = index.documents_of(resource).into_iter();
    let documents: Vec<usize> = documents.filter(|(it, _)| it == file).map(|(_, at)| at).collect();
    let holds = |document: &&usize| {
        let found = index.value_at(file, **document, field);
        found.map(|it| written(&it).unwrap_or_else(|| it.to_string())) == *held
    };
    let known = documents.iter().find_map(|at| index.decided_by(resource, file, *at, field))?;
    let Some(document) = documents.iter().find(holds) else {
        let wanted = held.as_deref().unwrap_or("nothing");
        return Some(Err(edit_refused(format!(
            "{field} in {file} does not hold {wanted}: somebody changed it since"
        ))));
    };
    let decided = match index.decided_by(resource, file, *document, field).unwrap_or(known) {
        Ok(decided) if decided.is_empty() => {
            Err(edit_refused(format!("{field} in {file} decides nothing of {resource}")))
        }
        other => other,
    };
    Some(decided.and_then(|fields| {
        let edit = placed(change, *document, |document, path| match restored {
            Some(value) => yaml::Edit::Set { document, path, value: unwritten(value) },
            None => yaml::Edit::Remove { document, path },
        })?;
        // The value is a part of the field, or the default of the chart takes its place.
        let intent = |path| Intent { object: resource.clone(), path, expected: Expected::Changed };
        let intents = fields.into_iter().map(intent).collect();
        Ok(Planned { edit, change: change.clone(), intents, unrendered: None })
    }))
}
