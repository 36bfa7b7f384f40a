//! What the ledger remembers, folded: budgets, cooldowns, open actions, effects still in force and what was
//! refused. Plain values and questions about them; `ledger` alone changes one, entry by entry. Questions take
//! `now` and answer for the later of `now` and the newest entry, so that a clock set back frees nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::action::{MergedBy, Purpose, RemediationAction};
use super::change::FieldChange;
use super::ids::{ActionId, ChangeId, EntryId, Fingerprint, ObjectId, PolicyName, RepoId, WorkloadRef};
use super::playbook::Plan;
use super::request::Request;

/// Budgets count executions over this many seconds of ledger time.
pub const WINDOW_S: i64 = 3600;

/// One used slot of the budgets: a reservation to merge, or a person's merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execution {
    pub action: ActionId,
    pub policy: PolicyName,
    pub target: WorkloadRef,
    /// Ledger time from which the window runs: when the reservation was resolved (merged, given back or
    /// closed), so that a merge which took long does not leave the window early.
    pub at: Timestamp,
    pub by: MergedBy,
    /// Reserved and not resolved: counts however old it is (a crash leaves the slot taken).
    pub pending: bool,
}

/// The newest execution on one target, under any policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LastExecution {
    pub action: ActionId,
    pub at: Timestamp,
    /// The newest commits of ours on this target (proposals' heads and merges), oldest first.
    pub commits: Vec<ObjectId>,
}

/// A merged remediation that was not undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Effect {
    pub record: RemediationAction,
    /// Position of its verdict: a later effect on the same target is undone first.
    pub seq: u64,
    /// Ledger time of its verdict.
    pub at: Timestamp,
    /// The action that undoes it, from its proposal on.
    pub undo: Option<ActionId>,
    /// The undo was merged; only the last entry of the record is missing.
    pub undone: bool,
    /// A person closed the undo: the change stays, nobody asks again.
    pub kept: bool,
}

/// What Observe mode recorded for one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObservedOnce {
    pub at: Timestamp,
    /// Start of the episode that was recorded.
    pub since: Timestamp,
    pub cooldown_s: u32,
}

/// The folded ledger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct History {
    /// Sequence number of the newest entry; `None`: the ledger is empty.
    pub seq: Option<u64>,
    pub head_entry: Option<EntryId>,
    pub head_commit: Option<ObjectId>,
    /// Ledger time: that of the newest entry (the epoch while empty); never goes back.
    pub time: Timestamp,
    pub repo: Option<RepoId>,
    /// By [`WorkloadRef::key`]: the one open action of a target.
    pub open: BTreeMap<String, RemediationAction>,
    /// In ledger order. Forgotten once resolved and [`WINDOW_S`] old by *ledger* time: every later question
    /// is asked for a time at least as late, so what is forgotten could not have counted.
    pub executions: Vec<Execution>,
    /// By [`WorkloadRef::key`]; never forgotten, because a policy's cooldown has no upper bound.
    pub last_execution: BTreeMap<String, LastExecution>,
    pub effects: BTreeMap<ActionId, Effect>,
    /// Changes that were reverted, per cause; never forgotten (promise 9). A change stands here under the id
    /// of its fields and under that of its plan ([`plan_id`]).
    pub refused: BTreeSet<(Fingerprint, ChangeId)>,
    /// Until when a cause stays quiet; forgotten once past.
    pub snoozed: BTreeMap<Fingerprint, Timestamp>,
    /// Newest alert start that was acted on; never forgotten.
    pub handled: BTreeMap<Fingerprint, Timestamp>,
    /// Forgotten after a day: forgetting costs one more record, never a budget.
    pub observed: BTreeMap<Fingerprint, ObservedOnce>,
    /// Quiet that people asked for, by [`super::request::Whom::key`]; forgotten once past.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quiet: BTreeMap<String, Request>,
    /// Merged actions whose undo people asked for; forgotten once it is merged, or a person
    /// closed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reverts: BTreeMap<ActionId, Request>,
}

/// Executions that count right now, for one policy or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowUse {
    pub used: u32,
    /// When each resolved one leaves the window, soonest first.
    frees: Vec<Timestamp>,
}

impl WindowUse {
    /// When a slot below `limit` frees; `None` while one is free already, or when only the end of an open
    /// reservation can free one.
    #[must_use]
    pub fn next_free(&self, limit: u32) -> Option<Timestamp> {
        let must_leave = self.used.checked_sub(limit)?;
        if limit == 0 {
            return None;
        }
        self.frees.get(usize::try_from(must_leave).ok()?).copied()
    }
}

