//! How the rounds of sending to one receiver ended. Outcomes come in, what is counted goes out; the log hears of an outage when
//! it begins and when it ends. The next round sends again, whatever became of this one.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::events::Event;
use crate::telemetry::names::Push;

#[derive(Debug)]
pub(super) struct Rounds {
    /// As the log calls the receiver.
    stage: &'static str,
    /// Since the last that did not fail.
    failed: AtomicU64,
}

impl Rounds {
    pub(super) fn new(stage: &'static str) -> Self {
        Self { stage, failed: AtomicU64::new(0) }
    }

    pub(super) fn note(&self, outcome: Result<(), impl Error>) -> Push {
        let stage = self.stage;
        match outcome {
            Ok(()) => {
                let failed = self.failed.swap(0, Ordering::Relaxed);
                if failed > 0 {
                    Event::Recovered { stage, failed }.emit();
                }
                Push::Accepted
            }
            Err(error) => {
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    Event::Failed { stage, error: &error }.emit();
                }
                Push::Failed
            }
        }
    }
}
