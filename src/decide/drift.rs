//! Does the cluster run what the repository says, where a plan starts from? A plan and what the cluster shows come in,
//! a reason to hold with both figures goes out. Nothing is corrected here: whoever set the other count had a reason.

use crate::model::playbook::Plan;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::workload::{LiveCount, ReplicaOwner, Workload};

/// Why a change of the count waits. A count that nobody wrote to git would be lost by the commit, or make it larger
/// than it looks.
#[must_use]
pub fn drifted(plan: &Plan, workload: &Workload, live: &LiveCount) -> Option<Reason> {
    let Plan::Scale { .. } = plan else { return None };
    let hold = |code, text: String| Some(Reason::new(code, text));
    let target = &workload.target;
    match (&workload.owner, &live.autoscaler) {
        // KEDA makes an autoscaler of its own from these, under a name and with bounds of its own.
        (ReplicaOwner::Autoscaler { target: declared, .. }, _)
            if declared.kind.as_str() != "HorizontalPodAutoscaler" =>
        {
            None
        }
        (ReplicaOwner::Autoscaler { target: declared, min, max }, Some(found)) => {
            let bounds = |min: u32, max: u32| format!("minReplicas {min} and maxReplicas {max}");
            let same = found.name == declared.name.as_str() && (found.min, found.max) == (*min, *max);
            if same {
                return None;
            }
            let text = format!(
                "HorizontalPodAutoscaler {} scales {target} in the cluster with {}, and the repository has {declared} with {}",
                found.name,
                bounds(found.min, found.max),
                bounds(*min, *max),
            );
            hold(ReasonCode::Drifted, text)
        }
        (ReplicaOwner::Autoscaler { target: declared, .. }, None) => hold(
            ReasonCode::Drifted,
            format!("{declared} scales {target} in the repository and is not in the cluster"),
        ),
        (ReplicaOwner::Workload, Some(found)) => {
            let text = format!(
                "HorizontalPodAutoscaler {} owns the count of {target} in the cluster ({} replicas now), and the \
                 repository does not know it",
                found.name, live.replicas
            );
            hold(ReasonCode::FieldOwnedElsewhere, text)
        }
        (ReplicaOwner::Workload, None) if workload.replicas.is_some_and(|it| it != live.replicas) => {
            let by = live.set_by.as_ref().map_or_else(String::new, |by| format!(", set by {by}"));
            let text = format!(
                "{target} has {} replicas in the cluster{by}, and {} in the repository",
                live.replicas,
                workload.replicas.unwrap_or_default()
            );
            hold(ReasonCode::Drifted, text)
        }
        (ReplicaOwner::Workload, None) | (ReplicaOwner::Other(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::target;
    use crate::model::workload::LiveAutoscaler;

    fn workload(replicas: Option<u32>, owner: ReplicaOwner) -> Workload {
        Workload {
            target: target("shop/Deployment/backend"),
            declared_in: crate::model::ids::RepoPath::new("a.yaml").unwrap(),
            replicas,
            owner,
            containers: Vec::new(),
            restarted_at: None,
            max_unavailable: None,
            last_release: None,
            previous: None,
            no_release: None,
            unrendered: None,
        }
    }

    fn live(replicas: u32, autoscaler: Option<(u32, u32)>) -> LiveCount {
        let autoscaler = autoscaler.map(|(min, max)| LiveAutoscaler { name: "backend".to_owned(), min, max });
        LiveCount { replicas, set_by: Some("kubectl".to_owned()), autoscaler }
    }

    #[test]
    fn a_count_that_is_not_in_git_holds_and_says_both_figures() {
        let plan = Plan::Scale { from: 3, to: 5, autoscaler: None };
        let hpa = ReplicaOwner::Autoscaler {
            target: target("shop/HorizontalPodAutoscaler/backend"),
            min: 3,
            max: 9,
        };
        let keda = ReplicaOwner::Autoscaler { target: target("shop/ScaledObject/backend"), min: 3, max: 9 };
        let own = || workload(Some(3), ReplicaOwner::Workload);
        let scaled = || workload(None, hpa.clone());
        for (workload, live, expected) in [
            (own(), live(3, None), None),
            (
                own(),
                live(6, None),
                Some("6 replicas in the cluster, set by kubectl, and 3 in the repository"),
            ),
            (own(), live(3, Some((3, 9))), Some("owns the count of shop/Deployment/backend in the cluster")),
            (scaled(), live(7, Some((3, 9))), None),
            (
                scaled(),
                live(7, Some((5, 9))),
                Some("with minReplicas 5 and maxReplicas 9, and the repository"),
            ),
            (scaled(), live(7, None), Some("is not in the cluster")),
            (workload(Some(3), ReplicaOwner::Other("a Rollout".to_owned())), live(7, None), None),
            (workload(None, keda), live(7, Some((4, 50))), None),
        ] {
            let reason = drifted(&plan, &workload, &live);
            let text = reason.as_ref().map(|it| it.text.as_str());
            assert_eq!(text.is_some(), expected.is_some(), "{text:?}");
            assert!(expected.is_none_or(|words| text.unwrap_or_default().contains(words)), "{text:?}");
        }
    }

    #[test]
    fn a_plan_that_does_not_start_from_the_count_is_not_held_by_it() {
        let plan = Plan::Restart { restarted_at: crate::model::fixtures::at(0), previous: None };
        let workload = workload(Some(3), ReplicaOwner::Workload);
        assert_eq!(drifted(&plan, &workload, &live(9, None)), None);
    }
}
