//! The fold: a history and an entry come in, the history after it goes out, or the first rule that the entry
//! breaks. Applying never fails and never judges; [`super::rules`] judges and never applies.

use jiff::Timestamp;

use super::rules::{Violation, subject_of, violations};
use crate::model::action::{ActionState, MergedBy, Purpose, RemediationAction};
use crate::model::entry::{Entry, EntryKind, Envelope};
use crate::model::history::{
    Effect, Execution, History, LastExecution, ObservedOnce, WINDOW_S, later, plan_id,
};
use crate::model::ids::{EntryId, InstanceId, RepoId};
use crate::model::playbook::Plan;
use crate::model::reason::ReasonCode;
use crate::model::request::{Request, Wish};

/// How long a cause stays quiet after a person closed its proposal, or after a restart did not help.
pub const SNOOZE_S: i64 = 24 * 3600;
/// How long an effect that only a person would still undo is remembered.
pub const EFFECT_KEPT_S: i64 = 7 * 24 * 3600;
/// How long an observation is remembered.
pub const OBSERVED_KEPT_S: i64 = 24 * 3600;

/// Most commits of one target that are remembered as ours.
const MAX_COMMITS: usize = 32;

/// Takes `entry` into `history`, or leaves `history` as it was.
///
/// # Errors
/// The first rule that the entry breaks.
pub fn step(history: &mut History, entry: &Entry) -> Result<(), Violation> {
    match violations(history, entry).into_iter().next() {
        Some(violation) => Err(violation),
        None => {
            apply(history, entry);
            Ok(())
        }
    }
}

/// Takes all `entries`, in order. The fold of a prefix and then of the rest equals the fold of the whole.
///
/// # Errors
/// The first rule that an entry breaks.
pub fn fold(mut history: History, entries: &[Entry]) -> Result<History, Violation> {
    for entry in entries {
        step(&mut history, entry)?;
    }
    Ok(history)
}

/// What a writer wants to record.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    pub kind: EntryKind,
    /// The record as it is to be afterwards; `None` for genesis and checkpoints.
    pub record: Option<&'a RemediationAction>,
    pub now: Timestamp,
}

/// The number of the next entry.
#[must_use]
pub fn next_seq(history: &History) -> u64 {
    history.seq.map_or(0, |seq| seq.saturating_add(1))
}

/// The envelope of the next entry. Its time is never before the entry before. Whoever pushes it should
/// [`step`] it on a copy of the history first: an illegal entry stops every reader.
#[must_use]
pub fn next_envelope(
    history: &History,
    draft: &Draft<'_>,
    id: EntryId,
    repo: RepoId,
    instance: InstanceId,
) -> Envelope {
    Envelope {
        seq: next_seq(history),
        prev: history.head_entry.clone(),
        id,
        kind: draft.kind,
        subject: draft.record.map(subject_of),
        repo,
        time: history.ledger_now(draft.now),
        instance,
    }
}

/// Takes the entry in without judging it, for an audit that lists all that is wrong.
pub(super) fn apply(history: &mut History, entry: &Entry) {
    let envelope = &entry.envelope;
    history.seq = Some(envelope.seq);
    history.head_entry = Some(envelope.id.clone());
    history.head_commit = Some(entry.commit.clone());
    history.time = history.time.max(envelope.time);
    history.repo.get_or_insert_with(|| envelope.repo.clone());
    if let (EntryKind::Transition(state), Some(record)) = (envelope.kind, &entry.record) {
        let reserved = history.record(record.id()).is_some_and(|it| it.state() == ActionState::MergeReserved);
        executions(history, state, record, reserved);
        remember(history, state, record);
        place(history, state, record, envelope.seq);
    }
    if let Some(request) = &entry.request {
        heed(history, request);
    }
    prune(history);
}

/// What a person asked for. Whoever asks for an undo does not want to keep the change any more.
fn heed(history: &mut History, request: &Request) {
    match &request.wish {
        Wish::Quiet { of, .. } => drop(history.quiet.insert(of.key(), request.clone())),
        Wish::Revert { of } => {
            if let Some(effect) = history.effects.get_mut(of) {
                effect.kept = false;
            }
            history.reverts.insert(of.clone(), request.clone());
        }
    }
}

/// Takes and resolves slots.
fn executions(history: &mut History, state: ActionState, record: &RemediationAction, reserved: bool) {
    use ActionState as S;
    let (now, id, target) = (history.time, record.id(), &record.spec.target);
    let takes = state == S::MergeReserved || (state == S::Merged && !reserved);
    if takes {
        history.executions.push(Execution {
            action: id.clone(),
            policy: record.spec.policy.clone(),
            target: target.clone(),
            at: now,
            by: if state == S::MergeReserved { MergedBy::Tars } else { MergedBy::Person },
            pending: state == S::MergeReserved,
        });
    } else if reserved {
        for it in history.executions.iter_mut().filter(|it| it.pending && it.action == *id) {
            (it.pending, it.at) = (false, now);
        }
    }
    if takes || reserved {
        let merge = record.status.merge.iter().map(|merge| merge.commit.clone());
        let head = record.spec.change.iter().map(|change| change.head.clone());
        let before = history.last_execution.remove(&target.key());
        let mut commits = before.map(|it| it.commits).unwrap_or_default();
        if state == S::Merged {
            commits.extend(merge.chain(head));
        }
        commits.drain(..commits.len().saturating_sub(MAX_COMMITS));
        history.last_execution.insert(target.key(), LastExecution { action: id.clone(), at: now, commits });
    }
}

