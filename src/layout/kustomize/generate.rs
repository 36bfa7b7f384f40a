//! `configMapGenerator` and `secretGenerator`: the objects they make, and the hash that ends their names.
//! Fields of a kustomization and the files they name come in; objects go out, or a refusal by name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::reader::Reader;
use super::live::Live;
use super::{items, resolve, strings};
use crate::model::ids::RepoPath;

/// Characters of a line of base64 in a generated object.
const BASE64_LINE: usize = 70;

/// What to do with an object of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    Create,
    Merge,
    Replace,
}

/// Every object that the generators of `fields` make.
pub fn generated(
    reader: &Reader<'_>,
    fields: &Json,
    dir: &str,
    file: &RepoPath,
) -> Vec<Result<(Live, Behavior), String>> {
    let of = |kind: &'static str, key: &str| {
        let each = items(&fields[key]).map(move |entry| one(reader, fields, entry, kind, dir, file));
        each.collect::<Vec<_>>()
    };
    // kustomize makes ConfigMaps first.
    of("ConfigMap", "configMapGenerator").into_iter().chain(of("Secret", "secretGenerator")).collect()
}

fn one(
    reader: &Reader<'_>,
    fields: &Json,
    entry: &Json,
    kind: &str,
    dir: &str,
    file: &RepoPath,
) -> Result<(Live, Behavior), String> {
    let name = entry["name"].as_str().unwrap_or_default();
    let pairs =
        pairs(reader, entry, dir).map_err(|why| format!("{file} generates the {kind} {name} {why}"))?;
    let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    if let Some(namespace) = entry["namespace"].as_str().filter(|n| !n.is_empty()) {
        value["metadata"]["namespace"] = Json::from(namespace);
    }
    if kind == "Secret" {
        value["type"] = Json::from(entry["type"].as_str().filter(|t| !t.is_empty()).unwrap_or("Opaque"));
    }
    for (key, bytes) in pairs {
        match std::str::from_utf8(&bytes) {
            Ok(text) if kind == "ConfigMap" => value["data"][key] = Json::from(text),
            Err(_) if kind == "ConfigMap" => value["binaryData"][key] = Json::from(base64(&bytes)),
            _ => value["data"][key] = Json::from(base64(&bytes)),
        }
    }
    let (global, local) = (&fields["generatorOptions"], &entry["options"]);
    for key in ["labels", "annotations"] {
        for options in [global, local] {
            for (label, text) in options[key].as_object().into_iter().flatten() {
                value["metadata"][key][label] = text.clone();
            }
        }
    }
    if global["immutable"] == true || local["immutable"] == true {
        value["immutable"] = Json::from(true);
    }
    let mut object =
        Live::declared(&value, file, 0).ok_or_else(|| format!("{file} has a generator without a name"))?;
    object.generated = true;
    object.hashed = global["disableNameSuffixHash"] != true && local["disableNameSuffixHash"] != true;
    let behavior = match entry["behavior"].as_str() {
        Some("merge") => Behavior::Merge,
        Some("replace") => Behavior::Replace,
        _ => Behavior::Create,
    };
    Ok((object, behavior))
}

/// Keys and contents in kustomize's order: env files, literals, files.
fn pairs(reader: &Reader<'_>, entry: &Json, dir: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let content = |name: &str| {
        let path = resolve(dir, name).and_then(|p| RepoPath::new(p).ok());
        path.and_then(|p| reader.bytes(&p))
            .ok_or_else(|| format!("from {name:?}, which is no file of the repository"))
    };
    let mut found = BTreeMap::new();
    for name in strings(&entry["envs"]).chain(entry["env"].as_str()) {
        let text = String::from_utf8(content(name)?.to_vec())
            .map_err(|_| format!("from {name:?}, which is not text"))?;
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            found.insert(key.to_owned(), value.as_bytes().to_vec());
        }
    }
    for literal in strings(&entry["literals"]) {
        let (key, value) =
            literal.split_once('=').ok_or_else(|| format!("from {literal:?}, which is not key=value"))?;
        let quote = value
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\'') && value.len() > 1 && value.ends_with(*c));
        let value = quote.map_or(value, |_| &value[1..value.len() - 1]);
        found.insert(key.to_owned(), value.as_bytes().to_vec());
    }
    for source in strings(&entry["files"]) {
        let (key, name) = source.split_once('=').unwrap_or_else(|| (super::file_name(source), source));
        found.insert(key.to_owned(), content(name)?.to_vec());
    }
    Ok(found)
}

