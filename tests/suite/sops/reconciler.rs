//! `tars run` on a repository with SOPS files, and the real sops as the judge of what it proposes: which lines
//! differ, that the MAC holds, who is refused, and that neither plaintext nor an identity is to be found anywhere
//! that tars writes, however much it logs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::world::World;
use crate::support;
use crate::support::metric_stub::MetricStub;
use crate::support::ports::free_port;
use crate::support::program::{Said, git, git_with, shell};

const QUERY: &str = "slow";
/// A plaintext that nobody would write by chance.
const CANARY: &str = "canary-7d1e-plaintext";
const FILE: &str = "apps/backend.yaml";

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n    name: backend\n    namespace: shop\nspec:\n    \
    replicas: 3\n    selector:\n        matchLabels:\n            app: backend\n    template:\n        metadata:\n            \
    labels:\n                app: backend\n        spec:\n            containers:\n                - name: app\n                  \
    image: r.example/app:1\n                  env:\n                    - name: TOKEN\n                      value: \
    canary-7d1e-plaintext\n";

const POLICY: &str = "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata:\n  name: backend\n  namespace: \
    shop\nspec:\n  mode: Propose\n  triggers:\n    - {type: anomaly, signal: latency_p95, service: shop}\n  actions:\n    - \
    type: ScaleOut\n      scaleOut: {step: 2, maxReplicas: 10}\n  allowedResources: [{kind: Deployment, name: \
    backend}]\n  verify: {signal: latency_p95, service: shop, below: 250, window: 10m, within: 1h}\n";

/// A repository with one SOPS-encrypted workload, its policy, keys, settings, and a signal that is slow.
struct Watched {
    home: PathBuf,
    world: World,
    metrics: MetricStub,
    /// The encrypted file.
    file: &'static str,
    /// Folder of more programs, before the others.
    programs: String,
}

impl Watched {
    /// `rule` are lines of the creation rule.
    fn new(test: &str, rule: &str, plain: &str) -> Option<Self> {
        Self::of(test, rule, (FILE, plain), &[])
    }

