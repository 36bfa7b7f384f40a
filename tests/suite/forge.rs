//! `tars forge check` and `tars forge prs` from outside: against a real Gitea, a stand-in, and servers that redirect,
//! never end, never begin, or ask for patience. The adapter's own operations are tested beside it, in
//! `src/propose/forge/gitea_tests.rs`.

mod hooks;
mod login;
mod outage;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::git_http::{END, GitHttp};
use crate::support::gitea::{Gitea, LEAST_SCOPES, ORGANISATION};
use crate::support::parts;
use crate::support::program::{Said, git, tars};

mod gitlab;

const BOT: &str = "tars-bot";
/// A token that no server knows.
const CANARY: &str = "canary0123456789canary0123456789canary01";

struct World {
    gitea: Gitea,
    bot_token: String,
}

/// One Gitea for all tests of this file.
fn world(test: &str) -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    let start = || {
        let gitea = Gitea::start(&parts::find("gitea", test)?);
        let bot_token = gitea.user(BOT, LEAST_SCOPES);
        Some(World { gitea, bot_token })
    };
    WORLD.get_or_init(start).as_ref()
}

/// A folder with settings for this forge and a private token file.
fn settings(url: &str, name: &str, token: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, token).unwrap();
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "repository: {{url: 'https://git.example.com/{ORGANISATION}/{name}.git'}}\n\
         signing: {{key_file: /keys/tars, allowed_signers_file: /keys/allowed}}\n\
         prometheus: {{url: 'http://127.0.0.1:9'}}\n\
         webhook: {{enabled: false}}\n\
         forge: {{kind: gitea, url: '{url}', repository: {ORGANISATION}/{name}, token_file: '{}'}}\n",
        token_file.display()
    );
    std::fs::write(folder.path().join("tars.yaml"), text).unwrap();
    folder
}

fn run(folder: &Path, args: &[&str]) -> Said {
    let said = tars(folder, args);
    let token = std::fs::read_to_string(folder.join("token")).unwrap_or_default();
    let printed = format!("{}{}", said.out, said.err);
    assert!(token.is_empty() || !printed.contains(&token), "the token was printed: {printed}");
    said
}

fn protect(gitea: &Gitea, path: &str, approvals: u32) {
    let rule = json!({
        "rule_name": "main",
        "enable_push": false,
        "required_approvals": approvals,
        "enable_status_check": true,
        "status_check_contexts": ["ci/build"],
    });
    gitea.admin("POST", &format!("{path}/branch_protections"), Some(&rule), 201);
}

/// Opens a pull request as the bot: its number and head.
fn propose(world: &World, path: &str, branch: &str) -> (u64, String) {
    let head =
        world.gitea.commit(path, branch, &format!("{}.yaml", branch.replace('/', "-")), "replicas: 5\n");
    let pull = json!({ "head": branch, "base": "main", "title": format!("tars: scale out ({branch})") });
    let (status, made) = world.gitea.ask(&world.bot_token, "POST", &format!("{path}/pulls"), Some(&pull));
    assert_eq!(status, 201, "{made}");
    (made["number"].as_u64().unwrap(), head)
}

