//! Events beside the workload and the policy, so that `kubectl describe` tells the story. Records come in, each moment that is
//! not old goes out once: its name is made from what it tells, so another replica, or this one after a restart, finds it
//! there. What is late by more than a bound is not told any more.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::projection::Outage;
use crate::crd::event::{Moment, Regarding, event, moments, name};
use crate::crd::object::PolicyObject;
use crate::model::action::{API_VERSION, RemediationAction};
use crate::model::ids::{Namespace, WorkloadRef};
use crate::outside::kube::{Kube, KubeError, Place, Resource};

pub const EVENTS: Resource = Resource { group: "events.k8s.io", version: "v1", plural: "events" };
/// What happened longer ago is not told any more.
const RECENT: SignedDuration = SignedDuration::from_mins(15);
/// Most Events of one tick; the rest waits for the next one, and is dropped when it is not recent then.
const EVENTS_MAX: usize = 40;
/// Most names that are remembered as told; with more, all are forgotten, and found on the server again.
const TOLD_MAX: usize = 4_000;

/// Kinds beside which Events are told.
const WORKLOADS: [(&str, Resource); 3] = [
    ("Deployment", Resource { group: "apps", version: "v1", plural: "deployments" }),
    ("StatefulSet", Resource { group: "apps", version: "v1", plural: "statefulsets" }),
    ("DaemonSet", Resource { group: "apps", version: "v1", plural: "daemonsets" }),
];

/// Tells one cluster.
#[derive(Debug)]
pub struct Events {
    kube: Kube,
    /// Empty: all.
    namespaces: Vec<Namespace>,
    instance: String,
    told: BTreeSet<String>,
    outage: Outage,
}

#[derive(Debug, Deserialize)]
struct Seen {
    metadata: SeenMeta,
}

#[derive(Debug, Deserialize)]
struct SeenMeta {
    uid: String,
}

impl Events {
    #[must_use]
    pub fn new(kube: Kube, namespaces: Vec<Namespace>, instance: &str) -> Self {
        let instance = instance.to_owned();
        Self { kube, namespaces, instance, told: BTreeSet::new(), outage: Outage::default() }
    }

    /// Tells what happened lately to `records`, beside their targets and beside those of `policies` that they name.
    pub async fn tell(&mut self, records: &[&RemediationAction], policies: &[&PolicyObject], now: Timestamp) {
        let outcome = Box::pin(self.try_tell(records, policies, now)).await;
        self.outage.note(outcome);
    }

    async fn try_tell(
        &mut self,
        records: &[&RemediationAction],
        policies: &[&PolicyObject],
        now: Timestamp,
    ) -> Result<(), KubeError> {
        if self.told.len() > TOLD_MAX {
            self.told.clear();
        }
        let is_recent = |it: &Moment| now.duration_since(it.at) <= RECENT;
        let mut targets: BTreeMap<WorkloadRef, Option<Regarding>> = BTreeMap::new();
        let mut left = EVENTS_MAX;
        for record in records {
            let target = &record.spec.target;
            if !(self.namespaces.is_empty() || self.namespaces.contains(&target.namespace)) {
                continue;
            }
            let policy = policies.iter().find(|it| it.meta.name == record.spec.policy.as_str());
            let policy = policy.map(|it| about_policy(it));
            for moment in moments(record).iter().filter(|it| is_recent(it)) {
                if let Some(policy) = &policy {
                    self.say(record, moment, policy, &mut left).await?;
                }
                if left == 0 {
                    return Ok(());
                }
                // What the target is called suffices to know that this was told.
                let key = format!("{} {} {}", record.id(), moment.reason, moment.at);
                if self.told.contains(&key) {
                    continue;
                }
                if !targets.contains_key(target) {
                    let found = self.about_target(target).await?;
                    targets.insert(target.clone(), found);
                }
                if let Some(Some(about)) = targets.get(target) {
                    self.say(record, moment, about, &mut left).await?;
                }
                self.told.insert(key);
            }
        }
        Ok(())
    }

