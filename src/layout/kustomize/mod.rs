//! Renders Kustomize directories to the objects a cluster would get, and remembers for each object which
//! files had a hand in it. Parsed files come in, live objects with their provenance go out. What is not
//! modelled is noted as a refusal on every object, or every field, it might affect; nothing is guessed.
//!
//! Order inside one kustomization (kustomize 5, `accumulateTarget` and `configureBuiltinTransformers`):
//! resources, generators, components (each changes everything so far); then `patchesStrategicMerge`,
//! `patches`, namespace, prefix and suffix, labels, annotations, `patchesJson6902`, `replicas`, `images`,
//! `replacements`. Hashes and name references come last, once, at the outermost folder.

use std::cell::Cell;

use serde_json::Value as Json;

use super::objects::{FieldPath, Step, file_name, leaves};
use super::reader::Reader;
use crate::model::ids::RepoPath;

mod fields;
mod found;
mod generate;
mod live;
mod names;
#[cfg(test)]
mod oracle;
mod patch;
mod replace;
mod select;
mod transform;
#[cfg(test)]
mod trees;

pub use found::{is_kustomization_file, references};
pub use live::{AppliedPatch, Doubt, ImageHit, Layer, Live, Origin, PatchForm, PatchText};
pub use patch::place_in;
pub use transform::has_replicas;

/// Deepest chain of bases; real ones have two or three.
const MAX_DEPTH: usize = 16;
/// Most objects rendered from one repository; bases that include each other twice grow exponentially.
const MAX_OBJECTS: usize = 50_000;
/// Most bytes a compiled `target:` pattern may take.
const MAX_PATTERN_BYTES: usize = 1 << 16;

/// Renders folders; what it reads is noted by its [`Reader`].
#[derive(Debug)]
pub struct Renderer<'r, 's> {
    reader: &'r Reader<'s>,
    left: usize,
    /// Something was included that is not in the repository.
    incomplete: Cell<bool>,
    /// Some layer has `vars`.
    vars: Cell<bool>,
}

impl<'r, 's> Renderer<'r, 's> {
    pub fn new(reader: &'r Reader<'s>) -> Self {
        Self { reader, left: MAX_OBJECTS, incomplete: Cell::new(false), vars: Cell::new(false) }
    }

    /// The objects of the kustomization in `dir` as they reach a cluster; none when there is no kustomization.
    pub fn render(&mut self, dir: &str) -> Vec<Live> {
        let mut objects = self.accumulate(dir);
        self.finish(&mut objects);
        objects
    }

    /// The objects of `dir` before hashes and name references, for [`Renderer::apply`] to go on with.
    pub fn accumulate(&mut self, dir: &str) -> Vec<Live> {
        self.incomplete.set(false);
        self.vars.set(false);
        self.below(dir, Vec::new(), 0)
    }

    /// The last steps, once for each entry point: hashes in names, name references, variables, and local objects.
    pub fn finish(&self, objects: &mut Vec<Live>) {
        objects.iter_mut().for_each(generate::add_hash);
        names::fix_references(objects);
        for object in objects.iter_mut().filter(|_| self.vars.get()) {
            let Some(layer) = object.layers.last().cloned() else { continue };
            let spoken = leaves(&object.value)
                .into_iter()
                .filter(|(_, v)| v.as_str().is_some_and(|t| t.contains("$(")));
            for (field, _) in spoken.collect::<Vec<_>>() {
                object.doubt(&layer, field, "a variable of Kustomize (vars) may fill it", false);
            }
        }
        objects.iter_mut().for_each(doubt_spread);
        objects.retain(|o| {
            let local = &o.value["metadata"]["annotations"]["config.kubernetes.io/local-config"];
            local.is_null() || *local == "false"
        });
    }

