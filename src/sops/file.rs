//! A SOPS file: read from bytes, opened with identities. Opening decrypts every value and verifies the MAC;
//! there is no way to get at values of a file whose MAC does not hold.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::age_keys::Identities;
use super::cipher::{Sealed, additional};
use super::error::SopsError;
use super::metadata::{Metadata, Recipient};
use super::secret::{DataKey, Kind, Plaintext};
use super::store::Store;
use super::tree::{self, Leaf};
use super::value::Typed;
use super::{json, mac, shamir};
use crate::yaml::{self, Document, Path};

/// A SOPS file as it is on disk. Nothing in it is decrypted.
#[derive(Debug)]
pub struct SopsFile {
    pub(super) store: Store,
    pub(super) source: String,
    pub(super) documents: Vec<Document>,
    pub(super) metadata: Metadata,
    pub(super) leaves: Vec<Leaf>,
}

/// An opened file: its data key and every value, in step with the file's leaves. The MAC holds.
#[derive(Debug)]
pub struct Unlocked {
    pub(super) key: DataKey,
    pub(super) values: Vec<Option<Plaintext>>,
}

/// Parses a text of a store; JSON also as JSON.
pub(super) fn parse(store: Store, source: &[u8]) -> Result<(String, Vec<Document>), SopsError> {
    if !matches!(store, Store::Yaml | Store::Json) {
        return Err(SopsError::Store(store.name()));
    }
    let documents = yaml::read(source).map_err(SopsError::Yaml)?;
    let text = String::from_utf8_lossy(source).into_owned();
    if store == Store::Json {
        json::check(&text, &documents)?;
    }
    Ok((text, documents))
}

impl SopsFile {
    /// Reads a file and checks that it is as sops 3.13 writes it, as far as that shows without a key.
    ///
    /// # Errors
    /// [`SopsError::Store`] for dotenv, INI and binary files, [`SopsError::NotSops`] without metadata, and
    /// whatever is wrong with metadata, structure, or an encrypted value's form.
    pub fn read(store: Store, source: &[u8]) -> Result<Self, SopsError> {
        let (source, documents) = parse(store, source)?;
        let first = documents.first().ok_or(SopsError::NotSops)?;
        if first.root.as_map().filter(|(key, _)| key.text() == Some("sops")).count() > 1 {
            return Err(SopsError::Tree { line: first.root.line, reason: "the key sops is there twice" });
        }
        let block = first.root.get("sops").ok_or(SopsError::NotSops)?;
        let metadata = Metadata::parse(store, &source, block)?;
        let leaves = tree::walk(store, &source, &documents, &metadata.rule)?.leaves;
        let file = Self { store, source, documents, metadata, leaves };
        for leaf in file.leaves.iter().filter(|leaf| leaf.sealed) {
            file.ciphertext(leaf)?;
        }
        Ok(file)
    }

    /// What the `sops` block says.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Document, path and "is it encrypted" of every value, in file order.
    pub fn paths(&self) -> impl Iterator<Item = (usize, &Path, bool)> {
        self.leaves.iter().map(|leaf| (leaf.document, &leaf.path, leaf.sealed))
    }

    /// The text of an encrypted value; `None` for a plain one, and when nothing stands there.
    #[must_use]
    pub fn sealed_text(&self, document: usize, path: &Path) -> Option<&str> {
        let node = self.documents.get(document)?.root.at(path).ok()?;
        let leaf = self.leaves.iter().find(|leaf| leaf.document == document && leaf.span == node.span)?;
        node.as_scalar().filter(|_| leaf.sealed).map(|scalar| scalar.text.as_str())
    }

    /// Compares who can read the file with who should.
    ///
    /// # Errors
    /// [`SopsError::Stranger`] names one who should not, [`SopsError::Missing`] one who cannot and should.
    pub fn expect_recipients(&self, expected: &BTreeSet<Recipient>) -> Result<(), SopsError> {
        let found = self.metadata.recipients();
        if let Some(stranger) = found.difference(expected).next() {
            return Err(SopsError::Stranger { recipient: stranger.to_string() });
        }
        match expected.difference(&found).next() {
            Some(missing) => Err(SopsError::Missing { recipient: missing.to_string() }),
            None => Ok(()),
        }
    }

