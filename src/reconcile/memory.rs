//! The ledger as this process knows it: read from git, folded, and extended by compare-and-swap.
//! A remote head comes in, a history goes out; a new entry goes out as one push. It never decides what to
//! record, and it never repairs a ledger: a rewritten one stops every write.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use thiserror::Error;

use super::error::TurnError;
use crate::ledger::{self, Rule};
use crate::model::action::{ActionState, RemediationAction};
use crate::model::entry::{Entry, EntryKind, Envelope, Signer};
use crate::model::history::History;
use crate::model::ids::{ActionId, EntryId, InstanceId, InvalidName, ObjectId, RepoId};
use crate::model::request::Request;
use crate::outside::files::{self, FileError};
use crate::outside::git::{Edit, Mirror, Objects, PushOutcome, RefUpdate};
use crate::outside::random;
use crate::outside::sign::{AllowedSigners, SignatureCheck};
use crate::propose::{EntryDraft, Recording, Rider, Writer};

/// Longest tail that is read before a checkpoint must have been met.
const ENTRIES_MAX: usize = 200_000;
/// Most actions that ended and are still remembered with their texts.
const ENDED_MAX: usize = 100;
/// What a person finds who looks into the branch.
const README_FILE: &str = "README.md";
const README_TEXT: &str = "# The ledger of tars\n\nOne signed commit per state of a remediation, in one line: `git log` is \
    the audit.\n`open/` holds the one open action of a target, `actions/` the finished ones. Nobody but tars writes\n\
    here; a rewritten branch stops every automatic merge. Check it with `tars audit verify`.\n";
/// Name of the file that remembers the newest entry this machine has seen.
const LAST_SEEN_FILE: &str = "ledger-last-seen";
const LAST_SEEN_BYTES_MAX: usize = 200;

/// Why it is not known which entry was seen here last.
#[derive(Debug, Error)]
pub enum LastSeenError {
    #[error("cannot read which entry was seen here last")]
    Unreadable(#[source] FileError),
    #[error("{} does not hold the id of a commit", .file.display())]
    NoCommit {
        file: PathBuf,
        #[source]
        source: InvalidName,
    },
}

impl LastSeenError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "may tars read the files below `repository.state_dir`?",
            Self::NoCommit { .. } => {
                "run `tars audit verify` on a fresh clone; if that is well, remove the file"
            }
        }
    }
}

/// Reads one commit of the ledger branch as an entry.
///
/// # Errors
/// When the commit is no entry, carries files an entry of its kind does not have, or cannot be read.
pub fn read_entry(
    objects: &Objects,
    commit: &ObjectId,
    allowed: Option<&AllowedSigners>,
) -> Result<Entry, TurnError> {
    let raw = objects.commit(commit.as_str()).map_err(TurnError::Objects)?;
    let envelope = ledger::parse_message(&raw.message)
        .map_err(|source| TurnError::Grammar { commit: commit.clone(), source })?;
    let parent = raw.parents.first().map(String::as_str);
    let mut record = None;
    let mut request = None;
    let mut checkpoint = None;
    let mut touched = Vec::new();
    for (path, _, new) in objects.changed_paths(parent, commit.as_str()).map_err(TurnError::Objects)? {
        let Some(oid) = new else {
            touched.push((path, false));
            continue;
        };
        let bytes = objects.blob(&oid, bytes_max(envelope.kind)).map_err(TurnError::Objects)?;
        match envelope.kind {
            EntryKind::Transition(_) => {
                let read = ledger::record_from_yaml(&bytes);
                record = Some(read.map_err(|source| TurnError::Record { commit: commit.clone(), source })?);
            }
            EntryKind::Asked => {
                let read = ledger::request_from_yaml(&bytes);
                request = Some(read.map_err(|source| TurnError::Record { commit: commit.clone(), source })?);
            }
            EntryKind::Checkpoint => checkpoint = String::from_utf8(bytes).ok(),
            EntryKind::Genesis => {}
        }
        touched.push((path, true));
    }
    check_files(commit, &envelope, (record.as_ref(), request.as_ref()), &touched)?;
    let time_s = envelope.time.as_second();
    let signer = match allowed {
        None => Signer::Allowed("not checked".to_owned()),
        Some(allowed) => match allowed.verify(&raw.payload, raw.signature.as_deref(), time_s) {
            SignatureCheck::Allowed(key) => Signer::Allowed(key),
            SignatureCheck::Unsigned => Signer::Unsigned,
            SignatureCheck::Rejected(why) => Signer::Rejected(why),
        },
    };
    let parents = raw.parents.into_iter().map(ObjectId::new).collect::<Result<_, _>>()?;
    Ok(Entry { commit: commit.clone(), parents, signer, envelope, record, request, checkpoint })
}

