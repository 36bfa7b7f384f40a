//! Targets that nothing renders here, because their chart stands elsewhere or Helm cannot render it. A target and
//! the places that people named come in; the count at the named place goes out, or what to name. Nothing is
//! guessed: who brings a target is known by namespace, where its count stands is said by a person.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::address::Address;
use super::delivery::Beyond;
use super::kustomize::{Layer, Live};
use super::sources::MAX_FILE_BYTES;
use super::{Index, edit_refused};
use crate::model::change::FieldChange;
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::policy::{AllowedResource, WriteField, WriteTo};
use crate::model::reason::Reason;
use crate::model::workload::{ReplicaOwner, Workload};
use crate::yaml;

/// The count of a target that is not rendered, at the place a person named.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCount {
    pub file: RepoPath,
    pub document: usize,
    pub at: Address,
    /// As it stands there: a number, or a text of digits.
    pub current: Json,
    pub count: u32,
    /// For people: what was not rendered and who named the place.
    pub note: String,
}

/// A place as a person named it.
struct Named {
    file: RepoPath,
    document: usize,
    path: String,
    by: &'static str,
}

impl Index {
    /// What may bring `target` and is not rendered.
    fn behind(&self, target: &WorkloadRef) -> impl Iterator<Item = &Beyond> {
        let known = self.by_reference.contains_key(target);
        let near = move |it: &&Beyond| {
            !known && it.namespace.as_deref().is_none_or(|own| own == target.namespace.as_str())
        };
        self.delivered.beyond.iter().filter(near)
    }

    /// Layers of values that may have a hand in a target which is not rendered.
    pub(super) fn layers_behind(&self, target: &WorkloadRef) -> Vec<&Layer> {
        self.behind(target).flat_map(|it| &it.values).collect()
    }

    /// Everything not rendered that takes values from this place.
    pub(super) fn unrendered_users(&self, layer: &Layer) -> impl Iterator<Item = &Beyond> {
        self.delivered.beyond.iter().filter(move |it| {
            it.values.iter().any(|own| {
                (&own.file, own.document) == (&layer.file, layer.document)
                    && (layer.at.is_within(&own.at) || own.at.is_within(&layer.at))
            })
        })
    }

    /// Versions of the charts from elsewhere that may bring `target`, by the name of what brings them.
    #[must_use]
    pub fn versions_behind(&self, target: &WorkloadRef) -> Vec<(String, String)> {
        let version = |it: &Beyond| Some((it.label.clone(), it.version.clone()?));
        self.behind(target).filter_map(version).collect()
    }

    /// [`Index::workload`], or what a named place says about a target that is not rendered.
    ///
    /// # Errors
    /// As [`Index::workload`], with the line to write where a place has to be named.
    pub fn workload_of(&self, target: &WorkloadRef, write_to: &[WriteTo]) -> Result<Workload, Reason> {
        let refused = match self.workload(target) {
            Ok(workload) => return Ok(workload),
            Err(reason) => reason,
        };
        let Some(first) = self.behind(target).next() else { return Err(refused) };
        let stand_in = json!({
            "apiVersion": "apps/v1", "kind": target.kind,
            "metadata": {"name": target.name, "namespace": target.namespace},
        });
        let Some(stand_in) = Live::declared(&stand_in, &first.file, 0) else { return Err(refused) };
        let owner = self.owner_of(&stand_in, target)?;
        let named = self.named_count(target, write_to)?;
        let (file, replicas, note) = match (&owner, named) {
            (ReplicaOwner::Workload, None) => return Err(refused),
            (_, Some(named)) => (named.file, Some(named.count), named.note),
            (_, None) => (first.file.clone(), None, format!("{}, which {}", first.label, first.why)),
        };
        self.trusted()?;
        Ok(Workload {
            target: target.clone(),
            declared_in: file,
            replicas,
            owner,
            containers: Vec::new(),
            restarted_at: None,
            max_unavailable: None,
            last_release: None,
            previous: None,
            no_release: None,
            unrendered: Some(note),
        })
    }

