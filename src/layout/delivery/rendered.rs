//! What one delivery came to, kept for the next time: with every path it asked for, every folder it listed and every
//! object it looked up. As long as all of those give the same answers, rendering it again would give the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reach::Key;
use super::{About, Delivery, Ground, LookUp, Reached, World, look_up, render};
use crate::layout::facts::ObjectFacts;
use crate::layout::helm::HelmRenders;
use crate::layout::kustomize::Live;
use crate::layout::objects::is_below;
use crate::layout::reader::Reader;
use crate::layout::sources::Sources;
use crate::model::ids::RepoPath;

/// What a delivery came to.
#[derive(Debug)]
pub struct Rendered {
    delivery: Delivery,
    /// Without its objects.
    pub reached: Reached,
    pub lives: Vec<Arc<Live>>,
    pub facts: Vec<ObjectFacts>,
    /// Paths that were asked for.
    seen: BTreeSet<RepoPath>,
    /// Folders whose names were listed.
    listed: BTreeSet<String>,
    looked: Vec<LookUp>,
}

impl Rendered {
    pub(super) fn new(delivery: &Delivery, mut reached: Reached) -> Self {
        let lives: Vec<Arc<Live>> = std::mem::take(&mut reached.live).into_iter().map(Arc::new).collect();
        Self {
            delivery: delivery.clone(),
            facts: lives.iter().map(|live| ObjectFacts::of(live)).collect(),
            reached,
            lives,
            seen: BTreeSet::new(),
            listed: BTreeSet::new(),
            looked: Vec::new(),
        }
    }

    /// Does it depend on what stands at `path`?
    #[must_use]
    pub fn reads(&self, path: &RepoPath) -> bool {
        self.seen.contains(path) || self.listed.iter().any(|dir| is_below(path.as_str(), dir))
    }
}

/// What was rendered the last time, by pass: in the first, what is delivered itself is not yet known.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub(super) passes: [BTreeMap<Key, Arc<Rendered>>; 2],
}

impl Held {
    /// Does anything of it depend on what stands at `path`?
    #[must_use]
    pub fn reads(&self, path: &RepoPath) -> bool {
        self.passes.iter().flat_map(BTreeMap::values).any(|it| it.reads(path))
    }

    /// The delivery that brings this very object.
    #[must_use]
    pub fn delivery_of(&self, live: &Arc<Live>) -> Option<&Delivery> {
        let all = self.passes.iter().rev().flat_map(BTreeMap::values);
        all.filter(|it| it.lives.iter().any(|own| Arc::ptr_eq(own, live))).map(|it| &it.delivery).next()
    }
}

/// What is not any more as it was when everything was rendered the last time.
#[derive(Debug, Clone, Copy)]
pub struct Stale<'a> {
    pub paths: &'a BTreeSet<RepoPath>,
    pub held: &'a Held,
}

/// What deliveries are rendered with.
#[derive(Debug, Clone, Copy)]
pub struct With<'a> {
    pub sources: &'a Sources,
    pub about: &'a About,
    pub helm: &'a HelmRenders,
}

/// What was rendered before, and the paths that are not any more as they were then.
pub(super) type Before<'a> = (&'a BTreeMap<Key, Arc<Rendered>>, &'a BTreeSet<RepoPath>);

/// What the delivery came to: as before, if that still holds.
pub(super) fn rendered(
    delivery: &Delivery,
    key: &Key,
    with: With<'_>,
    known: &[Arc<Live>],
    before: [Before<'_>; 2],
) -> Arc<Rendered> {
    let same = |(asked, found): &LookUp| {
        let [kind, namespace, name] = asked;
        look_up(known, [kind, namespace, name]).map(|it| (&it.value, &it.declared))
            == found.as_ref().map(|it| (&it.value, &it.declared))
    };
    for (all, stale) in before {
        let holds = |it: &&Arc<Rendered>| {
            !it.reached.waits
                && it.delivery == *delivery
                && it.looked.iter().all(same)
                && !stale.iter().any(|path| it.reads(path))
        };
        if let Some(found) = all.get(key).filter(holds) {
            return Arc::clone(found);
        }
    }
    let (reader, looked) = (Reader::new(with.sources), RefCell::default());
    let ground = Ground::new(&reader, with.sources);
    let world = World { ground: &ground, about: with.about, helm: with.helm, known, looked: &looked };
    let reached = render(delivery, world);
    let listed = ground.into_listed();
    let (seen, looked) = (reader.into_seen(), looked.into_inner());
    Arc::new(Rendered { seen, listed, looked, ..Rendered::new(delivery, reached) })
}
