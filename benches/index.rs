//! The index of a big repository, against plain git in the same run. Comes in: nothing but the real `git`. Goes
//! out: a table of times, peaks of memory and ratios; a slow run is told, never failed.
//!
//! A generated repository has `TARS_BENCH_FILES` files (100,000) in a tree ten folders deep: of twenty files,
//! sixteen are plain manifests, three a Kustomize base with its overlay, one is other YAML. Each row runs in a
//! process of its own, so that its peak of memory is its own.
//!
//! | row | what is timed | peer |
//! |---|---|---|
//! | cold | first snapshot of the watched branch, facts written | `git ls-tree -r` and `git cat-file --batch` of every file |
//! | warm | the same with the facts of the last process | `git ls-tree -r` |
//! | move | the next snapshot after ten files changed, median | `git diff-tree -r` and `git cat-file --batch` of the ten |
//! | question | workload and place of one overlay's Deployment, first time asked | none |
//!
//! The rooms of tars are private, and a door for benches would be one for everybody: this file takes the rooms
//! themselves.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench plays the outside world and ends at the first surprise"
)]

// A bench without a harness is compiled with its unit tests, which then nobody calls.
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/crd/mod.rs"]
mod crd;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/layout/mod.rs"]
mod layout;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/model/mod.rs"]
mod model;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/outside/mod.rs"]
mod outside;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/yaml/mod.rs"]
mod yaml;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/observe"]
mod observe {
    mod blobs;
    pub mod charts;
    mod releases;
    pub mod repository;
}

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use layout::Field;
use model::ids::{ObjectId, RepoPath, WorkloadRef};
use observe::repository::Repository;
use outside::git::Objects;

const MAIN: &str = "refs/heads/main";
/// Folders above the four that are counted, so that the tree is ten deep with the file.
const PREFIX: &str = "clusters/production/teams/shop/apps";
const UNIT_FILES: usize = 20;
const MOVED_FILES: usize = 10;
const MOVES: usize = 11;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|it| it == "row") {
        Some(at) => row(&arguments[at + 1], Path::new(&arguments[at + 2])),
        None => table(),
    }
}

fn table() {
    let files: usize = std::env::var("TARS_BENCH_FILES").map_or(100_000, |it| it.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let hub = folder.path().join("hub.git");
    generate(&hub, files);
    println!("index of {files} files, {} entries of kustomizations\n", files / UNIT_FILES);
    println!("{:10} {:>11} {:>11} {:>7} {:>10}", "row", "tars", "git", "ratio", "peak MiB");
    let goals = [("cold", 10_000.0), ("warm", 1_000.0), ("move", 20.0), ("question", 20.0)];
    for (name, goal_ms) in goals {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["row", name, folder.path().to_str().unwrap()])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(out.status.success(), "{name}");
        let text = String::from_utf8(out.stdout).unwrap();
        let (ours, peak_kib) = text.trim().split_once(' ').unwrap();
        let (ours, peak_mib) = (ours.parse::<f64>().unwrap(), peak_kib.parse::<f64>().unwrap() / 1024.0);
        let peer = peer(name, &hub).map(|it| it.as_secs_f64() * 1000.0);
        let shown = peer.map_or(String::from("-"), |it| format!("{it:.1} ms"));
        let ratio = peer.map_or(String::from("-"), |it| format!("{:.2}", ours / it));
        let late = if ours > goal_ms || peak_mib > 300.0 { "  over the goal" } else { "" };
        println!("{name:10} {ours:>8.1} ms {shown:>11} {ratio:>7} {peak_mib:>10.0}{late}");
    }
    println!("\ngoals: cold 10 s, warm 1 s, move 20 ms, peak 300 MiB");
}

