//! The adapter against the stand-in for GitLab: every operation, and what the network, a person or an attacker may do in
//! between. One server for all tests of this process, one project in a subgroup for each.
#![allow(clippy::disallowed_methods, reason = "a test that starts a server and looks for it on disk")]

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::error::Outlook;
use super::gitlab::GitLab;
use super::stand_in as server;
use super::*;
use crate::model::causes::causes;
use crate::model::forge::{Access, CheckState, ChecksVerdict, Grant, PullState, ReviewVerdict};
use crate::outside::clock::SystemClock;
use crate::outside::http::{Http, HttpSettings};
use crate::outside::secret::Secret;

#[path = "gitlab_fault_tests.rs"]
mod faults;
#[path = "gitlab_people_tests.rs"]
mod people;

const GROUP: &str = "shop/infra";
const BOT: &str = "tars-bot";
const REVIEWER: &str = "reviewer";

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
        let server = server::Fake::start(root, &parts, "gitlab");
        let bot_token = server.user(BOT);
        let reviewer_token = server.user(REVIEWER);
        Some(World { server, bot_token, reviewer_token })
    };
    WORLD.get_or_init(start).as_ref()
}

fn forge_in(url: &str, name: &str, token: &str, timeout: Duration) -> GitLab {
    let settings = HttpSettings {
        timeout,
        connect_timeout: Duration::from_secs(5),
        body_max: 4 << 20,
        user_agent: "tars-test".into(),
        authorities: None,
    };
    let http = Http::new(&settings).unwrap();
    let token = Secret::new(token).unwrap();
    GitLab::new(http, Arc::new(SystemClock), url, &format!("{GROUP}/{name}"), token).unwrap()
}

fn forge_at(url: &str, name: &str, token: &str) -> GitLab {
    forge_in(url, name, token, Duration::from_secs(60))
}

