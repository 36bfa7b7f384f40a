//! Decisions: each refusal with its numbers, each playbook at its edges.

use crate::decide::{Evidence, Facts, Guards, decide, incidents};
use crate::model::action::{MergedBy, RiskClass};
use crate::model::alert::Alerts;
use crate::model::anomaly::Score;
use crate::model::decision::{DecidedAction, Decision, Incident, Verb};
use crate::model::fixtures::{anomaly, at, oid, policy, proposed, signal, target};
use crate::model::history::*;
use crate::model::ids::*;
use crate::model::limits::GlobalLimits;
use crate::model::playbook::{Plan, PlaybookSpec, RollbackScope, ScaleBy};
use crate::model::policy::{Mode, Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode as C};
use crate::model::suspension::Suspension;
use crate::model::workload::*;

fn guards() -> Guards {
    let min_confidence = Score::new(0.6).unwrap();
    Guards { frozen: None, clock: Ok(()), evidence_age_max_s: 120, min_confidence }
}

fn backend() -> WorkloadRef {
    target("shop/Deployment/backend")
}

fn workload(replicas: u32) -> Workload {
    let containers = vec![Container { name: "app".into(), image: "shop/backend:2".into() }];
    Workload {
        target: backend(),
        declared_in: RepoPath::new("apps/backend.yaml").unwrap(),
        replicas: Some(replicas),
        owner: ReplicaOwner::Workload,
        containers,
        restarted_at: None,
        max_unavailable: Some(1),
        last_release: Some((at(-300), oid('5'))),
        previous: Some(PastRelease {
            commit: oid('4'),
            containers: vec![Container { name: "app".into(), image: "shop/backend:1".into() }],
            only_images_differ: true,
        }),
        no_release: None,
        unrendered: None,
    }
}

/// One question with everything in order; a test changes what it is about.
struct Case {
    policy: Policy,
    workload: Workload,
    load: Option<f64>,
    history: History,
    guards: Guards,
    limits: GlobalLimits,
    score: crate::model::anomaly::Anomaly,
    edit: fn(&mut Incident),
}

impl Case {
    fn new() -> Self {
        Self {
            policy: policy(),
            workload: workload(3),
            load: None,
            history: History { time: at(-10), ..History::default() },
            guards: guards(),
            limits: GlobalLimits::default(),
            score: anomaly(signal("backend", "latency_p95"), 0.9, at(0)),
            edit: |_| {},
        }
    }

    fn with(actions: Vec<PlaybookSpec>) -> Self {
        let mut case = Self::new();
        case.policy.actions = actions;
        case
    }

    fn decide(&self) -> Decision {
        let anomalies = [self.score.clone()];
        let since = |_: &PolicyName, _: usize| Some(at(-30));
        let evidence = Evidence {
            anomalies: &anomalies,
            forecasts: &[],
            alerts: &Alerts::default(),
            promql: &[],
            since: &since,
        };
        let policies = [Policy { suspend: false, ..self.policy.clone() }];
        let mut incident = incidents(&policies, &evidence, at(0)).remove(0);
        (self.edit)(&mut incident);
        let facts = Facts { workload: Ok(self.workload.clone()), load: self.load, inside_target: None };
        decide(&incident, &self.policy, &facts, &self.history, &self.limits, &self.guards, at(0))
    }

    fn action(&self) -> DecidedAction {
        match self.decide().verb {
            Verb::Propose(action) => *action,
            other => panic!("{other:?}"),
        }
    }

    fn holds(&self) -> Vec<C> {
        self.action().holds.iter().map(|it| it.code).collect()
    }

    /// Codes of a decision that proposes nothing.
    fn refusal(&self) -> Vec<C> {
        match self.decide().verb {
            Verb::Hold(reasons) | Verb::Escalate(reasons) => reasons.iter().map(|it| it.code).collect(),
            Verb::Propose(action) => panic!("{action:?}"),
        }
    }

    fn scaled(&self) -> (u32, u32) {
        match self.action().plan {
            Plan::Scale { from, to, .. } => (from, to),
            other => panic!("{other:?}"),
        }
    }

