//! What applies commits: Flux (source-, kustomize- and helm-controller) and Argo CD (application-controller, repo-server and
//! Redis), the real programs as processes beside the API server. Comes in: the programs and an administrator of the cluster;
//! out: what they report in their objects' status. Never: a commit applied by anybody else.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::cluster::{Programs, START, manifest};
use super::keeper::Kept;
use super::kube::Kube;
use super::process::{get, wait_for};
use super::support::ports::free_port;

/// How often each of them looks for a new commit, seconds.
pub(crate) const LOOK_S: u32 = 5;

#[derive(Debug)]
pub(crate) struct Flux {
    _source: Kept,
    _kustomize: Kept,
    _helm: Kept,
}

impl Flux {
    pub(crate) fn start(programs: &Programs, folder: &Path, admin: &Kube) -> Self {
        admin.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: flux-system}\n");
        for program in
            [&programs.source_controller, &programs.kustomize_controller, &programs.helm_controller]
        {
            admin.apply(&manifest(program));
        }
        for kind in [
            "gitrepositories.source.toolkit.fluxcd.io",
            "externalartifacts.source.toolkit.fluxcd.io",
            "helmcharts.source.toolkit.fluxcd.io",
            "kustomizations.kustomize.toolkit.fluxcd.io",
            "helmreleases.helm.toolkit.fluxcd.io",
        ] {
            established(admin, kind);
        }
        let envs = [
            ("KUBECONFIG", admin.config.display().to_string()),
            ("RUNTIME_NAMESPACE", "flux-system".to_owned()),
        ];
        let address = format!("127.0.0.1:{}", free_port());
        let storage = [
            format!("--storage-path={}", folder.join("flux-artifacts").display()),
            format!("--storage-addr={address}"),
            format!("--storage-adv-addr={address}"),
        ];
        std::fs::create_dir(folder.join("flux-artifacts")).unwrap();
        let start = |name, program, more: &[String]| {
            let health = free_port();
            let mut args = vec![
                "--enable-leader-election=false".to_owned(),
                format!("--health-addr=127.0.0.1:{health}"),
                format!("--metrics-addr=127.0.0.1:{}", free_port()),
                // What failed because something else was late is tried again soon.
                "--min-retry-delay=1s".to_owned(),
            ];
            args.extend_from_slice(more);
            let controller = Kept::start(name, folder, program, &args, &envs);
            wait_for(&format!("{name} is ready"), START, || {
                get(health, "/readyz").filter(|(status, _)| *status == 200)
            });
            controller
        };
        let source = start("source-controller", &programs.source_controller, &storage);
        let kustomize = start("kustomize-controller", &programs.kustomize_controller, &[]);
        let helm = start("helm-controller", &programs.helm_controller, &[]);
        Self { _source: source, _kustomize: kustomize, _helm: helm }
    }

    /// The objects by which Flux applies `path` of a repository.
    pub(crate) fn objects(name: &str, url: &str, path: &str) -> String {
        format!(
            "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {name}, namespace: flux-system}}
spec:
  interval: {LOOK_S}s
  url: {url}
  ref: {{branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: flux-system}}
spec:
  interval: 30s
  retryInterval: {LOOK_S}s
  timeout: 60s
  path: {path}
  prune: true
  wait: true
  sourceRef: {{kind: GitRepository, name: {name}}}
"
        )
    }

    /// The commit that a Kustomization applied last, as Flux writes it: `main@sha1:<commit>`.
    pub(crate) fn revision(kube: &Kube, name: &str) -> Option<String> {
        let path =
            format!("/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/{name}");
        Some(kube.get(&path)?["status"]["lastAppliedRevision"].as_str()?.to_owned())
    }
}

#[derive(Debug)]
pub(crate) struct ArgoCd {
    _controller: Kept,
    _repositories: Kept,
    _redis: Kept,
}

