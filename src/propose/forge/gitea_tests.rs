//! The adapter against a real Gitea: every operation, and what an attacker, a person or the network may do in
//! between. One server for all tests of this process, one repository for each.
#![allow(clippy::disallowed_methods, reason = "a test that starts Gitea and looks for it on disk")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::error::Outlook;
use super::gitea::Gitea;
use super::*;
use crate::model::causes::causes;
use crate::model::forge::{CheckState, ChecksVerdict, Grant, PullState, ReviewVerdict};
use crate::outside::clock::{SystemClock, wait};
use crate::outside::http::{Http, HttpSettings};
use crate::outside::secret::Secret;

#[path = "gitea_people_tests.rs"]
mod people;
#[path = "../../../tests/suite/support/ports.rs"]
mod ports;
#[path = "../../../tests/suite/support/gitea.rs"]
pub(crate) mod server;

/// Most checks of whether Gitea has finished looking at a pull request, a tenth of a second apart.
const LOOKS_MAX: u32 = 300;
pub(crate) const BOT: &str = "tars-bot";
const REVIEWER: &str = "reviewer";

pub(crate) struct World {
    pub(crate) server: server::Gitea,
    pub(crate) bot_token: String,
    reviewer_token: String,
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
        Some(World { server, bot_token, reviewer_token })
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
        (self.open(&head).await.unwrap(), head)
    }

    async fn open(&self, head: &BranchName) -> Result<PullRequest, ForgeError> {
        let draft =
            PullDraft { head, base: &self.main, title: "tars: scale out", body: "<details>why</details>" };
        self.forge.create(draft).await
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

    /// Merges as soon as Gitea has looked at the head again, which it does after every push.
    async fn merge_when_ready(&self, pull: &PullRequest, head: &ObjectId) -> Result<PullRequest, ForgeError> {
        for _ in 0..LOOKS_MAX {
            match self.merge(pull, head).await {
                Err(error) if error.trouble == Trouble::NotReady => wait(Duration::from_millis(100)).await,
                settled => return settled,
            }
        }
        self.merge(pull, head).await
    }

    fn approve(&self, pull: &PullRequest) {
        let review = json!({ "event": "APPROVED", "body": "fine", "commit_id": pull.head });
        let path = format!("{}/pulls/{}/reviews", self.path, pull.number);
        let (status, answer) =
            self.world.server.ask(&self.world.reviewer_token, "POST", &path, Some(&review));
        assert_eq!(status, 200, "{answer}");
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

fn branch(name: &str) -> BranchName {
    BranchName::new(name).unwrap()
}

fn status(state: StatusState) -> Status<'static> {
    Status { context: "tars/policy", state, description: "inside its budget", url: None }
}

#[tokio::test]
async fn the_forge_says_who_asks_and_what_the_repository_allows() {
    let Some(place) = Place::new("facts") else { return };
    let account = place.forge.whoami().await.unwrap();
    assert_eq!((account.login.as_str(), account.is_site_admin), (BOT, false));
    let facts = place.forge.repository().await.unwrap();
    assert_eq!((facts.full_name.as_str(), facts.default_branch.as_str()), ("shop/facts", "main"));
    assert!(facts.permissions.push && !facts.permissions.admin && facts.pull_requests_enabled);
    assert!(facts.merge_methods.contains(&MergeMethod::FastForward));
    let skew = place.forge.outside_clock().unwrap();
    assert!(skew.seen_at.duration_since(skew.says).as_secs().abs() <= 2);
    let grants = place.forge.grants().await.unwrap();
    assert_eq!((grants.pull_requests, grants.comments), (Grant::Yes, Grant::Yes));
    assert_eq!(place.forge.protection(&branch("tars/none")).await.unwrap(), None);
    let main = place.forge.protection(&place.main).await.unwrap().unwrap();
    assert!(!main.is_protected && main.may_push && main.may_merge);
    let keeper = forge_at(&place.world.server.url, "facts", &place.world.server.admin_token);
    assert!(keeper.whoami().await.unwrap().is_site_admin);
    assert!(keeper.repository().await.unwrap().permissions.admin);
}

#[tokio::test]
async fn scopes_that_are_missing_are_found_without_writing() {
    let Some(place) = Place::new("scopes") else { return };
    let token = place.world.server.token(BOT, &["read:repository", "read:user"]);
    let reader = forge_at(&place.world.server.url, "scopes", &token);
    let grants = reader.grants().await.unwrap();
    for grant in [&grants.pull_requests, &grants.comments] {
        assert!(matches!(grant, Grant::No(said) if said.contains("write:")), "{grant:?}");
    }
}

#[tokio::test]
async fn one_branch_has_one_open_pull_request_and_it_is_found() {
    let Some(place) = Place::new("create") else { return };
    let head = branch("tars/backend-latency/shop.deployment.backend/act-0123456789ab");
    assert!(place.forge.find(&head, &place.main).await.unwrap().is_none());
    let commit = place.push(head.as_str(), "a.yaml");
    let made = place.open(&head).await.unwrap();
    assert_eq!((&made.head, made.branch.as_str(), &made.state), (&commit, head.as_str(), &PullState::Open));
    assert!(made.is_ours() && made.author == BOT && made.body == "<details>why</details>");
    let again = place.open(&head).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::Conflict, Some(409)));
    assert_eq!(again.outlook(), Outlook::Permanent);
    let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((found.number, place.forge.open_pulls().await.unwrap().len()), (made.number, 1));
    let edited = place.forge.update(made.number, "tars: scale out 3→5", "new evidence").await.unwrap();
    assert_eq!((edited.title.as_str(), edited.body.as_str()), ("tars: scale out 3→5", "new evidence"));
    assert_eq!(edited.head, commit);
}