/// Largest file of an entry: whatever its writer is allowed to write, every reader must be able to read, or
/// one large entry would stop everybody for ever.
fn bytes_max(kind: EntryKind) -> usize {
    match kind {
        EntryKind::Checkpoint => ledger::MAX_CHECKPOINT_BYTES,
        EntryKind::Transition(_) | EntryKind::Asked | EntryKind::Genesis => ledger::MAX_RECORD_BYTES,
    }
}

/// An entry touches the files of its record and nothing else; `touched` says path and "written".
fn check_files(
    commit: &ObjectId,
    envelope: &Envelope,
    (record, request): (Option<&RemediationAction>, Option<&Request>),
    touched: &[(String, bool)],
) -> Result<(), TurnError> {
    let wrong = |detail: String| TurnError::Files { commit: commit.clone(), detail };
    let allowed: Vec<(String, bool)> = match (envelope.kind, record) {
        (EntryKind::Genesis, _) => vec![(README_FILE.to_owned(), true)],
        (EntryKind::Checkpoint, _) => {
            let path = ledger::checkpoint_file()
                .map_err(|source| TurnError::Checkpoint { commit: commit.clone(), source })?;
            vec![(path.to_string(), true)]
        }
        (EntryKind::Asked, _) => {
            let request = request.ok_or_else(|| wrong("it has no request".to_owned()))?;
            let path = ledger::request_path(request)
                .map_err(|source| TurnError::Record { commit: commit.clone(), source })?;
            vec![(path.to_string(), true)]
        }
        (EntryKind::Transition(_), None) => return Err(wrong("it has no record".to_owned())),
        (EntryKind::Transition(_), Some(record)) => ledger::paths(record)
            .map_err(|source| TurnError::Record { commit: commit.clone(), source })?
            .into_iter()
            .map(|(path, written)| (path.to_string(), written))
            .collect(),
    };
    for row in touched {
        if !allowed.contains(row) {
            return Err(wrong(format!("{} does not belong to it", row.0)));
        }
    }
    match allowed.iter().find(|row| row.1 && !touched.contains(row)) {
        Some((path, _)) => Err(wrong(format!("{path} is missing"))),
        None => Ok(()),
    }
}

/// The ledger of one repository, followed by one process.
#[derive(Debug)]
pub struct Memory {
    history: History,
    head: Option<ObjectId>,
    /// The newest entry that a process before this one saw. Read before anything was fetched, because what another process sees
    /// afterwards is newer than the fetch.
    seen_before: Option<ObjectId>,
    allowed: AllowedSigners,
    repo: RepoId,
    instance: InstanceId,
    /// Actions this very process reserved: nobody else may be in the middle of merging them.
    reserved: BTreeSet<ActionId>,
    /// Actions this very process proposed.
    proposed: BTreeSet<ActionId>,
    /// Actions that ended or were only observed, oldest first: those since the newest checkpoint, and no more than [`ENDED_MAX`].
    ended: Vec<RemediationAction>,
    last_seen: PathBuf,
}

