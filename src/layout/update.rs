//! Moves an index from one tree to another. Paths that changed come in; the facts, the entries and the maps over
//! them follow. Only entries that saw a changed path are rendered again, so the cost follows the change; a new
//! index is the move from the empty tree to everything.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delivered::Watched;
use super::entries::{At, Entry, EntryKey, FolderEntry, FolderState};
use super::facts::{self, ObjectFacts};
use super::kustomize::{Live, Renderer, is_kustomization_file};
use super::objects::{file_name, folder};
use super::reader::{Reader, inside};
use super::recent::weight_of;
use super::saved::Saved;
use super::sources::{CHART, Skipped, Sources, is_yaml};
use super::{Index, locked};
use crate::model::ids::{ObjectId, RepoPath};
use crate::model::tree::{Blobs, RepoTree, TreeFile};

/// A path and what stands there now; `None`: nothing any more.
pub type Change = (RepoPath, Option<TreeFile>);

/// The facts and dependencies of a folder, rendered from `sources`.
pub fn render_folder(sources: &Sources, dir: &str) -> (BTreeSet<RepoPath>, Vec<Live>) {
    let reader = Reader::new(sources);
    let lives = Renderer::new(&reader).render(dir);
    (reader.into_seen(), lives)
}

impl Index {
    /// Moves to `commit`, which differs from the present one by `changes` and nothing else.
    pub fn advance(&mut self, commit: ObjectId, changes: Vec<Change>) {
        let tree = self.sources.tree_mut();
        tree.commit = commit;
        let mut touched = BTreeSet::new();
        for (path, file) in changes {
            match file {
                Some(file) => tree.files.insert(path.clone(), file),
                None => tree.files.remove(&path),
            };
            touched.insert(path);
        }
        self.follow(touched, &Saved::default());
    }

    /// How many files and folders were looked into since this was last asked: what is lost when facts are not
    /// saved now.
    pub fn take_fresh(&mut self) -> usize {
        std::mem::take(&mut self.fresh)
    }

    /// Bytes come from `blobs` from now on: the same objects in another place.
    pub fn read_from(&mut self, blobs: Arc<dyn Blobs>) {
        self.sources.tree_mut().read_from(blobs);
    }

    /// What makes `tree` of the tree that this is the index of.
    #[must_use]
    pub fn changes_to(&self, tree: &RepoTree) -> Vec<Change> {
        let (old, new) = (&self.tree().files, &tree.files);
        let gone = old.keys().filter(|path| !new.contains_key(*path)).map(|path| (path.clone(), None));
        let other = new.iter().filter(|(path, file)| old.get(*path) != Some(*file));
        gone.chain(other.map(|(path, file)| (path.clone(), Some(file.clone())))).collect()
    }

    /// The index of another tree of the same repository, made from this one.
    #[must_use]
    pub fn moved_to(&self, tree: &RepoTree) -> Self {
        let changes = self.changes_to(tree);
        let mut moved = self.clone();
        moved.advance(tree.commit.clone(), changes);
        moved
    }

    /// Brings everything up to the tree, of which only `touched` changed.
    pub(super) fn follow(&mut self, mut touched: BTreeSet<RepoPath>, saved: &Saved) {
        self.follow_charts(&mut touched);
        let mut folders = BTreeSet::new();
        for path in touched.iter().filter(|path| is_yaml(path.as_str())) {
            self.follow_file(path, saved);
            if is_kustomization_file(path) {
                folders.insert(folder(path.as_str()).to_owned());
            }
        }
        // Files whose own place among the entries is in doubt, beside those that changed.
        let mut doubtful = BTreeSet::new();
        for dir in folders.clone() {
            let state = FolderState::of(&dir, |path| self.files.get(path).map(Arc::as_ref));
            let shift = self.folders.set(&dir, state);
            if shift.governs {
                doubtful.extend(self.sources.tree().below(&dir).map(|(path, _)| path.clone()));
            }
            doubtful.extend(shift.named.iter().filter_map(|path| RepoPath::new(path.as_str()).ok()));
            folders.extend(shift.named);
        }
        for path in &touched {
            folders.extend(self.readers.get(path).into_iter().flatten().map(|dir| dir.as_ref().to_owned()));
        }
        doubtful.append(&mut touched.clone());
        // Neighbours share their folder, and most questions are about what governs it.
        let mut last: Option<(&str, bool)> = None;
        for path in &doubtful {
            let dir = folder(path.as_str());
            let governed = match last {
                Some((same, governed)) if same == dir => governed,
                _ => self.folders.govern(dir),
            };
            last = Some((dir, governed));
            self.follow_plain(path, governed);
        }
        for dir in &folders {
            self.follow_folder(dir, saved);
        }
        let files = doubtful.into_iter().map(EntryKey::File);
        let changed =
            files.chain(folders.iter().map(|dir| EntryKey::Folder(Arc::from(dir.as_str())))).collect();
        self.follow_deliveries(&touched, &changed);
    }

