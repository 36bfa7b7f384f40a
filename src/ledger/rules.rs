//! What makes an entry legal after a history: every rule, each answered on its own, so that a fold stops at
//! the first broken one and an audit lists them all. An entry and a history come in, violations go out.

use jiff::Timestamp;
use thiserror::Error;

use super::checkpoint;
use crate::model::action::{API_VERSION, ActionSpec, ActionState, MergedBy, Purpose, RemediationAction};
use crate::model::change::ProposedChange;
use crate::model::entry::{Entry, EntryKind, Signer, Subject};
use crate::model::forecast::Forecast;
use crate::model::history::{Effect, History, plan_id};
use crate::model::ids::{ActionId, Fingerprint, IncidentId};
use crate::model::playbook::Plan;
use crate::model::policy::Mode;
use crate::model::request::Request;
use crate::model::verdict::Outcome;

/// An entry may lie at most this many seconds in the reader's future.
pub const FUTURE_LIMIT_S: i64 = 120;

/// The rules of a ledger, and of its relation to the watched branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Signed by a key of the allow-list.
    Signature,
    /// One parent: the entry before. No merges, no second root.
    Linear,
    /// Numbers follow each other.
    Sequence,
    /// Names the entry before by its id.
    Previous,
    /// Belongs to the same repository as the genesis.
    Repository,
    /// Not older than the entry before, not in the future.
    Time,
    /// Carries exactly the parts that its kind has.
    Shape,
    /// Envelope and record say the same.
    Envelope,
    /// Ids are derived as they must be.
    Identity,
    /// The state machine allows it.
    Transition,
    /// What was decided does not change afterwards.
    Fixed,
    /// The record's status agrees with its state.
    Status,
    /// One open action per target.
    OneOpenPerTarget,
    /// The limit of open proposals.
    OpenProposals,
    /// An undo belongs to an effect in force, once.
    Undo,
    /// A reverted change does not come back.
    RevertedBefore,
    /// A reservation is low risk and in AutoMerge mode.
    Reservation,
    /// Executions per hour, per policy and over all.
    Budget,
    /// Time between two executions on one target.
    Cooldown,
    /// What a person asks for is bounded and possible.
    Request,
    /// A checkpoint equals the fold.
    Checkpoint,
    /// A commit of the watched branch that looks like ours has an entry.
    MainCommit,
    /// A merge that is recorded is on the watched branch.
    MergeOnMain,
}

/// An entry broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("entry {seq} breaks {rule:?}: {detail}")]
pub struct Violation {
    pub seq: u64,
    pub rule: Rule,
    pub detail: String,
}

/// What an action entry must repeat in its envelope.
#[must_use]
pub fn subject_of(record: &RemediationAction) -> Subject {
    Subject {
        action: record.id().clone(),
        incident: record.spec.incident.clone(),
        fingerprint: record.spec.fingerprint.clone(),
        policy: record.spec.policy.clone(),
        target: record.spec.target.clone(),
        tree: record.spec.change.as_ref().map(|change| change.tree.clone()),
    }
}

/// Refuses an entry that lies more than [`FUTURE_LIMIT_S`] after `now`. The fold cannot know `now`; whoever
/// reads a ledger asks this for its newest entry, and stops all writes when it fails: an entry from the future
/// would let the windows of every budget run out early.
///
/// # Errors
/// [`Violation`] of [`Rule::Time`].
pub fn check_not_future(entry: &Entry, now: Timestamp) -> Result<(), Violation> {
    let ahead = entry.envelope.time.duration_since(now).as_secs();
    if ahead <= FUTURE_LIMIT_S {
        return Ok(());
    }
    let detail = format!("its time {} is {ahead} s after the clock ({now})", entry.envelope.time);
    Err(Violation { seq: entry.envelope.seq, rule: Rule::Time, detail })
}

/// Every rule that `entry` breaks on top of `history`.
#[must_use]
pub fn violations(history: &History, entry: &Entry) -> Vec<Violation> {
    let mut check = Check { history, entry, found: Vec::new() };
    check.chain();
    match (&entry.envelope.kind, &entry.record) {
        (EntryKind::Transition(state), Some(record)) => check.transition(*state, record),
        (EntryKind::Checkpoint, _) => check.checkpoint(),
        (EntryKind::Asked, _) => check.request(entry.request.as_ref()),
        _ => {}
    }
    check.found
}

struct Check<'a> {
    history: &'a History,
    entry: &'a Entry,
    found: Vec<Violation>,
}

