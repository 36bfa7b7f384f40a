//! The index of a big repository, against plain git in the same run. A generated repository comes in; a table of
//! times, peaks of memory and ratios goes out. Each row runs in a process of its own, so that its peak is its own.
//!
//! | row | what is timed | peer |
//! |---|---|---|
//! | cold | first snapshot of the watched branch, facts written | `git ls-tree -r` and `git cat-file --batch` of every file |
//! | warm | the same with the facts of the last process | `git ls-tree -r` |
//! | move | the next snapshot after ten files changed, median | `git diff-tree -r` and `git cat-file --batch` of the ten |
//! | question | workload and place of one overlay's Deployment, first time asked | none |

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::generator::{MAIN, UNIT_FILES, change, command, generate, git};
use crate::layout::Field;
use crate::model::ids::{ObjectId, RepoPath, WorkloadRef};
use crate::observe::repository::Repository;
use crate::outside::git::Objects;
use crate::{files, peak_mib};

const MOVES: usize = 11;
const PEAK_GOAL_MIB: f64 = 300.0;

pub fn table() {
    let files = files();
    let folder = tempfile::tempdir().unwrap();
    let hub = folder.path().join("hub.git");
    generate(&hub, files);
    println!("index of {files} files, {} entries of kustomizations\n", files / UNIT_FILES);
    println!("{:10} {:>11} {:>11} {:>7} {:>10}", "row", "tars", "git", "ratio", "peak MiB");
    let goals = [("cold", 10_000.0), ("warm", 1_000.0), ("move", 20.0), ("question", 20.0)];
    for (name, goal_ms) in goals {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["index", name, folder.path().to_str().unwrap()])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(out.status.success(), "{name}");
        let text = String::from_utf8(out.stdout).unwrap();
        let (ours, peak) = text.trim().split_once(' ').unwrap();
        let (ours, peak) = (ours.parse::<f64>().unwrap(), peak.parse::<f64>().unwrap());
        let peer = peer(name, &hub).map(|it| it.as_secs_f64() * 1000.0);
        let shown = peer.map_or(String::from("-"), |it| format!("{it:.1} ms"));
        let ratio = peer.map_or(String::from("-"), |it| format!("{:.2}", ours / it));
        let late = if ours > goal_ms || peak > PEAK_GOAL_MIB { "  over the goal" } else { "" };
        println!("{name:10} {ours:>8.1} ms {shown:>11} {ratio:>7} {peak:>10.0}{late}");
    }
    println!("\ngoals: cold 10 s, warm 1 s, move 20 ms, peak {PEAK_GOAL_MIB} MiB");
}

/// One measurement: milliseconds and the peak of this process in MiB.
pub fn row(name: &str, folder: &Path) {
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
    println!("{} {}", took.as_secs_f64() * 1000.0, peak_mib());
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
