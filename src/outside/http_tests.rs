//! The client against small servers on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::outside::clock::Stopwatch;

/// Answers every connection with the same bytes, hands over each request, and keeps the connection open.
async fn serve(answer: impl Into<Vec<u8>>) -> (SocketAddr, mpsc::Receiver<String>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(8);
    let count = Arc::new(AtomicUsize::new(0));
    let (answer, counted) = (answer.into(), Arc::clone(&count));
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let _ = stream.write_all(&answer).await;
            let _ = sender.send(String::from_utf8_lossy(&request[..read]).into_owned()).await;
            open.push(stream);
        }
    });
    (address, receiver, count)
}

fn client(timeout_ms: u64, body_max: usize) -> Http {
    Http::new(&HttpSettings {
        timeout: Duration::from_millis(timeout_ms),
        connect_timeout: Duration::from_secs(5),
        body_max,
        user_agent: "tars-test/1".to_owned(),
        authorities: None,
    })
    .unwrap()
}

#[tokio::test]
async fn an_answer_carries_status_server_time_type_and_body() {
    let answer = "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Content-Type: text/x\r\nContent-Length: 2\r\n\r\nhi";
    let (address, mut requests, _) = serve(answer).await;
    let token = Secret::new("canary").unwrap();
    let url = format!("http://{address}/api");
    let reply = client(20_000, 10).get(&url, &[("query", "a b&c=\"{}\"")], Some(&token)).await.unwrap();
    assert_eq!((reply.status, &reply.content_type[..], &reply.body[..]), (404, "text/x", &b"hi"[..]));
    assert_eq!(reply.date, Some("1994-11-06T08:49:37Z".parse().unwrap()));
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("get /api?query=a+b%26c%3d%22%7b%7d%22 http/1.1"), "{request}");
    assert!(
        request.contains("authorization: bearer canary") && request.contains("accept-encoding: identity")
    );
}

#[tokio::test]
async fn a_post_sends_its_body_and_a_broken_date_is_none() {
    let (address, mut requests, _) =
        serve("HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n").await;
    let url = format!("http://{address}/x");
    let body = Some(("application/json", &b"{}"[..]));
    let request = HttpRequest { method: Method::Post, query: &[], headers: &[], body, credential: None };
    let reply = client(20_000, 10).send(&url, request).await.unwrap();
    assert_eq!((reply.status, reply.date), (200, None));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /x") && request.contains("application/json"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_the_token_stays_here() {
    let (other, _requests, contacted) = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n");
    let (address, _requests, _) = serve(answer).await;
    let token = Secret::new("canary").unwrap();
    let reply = client(20_000, 10).get(&format!("http://{address}/"), &[], Some(&token)).await.unwrap();
    assert_eq!(reply.status, 302);
    assert_eq!(contacted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_is_capped_whether_announced_or_not() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n0",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n678901\r\n",
    ] {
        let (address, _requests, _) = serve(answer).await;
        let error = client(20_000, 10).get(&format!("http://{address}/"), &[], None).await.unwrap_err();
        assert!(matches!(error, HttpError::BodyTooLarge { bytes_max: 10, .. }), "{error:?}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn a_compressed_body_stays_as_it_came() {
    let (address, _requests, _) =
        serve(&b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"[..])
            .await;
    let reply = client(20_000, 10).get(&format!("http://{address}/"), &[], None).await.unwrap();
    assert_eq!(reply.body, b"\x1f\x8b\x08\x00");
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_runs_into_the_deadline() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0123"] {
        let (address, _requests, _) = serve(answer).await;
        let error = client(300, 10).get(&format!("http://{address}/"), &[], None).await.unwrap_err();
        assert!(matches!(error, HttpError::Timeout { .. }) && error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error_without_user_password_or_query() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://user:canary@{address}/path?token=canary");
    let error = client(20_000, 10).get(&url, &[("q", "canary")], None).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot connect to http://{address}/path"));
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn only_http_addresses_are_asked() {
    for bad in ["", "x", "file:///etc/passwd", "ftp://h/", "http://", "unix:/x"] {
        let error = client(1000, 10).get(bad, &[], None).await.unwrap_err();
        assert!(matches!(error, HttpError::Request(_)), "{bad}");
    }
}

#[tokio::test]
async fn chosen_headers_travel_and_the_kept_ones_come_back() {
    let answer = "HTTP/1.1 304 X\r\nETag: \"a1\"\r\nX-Other: x\r\nContent-Length: 0\r\n\r\n";
    let (address, mut requests, _) = serve(answer).await;
    let headers = [("if-none-match", "\"a0\""), ("accept", "application/json")];
    let request =
        HttpRequest { method: Method::Delete, query: &[], headers: &headers, body: None, credential: None };
    let reply = client(20_000, 10).send(&format!("http://{address}/x"), request).await.unwrap();
    assert_eq!((reply.status, reply.header("etag"), reply.header("x-other")), (304, Some("\"a1\""), None));
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("delete /x http/1.1") && request.contains("if-none-match: \"a0\""));
    assert!(!request.contains("authorization"));
}

#[test]
fn certificate_authorities_that_are_none_are_refused() {
    for pem in ["", "not a certificate"] {
        let settings = HttpSettings {
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            body_max: 10,
            user_agent: "tars-test/1".into(),
            authorities: Some(pem.into()),
        };
        assert!(matches!(Http::new(&settings), Err(HttpError::Request(_))), "{pem:?}");
    }
}

/// Three requests by clones of a client that pauses for `distance` while the server answers so; how long they took.
async fn three(status: &str, distance: Duration) -> Duration {
    let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let (address, _requests, _) = serve(answer).await;
    let http = client(20_000, 10).gently(distance);
    let started = Stopwatch::start();
    for http in [http.clone(), http.clone(), http] {
        http.get(&format!("http://{address}/"), &[], None).await.unwrap();
    }
    started.elapsed()
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_with_pauses_and_a_healthy_one_is_not() {
    const DISTANCE: Duration = Duration::from_millis(150);
    for status in ["503 No", "500 No", "429 Slow down"] {
        assert!(three(status, DISTANCE).await >= 2 * DISTANCE, "{status}");
    }
    for status in ["200 OK", "404 Not Found"] {
        three(status, Duration::from_hours(24)).await;
    }
    let away = client(20_000, 10).gently(DISTANCE);
    let started = Stopwatch::start();
    for _ in 0..3 {
        away.get("http://127.0.0.1:9/", &[], None).await.unwrap_err();
    }
    assert!(started.elapsed() >= 2 * DISTANCE);
}
