//! Who is sent the scores after a look: a Pushgateway, a receiver of remote write. Settings and metrics come in, bounded
//! requests go out. One that is away costs a delay.

use std::net::SocketAddr;
use std::time::Duration;

use super::failure::{Failure, Kind};
use super::settings;
use crate::config::Watching;
use crate::model::ids::InstanceId;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::system;
use crate::report::pushgateway::Pushgateway;
use crate::report::remote_write::RemoteWrite;
use crate::telemetry::names::Metrics;

/// Deadline of one request to a Pushgateway.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// What is not sent after this long waits for the next look: a slow receiver must not make what a detector knows old.
const ROUND_DEADLINE: Duration = Duration::from_secs(10);
/// The same when the process ends, which has other things to end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Characters of the machine's name that are used.
const HOST_CHARS_MAX: usize = 48;

/// Whom the settings name.
#[derive(Debug, Default)]
pub struct Outlets {
    push: Option<Pushgateway>,
    write: Option<RemoteWrite>,
}

impl Outlets {
    /// # Errors
    /// When a token cannot be read or TLS cannot be set up.
    pub fn of(watching: &Watching) -> Result<Self, Failure> {
        let instance = instance(watching)?;
        let push = match watching.pushgateway_url.as_deref() {
            Some(url) => {
                let http = settings::http(PUSH_TIMEOUT)?;
                Some(Pushgateway::new(http, url, &instance, None))
            }
            None => None,
        };
        let write = match &watching.remote_write {
            Some(at) => {
                let (http, token) = settings::reach(at)?;
                Some(RemoteWrite::new(http, (&at.url, at.tenant.clone()), &instance, token))
            }
            None => None,
        };
        Ok(Self { push, write })
    }

    /// Sends the scores as they are now.
    pub async fn send(&self, metrics: &Metrics) {
        let push = async {
            if let Some(push) = &self.push {
                push.push(metrics).await;
            }
        };
        let write = async {
            if let Some(write) = &self.write {
                write.push(metrics, SystemClock.now(), ROUND_DEADLINE).await;
            }
        };
        tokio::join!(push, write);
    }

    /// Takes back what was sent: nobody scores here any more, and the last score would look current.
    pub async fn end(&self, metrics: &Metrics) {
        let push = async {
            if let Some(push) = &self.push {
                push.end().await;
            }
        };
        let write = async {
            if let Some(write) = &self.write {
                write.end(metrics, SystemClock.now(), END_DEADLINE).await;
            }
        };
        tokio::join!(push, write);
    }
}

/// By which name those who are sent scores know this process.
///
/// # Errors
/// Never with a name that the settings or the machine gave.
pub fn instance(watching: &Watching) -> Result<InstanceId, Failure> {
    if let Some(instance) = &watching.instance {
        return Ok(instance.clone());
    }
    InstanceId::new(place(&system::instance_name(), watching.listen))
        .map_err(|error| Failure::new(Kind::No, "could not use the name of this machine").because(error))
}

/// The same after a restart, or what the process before sent would stay beside it; and another one for every process of a
/// machine, of which only one has this port.
fn place(host: &str, listen: SocketAddr) -> String {
    let host: String = host.chars().take(HOST_CHARS_MAX).collect();
    format!("{host}-{}", listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_outlives_a_restart_and_tells_the_processes_of_a_machine_apart() {
        let name = |host: &str, listen: &str| place(host, listen.parse().unwrap());
        assert_eq!(name("tars-detector-2", "0.0.0.0:8080"), "tars-detector-2-8080");
        assert_ne!(name("laptop", "127.0.0.1:8080"), name("laptop", "127.0.0.1:8081"));
        assert!(InstanceId::new(name(&"a".repeat(63), "[::1]:65535")).is_ok());
    }
}
