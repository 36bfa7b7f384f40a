//! What goes wrong around an incident: somebody scaled by hand, tars may not look, Argo CD refuses, a kind is not served, the API
//! server and etcd go away in the middle of it while two replicas of tars watch. Comes in: the cluster; out: what tars says, and
//! that nothing was done twice. Never: a fault in anything that another scenario uses, except in the last one, which is alone.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, START};
use super::delivery::{ArgoCd, Flux};
use super::exporter::Exporter;
use super::incidents::{
    CALM_CLIENTS, SURGE_CLIENTS, flux_applied, is_verified_for_kubectl, latency, report, runs, scale_out,
};
use super::kube::Kube;
use super::process::wait_for;
use super::shop::Repository;
use super::support::{self, ports::free_port};
use super::watch::{WITHIN, Watch};

/// How long a machine that failed is away.
const AWAY: Duration = Duration::from_secs(5);

/// A repository with three replicas of `backend` that Flux applied, and the load on them.
pub(crate) fn shop(cluster: &Cluster, name: &'static str) -> (Repository, Exporter) {
    shop_with(cluster, name, &scale_out(name, ""))
}

fn shop_with(cluster: &Cluster, name: &'static str, policy: &str) -> (Repository, Exporter) {
    let repository = Repository::new(cluster, name);
    let imported = repository.push(&repository.files(3, "1.0.0", policy), "Import");
    repository.protect(cluster);
    cluster.admin.apply(&Flux::objects(name, &repository.url, "./apps/backend"));
    flux_applied(&cluster.admin, name, &imported);
    let exporter = Exporter::start(&cluster.admin, name, CALM_CLIENTS);
    (repository, exporter)
}

pub(crate) fn done(kube: &Kube, args: &[&str]) {
    let (code, said) = kube.kubectl(args, "");
    assert_eq!(code, 0, "kubectl {args:?}: {said}");
}

/// tars sees a count that is not in git, waits, and goes on when it is gone.
pub(crate) fn scaled_by_hand(cluster: &Cluster) {
    const NAME: &str = "by-hand";
    let (repository, exporter) = shop(cluster, NAME);
    let kube = &cluster.admin;
    let suspend = |yes: bool| {
        let patch = format!("{{\"spec\":{{\"suspend\":{yes}}}}}");
        done(kube, &["-n", "flux-system", "patch", "kustomization", NAME, "--type=merge", "-p", &patch]);
    };
    // Otherwise Flux corrects it within half a minute.
    suspend(true);
    done(kube, &["-n", NAME, "scale", "deployment/backend", "--replicas=4"]);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(NAME, "4m"));
    exporter.set_clients(SURGE_CLIENTS);
    let said = "has 4 replicas in the cluster, set by kubectl, and 3 in the repository";
    wait_for("tars says what it saw", WITHIN, || watch.log().contains(said).then_some(()));
    assert_eq!(
        watch.kinds(),
        Vec::<String>::new(),
        "nothing is proposed from a count that git does not know"
    );
    done(kube, &["-n", NAME, "scale", "deployment/backend", "--replicas=3"]);
    suspend(false);
    wait_for("the proposal after all", WITHIN, || watch.has("Proposed"));
}

/// An account that may not look is told so, and nothing is merged blindly.
pub(crate) fn may_not_look(cluster: &Cluster) {
    const NAME: &str = "forbidden";
    let (repository, exporter) = shop(cluster, NAME);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.stranger.config, &latency(NAME, "4m"));
    exporter.set_clients(SURGE_CLIENTS);
    let said = format!("not allowed to get deployments.apps in namespace {NAME}");
    wait_for("tars says what it lacks", WITHIN, || watch.log().contains(&said).then_some(()));
    assert_eq!(watch.kinds(), Vec::<String>::new());
}

