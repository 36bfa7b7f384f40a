//! The next step of an action that is open: waiting, reserved, merged, synced.
//! One open record and one look at the world come in, at most one step goes out. Every step is idempotent:
//! any replica may take it, and taking it twice changes nothing.

use jiff::{SignedDuration, Timestamp};

use super::batch;
use super::error::TurnError;
use super::step::Step;
use super::turn::Turn;
use super::view::BranchFate;
use crate::model::action::{ActionState, MergeRecord, MergedBy, Purpose, RemediationAction};
use crate::model::causes::causes;
use crate::model::change::ProposedChange;
use crate::model::forge::PullState;
use crate::model::history::{Effect, plan_id};
use crate::model::ids::ObjectId;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::request::Request;
use crate::model::verdict::{Outcome, Verdict};
use crate::observe::landing::Landed;
use crate::observe::signals::SignalState;
use crate::observe::sync_probe::{ProbeAnswer, Question};
use crate::verify::{self, VerifyInput};

/// A merge that somebody else reserved is left to them for this long, then any replica finishes it. Only
/// courtesy: the merge and its entry are one push, which one replica alone can win.
const FINISH_AFTER_S: i64 = 5;
/// A reservation somebody else made is given back only after this long: they may know more than we do, and
/// the slot of the budget is gone.
const GIVE_BACK_AFTER_S: i64 = 30;
/// A reservation waits this long for a forge, for metrics or for a detector that cannot be read.
const AWAY_S: i64 = 300;
/// Holds of a waiting proposal are recorded at most this often.
const HOLDS_UPDATE_S: i64 = 60;
/// After this many lines of its story, a proposal's holds are recorded hourly: reasons that come and go must
/// not fill the ledger.
const HOLDS_OFTEN: usize = 20;
const HOLDS_LATER_S: i64 = 3600;
/// After this many lines they are not recorded any more: a record has a largest size.
const HOLDS_MAX: usize = 300;

/// The next step for `record`, if there is one now.
///
/// # Errors
/// When the local copy cannot be read.
pub async fn next(turn: &Turn<'_>, record: &RemediationAction) -> Result<Option<Step>, TurnError> {
    let Some(change) = &record.spec.change else { return Ok(None) };
    if let Some(request) = turn.history().reverts.get(record.id()) {
        return Ok(unjudged(turn, record, request));
    }
    match record.state() {
        ActionState::Proposed => proposed(turn, record, change),
        ActionState::MergeReserved => reserved(turn, record, change),
        ActionState::Merged => merged(turn, record).await,
        ActionState::Synced => Ok(synced(turn, record)),
        _ => Ok(None),
    }
}

fn proposed(
    turn: &Turn<'_>,
    record: &RemediationAction,
    change: &ProposedChange,
) -> Result<Option<Step>, TurnError> {
    let line = turn.history().waiting_on(&change.branch);
    if line.len() > 1 {
        return batch::next(turn, record, &line);
    }
    match turn.fate(change)? {
        BranchFate::Merged(commit) => {
            let branch_left = turn.view.branch_head(&change.branch) == Some(change.head.clone());
            return Ok(Some(Step::enter(by_person(turn, record, change, commit)?, branch_left)));
        }
        // The forge says merged and this look at git does not show it yet: the next one does.
        _ if merged_on_forge(turn, change) => return Ok(None),
        BranchFate::Deleted => {
            let reason = Reason::new(ReasonCode::ClosedByPerson, "the branch was deleted without a merge");
            return Ok(Some(Step::enter(closed(turn.now, record, reason), false)));
        }
        BranchFate::Taken(head) => {
            let text = format!("{} is not tars' commit; tars leaves this branch alone", head.short());
            return Ok(holds_changed(turn, record, vec![Reason::new(ReasonCode::HumanCommits, text)]));
        }
        BranchFate::Waiting => {}
    }
    if let Some(reason) = closed_on_forge(turn, record) {
        return Ok(Some(Step::enter(closed(turn.now, record, reason), true)));
    }
    if let Some(reason) = recovered_first(turn, record) {
        return Ok(Some(Step::enter(closed(turn.now, record, reason), true)));
    }
    let moved = turn.view.moved_paths(change)?.is_some();
    match turn.permit(record)? {
        // The watched branch is about to move: a reservation or a rebuild on today's would be in vain.
        Ok(_) if merge_under_way(turn) => Ok(None),
        Err(reasons)
            if merge_under_way(turn) && reasons.iter().all(|it| it.code == ReasonCode::BaseMoved) =>
        {
            Ok(None)
        }
        Ok(_) => {
            let mut next = record.clone();
            next.status.holds.clear();
            next.enter(
                ActionState::MergeReserved,
                turn.now,
                "a slot of the budget is reserved for the merge",
            );
            Ok(Some(Step::enter(next, false)))
        }
        // A branch that moved under the files must be followed at once; one that moved elsewhere only when
        // nothing else stands in the way, so that a person's approval survives.
        Err(reasons) if moved || reasons.iter().all(|it| it.code == ReasonCode::BaseMoved) => {
            Ok(Some(Step::rebuild(record, change)))
        }
        Err(reasons) => Ok(holds_changed(turn, record, reasons)),
    }
}

