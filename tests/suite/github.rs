//! `tars forge check` and `tars forge prs` on the stand-in for GitHub, with a token and as an app. The adapter's own
//! operations are tested beside it, in `src/propose/forge/github_tests.rs`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fake::Fake;
use crate::support::program::{Said, tars};
use crate::support::{parts, root};

const OWNER: &str = "shop";
const BOT: &str = "tars-bot";

struct World {
    fake: Fake,
    bot_token: String,
}

/// One stand-in for all tests of this file.
fn world(test: &str) -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    let start = || {
        let fake = Fake::start(root(), &parts::fakes(test)?, "github");
        let bot_token = fake.user(BOT);
        fake.user("person");
        Some(World { fake, bot_token })
    };
    WORLD.get_or_init(start).as_ref()
}

impl World {
    fn repository(&self, name: &str, settings: &Value) {
        let mut made =
            json!({ "owner": OWNER, "name": name, "members": { BOT: "write", "person": "write" } });
        made.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.fake.control("POST", "repositories", &made);
    }

    /// Opens a pull request as the bot: its number and head.
    fn propose(&self, name: &str, branch: &str) -> (u64, String) {
        let key = format!("{OWNER}/{name}");
        let head =
            self.fake.commit(&key, branch, &format!("{}.yaml", branch.replace('/', "-")), "replicas: 5\n");
        let pull = json!({ "head": branch, "base": "main", "title": format!("tars: scale out ({branch})") });
        let path = format!("/api/v3/repos/{key}/pulls");
        let (status, made) = self.fake.ask(&self.bot_token, "POST", &path, Some(&pull));
        assert_eq!(status, 201, "{made}");
        (made["number"].as_u64().unwrap(), head)
    }
}

/// A rule as `tests/fakes/core/state.mjs` takes it.
fn rule(origin: &str, more: &Value) -> Value {
    let mut rule = json!({ "branch": "main", "origin": origin, "checks": [{ "context": "ci/build" }] });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "protection": [rule] })
}

/// A folder with settings for this forge; `credential` is what stands there beside kind and place.
fn settings(url: &str, name: &str, credential: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "repository: {{url: 'https://git.example.com/{OWNER}/{name}.git'}}\n\
         signing: {{key_file: /keys/tars, allowed_signers_file: /keys/allowed}}\n\
         prometheus: {{url: 'http://127.0.0.1:9'}}\n\
         webhook: {{enabled: false}}\n\
         forge: {{kind: github, url: '{url}', repository: {OWNER}/{name}, {}}}\n",
        credential.replace("HERE", &folder.path().display().to_string())
    );
    std::fs::write(folder.path().join("tars.yaml"), text).unwrap();
    folder
}

fn keep(folder: &Path, name: &str, text: &str, mode: u32) {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn with_token(url: &str, name: &str, token: &str) -> TempDir {
    let folder = settings(url, name, "token_file: 'HERE/token'");
    keep(folder.path(), "token", token, 0o600);
    folder
}

fn run(folder: &TempDir, args: &[&str]) -> Said {
    let said = tars(folder.path(), args);
    let token = std::fs::read_to_string(folder.path().join("token")).unwrap_or_default();
    let printed = format!("{}{}", said.out, said.err);
    assert!(token.is_empty() || !printed.contains(&token), "the token was printed: {printed}");
    assert!(!printed.contains("ghs_"), "a token of the app was printed: {printed}");
    said
}

#[test]
fn a_github_that_is_set_up_right_passes_every_check_and_shows_what_it_can() {
    let Some(world) = world("a_github_that_is_set_up_right_passes_every_check_and_shows_what_it_can") else {
        return;
    };
    world.repository("right", &rule("ruleset", &json!({ "pull": true })));
    world.propose("right", "tars/one");
    let folder = with_token(&world.fake.url, "right", &world.bot_token);
    let said = run(&folder, &["forge", "check"]).ok();
    for expected in [
        "github, shop/right on",
        "belongs to tars-bot",
        "shop/right, default branch main",
        "reads and pushes, and no more",
        "may write pull requests and statuses",
        "may write comments and labels",
        "tars/ledger is not there yet",
        "may push to tars/one",
        "main is protected",
        "waits for ci/build",
        "merge commit, rebase, squash",
        "bodies up to 58000 characters, checkboxes, details, mermaid, callouts",
        "0 failed, 0 warned",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    world.fake.is_as_described("shop/right");
}

/// What is wrong, the exit code, and the words that name it and where to change it.
type Case<'a> = (&'a str, String, i32, &'a [&'a str]);

