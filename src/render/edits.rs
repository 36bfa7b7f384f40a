//! Turns a plan into byte-exact edits and seals them. A request comes in; [`CheckedChanges`], which nothing
//! else can make, or the reasons for refusing go out. No file is written here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::guard::{may_change, may_write};
use super::proof::{Expected, Intent, prove};
use super::sealed::{self, Fresh};
use super::{named, undo, unrendered, values};
use crate::layout::{
    Address, Field, FieldPath, ImageName, Index, MAX_FILE_BYTES, Place, PlaceForm, edit_refused, image_path,
    leaves, restarted_path, unwritten, written,
};
use crate::model::causes::causes;
use crate::model::change::{FieldChange, RenderedChange};
use crate::model::ids::{ChangeId, RepoPath, WorkloadRef};
use crate::model::playbook::{ImageChange, Plan};
use crate::model::policy::WriteTo;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::RepoTree;
use crate::model::workload::ReplicaOwner;
use crate::yaml;

/// Longest unified diff that is kept, bytes; a longer one is cut and says so.
pub const MAX_DIFF_BYTES: usize = 64 << 10;
/// Most fields one plan may change: a pod template has a few dozen leaves.
const MAX_FIELDS: usize = 64;

/// Everything that is needed to render a plan.
#[derive(Debug)]
pub struct RenderRequest<'a> {
    pub tree: &'a RepoTree,
    /// Index of `tree`.
    pub index: &'a Index,
    pub target: &'a WorkloadRef,
    pub plan: &'a Plan,
    /// The tree at the plan's `good` commit: needed for `PodTemplate`, checked for `Images` when given.
    pub old_tree: Option<&'a RepoTree>,
    /// Path prefixes the policy may write; empty means wherever the target's manifests are.
    pub allowed_paths: &'a [RepoPath],
    /// Places that people named for fields; they win over what is found.
    pub write_to: &'a [WriteTo],
    pub fresh: Fresh,
}

/// Edited files whose effect was proven. Only [`edits`] makes one: holding it is the permission to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedChanges {
    files: Vec<(RepoPath, Vec<u8>)>,
    fields: Vec<FieldChange>,
    diff: String,
    rendered: Vec<RenderedChange>,
    unrendered: Option<String>,
    recipients: Vec<String>,
    objects_compared: u32,
    fields_changed: u32,
    change_id: ChangeId,
}

impl CheckedChanges {
    /// Every changed file with its whole new content.
    #[must_use]
    pub fn files(&self) -> &[(RepoPath, Vec<u8>)] {
        &self.files
    }

    /// The changed fields, as they stand in the files.
    #[must_use]
    pub fn fields(&self) -> &[FieldChange] {
        &self.fields
    }

    /// Unified diff for people, at most [`MAX_DIFF_BYTES`] and a note.
    #[must_use]
    pub fn diff(&self) -> &str {
        &self.diff
    }

    /// What the fields come to when rendered, as the proof saw it.
    #[must_use]
    pub fn rendered(&self) -> &[RenderedChange] {
        &self.rendered
    }

    /// Who can open the encrypted files that change, sorted.
    #[must_use]
    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// Why the target was not rendered and who named the place; `None`: it was.
    #[must_use]
    pub fn unrendered(&self) -> Option<&str> {
        self.unrendered.as_deref()
    }

    /// Number of rendered objects that the proof compared.
    #[must_use]
    pub fn objects_compared(&self) -> u32 {
        self.objects_compared
    }

    /// Number of fields of rendered objects that differ.
    #[must_use]
    pub fn fields_changed(&self) -> u32 {
        self.fields_changed
    }

    #[must_use]
    pub fn change_id(&self) -> &ChangeId {
        &self.change_id
    }
}

/// One edit, what it is called in the record, and what it must do to rendered objects.
#[derive(Debug)]
pub(super) struct Planned {
    pub edit: yaml::Edit,
    pub change: FieldChange,
    pub intents: Vec<Intent>,
    /// Nothing renders the target: the file alone is compared.
    pub unrendered: Option<String>,
}

