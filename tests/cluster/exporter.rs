//! What the workload would measure of itself, for a Deployment whose pods run nothing: latency and errors follow from the load,
//! the ready replicas and the image that the API server reports. Comes in: the cluster; out: `/metrics` for Prometheus. Never: a
//! figure from git, or one that tars said.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::kube::Kube;
use super::support::workload_http;

/// Requests that one replica serves at once.
const SLOTS_PER_REPLICA: usize = 4;
/// A beat looks at the API server and answers so many requests.
const BEAT: Duration = Duration::from_millis(250);
const REQUESTS_PER_BEAT: u64 = 20;
/// Of ten requests to a bad image this many fail.
const FAILING_OF_TEN: u64 = 4;
/// Upper bounds of the histogram's buckets, milliseconds; close together where the answers are.
const BOUNDS_MS: [u32; 24] = [
    80, 85, 90, 95, 100, 105, 110, 115, 120, 130, 140, 150, 160, 180, 200, 220, 240, 260, 280, 300, 400, 600,
    1000, 5000,
];
/// Ends the tag of an image that answers with errors.
pub(crate) const BAD: &str = "-bad";

#[derive(Debug, Default)]
struct Seen {
    ready: usize,
    is_bad: bool,
    buckets: [u64; BOUNDS_MS.len()],
    sum_s: f64,
    good: u64,
    failed: u64,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub port: u16,
    clients: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

/// What a request takes with so many clients and slots: nobody waits while there are slots for all.
fn latency_ms(clients: usize, ready: usize, dice: u64) -> u64 {
    let own = 80 + dice % 41;
    match ready * SLOTS_PER_REPLICA {
        0 => 5000,
        slots => own * clients.max(slots) as u64 / slots as u64,
    }
}

impl Exporter {
    /// Of Deployment `backend` in the namespace, beginning with so many clients.
    pub(crate) fn start(kube: &Arc<Kube>, namespace: &'static str, clients: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let exporter = Self {
            port,
            clients: Arc::new(AtomicUsize::new(clients)),
            is_over: Arc::new(AtomicBool::new(false)),
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (kube, wanted, is_over) =
            (Arc::clone(kube), Arc::clone(&exporter.clients), Arc::clone(&exporter.is_over));
        let beats = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut dice = 1_u64 << 40 | 7;
            while !is_over.load(Ordering::SeqCst) {
                look(&kube, namespace, &beats);
                beat(&mut beats.lock().unwrap(), wanted.load(Ordering::SeqCst), &mut dice);
                std::thread::sleep(BEAT);
            }
        });
        workload_http::serve(listener, move |_| {
            let seen = Arc::clone(&seen);
            move |path: &str| match path {
                "/metrics" => metrics(&seen.lock().unwrap(), namespace),
                _ => String::new(),
            }
        });
        exporter
    }

    pub(crate) fn set_clients(&self, clients: usize) {
        self.clients.store(clients, Ordering::SeqCst);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// Reads the Deployment. While nobody answers, the pods go on as they are.
fn look(kube: &Kube, namespace: &str, seen: &Mutex<Seen>) {
    let Some(deployment) = kube.deployment(namespace, "backend") else { return };
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let mut seen = seen.lock().unwrap();
    seen.ready = deployment["status"]["readyReplicas"].as_u64().unwrap_or(0) as usize;
    seen.is_bad = image.ends_with(BAD);
}

fn beat(seen: &mut Seen, clients: usize, dice: &mut u64) {
    for number in 0..REQUESTS_PER_BEAT {
        // Marsaglia's xorshift: the work differs from request to request.
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        let took = latency_ms(clients, seen.ready, *dice);
        let bucket = BOUNDS_MS.partition_point(|bound| u64::from(*bound) < took);
        seen.buckets[bucket.min(BOUNDS_MS.len() - 1)] += 1;
        seen.sum_s += took as f64 / 1000.0;
        // Even a good image fails now and then: a series without any change is not one.
        let fails = if seen.is_bad { number % 10 < FAILING_OF_TEN } else { dice.is_multiple_of(200) };
        if fails { seen.failed += 1 } else { seen.good += 1 }
    }
}

fn metrics(seen: &Seen, namespace: &str) -> String {
    const NAME: &str = "http_request_duration_seconds";
    let labels = format!("namespace=\"{namespace}\",app=\"backend\"");
    let mut text = format!("# TYPE {NAME} histogram\n");
    let mut total = 0;
    for (bound, count) in BOUNDS_MS.iter().zip(&seen.buckets) {
        total += count;
        let bound_s = f64::from(*bound) / 1000.0;
        text.push_str(&format!("{NAME}_bucket{{{labels},le=\"{bound_s}\"}} {total}\n"));
    }
    text.push_str(&format!(
        "{NAME}_bucket{{{labels},le=\"+Inf\"}} {total}\n{NAME}_sum{{{labels}}} {sum}\n\
         {NAME}_count{{{labels}}} {total}\n# TYPE http_requests_total counter\n\
         http_requests_total{{{labels},code=\"200\"}} {good}\nhttp_requests_total{{{labels},code=\"500\"}} {failed}\n\
         # TYPE ready_replicas gauge\nready_replicas{{{labels}}} {ready}\n",
        sum = seen.sum_s,
        good = seen.good,
        failed = seen.failed,
        ready = seen.ready,
    ));
    text
}

#[test]
fn more_clients_wait_and_more_replicas_end_that() {
    assert_eq!(latency_ms(4, 3, 0), 80);
    assert_eq!(latency_ms(28, 3, 20), 233);
    assert_eq!(latency_ms(28, 7, 20), 100);
    assert_eq!(latency_ms(1, 0, 0), 5000);
}
