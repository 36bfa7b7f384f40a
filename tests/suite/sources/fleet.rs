//! Ten thousand series of a real Prometheus as one signal: one query for each look, whatever the number of series.

use super::world::{World, exporter};
use crate::live::process;
use crate::support::parts;
use crate::support::ports::free_port;
use crate::support::program::tars;

const SERIES: usize = 10_000;

#[test]
fn ten_thousand_series_are_one_query_for_each_look() {
    const TEST: &str = "ten_thousand_series_are_one_query_for_each_look";
    let Some(prometheus) = parts::find("prometheus", TEST) else { return };
    let page = || (0..SERIES).map(|n| format!("fleet{{app=\"app-{n:05}\"}} {}\n", n % 97)).collect();
    let (port, target) = (free_port(), exporter(page));
    let signal = "signals:\n  - {signal: fleet, service_label: app, query: fleet, step: 5s, window: 2m}\n";
    let mut world = World::new(port, signal);
    world.write(
        "prometheus.yml",
        &format!(
            "scrape_configs:\n\
             \x20 - {{job_name: fleet, scrape_interval: 2s, scrape_timeout: 2s, \
             static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}\n\
             \x20 - {{job_name: self, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
        ),
    );
    world.start_prometheus(&prometheus, port, &[]);
    world.wait("everything is there at the newest slot of the grid", || {
        World::measure(port, "count(fleet offset 5s)").filter(|it| *it == SERIES as f64)
    });

    let asked = |port| {
        let query = "sum(prometheus_http_requests_total{handler=\"/api/v1/query_range\"}) or vector(0)";
        World::measure(port, query)
    };
    let lines = world.ask(&["source", "query", "--signal", "fleet"]);
    assert_eq!(lines.len(), SERIES);
    assert_eq!(
        lines[4_242]["series"],
        "{__name__=\"fleet\", app=\"app-04242\", instance=\"127.0.0.1:".to_owned()
            + &format!("{target}\", job=\"fleet\"}}")
    );
    // One tells how many series there are, and two minutes of them fit into another.
    let once = world.wait("Prometheus has counted these queries", || asked(port).filter(|it| *it > 1.0));
    assert_eq!(once, 2.0);

    world.start_tars();
    let watched = || {
        let (_, page) = process::get(world.port, "/metrics")?;
        Some(page.lines().filter(|it| it.starts_with("tars_signal_age_seconds{signal=\"fleet\"")).count())
    };
    world.wait("every series is watched", || watched().filter(|it| *it == SERIES));
    world.wait("it was asked some more times", || asked(port).filter(|it| it - once >= 3.0));
    let looks = world.number("tars_reconcile_duration_seconds_count").unwrap();
    let queries = asked(port).unwrap() - once;
    // A look that finds a new slot asks once; the one that is under way is not counted as a look yet.
    assert!((3.0..=looks + 1.0).contains(&queries), "{queries} queries in {looks} looks");

    let settings = std::fs::read_to_string(world.path("tars.yaml")).unwrap();
    world.write("tars.yaml", &settings.replace("service_label: app", "service_label: job"));
    let said = tars(&world.path(""), &["check", "--config", "tars.yaml"]);
    let words = "10000 of the series have no label \"job\" that can name a service, or share its value with another; 0 are watched";
    assert!(said.out.contains(words), "{said:#?}");
}
