//! The real loop: a real workload under real load, real Prometheus and Alertmanager, `tars run` as a process,
//! and nobody touching it. Comes in: the programs of `tests/install-parts`; out: facts read from git, from the
//! command line and from Prometheus. Never: a simulated metric or a virtual clock.
//!
//! All scenarios run at the same time in one test, each in a world of its own: each takes minutes of waiting and
//! little work, and the harness runs only as many tests at once as there are processors.

mod hosted;
mod load;
pub(crate) mod process;
mod stand_in;
mod workload;
mod world;

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::process::{git, wait_for};
use self::world::{ALERT, P95, Programs, World, items, policy};
use crate::support::parts;

/// Three replicas with four slots each serve these at once, and not [`SURGE_CLIENTS`].
const CALM_CLIENTS: usize = 4;
/// Seven replicas serve these at once.
const SURGE_CLIENTS: usize = 28;
const ANOMALY: &str = "{type: anomaly, signal: latency_p95, service: backend, threshold: 0.8}";
/// From the surge to the merge, everything included.
const TO_MERGE: Duration = Duration::from_secs(90);
/// Sync, the settle time of a minute, the window of the verification.
const TO_VERIFIED: Duration = Duration::from_secs(180);
/// One execution, from first to last.
const STORY: [&str; 5] = ["Proposed", "MergeReserved", "Merged", "Synced", "Verified"];

type Scenario = fn(&Programs);

const ALONE: [(&str, Scenario); 6] = [
    ("samples pushed by remote write are as good as those asked for", pushed),
    ("a surge is remedied and verified with nobody touching it", surge),
    ("an alert on the anomaly score remedies the surge", alert),
    ("Prometheus restarts half-way", prometheus_restarts),
    ("tars is killed between reservation and merge", killed_before_the_merge),
    ("the remote is unreachable for a minute", remote_away),
];
const ON_FORGES: [(&str, Scenario); 5] = [
    ("Gitea merges the pull request", hosted::merged_by_the_forge),
    ("a person merges the pull request on Gitea", hosted::merged_by_a_person),
    ("GitHub (a stand-in) merges the pull request", stand_in::github_merges),
    ("a person squashes the pull request on GitHub (a stand-in)", stand_in::person_squashes_on_github),
    ("GitLab (a stand-in) merges the merge request", stand_in::gitlab_merges),
];

/// More worlds at once than this would compete for the processors that their workloads measure.
static ONE_WAVE: Mutex<()> = Mutex::new(());

#[test]
fn the_loop_closes_on_real_parts_whatever_fails_in_between() {
    const TEST: &str = "the_loop_closes_on_real_parts_whatever_fails_in_between";
    if let Some(programs) = programs(TEST) {
        play(&programs, &ALONE);
    }
}

#[test]
fn the_loop_closes_through_pull_requests_on_every_forge() {
    const TEST: &str = "the_loop_closes_through_pull_requests_on_every_forge";
    let (Some(gitea), Some(fakes)) = (parts::find("gitea", TEST), parts::fakes(TEST)) else { return };
    if let Some(programs) = programs(TEST) {
        play(&Programs { gitea: Some(gitea), fakes: Some(fakes), ..programs }, &ON_FORGES);
    }
}

fn programs(test: &str) -> Option<Programs> {
    let find = |name| parts::find(name, test);
    Some(Programs {
        prometheus: find("prometheus")?,
        alertmanager: find("prometheus-alertmanager")?,
        ssh_keygen: find("ssh-keygen")?,
        gitea: None,
        fakes: None,
    })
}