/// A project, and the forge as the bot sees it.
struct Place {
    world: &'static World,
    /// Of the control endpoints: `repositories/<group>/<name>`.
    control: String,
    /// Of the API: `/projects/<path>`.
    path: String,
    forge: GitLab,
    main: BranchName,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.world.server.is_as_described("projects/");
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
        let mut made = json!({ "owner": GROUP, "name": name, "members": { BOT: "write", REVIEWER: "write" },
            "merge_method": "ff", "squash_option": "never" });
        made.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        world.server.control("POST", "repositories", &made);
        let encoded = GROUP.replace('/', "%2F");
        Some(Self {
            world,
            control: format!("repositories/{encoded}/{name}"),
            path: format!("/projects/{encoded}%2F{name}"),
            forge: forge_at(&world.server.url, name, &world.bot_token),
            main: branch("main"),
        })
    }

    fn configure(&self, settings: &Value) {
        self.world.server.control("PATCH", &self.control, settings);
    }

    /// As a person, through GitLab's own API.
    #[track_caller]
    fn person(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/api/v4{}{path}", self.path);
        let body = (method != "GET").then_some(body);
        let (status, answer) = self.world.server.ask(token, method, &path, body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn push(&self, name: &str, file: &str) -> ObjectId {
        let commit = json!({ "branch": name, "file": file, "text": "replicas: 5\n" });
        let made = self.world.server.control("POST", &format!("{}/commits", self.control), &commit);
        ObjectId::new(made["sha"].as_str().unwrap()).unwrap()
    }

    fn head(&self, name: &str) -> Option<String> {
        let all = self.world.server.control("GET", &format!("{}/branches", self.control), &json!({}));
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

    async fn merge_as(
        &self,
        pull: &PullRequest,
        head: &ObjectId,
        method: MergeMethod,
    ) -> Result<PullRequest, ForgeError> {
        let permit = MergePermit::for_test(&branch(&pull.branch), head, head);
        let merging = Merging { permit: &permit, method, title: "a title", message: "a message" };
        self.forge.merge(pull.number, merging).await
    }

    async fn merge(&self, pull: &PullRequest, head: &ObjectId) -> Result<PullRequest, ForgeError> {
        self.merge_as(pull, head, MergeMethod::FastForward).await
    }

    fn approve(&self, pull: &PullRequest) {
        let path = format!("/merge_requests/{}/approve", pull.number);
        self.person(&self.world.reviewer_token, "POST", &path, &json!({ "sha": pull.head }));
    }

    /// A pipeline of somebody's runner.
    fn pipeline(&self, pull: &PullRequest, head: &ObjectId, jobs: &Value) {
        let it = json!({ "login": REVIEWER, "sha": head, "ref": pull.branch, "jobs": jobs });
        self.world.server.control("POST", &format!("{}/pipelines", self.control), &it);
    }

    fn fault(&self, method: &str, path: &str, fault: Value) {
        let mut fault = fault;
        fault["match"] = json!({ "method": method, "path": format!("{}{path}", self.path) });
        self.world.server.control("POST", "faults", &fault);
    }

    /// How often something was asked of this project.
    fn asked(&self, method: &str, path: &str) -> usize {
        let all = self.world.server.control("GET", "journal", &json!({}));
        let path = format!("/api/v4{}{path}", self.path);
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
    let Some(place) = Place::with("facts", &json!({ "squash_option": "default_off" })) else { return };
    let account = place.forge.whoami().await.unwrap();
    assert_eq!((account.login.as_str(), account.is_site_admin), (BOT, false));
    let facts = place.forge.repository().await.unwrap();
    assert_eq!((facts.full_name.as_str(), facts.default_branch.as_str()), ("shop/infra/facts", "main"));
    assert!(facts.permissions.push && !facts.permissions.admin && facts.pull_requests_enabled);
    assert_eq!(facts.merge_methods, [MergeMethod::FastForward, MergeMethod::Squash].into());
    let skew = place.forge.outside_clock().unwrap();
    assert!(skew.seen_at.duration_since(skew.says).as_secs().abs() <= 2);
    let grants = place.forge.grants().await.unwrap();
    assert_eq!((grants.pull_requests, grants.comments), (Grant::Yes, Grant::Yes));
    assert_eq!(place.forge.protection(&branch("tars/none")).await.unwrap(), None);
    let main = place.forge.protection(&place.main).await.unwrap().unwrap();
    assert!(!main.is_protected && main.may_push && main.may_merge && main.required_checks.is_empty());
    let keeper = forge_at(&place.world.server.url, "facts", &place.world.server.admin_token);
    assert!(keeper.whoami().await.unwrap().is_site_admin);
    assert!(keeper.repository().await.unwrap().permissions.admin);
    place.configure(
        &json!({ "members": { BOT: "maintain" }, "merge_method": "merge", "squash_option": "always" }),
    );
    let facts = place.forge.repository().await.unwrap();
    assert!(facts.permissions.admin);
    assert_eq!(facts.merge_methods, [MergeMethod::Squash].into());
}

#[tokio::test]
async fn a_scope_that_is_missing_is_found_without_writing() {
    let Some(place) = Place::new("scopes") else { return };
    let token = place.world.server.token(&json!({ "login": BOT, "scopes": ["read_api"] }));
    let grants = forge_at(&place.world.server.url, "scopes", &token).grants().await.unwrap();
    for grant in [&grants.pull_requests, &grants.comments] {
        assert!(matches!(grant, Grant::No(said) if said.contains("higher privileges")), "{grant:?}");
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
    assert!(again.said.contains("already exists"), "{again}");
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
    for _ in 0..2 {
        let closed = place.forge.close(first.number, "Recovered by itself.").await.unwrap();
        assert_eq!((closed.state, closed.closed_by.as_deref()), (PullState::Closed, Some(BOT)));
    }
    let said = place.forge.comments(first.number).await.unwrap();
    assert_eq!(said.len(), 1);
    assert!(said[0].body.ends_with("Recovered by itself."), "{said:?}");
    let second = place.open(&head).await.unwrap();
    assert!(second.number > first.number);
    assert_eq!(place.forge.find(&head, &place.main).await.unwrap().unwrap().number, second.number);
    place.forge.close(second.number, "No.").await.unwrap();
    let newest = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((newest.number, newest.state), (second.number, PullState::Closed));
    let path = format!("/merge_requests/{}", first.number);
    place.person(&place.world.reviewer_token, "PUT", &path, &json!({ "state_event": "reopen" }));
    let reopened = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!((reopened.number, reopened.state), (first.number, PullState::Open));
    assert_eq!(reopened.closed_by, None);
}

#[tokio::test]
async fn a_draft_of_a_person_stays_a_draft_and_keeps_our_title() {
    let Some(place) = Place::new("drafts") else { return };
    let (pull, _) = place.proposal("drafts").await;
    let path = format!("/merge_requests/{}", pull.number);
    let draft = json!({ "title": "Draft: tars: scale out" });
    place.person(&place.world.reviewer_token, "PUT", &path, &draft);
    let seen = place.forge.read(pull.number).await.unwrap();
    assert_eq!((seen.title.as_str(), seen.is_draft), ("tars: scale out", true));
    let edited = place.forge.update(pull.number, "tars: scale out 3→6", "more").await.unwrap();
    assert_eq!((edited.title.as_str(), edited.is_draft), ("tars: scale out 3→6", true));
    let refused = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, Some(405)), "{refused}");
}

#[tokio::test]
async fn a_text_that_would_give_orders_is_only_shown() {
    let Some(place) = Place::new("orders") else { return };
    let (pull, _) = place.proposal("orders").await;
    let text = "from a label:\n/close\n/approve\r\n/merge";
    let edited = place.forge.update(pull.number, "tars: scale out", text).await.unwrap();
    assert_eq!((edited.state, edited.body.contains("\n /close\n /approve")), (PullState::Open, true));
    place.forge.comment(pull.number, Marker::Explanation, text).await.unwrap();
    assert!(!place.forge.comment(pull.number, Marker::Explanation, text).await.unwrap());
    let said = place.forge.comments(pull.number).await.unwrap();
    assert!(said[0].body.ends_with("/merge"), "{said:?}");
    assert_eq!(place.forge.read(pull.number).await.unwrap().state, PullState::Open);
    // The stand-in does carry out what a person writes so.
    let notes = format!("/merge_requests/{}/notes", pull.number);
    place.person(&place.world.reviewer_token, "POST", &notes, &json!({ "body": "enough\n/close" }));
    let closed = place.forge.read(pull.number).await.unwrap();
    assert_eq!((closed.state, closed.closed_by.as_deref()), (PullState::Closed, Some(REVIEWER)));
}

#[tokio::test]
async fn labels_are_added_and_those_of_people_stay() {
    let Some(place) = Place::new("labels") else { return };
    let (pull, _) = place.proposal("labels").await;
    let path = format!("/merge_requests/{}", pull.number);
    place.person(&place.world.reviewer_token, "PUT", &path, &json!({ "add_labels": "tars/hold" }));
    place.forge.relabel(pull.number, &["tars", "tars/needs-human"], &[]).await.unwrap();
    let gone = ["tars/needs-human", "not-there"];
    place.forge.relabel(pull.number, &["tars", "tars/risk:low"], &gone).await.unwrap();
    place.forge.relabel(pull.number, &["tars"], &[]).await.unwrap();
    let labels = place.forge.read(pull.number).await.unwrap().labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["tars", "tars/hold", "tars/risk:low"]);
    let comma = place.forge.relabel(pull.number, &["a,b"], &[]).await.unwrap_err();
    assert_eq!(comma.trouble, Trouble::Protocol);
}

#[tokio::test]
async fn a_status_is_written_on_change_only_and_counts_for_one_commit() {
    let Some(place) = Place::new("statuses") else { return };
    let (pull, head) = place.proposal("statuses").await;
    let set = |state| place.forge.set_status(&pull.head, status(state));
    assert!(set(StatusState::Pending).await.unwrap());
    assert!(!set(StatusState::Pending).await.unwrap());
    // GitLab refuses new words for what is pending already.
    let other = Status { description: "still waiting", ..status(StatusState::Pending) };
    assert!(!place.forge.set_status(&pull.head, other).await.unwrap());
    assert!(set(StatusState::Failure).await.unwrap());
    let failed = place.forge.checks(&pull.head).await.unwrap().verdict(&[]);
    assert_eq!(failed, ChecksVerdict::Failed(vec!["tars/policy".to_owned()]));
    assert!(set(StatusState::Success).await.unwrap());
    assert!(!set(StatusState::Success).await.unwrap());
    let checks = place.forge.checks(&pull.head).await.unwrap();
    // Its own pipeline is not a check: tars alone is in it.
    assert_eq!((checks.all.len(), checks.all[0].by.as_str()), (1, BOT));
    assert_eq!(checks.verdict(&["pipeline".to_owned()]), ChecksVerdict::Waiting(vec!["pipeline".to_owned()]));
    // The same words from somebody else are not ours, so ours is said again.
    let forged = json!({ "name": "tars/policy", "state": "success", "description": "inside its budget" });
    let path = format!("/statuses/{}", pull.head);
    place.person(&place.world.reviewer_token, "POST", &path, &forged);
    assert!(set(StatusState::Success).await.unwrap());
    let long = "x".repeat(400);
    let long = Status { description: &long, ..status(StatusState::Success) };
    assert!(place.forge.set_status(&pull.head, long).await.unwrap());
    assert!(!place.forge.set_status(&pull.head, long).await.unwrap());
    let moved = place.push(head.as_str(), "more.yaml");
    assert!(place.forge.checks(&moved).await.unwrap().all.is_empty());
}

#[tokio::test]
async fn jobs_and_their_pipeline_are_checks_with_those_who_made_them() {
    let Some(place) = Place::new("pipelines") else { return };
    let (pull, _) = place.proposal("pipelines").await;
    let jobs = json!([{ "name": "build", "status": "success" }, { "name": "lint", "status": "running" },
        { "name": "flaky", "status": "failed", "allow_failure": true }, { "name": "deploy", "status": "manual" }]);
    place.pipeline(&pull, &pull.head, &jobs);
    let checks = place.forge.checks(&pull.head).await.unwrap();
    let seen =
        |name: &'static str| checks.named(name).map(|it| (it.state, it.by.as_str())).collect::<Vec<_>>();
    assert_eq!(seen("pipeline"), [(CheckState::Pending, REVIEWER)]);
    assert_eq!(seen("build"), [(CheckState::Success, REVIEWER)]);
    assert_eq!(seen("flaky"), [(CheckState::Other, REVIEWER)]);
    assert_eq!(seen("deploy"), [(CheckState::Other, REVIEWER)]);
    // A newer run of the same branch is what counts.
    place.pipeline(&pull, &pull.head, &json!([{ "name": "build", "status": "failed" }]));
    let checks = place.forge.checks(&pull.head).await.unwrap();
    let failed: Vec<_> = checks.all.iter().filter(|it| it.state == CheckState::Failure).collect();
    assert_eq!(failed.iter().map(|it| it.context.as_str()).collect::<Vec<_>>(), ["pipeline", "build"]);
}

#[tokio::test]
async fn a_list_of_more_than_one_page_is_read_to_its_end() {
    let Some(place) = Place::new("pages") else { return };
    let (pull, _) = place.proposal("pages").await;
    let jobs: Vec<Value> =
        (0..130).map(|it| json!({ "name": format!("ci/{it}"), "status": "success" })).collect();
    place.pipeline(&pull, &pull.head, &json!(jobs));
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.all.len(), 131);
    assert_eq!(checks.verdict(&["ci/*".to_owned(), "pipeline".to_owned()]), ChecksVerdict::Green);
}