/// Argo CD does not take what the Application names, and says why.
pub(crate) fn argo_cd_refuses(cluster: &Cluster) {
    const NAME: &str = "refused";
    let repository = Repository::new(cluster, NAME);
    repository.push(&repository.files(3, "1.0.0", &scale_out(NAME, "")), "Import");
    repository.protect(cluster);
    let kube = &cluster.admin;
    kube.apply(&ArgoCd::object(NAME, &repository.url, "apps/backend", &cluster.url, NAME));
    wait_for("Argo CD applied it", START, || runs(kube, NAME, 3));
    let exporter = Exporter::start(kube, NAME, CALM_CLIENTS);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(NAME, "30s"));
    kube.apply(
        "apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: narrow, namespace: argocd}
spec: {sourceRepos: ['https://git.example.com/*'], destinations: [{namespace: '*', server: '*'}]}
",
    );
    let patch = "{\"spec\":{\"project\":\"narrow\"}}";
    done(kube, &["-n", "argocd", "patch", "application", NAME, "--type=merge", "-p", patch]);
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let mut split = vec![watch.step("detect and propose", &mut since, || watch.has("Proposed"))];
    split.push(watch.step("merge", &mut since, || watch.has("Merged")));
    split.push(watch.step("give up", &mut since, || watch.has("Unknown")));
    report("Argo CD refuses", &split);
    let hold = watch.records()[0]["status"]["holds"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(hold.contains("Application argocd/refused reports InvalidSpecError"), "{hold}");
    assert!(hold.contains("is not permitted in project 'narrow'"), "{hold}");
}

/// The API server does not serve a kind that the change is about.
pub(crate) fn kind_is_not_served(cluster: &Cluster) {
    const NAME: &str = "not-served";
    let scaler = format!(
        "apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: backend, namespace: {NAME}}}
spec:
  minReplicaCount: 3
  maxReplicaCount: 12
  scaleTargetRef: {{name: backend}}
  triggers: [{{type: cron, metadata: {{timezone: UTC, start: 0 8 * * *, end: 0 18 * * *, desiredReplicas: '3'}}}}]
"
    );
    let repository = Repository::new(cluster, NAME);
    let mut files = repository.files(3, "1.0.0", &scale_out(NAME, ""));
    files[0].1 = files[0].1.replace("  replicas: 3   # four requests at once each\n", "");
    // Beside what Flux brings, which would stop at the first object that nobody knows.
    files.push(("scalers/backend.yaml".to_owned(), scaler));
    let imported = repository.push(&files, "Import");
    repository.protect(cluster);
    cluster.admin.apply(&Flux::objects(NAME, &repository.url, "./apps/backend"));
    flux_applied(&cluster.admin, NAME, &imported);
    let exporter = Exporter::start(&cluster.admin, NAME, CALM_CLIENTS);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(NAME, "30s"));
    exporter.set_clients(SURGE_CLIENTS);
    wait_for("tars gives up", WITHIN, || watch.has("Unknown"));
    let hold = watch.records()[0]["status"]["holds"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(hold.contains("does not serve scaledobjects.keda.sh in version v1alpha1"), "{hold}");
}

