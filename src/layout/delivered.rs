//! What Argo CD and Flux bring, as one entry of the index: its objects, which plain entries they account for, and
//! everything that was read on the way. Entries that hold deliveries come in; the entry goes out. It is made anew
//! when anything it read, listed or started from has changed, and only then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::delivery::{self, Bare, Beyond, Claims, Ground, Reached, Unit};
use super::entries::{At, EntryKey};
use super::facts::ObjectFacts;
use super::helm::Release;
use super::kustomize::Live;
use super::objects::is_below;
use super::reader::Reader;
use super::sources::Sources;
use super::update::render_folder;
use super::{Found, Index, plain_objects};
use crate::model::ids::RepoPath;

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
    /// Paths that were asked for.
    seen: BTreeSet<RepoPath>,
    /// Folders whose names were listed.
    listed: BTreeSet<String>,
    /// Entries that it started from.
    pub from: BTreeSet<EntryKey>,
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
        self.seen.contains(path) || self.listed.iter().any(|dir| is_below(path.as_str(), dir))
    }
}

fn unit(key: &EntryKey) -> Option<Unit> {
    match key {
        EntryKey::File(path) => Some(Unit::File(path.clone())),
        EntryKey::Folder(dir) => Some(Unit::Folder(dir.to_string())),
        EntryKey::Delivered => None,
    }
}

/// The objects of an entry that deliveries start from or ask for.
fn bare(sources: &Sources, key: &EntryKey) -> Option<Bare> {
    let live = match key {
        EntryKey::File(path) => plain_objects(sources, path),
        EntryKey::Folder(dir) => render_folder(sources, dir).1,
        EntryKey::Delivered => return None,
    };
    let watched = |live: &Live| {
        matches!(Watched::of(&ObjectFacts::of(live)), Some(Watched::Delivery | Watched::Values))
    };
    Some(Bare { unit: unit(key)?, live: live.into_iter().filter(watched).collect() })
}

/// Is there a delivery of Flux? `valuesFrom` and `substituteFrom` are its fields.
fn asks_for_values(live: &[Live]) -> bool {
    live.iter().any(|it| matches!(it.kind.as_str(), "HelmRelease" | "Kustomization"))
}

impl Index {
    /// Objects of a kind that is looked for by kind.
    pub(super) fn of_kind(&self, kind: Watched) -> impl Iterator<Item = Found> {
        let all = self.watched.iter().filter(move |(it, _)| *it == kind);
        all.filter(|(_, at)| !self.delivered.covered.contains(&at.entry)).filter_map(|(_, at)| self.at(at))
    }

    /// Entries with objects of a kind that is looked for by kind.
    fn watching(&self, kind: Watched) -> impl Iterator<Item = EntryKey> {
        let own = self.watched.iter().filter(move |(it, at)| *it == kind && at.entry != EntryKey::Delivered);
        own.map(|(_, at)| at.entry.clone())
    }

    /// The deliveries as they are with these sources.
    pub(super) fn deliver(&self, sources: &Sources) -> Delivered {
        let mut from: BTreeSet<EntryKey> = self.watching(Watched::Delivery).collect();
        if from.is_empty() {
            return Delivered::default();
        }
        let mut bare: Vec<Bare> = from.iter().filter_map(|key| bare(sources, key)).collect();
        // Most repositories have thousands of values, and most deliveries ask for none of them.
        let mut uses_values = bare.iter().any(|it| asks_for_values(&it.live));
        loop {
            if uses_values {
                let more: Vec<EntryKey> =
                    self.watching(Watched::Values).filter(|it| !from.contains(it)).collect();
                bare.extend(more.iter().filter_map(|key| self::bare(sources, key)));
                from.extend(more);
            }
            let reader = Reader::new(sources);
            let ground = Ground::new(&reader, sources);
            let helm = &self.surroundings.helm;
            let reached = delivery::reach(&bare, &ground, &self.surroundings.about, helm);
            if !uses_values && asks_for_values(&reached.live) {
                uses_values = true;
                continue;
            }
            let listed = ground.into_listed();
            let Reached { live, claims, beyond, releases, notes, .. } = reached;
            let is_covered = |key: &&EntryKey| unit(key).is_some_and(|unit| claims.cover(&unit));
            let covered = self.entries.keys().filter(is_covered).cloned().collect();
            let lives: Arc<[Arc<Live>]> = live.into_iter().map(Arc::new).collect();
            return Delivered {
                objects: lives.iter().map(|live| ObjectFacts::of(live)).collect(),
                lives,
                claims,
                seen: reader.into_seen(),
                listed,
                from,
                uses_values,
                covered,
                releases,
                beyond,
                notes,
                lacks: helm.lacks(),
            };
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
            old.from.contains(key)
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
            self.redeliver();
        }
    }

    /// Makes the deliveries anew: something they depend on has changed, or Helm has rendered more.
    pub fn redeliver(&mut self) {
        let old = std::mem::take(&mut self.delivered);
        for key in &old.covered {
            self.show(key);
        }
        self.forget_objects(&EntryKey::Delivered, &old.objects);
        let new = self.deliver(&self.sources);
        self.note_objects(&EntryKey::Delivered, &new.objects);
        for key in &new.covered {
            self.hide(key);
        }
        self.delivered = Arc::new(new);
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
