//! The permit: given for exactly one state of the world, and every difference is named.

use crate::decide::{BranchSeen, Guards, OnForge, PermitRequest, permit};
use crate::model::action::{ActionState, MergedBy, Purpose, RemediationAction, RiskClass};
use crate::model::anomaly::Score;
use crate::model::change::{FieldChange, ProposedChange, RenderedChange};
use crate::model::fixtures::{anomaly, at, oid, policy, proposed, signal, target};
use crate::model::history::*;
use crate::model::ids::*;
use crate::model::limits::GlobalLimits;
use crate::model::playbook::{Plan, PlaybookSpec, ScaleBy};
use crate::model::policy::{Mode, Policy};
use crate::model::reason::{Reason, ReasonCode as C};
use crate::model::suspension::Suspension;

#[derive(Clone)]
struct World {
    record: RemediationAction,
    policy: Option<Policy>,
    history: History,
    limits: GlobalLimits,
    guards: Guards,
    branch: Option<BranchSeen>,
    main: ObjectId,
    paths_moved: bool,
    still_needed: Option<bool>,
    contested: Vec<Reason>,
    /// Is the ledger's record the one that is asked for?
    stale_record: bool,
}

impl World {
    fn new() -> Self {
        let record = proposed("backend-latency", &target("shop/Deployment/backend"), 7, at(-60));
        let min_confidence = Score::new(0.6).unwrap();
        Self {
            record,
            policy: Some(policy()),
            history: History { time: at(-10), ..History::default() },
            limits: GlobalLimits::default(),
            guards: Guards { frozen: None, clock: Ok(()), evidence_age_max_s: 120, min_confidence },
            branch: Some(BranchSeen { head: oid('c'), tree: oid('d') }),
            main: oid('b'),
            paths_moved: false,
            still_needed: Some(true),
            contested: Vec::new(),
            stale_record: false,
        }
    }

    fn codes(&self) -> Vec<C> {
        let mut history = self.history.clone();
        if !self.stale_record {
            history.open.insert(self.record.spec.target.key(), self.record.clone());
        }
        let request = PermitRequest {
            record: &self.record,
            policy: self.policy.as_ref(),
            history: &history,
            limits: &self.limits,
            guards: &self.guards,
            branch: self.branch.as_ref(),
            main: &self.main,
            paths_moved: self.paths_moved,
            still_needed: self.still_needed,
            unknown: None,
            on_forge: OnForge::Nowhere,
            contested: &self.contested,
            now: at(0),
        };
        match permit(&request) {
            Ok(permit) => {
                assert_eq!(permit.action(), self.record.id());
                assert_eq!((permit.head(), permit.tree(), permit.base()), (&oid('c'), &oid('d'), &oid('b')));
                Vec::new()
            }
            Err(reasons) => reasons.iter().map(|it| it.code).collect(),
        }
    }

    fn policy(&mut self) -> &mut Policy {
        self.policy.as_mut().unwrap()
    }

    fn change(&mut self) -> &mut ProposedChange {
        self.record.spec.change.as_mut().unwrap()
    }

    /// As it stands in the file.
    fn field(&mut self) -> &mut FieldChange {
        &mut self.change().fields[0]
    }

    /// As it is rendered.
    fn rendered(&mut self) -> &mut RenderedChange {
        &mut self.change().rendered[0]
    }

    fn slot(&mut self, action: &ActionId, name: &str, when: i64, pending: bool) {
        let policy = self.record.spec.policy.clone();
        let (target, by, action) = (target(name), MergedBy::Tars, action.clone());
        let last = LastExecution { action: action.clone(), at: at(when), commits: Vec::new() };
        self.history.last_execution.insert(target.key(), last);
        self.history.executions.push(Execution { action, policy, target, at: at(when), by, pending });
    }
}

#[test]
fn a_proposal_in_order_is_permitted() {
    assert_eq!(World::new().codes(), []);
}

#[test]
fn an_action_that_shares_its_branch_is_never_permitted() {
    let mut world = World::new();
    let mut other = proposed("frontend-latency", &target("shop/Deployment/frontend"), 8, at(-50));
    let branch = world.record.spec.change.as_ref().unwrap().branch.clone();
    let change = other.spec.change.as_mut().unwrap();
    (change.branch, change.base, change.head) = (branch, oid('c'), oid('e'));
    world.history.open.insert(other.spec.target.key(), other);
    assert_eq!(world.codes(), [C::ReviewRequired], "although the newest commit is its own");
}

