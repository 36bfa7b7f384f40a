//! The adapter against the stand-in for GitHub, which GitHub's own description judges: every operation, and what the
//! network, a person or an attacker may do in between. One server for all tests of this process, one repository for each.
#![allow(clippy::disallowed_methods, reason = "a test that starts a server and looks for it on disk")]

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

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
const BOT: &str = "tars-bot";
const REVIEWER: &str = "reviewer";
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
        (self.open(&head).await.unwrap(), head)
    }

    async fn open(&self, head: &BranchName) -> Result<PullRequest, ForgeError> {
        let draft =
            PullDraft { head, base: &self.main, title: "tars: scale out", body: "<details>why</details>" };
        self.forge.create(draft).await
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

fn branch(name: &str) -> BranchName {
    BranchName::new(name).unwrap()
}

fn status(state: StatusState) -> Status<'static> {
    Status { context: "tars/policy", state, description: "inside its budget", url: None }
}

#[tokio::test]
async fn the_forge_says_who_asks_and_what_the_repository_allows() {
    let Some(place) = Place::with("facts", &json!({ "methods": ["merge", "squash"] })) else { return };
    let account = place.forge.whoami().await.unwrap();
    assert_eq!((account.login.as_str(), account.is_site_admin), (BOT, false));
    let facts = place.forge.repository().await.unwrap();
    assert_eq!((facts.full_name.as_str(), facts.default_branch.as_str()), ("shop/facts", "main"));
    assert!(facts.permissions.push && !facts.permissions.admin && facts.pull_requests_enabled);
    let methods: Vec<_> = facts.merge_methods.into_iter().collect();
    assert_eq!(methods, [MergeMethod::Merge, MergeMethod::Squash]);
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
async fn what_a_token_may_not_do_is_found_without_writing() {
    let Some(place) = Place::new("scopes") else { return };
    let server = &place.world.server;
    let with = |token: Value| forge_at(&server.url, "scopes", &server.token(&token));
    let grants = json!({ "contents": "read", "pull_requests": "read", "statuses": "read" });
    let reader = with(json!({ "login": BOT, "kind": "fine", "grants": grants }));
    let grants = reader.grants().await.unwrap();
    for grant in [&grants.pull_requests, &grants.comments] {
        assert!(matches!(grant, Grant::No(said) if said.contains("not accessible")), "{grant:?}");
    }
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
async fn one_branch_has_one_open_pull_request_and_it_is_found() {
    let Some(place) = Place::new("create") else { return };
    let head = branch("tars/backend-latency/shop.deployment.backend/act-0123456789ab");
    assert!(place.forge.find(&head, &place.main).await.unwrap().is_none());
    let commit = place.push(head.as_str(), "a.yaml");
    let made = place.open(&head).await.unwrap();
    assert_eq!((&made.head, made.branch.as_str(), &made.state), (&commit, head.as_str(), &PullState::Open));
    assert!(made.is_ours() && made.author == BOT && made.body == "<details>why</details>");
    let again = place.open(&head).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::Conflict, Some(422)));
    assert_eq!(again.outlook(), Outlook::Permanent);
    // The same status, and no such thing.
    let without = place.open(&branch("tars/not-there")).await.unwrap_err();
    assert_eq!((without.trouble, without.status), (Trouble::NotReady, Some(422)));
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
    let said = place.forge.comments(first.number).await.unwrap();
    assert!(said.len() == 1 && said[0].body.ends_with("Recovered by itself."), "{said:?}");
    assert_eq!(place.forge.read(first.number).await.unwrap().closed_by.as_deref(), Some(BOT));
    let second = place.open(&head).await.unwrap();
    assert!(second.number > first.number);
    assert_eq!(place.forge.find(&head, &place.main).await.unwrap().unwrap().number, second.number);
    place.forge.close(second.number, "No.").await.unwrap();
    let newest = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((newest.number, newest.state), (second.number, PullState::Closed));
    let reopen = json!({ "state": "open" });
    place.person(&place.world.reviewer_token, "PATCH", &format!("/pulls/{}", first.number), &reopen);
    let reopened = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((reopened.number, reopened.state), (first.number, PullState::Open));
    assert_eq!(reopened.closed_by, None);
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
async fn labels_are_made_when_they_are_missing_and_no_other_is_touched() {
    let Some(place) = Place::new("labels") else { return };
    let (pull, _) = place.proposal("labels").await;
    place.forge.relabel(pull.number, &["tars", "TARS/risk:low", "tars/needs-human"], &[]).await.unwrap();
    let set = json!({ "labels": ["tars/hold"] });
    let path = format!("/issues/{}/labels", pull.number);
    place.person(&place.world.reviewer_token, "POST", &path, &set);
    // GitHub keeps the first spelling, and what a person has set stays.
    place
        .forge
        .relabel(pull.number, &["tars", "tars/risk:low"], &["tars/needs-human", "not-there"])
        .await
        .unwrap();
    place.forge.relabel(pull.number, &[], &[]).await.unwrap();
    let labels = place.forge.read(pull.number).await.unwrap().labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["TARS/risk:low", "tars", "tars/hold"]);
}