fn play(programs: &Programs, scenarios: &[(&'static str, Scenario)]) {
    let _turn = ONE_WAVE.lock().unwrap_or_else(PoisonError::into_inner);
    // For working on one of them: TARS_LIVE_ONLY=killed cargo test live::
    let only = std::env::var("TARS_LIVE_ONLY").unwrap_or_default();
    let wanted = scenarios.iter().filter(|(name, _)| name.contains(&only));
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let start = |(name, play): &(&'static str, Scenario)| {
            let play = *play;
            let thread = std::thread::Builder::new().name((*name).to_owned());
            (*name, thread.spawn_scoped(scope, move || play(programs)).unwrap())
        };
        let running: Vec<_> = wanted.map(start).collect();
        running.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "these failed, see above for each: {failed:?}");
}

fn surge(programs: &Programs) {
    let mut world = World::start(programs, &policy(ANOMALY), false);
    warmed_up(&world);
    let before = world.measure(P95).unwrap();
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("MergeReserved", TO_MERGE);
    let during = world.measure(P95).unwrap();
    world.wait_for_entry("Verified", TO_VERIFIED);
    let after = world.measure(P95).unwrap();
    assert!(during > 180.0 && after < 180.0, "p95 in ms: {before} before, {during} during, {after} after");
    told_once(&world);
    assert!(
        world.log().contains("state=\"Verified\"") || world.log().contains("Verified"),
        "{}",
        world.log()
    );
    assert!(!world.log().contains("ERROR"), "nothing failed, yet: {}", world.log());
    let (status, page) = world.page("/healthz").unwrap();
    assert_eq!(status, 200, "{page}");
    let stopped = Instant::now();
    assert!(world.tars.stop().success(), "SIGTERM is an ordinary end");
    assert!(stopped.elapsed() < Duration::from_secs(12), "took {:?}", stopped.elapsed());
}

/// Prometheus computes the signal by a recording rule and sends it; tars asks it for nothing.
fn pushed(programs: &Programs) {
    let world = World::start_pushed(programs, &policy(ANOMALY));
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("Verified", TO_MERGE + TO_VERIFIED);
    told_once(&world);
    let asked =
        "sum(prometheus_http_requests_total{job=\"self\", handler=\"/api/v1/query_range\"}) or vector(0)";
    assert_eq!(world.measure(asked), Some(0.0), "nothing was pulled");
    let (_, page) = world.page("/metrics").unwrap();
    for outcome in ["late", "ahead", "refused", "no_room"] {
        assert!(page.contains(&format!("tars_pushed_samples_total{{outcome=\"{outcome}\"}} 0\n")), "{page}");
    }
}

fn alert(programs: &Programs) {
    let world = World::start(programs, &policy(&format!("{{type: webhook, alertname: {ALERT}}}")), true);
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("Verified", TO_MERGE + TO_VERIFIED);
    told_once(&world);
    let record = remediations(&world).remove(0);
    let recorded = &record["spec"]["cause"]["alerts"][0];
    assert_eq!(recorded["labels"]["alertname"], ALERT, "{record:#}");
    assert_eq!(recorded["labels"]["service"], "backend", "{record:#}");
    let fingerprint = recorded["fingerprint"].as_str().unwrap();
    let inbox = world.path("state/inbox").join(format!("{fingerprint}.json"));
    wait_for("the alert is known to be resolved", Duration::from_secs(60), || {
        fs::read_to_string(&inbox).ok()?.to_ascii_lowercase().contains("\"resolved\"").then_some(())
    });
    wait_for("the log says so", Duration::from_secs(5), || world.log().contains("resolved=1").then_some(()));
}

fn prometheus_restarts(programs: &Programs) {
    let mut world = World::start(programs, &policy(ANOMALY), false);
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("Synced", TO_MERGE);
    assert!(score_of(&world).is_some());
    world.prometheus.stop();
    // An old score must not look like a new one.
    wait_for("the score is gone with its source", Duration::from_secs(30), || {
        score_of(&world).is_none().then_some(())
    });
    assert_eq!(world.page("/healthz").map(|it| it.0), Some(200), "a silent source is no reason to restart");
    world.restart_prometheus();
    wait_for("the score is back", Duration::from_secs(30), || score_of(&world));
    world.wait_for_entry("Verified", TO_VERIFIED);
    told_once(&world);
    assert!(world.log().contains("signal unavailable"), "{}", world.log());
}

fn killed_before_the_merge(programs: &Programs) {
    let mut world = World::start(programs, &policy(ANOMALY), false);
    let (shut, at_the_gate) = (world.path("gate-is-shut"), world.path("at-the-gate"));
    fs::write(&shut, "").unwrap();
    install_gate(&world);
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    wait_for("the merge is pushed", TO_MERGE, || at_the_gate.exists().then_some(()));
    world.tars.kill();
    assert_eq!(world.kinds(), STORY[..2], "the slot is reserved");
    // Its push dies at the gate; the next one finds it open.
    fs::remove_file(&shut).unwrap();
    wait_for("the old push is over", Duration::from_secs(30), || (!at_the_gate.exists()).then_some(()));
    assert_eq!(commits(&world, "refs/heads/main"), 1, "nothing was merged");
    world.restart_tars();
    world.wait_for_entry("Verified", TO_MERGE + TO_VERIFIED);
    told_once(&world);
}

/// A hook of the server that keeps a push to main waiting while the gate is shut, and then refuses it.
fn install_gate(world: &World) {
    let at = world.path("");
    let at = at.to_string_lossy();
    let hook = world.repository().join("hooks/update");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = refs/heads/main ] && [ -e {at}/gate-is-shut ] || exit 0\ntouch {at}/at-the-gate\n\
         while [ -e {at}/gate-is-shut ]; do sleep 0.1; done\nrm {at}/at-the-gate\nexit 1\n"
    );
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&hook, mode).unwrap();
    // tars switches hooks off for the git it runs; the hooks of a server are the server's.
    let hooks = world.repository().join("hooks");
    git(&world.repository(), &["config", "core.hooksPath", &hooks.to_string_lossy()]).unwrap();
}

