//! `tars tree`, `tars render` and `tars diff` on the example repository: right answers, honest refusals, and
//! nothing written. What they print as a patch is applied with plain git.

use std::path::Path;

use crate::support::program::{Said, example, git, git_with, tars};

const BACKEND: &str = "production/Deployment/backend";
const OVERLAY: &str = "apps/backend/overlays/production/kustomization.yaml";

/// Everything git holds: refs and the number of objects.
fn state(dir: &Path) -> (String, String) {
    (git(dir, &["for-each-ref"]), git(dir, &["count-objects", "-v"]))
}

#[track_caller]
fn has(said: &Said, words: &[&str]) {
    for word in words {
        assert!(said.out.contains(word) || said.err.contains(word), "{word:?} is missing in {said:#?}");
    }
}

#[test]
fn a_tree_shows_the_way_to_the_cluster_and_where_each_field_is_written() {
    let clone = example();
    let said = tars(clone.path(), &["tree", BACKEND]);
    assert_eq!(said.code, 0, "{said:#?}");
    has(&said, &[OVERLAY, "apps/backend/base/deployment.yaml:1   declares it"]);
    has(
        &said,
        &["replicas   3", "replicas[name=backend].count", "image of backend", "restartedAt   (absent)"],
    );
    let order: Vec<usize> =
        [OVERLAY, "apps/backend/base/kustomization.yaml", "apps/backend/base/deployment.yaml"]
            .iter()
            .map(|file| said.out.find(file).unwrap())
            .collect();
    assert!(order.is_sorted(), "the cluster's side comes first: {}", said.out);

    let json = tars(clone.path(), &["tree", BACKEND, "-o", "json"]).json();
    let replicas = json["fields"].as_array().unwrap().iter().find(|it| it["field"] == "replicas").unwrap();
    assert_eq!(replicas["value"], "3");
    assert_eq!(replicas["writtenIn"]["file"], OVERLAY);
    let line = usize::try_from(replicas["writtenIn"]["line"].as_u64().unwrap()).unwrap();
    let text = std::fs::read_to_string(clone.path().join(OVERLAY)).unwrap();
    assert!(text.lines().nth(line - 1).unwrap().contains("count: 3"), "line {line} of {OVERLAY}");
}

#[test]
fn the_autoscaler_is_shown_as_the_owner_of_the_count() {
    let clone = example();
    let said = tars(clone.path(), &["tree", "production/Deployment/frontend"]);
    assert_eq!(said.code, 0, "{said:#?}");
    has(&said, &["minReplicas of production/HorizontalPodAutoscaler/frontend   4", "spec.minReplicas"]);
    has(&said, &["refused", "AmbiguousTarget", "apps/frontend/base/deployment.yaml"]);
}

