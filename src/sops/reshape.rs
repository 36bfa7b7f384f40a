//! Adds a mapping entry to a SOPS file or takes one out. The file, the edit, who may do it, the time and random
//! bytes come in; the same bytes with that entry, `lastmodified` and `mac` changed go out.
//!
//! Whether the new value is encrypted is not for the caller to say: the file's own rule decides it in its new place.
//! Every other value must stay as it is, encrypted or not, in the same order; anything else is refused. Comments are
//! no part of the MAC and are never touched.

use std::ops::Range;

use super::access::Access;
use super::cipher::{Sealed, additional, seal};
use super::edit::{Inputs, Nonces, prove, stamped};
use super::error::SopsError;
use super::file::{SopsFile, Unlocked, parse};
use super::mac;
use super::secret::Plaintext;
use super::tree::{self, Leaf};
use super::value::Typed;
use crate::yaml::{self, Path, Step, Value};

/// The file with the edit made, and its new value in the clear: never to leave this room.
struct Draft<'a> {
    path: &'a Path,
    source: String,
    leaves: Vec<Leaf>,
    /// Leaves of the file that are not there any more, and leaves that were not there.
    gone: Range<usize>,
    new: Range<usize>,
}

/// Makes a `Put` of an entry that is not there, or a `Remove`.
///
/// # Errors
/// Any [`SopsError`]; then nothing was changed.
pub fn reshape(
    file: &SopsFile,
    edit: &yaml::Edit,
    access: &Access,
    inputs: &mut Inputs<'_>,
) -> Result<Vec<u8>, SopsError> {
    if let Some(expected) = &access.expected {
        file.expect_recipients(expected)?;
    }
    let draft = Draft::of(file, edit)?;
    match file.unlock(&access.identities) {
        Ok(unlocked) => draft.with_key(file, &unlocked, inputs),
        Err(SopsError::NoIdentity { .. }) => draft.without_key(file),
        Err(error) => Err(error),
    }
}

impl<'a> Draft<'a> {
    fn of(file: &SopsFile, edit: &'a yaml::Edit) -> Result<Self, SopsError> {
        let refused = |path: &Path, reason| Err(SopsError::Refused { path: path.to_string(), reason });
        let (path, adds) = match edit {
            yaml::Edit::Put { path, .. } => (path, true),
            yaml::Edit::Remove { path, .. } => (path, false),
            _ => return refused(&Path::default(), "only single entries can be added or taken out"),
        };
        if matches!(path.steps().first(), Some(Step::Key(key)) if key == "sops") {
            return refused(path, "this is the metadata of sops");
        }
        let bytes =
            yaml::apply(file.source.as_bytes(), std::slice::from_ref(edit)).map_err(SopsError::Yaml)?;
        let (source, documents) = parse(file.store, &bytes)?;
        let leaves = tree::walk(file.store, &source, &documents, &file.metadata.rule)?.leaves;
        let (gone, new) = gap(&file.leaves, &leaves);
        let held = if adds { &file.leaves[gone.clone()] } else { &leaves[new.clone()] };
        if held.iter().any(|leaf| matches!(leaf.typed, Typed::Value(_))) {
            return refused(path, "another value would change with it");
        }
        Ok(Self { path, source, leaves, gone, new })
    }

    fn refused(&self, reason: &'static str) -> SopsError {
        SopsError::Refused { path: self.path.to_string(), reason }
    }

    fn with_key(
        &self,
        file: &SopsFile,
        unlocked: &Unlocked,
        inputs: &mut Inputs<'_>,
    ) -> Result<Vec<u8>, SopsError> {
        let mut nonces = Nonces::of(file, inputs.random);
        let (mut edits, mut fresh) = (Vec::new(), Vec::new());
        for leaf in &self.leaves[self.new.clone()] {
            let Typed::Value(written) = &leaf.typed else {
                fresh.push(None);
                continue;
            };
            let known = std::str::from_utf8(written.expose()).ok().and_then(Sealed::parse);
            let value = match known {
                // What stood there once, as its ciphertext: nobody has to know the value to put it back.
                Some(earlier) => {
                    let opened = earlier.open(&unlocked.key, &additional(&leaf.keys)).filter(|_| leaf.sealed);
                    opened.ok_or_else(|| {
                        self.refused("a ciphertext belongs to one place and to the data key of its time")
                    })?
                }
                None if leaf.sealed && !written.expose().is_empty() => {
                    let text = seal(written, &unlocked.key, &additional(&leaf.keys), nonces.next()?)
                        .ok_or_else(|| self.refused("the value is too long to encrypt"))?;
                    let (document, path, value) = (leaf.document, leaf.path.clone(), Value::Text(text));
                    edits.push(yaml::Edit::Set { document, path, value });
                    written.clone()
                }
                None => written.clone(),
            };
            fresh.push(Some(value));
        }
        let (before, after) = (&unlocked.values[..self.gone.start], &unlocked.values[self.gone.end..]);
        let values: Vec<Option<Plaintext>> = [before, &fresh, after].concat();
        let pairs = self.leaves.iter().zip(&values).map(|(leaf, value)| (leaf.sealed, value.as_ref()));
        let mac = mac::compute(file.metadata.mac_only_encrypted, pairs);
        edits.extend(stamped(file, &mac, unlocked, inputs.now, &mut nonces)?);
        let bytes = yaml::apply(self.source.as_bytes(), &edits).map_err(SopsError::Yaml)?;
        prove(file, &bytes, unlocked, &values)?;
        Ok(bytes)
    }

    /// Only what no MAC covers comes or goes.
    fn without_key(&self, file: &SopsFile) -> Result<Vec<u8>, SopsError> {
        let needs = |reason| Err(SopsError::NeedsIdentity { path: self.path.to_string(), reason });
        let moved = || file.leaves[self.gone.clone()].iter().chain(&self.leaves[self.new.clone()]);
        if moved().any(|leaf| leaf.sealed) {
            return needs("it is encrypted");
        }
        if !file.metadata.mac_only_encrypted {
            return needs("the MAC covers plain values too (mac_only_encrypted is not set)");
        }
        let ciphertext = |leaf: &Leaf| {
            let Typed::Value(value) = &leaf.typed else { return false };
            std::str::from_utf8(value.expose()).is_ok_and(|text| Sealed::parse(text).is_some())
        };
        if self.leaves[self.new.clone()].iter().any(ciphertext) {
            return Err(self.refused("a ciphertext belongs to one place and to the data key of its time"));
        }
        SopsFile::read(file.store, self.source.as_bytes())?;
        Ok(self.source.clone().into_bytes())
    }
}

/// Where two lists of leaves differ: the shortest stretch of each.
fn gap(old: &[Leaf], new: &[Leaf]) -> (Range<usize>, Range<usize>) {
    let same = |(old, new): &(&Leaf, &Leaf)| {
        let values = match (&old.typed, &new.typed) {
            (Typed::Value(old), Typed::Value(new)) => old.same(new),
            (Typed::Null, Typed::Null) => true,
            _ => false,
        };
        values && (old.document, &old.keys, old.sealed) == (new.document, &new.keys, new.sealed)
    };
    let start = old.iter().zip(new).take_while(same).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(same).count();
    (start..old.len() - end, start..new.len() - end)
}

#[cfg(test)]
#[path = "reshape_tests.rs"]
mod tests;