#[test]
fn a_forge_that_is_set_up_right_passes_every_check_and_shows_what_it_can() {
    let Some(world) = world("a_forge_that_is_set_up_right_passes_every_check_and_shows_what_it_can") else {
        return;
    };
    let path = world.gitea.repository("right", &[BOT]);
    protect(&world.gitea, &path, 0);
    propose(world, &path, "tars/one");
    let folder = settings(&world.gitea.url, "right", &world.bot_token);
    let said = run(folder.path(), &["forge", "check"]).ok();
    for expected in [
        "belongs to tars-bot",
        "shop/right, default branch main",
        "reads and pushes, and no more",
        "write:repository: may write pull requests and statuses",
        "write:issue: may write comments and labels",
        "tars/ledger is not there yet",
        "may push to tars/one",
        "main is protected",
        "waits for ci/build",
        "fast-forward",
        "of the forge",
        "bodies up to 1000000 characters, checkboxes, details, mermaid, callouts",
        "0 failed, 0 warned",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    let answer = run(folder.path(), &["forge", "check", "-o", "json"]).json();
    assert_eq!(answer["capabilities"]["body_chars_max"], 1_000_000);
    assert!(answer["items"].as_array().unwrap().iter().all(|it| it["verdict"] == "pass"), "{answer}");
}

#[test]
fn onboarding_opens_one_pull_request_keeps_it_up_to_date_and_takes_a_closed_one_for_a_no() {
    let Some(world) =
        world("onboarding_opens_one_pull_request_keeps_it_up_to_date_and_takes_a_closed_one_for_a_no")
    else {
        return;
    };
    let (gitea, bot) = (&world.gitea, &world.bot_token);
    let path = gitea.repository("onboard", &[BOT]);
    let app = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  replicas: 2\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
             spec: {{containers: [{{name: app, image: 'r.example/app:1'}}]}}\n"
        )
    };
    gitea.commit(&path, "main", "apps/web.yaml", &app("web"));
    let folder = settings(&gitea.url, "onboard", bot);
    let address = gitea.url.replace("http://", &format!("http://{BOT}:{bot}@"));
    let clone = folder.path().join("clone");
    git(folder.path(), &["clone", "-q", &format!("{address}/{ORGANISATION}/onboard.git"), "clone"]);
    git(&clone, &["config", "user.name", "Ann"]);
    git(&clone, &["config", "user.email", "ann@example.com"]);
    let init = ["init", "clone", "--config", "tars.yaml"];
    let pulls = || {
        let (_, all) = gitea.ask(bot, "GET", &format!("{path}/pulls?state=all"), None);
        all.as_array().unwrap().clone()
    };

    let first = run(folder.path(), &[&init[..], &["-o", "json"]].concat());
    assert_eq!((first.code, &first.json()["state"]), (0, &json!("Waiting")), "{first:#?}");
    let opened = pulls();
    assert_eq!(opened.len(), 1);
    assert_eq!(first.json()["url"], opened[0]["html_url"]);
    assert_eq!(opened[0]["title"], "tars: watch 1 workload, change nothing");
    gitea.commit(&path, "main", "apps/api.yaml", &app("api"));
    run(folder.path(), &init).ok();
    let updated = pulls();
    assert_eq!((updated.len(), &updated[0]["number"]), (1, &opened[0]["number"]));
    assert_eq!(updated[0]["title"], "tars: watch 2 workloads, change nothing");
    assert!(updated[0]["body"].as_str().unwrap().contains("shop/Deployment/api"));

    let number = &opened[0]["number"];
    let closed = json!({ "state": "closed" });
    assert_eq!(gitea.ask(bot, "PATCH", &format!("{path}/pulls/{number}"), Some(&closed)).0, 201);
    let said = run(folder.path(), &init);
    assert_eq!(said.code, 5, "{said:#?}");
    assert!(
        said.err.contains(&format!("somebody closed #{number}")) && said.err.contains("--again"),
        "{said:#?}"
    );
    assert_eq!(pulls().len(), 1);
    run(folder.path(), &[&init[..], &["--again"]].concat()).ok();
    assert_eq!(pulls().len(), 2);
}

/// What is wrong, the exit code, and the words that name it and where to change it.
type Case<'a> = (&'a str, String, i32, &'a [&'a str]);

#[test]
fn each_setting_that_stops_an_automatic_merge_is_named_with_its_place() {
    let Some(world) = world("each_setting_that_stops_an_automatic_merge_is_named_with_its_place") else {
        return;
    };
    let (gitea, bot) = (&world.gitea, &world.bot_token);
    let guarded = gitea.repository("guarded", &[BOT]);
    protect(gitea, &guarded, 2);
    let methods = json!({ "allow_fast_forward_only_merge": false });
    gitea.admin("PATCH", &guarded, Some(&methods), 200);
    gitea.repository("open", &[BOT]);
    gitea.repository("readonly", &[]);
    gitea.admin(
        "PUT",
        "/repos/shop/readonly/collaborators/tars-bot",
        Some(&json!({ "permission": "read" })),
        204,
    );
    gitea.repository("administered", &[]);
    gitea.admin(
        "PUT",
        "/repos/shop/administered/collaborators/tars-bot",
        Some(&json!({ "permission": "admin" })),
        204,
    );
    let archived = gitea.repository("archived", &[BOT]);
    gitea.admin("PATCH", &archived, Some(&json!({ "archived": true })), 200);
    let without = gitea.repository("without", &[BOT]);
    gitea.admin("PATCH", &without, Some(&json!({ "has_pull_requests": false })), 200);
    let ledger = gitea.repository("ledger", &[BOT]);
    gitea.commit(&ledger, "tars/ledger", "open.yaml", "x");
    let rule = json!({ "rule_name": "tars/**", "enable_push": false });
    gitea.admin("POST", &format!("{ledger}/branch_protections"), Some(&rule), 201);
    let narrow = gitea.token(BOT, &["read:repository", "read:user"]);
    let nameless = gitea.token(BOT, &["write:repository", "write:issue"]);
    let cases: &[Case<'_>] = &[
        ("guarded", bot.clone(), 0, &["main requires 2 approvals", "set Required approvals to 0"]),
        ("guarded", bot.clone(), 0, &["fast-forward is not allowed", "Fast-forward only"]),
        ("open", bot.clone(), 0, &["auto-merge is off: main has no protection", "Add New Rule"]),
        (
            "open",
            gitea.admin_token.clone(),
            0,
            &["auto-merge is off with this token: keeper", "account of its own"],
        ),
        ("administered", bot.clone(), 0, &["tars-bot administers shop/administered", "Write is enough"]),
        ("readonly", bot.clone(), 1, &["tars-bot may not push to shop/readonly", "collaboration"]),
        ("archived", bot.clone(), 1, &["shop/archived is archived"]),
        ("without", bot.clone(), 1, &["pull requests are off in shop/without", "Units"]),
        ("ledger", bot.clone(), 1, &["may not push to tars/ledger", "protection rule"]),
        ("open", narrow, 1, &["write:repository", "write:issue", "make a token with the scope"]),
        ("open", nameless, 1, &["could not ask whose token it is (HTTP 403)", "read:user"]),
        ("open", CANARY.to_owned(), 1, &["HTTP 401", "the token is unknown or expired"]),
        ("nowhere", bot.clone(), 1, &["could not read the repository (HTTP 404)", "forge.repository"]),
    ];
    for (name, token, code, expected) in cases {
        let said = run(settings(&gitea.url, name, token).path(), &["forge", "check"]);
        assert_eq!(said.code, *code, "{name}: {said:#?}");
        for words in *expected {
            assert!(said.out.contains(words), "{name}: {words:?} is not in:\n{}", said.out);
        }
    }
}

