//! Renders Kustomize directories to the objects a cluster would get, and remembers for each object which
//! files had a hand in it. Parsed files come in, live objects with their provenance go out. What is not
//! modelled is noted as a refusal on every object it might affect; nothing is guessed.
//!
//! Order inside one kustomization (kustomize 5, `configureBuiltinTransformers`): patches, namespace, prefix
//! and suffix, `replicas`, `images`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::helm::Release;
use super::objects::{FieldPath, ImageName, Sources, file_name, folder, is_cluster_scoped, object_kind};
use super::patches;
use super::reader::{KUSTOMIZATION_FILES, Reader, is_kustomization};
use crate::model::ids::RepoPath;
use crate::yaml;

/// Deepest chain of bases; real ones have two or three.
const MAX_DEPTH: usize = 16;
/// Most objects rendered from one repository; bases that include each other twice grow exponentially.
const MAX_OBJECTS: usize = 50_000;
/// Most bytes a compiled `target:` pattern may take.
const MAX_PATTERN_BYTES: usize = 1 << 16;

/// One document of one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub file: RepoPath,
    pub document: usize,
}

/// A set of kustomize fields (patches, `replicas`, `images`, names) that somebody wrote down: a kustomization
/// file, or the overrides inside an Argo CD `Application` or a Flux `Kustomization`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layer {
    pub file: RepoPath,
    pub document: usize,
    /// Where the fields stand in the document; empty for a kustomization file.
    pub at: FieldPath,
}

impl Layer {
    fn of_file(file: &RepoPath) -> Self {
        Self { file: file.clone(), document: 0, at: FieldPath::default() }
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at.0.is_empty() {
            write!(f, "{}", self.file)
        } else {
            write!(f, "{} at {}", self.file, self.at)
        }
    }
}

/// How a patch is written down, which decides whether it can be edited in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchForm {
    /// A strategic merge document in a file of its own.
    File,
    /// YAML inside a string of the kustomization.
    Inline,
    /// JSON 6902 operations, in a file or inline.
    Operations,
}

/// A patch that changed an object.
#[derive(Debug, Clone)]
pub struct AppliedPatch {
    pub layer: Layer,
    pub origin: Origin,
    pub form: PatchForm,
    pub value: Json,
}

/// An `images:` entry that changed a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHit {
    pub layer: Layer,
    pub entry: String,
    pub container: String,
}

/// An object as it reaches a cluster.
#[derive(Debug, Clone)]
pub struct Live {
    pub kind: String,
    pub api_version: String,
    /// Every name it had, the declared one first, the one in the cluster last.
    pub names: Vec<String>,
    pub namespace: Option<String>,
    pub value: Json,
    pub declared: Origin,
    /// Layers it went through, innermost first; empty for a plain manifest.
    pub layers: Vec<Layer>,
    pub patches: Vec<AppliedPatch>,
    /// `replicas:` entries that set its count: (layer, name in the entry).
    pub counts: Vec<(Layer, String)>,
    pub images: Vec<ImageHit>,
    /// Why this object cannot be edited with certainty.
    pub refusals: Vec<String>,
    /// What brings it to the cluster, innermost first: an `Application`, and the one that brings that.
    pub delivered: Vec<Layer>,
    /// The Helm release that renders it.
    pub release: Option<std::sync::Arc<Release>>,
}

impl Live {
    /// The objects of one document: one, none, or the items of a `List`, which are seen but not edited.
    pub fn all_declared(value: &Json, file: &RepoPath, document: usize) -> Vec<Self> {
        let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        let Some(items) = value["items"].as_array().filter(|_| is_list) else {
            return Self::declared(value, file, document).into_iter().collect();
        };
        let mut inside: Vec<Self> =
            items.iter().filter_map(|item| Self::declared(item, file, document)).collect();
        for object in &mut inside {
            object.refusals.push(format!("{file} declares it as an item of a List"));
        }
        inside
    }

    /// The object as declared in one value; `None` when it is no Kubernetes object.
    fn declared(value: &Json, file: &RepoPath, document: usize) -> Option<Self> {
        let kind = object_kind(value)?;
        let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
        Some(Self {
            kind: kind.to_owned(),
            api_version: text(&value["apiVersion"]),
            names: vec![text(&value["metadata"]["name"])],
            namespace: value["metadata"]["namespace"].as_str().map(str::to_owned),
            value: value.clone(),
            declared: Origin { file: file.clone(), document },
            layers: Vec::new(),
            patches: Vec::new(),
            counts: Vec::new(),
            images: Vec::new(),
            refusals: Vec::new(),
            delivered: Vec::new(),
            release: None,
        })
    }

