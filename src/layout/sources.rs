//! The files of a tree, read and parsed when somebody asks. A tree comes in; parsed files, texts and the reasons
//! why a file cannot be looked into go out. What is kept is bounded, and keyed by content: another commit with
//! the same file finds it parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

use super::locked;
use super::objects::{file_name, json, key_text};
use super::reader::inside;
use super::recent::Recent;
use crate::model::ids::RepoPath;
use crate::model::tree::{BlobId, EntryMode, RepoTree, TreeFile, Unread};
use crate::sops::Access;
use crate::yaml;

/// Larger files are not parsed; Kubernetes itself takes no object above 1.5 MiB (etcd's request limit).
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Largest file that is searched for words without being parsed.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Most bytes of parsed files that are kept, estimated.
const MAX_PARSED_BYTES: usize = 16 << 20;
/// Most bytes of texts that are kept.
const MAX_KEPT_TEXT_BYTES: usize = 8 << 20;
/// A parsed file takes about this many times its bytes: a node with its span for every few characters.
const PARSED_FACTOR: usize = 32;

/// A file that could not be looked into, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub file: RepoPath,
    pub why: String,
}

/// A parsed YAML file: the nodes (for spans and spelling) beside plain values (for thinking).
#[derive(Debug)]
pub struct SourceFile {
    pub documents: Vec<yaml::Document>,
    pub values: Vec<Json>,
    /// What stands in the file where `values` has an encrypted count in the clear.
    pub sealed: Option<Vec<Json>>,
}

impl SourceFile {
    /// The documents as they stand in the file.
    #[must_use]
    pub fn written(&self) -> &[Json] {
        self.sealed.as_ref().unwrap_or(&self.values)
    }
}

type Parsed = Result<Arc<SourceFile>, Arc<str>>;

/// What is kept between questions and between commits.
struct Kept {
    parsed: Recent<BlobId, Parsed>,
    texts: Recent<BlobId, Arc<[u8]>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

/// All files of a tree.
#[derive(Debug, Clone)]
pub struct Sources {
    tree: Arc<RepoTree>,
    /// Files that stand in place of those in the tree.
    edits: BTreeMap<RepoPath, TreeFile>,
    /// Folders with a `Chart.yaml`.
    charts: Arc<BTreeSet<String>>,
    access: Arc<Access>,
    kept: Arc<Mutex<Kept>>,
    /// The first failure of the object store: after it, no answer can be trusted.
    failed: Arc<Mutex<Option<String>>>,
}

impl Sources {
    #[must_use]
    pub fn new(tree: Arc<RepoTree>, access: Arc<Access>) -> Self {
        Self::keeping(tree, access, MAX_PARSED_BYTES, MAX_KEPT_TEXT_BYTES)
    }

    /// Files of which each is asked for once: none is kept.
    #[must_use]
    pub fn forgetful(tree: Arc<RepoTree>, access: Arc<Access>) -> Self {
        Self::keeping(tree, access, 0, 0)
    }

    fn keeping(tree: Arc<RepoTree>, access: Arc<Access>, parsed_max: usize, texts_max: usize) -> Self {
        let kept = Kept { parsed: Recent::new(parsed_max), texts: Recent::new(texts_max) };
        Self {
            tree,
            edits: BTreeMap::new(),
            charts: Arc::default(),
            access,
            kept: Arc::new(Mutex::new(kept)),
            failed: Arc::default(),
        }
    }

    /// The same files with some replaced. Only plain files that are there already can be.
    #[must_use]
    pub fn edited(&self, files: &BTreeMap<RepoPath, Vec<u8>>) -> Self {
        let edit = |(path, bytes): (&RepoPath, &Vec<u8>)| {
            let mode = self.file(path)?.mode;
            Some((path.clone(), TreeFile::held(mode, bytes.as_slice())))
        };
        Self { edits: files.iter().filter_map(edit).collect(), ..self.clone() }
    }

    #[must_use]
    pub fn tree(&self) -> &Arc<RepoTree> {
        &self.tree
    }

    /// The tree, to be moved to another commit. A failure of the past is forgotten: the object store may be
    /// another one.
    pub fn tree_mut(&mut self) -> &mut RepoTree {
        self.failed = Arc::default();
        Arc::make_mut(&mut self.tree)
    }

    /// Notes whether `dir` has a `Chart.yaml` now; true when that is news.
    pub fn note_chart(&mut self, dir: &str) -> bool {
        let is_chart =
            RepoPath::new(inside(dir, CHART)).is_ok_and(|path| self.tree.files.contains_key(&path));
        if is_chart == self.charts.contains(dir) {
            return false;
        }
        let charts = Arc::make_mut(&mut self.charts);
        if is_chart { charts.insert(dir.to_owned()) } else { charts.remove(dir) }
    }

    /// Is `dir` the folder of a Helm chart?
    #[must_use]
    pub fn is_chart(&self, dir: &str) -> bool {
        self.charts.contains(dir)
    }

    /// What stands at `path`.
    #[must_use]
    pub fn file(&self, path: &RepoPath) -> Option<&TreeFile> {
        self.edits.get(path).or_else(|| self.tree.files.get(path))
    }

    /// Why the object store could not be read, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        locked(&self.failed).clone()
    }