/// Renders the plan: finds the places, edits the bytes, renders all objects again and compares.
///
/// # Errors
/// All reasons that were found; `EditRefused` also for a plan that changes nothing.
pub fn edits(request: &RenderRequest<'_>) -> Result<CheckedChanges, Vec<Reason>> {
    let planned = plan_edits(request)?;
    let target = request.index.object(request.target).ok();
    let refused: Vec<Reason> = planned
        .iter()
        .flat_map(|p| {
            let document = document_of(&p.edit).and_then(|at| request.index.document(&p.change.file, at));
            [
                may_write(&p.change.file, request.allowed_paths),
                request.index.writable(&p.change.file),
                document.as_ref().map_or(Ok(()), may_change),
            ]
        })
        .chain(target.as_ref().map(may_change))
        .filter_map(Result::err)
        .collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    seal(request, &planned).map_err(|reason| vec![reason])
}

/// The document that an edit changes; `None` for one that only adds.
pub(super) fn document_of(edit: &yaml::Edit) -> Option<usize> {
    match edit {
        yaml::Edit::AddDocument { .. } => None,
        yaml::Edit::Set { document, .. }
        | yaml::Edit::Put { document, .. }
        | yaml::Edit::Insert { document, .. }
        | yaml::Edit::Remove { document, .. }
        | yaml::Edit::Append { document, .. }
        | yaml::Edit::Inside { document, .. } => Some(*document),
    }
}

fn plan_edits(request: &RenderRequest<'_>) -> Result<Vec<Planned>, Vec<Reason>> {
    let one = |planned: Result<Planned, Reason>| planned.map(|p| vec![p]).map_err(|r| vec![r]);
    let planned = match request.plan {
        Plan::Scale { from, to, autoscaler } => one(scale(request, *from, *to, autoscaler.as_ref()))?,
        Plan::Restart { restarted_at, previous } => {
            one(restart(request, &restarted_at.to_string(), previous.as_deref()))?
        }
        Plan::Images { images: changes, .. } => collect(images(request, changes))?,
        Plan::PodTemplate { .. } => pod_template(request)?,
        Plan::Undo { changes } => collect(changes.iter().map(|c| undo::undo(request.index, c)).collect())?,
    };
    match planned.len() {
        0 => Err(vec![edit_refused("the plan changes nothing")]),
        n if n > MAX_FIELDS => {
            Err(vec![edit_refused(format!("the plan changes {n} fields, at most {MAX_FIELDS}"))])
        }
        _ => Ok(planned),
    }
}

fn collect(all: Vec<Result<Planned, Reason>>) -> Result<Vec<Planned>, Vec<Reason>> {
    let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    if bad.is_empty() {
        Ok(good.into_iter().flatten().collect())
    } else {
        Err(bad.into_iter().filter_map(Result::err).collect())
    }
}

