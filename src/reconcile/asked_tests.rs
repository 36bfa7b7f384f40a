//! What people ask for, on the whole order: quiet, and the undo of something that merged.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::Reconciler;
use super::asked::{Asked, OpenLedger};
use super::harness::*;
use super::memory::read_entry;
use super::report::TickReport;
use crate::model::action::{ActionState as S, Purpose};
use crate::model::history::History;
use crate::model::ids::PolicyName;
use crate::model::reason::ReasonCode;
use crate::model::request::{CannotAsk, Request, Whom, Wish};
use crate::outside::clock::Clock as _;
use crate::outside::git::Mirror;

async fn desk(world: &World, name: &str) -> OpenLedger {
    let parts = world.reconciler(name).parts;
    let mirror = Mirror::open(&parts.git).await.unwrap();
    OpenLedger { mirror, writer: parts.writer, memory: parts.memory, clock: Arc::new(world.clock.clone()) }
}

fn quiet(world: &World, of: Whom, seconds: i64) -> Request {
    let until = world.clock.now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
    Request::new(Wish::Quiet { of, until }, "Ann <ann@example.org>", "load test")
}

fn policy() -> Whom {
    Whom::Policy(PolicyName::new("latency").unwrap())
}

/// On the heap: what several of these hold would fill a test's stack.
fn until<'a>(
    world: &'a World,
    tars: &'a mut Reconciler,
    ticks: usize,
    done: impl Fn(&History) -> bool + 'a,
) -> LocalBoxFuture<'a, TickReport> {
    Box::pin(world.until(tars, ticks, done))
}

fn run<'a>(world: &'a World, tars: &'a mut Reconciler, ticks: usize) -> LocalBoxFuture<'a, TickReport> {
    Box::pin(world.run(tars, ticks))
}

fn is(state: S) -> impl Fn(&History) -> bool {
    move |history| open(history, "backend").is_some_and(|it| it.state() == state)
}

#[tokio::test]
async fn quiet_closes_what_waits_holds_what_is_new_and_ends_by_itself() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    until(&world, &mut tars, 2, is(S::Proposed)).await;
    let waiting = open(tars.memory().history(), "backend").unwrap().clone();
    let of_cause = Request::quiet(&waiting, world.clock.now(), "Ann", "");
    assert_eq!(of_cause.wish, quiet(&world, Whom::Cause(waiting.spec.fingerprint.clone()), 0).wish);
    let mut desk = desk(&world, "cli").await;
    for whom in [policy(), Whom::Target(target("backend")), Whom::Cause(waiting.spec.fingerprint)] {
        let request = quiet(&world, whom, 600);
        assert!(matches!(desk.ask(&request).await.unwrap(), Asked::Recorded(_)), "{request}");
        assert_eq!(desk.ask(&request).await.unwrap(), Asked::Already, "{request}");
        let report = until(&world, &mut tars, 2, |history| history.open.is_empty()).await;
        assert_eq!(world.states().last(), Some(&S::Closed));
        assert_eq!(world.proposals().len(), 0, "its branch goes with it");
        assert_eq!(report.held[0].reasons[0].code, ReasonCode::Snoozed, "{:?}", report.held);
        assert!(report.held[0].reasons[0].text.contains("Ann <ann@example.org>: load test"));
        run(&world, &mut tars, 5).await;
        assert_eq!(world.states().last(), Some(&S::Closed));
        world.clock.advance(std::time::Duration::from_secs(600));
        until(&world, &mut tars, 2, is(S::Proposed)).await;
    }
    assert!(world.audit().findings.is_empty(), "{:?}", world.audit());
}

#[tokio::test]
async fn an_end_of_quiet_counts_at_once_and_none_is_ended_where_there_is_none() {
    let world = World::new(&latency_policy("Propose"));
    let mut desk = desk(&world, "cli").await;
    assert_eq!(desk.ask(&quiet(&world, policy(), 0)).await.unwrap(), Asked::Already);
    assert!(matches!(desk.ask(&quiet(&world, policy(), 6000)).await.unwrap(), Asked::Recorded(_)));
    let mut tars = world.reconciler("a");
    run(&world, &mut tars, 2).await;
    assert_eq!(world.states(), []);
    assert!(matches!(desk.ask(&quiet(&world, policy(), 0)).await.unwrap(), Asked::Recorded(_)));
    until(&world, &mut tars, 2, is(S::Proposed)).await;
}

