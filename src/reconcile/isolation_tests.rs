//! One poisoned object must not stop the rest: bad policies, odd branches, rewritten histories, refused pushes.

use super::error::TurnError;
use super::harness::*;
use crate::model::action::{ActionState as S, MergedBy};
use crate::model::ids::{BranchName, ObjectId};
use crate::model::reason::ReasonCode;
use crate::outside::clock::Clock as _;

/// A second deployment under a second policy, both fine; it sorts behind the first.
fn good() -> [(&'static str, String); 2] {
    [
        ("apps/zebra.yaml", deployment("zebra")),
        ("policies/zebra.yaml", scale_policy("zebra", "zebra", SLOW, "Propose")),
    ]
}

fn world_with(policy: &str) -> World {
    let good = good();
    let app = deployment("backend");
    World::with(&[(APP, &app), (POLICY, policy), (good[0].0, &good[0].1), (good[1].0, &good[1].1)])
}

fn good_one_is_served(world: &World) -> bool {
    world.story().contains(&("zebra".to_owned(), S::Proposed))
}

#[tokio::test]
async fn a_bad_policy_does_not_stop_the_good_one() {
    let world =
        world_with("apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nspec: [not, a, policy]\n");
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    assert!(good_one_is_served(&world));
}

#[tokio::test]
async fn a_policy_whose_branch_name_is_taken_does_not_stop_the_good_one() {
    // A branch with the name of the policy's folder: no branch can lie below it.
    let world = world_with(&latency_policy("Propose"));
    world.force("refs/heads/tars/latency", Some(&world.main()));
    let mut tars = world.reconciler("a");
    let report = world.run(&mut tars, 3).await;
    assert!(good_one_is_served(&world), "{:?}", world.story());
    assert!(!report.errors.is_empty(), "a push that is refused again and again is reported: {report:#?}");
}

#[tokio::test]
async fn a_protected_main_branch_does_not_stop_the_good_policy() {
    let world = world_with(&latency_policy("AutoMerge"));
    world.hook("update", "[ \"$1\" != refs/heads/main ]");
    let mut tars = world.reconciler("a");
    let report = world.run(&mut tars, 3).await;
    assert!(good_one_is_served(&world), "{:?}", world.story());
    assert!(!report.errors.is_empty(), "a merge that is refused again and again is reported");
    assert_eq!(world.states().iter().filter(|it| **it == S::MergeReserved).count(), 1, "one slot, not all");
}

#[tokio::test]
async fn a_branch_closed_while_no_process_ran_is_a_persons_no() {
    let world = world_with(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    let branch = world.proposals().into_keys().find(|it| it.contains("backend")).unwrap();
    drop(tars);
    world.force(&branch, None);
    world.commit(&[("docs.yaml", Some("a: 1\n"))]);
    let mut tars = world.reconciler("b");
    let report = world.tick(&mut tars).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(world.story().contains(&("latency".to_owned(), S::Closed)), "{:?}", world.story());
}

#[tokio::test]
async fn a_squash_merge_while_no_process_ran_is_found_without_the_branch() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    let branch = world.proposals().into_keys().next().unwrap();
    drop(tars);
    world.force(&branch, None);
    world.commit(&[("docs.yaml", Some("a: 1\n"))]);
    let squash = world.commit(&[(APP, Some(&deployment("backend").replace("replicas: 3", "replicas: 5")))]);
    world.commit(&[("docs.yaml", Some("a: 2\n"))]);
    let mut tars = world.reconciler("b");
    let report = world.tick(&mut tars).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let record = open(tars.memory().history(), "backend").expect("merged, so still followed");
    let merge = record.status.merge.as_ref().unwrap();
    assert_eq!((&merge.commit, merge.by), (&squash, MergedBy::Person));
}

#[tokio::test]
async fn a_rewritten_main_branch_does_not_stop_the_good_policy() {
    let world = world_with(&latency_policy("Propose"));
    let first = world.main();
    let gone = world.commit(&[("docs.yaml", Some("a: 1\n"))]);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 1).await;
    drop(tars);
    world.force(MAIN, Some(&first));
    world.commit(&[("docs.yaml", Some("a: 2\n"))]);
    assert_ne!(world.main(), gone);
    // The proposals still hold the old history; a fresh clone has it through them or not at all.
    let mut tars = world.reconciler("b");
    let report = world.run(&mut tars, 2).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let branch = world.proposals().into_keys().find(|it| it.contains("backend")).unwrap();
    world.force(&branch, None);
    let mut tars = world.reconciler("c");
    let report = world.run(&mut tars, 2).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn the_undo_of_a_removed_policy_waits_for_a_person_and_stops_nobody() {
    let world = world_with(&latency_policy("AutoMerge"));
    let mut tars = world.reconciler("a");
    world
        .until(&mut tars, 10, |history| open(history, "backend").is_some_and(|it| it.state() == S::Synced))
        .await;
    let other = scale_policy("other", "backend", "other", "Propose")
        .replace("Deployment/backend", "Deployment/zebra");
    let zebra = world.proposals().into_keys().find(|it| it.contains("zebra")).unwrap();
    world.force(&zebra, None);
    world.commit(&[(POLICY, None), ("policies/new.yaml", Some(&other)), ("policies/zebra.yaml", None)]);
    world.until(&mut tars, 60, |history| !history.effects.is_empty()).await;
    world.run(&mut tars, 2).await;
    world.metrics.fire("other");
    let report = world.run(&mut tars, 3).await;
    assert!(report.errors.is_empty() && report.races_lost == 0, "{report:?}");
    assert!(world.story().contains(&("other".to_owned(), S::Proposed)), "{:?}", world.story());
    let held = &open(tars.memory().history(), "backend").unwrap().status.holds;
    assert!(held.iter().any(|it| it.code == ReasonCode::PolicyChanged), "{held:?}");
}

#[tokio::test]
async fn a_change_that_a_person_overwrote_is_not_undone_and_frees_the_target() {
    let world = World::new(&latency_policy("AutoMerge"));
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 50, |history| !history.effects.is_empty()).await;
    assert!(world.states().contains(&S::NotRecovered));
    world.metrics.quench(SLOW);
    world.commit(&[(APP, Some(&deployment("backend").replace("replicas: 3", "replicas: 7")))]);
    let report = world.run(&mut tars, 3).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(tars.memory().history().effects.is_empty(), "{:?}", world.states());
    assert!(world.file(APP).contains("replicas: 7"), "nobody wrote over the person");
}