    fn execution(&mut self, policy: &str, target: &WorkloadRef, when: i64) {
        let action = ActionId::new("act-0123456789ab").unwrap();
        let last = LastExecution { action: action.clone(), at: at(when), commits: Vec::new() };
        self.history.last_execution.insert(target.key(), last);
        let policy = PolicyName::new(policy).unwrap();
        let (target, by) = (target.clone(), MergedBy::Tars);
        self.history.executions.push(Execution { action, policy, target, at: at(when), by, pending: false });
    }
}

fn scale(by: ScaleBy, max_replicas: u32) -> Vec<PlaybookSpec> {
    vec![PlaybookSpec::ScaleOut { by, max_replicas }]
}

#[test]
fn an_anomaly_scales_out_and_may_merge_by_itself() {
    let action = Case::new().action();
    assert_eq!((action.risk.class, action.holds.len()), (RiskClass::Low, 0));
    assert_eq!(Case::new().scaled(), (3, 5));
    assert_eq!((action.budget[0].used, action.budget[0].limit), (1, 2));
}

#[test]
fn propose_with_a_hold_when_the_budget_is_spent() {
    let mut case = Case::new();
    case.execution("backend-latency", &target("shop/Deployment/x"), -1193);
    case.execution("backend-latency", &target("shop/Deployment/y"), -1000);
    let text = case.action().holds[0].to_string();
    assert_eq!(
        text,
        "BudgetExhausted: 2 of 2 executions of backend-latency in the last hour; next slot at 10:40:07Z"
    );
    case.limits.max_executions_per_hour = 2;
    assert_eq!(case.holds(), [C::BudgetExhausted, C::GlobalBudgetExhausted]);
}

#[test]
fn hold_while_the_target_cools_down_under_any_policy() {
    let mut case = Case::new();
    case.execution("other", &backend(), -899);
    assert_eq!(case.refusal(), [C::Cooldown]);
    let mut case = Case::new();
    case.execution("other", &backend(), -900);
    assert!(case.holds().is_empty());
}

#[test]
fn everything_the_memory_objects_to_is_listed_at_once() {
    let mut case = Case::new();
    case.execution("other", &backend(), -5);
    let open = proposed("other", &backend(), 3, at(-20));
    case.history.open.insert(backend().key(), open);
    case.limits.max_open_proposals = 1;
    let fingerprint = case.decide().incident.fingerprint;
    case.history.snoozed.insert(fingerprint, at(500));
    assert_eq!(case.refusal(), [C::ProposalOpen, C::Snoozed, C::Cooldown, C::TooManyOpenProposals]);
}

#[test]
fn a_no_for_one_playbook_is_a_no_for_the_cause() {
    let mut case = Case::new();
    let other = Fingerprint::of(&case.policy.name, &backend(), "RestartPod", "anomaly backend/latency_p95");
    case.history.snoozed.insert(other, at(500));
    assert!(case.holds().is_empty());
    case.policy.actions.push(PlaybookSpec::RestartPod { max_pods: 1 });
    assert_eq!(case.refusal(), [C::Snoozed]);
}

#[test]
fn a_reverted_change_gives_way_to_the_next_playbook_and_holds_when_there_is_none() {
    let mut case = Case::new();
    let done = case.decide();
    let plan = Plan::Scale { from: 4, to: 5, autoscaler: None };
    case.history.refused.insert((done.incident.fingerprint, plan_id(&backend(), &plan)));
    assert!(matches!(case.decide().verb, Verb::Hold(_)));
    assert_eq!(case.refusal(), [C::RevertedBefore]);
    case.policy.actions.push(PlaybookSpec::RestartPod { max_pods: 1 });
    let action = case.action();
    assert!(matches!(action.plan, Plan::Restart { .. }));
    assert_eq!(action.rejected[0].1.code, C::RevertedBefore);
}

