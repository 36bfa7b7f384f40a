//! The fold: slots, windows, cooldown, memory, and every rule broken once.

use proptest::prelude::*;

use super::scripted::{Script, commit, entry, signed};
use super::*;
use crate::model::action::ActionState as S;
use crate::model::action::*;
use crate::model::alert::{Alert, AlertStatus};
use crate::model::batch;
use crate::model::entry::{EntryKind, Signer};
use crate::model::fixtures::{anomaly, at, labels, oid, proposed, signal, target};
use crate::model::history::{History, plan_id};
use crate::model::ids::*;
use crate::model::policy::Mode;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::request::{Request, Whom, Wish};
use crate::model::verdict::Outcome;

const BACKEND: &str = "shop/Deployment/backend";
const MERGE: [S; 2] = [S::MergeReserved, S::Merged];

fn backend() -> WorkloadRef {
    target(BACKEND)
}

fn used(script: &Script, seconds: i64) -> u32 {
    script.history.executions_within(at(seconds), None, None).used
}

fn one(state: &[S]) -> (Script, ActionId) {
    let mut script = Script::new(at(0));
    let id = script.propose("backend-latency", &backend(), at(0));
    script.enter(&id, state, at(60));
    (script, id)
}

#[test]
fn a_reserved_merge_takes_one_slot_not_two() {
    let (script, _) = one(&MERGE);
    assert_eq!(used(&script, 61), 1);
}

#[test]
fn a_persons_merge_takes_a_slot() {
    let (mut script, id) = one(&[]);
    script.try_enter(&id, S::Merged, MergedBy::Person, at(5)).unwrap();
    assert_eq!(used(&script, 6), 1);
    assert_eq!(script.history.executions[0].by, MergedBy::Person);
}

#[test]
fn a_reservation_that_was_given_back_keeps_its_slot() {
    let (script, _) = one(&[S::MergeReserved, S::Proposed]);
    assert_eq!((used(&script, 61), used(&script, 3659), used(&script, 3660)), (1, 1, 0));
    let (script, _) = one(&[S::MergeReserved, S::Closed]);
    assert_eq!(used(&script, 61), 1);
}

#[test]
fn a_merge_counts_from_its_end_not_from_its_reservation() {
    let (mut script, id) = one(&[S::MergeReserved]);
    assert_eq!(used(&script, 100_000), 1);
    script.enter(&id, &[S::Merged], at(7200));
    assert_eq!((used(&script, 7200 + 3599), used(&script, 7200 + 3600)), (1, 0));
}

#[test]
fn tars_cannot_merge_without_a_reservation() {
    let (mut script, id) = one(&[]);
    let refused = script.try_enter(&id, S::Merged, MergedBy::Tars, at(5)).unwrap_err();
    assert_eq!(refused.rule, Rule::Reservation);
}

#[test]
fn the_third_reservation_of_a_policy_in_an_hour_is_refused() {
    let mut script = Script::new(at(0));
    for (index, name) in ["shop/Deployment/a", "shop/Deployment/b"].into_iter().enumerate() {
        let id = script.propose("p", &target(name), at(index as i64));
        script.enter(&id, &MERGE, at(index as i64));
    }
    let id = script.propose("p", &target("shop/Deployment/c"), at(10));
    let refused = script.try_enter(&id, S::MergeReserved, MergedBy::Tars, at(3599)).unwrap_err();
    assert_eq!(refused.rule, Rule::Budget);
    script.try_enter(&id, S::MergeReserved, MergedBy::Tars, at(3600)).unwrap();
}

#[test]
fn the_seventh_reservation_over_all_policies_is_refused() {
    let mut script = Script::new(at(0));
    for index in 0..6 {
        let id = script.propose(&format!("p{index}"), &target(&format!("shop/Deployment/d{index}")), at(0));
        script.enter(&id, &MERGE, at(0));
    }
    let id = script.propose("p6", &target("shop/Deployment/d6"), at(10));
    let refused = script.try_enter(&id, S::MergeReserved, MergedBy::Tars, at(10)).unwrap_err();
    assert_eq!(refused.rule, Rule::Budget);
}

