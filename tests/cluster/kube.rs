//! The API server as one user sees it: reads over HTTPS, writes by the real kubectl. Comes in: the address, the certificate and
//! a token that this binary made. Never: a kubeconfig from outside.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Kube {
    url: String,
    token: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    kubectl: PathBuf,
    /// What kubectl and the controllers read.
    pub config: PathBuf,
}

impl Kube {
    /// A user with `token`; writes its kubeconfig into `folder`.
    pub(crate) fn new(folder: &Path, port: u16, user: &str, token: &str, kubectl: &Path) -> Self {
        let certificate = folder.join("certs/apiserver.crt");
        let url = format!("https://127.0.0.1:{port}");
        let config = folder.join(format!("{user}.kubeconfig"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
             clusters: [{{name: own, cluster: {{server: '{url}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: {user}, user: {{token: {token}}}}}]\n\
             contexts: [{{name: own, context: {{cluster: own, user: {user}}}}}]\n",
            certificate.display()
        );
        fs::write(&config, text).unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&fs::read(&certificate).unwrap()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only(roots)
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .build()
            .unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { url, token: token.to_owned(), client, runtime, kubectl: kubectl.to_path_buf(), config }
    }

    /// Status and JSON of one path; `None` without an answer.
    pub(crate) fn ask(&self, path: &str) -> Option<(u16, Value)> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        self.runtime.block_on(async {
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or(Value::Null)))
        })
    }

    /// An object that is there.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.ask(path).filter(|(status, _)| *status == 200).map(|(_, object)| object)
    }

    pub(crate) fn deployment(&self, namespace: &str, name: &str) -> Option<Value> {
        self.get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"))
    }

    /// `kubectl <args>` with `input`; exit code and both outputs in one.
    pub(crate) fn kubectl(&self, args: &[&str], input: &str) -> (i32, String) {
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.config)
            .args(args)
            .env_clear()
            .env("HOME", self.config.parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    /// Applies a manifest on the server's side.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        let (code, said) = self.kubectl(&["apply", "--server-side", "-f", "-"], manifest);
        assert_eq!(code, 0, "{said}\n{manifest:.2000}");
    }
}

/// Whether the newest wish about a Deployment is what runs: seen by its controller, updated and ready.
pub(crate) fn is_rolled_out(deployment: &Value) -> bool {
    let status = |field: &str| deployment["status"][field].as_i64().unwrap_or(0);
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    deployment["metadata"]["generation"].as_i64() == Some(status("observedGeneration"))
        && [status("updatedReplicas"), status("readyReplicas"), status("replicas")] == [wanted; 3]
}
