//! Several replicas with bad clocks, stale reads, crashes and lost answers share one ledger that only knows
//! compare-and-swap. Whatever the interleaving, what they wrote must satisfy the promises, counted by the
//! audit and by plain lists kept here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use crate::decide::{
    BranchSeen, Evidence, Facts, Guards, OnForge, PermitRequest, Undoing, decide, incidents, permit, undo,
};
use crate::ledger::{
    Draft, FUTURE_LIMIT_S, MainCommit, audit, fold, from_json, next_envelope, next_seq, step, to_json,
};
use crate::model::action::*;
use crate::model::alert::Alerts;
use crate::model::anomaly::Score;
use crate::model::decision::{DecidedAction, Incident, Verb};
use crate::model::entry::{Entry, EntryKind, Signer};
use crate::model::fixtures::{anomaly, at, oid, policy, proposed, signal, target};
use crate::model::history::History;
use crate::model::ids::*;
use crate::model::limits::{GlobalLimits, LimitsInForce};
use crate::model::playbook::Plan;
use crate::model::policy::{AllowedResource, Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::verdict::{Outcome, Verdict};
use crate::model::workload::{ReplicaOwner, Workload};

const TARGETS: [&str; 5] = ["a", "b", "c", "d", "e"];
const GLOBAL: GlobalLimits = GlobalLimits { max_executions_per_hour: 3, max_open_proposals: 3 };

/// `first` may touch a, b, c; `second` a, d, e: two policies that meet on one target.
fn policies() -> Vec<Policy> {
    [("first", ["a", "b", "c"]), ("second", ["a", "d", "e"])]
        .map(|(name, names)| {
            let mut it = policy();
            it.name = PolicyName::new(name).unwrap();
            it.auto_revert = true;
            it.allowed_resources = names
                .map(|name| AllowedResource {
                    kind: KindName::new("Deployment").unwrap(),
                    name: ObjectName::new(name).unwrap(),
                })
                .to_vec();
            it.triggers = names
                .map(|service| Trigger::Anomaly {
                    signal: signal(service, "latency"),
                    threshold: Score::new(0.8).unwrap(),
                    min_severity: None,
                    for_s: 0,
                })
                .to_vec();
            it
        })
        .to_vec()
}

fn place(name: &str) -> WorkloadRef {
    target(&format!("shop/Deployment/{name}"))
}

fn commit_id(number: u64) -> ObjectId {
    ObjectId::new(format!("{number:040x}")).unwrap()
}

/// What happens to a push.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// It landed, and the answer was lost.
    LandedUnheard,
    /// It never arrived.
    Lost,
}

#[derive(Debug, Clone)]
struct Step {
    replica: usize,
    action: u8,
    param: u16,
    fate: Fate,
    /// The process dies between the merge and its record.
    crash: bool,
}

#[derive(Default)]
struct Replica {
    offset_s: i64,
    snapshot: History,
    pushes: u64,
}

struct World {
    now: Timestamp,
    head: History,
    entries: Vec<Entry>,
    main: Vec<MainCommit>,
    /// True time of each merge tars made, and its policy.
    merges: Vec<(Timestamp, PolicyName, Purpose, WorkloadRef)>,
    reverted: BTreeSet<(Fingerprint, ChangeId)>,
    replicas_of: BTreeMap<WorkloadRef, u32>,
    replicas: Vec<Replica>,
    /// Is there an outside clock to compare with?
    outside_clock: bool,
}

impl World {
    fn new(count: usize, outside_clock: bool) -> Self {
        let mut world = Self {
            now: at(0),
            head: History::default(),
            entries: Vec::new(),
            main: Vec::new(),
            merges: Vec::new(),
            reverted: BTreeSet::new(),
            replicas_of: TARGETS.map(|name| (place(name), 3)).into(),
            replicas: (0..count).map(|_| Replica::default()).collect(),
            outside_clock,
        };
        world.push(0, EntryKind::Genesis, None, Fate::Answered);
        world
    }