fn scale(
    request: &RenderRequest<'_>,
    from: u32,
    to: u32,
    autoscaler: Option<&WorkloadRef>,
) -> Result<Planned, Reason> {
    if to == 0 || i32::try_from(to).is_err() {
        return Err(Reason::new(
            ReasonCode::OutOfBounds,
            format!("{to} replicas are outside 1..=2147483647"),
        ));
    }
    if from == to {
        return Err(edit_refused(format!("the plan changes nothing: {from} replicas stay {to}")));
    }
    let workload = request.index.workload_of(request.target, request.write_to)?;
    let (resource, field, now) = match (&workload.owner, autoscaler) {
        (ReplicaOwner::Workload, None) => (request.target, Field::Replicas, workload.replicas.unwrap_or(1)),
        (ReplicaOwner::Autoscaler { target, min, max }, Some(named)) if target == named => {
            if to > *max {
                let text = format!("minReplicas {to} would be above maxReplicas {max} of {target}");
                return Err(Reason::new(ReasonCode::HPAOwnsReplicas, text));
            }
            (target, Field::AutoscalerMin, *min)
        }
        (ReplicaOwner::Autoscaler { target, .. }, _) => {
            return Err(Reason::new(ReasonCode::HPAOwnsReplicas, format!("{target} owns the replicas")));
        }
        (ReplicaOwner::Other(owner), _) => {
            return Err(Reason::new(ReasonCode::FieldOwnedElsewhere, owner.clone()));
        }
        (ReplicaOwner::Workload, Some(named)) => {
            return Err(edit_refused(format!("{named} does not own the replicas of {}", request.target)));
        }
    };
    if !matches!(request.target.kind.as_str(), "Deployment" | "StatefulSet" | "ReplicaSet" | "Rollout") {
        return Err(edit_refused(format!("{} has no replica count", request.target)));
    }
    if now != from {
        return Err(edit_refused(format!("the plan starts from {from} replicas, the repository has {now}")));
    }
    if workload.unrendered.is_some() && resource == request.target {
        return unrendered::scale(request, to);
    }
    if let Some(planned) = named::by_field(request, resource, &field, &Json::from(to)) {
        return planned;
    }
    let place = request.index.place(resource, &field).map_err(|e| e.with_value(&to.to_string()))?;
    if let PlaceForm::Field(at) = &place.form
        && place.current.is_some()
        && !request.index.is_plain_count(&place.file, place.document, at)
    {
        let text = format!("{at} in {} is not a plain whole number", place.file);
        return Err(edit_refused(text));
    }
    write(resource, &place, &Json::from(to))
}

fn restart(request: &RenderRequest<'_>, at: &str, previous: Option<&str>) -> Result<Planned, Reason> {
    let workload = request.index.workload(request.target)?;
    request.index.pod_template(request.target)?;
    let now = workload.restarted_at.as_deref();
    if now == Some(at) {
        return Err(edit_refused(format!("the plan changes nothing: restartedAt is {at} already")));
    }
    if now != previous {
        let show = |value: Option<&str>| value.unwrap_or("absent").to_owned();
        let text =
            format!("the plan starts from restartedAt {}, the repository has {}", show(previous), show(now));
        return Err(edit_refused(text));
    }
    let field = Field::RestartedAt;
    if let Some(planned) = named::by_field(request, request.target, &field, &Json::from(at)) {
        return planned;
    }
    let place = request.index.place(request.target, &field).map_err(|e| e.with_value(at))?;
    write(request.target, &place, &Json::from(at))
}

fn images(request: &RenderRequest<'_>, changes: &[ImageChange]) -> Vec<Result<Planned, Reason>> {
    let old = request.old_tree.map(|tree| request.index.moved_to(tree));
    changes.iter().map(|change| image(request, change, old.as_ref())).collect()
}

fn image(request: &RenderRequest<'_>, change: &ImageChange, old: Option<&Index>) -> Result<Planned, Reason> {
    let ImageChange { container, from, to } = change;
    let image_in = |index: &Index| -> Result<Option<String>, Reason> {
        let object = index.object(request.target)?;
        let found = image_path(&object, container)
            .and_then(|path| path.find(&object).and_then(Json::as_str).map(str::to_owned));
        Ok(found)
    };
    if from == to {
        return Err(edit_refused(format!("the plan changes nothing: {container} runs {to} already")));
    }
    request.index.workload(request.target)?;
    let now = image_in(request.index)?;
    if now.as_ref() != Some(from) {
        let now = now.unwrap_or_else(|| "no such container".into());
        return Err(edit_refused(format!(
            "the plan starts from {container}={from}, the repository has {now}"
        )));
    }
    if let Some(old) = old
        && image_in(old)?.as_ref() != Some(to)
    {
        return Err(edit_refused(format!("{container} did not run {to} at the good commit")));
    }
    let field = Field::Image(container.clone());
    if let Some(planned) = named::by_field(request, request.target, &field, &Json::from(to.as_str())) {
        return planned;
    }
    let place = request.index.place(request.target, &field);
    let place = place.map_err(|e| e.with_value(to))?;
    write_image(request, &place, from, to)
}

