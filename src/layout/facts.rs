//! What the index remembers of files and objects without their values: enough to know which entry a question
//! concerns. Parsed files and rendered objects come in, small facts go out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kustomize::{Live, is_kustomization_file, references};
use super::reader::is_kustomization;
use super::reference_of;
use super::sources::{SourceFile, Sources};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::tree::{BlobId, EntryMode, TreeFile, Unread};

/// What the facts of a file depend on besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileRole {
    Manifest,
    Kustomization,
    /// Inside a Helm chart's folder of templates.
    Template,
}

/// What is remembered of one file. It follows from its bytes and its [`FileRole`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileFacts {
    /// Why it cannot be looked into.
    pub unreadable: Option<Box<str>>,
    /// It cannot be looked into, and its text speaks of an autoscaler.
    pub names_autoscaler: bool,
    pub kustomization: Option<Box<KustomizationFacts>>,
    /// Objects it declares, in order, whether or not they reach a cluster from here.
    pub objects: Box<[ObjectFacts]>,
}

/// What a kustomization file says about other files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KustomizationFacts {
    /// A component is never rendered alone.
    pub component: bool,
    /// Every path it names, as written.
    pub references: Vec<String>,
}

/// What is remembered of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// `None` when a name could not exist in a cluster.
    pub reference: Option<Arc<WorkloadRef>>,
    /// Name of the workload that an autoscaler scales.
    pub scales: Option<Box<str>>,
}

/// Facts known from earlier, by content.
pub type KnownFiles = BTreeMap<(BlobId, FileRole), Arc<FileFacts>>;

/// The facts of `file`, which stands at `path`, if they are known.
pub fn known_of(
    sources: &Sources,
    path: &RepoPath,
    file: &TreeFile,
    known: &KnownFiles,
) -> Option<Arc<FileFacts>> {
    if !matches!(file.mode, EntryMode::File | EntryMode::Executable) {
        return None;
    }
    known.get(&(file.blob, role_of(sources, path))).map(Arc::clone)
}

/// The facts of the file at `path`, which is a YAML file of the tree.
pub fn of_file(sources: &Sources, path: &RepoPath) -> Arc<FileFacts> {
    let Some(file) = sources.file(path) else { return Arc::default() };
    let unreadable = |why: &str| Arc::new(FileFacts { unreadable: Some(why.into()), ..Default::default() });
    match file.mode {
        EntryMode::Symlink => return unreadable(&Unread::Symlink.to_string()),
        EntryMode::Submodule => return unreadable(&Unread::Submodule.to_string()),
        EntryMode::File | EntryMode::Executable => {}
    }
    match sources.read(path) {
        None => Arc::default(),
        Some(Ok(source)) => Arc::new(of_source(&source, path)),
        Some(Err(why)) => {
            let names_autoscaler = sources.text(path).is_ok_and(|text| speaks_of_autoscaler(&text));
            Arc::new(FileFacts { unreadable: Some((*why).into()), names_autoscaler, ..Default::default() })
        }
    }
}

/// What the facts of `path` depend on besides its bytes.
pub fn role_of(sources: &Sources, path: &RepoPath) -> FileRole {
    if sources.is_template(path) {
        FileRole::Template
    } else if is_kustomization_file(path) {
        FileRole::Kustomization
    } else {
        FileRole::Manifest
    }
}

fn of_source(source: &SourceFile, path: &RepoPath) -> FileFacts {
    let first = source.values.first();
    let ours = is_kustomization_file(path) && is_kustomization(source);
    let kustomization = ours.then(|| {
        Box::new(KustomizationFacts {
            component: first.is_some_and(|it| it["kind"] == "Component"),
            references: first.map(references).unwrap_or_default(),
        })
    });
    let lives = source.values.iter().enumerate().flat_map(|(at, it)| Live::all_declared(it, path, at));
    let objects = lives.map(|live| ObjectFacts::of(&live)).collect();
    FileFacts { unreadable: None, names_autoscaler: false, kustomization, objects }
}

fn speaks_of_autoscaler(text: &str) -> bool {
    text.contains("HorizontalPodAutoscaler") || text.contains("ScaledObject")
}

impl ObjectFacts {
    pub fn of(live: &Live) -> Self {
        let spec = &live.value["spec"];
        let scales = matches!(live.kind.as_str(), "HorizontalPodAutoscaler" | "ScaledObject")
            .then(|| spec["scaleTargetRef"]["name"].as_str().map(Box::from));
        Self { reference: reference_of(live).map(Arc::new), scales: scales.flatten() }
    }
}