/// The files of an entry on top of `history`.
fn files_of(history: &History, entry: &NextEntry<'_>) -> Result<Vec<Edit>, TurnError> {
    let edits = match (entry.kind, entry.record) {
        (EntryKind::Asked, _) => {
            let request = entry.request.into_iter().map(ledger::request_file);
            request.collect::<Result<_, _>>().map_err(TurnError::DraftRecord)?
        }
        (EntryKind::Checkpoint, _) => {
            let path = ledger::checkpoint_file().map_err(TurnError::DraftCheckpoint)?;
            let text = ledger::to_json(history).map_err(TurnError::DraftCheckpoint)?;
            vec![(path, Some(text))]
        }
        (_, Some(record)) => ledger::files(record).map_err(TurnError::DraftRecord)?,
        (_, None) => return Ok(vec![(README_FILE.to_owned(), Some(README_TEXT.as_bytes().to_vec()))]),
    };
    Ok(edits.into_iter().map(|(path, text)| (path.to_string(), text.map(String::into_bytes))).collect())
}

/// What an entry's subject line says.
fn headline(entry: &NextEntry<'_>) -> String {
    let about = |record: &RemediationAction| {
        format!("{} {}", record.state().as_str(), crate::render::headline(record))
    };
    entry.record.map(about).or_else(|| entry.request.map(ToString::to_string)).unwrap_or_default()
}

/// What is to be recorded next.
#[derive(Debug, Clone, Copy)]
pub struct NextEntry<'a> {
    pub kind: EntryKind,
    /// The record as it is to be afterwards; only of a transition.
    pub record: Option<&'a RemediationAction>,
    /// What a person asked for.
    pub request: Option<&'a Request>,
}

impl<'a> NextEntry<'a> {
    /// An entry without contents of its own: genesis or checkpoint.
    #[must_use]
    pub fn mark(kind: EntryKind) -> Self {
        Self { kind, record: None, request: None }
    }

    /// `record` enters its state.
    #[must_use]
    pub fn transition(record: &'a RemediationAction) -> Self {
        Self { record: Some(record), ..Self::mark(EntryKind::Transition(record.state())) }
    }

    /// A person asked for `request`.
    #[must_use]
    pub fn asked(request: &'a Request) -> Self {
        Self { request: Some(request), ..Self::mark(EntryKind::Asked) }
    }
}

/// How an attempt to record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Landed,
    /// The push said neither yes nor no, and the branch showed that it had landed.
    LandedUnsaid,
    /// Somebody else wrote first: read again, decide again.
    Lost,
    /// The push said neither yes nor no, and the entry is not the head now: read again, decide again.
    Unsettled,
}

/// How an attempt to record ended, and the branches that the push moved.
#[derive(Debug)]
pub struct Appended {
    pub recorded: Recorded,
    /// Empty unless the push landed.
    pub moved: Vec<RefUpdate>,
    /// What git said about a push that did not land, for people only.
    pub said: String,
}

impl Memory {
    /// Empty, but for the newest entry that any process with this `state_dir` saw.
    ///
    /// # Errors
    /// [`LastSeenError`]; without it a rewritten ledger would go unnoticed.
    pub fn open(
        allowed: AllowedSigners,
        repo: RepoId,
        instance: InstanceId,
        state_dir: &std::path::Path,
    ) -> Result<Self, LastSeenError> {
        let last_seen = state_dir.join(LAST_SEEN_FILE);
        let seen_before = match files::read_bounded(&last_seen, LAST_SEEN_BYTES_MAX) {
            Ok(bytes) => Some(
                ObjectId::new(String::from_utf8_lossy(&bytes).trim())
                    .map_err(|source| LastSeenError::NoCommit { file: last_seen.clone(), source })?,
            ),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(LastSeenError::Unreadable(error)),
        };
        Ok(Self {
            history: History::default(),
            head: None,
            seen_before,
            allowed,
            repo,
            instance,
            reserved: BTreeSet::new(),
            proposed: BTreeSet::new(),
            ended: Vec::new(),
            last_seen,
        })
    }

    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Actions that ended lately, or were only observed, oldest first.
    #[must_use]
    pub fn ended(&self) -> &[RemediationAction] {
        &self.ended
    }

    fn note_ended(&mut self, record: &RemediationAction) {
        use ActionState::{Closed, Expired, Observed, Reverted};
        if matches!(record.state(), Closed | Expired | Observed | Reverted) {
            self.ended.push(record.clone());
            let excess = self.ended.len().saturating_sub(ENDED_MAX);
            self.ended.drain(..excess);
        }
    }