/// Writes an image where it is declared, or the one key of the `images:` entry that decides it.
fn write_image(request: &RenderRequest<'_>, place: &Place, from: &str, to: &str) -> Result<Planned, Reason> {
    let document = request.index.document(&place.file, place.document);
    let (at, value) = match &place.form {
        PlaceForm::Image(entry) => image_key(place, entry, document.as_ref(), from, to)?,
        PlaceForm::ImageText(at) => (at.clone(), image_text(place, at, document.as_ref(), to)?),
        PlaceForm::Field(_) | PlaceForm::NewItem { .. } => {
            return write(request.target, place, &Json::from(to));
        }
    };
    let current = document.and_then(|d| at.find(&d)).as_ref().and_then(written);
    let place = Place { form: PlaceForm::Field(at), current, ..place.clone() };
    let mut planned = write(request.target, &place, &Json::from(value))?;
    planned.intents = vec![Intent {
        object: request.target.clone(),
        path: place.renders_to,
        expected: Expected::Value(Json::from(to)),
    }];
    Ok(planned)
}

/// The one key of an `images:` entry that has to change.
fn image_key(
    place: &Place,
    entry: &Address,
    document: Option<&Json>,
    from: &str,
    to: &str,
) -> Result<(Address, String), Reason> {
    let (now, want) = (ImageName::parse(from), ImageName::parse(to));
    let differs = [
        ("newName", now.repository != want.repository, Some(&want.repository)),
        ("newTag", now.tag != want.tag, want.tag.as_ref()),
        ("digest", now.digest != want.digest, want.digest.as_ref()),
    ];
    let changed: Vec<_> = differs.into_iter().filter(|(_, differs, _)| *differs).collect();
    let [(key, _, Some(value))] = changed[..] else {
        let text = format!("{from} and {to} differ in more than one key of {entry} in {}", place.file);
        return Err(edit_refused(text));
    };
    let entry_value = document.and_then(|d| entry.find(d));
    if !entry_value.is_some_and(|e| e[key].is_string()) {
        return Err(edit_refused(format!("{entry} in {} has no {key} to restore", place.file)));
    }
    Ok((entry.with(entry.path.clone().key(key)), value.clone()))
}

/// An `images:` entry as Argo CD writes it, `name=image` or `image` alone, with the new image.
fn image_text(place: &Place, at: &Address, document: Option<&Json>, to: &str) -> Result<String, Reason> {
    let refused = |why: &str| edit_refused(format!("{at} in {} {why} {to}", place.file));
    let entry = document.and_then(|d| at.find(d)).ok_or_else(|| refused("is not there to become"))?;
    let text = entry.as_str().unwrap_or_default();
    let want = ImageName::parse(to);
    if want.tag.is_none() && want.digest.is_none() {
        return Err(refused("needs a tag or a digest to become"));
    }
    match text.split_once('=') {
        Some((name, _)) => Ok(format!("{name}={to}")),
        None if ImageName::parse(text).repository == want.repository => Ok(to.to_owned()),
        None => Err(refused("names another repository than")),
    }
}

