//! Everything one decision looks at, gathered: evidence, git view, history, guards. Plain borrows; nothing is
//! read or written here.

use jiff::{SignedDuration, Timestamp};

use super::desk::Desk;
use super::error::TurnError;
use super::evidence::{Evidence, Holds, Since, clock_skew};
use super::memory::Memory;
use super::view::{BranchFate, View};
use crate::decide::{self, BranchSeen, Guards, MergePermit, OnForge, PermitRequest};
use crate::model::action::{Cause, Purpose, RemediationAction};
use crate::model::anomaly::Score;
use crate::model::change::ProposedChange;
use crate::model::correlation::Correlation;
use crate::model::decision::Incident;
use crate::model::forecast::Forecast;
use crate::model::history::History;
use crate::model::ids::{ObjectId, PolicyName, WorkloadRef};
use crate::model::limits::{BatchLimits, GlobalLimits};
use crate::model::policy::{Policy, Trigger};
use crate::model::reason::{Reason, ReasonCode};
use crate::observe::sources::Sources;
use crate::observe::sync_probe::SyncProbe;
use crate::outside::http::Http;
use crate::report::refresh::Refresh;
use crate::verify;

/// Limits and thresholds from the settings that decisions depend on.
#[derive(Debug, Clone)]
pub struct Rules {
    pub limits: GlobalLimits,
    pub max_skew_s: u32,
    pub evidence_age_max_s: u32,
    /// A merged change that is not applied after this long is given up (Unknown).
    pub sync_timeout_s: u32,
    /// `None`: every proposal has a branch of its own.
    pub batch: Option<BatchLimits>,
}

/// Anomalies on which the models agree less than this merge nothing by themselves.
const MIN_CONFIDENCE: f64 = 0.7;

/// A trigger without a signal that is read here holds on so long without an answer, seconds.
const UNANSWERED_MAX_S: u32 = 120;

/// One turn: a look at everything, at `now`.
#[derive(Debug)]
pub struct Turn<'a> {
    pub now: Timestamp,
    pub evidence: &'a Evidence,
    pub view: &'a View<'a>,
    pub memory: &'a Memory,
    pub rules: &'a Rules,
    /// Policies in force, their modes under the ceiling of the settings.
    pub policies: &'a [Policy],
    pub probe: &'a SyncProbe,
    /// `None`: Argo CD and Flux look when they look.
    pub refresh: Option<&'a Refresh>,
    pub sources: &'a Sources,
    pub http: &'a Http,
    /// The pull requests; `None`: there is no forge.
    pub desk: Option<&'a Desk>,
}

