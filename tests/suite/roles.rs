//! The roles as real processes: two detectors that share the series, two remediators that share the ledger. Comes in: a
//! model of Prometheus on loopback and a repository in a folder; out: what git, the metrics and `tars check` say. Never: a
//! virtual clock, or a process that outlives its test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::live::process::{Process, get, git, http, wait_for};
use crate::support::metric_stub::MetricStub;
use crate::support::{self, parts, ports::free_port};

/// For anything that takes a few ticks of a second, on a machine that does a lot beside.
const SOON: Duration = Duration::from_secs(120);
/// `backend/latency_p95` is in shard 0 of 2, `frontend/latency_p95` in shard 1.
const SERVICES: [&str; 2] = ["backend", "frontend"];

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A program with nothing of the caller's surroundings but the search path.
fn clean(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C").stdin(Stdio::null()).current_dir(folder);
    command
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  replicas: 2\n  \
         selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    \
         spec:\n      containers:\n        - name: app\n          image: registry.example.com/app:1.0.0\n"
    )
}

fn policy(name: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  \
         mode: Propose\n  triggers:\n    - {{type: anomaly, signal: latency_p95, service: {name}, threshold: 0.6}}\n  \
         actions:\n    - type: ScaleOut\n      scaleOut: {{step: 1, maxReplicas: 10}}\n  allowedResources: \
         [Deployment/{name}]\n  verify: {{signal: latency_p95, service: {name}, below: 250, window: 5m, within: 15m}}\n"
    )
}

struct World {
    folder: tempfile::TempDir,
    metrics: MetricStub,
    detectors: [u16; 2],
}

