//! Ports of loopback for programs that have to be told one. Comes in: nothing; out: a port that no other test gets, in
//! this process or another, while this process lives. Never: a port of the ephemeral range, from which the kernel
//! serves every outgoing connection and every program that asks for port 0 between our choice and its use.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below the ephemeral range of Linux (from 32768) and above what services of a machine usually take.
const PORTS: Range<u16> = 20_000..32_000;

/// Where the next search starts: processes start apart, so that they seldom meet.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// The locks of what was given out; the kernel frees them when this process ends, however it ends.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that is ours until this process ends.
///
/// # Panics
/// When none of the range is free.
pub(crate) fn free_port() -> u16 {
    let count = PORTS.end - PORTS.start;
    let begin = u16::try_from(std::process::id() % u32::from(count)).unwrap();
    let locks = std::env::temp_dir().join("tars-test-ports");
    std::fs::create_dir_all(&locks).unwrap();
    for _ in 0..count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (begin + step) % count;
        let path = locks.join(port.to_string());
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
        if lock.try_lock().is_err() || TcpListener::bind(("127.0.0.1", port)).is_err() {
            continue;
        }
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
        return port;
    }
    panic!("no port of {PORTS:?} is free on loopback");
}

#[test]
fn no_port_is_given_out_twice_and_none_is_of_the_ephemeral_range() {
    let ports: Vec<u16> = (0..200).map(|_| free_port()).collect();
    let different: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
    assert_eq!(different.len(), ports.len(), "{ports:?}");
    assert!(ports.iter().all(|port| PORTS.contains(port)), "{ports:?}");
}

#[test]
fn a_port_that_somebody_listens_on_is_not_given_out() {
    let next = free_port() + 1;
    let Ok(_somebody) = TcpListener::bind(("127.0.0.1", next)) else { return };
    assert!((0..50).all(|_| free_port() != next));
}
