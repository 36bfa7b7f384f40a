//! Incidents in the real cluster, from the first bad second to the verdict: real Prometheus measures, the real `tars run` proposes on
//! the real Gitea, Flux or Argo CD applies, tars follows that through the API server, and the pods follow. Comes in: the cluster;
//! out: the ledger, the objects as the API server has them, and how long each step took. Never: a hand on the cluster other than
//! that of Flux and Argo CD, unless the incident is about one.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::cluster::{Cluster, START};
use super::delivery::{ArgoCd, Flux, LOOK_S};
use super::exporter::Exporter;
use super::kube::{Kube, is_rolled_out};
use super::process::wait_for;
use super::shop::{DEPLOYMENT, Repository, deployment, git};
use super::support::gitea::ORGANISATION;
use super::watch::{WITHIN, Watch};

/// Three replicas serve these at once, and not [`SURGE_CLIENTS`], for whom it takes seven.
pub(crate) const CALM_CLIENTS: usize = 4;
pub(crate) const SURGE_CLIENTS: usize = 28;

fn p95(namespace: &str) -> String {
    format!(
        "1000 * histogram_quantile(0.95, sum by (le) (rate(\
         http_request_duration_seconds_bucket{{namespace=\"{namespace}\", app=\"backend\"}}[5s])))"
    )
}

fn error_ratio(namespace: &str) -> String {
    let failed = format!("http_requests_total{{namespace=\"{namespace}\", code=\"500\"}}");
    let all = format!("http_requests_total{{namespace=\"{namespace}\"}}");
    format!("sum(rate({failed}[5s])) / sum(rate({all}[5s]))")
}

/// The settings' lines of one signal, and how long a commit may take.
pub(crate) fn latency(namespace: &str, sync_timeout: &str) -> String {
    signal("latency_p95", &p95(namespace), sync_timeout)
}

fn signal(name: &str, query: &str, sync_timeout: &str) -> String {
    format!(
        "signals:\n  - {{signal: {name}, service: backend, query: '{query}', step: 1s, window: 10m}}\n\
         sync: {{timeout: {sync_timeout}}}\n"
    )
}

/// Scales `backend` out when it is slow. `more`: further lines of its spec.
pub(crate) fn scale_out(namespace: &str, more: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata: {{name: backend-latency, namespace: {namespace}}}
spec:
  mode: AutoMerge
  triggers:
    - type: promql
      query: '{} > 180'
      for: 3s
  actions: [{{type: ScaleOut, scaleOut: {{step: 4, maxReplicas: 10}}}}]
  allowedResources: [{{kind: Deployment, name: backend}}]
  verify: {{signal: latency_p95, service: backend, below: 180, window: 20s, within: 4m}}
{more}",
        p95(namespace)
    )
}

fn roll_back(namespace: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata: {{name: backend-errors, namespace: {namespace}}}
spec:
  mode: AutoMerge
  triggers:
    - type: promql
      query: '{} > 0.1'
      for: 3s
  actions: [{{type: Rollback, rollback: {{scope: Image, maxAge: 2h}}}}]
  allowedResources: [{{kind: Deployment, name: backend}}]
  verify: {{signal: error_ratio, service: backend, below: '0.05', window: 20s, within: 4m}}
",
        error_ratio(namespace)
    )
}

pub(crate) fn flux_applied(kube: &Kube, name: &str, commit: &str) {
    let revision = format!("main@sha1:{commit}");
    wait_for(&format!("Flux applied {commit} of {name}"), START, || {
        (Flux::revision(kube, name)? == revision).then_some(())
    });
}

pub(crate) fn runs(kube: &Kube, namespace: &str, replicas: u64) -> Option<()> {
    let deployment = kube.deployment(namespace, "backend")?;
    (is_rolled_out(&deployment) && deployment["status"]["readyReplicas"] == replicas).then_some(())
}

/// `kubectl wait` on the object that shows the action in the cluster.
pub(crate) fn is_verified_for_kubectl(kube: &Kube, namespace: &str) {
    let args = ["-n", namespace, "wait", "rem", "--all", "--for=condition=Verified", "--timeout=60s"];
    let (code, said) = kube.kubectl(&args, "");
    assert!(code == 0 && said.contains("condition met"), "{said}");
}

