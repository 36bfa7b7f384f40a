//! Latency of spans, and who calls whom, from the HTTP API of Jaeger's query service. In go a selector over spans and
//! times, out come quantiles of their durations, slot by slot. It reads whole traces, because the API has nothing
//! smaller: how many is bounded, and a slot of which not all was read has no value.
//!
//! All spans that are meant are one series; `by (operation)` after the selector makes one of each operation. A series is
//! called as its operation, with what a name cannot have written as a colon and two digits: `GET /pay` is `GET:20/pay`.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;

use super::metrics::{
    FoundSeries, InstantResult, Labels, MetricSource, RangeResult, SourceError, shown_text,
};
use crate::model::ids::digest_hex;
use crate::model::selector::{NAME_LABEL, Selector};
use crate::model::signal::{Sample, ServiceOf, SourceKind};
use crate::outside::clock::{OutsideClock, Stopwatch};
use crate::outside::http::{Http, HttpError, HttpReply};
use crate::outside::secret::Secret;

/// What a selector over spans is called.
pub const METRIC: &str = "span_latency_ms";
/// The labels a span has here; `quantile` says which figure is wanted.
const LABELS: [&str; 5] = [NAME_LABEL, "service", "operation", "kind", "quantile"];
/// What series may be made by.
const GROUPS: [&str; 3] = ["service", "operation", "kind"];
/// Most traces of one answer.
const TRACES_MAX: usize = 2_000;
/// Fewest traces that are asked for at once: of one alone, asked for up to its own last span, the next answer is the
/// same one.
const TRACES_MIN: usize = 2;
/// Most answers of one read.
const ANSWERS_MAX: usize = 8;
/// No further answer is asked for after so long: the other signals of a round wait too.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// What is asked for at once, seconds: the past of a service with much traffic is too much to be read span by span.
const RANGE_MAX_S: i64 = 3_600;
/// Most pairs of services in one graph.
pub const EDGES_MAX: usize = 10_000;
/// Longest name of a series, characters.
const NAME_CHARS_MAX: usize = 128;
/// Digits that end a name that was cut.
const DIGEST_CHARS: usize = 16;

/// Jaeger's query service.
pub struct Jaeger {
    http: Http,
    base_url: String,
    bearer: Option<Secret>,
    /// Traces to ask for at once. Of large ones as many as fit are learned by trying.
    traces_max: AtomicUsize,
}

impl fmt::Debug for Jaeger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jaeger").finish_non_exhaustive()
    }
}

/// One service calls another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    pub parent: String,
    pub child: String,
    pub call_count: u64,
}

/// The query of a signal: one whose label names the services has a series for each value of that label.
#[must_use]
pub fn query_of(query: &str, source: SourceKind, service: &ServiceOf) -> String {
    match (source, service) {
        (SourceKind::Jaeger, ServiceOf::Label(label)) if query.trim_end().ends_with('}') => {
            format!("{query} by ({label})")
        }
        _ => query.to_owned(),
    }
}

/// A selector that Jaeger can be asked for.
#[derive(Debug, Clone)]
pub struct SpanQuery {
    selector: Selector,
    service: String,
    operation: Option<String>,
    quantile: f64,
    by: Option<&'static str>,
}

impl SpanQuery {
    /// Reads `span_latency_ms{service="...", quantile="0.95", operation="..."} by (operation)`; `operation` and `kind` may
    /// be left out or be expressions, and without `by` all spans that match are one series.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let grouped = text.trim_end().strip_suffix(')').and_then(|it| it.rsplit_once("by ("));
        let (text, by) = grouped.map_or((text, None), |(text, label)| (text, Some(label.trim())));
        let known = |label: &str| GROUPS.into_iter().find(|it| *it == label);
        let by = by.map(|label| {
            let none = || format!("spans are told apart by service, operation or kind, not by {label:?}");
            known(label).ok_or_else(none)
        });
        let selector = Selector::parse(text).map_err(|error| error.to_string())?;
        if selector.metric() != Some(METRIC) {
            return Err(format!("the only metric of spans is {METRIC}"));
        }
        if let Some(unknown) = selector.labels().find(|it| !LABELS.contains(it)) {
            return Err(format!("a span has no label {unknown}; it has service, operation and kind"));
        }
        let service = selector.equal("service").ok_or("name the service: service=\"...\"")?.to_owned();
        let quantile = selector.equal("quantile").unwrap_or_default().parse().ok();
        let quantile = quantile.filter(|it| (0.0..=1.0).contains(it));
        let quantile = quantile.ok_or("name the quantile, from 0 to 1: quantile=\"0.95\"")?;
        let operation = selector.equal("operation").map(str::to_owned);
        Ok(Self { selector, service, operation, quantile, by: by.transpose()? })
    }

    fn means(&self, operation: &str, kind: &str) -> bool {
        self.selector.matches(|label| match label {
            NAME_LABEL => METRIC,
            "service" => &self.service,
            "operation" => operation,
            "kind" => kind,
            _ => self.selector.equal(label).unwrap_or_default(),
        })
    }

    /// Does Jaeger find traces by this span?
    fn is_asked_for(&self, trace: &Trace, span: &Span) -> bool {
        let process = trace.processes.get(&span.process_id);
        process.is_some_and(|it| it.service_name == self.service)
            && self.operation.as_ref().is_none_or(|it| *it == span.operation_name)
    }

    fn labels(&self, group: &str) -> Labels {
        let mut pairs = BTreeMap::from([(NAME_LABEL, METRIC.to_owned()), ("service", self.service.clone())]);
        pairs.extend(self.by.map(|label| (label, name_of(group))));
        Labels::of(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// A name for a series; no two texts have the same. What a name cannot have, and the colon itself, is a colon and two
/// digits there, as an address has it with a percent sign.
fn name_of(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._/-".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, ":{byte:02X}");
        }
    }
    if name.len() > NAME_CHARS_MAX {
        name.truncate(NAME_CHARS_MAX - DIGEST_CHARS - 1);
        name.push(':');
        name.extend(digest_hex(&[text]).chars().take(DIGEST_CHARS));
    }
    name
}

