//! The people who use the workload: a number of clients, each with one connection, each sending its next request
//! as soon as the last one is answered. More clients than worker slots make a queue, and so latency.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Most clients; a stopped one stays as a sleeping thread.
const CLIENTS_MAX: usize = 64;
/// How often a stopped client looks whether it is wanted again.
const IDLE: Duration = Duration::from_millis(50);
/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that run until this is dropped.
#[derive(Debug)]
pub(super) struct Load {
    wanted: Arc<AtomicUsize>,
}

const OVER: usize = usize::MAX;

impl Load {
    pub(super) fn start(port: u16, clients: usize) -> Self {
        let wanted = Arc::new(AtomicUsize::new(clients));
        for number in 0..CLIENTS_MAX {
            let wanted = Arc::clone(&wanted);
            std::thread::spawn(move || run(&wanted, number, port));
        }
        Self { wanted }
    }

    pub(super) fn set_clients(&self, clients: usize) {
        assert!(clients <= CLIENTS_MAX, "{clients} clients");
        self.wanted.store(clients, Ordering::SeqCst);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.wanted.store(OVER, Ordering::SeqCst);
    }
}

fn run(wanted: &AtomicUsize, number: usize, port: u16) {
    let mut connection = None;
    loop {
        match wanted.load(Ordering::SeqCst) {
            OVER => return,
            wanted if number >= wanted => std::thread::sleep(IDLE),
            _ => {
                if connection.is_none() {
                    connection = connect(port);
                }
                if connection.as_mut().is_none_or(|open| ask(open).is_none()) {
                    connection = None;
                    std::thread::sleep(IDLE);
                }
            }
        }
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    let connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    connection.set_nodelay(true).ok()?;
    Some(connection)
}

/// One request; its answer is short and ends with "done".
fn ask(connection: &mut TcpStream) -> Option<()> {
    connection.write_all(b"GET /work HTTP/1.1\r\nHost: workload\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 512];
    while !answer.ends_with(b"done") {
        match connection.read(&mut part).ok()? {
            0 => return None,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    Some(())
}
