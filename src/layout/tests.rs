//! What the index says about whole repositories: workloads, owners, layers, and what it cannot read.

use super::*;
use crate::model::fixtures::{oid, target};
use crate::model::tree::{EntryMode, TreeFile};
use crate::model::workload::Container;
use crate::yaml;

fn repository(files: &[(&str, &str)]) -> Index {
    let entry = |(path, text): &(&str, &str)| {
        (RepoPath::new(*path).unwrap(), TreeFile::held(EntryMode::File, text.as_bytes()))
    };
    index(&RepoTree::held(oid('a'), files.iter().map(entry).collect()))
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: backend}
spec:
  replicas: 4
  template:
    metadata: {annotations: {kubectl.kubernetes.io/restartedAt: '2026-01-01T00:00:00Z'}}
    spec:
      containers: [{name: app, image: 'registry:5000/x:1'}, {name: proxy, image: y@sha256:aa}]
      initContainers: [{name: init, image: 'x'}]
";

#[test]
fn a_workload_is_what_its_overlay_renders() {
    let index = repository(&[
        ("base/d.yaml", DEPLOYMENT),
        ("base/kustomization.yaml", "resources: [d.yaml]\n"),
        (
            "prod/kustomization.yaml",
            "namespace: shop\nnamePrefix: p-\nresources: [../base]\nreplicas: [{name: backend, count: 7}]\n\
             images: [{name: registry:5000/x, newTag: '2'}, {name: y, newName: z, newTag: '3'}]\n\
             patches: [{path: patch.yaml}]\n",
        ),
        (
            "prod/patch.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\n\
             spec: {strategy: {rollingUpdate: {maxUnavailable: 2}}}\n",
        ),
    ]);
    let found = index.workload(&target("shop/Deployment/p-backend")).unwrap();
    assert_eq!(found.replicas, Some(7));
    assert_eq!(found.max_unavailable, Some(2));
    assert_eq!(found.declared_in.as_str(), "base/d.yaml");
    assert_eq!(found.restarted_at.as_deref(), Some("2026-01-01T00:00:00Z"));
    let container = |name: &str, image: &str| Container { name: name.into(), image: image.into() };
    let expected = [container("app", "registry:5000/x:2"), container("proxy", "z:3"), container("init", "x")];
    assert_eq!(found.containers, expected);
    let files: Vec<String> =
        index.files_of(&target("shop/Deployment/p-backend")).iter().map(ToString::to_string).collect();
    let expected = ["base/d.yaml", "base/kustomization.yaml", "prod/kustomization.yaml", "prod/patch.yaml"];
    assert_eq!(files, expected);
    assert_eq!(index.targets().len(), 1, "the base is no object of its own");
}

#[test]
fn the_rollout_width_follows_the_strategy_and_the_defaults_of_kubernetes() {
    for (kind, strategy, expected) in [
        ("Deployment", "", Some(1)),
        ("Deployment", "strategy: {type: Recreate}", None),
        ("Deployment", "strategy: {rollingUpdate: {maxUnavailable: 50%}}", Some(2)),
        ("Deployment", "strategy: {rollingUpdate: {maxUnavailable: 0}}", Some(0)),
        ("Deployment", "strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 0}}", Some(1)),
        ("Deployment", "strategy: {rollingUpdate: {maxUnavailable: soon}}", None),
        ("StatefulSet", "", Some(1)),
        ("StatefulSet", "updateStrategy: {type: OnDelete}", Some(0)),
        ("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 3}}", Some(3)),
    ] {
        let text = DEPLOYMENT.replace("kind: Deployment", &format!("kind: {kind}"));
        let index = repository(&[("a.yaml", &format!("{text}  {strategy}\n"))]);
        let found = index.workload(&target(&format!("default/{kind}/backend"))).unwrap();
        assert_eq!(found.max_unavailable, expected, "{kind} {strategy}");
    }
}

#[test]
fn an_autoscaler_owns_the_count_with_its_bounds() {
    let hpa = |api: &str, min: &str| {
        format!(
            "apiVersion: autoscaling/{api}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: h}}\n\
             spec: {{scaleTargetRef: {{kind: Deployment, name: backend}}{min}, maxReplicas: 9}}\n"
        )
    };
    for (text, min) in [(hpa("v1", ""), 1), (hpa("v2", ", minReplicas: 3"), 3)] {
        let index = repository(&[("a.yaml", DEPLOYMENT), ("h.yaml", &text)]);
        let owner = index.workload(&target("default/Deployment/backend")).unwrap().owner;
        let expected = target("default/HorizontalPodAutoscaler/h");
        assert_eq!(owner, ReplicaOwner::Autoscaler { target: expected, min, max: 9 });
    }
    let elsewhere = hpa("v2", "").replace("{name: h}", "{name: h, namespace: other}");
    let index = repository(&[("a.yaml", DEPLOYMENT), ("h.yaml", &elsewhere)]);
    let owner = index.workload(&target("default/Deployment/backend")).unwrap().owner;
    assert_eq!(owner, ReplicaOwner::Workload);
}

