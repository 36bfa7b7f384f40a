//! Pull requests on the whole order: real git, virtual time, a forge in memory. Each test is one sentence about what
//! people see on the forge, or about what they can do there.

use std::sync::Arc;

use super::Reconciler;
use super::desk::scripted::{Fault, PERSON, Scripted};
use super::desk::{Desk, DeskSettings};
use super::harness::*;
use crate::model::action::{ActionState as S, MergedBy};
use crate::model::forge::{CheckState, MergeMethod, PullState, RequiredCheck, Review, ReviewVerdict};
use crate::model::history::History;
use crate::model::ids::{BranchName, InstanceId, ObjectId};
use crate::model::reason::ReasonCode as C;
use crate::outside::clock::Clock as _;

pub struct Place {
    pub world: World,
    pub forge: Scripted,
}

impl Place {
    pub fn new(mode: &str) -> Self {
        let world = World::new(&latency_policy(mode));
        let forge = Scripted::new(world.hub.clone());
        Self { world, forge }
    }

    pub fn tars(&self, instance: &str) -> Reconciler {
        self.tars_with(instance, DeskSettings::default())
    }

    pub fn tars_with(&self, instance: &str, settings: DeskSettings) -> Reconciler {
        let forge = Arc::new(self.forge.clone());
        self.world.reconciler_with(instance, |parts| {
            let instance = InstanceId::new(instance).unwrap();
            parts.desk = Some(Desk::new(forge, BranchName::new("main").unwrap(), instance, settings));
        })
    }

    fn say(&self, by: &str, body: &str) {
        self.forge.say(1, by, body, self.world.clock.now());
    }

    pub fn head(&self) -> ObjectId {
        self.forge.only_pull().head
    }

    /// The reasons that the open proposal waits for.
    pub fn holds(&self, tars: &Reconciler) -> Vec<C> {
        let record = open(tars.memory().history(), "backend").expect("an open action");
        record.status.holds.iter().map(|it| it.code).collect()
    }
}

pub fn is_open_as(state: S) -> impl Fn(&History) -> bool {
    move |history| open(history, "backend").is_some_and(|it| it.state() == state)
}

#[tokio::test]
async fn a_proposal_becomes_one_pull_request_whatever_happens_to_the_answer() {
    for fault in [None, Some(Fault::AnswerLost)] {
        let place = Place::new("Propose");
        if let Some(fault) = fault {
            place.forge.fail_next_create(fault);
        }
        let mut tars = place.tars("a");
        place.world.run(&mut tars, 3).await;
        let pull = place.forge.only_pull();
        assert_eq!((pull.state, &*pull.base), (PullState::Open, "main"));
        assert!(pull.title.starts_with("tars: scale out shop/backend 3→5"), "{}", pull.title);
        assert!(pull.body.contains("Waiting for you"), "{}", pull.body);
        assert!(pull.labels.contains("tars/risk:low"), "{:?}", pull.labels);
        place.forge.forget_writes();
        let mut other = place.tars("b");
        place.world.run(&mut tars, 5).await;
        place.world.run(&mut other, 5).await;
        assert_eq!(place.forge.writes(), Vec::<String>::new(), "nothing new is nothing to write");
    }
}

#[tokio::test]
async fn another_replica_opens_the_pull_request_only_when_the_first_one_has_not_for_a_while() {
    let place = Place::new("Propose");
    let mut first = place.world.reconciler("a");
    place.world.run(&mut first, 1).await;
    drop(first);
    let mut other = place.tars("b");
    place.world.run(&mut other, 1).await;
    assert!(place.forge.pulls().is_empty(), "the first one may be about to");
    place.world.run(&mut other, 2).await;
    assert_eq!(place.forge.only_pull().state, PullState::Open);
}

#[tokio::test]
async fn a_low_risk_action_is_merged_by_the_forge_and_the_ledger_says_who_did_it() {
    let place = Place::new("AutoMerge");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 1).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
    let record = open(tars.memory().history(), "backend").unwrap();
    let merge = record.status.merge.clone().unwrap();
    assert_eq!((merge.by, &merge.commit), (MergedBy::Tars, &place.world.main()));
    assert!(place.world.file(APP).contains("replicas: 5 # three"));
    assert!(place.world.proposals().is_empty(), "{:?}", place.world.proposals());
    assert!(matches!(place.forge.only_pull().state, PullState::Merged(_)));
    let report = place.world.audit();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test]
