//! Is what a commit wrote what runs? A workload, an autoscaler or a field as the API server has it comes in; what is
//! still missing goes out, in words, or nothing. The rules are those of `kubectl rollout status`, with figures.

use serde_json::Value as Json;

use crate::layout::{FieldPath, written};
use crate::model::change::{RenderedChange, is_sealed};

/// What of the newest wish about a workload is not done yet; `None`: all of it is, or it is of a kind without rollouts.
#[must_use]
pub fn unfinished(object: &Json) -> Option<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match kind {
        "Deployment" => seen(object).or_else(|| deployment(object)),
        "StatefulSet" => seen(object).or_else(|| stateful_set(object)),
        "DaemonSet" => seen(object).or_else(|| daemon_set(object)),
        "Rollout" => argo_rollout(object),
        _ => None,
    }
}

fn count(value: &Json) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// The count of a workload that may leave it out.
fn replicas(object: &Json) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn seen(object: &Json) -> Option<String> {
    let behind = count(&object["status"]["observedGeneration"]) < count(&object["metadata"]["generation"]);
    behind.then(|| "its controller has not seen the newest change".to_owned())
}

fn deployment(object: &Json) -> Option<String> {
    let (status, wanted) = (&object["status"], replicas(object));
    if object["spec"]["paused"] == true {
        return Some("its rollout is paused".to_owned());
    }
    let of = |field: &str| count(&status[field]);
    let (updated, all, ready) = (of("updatedReplicas"), of("replicas"), of("availableReplicas"));
    let stuck = status["conditions"].as_array().into_iter().flatten().any(|it| {
        it["type"] == "Progressing" && it["status"] == "False" && it["reason"] == "ProgressDeadlineExceeded"
    });
    let late = if stuck { ", and its progress deadline is exceeded" } else { "" };
    match () {
        () if updated < wanted => Some(format!("{updated} of {wanted} pods are updated{late}")),
        () if all > updated => Some(format!("{} old pods are not gone yet{late}", all - updated)),
        () if ready < updated => Some(format!("{ready} of {updated} pods are available{late}")),
        () => None,
    }
}

fn stateful_set(object: &Json) -> Option<String> {
    let (status, wanted) = (&object["status"], replicas(object));
    let (all, ready) = (count(&status["replicas"]), count(&status["readyReplicas"]));
    let strategy = &object["spec"]["updateStrategy"];
    // Below the partition the old revision stays, and with OnDelete all of it: that is wanted.
    let partition = count(&strategy["rollingUpdate"]["partition"]).min(wanted);
    let updated = if status["updateRevision"] == status["currentRevision"] {
        all
    } else {
        count(&status["updatedReplicas"])
    };
    match () {
        () if all != wanted => Some(format!("{all} of {wanted} pods are there")),
        () if ready < wanted => Some(format!("{ready} of {wanted} pods are ready")),
        () if strategy["type"] != "OnDelete" && updated < wanted - partition => {
            Some(format!("{updated} of {} pods are updated", wanted - partition))
        }
        () => None,
    }
}

fn daemon_set(object: &Json) -> Option<String> {
    let status = &object["status"];
    let wanted = count(&status["desiredNumberScheduled"]);
    let (updated, ready) = (count(&status["updatedNumberScheduled"]), count(&status["numberAvailable"]));
    let on_delete = object["spec"]["updateStrategy"]["type"] == "OnDelete";
    match () {
        () if !on_delete && updated < wanted => Some(format!("{updated} of {wanted} pods are updated")),
        () if ready < wanted => Some(format!("{ready} of {wanted} pods are available")),
        () => None,
    }
}

/// Its controller writes the generation as text, and judges by itself.
fn argo_rollout(object: &Json) -> Option<String> {
    let status = &object["status"];
    let seen: i64 = status["observedGeneration"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0);
    if seen < count(&object["metadata"]["generation"]) {
        return Some("its controller has not seen the newest change".to_owned());
    }
    let phase = status["phase"].as_str().unwrap_or("unknown");
    (phase != "Healthy").then(|| format!("its phase is {phase}"))
}

/// Has `workload` at least what the autoscaler, or KEDA's form of one, asks for at least?
#[must_use]
pub fn not_followed(scaler: &Json, workload: &Json) -> Option<String> {
    let spec = &scaler["spec"];
    let least = spec["minReplicas"].as_i64().or(spec["minReplicaCount"].as_i64())?;
    let has = replicas(workload);
    (has < least).then(|| format!("the autoscaler asks for at least {least} replicas, and there are {has}"))
}

/// Fields that the API server keeps as they are written; others it may write in another form (`1000m` as `1`).
fn is_kept_as_written(field: &str) -> bool {
    ["replicas", "minReplicas", "maxReplicas", "minReplicaCount", "maxReplicaCount", "image"]
        .iter()
        .any(|name| field.rsplit('.').next() == Some(name))
        || field.ends_with("restartedAt\"")
}

/// How the live object differs from what the commit came to in this field.
#[must_use]
pub fn differs(live: &Json, change: &RenderedChange) -> Option<String> {
    let wanted = change.to.as_deref().filter(|to| !is_sealed(to) && is_kept_as_written(&change.field))?;
    let has = FieldPath::parse(&change.field)?.find(live).and_then(written);
    let shown = has.as_deref().unwrap_or("absent");
    (has.as_deref() != Some(wanted)).then(|| format!("{} is {shown}, not {wanted}", change.field))
}
