//! Finds the one place where a field of a target may be written. An index and a field come in; a file, a
//! document and the form of the edit go out, or a refusal that lists the candidates. Nothing is written here.
//!
//! Order: the most specific layer that sets the field already (in its `images:` and `replicas:`, in a patch,
//! file or inline, strategic or JSON 6902), then the overlay's `replicas:` list or its own patch of the object
//! when what sets the field is shared, then the manifest when nothing else uses it. Everything else is
//! ambiguous.

use serde_json::Value as Json;

use super::address::Address;
use super::elsewhere::NoPlace;
use super::kustomize::{AppliedPatch, ImageHit, Layer, Live, PatchForm, PatchText, has_replicas, place_in};
use super::objects::{FieldPath, Step, file_name, folder, written};
use super::owners::{image_path, restarted_path, template_path};
use super::{Field, Found, Index, edit_refused, reference_of, scalers};
use crate::model::change::is_sealed;
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::Unread;

/// How the field is written down at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceForm {
    /// A scalar of a document, or of a YAML text inside one.
    Field(Address),
    /// An item with this name and one key is to be added to the list: a `replicas:` entry, or a container in a
    /// patch.
    NewItem { list: Address, name: String, key: String },
    /// The `images:` entry here, a map; which of its keys change depends on the image.
    Image(Address),
    /// The `images:` entry here, a text as Argo CD writes them.
    ImageText(Address),
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
            PlaceForm::Field(at) | PlaceForm::Image(at) | PlaceForm::ImageText(at) => at.to_string(),
            PlaceForm::NewItem { list, name, key } => {
                list.with(list.path.clone().named(name).key(key)).to_string()
            }
        }
    }
}

fn replicas_path() -> FieldPath {
    FieldPath::keys(["spec", "replicas"])
}

impl Index {
    /// The place for `field` of `target`.
    ///
    /// # Errors
    /// `TargetNotFound`, `AmbiguousTarget` with the candidates, or `EditRefused` with what stands in the way.
    pub fn place(&self, target: &WorkloadRef, field: &Field) -> Result<Place, NoPlace> {
        let live = self.find(target)?;
        match field {
            Field::Replicas => self.place_of(&live, &replicas_path()),
            Field::AutoscalerMin => self.place_of(&live, &scalers::minimum_path(&live.kind)),
            Field::RestartedAt => self.place_of(&live, &restarted_path()),
            Field::Image(container) => {
                let path = image_path(&live.value, container)
                    .ok_or_else(|| edit_refused(format!("{target} has no container {container:?}")))?;
                self.place_of(&live, &path)
            }
        }
    }

    /// The place for any leaf of `target`'s pod template.
    ///
    /// # Errors
    /// As [`Index::place`].
    pub fn place_path(&self, target: &WorkloadRef, path: &FieldPath) -> Result<Place, NoPlace> {
        self.place_of(&self.find(target)?, path)
    }

    fn place_of(&self, live: &Found, path: &FieldPath) -> Result<Place, NoPlace> {
        self.editable(live)?;
        if let Some(release) = &live.release {
            return Ok(self.place_in_values(live, release, path)?);
        }
        let counts = [replicas_path(), scalers::minimum_path(&live.kind)];
        if let Some(unseen) = live.unseen.first().filter(|_| counts.contains(path)) {
            let why = format!("{unseen}; what that brings is not known here and may be an autoscaler");
            return Err(edit_refused(why).into());
        }
        let place = self.decided_with_reason(live, path)?;
        // A name that kustomize completes, or a label that it adds to: what stands there is not what is meant.
        let rendered = path.find(&live.value).and_then(written);
        // An encrypted count is rendered in the clear.
        let stands = match &place.current {
            Some(text) if is_sealed(text) => self.seen_at(&place.file, place.document, &place.field()),
            _ => None,
        };
        let stands = stands.as_ref().and_then(written).or_else(|| place.current.clone());
        if matches!(place.form, PlaceForm::Field(_)) && stands.is_some() && stands != rendered {
            let (at, shown) = (place.field(), rendered.as_deref().unwrap_or("nothing").to_owned());
            let why = format!("{path} is rendered as {shown}, which is not what {at} in {} says", place.file);
            return Err(edit_refused(why).into());
        }
        if place.shared_with.is_empty() {
            return Ok(self.checked(place)?);
        }
        match self.in_overlay(live, path) {
            Some(place) => Ok(self.checked(place)?),
            None => Err(self.ambiguous(live, path, place)),
        }
    }

