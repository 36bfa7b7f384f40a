//! Patience with a server in trouble: after an answer that was none, the next requests come one by one with a pause
//! between them, so that a server which comes back is not pushed over again by those who waited for it. Ends of
//! exchanges come in; a wait goes out. A server in health is never waited for.

use std::time::Duration;

use tokio::sync::Mutex;

use super::clock::{Stopwatch, wait};
use super::http::{HttpError, HttpReply};

/// A server counts as in trouble for this long after the last sign of it.
const TROUBLE_FOR: Duration = Duration::from_mins(5);

/// Shared by everybody who asks the same server.
#[derive(Debug)]
pub(super) struct Gentle {
    distance: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: Option<Stopwatch>,
    troubled: Option<Stopwatch>,
}

impl Gentle {
    /// In trouble, one request in each `distance`.
    pub(super) fn new(distance: Duration) -> Self {
        Self { distance, state: Mutex::default() }
    }

    /// Waits until the next request may begin. Whoever waits holds up those who came later.
    pub(super) async fn turn(&self) {
        let mut state = self.state.lock().await;
        let in_trouble = state.troubled.is_some_and(|it| it.elapsed() < TROUBLE_FOR);
        if let Some(asked) = state.asked.filter(|_| in_trouble) {
            wait(self.distance.saturating_sub(asked.elapsed())).await;
        }
        state.asked = Some(Stopwatch::start());
    }

    /// Notes how an exchange ended.
    pub(super) async fn ended(&self, outcome: Result<&HttpReply, &HttpError>) {
        let is_trouble = match outcome {
            Ok(reply) => reply.status >= 500 || reply.status == 429 || reply.header("retry-after").is_some(),
            Err(error) => error.is_transient(),
        };
        if is_trouble {
            self.state.lock().await.troubled = Some(Stopwatch::start());
        }
    }
}
