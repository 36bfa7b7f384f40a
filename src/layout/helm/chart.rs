//! Collects the files of a chart with its vendored dependencies, all of them: templates may read any with `.Files`.
//! A folder comes in; files by their path inside the chart go out, or a sentence saying what is missing. Nothing is fetched: a dependency that is not in the
//! repository is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::layout::delivery::Ground;
use crate::layout::kustomize::resolve;
use crate::layout::objects::{file_name, folder};
use crate::layout::sources::is_yaml;
use crate::model::ids::RepoPath;

/// Most bytes of a chart with everything it depends on.
const MAX_BYTES: usize = 16 << 20;
/// Most files of a chart with everything it depends on.
const MAX_FILES: usize = 5_000;
/// Deepest chain of `file://` dependencies.
const MAX_DEPTH: usize = 5;

/// A chart, complete enough to be rendered without a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Folder of the repository.
    pub dir: String,
    /// By path inside the chart: where it is in the repository, and its bytes.
    pub files: BTreeMap<String, (RepoPath, Arc<[u8]>)>,
    /// Charts inside it, itself first: folder inside the chart, and where its values stand in the release's.
    pub scopes: Vec<(String, Vec<String>)>,
}

impl Chart {
    /// Reads the chart in `dir`.
    ///
    /// # Errors
    /// A sentence: not a chart, a dependency is not vendored, a link, or too large.
    pub fn read(ground: &Ground<'_>, dir: &str) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        copy(ground, dir, "", &mut files, 0)?;
        let scopes = scopes(&files);
        Ok(Self { dir: dir.to_owned(), files, scopes })
    }

    /// Where in the repository a template named by Helm (`payments/charts/x/templates/y.yaml`) is.
    #[must_use]
    pub fn template(&self, named: &str) -> Option<&RepoPath> {
        let inside = named.split_once('/')?.1;
        self.files.get(inside).map(|(path, _)| path)
    }
}

fn copy(
    ground: &Ground<'_>,
    dir: &str,
    into: &str,
    files: &mut BTreeMap<String, (RepoPath, Arc<[u8]>)>,
    depth: usize,
) -> Result<(), String> {
    let at = |name: &str| if into.is_empty() { name.to_owned() } else { format!("{into}/{name}") };
    for (path, _) in ground.below(dir) {
        let inside = path.as_str()[dir.len()..].trim_start_matches('/');
        // A SOPS file inside the chart is another one after every edit, whatever it decides.
        let bytes = if is_yaml(path.as_str()) { ground.values(path) } else { ground.bytes(path) };
        let bytes = bytes.map_err(|why| format!("the chart file {path} {why}"))?;
        files.entry(at(inside)).or_insert_with(|| (path.clone(), bytes));
    }
    let size: usize = files.values().map(|(_, bytes)| bytes.len()).sum();
    if size > MAX_BYTES || files.len() > MAX_FILES {
        return Err(format!("the chart {dir} has more than {MAX_FILES} files or {MAX_BYTES} bytes"));
    }
    let Some(main) = read_chart_yaml(files, into) else {
        return Err(format!("{dir} has no readable Chart.yaml"));
    };
    for dependency in dependencies(files, into, &main) {
        let (Some(name), repository) = (dependency["name"].as_str(), dependency["repository"].as_str())
        else {
            return Err(format!("{dir}/Chart.yaml has a dependency without a name"));
        };
        if is_vendored(files, into, name) {
            continue;
        }
        let local = repository.and_then(|it| it.strip_prefix("file://")).and_then(|it| resolve(dir, it));
        let Some(local) = local.filter(|_| depth < MAX_DEPTH) else {
            return Err(format!(
                "the chart {dir} depends on {name} from {}, which is not in the repository; run \
                 `helm dependency update {dir}` and commit {dir}/charts",
                repository.unwrap_or("nowhere")
            ));
        };
        copy(ground, &local, &at(&format!("charts/{name}")), files, depth + 1)?;
    }
    Ok(())
}

fn read_chart_yaml(files: &BTreeMap<String, (RepoPath, Arc<[u8]>)>, into: &str) -> Option<Json> {
    read_yaml(files, &join(into, "Chart.yaml"))
}

fn read_yaml(files: &BTreeMap<String, (RepoPath, Arc<[u8]>)>, inside: &str) -> Option<Json> {
    let (_, bytes) = files.get(inside)?;
    let documents = crate::yaml::read(bytes).ok()?;
    documents.first().map(|document| crate::layout::objects::json(&document.root))
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Dependencies of charts of both API versions: v1 has them in a file of their own.
fn dependencies(files: &BTreeMap<String, (RepoPath, Arc<[u8]>)>, into: &str, main: &Json) -> Vec<Json> {
    let old = read_yaml(files, &join(into, "requirements.yaml")).unwrap_or_default();
    let lists = [&main["dependencies"], &old["dependencies"]];
    lists.into_iter().filter_map(Json::as_array).flatten().cloned().collect()
}

fn is_vendored(files: &BTreeMap<String, (RepoPath, Arc<[u8]>)>, into: &str, name: &str) -> bool {
    let charts = join(into, "charts/");
    files.keys().filter_map(|inside| inside.strip_prefix(&charts)).any(|rest| {
        let archive = rest.ends_with(".tgz")
            && rest.strip_prefix(name).is_some_and(|it| {
                it.starts_with('-') && it[1..].starts_with(|c: char| c.is_ascii_digit() || c == 'v')
            });
        let named = || {
            let found = read_chart_yaml(files, &format!("{charts}{}", folder(rest)));
            found.is_some_and(|chart| chart["name"] == *name)
        };
        archive || rest.matches('/').count() == 1 && file_name(rest) == "Chart.yaml" && named()
    })
}

/// The chart itself and every unpacked chart inside it whose place in the values is known.
fn scopes(files: &BTreeMap<String, (RepoPath, Arc<[u8]>)>) -> Vec<(String, Vec<String>)> {
    let mut found = vec![(String::new(), Vec::new())];
    let mut at = 0;
    while let Some((dir, prefix)) = found.get(at).cloned() {
        at += 1;
        let Some(main) = read_chart_yaml(files, &dir) else { continue };
        let wanted = dependencies(files, &dir, &main);
        let charts = join(&dir, "charts/");
        let inner = files.keys().filter_map(|inside| {
            let rest = inside.strip_prefix(&charts)?;
            let (name, file) = rest.split_once('/')?;
            (file == "Chart.yaml").then(|| format!("{charts}{name}"))
        });
        for inner in inner.collect::<Vec<_>>() {
            let Some(name) =
                read_chart_yaml(files, &inner).and_then(|chart| chart["name"].as_str().map(str::to_owned))
            else {
                continue;
            };
            let entries: Vec<&Json> = wanted.iter().filter(|it| it["name"] == *name).collect();
            let key = match entries[..] {
                [] => name,
                [one] => one["alias"].as_str().unwrap_or(&name).to_owned(),
                // One chart under several names: its defaults stand in several places.
                [..] => continue,
            };
            let prefix = prefix.iter().cloned().chain([key]).collect();
            if found.len() < MAX_FILES {
                found.push((inner, prefix));
            }
        }
    }
    found
}
