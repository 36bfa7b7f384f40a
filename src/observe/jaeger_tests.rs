//! Spans as Jaeger tells them: which of them a query means, how many are read at once, and what a series is called.

use std::collections::BTreeSet;

use super::*;
use crate::model::fixtures::at;
use crate::model::ids::SignalName;
use crate::observe::loopback::{Act, http, server};
use crate::outside::http::HttpSettings;

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

/// The value of a label, and the samples by their second, of each series.
fn shown(found: &RangeResult, label: &str) -> Vec<(String, Vec<(i64, f64)>)> {
    let values = |it: &FoundSeries| {
        it.samples.iter().map(|s| (s.at.as_second() - at(0).as_second(), s.value)).collect()
    };
    found.series.iter().map(|it| (it.labels.get(label).to_owned(), values(it))).collect()
}

fn spans() -> Vec<String> {
    vec![
        span("GET /", "p1", 1, 10, "server"),
        span("GET /", "p1", 30, 20, "server"),
        span("GET /", "p1", 60, 30, "server"),
        span("GET /", "p1", 125, 99, "server"),
        span("SELECT", "p2", 10, 5, "client"),
        span("POST /", "p1", 110, 7, "server"),
        span("GET /", "p1", 40, 1_000, "client"),
    ]
}

#[tokio::test]
async fn each_operation_has_its_quantile_per_slot_and_a_slot_without_spans_is_a_gap() {
    let query = "span_latency_ms{service=\"web\", kind=\"server\", quantile=\"0.5\"} by (operation)";
    let (found, line) = ask(query, answer(&spans())).await;
    let found = found.unwrap();
    assert_eq!(
        shown(&found, "operation"),
        [("GET:20/".to_owned(), vec![(60, 20.0)]), ("POST:20/".to_owned(), vec![(120, 7.0)])]
    );
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let (from, to) = (at(-60).as_microsecond() + 1, at(120).as_microsecond());
    let wanted = format!("/api/traces?service=web&start={from}&end={to}&limit={TRACES_MAX}&lookback=custom");
    assert!(line.contains(&wanted), "{line}");
}

#[tokio::test]
async fn a_whole_service_is_one_series_whatever_its_operations_and_kinds() {
    let query = "span_latency_ms{service=\"web\", quantile=\"0.5\"}";
    let found = ask(query, answer(&spans())).await.0.unwrap();
    assert_eq!(shown(&found, "service"), [("web".to_owned(), vec![(60, 25.0), (120, 7.0)])]);
    assert_eq!(found.only().unwrap().len(), 2);
    let by_kind = format!("{query} by (kind)");
    let found = ask(&by_kind, answer(&spans())).await.0.unwrap();
    let kinds: Vec<String> = shown(&found, "kind").into_iter().map(|it| it.0).collect();
    assert_eq!(kinds, ["client", "server"]);
}

#[tokio::test]
async fn an_operation_with_spans_of_two_kinds_is_one_series() {
    let query = "span_latency_ms{service=\"web\", quantile=\"1\"} by (operation)";
    let found = ask(query, answer(&spans())).await.0.unwrap();
    let names: Vec<String> = shown(&found, "operation").into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["GET:20/", "POST:20/"]);
}

#[test]
fn a_signal_by_label_asks_for_a_series_of_each_value() {
    let query = "span_latency_ms{service=\"web\", quantile=\"1\"}";
    let label = ServiceOf::Label("operation".to_owned());
    let asked = query_of(query, SourceKind::Jaeger, &label);
    assert_eq!(SpanQuery::parse(&asked).unwrap().by, Some("operation"));
    assert_eq!(query_of(&asked, SourceKind::Jaeger, &label), asked);
    assert_eq!(query_of(query, SourceKind::Prometheus, &label), query);
    let named = ServiceOf::Named(SignalName::new("web").unwrap());
    assert_eq!(query_of(query, SourceKind::Jaeger, &named), query);
}

#[test]
fn every_text_has_a_name_of_its_own() {
    let long = |end: &str| "é".repeat(NAME_CHARS_MAX) + end;
    let (one, other) = (long("a"), long("b"));
    let texts =
        ["GET /pay", "GET_/pay", "GET:20/pay", "pkg.Shop/Pay", "/users/:id", "a\u{a0}b", &one, &other];
    let names = texts.map(name_of);
    for name in &names {
        assert!(SignalName::new(name).is_ok(), "{name}");
    }
    assert_eq!(names[..5], ["GET:20/pay", "GET_/pay", "GET:3A20/pay", "pkg.Shop/Pay", "/users/:3Aid"]);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), texts.len());
}

fn trace_of(span: &str) -> String {
    format!("{{\"spans\":[{span}],\"processes\":{{\"p1\":{{\"serviceName\":\"web\"}}}}}}")
}