#[test]
fn unreadable_files_are_listed_and_the_rest_still_works() {
    let index = repository(&[
        ("a.yaml", DEPLOYMENT),
        ("bad.yaml", "a: [1\n"),
        ("chart/Chart.yaml", "name: x\n"),
        ("chart/templates/d.yaml", "kind: {{ .x }}\n"),
        ("deep.yaml", &"[".repeat(200_000)),
        ("notes.txt", "not yaml"),
    ]);
    let skipped: Vec<&str> = index.skipped().iter().map(|s| s.file.as_str()).collect();
    assert_eq!(skipped, ["bad.yaml", "chart/templates/d.yaml", "deep.yaml"]);
    assert!(index.workload(&target("default/Deployment/backend")).is_ok());
}

#[test]
fn a_file_that_says_twice_what_an_object_is_is_not_read() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    for (again, key) in
        [("kind: Pod\n", "kind"), ("metadata: {name: b}\n", "metadata"), ("spec: 1\nspec: 2\n", "spec")]
    {
        let index = repository(&[("a.yaml", &format!("{text}{again}"))]);
        assert!(index.targets().is_empty());
        let why = &index.skipped()[0].why;
        assert!(why.contains(&format!("{key:?} twice")), "{why}");
    }
    let index = repository(&[("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, name: b}\n")]);
    assert!(index.skipped()[0].why.contains("\"name\" twice"), "{:?}", index.skipped());
    let elsewhere = repository(&[("a.yaml", &format!("{text}spec: {{a: 1, a: 2}}\n"))]);
    assert_eq!(elsewhere.targets().len(), 1);
}

#[test]
fn kustomizations_that_only_include_each_other_many_times_end() {
    let many = |it: &str| format!("resources: [{}]\n", vec![it; 40].join(", "));
    let index = repository(&[
        ("p/kustomization.yaml", "resources: [a.yaml, ../x, ../x]\n"),
        (
            "p/a.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: shop}\nspec: {replicas: 3}\n",
        ),
        ("x/kustomization.yaml", &many("../y")),
        ("y/kustomization.yaml", &many("../x")),
    ]);
    let refused = index.workload(&target("shop/Deployment/a")).unwrap_err();
    assert!(refused.text.contains("includes itself"), "{refused:?}");
}

#[test]
fn kustomizations_that_include_each_other_end() {
    let index = repository(&[
        ("a/kustomization.yaml", "resources: [../b, d.yaml]\n"),
        ("a/d.yaml", DEPLOYMENT),
        ("b/kustomization.yaml", "resources: [../a]\n"),
        ("c/kustomization.yaml", "resources: [../a]\n"),
    ]);
    assert!(index.workload(&target("default/Deployment/backend")).is_err());
}

#[test]
fn bases_that_double_at_every_level_stay_inside_the_bound() {
    let small = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\n";
    let mut files = vec![("l0/d.yaml".to_owned(), small.to_owned())];
    files.push(("l0/kustomization.yaml".to_owned(), "resources: [d.yaml]\n".to_owned()));
    for level in 1..17 {
        let below = level - 1;
        let text = format!("resources: [../l{below}, ../l{below}/.]\n");
        files.push((format!("l{level}/kustomization.yaml"), text));
    }
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let index = repository(&borrowed);
    assert!(index.rendered().len() <= 50_000);
    assert!(index.workload(&target("default/Deployment/backend")).is_err());
}

#[test]
fn files_that_no_kustomization_names_are_not_live() {
    let index = repository(&[
        ("p/kustomization.yaml", "resources: [../shared/d.yaml]\n"),
        ("p/forgotten.yaml", &DEPLOYMENT.replace("backend", "forgotten")),
        ("shared/d.yaml", DEPLOYMENT),
        (
            "flux/kustomization.yaml",
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: f}\n",
        ),
    ]);
    let targets: Vec<String> = index.targets().iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["default/Deployment/backend", "default/Kustomization/f"]);
}

#[test]
fn a_target_by_pattern_selects_what_kustomize_selects() {
    let patch = |target: &str| {
        let kustomization =
            format!("resources: [d.yaml]\npatches: [{{path: p.yaml, target: {{{target}}}}}]\n");
        let index = repository(&[
            ("k/d.yaml", DEPLOYMENT),
            ("k/kustomization.yaml", &kustomization),
            ("k/p.yaml", "kind: Deployment\nmetadata: {name: ignored}\nspec: {replicas: 9}\n"),
        ]);
        index.workload(&target_ref()).unwrap().replicas
    };
    fn target_ref() -> WorkloadRef {
        target("default/Deployment/backend")
    }
    for (selector, count) in [
        ("kind: Deployment", 9),
        ("kind: Deployment, name: back.*", 9),
        ("name: back", 4),
        ("group: apps, version: v1", 9),
        ("group: batch", 4),
        ("kind: StatefulSet", 4),
    ] {
        assert_eq!(patch(selector), Some(count), "{selector}");
    }
}