    /// Actions that this very process proposed or built anew.
    #[must_use]
    pub fn proposed_here(&self) -> &BTreeSet<ActionId> {
        &self.proposed
    }

    /// Did this very process make the reservation of `action`?
    #[must_use]
    pub fn reserved_here(&self, action: &ActionId) -> bool {
        self.reserved.contains(action)
    }

    /// Follows the ledger branch to `remote`, which was just fetched.
    ///
    /// # Errors
    /// When the branch vanished, was rewritten, or holds anything that is not a legal next entry.
    pub fn refresh(
        &mut self,
        objects: &Objects,
        remote: Option<&str>,
        now: Timestamp,
    ) -> Result<(), TurnError> {
        let Some(remote) = remote else {
            if let Some(seen) = self.newest_seen() {
                return Err(TurnError::Rewritten(format!("the branch is gone; it was at {seen}")));
            }
            return Ok(());
        };
        let remote = ObjectId::new(remote)?;
        if self.head.as_ref() == Some(&remote) {
            return Ok(());
        }
        if let Some(seen) = self.newest_seen() {
            // A fresh clone does not even have an entry that was cut off.
            let follows = objects.has(seen.as_str()).map_err(TurnError::Objects)?
                && objects.is_ancestor(seen.as_str(), remote.as_str()).map_err(TurnError::Objects)?;
            if !follows {
                return Err(TurnError::Rewritten(format!(
                    "{} does not follow {}, the newest entry seen here",
                    remote.short(),
                    seen.short()
                )));
            }
        }
        let mut history = self.history.clone();
        let stop = self.head.as_ref().map(ObjectId::as_str);
        let entries = self.tail(objects, &remote, stop)?;
        if let Some(newest) = entries.last() {
            ledger::check_not_future(newest, now)
                .map_err(|source| TurnError::Violation { commit: newest.commit.clone(), source })?;
        }
        let mut ended = Vec::new();
        for entry in entries {
            if history.seq.is_none() && entry.envelope.kind == EntryKind::Checkpoint {
                history = ledger::from_json(entry.checkpoint.as_deref().unwrap_or_default())
                    .map_err(|source| TurnError::Checkpoint { commit: entry.commit.clone(), source })?;
            }
            ledger::step(&mut history, &entry)
                .map_err(|source| TurnError::Violation { commit: entry.commit.clone(), source })?;
            ended.extend(entry.record);
        }
        if history.repo.as_ref().is_some_and(|repo| *repo != self.repo) {
            return Err(TurnError::Rewritten(format!("it belongs to another repository than {}", self.repo)));
        }
        self.history = history;
        ended.iter().for_each(|record| self.note_ended(record));
        self.remember(&remote)
    }

    /// Entries after `stop`, oldest first; without `stop` from the newest checkpoint on.
    fn tail(&self, objects: &Objects, head: &ObjectId, stop: Option<&str>) -> Result<Vec<Entry>, TurnError> {
        let commits = objects.walk(head.as_str(), stop, ENTRIES_MAX).map_err(TurnError::Objects)?;
        let mut entries = Vec::new();
        for commit in commits {
            let entry = read_entry(objects, &ObjectId::new(commit)?, Some(&self.allowed))?;
            let is_start = stop.is_none() && entry.envelope.kind == EntryKind::Checkpoint;
            entries.push(entry);
            if is_start {
                break;
            }
        }
        entries.reverse();
        Ok(entries)
    }

    /// What the branch must have.
    fn newest_seen(&self) -> Option<&ObjectId> {
        self.head.as_ref().or(self.seen_before.as_ref())
    }

    fn remember(&mut self, head: &ObjectId) -> Result<(), TurnError> {
        self.head = Some(head.clone());
        files::write_durable(&self.last_seen, head.as_str().as_bytes()).map_err(TurnError::LastSeen)
    }

