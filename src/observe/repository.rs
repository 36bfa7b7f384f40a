//! The GitOps repository at one commit: YAML files, the index of objects, policies, and whether a person
//! has said stop. Object ids come in, a snapshot goes out. Only blobs that changed are read again; nothing
//! is ever checked out or written.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::charts::Charts;
use crate::crd::{self, PolicyProblem};
use crate::layout::{self, About, Index, RESTARTED_AT, Surroundings};
use crate::model::ids::{InvalidName, ObjectId, RepoPath, WorkloadRef};
use crate::model::policy::Policy;
use crate::model::reason::Reason;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};
use crate::model::workload::{PastRelease, Workload};
use crate::outside::git::{GitError, Objects, TreeLimits};

/// Largest YAML file that is read; larger ones are left out of the tree.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most YAML files of one repository.
const FILES_MAX: usize = 50_000;
/// Most bytes of all YAML files together.
const TREE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How far back a release is looked for, in first-parent commits.
const RELEASE_COMMITS_MAX: usize = 500;
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
}

fn reading(what: &'static str) -> impl FnOnce(GitError) -> RepositoryError {
    move |source| RepositoryError::Git { what, source }
}

/// One commit of the watched branch, read and understood.
#[derive(Debug)]
pub struct Snapshot {
    pub commit: ObjectId,
    pub tree: RepoTree,
    pub index: Index,
    pub policies: Vec<Policy>,
    /// Policies that could not be accepted; they act on nothing until mended.
    pub problems: Vec<PolicyProblem>,
    /// The first line of the file SUSPENDED, when there is one.
    pub suspended: Option<String>,
}

/// Reads commits of one repository, keeping the blobs it has seen.
#[derive(Debug)]
pub struct Repository {
    policies_path: RepoPath,
    blobs: HashMap<String, Arc<[u8]>>,
    newest: Option<Arc<Snapshot>>,
    /// Last releases as of one commit: the walk that finds one is asked for at every step of a tick.
    releases: (Option<ObjectId>, HashMap<WorkloadRef, Option<Release>>),
    charts: Charts,
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// Named templates and vendored archives of charts.
fn is_chart_part(path: &str) -> bool {
    path.ends_with(".tpl") || path.ends_with(".tgz") && path.contains("charts/")
}

impl Repository {
    #[must_use]
    pub fn new(policies_path: RepoPath) -> Self {
        Self {
            policies_path,
            blobs: HashMap::new(),
            newest: None,
            releases: (None, HashMap::new()),
            charts: Charts::new("helm"),
        }
    }

    /// Renders what a snapshot or an edit lacks: `charts().settle(|| ...)`.
    #[must_use]
    pub fn charts(&self) -> Charts {
        self.charts.clone()
    }