#[test]
fn the_cooldown_of_a_target_holds_across_policies() {
    let (mut script, id) = one(&MERGE);
    script.enter(&id, &[S::Synced, S::Verified], at(60));
    let mut other = proposed("other", &backend(), next_seq(&script.history), at(70));
    let change = other.spec.change.as_mut().unwrap();
    change.change_id = ChangeId::of([(BACKEND, "spec.replicas", "7")]);
    script.try_record(&other, at(70)).unwrap();
    let refused = script.try_enter(other.id(), S::MergeReserved, MergedBy::Tars, at(959)).unwrap_err();
    assert_eq!(refused.rule, Rule::Cooldown);
    script.try_enter(other.id(), S::MergeReserved, MergedBy::Tars, at(960)).unwrap();
}

#[test]
fn an_action_does_not_cool_down_from_its_own_reservation() {
    let (mut script, id) = one(&[S::MergeReserved, S::Proposed]);
    script.try_enter(&id, S::MergeReserved, MergedBy::Tars, at(61)).unwrap();
    assert_eq!(used(&script, 62), 2, "and takes another slot");
}

#[test]
fn ledger_time_never_goes_back_and_a_slow_clock_is_lifted() {
    let (mut script, _) = one(&MERGE);
    let frontend = target("shop/Deployment/frontend");
    let record = proposed("p", &frontend, next_seq(&script.history), at(-86_400));
    let mut late = entry(&script.history, EntryKind::Transition(S::Proposed), Some(&record), at(-86_400));
    assert_eq!(late.envelope.time, at(60));
    late.envelope.time = at(59);
    assert_eq!(script.push(late).unwrap_err().rule, Rule::Time);
    assert_eq!(used(&script, -86_400), 1, "a back-dated question frees nothing");
}

#[test]
fn an_entry_from_the_future_is_told_apart() {
    let script = Script::new(at(0));
    let future = entry(&script.history, EntryKind::Checkpoint, None, at(121));
    assert!(check_not_future(&future, at(1)).is_ok());
    assert_eq!(check_not_future(&future, at(0)).unwrap_err().rule, Rule::Time);
}

#[test]
fn a_target_has_one_open_action() {
    let (mut script, _) = one(&[]);
    let mut second = proposed("other", &backend(), next_seq(&script.history), at(5));
    second.spec.change.as_mut().unwrap().change_id = ChangeId::of([(BACKEND, "spec.replicas", "9")]);
    assert_eq!(script.try_record(&second, at(5)).unwrap_err().rule, Rule::OneOpenPerTarget);
}

#[test]
fn the_limit_of_open_proposals_holds() {
    let mut script = Script::new(at(0));
    for index in 0..10 {
        script.propose("p", &target(&format!("shop/Deployment/d{index}")), at(0));
    }
    let record = proposed("p", &backend(), next_seq(&script.history), at(1));
    assert_eq!(script.try_record(&record, at(1)).unwrap_err().rule, Rule::OpenProposals);
}

#[test]
fn what_was_proposed_cannot_change_afterwards() {
    let edits: [fn(&mut RemediationAction); 12] = [
        |it| it.spec.target = target("shop/Deployment/other"),
        |it| it.spec.policy = PolicyName::new("other").unwrap(),
        |it| it.spec.fingerprint = Fingerprint::new("0".repeat(64)).unwrap(),
        |it| it.spec.limits.policy_per_hour = 99,
        |it| it.spec.limits.cooldown_s = 0,
        |it| it.spec.risk.class = RiskClass::Medium,
        |it| it.spec.change.as_mut().unwrap().head = oid('9'),
        |it| it.spec.change.as_mut().unwrap().tree = oid('9'),
        |it| it.spec.cause.key.push('x'),
        |it| it.metadata.namespace = Namespace::new("other").unwrap(),
        |it| it.status.timeline[0].text.push('x'),
        |it| it.spec.mode = Mode::Propose,
    ];
    for edit in edits {
        let (script, id) = one(&[]);
        let mut record = script.moved(&id, S::MergeReserved, MergedBy::Tars, at(1));
        edit(&mut record);
        let mut copy = script.clone();
        assert!(copy.try_record(&record, at(1)).is_err(), "{record:?}");
        assert_eq!(copy.history, script.history, "a refused entry leaves no trace");
    }
}

