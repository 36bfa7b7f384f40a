//! What a proposal changes: fields of objects, files, and the ids that bind a branch to the computed result.

use serde::{Deserialize, Serialize};

use super::ids::{BranchName, ChangeId, ObjectId, RepoPath, WorkloadRef};

/// One field of one object. `from`/`to` are the scalar as a person would write it; `None` = absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldChange {
    pub resource: WorkloadRef,
    pub file: RepoPath,
    /// Dotted path inside the document that is edited, for example `spec.replicas`.
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// How sops begins an encrypted value.
const SEALED: &str = "ENC[AES256_GCM,";

/// Is this the ciphertext of a value?
#[must_use]
pub fn is_sealed(value: &str) -> bool {
    value.starts_with(SEALED)
}

/// A value for people. An encrypted one stands in the record as its ciphertext, which tells them nothing.
#[must_use]
pub fn shown(value: Option<&str>) -> &str {
    match value {
        None => "absent",
        Some(text) if is_sealed(text) => "an encrypted value",
        Some(text) => text,
    }
}

impl FieldChange {
    /// What stood there, for people.
    #[must_use]
    pub fn before(&self) -> &str {
        shown(self.from.as_deref())
    }

    /// What stands there afterwards, for people.
    #[must_use]
    pub fn after(&self) -> &str {
        if self.is_sealed() { "encrypted value changed" } else { shown(self.to.as_deref()) }
    }

    /// Is the value encrypted, before or after?
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|text| is_sealed(text))
    }
}

/// One field of one rendered object that moved, as the proof saw it. A field of a file may be called anything and
/// decide anything; this is what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenderedChange {
    pub object: WorkloadRef,
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
    /// The object only holds the text that was edited: an `Application` with values.
    #[serde(default)]
    pub carrier: bool,
}

/// The computed change as recorded in the ledger. The merge permit compares what the branch and main hold
/// with these ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProposedChange {
    pub change_id: ChangeId,
    pub branch: BranchName,
    /// Commit of the watched branch that the change was computed on.
    pub base: ObjectId,
    /// The one commit of the proposal's branch.
    pub head: ObjectId,
    /// Tree of `head`.
    pub tree: ObjectId,
    pub fields: Vec<FieldChange>,
    /// What the fields came to when rendered.
    #[serde(default)]
    pub rendered: Vec<RenderedChange>,
    /// Why the target was not rendered, and who named the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrendered: Option<String>,
    /// Who can open the encrypted files that change: public keys and key services as sops names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Number of objects that were read before and after the edit, and of fields that differ.
    pub objects_compared: u32,
    pub fields_changed: u32,
    /// Unified diff for people.
    pub diff: String,
}

/// Title and Markdown body of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequestText {
    pub title: String,
    pub body: String,
}
