//! A folder with keys, a repository and settings, in which `tars run` and the programs around it run until the test ends.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::live::process::{self, Process, wait_for};
use crate::support;
use crate::support::ports::free_port;
use crate::support::program::{git, shell, tars};

/// Programs get this long to answer for the first time, and samples to arrive; a busy machine is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// What senders present.
pub(super) const TOKEN: &str = "a-token-of-the-source-tests";

pub(super) struct World {
    /// Before the folder they write into.
    running: Vec<Process>,
    pub port: u16,
    folder: tempfile::TempDir,
}

impl World {
    /// Keys and a repository with one commit; `settings` stand below what every tars needs.
    pub(super) fn new(prometheus_port: u16, settings: &str) -> Self {
        Self::asking(&format!("url: 'http://127.0.0.1:{prometheus_port}'"), settings)
    }

    /// The same with all that the settings say of `prometheus`.
    pub(super) fn asking(prometheus: &str, settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tars-sources.").tempdir().unwrap();
        let dir = folder.path();
        shell(dir, "ssh-keygen -q -t ed25519 -N '' -f key && sed 's/^/tars@example.com /' key.pub > allowed")
            .ok();
        git(dir, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
        git(dir, &["clone", "-q", "repo.git", "work"]);
        fs::write(dir.join("work/a.yaml"), "a: 1\n").unwrap();
        git(&dir.join("work"), &["add", "-A"]);
        git(&dir.join("work"), &["commit", "-q", "-m", "a"]);
        git(&dir.join("work"), &["push", "-q", "origin", "HEAD:main"]);
        let port = free_port();
        let text = format!(
            "repository: {{url: {dir}/repo.git, state_dir: {dir}/state}}\n\
             signing: {{key_file: {dir}/key, allowed_signers_file: {dir}/allowed}}\n\
             prometheus: {{{prometheus}}}\n\
             webhook: {{enabled: false}}\nlisten: 127.0.0.1:{port}\ntick: 1s\n{settings}",
            dir = dir.display(),
        );
        fs::write(dir.join("tars.yaml"), text).unwrap();
        Self { running: Vec::new(), port, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Starts a program here; what it says is in `<name>.log`.
    pub(super) fn start(&mut self, name: &'static str, program: &Path, args: &[&str]) {
        let log = File::options().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push(Process::of(name, command.spawn().unwrap()));
    }

    /// Ends the program of that name in the orderly way.
    pub(super) fn stop(&mut self, name: &str) {
        let process = self.running.iter_mut().find(|it| it.name() == name).unwrap();
        assert!(process.stop().success(), "{name}");
    }

    pub(super) fn start_tars(&mut self) {
        self.start("tars", &support::tars(), &["run", "--config", "tars.yaml"]);
        self.wait("tars answers", || (process::get(self.port, "/healthz")?.0 == 200).then_some(()));
    }

    /// Has what `target` exports scraped every second, by whatever reads the file `name`.
    pub(super) fn scrape(&self, name: &str, target: u16) {
        let job = format!(
            "{{job_name: shop, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}"
        );
        self.write(name, &format!("scrape_configs:\n  - {job}\n"));
    }

    /// Starts a Prometheus with `prometheus.yml` of this folder.
    pub(super) fn start_prometheus(&mut self, program: &Path, port: u16, more: &[&str]) {
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        let fixed = ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=warn", &listen];
        self.start("prometheus", program, &[&fixed, more].concat());
        self.wait("Prometheus is ready", || (process::get(port, "/-/ready")?.0 == 200).then_some(()));
    }

    /// Waits for `look`, and shows the logs when it was in vain.
    #[allow(clippy::print_stderr, reason = "what a failed test has to show; the harness shows it only then")]
    pub(super) fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let looked = std::panic::AssertUnwindSafe(|| wait_for(what, PATIENCE, &mut look));
        std::panic::catch_unwind(looked).unwrap_or_else(|panic| {
            for name in ["tars", "prometheus", "loki", "jaeger", "gateway", "vmagent", "store", "querier"] {
                let log = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- end of {name}.log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
            }
            std::panic::resume_unwind(panic)
        })
    }

    /// A number of tars' own metrics, by the start of its line.
    pub(super) fn number(&self, start: &str) -> Option<f64> {
        let (_, page) = process::get(self.port, "/metrics")?;
        let line = page.lines().find(|it| it.starts_with(start))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    /// What a verb of tars prints as JSON, below `items`.
    #[track_caller]
    pub(super) fn ask(&self, args: &[&str]) -> Vec<Value> {
        let said = tars(self.folder.path(), &[args, &["-o", "json"]].concat());
        // 1: a signal has no series yet.
        assert!(said.code <= 1, "{said:#?}");
        let answer = said.json();
        answer
            .get("items")
            .unwrap_or(&answer)
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("no list: {answer}"))
    }

    /// The number that a query gives on a Prometheus, now.
    pub(super) fn measure(port: u16, query: &str) -> Option<f64> {
        Self::measure_below(port, "", "", query)
    }

    /// The same where the interface is below a path, and asks for headers.
    pub(super) fn measure_below(port: u16, path: &str, headers: &str, query: &str) -> Option<f64> {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let query: String = query.bytes().map(encode).collect();
        let path = format!("{path}/api/v1/query?query={query}");
        let (_, body) = process::http(port, "GET", &path, headers, "")?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

/// Serves what `page` says, to a scraper; its thread ends with the process.
pub(super) fn exporter(page: fn() -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4_096]);
            let page = page();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
            let length = page.len();
            let _ = stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{page}").as_bytes());
        }
    });
    port
}