impl Turn<'_> {
    #[must_use]
    pub fn history(&self) -> &History {
        self.memory.history()
    }

    #[must_use]
    pub fn policy(&self, record: &RemediationAction) -> Option<&Policy> {
        self.policies.iter().find(|it| it.name == record.spec.policy)
    }

    #[must_use]
    pub fn guards(&self) -> Guards {
        Guards {
            frozen: self.view.snapshot.suspended.clone(),
            clock: self.clock(),
            evidence_age_max_s: self.rules.evidence_age_max_s,
            min_confidence: Score::clamped(MIN_CONFIDENCE),
        }
    }

    /// Is the time trustworthy enough to spend a budget?
    fn clock(&self) -> Result<(), Reason> {
        let max = SignedDuration::from_secs(i64::from(self.rules.max_skew_s));
        let untrusted = |text| Err(Reason::new(ReasonCode::ClockUntrusted, text));
        if let Some(skew) = clock_skew(self.evidence).filter(|skew| skew.abs() > max) {
            return untrusted(format!(
                "the local clock is {} s away from the metrics server's",
                skew.as_secs()
            ));
        }
        let ahead_s = self.history().ahead_s(self.now);
        if ahead_s > i64::from(self.rules.max_skew_s) {
            return untrusted(format!("the newest ledger entry lies {ahead_s} s in the future"));
        }
        Ok(())
    }

    /// What happened to a proposal that waits: its branch ends with its own commit, or with that of the last
    /// one that joined it there.
    ///
    /// # Errors
    /// When the local copy cannot be read.
    pub fn fate(&self, change: &ProposedChange) -> Result<BranchFate, TurnError> {
        let line = self.history().waiting_on(&change.branch);
        let last = line.last().and_then(|it| it.spec.change.as_ref());
        self.view.fate(change, &last.unwrap_or(change).head)
    }

    /// Asks decide for the permit to merge `record` now.
    ///
    /// # Errors
    /// The outer error is git's; the inner one lists every reason to hold.
    pub fn permit(&self, record: &RemediationAction) -> Result<Result<MergePermit, Vec<Reason>>, TurnError> {
        let Some(change) = &record.spec.change else { return Ok(Err(Vec::new())) };
        let head = match self.fate(change)? {
            BranchFate::Waiting => Some(change.head.clone()),
            BranchFate::Taken(head) => Some(head),
            BranchFate::Deleted | BranchFate::Merged(_) => None,
        };
        let branch = match head {
            Some(head) => {
                let tree = self.view.objects.tree_of(head.as_str()).map_err(TurnError::Objects)?;
                Some(BranchSeen { head, tree: ObjectId::new(tree)? })
            }
            None => None,
        };
        let trigger = self.trigger_of(record).and_then(|it| self.unknown(it));
        let unjudged = self.unjudged(record);
        let still_needed = if unjudged.is_some() { None } else { self.still_needed(record) };
        let unknown = trigger.or(unjudged);
        let request = PermitRequest {
            record,
            policy: self.policy(record),
            history: self.history(),
            limits: &self.rules.limits,
            guards: &self.guards(),
            branch: branch.as_ref(),
            main: self.view.main(),
            paths_moved: self.view.moved_paths(change)?.is_some(),
            still_needed,
            unknown: unknown.as_ref(),
            on_forge: self.desk.map_or(OnForge::Nowhere, |desk| desk.stands(change)),
            contested: &[],
            now: self.now,
        };
        match decide::permit(&request) {
            // Asked last: it compares trees, and most proposals that wait do so for other reasons.
            Ok(_) => {
                let mut contested = self.contested(record, change)?;
                contested.extend(self.elsewhere(record));
                Ok(decide::permit(&PermitRequest { contested: &contested, ..request }))
            }
            refused => Ok(refused),
        }
    }

    /// Why an answer to what turned out to be another service's trouble does not merge.
    fn elsewhere(&self, record: &RemediationAction) -> Option<Reason> {
        let correlation = self.correlation(&record.spec.cause, &record.spec.target);
        let answers = record.spec.purpose == Purpose::Remediate;
        correlation.filter(|_| answers).and_then(|it| decide::cause_elsewhere(&it))
    }

    fn contested(
        &self,
        record: &RemediationAction,
        change: &ProposedChange,
    ) -> Result<Vec<Reason>, TurnError> {
        match &self.view.others {
            None => Ok(Vec::new()),
            Some(Ok(others)) => self.view.contested(others, &change.fields, &record.spec.plan, self.now),
            // Not knowing is no leave to merge.
            Some(Err(why)) => Ok(vec![Reason::new(ReasonCode::YieldsToOthers, why.as_str())]),
        }
    }

    /// What the evidence makes of the policies, one incident per policy, target and cause.
    #[must_use]
    pub fn incidents(&self, since: &mut Since) -> Vec<Incident> {
        since.update(self.holding(), self.evidence.at);
        let known = |policy: &PolicyName, index: usize| {
            since.get(policy, &decide::cause_key(self.trigger(policy, index)?))
        };
        let mut incidents =
            self.with_evidence(&known, |evidence| decide::incidents(self.policies, evidence, self.now));
        for incident in &mut incidents {
            incident.cause.correlation = self.correlation(&incident.cause, &incident.target);
        }
        incidents
    }

    /// Every trigger that is not over, by policy and cause.
    fn holding(&self) -> Vec<((PolicyName, String), Holds)> {
        let at = |evidence: &decide::Evidence<'_>| decide::active_triggers(self.policies, evidence);
        let active = self.with_evidence(&|_, _| None, at);
        let mut holding = Vec::new();
        for policy in self.policies {
            for (index, trigger) in policy.triggers.iter().enumerate() {
                let holds = if active.contains(&(policy.name.clone(), index)) {
                    Some(Holds::Now)
                } else if decide::lasts(trigger, &self.evidence.anomalies) {
                    Some(Holds::InALull)
                } else {
                    self.gap_s(policy, trigger).map(|most_s| Holds::Unknown { most_s })
                };
                let holds = holds.filter(|_| !self.evidence.is_harmless(policy, index));
                holding.extend(holds.map(|it| ((policy.name.clone(), decide::cause_key(trigger)), it)));
            }
        }
        holding
    }

    /// How long `trigger` may hold on where the newest look has no answer to it, seconds: as long as the values of its
    /// signal are no old ones. `None`: there is an answer, and it is no.
    fn gap_s(&self, policy: &Policy, trigger: &Trigger) -> Option<u32> {
        let (is_answered, signal) = match trigger {
            Trigger::Anomaly { signal, .. } => {
                let has_value = || self.evidence.state(signal).is_some_and(|it| !it.window.ends_in_gap());
                // Detectors do not list what scores little; a process that scores itself has a score for every value.
                let less = self.evidence.gathered.is_some() && self.unknown(trigger).is_none() && has_value();
                (less || self.evidence.anomaly(signal).is_some(), Some(signal))
            }
            Trigger::Forecast { signal, crossing, within_s, .. } => {
                let answers = |it: &Forecast| it.answers(signal, *crossing, *within_s);
                (self.evidence.forecasts.iter().any(answers), Some(signal))
            }
            Trigger::Promql { query, .. } => (self.answered(&policy.name, query).is_some(), None),
            Trigger::Webhook { .. } => (true, None),
        };
        let staleness_s = signal.and_then(|it| self.evidence.state(it)).map(|it| it.staleness_s);
        (!is_answered).then(|| staleness_s.unwrap_or(UNANSWERED_MAX_S))
    }

    /// What the graph of calls says about a cause: about the service of its signal, or else the one that is called
    /// as the target is.
    fn correlation(&self, cause: &Cause, target: &WorkloadRef) -> Option<Correlation> {
        let measured = cause.anomalies.first().map(|it| &it.key);
        let key = measured.or_else(|| cause.forecasts.first().map(|it| &it.key));
        self.evidence.correlations.about(key.map_or(target.name.as_str(), |it| it.service.as_str()))
    }

    fn with_evidence<R>(
        &self,
        since: &dyn Fn(&PolicyName, usize) -> Option<Timestamp>,
        look: impl FnOnce(&decide::Evidence<'_>) -> R,
    ) -> R {
        let mut promql = Vec::new();
        for policy in self.policies {
            for (index, trigger) in policy.triggers.iter().enumerate() {
                let Trigger::Promql { query, .. } = trigger else { continue };
                if let Some(answered) = self.answered(&policy.name, query) {
                    promql.push((policy.name.clone(), index, answered));
                }
            }
        }
        look(&decide::Evidence {
            anomalies: &self.evidence.anomalies,
            forecasts: &self.evidence.forecasts,
            alerts: &self.evidence.alerts,
            promql: &promql,
            since,
        })
    }

    /// Is `record` still wanted: an alert firing, a query answering, or the signal not calm? For an expiry:
    /// is the signal still calm? `None`: no data.
    #[must_use]
    pub fn still_needed(&self, record: &RemediationAction) -> Option<bool> {
        if matches!(record.spec.purpose, Purpose::Expire { .. }) {
            return self.calm(record);
        }
        let cause = &record.spec.cause;
        if cause.alerts.iter().any(|alert| self.evidence.is_firing(alert)) {
            return Some(true);
        }
        match self.trigger_of(record) {
            Some(Trigger::Promql { query, .. }) => match self.answered(&record.spec.policy, query) {
                Some(true) => return Some(true),
                // A query that cannot be answered is neither firing nor over.
                None => return None,
                Some(false) => {}
            },
            // No word of its detector is no word that it is over.
            Some(trigger) if self.unknown(trigger).is_some() => return None,
            Some(Trigger::Anomaly { signal, threshold, .. }) => {
                let fires = self.evidence.anomaly(signal).is_some_and(|it| it.score >= *threshold);
                let inside = self.policy(record).and_then(|policy| self.inside_target(policy, cause));
                if fires && inside == Some(false) {
                    return Some(true);
                }
            }
            Some(Trigger::Forecast { signal, crossing, within_s, probability, .. }) => {
                let mut answers = self.evidence.forecasts.iter();
                let answer = answers.find(|it| it.answers(signal, *crossing, *within_s))?;
                if answer.probability >= *probability {
                    return Some(true);
                }
            }
            Some(Trigger::Webhook { .. }) | None => {}
        }
        self.calm(record).map(|calm| !calm)
    }

    fn trigger(&self, policy: &PolicyName, index: usize) -> Option<&Trigger> {
        self.policies.iter().find(|it| it.name == *policy)?.triggers.get(index)
    }

    /// The trigger that `record` came from, as its policy has it now.
    fn trigger_of(&self, record: &RemediationAction) -> Option<&Trigger> {
        let key = &record.spec.cause.key;
        self.policy(record)?.triggers.iter().find(|it| decide::cause_key(it) == *key)
    }

    /// Did this query of this policy answer with anything? `None`: it was not asked or gave no answer.
    fn answered(&self, policy: &PolicyName, query: &str) -> Option<bool> {
        let asked = |it: &&(PolicyName, String, bool)| it.0 == *policy && it.1 == query;
        self.evidence.promql.iter().find(asked).map(|it| it.2)
    }

    /// Is the action that `record` scales back wanted again?
    #[must_use]
    pub fn is_wanted_again(&self, record: &RemediationAction) -> bool {
        let effect = record.undoes().and_then(|of| self.history().effects.get(of));
        self.calm(record) == Some(false)
            && effect.is_some_and(|it| self.still_needed(&it.record) == Some(true))
    }

    /// Has the signal that `record` is judged by been calm for a whole window? `None`: cannot tell.
    #[must_use]
    pub fn calm(&self, record: &RemediationAction) -> Option<bool> {
        let spec = &record.spec.verify;
        let state = self.evidence.state(&spec.signal)?;
        // An undo is judged by what its action was judged by.
        let undone = record.undoes().and_then(|of| self.history().effects.get(of));
        let cause = undone.map_or(&record.spec.cause, |it| &it.record.spec.cause);
        let expected = cause.anomalies.first().map(|it| it.expected);
        verify::calm((&state.series(), state.staleness_s), spec.below, expected, spec.window_s, self.now)
    }

    /// Is the newest value of the signal that `policy` verifies by inside its target? `None`: no data, or none that is fresh.
    #[must_use]
    pub fn inside_target(&self, policy: &Policy, cause: &Cause) -> Option<bool> {
        let state = self.evidence.state(&policy.verify.signal).filter(|it| !it.stale)?;
        let (_, newest) = state.last()?;
        let expected = cause.anomalies.iter().find(|it| it.key == policy.verify.signal).map(|it| it.expected);
        match (policy.verify.below, expected) {
            (Some(below), _) => Some(newest < below),
            (None, Some((low, high))) => Some((low..=high).contains(&newest)),
            (None, None) => None,
        }
    }
}