#[tokio::test]
async fn a_comment_is_kept_and_not_repeated_and_nobody_elses_is_touched() {
    let Some(place) = Place::new("comments") else { return };
    let (pull, _) = place.proposal("comments").await;
    let comments = format!("/issues/{}/comments", pull.number);
    let decoy = "<!-- tars:explanation -->\nnot tars";
    place.person(&place.world.reviewer_token, "POST", &comments, &json!({ "body": decoy }));
    let say = |text| place.forge.comment(pull.number, Marker::Explanation, text);
    assert!(say("first").await.unwrap());
    assert!(!say("first").await.unwrap());
    assert!(say("second").await.unwrap());
    let said = place.forge.comments(pull.number).await.unwrap();
    let said: Vec<(&str, &str)> = said.iter().map(|it| (it.by.as_str(), it.body.as_str())).collect();
    assert_eq!(said, [(REVIEWER, decoy), (BOT, "<!-- tars:explanation -->\nsecond")]);
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
    let path = format!("/statuses/{}", pull.head);
    place.person(&place.world.reviewer_token, "POST", &path, &forged);
    assert!(set(StatusState::Success).await.unwrap());
    let long = Status { description: &"word ".repeat(60), ..status(StatusState::Success) };
    assert!(place.forge.set_status(&pull.head, long).await.unwrap());
    assert!(!place.forge.set_status(&pull.head, long).await.unwrap());
    let moved = place.push(head.as_str(), "more.yaml");
    assert!(place.forge.checks(&moved).await.unwrap().all.is_empty());
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
async fn a_review_is_asked_for_and_its_approval_is_of_one_commit() {
    let Some(place) = Place::new("reviews") else { return };
    let (pull, head) = place.proposal("reviews").await;
    place.forge.request_review(pull.number, &[REVIEWER]).await.unwrap();
    let asked = place.forge.reviews(pull.number).await.unwrap();
    assert_eq!((asked.len(), asked[0].verdict), (1, ReviewVerdict::Requested));
    place.approve(&pull);
    let given = place.forge.reviews(pull.number).await.unwrap();
    assert!(given.iter().any(|it| it.by == REVIEWER && it.approves(&pull.head)), "{given:?}");
    assert!(!given.iter().any(|it| it.verdict == ReviewVerdict::Requested), "{given:?}");
    // Whoever loses the right to write loses the approval.
    place.configure(&json!({ "members": { REVIEWER: "triage" } }));
    let given = place.forge.reviews(pull.number).await.unwrap();
    assert!(!given.iter().any(|it| it.approves(&pull.head)), "{given:?}");
    place.configure(&json!({ "members": { REVIEWER: "write" } }));
    let moved = place.push(head.as_str(), "more.yaml");
    let stale = place.forge.reviews(pull.number).await.unwrap();
    assert!(!stale.iter().any(|it| it.approves(&moved)), "{stale:?}");
    for nobody in ["nobody-of-this-name", BOT] {
        let refused = place.forge.request_review(pull.number, &[nobody]).await.unwrap_err();
        assert_eq!((refused.trouble, refused.outlook()), (Trouble::NotReady, Outlook::Permanent), "{nobody}");
    }
}

#[tokio::test]
async fn only_the_permitted_head_is_merged_and_only_once() {
    let Some(place) = Place::new("merges") else { return };
    let (pull, head) = place.proposal("merges").await;
    let moved = place.push(head.as_str(), "foreign.yaml");
    let stale = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!((stale.trouble, stale.status), (Trouble::Conflict, Some(409)), "{stale}");
    assert_eq!(place.forge.read(pull.number).await.unwrap().state, PullState::Open);
    let merged = place.merge(&pull, &moved, MergeMethod::Merge).await.unwrap();
    let main = place.head("main").unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(ObjectId::new(main).unwrap())));
    assert_eq!((merged.merged_by.as_deref(), merged.closed_by), (Some(BOT), None));
    let again = place.merge(&pull, &moved, MergeMethod::Merge).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::NotReady, Some(405)), "{again}");
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
async fn a_protected_branch_waits_for_its_approval_and_its_checks() {
    let Some(place) = Place::new("protected") else { return };
    for origin in ["classic", "ruleset"] {
        let (pull, _) = place.proposal(origin).await;
        let rule = json!({ "branch": "main", "origin": origin, "approvals": 1, "checks": [{ "context": "ci/build" }] });
        place.configure(&json!({ "protection": [rule] }));
        let seen = place.forge.protection(&place.main).await.unwrap().unwrap();
        assert!(seen.is_protected && seen.may_merge, "{seen:?}");
        assert_eq!(seen.required_checks, ["ci/build"]);
        // Reviews that a classic rule requires are shown to administrators only.
        let keeper = forge_at(&place.world.server.url, "protected", &place.world.server.admin_token);
        let whole = keeper.protection(&place.main).await.unwrap().unwrap();
        assert_eq!((whole.required_approvals, whole.may_push), (1, false));
        assert_eq!(seen.required_approvals, u32::from(origin == "ruleset"));
        let early = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap_err();
        assert_eq!((early.trouble, early.status), (Trouble::NotReady, Some(405)), "{early}");
        place.approve(&pull);
        let unchecked = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap_err();
        assert_eq!(unchecked.trouble, Trouble::NotReady, "{unchecked}");
        place.check(&pull.head, "ci/build", "success");
        let merged = place.merge(&pull, &pull.head, MergeMethod::Merge).await.unwrap();
        assert!(matches!(merged.state, PullState::Merged(Some(_))), "{merged:?}");
    }
}

