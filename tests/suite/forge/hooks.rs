//! A real Gitea delivers real webhooks to the real `tars run`, which looks again earlier than it would have. What
//! comes of a delivery is read from its metrics.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::{BOT, World, run, world};
use crate::support;
use crate::support::git_http::{END, GitHttp};
use crate::support::gitea::ORGANISATION;
use crate::support::ports::free_port;
use crate::support::program::{git, shell};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// For Gitea to deliver, and for a tick after it.
const PATIENCE: Duration = Duration::from_secs(60);
/// As `src/cli/pace.rs` has it.
const NUDGE_DISTANCE_S: u64 = 5;

/// `tars run`, which ends with its test.
pub(super) struct Running {
    child: Child,
    port: u16,
    home: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keys, a repository with one commit, and settings for this forge; a tick comes every ten minutes.
pub(super) fn prepared(url: &str, name: &str, port: u16, secret_file: bool) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    shell(dir, "ssh-keygen -q -t ed25519 -N '' -f key && sed 's/^/tars@example.com /' key.pub > allowed")
        .ok();
    git(dir, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
    git(dir, &["clone", "-q", "repo.git", "work"]);
    fs::write(dir.join("work/a.yaml"), "a: 1\n").unwrap();
    git(&dir.join("work"), &["add", "-A"]);
    git(&dir.join("work"), &["commit", "-q", "-m", "a"]);
    git(&dir.join("work"), &["push", "-q", "origin", "HEAD:main"]);
    for (file, text) in [("token", super::CANARY), ("hook", SECRET)] {
        fs::write(dir.join(file), text).unwrap();
        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let hook = if secret_file { ", webhook_secret_file: hook" } else { "" };
    let text = format!(
        "repository: {{url: {dir}/repo.git, state_dir: {dir}/state}}\n\
         signing: {{key_file: {dir}/key, allowed_signers_file: {dir}/allowed}}\n\
         prometheus: {{url: 'http://127.0.0.1:9'}}\n\
         webhook: {{enabled: false}}\nlisten: 127.0.0.1:{port}\ntick: 10m\n\
         forge: {{kind: gitea, url: '{url}', repository: {ORGANISATION}/{name}, token_file: token{hook}}}\n",
        dir = dir.display(),
    );
    fs::write(dir.join("tars.yaml"), text).unwrap();
    home
}

impl Running {
    fn start(url: &str, name: &str, secret_file: bool) -> Self {
        let port = free_port();
        Self::of(prepared(url, name, port, secret_file), port)
    }

    /// On what was prepared, or left by one that ended.
    pub(super) fn of(home: TempDir, port: u16) -> Self {
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new(support::tars())
            .args(["run", "--config", "tars.yaml"])
            .current_dir(home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let running = Self { child, port, home };
        running.wait_until("the first tick", |it| it.ticks() >= 1);
        running
    }

    pub(super) fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Ends it, and leaves what it had on disk.
    pub(super) fn end(mut self) -> TempDir {
        std::mem::replace(&mut self.home, tempfile::tempdir().unwrap())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The answer to a request, whole; empty when there is none.
    pub(super) fn ask(&self, request: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    /// A number of the metrics; 0 when it is not there.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let text = self.ask("GET /metrics HTTP/1.0\r\n\r\n");
        let line = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |it| it.trim().parse().unwrap())
    }

    pub(super) fn ticks(&self) -> u64 {
        self.metric("tars_reconcile_duration_seconds_count")
    }

    fn heard(&self, outcome: &str) -> u64 {
        self.metric(&format!("tars_forge_webhooks_total{{outcome=\"{outcome}\"}}"))
    }

    #[track_caller]
    pub(super) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            let log = || fs::read_to_string(self.dir().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "waited in vain for {what}: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A webhook of this repository to that process.
fn hook(world: &World, path: &str, port: u16, secret: &str) {
    let hook = json!({
        "type": "gitea",
        "active": true,
        "events": ["push", "pull_request", "issue_comment", "status", "release"],
        "config": { "url": format!("http://127.0.0.1:{port}/webhook/forge"), "content_type": "json", "secret": secret },
    });
    world.gitea.admin("POST", &format!("{path}/hooks"), Some(&hook), 201);
}

#[test]
fn what_happens_on_a_real_forge_makes_tars_look_again_and_a_flood_does_so_within_its_bound() {
    let test = "what_happens_on_a_real_forge_makes_tars_look_again_and_a_flood_does_so_within_its_bound";
    let Some(world) = world(test) else { return };
    let path = world.gitea.repository("hooked", &[BOT]);
    let running = Running::start(&world.gitea.url, "hooked", true);
    hook(world, &path, running.port, SECRET);
    let started = Instant::now();
    let head = world.gitea.commit(&path, "main", "pushed.yaml", "replicas: 5\n");
    running.wait_until("a tick after the push", |it| it.ticks() >= 2);
    assert!(running.heard("nudged") >= 1);
    for number in 0..40 {
        let status = json!({ "context": format!("ci/{number}"), "state": "success" });
        world.gitea.admin("POST", &format!("{path}/statuses/{head}"), Some(&status), 201);
    }
    running.wait_until("all deliveries", |it| it.heard("nudged") >= 41);
    running.wait_until("the ticks they cause", |it| it.ticks() >= 3);
    let (ticks, elapsed_s) = (running.ticks(), started.elapsed().as_secs());
    // Whatever the forge makes of this token, it was asked.
    let metrics = running.ask("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(metrics.contains("tars_forge_requests_total{forge=\"gitea\",code=\""), "{metrics}");
    // The first tick was before, and one more may begin at either end.
    assert!(ticks <= 3 + elapsed_s / NUDGE_DISTANCE_S, "{ticks} ticks in {elapsed_s} s");
    let log = fs::read_to_string(running.dir().join("log")).unwrap();
    assert!(!log.contains(SECRET) && !log.contains(super::CANARY), "{log}");
}

#[test]
fn a_wrong_secret_another_repository_and_another_event_cause_no_tick() {
    let Some(world) = world("a_wrong_secret_another_repository_and_another_event_cause_no_tick") else {
        return;
    };
    let (own, other) = (world.gitea.repository("quiet", &[BOT]), world.gitea.repository("noisy", &[BOT]));
    let running = Running::start(&world.gitea.url, "quiet", true);
    hook(world, &own, running.port, "another-secret-of-this-length");
    hook(world, &other, running.port, SECRET);
    world.gitea.commit(&own, "main", "pushed.yaml", "replicas: 5\n");
    world.gitea.commit(&other, "main", "pushed.yaml", "replicas: 5\n");
    let release = json!({ "tag_name": "v1", "target_commitish": "main" });
    world.gitea.admin("POST", &format!("{other}/releases"), Some(&release), 201);
    running.wait_until("the three", |it| {
        it.heard("forged") >= 1 && it.heard("other_repository") >= 1 && it.heard("ignored") >= 1
    });
    assert_eq!((running.heard("nudged"), running.ticks()), (0, 1));
}

#[test]
fn a_test_delivery_says_what_the_running_tars_made_of_it() {
    let running = Running::start("http://127.0.0.1:9", "gitops", true);
    let test = |dir: &Path, more: &[&str]| run(dir, &[&["forge", "webhook-test"][..], more].concat());
    let said = test(running.dir(), &[]);
    assert!(said.code == 0 && said.out.contains("heard the ping"), "{said:?}");
    assert_eq!((running.heard("ping"), running.ticks()), (1, 1));
    // Each is another one.
    assert_eq!(test(running.dir(), &["-o", "json"]).json()["items"][0]["verdict"], "pass");
    let to = format!("http://127.0.0.1:{}/webhook/forge", running.port);
    for (change, code, words) in [
        (("hook", "another-secret-of-this-length"), 4, "has another secret"),
        (("shop/gitops", "shop/other"), 1, "another repository"),
    ] {
        let home = prepared("http://127.0.0.1:9", "gitops", running.port, true);
        let file = if change.0 == "hook" { "hook" } else { "tars.yaml" };
        let text = fs::read_to_string(home.path().join(file)).unwrap();
        let text = if file == "hook" { change.1.to_owned() } else { text.replace(change.0, change.1) };
        fs::write(home.path().join(file), text).unwrap();
        let said = test(home.path(), &["--to", &to]);
        let told = format!("{}{}", said.out, said.err);
        assert!(said.code == code && told.contains(words), "{said:?}");
        assert!(!told.contains("another-secret-of"), "{told}");
    }
    let without = Running::start("http://127.0.0.1:9", "gitops", false);
    let home = prepared("http://127.0.0.1:9", "gitops", without.port, true);
    let said = test(home.path(), &[]);
    assert!(said.code == 1 && said.out.contains("takes no webhooks"), "{said:?}");
    assert!(said.out.contains("forge.webhook_secret_file"), "{said:?}");
    let said = test(without.dir(), &[]);
    assert!(said.code == 2 && said.err.contains("forge.webhook_secret_file"), "{said:?}");
    let authority = prepared("http://127.0.0.1:9", "gitops", running.port, true);
    let file = authority.path().join("tars.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("token_file", "ca_file: hook, token_file");
    fs::write(&file, text).unwrap();
    let said = test(authority.path(), &[]);
    assert!(said.code != 0 && said.err.contains("the HTTP client"), "no certificate: {said:?}");
    drop(running);
    let nobody = prepared("http://127.0.0.1:9", "gitops", free_port(), true);
    let said = test(nobody.path(), &[]);
    assert!(said.code == 3 && said.err.contains("is tars running"), "{said:?}");
    let other = GitHttp::start(|_, stream| drop(write!(stream, "HTTP/1.1 200 OK\r\n{END}")));
    let said = test(nobody.path(), &["--to", &format!("{}/webhook/forge", other.origin)]);
    assert!(said.code == 1 && said.out.contains("is not tars"), "{said:?}");
}

#[test]
fn a_secret_that_is_short_or_readable_by_others_is_refused_before_anything_listens() {
    let home = prepared("http://127.0.0.1:9", "gitops", free_port(), true);
    let file = home.path().join("hook");
    fs::write(&file, "short").unwrap();
    let said = run(home.path(), &["run"]);
    assert!(
        said.code == 2 && said.err.contains("fewer than 16") && !said.err.contains("short\n"),
        "{said:?}"
    );
    fs::write(&file, "").unwrap();
    let said = run(home.path(), &["run"]);
    assert!(said.code == 2 && said.err.contains("the secret is empty"), "{said:?}");
    fs::write(&file, SECRET).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(home.path(), &["run"]);
    assert!(said.code == 2 && said.err.contains("others can read") && !said.err.contains(SECRET), "{said:?}");
}