fn remote_away(programs: &Programs) {
    let world = World::start(programs, &policy(ANOMALY), false);
    let (here, away) = (world.repository(), world.path("away.git"));
    warmed_up(&world);
    let ready = |world: &World| world.page("/readyz").map(|it| it.0);
    wait_for("tars is ready", Duration::from_secs(10), || (ready(&world) == Some(200)).then_some(()));
    // First when there is something to propose ...
    fs::rename(&here, &away).unwrap();
    world.load.set_clients(SURGE_CLIENTS);
    wait_for("the surge is seen", TO_MERGE, || score_of(&world).filter(|score| *score > 0.8));
    wait_for("tars is not ready", Duration::from_secs(30), || (ready(&world) == Some(503)).then_some(()));
    assert_eq!(world.page("/healthz").map(|it| it.0), Some(200), "a silent remote is no reason to restart");
    fs::rename(&away, &here).unwrap();
    world.wait_for_entry("Synced", TO_MERGE);
    // ... then for a minute, while the verdict is due.
    fs::rename(&here, &away).unwrap();
    let left = Instant::now();
    wait_for("a minute is over", Duration::from_secs(90), || {
        (left.elapsed() > Duration::from_secs(60)).then_some(())
    });
    fs::rename(&away, &here).unwrap();
    world.wait_for_entry("Verified", TO_VERIFIED);
    told_once(&world);
    let lines = |what: &str| world.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!(
        (lines("ERROR failed"), lines("works again")),
        (2, 2),
        "an outage is told when it begins and ends"
    );
}

/// Waits for the warm-up, and finds that an ordinary day needs no remedy.
fn warmed_up(world: &World) {
    world.warm_up();
    assert_eq!(world.entries().len(), 0, "tars acted before there was anything to act on: {}", world.log());
}

fn remediations(world: &World) -> Vec<serde_json::Value> {
    let repository = world.repository();
    let (code, out, err) =
        world.ask(&["get", "remediations", "-C", &repository.to_string_lossy(), "-o", "json"]);
    assert_eq!(code, 0, "{err}");
    items(&out)
}

fn commits(world: &World, of: &str) -> usize {
    git(&world.repository(), &["rev-list", "--count", of]).unwrap().parse().unwrap()
}

/// What `/metrics` says of the signal right now.
fn score_of(world: &World) -> Option<f64> {
    let (_, page) = world.page("/metrics")?;
    let line = page.lines().find(|line| line.starts_with("tars_anomaly_score{"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Exactly one action, from proposal to verdict; one signed one-line commit; a clean audit.
fn told_once(world: &World) {
    let repository = world.repository();
    assert_eq!(world.kinds(), STORY, "{}", world.log());
    let records = remediations(world);
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["status"]["merge"]["by"].as_str().unwrap().to_ascii_lowercase(), "tars");
    assert_eq!(commits(world, "refs/heads/main"), 2, "the import and one remediation");
    let changed = git(&repository, &["diff", "--numstat", "main~1", "main"]).unwrap();
    assert_eq!(changed, format!("1\t1\t{}", workload::OVERLAY));
    for (commit, replicas) in [("main~1", 3), ("main", 7)] {
        let overlay = git(&repository, &["show", &format!("{commit}:{}", workload::OVERLAY)]).unwrap();
        assert_eq!(workload::replicas(&overlay), replicas, "{commit}");
    }
    assert_eq!(world.measure("backend_replicas"), Some(7.0), "the cluster followed");
    let signers = world.path("allowed_signers");
    let signers = signers.to_string_lossy();
    let setting = format!("gpg.ssh.allowedSignersFile={signers}");
    git(&repository, &["-c", &setting, "verify-commit", "main"]).expect("git trusts the signature");
    assert_eq!(
        git(&repository, &["for-each-ref", "refs/heads/tars/", "--format=%(refname)"]).unwrap(),
        "refs/heads/tars/ledger",
        "the proposal's branch is gone"
    );
    let clone = repository.to_string_lossy();
    let (code, out, err) = world.ask(&["audit", "verify", "-C", &clone, "--allowed-signers", &signers]);
    assert_eq!(code, 0, "{out}{err}");
}
