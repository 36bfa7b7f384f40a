//! Whose pod an alert is about: Pod, ReplicaSet, Deployment, as the owners in the cluster say. Alerts come in and keep the
//! workload that owns their pod. An alert that says its workload is believed; what cannot be looked up stays unknown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::model::alert::{Alert, AlertStatus, Alerts};
use crate::model::ids::{KindName, Namespace, ObjectName, WorkloadRef};
use crate::model::policy::{Policy, Trigger};
use crate::outside::kube::{Kube, KubeError, Place, Resource};
use crate::telemetry::events::Event;

const PODS: Resource = Resource { group: "", version: "v1", plural: "pods" };
const REPLICA_SETS: Resource = Resource { group: "apps", version: "v1", plural: "replicasets" };
/// Most pods that are looked up in one tick, however many an alert storm names.
const LOOKUPS_MAX: usize = 20;
/// All lookups of one tick together.
const LOOKING_MAX: Duration = Duration::from_secs(5);
/// Most pods whose owner is remembered; with more, all are forgotten.
const KNOWN_MAX: usize = 2_000;
/// Labels by which an alert says itself which workload it is about.
const SAID: [&str; 3] = ["deployment", "statefulset", "daemonset"];

#[derive(Debug, Deserialize)]
struct Owned {
    metadata: OwnedMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnedMeta {
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

type Pod = (Namespace, ObjectName);

/// Owners of pods in one cluster. A pod never changes its owner, so what was found is remembered, also when the pod is gone.
#[derive(Debug)]
pub struct Owners {
    kube: Kube,
    /// Empty: all.
    namespaces: Vec<Namespace>,
    known: BTreeMap<Pod, WorkloadRef>,
    is_failing: bool,
}

impl Owners {
    #[must_use]
    pub fn new(kube: Kube, namespaces: Vec<Namespace>) -> Self {
        Self { kube, namespaces, known: BTreeMap::new(), is_failing: false }
    }

    /// Notes the owner in each firing alert that one of `policies` waits for and that names a pod and no workload.
    pub async fn note(&mut self, alerts: &mut Arc<Alerts>, policies: &[Policy]) {
        let looking = self.look_up(alerts, policies);
        let outcome = tokio::time::timeout(LOOKING_MAX, looking).await;
        if let Ok(Err(error)) = &outcome
            && !self.is_failing
        {
            Event::Failed { stage: "owners", error }.emit();
        }
        self.is_failing = !matches!(outcome, Ok(Ok(())));
        let noted = |alert: &Alert| {
            let owner = pod_of(alert).and_then(|pod| self.known.get(&pod)).cloned();
            (owner != alert.owner).then(|| Alert { owner, ..alert.clone() })
        };
        if let Some(all) = alerts.changed(noted) {
            *alerts = Arc::new(all);
        }
    }

    async fn look_up(&mut self, alerts: &Alerts, policies: &[Policy]) -> Result<(), KubeError> {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        let mut unknown: Vec<Pod> = Vec::new();
        for alert in alerts.iter().filter(|it| is_awaited(it, policies)) {
            let Some(pod) = pod_of(alert).filter(|it| !self.known.contains_key(it)) else { continue };
            let is_here = self.namespaces.is_empty() || self.namespaces.contains(&pod.0);
            if is_here && !unknown.contains(&pod) {
                unknown.push(pod);
            }
            if unknown.len() == LOOKUPS_MAX {
                break;
            }
        }
        for pod in unknown {
            if let Some(owner) = self.owner(&pod).await? {
                self.known.insert(pod, owner);
            }
        }
        Ok(())
    }

    async fn owner(&self, (namespace, name): &Pod) -> Result<Option<WorkloadRef>, KubeError> {
        let above = self.above(PODS, namespace, name.as_str()).await?;
        let top = match above {
            Some(owner) if owner.kind == "ReplicaSet" => {
                let above = self.above(REPLICA_SETS, namespace, &owner.name).await?;
                above.or(Some(owner))
            }
            other => other,
        };
        Ok(top.and_then(|it| {
            let (kind, name) = (KindName::new(it.kind).ok()?, ObjectName::new(it.name).ok()?);
            Some(WorkloadRef { namespace: namespace.clone(), kind, name })
        }))
    }

    /// The controller of an object; `None` too when the object is gone.
    async fn above(
        &self,
        resource: Resource,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<Owner>, KubeError> {
        let place = Place { resource, namespace: Some(namespace.as_str()), name };
        match self.kube.get::<Owned>(place).await {
            Ok(owned) => Ok(owned.metadata.owner_references.into_iter().find(|it| it.controller)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_awaited(alert: &Alert, policies: &[Policy]) -> bool {
    let is_its = |it: &Trigger| matches!(it, Trigger::Webhook { alertname, .. } if alertname == alert.name());
    alert.status == AlertStatus::Firing && policies.iter().flat_map(|it| &it.triggers).any(is_its)
}

/// The pod of an alert that does not say its workload.
fn pod_of(alert: &Alert) -> Option<Pod> {
    if SAID.iter().any(|it| alert.labels.contains_key(*it)) {
        return None;
    }
    let namespace = Namespace::new(alert.labels.get("namespace")?).ok()?;
    Some((namespace, ObjectName::new(alert.labels.get("pod")?).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::fixtures::{at, labels, policy};
    use crate::outside::kube::stand_in::StandIn;

    fn alert<const N: usize>(more: [(&str, &str); N]) -> Alert {
        let mut labels = labels(more);
        labels.insert("alertname".to_owned(), "Slow".to_owned());
        Alert {
            status: AlertStatus::Firing,
            labels,
            starts_at: at(0),
            ends_at: None,
            fingerprint: "f".to_owned(),
            owner: None,
        }
    }

    fn waiting() -> Vec<Policy> {
        let triggers = vec![Trigger::Webhook { alertname: "Slow".to_owned(), labels: labels([]) }];
        vec![Policy { triggers, ..policy() }]
    }

    async fn server() -> StandIn {
        let api = StandIn::start().await;
        let owned = |kind: &str, name: &str| {
            let owners =
                json!([{"kind": "Other", "name": "x"}, {"kind": kind, "name": name, "controller": true}]);
            json!({"metadata": {"ownerReferences": owners}})
        };
        let pod = |name: &str| format!("/api/v1/namespaces/shop/pods/{name}");
        for (path, object) in [
            (pod("checkout-5d-a"), owned("ReplicaSet", "checkout-5d")),
            (
                "/apis/apps/v1/namespaces/shop/replicasets/checkout-5d".to_owned(),
                owned("Deployment", "checkout"),
            ),
            (pod("db-0"), owned("StatefulSet", "db")),
            (pod("logs-x"), owned("DaemonSet", "logs")),
            (pod("batch-x"), owned("Job", "batch")),
            (pod("bare"), json!({"metadata": {}})),
        ] {
            api.state().answers.insert(path, object);
        }
        api
    }

    /// Each under a fingerprint of its own.
    fn all(alerts: impl IntoIterator<Item = Alert>) -> Arc<Alerts> {
        let numbered = alerts.into_iter().enumerate();
        Arc::new(numbered.map(|(n, it)| Arc::new(Alert { fingerprint: n.to_string(), ..it })).collect())
    }

    async fn owner_of(owners: &mut Owners, pod: &str) -> Option<String> {
        let mut alerts = all([alert([("namespace", "shop"), ("pod", pod)])]);
        owners.note(&mut alerts, &waiting()).await;
        alerts.iter().next()?.owner.as_ref().map(ToString::to_string)
    }

    #[tokio::test]
    async fn a_pod_leads_to_the_workload_that_made_it_and_is_asked_about_once() {
        let api = server().await;
        let mut owners = Owners::new(api.kube.clone(), Vec::new());
        for (pod, expected) in [
            ("checkout-5d-a", Some("shop/Deployment/checkout")),
            ("db-0", Some("shop/StatefulSet/db")),
            ("logs-x", Some("shop/DaemonSet/logs")),
            ("batch-x", Some("shop/Job/batch")),
            ("bare", None),
            ("not-there", None),
            ("../../secrets", None),
        ] {
            assert_eq!(owner_of(&mut owners, pod).await.as_deref(), expected, "{pod}");
        }
        let asked = api.state().reads.len();
        // Also when it is gone.
        api.state().answers.clear();
        assert_eq!(owner_of(&mut owners, "checkout-5d-a").await.as_deref(), Some("shop/Deployment/checkout"));
        assert_eq!(api.state().reads.len(), asked);
    }

    #[tokio::test]
    async fn alerts_that_nobody_waits_for_or_that_say_their_workload_cost_nothing_and_a_storm_little() {
        let api = server().await;
        let mut owners = Owners::new(api.kube.clone(), vec![Namespace::new("shop").unwrap()]);
        let other = |it: Alert| Alert { labels: [("alertname".to_owned(), "Other".to_owned())].into(), ..it };
        let mut alerts = all([
            alert([("namespace", "shop"), ("pod", "db-0"), ("deployment", "checkout")]),
            alert([("namespace", "elsewhere"), ("pod", "db-0")]),
            Alert { status: AlertStatus::Resolved, ..alert([("namespace", "shop"), ("pod", "db-0")]) },
            other(alert([])),
            alert([("pod", "db-0")]),
        ]);
        owners.note(&mut alerts, &waiting()).await;
        assert_eq!(api.state().reads, Vec::<String>::new());
        let of_pod = |it| alert([("namespace", "shop"), ("pod", format!("p-{it}").as_str())]);
        let mut storm = all((0..10_000).map(of_pod));
        owners.note(&mut storm, &waiting()).await;
        assert_eq!(api.state().reads.len(), LOOKUPS_MAX);
    }
}
