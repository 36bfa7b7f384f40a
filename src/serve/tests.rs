//! The server over real sockets: who is admitted, what is bounded, and what a refusal looks like.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::door::Door;
use super::listener::MAX_CONNECTIONS;
use super::routes::{MAX_WEBHOOK_BYTES, PREDICTIONS_AT_ONCE, WEBHOOKS_AT_ONCE};
use super::server::*;
use crate::model::anomaly::{Anomaly, ModelName, ModelScore, Score};
use crate::model::delivery::{Delivery, Heard};
use crate::model::fixtures::{anomaly, at, signal};
use crate::model::pushed::{Tally, WriteRefusal, WriteVersion};
use crate::model::shard::{Shard, ShardReport};
use crate::model::signal::Series;
use crate::telemetry::names::Metrics;

/// Takes messages as its script says, and lets none finish while the gate is closed.
pub(super) struct Stub {
    pub(super) accepted: AtomicUsize,
    pub(super) refusal: Option<Refusal>,
    pub(super) gate_closed: Mutex<bool>,
    pub(super) gate_moved: Condvar,
    pub(super) waiting: AtomicUsize,
    pub(super) not_ready: bool,
    pub(super) hangs: bool,
    pub(super) heard: Mutex<Vec<(Delivery, usize)>>,
    pub(super) written: Mutex<Vec<(WriteVersion, usize)>>,
    pub(super) wrote: Result<Tally, WriteRefusal>,
    pub(super) report: Mutex<Option<ShardReport>>,
}

impl Default for Stub {
    fn default() -> Self {
        Self {
            accepted: AtomicUsize::default(),
            refusal: None,
            gate_closed: Mutex::default(),
            gate_moved: Condvar::default(),
            waiting: AtomicUsize::default(),
            not_ready: false,
            hangs: false,
            heard: Mutex::default(),
            written: Mutex::default(),
            report: Mutex::default(),
            wrote: Ok(Tally { kept: 2, samples: 3, unwatched: 1, ..Tally::default() }),
        }
    }
}

impl Backend for Stub {
    fn score(&self, series: Series, period: Option<u32>) -> Result<Anomaly, String> {
        let (at, value) = series.last().ok_or("no value")?;
        if value < 0.0 {
            return Err("negative".into());
        }
        let models = vec![ModelScore {
            model: ModelName::Ewma,
            score: Score::new(0.9).unwrap(),
            weight: 1.0,
            evidence: "far away".into(),
        }];
        Ok(Anomaly { value, models, period, ..anomaly(series.key, 0.876, at) })
    }

    fn accept(&self, body: &[u8]) -> Result<Taken, Refusal> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.gate_closed.lock().unwrap();
        while *closed {
            closed = self.gate_moved.wait(closed).unwrap();
        }
        assert!(!body.is_empty());
        self.accepted.fetch_add(1, Ordering::SeqCst);
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(Taken { firing: 1, ..Taken::default() }),
        }
    }

    fn hear(&self, delivery: &Delivery, body: &[u8]) -> Heard {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.gate_closed.lock().unwrap();
        while *closed {
            closed = self.gate_moved.wait(closed).unwrap();
        }
        self.heard.lock().unwrap().push((delivery.clone(), body.len()));
        Heard::Nudged
    }

    fn write(&self, version: WriteVersion, body: &[u8]) -> Result<Tally, WriteRefusal> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.gate_closed.lock().unwrap();
        while *closed {
            closed = self.gate_moved.wait(closed).unwrap();
        }
        self.written.lock().unwrap().push((version, body.len()));
        self.wrote.clone()
    }

    fn alive(&self) -> Result<(), String> {
        if self.hangs { Err("no tick has ended for 1800 s".to_owned()) } else { Ok(()) }
    }

    fn anomalies(&self) -> Option<Arc<ShardReport>> {
        self.report.lock().unwrap().clone().map(Arc::new)
    }

    fn ready(&self) -> Readiness {
        let check = Check { name: "first_tick", ok: !self.not_ready, detail: "x".into() };
        Readiness { checks: vec![check], newest_evidence_age_s: Some(7) }
    }
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) stub: Arc<Stub>,
    pub(super) metrics: Arc<Metrics>,
    _stop: oneshot::Sender<()>,
}

pub(super) fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        webhook: Some(Door::Bearer(Arc::new(|it: &[u8]| it == b"hunter2"))),
        forge_hooks: true,
        anomalies: Some(Door::Bearer(Arc::new(|it: &[u8]| it == b"hunter3"))),
        push: Some(Door::Basic(Arc::new(|it: &[u8]| it == b"cHJvbTpodW50ZXIy"))),
    }
}