async fn every_objection_on_the_forge_holds_the_merge_until_it_is_gone() {
    type Turn = fn(&Place);
    let cases: [(C, Turn, Turn); 7] = [
        (
            C::HeldByPerson,
            |it| it.forge.edit(1, |pull| pull.labels.extend(["tars/hold".to_owned()])),
            |it| it.forge.edit(1, |pull| pull.labels.retain(|it| it != "tars/hold")),
        ),
        (
            C::PullRequestAltered,
            |it| it.forge.edit(1, |pull| pull.is_draft = true),
            |it| it.forge.edit(1, |pull| pull.is_draft = false),
        ),
        (
            C::PullRequestAltered,
            |it| it.forge.edit(1, |pull| pull.base = "release".to_owned()),
            |it| it.forge.edit(1, |pull| pull.base = "main".to_owned()),
        ),
        (
            C::ChecksNotGreen,
            |it| it.forge.post_check(&it.head(), "build", CheckState::Failure, "ci"),
            |it| it.forge.post_check(&it.head(), "build", CheckState::Success, "ci"),
        ),
        (
            C::ChecksNotGreen,
            |it| it.forge.post_check(&it.head(), "build", CheckState::Pending, "ci"),
            |it| it.forge.post_check(&it.head(), "build", CheckState::Success, "ci"),
        ),
        (
            C::NativeAutoMerge,
            |it| it.forge.edit(1, |pull| pull.auto_merge = true),
            |it| it.forge.edit(1, |pull| pull.auto_merge = false),
        ),
        (C::ForgeUnreachable, |it| it.forge.set_down(true), |it| it.forge.set_down(false)),
    ];
    for (index, (code, hold, let_go)) in cases.into_iter().enumerate() {
        let place = Place::new("AutoMerge");
        place.world.commit(&[("policies/SUSPENDED", Some("wait"))]);
        let mut tars = place.tars("a");
        place.world.run(&mut tars, 2).await;
        hold(&place);
        place.world.commit(&[("policies/SUSPENDED", None)]);
        place.world.run(&mut tars, 4).await;
        assert!(!place.world.states().contains(&S::MergeReserved), "case {index}");
        assert!(place.holds(&tars).contains(&code), "case {index}: {:?}", place.holds(&tars));
        let_go(&place);
        place.world.until(&mut tars, 6, is_open_as(S::Merged)).await;
    }
}

#[tokio::test]
async fn a_required_check_has_to_be_there_and_to_come_from_whom_the_settings_name() {
    let place = Place::new("AutoMerge");
    place.forge.protect(0, &["lint"]);
    let required = RequiredCheck { context: "build".to_owned(), by: Some("ci".to_owned()) };
    let mut tars =
        place.tars_with("a", DeskSettings { required_checks: vec![required], ..DeskSettings::default() });
    place.world.run(&mut tars, 5).await;
    assert!(place.holds(&tars).contains(&C::ChecksNotGreen));
    place.forge.post_check(&place.head(), "lint", CheckState::Success, "ci");
    place.forge.post_check(&place.head(), "build", CheckState::Success, "somebody");
    place.world.run(&mut tars, 5).await;
    assert!(!place.world.states().contains(&S::MergeReserved));
    place.forge.post_check(&place.head(), "build", CheckState::Success, "ci");
    place.world.until(&mut tars, 3, is_open_as(S::Merged)).await;
}

#[tokio::test]
async fn our_own_statuses_prove_nothing() {
    let place = Place::new("AutoMerge");
    place.forge.protect(0, &["tars/policy"]);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 6).await;
    assert!(!place.world.states().contains(&S::MergeReserved));
}

#[tokio::test]
async fn a_token_that_could_go_around_the_rules_merges_nothing() {
    let place = Place::new("AutoMerge");
    place.forge.make_admin();
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 5).await;
    assert!(!place.world.states().contains(&S::MergeReserved));
    assert!(place.holds(&tars).contains(&C::TokenTooStrong));
}

