//! Reads the ledger from a clone, for every command that looks back. No server and no network: whoever can
//! clone the repository can read what tars did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::args::{Allowed, Look};
use super::failure::{Failure, Kind};
use super::output::Console;
use super::output::links::Forge;
use crate::ledger;
use crate::model::action::RemediationAction;
use crate::model::batch;
use crate::model::entry::{Entry, Signer};
use crate::model::history::History;
use crate::model::ids::{ActionId, ObjectId};
use crate::outside::git::Objects;
use crate::outside::sign::AllowedSigners;
use crate::reconcile::memory::read_entry;

/// Most entries one command reads.
const ENTRIES_MAX: usize = 500_000;

/// A ledger as found in a clone, oldest entry first.
#[derive(Debug)]
pub struct Ledger {
    pub objects: Objects,
    pub main: ObjectId,
    pub entries: Vec<Entry>,
    /// Every action in its newest form.
    pub actions: BTreeMap<ActionId, RemediationAction>,
    /// Was there a list of allowed keys to check signatures with?
    pub signatures_checked: bool,
}

/// Opens a clone.
///
/// # Errors
/// When `dir` is no git repository.
pub fn open_clone(dir: &Path) -> Result<Objects, Failure> {
    Objects::open(dir).map_err(|error| {
        Failure::new(Kind::Usage, format!("{} is not a git repository tars can read", dir.display()))
            .because(error)
            .hint("name a clone of the GitOps repository with -C DIR")
    })
}

/// Finds a branch of the clone: its own, or the one of `origin`.
///
/// # Errors
/// When the clone cannot be read.
pub fn branch(objects: &Objects, name: &str) -> Result<Option<ObjectId>, Failure> {
    for full in [format!("refs/heads/{name}"), format!("refs/remotes/origin/{name}")] {
        let found = objects
            .resolve(&full)
            .map_err(|error| Failure::new(Kind::No, format!("could not read {full}")).because(error))?;
        if let Some(oid) = found {
            return ObjectId::new(oid)
                .map(Some)
                .map_err(|error| Failure::new(Kind::No, format!("could not read {full}")).because(error));
        }
    }
    Ok(None)
}

/// The watched branch of a clone.
///
/// # Errors
/// When it does not exist.
pub fn watched_branch(objects: &Objects, name: &str) -> Result<ObjectId, Failure> {
    branch(objects, name)?.ok_or_else(|| {
        Failure::usage(format!("the clone has no branch {name}"))
            .hint("name the watched branch with --branch")
    })
}

/// The list of allowed keys: the files given, or what the clone names; `None` when there is neither.
///
/// # Errors
/// When a file cannot be read.
pub fn allowed_signers(objects: &Objects, given: &Allowed) -> Result<Option<AllowedSigners>, Failure> {
    let signers = match &given.allowed_signers {
        Some(file) => Some(file.clone()),
        None => objects
            .config_value("gpg.ssh.allowedSignersFile")
            .map_err(|error| Failure::new(Kind::No, "could not read the clone's settings").because(error))?
            .map(PathBuf::from),
    };
    let keys = given.allowed_keys.as_deref();
    if signers.is_none() && keys.is_none() {
        return Ok(None);
    }
    AllowedSigners::load(signers.as_deref(), keys).map(Some).map_err(|error| {
        let files = signers.as_deref().into_iter().chain(keys).map(|it| it.display().to_string());
        let files = files.collect::<Vec<_>>().join(" and ");
        Failure::usage(format!("could not read the allowed keys in {files}")).because(error)
    })
}

impl Ledger {
    /// Reads the whole ledger of the clone `look` names.
    ///
    /// # Errors
    /// When there is no clone, no ledger, or an entry that is none.
    pub fn of(look: &Look, console: &Console) -> Result<Self, Failure> {
        let ledger = Self::read(&look.repository, &look.branch, &look.allowed)?;
        if !ledger.signatures_checked {
            console.warn(
                "signatures are not checked: no allowed keys (--allowed-signers FILE, --allowed-keys FILE)",
            );
        }
        Ok(ledger)
    }

