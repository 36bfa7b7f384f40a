//! The audit: the whole ledger and the watched branch's commits come in, everything that is wrong goes out,
//! with counts of what was looked at. Budgets are counted again from the entries alone, by other code than
//! the fold's: a mistake there must not vouch for itself.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::fold::apply;
use super::rules::{Rule, violations};
use crate::model::action::{ActionState, MergedBy, Purpose, RemediationAction};
use crate::model::change::ProposedChange;
use crate::model::entry::{Entry, EntryKind, Signer};
use crate::model::history::History;
use crate::model::ids::ObjectId;
use crate::model::trailers;

/// A commit of the watched branch, as the reader found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainCommit {
    pub commit: ObjectId,
    pub parents: Vec<ObjectId>,
    pub tree: ObjectId,
    pub message: String,
    pub signer: Signer,
    /// The commit's own date: shown to people, never counted with.
    pub time: Timestamp,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `entry 12` or `commit 1a2b3c4`.
    pub place: String,
    pub rule: Rule,
    pub detail: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}: {}", self.place, self.rule, self.detail)
    }
}

/// What was checked, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditReport {
    pub findings: Vec<Finding>,
    pub entries: u64,
    /// Entries with an accepted signature.
    pub signatures: u64,
    pub checkpoints: u64,
    /// Slots taken: reservations and people's merges.
    pub executions: u64,
    /// Commits of the watched branch that were looked at, and those that carry our trailers.
    pub main_commits: u64,
    pub main_claims: u64,
}

impl AuditReport {
    #[cfg(test)]
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, place: String, rule: Rule, detail: String) {
        self.findings.push(Finding { place, rule, detail });
    }
}

/// Checks a whole ledger, oldest entry first, against itself and against the watched branch (every commit
/// reachable from its head, in any order).
#[must_use]
pub fn audit(entries: &[Entry], main: &[MainCommit]) -> AuditReport {
    let mut report = AuditReport::default();
    chain(entries, &mut report);
    recount(entries, &mut report);
    main_branch(entries, main, &mut report);
    report
}

/// Everything the fold would stop at, and entry ids that stand twice.
fn chain(entries: &[Entry], report: &mut AuditReport) {
    let mut history = History::default();
    let mut ids = BTreeSet::new();
    for entry in entries {
        let place = format!("entry {}", entry.envelope.seq);
        for it in violations(&history, entry) {
            report.add(place.clone(), it.rule, it.detail);
        }
        if !ids.insert(&entry.envelope.id) {
            report.add(place, Rule::Previous, format!("entry id {} stands twice", entry.envelope.id));
        }
        report.entries += 1;
        report.signatures += u64::from(matches!(entry.signer, Signer::Allowed(_)));
        report.checkpoints += u64::from(entry.envelope.kind == EntryKind::Checkpoint);
        apply(&mut history, entry);
    }
}

/// An action entry with its position.
struct Row<'a> {
    index: usize,
    seq: u64,
    time: Timestamp,
    state: ActionState,
    record: &'a RemediationAction,
}

/// A slot: taken at `taken`, resolved by the next entry of the same action, if any.
struct Slot<'a> {
    taken: &'a Row<'a>,
    resolved: Option<(usize, Timestamp)>,
}

fn rows(entries: &[Entry]) -> Vec<Row<'_>> {
    entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| match (entry.envelope.kind, &entry.record) {
            (EntryKind::Transition(state), Some(record)) => {
                Some(Row { index, seq: entry.envelope.seq, time: entry.envelope.time, state, record })
            }
            _ => None,
        })
        .collect()
}