#[tokio::test]
async fn a_branch_that_nothing_protects_gets_no_automatic_merge() {
    let place = Place::new("AutoMerge");
    place.forge.unprotect();
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 5).await;
    assert!(!place.world.states().contains(&S::MergeReserved));
    assert!(place.holds(&tars).contains(&C::BranchUnprotected));
}

#[tokio::test]
async fn an_approval_counts_for_the_commit_it_was_given_for() {
    let place = Place::new("AutoMerge");
    place.forge.protect(1, &[]);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 5).await;
    assert!(place.holds(&tars).contains(&C::ApprovalsMissing));
    let approval = |head| Review {
        by: PERSON.to_owned(),
        verdict: ReviewVerdict::Approved,
        head: Some(head),
        is_official: true,
        is_outdated: false,
    };
    place.forge.review(1, approval(place.world.main()));
    place.world.run(&mut tars, 2).await;
    assert!(!place.world.states().contains(&S::MergeReserved));
    place.forge.review(1, approval(place.head()));
    place.world.until(&mut tars, 3, is_open_as(S::Merged)).await;
}

#[tokio::test]
async fn a_person_who_closes_the_pull_request_says_no_and_hears_so() {
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    place.forge.edit(1, |pull| (pull.state, pull.closed_by) = (PullState::Closed, Some(PERSON.to_owned())));
    let report = place.world.run(&mut tars, 10).await;
    assert_eq!(place.world.states(), [S::Proposed, S::Closed]);
    assert!(place.world.proposals().is_empty(), "the branch is removed");
    let codes: Vec<C> = report.held.iter().flat_map(|it| it.reasons.iter().map(|it| it.code)).collect();
    assert!(codes.contains(&C::Snoozed), "{codes:?}");
    let said = place.forge.comments_of(1);
    assert!(said.len() == 1 && said[0].contains(PERSON), "{said:?}");
}

#[tokio::test]
async fn a_pull_request_that_is_opened_again_long_after_is_closed_again() {
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    let (branch, head) = (format!("refs/heads/{}", place.forge.only_pull().branch), place.head());
    place.forge.edit(1, |pull| pull.state = PullState::Closed);
    // Hours later.
    place.world.run(&mut tars, 300).await;
    place.world.force(&branch, Some(&head));
    place.forge.edit(1, |pull| pull.state = PullState::Open);
    place.world.run(&mut tars, 2).await;
    assert_eq!(place.forge.only_pull().state, PullState::Closed);
    assert_eq!(place.world.states(), [S::Proposed, S::Closed]);
}

#[tokio::test]
async fn a_proposal_that_is_not_needed_any_more_is_closed_with_the_reason() {
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    place.world.metrics.quench(SLOW);
    place.world.metrics.level(200.0);
    place.world.until(&mut tars, 60, |history| history.open.is_empty()).await;
    let pull = place.forge.only_pull();
    assert_eq!(pull.state, PullState::Closed);
    let said = place.forge.comments_of(1);
    assert!(said.len() == 1 && said[0].contains("back to normal"), "{said:?}");
}

#[tokio::test]
async fn the_text_follows_the_story_and_is_edited_in_place() {
    let place = Place::new("AutoMerge");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 1).await;
    place.world.metrics.quench(SLOW);
    place.world.metrics.level(200.0);
    place
        .world
        .until(&mut tars, 40, |history| history.effects.values().any(|it| it.record.state() == S::Verified))
        .await;
    let pull = place.forge.pulls().remove(0);
    assert!(pull.body.contains("merged as"), "{}", pull.body);
    let statuses = place.forge.statuses_of(&place.world.main());
    let verify = statuses.iter().find(|it| it.context == "tars/verify").expect("a status on the merge");
    assert_eq!(verify.state, CheckState::Success);
}

