//! The durable inbox of alerts: one file per alert fingerprint in a private folder. In go decoded alerts,
//! out come those that fire. When [`Spool::accept`] returns, what it took is on disk: only then may the
//! sender be told so, because Alertmanager repeats a message it believes delivered only hours later. A
//! repeat costs no write.
//!
//! An alert is remembered by (fingerprint, start time) until it is older than the maximum age, and an alert
//! older than that is not taken. So a captured message can be replayed for ever without firing twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::model::alert::{Alert, AlertStatus, Alerts};
use crate::outside::files::{self, FileError, Lock};

/// Most alerts remembered at the same time.
pub const MAX_ENTRIES: usize = 10_000;
/// Most memory that they may take, about.
const MAX_BYTES: usize = 48 * 1024 * 1024;
/// What one more text costs, about: where it is, how long, and what the allocator adds.
const TEXT_BYTES: usize = 48;
/// Largest file of one alert, bytes: 64 labels of the longest kind, escaped, and change.
const MAX_FILE_BYTES: usize = 512 * 1024;
/// Most names looked at in the folder: the entries and what a crash left behind.
const MAX_NAMES: usize = 4 * MAX_ENTRIES;
/// An alert that starts further in the future than this is not taken, seconds.
const MAX_AHEAD_S: i64 = 300;
/// Held while a process uses the folder.
const LOCK_NAME: &str = "lock";
const SUFFIX: &str = ".json";

/// The spool cannot do what was asked.
#[derive(Debug, Error)]
pub enum SpoolError {
    #[error("cannot open the alert spool {}", .dir.display())]
    Open {
        dir: PathBuf,
        #[source]
        cause: FileError,
    },
    #[error("cannot store an alert")]
    Store(#[source] FileError),
    /// The sender should try again later (HTTP 503).
    #[error("as many alerts are firing as can be remembered")]
    Full,
    /// Only a programming error gets here: alerts come from the decoder, which checks them.
    #[error("the fingerprint is not a file name")]
    Fingerprint,
}

/// What became of the alerts of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    pub firing: u64,
    pub resolved: u64,
    /// Already known as they are; nothing was written.
    pub repeated: u64,
    /// Too old, or from the future; not taken.
    pub out_of_time: u64,
}

/// What is remembered.
#[derive(Debug, Default)]
struct Known {
    alerts: BTreeMap<String, Arc<Alert>>,
    /// Memory that they take, about.
    bytes: usize,
    /// The same for those who look, until one comes or goes.
    sorted: Option<Arc<Alerts>>,
}

impl Known {
    fn insert(&mut self, alert: Alert) {
        let fingerprint = alert.fingerprint.clone();
        self.remove(&fingerprint);
        self.bytes += bytes_of(&alert);
        self.alerts.insert(fingerprint, Arc::new(alert));
    }

    fn remove(&mut self, fingerprint: &str) {
        self.sorted = None;
        if let Some(old) = self.alerts.remove(fingerprint) {
            self.bytes -= bytes_of(&old);
        }
    }
}

/// What one message brings.
#[derive(Debug, Default)]
struct Fresh<'a> {
    alerts: BTreeMap<&'a str, &'a Alert>,
    bytes: usize,
}

impl<'a> Fresh<'a> {
    fn insert(&mut self, alert: &'a Alert) {
        self.bytes += bytes_of(alert);
        self.alerts.insert(&alert.fingerprint, alert);
    }
}

fn bytes_of(alert: &Alert) -> usize {
    let text = |it: &String| it.len() + TEXT_BYTES;
    let labels: usize = alert.labels.iter().map(|(name, value)| text(name) + text(value)).sum();
    // The fingerprint is a key in three maps.
    labels + 4 * text(&alert.fingerprint)
}

/// The inbox. All calls block on the disk: run them where blocking is allowed.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_age: SignedDuration,
    /// Held over the write, so that the newest status of an alert is also the last one written.
    known: Mutex<Known>,
    /// Files that could not be read when the spool was opened.
    unreadable: Vec<String>,
    _lock: Lock,
}

