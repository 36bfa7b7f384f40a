//! Finds SOPS files and their `.sops.yaml`, in folders or in a commit. Arguments come in; names, bytes and
//! configurations go out. Links are not followed, and every walk has a bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::SopsTree;
use crate::cli::failure::{Failure, Kind};
use crate::outside::files;
use crate::outside::git::{Objects, TreeLimits};
use crate::sops::{CreationRule, CreationRules, SopsError, Store, detect};
use crate::yaml::MAX_SOURCE_BYTES;

/// Most entries of one folder, and most folders and files of one walk.
const ENTRIES_MAX: usize = 200_000;
/// How many folders upward `.sops.yaml` is looked for, as in sops.
const UPWARD_MAX: usize = 100;
const CONFIG: &str = ".sops.yaml";

/// A SOPS file as found.
#[derive(Debug)]
pub struct Found {
    /// For messages.
    pub name: String,
    /// From the root of the file system or of the commit, `/`-separated.
    pub path: String,
    pub store: Store,
    pub bytes: Vec<u8>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Sources {
    pub files: Vec<Found>,
    /// Creation rules by the folder they stand in.
    pub configs: BTreeMap<String, Result<CreationRules, SopsError>>,
    /// Files in the clear that look like Kubernetes Secrets, for the doctor.
    pub clear_secrets: Vec<Found>,
    /// `.sops.yml` files, which sops ignores.
    pub ignored_configs: Vec<String>,
}

impl Sources {
    /// The nearest configuration of a path: its folder, and the rules or why they cannot be used.
    pub fn config(&self, path: &str) -> Option<(&str, &Result<CreationRules, SopsError>)> {
        let mut folder = path;
        for _ in 0..UPWARD_MAX {
            folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
            if let Some((folder, rules)) = self.configs.get_key_value(folder) {
                return Some((folder, rules));
            }
            if folder.is_empty() {
                break;
            }
        }
        None
    }

    /// The creation rule for a path, with its place; `None` without a usable configuration or rule.
    pub fn rule(&self, path: &str) -> Option<(String, &CreationRule)> {
        let (folder, rules) = self.config(path)?;
        let relative =
            if folder.is_empty() { path } else { path.strip_prefix(folder)?.trim_start_matches('/') };
        let (index, rule) = rules.as_ref().ok()?.for_path(relative)?;
        Some((format!("rule {index} of {}", join(folder, CONFIG)), rule))
    }

    fn add(&mut self, name: String, path: String, bytes: Vec<u8>) {
        let last = path.rsplit('/').next().unwrap_or("");
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        if last == CONFIG {
            self.configs.insert(folder, CreationRules::parse(&bytes));
        } else if last == ".sops.yml" {
            self.ignored_configs.push(name);
        } else if let Some(store) = detect(&path, &bytes) {
            self.files.push(Found { name, path, store, bytes });
        } else if is_clear_secret(&path, &bytes) {
            self.clear_secrets.push(Found { name, store: Store::Yaml, path, bytes });
        }
    }
}

fn is_clear_secret(path: &str, bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or("");
    let line = |wanted: &str| text.lines().any(|line| line.trim_end() == wanted);
    Store::of_name(path) == Store::Yaml && line("kind: Secret") && (line("data:") || line("stringData:"))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Finds what the arguments name.
///
/// # Errors
/// When a path or commit cannot be read, or a bound is passed.
pub fn find(tree: &SopsTree) -> Result<Sources, Failure> {
    let mut sources = Sources::default();
    if let Some(commit) = &tree.commit {
        commit_tree(&tree.repository, commit, &mut sources)?;
        return Ok(sources);
    }
    let mut walk = Walk { sources: &mut sources, left: ENTRIES_MAX };
    for path in &tree.paths {
        if !path.exists() {
            return Err(Failure::usage(format!("{} does not exist", path.display())));
        }
        walk.enter(path, true)?;
    }
    upward(&mut sources)?;
    Ok(sources)
}

/// Reads one file, and the configurations above it.
///
/// # Errors
/// When it cannot be read.
pub fn one(path: &Path) -> Result<(Vec<u8>, String, Sources), Failure> {
    let bytes = read(path)?;
    let absolute = absolute(path)?;
    let mut sources = Sources::default();
    let found = Found {
        name: path.display().to_string(),
        path: absolute.clone(),
        store: Store::of_name(&absolute),
        bytes: Vec::new(),
    };
    sources.files.push(found);
    upward(&mut sources)?;
    Ok((bytes, absolute, sources))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    files::read_bounded(path, MAX_SOURCE_BYTES)
        .map_err(|error| Failure::usage(format!("could not read {}", path.display())).because(error))
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::usage(format!("could not find {}", path.display())).because(error);
    Ok(path.canonicalize().map_err(failed)?.to_string_lossy().into_owned())
}

/// Reads the configurations in the folders above the files that the walk did not see.
fn upward(sources: &mut Sources) -> Result<(), Failure> {
    let mut looked = std::collections::BTreeSet::new();
    let paths: Vec<String> =
        sources.files.iter().chain(&sources.clear_secrets).map(|file| file.path.clone()).collect();
    for path in paths {
        for folder in Path::new(&path).ancestors().skip(1).take(UPWARD_MAX) {
            let key = folder.to_string_lossy().trim_end_matches('/').to_owned();
            if !looked.insert(key.clone()) || sources.configs.contains_key(&key) {
                continue;
            }
            let config = folder.join(CONFIG);
            if config.is_file() {
                sources.configs.insert(key, CreationRules::parse(&read(&config)?));
            }
        }
    }
    Ok(())
}

struct Walk<'s> {
    sources: &'s mut Sources,
    left: usize,
}

impl Walk<'_> {
    /// `named` paths were given by the user: they must be readable, and may be links.
    fn enter(&mut self, path: &Path, named: bool) -> Result<(), Failure> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            Failure::usage(format!("more than {ENTRIES_MAX} files and folders")).hint("name a smaller folder")
        })?;
        if !named && path.is_symlink() {
            return Ok(());
        }
        if path.is_dir() {
            let names = files::names_in(path, ENTRIES_MAX).map_err(|error| {
                Failure::usage(format!("could not list {}", path.display())).because(error)
            })?;
            for name in names.iter().filter(|name| *name != ".git") {
                let child = if path == Path::new(".") { PathBuf::from(name) } else { path.join(name) };
                self.enter(&child, false)?;
            }
            return Ok(());
        }
        if !path.is_file() {
            return Ok(());
        }
        match files::read_bounded(path, MAX_SOURCE_BYTES) {
            Ok(bytes) => self.sources.add(path.display().to_string(), absolute(path)?, bytes),
            Err(error) if named => {
                return Err(Failure::usage(format!("could not read {}", path.display())).because(error));
            }
            // Larger than any manifest: not a SOPS file that a cluster could use.
            Err(_) => {}
        }
        Ok(())
    }
}

