//! A stand-in forge of `tests/fakes` on a loopback port: stateful, with real git, and held against the vendor's own
//! description. Comes in: the name of the forge and the parts that `tests/install-parts fakes` installed. Out: an
//! address, control over it (`tests/fakes/core/control.mjs`), and whether everything agreed with the description. It
//! ends with the value or with this process, however that ends. The unit tests of the adapters use this file too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// The folder with what the stand-ins need, if it was installed and there is a Node to run them.
pub(crate) fn parts(root: &Path) -> Option<PathBuf> {
    let found = std::fs::read_dir(root.join(".cache/parts")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = found
        .filter(|it| it.file_name().to_string_lossy().starts_with("fakes-"))
        .map(|it| it.path())
        .filter(|it| it.join("node_modules").is_dir())
        .collect();
    folders.sort();
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    folders.pop().filter(|_| node.is_ok_and(|it| it.success()))
}

/// A running stand-in.
pub(crate) struct Fake {
    /// Without a slash at the end.
    pub url: String,
    /// Of somebody who may do everything.
    pub admin_token: String,
    server: Child,
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

impl Fake {
    /// Starts the stand-in of `forge` and waits until it listens.
    pub(crate) fn start(root: &Path, parts: &Path, forge: &str) -> Self {
        let mut server = Command::new("node")
            .arg(root.join("tests/fakes/main.mjs"))
            .args([forge, "--parts"])
            .arg(parts)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{forge} did not start: {line:?}"));
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Self { url: text("url"), admin_token: text("admin_token"), server }
    }

    /// One request with a token or none: status and JSON. HTTP/1.0, so that the answer ends with the connection.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let with =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\n{with}User-Agent: a-person\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Says something to the stand-in itself.
    #[track_caller]
    pub(crate) fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("", method, &format!("/_fake/{path}"), Some(body));
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// A new user, and a token of theirs that may do what they may.
    pub(crate) fn user(&self, login: &str) -> String {
        self.control("POST", "users", &json!({ "login": login }));
        self.token(&json!({ "login": login }))
    }

    /// A token as `tests/fakes/core/control.mjs` describes it.
    pub(crate) fn token(&self, token: &Value) -> String {
        self.control("POST", "tokens", token)["token"].as_str().unwrap().to_owned()
    }

    /// Commits a file to a branch, which is made from `main` when it is not there; the commit's id.
    pub(crate) fn commit(&self, repository: &str, branch: &str, file: &str, text: &str) -> String {
        let commit = json!({ "branch": branch, "file": file, "text": text });
        let answer = self.control("POST", &format!("repositories/{repository}/commits"), &commit);
        answer["sha"].as_str().unwrap().to_owned()
    }

    /// Fails when a request about this repository, or its answer, disagreed with the vendor's description.
    #[track_caller]
    pub(crate) fn is_as_described(&self, repository: &str) {
        let found = self.control("GET", "violations", &json!({}));
        let about = |it: &&Value| {
            let place = it["where"].as_str().unwrap();
            place.contains(&format!("/{repository}")) || !place.contains("/repos/")
        };
        let found: Vec<&Value> = found.as_array().unwrap().iter().filter(about).collect();
        assert!(found.is_empty(), "this is not the vendor's API: {found:#?}");
    }
}