impl Jaeger {
    /// A client for the query service below `base_url`.
    #[must_use]
    pub fn new(http: Http, base_url: &str, bearer: Option<Secret>) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { http, base_url, bearer, traces_max: AtomicUsize::new(TRACES_MAX) }
    }

    async fn ask(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<HttpReply, SourceError> {
        let url = format!("{}/api/{endpoint}", self.base_url);
        let reply = self.http.get(&url, query, self.bearer.as_ref()).await;
        let reply = reply.map_err(|cause| SourceError::Unreachable { tries: 1, cause: Box::new(cause) })?;
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        let message = shown_text(&String::from_utf8_lossy(&reply.body));
        Err(SourceError::Refused { status: reply.status, kind: None, message })
    }

    /// Who called whom in the `lookback_s` seconds before `end`.
    ///
    /// # Errors
    /// [`SourceError`]
    pub async fn calls(&self, end: Timestamp, lookback_s: u32) -> Result<Vec<Edge>, SourceError> {
        let end_ms = end.as_millisecond().to_string();
        let lookback_ms = (u64::from(lookback_s) * 1_000).to_string();
        let reply = self.ask("dependencies", &[("endTs", &end_ms), ("lookback", &lookback_ms)]).await?;
        let mut edges: Vec<Edge> = decode::<Edge>(&reply.body)?;
        // Of too many those go that were called least.
        edges.sort_by(|one, other| other.call_count.cmp(&one.call_count).then_with(|| one.cmp(other)));
        edges.truncate(EDGES_MAX);
        edges.sort();
        Ok(edges)
    }

    async fn read(
        &self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> Result<RangeResult, SourceError> {
        let query = SpanQuery::parse(query).map_err(SourceError::BadQuery)?;
        if step_s == 0 || end < start {
            return Err(SourceError::BadRange("the step is 0 or the end lies before the start"));
        }
        let step_us = i64::from(step_s) * 1_000_000;
        let end_us = end.as_microsecond();
        let slots = (end_us - start.as_microsecond()) / step_us;
        let slots = slots.min((RANGE_MAX_S / i64::from(step_s)).max(1));
        let oldest_us = end_us - (slots + 1) * step_us;
        let mut read = Read { end_us, step_us, unread_us: end_us, found: BTreeMap::new() };
        let started = Stopwatch::start();
        let (mut answers, mut goes_on) = (0, true);
        while goes_on
            && read.unread_us > oldest_us
            && answers < ANSWERS_MAX
            && started.elapsed() < ANSWERS_WITHIN
        {
            goes_on = self.read_on(&query, oldest_us, &mut read).await?;
            answers += 1;
        }
        let mut warnings = Vec::new();
        if read.unread_us > oldest_us {
            let [known_s, all_s] = [read.unread_us, oldest_us].map(|it| (end_us - it) / 1_000_000);
            warnings.push(format!(
                "there are more traces than can be read, and only the newest {known_s} s of {all_s} s are known: name an \
                 operation, or sample fewer traces"
            ));
        }
        Ok(RangeResult { series: read.series(&query), warnings })
    }

    /// Asks for the newest traces of what was not read yet; false when asking again would say no more.
    async fn read_on(&self, query: &SpanQuery, oldest_us: i64, read: &mut Read) -> Result<bool, SourceError> {
        let limit = self.traces_max.load(Ordering::Relaxed);
        let (from, to) = ((oldest_us + 1).to_string(), read.unread_us.to_string());
        let most = limit.to_string();
        let mut asked = vec![("service", query.service.as_str()), ("start", &from), ("end", &to)];
        asked.extend([("limit", most.as_str()), ("lookback", "custom")]);
        asked.extend(query.operation.as_deref().map(|it| ("operation", it)));
        let reply = match self.ask("traces", &asked).await {
            Err(error) if is_too_large(&error) && limit > TRACES_MIN => {
                self.traces_max.store((limit / 2).max(TRACES_MIN), Ordering::Relaxed);
                return Ok(true);
            }
            reply => reply?,
        };
        let traces: Vec<Trace> = decode(&reply.body)?;
        if traces.len() < limit {
            read.take(query, &traces, oldest_us);
            return Ok(false);
        }
        // What did not fit once may fit later, and one trace that is very large is no reason to ask for few for ever.
        let more = (limit + limit / 16 + 1).min(TRACES_MAX);
        self.traces_max.store(more, Ordering::Relaxed);
        let last = |trace: &Trace| {
            let asked_for = trace.spans.iter().filter(|it| query.is_asked_for(trace, it));
            asked_for.map(|it| it.start_time).filter(|it| *it <= read.unread_us).max()
        };
        // Jaeger gives the newest traces: what it left out ended before the last spans of any of these began.
        let complete_us = traces.iter().filter_map(last).min().unwrap_or(read.unread_us);
        if complete_us >= read.unread_us {
            return Ok(false);
        }
        read.take(query, &traces, complete_us.max(oldest_us));
        Ok(true)
    }
}

fn is_too_large(error: &SourceError) -> bool {
    let SourceError::Unreachable { cause, .. } = error else { return false };
    matches!(cause.downcast_ref(), Some(HttpError::BodyTooLarge { .. }))
}

#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: Option<Vec<T>>,
}