impl Spool {
    /// Opens the folder `dir`, creates it when missing, removes what a crash left behind, and loads the
    /// rest. An alert is remembered, and can fire, for `max_age_s` seconds after it started.
    ///
    /// # Errors
    /// [`SpoolError::Open`] when the folder cannot be used or another process uses it.
    pub fn open(dir: &Path, max_age_s: u32) -> Result<Self, SpoolError> {
        let failed = |cause| SpoolError::Open { dir: dir.to_owned(), cause };
        files::create_private_dir(dir).map_err(failed)?;
        let lock = files::lock_exclusive(&dir.join(LOCK_NAME)).map_err(failed)?;
        let mut known = Known::default();
        let mut unreadable = Vec::new();
        for name in files::names_in(dir, MAX_NAMES).map_err(failed)? {
            let path = dir.join(&name);
            match name.strip_suffix(SUFFIX) {
                Some(fingerprint) if is_file_name(fingerprint) => match load_one(&path, fingerprint) {
                    Some(alert) if known.alerts.len() < MAX_ENTRIES && known.bytes < MAX_BYTES => {
                        known.insert(alert);
                    }
                    // Kept for a person to look at; the next message about that alert replaces it.
                    _ => unreadable.push(name),
                },
                // A write that was cut short; its alert was never acknowledged.
                _ if name.starts_with(".tmp") => files::remove_file(&path).map_err(failed)?,
                _ => {}
            }
        }
        let max_age = SignedDuration::from_secs(i64::from(max_age_s));
        Ok(Self { dir: dir.to_owned(), max_age, known: Mutex::new(known), unreadable, _lock: lock })
    }

    /// Names of files that could not be read back.
    #[must_use]
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Takes `alerts` in; on return they are on disk. Calling again with the same alerts is harmless, so
    /// after an error the sender simply repeats the message.
    ///
    /// # Errors
    /// [`SpoolError::Full`] or [`SpoolError::Store`]: some of the alerts may have been taken, none may be
    /// acknowledged.
    pub fn accept(&self, alerts: &[Alert], now: Timestamp) -> Result<Accepted, SpoolError> {
        let mut known = self.known();
        let mut accepted = Accepted::default();
        let (mut fresh, mut room) = (Fresh::default(), Ok(()));
        for alert in alerts {
            if !is_file_name(&alert.fingerprint) {
                return Err(SpoolError::Fingerprint);
            }
            if self.is_out_of_time(alert, now) {
                accepted.out_of_time += 1;
                continue;
            }
            let here = fresh.alerts.get(alert.fingerprint.as_str()).copied();
            let old = here.or_else(|| known.alerts.get(&alert.fingerprint).map(Arc::as_ref));
            if old.is_some_and(|old| !supersedes(alert, old)) {
                accepted.repeated += 1;
                continue;
            }
            if old.is_none() {
                room = self.make_room(&mut known, &fresh, alert, now);
                if room.is_err() {
                    break;
                }
            }
            fresh.insert(alert);
            match alert.status {
                AlertStatus::Firing => accepted.firing += 1,
                AlertStatus::Resolved => accepted.resolved += 1,
            }
        }
        self.store(&fresh)?;
        for alert in fresh.alerts.into_values() {
            known.insert(alert.clone());
        }
        room.map(|()| accepted)
    }

    /// All remembered alerts, firing and resolved.
    #[must_use]
    pub fn load(&self) -> Arc<Alerts> {
        let mut known = self.known();
        let sorted = match known.sorted.take() {
            Some(sorted) => sorted,
            None => Arc::new(known.alerts.values().cloned().collect()),
        };
        known.sorted = Some(Arc::clone(&sorted));
        sorted
    }

    #[cfg(test)]
    /// The alerts that fire at `now` and are not older than the maximum age.
    #[must_use]
    pub fn firing(&self, now: Timestamp) -> Vec<Alert> {
        let fires = |alert: &&Alert| alert.status == AlertStatus::Firing && !self.is_out_of_time(alert, now);
        self.load().iter().filter(fires).cloned().collect()
    }

