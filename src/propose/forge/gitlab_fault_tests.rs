//! What the network and a busy or broken GitLab do to the adapter, each fault injected by the stand-in.

use super::*;

#[tokio::test]
async fn a_lost_answer_is_unknown_and_reading_again_tells() {
    let Some(place) = Place::new("lost") else { return };
    let head = branch("tars/lost");
    let commit = place.push(head.as_str(), "a.yaml");
    for kind in ["lost", "cut"] {
        place.fault("POST", "/merge_requests$", json!({ "kind": kind, "times": 1 }));
        let created = open(&place.forge, &head).await.unwrap_err();
        assert_eq!((created.trouble, created.outlook()), (Trouble::Lost, Outlook::Unknown), "{created}");
        let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
        assert_eq!((found.state.clone(), &found.head), (PullState::Open, &commit));
        if kind == "lost" {
            place.forge.close(found.number, "again").await.unwrap();
        }
    }
    assert_eq!(place.asked("POST", "/merge_requests"), 2, "a creation was sent twice");
    let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    place.fault("PUT", "/merge_requests/.*/merge$", json!({ "kind": "lost", "times": 1 }));
    let merged = place.merge(&found, &commit).await.unwrap_err();
    assert_eq!(merged.outlook(), Outlook::Unknown, "{merged}");
    let path = format!("/merge_requests/{}/merge", found.number);
    assert_eq!(place.asked("PUT", &path), 1, "a merge was sent twice");
    assert_eq!(place.forge.read(found.number).await.unwrap().state, PullState::Merged(Some(commit)));
}

#[tokio::test]
async fn what_may_be_said_twice_is_said_again_and_what_may_not_is_left() {
    let Some(place) = Place::new("broken") else { return };
    let (pull, _) = place.proposal("broken").await;
    let path = format!("/merge_requests/{}", pull.number);
    for kind in ["lost", "cut"] {
        place.fault("PUT", &format!("{path}$"), json!({ "kind": kind, "times": 2 }));
        assert_eq!(place.forge.update(pull.number, kind, "body").await.unwrap().title, kind);
    }
    place.fault("GET", &format!("{path}$"), json!({ "kind": "status", "status": 503, "times": 3 }));
    let down = place.forge.read(pull.number).await.unwrap_err();
    assert_eq!((down.trouble, down.outlook()), (Trouble::Unreachable, Outlook::Transient), "{down}");
    place.fault("PUT", "/merge_requests/.*/merge$", json!({ "kind": "status", "status": 500, "times": 1 }));
    let merged = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((merged.outlook(), merged.status), (Outlook::Unknown, Some(500)), "{merged}");
    assert_eq!(place.asked("PUT", &format!("{path}/merge")), 1);
    assert_eq!(place.forge.read(pull.number).await.unwrap().state, PullState::Open);
}

#[tokio::test]
async fn each_refusal_of_a_merge_has_its_meaning_and_is_not_repeated() {
    let Some(place) = Place::new("refused") else { return };
    let (pull, _) = place.proposal("refused").await;
    for (status, trouble) in [
        (401, Trouble::Forbidden),
        (403, Trouble::Forbidden),
        (404, Trouble::Missing),
        (405, Trouble::NotReady),
        (406, Trouble::NotReady),
        (409, Trouble::Conflict),
        (422, Trouble::NotReady),
    ] {
        let fault = json!({ "kind": "status", "status": status, "times": 1 });
        place.fault("PUT", "/merge_requests/.*/merge$", fault);
        let error = place.merge(&pull, &pull.head).await.unwrap_err();
        assert_eq!((error.trouble, error.status), (trouble, Some(status)), "{error}");
        assert_eq!(error.outlook(), Outlook::Permanent);
    }
    assert_eq!(place.asked("PUT", &format!("/merge_requests/{}/merge", pull.number)), 7);
}

