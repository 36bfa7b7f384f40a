//! Carries out one step: exactly one push, then the history and the report follow what landed.
//! A step comes in, "wrote", "lost the race" or "refused" goes out. Nothing is decided here.

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::Parts;
use super::batch;
use super::branches::read_others;
use super::error::TurnError;
use super::follow;
use super::memory::{NextEntry, Recorded};
use super::open::{Draft, Drafting, Place, Sketch};
use super::report::{Happening, TickReport};
use super::step::{About, Step};
use super::view::View;
use crate::decide::MergePermit;
use crate::model::action::{ActionState, Purpose, RemediationAction};
use crate::model::change::ProposedChange;
use crate::model::decision::{Decision, Incident, Verb};
use crate::model::entry::EntryKind;
use crate::model::ids::{BranchName, Fingerprint, ObjectId};
use crate::model::playbook::Plan;
use crate::model::policy::{Mode, Policy};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::request::Request;
use crate::model::tree::RepoTree;
use crate::outside::git::{Mirror, RefUpdate};
use crate::outside::random;
use crate::propose::{ProposalCommit, Rider};
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
    pub fn perform(&mut self, step: Step) -> BoxFuture<'_, Result<Done, TurnError>> {
        // On the heap, as what follows: what a step holds across its waits would fill a thread's stack.
        Box::pin(self.carry_out(step))
    }

    async fn carry_out(&mut self, step: Step) -> Result<Done, TurnError> {
        if self.parts.memory.history().seq.is_none() {
            return self.mark(EntryKind::Genesis).await;
        }
        let about = step.about();
        match self.take(step).await {
            Err(error) if error.is_local_to_step() && about != About::Ledger => {
                Ok(Done::Failed(about, error))
            }
            other => other,
        }
    }

    fn take(&mut self, step: Step) -> BoxFuture<'_, Result<Done, TurnError>> {
        match step {
            Step::Checkpoint => Box::pin(self.mark(EntryKind::Checkpoint)),
            Step::Ask(request) => Box::pin(self.ask(request)),
            Step::Open(decision) => Box::pin(self.open(*decision)),
            Step::Enter { records, drop_branch } => Box::pin(self.enter(records, drop_branch)),
            Step::Rebuild { left, stay, branch, tip } => Box::pin(self.rebuild(left, stay, branch, tip)),
            Step::Merge { record, permit } => Box::pin(self.merge(*record, permit)),
        }
    }

    /// An entry without a record.
    async fn mark(&mut self, kind: EntryKind) -> Result<Done, TurnError> {
        self.append(About::Ledger, &[NextEntry::mark(kind)], &[]).await
    }

    async fn ask(&mut self, request: Request) -> Result<Done, TurnError> {
        self.append(About::Ledger, &[NextEntry::asked(&request)], &[]).await
    }

    /// The records' entries, in order, in one push with the riders.
    fn record<'a>(
        &'a mut self,
        records: Vec<RemediationAction>,
        riders: &'a [Rider<'a>],
    ) -> BoxFuture<'a, Result<Done, TurnError>> {
        Box::pin(self.record_all(records, riders))
    }

    async fn record_all(
        &mut self,
        records: Vec<RemediationAction>,
        riders: &[Rider<'_>],
    ) -> Result<Done, TurnError> {
        // Of an action that is new, nobody will ask by its id: its cause is what may be decided again.
        let is_new = |it: &RemediationAction| self.parts.memory.history().record(it.id()).is_none();
        let about = match &records[..] {
            [one] if is_new(one) => About::Cause(one.spec.fingerprint.clone()),
            all => About::actions(all),
        };
        let entries: Vec<_> = records.iter().map(NextEntry::transition).collect();
        let done = self.append(about, &entries, riders).await?;
        if let Done::Wrote = done {
            let at = self.now;
            // At once, not with the rest of the tick: after a crash the log must show what had landed.
            records.iter().for_each(tell);
            self.report.happenings.extend(records.into_iter().map(|record| Happening { at, record }));
        }
        Ok(done)
    }

    async fn append(
        &mut self,
        about: About,
        entries: &[NextEntry<'_>],
        riders: &[Rider<'_>],
    ) -> Result<Done, TurnError> {
        let Parts { memory, writer, .. } = &mut *self.parts;
        let appended = memory.append(self.mirror, writer, entries, riders, self.now).await?;
        self.report.pushes.push(appended.recorded);
        self.moved.extend(appended.moved);
        Ok(match appended.recorded {
            Recorded::Lost | Recorded::Unsettled => Done::LostRace(about, appended.said),
            Recorded::Landed | Recorded::LandedUnsaid => Done::Wrote,
        })
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

    async fn enter(&mut self, records: Vec<RemediationAction>, drop_branch: bool) -> Result<Done, TurnError> {
        let last = records.last().filter(|_| drop_branch);
        let change = last.and_then(|it| it.spec.change.clone());
        let rider = change.as_ref().map(|change| Rider::Delete(&change.branch, &change.head));
        self.record(records, rider.as_slice()).await
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
            let gone = Reason::new(ReasonCode::PolicyChanged, "the policy is not in force any more");
            return Ok(Done::Refused(Box::new(decision.incident), vec![gone]));
        };
        let record = self.sketch().record(&decision, action, &policy);
        if policy.mode == Mode::Observe {
            let record = self.sketch().observed(record);
            return self.record(vec![record], &[]).await;
        }
        let good = past_tree(&action.plan, self.parts, self.view)?;
        let places = match &self.parts.rules.batch {
            Some(limits) => batch::places(self.view, self.parts.memory.history(), limits, &record, self.now)?,
            None => Vec::new(),
        };
        let charts = self.parts.repository.charts();
        let propose = || self.drafting().propose(record.clone(), &policy, good.as_ref(), &places);
        match charts.settle(propose).await? {
            Err(reasons) => match self.overwritten(&action.purpose) {
                Some(ended) => self.enter(vec![ended], false).await,
                None => Ok(Done::Refused(Box::new(decision.incident), reasons)),
            },
            Ok(draft) => {
                let Some(change) = draft.record.spec.change.clone() else { return Ok(Done::Wrote) };
                let contested = self.contested(&change, &action.plan).await?;
                if !contested.is_empty() {
                    return Ok(Done::Refused(Box::new(decision.incident), contested));
                }
                let rider = if change.base == *self.view.main() {
                    Rider::Create(&change.branch, &draft.commit)
                } else {
                    Rider::Rebuild(&change.branch, &draft.commit, &change.base)
                };
                self.record(vec![draft.record], &[rider]).await
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

    /// Records those that left a branch and computes those that stay again on today's tree, one on top of the
    /// other where they stood so; what became pointless is closed. All of it is one push.
    async fn rebuild(
        &mut self,
        left: Vec<RemediationAction>,
        stay: Vec<RemediationAction>,
        branch: BranchName,
        tip: ObjectId,
    ) -> Result<Done, TurnError> {
        let mut records = left;
        let mut built: Vec<(BranchName, ProposalCommit)> = Vec::new();
        for record in stay {
            let below = built
                .last()
                .map(|(branch, commit)| Place { branch: branch.clone(), base: commit.head().clone() });
            let draft = match self.again(&record, below).await? {
                Ok(draft) => draft,
                Err(reason) => {
                    records.push(follow::closed(self.now, &record, reason));
                    continue;
                }
            };
            let Some(change) = &draft.record.spec.change else { continue };
            match built.last_mut() {
                Some((branch, commit)) if *branch == change.branch => *commit = draft.commit,
                _ => built.push((change.branch.clone(), draft.commit)),
            }
            records.push(draft.record);
        }
        let mut riders = Vec::new();
        for (name, commit) in &built {
            riders.push(if *name == branch {
                Rider::Rebuild(name, commit, &tip)
            } else {
                Rider::Create(name, commit)
            });
        }
        if built.iter().all(|(name, _)| *name != branch) {
            riders.push(Rider::Delete(&branch, &tip));
        }
        self.record(records, &riders).await
    }

    /// A proposal computed again on today's tree, or why it became pointless.
    async fn again(
        &mut self,
        record: &RemediationAction,
        below: Option<Place>,
    ) -> Result<Result<Draft, Reason>, TurnError> {
        let pointless = |code, text: String| Ok(Err(Reason::new(code, text)));
        let Some(old) = &record.spec.change else {
            return pointless(ReasonCode::ObserveOnly, "the record proposes no change".to_owned());
        };
        let policy = self.policies.iter().find(|it| it.name == record.spec.policy).cloned();
        let Some(policy) = policy else {
            let text = "the policy is not in force any more";
            return pointless(ReasonCode::PolicyChanged, text.to_owned());
        };
        let good = past_tree(&record.spec.plan, self.parts, self.view)?;
        let places = batch::places_again(record, old, below, self.view.main())?;
        let charts = self.parts.repository.charts();
        let propose = || self.drafting().propose(record.clone(), &policy, good.as_ref(), &places);
        match charts.settle(propose).await? {
            Err(reasons) => {
                let text = reasons.first().map_or_else(String::new, ToString::to_string);
                let text = format!("the files were changed on the watched branch meanwhile ({text})");
                pointless(ReasonCode::BaseMoved, text)
            }
            // What was proposed under this id is fixed; another change needs a decision of its own.
            Ok(draft)
                if draft.record.spec.change.as_ref().is_none_or(|new| new.change_id != old.change_id) =>
            {
                let text = "the watched branch now wants the change in another place; decided anew";
                pointless(ReasonCode::BaseMoved, text.to_owned())
            }
            Ok(mut draft) => {
                let text = format!("rebuilt on {}", self.view.main().short());
                draft.record.enter(ActionState::Proposed, self.now, text);
                Ok(Ok(draft))
            }
        }
    }

    async fn merge(&mut self, record: RemediationAction, permit: MergePermit) -> Result<Done, TurnError> {
        if self.parts.desk.is_some() {
            return Box::pin(self.merge_through_forge(&record, &permit)).await;
        }
        let main = self.parts.writer.main.clone();
        self.record(vec![record], &[Rider::Merge(&main, &permit)]).await
    }

    /// Asks the forge to merge what is reserved. Nothing is recorded yet: the next look sees what the watched branch
    /// got, by whoever, and records that.
    async fn merge_through_forge(
        &mut self,
        record: &RemediationAction,
        permit: &MergePermit,
    ) -> Result<Done, TurnError> {
        let commit = self.mirror.objects().commit(permit.head().as_str()).map_err(TurnError::Objects)?;
        let (title, message) = commit.message.split_once('\n').unwrap_or((&commit.message, ""));
        let Some(desk) = &mut self.parts.desk else { return Ok(Done::ReadFirst) };
        match desk.merge(record.id(), permit, (title, message.trim()), self.now).await {
            Ok(()) => Ok(Done::ReadFirst),
            Err(error) => Ok(Done::Failed(About::actions([record]), TurnError::Forge(error))),
        }
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
