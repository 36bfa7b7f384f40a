//! The HTTP side of `tars run` while its loop turns. Settings and what stands behind the routes come in; it answers until it
//! is ended. It decides nothing.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::failure::{Failure, Kind};
use crate::serve::server::{Backend, ServeError, Server, Settings};
use crate::telemetry::events::Event;
use crate::telemetry::names::Metrics;

#[derive(Debug)]
pub struct Serving {
    stop: Arc<Notify>,
    answering: JoinHandle<Result<(), ServeError>>,
}

impl Serving {
    /// # Errors
    /// When the address is taken, or it would be open to all.
    pub async fn start(
        settings: Settings,
        backend: Arc<dyn Backend>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Failure> {
        let server = Server::bind(settings, backend, Arc::clone(metrics)).await.map_err(|error| {
            Failure::usage("could not start the HTTP side")
                .because(error)
                .hint("choose an address of this machine that is free: `listen` in the settings, or --listen")
        })?;
        let stop = Arc::new(Notify::new());
        let told = Arc::clone(&stop);
        let answering = tokio::spawn(server.run(async move { told.notified().await }));
        Ok(Self { stop, answering })
    }

    /// # Errors
    /// When its socket failed.
    pub async fn end(self) -> Result<(), Failure> {
        self.stop.notify_one();
        Event::Stopped.emit();
        match self.answering.await {
            Ok(Err(error)) => Err(Failure::new(Kind::No, "the HTTP side failed").because(error)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}
