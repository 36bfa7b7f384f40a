//! A real Prometheus pushes to tars, in both versions of remote write, and takes the scores back the same way.

use super::world::{TOKEN, World};
use crate::support::parts;
use crate::support::ports::free_port;

#[test]
fn what_prometheus_pushes_in_version_1_is_kept_and_scored_and_the_score_goes_back() {
    pushes("prometheus", "what_prometheus_pushes_in_version_1_is_kept", "");
}

#[test]
fn what_prometheus_pushes_in_version_2_is_kept_and_scored_and_the_score_goes_back() {
    let version = "    protobuf_message: io.prometheus.write.v2.Request\n";
    pushes("prometheus3", "what_prometheus_pushes_in_version_2_is_kept", version);
}

fn pushes(program: &str, test: &str, version: &str) {
    let Some(program) = parts::find(program, test) else { return };
    let port = free_port();
    let settings = format!(
        "push: {{enabled: true, secret_file: secret, user: prom}}\n\
         remote_write: {{url: 'http://127.0.0.1:{port}/api/v1/write'}}\n\
         signals:\n\
         \x20 - {{signal: up, service: itself, query: 'up{{job=\"self\"}}', source: push, step: 1s, window: 1m}}\n\
         \x20 - {{signal: load, service_label: shard, query: 'load', source: push, step: 1s, window: 1m}}\n"
    );
    let mut world = World::new(port, &settings);
    world.write("secret", TOKEN);
    world.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - {{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}
remote_write:
  - url: http://127.0.0.1:{tars}/api/v1/write
    basic_auth: {{username: prom, password: {TOKEN}}}
    queue_config: {{batch_send_deadline: 1s, min_backoff: 100ms}}
{version}",
            tars = world.port
        ),
    );
    let rule =
        |shard: &str| format!("{{record: load, labels: {{shard: {shard}}}, expr: 'vector(time() % 60)'}}");
    world.write(
        "rules.yml",
        &format!("groups: [{{name: g, interval: 1s, rules: [{}, {}]}}]\n", rule("a"), rule("b")),
    );
    world.start_tars();
    world.start_prometheus(&program, port, &["--web.enable-remote-write-receiver"]);

    let age = |signal: &str, service: &str| {
        world.number(&format!("tars_signal_age_seconds{{signal=\"{signal}\",service=\"{service}\"}}"))
    };
    world.wait("the signals are fresh", || {
        let all = [age("up", "itself")?, age("load", "a")?, age("load", "b")?];
        all.iter().all(|it| *it < 20.0).then_some(())
    });
    assert!(world.number("tars_pushed_samples_total{outcome=\"kept\"}").unwrap() >= 3.0);
    assert!(
        world.number("tars_pushed_samples_total{outcome=\"unwatched\"}").unwrap() > 100.0,
        "Prometheus sends hundreds of series, and only what a signal means is kept"
    );
    for outcome in ["refused", "malformed", "other_type", "unauthorized"] {
        let line = format!("tars_push_messages_total{{outcome=\"{outcome}\"}}");
        assert_eq!(world.number(&line).unwrap_or(0.0), 0.0, "{outcome}");
    }
    // The sender believes that everything arrived. 2.0 counts what the answer's headers do not confirm.
    let failed = "sum(prometheus_remote_storage_samples_failed_total) + \
                  sum(prometheus_remote_storage_samples_dropped_total or vector(0))";
    world.wait("the sender has counted", || World::measure(port, failed));
    assert_eq!(World::measure(port, failed), Some(0.0));
    let asked = "sum(prometheus_http_requests_total{handler=\"/api/v1/query_range\"}) or vector(0)";
    assert_eq!(World::measure(port, asked), Some(0.0), "nobody was asked for anything");
    let score = "tars_anomaly_score{job=\"tars\", signal=\"load\", service=\"a\"}";
    let score = world.wait("the score is in Prometheus", || World::measure(port, score));
    assert!((0.0..=1.0).contains(&score), "{score}");
}
