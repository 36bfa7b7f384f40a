//! The adapter against the stand-in for GitHub, which GitHub's own description judges: what every forge does alike
//! (`contract_tests`), what only GitHub does, and what the network may do in between. One server for all tests of this
//! process, one repository for each.
#![allow(clippy::disallowed_methods, reason = "a test that starts a server and looks for it on disk")]

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::contract_tests::{BOT, REVIEWER, Stage, branch, open, plays, status};
use super::error::Outlook;
use super::github::GitHub;
use super::github_client::ForgeAccess;
use super::stand_in as server;
use super::*;
use crate::model::causes::causes;
use crate::model::forge::{Access, CheckState, ChecksVerdict, Grant, PullState, ReviewVerdict};
use crate::outside::clock::SystemClock;
use crate::outside::http::{Http, HttpSettings};
use crate::outside::secret::Secret;

#[path = "github_app_tests.rs"]
mod app;
#[path = "github_fault_tests.rs"]
mod faults;

const OWNER: &str = "shop";
/// An app that posts checks.
const CHECKER: &str = "checker";

struct World {
    server: server::Fake,
    bot_token: String,
    reviewer_token: String,
}

fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    let start = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Some(parts) = server::parts(root) else {
            assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "the stand-in's parts are missing");
            let _ = writeln!(std::io::stderr(), "SKIP fakes are missing; run tests/install-parts fakes");
            return None;
        };
        let server = server::Fake::start(root, &parts, "github");
        let bot_token = server.user(BOT);
        let reviewer_token = server.user(REVIEWER);
        let app = json!({ "slug": CHECKER, "owner": OWNER, "permissions": { "checks": "write" }, "public_key": "" });
        server.control("POST", "apps", &app);
        Some(World { server, bot_token, reviewer_token })
    };
    WORLD.get_or_init(start).as_ref()
}

fn client(timeout: Duration) -> Http {
    let settings = HttpSettings {
        timeout,
        connect_timeout: Duration::from_secs(5),
        body_max: 4 << 20,
        user_agent: "tars-test".into(),
        authorities: None,
    };
    Http::new(&settings).unwrap()
}

fn forge_as(url: &str, name: &str, access: ForgeAccess) -> GitHub {
    GitHub::new(client(Duration::from_secs(60)), Arc::new(SystemClock), url, (OWNER, name), access).unwrap()
}

fn forge_at(url: &str, name: &str, token: &str) -> GitHub {
    forge_as(url, name, ForgeAccess::Token(Secret::new(token).unwrap()))
}

