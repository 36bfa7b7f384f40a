//! Generators of an `ApplicationSet`: list, git directories and git files. A generator comes in, one set of
//! parameters per application goes out; every other kind of generator is refused by its name.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::World;
use super::glob::{Stars, matches};
use super::source::Whose;
use crate::layout::objects::{file_name, folder, json as plain_json};
use crate::model::ids::RepoPath;
use crate::yaml;

/// Most applications of one set.
const MAX_GENERATED: usize = 1_000;

/// Parameters of every application that `generator` makes.
///
/// # Errors
/// A sentence part naming what is not rendered.
pub fn parameters(generator: &Json, go: bool, world: World<'_>) -> Result<Vec<Json>, String> {
    let body = generator.as_object().ok_or("has a generator that is no map")?;
    let known = ["list", "git"];
    if let Some(other) = body.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("uses the generator {other}, which tars does not render"));
    }
    let inner = generator.get("list").or_else(|| generator.get("git")).unwrap_or(&Json::Null);
    if inner["template"].as_object().is_some_and(|map| !map.is_empty()) {
        return Err("has a template inside a generator, which tars does not render".to_owned());
    }
    let found = if generator.get("list").is_some() { list(inner, go)? } else { git(inner, go, world)? };
    if found.len() > MAX_GENERATED {
        return Err(format!("generates more than {MAX_GENERATED} applications"));
    }
    Ok(found)
}

fn list(body: &Json, go: bool) -> Result<Vec<Json>, String> {
    if body["elementsYaml"].is_string() {
        return Err("uses elementsYaml, which tars does not render".to_owned());
    }
    let elements = body["elements"].as_array().into_iter().flatten();
    Ok(elements.map(|element| if go { element.clone() } else { flat(element) }).collect())
}

/// Nested maps by dotted keys, as the old template syntax names them.
fn flat(value: &Json) -> Json {
    fn walk(value: &Json, at: &str, into: &mut Map<String, Json>) {
        match value {
            Json::Object(map) => {
                for (key, entry) in map {
                    walk(entry, &if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, into);
                }
            }
            other => {
                into.insert(at.to_owned(), other.clone());
            }
        }
    }
    let mut into = Map::new();
    walk(value, "", &mut into);
    Json::Object(into)
}

fn git(body: &Json, go: bool, world: World<'_>) -> Result<Vec<Json>, String> {
    let url = body["repoURL"].as_str().unwrap_or_default();
    if world.about.whose(url) == Whose::Other {
        return Err(format!("generates from {}", world.about.foreign(url)));
    }
    world
        .about
        .follows(body["revision"].as_str())
        .map_err(|why| format!("generates from a revision that {why}"))?;
    let prefix = body["pathParamPrefix"].as_str().unwrap_or_default();
    if !prefix.is_empty() {
        return Err("uses pathParamPrefix, which tars does not render".to_owned());
    }
    let values = &body["values"];
    if values.to_string().contains("{{") {
        return Err("has templates in the values of a generator, which tars does not render".to_owned());
    }
    let mut all = match (body["directories"].as_array(), body["files"].as_array()) {
        (Some(rules), None) => directories(rules, go, world)?,
        (None, Some(rules)) => files(rules, go, world)?,
        _ => return Err("has a git generator without directories or files".to_owned()),
    };
    for parameters in &mut all {
        match values.as_object() {
            Some(_) if go => parameters["values"] = values.clone(),
            Some(map) => {
                map.iter().for_each(|(key, value)| parameters[format!("values.{key}")] = value.clone());
            }
            None => {}
        }
    }
    Ok(all)
}

/// Folders here that a generator may mean, which lists those of a repository that is not known as this one.
#[must_use]
pub fn namesakes(generator: &Json, world: World<'_>) -> Vec<String> {
    let body = &generator["git"];
    let is_foreign = world.about.whose(body["repoURL"].as_str().unwrap_or_default()) == Whose::Other;
    let rules = body["directories"].as_array().filter(|_| is_foreign);
    rules.and_then(|rules| chosen_folders(rules, world).ok()).unwrap_or_default()
}

fn rules(rules: &[Json]) -> (Vec<&str>, Vec<&str>) {
    let named = |wanted: bool| {
        let of_kind = rules.iter().filter(move |rule| (rule["exclude"] == true) == wanted);
        of_kind.filter_map(|rule| rule["path"].as_str()).collect::<Vec<_>>()
    };
    (named(false), named(true))
}

