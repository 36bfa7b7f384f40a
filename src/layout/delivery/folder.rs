//! Folders of manifests without a kustomization, as Argo CD and as Flux read them. A folder comes in; objects,
//! the files they came from, and notes on files that could not be read go out.

use super::glob::{Stars, matches};
use super::{Claims, Ground};
use crate::layout::kustomize::{Live, Renderer, is_kustomization_file};
use crate::layout::objects::folder;
use crate::model::ids::RepoPath;

/// Which files of a folder Argo CD takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    pub recurse: bool,
    pub include: &'a str,
    pub exclude: &'a str,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Contents {
    pub live: Vec<Live>,
    pub claims: Claims,
    pub notes: Vec<String>,
}

impl Contents {
    fn add(&mut self, ground: &Ground<'_>, path: &RepoPath) {
        self.claims.files.insert(path.clone());
        match ground.reader.file(path) {
            Some(source) => {
                let documents = source.values.iter().enumerate();
                self.live.extend(documents.flat_map(|(at, value)| Live::all_declared(value, path, at)));
            }
            None => {
                let why = ground.why_skipped(path);
                self.notes.push(format!("{path} {why}"));
            }
        }
    }
}

fn is_manifest(path: &RepoPath) -> bool {
    [".yaml", ".yml"].iter().any(|end| path.as_str().ends_with(end))
}

/// The folder as Argo CD's directory sources read it: not deeper unless asked, globs over the path below the
/// folder, files with `+argocd:skip-file-rendering` left out.
#[must_use]
pub fn chosen(ground: &Ground<'_>, dir: &str, choice: Choice<'_>) -> Contents {
    let mut contents = Contents::default();
    for (path, _) in ground.below(dir).filter(|(path, _)| is_manifest(path)) {
        let inside = path.as_str()[dir.len()..].trim_start_matches('/');
        let taken = (choice.recurse || !inside.contains('/'))
            && (choice.include.is_empty() || matches(choice.include, inside, Stars::CrossFolders))
            && (choice.exclude.is_empty() || !matches(choice.exclude, inside, Stars::CrossFolders));
        let marker = b"+argocd:skip-file-rendering";
        let marked = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker);
        if taken && !ground.bytes(path).is_ok_and(|bytes| marked(&bytes)) {
            contents.add(ground, path);
        }
    }
    contents
}

/// The folder as Flux's kustomize-controller reads it when there is no kustomization in it: every manifest
/// below, except that a folder with a kustomization stands for itself and for everything below it.
#[must_use]
pub fn generated(ground: &Ground<'_>, dir: &str) -> Contents {
    let mut contents = Contents::default();
    let mut governed: Vec<String> = Vec::new();
    for (path, _) in ground.below(dir) {
        let at = folder(path.as_str());
        if at != dir && is_kustomization_file(path) && ground.reader.kustomization_in(at).is_some() {
            governed.push(at.to_owned());
        }
    }
    governed.sort();
    let inner = |path: &str, own: &str| {
        governed.iter().any(|it| it != own && super::super::objects::is_below(path, it))
    };
    for own in governed.iter().filter(|own| !inner(own, own)) {
        contents.live.extend(Renderer::new(ground.reader).render(own));
        contents.claims.folders.insert(own.clone());
    }
    for (path, _) in ground.below(dir).filter(|(path, _)| is_manifest(path) && !is_kustomization_file(path)) {
        if !inner(path.as_str(), "") {
            contents.add(ground, path);
        }
    }
    contents
}
