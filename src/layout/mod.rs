//! From a repository tree to objects, the chain to the cluster, and the place to write. A tree of bytes comes
//! in; workloads, places and rendered objects go out, refusals as reasons. Nothing is written, fetched or
//! guessed: what cannot be rendered with certainty (Helm, unknown Kustomize features) is refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use crate::model::causes::causes;
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::{RepoTree, Unread};
use crate::model::workload::{ReplicaOwner, Workload};
use crate::sops::{Access, SopsError, SopsFile, Store};

mod address;
mod chain;
mod delivered;
mod delivery;
mod effect;
mod elsewhere;
mod entries;
mod facts;
mod helm;
mod kustomize;
mod marked;
mod objects;
mod owners;
mod patches;
mod place;
mod reader;
mod recent;
mod saved;
mod scalers;
mod sources;
#[cfg(test)]
mod tests;
mod unknown;
mod unrendered;
#[cfg(test)]
mod unrendered_tests;
mod update;
#[cfg(test)]
mod update_tests;
mod values;
mod versions;

pub use address::Address;
pub use chain::Link;
pub use delivered::Bringer;
pub use delivery::{About, Kind as DeliveryKind};
pub use effect::{Effect, Objects};
pub use helm::{HelmJob, HelmRenders, SetValue};
pub use marked::Mark;
pub use objects::{FieldPath, ImageName, Step, json, leaves, unwritten, written};
pub use owners::{RESTARTED_AT, count_at, image_path, restarted_path, template_path};
pub use place::{Place, PlaceForm};
pub use saved::{MAX_SAVED_BYTES, Saved};
pub use sources::{MAX_FILE_BYTES, Skipped, is_yaml};
pub use unknown::Unknown;
pub use unrendered::NamedCount;
pub use update::Change;
pub use values::{ValuePlace, as_leaf};
pub use versions::field_values;

use delivered::{Delivered, Watched};
use entries::{At, Entry, EntryKey, Folders};
use facts::FileFacts;
use kustomize::Live;
use objects::reference;
use recent::Recent;
use sources::Sources;

/// Most bytes of rendered objects that are kept between questions, estimated.
const MAX_RENDERED_BYTES: usize = 16 << 20;

/// A field that a playbook may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Replicas,
    /// `spec.minReplicas`; the target is the HorizontalPodAutoscaler itself.
    AutoscalerMin,
    /// Image of this container.
    Image(String),
    RestartedAt,
}

/// Identity of a rendered object: two overlays may render the same reference, and one reference may exist in
/// two API groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RenderedKey {
    /// `namespace/Kind/name`, also when that is no valid reference.
    pub object: String,
    pub api_version: String,
    /// Outermost kustomization, or the manifest itself.
    pub entry: RepoPath,
    /// Position among objects that are equal in everything above.
    pub nth: usize,
}

/// What is known about the objects of one tree: which there are, through which entry each comes, and what each
/// entry read. The objects themselves are rendered when a question concerns them.
#[derive(Debug)]
pub struct Index {
    sources: Sources,
    /// Facts of every YAML file, also of those that cannot be looked into.
    files: BTreeMap<RepoPath, Arc<FileFacts>>,
    /// By path.
    skipped: Vec<Skipped>,
    /// Files among the skipped ones that speak of an autoscaler.
    hidden: BTreeSet<RepoPath>,
    folders: Folders,
    entries: BTreeMap<EntryKey, Entry>,
    /// Folders whose rendering asked for a path.
    readers: BTreeMap<RepoPath, BTreeSet<Arc<str>>>,
    /// More than one object under a reference means that it is ambiguous.
    by_reference: BTreeMap<Arc<WorkloadRef>, Vec<At>>,
    /// Autoscalers by the name of what they scale.
    autoscalers: BTreeMap<Box<str>, Vec<At>>,
    /// Objects of kinds that are looked for by kind.
    watched: BTreeSet<(Watched, At)>,
    /// What Argo CD and Flux bring.
    delivered: Arc<Delivered>,
    surroundings: Surroundings,
    recent: Mutex<Recent<EntryKey, Arc<[Arc<Live>]>>>,
    /// Files and folders that were looked into and not found among facts.
    fresh: usize,
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy starts without rendered objects; parsed files are shared.
impl Clone for Index {
    fn clone(&self) -> Self {
        Self {
            sources: self.sources.clone(),
            files: self.files.clone(),
            skipped: self.skipped.clone(),
            hidden: self.hidden.clone(),
            folders: self.folders.clone(),
            entries: self.entries.clone(),
            readers: self.readers.clone(),
            by_reference: self.by_reference.clone(),
            autoscalers: self.autoscalers.clone(),
            watched: self.watched.clone(),
            delivered: Arc::clone(&self.delivered),
            surroundings: self.surroundings.clone(),
            recent: Mutex::new(Recent::new(MAX_RENDERED_BYTES)),
            fresh: 0,
        }
    }
}

/// Looks through a whole tree. Never fails as a whole: unreadable files are listed in [`Index::skipped`].
#[cfg(test)]
#[must_use]
pub fn index(tree: &RepoTree) -> Index {
    index_in(tree, &Surroundings::default())
}

/// As [`index`], with what is known beside the tree.
#[cfg(test)]
#[must_use]
pub fn index_in(tree: &RepoTree, surroundings: &Surroundings) -> Index {
    index_with(Arc::new(tree.clone()), &Saved::default(), surroundings)
}

/// What an index is made with beside the tree.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    pub about: About,
    /// What Helm made of the charts so far; it says what it lacks.
    pub helm: HelmRenders,
    /// What may be done with SOPS files.
    pub sops: Arc<Access>,
}