#[test]
fn observe_mode_proposes_once_per_episode() {
    let mut case = Case::new();
    case.policy.mode = Mode::Observe;
    assert_eq!(case.holds(), [C::ObserveOnly]);
    let fingerprint = case.decide().incident.fingerprint;
    let once = ObservedOnce { at: at(-5000), since: at(-30), cooldown_s: 900 };
    case.history.observed.insert(fingerprint.clone(), once.clone());
    assert_eq!(case.refusal(), [C::Cooldown], "the same episode");
    let earlier = ObservedOnce { since: at(-5000), ..once.clone() };
    case.history.observed.insert(fingerprint.clone(), earlier);
    assert_eq!(case.holds(), [C::ObserveOnly], "a new one, long after");
    let recent = ObservedOnce { at: at(-899), since: at(-5000), ..once };
    case.history.observed.insert(fingerprint, recent);
    assert_eq!(case.refusal(), [C::Cooldown], "a new one, too soon");
}

#[test]
fn what_keeps_a_proposal_from_merging_is_listed() {
    let mut case = Case::new();
    case.policy.mode = Mode::Propose;
    case.guards.frozen = Some(Suspension::read("policies/SUSPENDED"));
    case.guards.clock = Err(Reason::new(C::ClockUntrusted, "61 s apart"));
    case.score.confidence = Score::new(0.5).unwrap();
    case.score.at = at(-121);
    let codes = [C::ReviewRequired, C::Frozen, C::ClockUntrusted, C::LowConfidence, C::EvidenceStale];
    assert_eq!(case.holds(), codes);
    let mut case = Case::new();
    case.history.time = at(31);
    assert_eq!(case.holds(), [C::ClockUntrusted], "the ledger lies in the future");
}

#[test]
fn policy_target_and_evidence_come_before_everything_else() {
    let mut case = Case::new();
    case.policy.suspend = true;
    case.edit = |it| it.target = target("shop/Deployment/frontend");
    assert_eq!(case.refusal(), [C::PolicySuspended, C::TargetNotAllowed]);
    case = Case::new();
    case.edit = |it| it.target = target("other/Deployment/backend");
    assert_eq!(case.refusal(), [C::TargetNotAllowed]);
    case.edit = |it| it.cause.anomalies.clear();
    assert_eq!(case.refusal(), [C::SignalRecovered]);
    case = Case::new();
    case.score.warming_up = true;
    assert_eq!(case.refusal(), [C::WarmingUp]);
    let Trigger::Anomaly { for_s, .. } = &mut case.policy.triggers[0] else { panic!() };
    *for_s = 31;
    assert_eq!(case.refusal(), [C::NotLongEnough, C::WarmingUp]);
}

#[test]
fn scale_out_stops_at_the_maximum() {
    for (replicas, by, max, to) in [
        (9, ScaleBy::Step(2), 10, 10),
        (3, ScaleBy::Step(u32::MAX), 10, 10),
        (3, ScaleBy::FactorPercent(150), 10, 5),
        (3, ScaleBy::FactorPercent(u32::MAX), 10, 10),
        (u32::MAX - 1, ScaleBy::FactorPercent(200), u32::MAX, u32::MAX),
    ] {
        let mut case = Case::with(scale(by, max));
        case.workload = workload(replicas);
        assert_eq!(case.scaled(), (replicas, to));
    }
}

#[test]
fn scale_out_refuses_what_would_not_add_a_replica() {
    for (replicas, by, max, code) in [
        (10, ScaleBy::Step(2), 10, C::AtMaximum),
        (12, ScaleBy::Step(2), 10, C::AtMaximum),
        (0, ScaleBy::Step(2), 10, C::OutOfBounds),
        (3, ScaleBy::Step(0), 10, C::OutOfBounds),
        (3, ScaleBy::FactorPercent(50), 10, C::OutOfBounds),
    ] {
        let mut case = Case::with(scale(by, max));
        case.workload = workload(replicas);
        assert_eq!(case.refusal(), [code]);
        assert!(matches!(case.decide().verb, Verb::Escalate(_)));
    }
}