fn directories(list: &[Json], go: bool, world: World<'_>) -> Result<Vec<Json>, String> {
    let taken = chosen_folders(list, world)?;
    Ok(taken.iter().map(|dir| path_parameters(dir, None, go)).collect())
}

/// Every folder that a pattern matches; `*` stays inside one part, and `**` is no more than `*`. Folders that
/// start with a dot are left out.
fn chosen_folders(list: &[Json], world: World<'_>) -> Result<Vec<String>, String> {
    let (include, exclude) = rules(list);
    let mut folders: BTreeSet<&str> = BTreeSet::new();
    for (path, _) in world.ground.below("") {
        let mut at = folder(path.as_str());
        while !at.is_empty() && folders.insert(at) {
            at = folder(at);
        }
    }
    let is_match = |patterns: &[&str], dir: &str| {
        patterns.iter().any(|pattern| {
            let pattern = pattern.trim_end_matches('/').replace("**", "*");
            matches(&pattern, dir, Stars::StayInFolder)
        })
    };
    if let Some(odd) = include.iter().chain(&exclude).find(|pattern| pattern.contains('{')) {
        return Err(format!("has the pattern {odd}, whose braces tars does not read"));
    }
    let hidden = |dir: &str| dir.split('/').any(|part| part.starts_with('.'));
    let taken =
        folders.into_iter().filter(|dir| !hidden(dir) && is_match(&include, dir) && !is_match(&exclude, dir));
    Ok(taken.map(str::to_owned).collect())
}

/// Every file that a pattern matches, once per map in it. Whether `*` crosses folders is a setting of Argo CD:
/// a pattern that would make a difference is refused.
fn files(list: &[Json], go: bool, world: World<'_>) -> Result<Vec<Json>, String> {
    let (include, exclude) = rules(list);
    let chosen = |stars: Stars| -> Vec<&RepoPath> {
        let is_match = |patterns: &[&str], path: &str| patterns.iter().any(|p| matches(p, path, stars));
        let all = world.ground.below("").map(|(path, _)| path);
        all.filter(|path| is_match(&include, path.as_str()) && !is_match(&exclude, path.as_str())).collect()
    };
    let found = chosen(Stars::StayInFolder);
    if found != chosen(Stars::CrossFolders) {
        return Err(format!(
            "has the pattern {}, which matches other files with Argo CD's new globbing than without",
            include.join(", ")
        ));
    }
    let mut all = Vec::new();
    for path in found {
        let bytes = world.ground.bytes(path).map_err(|why| format!("generates from {path}, which {why}"))?;
        let documents =
            yaml::read(&bytes).map_err(|e| format!("generates from {path}, which cannot be read: {e}"))?;
        let root = documents.first().map_or(Json::Null, |document| plain_json(&document.root));
        let maps = match root {
            Json::Array(items) => items,
            other => vec![other],
        };
        for map in maps.iter().filter(|map| map.is_object()) {
            let mut parameters = if go { map.clone() } else { flat(map) };
            let of_path = path_parameters(folder(path.as_str()), Some(file_name(path.as_str())), go);
            for (key, value) in of_path.as_object().into_iter().flatten() {
                parameters[key.clone()] = value.clone();
            }
            all.push(parameters);
        }
    }
    Ok(all)
}

/// A name as Kubernetes allows it: everything else becomes `-`.
fn normalized(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c.to_ascii_lowercase() } else { '-' })
        .collect();
    plain.trim_matches(['-', '.']).to_owned()
}

fn path_parameters(dir: &str, file: Option<&str>, go: bool) -> Json {
    let base = file_name(dir);
    let segments: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    if go {
        let mut path = json!({
            "path": dir, "basename": base, "basenameNormalized": normalized(base), "segments": segments,
        });
        if let Some(file) = file {
            path["filename"] = Json::from(file);
            path["filenameNormalized"] = Json::from(normalized(file));
        }
        return json!({ "path": path });
    }
    let mut all = json!({"path": dir, "path.basename": base, "path.basenameNormalized": normalized(base)});
    for (index, segment) in segments.iter().enumerate() {
        all[format!("path[{index}]")] = Json::from(*segment);
    }
    if let Some(file) = file {
        all["path.filename"] = Json::from(file);
        all["path.filenameNormalized"] = Json::from(normalized(file));
    }
    all
}