impl Check<'_> {
    fn must(&mut self, holds: bool, rule: Rule, detail: impl FnOnce() -> String) {
        if !holds {
            self.found.push(Violation { seq: self.entry.envelope.seq, rule, detail: detail() });
        }
    }

    fn chain(&mut self) {
        let (history, entry) = (self.history, self.entry);
        let envelope = &entry.envelope;
        let signed = matches!(entry.signer, Signer::Allowed(_));
        self.must(signed, Rule::Signature, || match &entry.signer {
            Signer::Rejected(why) => format!("its signature is not accepted: {why}"),
            _ => "it is not signed".to_owned(),
        });
        let parents: Vec<_> = history.head_commit.iter().collect();
        self.must(entry.parents.iter().collect::<Vec<_>>() == parents, Rule::Linear, || {
            format!("it has {} parents, or not the entry before", entry.parents.len())
        });
        let expected = history.seq.map_or(Some(0), |seq| seq.checked_add(1));
        self.must(Some(envelope.seq) == expected, Rule::Sequence, || {
            format!("the number after {:?} is not {}", history.seq, envelope.seq)
        });
        self.must(envelope.prev == history.head_entry, Rule::Previous, || {
            format!("it names {:?} as the entry before", envelope.prev.as_ref().map(ToString::to_string))
        });
        self.must(Some(&envelope.id) != history.head_entry.as_ref(), Rule::Previous, || {
            "it has the id of the entry before".to_owned()
        });
        self.must(history.repo.as_ref().is_none_or(|it| *it == envelope.repo), Rule::Repository, || {
            format!("it belongs to {}", envelope.repo)
        });
        self.must(envelope.time >= history.time, Rule::Time, || {
            format!("its time {} is before {}", envelope.time, history.time)
        });
        let first = history.seq.is_none();
        let (subject, record, stored, asked) = match envelope.kind {
            EntryKind::Genesis => (false, false, false, false),
            EntryKind::Transition(_) => (true, true, false, false),
            EntryKind::Checkpoint => (false, false, true, false),
            EntryKind::Asked => (false, false, false, true),
        };
        let shape = first == (envelope.kind == EntryKind::Genesis)
            && envelope.subject.is_some() == subject
            && entry.record.is_some() == record
            && entry.request.is_some() == asked
            && entry.checkpoint.is_some() == stored;
        self.must(shape, Rule::Shape, || {
            format!("it does not have the parts of a {}", envelope.kind.as_str())
        });
    }

    fn checkpoint(&mut self) {
        let folded = checkpoint::to_json(self.history);
        let equal =
            matches!((&self.entry.checkpoint, &folded), (Some(stored), Ok(folded)) if stored == folded);
        self.must(equal, Rule::Checkpoint, || "it does not equal the fold of the entries before".to_owned());
    }

    fn request(&mut self, request: Option<&Request>) {
        let Some(request) = request else { return };
        if let Err(why) = request.check(self.history, self.entry.envelope.time) {
            self.must(false, Rule::Request, || why.to_string());
        }
    }

    fn transition(&mut self, state: ActionState, record: &RemediationAction) {
        let same =
            self.entry.envelope.subject.as_ref() == Some(&subject_of(record)) && record.state() == state;
        self.must(same, Rule::Envelope, || "trailers and record differ".to_owned());
        self.status(record);
        match self.history.record(record.id()) {
            Some(before) => self.successor(before, record),
            None => self.first(record),
        }
        if state == ActionState::MergeReserved {
            self.reservation(record);
        }
    }

    /// The first entry of an action.
    fn first(&mut self, record: &RemediationAction) {
        let (history, spec) = (self.history, &record.spec);
        let seq = self.entry.envelope.seq;
        let observed = record.state() == ActionState::Observed;
        self.must(observed || record.state() == ActionState::Proposed, Rule::Transition, || {
            format!(
                "{} is not open, and an action does not start as {}",
                record.id(),
                record.state().as_str()
            )
        });
        self.must(*record.id() == ActionId::derive(&spec.fingerprint, seq), Rule::Identity, || {
            format!("{} is not the id of its fingerprint at this position", record.id())
        });
        let derived = Fingerprint::of(&spec.policy, &spec.target, spec.playbook.as_str(), &spec.cause.key);
        self.must(spec.fingerprint == derived, Rule::Identity, || {
            "its fingerprint is not that of its policy, target, playbook and cause".to_owned()
        });
        let of = record.undoes().and_then(|of| history.effects.get(of));
        let incident = of.is_some_and(|it| it.record.spec.incident == spec.incident)
            || spec.incident == IncidentId::derive(&spec.fingerprint, seq);
        self.must(incident, Rule::Identity, || format!("{} is not its incident's id", spec.incident));
        let mode = observed == (spec.mode == Mode::Observe) && observed == spec.change.is_none();
        self.must(mode, Rule::Shape, || "only Observe mode records an action without a change".to_owned());
        let constant = record.api_version == API_VERSION
            && record.kind == "RemediationAction"
            && record.metadata.namespace == spec.target.namespace;
        self.must(constant, Rule::Shape, || {
            "it is not a RemediationAction of its target's namespace".to_owned()
        });
        if observed {
            return;
        }
        if let Some(change) = &spec.change {
            self.branch(record, change);
            let again = history.is_refused(&spec.fingerprint, &change.change_id)
                || history.is_refused(&spec.fingerprint, &plan_id(&spec.target, &spec.plan));
            self.must(!again, Rule::RevertedBefore, || "the change was reverted for this cause".to_owned());
        }
        let open = history.open_for(&spec.target);
        self.must(open.is_none(), Rule::OneOpenPerTarget, || {
            format!("{} is open already for {}", open.map_or("", |it| it.id().as_str()), spec.target)
        });
        let (waiting, limit) = (history.open_proposals(), spec.limits.max_open_proposals);
        self.must(waiting < limit, Rule::OpenProposals, || {
            format!("{waiting} of {limit} proposals are open")
        });
        self.undo(record, of);
    }

    /// The branch is the action's own, or that of a batch whose newest commit the change stands on; and what
    /// may merge by itself waits for nobody.
    fn branch(&mut self, record: &RemediationAction, change: &ProposedChange) {
        let joins = || {
            let line = self.history.waiting_on(&change.branch);
            let others = line.iter().filter(|it| it.id() != record.id());
            let changes: Vec<_> = others.filter_map(|it| it.spec.change.as_ref()).collect();
            change.is_on_batch()
                && changes.iter().any(|it| it.head == change.base)
                && changes.iter().all(|it| it.base != change.base)
        };
        let legal = change.is_on_own_branch(record.id()) || joins();
        self.must(legal, Rule::Identity, || {
            format!("branch {} is neither the action's own nor one it may join there", change.branch)
        });
        self.must(!change.is_on_batch() || !record.spec.is_automatic(), Rule::Identity, || {
            "an action that may merge by itself has a branch of its own".to_owned()
        });
    }

    fn undo(&mut self, record: &RemediationAction, of: Option<&Effect>) {
        let plan = matches!(record.spec.plan, Plan::Undo { .. });
        let legal = match (&record.spec.purpose, of) {
            (Purpose::Remediate, _) => !plan,
            (purpose, Some(effect)) => {
                let revert = matches!(purpose, Purpose::Revert { .. });
                let asked = self.history.reverts.contains_key(effect.record.id());
                plan && revert == (effect.record.did_not_help() || asked)
                    && effect.undo.is_none()
                    && !effect.kept
                    && effect.record.spec.target == record.spec.target
                    && effect.record.spec.policy == record.spec.policy
            }
            (_, None) => false,
        };
        self.must(legal, Rule::Undo, || {
            "it does not undo an effect in force that nobody undoes yet".to_owned()
        });
    }

    /// A later entry of a known action.
    fn successor(&mut self, before: &RemediationAction, after: &RemediationAction) {
        let (from, to) = (before.state(), after.state());
        self.must(from.may_become(to), Rule::Transition, || {
            format!("{} cannot go from {} to {}", after.id(), from.as_str(), to.as_str())
        });
        let same = before.metadata == after.metadata
            && before.api_version == after.api_version
            && before.kind == after.kind
            && after.spec == allowed_change(&before.spec, &after.spec, to);
        self.must(same, Rule::Fixed, || format!("{} is no longer what was proposed", after.id()));
        if let (Some(old), Some(new)) = (&before.spec.change, &after.spec.change)
            && (&old.branch, &old.head, &old.base) != (&new.branch, &new.head, &new.base)
        {
            self.branch(after, new);
        }
        let (old, new) = (&before.status, &after.status);
        self.must(new.timeline.starts_with(&old.timeline), Rule::Fixed, || {
            "its timeline was rewritten".to_owned()
        });
        let kept = (old.merge.is_none() || old.merge == new.merge)
            && (old.verdict.is_none() || old.verdict == new.verdict)
            && (old.synced_at.is_none() || old.synced_at == new.synced_at);
        self.must(kept, Rule::Fixed, || "its merge, sync or verdict was rewritten".to_owned());
        if to == ActionState::Merged {
            let by_tars = new.merge.as_ref().is_some_and(|merge| merge.by == MergedBy::Tars);
            self.must(!by_tars || from == ActionState::MergeReserved, Rule::Reservation, || {
                "tars merged without a reservation".to_owned()
            });
        }
        if let Some(undo) = &new.undone_by {
            let known = self.history.effects.get(after.id());
            let merged = known.is_some_and(|it| it.undone && it.undo.as_ref() == Some(undo));
            self.must(merged, Rule::Undo, || format!("{undo} did not undo it"));
        }
    }

    fn status(&mut self, record: &RemediationAction) {
        use ActionState as S;
        let (state, status) = (record.state(), &record.status);
        let merged = !matches!(state, S::Observed | S::Proposed | S::MergeReserved | S::Closed);
        let verdict = match (state, status.verdict.as_ref().map(|it| it.outcome)) {
            (S::Verified, outcome) => outcome == Some(Outcome::Recovered),
            (S::NotRecovered, outcome) => outcome == Some(Outcome::NotRecovered),
            (S::Worse, outcome) => outcome == Some(Outcome::Worse),
            (S::Unknown, outcome) => outcome.is_none_or(|it| it == Outcome::Unknown),
            (S::Reverted | S::Expired, _) => true,
            (_, outcome) => outcome.is_none(),
        };
        let sound = status.phase == state.phase()
            && status.merge.is_some() == merged
            && verdict
            && (state != S::Synced || status.synced_at.is_some())
            && (status.undone_by.is_none() || matches!(state, S::Reverted | S::Expired))
            && !status.timeline.is_empty();
        self.must(sound, Rule::Status, || {
            format!("phase, merge, verdict or timeline do not fit {}", state.as_str())
        });
        self.must(is_finite(record), Rule::Status, || "a number of its evidence is not finite".to_owned());
    }

    fn reservation(&mut self, record: &RemediationAction) {
        let (history, spec, id) = (self.history, &record.spec, record.id());
        let now = self.entry.envelope.time;
        self.must(spec.is_automatic(), Rule::Reservation, || {
            "only a low-risk action in AutoMerge mode is reserved".to_owned()
        });
        let own = history.executions_within(now, Some(&spec.policy), Some(id)).used;
        let all = history.executions_within(now, None, Some(id)).used;
        let limits = &spec.limits;
        self.must(own < limits.policy_per_hour, Rule::Budget, || {
            format!("{own} of {} executions of {} in the hour before", limits.policy_per_hour, spec.policy)
        });
        self.must(all < limits.global_per_hour, Rule::Budget, || {
            format!("{all} of {} executions in the hour before", limits.global_per_hour)
        });
        let cooling = match spec.purpose {
            Purpose::Remediate => history.cooling_until(&spec.target, limits.cooldown_s, Some(id), now),
            Purpose::Expire { .. } | Purpose::Revert { .. } => None,
        };
        self.must(cooling.is_none(), Rule::Cooldown, || {
            format!("the cooldown of {} ends at {}", spec.target, cooling.unwrap_or(now))
        });
    }
}