    /// Decrypts everything and verifies the MAC.
    ///
    /// # Errors
    /// [`SopsError::NoIdentity`] when the identities do not open enough key groups, [`SopsError::Forged`] for a
    /// value that does not decrypt, [`SopsError::MacMismatch`].
    pub fn unlock(&self, identities: &Identities) -> Result<Unlocked, SopsError> {
        self.unlock_with(self.data_key(identities)?)
    }

    pub(super) fn unlock_with(&self, key: DataKey) -> Result<Unlocked, SopsError> {
        let values = self.leaves.iter().map(|leaf| self.value(leaf, &key)).collect::<Result<Vec<_>, _>>()?;
        let computed = self.mac_of(&values);
        let time = &self.metadata.last_modified;
        let stored = Sealed::parse(&self.metadata.mac).and_then(|sealed| sealed.open(&key, &seconds(time)));
        match stored {
            Some(mac) if mac.kind == Kind::Text && mac.expose() == computed.as_bytes() => {
                Ok(Unlocked { key, values })
            }
            _ => Err(SopsError::MacMismatch),
        }
    }

    pub(super) fn mac_of(&self, values: &[Option<Plaintext>]) -> String {
        let pairs = self.leaves.iter().zip(values).map(|(leaf, value)| (leaf.sealed, value.as_ref()));
        mac::compute(self.metadata.mac_only_encrypted, pairs)
    }

    fn data_key(&self, identities: &Identities) -> Result<DataKey, SopsError> {
        let metadata = &self.metadata;
        let mut shares: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for group in &metadata.groups {
            shares.extend(group.envelopes.iter().find_map(|envelope| identities.unwrap(envelope)));
        }
        if shares.len() < metadata.threshold {
            let recipients = metadata.recipients().iter().map(ToString::to_string).collect();
            return Err(SopsError::NoIdentity { recipients });
        }
        let bytes =
            if metadata.groups.len() == 1 { shares.swap_remove(0) } else { shamir::combine(&shares)? };
        let key: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| SopsError::Shares { reason: "the data key does not have 32 bytes" })?;
        Ok(DataKey(Zeroizing::new(key)))
    }

    /// The ciphertext of an encrypted leaf; `None` for null and the empty string, which are never encrypted.
    pub(super) fn ciphertext(&self, leaf: &Leaf) -> Result<Option<Sealed>, SopsError> {
        let refuse = |reason| SopsError::Value { line: leaf.line, path: leaf.path.to_string(), reason };
        let Typed::Value(text) = &leaf.typed else { return Ok(None) };
        if text.kind != Kind::Text {
            return Err(refuse("the rule encrypts this value, and it stands here in the clear"));
        }
        if text.bytes.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(&text.bytes).ok();
        let sealed = text.and_then(Sealed::parse);
        sealed
            .map(Some)
            .ok_or_else(|| refuse("the rule encrypts this value, and it is not in the form of sops"))
    }

    fn value(&self, leaf: &Leaf, key: &DataKey) -> Result<Option<Plaintext>, SopsError> {
        let Typed::Value(written) = &leaf.typed else { return Ok(None) };
        let sealed = if leaf.sealed { self.ciphertext(leaf)? } else { None };
        let Some(sealed) = sealed else { return Ok(Some(written.clone())) };
        match sealed.open(key, &additional(&leaf.keys)) {
            Some(value) => Ok(Some(value)),
            None => Err(SopsError::Forged { line: leaf.line, path: leaf.path.to_string() }),
        }
    }
}

#[cfg(test)]
impl Unlocked {
    /// The value at a place of the file.
    pub fn get(&self, file: &SopsFile, document: usize, path: &Path) -> Option<&Plaintext> {
        let at = file.leaves.iter().position(|leaf| leaf.document == document && leaf.path == *path)?;
        self.values.get(at)?.as_ref()
    }
}

/// A time without its fraction: the MAC's additional data.
fn seconds(time: &str) -> String {
    match time.find('.') {
        None => time.to_owned(),
        Some(dot) => {
            let digits = time[dot + 1..].bytes().take_while(u8::is_ascii_digit).count();
            format!("{}{}", &time[..dot], &time[dot + 1 + digits..])
        }
    }
}