    pub fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// The kustomizations of a repository.
#[derive(Debug)]
pub struct Kustomizations<'a> {
    sources: &'a Sources,
    by_folder: BTreeMap<String, &'a RepoPath>,
    /// Kustomization files that cannot be read: what they include is unknown.
    pub unreadable: Vec<RepoPath>,
    /// Files named by a kustomization; they are not objects of their own.
    pub referenced: BTreeSet<RepoPath>,
}

/// Is this file name one that kustomize looks for?
pub fn is_kustomization_file(path: &RepoPath) -> bool {
    KUSTOMIZATION_FILES.contains(&file_name(path.as_str()))
}

impl<'a> Kustomizations<'a> {
    pub fn find(sources: &'a Sources) -> Self {
        let ours =
            sources.iter().filter(|(path, file)| is_kustomization_file(path) && is_kustomization(file));
        let by_folder: BTreeMap<String, &RepoPath> =
            ours.map(|(path, _)| (folder(path.as_str()).to_owned(), path)).collect();
        let broken = sources.skipped.iter().filter(|s| is_kustomization_file(&s.file));
        let unreadable = broken.map(|s| s.file.clone()).collect();
        let mut found = Self { sources, by_folder, unreadable, referenced: BTreeSet::new() };
        found.referenced = found.all_references().filter_map(|(_, path)| RepoPath::new(path).ok()).collect();
        found
    }

    /// Every path that a kustomization names, resolved: (folder of the kustomization, path).
    fn all_references(&self) -> impl Iterator<Item = (&str, String)> {
        self.by_folder.iter().flat_map(|(dir, file)| {
            let value = self.sources.get(file).and_then(|it| it.values.first());
            let names = value.into_iter().flat_map(references).collect::<Vec<_>>();
            names.into_iter().filter_map(move |name| Some((dir.as_str(), resolve(dir, &name)?)))
        })
    }

    /// Is there a kustomization in `dir` or in a folder above it?
    pub fn governs(&self, dir: &str) -> bool {
        let mut at = dir;
        loop {
            let broken = self.unreadable.iter().any(|file| folder(file.as_str()) == at);
            if broken || self.by_folder.contains_key(at) {
                return true;
            }
            if at.is_empty() {
                return false;
            }
            at = folder(at);
        }
    }

    /// Folders that no other kustomization includes: what Argo CD or Flux would be pointed at.
    pub fn entry_points(&self) -> Vec<String> {
        let included: BTreeSet<String> = self.all_references().map(|(_, path)| path).collect();
        let is_component = |file: &RepoPath| {
            let first = self.sources.get(file).and_then(|it| it.values.first());
            first.is_some_and(|v| v["kind"] == "Component")
        };
        let entries = self.by_folder.iter().filter(|(dir, f)| !included.contains(*dir) && !is_component(f));
        entries.map(|(dir, _)| dir.clone()).collect()
    }
}

/// Renders folders; what it reads is noted by its [`Reader`].
#[derive(Debug)]
pub struct Renderer<'r, 's> {
    reader: &'r Reader<'s>,
    left: usize,
}

impl<'r, 's> Renderer<'r, 's> {
    pub fn new(reader: &'r Reader<'s>) -> Self {
        Self { reader, left: MAX_OBJECTS }
    }

    /// The objects of the kustomization in `dir`; none when there is no kustomization.
    pub fn render(&mut self, dir: &str) -> Vec<Live> {
        self.render_below(dir, 0)
    }

    fn render_below(&mut self, dir: &str, depth: usize) -> Vec<Live> {
        let Some((file, source)) = self.reader.kustomization_in(dir) else { return Vec::new() };
        let [fields] = &source.values[..] else { return Vec::new() };
        let mut refusals = unknown_features(fields, &file);
        self.check_generators(fields, dir, &file, &mut refusals);
        let objects = self.resources(fields, dir, &file, depth, &mut refusals);
        self.apply(objects, fields, dir, &Layer::of_file(&file), refusals)
    }

