//! The GitOps repository at one commit: paths, the index of objects, policies, and whether a person has said
//! stop. Object ids come in, a snapshot goes out. From one commit to the next only what changed is looked at;
//! nothing is ever checked out or written.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::blobs::{FactsFile, GitBlobs, learn};
use super::charts::Charts;
use super::releases::Past;
use crate::crd::{self, PolicyProblem};
use crate::layout::{self, Change, Index, MAX_FILE_BYTES, Surroundings};
use crate::model::ids::{InvalidName, ObjectId, RepoPath, WorkloadRef};
use crate::model::policy::{Policy, WriteTo};
use crate::model::reason::Reason;
use crate::model::suspension::Suspension;
use crate::model::tree::{BlobId, EntryMode, RepoTree, TreeFile, Unread};
use crate::model::workload::Workload;
use crate::outside::git::{GitError, Objects, Stands, TreeLimits};

/// Most YAML files of one repository.
const FILES_MAX: usize = 200_000;
/// Most entries of any kind that are looked at.
const ENTRIES_MAX: usize = 1_000_000;
/// Most paths outside tars' grammar that are remembered.
const ODD_PATHS_MAX: usize = 1_000;
/// Name of the file beside the policies whose presence stops every automatic merge; its text is the reason.
pub const SUSPENDED_FILE: &str = "SUSPENDED";

