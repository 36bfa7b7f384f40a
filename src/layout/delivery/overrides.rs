//! Kustomize settings that stand in an `Application` or a Flux `Kustomization` instead of a kustomization file.
//! A body comes in; the fields in the shape of a kustomization, and what cannot be rendered, go out.

use serde_json::{Map, Value as Json, json};

use super::World;
use crate::layout::kustomize::{Layer, Live, Renderer};
use crate::layout::objects::ImageName;

/// Fields in the shape of a kustomization, and sentences about the rest.
#[derive(Debug, Default)]
pub struct Overrides {
    pub fields: Map<String, Json>,
    pub refusals: Vec<String>,
}

fn is_set(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::Array(list) => !list.is_empty(),
        Json::Object(map) => !map.is_empty(),
        Json::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// `spec.source.kustomize` of an Argo CD `Application`.
#[must_use]
pub fn of_application(settings: &Json, label: &str) -> Overrides {
    let mut overrides = Overrides::default();
    for (key, value) in settings.as_object().into_iter().flatten().filter(|(_, value)| is_set(value)) {
        match key.as_str() {
            "namePrefix" | "nameSuffix" | "namespace" | "patches" | "components" | "commonAnnotations" => {
                overrides.fields.insert(key.clone(), value.clone());
            }
            "commonLabels" => {
                // Without selectors, or into templates only: then they are no `commonLabels`.
                let entry = json!([{"pairs": value, "includeTemplates": settings["labelIncludeTemplates"]}]);
                match settings["labelWithoutSelector"].as_bool() {
                    Some(true) => overrides.fields.insert("labels".to_owned(), entry),
                    _ => overrides.fields.insert(key.clone(), value.clone()),
                };
            }
            "images" => {
                let entries = value.as_array().into_iter().flatten().filter_map(Json::as_str).map(image);
                overrides.fields.insert(key.clone(), entries.collect());
            }
            "replicas" => {
                overrides
                    .fields
                    .insert(key.clone(), value.as_array().into_iter().flatten().map(count).collect());
            }
            "labelWithoutSelector"
            | "labelIncludeTemplates"
            | "forceCommonLabels"
            | "forceCommonAnnotations"
            | "kubeVersion"
            | "apiVersions"
            | "version"
            | "ignoreMissingComponents" => {}
            other => {
                overrides
                    .refusals
                    .push(format!("{label} uses kustomize.{other}, which tars does not render"));
            }
        }
    }
    overrides
}

/// The body of a Flux `Kustomization`.
#[must_use]
pub fn of_flux(spec: &Json, label: &str) -> Overrides {
    let mut overrides = Overrides::default();
    for key in ["namePrefix", "nameSuffix", "patches", "images", "components"] {
        if is_set(&spec[key]) {
            overrides.fields.insert(key.to_owned(), spec[key].clone());
        }
    }
    if is_set(&spec["targetNamespace"]) {
        overrides.fields.insert("namespace".to_owned(), spec["targetNamespace"].clone());
    }
    if is_set(&spec["commonMetadata"]["labels"]) {
        let entry = json!([{"pairs": spec["commonMetadata"]["labels"]}]);
        overrides.fields.insert("labels".to_owned(), entry);
    }
    if is_set(&spec["commonMetadata"]["annotations"]) {
        overrides
            .fields
            .insert("commonAnnotations".to_owned(), spec["commonMetadata"]["annotations"].clone());
    }
    for key in ["patchesStrategicMerge", "patchesJson6902"] {
        if is_set(&spec[key]) {
            overrides.refusals.push(format!("{label} uses {key}, which tars does not render; use patches"));
        }
    }
    overrides
}

/// `old=new:tag`, `name:tag` or `name@digest` as an entry of `images:`.
fn image(text: &str) -> Json {
    let (name, rest) = text.split_once('=').map_or((None, text), |(name, rest)| (Some(name), rest));
    let image = ImageName::parse(rest);
    let mut entry = Map::new();
    entry.insert("name".to_owned(), Json::from(name.unwrap_or(&image.repository)));
    if name.is_some_and(|name| name != image.repository) {
        entry.insert("newName".to_owned(), Json::from(image.repository));
    }
    if let Some(tag) = image.tag {
        entry.insert("newTag".to_owned(), Json::from(tag));
    }
    if let Some(digest) = image.digest {
        entry.insert("digest".to_owned(), Json::from(digest));
    }
    Json::Object(entry)
}

/// The count of an Argo CD entry may be text.
fn count(entry: &Json) -> Json {
    let mut entry = entry.clone();
    let number = entry["count"].as_str().and_then(|text| text.parse::<i64>().ok());
    if let Some(number) = number {
        entry["count"] = Json::from(number);
    }
    entry
}

/// Runs the overrides over what a folder renders to. Argo CD and Flux write them into the folder's own
/// kustomization before they build; where that differs from a layer on top, the objects are refused.
pub fn apply(
    objects: Vec<Live>,
    overrides: Overrides,
    inner: Option<&Json>,
    place: (&str, &Layer),
    world: World<'_>,
) -> Vec<Live> {
    let (dir, layer) = place;
    let Overrides { fields, mut refusals } = overrides;
    if fields.is_empty() && refusals.is_empty() {
        return objects;
    }
    if let Some(inner) = inner {
        refusals.extend(conflicts(inner, &fields, layer));
    }
    let mut renderer = Renderer::new(world.ground.reader);
    let (fields, who) = (Json::Object(fields), layer.to_string());
    let objects = renderer.with_components(objects, &fields, (dir, &who), 0, &mut refusals);
    renderer.apply(objects, &fields, dir, layer, refusals)
}

/// What a layer on top would not show as it really is.
fn conflicts(inner: &Json, outer: &Map<String, Json>, layer: &Layer) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["namePrefix", "nameSuffix"] {
        if outer.contains_key(key) && is_set(&inner[key]) {
            found.push(format!("{layer} replaces the {key} of the kustomization it builds"));
        }
    }
    let names = |value: Option<&Json>| -> Vec<String> {
        let list = value.and_then(Json::as_array).into_iter().flatten();
        list.filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect()
    };
    let renamed: Vec<String> = inner["images"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| is_set(&entry["newName"]))
        .filter_map(|entry| entry["name"].as_str().map(str::to_owned))
        .collect();
    if let Some(name) = names(outer.get("images")).into_iter().find(|name| renamed.contains(name)) {
        found.push(format!("{layer} replaces images[name={name}] of the kustomization it builds"));
    }
    let later = ["patches", "patchesStrategicMerge", "patchesJson6902", "replicas", "images", "replacements"];
    if let Some(key) = later.into_iter().find(|key| outer.contains_key("components") && is_set(&inner[*key]))
    {
        found.push(format!(
            "{layer} adds components, which come before the {key} of the kustomization it builds"
        ));
    }
    let patched = outer.get("patches").map(Json::to_string).unwrap_or_default();
    for (list, field) in [("replicas", "replicas"), ("images", "image")] {
        if patched.contains(field) && is_set(&inner[list]) {
            found.push(format!("{layer} patches what {list} of the kustomization it builds may set again"));
        }
    }
    found
}