/// Is an action reserved and not merged yet? Merges go one after the other, because each moves the base of
/// all others; a slot of the budget reserved for a base that moves away would be lost for an hour.
fn merge_under_way(turn: &Turn<'_>) -> bool {
    turn.history().open.values().any(|it| it.state() == ActionState::MergeReserved)
}

fn reserved(
    turn: &Turn<'_>,
    record: &RemediationAction,
    change: &ProposedChange,
) -> Result<Option<Step>, TurnError> {
    let fate = turn.fate(change)?;
    if let BranchFate::Merged(commit) = fate {
        let branch_left = turn.view.branch_head(&change.branch) == Some(change.head.clone());
        return Ok(Some(Step::enter(arrived(turn, record, change, commit)?, branch_left)));
    }
    if merged_on_forge(turn, change) {
        return Ok(None);
    }
    let age_s = seconds_since(last_event(record), turn.now);
    let is_own = turn.memory.reserved_here(record.id());
    if !is_own && age_s < FINISH_AFTER_S {
        return Ok(None);
    }
    match turn.permit(record)? {
        Ok(permit) => {
            let merged = landed(turn, record, permit.head().clone(), MergedBy::Tars);
            Ok(Some(Step::Merge { record: Box::new(merged), permit }))
        }
        Err(_) if !is_own && age_s < GIVE_BACK_AFTER_S => Ok(None),
        // A forge that hiccups, and a sample that is a moment late, are no reason to lose a slot of the budget; those that are
        // away for long are.
        Err(reasons) if age_s < AWAY_S && reasons.iter().all(is_silence) => Ok(None),
        Err(reasons) if fate == BranchFate::Deleted => {
            let text = reasons.first().map_or_else(String::new, ToString::to_string);
            Ok(Some(Step::enter(
                closed(turn.now, record, Reason::new(ReasonCode::ClosedByPerson, text)),
                false,
            )))
        }
        // A merge that somebody asked the forge for may still be on its way. It is for this head and no other:
        // once the branch holds another commit, it cannot happen any more.
        Err(_) if is_under_way(turn, record, is_own) && fate == BranchFate::Waiting => {
            Ok(Some(Step::rebuild(record, change)))
        }
        Err(reasons) => {
            let why = reasons.first().map_or_else(String::new, ToString::to_string);
            let mut next = record.clone();
            next.status.holds = reasons;
            let text = format!("the merge was held ({why}); its budget slot stays taken");
            next.enter(ActionState::Proposed, turn.now, text);
            Ok(Some(Step::enter(next, false)))
        }
    }
}

/// Nothing speaks against the merge; somebody who has to be heard says nothing.
fn is_silence(reason: &Reason) -> bool {
    use ReasonCode as C;
    matches!(reason.code, C::ForgeUnreachable | C::EvidenceStale | C::DetectorLost)
}

/// May the forge be about to merge this action? Our own merge without a forge is one push, done or not.
fn is_under_way(turn: &Turn<'_>, record: &RemediationAction, is_own: bool) -> bool {
    turn.desk.is_some_and(|desk| !is_own || desk.is_unsettled(record.id()))
}

fn is_merged(state: &PullState) -> bool {
    matches!(state, PullState::Merged(_))
}

/// Merged into the watched branch, says the forge.
fn merged_on_forge(turn: &Turn<'_>, change: &ProposedChange) -> bool {
    let Some(desk) = turn.desk else { return false };
    desk.ended(change).is_some_and(|pull| is_merged(&pull.state) && desk.is_here(pull))
}

