//! Asks Argo CD and Flux to look at the repository now, by the annotation that each of them has for it. What brings a merged
//! commit comes in, one annotation goes out for each, once for an action. It is a write to objects that are not tars's own,
//! so nobody calls this unless the settings say so; it changes when they look, and nothing of what they do.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::ids::ActionId;
use crate::outside::kube::{Kube, Part, Patch, Place, Resource};
use crate::telemetry::events::Event;

/// Actions that are remembered as asked for; when there are more, some may be asked for again.
const ASKED_MAX: usize = 1_000;
const ARGO_CD: (&str, &str) = ("argocd.argoproj.io/refresh", "normal");
const FLUX: &str = "reconcile.fluxcd.io/requestedAt";

/// Asks, once for an action.
#[derive(Debug)]
pub struct Refresh {
    kube: Kube,
    asked: Mutex<BTreeSet<ActionId>>,
}

/// An object whose controller is asked: its kind, namespace and name.
pub type Asked = (Resource, String, String);

impl Refresh {
    #[must_use]
    pub fn new(kube: Kube) -> Self {
        Self { kube, asked: Mutex::default() }
    }

    /// Asks the controllers of `objects` to look, for the action that was merged at `merged_at`. What does not work is
    /// logged and not tried again: they look by themselves as well.
    pub async fn ask(&self, action: &ActionId, objects: &[Asked], merged_at: Timestamp) {
        if objects.is_empty() || !self.is_first(action) {
            return;
        }
        for (resource, namespace, name) in objects {
            let place = Place { resource: *resource, namespace: Some(namespace), name };
            let (key, value) = annotation(*resource, merged_at);
            let patch = json!({ "metadata": { "annotations": { key: value } } });
            if let Err(error) = self.kube.patch::<Value>(place, Part::Whole, Patch::Merge, &patch).await {
                Event::Failed { stage: "refresh", error: &error }.emit();
            }
        }
    }

    fn is_first(&self, action: &ActionId) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            asked.clear();
        }
        asked.insert(action.clone())
    }
}

/// The same for every replica of tars: the second one to ask changes nothing at Flux.
fn annotation(resource: Resource, merged_at: Timestamp) -> (&'static str, String) {
    match resource.group {
        "argoproj.io" => (ARGO_CD.0, ARGO_CD.1.to_owned()),
        _ => (FLUX, merged_at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::at;

    #[test]
    fn each_controller_has_its_own_word_for_now() {
        let of = |group| annotation(Resource { group, version: "v1", plural: "x" }, at(0));
        assert_eq!(of("argoproj.io"), ("argocd.argoproj.io/refresh", "normal".to_owned()));
        let flux = ("reconcile.fluxcd.io/requestedAt", at(0).to_string());
        assert_eq!(of("source.toolkit.fluxcd.io"), flux);
    }
}
