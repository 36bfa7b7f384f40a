//! Argo CD `Application`s: one or several sources, each a folder, a kustomization or a chart. A delivery comes
//! in, the objects it brings go out. The order of values is Argo CD's: parameters win over `valuesObject`, that
//! over `values`, that over `valueFiles`, those over the chart's defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::folder::{Choice, chosen};
use super::source::Whose;
use super::values;
use super::{Delivery, Reached, World, overrides};
use crate::layout::helm::{Chart, Form, Release, SetValue, Slot};
use crate::layout::kustomize::{Layer, Renderer, resolve};
use crate::layout::objects::{FieldPath, Step};
use crate::layout::reader::inside;
use crate::model::ids::RepoPath;

/// One entry of `spec.sources`, or `spec.source`.
#[derive(Clone, Copy)]
struct Source<'a> {
    at: &'a FieldPath,
    body: &'a Json,
    dir: &'a str,
}

/// Sources that lend files to others: name to whose repository it is.
type Lenders<'a> = BTreeMap<&'a str, &'a Json>;

/// Renders every source of the application.
#[must_use]
pub fn render(delivery: &Delivery, world: World<'_>) -> Reached {
    let spec = &delivery.value["spec"];
    let namespace = spec["destination"]["namespace"].as_str();
    if !spec["sourceHydrator"].is_null() {
        return Reached::beyond(delivery, namespace, "uses sourceHydrator, which tars does not render");
    }
    let at = FieldPath::keys(["spec"]);
    let sources: Vec<(FieldPath, &Json)> = match spec["sources"].as_array() {
        Some(list) if !list.is_empty() => {
            let place = |index| FieldPath([&at.clone().key("sources").0[..], &[Step::At(index)]].concat());
            list.iter().enumerate().map(|(index, source)| (place(index), source)).collect()
        }
        _ => vec![(at.key("source"), &spec["source"])],
    };
    let lenders: Lenders<'_> =
        sources.iter().filter_map(|(_, source)| Some((source["ref"].as_str()?, *source))).collect();
    let mut reached = Reached::default();
    for (at, body) in &sources {
        reached.extend(one_source(delivery, (at, body), &lenders, world));
    }
    values::put_into(&mut reached.live, namespace.unwrap_or_default());
    reached
}

fn one_source(
    delivery: &Delivery,
    (at, body): (&FieldPath, &Json),
    lenders: &Lenders<'_>,
    world: World<'_>,
) -> Reached {
    let namespace = delivery.value["spec"]["destination"]["namespace"].as_str();
    let beyond = |why: String| Reached::beyond(delivery, namespace, why);
    let url = body["repoURL"].as_str().unwrap_or_default();
    let version = body["targetRevision"].as_str();
    if let Some(chart) = body["chart"].as_str() {
        let why = format!("brings the chart {chart} from {url}, which is not in the repository");
        return beyond(why).with_values(&value_places(delivery, (at, body), None, lenders, world), version);
    }
    let Some(path) = body["path"].as_str() else {
        // A source with nothing but a name lends files.
        return if body["ref"].is_string() {
            Reached::default()
        } else {
            beyond("has a source without a path".into())
        };
    };
    let whose = world.about.whose(url);
    if whose == Whose::Other {
        let why = format!("brings {path} from {}", world.about.foreign(url));
        return beyond(why)
            .with_values(&value_places(delivery, (at, body), None, lenders, world), version)
            .with_folders(world.namesake(url, path));
    }
    let Some(dir) = resolve("", path.trim_start_matches('/')) else {
        return beyond(format!("has the path {path:?}, which is outside the repository"));
    };
    if !world.ground.is_folder(&dir) {
        return beyond(format!("brings {path} from {url}, which is no folder of the repository"));
    }
    let mut reached = by_type(delivery, Source { at, body, dir: &dir }, lenders, world);
    if whose == Whose::Presumed {
        reached
            .notes
            .push(format!("{} is taken to bring {path} from this repository ({url})", delivery.label()));
    }
    if let Err(why) = world.about.follows(body["targetRevision"].as_str()) {
        let why = format!("{} {why}; a commit to the watched branch would not arrive", delivery.label());
        reached.live.iter_mut().for_each(|live| live.refusals.push(why.clone()));
    }
    reached
}

