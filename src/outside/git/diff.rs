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

/// What stands at a path now, by its mode and the bytes of its id.
pub type Stands<'e> = Option<(u32, &'e [u8])>;

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

    /// As [`Objects::each_changed_entry`], with what stood there before, of the paths for which `want` says yes.
    ///
    /// # Errors
    /// As `each_changed_entry`.
    #[cfg(test)]
    pub fn changed_entries(
        &self,
        old: Option<&str>,
        new: &str,
        limits: TreeLimits,
        want: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<ChangedEntry>, GitError> {
        self.compare(old, new, limits, want, true)
    }

    /// The entries that differ between two commits or trees, one after the other; without `old`, every entry of
    /// `new`. `found` gets the path and what stands there now, its mode and the bytes of its id. In git's order, no
    /// rename detection. `limits.bytes_max` does not count here: no size is read.
    ///
    /// # Errors
    /// When a limit is passed, an object is missing, a folder is out of order, or `new` holds, where it differs, a
    /// name that is a form of `.git`, `.` or `..`; `found` may have been called by then.
    pub fn each_changed_entry(
        &self,
        old: Option<&str>,
        new: &str,
        limits: TreeLimits,
        found: &mut dyn FnMut(&str, Stands<'_>),
    ) -> Result<(), GitError> {
        let mut found = |path: String, _: Option<&TreeEntry<'_>>, new: Option<&TreeEntry<'_>>| {
            let id = new.map(TreeEntry::id);
            found(&path, new.zip(id.as_ref()).map(|(new, id)| (mode(new), id.as_bytes())));
        };
        self.walk_changes(old, new, limits, true, (&|_| true, &mut found))
    }

    /// The paths that differ between two commits or trees; without `old`, every path of `new`. As
    /// [`Objects::each_changed_entry`], but hostile names are listed like others: nothing is read or written by
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
        let mut rows = Vec::new();
        let mut found = |path, old: Option<&TreeEntry<'_>>, new: Option<&TreeEntry<'_>>| {
            rows.push(ChangedEntry { path, old: old.map(entry), new: new.map(entry) });
        };
        self.walk_changes(old, new, limits, refuse_hostile, (want, &mut found))?;
        Ok(rows)
    }

    fn walk_changes(
        &self,
        old: Option<&str>,
        new: &str,
        limits: TreeLimits,
        refuse_hostile: bool,
        (want, found): (&dyn Fn(&str) -> bool, &mut Found<'_>),
    ) -> Result<(), GitError> {
        let repository = self.lock();
        let old = old.map(|old| peel_tree(&repository, old)).transpose()?;
        let new = peel_tree(&repository, new)?;
        let counts = (0, 0);
        let mut walk = Walk { repository: &repository, limits, want, refuse_hostile, found, counts };
        if old.as_ref().map(Tree::id) == Some(new.id()) {
            return Ok(());
        }
        walk.folder(old.as_ref(), Some(&new), "", 0)
    }
}

/// Gets a path, and its entry on each side.
type Found<'f> = dyn FnMut(String, Option<&TreeEntry<'_>>, Option<&TreeEntry<'_>>) + 'f;

struct Walk<'r, 'f> {
    repository: &'r Repository,
    limits: TreeLimits,
    want: &'r dyn Fn(&str) -> bool,
    refuse_hostile: bool,
    found: &'r mut Found<'f>,
    /// Entries that differ (what is equal costs a comparison of two ids, and no more), and paths found.
    counts: (usize, usize),
}

impl Walk<'_, '_> {
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
        self.counts.0 += 1;
        if self.counts.0 > self.limits.entries_max {
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
            if self.counts.1 == self.limits.files_max {
                return Err(too_large("the comparison", self.limits.files_max, "paths"));
            }
            self.counts.1 += 1;
            (self.found)(path, old, new);
        }
        Ok(())
    }
}

fn is_folder(entry: &TreeEntry<'_>) -> bool {
    entry.kind() == Some(ObjectType::Tree)
}

/// The raw mode: the canonical one would hide what is really written there.
fn mode(of: &TreeEntry<'_>) -> u32 {
    u32::try_from(of.filemode_raw()).unwrap_or_default()
}

fn entry(of: &TreeEntry<'_>) -> Entry {
    Entry { mode: mode(of), oid: of.id().to_string() }
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
