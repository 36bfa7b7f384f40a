//! Who owns a count beside the workload: HorizontalPodAutoscaler, KEDA `ScaledObject`, Argo `Rollout`. Rendered
//! objects come in, owners with their bounds go out.

use serde_json::Value as Json;

use super::kustomize::Live;
use super::objects::{FieldPath, reference};
use super::owners::count_at;
use super::{Found, edit_refused};
use crate::model::ids::WorkloadRef;
use crate::model::reason::Reason;
use crate::model::workload::ReplicaOwner;

/// KEDA's `minReplicaCount` and `maxReplicaCount` when they are not given.
const KEDA_BOUNDS: (u32, u32) = (0, 100);

/// The lower bound in an autoscaler of this kind.
#[must_use]
pub fn minimum_path(kind: &str) -> FieldPath {
    FieldPath::keys(["spec", if kind == "ScaledObject" { "minReplicaCount" } else { "minReplicas" }])
}

/// The owner that an autoscaler object is.
///
/// # Errors
/// `EditRefused` when its bounds are not plain numbers, or its name could not exist.
pub fn autoscaler(scaler: &Live, namespace: &str) -> Result<ReplicaOwner, Reason> {
    let spec = |key| count_at(&scaler.value, &FieldPath::keys(["spec", key]));
    let owner = reference(namespace, &scaler.kind, scaler.name())
        .ok_or_else(|| edit_refused(format!("{} has an invalid name", scaler.declared.file)))?;
    if scaler.kind == "ScaledObject" {
        let annotations = &scaler.value["metadata"]["annotations"];
        let paused = ["autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas"]
            .into_iter()
            .find(|key| !annotations[*key].is_null() && annotations[*key] != "false");
        if let Some(paused) = paused {
            let text = format!(
                "KEDA ScaledObject {} in {} is paused ({paused})",
                scaler.name(),
                scaler.declared.file
            );
            return Ok(ReplicaOwner::Other(text));
        }
        let min = spec("minReplicaCount")?.unwrap_or(KEDA_BOUNDS.0);
        let max = spec("maxReplicaCount")?.unwrap_or(KEDA_BOUNDS.1);
        return Ok(ReplicaOwner::Autoscaler { target: owner, min, max });
    }
    let Some(max) = spec("maxReplicas")? else {
        return Err(edit_refused(format!("{} has no spec.maxReplicas", scaler.declared.file)));
    };
    Ok(ReplicaOwner::Autoscaler { target: owner, min: spec("minReplicas")?.unwrap_or(1), max })
}

/// The Rollout that takes its pod template from this workload and therefore owns its count.
pub(super) fn rollout_of(
    live: &Live,
    target: &WorkloadRef,
    mut all: impl Iterator<Item = Found>,
) -> Option<ReplicaOwner> {
    let aims = |other: &Found| {
        let at = &other.value["spec"]["workloadRef"];
        let same_place = other.namespace.as_deref().is_none_or(|own| own == target.namespace.as_str());
        is_rollout(other)
            && same_place
            && at["kind"] == *live.kind
            && live.names.iter().any(|n| at["name"] == **n)
    };
    all.find(aims).map(|rollout| {
        let (name, namespace) = (rollout.name(), &target.namespace);
        ReplicaOwner::Other(format!(
            "the Rollout {name} in {}, which runs the pods of {target} and keeps its count at 0; name \
             {namespace}/Rollout/{name} as the target",
            rollout.declared.file
        ))
    })
}

fn is_rollout(live: &Live) -> bool {
    live.kind == "Rollout" && live.api_version.starts_with("argoproj.io/")
}

/// A Rollout with `workloadRef` has no pod template of its own: says where it is.
#[must_use]
pub fn template_elsewhere(live: &Live, target: &WorkloadRef) -> Option<Reason> {
    let at = &live.value["spec"]["workloadRef"];
    let (kind, name) = (at["kind"].as_str()?, at["name"].as_str()?);
    is_rollout(live).then(|| {
        edit_refused(format!(
            "the pod template of {target} is that of {kind} {name}; name {}/{kind}/{name} as the target",
            target.namespace
        ))
    })
}

/// The most pods that a Rollout takes down at once: a quarter for a canary unless it says otherwise, none for a
/// blue-green switch.
#[must_use]
pub fn rollout_width(
    value: &Json,
    replicas: u32,
    part_of: impl Fn(&Json, u32) -> Option<u32>,
) -> Option<u32> {
    let strategy = &value["spec"]["strategy"];
    if !strategy["blueGreen"].is_null() {
        return Some(0);
    }
    let declared = &strategy["canary"]["maxUnavailable"];
    let quarter = Json::from("25%");
    part_of(if declared.is_null() { &quarter } else { declared }, replicas)
}