/// Looks through a whole tree without parsing what there are facts for. Charts that Helm has not rendered yet
/// are noted as wanted in the surroundings.
#[must_use]
pub fn index_with(tree: Arc<RepoTree>, saved: &Saved, surroundings: &Surroundings) -> Index {
    let touched = tree.files.keys().cloned().collect();
    let mut index = Index {
        sources: Sources::new(tree, Arc::clone(&surroundings.sops)),
        files: BTreeMap::new(),
        skipped: Vec::new(),
        hidden: BTreeSet::new(),
        folders: Folders::default(),
        entries: BTreeMap::new(),
        readers: BTreeMap::new(),
        by_reference: BTreeMap::new(),
        autoscalers: BTreeMap::new(),
        watched: BTreeSet::new(),
        delivered: Arc::default(),
        surroundings: surroundings.clone(),
        recent: Mutex::new(Recent::new(MAX_RENDERED_BYTES)),
        fresh: saved.fresh,
    };
    index.follow(touched, saved);
    index
}

/// The objects of a file that is an entry.
fn plain_objects(sources: &Sources, path: &RepoPath) -> Vec<Live> {
    let Some(file) = sources.get(path) else { return Vec::new() };
    let documents = file.values.iter().enumerate();
    documents.flat_map(|(at, value)| Live::all_declared(value, path, at)).collect()
}

/// One object and where it stands among all.
#[derive(Debug, Clone)]
struct Found {
    at: At,
    live: Arc<Live>,
}

impl Deref for Found {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

/// A refusal to edit, with what stands in the way.
pub fn edit_refused(why: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::EditRefused, why)
}

/// Why a SOPS file is left alone.
pub fn sops_refused(file: &RepoPath, error: &SopsError) -> Reason {
    let code = match error {
        SopsError::Stranger { .. } | SopsError::Missing { .. } => ReasonCode::UnexpectedRecipients,
        _ => ReasonCode::EditRefused,
    };
    Reason::new(code, format!("{file} is encrypted with SOPS: {}", causes(error)))
}

impl Index {
    /// Files that were not looked into, with the reason.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The tree that this is the index of.
    #[must_use]
    pub fn tree(&self) -> &Arc<RepoTree> {
        self.sources.tree()
    }