/// A deadline for bodies that a test may wait for.
const SHORT: Duration = Duration::from_millis(300);
/// One that no test waits for.
pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) async fn start(stub: Stub) -> Running {
    start_with(stub, SHORT).await
}

pub(super) async fn start_with(stub: Stub, deadline: Duration) -> Running {
    let stub = Arc::new(stub);
    let metrics = Arc::new(Metrics::new("0.1.0", [signal("backend", "latency_p95")]));
    let backend: Arc<dyn Backend> = Arc::clone(&stub) as _;
    let server = Server::bind_with(settings(), backend, Arc::clone(&metrics), deadline).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    Running { address, stub, metrics, _stop: stop }
}

/// Sends `request` and returns everything until the server closes.
pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut reply = Vec::new();
    // The server may answer and close before it has read everything; then writing fails and reading may too.
    let (_, _) = tokio::join!(writing.write_all(request), reading.read_to_end(&mut reply));
    String::from_utf8_lossy(&reply).into_owned()
}

pub(super) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}");
    format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Begins to send a body, of which no more comes while the stream is there; `head` without its last line end.
pub(super) async fn trickle(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}content-length: 10\r\nexpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server says so when it begins to read the body.
    let (expected, mut said) = (b"HTTP/1.1 100 Continue\r\n\r\n", [0; 25]);
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, expected);
    stream.write_all(b"abc").await.unwrap();
    stream
}

pub(super) fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn json_body(reply: &str) -> serde_json::Value {
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}

const TOKEN: &str = "authorization: Bearer hunter2\r\n";
const HOOK: &str = "/webhook/alertmanager";

#[tokio::test]
async fn only_the_right_token_reaches_the_backend() {
    let running = start(Stub::default()).await;
    for headers in [
        "",
        "authorization: Bearer \r\n",
        "authorization: Bearer wrong\r\n",
        "authorization: Bearer hunter\r\n",
        "authorization: Bearer hunter22\r\n",
        "authorization: Basic hunter2\r\n",
        "authorization: hunter2\r\n",
        "authorization: Bearer hunter2\r\nauthorization: Bearer hunter2\r\n",
        "x-authorization: Bearer hunter2\r\n",
    ] {
        let reply = exchange(running.address, &request("POST", HOOK, headers, "{}")).await;
        assert_eq!(status(&reply), 401, "{headers:?} {reply}");
        assert!(reply.contains("application/problem+json") && reply.contains("www-authenticate: Bearer"));
    }
    assert_eq!(running.stub.accepted.load(Ordering::SeqCst), 0);
    for headers in [TOKEN, "Authorization: bearer hunter2\r\n"] {
        let reply = exchange(running.address, &request("POST", HOOK, headers, "{}")).await;
        assert_eq!(status(&reply), 204, "{reply}");
    }
    assert_eq!(running.stub.accepted.load(Ordering::SeqCst), 2);
    assert!(running.metrics.encode().unwrap().contains("tars_alerts_received_total{status=\"firing\"} 2"));
}

#[tokio::test]
async fn a_stranger_is_turned_away_before_the_body_is_read() {
    let running = start(Stub::default()).await;
    let head = format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
    assert_eq!(status(&exchange(running.address, head.as_bytes()).await), 401);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    let running = start(Stub::default()).await;
    let announced = format!(
        "POST {HOOK} HTTP/1.1\r\nhost: x\r\n{TOKEN}content-length: {}\r\n\r\n",
        MAX_WEBHOOK_BYTES + 1
    );
    assert_eq!(status(&exchange(running.address, announced.as_bytes()).await), 413);
    let mut chunked =
        format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\n{TOKEN}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..=16 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(status(&exchange(running.address, &chunked).await), 413);
    assert_eq!(running.stub.accepted.load(Ordering::SeqCst), 0);
    let fits = request("POST", HOOK, TOKEN, &"x".repeat(MAX_WEBHOOK_BYTES));
    assert_eq!(status(&exchange(running.address, &fits).await), 204);
}

