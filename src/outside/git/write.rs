//! Builds a signed commit in the object database: no work tree, no index, no reference moved. A
//! [`CommitDraft`] comes in, the ids of the new commit and tree go out. The same draft and key give the same
//! ids.

use std::collections::BTreeMap;

use git2::{FileMode, ObjectType, Oid, Repository, Tree};

use super::super::sign::SigningKey;
use super::GitError;
use super::names::{check_path, parse_oid, refused};
use super::objects::{Objects, peel_tree};

/// A file's path and its new bytes; `None` deletes it.
pub type Edit = (String, Option<Vec<u8>>);

/// Everything that goes into a commit.
#[derive(Debug, Clone)]
pub struct CommitDraft {
    /// Commit or tree the edits start from; `None` starts from nothing.
    pub base_tree: Option<String>,
    /// One per path. A file that exists keeps its mode; a new one is an ordinary file.
    pub edits: Vec<Edit>,
    pub parents: Vec<String>,
    /// Ends with a line feed afterwards.
    pub message: String,
    /// Author and committer: name and address.
    pub author: (String, String),
    /// Author and committer time, seconds since 1970, in UTC.
    pub time_s: i64,
}

/// A commit that now exists in the object database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub commit: String,
    pub tree: String,
}

impl Objects {
    /// Writes the blobs and trees of `edits` on top of `base`, a commit or tree; gives the new tree.
    ///
    /// # Errors
    /// As [`Objects::write_commit`].
    pub fn write_tree(&self, base: &str, edits: &[Edit]) -> Result<String, GitError> {
        let folder = Folder::of(edits)?;
        let repository = self.lock();
        let base = peel_tree(&repository, base)?;
        let tree = folder.write(&repository, Some(&base), "")?;
        match tree {
            Some(tree) if tree != base.id() => Ok(tree.to_string()),
            Some(_) => Err(GitError::EmptyChange),
            None => empty_tree(&repository).map(|tree| tree.to_string()),
        }
    }

    /// Writes the blobs, trees and the signed commit of a draft.
    ///
    /// # Errors
    /// When a path is refused or goes through a link, a submodule or a file; when a deleted file is not
    /// there; when nothing changes (a merge, with two parents or more, may change nothing); when signing
    /// fails.
    pub fn write_commit(&self, draft: &CommitDraft, signer: &SigningKey) -> Result<Written, GitError> {
        let folder = Folder::of(&draft.edits)?;
        let repository = self.lock();
        let base = draft.base_tree.as_deref().map(|oid| peel_tree(&repository, oid)).transpose()?;
        let tree = match folder.write(&repository, base.as_ref(), "")? {
            Some(tree) => tree,
            None => empty_tree(&repository)?,
        };
        let before = base.as_ref().map_or_else(|| empty_tree(&repository), |base| Ok(base.id()))?;
        if tree == before && draft.parents.len() < 2 {
            return Err(GitError::EmptyChange);
        }
        let payload = payload(&repository, draft, tree)?;
        let signature = signer.sign(payload.as_bytes(), draft.time_s).map_err(GitError::Sign)?;
        let raw = with_signature(&payload, &signature);
        // What we write must be what we would accept from others.
        super::commit::parse("new", raw.as_bytes()).map_err(|why| refused("commit", "new", why))?;
        let odb = repository.odb().map_err(GitError::objects("write a commit"))?;
        let commit =
            odb.write(ObjectType::Commit, raw.as_bytes()).map_err(GitError::objects("write a commit"))?;
        Ok(Written { commit: commit.to_string(), tree: tree.to_string() })
    }
}

/// The edits of one folder, by name.
#[derive(Default)]
struct Folder<'d> {
    files: BTreeMap<&'d str, Option<&'d [u8]>>,
    folders: BTreeMap<&'d str, Folder<'d>>,
}

impl<'d> Folder<'d> {
    fn of(edits: &'d [Edit]) -> Result<Self, GitError> {
        let mut root = Self::default();
        for (path, bytes) in edits {
            check_path(path)?;
            let mut folder = &mut root;
            let mut parts = path.split('/').peekable();
            while let Some(part) = parts.next() {
                let taken = || refused("path", path, "two edits name it, or one names a folder of another");
                if folder.files.contains_key(part) {
                    return Err(taken());
                }
                if parts.peek().is_some() {
                    folder = folder.folders.entry(part).or_default();
                } else if folder.folders.contains_key(part) {
                    return Err(taken());
                } else {
                    folder.files.insert(part, bytes.as_deref());
                }
            }
        }
        Ok(root)
    }