impl World {
    fn make(keygen: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let tree = at.join("tree");
        for name in SERVICES {
            for (part, text) in [("apps", deployment(name)), ("policies", policy(name))] {
                fs::create_dir_all(tree.join(part)).unwrap();
                fs::write(tree.join(part).join(format!("{name}.yaml")), text).unwrap();
            }
        }
        let person = ["-c", "user.name=shop", "-c", "user.email=shop@example.com"];
        let git = |args: &[&str]| run(clean("git", &tree).args(args));
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "."]);
        git(&[&person[..], &["commit", "--quiet", "-m", "Start"]].concat());
        git(&["clone", "--quiet", "--bare", ".", at.join("gitops.git").to_str().unwrap()]);
        run(clean(keygen, at).args(["-q", "-t", "ed25519", "-N", "", "-C", "tars", "-f", "signing-key"]));
        let public = fs::read_to_string(at.join("signing-key.pub")).unwrap();
        fs::write(at.join("allowed"), format!("tars@example.com {public}")).unwrap();
        fs::write(at.join("secret"), "roles-token-0123456789abcdef").unwrap();
        Self { metrics: MetricStub::start(), detectors: [free_port(), free_port()], folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, port: u16, text: &str) {
        let signals: String = SERVICES
            .iter()
            .map(|it| {
                format!("  - {{signal: latency_p95, service: {it}, query: {it}, step: 10s, window: 1h}}\n")
            })
            .collect();
        let all = format!(
            "prometheus: {{url: '{}'}}\ntick: 1s\nlisten: 127.0.0.1:{port}\nsignals:\n{signals}{text}",
            self.metrics.url
        );
        fs::write(self.at(&format!("{name}.yaml")), all).unwrap();
    }

    fn start(&self, name: &'static str) -> Process {
        let log = File::options().create(true).append(true).open(self.at(&format!("{name}.log"))).unwrap();
        let mut tars = clean(support::tars(), self.folder.path());
        tars.args(["run", "--config", &format!("{name}.yaml")]);
        Process::of(name, tars.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn detector(&self, ordinal: usize) -> Process {
        let secret = self.at("secret");
        let text = format!(
            "role: detector\nshard: {{total: 2, ordinal: {ordinal}, secret_file: {}}}\n",
            secret.display()
        );
        let name = ["detector-0", "detector-1"][ordinal];
        self.write(name, self.detectors[ordinal], &text);
        self.start(name)
    }

    fn remediator(&self, name: &'static str) -> (Process, u16) {
        let port = free_port();
        let at = |part: &str| self.at(part).display().to_string();
        let [one, two] = self.detectors.map(|it| format!("http://127.0.0.1:{it}"));
        let text = format!(
            "role: remediator\ndetectors: {{urls: ['{one}', '{two}'], secret_file: {}, timeout_s: 10}}\ninstance: {name}\n\
             repository: {{url: {}, repo_id: roles, state_dir: {}, timeout_s: 60}}\nsigning: {{key_file: {}, \
             allowed_signers_file: {}, name: tars, email: tars@example.com}}\nwebhook: {{enabled: false}}\n",
            at("secret"),
            at("gitops.git"),
            at(&format!("state-{name}")),
            at("signing-key"),
            at("allowed"),
        );
        self.write(name, port, &text);
        (self.start(name), port)
    }

    /// The policy of every proposal, one for each branch.
    fn proposed(&self) -> Vec<String> {
        let refs = git(&self.at("gitops.git"), &["for-each-ref", "--format=%(refname)", "refs/heads/tars/"]);
        let all = refs.unwrap();
        let all = all.lines().filter(|it| !it.ends_with("/ledger"));
        all.map(|it| it.split('/').nth(3).unwrap().to_owned()).collect()
    }

    fn check(&self, name: &str) -> (bool, String) {
        let mut tars = clean(support::tars(), self.folder.path());
        let out = tars.args(["check", "--config", &format!("{name}.yaml")]).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn logs(&self) -> String {
        let names = ["detector-0", "detector-1", "one", "two"];
        let tail = |name: &str| {
            let text = fs::read_to_string(self.at(&format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(8).collect();
            format!("--- {name}\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        names.map(tail).concat()
    }
}

/// The value of a metric without labels, or with these.
fn metric(port: u16, name: &str) -> Option<f64> {
    let (_, text) = get(port, "/metrics")?;
    let line = text.lines().find(|it| it.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

const LOST: &str = "tars_holds_total{reason=\"DetectorLost\"}";

#[test]
fn detectors_share_the_series_and_a_lost_one_holds_its_own_until_it_is_back() {
    let test = "detectors_share_the_series_and_a_lost_one_holds_its_own_until_it_is_back";
    let Some(keygen) = parts::find("ssh-keygen", test) else { return };
    let world = World::make(&keygen);
    let (_zero, mut one) = (world.detector(0), world.detector(1));
    let ((_first, port), (_second, _)) = (world.remediator("one"), world.remediator("two"));
    wait_for("both detectors are heard", SOON, || {
        metric(port, "tars_detectors_answering").filter(|it| *it > 1.5)
    });
    for (ordinal, detector) in world.detectors.into_iter().enumerate() {
        let (status, _) = http(detector, "GET", "/api/v1/anomalies", "", "").unwrap();
        assert_eq!(status, 401, "not without the token");
        let (_, text) = get(detector, "/metrics").unwrap();
        for (home, service) in SERVICES.iter().enumerate() {
            let line = format!("tars_signal_age_seconds{{signal=\"latency_p95\",service=\"{service}\"}}");
            assert_eq!(text.contains(&line), home == ordinal, "{service} in {ordinal}: {text}");
        }
    }
    let (sound, said) = world.check("one");
    assert!(sound && said.contains("shard 0 of 2") && said.contains("shard 1 of 2"), "{said}");
    assert_eq!(world.proposed(), [""; 0], "{}", world.logs());

    world.metrics.surge("backend");
    let is_proposed = |name: &str| world.proposed().iter().any(|it| it == name).then_some(());
    wait_for("the backend is proposed", SOON, || is_proposed("backend"));

    one.kill();
    wait_for("the shard is missed", SOON, || metric(port, LOST));
    assert_eq!(metric(port, "tars_detectors_answering"), Some(1.0));
    world.metrics.surge("frontend");
    let before = metric(port, LOST).unwrap();
    wait_for("ticks have passed", SOON, || metric(port, LOST).filter(|it| *it >= before + 4.0));
    assert_eq!(world.proposed(), ["backend"]);
    let log = fs::read_to_string(world.at("one.log")).unwrap();
    assert!(log.contains("DetectorLost") && log.contains("shard 1 of 2"), "{log}");
    assert_eq!(get(port, "/readyz").unwrap().0, 200, "it does what it can");
    let (sound, said) = world.check("one");
    assert!(!sound && said.contains("shard 1 of 2"), "{said}");

    let _one = world.detector(1);
    wait_for("the frontend is proposed", SOON, || is_proposed("frontend"));
    assert_eq!(world.proposed().len(), SERVICES.len(), "each once: {:?}\n{}", world.proposed(), world.logs());
}
