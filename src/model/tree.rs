//! A repository at one commit: paths, what stands at each, and a way to its bytes. No work tree, no file
//! system; bytes are read when somebody asks and are not kept here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::ids::{ObjectId, RepoPath};

/// What git says a tree entry is. tars reads and writes only plain files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMode {
    File,
    Executable,
    Symlink,
    Submodule,
}

/// Names the bytes of a file: git's object id, or a digest of bytes that git does not have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// Git's own form: the 20 bytes of a SHA-1, or the 32 of a SHA-256.
    #[must_use]
    pub fn from_git(bytes: &[u8]) -> Option<Self> {
        let mut id = [0; 32];
        if !matches!(bytes.len(), 20 | 32) {
            return None;
        }
        id[..bytes.len()].copy_from_slice(bytes);
        Some(Self(id))
    }

    /// The name of bytes that are in no object store. It is never taken for a name that git gave.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// As stored: a SHA-1 is followed by twelve zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.0[20..].iter().all(|byte| *byte == 0);
        let shown = if short { &self.0[..20] } else { &self.0[..] };
        shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why the bytes of a path cannot be had. Reads as the rest of a sentence that starts with the path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unread {
    #[error("is not a file of the repository")]
    Absent,
    #[error("is a symlink, which is never followed")]
    Symlink,
    #[error("is a submodule, which is never followed")]
    Submodule,
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
    /// The object store failed: nothing may be concluded from it.
    #[error("could not be read from git: {0}")]
    Failed(String),
}

/// Where the bytes of a commit's files are.
pub trait Blobs: fmt::Debug + Send + Sync {
    /// The bytes of a blob of at most `bytes_max`.
    ///
    /// # Errors
    /// [`Unread::TooLarge`] or [`Unread::Failed`].
    fn read(&self, blob: &BlobId, bytes_max: usize) -> Result<Arc<[u8]>, Unread>;
}

/// For trees whose files are all in memory.
#[cfg(test)]
#[derive(Debug)]
struct NoBlobs;

#[cfg(test)]
impl Blobs for NoBlobs {
    fn read(&self, blob: &BlobId, _: usize) -> Result<Arc<[u8]>, Unread> {
        Err(Unread::Failed(format!("there is no object {blob}")))
    }
}

/// One entry of a [`RepoTree`].
#[derive(Debug, Clone)]
pub struct TreeFile {
    pub mode: EntryMode,
    pub blob: BlobId,
    held: Option<Arc<[u8]>>,
}

impl TreeFile {
    /// A file whose bytes git has.
    #[must_use]
    pub fn stored(mode: EntryMode, blob: BlobId) -> Self {
        Self { mode, blob, held: None }
    }

    /// A file whose bytes are given here: an edit that is not committed yet.
    #[must_use]
    pub fn held(mode: EntryMode, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { mode, blob: BlobId::of(&bytes), held: Some(bytes) }
    }
}

/// Equal content is an equal name; where the bytes are does not matter.
impl PartialEq for TreeFile {
    fn eq(&self, other: &Self) -> bool {
        (self.mode, self.blob) == (other.mode, other.blob)
    }
}

impl Eq for TreeFile {}

/// The files of one commit that tars looks at (bounded in number by the reader that made it).
#[derive(Debug, Clone)]
pub struct RepoTree {
    pub commit: ObjectId,
    pub files: BTreeMap<RepoPath, TreeFile>,
    blobs: Arc<dyn Blobs>,
}

impl RepoTree {
    /// A tree whose bytes come from `blobs`.
    #[must_use]
    pub fn new(commit: ObjectId, files: BTreeMap<RepoPath, TreeFile>, blobs: Arc<dyn Blobs>) -> Self {
        Self { commit, files, blobs }
    }

    /// A tree whose files are all in memory.
    #[cfg(test)]
    #[must_use]
    pub fn held(commit: ObjectId, files: BTreeMap<RepoPath, TreeFile>) -> Self {
        Self::new(commit, files, Arc::new(NoBlobs))
    }

    /// Bytes come from `blobs` from now on: the same objects in another place.
    pub fn read_from(&mut self, blobs: Arc<dyn Blobs>) {
        self.blobs = blobs;
    }

    /// The files below a folder (empty: the root), by path; not those of its neighbours `dir-x` and `dir.y`.
    pub fn below(&self, dir: &str) -> impl Iterator<Item = (&RepoPath, &TreeFile)> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        // '+' sorts before every other byte a path may have.
        let start = RepoPath::new(format!("{prefix}+")).ok();
        let from = start.map(|start| self.files.range(start..)).into_iter().flatten();
        from.take_while(move |(path, _)| path.as_str().starts_with(&prefix))
    }

    /// Contents of a plain file of at most `bytes_max`.
    ///
    /// # Errors
    /// [`Unread`] with the reason.
    pub fn bytes(&self, path: &RepoPath, bytes_max: usize) -> Result<Arc<[u8]>, Unread> {
        self.bytes_of(self.files.get(path).ok_or(Unread::Absent)?, bytes_max)
    }

    /// Contents of a plain file of this tree, or of an edit of one.
    ///
    /// # Errors
    /// [`Unread`] with the reason.
    pub fn bytes_of(&self, file: &TreeFile, bytes_max: usize) -> Result<Arc<[u8]>, Unread> {
        match (file.mode, &file.held) {
            (EntryMode::Symlink, _) => Err(Unread::Symlink),
            (EntryMode::Submodule, _) => Err(Unread::Submodule),
            (_, Some(bytes)) if bytes.len() > bytes_max => Err(Unread::TooLarge(bytes_max)),
            (_, Some(bytes)) => Ok(Arc::clone(bytes)),
            (_, None) => self.blobs.read(&file.blob, bytes_max),
        }
    }
}

impl PartialEq for RepoTree {
    fn eq(&self, other: &Self) -> bool {
        self.commit == other.commit && self.files == other.files
    }
}

impl Eq for RepoTree {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_a_folder_is_what_stands_in_it_and_nothing_beside_it() {
        let path = |text: &str| RepoPath::new(text).unwrap();
        let names = ["a", "a+b/x", "a-b/x", "a.b", "a/+", "a/.x", "a/b/c", "a/x", "a0", "b"];
        let file = || TreeFile::held(EntryMode::File, &b""[..]);
        let tree = RepoTree::held(
            ObjectId::new("a".repeat(40)).unwrap(),
            names.iter().map(|name| (path(name), file())).collect(),
        );
        let below = |dir| tree.below(dir).map(|(path, _)| path.as_str()).collect::<Vec<_>>();
        assert_eq!(below("a"), ["a/+", "a/.x", "a/b/c", "a/x"]);
        assert_eq!(below("a/b"), ["a/b/c"]);
        assert_eq!(below(""), names);
    }

    #[test]
    fn a_blob_id_is_shown_as_git_shows_it() {
        for (bytes, shown) in [(20, "ab".repeat(20)), (32, "ab".repeat(32))] {
            assert_eq!(BlobId::from_git(&vec![0xab; bytes]).unwrap().to_string(), shown);
        }
        for wrong in [0, 19, 21, 33] {
            assert_eq!(BlobId::from_git(&vec![0xab; wrong]), None);
        }
    }
}