fn commit_tree(repository: &Path, commit: &str, sources: &mut Sources) -> Result<(), Failure> {
    let (objects, id) = open(repository, commit)?;
    let failed =
        |error| Failure::new(Kind::Usage, format!("could not read the tree of {commit}")).because(error);
    let rows = objects.list_tree(&id, TreeLimits::default(), &|_| true).map_err(failed)?;
    let regular = rows.iter().filter(|row| row.mode & 0o170_000 == 0o100_000);
    for row in regular.filter(|row| row.size <= MAX_SOURCE_BYTES as u64) {
        let bytes = objects.blob(&row.oid, MAX_SOURCE_BYTES).map_err(failed)?;
        sources.add(row.path.clone(), row.path.clone(), bytes);
    }
    Ok(())
}

/// Opens a clone and finds the commit that a branch, `HEAD` or a full id stands for.
fn open(repository: &Path, commit: &str) -> Result<(Objects, String), Failure> {
    let objects = Objects::open(repository).map_err(|error| {
        Failure::usage(format!("no repository at {}", repository.display())).because(error)
    })?;
    if commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok((objects, commit.to_owned()));
    }
    let name = if commit == "HEAD" { commit.to_owned() } else { format!("refs/heads/{commit}") };
    let id = objects.resolve(&name);
    match id.map_err(|error| Failure::usage(format!("could not find the commit {commit}")).because(error))? {
        Some(id) => Ok((objects, id)),
        None => Err(Failure::usage(format!("there is no branch {commit}"))),
    }
}

/// Reads `FILE` or `COMMIT:PATH`.
///
/// # Errors
/// When neither leads to a file.
pub fn version(text: &str, repository: &Path) -> Result<Found, Failure> {
    if Path::new(text).is_file() {
        let bytes = read(Path::new(text))?;
        return Ok(Found {
            name: text.to_owned(),
            path: text.to_owned(),
            store: Store::of_name(text),
            bytes,
        });
    }
    let Some((commit, path)) = text.split_once(':') else {
        return Err(Failure::usage(format!("{text} is neither a file nor COMMIT:PATH")));
    };
    let (objects, id) = open(repository, commit)?;
    let failed = |error| Failure::usage(format!("could not read {text}")).because(error);
    let rows = objects.list_tree(&id, TreeLimits::default(), &|it| it == path).map_err(failed)?;
    let row = rows.first().ok_or_else(|| Failure::usage(format!("{commit} has no file {path}")))?;
    let bytes = objects.blob(&row.oid, MAX_SOURCE_BYTES).map_err(failed)?;
    Ok(Found { name: text.to_owned(), path: path.to_owned(), store: Store::of_name(path), bytes })
}
