//! Kustomize patches on plain values: strategic merge as kustomize does it (lists of the built-in types merge by
//! key, patched items come first) and JSON 6902. An object and a patch come in; the patched object and what
//! was written go out. A directive that is not modelled is an error, never a guess.

use serde_json::{Map, Value as Json};

use super::objects::{FieldPath, Step};

/// Deepest nesting that is merged; deeper documents are refused by the parser anyway.
const MAX_DEPTH: usize = 100;

/// Keys by which a list merges, the first one decisive, from `x-kubernetes-patch-merge-key` and
/// `x-kubernetes-list-map-keys` in the OpenAPI document of Kubernetes 1.21, which kustomize has built in.
/// Empty: replaced whole.
fn merge_keys(field: &str, schema: Schema) -> &'static [&'static str] {
    match (schema, field) {
        (Schema::None, _) => &[],
        (_, "ownerReferences") => &["uid"],
        (Schema::Pods, "containers" | "initContainers" | "ephemeralContainers") => &["name"],
        (Schema::Pods, "volumes" | "env" | "imagePullSecrets") => &["name"],
        (Schema::Pods, "ports") => &["containerPort", "protocol"],
        (Schema::Pods, "volumeMounts") => &["mountPath"],
        (Schema::Pods, "volumeDevices") => &["devicePath"],
        (Schema::Pods, "hostAliases") => &["ip"],
        (Schema::Pods, "topologySpreadConstraints") => &["topologyKey", "whenUnsatisfiable"],
        (Schema::Service, "ports") => &["port", "protocol"],
        (Schema::ServiceAccount, "secrets") => &["name"],
        (Schema::Webhooks, "webhooks") => &["name"],
        _ => &[],
    }
}

/// Which lists of an object merge by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// A custom resource, or a version of a built-in kind that kustomize has no schema for.
    None,
    Pods,
    Service,
    ServiceAccount,
    Webhooks,
    /// Any other built-in kind.
    Other,
}

impl Schema {
    /// The schema of a kind.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Self {
        match (api_version, kind) {
            ("v1", "Pod" | "PodTemplate" | "ReplicationController")
            | ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch/v1", "Job" | "CronJob")
            | ("batch/v1beta1", "CronJob") => Self::Pods,
            ("v1", "Service") => Self::Service,
            ("v1", "ServiceAccount") => Self::ServiceAccount,
            ("admissionregistration.k8s.io/v1", _) => Self::Webhooks,
            ("v1" | "apps/v1" | "batch/v1" | "autoscaling/v1" | "policy/v1", _)
            | ("networking.k8s.io/v1" | "rbac.authorization.k8s.io/v1" | "storage.k8s.io/v1", _) => {
                Self::Other
            }
            _ => Self::None,
        }
    }
}

/// Applies a strategic-merge `patch` to `object`; null when the patch deletes it. Goes out: lists whose merged
/// value is not certain.
///
/// # Errors
/// A sentence naming the directive that is not understood.
pub fn strategic(object: &mut Json, patch: &Json, schema: Schema) -> Result<Vec<FieldPath>, String> {
    let mut merge = Merge { schema, at: Vec::new(), unsure: Vec::new() };
    merge.merge(object, patch)?;
    merge.note_repeated(object);
    Ok(merge.unsure)
}

struct Merge {
    schema: Schema,
    at: Vec<Step>,
    unsure: Vec<FieldPath>,
}

