//! From a decision to a record with its checked change: the draft of a proposal.
//! A decision and the tree of today come in, a record and its commit go out; pushing it is one step later.

use jiff::Timestamp;

use super::error::TurnError;
use crate::ledger;
use crate::model::action::{
    API_VERSION, ActionResult, ActionSpec, ActionState, ActionStatus, Metadata, Purpose, RemediationAction,
    ResultChange, TimelineEvent,
};
use crate::model::change::{FieldChange, ProposedChange, PullRequestText};
use crate::model::decision::{DecidedAction, Decision};
use crate::model::forge::ForgeCapabilities;
use crate::model::history::History;
use crate::model::ids::{ActionId, BranchName, IncidentId, ObjectId};
use crate::model::limits::{GlobalLimits, LimitsInForce};
use crate::model::playbook::Plan;
use crate::model::policy::Policy;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::RepoTree;
use crate::observe::repository::Snapshot;
use crate::outside::git::{Mirror, check_path};
use crate::propose::{ProposalCommit, Writer};
use crate::render::{self, Around, CheckedChanges, Fresh, RenderRequest, Templates};

/// What a record and its change are made from. Nothing in it can write: `tars render` has one too.
#[derive(Debug)]
pub struct Sketch<'a> {
    pub history: &'a History,
    pub limits: &'a GlobalLimits,
    pub snapshot: &'a Snapshot,
    pub templates: &'a Templates,
    pub now: Timestamp,
    /// 32 random bytes per call.
    pub random: fn() -> Option<[u8; 32]>,
}

/// A record with its checked change, before there is a commit.
#[derive(Debug)]
pub struct Prepared {
    /// The ids of its commit are those of the base.
    pub record: RemediationAction,
    pub checked: CheckedChanges,
    pub message: String,
}

/// Where a proposal's commit goes.
#[derive(Debug, Clone)]
pub struct Place {
    pub branch: BranchName,
    /// The commit it stands on.
    pub base: ObjectId,
}

/// A sketch with the means to commit it.
#[derive(Debug)]
pub struct Drafting<'a> {
    pub sketch: Sketch<'a>,
    pub writer: &'a Writer,
    pub mirror: &'a Mirror,
}

/// A record whose branch commit is in the local object store.
#[derive(Debug)]
pub struct Draft {
    pub record: RemediationAction,
    pub commit: ProposalCommit,
}

