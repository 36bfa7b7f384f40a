//! The adapter against a real Gitea: what every forge does alike (`contract_tests`), what only Gitea does, and what the
//! network may do in between. One server for all tests of this process, one repository for each.
#![allow(clippy::disallowed_methods, reason = "a test that starts Gitea and looks for it on disk")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) use super::contract_tests::BOT;
use super::contract_tests::{LOOKS_MAX, REVIEWER, Stage, branch, open, plays};
use super::error::Outlook;
use super::gitea::Gitea;
use super::*;
use crate::model::forge::{CheckState, ChecksVerdict, PullState};
use crate::outside::clock::{SystemClock, wait};
use crate::outside::http::{Http, HttpSettings};
use crate::outside::ports;
use crate::outside::secret::Secret;

#[path = "gitea_people_tests.rs"]
mod people;
#[path = "../../../tests/suite/support/gitea.rs"]
pub(crate) mod server;

pub(crate) struct World {
    pub(crate) server: server::Gitea,
    pub(crate) bot_token: String,
    reviewer_token: String,
    narrow_token: String,
}

/// The program, from the parts of this tree; `None` after saying so.
fn program() -> Option<PathBuf> {
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts");
    let found = std::fs::read_dir(parts).into_iter().flatten().flatten();
    let named = |it: &std::fs::DirEntry| it.file_name().to_string_lossy().starts_with("gitea-");
    let found = found.filter(named).map(|it| it.path().join("bin/gitea")).find(|it| it.is_file());
    if found.is_none() {
        assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "gitea is missing");
        let _ = writeln!(std::io::stderr(), "SKIP gitea is missing; run tests/install-parts gitea");
    }
    found
}

/// The one server of this process.
pub(crate) fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    let start = || {
        let server = server::Gitea::start(&program()?);
        let bot_token = server.user(BOT, server::LEAST_SCOPES);
        let reviewer_token = server.user(REVIEWER, server::LEAST_SCOPES);
        let narrow_token = server.token(BOT, &["read:repository", "read:issue", "read:user"]);
        Some(World { server, bot_token, reviewer_token, narrow_token })
    };
    WORLD.get_or_init(start).as_ref()
}

pub(crate) fn forge_at(url: &str, name: &str, token: &str) -> Gitea {
    let settings = HttpSettings {
        timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(5),
        body_max: 4 << 20,
        user_agent: "tars-test".into(),
        authorities: None,
    };
    let http = Http::new(&settings).unwrap();
    let token = Secret::new(token).unwrap();
    Gitea::new(http, Arc::new(SystemClock), url, (server::ORGANISATION, name), token).unwrap()
}

/// A repository, and the forge as the bot sees it.
struct Place {
    world: &'static World,
    /// `/repos/owner/name`
    path: String,
    forge: Gitea,
    main: BranchName,
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let world = world()?;
        let path = world.server.repository(name, &[BOT, REVIEWER]);
        let forge = forge_at(&world.server.url, name, &world.bot_token);
        Some(Self { world, path, forge, main: branch("main") })
    }

    fn push(&self, name: &str, file: &str) -> ObjectId {
        ObjectId::new(self.world.server.commit(&self.path, name, file, "replicas: 5\n")).unwrap()
    }

    /// A pull request from `tars/<name>` with one commit.
    async fn proposal(&self, name: &str) -> (PullRequest, BranchName) {
        let head = branch(&format!("tars/{name}"));
        self.push(head.as_str(), &format!("{name}.yaml"));
        (open(&self.forge, &head).await.unwrap(), head)
    }

    /// Waits until Gitea has looked at it.
    async fn mergeable(&self, number: u64) {
        for _ in 0..LOOKS_MAX {
            if self.forge.read(number).await.unwrap().is_mergeable {
                return;
            }
            wait(Duration::from_millis(100)).await;
        }
        panic!("#{number} did not become mergeable");
    }

    async fn merge(&self, pull: &PullRequest, head: &ObjectId) -> Result<PullRequest, ForgeError> {
        let permit = MergePermit::for_test(&branch(&pull.branch), head, head);
        let merging = Merging {
            permit: &permit,
            method: MergeMethod::FastForward,
            title: "a title",
            message: "a message",
        };
        self.forge.merge(pull.number, merging).await
    }

    /// As [`REVIEWER`], who must be allowed to.
    fn person(&self, method: &str, path: &str, body: &Value) {
        let (status, answer) = self.world.server.ask(
            &self.world.reviewer_token,
            method,
            &format!("{}{path}", self.path),
            Some(body),
        );
        assert!(status < 300, "{method} {path}: {status} {answer}");
    }

    fn protect(&self, approvals: u32) {
        let rule = json!({
            "rule_name": "main",
            "enable_push": false,
            "required_approvals": approvals,
            "enable_status_check": true,
            "status_check_contexts": ["ci/*"],
        });
        self.world.server.admin("POST", &format!("{}/branch_protections", self.path), Some(&rule), 201);
    }
}

