//! The world of the race: a repository of many policies over many targets, keys, and the alerts that meet them.
//! A folder and a seed come in, files on disk and a list of alerts go out. Never: a network, a real home folder.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(super) const POLICIES: usize = 20;
pub(super) const TARGETS: usize = 10;
pub(super) const PER_POLICY: usize = 2;
pub(super) const GLOBAL: usize = 30;
pub(super) const COOLDOWN_S: u32 = 900;
pub(super) const SECRET: &str = "race-webhook-token-0123456789abcdef";

/// xorshift64*: small, seeded, the same everywhere.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % end
    }
}

/// One incident: a policy, a target of it, and which of its two alerts says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Incident {
    pub(super) policy: usize,
    pub(super) target: usize,
    pub(super) second: bool,
}

impl Incident {
    pub(super) fn policy_name(self) -> String {
        format!("race-{:02}", self.policy)
    }

    pub(super) fn workload(self) -> String {
        format!("app-{:02}-{:02}", self.policy, self.target)
    }

    pub(super) fn target_ref(self) -> String {
        format!("production/Deployment/{}", self.workload())
    }

    fn alertname(self) -> String {
        format!("Race{:02}{}", self.policy, if self.second { "Queue" } else { "Slow" })
    }

    pub(super) fn cause(self) -> String {
        format!("webhook {}{{}}", self.alertname())
    }

    pub(super) fn fingerprint(self) -> String {
        format!("ace{:012x}{}", self.policy * 1000 + self.target, u8::from(self.second))
    }

    pub(super) fn alert(self, starts_at: &str) -> serde_json::Value {
        serde_json::json!({
            "status": "firing",
            "labels": {"alertname": self.alertname(), "namespace": "production", "deployment": self.workload()},
            "annotations": {},
            "startsAt": starts_at,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": self.fingerprint(),
        })
    }
}

/// `each` incidents for every process, drawn from a pool small enough that most go to several of them, and
/// with two causes for one target in every fourth case.
pub(super) fn draw(dice: &mut Dice, processes: usize, each: usize) -> Vec<Vec<Incident>> {
    let wanted = (processes * each / 5).max(each).min(POLICIES * TARGETS);
    let mut pool = BTreeSet::new();
    while pool.len() < wanted {
        let incident = Incident { policy: dice.below(POLICIES), target: dice.below(TARGETS), second: false };
        pool.insert(incident);
        if dice.below(4) == 0 {
            pool.insert(Incident { second: true, ..incident });
        }
    }
    let pool: Vec<_> = pool.into_iter().collect();
    let mut hand = || {
        let mut left = pool.clone();
        (0..each.min(left.len())).map(|_| left.swap_remove(dice.below(left.len()))).collect()
    };
    (0..processes).map(|_| hand()).collect()
}

/// Where everything of one round lies.
#[derive(Debug)]
pub(super) struct World {
    pub(super) folder: PathBuf,
    pub(super) repository: PathBuf,
    pub(super) allowed_signers: PathBuf,
}

fn deployment(name: &str) -> String {
    format!(
        "# {name}: sized by hand\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  \
         namespace: production\nspec:\n  replicas: 2   # raised by tars under load\n  selector:\n    \
         matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    \
         spec:\n      containers:\n        - name: app\n          image: registry.example.com/app:1.0.0\n"
    )
}

fn policy(number: usize) -> String {
    let some = |target, second| Incident { policy: number, target, second };
    let mut text = format!(
        "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata:\n  name: {}\n  namespace: production\n\
         spec:\n  mode: AutoMerge\n  triggers:\n    - {{type: webhook, alertname: {}}}\n    - {{type: webhook, \
         alertname: {}}}\n  actions:\n    - type: ScaleOut\n      scaleOut: {{step: 1, maxReplicas: 10}}\n  \
         cooldownSeconds: {COOLDOWN_S}\n  maxExecutionsPerHour: {PER_POLICY}\n  verify: {{signal: latency_p95, \
         service: backend, below: 250, window: 10m, within: 1h}}\n  allowedResources:\n",
        some(0, false).policy_name(),
        some(0, false).alertname(),
        some(0, true).alertname(),
    );
    for target in 0..TARGETS {
        let _ = writeln!(text, "    - {{kind: Deployment, name: {}}}", some(target, false).workload());
    }
    text
}

/// A program with nothing of the caller's surroundings but the search path.
pub(super) fn clean(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

pub(super) fn run(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

impl World {
    /// Writes the repository and the keys below `folder`.
    pub(super) fn make(folder: &Path) -> Self {
        let world = Self {
            folder: folder.to_owned(),
            repository: folder.join("gitops.git"),
            allowed_signers: folder.join("allowed_signers"),
        };
        let tree = folder.join("tree");
        for part in ["apps", "policies"] {
            fs::create_dir_all(tree.join(part)).unwrap();
        }
        for number in 0..POLICIES {
            fs::write(tree.join(format!("policies/race-{number:02}.yaml")), policy(number)).unwrap();
            for target in 0..TARGETS {
                let name = Incident { policy: number, target, second: false }.workload();
                fs::write(tree.join(format!("apps/{name}.yaml")), deployment(&name)).unwrap();
            }
        }
        let git = |args: &[&str]| run(clean("git", folder).current_dir(&tree).args(args));
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "."]);
        git(&[
            "-c",
            "user.name=shop",
            "-c",
            "user.email=shop@example.com",
            "commit",
            "--quiet",
            "-m",
            "Start",
        ]);
        git(&["clone", "--quiet", "--bare", ".", world.repository.to_str().unwrap()]);
        run(clean("git", folder).current_dir(&world.repository).args(["config", "gc.auto", "0"]));
        let key = folder.join("signing-key");
        run(clean("ssh-keygen", folder)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "tars", "-f"])
            .arg(&key));
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(&world.allowed_signers, format!("tars@example.com {public}")).unwrap();
        fs::write(folder.join("webhook-secret"), SECRET).unwrap();
        world
    }

    /// Settings of the process called `name`.
    pub(super) fn settings(&self, name: &str) -> PathBuf {
        let file = self.folder.join(format!("{name}.yaml"));
        let at = |part: &str| self.folder.join(part).display().to_string();
        let text = format!(
            "repository: {{url: {}, repo_id: race, state_dir: {}, timeout_s: 60}}\ninstance: {name}\n\
             signing: {{key_file: {}, allowed_signers_file: {}, name: tars, email: tars@example.com}}\n\
             prometheus: {{url: 'http://127.0.0.1:1', timeout_s: 1}}\ntick: 1s\n\
             limits: {{max_executions_per_hour: {GLOBAL}, max_open_proposals: 1000}}\n\
             sync: {{kind: fixedWait, wait: 2s}}\nwebhook: {{secret_file: {}}}\n",
            self.repository.display(),
            at(name),
            at("signing-key"),
            at("allowed_signers"),
            at("webhook-secret"),
        );
        fs::write(&file, text).unwrap();
        file
    }
}