    fn of(
        test: &str,
        rule: &str,
        (file, plain): (&'static str, &str),
        more: &[(&str, &str)],
    ) -> Option<Self> {
        let world = World::new(test)?;
        let home = world.folder("home", rule);
        let policy = [("policies/backend.yaml", POLICY)];
        for (path, text) in more.iter().chain(&policy).chain(&[(file, plain)]) {
            let path = home.join("clone").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        world.sops_encrypt(&home, &format!("clone/{file}"), plain);
        let watched = Self { home, world, metrics: MetricStub::start(), file, programs: String::new() };
        let clone = watched.home.join("clone");
        git(&clone, &["init", "-q", "-b", "main"]);
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-q", "-m", "Somebody's work"]);
        git(&watched.home, &["clone", "-q", "--bare", "clone", "repo.git"]);
        let key = watched.home.join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let public = std::fs::read_to_string(watched.home.join("key.pub")).unwrap();
        let line = format!("tars@example.com namespaces=\"git\" {public}");
        std::fs::write(watched.home.join("allowed"), line).unwrap();
        std::fs::write(watched.home.join("age.txt"), identity()).unwrap();
        watched.mode(0o600);
        watched.metrics.surge(QUERY);
        Some(watched)
    }

    fn mode(&self, bits: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(bits);
        std::fs::set_permissions(self.home.join("age.txt"), mode).unwrap();
    }

    /// `sops` is that block of the settings.
    fn settings(&self, sops: &str, port: u16) {
        let home = self.home.display();
        let text = format!(
            "repository: {{url: {home}/repo.git, state_dir: {home}/state}}\nsigning: {{key_file: {home}/key, \
             allowed_signers_file: {home}/allowed}}\nprometheus: {{url: \"{}\"}}\nsignals:\n  - {{signal: latency_p95, \
             service: shop, query: {QUERY}, period: 1h}}\nsync: {{kind: fixedWait, wait: 1h, timeout: 2h}}\nwebhook: \
             {{enabled: false}}\nlisten: 127.0.0.1:{port}\n{sops}",
            self.metrics.url,
        );
        std::fs::write(self.home.join("tars.yaml"), text).unwrap();
    }

    /// The settings with the identity of the first recipient.
    fn with_identity(&self, recipients: &[usize]) {
        let all: Vec<String> = recipients.iter().map(|at| self.world.recipient(*at)).collect();
        let keys = format!("age_key_files: [{}/age.txt]", self.home.display());
        self.settings(&format!("sops: {{{keys}, recipients: [{}]}}\n", all.join(", ")), 0);
    }

    fn tick(&self) -> Said {
        let run = "exec tars run --once -vv --log-format json --config tars.yaml";
        shell(&self.home, &format!("export PATH={}:$PATH; {run}", self.programs))
    }

    fn proposals(&self) -> Vec<String> {
        let all =
            git(&self.repo(), &["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/tars/backend"]);
        all.lines().map(str::to_owned).collect()
    }

    fn repo(&self) -> PathBuf {
        self.home.join("repo.git")
    }

    /// The proposed file, decrypted by sops, which verifies its MAC.
    #[track_caller]
    fn decrypted(&self) -> String {
        let proposals = self.proposals();
        let [branch] = &proposals[..] else { panic!("one proposal, not {proposals:?}") };
        let text = git(&self.repo(), &["show", &format!("{branch}:{}", self.file)]);
        std::fs::write(self.home.join("proposed.yaml"), format!("{text}\n")).unwrap();
        self.world.sops(&self.home, &["-d", "proposed.yaml"]).ok()
    }

    #[track_caller]
    fn nothing_is_proposed(&self, reason: &str, words: &str) {
        let said = self.tick();
        assert_eq!(said.code, 0, "{said:#?}");
        assert_eq!(self.proposals(), [""; 0], "{said:#?}");
        let held = said.err.lines().find(|line| line.contains("\"held\"") && line.contains(reason));
        assert!(held.is_some_and(|line| line.contains(words)), "{reason} {words}: {said:#?}");
    }
}

/// The first test identity.
fn identity() -> String {
    let keys = std::fs::read_to_string(support::root().join("tests/fixtures/sops/keys.txt")).unwrap();
    keys.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap().to_owned() + "\n"
}

fn rule(world: &str, regex: &str) -> String {
    format!("  - encrypted_regex: {regex}\n    age: {world}\n")
}

/// Recipients of the test identities, before there is a world.
fn recipient(at: usize) -> String {
    let keys = std::fs::read_to_string(support::root().join("tests/fixtures/sops/keys.txt")).unwrap();
    keys.lines().filter_map(|it| it.strip_prefix("# public key: ")).nth(at).unwrap().to_owned()
}

#[test]
fn a_proposal_changes_a_workload_whose_mac_covers_it_and_sops_agrees() {
    let test = "a_proposal_changes_a_workload_whose_mac_covers_it_and_sops_agrees";
    let Some(it) = Watched::new(test, &rule(&recipient(0), "^(value)$"), DEPLOYMENT) else { return };
    it.with_identity(&[0]);
    assert_eq!(it.tick().code, 0);
    let decrypted = it.decrypted();
    assert_eq!(decrypted, DEPLOYMENT.replace("replicas: 3", "replicas: 5"));
    let branch = &it.proposals()[0];
    let stat = git(&it.repo(), &["diff", "--numstat", "main", branch]);
    // The time is to the second: it may be that of the file.
    assert!(["3\t3", "2\t2"].iter().any(|lines| stat == format!("{lines}\t{FILE}")), "{stat}");
    let diff = git(&it.repo(), &["diff", "-U0", "main", branch]);
    let lines = diff.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++"));
    let known = |line: &str| ["replicas: 5", "lastmodified:", "mac:"].iter().any(|it| line.contains(it));
    assert!(lines.clone().all(known), "{diff}");
    let shown = shell(&it.home, "tars get proposals -C repo.git -o yaml").ok();
    assert!(shown.contains("replicas"), "{shown}");
}

#[test]
fn a_restart_adds_its_annotation_to_an_encrypted_file_and_sops_agrees() {
    let test = "a_restart_adds_its_annotation_to_an_encrypted_file_and_sops_agrees";
    // What is under `annotations` is encrypted as well: the new key is, too.
    for regex in ["^(value)$", "^(annotations|value)$"] {
        let Some(it) = Watched::new(test, &rule(&recipient(0), regex), DEPLOYMENT) else { return };
        it.with_identity(&[0]);
        let restart = "tars render RestartPod -C repo.git --config tars.yaml --target shop/Deployment/backend --set \
                       maxPods=3 -o json";
        let said = shell(&it.home, restart);
        assert_eq!(said.code, 0, "{said:#?}");
        let diff = said.json()["diff"].as_str().unwrap().to_owned();
        let clone = it.home.join("clone");
        git_with(&clone, &["apply", "-"], &[], diff.as_bytes());
        let decrypted = it.world.sops(&it.home, &["-d", &format!("clone/{FILE}")]).ok();
        let new: Vec<&str> =
            decrypted.lines().filter(|line| !DEPLOYMENT.lines().any(|it| it == *line)).collect();
        let [parent, annotation] = new[..] else { panic!("{decrypted}") };
        assert_eq!(parent.trim(), "annotations:");
        let time =
            annotation.trim().strip_prefix("kubectl.kubernetes.io/restartedAt: ").unwrap().trim_matches('"');
        assert!(time.starts_with("20") && time.ends_with('Z'), "{annotation}");
        let line = diff.lines().find(|line| line.contains("restartedAt")).unwrap();
        assert_eq!(line.contains("ENC["), regex != "^(value)$", "{diff}");
        assert!(!diff.contains(CANARY), "{diff}");
    }
}

#[test]
fn an_encrypted_count_is_changed_and_never_shown_as_a_value() {
    let test = "an_encrypted_count_is_changed_and_never_shown_as_a_value";
    let Some(it) = Watched::new(test, &rule(&recipient(0), "^(replicas|value)$"), DEPLOYMENT) else { return };
    it.with_identity(&[0]);
    let said = it.tick();
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(it.decrypted(), DEPLOYMENT.replace("replicas: 3", "replicas: 5"));
    let entry = git(&it.repo(), &["log", "-p", "--format=%B", "tars/ledger"]);
    assert!(entry.contains("encrypted value changed") && !entry.contains("replicas: 5"), "{entry}");
}

const VALUES: &str = "pods: 3\nreplicaCount: 3\ntoken: canary-7d1e-plaintext\nsomething:\n    else: 3\n";

#[test]
fn an_encrypted_count_in_values_of_a_chart_is_found_by_rendering_and_changed() {
    let test = "an_encrypted_count_in_values_of_a_chart_is_found_by_rendering_and_changed";
    let Some(helm) = support::parts::find("helm", test) else { return };
    let template = DEPLOYMENT.replace("replicas: 3", "replicas: {{ .Values.replicaCount }}");
    let template = template.replace(CANARY, "{{ .Values.token }}").replace("    namespace: shop\n", "");
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: backend, namespace: \
                       argocd}\nspec:\n  source: {repoURL: 'https://git.example.com/a/b', path: chart, targetRevision: \
                       main, helm: {valueFiles: [values.sops.yaml]}}\n  destination: {namespace: shop}\n";
    let chart = [
        ("chart/Chart.yaml", "apiVersion: v2\nname: backend\nversion: 0.1.0\n"),
        ("chart/values.yaml", "replicaCount: 1\ntoken: none\n"),
        ("chart/templates/deployment.yaml", &template),
        ("argocd/backend.yaml", application),
    ];
    let rule = format!("  - age: {}\n", recipient(0));
    let Some(mut it) = Watched::of(test, &rule, ("chart/values.sops.yaml", VALUES), &chart) else { return };
    it.programs = helm.parent().unwrap().display().to_string();
    it.settings("", 0);
    let said = it.tick();
    assert!(said.code == 0 && it.proposals().is_empty(), "{said:#?}");
    it.with_identity(&[0]);
    let said = it.tick();
    assert_eq!((said.code, it.proposals().len()), (0, 1), "{said:#?}");
    assert_eq!(it.decrypted(), VALUES.replace("replicaCount: 3", "replicaCount: 5"), "{said:#?}");
    assert!(!said.err.contains(CANARY) && !objects(&it.repo()).contains(CANARY));
}

#[test]
fn without_leave_nothing_is_written_and_the_reason_is_told() {
    let test = "without_leave_nothing_is_written_and_the_reason_is_told";
    let both = format!("{},{}", recipient(0), recipient(1));
    let Some(it) = Watched::new(test, &rule(&both, "^(value)$"), DEPLOYMENT) else { return };
    it.settings("", 0);
    it.nothing_is_proposed("EditRefused", "mac_only_encrypted is not set");
    it.with_identity(&[0]);
    it.nothing_is_proposed("UnexpectedRecipients", &recipient(1));
    it.with_identity(&[0, 1, 2]);
    it.nothing_is_proposed("UnexpectedRecipients", &recipient(2));
    let meaning = shell(&it.home, "tars explain UnexpectedRecipients").ok();
    assert!(meaning.contains("Who can read the encrypted file"), "{meaning}");

    it.mode(0o640);
    it.with_identity(&[0, 1]);
    let said = it.tick();
    assert!(said.code == 2 && said.err.contains("others can read the age key file"), "{said:#?}");
    it.mode(0o600);
    let forged = it.home.join("clone").join(FILE);
    let text = std::fs::read_to_string(&forged).unwrap();
    std::fs::write(&forged, text.replace("app:1", "app:6")).unwrap();
    let clone = it.home.join("clone");
    git(&clone, &["commit", "-qam", "Forged"]);
    git(&clone, &["push", "-q", "../repo.git", "main"]);
    it.nothing_is_proposed("EditRefused", "the MAC does not match");
}

#[test]
fn what_the_identities_are_is_checked_without_showing_one() {
    let test = "what_the_identities_are_is_checked_without_showing_one";
    let Some(it) = Watched::new(test, &rule(&recipient(0), "^(value)$"), DEPLOYMENT) else { return };
    let line = || {
        let said = shell(&it.home, "tars check --config tars.yaml -o json");
        assert!(!said.out.contains(identity().trim()) && !said.err.contains(identity().trim()), "{said:?}");
        let lines = said.json();
        lines["items"].as_array().unwrap().iter().find(|it| it["check"] == "sops").unwrap().clone()
    };
    it.with_identity(&[0]);
    assert_eq!(line()["verdict"], "pass");
    assert!(line()["detail"].as_str().unwrap().contains(&recipient(0)), "{}", line());
    it.with_identity(&[1]);
    assert_eq!(line()["verdict"], "fail", "an identity that is not expected");
    it.with_identity(&[0]);
    std::fs::write(it.home.join("age.txt"), "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").unwrap();
    assert_eq!(line()["verdict"], "fail");
    assert!(line()["detail"].as_str().unwrap().contains("an SSH key"), "{}", line());
    it.settings("sops: {recipients: [age1yubikey1qqqq]}\n", 0);
    assert_eq!(line()["verdict"], "fail");
}

#[test]
fn neither_plaintext_nor_an_identity_is_anywhere_that_tars_writes() {
    let test = "neither_plaintext_nor_an_identity_is_anywhere_that_tars_writes";
    let Some(it) = Watched::new(test, &rule(&recipient(0), "^(replicas|value)$"), DEPLOYMENT) else { return };
    it.with_identity(&[0]);
    let secret = identity();
    let mut written: Vec<(String, String)> = Vec::new();
    let mut say = |what: &str, said: Said| written.push((what.to_owned(), said.out + &said.err));
    say("tick", it.tick());
    assert!(it.decrypted().contains(CANARY), "sops sees it");
    for line in [
        "tars tree -C repo.git --config tars.yaml shop/Deployment/backend -o json",
        "tars tree -C repo.git --config tars.yaml shop/Deployment/backend",
        "tars tree -C repo.git shop/Deployment/backend",
        "tars render ScaleOut -C repo.git --config tars.yaml --target shop/Deployment/backend --what all",
        "tars render Rollback -C repo.git --config tars.yaml --target shop/Deployment/backend --set podTemplate=true",
        "tars render RestartPod -C repo.git --config tars.yaml --target shop/Deployment/backend --set maxPods=3",
        "tars diff -C repo.git --config tars.yaml -o yaml",
        "tars get proposals -C repo.git -o yaml",
        "tars get remediations -C repo.git -o json",
        "tars explain -C repo.git backend",
        "tars log -C repo.git",
        "tars check --config tars.yaml",
        "RUST_BACKTRACE=full tars check --config tars.yaml -o yaml",
    ] {
        say(line, shell(&it.home, line));
    }
    say("git", Said { code: 0, out: objects(&it.repo()), err: String::new() });
    // A file whose MAC does not hold, one that no identity opens, and a key file that is none.
    let clone = it.home.join("clone");
    let text = std::fs::read_to_string(clone.join(FILE)).unwrap();
    // So many files that what is known of them is kept on disk.
    std::fs::create_dir(clone.join("many")).unwrap();
    for number in 0..2_100 {
        std::fs::write(clone.join(format!("many/{number}.yaml")), format!("a: {number}\n")).unwrap();
    }
    git(&clone, &["add", "."]);
    git(&clone, &["commit", "-qm", "Add many files"]);
    git(&clone, &["push", "-q", "../repo.git", "main"]);
    say("many", it.tick());
    for broken in
        [text.replace("app:1", "app:6"), text.replace("value: ENC[", "value: ENC[x"), text.clone() + "x"]
    {
        std::fs::write(clone.join(FILE), broken).unwrap();
        git(&clone, &["commit", "-qam", "Break it"]);
        git(&clone, &["push", "-q", "../repo.git", "main"]);
        say("broken", it.tick());
    }
    say("metrics", it.metrics_page());
    std::fs::write(it.home.join("age.txt"), format!("{}X\n", secret.trim())).unwrap();
    it.mode(0o600);
    say("bad key", it.tick());
    let mut state = Vec::new();
    everything(&it.home.join("state"), &mut state);
    assert!(
        state.iter().any(|(name, _)| name.ends_with("index.facts")),
        "the state was looked at: {:?}",
        state.iter().map(|it| &it.0).collect::<Vec<_>>()
    );
    written.extend(state);
    // Eight letters from the middle identify the key as well as all of them.
    let core = &secret[30..48];
    for (what, text) in &written {
        let hit = [CANARY, core].into_iter().find(|it| text.contains(it));
        assert_eq!(hit, None, "{what}: {text}");
    }
    let ticked = &written[0].1;
    assert!(ticked.contains("\"level\":\"TRACE\"") || ticked.lines().count() > 3, "{ticked}");
}

/// Every object of a repository as text.
fn objects(repo: &Path) -> String {
    let list = git(repo, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"]);
    let mut all = String::new();
    for line in list.lines().filter(|line| !line.ends_with(" tree")) {
        let (id, kind) = line.split_once(' ').unwrap();
        all += &git(repo, &["cat-file", kind, id]);
    }
    all
}

/// Names and contents of all files below a folder.
fn everything(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything(&path, found);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

impl Watched {
    /// `/metrics` after the first tick of a running process, and everything that process said.
    fn metrics_page(&self) -> Said {
        let port = free_port();
        let settings = std::fs::read_to_string(self.home.join("tars.yaml")).unwrap();
        let settings = settings.replace("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:{port}"));
        std::fs::write(self.home.join("served.yaml"), settings).unwrap();
        let mut process = Command::new("timeout")
            .args(["--kill-after=5", "60"])
            .arg(support::tars())
            .args(["run", "-vv", "--config", "served.yaml"])
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.home.join("served.log")).unwrap())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let page = loop {
            let page = get(port, "/metrics").unwrap_or_default();
            let ticked = |line: &str| {
                line.starts_with("tars_reconcile_duration_seconds_count") && !line.ends_with(" 0")
            };
            if page.lines().any(ticked) || started.elapsed() > Duration::from_secs(40) {
                break page;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let stopped = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
        assert!(stopped.success() && process.wait().is_ok());
        assert!(page.contains("tars_"), "{page}");
        let log = std::fs::read_to_string(self.home.join("served.log")).unwrap();
        Said { code: 0, out: page, err: log }
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}