    /// The place that decides the field of `live` today, whoever else uses it.
    pub(super) fn decided_at(&self, live: &Found, path: &FieldPath) -> Option<Place> {
        self.decided_with_reason(live, path).ok()
    }

    fn decided_with_reason(&self, live: &Found, path: &FieldPath) -> Result<Place, Reason> {
        for layer in live.layers.iter().rev() {
            let clouded = |d: &&super::kustomize::Doubt| {
                d.layer == *layer && (path.is_within(&d.field) || d.field.is_within(path))
            };
            if let Some(doubt) = live.doubts.iter().find(clouded) {
                return Err(edit_refused(format!("{path}: {}", doubt.why)));
            }
            if let Some(place) = self.set_by_layer(live, layer, path)? {
                return Ok(place);
            }
        }
        if live.generated {
            let file = &live.declared.file;
            return Err(edit_refused(format!(
                "{} is generated by {file}: {path} stands nowhere",
                live.name()
            )));
        }
        let sharers = self.sharers(live, &live.declared.file, |o| o.declared == live.declared);
        let origin = (&live.declared.file, live.declared.document);
        Ok(self.stands_at(origin, path.clone().into(), path, sharers))
    }

    /// The place in `layer` that sets `path` already. Transformers run after patches, so they win.
    fn set_by_layer(&self, live: &Found, layer: &Layer, path: &FieldPath) -> Result<Option<Place>, Reason> {
        let here = (&layer.file, layer.document);
        if let Some(hit) =
            live.counts.iter().rev().find(|hit| hit.layer == *layer && *path == replicas_path())
        {
            let sharers = self.sharers(live, &layer.file, |o| o.counts.contains(hit));
            let steps =
                [Step::Key("replicas".into()), Step::Named(hit.name.clone()), Step::Key("count".into())];
            return Ok(Some(self.stands_at(here, layer.path(steps).into(), path, sharers)));
        }
        let is_image = |hit: &&ImageHit| {
            hit.layer == *layer && image_path(&live.value, &hit.container).as_ref() == Some(path)
        };
        if let Some(hit) = live.images.iter().rev().find(is_image) {
            return Ok(Some(self.at_image(live, hit, path)));
        }
        let sets = |p: &&AppliedPatch| p.layer == *layer && place_in(p, path).is_some();
        let Some(patch) = live.patches.iter().rev().find(sets) else { return Ok(None) };
        match place_in(patch, path).flatten() {
            Some(inside) => self.in_patch(live, patch, inside, path).map(Some),
            None => Err(edit_refused(format!(
                "{path} is set in {} by a JSON 6902 operation that does not spell its value",
                patch.text.origin.file
            ))),
        }
    }

    fn at_image(&self, live: &Found, hit: &ImageHit, path: &FieldPath) -> Place {
        let layer = &hit.layer;
        let same = |o: &Live| o.images.iter().any(|h| h.layer == *layer && h.index == hit.index);
        let list = Step::Key("images".into());
        let by_index = layer.path([list.clone(), Step::At(hit.index)]);
        let document = self.document(&layer.file, layer.document);
        let is_text = document.is_some_and(|d| by_index.find(&d).is_some_and(Json::is_string));
        let form = if is_text {
            PlaceForm::ImageText(by_index.into())
        } else {
            PlaceForm::Image(layer.path([list, Step::Named(hit.entry.clone())]).into())
        };
        Place {
            file: layer.file.clone(),
            document: layer.document,
            form,
            renders_to: path.clone(),
            current: path.find(&live.value).and_then(written),
            shared_with: self.sharers(live, &layer.file, same),
        }
    }

