//! Edits of SOPS files that the reconciler may make: plain values that no MAC covers, without any key. Bytes and
//! edits come in; bytes that sops still accepts go out, or a refusal before anything is written. Nothing is
//! decrypted here.

use jiff::Timestamp;

use crate::layout::edit_refused;
use crate::model::causes::causes;
use crate::model::ids::RepoPath;
use crate::model::reason::Reason;
use crate::sops::{self, Identities, Inputs, Plaintext, SopsFile, Store};
use crate::yaml;

/// Makes the edits one after the other.
///
/// # Errors
/// `EditRefused` for everything but a new value of an existing plain scalar, and with what sops would object to.
pub fn apply(path: &RepoPath, bytes: &[u8], edits: &[yaml::Edit]) -> Result<Vec<u8>, Reason> {
    let refused = |error: sops::SopsError| edit_refused(format!("{path}: {}", causes(&error)));
    let mut bytes = bytes.to_vec();
    for edit in edits {
        let yaml::Edit::Set { document, path: at, value } = edit else {
            let why = "only an existing value of a file encrypted with SOPS can be changed";
            return Err(edit_refused(format!("{path}: {why}")));
        };
        let value = match value {
            yaml::Value::Text(text) => Some(Plaintext::text(text)),
            yaml::Value::Int(number) => Some(Plaintext::int(*number)),
            yaml::Value::Float(number) => Plaintext::float(*number),
            yaml::Value::Bool(flag) => Some(Plaintext::bool(*flag)),
            yaml::Value::Null => None,
        };
        let value = value.ok_or_else(|| edit_refused(format!("{path}: {at} would get no value")))?;
        let file = SopsFile::read(Store::of_name(path.as_str()), &bytes).map_err(refused)?;
        let edit = sops::Edit { document: *document, path: at, value: &value, expected: None };
        // Without a key nothing is encrypted, so neither the time nor a random number is ever asked for.
        let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut || None };
        bytes = sops::set(&file, edit, &Identities::default(), &mut inputs).map_err(refused)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::index;
    use crate::model::fixtures::target;
    use crate::model::playbook::Plan;
    use crate::render::golden::tree;
    use crate::render::{CheckedChanges, RenderRequest, edits};

    /// Written by sops 3.13.3 for a throw-away key, with `mac_only_encrypted` and `encrypted_regex: ^env$`.
    const SEALED: &str = include_str!("../../tests/fixtures/sops/deployment-mac-only.yaml");

    fn scale(text: &str) -> Result<CheckedChanges, Vec<Reason>> {
        let tree = tree([("apps/backend.yaml", text.as_bytes())]);
        edits(&RenderRequest {
            tree: &tree,
            index: &index(&tree),
            target: &target("shop/Deployment/backend"),
            plan: &Plan::Scale { from: 3, to: 5, autoscaler: None },
            old_tree: None,
            allowed_paths: &[],
            write_to: &[],
        })
    }

    #[test]
    fn a_plain_value_that_no_mac_covers_changes_and_nothing_else() {
        let checked = scale(SEALED).unwrap();
        let (_, after) = &checked.files()[0];
        let changed: Vec<(&str, &str)> = SEALED
            .lines()
            .zip(std::str::from_utf8(after).unwrap().lines())
            .filter(|(old, new)| old != new)
            .collect();
        assert_eq!(changed, [("    replicas: 3", "    replicas: 5")]);
    }

    #[test]
    fn a_mac_over_plain_values_is_never_broken() {
        let covered = SEALED.replace("    mac_only_encrypted: true\n", "");
        assert_ne!(covered, SEALED);
        let reasons = scale(&covered).unwrap_err();
        assert!(reasons[0].text.contains("mac_only_encrypted is not set"), "{reasons:?}");
    }
}
