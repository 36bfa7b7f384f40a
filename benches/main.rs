//! What tars costs in a big repository, against the git command line in the same run, and with many series. Comes in:
//! nothing but the real `git`, and Python's libraries and the real Prometheus where they are. Goes out: a table for each question, with times,
//! ratios and peaks of memory; a slow run is told, never failed. `cargo bench --bench scale -- index` asks one question,
//! without a name all are asked. `stream`, `million` and `pulled` are about the detector: what a value costs, a tick of a
//! million series, which takes 4 GiB, and one of ten thousand that are asked for.
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
#[path = "../src/detect/mod.rs"]
mod detect;
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
#[path = "../src/sops/mod.rs"]
mod sops;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/yaml/mod.rs"]
mod yaml;
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/observe"]
mod observe {
    mod blobs;
    pub mod charts;
    #[cfg(test)]
    mod loopback;
    pub mod metrics;
    pub mod past;
    pub mod prometheus;
    pub mod prometheus_wire;
    pub mod pushed;
    mod releases;
    pub mod remote_write;
    pub mod repository;
    pub mod signals;
    pub mod sources;
    mod watched;
    pub mod window;
}

mod generator;
mod index;
mod million;
mod pulled;
mod pushed_commit;
mod samples;
mod stream;

use std::path::Path;

fn main() {
    // Cargo adds an option of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            index::table();
            println!();
            pushed_commit::table();
            println!();
            samples::table();
            println!();
            stream::table();
            println!();
            pulled::table();
            println!();
            million::table();
        }
        ["index"] => index::table(),
        ["index", row, folder] => index::row(row, Path::new(folder)),
        ["pushed_commit"] => pushed_commit::table(),
        ["samples"] => samples::table(),
        ["stream"] => stream::table(),
        ["million"] => million::table(),
        ["pulled"] => pulled::table(),
        _ => println!(
            "usage: cargo bench --bench scale -- [index|pushed_commit|samples|stream|million|pulled]"
        ),
    }
}

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |it| it.parse().unwrap())
}

/// Files of the big repository.
fn files() -> usize {
    number("TARS_BENCH_FILES", 100_000)
}

/// Peak resident memory of this process, in MiB (proc_pid_status(5), `VmHWM`).
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Seconds that this thread was on a processor (Linux, "sched-stats").
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
