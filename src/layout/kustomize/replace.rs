//! `replacements`: values copied from a field of one object into fields of others. Simple ones are rendered; every
//! field they write is noted as not editable where it stands. What cannot be followed leaves the field in
//! doubt, by name, and the rest of the object alone.

use serde_json::Value as Json;

use super::super::objects::{FieldPath, Step};
use super::super::patches::field_of;
use super::super::reader::Reader;
use super::live::{Layer, Live};
use super::select::{matches_labels, matches_pattern};
use super::{items, resolve};
use crate::model::ids::RepoPath;

/// Runs the `replacements` of one layer.
pub fn apply(
    reader: &Reader<'_>,
    fields: &Json,
    dir: &str,
    objects: &mut [Live],
    layer: &Layer,
) -> Vec<String> {
    let mut refusals = Vec::new();
    for entry in items(&fields["replacements"]) {
        let listed = match entry["path"].as_str() {
            None => vec![entry.clone()],
            Some(name) => {
                let path = resolve(dir, name).and_then(|p| RepoPath::new(p).ok());
                let Some(source) = path.and_then(|p| reader.file(&p)) else {
                    refusals.push(format!("{layer} names the replacements {name:?}, which cannot be read"));
                    continue;
                };
                source
                    .values
                    .iter()
                    .flat_map(|v| v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]))
                    .collect()
            }
        };
        for replacement in &listed {
            if let Err(why) = one(replacement, objects, layer) {
                refusals.push(why);
            }
        }
    }
    refusals
}

fn one(replacement: &Json, objects: &mut [Live], layer: &Layer) -> Result<(), String> {
    if items(&replacement["targets"]).next().is_none() {
        return Err(format!("kustomize stops at an entry of replacements in {layer} that has no targets"));
    }
    let value = match replacement["sourceValue"].as_str() {
        Some(text) => Some(Json::from(text)),
        None => source_value(&replacement["source"], objects),
    };
    for target in items(&replacement["targets"]) {
        for object in objects.iter_mut() {
            match is_target(target, object) {
                Ok(true) => write(target, value.as_ref(), object, layer)?,
                Ok(false) => {}
                Err(why) => object.refusals.push(format!("a replacement in {layer} {why}")),
            }
        }
    }
    Ok(())
}

/// The value at the source; `None` when there is not exactly one, or its options are not modelled.
fn source_value(source: &Json, objects: &[Live]) -> Option<Json> {
    let fits = |object: &&Live| {
        let (group, version) = object.group_version();
        let same = |key: &str, text: &str| {
            source[key].as_str().is_none_or(|wanted| wanted.is_empty() || wanted == text)
        };
        same("group", group)
            && same("version", version)
            && object
                .identities()
                .iter()
                .any(|i| same("kind", &i.kind) && same("name", &i.name) && same("namespace", &i.namespace))
    };
    let mut found = objects.iter().filter(fits);
    let object = found.next().filter(|_| found.next().is_none())?;
    let path = source["fieldPath"].as_str().filter(|p| !p.is_empty()).unwrap_or("metadata.name");
    let mut pointers = Vec::new();
    follow(&object.value, &segments(path), String::new(), &mut pointers);
    let [pointer] = &pointers[..] else { return None };
    let value = object.value.pointer(pointer)?.clone();
    match (source["options"]["delimiter"].as_str(), value.as_str()) {
        (None | Some(""), _) => Some(value),
        (Some(delimiter), Some(text)) => {
            let index = usize::try_from(source["options"]["index"].as_u64().unwrap_or(0)).ok()?;
            text.split(delimiter).nth(index).map(Json::from)
        }
        (Some(_), None) => None,
    }
}

fn is_target(target: &Json, object: &Live) -> Result<bool, String> {
    let by = |selector: &Json| -> Result<bool, String> {
        let (group, version) = object.group_version();
        let mut named = false;
        for i in object.identities() {
            named |= matches_pattern(selector, "kind", &i.kind)?
                && matches_pattern(selector, "name", &i.name)?
                && matches_pattern(selector, "namespace", &i.namespace)?;
        }
        Ok(named
            && matches_pattern(selector, "group", group)?
            && matches_pattern(selector, "version", version)?
            && matches_labels(selector, "labelSelector", &object.value["metadata"]["labels"])?
            && matches_labels(selector, "annotationSelector", &object.value["metadata"]["annotations"])?)
    };
    let mut rejected = false;
    for reject in items(&target["reject"]) {
        rejected |= by(reject)?;
    }
    Ok(!rejected && by(&target["select"])?)
}

