//! The question every source of metrics answers: a range of all series of a query, or one instant. In go a query
//! and times, out come samples as the source reported them. Behind it stands Prometheus, Loki, Jaeger, what was
//! pushed, or the demo's simulated workload.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use thiserror::Error;

use crate::model::signal::{Sample, SourceKind};
use crate::outside::clock::OutsideClock;

/// What an instant query gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstantResult {
    /// Did the query return anything at all? A PromQL condition holds while it does.
    pub non_empty: bool,
    /// The finite value, when the answer is exactly one series or a scalar.
    pub value: Option<f64>,
}

/// Labels of one series, by name. Text that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    #[must_use]
    pub fn of(mut pairs: Vec<(String, String)>) -> Self {
        pairs.sort_unstable();
        Self(pairs)
    }

    /// The label's value; "" when it is absent, which PromQL does not tell apart.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|it| it.0 == name).map_or("", |it| it.1.as_str())
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", pairs.join(", "))
    }
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSeries {
    pub labels: Labels,
    /// Oldest first; values may be NaN or infinite.
    pub samples: Vec<Sample>,
}

/// Series in a range of time, with what the source said beside them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RangeResult {
    /// No two with the same labels.
    pub series: Vec<FoundSeries>,
    /// The source's own warnings, for example a partial answer. Untrusted text.
    pub warnings: Vec<String>,
}

/// Series whose labels are shown when there are too many.
const SHOWN_SERIES: usize = 3;

impl RangeResult {
    /// The answer of a query that gives one series without labels.
    #[must_use]
    pub fn one(samples: Vec<Sample>) -> Self {
        Self { series: vec![FoundSeries { labels: Labels::default(), samples }], warnings: Vec::new() }
    }

    /// The samples of the one series that there is, or of none.
    ///
    /// # Errors
    /// When there are several.
    pub fn only(mut self) -> Result<Vec<Sample>, SourceError> {
        if self.series.len() > 1 {
            let shown = self.series.iter().take(SHOWN_SERIES).map(|it| it.labels.to_string());
            let mut labels = shown.collect::<Vec<_>>().join(" ");
            if self.series.len() > SHOWN_SERIES {
                labels.push_str(" ...");
            }
            return Err(SourceError::SeveralSeries { count: self.series.len(), labels: shown_text(&labels) });
        }
        Ok(self.series.pop().map(|it| it.samples).unwrap_or_default())
    }
}

/// Longest piece of a source's own words that is shown, characters.
const SHOWN_CHARS: usize = 300;

/// A source's own words, on one line and cut.
pub(super) fn shown_text(text: &str) -> String {
    let mut shown: String = text.trim().chars().take(SHOWN_CHARS).collect::<String>();
    if shown.contains(char::is_control) {
        shown = shown.escape_debug().to_string();
    }
    shown
}

/// A question that got no usable answer.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("cannot reach the source{}", tries_note(*.tries))]
    Unreachable {
        tries: u32,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source answered and said no. `kind` and `message` are its own words, cut and escaped.
    #[error("the source refused the query (HTTP {status}{}): {message}", kind_note(kind.as_deref()))]
    Refused { status: u16, kind: Option<String>, message: String },
    /// Nobody was asked.
    #[error("the query is none that this source has: {0}")]
    BadQuery(String),
    #[error("the source answered something else than the API that it should have: {0}")]
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
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the range is not usable: {0}")]
    BadRange(&'static str),
    #[error("{0} of the series have no label {1:?} that can name a service, or share its value with another")]
    NoService(usize, String),
    #[error("the settings name no {} to ask", .0.as_str())]
    NotConfigured(SourceKind),
}

fn kind_note(kind: Option<&str>) -> String {
    kind.map_or_else(String::new, |kind| format!(", {kind}"))
}

fn tries_note(tries: u32) -> String {
    if tries > 1 { format!(" after {tries} tries") } else { String::new() }
}

/// A source of metrics. Object-safe, so that the demo's workload can stand in for Prometheus.
pub trait MetricSource: fmt::Debug + Send + Sync {
    /// Samples of all series that `query` gives, at `start`, `start + step_s`, ... up to `end`.
    /// No data is an empty answer and not an error.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is known about any series then.
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