#[tokio::test]
async fn a_yes_without_a_merge_is_not_taken_for_one() {
    let Some(place) = Place::new("yes") else { return };
    let (pull, _) = place.proposal("yes").await;
    let path = format!("/merge_requests/{}", pull.number);
    let open = place.person(&place.world.reviewer_token, "GET", &path, &json!({}));
    let fault = json!({ "kind": "status", "status": 200, "body": open, "times": 1 });
    place.fault("PUT", "/merge_requests/.*/merge$", fault);
    let error = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((error.trouble, error.outlook()), (Trouble::Lost, Outlook::Unknown), "{error}");
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_when_it_is_short_and_told_when_it_is_long() {
    let Some(place) = Place::new("limits") else { return };
    let (pull, _) = place.proposal("limits").await;
    let path = format!("/merge_requests/{}$", pull.number);
    let limit = |seconds: &str| {
        let headers = json!({ "retry-after": seconds });
        place.fault("", &path, json!({ "kind": "status", "status": 429, "headers": headers, "times": 1 }));
    };
    limit("1");
    assert_eq!(place.forge.read(pull.number).await.unwrap().number, pull.number);
    limit("600");
    let error = place.forge.read(pull.number).await.unwrap_err();
    let Outlook::RateLimited(until) = error.outlook() else { panic!("{error:?}") };
    let rest_s = until.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((560..=601).contains(&rest_s), "{rest_s}");
}

#[tokio::test]
async fn a_slow_answer_is_left_and_a_write_behind_it_is_unknown() {
    let Some(place) = Place::new("slow") else { return };
    let (pull, _) = place.proposal("slow").await;
    let server = &place.world.server;
    let forge = forge_in(&server.url, "slow", &place.world.bot_token, Duration::from_millis(2500));
    let path = format!("/merge_requests/{}$", pull.number);
    place.fault("GET", &path, json!({ "kind": "slow", "delay_ms": 6000, "times": 3 }));
    let read = forge.read(pull.number).await.unwrap_err();
    assert_eq!(read.outlook(), Outlook::Transient, "{read}");
    place.fault("PUT", "/merge_requests/.*/merge$", json!({ "kind": "slow", "delay_ms": 6000, "times": 1 }));
    let permit = MergePermit::for_test(&branch("tars/slow"), &pull.head, &pull.head);
    let merging = Merging { permit: &permit, method: MergeMethod::FastForward, title: "", message: "" };
    let merged = forge.merge(pull.number, merging).await.unwrap_err();
    assert_eq!(merged.outlook(), Outlook::Unknown, "{merged}");
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_told_apart() {
    let Some(place) = Place::new("garbage") else { return };
    let (pull, _) = place.proposal("garbage").await;
    let path = format!("/merge_requests/{}$", pull.number);
    place.fault("GET", &path, json!({ "kind": "garbage", "times": 1 }));
    let read = place.forge.read(pull.number).await.unwrap_err();
    assert_eq!((read.trouble, read.outlook()), (Trouble::Protocol, Outlook::Permanent));
    place.fault("PUT", &path, json!({ "kind": "garbage", "times": 1 }));
    let write = place.forge.update(pull.number, "title", "body").await.unwrap_err();
    assert_eq!(write.outlook(), Outlook::Unknown);
    assert!(!format!("{read} {write}").contains('\u{1b}'));
}

#[tokio::test]
async fn an_old_answer_is_taken_for_what_it_is_and_the_merge_pins_the_head() {
    let Some(place) = Place::new("stale") else { return };
    let (pull, head) = place.proposal("stale").await;
    let seen = place.forge.read(pull.number).await.unwrap();
    place.push(head.as_str(), "foreign.yaml");
    place.fault("GET", &format!("/merge_requests/{}$", pull.number), json!({ "kind": "stale", "times": 2 }));
    let stale = place.forge.read(pull.number).await.unwrap();
    assert_eq!(stale.head, seen.head, "the fault did nothing");
    let refused = place.merge(&stale, &stale.head).await.unwrap_err();
    assert_eq!(refused.trouble, Trouble::Conflict, "{refused}");
}

#[tokio::test]
async fn a_status_about_another_commit_is_no_answer() {
    let Some(place) = Place::new("another") else { return };
    let (pull, head) = place.proposal("another").await;
    place.forge.set_status(&pull.head, status(StatusState::Success)).await.unwrap();
    let path = format!("/repository/commits/{}/statuses", pull.head);
    let old = place.person(&place.world.reviewer_token, "GET", &path, &json!({}));
    let moved = place.push(head.as_str(), "more.yaml");
    let fault = json!({ "kind": "status", "status": 200, "body": old, "times": 1 });
    place.fault("GET", &format!("/repository/commits/{moved}/statuses$"), fault);
    let error = place.forge.checks(&moved).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Protocol, "{error}");
}

#[tokio::test]
async fn a_poll_of_what_did_not_change_is_confirmed() {
    let Some(place) = Place::new("polls") else { return };
    let (pull, _) = place.proposal("polls").await;
    place.forge.comment(pull.number, Marker::Reply, "said").await.unwrap();
    let poll = async || {
        let talk = place.forge.comments(pull.number).await.unwrap();
        let checks = place.forge.checks(&pull.head).await.unwrap();
        (
            place.forge.read(pull.number).await.unwrap(),
            talk,
            checks,
            place.forge.reviews(pull.number).await.unwrap(),
        )
    };
    let answers = || {
        let all = place.world.server.control("GET", "journal", &json!({}));
        let path = format!("/api/v4{}/", place.path);
        let ours =
            all.as_array().unwrap().iter().filter(|it| it["path"].as_str().unwrap().starts_with(&path));
        ours.map(|it| it["status"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // GitLab looks whether it can be merged after it was asked about it.
    poll().await;
    let first = poll().await;
    let seen = answers().len();
    assert_eq!(poll().await, first);
    let again = answers().split_off(seen);
    assert!(!again.is_empty() && again.iter().all(|it| *it == 304), "{again:?}");
}
