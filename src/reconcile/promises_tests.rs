//! The promises, on the whole order: real git, virtual time. Each test is one sentence about what tars does.

use super::error::TurnError;
use super::harness::*;
use crate::model::action::{ActionState as S, MergedBy, Purpose};
use crate::model::alert::AlertStatus;
use crate::model::history::History;
use crate::model::reason::ReasonCode;
use crate::model::verdict::Outcome;
use crate::outside::clock::Clock as _;

fn is_open_as(state: S) -> impl Fn(&History) -> bool {
    move |history| open(history, "backend").is_some_and(|it| it.state() == state)
}

fn has_effect_as(state: S) -> impl Fn(&History) -> bool {
    move |history| history.effects.values().any(|it| it.record.state() == state)
}

fn auto_revert() -> String {
    format!("{}  autoRevert: true\n", latency_policy("AutoMerge"))
}

fn codes(report: &super::report::TickReport) -> Vec<ReasonCode> {
    report.held.iter().flat_map(|it| it.reasons.iter().map(|reason| reason.code)).collect()
}

#[tokio::test]
async fn a_low_risk_action_merges_is_verified_and_put_back_when_its_time_has_come() {
    let world = World::new(&auto_revert());
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 1).await;
    assert_eq!(world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
    assert!(world.file(APP).contains("replicas: 5 # three"), "{}", world.file(APP));
    world.until(&mut tars, 3, is_open_as(S::Synced)).await;
    world.metrics.level(200.0);
    world.metrics.quench(SLOW);
    world.until(&mut tars, 30, has_effect_as(S::Verified)).await;
    world.until(&mut tars, 120, |history| history.effects.is_empty() && history.open.is_empty()).await;
    assert!(world.file(APP).contains("replicas: 3 # three"));
    assert!(world.states().contains(&S::Expired));
    assert!(world.proposals().is_empty(), "{:?}", world.proposals());
}

#[tokio::test]
async fn a_person_closing_the_branch_is_remembered() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Proposed)).await;
    let branch = world.proposals().into_keys().next().unwrap();
    world.force(&branch, None);
    let report = world.run(&mut tars, 20).await;
    assert_eq!(world.states(), [S::Proposed, S::Closed]);
    assert!(codes(&report).contains(&ReasonCode::Snoozed), "{report:?}");
}

#[tokio::test]
async fn observe_mode_writes_nothing_but_the_ledger() {
    let world = World::new(&latency_policy("Observe"));
    let before = world.main();
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, |history| !history.observed.is_empty()).await;
    world.run(&mut tars, 20).await;
    assert_eq!(world.states(), [S::Observed], "one episode is recorded once");
    assert_eq!(world.main(), before);
    assert!(world.proposals().is_empty());
}

#[tokio::test]
async fn a_frozen_repository_merges_nothing_and_says_why() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("holiday freeze\n"))]);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 5).await;
    assert_eq!(world.states()[0], S::Proposed);
    assert!(!world.states().contains(&S::MergeReserved));
    let held = &open(tars.memory().history(), "backend").unwrap().status.holds;
    assert!(held.iter().any(|it| it.code == ReasonCode::Frozen && it.text.contains("holiday")), "{held:?}");
    world.commit(&[("policies/SUSPENDED", None)]);
    world.until(&mut tars, 3, is_open_as(S::Merged)).await;
}

#[tokio::test]
async fn a_freeze_with_an_end_holds_until_then_and_needs_nobody_afterwards() {
    let world = World::new(&latency_policy("AutoMerge"));
    let until = world.clock.now() + jiff::SignedDuration::from_mins(10);
    world.commit(&[("policies/SUSPENDED", Some(&format!("load test\nUntil: {until}\n")))]);
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Proposed)).await;
    let mut held_for = 0;
    while !world.states().contains(&S::Merged) {
        assert!(held_for < 60, "it never merged");
        world.run(&mut tars, 1).await;
        held_for += 1;
        assert!(!world.states().contains(&S::MergeReserved) || world.clock.now() >= until);
    }
    assert!(world.clock.now() >= until && !tars.is_suspended());
}

#[tokio::test]
async fn a_freeze_with_a_long_explanation_freezes_all_the_same() {
    let world = World::new(&latency_policy("AutoMerge"));
    let text = format!("incident 17\n{}", "x".repeat(2 * 1024 * 1024));
    world.commit(&[("policies/SUSPENDED", Some(&text))]);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 3).await;
    assert_eq!(world.states(), [S::Proposed]);
}

