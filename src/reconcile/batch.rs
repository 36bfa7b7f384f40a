//! Proposals that wait for a person on one branch: what becomes of all of them, and where a new one may join.
//! The line of one branch and one look at the world come in, at most one step goes out. A batch is extended on
//! top or built anew without those that leave; no commit of it is ever changed in place.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::error::TurnError;
use super::follow::{closed, closed_on_forge, holds_changed, landed, recovered_first};
use super::open::Place;
use super::step::Step;
use super::turn::Turn;
use super::view::{BranchFate, View};
use crate::model::action::{MergedBy, RemediationAction};
use crate::model::batch;
use crate::model::change::ProposedChange;
use crate::model::history::{History, later};
use crate::model::ids::{BranchName, ObjectId};
use crate::model::limits::BatchLimits;
use crate::model::reason::{Reason, ReasonCode};

/// The next step of `record`, which waits on one branch with others: most often one step of all of them.
///
/// # Errors
/// When the local copy cannot be read.
pub fn next(
    turn: &Turn<'_>,
    record: &RemediationAction,
    line: &[&RemediationAction],
) -> Result<Option<Step>, TurnError> {
    let mut merged = Vec::new();
    let mut waiting = Vec::new();
    let mut branch = BranchFate::Deleted;
    for it in line {
        let Some(change) = &it.spec.change else { continue };
        match turn.fate(change)? {
            BranchFate::Merged(commit) => merged.push(landed(turn, it, commit, MergedBy::Person)),
            fate => {
                branch = fate;
                waiting.push(*it);
            }
        }
    }
    let Some((name, tip)) = top(line) else { return Ok(None) };
    let is_ours = turn.view.branch_head(name).as_ref() == Some(tip);
    if waiting.is_empty() {
        return Ok(Some(Step::Enter { records: merged, drop_branch: is_ours }));
    }
    if !merged.is_empty() {
        // What is left stands on what was merged, or the branch is not ours to build anew.
        let lowest_first = line.iter().zip(&merged).all(|(line, merged)| line.id() == merged.id());
        if lowest_first || !is_ours {
            return Ok(Some(Step::Enter { records: merged, drop_branch: false }));
        }
        return Ok(Some(again(merged, &waiting, name, tip)));
    }
    match branch {
        BranchFate::Deleted => {
            let reason = || Reason::new(ReasonCode::ClosedByPerson, "the branch was deleted without a merge");
            let records = waiting.iter().map(|it| closed(turn.now, it, reason())).collect();
            Ok(Some(Step::Enter { records, drop_branch: false }))
        }
        BranchFate::Taken(head) => {
            let text = format!("{} is not tars' commit; tars leaves this branch alone", head.short());
            Ok(holds_changed(turn, record, vec![Reason::new(ReasonCode::HumanCommits, text)]))
        }
        BranchFate::Waiting | BranchFate::Merged(_) => {
            match line.last().and_then(|it| closed_on_forge(turn, it)) {
                Some(reason) => {
                    let records = waiting.iter().map(|it| closed(turn.now, it, reason.clone())).collect();
                    Ok(Some(Step::Enter { records, drop_branch: true }))
                }
                None => untouched(turn, record, &waiting),
            }
        }
    }
}

/// The line stands as tars left it, and none of it is merged.
fn untouched(
    turn: &Turn<'_>,
    record: &RemediationAction,
    line: &[&RemediationAction],
) -> Result<Option<Step>, TurnError> {
    let mut left = Vec::new();
    let mut stay = Vec::new();
    let mut moved = false;
    for it in line {
        let Some(change) = &it.spec.change else { continue };
        if let Some(reason) = recovered_first(turn, it) {
            left.push(closed(turn.now, it, reason));
        } else {
            moved |= turn.view.moved_paths(change)?.is_some();
            stay.push(*it);
        }
    }
    match top(line) {
        Some((name, tip)) if moved || !left.is_empty() => Ok(Some(again(left, &stay, name, tip))),
        _ => Ok(turn.permit(record)?.err().and_then(|reasons| holds_changed(turn, record, reasons))),
    }
}

/// The branch of a line, and its newest commit.
fn top<'a>(line: &[&'a RemediationAction]) -> Option<(&'a BranchName, &'a ObjectId)> {
    let change = line.last()?.spec.change.as_ref()?;
    Some((&change.branch, &change.head))
}

fn again(
    left: Vec<RemediationAction>,
    stay: &[&RemediationAction],
    name: &BranchName,
    tip: &ObjectId,
) -> Step {
    let stay = stay.iter().map(|it| (*it).clone()).collect();
    Step::Rebuild { left, stay, branch: name.clone(), tip: tip.clone() }
}

/// Where `record`, which is new, may wait, the best place first. None: on a branch of its own kind.
///
/// # Errors
/// When the local copy cannot be read.
pub fn places(
    view: &View<'_>,
    history: &History,
    limits: &BatchLimits,
    record: &RemediationAction,
    now: Timestamp,
) -> Result<Vec<Place>, TurnError> {
    if record.spec.is_automatic() {
        return Ok(Vec::new());
    }
    let changes = history.open.values().filter_map(|it| it.spec.change.as_ref());
    let branches: BTreeSet<&BranchName> =
        changes.filter(|it| it.is_on_batch()).map(|it| &it.branch).collect();
    let mut places = Vec::new();
    for branch in branches {
        let line = history.waiting_on(branch);
        let (Some(first), Some((_, tip))) = (line.first(), top(&line)) else { continue };
        let begun = first.status.timeline.first().map_or(Timestamp::MIN, |event| event.at);
        let is_whole = first.spec.change.as_ref().is_some_and(|change| change.is_on_own_branch(first.id()));
        let is_young = later(begun, i64::from(limits.window_s)) > now;
        let has_room = u32::try_from(line.len()).is_ok_and(|actions| actions < limits.max_actions);
        let is_ours = view.branch_head(branch).as_ref() == Some(tip);
        let is_here = || view.objects.has(tip.as_str()).map_err(TurnError::Objects);
        if is_whole && is_young && has_room && is_ours && is_here()? {
            places.push((begun, Place { branch: branch.clone(), base: tip.clone() }));
        }
    }
    places.sort_by_key(|(begun, _)| *begun);
    let mut places: Vec<_> = places.into_iter().map(|(_, place)| place).collect();
    places.push(own_place(record, view.main())?);
    Ok(places)
}

/// Where a proposal that stays may go: on top of `below`, which was just built anew, or on a branch of its own.
///
/// # Errors
/// Never in practice.
pub fn places_again(
    record: &RemediationAction,
    change: &ProposedChange,
    below: Option<Place>,
    main: &ObjectId,
) -> Result<Vec<Place>, TurnError> {
    let own = if change.is_on_own_branch(record.id()) {
        Place { branch: change.branch.clone(), base: main.clone() }
    } else {
        own_place(record, main)?
    };
    Ok(below.into_iter().chain([own]).collect())
}

fn own_place(record: &RemediationAction, main: &ObjectId) -> Result<Place, TurnError> {
    Ok(Place { branch: batch::branch(record.id())?, base: main.clone() })
}
