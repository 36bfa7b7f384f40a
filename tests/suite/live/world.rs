//! One world per scenario: a bare repository made from `gitops-example`, the workload under load, Prometheus,
//! Alertmanager when wanted, and `tars run`, all on loopback in one temporary folder. Comes in: the programs and
//! a policy; out: what can be read back from each. Never: anything shared with another scenario.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::load::Load;
use super::process::{self, Process, wait_for};
use super::workload;
use crate::support::{self, ports::free_port};

/// 95th percentile of the workload's latency, milliseconds.
pub(super) const P95: &str = "1000 * histogram_quantile(0.95, sum by (le) (rate(\
    http_request_duration_seconds_bucket{namespace=\"production\", app=\"backend\"}[5s])))";
pub(super) const ALERT: &str = "BackendLatencyAnomalous";
const SECRET: &str = "a-token-of-the-live-tests";
/// Programs get this long to answer for the first time; a busy machine is slow.
const START: Duration = Duration::from_secs(60);
/// Lines of each log that a failure shows.
const LOG_LINES: usize = 60;

/// The real programs, found once.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub prometheus: PathBuf,
    pub alertmanager: PathBuf,
    pub ssh_keygen: PathBuf,
    /// Only where the scenario needs a forge.
    pub gitea: Option<PathBuf>,
    /// What the stand-ins for forges need, likewise.
    pub fakes: Option<PathBuf>,
}

/// Where a repository lives that is not just a folder.
pub(super) trait Host {
    /// Takes over `repo.git` of this folder, leaves there what the forge holds, and says how tars reaches it: the
    /// settings `repository` and `forge`.
    fn take(&self, folder: &Path) -> String;
}

#[derive(Debug)]
pub(super) struct World {
    programs: Programs,
    ports: Ports,
    pub prometheus: Process,
    pub tars: Process,
    pub load: Load,
    workload: Process,
    _alertmanager: Option<Process>,
    /// Last: it goes when nobody writes into it any more.
    folder: tempfile::TempDir,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    tars: u16,
    prometheus: u16,
    alertmanager: u16,
    workload: u16,
}

/// The policy under test, triggered by `trigger` (YAML of one list item's fields, indented by six).
pub(super) fn policy(trigger: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata:
  name: backend-latency
  namespace: production
spec:
  mode: AutoMerge
  triggers:
    - {trigger}
  actions:
    - type: ScaleOut
      scaleOut:
        step: 4
        maxReplicas: 10
  allowedResources:
    - Deployment/backend
  verify:
    signal: latency_p95
    service: backend
    below: 180
    window: 20s
    within: 4m
"
    )
}

impl World {
    /// Everything running, with the load of an ordinary day.
    pub(super) fn start(programs: &Programs, policy: &str, with_alertmanager: bool) -> Self {
        Self::start_on(programs, policy, with_alertmanager, None)
    }

    /// The same, with the signal pushed by Prometheus.
    pub(super) fn start_pushed(programs: &Programs, policy: &str) -> Self {
        Self::start_fed(programs, policy, (false, true), None)
    }

    /// The same, with the repository on a forge.
    pub(super) fn start_on(
        programs: &Programs,
        policy: &str,
        with_alertmanager: bool,
        host: Option<&dyn Host>,
    ) -> Self {
        Self::start_fed(programs, policy, (with_alertmanager, false), host)
    }

    fn start_fed(
        programs: &Programs,
        policy: &str,
        (with_alertmanager, pushed): (bool, bool),
        host: Option<&dyn Host>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("tars-live.").tempdir().unwrap();
        let at = folder.path();
        make_repository(at, policy);
        make_keys(at, &programs.ssh_keygen);
        let hosted = host.map_or_else(
            || format!("repository: {{url: {at}/repo.git, state_dir: {at}/state}}\n", at = at.display()),
            |host| host.take(at),
        );
        let (workload, workload_port) = workload::start(at);
        let [tars, prometheus, alertmanager] = [(); 3].map(|()| free_port());
        let ports = Ports { tars, prometheus, alertmanager, workload: workload_port };
        write_settings(at, ports, &hosted, pushed);
        let load = Load::start(workload_port, super::CALM_CLIENTS);
        let alertmanager = with_alertmanager.then(|| start_alertmanager(programs, at, ports));
        let prometheus = start_prometheus(programs, at, ports);
        wait_for("Prometheus is ready", START, || is_ready(ports.prometheus, "/-/ready"));
        if alertmanager.is_some() {
            wait_for("Alertmanager is ready", START, || is_ready(ports.alertmanager, "/-/ready"));
        }
        let tars = start_tars(at);
        let programs = programs.clone();
        Self { programs, ports, prometheus, tars, load, workload, _alertmanager: alertmanager, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.path("repo.git")
    }

    /// Starts Prometheus again on the same data and port.
    pub(super) fn restart_prometheus(&mut self) {
        self.prometheus = start_prometheus(&self.programs, self.folder.path(), self.ports);
        wait_for("Prometheus is ready again", START, || is_ready(self.ports.prometheus, "/-/ready"));
    }

    /// Starts tars again, as another process on the same folder.
    pub(super) fn restart_tars(&mut self) {
        self.tars = start_tars(self.folder.path());
    }

    /// What tars has logged so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("tars.log")).unwrap_or_default()
    }