#[tokio::test]
async fn what_moves_between_the_check_and_the_merge_is_never_merged() {
    type Between = fn(&World);
    let cases: [(&str, Between); 3] = [
        ("a push to the branch", |world| {
            let branch = world.proposals().into_keys().next().unwrap();
            world.commit_on(&branch, &[(APP, Some("evil: true\n"))]);
        }),
        ("a push to main", |world| {
            world.commit(&[("apps/other.yaml", Some("a: 1\n"))]);
        }),
        ("the branch is deleted", |world| {
            let branch = world.proposals().into_keys().next().unwrap();
            world.force(&branch, None);
        }),
    ];
    for (what, between) in cases {
        let place = Arc::new(Place::new("AutoMerge"));
        let mut tars = place.tars("a");
        let there = Arc::clone(&place);
        place.forge.before_next_merge(move || between(&there.world));
        place.world.run(&mut tars, 12).await;
        assert!(!place.world.file(APP).contains("evil"), "{what}");
        let merges = place.world.states().iter().filter(|it| **it == S::Merged).count();
        assert!(merges <= 1, "{what}: {:?}", place.world.states());
        let report = place.world.audit();
        assert!(report.findings.is_empty(), "{what}: {:?}", report.findings);
    }
}

#[tokio::test]
async fn a_merge_whose_answer_was_lost_is_found_and_recorded_once() {
    let place = Place::new("AutoMerge");
    place.forge.fail_next_merge(Fault::AnswerLost);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
    let record = open(tars.memory().history(), "backend").unwrap();
    assert_eq!(record.status.merge.as_ref().unwrap().by, MergedBy::Tars);
}

#[tokio::test]
async fn a_process_that_died_after_the_merge_is_followed_by_one_that_knows_who_merged() {
    let place = Place::new("AutoMerge");
    place.forge.fail_next_merge(Fault::AnswerLost);
    let mut tars = place.tars("a");
    // The tick ends with the lost answer; nothing was recorded.
    place.world.run(&mut tars, 1).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved]);
    drop(tars);
    let mut next = place.tars("b");
    place.world.run(&mut next, 2).await;
    assert_eq!(place.world.states()[..3], [S::Proposed, S::MergeReserved, S::Merged]);
    let record = open(next.memory().history(), "backend").unwrap();
    assert_eq!(record.status.merge.as_ref().unwrap().by, MergedBy::Tars);
}

#[tokio::test]
async fn a_reservation_is_given_back_only_after_the_branch_moved_away_from_a_merge_that_may_be_under_way() {
    let place = Place::new("AutoMerge");
    place.forge.fail_next_merge(Fault::Down);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 1).await;
    let asked_for = place.head();
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved]);
    place.forge.edit(1, |pull| pull.labels.extend(["tars/hold".to_owned()]));
    place.world.run(&mut tars, 2).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved, S::Proposed]);
    assert_ne!(place.head(), asked_for, "the head that the forge was asked for is gone");
}

#[tokio::test]
async fn a_forge_that_keeps_refusing_gets_its_no_and_the_person_gets_the_words() {
    let place = Place::new("AutoMerge");
    let mut tars = place.tars("a");
    for _ in 0..4 {
        place.forge.fail_next_merge(Fault::Refused);
        place.world.run(&mut tars, 1).await;
    }
    place.world.run(&mut tars, 3).await;
    assert!(place.holds(&tars).contains(&C::MergeRefused), "{:?}", place.holds(&tars));
    assert!(!place.world.states().contains(&S::Merged));
}

#[tokio::test]
async fn a_forge_that_hiccups_after_the_reservation_costs_no_second_slot() {
    let place = Place::new("AutoMerge");
    place.forge.fail_next_merge(Fault::Refused);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 1).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved]);
    place.forge.set_down(true);
    place.world.run(&mut tars, 4).await;
    place.forge.set_down(false);
    place.world.run(&mut tars, 1).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
}

#[tokio::test]
async fn metrics_that_are_late_after_the_reservation_cost_no_second_slot() {
    let place = Place::new("AutoMerge");
    place.forge.fail_next_merge(Fault::Refused);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 1).await;
    place.world.metrics.set_deaf(true);
    place.world.run(&mut tars, 4).await;
    assert_eq!(
        place.world.states(),
        [S::Proposed, S::MergeReserved],
        "nobody knows whether it is still needed"
    );
    place.world.metrics.set_deaf(false);
    place.world.run(&mut tars, 1).await;
    assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved, S::Merged]);
}