/// What somebody sees who asks for all of it: which policy, on what, how far; printed, for people to judge.
#[allow(clippy::print_stderr, reason = "a table is to be looked at")]
fn reads_well(kube: &Kube, namespace: &str) {
    let (code, table) = kube.kubectl(&["get", "rpol,rem", "-A"], "");
    eprintln!("{table}");
    let line = |what: &str| table.lines().find(|it| it.starts_with(namespace) && it.contains(what));
    assert!(code == 0 && table.lines().all(|it| it.chars().count() <= 160), "{table}");
    let (policy, action) = (line("remediationpolicy").unwrap(), line("remediationaction").unwrap());
    assert!(policy.contains("True") && policy.contains("AutoMerge"), "{policy}");
    let shown: Vec<&str> = action.split_whitespace().collect();
    assert_eq!(
        shown[2..9],
        ["Deployment/backend", "ScaleOut", "Low", "AutoMerge", "#1", "True", "True"],
        "{table}"
    );
}

#[allow(clippy::print_stderr, reason = "the split of the time is what a run of this tier reports")]
pub(crate) fn report(incident: &str, split: &[String]) {
    eprintln!("{incident}: {}", split.join(", "));
}

/// From three replicas to seven, with nobody touching it: how long each step took.
fn surge_until_verified(watch: &Watch, exporter: &Exporter, kube: &Kube) -> Vec<String> {
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let mut split = vec![watch.step("detect and propose", &mut since, || watch.has("Proposed"))];
    split.push(watch.step("merge", &mut since, || watch.has("Merged")));
    split.push(watch.step("sync", &mut since, || watch.has("Synced")));
    assert_eq!(runs(kube, watch.name, 7), Some(()), "Synced means that seven replicas are ready");
    split.push(watch.step("recover", &mut since, || watch.has("Verified")));
    assert_eq!(watch.kinds(), ["Proposed", "MergeReserved", "Merged", "Synced", "Verified"]);
    split
}

pub(crate) fn surge_with_flux(cluster: &Cluster) {
    const NAME: &str = "surge";
    let repository = Repository::new(cluster, NAME);
    // Quiet again, the replicas are given back as soon as may be.
    // A merge that is held for a moment keeps its slot of the budget, so there are some to spare.
    let more = "  revertAfter: 1m\n  autoRevert: true\n  maxExecutionsPerHour: 6\n";
    let policy = scale_out(NAME, more);
    let imported = repository.push(&repository.files(3, "1.0.0", &policy), "Import");
    repository.protect(cluster);
    let kube = &cluster.admin;
    kube.apply(&Flux::objects(NAME, &repository.url, "./apps/backend"));
    flux_applied(kube, NAME, &imported);
    let exporter = Exporter::start(kube, NAME, CALM_CLIENTS);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(NAME, "4m"));
    let mut split = surge_until_verified(&watch, &exporter, kube);
    let pulls = watch.pulls(cluster);
    assert!(pulls.len() == 1 && pulls[0]["merged"] == true, "{pulls:#?}");
    let head = git(&watch.mirror, &["rev-parse", "main"]);
    assert_eq!(Flux::revision(kube, NAME), Some(format!("main@sha1:{head}")), "Flux applied what was merged");
    let changed = git(&watch.mirror, &["diff", "--numstat", &imported, "main"]);
    assert_eq!(changed, format!("1\t1\t{DEPLOYMENT}"));
    is_verified_for_kubectl(kube, NAME);
    exporter.set_clients(CALM_CLIENTS);
    let mut since = Instant::now();
    split.push(watch.step("scale back", &mut since, || watch.has("Expired")));
    split.push(watch.step("three replicas again", &mut since, || runs(kube, NAME, 3)));
    report("A", &split);
    let left = git(&watch.mirror, &["diff", "--numstat", &imported, "main"]);
    assert_eq!(left, "", "every byte is back");
}

/// The count stands in the values of a release: a Kustomization brings the release, and the release the Deployment.
pub(crate) fn surge_in_a_helm_release(cluster: &Cluster) {
    const NAME: &str = "released";
    const RELEASE: &str = "releases/backend.yaml";
    let repository = Repository::new(cluster, NAME);
    let release = format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: backend, namespace: {NAME}}}
spec:
  interval: 10m
  releaseName: backend
  chart:
    spec:
      chart: ./charts/backend
      sourceRef: {{kind: GitRepository, name: {NAME}, namespace: flux-system}}
  values:
    replicas: 3   # four requests at once each