    /// `before`: the objects that a component changes; empty for a kustomization.
    fn below(&mut self, dir: &str, before: Vec<Live>, depth: usize) -> Vec<Live> {
        let Some((file, source)) = self.reader.kustomization_in(dir) else { return before };
        // A layer counts as an object: a few that only include each other many times have no end otherwise.
        self.left = self.left.saturating_sub(1);
        let [fields] = &source.values[..] else { return before };
        let mut refusals = unknown_features(fields, &file);
        let mut objects = before;
        self.resources(&mut objects, fields, (dir, &file), depth, &mut refusals);
        for made in generate::generated(self.reader, fields, dir, &file) {
            if let Err(why) = made.and_then(|(made, behavior)| generate::absorb(&mut objects, made, behavior))
            {
                refusals.push(why);
            }
        }
        objects = self.with_components(objects, fields, (dir, &file.to_string()), depth, &mut refusals);
        self.note_unseen(&mut objects, fields, dir, &file);
        self.apply(objects, fields, dir, &Layer::of_file(&file), refusals)
    }

    /// Every component that `fields` names changes the objects so far. `from`: the folder that its paths are
    /// relative to, and who names it.
    pub fn with_components(
        &mut self,
        mut objects: Vec<Live>,
        fields: &Json,
        from: (&str, &str),
        depth: usize,
        refusals: &mut Vec<String>,
    ) -> Vec<Live> {
        let (dir, who) = from;
        for name in strings(&fields["components"]) {
            let known = resolve(dir, name).filter(|path| self.reader.kustomization_in(path).is_some());
            match known {
                Some(path) if depth < MAX_DEPTH && self.left > 0 => {
                    objects = self.below(&path, objects, depth + 1);
                }
                _ => refusals.push(format!("{who} uses components, and {name:?} cannot be read")),
            }
        }
        objects
    }

    /// Runs the transformers of one layer over `objects`. `fields` has the shape of a kustomization, `dir` is
    /// what its paths are relative to; `refusals` hold for every object. Objects that are to be changed further
    /// come from [`Renderer::accumulate`] and go to [`Renderer::finish`].
    pub fn apply(
        &self,
        mut objects: Vec<Live>,
        fields: &Json,
        dir: &str,
        layer: &Layer,
        mut refusals: Vec<String>,
    ) -> Vec<Live> {
        let (read, complete) = ((self.reader, dir), !self.incomplete.get());
        patch::apply(&patch::early(fields), &mut objects, read, layer, complete, &mut refusals);
        for object in &mut objects {
            transform::set_namespace(object, fields);
            transform::rename(object, fields);
            transform::set_metadata(object, fields, layer);
        }
        patch::apply(&patch::late(fields), &mut objects, read, layer, complete, &mut refusals);
        for object in &mut objects {
            transform::set_counts(object, fields, layer);
            transform::set_images(object, fields, layer);
        }
        let names = items(&fields["replicas"]).filter_map(|entry| entry["name"].as_str());
        let idle = |name: &&str| {
            !objects.iter().any(|o| o.counts.iter().any(|c| c.layer == *layer && c.name == *name))
        };
        if let Some(name) = names.filter(|_| complete).find(idle) {
            refusals.push(format!(
                "kustomize stops at the replicas entry {name:?} of {layer}, which matches no object"
            ));
        }
        refusals.extend(replace::apply(self.reader, fields, dir, &mut objects, layer));
        if items(&fields["vars"]).next().is_some() {
            self.vars.set(true);
        }
        for object in &mut objects {
            object.layers.push(layer.clone());
            object.refusals.extend(refusals.iter().cloned());
            custom_kinds(object, fields, layer);
        }
        objects
    }

