//! Helm itself as the judge of value edits: charts of the example, golden trees, and generated charts with keys
//! of all kinds. What tars decides is rendered again by helm from plain files, and exactly one field of one
//! object may differ.
#![allow(clippy::disallowed_methods, reason = "fixtures are read from disk and helm is run, in tests only")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::layout::{Surroundings, index_in};
use crate::model::fixtures::{at, oid};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::playbook::{ImageChange, Plan};
use crate::model::reason::Reason;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};
use crate::observe::charts::Charts;
use crate::render::{CheckedChanges, Fresh, RenderRequest, edits};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program, from the parts of this repository or from `PATH`; `None` after saying so.
fn helm(test: &str) -> Option<PathBuf> {
    let parts = std::fs::read_dir(root().join(".cache/parts")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = parts
        .filter(|it| it.file_name().to_string_lossy().starts_with("helm-"))
        .map(|it| it.path().join("bin/helm"))
        .collect();
    let listed = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&listed).map(|folder| folder.join("helm")));
    let found = found.into_iter().find(|it| it.is_file());
    if found.is_none() {
        assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "{test}: helm is missing");
        let _ = writeln!(std::io::stderr(), "SKIP {test}: helm is missing; run tests/install-parts");
    }
    found
}

type Files = BTreeMap<String, String>;

fn tree(files: &Files) -> RepoTree {
    let entry = |(path, text): (&String, &String)| {
        let file = TreeFile::held(EntryMode::File, text.as_bytes());
        (RepoPath::new(path.as_str()).unwrap(), file)
    };
    RepoTree::held(oid('a'), files.iter().map(entry).collect())
}

fn read_files(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), text);
            }
        }
    }
    files
}

/// Renders `plan` with Helm at hand.
async fn render(
    charts: &Charts,
    files: &Files,
    target: &str,
    plan: &Plan,
) -> Result<CheckedChanges, Vec<Reason>> {
    let tree = tree(files);
    let surroundings = Surroundings { helm: charts.renders(), ..Surroundings::default() };
    let target = WorkloadRef::parse(target).unwrap();
    charts
        .settle(|| {
            let index = index_in(&tree, &surroundings);
            let request = RenderRequest {
                tree: &tree,
                index: &index,
                target: &target,
                plan,
                old_tree: None,
                allowed_paths: &[],
                write_to: &[],
                fresh: Fresh { now: at(0), random: || None },
            };
            edits(&request)
        })
        .await
}

fn edited(before: &Files, changes: &CheckedChanges) -> Files {
    let mut after = before.clone();
    for (path, bytes) in changes.files() {
        after.insert(path.to_string(), String::from_utf8(bytes.clone()).unwrap());
    }
    after
}

fn scale(from: u32, to: u32) -> Plan {
    Plan::Scale { from, to, autoscaler: None }
}

fn image(container: &str, from: &str, to: &str) -> Plan {
    let change = ImageChange { container: container.into(), from: from.into(), to: to.into() };
    Plan::Images { good: oid('c'), images: vec![change] }
}

