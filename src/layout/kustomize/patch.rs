//! Patches of a kustomization: which there are, where their text stands, whom they mean, and their application.
//! Fields and objects come in; patched objects that remember the patch go out. A patch that kustomize would
//! stop at is a refusal on every object, because then nothing of the folder reaches a cluster.

use serde_json::Value as Json;

use super::super::objects::{FieldPath, Step, json};
use super::super::patches::{self, Schema};
use super::super::reader::Reader;
use super::live::{AppliedPatch, Identity, Layer, Live, Origin, PatchForm, PatchText, SetBy};
use super::select::{matches_labels, matches_pattern};
use super::{items, resolve};
use crate::model::ids::RepoPath;
use crate::yaml;

/// One entry of a list of patches.
pub struct Entry<'a> {
    target: Option<&'a Json>,
    options: &'a Json,
    source: Source<'a>,
}

enum Source<'a> {
    /// The text, and the steps from the layer's fields to it.
    Inline(&'a str, Vec<Step>),
    File(&'a str),
    Missing,
}

/// `patchesStrategicMerge` and `patches`: what kustomize runs before it changes names.
pub fn early(fields: &Json) -> Vec<Entry<'_>> {
    let key = |name: &str| Step::Key(name.to_owned());
    let merges = items(&fields["patchesStrategicMerge"]).enumerate().map(|(at, text)| Entry {
        target: None,
        options: &Json::Null,
        source: match text.as_str() {
            Some(text) if text.contains('\n') => {
                Source::Inline(text, vec![key("patchesStrategicMerge"), Step::At(at)])
            }
            Some(text) => Source::File(text),
            None => Source::Missing,
        },
    });
    merges.chain(listed(fields, "patches")).collect()
}

/// `patchesJson6902`, which runs after names and labels.
pub fn late(fields: &Json) -> Vec<Entry<'_>> {
    listed(fields, "patchesJson6902").collect()
}

fn listed<'a>(fields: &'a Json, list: &'static str) -> impl Iterator<Item = Entry<'a>> {
    items(&fields[list]).enumerate().map(move |(at, entry)| {
        let steps = vec![Step::Key(list.to_owned()), Step::At(at), Step::Key("patch".to_owned())];
        let text = entry["patch"].as_str().filter(|text| !text.trim().is_empty());
        Entry {
            target: entry.get("target").filter(|t| !t.is_null()),
            options: &entry["options"],
            source: match (text, entry["path"].as_str()) {
                (Some(text), None | Some("")) => Source::Inline(text, steps),
                (None, Some(path)) => Source::File(path),
                _ => Source::Missing,
            },
        }
    })
}

/// One document of a patch.
struct Piece {
    value: Json,
    text: PatchText,
}

impl Entry<'_> {
    fn read(&self, reader: &Reader<'_>, dir: &str, layer: &Layer) -> Result<Vec<Piece>, String> {
        match &self.source {
            Source::Inline(text, steps) => {
                let documents = yaml::read(text.as_bytes())
                    .map_err(|e| format!("{layer} has an inline patch that cannot be read: {e}"))?;
                let origin = Origin { file: layer.file.clone(), document: layer.document };
                let at = layer.path(steps.iter().cloned());
                let piece = |(nested, document): (usize, &yaml::Document)| Piece {
                    value: json(&document.root),
                    text: PatchText { origin: origin.clone(), inside: Some((at.clone(), nested)) },
                };
                Ok(documents.iter().enumerate().map(piece).collect())
            }
            Source::File(name) => {
                let path = resolve(dir, name).and_then(|p| RepoPath::new(p).ok());
                let Some((path, source)) = path.as_ref().and_then(|p| reader.file(p).map(|s| (p, s))) else {
                    let why = path.as_ref().and_then(|p| reader.why_skipped(p));
                    let why = why.as_deref().unwrap_or("is not a readable file of the repository");
                    return Err(format!("{layer} names the patch {name:?}, which {why}"));
                };
                let piece = |(document, value): (usize, &Json)| Piece {
                    value: value.clone(),
                    text: PatchText { origin: Origin { file: path.clone(), document }, inside: None },
                };
                Ok(source.values.iter().enumerate().map(piece).collect())
            }
            Source::Missing => Err(format!("{layer} has a patch with neither or both of patch and path")),
        }
    }

    fn allows(&self, key: &str) -> bool {
        self.options[key] == true
    }
}