#[test]
fn a_queue_asks_for_exactly_as_many_as_it_needs() {
    let queue = |per_replica, utilisation_percent| {
        let load = signal("backend", "busy");
        scale(ScaleBy::Queue { load, per_replica, utilisation_percent }, 10)
    };
    for (load, to) in [(35.0, 5), (35.000_001, 6), (1e300, 10)] {
        let mut case = Case::with(queue(10, 70));
        case.load = Some(load);
        assert_eq!(case.scaled(), (3, to), "{load}");
    }
    for load in [None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)] {
        let mut case = Case::with(queue(10, 70));
        case.load = load;
        assert_eq!(case.refusal(), [C::SignalMissing]);
    }
    for actions in [queue(0, 70), queue(10, 0), queue(10, 101)] {
        let mut case = Case::with(actions);
        case.load = Some(35.0);
        assert_eq!(case.refusal(), [C::OutOfBounds]);
    }
}

#[test]
fn an_autoscaler_is_moved_within_its_bounds_or_not_at_all() {
    let hpa = target("shop/HorizontalPodAutoscaler/backend");
    let owner = |min, max| ReplicaOwner::Autoscaler { target: hpa.clone(), min, max };
    let mut case = Case::new();
    case.workload.owner = owner(2, 3);
    let plan = case.action().plan;
    assert_eq!(plan, Plan::Scale { from: 2, to: 3, autoscaler: Some(hpa.clone()) });
    case.workload.owner = owner(3, 3);
    assert_eq!(case.refusal(), [C::HPAOwnsReplicas]);
    case.workload.owner = ReplicaOwner::Other("ScaledObject backend".into());
    assert_eq!(case.refusal(), [C::FieldOwnedElsewhere]);
    case.workload.owner = ReplicaOwner::Workload;
    case.workload.replicas = None;
    assert_eq!(case.refusal(), [C::FieldOwnedElsewhere]);
}

#[test]
fn a_rollback_restores_only_images_and_needs_a_person() {
    let case = Case::with(vec![PlaybookSpec::Rollback { scope: RollbackScope::Image, max_age_s: 300 }]);
    let action = case.action();
    let Plan::Images { good, images } = &action.plan else { panic!() };
    assert_eq!((good, images[0].to.as_str()), (&oid('4'), "shop/backend:1"));
    assert_eq!(case.holds(), [C::RiskNeedsHuman]);
}

#[test]
fn a_rollback_needs_a_young_release_that_somebody_else_made_before_the_trouble() {
    let edits: [fn(&mut Case); 6] = [
        |it| it.workload.previous = None,
        |it| it.workload.last_release = None,
        |it| it.workload.last_release = Some((at(-301), oid('5'))),
        |it| it.workload.last_release = Some((at(-29), oid('5'))),
        |it| it.workload.previous.as_mut().unwrap().containers.clear(),
        |it| {
            it.execution("p", &backend(), -5000);
            let last = it.history.last_execution.get_mut(&backend().key()).unwrap();
            last.commits = vec![oid('5')];
        },
    ];
    for edit in edits {
        let mut case =
            Case::with(vec![PlaybookSpec::Rollback { scope: RollbackScope::Image, max_age_s: 300 }]);
        edit(&mut case);
        assert_eq!(case.refusal(), [C::NoReleaseToUndo]);
    }
}

#[test]
fn a_restart_refuses_a_rollout_that_takes_down_too_many() {
    let restart = |max_unavailable, replicas| {
        let mut case = Case::with(vec![PlaybookSpec::RestartPod { max_pods: 2 }]);
        case.workload = Workload { max_unavailable, ..workload(replicas) };
        case
    };
    assert_eq!(restart(None, 3).refusal(), [C::RolloutTooWide]);
    assert_eq!(restart(Some(3), 30).refusal(), [C::RolloutTooWide]);
    for (max_unavailable, replicas, class) in
        [(1, 3, RiskClass::Low), (1, 1, RiskClass::Medium), (2, 3, RiskClass::Medium), (2, 8, RiskClass::Low)]
    {
        assert_eq!(restart(Some(max_unavailable), replicas).action().risk.class, class);
    }
}
