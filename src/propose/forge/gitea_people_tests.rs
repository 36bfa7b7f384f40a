//! The part of the adapter that is about people, against the same real Gitea.

use super::*;
use crate::model::forge::{Access, Reaction};

#[tokio::test]
async fn comments_come_with_their_author_and_an_edited_one_says_so() {
    let Some(place) = Place::new("talk") else { return };
    let (pull, _) = place.proposal("talk").await;
    let comments = format!("{}/issues/{}/comments", place.path, pull.number);
    let say = |token: &str, body: &str| {
        let (status, said) = place.world.server.ask(token, "POST", &comments, Some(&json!({ "body": body })));
        assert_eq!(status, 201, "{said}");
        said["id"].as_u64().unwrap()
    };
    let first = say(&place.world.reviewer_token, "/tars hold");
    place.forge.comment(pull.number, Marker::Explanation, "because").await.unwrap();
    let third = say(&place.world.server.admin_token, "third");
    let seen = place.forge.comments(pull.number).await.unwrap();
    let all: Vec<(u64, &str, &str)> =
        seen.iter().map(|it| (it.id, it.by.as_str(), it.body.as_str())).collect();
    let ours = "<!-- tars:explanation -->\nbecause";
    assert_eq!(
        all,
        [(first, REVIEWER, "/tars hold"), (seen[1].id, BOT, ours), (third, server::ADMIN, "third")]
    );
    assert!(seen.iter().all(|it| !it.is_bot && !it.is_edited && it.at <= pull_time(&place, pull.number)));
    // Gitea counts seconds; an edit within the one of its creation cannot be seen.
    wait(Duration::from_millis(1100)).await;
    let path = format!("{}/issues/comments/{first}", place.path);
    place.world.server.admin("PATCH", &path, Some(&json!({ "body": "/tars revert" })), 200);
    let seen = place.forge.comments(pull.number).await.unwrap();
    assert!(seen[0].is_edited && seen[0].by == REVIEWER && seen[0].body == "/tars revert", "{seen:?}");
    assert!(seen[1..].iter().all(|it| !it.is_edited), "{seen:?}");
}

/// When Gitea last changed it.
fn pull_time(place: &Place, number: u64) -> jiff::Timestamp {
    let pull = place.world.server.admin("GET", &format!("{}/pulls/{number}", place.path), None, 200);
    pull["updated_at"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_somebody_may_do_is_said_only_as_far_as_it_is_certain() {
    let Some(place) = Place::new("rights") else { return };
    let server = &place.world.server;
    for login in ["looker", "team-writer", "team-reader", "stranger"] {
        server.user(login, server::LEAST_SCOPES);
    }
    let looker = format!("{}/collaborators/looker", place.path);
    server.admin("PUT", &looker, Some(&json!({ "permission": "read" })), 204);
    let team = |name: &str, level: &str, member: &str| {
        let units = json!({ "repo.code": level, "repo.pulls": level, "repo.issues": level });
        let team = json!({ "name": name, "permission": level, "units_map": units });
        let made = server.admin("POST", &format!("/orgs/{}/teams", server::ORGANISATION), Some(&team), 201);
        let id = made["id"].as_u64().unwrap();
        server.admin("PUT", &format!("/teams/{id}/members/{member}"), None, 204);
        server.admin("PUT", &format!("{}/teams/{name}", place.path), None, 204);
    };
    team("writers", "write", "team-writer");
    let access = async |login: &str| place.forge.access(login).await.unwrap();
    for (login, expected) in [
        (REVIEWER, Access::Write),
        ("ReViewer", Access::Write),
        ("team-writer", Access::Write),
        (server::ADMIN, Access::Write),
        (BOT, Access::Write),
        ("looker", Access::Read),
        ("stranger", Access::None),
        ("nobody-of-this-name", Access::None),
    ] {
        assert_eq!(access(login).await, expected, "{login}");
    }
    // Its members are assignable as well, so nobody can be told from them.
    team("readers", "read", "team-reader");
    for login in ["team-reader", "team-writer", REVIEWER, "looker"] {
        assert_eq!(access(login).await, Access::Read, "{login}");
    }
    let keeper = forge_at(&server.url, "rights", &server.admin_token);
    for (login, expected) in [
        (server::ADMIN, Access::Admin),
        (REVIEWER, Access::Write),
        ("team-writer", Access::Read),
        ("team-reader", Access::Read),
        ("stranger", Access::None),
    ] {
        assert_eq!(keeper.access(login).await.unwrap(), expected, "{login}");
    }
    server.admin("PATCH", &place.path, Some(&json!({ "private": false })), 200);
    assert_eq!(access("stranger").await, Access::Read);
}

#[tokio::test]
async fn a_reaction_is_put_once_however_often_it_is_sent() {
    let Some(place) = Place::new("reactions") else { return };
    let (pull, _) = place.proposal("reactions").await;
    let comments = format!("{}/issues/{}/comments", place.path, pull.number);
    let said = place.world.server.admin("POST", &comments, Some(&json!({ "body": "/tars hold" })), 201);
    let id = said["id"].as_u64().unwrap();
    for reaction in [Reaction::Seen, Reaction::Seen, Reaction::Done, Reaction::Refused, Reaction::Done] {
        place.forge.react(id, reaction).await.unwrap();
    }
    let path = format!("{}/issues/comments/{id}/reactions", place.path);
    let put = place.world.server.admin("GET", &path, None, 200);
    let mut put: Vec<_> = put.as_array().unwrap().iter().map(|it| it["content"].as_str().unwrap()).collect();
    put.sort_unstable();
    assert_eq!(put, ["+1", "-1", "eyes"]);
    let gone = place.forge.react(9_999_999, Reaction::Seen).await.unwrap_err();
    assert_eq!(gone.trouble, Trouble::Missing, "{gone}");
}

#[tokio::test]
async fn who_closed_it_and_a_merge_that_the_forge_was_told_to_make_are_read() {
    let Some(place) = Place::new("history") else { return };
    let (pull, _) = place.proposal("history").await;
    place.protect(1);
    assert!(!place.forge.read(pull.number).await.unwrap().auto_merge);
    let path = format!("{}/pulls/{}", place.path, pull.number);
    let merge = json!({ "Do": "merge", "merge_when_checks_succeed": true });
    place.mergeable(pull.number).await;
    place.world.server.admin("POST", &format!("{path}/merge"), Some(&merge), 201);
    let scheduled = place.forge.read(pull.number).await.unwrap();
    assert!(scheduled.auto_merge && scheduled.state == PullState::Open, "{scheduled:?}");
    place.world.server.admin("DELETE", &format!("{path}/merge"), None, 204);
    assert!(!place.forge.read(pull.number).await.unwrap().auto_merge);
    let close = json!({ "state": "closed" });
    let (status, _) = place.world.server.ask(&place.world.reviewer_token, "PATCH", &path, Some(&close));
    assert_eq!(status, 201);
    let closed = place.forge.read(pull.number).await.unwrap();
    assert_eq!((closed.state, closed.closed_by.as_deref()), (PullState::Closed, Some(REVIEWER)));
    assert!(closed.updated_at >= pull.updated_at && closed.merged_by.is_none());
    place.world.server.admin("PATCH", &path, Some(&json!({ "state": "open" })), 201);
    let open = place.forge.read(pull.number).await.unwrap();
    assert_eq!((open.state, open.closed_by), (PullState::Open, None));
}