    /// Runs `tars <args>`; exit code, standard output and standard error.
    pub(super) fn ask(&self, args: &[&str]) -> (i32, String, String) {
        let out = tars_command(self.folder.path()).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    /// The ledger as `tars log -o json` gives it, oldest entry first; empty while there is none.
    pub(super) fn entries(&self) -> Vec<Value> {
        let repository = self.repository();
        let (code, out, _) = self.ask(&["log", "-C", &repository.to_string_lossy(), "-o", "json"]);
        if code != 0 {
            return Vec::new();
        }
        let mut entries = items(&out);
        entries.sort_by_key(|entry| entry["seq"].as_u64());
        entries
    }

    /// Kinds of the entries about actions, oldest first.
    pub(super) fn kinds(&self) -> Vec<String> {
        let entries = self.entries();
        let about_action = entries.iter().filter(|entry| entry["action"].is_string());
        about_action.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn wait_for_entry(&self, kind: &str, bound: Duration) {
        wait_for(&format!("the ledger has an entry {kind}"), bound, || {
            std::thread::sleep(Duration::from_millis(350));
            self.kinds().iter().any(|it| it == kind).then_some(())
        });
    }

    /// The value of a query that gives one, now.
    pub(super) fn measure(&self, query: &str) -> Option<f64> {
        let path = format!("/api/v1/query?query={}", percent_encoded(query));
        let (status, body) = process::get(self.ports.prometheus, &path)?;
        assert_eq!(status, 200, "{query}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Waits until the detector has more samples than it needs to warm up.
    pub(super) fn warm_up(&self) {
        let samples = format!("count_over_time(({P95})[10m:1s])");
        wait_for("there are enough samples", Duration::from_secs(240), || {
            self.measure(&samples).filter(|count| *count >= 115.0)
        });
    }

    /// One page of `tars run`.
    pub(super) fn page(&self, path: &str) -> Option<(u16, String)> {
        process::get(self.ports.tars, path)
    }
}

/// The list in a `-o json` answer, bare or below `items`.
pub(super) fn items(json: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let list = value.get("items").unwrap_or(&value);
    list.as_array().unwrap_or_else(|| panic!("no list: {json}")).clone()
}

#[allow(clippy::print_stderr, reason = "what a failed test has to show; the harness shows it only then")]
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!(
            "workload running: {}, tars running: {}",
            self.workload.is_running(),
            self.tars.is_running()
        );
        for name in ["tars.log", "prometheus.log", "alertmanager.log", "workload.log"] {
            let log = fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- end of {name} ({} lines)\n{}", lines.len(), tail.join("\n"));
        }
        let history = process::git(&self.repository(), &["log", "--all", "--oneline", "--decorate"]);
        eprintln!("--- git log\n{}", history.unwrap_or_default());
    }
}

fn is_ready(port: u16, path: &str) -> Option<()> {
    process::get(port, path).filter(|(status, _)| *status == 200).map(|_| ())
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// `repo.git` with the example in it, its policies replaced by `policy`.
fn make_repository(folder: &Path, policy: &str) {
    let work = folder.join("work");
    copy(&support::root().join("gitops-example"), &work);
    fs::remove_file(work.join("tars.yaml")).unwrap();
    fs::remove_dir_all(work.join("policies")).unwrap();
    fs::create_dir(work.join("policies")).unwrap();
    fs::write(work.join("policies/backend-latency.yaml"), policy).unwrap();
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=Platform team", "-c", "user.email=platform@example.com"];
        let mut command = Command::new("git");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        run(command.current_dir(folder).args(who).args(args));
    };
    git(&["init", "--quiet", "--initial-branch=main", "work"]);
    git(&["-C", "work", "add", "--all"]);
    git(&["-C", "work", "commit", "--quiet", "--message", "Import the platform repository"]);
    git(&["clone", "--quiet", "--bare", "work", "repo.git"]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn make_keys(folder: &Path, ssh_keygen: &Path) {
    let key = folder.join("signing-key");
    run(Command::new(ssh_keygen).args(["-q", "-t", "ed25519", "-N", "", "-C", "tars", "-f"]).arg(&key));
    let public = fs::read_to_string(folder.join("signing-key.pub")).unwrap();
    fs::write(folder.join("allowed_signers"), format!("tars@example.com namespaces=\"git\" {public}"))
        .unwrap();
    fs::write(folder.join("webhook-secret"), format!("{SECRET}\n")).unwrap();
}

/// The series that Prometheus makes of [`P95`] where it pushes.
const RECORDED: &str = "backend:latency_p95:ms";

fn write_settings(folder: &Path, ports: Ports, hosted: &str, pushed: bool) {
    let at = folder.display();
    let Ports { tars, prometheus, alertmanager, workload } = ports;
    let (source, query) = if pushed { ("push", RECORDED) } else { ("prometheus", P95) };
    let settings = format!(
        "{hosted}signing:
  key_file: {at}/signing-key
  allowed_signers_file: {at}/allowed_signers
  email: tars@example.com
prometheus:
  url: http://127.0.0.1:{prometheus}
signals:
  - signal: latency_p95
    service: backend
    query: '{query}'
    source: {source}
    step: 1s
    window: 10m
sync:
  kind: http
  url: http://127.0.0.1:{workload}/revision
webhook:
  secret_file: {at}/webhook-secret
push:
  enabled: {pushed}
  secret_file: {at}/webhook-secret
listen: 127.0.0.1:{tars}
tick: 1s
"
    );
    fs::write(folder.join("tars.yaml"), settings).unwrap();
    let scrapes = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{at}/rules.yml]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]
scrape_configs:
  - {{job_name: workload, static_configs: [{{targets: ['127.0.0.1:{workload}']}}]}}
  - {{job_name: tars, static_configs: [{{targets: ['127.0.0.1:{tars}']}}]}}
  - {{job_name: self, static_configs: [{{targets: ['127.0.0.1:{prometheus}']}}]}}
"
    );
    let send = format!(
        "remote_write:
  - url: http://127.0.0.1:{tars}/api/v1/write
    authorization: {{type: Bearer, credentials: {SECRET}}}
    queue_config: {{batch_send_deadline: 1s, min_backoff: 100ms}}
"
    );
    let send = if pushed { send } else { String::new() };
    fs::write(folder.join("prometheus.yml"), scrapes + &send).unwrap();
    let rules = format!(
        "groups:
  - name: tars
    rules:
      - {{record: '{RECORDED}', expr: '{P95}'}}
      - alert: {ALERT}
        expr: >-
          tars_anomaly_score{{signal=\"latency_p95\", service=\"backend\"}} > 0.8 and on () ({P95}) > 180
        for: 2s
        labels: {{severity: page}}
"
    );
    fs::write(folder.join("rules.yml"), rules).unwrap();
    write_routes(folder, tars);
}

fn write_routes(folder: &Path, tars: u16) {
    let routes = format!(
        "route: {{receiver: tars, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}}
receivers:
  - name: tars
    webhook_configs:
      - url: http://127.0.0.1:{tars}/webhook/alertmanager
        send_resolved: true
        http_config: {{authorization: {{type: Bearer, credentials: {SECRET}}}}}
"
    );
    fs::write(folder.join("alertmanager.yml"), routes).unwrap();
}

/// Starts a program in the scenario's folder, its output appended to `<name>.log`.
fn start(name: &'static str, folder: &Path, command: &mut Command) -> Process {
    let log = File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
    let command = command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap());
    Process::of(name, command.stderr(log).spawn().unwrap())
}

fn start_prometheus(programs: &Programs, folder: &Path, ports: Ports) -> Process {
    let mut command = Command::new(&programs.prometheus);
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", "--log.level=warn"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{}", ports.prometheus));
    start("prometheus", folder, command.env_clear())
}

fn start_alertmanager(programs: &Programs, folder: &Path, ports: Ports) -> Process {
    let mut command = Command::new(&programs.alertmanager);
    command.args(["--config.file=alertmanager.yml", "--storage.path=alertmanager", "--log.level=warn"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{}", ports.alertmanager));
    command.arg("--cluster.listen-address=");
    start("alertmanager", folder, command.env_clear())
}

fn tars_command(folder: &Path) -> Command {
    let mut command = Command::new(support::tars());
    command.env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("TARS_CONFIG", folder.join("tars.yaml")).current_dir(folder);
    command
}

fn start_tars(folder: &Path) -> Process {
    start("tars", folder, tars_command(folder).arg("run"))
}
