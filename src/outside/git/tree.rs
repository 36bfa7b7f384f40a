//! Lists the files of a tree within bounds. A commit or tree id and bounds come in, rows go out. Links and
//! submodules are listed with their mode and never followed; a name that only an attack has refuses the whole
//! tree.

use git2::{ObjectType, Tree};

use super::GitError;
use super::names::{hostile_entry, refused};
use super::objects::{Objects, peel_tree, too_large};

/// Deepest folder looked into.
pub(super) const DEPTH_MAX: usize = 64;

/// How much of a tree one listing may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Entries looked at, wanted or not: a tree can name the same big folder a thousand times.
    pub entries_max: usize,
    /// Rows returned.
    pub files_max: usize,
    /// Sum of the sizes of the rows returned, in bytes.
    pub bytes_max: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries_max: 500_000, files_max: 100_000, bytes_max: 256 * 1024 * 1024 }
    }
}

/// One entry that is not a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    /// Bytes that are not UTF-8 show as the replacement character; such a path can be listed but not written.
    pub path: String,
    /// As git has it: `0o100644`, `0o100755`, `0o120000` symbolic link, `0o160000` submodule.
    pub mode: u32,
    pub oid: String,
    /// In bytes; 0 for a submodule, whose commit is elsewhere.
    pub size: u64,
}

impl Objects {
    /// The files of a commit or tree for whose path `want` says yes, in git's order.
    ///
    /// # Errors
    /// When a limit is passed, an object is missing, or a name is a form of `.git`, `.` or `..`.
    pub fn list_tree(
        &self,
        commit: &str,
        limits: TreeLimits,
        want: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<TreeRow>, GitError> {
        let repository = self.lock();
        let odb = repository.odb().map_err(GitError::objects("read a tree"))?;
        let root = peel_tree(&repository, commit)?;
        let mut listing =
            Listing { repository: &repository, odb, limits, want, rows: Vec::new(), entries: 0, bytes: 0 };
        listing.folder(&root, "", 0)?;
        Ok(listing.rows)
    }
}

struct Listing<'r> {
    repository: &'r git2::Repository,
    odb: git2::Odb<'r>,
    limits: TreeLimits,
    want: &'r dyn Fn(&str) -> bool,
    rows: Vec<TreeRow>,
    entries: usize,
    bytes: u64,
}

impl Listing<'_> {
    fn folder(&mut self, tree: &Tree<'_>, prefix: &str, depth: usize) -> Result<(), GitError> {
        if depth > DEPTH_MAX {
            return Err(too_large("the tree", DEPTH_MAX, "nested folders"));
        }
        for entry in tree {
            self.entries += 1;
            if self.entries > self.limits.entries_max {
                return Err(too_large("the tree", self.limits.entries_max, "entries"));
            }
            let name = entry.name_bytes();
            let path = format!("{prefix}{}", String::from_utf8_lossy(name));
            if let Some(why) = hostile_entry(name) {
                return Err(refused("tree entry", &path, why));
            }
            if entry.kind() == Some(ObjectType::Tree) {
                let folder =
                    self.repository.find_tree(entry.id()).map_err(GitError::objects("read a tree"))?;
                self.folder(&folder, &format!("{path}/"), depth + 1)?;
            } else if (self.want)(&path) {
                self.file(&entry, path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, entry: &git2::TreeEntry<'_>, path: String) -> Result<(), GitError> {
        // The raw mode: the canonical one would hide what is really written there.
        let mode = u32::try_from(entry.filemode_raw()).unwrap_or_default();
        let size = if entry.kind() == Some(ObjectType::Commit) {
            0
        } else {
            let (size, _) = self.odb.read_header(entry.id()).map_err(GitError::objects("read an object"))?;
            u64::try_from(size).unwrap_or(u64::MAX)
        };
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes_max {
            return Err(GitError::TooLarge {
                what: "the tree".to_owned(),
                max: self.limits.bytes_max,
                unit: "bytes of wanted files",
            });
        }
        if self.rows.len() == self.limits.files_max {
            return Err(too_large("the tree", self.limits.files_max, "wanted files"));
        }
        self.rows.push(TreeRow { path, mode, oid: entry.id().to_string(), size });
        Ok(())
    }
}