fn write(target: &Json, value: Option<&Json>, object: &mut Live, layer: &Layer) -> Result<(), String> {
    let why = format!("a replacement in {layer} writes it");
    let listed: Vec<&str> = items(&target["fieldPaths"]).filter_map(Json::as_str).collect();
    let paths = if listed.is_empty() { vec!["metadata.name"] } else { listed };
    for path in paths {
        let parts = segments(path);
        let mut pointers = Vec::new();
        follow(&object.value, &parts, String::new(), &mut pointers);
        let options = &target["options"];
        if pointers.is_empty() {
            if options["create"] != true {
                return Err(format!("kustomize stops at a replacement in {layer}: {path} is not there"));
            }
            object.doubt(layer, plain_prefix(&parts), why.clone(), false);
        }
        for pointer in pointers {
            let field = field_of(&object.value, &pointer);
            let Some(at) = object.value.pointer_mut(&pointer) else { continue };
            let new = value.and_then(|value| replaced(at, value, options));
            let rendered = new.is_some();
            if let Some(new) = new {
                *at = new;
            }
            object.doubt(layer, field, why.clone(), rendered);
        }
    }
    object.read_identity();
    Ok(())
}

/// What a scalar becomes: it keeps its type and takes over the text. `None` when that is not certain.
fn replaced(old: &Json, value: &Json, options: &Json) -> Option<Json> {
    if old.is_object() || old.is_array() || value.is_object() || value.is_array() {
        return options["delimiter"].is_null().then(|| value.clone());
    }
    let text_of = |v: &Json| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let mut text = text_of(value);
    if let Some(delimiter) = options["delimiter"].as_str().filter(|d| !d.is_empty()) {
        let mut parts: Vec<String> = text_of(old).split(delimiter).map(str::to_owned).collect();
        match options["index"].as_i64().unwrap_or(0) {
            index if index < 0 => parts.insert(0, text),
            index => match usize::try_from(index).ok().and_then(|i| parts.get_mut(i)) {
                Some(part) => *part = text,
                None => parts.push(text),
            },
        }
        text = parts.join(delimiter);
    }
    match old {
        Json::String(_) => Some(Json::from(text)),
        Json::Number(_) => text.parse::<i64>().ok().map(Json::from),
        Json::Bool(_) => text.parse::<bool>().ok().map(Json::from),
        _ => None,
    }
}

/// `a.b.[name=x].[c.d]`: dots separate, brackets hold a key with dots or a list item.
fn segments(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in path.chars() {
        match c {
            '.' if depth == 0 => parts.push(String::new()),
            c => {
                match c {
                    '[' => depth += 1,
                    ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// JSON pointers of everything a field path means.
fn follow(value: &Json, path: &[String], at: String, found: &mut Vec<String>) {
    let Some((segment, rest)) = path.split_first() else {
        found.push(at);
        return;
    };
    let inner = segment.strip_prefix('[').and_then(|s| s.strip_suffix(']'));
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let taken = match inner.and_then(|i| i.split_once('=')) {
                    Some((key, wanted)) => item[key].as_str() == Some(wanted),
                    None => segment == "*" || segment.parse() == Ok(index),
                };
                if taken {
                    follow(item, rest, format!("{at}/{index}"), found);
                }
            }
        }
        Json::Object(map) => {
            let key = inner.unwrap_or(segment);
            let keys = map.keys().filter(|k| *k == key || segment == "*");
            for key in keys {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                follow(&map[key], rest, format!("{at}/{escaped}"), found);
            }
        }
        _ => {}
    }
}

/// The part of a field path that holds only keys.
fn plain_prefix(parts: &[String]) -> FieldPath {
    let keys = parts.iter().take_while(|part| !part.starts_with('[') && *part != "*");
    FieldPath(keys.map(|part| Step::Key(part.clone())).collect())
}
