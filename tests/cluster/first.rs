//! The cluster by itself, before tars is in it: what the incidents rely on.

use std::time::Duration;

use super::cluster::Cluster;
use super::delivery::{ArgoCd, Flux};
use super::kube::is_rolled_out;
use super::process::wait_for;
use super::shop::Repository;

/// A commit is found within a look, applied within another, and pods are ready at once.
const APPLIED: Duration = Duration::from_secs(90);

pub(crate) fn pods_become_ready(cluster: &Cluster) {
    let namespace = "first-pods";
    cluster.admin.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
    cluster.admin.apply(&super::shop::deployment(3, "1.0.0").replace(
        "metadata: {name: backend}",
        &format!("metadata: {{name: backend, namespace: {namespace}}}"),
    ));
    wait_for("three pods are ready", APPLIED, || {
        let deployment = cluster.admin.deployment(namespace, "backend")?;
        (is_rolled_out(&deployment) && deployment["status"]["readyReplicas"] == 3).then_some(())
    });
}

pub(crate) fn strangers_are_refused(cluster: &Cluster) {
    let path = "/apis/apps/v1/deployments";
    assert_eq!(cluster.stranger.ask(path).map(|it| it.0), Some(403));
    assert_eq!(cluster.admin.ask(path).map(|it| it.0), Some(200));
    let (code, said) = cluster.stranger.kubectl(&["create", "configmap", "x", "--from-literal=a=b"], "");
    assert!(code != 0 && said.contains("orbidden"), "{said}");
}

pub(crate) fn flux_applies_a_commit(cluster: &Cluster) {
    let repository = Repository::new(cluster, "first-flux");
    let head = repository.push(&repository.files(2, "1.0.0", ""), "Import");
    cluster.admin.apply(&Flux::objects("first-flux", &repository.url, "./apps/backend"));
    let applied = format!("main@sha1:{head}");
    wait_for("Flux applied the commit", APPLIED, || {
        (Flux::revision(&cluster.admin, "first-flux")? == applied).then_some(())
    });
    let deployment = cluster.admin.deployment("first-flux", "backend").unwrap();
    assert_eq!(deployment["status"]["readyReplicas"], 2, "{deployment:#}");
}

pub(crate) fn argo_cd_applies_a_commit(cluster: &Cluster) {
    let repository = Repository::new(cluster, "first-argo");
    let head = repository.push(&repository.files(2, "1.0.0", ""), "Import");
    cluster.admin.apply(&ArgoCd::object(
        "first-argo",
        &repository.url,
        "apps/backend",
        &cluster.url,
        "first-argo",
    ));
    wait_for("Argo CD applied the commit", APPLIED, || {
        (ArgoCd::revision(&cluster.admin, "first-argo")? == head).then_some(())
    });
    let deployment = cluster.admin.deployment("first-argo", "backend").unwrap();
    assert_eq!(deployment["status"]["readyReplicas"], 2, "{deployment:#}");
}
