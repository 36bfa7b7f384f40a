//! The last release of a workload, found in the history of the watched branch. A clone and a snapshot come in; the
//! commit that gave the pod template its present form and what ran before it go out, or why there is none. Charts
//! of earlier commits are rendered by Helm like those of today: what is lacking is asked for.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::repository::{Repository, RepositoryError, Snapshot, reading};
use crate::layout::{Index, RESTARTED_AT};
use crate::model::ids::{ObjectId, RepoPath, WorkloadRef};
use crate::model::workload::PastRelease;
use crate::outside::git::Objects;

/// How far back a release is looked for, in first-parent commits.
const RELEASE_COMMITS_MAX: usize = 500;
/// Most earlier states of a chart that are asked for before the answers are looked at.
const AHEAD_MAX: usize = 8;

/// When the pod template last changed and by which commit, and what ran before.
pub type Release = ((Timestamp, ObjectId), PastRelease);

/// What history says.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub release: Option<Release>,
    /// Why there is none, when that is more than "history shows none".
    pub why_none: Option<String>,
    /// Helm has not rendered everything yet that the answer needs.
    pub waits: bool,
}

impl Past {
    fn none(why: impl Into<String>) -> Self {
        Self { why_none: Some(why.into()), ..Self::default() }
    }
}

/// Is one of `files` another one in `newer` than in `older`?
fn touches(objects: &Objects, older: &str, newer: &str, files: &[RepoPath]) -> Result<bool, RepositoryError> {
    let changed = objects.changed_paths(Some(older), newer).map_err(reading("a change"))?;
    Ok(changed.iter().any(|(path, _, _)| files.iter().any(|file| file.as_str() == path)))
}

/// A walk back over the commits that touch a target's files, with an index that goes along.
struct Back<'a> {
    repository: &'a Repository,
    objects: &'a Objects,
    today: &'a Index,
    files: Vec<RepoPath>,
    /// Newest first.
    commits: Vec<String>,
    at: usize,
    index: Option<Index>,
}

/// One commit that touches the files, and everything as it was before it.
struct Before<'b> {
    index: &'b Index,
    commit: ObjectId,
    changed_by: &'b str,
}

impl<'a> Back<'a> {
    fn new(
        repository: &'a Repository,
        objects: &'a Objects,
        snapshot: &'a Snapshot,
        target: &WorkloadRef,
    ) -> Result<Self, RepositoryError> {
        let commits = objects.walk(snapshot.commit.as_str(), None, RELEASE_COMMITS_MAX);
        let commits = commits.map_err(reading("the history"))?;
        let (today, files) = (&snapshot.index, snapshot.index.files_of(target));
        Ok(Self { repository, objects, today, files, commits, at: 0, index: None })
    }

    fn next(&mut self) -> Result<Option<Before<'_>>, RepositoryError> {
        while let [newer, older, ..] = &self.commits[self.at..] {
            self.at += 1;
            if !touches(self.objects, older, newer, &self.files)? {
                continue;
            }
            let index = self.index.get_or_insert_with(|| self.today.clone());
            let commit = self.repository.go_to(self.objects, index, older)?;
            return Ok(Some(Before { index, commit, changed_by: newer }));
        }
        Ok(None)
    }
}

impl Before<'_> {
    /// What ran before, if the commit released something: a restart gives the template a new time and is no release.
    fn release(&self, target: &WorkloadRef, today: &Json) -> Result<Option<PastRelease>, String> {
        let template = self.index.pod_template(target);
        let known = template.and_then(|template| Ok((template, self.index.workload(target)?)));
        let (template, workload) = known
            .map_err(|why| format!("before today's release, at {}: {}", self.commit.short(), why.text))?;
        let (before, today) = (without_restart(&template), without_restart(today));
        Ok((before != today).then(|| PastRelease {
            commit: self.commit.clone(),
            containers: workload.containers,
            only_images_differ: without_images(&before) == without_images(&today),
        }))
    }

    /// Which chart from elsewhere had another version.
    fn version(&self, target: &WorkloadRef, today: &[(String, String)]) -> Option<String> {
        let before = self.index.versions_behind(target);
        today.iter().find_map(|(label, to)| {
            let (_, from) = before.iter().find(|(own, from)| own == label && from != to)?;
            Some(format!("{label} went from chart version {from} to {to}"))
        })
    }
}

impl Repository {
    /// Walks back to the commit that gave the pod template its present form.
    pub(super) fn last_release(
        &self,
        objects: &Objects,
        snapshot: &Snapshot,
        target: &WorkloadRef,
    ) -> Result<Past, RepositoryError> {
        let Ok(today) = snapshot.index.pod_template(target) else {
            return self.last_version(objects, snapshot, target);
        };
        let mut back = Back::new(self, objects, snapshot, target)?;
        let mut waiting = 0;
        while let Some(before) = back.next()? {
            waiting += usize::from(before.index.lacks_charts());
            if waiting >= AHEAD_MAX {
                break;
            }
            // Behind a state that is not rendered yet, only more of those are looked for.
            if waiting > 0 {
                continue;
            }
            let previous = match before.release(target, &today) {
                Ok(Some(previous)) => previous,
                Ok(None) => continue,
                Err(why) => return Ok(Past::none(why)),
            };
            let at = objects.commit_time(before.changed_by).map_err(reading("a commit"))?;
            let commit = ObjectId::new(before.changed_by)?;
            let release = Timestamp::from_second(at).ok().map(|at| ((at, commit), previous));
            return Ok(Past { release, ..Past::default() });
        }
        if waiting > 0 {
            let why = "the charts of earlier commits are not all rendered yet; the next look goes on";
            return Ok(Past { waits: true, ..Past::none(why) });
        }
        Ok(Past::default())
    }

    /// What a target whose chart stands elsewhere can be told: which version of the chart came when.
    fn last_version(
        &self,
        objects: &Objects,
        snapshot: &Snapshot,
        target: &WorkloadRef,
    ) -> Result<Past, RepositoryError> {
        let today = snapshot.index.versions_behind(target);
        if today.is_empty() {
            return Ok(Past::default());
        }
        let mut back = Back::new(self, objects, snapshot, target)?;
        while let Some(before) = back.next()? {
            if let Some(moved) = before.version(target, &today) {
                let commit = ObjectId::new(before.changed_by)?;
                return Ok(Past::none(format!(
                    "{moved} with {}; a chart version may bring anything, so a person takes it back",
                    commit.short()
                )));
            }
        }
        Ok(Past::default())
    }

    /// Moves an index to a commit of the same history.
    fn go_to(&self, objects: &Objects, index: &mut Index, commit: &str) -> Result<ObjectId, RepositoryError> {
        let commit = ObjectId::new(commit)?;
        let from = index.tree().commit.clone();
        let changes = self.changes(objects, Some(&from), &commit, &mut std::collections::BTreeSet::new())?;
        index.advance(commit.clone(), changes);
        Ok(commit)
    }
}

/// A pod template without the time of its last restart.
fn without_restart(template: &Json) -> Json {
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
fn without_images(template: &Json) -> Json {
    let mut template = template.clone();
    for list in ["containers", "initContainers"] {
        let containers = template.pointer_mut(&format!("/spec/{list}")).and_then(|it| it.as_array_mut());
        for container in containers.into_iter().flatten() {
            if let Some(image) = container.get_mut("image") {
                *image = Json::Null;
            }
        }
    }
    template
}

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