/// `at` plus `seconds`, saturating at the ends of time.
#[must_use]
pub fn later(at: Timestamp, seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(end)
}

/// Identity of a planned change before it is rendered: what it would bring about, whatever file that takes.
/// Two restarts are the same change whenever they happen.
#[must_use]
pub fn plan_id(target: &WorkloadRef, plan: &Plan) -> ChangeId {
    let resource = target.to_string();
    let on = |field: &str, to: &str| ChangeId::of([(resource.as_str(), field, to)]);
    match plan {
        Plan::Scale { to, autoscaler: None, .. } => on("plan replicas", &to.to_string()),
        Plan::Scale { to, autoscaler: Some(_), .. } => on("plan minReplicas", &to.to_string()),
        Plan::Images { images, .. } => {
            let fields: Vec<_> = images.iter().map(|it| format!("plan image {}", it.container)).collect();
            ChangeId::of(
                images.iter().zip(&fields).map(|(it, field)| (resource.as_str(), &**field, it.to.as_str())),
            )
        }
        Plan::PodTemplate { good } => on("plan template", good.as_str()),
        Plan::Restart { .. } => on("plan restart", ""),
        Plan::Undo { changes } => {
            let rows: Vec<_> = changes.iter().map(undo_row).collect();
            ChangeId::of(rows.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())))
        }
    }
}

fn undo_row(change: &FieldChange) -> (String, String, String) {
    let to = change.to.as_deref().map_or_else(|| "absent".to_owned(), |to| format!("={to}"));
    (change.resource.to_string(), format!("plan undo {}", change.field), to)
}

impl History {
    /// The later of `now` and ledger time.
    #[must_use]
    pub fn ledger_now(&self, now: Timestamp) -> Timestamp {
        self.time.max(now)
    }

    /// How many seconds the newest entry lies after `now`; 0 when it does not.
    #[must_use]
    pub fn ahead_s(&self, now: Timestamp) -> i64 {
        let ahead = self.time.duration_since(now);
        if ahead.is_positive() { ahead.as_secs().saturating_add(1) } else { 0 }
    }

    /// Executions in the last [`WINDOW_S`] seconds, of `policy` or of all, leaving out those of `except`.
    /// One that is exactly [`WINDOW_S`] old counts no more.
    #[must_use]
    pub fn executions_within(
        &self,
        now: Timestamp,
        policy: Option<&PolicyName>,
        except: Option<&ActionId>,
    ) -> WindowUse {
        let now = self.ledger_now(now);
        let mut used = 0_u32;
        let mut frees = Vec::new();
        for it in &self.executions {
            let wanted = policy.is_none_or(|policy| *policy == it.policy)
                // Only the slot being used right now may be left out; one that was given back still counts.
                && !(it.pending && except == Some(&it.action));
            let frees_at = later(it.at, WINDOW_S);
            if wanted && (it.pending || frees_at > now) {
                used = used.saturating_add(1);
                if !it.pending {
                    frees.push(frees_at);
                }
            }
        }
        frees.sort_unstable();
        WindowUse { used, frees }
    }

