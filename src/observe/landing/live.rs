//! The count of replicas as the cluster has it, and who owns it there. A workload and the autoscalers of its namespace
//! come in as the API server has them; plain figures go out.

use serde_json::Value as Json;

use crate::model::workload::{LiveAutoscaler, LiveCount};

/// Reads the count of `workload`, which is scaled by the one of `autoscalers` that names it.
#[must_use]
pub fn count(workload: &Json, autoscalers: &[Json]) -> LiveCount {
    let number = |value: &Json| value.as_u64().and_then(|it| u32::try_from(it).ok());
    let scales = |it: &&Json| {
        let target = &it["spec"]["scaleTargetRef"];
        target["kind"] == workload["kind"] && target["name"] == workload["metadata"]["name"]
    };
    let autoscaler = autoscalers.iter().find(scales).map(|it| LiveAutoscaler {
        name: it["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        min: number(&it["spec"]["minReplicas"]).unwrap_or(1),
        max: number(&it["spec"]["maxReplicas"]).unwrap_or(1),
    });
    LiveCount {
        replicas: number(&workload["spec"]["replicas"]).unwrap_or(1),
        set_by: set_by(workload),
        autoscaler,
    }
}

/// Who wrote `spec.replicas` last, as the API server notes it.
fn set_by(workload: &Json) -> Option<String> {
    let all = workload["metadata"]["managedFields"].as_array()?;
    let wrote = |it: &&Json| !it["fieldsV1"]["f:spec"]["f:replicas"].is_null();
    let newest = all.iter().filter(wrote).max_by_key(|it| it["time"].as_str())?;
    newest["manager"].as_str().map(|name| name.chars().filter(|c| !c.is_control()).take(60).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_count_is_read_with_whoever_wrote_it_last() {
        let field = json!({ "f:spec": { "f:replicas": {} } });
        let workload = json!({
            "kind": "Deployment",
            "metadata": { "name": "backend", "managedFields": [
                { "manager": "kustomize-controller", "time": "2026-11-30T08:00:00Z", "fieldsV1": field },
                { "manager": "kubectl", "time": "2026-11-30T09:00:00Z", "fieldsV1": field },
                { "manager": "kube-controller-manager", "time": "2026-11-30T09:30:00Z", "fieldsV1": {} },
            ] },
            "spec": { "replicas": 6 },
        });
        let scaler = |name: &str, min: Option<u32>| {
            let target = json!({ "kind": "Deployment", "name": name });
            let spec = json!({ "scaleTargetRef": target, "minReplicas": min, "maxReplicas": 9 });
            json!({ "metadata": { "name": "own" }, "spec": spec })
        };
        let found = count(&workload, &[scaler("frontend", Some(2))]);
        let expected = LiveCount { replicas: 6, set_by: Some("kubectl".to_owned()), autoscaler: None };
        assert_eq!(found, expected);
        let found = count(&workload, &[scaler("frontend", Some(2)), scaler("backend", None)]).autoscaler;
        assert_eq!(found, Some(LiveAutoscaler { name: "own".to_owned(), min: 1, max: 9 }));
    }
}
