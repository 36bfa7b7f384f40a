//! Questions about objects that Helm renders: where a field is written, what a value decides, what a release
//! depends on. An index and a field come in; a place in the values goes out, or a refusal with the candidates.

use std::sync::Arc;

use serde_json::Value as Json;

use super::address::Address;
use super::helm::{self, Form, Part, Release, Sought, WriteValue};
use super::kustomize::{Layer, Live};
use super::objects::{FieldPath, ImageName, leaves};
use super::{Field, Found, Index, Place, PlaceForm, edit_refused, reference_of, written};
use crate::layout::owners::{image_path, restarted_path};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::Reason;

/// Where one rendered field is written in the values of its release.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuePlace {
    pub file: RepoPath,
    pub document: usize,
    /// In the document, or in the string that holds the values (`values: |`).
    pub at: Address,
    /// What has to stand there for the field to become what is wanted.
    pub write: Json,
    /// What stands there; `None` when the key is to be added.
    pub current: Option<Json>,
}

impl ValuePlace {
    fn of(found: WriteValue) -> Self {
        let WriteValue { part, inside, value, current } = found;
        let (text, path) = match part.form {
            Form::Text => (Some(part.at), inside),
            Form::File | Form::Map | Form::Parameter => {
                (None, FieldPath(part.at.0.into_iter().chain(inside.0).collect()))
            }
        };
        Self {
            file: part.file,
            document: part.document,
            at: Address { text, nth: None, path },
            write: value,
            current,
        }
    }
}

impl Index {
    /// Path of `field` in the rendered `target`.
    ///
    /// # Errors
    /// As [`Index::object`]; `EditRefused` when there is no such container.
    pub fn field_path(&self, target: &WorkloadRef, field: &Field) -> Result<FieldPath, Reason> {
        let live = self.find(target)?;
        match field {
            Field::Replicas => Ok(FieldPath::keys(["spec", "replicas"])),
            Field::AutoscalerMin => Ok(super::scalers::minimum_path(&live.kind)),
            Field::RestartedAt => Ok(restarted_path()),
            Field::Image(container) => image_path(&live.value, container)
                .ok_or_else(|| edit_refused(format!("{target} has no container {container:?}"))),
        }
    }

    /// The value that makes `path` of `target` become `wanted`; `None` when Helm has no hand in the object.
    #[must_use]
    pub fn value_place(
        &self,
        target: &WorkloadRef,
        path: &FieldPath,
        wanted: &Json,
    ) -> Option<Result<ValuePlace, Reason>> {
        let live = self.find(target).ok()?;
        let release = live.release.as_ref()?;
        Some(self.value_place_of(&live, release, path, wanted))
    }

    fn value_place_of(
        &self,
        live: &Live,
        release: &Arc<Release>,
        path: &FieldPath,
        wanted: &Json,
    ) -> Result<ValuePlace, Reason> {
        if let Some(why) = live.refusals.first() {
            return Err(edit_refused(why.clone()));
        }
        if !live.patches.is_empty() || !live.counts.is_empty() || !live.images.is_empty() {
            let text = format!("{} changes {} after Helm rendered it", release.label, live.name());
            return Err(edit_refused(text));
        }
        let sought = Sought {
            kind: &live.kind,
            name: live.names.first().map_or("", String::as_str),
            path,
            now: path.find(&live.value).filter(|it| !it.is_null()),
            wanted,
        };
        let shared = |part: &Part| self.users_of(release, part);
        let found = helm::follow(release, &sought, &self.surroundings.helm, &shared)?;
        let place = ValuePlace::of(found);
        self.writable(&place.file)?;
        Ok(place)
    }

    /// Other releases that read the same layer.
    fn users_of(&self, release: &Arc<Release>, part: &Part) -> Vec<String> {
        let same =
            |other: &Part| other.file == part.file && other.document == part.document && other.at == part.at;
        let others = self.delivered.releases.iter().filter(|other| !Arc::ptr_eq(other, release));
        let users = others.filter(|other| other.parts.iter().any(same));
        let rendered = users.map(|other| format!("release {} in {}", other.name, other.target_namespace));
        let layer = Layer { file: part.file.clone(), document: part.document, at: part.at.clone() };
        let unseen = self.unrendered_users(&layer).map(|it| format!("{}, which is not rendered", it.label));
        rendered.chain(unseen).collect()
    }

