//! What a delivery may look at: parsed files, raw bytes and names of one tree. Every path that is asked for is
//! noted by the [`Reader`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::layout::objects::is_below;
use crate::layout::reader::Reader;
use crate::layout::sources::Sources;
use crate::model::ids::RepoPath;
use crate::model::tree::{EntryMode, TreeFile};

/// One tree, seen through a reader.
#[derive(Debug)]
pub struct Ground<'a> {
    pub reader: &'a Reader<'a>,
    sources: &'a Sources,
    /// Folders whose names were asked for.
    listed: RefCell<BTreeSet<String>>,
}

impl<'a> Ground<'a> {
    #[must_use]
    pub fn new(reader: &'a Reader<'a>, sources: &'a Sources) -> Self {
        Self { reader, sources, listed: RefCell::default() }
    }

    /// Every folder whose names were asked for: a file that comes or goes below it may change the answer.
    #[must_use]
    pub fn into_listed(self) -> BTreeSet<String> {
        self.listed.into_inner()
    }

    /// Every entry below `dir`, by path; the empty name is the root.
    pub fn below(&self, dir: &'a str) -> impl Iterator<Item = (&'a RepoPath, &'a TreeFile)> {
        self.listed.borrow_mut().insert(dir.to_owned());
        let start = RepoPath::new(dir).map_or(Bound::Unbounded, Bound::Included);
        let from = self.sources.tree().files.range((start, Bound::Unbounded));
        from.take_while(move |(path, _)| path.as_str().starts_with(dir))
            .filter(move |(path, _)| is_below(path.as_str(), dir) && path.as_str() != dir)
    }

    /// Is there anything below `dir`?
    #[must_use]
    pub fn is_folder(&self, dir: &'a str) -> bool {
        self.below(dir).next().is_some()
    }

    /// Contents of a plain file.
    ///
    /// # Errors
    /// Why there are none, to be put behind the path.
    pub fn bytes(&self, path: &RepoPath) -> Result<Arc<[u8]>, &'static str> {
        // Asking for the reason notes the path.
        let _ = self.reader.why_skipped(path);
        match self.sources.file(path).map(|file| file.mode) {
            None => Err("is not a file of the repository"),
            Some(EntryMode::Symlink) => Err("is a symlink, which is never followed"),
            Some(EntryMode::Submodule) => Err("is a submodule, which is never followed"),
            Some(EntryMode::File | EntryMode::Executable) => {
                self.reader.bytes(path).ok_or("is too large to be read")
            }
        }
    }

    /// Contents of a file of values: encrypted counts are in the clear where they can be.
    ///
    /// # Errors
    /// As [`Ground::bytes`].
    pub fn values(&self, path: &RepoPath) -> Result<Arc<[u8]>, &'static str> {
        self.bytes(path)?;
        self.sources.values_of(path).ok_or("is too large to be read")
    }

    /// Why `path` cannot be read.
    #[must_use]
    pub fn why_skipped(&self, path: &RepoPath) -> String {
        let why = self.reader.why_skipped(path);
        why.map_or_else(|| "cannot be read".to_owned(), |why| why.to_string())
    }
}