#[test]
fn a_rendered_patch_applies_with_plain_git_and_nothing_was_written() {
    let clone = example();
    let before = state(clone.path());
    let said = tars(clone.path(), &["render", "ScaleOut", "--target", BACKEND, "-o", "json"]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(state(clone.path()), before, "a preview writes nothing");
    assert_eq!(git(clone.path(), &["status", "--porcelain"]), "");
    let preview = said.json();
    assert_eq!((&preview["fieldsChanged"], &preview["fields"][0]["to"]), (&1.into(), &"5".into()));

    git_with(clone.path(), &["apply", "-"], &[], preview["diff"].as_str().unwrap().as_bytes());
    let changed = git(clone.path(), &["diff", "--numstat"]);
    assert_eq!(changed, format!("1\t1\t{OVERLAY}"), "one line of one file");
    let message = preview["commitMessage"].as_str().unwrap();
    let trailers = git_with(clone.path(), &["interpret-trailers", "--parse"], &[], message.as_bytes());
    assert!(trailers.contains("Tars-Undo: replicas[name=backend].count=3"), "{trailers}");
}

#[test]
fn every_part_of_a_proposal_can_be_read_before_there_is_one() {
    let clone = example();
    let part =
        |what: &str| tars(clone.path(), &["render", "scaleout", "--target", BACKEND, "--what", what]).ok();
    assert!(part("patch").contains("+    count: 5"));
    assert!(part("commit").contains("Tars-Target: production/Deployment/backend"));
    assert!(part("pr").starts_with("# tars: scale out production/backend 3→5"));
    let all = part("all");
    assert!(all.contains("+    count: 5") && all.contains("Tars-Target") && all.contains("**Risk**"));
}

#[test]
fn bounds_can_be_given_where_no_policy_has_them() {
    let clone = example();
    let args = ["render", "ScaleOut", "--target", "production/StatefulSet/postgres"];
    let said = tars(clone.path(), &args);
    assert_eq!(said.code, 2, "{said:#?}");
    has(&said, &["no policy allows ScaleOut", "--set"]);
    let said = tars(clone.path(), &[&args[..], &["--set", "step=1", "--set", "maxReplicas=3"]].concat());
    assert_eq!(said.code, 0, "{said:#?}");
    has(&said, &["apps/postgres/statefulset.yaml", "1 field changed"]);
    let said = tars(clone.path(), &[&args[..], &["--set", "stepp=1"]].concat());
    assert_eq!(said.code, 2, "{said:#?}");
    has(&said, &["stepp", "tars policy schema"]);
}

#[test]
fn a_diff_answers_with_its_exit_code() {
    let clone = example();
    let said = tars(clone.path(), &["diff"]);
    assert_eq!(said.code, 1, "something would change: {said:#?}");
    has(&said, &["# backend-latency would ScaleOut", "# worker-memory would RestartPod", "no Rollback"]);
    assert!(!said.out.contains("no Rollback"), "reasons are talk: {said:#?}");

    let said = tars(clone.path(), &["diff", "backend-errors"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "no release to undo: {said:#?}");
    let said = tars(clone.path(), &["diff", "backend-latency", "-o", "json"]);
    assert_eq!(said.json()["items"][0]["target"]["name"], "backend", "{said:#?}");
    let said = tars(clone.path(), &["diff", "nobody"]);
    assert_eq!(said.code, 2, "{said:#?}");
}

#[test]
fn a_rollback_is_previewed_from_the_history_of_the_clone() {
    let clone = example();
    let text = std::fs::read_to_string(clone.path().join(OVERLAY)).unwrap();
    assert!(text.contains("\"2.13.4\""), "{text}");
    std::fs::write(clone.path().join(OVERLAY), text.replace("2.13.4", "9.9.9")).unwrap();
    git(clone.path(), &["commit", "-qam", "Release 9.9.9"]);
    let said = tars(clone.path(), &["render", "Rollback", "--target", BACKEND]);
    assert_eq!(said.code, 0, "{said:#?}");
    has(&said, &["newTag: \"9.9.9\"", "1 field changed"]);
    let json = tars(clone.path(), &["render", "Rollback", "--target", BACKEND, "-o", "json"]).json();
    git_with(clone.path(), &["apply", "-"], &[], json["diff"].as_str().unwrap().as_bytes());
    assert_eq!(std::fs::read_to_string(clone.path().join(OVERLAY)).unwrap(), text, "byte for byte");
}

#[test]
fn mistakes_and_refusals_are_told_apart() {
    let clone = example();
    let tries: [(&[&str], i32, &str); 6] = [
        (&["tree", "backend"], 2, "namespace/Kind/name"),
        (&["tree", "elsewhere/Deployment/nobody"], 1, "is not declared"),
        (&["render", "Nothing", "--target", BACKEND], 2, "is no playbook"),
        (&["render", "Rollback", "--target", BACKEND], 5, "no earlier release"),
        (&["render", "ScaleOut", "--target", BACKEND, "--policy", "x"], 2, "no policy allows"),
        (&["render", "ScaleOut", "--target", BACKEND, "--set", "step"], 2, "KEY=VALUE"),
    ];
    for (args, code, words) in tries {
        let said = tars(clone.path(), args);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{args:?}: {said:#?}");
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
}

#[test]
fn whose_repository_an_address_is_comes_from_the_settings() {
    let clone = example();
    let target = "fraud/Deployment/scorer";
    let tree = |more: &[&str]| tars(clone.path(), &[&["tree", target][..], more].concat());
    let said = tree(&[]);
    assert_eq!(said.code, 0, "{said:#?}");
    has(&said, &["is taken to bring teams/fraud from this repository"]);
    let settings = clone.path().join("tars.yaml");
    let ours = std::fs::read_to_string(&settings).unwrap();
    let said = tree(&["--config", "tars.yaml"]);
    assert!(said.code == 0 && !said.err.contains("is taken"), "{said:#?}");

    let own = "url: https://git.example.com/shop/gitops.git";
    let other = "url: ssh://git@git.example.com/platform/deploy.git";
    std::fs::write(&settings, ours.replace(own, other)).unwrap();
    let said = tree(&["--config", "tars.yaml"]);
    assert_eq!(said.code, 1, "{said:#?}");
    has(&said, &["which is another repository", "repository.aliases"]);
    for alias in ["git@GIT.example.com:shop/gitops", "https://git.example.com/shop/gitops.git/"] {
        std::fs::write(&settings, ours.replace(own, &format!("{other}\n  aliases: [\"{alias}\"]"))).unwrap();
        let said = tree(&["--config", "tars.yaml"]);
        assert_eq!(said.code, 0, "{alias}: {said:#?}");
    }
    std::fs::write(&settings, ours.replace("branch: main", "branch: trunk")).unwrap();
    let said = tree(&["--config", "tars.yaml"]);
    has(&said, &["revision that follows main, not the watched branch trunk"]);
}
