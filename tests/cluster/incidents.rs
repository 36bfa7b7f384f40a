//! Incidents in the real cluster, from the first bad second to the verdict: real Prometheus measures, the real `tars run` proposes on
//! the real Gitea, Flux or Argo CD applies, and the pods follow. Comes in: the cluster; out: the ledger, the Deployment as the API
//! server has it, and how long each step took. Never: a hand on the cluster other than that of Flux and Argo CD.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Cluster, START};
use super::delivery::Flux;
use super::exporter::{Applied, Exporter};
use super::kube::is_rolled_out;
use super::process::{Process, get, wait_for};
use super::shop::{Repository, git};
use super::support;
use super::support::gitea::{LEAST_SCOPES, ORGANISATION};
use super::support::ports::free_port;

/// Three replicas serve these at once, and not [`SURGE_CLIENTS`], for whom it takes seven.
const CALM_CLIENTS: usize = 4;
const SURGE_CLIENTS: usize = 28;
/// One whole execution, the settle time and the window of the verification included.
const WITHIN: Duration = Duration::from_secs(300);

/// `tars run` with its own Prometheus, on one repository.
#[derive(Debug)]
struct Watch {
    name: &'static str,
    folder: PathBuf,
    mirror: PathBuf,
    source: String,
    _tars: Process,
    _prometheus: Process,
}

fn p95(namespace: &str) -> String {
    format!(
        "1000 * histogram_quantile(0.95, sum by (le) (rate(\
         http_request_duration_seconds_bucket{{namespace=\"{namespace}\", app=\"backend\"}}[5s])))"
    )
}

fn scale_out(namespace: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata: {{name: backend-latency, namespace: {namespace}}}
spec:
  mode: AutoMerge
  triggers:
    - type: promql
      query: '{} > 180'
      for: 3s
  actions: [{{type: ScaleOut, scaleOut: {{step: 4, maxReplicas: 10}}}}]
  allowedResources: [Deployment/backend]
  verify: {{signal: latency_p95, service: backend, below: 180, window: 20s, within: 4m}}
",
        p95(namespace)
    )
}

impl Watch {
    fn start(cluster: &Cluster, repository: &Repository, exporter: &Exporter) -> Self {
        let name = repository.name;
        let folder = cluster.path(&format!("tars-{name}"));
        fs::create_dir(&folder).unwrap();
        let bot = format!("bot-{name}");
        let token = cluster.gitea.user(&bot, LEAST_SCOPES);
        let level = serde_json::json!({ "permission": "write" });
        let path = format!("/repos/{ORGANISATION}/{name}/collaborators/{bot}");
        cluster.gitea.admin("PUT", &path, Some(&level), 204);
        fs::write(folder.join("token"), token).unwrap();
        fs::set_permissions(folder.join("token"), fs::Permissions::from_mode(0o600)).unwrap();
        let key = folder.join("signing-key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "tars", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(folder.join("signing-key.pub")).unwrap();
        fs::write(folder.join("allowed_signers"), format!("tars@example.com namespaces=\"git\" {public}"))
            .unwrap();
        let [tars, prometheus] = [(); 2].map(|()| free_port());
        let (at, url, forge) = (folder.display(), &repository.url, &cluster.gitea.url);
        let settings = format!(
            "repository: {{url: '{url}', state_dir: {at}/state, token_file: {at}/token}}
forge: {{kind: gitea, url: '{forge}', repository: {ORGANISATION}/{name}, token_file: {at}/token}}
signing: {{key_file: {at}/signing-key, allowed_signers_file: {at}/allowed_signers, email: tars@example.com}}
prometheus: {{url: 'http://127.0.0.1:{prometheus}'}}
signals:
  - {{signal: latency_p95, service: backend, query: '{query}', step: 1s, window: 10m}}
sync: {{kind: http, url: 'http://127.0.0.1:{exporter}/revision'}}
listen: 127.0.0.1:{tars}
tick: 1s
webhook: {{enabled: false}}
",
            query = p95(name),
            exporter = exporter.port,
        );
        fs::write(folder.join("tars.yaml"), settings).unwrap();
        let scrapes = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: backend, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n",
            exporter.port
        );
        fs::write(folder.join("prometheus.yml"), scrapes).unwrap();
        let mut command = Command::new(&cluster.prometheus);
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", "--log.level=warn"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{prometheus}")).env_clear();
        let metrics = start("prometheus", &folder, &mut command);
        wait_for("Prometheus is ready", START, || get(prometheus, "/-/ready").filter(|it| it.0 == 200));
        let mut command = Command::new(support::tars());
        command.env_clear().env("HOME", &folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let run = start("tars", &folder, command.env("TARS_CONFIG", folder.join("tars.yaml")).arg("run"));
        let mirror = folder.join("mirror.git");
        git(&folder, &["clone", "--quiet", "--mirror", url, "mirror.git"]);
        Self { name, folder, mirror, source: url.clone(), _tars: run, _prometheus: metrics }
    }

    /// Kinds of the ledger's entries about actions, oldest first, as the forge has them now.
    fn kinds(&self) -> Vec<String> {
        git(&self.mirror, &["fetch", "--quiet", "--prune", &self.source, "+refs/heads/*:refs/heads/*"]);
        let out = Command::new(support::tars())
            .args(["log", "-o", "json", "-C"])
            .arg(&self.mirror)
            .env("TARS_CONFIG", self.folder.join("tars.yaml"))
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let mut entries = answer.get("items").unwrap_or(&answer).as_array().cloned().unwrap_or_default();
        entries.sort_by_key(|entry| entry["seq"].as_u64());
        let of_actions = entries.iter().filter(|entry| entry["action"].is_string());
        of_actions.filter_map(|entry| entry["kind"].as_str()).map(str::to_owned).collect()
    }

    /// Waits for the next step, and says how long that took since `since`, which it moves.
    fn step(&self, what: &str, since: &mut Instant, look: impl FnMut() -> Option<()>) -> String {
        wait_for(&format!("{}: {what}", self.name), WITHIN, look);
        let took = since.elapsed();
        *since = Instant::now();
        format!("{what} {:.1} s", took.as_secs_f64())
    }
}