#[test]
fn a_rebuild_renews_the_commit_but_not_the_change() {
    let (mut script, id) = one(&[]);
    let mut record = script.moved(&id, S::Proposed, MergedBy::Tars, at(1));
    let change = record.spec.change.as_mut().unwrap();
    (change.base, change.head, change.tree) = (oid('1'), oid('2'), oid('3'));
    script.try_record(&record, at(1)).unwrap();
    record.spec.change.as_mut().unwrap().change_id = ChangeId::of([(BACKEND, "spec.replicas", "10")]);
    assert_eq!(script.try_record(&record, at(1)).unwrap_err().rule, Rule::Fixed);
}

/// A proposal that waits for a person, as the next entry: on `branch`, on the commit of `base`.
fn waiting(script: &Script, name: &str, branch: Option<&BranchName>, base: ObjectId) -> RemediationAction {
    let seq = next_seq(&script.history);
    let mut record = proposed("p", &target(&format!("shop/Deployment/{name}")), seq, at(0));
    record.spec.mode = Mode::Propose;
    let own = batch::branch(record.id()).unwrap();
    let change = record.spec.change.as_mut().unwrap();
    change.branch = branch.cloned().unwrap_or(own);
    (change.base, change.head) = (base, commit(0xbeef_0000 + seq));
    record
}

fn head_of(record: &RemediationAction) -> ObjectId {
    record.spec.change.as_ref().unwrap().head.clone()
}

#[test]
fn a_batch_grows_only_on_top_and_only_by_what_waits_for_a_person() {
    let mut script = Script::new(at(0));
    let first = waiting(&script, "a", None, oid('b'));
    script.try_record(&first, at(0)).unwrap();
    let branch = first.spec.change.as_ref().unwrap().branch.clone();
    let second = waiting(&script, "b", Some(&branch), head_of(&first));
    script.try_record(&second, at(0)).unwrap();
    let refused = |record: &RemediationAction| script.clone().try_record(record, at(0)).unwrap_err().rule;
    let beside = waiting(&script, "c", Some(&branch), head_of(&first));
    assert_eq!(refused(&beside), Rule::Identity, "a commit between two others");
    let elsewhere = waiting(&script, "c", Some(&branch), oid('b'));
    assert_eq!(refused(&elsewhere), Rule::Identity, "not on the branch at all");
    let foreign = BranchName::new("tars/p/shop.deployment.a/act-0123456789ab").unwrap();
    let taken = waiting(&script, "c", Some(&foreign), head_of(&second));
    assert_eq!(refused(&taken), Rule::Identity, "a branch that is nobody's to join");
    let mut automatic = waiting(&script, "c", Some(&branch), head_of(&second));
    automatic.spec.mode = Mode::AutoMerge;
    assert_eq!(refused(&automatic), Rule::Identity, "it might merge by itself");
    let third = waiting(&script, "c", Some(&branch), head_of(&second));
    script.try_record(&third, at(0)).unwrap();
    let line: Vec<_> = script.history.waiting_on(&branch).iter().map(|it| it.id().clone()).collect();
    assert_eq!(line, [first.id().clone(), second.id().clone(), third.id().clone()]);
}

#[test]
fn who_leaves_a_batch_goes_to_a_branch_of_its_own() {
    let mut script = Script::new(at(0));
    let first = waiting(&script, "a", None, oid('b'));
    script.try_record(&first, at(0)).unwrap();
    let branch = first.spec.change.as_ref().unwrap().branch.clone();
    let second = waiting(&script, "b", Some(&branch), head_of(&first));
    script.try_record(&second, at(0)).unwrap();
    let mut moved = script.get(second.id());
    moved.enter(S::Proposed, at(1), "rebuilt");
    let change = moved.spec.change.as_mut().unwrap();
    (change.base, change.head) = (oid('9'), oid('8'));
    assert_eq!(
        script.try_record(&moved, at(1)).unwrap_err().rule,
        Rule::Identity,
        "it stands on nothing there"
    );
    moved.spec.change.as_mut().unwrap().branch = batch::branch(second.id()).unwrap();
    script.try_record(&moved, at(1)).unwrap();
    assert_eq!(script.history.waiting_on(&branch).len(), 1);
}