    fn clock(&self, replica: usize) -> Timestamp {
        self.now + jiff::SignedDuration::from_secs(self.replicas[replica].offset_s)
    }

    fn guards(&self, replica: usize) -> Guards {
        let off = self.outside_clock && self.replicas[replica].offset_s.abs() > 30;
        let clock = if off { Err(Reason::new(ReasonCode::ClockUntrusted, "off")) } else { Ok(()) };
        let min_confidence = Score::new(0.6).unwrap();
        Guards { frozen: None, clock, evidence_age_max_s: 120, min_confidence }
    }

    /// Compare-and-swap: lands only on the head that the replica read.
    fn push(&mut self, replica: usize, kind: EntryKind, record: Option<&RemediationAction>, fate: Fate) {
        let now = self.clock(replica);
        let it = &mut self.replicas[replica];
        if it.snapshot.ahead_s(now) > FUTURE_LIMIT_S {
            return;
        }
        it.pushes += 1;
        let id = EntryId::new(format!("{:016x}{:016x}", replica, it.pushes)).unwrap();
        let draft = Draft { kind, record, now };
        let (repo, instance) = (RepoId::new("r").unwrap(), InstanceId::new(format!("i{replica}")).unwrap());
        let entry = Entry {
            commit: commit_id(0xfff_0000 + next_seq(&it.snapshot) * 100 + replica as u64),
            parents: it.snapshot.head_commit.iter().cloned().collect(),
            signer: Signer::Allowed("k".into()),
            envelope: next_envelope(&it.snapshot, &draft, id.clone(), repo, instance),
            record: record.cloned(),
            request: None,
            checkpoint: (kind == EntryKind::Checkpoint).then(|| to_json(&it.snapshot).unwrap()),
        };
        let landed = fate != Fate::Lost && it.snapshot.head_commit == self.head.head_commit;
        if landed {
            step(&mut self.head, &entry).expect("what was decided on the head is legal on the head");
            self.entries.push(entry);
        }
        // Not "ok" is unknown: read again and look for the entry id, never push again.
        self.replicas[replica].snapshot = self.head.clone();
        let found = self.entries.iter().filter(|it| it.envelope.id == id).count();
        assert_eq!(found, usize::from(landed));
    }

    fn record(&self, replica: usize, incident: &Incident, action: &DecidedAction) -> RemediationAction {
        let snapshot = &self.replicas[replica].snapshot;
        let (seq, now) = (next_seq(snapshot), self.clock(replica));
        let mut record = proposed(incident.policy.as_str(), &incident.target, seq, now);
        let spec = &mut record.spec;
        spec.fingerprint = incident.fingerprint.clone();
        spec.cause = incident.cause.clone();
        (spec.purpose, spec.plan) = (action.purpose.clone(), action.plan.clone());
        spec.risk = action.risk.clone();
        spec.limits = LimitsInForce {
            policy_per_hour: 2,
            global_per_hour: GLOBAL.max_executions_per_hour,
            cooldown_s: 900,
            max_open_proposals: GLOBAL.max_open_proposals,
        };
        record.metadata.name = ActionId::derive(&spec.fingerprint, seq);
        spec.incident = IncidentId::derive(&spec.fingerprint, seq);
        let change = spec.change.as_mut().unwrap();
        change.branch = BranchName::new(format!("tars/{}/{}", spec.policy, record.metadata.name)).unwrap();
        change.base = oid('b');
        change.head = commit_id(0xaaa_0000 + seq);
        change.tree = commit_id(0xbbb_0000 + seq);
        match &action.plan {
            Plan::Scale { from, to, .. } => {
                (change.fields[0].from, change.fields[0].to) = (Some(from.to_string()), Some(to.to_string()));
            }
            Plan::Undo { changes } => change.fields.clone_from(changes),
            other => panic!("{other:?}"),
        }
        let to = change.fields[0].to.clone().unwrap();
        change.change_id = ChangeId::of([(spec.target.to_string().as_str(), "spec.replicas", to.as_str())]);
        record
    }