/// What a source is: said by its settings, else shown by the files of the folder.
fn by_type(delivery: &Delivery, source: Source<'_>, lenders: &Lenders<'_>, world: World<'_>) -> Reached {
    let namespace = delivery.value["spec"]["destination"]["namespace"].as_str();
    let body = source.body;
    let said: Vec<&str> = ["helm", "kustomize", "directory", "plugin"]
        .into_iter()
        .filter(|kind| !body[*kind].is_null())
        .collect();
    let has_chart = format!("{}/Chart.yaml", source.dir);
    let has_chart =
        RepoPath::new(has_chart.trim_start_matches('/')).is_ok_and(|path| world.ground.bytes(&path).is_ok());
    let has_kustomization = world.ground.reader.kustomization_in(source.dir).is_some();
    let kind = match said[..] {
        [one] => one,
        [] if has_chart && has_kustomization => {
            let why = format!("does not say whether {} is a chart or a kustomization", source.dir);
            return Reached::beyond(delivery, namespace, why);
        }
        [] if has_chart => "helm",
        [] if has_kustomization => "kustomize",
        [] => "directory",
        [..] => {
            let why = format!("says {} for one source", said.join(" and "));
            return Reached::beyond(delivery, namespace, why);
        }
    };
    match kind {
        "helm" => helm(delivery, source, lenders, world).unwrap_or_else(|why| {
            let places = value_places(delivery, (source.at, source.body), Some(source.dir), lenders, world);
            let mut reached = Reached::beyond(delivery, namespace, why).with_values(&places, None);
            reached.claims.charts.insert(source.dir.to_owned());
            reached
        }),
        "kustomize" => kustomize(delivery, source, world),
        "directory" => directory(delivery, source, world),
        _ => Reached::beyond(delivery, namespace, "uses a config management plugin, which tars does not run"),
    }
}

fn kustomize(delivery: &Delivery, source: Source<'_>, world: World<'_>) -> Reached {
    let Some((_, file)) = world.ground.reader.kustomization_in(source.dir) else {
        let why = format!("builds {}, which has no readable kustomization", source.dir);
        return Reached::beyond(delivery, None, why);
    };
    let objects = Renderer::new(world.ground.reader).render(source.dir);
    let overrides = overrides::of_application(&source.body["kustomize"], &delivery.label());
    let layer = delivery.layer(&source.at.clone().key("kustomize"));
    let live = overrides::apply(objects, overrides, file.values.first(), (source.dir, &layer), world);
    let mut reached = Reached { live, ..Reached::default() };
    reached.claims.folders.insert(source.dir.to_owned());
    reached
}

fn directory(delivery: &Delivery, source: Source<'_>, world: World<'_>) -> Reached {
    let settings = &source.body["directory"];
    let text = |key: &str| settings[key].as_str().unwrap_or_default();
    let recurse = settings["recurse"].as_bool().unwrap_or_default();
    let choice = Choice { recurse, include: text("include"), exclude: text("exclude") };
    let contents = chosen(world.ground, source.dir, choice);
    let mut notes = contents.notes;
    let jsonnet = settings["jsonnet"].as_object().is_some_and(|map| !map.is_empty());
    if jsonnet {
        notes.push(format!("{} uses jsonnet, which tars does not render", delivery.label()));
    }
    Reached { live: contents.live, claims: contents.claims, notes, ..Reached::default() }
}

