//! From a rendered field back to the value that decides it, by trying: every candidate among the values gets the
//! wanted value, the release is rendered, and the candidate that moves exactly the wanted field is the place.
//! Names of keys mean nothing here. A release and a field come in; a layer and a path go out, or the reasons.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::attempt::{Moved, Outcome, attempt};
use super::release::{Edited, Form, Part, Release, Slot};
use super::{HelmObject, HelmRenders};
use crate::layout::objects::{FieldPath, Step};
use crate::layout::owners::RESTARTED_AT;
use crate::model::ids::RepoPath;
use crate::model::reason::{Reason, ReasonCode};

/// Most candidates that are tried for one field.
const MAX_CANDIDATES: usize = 96;

/// The field of a rendered object, what it holds and what it shall hold.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    pub kind: &'a str,
    /// As Helm rendered it.
    pub name: &'a str,
    pub path: &'a FieldPath,
    pub now: Option<&'a Json>,
    pub wanted: &'a Json,
}

/// Where the value is written, and what has to stand there.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteValue {
    pub part: Part,
    /// Below the layer's root.
    pub inside: FieldPath,
    pub value: Json,
    pub current: Option<Json>,
}

/// A scalar that might decide the field, or a map that might take it.
#[derive(Debug, Clone)]
struct Candidate {
    part: usize,
    /// In the values of the release.
    value_path: FieldPath,
    held: Json,
    /// What to write so that the field could become what is wanted.
    writes: Vec<Json>,
    /// Does it hold (a part of) what the field shows now?
    carries: bool,
}

/// Finds the place. `shared` says who else uses a layer.
///
/// # Errors
/// `EditRefused` while Helm has not answered, when nothing or too much moves the field; `AmbiguousTarget` when
/// several values do, or when other releases share the only place.
pub fn follow(
    release: &Arc<Release>,
    sought: &Sought<'_>,
    helm: &HelmRenders,
    shared: &dyn Fn(&Part) -> Vec<String>,
) -> Result<WriteValue, Reason> {
    if let Some(why) = release.refusals.first() {
        return Err(refused(why.clone()));
    }
    let Some(outcome) = release.outcome(helm, &Edited::new()) else { return Err(pending(release)) };
    let base = outcome.as_ref().as_ref().map_err(|why| refused(why.clone()))?;
    let hunt = Hunt { release, sought, helm, base };
    let candidates = hunt.candidates()?;
    let mut found = Vec::new();
    let mut near = Vec::new();
    let mut waits = false;
    for candidate in &candidates {
        match hunt.try_candidate(candidate) {
            Tried::Pending => waits = true,
            Tried::Exact(value) => found.push((candidate, value)),
            Tried::Other(Some(why)) => near.push(why),
            Tried::Other(None) => {}
        }
    }
    if waits {
        return Err(pending(release));
    }
    let carrying: Vec<_> = found.iter().filter(|(c, _)| c.carries).collect();
    let chosen = if carrying.is_empty() { found.iter().collect() } else { carrying };
    match chosen[..] {
        [(candidate, value)] => hunt.placed(candidate, value, shared),
        [] => Err(hunt.nothing(&near)),
        [..] => Err(hunt.several(&chosen)),
    }
}

/// The fields of rendered objects that the scalar at `field` of `file` decides.
pub fn moved_by(
    release: &Arc<Release>,
    file: &RepoPath,
    document: usize,
    field: (&FieldPath, Option<&FieldPath>),
    helm: &HelmRenders,
) -> Result<Vec<Moved>, Reason> {
    let Some(outcome) = release.outcome(helm, &Edited::new()) else { return Err(pending(release)) };
    let base = outcome.as_ref().as_ref().map_err(|why| refused(why.clone()))?;
    let (at, inner) = field;
    let of_file = |part: &&Part| part.file == *file && part.document == document;
    let holds = |part: &&Part| match part.form {
        Form::Text => part.at == *at && inner.is_some(),
        _ => at.is_within(&part.at) && inner.is_none(),
    };
    let Some(part) = release.parts.iter().rev().filter(of_file).find(holds) else { return Ok(Vec::new()) };
    let inside = inner.map_or_else(|| FieldPath(at.0[part.at.0.len()..].to_vec()), Clone::clone);
    let values = part.values().map_err(refused)?;
    let held = if part.form == Form::Parameter { Some(&values) } else { inside.find(&values) };
    let Some(other) = held.and_then(variant) else { return Ok(Vec::new()) };
    match attempt(release, base, helm, part, (&inside, &other)) {
        Outcome::Pending => Err(pending(release)),
        Outcome::Moves(moved) => Ok(moved.into_iter().map(|(field, _)| field).collect()),
        Outcome::Failed(why) => Err(refused(why)),
        Outcome::Reshapes => Err(refused(format!("{at} in {file} decides which objects there are"))),
    }
}