/// The pod template of the good commit, leaf by leaf. The restart annotation stays: it is not part of a
/// release.
fn pod_template(request: &RenderRequest<'_>) -> Result<Vec<Planned>, Vec<Reason>> {
    let single = |reason: Reason| vec![reason];
    let old_tree =
        request.old_tree.ok_or_else(|| single(edit_refused("the good commit's tree is not known")))?;
    let old_index = request.index.moved_to(old_tree);
    request.index.workload(request.target).map_err(single)?;
    old_index.workload(request.target).map_err(single)?;
    let template = |index: &Index| -> Result<BTreeMap<FieldPath, Json>, Vec<Reason>> {
        let object = index.object(request.target).map_err(single)?;
        let below = crate::layout::template_path();
        Ok(leaves(&object)
            .into_iter()
            .filter(|(p, _)| p.is_within(&below) && *p != restarted_path())
            .collect())
    };
    let (old, new) = (template(&old_index)?, template(request.index)?);
    let objects = (old_index.object(request.target), request.index.object(request.target));
    let (Ok(old_object), Ok(new_object)) = objects else { return Ok(Vec::new()) };
    let paths: BTreeSet<&FieldPath> = old.keys().chain(new.keys()).collect();
    let changed = paths.into_iter().filter(|path| old.get(path) != new.get(path));
    let leaf = |path: &FieldPath| -> Result<Planned, Reason> {
        if !same_items(path, &old_object, &new_object) {
            return Err(edit_refused(format!("{path}: a list item came or went since; restore it by hand")));
        }
        let (from, to) = (new.get(path), old.get(path));
        if from.into_iter().chain(to).any(|v| v.is_array() || v.is_object()) {
            return Err(edit_refused(format!("{path}: an empty map or list came or went since")));
        }
        if let Some(to) = to
            && let Some(planned) = values::by_path(request.index, request.target, path, to)
        {
            return planned;
        }
        let place = request.index.place_path(request.target, path);
        let place =
            place.map_err(|e| e.with_value(&to.and_then(written).unwrap_or_else(|| "absent".into())))?;
        match (from.and_then(Json::as_str), to) {
            (Some(from), Some(Json::String(to))) => write_image(request, &place, from, to),
            (_, Some(to)) => write(request.target, &place, to),
            (_, None) => remove(request.target, &place),
        }
    };
    collect(changed.map(leaf).collect())
}

/// Do both objects have every list item that `path` goes through?
fn same_items(path: &FieldPath, old: &Json, new: &Json) -> bool {
    let at_item = |end: usize| !matches!(path.0[end - 1], crate::layout::Step::Key(_));
    (1..=path.0.len()).filter(|&end| at_item(end)).all(|end| {
        let (item, list) = (FieldPath(path.0[..end].to_vec()), FieldPath(path.0[..end - 1].to_vec()));
        let length = |object| list.find(object).and_then(Json::as_array).map(Vec::len);
        item.find(old).is_some() && item.find(new).is_some() && length(old) == length(new)
    })
}

/// Sets the field at `place` to `value`.
fn write(resource: &WorkloadRef, place: &Place, value: &Json) -> Result<Planned, Reason> {
    let typed = match value {
        Json::String(text) => yaml::Value::Text(text.clone()),
        other => unwritten(&written(other).unwrap_or_default()),
    };
    let set = place.current.is_some();
    let edit = match &place.form {
        PlaceForm::NewItem { list, name, key } => list.edit(place.document, |document, path| {
            let name = ("name".to_owned(), yaml::Value::Text(name.clone()));
            yaml::Edit::Append { document, path, entries: vec![name, (key.clone(), typed)] }
        }),
        PlaceForm::Field(at) | PlaceForm::Image(at) | PlaceForm::ImageText(at) => {
            // What is there is replaced, never inserted a second time.
            at.edit(place.document, |document, path| match set {
                true => yaml::Edit::Set { document, path, value: typed },
                false => yaml::Edit::Put { document, path, value: typed },
            })
        }
    };
    Ok(Planned {
        edit: edit?,
        change: FieldChange {
            resource: resource.clone(),
            file: place.file.clone(),
            field: place.field(),
            from: place.current.clone(),
            to: written(value),
        },
        intents: vec![Intent {
            object: resource.clone(),
            path: place.renders_to.clone(),
            expected: Expected::Value(value.clone()),
        }],
        unrendered: None,
    })
}

fn remove(resource: &WorkloadRef, place: &Place) -> Result<Planned, Reason> {
    let PlaceForm::Field(at) = &place.form else {
        return Err(edit_refused(format!("{} in {} is not a field to take away", place.field(), place.file)));
    };
    Ok(Planned {
        edit: at.edit(place.document, |document, path| yaml::Edit::Remove { document, path })?,
        change: FieldChange {
            resource: resource.clone(),
            file: place.file.clone(),
            field: place.field(),
            from: place.current.clone(),
            to: None,
        },
        intents: vec![Intent {
            object: resource.clone(),
            path: place.renders_to.clone(),
            expected: Expected::Changed,
        }],
        unrendered: None,
    })
}