#[tokio::test]
async fn a_reserved_merge_is_not_made_once_somebody_wants_quiet() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("wait\n"))]);
    let mut tars = world.reconciler("a");
    until(&world, &mut tars, 2, is(S::Proposed)).await;
    let mut desk = desk(&world, "cli").await;
    desk.ask(&quiet(&world, Whom::Target(target("backend")), 6000)).await.unwrap();
    world.commit(&[("policies/SUSPENDED", None)]);
    run(&world, &mut tars, 4).await;
    assert_eq!(world.states(), [S::Proposed, S::Closed]);
}

#[tokio::test]
async fn two_people_at_once_are_both_heard_and_every_entry_is_one_that_others_believe() {
    let world = World::new(&latency_policy("Observe"));
    let (mut one, mut two) = (desk(&world, "one").await, desk(&world, "two").await);
    let (first, second) = (quiet(&world, policy(), 600), quiet(&world, Whom::Target(target("backend")), 700));
    let (a, b) = tokio::join!(one.ask(&first), two.ask(&second));
    assert!(matches!((a.unwrap(), b.unwrap()), (Asked::Recorded(_), Asked::Recorded(_))));
    one.read().await.unwrap();
    assert_eq!(one.memory.history().quiet.len(), 2);
    let head = world.head("refs/heads/tars/ledger").unwrap();
    let entry = read_entry(&world.objects(), &head, None).unwrap();
    assert!(entry.request.is_some() && entry.record.is_none() && entry.envelope.subject.is_none());
}

#[tokio::test]
async fn a_merged_action_is_undone_on_request_and_not_proposed_again() {
    for judged in [false, true] {
        let world = World::new(&latency_policy("AutoMerge"));
        let mut tars = world.reconciler("a");
        until(&world, &mut tars, 3, is(S::Merged)).await;
        let id = open(tars.memory().history(), "backend").unwrap().id().clone();
        if judged {
            world.metrics.level(100.0);
            world.metrics.quench(SLOW);
            until(&world, &mut tars, 60, |history| history.effects.contains_key(&id)).await;
            assert_eq!(tars.memory().history().effects[&id].record.state(), S::Verified);
        }
        let mut desk = desk(&world, "cli").await;
        let request = Request::new(Wish::Revert { of: id.clone() }, "Ann", "it was a load test");
        assert!(matches!(desk.ask(&request).await.unwrap(), Asked::Recorded(_)));
        assert_eq!(desk.ask(&request).await.unwrap(), Asked::Already);
        until(&world, &mut tars, 3, is(S::Proposed)).await;
        let undo = open(tars.memory().history(), "backend").unwrap().clone();
        assert_eq!(undo.spec.purpose, Purpose::Revert { of: id.clone() });
        assert!(undo.status.holds.iter().any(|it| it.code == ReasonCode::ReviewRequired), "{undo:?}");
        let text = undo.spec.pull_request.as_ref().unwrap();
        assert!(text.title.contains("asked for"), "{}", text.title);
        assert!(text.body.contains("Ann: it was a load test"), "{}", text.body);
        desk.read().await.unwrap();
        let again = desk.memory.history().can_revert(&id);
        assert_eq!(again, Err(CannotAsk::BeingUndone { of: id.clone(), by: undo.id().clone() }));
        world.merge(&undo.spec.change.as_ref().unwrap().head, false);
        until(&world, &mut tars, 40, |history| history.effects.is_empty() && history.open.is_empty()).await;
        assert!(world.file(APP).contains("replicas: 3 # three"));
        assert!(world.story().contains(&("latency".to_owned(), S::Reverted)), "{:?}", world.story());
        world.metrics.fire(SLOW);
        world.metrics.level(500.0);
        world.clock.advance(std::time::Duration::from_secs(3600));
        let report = run(&world, &mut tars, 3).await;
        assert!(tars.memory().history().open.is_empty(), "{:?}", world.story());
        assert_eq!(report.held[0].reasons[0].code, ReasonCode::RevertedBefore, "{:?}", report.held);
        assert!(world.audit().findings.is_empty(), "{:?}", world.audit());
    }
}

#[tokio::test]
async fn what_never_merged_or_is_not_known_cannot_be_undone() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    until(&world, &mut tars, 2, is(S::Proposed)).await;
    let id = open(tars.memory().history(), "backend").unwrap().id().clone();
    let mut desk = desk(&world, "cli").await;
    let ask = |of| Request::new(Wish::Revert { of }, "Ann", "");
    let refused = desk.ask(&ask(id.clone())).await.unwrap();
    assert_eq!(refused, Asked::Refused(CannotAsk::NotMerged { id: id.clone(), state: S::Proposed }));
    let other = crate::model::ids::ActionId::new("act-000000000000").unwrap();
    assert_eq!(desk.ask(&ask(other.clone())).await.unwrap(), Asked::Refused(CannotAsk::Unknown(other)));
}