/// A person's merge; with a note when it dropped what the commit said about itself.
fn by_person(
    turn: &Turn<'_>,
    record: &RemediationAction,
    change: &ProposedChange,
    commit: ObjectId,
) -> Result<RemediationAction, TurnError> {
    let is_kept = turn.view.keeps_trailers(change, &commit)?;
    let mut next = landed(turn, record, commit, MergedBy::Person);
    if !is_kept {
        let text = "the merged commit does not say what tars' commit said; the ledger does";
        next.status.holds = vec![Reason::new(ReasonCode::TrailersDropped, text)];
    }
    Ok(next)
}

/// The "no" of a person who closed the pull request and left the branch, or turned it to another branch where it was
/// merged: no forge can be told which branch a merge is for.
pub(super) fn closed_on_forge(turn: &Turn<'_>, record: &RemediationAction) -> Option<Reason> {
    let desk = turn.desk?;
    let pull = desk.ended(record.spec.change.as_ref()?)?;
    let text = match is_merged(&pull.state) {
        true if desk.is_here(pull) => return None,
        true => format!("pull request #{} was turned to {} and merged there", pull.number, pull.base),
        false => {
            let by = pull.closed_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
            format!("pull request #{} was closed{by} without a merge", pull.number)
        }
    };
    Some(Reason::new(ReasonCode::ClosedByPerson, text))
}

/// A reserved action whose change is in the watched branch: by the merge tars asked the forge for, or by a person
/// who was faster. Without a forge our own merge and its entry are one push: it was somebody else.
fn arrived(
    turn: &Turn<'_>,
    record: &RemediationAction,
    change: &ProposedChange,
    commit: ObjectId,
) -> Result<RemediationAction, TurnError> {
    let by_tars = turn.desk.is_some_and(|desk| desk.merged_here(record.id(), &change.branch));
    if !by_tars {
        return by_person(turn, record, change, commit);
    }
    let tree = turn.view.objects.tree_of(commit.as_str()).map_err(TurnError::Objects)?;
    let mut next = landed(turn, record, commit, MergedBy::Tars);
    if tree != change.tree.as_str() {
        let text = "the tree that the forge merged is not the one that was computed";
        next.status.holds = vec![Reason::new(ReasonCode::ForeignTree, text)];
    }
    Ok(next)
}

async fn merged(turn: &Turn<'_>, record: &RemediationAction) -> Result<Option<Step>, TurnError> {
    let Some(merge) = &record.status.merge else { return Ok(None) };
    if let Some(foreign) = record.status.holds.iter().find(|it| it.code == ReasonCode::ForeignTree) {
        let mut next = record.clone();
        next.status.verdict = Some(unmeasured(Outcome::Worse, turn.now, foreign.text.clone()));
        next.enter(ActionState::Worse, turn.now, foreign.to_string());
        return Ok(Some(Step::enter(next, false)));
    }
    let why = match arrival(turn, record, merge).await {
        Arrival::At(at) => {
            let mut next = record.clone();
            next.status.synced_at = Some(at);
            next.enter(ActionState::Synced, turn.now, format!("{} is applied", merge.commit.short()));
            return Ok(Some(Step::enter(next, false)));
        }
        Arrival::NotYet(why) => why,
    };
    let waited_s = seconds_since(merge.at, turn.now);
    if waited_s < i64::from(turn.rules.sync_timeout_s) {
        return Ok(None);
    }
    let text = format!("{} was not applied within {waited_s} s: {why}", merge.commit.short());
    let mut next = record.clone();
    next.status.holds = vec![Reason::new(ReasonCode::SyncTimeout, text.clone())];
    next.status.verdict = Some(unmeasured(Outcome::Unknown, turn.now, text.clone()));
    next.enter(ActionState::Unknown, turn.now, text);
    Ok(Some(Step::enter(next, false)))
}

/// A verdict that no sample was needed for.
fn unmeasured(outcome: Outcome, judged_at: Timestamp, text: String) -> Verdict {
    Verdict { outcome, before: None, after: None, samples_before: 0, samples_after: 0, judged_at, text }
}

