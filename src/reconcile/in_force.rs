//! The policies in force: those of the watched branch, those of the cluster, or both, under the ceiling of the settings; and
//! what is known about each for whoever looks at the cluster. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::branches::Refs;
use super::error::TurnError;
use super::evidence::Evidence;
use super::{Parts, Reconciler};
use crate::crd::PolicyProblem;
use crate::crd::object::{Standing, Together, together};
use crate::crd::policy_status::Facts;
use crate::model::action::RemediationAction;
use crate::model::ids::{ObjectId, PolicyName};
use crate::model::policy::{PoliciesFrom, Policy, Trigger};
use crate::model::reason::ReasonCode;
use crate::model::signal::SignalKey;
use crate::observe::repository::Snapshot;
use crate::outside::git::Objects;

/// Puts the policies of `snapshot` and what was last seen in the cluster together.
pub(super) fn in_force(parts: &Parts, snapshot: &Snapshot) -> Together {
    let (from, objects) = match &parts.policies {
        Some(cluster) => (cluster.from(), cluster.objects()),
        None => (PoliciesFrom::Repository, &[][..]),
    };
    let mut all = together(from, &snapshot.policies, objects);
    for policy in &mut all.policies {
        policy.mode = policy.mode.min(parts.mode_ceiling);
    }
    all
}

/// What is wrong with objects that would be in force otherwise.
pub(super) fn problems(parts: &Parts, all: &Together) -> Vec<PolicyProblem> {
    if parts.policies.as_ref().is_none_or(|it| it.from() == PoliciesFrom::Repository) {
        return Vec::new();
    }
    all.objects.iter().filter_map(|(it, _)| it.policy.as_ref().err()).flatten().cloned().collect()
}

/// What the watched branch holds.
pub(super) async fn look_at_main(
    parts: &mut Parts,
    objects: &Objects,
    refs: &Refs,
) -> Result<Arc<Snapshot>, TurnError> {
    let main = refs.get(&format!("refs/heads/{}", parts.writer.main));
    let main = main.ok_or_else(|| TurnError::NoMain(parts.writer.main.to_string()))?;
    let main = ObjectId::new(main.as_str())?;
    let charts = parts.repository.charts();
    let snapshot = charts.settle(|| parts.repository.snapshot(objects, &main)).await;
    snapshot.map_err(TurnError::Repository)
}

/// Which policies the cluster holds.
pub(super) async fn look_at_cluster(parts: &mut Parts) -> Result<(), TurnError> {
    let Some(policies) = &mut parts.policies else { return Ok(()) };
    policies.look().await.map_err(TurnError::Policies)
}

impl Reconciler {
    /// What is known about each policy in force that is an object of the cluster as well.
    #[must_use]
    pub fn facts(&self, evidence: &Evidence, now: Timestamp) -> BTreeMap<PolicyName, Facts> {
        let Some(all) = &self.in_force else { return BTreeMap::new() };
        let shows = |standing: &Standing| matches!(standing, Standing::Used | Standing::SameInRepository);
        let mut facts = BTreeMap::new();
        for (object, _) in all.objects.iter().filter(|(_, standing)| shows(standing)) {
            let named = all.policies.iter().find(|it| it.name.as_str() == object.meta.name);
            if let Some(policy) = named {
                facts.insert(policy.name.clone(), self.facts_of(policy, evidence, now));
            }
        }
        facts
    }

    fn facts_of(&self, policy: &Policy, evidence: &Evidence, now: Timestamp) -> Facts {
        let history = self.memory().history();
        let is_its = |it: &&RemediationAction| it.spec.policy == policy.name;
        let open = history.open.values().filter(is_its).count();
        let began = |it: &RemediationAction| it.status.timeline.first().map(|it| it.at);
        let needed = signals_of(policy);
        let is_current =
            |key: &&SignalKey| evidence.state(key).is_some_and(|it| it.error.is_none() && !it.stale);
        let unmeasured = needed.iter().filter(|it| !is_current(it)).map(ToString::to_string);
        let unknown = |it: &Trigger| evidence.gathered.as_ref()?.unknown(it);
        let unknown = policy.triggers.iter().filter_map(unknown).map(|it| it.text);
        let missing: Vec<String> = unknown.chain(unmeasured).take(needed.len()).collect();
        Facts {
            mode: policy.mode,
            brake: match (self.is_suspended(), policy.suspend) {
                (true, _) => Some(ReasonCode::Frozen),
                (false, true) => Some(ReasonCode::PolicySuspended),
                (false, false) => None,
            },
            open: u32::try_from(open).unwrap_or(u32::MAX),
            used: history.executions_within(now, Some(&policy.name), None).used,
            limit: policy.max_executions_per_hour,
            last_action: self.records().into_iter().filter(is_its).filter_map(began).max(),
            signals: u32::try_from(needed.len()).unwrap_or(u32::MAX),
            missing,
        }
    }

    /// Every action that is known: what ended or was observed lately, what is in force, what is open.
    #[must_use]
    pub fn records(&self) -> Vec<&RemediationAction> {
        let history = self.memory().history();
        let in_force = history.effects.values().map(|it| &it.record);
        self.memory().ended().iter().chain(in_force).chain(history.open.values()).collect()
    }

    /// Looks at metrics and alerts once, with the policies of the last look at the repository.
    pub(super) async fn look(&mut self, now: Timestamp) -> Evidence {
        let Parts { observer, spool, owners, memory, .. } = &mut self.parts;
        let policies = self.in_force.as_ref().map(|it| it.policies.as_slice()).unwrap_or_default();
        let history = memory.history();
        let in_force = history.effects.values().map(|it| &it.record);
        let records: Vec<_> = history.open.values().chain(in_force).collect();
        let mut evidence = observer.look(spool, (policies, &records), now).await;
        if let Some(owners) = owners {
            owners.note(&mut evidence.alerts, policies).await;
        }
        evidence
    }

    /// Quiet: another replica speaks in the cluster, so only what decisions need is read there.
    pub fn set_quiet(&mut self, is_quiet: bool) {
        if let Some(policies) = &mut self.parts.policies {
            policies.set_quiet(is_quiet);
        }
    }

    /// The policies in force and the objects of the cluster, as of the last look.
    #[must_use]
    pub fn together(&self) -> Option<&Together> {
        self.in_force.as_ref()
    }
}

/// The signals of the settings without which the policy sees nothing.
pub(super) fn signals_of(policy: &Policy) -> Vec<SignalKey> {
    let triggering = policy.triggers.iter().filter_map(|it| match it {
        Trigger::Anomaly { signal, .. } | Trigger::Forecast { signal, .. } => Some(signal),
        Trigger::Promql { .. } | Trigger::Webhook { .. } => None,
    });
    let mut all: Vec<SignalKey> =
        triggering.chain([&policy.verify.signal]).chain(&policy.verify.dependants).cloned().collect();
    all.sort();
    all.dedup();
    all
}

/// Is the policy of `record` an object of the cluster? Then no push holds it to what it was when it was read.
pub(super) fn is_of_cluster(all: &Together, record: &RemediationAction) -> bool {
    all.policies.iter().any(|it| it.name == record.spec.policy && it.is_of_cluster())
}
