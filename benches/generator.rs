//! A repository as large as is asked for, and changes of somebody else in it. Numbers come in; a bare repository
//! with a branch `main` goes out, the same for the same number.
//!
//! The tree is ten deep with the file. Of the twenty files of a unit, sixteen are plain manifests, three a
//! Kustomize base with its overlay, one is other YAML.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub const MAIN: &str = "refs/heads/main";
pub const UNIT_FILES: usize = 20;
/// Files that somebody else changes at once.
const MOVED_FILES: usize = 10;
/// Folders above the four that are counted.
const PREFIX: &str = "clusters/production/teams/shop/apps";

/// Git with nobody's settings; its standard output.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let out = command(folder, args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder).args(args).env_clear();
    git.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent").env("LC_ALL", "C");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "peer").env(format!("GIT_{who}_EMAIL"), "peer@example.org");
    }
    git
}

/// A bare repository with `files` files on `main`, in one pack.
pub fn generate(hub: &Path, files: usize) {
    git(hub.parent().unwrap(), &["init", "-q", "--bare", "-b", "main", hub.to_str().unwrap()]);
    import(hub, "", (0..files / UNIT_FILES).flat_map(unit));
    git(hub, &["repack", "-q", "-a", "-d"]);
}

/// Somebody changes ten files on `main`, the first ones of the first units.
pub fn change(hub: &Path, round: usize) {
    let files = (0..MOVED_FILES).map(|unit| (deployment_path(unit), deployment_text(unit, 100 + round)));
    import(hub, &format!("from {MAIN}^0\n"), files);
}

/// Where a Deployment of a unit stands that no kustomization names.
pub fn deployment_path(unit: usize) -> String {
    format!("{}/file-0.yaml", folder(unit))
}

/// What stands there; at first with three replicas.
pub fn deployment_text(unit: usize, replicas: usize) -> String {
    manifest(unit, 0, replicas)
}

fn import(hub: &Path, from: &str, files: impl Iterator<Item = (String, String)>) {
    let mut import = command(hub, &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stream = std::io::BufWriter::new(import.stdin.take().unwrap());
    let mut head = format!("commit {MAIN}\ncommitter peer <peer@example.org> 1700000000 +0000\n");
    write!(head, "data 4\nMove\n{from}").unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    for (path, text) in files {
        write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len()).unwrap();
    }
    stream.flush().unwrap();
    drop(stream);
    assert!(import.wait().unwrap().success());
}

fn folder(unit: usize) -> String {
    let (a, b, c, d) = (unit / 1000, unit / 100 % 10, unit / 10 % 10, unit % 10);
    format!("{PREFIX}/zone-{a}/group-{b}/service-{c}/part-{d}")
}

fn deployment(name: &str, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels:\n    \
         app.kubernetes.io/name: {name}\n    app.kubernetes.io/part-of: shop\nspec:\n  \
         replicas: {replicas} # sized by hand\n  selector:\n    matchLabels:\n      \
         app.kubernetes.io/name: {name}\n  strategy:\n    rollingUpdate:\n      maxUnavailable: 1\n  \
         template:\n    metadata:\n      labels:\n        app.kubernetes.io/name: {name}\n    spec:\n      \
         containers:\n        - name: app\n          image: registry.example.org/shop/{name}:1.4.2\n          \
         ports:\n            - containerPort: 8080\n              name: http\n          env:\n            \
         - name: LOG_LEVEL\n              value: info\n          resources:\n            requests:\n              \
         cpu: 100m\n              memory: 128Mi\n            limits:\n              memory: 256Mi\n          \
         readinessProbe:\n            httpGet:\n              path: /ready\n              port: http\n"
    )
}

/// The `file`-th of the plain manifests of a unit.
fn manifest(unit: usize, file: usize, replicas: usize) -> String {
    let name = format!("app-{unit}-{file}");
    let head = |api: &str, kind: &str| {
        format!("apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: shop\n")
    };
    match file % 4 {
        0 | 1 => deployment(&name, replicas),
        2 => {
            head("v1", "Service")
                + "spec:\n  ports:\n    - port: 80\n      targetPort: http\n  type: ClusterIP\n"
        }
        _ if file == 3 => {
            head("autoscaling/v2", "HorizontalPodAutoscaler")
                + &format!(
                    "spec:\n  maxReplicas: 9\n  scaleTargetRef:\n    kind: Deployment\n    name: app-{unit}-0\n"
                )
        }
        _ => {
            let lines: String = (0..8).map(|at| format!("  key-{at}: \"value {replicas}\"\n")).collect();
            head("v1", "ConfigMap") + "data:\n" + &lines
        }
    }
}

fn unit(unit: usize) -> Vec<(String, String)> {
    let folder = folder(unit);
    let plain = (0..16).map(|file| (format!("{folder}/file-{file}.yaml"), manifest(unit, file, 3)));
    let name = format!("web-{unit}");
    let overlay = format!(
        "namespace: prod\nresources:\n  - ../base\nreplicas:\n  - name: {name}\n    count: 4\nimages:\n  - \
         name: registry.example.org/shop/{name}\n    newTag: 1.5.0\n"
    );
    let values = format!("replicaCount: {unit}\nimage:\n  tag: 1.0.0\ningress:\n  enabled: false\n");
    plain
        .chain([
            (format!("{folder}/base/kustomization.yaml"), "resources:\n  - deployment.yaml\n".to_owned()),
            (format!("{folder}/base/deployment.yaml"), deployment(&name, 2)),
            (format!("{folder}/prod/kustomization.yaml"), overlay),
            (format!("{folder}/values.yaml"), values),
        ])
        .collect()
}