    fn propose(&mut self, replica: usize, incident: &Incident, action: &DecidedAction, fate: Fate) {
        let record = self.record(replica, incident, action);
        let before = self.entries.len();
        self.push(replica, EntryKind::Transition(ActionState::Proposed), Some(&record), fate);
        if self.entries.len() > before {
            let change = record.spec.change.as_ref().unwrap().change_id.clone();
            assert!(!self.reverted.contains(&(record.spec.fingerprint.clone(), change)), "came back");
        }
    }

    fn incident(&mut self, step: &Step) {
        let (replica, now) = (step.replica, self.clock(step.replica));
        let name = TARGETS[usize::from(step.param) % TARGETS.len()];
        let anomalies = [anomaly(signal(name, "latency"), 0.9, now)];
        let since = |_: &PolicyName, _: usize| Some(at(-60));
        let evidence = Evidence {
            anomalies: &anomalies,
            forecasts: &[],
            alerts: &Alerts::default(),
            promql: &[],
            since: &since,
        };
        let all = policies();
        for incident in incidents(&all, &evidence, now) {
            let policy = all.iter().find(|it| it.name == incident.policy).unwrap();
            let workload = self.workload(&incident.target);
            let facts = Facts { workload: Ok(workload), load: None, inside_target: None };
            let guards = self.guards(replica);
            let snapshot = &self.replicas[replica].snapshot;
            let decision = decide(&incident, policy, &facts, snapshot, &GLOBAL, &guards, now);
            if let Verb::Propose(action) = decision.verb {
                self.propose(replica, &decision.incident, &action, step.fate);
            }
        }
    }

    fn workload(&self, target: &WorkloadRef) -> Workload {
        Workload {
            target: target.clone(),
            declared_in: RepoPath::new("apps/x.yaml").unwrap(),
            replicas: Some(self.replicas_of[target]),
            owner: ReplicaOwner::Workload,
            containers: Vec::new(),
            restarted_at: None,
            max_unavailable: Some(1),
            last_release: None,
            previous: None,
            no_release: None,
            unrendered: None,
        }
    }

    fn may_merge(&self, replica: usize, record: &RemediationAction) -> bool {
        let change = record.spec.change.as_ref().unwrap();
        let all = policies();
        let request = PermitRequest {
            record,
            policy: all.iter().find(|it| it.name == record.spec.policy),
            history: &self.replicas[replica].snapshot,
            limits: &GLOBAL,
            guards: &self.guards(replica),
            branch: Some(&BranchSeen { head: change.head.clone(), tree: change.tree.clone() }),
            main: &change.base,
            paths_moved: false,
            still_needed: Some(true),
            unknown: None,
            on_forge: OnForge::Nowhere,
            contested: &[],
            now: self.clock(replica),
        };
        permit(&request).is_ok_and(|permit| permit.head() == &change.head)
    }

    fn is_on_main(&self, record: &RemediationAction) -> bool {
        let head = &record.spec.change.as_ref().unwrap().head;
        self.main.iter().any(|it| it.commit == *head)
    }

    fn merge(&mut self, record: &RemediationAction, signer: Signer) {
        let change = record.spec.change.as_ref().unwrap();
        let to = change.fields[0].to.as_ref().unwrap().parse().unwrap();
        self.replicas_of.insert(record.spec.target.clone(), to);
        self.main.push(MainCommit {
            commit: change.head.clone(),
            parents: vec![change.base.clone()],
            tree: change.tree.clone(),
            message: "x\n\nTars-Action: y\n".into(),
            signer,
            time: self.now,
        });
    }

