//! From a repository tree to objects, the chain to the cluster, and the place to write. A tree of bytes comes
//! in; workloads, places and rendered objects go out, refusals as reasons. Nothing is written, fetched or
//! guessed: what cannot be rendered with certainty (Helm, unknown Kustomize features) is refused by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::RepoTree;
use crate::model::workload::{ReplicaOwner, Workload};
use crate::yaml;

mod kustomize;
mod objects;
mod owners;
mod patches;
mod place;
#[cfg(test)]
mod tests;
mod values;

pub use objects::{FieldPath, ImageName, Skipped, Step, leaves, unwritten, written};
pub use owners::{RESTARTED_AT, count_at, image_path, restarted_path, template_path};
pub use place::{Place, PlaceForm};
pub use values::field_values;

use kustomize::{Kustomizations, Live};
use objects::{Sources, folder, reference};

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

/// Everything known about the objects of one tree.
#[derive(Debug)]
pub struct Index {
    sources: Sources,
    live: Vec<Live>,
    /// Positions in `live` by reference; more than one means that the reference is ambiguous.
    by_reference: BTreeMap<WorkloadRef, Vec<usize>>,
    /// Kustomizations that cannot be read, with their text: (file, text).
    unreadable: Vec<(RepoPath, String)>,
    /// Unreadable files that speak of an autoscaler: (file, text).
    autoscaler_texts: Vec<(RepoPath, String)>,
    /// Folders of Helm charts.
    charts: Vec<String>,
}

/// Reads a whole tree. Never fails as a whole: unreadable files are listed in [`Index::skipped`].
#[must_use]
pub fn index(tree: &RepoTree) -> Index {
    let sources = Sources::read(tree);
    let text_of = |file: &RepoPath| {
        (file.clone(), tree.bytes(file).map(String::from_utf8_lossy).unwrap_or_default().into_owned())
    };
    let mut kustomizations = Kustomizations::find(&sources);
    let unreadable = kustomizations.unreadable.iter().map(text_of).collect();
    let mut live = plain_objects(&sources, &kustomizations);
    for dir in kustomizations.entry_points() {
        live.extend(kustomizations.render(&dir));
    }
    let autoscaler_texts = sources.skipped.iter().map(|s| text_of(&s.file));
    let autoscaler_texts = autoscaler_texts
        .filter(|(_, text)| text.contains("HorizontalPodAutoscaler") || text.contains("ScaledObject"))
        .collect();
    let mut by_reference: BTreeMap<WorkloadRef, Vec<usize>> = BTreeMap::new();
    for (at, object) in live.iter().enumerate() {
        if let Some(reference) = reference_of(object) {
            by_reference.entry(reference).or_default().push(at);
        }
    }
    Index { live, by_reference, unreadable, autoscaler_texts, charts: objects::chart_folders(tree), sources }
}

/// Objects of files that no kustomization governs or names.
fn plain_objects(sources: &Sources, kustomizations: &Kustomizations<'_>) -> Vec<Live> {
    let plain = sources.files.iter().filter(|(path, _)| {
        !kustomizations.governs(folder(path.as_str())) && !kustomizations.referenced.contains(*path)
    });
    plain
        .flat_map(|(path, file)| {
            let documents = file.values.iter().enumerate();
            documents.flat_map(move |(at, value)| Live::all_declared(value, path, at))
        })
        .collect()
}

/// A refusal to edit, with what stands in the way.
pub fn edit_refused(why: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::EditRefused, why)
}

