//! Latency of spans, and who calls whom, from the HTTP API of Jaeger's query service. In go a selector over spans and
//! times, out come quantiles of their durations, slot by slot. It reads whole traces, because the API has nothing
//! smaller: how many is bounded, and an answer that was cut says so.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;

use super::metrics::{
    FoundSeries, InstantResult, Labels, MetricSource, RangeResult, SourceError, shown_text,
};
use crate::model::selector::{NAME_LABEL, Selector};
use crate::model::signal::Sample;
use crate::outside::clock::OutsideClock;
use crate::outside::http::{Http, HttpReply};
use crate::outside::secret::Secret;

/// What a selector over spans is called.
pub const METRIC: &str = "span_latency_ms";
/// The labels a span has here; `quantile` says which figure is wanted.
const LABELS: [&str; 5] = [NAME_LABEL, "service", "operation", "kind", "quantile"];
/// Most traces of one answer.
const TRACES_MAX: usize = 2_000;
/// What is asked for at once, seconds: the past of a service with much traffic is too much to be read span by span.
const RANGE_MAX_S: i64 = 3_600;
/// Most pairs of services in one graph.
pub const EDGES_MAX: usize = 10_000;

/// Jaeger's query service.
pub struct Jaeger {
    http: Http,
    base_url: String,
    bearer: Option<Secret>,
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

/// A selector that Jaeger can be asked for.
#[derive(Debug, Clone)]
pub struct SpanQuery {
    selector: Selector,
    service: String,
    operation: Option<String>,
    quantile: f64,
}

impl SpanQuery {
    /// Reads `span_latency_ms{service="...", quantile="0.95", operation="..."}`; `operation` and `kind` may be left out
    /// or be expressions, and each operation that matches is a series.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
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
        Ok(Self { selector, service, operation, quantile })
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
}

impl Jaeger {
    /// A client for the query service below `base_url`.
    #[must_use]
    pub fn new(http: Http, base_url: &str, bearer: Option<Secret>) -> Self {
        Self { http, base_url: base_url.trim_end_matches('/').to_owned(), bearer }
    }