#[tokio::test]
async fn only_the_permitted_head_is_merged_and_only_once() {
    let Some(place) = Place::new("merges") else { return };
    let (pull, head) = place.proposal("merges").await;
    let moved = place.push(head.as_str(), "foreign.yaml");
    let stale = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((stale.trouble, stale.status), (Trouble::Conflict, Some(409)), "{stale}");
    assert_eq!(place.forge.read(pull.number).await.unwrap().state, PullState::Open);
    let merged = place.merge(&pull, &moved).await.unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(moved.clone())));
    assert_eq!(merged.merged_by.as_deref(), Some(BOT));
    assert_eq!(place.head("main").as_deref(), Some(moved.as_str()));
    assert!(place.head(head.as_str()).is_some(), "its branch is tars' to delete");
    let found = place.forge.find(&head, &place.main).await.unwrap().unwrap();
    assert_eq!(found.state, PullState::Merged(Some(moved.clone())));
    let again = place.merge(&pull, &moved).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::NotReady, Some(405)), "{again}");
}

#[tokio::test]
async fn a_project_is_merged_in_its_own_way_and_in_no_other() {
    for (name, method, squash, ways) in [
        ("way-merge", "merge", "never", &[MergeMethod::Merge][..]),
        ("way-linear", "rebase_merge", "default_off", &[MergeMethod::Merge]),
        ("way-squash", "merge", "always", &[MergeMethod::Squash]),
        ("way-ff-squash", "ff", "always", &[MergeMethod::Squash]),
    ] {
        let settings = json!({ "merge_method": method, "squash_option": squash });
        let Some(place) = Place::with(name, &settings) else { return };
        let (pull, _) = place.proposal(name).await;
        for other in [MergeMethod::FastForward, MergeMethod::Rebase] {
            let refused = place.merge_as(&pull, &pull.head, other).await.unwrap_err();
            assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, None), "{name} {refused}");
        }
        assert_eq!(place.asked("PUT", &format!("/merge_requests/{}/merge", pull.number)), 0);
        let merged = place.merge_as(&pull, &pull.head, ways[0]).await.unwrap();
        let PullState::Merged(Some(made)) = merged.state else { panic!("{name}: {:?}", merged.state) };
        assert_eq!(place.head("main").as_deref(), Some(made.as_str()), "{name}");
        assert_ne!(made, pull.head, "{name}");
    }
}

