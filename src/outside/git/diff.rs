//! What differs between two trees. Two commits or trees and bounds come in, rows go out. Folders with the same
//! object id on both sides are never opened, so the cost follows the change and not the repository; no blob is
//! looked at. Links and submodules are compared by their ids and never followed.

use std::cmp::Ordering;

use git2::{ObjectType, Repository, Tree, TreeEntry};

use super::GitError;
use super::names::{hostile_entry, refused};
use super::objects::{Objects, peel_tree, too_large};
use super::tree::{DEPTH_MAX, TreeLimits};

/// Most paths in one comparison of two trees.
const CHANGED_PATHS_MAX: usize = 100_000;

/// A path that differs between two trees, with the object on each side (`None`: not there). Both sides may be
/// the same object: then only the mode changed.
pub type ChangedPath = (String, Option<String>, Option<String>);

/// What stands at a path that is not a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As git has it; see [`super::tree::TreeRow::mode`].
    pub mode: u32,
    pub oid: String,
}

/// A path that is not the same on both sides: another object, another mode, or on one side only. A file that
/// became a folder is one row without `new` and one row for each file below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedEntry {
    /// Bytes that are not UTF-8 show as the replacement character.
    pub path: String,
    pub old: Option<Entry>,
    pub new: Option<Entry>,
}

impl Objects {
    /// What stands at `path` of a commit or tree; `None` when nothing does, or a folder. The cost is that of the
    /// path, whatever else the tree holds.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn entry(&self, commit: &str, path: &str) -> Result<Option<Entry>, GitError> {
        let repository = self.lock();
        match peel_tree(&repository, commit)?.get_path(std::path::Path::new(path)) {
            Ok(found) if found.kind() == Some(ObjectType::Tree) => Ok(None),
            Ok(found) => {
                let mode = u32::try_from(found.filemode_raw()).unwrap_or_default();
                Ok(Some(Entry { mode, oid: found.id().to_string() }))
            }
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::objects("read a tree")(error)),
        }
    }

    /// The entries for whose path `want` says yes and that differ between two commits or trees; without `old`,
    /// every entry of `new`. In git's order, no rename detection. `limits.bytes_max` does not count here: no
    /// size is read.
    ///
    /// # Errors
    /// When a limit is passed, an object is missing, a folder is out of order, or `new` holds, where it
    /// differs, a name that is a form of `.git`, `.` or `..`.
    pub fn changed_entries(
        &self,
        old: Option<&str>,
        new: &str,
        limits: TreeLimits,
        want: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<ChangedEntry>, GitError> {
        self.compare(old, new, limits, want, true)
    }

    /// The paths that differ between two commits or trees; without `old`, every path of `new`. As
    /// [`Objects::changed_entries`], but hostile names are listed like others: nothing is read or written by
    /// them.
    ///
    /// # Errors
    /// When either is missing, or more paths differ than we are willing to look at.
    pub fn changed_paths(&self, old: Option<&str>, new: &str) -> Result<Vec<ChangedPath>, GitError> {
        let limits = TreeLimits { files_max: CHANGED_PATHS_MAX, ..TreeLimits::default() };
        let rows = self.compare(old, new, limits, &|_| true, false)?;
        let id = |side: Option<Entry>| side.map(|it| it.oid);
        Ok(rows.into_iter().map(|row| (row.path, id(row.old), id(row.new))).collect())
    }

    fn compare(
        &self,
        old: Option<&str>,
        new: &str,
        limits: TreeLimits,
        want: &dyn Fn(&str) -> bool,
        refuse_hostile: bool,
    ) -> Result<Vec<ChangedEntry>, GitError> {
        let repository = self.lock();
        let old = old.map(|old| peel_tree(&repository, old)).transpose()?;
        let new = peel_tree(&repository, new)?;
        let rows = Vec::new();
        let mut walk = Walk { repository: &repository, limits, want, refuse_hostile, rows, entries: 0 };
        if old.as_ref().map(Tree::id) != Some(new.id()) {
            walk.folder(old.as_ref(), Some(&new), "", 0)?;
        }
        Ok(walk.rows)
    }
}

struct Walk<'r> {
    repository: &'r Repository,
    limits: TreeLimits,
    want: &'r dyn Fn(&str) -> bool,
    refuse_hostile: bool,
    rows: Vec<ChangedEntry>,
    /// Entries that differ: what is equal costs a comparison of two ids, and no more.
    entries: usize,
}

impl Walk<'_> {
    /// Goes through two folders in step; at least one of them is there.
    fn folder(
        &mut self,
        old: Option<&Tree<'_>>,
        new: Option<&Tree<'_>>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), GitError> {
        if depth > DEPTH_MAX {
            return Err(too_large("the comparison", DEPTH_MAX, "nested folders"));
        }
        let (old, new) = (entries(old)?, entries(new)?);
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.cmp(new),
            };
            let before = if order == Ordering::Greater { None } else { old.next() };
            let after = if order == Ordering::Less { None } else { new.next() };
            let content = |it: &TreeEntry<'_>| (it.id(), it.filemode_raw());
            if before.map(content) != after.map(content) {
                self.pair(before, after, prefix, depth)?;
            }
        }
    }

    fn pair(
        &mut self,
        old: Option<&TreeEntry<'_>>,
        new: Option<&TreeEntry<'_>>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), GitError> {
        let Some(one) = new.or(old) else { return Ok(()) };
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(too_large("the comparison", self.limits.entries_max, "entries"));
        }
        let path = format!("{prefix}{}", String::from_utf8_lossy(one.name_bytes()));
        if let Some(why) = new.filter(|_| self.refuse_hostile).and_then(|it| hostile_entry(it.name_bytes())) {
            return Err(refused("tree entry", &path, why));
        }
        if is_folder(one) {
            let open = |side: Option<&TreeEntry<'_>>| {
                let found = side.map(|it| self.repository.find_tree(it.id())).transpose();
                found.map_err(GitError::objects("read a tree"))
            };
            let (old, new) = (open(old)?, open(new)?);
            return self.folder(old.as_ref(), new.as_ref(), &format!("{path}/"), depth + 1);
        }
        if (self.want)(&path) {
            if self.rows.len() == self.limits.files_max {
                return Err(too_large("the comparison", self.limits.files_max, "paths"));
            }
            self.rows.push(ChangedEntry { path, old: old.map(entry), new: new.map(entry) });
        }
        Ok(())
    }
}

fn is_folder(entry: &TreeEntry<'_>) -> bool {
    entry.kind() == Some(ObjectType::Tree)
}

fn entry(of: &TreeEntry<'_>) -> Entry {
    // The raw mode: the canonical one would hide what is really written there.
    Entry { mode: u32::try_from(of.filemode_raw()).unwrap_or_default(), oid: of.id().to_string() }
}

/// The entries of a folder. They must be in git's order (where a folder's name ends with a slash), or going
/// in step would miss some.
fn entries<'t>(tree: Option<&'t Tree<'_>>) -> Result<Vec<TreeEntry<'t>>, GitError> {
    let Some(tree) = tree else { return Ok(Vec::new()) };
    let all: Vec<TreeEntry<'t>> = tree.iter().collect();
    if all.is_sorted_by(|a, b| a < b) {
        return Ok(all);
    }
    Err(GitError::Malformed { oid: tree.id().to_string(), why: "its entries are out of order" })
}