    fn enter(
        &mut self,
        replica: usize,
        record: &RemediationAction,
        next: ActionState,
        fate: Fate,
        by: MergedBy,
    ) {
        let (mut record, now) = (record.clone(), self.clock(replica));
        record.enter(next, now, next.as_str());
        let verdict = |outcome| Verdict {
            outcome,
            before: None,
            after: None,
            samples_before: 1,
            samples_after: 1,
            judged_at: now,
            text: String::new(),
        };
        match next {
            ActionState::Merged => {
                let commit = record.spec.change.as_ref().unwrap().head.clone();
                record.status.merge = Some(MergeRecord { commit, by, at: now });
                record.status.expires_at = Some(now + jiff::SignedDuration::from_secs(1800));
            }
            ActionState::Synced => record.status.synced_at = Some(now),
            ActionState::Verified => record.status.verdict = Some(verdict(Outcome::Recovered)),
            ActionState::NotRecovered => record.status.verdict = Some(verdict(Outcome::NotRecovered)),
            ActionState::Closed if by == MergedBy::Person => {
                record.status.holds = vec![Reason::new(ReasonCode::ClosedByPerson, "no")];
            }
            _ => {}
        }
        let before = self.entries.len();
        self.push(replica, EntryKind::Transition(next), Some(&record), fate);
        if next == ActionState::Merged
            && self.entries.len() > before
            && let Purpose::Revert { of } = &record.spec.purpose
        {
            let reverted = &self.head.effects[of].record.spec;
            let change = reverted.change.as_ref().unwrap().change_id.clone();
            self.reverted.insert((reverted.fingerprint.clone(), change));
        }
    }

    /// Whatever an open action needs next.
    fn advance(&mut self, step: &Step) {
        use ActionState as S;
        let replica = step.replica;
        let open: Vec<_> = self.replicas[replica].snapshot.open.values().cloned().collect();
        let Some(record) = open.get(usize::from(step.param) % open.len().max(1)) else { return };
        let by = if self.person_merged(record) { MergedBy::Person } else { MergedBy::Tars };
        match record.state() {
            S::Proposed if self.is_on_main(record) => self.enter(replica, record, S::Merged, step.fate, by),
            S::Proposed if self.may_merge(replica, record) => {
                self.enter(replica, record, S::MergeReserved, step.fate, by);
            }
            S::MergeReserved if self.is_on_main(record) => {
                self.enter(replica, record, S::Merged, step.fate, by);
            }
            S::MergeReserved if self.may_merge(replica, record) => {
                // The merge is a swap of its own ref; a stale replica loses it, because the base moved.
                if self.head.open_for(&record.spec.target) == Some(record) {
                    self.merge(record, Signer::Allowed("k".into()));
                    let spec = &record.spec;
                    let row = (self.now, spec.policy.clone(), spec.purpose.clone(), spec.target.clone());
                    self.merges.push(row);
                }
                if !step.crash {
                    self.enter(replica, record, S::Merged, step.fate, MergedBy::Tars);
                }
            }
            S::MergeReserved => self.enter(replica, record, S::Proposed, step.fate, by),
            S::Merged => self.enter(replica, record, S::Synced, step.fate, by),
            S::Synced if step.param.is_multiple_of(2) => {
                self.enter(replica, record, S::Verified, step.fate, by);
            }
            S::Synced => self.enter(replica, record, S::NotRecovered, step.fate, by),
            _ => {}
        }
    }

    fn person_merged(&self, record: &RemediationAction) -> bool {
        let head = &record.spec.change.as_ref().unwrap().head;
        self.main.iter().any(|it| it.commit == *head && it.signer == Signer::Unsigned)
    }

    fn undo(&mut self, step: &Step) {
        let (replica, now) = (step.replica, self.clock(step.replica));
        let snapshot = self.replicas[replica].snapshot.clone();
        let done = snapshot.effects.values().find(|it| it.undone);
        if let Some(effect) = done {
            let mut record = effect.record.clone();
            record.status.undone_by.clone_from(&effect.undo);
            let next = if record.did_not_help() { ActionState::Reverted } else { ActionState::Expired };
            return self.enter(replica, &record, next, step.fate, MergedBy::Tars);
        }
        let (all, guards) = (policies(), self.guards(replica));
        let calm = |_: &RemediationAction| Some(true);
        let about =
            Undoing { history: &snapshot, policies: &all, calm: &calm, limits: &GLOBAL, guards: &guards };
        for decision in undo(&about, now) {
            if let Verb::Propose(action) = &decision.verb {
                return self.propose(replica, &decision.incident, action, step.fate);
            }
        }
    }

