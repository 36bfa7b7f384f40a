//! How objects reach a cluster beyond plain folders and kustomizations: Argo CD `Application`s and
//! `ApplicationSet`s, Flux `Kustomization`s and `HelmRelease`s. Objects of the repository come in; the objects
//! those deliver, and which folders and files they account for, go out. Nothing is fetched: what comes from
//! another repository or a chart registry is noted by name.

mod application;
mod application_set;
mod find;
mod flux;
mod folder;
mod generators;
mod glob;
mod ground;
mod helm_release;
mod overrides;
mod reach;
mod rendered;
mod source;
mod substitute;
mod template;
mod values;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

pub use find::Kind;
use find::find;
pub use ground::Ground;
pub use reach::{Bare, Unit, reach};
pub use rendered::{Held, Stale, With};
pub use source::About;

use super::helm::{HelmRenders, Release};
use super::kustomize::{Layer, Live, Origin, resolve};
use super::objects::FieldPath;
use crate::model::ids::RepoPath;

/// Something that brings objects of a repository to a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub kind: Kind,
    pub name: String,
    pub namespace: String,
    /// The whole object as it reaches its own cluster.
    pub value: Json,
    pub declared: Origin,
    /// Where the body stands in the document: empty, or `spec.template` of an `ApplicationSet`.
    pub at: FieldPath,
    /// Layers it went through itself.
    pub through: Vec<Layer>,
    /// What brings it, innermost first.
    pub delivered: Vec<Layer>,
    /// Why nothing that it brings can be edited.
    pub refusals: Vec<String>,
}

impl Delivery {
    /// For people: `Application payments in clusters/a.yaml`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {} in {}", self.kind.name(), self.name, self.declared.file)
    }

    /// The place of one part of its body.
    fn layer(&self, at: &FieldPath) -> Layer {
        let at = FieldPath(self.at.0.iter().chain(&at.0).cloned().collect());
        Layer { file: self.declared.file.clone(), document: self.declared.document, at }
    }
}

/// Which files and folders are accounted for; they do not reach the cluster in a second, plain way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Folders with a kustomization.
    pub folders: BTreeSet<String>,
    pub files: BTreeSet<RepoPath>,
    /// Folders of charts with everything below them.
    pub charts: BTreeSet<String>,
}

impl Claims {
    fn extend(&mut self, other: &Self) {
        self.folders.extend(other.folders.iter().cloned());
        self.files.extend(other.files.iter().cloned());
        self.charts.extend(other.charts.iter().cloned());
    }

    /// Is this way to the cluster taken by a delivery?
    #[must_use]
    pub fn cover(&self, unit: &Unit) -> bool {
        let in_chart = |path: &str| {
            let mut at = path;
            loop {
                if self.charts.contains(at) {
                    return true;
                }
                if at.is_empty() {
                    return false;
                }
                at = super::objects::folder(at);
            }
        };
        match unit {
            Unit::Folder(dir) => self.folders.contains(dir) || in_chart(dir),
            Unit::File(file) => self.files.contains(file) || in_chart(file.as_str()),
        }
    }
}

/// Something that objects come from and that is not in this repository, or cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// `Application x in y.yaml`.
    pub label: String,
    pub why: String,
    /// Where its objects go, when known.
    pub namespace: Option<String>,
    /// Names its objects are likely to carry, none when it may bring anything: only for a hint, never to decide
    /// anything.
    pub names: Vec<String>,
    /// The file that declares the delivery.
    pub file: RepoPath,
    /// Places of this repository that its values come from.
    pub values: Vec<Layer>,
    /// The version of what it brings, as the delivery asks for it.
    pub version: Option<String>,
    /// Folders of this repository with the path that it asks for at an address which is not known as ours.
    pub folders: Vec<String>,
}

/// What one delivery, or all of them, come to.
#[derive(Debug, Default)]
pub struct Reached {
    pub live: Vec<Live>,
    pub claims: Claims,
    pub beyond: Vec<Beyond>,
    pub releases: Vec<Arc<Release>>,
    /// Deliveries that are generated and not rendered as objects of their own.
    pub generated: Vec<Delivery>,
    /// What was taken for granted.
    pub notes: Vec<String>,
    /// Helm was asked for something it has not rendered yet.
    pub waits: bool,
}