#[derive(Debug, Deserialize)]
struct Trace {
    #[serde(default)]
    spans: Vec<Span>,
    #[serde(default)]
    processes: BTreeMap<String, Process>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    operation_name: String,
    /// Microseconds since the epoch.
    start_time: i64,
    /// Microseconds.
    duration: u64,
    #[serde(rename = "processID")]
    process_id: String,
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

#[derive(Debug, Deserialize)]
struct Tag {
    key: String,
    value: serde_json::Value,
}

fn decode<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<Vec<T>, SourceError> {
    let answer: Answer<T> = serde_json::from_slice(body)
        .map_err(|error| SourceError::NotTheApi(shown_text(&error.to_string())))?;
    Ok(answer.data.unwrap_or_default())
}

/// What was read so far, from the newest on. Times are microseconds since the epoch.
struct Read {
    end_us: i64,
    step_us: i64,
    /// Spans that began up to here were not read.
    unread_us: i64,
    /// Durations of the spans that are meant, by series and slot.
    found: BTreeMap<String, BTreeMap<i64, Vec<u64>>>,
}

impl Read {
    /// Takes the spans that began after `from_us`. Those of before come again with the next answer.
    fn take(&mut self, query: &SpanQuery, traces: &[Trace], from_us: i64) {
        for trace in traces {
            let is_new = |span: &&Span| span.start_time > from_us && span.start_time <= self.unread_us;
            for span in trace.spans.iter().filter(is_new).filter(|it| query.is_asked_for(trace, it)) {
                let mut tags = span.tags.iter().flatten();
                let kind = tags.find(|it| it.key == "span.kind").and_then(|it| it.value.as_str());
                let kind = kind.unwrap_or_default();
                if !query.means(&span.operation_name, kind) {
                    continue;
                }
                let group = match query.by {
                    None => "",
                    Some("operation") => &span.operation_name,
                    Some("kind") => kind,
                    Some(_) => &query.service,
                };
                let slot_us = self.slot_us(span.start_time);
                let slots = self.found.entry(group.to_owned()).or_default();
                slots.entry(slot_us).or_default().push(span.duration);
            }
        }
        self.unread_us = from_us;
    }

    /// A slot has the spans that began in the step that ends with it.
    fn slot_us(&self, start_us: i64) -> i64 {
        self.end_us - (self.end_us - start_us).div_euclid(self.step_us) * self.step_us
    }

    /// The quantiles of the slots that were read as a whole.
    fn series(self, query: &SpanQuery) -> Vec<FoundSeries> {
        let complete_us = self.unread_us + self.step_us;
        let sample = |(slot_us, mut durations): (i64, Vec<u64>)| {
            let at = Timestamp::from_microsecond(slot_us).ok()?;
            Some(Sample { at, value: quantile(&mut durations, query.quantile)? })
        };
        let one = |(group, mut slots): (String, BTreeMap<i64, Vec<u64>>)| FoundSeries {
            labels: query.labels(&group),
            samples: slots.split_off(&complete_us).into_iter().filter_map(sample).collect(),
        };
        self.found.into_iter().map(one).filter(|it| !it.samples.is_empty()).collect()
    }
}

/// In milliseconds, between the two nearest of them, as `quantile` of PromQL does.
fn quantile(durations_us: &mut [u64], share: f64) -> Option<f64> {
    durations_us.sort_unstable();
    let rank = share * durations_us.len().checked_sub(1)? as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    let (below, above) = (*durations_us.get(below)? as f64, *durations_us.get(above)? as f64);
    Some((below + (above - below) * rank.fract()) / 1_000.0)
}

impl MetricSource for Jaeger {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        Box::pin(self.read(query, start, end, step_s))
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        Box::pin(std::future::ready(Err(SourceError::WrongType("list of spans"))))
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

#[cfg(test)]
#[path = "jaeger_tests.rs"]
mod tests;
