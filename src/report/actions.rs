//! `RemediationAction` objects: the ledger as people and programs see it in a cluster. Records come in, objects are
//! made, set back and pruned. It is a projection: what it finds is compared with what should be there, so any replica
//! may write it, writing it twice changes nothing, and an API server that is down costs a delay.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::projection::{MANAGER, Outage, correction, put_status};
use crate::crd::action;
use crate::model::action::RemediationAction;
use crate::model::ids::{BranchName, Namespace, RepoId, digest_hex};
use crate::outside::kube::{Kube, KubeError, Part, Patch, Place, Resource, Selection};

/// Most objects that are looked at; beyond, the oldest names are left alone.
const OBJECTS_MAX: usize = 2_000;
/// Finished ones that stay to be looked at.
pub const FINISHED_MAX: usize = 50;
/// Most writes of one tick; what is left waits for the next one.
const WRITES_MAX: usize = 100;
/// Whose objects: two instances for two repositories may share a cluster.
const REPOSITORY_LABEL: &str = "aiops.tars/repository";

pub const ACTIONS: Resource =
    Resource { group: "aiops.tars", version: "v1alpha1", plural: "remediationactions" };

/// Number of the pull request of a branch, where it is known.
pub type PullOf<'a> = &'a (dyn Fn(&BranchName) -> Option<u64> + Sync);

/// The objects of one repository in one cluster.
#[derive(Debug)]
pub struct Actions {
    kube: Kube,
    /// Empty: all.
    namespaces: Vec<Namespace>,
    repository: String,
    outage: Outage,
}

#[derive(Debug, Deserialize)]
struct Seen {
    metadata: Meta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Debug, Deserialize)]