    /// The place for people to look at; the value is what another value would be.
    pub(super) fn place_in_values(
        &self,
        live: &Live,
        release: &Arc<Release>,
        path: &FieldPath,
    ) -> Result<Place, Reason> {
        let wanted = match path.find(&live.value) {
            Some(Json::Number(number)) => Json::from(number.as_i64().unwrap_or_default() + 1),
            Some(Json::String(text)) => {
                let image = ImageName { tag: Some("0.0.1".into()), digest: None, ..ImageName::parse(text) };
                Json::from(image.to_string())
            }
            _ if path.0.last() == FieldPath::keys(["replicas"]).0.last() => Json::from(2),
            _ => Json::from("2026-01-01T00:00:00Z"),
        };
        let found = self.value_place_of(live, release, path, &wanted)?;
        Ok(Place {
            form: PlaceForm::Field(found.at),
            file: found.file,
            document: found.document,
            renders_to: path.clone(),
            current: found.current.as_ref().and_then(written),
            shared_with: Vec::new(),
        })
    }

    /// The fields of `target` that the value at `field` of `file` decides, by trying; `None` when Helm has no
    /// hand in the object, or the file is no layer of its values.
    #[must_use]
    pub fn decided_by(
        &self,
        target: &WorkloadRef,
        file: &RepoPath,
        document: usize,
        field: &str,
    ) -> Option<Result<Vec<FieldPath>, Reason>> {
        let live = self.find(target).ok()?;
        let release = live.release.as_ref()?;
        release.parts.iter().find(|part| part.file == *file)?;
        let Address { text, path, .. } = Address::parse(field)?;
        let field = match &text {
            Some(text) => (text, Some(&path)),
            None => (&path, None),
        };
        let moved = helm::moved_by(release, file, document, field, &self.surroundings.helm);
        Some(moved.map(|all| {
            let name = live.names.first().map_or("", String::as_str);
            let own = all.into_iter().filter(|it| it.kind == live.kind && it.name == name);
            own.map(|it| it.path).collect()
        }))
    }

    /// Objects whose own text holds the value at `field` of a document, with the field of the object that shows
    /// it: an `Application` with values, a `ConfigMap` of values. They change with what they bring.
    #[must_use]
    pub fn carriers(&self, file: &RepoPath, document: usize, field: &str) -> Vec<(WorkloadRef, FieldPath)> {
        let Some(at) = Address::parse(field) else { return Vec::new() };
        let at = at.text.unwrap_or(at.path);
        let carries = |live: &Found| {
            let kinds = ["Application", "ApplicationSet", "Kustomization", "HelmRelease", "ConfigMap"];
            let own = (&live.declared.file, live.declared.document) == (file, document);
            own && kinds.contains(&live.kind.as_str()) && live.release.is_none()
        };
        let found = self.reading(file).filter(carries);
        found.filter_map(|live| Some((reference_of(&live)?, as_leaf(&live.value, &at)))).collect()
    }

    /// The value at `field` as rendering sees it: an encrypted count in the clear.
    #[must_use]
    pub fn seen_at(&self, file: &RepoPath, document: usize, field: &str) -> Option<Json> {
        Address::parse(field)?.find(self.source(file)?.values.get(document)?)
    }

    /// The value at `field` of a document as it stands there, also inside a string.
    #[must_use]
    pub fn value_at(&self, file: &RepoPath, document: usize, field: &str) -> Option<Json> {
        Address::parse(field)?.find(&self.document(file, document)?)
    }
}

/// The path as [`leaves`] writes it: list items by their name where they have one.
pub fn as_leaf(value: &Json, path: &FieldPath) -> FieldPath {
    let Some(found) = path.find(value) else { return path.clone() };
    let same = |leaf: &FieldPath| leaf.find(value).is_some_and(|it| std::ptr::eq(it, found));
    leaves(value).into_keys().find(same).unwrap_or_else(|| path.clone())
}