/// A repository, and the forge as the bot sees it.
struct Place {
    world: &'static World,
    /// `owner/name`
    key: String,
    forge: GitHub,
    main: BranchName,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.world.server.is_as_described(&self.key);
        }
    }
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        Self::with(name, &json!({}))
    }

    /// With settings as the stand-in takes them.
    fn with(name: &str, settings: &Value) -> Option<Self> {
        let world = world()?;
        let mut made =
            json!({ "owner": OWNER, "name": name, "members": { BOT: "write", REVIEWER: "write" } });
        made.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        world.server.control("POST", "repositories", &made);
        let forge = forge_at(&world.server.url, name, &world.bot_token);
        Some(Self { world, key: format!("{OWNER}/{name}"), forge, main: branch("main") })
    }

    fn configure(&self, settings: &Value) {
        self.world.server.control("PATCH", &format!("repositories/{}", self.key), settings);
    }

    /// As a person, through GitHub's own API.
    #[track_caller]
    fn person(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/api/v3/repos/{}{path}", self.key);
        let (status, answer) = self.world.server.ask(token, method, &path, Some(body));
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn push(&self, name: &str, file: &str) -> ObjectId {
        ObjectId::new(self.world.server.commit(&self.key, name, file, "replicas: 5\n")).unwrap()
    }

    fn head(&self, name: &str) -> Option<String> {
        let all =
            self.world.server.control("GET", &format!("repositories/{}/branches", self.key), &json!({}));
        all[name].as_str().map(str::to_owned)
    }

    /// A pull request from `tars/<name>` with one commit.
    async fn proposal(&self, name: &str) -> (PullRequest, BranchName) {
        let head = branch(&format!("tars/{name}"));
        self.push(head.as_str(), &format!("{name}.yaml"));
        (open(&self.forge, &head).await.unwrap(), head)
    }

    async fn merge(
        &self,
        pull: &PullRequest,
        head: &ObjectId,
        method: MergeMethod,
    ) -> Result<PullRequest, ForgeError> {
        let permit = MergePermit::for_test(&branch(&pull.branch), head, head);
        let merging = Merging { permit: &permit, method, title: "a title", message: "a message" };
        self.forge.merge(pull.number, merging).await
    }

    fn approve(&self, pull: &PullRequest) {
        let review = json!({ "event": "APPROVE", "commit_id": pull.head });
        let path = format!("/pulls/{}/reviews", pull.number);
        self.person(&self.world.reviewer_token, "POST", &path, &review);
    }

    fn check(&self, head: &ObjectId, name: &str, conclusion: &str) {
        let run = json!({ "sha": head, "app": CHECKER, "name": name, "conclusion": conclusion });
        self.world.server.control("POST", &format!("repositories/{}/checks", self.key), &run);
    }

    fn fault(&self, method: &str, path: &str, fault: Value) {
        let mut fault = fault;
        fault["match"] = json!({ "method": method, "path": format!("/repos/{}{path}", self.key) });
        self.world.server.control("POST", "faults", &fault);
    }

    /// How often something was asked of this repository.
    fn asked(&self, method: &str, path: &str) -> usize {
        let all = self.world.server.control("GET", "journal", &json!({}));
        let path = format!("/api/v3/repos/{}{path}", self.key);
        let is = |it: &&Value| it["method"] == method && it["path"] == path.as_str();
        all.as_array().unwrap().iter().filter(is).count()
    }
}

impl Stage for Place {
    fn forge(&self) -> &dyn Forge {
        &self.forge
    }

    fn with_token(&self, token: &str, repository: Option<&str>) -> Box<dyn Forge> {
        let own = self.key.rsplit_once('/').unwrap().1;
        Box::new(forge_at(&self.world.server.url, repository.unwrap_or(own), token))
    }

    fn keepers_token(&self) -> String {
        self.world.server.admin_token.clone()
    }

    fn wrong_token(&self) -> &'static str {
        "ghp_0123456789abcdef0123456789abcdef0123"
    }

    fn narrow_token(&self) -> String {
        let grants = json!({ "contents": "read", "pull_requests": "read", "statuses": "read" });
        self.world.server.token(&json!({ "login": BOT, "kind": "fine", "grants": grants }))
    }

    fn full_name(&self) -> String {
        self.key.clone()
    }

    fn way(&self) -> MergeMethod {
        MergeMethod::Merge
    }

    fn push(&self, name: &str, file: &str) -> ObjectId {
        Self::push(self, name, file)
    }

    fn head(&self, name: &str) -> String {
        Self::head(self, name).unwrap()
    }

    fn say(&self, number: u64, text: &str) {
        let path = format!("/issues/{number}/comments");
        self.person(&self.world.reviewer_token, "POST", &path, &json!({ "body": text }));
    }

    fn set_label(&self, number: u64, label: &str) {
        let path = format!("/issues/{number}/labels");
        self.person(&self.world.reviewer_token, "POST", &path, &json!({ "labels": [label] }));
    }

    fn approve(&self, pull: &PullRequest) {
        Self::approve(self, pull);
    }

    fn reopen(&self, number: u64) {
        let open = json!({ "state": "open" });
        self.person(&self.world.reviewer_token, "PATCH", &format!("/pulls/{number}"), &open);
    }

    fn forge_status(&self, head: &ObjectId) {
        let ours =
            json!({ "context": "tars/policy", "state": "success", "description": "inside its budget" });
        self.person(&self.world.reviewer_token, "POST", &format!("/statuses/{head}"), &ours);
    }

    fn protect(&self) {
        let rule = json!({ "branch": "main", "origin": "classic", "approvals": 1, "checks": [{ "context": "ci/build" }] });
        self.configure(&json!({ "protection": [rule] }));
    }

    fn pass_check(&self, pull: &PullRequest) {
        self.check(&pull.head, "ci/build", "success");
    }
}

