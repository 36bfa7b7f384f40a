//! What the network and a busy or broken GitHub do to the adapter, each fault injected by the stand-in.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_lost_answer_is_unknown_and_reading_again_tells() {
    let Some(place) = Place::new("lost") else { return };
    let head = branch("tars/lost");
    let commit = place.push(head.as_str(), "a.yaml");
    for kind in ["lost", "cut"] {
        place.fault("POST", "/pulls$", json!({ "kind": kind, "times": 1 }));
        let created = open(&place.forge, &head).await.unwrap_err();
        assert_eq!((created.trouble, created.outlook()), (Trouble::Lost, Outlook::Unknown), "{created}");
        let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
        assert_eq!((found.state.clone(), &found.head), (PullState::Open, &commit));
        if kind == "lost" {
            place.forge.close(found.number, "again").await.unwrap();
        }
    }
    assert_eq!(place.asked("POST", "/pulls"), 2, "a creation was sent twice");
    let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    place.fault("PUT", "/pulls/.*/merge$", json!({ "kind": "lost", "times": 1 }));
    let merged = place.merge(&found, &commit, MergeMethod::Merge).await.unwrap_err();
    assert_eq!(merged.outlook(), Outlook::Unknown, "{merged}");
    let path = format!("/pulls/{}/merge", found.number);
    assert_eq!(place.asked("PUT", &path), 1, "a merge was sent twice");
    assert!(matches!(place.forge.read(found.number).await.unwrap().state, PullState::Merged(Some(_))));
}

#[tokio::test]
async fn what_may_be_said_twice_is_said_again_and_what_may_not_is_left() {
    let Some(place) = Place::new("broken") else { return };
    let (pull, _) = place.proposal("broken").await;
    let path = format!("/pulls/{}", pull.number);
    for kind in ["lost", "cut"] {
        place.fault("PATCH", &format!("{path}$"), json!({ "kind": kind, "times": 2 }));
        assert_eq!(place.forge.update(pull.number, kind, "body").await.unwrap().title, kind);
    }
    place.fault("GET", &format!("{path}$"), json!({ "kind": "status", "status": 502, "times": 2 }));
    assert_eq!(place.forge.read(pull.number).await.unwrap().title, "cut");
    place.fault("GET", &format!("{path}$"), json!({ "kind": "status", "status": 503, "times": 3 }));
    let down = place.forge.read(pull.number).await.unwrap_err();
    assert_eq!((down.trouble, down.outlook()), (Trouble::Unreachable, Outlook::Transient), "{down}");
    place.fault("PUT", "/pulls/.*/merge$", json!({ "kind": "status", "status": 500, "times": 1 }));
    let merged = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!((merged.outlook(), merged.status), (Outlook::Unknown, Some(500)), "{merged}");
    assert_eq!(place.asked("PUT", &format!("{path}/merge")), 1);
    assert_eq!(place.forge.read(pull.number).await.unwrap().state, PullState::Open);
}

