//! A real Gitea on a loopback port: its own temporary folder and SQLite file, registration off, no mail, no
//! outside traffic. Comes in: the program that `tests/install-parts` built. Out: an address, an administrator,
//! users with tokens of exact scopes, repositories. It ends with the value or with this process, however that
//! ends. The unit tests of the adapter use this file too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ports::free_port;

/// What every user of it has.
pub(crate) const PASSWORD: &str = "correct-horse-battery-1";
/// The administrator's name.
pub(crate) const ADMIN: &str = "keeper";
/// An organisation that every repository belongs to.
pub(crate) const ORGANISATION: &str = "shop";
/// The least scopes that tars works with.
pub(crate) const LEAST_SCOPES: &[&str] = &["write:repository", "write:issue", "read:user"];

/// A running server.
pub(crate) struct Gitea {
    /// Without a slash at the end.
    pub url: String,
    pub admin_token: String,
    #[allow(dead_code, reason = "only some of its users read the disk")]
    folder: PathBuf,
    /// Waits on its standard input; when that ends, so does Gitea, and its folder goes.
    keeper: Child,
}

impl Drop for Gitea {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn settings(folder: &Path, parts: &Path, user: &str, port: u16) -> String {
    format!(
        "RUN_MODE = prod\nRUN_USER = {user}\nWORK_PATH = {folder}\n\
         [server]\nHTTP_ADDR = 127.0.0.1\nHTTP_PORT = {port}\nROOT_URL = http://127.0.0.1:{port}/\n\
         DISABLE_SSH = true\nOFFLINE_MODE = true\nSTATIC_ROOT_PATH = {parts}\n\
         [database]\nDB_TYPE = sqlite3\nSQLITE_JOURNAL_MODE = WAL\n\
         [security]\nINSTALL_LOCK = true\n[service]\nDISABLE_REGISTRATION = true\n\
         [log]\nMODE = file\nLEVEL = Warn\n[cron]\nENABLED = false\n[cron.update_checker]\nENABLED = false\n\
         [actions]\nENABLED = false\n[indexer]\nISSUE_INDEXER_TYPE = db\n[queue]\nTYPE = channel\n\
         [webhook]\nALLOWED_HOST_LIST = loopback\n",
        folder = folder.display(),
        parts = parts.display(),
    )
}

/// Runs Gitea until standard input ends. The shell outlives whoever started it, so nothing is left behind.
const KEEPER: &str = "\"$1\" --config \"$2/app.ini\" web >\"$2/out\" 2>&1 & server=$!; \
                      cat >/dev/null; kill $server; wait $server; rm -rf \"$2\"";

/// Longest wait for one answer: many tests on few processors leave little for the server.
const ANSWER: Duration = Duration::from_secs(300);

fn command(program: &str, home: &Path, user: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("USER", user)
        .env("LC_ALL", "C.UTF-8")
        // Every push starts it anew three times, as a hook: collecting garbage is a third of what such a process does.
        .env("GOGC", "400")
        // Containers run their tests as root; this server holds nothing and hears nobody else.
        .env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true");
    command
}

impl Gitea {
    /// Starts `program`, which lies in the `bin` folder of its part, and waits until it answers.
    pub(crate) fn start(program: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("gitea").tempdir().unwrap().keep();
        let parts = program.parent().and_then(Path::parent).expect("a part has a bin folder");
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let port = free_port();
        std::fs::write(folder.join("app.ini"), settings(&folder, parts, &user, port)).unwrap();
        let keeper = command("sh", &folder, &user)
            .args(["-c", KEEPER, "sh"])
            .args([program, folder.as_path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut gitea = Self { url, admin_token: String::new(), folder: folder.clone(), keeper };
        gitea.wait_until_ready(&folder);
        let made = command(program.to_str().unwrap(), &folder, &user)
            .arg("--config")
            .arg(folder.join("app.ini"))
            .args(["admin", "user", "create", "--admin", "--username", ADMIN, "--password", PASSWORD])
            .args(["--email", "keeper@example.com", "--must-change-password=false", "--access-token"])
            .args(["--access-token-name", "all", "--access-token-scopes", "all"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        let token = said.split_whitespace().last().unwrap_or_default();
        assert!(
            made.status.success() && token.len() == 40,
            "{said}{}",
            String::from_utf8_lossy(&made.stderr)
        );
        gitea.admin_token = token.to_owned();
        gitea.admin("POST", "/orgs", Some(&json!({ "username": ORGANISATION })), 201);
        gitea
    }

    fn wait_until_ready(&self, folder: &Path) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.try_ask("", "GET", "/version", None).is_none_or(|(status, _)| status != 200) {
            let said = || std::fs::read_to_string(folder.join("out")).unwrap_or_default();
            assert!(Instant::now() < until, "Gitea does not answer: {}", said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// One request to the API below `/api/v1`, with a token or none: status and JSON.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let with = if token.is_empty() { String::new() } else { format!("Authorization: token {token}\r\n") };
        self.try_ask(&with, method, path, body).expect("Gitea answers")
    }

    /// HTTP/1.0, so that the answer is one piece and ends with the connection.
    fn try_ask(
        &self,
        credential: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://")?).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.0\r\n{credential}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).ok()?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// As the administrator, who must get this status.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let (found, answer) = self.ask(&self.admin_token, method, path, body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        answer
    }

    /// A new user; the token has exactly these scopes.
    pub(crate) fn user(&self, login: &str, scopes: &[&str]) -> String {
        let user = json!({
            "username": login,
            "password": PASSWORD,
            "email": format!("{login}@example.com"),
            "must_change_password": false,
        });
        self.admin("POST", "/admin/users", Some(&user), 201);
        self.token(login, scopes)
    }

    /// One more token of a user.
    pub(crate) fn token(&self, login: &str, scopes: &[&str]) -> String {
        use base64ct::Encoding as _;
        let login_and_password = base64ct::Base64::encode_string(format!("{login}:{PASSWORD}").as_bytes());
        let credential = format!("Authorization: Basic {login_and_password}\r\n");
        let token = json!({ "name": scopes.join("-"), "scopes": scopes });
        let path = format!("/users/{login}/tokens");
        let (status, answer) = self.try_ask(&credential, "POST", &path, Some(&token)).unwrap();
        assert_eq!(status, 201, "{answer}");
        answer["sha1"].as_str().unwrap().to_owned()
    }

    /// A repository of the organisation with one commit on `main`, and these users who may write to it.
    pub(crate) fn repository(&self, name: &str, writers: &[&str]) -> String {
        let repository =
            json!({ "name": name, "auto_init": true, "default_branch": "main", "private": true });
        self.admin("POST", &format!("/orgs/{ORGANISATION}/repos"), Some(&repository), 201);
        let path = format!("/repos/{ORGANISATION}/{name}");
        let methods = json!({ "allow_fast_forward_only_merge": true });
        self.admin("PATCH", &path, Some(&methods), 200);
        for writer in writers {
            let level = json!({ "permission": "write" });
            self.admin("PUT", &format!("{path}/collaborators/{writer}"), Some(&level), 204);
        }
        path
    }

    /// The bare repository as it lies on the disk, for reading.
    #[allow(dead_code, reason = "only some of its users read the disk")]
    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        self.folder.join(format!("data/gitea-repositories/{ORGANISATION}/{name}.git"))
    }

    /// Commits a file to a branch, which is made from `main` when it is not there; the commit's id.
    pub(crate) fn commit(&self, repository: &str, branch: &str, file: &str, text: &str) -> String {
        use base64ct::Encoding as _;
        let content = base64ct::Base64::encode_string(text.as_bytes());
        let there = self.ask(
            &self.admin_token,
            "GET",
            &format!("{repository}/branches/{}", branch.replace('/', "%2F")),
            None,
        );
        let mut change = json!({ "content": content, "message": format!("Change {file}"), "branch": "main" });
        let key = if there.0 == 200 { "branch" } else { "new_branch" };
        change[key] = json!(branch);
        let answer = self.admin("POST", &format!("{repository}/contents/{file}"), Some(&change), 201);
        answer["commit"]["sha"].as_str().unwrap().to_owned()
    }
}