    /// Actions that hold a target and are not merged yet.
    #[must_use]
    pub fn open_proposals(&self) -> u32 {
        let waiting = self.open.values().filter(|it| it.status.merge.is_none()).count();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// The action that holds `target`.
    #[must_use]
    pub fn open_for(&self, target: &WorkloadRef) -> Option<&RemediationAction> {
        self.open.get(&target.key())
    }

    /// The newest execution on `target` under any policy.
    #[must_use]
    pub fn last_execution(&self, target: &WorkloadRef) -> Option<&LastExecution> {
        self.last_execution.get(&target.key())
    }

    /// When the cooldown of `target` ends, if it runs at `now`. The executions of `except` do not count: an
    /// action does not wait for itself.
    #[must_use]
    pub fn cooling_until(
        &self,
        target: &WorkloadRef,
        cooldown_s: u32,
        except: Option<&ActionId>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let last = self.last_execution(target)?;
        let until = later(last.at, i64::from(cooldown_s));
        (except != Some(&last.action) && until > self.ledger_now(now)).then_some(until)
    }

    /// Was this change reverted for this cause? `change` is the id of the fields or of the plan.
    #[must_use]
    pub fn is_refused(&self, fingerprint: &Fingerprint, change: &ChangeId) -> bool {
        self.refused.contains(&(fingerprint.clone(), change.clone()))
    }

    /// Until when a person silenced this cause, if that is still to come.
    #[must_use]
    pub fn snoozed_until(&self, fingerprint: &Fingerprint, now: Timestamp) -> Option<Timestamp> {
        self.snoozed.get(fingerprint).copied().filter(|&until| until > self.ledger_now(now))
    }

    /// The record of an action that can still change: open, or an effect in force.
    #[must_use]
    pub fn record(&self, id: &ActionId) -> Option<&RemediationAction> {
        let open = || self.open.values().find(|it| it.id() == id);
        self.effects.get(id).map(|it| &it.record).or_else(open)
    }

    /// The newest effect on the target of `effect`: only that one can be undone without touching another.
    #[must_use]
    pub fn is_newest_effect(&self, effect: &Effect) -> bool {
        let key = effect.record.spec.target.key();
        self.effects.values().all(|it| it.seq <= effect.seq || it.record.spec.target.key() != key)
    }

    /// An action on `target` that did not help and whose revert was neither proposed nor declined.
    #[must_use]
    pub fn awaiting_revert(&self, target: &WorkloadRef) -> Option<&RemediationAction> {
        let key = target.key();
        let failed = |it: &&Effect| it.record.did_not_help() && it.undo.is_none() && !it.kept;
        self.effects.values().filter(failed).map(|it| &it.record).find(|it| it.spec.target.key() == key)
    }
}

impl RemediationAction {
    /// Was it applied, judged, and found useless or harmful?
    #[must_use]
    pub fn did_not_help(&self) -> bool {
        use super::action::ActionState::{NotRecovered, Worse};
        matches!(self.state(), NotRecovered | Worse)
    }

    /// The action that this one undoes.
    #[must_use]
    pub fn undoes(&self) -> Option<&ActionId> {
        match &self.spec.purpose {
            Purpose::Remediate => None,
            Purpose::Expire { of } | Purpose::Revert { of } => Some(of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, target};
    use super::*;

    fn execution(action: char, when: Timestamp, pending: bool) -> Execution {
        Execution {
            action: ActionId::new(format!("act-{}", action.to_string().repeat(12))).unwrap(),
            policy: PolicyName::new("p").unwrap(),
            target: target("shop/Deployment/backend"),
            at: when,
            by: MergedBy::Tars,
            pending,
        }
    }

    fn history(executions: Vec<Execution>) -> History {
        History { time: at(0), executions, ..History::default() }
    }

    #[test]
    fn an_execution_counts_for_exactly_one_hour() {
        let history = history(vec![execution('a', at(0), false)]);
        assert_eq!(history.executions_within(at(3599), None, None).used, 1);
        assert_eq!(history.executions_within(at(3600), None, None).used, 0);
    }

    #[test]
    fn a_reservation_that_nobody_resolved_counts_for_ever() {
        let history = history(vec![execution('a', at(0), true)]);
        assert_eq!(history.executions_within(at(1_000_000), None, None).used, 1);
    }

    #[test]
    fn a_clock_set_back_or_ten_years_ahead_of_the_ledger_frees_nothing_it_should_not() {
        let mut history = history(vec![execution('a', at(0), false)]);
        history.time = at(100);
        assert_eq!(history.executions_within(at(-315_360_000), None, None).used, 1);
        assert_eq!(history.ahead_s(at(0)), 101);
        assert_eq!(history.ahead_s(at(100)), 0);
    }

    #[test]
    fn the_next_slot_frees_when_enough_have_left() {
        let history = history(vec![
            execution('a', at(0), false),
            execution('b', at(60), false),
            execution('c', at(120), false),
        ]);
        let window = history.executions_within(at(200), None, None);
        assert_eq!(window.next_free(2), Some(at(3660)));
        assert_eq!(window.next_free(3), Some(at(3600)));
        assert_eq!(window.next_free(4), None);
        assert_eq!(window.next_free(0), None);
    }

    #[test]
    fn an_action_leaves_out_its_own_reservation_but_not_one_it_gave_back() {
        let history = history(vec![execution('a', at(0), false), execution('a', at(60), true)]);
        let own = history.executions[0].action.clone();
        assert_eq!(history.executions_within(at(100), None, Some(&own)).used, 1);
    }

    #[test]
    fn every_restart_of_a_target_is_the_same_change() {
        let backend = target("shop/Deployment/backend");
        let restart = |when| Plan::Restart { restarted_at: at(when), previous: None };
        assert_eq!(plan_id(&backend, &restart(0)), plan_id(&backend, &restart(1)));
        assert_ne!(plan_id(&backend, &restart(0)), plan_id(&target("shop/Deployment/frontend"), &restart(0)));
    }
}
