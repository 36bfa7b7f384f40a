//! The files of a tree that there are no facts for, for several readers to share: parsing is what a first look
//! costs. A tree and the facts of the past come in, facts go out. Which files a reader takes is its caller's
//! choice, and so is on which thread; without this, an index finds the same facts by itself.

use std::sync::Arc;

use super::Surroundings;
use super::facts::{self, KnownFiles};
use super::objects::{file_name, folder};
use super::saved::Saved;
use super::sources::{CHART, Sources, is_yaml};
use crate::model::ids::RepoPath;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};

/// See the module.
#[derive(Debug)]
pub struct Unknown {
    sources: Sources,
    paths: Vec<RepoPath>,
}

/// Facts of some files.
#[derive(Debug, Default)]
pub struct Learned(pub(super) KnownFiles);

impl Unknown {
    #[must_use]
    pub fn of(tree: &Arc<RepoTree>, saved: &Saved, surroundings: &Surroundings) -> Self {
        let mut sources = Sources::forgetful(Arc::clone(tree), Arc::clone(&surroundings.sops));
        for path in tree.files.keys().filter(|path| file_name(path.as_str()) == CHART) {
            sources.note_chart(folder(path.as_str()));
        }
        let plain = |file: &TreeFile| matches!(file.mode, EntryMode::File | EntryMode::Executable);
        let plain = tree.files.iter().filter(|(path, file)| plain(file) && is_yaml(path.as_str()));
        let unknown =
            plain.filter(|(path, file)| facts::known_of(&sources, path, file, &saved.files).is_none());
        let paths = unknown.map(|(path, _)| path.clone()).collect();
        Self { sources, paths }
    }

    /// How many files there are to look into.
    #[must_use]
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Looks into the `share`-th of `shares` equal parts. Nothing is learned when the object store fails: whoever
    /// needs the file finds out why.
    #[must_use]
    pub fn look(&self, share: usize, shares: usize) -> Learned {
        // Neighbours are often alike: taken in turn, every share has as much to do.
        let own = self.paths.iter().skip(share).step_by(shares.max(1));
        let look = |path: &RepoPath| {
            let blob = self.sources.file(path)?.blob;
            Some(((blob, facts::role_of(&self.sources, path)), facts::of_file(&self.sources, path)))
        };
        let learned: KnownFiles =
            own.take_while(|_| self.sources.failure().is_none()).filter_map(look).collect();
        if self.sources.failure().is_some() { Learned::default() } else { Learned(learned) }
    }
}
