//! Flux `HelmRelease`s whose chart is a folder of this repository. A delivery comes in, the objects it brings go
//! out. The order of values is Flux's: `values` wins over `valuesFrom`, those over the chart's `valuesFiles`.

use serde_json::{Value as Json, json};

use super::flux::{Origin, origin};
use super::values;
use super::{Delivery, Reached, World, overrides};
use crate::layout::helm::{Chart, Form, Part, Release, Slot};
use crate::layout::kustomize::{Layer, resolve};
use crate::layout::objects::{FieldPath, Step};
use crate::model::ids::RepoPath;

/// Renders the release.
#[must_use]
pub fn render(delivery: &Delivery, world: World<'_>) -> Reached {
    let spec = &delivery.value["spec"];
    let namespace = spec["targetNamespace"].as_str().unwrap_or(&delivery.namespace);
    let mut reached = release(delivery, world).unwrap_or_else(|why| {
        let version = chart_body(delivery, world).ok().and_then(|(body, _)| body["version"].as_str());
        let reached = Reached::beyond(delivery, Some(namespace), why);
        reached.with_values(&value_places(delivery, world), version)
    });
    for (index, entry) in spec["postRenderers"].as_array().into_iter().flatten().enumerate() {
        let settings = &entry["kustomize"];
        let wanted = json!({"patches": settings["patches"], "images": settings["images"]});
        let mut found = overrides::of_flux(&wanted, &delivery.label());
        for key in ["patchesStrategicMerge", "patchesJson6902"] {
            if settings[key].as_array().is_some_and(|list| !list.is_empty()) {
                found.refusals.push(format!("{} uses {key}, which tars does not render", delivery.label()));
            }
        }
        let at = FieldPath([&FieldPath::keys(["spec", "postRenderers"]).0[..], &[Step::At(index)]].concat());
        let layer = delivery.layer(&at.key("kustomize"));
        reached.live = overrides::apply(std::mem::take(&mut reached.live), found, None, ("", &layer), world);
    }
    reached
}

/// Where the values of a release stand that is not rendered.
fn value_places(delivery: &Delivery, world: World<'_>) -> Vec<Layer> {
    let spec = &delivery.value["spec"];
    let own = spec["values"].is_object().then(|| delivery.layer(&FieldPath::keys(["spec", "values"])));
    let from = spec["valuesFrom"].as_array().into_iter().flatten().filter_map(|reference| {
        let name = reference["name"].as_str()?;
        let map = world.object("ConfigMap", &delivery.namespace, name)?;
        let key = reference["valuesKey"].as_str().unwrap_or("values.yaml");
        let wanted = reference["kind"] == "ConfigMap" && !reference["targetPath"].is_string();
        let (file, document) = (map.declared.file.clone(), map.declared.document);
        wanted.then(|| Layer { file, document, at: FieldPath::keys(["data"]).key(key) })
    });
    own.into_iter().chain(from).collect()
}

/// The body that names the chart: inside the release, or a `HelmChart` it points at.
fn chart_body<'a>(delivery: &'a Delivery, world: World<'a>) -> Result<(&'a Json, String), String> {
    let spec = &delivery.value["spec"];
    let reference = &spec["chartRef"];
    if reference.is_null() {
        return Ok((&spec["chart"]["spec"], delivery.namespace.clone()));
    }
    let (kind, name) = (reference["kind"].as_str().unwrap_or_default(), reference["name"].as_str());
    let namespace = reference["namespace"].as_str().unwrap_or(&delivery.namespace);
    let name = name.unwrap_or_default();
    let found = world.object("HelmChart", namespace, name).filter(|_| kind == "HelmChart");
    found
        .map(|chart| (&chart.value["spec"], namespace.to_owned()))
        .ok_or_else(|| format!("brings the chart of the {kind} {name}, which is not in the repository"))
}

