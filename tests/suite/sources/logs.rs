//! A real Loki: rates and shares of log lines as signals.

use super::world::World;
use crate::live::process;
use crate::support::metric_stub::now_s;
use crate::support::parts;
use crate::support::ports::free_port;

const SETTINGS: &str = "auth_enabled: false
common:
  instance_addr: 127.0.0.1
  path_prefix: PATH
  replication_factor: 1
  ring: {kvstore: {store: inmemory}}
  storage: {filesystem: {chunks_directory: PATH/chunks, rules_directory: PATH/rules}}
server: {http_listen_address: 127.0.0.1, http_listen_port: HTTP, grpc_listen_address: 127.0.0.1, grpc_listen_port: GRPC, log_level: warn}
schema_config:
  configs: [{from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}]
analytics: {reporting_enabled: false}
";

#[test]
fn rates_and_error_shares_of_logs_are_signals() {
    const TEST: &str = "rates_and_error_shares_of_logs_are_signals";
    let Some(loki) = parts::find("loki", TEST) else { return };
    let (http, grpc) = (free_port(), free_port());
    let share =
        "sum by (app) (rate({app=~\".+\"} |= \"error\" [30s])) / sum by (app) (rate({app=~\".+\"}[30s]))";
    let settings = format!(
        "loki: {{url: 'http://127.0.0.1:{http}', timeout_s: 30}}\nsignals:\n\
         \x20 - {{signal: errors, service_label: app, query: '{share}', source: loki, step: 10s, window: 3m}}\n"
    );
    let mut world = World::new(free_port(), &settings);
    let text = SETTINGS.replace("PATH", &world.path("loki").display().to_string());
    world.write("loki.yaml", &text.replace("HTTP", &http.to_string()).replace("GRPC", &grpc.to_string()));
    world.start("loki", &loki, &["-config.file=loki.yaml"]);
    world.wait("Loki is ready", || (process::get(http, "/ready")?.0 == 200).then_some(()));

    // Two apps, one line a second for two minutes; every fourth of the shop's says error, and none of the first or last two: a
    // window that sees only the begin or the end of the lines has at most a third of them.
    let now = now_s();
    let lines = |app: &str, has_errors: bool| {
        let one = |n: i64| {
            let (at, level) = (now - 121 + n, if has_errors && n % 4 == 2 { "error" } else { "info" });
            format!("[\"{at}000000000\",\"level={level} n={at}\"]")
        };
        let values: Vec<String> = (0..=120).map(one).collect();
        format!("{{\"stream\":{{\"app\":\"{app}\"}},\"values\":[{}]}}", values.join(","))
    };
    let body = format!("{{\"streams\":[{},{}]}}", lines("shop", true), lines("calm", false));
    let sent = world.wait("Loki takes the lines", || {
        process::http(http, "POST", "/loki/api/v1/push", "Content-Type: application/json\r\n", &body)
    });
    assert_eq!(sent.0, 204, "{}", sent.1);

    let found = world.wait("the lines can be queried", || {
        let found = world.ask(&["source", "query", "--signal", "errors"]);
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(found.len(), 1, "an app without an error has no share: {found:#?}");
    assert!(found[0]["series"].as_str().unwrap().contains("app=\"shop\""), "{found:#?}");
    let most = found[0]["most"].as_f64().unwrap();
    assert!((0.15..=0.35).contains(&most), "{found:#?}");

    let rate = "sum(rate({app=\"shop\"}[30s]))";
    let found =
        world.ask(&["source", "query", "--source", "loki", "--ask", rate, "--step", "10s", "--window", "3m"]);
    let most = found[0]["most"].as_f64().unwrap();
    assert!((0.8..=1.2).contains(&most), "one line a second: {found:#?}");

    world.start_tars();
    let line = "tars_signal_age_seconds{signal=\"errors\",service=\"shop\"}";
    let age = world.wait("tars watches it", || world.number(line));
    assert!(age < 180.0, "{age}");
}
