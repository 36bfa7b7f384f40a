//! The adapter against the stand-in for GitLab: what every forge does alike (`contract_tests`), what only GitLab does, and
//! what the network may do in between. One server for all tests of this process, one project in a subgroup for each.
#![allow(clippy::disallowed_methods, reason = "a test that starts a server and looks for it on disk")]

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::contract_tests::{BOT, REVIEWER, Stage, branch, open, plays, status};
use super::error::Outlook;
use super::gitlab::GitLab;
use super::stand_in as server;
use super::*;
use crate::model::forge::{Access, CheckState, ChecksVerdict, PullState, ReviewVerdict};
use crate::outside::clock::SystemClock;
use crate::outside::http::{Http, HttpSettings};
use crate::outside::secret::Secret;

#[path = "gitlab_fault_tests.rs"]
mod faults;
#[path = "gitlab_people_tests.rs"]
mod people;

const GROUP: &str = "shop/infra";

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
        (open(&self.forge, &head).await.unwrap(), head)
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

impl Stage for Place {
    fn forge(&self) -> &dyn Forge {
        &self.forge
    }

    fn with_token(&self, token: &str, repository: Option<&str>) -> Box<dyn Forge> {
        let own = self.path.rsplit_once("%2F").unwrap().1;
        Box::new(forge_at(&self.world.server.url, repository.unwrap_or(own), token))
    }

    fn keepers_token(&self) -> String {
        self.world.server.admin_token.clone()
    }

    fn wrong_token(&self) -> &'static str {
        "glpat-0123456789abcdef0123"
    }

    fn narrow_token(&self) -> String {
        self.world.server.token(&json!({ "login": BOT, "scopes": ["read_api"] }))
    }

    fn full_name(&self) -> String {
        self.path.strip_prefix("/projects/").unwrap().replace("%2F", "/")
    }

    fn way(&self) -> MergeMethod {
        MergeMethod::FastForward
    }

    fn push(&self, name: &str, file: &str) -> ObjectId {
        Self::push(self, name, file)
    }

    fn head(&self, name: &str) -> String {
        Self::head(self, name).unwrap()
    }

    fn say(&self, number: u64, text: &str) {
        let path = format!("/merge_requests/{number}/notes");
        self.person(&self.world.reviewer_token, "POST", &path, &json!({ "body": text }));
    }

    fn set_label(&self, number: u64, label: &str) {
        let path = format!("/merge_requests/{number}");
        self.person(&self.world.reviewer_token, "PUT", &path, &json!({ "add_labels": label }));
    }

    fn approve(&self, pull: &PullRequest) {
        Self::approve(self, pull);
    }

    fn reopen(&self, number: u64) {
        let path = format!("/merge_requests/{number}");
        self.person(&self.world.reviewer_token, "PUT", &path, &json!({ "state_event": "reopen" }));
    }

    fn forge_status(&self, head: &ObjectId) {
        let ours = json!({ "name": "tars/policy", "state": "success", "description": "inside its budget" });
        self.person(&self.world.reviewer_token, "POST", &format!("/statuses/{head}"), &ours);
    }

    fn protect(&self) {
        let rule = json!({ "branch": "main", "pull": true, "approvals": 1, "merge_level": 30 });
        self.configure(&json!({ "pipeline_must_succeed": true, "protection": [rule] }));
    }

    fn pass_check(&self, pull: &PullRequest) {
        self.pipeline(pull, &pull.head, &json!([{ "name": "build", "status": "success" }]));
    }
}

mod contract {
    use super::*;
    plays!(Place);
}

#[tokio::test]
async fn a_project_says_how_it_is_merged_and_a_maintainer_administers_it() {
    let Some(place) = Place::with("facts", &json!({ "squash_option": "default_off" })) else { return };
    let facts = place.forge.repository().await.unwrap();
    assert_eq!(facts.merge_methods, [MergeMethod::FastForward, MergeMethod::Squash].into());
    place.configure(
        &json!({ "members": { BOT: "maintain" }, "merge_method": "merge", "squash_option": "always" }),
    );
    let facts = place.forge.repository().await.unwrap();
    assert!(facts.permissions.admin);
    assert_eq!(facts.merge_methods, [MergeMethod::Squash].into());
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
async fn a_label_with_a_comma_would_be_two() {
    let Some(place) = Place::new("labels") else { return };
    let (pull, _) = place.proposal("labels").await;
    let comma = place.forge.relabel(pull.number, &["a,b"], &[]).await.unwrap_err();
    assert_eq!(comma.trouble, Trouble::Protocol);
}

#[tokio::test]
async fn a_status_is_said_as_gitlab_takes_it_and_makes_no_pipeline_a_check() {
    let Some(place) = Place::new("statuses") else { return };
    let (pull, _) = place.proposal("statuses").await;
    assert!(place.forge.set_status(&pull.head, status(StatusState::Pending)).await.unwrap());
    // GitLab refuses new words for what is pending already.
    let other = Status { description: "still waiting", ..status(StatusState::Pending) };
    assert!(!place.forge.set_status(&pull.head, other).await.unwrap());
    let long = "x".repeat(400);
    let long = Status { description: &long, ..status(StatusState::Success) };
    assert!(place.forge.set_status(&pull.head, long).await.unwrap());
    assert!(!place.forge.set_status(&pull.head, long).await.unwrap());
    // tars alone is in its own pipeline.
    let checks = place.forge.checks(&pull.head).await.unwrap();
    assert_eq!(checks.verdict(&["pipeline".to_owned()]), ChecksVerdict::Waiting(vec!["pipeline".to_owned()]));
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
async fn a_thread_that_is_open_holds_a_merge() {
    let Some(place) = Place::with("threads", &json!({ "threads_must_resolve": true })) else { return };
    let (pull, _) = place.proposal("threads").await;
    let thread = format!("{}/pulls/{}", place.control, pull.number);
    place.world.server.control("PATCH", &thread, &json!({ "unresolved": true }));
    let refused = place.merge(&pull, &pull.head).await.unwrap_err();
    assert_eq!((refused.trouble, refused.status), (Trouble::NotReady, Some(405)), "{refused}");
    place.world.server.control("PATCH", &thread, &json!({ "unresolved": false }));
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
