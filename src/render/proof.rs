//! The proof that an edit does what was decided and nothing else: every object that the edit can have changed is
//! compared leaf by leaf. Objects before and after (and why no other can differ: [`Effect`]) and the intended
//! changes come in, counts or `ProofFailed` go out.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::layout::{Effect, FieldPath, Objects, RenderedKey, leaves, written};
use crate::model::change::RenderedChange;
use crate::model::ids::WorkloadRef;
use crate::model::reason::{Reason, ReasonCode};

/// What the field must hold afterwards.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Value(Json),
    /// Something else than before; what it is depends on a layer below.
    Changed,
}

/// One field of one rendered object that is meant to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    pub object: WorkloadRef,
    pub path: FieldPath,
    pub expected: Expected,
}

/// Number of objects that were compared and of fields that differ, and each of those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    pub objects: usize,
    pub fields: usize,
    pub rendered: Vec<RenderedChange>,
}

/// A field that differs, with what it holds before and after.
struct Difference {
    key: RenderedKey,
    path: FieldPath,
    from: Option<Json>,
    to: Option<Json>,
}

impl Difference {
    fn is_meant_by(&self, intent: &Intent) -> bool {
        self.key.object == intent.object.to_string()
            && self.path == intent.path
            && match &intent.expected {
                Expected::Value(wanted) => self.to.as_ref() == Some(wanted),
                Expected::Changed => true,
            }
    }
}

/// Compares what an edit does with what was intended, and with the objects that `carry` the edited text.
///
/// # Errors
/// `ProofFailed` with the first few fields that changed without being meant to, or did not change.
pub fn prove(effect: &Effect, intents: &[Intent], carry: &[Intent]) -> Result<Proven, Reason> {
    let Effect { before: old, after: new } = effect;
    let failed = |why: String| Err(Reason::new(ReasonCode::ProofFailed, why));
    if old.keys().ne(new.keys()) {
        return failed("the edit adds, removes or renames an object".into());
    }
    let all = || intents.iter().chain(carry);
    let found = differences(old, new, intents);
    let stray = found.iter().filter(|it| !all().any(|intent| it.is_meant_by(intent)));
    let stray: Vec<String> = stray
        .take(5)
        .map(|Difference { key, path, to, .. }| match to {
            Some(value) => format!("{} {path} becomes {value}", key.object),
            None => format!("{} {path} disappears", key.object),
        })
        .collect();
    if !stray.is_empty() {
        return failed(format!("rendered with the edit, {}", stray.join("; ")));
    }
    for intent in all() {
        if !found.iter().any(|it| it.is_meant_by(intent)) {
            return failed(format!("{} {} does not change when rendered", intent.object, intent.path));
        }
    }
    let changed: BTreeSet<(&str, &FieldPath)> =
        found.iter().map(|it| (it.key.object.as_str(), &it.path)).collect();
    let fields = changed.len();
    let rendered = found.iter().filter_map(|it| {
        let of_target = intents.iter().find(|intent| it.is_meant_by(intent));
        let intent = of_target.or_else(|| carry.iter().find(|intent| it.is_meant_by(intent)))?;
        let text = |value: &Json| written(value).unwrap_or_else(|| value.to_string());
        Some(RenderedChange {
            object: intent.object.clone(),
            field: it.path.to_string(),
            from: it.from.as_ref().map(text),
            to: it.to.as_ref().map(text),
            carrier: of_target.is_none(),
        })
    });
    Ok(Proven { objects: new.len(), fields, rendered: rendered.collect() })
}

fn differences(old: &Objects, new: &Objects, intents: &[Intent]) -> Vec<Difference> {
    let mut found = Vec::new();
    for (key, after) in new {
        let Some(before) = old.get(key).filter(|before| *before != after) else { continue };
        let (before, after) = (leaves(before), leaves(after));
        let paths: BTreeSet<&FieldPath> = before.keys().chain(after.keys()).collect();
        for path in paths {
            let (from, to) = (before.get(path), after.get(path));
            if from != to && !is_seal(path) && !is_empty_parent(path, from.or(to), intents) {
                let (from, to) = (from.cloned(), to.cloned());
                found.push(Difference { key: key.clone(), path: path.clone(), from, to });
            }
        }
    }
    found
}

