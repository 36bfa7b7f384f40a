//! Kustomize patches on plain values: strategic merge (as far as pod templates and Services need it) and JSON
//! 6902. An object and a patch come in, the patched object goes out; a directive that is not modelled is an
//! error, never a guess.

use serde_json::{Map, Value as Json};

/// Deepest nesting that is merged; deeper documents are refused by the parser anyway.
const MAX_DEPTH: usize = 100;

/// Key by which a list merges, from the `patchMergeKey` of the Kubernetes API types; `None`: replaced whole.
fn merge_key(field: &str, in_service: bool) -> Option<&'static str> {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets" => {
            Some("name")
        }
        "ports" if in_service => Some("port"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

/// Kinds whose lists merge by key; every other kind (custom resources) merges as JSON (RFC 7396).
fn has_schema(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicaSet"
            | "ReplicationController"
            | "Pod"
            | "Job"
            | "CronJob"
            | "Service"
            | "ServiceAccount"
    )
}

/// Applies a strategic-merge `patch` to `object`.
///
/// # Errors
/// A sentence naming the directive that is not understood.
pub fn strategic(object: &mut Json, patch: &Json, kind: &str) -> Result<(), String> {
    merge(object, patch, &Mode { by_key: has_schema(kind), service: kind == "Service" }, 0)
}

struct Mode {
    by_key: bool,
    service: bool,
}

fn merge(into: &mut Json, patch: &Json, mode: &Mode, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("nests too deep".into());
    }
    let Json::Object(entries) = patch else {
        *into = patch.clone();
        return Ok(());
    };
    if let Some(unknown) = entries.keys().find(|k| k.starts_with('$') && *k != "$patch") {
        return Err(format!("uses the directive {unknown}"));
    }
    match entries.get("$patch").and_then(Json::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            let rest = entries.iter().filter(|(k, _)| *k != "$patch");
            *into = Json::Object(rest.map(|(k, v)| (k.clone(), v.clone())).collect());
            return Ok(());
        }
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
        match (value, merge_key(key, mode.service).filter(|_| mode.by_key)) {
            (Json::Array(items), Some(by)) => {
                let list = target.entry(key.clone()).or_insert_with(|| Json::Array(Vec::new()));
                merge_list(list, items, by, mode, depth + 1)?;
            }
            _ => {
                let slot = target.entry(key.clone()).or_insert(Json::Null);
                merge(slot, value, mode, depth + 1)?;
                if slot.is_null() {
                    target.remove(key);
                }
            }
        }
    }
    Ok(())
}

fn merge_list(list: &mut Json, items: &[Json], by: &str, mode: &Mode, depth: usize) -> Result<(), String> {
    if items.iter().any(|item| item.get(by).is_none()) {
        return Err(format!("has a list item without its merge key {by:?}"));
    }
    if !list.is_array() {
        *list = Json::Array(Vec::new());
    }
    let Json::Array(target) = list else { return Ok(()) };
    for item in items {
        let at = target.iter().position(|old| old.get(by) == item.get(by));
        match (at, item.get("$patch").and_then(Json::as_str)) {
            (Some(at), Some("delete")) => {
                target.remove(at);
            }
            (None, Some("delete")) => {}
            (Some(at), _) => merge(&mut target[at], item, mode, depth)?,
            (None, _) => {
                let mut fresh = Json::Null;
                merge(&mut fresh, item, mode, depth)?;
                target.push(fresh);
            }
        }
    }
    Ok(())
}

/// Applies JSON 6902 operations (`add`, `replace`, `remove`, `test`) to `object`.
///
/// # Errors
/// A sentence naming the operation that cannot be applied.
pub fn json6902(object: &mut Json, operations: &Json) -> Result<(), String> {
    let list = operations.as_array().ok_or("is not a list of JSON 6902 operations")?;
    for operation in list {
        let verb = operation["op"].as_str().unwrap_or_default();
        let path = operation["path"].as_str().unwrap_or_default();
        apply_one(object, verb, path, &operation["value"])
            .ok_or_else(|| format!("has an operation that cannot be applied: {verb:?} {path:?}"))?;
    }
    Ok(())
}

/// RFC 6901: `~1` is `/`, `~0` is `~`.
fn apply_one(object: &mut Json, verb: &str, path: &str, value: &Json) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    let parent = object.pointer_mut(parent)?;
    match (verb, parent) {
        ("test", parent) => (parent.get(&last) == Some(value)).then_some(()),
        ("add", Json::Object(map)) => {
            map.insert(last, value.clone());
            Some(())
        }
        ("replace", Json::Object(map)) => {
            *map.get_mut(&last)? = value.clone();
            Some(())
        }
        ("remove", Json::Object(map)) => map.remove(&last).map(|_| ()),
        ("add", Json::Array(list)) if last == "-" => {
            list.push(value.clone());
            Some(())
        }
        (verb, Json::Array(list)) => {
            let index: usize = last.parse().ok()?;
            match verb {
                "add" if index <= list.len() => list.insert(index, value.clone()),
                "replace" => *list.get_mut(index)? = value.clone(),
                "remove" if index < list.len() => {
                    list.remove(index);
                }
                _ => return None,
            }
            Some(())
        }
        _ => None,
    }
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
        strategic(&mut object, &patch, "Deployment").unwrap();
        let expected =
            json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}});
        assert_eq!(object, expected);
    }

    #[test]
    fn a_custom_resource_has_its_lists_replaced() {
        let mut object = json!({"spec": {"env": [{"name": "a"}]}});
        strategic(&mut object, &json!({"spec": {"env": [{"name": "b"}]}}), "Rollout").unwrap();
        assert_eq!(object, json!({"spec": {"env": [{"name": "b"}]}}));
    }

    #[test]
    fn null_and_delete_remove_and_replace_replaces() {
        let mut object =
            json!({"a": 1, "b": {"x": 1}, "c": {"x": 1, "y": 2}, "env": [{"name": "p"}, {"name": "q"}]});
        let patch = json!({"a": null, "b": {"$patch": "delete"}, "c": {"$patch": "replace", "z": 3},
            "env": [{"name": "p", "$patch": "delete"}]});
        strategic(&mut object, &patch, "Deployment").unwrap();
        assert_eq!(object, json!({"c": {"z": 3}, "env": [{"name": "q"}]}));
    }

    #[test]
    fn an_unknown_directive_is_refused() {
        let mut object = json!({});
        let refused = strategic(&mut object, &json!({"$retainKeys": ["a"]}), "Deployment").unwrap_err();
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