/// Adds what a generator made to the objects so far.
pub fn absorb(objects: &mut Vec<Live>, mut made: Live, behavior: Behavior) -> Result<(), String> {
    let id = made.identity();
    let same = |o: &&mut Live| o.api_version == made.api_version && o.identities().contains(&id);
    match (objects.iter_mut().find(same), behavior) {
        (None, Behavior::Create) => objects.push(made),
        (None, _) => {
            return Err(format!("{} generates into {}, which is not there", made.declared.file, id.name));
        }
        (Some(_), Behavior::Create) => {
            return Err(format!("{} generates {}, which is there already", made.declared.file, id.name));
        }
        (Some(old), _) => {
            if behavior == Behavior::Merge {
                for key in ["data", "binaryData"] {
                    under(&mut made.value[key], &old.value[key]);
                }
            }
            for key in ["labels", "annotations"] {
                under(&mut made.value["metadata"][key], &old.value["metadata"][key]);
            }
            for key in ["name", "namespace"] {
                made.value["metadata"][key] = old.value["metadata"][key].clone();
            }
            without_nulls(&mut made.value);
            (old.value, old.hashed, old.generated) = (made.value, old.hashed && made.hashed, true);
        }
    }
    Ok(())
}

/// Entries of `below` that `map` does not have.
fn under(map: &mut Json, below: &Json) {
    for (key, value) in below.as_object().into_iter().flatten() {
        if map[key].is_null() {
            map[key] = value.clone();
        }
    }
}

fn without_nulls(value: &mut Json) {
    if let Json::Object(map) = value {
        map.retain(|_, v| !v.is_null());
        map.values_mut().for_each(without_nulls);
    }
}

/// Ends the names of generated objects with a hash of their content.
pub fn add_hash(object: &mut Live) {
    if object.hashed {
        object.remember();
        object.set_name(&format!("{}-{}", object.name(), hash(&object.value)));
    }
}

/// The first ten hex digits of the SHA-256 of kustomize's JSON for the content, with the digits that could spell
/// words replaced.
fn hash(value: &Json) -> String {
    let or_empty = |key: &str| if value[key].is_null() { Json::from("") } else { value[key].clone() };
    let mut content = Map::new();
    content.insert("kind".into(), value["kind"].clone());
    // kustomize looks the name up under a key that is never there.
    content.insert("name".into(), Json::from(""));
    content.insert("data".into(), or_empty("data"));
    let extra = if value["kind"] == "Secret" { "stringData" } else { "binaryData" };
    if value[extra].is_object() {
        content.insert(extra.into(), value[extra].clone());
    }
    if value["kind"] == "Secret" {
        content.insert("type".into(), or_empty("type"));
    }
    let text = go_json(&sorted(&Json::Object(content)));
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::new();
    for byte in &digest[..5] {
        let _ = write!(hex, "{byte:02x}");
    }
    let letter = |c: char| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        c => c,
    };
    hex.chars().map(letter).collect()
}

fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let ordered: BTreeMap<&String, Json> = map.iter().map(|(k, v)| (k, sorted(v))).collect();
            Json::Object(ordered.into_iter().map(|(k, v)| (k.clone(), v)).collect())
        }
        other => other.clone(),
    }
}

/// Go's `encoding/json` escapes what could close a script element.
fn go_json(value: &Json) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648 section 4), broken into lines when it is longer than one.
fn base64(bytes: &[u8]) -> String {
    let mut all = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sextet = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or_default();
            all.push(if at > chunk.len() { '=' } else { char::from(ALPHABET[sextet]) });
        }
    }
    if all.len() < BASE64_LINE {
        return all;
    }
    let mut lines = String::with_capacity(all.len() + all.len() / BASE64_LINE + 1);
    for (at, c) in all.chars().enumerate() {
        if at > 0 && at % BASE64_LINE == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}