impl Merge {
    fn merge(&mut self, into: &mut Json, patch: &Json) -> Result<(), String> {
        if self.at.len() > MAX_DEPTH {
            return Err("nests too deep".into());
        }
        let Json::Object(entries) = patch else {
            if into.is_object() {
                return Err(format!("puts a plain value where {} has fields", FieldPath(self.at.clone())));
            }
            *into = patch.clone();
            return Ok(());
        };
        if let Some(unknown) = entries.keys().find(|k| k.starts_with('$') && *k != "$patch") {
            return Err(format!("uses the directive {unknown}"));
        }
        match entries.get("$patch").and_then(Json::as_str) {
            None | Some("merge") => {}
            Some("replace") => *into = Json::Null,
            Some("delete") => {
                *into = Json::Null;
                return Ok(());
            }
            Some(other) => return Err(format!("uses the directive $patch: {other}")),
        }
        if !into.is_object() {
            *into = Json::Object(Map::new());
        }
        let Json::Object(target) = into else { return Ok(()) };
        for (key, value) in entries.iter().filter(|(k, _)| !k.starts_with('$')) {
            if value.is_null() {
                target.remove(key);
                continue;
            }
            let slot = target.entry(key.clone()).or_insert(Json::Null);
            self.at.push(Step::Key(key.clone()));
            match (value, merge_keys(key, self.schema)) {
                (Json::Array(items), [_, ..]) => self.list(slot, items, merge_keys(key, self.schema))?,
                (Json::Array(items), []) if key == "finalizers" && self.schema != Schema::None => {
                    union(slot, items);
                }
                _ => self.merge(slot, value)?,
            }
            self.at.pop();
            if slot.is_null() {
                target.remove(key);
            }
        }
        Ok(())
    }

    /// Patched items first, in the order of the patch, then those it does not name.
    fn list(&mut self, list: &mut Json, items: &[Json], keys: &[&str]) -> Result<(), String> {
        let (items, old) = match lone_directive(items) {
            Some((rest, "replace")) => (rest, Vec::new()),
            Some((_, "delete")) => {
                *list = Json::Null;
                return Ok(());
            }
            Some((_, other)) => return Err(format!("uses the directive $patch: {other} in a list")),
            None => (items.iter().collect(), list.as_array().cloned().unwrap_or_default()),
        };
        let primary = keys.first().copied().unwrap_or("name");
        if items.iter().any(|item| item.get(primary).is_none()) {
            return Err(format!("has a list item without its merge key {primary:?}"));
        }
        let used = self.used_keys(&items, &old, keys);
        let key_of = |item: &Json| -> Vec<String> { used.iter().map(|k| text_of(&item[*k])).collect() };
        // With one key the patched items come first; with two, only the new ones do.
        let in_place = used.len() > 1;
        let mut rest = old;
        let mut merged = Vec::new();
        for item in items {
            let at = rest.iter().position(|old| key_of(old) == key_of(item));
            let mut value = at.map_or(Json::Null, |at| rest[at].take());
            self.at.push(Step::Named(text_of(&item[primary])));
            self.merge(&mut value, item)?;
            self.at.pop();
            match at {
                Some(at) if in_place => rest[at] = value,
                _ => merged.push(value),
            }
        }
        merged.extend(rest);
        merged.retain(|item| !item.is_null());
        *list = Json::Array(merged);
        Ok(())
    }

    /// Lists with an item that is there twice: any patch of the object makes kustomize drop one of them.
    fn note_repeated(&mut self, value: &Json) {
        match value {
            Json::Object(map) => {
                for (key, below) in map {
                    self.at.push(Step::Key(key.clone()));
                    let (keys, items) = (merge_keys(key, self.schema), below.as_array());
                    if let (Some(primary), Some(items)) = (keys.first(), items) {
                        let alone = keys.len() == 1;
                        let mut seen = std::collections::BTreeSet::new();
                        if alone && items.iter().any(|item| !seen.insert(text_of(&item[*primary]))) {
                            self.unsure.push(FieldPath(self.at.clone()));
                        }
                    }
                    self.note_repeated(below);
                    self.at.pop();
                }
            }
            Json::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let name = item["name"].as_str().map(str::to_owned);
                    self.at.push(name.map_or(Step::At(at), Step::Named));
                    self.note_repeated(item);
                    self.at.pop();
                }
            }
            _ => {}
        }
    }

    /// The keys that are there in all items. A second key that only some items have, or an item that is there
    /// twice, makes the outcome depend on kustomize's inner order.
    fn used_keys<'k>(&mut self, items: &[&Json], old: &[Json], keys: &[&'k str]) -> Vec<&'k str> {
        let all = || items.iter().copied().chain(old);
        let used: Vec<&str> = keys
            .iter()
            .enumerate()
            .filter(|(at, k)| *at == 0 || all().any(|i| i.get(**k).is_some()))
            .map(|(_, k)| *k)
            .collect();
        let partly = used.iter().any(|k| all().any(|i| i.get(*k).is_none()));
        let twice = |list: &[&Json]| {
            let mut seen = std::collections::BTreeSet::new();
            list.iter().any(|item| !seen.insert(used.iter().map(|k| text_of(&item[*k])).collect::<Vec<_>>()))
        };
        if partly || twice(items) || twice(&old.iter().collect::<Vec<_>>()) {
            self.unsure.push(FieldPath(self.at.clone()));
        }
        if partly { keys[..1].to_vec() } else { used }
    }
}

fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `- $patch: replace` as an item of its own speaks of the whole list: (the other items, the directive).
fn lone_directive(items: &[Json]) -> Option<(Vec<&Json>, &str)> {
    let lone =
        |item: &&Json| item.as_object().is_some_and(|map| map.len() == 1 && map.contains_key("$patch"));
    let directive = items.iter().find(lone)?["$patch"].as_str()?;
    Some((items.iter().filter(|item| !lone(item)).collect(), directive))
}

/// A list of texts that merges as a set.
fn union(list: &mut Json, items: &[Json]) {
    let old = list.as_array().cloned().unwrap_or_default();
    let mut all = items.to_vec();
    all.extend(old.into_iter().filter(|item| !items.contains(item)));
    *list = Json::Array(all);
}

/// What one JSON 6902 operation wrote: the field, and where in the list of operations its value stands.
pub type Written = (FieldPath, Option<FieldPath>);

/// Applies JSON 6902 operations to `object`.
///
/// # Errors
/// A sentence naming the operation that cannot be applied.
pub fn json6902(object: &mut Json, operations: &Json) -> Result<Vec<Written>, String> {
    let list = operations.as_array().ok_or("is not a list of JSON 6902 operations")?;
    let mut written = Vec::new();
    for (index, operation) in list.iter().enumerate() {
        let verb = operation["op"].as_str().unwrap_or_default();
        let path = operation["path"].as_str().unwrap_or_default();
        let refused = || format!("has an operation that cannot be applied: {verb:?} {path:?}");
        let from = operation["from"].as_str();
        let value_at =
            matches!(verb, "add" | "replace").then(|| FieldPath(vec![Step::At(index)]).key("value"));
        match (verb, from) {
            ("test", _) => {
                let found = object.pointer(path).unwrap_or(&Json::Null);
                if *found != operation["value"] {
                    return Err(refused());
                }
                continue;
            }
            ("add", _) => add(object, path, operation["value"].clone()).ok_or_else(refused)?,
            ("replace", _) => {
                let value = operation["value"].clone();
                *object.pointer_mut(path).ok_or_else(refused)? = value;
            }
            ("remove", _) => {
                written.push((field_of(object, path), None));
                take(object, path).ok_or_else(refused)?;
                continue;
            }
            ("move", Some(from)) => {
                written.push((field_of(object, from), None));
                let value = take(object, from).ok_or_else(refused)?;
                add(object, path, value).ok_or_else(refused)?;
            }
            ("copy", Some(from)) => {
                let value = object.pointer(from).cloned().ok_or_else(refused)?;
                add(object, path, value).ok_or_else(refused)?;
            }
            _ => return Err(refused()),
        }
        written.push((field_of(object, path), value_at));
    }
    Ok(written)
}

