//! Facts as bytes, so that a restart need not parse what it has facts for. An index comes in, bytes go out, and
//! the other way round. Bytes that are not exactly what this program wrote are refused as a whole: what is lost
//! is time. Nothing here touches a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Index;
use super::entries::{Entry, EntryKey, FolderEntry};
use super::facts::{FileFacts, FileRole, KnownFiles, KustomizationFacts, ObjectFacts, role_of};
use super::sources::Sources;
use super::unknown::Learned;
use crate::model::ids::{KindName, Namespace, ObjectName, RepoPath, WorkloadRef};
use crate::model::tree::{BlobId, EntryMode};

/// Changes with the form of the bytes and with the meaning of facts.
const MAGIC: &[u8] = b"tars index facts 2\n";
/// Bytes of the checksum at the end: SHA-256.
const SUM_BYTES: usize = 32;
/// Most bytes that facts may take.
pub const MAX_SAVED_BYTES: usize = 256 << 20;

type Sum = [u8; SUM_BYTES];

/// Facts from an earlier index. Those of a file hold wherever its bytes are; those of a folder as long as
/// everything that was seen is the same.
#[derive(Debug, Default)]
pub struct Saved {
    pub files: KnownFiles,
    folders: BTreeMap<String, (Sum, Arc<FolderEntry>)>,
    /// Files that are known and were never written.
    pub(super) fresh: usize,
}

impl Saved {
    /// Reads what [`Index::saved`] wrote under the same `stamp`; `None` when it is anything else.
    #[must_use]
    pub fn read(bytes: &[u8], stamp: &str) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        if Sha256::digest(body)[..] != *sum {
            return None;
        }
        let mut from = Bytes(body.strip_prefix(MAGIC)?);
        if from.text()? != stamp {
            return None;
        }
        let mut saved = Self::default();
        for _ in 0..from.count()? {
            let blob = BlobId::from_bytes(from.array()?);
            let role = from.role()?;
            saved.files.insert((blob, role), Arc::new(from.file_facts()?));
        }
        for _ in 0..from.count()? {
            let dir = from.text()?.to_owned();
            let sum = from.array()?;
            let seen = from.list(|it| RepoPath::new(it.text()?).ok())?.into();
            let objects = from.list(Bytes::object)?.into();
            saved.folders.insert(dir, (sum, Arc::new(FolderEntry { seen, objects })));
        }
        from.0.is_empty().then_some(saved)
    }

    /// Adds what was learned since.
    pub fn add(&mut self, Learned(mut files): Learned) {
        self.fresh += files.len();
        self.files.append(&mut files);
    }

    /// The entry of a folder, if everything it was made from is as it was.
    #[must_use]
    pub fn folder(&self, dir: &str, sources: &Sources) -> Option<Arc<FolderEntry>> {
        let (sum, entry) = self.folders.get(dir)?;
        (sum_of(sources, &entry.seen) == *sum).then(|| Arc::clone(entry))
    }
}

/// A digest over what stands at each of `seen`.
fn sum_of(sources: &Sources, seen: &[RepoPath]) -> Sum {
    let mut sum = Sha256::new();
    for path in seen {
        sum.update(path.as_str());
        match sources.file(path) {
            None => sum.update([0, 0]),
            Some(file) => {
                let mode = match file.mode {
                    EntryMode::File | EntryMode::Executable => 1,
                    EntryMode::Symlink => 2,
                    EntryMode::Submodule => 3,
                };
                sum.update([0, mode, u8::from(sources.is_template(path))]);
                sum.update(file.blob.as_bytes());
            }
        }
    }
    sum.finalize().into()
}

