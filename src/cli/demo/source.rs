//! The demo's stand-in for Prometheus: answers the queries of the example's settings from the workload model,
//! at whatever time is asked. It never answers for the future: what the virtual clock has not reached is absent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::workload::Workload;
use crate::model::signal::Sample;
use crate::observe::metrics::{InstantResult, MetricSource, RangeResult, SourceError};
use crate::outside::clock::{Clock, OutsideClock, VirtualClock};

/// What a query means to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    LatencyP95Ms,
    ErrorRatio,
    FrontendLatencyP95Ms,
}

/// The workload behind the metric API. Shared: the demo changes what runs, the reconciler asks.
#[derive(Debug, Clone)]
pub struct Simulated {
    clock: VirtualClock,
    workload: Arc<Mutex<Workload>>,
    queries: BTreeMap<String, Measure>,
    /// Commits the simulated cluster has applied.
    applied: Arc<Mutex<Vec<String>>>,
}

/// Query of the sync probe; `$commit` is replaced by the probe.
pub const APPLIED_QUERY: &str = "demo_applied_commit{commit=\"$commit\"}";

impl Simulated {
    #[must_use]
    pub fn new(clock: VirtualClock, workload: Workload, queries: BTreeMap<String, Measure>) -> Self {
        Self { clock, workload: Arc::new(Mutex::new(workload)), queries, applied: Arc::default() }
    }

    /// Changes or reads the workload.
    pub fn with<R>(&self, act: impl FnOnce(&mut Workload) -> R) -> R {
        act(&mut self.workload.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the cluster runs `commit` now.
    pub fn apply(&self, commit: String) {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).push(commit);
    }

    /// The measured value, as the API would give it.
    #[must_use]
    pub fn value(&self, measure: Measure, at: Timestamp) -> f64 {
        self.with(|workload| match measure {
            Measure::LatencyP95Ms => workload.latency_p95_ms(at),
            Measure::ErrorRatio => workload.error_ratio(at),
            Measure::FrontendLatencyP95Ms => workload.frontend_latency_p95_ms(at),
        })
    }

    fn has_applied(&self, query: &str) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.iter().any(|commit| APPLIED_QUERY.replace("$commit", commit) == query)
    }
}

impl MetricSource for Simulated {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let mut samples = Vec::new();
        if let Some(&measure) = self.queries.get(query) {
            let mut at = start;
            while at <= end.min(self.clock.now()) {
                samples.push(Sample { at, value: self.value(measure, at) });
                let Ok(next) = at.checked_add(SignedDuration::from_secs(i64::from(step_s.max(1)))) else {
                    break;
                };
                at = next;
            }
        }
        std::future::ready(Ok(RangeResult::one(samples))).boxed()
    }

    fn instant<'a>(
        &'a self,
        query: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        let value = match self.queries.get(query) {
            Some(&measure) => Some(self.value(measure, at)),
            None if self.has_applied(query) => Some(1.0),
            None => None,
        };
        std::future::ready(Ok(InstantResult { non_empty: value.is_some(), value })).boxed()
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        let now = self.clock.now();
        Some(OutsideClock { says: now, seen_at: now })
    }
}
