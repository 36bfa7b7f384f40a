//! `tars run` with a Prometheus of its own on one repository of the real Gitea, as an account that the API server lets do what
//! the chart's role says. Comes in: the cluster, the repository, the workload's exporter and the lines of the settings that
//! differ; out: the ledger, the records and the pull requests. Never: a hand on the cluster.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Cluster, START};
use super::exporter::Exporter;
use super::process::{Process, get, wait_for};
use super::shop::{Repository, git};
use super::support;
use super::support::gitea::{LEAST_SCOPES, ORGANISATION};
use super::support::ports::free_port;

/// One whole execution, the settle time and the window of the verification included.
pub(crate) const WITHIN: Duration = Duration::from_secs(300);
/// What their logs are called.
const REPLICAS: [&str; 3] = ["tars", "tars-1", "tars-2"];
const EVERYTHING: &str = "+refs/heads/*:refs/heads/*";

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    pub name: &'static str,
    folder: PathBuf,
    prometheus: u16,
    helm: PathBuf,
    pub mirror: PathBuf,
    source: String,
    settings: String,
    tars: Vec<Process>,
    _prometheus: Process,
}

impl Watch {
    /// On the policies of the repository, in the namespace of the workload, which it looks at beside those of what delivers: of
    /// several in one cluster, each says what it thinks of the policies that it sees. `more`: lines of the settings, the signals among them.
    /// `kubeconfig`: whom the API server takes tars for.
    pub(crate) fn start(
        cluster: &Cluster,
        repository: &Repository,
        exporter: &Exporter,
        kubeconfig: &Path,
        more: &str,
    ) -> Self {
        Self::with_policies("repository", cluster, repository, exporter, kubeconfig, more)
    }

    /// As [`Watch::start`], on the policies that `cluster.policies` names.
    pub(crate) fn with_policies(
        policies: &str,
        cluster: &Cluster,
        repository: &Repository,
        exporter: &Exporter,
        kubeconfig: &Path,
        more: &str,
    ) -> Self {
        let name = repository.name;
        let folder = cluster.path(&format!("tars-{name}"));
        fs::create_dir(&folder).unwrap();
        credentials(cluster, name, &folder);
        let kubeconfig = at_home(cluster, name, &folder, kubeconfig);
        let prometheus = free_port();
        let (at, url, forge) = (folder.display(), &repository.url, &cluster.gitea.url);
        let settings = format!(
            "repository: {{url: '{url}', state_dir: STATE, token_file: {at}/token}}
forge: {{kind: gitea, url: '{forge}', repository: {ORGANISATION}/{name}, token_file: {at}/token}}
signing: {{key_file: {at}/signing-key, allowed_signers_file: {at}/allowed_signers, email: tars@example.com}}
prometheus: {{url: 'http://127.0.0.1:{prometheus}'}}
cluster: {{access: kubeconfig, kubeconfig: '{}', policies: {policies}, namespaces: [{name}, flux-system, argocd]}}
listen: LISTEN
tick: 1s
webhook: {{enabled: false}}
{more}",
            kubeconfig.display()
        );
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
        let mirror = folder.join("mirror.git");
        git(&folder, &["clone", "--quiet", "--mirror", url, "mirror.git"]);
        let mut watch = Self {
            name,
            folder,
            prometheus,
            helm: cluster.helm.clone(),
            mirror,
            source: url.clone(),
            settings,
            tars: Vec::new(),
            _prometheus: metrics,
        };
        watch.one_more();
        watch
    }

    /// Starts a replica of tars, with a state folder of its own.
    pub(crate) fn one_more(&mut self) {
        let number = self.tars.len();
        let state = self.folder.join(format!("state-{number}"));
        let settings = self
            .settings
            .replace("STATE", &state.display().to_string())
            .replace("LISTEN", &format!("127.0.0.1:{}", free_port()));
        let file = self.folder.join(format!("tars-{number}.yaml"));
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(support::tars());
        // tars renders charts with the helm it finds.
        let path = std::env::var("PATH").unwrap_or_default();
        let helm = self.helm.parent().unwrap().display().to_string();
        command.env_clear().env("PATH", format!("{helm}:{path}"));
        let name = REPLICAS[number];
        command.env("HOME", &self.folder).env("TARS_CONFIG", file).arg("run");
        self.tars.push(start(name, &self.folder, &mut command));
    }

