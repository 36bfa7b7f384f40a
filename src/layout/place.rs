//! Finds the one place where a field of a target may be written. An index and a field come in; a file, a
//! document and the form of the edit go out, or a refusal that lists the candidates. Nothing is written here.
//!
//! Order: the most specific layer that sets the field already, then the `replicas:` list of the overlay when
//! the base is shared, then the manifest when nothing else uses it. Everything else is ambiguous.

use serde_json::Value as Json;

use super::kustomize::{Layer, Live, Origin, PatchForm, has_replicas};
use super::objects::{FieldPath, Step, file_name, folder, written};
use super::owners::{image_path, restarted_path};
use super::{Field, Index, edit_refused, reference_of, scalers};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::{Reason, ReasonCode};

/// How the field is written down at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceForm {
    /// A field of a manifest or of a strategic-merge patch.
    Field(FieldPath),
    /// `count` of an existing `replicas:` entry with this name.
    Count { name: String },
    /// A `replicas:` entry with this name is to be added.
    NewCount { name: String },
    /// The `images:` entry with this name; which of its keys change depends on the image.
    Image { name: String },
}

/// Where one field of one target is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: RepoPath,
    pub document: usize,
    pub form: PlaceForm,
    /// The field of the rendered object that an edit here changes.
    pub renders_to: FieldPath,
    /// What the place holds now, as a person would write it; `None` when the field is absent there.
    pub current: Option<String>,
    /// Other objects that an edit here would change too.
    pub shared_with: Vec<WorkloadRef>,
}

impl Place {
    /// Path inside the document, as a [`crate::model::change::FieldChange`] records it. An image entry has no
    /// single path until the new image is known.
    pub fn field(&self) -> String {
        match &self.form {
            PlaceForm::Field(path) => path.to_string(),
            PlaceForm::Count { name } | PlaceForm::NewCount { name } => {
                format!("replicas[name={name}].count")
            }
            PlaceForm::Image { name } => format!("images[name={name}]"),
        }
    }
}

impl Index {
    /// The place for `field` of `target`.
    ///
    /// # Errors
    /// `TargetNotFound`, `AmbiguousTarget` with the candidates, or `EditRefused` with what stands in the way.
    pub fn place(&self, target: &WorkloadRef, field: &Field) -> Result<Place, Reason> {
        let live = self.find(target)?;
        match field {
            Field::Replicas => self.place_of(live, &FieldPath::keys(["spec", "replicas"])),
            Field::AutoscalerMin => self.place_of(live, &scalers::minimum_path(&live.kind)),
            Field::RestartedAt => self.place_of(live, &restarted_path()),
            Field::Image(container) => {
                let path = image_path(&live.value, container)
                    .ok_or_else(|| edit_refused(format!("{target} has no container {container:?}")))?;
                self.place_of(live, &path)
            }
        }
    }

    /// The place for any leaf of `target`'s pod template.
    ///
    /// # Errors
    /// As [`Index::place`].
    pub fn place_path(&self, target: &WorkloadRef, path: &FieldPath) -> Result<Place, Reason> {
        self.place_of(self.find(target)?, path)
    }