#[test]
fn every_illegal_transition_is_refused() {
    let roads: [(S, &[S]); 7] = [
        (S::Proposed, &[]),
        (S::MergeReserved, &[S::MergeReserved]),
        (S::Merged, &MERGE),
        (S::Synced, &[S::MergeReserved, S::Merged, S::Synced]),
        (S::Verified, &[S::MergeReserved, S::Merged, S::Synced, S::Verified]),
        (S::NotRecovered, &[S::MergeReserved, S::Merged, S::Synced, S::NotRecovered]),
        (S::Unknown, &[S::MergeReserved, S::Merged, S::Unknown]),
    ];
    for (from, road) in roads {
        for next in S::ALL.into_iter().filter(|next| !from.may_become(*next)) {
            let (mut script, id) = one(road);
            let refused = script.try_enter(&id, next, MergedBy::Tars, at(61));
            assert!(refused.is_err(), "{from:?} -> {next:?}");
        }
    }
}

#[test]
fn status_and_state_must_agree() {
    let edits: [fn(&mut RemediationAction); 5] = [
        |it| it.status.phase = Phase::Failed,
        |it| it.status.verdict.as_mut().unwrap().outcome = Outcome::Unknown,
        |it| it.status.verdict = None,
        |it| it.status.merge = None,
        |it| it.status.verdict.as_mut().unwrap().before = Some(f64::NAN),
    ];
    for edit in edits {
        let (mut script, id) = one(&[S::MergeReserved, S::Merged, S::Synced]);
        let mut record = script.moved(&id, S::Verified, MergedBy::Tars, at(61));
        edit(&mut record);
        assert!(script.try_record(&record, at(61)).is_err());
    }
}

#[test]
fn a_reverted_change_is_never_proposed_again_for_the_same_cause() {
    let (mut script, id) = one(&[S::MergeReserved, S::Merged, S::Synced, S::NotRecovered]);
    let undo = script.undo(&id, at(70)).unwrap();
    let spec = script.get(&id).spec;
    script.enter(&undo, &MERGE, at(80));
    assert!(script.history.is_refused(&spec.fingerprint, &plan_id(&spec.target, &spec.plan)));
    let mut reverted = script.moved(&id, S::Reverted, MergedBy::Tars, at(90));
    reverted.status.undone_by = Some(undo.clone());
    script.try_record(&reverted, at(90)).unwrap();
    script.enter(&undo, &[S::Synced, S::Verified], at(100));
    let again = proposed("backend-latency", &backend(), next_seq(&script.history), at(900_000));
    assert_eq!(script.try_record(&again, at(900_000)).unwrap_err().rule, Rule::RevertedBefore);
    assert!(!script.history.effects.contains_key(&undo), "an undo is never undone");
}

#[test]
fn an_effect_is_undone_once_and_only_by_the_action_that_did() {
    let (mut script, id) = one(&[S::MergeReserved, S::Merged, S::Synced, S::Worse]);
    let mut early = script.moved(&id, S::Reverted, MergedBy::Tars, at(61));
    early.status.undone_by = Some(id.clone());
    assert_eq!(script.clone().try_record(&early, at(61)).unwrap_err().rule, Rule::Undo);
    let undo = script.undo(&id, at(70)).unwrap();
    script.enter(&undo, &[S::Closed], at(71));
    let undo = script.undo(&id, at(72)).unwrap();
    let mut closed = script.moved(&undo, S::Closed, MergedBy::Tars, at(73));
    closed.status.holds = vec![Reason::new(ReasonCode::ClosedByPerson, "closed")];
    script.try_record(&closed, at(73)).unwrap();
    assert_eq!(script.undo(&id, at(74)).unwrap_err().rule, Rule::Undo, "a person wants to keep it");
}

