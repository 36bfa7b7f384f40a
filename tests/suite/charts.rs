//! Charts from the outside: releases of a chart in the repository are rolled back where their value stands, and
//! charts from elsewhere are scaled where a person named the place.

use std::path::{Path, PathBuf};

use crate::support::parts;
use crate::support::program::{Said, example, git, git_with, shell};

const PAYMENTS: &str = "charts/payments/values-production.yaml";
const REDIS: &str = "clusters/production/argocd/redis.yaml";

fn helm(test: &str) -> Option<PathBuf> {
    Some(parts::find("helm", test)?.parent().unwrap().to_path_buf())
}

/// `tars` with helm in `PATH`.
fn with(bin: &Path, dir: &Path, line: &str) -> Said {
    shell(dir, &format!("PATH={}:$PATH tars {line}", bin.display()))
}

fn commit(dir: &Path, file: &str, text: &str, subject: &str) {
    std::fs::write(dir.join(file), text).unwrap();
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", subject]);
}

#[test]
fn a_release_of_a_chart_is_rolled_back_where_its_value_stands() {
    let Some(bin) = helm("a_release_of_a_chart_is_rolled_back_where_its_value_stands") else { return };
    let clone = example();
    let text = std::fs::read_to_string(clone.path().join(PAYMENTS)).unwrap();
    let released = text.replace("1.30.2", "1.31.0");
    assert_ne!(released, text);
    commit(clone.path(), PAYMENTS, &released, "Release 1.31.0");
    // More commits that touch the same file than are rendered in one go.
    let mut now = released;
    for count in 5..16 {
        now = now.replace(&format!("replicaCount: {}", count - 1), &format!("replicaCount: {count}"));
        commit(clone.path(), PAYMENTS, &now, &format!("{count} replicas"));
    }
    let line =
        "render Rollback --target production/Deployment/payments --set scope=Image --set maxAge=6h -o json";
    let said = with(&bin, clone.path(), line);
    assert_eq!(said.code, 0, "{said:#?}");
    let preview = said.json();
    let change = &preview["fields"][0];
    let got =
        [&change["file"], &change["field"], &change["from"], &change["to"]].map(|it| it.as_str().unwrap());
    assert_eq!(got, [PAYMENTS, "image.tag", "1.31.0", "1.30.2"]);
    git_with(clone.path(), &["apply", "-"], &[], preview["diff"].as_str().unwrap().as_bytes());
    let undone = std::fs::read_to_string(clone.path().join(PAYMENTS)).unwrap();
    assert_eq!(undone, now.replace("1.31.0", "1.30.2"), "the count stays");
}

fn redis(version: &str, comment: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: redis\n  namespace: argocd\nspec:\n  \
         project: default\n  source:\n    repoURL: https://charts.example.com\n    chart: redis\n    targetRevision: {version}\n    \
         helm:\n      valuesObject:\n        replica:\n          replicaCount: 3{comment}\n        master:\n          count: 1\n  \
         destination:\n    server: https://kubernetes.default.svc\n    namespace: production\n"
    )
}

fn policy(write_to: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: redis, namespace: production}}\nspec:\n  \
         mode: AutoMerge\n  triggers: [{{type: webhook, alertname: RedisSlow}}]\n  actions:\n    - {{type: ScaleOut, scaleOut: \
         {{step: 1, maxReplicas: 6}}}}\n    - {{type: Rollback, rollback: {{scope: Image, maxAge: 6h}}}}\n    - {{type: RestartPod, \
         restartPod: {{maxPods: 1}}}}\n  allowedResources: [StatefulSet/redis-replicas]\n{write_to}  verify: {{signal: latency, \
         service: redis}}\n"
    )
}

const PLACE: &str = "  writeTo: [{field: replicas, resource: StatefulSet/redis-replicas, file: \
                     clusters/production/argocd/redis.yaml, path: spec.source.helm.valuesObject.replica.replicaCount}]\n";

#[test]
fn a_chart_from_elsewhere_is_scaled_at_the_named_place_and_waits_for_a_person() {
    let clone = example();
    commit(clone.path(), REDIS, &redis("1.2.2", ""), "Add redis");
    commit(clone.path(), "policies/redis.yaml", &policy(PLACE), "Look after redis");
    let scale = "tars render ScaleOut --target production/StatefulSet/redis-replicas";
    let preview = shell(clone.path(), &format!("{scale} -o json"));
    assert_eq!(preview.code, 0, "{preview:#?}");
    let preview = preview.json();
    assert_eq!(preview["risk"]["class"], "Medium", "{preview:#}");
    git_with(clone.path(), &["apply", "-"], &[], preview["diff"].as_str().unwrap().as_bytes());
    let after = std::fs::read_to_string(clone.path().join(REDIS)).unwrap();
    assert_eq!(after, redis("1.2.2", "").replace("replicaCount: 3", "replicaCount: 4"));
    git(clone.path(), &["checkout", "-q", "--", "."]);
    let text = shell(clone.path(), &format!("{scale} --what pr")).ok();
    for words in ["not rendered: Application redis", "charts.example.com", "place named by writeTo"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("Merges itself"), "{text}");

    commit(clone.path(), REDIS, &redis("1.3.0", ""), "Take redis 1.3.0");
    let said = shell(clone.path(), "tars render Rollback --target production/StatefulSet/redis-replicas");
    assert_eq!(said.code, 5, "{said:#?}");
    assert!(said.err.contains("went from chart version 1.2.2 to 1.3.0"), "{said:#?}");
    let said = shell(clone.path(), "tars render RestartPod --target production/StatefulSet/redis-replicas");
    assert!(said.code == 5 && said.err.contains("not rendered here"), "{said:#?}");
}

#[test]
fn without_a_named_place_the_policy_is_told_what_to_write() {
    let clone = example();
    commit(clone.path(), REDIS, &redis("1.2.2", ""), "Add redis");
    commit(clone.path(), "policies/redis.yaml", &policy(""), "Look after redis");
    let scale = "tars render ScaleOut --target production/StatefulSet/redis-replicas";
    let said = shell(clone.path(), scale);
    assert_eq!(said.code, 5, "{said:#?}");
    let line = "writeTo: [{field: replicas, resource: {kind: StatefulSet, name: redis-replicas}, file: \
                clusters/production/argocd/redis.yaml, path: spec.source.helm.valuesObject.some.key}]";
    assert!(said.err.contains(line), "{said:#?}");
    let comment = "  # {\"$tars\": \"replicas StatefulSet/redis-replicas\"}";
    commit(clone.path(), REDIS, &redis("1.2.2", comment), "Mark the count");
    let text = shell(clone.path(), scale).ok();
    assert!(text.contains("+          replicaCount: 4"), "{text}");
    assert!(text.contains("place named by a $tars comment"), "{text}");
}
