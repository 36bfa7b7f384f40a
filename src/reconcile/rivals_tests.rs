//! Giving way to others, on the whole order: bots and people on branches and on the watched branch.

use std::time::Duration;

use super::harness::*;
use super::report::{Held, TickReport};
use crate::model::action::ActionState as S;
use crate::model::reason::ReasonCode;

const BOT: &str = "refs/heads/bot/update";

fn with_count(count: u32) -> String {
    deployment("backend").replace("replicas: 3", &format!("replicas: {count}"))
}

fn with_image() -> String {
    deployment("backend").replace("r.example/app:1", "r.example/app:2")
}

#[track_caller]
fn yielded(report: &TickReport) -> &Held {
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let gave_way = |it: &&Held| it.reasons.iter().all(|it| it.code == ReasonCode::YieldsToOthers);
    report.held.iter().find(gave_way).unwrap_or_else(|| panic!("{report:?}"))
}

#[tokio::test]
async fn an_open_branch_that_sets_the_same_field_holds_and_is_named_until_it_is_gone() {
    let world = World::new(&latency_policy("AutoMerge"));
    let head = world.commit_on(BOT, &[(APP, Some(&with_count(4)))]);
    let mut tars = world.reconciler("a");
    let report = world.run(&mut tars, 3).await;
    let held = yielded(&report);
    let text = format!("branch bot/update ({}) sets spec.replicas in {APP} to 4", head.short());
    assert_eq!(held.reasons[0].text, text);
    assert!(!held.escalate, "somebody is at it already");
    assert_eq!(world.states(), []);
    world.force(BOT, None);
    world.until(&mut tars, 3, |history| open(history, "backend").is_some()).await;
}

#[tokio::test]
async fn a_branch_that_changes_another_field_or_merely_lags_behind_holds_nothing() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit_on(BOT, &[(APP, Some(&with_image()))]);
    let commented = with_image().replace("# three", "# four would be better");
    world.commit_on("refs/heads/person", &[(APP, Some(&commented)), ("notes.yaml", Some("replicas: 9\n"))]);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 1).await;
    assert_eq!(world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
    assert!(world.file(APP).contains("replicas: 5 # three"));
}

#[tokio::test]
async fn a_commit_of_a_moment_ago_on_the_watched_branch_holds_until_it_is_old() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.clock.advance(Duration::from_secs(60));
    world.commit(&[(APP, Some(&with_count(4)))]);
    let mut tars = world.reconciler("a");
    let report = world.run(&mut tars, 2).await;
    assert!(yielded(&report).reasons[0].text.contains("set spec.replicas"), "{report:?}");
    assert_eq!(world.states(), []);
    world.clock.advance(Duration::from_secs(900));
    world.until(&mut tars, 3, |history| open(history, "backend").is_some()).await;
    assert!(world.file(APP).contains("replicas: 6"), "decided on what stands there now");
}

#[tokio::test]
async fn a_branch_that_appears_after_the_proposal_holds_the_merge() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("wait\n"))]);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    assert_eq!(world.states().last(), Some(&S::Proposed));
    world.commit_on(BOT, &[(APP, Some(&with_count(7)))]);
    world.commit(&[("policies/SUSPENDED", None)]);
    world.run(&mut tars, 5).await;
    assert!(!world.states().contains(&S::MergeReserved), "{:?}", world.states());
    let holds = &open(tars.memory().history(), "backend").unwrap().status.holds;
    assert!(holds.iter().any(|it| it.code == ReasonCode::YieldsToOthers), "{holds:?}");
    world.force(BOT, None);
    world
        .until(&mut tars, 3, |history| open(history, "backend").is_some_and(|it| it.state() == S::Merged))
        .await;
}

#[tokio::test]
async fn an_abandoned_branch_holds_nothing() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit_on(BOT, &[(APP, Some(&with_count(4)))]);
    world.clock.advance(Duration::from_secs(15 * 86_400));
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 1).await;
    assert_eq!(world.states().last(), Some(&S::Merged));
}

#[tokio::test]
async fn a_branch_that_git_refuses_stops_automatic_merges_and_nothing_else() {
    let world = World::new(&latency_policy("AutoMerge"));
    let hub = git2::Repository::open_bare(&world.hub).unwrap();
    let blob = hub.blob(b"x").unwrap();
    let raw = [b"100644 .git\0", blob.as_bytes()].concat();
    let tree = hub.odb().unwrap().write(git2::ObjectType::Tree, &raw).unwrap();
    let who = "a <a@example.org> 1 +0000";
    let commit = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nhostile\n");
    let commit = hub.odb().unwrap().write(git2::ObjectType::Commit, commit.as_bytes()).unwrap();
    hub.reference(BOT, commit, false, "").unwrap();
    let mut tars = world.reconciler("a");
    let report = world.run(&mut tars, 6).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let record = open(tars.memory().history(), "backend").unwrap();
    assert_eq!(record.state(), S::Proposed);
    let text = &record.status.holds.iter().find(|it| it.code == ReasonCode::YieldsToOthers).unwrap().text;
    assert!(text.contains("cannot be read"), "{text}");
}
