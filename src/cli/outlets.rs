//! Who is sent the scores after a look: a Pushgateway, a receiver of remote write. Settings and metrics come in, bounded
//! requests go out. One that is away costs a delay.

use std::time::Duration;

use super::failure::Failure;
use super::settings;
use crate::config::Watching;
use crate::model::ids::InstanceId;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::report::pushgateway::Pushgateway;
use crate::report::remote_write::RemoteWrite;
use crate::telemetry::names::Metrics;

/// Deadline of one request to a Pushgateway.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom the settings name.
#[derive(Debug, Default)]
pub struct Outlets {
    push: Option<Pushgateway>,
    write: Option<RemoteWrite>,
}

impl Outlets {
    /// # Errors
    /// When a token cannot be read or TLS cannot be set up.
    pub fn of(watching: &Watching, instance: &InstanceId) -> Result<Self, Failure> {
        let push = match watching.pushgateway_url.as_deref() {
            Some(url) => {
                let http = settings::http(PUSH_TIMEOUT)?;
                Some(Pushgateway::new(http, url, instance, None))
            }
            None => None,
        };
        let write = match &watching.remote_write {
            Some(at) => {
                let (http, token) = settings::reach(at)?;
                Some(RemoteWrite::new(http, (&at.url, at.tenant.clone()), instance, token))
            }
            None => None,
        };
        Ok(Self { push, write })
    }

    /// Sends the scores as they are now.
    pub async fn send(&self, metrics: &Metrics) {
        if let Some(push) = &self.push {
            push.push(metrics).await;
        }
        if let Some(write) = &self.write {
            write.push(metrics, SystemClock.now()).await;
        }
    }
}