fn release(delivery: &Delivery, world: World<'_>) -> Result<Reached, String> {
    let spec = &delivery.value["spec"];
    let (body, chart_namespace) = chart_body(delivery, world)?;
    let path = body["chart"].as_str().unwrap_or_default();
    let (note, astray) = match origin(&body["sourceRef"], &chart_namespace, world) {
        Origin::Here { note, astray } => (note, astray),
        Origin::Elsewhere { why, .. } => return Err(format!("brings the chart {path}, which {why}")),
    };
    let dir = resolve("", path.trim_start_matches('/'));
    let dir = dir.ok_or_else(|| format!("brings the chart {path:?} from outside the repository"))?;
    let mut chart = Chart::read(world.ground, &dir)?;
    let mut parts = chart_values(&mut chart, body, &dir, world)?;
    if body["reconcileStrategy"] != "Revision" {
        // The controller packs the chart again only when its version changes.
        let locked = format!("{path}, which Flux ships only when its version changes (reconcileStrategy)");
        parts.iter_mut().for_each(|part| part.locked = Some(locked.clone()));
    }
    parts.extend(values_from(delivery, spec, world)?);
    if spec["values"].as_object().is_some_and(|map| !map.is_empty()) {
        let at = FieldPath::keys(["spec", "values"]);
        parts.extend(values::own(delivery, world, &at, Form::Map, Slot::Values));
    }
    let target = spec["targetNamespace"].as_str();
    let name = match (spec["releaseName"].as_str(), target) {
        (Some(name), _) => name.to_owned(),
        (None, Some(target)) => format!("{target}-{}", delivery.name),
        (None, None) => delivery.name.clone(),
    };
    if name.len() > values::MAX_NAME {
        return Err(format!(
            "has the release name {name:?}, which Flux shortens in a way tars does not follow"
        ));
    }
    let namespace = target.unwrap_or(&delivery.namespace).to_owned();
    let release = Release {
        label: delivery.label(),
        declared: delivery.layer(&FieldPath::keys(["spec"])),
        through: delivery.through.clone(),
        chart,
        parts,
        files: Vec::new(),
        name,
        target_namespace: namespace.clone(),
        namespace,
        kube_version: None,
        api_versions: Vec::new(),
        skip_schema: spec["install"]["disableSchemaValidation"] == true,
        refusals: astray.map(|why| format!("{} {why}", delivery.label())).into_iter().collect(),
    };
    let mut reached = values::deliver(delivery, release, world);
    reached.notes.extend(note.map(|note| format!("{}: {note}", delivery.label())));
    Ok(reached)
}

/// Defaults; with `valuesFiles`, those files take the place of the chart's own `values.yaml`.
fn chart_values(chart: &mut Chart, body: &Json, dir: &str, world: World<'_>) -> Result<Vec<Part>, String> {
    let list = body["valuesFiles"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let files: Vec<&str> = list.chain(body["valuesFile"].as_str()).collect();
    if files.is_empty() {
        return Ok(values::defaults(chart));
    }
    chart.files.remove("values.yaml");
    let mut parts = values::defaults(chart);
    for name in files {
        // Seen from the root of the source, or of the chart.
        let from_root = resolve("", name).and_then(|path| RepoPath::new(path).ok());
        let from_chart = resolve(dir, name).and_then(|path| RepoPath::new(path).ok());
        let found = [from_root, from_chart].into_iter().flatten().find(|p| world.ground.bytes(p).is_ok());
        match found {
            Some(path) => parts.push(values::file(world, &path)?),
            None if body["ignoreMissingValuesFiles"] == true => {}
            None => return Err(format!("takes values from {name}, which is not in the repository")),
        }
    }
    Ok(parts)
}

fn values_from(delivery: &Delivery, spec: &Json, world: World<'_>) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    for reference in spec["valuesFrom"].as_array().into_iter().flatten() {
        let kind = reference["kind"].as_str().unwrap_or_default();
        let name = reference["name"].as_str().unwrap_or_default();
        let key = reference["valuesKey"].as_str().unwrap_or("values.yaml");
        let found = world.object(kind, &delivery.namespace, name);
        let map = match kind {
            "ConfigMap" => "data",
            _ => "stringData",
        };
        let at = FieldPath::keys([map]).key(key);
        let encrypted = found.is_some_and(|live| !live.value["sops"].is_null());
        match found.filter(|_| !encrypted).and_then(|live| values::of_object(world, live, &at)) {
            Some(part) => parts.push(match reference["targetPath"].as_str() {
                None => part,
                Some(path) => one_value(part, path, name)?,
            }),
            None if found.is_none() && reference["optional"] == true => {}
            None => {
                return Err(format!(
                    "takes values from the {kind} {name}, which cannot be read in the repository"
                ));
            }
        }
    }
    Ok(parts)
}

/// A layer of one value, as `targetPath` makes it. Flux reads path and value like an argument of `--set`; only what
/// means itself there is followed.
fn one_value(part: Part, path: &str, name: &str) -> Result<Part, String> {
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
    let part = Part { form: Form::Parameter, slot: Slot::At(keys.clone()), ..part };
    let text = part.values()?.as_str().map(str::to_owned).unwrap_or_default();
    if !keys.iter().all(|key| plain(key, "_-")) {
        return Err(format!("uses valuesFrom.targetPath {path}, which is not a plain path of keys"));
    }
    // Helm prints a large number of a file of values with an exponent, and that of an argument without.
    let large = text.len() > 6 && text.trim_start_matches(['+', '-']).bytes().all(|c| c.is_ascii_digit());
    if !plain(&text, "._-:/@+") || large || text.eq_ignore_ascii_case("null") {
        return Err(format!("puts a value of {name} at {path} that may not be read as it stands"));
    }
    Ok(part)
}