impl Sketch<'_> {
    /// The record of a decision before anything is rendered; also what Observe mode records.
    #[must_use]
    pub fn record(&self, decision: &Decision, action: &DecidedAction, policy: &Policy) -> RemediationAction {
        let incident = &decision.incident;
        let seq = ledger::next_seq(self.history);
        RemediationAction {
            api_version: API_VERSION.to_owned(),
            kind: "RemediationAction".to_owned(),
            metadata: Metadata {
                name: ActionId::derive(&incident.fingerprint, seq),
                namespace: incident.target.namespace.clone(),
            },
            spec: ActionSpec {
                incident: self.incident_id(decision, action, seq),
                fingerprint: incident.fingerprint.clone(),
                policy: policy.name.clone(),
                policy_path: policy.path.clone(),
                policy_commit: policy.commit.clone(),
                mode: policy.mode,
                target: incident.target.clone(),
                playbook: action.playbook,
                purpose: action.purpose.clone(),
                plan: action.plan.clone(),
                risk: action.risk.clone(),
                cause: incident.cause.clone(),
                limits: LimitsInForce {
                    policy_per_hour: policy.max_executions_per_hour,
                    global_per_hour: self.limits.max_executions_per_hour,
                    cooldown_s: policy.cooldown_s,
                    max_open_proposals: self.limits.max_open_proposals,
                },
                verify: policy.verify.clone(),
                revert_after_s: policy.revert_after_s,
                auto_revert: policy.auto_revert,
                sentence: String::new(),
                rejected: action.rejected.clone(),
                budget: action.budget.clone(),
                change: None,
                pull_request: None,
            },
            status: ActionStatus {
                state: ActionState::Observed,
                phase: ActionState::Observed.phase(),
                result: None,
                merge: None,
                synced_at: None,
                verdict: None,
                holds: action.holds.clone(),
                expires_at: None,
                undone_by: None,
                timeline: Vec::new(),
            },
        }
    }

    /// An undo belongs to the incident of what it undoes.
    fn incident_id(&self, decision: &Decision, action: &DecidedAction, seq: u64) -> IncidentId {
        let (Purpose::Expire { of } | Purpose::Revert { of }) = &action.purpose else {
            return IncidentId::derive(&decision.incident.fingerprint, seq);
        };
        self.history.effects.get(of).map_or_else(
            || IncidentId::derive(&decision.incident.fingerprint, seq),
            |it| it.record.spec.incident.clone(),
        )
    }

    /// Observe mode: the decision as it would have been, and nothing else.
    #[must_use]
    pub fn observed(&self, mut record: RemediationAction) -> RemediationAction {
        record.spec.sentence = render::decision_sentence(&record);
        let text = record.spec.sentence.clone();
        record.status.timeline.push(TimelineEvent { at: self.now, text });
        record
    }

    /// Renders and checks the change of `record` on today's tree.
    ///
    /// # Errors
    /// The outer error is ours; the inner one says why the change must not be proposed.
    pub fn prepare(
        &self,
        mut record: RemediationAction,
        policy: &Policy,
        good: Option<&RepoTree>,
    ) -> Result<Result<Prepared, Vec<Reason>>, TurnError> {
        let request = RenderRequest {
            tree: &self.snapshot.tree,
            index: &self.snapshot.index,
            target: &record.spec.target,
            plan: &record.spec.plan,
            old_tree: good,
            allowed_paths: &policy.allowed_paths,
            write_to: &policy.write_to,
            fresh: Fresh { now: self.now, random: self.random },
        };
        let checked = match render::edits(&request) {
            Ok(checked) => checked,
            Err(reasons) => return Ok(Err(reasons)),
        };
        if self.history.is_refused(&record.spec.fingerprint, checked.change_id()) {
            let text = "this change was made for this cause before, did not help, and was undone";
            return Ok(Err(vec![Reason::new(ReasonCode::RevertedBefore, text)]));
        }
        // A path that git could hold and tars will not write must not stop the other policies.
        for (path, _) in checked.files() {
            if let Err(error) = check_path(path.as_str()) {
                return Ok(Err(vec![Reason::new(ReasonCode::PathNotAllowed, error.to_string())]));
            }
            let policies = &self.snapshot.policies_path;
            if path.as_str().strip_prefix(policies.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                let text = format!("{path} is a protected path: policies stand below {policies}");
                return Ok(Err(vec![Reason::new(ReasonCode::PathNotAllowed, text)]));
            }
        }
        self.fill(&mut record, &checked)?;
        if record.state() != ActionState::Proposed {
            record.enter(ActionState::Proposed, self.now, "proposed");
        }
        // The texts name the change and its reasons; the commit's own id cannot stand in its message.
        record.spec.sentence = render::decision_sentence(&record);
        let message = render::commit_message(&record, self.templates).map_err(TurnError::Text)?;
        Ok(Ok(Prepared { record, checked, message }))
    }

    fn fill(&self, record: &mut RemediationAction, checked: &CheckedChanges) -> Result<(), TurnError> {
        let base = self.snapshot.commit.clone();
        let branch = match &record.spec.change {
            Some(earlier) => earlier.branch.clone(),
            None => branch_name(record)?,
        };
        record.status.result = Some(ActionResult {
            success: false,
            changes: checked.fields().iter().map(|field| result_change(record, field)).collect(),
            revert_hint: revert_hint(&record.spec.plan, checked.fields()),
        });
        record.spec.change = Some(ProposedChange {
            change_id: checked.change_id().clone(),
            branch,
            // Known only after the commit is written; `Drafting::propose` puts both in.
            head: placeholder(&base),
            tree: placeholder(&base),
            base,
            fields: checked.fields().to_vec(),
            rendered: checked.rendered().to_vec(),
            unrendered: checked.unrendered().map(str::to_owned),
            recipients: checked.recipients().to_vec(),
            objects_compared: checked.objects_compared(),
            fields_changed: checked.fields_changed(),
            diff: checked.diff().to_owned(),
        });
        Ok(())
    }
}

