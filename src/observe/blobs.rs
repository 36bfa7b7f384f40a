//! The bytes of a repository's files for the index: from the object store, within a budget, and the facts of
//! earlier indexes in a file. Ids come in, bytes go out. A file of facts that is not as it should be is as good
//! as none.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{Index, MAX_SAVED_BYTES, Saved, Surroundings, Unknown};
use crate::model::tree::{BlobId, Blobs, RepoTree, Unread};
use crate::outside::files;
use crate::outside::git::{GitError, Objects};

/// Most bytes of files that are read to look through one commit.
const COMMIT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Reads blobs through a handle of its own, so that a snapshot outlives the caller's.
#[derive(Debug)]
pub struct GitBlobs {
    objects: Objects,
    folder: PathBuf,
    /// Bytes that may still be read.
    left: AtomicU64,
}

impl GitBlobs {
    /// # Errors
    /// When the repository cannot be opened a second time.
    pub fn of(objects: &Objects) -> Result<Self, GitError> {
        let folder = objects.folder();
        Ok(Self { objects: objects.reopen()?, folder, left: AtomicU64::new(u64::MAX) })
    }

    /// Is this the repository of `objects`?
    #[must_use]
    pub fn is_of(&self, objects: &Objects) -> bool {
        self.folder == objects.folder()
    }

    /// Runs `look` with a budget of [`COMMIT_BYTES_MAX`]; what is read beyond it fails.
    pub fn bounded<T>(&self, look: impl FnOnce() -> T) -> T {
        self.left.store(COMMIT_BYTES_MAX, Ordering::Relaxed);
        let seen = look();
        self.left.store(u64::MAX, Ordering::Relaxed);
        seen
    }
}

impl Blobs for GitBlobs {
    fn read(&self, blob: &BlobId, bytes_max: usize) -> Result<Arc<[u8]>, Unread> {
        let bytes = self.objects.blob(&blob.to_string(), bytes_max).map_err(|error| match error {
            GitError::TooLarge { .. } => Unread::TooLarge(bytes_max),
            error => {
                let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
                Unread::Failed(format!("{error}{cause}"))
            }
        })?;
        let taken = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let spend = |left: u64| left.checked_sub(taken);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            let why = format!("the files of one commit have more than {COMMIT_BYTES_MAX} bytes together");
            return Err(Unread::Failed(why));
        }
        Ok(bytes.into())
    }
}

/// Most threads that look into files; more would wait for each other at the object store.
const READERS_MAX: usize = 4;
/// Fewer files than this are looked into without starting a thread.
const SHARED_MIN: usize = 500;

/// Looks into the files that `saved` has no facts for, on as many threads as the machine has processors for.
pub fn learn(tree: &Arc<RepoTree>, saved: &mut Saved, surroundings: &Surroundings) {
    // After a restart nearly all is known, and finding out what is not would cost as much as it saves.
    if saved.files.len() > tree.files.len() / 2 {
        return;
    }
    let unknown = Unknown::of(tree, saved, surroundings);
    if unknown.count() < SHARED_MIN {
        return;
    }
    let readers = std::thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX);
    std::thread::scope(|scope| {
        let unknown = &unknown;
        let started: Vec<_> =
            (1..readers).map(|share| scope.spawn(move || unknown.look(share, readers))).collect();
        saved.add(unknown.look(0, readers));
        // What a reader that died would have learned, the index finds out by itself.
        for learned in started.into_iter().filter_map(|it| it.join().ok()) {
            saved.add(learned);
        }
    });
}

/// Where facts outlive the process.
#[derive(Debug)]
pub struct FactsFile {
    path: PathBuf,
    stamp: String,
    /// Files and folders that were looked into since the facts were written.
    unsaved: usize,
}

/// So many files are parsed again after a restart, in a moment, before facts are written again.
const UNSAVED_MAX: usize = 2_000;

impl FactsFile {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let build = files::program_stamp().unwrap_or_default();
        Self { path, stamp: format!("{} {build}", env!("CARGO_PKG_VERSION")), unsaved: 0 }
    }

    /// The facts of the last process; none when there is any doubt about them.
    #[must_use]
    pub fn read(&self) -> Saved {
        let bytes = files::read_bounded(&self.path, MAX_SAVED_BYTES).ok();
        bytes.and_then(|bytes| Saved::read(&bytes, &self.stamp)).unwrap_or_default()
    }

    /// Files and folders that were looked into since the facts were written.
    #[cfg(test)]
    pub fn unsaved(&self) -> usize {
        self.unsaved
    }

    /// Writes the facts of an index that looked into much since they were written. A failure costs time at the next start.
    pub fn note(&mut self, index: &mut Index) {
        self.unsaved = self.unsaved.saturating_add(index.take_fresh());
        if self.unsaved <= UNSAVED_MAX {
            return;
        }
        self.unsaved = 0;
        if let Some(bytes) = index.saved(&self.stamp) {
            drop(files::write_durable(&self.path, &bytes));
        }
    }
}