#[tokio::test]
async fn the_open_pull_request_wins_over_closed_ones_and_the_newest_of_those_over_the_others() {
    let Some(place) = Place::new("states") else { return };
    let (first, head) = place.proposal("states").await;
    let closed = place.forge.close(first.number, "Recovered by itself.").await.unwrap();
    assert_eq!(closed.state, PullState::Closed);
    assert_eq!(
        place.forge.close(first.number, "Recovered by itself.").await.unwrap().state,
        PullState::Closed
    );
    let comments = format!("{}/issues/{}/comments", place.path, first.number);
    let said = place.world.server.admin("GET", &comments, None, 200);
    assert_eq!(said.as_array().unwrap().len(), 1);
    assert!(said[0]["body"].as_str().unwrap().ends_with("Recovered by itself."), "{said}");
    let second = place.open(&head).await.unwrap();
    assert!(second.number > first.number);
    assert_eq!(place.forge.find(&head, &place.main).await.unwrap().unwrap().number, second.number);
    place.forge.close(second.number, "No.").await.unwrap();
    let newest = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((newest.number, newest.state), (second.number, PullState::Closed));
    let path = format!("{}/pulls/{}", place.path, first.number);
    place.world.server.admin("PATCH", &path, Some(&json!({ "state": "open" })), 201);
    let reopened = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((reopened.number, reopened.state), (first.number, PullState::Open));
}

#[tokio::test]
async fn labels_are_made_when_they_are_missing_and_those_of_people_stay() {
    let Some(place) = Place::new("labels") else { return };
    let (pull, _) = place.proposal("labels").await;
    place.forge.relabel(pull.number, &["tars/hold", "tars/needs-human"], &[]).await.unwrap();
    place
        .forge
        .relabel(pull.number, &["tars", "tars/risk:low"], &["tars/needs-human", "not-there"])
        .await
        .unwrap();
    place.forge.relabel(pull.number, &["tars"], &[]).await.unwrap();
    let labels = place.forge.read(pull.number).await.unwrap().labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["tars", "tars/hold", "tars/risk:low"]);
}

