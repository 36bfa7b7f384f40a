//! From nodes to plain values, and the paths of their leaves. Parsed documents come in; JSON values, field paths
//! and the parts of names go out. Nothing here fails as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json};

use crate::model::ids::{KindName, Namespace, ObjectName, WorkloadRef};
use crate::yaml;

/// The part before the last `/`, empty for the root.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The part after the last `/`.
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Plain value of a node. A scalar that YAML versions disagree about stays text, an alias becomes a marker
/// text: neither can be mistaken for a number, and aliases are never expanded (no alias bombs).
pub fn json(node: &yaml::Node) -> Json {
    match &node.kind {
        yaml::NodeKind::Scalar(scalar) if scalar.ambiguous() => Json::String(scalar.text.clone()),
        yaml::NodeKind::Scalar(scalar) => match scalar.typed() {
            yaml::Value::Null => Json::Null,
            yaml::Value::Bool(flag) => Json::Bool(flag),
            yaml::Value::Int(number) => Json::from(number),
            yaml::Value::Float(number) => serde_json::Number::from_f64(number)
                .map_or_else(|| Json::String(scalar.text.clone()), Json::Number),
            yaml::Value::Text(text) => Json::String(text),
        },
        yaml::NodeKind::Map(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key_text(key), json(value))).collect::<Map<String, Json>>(),
        ),
        yaml::NodeKind::List(items) => Json::Array(items.iter().map(json).collect()),
        yaml::NodeKind::Alias(..) => Json::String(format!("<alias at line {}>", node.line)),
    }
}

pub fn key_text(key: &yaml::Node) -> String {
    match &key.kind {
        yaml::NodeKind::Scalar(scalar) => scalar.text.clone(),
        _ => format!("<key at line {}>", key.line),
    }
}

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Key(String),
    /// The list item whose `name` is this.
    Named(String),
    At(usize),
}

/// A path inside an object or a document, written as the yaml room reads it:
/// `spec.template.spec.containers[name=app].image`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(pub Vec<Step>);

impl FieldPath {
    pub fn keys<const N: usize>(keys: [&str; N]) -> Self {
        Self(keys.iter().map(|&k| Step::Key(k.to_owned())).collect())
    }

    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.to_owned()));
        self
    }

    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.0.push(Step::Named(name.to_owned()));
        self
    }

    /// Reads the text form; `None` when it is malformed or names items by another key than `name`.
    pub fn parse(text: &str) -> Option<Self> {
        let path = yaml::Path::parse(text).ok()?;
        let steps = path.steps().iter().map(|step| match step {
            yaml::Step::Key(key) => Some(Step::Key(key.clone())),
            yaml::Step::Item { key, value } if key == "name" => Some(Step::Named(value.clone())),
            yaml::Step::Item { .. } => None,
            yaml::Step::Index(index) => Some(Step::At(*index)),
        });
        steps.collect::<Option<Vec<Step>>>().map(Self)
    }

    /// The path without its last step.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The value at this path.
    pub fn find<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        self.0.iter().try_fold(value, |at, step| match step {
            Step::Key(key) => at.get(key),
            Step::Named(name) => at.as_array()?.iter().find(|item| item["name"] == **name),
            Step::At(index) => at.get(index),
        })
    }

    /// Does `self` lie below `above`, or equal it?
    pub fn is_within(&self, above: &Self) -> bool {
        self.0.starts_with(&above.0)
    }
}

fn write_word(f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
    let special = |c: char| ".[]=|\"\\".contains(c) || c.is_whitespace();
    if word.is_empty() || word.contains(special) {
        write!(f, "\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        f.write_str(word)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    if index > 0 {
                        f.write_str(".")?;
                    }
                    write_word(f, key)?;
                }
                Step::Named(name) => {
                    f.write_str("[name=")?;
                    write_word(f, name)?;
                    f.write_str("]")?;
                }
                Step::At(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Can list items be addressed by their `name`? Only when each has a unique, plain one.
pub fn names_of(items: &[Json]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items.iter().map(|item| item.get("name")?.as_str()).collect::<Option<_>>()?;
    let plain = |name: &&str| {
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
    };
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    (unique.len() == names.len() && names.iter().all(plain)).then_some(names)
}

/// Every leaf of `value` by its path. Null counts as absent, as it does in Kubernetes; an empty map or list
/// is a leaf (`emptyDir: {}` means something).
pub fn leaves(value: &Json) -> BTreeMap<FieldPath, Json> {
    let mut found = BTreeMap::new();
    collect_leaves(value, &mut Vec::new(), &mut found);
    found
}

fn collect_leaves(value: &Json, at: &mut Vec<Step>, found: &mut BTreeMap<FieldPath, Json>) {
    match value {
        Json::Null => {}
        Json::Object(entries) if !entries.is_empty() => {
            for (key, entry) in entries {
                at.push(Step::Key(key.clone()));
                collect_leaves(entry, at, found);
                at.pop();
            }
        }
        Json::Array(items) if !items.is_empty() => {
            let names = names_of(items);
            for (index, item) in items.iter().enumerate() {
                at.push(names.as_ref().map_or(Step::At(index), |n| Step::Named(n[index].to_owned())));
                collect_leaves(item, at, found);
                at.pop();
            }
        }
        leaf => {
            found.insert(FieldPath(at.clone()), leaf.clone());
        }
    }
}

/// A scalar as a person would write it; text that would read as another type is quoted. `None` for maps and
/// lists.
pub fn written(value: &Json) -> Option<String> {
    match value {
        Json::String(text) if reads_as_other(text) => Some(format!("\"{text}\"")),
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Reads what [`written`] wrote.
pub fn unwritten(text: &str) -> yaml::Value {
    if let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return yaml::Value::Text(inner.to_owned());
    }
    if let Ok(number) = text.parse::<i64>() {
        return yaml::Value::Int(number);
    }
    match text {
        "true" => yaml::Value::Bool(true),
        "false" => yaml::Value::Bool(false),
        _ => text.parse::<f64>().map_or_else(|_| yaml::Value::Text(text.to_owned()), yaml::Value::Float),
    }
}

fn reads_as_other(text: &str) -> bool {
    text.starts_with('"') || !matches!(unwritten(text), yaml::Value::Text(_))
}

/// Kind of a document that is a Kubernetes object: it has `apiVersion`, `kind` and `metadata.name`.
pub fn object_kind(value: &Json) -> Option<&str> {
    value.get("apiVersion")?.as_str()?;
    value.get("metadata")?.get("name")?.as_str()?;
    value.get("kind")?.as_str()
}

/// A checked reference, `None` when one of the names could not exist in a cluster.
pub fn reference(namespace: &str, kind: &str, name: &str) -> Option<WorkloadRef> {
    Some(WorkloadRef {
        namespace: Namespace::new(namespace).ok()?,
        kind: KindName::new(kind).ok()?,
        name: ObjectName::new(name).ok()?,
    })
}

/// The parts of an image reference: `repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

impl ImageName {
    /// Splits at the last `:` after the last `/` and at `@`, as the OCI reference grammar does.
    pub fn parse(image: &str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (image, None),
        };
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        match rest[slash..].rfind(':') {
            Some(colon) => Self {
                repository: rest[..slash + colon].to_owned(),
                tag: Some(rest[slash + colon + 1..].to_owned()),
                digest,
            },
            None => Self { repository: rest.to_owned(), tag: None, digest },
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}