"
    );
    let template = deployment(3, "1.0.0").replace("replicas: 3", "replicas: {{ .Values.replicas }}");
    let files = [
        (RELEASE, release.as_str()),
        ("charts/backend/Chart.yaml", "apiVersion: v2\nname: backend\nversion: 1.0.0\n"),
        ("charts/backend/values.yaml", "replicas: 2\n"),
        ("charts/backend/templates/deployment.yaml", &template),
    ];
    let imported = repository.push(&files.map(|(path, text)| (path.to_owned(), text.to_owned())), "Import");
    repository.protect(cluster);
    let kube = &cluster.admin;
    // This one is the cluster's own.
    kube.apply(&scale_out(NAME, ""));
    kube.apply(&Flux::objects(NAME, &repository.url, "./releases"));
    flux_applied(kube, NAME, &imported);
    assert_eq!(runs(kube, NAME, 3), Some(()), "the release is there when Flux says that it is applied");
    let exporter = Exporter::start(kube, NAME, CALM_CLIENTS);
    let (account, signals) = (&cluster.tars.config, latency(NAME, "4m"));
    let watch = Watch::with_policies("cluster", cluster, &repository, &exporter, account, &signals);
    report("A, in a Helm release", &surge_until_verified(&watch, &exporter, kube));
    is_verified_for_kubectl(kube, NAME);
    reads_well(kube, NAME);
    let changed = git(&watch.mirror, &["diff", "--numstat", &imported, "main"]);
    assert_eq!(changed, format!("1\t1\t{RELEASE}"));
}

pub(crate) fn bad_image_with_argo_cd(cluster: &Cluster) {
    const NAME: &str = "bad-image";
    let repository = Repository::new(cluster, NAME);
    repository.push(&repository.files(3, "1.0.0", &roll_back(NAME)), "Import");
    repository.protect(cluster);
    let kube = &cluster.admin;
    kube.apply(&ArgoCd::object(NAME, &repository.url, "apps/backend", &cluster.url, NAME));
    wait_for("the first image runs", START, || runs(kube, NAME, 3));
    let exporter = Exporter::start(kube, NAME, CALM_CLIENTS);
    let signals = signal("error_ratio", &error_ratio(NAME), "4m");
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &signals);
    let bad = repository.push(&repository.files(3, "1.1.0-bad", &roll_back(NAME)), "Release 1.1.0");
    let mut since = Instant::now();
    let mut split =
        vec![watch.step("release", &mut since, || (ArgoCd::revision(kube, NAME)? == bad).then_some(()))];
    split.push(watch.step("detect and propose", &mut since, || watch.has("Proposed")));
    let pull = wait_for("the pull request is open", WITHIN, || watch.pulls(cluster).into_iter().next());
    assert_eq!(pull["state"], "open", "{pull:#}");
    // It is a person's to decide: nothing merges while nobody has.
    since = Instant::now();
    let reviewer = cluster.gitea.user("reviewer", &["write:repository"]);
    let path = format!("/repos/{ORGANISATION}/{NAME}/collaborators/reviewer");
    cluster.gitea.admin("PUT", &path, Some(&json!({ "permission": "write" })), 204);
    let path = format!("/repos/{ORGANISATION}/{NAME}/pulls/{}/merge", pull["number"]);
    let merge = json!({ "Do": "merge" });
    split.push(watch.step("merge by a person", &mut since, || {
        assert_eq!(watch.has("MergeReserved"), None, "a rollback is not tars's to merge");
        (cluster.gitea.ask(&reviewer, "POST", &path, Some(&merge)).0 == 200).then_some(())
    }));
    split.push(watch.step("sync", &mut since, || watch.has("Synced")));
    let image =
        kube.deployment(NAME, "backend").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
            .take();
    assert!(image.as_str().is_some_and(|it| it.ends_with(":1.0.0")), "{image}");
    split.push(watch.step("recover", &mut since, || watch.has("Verified")));
    report("B", &split);
    assert_eq!(watch.kinds(), ["Proposed", "Merged", "Synced", "Verified"]);
    assert_eq!(watch.records()[0]["status"]["merge"]["by"], "Person");
    is_verified_for_kubectl(kube, NAME);
}

pub(crate) fn surge_under_an_autoscaler(cluster: &Cluster) {
    const NAME: &str = "autoscaled";
    const AUTOSCALER: &str = "apps/backend/autoscaler.yaml";
    let repository = Repository::new(cluster, NAME);
    let mut files = repository.files(3, "1.0.0", &scale_out(NAME, ""));
    // Whoever has an autoscaler leaves the count out.
    files[0].1 = files[0].1.replace("  replicas: 3   # four requests at once each\n", "");
    files[1].1 = files[1].1.replace("[deployment.yaml]", "[deployment.yaml, autoscaler.yaml]");
    let autoscaler = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: backend}
