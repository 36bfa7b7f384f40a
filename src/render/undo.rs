//! Undo of a recorded field change: the value before, in the place it was written, and only if nobody touched
//! it since. A change and an index come in, one edit or a refusal goes out.

use serde_json::Value as Json;

use super::edits::Planned;
use super::proof::{Expected, Intent};
use super::{unrendered, values};
use crate::layout::{
    Address, FieldPath, Index, Step, edit_refused, restarted_path, template_path, unwritten, written,
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
    if let Some(planned) = unrendered::undo(index, change) {
        return planned;
    }
    index.workload(resource)?;
    if let Some(planned) = values::undo(index, change) {
        return planned;
    }
    let at = Address::parse(field).ok_or_else(|| edit_refused(format!("{field:?} is not a field path")))?;
    let document = find_document(index, change, &at)?;
    let rendered = index.rendered_fields(resource, file, &at);
    refuse_owned_count(index, resource, &rendered)?;
    let ground = index.document(file, document).and_then(|d| at.ground(&d)).unwrap_or_default();
    let edit = match restored {
        Some(value) if held.is_some() => {
            at.edit(document, |document, path| yaml::Edit::Set { document, path, value: unwritten(value) })
        }
        Some(value) => restore(&at, document, &ground, value),
        None => {
            let whole = at.with(removable(&ground, &at.path));
            whole.edit(document, |document, path| yaml::Edit::Remove { document, path })
        }
    }?;
    let is_image_entry = at.text.is_none() && is_in_images(&at.path);
    let intent = |path: FieldPath| Intent {
        object: resource.clone(),
        path,
        expected: match restored {
            Some(value) if !is_image_entry && !change.is_sealed() => Expected::Value(plain(value)),
            // Without the entry, or with another tag, the layer below decides what is rendered.
            _ => Expected::Changed,
        },
    };
    let intents = rendered.into_iter().map(intent).collect();
    Ok(Planned { edit, change: change.clone(), intents, unrendered: None })
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

/// What tars adds as an item of two keys: a `replicas:` entry, or a container with its image in a patch. (The
/// list, the name, the other key.)
fn added_item(path: &FieldPath) -> Option<(FieldPath, &str, &str)> {
    let [head @ .., Step::Key(list), Step::Named(name), Step::Key(key)] = &path.0[..] else { return None };
    let known = matches!((list.as_str(), key.as_str()), ("replicas", "count") | ("containers", "image"));
    let list = || FieldPath(head.iter().cloned().chain([Step::Key(list.clone())]).collect());
    known.then(|| (list(), name.as_str(), key.as_str()))
}

/// `images[name=x].newTag` or `images[0]`, at the top or where an Application keeps them.
fn is_in_images(path: &FieldPath) -> bool {
    matches!(&path.0[..], [.., Step::Key(list), Step::Named(_), Step::Key(_)] if list == "images")
        || matches!(&path.0[..], [.., Step::Key(list), Step::At(_)] if list == "images")
}

/// Puts back what was taken away, with the item around it when that is gone too.
fn restore(at: &Address, document: usize, ground: &Json, value: &str) -> Result<yaml::Edit, Reason> {
    let gone = |(_, _, _): &(FieldPath, &str, &str)| at.path.parent().find(ground).is_none();
    match added_item(&at.path).filter(gone) {
        Some((list, name, key)) => at.with(list).edit(document, |document, path| yaml::Edit::Append {
            document,
            path,
            entries: vec![
                ("name".to_owned(), yaml::Value::Text(name.to_owned())),
                (key.to_owned(), unwritten(value)),
            ],
        }),
        None => {
            at.edit(document, |document, path| yaml::Edit::Put { document, path, value: unwritten(value) })
        }
    }
}

/// Does the field still hold what `change` put there? Not when somebody wrote something else since, or took
/// the object, the file or the field away.
#[must_use]
pub fn stands(index: &Index, change: &FieldChange) -> bool {
    let Some(at) = Address::parse(&change.field) else { return false };
    let documents = index.documents_of(&change.resource).into_iter();
    documents.filter(|(file, _)| *file == change.file).any(|(file, document)| {
        let found = index.document(&file, document).and_then(|it| at.find(&it));
        found.map(|it| written(&it).unwrap_or_else(|| it.to_string())) == change.to
    })
}

/// The document of the file that belongs to the resource and holds what was written.
fn find_document(index: &Index, change: &FieldChange, at: &Address) -> Result<usize, Reason> {
    let FieldChange { resource, file, field, from: held, .. } = change;
    let documents: Vec<usize> =
        index.documents_of(resource).into_iter().filter(|(f, _)| f == file).map(|(_, d)| d).collect();
    let now = |document: usize| {
        let found = index.document(file, document).and_then(|d| at.find(&d));
        found.map(|v| written(&v).unwrap_or_else(|| v.to_string()))
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
    let mut whole = path.clone();
    if let Some((list, _, key)) = added_item(path) {
        let item = path.parent();
        let bare = item.find(document).and_then(Json::as_object).is_some_and(|map| map.len() == 2);
        if !bare {
            return whole;
        }
        if !only_child(&list) || key == "count" {
            return if only_child(&list) { list } else { item };
        }
        whole = list;
    } else if *path != restarted_path() {
        return whole;
    }
    let template = template_path();
    while whole.parent().is_within(&template) && only_child(&whole.parent()) {
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