    /// The parsed file; `None` when it is not there or cannot be looked into.
    #[must_use]
    pub fn get(&self, path: &RepoPath) -> Option<Arc<SourceFile>> {
        self.read(path)?.ok()
    }

    /// Why `path` is there and cannot be looked into.
    #[must_use]
    pub fn why_skipped(&self, path: &RepoPath) -> Option<String> {
        self.read(path)?.err().map(|why| why.as_ref().to_owned())
    }

    /// The parsed file or why it cannot be looked into; `None` when it is no YAML file of the tree.
    #[must_use]
    pub fn read(&self, path: &RepoPath) -> Option<Parsed> {
        let file = self.file(path).filter(|_| is_yaml(path.as_str()))?;
        if self.is_template(path) && is_plain(file) {
            return Some(Err(Arc::from("is a Helm template")));
        }
        if let Some(parsed) = locked(&self.kept).parsed.get(&file.blob).filter(|_| is_plain(file)) {
            return Some(parsed);
        }
        let bytes = match self.tree.bytes_of(file, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(why) => return Some(Err(Arc::from(self.noted(why).to_string()))),
        };
        let parsed = parse(&bytes, &self.access);
        let weight = bytes.len().saturating_mul(PARSED_FACTOR).saturating_add(1_024);
        locked(&self.kept).parsed.put(file.blob, parsed.clone(), weight);
        Some(parsed)
    }

    /// The bytes of a regular file, also of one that is no YAML; no link is followed.
    #[must_use]
    pub fn bytes(&self, path: &RepoPath) -> Option<Arc<[u8]>> {
        let file = self.file(path).filter(|file| is_plain(file))?;
        self.tree.bytes_of(file, MAX_FILE_BYTES).map_err(|why| self.noted(why)).ok()
    }

    /// The bytes of a file of values as a renderer sees them: those of a SOPS file without what every edit makes anew.
    #[must_use]
    pub fn values_of(&self, path: &RepoPath) -> Option<Arc<[u8]>> {
        let bytes = self.bytes(path)?;
        Some(self.access.values_shown(&bytes).map_or(bytes, Arc::from))
    }

    /// The text of a file, also of one that is no YAML; bytes that are not UTF-8 show as the replacement
    /// character.
    ///
    /// # Errors
    /// [`Unread`] with the reason.
    pub fn text(&self, path: &RepoPath) -> Result<String, Unread> {
        let file = self.file(path).ok_or(Unread::Absent)?;
        if let Some(bytes) = locked(&self.kept).texts.get(&file.blob).filter(|_| is_plain(file)) {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        let bytes = self.tree.bytes_of(file, MAX_TEXT_BYTES).map_err(|why| self.noted(why))?;
        locked(&self.kept).texts.put(file.blob, Arc::clone(&bytes), bytes.len().saturating_add(64));
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Is this a template of a chart? The renderer of charts is Helm.
    #[must_use]
    pub fn is_template(&self, path: &RepoPath) -> bool {
        let text = path.as_str();
        let below = |at: usize| text[at..].starts_with("templates/");
        below(0) && self.is_chart("")
            || text.match_indices('/').any(|(at, _)| below(at + 1) && self.is_chart(&text[..at]))
    }

    fn noted(&self, why: Unread) -> Unread {
        if let Unread::Failed(cause) = &why {
            locked(&self.failed).get_or_insert_with(|| cause.clone());
        }
        why
    }
}

fn parse(bytes: &[u8], access: &Access) -> Parsed {
    let documents = yaml::read(bytes).map_err(|e| format!("is not YAML that can be edited: {e}"))?;
    if let Some((key, line)) = documents.iter().find_map(|it| repeated_key(&it.root)) {
        return Err(format!("has the key {key:?} twice (line {line})").into());
    }
    let plain =
        |documents: &[yaml::Document]| documents.iter().map(|it| json(&it.root)).collect::<Vec<Json>>();
    let values = plain(&documents);
    let shown = access.counts_shown(bytes).and_then(|text| yaml::read(&text).ok());
    let (values, sealed) = match shown {
        Some(shown) => (plain(&shown), Some(values)),
        None => (values, None),
    };
    Ok(Arc::new(SourceFile { documents, values, sealed }))
}

/// A key that stands twice where an object says what it is, and the line: readers disagree about which of them
/// counts, so nobody could say which object this is.
fn repeated_key(root: &yaml::Node) -> Option<(String, usize)> {
    let yaml::NodeKind::Map(entries) = &root.kind else { return None };
    let mut seen = BTreeSet::new();
    for (key, _) in entries {
        if !seen.insert(key_text(key)) {
            return Some((key_text(key), key.line));
        }
    }
    entries.iter().find(|(key, _)| key_text(key) == "metadata").and_then(|(_, below)| repeated_key(below))
}

fn is_plain(file: &TreeFile) -> bool {
    matches!(file.mode, EntryMode::File | EntryMode::Executable)
}

/// Name of the file that makes a folder a Helm chart.
pub const CHART: &str = "Chart.yaml";

/// Is this a file whose objects tars looks for?
#[must_use]
pub fn is_yaml(path: &str) -> bool {
    let name = file_name(path);
    name.ends_with(".yaml") || name.ends_with(".yml") || name == "Kustomization"
}
