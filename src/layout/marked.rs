//! Places that people marked in the files themselves: `replicas: 3 # {"$tars": "replicas"}`. A target and the
//! name of a field come in; every marked scalar in a document that has a hand in the target goes out.

use super::Index;
use super::sources::MAX_FILE_BYTES;
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::yaml;

/// Most documents that are looked through for markers of one target.
const MAX_DOCUMENTS: usize = 64;

/// A marked scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub file: RepoPath,
    pub document: usize,
    /// Path of the scalar in the document; list items by their position.
    pub path: String,
    /// From 1.
    pub line: usize,
}

impl Index {
    /// The scalars marked with `name`, in file order.
    #[must_use]
    pub fn marked(&self, target: &WorkloadRef, name: &str) -> Vec<Mark> {
        let mut documents = self.documents_of(target);
        let releases = self.all(target).filter_map(|live| live.release.clone());
        documents.extend(releases.flat_map(|release| {
            let parts = release.parts.iter().map(|part| (part.file.clone(), part.document));
            parts.collect::<Vec<_>>()
        }));
        documents.sort();
        documents.dedup();
        let mut found = Vec::new();
        for (file, document) in documents.into_iter().take(MAX_DOCUMENTS) {
            let Ok(bytes) = self.tree().bytes(&file, MAX_FILE_BYTES) else { continue };
            let marks = yaml::markers(&bytes, document).unwrap_or_default();
            found.extend(marks.into_iter().filter(|mark| mark.marker == name).map(|mark| Mark {
                file: file.clone(),
                document,
                path: mark.path.to_string(),
                line: mark.line,
            }));
        }
        found
    }
}
