//! Git: objects through libgit2 without a network, fetch and push through the `git` program.
//! In: settings, names, object ids, bytes. Out: the same. No work tree, no hook, no submodule, no credential
//! helper, and no reference outside `refs/heads/` is ever touched.

use std::path::PathBuf;

use thiserror::Error;

use super::command::CommandError;
use super::files::FileError;
use super::random::RandomError;
use super::secret::Secret;

mod commit;
mod diff;
mod names;
mod objects;
mod person;
mod program;
mod remote;
mod tree;
mod url;
mod write;

pub use self::{
    diff::{Entry, Stands},
    names::{check_path, check_ref},
    objects::Objects,
    person::{Made, Person},
    remote::{Mirror, PushOutcome, RefUpdate},
    tree::TreeLimits,
    write::{CommitDraft, Edit},
};

/// Where the repository is and how it may be reached.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// Absolute path, `file://`, `https://`, `ssh://`, or `http://` to this machine. Never with a password in
    /// it.
    pub url: String,
    /// Folder of this program; clones live below it.
    pub state_dir: PathBuf,
    /// For each run of the git program.
    pub timeout_s: u32,
    /// What the clone may take on disk.
    pub clone_max_mib: u32,
    /// Private key file for `ssh://`; without one, the keys ssh finds by itself.
    pub ssh_identity: Option<PathBuf>,
    /// File of known host keys for `ssh://`; an unknown host is always refused.
    pub ssh_known_hosts: Option<PathBuf>,
    /// Author and committer name.
    pub name: String,
    /// Author and committer address.
    pub email: String,
    /// Token for `https://`, sent to the host of `url` only.
    pub token: Option<Secret>,
}

/// What went wrong with git. The cause is in the source; text of the remote is escaped and bounded.
#[derive(Debug, Error)]
pub enum GitError {
    /// The settings can never work; hint included.
    #[error("{what}; {hint}")]
    Settings { what: String, hint: &'static str },
    /// A name, path or id from outside is not one we work with.
    #[error("refused {what} {value:?}: {why}")]
    Refused { what: &'static str, value: String, why: &'static str },
    #[error("the git program failed to {what}")]
    Program {
        what: &'static str,
        #[source]
        source: CommandError,
    },
    /// The remote could not be read. The local clone is untouched: try again later.
    #[error("cannot {what} the remote repository: {detail}")]
    Remote { what: &'static str, detail: String },
    /// The person's own git did not do it. Their words, escaped and bounded; for people only.
    #[error("git cannot {what}: {detail}")]
    Person { what: &'static str, detail: String },
    /// The local clone may be damaged (a killed git leaves locks behind). Drop the mirror and open a new one.
    #[error("the local clone can no longer be trusted after failing to {what}; it must be opened anew")]
    Doubtful { what: &'static str },
    /// The remote sent more than a clone may hold. It is doubtful as well: drop the mirror and open a new one.
    #[error("the clone was given up: it took more than {max_mib} MiB on disk (repository.clone_max_mib)")]
    CloneTooLarge { max_mib: u32 },
    #[error("{what} has more than {max} {unit}")]
    TooLarge { what: String, max: u64, unit: &'static str },
    #[error("{what} {name} does not exist")]
    NotFound { what: &'static str, name: String },
    /// The object is in the repository, but not in a form we accept.
    #[error("object {oid} is malformed: {why}")]
    Malformed { oid: String, why: &'static str },
    #[error("the edits change nothing")]
    EmptyChange,
    #[error("cannot {what}")]
    Objects {
        what: &'static str,
        #[source]
        source: ObjectsError,
    },
    #[error("cannot sign the commit")]
    Sign(#[source] super::sign::SignError),
    #[error("cannot prepare the folder of the local clone")]
    Files(#[from] FileError),
    #[error("cannot name the local clone")]
    Random(#[from] RandomError),
}

/// The words of libgit2, without its numbers for programmers.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ObjectsError(String);

impl GitError {
    /// Whether the mirror must be dropped and opened anew before anything else is tried.
    #[must_use]
    pub fn needs_reopen(&self) -> bool {
        matches!(self, Self::Doubtful { .. } | Self::CloneTooLarge { .. })
    }

    fn objects(what: &'static str) -> impl Fn(git2::Error) -> Self {
        move |error| Self::Objects { what, source: ObjectsError(error.message().to_owned()) }
    }
}

#[cfg(test)]
mod diff_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod remote_tests;
