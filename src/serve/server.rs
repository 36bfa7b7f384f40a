//! The server as its caller sees it. In go the settings, the metrics and a [`Backend`]; out comes a bound
//! server that runs until it is told to stop. It refuses to start with an open webhook.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::door::Door;
use super::listener::BoundedListener;
use super::routes;
use crate::model::anomaly::Anomaly;
use crate::model::delivery::{Delivery, Heard};
use crate::model::pushed::{Tally, WriteRefusal, WriteVersion};
use crate::model::shard::ShardReport;
use crate::model::signal::Series;
use crate::telemetry::events::Event;
use crate::telemetry::names::Metrics;

/// How long open requests may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Where to listen, and which routes there are for whom; one without a door does not exist.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Loopback unless the operator says otherwise.
    pub listen: SocketAddr,
    /// Who may send alerts.
    pub webhook: Option<Door>,
    /// There is a secret to check the forge's deliveries with.
    pub forge_hooks: bool,
    /// Who may push samples.
    pub push: Option<Door>,
    /// Who may ask for anomalies.
    pub anomalies: Option<Door>,
}

/// What became of the alerts of one message; all of it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    pub firing: u64,
    pub resolved: u64,
    pub repeated: u64,
    /// Left out because they were malformed or out of time.
    pub refused: u64,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not JSON (400).
    NotJson(String),
    /// A field is wrong (422).
    Field { field: String, rule: String },
    /// Nothing was acknowledged; the sender should repeat the message (503).
    TryLater(String),
}

/// One condition of being ready.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// The answer of `/readyz`; ready when every check is.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Readiness {
    pub checks: Vec<Check>,
    /// Age of the newest sample of any signal, seconds; `None` without any.
    pub newest_evidence_age_s: Option<u64>,
}

impl Readiness {
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// What stands behind the routes. `score`, `accept`, `write` and `hear` may block; they are called where that is allowed.
pub trait Backend: Send + Sync + 'static {
    /// Scores a posted series, which holds at least one value.
    ///
    /// # Errors
    /// A sentence that says why the series cannot be scored.
    fn score(&self, series: Series, period: Option<u32>) -> Result<Anomaly, String>;

    /// Takes a webhook message in. On success its alerts are durable.
    ///
    /// # Errors
    /// [`Refusal`]; nothing may be taken as delivered then.
    fn accept(&self, body: &[u8]) -> Result<Taken, Refusal>;

    /// Takes in what is wanted of a message with samples.
    ///
    /// # Errors
    /// [`WriteRefusal`]; nothing was taken then.
    fn write(&self, version: WriteVersion, body: &[u8]) -> Result<Tally, WriteRefusal>;

    /// Judges a delivery of the forge by its raw body.
    fn hear(&self, delivery: &Delivery, body: &[u8]) -> Heard;

    /// Does the loop behind it still turn? Answered at once.
    ///
    /// # Errors
    /// A sentence that says what hangs; whoever supervises the process should start it anew.
    fn alive(&self) -> Result<(), String>;

    /// What this process, as a detector, saw at its newest look; answered at once. `None`: nothing yet.
    fn anomalies(&self) -> Option<Arc<ShardReport>>;

    /// What is ready and what is not; answered at once.
    fn ready(&self) -> Readiness;
}

/// The server cannot start or run.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error(
        "who sends alerts or samples or reads anomalies shows a secret, except on a loopback address, and {0} is not one"
    )]
    OpenToAll(SocketAddr),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: std::io::Error,
    },
    #[error("the server stopped")]
    Stopped(#[source] std::io::Error),
}

/// A bound server.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: axum::Router,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Checks the settings and binds the address; nothing is answered yet.
    ///
    /// # Errors
    /// [`ServeError`] when a door would be open to all or the address cannot be bound.
    pub async fn bind(
        settings: Settings,
        backend: Arc<dyn Backend>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServeError> {
        Self::bind_with(settings, backend, metrics, routes::READ_DEADLINE).await
    }

    /// As [`Server::bind`], with another deadline for bodies.
    pub(super) async fn bind_with(
        settings: Settings,
        backend: Arc<dyn Backend>,
        metrics: Arc<Metrics>,
        read_deadline: Duration,
    ) -> Result<Self, ServeError> {
        let doors = [&settings.webhook, &settings.push, &settings.anomalies];
        let is_open = doors.into_iter().any(|it| matches!(it, Some(Door::Open)));
        if is_open && !settings.listen.ip().is_loopback() {
            return Err(ServeError::OpenToAll(settings.listen));
        }
        let failed = |cause| ServeError::Listen { address: settings.listen, cause };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = routes::router(settings, backend, metrics, read_deadline);
        Ok(Self { listener, address, router })
    }

    #[cfg(test)]
    /// The bound address, with the port the system chose if it was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` completes, then lets open requests finish for a few seconds.
    ///
    /// # Errors
    /// [`ServeError::Stopped`] when the socket fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        Event::Listening { address: self.address }.emit();
        let (stop, stopped) = oneshot::channel::<()>();
        let told = async move {
            // A dropped sender means stop as well.
            let _ = stopped.await;
        };
        let serving =
            axum::serve(BoundedListener::new(self.listener), self.router).with_graceful_shutdown(told);
        let mut serving = std::pin::pin!(serving.into_future());
        tokio::select! {
            result = &mut serving => result.map_err(ServeError::Stopped),
            () = shutdown => {
                drop(stop);
                timeout(GRACE, serving).await.unwrap_or(Ok(())).map_err(ServeError::Stopped)
            }
        }
    }
}