impl Stage for Place {
    fn forge(&self) -> &dyn Forge {
        &self.forge
    }

    fn with_token(&self, token: &str, repository: Option<&str>) -> Box<dyn Forge> {
        let own = self.path.rsplit_once('/').unwrap().1;
        Box::new(forge_at(&self.world.server.url, repository.unwrap_or(own), token))
    }

    fn keepers_token(&self) -> String {
        self.world.server.admin_token.clone()
    }

    fn wrong_token(&self) -> &'static str {
        "0123456789abcdef0123456789abcdef01234567"
    }

    fn narrow_token(&self) -> String {
        self.world.narrow_token.clone()
    }

    fn full_name(&self) -> String {
        self.path.strip_prefix("/repos/").unwrap().to_owned()
    }

    fn way(&self) -> MergeMethod {
        MergeMethod::FastForward
    }

    fn push(&self, name: &str, file: &str) -> ObjectId {
        Self::push(self, name, file)
    }

    fn head(&self, name: &str) -> String {
        let path = format!("{}/branches/{}", self.path, name.replace('/', "%2F"));
        self.world.server.admin("GET", &path, None, 200)["commit"]["id"].as_str().unwrap().to_owned()
    }

    fn say(&self, number: u64, text: &str) {
        self.person("POST", &format!("/issues/{number}/comments"), &json!({ "body": text }));
    }

    fn set_label(&self, number: u64, label: &str) {
        let made = json!({ "name": label, "color": "#ff0000" });
        self.person("POST", "/labels", &made);
        self.person("POST", &format!("/issues/{number}/labels"), &json!({ "labels": [label] }));
    }

    fn approve(&self, pull: &PullRequest) {
        // An approval counts where a rule asks for one.
        let rule = json!({ "rule_name": "main", "required_approvals": 1 });
        let path = format!("{}/branch_protections", self.path);
        self.world.server.ask(&self.world.server.admin_token, "POST", &path, Some(&rule));
        let review = json!({ "event": "APPROVED", "body": "fine", "commit_id": pull.head });
        self.person("POST", &format!("/pulls/{}/reviews", pull.number), &review);
    }

    fn reopen(&self, number: u64) {
        self.person("PATCH", &format!("/pulls/{number}"), &json!({ "state": "open" }));
    }

    fn forge_status(&self, head: &ObjectId) {
        let ours =
            json!({ "context": "tars/policy", "state": "success", "description": "inside its budget" });
        self.person("POST", &format!("/statuses/{head}"), &ours);
    }

    fn protect(&self) {
        Self::protect(self, 1);
    }

    fn pass_check(&self, pull: &PullRequest) {
        let green = json!({ "context": "ci/build", "state": "success" });
        self.person("POST", &format!("/statuses/{}", pull.head), &green);
    }

    fn settle(&self, number: u64) -> BoxFuture<'_, ()> {
        Box::pin(self.mergeable(number))
    }
}

mod contract {
    use super::*;
    plays!(Place);
}