#[tokio::test]
async fn a_slow_body_meets_the_deadline() {
    let running = start(Stub::default()).await;
    let head = format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\n{TOKEN}content-length: 10\r\n\r\nabc");
    assert_eq!(status(&exchange(running.address, head.as_bytes()).await), 408);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_too_many_is_shed_and_the_others_are_kept() {
    let running = start(Stub { gate_closed: Mutex::new(true), ..Stub::default() }).await;
    let message = request("POST", HOOK, TOKEN, "{}");
    let address = running.address;
    let waiting: Vec<_> = (0..WEBHOOKS_AT_ONCE)
        .map(|_| {
            let message = message.clone();
            tokio::spawn(async move { status(&exchange(address, &message).await) })
        })
        .collect();
    while running.stub.waiting.load(Ordering::SeqCst) < WEBHOOKS_AT_ONCE {
        tokio::task::yield_now().await;
    }
    let reply = exchange(address, &message).await;
    assert_eq!(status(&reply), 503, "{reply}");
    assert!(reply.contains("retry-after: "), "{reply}");
    assert_eq!(status(&exchange(address, &request("GET", "/healthz", "", "")).await), 200);
    *running.stub.gate_closed.lock().unwrap() = false;
    running.stub.gate_moved.notify_all();
    for reply in waiting {
        assert_eq!(reply.await.unwrap(), 204);
    }
}

#[tokio::test]
async fn what_the_backend_refuses_is_never_acknowledged() {
    let field = Refusal::Field { field: "alerts[3].startsAt".into(), rule: "must be a time".into() };
    for (refusal, code) in [
        (Refusal::NotJson("x".into()), 400),
        (field, 422),
        (Refusal::TryLater("/var/spool is full".into()), 503),
    ] {
        let running = start(Stub { refusal: Some(refusal), ..Stub::default() }).await;
        let reply = exchange(running.address, &request("POST", HOOK, TOKEN, "{}")).await;
        assert_eq!(status(&reply), code, "{reply}");
        assert_eq!(json_body(&reply)["status"], code);
        assert!(!reply.contains("/var/spool"), "{reply}");
        assert_eq!(code == 422, json_body(&reply)["field"] == "alerts[3].startsAt");
    }
}

#[tokio::test]
async fn a_series_is_scored_with_every_models_vote() {
    let running = start(Stub::default()).await;
    let body = r#"{"values":[180,null,520],"signal":"latency_p95","service":"backend","period":1440}"#;
    let reply = exchange(running.address, &request("POST", "/predict", "", body)).await;
    assert_eq!(status(&reply), 200, "{reply}");
    let answer = json_body(&reply);
    let expected = serde_json::json!({
        "signal": "latency_p95", "service": "backend", "value": 520.0, "score": 0.876, "confidence": 0.95,
        "severity": "high", "method": "stream", "warming_up": false, "expected": {"lower": 150.0, "upper": 230.0}, "period": 1440,
        "models": [{"model": "ewma", "score": 0.9, "weight": 1.0, "evidence": "far away"}]
    });
    assert_eq!(answer, expected);
    let timed = r#"{"values":[1],"timestamps":["2026-11-23T10:00:00Z"]}"#;
    let reply = exchange(running.address, &request("POST", "/predict", "", timed)).await;
    assert_eq!(json_body(&reply)["at"], "2026-11-23T10:00:00Z");
}

#[tokio::test]
async fn a_bad_series_is_a_problem_document_that_names_the_field() {
    let running = start(Stub::default()).await;
    for (body, code, field) in [
        ("{", 400, serde_json::Value::Null),
        (r#"{"values":[true]}"#, 422, "values[0]".into()),
        (r#"{"values":[-1]}"#, 422, "values".into()),
    ] {
        let reply = exchange(running.address, &request("POST", "/predict", "", body)).await;
        assert_eq!((status(&reply), &json_body(&reply)["field"]), (code, &field), "{reply}");
        assert!(reply.contains("content-type: application/problem+json"), "{reply}");
    }
}

#[tokio::test]
async fn health_readiness_metrics_and_the_rest() {
    let running = start(Stub { not_ready: true, ..Stub::default() }).await;
    let get = async |path: &str| exchange(running.address, &request("GET", path, "", "")).await;
    assert_eq!(status(&get("/healthz").await), 200);
    let ready = get("/readyz").await;
    assert_eq!(status(&ready), 503);
    assert_eq!(json_body(&ready)["ready"], false);
    assert_eq!(json_body(&ready)["checks"][0]["name"], "first_tick");
    assert_eq!(json_body(&ready)["newest_evidence_age_s"], 7);
    running.metrics.set_score(&signal("backend", "latency_p95"), 0.5, 0.5);
    let metrics = get("/metrics").await;
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("tars_anomaly_score{signal=\"latency_p95\",service=\"backend\"} 0.5"));
    assert!(metrics.ends_with("# EOF\n"));
    assert!(get("/").await.contains("POST /predict"));
    for (path, code) in [("/nothing", 404), ("/../etc/passwd", 404), ("/predict", 405)] {
        let reply = get(path).await;
        assert_eq!(status(&reply), code, "{reply}");
        assert!(reply.contains("application/problem+json"), "{reply}");
    }
}

#[tokio::test]
async fn a_loop_that_hangs_is_not_alive() {
    let running = start(Stub { hangs: true, ..Stub::default() }).await;
    let reply = exchange(running.address, &request("GET", "/healthz", "", "")).await;
    assert_eq!(status(&reply), 503);
    assert_eq!(json_body(&reply)["detail"], "no tick has ended for 1800 s");
}

#[tokio::test]
async fn an_open_webhook_needs_a_loopback_address_and_without_a_door_there_is_none() {
    let metrics = || Arc::new(Metrics::new("0.1.0", []));
    let bind = async |listen: &str, webhook: Option<Door>| {
        let settings = Settings { listen: listen.parse().unwrap(), webhook, ..settings() };
        Server::bind(settings, Arc::new(Stub::default()), metrics()).await
    };
    assert!(matches!(bind("0.0.0.0:0", Some(Door::Open)).await, Err(ServeError::OpenToAll(_))));
    for (door, code) in [(Some(Door::Open), 204), (None, 404)] {
        let server = bind("127.0.0.1:0", door).await.unwrap();
        let address = server.address();
        tokio::spawn(server.run(std::future::pending()));
        assert_eq!(status(&exchange(address, &request("POST", HOOK, "", "{}")).await), code);
    }
}

#[tokio::test]
async fn slow_senders_take_nobodys_place_to_be_scored() {
    let running = start_with(Stub::default(), LONG).await;
    let mut slow = Vec::new();
    for _ in 0..=PREDICTIONS_AT_ONCE {
        slow.push(trickle(running.address, "POST /predict HTTP/1.1\r\nhost: x\r\n").await);
    }
    let reply = exchange(running.address, &request("POST", "/predict", "", r#"{"values":[1]}"#)).await;
    assert_eq!(status(&reply), 200, "{reply}");
}

#[tokio::test]
async fn http2_is_not_spoken() {
    let running = start(Stub::default()).await;
    let reply = exchange(running.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(reply, "");
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out() {
    let running = start(Stub::default()).await;
    let mut idle = Vec::new();
    for _ in 0..=MAX_CONNECTIONS {
        idle.push(TcpStream::connect(running.address).await.unwrap());
    }
    assert_eq!(status(&exchange(running.address, &request("GET", "/healthz", "", "")).await), 200);
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(10), idle[0].read(&mut byte)).await;
    assert_eq!(ended.expect("the oldest one makes room at once").unwrap_or(0), 0);
}

#[tokio::test]
async fn the_server_stops_although_a_connection_is_open() {
    let metrics = Arc::new(Metrics::new("0.1.0", []));
    let server = Server::bind(settings(), Arc::new(Stub::default()), metrics).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let run = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 8];
    stream.read_exact(&mut first).await.unwrap();
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn anomalies_are_for_who_has_the_secret_and_bounded_by_what_was_asked_for() {
    let running = start(Stub::default()).await;
    let ask = async |path: &str, token: &str| {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        exchange(running.address, head.as_bytes()).await
    };
    assert_eq!(status(&ask("/api/v1/anomalies", "hunter2").await), 401, "the alerts' token is another");
    assert_eq!(status(&ask("/api/v1/anomalies", "hunter3").await), 503, "nothing was looked at yet");
    let scored = [("backend", 0.9), ("frontend", 0.4)]
        .map(|(service, score)| anomaly(signal(service, "latency"), score, at(0)));
    let report = ShardReport::new(Shard::new(1, 2).unwrap(), at(0), Vec::new(), &scored, 7);
    *running.stub.report.lock().unwrap() = Some(report.clone());
    for (path, expected) in [("", report.clone()), ("?floor=0.8", report.above(Score::new(0.8).unwrap()))] {
        let reply = ask(&format!("/api/v1/anomalies{path}"), "hunter3").await;
        assert_eq!(status(&reply), 200, "{reply}");
        let body = reply.split("\r\n\r\n").nth(1).unwrap();
        assert_eq!(serde_json::from_str::<ShardReport>(body).unwrap(), expected);
    }
    for wrong in ["?floor=2", "?floor=x", "?floor=NaN", "?roof=1"] {
        assert_eq!(status(&ask(&format!("/api/v1/anomalies{wrong}"), "hunter3").await), 422, "{wrong}");
    }
    let settings = Settings { anomalies: None, ..settings() };
    let server =
        Server::bind(settings, Arc::new(Stub::default()), Arc::clone(&running.metrics)).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    let head = b"GET /api/v1/anomalies HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&exchange(address, head).await), 404, "nobody asks who is no detector");
}
