//! What a rendered object says about itself and who else owns its fields: replica owners, containers, rollout
//! width, and the Helm releases that might produce a target. Rendered objects come in, model values go out.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::delivered::Watched;
use super::delivery::Beyond;
use super::entries::At;
use super::kustomize::Live;
use super::objects::{FieldPath, folder, is_below};
use super::{Found, Index, edit_refused, scalers};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::Reason;
use crate::model::workload::{Container, ReplicaOwner};

/// `kubectl.kubernetes.io/restartedAt`, the annotation that `kubectl rollout restart` sets.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Most Helm releases that a refusal lists.
const CANDIDATES_MAX: usize = 20;

/// Path of the pod template in every workload kind that rolls.
pub fn template_path() -> FieldPath {
    FieldPath::keys(["spec", "template"])
}

/// Path of the restart annotation.
pub fn restarted_path() -> FieldPath {
    template_path().key("metadata").key("annotations").key(RESTARTED_AT)
}

/// A whole number as Kubernetes reads it (int32, not negative). Absent is `Ok(None)`.
pub fn count_at(value: &Json, path: &FieldPath) -> Result<Option<u32>, Reason> {
    match path.find(value) {
        None | Some(Json::Null) => Ok(None),
        Some(found) => {
            let number =
                found.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| i32::try_from(*n).is_ok());
            let refused = || edit_refused(format!("{path} is {found}, not a plain whole number"));
            number.map(Some).ok_or_else(refused)
        }
    }
}

/// Containers and init containers of the pod template, in order.
pub fn containers(value: &Json) -> Vec<Container> {
    let pod = &value["spec"]["template"]["spec"];
    let lists = ["containers", "initContainers"].iter().filter_map(|key| pod[*key].as_array());
    let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
    lists.flatten().map(|c| Container { name: text(&c["name"]), image: text(&c["image"]) }).collect()
}

/// Path of a container's image, in whichever list the container is.
pub fn image_path(value: &Json, container: &str) -> Option<FieldPath> {
    ["containers", "initContainers"].iter().find_map(|list| {
        let path = template_path().key("spec").key(list).named(container).key("image");
        path.find(value).map(|_| path)
    })
}

/// The most pods that a rollout takes down at once, from the declared strategy and Kubernetes' defaults (25 %
/// rounded down for Deployments, one for StatefulSets and DaemonSets); `None`: all of them.
pub fn max_unavailable(kind: &str, value: &Json, replicas: u32) -> Option<u32> {
    let spec = &value["spec"];
    let (strategy, rolling, fallback) = match kind {
        "Deployment" => (&spec["strategy"], "rollingUpdate", Json::from("25%")),
        "Rollout" => return scalers::rollout_width(value, replicas, part_of),
        _ => (&spec["updateStrategy"], "rollingUpdate", Json::from(1)),
    };
    match strategy["type"].as_str() {
        Some("Recreate") => return None,
        // The kubelet of nobody restarts anything: the pods stay until somebody deletes them.
        Some("OnDelete") => return Some(0),
        _ => {}
    }
    let declared = &strategy[rolling]["maxUnavailable"];
    let surge = &strategy[rolling]["maxSurge"];
    let value = if declared.is_null() { &fallback } else { declared };
    let down = part_of(value, replicas)?;
    let is_zero = |v: &Json| part_of(v, replicas) == Some(0);
    // The API server turns 0/0 into one unavailable pod, because a rollout could not move otherwise.
    Some(if down == 0 && !surge.is_null() && is_zero(surge) { 1 } else { down })
}

/// A count, or a percentage of `replicas` rounded down; `None` when it is neither.
fn part_of(value: &Json, replicas: u32) -> Option<u32> {
    match value {
        Json::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
        Json::String(text) => {
            let percent: u64 = text.strip_suffix('%')?.parse().ok()?;
            u32::try_from(u64::from(replicas) * percent / 100).ok()
        }
        _ => None,
    }
}

