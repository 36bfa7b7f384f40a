//! A Helm release as the repository declares it: a chart, and the layers of values with the place where each was
//! written. From it follow the job to render and, with one file exchanged, the job to try.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Chart, HelmJob, HelmOutcome, HelmRenders, SetValue};
use crate::layout::kustomize::{Layer, Live, Origin};
use crate::layout::objects::{FieldPath, json};
use crate::model::ids::RepoPath;
use crate::yaml;

/// How a layer of values is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A file of values.
    File,
    /// A map inside a document.
    Map,
    /// YAML inside a string of a document.
    Text,
    /// The `value` of one parameter.
    Parameter,
}

/// What the layer becomes in the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// A default: this file of the chart.
    ChartFile(String),
    Values,
    /// Values with nothing but this path in them: Flux's `targetPath`, which the layers above win over.
    At(Vec<String>),
    /// `--set`; the name as written.
    Set {
        name: String,
        as_text: bool,
    },
}

/// One layer of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub file: RepoPath,
    pub document: usize,
    /// Where the values stand in the document; empty for a file of values.
    pub at: FieldPath,
    pub form: Form,
    pub slot: Slot,
    /// Where its root stands in the values of the release: defaults of a chart inside are below its name.
    pub prefix: Vec<String>,
    /// The whole file.
    pub bytes: Arc<[u8]>,
    /// What counts when that is not what the file says: the document was changed on its way by a layer above.
    pub fixed: Option<Arc<[u8]>>,
    /// Who else uses the layer, or why a change of it would not arrive.
    pub locked: Option<String>,
}

impl Part {
    /// Bytes for Helm, with `bytes` as the content of the file.
    fn content(&self, bytes: &Arc<[u8]>) -> Result<Arc<[u8]>, String> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        if self.form == Form::File {
            return Ok(Arc::clone(bytes));
        }
        let wrong = |why: &str| format!("{} at {} {why}", self.file, self.at);
        let documents = yaml::read(bytes).map_err(|e| wrong(&format!("cannot be read: {e}")))?;
        let path = yaml::Path::parse(&self.at.to_string()).map_err(|e| wrong(&e.to_string()))?;
        let node = documents.get(self.document).and_then(|d| d.root.at(&path).ok());
        let node = node.ok_or_else(|| wrong("is not there"))?;
        match &node.kind {
            yaml::NodeKind::Scalar(scalar) => Ok(Arc::from(scalar.text.as_bytes())),
            // The bytes as they stand, so that Helm types every scalar as the API server would.
            _ => Ok(Arc::from(dedented(bytes, node.span.clone()).as_bytes())),
        }
    }

    /// The values of this layer as plain data.
    pub fn values(&self) -> Result<Json, String> {
        let content = self.content(&self.bytes)?;
        if let Slot::Set { .. } | Slot::At(_) = self.slot {
            return Ok(Json::String(String::from_utf8_lossy(&content).into_owned()));
        }
        let documents = yaml::read(&content).map_err(|e| format!("{} cannot be read: {e}", self.file))?;
        Ok(documents.first().map_or(Json::Null, |document| json(&document.root)))
    }

    /// Where `value`, a path in the values of the release, stands below this layer's root.
    #[must_use]
    pub fn inside(&self, value: &FieldPath) -> Option<FieldPath> {
        let prefix = self.root();
        value.is_within(&prefix).then(|| FieldPath(value.0[prefix.0.len()..].to_vec()))
    }

    /// Where this layer's root stands in the values of the release.
    #[must_use]
    pub fn root(&self) -> FieldPath {
        self.prefix.iter().fold(FieldPath::default(), |path, key| path.key(key))
    }
}

/// A block collection keeps its columns: the first line gets back the indentation that is before its span.
fn dedented(bytes: &[u8], span: std::ops::Range<usize>) -> String {
    let start = bytes[..span.start].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let column = span.start - start;
    let body = bytes.get(span).unwrap_or_default();
    format!("{}{}\n", " ".repeat(column), String::from_utf8_lossy(body))
}

/// A release whose chart is in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The `Application` or `HelmRelease`, for people: `Application payments in x.yaml`.
    pub label: String,
    /// The document that declares it, with where its source stands.
    pub declared: Layer,
    /// Layers that the declaring document went through.
    pub through: Vec<Layer>,
    pub chart: Chart,
    /// Weakest first.
    pub parts: Vec<Part>,
    pub files: Vec<SetValue>,
    pub name: String,
    pub namespace: String,
    /// Where objects without a namespace go.
    pub target_namespace: String,
    pub kube_version: Option<String>,
    pub api_versions: Vec<String>,
    pub skip_schema: bool,
    /// Why nothing of it can be edited.
    pub refusals: Vec<String>,
}

