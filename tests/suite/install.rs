//! What installs tars, judged by the programs that will: helm, kubeconform, kustomize, promtool, amtool, the scanners,
//! and Argo CD. Comes in: `charts/`. What is copied from somewhere (the settings' schema, the rendered base) is
//! compared, and written anew with `TARS_WRITE_RENDERED=1`.

mod image;
mod rights;
mod scans;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{self, parts};

const SCHEMA: &str = "charts/tars/values.schema.json";
const BASE: &str = "charts/kustomize/base/tars.yaml";
const MONITORS: &str = "charts/kustomize/components/prometheus-operator/monitors.yaml";
/// Versions of Kubernetes whose schemas the rendered objects must fit.
const KUBERNETES: [&str; 5] = ["1.33.0", "1.34.0", "1.35.0", "1.36.0", "1.37.0"];
/// Kinds of the Prometheus operator: their schemas are another project's.
const OPERATORS_KINDS: &str = "ServiceMonitor,PodMonitor,PrometheusRule";

/// Sets of values that are one process.
const SINGLE: [&str; 2] = ["small", "pushed"];

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir(support::root()).output().unwrap()
}

/// Standard output of a run that succeeded.
fn said(program: &Path, args: &[&str]) -> String {
    let out = run(program, args);
    let error = String::from_utf8_lossy(&out.stderr);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{} {args:?}\n{text}{error}", program.display());
    text
}

/// The sets of values in the chart: name and path.
fn value_sets() -> Vec<(String, String)> {
    let named = |it: String| {
        let name = it.strip_prefix("charts/tars/ci/")?.strip_suffix("-values.yaml")?.to_owned();
        Some((name, it))
    };
    let sets: Vec<_> = support::files().into_iter().filter_map(named).collect();
    assert!(sets.len() >= 3, "{sets:?}");
    sets
}

fn rendered(helm: &Path, values: &str, more: &[&str]) -> String {
    let args = ["template", "tars", "charts/tars", "--namespace", "tars", "--values", values];
    said(helm, &[&args, more].concat())
}

fn copy(folder: &str, to: &Path) {
    let copied = Command::new("cp").arg("-R").arg(support::root().join(folder)).arg(to).status().unwrap();
    assert!(copied.success(), "{folder} could not be copied");
}

fn objects(text: &str) -> Vec<Value> {
    let read = |it: &str| yaml_serde::from_str::<Option<Value>>(it).unwrap_or_else(|e| panic!("{e}\n{it}"));
    text.split("\n---\n").filter_map(read).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|it| it["kind"] == kind).collect()
}

/// `path` holds `text`; with `TARS_WRITE_RENDERED=1` it does afterwards.
fn holds(path: &str, text: &str) {
    if std::env::var_os("TARS_WRITE_RENDERED").is_some() {
        std::fs::write(support::root().join(path), text).unwrap();
    }
    let found = support::text(path).unwrap_or_default();
    assert!(found == text, "{path} is not what it is made from: run this test with TARS_WRITE_RENDERED=1");
}

#[test]
fn the_schema_of_the_values_has_the_settings_as_the_program_takes_them() {
    let mut settings: Value = serde_json::from_str(&said(&support::tars(), &["config", "schema"])).unwrap();
    let fields = settings.as_object_mut().unwrap();
    let definitions = fields.remove("$defs").unwrap();
    fields.retain(|key, _| !matches!(key.as_str(), "$schema" | "title"));
    let mut schema: Value = serde_json::from_str(&support::text(SCHEMA).unwrap()).unwrap();
    schema["properties"]["settings"] = settings;
    schema["$defs"] = definitions;
    holds(SCHEMA, &format!("{schema:#}\n"));
}

#[test]
fn every_value_has_a_place_in_the_schema_and_the_other_way_round() {
    let schema: Value = serde_json::from_str(&support::text(SCHEMA).unwrap()).unwrap();
    let values: Value = yaml_serde::from_str(&support::text("charts/tars/values.yaml").unwrap()).unwrap();
    let keys = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut described = keys(&schema["properties"]);
    described.retain(|it| it != "global");
    let (mut described, mut given) = (described, keys(&values));
    described.sort();
    given.sort();
    assert_eq!(described, given);
}

