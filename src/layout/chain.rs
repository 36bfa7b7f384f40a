//! How an object reaches a cluster, for people: the file that declares it, every layer on the way out, and what
//! each layer does to it. A target comes in, links go out, innermost first. Nothing is decided here.

use serde_json::Value as Json;

use super::kustomize::{Layer, Live, PatchForm};
use super::objects::{FieldPath, Step};
use super::place::{Place, PlaceForm};
use super::{Index, restarted_path};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::Reason;
use crate::yaml;

/// One station of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub file: RepoPath,
    pub document: usize,
    /// Line on which the document, or the part of it that counts here, begins; from 1.
    pub line: usize,
    /// Where in the document; empty for the whole of it.
    pub at: String,
    /// `declares it`, `patch resources.yaml`, `replicas[name=backend]`; empty when it is only passed through.
    pub does: Vec<String>,
}

impl Index {
    /// The stations from the declaration to the outermost layer.
    ///
    /// # Errors
    /// `TargetNotFound` or `AmbiguousTarget`.
    pub fn chain(&self, target: &WorkloadRef) -> Result<Vec<Link>, Reason> {
        let live = self.find(target)?;
        let mut links = vec![Link {
            file: live.declared.file.clone(),
            document: live.declared.document,
            line: self.line_of(&live.declared.file, live.declared.document, &FieldPath::default()),
            at: String::new(),
            does: vec!["declares it".to_owned()],
        }];
        for layer in &live.layers {
            links.push(Link {
                file: layer.file.clone(),
                document: layer.document,
                line: self.line_of(&layer.file, layer.document, &layer.at),
                at: layer.at.to_string(),
                does: deeds(&live, layer),
            });
        }
        for layer in &live.delivered {
            let document = self.document(&layer.file, layer.document).unwrap_or_default();
            let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
            let (kind, name) = (text(&document["kind"]), text(&document["metadata"]["name"]));
            links.push(Link {
                file: layer.file.clone(),
                document: layer.document,
                line: self.line_of(&layer.file, layer.document, &layer.at),
                at: layer.at.to_string(),
                does: vec![match layer.at.0.is_empty() {
                    true => format!("{kind} {name} brings it"),
                    false => format!("an Application of {kind} {name} brings it"),
                }],
            });
        }
        Ok(links)
    }

    /// Line of `path` in a document, or of the nearest part above it that is there; from 1.
    #[must_use]
    pub fn line_of(&self, file: &RepoPath, document: usize, path: &FieldPath) -> usize {
        let source = self.source(file);
        let Some(source) = source.as_ref().and_then(|it| it.documents.get(document)) else { return 1 };
        let mut path = path.clone();
        loop {
            let found = yaml::Path::parse(&path.to_string()).ok().and_then(|it| source.root.at(&it).ok());
            match found {
                Some(node) => return node.line,
                None if path.0.is_empty() => return source.root.line,
                None => path = path.parent(),
            }
        }
    }

    /// Why `place` is the place, in a few words.
    #[must_use]
    pub fn why_there(&self, target: &WorkloadRef, place: &Place) -> &'static str {
        if self.find(target).is_ok_and(|live| live.release.is_some()) {
            return "rendered with another value there, this field changes and nothing else";
        }
        match &place.form {
            PlaceForm::NewItem { key, .. } if key == "count" => {
                "only something shared sets it: a replicas entry is added for this environment"
            }
            PlaceForm::NewItem { .. } => {
                "only something shared sets it: the patch of this environment gets the container"
            }
            PlaceForm::Image(_) | PlaceForm::ImageText(_) => {
                "the outermost layer that sets it: its images entry"
            }
            PlaceForm::Field(at) if place.current.is_none() && at.path.is_within(&restarted_path()) => {
                "not set yet: added where nothing else is touched"
            }
            PlaceForm::Field(at) if at.text.is_some() => {
                "the outermost layer that sets it: a patch written inside it"
            }
            PlaceForm::Field(_) => "the outermost place that sets it, and nothing else uses it",
        }
    }
}

/// What a layer did to the object, as a person would name it.
fn deeds(live: &Live, layer: &Layer) -> Vec<String> {
    let mut found = Vec::new();
    for patch in live.patches.iter().filter(|it| it.layer == *layer) {
        let file = &patch.text.origin.file;
        found.push(match (&patch.form, &patch.text.inside) {
            (PatchForm::Merge, None) => format!("patch {file}"),
            (PatchForm::Merge, Some(_)) => "inline patch".to_owned(),
            (PatchForm::Operations(_), None) => format!("JSON 6902 patch {file}"),
            (PatchForm::Operations(_), Some(_)) => "inline JSON 6902 patch".to_owned(),
        });
    }
    let entry = |list: &str, name: &str| {
        FieldPath(vec![Step::Key(list.to_owned()), Step::Named(name.to_owned())]).to_string()
    };
    found.extend(live.counts.iter().filter(|it| it.layer == *layer).map(|it| entry("replicas", &it.name)));
    let images = live.images.iter().filter(|it| it.layer == *layer);
    found.extend(images.map(|hit| entry("images", &hit.entry)));
    found.dedup();
    found
}