/// A manifest without a namespace goes where its neighbours go: Argo CD and Flux fill the namespace per folder.
fn shares_namespace(other: &Live, live: &Live, namespace: &str) -> bool {
    match other.namespace.as_deref() {
        Some(own) => own == namespace,
        None => {
            live.namespace.is_none()
                || folder(other.declared.file.as_str()) == folder(live.declared.file.as_str())
        }
    }
}

/// Inside one kustomization a reference may use any name the object had: kustomize rewrites it.
fn names_seen_by<'a>(other: &Live, live: &'a Live) -> &'a [String] {
    let together = other.layers.last().is_some() && other.layers.last() == live.layers.last();
    let from = if together { 0 } else { live.names.len().saturating_sub(1) };
    &live.names[from..]
}

impl Index {
    /// Who owns the replica count of `live`.
    pub(super) fn owner_of(&self, live: &Live, target: &WorkloadRef) -> Result<ReplicaOwner, Reason> {
        let aims = |other: &Found| {
            let at = &other.value["spec"]["scaleTargetRef"];
            let kind = at["kind"].as_str().unwrap_or("Deployment");
            shares_namespace(other, live, target.namespace.as_str())
                && names_seen_by(other, live).iter().any(|name| at["name"] == **name)
                && (kind == live.kind || other.kind == "ScaledObject" && at["kind"].is_null())
        };
        if let Some(owner) = scalers::rollout_of(live, target, self.of_kind(Watched::Rollout)) {
            return Ok(owner);
        }
        // Under any name the object ever had; which of them counts, `aims` knows. KEDA makes an autoscaler of its
        // own for every ScaledObject; one that is declared beside it fights it.
        let named = live.names.iter().filter_map(|name| self.autoscalers.get(name.as_str()));
        let positions: BTreeSet<&At> = named.flatten().collect();
        let aiming: Vec<Found> = positions.into_iter().filter_map(|at| self.at(at)).filter(aims).collect();
        match &aiming[..] {
            [] => Ok(self.hidden_owner(live).unwrap_or(ReplicaOwner::Workload)),
            [scaler] => scalers::autoscaler(scaler, target.namespace.as_str()),
            [..] => {
                let files: Vec<String> = aiming.iter().map(|h| h.declared.file.to_string()).collect();
                Ok(ReplicaOwner::Other(format!("several autoscalers: {}", files.join(", "))))
            }
        }
    }

    /// A file that cannot be read but speaks of an autoscaler and of this name: assume the worst, because a
    /// replica count written beside an unseen autoscaler is the one mistake that takes a service down.
    fn hidden_owner(&self, live: &Live) -> Option<ReplicaOwner> {
        let named = |text: &str| live.names.iter().any(|n| text.contains(n.as_str()));
        let speaks = |file: &&RepoPath| self.sources.text(file).map_or(true, |text| named(&text));
        // What a rendered chart declares is known, whatever its templates speak of.
        let rendered = |file: &&RepoPath| {
            let charts = self.delivered.lives.iter().filter_map(|live| live.release.as_ref());
            charts.into_iter().any(|release| is_below(file.as_str(), &release.chart.dir))
        };
        self.hidden.iter().filter(|file| !rendered(file)).find(speaks).map(|file| {
            ReplicaOwner::Other(format!(
                "{file} cannot be read and may declare an autoscaler for this target"
            ))
        })
    }

    /// What may bring `target` and cannot be looked into: a chart elsewhere, another repository.
    pub(super) fn helm_candidates(&self, target: &WorkloadRef) -> Vec<String> {
        let close = |beyond: &&Beyond| {
            let named = |name: &String| !name.is_empty() && target.name.as_str().contains(name.as_str());
            let anything = beyond.namespace.is_none() && beyond.names.is_empty();
            anything
                || beyond.namespace.as_deref() == Some(target.namespace.as_str())
                || beyond.names.iter().any(named)
        };
        let found = self.delivered.beyond.iter().filter(close).take(CANDIDATES_MAX);
        found.map(|it| format!("{}, which {}", it.label, it.why)).collect()
    }
}
