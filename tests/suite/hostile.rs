//! Hostile repositories, remotes and settings against the real program: each threat with its input. Asserted
//! every time: refused with the cause named, nothing pushed, the other target still served (or, where the
//! whole repository is refused, served again once it is mended), within bounds of time and memory.
//!
//! | threat | where |
//! |---|---|
//! | A1 path traversal, A2 links, A3 submodules, B5 to B8 YAML and protected places | [`content`] |
//! | A3 hooks and modules that want to run, A4 forms of `.git`, A7 commits read two ways, A12 bombs | [`arrival`] |
//! | A5 arguments, A6 look-alike references, A8 control characters, A10 a token without its host | [`names`] |
//! | A9 redirects, A12 slow and endless servers, G6 tokens; smart HTTP as it should be | [`http`] |
//! | A11 collisions of SHA-1 | [`collisions`] |
//! | A13 escapes in texts of strangers | [`texts`] |
//! | B9 numbers | [`content`] for manifests, [`policies`] for policies and settings |
//!
//! The units beside `src/outside/git/` hold each rule on its own.

mod arrival;
mod collisions;
mod content;
mod http;
mod names;
mod policies;
mod texts;
mod tree;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support;
use crate::support::metric_stub::MetricStub;
use crate::support::program::{Said, git, git_with, tars};
use tree::Tree;

/// The query of the one signal, whose anomaly triggers every policy.
const QUERY: &str = "slow";
/// What tars may use, address space in KiB: children included, each for itself.
const MEMORY_KIB_MAX: u64 = 3 * 1024 * 1024;

fn deployment(name: &str, replicas: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  replicas: \
         {replicas}\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: \
         {{app: {name}}}\n    spec:\n      containers:\n        - name: app\n          image: r.example/app:1\n"
    )
}

/// A policy that scales `resource` as soon as the signal is odd; `extra` are more lines of its `spec`.
fn policy(name: &str, resource: &str, extra: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata:\n  name: {name}\n  namespace: shop\n\
         spec:\n  mode: Propose\n  triggers:\n    - {{type: anomaly, signal: latency_p95, service: shop}}\n  actions:\n    - type: \
         ScaleOut\n      scaleOut: {{step: 2, maxReplicas: 10}}\n  allowedResources: [{resource}]\n  verify: \
         {{signal: latency_p95, service: shop, below: 250, window: 10m, within: 1h}}\n{extra}"
    )
}

/// Eleven lists of ten aliases each: a hundred thousand million values, in half a kilobyte.
fn aliases() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    text
}

/// A tree with one honest target and its policy.
fn honest() -> Tree {
    let mut tree = Tree::default();
    tree.file("apps/good.yaml", deployment("good", "3 # three"));
    tree.file("policies/good.yaml", policy("good", "Deployment/good", ""));
    tree
}

/// A bare repository, keys, settings, and metrics that say that all is slow.
struct World {
    folder: TempDir,
    metrics: MetricStub,
}

/// What one `tars run --once` said.
struct Tick {
    said: Said,
    /// The log, line by line.
    lines: Vec<serde_json::Value>,
}

impl World {
    fn new(tree: &Tree) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder, metrics: MetricStub::start() };
        let home = world.home();
        git(home, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(home.join("key"))
            .status()
            .unwrap();
        assert!(made.success());
        let public = std::fs::read_to_string(home.join("key.pub")).unwrap();
        std::fs::write(home.join("allowed"), format!("tars@example.com namespaces=\"git\" {public}"))
            .unwrap();
        world.settings(&world.repo().display().to_string(), "");
        world.metrics.surge(QUERY);
        world.main(tree);
        world
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    fn repo(&self) -> PathBuf {
        self.home().join("repo.git")
    }

    /// `repository` are more lines of that block.
    fn settings(&self, url: &str, repository: &str) {
        let home = self.home().display();
        let text = format!(
            "repository:\n  url: \"{url}\"\n  state_dir: {home}/state\n{repository}signing: {{key_file: \
             {home}/key, allowed_signers_file: {home}/allowed}}\nprometheus: {{url: \"{}\"}}\nsignals:\n  - \
             {{signal: latency_p95, service: shop, query: {QUERY}, period: 1h}}\nsync: {{kind: fixedWait, wait: 1h, \
             timeout: 2h}}\nwebhook: {{enabled: false}}\nlimits: \
             {{max_open_proposals: 1000}}\n",
            self.metrics.url,
        );
        std::fs::write(self.home().join("tars.yaml"), text).unwrap();
    }

    /// Puts a commit of `tree` on main; its id.
    fn main(&self, tree: &Tree) -> String {
        let tree = tree.write(&self.repo());
        let commit = git_with(&self.repo(), &["commit-tree", &tree, "-F", "-"], &[], b"Somebody's work\n");
        git(&self.repo(), &["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// Every reference and where it stands.
    fn refs(&self) -> String {
        git(&self.repo(), &["for-each-ref", "--format=%(refname) %(objectname)"])
    }

    /// Branches of proposals, without `refs/heads/`.
    fn proposals(&self) -> Vec<String> {
        let all = git(&self.repo(), &["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/tars"]);
        all.lines().filter(|it| *it != "tars/ledger").map(str::to_owned).collect()
    }

    fn run(&self) -> Tick {
        let script = format!(
            "ulimit -v {MEMORY_KIB_MAX} && exec tars run --once --log-format json --config tars.yaml"
        );
        let said = support::program::shell(self.home(), &script);
        let json = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let log = said.err.lines().take_while(|line| !line.starts_with("error: "));
        Tick { lines: log.map(json).collect(), said }
    }

    fn check(&self) -> Said {
        tars(self.home(), &["check", "--config", "tars.yaml", "-o", "json"])
    }

    /// The honest target is served by a tick that has nothing to complain about.
    #[track_caller]
    fn serves_the_honest_target(&self) {
        let tick = self.run();
        assert_eq!(tick.said.code, 0, "{:#?}", tick.said);
        assert_eq!(self.proposals().len(), 1, "{:#?}", tick.said);
        assert!(self.proposals()[0].starts_with("tars/good/"), "{:?}", self.proposals());
    }

    /// The whole repository is refused for a reason that holds one of `words`, and nothing is pushed; after
    /// a person has put `honest()` back, the honest target is served.
    #[track_caller]
    fn is_refused_as_a_whole(&self, what: &str, words: &[&str]) {
        let before = self.refs();
        let tick = self.run();
        assert_ne!(tick.said.code, 0, "{what}: {:#?}", tick.said);
        assert!(words.iter().any(|it| tick.said.err.contains(it)), "{what}: {:#?}", tick.said);
        assert_eq!(self.refs(), before, "{what}: nothing may be pushed");
    }
}

impl Tick {
    /// Reasons why `policy` did nothing: code and text.
    fn held(&self, policy: &str) -> Vec<String> {
        let ours = self.lines.iter().filter(|it| it["message"] == "held" && it["policy"] == policy);
        ours.map(|it| {
            format!("{}: {}", it["reason"].as_str().unwrap_or(""), it["text"].as_str().unwrap_or(""))
        })
        .collect()
    }
}
