//! Deliveries as the vendors document them, and as an attacker would change them.
#![allow(clippy::disallowed_methods, reason = "a test that looks for GitHub's own examples on disk")]

use std::io::Write as _;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use proptest::prelude::*;

use super::*;
use crate::outside::files;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const BODY: &[u8] = br#"{"action":"created","repository":{"full_name":"shop/gitops"}}"#;

fn hooks() -> ForgeHooks {
    ForgeHooks::new(Secret::new(SECRET).unwrap(), "shop/gitops".to_owned())
}

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn code(body: &[u8]) -> [u8; 32] {
    Secret::new(SECRET).unwrap().code(&[body])
}

fn delivery(sender: Sender, event: &str, id: &str, proof: Proof) -> Delivery {
    Delivery { sender, event: event.to_owned(), id: Some(id.to_owned()), proof }
}

fn signed(event: &str, id: &str, body: &[u8]) -> Delivery {
    delivery(Sender::Gitea, event, id, Proof::OverBody(code(body)))
}

#[test]
fn only_who_knows_the_secret_is_heard_and_nothing_is_parsed_before() {
    let other = Secret::new("another-secret-of-some-length").unwrap();
    let mut near = code(BODY);
    near[31] ^= 1;
    for proof in [
        Proof::OverBody([0; 32]),
        Proof::OverBody(other.code(&[BODY])),
        Proof::OverBody(code(b"{}")),
        Proof::OverBody(near),
        Proof::Token(Vec::new()),
        Proof::Token(SECRET[1..].into()),
        Proof::Token(format!("{SECRET}0").into()),
        Proof::OverAll { id: "a".into(), at_s: now().as_second(), codes: vec![] },
        Proof::OverAll { id: "a".into(), at_s: now().as_second(), codes: vec![code(BODY), [0; 32]] },
    ] {
        let hooks = hooks();
        for body in [BODY, b"not json"] {
            let heard = hooks.hear(&delivery(Sender::GitHub, "push", "a", proof.clone()), body, now());
            assert_eq!(heard, Heard::Forged, "{proof:?}");
        }
        // A delivery that was refused does not use up the identifier of a real one.
        assert_eq!(hooks.hear(&signed("push", "a", BODY), BODY, now()), Heard::Nudged);
    }
    let token = delivery(Sender::GitLab, "Push Hook", "a", Proof::Token(SECRET.into()));
    let body = br#"{"repository":{"name":"x"},"project":{"path_with_namespace":"Shop/GitOps"}}"#;
    assert_eq!(hooks().hear(&token, body, now()), Heard::Nudged);
}

#[test]
fn a_signed_time_must_be_near_and_the_key_is_what_gitlab_shows() {
    let key = b"a key of thirty-two bytes, about";
    let shown = format!("whsec_{}", Base64::encode_string(key));
    let hooks = ForgeHooks::new(Secret::new(&shown).unwrap(), "shop/gitops".to_owned());
    let body = br#"{"project":{"path_with_namespace":"shop/gitops"}}"#;
    let from = |at: Timestamp, id: &str| {
        let text = [format!("{id}.{}.", at.as_second()).as_bytes(), body].concat();
        // The bytes of the key are printable, so that a secret can hold them.
        let codes = vec![[7; 32], crate::outside::secret::hmac_sha256(key, &[&text])];
        let proof = Proof::OverAll { id: id.to_owned(), at_s: at.as_second(), codes };
        delivery(Sender::GitLab, "Note Hook", id, proof)
    };
    let minutes = |count| SignedDuration::from_mins(count);
    let heard = |delivery: &Delivery| hooks.hear(delivery, body, now());
    assert_eq!(heard(&from(now() - minutes(6), "a")), Heard::Forged);
    assert_eq!(heard(&from(now() + minutes(6), "b")), Heard::Forged);
    let moved = from(now(), "c");
    let Proof::OverAll { codes, at_s, .. } = moved.proof.clone() else { unreachable!() };
    let renamed = Delivery { proof: Proof::OverAll { id: "d".into(), at_s, codes }, ..moved.clone() };
    assert_eq!(heard(&renamed), Heard::Forged);
    assert_eq!(heard(&moved), Heard::Nudged);
}

