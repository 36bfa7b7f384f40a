//! What Argo CD and Flux bring, as one entry of the index: its objects, which plain entries they account for, and
//! everything that was read on the way. Entries that hold deliveries come in; the entry goes out. It is made anew
//! when anything it read, listed or started from has changed, and only then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delivery::{self, Bare, Beyond, Claims, Held, Reached, Stale, Unit, With};
use super::entries::{At, EntryKey};
use super::facts::ObjectFacts;
use super::helm::Release;
use super::kustomize::Live;
use super::objects::{folder, is_below};
use super::sources::Sources;
use super::update::render_folder;
use super::{Found, Index, edit_refused, plain_objects};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::Reason;

/// Kinds of objects that the index keeps a list of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Delivers, or is a source that a delivery names.
    Delivery,
    /// May hold values or substitutions that a delivery of Flux names.
    Values,
    /// May own the count of another workload.
    Rollout,
}

impl Watched {
    /// By kind alone: whoever uses the list looks at the group.
    pub fn of(object: &ObjectFacts) -> Option<Self> {
        match object.reference.as_deref()?.kind.as_str() {
            "Application" | "ApplicationSet" | "Kustomization" | "HelmRelease" | "GitRepository"
            | "OCIRepository" | "HelmRepository" | "HelmChart" | "Bucket" => Some(Self::Delivery),
            "ConfigMap" | "Secret" => Some(Self::Values),
            "Rollout" => Some(Self::Rollout),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Delivered {
    pub lives: Arc<[Arc<Live>]>,
    pub objects: Vec<ObjectFacts>,
    /// What each delivery came to and what that depends on.
    held: Held,
    /// Entries that it started from, with the objects that deliver or are looked up.
    pub from: BTreeMap<EntryKey, Arc<[Arc<Live>]>>,
    /// Those with values are among them.
    uses_values: bool,
    /// Plain entries that do not reach a cluster in a second way.
    pub covered: BTreeSet<EntryKey>,
    claims: Claims,
    /// Releases whose chart is in the repository.
    pub releases: Vec<Arc<Release>>,
    /// What brings objects from somewhere else, or in a way that is not rendered.
    pub beyond: Vec<Beyond>,
    /// What was taken for granted.
    pub notes: Vec<String>,
    /// Helm has not rendered everything yet.
    pub lacks: bool,
}

impl Delivered {
    /// Does it depend on what stands at `path`?
    #[must_use]
    pub fn reads(&self, path: &RepoPath) -> bool {
        self.held.reads(path)
    }
}

/// What brings an object, as the repository declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bringer {
    pub kind: delivery::Kind,
    /// `None`: the repository leaves it out.
    pub namespace: Option<String>,
    pub name: String,
}

fn unit(key: &EntryKey) -> Option<Unit> {
    match key {
        EntryKey::File(path) => Some(Unit::File(path.clone())),
        EntryKey::Folder(dir) => Some(Unit::Folder(dir.to_string())),
        EntryKey::Delivered => None,
    }
}

/// The objects of an entry that deliver or are looked up.
fn started_from(sources: &Sources, key: &EntryKey) -> Arc<[Arc<Live>]> {
    let live = match key {
        EntryKey::File(path) => plain_objects(sources, path),
        EntryKey::Folder(dir) => render_folder(sources, dir).1,
        EntryKey::Delivered => Vec::new(),
    };
    let watched = |live: &Live| {
        matches!(Watched::of(&ObjectFacts::of(live)), Some(Watched::Delivery | Watched::Values))
    };
    live.into_iter().filter(watched).map(Arc::new).collect()
}

/// Is there a delivery of Flux? `valuesFrom` and `substituteFrom` are its fields.
fn asks_for_values(live: &[Arc<Live>]) -> bool {
    live.iter().any(|it| matches!(it.kind.as_str(), "HelmRelease" | "Kustomization"))
}

impl Index {
    /// Objects of a kind that is looked for by kind.
    pub(super) fn of_kind(&self, kind: Watched) -> impl Iterator<Item = Found> {
        let all = self.watched.iter().filter(move |(it, _)| *it == kind);
        all.filter(|(_, at)| !self.delivered.covered.contains(&at.entry)).filter_map(|(_, at)| self.at(at))
    }

    /// Entries with objects of a kind that is looked for by kind.
    fn watching(&self, kind: Watched) -> impl Iterator<Item = &EntryKey> {
        let own = self.watched.iter().filter(move |(it, at)| *it == kind && at.entry != EntryKey::Delivered);
        own.map(|(_, at)| &at.entry)
    }

    /// The deliveries as they are with these sources, of which only `stale` paths and entries are not as they were
    /// when the deliveries of this index were made.
    pub(super) fn deliver(
        &self,
        sources: &Sources,
        stale: &BTreeSet<RepoPath>,
        changed: &BTreeSet<EntryKey>,
    ) -> Delivered {
        let old = &self.delivered;
        let mut from = BTreeMap::new();
        let start = |from: &mut BTreeMap<EntryKey, Arc<[Arc<Live>]>>, kind: Watched| {
            for key in self.watching(kind) {
                if !from.contains_key(key) {
                    let known = old.from.get(key).filter(|_| !changed.contains(key));
                    from.insert(key.clone(), known.map_or_else(|| started_from(sources, key), Arc::clone));
                }
            }
        };
        start(&mut from, Watched::Delivery);
        if from.is_empty() {
            return Delivered::default();
        }
        let (about, helm) = (&self.surroundings.about, &self.surroundings.helm);
        let reach = |from: &BTreeMap<EntryKey, Arc<[Arc<Live>]>>| {
            let bare = from.iter();
            let bare = bare.filter_map(|(key, live)| Some(Bare { unit: unit(key)?, live: Arc::clone(live) }));
            let bare: Vec<Bare> = bare.collect();
            delivery::reach(&bare, With { sources, about, helm }, Stale { paths: stale, held: &old.held })
        };
        // Most repositories have thousands of values, and most deliveries ask for none of them.
        let mut all = None;
        let mut uses_values = from.values().any(|live| asks_for_values(live));
        if !uses_values {
            let without = reach(&from);
            uses_values = asks_for_values(&without.lives);
            all = Some(without).filter(|_| !uses_values);
        }
        if uses_values {
            start(&mut from, Watched::Values);
        }
        let all = all.unwrap_or_else(|| reach(&from));
        let Reached { claims, beyond, releases, notes, .. } = all.reached;
        let is_covered = |key: &&EntryKey| unit(key).is_some_and(|unit| claims.cover(&unit));
        let covered = self.entries.keys().filter(is_covered).cloned().collect();
        Delivered {
            objects: all.facts,
            lives: all.lives.into(),
            claims,
            held: all.held,
            from,
            uses_values,
            covered,
            releases,
            beyond,
            notes,
            lacks: helm.lacks(),
        }
    }

    /// Brings the deliveries up to date, if `touched` has a say in them.
    pub(super) fn follow_deliveries(&mut self, touched: &BTreeSet<RepoPath>, changed: &BTreeSet<EntryKey>) {
        let old = Arc::clone(&self.delivered);
        // The first kind of all.
        let delivers = self.watched.first().is_some_and(|(kind, _)| *kind == Watched::Delivery);
        if !delivers && old.from.is_empty() {
            return;
        }
        let holds = |key: &EntryKey, kind: Watched| {
            let next = self.watched.range((kind, At { entry: key.clone(), nth: 0 })..).next();
            next.is_some_and(|(it, at)| *it == kind && at.entry == *key)
        };
        let starts = |key: &EntryKey| {
            old.from.contains_key(key)
                || holds(key, Watched::Delivery)
                || old.uses_values && holds(key, Watched::Values)
        };
        let concerned = touched.iter().any(|path| old.reads(path)) || changed.iter().any(starts);
        // A new entry may lie where a delivery takes everything.
        let taken = |key: &&EntryKey| unit(key).is_some_and(|unit| old.claims.cover(&unit));
        let appeared = changed
            .iter()
            .filter(taken)
            .any(|key| self.entries.contains_key(key) != old.covered.contains(key));
        if concerned || appeared {
            self.deliver_anew(touched, changed);
        }
    }

    /// Makes the deliveries anew that waited for Helm.
    pub fn redeliver(&mut self) {
        self.deliver_anew(&BTreeSet::new(), &BTreeSet::new());
    }

    fn deliver_anew(&mut self, stale: &BTreeSet<RepoPath>, changed: &BTreeSet<EntryKey>) {
        let new = self.deliver(&self.sources, stale, changed);
        let old = std::mem::take(&mut self.delivered);
        for key in &old.covered {
            self.show(key);
        }
        self.forget_objects(&EntryKey::Delivered, &old.objects);
        self.note_objects(&EntryKey::Delivered, &new.objects);
        for key in &new.covered {
            self.hide(key);
        }
        self.delivered = Arc::new(new);
    }

    /// Refuses what no edit here would reach as it is meant: an object that was not rendered to the end, or one
    /// whose folder is brought by a delivery from an address that is not known as this repository's. How such an
    /// object reaches the cluster is not known, so neither is what else has a hand in it.
    pub(super) fn editable(&self, live: &Live) -> Result<(), Reason> {
        if let Some(why) = live.refusals.first() {
            return Err(edit_refused(why.clone()));
        }
        if !live.delivered.is_empty() {
            return Ok(());
        }
        let entry = live.layers.last().map_or(&live.declared.file, |layer| &layer.file);
        let asks = |it: &&Beyond| it.folders.iter().any(|dir| is_below(folder(entry.as_str()), dir));
        self.delivered.beyond.iter().find(asks).map_or(Ok(()), |it| {
            Err(edit_refused(format!("{entry} is in a folder that {} may mean: it {}", it.label, it.why)))
        })
    }

    /// What brings `target` to its cluster; `None` when the repository does not declare that, or the target not once.
    #[must_use]
    pub fn brought_by(&self, target: &WorkloadRef) -> Option<Bringer> {
        let live = self.find(target).ok()?.live;
        let delivery = self.delivered.held.delivery_of(&live)?;
        let namespace = delivery.value["metadata"]["namespace"].as_str().or_else(|| {
            // One that is generated stands where its ApplicationSet stands.
            Some(delivery.namespace.as_str())
                .filter(|_| !delivery.at.0.is_empty() && delivery.namespace != "default")
        });
        Some(Bringer {
            kind: delivery.kind,
            namespace: namespace.map(str::to_owned),
            name: delivery.name.clone(),
        })
    }

    /// Has Helm not rendered everything yet that is to be known?
    #[must_use]
    pub fn lacks_charts(&self) -> bool {
        self.delivered.lacks
    }

    /// What brings objects from elsewhere or is not rendered, as sentences, and what was taken for granted.
    #[must_use]
    pub fn delivery_notes(&self) -> Vec<String> {
        let beyond = self.delivered.beyond.iter().map(|it| format!("{} {}", it.label, it.why));
        beyond.chain(self.delivered.notes.iter().cloned()).collect()
    }
}