#[tokio::test]
async fn a_policy_removed_after_the_proposal_prevents_the_merge() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("wait"))]);
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Proposed)).await;
    world.commit(&[(POLICY, None), ("policies/SUSPENDED", None)]);
    world.run(&mut tars, 5).await;
    assert!(!world.states().contains(&S::MergeReserved), "{:?}", world.states());
    let held = &open(tars.memory().history(), "backend").unwrap().status.holds;
    assert!(held.iter().any(|it| it.code == ReasonCode::PolicyChanged), "{held:?}");
}

#[tokio::test]
async fn a_change_that_did_not_help_is_reverted_and_never_proposed_again() {
    let world = World::new(&auto_revert());
    let mut tars = world.reconciler("a");
    // The verdict and the merge of its revert may fall into one tick.
    world.until(&mut tars, 120, |history| !history.refused.is_empty() && history.open.is_empty()).await;
    assert!(world.states().contains(&S::NotRecovered));
    assert!(world.file(APP).contains("replicas: 3 # three"));
    world.run(&mut tars, 200).await;
    let remediations = |it: &crate::model::entry::Entry| {
        it.record
            .as_ref()
            .is_some_and(|it| it.spec.purpose == Purpose::Remediate && it.state() == S::Proposed)
    };
    assert_eq!(world.entries().iter().filter(|it| remediations(it)).count(), 1);
    assert!(world.states().contains(&S::Reverted));
}

#[tokio::test]
async fn no_data_is_neither_recovered_nor_failed_and_unknown_never_reverts() {
    let world = World::new(&auto_revert());
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Merged)).await;
    world.metrics.level(None);
    world.metrics.quench(SLOW);
    world.until(&mut tars, 60, has_effect_as(S::Unknown)).await;
    world.run(&mut tars, 300).await;
    assert_eq!(*world.states().last().unwrap(), S::Unknown, "{:?}", world.states());
    assert!(world.file(APP).contains("replicas: 5"));
}

#[tokio::test]
async fn expiry_waits_for_calm() {
    let world = World::new(&auto_revert());
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Synced)).await;
    world.metrics.level(200.0);
    world.until(&mut tars, 30, has_effect_as(S::Verified)).await;
    world.metrics.level(400.0);
    world.metrics.quench(SLOW);
    world.run(&mut tars, 120).await;
    assert_eq!(*world.states().last().unwrap(), S::Verified, "{:?}", world.states());
    world.metrics.level(200.0);
    world.until(&mut tars, 60, |history| history.effects.is_empty()).await;
}

#[tokio::test]
async fn a_scale_back_that_waits_makes_room_when_the_cause_returns() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Proposed)).await;
    let head = world.proposals().into_values().next().unwrap();
    world.force(MAIN, Some(&crate::model::ids::ObjectId::new(head).unwrap()));
    world.until(&mut tars, 3, is_open_as(S::Synced)).await;
    world.metrics.level(200.0);
    world.metrics.quench(SLOW);
    world
        .until(&mut tars, 120, |history| {
            open(history, "backend").is_some_and(|it| it.spec.purpose != Purpose::Remediate)
        })
        .await;
    world.metrics.level(500.0);
    world.metrics.fire(SLOW);
    world
        .until(&mut tars, 40, |history| {
            open(history, "backend").is_some_and(|it| it.spec.purpose == Purpose::Remediate)
        })
        .await;
}

#[tokio::test]
async fn a_policy_without_a_limit_scales_back_by_itself_too() {
    let policy = auto_revert().replace("    below: 250\n", "").replace(
        "{ type: promql, query: slow }",
        "{ type: anomaly, signal: latency_p95, service: backend, threshold: 0.8 }",
    );
    let world = World::new(&policy);
    world.metrics.level(200.0);
    let mut tars = world.reconciler_with("a", |parts| {
        let long = crate::observe::signals::SignalConfig {
            signal: signal().signal,
            service: crate::model::signal::ServiceOf::Named(signal().service),
            source: crate::model::signal::SourceKind::Prometheus,
            query: LATENCY.to_owned(),
            step_s: 30,
            window_s: 7_200,
            period: None,
            staleness_s: 300,
        };
        parts.observer = super::evidence::Observer::new(
            crate::observe::sources::Sources::only(std::sync::Arc::new(world.metrics.clone())),
            crate::observe::signals::SignalWindows::new(vec![long]).unwrap(),
            crate::detect::EnsembleSettings::default(),
        );
    });
    world.metrics.calm_past(200.0);
    world.run(&mut tars, 2).await;
    world.metrics.level(900.0);
    world.until(&mut tars, 12, is_open_as(S::Synced)).await;
    world.metrics.level(200.0);
    world.until(&mut tars, 40, has_effect_as(S::Verified)).await;
    world.until(&mut tars, 120, |history| history.effects.is_empty()).await;
}