mod contract {
    use super::*;
    plays!(Place);
}

#[tokio::test]
async fn the_repository_says_which_ways_to_merge_it_allows() {
    let Some(place) = Place::with("facts", &json!({ "methods": ["merge", "squash"] })) else { return };
    let methods: Vec<_> = place.forge.repository().await.unwrap().merge_methods.into_iter().collect();
    assert_eq!(methods, [MergeMethod::Merge, MergeMethod::Squash]);
}

#[tokio::test]
async fn what_a_token_may_not_do_is_found_without_writing() {
    let Some(place) = Place::new("scopes") else { return };
    let server = &place.world.server;
    let with = |token: Value| forge_at(&server.url, "scopes", &server.token(&token));
    // Statuses are apart.
    let grants = json!({ "contents": "write", "pull_requests": "write", "statuses": "read" });
    let grants = with(json!({ "login": BOT, "kind": "fine", "grants": grants })).grants().await.unwrap();
    assert!(matches!(grants.pull_requests, Grant::No(_)) && grants.comments == Grant::Yes, "{grants:?}");
    let all = json!({ "contents": "write", "pull_requests": "write", "statuses": "write" });
    let grants = with(json!({ "login": BOT, "kind": "fine", "grants": all })).grants().await.unwrap();
    assert_eq!((grants.pull_requests, grants.comments), (Grant::Yes, Grant::Yes));
    place.configure(&json!({ "private": false }));
    let grants = with(json!({ "login": BOT, "scopes": ["read:org"] })).grants().await.unwrap();
    assert!(matches!(grants.pull_requests, Grant::No(said) if said.contains("read:org")));
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_not_taken_for_a_second_pull_request() {
    let Some(place) = Place::new("absent") else { return };
    let head = branch("tars/absent");
    place.push(head.as_str(), "a.yaml");
    open(&place.forge, &head).await.unwrap();
    // The same status, and not the same reason.
    let again = open(&place.forge, &head).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::Conflict, Some(422)));
    let without = open(&place.forge, &branch("tars/not-there")).await.unwrap_err();
    assert_eq!((without.trouble, without.status), (Trouble::NotReady, Some(422)));
}

#[tokio::test]
async fn git_decides_what_becomes_of_a_pull_request() {
    let Some(place) = Place::new("derived") else { return };
    let (gone, head) = place.proposal("gone").await;
    let path = format!("repositories/{}/branches", place.key);
    place.world.server.control("DELETE", &path, &json!({ "branch": head }));
    assert_eq!(place.forge.read(gone.number).await.unwrap().state, PullState::Closed);
    let stranger = json!({ "login": REVIEWER, "head": "tars/x", "base": "main", "title": "hello", "fork": "stranger",
        "sha": place.push("people/x", "x.yaml") });
    place.world.server.control("POST", "users", &json!({ "login": "stranger" }));
    place.world.server.control("POST", &format!("repositories/{}/pulls", place.key), &stranger);
    let open = place.forge.open_pulls().await.unwrap();
    assert!(open.len() == 1 && open[0].is_foreign && !open[0].is_ours(), "{open:?}");
    // Its head is not the one of our branch of the same name.
    assert!(place.forge.find(&branch("tars/x"), &place.main).await.unwrap().is_none());
}

#[tokio::test]
async fn the_first_spelling_of_a_label_stays() {
    let Some(place) = Place::new("labels") else { return };
    let (pull, _) = place.proposal("labels").await;
    place.forge.relabel(pull.number, &["TARS/risk:low"], &[]).await.unwrap();
    place.forge.relabel(pull.number, &["tars", "tars/risk:low"], &[]).await.unwrap();
    let labels = place.forge.read(pull.number).await.unwrap().labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["TARS/risk:low", "tars"]);
}