    /// A value in the text of a patch.
    fn in_patch(
        &self,
        live: &Found,
        patch: &AppliedPatch,
        inside: FieldPath,
        path: &FieldPath,
    ) -> Result<Place, Reason> {
        let PatchText { origin, inside: text } = &patch.text;
        let address = match text {
            None => Address::from(inside),
            Some((text, nth)) => Address { text: Some(text.clone()), nth: Some(*nth), path: inside },
        };
        let document = self.document(&origin.file, origin.document);
        // The position is said only where there are several.
        let short = Address { nth: None, ..address.clone() };
        let is_only = document.as_ref().is_some_and(|d| short.ground(d).is_some());
        let address = if is_only { short } else { address };
        if document.is_none_or(|d| address.ground(&d).is_none()) {
            let why = format!("{path} is set in {}, in a text that cannot be looked into", origin.file);
            return Err(edit_refused(why));
        }
        let same = |o: &Live| o.patches.iter().any(|p| p.text == patch.text);
        let sharers = self.sharers(live, &origin.file, same);
        Ok(self.stands_at((&origin.file, origin.document), address, path, sharers))
    }

    fn stands_at(
        &self,
        (file, document): (&RepoPath, usize),
        address: Address,
        path: &FieldPath,
        shared_with: Vec<WorkloadRef>,
    ) -> Place {
        let current = self.document(file, document).and_then(|d| address.find(&d));
        Place {
            file: file.clone(),
            document,
            renders_to: path.clone(),
            current: current.as_ref().and_then(written),
            form: PlaceForm::Field(address),
            shared_with,
        }
    }

    /// A place in the target's own overlay for a field that only something shared sets.
    fn in_overlay(&self, live: &Found, path: &FieldPath) -> Option<Place> {
        let overlay = live.layers.last().filter(|_| live.layers.len() > 1)?;
        if *path == replicas_path() && has_replicas(&live.kind) {
            return self.new_count(live, overlay);
        }
        let is_image = path.0.last() == Some(&Step::Key("image".into()));
        if *path != restarted_path() && !is_image {
            return None;
        }
        let own = live.patches.iter().rev().filter(|p| p.layer == *overlay && p.form == PatchForm::Merge);
        own.filter_map(|patch| {
            let place = self.in_patch(live, patch, path.clone(), path).ok()?;
            let fits = place.shared_with.is_empty();
            fits.then(|| if is_image { in_container(live, patch, place, path) } else { Some(place) })?
        })
        .next()
    }

    /// A `replicas:` entry that is not there yet. It matches by any name an object had: the declared one is taken
    /// if it is unique in the overlay.
    fn new_count(&self, live: &Found, overlay: &Layer) -> Option<Place> {
        let unique = |name: &&String| {
            let others = self.sharers(live, &overlay.file, |o| {
                has_replicas(&o.kind) && o.layers.contains(overlay) && o.names.contains(*name)
            });
            others.is_empty()
        };
        let name = live.names.iter().find(unique)?.clone();
        let list = layer_list(overlay, "replicas");
        Some(Place {
            file: overlay.file.clone(),
            document: overlay.document,
            form: PlaceForm::NewItem { list, name, key: "count".into() },
            renders_to: replicas_path(),
            current: None,
            shared_with: Vec::new(),
        })
    }

    /// Other objects of entry points that read `file`.
    pub(super) fn others(&self, live: &Found, file: &RepoPath) -> impl Iterator<Item = Found> {
        self.reading(file).filter(|other| other.at != live.at)
    }

    /// Other objects that `same` holds for. It must not hold for an object whose entry never read `file`.
    fn sharers(&self, live: &Found, file: &RepoPath, same: impl Fn(&Live) -> bool) -> Vec<WorkloadRef> {
        let mut refs: Vec<WorkloadRef> =
            self.others(live, file).filter(|o| same(o)).filter_map(|o| reference_of(&o)).collect();
        refs.sort();
        refs.dedup();
        refs
    }

    /// Last checks on a place that is otherwise right.
    fn checked(&self, place: Place) -> Result<Place, Reason> {
        self.writable(&place.file)?;
        self.trusted()?;
        let includes = |text: &str| {
            let dir = folder(place.file.as_str());
            text.contains(file_name(place.file.as_str())) || !dir.is_empty() && text.contains(file_name(dir))
        };
        let mut broken = self.broken_kustomizations();
        // A link is never followed, so it includes nothing that tars would render.
        let may_include = |file: &RepoPath| match self.sources.text(file) {
            Ok(text) => includes(&text),
            Err(Unread::Symlink | Unread::Submodule) => false,
            Err(_) => true,
        };
        if let Some(file) = broken.find(may_include) {
            return Err(edit_refused(format!(
                "{file} cannot be read and may include {}; what else an edit changes is unknown",
                place.file
            )));
        }
        Ok(place)
    }

