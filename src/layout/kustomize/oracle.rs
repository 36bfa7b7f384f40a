//! The real kustomize as the judge: whole trees are built by it and rendered here, and every object that is not
//! refused must be equal, field by field. Trees are the repository's own examples, the fixtures, and generated
//! ones.
#![allow(clippy::disallowed_methods, reason = "a test that starts kustomize and reads fixtures")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use super::super::Index;
use super::super::entries::EntryKey;
use super::super::objects::{FieldPath, Step, json, leaves};
use super::super::update::render_folder;
use super::Live;
use super::trees::generated_trees;
use crate::model::fixtures::oid;
use crate::model::ids::RepoPath;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};
use crate::yaml;

/// Generated trees in an ordinary run.
const TREES: u64 = 430;
/// Most characters of a difference that are shown.
const SHOWN: usize = 1500;

type Files = BTreeMap<String, String>;
type Objects = BTreeMap<String, Json>;

/// The pinned kustomize of `tests/install-parts`; a missing one is a loud skip, and a failure where `CI=true`.
fn kustomize() -> Option<PathBuf> {
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts");
    let installed = std::fs::read_dir(parts).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        installed.map(|dir| dir.join("bin/kustomize")).filter(|bin| bin.is_file()).collect();
    found.sort();
    if found.is_empty() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "kustomize is missing; run tests/install-parts"
        );
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"SKIP kustomize is missing; run tests/install-parts\n",
        );
    }
    found.pop()
}

fn repository(files: &Files) -> RepoTree {
    let entry = |(path, text): (&String, &String)| {
        (RepoPath::new(path.as_str()).unwrap(), TreeFile::held(EntryMode::File, text.as_bytes()))
    };
    RepoTree::held(oid('a'), files.iter().map(entry).collect())
}

/// What kustomize makes of a folder; `Err` with what it says when it stops.
fn built(kustomize: &Path, root: &Path, dir: &str) -> Result<Objects, String> {
    let output = Command::new(kustomize).arg("build").arg(root.join(dir)).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let documents = yaml::read(&output.stdout).unwrap();
    Ok(documents.iter().map(|d| plain(json(&d.root))).map(|value| (key(&value), value)).collect())
}

fn key(value: &Json) -> String {
    let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
    let metadata = &value["metadata"];
    let id = [&value["apiVersion"], &value["kind"], &metadata["namespace"], &metadata["name"]];
    id.map(text).join("/")
}

/// Without nulls, which mean nothing in Kubernetes.
fn plain(mut value: Json) -> Json {
    match &mut value {
        Json::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(|v| *v = plain(v.take()));
        }
        Json::Array(items) => items.iter_mut().for_each(|v| *v = plain(v.take())),
        _ => {}
    }
    value
}

fn without(value: &mut Json, path: &[Step]) {
    let Some((last, above)) = path.split_last() else {
        *value = Json::Null;
        return;
    };
    let mut at = value;
    for step in above {
        let next = match step {
            Step::Key(key) => at.get_mut(key),
            Step::Named(name) => at.as_array_mut().and_then(|l| l.iter_mut().find(|i| i["name"] == **name)),
            Step::At(index) => at.get_mut(index),
        };
        let Some(next) = next else { return };
        at = next;
    }
    match (last, at) {
        (Step::Key(key), Json::Object(map)) => {
            map.remove(key);
        }
        (Step::Named(name), Json::Array(items)) => items.retain(|item| item["name"] != **name),
        (Step::At(index), Json::Array(items)) if *index < items.len() => items[*index] = Json::Null,
        _ => {}
    }
}

/// What the comparison of one folder found.
#[derive(Debug, Default)]
struct Tally {
    folders: usize,
    stopped: usize,
    equal: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn compare(&mut self, name: &str, expected: &Objects, live: &[Live]) {
        let mut seen = BTreeSet::new();
        for object in live {
            let id = key(&object.value);
            let known = expected.get(&id);
            seen.insert(id.clone());
            if !object.refusals.is_empty() {
                self.refused += 1;
                continue;
            }
            let (mut ours, mut theirs) = (plain(object.value.clone()), known.cloned().unwrap_or_default());
            for doubt in object.doubts.iter().filter(|d| !d.rendered) {
                without(&mut ours, &doubt.field.0);
                without(&mut theirs, &doubt.field.0);
            }
            if ours == theirs {
                self.equal += 1;
            } else {
                let first = difference(&ours, &theirs, &mut FieldPath::default());
                self.wrong.push(format!("{name}: {id}: {}", first.unwrap_or_default()));
            }
        }
        let any_refused = live.iter().any(|o| !o.refusals.is_empty());
        for id in expected.keys().filter(|id| !seen.contains(*id) && !any_refused) {
            self.wrong.push(format!("{name}: {id} is missing"));
        }
    }

    #[track_caller]
    fn check(&self) {
        let shown: String =
            self.wrong.iter().take(12).map(|w| format!("{}\n", &w[..w.len().min(SHOWN)])).collect();
        assert!(self.wrong.is_empty(), "{} objects differ from kustomize:\n{shown}", self.wrong.len());
    }
}