#[tokio::test]
async fn each_refusal_has_its_meaning_and_is_not_repeated() {
    let Some(place) = Place::new("refused") else { return };
    let (pull, _) = place.proposal("refused").await;
    for (status, trouble) in [
        (403, Trouble::Forbidden),
        (404, Trouble::Missing),
        (405, Trouble::NotReady),
        (409, Trouble::Conflict),
        (422, Trouble::NotReady),
    ] {
        place.fault("PUT", "/pulls/.*/merge$", json!({ "kind": "status", "status": status, "times": 1 }));
        let error = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap_err();
        assert_eq!((error.trouble, error.status), (trouble, Some(status)), "{error}");
        assert_eq!(error.outlook(), Outlook::Permanent);
    }
    assert_eq!(place.asked("PUT", &format!("/pulls/{}/merge", pull.number)), 5);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_when_it_is_short_and_told_when_it_is_long() {
    let Some(place) = Place::new("limits") else { return };
    let (pull, _) = place.proposal("limits").await;
    let path = format!("/pulls/{}$", pull.number);
    let limit = |status: u16, headers: Value, times: u32| {
        place.fault(
            "",
            &path,
            json!({ "kind": "status", "status": status, "headers": headers, "times": times }),
        );
    };
    // Also a write that must not happen twice: at the door nothing was done.
    limit(429, json!({ "retry-after": "1" }), 1);
    assert_eq!(place.forge.read(pull.number).await.unwrap().number, pull.number);
    // The secondary limit is a 403, and does not count what remains.
    limit(403, json!({ "retry-after": "1", "x-ratelimit-remaining": "4000" }), 1);
    assert_eq!(place.forge.update(pull.number, "after", "the limit").await.unwrap().title, "after");
    let reset = (jiff::Timestamp::now().as_second() + 600).to_string();
    for (status, headers) in [
        (429, json!({ "retry-after": "600" })),
        (403, json!({ "retry-after": "600" })),
        (403, json!({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset })),
    ] {
        limit(status, headers, 1);
        let error = place.forge.read(pull.number).await.unwrap_err();
        let Outlook::RateLimited(until) = error.outlook() else { panic!("{error:?}") };
        let rest_s = until.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((560..=601).contains(&rest_s), "{rest_s}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_left_and_a_write_behind_it_is_unknown() {
    let Some(place) = Place::new("slow") else { return };
    let (pull, _) = place.proposal("slow").await;
    let token = Secret::new(&place.world.bot_token).unwrap();
    let forge = GitHub::new(
        client(Duration::from_millis(300)),
        Arc::new(SystemClock),
        &place.world.server.url,
        (OWNER, "slow"),
        ForgeAccess::Token(token),
    )
    .unwrap();
    place.fault(
        "GET",
        &format!("/pulls/{}$", pull.number),
        json!({ "kind": "slow", "delay_ms": 2000, "times": 3 }),
    );
    let read = forge.read(pull.number).await.unwrap_err();
    assert_eq!(read.outlook(), Outlook::Transient, "{read}");
    place.fault("PUT", "/pulls/.*/merge$", json!({ "kind": "slow", "delay_ms": 1000, "times": 1 }));
    let permit = MergePermit::for_test(&branch("tars/slow"), &pull.head, &pull.head);
    let merging = Merging { permit: &permit, method: MergeMethod::Merge, title: "", message: "" };
    let merged = forge.merge(pull.number, merging).await.unwrap_err();
    assert_eq!(merged.outlook(), Outlook::Unknown, "{merged}");
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_told_apart_from_one_that_was_never_given() {
    let Some(place) = Place::new("garbage") else { return };
    let (pull, _) = place.proposal("garbage").await;
    let path = format!("/pulls/{}$", pull.number);
    place.fault("", &path, json!({ "kind": "garbage", "times": 2 }));
    let read = place.forge.read(pull.number).await.unwrap_err();
    assert_eq!((read.trouble, read.outlook()), (Trouble::Protocol, Outlook::Permanent));
    let write = place.forge.update(pull.number, "title", "body").await.unwrap_err();
    assert_eq!(write.outlook(), Outlook::Unknown);
    assert!(!format!("{read} {write}").contains('\u{1b}'));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let away = forge_at(&closed, "x", "t").whoami().await.unwrap_err();
    assert_eq!((away.trouble, away.outlook()), (Trouble::Unreachable, Outlook::Transient));
}

#[tokio::test]
async fn an_old_answer_is_taken_for_what_it_is_and_the_merge_pins_the_head() {
    let Some(place) = Place::new("stale") else { return };
    let (pull, head) = place.proposal("stale").await;
    let seen = place.forge.read(pull.number).await.unwrap();
    place.push(head.as_str(), "foreign.yaml");
    place.fault("GET", &format!("/pulls/{}$", pull.number), json!({ "kind": "stale", "times": 1 }));
    let stale = place.forge.read(pull.number).await.unwrap();
    assert_eq!(stale.head, seen.head, "the fault did nothing");
    let refused = place.merge(&stale, &stale.head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!(refused.trouble, Trouble::Conflict, "{refused}");
}

#[tokio::test]
async fn a_merge_that_somebody_told_the_forge_to_make_is_seen() {
    let Some(place) = Place::with("native", &json!({ "auto_merge_allowed": true })) else { return };
    let (pull, _) = place.proposal("native").await;
    place.configure(&json!({ "protection": [{ "branch": "main", "checks": [{ "context": "ci" }] }] }));
    assert!(!place.forge.read(pull.number).await.unwrap().auto_merge);
    let path = format!("repositories/{}/pulls/{}", place.key, pull.number);
    let on = json!({ "auto_merge": { "by": REVIEWER, "method": "squash" } });
    place.world.server.control("PATCH", &path, &on);
    assert!(place.forge.read(pull.number).await.unwrap().auto_merge);
    assert!(place.forge.open_pulls().await.unwrap()[0].auto_merge);
    place.check(&pull.head, "ci", "success");
    let merged = place.forge.read(pull.number).await.unwrap();
    assert!(matches!(merged.state, PullState::Merged(Some(_))) && !merged.auto_merge);
    assert_eq!(merged.merged_by.as_deref(), Some(REVIEWER));
}

#[tokio::test]
async fn a_context_that_has_reached_its_thousand_statuses_is_a_refusal_and_not_a_loop() {
    let Some(place) = Place::new("thousand") else { return };
    let (pull, _) = place.proposal("thousand").await;
    place.fault("POST", "/statuses/", json!({ "kind": "status", "status": 422, "times": 1 }));
    let full = place.forge.set_status(&pull.head, status(StatusState::Success)).await.unwrap_err();
    assert_eq!((full.trouble, full.outlook()), (Trouble::NotReady, Outlook::Permanent));
    assert_eq!(place.asked("POST", &format!("/statuses/{}", pull.head)), 1);
}

/// Answers every request with this, where `HERE` is its own address.
async fn always(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let here = address.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.replace("HERE", &here).as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn the_token_goes_to_the_configured_host_and_nowhere_else() {
    const AWAY: &str = "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://127.0.0.2:9/x?secret=1\r\nContent-Length: 0\r\n\r\n";
    const PAGE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nLink: <http://127.0.0.2:9/api/v3/x?page=2>; rel=\"next\"\r\nContent-Length: 2\r\n\r\n[]";
    const CLIMB: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nLink: <HERE/login>; rel=\"next\"\r\nContent-Length: 2\r\n\r\n[]";
    for answer in [AWAY, PAGE, CLIMB] {
        let forge = forge_at(&always(answer).await, "x", "ghp_canary");
        let error = forge.open_pulls().await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Elsewhere, "{error}");
        let text = format!("{} {error:?} {forge:?}", causes(&error));
        assert!(!text.contains("ghp_canary") && !text.contains("secret=1"), "{text}");
    }
}

#[tokio::test]
async fn a_poll_of_what_did_not_change_is_confirmed_and_costs_nothing_of_the_limit() {
    let poller = "poller-bot";
    let Some(world) = world() else { return };
    let token = world.server.user(poller);
    let Some(place) = Place::with("polls", &json!({ "members": { BOT: "write", poller: "write" } })) else {
        return;
    };
    let (pull, _) = place.proposal("polls").await;
    place.forge.comment(pull.number, Marker::Reply, "said").await.unwrap();
    place.check(&pull.head, "ci/build", "success");
    let forge = forge_at(&world.server.url, "polls", &token);
    let poll = async || {
        let pulls = forge.open_pulls().await.unwrap();
        let talk = forge.comments(pull.number).await.unwrap();
        let checks = forge.checks(&pull.head).await.unwrap();
        (
            pulls,
            forge.read(pull.number).await.unwrap(),
            talk,
            checks,
            forge.reviews(pull.number).await.unwrap(),
        )
    };
    let answers = || {
        let all = place.world.server.control("GET", "journal", &json!({}));
        let ours = all.as_array().unwrap().iter().filter(|it| it["login"] == poller);
        let seen =
            ours.map(|it| (it["status"].as_u64().unwrap(), it["remaining"].as_str().unwrap().to_owned()));
        seen.collect::<Vec<_>>()
    };
    let first = poll().await;
    let seen = answers().len();
    assert_eq!(poll().await, first);
    let (before, after) = (answers(), answers().split_off(seen));
    // Within one poll some things are asked for twice, and the second time is cheap already.
    assert_eq!(after.len(), seen);
    assert!(after.iter().all(|it| *it == (304, before[seen - 1].1.clone())), "{after:?}");
    place.forge.comment(pull.number, Marker::Reply, "something else").await.unwrap();
    assert_eq!(poll().await.2[0].body, "<!-- tars:reply -->\nsomething else");
}
