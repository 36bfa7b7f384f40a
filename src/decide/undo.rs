//! Undoing what tars did: the revert of an action that did not help or that a person wants undone, and the
//! scale-back of one that helped and is no longer needed. Effects in force come in, decisions go out. An undo is decided once, never undone
//! itself, and knows no cooldown; merging it takes a slot like any other.

use jiff::Timestamp;

use super::Guards;
use super::budget::{Budgets, brakes};
use super::choose::mode_and_risk;
use crate::model::action::{Cause, Purpose, RemediationAction};
use crate::model::change::FieldChange;
use crate::model::decision::{DecidedAction, Decision, Incident, Verb};
use crate::model::history::{Effect, History};
use crate::model::ids::Fingerprint;
use crate::model::limits::GlobalLimits;
use crate::model::playbook::Plan;
use crate::model::policy::{Mode, Policy};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::request::{Request, TRIGGER};

/// What [`undo`] looks at.
pub struct Undoing<'a> {
    pub history: &'a History,
    pub policies: &'a [Policy],
    /// Has the signal of this action been calm? `None`: no data, which is never calm.
    pub calm: &'a dyn Fn(&RemediationAction) -> Option<bool>,
    pub limits: &'a GlobalLimits,
    pub guards: &'a Guards,
}

impl std::fmt::Debug for Undoing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undoing").field("history", &self.history.seq).finish_non_exhaustive()
    }
}

/// One decision per undo that is due: `Propose`, or `Hold` when the target is busy. Unknown outcomes are never
/// reverted; like verified ones they expire.
#[must_use]
pub fn undo(about: &Undoing<'_>, now: Timestamp) -> Vec<Decision> {
    let mut due: Vec<&Effect> =
        about.history.effects.values().filter(|it| it.undo.is_none() && !it.kept).collect();
    due.sort_by_key(|it| std::cmp::Reverse(it.seq));
    due.into_iter().filter_map(|effect| about.decide(effect, now)).collect()
}

impl Undoing<'_> {
    fn decide(&self, effect: &Effect, now: Timestamp) -> Option<Decision> {
        let record = &effect.record;
        let asked = self.history.reverts.get(record.id());
        let purpose = if record.did_not_help() || asked.is_some() {
            Purpose::Revert { of: record.id().clone() }
        } else {
            let expired = record.status.expires_at.is_some_and(|at| at <= self.history.ledger_now(now));
            if !expired || (self.calm)(record) != Some(true) {
                return None;
            }
            Purpose::Expire { of: record.id().clone() }
        };
        let changes = swapped(record)?;
        // The newest change of a target stands on top of the older ones: it goes first.
        if !self.history.is_newest_effect(effect) {
            return None;
        }
        let incident = incident_of(record, &purpose, asked, now);
        let policy = self.policies.iter().find(|it| it.name == record.spec.policy);
        let mut busy = self.busy(record, policy);
        if asked.is_none() {
            let spec = &record.spec;
            let causes = [incident.fingerprint.clone(), spec.fingerprint.clone()];
            busy.extend(self.history.quiet(&spec.policy, &spec.target, &causes, now));
        }
        if !busy.is_empty() {
            return Some(Decision { incident, verb: Verb::Hold(busy) });
        }
        let mut action = self.action(record, policy, purpose, changes, now);
        if let Some(request) = asked {
            action.risk.reason = format!("{}; {}", action.risk.reason, request.signature());
        }
        Some(Decision { incident, verb: Verb::Propose(Box::new(action)) })
    }

    fn busy(&self, record: &RemediationAction, policy: Option<&Policy>) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let Some(open) = self.history.open_for(&record.spec.target) {
            let text = format!("{} is {} on {}", open.id(), open.state().as_str(), record.spec.target);
            reasons.push(Reason::new(ReasonCode::ProposalOpen, text));
        }
        let (open, limit) = (self.history.open_proposals(), self.limits.max_open_proposals);
        if open >= limit {
            let text = format!("{open} of {limit} proposals are open");
            reasons.push(Reason::new(ReasonCode::TooManyOpenProposals, text));
        }
        if policy.is_some_and(|it| it.mode == Mode::Observe) {
            reasons.push(Reason::new(ReasonCode::ObserveOnly, "the policy's mode is Observe now"));
        }
        reasons
    }

    fn action(
        &self,
        record: &RemediationAction,
        policy: Option<&Policy>,
        purpose: Purpose,
        changes: Vec<FieldChange>,
        now: Timestamp,
    ) -> DecidedAction {
        let spec = &record.spec;
        let mut risk = spec.risk.clone();
        risk.reason = format!("puts back what {} changed, field by field", record.id());
        let per_hour = policy.map_or(0, |it| it.max_executions_per_hour);
        let budgets = Budgets::new(&spec.policy, per_hour, self.limits);
        let mut holds = match policy {
            Some(policy) => mode_and_risk(policy.mode, &risk),
            None => {
                let text = format!("{} is gone", spec.policy_path);
                vec![Reason::new(ReasonCode::PolicyChanged, text)]
            }
        };
        if policy.is_some_and(|it| it.suspend) {
            let text = format!("{} says suspend", spec.policy_path);
            holds.push(Reason::new(ReasonCode::PolicySuspended, text));
        }
        if policy.is_some_and(|it| !it.auto_revert) {
            holds.push(Reason::new(ReasonCode::ReviewRequired, "the policy does not set autoRevert"));
        }
        holds.extend(budgets.spent(self.history, now));
        holds.extend(brakes(self.history, self.guards, now));
        DecidedAction {
            playbook: spec.playbook,
            purpose,
            plan: Plan::Undo { changes },
            risk,
            rejected: Vec::new(),
            budget: budgets.lines(self.history, now),
            holds,
        }
    }
}

/// Every field back to its value before; `None` when the record changed nothing.
fn swapped(record: &RemediationAction) -> Option<Vec<FieldChange>> {
    let fields = &record.spec.change.as_ref()?.fields;
    let swap = |it: &FieldChange| {
        let (from, to) = (it.to.clone(), it.from.clone());
        FieldChange {
            resource: it.resource.clone(),
            file: it.file.clone(),
            field: it.field.clone(),
            from,
            to,
        }
    };
    (!fields.is_empty()).then(|| fields.iter().map(swap).collect())
}

fn incident_of(
    record: &RemediationAction,
    purpose: &Purpose,
    asked: Option<&Request>,
    now: Timestamp,
) -> Incident {
    let spec = &record.spec;
    let judged = record.status.verdict.as_ref().map(|it| it.judged_at);
    let (trigger, since) = match purpose {
        _ if asked.is_some() => (TRIGGER, Some(now)),
        Purpose::Expire { .. } => ("expiry", record.status.expires_at),
        Purpose::Remediate | Purpose::Revert { .. } => ("verification", judged),
    };
    let since = since.unwrap_or(now);
    let key = format!("{trigger} {}", record.id());
    Incident {
        fingerprint: Fingerprint::of(&spec.policy, &spec.target, spec.playbook.as_str(), &key),
        policy: spec.policy.clone(),
        target: spec.target.clone(),
        cause: Cause {
            trigger: trigger.to_owned(),
            key,
            since,
            anomalies: Vec::new(),
            forecasts: Vec::new(),
            alerts: Vec::new(),
            alerts_total: 0,
            correlation: None,
        },
    }
}