    /// Removes what is older than the maximum age, and says how many that were.
    ///
    /// # Errors
    /// [`SpoolError::Store`] when a file cannot be removed.
    pub fn expire(&self, now: Timestamp) -> Result<usize, SpoolError> {
        let mut known = self.known();
        self.expire_locked(&mut known, now)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each entry is inserted whole after its write, so a panic elsewhere leaves the map usable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_out_of_time(&self, alert: &Alert, now: Timestamp) -> bool {
        let age = now.duration_since(alert.starts_at);
        age > self.max_age || age < SignedDuration::from_secs(-MAX_AHEAD_S)
    }

    fn expire_locked(&self, known: &mut Known, now: Timestamp) -> Result<usize, SpoolError> {
        let is_old = |it: &&Arc<Alert>| now.duration_since(it.starts_at) > self.max_age;
        let old: Vec<Arc<Alert>> = known.alerts.values().filter(is_old).cloned().collect();
        for alert in &old {
            self.remove(known, &alert.fingerprint)?;
        }
        Ok(old.len())
    }

    /// Frees room for one more beside what the message brought already: of what is too old, otherwise of the resolved
    /// alerts that started first.
    fn make_room(
        &self,
        known: &mut Known,
        fresh: &Fresh<'_>,
        one: &Alert,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        let more = fresh.bytes + bytes_of(one);
        let has_room = |known: &Known, new: usize| {
            known.alerts.len() + new < MAX_ENTRIES && known.bytes + more <= MAX_BYTES
        };
        let fits = |known: &Known| {
            // What replaces something known needs no entry of its own; counted only when it matters.
            let is_new = |it: &&&str| !known.alerts.contains_key(**it);
            has_room(known, fresh.alerts.len()) || has_room(known, fresh.alerts.keys().filter(is_new).count())
        };
        if !fits(known) {
            self.expire_locked(known, now)?;
        }
        while !fits(known) {
            let resolved = known.alerts.values().filter(|it| it.status == AlertStatus::Resolved);
            let oldest = resolved.min_by_key(|it| it.starts_at).cloned().ok_or(SpoolError::Full)?;
            self.remove(known, &oldest.fingerprint)?;
        }
        Ok(())
    }

    fn path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join(format!("{fingerprint}{SUFFIX}"))
    }

    fn store(&self, fresh: &Fresh<'_>) -> Result<(), SpoolError> {
        // Serialising a map of strings, times and an enum cannot fail.
        let file = |it: &&Alert| (self.path(&it.fingerprint), serde_json::to_vec(it).unwrap_or_default());
        let all: Vec<_> = fresh.alerts.values().map(file).collect();
        files::write_all_durable(&self.dir, &all).map_err(SpoolError::Store)
    }

    fn remove(&self, known: &mut Known, fingerprint: &str) -> Result<(), SpoolError> {
        files::remove_file(&self.path(fingerprint)).map_err(SpoolError::Store)?;
        known.remove(fingerprint);
        Ok(())
    }
}

/// Is `new` news to someone who knows `old`? Within one start time only "resolved" is, and it is final: a
/// firing message that arrives after it was sent before it.
fn supersedes(new: &Alert, old: &Alert) -> bool {
    if new.starts_at != old.starts_at {
        return new.starts_at > old.starts_at;
    }
    old.status == AlertStatus::Firing && new.status == AlertStatus::Resolved
}

fn is_file_name(fingerprint: &str) -> bool {
    (1..=64).contains(&fingerprint.len())
        && fingerprint.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn load_one(path: &Path, fingerprint: &str) -> Option<Alert> {
    let bytes = files::read_bounded(path, MAX_FILE_BYTES).ok()?;
    let alert: Alert = serde_json::from_slice(&bytes).ok()?;
    (alert.fingerprint == fingerprint).then_some(alert)
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
