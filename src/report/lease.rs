//! Which of the replicas speaks for all in the cluster. A Lease comes in and is renewed or left alone; yes or no goes out. It
//! keeps the cluster quiet and nothing else: two that speak at once write the same things, and what may be done is the
//! ledger's to say. Other replicas' clocks are not believed: a Lease is over when it was not renewed while we watched.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::ids::ObjectName;
use crate::outside::clock::Stopwatch;
use crate::outside::kube::{Kube, KubeError, Place, Resource};
use crate::telemetry::events::Event;

pub const LEASES: Resource = Resource { group: "coordination.k8s.io", version: "v1", plural: "leases" };
/// One replica's side of it.
#[derive(Debug)]
pub struct Lease {
    kube: Kube,
    namespace: String,
    name: String,
    us: String,
    /// A holder that did not renew for this long is gone.
    lasts: Duration,
    /// The Lease as somebody else left it, and since when we see it so.
    seen: Option<(String, Stopwatch)>,
    /// As we left it.
    held: Option<Held>,
    is_failing: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Held {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    acquire_time: Option<String>,
    lease_transitions: i64,
}

impl Lease {
    /// The Lease `name` in the namespace of the client, for a replica called `us`.
    #[must_use]
    pub fn new(kube: Kube, name: &ObjectName, us: &str, lasts: Duration) -> Self {
        let (namespace, name, us) = (kube.default_namespace().to_owned(), name.to_string(), us.to_owned());
        Self { kube, namespace, name, us, lasts, seen: None, held: None, is_failing: false }
    }

    /// Renews or takes the Lease where that can be. Where there cannot be one, everybody speaks.
    pub async fn is_ours(&mut self, now: Timestamp) -> bool {
        match self.try_hold(now).await {
            Ok(is_ours) => {
                self.is_failing = false;
                is_ours
            }
            Err(error) => {
                if !self.is_failing {
                    Event::Failed { stage: "lease", error: &error }.emit();
                }
                self.is_failing = true;
                !error.is_transient()
            }
        }
    }

    async fn try_hold(&mut self, now: Timestamp) -> Result<bool, KubeError> {
        let found = match self.kube.get::<Held>(self.place()).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => {
                let object = self.object(None, now);
                let made = self.kube.create(LEASES, Some(&self.namespace), &object).await;
                return self.settled(made);
            }
            Err(error) => return Err(error),
        };
        let holder = found.spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.us && !self.is_over(&found.metadata.resource_version) {
            self.held = None;
            return Ok(false);
        }
        let object = self.object(Some(&found), now);
        let replaced = self.kube.replace(self.place(), &object).await;
        self.settled(replaced)
    }

    fn place(&self) -> Place<'_> {
        Place { resource: LEASES, namespace: Some(&self.namespace), name: &self.name }
    }

    /// Has nobody touched it for as long as it lasts?
    fn is_over(&mut self, version: &str) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == version => since.elapsed() >= self.lasts,
            _ => {
                self.seen = Some((version.to_owned(), Stopwatch::start()));
                self.lasts.is_zero()
            }
        }
    }

    /// Another who was faster is no failure.
    fn settled(&mut self, written: Result<Held, KubeError>) -> Result<bool, KubeError> {
        self.held = None;
        match written {
            Ok(held) => {
                self.held = Some(held);
                Ok(true)
            }
            Err(KubeError::Conflict { .. } | KubeError::Exists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn object(&self, before: Option<&Held>, now: Timestamp) -> Value {
        let now = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let is_renewed = before.filter(|it| it.spec.holder_identity.as_deref() == Some(self.us.as_str()));
        let acquired = is_renewed.and_then(|it| it.spec.acquire_time.clone());
        let changes = before.map_or(0, |it| it.spec.lease_transitions + i64::from(is_renewed.is_none()));
        let mut object = self.named(&json!({
            "holderIdentity": self.us, "leaseDurationSeconds": self.lasts.as_secs().max(1),
            "acquireTime": acquired.unwrap_or_else(|| now.clone()), "renewTime": now,
            "leaseTransitions": changes,
        }));
        if let Some(before) = before {
            object["metadata"]["resourceVersion"] = json!(before.metadata.resource_version);
        }
        object
    }

    fn named(&self, spec: &Value) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": self.name, "namespace": self.namespace }, "spec": spec,
        })
    }

    /// Gives it back, so that another replica speaks at once. One that cannot be given back runs out.
    pub async fn release(&mut self) {
        let Some(held) = self.held.take() else { return };
        let mut object = self.named(&json!({ "leaseTransitions": held.spec.lease_transitions }));
        object["metadata"]["resourceVersion"] = json!(held.metadata.resource_version);
        let _ = self.kube.replace::<Value>(self.place(), &object).await;
    }
}