#[tokio::test]
async fn of_a_long_talk_the_newest_are_read_and_signs_are_put_once() {
    let Some(place) = Place::new("talk") else { return };
    let (pull, _) = place.proposal("talk").await;
    let comments = format!("/issues/{}/comments", pull.number);
    let bodies: Vec<String> = (0..1110).map(|it: u32| it.to_string()).collect();
    let talk = json!({ "login": REVIEWER, "number": pull.number, "bodies": bodies });
    place.world.server.control("POST", &format!("repositories/{}/comments", place.key), &talk);
    let said = place.forge.comments(pull.number).await.unwrap();
    assert_eq!((said.len(), said[999].body.as_str(), said[0].body.as_str()), (1000, "1109", "110"));
    assert!(said.iter().all(|it| !it.is_bot && !it.is_edited && it.by == REVIEWER));
    assert!(place.asked("GET", &comments) <= 11);
    let id = said[999].id;
    for reaction in [Reaction::Seen, Reaction::Seen, Reaction::Done, Reaction::Refused] {
        place.forge.react(id, reaction).await.unwrap();
    }
    let put =
        place.person(&place.world.bot_token, "GET", &format!("/issues/comments/{id}/reactions"), &json!({}));
    let put: Vec<_> = put.as_array().unwrap().iter().map(|it| it["content"].as_str().unwrap()).collect();
    assert_eq!(put, ["eyes", "+1", "-1"]);
    assert_eq!(place.forge.react(1, Reaction::Seen).await.unwrap_err().trouble, Trouble::Missing);
}

#[tokio::test]
async fn what_somebody_may_do_is_asked_when_it_matters() {
    let Some(place) = Place::new("rights") else { return };
    for login in ["keeper-of-it", "triager", "looker", "passer-by"] {
        place.world.server.control("POST", "users", &json!({ "login": login }));
    }
    place.configure(
        &json!({ "members": { "keeper-of-it": "maintain", "triager": "triage", "looker": "read" } }),
    );
    for (login, expected) in [
        (REVIEWER, Access::Write),
        ("ReViewer", Access::Write),
        ("keeper", Access::Admin),
        ("keeper-of-it", Access::Write),
        ("triager", Access::Triage),
        ("looker", Access::Read),
        ("passer-by", Access::None),
        ("nobody-of-this-name", Access::None),
    ] {
        assert_eq!(place.forge.access(login).await.unwrap(), expected, "{login}");
    }
}

#[tokio::test]
async fn a_long_description_is_cut_and_compared_as_it_is_kept() {
    let Some(place) = Place::new("statuses") else { return };
    let (pull, _) = place.proposal("statuses").await;
    let long = Status { description: &"word ".repeat(60), ..status(StatusState::Success) };
    assert!(place.forge.set_status(&pull.head, long).await.unwrap());
    assert!(!place.forge.set_status(&pull.head, long).await.unwrap());
}

#[tokio::test]
async fn statuses_and_check_runs_are_one_list_with_who_posted_them() {
    let Some(place) = Place::new("checks") else { return };
    let (pull, _) = place.proposal("checks").await;
    place.forge.set_status(&pull.head, status(StatusState::Success)).await.unwrap();
    place.check(&pull.head, "build", "failure");
    place.check(&pull.head, "build", "success");
    // GitHub itself takes a skipped run for a success.
    place.check(&pull.head, "lint", "skipped");
    let checks = place.forge.checks(&pull.head).await.unwrap();
    let mut all: Vec<_> =
        checks.all.iter().map(|it| (it.context.as_str(), it.state, it.by.as_str())).collect();
    all.sort_unstable_by_key(|it| it.0);
    assert_eq!(
        all,
        [
            ("build", CheckState::Success, "checker[bot]"),
            ("lint", CheckState::Other, "checker[bot]"),
            ("tars/policy", CheckState::Success, BOT),
        ]
    );
    assert_eq!(checks.verdict(&["build".to_owned()]), ChecksVerdict::Green);
    assert_eq!(checks.verdict(&["lint".to_owned()]), ChecksVerdict::Waiting(vec!["lint".to_owned()]));
    for number in 0..120 {
        place.check(&pull.head, &format!("many/{number}"), "success");
    }
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.all.iter().filter(|it| it.context.starts_with("many/")).count(), 120);
}