#[tokio::test]
async fn every_chart_of_the_example_is_edited_where_its_values_are() {
    let Some(helm) = helm("every_chart_of_the_example_is_edited_where_its_values_are") else { return };
    let files = read_files(&root().join("gitops-example"));
    let charts = Charts::new(helm);
    let registry = "registry.example.com/shop";
    for (target, plan, place) in [
        ("payments", scale(4, 6), "charts/payments/values-production.yaml replicaCount 6"),
        (
            "payments",
            image("payments", &format!("{registry}/payments:1.30.2"), &format!("{registry}/payments:1.30.1")),
            "charts/payments/values-production.yaml image.tag 1.30.1",
        ),
        ("notifier", scale(2, 5), "clusters/production/helm/notifier.yaml pods 5"),
        (
            "notifier",
            image("notifier", &format!("{registry}/notifier:2.4.1"), &format!("{registry}/notifier:2.3.9")),
            "clusters/production/helm/notifier.yaml release.version 2.3.9",
        ),
        ("shop-indexer", scale(1, 3), "charts/shop/values.yaml indexer.size 3"),
        ("shop-mailer", scale(3, 4), "clusters/production/flux/shop.yaml spec.values.mailer.workers 4"),
    ] {
        let done = render(&charts, &files, &format!("production/Deployment/{target}"), &plan).await;
        let done = done.unwrap_or_else(|e| panic!("{target}: {e:?}"));
        let found: Vec<String> = done
            .fields()
            .iter()
            .map(|it| format!("{} {} {}", it.file, it.field, it.to.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(found, [place], "{target}");
        let lines =
            done.diff().lines().filter(|l| l.starts_with(['+', '-']) && !l[1..].starts_with(['+', '-']));
        assert_eq!(lines.count(), 2, "{}", done.diff());
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    target: String,
    plan: Plan,
}

#[tokio::test]
async fn golden_trees_of_values_are_edited_and_undone_to_the_byte() {
    let Some(helm) = helm("golden_trees_of_values_are_edited_and_undone_to_the_byte") else { return };
    let charts = Charts::new(helm);
    let mut cases = 0;
    for entry in std::fs::read_dir(root().join("tests/fixtures/values")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let case: Case = yaml_serde::from_slice(&std::fs::read(folder.join("case.yaml")).unwrap()).unwrap();
        let before = read_files(&folder.join("before"));
        let mut expected = before.clone();
        expected.extend(read_files(&folder.join("expected")));
        let done = render(&charts, &before, &case.target, &case.plan).await;
        let done = done.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let after = edited(&before, &done);
        for (path, text) in &expected {
            assert_eq!(after.get(path), Some(text), "{name}: {path}");
        }
        let again = render(&charts, &after, &case.target, &case.plan).await;
        assert!(again.is_err(), "{name}: the plan was applied twice");
        let swap = done.fields().iter().map(|it| crate::model::change::FieldChange {
            from: it.to.clone(),
            to: it.from.clone(),
            ..it.clone()
        });
        let undo = Plan::Undo { changes: swap.collect() };
        let undone = render(&charts, &after, &case.target, &undo).await;
        let undone = undone.unwrap_or_else(|e| panic!("{name}: undo: {e:?}"));
        assert_eq!(edited(&after, &undone), before, "{name}: undone");
        cases += 1;
    }
    assert!(cases >= 4, "the fixtures are missing");
}

/// One chart out of the alphabet below.
struct Made {
    files: Files,
    /// Is there a value that decides the count?
    followed: bool,
}

/// How the count is written in the template: text around `KEY`, and whether a value can be followed.
const COUNTS: [(&str, bool); 8] = [
    ("{{ .Values.KEY }}", true),
    ("{{ .Values.KEY | int }}", true),
    ("{{ .Values.KEY | default 9 }}", true),
    ("{{ int (default 9 .Values.KEY) }}", true),
    ("{{ if .Values.onOff }}{{ .Values.KEY }}{{ else }}1{{ end }}", true),
    ("{{ ternary .Values.KEY 1 .Values.onOff }}", true),
    ("{{ mul .Values.KEY 2 }}", false),
    ("{{ max 3 .Values.KEY }}", true),
];

/// Where the count is set: the layer that wins.
const LAYERS: [&str; 6] = ["defaults", "file", "object", "text", "parameter", "global"];

fn nested(key: &str, value: &str, indent: usize) -> String {
    let mut text = String::new();
    let parts: Vec<&str> = key.split('.').collect();
    for (depth, part) in parts.iter().enumerate() {
        let end = if depth + 1 == parts.len() { format!(" {value}") } else { String::new() };
        text.push_str(&format!("{}{part}:{end}\n", " ".repeat(indent + 2 * depth)));
    }
    text
}

fn make(seed: usize) -> Made {
    let (count, followed) = COUNTS[seed % COUNTS.len()];
    let layer = LAYERS[(seed / COUNTS.len()) % LAYERS.len()];
    let in_subchart = seed % 5 == 4 && layer != "global";
    let name = ["x", "howMany", "web.size", "a.b.c", "replicaCount", "cpu"][seed % 6];
    let key = if layer == "global" { format!("global.{name}") } else { name.to_owned() };
    let outer = if in_subchart { format!("inner.{key}") } else { key.clone() };
    let template = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app}}\nspec:\n  replicas: {}\n  template:\n    \
         spec:\n      containers: [{{name: app, image: 'app:{{{{ .Values.version }}}}'}}]\n",
        count.replace("KEY", &key)
    );
    // Decoys: the same number under other names, which decide something else or nothing.
    let other =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {port: '{{ .Values.replicas }}'}\n";
    let decoys = "replicas: 4\nidle: 4\nonOff: true\nversion: \"4\"\n";
    let mut files = Files::new();
    let chart = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    let at = if in_subchart { "chart/charts/inner" } else { "chart" };
    files.insert("chart/Chart.yaml".into(), chart("outer"));
    files.insert("chart/values.yaml".into(), "unused: 1\n".into());
    files.insert(format!("{at}/Chart.yaml"), chart(if in_subchart { "inner" } else { "outer" }));
    files.insert(format!("{at}/templates/app.yaml"), template);
    files.insert(format!("{at}/templates/other.yaml"), other.into());
    files.insert(format!("{at}/values.yaml"), format!("{decoys}{}", nested(&key, "2", 0)));
    let mut helm = String::new();
    let value = if layer == "defaults" { None } else { Some("4") };
    match (layer, value) {
        ("file" | "global", Some(value)) => {
            helm.push_str("      valueFiles: [../live.yaml]\n");
            files.insert(
                "live.yaml".into(),
                format!("# ours\n{}", nested(&outer, &format!("{value}  # four"), 0)),
            );
        }
        ("object", Some(value)) => {
            helm.push_str(&format!("      valuesObject:\n{}", nested(&outer, value, 8)));
        }
        ("text", Some(value)) => helm.push_str(&format!("      values: |\n{}", nested(&outer, value, 8))),
        ("parameter", Some(value)) => {
            helm.push_str(&format!(
                "      parameters:\n        - name: {outer}\n          value: \"{value}\"\n"
            ));
        }
        _ => {
            files.insert(format!("{at}/values.yaml"), format!("{decoys}{}", nested(&key, "4", 0)));
            helm.push_str("      valuesObject:\n        own: true\n");
        }
    }
    files.insert(
        "app.yaml".into(),
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: x, namespace: argocd}}\nspec:\n  \
             destination: {{namespace: shop}}\n  source:\n    repoURL: https://git.example.com/r\n    path: chart\n    \
             helm:\n      releaseName: x\n{helm}"
        ),
    );
    Made { files, followed }
}

