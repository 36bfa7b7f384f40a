//! One try: a value written into one layer, the release rendered with it, and what moved. A layer, a path and a
//! value come in; the fields that differ go out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::release::{Edited, Form, Part, Release};
use super::{HelmObject, HelmOutcome, HelmRenders};
use crate::layout::objects::{FieldPath, leaves, unwritten, written};
use crate::yaml;

/// A field of a rendered object: `Kind/name` and the path in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    pub kind: String,
    pub name: String,
    pub path: FieldPath,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}/{}", self.path, self.kind, self.name)
    }
}

/// What a try did.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Helm was not asked yet; now it is.
    Pending,
    /// It cannot be written or does not render.
    Failed(String),
    /// Objects come or go.
    Reshapes,
    /// The fields that differ, with their new value.
    Moves(Vec<(Moved, Option<Json>)>),
}

/// Sets or adds the value at `inside` of the layer's values.
pub fn edit(part: &Part, inside: &FieldPath, value: &Json) -> Result<Arc<[u8]>, String> {
    if part.fixed.is_some() {
        return Err(format!("{} is changed by a layer above it", part.file));
    }
    let typed = match value {
        Json::String(text) => yaml::Value::Text(text.clone()),
        other => unwritten(&written(other).unwrap_or_default()),
    };
    let path = |at: FieldPath| yaml::Path::parse(&at.to_string()).map_err(|e| e.to_string());
    let put = |at: FieldPath| {
        let path = path(at)?;
        Ok::<_, String>(yaml::Edit::Put { document: part.document, path, value: typed.clone() })
    };
    let edited = match part.form {
        Form::File | Form::Map => {
            let whole = FieldPath(part.at.0.iter().chain(&inside.0).cloned().collect());
            yaml::apply(&part.bytes, &[put(whole)?]).map_err(|e| e.to_string())?
        }
        Form::Parameter => yaml::apply(&part.bytes, &[put(part.at.clone())?]).map_err(|e| e.to_string())?,
        Form::Text => {
            let inner = yaml::Edit::Put { document: 0, path: path(inside.clone())?, value: typed };
            let path = path(part.at.clone())?;
            let edit = yaml::Edit::Inside { document: part.document, path, edit: Box::new(inner) };
            yaml::apply(&part.bytes, &[edit]).map_err(|e| e.to_string())?
        }
    };
    Ok(Arc::from(edited))
}

/// Renders `release` with the value and compares with `base`.
pub fn attempt(
    release: &Arc<Release>,
    base: &[HelmObject],
    helm: &HelmRenders,
    part: &Part,
    change: (&FieldPath, &Json),
) -> Outcome {
    let bytes = match edit(part, change.0, change.1) {
        Ok(bytes) => bytes,
        Err(why) => return Outcome::Failed(why),
    };
    let edited = Edited::from([(&part.file, bytes)]);
    let Some(outcome) = release.outcome(helm, &edited) else { return Outcome::Pending };
    match &*outcome {
        HelmOutcome::Ok(objects) => compare(base, objects),
        HelmOutcome::Err(why) => Outcome::Failed(why.clone()),
    }
}

type Key<'a> = (&'a str, &'a str, &'a str, &'a str, usize);

fn keyed(objects: &[HelmObject]) -> BTreeMap<Key<'_>, &Json> {
    let mut all = BTreeMap::new();
    for object in objects {
        let text = |at: &str| object.value.pointer(at).and_then(Json::as_str).unwrap_or_default();
        let names = (text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        let mut key = (names.0, names.1, names.2, names.3, 0);
        while all.contains_key(&key) {
            key.4 += 1;
        }
        all.insert(key, &object.value);
    }
    all
}

fn compare(before: &[HelmObject], after: &[HelmObject]) -> Outcome {
    let (old, new) = (keyed(before), keyed(after));
    if old.keys().ne(new.keys()) {
        return Outcome::Reshapes;
    }
    let mut moved = Vec::new();
    for (key, after) in new {
        let Some(before) = old.get(&key).filter(|before| **before != after) else { continue };
        let (before, after) = (leaves(before), leaves(after));
        let paths: BTreeSet<&FieldPath> = before.keys().chain(after.keys()).collect();
        for path in paths.into_iter().filter(|&path| before.get(path) != after.get(path)) {
            let field = Moved { kind: key.1.to_owned(), name: key.3.to_owned(), path: path.clone() };
            moved.push((field, after.get(path).cloned()));
        }
    }
    Outcome::Moves(moved)
}