struct Meta {
    name: String,
    namespace: String,
    uid: String,
    generation: i64,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Actions {
    #[must_use]
    pub fn new(kube: Kube, namespaces: Vec<Namespace>, repository: &RepoId) -> Self {
        let repository = digest_hex(&["repository", repository.as_str()])[..16].to_owned();
        Self { kube, namespaces, repository, outage: Outage::default() }
    }

    /// Brings the objects in line with `records`. What cannot be written is logged and tried again at the next tick.
    pub async fn show(&mut self, records: &[&RemediationAction], pull_of: PullOf<'_>) {
        let outcome = Box::pin(self.bring_in_line(records, pull_of)).await;
        self.outage.note(outcome);
    }

    async fn bring_in_line(
        &self,
        records: &[&RemediationAction],
        pull_of: PullOf<'_>,
    ) -> Result<(), KubeError> {
        let wanted = self.wanted(records);
        let mut seen = self.seen().await?;
        let mut first_error = None;
        let mut writes = 0;
        for record in &wanted {
            let found = seen.remove(&key(record));
            match self.keep(record, found.as_ref(), pull_of, &mut writes).await {
                Ok(()) => {}
                // Nothing else can be written now.
                Err(error) if error.is_transient() => return Err(error),
                // A namespace that is not there must not hide the others.
                Err(error) => first_error = first_error.or(Some(error)),
            }
            if writes >= WRITES_MAX {
                break;
            }
        }
        self.prune(&wanted, seen).await?;
        first_error.map_or(Ok(()), Err)
    }

    /// What is open, and of the rest the newest few.
    fn wanted<'a>(&self, records: &[&'a RemediationAction]) -> Vec<&'a RemediationAction> {
        let here = |it: &&&RemediationAction| {
            self.namespaces.is_empty() || self.namespaces.contains(&it.spec.target.namespace)
        };
        let mut by_id = BTreeMap::new();
        for record in records.iter().filter(here) {
            by_id.insert(record.id().clone(), *record);
        }
        let (mut open, mut finished): (Vec<_>, Vec<_>) =
            by_id.into_values().partition(|it| it.state().is_open());
        finished.sort_by_key(|it| std::cmp::Reverse(it.status.timeline.last().map(|it| it.at)));
        open.extend(finished.into_iter().take(FINISHED_MAX));
        open
    }

    async fn seen(&self) -> Result<BTreeMap<(String, String), Seen>, KubeError> {
        let label = format!("{REPOSITORY_LABEL}={}", self.repository);
        let all = [None];
        let named: Vec<Option<&str>> = self.namespaces.iter().map(|it| Some(it.as_str())).collect();
        let mut seen = BTreeMap::new();
        for namespace in if named.is_empty() { &all[..] } else { &named[..] } {
            let selection = Selection { namespace: *namespace, labels: Some(&label), ..Selection::default() };
            let listed = self.kube.list::<Seen>(ACTIONS, selection, OBJECTS_MAX).await?;
            let by_key = |it: Seen| ((it.metadata.namespace.clone(), it.metadata.name.clone()), it);
            seen.extend(listed.items.into_iter().map(by_key));
        }
        Ok(seen)
    }

    /// Makes or sets back one object, and its status; nothing is sent when all is as it should be.
    async fn keep(
        &self,
        record: &RemediationAction,
        found: Option<&Seen>,
        pull_of: PullOf<'_>,
        writes: &mut usize,
    ) -> Result<(), KubeError> {
        let labels = json!({
            "app.kubernetes.io/managed-by": MANAGER,
            REPOSITORY_LABEL: self.repository,
            "aiops.tars/policy": record.spec.policy,
        });
        let object = action::object(record, &labels);
        let (namespace, name) = key(record);
        let place = Place { resource: ACTIONS, namespace: Some(&namespace), name: &name };
        let apply = Patch::Apply { manager: MANAGER };
        let is_kept = |it: &&Seen| it.spec == object["spec"] && json!(it.metadata.labels) == labels;
        let mut made = None;
        if found.filter(is_kept).is_none() {
            let mut after: Seen = self.kube.patch(place, Part::Whole, apply, &object).await?;
            *writes += 1;
            if after.spec != object["spec"] {
                // Fields that somebody else added stay under apply: they are not ours to leave out there.
                let back = json!({ "spec": correction(&after.spec, &object["spec"]) });
                after = self.kube.patch(place, Part::Whole, Patch::Merge, &back).await?;
                *writes += 1;
            }
            made = Some(after);
        }
        let Some(now) = made.as_ref().or(found) else { return Ok(()) };
        let pull = record.spec.change.as_ref().and_then(|it| pull_of(&it.branch));
        let status = action::status(record, pull, now.metadata.generation);
        *writes += put_status(&self.kube, place, &object, &now.status, &status).await?;
        Ok(())
    }

    /// Deletes what the ledger does not know as open, and the oldest of the finished ones.
    async fn prune(
        &self,
        wanted: &[&RemediationAction],
        seen: BTreeMap<(String, String), Seen>,
    ) -> Result<(), KubeError> {
        let kept: BTreeSet<_> = wanted.iter().map(|it| key(it)).collect();
        let room = FINISHED_MAX.saturating_sub(wanted.iter().filter(|it| !it.state().is_open()).count());
        let rest = seen
            .into_values()
            .filter(|it| !kept.contains(&(it.metadata.namespace.clone(), it.metadata.name.clone())));
        let (mut finished, mut gone): (Vec<_>, Vec<_>) = rest.partition(is_finished);
        finished.sort_by_key(|it| std::cmp::Reverse(it.status["proposedAt"].as_str().map(str::to_owned)));
        gone.extend(finished.into_iter().skip(room));
        for it in gone.into_iter().take(WRITES_MAX) {
            let Meta { name, namespace, uid, .. } = &it.metadata;
            let place = Place { resource: ACTIONS, namespace: Some(namespace), name };
            match self.kube.delete(place, uid).await {
                Err(error) if !error.is_not_found() && !matches!(error, KubeError::Conflict { .. }) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn key(record: &RemediationAction) -> (String, String) {
    (record.spec.target.namespace.to_string(), record.id().to_string())
}

fn is_finished(it: &Seen) -> bool {
    matches!(it.status["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"))
        || it.spec["decision"] == "Observe"
}