    /// Records `entries`, in order, on top of what was read, with `riders` in the same push: all of it lands,
    /// or nothing. After anything but a clear success the branch is read again: the push may have landed all
    /// the same.
    ///
    /// # Errors
    /// When an entry would break the ledger's rules or git cannot be run.
    pub async fn append(
        &mut self,
        mirror: &Mirror,
        writer: &Writer,
        entries: &[NextEntry<'_>],
        riders: &[Rider<'_>],
        now: Timestamp,
    ) -> Result<Appended, TurnError> {
        let landed = |recorded, moved| Ok(Appended { recorded, moved, said: String::new() });
        let not_landed = |recorded, said| Ok(Appended { recorded, moved: Vec::new(), said });
        let (ahead, newest) = self.write(mirror, writer, entries, now)?;
        let Some(newest) = newest.filter(|_| !entries.is_empty()) else {
            return landed(Recorded::Landed, Vec::new());
        };
        let Recording { updates, outcome } =
            writer.record(mirror, self.head.as_ref(), &newest, riders).await.map_err(TurnError::Propose)?;
        let recorded = match outcome {
            PushOutcome::Landed => Recorded::Landed,
            PushOutcome::Rejected(said) => return not_landed(Recorded::Lost, said),
            PushOutcome::Unknown(said) => {
                if !self.did_land(mirror, writer, &newest).await? {
                    return not_landed(Recorded::Unsettled, said);
                }
                Recorded::LandedUnsaid
            }
        };
        self.history = ahead;
        self.remember(&newest)?;
        for record in entries.iter().filter_map(|it| it.record) {
            self.note_ended(record);
            match record.state() {
                ActionState::MergeReserved => self.reserved.insert(record.id().clone()),
                ActionState::Proposed => self.proposed.insert(record.id().clone()),
                _ => false,
            };
        }
        landed(recorded, updates)
    }

    /// Commits `entries` into the local copy, each stepped on a copy of the history before anything is pushed:
    /// an illegal entry would stop every reader. Gives the history afterwards, and the newest commit.
    fn write(
        &self,
        mirror: &Mirror,
        writer: &Writer,
        entries: &[NextEntry<'_>],
        now: Timestamp,
    ) -> Result<(History, Option<ObjectId>), TurnError> {
        let (mut ahead, mut newest) = (self.history.clone(), self.head.clone());
        for next in entries {
            let NextEntry { kind, record, .. } = next;
            let id = EntryId::new(random::hex(16).map_err(TurnError::Random)?)?;
            let draft = ledger::Draft { kind: *kind, record: *record, now };
            let envelope =
                ledger::next_envelope(&ahead, &draft, id, self.repo.clone(), self.instance.clone());
            let message = ledger::message(&envelope, &headline(next)).map_err(TurnError::Message)?;
            let time_s = envelope.time.as_second();
            self.allowed.accepts(&writer.signer, time_s).map_err(TurnError::SigningKey)?;
            let entry = EntryDraft {
                parent: newest.as_ref(),
                message: &message,
                files: files_of(&ahead, next)?,
                time: envelope.time,
            };
            let commit = writer.write_entry(mirror, entry).map_err(TurnError::Propose)?;
            // Read back as everybody else will read it, our own signature included.
            let entry = read_entry(mirror.objects(), &commit, Some(&self.allowed))?;
            ledger::step(&mut ahead, &entry).map_err(|source| match source.rule {
                Rule::Signature => TurnError::Violation { commit: commit.clone(), source },
                _ => TurnError::Draft(source),
            })?;
            newest = Some(commit);
        }
        Ok((ahead, newest))
    }

    /// Is `commit` in the remote ledger now? The only honest answer after an unknown outcome.
    async fn did_land(&self, mirror: &Mirror, writer: &Writer, commit: &ObjectId) -> Result<bool, TurnError> {
        let name = format!("refs/heads/{}", writer.ledger);
        let refs = mirror.fetch(&[&name]).await.map_err(TurnError::Fetch)?;
        match refs.get(&name) {
            // Found deeper in the branch means it landed and somebody wrote on top: `refresh` will fold both.
            Some(head) => Ok(head == commit.as_str()),
            None => Ok(false),
        }
    }
}
