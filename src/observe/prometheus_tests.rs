//! The Prometheus client against small servers on the loopback address: retries, splitting, refusals, clocks.

use super::*;
use crate::model::fixtures::at;
use crate::observe::loopback::{Act, http, server};
use crate::outside::clock::VirtualClock;

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;

fn client(address: &str) -> Prometheus {
    Prometheus::new(http(), Arc::new(VirtualClock::at(at(5))), address, None)
}

fn one_series(points: &[(i64, &str)]) -> String {
    let points: Vec<String> =
        points.iter().map(|(t, v)| format!("[{},\"{v}\"]", at(*t).as_second())).collect();
    let result = format!(r#"[{{"metric":{{}},"values":[{}]}}]"#, points.join(","));
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}"#)
}

#[tokio::test]
async fn a_range_query_is_a_form_below_the_base_path_with_the_token() {
    let (address, serving) = server(vec![Act::Answer(200, one_series(&[(0, "1"), (60, "2")]))]).await;
    let token = Secret::new("t0ken").unwrap();
    let clock = Arc::new(VirtualClock::at(at(5)));
    let source = Prometheus::new(http(), clock, &format!("{address}/prometheus/"), Some(token));
    assert_eq!(source.outside_clock(), None);
    let answer = source.range("sum(x)", at(0), at(60), 60).await.unwrap();
    let samples = answer.only().unwrap();
    assert_eq!(samples.iter().map(|s| s.value).collect::<Vec<_>>(), [1.0, 2.0]);
    assert_eq!(source.outside_clock(), Some(OutsideClock { says: at(7), seen_at: at(5) }));
    let seen = serving.await.unwrap();
    assert_eq!(seen[0].line, "POST /prometheus/api/v1/query_range HTTP/1.1");
    assert!(seen[0].head.contains("authorization: bearer t0ken"));
    assert_eq!(seen[0].body, "query=sum%28x%29&start=1795428000.000&end=1795428060.000&step=60");
}

#[tokio::test]
async fn a_server_error_and_a_broken_connection_are_tried_again() {
    let acts = vec![Act::Answer(503, "busy".into()), Act::Hang, Act::Answer(200, one_series(&[(0, "1")]))];
    let (address, serving) = server(acts).await;
    assert_eq!(client(&address).range("x", at(0), at(0), 60).await.unwrap().series.len(), 1);
    assert_eq!(serving.await.unwrap().len(), 3);
}

#[tokio::test]
async fn tries_are_bounded_and_the_last_answer_is_the_error() {
    let acts = (0..3).map(|_| Act::Answer(500, "boom".into())).collect();
    let (address, serving) = server(acts).await;
    let error = client(&address).range("x", at(0), at(0), 60).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { status: 500, .. }), "{error}");
    assert_eq!(serving.await.unwrap().len(), 3);
    // The server is gone now: refused connections are tried as often.
    let error = client(&address).range("x", at(0), at(0), 60).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { tries: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_refused_query_is_not_tried_again() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"no"}"#;
    let (address, serving) = server(vec![Act::Answer(400, body.into())]).await;
    let error = client(&address).instant("x{", at(0)).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { status: 400, .. }), "{error}");
    assert_eq!(serving.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_long_range_is_split_at_eleven_thousand_points_without_gap_or_overlap() {
    let acts = (0..3).map(|_| Act::Answer(200, EMPTY.into())).collect();
    let (address, serving) = server(acts).await;
    client(&address).range("x", at(0), at(25_000), 1).await.unwrap();
    let start = at(0).as_second();
    let spans: Vec<String> = [(0, 10_999), (11_000, 21_999), (22_000, 25_000)]
        .iter()
        .map(|(from, to)| format!("start={}.000&end={}.000", start + from, start + to))
        .collect();
    let seen = serving.await.unwrap();
    for (request, span) in seen.iter().zip(&spans) {
        assert!(request.body.contains(span), "{} lacks {span}", request.body);
    }
}

#[tokio::test]
async fn parts_of_a_split_answer_are_joined_by_their_labels() {
    let part = |series: &[(&str, i64)]| {
        let one = |(pod, t): &(&str, i64)| {
            format!(r#"{{"metric":{{"pod":"{pod}"}},"values":[[{},"1"]]}}"#, at(*t).as_second())
        };
        let all: Vec<String> = series.iter().map(one).collect();
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#, all.join(","))
    };
    let acts = [part(&[("a", 0), ("b", 5)]), part(&[("c", 11_000), ("a", 11_001)])];
    let (address, serving) = server(acts.into_iter().map(|it| Act::Answer(200, it)).collect()).await;
    let all = client(&address).range("x", at(0), at(21_000), 1).await.unwrap();
    let found: Vec<_> = all.series.iter().map(|it| (it.labels.get("pod"), it.samples.len())).collect();
    assert_eq!(found, [("a", 2), ("b", 1), ("c", 1)]);
    serving.await.unwrap();
}

#[tokio::test]
async fn each_is_asked_below_its_own_path_and_for_its_tenant() {
    let clients = [Prometheus::new, Prometheus::loki];
    for (client, path) in clients.into_iter().zip(["/api/v1", "/loki/api/v1"]) {
        let (address, serving) = server(vec![Act::Answer(200, EMPTY.into())]).await;
        let clock = Arc::new(VirtualClock::at(at(5)));
        let source = client(http(), clock, &format!("{address}/"), None).of_tenant(Some("shop".to_owned()));
        assert!(
            source.range("sum(rate({app=\"a\"}[1m]))", at(0), at(60), 60).await.unwrap().series.is_empty()
        );
        let seen = serving.await.unwrap();
        assert_eq!(seen[0].line, format!("POST {path}/query_range HTTP/1.1"));
        assert!(seen[0].head.contains("x-scope-orgid: shop"), "{}", seen[0].head);
    }
}

#[tokio::test]
async fn an_instant_query_carries_its_time() {
    let body =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}"#;
    let (address, serving) = server(vec![Act::Answer(200, body.into())]).await;
    let result = client(&address).instant("x > 1", at(0)).await.unwrap();
    assert_eq!(result, InstantResult { non_empty: true, value: Some(2.0) });
    assert_eq!(serving.await.unwrap()[0].body, "query=x+%3E+1&time=1795428000.000");
}

#[tokio::test]
async fn a_range_that_makes_no_sense_is_refused_before_any_request() {
    let source = client("http://127.0.0.1:9");
    assert!(matches!(source.range("x", at(1), at(0), 60).await, Err(SourceError::BadRange(_))));
    assert!(matches!(source.range("x", at(0), at(1), 0).await, Err(SourceError::BadRange(_))));
}
