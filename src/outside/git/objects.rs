//! The object database of one repository, read without a network and without a work tree. In: full object
//! ids, full reference names, bounds. Out: bytes, commits, lists. A bound that is passed is an error, never a
//! shorter answer, except where a method says so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use git2::{ErrorCode, ObjectType, Oid, Repository, RepositoryInitOptions, Sort};

use super::commit::{self, RawCommit};
use super::names::{parse_oid, refused};
use super::{GitError, check_ref};

/// Largest commit object read, in bytes.
const COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// Most references listed.
const REFS_MAX: usize = 100_000;

/// One repository's objects. Calls take turns; none is held across an await.
pub struct Objects {
    repository: Mutex<Repository>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("path", &self.lock().path()).finish()
    }
}

impl Objects {
    /// Opens a repository, bare or not, at exactly this folder.
    ///
    /// # Errors
    /// When there is none, or it belongs to somebody else.
    pub fn open(path: &Path) -> Result<Self, GitError> {
        let repository = Repository::open(path).map_err(GitError::objects("open the repository"))?;
        Ok(Self { repository: Mutex::new(repository) })
    }

    /// Another handle on the same repository, for a reader that outlives this one.
    ///
    /// # Errors
    /// As [`Objects::open`].
    pub fn reopen(&self) -> Result<Self, GitError> {
        Self::open(&self.folder())
    }

