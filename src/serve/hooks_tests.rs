//! The forge's route over real sockets: whose headers are understood, and what is refused before or after reading.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::hooks::{FORGE_HOOKS_AT_ONCE, MAX_FORGE_BYTES};
use super::server::{Server, Settings};
use super::tests::{Running, Stub, exchange, request, settings, start, status};
use crate::model::delivery::{Proof, Sender};
use crate::telemetry::names::Metrics;

const HOOK: &str = "/webhook/forge";
const HEX: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";

fn gitea() -> String {
    format!("x-gitea-event: push\r\nx-gitea-signature: {HEX}\r\nx-gitea-delivery: a-1\r\n")
}

fn counted(running: &Running, outcome: &str, count: u32) {
    let line = format!("tars_forge_webhooks_total{{outcome=\"{outcome}\"}} {count}\n");
    let text = running.metrics.encode().unwrap();
    assert!(text.contains(&line), "{line} is not in {text}");
}

#[tokio::test]
async fn each_forge_is_understood_as_its_vendor_documents_it() {
    let body = [0x0f_u8; 32];
    let code = "v1,Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=";
    let stamped = |signature: &str| {
        format!(
            "X-Gitlab-Event: Note Hook\r\nwebhook-id: m-1\r\nwebhook-timestamp: 1795428000\r\n\
             webhook-signature: {signature}\r\nIdempotency-Key: m-1\r\nX-Gitlab-Event-UUID: u-1\r\n"
        )
    };
    let over_all =
        |count: usize| Proof::OverAll { id: "m-1".into(), at_s: 1_795_428_000, codes: vec![body; count] };
    let github =
        format!("X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={HEX}\r\nX-GitHub-Delivery: g-1\r\n");
    let both = format!("{}{github}X-Hub-Signature: sha1=00\r\n", gitea());
    let token =
        "X-Gitlab-Event: Push Hook\r\nX-Gitlab-Token: hunter2\r\nX-Gitlab-Event-UUID: u-1\r\n".to_owned();
    for (headers, sender, event, id, proof) in [
        (github, Sender::GitHub, "push", "g-1", Proof::OverBody(body)),
        (gitea(), Sender::Gitea, "push", "a-1", Proof::OverBody(body)),
        (both, Sender::Gitea, "push", "a-1", Proof::OverBody(body)),
        (token, Sender::GitLab, "Push Hook", "u-1", Proof::Token(b"hunter2".to_vec())),
        (stamped(code), Sender::GitLab, "Note Hook", "m-1", over_all(1)),
        (stamped(&format!("{code} v2,xx {code}")), Sender::GitLab, "Note Hook", "m-1", over_all(2)),
    ] {
        let running = start(Stub::default()).await;
        let reply = exchange(running.address, &request("POST", HOOK, &headers, "{}")).await;
        assert_eq!(status(&reply), 202, "{headers} {reply}");
        assert!(reply.ends_with(r#"{"heard":"nudged"}"#), "{reply}");
        let heard = running.stub.heard.lock().unwrap().clone();
        let (delivery, length) = &heard[0];
        assert_eq!(
            (delivery.sender, delivery.event.as_str(), delivery.id.as_deref()),
            (sender, event, Some(id))
        );
        assert_eq!((&delivery.proof, *length, heard.len()), (&proof, 2, 1));
        counted(&running, "nudged", 1);
    }
}

#[tokio::test]
async fn without_a_proof_nothing_is_read_and_without_a_secret_nothing_is_there() {
    let running = start(Stub::default()).await;
    let unsigned = [
        String::new(),
        "x-gitea-event: push\r\n".to_owned(),
        format!("x-gitea-signature: {HEX}\r\n"),
        "x-gitea-event: push\r\nx-gitea-signature: \r\n".to_owned(),
        format!("x-gitea-event: push\r\nx-gitea-signature: {}\r\n", &HEX[1..]),
        format!("x-gitea-event: push\r\nx-gitea-signature: +{}\r\n", &HEX[1..]),
        format!("{}x-gitea-signature: {HEX}\r\n", gitea()),
        format!("x-github-event: push\r\nx-hub-signature-256: {HEX}\r\n"),
        format!("x-github-event: push\r\nx-hub-signature-256: sha1={HEX}\r\n"),
        format!("x-github-event: push\r\nx-hub-signature: sha1={}\r\n", &HEX[24..]),
        // A forge that sends its own event header is held to its own signature.
        format!("x-gitea-event: push\r\nx-github-event: push\r\nx-hub-signature-256: sha256={HEX}\r\n"),
        "x-gitlab-event: Push Hook\r\n".to_owned(),
        "x-gitlab-event: Push Hook\r\nx-gitlab-token: a\r\nx-gitlab-token: a\r\n".to_owned(),
        // A signature that cannot be checked does not fall back to the token.
        "x-gitlab-event: Push Hook\r\nx-gitlab-token: a\r\nwebhook-signature: v1,x\r\n".to_owned(),
        "authorization: Bearer hunter2\r\n".to_owned(),
    ];
    for headers in &unsigned {
        // The announced body never comes: whoever waits for it does not answer.
        let head = format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\n{headers}content-length: 1000\r\n\r\n");
        assert_eq!(status(&exchange(running.address, head.as_bytes()).await), 401, "{headers}");
    }
    counted(&running, "unsigned", u32::try_from(unsigned.len()).unwrap());
    assert!(running.stub.heard.lock().unwrap().is_empty());
    let settings = Settings { forge_hooks: false, ..settings() };
    let metrics = Arc::new(Metrics::new("0.1.0", []));
    let server = Server::bind(settings, Arc::new(Stub::default()), metrics).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    assert_eq!(status(&exchange(address, &request("POST", HOOK, &gitea(), "{}")).await), 404);
}

#[tokio::test]
async fn a_delivery_is_bounded_in_size_and_time_whatever_it_announces() {
    let running = start(Stub::default()).await;
    let head = |rest: &str| format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\n{}{rest}\r\n", gitea());
    let announced = head(&format!("content-length: {}\r\n", MAX_FORGE_BYTES + 1));
    assert_eq!(status(&exchange(running.address, announced.as_bytes()).await), 413);
    let mut chunked = head("transfer-encoding: chunked\r\n").into_bytes();
    for _ in 0..=(MAX_FORGE_BYTES >> 16) {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(status(&exchange(running.address, &chunked).await), 413);
    let slow = head("content-length: 10\r\n") + "abc";
    assert_eq!(status(&exchange(running.address, slow.as_bytes()).await), 408);
    counted(&running, "too_large", 2);
    counted(&running, "too_slow", 1);
    // Packed bodies stay packed: what is unpacked nowhere cannot be a bomb.
    let packed = format!("{}content-encoding: gzip\r\n", gitea());
    assert_eq!(status(&exchange(running.address, &request("POST", HOOK, &packed, "\u{1f}x")).await), 202);
    assert_eq!(running.stub.heard.lock().unwrap()[0].1, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_delivery_too_many_is_shed() {
    let running = start(Stub::default()).await;
    *running.stub.gate_closed.lock().unwrap() = true;
    let message = request("POST", HOOK, &gitea(), "{}");
    let address = running.address;
    let send = |message: Vec<u8>| tokio::spawn(async move { status(&exchange(address, &message).await) });
    let waiting: Vec<_> = (0..FORGE_HOOKS_AT_ONCE).map(|_| send(message.clone())).collect();
    while running.stub.waiting.load(Ordering::SeqCst) < FORGE_HOOKS_AT_ONCE {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&exchange(address, &message).await), 503);
    counted(&running, "shed", 1);
    *running.stub.gate_closed.lock().unwrap() = false;
    running.stub.gate_moved.notify_all();
    for reply in waiting {
        assert_eq!(reply.await.unwrap(), 202);
    }
}

#[tokio::test]
async fn what_senders_write_never_becomes_a_series() {
    let running = start(Stub::default()).await;
    let series = |running: &Running| running.metrics.encode().unwrap().lines().count();
    exchange(running.address, &request("POST", HOOK, &gitea(), "{}")).await;
    let before = series(&running);
    for round in 0..200 {
        let headers = format!(
            "x-gitea-event: event-{round}\r\nx-gitea-delivery: {round}\r\nx-gitea-signature: {HEX}\r\n"
        );
        exchange(running.address, &request("POST", HOOK, &headers, "{}")).await;
    }
    assert_eq!(series(&running), before);
}