#[test]
fn a_closed_proposal_is_quiet_for_a_day_only_when_a_person_closed_it() {
    let (mut script, id) = one(&[S::Closed]);
    assert!(script.history.snoozed.is_empty());
    let id2 = script.propose("backend-latency", &backend(), at(100));
    assert_ne!(id, id2);
    let fingerprint = script.get(&id2).spec.fingerprint;
    let mut closed = script.moved(&id2, S::Closed, MergedBy::Person, at(100));
    closed.status.holds = vec![Reason::new(ReasonCode::ClosedByPerson, "closed")];
    script.try_record(&closed, at(100)).unwrap();
    assert_eq!(script.history.snoozed_until(&fingerprint, at(100)), Some(at(86_500)));
    assert_eq!(script.history.snoozed_until(&fingerprint, at(86_500)), None);
}

#[test]
fn an_asked_revert_needs_an_effect_that_nobody_undoes_and_brings_back_a_kept_one() {
    let (mut script, id) = one(&[S::MergeReserved, S::Merged, S::Synced, S::Worse]);
    let revert = || Request::new(Wish::Revert { of: id.clone() }, "Ann", "");
    let undo = script.undo(&id, at(70)).unwrap();
    assert_eq!(script.ask(&revert(), at(71)).unwrap_err().rule, Rule::Request);
    let mut closed = script.moved(&undo, S::Closed, MergedBy::Tars, at(73));
    closed.status.holds = vec![Reason::new(ReasonCode::ClosedByPerson, "closed")];
    script.try_record(&closed, at(73)).unwrap();
    assert!(script.clone().undo(&id, at(74)).is_err(), "a person wants to keep it");
    script.ask(&revert(), at(74)).unwrap();
    assert_eq!(script.ask(&revert(), at(75)).unwrap_err().rule, Rule::Request);
    script.undo(&id, at(75)).unwrap();
    let long = Wish::Quiet { of: Whom::Target(backend()), until: at(60 + 31 * 86_400) };
    assert_eq!(script.ask(&Request::new(long, "Ann", ""), at(76)).unwrap_err().rule, Rule::Request);
}

#[test]
fn a_ledger_with_requests_survives_a_checkpoint() {
    let (mut script, id) = one(&[S::MergeReserved, S::Merged]);
    script.ask(&Request::new(Wish::Revert { of: id }, "Ann", "a"), at(61)).unwrap();
    let quiet = Wish::Quiet { of: Whom::Target(backend()), until: at(500) };
    script.ask(&Request::new(quiet, "Ann", "b"), at(62)).unwrap();
    let stored = to_json(&script.history).unwrap();
    assert_eq!(from_json(&stored).unwrap(), script.history);
    assert_eq!((script.history.quiet.len(), script.history.reverts.len()), (1, 1));
}

#[test]
fn an_alert_is_handled_once_something_was_done_about_it() {
    let mut script = Script::new(at(0));
    let mut record = proposed("p", &backend(), 1, at(0));
    let alert = |s| Alert {
        status: AlertStatus::Firing,
        labels: labels([("alertname", "Slow")]),
        starts_at: at(s),
        ends_at: None,
        fingerprint: s.to_string(),
        owner: None,
    };
    record.spec.cause.alerts = vec![alert(-5), alert(-9)];
    script.try_record(&record, at(0)).unwrap();
    assert!(script.history.handled.is_empty());
    script.enter(&record.id().clone(), &[S::MergeReserved], at(1));
    assert!(script.history.handled.is_empty(), "a merge that is held in the end has handled nothing");
    script.enter(&record.id().clone(), &[S::Merged], at(2));
    assert_eq!(script.history.handled[&record.spec.fingerprint], at(-5));
}

#[test]
fn ids_are_those_of_their_position() {
    let mut script = Script::new(at(0));
    let record = proposed("p", &backend(), 2, at(0));
    assert_eq!(script.try_record(&record, at(0)).unwrap_err().rule, Rule::Identity);
}

