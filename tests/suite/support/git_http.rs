//! Git over HTTP on a loopback port: `git http-backend` behind a small CGI bridge, or a server that behaves
//! as a hostile one would. Every request is kept as it arrived. Never: a port that somebody chose, an
//! address beyond loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// As sent, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// Answers one request on its connection, which is closed afterwards.
pub(crate) type Answer = dyn Fn(&Asked, &mut TcpStream) + Send + Sync;

/// The server; its threads end with the process.
pub(crate) struct GitHttp {
    /// `http://127.0.0.1:port`
    pub origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl GitHttp {
    pub(crate) fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (log, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut stream = stream;
                    if let Some(request) = read_request(&mut stream) {
                        log.lock().unwrap().push(request.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Self { origin, asked }
    }

    /// Serves the bare repositories below `root`; whoever does not present `password` (as any user) gets 401.
    pub(crate) fn serve(root: &Path, password: &str) -> Self {
        let (root, password) = (root.to_owned(), password.to_owned());
        Self::start(move |request, stream| {
            let shown = request.header("authorization").and_then(|it| it.strip_prefix("Basic ")).map(decoded);
            let right =
                shown.as_deref().and_then(|it| it.split_once(':')).is_some_and(|(_, it)| it == password);
            if right {
                backend(&root, request, stream);
            } else {
                let _ = write!(
                    stream,
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n{END}"
                );
            }
        })
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The end of an answer without a body.
pub(crate) const END: &str = "Content-Length: 0\r\nConnection: close\r\n\r\n";

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: Vec::new() };
    if asked.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if asked.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            asked.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = asked.header("content-length").and_then(|it| it.parse().ok()) {
        asked.body = vec![0; length];
        reader.read_exact(&mut asked.body).ok()?;
    }
    Some(asked)
}

/// Runs `git http-backend` for one request (gitprotocol-http(5), RFC 3875).
fn backend(root: &Path, asked: &Asked, stream: &mut TcpStream) {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "2")
        .envs([("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")])
        .envs([("GIT_CONFIG_KEY_1", "http.receivepack"), ("GIT_CONFIG_VALUE_1", "true")])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", asked.header("git-protocol").unwrap_or(""))
        .env("REQUEST_METHOD", &asked.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", asked.header("content-type").unwrap_or(""))
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", asked.header("content-encoding").unwrap_or(""))
        .env("REMOTE_USER", "x-access-token")
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend starts");
    let (mut stdin, body) = (child.stdin.take().expect("piped"), asked.body.clone());
    let feed = thread::spawn(move || drop(stdin.write_all(&body)));
    let mut output = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut output).expect("its output");
    let _ = feed.join();
    child.wait().expect("it ends");
    let end = output.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|it| it.strip_prefix("Status: ")).unwrap_or("200 OK");
    let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n");
    for line in head.lines().filter(|it| !it.starts_with("Status: ")) {
        let _ = write!(stream, "{line}\r\n");
    }
    let _ = stream.write_all(b"\r\n").and_then(|()| stream.write_all(output.get(end + 4..).unwrap_or(b"")));
}

/// RFC 4648; what is not base64 decodes to nothing.
fn decoded(text: &str) -> String {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = text.bytes().filter_map(digit).map(u32::from).collect();
    let bytes = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |all, it| all << 6 | it) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len().max(1)].to_vec()
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

/// A `git` that notes its arguments and environment in `log` and then is the real one; put its folder first
/// in `PATH`.
pub(crate) fn noting_git(folder: &Path, log: &Path) -> PathBuf {
    let real = super::parts::find("git", "noting_git").expect("git is needed everywhere");
    let bin = folder.join("noting-bin");
    std::fs::create_dir_all(&bin).unwrap();
    let text = format!(
        "#!/bin/sh\n{{ printf 'argv:'; printf ' %s' \"$@\"; echo; env | sed 's/^/env: /'; }} >> {}\nexec {} \"$@\"\n",
        log.display(),
        real.display()
    );
    std::fs::write(bin.join("git"), text).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bin
}
