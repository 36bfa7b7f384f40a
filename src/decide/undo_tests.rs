//! Undo: due once, newest first, never on missing data.

use crate::decide::{Guards, Undoing, undo};
use crate::model::action::{ActionState, Purpose, RemediationAction, RiskClass};
use crate::model::anomaly::Score;
use crate::model::decision::{Decision, Verb};
use crate::model::fixtures::{at, policy, proposed, target};
use crate::model::history::{Effect, History};
use crate::model::limits::GlobalLimits;
use crate::model::playbook::Plan;
use crate::model::policy::{Mode, Policy};
use crate::model::reason::ReasonCode as C;

fn effect(state: ActionState, seq: u64, expires: Option<i64>) -> Effect {
    let mut record = proposed("backend-latency", &target("shop/Deployment/backend"), seq, at(-4000));
    record.enter(state, at(-3000), "judged");
    record.status.expires_at = expires.map(at);
    Effect { record, seq, at: at(-3000), undo: None, undone: false, kept: false }
}

fn history(effects: impl IntoIterator<Item = Effect>) -> History {
    let effects = effects.into_iter().map(|it| (it.record.id().clone(), it)).collect();
    History { time: at(-10), effects, ..History::default() }
}

fn ask(history: &History, policies: &[Policy], calm: Option<bool>) -> Vec<Decision> {
    let guards = Guards { frozen: None, clock: Ok(()), evidence_age_max_s: 60, min_confidence: Score::ZERO };
    let calm = |_: &RemediationAction| calm;
    let limits = GlobalLimits::default();
    undo(&Undoing { history, policies, calm: &calm, limits: &limits, guards: &guards }, at(0))
}

fn auto() -> [Policy; 1] {
    [Policy { auto_revert: true, ..policy() }]
}

fn holds(decision: &Decision) -> Vec<C> {
    match &decision.verb {
        Verb::Propose(action) => action.holds.iter().map(|it| it.code).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_did_not_help_is_put_back_field_by_field() {
    for state in [ActionState::NotRecovered, ActionState::Worse] {
        let found = ask(&history([effect(state, 3, None)]), &auto(), None);
        let Verb::Propose(action) = &found[0].verb else { panic!() };
        assert!(matches!(action.purpose, Purpose::Revert { .. }));
        let Plan::Undo { changes } = &action.plan else { panic!() };
        assert_eq!((changes[0].from.as_deref(), changes[0].to.as_deref()), (Some("5"), Some("3")));
        assert_eq!((action.risk.class, holds(&found[0])), (RiskClass::Low, vec![]));
        assert_eq!(found[0].incident.cause.trigger, "verification");
    }
}

#[test]
fn a_remediation_expires_only_when_due_and_calm() {
    for (expires, calm, count) in [
        (Some(0), Some(true), 1),
        (Some(1), Some(true), 0),
        (Some(0), Some(false), 0),
        (Some(0), None, 0),
        (None, Some(true), 0),
    ] {
        for state in [ActionState::Verified, ActionState::Unknown] {
            let found = ask(&history([effect(state, 3, expires)]), &auto(), calm);
            assert_eq!(found.len(), count, "{expires:?} {calm:?}");
        }
    }
}

#[test]
fn an_unknown_outcome_never_reverts() {
    assert!(ask(&history([effect(ActionState::Unknown, 3, None)]), &auto(), Some(false)).is_empty());
}

#[test]
fn an_undo_is_decided_once() {
    let mut underway = effect(ActionState::Worse, 3, None);
    underway.undo = Some(underway.record.id().clone());
    let mut kept = effect(ActionState::Worse, 3, None);
    kept.kept = true;
    for effect in [underway, kept] {
        assert!(ask(&history([effect]), &auto(), Some(true)).is_empty());
    }
}

#[test]
fn the_newest_change_of_a_target_goes_first() {
    let (old, new) = (effect(ActionState::Worse, 3, None), effect(ActionState::Worse, 9, None));
    let newest = new.record.id().clone();
    let found = ask(&history([old, new]), &auto(), None);
    assert_eq!(found.len(), 1);
    let Verb::Propose(action) = &found[0].verb else { panic!() };
    assert_eq!(action.purpose, Purpose::Revert { of: newest });
}

#[test]
fn a_busy_target_and_observe_mode_hold_the_undo() {
    let mut busy = history([effect(ActionState::Worse, 3, None)]);
    let open = proposed("other", &target("shop/Deployment/backend"), 12, at(-5));
    busy.open.insert(open.spec.target.key(), open);
    let observe = [Policy { mode: Mode::Observe, ..policy() }];
    let Verb::Hold(reasons) = &ask(&busy, &observe, None)[0].verb else { panic!() };
    assert_eq!(reasons.iter().map(|it| it.code).collect::<Vec<_>>(), [C::ProposalOpen, C::ObserveOnly]);
}

#[test]
fn a_person_merges_the_undo_unless_the_policy_says_otherwise_and_the_risk_is_low() {
    let due = history([effect(ActionState::Worse, 3, None)]);
    assert_eq!(holds(&ask(&due, &[policy()], None)[0]), [C::ReviewRequired]);
    assert_eq!(holds(&ask(&due, &[], None)[0])[0], C::PolicyChanged);
    let [auto] = auto();
    let suspended = [Policy { suspend: true, ..auto }];
    assert_eq!(holds(&ask(&due, &suspended, None)[0]), [C::PolicySuspended]);
    let mut risky = effect(ActionState::Worse, 3, None);
    risky.record.spec.risk.class = RiskClass::High;
    assert_eq!(holds(&ask(&history([risky]), &self::auto(), None)[0]), [C::RiskNeedsHuman]);
}