    async fn ask(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<HttpReply, SourceError> {
        let url = format!("{}/api/{endpoint}", self.base_url);
        let reply = self.http.get(&url, query, self.bearer.as_ref()).await;
        let reply = reply.map_err(|cause| SourceError::Unreachable { tries: 1, cause: Box::new(cause) })?;
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        let message = shown_text(&String::from_utf8_lossy(&reply.body));
        Err(SourceError::Refused { status: reply.status, kind: "Jaeger".into(), message })
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
        let query = SpanQuery::parse(query).map_err(|message| {
            let kind = "no selector of spans".into();
            SourceError::Refused { status: 400, kind, message }
        })?;
        if step_s == 0 || end < start {
            return Err(SourceError::BadRange("the step is 0 or the end lies before the start"));
        }
        let step_us = i64::from(step_s) * 1_000_000;
        let end_us = end.as_microsecond();
        let slots = (end_us - start.as_microsecond()) / step_us;
        let slots = slots.min((RANGE_MAX_S / i64::from(step_s)).max(1));
        let first_us = end_us - slots * step_us;
        let (from, to) = ((first_us - step_us + 1).to_string(), end_us.to_string());
        let limit = TRACES_MAX.to_string();
        let mut asked = vec![("service", query.service.as_str()), ("start", &from), ("end", &to)];
        asked.extend([("limit", limit.as_str()), ("lookback", "custom")]);
        asked.extend(query.operation.as_deref().map(|it| ("operation", it)));
        let reply = self.ask("traces", &asked).await?;
        let traces: Vec<Trace> = decode(&reply.body)?;
        let mut warnings = Vec::new();
        if traces.len() >= TRACES_MAX {
            warnings.push(format!("only {TRACES_MAX} traces were read; the quantiles are those of a part"));
        }
        Ok(RangeResult { series: series(&query, &traces, (first_us, end_us, step_us)), warnings })
    }
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

/// Durations of the spans that are meant, by operation and kind and then by slot.
type Durations<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<i64, Vec<u64>>>;

/// A slot has the spans that began in the step that ends with it.
fn series(
    query: &SpanQuery,
    traces: &[Trace],
    (first_us, end_us, step_us): (i64, i64, i64),
) -> Vec<FoundSeries> {
    let mut found: Durations<'_> = BTreeMap::new();
    for trace in traces {
        for span in &trace.spans {
            let service = trace.processes.get(&span.process_id).map(|it| it.service_name.as_str());
            let mut tags = span.tags.iter().flatten();
            let kind = tags.find(|it| it.key == "span.kind").and_then(|it| it.value.as_str());
            let kind = kind.unwrap_or_default();
            if service != Some(query.service.as_str()) || !query.means(&span.operation_name, kind) {
                continue;
            }
            let slot_us = end_us - (end_us - span.start_time).div_euclid(step_us) * step_us;
            if (first_us..=end_us).contains(&slot_us) {
                let slots = found.entry((&span.operation_name, kind)).or_default();
                slots.entry(slot_us).or_default().push(span.duration);
            }
        }
    }
    let labels = |operation: &str, kind: &str| {
        let pairs =
            [(NAME_LABEL, METRIC), ("service", &query.service), ("operation", operation), ("kind", kind)];
        Labels::of(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    };
    let sample = |(slot_us, mut durations): (i64, Vec<u64>)| {
        let at = Timestamp::from_microsecond(slot_us).ok()?;
        Some(Sample { at, value: quantile(&mut durations, query.quantile)? })
    };
    let one = |((operation, kind), slots): ((&str, &str), BTreeMap<i64, Vec<u64>>)| FoundSeries {
        labels: labels(operation, kind),
        samples: slots.into_iter().filter_map(sample).collect(),
    };
    found.into_iter().map(one).collect()
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
mod tests {
    use super::*;
    use crate::model::fixtures::at;
    use crate::observe::loopback::{Act, http, server};

    fn span(operation: &str, process: &str, start_s: i64, duration_ms: u64, kind: &str) -> String {
        format!(
            r#"{{"traceID":"t","spanID":"s","operationName":"{operation}","startTime":{},"duration":{},
            "processID":"{process}","tags":[{{"key":"span.kind","type":"string","value":"{kind}"}},
            {{"key":"n","type":"int64","value":7}}],"logs":[]}}"#,
            at(start_s).as_microsecond(),
            duration_ms * 1_000
        )
    }

    fn answer(spans: &[String]) -> String {
        let processes = r#""processes":{"p1":{"serviceName":"web","tags":[]},"p2":{"serviceName":"db"}}"#;
        format!(
            r#"{{"data":[{{"traceID":"t","spans":[{}],{processes}}}],"total":0,"errors":null}}"#,
            spans.join(",")
        )
    }

    async fn ask(query: &str, body: String) -> (Result<RangeResult, SourceError>, String) {
        let (address, serving) = server(vec![Act::Answer(200, body)]).await;
        let source = Jaeger::new(http(), &format!("{address}/"), None);
        let answer = source.range(query, at(0), at(120), 60).await;
        (answer, serving.await.unwrap()[0].line.clone())
    }

    #[tokio::test]
    async fn each_operation_has_its_quantile_per_slot_and_a_slot_without_spans_is_a_gap() {
        let spans = [
            span("GET /", "p1", 1, 10, "server"),
            span("GET /", "p1", 30, 20, "server"),
            span("GET /", "p1", 60, 30, "server"),
            span("GET /", "p1", 125, 99, "server"),
            span("SELECT", "p2", 10, 5, "client"),
            span("POST /", "p1", 110, 7, "server"),
            span("GET /", "p1", 40, 1_000, "client"),
        ];
        let query = "span_latency_ms{service=\"web\", kind=\"server\", quantile=\"0.5\"}";
        let (found, line) = ask(query, answer(&spans)).await;
        let shown: Vec<_> = found
            .unwrap()
            .series
            .iter()
            .map(|it| {
                let values: Vec<_> =
                    it.samples.iter().map(|s| (s.at.as_second() - at(0).as_second(), s.value)).collect();
                (it.labels.get("operation").to_owned(), values)
            })
            .collect();
        assert_eq!(shown, [("GET /".to_owned(), vec![(60, 20.0)]), ("POST /".to_owned(), vec![(120, 7.0)])]);
        let (from, to) = (at(-60).as_microsecond() + 1, at(120).as_microsecond());
        let wanted =
            format!("/api/traces?service=web&start={from}&end={to}&limit={TRACES_MAX}&lookback=custom");
        assert!(line.contains(&wanted), "{line}");
    }

    #[tokio::test]
    async fn one_operation_is_asked_for_by_its_name() {
        let query = "span_latency_ms{service=\"web\", operation=\"GET /\", quantile=\"1\"}";
        let (found, line) = ask(query, answer(&[span("GET /", "p1", 10, 4, "")])).await;
        assert_eq!(found.unwrap().only().unwrap().len(), 1);
        assert!(line.contains("operation=GET+%2F"), "{line}");
    }

    #[tokio::test]
    async fn calls_are_read_and_sorted() {
        let body = r#"{"data":[{"parent":"web","child":"db","callCount":3},{"parent":"a","child":"web","callCount":1}]}"#;
        let (address, serving) = server(vec![Act::Answer(200, body.into())]).await;
        let edges = Jaeger::new(http(), &address, None).calls(at(0), 60).await.unwrap();
        let names: Vec<_> =
            edges.iter().map(|it| (it.parent.as_str(), it.child.as_str(), it.call_count)).collect();
        assert_eq!(names, [("a", "web", 1), ("web", "db", 3)]);
        let line = serving.await.unwrap()[0].line.clone();
        assert!(
            line.contains(&format!("/api/dependencies?endTs={}&lookback=60000", at(0).as_millisecond())),
            "{line}"
        );
    }

    #[test]
    fn a_selector_says_which_service_and_which_quantile() {
        for (text, word) in [
            ("up{service=\"a\", quantile=\"0.5\"}", "only metric"),
            ("span_latency_ms{quantile=\"0.5\"}", "name the service"),
            ("span_latency_ms{service=~\"a\", quantile=\"0.5\"}", "name the service"),
            ("span_latency_ms{service=\"a\"}", "quantile"),
            ("span_latency_ms{service=\"a\", quantile=\"95\"}", "quantile"),
            ("span_latency_ms{service=\"a\", quantile=\"0.5\", pod=\"x\"}", "no label pod"),
            ("span_latency_ms{", "character"),
        ] {
            let error = SpanQuery::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&mut [4_000, 1_000, 2_000, 3_000], 0.5), Some(2.5));
        assert_eq!(quantile(&mut [4_000, 1_000], 1.0), Some(4.0));
        assert_eq!(quantile(&mut [7_000], 0.95), Some(7.0));
        assert_eq!(quantile(&mut [], 0.95), None);
    }
}
