//! One cluster on free loopback ports in a temporary folder: etcd, API server with RBAC, controller manager, kwok for a node and
//! its pods, then what delivers (`delivery`). Comes in: the programs; out: the API as an administrator and as others. It ends
//! with the value or with this process. Never: two programs that share a folder with another run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::delivery::{ArgoCd, Flux};
use super::keeper::Kept;
use super::kube::Kube;
use super::process::{get, wait_for};
use super::support::gitea::Gitea;
use super::support::ports::free_port;
use super::support::{self, parts};

/// Programs get this long to answer for the first time; a busy machine is slow.
pub(crate) const START: Duration = Duration::from_secs(120);
const ADMIN_TOKEN: &str = "admin-of-the-cluster-tests";
const TARS_TOKEN: &str = "tars-of-the-cluster-tests";
const STRANGER_TOKEN: &str = "stranger-of-the-cluster-tests";
/// Stands for the scheduler: there is one node, and it takes everything.
const NODE: &str = "apiVersion: v1
kind: Node
metadata: {name: node-0, annotations: {kwok.x-k8s.io/node: fake}}
status: {allocatable: {cpu: '64', memory: 256Gi, pods: '1000'}, capacity: {cpu: '64', memory: 256Gi, pods: '1000'}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: everything-runs-on-the-one-node}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration: {expression: 'Object{spec: Object.spec{nodeName: \"node-0\"}}'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: everything-runs-on-the-one-node}
spec: {policyName: everything-runs-on-the-one-node}
";

/// Only asked about, never made.
const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: asked, namespace: default}, \
                   spec: {containers: [{name: a, image: a}]}}";

/// The real programs, found once.
#[derive(Debug)]
pub(crate) struct Programs {
    pub etcd: PathBuf,
    pub apiserver: PathBuf,
    pub controllers: PathBuf,
    pub kubectl: PathBuf,
    pub kwok: PathBuf,
    pub source_controller: PathBuf,
    pub kustomize_controller: PathBuf,
    pub helm_controller: PathBuf,
    pub argocd: PathBuf,
    pub redis: PathBuf,
    pub kustomize: PathBuf,
    pub gitea: PathBuf,
    pub helm: PathBuf,
    pub prometheus: PathBuf,
}

impl Programs {
    pub(crate) fn find(test: &str) -> Option<Self> {
        let find = |name| parts::find(name, test);
        Some(Self {
            etcd: find("etcd")?,
            apiserver: find("kube-apiserver")?,
            controllers: find("kube-controller-manager")?,
            kubectl: find("kubectl")?,
            kwok: find("kwok")?,
            source_controller: find("source-controller")?,
            kustomize_controller: find("kustomize-controller")?,
            helm_controller: find("helm-controller")?,
            argocd: find("argocd")?,
            redis: find("redis-server")?,
            kustomize: find("kustomize")?,
            gitea: find("gitea")?,
            helm: find("helm")?,
            prometheus: find("prometheus")?,
        })
    }
}

/// `manifest.yaml` of the part that `program` belongs to.
pub(crate) fn manifest(program: &Path) -> String {
    let part = program.parent().and_then(Path::parent).expect("a part has a bin folder");
    std::fs::read_to_string(part.join("manifest.yaml")).unwrap()
}