    /// The count of a target that is not rendered, if a person named its place; `None` for a target that is
    /// rendered, or when nobody named a place.
    ///
    /// # Errors
    /// `EditRefused` when the place is not one that decides this target alone, or holds no count.
    pub fn named_count(
        &self,
        target: &WorkloadRef,
        write_to: &[WriteTo],
    ) -> Result<Option<NamedCount>, Reason> {
        if self.behind(target).next().is_none() {
            return Ok(None);
        }
        let Some(Named { file, document, path, by }) = self.named_place(target, write_to)? else {
            return Ok(None);
        };
        let at = Address::parse(&path)
            .ok_or_else(|| edit_refused(format!("{by} names {path:?}, which is not a field path")))?;
        let beyond = self.only_user(target, &file, document, &at)?;
        let refused = |what: &str| edit_refused(format!("{path} in {file}, named by {by}, {what}"));
        let current = self.value_at(&file, document, &path).filter(|it| !it.is_null());
        let current = current.ok_or_else(|| {
            refused("is not there; write today's count there first, because nothing else here shows it")
        })?;
        let digits = match &current {
            Json::Number(_) if self.is_plain_count(&file, document, &at) => current.to_string(),
            Json::String(text) => text.clone(),
            _ => String::new(),
        };
        let count = digits.parse::<u32>().ok().filter(|it| it.to_string() == digits);
        let count = count.ok_or_else(|| refused(&format!("holds {current}, not a plain whole number")))?;
        let note = format!("{}, which {}; place named by {by}", beyond.label, beyond.why);
        Ok(Some(NamedCount { file, document, at, current, count, note }))
    }

    /// Where tars wrote `change` before: an undo has no policy to name its place, and a change does not say which
    /// document of the file it was.
    ///
    /// # Errors
    /// As [`Index::named_count`], and when no document, or more than one, holds the count there.
    pub fn written_count(&self, change: &FieldChange) -> Result<Option<NamedCount>, Reason> {
        let FieldChange { resource: target, file, field, from: held, .. } = change;
        let layers = self.layers_behind(target).into_iter().filter(|it| it.file == *file);
        let documents: BTreeSet<usize> = layers.map(|it| it.document).collect();
        let resource = AllowedResource { kind: target.kind.clone(), name: target.name.clone() };
        let named = |document| {
            let (resource, file, path) = (Some(resource.clone()), file.clone(), field.clone());
            let entry = WriteTo { field: WriteField::Replicas, resource, file, document, path };
            self.named_count(target, std::slice::from_ref(&entry)).transpose()
        };
        let all: Vec<Result<NamedCount, Reason>> = documents.into_iter().filter_map(named).collect();
        let holds = |it: &NamedCount| Some(it.count.to_string()) == *held;
        let mut holding = all.iter().flatten().filter(|it| holds(it));
        match (holding.next(), holding.next()) {
            (Some(one), None) => Ok(Some(one.clone())),
            (Some(_), Some(_)) => {
                Err(edit_refused(format!("{field} is set to the same value twice in {file}")))
            }
            (None, _) => match all.into_iter().next() {
                None => Ok(None),
                Some(Ok(other)) => Err(edit_refused(format!(
                    "{field} in {file} holds {}: somebody changed it since",
                    other.count
                ))),
                Some(Err(why)) => Err(why),
            },
        }
    }

    fn named_place(&self, target: &WorkloadRef, write_to: &[WriteTo]) -> Result<Option<Named>, Reason> {
        let counts = || write_to.iter().filter(|it| it.field == WriteField::Replicas);
        let own = |it: &&WriteTo| {
            it.resource.as_ref().is_some_and(|own| own.kind == target.kind && own.name == target.name)
        };
        let mut entries = counts().filter(own);
        match (entries.next(), entries.next()) {
            (Some(_), Some(_)) => Err(edit_refused(format!("writeTo names replicas of {target} twice"))),
            (Some(it), None) => Ok(Some(Named {
                file: it.file.clone(),
                document: it.document,
                path: it.path.clone(),
                by: "writeTo",
            })),
            (None, _) if counts().any(|it| it.resource.is_none()) => Err(edit_refused(format!(
                "{target} is not rendered here, so its writeTo entry has to say whose count it names: add \
                 `resource: {{kind: {}, name: {}}}`",
                target.kind, target.name
            ))),
            (None, _) => self.marked_place(target),
        }
    }