/// One measurement: milliseconds and the peak of this process in KiB.
fn row(name: &str, folder: &Path) {
    let (hub, facts) = (folder.join("hub.git"), folder.join("index.facts"));
    let objects = Objects::open(&hub).unwrap();
    let policies = || RepoPath::new("policies").unwrap();
    let mut repository = Repository::new(policies()).with_facts(facts.clone());
    if name == "cold" {
        std::fs::remove_file(&facts).ok();
    }
    let head = || ObjectId::new(git(&hub, &["rev-parse", MAIN])).unwrap();
    let first = head();
    let started = Instant::now();
    let snapshot = repository.snapshot(&objects, &first).unwrap();
    let mut took = started.elapsed();
    assert!(snapshot.problems.is_empty());
    match name {
        "move" => {
            drop(snapshot);
            let mut all: Vec<Duration> = (0..MOVES)
                .map(|round| {
                    change(&hub, round);
                    let next = head();
                    let started = Instant::now();
                    drop(repository.snapshot(&objects, &next).unwrap());
                    started.elapsed()
                })
                .collect();
            all.sort();
            took = all[MOVES / 2];
        }
        "question" => {
            let target = WorkloadRef::parse("prod/Deployment/web-3").unwrap();
            let started = Instant::now();
            let workload = snapshot.index.workload(&target).unwrap();
            let place = snapshot.index.place(&target, &Field::Replicas).unwrap();
            took = started.elapsed();
            assert_eq!((workload.replicas, place.shared_with.len()), (Some(4), 0));
        }
        _ => {}
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{} {}", took.as_secs_f64() * 1000.0, peak.split_whitespace().next().unwrap());
}

fn peer(row: &str, hub: &Path) -> Option<Duration> {
    let list: &[&str] = match row {
        "cold" | "warm" => &["ls-tree", "-r", MAIN],
        "move" => &["diff-tree", "-r", "refs/heads/main~1", MAIN],
        _ => return None,
    };
    let started = Instant::now();
    let rows = git(hub, list);
    if row == "warm" {
        return Some(started.elapsed());
    }
    // The new object of a row of either listing is the last word before the tab.
    let id = |row: &str| {
        let words: Vec<&str> = row.split('\t').next().unwrap().split(' ').collect();
        words[if row.starts_with(':') { 3 } else { 2 }].to_owned()
    };
    let ids: Vec<String> = rows.lines().map(id).collect();
    let mut cat =
        command(hub, &["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = cat.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(ids.join("\n").as_bytes()).unwrap());
    let bytes = std::io::copy(&mut cat.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
    writer.join().unwrap();
    assert!(cat.wait().unwrap().success() && bytes > 0);
    Some(started.elapsed())
}

/// Git with nobody's settings; its standard output.
fn git(folder: &Path, args: &[&str]) -> String {
    let out = command(folder, args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder).args(args).env_clear();
    git.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent").env("LC_ALL", "C");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    git
}

fn unit_folder(unit: usize) -> String {
    let (a, b, c, d) = (unit / 1000, unit / 100 % 10, unit / 10 % 10, unit % 10);
    format!("{PREFIX}/zone-{a}/group-{b}/service-{c}/part-{d}")
}

fn deployment(name: &str, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels:\n    \
         app.kubernetes.io/name: {name}\n    app.kubernetes.io/part-of: shop\nspec:\n  \
         replicas: {replicas} # sized by hand\n  selector:\n    matchLabels:\n      \
         app.kubernetes.io/name: {name}\n  strategy:\n    rollingUpdate:\n      maxUnavailable: 1\n  \
         template:\n    metadata:\n      labels:\n        app.kubernetes.io/name: {name}\n    spec:\n      \
         containers:\n        - name: app\n          image: registry.example.org/shop/{name}:1.4.2\n          \
         ports:\n            - containerPort: 8080\n              name: http\n          env:\n            \
         - name: LOG_LEVEL\n              value: info\n          resources:\n            requests:\n              \
         cpu: 100m\n              memory: 128Mi\n            limits:\n              memory: 256Mi\n          \
         readinessProbe:\n            httpGet:\n              path: /ready\n              port: http\n"
    )
}

/// The `file`-th of the plain manifests of a unit.
fn manifest(unit: usize, file: usize, replicas: usize) -> String {
    let name = format!("app-{unit}-{file}");
    let head = |api: &str, kind: &str| {
        format!("apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: shop\n")
    };
    match file % 4 {
        0 | 1 => deployment(&name, replicas),
        2 => {
            head("v1", "Service")
                + "spec:\n  ports:\n    - port: 80\n      targetPort: http\n  type: ClusterIP\n"
        }
        _ if file == 3 => {
            head("autoscaling/v2", "HorizontalPodAutoscaler")
                + &format!(
                    "spec:\n  maxReplicas: 9\n  scaleTargetRef:\n    kind: Deployment\n    name: app-{unit}-0\n"
                )
        }
        _ => {
            let lines: String = (0..8).map(|at| format!("  key-{at}: \"value {replicas}\"\n")).collect();
            head("v1", "ConfigMap") + "data:\n" + &lines
        }
    }
}

fn unit(unit: usize) -> Vec<(String, String)> {
    let folder = unit_folder(unit);
    let plain = (0..16).map(|file| (format!("{folder}/file-{file}.yaml"), manifest(unit, file, 3)));
    let name = format!("web-{unit}");
    let overlay = format!(
        "namespace: prod\nresources:\n  - ../base\nreplicas:\n  - name: {name}\n    count: 4\nimages:\n  - \
         name: registry.example.org/shop/{name}\n    newTag: 1.5.0\n"
    );
    let values = format!("replicaCount: {unit}\nimage:\n  tag: 1.0.0\ningress:\n  enabled: false\n");
    plain
        .chain([
            (format!("{folder}/base/kustomization.yaml"), "resources:\n  - deployment.yaml\n".to_owned()),
            (format!("{folder}/base/deployment.yaml"), deployment(&name, 2)),
            (format!("{folder}/prod/kustomization.yaml"), overlay),
            (format!("{folder}/values.yaml"), values),
        ])
        .collect()
}

/// A bare repository with `files` files on `main`, written as one stream.
fn generate(hub: &Path, files: usize) {
    git(hub.parent().unwrap(), &["init", "-q", "--bare", "-b", "main", hub.to_str().unwrap()]);
    import(hub, "", (0..files / UNIT_FILES).flat_map(unit));
    git(hub, &["repack", "-q", "-a", "-d"]);
}

/// Somebody changes ten files on the watched branch.
fn change(hub: &Path, round: usize) {
    let files = (0..MOVED_FILES).map(|unit| {
        let file = 4 * (unit % 2);
        (format!("{}/file-{file}.yaml", unit_folder(unit)), manifest(unit, file, 100 + round))
    });
    import(hub, &format!("from {MAIN}^0\n"), files);
}

fn import(hub: &Path, from: &str, files: impl Iterator<Item = (String, String)>) {
    let mut import = command(hub, &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stream = std::io::BufWriter::new(import.stdin.take().unwrap());
    let mut head = format!("commit {MAIN}\ncommitter peer <peer@example.org> 1700000000 +0000\n");
    write!(head, "data 4\nMove\n{from}").unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    for (path, text) in files {
        write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len()).unwrap();
    }
    stream.flush().unwrap();
    drop(stream);
    assert!(import.wait().unwrap().success());
}