impl Index {
    /// All facts as bytes; `None` when they are too many, or an object could not be read. `stamp` names whoever
    /// may read them: another build of the program could understand the same file in another way.
    #[must_use]
    pub fn saved(&self, stamp: &str) -> Option<Vec<u8>> {
        if self.sources.failure().is_some() {
            return None;
        }
        let mut out = Out(MAGIC.to_vec());
        out.text(stamp);
        let mut files = BTreeSet::new();
        for path in self.files.keys() {
            let Some(file) = self.sources.file(path) else { continue };
            if matches!(file.mode, EntryMode::File | EntryMode::Executable) {
                files.insert((file.blob, role_of(&self.sources, path), path));
            }
        }
        let mut unique: Vec<_> = files.into_iter().collect();
        unique.dedup_by_key(|(blob, role, _)| (*blob, *role));
        out.count(unique.len());
        for (blob, role, path) in unique {
            out.0.extend(blob.as_bytes());
            out.role(role);
            out.file_facts(self.files.get(path)?);
        }
        let folders = || {
            self.entries.iter().filter_map(|(key, entry)| match (key, entry) {
                (EntryKey::Folder(dir), Entry::Folder(entry)) => Some((dir, entry)),
                _ => None,
            })
        };
        out.count(folders().count());
        for (dir, entry) in folders() {
            out.text(dir);
            out.0.extend(sum_of(&self.sources, &entry.seen));
            out.list(&entry.seen, |out, path| out.text(path.as_str()));
            out.list(&entry.objects, Out::object);
            if out.0.len() > MAX_SAVED_BYTES {
                return None;
            }
        }
        let sum = Sha256::digest(&out.0);
        out.0.extend_from_slice(&sum);
        (out.0.len() <= MAX_SAVED_BYTES).then_some(out.0)
    }
}

struct Out(Vec<u8>);

impl Out {
    /// Larger counts than fit are cut: the bytes then do not read back, which costs time and nothing else.
    fn count(&mut self, count: usize) {
        self.0.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    fn option<T: ?Sized>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.count(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn role(&mut self, role: FileRole) {
        self.0.push(match role {
            FileRole::Manifest => 0,
            FileRole::Kustomization => 1,
            FileRole::Template => 2,
        });
    }

    fn file_facts(&mut self, facts: &FileFacts) {
        self.option(facts.unreadable.as_deref(), Self::text);
        self.flag(facts.names_autoscaler);
        self.option(facts.kustomization.as_deref(), |out, it: &KustomizationFacts| {
            out.flag(it.component);
            out.list(&it.references, |out, text| out.text(text));
        });
        self.list(&facts.objects, Self::object);
    }

    fn object(&mut self, object: &ObjectFacts) {
        self.option(object.reference.as_deref(), |out, it: &WorkloadRef| {
            [it.namespace.as_str(), it.kind.as_str(), it.name.as_str()]
                .iter()
                .for_each(|text| out.text(text));
        });
        self.option(object.scales.as_deref(), Self::text);
    }
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn text(&mut self) -> Option<&'b str> {
        let bytes = self.count()?;
        std::str::from_utf8(self.take(bytes)?).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        // Nothing takes less than a byte: a count beyond what is there reserves nothing.
        let mut items = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }

    fn role(&mut self) -> Option<FileRole> {
        match self.take(1)? {
            [0] => Some(FileRole::Manifest),
            [1] => Some(FileRole::Kustomization),
            [2] => Some(FileRole::Template),
            _ => None,
        }
    }

    fn file_facts(&mut self) -> Option<FileFacts> {
        Some(FileFacts {
            unreadable: self.option(|it| it.text().map(Box::from))?,
            names_autoscaler: self.flag()?,
            kustomization: self.option(|it| {
                let component = it.flag()?;
                Some(Box::new(KustomizationFacts { component, references: it.texts()? }))
            })?,
            objects: self.list(Self::object)?.into(),
        })
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        self.list(|it| it.text().map(str::to_owned))
    }

    fn object(&mut self) -> Option<ObjectFacts> {
        let reference = self.option(|it| {
            let namespace = Namespace::new(it.text()?).ok()?;
            let kind = KindName::new(it.text()?).ok()?;
            let name = ObjectName::new(it.text()?).ok()?;
            Some(Arc::new(WorkloadRef { namespace, kind, name }))
        })?;
        let scales = self.option(|it| it.text().map(Box::from))?;
        Some(ObjectFacts { reference, scales })
    }
}