/// What `before` may look like in an entry to state `to` that carries `after`: the text of the pull request
/// follows the story; a rebuild (back to Proposed) also renews the evidence and the ids of the computed
/// commit, but neither the change itself nor its branch, unless it leaves the branch of a batch.
fn allowed_change(before: &ActionSpec, after: &ActionSpec, to: ActionState) -> ActionSpec {
    let mut spec = before.clone();
    spec.pull_request.clone_from(&after.pull_request);
    if to != ActionState::Proposed {
        return spec;
    }
    spec.sentence.clone_from(&after.sentence);
    spec.budget.clone_from(&after.budget);
    spec.cause.anomalies.clone_from(&after.cause.anomalies);
    spec.cause.forecasts.clone_from(&after.cause.forecasts);
    spec.cause.alerts.clone_from(&after.cause.alerts);
    spec.cause.alerts_total = after.cause.alerts_total;
    spec.cause.correlation.clone_from(&after.cause.correlation);
    if let (Some(old), Some(new)) = (&mut spec.change, &after.change) {
        let earlier = old.clone();
        old.clone_from(new);
        old.change_id = earlier.change_id.clone();
        if !earlier.is_on_batch() {
            old.branch = earlier.branch;
        }
    }
    spec
}

/// NaN equals nothing, not even itself, and JSON has no infinity: such a record could never be compared again.
fn is_finite(record: &RemediationAction) -> bool {
    let spec = &record.spec;
    let anomalies = spec.cause.anomalies.iter().flat_map(|it| {
        let own = [it.value, it.expected.0, it.expected.1];
        own.into_iter().chain(it.recent.iter().copied()).chain(it.models.iter().map(|model| model.weight))
    });
    let verdict = record.status.verdict.iter().flat_map(|it| [it.before, it.after]);
    spec.cause.forecasts.iter().all(Forecast::is_finite)
        && anomalies.chain(verdict.chain([spec.verify.below]).flatten()).all(f64::is_finite)
}
