//! The cluster's side of `tars run`: what is read there for the loop, what hurries it, and who is told after a tick. Settings
//! and ticks come in, objects of the cluster go out. An API server that is down costs a delay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::cluster;
use super::failure::Failure;
use super::pace::Pace;
use crate::config::Settings;
use crate::model::ids::BranchName;
use crate::model::policy::PoliciesFrom;
use crate::observe::owners::Owners;
use crate::observe::policies::{ClusterPolicies, POLICIES};
use crate::outside::kube::{Heard, Kube, follow};
use crate::reconcile::evidence::Evidence;
use crate::reconcile::{Parts, Reconciler};
use crate::report::actions::Actions;
use crate::report::events::Events;
use crate::report::lease::Lease;
use crate::report::policies::Policies;
use crate::telemetry::events::Event;

/// A replica that did not renew the Lease for so many ticks is gone,
const LEASE_TICKS: u32 = 3;
/// and for no less than this.
const LEASE_LEAST: Duration = Duration::from_secs(30);

/// Whoever is told in the cluster.
#[derive(Debug)]
pub struct Telling {
    actions: Actions,
    policies: Policies,
    events: Events,
    lease: Lease,
    /// Ends with the value.
    _listening: JoinSet<()>,
}

impl Telling {
    /// Gives `parts` what is read in the cluster, and begins to listen there.
    ///
    /// # Errors
    /// When the kubeconfig, or the account of the pod, cannot be used.
    pub async fn start(
        settings: &Settings,
        parts: &mut Parts,
        pace: &Arc<Pace>,
    ) -> Result<Option<Self>, Failure> {
        let Some(at) = &settings.cluster else { return Ok(None) };
        let kube = cluster::client(at).await?;
        let namespaces = || at.namespaces.clone();
        parts.policies = Some(ClusterPolicies::new(kube.clone(), namespaces(), at.policies));
        parts.owners = Some(Owners::new(kube.clone(), namespaces()));
        let instance = parts.memory.instance().as_str();
        let lasts = LEASE_LEAST.max(LEASE_TICKS * Duration::from_secs(settings.watching.tick_s.into()));
        let mut listening = JoinSet::new();
        if at.policies != PoliciesFrom::Repository {
            let names = at.namespaces.iter().map(|it| Some(it.to_string()));
            let places: Vec<_> = if at.namespaces.is_empty() { vec![None] } else { names.collect() };
            for place in places {
                listening.spawn(listen(kube.clone(), place, Arc::clone(pace)));
            }
        }
        Ok(Some(Self {
            actions: Actions::new(kube.clone(), namespaces(), &settings.repo_id),
            policies: Policies::new(kube.clone(), POLICIES, settings.repo_id.clone()),
            events: Events::new(kube.clone(), namespaces(), instance),
            lease: Lease::new(kube, &at.lease, instance, lasts),
            _listening: listening,
        }))
    }

    /// Tells the cluster what a tick came to, if it is this replica that speaks. A ledger that could not be read yet is not
    /// shown as an empty one.
    pub async fn tell(&mut self, reconciler: &mut Reconciler, evidence: &Evidence) {
        let now = evidence.at;
        let speaks = self.lease.is_ours(now).await;
        reconciler.set_quiet(!speaks);
        if !speaks {
            return;
        }
        let mut policies = Vec::new();
        if let Some(together) = reconciler.together() {
            policies = together.objects.iter().map(|(it, _)| it.as_ref()).collect();
            let objects = together.objects.iter().map(|(it, standing)| (it.as_ref(), standing));
            self.policies.show(objects, &reconciler.facts(evidence, now), now).await;
        }
        if reconciler.memory().history().seq.is_some() {
            let records = reconciler.records();
            let pull_of = |branch: &BranchName| reconciler.pull_number(branch);
            self.actions.show(&records, &pull_of).await;
            self.events.tell(&records, &policies, now).await;
        }
    }

    /// Lets another replica speak.
    pub async fn end(&mut self) {
        self.lease.release().await;
    }
}

/// Every change of a policy brings the next tick closer; the tick looks for itself.
async fn listen(kube: Kube, namespace: Option<String>, pace: Arc<Pace>) {
    let is_deaf = AtomicBool::new(false);
    let hear = |heard: Heard| match heard {
        Heard::Changed => {
            if is_deaf.swap(false, Ordering::Relaxed) {
                Event::Recovered { stage: "watch", failed: 1 }.emit();
            }
            pace.nudge();
        }
        Heard::Deaf(error) => {
            if !is_deaf.swap(true, Ordering::Relaxed) {
                Event::Failed { stage: "watch", error: &error }.emit();
            }
        }
    };
    follow(&kube, POLICIES, namespace.as_deref(), hear).await;
}
