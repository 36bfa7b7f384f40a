//! What people and git do to a repository that tars works on, with the real program end to end: `tars run --once`
//! against a bare repository and a stub of Prometheus. Facts are read with plain git.
//! Regression tests for: back-dated commits, merges of every kind by a person, a branch that a person takes or
//! deletes, a base that moves, stale locks, two spellings of one address, a rewritten ledger. OpenPGP: `openpgp`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support;
use crate::support::metric_stub::{MetricStub, now_s};
use crate::support::program::{Said, commits, git, git_with, kinds, tars, trailers};

mod openpgp;

const OVERLAY: &str = "apps/backend/overlays/production/kustomization.yaml";
const POLICY: &str = "policies/backend-latency.yaml";

/// A GitOps repository with tars beside it, and a person's clone.
struct World {
    folder: TempDir,
    prometheus: MetricStub,
}

impl World {
    /// `mode` is that of the policy for the backend's latency.
    fn new(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder, prometheus: MetricStub::start() };
        let (home, clone) = (world.home(), world.clone_dir());
        git(home, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
        git(home, &["clone", "-q", "repo.git", "clone"]);
        git(&clone, &["checkout", "-q", "-B", "main"]);
        let example = support::root().join("gitops-example/.");
        let copied = std::process::Command::new("cp").arg("-R").arg(example).arg(&clone).status().unwrap();
        assert!(copied.success());
        world.edit(POLICY, "mode: AutoMerge", &format!("mode: {mode}"));
        world.commit_and_push("Import the platform repository");
        let key = home.join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        let public = std::fs::read_to_string(home.join("key.pub")).unwrap();
        std::fs::write(home.join("allowed"), format!("tars@example.com namespaces=\"git\" {public}"))
            .unwrap();
        world.settings("tars.yaml", &world.repo().display().to_string(), "state", 6);
        world
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    fn repo(&self) -> PathBuf {
        self.home().join("repo.git")
    }

    fn clone_dir(&self) -> PathBuf {
        self.home().join("clone")
    }

    /// A settings file for a process with its own state folder.
    fn settings(&self, name: &str, url: &str, state: &str, per_hour: u32) {
        let home = self.home().display();
        let signal = |service: &str| {
            format!("  - {{signal: latency_p95, service: {service}, query: {service}, period: 1h}}\n")
        };
        let text = format!(
            "repository:\n  url: {url}\n  state_dir: {home}/{state}\n\
             signing: {{key_file: {home}/key, allowed_signers_file: {home}/allowed}}\n\
             prometheus: {{url: \"{}\"}}\nsignals:\n{}{}\
             sync: {{kind: fixedWait, wait: 1h, timeout: 2h}}\nwebhook: {{enabled: false}}\n\
             limits: {{max_executions_per_hour: {per_hour}}}\n",
            self.prometheus.url,
            signal("backend"),
            signal("frontend"),
        );
        std::fs::write(self.home().join(name), text).unwrap();
    }

    /// A second policy in the same mode, for the front end.
    fn watch_the_front_end(&self, mode: &str) {
        let policy = support::text(&format!("gitops-example/{POLICY}")).unwrap();
        let second = policy
            .replace("mode: AutoMerge", &format!("mode: {mode}"))
            .replace("name: backend-latency", "name: frontend-latency")
            .replace("service: backend", "service: frontend")
            .replace("name: backend", "name: frontend")
            .replace("    dependants:\n      - signal: latency_p95\n        service: frontend\n", "");
        std::fs::write(self.clone_dir().join("policies/frontend-latency.yaml"), second).unwrap();
        self.commit_and_push("Watch the front end as well");
    }

    fn once(&self, settings: &str) -> Said {
        tars(self.home(), &["run", "--once", "--config", settings])
    }

    /// One tick that must succeed.
    #[track_caller]
    fn tick(&self) {
        self.once("tars.yaml").ok();
    }

    /// The backend is slow and tars has proposed.
    #[track_caller]
    fn proposed(&self) -> (String, String) {
        self.prometheus.surge("backend");
        self.tick();
        let branch = self.branch().expect("a proposal's branch");
        let head = git(&self.repo(), &["rev-parse", &branch]);
        (branch, head)
    }

    fn branch(&self) -> Option<String> {
        let listed = git(&self.repo(), &["for-each-ref", "--format=%(refname:short)", "refs/heads/tars"]);
        listed.lines().find(|it| *it != "tars/ledger").map(str::to_owned)
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let file = self.clone_dir().join(path);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} in {path}");
        std::fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn commit_and_push(&self, message: &str) {
        let clone = self.clone_dir();
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-q", "-m", message]);
        git(&clone, &["push", "-q", "origin", "main"]);
    }

    /// The person's clone, up to date.
    fn fetched(&self) -> PathBuf {
        let clone = self.clone_dir();
        git(&clone, &["fetch", "-q", "origin"]);
        git(&clone, &["merge", "-q", "--ff-only", "origin/main"]);
        clone
    }

    fn main(&self) -> String {
        git(&self.repo(), &["rev-parse", "main"])
    }

    fn overlay(&self, commit: &str) -> String {
        git(&self.repo(), &["cat-file", "-p", &format!("{commit}:{OVERLAY}")]) + "\n"
    }

    /// The newest record of the one remediation.
    fn record(&self) -> serde_json::Value {
        let said = tars(self.home(), &["get", "remediations", "-C", "repo.git", "-o", "json"]);
        said.json()["items"][0].clone()
    }

    fn audit(&self) {
        let args = ["audit", "verify", "-C", "repo.git", "--allowed-signers", "allowed"];
        tars(self.home(), &args).ok();
    }
}

#[test]
fn a_surge_is_answered_and_merged_in_one_tick_with_every_trailer_once() {
    let world = World::new("AutoMerge");
    world.prometheus.surge("backend");
    world.tick();
    let repo = world.repo();
    assert_eq!(kinds(&repo), ["Genesis", "Proposed", "MergeReserved", "Merged"]);
    let original = support::text(&format!("gitops-example/{OVERLAY}")).unwrap();
    assert_eq!(world.overlay("main"), original.replace("count: 3 ", "count: 5 "));
    let keys: Vec<String> = trailers(&repo, "main").into_iter().map(|(key, _)| key).collect();
    let mut once = keys.clone();
    once.sort();
    once.dedup();
    assert_eq!((keys.len(), once.len()), (10, 10), "{keys:?}");
    git(&repo, &["config", "gpg.ssh.allowedSignersFile", world.home().join("allowed").to_str().unwrap()]);
    git(&repo, &["verify-commit", "main"]);
    world.tick();
    assert_eq!(commits(&repo, "main").len(), 2, "the next tick does not do it again");
    world.audit();
}

#[test]
fn a_query_that_answers_is_acted_on_by_a_process_that_has_just_started() {
    let world = World::new("Propose");
    let anomaly =
        "    - type: anomaly\n      signal: latency_p95\n      service: backend\n      threshold: 0.8\n";
    world.edit(POLICY, anomaly, "    - {type: promql, query: backend_is_slow}\n");
    world.commit_and_push("Watch the query");
    world.prometheus.surge("backend");
    world.tick();
    assert_eq!(world.branch(), None, "the query does not answer yet");
    world.prometheus.surge("backend_is_slow");
    world.tick();
    assert_eq!(kinds(&world.repo()), ["Genesis", "Proposed"]);
}

#[test]
fn nothing_happens_while_all_is_calm() {
    let world = World::new("AutoMerge");
    world.prometheus.calm();
    world.tick();
    assert_eq!(git(&world.repo(), &["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
}

/// A person merges the proposal with `how`; tars must find the commit that `expected` names.
fn merged_by_hand(how: fn(&World, &Path, &str), expected: fn(&World, &str) -> String) {
    let world = World::new("Propose");
    let (branch, head) = world.proposed();
    assert_eq!(commits(&world.repo(), "main").len(), 1, "mode Propose merges nothing");
    let clone = world.fetched();
    how(&world, &clone, &branch);
    git(&clone, &["push", "-q", "origin", "main"]);
    world.tick();
    let record = world.record();
    assert_eq!(record["status"]["state"], "Merged", "{record:#}");
    assert_eq!(record["status"]["merge"]["by"], "Person");
    assert_eq!(record["status"]["merge"]["commit"], expected(&world, &head).as_str());
    world.audit();
    let budgets = tars(world.home(), &["get", "budgets", "-C", "repo.git", "-o", "json"]).json();
    assert_eq!(budgets["items"][1]["used"], 1, "a person's merge counts as well: {budgets}");
}

#[test]
fn a_fast_forward_by_hand_is_noticed() {
    merged_by_hand(
        |_, clone, branch| {
            git(clone, &["merge", "-q", "--ff-only", &format!("origin/{branch}")]);
        },
        |_, head| head.to_owned(),
    );
}

#[test]
fn a_merge_commit_by_hand_is_noticed() {
    merged_by_hand(
        |_, clone, branch| {
            git(clone, &["merge", "-q", "--no-ff", "-m", "Merge it", &format!("origin/{branch}")]);
        },
        |world, _| world.main(),
    );
}

#[test]
fn a_squash_that_drops_every_trailer_is_noticed() {
    merged_by_hand(
        |_, clone, branch| {
            git(clone, &["merge", "-q", "--squash", &format!("origin/{branch}")]);
            git(clone, &["commit", "-q", "-m", "Scale the backend (#12)"]);
        },
        |world, _| {
            assert!(trailers(&world.repo(), "main").is_empty());
            world.main()
        },
    );
}

#[test]
fn a_rebase_onto_other_work_is_noticed() {
    merged_by_hand(
        |_, clone, branch| {
            std::fs::write(clone.join("NOTES.md"), "unrelated\n").unwrap();
            git(clone, &["add", "-A"]);
            git(clone, &["commit", "-q", "-m", "Unrelated work"]);
            git(clone, &["cherry-pick", &format!("origin/{branch}")]);
        },
        |world, _| world.main(),
    );
}

#[test]
fn a_branch_that_a_person_pushed_to_is_left_alone() {
    let world = World::new("Propose");
    let (branch, _) = world.proposed();
    let clone = world.fetched();
    git(&clone, &["checkout", "-q", "-b", "mine", &format!("origin/{branch}")]);
    world.edit(OVERLAY, "count: 5", "count: 6");
    git(&clone, &["commit", "-q", "-am", "Six is better"]);
    git(&clone, &["push", "-q", "origin", &format!("mine:{branch}")]);
    let mine = git(&clone, &["rev-parse", "mine"]);
    // Even a policy that now merges by itself must not merge, move or close it.
    git(&clone, &["checkout", "-q", "main"]);
    world.edit(POLICY, "mode: Propose", "mode: AutoMerge");
    world.commit_and_push("Let tars merge");
    let main = world.main();
    world.tick();
    world.tick();
    assert_eq!(git(&world.repo(), &["rev-parse", &branch]), mine);
    assert_eq!(world.main(), main);
    assert!(!kinds(&world.repo()).contains(&"MergeReserved".to_owned()));
}

#[test]
fn a_deleted_branch_means_no_and_the_same_cause_stays_quiet() {
    let world = World::new("Propose");
    let (branch, _) = world.proposed();
    git(&world.clone_dir(), &["push", "-q", "origin", "--delete", &branch]);
    world.tick();
    assert_eq!(world.record()["status"]["state"], "Closed");
    world.tick();
    assert_eq!(
        kinds(&world.repo()),
        ["Genesis", "Proposed", "Closed"],
        "the surge goes on; tars stays quiet"
    );
    assert_eq!(world.branch(), None);
}

#[test]
fn a_base_that_moves_under_the_file_rebuilds_the_proposal_on_top() {
    let world = World::new("Propose");
    let (branch, head) = world.proposed();
    world.fetched();
    world.edit(OVERLAY, "# Sized for an ordinary Tuesday", "# Sized for an ordinary Wednesday");
    world.commit_and_push("Say it right");
    world.tick();
    let rebuilt = git(&world.repo(), &["rev-parse", &branch]);
    assert_ne!(rebuilt, head);
    assert_eq!(git(&world.repo(), &["rev-parse", &format!("{rebuilt}^")]), world.main());
    assert_eq!(world.overlay(&rebuilt), world.overlay("main").replace("count: 3 ", "count: 5 "));
    assert_eq!(world.record()["spec"]["change"]["head"], rebuilt.as_str());
    world.audit();
}

#[test]
fn a_back_dated_commit_frees_no_budget() {
    let world = World::new("AutoMerge");
    world.settings("tars.yaml", &world.repo().display().to_string(), "state", 1);
    let clone = world.clone_dir();
    world.watch_the_front_end("AutoMerge");
    world.prometheus.surge("backend");
    world.tick();
    assert_eq!(kinds(&world.repo()).last().map(String::as_str), Some("Merged"), "the only slot is taken");
    world.fetched();
    let long_ago = format!("{} +0000", now_s() - 172_800);
    let dates = [("GIT_AUTHOR_DATE", long_ago.as_str()), ("GIT_COMMITTER_DATE", long_ago.as_str())];
    git_with(&clone, &["commit", "-q", "--allow-empty", "-m", "From the day before yesterday"], &dates, b"");
    git(&clone, &["push", "-q", "origin", "main"]);
    let naive = git(&clone, &["rev-list", "--count", "--since=1 hour ago", "main"]);
    assert_eq!(naive, "0", "a count of dates would see nothing at all");
    world.prometheus.surge("frontend");
    world.tick();
    let kinds = kinds(&world.repo());
    assert_eq!(kinds.iter().filter(|it| *it == "MergeReserved").count(), 1, "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("Proposed"), "it waits for a person: {kinds:?}");
    let said = tars(world.home(), &["get", "proposals", "-C", "repo.git", "-o", "json"]).json();
    let body = said["items"][0]["body"].as_str().unwrap_or_default().to_owned();
    assert!(body.contains("budget used up"), "{said:#}");
    world.audit();
}

#[test]
fn two_actions_in_one_window_are_one_review_and_each_is_reverted_by_itself() {
    let world = World::new("Propose");
    world.watch_the_front_end("Propose");
    let settings = world.home().join("tars.yaml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(settings, format!("{text}batch: {{window: 5m, max_actions: 10}}\n")).unwrap();
    world.prometheus.surge("backend");
    world.tick();
    let (branch, repo) = (world.branch().expect("a proposal's branch"), world.repo());
    world.prometheus.surge("frontend");
    world.tick();
    let listed = git(&repo, &["for-each-ref", "--format=%(refname:short)", "refs/heads/tars/batch-*"]);
    assert_eq!((listed.as_str(), world.branch()), (branch.as_str(), Some(branch.clone())), "one branch");
    let range = format!("main..{branch}");
    let actions = git(&repo, &["rev-list", "--reverse", &range]);
    let actions: Vec<&str> = actions.lines().collect();
    assert_eq!(actions.len(), 2, "one commit for each");
    for commit in &actions {
        assert_eq!(trailers(&repo, commit).len(), 10);
        assert_eq!(git(&repo, &["diff", "--numstat", &format!("{commit}^"), commit]).lines().count(), 1);
    }
    let table = tars(world.home(), &["get", "proposals", "-C", "repo.git", "--no-headers"]).ok();
    assert_eq!(table.lines().count(), 1, "{table}");
    assert!(table.contains("tars: 2 remediations ("), "{table}");
    let items = tars(world.home(), &["get", "proposals", "-C", "repo.git", "-o", "json"]).json();
    let items = items["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 2);
    for item in &items {
        assert_eq!(item["branch"], branch.as_str());
        let name = item["name"].as_str().unwrap();
        let page = tars(world.home(), &["get", "proposals", name, "-C", "repo.git"]).ok();
        assert_eq!(page.matches("### Timeline").count(), 2, "each action has its own text: {page}");
        let why = tars(world.home(), &["explain", name, "-C", "repo.git"]).ok();
        assert!(why.contains(&format!("{branch}, with act-")), "{why}");
    }
    world.audit();
    let clone = world.fetched();
    git(&clone, &["merge", "-q", "--no-ff", "-m", "Merge both", &format!("origin/{branch}")]);
    git(&clone, &["push", "-q", "origin", "main"]);
    world.tick();
    assert_eq!(kinds(&repo), ["Genesis", "Proposed", "Proposed", "Merged", "Merged"]);
    assert_eq!(world.branch(), None, "nothing is left to review");
    git(&clone, &["revert", "--no-edit", actions[0]]);
    git(&clone, &["push", "-q", "origin", "main"]);
    let kept = git(&repo, &["diff", "--name-only", "main~2", "main"]);
    let of_second = git(&repo, &["diff", "--name-only", &format!("{}^", actions[1]), actions[1]]);
    assert_eq!(kept, of_second, "only the other action stands");
    world.tick();
    world.audit();
}

#[test]
fn stale_locks_do_not_block_the_next_start() {
    let world = World::new("Propose");
    world.proposed();
    let state = world.home().join("state");
    let mut folders = vec![state.clone(), state.join("clones")];
    for leftover in ["clones/leftover", "clones/leftover/refs/heads/tars"] {
        std::fs::create_dir_all(state.join(leftover)).unwrap();
        folders.push(state.join(leftover));
    }
    for folder in &folders {
        for lock in ["index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "ledger.lock"] {
            std::fs::write(folder.join(lock), "").unwrap();
        }
    }
    git(&world.clone_dir(), &["push", "-q", "origin", "--delete", &world.branch().unwrap()]);
    world.tick();
    assert_eq!(world.record()["status"]["state"], "Closed", "the second process did its work");
}

#[test]
fn two_spellings_of_one_address_share_one_ledger_and_one_budget() {
    let world = World::new("AutoMerge");
    world.prometheus.surge("backend");
    world.tick();
    let repo = world.repo().display().to_string();
    for (index, url) in [format!("file://{repo}"), format!("{repo}/"), repo.replace("repo.git", "./repo.git")]
        .iter()
        .enumerate()
    {
        let (name, state) = (format!("other-{index}.yaml"), format!("other-{index}"));
        world.settings(&name, url, &state, 6);
        world.once(&name).ok();
    }
    assert_eq!(kinds(&world.repo()), ["Genesis", "Proposed", "MergeReserved", "Merged"]);
    let repos: std::collections::BTreeSet<String> = commits(&world.repo(), "tars/ledger")
        .iter()
        .flat_map(|commit| trailers(&world.repo(), commit))
        .filter_map(|(key, value)| (key == "Tars-Repo").then_some(value))
        .collect();
    assert_eq!(repos.len(), 1, "{repos:?}");
}

#[test]
fn a_rewritten_or_vanished_ledger_stops_every_write() {
    let world = World::new("AutoMerge");
    world.prometheus.surge("backend");
    world.tick();
    let repo = world.repo();
    let whole = git(&repo, &["rev-parse", "tars/ledger"]);
    let attacks: [&[&str]; 2] = [
        &["update-ref", "refs/heads/tars/ledger", "tars/ledger~2"],
        &["update-ref", "-d", "refs/heads/tars/ledger"],
    ];
    for attack in attacks {
        git(&repo, attack);
        let before = git(&repo, &["for-each-ref"]);
        let said = world.once("tars.yaml");
        assert_ne!(said.code, 0, "{attack:?}: {said:?}");
        assert!(said.err.contains("the ledger cannot be trusted"), "{attack:?}: {said:?}");
        assert!(said.err.contains("tars audit verify"), "the way on is named: {said:?}");
        assert_eq!(git(&repo, &["for-each-ref"]), before, "{attack:?}");
        git(&repo, &["update-ref", "refs/heads/tars/ledger", &whole]);
    }
    world.tick();
}