    /// The files of `commit` that tars looks at.
    ///
    /// # Errors
    /// When git cannot read the commit or the tree is over a bound.
    pub fn tree(&mut self, objects: &Objects, commit: &ObjectId) -> Result<RepoTree, RepositoryError> {
        let limits = TreeLimits { files_max: FILES_MAX, bytes_max: TREE_BYTES_MAX, ..TreeLimits::default() };
        let marker = format!("{}/{SUSPENDED_FILE}", self.policies_path);
        let want = |path: &str| is_yaml(path) || is_chart_part(path) || path == marker;
        let rows = objects.list_tree(commit.as_str(), limits, &want).map_err(reading("the tree"))?;
        let mut blobs = HashMap::with_capacity(rows.len());
        let mut tree = RepoTree { commit: commit.clone(), files: std::collections::BTreeMap::new() };
        for row in rows {
            // A path outside the grammar cannot be a target; it is left out rather than failing everything.
            let Ok(path) = RepoPath::new(row.path) else { continue };
            let mode = match row.mode {
                0o100_755 => EntryMode::Executable,
                0o120_000 => EntryMode::Symlink,
                0o160_000 => EntryMode::Submodule,
                _ => EntryMode::File,
            };
            let readable = matches!(mode, EntryMode::File | EntryMode::Executable);
            if readable && row.size > FILE_BYTES_MAX as u64 {
                if path.as_str() == marker {
                    // Whoever writes that much about a freeze means it.
                    let bytes: Arc<[u8]> = Arc::from(&b"(its text is too long to read)"[..]);
                    tree.files.insert(path, TreeFile { mode, bytes });
                }
                continue;
            }
            let bytes: Arc<[u8]> = match self.blobs.get(&row.oid) {
                _ if !readable => Arc::from(Vec::new()),
                Some(bytes) => Arc::clone(bytes),
                None => objects.blob(&row.oid, FILE_BYTES_MAX).map_err(reading("a file"))?.into(),
            };
            if readable {
                blobs.insert(row.oid, Arc::clone(&bytes));
            }
            tree.files.insert(path, TreeFile { mode, bytes });
        }
        // What this commit does not hold is forgotten: memory follows the repository, not its history.
        self.blobs = blobs;
        Ok(tree)
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
        if let Some(newest) = self.newest.as_ref().filter(|it| it.commit == *commit) {
            return Ok(Arc::clone(newest));
        }
        let tree = self.tree(objects, commit)?;
        let snapshot = Arc::new(self.understand(tree));
        // Seen again once Helm has answered.
        if !self.charts.renders().lacks() {
            self.newest = Some(Arc::clone(&snapshot));
        }
        Ok(snapshot)
    }