/// Ends the watch over an action whose undo a person asked for: only then can the undo hold the target.
fn unjudged(turn: &Turn<'_>, record: &RemediationAction, request: &Request) -> Option<Step> {
    if !matches!(record.state(), ActionState::Merged | ActionState::Synced) {
        return None;
    }
    let mut next = record.clone();
    next.enter(ActionState::Unknown, turn.now, format!("not judged: its undo was {}", request.signature()));
    Some(Step::enter(next, false))
}

/// Whether a merge took effect.
enum Arrival {
    At(Timestamp),
    /// For this reason, as far as it is known.
    NotYet(String),
}

/// When the merge took effect, if the probe says it did. A probe that reports commits is believed only if one of
/// them contains the merge; one that cannot answer says neither yes nor no.
async fn arrival(turn: &Turn<'_>, record: &RemediationAction, merge: &MergeRecord) -> Arrival {
    // A commit this clone does not have yet is not an answer.
    let contains =
        |commit: &ObjectId| turn.view.objects.is_ancestor(merge.commit.as_str(), commit.as_str()).ok();
    let question = Question {
        commit: &merge.commit,
        merged_at: merge.at,
        now: turn.now,
        record,
        index: &turn.view.snapshot.index,
    };
    match turn.probe.synced(question, turn.sources, turn.http).await {
        Ok(ProbeAnswer::Yes(at)) => Arrival::At(at),
        Ok(ProbeAnswer::Reported(commit)) => match contains(&commit) {
            Some(true) => Arrival::At(turn.now),
            Some(false) | None => Arrival::NotYet(format!("{} is live", commit.short())),
        },
        Ok(ProbeAnswer::Seen(seen)) => match seen.landed(&contains) {
            Landed::Yes => Arrival::At(turn.now),
            Landed::NotYet(why) => {
                if let Some(refresh) = turn.refresh {
                    let looking: Vec<_> = seen.chain.into_iter().filter_map(|it| it.looks).collect();
                    refresh.ask(record.id(), &looking, merge.at).await;
                }
                Arrival::NotYet(why)
            }
        },
        Ok(ProbeAnswer::NotYet) => Arrival::NotYet("nothing reports it".to_owned()),
        Ok(ProbeAnswer::Unknown(why)) => Arrival::NotYet(why),
        Err(error) => Arrival::NotYet(causes(&error)),
    }
}

fn synced(turn: &Turn<'_>, record: &RemediationAction) -> Option<Step> {
    let (merge, synced_at) = (record.status.merge.as_ref()?, record.status.synced_at?);
    let spec = &record.spec.verify;
    let dependants: Vec<_> = spec.dependants.iter().filter_map(|key| turn.evidence.series(key)).collect();
    let alerts = &record.spec.cause.alerts;
    let state = turn.evidence.state(&spec.signal);
    let signal = state.map(SignalState::series);
    let verdict = verify::judge(
        &VerifyInput {
            spec,
            signal: signal.as_ref(),
            staleness_s: state.map_or(0, |it| it.staleness_s),
            dependants: &dependants,
            incident_since: record.spec.cause.since,
            merged_at: merge.at,
            synced_at,
            expected: record.spec.cause.anomalies.first().map(|it| it.expected),
            resolved_alert: !alerts.is_empty() && alerts.iter().all(|alert| turn.evidence.is_resolved(alert)),
        },
        turn.now,
    )?;
    let state = match verdict.outcome {
        Outcome::Recovered => ActionState::Verified,
        Outcome::NotRecovered => ActionState::NotRecovered,
        Outcome::Worse => ActionState::Worse,
        Outcome::Unknown => ActionState::Unknown,
    };
    let mut next = record.clone();
    if let Some(result) = &mut next.status.result {
        result.success = state == ActionState::Verified;
    }
    let text = verdict.text.clone();
    next.status.verdict = Some(verdict);
    next.enter(state, turn.now, text);
    Some(Step::enter(next, false))
}

/// The record after its change arrived in the watched branch.
pub(super) fn landed(
    turn: &Turn<'_>,
    record: &RemediationAction,
    commit: ObjectId,
    by: MergedBy,
) -> RemediationAction {
    let mut next = record.clone();
    let text = match by {
        MergedBy::Tars => format!("merged as {}", commit.short()),
        MergedBy::Person => format!("merged by a person as {}", commit.short()),
    };
    next.status.holds.clear();
    next.status.merge = Some(MergeRecord { commit, by, at: turn.now });
    next.status.expires_at = record
        .spec
        .revert_after_s
        .filter(|_| record.spec.purpose == Purpose::Remediate)
        .and_then(|s| turn.now.checked_add(SignedDuration::from_secs(i64::from(s))).ok());
    next.enter(ActionState::Merged, turn.now, text);
    next
}