/// What helm makes of the files, asked without any of our own code for charts and values.
fn by_hand(helm: &Path, files: &Files) -> Vec<Json> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let app: Json = yaml_serde::from_str(&files["app.yaml"]).unwrap();
    let settings = &app["spec"]["source"]["helm"];
    let mut command = Command::new(helm);
    command.current_dir(folder.path()).args(["template", "x", "chart", "--namespace", "shop"]);
    command.env("HOME", folder.path());
    if !settings["valueFiles"].is_null() {
        command.args(["-f", "live.yaml"]);
    }
    let inline = match (&settings["valuesObject"], settings["values"].as_str()) {
        (Json::Object(map), _) => Some(Json::Object(map.clone()).to_string()),
        (_, Some(text)) => Some(text.to_owned()),
        _ => None,
    };
    if let Some(text) = inline {
        std::fs::write(folder.path().join("inline.yaml"), text).unwrap();
        command.args(["-f", "inline.yaml"]);
    }
    for entry in settings["parameters"].as_array().into_iter().flatten() {
        let pair = format!("{}={}", entry["name"].as_str().unwrap(), entry["value"].as_str().unwrap());
        command.args(["--set", &pair]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("---\n").filter(|it| !it.trim().is_empty());
    documents.map(|it| yaml_serde::from_str(it).unwrap()).collect()
}

#[tokio::test]
async fn the_value_found_in_generated_charts_moves_one_field_and_no_other() {
    let Some(helm) = helm("the_value_found_in_generated_charts_moves_one_field_and_no_other") else { return };
    let charts = Charts::new(helm.clone());
    let mut edited_charts = 0;
    for seed in 0..COUNTS.len() * LAYERS.len() + 7 {
        let made = make(seed);
        let show = || made.files.iter().map(|(p, t)| format!("--- {p}\n{t}")).collect::<String>();
        let before = by_hand(&helm, &made.files);
        let app = before.iter().position(|it| it["kind"] == "Deployment").unwrap();
        let now = before[app]["spec"]["replicas"].as_u64().unwrap();
        let plan = scale(u32::try_from(now).unwrap(), 7);
        let done = match render(&charts, &made.files, "shop/Deployment/app", &plan).await {
            Ok(done) => done,
            Err(why) if !made.followed => {
                assert!(why[0].text.contains("writeTo"), "{seed}: {why:?}");
                continue;
            }
            Err(why) => panic!("{seed}: {why:?}\n{}", show()),
        };
        assert!(made.followed, "{seed}: {:?}\n{}", done.fields(), show());
        let after = by_hand(&helm, &edited(&made.files, &done));
        let mut wanted = before.clone();
        wanted[app]["spec"]["replicas"] = Json::from(7);
        assert_eq!(after, wanted, "{seed}: {:?}\n{}", done.fields(), show());
        assert_eq!(done.fields().len(), 1);
        edited_charts += 1;
    }
    assert!(edited_charts >= 45, "{edited_charts}");
}

/// An object as tars renders it.
async fn rendered(charts: &Charts, files: &Files, target: &str) -> Result<Json, Reason> {
    let tree = tree(files);
    let surroundings = Surroundings { helm: charts.renders(), ..Surroundings::default() };
    let target = WorkloadRef::parse(target).unwrap();
    charts.settle(|| index_in(&tree, &surroundings).object(&target)).await
}

fn in_files(all: &[(&str, &str)]) -> Files {
    all.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

const APP: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x, namespace: argocd}\nspec:\n  \
                   destination: {namespace: shop}\n  source:\n    repoURL: https://git.example.com/r\n    path: chart\n    \
                   helm:\n      releaseName: x\n";
const CHART: &str = "apiVersion: v2\nname: x\nversion: 1.0.0\n";

#[tokio::test]
async fn files_of_the_chart_reach_its_templates_as_helm_reads_them() {
    let Some(helm) = helm("files_of_the_chart_reach_its_templates_as_helm_reads_them") else { return };
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata:\n  one: {{ .Files.Get \"conf/app.conf\" \
                    | quote }}\n  none: {{ .Files.Get \"conf/ignored.bak\" | quote }}\n  deep: {{ .Files.Get \"a/b.sh\" | \
                    b64enc | quote }}\n{{ (.Files.Glob \"conf/*.conf\").AsConfig | indent 2 }}\n";
    let files = in_files(&[
        ("app.yaml", APP),
        ("chart/Chart.yaml", CHART),
        ("chart/.helmignore", "*.bak\n"),
        ("chart/conf/app.conf", "port = 80\nname = \"x\"\n"),
        ("chart/conf/other.conf", "# other\n"),
        ("chart/conf/ignored.bak", "old"),
        ("chart/a/b.sh", "#!/bin/sh\nexit 0\n"),
        ("chart/templates/conf.yaml", template),
    ]);
    let found = rendered(&Charts::new(helm.clone()), &files, "shop/ConfigMap/conf").await.unwrap();
    let expected = by_hand(&helm, &files);
    assert_eq!(found["data"], expected[0]["data"]);
    assert_eq!(found["data"]["one"], "port = 80\nname = \"x\"\n");
    assert_eq!((&found["data"]["none"], &found["data"]["other.conf"]), (&"".into(), &"# other\n".into()));
}

#[tokio::test]
async fn a_value_at_a_target_path_has_the_type_that_helm_gives_a_set_argument() {
    let Some(helm) = helm("a_value_at_a_target_path_has_the_type_that_helm_gives_a_set_argument") else {
        return;
    };
    let charts = Charts::new(helm.clone());
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {it: {{ .Values.a.b | toJson | quote }}}\n";
    let chart = [("chart/Chart.yaml", CHART), ("chart/templates/c.yaml", template)];
    for text in ["3", "0", "03", "-4", "+5", "true", "False", "1.5", "v1", "1e3", "a/b:c@d"] {
        let mut judged = in_files(&chart);
        let parameter = format!("      parameters: [{{name: a.b, value: \"{text}\"}}]\n");
        judged.insert("app.yaml".into(), format!("{APP}{parameter}"));
        let expected = by_hand(&helm, &judged)[0]["data"]["it"].clone();
        let mut files = in_files(&chart);
        files.insert("flux.yaml".into(), release_with_target_path("b.yaml", "a.b"));
        files.insert("map.yaml".into(), config_map("b.yaml", text));
        let found = rendered(&charts, &files, "shop/ConfigMap/conf").await.unwrap();
        assert_eq!(found["data"]["it"], expected, "{text}");
    }
    for (text, path) in [
        ("a,b=c", "a.b"),
        ("null", "a.b"),
        ("1048576", "a.b"),
        ("x\ny", "a.b"),
        ("3", "a[0].b"),
        ("'3'", "a.b"),
    ] {
        let mut files = in_files(&chart);
        files.insert("flux.yaml".into(), release_with_target_path("b.yaml", path));
        files.insert("map.yaml".into(), config_map("b.yaml", text));
        let why = rendered(&charts, &files, "shop/ConfigMap/conf").await.unwrap_err();
        assert!(why.text.contains("HelmRelease x in flux.yaml"), "{text} at {path}: {why}");
    }
}

fn release_with_target_path(key: &str, path: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: x, namespace: shop}}\nspec:\n  chart: \
         {{spec: {{chart: chart, sourceRef: {{kind: GitRepository, name: r}}}}}}\n  valuesFrom: [{{kind: ConfigMap, name: \
         values, valuesKey: {key}, targetPath: \"{path}\"}}]\n"
    )
}

fn config_map(key: &str, text: &str) -> String {
    let text = Json::from(text);
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: values, namespace: shop}}\ndata: {{{key}: {text}}}\n"
    )
}

