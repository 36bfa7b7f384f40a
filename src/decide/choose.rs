//! The decision about one incident. Checks run in four fixed stages; a stage lists everything it objects to
//! before the decision stops there:
//!
//! 1. the policy and the target: `PolicySuspended`, `TargetNotAllowed`, `AmbiguousTarget`;
//! 2. the evidence: `SignalRecovered`, `NotLongEnough`, `WarmingUp`, `CauseElsewhere`;
//! 3. the memory: `ProposalOpen`, `VerificationFailed` (a revert comes first), `AlreadyHandled`, `Snoozed`,
//!    `Cooldown`, `TooManyOpenProposals`;
//! 4. the repository and the playbooks, in the policy's order, the first that is applicable: `Hold` when a
//!    fact is missing or the only objection is `RevertedBefore`, `Escalate` when no playbook can help.
//!
//! What is left is proposed, with everything that keeps it from merging by itself as holds.

use jiff::Timestamp;

use super::budget::{Budgets, brakes, clock_time, cooldown, date_time};
use super::incidents::{cause_key, check_target};
use super::playbooks::plan;
use super::{Facts, Guards};
use crate::model::action::{Cause, Purpose, Risk, RiskClass};
use crate::model::alert::AlertStatus;
use crate::model::correlation::Correlation;
use crate::model::decision::{DecidedAction, Decision, Incident, Verb};
use crate::model::history::{History, later, plan_id};
use crate::model::ids::Fingerprint;
use crate::model::limits::GlobalLimits;
use crate::model::playbook::{Plan, PlaybookName, PlaybookSpec};
use crate::model::policy::{Mode, Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::workload::Workload;

/// Everything a decision looks at.
struct Question<'a> {
    incident: &'a Incident,
    policy: &'a Policy,
    facts: &'a Facts,
    history: &'a History,
    limits: &'a GlobalLimits,
    guards: &'a Guards,
    now: Timestamp,
}

/// Decides about `incident` under `policy`. The returned incident carries the fingerprint of the playbook
/// that was chosen.
#[allow(clippy::too_many_arguments, reason = "each is a different source, and none has a default")]
#[must_use]
pub fn decide(
    incident: &Incident,
    policy: &Policy,
    facts: &Facts,
    history: &History,
    limits: &GlobalLimits,
    guards: &Guards,
    now: Timestamp,
) -> Decision {
    let question = Question { incident, policy, facts, history, limits, guards, now };
    let hold = |reasons| Decision { incident: incident.clone(), verb: Verb::Hold(reasons) };
    for mut reasons in [question.policy_and_target(), question.evidence(), question.memory()] {
        // Who calls a person for a victim has to know that nothing else holds it.
        if is_for_a_victim(&reasons) {
            reasons.extend(question.memory());
        }
        if !reasons.is_empty() {
            return hold(reasons);
        }
    }
    match &facts.workload {
        Ok(workload) => question.choose(workload),
        Err(reason) => hold(vec![reason.clone()]),
    }
}

