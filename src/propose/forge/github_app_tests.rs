//! tars as a GitHub App: its own door, tokens for one repository, and what happens when one ends.

use base64ct::{Base64, Encoding as _};

use super::super::github_client::{App, AppKey};
use super::*;

/// A new RSA key: the private half as GitHub gives it out, the public one as the stand-in takes it.
fn keys() -> Option<(Vec<u8>, String)> {
    let made = std::process::Command::new("node").args(["-e", KEYS]).output().ok()?;
    let text = String::from_utf8(made.stdout).ok()?;
    let (private, public) = text.split_once('|')?;
    let decode = |it: &str| Base64::decode_vec(it.trim()).unwrap();
    Some((decode(private), String::from_utf8(decode(public)).unwrap()))
}

const KEYS: &str = "const k = require('crypto').generateKeyPairSync('rsa', { modulusLength: 2048 }); \
    const b = (it) => Buffer.from(it).toString('base64'); \
    process.stdout.write(b(k.privateKey.export({ type: 'pkcs1', format: 'pem' })) + '|' + \
    b(k.publicKey.export({ type: 'spki', format: 'pem' })))";

/// An app in the world of this place, and the forge as it sees it.
fn installed(place: &Place, slug: &str, lifetime_s: u32, permissions: &Value) -> GitHub {
    let (private, public) = keys().expect("node runs the stand-in");
    let app = json!({ "slug": slug, "owner": OWNER, "public_key": public, "permissions": permissions,
        "lifetime_s": lifetime_s });
    let made = place.world.server.control("POST", "apps", &app);
    let id = |key: &str| made[key].as_u64().unwrap();
    let app = App {
        id: id("id"),
        installation: id("installation_id"),
        key: AppKey::from_pem(&private).expect("an RSA key"),
    };
    let name = place.key.split_once('/').unwrap().1;
    forge_as(&place.world.server.url, name, ForgeAccess::App(app))
}

fn everything() -> Value {
    json!({ "contents": "write", "pull_requests": "write", "statuses": "write", "checks": "read",
        "metadata": "read" })
}

/// How many tokens were made for the installations of this process.
fn tokens_made(place: &Place, slug: &str) -> usize {
    let all = place.world.server.control("GET", "journal", &json!({}));
    let is = |it: &&Value| {
        it["path"].as_str().unwrap().ends_with("/access_tokens")
            && it["login"] == format!("{slug}[bot]").as_str()
    };
    all.as_array().unwrap().iter().filter(is).count()
}

#[tokio::test]
async fn an_app_is_somebody_and_does_everything_with_one_token() {
    let Some(place) = Place::new("app") else { return };
    let forge = installed(&place, "tars-app", 3600, &everything());
    let account = forge.whoami().await.unwrap();
    assert_eq!((account.login.as_str(), account.is_site_admin), ("tars-app[bot]", false));
    let facts = forge.repository().await.unwrap();
    assert!(facts.permissions.push && !facts.permissions.admin, "{facts:?}");
    let grants = forge.grants().await.unwrap();
    assert_eq!((grants.pull_requests, grants.comments), (Grant::Yes, Grant::Yes));
    let main = forge.protection(&place.main).await.unwrap().unwrap();
    assert!(main.may_merge && !main.is_protected);
    let head = branch("tars/app");
    let commit = place.push(head.as_str(), "app.yaml");
    let draft = PullDraft { head: &head, base: &place.main, title: "tars", body: "" };
    let pull = forge.create(draft).await.unwrap();
    assert_eq!(pull.author, "tars-app[bot]");
    assert!(forge.comment(pull.number, Marker::Explanation, "because").await.unwrap());
    assert!(!forge.comment(pull.number, Marker::Explanation, "because").await.unwrap());
    assert!(forge.comments(pull.number).await.unwrap()[0].is_bot);
    assert!(forge.set_status(&commit, status(StatusState::Success)).await.unwrap());
    assert!(!forge.set_status(&commit, status(StatusState::Success)).await.unwrap());
    assert_eq!(forge.checks(&commit).await.unwrap().all[0].by, "tars-app[bot]");
    let permit = MergePermit::for_test(&head, &commit, &commit);
    let merging = Merging { permit: &permit, method: MergeMethod::Merge, title: "t", message: "m" };
    assert!(matches!(forge.merge(pull.number, merging).await.unwrap().state, PullState::Merged(_)));
    assert_eq!(tokens_made(&place, "tars-app"), 1);
    // The token reaches this repository and no other.
    let text = format!("{forge:?}");
    assert!(!text.contains("ghs_") && !text.contains("PRIVATE"), "{text}");
}

#[tokio::test]
async fn a_token_is_made_anew_before_it_ends_and_after_it_was_taken_away() {
    let Some(place) = Place::new("app-tokens") else { return };
    let brief = installed(&place, "brief-app", 20, &everything());
    brief.open_pulls().await.unwrap();
    brief.open_pulls().await.unwrap();
    assert_eq!(tokens_made(&place, "brief-app"), 2, "a token about to end was used");
    let long = installed(&place, "long-app", 3600, &everything());
    long.open_pulls().await.unwrap();
    place.fault("GET", "/pulls$", json!({ "kind": "status", "status": 401, "times": 1 }));
    long.open_pulls().await.unwrap();
    assert_eq!(tokens_made(&place, "long-app"), 2);
}

#[tokio::test]
async fn an_app_that_lacks_something_or_is_not_the_one_is_told_apart() {
    let Some(place) = Place::new("app-lacks") else { return };
    let reads = json!({ "contents": "read", "pull_requests": "write", "metadata": "read" });
    let grants = installed(&place, "reading-app", 3600, &reads).grants().await.unwrap();
    assert!(matches!(&grants.pull_requests, Grant::No(said) if said == "the app lacks contents, statuses"));
    assert_eq!(grants.comments, Grant::Yes);
    let (private, _) = keys().unwrap();
    let key = AppKey::from_pem(&private).unwrap();
    assert_eq!(format!("{key:?}"), "AppKey(..)");
    let stranger = ForgeAccess::App(App { id: 1, installation: 2, key });
    let stranger = forge_as(&place.world.server.url, "app-lacks", stranger);
    let error = stranger.open_pulls().await.unwrap_err();
    assert_eq!((error.trouble, error.status), (Trouble::Unauthenticated, Some(401)), "{error}");
    assert!(error.hint().contains("private_key_file") && error.outlook() == Outlook::Permanent);
    assert!(AppKey::from_pem(b"-----BEGIN PRIVATE KEY-----\nnot one\n-----END PRIVATE KEY-----\n").is_none());
    // When tokens cannot be had, nothing was done: a write may be tried again later.
    let app = installed(&place, "waiting-app", 3600, &everything());
    let down = json!({ "kind": "status", "status": 503, "times": 3, "match": { "path": "/access_tokens$" } });
    place.world.server.control("POST", "faults", &down);
    let draft = PullDraft { head: &branch("tars/x"), base: &place.main, title: "t", body: "" };
    let error = app.create(draft).await.unwrap_err();
    assert_eq!(error.outlook(), Outlook::Transient, "{error}");
}