    fn run(&mut self, step: &Step) {
        let replica = step.replica;
        match step.action {
            0..=5 => self.incident(step),
            6..=13 => self.advance(step),
            14 | 15 => self.undo(step),
            16 | 17 => self.replicas[replica].snapshot = self.head.clone(),
            18 | 19 => self.now += jiff::SignedDuration::from_secs(i64::from(step.param) % 1300),
            20 => {
                let offsets = [0, 0, 20, -20, 3600, -3600, 315_360_000, -315_360_000];
                self.replicas[replica].offset_s = offsets[usize::from(step.param) % offsets.len()];
            }
            21 => self.push(replica, EntryKind::Checkpoint, None, step.fate),
            _ => self.person(step),
        }
    }

    fn person(&mut self, step: &Step) {
        let open: Vec<_> = self.head.open.values().cloned().collect();
        let Some(record) = open.get(usize::from(step.param) % open.len().max(1)) else { return };
        if record.state() != ActionState::Proposed || self.is_on_main(record) {
            return;
        }
        if step.crash {
            self.enter(step.replica, record, ActionState::Closed, step.fate, MergedBy::Person);
        } else {
            self.merge(record, Signer::Unsigned);
        }
    }
}

/// Tars' own merges in any window of true time; two clocks may each be 30 s off.
fn check_true_time(world: &World) {
    for (start, policy, ..) in &world.merges {
        let inside = |it: &&(Timestamp, PolicyName, Purpose, WorkloadRef)| {
            it.0 >= *start && it.0.duration_since(*start).as_secs() < 3600 - 60
        };
        let all: Vec<_> = world.merges.iter().filter(inside).collect();
        assert!(all.len() <= 3, "{} merges in an hour of true time", all.len());
        assert!(all.iter().filter(|it| it.1 == *policy).count() <= 2);
    }
    for (index, one) in world.merges.iter().enumerate() {
        for other in world.merges[..index].iter().filter(|it| it.3 == one.3) {
            let apart_s = one.0.duration_since(other.0).as_secs();
            assert!(one.2 != Purpose::Remediate || apart_s >= 900 - 60, "cooldown: {apart_s} s");
        }
    }
}

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (1_usize..=7).prop_flat_map(|count| {
        let fate = prop_oneof![
            6 => Just(Fate::Answered), 1 => Just(Fate::LandedUnheard), 1 => Just(Fate::Lost),
        ];
        let one = (0..count, 0_u8..23, any::<u16>(), fate, prop::bool::weighted(0.2));
        let step = one.prop_map(|(replica, action, param, fate, crash)| Step {
            replica,
            action,
            param,
            fate,
            crash,
        });
        (Just(count), prop::collection::vec(step, 60..220))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_breaks_a_promise((count, steps) in steps(), outside in any::<bool>(), cut in any::<u16>()) {
        let mut world = World::new(count, outside);
        for step in &steps {
            // A replica that starts fresh or lost its race reads the head before it acts.
            if step.param % 3 != 0 {
                world.replicas[step.replica].snapshot = world.head.clone();
            }
            world.run(step);
        }
        let mut main = world.main.clone();
        // What a person merged a moment ago is not recorded yet: the audit would say so, rightly.
        main.retain(|it| it.signer != Signer::Unsigned
            || world.entries.iter().filter_map(|e| e.record.as_ref()?.status.merge.as_ref())
                .any(|merge| merge.commit == it.commit));
        let report = audit(&world.entries, &main);
        prop_assert!(report.is_clean(), "{:#?}", report.findings);
        if outside {
            check_true_time(&world);
        }
        let cut = usize::from(cut) % (world.entries.len() + 1);
        let prefix = fold(History::default(), &world.entries[..cut]).unwrap();
        let stored = from_json(&to_json(&prefix).unwrap()).unwrap();
        prop_assert_eq!(fold(stored, &world.entries[cut..]).unwrap(), world.head);
    }
}
