//! Flux `Kustomization`s: a folder of this repository with settings on top. A delivery comes in, the objects it
//! brings go out.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::source::Whose;
use super::substitute::{Variables, substitute};
use super::{Delivery, Reached, World, folder, overrides};
use crate::layout::kustomize::{Live, Renderer, resolve};
use crate::layout::objects::FieldPath;

/// Where a Flux source comes from.
pub(super) enum Origin {
    /// This repository; a note when that is taken for granted, a sentence part when it follows something else
    /// than the watched branch.
    Here { note: Option<String>, astray: Option<String> },
    Elsewhere {
        why: String,
        /// Empty when it is no git repository.
        url: String,
    },
}

/// Looks at `sourceRef` of a Flux object in `namespace`.
pub(super) fn origin(reference: &Json, namespace: &str, world: World<'_>) -> Origin {
    let (kind, name) = (reference["kind"].as_str().unwrap_or("GitRepository"), &reference["name"]);
    let name = name.as_str().unwrap_or_default();
    if kind != "GitRepository" {
        let why = format!("comes from the {kind} {name}, which is not a git repository");
        return Origin::Elsewhere { why, url: String::new() };
    }
    let namespace = reference["namespace"].as_str().unwrap_or(namespace);
    let Some(source) = world.object(kind, namespace, name) else {
        let note =
            format!("the GitRepository {namespace}/{name} is not declared here and taken for this one");
        return Origin::Here { note: Some(note), astray: None };
    };
    let spec = &source.value["spec"];
    let url = spec["url"].as_str().unwrap_or_default();
    let note = match world.about.whose(url) {
        Whose::Other => {
            let why = format!("comes from {}", world.about.foreign(url));
            return Origin::Elsewhere { why, url: url.to_owned() };
        }
        Whose::Presumed => {
            Some(format!("the GitRepository {namespace}/{name} ({url}) is taken for this one"))
        }
        Whose::Ours => None,
    };
    let at = &spec["ref"];
    let fixed = ["commit", "semver", "tag", "name"].iter().find_map(|key| at[*key].as_str());
    let astray = match fixed {
        Some(fixed) if !fixed.starts_with("refs/heads/") => Some(format!("stays at {fixed}")),
        _ => world.about.follows(fixed.or(at["branch"].as_str())).err(),
    };
    Origin::Here { note, astray }
}

/// Renders the folder and what is set on top of it.
#[must_use]
pub fn render(delivery: &Delivery, world: World<'_>) -> Reached {
    let spec = &delivery.value["spec"];
    let target = spec["targetNamespace"].as_str();
    let path = spec["path"].as_str().unwrap_or("./");
    let (note, astray) = match origin(&spec["sourceRef"], &delivery.namespace, world) {
        Origin::Here { note, astray } => (note, astray),
        Origin::Elsewhere { why, url } => {
            let meant = if url.is_empty() { None } else { world.namesake(&url, path) };
            return Reached::beyond(delivery, target, why).with_folders(meant);
        }
    };
    let Some(dir) = resolve("", path.trim_start_matches('/')) else {
        return Reached::beyond(
            delivery,
            target,
            format!("has the path {path:?}, which is outside the repository"),
        );
    };
    if !world.ground.is_folder(&dir) {
        return Reached::beyond(
            delivery,
            target,
            format!("has the path {path}, which is no folder of the repository"),
        );
    }
    let own = world.ground.reader.kustomization_in(&dir);
    let mut reached = Reached::default();
    let objects = if own.is_some() {
        reached.claims.folders.insert(dir.clone());
        Renderer::new(world.ground.reader).render(&dir)
    } else {
        let contents = folder::generated(world.ground, &dir);
        reached.claims = contents.claims;
        reached.notes = contents.notes;
        contents.live
    };
    let layer = delivery.layer(&FieldPath::keys(["spec"]));
    let inner = own.as_ref().and_then(|(_, file)| file.values.first());
    let overrides = overrides::of_flux(spec, &delivery.label());
    reached.live = overrides::apply(objects, overrides, inner, (&dir, &layer), world);
    after_build(delivery, &mut reached.live, world);
    reached.notes.extend(note.map(|note| format!("{}: {note}", delivery.label())));
    if let Some(why) = astray {
        let why = format!("{} {why}; a commit to the watched branch would not arrive", delivery.label());
        reached.live.iter_mut().for_each(|live| live.refusals.push(why.clone()));
    }
    reached
}

fn after_build(delivery: &Delivery, objects: &mut [Live], world: World<'_>) {
    let settings = &delivery.value["spec"]["postBuild"];
    if settings.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let variables = variables(delivery, settings, world);
    objects.iter_mut().for_each(|live| substitute(live, &variables));
}

/// `substituteFrom` in order, then `substitute`, which wins.
fn variables(delivery: &Delivery, settings: &Json, world: World<'_>) -> Variables {
    let mut all = BTreeMap::new();
    for reference in settings["substituteFrom"].as_array().into_iter().flatten() {
        let kind = reference["kind"].as_str().unwrap_or_default();
        let name = reference["name"].as_str().unwrap_or_default();
        let found = world.object(kind, &delivery.namespace, name).filter(|_| kind == "ConfigMap");
        let Some(found) = found else {
            return Err(format!(
                "{} substitutes from the {kind} {name}, which cannot be read in the repository",
                delivery.label()
            ));
        };
        all.extend(texts(&found.value["data"]));
    }
    all.extend(texts(&settings["substitute"]));
    Ok(all)
}

fn texts(map: &Json) -> impl Iterator<Item = (String, String)> {
    map.as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}