    /// Runs the transformers of one layer over `objects`. `fields` has the shape of a kustomization, `dir` is
    /// what its paths are relative to; `refusals` hold for every object.
    pub fn apply(
        &self,
        mut objects: Vec<Live>,
        fields: &Json,
        dir: &str,
        layer: &Layer,
        mut refusals: Vec<String>,
    ) -> Vec<Live> {
        self.apply_patches(&mut objects, fields, dir, layer, &mut refusals);
        objects.retain(|o| !o.value.is_null());
        for object in &mut objects {
            rename(object, fields);
            set_counts(object, fields, layer);
            set_images(object, fields, layer);
            object.layers.push(layer.clone());
            object.refusals.extend(refusals.iter().cloned());
        }
        objects
    }

    fn resources(
        &mut self,
        layer: &Json,
        dir: &str,
        file: &RepoPath,
        depth: usize,
        refusals: &mut Vec<String>,
    ) -> Vec<Live> {
        let mut objects = Vec::new();
        for name in strings(&layer["resources"]).chain(strings(&layer["bases"])) {
            if is_remote(name) {
                continue;
            }
            let Some(path) = resolve(dir, name) else {
                refusals.push(format!("{file} includes {name:?}, which is outside the repository"));
                continue;
            };
            if self.reader.kustomization_in(&path).is_some() {
                if depth >= MAX_DEPTH || self.left == 0 {
                    refusals.push(format!(
                        "{file} includes itself, more than {MAX_DEPTH} levels, or {MAX_OBJECTS} objects"
                    ));
                } else {
                    objects.extend(self.render_below(&path, depth + 1));
                }
                continue;
            }
            let path = RepoPath::new(path).ok();
            match path.as_ref().and_then(|p| self.reader.file(p).map(|s| (p, s))) {
                Some((path, source)) => {
                    let all = source.values.iter().enumerate();
                    objects.extend(all.flat_map(|(at, value)| Live::all_declared(value, path, at)));
                }
                None => {
                    let why = path.as_ref().and_then(|p| self.reader.why_skipped(p));
                    let why = why.unwrap_or("is not a readable file or kustomization of the repository");
                    refusals.push(format!("{file} includes {name:?}, which {why}"));
                }
            }
        }
        self.left -= objects.len().min(self.left);
        objects
    }

    /// A generator only adds objects, but what it adds may own a field of the target. ksops adds Secrets; any
    /// other program is unknown.
    fn check_generators(&self, layer: &Json, dir: &str, file: &RepoPath, refusals: &mut Vec<String>) {
        for name in strings(&layer["generators"]) {
            let path = resolve(dir, name).and_then(|p| RepoPath::new(p).ok());
            let source = path.and_then(|p| self.reader.file(&p));
            if !source.is_some_and(|s| s.values.iter().all(|v| v["kind"] == "ksops")) {
                refusals.push(format!("{file} uses generators ({name}), which tars does not render"));
            }
        }
    }

    fn apply_patches(
        &self,
        objects: &mut [Live],
        fields: &Json,
        dir: &str,
        layer: &Layer,
        refusals: &mut Vec<String>,
    ) {
        for entry in patch_entries(fields) {
            let (origin, documents) = match self.patch_documents(&entry, dir, layer) {
                Ok(read) => read,
                Err(why) => {
                    refusals.push(why);
                    continue;
                }
            };
            for (document, value) in documents.iter().enumerate() {
                let origin = origin.clone().map_or_else(
                    || Origin { file: layer.file.clone(), document: layer.document },
                    |path| Origin { file: path, document },
                );
                let inline = matches!(entry.source, PatchSource::Inline(_));
                for object in objects.iter_mut() {
                    match selects(entry.target, value, object) {
                        Ok(true) => apply_patch(object, value, layer, &origin, inline),
                        Ok(false) => {}
                        Err(why) => object.refusals.push(format!("a patch in {layer} {why}")),
                    }
                }
            }
        }
    }