fn helm(
    delivery: &Delivery,
    source: Source<'_>,
    lenders: &Lenders<'_>,
    world: World<'_>,
) -> Result<Reached, String> {
    let Source { at, body, dir } = source;
    let settings = &body["helm"];
    let spec = &delivery.value["spec"];
    let chart = Chart::read(world.ground, dir)?;
    let at = at.clone().key("helm");
    let mut parts = values::defaults(&chart);
    for name in settings["valueFiles"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        let found = value_file(dir, name, lenders, world).and_then(|path| values::file(world, &path));
        match found {
            Ok(part) => parts.push(part),
            Err(_) if settings["ignoreMissingValueFiles"] == true => {}
            Err(why) => return Err(why),
        }
    }
    let own = |key: &str, form| values::own(delivery, world, &at.clone().key(key), form, Slot::Values);
    let object = settings["valuesObject"].as_object().is_some_and(|map| !map.is_empty());
    if object {
        parts.extend(own("valuesObject", Form::Map));
    } else if settings["values"].as_str().is_some_and(|text| !text.trim().is_empty()) {
        parts.extend(own("values", Form::Text));
    }
    for (index, parameter) in settings["parameters"].as_array().into_iter().flatten().enumerate() {
        let Some(name) = parameter["name"].as_str() else { continue };
        let slot = Slot::Set { name: name.to_owned(), as_text: parameter["forceString"] == true };
        let place =
            FieldPath([&at.clone().key("parameters").0[..], &[Step::At(index)]].concat()).key("value");
        parts.extend(values::own(delivery, world, &place, Form::Parameter, slot));
    }
    let name = settings["releaseName"].as_str().unwrap_or(&delivery.name);
    let namespace = spec["destination"]["namespace"].as_str().unwrap_or_default();
    let text = |key: &str| settings[key].as_str().map(str::to_owned);
    let release = Release {
        label: delivery.label(),
        declared: delivery.layer(&at),
        through: delivery.through.clone(),
        chart,
        parts,
        files: file_parameters(dir, settings, lenders, world)?,
        name: name.to_owned(),
        namespace: text("namespace").unwrap_or_else(|| namespace.to_owned()),
        target_namespace: namespace.to_owned(),
        kube_version: text("kubeVersion"),
        api_versions: strings(&settings["apiVersions"]),
        skip_schema: settings["skipSchemaValidation"] == true,
        refusals: Vec::new(),
    };
    if release.name.len() > values::MAX_NAME {
        return Err(format!("has the release name {:?}, longer than Helm allows", release.name));
    }
    Ok(values::deliver(delivery, release, world))
}

/// Where the values of a chart stand that is not rendered; `dir`: its folder, when that is in this repository.
fn value_places(
    delivery: &Delivery,
    (at, body): (&FieldPath, &Json),
    dir: Option<&str>,
    lenders: &Lenders<'_>,
    world: World<'_>,
) -> Vec<Layer> {
    let settings = &body["helm"];
    let at = at.clone().key("helm");
    let inline = ["valuesObject", "values", "parameters"].into_iter().filter(|key| !settings[*key].is_null());
    let mut places: Vec<Layer> = inline.map(|key| delivery.layer(&at.clone().key(key))).collect();
    let files = settings["valueFiles"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let here = files.filter(|name| dir.is_some() || name.starts_with('$'));
    let here = here.filter_map(|name| value_file(dir.unwrap_or_default(), name, lenders, world).ok());
    let defaults = dir.and_then(|dir| RepoPath::new(inside(dir, "values.yaml")).ok());
    let files = here.chain(defaults).filter(|path| world.ground.bytes(path).is_ok());
    places.extend(files.map(|file| Layer { file, document: 0, at: FieldPath::default() }));
    places
}

fn strings(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

/// `values.yaml` beside the chart, `/x` from the root of the repository, `$name/x` from the root of the
/// repository of another source.
fn value_file(dir: &str, name: &str, lenders: &Lenders<'_>, world: World<'_>) -> Result<RepoPath, String> {
    if name.contains("://") || name.contains(['*', '?', '[', '{']) {
        return Err(format!("takes values from {name}, which is no single file of the repository"));
    }
    let path = if let Some(rest) = name.strip_prefix('$') {
        let (lender, path) = rest.split_once('/').unwrap_or((rest, ""));
        let source =
            lenders.get(lender).ok_or_else(|| format!("names ${lender}, which no source has as ref"))?;
        let url = source["repoURL"].as_str().unwrap_or_default();
        if world.about.whose(url) == Whose::Other {
            return Err(format!("takes {name} from {}", world.about.foreign(url)));
        }
        world
            .about
            .follows(source["targetRevision"].as_str())
            .map_err(|why| format!("takes {name}, whose source {why}"))?;
        resolve("", path)
    } else if let Some(path) = name.strip_prefix('/') {
        resolve("", path)
    } else {
        resolve(dir, name)
    };
    let path = path.and_then(|path| RepoPath::new(path).ok());
    path.ok_or_else(|| format!("takes values from {name}, which is no file of the repository"))
}

fn file_parameters(
    dir: &str,
    settings: &Json,
    lenders: &Lenders<'_>,
    world: World<'_>,
) -> Result<Vec<SetValue>, String> {
    let list = settings["fileParameters"].as_array().into_iter().flatten();
    list.filter_map(|entry| Some((entry["name"].as_str()?, entry["path"].as_str()?)))
        .map(|(key, name)| {
            let path = value_file(dir, name, lenders, world)?;
            let bytes = world.ground.bytes(&path).map_err(|why| format!("the file {path} {why}"))?;
            Ok(SetValue::File { key: key.to_owned(), bytes: Arc::clone(&bytes) })
        })
        .collect()
}