#[tokio::test]
async fn an_open_proposal_is_not_closed_while_its_query_still_answers() {
    let world = World::new(&latency_policy("Propose"));
    world.metrics.calm_past(200.0);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 9).await;
    assert_eq!(world.states(), [S::Proposed], "the query answers, although the judged signal is calm");
    world.metrics.quench(SLOW);
    world.until(&mut tars, 20, |history| history.open.is_empty()).await;
    // In between stands one note: nothing asks for it any more, but the calm is younger than the window.
    assert_eq!(world.states(), [S::Proposed, S::Proposed, S::Closed]);
}

#[tokio::test]
async fn a_merge_by_hand_takes_a_slot_and_is_recorded_as_a_persons() {
    let world = World::new(&latency_policy("Propose"));
    let mut tars = world.reconciler("a");
    world.until(&mut tars, 3, is_open_as(S::Proposed)).await;
    let head = world.proposals().into_values().next().unwrap();
    world.force(MAIN, Some(&crate::model::ids::ObjectId::new(head).unwrap()));
    world.until(&mut tars, 3, is_open_as(S::Merged)).await;
    let history = tars.memory().history();
    assert_eq!(open(history, "backend").unwrap().status.merge.as_ref().unwrap().by, MergedBy::Person);
    assert_eq!(history.executions_within(world.clock.now(), None, None).used, 1);
}

#[tokio::test]
async fn a_clock_that_differs_from_the_metrics_servers_merges_nothing() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.metrics.outside_clock_ahead(120);
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 5).await;
    assert!(!world.states().contains(&S::MergeReserved));
    world.metrics.outside_clock_ahead(0);
    world.until(&mut tars, 3, is_open_as(S::Merged)).await;
}

#[tokio::test]
async fn a_resolved_alert_closes_a_waiting_proposal_and_does_not_reopen_it() {
    let policy = latency_policy("Propose")
        .replace("{ type: promql, query: slow }", "{ type: webhook, alertname: Slow }");
    let world = World::new(&policy);
    let mut tars = world.reconciler("a");
    let start = world.clock.now();
    tars.spool().accept(&[alert("Slow", AlertStatus::Firing, start)], start).unwrap();
    world.until(&mut tars, 3, is_open_as(S::Proposed)).await;
    tars.spool().accept(&[alert("Slow", AlertStatus::Resolved, start)], start).unwrap();
    world.run(&mut tars, 10).await;
    assert_eq!(world.states(), [S::Proposed, S::Closed]);
}

#[tokio::test]
async fn a_restart_anywhere_continues_where_the_ledger_stands() {
    let world = World::new(&auto_revert());
    for (tick, name) in ["a", "b"].into_iter().cycle().take(24).enumerate() {
        let mut tars = world.reconciler(name);
        if tick == 4 {
            world.metrics.level(200.0);
            world.metrics.quench(SLOW);
        }
        let report = world.run(&mut tars, 2).await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }
    assert_eq!(world.states(), [S::Proposed, S::MergeReserved, S::Merged, S::Synced, S::Verified]);
    let verdict = world.entries().into_iter().filter_map(|it| it.record?.status.verdict).next().unwrap();
    assert_eq!(verdict.outcome, Outcome::Recovered);
}

#[tokio::test]
async fn a_proposal_whose_process_is_gone_is_merged_by_another() {
    let world = World::new(&latency_policy("AutoMerge"));
    world.commit(&[("policies/SUSPENDED", Some("wait"))]);
    let mut gone = world.reconciler("a");
    world.until(&mut gone, 3, is_open_as(S::Proposed)).await;
    drop(gone);
    world.commit(&[("policies/SUSPENDED", None)]);
    let mut tars = world.reconciler("b");
    world.until(&mut tars, 2, is_open_as(S::Merged)).await;
    let writers: Vec<_> = world.entries().iter().map(|it| it.envelope.instance.to_string()).collect();
    assert_eq!(writers, ["a", "a", "b", "b", "b"], "genesis and proposal; rebuild, reservation and merge");
}

/// A list that changed, a key that expired while tars ran: one entry that nobody believes would stop every replica.
#[tokio::test]
async fn a_key_whose_entries_nobody_would_believe_pushes_nothing() {
    let world = World::new(&latency_policy("AutoMerge"));
    let before = world.main();
    let mut tars = world.reconciler_with("a", |parts| parts.writer.signer = world.unlisted_key());
    let report = world.run(&mut tars, 3).await;
    assert!(matches!(report.errors[..], [TurnError::SigningKey(_)]), "{report:?}");
    assert!(report.errors[0].hint().contains("signing.key_file"));
    assert!(world.entries().is_empty() && world.proposals().is_empty());
    assert_eq!(world.main(), before);
}