    /// A chart that comes or goes changes what the files below its templates are.
    fn follow_charts(&mut self, touched: &mut BTreeSet<RepoPath>) {
        let named: Vec<&RepoPath> = touched.iter().filter(|p| file_name(p.as_str()) == CHART).collect();
        let mut more = BTreeSet::new();
        for path in named {
            let dir = folder(path.as_str());
            if self.sources.note_chart(dir) {
                more.extend(
                    self.sources.tree().below(&inside(dir, "templates")).map(|(path, _)| path.clone()),
                );
            }
        }
        touched.append(&mut more);
    }

    fn follow_file(&mut self, path: &RepoPath, saved: &Saved) {
        self.remove_entry(&EntryKey::File(path.clone()));
        self.hidden.remove(path);
        let facts = self.sources.file(path).map(|file| {
            facts::known_of(&self.sources, path, file, &saved.files).unwrap_or_else(|| {
                self.fresh += 1;
                facts::of_file(&self.sources, path)
            })
        });
        let why = facts.as_ref().and_then(|facts| facts.unreadable.as_deref());
        self.note_skipped(path, why);
        match facts {
            Some(facts) => {
                if facts.names_autoscaler {
                    self.hidden.insert(path.clone());
                }
                self.files.insert(path.clone(), facts);
            }
            None => {
                self.files.remove(path);
            }
        }
    }

    fn note_skipped(&mut self, path: &RepoPath, why: Option<&str>) {
        let place = self.skipped.binary_search_by(|it| it.file.cmp(path));
        match (place, why) {
            (Ok(at), Some(why)) => why.clone_into(&mut self.skipped[at].why),
            (Ok(at), None) => drop(self.skipped.remove(at)),
            (Err(at), Some(why)) => {
                self.skipped.insert(at, Skipped { file: path.clone(), why: why.to_owned() });
            }
            (Err(_), None) => {}
        }
    }

    /// `governed`: by a kustomization in its folder or above.
    fn follow_plain(&mut self, path: &RepoPath, governed: bool) {
        let key = EntryKey::File(path.clone());
        let found = self.files.get(path);
        let found = found.filter(|facts| facts.unreadable.is_none() && !governed && !self.folders.name(path));
        let Some(facts) = found.map(Arc::clone) else {
            self.remove_entry(&key);
            return;
        };
        if let MapEntry::Vacant(place) = self.entries.entry(key.clone()) {
            place.insert(Entry::File);
            self.note_objects(&key, &facts.objects);
        }
    }

    fn follow_folder(&mut self, dir: &str, saved: &Saved) {
        let key = EntryKey::Folder(Arc::from(dir));
        self.remove_entry(&key);
        if !self.folders.is_entry(dir) {
            return;
        }
        let entry = match saved.folder(dir, &self.sources) {
            Some(entry) => entry,
            None => {
                self.fresh += 1;
                let (seen, lives) = render_folder(&self.sources, dir);
                let objects = lives.iter().map(ObjectFacts::of).collect();
                self.keep(&key, lives);
                Arc::new(FolderEntry { seen: seen.into_iter().collect(), objects })
            }
        };
        let EntryKey::Folder(name) = &key else { return };
        for path in &entry.seen {
            self.readers.entry(path.clone()).or_default().insert(Arc::clone(name));
        }
        self.note_objects(&key, &entry.objects);
        self.entries.insert(key, Entry::Folder(entry));
    }