#[test]
fn the_chain_is_signed_linear_and_of_one_repository() {
    type Edit = fn(&mut crate::model::entry::Entry);
    let edits: [(Rule, Edit); 9] = [
        (Rule::Signature, |it| it.signer = Signer::Unsigned),
        (Rule::Signature, |it| it.signer = Signer::Rejected("foreign key".into())),
        (Rule::Linear, |it| it.parents.push(oid('9'))),
        (Rule::Linear, |it| it.parents = vec![oid('9')]),
        (Rule::Linear, |it| it.parents.clear()),
        (Rule::Sequence, |it| it.envelope.seq += 1),
        (Rule::Previous, |it| it.envelope.prev = None),
        (Rule::Repository, |it| it.envelope.repo = RepoId::new("other").unwrap()),
        (Rule::Checkpoint, |it| it.checkpoint = Some("{}".into())),
    ];
    for (rule, edit) in edits {
        let (mut script, _) = one(&MERGE);
        let mut next = entry(&script.history, EntryKind::Checkpoint, None, at(70));
        edit(&mut next);
        assert_eq!(script.push(next).unwrap_err().rule, rule);
    }
}

#[test]
fn an_empty_ledger_starts_with_a_genesis_and_only_there() {
    let mut history = History::default();
    let record = proposed("p", &backend(), 0, at(0));
    let first = entry(&history, EntryKind::Transition(S::Proposed), Some(&record), at(0));
    assert_eq!(step(&mut history, &first).unwrap_err().rule, Rule::Shape);
    let mut script = Script::new(at(0));
    let second = entry(&script.history, EntryKind::Genesis, None, at(0));
    assert_eq!(script.push(second).unwrap_err().rule, Rule::Shape);
}

#[test]
fn a_checkpoint_reads_back_as_the_fold_it_was_made_from() {
    let (mut script, id) = one(&[S::MergeReserved, S::Merged, S::Synced, S::Verified]);
    let mut record = proposed("p", &target("shop/Deployment/a"), next_seq(&script.history), at(61));
    record.spec.cause.anomalies = vec![anomaly(signal("backend", "latency_p95"), 0.876, at(61))];
    record.spec.cause.anomalies[0].value = 31.245_270_191_439_438;
    record.spec.cause.anomalies[0].expected = (5e-324, 1.797_693_134_862_315_7e308);
    script.try_record(&record, at(61)).unwrap();
    script.checkpoint(at(62));
    let stored = script.entries.last().unwrap().checkpoint.clone().unwrap();
    let mut read = from_json(&stored).unwrap();
    step(&mut read, script.entries.last().unwrap()).unwrap();
    assert_eq!(read, script.history);
    assert!(read.effects.contains_key(&id));
    assert!(from_json(&stored.replace("\"pending\":false", "\"pending\": false")).is_err());
    assert!(checkpoint_due(256) && checkpoint_due(512) && !checkpoint_due(0) && !checkpoint_due(255));
}

#[test]
fn a_record_keeps_its_file_until_it_closes_and_then_its_day() {
    let (script, id) = one(&[S::MergeReserved, S::Merged, S::Synced]);
    let paths = |record: &RemediationAction| -> Vec<(String, bool)> {
        files(record).unwrap().into_iter().map(|(path, text)| (path.to_string(), text.is_some())).collect()
    };
    let open = "open/shop.deployment.backend.yaml".to_owned();
    let closed = format!("actions/2026/11/23/{id}.yaml");
    assert_eq!(paths(&script.get(&id)), [(open.clone(), true)]);
    let mut record = script.moved(&id, S::Verified, MergedBy::Tars, at(200_000));
    assert_eq!(paths(&record), [(open, false), (closed.clone(), true)]);
    record.enter(S::Expired, at(400_000), "expired");
    assert_eq!(paths(&record), [(closed, true)], "open/ may hold another action by now");
}

#[test]
fn a_record_reads_back_and_a_strange_one_is_refused() {
    let mut record = proposed("p", &backend(), 1, at(0));
    record.spec.cause.anomalies = vec![anomaly(signal("backend", "latency_p95"), 0.876, at(61))];
    record.spec.sentence = "yes: \"no\"\n---\n- # 3 \u{85}\u{2028}\t'".into();
    record.spec.change.as_mut().unwrap().diff = "-  replicas: 3\r\n+  replicas: 5\n\n".into();
    let yaml = record_to_yaml(&record).unwrap();
    assert_eq!(record_from_yaml(yaml.as_bytes()).unwrap(), record);
    assert!(record_from_yaml(yaml.replace("policyPath", "policyPfad").as_bytes()).is_err());
    assert!(record_from_yaml(format!("{yaml}extra: 1\n").as_bytes()).is_err());
    assert!(record_from_yaml(&vec![b'x'; 2_000_000]).is_err());
    assert!(matches!(signed(), Signer::Allowed(_)));
}

