//! What becomes of single answers of GitLab: the ones where a word decides.

use serde_json::{Value, json};

use super::*;

fn project(more: &Value) -> Project {
    let mut it = json!({ "id": 1, "path_with_namespace": "shop/infra/gitops", "web_url": "https://g/x" });
    it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(it).unwrap()
}

fn pull(more: &Value) -> PullRequest {
    let mut it = json!({ "iid": 1, "title": "tars: scale out", "state": "opened", "source_branch": "tars/x",
        "target_branch": "main", "sha": "c".repeat(40), "source_project_id": 7, "target_project_id": 7,
        "merge_status": "can_be_merged", "detailed_merge_status": "mergeable",
        "updated_at": "2026-11-23T10:00:00.123Z" });
    it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value::<Pull>(it).unwrap().noun().unwrap()
}

#[test]
fn a_project_merges_in_its_own_way_only() {
    for (method, squash, expected) in [
        ("ff", "never", &[MergeMethod::FastForward][..]),
        ("merge", "never", &[MergeMethod::Merge]),
        ("rebase_merge", "never", &[MergeMethod::Merge]),
        ("merge", "default_off", &[MergeMethod::Merge, MergeMethod::Squash]),
        ("ff", "default_on", &[MergeMethod::FastForward, MergeMethod::Squash]),
        ("ff", "always", &[MergeMethod::Squash]),
        ("something new", "never", &[]),
    ] {
        let found = project(&json!({ "merge_method": method, "squash_option": squash })).merge_methods();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{method} {squash}");
    }
}

#[test]
fn levels_become_the_least_that_they_certainly_allow() {
    for (visibility, level, expected) in [
        ("private", 0, Access::None),
        ("private", 10, Access::None),
        ("private", 15, Access::None),
        ("private", 20, Access::Triage),
        ("private", 30, Access::Write),
        ("private", 40, Access::Admin),
        ("private", 50, Access::Admin),
        ("internal", 0, Access::None),
        ("internal", 10, Access::Read),
        ("public", 0, Access::Read),
        ("public", 5, Access::Read),
    ] {
        let found = project(&json!({ "visibility": visibility })).access(level);
        assert_eq!(found, expected, "{visibility} {level}");
    }
}

#[test]
fn a_member_who_is_not_active_has_no_level() {
    let member = |it: Value| serde_json::from_value::<Member>(it).unwrap().level();
    assert_eq!(member(json!({ "access_level": 40 })), 40);
    assert_eq!(member(json!({ "access_level": 40, "state": "awaiting" })), 0);
    assert_eq!(member(json!({ "access_level": 40, "state": "blocked" })), 0);
}

#[test]
fn the_sign_of_a_draft_is_no_part_of_the_title() {
    for title in
        ["Draft: tars: scale out", "draft:tars: scale out", "[Draft] tars: scale out", "WIP: tars: scale out"]
    {
        let draft = pull(&json!({ "title": title, "draft": true }));
        assert_eq!((draft.title.as_str(), draft.is_draft), ("tars: scale out", true), "{title}");
    }
    // Not a draft to GitLab, so not a sign either.
    assert_eq!(pull(&json!({ "title": "[WIP] x", "draft": false })).title, "[WIP] x");
}

#[test]
fn only_rules_may_stand_against_what_is_mergeable() {
    for (detail, expected) in [
        ("mergeable", true),
        ("ci_must_pass", true),
        ("not_approved", true),
        ("discussions_not_resolved", true),
        ("draft_status", true),
        ("checking", false),
        ("unchecked", false),
        ("conflict", false),
        ("need_rebase", false),
    ] {
        assert_eq!(pull(&json!({ "detailed_merge_status": detail })).is_mergeable, expected, "{detail}");
    }
    assert!(!pull(&json!({ "merge_status": "checking" })).is_mergeable);
    assert!(!pull(&json!({ "hinto_conflicts": true })).is_mergeable);
    assert!(!pull(&json!({ "state": "locked" })).is_mergeable);
}

#[test]
fn a_branch_of_a_fork_is_not_ours_whatever_its_name() {
    assert!(pull(&json!({})).is_ours());
    assert!(!pull(&json!({ "source_project_id": 8 })).is_ours());
    assert!(!pull(&json!({ "source_project_id": null })).is_ours());
}

#[test]
fn a_merge_names_the_commit_that_the_base_got() {
    let id = |c: char| ObjectId::new(c.to_string().repeat(40)).unwrap();
    for (made, expected) in [
        (json!({ "merge_commit_sha": "d".repeat(40), "squash_commit_sha": "e".repeat(40) }), 'd'),
        (json!({ "squash_commit_sha": "e".repeat(40) }), 'e'),
        (json!({}), 'c'),
    ] {
        let mut it = made;
        it["state"] = json!("merged");
        assert_eq!(pull(&it).state, PullState::Merged(Some(id(expected))), "{it}");
    }
}

