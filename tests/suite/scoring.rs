//! How scoring is set and shown, as its users see it. Comes in: a settings file and a model of Prometheus on loopback; out:
//! what `tars check` says and what running detectors answer. Never: a repository or a key.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::live::process::{Process, get, http, wait_for};
use crate::support::metric_stub::{self, MetricStub};
use crate::support::{self, ports::free_port};

/// For a start and a first look, on a machine that does a lot beside.
const SOON: Duration = Duration::from_secs(60);

struct World {
    folder: tempfile::TempDir,
    metrics: MetricStub,
}

impl World {
    fn make() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), metrics: MetricStub::start() }
    }

    /// A detector that watches one signal, long enough for the stream to have settled, and this.
    fn write(&self, name: &str, port: u16, more: &str) -> String {
        let text = format!(
            "role: detector\nshard: {{insecure: true}}\nprometheus: {{url: '{}'}}\ntick: 1s\nlisten: 127.0.0.1:{port}\n\
             signals:\n  - {{signal: latency_p95, service: backend, query: backend, step: 10s, window: 6h}}\n{more}\n",
            self.metrics.url
        );
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    fn run(&self, name: &'static str, more: &str) -> (Process, u16) {
        let port = free_port();
        let file = self.write(name, port, more);
        let mut tars = Command::new(support::tars());
        tars.args(["run", "--config", &file]).env_clear().stdin(Stdio::null());
        let child = tars.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        (Process::of(name, child), port)
    }

    fn said(&self, verb: &[&str], more: &str) -> (bool, String) {
        let file = self.write("asked.yaml", 1, more);
        let out = Command::new(support::tars()).args(verb).args(["--config", &file]).output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8(text).unwrap())
    }
}

/// The one anomaly of a detector whose stream judges.
fn anomaly(port: u16) -> Option<Value> {
    let (_, text) = get(port, "/api/v1/anomalies")?;
    let report: Value = serde_json::from_str(&text).ok()?;
    let anomaly = report["anomalies"].as_array()?.first()?.clone();
    (anomaly["method"] == "stream").then_some(anomaly)
}

#[test]
fn what_a_score_means_and_how_much_each_model_counts_is_set_in_the_file_and_said_by_check() {
    let world = World::make();
    let (sound, said) = world.said(&["check"], "");
    let line = "a score of 0.8 comes about once in 4 weeks per series without faults; stl 40 %, isolation-forest 40 %, ewma 20 %";
    assert!(sound && said.contains(line), "{said}");
    let lines = "detection:\n  false_alarms_per_week: 1\n  weights: {stl: 3, isolation_forest: 0, ewma: 1}";
    let (_, said) = world.said(&["check"], lines);
    let line = "about once a week per series without faults; stl 75 %, ewma 25 %";
    assert!(said.contains(line), "{said}");
    let (valid, said) = world.said(&["config", "validate"], &lines.replace("3,", "-3,"));
    assert!(!valid && said.contains("asked.yaml:10") && said.contains("use 0 to 100"), "{said}");
}

#[test]
fn a_running_detector_scores_by_the_rate_and_the_weights_of_its_settings() {
    let world = World::make();
    world.metrics.surge("backend");
    let weights = "weights: {stl: 0, isolation_forest: 1, ewma: 3}";
    let rate = |rate: f64| format!("detection: {{false_alarms_per_week: {rate}, {weights}}}");
    let (_rare, rarely) = world.run("rarely", &rate(0.01));
    let (_often, often) = world.run("often", &rate(100.0));
    let [rarely_said, often_said] = [rarely, often].map(|port| wait_for("a score", SOON, || anomaly(port)));
    // The same surprise, against ln(168 h / 100) and ln(168 h / 0.01): some 350 times the odds.
    let odds = |it: &Value| it["score"].as_f64().map(|score| score / (1.0 - score)).unwrap();
    assert!(odds(&often_said) > 50.0 * odds(&rarely_said), "{rarely_said}\n{often_said}");
    let since: jiff::Timestamp = rarely_said["episode"]["start"].as_str().unwrap().parse().unwrap();
    let now_s = metric_stub::now_s();
    assert!((now_s - 360..now_s).contains(&since.as_second()), "since the surge began: {since} {now_s}");
    assert_eq!(rarely_said["episode"].get("end"), None, "it goes on");
    let shares = |it: &Value| {
        let models = it["models"].as_array().unwrap().iter();
        models.map(|it| (it["model"].clone(), it["weight"].clone())).collect::<Vec<_>>()
    };
    let expected = [("isolation-forest".into(), 0.25.into()), ("ewma".into(), 0.75.into())];
    assert_eq!(shares(&often_said), expected);
    let values: Vec<f64> = (0..300).map(|it| 180.0 + f64::from(it % 7)).collect();
    let body = serde_json::json!({ "values": values }).to_string();
    let (_, predicted) = http(often, "POST", "/predict", "", &body).unwrap();
    assert_eq!(shares(&serde_json::from_str(&predicted).unwrap()), expected, "{predicted}");
}
