//! A repository at one commit, as bytes: no work tree, no file system.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ids::{ObjectId, RepoPath};

/// What git says a tree entry is. tars reads and writes only plain files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMode {
    File,
    Executable,
    Symlink,
    Submodule,
}

/// One entry of a [`RepoTree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    pub mode: EntryMode,
    /// Contents; empty for symlinks and submodules, which are never followed.
    pub bytes: Arc<[u8]>,
}

/// The files of one commit that tars looks at (YAML below the configured roots, bounded in size and number
/// by the reader that made it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoTree {
    pub commit: ObjectId,
    pub files: BTreeMap<RepoPath, TreeFile>,
}

impl RepoTree {
    /// Contents of a plain file.
    #[must_use]
    pub fn bytes(&self, path: &RepoPath) -> Option<&[u8]> {
        let file = self.files.get(path)?;
        matches!(file.mode, EntryMode::File | EntryMode::Executable).then_some(&*file.bytes)
    }
}
