//! The ways by which objects reach a cluster, and which of them a repository has: a file that no kustomization
//! governs or names, and a folder whose kustomization nobody includes. Facts of kustomization files come in;
//! what governs, what is named and what is an entry goes out. Nothing is rendered here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::facts::{FileFacts, ObjectFacts};
use super::kustomize::resolve;
use super::objects::folder;
use super::reader::{KUSTOMIZATION_FILES, inside};
use crate::model::ids::RepoPath;

/// One way by which objects reach a cluster. Files sort before folders, and both by path: the order in which
/// objects are listed everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKey {
    /// A manifest.
    File(RepoPath),
    /// The kustomization of a folder; empty for the root.
    Folder(Arc<str>),
    /// Everything that Argo CD and Flux bring.
    Delivered,
}

/// An object: the entry it comes through and its place among the entry's objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub entry: EntryKey,
    pub nth: usize,
}

/// What is remembered of an entry. The objects of a file are in the file's facts.
#[derive(Debug, Clone)]
pub enum Entry {
    File,
    Folder(Arc<FolderEntry>),
}

/// What rendering a folder gave, and what it depends on.
#[derive(Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// Every path that was asked for, whether it was there or not: as long as all of them stay as they are,
    /// rendering again asks the same questions and gives the same objects.
    pub seen: Box<[RepoPath]>,
    pub objects: Box<[ObjectFacts]>,
}

/// What a folder is to kustomize.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderState {
    /// It has a kustomization file that cannot be read: what that includes is unknown.
    pub broken: bool,
    pub kustomization: Option<Kustomization>,
}

/// A kustomization that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kustomization {
    pub component: bool,
    /// The paths it names, from the root.
    pub references: Vec<String>,
}

impl FolderState {
    /// Looks at the three files that kustomize looks for; the first that is a kustomization counts.
    pub fn of<'f>(dir: &str, facts: impl Fn(&RepoPath) -> Option<&'f FileFacts>) -> Self {
        let mut state = Self::default();
        for name in KUSTOMIZATION_FILES {
            let Some(facts) = RepoPath::new(inside(dir, name)).ok().and_then(|path| facts(&path)) else {
                continue;
            };
            state.broken |= facts.unreadable.is_some();
            if let Some(found) = facts.kustomization.as_ref().filter(|_| state.kustomization.is_none()) {
                let references = found.references.iter().filter_map(|name| resolve(dir, name)).collect();
                state.kustomization = Some(Kustomization { component: found.component, references });
            }
        }
        state
    }

    fn governs(&self) -> bool {
        self.broken || self.kustomization.is_some()
    }

    fn references(&self) -> &[String] {
        self.kustomization.as_ref().map_or(&[], |it| &it.references)
    }
}

/// The kustomizations of a repository.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    states: BTreeMap<String, FolderState>,
    /// How many times a path is named by a kustomization.
    named: HashMap<String, usize>,
}

/// What the new state of one folder means for others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// The files below are governed now and were not, or the other way round.
    pub governs: bool,
    /// Paths that somebody names now and nobody did, or the other way round.
    pub named: BTreeSet<String>,
}

impl Folders {
    /// Notes the state of a folder.
    pub fn set(&mut self, dir: &str, state: FolderState) -> Shift {
        let old = self.states.remove(dir).unwrap_or_default();
        let mut shift = Shift { governs: old.governs() != state.governs(), named: BTreeSet::new() };
        if old.references() != state.references() {
            for path in state.references() {
                let count = self.named.entry(path.clone()).or_default();
                *count += 1;
                if *count == 1 {
                    shift.named.insert(path.clone());
                }
            }
            for path in old.references() {
                let Some(count) = self.named.get_mut(path) else { continue };
                *count -= 1;
                if *count == 0 {
                    self.named.remove(path);
                    shift.named.insert(path.clone());
                }
            }
        }
        if state.governs() {
            self.states.insert(dir.to_owned(), state);
        }
        shift
    }

    /// Is there a kustomization in `dir` or in a folder above it?
    #[must_use]
    pub fn govern(&self, dir: &str) -> bool {
        let mut at = dir;
        loop {
            if self.states.contains_key(at) {
                return true;
            }
            if at.is_empty() {
                return false;
            }
            at = folder(at);
        }
    }

    /// Does a kustomization name this file?
    #[must_use]
    pub fn name(&self, file: &RepoPath) -> bool {
        self.named.contains_key(file.as_str())
    }

    /// Is `dir` what Argo CD or Flux would be pointed at: a kustomization that no other one includes?
    #[must_use]
    pub fn is_entry(&self, dir: &str) -> bool {
        let kustomization = self.states.get(dir).and_then(|it| it.kustomization.as_ref());
        kustomization.is_some_and(|it| !it.component) && !self.named.contains_key(dir)
    }

    /// Folders with a kustomization file that cannot be read.
    pub fn broken(&self) -> impl Iterator<Item = &str> {
        self.states.iter().filter(|(_, state)| state.broken).map(|(dir, _)| dir.as_str())
    }
}
