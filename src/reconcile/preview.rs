//! One playbook on one target as it would be proposed now, without an incident and without writing anything.
//! A policy, a target and a clone come in; the record with its checked change and its texts, or the reasons why
//! there would be none, go out. No ledger is read: what a budget or a cooldown says is `tars explain`'s business.

use jiff::Timestamp;

use super::error::TurnError;
use super::open::{self, Prepared, Sketch};
use crate::decide::{self, Facts};
use crate::model::action::{Cause, Purpose, RemediationAction};
use crate::model::change::PullRequestText;
use crate::model::decision::{DecidedAction, Decision, Incident, Verb};
use crate::model::history::History;
use crate::model::ids::{Fingerprint, WorkloadRef};
use crate::model::limits::GlobalLimits;
use crate::model::playbook::PlaybookSpec;
use crate::model::policy::Policy;
use crate::model::reason::Reason;
use crate::observe::repository::{Repository, Snapshot};
use crate::outside::git::Objects;
use crate::outside::random;
use crate::render::{CheckedChanges, Templates};

/// What stands where an incident's cause would.
const CAUSE: &str = "preview";

/// What would be proposed.
#[derive(Debug)]
pub struct Preview {
    /// Its commit ids are those of the commit it was computed on.
    pub record: RemediationAction,
    pub checked: CheckedChanges,
    pub commit_message: String,
    pub pull_request: PullRequestText,
}

/// A clone, read and understood.
#[derive(Debug)]
pub struct Clone<'a> {
    pub repository: &'a mut Repository,
    pub objects: &'a Objects,
    pub snapshot: &'a Snapshot,
}

/// Computes the change that `spec` would make to `target` under `policy`.
///
/// # Errors
/// The outer error is ours or git's; the inner one says why nothing would be proposed.
pub fn preview(
    clone: &mut Clone<'_>,
    policy: &Policy,
    target: &WorkloadRef,
    spec: &PlaybookSpec,
    templates: &Templates,
    now: Timestamp,
) -> Result<Result<Preview, Vec<Reason>>, TurnError> {
    let (history, limits) = (History::default(), GlobalLimits::default());
    let cause = Cause {
        trigger: CAUSE.to_owned(),
        key: CAUSE.to_owned(),
        since: now,
        anomalies: Vec::new(),
        forecasts: Vec::new(),
        alerts: Vec::new(),
        alerts_total: 0,
        correlation: None,
    };
    let workload =
        match clone.repository.workload(clone.objects, clone.snapshot, target, &policy.write_to, true) {
            Ok(workload) => workload,
            Err(reason) => return Ok(Err(vec![reason])),
        };
    let facts = Facts { workload: Ok(workload.clone()), load: None, inside_target: None };
    let (plan, risk) = match decide::plan(spec, &workload, &facts, &cause, &history, now) {
        Ok(planned) => planned,
        Err(reason) => return Ok(Err(vec![reason])),
    };
    let good = match plan.good_commit() {
        Some(good) => Some(clone.repository.past_tree(clone.objects, good).map_err(TurnError::Repository)?),
        None => None,
    };
    let action = DecidedAction {
        playbook: spec.name(),
        purpose: Purpose::Remediate,
        plan,
        holds: decide::mode_and_risk(policy.mode, &risk),
        risk,
        rejected: Vec::new(),
        budget: Vec::new(),
    };
    let incident = Incident {
        fingerprint: Fingerprint::of(&policy.name, target, spec.name().as_str(), CAUSE),
        policy: policy.name.clone(),
        target: target.clone(),
        cause,
    };
    let decision = Decision { incident, verb: Verb::Propose(Box::new(action.clone())) };
    let (history, limits, snapshot) = (&history, &limits, clone.snapshot);
    let sketch = Sketch { history, limits, snapshot, templates, now, random: random::block };
    let record = sketch.record(&decision, &action, policy);
    let Prepared { record, checked, message } = match sketch.prepare(record, policy, good.as_ref())? {
        Ok(prepared) => prepared,
        Err(reasons) => return Ok(Err(reasons)),
    };
    let pull_request = open::pull_request(&record, templates)?;
    Ok(Ok(Preview { record, checked, commit_message: message, pull_request }))
}