impl Drafting<'_> {
    /// Renders and checks the change of `record` on today's tree, and commits it at the first of `places` whose
    /// files of the change are those of today's tree: there, the commit changes what was computed and nothing
    /// else. Without such a place it goes on today's tree, on the branch that it has.
    ///
    /// # Errors
    /// The outer error is ours or git's; the inner one says why the change must not be proposed.
    pub fn propose(
        &self,
        record: RemediationAction,
        policy: &Policy,
        good: Option<&RepoTree>,
        places: &[Place],
    ) -> Result<Result<Draft, Vec<Reason>>, TurnError> {
        let Prepared { mut record, checked, message } = match self.sketch.prepare(record, policy, good)? {
            Ok(prepared) => prepared,
            Err(reasons) => return Ok(Err(reasons)),
        };
        let Sketch { snapshot, templates, now, .. } = &self.sketch;
        let place = self.fitting(places, &checked)?;
        let base = place.map_or(&snapshot.commit, |it| &it.base);
        let commit =
            self.writer.commit(self.mirror, &checked, base, &message, *now).map_err(TurnError::Propose)?;
        if let Some(change) = &mut record.spec.change {
            change.base = base.clone();
            change.head = commit.head().clone();
            change.tree = commit.tree().clone();
            if let Some(place) = place {
                change.branch = place.branch.clone();
            }
        }
        record.spec.pull_request = Some(pull_request(&record, templates)?);
        Ok(Ok(Draft { record, commit }))
    }

    fn fitting<'p>(
        &self,
        places: &'p [Place],
        checked: &CheckedChanges,
    ) -> Result<Option<&'p Place>, TurnError> {
        let today = &self.sketch.snapshot.commit;
        let at = |commit: &ObjectId, path: &str| self.mirror.objects().entry(commit.as_str(), path);
        for place in places {
            let mut fits = true;
            for (path, _) in checked.files().iter().filter(|_| place.base != *today) {
                let there = at(&place.base, path.as_str()).map_err(TurnError::Objects)?;
                fits &= there == at(today, path.as_str()).map_err(TurnError::Objects)?;
            }
            if fits {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

/// The text as the ledger keeps it.
pub(super) fn pull_request(
    record: &RemediationAction,
    templates: &Templates,
) -> Result<PullRequestText, TurnError> {
    let text = render::pull_text(&[record], Around::default(), templates, &ForgeCapabilities::LOCAL)
        .map_err(TurnError::Text)?;
    Ok(PullRequestText { title: text.title, body: text.body })
}

fn placeholder(base: &ObjectId) -> ObjectId {
    base.clone()
}

/// `tars/<policy>/<target>/<action>`: deterministic, so every replica and every restart finds it again.
fn branch_name(record: &RemediationAction) -> Result<BranchName, TurnError> {
    let name = format!("tars/{}/{}/{}", record.spec.policy, record.spec.target.key(), record.id());
    Ok(BranchName::new(name)?)
}

fn result_change(record: &RemediationAction, field: &FieldChange) -> ResultChange {
    ResultChange {
        resource: field.resource.to_string(),
        action: record.spec.playbook.as_str().to_owned(),
        before: format!("{}={}", field.field, field.before()),
        after: format!("{}={}", field.field, field.after()),
    }
}

fn revert_hint(plan: &Plan, fields: &[FieldChange]) -> String {
    if let Plan::Restart { .. } = plan {
        return "nothing to undo: the annotation only marks the restart".to_owned();
    }
    let back = |field: &FieldChange| {
        let from = field.from.as_ref().map_or("(remove)", |_| field.before());
        format!("{} {from} in {}", field.field, field.file)
    };
    if fields.iter().any(FieldChange::is_sealed) {
        return "revert the commit: the value is encrypted".to_owned();
    }
    format!("set back {}", fields.iter().map(back).collect::<Vec<_>>().join(", "))
}
