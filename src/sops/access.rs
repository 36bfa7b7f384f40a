//! What may be done with the SOPS files of a repository: the identities at hand, and who is expected to be able to
//! read them. Both come from the operator; nothing in a repository, its `.sops.yaml` included, changes either.
//! A file comes in; leave to change it goes out, or the reason why not.

use std::collections::BTreeSet;

use super::age_keys::Identities;
use super::error::SopsError;
use super::file::SopsFile;
use super::metadata::Recipient;
use super::secret::{Kind, Plaintext};
use super::store::{Store, detect};
use super::tree::Leaf;
use crate::yaml::{self, Path, Step, Value};

/// Names of whole numbers that say how many pods there are. Whoever sees the cluster sees these numbers; no other
/// encrypted value is ever looked at.
const COUNTS: [&str; 7] =
    ["replicas", "count", "replicaCount", "minReplicas", "maxReplicas", "minReplicaCount", "maxReplicaCount"];

/// Identities and expected recipients. Its Debug shows recipients only.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub identities: Identities,
    /// Exactly who can read every file that is changed; `None`: not checked.
    pub expected: Option<BTreeSet<Recipient>>,
}

impl Access {
    /// A YAML text with its encrypted counts in the clear and everything else as it stands; `None` when there is no
    /// such count, or no identity that opens the file.
    #[must_use]
    pub fn counts_shown(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.identities.is_empty() {
            return None;
        }
        detect("a.yaml", text)?;
        let file = SopsFile::read(Store::Yaml, text).ok()?;
        let unlocked = file.unlock(&self.identities).ok()?;
        let edit = |(leaf, value): (&Leaf, &Option<Plaintext>)| {
            let named =
                matches!(leaf.path.steps().last(), Some(Step::Key(key)) if COUNTS.contains(&key.as_str()));
            let value = value.as_ref().filter(|it| leaf.sealed && named && it.kind == Kind::Int)?;
            let (document, path) = (leaf.document, leaf.path.clone());
            Some(yaml::Edit::Set { document, path, value: value.to_yaml()? })
        };
        let edits: Vec<yaml::Edit> = file.leaves.iter().zip(&unlocked.values).filter_map(edit).collect();
        if edits.is_empty() { None } else { yaml::apply(text, &edits).ok() }
    }

    /// A YAML file of values as a renderer sees it: counts in the clear, and nothing where time and MAC stand, which
    /// every edit makes anew. `None` when it is no SOPS file.
    #[must_use]
    pub fn values_shown(&self, text: &[u8]) -> Option<Vec<u8>> {
        detect("a.yaml", text)?;
        let shown = self.counts_shown(text);
        let blank = |name: &str| yaml::Edit::Set {
            document: 0,
            path: Path::default().key("sops").key(name),
            value: Value::Text("-".to_owned()),
        };
        let bytes = shown.as_deref().unwrap_or(text);
        yaml::apply(bytes, &[blank("mac"), blank("lastmodified")]).ok()
    }

    /// May a value of `file` be changed? With an identity that opens it, its MAC has to hold; without one, the
    /// file has to leave plain values out of its MAC.
    ///
    /// # Errors
    /// [`SopsError::Stranger`], [`SopsError::Missing`], [`SopsError::Covered`], or what keeps the file from being
    /// opened.
    pub fn admit(&self, file: &SopsFile) -> Result<(), SopsError> {
        if let Some(expected) = &self.expected {
            file.expect_recipients(expected)?;
        }
        match file.unlock(&self.identities) {
            Ok(_) => Ok(()),
            Err(SopsError::NoIdentity { .. }) if file.metadata().mac_only_encrypted => Ok(()),
            Err(SopsError::NoIdentity { .. }) if self.identities.is_empty() => Err(SopsError::Covered),
            Err(error) => Err(error),
        }
    }
}