#[tokio::test]
async fn a_squash_that_a_person_chose_is_not_taken_for_the_way_of_the_project() {
    let Some(place) = Place::with("squash", &json!({ "squash_option": "default_on" })) else { return };
    let (pull, _) = place.proposal("squash").await;
    let path = format!("/merge_requests/{}", pull.number);
    place.person(&place.world.reviewer_token, "PUT", &path, &json!({ "squash": true }));
    let refused = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, None), "{refused}");
    place.person(&place.world.reviewer_token, "PUT", &path, &json!({ "squash": false }));
    let merged = place.merge(&pull, &pull.head).await.unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(pull.head)));
}

#[tokio::test]
async fn a_branch_that_is_behind_is_not_merged_where_history_must_be_linear() {
    let Some(place) = Place::new("behind") else { return };
    let (pull, _) = place.proposal("behind").await;
    place.push("main", "newer.yaml");
    let refused = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, Some(422)), "{refused}");
    place.forge.read(pull.number).await.unwrap();
    assert!(!place.forge.read(pull.number).await.unwrap().is_mergeable);
}

#[tokio::test]
async fn a_protected_branch_waits_for_its_approval_its_pipeline_and_its_threads() {
    let settings = json!({ "pipeline_must_succeed": true, "threads_must_resolve": true, "protection":
        [{ "branch": "main", "pull": true, "approvals": 1, "merge_level": 30 }] });
    let Some(place) = Place::with("protected", &settings) else { return };
    let (pull, _) = place.proposal("protected").await;
    let rule = place.forge.protection(&place.main).await.unwrap().unwrap();
    assert!(rule.is_protected && rule.may_merge && !rule.may_push);
    assert_eq!((rule.required_approvals, rule.required_checks.as_slice()), (1, &["pipeline".to_owned()][..]));
    let thread = format!("{}/pulls/{}", place.control, pull.number);
    place.world.server.control("PATCH", &thread, &json!({ "unresolved": true }));
    let refused = async |why: &str| {
        let it = place.merge(&pull, &pull.head).await.unwrap_err();
        assert_eq!((it.trouble, it.status), (Trouble::NotReady, Some(405)), "{why}: {it}");
    };
    refused("approval").await;
    place.approve(&pull);
    refused("thread").await;
    place.world.server.control("PATCH", &thread, &json!({ "unresolved": false }));
    refused("pipeline").await;
    place.pipeline(&pull, &pull.head, &json!([{ "name": "build", "status": "success" }]));
    let required = rule.required_checks;
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.verdict(&required), ChecksVerdict::Green);
    let merged = place.merge(&pull, &pull.head).await.unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(pull.head)));
}