#[tokio::test]
async fn merge_commits_and_squashes_have_the_computed_tree_and_pass_the_audit() {
    for method in [MergeMethod::Merge, MergeMethod::Squash] {
        let place = Place::new("AutoMerge");
        place.forge.methods([method]);
        let mut tars = place.tars("a");
        place.world.run(&mut tars, 1).await;
        assert_eq!(place.world.states(), [S::Proposed, S::MergeReserved, S::Merged], "{method:?}");
        let report = place.world.audit();
        assert!(report.findings.is_empty(), "{method:?}: {:?}", report.findings);
    }
}

#[tokio::test]
async fn a_tree_that_nobody_computed_is_an_alarm_and_its_revert_is_proposed() {
    let place = Arc::new(Place::new("AutoMerge"));
    place.forge.methods([MergeMethod::Merge]);
    let there = Arc::clone(&place);
    // A merge commit takes in whatever main has become meanwhile.
    place.forge.before_next_merge(move || drop(there.world.commit(&[("apps/other.yaml", Some("a: 1\n"))])));
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 3).await;
    let states = place.world.states();
    assert_eq!(states[..4], [S::Proposed, S::MergeReserved, S::Merged, S::Worse], "{states:?}");
    let undo = open(tars.memory().history(), "backend").expect("a revert");
    assert!(matches!(undo.spec.purpose, crate::model::action::Purpose::Revert { .. }));
    let pulls = place.forge.pulls();
    let (first, revert) = (pulls.first().unwrap(), pulls.last().unwrap());
    assert!(revert.title.contains("backend"));
    assert!(revert.body.contains(&format!("]({})", first.url)), "{}", revert.body);
    // A replica that has just begun knows no address by heart, and finds the same words.
    let written = place.forge.writes().len();
    let mut other = place.tars("b");
    place.world.run(&mut other, 2).await;
    let after = place.forge.writes();
    assert!(after[written..].iter().all(|it| !it.starts_with("update")), "{:?}", &after[written..]);
}

#[tokio::test]
async fn trailers_that_a_squash_dropped_are_told_and_the_ledger_has_them() {
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    // With a message of its own.
    place.world.merge(&place.head(), true);
    place.world.until(&mut tars, 3, is_open_as(S::Merged)).await;
    assert!(place.holds(&tars).contains(&C::TrailersDropped));
    place.world.run(&mut tars, 1).await;
    let said = place.forge.comments_of(1).join("\n");
    assert!(said.contains("Tars-Action"), "{said}");
    let kept = Place::new("Propose");
    let mut tars = kept.tars("a");
    kept.world.run(&mut tars, 2).await;
    kept.world.merge(&kept.head(), false);
    kept.world.until(&mut tars, 3, is_open_as(S::Merged)).await;
    assert_eq!(kept.holds(&tars), [], "a merge commit keeps the commit with its trailers");
}

#[tokio::test]
async fn a_branch_with_somebody_elses_commit_is_left_to_them_and_they_are_told_once() {
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 3).await;
    let branch = place.world.proposals().into_keys().next().unwrap();
    let theirs = place.world.commit_on(&branch, &[("apps/other.yaml", Some("a: 1\n"))]);
    place.world.run(&mut tars, 6).await;
    assert_eq!(place.world.head(&branch), Some(theirs), "never rebuilt");
    assert_eq!(place.holds(&tars), [C::HumanCommits]);
    let said = place.forge.comments_of(1);
    assert_eq!(said.iter().filter(|it| it.contains("not a commit of tars")).count(), 1, "{said:?}");
}

#[tokio::test]
async fn a_person_holds_by_a_comment_and_lets_go_by_another_and_nobody_else_can() {
    let place = Place::new("AutoMerge");
    place.world.commit(&[("policies/SUSPENDED", Some("wait"))]);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    place.say("passer-by", "/tars hold");
    place.say(PERSON, "/tars hold deploy in progress");
    place.world.run(&mut tars, 3).await;
    place.world.commit(&[("policies/SUSPENDED", None)]);
    place.world.run(&mut tars, 4).await;
    let holds = &open(tars.memory().history(), "backend").unwrap().status.holds;
    let held = holds.iter().find(|it| it.code == C::HeldByPerson).expect("a hold");
    assert!(held.text.contains(PERSON) && held.text.ends_with("deploy in progress"), "{held}");
    let refusal = place.forge.comments_of(1).into_iter().find(|it| it.contains("needs triage access"));
    assert!(refusal.is_some(), "{:?}", place.forge.comments_of(1));
    place.say("passer-by", "/tars unhold");
    place.world.run(&mut tars, 3).await;
    assert!(!place.world.states().contains(&S::MergeReserved));
    place.say(PERSON, "/tars unhold");
    place.world.until(&mut tars, 4, is_open_as(S::Merged)).await;
}