#[test]
fn only_a_plainly_written_whole_number_is_a_count() {
    let path = Address::from(FieldPath::keys(["n"]));
    for (text, plain) in [
        ("0", true),
        ("3", true),
        ("123456789", true),
        ("1234567890", false),
        ("010", false),
        ("\"3\"", false),
        ("!!int 3", false),
        ("!!int \"3\"", false),
        ("3.0", false),
        ("-1", false),
        ("0x3", false),
        ("${N}", false),
        ("~", false),
    ] {
        let index = repository(&[("a.yaml", &format!("n: {text}\n"))]);
        assert_eq!(index.is_plain_count(&RepoPath::new("a.yaml").unwrap(), 0, &path), plain, "{text}");
    }
}

#[test]
fn paths_of_leaves_read_back() {
    let value = serde_json::json!({
        "metadata": {"annotations": {"a.b/c": "x"}},
        "containers": [{"name": "a", "args": ["x", "y"]}, {"name": "b", "empty": {}}],
        "gone": null,
    });
    let found = leaves(&value);
    let texts: Vec<String> = found.keys().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "containers[name=a].args[0]",
            "containers[name=a].args[1]",
            "containers[name=a].name",
            "containers[name=b].empty",
            "containers[name=b].name",
            "metadata.annotations.\"a.b/c\"",
        ]
    );
    for (path, leaf) in &found {
        assert_eq!(FieldPath::parse(&path.to_string()).as_ref(), Some(path));
        assert_eq!(path.find(&value), Some(leaf));
    }
}

#[test]
fn a_written_scalar_keeps_its_type() {
    for value in [
        serde_json::json!("3"),
        serde_json::json!(3),
        serde_json::json!("true"),
        serde_json::json!(true),
        serde_json::json!("1.10"),
        serde_json::json!("registry/x:1"),
        serde_json::json!("\"quoted\""),
    ] {
        let text = written(&value).unwrap();
        let back = match unwritten(&text) {
            yaml::Value::Text(text) => Json::from(text),
            yaml::Value::Int(number) => Json::from(number),
            yaml::Value::Bool(flag) => Json::from(flag),
            other => panic!("{other:?}"),
        };
        assert_eq!(back, value, "{text}");
    }
}

#[test]
fn names_and_images_follow_kustomize_5_5() {
    // Expected values are what `kubectl kustomize` (kustomize 5.5.0) prints for the same files.
    let base = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\nspec:\n  replicas: 1\n\
                \x20 template: {spec: {containers: [{name: a, image: 'r:5000/a:1'},\n\
                \x20   {name: b, image: 'b@sha256:aa'},\n\
                \x20   {name: c, image: 'c:1@sha256:bb'}, {name: d, image: 'd:1'},\n\
                \x20   {name: e, image: 'e:1@sha256:cc'}]}}\n";
    let mid = "namePrefix: p-\nresources: [../base]\nimages:\n- {name: 'r:5000/a', digest: 'sha256:dd'}\n\
               - {name: b, newTag: '2'}\n- {name: c, newTag: '2'}\n\
               - {name: d, newTag: '2', digest: 'sha256:ee'}\n\
               - {name: e, newName: f}\n";
    for name in ["backend", "p-backend"] {
        let outer = format!(
            "namespace: shop\nnamePrefix: q-\nresources: [../mid]\nreplicas: [{{name: {name}, count: 7}}]\n\
             patches: [{{path: p.yaml}}, {{target: {{name: {name}}}, path: ops.yaml}}]\n"
        );
        let patch = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{paused: true}}\n"
        );
        let index = repository(&[
            ("base/d.yaml", base),
            ("base/kustomization.yaml", "resources: [d.yaml]\n"),
            ("mid/kustomization.yaml", mid),
            ("out/kustomization.yaml", &outer),
            ("out/p.yaml", &patch),
            ("out/ops.yaml", "- {op: add, path: /spec/minReadySeconds, value: 9}\n"),
        ]);
        let found = target("shop/Deployment/q-p-backend");
        let workload = index.workload(&found).unwrap();
        let images: Vec<&str> = workload.containers.iter().map(|c| c.image.as_str()).collect();
        assert_eq!(images, ["r:5000/a@sha256:dd", "b:2", "c:2", "d:2@sha256:ee", "f:1@sha256:cc"]);
        let spec = &index.object(&found).unwrap()["spec"];
        assert_eq!(
            (&spec["replicas"], &spec["paused"], &spec["minReadySeconds"]),
            (&7.into(), &true.into(), &9.into())
        );
    }
}
