//! Somebody else at work on the same field: another bot, or a person.

use super::ids::{ObjectId, RepoPath};

/// Where the other change is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RivalPlace {
    /// On an open branch of this name, with every character but letters, digits and `. _ - /` replaced.
    Branch(String),
    /// On the watched branch already, since a moment ago.
    WatchedBranch,
}

/// A change of the very field that tars would change, found by comparing trees: who made it is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    pub place: RivalPlace,
    /// The commit that holds it.
    pub commit: ObjectId,
    pub file: RepoPath,
    /// Dotted path inside the document.
    pub field: String,
    /// What the field holds there; `None`: nothing, or nothing that can be read.
    pub to: Option<String>,
}
