//! Edits of SOPS files: with an identity any value and single entries, without one what no MAC covers. Bytes and
//! edits come in; bytes that sops still accepts go out, or a refusal before anything is written. What an encrypted
//! value was is never known here: an earlier one is put back as its ciphertext.

use jiff::Timestamp;

use crate::layout::{edit_refused, sops_refused};
use crate::model::change::FieldChange;
use crate::model::ids::RepoPath;
use crate::model::reason::Reason;
use crate::sops::{self, Access, Inputs, Plaintext, SopsFile, Store};
use crate::yaml;

/// What encrypting needs from the world.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// The time to write into a file.
    pub now: Timestamp,
    /// 32 random bytes per call, never the same twice; `None` when there are none.
    pub random: fn() -> Option<[u8; 32]>,
}

/// Makes the edits one after the other.
///
/// # Errors
/// `EditRefused` for more than one value or entry at a time, and with what sops would object to;
/// `UnexpectedRecipients`.
pub fn apply(
    path: &RepoPath,
    bytes: &[u8],
    edits: &[yaml::Edit],
    access: &Access,
    fresh: Fresh,
) -> Result<Vec<u8>, Reason> {
    let refused = |error: sops::SopsError| sops_refused(path, &error);
    let mut random = fresh.random;
    let mut inputs = Inputs { now: fresh.now, random: &mut random };
    let mut bytes = bytes.to_vec();
    for edit in edits {
        let file = SopsFile::read(Store::of_name(path.as_str()), &bytes).map_err(refused)?;
        let yaml::Edit::Set { document, path: at, value } = edit else {
            bytes = sops::reshape(&file, edit, access, &mut inputs).map_err(refused)?;
            continue;
        };
        let sealed = file.sealed_text(*document, at).is_some();
        if let (true, yaml::Value::Text(text)) = (sealed, value) {
            bytes = sops::restore(&file, (*document, at), text, access, &mut inputs).map_err(refused)?;
            continue;
        }
        let value = match value {
            yaml::Value::Text(text) => Some(Plaintext::text(text)),
            yaml::Value::Int(number) => Some(Plaintext::int(*number)),
            yaml::Value::Float(number) => Plaintext::float(*number),
            yaml::Value::Bool(flag) => Some(Plaintext::bool(*flag)),
            yaml::Value::Null => None,
        };
        let value = value.ok_or_else(|| edit_refused(format!("{path}: {at} would get no value")))?;
        let edit =
            sops::Edit { document: *document, path: at, value: &value, expected: access.expected.as_ref() };
        bytes = sops::set(&file, edit, &access.identities, &mut inputs).map_err(refused)?;
    }
    Ok(bytes)
}

/// What the record says of an encrypted value that `edit` changed: its ciphertext, never what it was set to.
pub fn conceal(change: &mut FieldChange, edit: &yaml::Edit, edited: &[u8]) {
    let (yaml::Edit::Set { document, path, .. } | yaml::Edit::Put { document, path, .. }) = edit else {
        return;
    };
    let Ok(file) = SopsFile::read(Store::of_name(change.file.as_str()), edited) else { return };
    if let Some(text) = file.sealed_text(*document, path) {
        change.to = Some(text.to_owned());
    }
}

/// Who can open the file, as sops names them.
pub fn recipients(path: &RepoPath, bytes: &[u8]) -> Vec<String> {
    let file = SopsFile::read(Store::of_name(path.as_str()), bytes);
    file.map_or_else(
        |_| Vec::new(),
        |it| it.metadata().recipients().iter().map(ToString::to_string).collect(),
    )
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
