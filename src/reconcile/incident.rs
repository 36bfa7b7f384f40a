//! One new incident: the facts about its target gathered, decided, and held against what the cluster runs. A turn and an
//! incident come in, a decision goes out. No rule is made here.

use super::turn::Turn;
use crate::decide::{self, Facts};
use crate::model::causes::causes;
use crate::model::decision::{Decision, Incident, Verb};
use crate::model::playbook::{Plan, PlaybookSpec, ScaleBy};
use crate::model::policy::Policy;
use crate::model::reason::{Reason, ReasonCode};
use crate::observe::repository::Repository;
use crate::observe::sync_probe::SyncProbe;

/// Decides about `incident`.
pub async fn decide(turn: &Turn<'_>, incident: &Incident, repository: &mut Repository) -> Decision {
    let Some(policy) = turn.policies.iter().find(|it| it.name == incident.policy) else {
        let gone = Reason::new(ReasonCode::PolicyChanged, "the policy is not in force any more");
        return Decision { incident: incident.clone(), verb: Verb::Hold(vec![gone]) };
    };
    let wants_history = policy.actions.iter().any(|it| matches!(it, PlaybookSpec::Rollback { .. }));
    let (target, view) = (&incident.target, turn.view);
    // The history of a chart is rendered too.
    let charts = repository.charts();
    let workload =
        || repository.workload(view.objects, &view.snapshot, target, &policy.write_to, wants_history);
    let facts = Facts {
        workload: charts.settle(workload).await,
        load: load_of(turn, policy),
        inside_target: turn.inside_target(policy, &incident.cause),
    };
    let (history, limits, guards) = (turn.history(), &turn.rules.limits, turn.guards());
    let decision = decide::decide(incident, policy, &facts, history, limits, &guards, turn.now);
    against_cluster(turn, decision, &facts).await
}

/// The decision after a look at what the cluster runs, which costs requests: only what would be proposed is held
/// against it.
async fn against_cluster(turn: &Turn<'_>, decision: Decision, facts: &Facts) -> Decision {
    let (SyncProbe::Cluster(landing), Verb::Propose(action), Ok(workload)) =
        (turn.probe, &decision.verb, &facts.workload)
    else {
        return decision;
    };
    if !matches!(action.plan, Plan::Scale { .. }) {
        return decision;
    }
    let reason = match landing.count(&workload.target).await {
        Ok(live) => live.and_then(|live| decide::drifted(&action.plan, workload, &live)),
        Err(error) => Some(Reason::new(ReasonCode::ClusterUnreadable, causes(&error))),
    };
    match reason {
        Some(reason) => Decision { verb: Verb::Hold(vec![reason]), ..decision },
        None => decision,
    }
}

/// Newest value of the load signal of a policy that scales by queue.
fn load_of(turn: &Turn<'_>, policy: &Policy) -> Option<f64> {
    policy.actions.iter().find_map(|action| match action {
        PlaybookSpec::ScaleOut { by: ScaleBy::Queue { load, .. }, .. } => {
            let state = turn.evidence.state(load).filter(|it| !it.stale)?;
            state.last().map(|(_, value)| value)
        }
        _ => None,
    })
}
