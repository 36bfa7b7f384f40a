//! What an edit does to the objects of a repository. Edited files come in; the objects of every entry that reads
//! one of them, before and after, go out.
//!
//! Why the other entries need no look. Rendering an entry is a function of the answers its reader gives: the
//! first path it asks for is fixed, and each later one follows from the answers so far. An entry that asked for
//! none of the edited paths gets the same answers again, asks the same questions, and yields the same objects.
//! Which entries there are follows from which paths exist (an edit adds and removes none), which files can be
//! read, and what kustomization files name: [`Index::effect`] refuses an edit that changes either of the last two
//! in an edited file. So the objects compared here are all that can differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::entries::{Entry, EntryKey};
use super::facts;
use super::kustomize::Live;
use super::update::render_folder;
use super::{Index, RenderedKey, namespace_of};
use crate::model::ids::RepoPath;
use crate::model::reason::{Reason, ReasonCode};

/// Rendered objects by identity.
pub type Objects = BTreeMap<RenderedKey, Json>;

/// The objects that an edit may have changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Effect {
    pub before: Objects,
    pub after: Objects,
}

impl Index {
    /// What replacing `files` by these bytes does.
    ///
    /// # Errors
    /// `ProofFailed` when a file would stop to be readable, or a kustomization would name other files.
    pub fn effect(&self, files: &BTreeMap<RepoPath, Vec<u8>>) -> Result<Effect, Reason> {
        let failed = |why: String| Reason::new(ReasonCode::ProofFailed, why);
        let edited = self.sources.edited(files);
        let mut concerned = BTreeSet::new();
        for path in files.keys() {
            let old =
                self.files.get(path).ok_or_else(|| failed(format!("{path} is no file of the index")))?;
            let new = facts::of_file(&edited, path);
            if old.unreadable.is_some() || new.unreadable.is_some() {
                return Err(failed(format!("{path} cannot be read with the edit")));
            }
            if old.kustomization != new.kustomization {
                return Err(failed(format!("the edit of {path} changes which files it includes")));
            }
            concerned.extend(self.readers_of(path));
        }
        let mut effect = Effect { before: Objects::new(), after: Objects::new() };
        if concerned.contains(&EntryKey::Delivered) {
            let paths = files.keys().cloned().collect();
            let after = self.deliver(&edited, &paths, &concerned);
            if after.covered != self.delivered.covered || !after.from.keys().eq(self.delivered.from.keys()) {
                return Err(failed("the edit changes what Argo CD or Flux deliver".to_owned()));
            }
            add(&mut effect.before, self.delivered.lives.iter().map(Arc::as_ref));
            add(&mut effect.after, after.lives.iter().map(Arc::as_ref));
        }
        concerned.retain(|key| *key != EntryKey::Delivered && !self.delivered.covered.contains(key));
        for key in &concerned {
            let before = self.lives(key);
            add(&mut effect.before, before.iter().map(Arc::as_ref));
            let after = match key {
                EntryKey::File(path) => super::plain_objects(&edited, path),
                EntryKey::Folder(dir) => render_folder(&edited, dir).1,
                EntryKey::Delivered => Vec::new(),
            };
            add(&mut effect.after, after.iter());
        }
        match self.sources.failure() {
            Some(why) => Err(failed(format!("an object of the repository could not be read: {why}"))),
            None => Ok(effect),
        }
    }

    /// Every object of the repository: what the proof would compare if it could not know better.
    #[cfg(test)]
    #[must_use]
    pub fn rendered(&self) -> Objects {
        let mut all = Objects::new();
        add(&mut all, self.delivered.lives.iter().map(Arc::as_ref));
        for key in self.entries.keys().filter(|key| !self.delivered.covered.contains(*key)) {
            add(&mut all, self.lives(key).iter().map(Arc::as_ref));
        }
        all
    }

    /// The entries that read `path`, those included that reach no cluster by themselves.
    pub(super) fn readers_of(&self, path: &RepoPath) -> Vec<EntryKey> {
        let file = self.entries.get_key_value(&EntryKey::File(path.clone()));
        let file = file.filter(|(_, entry)| matches!(entry, Entry::File)).map(|(key, _)| key.clone());
        let folders = self.readers.get(path).into_iter().flatten();
        let folders = folders.map(|dir| EntryKey::Folder(Arc::clone(dir)));
        let mut readers: Vec<EntryKey> = file.into_iter().chain(folders).collect();
        if self.delivered.reads(path) || readers.iter().any(|key| self.delivered.from.contains_key(key)) {
            readers.push(EntryKey::Delivered);
        }
        readers
    }
}

fn add<'l>(all: &mut Objects, lives: impl Iterator<Item = &'l Live>) {
    for live in lives {
        let entry = live.layers.last().map_or(&live.declared.file, |layer| &layer.file).clone();
        let object = format!("{}/{}/{}", namespace_of(live), live.kind, live.name());
        let mut key = RenderedKey { object, api_version: live.api_version.clone(), entry, nth: 0 };
        while all.contains_key(&key) {
            key.nth += 1;
        }
        all.insert(key, live.value.clone());
    }
}
