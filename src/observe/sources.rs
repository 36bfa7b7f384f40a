//! Where the samples of each signal come from. In go the sources that the settings name, out comes the one for a
//! signal. It asks nothing itself.

use std::sync::Arc;

use jiff::Timestamp;

use super::metrics::{InstantResult, MetricSource, SourceError};
use crate::model::signal::SourceKind;
use crate::outside::clock::OutsideClock;

/// One source of each kind, as far as the settings name it.
#[derive(Debug, Clone)]
pub struct Sources {
    pub prometheus: Option<Arc<dyn MetricSource>>,
    pub push: Option<Arc<dyn MetricSource>>,
    pub loki: Option<Arc<dyn MetricSource>>,
    pub jaeger: Option<Arc<dyn MetricSource>>,
}

impl Sources {
    /// Prometheus, or what stands in for it, and nothing else.
    #[must_use]
    pub fn only(prometheus: Arc<dyn MetricSource>) -> Self {
        Self { prometheus: Some(prometheus), push: None, loki: None, jaeger: None }
    }

    /// The source of this kind.
    ///
    /// # Errors
    /// [`SourceError::NotConfigured`]
    pub fn of(&self, kind: SourceKind) -> Result<&Arc<dyn MetricSource>, SourceError> {
        let source = match kind {
            SourceKind::Prometheus => &self.prometheus,
            SourceKind::Push => &self.push,
            SourceKind::Loki => &self.loki,
            SourceKind::Jaeger => &self.jaeger,
        };
        source.as_ref().ok_or(SourceError::NotConfigured(kind))
    }

    /// What a query that is no signal's gives `at` a time: Prometheus alone is asked such.
    ///
    /// # Errors
    /// [`SourceError`]: whoever asks learns that nobody answers, and nothing that could be taken for calm.
    pub async fn instant(&self, query: &str, at: Timestamp) -> Result<InstantResult, SourceError> {
        self.of(SourceKind::Prometheus)?.instant(query, at).await
    }

    /// The clock that this machine's is compared with; `None` without a Prometheus, or before its first answer.
    #[must_use]
    pub fn outside_clock(&self) -> Option<OutsideClock> {
        self.prometheus.as_ref()?.outside_clock()
    }
}