#[test]
fn every_difference_is_refused_with_its_own_reason() {
    type Edit = fn(&mut World);
    let cases: [(&[C], Edit); 38] = [
        (&[C::LedgerUntrusted], |it| it.stale_record = true),
        (&[C::LedgerUntrusted], |it| it.record.status.state = ActionState::Merged),
        (&[C::PolicyChanged], |it| it.policy = None),
        (&[C::PolicySuspended], |it| it.policy().suspend = true),
        (&[C::ReviewRequired, C::PolicyChanged], |it| it.policy().mode = Mode::Propose),
        (&[C::ObserveOnly, C::PolicyChanged], |it| it.policy().mode = Mode::Observe),
        (&[C::PolicyChanged], |it| it.policy().max_executions_per_hour = 3),
        (&[C::PolicyChanged], |it| it.policy().cooldown_s = 0),
        (&[C::PolicyChanged], |it| it.policy().actions.clear()),
        (&[C::TargetNotAllowed], |it| it.policy().allowed_resources.clear()),
        (&[C::OutOfBounds], |it| {
            it.policy().actions = vec![PlaybookSpec::ScaleOut { by: ScaleBy::Step(2), max_replicas: 4 }];
        }),
        (&[C::PathNotAllowed], |it| it.policy().allowed_paths = vec![RepoPath::new("app").unwrap()]),
        (&[C::RiskNeedsHuman], |it| it.record.spec.risk.class = RiskClass::High),
        (&[C::ProofFailed, C::RiskNeedsHuman], |it| it.rendered().field = "spec.paused".into()),
        (&[C::ProofFailed, C::RiskNeedsHuman], |it| it.rendered().to = Some("0".into())),
        (&[C::ProofFailed, C::RiskNeedsHuman], |it| it.rendered().to = Some("05".into())),
        (&[C::ProofFailed], |it| it.rendered().to = Some("6".into())),
        (&[C::ProofFailed], |it| it.rendered().from = Some("4".into())),
        (&[C::ProofFailed], |it| it.rendered().field = "spec.minReplicas".into()),
        (&[C::ProofFailed], |it| it.rendered().object = target("shop/Deployment/frontend")),
        (&[C::ProofFailed], |it| it.field().resource = target("shop/Deployment/frontend")),
        (&[C::ProofFailed], |it| it.change().fields_changed = 2),
        (&[C::ProofFailed, C::ProofFailed], |it| it.change().rendered.clear()),
        (&[C::ProofFailed], |it| it.rendered().carrier = true),
        (&[C::HumanCommits], |it| it.branch = None),
        (&[C::HumanCommits], |it| it.branch.as_mut().unwrap().head = oid('9')),
        (&[C::HumanCommits], |it| it.branch.as_mut().unwrap().tree = oid('9')),
        (&[C::BaseMoved], |it| it.main = oid('9')),
        (&[C::BaseMoved], |it| it.paths_moved = true),
        (&[C::SignalRecovered], |it| it.still_needed = Some(false)),
        (&[C::EvidenceStale], |it| it.still_needed = None),
        (&[C::YieldsToOthers], |it| it.contested = vec![Reason::new(C::YieldsToOthers, "a branch")]),
        (&[C::Frozen], |it| it.guards.frozen = Some(Suspension::read("frozen"))),
        (&[C::ClockUntrusted], |it| it.guards.clock = Err(Reason::new(C::ClockUntrusted, "x"))),
        (&[C::ClockUntrusted], |it| it.history.time = at(31)),
        (&[C::LowConfidence], |it| {
            let mut weak = anomaly(signal("backend", "latency_p95"), 0.9, at(-60));
            weak.confidence = Score::new(0.59).unwrap();
            it.record.spec.cause.anomalies = vec![weak];
        }),
        (&[C::RevertedBefore], |it| {
            let id = it.record.spec.change.as_ref().unwrap().change_id.clone();
            it.history.refused.insert((it.record.spec.fingerprint.clone(), id));
        }),
        (&[C::GlobalBudgetExhausted], |it| it.limits.max_executions_per_hour = 0),
    ];
    for (index, (codes, edit)) in cases.into_iter().enumerate() {
        let mut world = World::new();
        edit(&mut world);
        assert_eq!(world.codes(), codes, "case {index}");
    }
}

#[test]
fn objections_do_not_hide_each_other() {
    let mut world = World::new();
    world.guards.frozen = Some(Suspension::read("frozen"));
    world.branch = None;
    world.still_needed = None;
    world.main = oid('9');
    assert_eq!(world.codes(), [C::HumanCommits, C::BaseMoved, C::EvidenceStale, C::Frozen]);
}