    /// Why the object store could not be read, if it could not: then this index is not to be trusted.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.sources.failure()
    }

    /// Every object that reaches a cluster under a valid name.
    #[must_use]
    pub fn targets(&self) -> Vec<WorkloadRef> {
        self.by_reference.keys().map(|it| it.as_ref().clone()).collect()
    }

    /// Desired state of `target`. `last_release` and `previous` are `None`: history fills them.
    ///
    /// # Errors
    /// `TargetNotFound`, `AmbiguousTarget` with both files, or `EditRefused` with what cannot be rendered.
    pub fn workload(&self, target: &WorkloadRef) -> Result<Workload, Reason> {
        let live = self.find(target)?;
        self.editable(&live)?;
        refuse_merge_keys(&live)?;
        let replicas = count_at(&live.value, &FieldPath::keys(["spec", "replicas"]))?;
        let owner = self.owner_of(&live, target)?;
        let widest = match &owner {
            ReplicaOwner::Autoscaler { max, .. } => *max,
            ReplicaOwner::Workload | ReplicaOwner::Other(_) => replicas.unwrap_or(1),
        };
        self.trusted()?;
        Ok(Workload {
            target: target.clone(),
            declared_in: live.declared.file.clone(),
            replicas,
            owner,
            containers: owners::containers(&live.value),
            restarted_at: restarted_path().find(&live.value).and_then(Json::as_str).map(str::to_owned),
            max_unavailable: owners::max_unavailable(&live.kind, &live.value, widest),
            last_release: None,
            previous: None,
            no_release: None,
            unrendered: None,
        })
    }

    /// The rendered pod template of `target`, comparable between two commits.
    ///
    /// # Errors
    /// As [`Index::workload`].
    pub fn pod_template(&self, target: &WorkloadRef) -> Result<Json, Reason> {
        let live = self.find(target)?;
        if let Some(elsewhere) = scalers::template_elsewhere(&live, target) {
            return Err(elsewhere);
        }
        let template = template_path().find(&live.value).cloned();
        template.ok_or_else(|| edit_refused(format!("{target} has no pod template")))
    }

    /// The rendered object.
    ///
    /// # Errors
    /// As [`Index::workload`].
    pub fn object(&self, target: &WorkloadRef) -> Result<Json, Reason> {
        self.find(target).map(|live| live.value.clone())
    }

    /// Every file whose change can change this object; empty when the target is not known.
    #[must_use]
    pub fn files_of(&self, target: &WorkloadRef) -> Vec<RepoPath> {
        let mut files = BTreeSet::new();
        for live in self.all(target) {
            files.insert(live.declared.file.clone());
            files.extend(live.layers.iter().chain(&live.delivered).map(|layer| layer.file.clone()));
            files.extend(live.patches.iter().map(|p| p.text.origin.file.clone()));
            if let Some(release) = &live.release {
                files.extend(release.chart.files.values().map(|(path, _)| path.clone()));
            }
        }
        files.extend(self.layers_behind(target).into_iter().map(|layer| layer.file.clone()));
        files.into_iter().collect()
    }

    /// Every (file, document) that has a hand in `target`.
    #[must_use]
    pub fn documents_of(&self, target: &WorkloadRef) -> Vec<(RepoPath, usize)> {
        let mut found = BTreeSet::new();
        for live in self.all(target) {
            found.insert((live.declared.file.clone(), live.declared.document));
            let layers = live.layers.iter().chain(&live.delivered);
            found.extend(layers.map(|layer| (layer.file.clone(), layer.document)));
            found.extend(live.patches.iter().map(|p| (p.text.origin.file.clone(), p.text.origin.document)));
        }
        let behind = self.layers_behind(target).into_iter();
        found.extend(behind.map(|layer| (layer.file.clone(), layer.document)));
        found.into_iter().collect()
    }

    /// Is the scalar at `at` a whole number that every reader agrees on, written plainly? `010`, `1_000`,
    /// `"3"`, `!!int 3` and `${X}` are not.
    #[must_use]
    pub fn is_plain_count(&self, file: &RepoPath, document: usize, at: &Address) -> bool {
        let source = self.sources.get(file);
        let Some(source) = source else { return false };
        let Some(found) = source.documents.get(document) else { return false };
        let shown = source.values.get(document).and_then(|it| at.find(it));
        if shown != source.written().get(document).and_then(|it| at.find(it)) {
            // sops wrote it, as a whole number.
            return shown.is_some_and(|it| it.is_u64());
        }
        at.is_plain_count(&found.root)
    }

    /// One document of one file as it stands there, encrypted values encrypted.
    #[must_use]
    pub fn document(&self, file: &RepoPath, document: usize) -> Option<Json> {
        self.sources.get(file)?.written().get(document).cloned()
    }

    /// May `file` be edited? Not when it is a symlink, a submodule, unreadable, or a SOPS file that cannot be changed
    /// in a way that sops accepts.
    ///
    /// # Errors
    /// `EditRefused` with the reason; `UnexpectedRecipients`.
    pub fn writable(&self, file: &RepoPath) -> Result<(), Reason> {
        let Some(source) = self.sources.get(file) else {
            let why = self.sources.why_skipped(file).unwrap_or_else(|| Unread::Absent.to_string());
            return Err(edit_refused(format!("{file} {why}")));
        };
        if !source.values.iter().any(|it| it["sops"].is_object()) {
            return Ok(());
        }
        let bytes = self.sources.bytes(file).unwrap_or_else(|| Arc::from(&b""[..]));
        let read = SopsFile::read(Store::of_name(file.as_str()), &bytes);
        read.and_then(|read| self.surroundings.sops.admit(&read)).map_err(|error| sops_refused(file, &error))
    }

    /// What may be done with SOPS files.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.surroundings.sops
    }

    /// Is `file` encrypted with SOPS? Then an edit must keep it valid for sops.
    #[must_use]
    pub fn is_sealed(&self, file: &RepoPath) -> bool {
        self.sources.get(file).is_some_and(|it| it.values.iter().any(|v| v["sops"].is_object()))
    }

    /// A parsed file.
    fn source(&self, file: &RepoPath) -> Option<Arc<sources::SourceFile>> {
        self.sources.get(file)
    }

    /// Answers from an object store that failed are no answers.
    fn trusted(&self) -> Result<(), Reason> {
        self.failure().map_or(Ok(()), |why| {
            Err(edit_refused(format!("an object of the repository could not be read: {why}")))
        })
    }

    /// The objects of an entry.
    fn lives(&self, key: &EntryKey) -> Arc<[Arc<Live>]> {
        if let Some(lives) = locked(&self.recent).get(key) {
            return lives;
        }
        let lives = match key {
            EntryKey::File(path) => plain_objects(&self.sources, path),
            EntryKey::Folder(dir) => update::render_folder(&self.sources, dir).1,
            EntryKey::Delivered => return Arc::clone(&self.delivered.lives),
        };
        self.keep(key, lives)
    }

    fn at(&self, at: &At) -> Option<Found> {
        let live = self.lives(&at.entry).get(at.nth).map(Arc::clone)?;
        Some(Found { at: at.clone(), live })
    }

    fn all(&self, target: &WorkloadRef) -> impl Iterator<Item = Found> {
        self.by_reference.get(target).into_iter().flatten().filter_map(|at| self.at(at))
    }

    /// Every object that comes through an entry which reads `file`.
    fn reading(&self, file: &RepoPath) -> impl Iterator<Item = Found> {
        let shown = |entry: &EntryKey| !self.delivered.covered.contains(entry);
        self.readers_of(file).into_iter().filter(shown).flat_map(|entry| {
            let lives = self.lives(&entry).to_vec();
            let found = move |(nth, live)| Found { at: At { entry: entry.clone(), nth }, live };
            lives.into_iter().enumerate().map(found)
        })
    }

    /// Kustomization files that cannot be read.
    fn broken_kustomizations(&self) -> impl Iterator<Item = RepoPath> {
        let files = self.folders.broken().flat_map(|dir| {
            reader::KUSTOMIZATION_FILES
                .iter()
                .filter_map(|name| RepoPath::new(reader::inside(dir, name)).ok())
        });
        files.filter(|file| self.files.get(file).is_some_and(|facts| facts.unreadable.is_some()))
    }

    /// The one live object behind `target`.
    fn find(&self, target: &WorkloadRef) -> Result<Found, Reason> {
        let mut found: Vec<Found> = self.all(target).take(11).collect();
        self.trusted()?;
        match found.len() {
            0 => Err(self.not_found(target)),
            1 => Ok(found.remove(0)),
            _ => {
                let places = found.iter().map(|l| match l.layers.last() {
                    Some(entry) => format!("{} (through {entry})", l.declared.file),
                    None => l.declared.file.to_string(),
                });
                let places: Vec<String> = places.take(10).collect();
                let text = format!("{target} is declared more than once: {}", places.join(", "));
                Err(Reason::new(ReasonCode::AmbiguousTarget, text))
            }
        }
    }

    fn not_found(&self, target: &WorkloadRef) -> Reason {
        let helm = self.helm_candidates(target);
        if !helm.is_empty() {
            return edit_refused(format!(
                "{target} is no manifest of the repository; it may be produced by {}{}",
                helm.join(", or by "),
                self.write_to_line(target)
            ));
        }
        let skipped = self.skipped.iter().find(|s| s.file.as_str().contains(target.name.as_str()));
        if let Some(Skipped { file, why }) = skipped {
            return edit_refused(format!("{target} is not declared in a readable file, and {file} {why}"));
        }
        let same = self.targets().into_iter().filter(|t| t.name == target.name && t.kind == target.kind);
        let close: Vec<String> = same.take(5).map(|t| t.to_string()).collect();
        let hint = if close.is_empty() { String::new() } else { format!("; found {}", close.join(", ")) };
        Reason::new(ReasonCode::TargetNotFound, format!("{target} is not declared in the repository{hint}"))
    }
}

fn namespace_of(live: &Live) -> &str {
    live.namespace.as_deref().unwrap_or("default")
}

fn reference_of(live: &Live) -> Option<WorkloadRef> {
    reference(namespace_of(live), &live.kind, live.name())
}

/// A merge key hides fields from this index; what it brings in is not known here.
fn refuse_merge_keys(live: &Live) -> Result<(), Reason> {
    let hides = |at: &str| live.value.pointer(at).is_some_and(|v| !v["<<"].is_null());
    if ["", "/spec", "/spec/template", "/spec/template/spec"].into_iter().any(hides) {
        return Err(edit_refused(format!("{} uses a YAML merge key (<<)", live.declared.file)));
    }
    Ok(())
}
