//! What GitHub's words come to, where its own server could not be asked.

use serde_json::{Value, json};

use super::*;
use crate::model::fixtures::oid;

fn pull(head_repo: &Value) -> PullRequest {
    let end = |name: &str, repo: &Value| json!({ "ref": name, "sha": oid('c'), "repo": repo });
    let wire = json!({ "number": 1, "state": "open", "updated_at": "2026-11-23T10:00:00Z",
        "base": end("main", &json!({ "id": 7 })), "head": end("tars/x", head_repo) });
    serde_json::from_value::<Pull>(wire).unwrap().into()
}

#[test]
fn a_branch_of_a_fork_is_not_ours_whatever_its_name() {
    assert!(pull(&json!({ "id": 7 })).is_ours());
    for elsewhere in [json!({ "id": 8 }), Value::Null] {
        assert!(!pull(&elsewhere).is_ours(), "{elsewhere}");
    }
}

#[test]
fn only_a_completed_run_with_the_word_success_is_a_success() {
    for (status, conclusion, state) in [
        ("completed", json!("success"), CheckState::Success),
        ("completed", json!("failure"), CheckState::Failure),
        ("completed", json!("timed_out"), CheckState::Failure),
        ("completed", json!("cancelled"), CheckState::Failure),
        ("completed", json!("action_required"), CheckState::Failure),
        ("completed", json!("startup_failure"), CheckState::Failure),
        ("completed", json!("neutral"), CheckState::Other),
        ("completed", json!("skipped"), CheckState::Other),
        ("completed", json!("stale"), CheckState::Other),
        ("completed", json!("a word of tomorrow"), CheckState::Other),
        ("completed", Value::Null, CheckState::Other),
        ("in_progress", json!("success"), CheckState::Pending),
        ("queued", Value::Null, CheckState::Pending),
        ("waiting", Value::Null, CheckState::Pending),
    ] {
        let wire = json!({ "name": "ci", "head_sha": oid('c'), "status": status, "conclusion": conclusion,
            "app": { "slug": "actions" }, "output": { "title": null } });
        let check = Check::from(serde_json::from_value::<CheckRun>(wire).unwrap());
        assert_eq!((check.state, check.by.as_str()), (state, "actions[bot]"), "{status} {conclusion}");
    }
}

#[test]
fn both_kinds_of_rules_count_and_the_stricter_one_wins() {
    let branch = |extra: Value| {
        let mut wire = json!({ "protected": true });
        wire.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value::<Branch>(wire).unwrap()
    };
    let seen = json!({ "protection": { "required_status_checks": { "contexts": ["ci"] } } });
    let rules: Vec<Rule> = serde_json::from_value(json!([
        { "type": "required_status_checks", "parameters": { "required_status_checks": [{ "context": "lint" }] } },
        { "type": "pull_request", "parameters": { "required_approving_review_count": 1 } },
        { "type": "a rule of tomorrow" },
    ]))
    .unwrap();
    let classic = json!({ "required_pull_request_reviews": { "required_approving_review_count": 2 } });
    let all = protection(branch(seen.clone()), serde_json::from_value(classic).ok(), rules, true);
    assert_eq!((all.required_approvals, all.required_checks), (2, vec!["ci".to_owned(), "lint".to_owned()]));
    assert!(all.is_protected && !all.may_push && all.may_merge);
    let checks_only = protection(branch(seen), None, Vec::new(), true);
    assert!(checks_only.may_push && checks_only.may_merge && checks_only.required_approvals == 0);
    for shut in [json!([{ "type": "update" }]), json!([{ "type": "merge_queue" }])] {
        let shut = protection(branch(json!({})), None, serde_json::from_value(shut).unwrap(), true);
        assert!(!shut.may_push && !shut.may_merge, "{shut:?}");
    }
    let locked = serde_json::from_value(json!({ "lock_branch": { "enabled": true } })).ok();
    assert!(!protection(branch(json!({})), locked, Vec::new(), true).may_merge);
    assert!(!protection(branch(json!({})), None, Vec::new(), false).may_merge);
}

#[test]
fn the_last_word_of_a_reviewer_counts_and_a_remark_takes_nothing_back() {
    let said =
        |by: &str, state: &str| json!({ "user": { "login": by }, "state": state, "commit_id": oid('c') });
    let given = json!([
        said("first", "APPROVED"),
        said("second", "APPROVED"),
        said("first", "COMMENTED"),
        said("second", "CHANGES_REQUESTED"),
        said("third", "DISMISSED"),
    ]);
    let reviews = reviews(serde_json::from_value(given).unwrap());
    let standing: Vec<(&str, ReviewVerdict)> =
        reviews.iter().filter(|it| !it.is_outdated).map(|it| (it.by.as_str(), it.verdict)).collect();
    assert_eq!(
        standing,
        [
            ("first", ReviewVerdict::Approved),
            ("first", ReviewVerdict::Commented),
            ("second", ReviewVerdict::ChangesRequested),
        ]
    );
}

#[test]
fn a_role_says_what_it_allows() {
    for (role, permission, access) in [
        ("admin", "admin", Access::Admin),
        ("maintain", "write", Access::Write),
        ("write", "write", Access::Write),
        ("triage", "read", Access::Triage),
        ("read", "read", Access::Read),
        ("made by an organisation", "write", Access::Write),
        ("", "none", Access::None),
        ("", "", Access::None),
    ] {
        let wire = json!({ "permission": permission, "role_name": role });
        assert_eq!(serde_json::from_value::<Level>(wire).unwrap().access(), access, "{role} {permission}");
    }
}