/// Every edit of a SOPS file makes its time and its MAC anew, and an object that stands in one carries both. No kind
/// has a field of this name.
fn is_seal(path: &FieldPath) -> bool {
    *path == FieldPath::keys(["sops", "mac"]) || *path == FieldPath::keys(["sops", "lastmodified"])
}

/// `annotations: {}` that comes or goes with the one annotation in it says nothing of its own.
fn is_empty_parent(path: &FieldPath, leaf: Option<&Json>, intents: &[Intent]) -> bool {
    let empty = match leaf {
        Some(Json::Object(map)) => map.is_empty(),
        Some(Json::Array(list)) => list.is_empty(),
        _ => false,
    };
    empty && intents.iter().any(|i| i.path != *path && i.path.is_within(path))
}

#[cfg(test)]
mod tests {
    use super::super::golden::tree;
    use super::*;
    use crate::layout::{Index, index};
    use crate::model::fixtures::target;

    fn repository(backend: u32, worker: u32, more: &str) -> Index {
        let object = |name: &str, replicas: u32| {
            let head = "apiVersion: apps/v1\nkind: Deployment";
            format!("{head}\nmetadata: {{name: {name}}}\nspec: {{replicas: {replicas}}}\n")
        };
        let text = format!("{}---\n{}{more}", object("backend", backend), object("worker", worker));
        index(&tree([("a.yaml", text.as_bytes())]))
    }

    fn intent(to: Expected) -> [Intent; 1] {
        let path = FieldPath::keys(["spec", "replicas"]);
        [Intent { object: target("default/Deployment/backend"), path, expected: to }]
    }

    fn compared(before: &Index, after: &Index) -> Effect {
        Effect { before: before.rendered(), after: after.rendered() }
    }

    #[track_caller]
    fn fails(after: &Index, intents: &[Intent], words: &str) {
        let reason = prove(&compared(&repository(3, 3, ""), after), intents, &[]).unwrap_err();
        assert_eq!(reason.code, ReasonCode::ProofFailed);
        assert!(reason.text.contains(words), "{reason}");
    }

    #[test]
    fn exactly_the_intended_field_passes_and_is_counted() {
        let old = repository(3, 3, "");
        let proven = prove(&compared(&old, &repository(5, 3, "")), &intent(Expected::Value(5.into())), &[]);
        let moved = RenderedChange {
            object: target("default/Deployment/backend"),
            field: "spec.replicas".into(),
            from: Some("3".into()),
            to: Some("5".into()),
            carrier: false,
        };
        assert_eq!(proven.unwrap(), Proven { objects: 2, fields: 1, rendered: vec![moved] });
        assert!(prove(&compared(&old, &repository(4, 3, "")), &intent(Expected::Changed), &[]).is_ok());
    }

    #[test]
    fn an_object_that_only_carries_the_text_is_told_from_the_target() {
        let (old, new) = (repository(3, 3, ""), repository(5, 5, ""));
        let path = FieldPath::keys(["spec", "replicas"]);
        let carrier =
            Intent { object: target("default/Deployment/worker"), path, expected: Expected::Changed };
        let proven = prove(&compared(&old, &new), &intent(Expected::Value(5.into())), &[carrier]).unwrap();
        let found: Vec<(&str, bool)> =
            proven.rendered.iter().map(|it| (it.object.name.as_str(), it.carrier)).collect();
        assert_eq!(found, [("backend", false), ("worker", true)]);
    }

    #[test]
    fn a_change_of_another_object_field_or_value_fails() {
        let five = intent(Expected::Value(5.into()));
        fails(&repository(5, 5, ""), &five, "default/Deployment/worker spec.replicas becomes 5");
        fails(&repository(6, 3, ""), &five, "default/Deployment/backend spec.replicas becomes 6");
        fails(&repository(5, 3, "paused: true\n"), &five, "worker paused becomes true");
    }

    #[test]
    fn a_field_that_did_not_change_when_rendered_fails() {
        fails(&repository(3, 3, ""), &intent(Expected::Changed), "does not change");
    }

    #[test]
    fn an_object_that_comes_or_goes_fails() {
        let more = "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
        fails(&repository(5, 3, more), &intent(Expected::Value(5.into())), "adds, removes or renames");
    }
}