    /// As [`Ledger::of`], without the warning.
    ///
    /// # Errors
    /// As [`Ledger::of`].
    pub fn read(dir: &Path, main: &str, allowed: &Allowed) -> Result<Self, Failure> {
        let objects = open_clone(dir)?;
        let main = watched_branch(&objects, main)?;
        let allowed = allowed_signers(&objects, allowed)?;
        let head = branch(&objects, LEDGER_BRANCH)?.ok_or_else(|| {
            Failure::new(
                Kind::No,
                format!("the clone has no branch {LEDGER_BRANCH}: tars has recorded nothing"),
            )
            .hint(format!("fetch it: git -C {} fetch origin {LEDGER_BRANCH}", dir.display()))
        })?;
        let commits = objects
            .walk(head.as_str(), None, ENTRIES_MAX)
            .map_err(|error| Failure::new(Kind::No, "could not read the ledger").because(error))?;
        let mut entries = Vec::with_capacity(commits.len());
        for commit in commits.into_iter().rev() {
            let entry = ObjectId::new(commit)
                .map_err(crate::reconcile::error::TurnError::from)
                .and_then(|commit| read_entry(&objects, &commit, allowed.as_ref()))
                .map_err(|error| {
                    Failure::new(Kind::No, "the ledger holds something that is not an entry")
                        .because(error)
                        .hint("tars audit verify lists everything that is wrong")
                })?;
            entries.push(entry);
        }
        let actions = entries
            .iter()
            .filter_map(|entry| entry.record.as_ref().map(|record| (record.id().clone(), record.clone())))
            .collect();
        Ok(Self { objects, main, entries, actions, signatures_checked: allowed.is_some() })
    }

    /// The folded ledger.
    ///
    /// # Errors
    /// When an entry breaks the rules.
    pub fn history(&self) -> Result<History, Failure> {
        ledger::fold(History::default(), &self.entries).map_err(|violation| {
            Failure::new(Kind::No, "the ledger breaks its own rules")
                .because(violation)
                .hint("tars audit verify lists everything that is wrong")
        })
    }

    /// Every action that waits on the branch of `record`, the lowest commit first; `record` alone when it waits
    /// no more.
    #[must_use]
    pub fn together<'a>(&'a self, record: &'a RemediationAction) -> Vec<&'a RemediationAction> {
        let branch = record.spec.change.as_ref().map(|change| &change.branch);
        let line = branch.map(|branch| batch::line(self.actions.values(), branch)).unwrap_or_default();
        if line.iter().any(|it| it.id() == record.id()) { line } else { vec![record] }
    }

    /// Where commits of this clone can be looked at, if its `origin` says so.
    #[must_use]
    pub fn forge(&self) -> Option<Forge> {
        let url = self.objects.config_value("remote.origin.url").ok().flatten()?;
        Forge::of_remote(&url)
    }

    /// Time of the newest entry.
    #[must_use]
    pub fn newest(&self) -> Timestamp {
        self.entries.last().map_or(Timestamp::UNIX_EPOCH, |entry| entry.envelope.time)
    }

    /// Actions that `reference` names: action id (or its beginning), incident, policy, target, commit, branch,
    /// or `last`.
    #[must_use]
    pub fn find(&self, reference: &str) -> Vec<&RemediationAction> {
        if reference == "last" {
            let newest = self.entries.iter().rev().find_map(|entry| entry.record.as_ref());
            return newest.and_then(|record| self.actions.get(record.id())).into_iter().collect();
        }
        self.actions.values().filter(|record| is_named(record, reference)).collect()
    }
}

fn is_named(record: &RemediationAction, reference: &str) -> bool {
    let spec = &record.spec;
    let is_commit = |oid: &ObjectId| reference.len() >= 7 && oid.as_str().starts_with(reference);
    let id = record.id().as_str();
    let bare = id.strip_prefix("act-").unwrap_or(id);
    let begins = reference.len() >= 8 && (id.starts_with(reference) || bare.starts_with(reference));
    begins
        || spec.incident.as_str() == reference
        || spec.policy.as_str() == reference
        || spec.target.to_string() == reference
        || record.status.merge.as_ref().is_some_and(|merge| is_commit(&merge.commit))
        || spec.change.as_ref().is_some_and(|it| is_commit(&it.head) || it.branch.as_str() == reference)
}

/// Signature state of an entry in one word.
#[must_use]
pub fn signature_word(signer: &Signer) -> &'static str {
    match signer {
        Signer::Allowed(_) => "good",
        Signer::Unsigned => "none",
        Signer::Rejected(_) => "BAD",
    }
}

/// Branch below `refs/heads/` that holds the ledger.
pub const LEDGER_BRANCH: &str = "tars/ledger";
