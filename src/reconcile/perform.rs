//! Carries out one step: exactly one push, then the history and the report follow what landed.
//! A step comes in, "wrote", "lost the race" or "refused" goes out. Nothing is decided here.

use jiff::Timestamp;

use super::error::TurnError;
use super::memory::{NextEntry, Recorded};
use super::open::{Drafting, Sketch};
use super::report::{Happening, TickReport};
use super::step::{About, Step};
use super::view::View;
use super::{Parts, read_others};
use crate::decide::MergePermit;
use crate::model::action::{ActionState, Purpose, RemediationAction};
use crate::model::change::ProposedChange;
use crate::model::decision::{Decision, Incident, Verb};
use crate::model::entry::EntryKind;
use crate::model::ids::Fingerprint;
use crate::model::playbook::Plan;
use crate::model::policy::{Mode, Policy};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::RepoTree;
use crate::outside::git::{Mirror, RefUpdate};
use crate::outside::random;
use crate::propose::Rider;
use crate::render;
use crate::telemetry::events::Event;

/// How a step ended.
#[derive(Debug)]
pub enum Done {
    Wrote,
    /// A new action was opened for this cause.
    Opened(Fingerprint),
    /// Somebody else wrote first: read again, decide again. With what git said.
    LostRace(About, String),
    /// Nothing was done, because it must be decided on what the remote has this very moment.
    ReadFirst,
    /// The change must not be made; the same decision is not taken again in this tick.
    Refused(Box<Incident>, Vec<Reason>),
    /// This step cannot be taken now; others can.
    Failed(About, TurnError),
}

/// Where a step is carried out.
#[derive(Debug)]
pub struct Performer<'a> {
    pub parts: &'a mut Parts,
    pub mirror: &'a Mirror,
    pub view: &'a View<'a>,
    pub policies: &'a [Policy],
    pub report: &'a mut TickReport,
    /// Gets the branches that a push moved.
    pub moved: &'a mut Vec<RefUpdate>,
    pub now: Timestamp,
}