    /// The parsed patch and, when it has one, its own file.
    fn patch_documents(
        &self,
        entry: &PatchEntry<'_>,
        dir: &str,
        layer: &Layer,
    ) -> Result<(Option<RepoPath>, Vec<Json>), String> {
        match entry.source {
            PatchSource::Inline(text) => {
                let documents = yaml::read(text.as_bytes())
                    .map_err(|e| format!("{layer} has an inline patch that cannot be read: {e}"))?;
                Ok((None, documents.iter().map(|d| super::objects::json(&d.root)).collect()))
            }
            PatchSource::File(name) => {
                let path = resolve(dir, name).and_then(|p| RepoPath::new(p).ok());
                let read = path.as_ref().and_then(|p| self.reader.file(p));
                match (path, read) {
                    (Some(path), Some(source)) => Ok((Some(path), source.values.clone())),
                    (path, _) => {
                        let why = path.and_then(|p| self.reader.why_skipped(&p));
                        let why = why.unwrap_or("is not a readable file of the repository");
                        Err(format!("{layer} names the patch {name:?}, which {why}"))
                    }
                }
            }
            PatchSource::Missing => Err(format!("{layer} has a patch without patch or path")),
        }
    }
}

enum PatchSource<'a> {
    Inline(&'a str),
    File(&'a str),
    Missing,
}

struct PatchEntry<'a> {
    target: Option<&'a Json>,
    source: PatchSource<'a>,
}

fn patch_entries(layer: &Json) -> Vec<PatchEntry<'_>> {
    let merges = strings(&layer["patchesStrategicMerge"]).map(|text| PatchEntry {
        target: None,
        source: if text.contains('\n') { PatchSource::Inline(text) } else { PatchSource::File(text) },
    });
    let listed = items(&layer["patches"]).chain(items(&layer["patchesJson6902"])).map(|entry| PatchEntry {
        target: entry.get("target"),
        source: match (entry["patch"].as_str(), entry["path"].as_str()) {
            (Some(text), _) => PatchSource::Inline(text),
            (None, Some(path)) => PatchSource::File(path),
            (None, None) => PatchSource::Missing,
        },
    });
    merges.chain(listed).collect()
}

/// Does a patch apply to `object`? Selectors are anchored regular expressions; without one the patch names
/// its object itself.
fn selects(target: Option<&Json>, patch: &Json, object: &Live) -> Result<bool, String> {
    let Some(target) = target else {
        let named = patch["metadata"]["name"].as_str().unwrap_or_default();
        return Ok(patch["kind"] == *object.kind && object.names.iter().any(|n| n == named));
    };
    let version = object.api_version.rsplit('/').next().unwrap_or_default();
    let name_matches =
        object.names.iter().map(|n| matches(target, "name", n)).collect::<Result<Vec<_>, _>>()?;
    let chosen = matches(target, "kind", &object.kind)?
        && matches(target, "group", object.group())?
        && matches(target, "version", version)?
        && matches(target, "namespace", object.namespace.as_deref().unwrap_or("default"))?
        && name_matches.contains(&true);
    let by_label = ["labelSelector", "annotationSelector"].iter().find(|k| target.get(**k).is_some());
    match by_label {
        Some(key) if chosen => Err(format!("selects by {key}, which tars does not evaluate")),
        _ => Ok(chosen),
    }
}

fn matches(target: &Json, field: &str, text: &str) -> Result<bool, String> {
    let Some(pattern) = target[field].as_str().filter(|p| !p.is_empty()) else { return Ok(true) };
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map(|r| r.is_match(text))
        .map_err(|_| format!("has a target {field} that is not a usable pattern"))
}

fn apply_patch(object: &mut Live, patch: &Json, layer: &Layer, origin: &Origin, inline: bool) {
    let (form, done) = if patch.is_array() {
        (PatchForm::Operations, patches::json6902(&mut object.value, patch))
    } else {
        let mut body = patch.clone();
        if let Some(map) = body.as_object_mut() {
            map.remove("apiVersion");
            map.remove("kind");
            if let Some(metadata) = map.get_mut("metadata").and_then(Json::as_object_mut) {
                metadata.remove("name");
                metadata.remove("namespace");
            }
        }
        let form = if inline { PatchForm::Inline } else { PatchForm::File };
        (form, patches::strategic(&mut object.value, &body, &object.kind))
    };
    if let Err(why) = done {
        object.refusals.push(format!("the patch {} {why}", origin.file));
    }
    object.patches.push(AppliedPatch {
        layer: layer.clone(),
        origin: origin.clone(),
        form,
        value: patch.clone(),
    });
}