    fn understand(&self, tree: RepoTree) -> Snapshot {
        let prefix = format!("{}/", self.policies_path);
        let mut policies: Vec<Policy> = Vec::new();
        let mut problems = Vec::new();
        let mut suspended = None;
        for (path, file) in tree.files.iter().filter(|(path, _)| path.as_str().starts_with(&prefix)) {
            if path.as_str()[prefix.len()..] == *SUSPENDED_FILE {
                let text = String::from_utf8_lossy(&file.bytes);
                suspended = Some(text.lines().next().unwrap_or_default().chars().take(200).collect());
                continue;
            }
            if !is_yaml(path.as_str()) {
                continue;
            }
            match crd::policies(path, &file.bytes, &tree.commit) {
                Ok(read) => {
                    for policy in read {
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
        let surroundings = Surroundings { about: About::default(), helm: self.charts.renders() };
        let index = layout::index_in(&tree, &surroundings);
        Snapshot { commit: tree.commit.clone(), index, tree, policies, problems, suspended }
    }

    /// The tree of an earlier commit, for a rollback. Keeps the blobs of today.
    ///
    /// # Errors
    /// As [`Repository::tree`].
    pub fn past_tree(&self, objects: &Objects, commit: &ObjectId) -> Result<RepoTree, RepositoryError> {
        let mut past = Self { blobs: self.blobs.clone(), ..Self::new(self.policies_path.clone()) };
        past.tree(objects, commit)
    }

    /// Desired state of `target`; `with_history`: look up its last release in the watched branch as well.
    ///
    /// # Errors
    /// The reason why the target cannot be acted on, for the decision to carry.
    pub fn workload(
        &mut self,
        objects: &Objects,
        snapshot: &Snapshot,
        target: &WorkloadRef,
        with_history: bool,
    ) -> Result<Workload, Reason> {
        let mut workload = snapshot.index.workload(target)?;
        if !with_history {
            return Ok(workload);
        }
        if self.releases.0.as_ref() != Some(&snapshot.commit) {
            self.releases = (Some(snapshot.commit.clone()), HashMap::new());
        }
        let known = match self.releases.1.get(target) {
            Some(known) => known.clone(),
            None => {
                let found = self.last_release(objects, snapshot, target).unwrap_or_default();
                self.releases.1.insert(target.clone(), found.clone());
                found
            }
        };
        if let Some((release, previous)) = known {
            workload.last_release = Some(release);
            workload.previous = Some(previous);
        }
        Ok(workload)
    }

    /// Walks back to the commit that gave the pod template its present form.
    fn last_release(
        &self,
        objects: &Objects,
        snapshot: &Snapshot,
        target: &WorkloadRef,
    ) -> Result<Option<Release>, RepositoryError> {
        let files = snapshot.index.files_of(target);
        let Ok(today) = snapshot.index.pod_template(target) else { return Ok(None) };
        let commits = objects
            .walk(snapshot.commit.as_str(), None, RELEASE_COMMITS_MAX)
            .map_err(reading("the history"))?;
        for pair in commits.windows(2) {
            let (newer, older) = (&pair[0], &pair[1]);
            let changed = objects.changed_paths(Some(older), newer).map_err(reading("a change"))?;
            if !changed.iter().any(|(path, _, _)| files.iter().any(|file| file.as_str() == path)) {
                continue;
            }
            let past = self.past_tree(objects, &ObjectId::new(older.as_str())?)?;
            let index = layout::index(&past);
            let (Ok(before), Ok(workload)) = (index.pod_template(target), index.workload(target)) else {
                return Ok(None);
            };
            // A restart gives the template a new time and is no release.
            if without_restart(before) == without_restart(today) {
                continue;
            }
            let at = objects.commit_time(newer).map_err(reading("a commit"))?;
            let Ok(at) = jiff::Timestamp::from_second(at) else { return Ok(None) };
            let previous = PastRelease {
                commit: past.commit,
                containers: workload.containers,
                only_images_differ: without_images(&without_restart(before))
                    == without_images(&without_restart(today)),
            };
            return Ok(Some(((at, ObjectId::new(newer)?), previous)));
        }
        Ok(None)
    }
}

/// A pod template without the time of its last restart.
fn without_restart(template: &serde_json::Value) -> serde_json::Value {
    let mut template = template.clone();
    let Some(metadata) = template.get_mut("metadata").and_then(|it| it.as_object_mut()) else {
        return template;
    };
    let annotations = metadata.get_mut("annotations").and_then(|it| it.as_object_mut());
    if annotations.is_some_and(|it| it.remove(RESTARTED_AT).is_some() && it.is_empty()) {
        metadata.remove("annotations");
    }
    template
}

/// A pod template with every image blanked, to see whether anything else changed.
fn without_images(template: &serde_json::Value) -> serde_json::Value {
    let mut template = template.clone();
    for list in ["containers", "initContainers"] {
        let containers = template.pointer_mut(&format!("/spec/{list}")).and_then(|it| it.as_array_mut());
        for container in containers.into_iter().flatten() {
            if let Some(image) = container.get_mut("image") {
                *image = serde_json::Value::Null;
            }
        }
    }
    template
}

type Release = ((jiff::Timestamp, ObjectId), PastRelease);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_restart_is_no_release_and_leaves_nothing_behind() {
        let plain = json!({"metadata": {"labels": {"app": "a"}}, "spec": {}});
        let mut restarted = plain.clone();
        restarted["metadata"]["annotations"] = json!({ RESTARTED_AT: "2026-11-23T10:00:00Z" });
        assert_eq!(without_restart(&restarted), plain);
        restarted["metadata"]["annotations"]["team"] = json!("shop");
        assert_ne!(without_restart(&restarted), plain, "another annotation is a release");
    }

    #[test]
    fn only_images_may_differ_between_blanked_templates() {
        let template = |image: &str, cpu: &str| json!({"spec": {"containers": [{"name": "a", "image": image, "cpu": cpu}]}});
        assert_eq!(without_images(&template("a:1", "1")), without_images(&template("a:2", "1")));
        assert_ne!(without_images(&template("a:1", "1")), without_images(&template("a:2", "2")));
    }
}