#[test]
fn a_captured_delivery_nudges_once_however_often_and_under_whatever_name_it_is_sent() {
    let hooks = hooks();
    let mut nudged = 0;
    for round in 0..10_000_i64 {
        // Within the day that is remembered.
        let at = now() + SignedDuration::from_secs(round * 8);
        let id = if round % 2 == 0 { "a".to_owned() } else { format!("renamed-{round}") };
        let heard = hooks.hear(&signed("push", &id, BODY), BODY, at);
        nudged += usize::from(heard == Heard::Nudged);
        assert!(round == 0 || heard == Heard::Replayed, "{round}: {heard:?}");
    }
    assert_eq!(nudged, 1);
    assert!(hooks.marks.lock().unwrap().by_age.len() <= MARKS_MAX);
    // Afterwards it is what every delivery is: a reason to look once more.
    let later = now() + SignedDuration::from_hours(48);
    assert_eq!(hooks.hear(&signed("push", "a", BODY), BODY, later), Heard::Nudged);
    assert_eq!(hooks.marks.lock().unwrap().all.len(), 2);
}

#[test]
fn the_memory_of_deliveries_is_bounded() {
    let hooks = hooks();
    for round in 0..MARKS_MAX {
        let body = format!(r#"{{"n":{round},"repository":{{"full_name":"shop/gitops"}}}}"#);
        let id = format!("{round}");
        assert_eq!(hooks.hear(&signed("push", &id, body.as_bytes()), body.as_bytes(), now()), Heard::Nudged);
    }
    let marks = hooks.marks.lock().unwrap();
    assert_eq!((marks.by_age.len(), marks.all.len()), (MARKS_MAX, MARKS_MAX));
}

#[test]
fn a_project_in_a_subgroup_is_told_apart_from_its_neighbours_whatever_the_case() {
    for (name, expected) in [
        ("shop/infra/gitops", Heard::Nudged),
        ("Shop/Infra/GitOps", Heard::Nudged),
        ("shop/gitops", Heard::OtherRepository),
        ("infra/gitops", Heard::OtherRepository),
        ("shop/infra/gitops/more", Heard::OtherRepository),
        ("shop/infra/gitops.git", Heard::OtherRepository),
        ("shop%2Finfra%2Fgitops", Heard::OtherRepository),
    ] {
        let hooks = ForgeHooks::new(Secret::new(SECRET).unwrap(), "shop/infra/gitops".to_owned());
        // GitLab's `repository` has a name and addresses only.
        let lab = format!(
            r#"{{"object_kind":"merge_request","project":{{"path_with_namespace":"{name}"}},"repository":{{"name":"gitops","url":"x"}}}}"#
        );
        let token = delivery(Sender::GitLab, "Merge Request Hook", "a", Proof::Token(SECRET.into()));
        assert_eq!(hooks.hear(&token, lab.as_bytes(), now()), expected, "{lab}");
        let hub = format!(r#"{{"action":"submitted","repository":{{"full_name":"{name}"}}}}"#);
        let proof = Proof::OverBody(code(hub.as_bytes()));
        let review = delivery(Sender::GitHub, "pull_request_review", "b", proof);
        assert_eq!(hooks.hear(&review, hub.as_bytes(), now()), expected, "{hub}");
    }
}

#[test]
fn other_repositories_other_events_and_other_bodies_do_nothing() {
    for (event, body, expected) in [
        ("push", &br#"{"repository":{"full_name":"shop/other"}}"#[..], Heard::OtherRepository),
        ("push", br#"{"repository":{"full_name":"shop/gitops-2"}}"#, Heard::OtherRepository),
        ("push", br#"{"repository":null}"#, Heard::OtherRepository),
        ("push", br#"{"repository":{"full_name":null},"project":null}"#, Heard::OtherRepository),
        ("push", b"{}", Heard::OtherRepository),
        ("push", b"payload=%7B%7D", Heard::NotJson),
        ("push", b"", Heard::NotJson),
        ("push", b"[]", Heard::NotJson),
        ("push", br#"{"repository":[1]}"#, Heard::NotJson),
        ("push", br#"{"repository":{"full_name":{}}}"#, Heard::NotJson),
        ("release", BODY, Heard::Ignored),
        ("", BODY, Heard::Ignored),
        ("Push Hook", BODY, Heard::Ignored),
        ("ping", BODY, Heard::Ping),
        ("ping", b"{}", Heard::OtherRepository),
        ("issue_comment", BODY, Heard::Nudged),
    ] {
        let heard = hooks().hear(&signed(event, "a", body), body, now());
        assert_eq!(heard, expected, "{event} {}", String::from_utf8_lossy(body));
    }
    let deep = [vec![b'['; 100_000], b"{}".to_vec()].concat();
    assert_eq!(hooks().hear(&signed("push", "a", &deep), &deep, now()), Heard::NotJson);
}

/// GitHub's own examples of what it sends: events with their payloads. `None` after saying that they are not installed.
fn examples() -> Option<Vec<(String, Vec<serde_json::Value>)>> {
    const FILE: &str = "node_modules/@octokit/webhooks-examples/api.github.com/index.json";
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts");
    let found = std::fs::read_dir(parts).into_iter().flatten().flatten().map(|it| it.path().join(FILE));
    let Some(file) = found.into_iter().find(|it| it.is_file()) else {
        assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "the examples are missing");
        let _ = writeln!(std::io::stderr(), "SKIP fakes are missing; run tests/install-parts fakes");
        return None;
    };
    let all: serde_json::Value =
        serde_json::from_slice(&files::read_bounded(&file, 16 << 20).unwrap()).unwrap();
    let of = |it: &serde_json::Value| {
        (it["name"].as_str().unwrap().to_owned(), it["examples"].as_array().unwrap().clone())
    };
    Some(all.as_array().unwrap().iter().map(of).collect())
}

/// What becomes of a payload as GitHub signs and sends it, where the hook is of this repository.
fn heard(event: &str, payload: &serde_json::Value, repository: &str) -> Heard {
    let body = payload.to_string().into_bytes();
    let hooks = ForgeHooks::new(Secret::new(SECRET).unwrap(), repository.to_owned());
    hooks.hear(&delivery(Sender::GitHub, event, "a", Proof::OverBody(code(&body))), &body, now())
}

#[test]
fn githubs_own_examples_nudge_for_their_repository_and_for_no_other() {
    let Some(examples) = examples() else { return };
    let mut nudged = 0;
    for (event, payloads) in &examples {
        for payload in payloads {
            let Some(name) = payload["repository"]["full_name"].as_str() else {
                assert_ne!(heard(event, payload, "shop/gitops"), Heard::Nudged, "{event} of no repository");
                continue;
            };
            let expected = match event.as_str() {
                "ping" => Heard::Ping,
                event if EVENTS.contains(&event) => Heard::Nudged,
                _ => Heard::Ignored,
            };
            assert_eq!(heard(event, payload, name), expected, "{event} of {name}");
            assert_ne!(heard(event, payload, "shop/gitops"), Heard::Nudged, "{event} of {name}");
            nudged += usize::from(expected == Heard::Nudged);
        }
    }
    assert!(nudged >= 50, "only {nudged} examples are of events that matter");
}

#[test]
fn githubs_own_examples_with_any_field_bent_are_judged_without_a_fault() {
    let Some(examples) = examples() else { return };
    for (event, payloads) in examples.iter().filter(|(event, _)| EVENTS.contains(&event.as_str())) {
        let Some(payload) = payloads.first() else { continue };
        let name = payload["repository"]["full_name"].as_str().unwrap();
        for field in payload.as_object().unwrap().keys() {
            for bent in
                [serde_json::Value::Null, serde_json::json!([7]), serde_json::json!("x".repeat(100_000))]
            {
                let mut payload = payload.clone();
                payload[field] = bent;
                let heard = heard(event, &payload, name);
                let expected: &[Heard] = match field.as_str() {
                    "repository" => &[Heard::OtherRepository, Heard::NotJson],
                    "project" => &[Heard::Nudged, Heard::NotJson],
                    _ => &[Heard::Nudged],
                };
                assert!(expected.contains(&heard), "{event} with another {field}: {heard:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_body_and_any_event_is_judged_without_a_fault(
        body in prop::collection::vec(any::<u8>(), 0..200),
        event in any::<String>(),
        at_s in any::<i64>(),
    ) {
        let heard = hooks().hear(&signed(&event, "a", &body), &body, now());
        prop_assert!(heard != Heard::Nudged && heard != Heard::Ping);
        let proof = Proof::OverAll { id: event, at_s, codes: vec![[0; 32]] };
        prop_assert_eq!(hooks().hear(&delivery(Sender::GitLab, "x", "a", proof), &body, now()), Heard::Forged);
    }

    /// Every field of a documented payload gone, null, a list or huge.
    #[test]
    fn a_payload_with_any_field_bent_is_judged_without_a_fault(field in 0_usize..6, with in 0_usize..4) {
        let mut payload = serde_json::json!({
            "action": "created", "ref": "refs/heads/main", "number": 7, "comment": {"id": 1, "body": "x"},
            "repository": {"id": 1, "full_name": "shop/gitops", "owner": {"login": "shop"}},
            "project": {"path_with_namespace": "shop/gitops"},
        });
        let names = ["action", "ref", "number", "comment", "repository", "project"];
        let bent = [
            serde_json::Value::Null, serde_json::json!([]), serde_json::json!("x".repeat(100_000)),
            serde_json::json!({"full_name": 7}),
        ];
        payload[names[field]] = bent[with].clone();
        let body = payload.to_string().into_bytes();
        let heard = hooks().hear(&signed("push", "a", &body), &body, now());
        prop_assert!(matches!(heard, Heard::Nudged | Heard::NotJson | Heard::OtherRepository));
    }
}