    /// A comment that names field and object: without an object to render, the field alone says nothing.
    fn marked_place(&self, target: &WorkloadRef) -> Result<Option<Named>, Reason> {
        let marker = format!("replicas {}/{}", target.kind, target.name);
        let mut documents: Vec<(&RepoPath, usize)> =
            self.layers_behind(target).into_iter().map(|it| (&it.file, it.document)).collect();
        documents.sort();
        documents.dedup();
        let mut found = Vec::new();
        for (file, document) in documents {
            let Ok(bytes) = self.tree().bytes(file, MAX_FILE_BYTES) else { continue };
            let marks = yaml::markers(&bytes, document).unwrap_or_default().into_iter();
            found.extend(marks.filter(|it| it.marker == marker).map(|it| Named {
                file: file.clone(),
                document,
                path: it.path.to_string(),
                by: "a $tars comment",
            }));
        }
        if found.len() > 1 {
            return Err(edit_refused(format!("several places are marked for the {marker}")));
        }
        Ok(found.pop())
    }

    /// The one delivery that takes values from here, and may bring the target.
    fn only_user(
        &self,
        target: &WorkloadRef,
        file: &RepoPath,
        document: usize,
        at: &Address,
    ) -> Result<&Beyond, Reason> {
        let place = at.text.as_ref().unwrap_or(&at.path).clone();
        let layer = Layer { file: file.clone(), document, at: place };
        let users: Vec<&Beyond> = self.unrendered_users(&layer).collect();
        let rendered = self.delivered.releases.iter().find(|release| {
            release
                .parts
                .iter()
                .any(|part| (&part.file, part.document) == (file, document) && layer.at.is_within(&part.at))
        });
        match (&users[..], rendered) {
            ([only], None) if self.behind(target).any(|it| std::ptr::eq(it, *only)) => Ok(*only),
            ([only], None) => Err(edit_refused(format!(
                "{} takes values from {at} in {file}, but brings nothing to {}",
                only.label, target.namespace
            ))),
            ([], _) => {
                let known: Vec<&str> = self.behind(target).map(|it| it.label.as_str()).collect();
                Err(edit_refused(format!(
                    "{at} in {file} (document {document}) is no value of what may bring {target}: {}",
                    known.join(", ")
                )))
            }
            (_, Some(release)) => Err(edit_refused(format!(
                "{at} in {file} is a value of {} as well, which would change with it",
                release.label
            ))),
            ([first, second, ..], None) => Err(edit_refused(format!(
                "{at} in {file} is a value of {} and of {}: both would change",
                first.label, second.label
            ))),
        }
    }

    /// The line that names the count of a target that is not rendered; empty when nothing takes values from
    /// this repository.
    pub(super) fn write_to_line(&self, target: &WorkloadRef) -> String {
        let mut behind: Vec<&Beyond> = self.behind(target).filter(|it| !it.values.is_empty()).collect();
        let named = |it: &&Beyond| it.names.iter().any(|name| target.name.as_str().contains(name.as_str()));
        behind.sort_by_key(|it| !named(it));
        let Some(layer) = behind.first().and_then(|it| it.values.first()) else { return String::new() };
        let key = match layer.at.to_string() {
            at if at.is_empty() => "some.key".to_owned(),
            at if at.ends_with("parameters") => format!("{at}[0].value"),
            at if at.ends_with(".values")
                && self.value_at(&layer.file, layer.document, &at).is_some_and(|it| it.is_string()) =>
            {
                format!("{at}|some.key")
            }
            at => format!("{at}.some.key"),
        };
        let document =
            if layer.document == 0 { String::new() } else { format!(", document: {}", layer.document) };
        format!(
            "; it is not rendered here, so a ScaleOut needs the policy to say where the count stands: `writeTo: \
             [{{field: replicas, resource: {{kind: {}, name: {}}}, file: {}{document}, path: {key}}}]`",
            target.kind, target.name, layer.file
        )
    }
}
