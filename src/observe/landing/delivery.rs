//! What Argo CD and Flux report about one of their objects: the commits it has applied, and why it goes no further.
//! The object as the API server has it comes in, a [`Delivery`] goes out. Whether a commit contains ours is not asked
//! here, and a message of a controller is shown, never read.

use serde_json::Value as Json;

use super::origin::{self, Bringer, BringerKind};
use crate::model::ids::ObjectId;
use crate::outside::kube::Resource;

/// Longest message of a controller that is repeated, characters.
const SAYS_CHARS_MAX: usize = 300;
/// Argo CD's name for the cluster it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// One object that delivers, as its controller reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// For people: `Kustomization flux-system/apps`.
    pub label: String,
    /// Commits it says are applied; empty when what it brings is not named by commits (the version of a chart).
    pub applied: Vec<ObjectId>,
    /// Why it is not done with what it was told last; `None`: it is.
    pub problem: Option<String>,
    /// It brings to another cluster than the one it is in.
    pub is_far: bool,
    /// What it brought works, as far as its controller can tell.
    pub is_healthy: bool,
    /// Whose controller may be asked to look at the repository now: its kind, namespace and name.
    pub looks: Option<(Resource, String, String)>,
}

/// Reads `object`, which is what `bringer` names and what brings `brought`.
#[must_use]
pub fn read(bringer: &Bringer, object: &Json, brought: &Json) -> Delivery {
    match bringer.kind {
        BringerKind::Application => application(bringer.to_string(), object, brought),
        BringerKind::Kustomization => kustomization(bringer.to_string(), object),
        BringerKind::HelmRelease => helm_release(bringer.to_string(), object),
    }
}

/// The commit in a revision as Flux writes it (`main@sha1:<id>`), or Argo CD (`<id>`).
#[must_use]
pub fn commit_of(revision: &Json) -> Option<ObjectId> {
    ObjectId::new(revision.as_str()?.rsplit(':').next()?).ok()
}

/// Why an object of Flux is not done: suspended, not looked at, or not ready, in its controller's words.
#[must_use]
pub fn flux_problem(object: &Json) -> Option<String> {
    let (spec, status) = (&object["spec"], &object["status"]);
    if spec["suspend"] == true {
        return Some("is suspended".to_owned());
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|it| it["type"] == "Ready");
    // A controller that failed has not observed the generation it failed at: its words come first.
    let is_behind = status["observedGeneration"].as_i64() < object["metadata"]["generation"].as_i64();
    match ready {
        Some(ready) if ready["status"] != "True" => {
            Some(format!("is not ready: {}", says(&ready["message"], &ready["reason"])))
        }
        Some(_) if !is_behind => None,
        Some(_) | None => Some("was not looked at by its controller since it changed".to_owned()),
    }
}

fn kustomization(label: String, object: &Json) -> Delivery {
    let status = &object["status"];
    let applied = ["lastAppliedRevision", "lastAppliedOriginRevision"];
    let problem = flux_problem(object);
    Delivery {
        label,
        applied: applied.iter().filter_map(|field| commit_of(&status[*field])).collect(),
        is_far: !object["spec"]["kubeConfig"].is_null(),
        is_healthy: problem.is_none(),
        problem,
        looks: None,
    }
}

/// A release names the version of its chart; the commit that a chart of a repository came from is in its `HelmChart`,
/// see [`chart_commit`].
fn helm_release(label: String, object: &Json) -> Delivery {
    let problem = flux_problem(object);
    Delivery {
        label,
        applied: Vec::new(),
        is_far: !object["spec"]["kubeConfig"].is_null(),
        is_healthy: problem.is_none(),
        problem,
        looks: None,
    }
}