/// RFC 6901: `~1` is `/`, `~0` is `~`.
fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn add(object: &mut Json, path: &str, value: Json) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    match object.pointer_mut(parent)? {
        Json::Object(map) => {
            map.insert(unescape(last), value);
        }
        Json::Array(list) if last == "-" => list.push(value),
        Json::Array(list) => {
            let index: usize = last.parse().ok().filter(|index| *index <= list.len())?;
            list.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(object: &mut Json, path: &str) -> Option<Json> {
    let (parent, last) = path.rsplit_once('/')?;
    match object.pointer_mut(parent)? {
        Json::Object(map) => map.remove(&unescape(last)),
        Json::Array(list) => {
            let index: usize = last.parse().ok().filter(|index| *index < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
    }
}

/// A JSON pointer as a path; list items go by their name where every item has a plain one.
pub fn field_of(object: &Json, pointer: &str) -> FieldPath {
    let mut at = Some(object);
    let mut steps = Vec::new();
    for segment in pointer.split('/').skip(1).map(unescape) {
        let list = at.and_then(Json::as_array);
        let Some(items) = list else {
            at = at.and_then(|value| value.get(&segment));
            steps.push(Step::Key(segment));
            continue;
        };
        let index = if segment == "-" { items.len().saturating_sub(1) } else { segment.parse().unwrap_or(0) };
        at = items.get(index);
        steps.push(match super::objects::names_of(items) {
            Some(names) if index < names.len() => Step::Named(names[index].to_owned()),
            _ => Step::At(index),
        });
    }
    FieldPath(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_merges_containers_by_name_and_leaves_the_sidecar_alone() {
        let mut object =
            json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}});
        let patch = json!({"spec": {"containers": [{"name": "b", "image": "y:2"}]}});
        strategic(&mut object, &patch, Schema::Pods).unwrap();
        let expected =
            json!({"spec": {"containers": [{"name": "b", "image": "y:2"}, {"name": "a", "image": "x:1"}]}});
        assert_eq!(object, expected);
    }

    #[test]
    fn a_custom_resource_has_its_lists_replaced() {
        let mut object = json!({"spec": {"env": [{"name": "a"}]}});
        strategic(&mut object, &json!({"spec": {"env": [{"name": "b"}]}}), Schema::None).unwrap();
        assert_eq!(object, json!({"spec": {"env": [{"name": "b"}]}}));
    }

    #[test]
    fn null_and_delete_remove_and_replace_replaces() {
        let mut object =
            json!({"a": 1, "b": {"x": 1}, "c": {"x": 1, "y": 2}, "env": [{"name": "p"}, {"name": "q"}]});
        let patch = json!({"a": null, "b": {"$patch": "delete"}, "c": {"$patch": "replace", "z": 3},
            "env": [{"name": "p", "$patch": "delete"}]});
        strategic(&mut object, &patch, Schema::Pods).unwrap();
        assert_eq!(object, json!({"c": {"z": 3}, "env": [{"name": "q"}]}));
    }

    #[test]
    fn an_unknown_directive_is_refused() {
        let mut object = json!({});
        let refused = strategic(&mut object, &json!({"$retainKeys": ["a"]}), Schema::Pods).unwrap_err();
        assert!(refused.contains("$retainKeys"), "{refused}");
    }

    #[test]
    fn json_6902_adds_replaces_and_removes() {
        let mut object =
            json!({"spec": {"replicas": 1, "x": 1, "list": [1, 2]}, "metadata": {"annotations": {}}});
        let operations = json!([
            {"op": "replace", "path": "/spec/replicas", "value": 3},
            {"op": "remove", "path": "/spec/x"},
            {"op": "add", "path": "/spec/list/-", "value": 3},
            {"op": "replace", "path": "/spec/list/0", "value": 0},
            {"op": "add", "path": "/metadata/annotations/a~1b", "value": "c"}]);
        json6902(&mut object, &operations).unwrap();
        let expected =
            json!({"spec": {"replicas": 3, "list": [0, 2, 3]}, "metadata": {"annotations": {"a/b": "c"}}});
        assert_eq!(object, expected);
        assert!(json6902(&mut object, &json!([{"op": "replace", "path": "/nope", "value": 1}])).is_err());
        assert!(json6902(&mut object, &json!([{"op": "move", "path": "/spec", "from": "/x"}])).is_err());
    }
}
