//! Failures of something that is tried again and again. Outcomes come in; the log hears of an outage when it begins and when it
//! ends, and not of each try.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use super::events::Event;

#[derive(Debug)]
pub struct Failures {
    /// As the log calls what is tried.
    stage: &'static str,
    /// Since the last try that did not fail.
    count: AtomicU64,
}

impl Failures {
    #[must_use]
    pub fn of(stage: &'static str) -> Self {
        Self { stage, count: AtomicU64::new(0) }
    }

    /// One more try, and why it failed, if it did.
    pub fn note(&self, error: Option<&dyn Error>) {
        let stage = self.stage;
        match error {
            None => {
                let failed = self.count.swap(0, Ordering::Relaxed);
                if failed > 0 {
                    Event::Recovered { stage, failed }.emit();
                }
            }
            Some(error) => {
                if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
                    Event::Failed { stage, error }.emit();
                }
            }
        }
    }
}

/// Why something failed, for [`Failures::note`].
pub fn error_of<E: Error + 'static>(outcome: &Result<(), E>) -> Option<&dyn Error> {
    outcome.as_ref().err().map(|it| it as &dyn Error)
}