/// Everything running. Fields end in this order: the folder last.
pub(crate) struct Cluster {
    pub admin: Arc<Kube>,
    /// May do what the chart's role says.
    pub tars: Kube,
    /// Known to the API server, and nothing is allowed to them.
    pub stranger: Kube,
    pub url: String,
    pub helm: PathBuf,
    pub prometheus: PathBuf,
    pub gitea: Gitea,
    _flux: Flux,
    _argo_cd: ArgoCd,
    _kwok: Kept,
    _controllers: Kept,
    pub apiserver: Mutex<Kept>,
    pub etcd: Mutex<Kept>,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start(programs: &Programs) -> Self {
        let folder = tempfile::Builder::new().prefix("tars-cluster.").tempdir().unwrap();
        let at = folder.path();
        let (etcd, etcd_url) = start_etcd(&programs.etcd, at);
        let port = free_port();
        let apiserver = start_apiserver(&programs.apiserver, at, &etcd_url, port);
        // Gitea takes about as long to start as the API server.
        let gitea = Gitea::start(&programs.gitea);
        wait_for("the API server made its certificate", START, || {
            std::fs::metadata(at.join("certs/apiserver.crt")).ok().filter(|it| it.len() > 0)
        });
        let admin = Kube::new(at, port, "admin", ADMIN_TOKEN, &programs.kubectl);
        wait_for("the API server is ready", START, || {
            admin.ask("/readyz").filter(|(status, _)| *status == 200)
        });
        let tars = Kube::new(at, port, "tars", TARS_TOKEN, &programs.kubectl);
        let stranger = Kube::new(at, port, "stranger", STRANGER_TOKEN, &programs.kubectl);
        admin.apply(&support::text("charts/tars/crds/crds.yaml").unwrap());
        admin.apply(&role());
        let controllers = start_controllers(&programs.controllers, at, &admin);
        let kwok = start_kwok(&programs.kwok, at, &admin);
        admin.apply(NODE);
        wait_for("a new pod gets the one node", START, || {
            let (code, said) = admin.kubectl(&["create", "--dry-run=server", "-o", "json", "-f", "-"], POD);
            (code == 0 && said.contains("\"nodeName\": \"node-0\"")).then_some(())
        });
        let flux = Flux::start(programs, at, &admin);
        let url = format!("https://127.0.0.1:{port}");
        let argo_cd = ArgoCd::start(programs, at, &admin, &url, ADMIN_TOKEN);
        Self {
            admin: Arc::new(admin),
            tars,
            stranger,
            url,
            helm: programs.helm.clone(),
            prometheus: programs.prometheus.clone(),
            gitea,
            _flux: flux,
            _argo_cd: argo_cd,
            _kwok: kwok,
            _controllers: controllers,
            apiserver: Mutex::new(apiserver),
            etcd: Mutex::new(etcd),
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The rights that the chart gives tars in the whole cluster, those for `sync.refresh` included.
fn role() -> String {
    let rules = |name: &str| support::text(&format!("charts/tars/rbac/{name}.yaml")).unwrap();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: tars}}
rules:
{}{}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: tars}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tars}}
subjects: [{{kind: User, name: tars, apiGroup: rbac.authorization.k8s.io}}]
",
        rules("watched"),
        rules("refresh"),
    )
}

fn start_etcd(program: &Path, folder: &Path) -> (Kept, String) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let peer = format!("http://127.0.0.1:{}", free_port());
    let args = [
        "--data-dir=etcd".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    (Kept::start("etcd", folder, program, &args, &[]), url)
}

fn start_apiserver(program: &Path, folder: &Path, etcd: &str, port: u16) -> Kept {
    let key = folder.join("service-accounts.key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success(), "a key for the tokens of ServiceAccounts");
    let tokens = format!(
        "{ADMIN_TOKEN},admin,admin,system:masters\n{TARS_TOKEN},tars,tars\n{STRANGER_TOKEN},stranger,stranger\n"
    );
    std::fs::write(folder.join("tokens.csv"), tokens).unwrap();
    let key = key.display();
    let args = [
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        "--cert-dir=certs".to_owned(),
        "--token-auth-file=tokens.csv".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        // Pods of kwok mount nothing.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--profiling=false".to_owned(),
    ];
    Kept::start("kube-apiserver", folder, program, &args, &[])
}

fn start_controllers(program: &Path, folder: &Path, admin: &Kube) -> Kept {
    let args = [
        format!("--kubeconfig={}", admin.config.display()),
        format!("--service-account-private-key-file={}", folder.join("service-accounts.key").display()),
        format!("--root-ca-file={}", folder.join("certs/apiserver.crt").display()),
        "--controllers=*,-nodeipam".to_owned(),
        // Nothing measures here; what an autoscaler's bounds ask for it does all the same.
        "--horizontal-pod-autoscaler-sync-period=2s".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    Kept::start("kube-controller-manager", folder, program, &args, &[])
}

fn start_kwok(program: &Path, folder: &Path, admin: &Kube) -> Kept {
    std::fs::write(folder.join("stages.yaml"), manifest(program)).unwrap();
    let port = free_port();
    let args = [
        format!("--kubeconfig={}", admin.config.display()),
        format!("--config={}", folder.join("stages.yaml").display()),
        "--manage-all-nodes=true".to_owned(),
        // Without leases the node is taken for lost every minute, and its pods for not ready.
        "--node-lease-duration-seconds=40".to_owned(),
        format!("--server-address=127.0.0.1:{port}"),
    ];
    let kwok = Kept::start("kwok", folder, program, &args, &[]);
    wait_for("kwok is healthy", START, || get(port, "/healthz").filter(|(status, _)| *status == 200));
    kwok
}