#[tokio::test]
async fn who_may_not_merge_is_forbidden_and_not_unknown() {
    let settings = json!({ "protection": [{ "branch": "main", "pull": true, "merge_level": 40 }] });
    let Some(place) = Place::with("rights", &settings) else { return };
    let (pull, _) = place.proposal("rights").await;
    let rule = place.forge.protection(&place.main).await.unwrap().unwrap();
    assert!(rule.is_protected && !rule.may_merge);
    let refused = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((refused.trouble, refused.status), (Trouble::Forbidden, Some(401)), "{refused}");
    place.configure(&json!({ "members": { BOT: "maintain" } }));
    assert!(place.forge.protection(&place.main).await.unwrap().unwrap().may_merge);
}

#[tokio::test]
async fn a_branch_of_a_fork_is_not_ours() {
    let Some(place) = Place::new("forks") else { return };
    let sha = place.push("somewhere", "x.yaml");
    let fork = json!({ "login": REVIEWER, "head": "tars/x", "base": "main", "title": "mine", "fork": "else", "sha": sha });
    place.world.server.control("POST", &format!("{}/pulls", place.control), &fork);
    let open = place.forge.open_pulls().await.unwrap();
    assert_eq!((open.len(), open[0].is_foreign, open[0].is_ours()), (1, true, false));
    assert!(place.forge.find(&branch("tars/x"), &place.main).await.unwrap().is_none());
}

