//! Every layout of the example repository, judged by the real kustomize and helm: `tars render` names the one
//! place, its patch is applied with plain git, and of everything those tools render exactly one field changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::parts;
use crate::support::program::{example, git, git_with, shell};

/// A target, where its count is written, what stands there, and what one replica more makes of it.
const PLACES: &[(&str, &str, &str, Option<&str>, &str)] = &[
    (
        "production/Deployment/backend",
        "apps/backend/overlays/production/kustomization.yaml",
        "replicas[name=backend].count",
        Some("3"),
        "4",
    ),
    (
        "staging/Deployment/backend",
        "apps/backend/overlays/staging/kustomization.yaml",
        "replicas[name=backend].count",
        None,
        "2",
    ),
    (
        "staging/Deployment/frontend",
        "apps/frontend/overlays/staging/kustomization.yaml",
        "patches[0].patch|[0].value",
        Some("1"),
        "2",
    ),
    (
        "production/Deployment/frontend",
        "apps/frontend/overlays/production/hpa.yaml",
        "spec.minReplicas",
        Some("4"),
        "5",
    ),
    (
        "production/Deployment/catalog",
        "apps/catalog/overlays/production/kustomization.yaml",
        "replicas[name=catalog].count",
        Some("3"),
        "4",
    ),
    ("production/Deployment/search", "apps/search/scaledobject.yaml", "spec.minReplicaCount", Some("2"), "3"),
    (
        "production/Deployment/payments",
        "charts/payments/values-production.yaml",
        "replicaCount",
        Some("4"),
        "5",
    ),
    ("production/Deployment/notifier", "clusters/production/helm/notifier.yaml", "pods", Some("2"), "3"),
    (
        "production/Deployment/shop-mailer",
        "clusters/production/flux/shop.yaml",
        "spec.values.mailer.workers",
        Some("3"),
        "4",
    ),
    ("production/Deployment/shop-indexer", "charts/shop/values.yaml", "indexer.size", Some("1"), "2"),
    ("production/Deployment/worker", "apps/worker/deployment.yaml", "spec.replicas", Some("2"), "3"),
    ("production/StatefulSet/postgres", "apps/postgres/statefulset.yaml", "spec.replicas", Some("1"), "2"),
];

/// Charts as Argo CD and Flux install them: folder, values beside the chart's own.
const RELEASES: &[(&str, &str, &[&str])] = &[
    ("payments", "charts/payments", &["charts/payments/values-production.yaml"]),
    ("notifier", "charts/notifier", &["clusters/production/helm/notifier.yaml"]),
    ("shop", "charts/shop", &["shop-values.yaml"]),
];

type Rendered = BTreeMap<String, Value>;

struct Judges {
    kustomize: PathBuf,
    helm: PathBuf,
}

impl Judges {
    fn find(test: &str) -> Option<Self> {
        Some(Self { kustomize: parts::find("kustomize", test)?, helm: parts::find("helm", test)? })
    }

    /// Everything the repository brings to a cluster, by tool, folder and object.
    fn render(&self, root: &Path) -> Rendered {
        let mut all = Rendered::new();
        for overlay in overlays(root) {
            let dir = overlay.strip_prefix(root).unwrap().display().to_string();
            add(&mut all, &dir, &said(Command::new(&self.kustomize).arg("build").arg(&overlay)));
        }
        let shop = std::fs::read_to_string(root.join("clusters/production/flux/shop.yaml")).unwrap();
        let shop: Value = yaml_serde::from_str(&shop).unwrap();
        std::fs::write(root.join("shop-values.yaml"), shop["spec"]["values"].to_string()).unwrap();
        for (name, chart, values) in RELEASES {
            let mut helm = Command::new(&self.helm);
            helm.args(["template", name]).arg(root.join(chart)).args(["--namespace", "production"]);
            values.iter().for_each(|file| {
                helm.arg("-f").arg(root.join(file));
            });
            add(&mut all, chart, &said(&mut helm));
        }
        for file in
            ["apps/worker/deployment.yaml", "apps/postgres/statefulset.yaml", "apps/search/scaledobject.yaml"]
        {
            add(&mut all, file, &std::fs::read_to_string(root.join(file)).unwrap());
        }
        all
    }
}

fn overlays(root: &Path) -> Vec<PathBuf> {
    let folders = |at: PathBuf| {
        let entries = std::fs::read_dir(at).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let mut found: Vec<PathBuf> =
        folders(root.join("apps")).into_iter().flat_map(|app| folders(app.join("overlays"))).collect();
    found.sort();
    assert!(found.len() >= 5, "{found:?}");
    found
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn add(all: &mut Rendered, from: &str, text: &str) {
    use serde::Deserialize as _;
    for document in yaml_serde::Deserializer::from_str(text) {
        let value = Value::deserialize(document).unwrap();
        if !value.is_null() {
            let (kind, name) = (&value["kind"], &value["metadata"]["name"]);
            all.insert(format!("{from} {kind} {name}"), value);
        }
    }
}

/// The leaves that differ: path, before, after.
fn differences(at: &str, old: &Value, new: &Value, found: &mut Vec<(String, Value, Value)>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differences(&format!("{at}.{key}"), &of(a), &of(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{at}[{index}]"), a, b, found);
            }
        }
        (a, b) if a != b => found.push((at.to_owned(), a.clone(), b.clone())),
        _ => {}
    }
}

#[test]
fn one_replica_more_is_one_field_of_what_kustomize_and_helm_render() {
    let Some(judges) = Judges::find("one_replica_more_is_one_field_of_what_kustomize_and_helm_render") else {
        return;
    };
    let clone = example();
    let before = judges.render(clone.path());
    let bin = judges.helm.parent().unwrap().display();
    for (target, file, field, from, to) in PLACES {
        let line = format!(
            "PATH={bin}:$PATH tars render ScaleOut --target {target} --set step=1 --set maxReplicas=9 -o json"
        );
        let preview = shell(clone.path(), &line);
        assert_eq!(preview.code, 0, "{target}: {preview:#?}");
        let preview = preview.json();
        let change = &preview["fields"][0];
        let got = [&change["file"], &change["field"], &change["from"], &change["to"]].map(Value::as_str);
        assert_eq!(got, [Some(*file), Some(*field), *from, Some(*to)], "{target}");

        git_with(clone.path(), &["apply", "-"], &[], preview["diff"].as_str().unwrap().as_bytes());
        let after = judges.render(clone.path());
        let mut changed = Vec::new();
        assert!(before.keys().eq(after.keys()), "{target}");
        before.iter().for_each(|(key, old)| differences(key, old, &after[key], &mut changed));
        assert_eq!(changed.len(), 1, "{target}: {changed:?}");
        assert_eq!(changed[0].2.to_string(), *to, "{target}: {changed:?}");
        git(clone.path(), &["checkout", "-q", "--", "."]);
    }
}

#[test]
fn without_helm_a_chart_says_what_it_needs() {
    let clone = example();
    // A PATH with git and nothing else.
    let line = "mkdir bin && ln -s $(command -v git) bin/git && T=$(command -v tars) && \
                PATH=$PWD/bin $T render ScaleOut --target production/Deployment/payments --set step=1 --set maxReplicas=9";
    let said = shell(clone.path(), line);
    assert_eq!((said.code, said.out.as_str()), (5, ""), "{said:#?}");
    assert!(said.err.contains("helm"), "{said:#?}");
}