#[allow(clippy::print_stderr, reason = "what a failed test has to show; the harness shows it only then")]
impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["tars", "prometheus"] {
                let log = self.folder.join(format!("{name}.log"));
                eprintln!("{}: {}", self.name, super::keeper::end_of_log(name, &log));
            }
        }
    }
}

/// Starts a program in a folder of its own, its output in `<name>.log`.
fn start(name: &'static str, folder: &std::path::Path, command: &mut Command) -> Process {
    let log = File::create(folder.join(format!("{name}.log"))).unwrap();
    let command = command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap());
    Process::of(name, command.stderr(log).spawn().unwrap())
}

#[allow(clippy::print_stderr, reason = "the split of the time is what a run of this tier reports")]
pub(crate) fn surge_with_flux(cluster: &Cluster) {
    const NAME: &str = "surge";
    let repository = Repository::new(cluster, NAME);
    let imported = repository.push(&repository.files(3, "1.0.0", &scale_out(NAME)), "Import");
    repository.protect(cluster);
    cluster.admin.apply(&Flux::objects(NAME, &repository.url, "./apps/backend"));
    let applied: Applied = Flux::revision;
    let kube = &cluster.admin;
    wait_for("the import is applied", START, || {
        (applied(kube, NAME)? == format!("main@sha1:{imported}")).then_some(())
    });
    let exporter = Exporter::start(kube, NAME, applied, CALM_CLIENTS);
    let watch = Watch::start(cluster, &repository, &exporter);
    let mut since = Instant::now();
    exporter.set_clients(SURGE_CLIENTS);
    let has = |kind: &str| watch.kinds().iter().any(|it| it == kind).then_some(());
    let mut split = vec![watch.step("detect and propose", &mut since, || has("Proposed"))];
    split.push(watch.step("merge", &mut since, || has("Merged")));
    split.push(watch.step("sync", &mut since, || {
        let deployment = kube.deployment(NAME, "backend")?;
        (is_rolled_out(&deployment) && deployment["status"]["readyReplicas"] == 7).then_some(())
    }));
    split.push(watch.step("recover", &mut since, || has("Verified")));
    eprintln!("A: {}", split.join(", "));
    assert_eq!(watch.kinds(), ["Proposed", "MergeReserved", "Merged", "Synced", "Verified"]);
    let pulls = format!("/repos/{ORGANISATION}/{NAME}/pulls?state=all");
    let pulls = cluster.gitea.admin("GET", &pulls, None, 200);
    assert_eq!(pulls.as_array().map(Vec::len), Some(1), "{pulls:#}");
    assert_eq!(pulls[0]["merged"], true, "{pulls:#}");
    let head = git(&watch.mirror, &["rev-parse", "main"]);
    assert_eq!(applied(kube, NAME), Some(format!("main@sha1:{head}")), "Flux applied what was merged");
    let changed = git(&watch.mirror, &["diff", "--numstat", &imported, "main"]);
    assert_eq!(changed, format!("1\t1\t{}", super::shop::DEPLOYMENT));
}