    async fn say(
        &mut self,
        record: &RemediationAction,
        moment: &Moment,
        about: &Regarding,
        left: &mut usize,
    ) -> Result<(), KubeError> {
        let name = name(record, moment, about);
        if *left == 0 || self.told.contains(&name) {
            return Ok(());
        }
        *left -= 1;
        let object = event(record, moment, about, &self.instance);
        match self.kube.create::<Value>(EVENTS, Some(&about.namespace), &object).await {
            // A namespace that goes takes no more of them.
            Ok(_) | Err(KubeError::Exists { .. } | KubeError::NotFound { .. }) => {
                self.told.insert(name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The target as it is in the cluster; `None`: it is not there, or of a kind that Events are not told beside.
    async fn about_target(&self, target: &WorkloadRef) -> Result<Option<Regarding>, KubeError> {
        let Some((_, resource)) = WORKLOADS.iter().find(|(kind, _)| *kind == target.kind.as_str()) else {
            return Ok(None);
        };
        let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
        let place = Place { resource: *resource, namespace: Some(namespace), name };
        match self.kube.get::<Seen>(place).await {
            Ok(seen) => Ok(Some(Regarding {
                api_version: "apps/v1",
                kind: target.kind.to_string(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: seen.metadata.uid,
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn about_policy(it: &PolicyObject) -> Regarding {
    Regarding {
        api_version: API_VERSION,
        kind: "RemediationPolicy".to_owned(),
        namespace: it.meta.namespace.clone(),
        name: it.meta.name.clone(),
        uid: it.meta.uid.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::fixtures::{at, proposed, target};
    use crate::outside::kube::stand_in::StandIn;

    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/checkout";
    const POSTS: &str = "POST /apis/events.k8s.io/v1/namespaces/shop/events";

    async fn server() -> StandIn {
        let api = StandIn::start().await;
        api.state().answers.insert(DEPLOYMENT.to_owned(), json!({"metadata": {"uid": "7d1c"}}));
        api
    }

    fn events(api: &StandIn) -> Events {
        Events::new(api.kube.clone(), Vec::new(), "tars-0")
    }

    #[tokio::test]
    async fn a_moment_is_told_once_by_one_replica_and_not_again_by_another_or_later() {
        let api = server().await;
        let record = proposed("latency", &target("shop/Deployment/checkout"), 1, at(0));
        let (mut one, mut other) = (events(&api), events(&api));
        for second in [10, 20, 30] {
            one.tell(&[&record], &[], at(second)).await;
            other.tell(&[&record], &[], at(second)).await;
        }
        let state = api.state();
        assert_eq!(state.writes.len(), 1, "{:#?}", state.writes);
        let (what, body) = &state.writes[0];
        assert_eq!(
            (what.as_str(), &body["reason"], &body["regarding"]["uid"]),
            (POSTS, &json!("Proposed"), &json!("7d1c"))
        );
        assert_eq!(state.reads.len(), 2, "nor is the target looked up again: {:?}", state.reads);
    }

    #[tokio::test]
    async fn what_is_old_is_not_told_and_a_storm_is_told_bit_by_bit() {
        let api = server().await;
        let many: Vec<_> =
            (0..60).map(|it| proposed("latency", &target("shop/Deployment/checkout"), it, at(0))).collect();
        let all: Vec<_> = many.iter().collect();
        let mut events = events(&api);
        events.tell(&all, &[], at(1_000)).await;
        assert_eq!(api.state().writes.len(), 0);
        events.tell(&all, &[], at(10)).await;
        assert_eq!(api.state().writes.len(), EVENTS_MAX);
        events.tell(&all, &[], at(20)).await;
        assert_eq!(api.state().writes.len(), 60);
    }

    #[tokio::test]
    async fn an_outage_delays_what_is_told_and_a_target_that_is_not_there_hides_no_other() {
        let api = server().await;
        let lost = proposed("latency", &target("shop/Deployment/gone"), 1, at(0));
        let record = proposed("latency", &target("shop/Deployment/checkout"), 2, at(0));
        let mut events = events(&api);
        api.state().is_down = true;
        events.tell(&[&lost, &record], &[], at(10)).await;
        api.state().is_down = false;
        events.tell(&[&lost, &record], &[], at(20)).await;
        assert_eq!(api.state().writes.len(), 1);
    }
}
