//! Follows deliveries to the end: what a delivery brings may deliver more (an app of apps). Plain ways to the
//! cluster come in; what is left of them and everything that is delivered goes out. Bounded in depth and number.

use std::collections::{BTreeMap, BTreeSet};

use super::{About, Claims, Delivery, Ground, Kind, Reached, World, find, render};
use crate::layout::helm::HelmRenders;
use crate::layout::kustomize::{Live, Origin};
use crate::layout::objects::FieldPath;
use crate::model::ids::RepoPath;

/// Deepest chain of deliveries that bring deliveries; real ones have two or three.
const MAX_DEPTH: usize = 8;
/// Most deliveries of one repository.
const MAX_DELIVERIES: usize = 10_000;

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
    pub live: Vec<Live>,
}

/// The same delivery, however it was found.
type Key = (Kind, String, Origin, String);

fn key(delivery: &Delivery) -> Key {
    let body = delivery.value["spec"].to_string();
    (delivery.kind, delivery.name.clone(), delivery.declared.clone(), body)
}

struct Found {
    reached: Reached,
    /// Plain ways it was found in, and whether a delivery brings it.
    bare: BTreeSet<Unit>,
    by_delivery: bool,
}

/// Renders every delivery, and drops the plain ways that deliveries take.
#[must_use]
pub fn reach(bare: &[Bare], ground: &Ground<'_>, about: &About, helm: &HelmRenders) -> Reached {
    let mut known: Vec<Live> = bare.iter().flat_map(|it| it.live.iter().cloned()).collect();
    let first = follow(bare, World { ground, about, helm, known: &known });
    // Sources and values may be delivered themselves: once more with all that is known now.
    let more: Vec<Live> = first.values().flat_map(|it| it.reached.live.iter().cloned()).collect();
    let found = if more.is_empty() {
        first
    } else {
        known.extend(more);
        follow(bare, World { ground, about, helm, known: &known })
    };
    settle(found)
}

fn follow(bare: &[Bare], world: World<'_>) -> BTreeMap<Key, Found> {
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
                let reached = Reached::beyond(&delivery, None, why);
                all.insert(key, Found { reached, bare, by_delivery: true });
                continue;
            }
            let mut reached = render(&delivery, world);
            let inner = std::mem::take(&mut reached.generated).into_iter().chain(find(&reached.live));
            deeper.extend(inner.map(|delivery| (delivery, None)));
            let by_delivery = unit.is_none();
            all.insert(key, Found { reached, bare, by_delivery });
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
fn settle(mut found: BTreeMap<Key, Found>) -> Reached {
    let mut claims = Claims::default();
    found.values().for_each(|it| claims.extend(it.reached.claims.clone()));
    let brought: BTreeSet<(Kind, String, Origin)> = found
        .iter()
        .filter(|(_, it)| it.by_delivery)
        .map(|((kind, name, declared, _), _)| (*kind, name.clone(), declared.clone()))
        .collect();
    found.retain(|(kind, name, declared, _), it| {
        let elsewhere = brought.contains(&(*kind, name.clone(), declared.clone()));
        it.by_delivery || !elsewhere || it.bare.iter().any(|unit| !claims.cover(unit))
    });
    let mut all = Reached::default();
    found.into_values().for_each(|it| all.extend(it.reached));
    all
}