#[tokio::test]
async fn a_comment_is_kept_and_not_repeated_and_nobody_elses_is_touched() {
    let Some(place) = Place::new("comments") else { return };
    let (pull, _) = place.proposal("comments").await;
    let comments = format!("{}/issues/{}/comments", place.path, pull.number);
    let decoy = json!({ "body": "<!-- tars:explanation -->\nnot tars" });
    place.world.server.admin("POST", &comments, Some(&decoy), 201);
    let say = |text| place.forge.comment(pull.number, Marker::Explanation, text);
    assert!(say("first").await.unwrap());
    assert!(!say("first").await.unwrap());
    assert!(say("second").await.unwrap());
    let said = place.world.server.admin("GET", &comments, None, 200);
    let bodies: Vec<&str> = said.as_array().unwrap().iter().map(|it| it["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["<!-- tars:explanation -->\nnot tars", "<!-- tars:explanation -->\nsecond"]);
}

#[tokio::test]
async fn a_status_is_written_on_change_only_and_counts_for_one_commit() {
    let Some(place) = Place::new("statuses") else { return };
    let (pull, head) = place.proposal("statuses").await;
    let set = |state| place.forge.set_status(&pull.head, status(state));
    assert!(set(StatusState::Pending).await.unwrap());
    assert!(!set(StatusState::Pending).await.unwrap());
    assert!(set(StatusState::Failure).await.unwrap());
    let failed = place.forge.checks(&pull.head).await.unwrap().verdict(&[]);
    assert_eq!(failed, ChecksVerdict::Failed(vec!["tars/policy".to_owned()]));
    assert!(set(StatusState::Success).await.unwrap());
    let required = ["tars/policy".to_owned()];
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!((checks.all.len(), checks.all[0].by.as_str()), (1, BOT));
    assert_eq!(checks.verdict(&required), ChecksVerdict::Green);
    // The same words from somebody else are not ours, so ours is said again.
    let forged = json!({ "context": "tars/policy", "state": "success", "description": "inside its budget" });
    let path = format!("{}/statuses/{}", place.path, pull.head);
    place.world.server.admin("POST", &path, Some(&forged), 201);
    assert!(set(StatusState::Success).await.unwrap());
    // Gitea's own summary takes a skipped check for a success.
    let skipped = json!({ "context": "ci/skipped", "state": "skipped", "description": "x" });
    place.world.server.admin("POST", &path, Some(&skipped), 201);
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.verdict(&["ci/*".to_owned()]), ChecksVerdict::Waiting(vec!["ci/*".to_owned()]));
    assert!(checks.all.iter().any(|it| it.state == CheckState::Other));
    let moved = place.push(head.as_str(), "more.yaml");
    assert!(place.forge.checks(&moved).await.unwrap().all.is_empty());
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
async fn a_review_is_asked_for_and_its_approval_is_of_one_commit() {
    let Some(place) = Place::new("reviews") else { return };
    let (pull, head) = place.proposal("reviews").await;
    place.protect(1);
    place.forge.request_review(pull.number, &[REVIEWER]).await.unwrap();
    let asked = place.forge.reviews(pull.number).await.unwrap();
    assert_eq!((asked.len(), asked[0].verdict), (1, ReviewVerdict::Requested));
    place.approve(&pull);
    let given = place.forge.reviews(pull.number).await.unwrap();
    assert!(given.iter().any(|it| it.by == REVIEWER && it.approves(&pull.head)), "{given:?}");
    let moved = place.push(head.as_str(), "more.yaml");
    let stale = place.forge.reviews(pull.number).await.unwrap();
    assert!(!stale.iter().any(|it| it.approves(&moved)), "{stale:?}");
    let nobody = place.forge.request_review(pull.number, &["nobody-of-this-name"]).await.unwrap_err();
    assert_eq!(nobody.outlook(), Outlook::Permanent, "{nobody:?}");
}

#[tokio::test]
async fn only_the_permitted_head_is_merged_and_only_once() {
    let Some(place) = Place::new("merges") else { return };
    let (pull, head) = place.proposal("merges").await;
    let moved = place.push(head.as_str(), "foreign.yaml");
    let stale = place.merge_when_ready(&pull, &pull.head).await.unwrap_err();
    assert_eq!((stale.trouble, stale.status), (Trouble::Conflict, Some(409)), "{stale}");
    assert_eq!(place.forge.read(pull.number).await.unwrap().state, PullState::Open);
    let merged = place.merge_when_ready(&pull, &moved).await.unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(moved.clone())));
    assert_eq!(merged.merged_by.as_deref(), Some(BOT));
    let main = place.world.server.admin("GET", &format!("{}/branches/main", place.path), None, 200);
    assert_eq!(main["commit"]["id"], moved.as_str());
    let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!(found.state, PullState::Merged(Some(moved.clone())));
    let again = place.merge(&pull, &moved).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::NotReady, Some(405)), "{again}");
}

#[tokio::test]
async fn a_protected_branch_waits_for_its_approval_and_its_checks() {
    let Some(place) = Place::new("protected") else { return };
    let (pull, _) = place.proposal("protected").await;
    place.protect(1);
    let rule = place.forge.protection(&place.main).await.unwrap().unwrap();
    assert!(rule.is_protected && rule.may_merge && !rule.may_push);
    assert_eq!((rule.required_approvals, rule.required_checks.as_slice()), (1, &["ci/*".to_owned()][..]));
    place.mergeable(pull.number).await;
    let early = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((early.trouble, early.status), (Trouble::NotReady, Some(405)), "{early}");
    place.approve(&pull);
    let unchecked = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!(unchecked.trouble, Trouble::NotReady, "{unchecked}");
    let green = Status { context: "ci/build", ..status(StatusState::Success) };
    place.forge.set_status(&pull.head, green).await.unwrap();
    let merged = place.merge(&pull, &pull.head).await.unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(pull.head)));
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

#[tokio::test]
async fn a_no_says_what_failed_and_what_to_do_and_never_the_token() {
    let Some(place) = Place::new("refusals") else { return };
    let url = &place.world.server.url;
    let wrong = "0123456789abcdef0123456789abcdef01234567";
    let unknown = forge_at(url, "refusals", wrong).whoami().await.unwrap_err();
    let missing = forge_at(url, "no-such", &place.world.bot_token).repository().await.unwrap_err();
    let (pull, _) = place.proposal("refusals").await;
    let scopes = place.world.server.token(BOT, &["write:repository", "read:user"]);
    let narrow = forge_at(url, "refusals", &scopes);
    let forbidden = narrow.comment(pull.number, Marker::Explanation, "x").await.unwrap_err();
    for (error, trouble, status, hint) in [
        (&unknown, Trouble::Unauthenticated, 401, "make a new one"),
        (&missing, Trouble::Missing, 404, "forge.repository"),
        (&forbidden, Trouble::Forbidden, 403, "scopes"),
    ] {
        assert_eq!((error.trouble, error.status), (trouble, Some(status)), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
        let text = format!("{} {error:?}", causes(error));
        assert!(text.contains("could not ") && text.contains(&status.to_string()), "{text}");
        assert!(![wrong, &place.world.bot_token, &scopes].iter().any(|it| text.contains(*it)), "{text}");
    }
    assert!(forbidden.said.contains("issue"), "{forbidden}");
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
    let created = lossy.open(&head).await.unwrap_err();
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