enum Tried {
    Pending,
    Exact(Json),
    /// With what it moves besides, when it moves the field at all.
    Other(Option<String>),
}

struct Hunt<'a> {
    release: &'a Arc<Release>,
    sought: &'a Sought<'a>,
    helm: &'a HelmRenders,
    base: &'a [HelmObject],
}

impl Hunt<'_> {
    /// Scalars that could show in the field. For every path only the strongest layer that sets it counts.
    fn candidates(&self) -> Result<Vec<Candidate>, Reason> {
        let mut strongest: BTreeMap<FieldPath, (usize, Json)> = BTreeMap::new();
        for (at, part) in self.release.parts.iter().enumerate().rev() {
            let root = value_root(part);
            for (inside, value) in everything(&part.values().map_err(refused)?) {
                let path = FieldPath(root.0.iter().chain(&inside.0).cloned().collect());
                let _ = strongest.entry(path).or_insert((at, value));
            }
        }
        let mut all = Vec::new();
        for (value_path, (part, held)) in strongest {
            let is_map = held.is_object();
            let key = self.sought.path.0.last();
            let path = match (is_map, key) {
                (true, Some(Step::Key(key))) if !value_path.0.is_empty() => value_path.key(key),
                (true, _) => continue,
                (false, _) => value_path,
            };
            let (writes, carries) =
                if is_map { (self.map_writes(&held), false) } else { self.scalar_writes(&held) };
            if !writes.is_empty() {
                let held = if is_map { Json::Null } else { held };
                all.push(Candidate { part, value_path: path, held, writes, carries });
            }
        }
        if all.len() > MAX_CANDIDATES {
            return Err(refused(format!(
                "{} values of {} could decide {}, more than {MAX_CANDIDATES} are not tried; {}",
                all.len(),
                self.release.label,
                self.sought.path,
                self.hint()
            )));
        }
        Ok(all)
    }

    /// A map of texts may take a key that the field's own map lacks: annotations, labels.
    fn map_writes(&self, held: &Json) -> Vec<Json> {
        let texts = held.as_object().is_some_and(|map| map.values().all(Json::is_string));
        let absent = self.sought.now.is_none() && self.sought.wanted.is_string();
        if texts && absent { vec![self.sought.wanted.clone()] } else { Vec::new() }
    }

    fn scalar_writes(&self, held: &Json) -> (Vec<Json>, bool) {
        let wanted = plain(self.sought.wanted);
        let now = self.sought.now.map(plain);
        let text = plain(held);
        let mut writes: Vec<String> = Vec::new();
        let empty = text.is_empty() || text == "0";
        if now.as_deref() == Some(text.as_str()) {
            writes.push(wanted);
            return (self.typed(held, writes), true);
        }
        if empty {
            return (self.typed(held, pieces(&wanted, self.sought.wanted.is_string())), false);
        }
        if held.is_boolean() || !self.sought.wanted.is_string() {
            return (Vec::new(), false);
        }
        for (at, _) in now.as_deref().unwrap_or_default().match_indices(&text) {
            let now = now.as_deref().unwrap_or_default();
            let (before, after) = (&now[..at], &now[at + text.len()..]);
            let apart = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
            let middle = wanted.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            if let Some(middle) = middle.filter(|m| apart && !m.is_empty()) {
                writes.push(middle.to_owned());
            }
        }
        (self.typed(held, writes), true)
    }

    /// Texts as values of the type that `held` has; an empty slot takes the type of the field.
    fn typed(&self, held: &Json, texts: Vec<String>) -> Vec<Json> {
        let number = |text: &str| text.parse::<i64>().ok().map(Json::from);
        let typed = |text: String| match held {
            Json::Number(_) if !self.sought.wanted.is_string() => number(&text),
            Json::Number(_) => number(&text).or(Some(Json::from(text))),
            Json::String(held) if !held.is_empty() => Some(Json::from(text)),
            Json::Null | Json::String(_) if self.sought.wanted.is_number() => number(&text),
            Json::Null | Json::String(_) => Some(Json::from(text)),
            Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        };
        texts.into_iter().filter_map(typed).collect()
    }

    fn try_candidate(&self, candidate: &Candidate) -> Tried {
        let part = &self.release.parts[candidate.part];
        let Some(inside) = inside(part, &candidate.value_path) else { return Tried::Other(None) };
        self.try_writes(part, &inside, &candidate.value_path, &candidate.writes)
    }

    fn try_writes(&self, part: &Part, inside: &FieldPath, path: &FieldPath, writes: &[Json]) -> Tried {
        let mut answer = Tried::Other(None);
        let mut waits = false;
        for value in writes {
            match attempt(self.release, self.base, self.helm, part, (inside, value)) {
                Outcome::Pending => waits = true,
                Outcome::Failed(_) | Outcome::Reshapes => {}
                Outcome::Moves(moved) => {
                    let moved = self.without_empty_parents(moved);
                    let ours = moved.iter().find(|(field, _)| self.is_sought(field));
                    match ours {
                        None => {}
                        Some(_) if moved.len() > 1 => {
                            let others = moved.iter().filter(|(field, _)| !self.is_sought(field));
                            let others: Vec<String> = others.take(3).map(|(f, _)| f.to_string()).collect();
                            let text = format!("{path} in {} moves {} too", part.file, others.join(", "));
                            answer = Tried::Other(Some(text));
                        }
                        Some((_, to)) if to.as_ref() != Some(self.sought.wanted) => {}
                        Some(_) => match self.follows(part, inside, value) {
                            // An earlier way of writing it that is not known yet might do as well.
                            Some(true) if !waits => return Tried::Exact(value.clone()),
                            Some(_) => {}
                            None => waits = true,
                        },
                    }
                }
            }
        }
        if waits { Tried::Pending } else { answer }
    }

    /// With yet another value, does the field move again? Otherwise it was a switch.
    fn follows(&self, part: &Part, inside: &FieldPath, value: &Json) -> Option<bool> {
        let Some(other) = variant(value) else { return Some(false) };
        match attempt(self.release, self.base, self.helm, part, (inside, &other)) {
            Outcome::Pending => None,
            Outcome::Failed(_) | Outcome::Reshapes => Some(false),
            Outcome::Moves(moved) => {
                let moved = self.without_empty_parents(moved);
                Some(matches!(&moved[..], [(field, to)] if self.is_sought(field)
                    && to.as_ref() != Some(self.sought.wanted) && to.as_ref() != self.sought.now))
            }
        }
    }

    fn is_sought(&self, field: &Moved) -> bool {
        field.kind == self.sought.kind && field.name == self.sought.name && field.path == *self.sought.path
    }

    /// `annotations: {}` that goes when the first annotation comes says nothing of its own.
    fn without_empty_parents(&self, mut moved: Vec<(Moved, Option<Json>)>) -> Vec<(Moved, Option<Json>)> {
        moved.retain(|(field, to)| {
            let above = self.sought.path.is_within(&field.path) && field.path != *self.sought.path;
            !(above && to.is_none())
        });
        moved
    }

    /// The layer to write: where the value stands, or the strongest layer of this release alone.
    fn placed(
        &self,
        candidate: &Candidate,
        value: &Json,
        shared: &dyn Fn(&Part) -> Vec<String>,
    ) -> Result<WriteValue, Reason> {
        let own = &self.release.parts[candidate.part];
        let sharers: Vec<String> = own.locked.iter().cloned().chain(shared(own)).collect();
        let of_a_vendored_chart = matches!(own.slot, Slot::ChartFile(_)) && !own.prefix.is_empty();
        if sharers.is_empty() && !of_a_vendored_chart {
            let inside = inside(own, &candidate.value_path).unwrap_or_default();
            let current = (!candidate.held.is_null()).then(|| candidate.held.clone());
            return Ok(WriteValue { part: own.clone(), inside, value: value.clone(), current });
        }
        let above = self.release.parts.iter().skip(candidate.part + 1).rev();
        let usable = above
            .filter(|part| part.form != Form::Parameter && part.fixed.is_none() && part.locked.is_none());
        for part in usable.filter(|part| shared(part).is_empty()) {
            let Some(inside) = inside(part, &candidate.value_path) else { continue };
            let writes = std::slice::from_ref(value);
            match self.try_writes(part, &inside, &candidate.value_path, writes) {
                Tried::Pending => return Err(pending(self.release)),
                Tried::Exact(value) => {
                    return Ok(WriteValue { part: part.clone(), inside, value, current: None });
                }
                Tried::Other(_) => {}
            }
        }
        let sharers = sharers.into_iter().take(5).collect::<Vec<_>>().join(", ");
        let users = if sharers.is_empty() { "a vendored chart".to_owned() } else { sharers };
        let text = format!(
            "{} of {} comes from {} in {}, which belongs to {users} as well, and {} has no layer of its own \
             that can take it; {}",
            self.sought.path,
            self.sought.name,
            candidate.value_path,
            own.file,
            self.release.label,
            self.hint()
        );
        Err(Reason::new(ReasonCode::AmbiguousTarget, text))
    }

    fn nothing(&self, near: &[String]) -> Reason {
        let near = near.iter().take(3).map(|why| format!("; {why}")).collect::<String>();
        refused(format!(
            "no value of {} moves {} of {}/{} to {} and nothing else{near}; {}",
            self.release.label,
            self.sought.path,
            self.sought.kind,
            self.sought.name,
            plain(self.sought.wanted),
            self.hint()
        ))
    }

    fn several(&self, found: &[&(&Candidate, Json)]) -> Reason {
        let places = found.iter().take(5).map(|(candidate, _)| {
            format!("{} in {}", candidate.value_path, self.release.parts[candidate.part].file)
        });
        let places: Vec<String> = places.collect();
        let text = format!(
            "several values of {} move {} of {}: {}; {}",
            self.release.label,
            self.sought.path,
            self.sought.name,
            places.join(", "),
            self.hint()
        );
        Reason::new(ReasonCode::AmbiguousTarget, text)
    }

    /// How a policy says where to write.
    fn hint(&self) -> String {
        let file = self.release.parts.last().map_or("apps/x/values.yaml", |part| part.file.as_str());
        let field = match self.sought.path.0.last() {
            Some(Step::Key(key)) if key == "image" => "image",
            Some(Step::Key(key)) if key == RESTARTED_AT => "restartedAt",
            Some(Step::Key(key)) if key.starts_with("minReplica") => "minReplicas",
            _ => "replicas",
        };
        format!(
            "if a value does, say which with the policy's `writeTo: [{{field: {field}, file: {file}, path: some.key}}]`"
        )
    }
}

