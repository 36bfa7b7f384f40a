//! Where the samples of each signal come from. In go the sources that the settings name, out comes the one for a
//! signal. It asks nothing itself.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::metrics::{InstantResult, MetricSource, RangeResult, SourceError};
use crate::model::signal::SourceKind;
use crate::outside::clock::OutsideClock;

/// Stands where the settings name no Prometheus: who asks it learns just that, and nothing that could be taken for calm.
#[derive(Debug)]
pub struct NoPrometheus;

const NONE: SourceError = SourceError::NotConfigured("Prometheus");

impl MetricSource for NoPrometheus {
    fn range<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
        _: Timestamp,
        _: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        Box::pin(ready(Err(NONE)))
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        Box::pin(ready(Err(NONE)))
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

/// One source of each kind, as far as the settings name it.
#[derive(Debug, Clone)]
pub struct Sources {
    /// [`NoPrometheus`] where the settings name none.
    pub prometheus: Arc<dyn MetricSource>,
    pub push: Option<Arc<dyn MetricSource>>,
    pub loki: Option<Arc<dyn MetricSource>>,
    pub jaeger: Option<Arc<dyn MetricSource>>,
}

impl Sources {
    /// Prometheus, or what stands in for it, and nothing else.
    #[must_use]
    pub fn only(prometheus: Arc<dyn MetricSource>) -> Self {
        Self { prometheus, push: None, loki: None, jaeger: None }
    }

    /// The source of this kind.
    ///
    /// # Errors
    /// [`SourceError::NotConfigured`]
    pub fn of(&self, kind: SourceKind) -> Result<&Arc<dyn MetricSource>, SourceError> {
        let source = match kind {
            SourceKind::Prometheus => Some(&self.prometheus),
            SourceKind::Push => self.push.as_ref(),
            SourceKind::Loki => self.loki.as_ref(),
            SourceKind::Jaeger => self.jaeger.as_ref(),
        };
        source.ok_or(SourceError::NotConfigured(kind.as_str()))
    }
}
