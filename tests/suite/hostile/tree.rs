//! Trees that no honest client writes: paths, modes and contents come in, a tree or commit id of a bare
//! repository goes out, by `git hash-object` and `git mktree` alone, because every other door checks.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::program::git_with;

/// What a path of a [`Tree`] is.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    File(Vec<u8>),
    /// A symbolic link to this place.
    Link(String),
    /// A submodule at this commit.
    Module(String),
    /// An object that is in the repository already, with its mode and kind.
    Raw(&'static str, &'static str, String),
}

/// Paths with any name, `/` between folders.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree(pub(super) BTreeMap<String, Entry>);

impl Tree {
    pub(super) fn file(&mut self, path: impl Into<String>, text: impl AsRef<[u8]>) -> &mut Self {
        self.0.insert(path.into(), Entry::File(text.as_ref().to_vec()));
        self
    }

    pub(super) fn link(&mut self, path: impl Into<String>, to: &str) -> &mut Self {
        self.0.insert(path.into(), Entry::Link(to.to_owned()));
        self
    }

    pub(super) fn module(&mut self, path: impl Into<String>) -> &mut Self {
        self.0.insert(path.into(), Entry::Module("1".repeat(40)));
        self
    }

    pub(super) fn raw(
        &mut self,
        path: impl Into<String>,
        mode: &'static str,
        kind: &'static str,
        oid: &str,
    ) -> &mut Self {
        self.0.insert(path.into(), Entry::Raw(mode, kind, oid.to_owned()));
        self
    }

    /// Writes everything into `repo`; the id of the root tree.
    pub(super) fn write(&self, repo: &Path) -> String {
        let blobs = write_blobs(repo, self.0.values());
        let mut root = Folder::default();
        for ((path, entry), blob) in self.0.iter().zip(blobs) {
            let row = match entry {
                Entry::File(_) => ("100644", "blob", blob),
                Entry::Link(_) => ("120000", "blob", blob),
                Entry::Module(commit) => ("160000", "commit", commit.clone()),
                Entry::Raw(mode, kind, oid) => (*mode, *kind, oid.clone()),
            };
            let mut folder = &mut root;
            let mut parts = path.split('/').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_some() {
                    folder = folder.folders.entry(part.to_owned()).or_default();
                } else {
                    folder.rows.insert(part.to_owned(), row.clone());
                }
            }
        }
        root.write(repo)
    }
}

/// Ids of the contents, in order; empty for what has none of its own. One process writes them all.
fn write_blobs<'e>(repo: &Path, entries: impl Iterator<Item = &'e Entry>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut names = String::new();
    let mut has_blob = Vec::new();
    for (at, entry) in entries.enumerate() {
        let bytes = match entry {
            Entry::File(bytes) => Some(&bytes[..]),
            Entry::Link(to) => Some(to.as_bytes()),
            Entry::Module(_) | Entry::Raw(..) => None,
        };
        has_blob.push(bytes.is_some());
        let Some(bytes) = bytes else { continue };
        let file = folder.path().join(at.to_string());
        std::fs::write(&file, bytes).unwrap();
        names.push_str(&format!("{}\n", file.display()));
    }
    let args = ["hash-object", "-w", "--no-filters", "--stdin-paths"];
    let written = git_with(repo, &args, &[], names.as_bytes());
    let mut oids = written.lines();
    has_blob.iter().map(|has| if *has { oids.next().unwrap().to_owned() } else { String::new() }).collect()
}

#[derive(Default)]
struct Folder {
    rows: BTreeMap<String, (&'static str, &'static str, String)>,
    folders: BTreeMap<String, Folder>,
}

impl Folder {
    fn write(&self, repo: &Path) -> String {
        let mut text = String::new();
        for (name, (mode, kind, oid)) in &self.rows {
            text.push_str(&format!("{mode} {kind} {oid}\t{name}\0"));
        }
        for (name, folder) in &self.folders {
            text.push_str(&format!("040000 tree {}\t{name}\0", folder.write(repo)));
        }
        git_with(repo, &["mktree", "-z"], &[], text.as_bytes())
    }
}