fn refused(why: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::EditRefused, why)
}

fn pending(release: &Release) -> Reason {
    refused(format!("{} was not rendered: that needs the program helm", release.label))
}

/// Root of a layer in the values of the release; a parameter's is its whole name.
fn value_root(part: &Part) -> FieldPath {
    match &part.slot {
        Slot::Set { name, .. } if name.contains(['\\', '[', '{', '"']) => FieldPath::default().key(name),
        Slot::Set { name, .. } => name.split('.').fold(FieldPath::default(), |path, key| path.key(key)),
        Slot::At(path) => path.iter().fold(FieldPath::default(), |path, key| path.key(key)),
        Slot::ChartFile(_) | Slot::Values => part.root(),
    }
}

fn inside(part: &Part, value: &FieldPath) -> Option<FieldPath> {
    match part.slot {
        Slot::Set { .. } | Slot::At(_) => (*value == value_root(part)).then(FieldPath::default),
        Slot::ChartFile(_) | Slot::Values => part.inside(value),
    }
}

/// Every scalar, null and map of `values` by its path.
fn everything(values: &Json) -> Vec<(FieldPath, Json)> {
    fn walk(value: &Json, at: &mut Vec<Step>, found: &mut Vec<(FieldPath, Json)>) {
        match value {
            Json::Object(map) => {
                found.push((FieldPath(at.clone()), value.clone()));
                for (key, entry) in map {
                    at.push(Step::Key(key.clone()));
                    walk(entry, at, found);
                    at.pop();
                }
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push(Step::At(index));
                    walk(item, at, found);
                    at.pop();
                }
            }
            _ => found.push((FieldPath(at.clone()), value.clone())),
        }
    }
    let mut found = Vec::new();
    walk(values, &mut Vec::new(), &mut found);
    found
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// What an empty slot might take: the whole text, or the parts of an image reference.
fn pieces(wanted: &str, is_text: bool) -> Vec<String> {
    let mut all = vec![wanted.to_owned()];
    if is_text {
        let digest = wanted.split_once('@').map(|(_, digest)| digest);
        let name = wanted.split('@').next().unwrap_or_default();
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let colon = name[slash..].find(':').map(|at| slash + at);
        all.extend(digest.map(str::to_owned));
        all.extend(colon.map(|at| name[at + 1..].to_owned()));
        all.extend(colon.map(|at| name[..at].to_owned()));
    }
    all
}

/// Another value of the same type.
fn variant(value: &Json) -> Option<Json> {
    match value {
        Json::Number(number) => number.as_i64().map(|n| Json::from(n.saturating_add(1))),
        Json::String(text) => Some(match text.parse::<i64>() {
            Ok(number) => Json::from(number.saturating_add(1).to_string()),
            Err(_) => Json::from(format!("{text}-b")),
        }),
        _ => None,
    }
}