/// The last entry of an action whose undo was merged.
#[must_use]
pub fn undone(turn: &Turn<'_>, effect: &Effect) -> Step {
    let mut next = effect.record.clone();
    next.status.undone_by.clone_from(&effect.undo);
    let spec = &next.spec;
    let is_refused = turn.history().is_refused(&spec.fingerprint, &plan_id(&spec.target, &spec.plan));
    let (state, text) = if is_refused && !next.did_not_help() {
        (
            ActionState::Reverted,
            "undone, because a person asked for it; it is not proposed again for this cause",
        )
    } else if next.did_not_help() {
        (ActionState::Reverted, "undone, because it did not help; it is not proposed again for this cause")
    } else {
        (ActionState::Expired, "undone, because it was no longer needed")
    };
    next.enter(state, turn.now, text);
    Step::enter(next, false)
}

pub(super) fn closed(now: Timestamp, record: &RemediationAction, reason: Reason) -> RemediationAction {
    let mut next = record.clone();
    next.enter(ActionState::Closed, now, reason.to_string());
    next.status.holds = vec![reason];
    next
}

/// A waiting proposal whose cause went away by itself is closed, not merged; so is one that people want quiet about.
pub(super) fn recovered_first(turn: &Turn<'_>, record: &RemediationAction) -> Option<Reason> {
    if let Some(quiet) = turn.history().quiet_about(record, turn.now) {
        return Some(quiet);
    }
    if record.spec.purpose != Purpose::Remediate {
        // A scale-back that nobody merged must not keep the target from being helped again.
        let text =
            format!("{} is not calm any more: what was to be undone is needed", record.spec.verify.signal);
        let expires = matches!(record.spec.purpose, Purpose::Expire { .. });
        return (expires && turn.is_wanted_again(record))
            .then(|| Reason::new(ReasonCode::SignalRecovered, text));
    }
    let cause = &record.spec.cause;
    if !cause.alerts.is_empty() {
        let resolved = cause.alerts.iter().all(|alert| turn.evidence.is_resolved(alert));
        return resolved
            .then(|| Reason::new(ReasonCode::SignalRecovered, "every alert of the incident is resolved"));
    }
    // Calm alone is not enough: the quiet time before the incident says nothing about its end, and what still
    // asks for the action would ask for it again in the next tick.
    let window_s = i64::from(record.spec.verify.window_s);
    let lasted = seconds_since(cause.since, turn.now) >= window_s;
    let over = lasted && turn.still_needed(record) == Some(false);
    let text = format!("{} is back to normal without the change", record.spec.verify.signal);
    over.then(|| Reason::new(ReasonCode::SignalRecovered, text))
}

/// Records the reasons a proposal waits for, when they are others than before.
pub(super) fn holds_changed(
    turn: &Turn<'_>,
    record: &RemediationAction,
    reasons: Vec<Reason>,
) -> Option<Step> {
    let codes = |reasons: &[Reason]| {
        let mut codes: Vec<ReasonCode> = reasons.iter().map(|it| it.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    };
    if codes(&record.status.holds) == codes(&reasons) {
        return None;
    }
    let recorded = record.status.timeline.len();
    let pause_s = if recorded < HOLDS_OFTEN { HOLDS_UPDATE_S } else { HOLDS_LATER_S };
    if recorded >= HOLDS_MAX || seconds_since(last_event(record), turn.now) < pause_s {
        return None;
    }
    let text = reasons.first().map_or_else(|| "nothing holds it any more".to_owned(), ToString::to_string);
    let mut next = record.clone();
    next.status.holds = reasons;
    next.enter(ActionState::Proposed, turn.now, text);
    Some(Step::enter(next, false))
}

fn last_event(record: &RemediationAction) -> Timestamp {
    record.status.timeline.last().map_or(record.spec.cause.since, |event| event.at)
}

fn seconds_since(then: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(then).as_secs()
}
