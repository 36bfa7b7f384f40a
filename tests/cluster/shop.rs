//! One workload of an incident: its repository on Gitea and its Deployment. Every incident has a namespace, a repository and a
//! policy of its own, so that all of them can happen at once in one cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::Cluster;
use super::support::gitea::ORGANISATION;

/// The file whose one line a ScaleOut changes.
pub(crate) const DEPLOYMENT: &str = "apps/backend/deployment.yaml";

/// `backend`, as small as the API server allows.
pub(crate) fn deployment(replicas: u32, tag: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: backend}}
spec:
  replicas: {replicas}   # four requests at once each
  selector: {{matchLabels: {{app: backend}}}}
  template:
    metadata: {{labels: {{app: backend}}}}
    spec:
      containers:
        - name: backend
          image: registry.example.com/shop/backend:{tag}
"
    )
}

/// A repository on the cluster's Gitea, named as the namespace it fills.
#[derive(Debug)]
pub(crate) struct Repository {
    pub name: &'static str,
    /// As Flux and Argo CD read it, without a credential.
    pub url: String,
    push_url: String,
    work: PathBuf,
}

impl Repository {
    /// Makes it, and the namespace.
    pub(crate) fn new(cluster: &Cluster, name: &'static str) -> Self {
        let gitea = &cluster.gitea;
        let path = gitea.repository(name, &[]);
        gitea.admin("PATCH", &path, Some(&serde_json::json!({ "private": false })), 200);
        let url = format!("{}/{ORGANISATION}/{name}.git", gitea.url);
        let push_url = url.replace("http://", &format!("http://keeper:{}@", gitea.admin_token));
        let work = cluster.path(name);
        fs::create_dir(&work).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        cluster.admin.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
        Self { name, url, push_url, work }
    }

    /// Protects `main`, as automatic merges ask for.
    pub(crate) fn protect(&self, cluster: &Cluster) {
        let rule = serde_json::json!({ "rule_name": "main", "enable_push": true });
        let path = format!("/repos/{ORGANISATION}/{}/branch_protections", self.name);
        cluster.gitea.admin("POST", &path, Some(&rule), 201);
    }

    /// What the repository holds: the workload, and `policy` if there is one.
    pub(crate) fn files(&self, replicas: u32, tag: &str, policy: &str) -> Vec<(String, String)> {
        let kustomization = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: {}\n\
             resources: [deployment.yaml]\n",
            self.name
        );
        let mut files = vec![
            (DEPLOYMENT.to_owned(), deployment(replicas, tag)),
            ("apps/backend/kustomization.yaml".to_owned(), kustomization),
        ];
        if !policy.is_empty() {
            files.push(("policies/backend.yaml".to_owned(), policy.to_owned()));
        }
        files
    }

    /// Commits these files and brings them to `main`; the commit.
    pub(crate) fn push(&self, files: &[(String, String)], message: &str) -> String {
        for (path, text) in files {
            let path = self.work.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        git(&self.work, &["add", "--all"]);
        git(&self.work, &["commit", "--quiet", "--message", message]);
        git(&self.work, &["push", "--quiet", "--force", &self.push_url, "main"]);
        git(&self.work, &["rev-parse", "HEAD"])
    }
}

/// Plain git as somebody of the platform team.
#[track_caller]
pub(crate) fn git(at: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=Platform team", "-c", "user.email=platform@example.com"])
        .args(args)
        .current_dir(at)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}
