//! A real Jaeger fed by OTLP: latency of spans for each service and operation, and who calls whom.

use std::fmt::Write as _;

use super::world::World;
use crate::live::process;
use crate::support::metric_stub::now_s;
use crate::support::parts;
use crate::support::ports::free_port;

/// One trace: a server span of `web`, below it a client span, and in it a server span of `db`.
fn trace(number: i64, start_s: i64, latency_ms: i64) -> String {
    let span = |service: &str, id: u8, parent: &str, name: &str, kind: u8, took_ms: i64| {
        let start_ns = start_s * 1_000_000_000;
        let end_ns = start_ns + took_ms * 1_000_000;
        let parent =
            if parent.is_empty() { String::new() } else { format!("\"parentSpanId\":\"{parent}\",") };
        format!(
            r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},
            "scopeSpans":[{{"spans":[{{"traceId":"{number:032x}","spanId":"{id:016x}",{parent}"name":"{name}",
            "kind":{kind},"startTimeUnixNano":"{start_ns}","endTimeUnixNano":"{end_ns}"}}]}}]}}"#
        )
    };
    let mut text = String::new();
    let _ = write!(text, "{},", span("web", 1, "", "GET /pay", 2, latency_ms));
    let _ = write!(text, "{},", span("web", 2, "0000000000000001", "query", 3, latency_ms / 2));
    let _ = write!(text, "{}", span("db", 3, "0000000000000002", "SELECT", 2, latency_ms / 4));
    text
}

#[test]
fn latency_of_spans_and_the_calls_between_services_are_read() {
    const TEST: &str = "latency_of_spans_and_the_calls_between_services_are_read";
    let Some(jaeger) = parts::find("jaeger", TEST) else { return };
    let (query, otlp, admin) = (free_port(), free_port(), free_port());
    let others: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let signal = |name: &str, service: &str, labels: &str| {
        format!(
            "\x20 - {{signal: {name}, {service}, source: jaeger, step: 10s, window: 3m, \
             query: 'span_latency_ms{{service=\"web\"{labels}, quantile=\"0.5\"}}'}}\n"
        )
    };
    let settings = format!(
        "jaeger: {{url: 'http://127.0.0.1:{query}'}}\nsignals:\n{}{}{}",
        signal("pay_p50", "service: web", ", operation=\"GET /pay\""),
        signal("whole_p50", "service: web", ""),
        signal("each_p50", "service_label: operation", ""),
    );
    let mut world = World::new(free_port(), &settings);
    let at = |name: &str, port: u16| format!("--{name}=127.0.0.1:{port}");
    let args = [
        at("query.http-server.host-port", query),
        at("query.grpc-server.host-port", others[0]),
        at("collector.otlp.http.host-port", otlp),
        at("collector.otlp.grpc.host-port", others[1]),
        at("collector.http-server.host-port", others[2]),
        at("collector.grpc-server.host-port", others[3]),
        at("admin.http.host-port", admin),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    world.start("jaeger", &jaeger, &args);
    world.wait("Jaeger is ready", || (process::get(admin, "/")?.0 == 200).then_some(()));

    let now = now_s();
    let traces: Vec<String> = (0..90).map(|n| trace(n + 1, now - 100 + n, 100 + n % 3)).collect();
    let body = format!("{{\"resourceSpans\":[{}]}}", traces.join(","));
    let sent =
        process::http(otlp, "POST", "/v1/traces", "Content-Type: application/json\r\n", &body).unwrap();
    assert_eq!(sent.0, 200, "{}", sent.1);

    let found = world.wait("the spans can be queried", || {
        let found = world.ask(&["source", "query", "--signal", "pay_p50"]);
        found.iter().any(|it| it["samples"].as_u64() >= Some(8)).then_some(found)
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    let (least, most) = (found[0]["least"].as_f64().unwrap(), found[0]["most"].as_f64().unwrap());
    assert!(least >= 100.0 && most <= 102.0, "{found:#?}");
    let whole = world.ask(&["source", "query", "--signal", "whole_p50"]);
    assert_eq!(whole.len(), 1, "{whole:#?}");
    let (least, most) = (whole[0]["least"].as_f64().unwrap(), whole[0]["most"].as_f64().unwrap());
    // As many spans take half as long as the others: the middle lies between.
    assert!(least > 51.0 && most < 100.0, "{whole:#?}");
    let each = world.ask(&["source", "query", "--signal", "each_p50"]);
    let operations: Vec<&str> = each.iter().map(|it| it["series"].as_str().unwrap()).collect();
    assert_eq!(operations.len(), 2, "{operations:?}");
    assert!(operations[0].contains("GET:20/pay") && operations[1].contains("query"), "{operations:?}");
    let all = "span_latency_ms{service=\"web\", quantile=\"0.99\"}";
    let ask = |query: &str| {
        let asked =
            ["source", "query", "--source", "jaeger", "--step", "10s", "--window", "3m", "--ask", query];
        world.ask(&asked).len()
    };
    assert_eq!((ask(all), ask(&format!("{all} by (kind)"))), (1, 2));

    let calls = world.ask(&["source", "calls"]);
    let web = calls.iter().find(|it| it["parent"] == "web" && it["child"] == "db");
    assert_eq!(web.map(|it| it["callCount"].as_u64()), Some(Some(90)), "{calls:#?}");
    the_loop_watches_them(&mut world);
}

fn the_loop_watches_them(world: &mut World) {
    world.start_tars();
    for (signal, service) in [("pay_p50", "web"), ("whole_p50", "web"), ("each_p50", "GET:20/pay")] {
        let line = format!("tars_signal_age_seconds{{signal=\"{signal}\",service=\"{service}\"}}");
        let age = world.wait("tars watches it", || world.number(&line).filter(|it| it.is_finite()));
        assert!(age < 180.0, "{line} {age}");
    }
    world.wait("the running tars has taken the calls", || {
        let log = std::fs::read_to_string(world.path("tars.log")).ok()?;
        log.contains("calls between services seen").then_some(())
    });
}