/// Files with other bytes than the tree has.
pub type Edited<'a> = BTreeMap<&'a RepoPath, Arc<[u8]>>;

impl Release {
    /// The job, with some files exchanged.
    pub fn job(&self, edited: &Edited<'_>) -> Result<HelmJob, String> {
        let now = |file: &RepoPath, bytes: &Arc<[u8]>| {
            edited.get(file).map_or_else(|| Arc::clone(bytes), Arc::clone)
        };
        let files = self.chart.files.iter();
        let files = files.map(|(inside, (path, bytes))| (inside.clone(), now(path, bytes))).collect();
        let (mut values, mut sets) = (Vec::new(), Vec::new());
        for part in &self.parts {
            let content = part.content(&now(&part.file, &part.bytes))?;
            match &part.slot {
                Slot::ChartFile(_) => {}
                Slot::Values => values.push(content),
                Slot::At(path) => values.push(nested(path, &String::from_utf8_lossy(&content))),
                Slot::Set { name, as_text } => {
                    let text = String::from_utf8_lossy(&content);
                    let pair = format!("{name}={}", escape_commas(&text));
                    sets.push(if *as_text { SetValue::Text(pair) } else { SetValue::Typed(pair) });
                }
            }
        }
        sets.extend(self.files.iter().cloned());
        Ok(HelmJob {
            files,
            values,
            sets,
            release: self.name.clone(),
            namespace: self.namespace.clone(),
            kube_version: self.kube_version.clone(),
            api_versions: self.api_versions.clone(),
            skip_schema: self.skip_schema,
        })
    }

    /// What Helm makes of it: `None` while that is not known.
    #[must_use]
    pub fn outcome(&self, helm: &HelmRenders, edited: &Edited<'_>) -> Option<Arc<HelmOutcome>> {
        match self.job(edited) {
            Ok(job) => helm.get(&job),
            Err(why) => Some(Arc::new(Err(why))),
        }
    }

    /// The rendered objects, each knowing this release.
    #[must_use]
    pub fn objects(self: &Arc<Self>, outcome: &HelmOutcome) -> Vec<Live> {
        let Ok(objects) = outcome else { return Vec::new() };
        objects.iter().flat_map(|object| self.live(&object.template, &object.value)).collect()
    }

    fn live(self: &Arc<Self>, template: &str, value: &Json) -> Vec<Live> {
        let file = self.chart.template(template).unwrap_or(&self.declared.file);
        let mut found = Live::all_declared(value, file, 0);
        for live in &mut found {
            live.declared = Origin { file: file.clone(), document: 0 };
            live.layers = self.layers();
            live.refusals.extend(self.refusals.iter().cloned());
            if !value["metadata"]["annotations"]["helm.sh/hook"].is_null() {
                live.refusals.push(format!("{} is a hook of {}", live.name(), self.label));
            }
            live.release = Some(Arc::clone(self));
        }
        found
    }

    /// Every document with a hand in it, the declaring one last.
    fn layers(&self) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        for part in &self.parts {
            let layer = Layer { file: part.file.clone(), document: part.document, at: part.at.clone() };
            if part.file != self.declared.file && !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        layers.extend(self.through.iter().cloned());
        layers.push(self.declared.clone());
        layers
    }
}

/// The text under its path, with the type that Flux gives it: that of a `--set` argument.
fn nested(path: &[String], text: &str) -> Arc<[u8]> {
    let number = || text.parse::<i64>().ok().filter(|_| text == "0" || !text.starts_with('0'));
    let value = match text.to_ascii_lowercase().as_str() {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        _ => number().map_or_else(|| Json::from(text), Json::from),
    };
    let whole = path.iter().rev().fold(value, |inner, key| Json::from_iter([(key.clone(), inner)]));
    Arc::from(whole.to_string().into_bytes())
}

/// Helm splits `--set` at commas; inside braces they make a list, as Argo CD leaves them.
fn escape_commas(text: &str) -> String {
    if text.starts_with('{') && text.ends_with('}') {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if c == ',' && before != '\\' {
            escaped.push('\\');
        }
        escaped.push(c);
        before = c;
    }
    escaped
}