fn difference(ours: &Json, theirs: &Json, at: &mut FieldPath) -> Option<String> {
    match (ours, theirs) {
        (Json::Object(a), Json::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let mut below = at.clone().key(key);
            let null = Json::Null;
            difference(a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), &mut below)
        }),
        (a, b) if a == b => None,
        (a, b) => Some(format!("{at}: tars {a}, kustomize {b}")),
    }
}

/// Folders whose kustomization nobody includes.
fn folders(index: &Index) -> Vec<String> {
    let keys = index.entries.keys().filter_map(|key| match key {
        EntryKey::Folder(dir) => Some(dir.to_string()),
        EntryKey::File(_) => None,
    });
    keys.collect()
}

/// Builds and renders the folders of a tree that nobody includes.
fn judge(kustomize: &Path, name: &str, root: &Path, files: &Files, tally: &mut Tally) {
    let index = super::super::index(&repository(files));
    for dir in folders(&index) {
        let (_, live) = render_folder(&index.sources, &dir);
        tally.folders += 1;
        match built(kustomize, root, &dir) {
            Ok(expected) => tally.compare(&format!("{name} {dir}"), &expected, &live),
            Err(why) => {
                tally.stopped += 1;
                if std::env::var_os("TARS_KUSTOMIZE_SHOW").is_some() {
                    let _ = std::io::Write::write_all(
                        &mut std::io::stderr(),
                        format!("{name}: {why}\n").as_bytes(),
                    );
                }
            }
        }
    }
}

fn read_tree(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text);
            }
        }
    }
    files
}

#[test]
fn every_example_and_fixture_renders_as_kustomize_renders_it() {
    let Some(kustomize) = kustomize() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut trees = vec![root.join("gitops-example")];
    for case in std::fs::read_dir(root.join("tests/fixtures/edits")).unwrap() {
        let case = case.unwrap().path();
        trees.extend(
            ["before", "expected", "good"].map(|part| case.join(part)).into_iter().filter(|p| p.is_dir()),
        );
    }
    let mut tally = Tally::default();
    for tree in trees {
        let name = tree.strip_prefix(root).unwrap().display().to_string();
        judge(&kustomize, &name, &tree, &read_tree(&tree), &mut tally);
    }
    tally.check();
    assert!(tally.folders > 10 && tally.equal > 10, "{tally:?}");
    // One fixture names a generator program, before and after, which kustomize does not start by itself.
    assert!(tally.stopped <= 2, "kustomize stops at {} of {} folders", tally.stopped, tally.folders);
}

#[test]
fn an_edit_changes_one_field_of_what_kustomize_builds() {
    let Some(kustomize) = kustomize() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/edits");
    let mut checked = 0;
    for case in std::fs::read_dir(root).unwrap() {
        let case = case.unwrap().path();
        if !case.is_dir() {
            continue;
        }
        let dirs = folders(&super::super::index(&repository(&read_tree(&case.join("before")))));
        let mut changed = Vec::new();
        for dir in &dirs {
            let build = |part: &str| built(&kustomize, &case.join(part), dir);
            let (Ok(before), Ok(after)) = (build("before"), build("expected")) else { continue };
            assert!(before.keys().eq(after.keys()), "{}", case.display());
            for (id, old) in &before {
                let (old, new) = (leaves(old), leaves(&after[id]));
                let paths: BTreeSet<&FieldPath> = old.keys().chain(new.keys()).collect();
                let differs = paths.into_iter().filter(|path| old.get(*path) != new.get(*path));
                changed.extend(differs.map(|path| format!("{id} {path}")));
            }
        }
        let many =
            case.ends_with("rollback-pod-template") || case.ends_with("scale-out-complaint-generators-kept");
        if !dirs.is_empty() && !many {
            assert_eq!(changed.len(), 1, "{}: {changed:?}", case.display());
            checked += 1;
        }
    }
    assert!(checked >= 15, "only {checked} cases have kustomizations");
}

#[test]
fn generated_trees_render_as_kustomize_renders_them() {
    let Some(kustomize) = kustomize() else { return };
    let seed = std::env::var("TARS_KUSTOMIZE_SEED").ok().and_then(|s| s.parse().ok());
    let seeds: Vec<u64> = seed.map_or_else(|| (0..TREES).collect(), |seed| vec![seed]);
    let mut tally = Tally::default();
    for seed in seeds {
        let files = generated_trees(seed);
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in &files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        judge(&kustomize, &format!("seed {seed}"), folder.path(), &files, &mut tally);
    }
    tally.check();
    if seed.is_none() {
        let Tally { folders, stopped, equal, refused, .. } = &tally;
        assert!(stopped * 3 < *folders, "kustomize stops at {stopped} of {folders}");
        assert!(refused * 10 < *equal, "{refused} objects are refused, {equal} are equal");
    }
}