#[test]
fn every_set_of_values_renders_what_kubernetes_takes() {
    let test = "every_set_of_values_renders_what_kubernetes_takes";
    let Some(helm) = parts::find("helm", test) else { return };
    let Some(conform) = parts::find("kubeconform", test) else { return };
    let Some(schemas) = parts::folder("kube-schemas", test) else { return };
    let place = "{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json";
    let place = format!("{}/{place}", schemas.display());
    let folder = tempfile::tempdir().unwrap();
    for (name, values) in value_sets() {
        said(&helm, &["lint", "--strict", "charts/tars", "--values", &values]);
        let text = rendered(&helm, &values, &[]);
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        for version in KUBERNETES {
            let args = ["-strict", "-kubernetes-version", version, "-schema-location", &place];
            said(&conform, &[&args[..], &["-skip", OPERATORS_KINDS, file]].concat());
        }
        let wrong = std::fs::read_to_string(file).unwrap().replace("containerPort:", "containerPrt:");
        std::fs::write(file, wrong).unwrap();
        let args = ["-strict", "-schema-location", &place, "-kubernetes-version", KUBERNETES[0], file];
        assert!(!run(&conform, &args).status.success(), "kubeconform takes anything");
    }
}

/// The chart and the program speak of the same settings.
#[test]
fn the_settings_that_the_chart_writes_are_valid_for_the_program() {
    let test = "the_settings_that_the_chart_writes_are_valid_for_the_program";
    let Some(helm) = parts::find("helm", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tars.yaml");
    for (name, values) in value_sets() {
        let all = objects(&rendered(&helm, &values, &[]));
        let map =
            of_kind(&all, "ConfigMap").into_iter().find(|it| it["data"]["tars.yaml"].is_string()).unwrap();
        std::fs::write(&file, map["data"]["tars.yaml"].as_str().unwrap()).unwrap();
        said(&support::tars(), &["config", "validate", "--config", file.to_str().unwrap()]);
        detectors_fit(&all, &name, &file);
        let deployment = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
        let pod = &of_kind(&all, "Pod")[0]["spec"];
        for field in ["volumes", "securityContext", "serviceAccountName"] {
            assert_eq!(pod[field], deployment[field], "{name}: helm test would try another {field}");
        }
        // Every file that the settings name lies in a volume of a Secret that the pod mounts.
        let mounts = deployment["containers"][0]["volumeMounts"].as_array().unwrap();
        let files = map["data"]["tars.yaml"].as_str().unwrap().lines();
        for path in files.filter_map(|it| it.split_once("/etc/tars/secrets/").map(|(_, it)| it)) {
            let place = format!("/etc/tars/secrets/{}", path.split('/').next().unwrap());
            assert!(mounts.iter().any(|it| it["mountPath"] == place.as_str()), "{name}: nothing at {place}");
        }
    }
}

/// Each credential of who is asked, told or heard is a Secret of its own, and both kinds of pods have the files of all.
#[test]
fn whoever_is_read_from_sent_to_or_heard_has_a_secret_in_every_pod_that_names_it() {
    let test = "whoever_is_read_from_sent_to_or_heard_has_a_secret_in_every_pod_that_names_it";
    let Some(helm) = parts::find("helm", test) else { return };
    let all = objects(&rendered(&helm, "charts/tars/ci/everything-values.yaml", &[]));
    for (map, kind) in [("tars-settings", "Deployment"), ("tars-detector-settings", "StatefulSet")] {
        let maps = of_kind(&all, "ConfigMap");
        let map = maps.iter().find(|it| it["metadata"]["name"] == map).unwrap();
        let settings: Value = yaml_serde::from_str(map["data"]["tars.yaml"].as_str().unwrap()).unwrap();
        let volumes = of_kind(&all, kind)[0]["spec"]["template"]["spec"]["volumes"].clone();
        for (slot, field, secret) in [
            ("prometheus", &settings["prometheus"]["bearer_token_file"], "tars-prometheus"),
            ("loki", &settings["loki"]["bearer_token_file"], "tars-loki"),
            ("jaeger", &settings["jaeger"]["bearer_token_file"], "tars-jaeger"),
            ("remoteWrite", &settings["remote_write"]["bearer_token_file"], "tars-mimir"),
            ("push", &settings["push"]["secret_file"], "tars-push"),
        ] {
            let file = field.as_str().unwrap_or_else(|| panic!("{kind}: nothing for {slot}"));
            assert!(file.starts_with(&format!("/etc/tars/secrets/{slot}/")), "{kind}: {file}");
            let named = volumes.as_array().unwrap().iter();
            let named = named.filter(|it| it["secret"]["secretName"] == secret).count();
            assert_eq!(named, 1, "{kind}: {slot}");
        }
    }
}

/// The detectors' settings are theirs alone: valid in every pod, with nothing about git or keys, and mounted.
fn detectors_fit(all: &[Value], name: &str, file: &Path) {
    let sets = of_kind(all, "StatefulSet");
    let Some(set) = sets.first().map(|it| &it["spec"]) else {
        return assert!(SINGLE.contains(&name), "{name} is no single process");
    };
    let maps = of_kind(all, "ConfigMap");
    let map = maps.iter().find(|it| it["metadata"]["name"] == "tars-detector-settings").unwrap();
    let text = map["data"]["tars.yaml"].as_str().unwrap();
    assert!(
        !text.contains("signing") && !text.contains("git") && !text.contains("webhook"),
        "{name}: {text}"
    );
    std::fs::write(file, text).unwrap();
    let total = set["replicas"].as_u64().unwrap();
    for ordinal in 0..=total {
        let mut validate = Command::new(support::tars());
        validate.args(["config", "validate", "--config"]).arg(file);
        let out = validate.env("HOSTNAME", format!("tars-detector-{ordinal}")).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.success(), ordinal < total, "{name}: {said}");
        assert!(ordinal == total || said.contains(&format!("shard {ordinal} of {total}")), "{said}");
    }
    let pod = &set["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["serviceAccountName"], "tars-detector", "{name}: an account without rights");
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    for path in text.lines().filter_map(|it| it.split_once("/etc/tars/secrets/").map(|(_, it)| it)) {
        let place = format!("/etc/tars/secrets/{}", path.split('/').next().unwrap());
        assert!(mounts.iter().any(|it| it["mountPath"] == place.as_str()), "{name}: nothing at {place}");
    }
    let writable: Vec<_> = mounts.iter().filter(|it| it["readOnly"] != true).collect();
    assert_eq!(
        writable,
        [&json!({"name": "state", "mountPath": "/var/lib/tars"})],
        "{name}: what it learned"
    );
    assert!(text.contains("state_dir: /var/lib/tars/"), "{name}: {text}");
    // The addresses by which remediators ask are those that the StatefulSet and its Service make.
    let own = maps.iter().find(|it| it["metadata"]["name"] == "tars-settings").unwrap();
    let settings: Value = yaml_serde::from_str(own["data"]["tars.yaml"].as_str().unwrap()).unwrap();
    let address = |it: u64| format!("http://tars-detector-{it}.tars-detectors.tars.svc:8080");
    assert_eq!(settings["detectors"]["urls"], json!((0..total).map(address).collect::<Vec<_>>()));
    assert_eq!(set["serviceName"], "tars-detectors");
    let services = of_kind(all, "Service");
    let headless = services.iter().find(|it| it["metadata"]["name"] == "tars-detectors").unwrap();
    assert_eq!(headless["spec"]["clusterIP"], "None");
    assert_eq!(headless["spec"]["selector"], set["selector"]["matchLabels"]);
}

#[test]
fn what_must_be_said_is_asked_for_by_name_and_what_is_wrong_is_refused() {
    let test = "what_must_be_said_is_asked_for_by_name_and_what_is_wrong_is_refused";
    let Some(helm) = parts::find("helm", test) else { return };
    let minimal = "charts/tars/ci/minimal-values.yaml";
    for (set, expected) in [
        ("image.repository=", "image.repository"),
        ("settings.repository.url=", "settings.repository.url"),
        (
            "settings.prometheus.url=,settings.signals[0].signal=a,settings.signals[0].service=b,settings.signals[0].query=c",
            "settings.prometheus.url",
        ),
        ("settings.prometheus.url=,settings.sync.kind=metric", "settings.prometheus.url"),
        ("networkPolicy.egress.git.to=null", "networkPolicy.egress.git.to"),
        ("networkPolicy.egress.prometheus.to=null", "networkPolicy.egress.prometheus.to"),
        ("settings.listen=0.0.0.0:9000", "settings.listen"),
        ("settings.role=all", "settings.role"),
        ("secrets.detectors=", "secrets.detectors"),
        ("detector.replicas=65", "detector"),
        ("settings.repository.urll=x", "urll"),
        ("settings.mode=Auto", "mode"),
        ("image.digest=sha256:1", "digest"),
        ("secret.git=x", "secret"),
        ("networkPolicy.ingress.alertmanager.from[0]=", "from"),
    ] {
        let args = ["template", "tars", "charts/tars", "--values", minimal, "--set", set];
        let out = run(&helm, &args);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && text.contains(expected), "{set}: {text}");
    }
}