    /// Writes this folder on top of `base`; `None` when nothing is left in it.
    fn write(
        &self,
        repository: &Repository,
        base: Option<&Tree<'_>>,
        prefix: &str,
    ) -> Result<Option<Oid>, GitError> {
        let failed = GitError::objects("write a tree");
        let mut builder = repository.treebuilder(base).map_err(&failed)?;
        for (name, folder) in &self.folders {
            let path = format!("{prefix}{name}");
            let below = match base.and_then(|tree| tree.get_name(name)) {
                None => None,
                Some(entry) if entry.kind() == Some(ObjectType::Tree) => {
                    Some(repository.find_tree(entry.id()).map_err(&failed)?)
                }
                Some(_) => {
                    return Err(refused("path", &path, "it is a file, link or submodule, not a folder"));
                }
            };
            match folder.write(repository, below.as_ref(), &format!("{path}/"))? {
                Some(tree) => builder.insert(name, tree, FileMode::Tree.into()).map(drop).map_err(&failed)?,
                None if below.is_some() => builder.remove(name).map_err(&failed)?,
                None => {}
            }
        }
        for (name, bytes) in &self.files {
            let path = format!("{prefix}{name}");
            let mode = mode_kept(base.and_then(|tree| tree.get_name(name)).as_ref(), &path)?;
            match (bytes, mode) {
                (Some(bytes), mode) => {
                    let blob = repository.blob(bytes).map_err(&failed)?;
                    let mode = mode.unwrap_or_else(|| FileMode::Blob.into());
                    builder.insert(name, blob, mode).map(drop).map_err(&failed)?;
                }
                (None, Some(_)) => builder.remove(name).map_err(&failed)?,
                (None, None) => return Err(GitError::NotFound { what: "the file to delete", name: path }),
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        builder.write().map(Some).map_err(failed)
    }
}

/// The mode of the file that is already there; refuses what is not an ordinary file.
fn mode_kept(entry: Option<&git2::TreeEntry<'_>>, path: &str) -> Result<Option<i32>, GitError> {
    match entry.map(git2::TreeEntry::filemode) {
        None => Ok(None),
        Some(mode) if [i32::from(FileMode::Blob), i32::from(FileMode::BlobExecutable)].contains(&mode) => {
            Ok(Some(mode))
        }
        Some(_) => Err(refused("path", path, "it is a link, submodule or folder, not an ordinary file")),
    }
}

fn empty_tree(repository: &Repository) -> Result<Oid, GitError> {
    repository.treebuilder(None).and_then(|b| b.write()).map_err(GitError::objects("write a tree"))
}

/// The commit as it is signed: by hand, because every byte of it must be known.
fn payload(repository: &Repository, draft: &CommitDraft, tree: Oid) -> Result<String, GitError> {
    let (name, email) = &draft.author;
    for text in [name, email] {
        let plain = !text.is_empty() && text.trim() == text && !text.contains(['<', '>']);
        if !plain || text.chars().any(char::is_control) {
            return Err(refused(
                "author",
                text,
                "it is empty, padded, or holds '<', '>' or a control character",
            ));
        }
    }
    if draft.message.trim().is_empty() || draft.message.contains('\0') {
        return Err(refused("message", &draft.message, "it is empty or holds a NUL"));
    }
    let mut text = format!("tree {tree}\n");
    for parent in &draft.parents {
        let parent =
            repository.find_commit(parse_oid(parent)?).map_err(GitError::objects("read a parent commit"))?;
        text.push_str(&format!("parent {}\n", parent.id()));
    }
    let person = format!("{name} <{email}> {} +0000", draft.time_s);
    text.push_str(&format!(
        "author {person}\ncommitter {person}\n\n{}\n",
        draft.message.trim_end_matches('\n')
    ));
    Ok(text)
}

/// Puts the signature where git puts it: the last header, continuation lines indented by one blank.
fn with_signature(payload: &str, armored: &str) -> String {
    let (head, message) = payload.split_once("\n\n").unwrap_or((payload, ""));
    let signature = armored.trim_end().replace('\n', "\n ");
    format!("{head}\ngpgsig {signature}\n\n{message}")
}