impl Question<'_> {
    fn policy_and_target(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.policy.suspend {
            let text = format!("{} says suspend", self.policy.path);
            reasons.push(Reason::new(ReasonCode::PolicySuspended, text));
        }
        reasons.extend(check_target(self.incident, self.policy).err());
        reasons
    }

    /// The trigger that the incident came from, as the policy has it now.
    fn trigger(&self) -> Option<&Trigger> {
        self.policy.triggers.iter().find(|it| cause_key(it) == self.incident.cause.key)
    }

    fn evidence(&self) -> Vec<Reason> {
        let cause = &self.incident.cause;
        let mut reasons = Vec::new();
        let firing = |it: &crate::model::alert::Alert| it.status == AlertStatus::Firing;
        let (for_s, present) = match self.trigger() {
            None => (0, false),
            Some(Trigger::Anomaly { for_s, .. }) => (*for_s, !cause.anomalies.is_empty()),
            Some(Trigger::Forecast { for_s, .. }) => (*for_s, !cause.forecasts.is_empty()),
            Some(Trigger::Promql { for_s, .. }) => (*for_s, true),
            Some(Trigger::Webhook { .. }) => (0, cause.alerts.iter().any(firing)),
        };
        if !present {
            let text = format!("nothing shows {} any more", cause.key);
            reasons.push(Reason::new(ReasonCode::SignalRecovered, text));
        }
        if later(cause.since, i64::from(for_s)) > self.now {
            let held_s = self.now.duration_since(cause.since).as_secs().max(0);
            let text = format!("{} has held for {held_s} s of {for_s} s", cause.key);
            reasons.push(Reason::new(ReasonCode::NotLongEnough, text));
        }
        // A strange value that is still inside what the policy calls recovered is nothing to act on: the
        // action would have to be called a success before it began.
        if !cause.anomalies.is_empty() && self.facts.inside_target == Some(true) {
            let text = format!("{} is inside the target of its verification", self.policy.verify.signal);
            reasons.push(Reason::new(ReasonCode::SignalRecovered, text));
        }
        if let Some(warming) = cause.anomalies.iter().find(|it| it.warming_up) {
            let text = format!("{} has fewer samples than the ensemble needs", warming.key);
            reasons.push(Reason::new(ReasonCode::WarmingUp, text));
        }
        reasons.extend(cause.correlation.as_ref().and_then(cause_elsewhere));
        reasons
    }

    fn fingerprint(&self, playbook: PlaybookName) -> Fingerprint {
        let incident = self.incident;
        Fingerprint::of(&self.policy.name, &incident.target, playbook.as_str(), &incident.cause.key)
    }

    /// A person's no, an alert or an observation counts for the cause, whichever playbook answered it.
    fn fingerprints(&self) -> Vec<Fingerprint> {
        let mut all: Vec<_> = self.policy.actions.iter().map(|spec| self.fingerprint(spec.name())).collect();
        all.push(self.incident.fingerprint.clone());
        all.sort_unstable();
        all.dedup();
        all
    }

    fn memory(&self) -> Vec<Reason> {
        let (history, now, target) = (self.history, self.now, &self.incident.target);
        let mut reasons = Vec::new();
        let mut add = |code, text: String| reasons.push(Reason::new(code, text));
        if let Some(open) = history.open_for(target) {
            let text = format!("{} is {} on {target}", open.id(), open.state().as_str());
            add(ReasonCode::ProposalOpen, text);
        }
        if let Some(failed) = history.awaiting_revert(target) {
            let text = format!("{} ended {}; its revert comes first", failed.id(), failed.state().as_str());
            add(ReasonCode::VerificationFailed, text);
        }
        let cause = &self.incident.cause;
        let fingerprints = self.fingerprints();
        let quiet = history.quiet(&self.policy.name, target, &fingerprints, now);
        for fingerprint in fingerprints {
            let newest = cause.alerts.iter().map(|it| it.starts_at).max();
            if let (Some(done), Some(newest)) = (history.handled.get(&fingerprint), newest)
                && newest <= *done
            {
                let text = format!("the alert that started at {} was acted on", date_time(newest));
                add(ReasonCode::AlreadyHandled, text);
            }
            if let Some(until) = history.snoozed_until(&fingerprint, now) {
                add(ReasonCode::Snoozed, format!("quiet until {}", date_time(until)));
            }
            if let Some(once) =
                history.observed.get(&fingerprint).filter(|_| self.policy.mode == Mode::Observe)
            {
                let until = later(once.at, i64::from(self.policy.cooldown_s));
                if cause.since <= once.since || until > history.ledger_now(now) {
                    add(ReasonCode::Cooldown, format!("observed at {}", clock_time(once.at)));
                }
            }
        }
        reasons.extend(quiet);
        reasons.extend(cooldown(history, target, self.policy.cooldown_s, None, now));
        let (open, limit) = (history.open_proposals(), self.limits.max_open_proposals);
        if open >= limit {
            let text = format!("{open} of {limit} proposals are open");
            reasons.push(Reason::new(ReasonCode::TooManyOpenProposals, text));
        }
        reasons
    }

    fn choose(&self, workload: &Workload) -> Decision {
        let mut rejected = Vec::new();
        for spec in &self.policy.actions {
            match self.applicable(spec, workload) {
                Ok((plan, risk)) => return self.propose(spec.name(), plan, risk, rejected),
                Err(reason) => rejected.push((spec.name(), reason)),
            }
        }
        let reverted = rejected.iter().any(|(_, reason)| reason.code == ReasonCode::RevertedBefore);
        let reasons = if rejected.is_empty() {
            vec![Reason::new(ReasonCode::OutOfBounds, format!("{} names no action", self.policy.name))]
        } else {
            rejected.into_iter().map(|(_, reason)| reason).collect()
        };
        let verb = if reverted { Verb::Hold(reasons) } else { Verb::Escalate(reasons) };
        Decision { incident: self.incident.clone(), verb }
    }

    fn applicable(&self, spec: &PlaybookSpec, workload: &Workload) -> Result<(Plan, Risk), Reason> {
        if workload.target != self.incident.target {
            let text = format!("facts about {} came for {}", workload.target, self.incident.target);
            return Err(Reason::new(ReasonCode::TargetNotFound, text));
        }
        let planned = plan(spec, workload, self.facts, &self.incident.cause, self.history, self.now)?;
        let fingerprint = self.fingerprint(spec.name());
        if self.history.is_refused(&fingerprint, &plan_id(&self.incident.target, &planned.0)) {
            let text = format!("the same {} was reverted for this cause", spec.name().as_str());
            return Err(Reason::new(ReasonCode::RevertedBefore, text));
        }
        Ok(planned)
    }

    fn propose(
        &self,
        playbook: PlaybookName,
        plan: Plan,
        risk: Risk,
        rejected: Vec<(PlaybookName, Reason)>,
    ) -> Decision {
        let policy = self.policy;
        let budgets = Budgets::new(&policy.name, policy.max_executions_per_hour, self.limits);
        let mut holds = mode_and_risk(policy.mode, &risk);
        holds.extend(budgets.spent(self.history, self.now));
        holds.extend(brakes(self.history, self.guards, self.now));
        holds.extend(evidence_holds(&self.incident.cause, self.guards, self.now));
        let action = DecidedAction {
            playbook,
            purpose: Purpose::Remediate,
            plan,
            risk,
            rejected,
            budget: budgets.lines(self.history, self.now),
            holds,
        };
        let mut incident = self.incident.clone();
        incident.fingerprint = self.fingerprint(playbook);
        Decision { incident, verb: Verb::Propose(Box::new(action)) }
    }
}