#[test]
fn the_manifests_without_helm_are_what_the_chart_renders_and_kustomize_builds_them() {
    let test = "the_manifests_without_helm_are_what_the_chart_renders_and_kustomize_builds_them";
    let Some(helm) = parts::find("helm", test) else { return };
    let Some(kustomize) = parts::find("kustomize", test) else { return };
    let values = "charts/kustomize/values.yaml";
    holds(BASE, &rendered(&helm, values, &["--no-hooks"]));
    let on = "serviceMonitor.enabled=true,prometheusRule.enabled=true";
    let templates = ["templates/monitors.yaml", "templates/prometheusrule.yaml"];
    let more = ["--no-hooks", "--set", on, "--show-only", templates[0], "--show-only", templates[1]];
    holds(MONITORS, &rendered(&helm, values, &more));
    let folder = tempfile::tempdir().unwrap();
    copy("charts/kustomize", folder.path());
    let overlay = "resources: [kustomize/base]\ncomponents: [kustomize/components/observe-only, \
        kustomize/components/prometheus-operator]\n";
    std::fs::write(folder.path().join("kustomization.yaml"), overlay).unwrap();
    let all = objects(&said(&kustomize, &["build", folder.path().to_str().unwrap()]));
    assert_eq!(of_kind(&all, "ServiceMonitor").len(), 1);
    let container = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["env"], json!([{"name": "TARS_MODE", "value": "Observe"}]));
    assert!(all.iter().all(|it| it["kind"] == "Namespace" || it["metadata"]["namespace"] == "tars"));
}

