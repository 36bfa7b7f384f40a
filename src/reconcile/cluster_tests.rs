//! Policies that are objects of a cluster, on the whole order: acted on as those of the repository, and nothing is decided
//! while nobody can say what they are.

use serde_json::{Value, json};

use super::Reconciler;
use super::error::TurnError;
use super::harness::*;
use crate::model::action::ActionState as S;
use crate::model::ids::PolicyName;
use crate::model::policy::PoliciesFrom;
use crate::model::reason::ReasonCode;
use crate::observe::policies::ClusterPolicies;
use crate::outside::clock::Clock as _;
use crate::outside::kube::stand_in::StandIn;

const LIST: &str = "/apis/aiops.tars/v1alpha1/remediationpolicies";

/// `text` as the server would hold it, changed so many times.
fn object(text: &str, generation: i64) -> Value {
    let mut object: Value = yaml_serde::from_str(text).unwrap();
    object["metadata"]["uid"] = json!("7d1c");
    object["metadata"]["generation"] = json!(generation);
    object["metadata"]["creationTimestamp"] = json!("2026-11-23T10:00:00Z");
    object
}

fn tars(world: &World, api: &StandIn, instance: &str, from: PoliciesFrom) -> Reconciler {
    let policies = ClusterPolicies::new(api.kube.clone(), Vec::new(), from);
    world.reconciler_with(instance, |parts| parts.policies = Some(policies))
}

#[tokio::test]
async fn a_policy_of_the_cluster_is_acted_on_and_its_record_says_where_it_is_from() {
    let (world, api) = (World::with(&[(APP, &deployment("backend"))]), StandIn::start().await);
    api.list(LIST, &[object(&latency_policy("AutoMerge"), 1)]);
    let mut tars = tars(&world, &api, "a", PoliciesFrom::Cluster);
    world.run(&mut tars, 1).await;
    assert_eq!(world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
    let record = open(tars.memory().history(), "backend").unwrap().clone();
    assert_eq!(record.spec.policy_path.as_str(), "@cluster/shop/latency");
    let (evidence, _) = tars.tick().await;
    let facts = tars.facts(&evidence, world.clock.now());
    let facts = &facts[&PolicyName::new("latency").unwrap()];
    assert_eq!((facts.open, facts.used, facts.limit, facts.signals), (1, 1, 2, 1));
    assert_eq!(facts.last_action, Some(record.status.timeline[0].at));
}

#[tokio::test]
async fn while_the_cluster_cannot_be_asked_nothing_is_opened_merged_or_closed() {
    let (world, api) = (World::with(&[(APP, &deployment("backend"))]), StandIn::start().await);
    api.list(LIST, &[object(&latency_policy("Propose"), 1)]);
    let mut tars = tars(&world, &api, "a", PoliciesFrom::Both);
    world.run(&mut tars, 1).await;
    assert_eq!(world.states(), [S::Proposed]);
    api.state().is_down = true;
    // Under the proposal: with the policy taken for gone it would be closed.
    let moved = deployment("backend").replace("app:1", "app:2");
    world.commit(&[(APP, Some(&moved))]);
    let report = world.run(&mut tars, 3).await;
    assert!(matches!(report.errors[0], TurnError::Policies(_)), "{report:?}");
    // Nor by somebody who never saw the policy.
    let mut other = self::tars(&world, &api, "b", PoliciesFrom::Both);
    world.run(&mut other, 2).await;
    assert_eq!(world.states(), [S::Proposed]);
    api.state().is_down = false;
    world.run(&mut tars, 2).await;
    assert!(!world.states().contains(&S::Closed), "{:?}", world.states());
}

#[tokio::test]
async fn a_change_in_the_cluster_counts_at_the_next_look_and_the_repository_wins() {
    let (world, api) = (World::with(&[(APP, &deployment("backend"))]), StandIn::start().await);
    let suspended = latency_policy("AutoMerge").replace("spec:\n", "spec:\n  suspend: true\n");
    api.list(LIST, &[object(&suspended, 1)]);
    let mut tars = tars(&world, &api, "a", PoliciesFrom::Both);
    world.run(&mut tars, 2).await;
    assert_eq!(world.states(), []);
    api.list(LIST, &[object(&latency_policy("AutoMerge"), 2)]);
    world.commit(&[(POLICY, Some(&latency_policy("Propose")))]);
    world.run(&mut tars, 3).await;
    assert_eq!(world.states(), [S::Proposed], "the repository says that people merge");
    let held = &open(tars.memory().history(), "backend").unwrap().status.holds;
    assert!(held.iter().any(|it| it.code == ReasonCode::ReviewRequired), "{held:?}");
}

#[tokio::test]
async fn a_bad_object_is_reported_and_stops_nobody() {
    let (world, api) = (World::new(&latency_policy("Propose")), StandIn::start().await);
    let bad = latency_policy("AutoMerge").replace("name: latency", "name: other").replace("mode:", "moode:");
    api.list(LIST, &[object(&bad, 1)]);
    let mut tars = tars(&world, &api, "a", PoliciesFrom::Both);
    let report = world.run(&mut tars, 1).await;
    assert_eq!(world.states(), [S::Proposed]);
    assert_eq!(report.problems.iter().map(|it| it.code).collect::<Vec<_>>(), ["TARS-P021"]);
}
