//! Changes one value of a SOPS file. The file, the new value, identities, the time and random bytes come in;
//! the same bytes with only that value, `lastmodified` and `mac` changed go out.
//!
//! The old MAC is verified before anything is written, so tampering is never signed over. Without an identity
//! only a plain value of a `mac_only_encrypted` file can change, because no MAC covers it. Recipients, the
//! rule and the data key never change.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::access::Access;
use super::age_keys::Identities;
use super::cipher::{Sealed, additional, seal};
use super::error::SopsError;
use super::file::{SopsFile, Unlocked};
use super::metadata::Recipient;
use super::secret::{Kind, Plaintext};
use crate::yaml::{self, Path, Step, Value};

/// What a write needs from the world.
pub struct Inputs<'a> {
    /// The time to write, to the second.
    pub now: Timestamp,
    /// 32 random bytes per call, never the same twice; `None` when there are none.
    pub random: &'a mut dyn FnMut() -> Option<[u8; 32]>,
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("now", &self.now).finish_non_exhaustive()
    }
}

/// One change.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    /// Index of the document in the stream, from 0.
    pub document: usize,
    /// An existing scalar.
    pub path: &'a Path,
    pub value: &'a Plaintext,
    /// Who may read the file; anybody else in it stops the edit. `None` skips the check.
    pub expected: Option<&'a BTreeSet<Recipient>>,
}

/// What stands at the place afterwards.
enum New<'a> {
    Value(&'a Plaintext),
    /// An earlier ciphertext of the same place and its value.
    Earlier(&'a str, Plaintext),
}

impl New<'_> {
    fn value(&self) -> &Plaintext {
        match self {
            Self::Value(value) => value,
            Self::Earlier(_, value) => value,
        }
    }
}

/// Puts an earlier ciphertext of an encrypted value back, byte for byte. Nobody sees the value: not even the caller
/// has to know it.
///
/// # Errors
/// Any [`SopsError`]; `Refused` when the text is not this value under the data key of today.
pub fn restore(
    file: &SopsFile,
    (document, path): (usize, &Path),
    ciphertext: &str,
    access: &Access,
    inputs: &mut Inputs<'_>,
) -> Result<Vec<u8>, SopsError> {
    let no = Plaintext::text("");
    let edit = Edit { document, path, value: &no, expected: access.expected.as_ref() };
    if let Some(expected) = edit.expected {
        file.expect_recipients(expected)?;
    }
    let at = target(file, edit)?;
    let unlocked = file.unlock(&access.identities)?;
    let leaf = &file.leaves[at];
    let value = Sealed::parse(ciphertext)
        .filter(|_| leaf.sealed)
        .and_then(|sealed| sealed.open(&unlocked.key, &additional(&leaf.keys)))
        .ok_or_else(|| {
            refused(
                edit,
                "only an earlier ciphertext of this value, under the data key of today, can be put there",
            )
        })?;
    set_unlocked(file, edit, at, &unlocked, &New::Earlier(ciphertext, value), inputs)
}

/// Sets a value and returns the new bytes. Setting the value that is there returns the bytes as they are.
///
/// # Errors
/// Any [`SopsError`]; then nothing was changed.
pub fn set(
    file: &SopsFile,
    edit: Edit<'_>,
    identities: &Identities,
    inputs: &mut Inputs<'_>,
) -> Result<Vec<u8>, SopsError> {
    if let Some(expected) = edit.expected {
        file.expect_recipients(expected)?;
    }
    let at = target(file, edit)?;
    match file.unlock(identities) {
        Ok(unlocked) => set_unlocked(file, edit, at, &unlocked, &New::Value(edit.value), inputs),
        Err(SopsError::NoIdentity { .. }) => set_plain(file, edit, at),
        Err(error) => Err(error),
    }
}

fn refused(edit: Edit<'_>, reason: &'static str) -> SopsError {
    SopsError::Refused { path: edit.path.to_string(), reason }
}

/// Index of the leaf to change.
fn target(file: &SopsFile, edit: Edit<'_>) -> Result<usize, SopsError> {
    if matches!(edit.path.steps().first(), Some(Step::Key(key)) if key == "sops") {
        return Err(refused(edit, "this is the metadata of sops"));
    }
    if !matches!(edit.value.kind, Kind::Text | Kind::Int | Kind::Float | Kind::Bool) {
        return Err(refused(edit, "only strings, numbers and truth values can be set"));
    }
    let document =
        file.documents.get(edit.document).ok_or_else(|| refused(edit, "there is no such document"))?;
    let node = document.root.at(edit.path).map_err(SopsError::Yaml)?;
    let found = |leaf: &super::tree::Leaf| leaf.document == edit.document && leaf.span == node.span;
    let at = file.leaves.iter().position(found).filter(|_| node.as_scalar().is_some());
    at.ok_or_else(|| refused(edit, "only a single existing value can be set"))
}

