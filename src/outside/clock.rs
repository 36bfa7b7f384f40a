//! The clock: wall time behind a trait, one bounded wait, one monotonic stopwatch.
//! Out go timestamps and durations. Nothing here decides what a time means.

#![expect(clippy::disallowed_methods, reason = "the one file that reads the clock and sleeps")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Wall time. The demo and the tests put a [`VirtualClock`] in its place.
pub trait Clock: Send + Sync + Debug {
    /// The current wall time.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told to. Clones share one time.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    now: Arc<Mutex<Timestamp>>,
}

impl VirtualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(start)) }
    }

    /// Moves forward by `by` and returns the new time; stops at the end of representable time.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).unwrap_or(Timestamp::MAX);
        *now
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time that somebody else's clock showed, and the local time at which it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutsideClock {
    pub says: Timestamp,
    pub seen_at: Timestamp,
}

/// Waits for `d`: the one sleep of the program. Everything else waits on a condition.
pub async fn wait(d: Duration) {
    tokio::time::sleep(d).await;
}

/// Elapsed time that no clock correction can change.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_virtual_clock_share_one_time() {
        let clock = VirtualClock::at(Timestamp::UNIX_EPOCH);
        let other = clock.clone();
        other.advance(Duration::from_secs(90));
        assert_eq!(clock.now().as_second(), 90);
    }

    #[test]
    fn a_virtual_clock_stops_at_the_end_of_time_instead_of_panicking() {
        let clock = VirtualClock::at(Timestamp::MAX);
        assert_eq!(clock.advance(Duration::from_secs(1)), Timestamp::MAX);
    }
}