/// The repository could not be read as a whole.
#[derive(Debug, Error)]
pub enum RepositoryError {
    #[error("could not read {what}")]
    Git {
        what: &'static str,
        #[source]
        source: GitError,
    },
    #[error("git gave a name that is none")]
    Name(#[from] InvalidName),
    #[error("could not look through the files")]
    Unread(#[from] Unread),
}

pub(super) fn reading(what: &'static str) -> impl FnOnce(GitError) -> RepositoryError {
    move |source| RepositoryError::Git { what, source }
}

/// One commit of the watched branch, read and understood.
#[derive(Debug)]
pub struct Snapshot {
    pub commit: ObjectId,
    pub tree: Arc<RepoTree>,
    pub index: Index,
    pub policies: Vec<Policy>,
    /// The folder they stand in, which nothing of ours is ever written to.
    pub policies_path: RepoPath,
    /// Policies that could not be accepted; they act on nothing until mended.
    pub problems: Vec<PolicyProblem>,
    /// What the file SUSPENDED says, when there is one; it may be over.
    pub suspended: Option<Suspension>,
}

/// Reads commits of one repository, and goes from the last one it has seen to the next.
#[derive(Debug)]
pub struct Repository {
    policies_path: RepoPath,
    facts: Option<FactsFile>,
    blobs: Option<Arc<GitBlobs>>,
    newest: Option<Arc<Snapshot>>,
    /// Paths of the newest snapshot that tars does not accept.
    odd: BTreeSet<String>,
    /// What each policy file of the newest snapshot says: most commits leave them as they were.
    said: HashMap<RepoPath, (TreeFile, Vec<Policy>)>,
    /// Last releases as of one commit: the walk that finds one is asked for at every step of a tick.
    releases: (Option<ObjectId>, HashMap<WorkloadRef, Past>),
    charts: Charts,
    surroundings: Surroundings,
}

impl Repository {
    #[must_use]
    pub fn new(policies_path: RepoPath) -> Self {
        Self {
            policies_path,
            facts: None,
            blobs: None,
            newest: None,
            odd: BTreeSet::new(),
            said: HashMap::new(),
            releases: (None, HashMap::new()),
            charts: Charts::new("helm"),
            surroundings: Surroundings::default(),
        }
    }

    /// Reads it as what it is and with what may be done with it; charts are added here.
    #[must_use]
    pub fn in_surroundings(self, surroundings: Surroundings) -> Self {
        Self { surroundings, ..self }
    }

    /// Renders what a snapshot or an edit lacks: `charts().settle(|| ...)`.
    #[must_use]
    pub fn charts(&self) -> Charts {
        self.charts.clone()
    }

    /// Keeps what is learned about files in `path`, so that the next process need not parse them again.
    #[must_use]
    pub fn with_facts(self, path: PathBuf) -> Self {
        Self { facts: Some(FactsFile::new(path)), ..self }
    }

    /// The files of `commit` that tars looks at.
    ///
    /// # Errors
    /// When git cannot read the commit or the tree is over a bound.
    pub fn tree(&mut self, objects: &Objects, commit: &ObjectId) -> Result<RepoTree, RepositoryError> {
        let blobs = self.blobs(objects)?;
        Ok(self.listing(objects, &blobs, commit)?.0)
    }

    /// A way to the bytes of this repository.
    fn blobs(&mut self, objects: &Objects) -> Result<Arc<GitBlobs>, RepositoryError> {
        if let Some(blobs) = self.blobs.as_ref().filter(|it| it.is_of(objects)) {
            return Ok(Arc::clone(blobs));
        }
        let blobs = Arc::new(GitBlobs::of(objects).map_err(reading("the clone"))?);
        self.blobs = Some(Arc::clone(&blobs));
        Ok(blobs)
    }

    fn listing(
        &self,
        objects: &Objects,
        blobs: &Arc<GitBlobs>,
        commit: &ObjectId,
    ) -> Result<(RepoTree, BTreeSet<String>), RepositoryError> {
        let mut odd = BTreeSet::new();
        let changes = self.changes(objects, None, commit, &mut odd)?;
        let files = changes.into_iter().filter_map(|(path, file)| Some((path, file?))).collect();
        let source: Arc<GitBlobs> = Arc::clone(blobs);
        Ok((RepoTree::new(commit.clone(), files, source), odd))
    }

    /// What differs between two commits, of the files that tars looks at; without `old`, all of them.
    pub(super) fn changes(
        &self,
        objects: &Objects,
        old: Option<&ObjectId>,
        new: &ObjectId,
        odd: &mut BTreeSet<String>,
    ) -> Result<Vec<Change>, RepositoryError> {
        let limits = TreeLimits { files_max: FILES_MAX, entries_max: ENTRIES_MAX, ..TreeLimits::default() };
        // Not only YAML: a generator's file may have any name.
        let mut changes = Vec::new();
        let mut note = |path: &str, new: Stands<'_>| match RepoPath::new(path) {
            Ok(name) => changes.push((name, new.and_then(|(mode, id)| stored(mode, id)))),
            // A path outside the grammar cannot be a target; it is left out rather than failing everything.
            Err(_) if new.is_none() => drop(odd.remove(path)),
            Err(_) if odd.len() < ODD_PATHS_MAX => drop(odd.insert(path.to_owned())),
            Err(_) => {}
        };
        objects
            .each_changed_entry(old.map(ObjectId::as_str), new.as_str(), limits, &mut note)
            .map_err(reading("the tree"))?;
        Ok(changes)
    }

    fn marker(&self) -> String {
        format!("{}/{SUSPENDED_FILE}", self.policies_path)
    }

    /// Everything decisions need to know about `commit`; cached while the branch does not move.
    ///
    /// # Errors
    /// As [`Repository::tree`]. A bad policy file is not an error but a problem in the snapshot.
    pub fn snapshot(
        &mut self,
        objects: &Objects,
        commit: &ObjectId,
    ) -> Result<Arc<Snapshot>, RepositoryError> {
        let same_place = self.blobs.as_ref().is_some_and(|it| it.is_of(objects));
        let good = |it: &&Arc<Snapshot>| same_place && it.commit == *commit && it.index.failure().is_none();
        if let Some(newest) = self.newest.as_ref().filter(good) {
            if !newest.index.lacks_charts() {
                return Ok(Arc::clone(newest));
            }
            // Seen again, now that Helm may have answered.
            let mut index = newest.index.clone();
            index.redeliver();
            let snapshot = Arc::new(self.understand(index)?);
            self.newest = Some(Arc::clone(&snapshot));
            return Ok(snapshot);
        }
        let index = self.index(objects, commit)?;
        if let Some(why) = index.failure() {
            return Err(Unread::Failed(why).into());
        }
        let snapshot = Arc::new(self.understand(index)?);
        self.newest = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// The index of `commit`: the newest one moved on, or a new one.
    fn index(&mut self, objects: &Objects, commit: &ObjectId) -> Result<Index, RepositoryError> {
        let blobs = self.blobs(objects)?;
        let mut odd = std::mem::take(&mut self.odd);
        let newest = self.newest.take().filter(|it| it.index.failure().is_none());
        let Some(newest) = newest else {
            let (tree, odd) = self.listing(objects, &blobs, commit)?;
            self.odd = odd;
            let mut saved = self.facts.as_ref().map(FactsFile::read).unwrap_or_default();
            let mut index = blobs.bounded(|| {
                let tree = Arc::new(tree);
                let surroundings = Surroundings { helm: self.charts.renders(), ..self.surroundings.clone() };
                learn(&tree, &mut saved, &surroundings);
                layout::index_with(tree, &saved, &surroundings)
            });
            self.note(&mut index);
            return Ok(index);
        };
        let changes = match objects.has(newest.commit.as_str()) {
            Ok(true) => self.changes(objects, Some(&newest.commit), commit, &mut odd)?,
            _ => {
                let listed = self.listing(objects, &blobs, commit)?;
                odd = listed.1;
                newest.index.changes_to(&listed.0)
            }
        };
        self.odd = odd;
        // Nobody else holds it as a rule; then nothing is copied.
        let mut index = Arc::try_unwrap(newest).map_or_else(|it| it.index.clone(), |it| it.index);
        blobs.bounded(|| {
            let source: Arc<GitBlobs> = Arc::clone(&blobs);
            index.read_from(source);
            index.advance(commit.clone(), changes);
        });
        if index.tree().files.len() > FILES_MAX {
            let why = format!("there are more than {FILES_MAX} files");
            return Err(Unread::Failed(why).into());
        }
        self.note(&mut index);
        Ok(index)
    }

    fn note(&mut self, index: &mut Index) {
        if let Some(facts) = &mut self.facts {
            facts.note(index);
        }
    }

    fn understand(&mut self, index: Index) -> Result<Snapshot, RepositoryError> {
        let tree = Arc::clone(index.tree());
        let marker = self.marker();
        let mut policies: Vec<Policy> = Vec::new();
        let mut problems = Vec::new();
        let mut suspended = None;
        let mut said = HashMap::new();
        let policy = |path: &str| *path == marker || layout::is_yaml(path);
        for (path, file) in tree.below(self.policies_path.as_str()).filter(|(path, _)| policy(path.as_str()))
        {
            let bytes = match tree.bytes(path, MAX_FILE_BYTES) {
                Err(Unread::Failed(why)) => return Err(Unread::Failed(why).into()),
                bytes => bytes,
            };
            if *path.as_str() == marker {
                suspended = Some(match bytes {
                    Ok(bytes) => Suspension::read(&String::from_utf8_lossy(&bytes)),
                    // Whoever writes that much about a freeze means it.
                    Err(why) => Suspension::read(&format!("(its text cannot be read: it {why})")),
                });
                continue;
            }
            let known = self.said.get(path).filter(|(seen, _)| seen == file);
            let read = match (bytes, known) {
                (Ok(_), Some((_, policies))) => Ok(policies.clone()),
                (Ok(bytes), None) => crd::policies(path, &bytes, &tree.commit),
                (Err(Unread::Symlink | Unread::Submodule), _) => Err(vec![crd::linked_policy(path)]),
                (Err(why), _) => {
                    let why = why.to_string();
                    Err(vec![crd::unread_policy(&self.policies_path, path.as_str(), &why)])
                }
            };
            match read {
                Ok(read) => {
                    said.insert(path.clone(), (file.clone(), read.clone()));
                    for policy in read {
                        let policy = Policy { commit: tree.commit.clone(), ..policy };
                        match policies.iter().find(|it| it.name == policy.name) {
                            Some(first) => {
                                problems.push(crd::duplicate_policy(path, policy.name.as_str(), &first.path));
                            }
                            None => policies.push(policy),
                        }
                    }
                }
                Err(found) => problems.extend(found),
            }
        }
        self.said = said;
        let prefix = format!("{}/", self.policies_path);
        for path in self.odd.iter().filter(|path| path.starts_with(&prefix) && layout::is_yaml(path)) {
            let why = "has a path that tars does not accept";
            problems.push(crd::unread_policy(&self.policies_path, path, why));
        }
        let (commit, policies_path) = (tree.commit.clone(), self.policies_path.clone());
        Ok(Snapshot { commit, index, tree, policies, policies_path, problems, suspended })
    }

    /// The tree of an earlier commit, for a rollback.
    ///
    /// # Errors
    /// As [`Repository::tree`].
    pub fn past_tree(&self, objects: &Objects, commit: &ObjectId) -> Result<RepoTree, RepositoryError> {
        let near = self.newest.as_ref().filter(|it| objects.has(it.commit.as_str()).is_ok_and(|has| has));
        let Some(newest) = near else {
            let blobs = Arc::new(GitBlobs::of(objects).map_err(reading("the clone"))?);
            return Ok(self.listing(objects, &blobs, commit)?.0);
        };
        let mut past = newest.tree.as_ref().clone();
        let changes = self.changes(objects, Some(&newest.commit), commit, &mut BTreeSet::new())?;
        past.commit = commit.clone();
        for (path, file) in changes {
            match file {
                Some(file) => past.files.insert(path, file),
                None => past.files.remove(&path),
            };
        }
        Ok(past)
    }

    /// Desired state of `target`, which may be one that only `write_to` knows the count of; `with_history`: look up
    /// its last release in the watched branch as well. What Helm has to render for that is asked for, so this is
    /// a question for [`Charts::settle`].
    ///
    /// # Errors
    /// The reason why the target cannot be acted on, for the decision to carry.
    pub fn workload(
        &mut self,
        objects: &Objects,
        snapshot: &Snapshot,
        target: &WorkloadRef,
        write_to: &[WriteTo],
        with_history: bool,
    ) -> Result<Workload, Reason> {
        let mut workload = snapshot.index.workload_of(target, write_to)?;
        if !with_history {
            return Ok(workload);
        }
        if self.releases.0.as_ref() != Some(&snapshot.commit) {
            self.releases = (Some(snapshot.commit.clone()), HashMap::new());
        }
        let past = match self.releases.1.get(target) {
            Some(known) => known.clone(),
            None => {
                let found = self.last_release(objects, snapshot, target).unwrap_or_default();
                if !found.waits {
                    self.releases.1.insert(target.clone(), found.clone());
                }
                found
            }
        };
        if let Some((release, previous)) = past.release {
            workload.last_release = Some(release);
            workload.previous = Some(previous);
        }
        workload.no_release = past.why_none;
        Ok(workload)
    }
}

/// A tree entry as git lists it.
fn stored(mode: u32, id: &[u8]) -> Option<TreeFile> {
    let mode = match mode {
        0o100_755 => EntryMode::Executable,
        0o120_000 => EntryMode::Symlink,
        0o160_000 => EntryMode::Submodule,
        _ => EntryMode::File,
    };
    Some(TreeFile::stored(mode, BlobId::from_git(id)?))
}

#[cfg(test)]
#[path = "repository_tests.rs"]
mod snapshots;