    /// Where the repository is.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.lock().path().to_owned()
    }

    /// Creates an empty bare repository whose `HEAD` is `refs/heads/main`.
    ///
    /// # Errors
    /// When one exists there already, or the folder cannot be written.
    pub fn init_bare(path: &Path) -> Result<Self, GitError> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).no_reinit(true).external_template(false).initial_head("main");
        let repository =
            Repository::init_opts(path, &options).map_err(GitError::objects("create the repository"))?;
        Ok(Self { repository: Mutex::new(repository) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Repository> {
        self.repository.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A setting of the clone, as `git config` would show it there; `None` when it is not set.
    ///
    /// # Errors
    /// When the settings cannot be read.
    pub fn config_value(&self, key: &str) -> Result<Option<String>, GitError> {
        let failed = GitError::objects("read the settings of the clone");
        let settings = self.lock().config().and_then(|mut it| it.snapshot()).map_err(&failed)?;
        match settings.get_string(key) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Sets a setting of the clone itself.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub fn set_config(&self, key: &str, value: &str) -> Result<(), GitError> {
        let set = self.lock().config().and_then(|mut it| it.set_str(key, value));
        set.map_err(GitError::objects("write the settings of the clone"))
    }

    /// The bytes of a blob of at most `bytes_max`.
    ///
    /// # Errors
    /// When it does not exist, is no blob, or is larger.
    pub fn blob(&self, oid: &str, bytes_max: usize) -> Result<Vec<u8>, GitError> {
        read_object(&self.lock(), parse_oid(oid)?, ObjectType::Blob, bytes_max)
    }

    /// A commit under the strict grammar of [`RawCommit`].
    ///
    /// # Errors
    /// [`GitError::Malformed`] when two readers could read it differently.
    pub fn commit(&self, oid: &str) -> Result<RawCommit, GitError> {
        let raw = read_object(&self.lock(), parse_oid(oid)?, ObjectType::Commit, COMMIT_BYTES_MAX)?;
        commit::parse(oid, &raw).map_err(|why| GitError::Malformed { oid: oid.to_owned(), why })
    }

    /// First-parent history of `head`, newest first. Without `stop_before`, at most `max` commits: a window.
    /// With it, everything above that commit, which must be reached.
    ///
    /// # Errors
    /// When `stop_before` is not on the first-parent line, or more than `max` commits away.
    pub fn walk(&self, head: &str, stop_before: Option<&str>, max: usize) -> Result<Vec<String>, GitError> {
        let repository = self.lock();
        let stop = stop_before.map(parse_oid).transpose()?;
        let mut next = Some(parse_oid(head)?);
        let mut line = Vec::new();
        while let Some(oid) = next.filter(|oid| Some(*oid) != stop) {
            if line.len() == max {
                if stop.is_none() {
                    return Ok(line);
                }
                return Err(too_large("history", max, "commits"));
            }
            let commit = repository.find_commit(oid).map_err(GitError::objects("read the history"))?;
            line.push(oid.to_string());
            next = commit.parent_ids().next();
        }
        match stop {
            Some(stop) if next.is_none() => {
                Err(GitError::NotFound { what: "in this history, commit", name: stop.to_string() })
            }
            _ => Ok(line),
        }
    }

    /// Everything reachable from `heads`, children before parents.
    ///
    /// # Errors
    /// When there are more than `max` commits.
    pub fn walk_all(&self, heads: &[&str], max: usize) -> Result<Vec<String>, GitError> {
        let repository = self.lock();
        let failed = GitError::objects("read the history");
        let mut walk = repository.revwalk().map_err(&failed)?;
        walk.set_sorting(Sort::TOPOLOGICAL).map_err(&failed)?;
        for head in heads {
            walk.push(parse_oid(head)?).map_err(&failed)?;
        }
        let mut commits = Vec::new();
        for oid in walk {
            if commits.len() == max {
                return Err(too_large("history", max, "commits"));
            }
            commits.push(oid.map_err(&failed)?.to_string());
        }
        Ok(commits)
    }

    /// Whether `ancestor` is `of` or in its history.
    ///
    /// # Errors
    /// When either is missing.
    pub fn is_ancestor(&self, ancestor: &str, of: &str) -> Result<bool, GitError> {
        let (ancestor, of) = (parse_oid(ancestor)?, parse_oid(of)?);
        let repository = self.lock();
        let failed = GitError::objects("compare two histories");
        repository.find_commit(ancestor).map_err(&failed)?;
        Ok(ancestor == of || repository.graph_descendant_of(of, ancestor).map_err(&failed)?)
    }

    /// The newest commit that both have in their history; `None` when they share nothing.
    ///
    /// # Errors
    /// When either is missing.
    pub fn merge_base(&self, one: &str, other: &str) -> Result<Option<String>, GitError> {
        let (one, other) = (parse_oid(one)?, parse_oid(other)?);
        match self.lock().merge_base(one, other) {
            Ok(base) => Ok(Some(base.to_string())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::objects("compare two histories")(error)),
        }
    }

    /// Is this object here? A commit that the remote no longer shows was perhaps never fetched.
    ///
    /// # Errors
    /// When the id is malformed or the objects cannot be read.
    pub fn has(&self, oid: &str) -> Result<bool, GitError> {
        let oid = parse_oid(oid)?;
        let repository = self.lock();
        let odb = repository.odb().map_err(GitError::objects("look for an object"))?;
        Ok(odb.exists(oid))
    }

    /// Committer time of a commit, seconds since 1970: also of one whose text we would not read.
    ///
    /// # Errors
    /// When it is missing or no commit.
    pub fn commit_time(&self, oid: &str) -> Result<i64, GitError> {
        let repository = self.lock();
        let commit = repository.find_commit(parse_oid(oid)?).map_err(GitError::objects("read a commit"))?;
        Ok(commit.time().seconds())
    }

    /// The commit a full branch name (`refs/heads/...`, or `refs/remotes/...` as a clone keeps it), or `HEAD`,
    /// stands for; `None` when there is no such reference.
    ///
    /// # Errors
    /// When the name is not one of these, or does not lead to a commit.
    pub fn resolve(&self, name: &str) -> Result<Option<String>, GitError> {
        match name.strip_prefix("refs/remotes/") {
            Some(followed) => check_ref(&format!("refs/heads/{followed}"))?,
            None if name == "HEAD" => {}
            None => check_ref(name)?,
        }
        let repository = self.lock();
        match repository.find_reference(name).and_then(|r| r.resolve()) {
            Ok(reference) => {
                let commit = reference.peel_to_commit().map_err(GitError::objects("follow a reference"))?;
                Ok(Some(commit.id().to_string()))
            }
            Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
            Err(e) => Err(GitError::objects("read a reference")(e)),
        }
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// When it is missing or no commit.
    pub fn tree_of(&self, commit: &str) -> Result<String, GitError> {
        let repository = self.lock();
        let commit =
            repository.find_commit(parse_oid(commit)?).map_err(GitError::objects("read a commit"))?;
        Ok(commit.tree_id().to_string())
    }

    /// The branches of this repository whose full name starts with `prefix`.
    ///
    /// # Errors
    /// When there are too many, or they cannot be read.
    pub fn refs(&self, prefix: &str) -> Result<BTreeMap<String, String>, GitError> {
        let repository = self.lock();
        let failed = GitError::objects("list the references");
        let mut refs = BTreeMap::new();
        for reference in repository.references_glob("refs/heads/*").map_err(&failed)? {
            let reference = reference.map_err(&failed)?;
            let Ok(name) = reference.name() else { continue };
            let Some(oid) = reference.target().filter(|_| name.starts_with(prefix)) else { continue };
            if refs.len() == REFS_MAX {
                return Err(too_large("the repository", REFS_MAX, "branches"));
            }
            refs.insert(name.to_owned(), oid.to_string());
        }
        Ok(refs)
    }

    /// Moves a branch of this local repository, if it stands at `expect` (`None`: must not exist). Never for
    /// a shared repository: that is what a push is for.
    ///
    /// # Errors
    /// When the name is refused, the commit is missing, or the branch is elsewhere.
    pub fn set_local_ref(&self, name: &str, new: &str, expect: Option<&str>) -> Result<(), GitError> {
        check_ref(name)?;
        let repository = self.lock();
        let failed = GitError::objects("move a local branch");
        let new = repository.find_commit(parse_oid(new)?).map_err(&failed)?.id();
        match expect {
            Some(old) => repository.reference_matching(name, new, true, parse_oid(old)?, "").map(drop),
            None => repository.reference(name, new, false, "").map(drop),
        }
        .map_err(&failed)
    }
}

pub(super) fn read_object(
    repository: &Repository,
    oid: Oid,
    kind: ObjectType,
    bytes_max: usize,
) -> Result<Vec<u8>, GitError> {
    let failed = GitError::objects("read an object");
    let odb = repository.odb().map_err(&failed)?;
    let (size, found) = match odb.read_header(oid) {
        Err(e) if e.code() == ErrorCode::NotFound => {
            return Err(GitError::NotFound { what: "object", name: oid.to_string() });
        }
        header => header.map_err(&failed)?,
    };
    if found != kind {
        return Err(refused("object id", &oid.to_string(), "it names an object of another kind"));
    }
    if size > bytes_max {
        return Err(too_large(&format!("object {oid}"), bytes_max, "bytes"));
    }
    Ok(odb.read(oid).map_err(&failed)?.data().to_vec())
}

/// The tree of a commit or tree id.
pub(super) fn peel_tree<'r>(repository: &'r Repository, oid: &str) -> Result<git2::Tree<'r>, GitError> {
    let oid = parse_oid(oid)?;
    repository
        .find_object(oid, None)
        .and_then(|object| object.peel_to_tree())
        .map_err(GitError::objects("read a tree"))
}

pub(super) fn too_large(what: &str, max: usize, unit: &'static str) -> GitError {
    GitError::TooLarge { what: what.to_owned(), max: u64::try_from(max).unwrap_or(u64::MAX), unit }
}