spec:
  minReplicas: 3
  maxReplicas: 12
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: backend}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
";
    files.push((AUTOSCALER.to_owned(), autoscaler.to_owned()));
    let imported = repository.push(&files, "Import");
    repository.protect(cluster);
    let kube = &cluster.admin;
    // Flux does not look by itself before this is over.
    let seldom = Flux::objects(NAME, &repository.url, "./apps/backend").replacen(
        &format!("interval: {LOOK_S}s"),
        "interval: 10m",
        1,
    );
    kube.apply(&seldom);
    flux_applied(kube, NAME, &imported);
    wait_for("the autoscaler made it three", START, || runs(kube, NAME, 3));
    let exporter = Exporter::start(kube, NAME, CALM_CLIENTS);
    let settings = latency(NAME, "4m, refresh: true");
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &settings);
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let mut split = vec![watch.step("detect and propose", &mut since, || watch.has("Proposed"))];
    split.push(watch.step("merge", &mut since, || watch.has("Merged")));
    split.push(watch.step("sync", &mut since, || watch.has("Synced")));
    assert_eq!(runs(kube, NAME, 7), Some(()), "Synced means that the autoscaler has followed");
    let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/{NAME}");
    let asked = kube.get(&path).unwrap()["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].take();
    assert!(asked.is_string(), "Flux was asked to look at once");
    split.push(watch.step("recover", &mut since, || watch.has("Verified")));
    report("C", &split);
    let changed = git(&watch.mirror, &["diff", "--numstat", &imported, "main"]);
    assert_eq!(changed, format!("1\t1\t{AUTOSCALER}"), "the bounds, and not the count");
}

/// Two ways in which a merged commit does not arrive.
pub(crate) fn sync_is_broken(cluster: &Cluster) {
    let suspend = json!({ "spec": { "suspend": true } });
    let elsewhere = json!({ "spec": { "path": "./apps/nowhere" } });
    std::thread::scope(|scope| {
        scope.spawn(|| never_arrives(cluster, "suspended", &suspend, "is suspended"));
        scope.spawn(|| never_arrives(cluster, "misplaced", &elsewhere, "kustomization path not found"));
    });
}

fn never_arrives(cluster: &Cluster, name: &'static str, patch: &Value, why: &str) {
    let repository = Repository::new(cluster, name);
    let imported = repository.push(&repository.files(3, "1.0.0", &scale_out(name, "")), "Import");
    repository.protect(cluster);
    let kube = &cluster.admin;
    kube.apply(&Flux::objects(name, &repository.url, "./apps/backend"));
    flux_applied(kube, name, &imported);
    let exporter = Exporter::start(kube, name, CALM_CLIENTS);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(name, "30s"));
    let patched = patch.to_string();
    let args = ["-n", "flux-system", "patch", "kustomization", name, "--type=merge", "-p", &patched];
    let (code, said) = kube.kubectl(&args, "");
    assert_eq!(code, 0, "{said}");
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let mut split = vec![watch.step("detect and propose", &mut since, || watch.has("Proposed"))];
    split.push(watch.step("merge", &mut since, || watch.has("Merged")));
    // What would have helped comes from elsewhere: that is no merit of the change.
    exporter.set_clients(CALM_CLIENTS);
    split.push(watch.step("give up", &mut since, || watch.has("Unknown")));
    report(&format!("D ({name})"), &split);
    assert_eq!(watch.kinds(), ["Proposed", "MergeReserved", "Merged", "Unknown"], "and no verdict");
    let hold = watch.records()[0]["status"]["holds"][0].clone();
    let text = hold["text"].as_str().unwrap_or_default();
    assert!(hold["code"] == "SyncTimeout" && text.contains(why), "{hold:#}");
    assert!(text.contains(&format!("Kustomization flux-system/{name}")), "{text}");
    let synced = wait_for("the cluster shows it", START, || {
        let path = format!("/apis/aiops.tars/v1alpha1/namespaces/{name}/remediationactions");
        let action = kube.get(&path)?["items"][0].take();
        let conditions = action["status"]["conditions"].as_array()?.clone();
        conditions.into_iter().find(|it| it["type"] == "Synced" && it["status"] == "False")
    });
    assert!(synced["reason"] == "SyncTimeout" && synced["message"].to_string().contains(why), "{synced:#}");
    let pull = &watch.pulls(cluster)[0];
    wait_for("the pull request says why", START, || {
        watch.pulls(cluster)[0]["body"].as_str()?.contains(why).then_some(())
    });
    assert_eq!(pull["merged"], true);
    assert_eq!(runs(&Arc::clone(kube), name, 3), Some(()), "nothing was applied");
}