impl Performer<'_> {
    /// Carries out `step`.
    ///
    /// # Errors
    /// When git cannot be run, or a record would break the ledger's rules.
    pub async fn perform(&mut self, step: Step) -> Result<Done, TurnError> {
        if self.parts.memory.history().seq.is_none() {
            return self.append(EntryKind::Genesis, None, None).await;
        }
        let about = step.about();
        match self.take(step).await {
            Err(error) if error.is_local_to_step() && about != About::Ledger => {
                Ok(Done::Failed(about, error))
            }
            other => other,
        }
    }

    async fn take(&mut self, step: Step) -> Result<Done, TurnError> {
        match step {
            Step::Checkpoint => self.append(EntryKind::Checkpoint, None, None).await,
            Step::Open(decision) => self.open(*decision).await,
            Step::Enter { record, drop_branch } => self.enter(*record, drop_branch).await,
            Step::Rebuild(record) => self.rebuild(*record).await,
            Step::Merge { record, permit } => self.merge(*record, &permit).await,
        }
    }

    async fn append(
        &mut self,
        kind: EntryKind,
        record: Option<RemediationAction>,
        rider: Option<&Rider<'_>>,
    ) -> Result<Done, TurnError> {
        // Of an action that is new, nobody will ask by its id: its cause is what may be decided again.
        let is_new = |it: &&RemediationAction| self.parts.memory.history().record(it.id()).is_none();
        let about = match &record {
            Some(record) if is_new(&record) => About::Cause(record.spec.fingerprint.clone()),
            Some(record) => About::Action(record.id().clone()),
            None => About::Ledger,
        };
        let Parts { memory, writer, .. } = &mut *self.parts;
        let next = NextEntry { kind, record: record.as_ref(), rider };
        let appended = memory.append(self.mirror, writer, &next, self.now).await?;
        self.report.pushes.push(appended.recorded);
        self.moved.extend(appended.moved);
        match appended.recorded {
            Recorded::Lost | Recorded::Unsettled => Ok(Done::LostRace(about, appended.said)),
            Recorded::Landed | Recorded::LandedUnsaid => {
                let at = self.now;
                // At once, not with the rest of the tick: after a crash the log must show what had landed.
                if let Some(record) = &record {
                    tell(record);
                }
                self.report.happenings.extend(record.map(|record| Happening { at, record }));
                Ok(Done::Wrote)
            }
        }
    }

    fn drafting(&self) -> Drafting<'_> {
        Drafting { sketch: self.sketch(), writer: &self.parts.writer, mirror: self.mirror }
    }

    fn sketch(&self) -> Sketch<'_> {
        Sketch {
            history: self.parts.memory.history(),
            limits: &self.parts.rules.limits,
            snapshot: &self.view.snapshot,
            templates: &self.parts.templates,
            now: self.now,
            random: random::block,
        }
    }

    async fn enter(&mut self, record: RemediationAction, drop_branch: bool) -> Result<Done, TurnError> {
        let kind = EntryKind::Transition(record.state());
        let change = record.spec.change.clone().filter(|_| drop_branch);
        let rider = change.as_ref().map(|change| Rider::Delete(&change.branch, &change.head));
        self.append(kind, Some(record), rider.as_ref()).await
    }

    async fn open(&mut self, decision: Decision) -> Result<Done, TurnError> {
        let fingerprint = decision.incident.fingerprint.clone();
        Ok(match self.try_open(decision).await? {
            Done::Wrote => Done::Opened(fingerprint),
            other => other,
        })
    }

    async fn try_open(&mut self, decision: Decision) -> Result<Done, TurnError> {
        let Verb::Propose(action) = &decision.verb else { return Ok(Done::Wrote) };
        let policy = self.policies.iter().find(|it| it.name == decision.incident.policy).cloned();
        let Some(policy) = policy.or_else(|| self.last_word(&action.purpose)) else {
            let gone = Reason::new(ReasonCode::PolicyChanged, "the policy is not in the repository any more");
            return Ok(Done::Refused(Box::new(decision.incident), vec![gone]));
        };
        let record = self.sketch().record(&decision, action, &policy);
        if policy.mode == Mode::Observe {
            let record = self.sketch().observed(record);
            return self.append(EntryKind::Transition(ActionState::Observed), Some(record), None).await;
        }
        let good = past_tree(&action.plan, self.parts, self.view)?;
        let charts = self.parts.repository.charts();
        let propose = || self.drafting().propose(record.clone(), &policy, good.as_ref());
        match charts.settle(propose).await? {
            Err(reasons) => match self.overwritten(&action.purpose) {
                Some(ended) => self.enter(ended, false).await,
                None => Ok(Done::Refused(Box::new(decision.incident), reasons)),
            },
            Ok(draft) => {
                let Some(change) = draft.record.spec.change.clone() else { return Ok(Done::Wrote) };
                let contested = self.contested(&change, &action.plan).await?;
                if !contested.is_empty() {
                    return Ok(Done::Refused(Box::new(decision.incident), contested));
                }
                let rider = Rider::Create(&change.branch, &draft.commit);
                let kind = EntryKind::Transition(ActionState::Proposed);
                self.append(kind, Some(draft.record), Some(&rider)).await
            }
        }
    }

    /// Why to give way to others. When their branches cannot be read, a proposal is opened all the same: it
    /// asks a person, and before an automatic merge the question is asked again.
    async fn contested(&self, change: &ProposedChange, plan: &Plan) -> Result<Vec<Reason>, TurnError> {
        let others = match &self.view.others {
            Some(others) => Some(others.clone()),
            None => read_others(self.mirror, &self.parts.writer).await,
        };
        let others = others.and_then(Result::ok).unwrap_or_default();
        self.view.contested(&others, &change.fields, plan, self.now)
    }

    /// What a policy that is gone still says about the undo of its own action: that a person may merge it,
    /// and that it touches the files of that action and no others.
    fn last_word(&self, purpose: &Purpose) -> Option<Policy> {
        let (Purpose::Expire { of } | Purpose::Revert { of }) = purpose else { return None };
        let spec = &self.parts.memory.history().effects.get(of)?.record.spec;
        let mut files: Vec<_> = spec.change.as_ref()?.fields.iter().map(|it| it.file.clone()).collect();
        files.dedup();
        Some(Policy {
            name: spec.policy.clone(),
            namespace: spec.target.namespace.clone(),
            path: spec.policy_path.clone(),
            commit: spec.policy_commit.clone(),
            mode: Mode::Propose,
            suspend: false,
            triggers: Vec::new(),
            actions: Vec::new(),
            allowed_resources: Vec::new(),
            allowed_paths: files,
            write_to: Vec::new(),
            cooldown_s: spec.limits.cooldown_s,
            max_executions_per_hour: spec.limits.policy_per_hour,
            verify: spec.verify.clone(),
            revert_after_s: None,
            auto_revert: false,
        })
    }

    /// The last entry of an action that cannot be undone any more because nothing of it is left: somebody
    /// wrote something else since. Without it, its target would wait for that undo for ever.
    fn overwritten(&self, purpose: &Purpose) -> Option<RemediationAction> {
        let (Purpose::Expire { of } | Purpose::Revert { of }) = purpose else { return None };
        let effect = self.parts.memory.history().effects.get(of)?;
        let fields = &effect.record.spec.change.as_ref()?.fields;
        if fields.iter().any(|field| render::stands(&self.view.snapshot.index, field)) {
            return None;
        }
        let mut record = effect.record.clone();
        let state = if record.did_not_help() { ActionState::Reverted } else { ActionState::Expired };
        record.enter(state, self.now, "somebody changed the same fields since: nothing is left to undo");
        Some(record)
    }

    /// Computes a waiting proposal again on today's tree; one that became pointless is closed.
    async fn rebuild(&mut self, record: RemediationAction) -> Result<Done, TurnError> {
        let Some(old) = record.spec.change.clone() else { return Ok(Done::Wrote) };
        let policy = self.policies.iter().find(|it| it.name == record.spec.policy).cloned();
        let Some(policy) = policy else {
            let reason =
                Reason::new(ReasonCode::PolicyChanged, "the policy is not in the repository any more");
            return self.close(record, reason).await;
        };
        let good = past_tree(&record.spec.plan, self.parts, self.view)?;
        let charts = self.parts.repository.charts();
        let propose = || self.drafting().propose(record.clone(), &policy, good.as_ref());
        match charts.settle(propose).await? {
            Err(reasons) => {
                let text = reasons.first().map_or_else(String::new, ToString::to_string);
                let text = format!("the files were changed on the watched branch meanwhile ({text})");
                self.close(record, Reason::new(ReasonCode::BaseMoved, text)).await
            }
            // What was proposed under this id is fixed; another change needs a decision of its own.
            Ok(draft)
                if draft.record.spec.change.as_ref().is_none_or(|new| new.change_id != old.change_id) =>
            {
                let text = "the watched branch now wants the change in another place; decided anew";
                self.close(record, Reason::new(ReasonCode::BaseMoved, text)).await
            }
            Ok(mut draft) => {
                let text = format!("rebuilt on {}", self.view.main().short());
                draft.record.enter(ActionState::Proposed, self.now, text);
                let rider = Rider::Rebuild(&old.branch, &draft.commit, &old.head);
                let kind = EntryKind::Transition(ActionState::Proposed);
                self.append(kind, Some(draft.record), Some(&rider)).await
            }
        }
    }

    async fn close(&mut self, mut record: RemediationAction, reason: Reason) -> Result<Done, TurnError> {
        record.enter(ActionState::Closed, self.now, reason.to_string());
        record.status.holds = vec![reason];
        self.enter(record, true).await
    }

    async fn merge(&mut self, record: RemediationAction, permit: &MergePermit) -> Result<Done, TurnError> {
        let main = self.parts.writer.main.clone();
        let kind = EntryKind::Transition(record.state());
        self.append(kind, Some(record), Some(&Rider::Merge(&main, permit))).await
    }
}

fn tell(record: &RemediationAction) {
    let timeline = &record.status.timeline;
    let why = match &timeline[..] {
        [_] => render::headline(record),
        _ => timeline.last().map_or_else(String::new, |event| event.text.clone()),
    };
    Event::Moved {
        action: record.id(),
        policy: &record.spec.policy,
        target: &record.spec.target,
        state: record.state(),
        why: &why,
    }
    .emit();
}

/// The tree a rollback goes back to.
fn past_tree(plan: &Plan, parts: &mut Parts, view: &View<'_>) -> Result<Option<RepoTree>, TurnError> {
    let Some(good) = plan.good_commit() else { return Ok(None) };
    parts.repository.past_tree(view.objects, good).map(Some).map_err(TurnError::Repository)
}
