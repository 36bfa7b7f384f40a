//! The HTTP side of a workload that tests make: Prometheus asks again and again on one connection, and so do clients. Comes in:
//! a listener, and what to answer to a path; out: answers, until the process ends. Never: an address beyond loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Serves in threads of its own. `greet` is asked for each new connection, with the port of its other end.
pub(crate) fn serve<A>(listener: TcpListener, greet: impl Fn(u16) -> A + Send + Sync + 'static)
where
    A: FnMut(&str) -> String,
{
    let greet = Arc::new(greet);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let greet = Arc::clone(&greet);
            std::thread::spawn(move || {
                let peer = connection.peer_addr().map_or(1, |peer| peer.port());
                answer(connection, greet(peer));
            });
        }
    });
}

fn answer(mut connection: TcpStream, mut body_of: impl FnMut(&str) -> String) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
    while let Some(Ok(first)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|it| !it.is_empty())) {}
        let body = body_of(first.split(' ').nth(1).unwrap_or_default());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if connection.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}
