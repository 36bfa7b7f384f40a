//! The chart on the real API server: every set of values is what the server takes, and one release is installed, upgraded,
//! rolled back and removed, its pods by kwok. The command of `helm test` runs here as the release's own account, with the
//! release's own settings. Comes in: the cluster, helm and the chart; out: what the server and helm say. Never: an image (there
//! is no container engine), so what runs in the pods is not tars.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::cluster::Cluster;
use super::faults::{done, shop};
use super::incidents::latency;
use super::shop::Repository;
use super::support::{self, gitea::ORGANISATION};
use super::watch::Watch;

const NAME: &str = "chart";
const RELEASE: &str = "tars-here";
/// Kinds of the Prometheus operator, which this server does not serve; kubeconform judges them in the suite.
const NOT_SERVED: &str = "apiVersion: monitoring.coreos.com/";

struct Helm<'a> {
    program: &'a Path,
    config: &'a Path,
    namespace: &'a str,
    home: PathBuf,
}

impl Helm<'_> {
    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let out = Command::new(self.program)
            .args(args)
            .args(["--namespace", self.namespace, "--kubeconfig"])
            .arg(self.config)
            .current_dir(support::root())
            .env_clear()
            .env("HOME", &self.home)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "helm {args:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
        said
    }

    /// Brings the release to what `verb` says, and waits until its pods are ready.
    fn bring(&self, verb: &[&str]) {
        self.run(&[verb, &["--wait", "--timeout", "3m"]].concat());
    }
}

/// What the server would say to this, without doing it.
#[track_caller]
fn is_taken(cluster: &Cluster, what: &str, manifest: &str) {
    let served =
        manifest.split("\n---").filter(|it| !it.contains(NOT_SERVED)).collect::<Vec<_>>().join("\n---");
    let args = ["-n", NAME, "apply", "--server-side", "--dry-run=server", "-f", "-"];
    let (code, said) = cluster.admin.kubectl(&args, &served);
    assert!(code == 0 && said.contains("serverside-applied"), "{what}: {said}");
    assert!(!said.contains("Warning"), "{what}: {said}");
}

fn values(cluster: &Cluster, repository: &Repository, watch: &Watch) -> String {
    let peers = "[{ipBlock: {cidr: 192.0.2.0/24}}]";
    format!(
        "image: {{repository: registry.example.com/tars}}
settings:
  repository: {{url: '{}'}}
  forge: {{kind: gitea, url: '{}', repository: {ORGANISATION}/{NAME}}}
  signing: {{email: tars@example.com}}
  prometheus: {{url: '{}'}}
  cluster: {{access: inCluster}}
  {}
secrets: {{git: tars-git, forge: tars-git, webhook: ''}}
networkPolicy: {{egress: {{git: {{to: {peers}}}, prometheus: {{to: {peers}}}, cluster: {{to: {peers}}}}}}}
",
        repository.url,
        cluster.gitea.url,
        watch.prometheus_url(),
        latency(NAME, "4m").trim_end().replace('\n', "\n  "),
    )
}