/// What later decisions about the same cause have to know.
fn remember(history: &mut History, state: ActionState, record: &RemediationAction) {
    use ActionState as S;
    let (now, spec) = (history.time, &record.spec);
    let by_person = record.status.holds.iter().any(|it| it.code == ReasonCode::ClosedByPerson);
    let acted = match state {
        S::Observed | S::Merged => true,
        S::Closed => by_person,
        _ => false,
    };
    if let (true, Some(newest)) = (acted, spec.cause.alerts.iter().map(|it| it.starts_at).max()) {
        let handled = history.handled.entry(spec.fingerprint.clone()).or_insert(newest);
        *handled = newest.max(*handled);
    }
    if state == S::Observed {
        let once = ObservedOnce { at: now, since: spec.cause.since, cooldown_s: spec.limits.cooldown_s };
        history.observed.insert(spec.fingerprint.clone(), once);
    }
    // A restart has nothing to put back: one that did not help is remembered as if a person had said no.
    let useless_restart = matches!(spec.plan, Plan::Restart { .. }) && record.did_not_help();
    if (state == S::Closed && by_person) || useless_restart {
        history.snoozed.insert(spec.fingerprint.clone(), later(now, SNOOZE_S));
    }
    if state == S::Reverted {
        refuse(history, record);
    }
    undo(history, state, record, by_person);
}

/// The progress of an undo, kept with the effect it undoes.
fn undo(history: &mut History, state: ActionState, record: &RemediationAction, by_person: bool) {
    use ActionState as S;
    let Some(effect) = record.undoes().and_then(|of| history.effects.get_mut(of)) else { return };
    match state {
        S::Proposed => effect.undo = Some(record.id().clone()),
        S::Closed => {
            (effect.undo, effect.kept) = (None, by_person);
            if by_person {
                history.reverts.remove(effect.record.id());
            }
        }
        S::Merged => {
            effect.undone = true;
            if matches!(record.spec.purpose, Purpose::Revert { .. }) {
                let reverted = effect.record.clone();
                refuse(history, &reverted);
            }
        }
        _ => {}
    }
}

fn refuse(history: &mut History, record: &RemediationAction) {
    let spec = &record.spec;
    let fields = spec.change.as_ref().map(|change| change.change_id.clone());
    for change in fields.into_iter().chain([plan_id(&spec.target, &spec.plan)]) {
        history.refused.insert((spec.fingerprint.clone(), change));
    }
}

/// Puts the record where it now belongs: open, an effect in force, or nowhere.
fn place(history: &mut History, state: ActionState, record: &RemediationAction, seq: u64) {
    use ActionState as S;
    let key = record.spec.target.key();
    if state.is_open() {
        history.open.insert(key, record.clone());
        return;
    }
    if history.open.get(&key).is_some_and(|it| it.id() == record.id()) {
        history.open.remove(&key);
    }
    let lasting = record.undoes().is_none() && !matches!(record.spec.plan, Plan::Restart { .. });
    match state {
        S::Verified | S::Unknown | S::NotRecovered | S::Worse if lasting => {
            let (record, at) = (record.clone(), history.time);
            let effect = Effect { record, seq, at, undo: None, undone: false, kept: false };
            history.effects.insert(effect.record.id().clone(), effect);
        }
        S::Reverted | S::Expired => {
            history.effects.remove(record.id());
            history.reverts.remove(record.id());
        }
        _ => {}
    }
}

/// Forgets what no later question can see. Everything is measured in ledger time, which never goes back, and
/// questions are asked for ledger time or later: forgetting an execution cannot raise a budget.
fn prune(history: &mut History) {
    let now = history.time;
    history.executions.retain(|it| it.pending || later(it.at, WINDOW_S) > now);
    history.snoozed.retain(|_, until| *until > now);
    history.quiet.retain(|_, it| matches!(it.wish, Wish::Quiet { until, .. } if until > now));
    history.observed.retain(|_, it| later(it.at, OBSERVED_KEPT_S.max(i64::from(it.cooldown_s))) > now);
    history.effects.retain(|_, it| {
        let settled = it.undo.is_none()
            && !history.reverts.contains_key(it.record.id())
            && (it.kept || (it.record.status.expires_at.is_none() && !it.record.did_not_help()));
        !settled || later(it.at, EFFECT_KEPT_S) > now
    });
}