#[test]
fn prometheus_takes_the_alerts_and_alertmanager_the_route() {
    let test = "prometheus_takes_the_alerts_and_alertmanager_the_route";
    let Some(promtool) = parts::find("promtool", test) else { return };
    said(&promtool, &["check", "rules", "charts/tars/alerts.yaml"]);
    said(&promtool, &["test", "rules", "tests/fixtures/alerts-cases.yaml"]);
    let Some(amtool) = parts::find("amtool", test) else { return };
    let route = "charts/tars/alertmanager-route.yaml";
    said(&amtool, &["check-config", route]);
    let to = |label: &str| said(&amtool, &["config", "routes", "test", "--config.file", route, label]);
    assert!(to("tars=true").contains("tars") && to("tars=false").trim() == "people");
    // In the chart the alerts keep their templates: Helm's braces are the same.
    let Some(helm) = parts::find("helm", test) else { return };
    let all = objects(&rendered(&helm, "charts/tars/ci/everything-values.yaml", &[]));
    let rule = of_kind(&all, "PrometheusRule")[0]["spec"].to_string();
    assert!(rule.contains("{{ $labels.service }}"), "{rule}");
    let alerts: Value = yaml_serde::from_str(&support::text("charts/tars/alerts.yaml").unwrap()).unwrap();
    let readme = support::text("charts/README.md").unwrap();
    for alert in alerts["groups"][0]["rules"].as_array().unwrap() {
        let name = alert["alert"].as_str().unwrap();
        assert!(rule.contains(&format!("https://runbooks.example.com/tars#{}", name.to_lowercase())));
        assert!(readme.contains(&format!("### {name}\n")), "charts/README.md has no heading for {name}");
    }
}

#[test]
fn argo_cd_judges_policies_and_actions_as_the_cases_say() {
    let test = "argo_cd_judges_policies_and_actions_as_the_cases_say";
    let Some(argocd) = parts::find("argocd", test) else { return };
    let Some(kustomize) = parts::find("kustomize", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    copy("charts/argocd", folder.path());
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: argocd}\n";
    std::fs::write(at("map.yaml"), map).unwrap();
    std::fs::write(at("kustomization.yaml"), "resources: [map.yaml]\ncomponents: [argocd]\n").unwrap();
    std::fs::write(at("cm.yaml"), said(&kustomize, &["build", folder.path().to_str().unwrap()])).unwrap();
    let ask = |verb: &[&str]| {
        let mut asked = Command::new(&argocd);
        asked
            .env("ARGOCD_BINARY_NAME", "argocd")
            .args(["admin", "settings", "resource-overrides"])
            .args(verb);
        let out = asked.args(["--argocd-cm-path", &at("cm.yaml")]).output().unwrap();
        assert!(out.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let cases: Vec<Value> =
        yaml_serde::from_str(&support::text("charts/argocd/cases.yaml").unwrap()).unwrap();
    let object = |case: &Value| {
        let mut object =
            json!({"apiVersion": "aiops.tars/v1alpha1", "kind": case["kind"], "spec": case["spec"]});
        object["metadata"] = json!({"name": "x", "namespace": "y", "generation": case["generation"]});
        if case["status"].is_object() {
            object["status"] = case["status"].clone();
        }
        std::fs::write(at("object.yaml"), object.to_string()).unwrap();
    };
    for case in &cases {
        object(case);
        let answer = ask(&["health", &at("object.yaml")]);
        let expected = format!("STATUS: {}\n", case["health"].as_str().unwrap());
        assert!(answer.starts_with(&expected), "{}: {answer}", case["name"]);
    }
    for (suspended, action, becomes) in [(false, "suspend", "true"), (true, "resume", "false")] {
        object(&json!({"kind": "RemediationPolicy", "generation": 1, "spec": {"suspend": suspended}}));
        let offered = ask(&["list-actions", &at("object.yaml")]);
        let able = offered.lines().find(|it| it.starts_with(action)).unwrap();
        assert!(able.ends_with("false"), "{offered}");
        let answer = ask(&["run-action", &at("object.yaml"), action]);
        assert!(answer.contains(&format!("suspend: {becomes}")), "{answer}");
    }
}
