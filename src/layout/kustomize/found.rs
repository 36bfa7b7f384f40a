//! Which kustomizations a repository has, what they name, and which of them nobody includes. Parsed files come
//! in, folders and paths go out; nothing is rendered here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::super::objects::{Sources, file_name, folder};
use super::super::reader::{KUSTOMIZATION_FILES, is_kustomization};
use super::{items, resolve, strings};
use crate::model::ids::RepoPath;

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

/// Every path a kustomization names, as written.
fn references(layer: &Json) -> Vec<String> {
    let lists = [
        "resources",
        "bases",
        "components",
        "generators",
        "transformers",
        "validators",
        "configurations",
        "patchesStrategicMerge",
        "crds",
    ];
    let direct = lists.iter().flat_map(|key| strings(&layer[*key]));
    let patches = items(&layer["patches"]).chain(items(&layer["patchesJson6902"]));
    let paths = patches.filter_map(|entry| entry["path"].as_str());
    direct.chain(paths).filter(|name| !name.contains('\n')).map(str::to_owned).collect()
}