    /// Starts the detector of one of two shards on this port, with what it learns in a folder of its own.
    pub(crate) fn detector(&self, ordinal: usize, port: u16, secret: &Path, signals: &str) -> Process {
        let name = ["detector-0", "detector-1"][ordinal];
        let (url, state) = (self.prometheus_url(), self.folder.join(format!("{name}.state")));
        let settings = format!(
            "role: detector
shard: {{total: 2, ordinal: {ordinal}, secret_file: {}, state_dir: {}}}
prometheus: {{url: '{url}'}}
listen: 127.0.0.1:{port}
tick: 1s
{signals}",
            secret.display(),
            state.display(),
        );
        let file = self.folder.join(format!("{name}.yaml"));
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(support::tars());
        command.env_clear().env("HOME", &self.folder).env("TARS_CONFIG", file).arg("run");
        start(name, &self.folder, &mut command)
    }

    /// The value of a query, as it stands in an address, now.
    pub(crate) fn measure(&self, query: &str) -> Option<f64> {
        let (_, body) = get(self.prometheus, &format!("/api/v1/query?query={query}"))?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.prometheus)
    }

    /// What a verb of tars prints about the repository, as the forge has it now.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        git(&self.mirror, &["fetch", "--quiet", "--prune", &self.source, EVERYTHING]);
        let out = Command::new(support::tars())
            .args(args)
            .args(["-o", "json", "-C"])
            .arg(&self.mirror)
            .env("TARS_CONFIG", self.folder.join("tars-0.yaml"))
            .output()
            .unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_default()
    }

    /// Kinds of the ledger's entries about actions, oldest first.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let answer = self.ask(&["log"]);
        let mut entries = answer.get("items").unwrap_or(&answer).as_array().cloned().unwrap_or_default();
        entries.sort_by_key(|entry| entry["seq"].as_u64());
        let of_actions = entries.iter().filter(|entry| entry["action"].is_string());
        of_actions.filter_map(|entry| entry["kind"].as_str()).map(str::to_owned).collect()
    }

    pub(crate) fn has(&self, kind: &str) -> Option<()> {
        self.kinds().iter().any(|it| it == kind).then_some(())
    }

    /// The records of all actions, open and finished.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.ask(&["get", "remediations", "-A"])["items"].as_array().cloned().unwrap_or_default()
    }

    /// Every pull request of the repository, as the forge shows it.
    pub(crate) fn pulls(&self, cluster: &Cluster) -> Vec<Value> {
        let path = format!("/repos/{ORGANISATION}/{}/pulls?state=all", self.name);
        cluster.gitea.admin("GET", &path, None, 200).as_array().cloned().unwrap_or_default()
    }

    /// Waits for the next step, and says how long that took since `since`, which it moves.
    pub(crate) fn step(&self, what: &str, since: &mut Instant, look: impl FnMut() -> Option<()>) -> String {
        wait_for(&format!("{}: {what}", self.name), WITHIN, look);
        let took = since.elapsed();
        *since = Instant::now();
        format!("{what} {:.1} s", took.as_secs_f64())
    }

    /// What the replicas of tars have logged so far.
    pub(crate) fn log(&self) -> String {
        let of = |name: &str| fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        REPLICAS.iter().take(self.tars.len()).map(|it| of(it)).collect()
    }
}

#[allow(clippy::print_stderr, reason = "what a failed test has to show; the harness shows it only then")]
impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in
                REPLICAS.iter().take(self.tars.len()).chain(&["prometheus", "detector-0", "detector-1"])
            {
                let log = self.folder.join(format!("{name}.log"));
                eprintln!("{}: {}", self.name, super::keeper::end_of_log(name, &log));
            }
            eprintln!("{}: the ledger has {:?}", self.name, self.kinds());
        }
    }
}

/// The account's kubeconfig with `name` as its own namespace, where the account `tars` may hold the Lease.
fn at_home(cluster: &Cluster, name: &str, folder: &Path, kubeconfig: &Path) -> PathBuf {
    let file = folder.join("kubeconfig");
    let text = fs::read_to_string(kubeconfig)
        .unwrap()
        .replace("context: {", &format!("context: {{namespace: {name}, "));
    fs::write(&file, text).unwrap();
    cluster.admin.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: tars, namespace: {name}}}
rules:
{}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: tars, namespace: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tars}}
subjects: [{{kind: User, name: tars, apiGroup: rbac.authorization.k8s.io}}]
",
        support::text("charts/tars/rbac/own.yaml").unwrap(),
    ));
    file
}

/// An account of the forge that may write this one repository, and a key to sign with.
fn credentials(cluster: &Cluster, name: &str, folder: &Path) {
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
    let line = format!("tars@example.com namespaces=\"git\" {public}");
    fs::write(folder.join("allowed_signers"), line).unwrap();
}

/// Starts a program in a folder of its own, its output in `<name>.log`.
fn start(name: &'static str, folder: &Path, command: &mut Command) -> Process {
    let log = File::create(folder.join(format!("{name}.log"))).unwrap();
    let command = command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap());
    Process::of(name, command.stderr(log).spawn().unwrap())
}
