//! `tars forge check` and `tars forge prs` against the stand-in for GitLab, on a project in a subgroup. What each
//! operation does is tested beside the adapter, in `src/propose/forge/gitlab_tests.rs`.

use super::*;
use crate::support::fake::Fake;
use crate::support::root;

const PROJECT: &str = "shop%2Finfra/gitops";

fn settings_for(server: &Fake, token: &str) -> TempDir {
    let folder = settings(&server.url, "gitops", token);
    let file = folder.path().join("tars.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("kind: gitea", "kind: gitlab").replace("shop/gitops", "shop/infra/gitops");
    std::fs::write(file, text).unwrap();
    folder
}

#[test]
fn a_gitlab_is_checked_and_its_pull_requests_are_listed() {
    let Some(parts) = parts::fakes("a_gitlab_is_checked_and_its_pull_requests_are_listed") else { return };
    let server = Fake::start(root(), &parts, "gitlab");
    let token = server.user(BOT);
    let rule = json!([{ "branch": "main", "pull": true, "merge_level": 30 }]);
    let made = json!({ "owner": "shop/infra", "name": "gitops", "members": { BOT: "write" }, "merge_method": "ff",
        "squash_option": "never", "pipeline_must_succeed": true, "protection": rule });
    server.control("POST", "repositories", &made);
    let sha = server.commit(PROJECT, "tars/one", "one.yaml", "replicas: 5\n");
    let pull = json!({ "source_branch": "tars/one", "target_branch": "main", "title": "tars: scale out" });
    let path = "/api/v4/projects/shop%2Finfra%2Fgitops/merge_requests";
    let (status, answer) = server.ask(&token, "POST", path, Some(&pull));
    assert_eq!(status, 201, "{answer}");
    let folder = settings_for(&server, &token);
    let said = run(folder.path(), &["forge", "check"]).ok();
    for expected in [
        "gitlab, shop/infra/gitops on",
        "belongs to tars-bot",
        "shop/infra/gitops, default branch main",
        "reads and pushes, and no more",
        "api: may write pull requests and statuses",
        "tars/ledger is not there yet",
        "may push to tars/one",
        "main is protected",
        "waits for pipeline",
        "fast-forward",
        "0 failed, 0 warned",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    let listed = run(folder.path(), &["forge", "prs", "-o", "json"]).json();
    assert_eq!(listed["items"][0]["head"], sha.as_str(), "{listed}");
    // Each of these stops an automatic merge, and is named with its place.
    let wrong = json!({ "protection": [{ "branch": "main", "approvals": 2, "merge_level": 40 }],
        "pipeline_must_succeed": false, "merge_method": "merge", "members": { BOT: "maintain" } });
    server.control("PATCH", &format!("repositories/{PROJECT}"), &wrong);
    let said = run(folder.path(), &["forge", "check"]).ok();
    for expected in [
        "administers shop/infra/gitops",
        "-/project_members",
        "requires 2 approvals",
        "Pipelines must succeed",
        "-/settings/merge_requests",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    let (status, answer) = server.ask(&server.admin_token, "GET", "/api/v4/user", None);
    assert_eq!((status, &answer["is_admin"]), (200, &json!(true)));
    server.is_as_described("projects/");
}

#[test]
fn a_token_that_only_reads_is_told_what_it_lacks() {
    let Some(parts) = parts::fakes("a_token_that_only_reads_is_told_what_it_lacks") else { return };
    let server = Fake::start(root(), &parts, "gitlab");
    server.user(BOT);
    let token = server.token(&json!({ "login": BOT, "scopes": ["read_api"] }));
    let made = json!({ "owner": "shop/infra", "name": "gitops", "members": { BOT: "write" } });
    server.control("POST", "repositories", &made);
    let folder = settings_for(&server, &token);
    let said = run(folder.path(), &["forge", "check"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("make a token with the scope api"), "{said:?}");
    server.is_as_described("projects/");
}
