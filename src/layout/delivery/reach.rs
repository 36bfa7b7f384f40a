//! Follows deliveries to the end: what a delivery brings may deliver more (an app of apps). Plain ways to the
//! cluster come in; what is left of them and everything that is delivered goes out. Bounded in depth and number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rendered::{Before, Held, Rendered, Stale, With, rendered};
use super::{Claims, Delivery, Kind, Reached, find};
use crate::layout::facts::ObjectFacts;
use crate::layout::kustomize::{Live, Origin};
use crate::layout::objects::FieldPath;
use crate::model::ids::RepoPath;

/// Deepest chain of deliveries that bring deliveries; real ones have two or three.
const MAX_DEPTH: usize = 8;
/// Most deliveries of one repository.
const MAX_DELIVERIES: usize = 10_000;

/// Kinds that deliveries look up.
const LOOKED_UP: [&str; 8] = [
    "GitRepository",
    "OCIRepository",
    "HelmRepository",
    "HelmChart",
    "Bucket",
    "ConfigMap",
    "Secret",
    "ExternalArtifact",
];

/// One plain way to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A folder with a kustomization that nobody includes.
    Folder(String),
    /// A manifest that no kustomization governs.
    File(RepoPath),
}

/// A plain way with its objects.
#[derive(Debug)]
pub struct Bare {
    pub unit: Unit,
    pub live: Arc<[Arc<Live>]>,
}

/// The same delivery, however it was found.
pub(super) type Key = (Kind, String, Origin, String);

fn key(delivery: &Delivery) -> Key {
    let body = delivery.value["spec"].to_string();
    (delivery.kind, delivery.name.clone(), delivery.declared.clone(), body)
}

struct Found {
    rendered: Arc<Rendered>,
    /// Plain ways it was found in, and whether a delivery brings it.
    bare: BTreeSet<Unit>,
    by_delivery: bool,
}

/// Everything that is delivered.
#[derive(Debug, Default)]
pub struct All {
    pub lives: Vec<Arc<Live>>,
    pub facts: Vec<ObjectFacts>,
    /// The rest of it, without objects.
    pub reached: Reached,
    pub held: Held,
}

/// Renders every delivery, and drops the plain ways that deliveries take. What was rendered before and is not
/// stale is taken as it is.
#[must_use]
pub fn reach(bare: &[Bare], with: With<'_>, stale: Stale<'_>) -> All {
    let mut known: Vec<Arc<Live>> = bare.iter().flat_map(|it| it.live.iter().cloned()).collect();
    let [first, second] = &stale.held.passes;
    let mut held = Held::default();
    let mut found = follow(bare, with, &known, [(first, stale.paths), (second, stale.paths)]);
    held.passes[0] = kept(&found);
    // Sources and values may be delivered themselves: once more with all that is known now.
    let delivered = found.values().flat_map(|it| it.rendered.lives.iter());
    let more: Vec<Arc<Live>> =
        delivered.filter(|it| LOOKED_UP.contains(&it.kind.as_str())).cloned().collect();
    if !more.is_empty() {
        known.extend(more);
        let fresh = BTreeSet::new();
        found = follow(bare, with, &known, [(&held.passes[0], &fresh), (second, stale.paths)]);
        held.passes[1] = kept(&found);
    }
    All { held, ..settle(found) }
}

fn kept(found: &BTreeMap<Key, Found>) -> BTreeMap<Key, Arc<Rendered>> {
    found.iter().map(|(key, it)| (key.clone(), Arc::clone(&it.rendered))).collect()
}

fn follow(
    bare: &[Bare],
    with: With<'_>,
    known: &[Arc<Live>],
    before: [Before<'_>; 2],
) -> BTreeMap<Key, Found> {
    let mut all: BTreeMap<Key, Found> = BTreeMap::new();
    let mut next: Vec<(Delivery, Option<Unit>)> = Vec::new();
    for way in bare {
        next.extend(find(&way.live).into_iter().map(|delivery| (delivery, Some(way.unit.clone()))));
    }
    for depth in 0..=MAX_DEPTH {
        let mut deeper = Vec::new();
        for (delivery, unit) in std::mem::take(&mut next) {
            let key = key(&delivery);
            let mut bare: BTreeSet<Unit> = unit.iter().cloned().collect();
            if let Some(known) = all.get_mut(&key) {
                let own = delivery.layer(&FieldPath::default());
                // What brings itself is there already; what a delivery brings is seen with its whole chain.
                if unit.is_some() || known.by_delivery || delivery.delivered.contains(&own) {
                    known.by_delivery |= unit.is_none();
                    known.bare.append(&mut bare);
                    continue;
                }
                bare.append(&mut known.bare);
            }
            if all.len() >= MAX_DELIVERIES || depth == MAX_DEPTH {
                let why = format!("is more than {MAX_DEPTH} deliveries deep, or one of {MAX_DELIVERIES}");
                let rendered = Arc::new(Rendered::new(&delivery, Reached::beyond(&delivery, None, why)));
                all.insert(key, Found { rendered, bare, by_delivery: true });
                continue;
            }
            let rendered = rendered(&delivery, &key, with, known, before);
            let inner = rendered.reached.generated.iter().cloned().chain(find(&rendered.lives));
            deeper.extend(inner.map(|delivery| (delivery, None)));
            let by_delivery = unit.is_none();
            all.insert(key, Found { rendered, bare, by_delivery });
        }
        next = deeper;
        if next.is_empty() {
            break;
        }
    }
    all
}

/// A delivery found only in a plain way that another delivery takes, and brings in its own form, is not there
/// twice.
fn settle(mut found: BTreeMap<Key, Found>) -> All {
    let mut claims = Claims::default();
    found.values().for_each(|it| claims.extend(&it.rendered.reached.claims));
    let brought: BTreeSet<(Kind, String, Origin)> = found
        .iter()
        .filter(|(_, it)| it.by_delivery)
        .map(|((kind, name, declared, _), _)| (*kind, name.clone(), declared.clone()))
        .collect();
    found.retain(|(kind, name, declared, _), it| {
        let elsewhere = brought.contains(&(*kind, name.clone(), declared.clone()));
        it.by_delivery || !elsewhere || it.bare.iter().any(|unit| !claims.cover(unit))
    });
    let mut all = All::default();
    for Found { rendered, .. } in found.into_values() {
        all.lives.extend(rendered.lives.iter().cloned());
        all.facts.extend(rendered.facts.iter().cloned());
        all.reached.add(&rendered.reached);
    }
    all
}
