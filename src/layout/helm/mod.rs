//! Helm charts: what has to be rendered, what came back, and where in the values a rendered field comes from.
//! Files of a chart and value layers come in; [`HelmJob`]s go out as data, and their output comes back the same
//! way. Helm itself runs elsewhere: this room starts no program and never guesses at the names of keys.

mod attempt;
mod chart;
mod follow;
mod release;

pub use chart::Chart;
pub use follow::{Sought, WriteValue, follow, moved_by};
pub use release::{Form, Part, Release, Slot};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::objects;
use crate::yaml;

/// Most outputs that are kept; when there are more, all are forgotten and asked for again.
const MAX_KNOWN: usize = 2_048;
/// Most jobs waiting to be run; one question about one field needs at most a few dozen.
const MAX_WANTED: usize = 1_024;
/// Most objects of one release.
const MAX_OBJECTS: usize = 5_000;

/// One `--set` argument of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// `--set`: Helm guesses the type.
    Typed(String),
    /// `--set-string`: always text.
    Text(String),
    /// `--set-file`: the content of a file under this key.
    File { key: String, bytes: Arc<[u8]> },
}

/// Everything `helm template` needs, and nothing it could look up by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelmJob {
    /// Files of the chart by their path inside it.
    pub files: BTreeMap<String, Arc<[u8]>>,
    /// Value files in order; a later one wins.
    pub values: Vec<Arc<[u8]>>,
    /// Single values, which win over every file.
    pub sets: Vec<SetValue>,
    pub release: String,
    pub namespace: String,
    pub kube_version: Option<String>,
    pub api_versions: Vec<String>,
    pub skip_schema: bool,
}

impl HelmJob {
    /// SHA-256 over everything the output depends on, in hex: equal jobs have equal output.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for (path, bytes) in &self.files {
            part(path.as_bytes());
            part(bytes);
        }
        part(b"values");
        self.values.iter().for_each(|bytes| part(bytes));
        for set in &self.sets {
            match set {
                SetValue::Typed(text) => [b"typed", text.as_bytes()].into_iter().for_each(&mut part),
                SetValue::Text(text) => [b"text.", text.as_bytes()].into_iter().for_each(&mut part),
                SetValue::File { key, bytes } => {
                    [b"file.", key.as_bytes(), bytes].into_iter().for_each(&mut part);
                }
            }
        }
        part(b"release");
        part(self.release.as_bytes());
        part(self.namespace.as_bytes());
        part(self.kube_version.as_deref().unwrap_or_default().as_bytes());
        self.api_versions.iter().for_each(|version| part(version.as_bytes()));
        part(&[u8::from(self.skip_schema)]);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An object that Helm wrote, and the template it came from as Helm names it (`payments/templates/x.yaml`).
#[derive(Debug, Clone, PartialEq)]
pub struct HelmObject {
    pub template: String,
    pub value: Json,
}

/// Objects of a release, or a sentence saying why there are none.
pub type HelmOutcome = Result<Vec<HelmObject>, String>;

/// What Helm made of the jobs that were asked for so far. Whoever holds one may ask; what is not known yet is
/// noted, for somebody outside to run: render, take what is wanted, run it, put it in, render again.
#[derive(Debug, Clone, Default)]
pub struct HelmRenders(Arc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    known: Mutex<BTreeMap<String, Arc<HelmOutcome>>>,
    wanted: Mutex<BTreeMap<String, HelmJob>>,
}

fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both maps are whole after every statement, whatever panicked in between.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HelmRenders {
    /// The outcome of `job`; when it is not known, the job is noted as wanted.
    #[must_use]
    pub fn get(&self, job: &HelmJob) -> Option<Arc<HelmOutcome>> {
        let digest = job.digest();
        let found = hold(&self.0.known).get(&digest).cloned();
        if found.is_none() {
            let mut wanted = hold(&self.0.wanted);
            if wanted.len() < MAX_WANTED {
                wanted.insert(digest, job.clone());
            }
        }
        found
    }

    /// Was something asked for that is not known?
    #[must_use]
    pub fn lacks(&self) -> bool {
        !hold(&self.0.wanted).is_empty()
    }

    /// Jobs that were asked for and are not known, each once; the list is empty afterwards.
    #[must_use]
    pub fn take_wanted(&self) -> Vec<HelmJob> {
        std::mem::take(&mut *hold(&self.0.wanted)).into_values().collect()
    }

    /// Puts in what Helm wrote to standard output, or why it wrote nothing.
    pub fn insert(&self, job: &HelmJob, output: Result<&[u8], String>) {
        let outcome = output.and_then(read_output);
        let mut known = hold(&self.0.known);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(job.digest(), Arc::new(outcome));
    }
}

/// Splits Helm's output at its document separators. Every document starts with the comment `# Source: …`.
fn read_output(output: &[u8]) -> HelmOutcome {
    let text =
        std::str::from_utf8(output).map_err(|_| "the chart renders text that is not UTF-8".to_owned())?;
    let mut objects = Vec::new();
    let mut template = String::new();
    for chunk in documents(text) {
        if let Some(named) = chunk.lines().find_map(|line| line.strip_prefix("# Source: ")) {
            template = named.trim().to_owned();
        }
        let read = yaml::read(chunk.as_bytes())
            .map_err(|e| format!("{template} renders to something that is not plain YAML: {e}"))?;
        for document in read {
            let value = objects::json(&document.root);
            if !value.is_null() {
                objects.push(HelmObject { template: template.clone(), value });
            }
        }
        if objects.len() > MAX_OBJECTS {
            return Err(format!("the chart renders more than {MAX_OBJECTS} objects"));
        }
    }
    Ok(objects)
}

fn documents(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    all.retain(|chunk| !chunk.trim().is_empty());
    all
}

#[cfg(test)]
mod tests;