/// Applies `entries` in their order; what kustomize would stop at goes to `refusals`. `complete`: every object of
/// the folder is known.
pub fn apply(
    entries: &[Entry<'_>],
    objects: &mut Vec<Live>,
    read: (&Reader<'_>, &str),
    layer: &Layer,
    complete: bool,
    refusals: &mut Vec<String>,
) {
    for entry in entries {
        let pieces = match entry.read(read.0, read.1, layer) {
            Ok(pieces) => pieces,
            Err(why) => {
                refusals.push(why);
                continue;
            }
        };
        for piece in pieces.iter().filter(|p| !p.value.is_null()) {
            if let Err(why) = apply_piece(entry, piece, objects, layer, complete) {
                refusals.push(why);
            }
        }
        objects.retain(|o| !o.value.is_null());
    }
}

fn apply_piece(
    entry: &Entry<'_>,
    piece: &Piece,
    objects: &mut [Live],
    layer: &Layer,
    complete: bool,
) -> Result<(), String> {
    let file = &piece.text.origin.file;
    let Some(target) = entry.target else {
        if piece.value.is_array() {
            return Err(format!("{file} has JSON 6902 operations without a target"));
        }
        let found: Vec<usize> = objects
            .iter()
            .enumerate()
            .filter(|(_, o)| is_named_by(&piece.value, o))
            .map(|(at, _)| at)
            .collect();
        return match found[..] {
            [at] => {
                apply_one(entry, piece, &mut objects[at], layer);
                Ok(())
            }
            [] if !complete => Ok(()),
            [] => Err(format!("kustomize stops at the patch {file}, which matches no object")),
            [..] => Err(format!("kustomize stops at the patch {file}, which matches several objects")),
        };
    };
    for object in objects {
        match selects(target, object) {
            Ok(true) => apply_one(entry, piece, object, layer),
            Ok(false) => {}
            Err(why) => object.refusals.push(format!("a patch in {layer} {why}")),
        }
    }
    Ok(())
}

/// Does a patch without a target mean `object`? By kind, version, name and namespace, those it had before
/// included.
fn is_named_by(patch: &Json, object: &Live) -> bool {
    let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
    let metadata = &patch["metadata"];
    let Some(named) = Live::declared(patch, &object.declared.file, 0) else {
        return false;
    };
    let wanted = Identity { name: text(&metadata["name"]), ..named.identity() };
    object.api_version == named.api_version && object.identities().contains(&wanted)
}

/// Does a `target` mean `object`? Its fields are anchored regular expressions; names and namespaces match as they
/// were first and as they are.
pub fn selects(target: &Json, object: &Live) -> Result<bool, String> {
    let (group, version) = object.group_version();
    let (first, now) = (object.original(), object.identity());
    let shown = |i: &Identity| {
        if i.namespace.is_empty() { "_non_namespaceable_".into() } else { i.namespace.clone() }
    };
    let either = |field: &str, a: &str, b: &str| -> Result<bool, String> {
        Ok(matches_pattern(target, field, a)? || matches_pattern(target, field, b)?)
    };
    Ok(matches_pattern(target, "kind", &object.kind)?
        && matches_pattern(target, "group", group)?
        && matches_pattern(target, "version", version)?
        && either("namespace", &shown(&first), &shown(&now))?
        && either("name", &first.name, &now.name)?
        && matches_labels(target, "labelSelector", &object.value["metadata"]["labels"])?
        && matches_labels(target, "annotationSelector", &object.value["metadata"]["annotations"])?)
}

fn apply_one(entry: &Entry<'_>, piece: &Piece, object: &mut Live, layer: &Layer) {
    let file = &piece.text.origin.file;
    for key in ["allowNameChange", "allowKindChange"] {
        if entry.allows(key) {
            object.refusals.push(format!("a patch in {layer} has options.{key}, which tars does not render"));
        }
    }
    let form = if piece.value.is_array() {
        object.remember();
        match patches::json6902(&mut object.value, &piece.value) {
            Ok(written) => {
                object.read_identity();
                let set_by = |(field, value_at)| SetBy { field, value_at };
                PatchForm::Operations(written.into_iter().map(set_by).collect())
            }
            Err(why) => {
                object.refusals.push(format!("the patch {file} {why}"));
                return;
            }
        }
    } else {
        merge(object, piece, layer);
        PatchForm::Merge
    };
    object.patches.push(AppliedPatch {
        layer: layer.clone(),
        text: piece.text.clone(),
        form,
        value: piece.value.clone(),
    });
}

/// A strategic merge never changes what the object is called.
fn merge(object: &mut Live, piece: &Piece, layer: &Layer) {
    let mut body = piece.value.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    let schema = Schema::of(&object.api_version, &object.kind);
    let file = &piece.text.origin.file;
    match patches::strategic(&mut object.value, &body, schema) {
        Ok(unsure) => {
            for field in unsure {
                let why = format!("the patch {file} leaves open which item of {field} it means");
                object.doubt(layer, field, why, false);
            }
        }
        Err(why) => object.refusals.push(format!("the patch {file} {why}")),
    }
    if object.value.is_null() {
        return;
    }
    object.value["apiVersion"] = Json::from(object.api_version.as_str());
    object.value["kind"] = Json::from(object.kind.as_str());
    object.value["metadata"]["name"] = Json::from(object.name());
    if let Some(namespace) = &object.namespace {
        object.value["metadata"]["namespace"] = Json::from(namespace.as_str());
    }
}

/// Where the value that a patch gives to `field` stands in the patch's own document; `Some(None)` when the patch
/// sets the field in a way that cannot be edited.
pub fn place_in(patch: &AppliedPatch, field: &FieldPath) -> Option<Option<FieldPath>> {
    match &patch.form {
        PatchForm::Merge => {
            field.find(&patch.value).is_some_and(|v| !v.is_null()).then(|| Some(field.clone()))
        }
        PatchForm::Operations(written) => {
            let touches = |by: &&SetBy| field.is_within(&by.field) || by.field.is_within(field);
            let by = written.iter().rev().find(touches)?;
            let Some(value_at) = by.value_at.as_ref().filter(|_| field.is_within(&by.field)) else {
                return Some(None);
            };
            let rest = field.0[by.field.0.len()..].iter().cloned();
            Some(Some(FieldPath(value_at.0.iter().cloned().chain(rest).collect())))
        }
    }
}