#[tokio::test]
async fn a_count_at_a_target_path_is_edited_there_and_loses_to_the_values_of_the_release() {
    let Some(helm) = helm("a_count_at_a_target_path_is_edited_there") else { return };
    let charts = Charts::new(helm);
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec: {replicas: {{ .Values.web.size }}}\n";
    let mut files = in_files(&[
        ("chart/Chart.yaml", CHART),
        ("chart/values.yaml", "web: {size: 1}\n"),
        ("chart/templates/c.yaml", template),
    ]);
    files.insert("flux.yaml".into(), release_with_target_path("size", "web.size"));
    files.insert("map.yaml".into(), config_map("size", "4"));
    let done = render(&charts, &files, "shop/Deployment/app", &scale(4, 6)).await.unwrap();
    let field = &done.fields()[0];
    assert_eq!((field.file.as_str(), field.field.as_str()), ("map.yaml", "data.size"));
    assert_eq!(edited(&files, &done)["map.yaml"], config_map("size", "6"));
    let moved: Vec<(String, bool)> =
        done.rendered().iter().map(|it| (format!("{} {}", it.object, it.field), it.carrier)).collect();
    let expected = [("shop/ConfigMap/values data.size", true), ("shop/Deployment/app spec.replicas", false)];
    let expected: Vec<(String, bool)> = expected.iter().map(|(it, at)| ((*it).to_owned(), *at)).collect();
    assert_eq!(moved, expected);

    files.get_mut("flux.yaml").unwrap().push_str("  values: {web: {size: 9}}\n");
    let found = rendered(&charts, &files, "shop/Deployment/app").await.unwrap();
    assert_eq!(found["spec"]["replicas"], 9);
}

#[tokio::test]
async fn a_value_that_moves_two_workloads_is_no_place() {
    let Some(helm) = helm("a_value_that_moves_two_workloads_is_no_place") else { return };
    let one = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: {{{{ .Values.size }}}}}}\n"
        )
    };
    let template = format!("{}---\n{}", one("app"), one("other"));
    let mut files =
        in_files(&[("app.yaml", APP), ("chart/Chart.yaml", CHART), ("chart/values.yaml", "size: 2\n")]);
    files.insert("chart/templates/d.yaml".into(), template);
    let why = render(&Charts::new(helm), &files, "shop/Deployment/app", &scale(2, 3)).await.unwrap_err();
    assert!(
        why[0].text.contains("size in chart/values.yaml moves spec.replicas of Deployment/other too"),
        "{why:?}"
    );
}
