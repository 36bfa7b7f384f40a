//! A ledger in memory for tests: builds entries that are legal by construction, so that a test can then break
//! exactly one thing.

use jiff::Timestamp;

use super::fold::{Draft, next_envelope, next_seq, step};
use super::rules::Violation;
use crate::model::action::*;
use crate::model::change::FieldChange;
use crate::model::entry::{Entry, EntryKind, Signer};
use crate::model::fixtures::{oid, proposed};
use crate::model::history::History;
use crate::model::ids::*;
use crate::model::playbook::Plan;
use crate::model::request::Request;
use crate::model::verdict::{Outcome, Verdict};

/// A commit id that differs per number.
pub fn commit(number: u64) -> ObjectId {
    ObjectId::new(format!("{number:040x}")).unwrap()
}

pub fn repo() -> RepoId {
    RepoId::new("shop/gitops").unwrap()
}

pub fn signed() -> Signer {
    Signer::Allowed("SHA256:test".into())
}

/// The entry that would come next.
pub fn entry(
    history: &History,
    kind: EntryKind,
    record: Option<&RemediationAction>,
    now: Timestamp,
) -> Entry {
    let seq = next_seq(history);
    let id = EntryId::new(format!("{seq:032x}")).unwrap();
    let draft = Draft { kind, record, now };
    let envelope = next_envelope(history, &draft, id, repo(), InstanceId::new("replica-1").unwrap());
    Entry {
        commit: commit(seq + 1),
        parents: history.head_commit.iter().cloned().collect(),
        signer: signed(),
        envelope,
        record: record.cloned(),
        request: None,
        checkpoint: (kind == EntryKind::Checkpoint).then(|| super::to_json(history).unwrap()),
    }
}

/// A ledger that grows.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub history: History,
    pub entries: Vec<Entry>,
}

impl Script {
    pub fn new(now: Timestamp) -> Self {
        let mut script = Self::default();
        let genesis = entry(&script.history, EntryKind::Genesis, None, now);
        script.push(genesis).unwrap();
        script
    }

    pub fn push(&mut self, entry: Entry) -> Result<(), Violation> {
        step(&mut self.history, &entry)?;
        self.entries.push(entry);
        Ok(())
    }

    pub fn try_record(&mut self, record: &RemediationAction, now: Timestamp) -> Result<(), Violation> {
        let next = entry(&self.history, EntryKind::Transition(record.state()), Some(record), now);
        self.push(next)
    }

    /// A person asks for something.
    pub fn ask(&mut self, request: &Request, now: Timestamp) -> Result<(), Violation> {
        let next = entry(&self.history, EntryKind::Asked, None, now);
        self.push(Entry { request: Some(request.clone()), ..next })
    }

    pub fn checkpoint(&mut self, now: Timestamp) {
        let next = entry(&self.history, EntryKind::Checkpoint, None, now);
        self.push(next).unwrap();
    }

    /// Records a new proposal and returns its id.
    pub fn propose(&mut self, policy: &str, target: &WorkloadRef, now: Timestamp) -> ActionId {
        let record = proposed(policy, target, next_seq(&self.history), now);
        self.try_record(&record, now).unwrap();
        record.id().clone()
    }

    pub fn get(&self, id: &ActionId) -> RemediationAction {
        self.history.record(id).unwrap().clone()
    }

    /// The record of `id` as it would be in `state`.
    pub fn moved(
        &self,
        id: &ActionId,
        state: ActionState,
        by: MergedBy,
        now: Timestamp,
    ) -> RemediationAction {
        let mut record = self.get(id);
        record.enter(state, now, state.as_str());
        let judged = |outcome| Verdict {
            outcome,
            before: Some(520.1),
            after: Some(209.3),
            samples_before: 20,
            samples_after: 20,
            judged_at: now,
            text: "judged".into(),
        };
        match state {
            ActionState::Merged => {
                let commit = commit(1000 + next_seq(&self.history));
                record.status.merge = Some(MergeRecord { commit, by, at: now });
            }
            ActionState::Synced => record.status.synced_at = Some(now),
            ActionState::Verified => {
                record.status.verdict = Some(judged(Outcome::Recovered));
                record.status.expires_at = Some(now);
            }
            ActionState::NotRecovered => record.status.verdict = Some(judged(Outcome::NotRecovered)),
            ActionState::Worse => record.status.verdict = Some(judged(Outcome::Worse)),
            _ => {}
        }
        record
    }

    pub fn try_enter(
        &mut self,
        id: &ActionId,
        state: ActionState,
        by: MergedBy,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let record = self.moved(id, state, by, now);
        self.try_record(&record, now)
    }

    /// Moves `id` through `states`, merged by tars.
    pub fn enter(&mut self, id: &ActionId, states: &[ActionState], now: Timestamp) {
        for &state in states {
            self.try_enter(id, state, MergedBy::Tars, now).unwrap();
        }
    }

    /// A revert (or expiry) of effect `of`, proposed.
    pub fn undo(&mut self, of: &ActionId, now: Timestamp) -> Result<ActionId, Violation> {
        let effect = self.get(of);
        let mut record = proposed(effect.spec.policy.as_str(), &effect.spec.target, 0, now);
        let of = of.clone();
        let failed = effect.did_not_help();
        record.spec.purpose = if failed { Purpose::Revert { of } } else { Purpose::Expire { of } };
        let swap = |it: &FieldChange| {
            let mut it = it.clone();
            std::mem::swap(&mut it.from, &mut it.to);
            it
        };
        let changes: Vec<_> = effect.spec.change.unwrap().fields.iter().map(swap).collect();
        record.spec.plan = Plan::Undo { changes: changes.clone() };
        let seq = next_seq(&self.history);
        let (policy, target) = (record.spec.policy.clone(), record.spec.target.clone());
        record.spec.cause.key = format!("undo {}", effect.metadata.name);
        record.spec.fingerprint = Fingerprint::of(&policy, &target, "ScaleOut", &record.spec.cause.key);
        record.metadata.name = ActionId::derive(&record.spec.fingerprint, seq);
        record.spec.incident = IncidentId::derive(&record.spec.fingerprint, seq);
        let change = record.spec.change.as_mut().unwrap();
        change.branch = BranchName::new(format!("tars/{policy}/{}", record.metadata.name)).unwrap();
        change.change_id = ChangeId::of([("shop/Deployment/backend", "spec.replicas", "3")]);
        change.fields = changes;
        change.head = oid('e');
        self.try_record(&record, now)?;
        Ok(record.metadata.name)
    }
}
