//! Undo of a recorded field change: the value before, in the place it was written, and only if nobody touched
//! it since. A change and an index come in, one edit or a refusal goes out.

use serde_json::Value as Json;

use super::edits::{Planned, yaml_path};
use super::proof::{Expected, Intent};
use super::values;
use crate::layout::{
    FieldPath, Index, Step, edit_refused, restarted_path, template_path, unwritten, written,
};
use crate::model::change::FieldChange;
use crate::model::ids::WorkloadRef;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::workload::ReplicaOwner;
use crate::yaml;

/// The edit that makes `change`: the field holds `from`, which tars once wrote, and gets `to` back.
///
/// # Errors
/// `EditRefused` when the field does not hold `from`, or is not to be found exactly once.
pub fn undo(index: &Index, change: &FieldChange) -> Result<Planned, Reason> {
    let FieldChange { resource, file, field, from: held, to: restored } = change;
    if held == restored {
        return Err(edit_refused(format!("undoing {field} changes nothing")));
    }
    index.workload(resource)?;
    if let Some(planned) = values::undo(index, change) {
        return planned;
    }
    let path = FieldPath::parse(field).filter(|p| !p.0.is_empty());
    let path = path.ok_or_else(|| edit_refused(format!("{field:?} is not a field path")))?;
    let document = find_document(index, change, &path)?;
    let rendered = index.rendered_fields(resource, file, &path);
    refuse_owned_count(index, resource, &rendered)?;
    let edit = match restored {
        Some(value) if held.is_none() && is_count_entry(&path) => append_entry(document, &path, value),
        Some(value) if held.is_some() => {
            yaml::Edit::Set { document, path: yaml_path(field), value: unwritten(value) }
        }
        Some(value) => yaml::Edit::Put { document, path: yaml_path(field), value: unwritten(value) },
        None => {
            let whole = index.document(file, document).map_or_else(|| path.clone(), |d| removable(d, &path));
            yaml::Edit::Remove { document, path: yaml_path(&whole.to_string()) }
        }
    };
    let is_image_entry = matches!(&path.0[..], [Step::Key(list), Step::Named(_), ..] if list == "images");
    let intent = |path: FieldPath| Intent {
        object: resource.clone(),
        path,
        expected: match restored {
            Some(value) if !is_image_entry => Expected::Value(plain(value)),
            // Without the entry, or with another tag, the layer below decides what is rendered.
            _ => Expected::Changed,
        },
    };
    Ok(Planned { edit, change: change.clone(), intents: rendered.into_iter().map(intent).collect() })
}

/// An autoscaler that came since owns the count now: taking a number back would fight it.
fn refuse_owned_count(index: &Index, resource: &WorkloadRef, rendered: &[FieldPath]) -> Result<(), Reason> {
    if !rendered.contains(&FieldPath::keys(["spec", "replicas"])) {
        return Ok(());
    }
    match index.workload(resource)?.owner {
        ReplicaOwner::Workload => Ok(()),
        ReplicaOwner::Autoscaler { target, .. } => {
            Err(Reason::new(ReasonCode::HPAOwnsReplicas, format!("{target} owns the replicas now")))
        }
        ReplicaOwner::Other(owner) => Err(Reason::new(ReasonCode::FieldOwnedElsewhere, owner)),
    }
}

/// `replicas[name=…].count` of a kustomization.
fn is_count_entry(path: &FieldPath) -> bool {
    matches!(&path.0[..], [Step::Key(list), Step::Named(_), Step::Key(_)] if list == "replicas")
}

fn append_entry(document: usize, path: &FieldPath, count: &str) -> yaml::Edit {
    let name = path.0.iter().find_map(|step| match step {
        Step::Named(name) => Some(name.clone()),
        Step::Key(_) | Step::At(_) => None,
    });
    yaml::Edit::Append {
        document,
        path: yaml::Path::default().key("replicas"),
        entries: vec![
            ("name".to_owned(), yaml::Value::Text(name.unwrap_or_default())),
            ("count".to_owned(), unwritten(count)),
        ],
    }
}

/// Does the field still hold what `change` put there? Not when somebody wrote something else since, or took
/// the object, the file or the field away.
#[must_use]
pub fn stands(index: &Index, change: &FieldChange) -> bool {
    let documents = index.documents_of(&change.resource).into_iter();
    documents.filter(|(file, _)| *file == change.file).any(|(file, document)| {
        let found = index.value_at(&file, document, &change.field).filter(|it| !it.is_null());
        found.map(|it| written(&it).unwrap_or_else(|| it.to_string())) == change.to
    })
}

/// The document of the file that belongs to the resource and holds what was written.
fn find_document(index: &Index, change: &FieldChange, path: &FieldPath) -> Result<usize, Reason> {
    let FieldChange { resource, file, field, from: held, .. } = change;
    let documents: Vec<usize> =
        index.documents_of(resource).into_iter().filter(|(f, _)| f == file).map(|(_, d)| d).collect();
    let now = |document: usize| {
        let found = index.document(file, document).and_then(|d| path.find(d)).filter(|v| !v.is_null());
        found.map(|v| written(v).unwrap_or_else(|| v.to_string()))
    };
    let mut holding = documents.iter().copied().filter(|&d| now(d) == *held);
    match (holding.next(), holding.next()) {
        (Some(document), None) => Ok(document),
        (Some(_), Some(_)) => Err(edit_refused(format!("{field} is set to the same value twice in {file}"))),
        (None, _) if documents.is_empty() => {
            Err(edit_refused(format!("{file} no longer has a hand in {resource}")))
        }
        (None, _) => {
            let found: Vec<String> =
                documents.iter().map(|&d| now(d).unwrap_or_else(|| "nothing".into())).collect();
            let wanted = held.as_deref().unwrap_or("nothing");
            Err(edit_refused(format!(
                "{field} in {file} holds {} and not {wanted}: somebody changed it since",
                found.join(" and ")
            )))
        }
    }
}

/// What to take away so that nothing empty stays behind: a whole `replicas:` entry, the list when it was the
/// only one, and maps that were made for the restart annotation.
fn removable(document: &Json, path: &FieldPath) -> FieldPath {
    let only_child = |path: &FieldPath| match path.find(document) {
        Some(Json::Object(map)) => map.len() == 1,
        Some(Json::Array(list)) => list.len() == 1,
        _ => false,
    };
    if is_count_entry(path) {
        let list = FieldPath(path.0[..1].to_vec());
        return if only_child(&list) { list } else { path.parent() };
    }
    let mut whole = path.clone();
    let template = template_path();
    while *path == restarted_path() && whole.parent().is_within(&template) && only_child(&whole.parent()) {
        whole = whole.parent();
    }
    whole
}

fn plain(value: &str) -> Json {
    match unwritten(value) {
        yaml::Value::Null => Json::Null,
        yaml::Value::Bool(flag) => Json::from(flag),
        yaml::Value::Int(number) => Json::from(number),
        yaml::Value::Float(number) => Json::from(number),
        yaml::Value::Text(text) => Json::from(text),
    }
}