#[test]
fn who_told_the_forge_to_merge_later_has_not_merged() {
    let by = json!({ "id": 1, "username": "someone" });
    let later = pull(&json!({ "merge_when_pipeline_succeeds": true, "merge_user": by }));
    assert_eq!((later.auto_merge, later.merged_by), (true, None));
    let merged = pull(&json!({ "state": "merged", "merge_when_pipeline_succeeds": true, "merge_user": by }));
    assert_eq!((merged.auto_merge, merged.merged_by.as_deref()), (false, Some("someone")));
}

#[test]
fn no_line_of_a_text_is_an_order_to_gitlab() {
    for (text, safe) in [
        ("/merge", " /merge"),
        ("fine\n/approve\n/close now", "fine\n /approve\n /close now"),
        ("a\r\n\r/merge\r\n", "a\n /merge\n"),
        ("see a/b\n  /indented", "see a/b\n  /indented"),
        ("", ""),
    ] {
        assert_eq!(without_quick_actions(text), safe);
        assert_eq!(without_quick_actions(safe), safe);
    }
}

#[test]
fn an_approval_is_of_the_newest_commit_only_when_that_is_certain() {
    let version: Version = serde_json::from_value(
        json!({ "head_commit_sha": "c".repeat(40), "created_at": "2026-11-23T10:00:00Z" }),
    )
    .unwrap();
    let head = ObjectId::new("c".repeat(40)).unwrap();
    let approves = |at: Value, resets: bool| {
        let given = json!({ "user": { "id": 1, "username": "someone" }, "approved_at": at });
        let settings = ApprovalSettings { reset_approvals_on_push: resets };
        serde_json::from_value::<Approval>(given).unwrap().review(Some(&version), &settings).approves(&head)
    };
    assert!(approves(json!("2026-11-23T10:00:01Z"), false));
    assert!(!approves(json!("2026-11-23T10:00:00Z"), false));
    assert!(!approves(json!("2026-11-23T09:59:59Z"), false));
    // GitLab takes it away some moments after the push.
    assert!(!approves(json!("2026-11-23T09:59:59Z"), true));
    assert!(!approves(Value::Null, false));
    assert!(approves(Value::Null, true));
}

#[test]
fn accounts_of_tokens_are_no_people() {
    for (name, expected) in [
        ("project_278964_bot_5c3a", true),
        ("project_278964_bot", true),
        ("group_9_bot2", true),
        ("group_9_bot_a1", true),
        ("ghost", true),
        ("robot", false),
        ("someone_bot", false),
    ] {
        let user: User = serde_json::from_value(json!({ "id": 1, "username": name })).unwrap();
        assert_eq!(user.is_bot(), expected, "{name}");
    }
}

#[test]
fn only_the_word_success_is_a_success() {
    for word in ["skipped", "manual", "Success", "", "something new"] {
        assert_eq!(check_state(word), CheckState::Other, "{word}");
    }
    assert_eq!(check_state("success"), CheckState::Success);
    assert_eq!(check_state("canceled"), CheckState::Failure);
}

#[test]
fn a_rule_about_approvals_counts_where_it_may_apply() {
    let branch = || {
        serde_json::from_value::<Branch>(json!({ "name": "main", "protected": true, "can_push": false }))
            .unwrap()
    };
    let me: User = serde_json::from_value(json!({ "id": 5, "username": "tars-bot" })).unwrap();
    let rules = |it: Value| serde_json::from_value::<Vec<ApprovalRule>>(it).unwrap();
    let named = || -> Option<ProtectedBranch> {
        let levels = json!([{ "access_level": 40 }, { "access_level": 40, "user_id": 5 }]);
        serde_json::from_value(json!({ "merge_access_levels": levels })).unwrap()
    };
    let needed = |it: Value| branch().protection(&project(&json!({})), &rules(it), named(), (&me, 30));
    let everywhere = needed(json!([{ "approvals_required": 2 }, { "approvals_required": 1 }]));
    assert_eq!((everywhere.required_approvals, everywhere.may_merge), (2, true));
    let elsewhere = json!([{ "approvals_required": 2, "protected_branches": [{ "name": "release" }] }]);
    assert_eq!(needed(elsewhere).required_approvals, 0);
    let here = json!([{ "approvals_required": 2, "protected_branches": [{ "name": "main" }] }]);
    assert_eq!(needed(here).required_approvals, 2);
    let unnamed = branch().protection(&project(&json!({})), &[], None, (&me, 30));
    assert!(!unnamed.may_merge && !unnamed.may_push);
    let demanding = project(&json!({ "only_allow_merge_if_pipeline_succeeds": true }));
    assert_eq!(branch().protection(&demanding, &[], None, (&me, 40)).required_checks, ["pipeline"]);
}