/// Two detectors score, a remediator decides. The one that watches the latency is killed before the surge: nothing is done about
/// what nobody sees, the reason names the shard, and when it is back the incident takes its course. The other one is killed then.
pub(crate) fn detector_shard_is_lost(cluster: &Cluster) {
    const NAME: &str = "shard-lost";
    /// Of two: the first eight bytes of `printf 'backend\0latency_p95' | sha256sum` are an even number.
    const OURS: usize = 0;
    let promql = scale_out(NAME, "");
    let (before, rest) = promql.split_once("    - type: promql").unwrap();
    let (_, after) = rest.split_once("  actions:").unwrap();
    let trigger = "{type: anomaly, signal: latency_p95, service: backend, threshold: 0.8}";
    let policy = format!("{before}    - {trigger}\n  actions:{after}");
    let (repository, exporter) = shop_with(cluster, NAME, &policy);
    let (secret, signals) = (cluster.path("shard-lost.secret"), latency(NAME, "4m"));
    std::fs::write(&secret, "the-detectors-of-one-shop-0123456789").unwrap();
    let ports = [free_port(), free_port()];
    let [one, two] = ports.map(|port| format!("'http://127.0.0.1:{port}'"));
    let at = secret.display();
    let more = format!("{signals}role: remediator\ndetectors: {{urls: [{one}, {two}], secret_file: {at}}}\n");
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &more);
    let detector = |ordinal: usize| watch.detector(ordinal, ports[ordinal], &secret, &signals);
    let (mut ours, mut other) = (detector(OURS), detector(1 - OURS));
    let samples = "count_over_time(ready_replicas[10m])";
    wait_for("the detector knows what is normal", WITHIN, || {
        watch.measure(samples).filter(|count| *count >= 130.0)
    });
    let said = format!("nothing is known of backend/latency_p95 in shard {OURS} of 2: its detector does not");
    let told = |what: &str| watch.log().matches(what).count();
    // Said once: a detector that was not heard yet would be missed no more than it is.
    let (lost, held) = ("detector lost", said.as_str());
    let before = [lost, held].map(told);
    ours.kill();
    wait_for("the shard is missed", WITHIN, || (told(lost) > before[0]).then_some(()));
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let mut split = vec![watch.step("hold", &mut since, || (told(held) > before[1]).then_some(()))];
    let slow = "histogram_quantile(0.95,sum%20by(le)(rate(http_request_duration_seconds_bucket[5s])))";
    wait_for("the surge is measured", WITHIN, || watch.measure(slow).filter(|seconds| *seconds > 0.18));
    assert_eq!(watch.kinds(), Vec::<String>::new(), "nothing is proposed on what nobody watches");
    let _back = detector(OURS);
    split.push(watch.step("hear it again and propose", &mut since, || watch.has("Proposed")));
    split.push(watch.step("merge", &mut since, || watch.has("Merged")));
    other.kill();
    split.push(watch.step("sync", &mut since, || watch.has("Synced")));
    split.push(watch.step("recover", &mut since, || watch.has("Verified")));
    report("A detector shard is lost", &split);
    assert_eq!(watch.kinds(), ["Proposed", "MergeReserved", "Merged", "Synced", "Verified"]);
    assert_eq!(watch.pulls(cluster).len(), 1);
}

/// Alone in the cluster: the API server and then etcd are killed while two replicas of tars bring one change through. Its own kinds
/// are not there when they start, and come only after the sync: nothing but what people see in the cluster hangs on them.
pub(crate) fn control_plane_restarts(cluster: &Cluster) {
    const NAME: &str = "restarts";
    let definitions = support::text("charts/tars/crds/crds.yaml").unwrap();
    let (code, said) = cluster.admin.kubectl(&["delete", "-f", "-"], &definitions);
    assert_eq!(code, 0, "{said}");
    let (repository, exporter) = shop(cluster, NAME);
    let mut watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(NAME, "4m"));
    watch.one_more();
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let mut split = vec![watch.step("detect and propose", &mut since, || watch.has("Proposed"))];
    cluster.apiserver.lock().unwrap().restart(AWAY);
    split.push(watch.step("merge without an API server", &mut since, || watch.has("Merged")));
    split.push(watch.step("sync", &mut since, || watch.has("Synced")));
    assert_eq!(runs(&cluster.admin, NAME, 7), Some(()), "Synced means that seven replicas are ready");
    let missing = "does not serve remediationactions.aiops.tars";
    assert!(watch.log().contains(missing), "tars says which of its kinds is missing");
    cluster.admin.apply(&definitions);
    cluster.etcd.lock().unwrap().restart(AWAY);
    split.push(watch.step("recover without etcd for a while", &mut since, || watch.has("Verified")));
    report("Restarts, and two replicas", &split);
    assert_eq!(watch.kinds(), ["Proposed", "MergeReserved", "Merged", "Synced", "Verified"]);
    assert_eq!(watch.pulls(cluster).len(), 1);
    let lease = cluster.admin.get(&format!("/apis/coordination.k8s.io/v1/namespaces/{NAME}/leases/tars"));
    let holder = lease.map(|it| it["spec"]["holderIdentity"].clone()).unwrap_or_default();
    assert!(holder.as_str().is_some_and(|it| !it.is_empty()), "one of them speaks for both: {holder}");
    is_verified_for_kubectl(&cluster.admin, NAME);
}