#[tokio::test]
async fn whoever_loses_the_right_to_write_loses_the_approval() {
    let Some(place) = Place::new("reviews") else { return };
    let (pull, _) = place.proposal("reviews").await;
    place.forge.request_review(pull.number, &[REVIEWER]).await.unwrap();
    place.approve(&pull);
    let approved = async || {
        let given = place.forge.reviews(pull.number).await.unwrap();
        assert!(!given.iter().any(|it| it.verdict == ReviewVerdict::Requested), "{given:?}");
        given.iter().any(|it| it.by == REVIEWER && it.approves(&pull.head))
    };
    assert!(approved().await);
    place.configure(&json!({ "members": { REVIEWER: "triage" } }));
    assert!(!approved().await);
    for nobody in ["nobody-of-this-name", BOT] {
        let refused = place.forge.request_review(pull.number, &[nobody]).await.unwrap_err();
        assert_eq!((refused.trouble, refused.outlook()), (Trouble::NotReady, Outlook::Permanent), "{nobody}");
    }
}

#[tokio::test]
async fn a_method_that_the_repository_or_the_product_does_not_allow_is_refused() {
    let Some(place) = Place::with("methods", &json!({ "methods": ["squash"] })) else { return };
    let (pull, _) = place.proposal("methods").await;
    for method in [MergeMethod::Merge, MergeMethod::Rebase] {
        let refused = place.merge(&pull, &pull.head, method).await.unwrap_err();
        assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, Some(405)), "{refused}");
    }
    let never = place.merge(&pull, &pull.head, MergeMethod::FastForward).await.unwrap_err();
    assert_eq!((never.trouble, never.status), (Trouble::NotReady, None), "{never}");
    let allowed = place.forge.repository().await.unwrap().merge_methods;
    assert_eq!(allowed.into_iter().collect::<Vec<_>>(), [MergeMethod::Squash]);
    let merged = place.merge(&pull, &pull.head, MergeMethod::Squash).await.unwrap();
    assert!(matches!(merged.state, PullState::Merged(Some(it)) if it != pull.head));
    place.configure(&json!({ "methods": ["rebase"] }));
    let (pull, _) = place.proposal("rebased").await;
    let merged = place.merge(&pull, &pull.head, MergeMethod::Rebase).await.unwrap();
    assert!(matches!(merged.state, PullState::Merged(Some(_))));
}

#[tokio::test]
async fn rules_of_both_kinds_are_read_as_far_as_github_shows_them() {
    let Some(place) = Place::new("rules") else { return };
    for origin in ["classic", "ruleset"] {
        let rule = json!({ "branch": "main", "origin": origin, "approvals": 1, "checks": [{ "context": "ci/build" }] });
        place.configure(&json!({ "protection": [rule] }));
        let seen = place.forge.protection(&place.main).await.unwrap().unwrap();
        assert!(seen.is_protected && seen.may_merge, "{seen:?}");
        assert_eq!(seen.required_checks, ["ci/build"]);
        // Reviews that a classic rule requires are shown to administrators only.
        let keeper = forge_at(&place.world.server.url, "rules", &place.world.server.admin_token);
        let whole = keeper.protection(&place.main).await.unwrap().unwrap();
        assert_eq!((whole.required_approvals, whole.may_push), (1, false));
        assert_eq!(seen.required_approvals, u32::from(origin == "ruleset"));
    }
    // A ruleset, where the list of what every forge does has the classic rule.
    let (pull, _) = place.proposal("ruleset").await;
    place.approve(&pull);
    let unchecked = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!((unchecked.trouble, unchecked.status), (Trouble::NotReady, Some(405)), "{unchecked}");
    place.check(&pull.head, "ci/build", "success");
    let merged = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap();
    assert!(matches!(merged.state, PullState::Merged(Some(_))), "{merged:?}");
}
