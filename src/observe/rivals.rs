//! Who else is changing the same field: open branches and very recent commits of the watched branch. Branch
//! heads and fields come in, rivals go out. They are found by comparing trees and values, never by the name
//! of an author: Renovate, an image updater and a colleague look the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::layout;
use crate::model::change::FieldChange;
use crate::model::ids::{InvalidName, ObjectId};
use crate::model::rival::{Rival, RivalPlace};
use crate::model::trailers;
use crate::outside::git::{Entry, GitError, Objects};

/// Branches looked at: the newest by the date of their commit.
const BRANCHES_MAX: usize = 100;
/// A branch whose newest commit is older is abandoned, and tars waits for it no more.
const BRANCH_AGE_MAX: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Commits of the watched branch looked at.
const COMMITS_MAX: usize = 50;
/// Largest file compared, in bytes.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Comparisons remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Characters of a branch name that are shown.
const NAME_CHARS_MAX: usize = 100;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub objects: &'a Objects,
    /// Head of the watched branch.
    pub main: &'a ObjectId,
    /// Every branch that is nobody's proposal of ours: full name to commit.
    pub others: &'a BTreeMap<String, String>,
    pub now: Timestamp,
    /// Commits of the watched branch since then count.
    pub recent_since: Timestamp,
}

/// What a branch made of one file since it left the watched branch.
type Touched = Option<(Option<Entry>, Option<Entry>)>;

/// Finds rivals, remembering what branches that have not moved made of which file.
#[derive(Debug, Default)]
pub struct Rivals {
    /// By (head of the watched branch, head of the branch, file).
    seen: Mutex<HashMap<(String, String, String), Touched>>,
}

impl Rivals {
    /// Everybody else who changes one of `fields`. A branch that cannot be compared (no common history, or a
    /// tree that is malformed) is no rival.
    ///
    /// # Errors
    /// When the watched branch cannot be read.
    pub fn find(&self, look: &Look<'_>, fields: &[FieldChange]) -> Result<Vec<Rival>, RivalError> {
        let mut rivals = Vec::new();
        for (name, head) in newest(look) {
            for field in fields {
                let Some(touched) = self.touched(look, head, field.file.as_str()) else { continue };
                let Some(to) = differs(look.objects, field, &touched) else { continue };
                rivals.push(rival(RivalPlace::Branch(shown(name)), head, field, to)?);
            }
        }
        let line = look.objects.walk(look.main.as_str(), None, COMMITS_MAX + 1)?;
        for pair in line.windows(2) {
            let (commit, parent) = (&pair[0], &pair[1]);
            if !is_recent(look, commit) || is_ours(look.objects, commit) {
                continue;
            }
            for field in fields {
                let Some(touched) = compare(look.objects, parent, commit, field.file.as_str())? else {
                    continue;
                };
                let Some(to) = differs(look.objects, field, &touched) else { continue };
                rivals.push(rival(RivalPlace::WatchedBranch, commit, field, to)?);
            }
        }
        Ok(rivals)
    }

    fn touched(&self, look: &Look<'_>, head: &str, file: &str) -> Touched {
        let key = (look.main.to_string(), head.to_owned(), file.to_owned());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.get(&key) {
            return known.clone();
        }
        let base = look.objects.merge_base(look.main.as_str(), head).ok().flatten();
        let found = base.and_then(|base| compare(look.objects, &base, head, file).ok().flatten());
        if seen.len() >= REMEMBERED_MAX {
            seen.clear();
        }
        seen.insert(key, found.clone());
        found
    }
}

/// The watched branch could not be searched for other people's changes.
#[derive(Debug, thiserror::Error)]
pub enum RivalError {
    #[error("could not read the newest commits")]
    Git(#[from] GitError),
    #[error("git gave an object id that is none")]
    Name(#[from] InvalidName),
}

/// The newest branches, as far as their dates can be read.
fn newest<'a>(look: &Look<'a>) -> Vec<(&'a str, &'a str)> {
    let dated = look.others.iter().filter_map(|(name, head)| {
        let at = look.objects.commit_time(head).ok()?;
        let age = look.now.as_second().saturating_sub(at);
        (age <= BRANCH_AGE_MAX.as_secs()).then_some((at, &name[..], &head[..]))
    });
    let mut dated: Vec<_> = dated.collect();
    dated.sort_unstable_by(|a, b| b.cmp(a));
    dated.into_iter().take(BRANCHES_MAX).map(|(_, name, head)| (name, head)).collect()
}

fn is_recent(look: &Look<'_>, commit: &str) -> bool {
    let at = look.objects.commit_time(commit).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.is_some_and(|at| at >= look.recent_since)
}

/// Does the commit, or what it merges, say that tars made it? Saying so falsely gains nothing but that tars
/// goes on as it would have without this courtesy.
fn is_ours(objects: &Objects, commit: &str) -> bool {
    let Ok(raw) = objects.commit(commit) else { return false };
    let claims = |id: &String| objects.commit(id).is_ok_and(|it| trailers::claims(&it.message));
    trailers::claims(&raw.message) || raw.parents.iter().skip(1).any(claims)
}

fn compare(objects: &Objects, old: &str, new: &str, file: &str) -> Result<Touched, GitError> {
    let (old, new) = (objects.entry(old, file)?, objects.entry(new, file)?);
    Ok((old != new).then_some((old, new)))
}

/// What the field holds after a change that made it another one; the outer `None`: it is as it was. What
/// cannot be read on either side may hold anything, and counts as changed.
fn differs(
    objects: &Objects,
    field: &FieldChange,
    (old, new): &(Option<Entry>, Option<Entry>),
) -> Option<Option<String>> {
    let values = |side: &Option<Entry>| {
        let bytes = objects.blob(&side.as_ref()?.oid, FILE_BYTES_MAX).ok()?;
        layout::field_values(&bytes, &field.resource, &field.field)
    };
    let (old, new) = (values(old), values(new));
    if old.is_some() && old == new {
        return None;
    }
    let old = old.unwrap_or_default();
    let other = new.unwrap_or_default().into_iter().find(|value| !old.contains(value));
    Some(other.flatten())
}

fn rival(
    place: RivalPlace,
    commit: &str,
    field: &FieldChange,
    to: Option<String>,
) -> Result<Rival, InvalidName> {
    let commit = ObjectId::new(commit)?;
    // A value is somebody's text: shown only when it is as short and plain as the fields tars changes.
    let plain = |it: &String| it.len() <= 100 && it.bytes().all(|b| b.is_ascii_graphic());
    let to = to.filter(plain);
    Ok(Rival { place, commit, file: field.file.clone(), field: field.field.clone(), to })
}

/// A branch name for people: nothing in it can be taken for anything else.
fn shown(name: &str) -> String {
    let name = name.strip_prefix("refs/heads/").unwrap_or(name);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-/".contains(c) { c } else { '?' };
    name.chars().take(NAME_CHARS_MAX).map(plain).collect()
}