impl Index {
    /// Files that were not looked into, with the reason.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.sources.skipped
    }

    /// Every object that reaches a cluster under a valid name.
    #[must_use]
    pub fn targets(&self) -> Vec<WorkloadRef> {
        self.by_reference.keys().cloned().collect()
    }

    /// Desired state of `target`. `last_release` and `previous` are `None`: history fills them.
    ///
    /// # Errors
    /// `TargetNotFound`, `AmbiguousTarget` with both files, or `EditRefused` with what cannot be rendered.
    pub fn workload(&self, target: &WorkloadRef) -> Result<Workload, Reason> {
        let live = self.find(target)?;
        if let Some(why) = live.refusals.first() {
            return Err(edit_refused(why.clone()));
        }
        refuse_merge_keys(live)?;
        let replicas = count_at(&live.value, &FieldPath::keys(["spec", "replicas"]))?;
        let owner = self.owner_of(live, target)?;
        let widest = match &owner {
            ReplicaOwner::Autoscaler { max, .. } => *max,
            ReplicaOwner::Workload | ReplicaOwner::Other(_) => replicas.unwrap_or(1),
        };
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
        })
    }

    /// The rendered pod template of `target`, comparable between two commits.
    ///
    /// # Errors
    /// As [`Index::workload`].
    pub fn pod_template(&self, target: &WorkloadRef) -> Result<&Json, Reason> {
        let live = self.find(target)?;
        let template = template_path().find(&live.value);
        template.ok_or_else(|| edit_refused(format!("{target} has no pod template")))
    }

    /// The rendered object.
    ///
    /// # Errors
    /// As [`Index::workload`].
    pub fn object(&self, target: &WorkloadRef) -> Result<&Json, Reason> {
        self.find(target).map(|live| &live.value)
    }

    /// Every file whose change can change this object; empty when the target is not known.
    #[must_use]
    pub fn files_of(&self, target: &WorkloadRef) -> Vec<RepoPath> {
        let mut files = BTreeSet::new();
        for live in self.all(target) {
            files.insert(live.declared.file.clone());
            files.extend(live.layers.iter().cloned());
            files.extend(live.patches.iter().map(|p| p.origin.file.clone()));
        }
        files.into_iter().collect()
    }

    /// Every (file, document) that has a hand in `target`.
    #[must_use]
    pub fn documents_of(&self, target: &WorkloadRef) -> Vec<(RepoPath, usize)> {
        let mut found = BTreeSet::new();
        for live in self.all(target) {
            found.insert((live.declared.file.clone(), live.declared.document));
            found.extend(live.layers.iter().map(|file| (file.clone(), 0)));
            found.extend(live.patches.iter().map(|p| (p.origin.file.clone(), p.origin.document)));
        }
        found.into_iter().collect()
    }

    /// Is the scalar at `path` a whole number that every reader agrees on, written plainly? `010`, `1_000`,
    /// `"3"`, `!!int 3` and `${X}` are not.
    #[must_use]
    pub fn is_plain_count(&self, file: &RepoPath, document: usize, path: &FieldPath) -> bool {
        let Ok(path) = yaml::Path::parse(&path.to_string()) else { return false };
        let source = self.sources.files.get(file).and_then(|s| s.documents.get(document));
        let node = source.and_then(|d| d.root.at(&path).ok());
        node.and_then(yaml::Node::as_scalar).is_some_and(|scalar| {
            let digits = scalar.text.as_bytes();
            scalar.style == yaml::Style::Plain
                && scalar.tag.is_none()
                && (1..=9).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && (digits.len() == 1 || digits[0] != b'0')
        })
    }

    /// Plain value of one document of one file.
    #[must_use]
    pub fn document(&self, file: &RepoPath, document: usize) -> Option<&Json> {
        self.sources.files.get(file)?.values.get(document)
    }

    /// All rendered objects, for the proof that an edit changed what it should and nothing else.
    #[must_use]
    pub fn rendered(&self) -> BTreeMap<RenderedKey, &Json> {
        let mut all = BTreeMap::new();
        for live in &self.live {
            let entry = live.layers.last().unwrap_or(&live.declared.file).clone();
            let object = format!("{}/{}/{}", namespace_of(live), live.kind, live.name());
            let mut key = RenderedKey { object, api_version: live.api_version.clone(), entry, nth: 0 };
            while all.contains_key(&key) {
                key.nth += 1;
            }
            all.insert(key, &live.value);
        }
        all
    }

    /// May `file` be edited? Not when it is a symlink, a submodule, unreadable or encrypted with SOPS.
    ///
    /// # Errors
    /// `EditRefused` with the reason.
    pub fn writable(&self, file: &RepoPath) -> Result<(), Reason> {
        let Some(source) = self.sources.files.get(file) else {
            let why = self.sources.why_skipped(file).unwrap_or("is not a file of the repository");
            return Err(edit_refused(format!("{file} {why}")));
        };
        if source.values.iter().any(|v| v["sops"].is_object()) {
            return Err(edit_refused(format!("{file} is encrypted with SOPS")));
        }
        Ok(())
    }

    fn all(&self, target: &WorkloadRef) -> impl Iterator<Item = &Live> {
        self.by_reference.get(target).into_iter().flatten().filter_map(|&at| self.live.get(at))
    }

    /// The one live object behind `target`.
    fn find(&self, target: &WorkloadRef) -> Result<&Live, Reason> {
        let found: Vec<&Live> = self.all(target).collect();
        match found[..] {
            [live] => Ok(live),
            [] => Err(self.not_found(target)),
            [..] => {
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
                "{target} is no manifest of the repository; it may be produced by Helm: {}",
                helm.join(", ")
            ));
        }
        let skipped = self.sources.skipped.iter().find(|s| s.file.as_str().contains(target.name.as_str()));
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