#[tokio::test]
async fn a_skipped_check_is_no_success_whatever_gitea_makes_of_it() {
    let Some(place) = Place::new("skipped") else { return };
    let (pull, _) = place.proposal("skipped").await;
    let skipped = json!({ "context": "ci/skipped", "state": "skipped", "description": "x" });
    place.person("POST", &format!("/statuses/{}", pull.head), &skipped);
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.verdict(&["ci/*".to_owned()]), ChecksVerdict::Waiting(vec!["ci/*".to_owned()]));
    assert!(checks.all.iter().any(|it| it.state == CheckState::Other));
}

#[tokio::test]
async fn a_list_of_more_than_one_page_is_read_to_its_end() {
    let Some(place) = Place::new("pages") else { return };
    let (pull, _) = place.proposal("pages").await;
    let path = format!("{}/statuses/{}", place.path, pull.head);
    for number in 0..60 {
        let one = json!({ "context": format!("ci/{number}"), "state": "success" });
        place.world.server.admin("POST", &path, Some(&one), 201);
    }
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.all.len(), 60);
    assert_eq!(checks.verdict(&["ci/*".to_owned()]), ChecksVerdict::Green);
}

#[tokio::test]
async fn a_method_that_the_repository_does_not_allow_is_refused_by_it() {
    let Some(place) = Place::new("methods") else { return };
    let (pull, _) = place.proposal("methods").await;
    let methods = json!({ "allow_fast_forward_only_merge": false, "allow_rebase": false });
    place.world.server.admin("PATCH", &place.path, Some(&methods), 200);
    let allowed = place.forge.repository().await.unwrap().merge_methods;
    assert!(!allowed.contains(&MergeMethod::FastForward) && allowed.contains(&MergeMethod::Squash));
    place.mergeable(pull.number).await;
    let refused = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, Some(405)), "{refused}");
}

/// One whole request, or nothing when the client has left.
async fn request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = client.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |it| it.parse().unwrap()) {
            return Some(bytes);
        }
    }
}

/// Stands before Gitea, passes every request on, and swallows every answer.
async fn swallowing(url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let upstream = url.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let Some(bytes) = request(&mut client).await else { continue };
            let mut server = TcpStream::connect(&upstream).await.unwrap();
            server.write_all(&bytes).await.unwrap();
            // Its first byte says that it was done; nobody hears of it.
            server.read_exact(&mut [0]).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_reading_again_tells() {
    let Some(place) = Place::new("lost") else { return };
    let head = branch("tars/lost");
    let commit = place.push(head.as_str(), "a.yaml");
    let url = swallowing(&place.world.server.url).await;
    let forge = forge_at(&url, "lost", &place.world.bot_token);
    let lossy = Place { forge, path: place.path.clone(), main: place.main.clone(), world: place.world };
    let created = open(&lossy.forge, &head).await.unwrap_err();
    assert_eq!((created.trouble, created.outlook()), (Trouble::Lost, Outlook::Unknown), "{created}");
    let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((found.state.clone(), &found.head), (PullState::Open, &commit));
    place.mergeable(found.number).await;
    let merged = lossy.merge(&found, &commit).await.unwrap_err();
    assert_eq!(merged.outlook(), Outlook::Unknown, "{merged}");
    assert_eq!(place.forge.read(found.number).await.unwrap().state, PullState::Merged(Some(commit)));
}

#[tokio::test]
async fn what_is_no_gitea_is_told_apart_from_one_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let away = forge_at(&closed, "x", "t").whoami().await.unwrap_err();
    assert_eq!((away.trouble, away.outlook()), (Trouble::Unreachable, Outlook::Transient));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let page = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let body = "<html>\u{1b}[31mhello";
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + body).as_bytes()).await;
        }
    });
    let other = forge_at(&page, "x", "t").whoami().await.unwrap_err();
    assert_eq!((other.trouble, other.outlook()), (Trouble::Protocol, Outlook::Permanent));
    let write = forge_at(&page, "x", "t").update(1, "title", "body").await.unwrap_err();
    assert_eq!(write.outlook(), Outlook::Unknown);
    assert!(!format!("{other} {write}").contains('\u{1b}'));
}