    fn ambiguous(&self, live: &Found, path: &FieldPath, place: Place) -> NoPlace {
        let others: Vec<String> = place.shared_with.iter().take(5).map(ToString::to_string).collect();
        let overlay = live
            .layers
            .last()
            .map_or_else(String::new, |o| format!("; a patch of this object in {o} would do"));
        let reason = Reason::new(
            ReasonCode::AmbiguousTarget,
            format!("{path} is set in {}, which {} use as well{overlay}", place.file, others.join(", ")),
        );
        NoPlace { reason, candidates: vec![self.candidate(live, place, path)] }
    }

    /// The fields of the rendered `target` that the value at `field` of `file` decides.
    #[must_use]
    pub fn rendered_fields(&self, target: &WorkloadRef, file: &RepoPath, field: &Address) -> Vec<FieldPath> {
        let Ok(live) = self.find(target) else { return Vec::new() };
        let texts = live.patches.iter().rev().filter(|p| {
            let (text, nth) = p.text.inside.as_ref().map(|(text, nth)| (text, *nth)).unzip();
            p.text.origin.file == *file
                && text == field.text.as_ref()
                && field.nth.is_none_or(|wanted| nth == Some(wanted))
        });
        for patch in texts {
            match &patch.form {
                PatchForm::Merge => return vec![field.path.clone()],
                PatchForm::Operations(written) => {
                    let by = written
                        .iter()
                        .rev()
                        .find(|by| by.value_at.as_ref().is_some_and(|at| field.path.is_within(at)));
                    if let Some((by, at)) = by.and_then(|by| Some((by, by.value_at.as_ref()?))) {
                        let rest = field.path.0[at.0.len()..].iter().cloned();
                        return vec![FieldPath(by.field.0.iter().cloned().chain(rest).collect())];
                    }
                }
            }
        }
        let Some(layer) = live.layers.iter().rev().find(|l| l.file == *file && field.path.is_within(&l.at))
        else {
            return vec![field.path.clone()];
        };
        let of_image = |same: &dyn Fn(&ImageHit) -> bool| -> Vec<FieldPath> {
            let hits = live.images.iter().filter(|hit| hit.layer == *layer && same(hit));
            hits.filter_map(|hit| image_path(&live.value, &hit.container)).collect()
        };
        match &field.path.0[layer.at.0.len()..] {
            [Step::Key(list), Step::Named(_), ..] if list == "replicas" => vec![replicas_path()],
            [Step::Key(list), Step::Named(entry), ..] if list == "images" => {
                of_image(&|hit| hit.entry == *entry)
            }
            [Step::Key(list), Step::At(index), ..] if list == "images" => {
                of_image(&|hit| hit.index == *index)
            }
            _ => Vec::new(),
        }
    }
}

fn layer_list(layer: &Layer, key: &str) -> Address {
    layer.path([Step::Key(key.to_owned())]).into()
}

/// An image in a patch that does not set one yet. A patch moves the containers it names to the front, so it must
/// name this one already, or there is only one.
fn in_container(live: &Found, patch: &AppliedPatch, place: Place, path: &FieldPath) -> Option<Place> {
    let list = path.parent().parent();
    let Some(Step::Named(name)) = path.parent().0.last().cloned() else { return None };
    let listed = list.find(&patch.value).and_then(Json::as_array);
    if path.parent().find(&patch.value).is_some() {
        return Some(place);
    }
    let only = list.find(&live.value).and_then(Json::as_array).is_some_and(|l| l.len() == 1);
    let PlaceForm::Field(address) = &place.form else { return None };
    let fits = listed.is_none() && only && path.is_within(&template_path());
    let form = PlaceForm::NewItem { list: address.with(list), name, key: "image".into() };
    fits.then(|| Place { form, ..place.clone() })
}