    /// Keeps rendered objects for the questions to come.
    pub(super) fn keep(&self, key: &EntryKey, lives: Vec<Live>) -> Arc<[Arc<Live>]> {
        let lives: Arc<[Arc<Live>]> = lives.into_iter().map(Arc::new).collect();
        if self.sources.failure().is_none() {
            let weight = |live: &Arc<Live>| {
                let patches = live.patches.iter().map(|it| weight_of(&it.value)).sum::<usize>();
                1_024 + weight_of(&live.value) + patches
            };
            let weight = lives.iter().map(weight).sum();
            locked(&self.recent).put(key.clone(), Arc::clone(&lives), weight);
        }
        lives
    }

    /// Notes the objects of a new entry; those of a covered one are known and not shown.
    pub(super) fn note_objects(&mut self, key: &EntryKey, objects: &[ObjectFacts]) {
        for (nth, object) in objects.iter().enumerate() {
            if let Some(kind) = Watched::of(object) {
                self.watched.insert((kind, At { entry: key.clone(), nth }));
            }
        }
        if !self.delivered.covered.contains(key) {
            self.show_objects(key, objects);
        }
    }

    fn show_objects(&mut self, key: &EntryKey, objects: &[ObjectFacts]) {
        for (nth, object) in objects.iter().enumerate() {
            let at = At { entry: key.clone(), nth };
            if let Some(reference) = &object.reference {
                insert_sorted(&mut self.by_reference, Arc::clone(reference), at.clone());
            }
            if let Some(target) = &object.scales {
                insert_sorted(&mut self.autoscalers, target.clone(), at);
            }
        }
    }

    fn hide_objects(&mut self, key: &EntryKey, objects: &[ObjectFacts]) {
        for (nth, object) in objects.iter().enumerate() {
            let at = At { entry: key.clone(), nth };
            if let Some(reference) = &object.reference {
                remove_sorted(&mut self.by_reference, reference, &at);
            }
            if let Some(target) = &object.scales {
                remove_sorted(&mut self.autoscalers, target, &at);
            }
        }
    }

    /// Shows the objects of an entry again.
    pub(super) fn show(&mut self, key: &EntryKey) {
        if let Some(objects) = self.objects_of(key) {
            self.show_objects(key, &objects);
        }
    }

    /// Hides the objects of an entry: they reach a cluster in another way.
    pub(super) fn hide(&mut self, key: &EntryKey) {
        if let Some(objects) = self.objects_of(key) {
            self.hide_objects(key, &objects);
        }
    }

    fn objects_of(&self, key: &EntryKey) -> Option<Vec<ObjectFacts>> {
        match (self.entries.get(key)?, key) {
            (Entry::File, EntryKey::File(path)) => Some(self.files.get(path)?.objects.to_vec()),
            (Entry::Folder(entry), _) => Some(entry.objects.to_vec()),
            _ => None,
        }
    }

    fn remove_entry(&mut self, key: &EntryKey) {
        locked(&self.recent).remove(key);
        let Some(entry) = self.entries.remove(key) else { return };
        match (&entry, key) {
            (Entry::File, EntryKey::File(path)) => {
                let facts = self.files.get(path).cloned().unwrap_or_default();
                self.forget_objects(key, &facts.objects);
            }
            (Entry::Folder(entry), EntryKey::Folder(dir)) => {
                for path in &entry.seen {
                    let Some(readers) = self.readers.get_mut(path) else { continue };
                    readers.remove(dir);
                    if readers.is_empty() {
                        self.readers.remove(path);
                    }
                }
                self.forget_objects(key, &entry.objects);
            }
            _ => {}
        }
    }

    pub(super) fn forget_objects(&mut self, key: &EntryKey, objects: &[ObjectFacts]) {
        for (nth, object) in objects.iter().enumerate() {
            if let Some(kind) = Watched::of(object) {
                self.watched.remove(&(kind, At { entry: key.clone(), nth }));
            }
        }
        self.hide_objects(key, objects);
    }
}

/// Most keys have one value: no room is kept for more.
fn insert_sorted<K: Ord>(map: &mut BTreeMap<K, Vec<At>>, key: K, at: At) {
    let list = map.entry(key).or_default();
    if let Err(place) = list.binary_search(&at) {
        list.reserve_exact(1);
        list.insert(place, at);
    }
}

fn remove_sorted<K: Ord>(map: &mut BTreeMap<K, Vec<At>>, key: &K, at: &At) {
    let Some(list) = map.get_mut(key) else { return };
    if let Ok(place) = list.binary_search(at) {
        list.remove(place);
    }
    if list.is_empty() {
        map.remove(key);
    }
}