impl ArgoCd {
    /// `url` and `token` are the API server's: a destination outside of the cluster, because this Argo CD runs outside.
    pub(crate) fn start(programs: &Programs, folder: &Path, admin: &Kube, url: &str, token: &str) -> Self {
        admin.apply(&manifest(&programs.argocd));
        for kind in ["applications.argoproj.io", "appprojects.argoproj.io"] {
            established(admin, kind);
        }
        admin.apply(&argo_cd_settings(url, token));
        let [redis_port, repositories_port, controller_metrics, repositories_metrics] =
            [(); 4].map(|()| free_port());
        let redis_args =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &redis_port.to_string()]
                .map(str::to_owned);
        let redis = Kept::start("redis", folder, &programs.redis, &redis_args, &[]);
        for name in ["argocd-tls", "argocd-ssh", "argocd-bin"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        // It looks for the tools by name.
        symlink(&programs.kustomize, folder.join("argocd-bin/kustomize")).unwrap();
        let path =
            format!("{}:{}", folder.join("argocd-bin").display(), std::env::var("PATH").unwrap_or_default());
        let envs = |role: &str| {
            [
                ("ARGOCD_BINARY_NAME", role.to_owned()),
                ("ARGOCD_GPG_ENABLED", "false".to_owned()),
                ("ARGOCD_TLS_DATA_PATH", folder.join("argocd-tls").display().to_string()),
                ("ARGOCD_SSH_DATA_PATH", folder.join("argocd-ssh").display().to_string()),
                ("ARGOCD_ASK_PASS_SOCK", folder.join("ask-pass.sock").display().to_string()),
                ("PATH", path.clone()),
            ]
        };
        let redis_at = format!("--redis=127.0.0.1:{redis_port}");
        let args = [
            "--disable-tls".to_owned(),
            "--address=127.0.0.1".to_owned(),
            format!("--port={repositories_port}"),
            "--metrics-address=127.0.0.1".to_owned(),
            format!("--metrics-port={repositories_metrics}"),
            format!("--revision-cache-expiration={LOOK_S}s"),
            redis_at.clone(),
        ];
        let role = "argocd-repo-server";
        let repositories = Kept::start(role, folder, &programs.argocd, &args, &envs(role));
        let args = [
            format!("--repo-server=127.0.0.1:{repositories_port}"),
            "--repo-server-plaintext".to_owned(),
            format!("--kubeconfig={}", admin.config.display()),
            "--namespace=argocd".to_owned(),
            format!("--metrics-port={controller_metrics}"),
            format!("--app-resync={LOOK_S}"),
            "--app-resync-jitter=0".to_owned(),
            redis_at,
        ];
        let role = "argocd-application-controller";
        let controller = Kept::start(role, folder, &programs.argocd, &args, &envs(role));
        wait_for("the application-controller is healthy", START, || {
            get(controller_metrics, "/healthz").filter(|(status, _)| *status == 200)
        });
        Self { _controller: controller, _repositories: repositories, _redis: redis }
    }

    /// The object by which Argo CD applies `path` of a repository to `namespace`.
    pub(crate) fn object(name: &str, url: &str, path: &str, cluster: &str, namespace: &str) -> String {
        format!(
            "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {name}, namespace: argocd}}
spec:
  project: default
  source: {{repoURL: '{url}', targetRevision: main, path: {path}}}
  destination: {{server: '{cluster}', namespace: {namespace}}}
  syncPolicy:
    automated: {{prune: true, selfHeal: true}}
"
        )
    }

    /// The commit that an Application is synced to and healthy with.
    pub(crate) fn revision(kube: &Kube, name: &str) -> Option<String> {
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{name}");
        let status = kube.get(&path)?["status"].take();
        let is_applied = status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy";
        is_applied.then(|| status["sync"]["revision"].as_str().map(str::to_owned))?
    }
}

fn argo_cd_settings(url: &str, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: argocd-cm, namespace: argocd, labels: {{app.kubernetes.io/part-of: argocd}}}}
data: {{timeout.reconciliation: {LOOK_S}s}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: argocd-ssh-known-hosts-cm, namespace: argocd, labels: {{app.kubernetes.io/part-of: argocd}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: argocd-tls-certs-cm, namespace: argocd, labels: {{app.kubernetes.io/part-of: argocd}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: argocd-secret, namespace: argocd, labels: {{app.kubernetes.io/part-of: argocd}}}}
stringData: {{server.secretkey: only-in-this-folder}}
---
apiVersion: v1
kind: Secret
metadata: {{name: own, namespace: argocd, labels: {{argocd.argoproj.io/secret-type: cluster}}}}
stringData:
  name: own
  server: {url}
  config: '{{\"bearerToken\": \"{token}\", \"tlsClientConfig\": {{\"insecure\": true}}}}'
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {{name: default, namespace: argocd}}
spec:
  sourceRepos: ['*']
  destinations: [{{namespace: '*', server: '*'}}]
  clusterResourceWhitelist: [{{group: '*', kind: '*'}}]
"
    )
}

/// Waits until the API server serves a new kind.
fn established(admin: &Kube, kind: &str) {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind}");
    wait_for(&format!("{kind} are served"), START, || {
        let conditions = admin.get(&path)?["status"]["conditions"].take();
        let is = |it: &serde_json::Value| it["type"] == "Established" && it["status"] == "True";
        conditions.as_array()?.iter().any(is).then_some(())
    });
}