#[tokio::test]
async fn a_no_says_what_failed_and_what_to_do_and_never_the_token() {
    let Some(place) = Place::new("refusals") else { return };
    let url = &place.world.server.url;
    let wrong = "ghp_0123456789abcdef0123456789abcdef0123";
    let unknown = forge_at(url, "refusals", wrong).whoami().await.unwrap_err();
    let missing = forge_at(url, "no-such", &place.world.bot_token).repository().await.unwrap_err();
    let (pull, _) = place.proposal("refusals").await;
    let grants = json!({ "contents": "write", "pull_requests": "read" });
    let narrow_token = place.world.server.token(&json!({ "login": BOT, "kind": "fine", "grants": grants }));
    let narrow = forge_at(url, "refusals", &narrow_token);
    let forbidden = narrow.comment(pull.number, Marker::Explanation, "x").await.unwrap_err();
    for (error, trouble, status, hint) in [
        (&unknown, Trouble::Unauthenticated, 401, "make a new one"),
        (&missing, Trouble::Missing, 404, "forge.repository"),
        (&forbidden, Trouble::Forbidden, 403, "scopes"),
    ] {
        assert_eq!((error.trouble, error.status), (trouble, Some(status)), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
        let text = format!("{} {error:?} {narrow:?}", causes(error));
        assert!(text.contains("could not ") && text.contains(&status.to_string()), "{text}");
        let secrets = [wrong, &place.world.bot_token, &narrow_token];
        assert!(!secrets.iter().any(|it| text.contains(*it)), "{text}");
    }
    assert!(forbidden.said.contains("not accessible"), "{forbidden}");
}
