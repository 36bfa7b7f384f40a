//! An object on its way to a cluster: what it is now, what it was called before, and who had a hand in it.
//! Declared values come in; identities as kustomize compares them go out. Nothing is transformed here.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::super::objects::{FieldPath, Step, object_kind};
use crate::model::ids::RepoPath;

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
    pub fn of_file(file: &RepoPath) -> Self {
        Self { file: file.clone(), document: 0, at: FieldPath::default() }
    }

    /// A path inside this layer's fields as a path inside its document.
    #[must_use]
    pub fn path(&self, inside: impl IntoIterator<Item = Step>) -> FieldPath {
        FieldPath(self.at.0.iter().cloned().chain(inside).collect())
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

/// Where the text of a patch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchText {
    pub origin: Origin,
    /// The string of the document that holds the patch, and the document inside that string.
    pub inside: Option<(FieldPath, usize)>,
}

/// One value that a JSON 6902 operation wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetBy {
    /// The field of the object.
    pub field: FieldPath,
    /// The value in the list of operations; `None` when the operation does not spell it (`copy`, `remove`).
    pub value_at: Option<FieldPath>,
}

/// How a patch says what it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchForm {
    /// A strategic merge document.
    Merge,
    /// JSON 6902 operations, with what each of them wrote.
    Operations(Vec<SetBy>),
}

/// A patch that changed an object.
#[derive(Debug, Clone)]
pub struct AppliedPatch {
    pub layer: Layer,
    pub text: PatchText,
    pub form: PatchForm,
    pub value: Json,
}

/// An `images:` entry that changed a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHit {
    pub layer: Layer,
    /// Position in the list.
    pub index: usize,
    /// Name in the entry.
    pub entry: String,
    pub container: String,
}

/// A `replicas:` entry that set the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountHit {
    pub layer: Layer,
    pub name: String,
}

/// A field that cannot be edited with certainty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The layer whose doing it is: layers above it may set the field anew.
    pub layer: Layer,
    pub field: FieldPath,
    pub why: String,
    /// Is the rendered value right all the same?
    pub rendered: bool,
}

/// What kustomize tells objects apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub kind: String,
    /// Empty for cluster-scoped kinds, `default` when there is none.
    pub namespace: String,
    pub name: String,
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
    /// Made by `configMapGenerator` or `secretGenerator`: its fields stand nowhere.
    pub generated: bool,
    /// Its name gets a hash of its content at the end.
    pub hashed: bool,
    /// What it was before each renaming.
    pub previous: Vec<Identity>,
    pub prefixes: Vec<String>,
    pub suffixes: Vec<String>,
    /// Layers it went through, innermost first; empty for a plain manifest.
    pub layers: Vec<Layer>,
    pub patches: Vec<AppliedPatch>,
    pub counts: Vec<CountHit>,
    pub images: Vec<ImageHit>,
    /// Labels and annotations that a transformer wrote in several places.
    pub spread: BTreeSet<String>,
    pub doubts: Vec<Doubt>,
    /// Parts of its kustomizations whose objects nobody can see here: one may be an autoscaler.
    pub unseen: Vec<String>,
    /// Why this object cannot be edited with certainty.
    pub refusals: Vec<String>,
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
    pub fn declared(value: &Json, file: &RepoPath, document: usize) -> Option<Self> {
        let kind = object_kind(value)?;
        let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
        Some(Self {
            kind: kind.to_owned(),
            api_version: text(&value["apiVersion"]),
            names: vec![text(&value["metadata"]["name"])],
            namespace: value["metadata"]["namespace"].as_str().map(str::to_owned),
            value: value.clone(),
            declared: Origin { file: file.clone(), document },
            generated: false,
            hashed: false,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            layers: Vec::new(),
            patches: Vec::new(),
            counts: Vec::new(),
            images: Vec::new(),
            spread: BTreeSet::new(),
            doubts: Vec::new(),
            unseen: Vec::new(),
            refusals: Vec::new(),
        })
    }

    pub fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// API group and version.
    pub fn group_version(&self) -> (&str, &str) {
        self.api_version.split_once('/').unwrap_or(("", &self.api_version))
    }

    /// Who it is now.
    pub fn identity(&self) -> Identity {
        let namespace = if self.is_cluster_scoped() {
            ""
        } else {
            self.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or("default")
        };
        Identity { kind: self.kind.clone(), namespace: namespace.into(), name: self.name().into() }
    }

    /// Who it was first.
    pub fn original(&self) -> Identity {
        self.previous.first().cloned().unwrap_or_else(|| self.identity())
    }

    /// Everything it was and is.
    pub fn identities(&self) -> Vec<Identity> {
        self.previous.iter().cloned().chain([self.identity()]).collect()
    }

    /// Remembers who it is, before that changes.
    pub fn remember(&mut self) {
        self.previous.push(self.identity());
    }

    /// Gives it another name.
    pub fn set_name(&mut self, name: &str) {
        if self.name() != name {
            self.value["metadata"]["name"] = Json::from(name);
            self.names.push(name.to_owned());
        }
    }

    /// Takes over what a patch wrote into the identifying fields.
    pub fn read_identity(&mut self) {
        let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
        self.kind = text(&self.value["kind"]);
        self.api_version = text(&self.value["apiVersion"]);
        self.namespace = self.value["metadata"]["namespace"].as_str().map(str::to_owned);
        let name = text(&self.value["metadata"]["name"]);
        if self.name() != name {
            self.names.push(name);
        }
    }

    /// Kinds that kustomize knows to have no namespace; what it does not know gets one.
    pub fn is_cluster_scoped(&self) -> bool {
        let (group, _) = self.group_version();
        matches!(
            (group, self.kind.as_str()),
            ("", "Namespace" | "Node" | "PersistentVolume" | "ComponentStatus")
                | ("admissionregistration.k8s.io", _)
                | ("apiextensions.k8s.io", "CustomResourceDefinition")
                | ("apiregistration.k8s.io", "APIService")
                | ("certificates.k8s.io", "CertificateSigningRequest")
                | ("networking.k8s.io", "IngressClass")
                | ("node.k8s.io", "RuntimeClass")
                | ("policy", "PodSecurityPolicy")
                | ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding")
                | ("scheduling.k8s.io", "PriorityClass")
                | ("storage.k8s.io", "CSIDriver" | "CSINode" | "StorageClass" | "VolumeAttachment")
        )
    }

    /// Notes that `field` must not be edited below `layer`.
    pub fn doubt(&mut self, layer: &Layer, field: FieldPath, why: impl Into<String>, rendered: bool) {
        self.doubts.push(Doubt { layer: layer.clone(), field, why: why.into(), rendered });
    }
}