#[tokio::test]
async fn a_merge_that_somebody_told_the_forge_to_make_is_seen() {
    let settings = json!({ "protection": [{ "branch": "main", "approvals": 1, "merge_level": 30 }] });
    let Some(place) = Place::with("native", &settings) else { return };
    let (pull, _) = place.proposal("native").await;
    assert!(!place.forge.read(pull.number).await.unwrap().auto_merge);
    let on = json!({ "auto_merge": { "by": REVIEWER, "method": "fast-forward" } });
    place.world.server.control("PATCH", &format!("{}/pulls/{}", place.control, pull.number), &on);
    assert!(place.forge.read(pull.number).await.unwrap().auto_merge);
    assert!(place.forge.open_pulls().await.unwrap()[0].auto_merge);
    place.approve(&pull);
    let merged = place.forge.read(pull.number).await.unwrap();
    assert_eq!((merged.state, merged.auto_merge), (PullState::Merged(Some(pull.head)), false));
    assert_eq!(merged.merged_by.as_deref(), Some(REVIEWER));
}

#[tokio::test]
async fn a_no_says_what_failed_and_what_to_do_and_never_the_token() {
    let Some(place) = Place::new("refusals") else { return };
    let url = &place.world.server.url;
    let wrong = "glpat-0123456789abcdef0123";
    let unknown = forge_at(url, "refusals", wrong).whoami().await.unwrap_err();
    let missing = forge_at(url, "no-such", &place.world.bot_token).repository().await.unwrap_err();
    let (pull, _) = place.proposal("refusals").await;
    let narrow_token = place.world.server.token(&json!({ "login": BOT, "scopes": ["read_api"] }));
    let narrow = forge_at(url, "refusals", &narrow_token);
    let forbidden = narrow.relabel(pull.number, &["x"], &[]).await.unwrap_err();
    for (error, trouble, status, hint) in [
        (&unknown, Trouble::Unauthenticated, 401, "make a new one"),
        (&missing, Trouble::Missing, 404, "forge.repository"),
        (&forbidden, Trouble::Forbidden, 403, "scopes"),
    ] {
        assert_eq!((error.trouble, error.status), (trouble, Some(status)), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
        let text = format!("{} {error:?}", causes(error));
        assert!(text.contains("could not ") && text.contains(&status.to_string()), "{text}");
        assert!(
            ![wrong, &place.world.bot_token, &narrow_token].iter().any(|it| text.contains(*it)),
            "{text}"
        );
    }
    assert!(forbidden.said.contains("higher privileges"), "{forbidden}");
}
