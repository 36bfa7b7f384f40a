//! Value layers of a Helm release, with the place where each is written. Bodies and files come in, [`Part`]s go
//! out, and a finished release becomes what it delivers.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Delivery, Reached, World};
use crate::layout::helm::{Chart, Form, Part, Release, Slot};
use crate::layout::kustomize::{Layer, Live};
use crate::layout::objects::FieldPath;
use crate::model::ids::RepoPath;

/// Longest release name; Helm refuses more.
pub const MAX_NAME: usize = 53;

/// Values that stand in the delivery's own document, at `at` of its body.
#[must_use]
pub fn own(delivery: &Delivery, world: World<'_>, at: &FieldPath, form: Form, slot: Slot) -> Option<Part> {
    let value = at.find(&delivery.value)?;
    let layer = delivery.layer(at);
    let source = world.ground.reader.file(&layer.file);
    let raw = source.as_ref().and_then(|file| file.values.get(layer.document));
    let bytes = world.ground.bytes(&layer.file).unwrap_or_else(|_| Arc::from(&b""[..]));
    // A layer above, or a template, made something else of what stands in the file.
    let same = raw.and_then(|raw| layer.at.find(raw)) == Some(value);
    let text = |value: &Json| match value {
        Json::String(text) => Arc::from(text.as_bytes()),
        other => Arc::from(other.to_string().as_bytes()),
    };
    let fixed = (!same).then(|| text(value));
    Some(Part {
        file: layer.file,
        document: layer.document,
        at: layer.at,
        form,
        slot,
        prefix: Vec::new(),
        bytes,
        fixed,
        locked: None,
    })
}

/// A file of values.
///
/// # Errors
/// Why it cannot be read.
pub fn file(world: World<'_>, path: &RepoPath) -> Result<Part, String> {
    let bytes = world.ground.values(path).map_err(|why| format!("the value file {path} {why}"))?;
    Ok(Part {
        file: path.clone(),
        document: 0,
        at: FieldPath::default(),
        form: Form::File,
        slot: Slot::Values,
        prefix: Vec::new(),
        bytes,
        fixed: None,
        locked: None,
    })
}

/// Values under a key of another object (a `ConfigMap`).
#[must_use]
pub fn of_object(world: World<'_>, live: &Live, at: &FieldPath) -> Option<Part> {
    let value = at.find(&live.value)?.as_str()?;
    let file = &live.declared.file;
    let source = world.ground.reader.file(file);
    let raw = source.as_ref().and_then(|it| it.values.get(live.declared.document));
    let same = raw.and_then(|raw| at.find(raw)).and_then(Json::as_str) == Some(value);
    Some(Part {
        file: file.clone(),
        document: live.declared.document,
        at: at.clone(),
        form: Form::Text,
        slot: Slot::Values,
        prefix: Vec::new(),
        bytes: world.ground.bytes(file).ok()?,
        fixed: (!same).then(|| Arc::from(value.as_bytes())),
        locked: None,
    })
}

/// Defaults of a chart and of the charts inside it, weakest first.
#[must_use]
pub fn defaults(chart: &Chart) -> Vec<Part> {
    let scopes = chart.scopes.iter().rev();
    scopes
        .filter_map(|(dir, prefix)| {
            let inside = if dir.is_empty() { "values.yaml".to_owned() } else { format!("{dir}/values.yaml") };
            let (path, bytes) = chart.files.get(&inside)?;
            Some(Part {
                file: path.clone(),
                document: 0,
                at: FieldPath::default(),
                form: Form::File,
                slot: Slot::ChartFile(inside),
                prefix: prefix.clone(),
                bytes: Arc::clone(bytes),
                fixed: None,
                locked: None,
            })
        })
        .collect()
}

/// Where each of these values stands.
fn layers(parts: &[Part]) -> Vec<Layer> {
    let own = parts.iter().filter(|part| part.fixed.is_none());
    own.map(|part| Layer { file: part.file.clone(), document: part.document, at: part.at.clone() }).collect()
}

/// Renders the release and gives every object its namespace.
#[must_use]
pub fn deliver(delivery: &Delivery, release: Release, world: World<'_>) -> Reached {
    let release = Arc::new(release);
    let namespace = release.target_namespace.clone();
    let outcome = release.outcome(world.helm, &std::collections::BTreeMap::new());
    let mut reached = match outcome.as_deref() {
        Some(Ok(_)) => Reached::default(),
        Some(Err(why)) => Reached::beyond(delivery, Some(&namespace), format!("cannot be rendered: {why}")),
        None => Reached::beyond(delivery, Some(&namespace), "was not rendered: that needs the program helm"),
    };
    reached = reached.with_values(&layers(&release.parts), None);
    reached.waits = outcome.is_none();
    if let Some(outcome) = outcome {
        reached.live = release.objects(&outcome);
    }
    put_into(&mut reached.live, &namespace);
    reached.claims.charts.insert(release.chart.dir.clone());
    reached.releases.push(release);
    reached
}

/// Objects without a namespace get this one, unless their kind has none.
pub fn put_into(objects: &mut [Live], namespace: &str) {
    for live in objects.iter_mut().filter(|live| live.namespace.is_none() && !live.is_cluster_scoped()) {
        if !namespace.is_empty() {
            live.namespace = Some(namespace.to_owned());
            live.value["metadata"]["namespace"] = Json::from(namespace);
        }
    }
}