impl Reached {
    fn extend(&mut self, other: Self) {
        self.waits |= other.waits;
        self.live.extend(other.live);
        self.claims.extend(&other.claims);
        self.beyond.extend(other.beyond);
        self.releases.extend(other.releases);
        self.generated.extend(other.generated);
        self.notes.extend(other.notes);
    }

    /// Takes over what another one says beside its objects and what it generates.
    fn add(&mut self, other: &Self) {
        self.claims.extend(&other.claims);
        self.beyond.extend(other.beyond.iter().cloned());
        self.releases.extend(other.releases.iter().cloned());
        self.notes.extend(other.notes.iter().cloned());
    }

    fn beyond(delivery: &Delivery, namespace: Option<&str>, why: impl Into<String>) -> Self {
        let spec = &delivery.value["spec"];
        let release = spec["releaseName"].as_str().map(str::to_owned);
        let beyond = Beyond {
            label: delivery.label(),
            why: why.into(),
            namespace: namespace.map(str::to_owned),
            names: release.into_iter().chain([delivery.name.clone()]).collect(),
            file: delivery.declared.file.clone(),
            values: Vec::new(),
            version: None,
            folders: Vec::new(),
        };
        Self { beyond: vec![beyond], ..Self::default() }
    }

    /// Says which folders of this repository may be meant after all.
    fn with_folders(mut self, folders: impl IntoIterator<Item = String>) -> Self {
        let folders: Vec<String> = folders.into_iter().collect();
        for beyond in &mut self.beyond {
            beyond.folders.extend(folders.iter().cloned());
        }
        self
    }

    /// Says where the values of what is not rendered stand, and which version it is.
    fn with_values(mut self, values: &[Layer], version: Option<&str>) -> Self {
        for beyond in &mut self.beyond {
            beyond.values.extend(values.iter().cloned());
            beyond.version = version.map(str::to_owned);
        }
        self
    }
}

/// Everything a delivery is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub ground: &'a Ground<'a>,
    pub about: &'a About,
    pub helm: &'a HelmRenders,
    /// Objects to look up sources and values in.
    pub known: &'a [Arc<Live>],
    /// Every look-up, with what it found.
    pub looked: &'a RefCell<Vec<LookUp>>,
}

/// An object that was looked up: kind, namespace, name, and what was found.
pub type LookUp = ([String; 3], Option<Arc<Live>>);

impl<'a> World<'a> {
    /// The object of this kind and name; `None` also when there are several that differ.
    fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<&'a Live> {
        let found = look_up(self.known, [kind, namespace, name]);
        let asked = [kind, namespace, name].map(str::to_owned);
        self.looked.borrow_mut().push((asked, found.cloned()));
        found.map(Arc::as_ref)
    }
}

impl World<'_> {
    /// The folder here that may be meant by `path` at an address which is not known as ours. Every repository has
    /// a root, so that one counts under the same name only.
    fn namesake(&self, url: &str, path: &str) -> Option<String> {
        let dir = resolve("", path.trim_start_matches('/'))?;
        let here = if dir.is_empty() { self.about.is_namesake(url) } else { self.ground.is_folder(&dir) };
        here.then_some(dir)
    }
}

fn look_up<'k>(known: &'k [Arc<Live>], [kind, namespace, name]: [&str; 3]) -> Option<&'k Arc<Live>> {
    let same = |live: &&Arc<Live>| {
        live.kind == kind
            && live.name() == name
            && live.namespace.as_deref().unwrap_or(namespace) == namespace
    };
    let mut found = known.iter().filter(same);
    let first = found.next()?;
    found.all(|other| other.value == first.value).then_some(first)
}

/// Renders one delivery.
#[must_use]
pub fn render(delivery: &Delivery, world: World<'_>) -> Reached {
    let mut reached = match delivery.kind {
        Kind::Application => application::render(delivery, world),
        Kind::ApplicationSet => application_set::generate(delivery, world),
        Kind::Kustomization => flux::render(delivery, world),
        Kind::HelmRelease => helm_release::render(delivery, world),
    };
    let own = delivery.layer(&FieldPath::default());
    for live in &mut reached.live {
        live.delivered.push(own.clone());
        live.delivered.extend(delivery.delivered.iter().cloned());
        live.refusals.extend(delivery.refusals.iter().cloned());
    }
    reached
}