fn seal(request: &RenderRequest<'_>, planned: &[Planned]) -> Result<CheckedChanges, Reason> {
    let mut by_file: BTreeMap<&RepoPath, Vec<yaml::Edit>> = BTreeMap::new();
    let mut fields: Vec<(FieldChange, &yaml::Edit)> = Vec::new();
    for Planned { edit, change, .. } in planned {
        // Two containers may get their image from one entry.
        if !fields.iter().any(|(it, _)| it == change) {
            by_file.entry(&change.file).or_default().push(edit.clone());
            fields.push((change.clone(), edit));
        }
    }
    let rows: Vec<(String, &str, &str)> = fields
        .iter()
        .map(|(c, _)| (c.resource.to_string(), c.field.as_str(), c.to.as_deref().unwrap_or_default()))
        .collect();
    let change_id = ChangeId::of(rows.iter().map(|(resource, field, to)| (resource.as_str(), *field, *to)));
    let mut files = BTreeMap::new();
    let (mut diff, mut recipients) = (String::new(), BTreeSet::new());
    for (path, edits) in by_file {
        let before =
            request.tree.bytes(path, MAX_FILE_BYTES).map_err(|e| edit_refused(format!("{path} {e}")))?;
        let edited = if request.index.is_sealed(path) {
            let edited = sealed::apply(path, &before, &edits, request.index.access(), request.fresh)?;
            let of_file = fields.iter_mut().filter(|(change, _)| change.file == *path);
            of_file.for_each(|(change, edit)| sealed::conceal(change, edit, &edited));
            recipients.extend(sealed::recipients(path, &edited));
            edited
        } else {
            yaml::apply(&before, &edits).map_err(|e| edit_refused(format!("{path}: {}", causes(&e))))?
        };
        for it in planned.iter().filter(|it| it.unrendered.is_some() && it.change.file == *path) {
            unrendered::only_moves(it, &before, &edited)?;
        }
        push_diff(&mut diff, path, &before, &edited);
        files.insert(path.clone(), edited);
    }
    let intents: Vec<Intent> = planned.iter().flat_map(|p| intents_of(p, &fields)).collect();
    let carry: Vec<Intent> = planned.iter().flat_map(|p| values::carried(request.index, p)).collect();
    let proven = prove(&request.index.effect(&files)?, &intents, &carry)?;
    Ok(CheckedChanges {
        change_id,
        files: files.into_iter().collect(),
        fields: fields.into_iter().map(|(change, _)| change).collect(),
        diff,
        rendered: proven.rendered,
        unrendered: planned.iter().find_map(|it| it.unrendered.clone()),
        recipients: recipients.into_iter().collect(),
        objects_compared: u32::try_from(proven.objects).unwrap_or(u32::MAX),
        fields_changed: u32::try_from(proven.fields).unwrap_or(u32::MAX),
    })
}

/// What a planned change must do. A text that the file's rule encrypted is rendered as its ciphertext; counts are
/// rendered in the clear.
fn intents_of(planned: &Planned, fields: &[(FieldChange, &yaml::Edit)]) -> Vec<Intent> {
    let FieldChange { resource, file, field, .. } = &planned.change;
    let is_hidden = fields
        .iter()
        .any(|(it, _)| (&it.resource, &it.file, &it.field) == (resource, file, field) && it.is_sealed());
    let mut intents = planned.intents.clone();
    for intent in
        intents.iter_mut().filter(|it| is_hidden && matches!(it.expected, Expected::Value(Json::String(_))))
    {
        intent.expected = Expected::Changed;
    }
    intents
}

fn push_diff(diff: &mut String, path: &RepoPath, before: &[u8], after: &[u8]) {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let lines = similar::TextDiff::from_lines(before.as_ref(), after.as_ref());
    let text = lines.unified_diff().header(&format!("a/{path}"), &format!("b/{path}")).to_string();
    let room = MAX_DIFF_BYTES.saturating_sub(diff.len());
    if text.len() <= room {
        diff.push_str(&text);
    } else if room > 0 {
        diff.push_str(&text[..text.floor_char_boundary(room)]);
        diff.push_str("\n[the diff is longer than this]\n");
    }
}