/// Why nothing is done about a victim.
#[must_use]
pub fn cause_elsewhere(correlation: &Correlation) -> Option<Reason> {
    let text = || format!("{correlation}; what helps there helps here");
    correlation.is_victim().then(|| Reason::new(ReasonCode::CauseElsewhere, text()))
}

fn is_for_a_victim(reasons: &[Reason]) -> bool {
    !reasons.is_empty() && reasons.iter().all(|it| it.code == ReasonCode::CauseElsewhere)
}

/// The decision as it is when nobody acts on the cause: a victim is not left to wait for what no policy in force will
/// ever do.
#[must_use]
pub fn left_alone(decision: Decision, policies: &[Policy]) -> Decision {
    let suspect = decision.incident.cause.correlation.as_ref().map(Correlation::suspect);
    match (&decision.verb, suspect) {
        (Verb::Hold(reasons), Some(suspect))
            if is_for_a_victim(reasons) && !policies.iter().any(|it| may_help(it, suspect)) =>
        {
            let text = format!("no policy that is in force acts on {suspect}: somebody has to look there");
            let told = Reason::new(ReasonCode::CauseElsewhere, text);
            Decision { verb: Verb::Escalate([&reasons[..], &[told]].concat()), ..decision }
        }
        _ => decision,
    }
}

/// May `policy` ever act on what the metrics call `service`?
fn may_help(policy: &Policy, service: &str) -> bool {
    let watches = |it: &Trigger| match it {
        Trigger::Anomaly { signal, .. } | Trigger::Forecast { signal, .. } => {
            signal.service.as_str() == service
        }
        Trigger::Promql { .. } | Trigger::Webhook { .. } => false,
    };
    let targets = policy.targets();
    let is_meant = targets.iter().any(|it| it.name.as_str() == service);
    // A workload alone in its policy answers for whatever its triggers watch.
    !policy.suspend && (is_meant || (targets.len() == 1 && policy.triggers.iter().any(watches)))
}

/// Holds that mode and risk put on a proposal.
pub fn mode_and_risk(mode: Mode, risk: &Risk) -> Vec<Reason> {
    let mut holds = Vec::new();
    match mode {
        Mode::Observe => holds.push(Reason::new(ReasonCode::ObserveOnly, "the policy's mode is Observe")),
        Mode::Propose => holds.push(Reason::new(ReasonCode::ReviewRequired, "the policy's mode is Propose")),
        Mode::AutoMerge => {}
    }
    if risk.class != RiskClass::Low {
        let text = format!("risk is {:?}: {}", risk.class, risk.reason);
        holds.push(Reason::new(ReasonCode::RiskNeedsHuman, text));
    }
    holds
}

/// Holds that weak or old evidence puts on a proposal.
pub fn evidence_holds(cause: &Cause, guards: &Guards, now: Timestamp) -> Vec<Reason> {
    let mut holds = Vec::new();
    for it in &cause.anomalies {
        if it.confidence < guards.min_confidence {
            let (has, least) = (it.confidence.get(), guards.min_confidence.get());
            let text = format!("confidence of {} is {has:.2}, below {least:.2}", it.key);
            holds.push(Reason::new(ReasonCode::LowConfidence, text));
        }
    }
    let scored = cause.anomalies.iter().map(|it| (&it.key, it.at));
    for (key, at) in scored.chain(cause.forecasts.iter().map(|it| (&it.key, it.at))) {
        let age_s = now.duration_since(at).as_secs();
        if age_s.abs() > i64::from(guards.evidence_age_max_s) {
            let text = format!("{key} was scored {age_s} s ago, limit {} s", guards.evidence_age_max_s);
            holds.push(Reason::new(ReasonCode::EvidenceStale, text));
        }
    }
    holds
}
