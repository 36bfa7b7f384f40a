//! What the projections of tars's knowledge into a cluster have in common: a status that is written when it is not what it
//! should be, what is too much taken out, and an outage that is logged once for each reason and when it ends. Values come in, patches go out. It never
//! decides what should be there.

use std::collections::HashSet;
use std::mem::Discriminant;

use serde_json::{Value, json};

use crate::outside::kube::{Kube, KubeError, Part, Patch, Place};
use crate::telemetry::events::Event;

/// Who owns the fields that tars applies.
pub(super) const MANAGER: &str = "tars";

/// Ticks that failed since the last that did not: an outage is logged when it begins, when it has another reason than before,
/// and when it ends.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failed: u64,
    /// Kinds of reasons that were told; the enum bounds them.
    told: HashSet<Discriminant<KubeError>>,
}

impl Outage {
    /// Was this kind of reason not told since things worked?
    fn is_news(&mut self, error: &KubeError) -> bool {
        self.told.insert(std::mem::discriminant(error))
    }

    pub(super) fn note(&mut self, outcome: Result<(), KubeError>) {
        match outcome {
            Ok(()) => {
                if self.failed > 0 {
                    Event::Recovered { stage: "cluster", failed: self.failed }.emit();
                }
                *self = Self::default();
            }
            Err(error) => {
                if self.is_news(&error) {
                    Event::Failed { stage: "cluster", error: &error }.emit();
                }
                self.failed += 1;
            }
        }
    }
}

/// Makes the status of `object` into `wanted`; the number of writes that took, none when `now` is what it should be.
pub(super) async fn put_status(
    kube: &Kube,
    place: Place<'_>,
    object: &Value,
    now: &Value,
    wanted: &Value,
) -> Result<usize, KubeError> {
    if now == wanted {
        return Ok(0);
    }
    let applied = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": { "name": place.name, "namespace": place.namespace }, "status": wanted,
    });
    let after: Value = kube.patch(place, Part::Status, Patch::Apply { manager: MANAGER }, &applied).await?;
    if after["status"] == *wanted {
        return Ok(1);
    }
    let back = json!({ "status": correction(&after["status"], wanted) });
    let _: Value = kube.patch(place, Part::Status, Patch::Merge, &back).await?;
    Ok(2)
}

/// A merge patch that makes `actual` into `wanted`: a list as a whole, and null for what is too much.
pub(super) fn correction(actual: &Value, wanted: &Value) -> Value {
    let (Value::Object(have), Value::Object(want)) = (actual, wanted) else { return wanted.clone() };
    let mut patch = serde_json::Map::new();
    for (field, value) in want {
        match have.get(field) {
            Some(now) if now == value => {}
            Some(now) => drop(patch.insert(field.clone(), correction(now, value))),
            None => drop(patch.insert(field.clone(), value.clone())),
        }
    }
    for field in have.keys().filter(|it| !want.contains_key(*it)) {
        patch.insert(field.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_that_turns_out_to_be_something_else_is_news_and_only_once() {
        let busy = || KubeError::Busy { retry_after_s: None };
        let missing = || KubeError::NotFound { asked: "a".to_owned() };
        let mut outage = Outage::default();
        let told = [busy(), busy(), missing(), busy()].map(|it| outage.is_news(&it));
        assert_eq!(told, [true, false, true, false]);
        outage.note(Ok(()));
        assert!(outage.is_news(&busy()));
    }

    #[test]
    fn a_correction_sets_back_and_takes_out_and_says_nothing_when_nothing_is_wrong() {
        let wanted = json!({"a": 1, "b": {"c": [1, 2]}, "e": "x"});
        assert_eq!(correction(&wanted, &wanted), json!({}));
        let actual = json!({"a": 2, "b": {"c": [2], "d": true}, "f": {}});
        let expected = json!({"a": 1, "b": {"c": [1, 2], "d": null}, "e": "x", "f": null});
        assert_eq!(correction(&actual, &wanted), expected);
    }
}