#[test]
fn a_fingerprint_cannot_be_chosen_to_dodge_the_memory() {
    let mut script = Script::new(at(0));
    let mut record = proposed("p", &backend(), 1, at(0));
    record.spec.fingerprint = Fingerprint::new("0".repeat(64)).unwrap();
    record.metadata.name = ActionId::derive(&record.spec.fingerprint, 1);
    record.spec.incident = IncidentId::derive(&record.spec.fingerprint, 1);
    record.spec.change.as_mut().unwrap().branch = BranchName::new(format!("tars/{}", record.id())).unwrap();
    assert_eq!(script.try_record(&record, at(0)).unwrap_err().rule, Rule::Identity);
}

#[test]
fn tars_remembers_its_own_commits_on_a_target_after_the_next_reservation() {
    let (mut script, id) = one(&[S::MergeReserved, S::Merged, S::Synced, S::Verified]);
    let head = script.get(&id).spec.change.unwrap().head;
    let next = script.undo(&id, at(100)).unwrap();
    script.enter(&next, &[S::MergeReserved], at(100));
    assert!(script.history.last_execution(&backend()).unwrap().commits.contains(&head));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever time an entry claims, within ten years: what was used at `now` is still used after it,
    /// unless the entry lies so far ahead that nothing merges.
    #[test]
    fn no_back_dated_or_future_entry_gives_budget_back(
        merges in prop::collection::vec(0_i64..7200, 1..6),
        claimed in prop_oneof![-315_360_000_i64..315_360_000, 3000_i64..12_000],
        now in 0_i64..12_000,
        lifted in any::<bool>(),
    ) {
        let mut script = Script::new(at(0));
        for (index, when) in merges.iter().enumerate() {
            let id = script.propose(&format!("p{index}"), &target(&format!("shop/Deployment/d{index}")), at(*when));
            script.try_enter(&id, S::Merged, MergedBy::Person, at(*when)).unwrap();
        }
        let now = at(now).max(script.history.time);
        let before = script.history.clone();
        let mut odd = entry(&before, EntryKind::Checkpoint, None, at(claimed));
        if !lifted {
            odd.envelope.time = at(claimed);
        }
        let taken = script.push(odd.clone()).is_ok();
        prop_assert_eq!(taken, odd.envelope.time >= before.time);
        let after = &script.history;
        if !taken {
            prop_assert_eq!(after, &before);
        } else if after.ahead_s(now) == 0 {
            let used = |history: &History| history.executions_within(now, None, None);
            prop_assert_eq!(used(after), used(&before));
        } else {
            // What the window can shift by is what the entry lies ahead, and never a second more.
            let shifted = before.executions_within(odd.envelope.time, None, None);
            prop_assert_eq!(after.executions_within(now, None, None), shifted);
        }
    }

    /// Folding a prefix, storing it and folding the rest is folding the whole, wherever the cut.
    #[test]
    fn a_checkpoint_anywhere_changes_nothing(cut in 0_usize..60, gaps in prop::collection::vec(0_i64..4000, 8)) {
        let mut script = Script::new(at(0));
        let mut now = 0;
        for (index, gap) in gaps.iter().enumerate() {
            now += gap;
            let id = script.propose("p", &target(&format!("shop/Deployment/d{index}")), at(now));
            let person = script.try_enter(&id, S::MergeReserved, MergedBy::Tars, at(now)).is_err();
            let by = if person { MergedBy::Person } else { MergedBy::Tars };
            script.try_enter(&id, S::Merged, by, at(now)).unwrap();
            script.enter(&id, &[S::Synced, if gap % 2 == 0 { S::Verified } else { S::Worse }], at(now));
        }
        let cut = cut.min(script.entries.len());
        let prefix = fold(History::default(), &script.entries[..cut]).unwrap();
        let stored = from_json(&to_json(&prefix).unwrap()).unwrap();
        prop_assert_eq!(fold(stored, &script.entries[cut..]).unwrap(), script.history);
    }
}