fn slots<'a>(rows: &'a [Row<'a>]) -> Vec<Slot<'a>> {
    let mut slots = Vec::new();
    for (position, row) in rows.iter().enumerate() {
        let own = |other: &&Row<'_>| other.record.id() == row.record.id();
        let before = rows[..position].iter().rev().find(own).map(|it| it.state);
        let after = rows[position + 1..].iter().find(own);
        match row.state {
            ActionState::MergeReserved => {
                slots.push(Slot { taken: row, resolved: after.map(|it| (it.index, it.time)) });
            }
            ActionState::Merged if before != Some(ActionState::MergeReserved) => {
                slots.push(Slot { taken: row, resolved: Some((row.index, row.time)) });
            }
            _ => {}
        }
    }
    slots
}

/// When the slot's time ran as seen just before entry `index`; `None`: it was not resolved yet.
fn runs_from(slot: &Slot<'_>, index: usize) -> Option<Timestamp> {
    slot.resolved.filter(|(resolved, _)| *resolved < index).map(|(_, time)| time)
}

fn recount(entries: &[Entry], report: &mut AuditReport) {
    let rows = rows(entries);
    let slots = slots(&rows);
    report.executions = slots.len() as u64;
    for slot in slots.iter().filter(|it| it.taken.state == ActionState::MergeReserved) {
        let (row, spec) = (slot.taken, &slot.taken.record.spec);
        let mut counted = (0_u32, 0_u32);
        for other in slots.iter().filter(|it| it.taken.index < row.index) {
            let from = runs_from(other, row.index);
            let age_s = from.map(|from| row.time.duration_since(from).as_secs_f64());
            if age_s.is_none_or(|age| age < 3600.0) {
                counted.1 += 1;
                counted.0 += u32::from(other.taken.record.spec.policy == spec.policy);
            }
            let cools = spec.purpose == Purpose::Remediate
                && other.taken.record.spec.target.key() == spec.target.key()
                && other.taken.record.id() != row.record.id()
                && age_s.is_none_or(|age| age < f64::from(spec.limits.cooldown_s));
            if cools {
                let detail = format!("entry {} executed on {} too recently", other.taken.seq, spec.target);
                report.add(format!("entry {}", row.seq), Rule::Cooldown, detail);
            }
        }
        for (what, used, limit) in [
            (spec.policy.as_str(), counted.0, spec.limits.policy_per_hour),
            ("all policies", counted.1, spec.limits.global_per_hour),
        ] {
            if used >= limit {
                let detail = format!("recount: {what} used {used} of {limit} in the 60 minutes before");
                report.add(format!("entry {}", row.seq), Rule::Budget, detail);
            }
        }
    }
    recount_open(&rows, report);
}

/// Two actions that hold one target at the same time, and more proposals than the limit.
fn recount_open(rows: &[Row<'_>], report: &mut AuditReport) {
    for (position, row) in rows.iter().enumerate().filter(|(_, it)| it.state == ActionState::Proposed) {
        if rows[..position].iter().any(|it| it.record.id() == row.record.id()) {
            continue;
        }
        let mut waiting = 0_u32;
        for (index, other) in rows[..position].iter().enumerate() {
            let last = !rows[index + 1..position].iter().any(|it| it.record.id() == other.record.id());
            let unmerged = other.state.waits();
            waiting += u32::from(last && unmerged);
            let same_target = other.record.spec.target.key() == row.record.spec.target.key();
            if last && same_target && other.state.is_open() && other.record.id() != row.record.id() {
                let detail = format!("recount: {} was still open for the target", other.record.id());
                report.add(format!("entry {}", row.seq), Rule::OneOpenPerTarget, detail);
            }
        }
        let limit = row.record.spec.limits.max_open_proposals;
        if waiting >= limit {
            let detail = format!("recount: {waiting} of {limit} proposals were open");
            report.add(format!("entry {}", row.seq), Rule::OpenProposals, detail);
        }
    }
}

fn main_branch(entries: &[Entry], main: &[MainCommit], report: &mut AuditReport) {
    let rows = rows(entries);
    report.main_commits = main.len() as u64;
    for commit in main.iter().filter(|it| trailers::claims(&it.message)) {
        report.main_claims += 1;
        if let Err(detail) = explain(commit, &rows) {
            report.add(format!("commit {}", commit.commit.short()), Rule::MainCommit, detail);
        }
    }
    for row in rows.iter().filter(|it| it.state == ActionState::Merged) {
        let (Some(merge), Some(change)) = (&row.record.status.merge, &row.record.spec.change) else {
            continue;
        };
        let place = format!("entry {}", row.seq);
        let Some(found) = main.iter().find(|it| it.commit == merge.commit) else {
            let detail = format!("merge {} is not on the watched branch", merge.commit.short());
            report.add(place, Rule::MergeOnMain, detail);
            continue;
        };
        if merge.by == MergedBy::Tars && !is_computed(found, change) {
            let detail = format!("merge {} is not the tree that was computed", merge.commit.short());
            report.add(place, Rule::MergeOnMain, detail);
        }
    }
}

/// Is this commit, which a signed entry names as our merge, what was computed? Ours is signed by us; one that a forge
/// made of it (a merge, a squash) is not, and stands on our commit or in its place.
fn is_computed(found: &MainCommit, change: &ProposedChange) -> bool {
    let fits = if found.commit == change.head {
        matches!(found.signer, Signer::Allowed(_))
    } else {
        found.parents.contains(&change.head) || found.parents == [change.base.clone()]
    };
    found.tree == change.tree && fits
}

/// Which entry accounts for this commit? Says why none does.
fn explain(commit: &MainCommit, rows: &[Row<'_>]) -> Result<(), String> {
    let is_merge =
        |row: &&Row<'_>| row.record.status.merge.as_ref().is_some_and(|merge| merge.commit == commit.commit);
    let is_proposal = |row: &&Row<'_>| {
        let change = row.record.spec.change.as_ref();
        change.is_some_and(|it| it.head == commit.commit || commit.parents.contains(&it.head))
    };
    // A person's merge accounts for exactly two commits: the proposal's and the one that brought it in.
    let by_person = |row: &Row<'_>| {
        let head = row.record.spec.change.as_ref().is_some_and(|it| it.head == commit.commit);
        let merge = row.record.status.merge.as_ref().filter(|it| it.by == MergedBy::Person);
        merge.is_some_and(|it| head || it.commit == commit.commit)
    };
    let mut known: Vec<_> = rows.iter().filter(is_merge).collect();
    known.extend(rows.iter().filter(is_proposal));
    // Above the commit of one action may stand that of the next: its own action is asked first.
    known.sort_by_key(|row| row.record.spec.change.as_ref().is_none_or(|it| it.head != commit.commit));
    let Some(first) = known.first() else {
        return Err("it carries our trailers and no entry proposed or merged it".to_owned());
    };
    let action = first.record.id();
    let own = |row: &&&Row<'_>| row.record.id() == action;
    if known.iter().filter(own).any(|row| by_person(row)) {
        return Ok(());
    }
    // A signed entry names it: the forge made it when it merged for us.
    let by_forge = |row: &&Row<'_>| {
        let merge = row.record.status.merge.as_ref();
        let change = row.record.spec.change.as_ref();
        merge.is_some_and(|it| it.commit == commit.commit) && change.is_some_and(|it| is_computed(commit, it))
    };
    if !matches!(commit.signer, Signer::Allowed(_)) && !known.iter().any(by_forge) {
        return Err(format!("it claims to be {action} and is not signed by an allowed key"));
    }
    let tree = |row: &&Row<'_>| row.record.spec.change.as_ref().is_some_and(|it| it.tree == commit.tree);
    if !known.iter().any(tree) {
        return Err(format!("its tree is not the one computed for {action}"));
    }
    let taken = |row: &Row<'_>| matches!(row.state, ActionState::MergeReserved | ActionState::Merged);
    if rows.iter().any(|row| row.record.id() == action && taken(row)) {
        return Ok(());
    }
    Err(format!("{action} is on the watched branch, and no entry reserved or recorded the merge"))
}
