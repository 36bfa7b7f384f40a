//! The service that the live tests remediate, as a process of its own, and the cluster it stands for: HTTP in,
//! latency out. It reads its replica count from the watched branch of the repository, has `replicas x 4` worker
//! slots, and every request spends real time in one. Never: a number that was not measured.
//!
//! The program is this test binary, started again: [`the_workload_when_started_as_one`] serves when the
//! environment says so and is an empty test otherwise. A binary target would be installed with `tars`, and an
//! example would not be built by `cargo test --test suite`.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::process::{self, Process};
use crate::support::workload_http;

/// Folder with `repo.git`; its presence makes the test below the program.
const FOLDER: &str = "TARS_LIVE_WORKLOAD";
/// Where the program writes its port.
const PORT_FILE: &str = "workload.port";
pub(super) const OVERLAY: &str = "apps/backend/overlays/production/kustomization.yaml";
const SLOTS_PER_REPLICA: usize = 4;
/// How often the cluster looks at the watched branch.
const SYNC_EVERY: Duration = Duration::from_millis(300);
/// Upper bounds of the histogram's buckets, milliseconds; close together where the answers are.
const FINE_MS: std::ops::RangeInclusive<u32> = 1..=60;
const FINE_STEP_MS: u32 = 10;
const COARSE_MS: [u32; 3] = [1_000, 2_000, 5_000];

#[test]
fn the_workload_when_started_as_one() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    serve(&PathBuf::from(folder));
}

/// Starts the program on the repository in `folder` and returns it with its port. It ends with its standard
/// input, so that it never outlives the test, however that ends.
pub(super) fn start(folder: &Path) -> (Process, u16) {
    let log = std::fs::File::create(folder.join("workload.log")).unwrap();
    let child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "live::workload::the_workload_when_started_as_one", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let workload = Process::of("workload", child);
    let port = process::wait_for("the workload listens", Duration::from_secs(30), || {
        std::fs::read_to_string(folder.join(PORT_FILE)).ok()?.parse().ok()
    });
    (workload, port)
}

#[derive(Debug, Default)]
struct Slots {
    replicas: usize,
    busy: usize,
    revision: String,
}

#[derive(Debug, Default)]
struct Histogram {
    /// Not cumulative: the last one is everything above the bounds.
    counts: Vec<u64>,
    sum_s: f64,
}

#[derive(Debug, Default)]
struct Service {
    slots: Mutex<Slots>,
    freed: Condvar,
    latency: Mutex<Histogram>,
}

fn bounds_ms() -> Vec<u32> {
    FINE_MS.map(|step| step * FINE_STEP_MS).chain(COARSE_MS).collect()
}

fn serve(folder: &Path) {
    let service = Arc::new(Service::default());
    service.latency.lock().unwrap().counts = vec![0; bounds_ms().len() + 1];
    let repository = folder.join("repo.git");
    service.apply(&repository);
    let cluster = Arc::clone(&service);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(SYNC_EVERY);
            cluster.apply(&repository);
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let unfinished = folder.join("workload.port.new");
    std::fs::write(&unfinished, port.to_string()).unwrap();
    std::fs::rename(&unfinished, folder.join(PORT_FILE)).unwrap();
    workload_http::serve(listener, move |peer| {
        let (service, mut dice) = (Arc::clone(&service), u64::from(peer) | 1 << 40);
        move |path: &str| service.answer(path, &mut dice)
    });
    // Until the test ends, however it ends.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

impl Service {
    /// What Argo CD or Flux would do: bring the newest commit of the watched branch into effect.
    fn apply(&self, repository: &Path) {
        let Some(head) = process::git(repository, &["rev-parse", "refs/heads/main"]) else { return };
        if self.slots.lock().unwrap().revision == head {
            return;
        }
        let Some(overlay) = process::git(repository, &["show", &format!("{head}:{OVERLAY}")]) else { return };
        let replicas = replicas(&overlay);
        let mut slots = self.slots.lock().unwrap();
        slots.replicas = replicas;
        slots.revision = head;
        self.freed.notify_all();
    }

    fn answer(&self, path: &str, dice: &mut u64) -> String {
        match path {
            "/work" => self.work(dice),
            "/metrics" => self.metrics(),
            "/revision" => self.slots.lock().unwrap().revision.clone(),
            _ => String::new(),
        }
    }

    /// One request: waits for a slot, then spends 80 to 120 ms in it.
    fn work(&self, dice: &mut u64) -> String {
        let arrived = Instant::now();
        let slots = self.slots.lock().unwrap();
        let is_full = |slots: &mut Slots| slots.busy >= slots.replicas * SLOTS_PER_REPLICA;
        let mut slots = self.freed.wait_while(slots, is_full).unwrap();
        slots.busy += 1;
        drop(slots);
        // Marsaglia's xorshift: the work differs from request to request.
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        std::thread::sleep(Duration::from_millis(80 + *dice % 41));
        self.slots.lock().unwrap().busy -= 1;
        self.freed.notify_one();
        let took = arrived.elapsed();
        let bucket = bounds_ms().partition_point(|bound| u128::from(*bound) < took.as_millis());
        let mut latency = self.latency.lock().unwrap();
        latency.counts[bucket] += 1;
        latency.sum_s += took.as_secs_f64();
        "done".to_owned()
    }

    fn metrics(&self) -> String {
        const NAME: &str = "http_request_duration_seconds";
        let labels = r#"namespace="production",app="backend""#;
        let latency = self.latency.lock().unwrap();
        let mut text = format!("# TYPE {NAME} histogram\n");
        let mut total = 0;
        for (bound, count) in bounds_ms().iter().zip(&latency.counts) {
            total += count;
            let bound_s = f64::from(*bound) / 1000.0;
            text.push_str(&format!("{NAME}_bucket{{{labels},le=\"{bound_s}\"}} {total}\n"));
        }
        total += latency.counts.last().unwrap();
        text.push_str(&format!("{NAME}_bucket{{{labels},le=\"+Inf\"}} {total}\n"));
        text.push_str(&format!(
            "{NAME}_sum{{{labels}}} {}\n{NAME}_count{{{labels}}} {total}\n",
            latency.sum_s
        ));
        let replicas = self.slots.lock().unwrap().replicas;
        text.push_str(&format!("# TYPE backend_replicas gauge\nbackend_replicas {replicas}\n"));
        text
    }
}

/// The one count of the overlay's `replicas:`.
pub(super) fn replicas(overlay: &str) -> usize {
    let count = overlay.lines().find_map(|line| line.trim().strip_prefix("count:"));
    count.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("the overlay has a count")
}