#[test]
fn budgets_and_cooldown_are_counted_again() {
    let other = ActionId::new("act-0123456789ab").unwrap();
    let mut world = World::new();
    world.slot(&other, "shop/Deployment/backend", -100, false);
    world.slot(&other, "shop/Deployment/b", -3599, false);
    assert_eq!(world.codes(), [C::BudgetExhausted, C::Cooldown]);
}

#[test]
fn a_reserved_action_does_not_count_its_own_slot() {
    let mut world = World::new();
    world.record.enter(ActionState::MergeReserved, at(-5), "reserved");
    let own = world.record.id().clone();
    world.slot(&ActionId::new("act-0123456789ab").unwrap(), "shop/Deployment/b", -10, false);
    world.slot(&own, "shop/Deployment/backend", -5, true);
    assert_eq!(world.codes(), []);
    world.slot(&own, "shop/Deployment/backend", -4, false);
    assert_eq!(world.codes(), [C::BudgetExhausted], "one it gave back counts");
}

#[test]
fn what_is_rendered_counts_whatever_the_field_of_the_file_is_called() {
    for (field, from) in [
        ("replicas[name=backend].count", Some("3")),
        ("replicas[name=backend].count", None),
        ("replicaCount", Some("3")),
        ("[1].value", Some("3")),
        ("patches[0].patch|spec.replicas", Some("3")),
    ] {
        let mut world = World::new();
        world.field().field = field.into();
        world.field().from = from.map(str::to_owned);
        assert_eq!(world.codes(), [], "{field}");
    }
}

#[test]
fn an_application_that_holds_the_edited_text_does_not_count() {
    let mut world = World::new();
    world.field().field = "spec.source.helm.valuesObject.replicaCount".into();
    let carrier = RenderedChange {
        object: target("argocd/Application/backend"),
        field: "spec.source.helm.valuesObject.replicaCount".into(),
        carrier: true,
        ..world.rendered().clone()
    };
    world.change().rendered.push(carrier);
    assert_eq!(world.codes(), [C::ProofFailed], "two fields were counted");
    world.change().fields_changed = 2;
    assert_eq!(world.codes(), []);
    world.branch.as_mut().unwrap().head = oid('9');
    assert_eq!(world.codes(), [C::HumanCommits], "somebody pushed to the branch");
}

#[test]
fn one_value_that_moves_two_workloads_is_never_merged() {
    let mut world = World::new();
    let second = RenderedChange { object: target("shop/Deployment/frontend"), ..world.rendered().clone() };
    world.change().rendered.push(second);
    world.change().fields_changed = 2;
    assert_eq!(world.codes(), [C::ProofFailed]);
    // The same object, through two entries.
    let twice = world.rendered().clone();
    world.change().rendered[1] = twice;
    assert_eq!(world.codes(), [C::ProofFailed]);
    let fields = world.record.spec.change.as_ref().unwrap().fields.clone();
    world.record.spec.plan = Plan::Undo { changes: fields };
    world.policy().auto_revert = true;
    assert_eq!(world.codes(), [C::ProofFailed], "nor is its undo");
}

#[test]
fn restarts_are_fields_of_low_risk() {
    let annotation = "kubectl.kubernetes.io/restartedAt";
    let mut world = World::new();
    world.policy().actions.push(PlaybookSpec::RestartPod { max_pods: 1 });
    world.record.spec.playbook = crate::model::playbook::PlaybookName::RestartPod;
    world.record.spec.plan = Plan::Restart { restarted_at: at(-60), previous: None };
    *world.rendered() = RenderedChange {
        field: format!("spec.template.metadata.annotations.\"{annotation}\""),
        from: None,
        to: Some(at(-60).to_string()),
        ..world.rendered().clone()
    };
    assert_eq!(world.codes(), []);
    world.rendered().to = Some("soon".into());
    assert_eq!(world.codes(), [C::ProofFailed, C::RiskNeedsHuman]);
}

#[test]
fn an_undo_merges_by_itself_only_with_auto_revert_and_without_cooldown() {
    let mut world = World::new();
    let of = ActionId::new("act-0123456789ab").unwrap();
    world.slot(&of, "shop/Deployment/backend", -100, false);
    world.record.spec.purpose = Purpose::Expire { of };
    let field = world.field();
    std::mem::swap(&mut field.from, &mut field.to);
    let field = world.rendered();
    std::mem::swap(&mut field.from, &mut field.to);
    let fields = world.record.spec.change.as_ref().unwrap().fields.clone();
    world.record.spec.plan = Plan::Undo { changes: fields };
    assert_eq!(world.codes(), [C::ReviewRequired]);
    world.policy().auto_revert = true;
    assert_eq!(world.codes(), []);
    world.field().to = Some("2".into());
    assert_eq!(world.codes(), [C::ProofFailed]);
}
