//! The second integration binary: tars in a real cluster. etcd, API server, controllers, kwok's nodes and pods, Gitea, Flux and
//! Argo CD run on loopback in a folder of their own, and nothing but Flux and Argo CD applies what is in git. Comes in: the
//! programs of `tests/install-parts`; out: facts read from the API server, the forge, the ledger and Prometheus. Never: a
//! cluster that this binary did not start (`KUBECONFIG` of the environment is not looked at), or an address beyond loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a panic is a failed test, and the suite plays the outside world itself"
)]

mod cluster;
mod delivery;
mod exporter;
mod first;
mod incidents;
mod keeper;
mod kube;
#[allow(dead_code, reason = "this binary needs less of it than the suite")]
#[path = "../suite/live/process.rs"]
mod process;
mod shop;
#[allow(dead_code, reason = "this binary needs less of it than the suite")]
#[path = "../suite/support/mod.rs"]
mod support;

use self::cluster::{Cluster, Programs};

type Scenario = fn(&Cluster);

/// All in one cluster, at the same time: each waits for minutes and works for seconds.
const SCENARIOS: [(&str, Scenario); 5] = [
    ("the pods of a Deployment become ready", first::pods_become_ready),
    ("who has no role is refused", first::strangers_are_refused),
    ("Flux applies a commit", first::flux_applies_a_commit),
    ("Argo CD applies a commit", first::argo_cd_applies_a_commit),
    ("A: Flux brings the replicas that a surge needs", incidents::surge_with_flux),
];

#[test]
fn tars_closes_the_loop_in_a_real_cluster() {
    let Some(programs) = Programs::find("tars_closes_the_loop_in_a_real_cluster") else { return };
    let cluster = Cluster::start(&programs);
    // For working on one of them: TARS_CLUSTER_ONLY='A:' cargo test --features cluster-tests --test cluster
    let only = std::env::var("TARS_CLUSTER_ONLY").unwrap_or_default();
    let wanted = SCENARIOS.iter().filter(|(name, _)| name.contains(&only));
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let start = |(name, play): &(&'static str, Scenario)| {
            let (play, cluster) = (*play, &cluster);
            let thread = std::thread::Builder::new().name((*name).to_owned());
            (*name, thread.spawn_scoped(scope, move || play(cluster)).unwrap())
        };
        let running: Vec<_> = wanted.map(start).collect();
        running.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "these failed, see above for each: {failed:?}");
}