fn rename(object: &mut Live, fields: &Json) {
    if let Some(namespace) = fields["namespace"].as_str().filter(|_| !is_cluster_scoped(&object.kind)) {
        object.namespace = Some(namespace.to_owned());
        object.value["metadata"]["namespace"] = Json::from(namespace);
    }
    let prefix = fields["namePrefix"].as_str().unwrap_or_default();
    let suffix = fields["nameSuffix"].as_str().unwrap_or_default();
    if prefix.is_empty() && suffix.is_empty() || object.kind == "CustomResourceDefinition" {
        return;
    }
    let name = format!("{prefix}{}{suffix}", object.name());
    object.value["metadata"]["name"] = Json::from(name.as_str());
    object.names.push(name);
}

/// Kinds that kustomize's `replicas:` changes.
pub fn has_replicas(kind: &str) -> bool {
    matches!(kind, "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController")
}

fn set_counts(object: &mut Live, fields: &Json, layer: &Layer) {
    for entry in items(&fields["replicas"]).filter(|_| has_replicas(&object.kind)) {
        let Some(name) = entry["name"].as_str().filter(|n| object.names.iter().any(|own| own == n)) else {
            continue;
        };
        object.value["spec"]["replicas"] = entry["count"].clone();
        object.counts.push((layer.clone(), name.to_owned()));
    }
}

/// JSON pointers of the pod specs inside an object of a built-in workload kind.
const POD_SPECS: [&str; 3] = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/spec"];

fn set_images(object: &mut Live, fields: &Json, layer: &Layer) {
    for entry in items(&fields["images"]) {
        let Some(wanted) = entry["name"].as_str() else { continue };
        if entry.get("tagSuffix").is_some() {
            object.refusals.push(format!("{layer} uses images.tagSuffix, which tars does not render"));
        }
        for list in
            POD_SPECS.iter().flat_map(|at| ["containers", "initContainers"].map(|l| format!("{at}/{l}")))
        {
            let containers = object.value.pointer_mut(&list).and_then(Json::as_array_mut);
            for container in containers.into_iter().flatten() {
                let image = ImageName::parse(container["image"].as_str().unwrap_or_default());
                if image.repository != wanted {
                    continue;
                }
                container["image"] = Json::from(renamed_image(image, entry).to_string());
                object.images.push(ImageHit {
                    layer: layer.clone(),
                    entry: wanted.to_owned(),
                    container: container["name"].as_str().unwrap_or_default().to_owned(),
                });
            }
        }
    }
}

/// What an `images:` entry makes of an image: a new tag drops the digest, a digest alone drops the tag.
pub fn renamed_image(mut image: ImageName, entry: &Json) -> ImageName {
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    if let Some(name) = text("newName") {
        image.repository = name;
    }
    match (text("newTag"), text("digest")) {
        (None, None) => {}
        (tag, digest) => {
            image.tag = tag;
            image.digest = digest;
        }
    }
    image
}

/// Top-level keys that are modelled here, or that cannot change a field tars edits (labels, generated
/// ConfigMaps and Secrets, metadata of the build).
const KNOWN: [&str; 21] = [
    "apiVersion",
    "kind",
    "metadata",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "replicas",
    "images",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "resources",
    "bases",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "generators",
    "sortOptions",
];

fn unknown_features(layer: &Json, file: &RepoPath) -> Vec<String> {
    let empty = |v: &Json| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    let entries = layer.as_object().into_iter().flatten();
    entries
        .filter(|(key, value)| !KNOWN.contains(&key.as_str()) && *key != "buildMetadata" && !empty(value))
        .map(|(key, _)| format!("{file} uses {key}, which tars does not render"))
        .collect()
}

/// Every path a kustomization names, as written.
fn references(layer: &Json) -> Vec<String> {
    let lists =
        ["resources", "bases", "components", "generators", "transformers", "patchesStrategicMerge", "crds"];
    let direct = lists.iter().flat_map(|key| strings(&layer[*key]));
    let patches = items(&layer["patches"]).chain(items(&layer["patchesJson6902"]));
    let paths = patches.filter_map(|entry| entry["path"].as_str());
    direct.chain(paths).filter(|name| !name.contains('\n')).map(str::to_owned).collect()
}

fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Json) -> impl Iterator<Item = &str> {
    items(value).filter_map(Json::as_str)
}

fn is_remote(name: &str) -> bool {
    name.contains("://")
        || name.contains("?ref=")
        || name.starts_with("github.com/")
        || name.starts_with("git@")
}

/// `name` as seen from `dir`, as a path from the root; `None` when it leaves the repository.
pub fn resolve(dir: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = dir.split('/').filter(|p| !p.is_empty()).collect();
    if name.starts_with('/') {
        return None;
    }
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