/// Without the data key: nothing encrypted, and nothing the MAC covers.
fn set_plain(file: &SopsFile, edit: Edit<'_>, at: usize) -> Result<Vec<u8>, SopsError> {
    let needs = |reason| Err(SopsError::NeedsIdentity { path: edit.path.to_string(), reason });
    if file.leaves[at].sealed {
        return needs("it is encrypted");
    }
    if !file.metadata.mac_only_encrypted {
        return needs("the MAC covers plain values too (mac_only_encrypted is not set)");
    }
    let value = edit.value.to_yaml().ok_or_else(|| refused(edit, "the value is not text"))?;
    let change = yaml::Edit::Set { document: edit.document, path: edit.path.clone(), value };
    let bytes = yaml::apply(file.source.as_bytes(), &[change]).map_err(SopsError::Yaml)?;
    let after = SopsFile::read(file.store, &bytes)?;
    let unchanged = |(old, new): (&super::tree::Leaf, &super::tree::Leaf)| {
        old.sealed == new.sealed && old.path == new.path
    };
    if !file.leaves.iter().zip(&after.leaves).all(unchanged) || file.leaves.len() != after.leaves.len() {
        return Err(SopsError::Oracle { reason: "another value changed" });
    }
    Ok(bytes)
}

fn set_unlocked(
    file: &SopsFile,
    edit: Edit<'_>,
    at: usize,
    unlocked: &Unlocked,
    new: &New<'_>,
    inputs: &mut Inputs<'_>,
) -> Result<Vec<u8>, SopsError> {
    let leaf = &file.leaves[at];
    if unlocked.values[at].as_ref().is_some_and(|old| old.same(new.value())) {
        return Ok(file.source.clone().into_bytes());
    }
    let mut nonces = Nonces::of(file, inputs.random);
    let value = match new {
        New::Earlier(text, _) => Value::Text((*text).to_owned()),
        New::Value(value) if leaf.sealed => {
            let text = seal(value, &unlocked.key, &additional(&leaf.keys), nonces.next()?);
            Value::Text(text.ok_or_else(|| refused(edit, "the value is too long to encrypt"))?)
        }
        New::Value(value) => value.to_yaml().ok_or_else(|| refused(edit, "the value is not text"))?,
    };
    let mut values = unlocked.values.clone();
    values[at] = Some(new.value().clone());
    let mut edits = vec![yaml::Edit::Set { document: edit.document, path: edit.path.clone(), value }];
    edits.extend(stamped(file, &file.mac_of(&values), unlocked, inputs.now, &mut nonces)?);
    let bytes = yaml::apply(file.source.as_bytes(), &edits).map_err(SopsError::Yaml)?;
    prove(file, &bytes, unlocked, &values)?;
    Ok(bytes)
}

/// The edits that write the time and this MAC, in every document that carries the metadata.
pub(super) fn stamped(
    file: &SopsFile,
    mac: &str,
    unlocked: &Unlocked,
    now: Timestamp,
    nonces: &mut Nonces<'_>,
) -> Result<Vec<yaml::Edit>, SopsError> {
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mac = seal(&Plaintext::text(mac), &unlocked.key, &time, nonces.next()?).ok_or(SopsError::Random)?;
    let mut edits = Vec::new();
    for (document, tree) in file.documents.iter().enumerate() {
        if tree.root.get("sops").is_some() {
            let field = |name: &str, text: &str| yaml::Edit::Set {
                document,
                path: Path::default().key("sops").key(name),
                value: Value::Text(text.to_owned()),
            };
            edits.extend([field("lastmodified", &time), field("mac", &mac)]);
        }
    }
    Ok(edits)
}

/// Reads the result as a stranger would: the MAC holds, exactly the intended value changed, nobody was added.
pub(super) fn prove(
    file: &SopsFile,
    bytes: &[u8],
    unlocked: &Unlocked,
    values: &[Option<Plaintext>],
) -> Result<(), SopsError> {
    let wrong = |reason| Err(SopsError::Oracle { reason });
    let after = SopsFile::read(file.store, bytes)?;
    if after.metadata.groups != file.metadata.groups || after.metadata.rule != file.metadata.rule {
        return wrong("recipients or rule changed");
    }
    let read = after.unlock_with(unlocked.key.clone())?;
    let same = |(old, new): (&Option<Plaintext>, &Option<Plaintext>)| match (old, new) {
        (Some(old), Some(new)) => old.same(new),
        (old, new) => old.is_none() && new.is_none(),
    };
    if read.values.len() != values.len() || !values.iter().zip(&read.values).all(same) {
        return wrong("a value is not what it should be");
    }
    Ok(())
}

/// Hands out nonces that the file has not used yet; a nonce used twice with one key would give both values
/// away.
pub(super) struct Nonces<'r> {
    used: BTreeSet<[u8; 32]>,
    random: &'r mut dyn FnMut() -> Option<[u8; 32]>,
}

impl<'r> Nonces<'r> {
    pub(super) fn new(random: &'r mut dyn FnMut() -> Option<[u8; 32]>) -> Self {
        Self { used: BTreeSet::new(), random }
    }

    pub(super) fn of(file: &SopsFile, random: &'r mut dyn FnMut() -> Option<[u8; 32]>) -> Self {
        let sealed = file.leaves.iter().filter(|leaf| leaf.sealed);
        let mut used: BTreeSet<[u8; 32]> =
            sealed.filter_map(|leaf| Some(file.ciphertext(leaf).ok()??.nonce)).collect();
        used.extend(Sealed::parse(&file.metadata.mac).map(|mac| mac.nonce));
        Self { used, random }
    }

    pub(super) fn next(&mut self) -> Result<[u8; 32], SopsError> {
        let nonce = (self.random)().ok_or(SopsError::Random)?;
        if self.used.insert(nonce) { Ok(nonce) } else { Err(SopsError::Random) }
    }
}
