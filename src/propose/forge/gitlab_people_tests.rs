//! What people do on the stand-in for GitLab, and how much of it the adapter believes.

use super::*;
use crate::model::forge::Reaction;

#[tokio::test]
async fn an_approval_that_gitlab_keeps_for_a_new_head_is_outdated() {
    let Some(place) = Place::new("reviews") else { return };
    let (pull, head) = place.proposal("reviews").await;
    place.approve(&pull);
    // Without the rule that takes approvals away.
    place.push(head.as_str(), "more.yaml");
    let stale = place.forge.reviews(pull.number).await.unwrap();
    assert!(stale.iter().any(|it| it.verdict == ReviewVerdict::Approved && it.is_outdated), "{stale:?}");
    assert!(!stale.iter().any(|it| it.approves(&pull.head)), "{stale:?}");
}

#[tokio::test]
async fn an_approval_that_a_push_takes_away_is_gone() {
    let settings = json!({ "protection": [{ "branch": "main", "dismiss_stale": true, "merge_level": 30 }] });
    let Some(place) = Place::with("resets", &settings) else { return };
    let (pull, head) = place.proposal("resets").await;
    place.approve(&pull);
    assert!(place.forge.reviews(pull.number).await.unwrap().iter().any(|it| it.approves(&pull.head)));
    place.push(head.as_str(), "more.yaml");
    let left = place.forge.reviews(pull.number).await.unwrap();
    assert!(!left.iter().any(|it| it.verdict == ReviewVerdict::Approved), "{left:?}");
}

#[tokio::test]
async fn those_who_were_asked_already_stay_and_the_free_edition_keeps_one() {
    let Some(place) = Place::new("asked") else { return };
    let (pull, _) = place.proposal("asked").await;
    place.world.server.user("second");
    place.configure(&json!({ "members": { "second": "write" } }));
    place.forge.request_review(pull.number, &["second"]).await.unwrap();
    place.forge.request_review(pull.number, &[REVIEWER]).await.unwrap();
    let by = |all: &[Review]| all.iter().map(|it| it.by.clone()).collect::<Vec<_>>();
    assert_eq!(by(&place.forge.reviews(pull.number).await.unwrap()), ["second", REVIEWER]);
    let Some(free) = Place::with(
        "free",
        &json!({ "edition": "free", "members": { BOT: "write", REVIEWER: "write", "second": "write" } }),
    ) else {
        return;
    };
    let (pull, _) = free.proposal("free").await;
    free.forge.request_review(pull.number, &["second", REVIEWER]).await.unwrap();
    assert_eq!(by(&free.forge.reviews(pull.number).await.unwrap()), ["second"]);
    assert_eq!(free.forge.protection(&free.main).await.unwrap().unwrap().required_approvals, 0);
}

#[tokio::test]
async fn gitlabs_own_notes_are_nobodys_words_and_an_edited_comment_says_so() {
    let Some(place) = Place::new("comments") else { return };
    let (pull, _) = place.proposal("comments").await;
    for text in ["first", "second"] {
        place.forge.comment(pull.number, Marker::Explanation, text).await.unwrap();
    }
    place.approve(&pull);
    let said = place.forge.comments(pull.number).await.unwrap();
    let seen: Vec<_> = said.iter().map(|it| (it.by.as_str(), it.is_bot, it.is_edited)).collect();
    assert_eq!(seen, [(BOT, false, true)], "{said:?}");
}

#[tokio::test]
async fn a_reaction_is_put_once_however_often_it_is_sent() {
    let Some(place) = Place::new("reactions") else { return };
    let (pull, _) = place.proposal("reactions").await;
    let notes = format!("/merge_requests/{}/notes", pull.number);
    let note = place.person(&place.world.reviewer_token, "POST", &notes, &json!({ "body": "/tars hold" }));
    let path = format!("{notes}/{}/award_emoji", note["id"]);
    // The same sign of somebody else is not ours.
    place.person(&place.world.reviewer_token, "POST", &path, &json!({ "name": "eyes" }));
    let comment = place.forge.comments(pull.number).await.unwrap().remove(0);
    assert_eq!(comment.body, "/tars hold");
    for reaction in [Reaction::Seen, Reaction::Seen, Reaction::Done, Reaction::Refused, Reaction::Done] {
        place.forge.react(comment.id, reaction).await.unwrap();
    }
    let put = place.person(&place.world.reviewer_token, "GET", &path, &json!({}));
    let mut put: Vec<_> = put.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    put.sort_unstable();
    assert_eq!(put, ["eyes", "eyes", "thumbsdown", "thumbsup"]);
    // The list was read a moment before the other replica put it there.
    place.fault(
        "GET",
        &format!("/notes/{}/award_emoji$", note["id"]).replace("/notes", "/merge_requests/.*/notes"),
        json!({ "kind": "status", "status": 200, "body": [], "times": 1 }),
    );
    place.forge.react(comment.id, Reaction::Done).await.unwrap();
    let gone = place.forge.react(comment.id + 1_000_000, Reaction::Seen).await.unwrap_err();
    assert_eq!(gone.trouble, Trouble::Missing, "{gone}");
}

#[tokio::test]
async fn rights_are_told_by_level_and_never_more_than_is_certain() {
    let Some(place) = Place::new("levels") else { return };
    for login in ["guest", "reporter", "developer", "maintainer", "owner", "stranger"] {
        place.world.server.user(login);
    }
    place.configure(&json!({ "members": { "guest": "read", "reporter": "triage", "developer": "write",
        "maintainer": "maintain", "owner": "admin" } }));
    for (login, expected) in [
        ("guest", Access::None),
        ("reporter", Access::Triage),
        ("developer", Access::Write),
        ("Developer", Access::Write),
        ("maintainer", Access::Admin),
        ("owner", Access::Admin),
        ("stranger", Access::None),
        ("nobody-of-this-name", Access::None),
    ] {
        assert_eq!(place.forge.access(login).await.unwrap(), expected, "{login}");
    }
    place.configure(&json!({ "private": false }));
    for (login, expected) in
        [("guest", Access::Read), ("stranger", Access::Read), ("reporter", Access::Triage)]
    {
        assert_eq!(place.forge.access(login).await.unwrap(), expected, "{login}");
    }
}
