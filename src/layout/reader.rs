//! Reads files for one rendering and remembers every path that was asked for, whether it was there or not: what
//! was seen is what the result depends on. Parsed sources come in; files and the list of paths go out.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::sources::{SourceFile, Sources};
use crate::model::ids::RepoPath;

/// File names that kustomize looks for, in its order.
pub const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A view of the sources that keeps count of what was read.
#[derive(Debug)]
pub struct Reader<'s> {
    sources: &'s Sources,
    seen: RefCell<BTreeSet<RepoPath>>,
}

impl<'s> Reader<'s> {
    #[must_use]
    pub fn new(sources: &'s Sources) -> Self {
        Self { sources, seen: RefCell::default() }
    }

    /// The parsed file; `None` when it is not there or cannot be read.
    pub fn file(&self, path: &RepoPath) -> Option<Arc<SourceFile>> {
        self.note(path);
        self.sources.get(path)
    }

    /// The bytes of any regular file, also of one that is not YAML.
    pub fn bytes(&self, path: &RepoPath) -> Option<Arc<[u8]>> {
        self.note(path);
        self.sources.bytes(path)
    }

    /// Why `path` is there and cannot be read.
    pub fn why_skipped(&self, path: &RepoPath) -> Option<String> {
        self.note(path);
        self.sources.why_skipped(path)
    }

    /// The kustomization file of a folder; `None` when there is none that can be read.
    pub fn kustomization_in(&self, dir: &str) -> Option<(RepoPath, Arc<SourceFile>)> {
        let as_file = RepoPath::new(dir).ok().filter(|path| self.sources.file(path).is_some());
        if let Some(path) = as_file {
            // A file has nothing below it, and cannot become a folder without going away.
            self.note(&path);
            return None;
        }
        KUSTOMIZATION_FILES.iter().find_map(|name| {
            let path = RepoPath::new(inside(dir, name)).ok()?;
            let file = self.file(&path)?;
            is_kustomization(&file).then_some((path, file))
        })
    }

    /// Every path that was asked for.
    #[must_use]
    pub fn into_seen(self) -> BTreeSet<RepoPath> {
        self.seen.into_inner()
    }

    fn note(&self, path: &RepoPath) {
        let mut seen = self.seen.borrow_mut();
        if !seen.contains(path) {
            seen.insert(path.clone());
        }
    }
}

/// The path of `name` in the folder `dir`, which is empty for the root.
pub fn inside(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Flux has a kind `Kustomization` too, in files that may bear the same name.
pub fn is_kustomization(file: &SourceFile) -> bool {
    let version = file.values.first().and_then(|v| v["apiVersion"].as_str());
    version.is_none_or(|v| v.starts_with("kustomize.config.k8s.io/"))
}