    fn resources(
        &mut self,
        objects: &mut Vec<Live>,
        fields: &Json,
        (dir, file): (&str, &RepoPath),
        depth: usize,
        refusals: &mut Vec<String>,
    ) {
        let before = objects.len();
        for name in strings(&fields["resources"]).chain(strings(&fields["bases"])) {
            if is_remote(name) {
                self.incomplete.set(true);
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
                    let below = self.below(&path, Vec::new(), depth + 1);
                    objects.extend(below);
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
                    let why =
                        why.as_deref().unwrap_or("is not a readable file or kustomization of the repository");
                    refusals.push(format!("{file} includes {name:?}, which {why}"));
                    self.incomplete.set(true);
                }
            }
        }
        self.left -= (objects.len() - before).min(self.left);
    }

    /// What brings objects that are not in the repository: it can change no object of the repository, but what it
    /// brings may be an autoscaler. ksops brings Secrets only.
    fn note_unseen(&self, objects: &mut [Live], fields: &Json, dir: &str, file: &RepoPath) {
        let mut unseen = Vec::new();
        for name in strings(&fields["generators"]) {
            let path = resolve(dir, name).and_then(|p| RepoPath::new(p).ok());
            let source = path.and_then(|p| self.reader.file(&p));
            if !source.is_some_and(|s| s.values.iter().all(|v| v["kind"] == "ksops")) {
                unseen.push(format!("{file} uses generators ({name})"));
            } else {
                self.incomplete.set(true);
            }
        }
        for key in ["helmCharts", "helmChartInflationGenerator"] {
            if items(&fields[key]).next().is_some() {
                unseen.push(format!("{file} uses {key}"));
            }
        }
        for name in
            strings(&fields["resources"]).chain(strings(&fields["bases"])).filter(|name| is_remote(name))
        {
            unseen.push(format!("{file} includes {name}"));
        }
        if unseen.is_empty() {
            return;
        }
        self.incomplete.set(true);
        for object in objects {
            object.unseen.extend(unseen.iter().cloned());
        }
    }
}

/// kustomize writes a label into all its places as one value that they share: whoever sets it in one place later
/// may change it in all. Where the places differ here, nobody can say what they are.
fn doubt_spread(object: &mut Live) {
    let Some(layer) = object.layers.last().cloned() else { return };
    let all = leaves(&object.value);
    for name in std::mem::take(&mut object.spread) {
        let is_it = |path: &FieldPath| path.0.last() == Some(&Step::Key(name.clone()));
        let found: Vec<(&FieldPath, &Json)> = all.iter().filter(|(path, _)| is_it(path)).collect();
        if found.windows(2).any(|pair| pair[0].1 != pair[1].1) {
            for (path, _) in found {
                object.doubt(
                    &layer,
                    path.clone(),
                    "it is set in several places that kustomize keeps as one",
                    false,
                );
            }
        }
    }
}

/// `crds` teach kustomize where custom resources hold names; the built-in kinds stay as they are. Build metadata
/// goes into annotations and labels.
fn custom_kinds(object: &mut Live, fields: &Json, layer: &Layer) {
    let built_in = |group: &str| !group.contains('.') || group.ends_with(".k8s.io");
    if items(&fields["crds"]).next().is_some() && !built_in(object.group_version().0) {
        object
            .refusals
            .push(format!("{layer} uses crds, which may change this kind in a way tars does not render"));
    }
    if items(&fields["buildMetadata"]).next().is_some() {
        for key in ["labels", "annotations"] {
            let field = FieldPath::keys(["metadata", key]);
            object.doubt(layer, field, format!("buildMetadata of {layer} adds to it"), false);
        }
    }
}

/// Top-level keys that are modelled here, or that change no object.
const KNOWN: [&str; 32] = [
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
    "components",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "generators",
    "replacements",
    "vars",
    "crds",
    "helmCharts",
    "helmGlobals",
    "helmChartInflationGenerator",
    "sortOptions",
    "buildMetadata",
    // Validators may look and stop the build; they change nothing.
    "validators",
    "inventory",
    "$schema",
];

fn unknown_features(layer: &Json, file: &RepoPath) -> Vec<String> {
    let empty = |v: &Json| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    let entries = layer.as_object().into_iter().flatten();
    entries
        .filter(|(key, value)| !KNOWN.contains(&key.as_str()) && !empty(value))
        .map(|(key, _)| format!("{file} uses {key}, which tars does not render"))
        .collect()
}

pub fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

pub fn strings(value: &Json) -> impl Iterator<Item = &str> {
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