#[tokio::test]
async fn a_snooze_closes_the_pull_request_and_keeps_the_cause_quiet_as_long_as_it_says() {
    for by_box in [false, true] {
        let place = Place::new("Propose");
        let mut tars = place.tars("a");
        place.world.run(&mut tars, 2).await;
        if by_box {
            place.forge.edit(1, |pull| {
                pull.body = pull.body.replace("- [ ] <!-- tars:snooze", "- [x] <!-- tars:snooze");
            });
        } else {
            place.say(PERSON, "/tars snooze 4h known load test");
        }
        place.world.until(&mut tars, 4, |history| history.open.is_empty()).await;
        place.world.run(&mut tars, 200).await;
        let pull = place.forge.only_pull();
        assert_eq!(pull.state, PullState::Closed, "one pull request, and it stays closed");
        assert!(place.world.audit().findings.is_empty(), "{:?}", place.world.audit().findings);
        assert_eq!(tars.memory().history().quiet.len(), 1);
    }
}

#[tokio::test]
async fn an_explanation_and_the_help_are_one_comment_each_however_often_they_are_asked_for() {
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    for _ in 0..3 {
        place.say("passer-by", "/tars explain");
        place.say(PERSON, "/tars help");
        place.world.run(&mut tars, 2).await;
    }
    drop(tars);
    let mut tars = place.tars("b");
    place.world.run(&mut tars, 3).await;
    let said = place.forge.comments_of(1);
    let ours = |marker: &str| said.iter().filter(|it| it.starts_with(marker)).count();
    assert_eq!((ours("<!-- tars:explanation -->"), ours("<!-- tars:reply -->")), (1, 1), "{said:#?}");
}

#[tokio::test]
async fn a_revert_that_a_person_asks_for_is_proposed_once_and_not_without_the_right() {
    let place = Place::new("AutoMerge");
    let mut tars = place.tars("a");
    place.world.until(&mut tars, 4, is_open_as(S::Synced)).await;
    place.say("passer-by", "/tars revert");
    place.world.run(&mut tars, 4).await;
    assert_eq!(place.forge.pulls().len(), 1);
    place.say(PERSON, "/tars revert");
    place.world.run(&mut tars, 8).await;
    let pulls = place.forge.pulls();
    assert_eq!(pulls.len(), 2, "{pulls:#?}");
    assert_eq!(pulls[1].state, PullState::Open);
    assert!(pulls[1].title.contains("asked for"), "{}", pulls[1].title);
}

#[tokio::test]
async fn the_repositorys_own_words_are_used_from_the_commit_on_that_has_them_and_bad_ones_are_told() {
    const OWN: &str = ".tars/templates/pull-request.hbs";
    let place = Place::new("Propose");
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    place.world.commit(&[(OWN, Some("The words of this team: {{sentence}}\n"))]);
    place.world.run(&mut tars, 1).await;
    let body = place.forge.only_pull().body;
    assert!(body.contains("The words of this team"), "{body}");
    place.world.commit(&[(OWN, Some("{{no_such_name}}\n"))]);
    let report = place.world.run(&mut tars, 1).await;
    assert!(report.template_problem.is_some_and(|it| it.to_string().contains("no_such_name")));
    assert!(!place.forge.only_pull().body.contains("The words of this team"));
}

#[tokio::test]
async fn reviewers_are_asked_once_and_only_when_a_person_is_needed() {
    for (mode, asked) in [("Propose", 1), ("AutoMerge", 0)] {
        let place = Place::new(mode);
        let settings = DeskSettings { reviewers: vec![PERSON.to_owned()], ..DeskSettings::default() };
        let mut tars = place.tars_with("a", settings);
        place.world.run(&mut tars, 4).await;
        let count = place.forge.writes().iter().filter(|it| it.starts_with("ask")).count();
        assert_eq!(count, asked, "{mode}");
    }
}