#[test]
fn open_pull_requests_of_tars_are_listed_with_what_they_wait_for() {
    let Some(world) = world("open_pull_requests_of_tars_are_listed_with_what_they_wait_for") else { return };
    let path = world.gitea.repository("listed", &[BOT]);
    protect(&world.gitea, &path, 0);
    let folder = settings(&world.gitea.url, "listed", &world.bot_token);
    let none = run(folder.path(), &["forge", "prs"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert!(none.err.contains("no open pull requests of tars"), "{none:?}");
    let (waiting, _) = propose(world, &path, "tars/waiting");
    let (green, head) = propose(world, &path, "tars/green");
    propose(world, &path, "people/feature");
    let status = json!({ "context": "ci/build", "state": "success" });
    world.gitea.admin("POST", &format!("{path}/statuses/{head}"), Some(&status), 201);
    let said = run(folder.path(), &["forge", "prs", "-o", "wide"]).ok();
    let line = |number: u64| {
        let start = format!("#{number} ");
        said.lines().find(|it| it.starts_with(&start)).unwrap_or_else(|| panic!("{start}: {said}")).to_owned()
    };
    assert!(line(green).contains("green") && line(green).contains("tars/green"), "{said}");
    assert!(
        line(waiting).contains("waiting") && line(waiting).contains(&format!("/pulls/{waiting}")),
        "{said}"
    );
    assert!(!said.contains("people/feature"), "{said}");
    let items = run(folder.path(), &["forge", "prs", "-o", "json"]).json()["items"].clone();
    let of =
        |number: u64| items.as_array().unwrap().iter().find(|it| it["number"] == number).cloned().unwrap();
    assert_eq!(of(waiting)["checks"], json!({ "Waiting": ["ci/build"] }));
    assert_eq!((of(green)["checks"].clone(), of(green)["head"].clone()), (json!("Green"), Value::from(head)));
}

#[test]
fn without_a_forge_there_is_nothing_to_ask() {
    let folder = settings("http://127.0.0.1:9", "x", CANARY);
    let file = folder.path().join("tars.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text: String =
        text.lines().filter(|it| !it.starts_with("forge:")).map(|it| format!("{it}\n")).collect();
    std::fs::write(file, text).unwrap();
    let check = run(folder.path(), &["forge", "check"]);
    assert!(check.code == 0 && check.out.contains("forge.kind: gitea"), "{check:?}");
    let prs = run(folder.path(), &["forge", "prs"]);
    assert!(prs.code == 2 && prs.err.contains("tars get proposals"), "{prs:?}");
}

#[test]
fn a_token_that_others_can_read_is_not_used() {
    let server = GitHttp::start(|_, stream| drop(write!(stream, "HTTP/1.1 200 OK\r\n{END}")));
    let folder = settings(&server.origin, "x", CANARY);
    let token = folder.path().join("token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(folder.path(), &["forge", "prs"]);
    assert!(said.code == 2 && said.err.contains("chmod 600"), "{said:?}");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn the_token_goes_to_the_configured_host_and_nowhere_else() {
    let thief = GitHttp::start(|_, stream| drop(write!(stream, "HTTP/1.1 200 OK\r\n{END}")));
    let elsewhere = thief.origin.clone();
    let server = GitHttp::start(move |_, stream| {
        drop(write!(stream, "HTTP/1.1 307 Moved\r\nLocation: {elsewhere}/login?next=secret\r\n{END}"));
    });
    let said = run(settings(&server.origin, "x", CANARY).path(), &["forge", "prs"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("redirects (HTTP 307)") && said.err.contains(&thief.origin), "{said:?}");
    assert!(!said.err.contains("next=secret") && said.err.contains("ROOT_URL"), "{said:?}");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), Some(format!("token {CANARY}").as_str()));
    let elsewhere = thief.origin.clone();
    let server = GitHttp::start(move |_, stream| {
        let link = format!("Link: <{elsewhere}/api/v1/repos/shop/x/pulls?page=2>; rel=\"next\"");
        drop(write!(stream, "HTTP/1.1 200 OK\r\n{link}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"));
    });
    let said = run(settings(&server.origin, "x", CANARY).path(), &["forge", "prs"]);
    assert!(said.code == 3 && said.err.contains("as its next page"), "{said:?}");
    assert_eq!(thief.asked().len(), 0);
}

#[test]
fn a_server_without_an_end_and_one_without_a_beginning_are_left() {
    let endless = GitHttp::start(|_, stream| {
        let piece = [b'['; 65536];
        let mut going = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").is_ok();
        while going {
            going = stream.write_all(&piece).is_ok();
        }
    });
    let started = Instant::now();
    let said = run(settings(&endless.origin, "x", CANARY).path(), &["forge", "prs"]);
    assert!(said.code == 3 && said.err.contains("larger than 16777216 bytes"), "{said:?}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    // Says nothing until the client is gone.
    let silent = GitHttp::start(|_, stream| drop(stream.read(&mut [0])));
    let folder = settings(&silent.origin, "x", CANARY);
    let said = run(folder.path(), &["forge", "prs", "--timeout", "1s"]);
    assert!(said.code == 7 && said.err.contains("within 1s"), "{said:?}");
    let said = run(folder.path(), &["forge", "check", "--timeout", "1s"]);
    assert!(said.code == 7 && said.out.contains("gitea, shop/x"), "{said:?}");
}

#[test]
fn a_rate_limit_is_waited_for_when_it_is_short_and_told_when_it_is_long() {
    let count = AtomicUsize::new(0);
    let short = GitHttp::start(move |_, stream| {
        let answer = if count.fetch_add(1, Ordering::SeqCst) == 0 {
            format!("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n{END}")
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]".to_owned()
        };
        drop(stream.write_all(answer.as_bytes()));
    });
    let started = Instant::now();
    let said = run(settings(&short.origin, "x", CANARY).path(), &["forge", "prs"]);
    assert_eq!((said.code, short.asked().len()), (0, 2), "{said:?}");
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not honoured");
    let long = GitHttp::start(|_, stream| {
        drop(write!(stream, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 600\r\n{END}"));
    });
    let said = run(settings(&long.origin, "x", CANARY).path(), &["forge", "prs"]);
    assert!(said.code == 3 && said.err.contains("limits the rate of requests until"), "{said:?}");
    assert_eq!(long.asked().len(), 1);
}

/// A server with this certificate that answers every request with an empty list.
fn https(folder: &Path) -> String {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut secure = rustls::Stream::new(&mut session, &mut stream);
            // A client that does not believe the certificate leaves here.
            if secure.read(&mut [0; 4096]).is_ok() {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
                drop(secure.write_all(answer.as_bytes()));
                secure.conn.send_close_notify();
                drop(secure.flush());
            }
        }
    });
    origin
}

#[test]
fn an_authority_of_its_own_is_believed_only_when_it_is_named() {
    let test = "an_authority_of_its_own_is_believed_only_when_it_is_named";
    let Some(gitea) = parts::find("gitea", test) else { return };
    let authority = tempfile::tempdir().unwrap();
    let made = Command::new(gitea)
        .args(["cert", "--host", "127.0.0.1"])
        .current_dir(authority.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let origin = https(authority.path());
    let folder = settings(&origin, "x", CANARY);
    let said = run(folder.path(), &["forge", "prs"]);
    assert!(said.code == 3 && said.err.contains("cannot connect"), "{said:?}");
    let file = folder.path().join("tars.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let named = format!("ca_file: '{}', token_file", authority.path().join("cert.pem").display());
    std::fs::write(&file, text.replace("token_file", &named)).unwrap();
    let said = run(folder.path(), &["forge", "prs"]);
    assert_eq!(said.code, 0, "{said:?}");
}
