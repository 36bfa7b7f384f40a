//! A real etcd and API server on loopback, one for all tests of a process that ask for it, in a folder of its own. It ends with
//! the process, however that ends. Never: a cluster from outside (no `KUBECONFIG` is looked at).

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start their own server, or say why not"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::super::ports::free_port;
use super::{Access, Kube, Part, Patch, Place, Resource, Selection};

const ADMIN_TOKEN: &str = "admin-of-the-real-server";
/// Service accounts whose requests the server knows, as if it had made their tokens.
const ACCOUNTS: [(&str, &str); 2] = [("rights", "tars"), ("rights-one", "tars")];
const START: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
const NAMESPACES: Resource = Resource { group: "", version: "v1", plural: "namespaces" };
const BINDINGS: Resource =
    Resource { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterrolebindings" };
const DEFINITIONS: Resource =
    Resource { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" };
/// Its standard input ends with this process.
const KEEPER: &str = "\"$@\" & cat >/dev/null; kill -KILL $!; wait; rm -rf -- \"$PWD\"";

struct Server {
    kubeconfig: PathBuf,
    _programs: [Child; 2],
}

static SERVER: OnceCell<Option<Server>> = OnceCell::const_new();

/// A client of the server as its administrator, with a new namespace of this name and the kinds of these `definitions`
/// served; `None`, said aloud, where the programs are missing, which is a failure where `CI=true`.
pub async fn server(namespace: &str, definitions: &str) -> Option<Kube> {
    let server = SERVER.get_or_init(|| start(definitions)).await.as_ref()?;
    let kube = client(&server.kubeconfig).await;
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    // Two tests with one name would see each other's objects.
    kube.create::<Value>(NAMESPACES, None, &object).await.unwrap();
    Some(kube)
}

/// A client as the service account of this name; the server must run already.
pub async fn account(namespace: &str, name: &str) -> Option<Kube> {
    let server = SERVER.get()?.as_ref()?;
    let text = std::fs::read_to_string(&server.kubeconfig).unwrap();
    // The server was told of these when it started: which account a token is of is in the token.
    let token = account_token(namespace, name);
    let path = server.kubeconfig.with_file_name(format!("{namespace}.kubeconfig"));
    std::fs::write(&path, text.replace(ADMIN_TOKEN, &token)).unwrap();
    Some(client(&path).await)
}

fn account_token(namespace: &str, name: &str) -> String {
    format!("account-{namespace}-{name}")
}

async fn client(kubeconfig: &Path) -> Kube {
    let access = Access::Kubeconfig { path: kubeconfig.to_path_buf(), context: None };
    Kube::new(&access).await.unwrap()
}

fn program(name: &str) -> Option<PathBuf> {
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts");
    let folders = std::fs::read_dir(parts).into_iter().flatten().filter_map(Result::ok);
    let named = folders.filter(|it| it.file_name().to_string_lossy().starts_with(&format!("{name}-")));
    let found = named.map(|it| it.path().join("bin").join(name)).filter(|it| it.is_file()).max();
    if found.is_none() {
        let text = format!("{name} is missing; run tests/install-parts");
        assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "{text} (in CI that is a failure)");
        eprintln!("SKIP {text}");
    }
    found
}

fn kept(program: &Path, folder: &Path, args: &[String]) -> Child {
    let name = program.file_name().unwrap().to_string_lossy().into_owned();
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "sh"]).arg(program).args(args).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn start_etcd(program: &Path, folder: &Path) -> (Child, String) {
    let [url, peer] = [(); 2].map(|()| format!("http://127.0.0.1:{}", free_port()));
    let args = [
        "--data-dir=etcd".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    (kept(program, folder, &args), url)
}

fn start_apiserver(program: &Path, folder: &Path, etcd: &str, port: u16) -> Child {
    let key = folder.join("service-accounts.key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success(), "a key for the tokens of ServiceAccounts");
    let mut tokens = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
    for (namespace, name) in ACCOUNTS {
        let (token, user) =
            (account_token(namespace, name), format!("system:serviceaccount:{namespace}:{name}"));
        tokens +=
            &format!("{token},{user},{user},\"system:serviceaccounts,system:serviceaccounts:{namespace}\"\n");
    }
    std::fs::write(folder.join("tokens.csv"), tokens).unwrap();
    let args = [
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        "--cert-dir=certs".to_owned(),
        "--token-auth-file=tokens.csv".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--profiling=false".to_owned(),
    ];
    kept(program, folder, &args)
}

async fn start(definitions: &str) -> Option<Server> {
    let (etcd, apiserver) = (program("etcd")?, program("kube-apiserver")?);
    let folder = tempfile::Builder::new().prefix("tars-api-server.").tempdir().unwrap().keep();
    let (etcd, url) = start_etcd(&etcd, &folder);
    let port = free_port();
    let apiserver = start_apiserver(&apiserver, &folder, &url, port);
    let certificate = folder.join("certs/apiserver.crt");
    let kubeconfig = folder.join("admin.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
         clusters: [{{name: own, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: admin, user: {{token: {ADMIN_TOKEN}}}}}]\n\
         contexts: [{{name: own, context: {{cluster: own, user: admin}}}}]\n",
        certificate.display()
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let made = || std::fs::metadata(&certificate).is_ok_and(|it| it.len() > 0);
    until(&folder, "its certificate", async || made()).await;
    let kube = client(&kubeconfig).await;
    let place = Place { resource: NAMESPACES, namespace: None, name: "default" };
    until(&folder, "its first namespace", async || kube.get::<Value>(place).await.is_ok()).await;
    // Until then nobody may ask what is allowed.
    let place = Place { resource: BINDINGS, namespace: None, name: "system:basic-user" };
    until(&folder, "its own roles", async || kube.get::<Value>(place).await.is_ok()).await;
    for text in definitions.split("---\n").filter(|it| !it.is_empty()) {
        define(&folder, &kube, &yaml_serde::from_str(text).unwrap()).await;
    }
    Some(Server { kubeconfig, _programs: [etcd, apiserver] })
}

/// `Established` is written before the part of the server that answers knows of it: only an answer says that it is served.
async fn define(folder: &Path, kube: &Kube, definition: &Value) {
    let name = definition["metadata"]["name"].as_str().unwrap();
    let place = Place { resource: DEFINITIONS, namespace: None, name };
    let apply = Patch::Apply { manager: "tars-test" };
    let _: Value = kube.patch(place, Part::Whole, apply, definition).await.unwrap();
    let text = |it: &Value| -> &'static str { it.as_str().unwrap().to_owned().leak() };
    let resource = Resource {
        group: text(&definition["spec"]["group"]),
        version: text(&definition["spec"]["versions"][0]["name"]),
        plural: text(&definition["spec"]["names"]["plural"]),
    };
    let answers = async || kube.list::<Value>(resource, Selection::default(), 1).await.is_ok();
    until(folder, name, answers).await;
}

async fn until(folder: &Path, what: &str, look: impl AsyncFn() -> bool) {
    let waiting = async {
        while !look().await {
            tokio::time::sleep(POLL).await;
        }
    };
    let waited = tokio::time::timeout(START, waiting).await;
    assert!(waited.is_ok(), "the API server in {} has not {what}", folder.display());
}
