//! The question every source of metrics answers: a range of one series, or one instant. In go a query and
//! times, out come samples as the source reported them. Behind it stands Prometheus, or the demo's
//! simulated workload.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use thiserror::Error;

use crate::model::signal::Sample;
use crate::outside::clock::OutsideClock;

/// What an instant query gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstantResult {
    /// Did the query return anything at all? A PromQL condition holds while it does.
    pub non_empty: bool,
    /// The finite value, when the answer is exactly one series or a scalar.
    pub value: Option<f64>,
}

/// A range of samples, with what the source said beside them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RangeResult {
    /// Oldest first; values may be NaN or infinite.
    pub samples: Vec<Sample>,
    /// The source's own warnings, for example a partial answer. Untrusted text.
    pub warnings: Vec<String>,
}

/// A question that got no usable answer.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("cannot reach the metric source{}", tries_note(*.tries))]
    Unreachable {
        tries: u32,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source answered and said no. `kind` and `message` are its own words, cut and escaped.
    #[error("the metric source refused the query (HTTP {status}, {kind}): {message}")]
    Refused { status: u16, kind: String, message: String },
    #[error("the metric source answered something else than the Prometheus HTTP API does: {0}")]
    NotTheApi(String),
    #[error(
        "the query gives {count} series and a signal must be one (aggregate it, for example with sum() or \
         max()): {labels}"
    )]
    SeveralSeries { count: usize, labels: String },
    #[error("the query gives a {0}, which has no single value per time")]
    WrongType(&'static str),
    #[error("the other signals of this round left no time to ask")]
    OutOfTime,
    #[error("the range is not usable: {0}")]
    BadRange(&'static str),
}

fn tries_note(tries: u32) -> String {
    if tries > 1 { format!(" after {tries} tries") } else { String::new() }
}

/// A source of metrics. Object-safe, so that the demo's workload can stand in for Prometheus.
pub trait MetricSource: std::fmt::Debug + Send + Sync {
    /// Samples of the one series that `query` gives, at `start`, `start + step_s`, ... up to `end`.
    /// No data is an empty answer and not an error.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is known about the series then.
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>>;

    /// The result of `query` at one time.
    ///
    /// # Errors
    /// [`SourceError`]; in particular, an unreachable source is not an empty result.
    fn instant<'a>(
        &'a self,
        query: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<InstantResult, SourceError>>;

    /// The newest time the source's own clock showed; `None` before the first answer.
    fn outside_clock(&self) -> Option<OutsideClock>;
}