#[test]
fn each_setting_that_stops_an_automatic_merge_is_named_with_githubs_own_words() {
    let test = "each_setting_that_stops_an_automatic_merge_is_named_with_githubs_own_words";
    let Some(world) = world(test) else { return };
    let bot = &world.bot_token;
    world.repository("guarded", &rule("ruleset", &json!({ "approvals": 2 })));
    world.repository("queued", &rule("ruleset", &json!({ "pull": true, "queue": true })));
    world.repository("squashed", &json!({ "methods": ["squash"] }));
    world.repository("open", &json!({}));
    world.repository("readonly", &json!({ "members": { BOT: "read" } }));
    world.repository("administered", &json!({ "members": { BOT: "admin" } }));
    world.repository("archived", &json!({ "archived": true }));
    let grants =
        json!({ "contents": "write", "pull_requests": "read", "statuses": "write", "checks": "read" });
    let narrow = world.fake.token(&json!({ "login": BOT, "kind": "fine", "grants": grants }));
    let unknown = "ghp_canary0123456789canary0123456789canary".to_owned();
    let cases: &[Case<'_>] = &[
        ("guarded", bot.clone(), 0, &["main requires 2 approvals", "set Required approvals to 0"]),
        ("queued", bot.clone(), 0, &["tars-bot may not merge into main", "merge queue"]),
        ("squashed", bot.clone(), 0, &["merge commit is not allowed (squash)", "Allow merge commits"]),
        ("open", bot.clone(), 0, &["auto-merge is off: main has no protection", "New branch ruleset"]),
        ("open", world.fake.admin_token.clone(), 0, &["auto-merge is off with this token: keeper"]),
        ("administered", bot.clone(), 0, &["tars-bot administers shop/administered", "settings/access"]),
        ("readonly", bot.clone(), 1, &["tars-bot may not push to shop/readonly", "settings/access"]),
        ("archived", bot.clone(), 1, &["shop/archived is archived"]),
        ("open", narrow, 1, &["not accessible by personal access token", "Pull requests: write"]),
        ("open", unknown, 1, &["HTTP 401", "the token is unknown or expired"]),
        ("nowhere", bot.clone(), 1, &["could not read the repository (HTTP 404)", "forge.repository"]),
    ];
    for (name, token, code, expected) in cases {
        let said = run(&with_token(&world.fake.url, name, token), &["forge", "check"]);
        assert_eq!(said.code, *code, "{name}: {said:#?}");
        for words in *expected {
            assert!(said.out.contains(words), "{name}: {words:?} is not in:\n{}", said.out);
        }
        world.fake.is_as_described(&format!("{OWNER}/{name}"));
    }
}

#[test]
fn open_pull_requests_of_tars_are_listed_with_what_they_wait_for_on_github() {
    let test = "open_pull_requests_of_tars_are_listed_with_what_they_wait_for_on_github";
    let Some(world) = world(test) else { return };
    world.repository("listed", &rule("classic", &json!({})));
    let folder = with_token(&world.fake.url, "listed", &world.bot_token);
    let none = run(&folder, &["forge", "prs"]);
    assert!(none.code == 0 && none.err.contains("no open pull requests of tars"), "{none:?}");
    let (waiting, _) = world.propose("listed", "tars/waiting");
    let (green, head) = world.propose("listed", "tars/green");
    world.propose("listed", "people/feature");
    let status = json!({ "context": "ci/build", "state": "success" });
    let path = format!("/api/v3/repos/shop/listed/statuses/{head}");
    assert_eq!(world.fake.ask(&world.fake.admin_token, "POST", &path, Some(&status)).0, 201);
    let items = run(&folder, &["forge", "prs", "-o", "json"]).json()["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 2, "{items}");
    let of =
        |number: u64| items.as_array().unwrap().iter().find(|it| it["number"] == number).cloned().unwrap();
    assert_eq!(of(waiting)["checks"], json!({ "Waiting": ["ci/build"] }));
    assert_eq!((of(green)["checks"].clone(), of(green)["head"].clone()), (json!("Green"), Value::from(head)));
    world.fake.is_as_described("shop/listed");
}

#[test]
fn tars_can_be_an_app_whose_key_only_its_owner_can_read() {
    let Some(world) = world("tars_can_be_an_app_whose_key_only_its_owner_can_read") else { return };
    world.repository("app", &rule("ruleset", &json!({ "pull": true })));
    let keys = tempfile::tempdir().unwrap();
    let made = Command::new("node")
        .args(["-e", KEYS])
        .current_dir(keys.path())
        .status()
        .expect("node runs the stand-in");
    assert!(made.success());
    let read = |name: &str| std::fs::read_to_string(keys.path().join(name)).unwrap();
    let permissions = json!({ "contents": "write", "pull_requests": "write", "statuses": "write",
        "checks": "read", "metadata": "read" });
    let app = json!({ "slug": "tars", "owner": OWNER, "public_key": read("public.pem"), "permissions": permissions });
    let app = world.fake.control("POST", "apps", &app);
    let credential = format!(
        "app: {{id: {}, installation_id: {}, private_key_file: 'HERE/key.pem'}}",
        app["id"], app["installation_id"]
    );
    let folder = settings(&world.fake.url, "app", &credential);
    let missing = run(&folder, &["forge", "check"]);
    assert!(missing.code == 2 && missing.err.contains("the app's key in"), "{missing:?}");
    keep(folder.path(), "key.pem", &read("private.pem"), 0o644);
    let exposed = run(&folder, &["forge", "check"]);
    assert!(exposed.code == 2 && exposed.err.contains("chmod 600"), "{exposed:?}");
    keep(folder.path(), "key.pem", "not a key", 0o600);
    let other = run(&folder, &["forge", "check"]);
    assert!(other.code == 2 && other.err.contains("no RSA key"), "{other:?}");
    keep(folder.path(), "key.pem", &read("private.pem"), 0o600);
    let said = run(&folder, &["forge", "check"]).ok();
    for expected in ["belongs to tars[bot]", "reads and pushes, and no more", "0 failed, 0 warned"] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    world.fake.is_as_described("shop/app");
}

const KEYS: &str = "const fs = require('fs'); \
    const k = require('crypto').generateKeyPairSync('rsa', { modulusLength: 2048 }); \
    fs.writeFileSync('private.pem', k.privateKey.export({ type: 'pkcs1', format: 'pem' })); \
    fs.writeFileSync('public.pem', k.publicKey.export({ type: 'spki', format: 'pem' }))";