/// The commit whose chart is released: of the `HelmChart`, if the release has tried exactly what that holds.
#[must_use]
pub fn chart_commit(release: &Json, chart: &Json) -> Option<ObjectId> {
    let tried = release["status"]["lastAttemptedRevision"].as_str()?;
    if chart["status"]["artifact"]["revision"] != tried {
        return None;
    }
    commit_of(&chart["status"]["observedSourceArtifactRevision"])
}

fn application(label: String, object: &Json, brought: &Json) -> Delivery {
    let (spec, status) = (&object["spec"], &object["status"]);
    // Another object that is out of sync, for ever perhaps, says nothing about this one.
    let own = origin::listed(object, brought).is_some_and(|it| it["status"] == "Synced");
    let is_synced = status["sync"]["status"] == "Synced" || own;
    let mut applied = Vec::new();
    if is_synced {
        applied.extend(revisions(&status["sync"]));
    }
    let done = &status["operationState"];
    // An operation that tried, or took a part of the objects, says nothing about ours.
    let is_whole = done["operation"]["sync"]["dryRun"] != true
        && done["operation"]["sync"]["resources"].as_array().is_none_or(Vec::is_empty);
    if done["phase"] == "Succeeded" && is_whole {
        applied.extend(revisions(&done["syncResult"]));
    }
    applied.sort_unstable();
    applied.dedup();
    if !spec["sourceHydrator"].is_null() {
        // Its revisions are of the branch that Argo CD writes.
        applied = commit_of(&status["sourceHydrator"]["lastSuccessfulOperation"]["drySHA"])
            .filter(|_| is_synced)
            .into_iter()
            .collect();
    }
    let destination = &spec["destination"];
    let named = |value: &Json, own: &str| value.as_str().is_some_and(|it| !it.is_empty() && it != own);
    Delivery {
        label,
        applied,
        problem: application_problem(spec, status, is_synced),
        is_far: named(&destination["server"], IN_CLUSTER) || named(&destination["name"], "in-cluster"),
        is_healthy: status["health"]["status"] == "Healthy",
        looks: None,
    }
}

/// Commits of one source or of several; the version of a chart is none.
fn revisions(of: &Json) -> Vec<ObjectId> {
    let several = of["revisions"].as_array().into_iter().flatten();
    several.chain([&of["revision"]]).filter_map(commit_of).collect()
}

fn application_problem(spec: &Json, status: &Json, is_synced: bool) -> Option<String> {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_error = |it: &&Json| it["type"].as_str().is_some_and(|kind| kind.ends_with("Error"));
    if let Some(error) = conditions.iter().find(is_error) {
        return Some(format!(
            "reports {}: {}",
            says(&error["type"], &Json::Null),
            says(&error["message"], &Json::Null)
        ));
    }
    let operation = &status["operationState"];
    match operation["phase"].as_str() {
        Some(phase @ ("Failed" | "Error")) => {
            return Some(format!("could not sync ({phase}): {}", says(&operation["message"], &Json::Null)));
        }
        Some("Running" | "Terminating") => {
            return Some(format!(
                "is syncing: {}",
                says(&operation["message"], &Json::from("no more is known"))
            ));
        }
        _ => {}
    }
    let compared = &status["sync"]["comparedTo"];
    let field =
        if spec["sources"].as_array().is_some_and(|it| !it.is_empty()) { "sources" } else { "source" };
    let is_current = compared[field] == spec[field];
    let automated = &spec["syncPolicy"]["automated"];
    match () {
        () if is_synced && is_current => None,
        () if is_synced => Some("was not compared with what it names since that changed".to_owned()),
        () if automated.is_null() || automated["enabled"] == false => {
            Some("is out of sync, and somebody has to sync it by hand".to_owned())
        }
        () => Some("is out of sync".to_owned()),
    }
}

/// Words of a controller, on one line and cut; `otherwise` when there are none.
fn says(text: &Json, otherwise: &Json) -> String {
    let text =
        text.as_str().filter(|it| !it.trim().is_empty()).or(otherwise.as_str()).unwrap_or("no reason given");
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SAYS_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