#[tokio::test]
async fn a_ledger_branch_with_a_name_of_its_own_is_found_again() {
    let world = World::new(&latency_policy("Propose"));
    let name = |parts: &mut super::Parts| parts.writer.ledger = BranchName::new("audit/ledger").unwrap();
    let mut tars = world.reconciler_with("a", name);
    let report = world.run(&mut tars, 2).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(open(tars.memory().history(), "backend").is_some());
}

#[tokio::test]
async fn a_rewritten_ledger_is_called_so_by_a_process_that_just_started() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    drop(tars);
    let ledger = "refs/heads/tars/ledger";
    let genesis = world.entries()[0].commit.clone();
    world.force(ledger, Some(&genesis));
    let mut tars = world.reconciler("a");
    let report = world.tick(&mut tars).await;
    assert!(matches!(report.errors[..], [TurnError::Rewritten(_)]), "{:?}", report.errors);
    assert_eq!(world.head(ledger), Some(genesis));
}

#[tokio::test]
async fn what_another_process_saw_after_this_one_fetched_is_no_rewriting() {
    let world = World::new(&latency_policy("Propose"));
    let mut late = world.memory("a");
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    let fetched = world.entries()[0].commit.clone();
    assert_ne!(world.head("refs/heads/tars/ledger"), Some(fetched.clone()));
    late.refresh(&world.objects(), Some(fetched.as_str()), world.clock.now()).unwrap();
}

#[tokio::test]
async fn a_trigger_is_not_believed_for_another_query_that_took_its_place() {
    let world = World::new(&latency_policy("Propose").replace("query: slow", "query: fine"));
    world.metrics.quench(SLOW);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 1).await;
    // The first query begins to fire in the very tick in which a person replaces it by one that does not.
    world.metrics.fire("fine");
    world.commit(&[(POLICY, Some(&latency_policy("Propose").replace("query: slow", "query: calm")))]);
    world.run(&mut tars, 1).await;
    assert_eq!(world.states(), []);
}

#[tokio::test]
async fn a_commit_in_an_old_encoding_hides_no_release() {
    let policy = latency_policy("Propose").replace(
        "    - type: ScaleOut\n      scaleOut: { step: 2, maxReplicas: 10 }\n",
        "    - type: Rollback\n      rollback: { scope: Image, maxAge: 6h }\n",
    );
    let world = World::new(&policy);
    let old = deployment("backend").replace("app:1", "app:2");
    let release = world.commit(&[(APP, Some(&old))]);
    let odd = world.with_latin1_message(&release);
    world.force(MAIN, Some(&odd));
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    assert_eq!(world.states(), [S::Proposed]);
    let _: &ObjectId = &odd;
}