/// Traces of one span of ten milliseconds each, which began at these seconds.
fn traces(seconds: impl IntoIterator<Item = i64>) -> String {
    let trace = |second: i64| trace_of(&span("GET /", "p1", second, 10, "server"));
    let all: Vec<String> = seconds.into_iter().map(trace).collect();
    format!("{{\"data\":[{}]}}", all.join(","))
}

const WEB: &str = "span_latency_ms{service=\"web\", quantile=\"0.5\"}";

#[tokio::test]
async fn what_did_not_fit_into_an_answer_is_asked_for_again() {
    let acts = [traces([90, 100, 110]), traces([65, 70, 80, 90]), traces([60, 65])];
    let (address, serving) = server(acts.map(|it| Act::Answer(200, it)).into()).await;
    let source = Jaeger::new(http(), &address, None);
    source.traces_max.store(3, Ordering::Relaxed);
    let found = source.range(WEB, at(60), at(120), 60).await.unwrap();
    assert_eq!(shown(&found, "service"), [("web".to_owned(), vec![(60, 10.0), (120, 10.0)])]);
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let lines: Vec<String> = serving.await.unwrap().into_iter().map(|it| it.line).collect();
    for (line, end_s) in lines.iter().zip([120, 90, 65]) {
        assert!(line.contains(&format!("end={}&", at(end_s).as_microsecond())), "{line}");
    }
}

#[tokio::test]
async fn a_span_that_two_answers_have_counts_once() {
    // The trace of second 90 comes with both; twice it would move the median.
    let late = span("GET /", "p1", 90, 1_000, "server");
    let one = traces([100, 110]).replace("{\"data\":[", &format!("{{\"data\":[{},", trace_of(&late)));
    let two = format!("{{\"data\":[{}]}}", trace_of(&late));
    let (address, _serving) = server(vec![Act::Answer(200, one), Act::Answer(200, two)]).await;
    let source = Jaeger::new(http(), &address, None);
    source.traces_max.store(3, Ordering::Relaxed);
    let found = source.range(WEB, at(120), at(120), 60).await.unwrap();
    assert_eq!(shown(&found, "service"), [("web".to_owned(), vec![(120, 10.0)])]);
}

#[tokio::test]
async fn a_slot_of_which_not_all_was_read_has_no_value_and_the_answer_says_so() {
    // Each answer is as full as it may be, and goes back by two seconds.
    let full = |n: usize| {
        let newest = 120 - 2 * n as i64;
        traces(std::iter::once(newest - 2).chain(std::iter::repeat_n(newest, n + 2)))
    };
    let acts = (0..ANSWERS_MAX).map(|n| Act::Answer(200, full(n)));
    let (address, serving) = server(acts.collect()).await;
    let source = Jaeger::new(http(), &address, None);
    source.traces_max.store(3, Ordering::Relaxed);
    let found = source.range(WEB, at(60), at(120), 10).await.unwrap();
    assert_eq!(serving.await.unwrap().len(), ANSWERS_MAX);
    assert_eq!(shown(&found, "service"), [("web".to_owned(), vec![(120, 10.0)])]);
    assert!(found.warnings[0].contains("only the newest"), "{:?}", found.warnings);
}

#[tokio::test]
async fn of_traces_that_are_too_large_fewer_are_asked_for_and_that_is_remembered() {
    let small = HttpSettings {
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        body_max: 2_000,
        user_agent: "tars-test".into(),
        authorities: None,
    };
    let (large, fits) = (traces(0..20), traces([110]));
    let acts = [large, fits.clone(), fits].map(|it| Act::Answer(200, it));
    let (address, serving) = server(acts.into()).await;
    let source = Jaeger::new(Http::new(&small).unwrap(), &address, None);
    for _ in 0..2 {
        let found = source.range(WEB, at(60), at(120), 60).await.unwrap();
        assert_eq!(shown(&found, "service"), [("web".to_owned(), vec![(120, 10.0)])]);
    }
    let lines: Vec<String> = serving.await.unwrap().into_iter().map(|it| it.line).collect();
    for (line, limit) in lines.iter().zip([TRACES_MAX, TRACES_MAX / 2, TRACES_MAX / 2]) {
        assert!(line.contains(&format!("limit={limit}&")), "{line}");
    }
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

#[tokio::test]
async fn of_too_many_calls_the_rarest_are_left_out() {
    let edge = |n: usize| format!("{{\"parent\":\"web\",\"child\":\"c{n:05}\",\"callCount\":{n}}}");
    let all: Vec<String> = (0..EDGES_MAX + 2).map(edge).collect();
    let body = format!("{{\"data\":[{}]}}", all.join(","));
    let (address, _serving) = server(vec![Act::Answer(200, body)]).await;
    let edges = Jaeger::new(http(), &address, None).calls(at(0), 60).await.unwrap();
    assert_eq!((edges.len(), edges[0].child.as_str()), (EDGES_MAX, "c00002"));
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
        ("span_latency_ms{service=\"a\", quantile=\"0.5\"} by (pod)", "not by \"pod\""),
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
