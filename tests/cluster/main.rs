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

mod chart;
mod cluster;
mod delivery;
mod exporter;
mod faults;
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
mod watch;

use self::cluster::{Cluster, Programs};

type Scenario = fn(&Cluster);

/// All in one cluster, at the same time: each waits for minutes and works for seconds.
const TOGETHER: [(&str, Scenario); 15] = [
    ("the pods of a Deployment become ready", first::pods_become_ready),
    ("who has no role is refused", first::strangers_are_refused),
    ("Flux applies a commit", first::flux_applies_a_commit),
    ("Argo CD applies a commit", first::argo_cd_applies_a_commit),
    ("A: Flux brings the replicas that a surge needs, and takes them back", incidents::surge_with_flux),
    ("B: a person merges the rollback of a bad image, Argo CD brings it", incidents::bad_image_with_argo_cd),
    ("C: the bounds of an autoscaler are edited", incidents::surge_under_an_autoscaler),
    ("A, in a Helm release: the values that a surge needs", incidents::surge_in_a_helm_release),
    ("D: what was merged does not arrive", incidents::sync_is_broken),
    ("the chart is installed, checked, upgraded, rolled back and removed", chart::installs),
    ("fault: somebody scaled by hand", faults::scaled_by_hand),
    ("fault: tars may not look", faults::may_not_look),
    ("fault: Argo CD refuses", faults::argo_cd_refuses),
    ("fault: a kind is not served", faults::kind_is_not_served),
    ("fault: a detector shard lost", faults::detector_shard_is_lost),
];

/// What takes the cluster away from everybody, after that.
const ALONE: [(&str, Scenario); 1] = [(
    "fault: the control plane restarts under two replicas, and the kinds of tars come late",
    faults::control_plane_restarts,
)];

/// Plays what is wanted, and names what failed.
fn play(cluster: &Cluster, scenarios: &[(&'static str, Scenario)]) -> Vec<&'static str> {
    // For working on one of them: TARS_CLUSTER_ONLY='A:' cargo test --features cluster-tests --test cluster
    let only = std::env::var("TARS_CLUSTER_ONLY").unwrap_or_default();
    let wanted = scenarios.iter().filter(|(name, _)| name.contains(&only));
    std::thread::scope(|scope| {
        let start = |(name, play): &(&'static str, Scenario)| {
            let play = *play;
            let thread = std::thread::Builder::new().name((*name).to_owned());
            (*name, thread.spawn_scoped(scope, move || play(cluster)).unwrap())
        };
        let running: Vec<_> = wanted.map(start).collect();
        running.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    })
}

#[test]
fn tars_closes_the_loop_in_a_real_cluster() {
    let Some(programs) = Programs::find("tars_closes_the_loop_in_a_real_cluster") else { return };
    let cluster = Cluster::start(&programs);
    let mut failed = play(&cluster, &TOGETHER);
    failed.extend(play(&cluster, &ALONE));
    assert!(failed.is_empty(), "these failed, see above for each: {failed:?}");
}
