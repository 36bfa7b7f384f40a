//! The receiver over real sockets: who is admitted, which messages are read as what, and what a refusal looks like.

use std::sync::atomic::Ordering;

use super::*;
use crate::serve::server::{ServeError, Server, Settings};
use crate::serve::tests::{
    LONG, Running, Stub, exchange, request, settings, start, start_with, status, trickle,
};

const PATH: &str = "/api/v1/write";
const AUTH: &str = "authorization: Basic cHJvbTpodW50ZXIy\r\n";
const V1: &str = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n\
                  x-prometheus-remote-write-version: 0.1.0\r\n";
const V2: &str = "content-type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\n\
                  content-encoding: snappy\r\nx-prometheus-remote-write-version: 2.0.0\r\n";

async fn post(running: &Running, headers: &str) -> String {
    exchange(running.address, &request("POST", PATH, &format!("{AUTH}{headers}"), "xy")).await
}

fn counted(running: &Running, line: &str) {
    let text = running.metrics.encode().unwrap();
    assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
}

#[tokio::test]
async fn each_version_is_read_as_its_content_type_says_and_answered_as_it_asks() {
    let running = start(Stub::default()).await;
    let named = V1.replace("x-protobuf", "x-protobuf;proto=prometheus.WriteRequest");
    for headers in [V1, "", &named] {
        let reply = post(&running, headers).await;
        assert_eq!(status(&reply), 204, "{reply}");
        assert!(!reply.contains("samples-written"), "{reply}");
    }
    let reply = post(&running, V2).await;
    assert_eq!(status(&reply), 204, "{reply}");
    for line in ["samples-written: 3", "histograms-written: 0", "exemplars-written: 0"] {
        assert!(reply.contains(&format!("x-prometheus-remote-write-{line}\r\n")), "{reply}");
    }
    let written = running.stub.written.lock().unwrap().clone();
    let one = (WriteVersion::One, 2);
    assert_eq!(written, [one, one, one, (WriteVersion::Two, 2)]);
    counted(&running, "tars_push_messages_total{outcome=\"taken\"} 4");
    counted(&running, "tars_pushed_samples_total{outcome=\"kept\"} 8");
}

#[tokio::test]
async fn what_is_no_message_of_ours_is_refused_before_it_is_read() {
    let running = start(Stub::default()).await;
    for headers in [
        V1.replace("x-protobuf", "json"),
        V1.replace("snappy", "gzip"),
        V1.replace("0.1.0", "3.0.0"),
        V2.replace("write.v2", "write.v3"),
        format!("{V1}x-none: x\r\n").replace("application/x-protobuf", "text/plain"),
    ] {
        // The announced body never comes: whoever waits for it does not answer.
        let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{AUTH}{headers}content-length: 9\r\n\r\n");
        assert_eq!(status(&exchange(running.address, head.as_bytes()).await), 415, "{headers}");
    }
    counted(&running, "tars_push_messages_total{outcome=\"other_type\"} 5");
    assert!(running.stub.written.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_the_right_credential_of_the_right_scheme_opens_the_door() {
    let running = start(Stub::default()).await;
    for auth in ["", "authorization: Bearer cHJvbTpodW50ZXIy\r\n", "authorization: Basic eDp5\r\n"] {
        let reply = exchange(running.address, &request("POST", PATH, &format!("{auth}{V1}"), "xy")).await;
        assert_eq!(status(&reply), 401, "{auth}");
        assert!(reply.contains("www-authenticate: Basic"), "{reply}");
    }
    let at = |push, listen: &str| Settings { push, listen: listen.parse().unwrap(), ..settings() };
    let metrics = || Arc::new(Metrics::new("0.1.0", []));
    let closed = Server::bind(at(None, "127.0.0.1:0"), Arc::new(Stub::default()), metrics()).await.unwrap();
    let address = closed.address();
    tokio::spawn(closed.run(std::future::pending()));
    assert_eq!(status(&exchange(address, &request("POST", PATH, V1, "xy")).await), 404);
    let open = Server::bind(at(Some(Door::Open), "127.0.0.1:0"), Arc::new(Stub::default()), metrics());
    let open = open.await.unwrap();
    let address = open.address();
    tokio::spawn(open.run(std::future::pending()));
    assert_eq!(status(&exchange(address, &request("POST", PATH, V1, "xy")).await), 204);
    let beyond = Server::bind(at(Some(Door::Open), "0.0.0.0:0"), Arc::new(Stub::default()), metrics()).await;
    assert!(matches!(beyond, Err(ServeError::OpenToAll(_))));
}

#[tokio::test]
async fn a_message_is_bounded_in_size_and_time() {
    let running = start(Stub::default()).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{AUTH}{V1}");
    let announced = format!("{head}content-length: {}\r\n\r\n", MAX_WRITE_BYTES + 1);
    assert_eq!(status(&exchange(running.address, announced.as_bytes()).await), 413);
    let slow = format!("{head}content-length: 10\r\n\r\nabc");
    let reply = exchange(running.address, slow.as_bytes()).await;
    assert_eq!(status(&reply), 503, "Prometheus drops what meets a 408: {reply}");
    counted(&running, "tars_push_messages_total{outcome=\"too_large\"} 1");
    counted(&running, "tars_push_messages_total{outcome=\"too_slow\"} 1");
}

#[tokio::test]
async fn what_cannot_be_read_or_only_in_part_is_a_bad_request() {
    let malformed = Err(WriteRefusal::Malformed("it ends".into()));
    let running = start(Stub { wrote: malformed, ..Stub::default() }).await;
    let reply = post(&running, V1).await;
    assert!(status(&reply) == 400 && reply.contains("it ends"), "{reply}");
    let large = Err(WriteRefusal::TooLarge("too much".into()));
    let running = start(Stub { wrote: large, ..Stub::default() }).await;
    assert_eq!(status(&post(&running, V1).await), 413);
    let part = Tally { samples: 5, refused: 2, refused_series: 1, kept: 3, ..Tally::default() };
    let running = start(Stub { wrote: Ok(part), ..Stub::default() }).await;
    let reply = post(&running, V2).await;
    assert_eq!(status(&reply), 400, "{reply}");
    assert!(reply.contains("samples-written: 3\r\n") && reply.contains("1 series"), "{reply}");
    counted(&running, "tars_pushed_samples_total{outcome=\"refused\"} 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_messages_than_places_wait_for_their_turn() {
    let running = start(Stub::default()).await;
    *running.stub.gate_closed.lock().unwrap() = true;
    let address = running.address;
    let message = request("POST", PATH, &format!("{AUTH}{V1}"), "xy");
    let send = |message: Vec<u8>| tokio::spawn(async move { status(&exchange(address, &message).await) });
    let all: Vec<_> = (0..WRITES_AT_ONCE + 2).map(|_| send(message.clone())).collect();
    while running.stub.waiting.load(Ordering::SeqCst) < WRITES_AT_ONCE {
        tokio::task::yield_now().await;
    }
    *running.stub.gate_closed.lock().unwrap() = false;
    running.stub.gate_moved.notify_all();
    for reply in all {
        assert_eq!(reply.await.unwrap(), 204);
    }
}

#[tokio::test]
async fn slow_senders_take_nobodys_place_to_be_stored() {
    let running = start_with(Stub::default(), LONG).await;
    let mut slow = Vec::new();
    for _ in 0..WRITES_AT_ONCE {
        let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{AUTH}{V1}");
        slow.push(trickle(running.address, &head).await);
    }
    assert_eq!(status(&post(&running, V1).await), 204);
}