    /// The fields of the rendered `target` that the value at `field` of `file` decides.
    #[must_use]
    pub fn rendered_fields(
        &self,
        target: &WorkloadRef,
        file: &RepoPath,
        field: &FieldPath,
    ) -> Vec<FieldPath> {
        let Ok(live) = self.find(target) else { return Vec::new() };
        if !live.layers.iter().any(|layer| layer.file == *file) {
            return vec![field.clone()];
        }
        match &field.0[..] {
            [Step::Key(list), Step::Named(_), ..] if list == "replicas" => {
                vec![FieldPath::keys(["spec", "replicas"])]
            }
            [Step::Key(list), Step::Named(entry), ..] if list == "images" => {
                let hits = live.images.iter().filter(|hit| hit.layer.file == *file && hit.entry == *entry);
                hits.filter_map(|hit| image_path(&live.value, &hit.container)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn place_of(&self, live: &Live, path: &FieldPath) -> Result<Place, Reason> {
        if let Some(why) = live.refusals.first() {
            return Err(edit_refused(why.clone()));
        }
        if let Some(release) = &live.release {
            return self.place_in_values(live, release, path);
        }
        let mut shared = None;
        for layer in live.layers.iter().rev() {
            let Some(place) = self.set_by_layer(live, layer, path)? else { continue };
            if place.shared_with.is_empty() {
                return self.checked(place);
            }
            shared = Some(place);
            break;
        }
        let place = shared.unwrap_or_else(|| self.at_declaration(live, path));
        if place.shared_with.is_empty() {
            return self.checked(place);
        }
        match self.in_overlay(live, path) {
            Some(place) => self.checked(place),
            None => Err(self.ambiguous(live, path, &place)),
        }
    }

    /// The place in `layer` that sets `path` already. Transformers run after patches, so they win.
    fn set_by_layer(&self, live: &Live, layer: &Layer, path: &FieldPath) -> Result<Option<Place>, Reason> {
        let replicas = FieldPath::keys(["spec", "replicas"]);
        if let Some((_, name)) = live.counts.iter().rev().find(|(at, _)| at == layer && *path == replicas) {
            let sharers = self.sharers(live, |o| o.counts.iter().any(|c| c.0 == *layer && c.1 == *name));
            return Ok(Some(Place {
                file: layer.file.clone(),
                document: layer.document,
                current: self.value_in(
                    &layer.file,
                    layer.document,
                    &FieldPath::keys(["replicas"]).named(name).key("count"),
                ),
                form: PlaceForm::Count { name: name.clone() },
                renders_to: path.clone(),
                shared_with: sharers,
            }));
        }
        let is_image = |hit: &&super::kustomize::ImageHit| {
            hit.layer == *layer && image_path(&live.value, &hit.container).as_ref() == Some(path)
        };
        if let Some(hit) = live.images.iter().rev().find(is_image) {
            let same = |o: &Live| o.images.iter().any(|h| h.layer == *layer && h.entry == hit.entry);
            return Ok(Some(Place {
                file: layer.file.clone(),
                document: layer.document,
                form: PlaceForm::Image { name: hit.entry.clone() },
                renders_to: path.clone(),
                current: path.find(&live.value).and_then(written),
                shared_with: self.sharers(live, same),
            }));
        }
        let sets = |p: &&super::kustomize::AppliedPatch| {
            p.layer == *layer
                && (p.form == PatchForm::Operations && operates_on(&p.value, path)
                    || p.form != PatchForm::Operations && path.find(&p.value).is_some())
        };
        let Some(patch) = live.patches.iter().rev().find(sets) else { return Ok(None) };
        match patch.form {
            PatchForm::File => Ok(Some(self.at_patch(live, &patch.origin, path))),
            PatchForm::Inline => Err(edit_refused(format!(
                "{path} is set by an inline patch in {layer}; move the patch into a file of its own"
            ))),
            PatchForm::Operations => Err(edit_refused(format!(
                "{path} is set by JSON 6902 operations in {}; write it as a strategic merge patch",
                patch.origin.file
            ))),
        }
    }

    fn at_patch(&self, live: &Live, origin: &Origin, path: &FieldPath) -> Place {
        let same = |o: &Live| o.patches.iter().any(|p| p.form == PatchForm::File && p.origin == *origin);
        self.at(origin, path, self.sharers(live, same))
    }

    fn at_declaration(&self, live: &Live, path: &FieldPath) -> Place {
        self.at(&live.declared, path, self.sharers(live, |o| o.declared == live.declared))
    }

    fn at(&self, origin: &Origin, path: &FieldPath, shared_with: Vec<WorkloadRef>) -> Place {
        Place {
            file: origin.file.clone(),
            document: origin.document,
            form: PlaceForm::Field(path.clone()),
            renders_to: path.clone(),
            current: self.value_in(&origin.file, origin.document, path),
            shared_with,
        }
    }

    /// A place in the target's own overlay for a field that only a shared base sets.
    fn in_overlay(&self, live: &Live, path: &FieldPath) -> Option<Place> {
        let overlay = live.layers.last().filter(|_| live.layers.len() > 1)?;
        if *path == FieldPath::keys(["spec", "replicas"]) && has_replicas(&live.kind) {
            // An entry matches by any name an object had: take the declared one if it is unique in the
            // overlay.
            let unique = |name: &&String| {
                let others = self.sharers(live, |o| {
                    has_replicas(&o.kind) && o.layers.contains(overlay) && o.names.contains(*name)
                });
                others.is_empty()
            };
            let name = live.names.iter().find(unique)?.clone();
            return Some(Place {
                file: overlay.file.clone(),
                document: overlay.document,
                form: PlaceForm::NewCount { name },
                renders_to: path.clone(),
                current: None,
                shared_with: Vec::new(),
            });
        }
        if *path != restarted_path() {
            return None;
        }
        let own = live.patches.iter().rev().filter(|p| p.layer == *overlay && p.form == PatchForm::File);
        own.map(|p| self.at_patch(live, &p.origin, path)).find(|place| place.shared_with.is_empty())
    }

    fn sharers(&self, live: &Live, same: impl Fn(&Live) -> bool) -> Vec<WorkloadRef> {
        let others = self.live.iter().filter(|o| !std::ptr::eq(*o, live) && same(o));
        let mut refs: Vec<WorkloadRef> = others.filter_map(reference_of).collect();
        refs.sort();
        refs.dedup();
        refs
    }

    fn value_in(&self, file: &RepoPath, document: usize, path: &FieldPath) -> Option<String> {
        path.find(self.sources.get(file)?.values.get(document)?).and_then(written)
    }

    /// Last checks on a place that is otherwise right.
    fn checked(&self, place: Place) -> Result<Place, Reason> {
        self.writable(&place.file)?;
        let hidden = self.unreadable.iter().find(|(_, text)| {
            let dir = folder(place.file.as_str());
            text.contains(file_name(place.file.as_str())) || !dir.is_empty() && text.contains(file_name(dir))
        });
        if let Some((file, _)) = hidden {
            return Err(edit_refused(format!(
                "{file} cannot be read and may include {}; what else an edit changes is unknown",
                place.file
            )));
        }
        Ok(place)
    }

    fn ambiguous(&self, live: &Live, path: &FieldPath, place: &Place) -> Reason {
        let others: Vec<String> = place.shared_with.iter().take(5).map(ToString::to_string).collect();
        let overlay = live.layers.last().map_or_else(String::new, |o| format!("; a patch named by {o}"));
        Reason::new(
            ReasonCode::AmbiguousTarget,
            format!(
                "{path} is set in {}, which {} use as well; candidates: {}{overlay}",
                place.file,
                others.join(", "),
                place.file
            ),
        )
    }
}

/// Does any JSON 6902 operation touch `path` or something above or below it?
fn operates_on(operations: &Json, path: &FieldPath) -> bool {
    let keys: Vec<String> = path
        .0
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.replace('~', "~0").replace('/', "~1"),
            // A named item can be at any index.
            Step::Named(_) => "*".to_owned(),
            Step::At(index) => index.to_string(),
        })
        .collect();
    let touches = |pointer: &str| {
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        parts.iter().zip(&keys).all(|(part, key)| key == "*" || part == key)
    };
    operations.as_array().into_iter().flatten().any(|op| op["path"].as_str().is_some_and(touches))
}
