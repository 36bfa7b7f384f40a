//! An API server in memory, for tests of other rooms: what a test puts at a path is answered there, what is written is kept
//! to be looked at, and it can be down. It never listens beyond loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Access, Kube};
use crate::outside::files;

#[derive(Debug, Default)]
pub struct State {
    /// By path, without the query.
    pub answers: BTreeMap<String, Value>,
    pub is_down: bool,
    /// `POST <path>` or `PATCH <path>`, and what was sent.
    pub writes: Vec<(String, Value)>,
    /// Paths of everything that was asked.
    pub reads: Vec<String>,
    made: BTreeSet<String>,
}

/// Ends with the value.
#[derive(Debug)]
pub struct StandIn {
    pub kube: Kube,
    state: Arc<Mutex<State>>,
    _serving: tokio::task::JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let mut serving = tokio::task::JoinSet::new();
        let shared = Arc::clone(&state);
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
             contexts: [{{name: here, context: {{cluster: c, user: u, namespace: tars}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        );
        let path = folder.path().join("config");
        files::write_durable(&path, text.as_bytes()).unwrap();
        let kube = Kube::new(&Access::Kubeconfig { path, context: None }).await.unwrap();
        Self { kube, state, _serving: serving, _folder: folder }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// This path lists these.
    pub fn list(&self, path: &str, items: &[Value]) {
        let list = json!({ "metadata": { "resourceVersion": "1" }, "items": items });
        self.state().answers.insert(path.to_owned(), list);
    }
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let details = json!({ "kind": "things", "name": "thing" });
    (code, json!({ "kind": "Status", "code": code, "reason": reason, "message": reason, "details": details }))
}

fn judge(state: &Mutex<State>, method: &str, path: &str, body: Value) -> (u16, Value) {
    let mut state = state.lock().unwrap();
    if state.is_down {
        return refusal(503, "ServiceUnavailable");
    }
    match method {
        "GET" => {
            state.reads.push(path.to_owned());
            state.answers.get(path).map_or_else(|| refusal(404, "NotFound"), |it| (200, it.clone()))
        }
        "POST" if !state.made.insert(format!("{path}/{}", body["metadata"]["name"])) => {
            refusal(409, "AlreadyExists")
        }
        method => {
            state.writes.push((format!("{method} {path}"), body.clone()));
            (200, body)
        }
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut seen = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        seen.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let of_line = |it: &str| it.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
        if body.len() >= head.lines().find_map(of_line).unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let (code, said) = judge(&state, method, path, serde_json::from_str(&body).unwrap_or_default());
    let said = said.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        said.len()
    );
    let _ = stream.write_all(format!("{head}{said}").as_bytes()).await;
}
