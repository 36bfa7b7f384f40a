//! When the next tick begins: after its time, soon after an alert, or when the forge said that something happened,
//! and that no more often than a bound. Signals come in and are one signal however many they are. Also how long the one
//! under way has taken: a loop that hangs is no loop.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::outside::clock::{Stopwatch, wait};

/// Alerts wake the loop, but not more often than this.
const WAKE_PAUSE: Duration = Duration::from_millis(500);
/// Deliveries of the forge make ticks that begin no closer to the one before than this, however many arrive.
pub const NUDGE_DISTANCE: Duration = Duration::from_secs(5);

/// What hurries the loop.
#[derive(Debug)]
pub struct Pace {
    woken: Notify,
    nudged: Notify,
    nudge_distance: Duration,
    /// Since the last tick ended, or the process began.
    since_tick: Mutex<Stopwatch>,
    /// No tick takes this long.
    stuck_after: Duration,
}

impl Pace {
    pub fn new(nudge_distance: Duration, stuck_after: Duration) -> Self {
        let since_tick = Mutex::new(Stopwatch::start());
        Self { woken: Notify::new(), nudged: Notify::new(), nudge_distance, since_tick, stuck_after }
    }

    /// How long no tick has ended, when that is longer than any takes.
    pub fn stuck_for(&self) -> Option<Duration> {
        let since = self.since_tick.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        (since >= self.stuck_after).then_some(since)
    }

    /// The same as a sentence.
    pub fn alive(&self) -> Result<(), String> {
        self.stuck_for().map_or(Ok(()), |it| Err(format!("no tick has ended for {} s", it.as_secs())))
    }

    /// An alert arrived.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// The forge says that something happened.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Waits for the next tick; `since` is the beginning of the one before.
    pub async fn next(&self, since: &Stopwatch, tick: Duration) {
        *self.since_tick.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
        tokio::select! {
            () = wait(tick.saturating_sub(since.elapsed())) => {}
            () = async {
                self.woken.notified().await;
                wait(WAKE_PAUSE).await;
            } => {}
            () = async {
                self.nudged.notified().await;
                wait(self.nudge_distance.saturating_sub(since.elapsed())).await;
            } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_flood_of_nudges_cannot_drive_the_loop_faster_than_its_bound() {
        let distance = Duration::from_millis(40);
        let pace = Pace::new(distance, LONG);
        let whole = Stopwatch::start();
        for _ in 0..5 {
            let tick = Stopwatch::start();
            for _ in 0..1000 {
                pace.nudge();
            }
            pace.next(&tick, LONG).await;
        }
        assert!(whole.elapsed() >= 5 * distance, "{:?}", whole.elapsed());
        assert!(whole.elapsed() < LONG);
        // However many they were, they are gone with one tick.
        let rest = Stopwatch::start();
        pace.next(&rest, 3 * distance).await;
        assert!(rest.elapsed() >= 3 * distance);
    }

    #[tokio::test]
    async fn without_a_signal_a_tick_comes_at_its_time_and_with_one_before() {
        let pace = Pace::new(LONG, LONG);
        let watch = Stopwatch::start();
        pace.nudge();
        pace.next(&watch, Duration::from_millis(30)).await;
        assert!(watch.elapsed() >= Duration::from_millis(30));
        let watch = Stopwatch::start();
        pace.wake();
        pace.next(&watch, LONG).await;
        assert!(watch.elapsed() >= WAKE_PAUSE && watch.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_loop_that_ends_no_tick_is_stuck_until_it_ends_one() {
        let bound = Duration::from_millis(50);
        let pace = Pace::new(LONG, bound);
        assert_eq!(pace.stuck_for(), None);
        wait(bound).await;
        assert!(pace.stuck_for().is_some_and(|it| it >= bound));
        pace.next(&Stopwatch::start(), Duration::ZERO).await;
        assert_eq!(pace.stuck_for(), None);
    }
}