pub(crate) fn installs(cluster: &Cluster) {
    let (repository, exporter) = shop(cluster, NAME);
    let watch = Watch::start(cluster, &repository, &exporter, &cluster.tars.config, &latency(NAME, "4m"));
    let kube = &cluster.admin;
    let secrets = |name: &str, files: &[&str]| {
        let from = files.iter().map(|it| format!("--from-file={it}={}", watch.path(it).display()));
        let args: Vec<String> = ["-n", NAME, "create", "secret", "generic", name]
            .map(str::to_owned)
            .into_iter()
            .chain(from)
            .collect();
        done(kube, &args.iter().map(String::as_str).collect::<Vec<_>>());
    };
    secrets("tars-signing", &["signing-key", "allowed_signers"]);
    secrets("tars-git", &["token"]);
    let helm_in = |namespace| Helm {
        program: &cluster.helm,
        config: &kube.config,
        namespace,
        home: watch.path("helm"),
    };
    let helm = helm_in(NAME);

    for file in fs::read_dir(support::root().join("charts/tars/ci")).unwrap().map(|it| it.unwrap().path()) {
        let values = file.to_str().unwrap();
        is_taken(cluster, values, &helm.run(&["template", RELEASE, "charts/tars", "--values", values]));
    }
    let plain = support::text("charts/kustomize/base/tars.yaml").unwrap();
    is_taken(
        cluster,
        "charts/kustomize/base",
        &plain.replace("namespace: tars\n", &format!("namespace: {NAME}\n")),
    );

    let file = watch.path("values.yaml");
    fs::write(&file, values(cluster, &repository, &watch)).unwrap();
    let file = file.to_str().unwrap();
    // The kinds are the cluster's already, by the server's side: helm leaves them as they are.
    let chart = [RELEASE, "charts/tars", "--skip-crds", "--values", file];
    helm.bring(&[&["install"][..], &chart].concat());
    let first = settings(kube);
    assert!(!first.contains("tick") && first.contains("role: remediator"), "{first}");
    let detectors = format!("/apis/apps/v1/namespaces/{NAME}/statefulsets/{RELEASE}-detector");
    assert_eq!(kube.get(&detectors).unwrap()["status"]["readyReplicas"], 2);
    helm.bring(&[&["upgrade"][..], &chart, &["--set", "settings.tick=45s"]].concat());
    assert!(settings(kube).contains("tick: 45s"), "{}", settings(kube));
    helm.bring(&["rollback", RELEASE, "1"]);
    assert_eq!(settings(kube), first, "every byte of the settings is back");

    // Another team's release of the same name, in its own namespace.
    let elsewhere = format!("{NAME}-elsewhere");
    kube.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {elsewhere}}}}}"));
    helm_in(&elsewhere).run(&[&["install"][..], &chart].concat());
    let has_rights = |namespace: &str| {
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        kube.get(&format!("{path}/{namespace}-{RELEASE}")).is_some()
    };
    assert_eq!([NAME, &elsewhere].map(has_rights), [true, true]);
    helm_in(&elsewhere).run(&["uninstall", RELEASE]);
    assert_eq!([NAME, &elsewhere].map(has_rights), [true, false], "each has its own rights");

    // No detector runs in the pods: what `helm test` would say is asked of the release in a single process.
    helm.bring(&[&["upgrade"][..], &chart, &["--set", "singleProcess.enabled=true"]].concat());
    assert!(kube.get(&detectors).is_none(), "one process needs no detectors");
    let (code, said) = test_command(cluster, &helm, &watch, &settings(kube));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("cluster"), "{said}");

    helm.run(&["uninstall", RELEASE, "--wait"]);
    let kinds = "deployment,statefulset,service,configmap,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget";
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let (_, left) = kube.kubectl(&["-n", NAME, "get", kinds, "-l", &selector, "-o", "name"], "");
    assert_eq!(left, "", "nothing of the release is left");
}

/// The settings of the release, as its pods read them.
fn settings(kube: &super::kube::Kube) -> String {
    let map = kube.get(&format!("/api/v1/namespaces/{NAME}/configmaps/{RELEASE}-settings")).unwrap();
    map["data"]["tars.yaml"].as_str().unwrap().to_owned()
}

/// Runs what the release's test pod would: its arguments, its account, its files. Only where they lie, and how the API server is
/// reached, is this machine's.
fn test_command(cluster: &Cluster, helm: &Helm<'_>, watch: &Watch, settings: &str) -> (i32, String) {
    let hooks = helm.run(&["get", "hooks", RELEASE]);
    let pods = hooks.split("\n---").filter(|it| it.contains("helm.sh/hook: test"));
    let pod: Value = pods.map(|it| yaml_serde::from_str(it).unwrap()).next().expect("the release has a test");
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
    let (code, token) = cluster.admin.kubectl(&["-n", NAME, "create", "token", account], "");
    assert_eq!(code, 0, "{token}");
    let config = watch.path("release.kubeconfig");
    let admin = fs::read_to_string(&cluster.admin.config).unwrap();
    let known = admin.split("{token: ").nth(1).unwrap().split('}').next().unwrap();
    fs::write(&config, admin.replace(known, token.trim())).unwrap();

    let etc = watch.path("etc");
    let lies =
        [("signing", "signing-key"), ("signing", "allowed_signers"), ("git", "token"), ("forge", "token")];
    for (folder, file) in lies {
        let to = etc.join("secrets").join(folder);
        fs::create_dir_all(&to).unwrap();
        fs::copy(watch.path(file), to.join(file)).unwrap();
        fs::set_permissions(to.join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let here = |text: &str| {
        text.replace("/etc/tars", etc.to_str().unwrap())
            .replace("/var/lib/tars", watch.path("var").to_str().unwrap())
            .replace("access: inCluster", &format!("access: kubeconfig\n  kubeconfig: {}", config.display()))
    };
    fs::create_dir_all(etc.join("settings")).unwrap();
    fs::create_dir_all(watch.path("var")).unwrap();
    fs::write(etc.join("settings/tars.yaml"), here(settings)).unwrap();
    let args = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    let out = Command::new(support::tars())
        .args(args.iter().map(|it| here(it.as_str().unwrap())))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", watch.path("var"))
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}
