//! A real Pushgateway holds the scores while tars runs, and has none of them once it was stopped.

use super::world::{World, exporter};
use crate::live::process;
use crate::support::parts;
use crate::support::ports::free_port;

#[test]
fn a_pushgateway_has_the_scores_of_a_running_tars_and_none_of_one_that_was_stopped() {
    const TEST: &str = "a_pushgateway_has_the_scores_of_a_running_tars";
    let Some(prometheus) = parts::find("prometheus", TEST) else { return };
    let Some(program) = parts::find("prometheus-pushgateway", TEST) else { return };
    let (port, gateway) = (free_port(), free_port());
    let mut world = World::new(
        port,
        &format!(
            "pushgateway: {{url: 'http://127.0.0.1:{gateway}'}}\ninstance: blue\nsignals:\n  \
             - {{signal: load, service_label: shard, query: load, step: 5s, window: 2m}}\n"
        ),
    );
    let target = exporter(|| "load{shard=\"a\"} 3\nload{shard=\"b\"} 5\n".to_owned());
    world.scrape("prometheus.yml", target);
    world.start_prometheus(&prometheus, port, &[]);
    world.start("gateway", &program, &[&format!("--web.listen-address=127.0.0.1:{gateway}")]);
    world.wait("the Pushgateway is ready", || (process::get(gateway, "/-/ready")?.0 == 200).then_some(()));
    world.start_tars();
    let lines = || {
        let (_, page) = process::get(gateway, "/metrics")?;
        Some(page.lines().filter(|it| it.starts_with("tars_anomaly_score{")).map(str::to_owned).collect())
    };
    let found: Vec<String> = world.wait("both scores are there", || {
        lines().filter(|it: &Vec<String>| it.len() == 2 && it.iter().all(|line| !line.ends_with(" NaN")))
    });
    for (line, shard) in found.iter().zip(["a", "b"]) {
        let start = format!(
            "tars_anomaly_score{{instance=\"tars-blue\",job=\"tars\",service=\"{shard}\",signal=\"load\"}} "
        );
        let score: f64 = line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        assert!((0.0..=1.0).contains(&score), "{line}");
    }
    world.stop("tars");
    assert_eq!(lines(), Some(Vec::new()), "nobody scores any more");
}
