//! A scripted HTTP server on the loopback address, for tests of this room: acts go in, the requests as they
//! arrived come out. It never listens anywhere else.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::outside::http::{Http, HttpSettings};

/// A client with limits that no test reaches.
pub fn http() -> Http {
    Http::new(&HttpSettings {
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        body_max: 8 << 20,
        user_agent: "tars-test".into(),
        authorities: None,
    })
    .unwrap()
}

/// What a server does with one connection.
pub enum Act {
    /// Answer with this status and body.
    Answer(u16, String),
    /// Close the connection without a word.
    Hang,
}

/// A request as it arrived: its first line, its headers in lower case, its body.
pub struct Seen {
    pub line: String,
    pub head: String,
    pub body: String,
}

/// Serves `acts` one after the other, one connection each; the address, and the requests afterwards.
pub async fn server(acts: Vec<Act>) -> (String, tokio::task::JoinHandle<Vec<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut acts = VecDeque::from(acts);
        let mut seen = Vec::new();
        while let Some(act) = acts.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            loop {
                let mut chunk = [0; 4_096];
                let count = stream.read(&mut chunk).await.unwrap();
                assert!(count > 0, "the client left in the middle of a request");
                bytes.extend_from_slice(&chunk[..count]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let head_lower = head.to_ascii_lowercase();
                let length = head_lower
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
                if body.len() >= length {
                    let line = head.lines().next().unwrap().to_owned();
                    seen.push(Seen { line, head: head_lower, body: body.to_owned() });
                    break;
                }
            }
            if let Act::Answer(status, body) = act {
                let reply = format!(
                    "HTTP/1.1 {status} X\r\ndate: Mon, 23 Nov 2026 10:00:07 GMT\r\n\
                     content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        }
        seen
    });
    (address, serving)
}
