//! A person and tars at the same pull request of a real Gitea at the same time. Each round one person does one thing
//! at a random moment after the pull request is there: push, retarget, close, hold, edit the policy. Comes out:
//! whatever the order was, only computed trees arrive, budgets hold, and what stood there before a tick counts in it.
//! `TARS_RACES=1000` plays more rounds, `TARS_RACES_SEED=7` repeats them.
#![allow(clippy::disallowed_methods, reason = "a test that reads how many rounds it is asked for")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Reconciler;
use super::desk::{Desk, DeskSettings};
use super::harness::*;
use crate::model::action::{ActionState as S, MergedBy, RemediationAction};
use crate::model::ids::{BranchName, InstanceId};
use crate::observe::sync_probe::SyncProbe;
use crate::outside::clock::{Clock as _, SystemClock, wait};
use crate::outside::secret::Secret;
use crate::propose::forge::gitea_tests::{self, BOT, server};

/// Rounds when nobody asks for more.
const ROUNDS: usize = 10;
/// Rounds in one repository.
const ROUNDS_EACH: usize = 10;
/// Executions in an hour, of everything together.
const GLOBAL_MAX: u32 = 3;
const HOUR_S: i64 = 3_600;
/// The person acts at most this long after the pull request is there.
const LATE_MS_MAX: u64 = 1_500;
/// Looks for the pull request before the person goes home, a fifth of a second apart: each is work for Gitea.
const LOOKS_MAX: usize = 600;
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    PushToBranch,
    PushToSameFile,
    PushElsewhere,
    Retarget,
    CloseAndReopen,
    Close,
    Hold,
    PolicyToPropose,
    PolicyRemoved,
    DeleteBranch,
    MakeDraft,
}

const DEEDS: [Deed; 11] = [
    Deed::PushToBranch,
    Deed::PushToSameFile,
    Deed::PushElsewhere,
    Deed::Retarget,
    Deed::CloseAndReopen,
    Deed::Close,
    Deed::Hold,
    Deed::PolicyToPropose,
    Deed::PolicyRemoved,
    Deed::DeleteBranch,
    Deed::MakeDraft,
];

impl Deed {
    /// Once done, does it keep tars from ever merging this pull request?
    fn forbids(self) -> bool {
        !matches!(self, Self::PushToSameFile | Self::PushElsewhere | Self::CloseAndReopen)
    }
}

/// `SplitMix64`: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// The person's browser and editor, for one repository.
#[derive(Clone)]
struct Person {
    gitea: &'static gitea_tests::World,
    repository: String,
}

/// A pull request as the person sees it.
#[derive(Debug, Clone)]
struct Seen {
    number: u64,
    branch: String,
}

impl Person {
    fn ask(&self, method: &str, rest: &str, body: Option<&Value>) -> Option<Value> {
        let server = &self.gitea.server;
        let (status, answer) =
            server.ask(&server.admin_token, method, &format!("{}{rest}", self.repository), body);
        (200..300).contains(&status).then_some(answer)
    }

    /// Creates, replaces or removes one file; the commit's id, unless Gitea said no.
    fn write(&self, branch: &str, path: &str, text: Option<&str>) -> Option<String> {
        use base64ct::Encoding as _;
        let place = format!("/contents/{path}");
        let there = self.ask("GET", &format!("{place}?ref={}", branch.replace('/', "%2F")), None);
        let mut change = json!({ "branch": branch, "message": "Somebody's work" });
        if let Some(there) = &there {
            change["sha"] = there["sha"].clone();
        }
        if let Some(text) = text {
            change["content"] = json!(base64ct::Base64::encode_string(text.as_bytes()));
        }
        let method = match (text, there) {
            (None, _) => "DELETE",
            (Some(_), Some(_)) => "PUT",
            (Some(_), None) => "POST",
        };
        Some(self.ask(method, &place, Some(&change))?["commit"]["sha"].as_str()?.to_owned())
    }

    /// New files in `main`, in one commit: Gitea takes most of a second for each.
    fn create(&self, files: impl Iterator<Item = (String, String)>) {
        use base64ct::Encoding as _;
        let file = |(path, text): (String, String)| {
            let content = base64ct::Base64::encode_string(text.as_bytes());
            json!({ "operation": "create", "path": path, "content": content })
        };
        let files: Vec<Value> = files.map(file).collect();
        let change = json!({ "branch": "main", "message": "Somebody's work", "files": files });
        self.ask("POST", "/contents", Some(&change)).expect("Gitea takes the files");
    }

    fn open_pulls(&self) -> Vec<Seen> {
        let all = self.ask("GET", "/pulls?state=open&limit=50", None).unwrap_or_default();
        let seen = |it: &Value| {
            Some(Seen { number: it["number"].as_u64()?, branch: it["head"]["ref"].as_str()?.to_owned() })
        };
        all.as_array().into_iter().flatten().filter_map(seen).collect()
    }

    fn is_merged(&self, number: u64) -> bool {
        let pull = self.ask("GET", &format!("/pulls/{number}"), None).expect("the pull request is there");
        pull["merged"].as_bool().unwrap()
    }

    fn edit(&self, number: u64, what: &Value) -> bool {
        self.ask("PATCH", &format!("/pulls/{number}"), Some(what)).is_some()
    }
}

/// One repository with its processes.
struct Place {
    world: World,
    person: Person,
    replicas: [Reconciler; 2],
    /// Commits of people in main.
    theirs: BTreeSet<String>,
    /// Pull requests that tars may never merge, and since which round and deed.
    forbidden: BTreeMap<u64, (usize, Deed)>,
}

/// What happened, over all rounds.
#[derive(Debug, Default)]
struct Counts {
    rounds: BTreeMap<Deed, Outcome>,
    merged_by_tars: usize,
    waiting: usize,
    errors: BTreeMap<String, usize>,
}

#[derive(Debug, Default)]
struct Outcome {
    rounds: usize,
    /// The forge refused it, or the pull request was merged before.
    too_late: usize,
    /// Done, and merged by tars in the same tick all the same.
    overtaken: usize,
    /// Done, and not merged by the end of the round.
    held: usize,
}

fn app(number: usize) -> String {
    format!("apps/t{number}.yaml")
}

fn policy_file(number: usize) -> String {
    format!("policies/t{number}.yaml")
}

fn policy(number: usize, mode: &str) -> String {
    let name = format!("t{number}");
    scale_policy(&name, &name, &format!("slow{number}"), mode) + "  maxExecutionsPerHour: 3\n"
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let gitea = gitea_tests::world()?;
        let repository = gitea.server.repository(name, &[BOT]);
        let person = Person { gitea, repository };
        person.create((0..ROUNDS_EACH).flat_map(|number| {
            let app_text = deployment(&format!("t{number}"));
            [(app(number), app_text), (policy_file(number), policy(number, "AutoMerge"))]
        }));
        let rule = json!({ "rule_name": "main", "enable_push": true });
        person.ask("POST", "/branch_protections", Some(&rule)).unwrap();
        let release = json!({ "new_branch_name": "release", "old_branch_name": "main" });
        person.ask("POST", "/branches", Some(&release)).unwrap();
        person.ask("POST", "/labels", Some(&json!({ "name": "tars/hold", "color": "#cc0000" }))).unwrap();
        let url = format!("{}/{}/{name}.git", gitea.server.url, server::ORGANISATION);
        let token = Secret::new(&gitea.bot_token).unwrap();
        let world = World::on_server(gitea.server.on_disk(name), url, token);
        // Gitea's commits bear the time of day. What a person did an hour ago is nothing to yield to.
        let an_hour_ahead = SystemClock.now().checked_add(SignedDuration::from_hours(1)).unwrap();
        let ahead = an_hour_ahead.duration_since(world.clock.now());
        world.clock.advance(ahead.unsigned_abs());
        let process = |instance: &str| {
            let forge = gitea_tests::forge_at(&gitea.server.url, name, &gitea.bot_token);
            world.reconciler_with(instance, |parts| {
                let (main, me) = (BranchName::new("main").unwrap(), InstanceId::new(instance).unwrap());
                parts.desk = Some(Desk::new(Arc::new(forge), main, me, DeskSettings::default()));
                parts.rules.limits.max_executions_per_hour = GLOBAL_MAX;
                parts.rules.limits.max_open_proposals = 100;
                // What was merged stays merged: the race is about the way there.
                parts.probe = SyncProbe::FixedWait { wait_s: 1_000_000 };
            })
        };
        let replicas = [process("a"), process("b")];
        let main = world.main();
        let theirs = world.objects().walk_all(&[main.as_str()], 10_000).unwrap().into_iter().collect();
        Some(Self { world, person, replicas, theirs, forbidden: BTreeMap::new() })
    }

    /// One look at everything, by one process or by both at the same time.
    async fn tick(&mut self, both: bool, counts: &mut Counts) {
        let [first, second] = &mut self.replicas;
        let mut errors = Vec::new();
        if both {
            let (one, two) = tokio::join!(first.tick(), second.tick());
            errors.extend(one.1.errors);
            errors.extend(two.1.errors);
        } else {
            errors.extend(first.tick().await.1.errors);
        }
        for error in errors {
            let text = format!("{error:?}");
            let words: Vec<&str> = text.split(|it: char| it.is_ascii_digit()).collect();
            *counts.errors.entry(words.join("#").chars().take(300).collect()).or_default() += 1;
        }
        self.world.clock.advance(TICK);
    }

    /// Acts `late` after the pull request of this round is there; goes home when the tick is over without one.
    fn person(
        &self,
        deed: Deed,
        number: usize,
        late: Duration,
        is_over: Arc<AtomicBool>,
    ) -> tokio::task::JoinHandle<Act> {
        let person = self.person.clone();
        tokio::spawn(async move {
            let wanted = format!(".t{number}/");
            for _ in 0..LOOKS_MAX {
                let asked = person.clone();
                let open = tokio::task::spawn_blocking(move || asked.open_pulls()).await.unwrap();
                if let Some(pull) = open.into_iter().find(|it| it.branch.contains(&wanted)) {
                    wait(late).await;
                    return tokio::task::spawn_blocking(move || act(&person, deed, number, pull))
                        .await
                        .unwrap();
                }
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                wait(LOOK_EVERY).await;
            }
            Act { pull: None, done: false, commit: None }
        })
    }

    async fn round(&mut self, number: usize, deed: Deed, dice: &mut Dice, counts: &mut Counts) {
        self.world.metrics.fire(&format!("slow{number}"));
        let late = Duration::from_millis(dice.below(LATE_MS_MAX));
        let both = dice.below(2) == 0;
        let is_over = Arc::new(AtomicBool::new(false));
        let person = self.person(deed, number, late, Arc::clone(&is_over));
        self.tick(both, counts).await;
        is_over.store(true, Ordering::SeqCst);
        let act = person.await.unwrap();
        self.theirs.extend(act.commit);
        let merged = act.pull.as_ref().is_some_and(|it| self.person.is_merged(it.number));
        if let Some(pull) = act.pull.as_ref().filter(|_| act.done && !merged && deed.forbids()) {
            self.forbidden.insert(pull.number, (number, deed));
        }
        for _ in 0..2 {
            self.tick(both, counts).await;
        }
        let later = act.pull.as_ref().is_some_and(|it| self.person.is_merged(it.number));
        let outcome = counts.rounds.entry(deed).or_default();
        outcome.rounds += 1;
        outcome.too_late += usize::from(!act.done);
        outcome.overtaken += usize::from(act.done && merged);
        outcome.held += usize::from(act.done && !later);
        // Sometimes the hour's slots are all taken, sometimes one gets free.
        let pause_s = [60, 600, 1_500][usize::try_from(dice.below(3)).unwrap()];
        self.world.clock.advance(Duration::from_secs(pause_s));
        self.check(&format!("round {number}, {deed:?} after {late:?}, both {both}"));
    }

    /// The promises, whatever the order was.
    fn check(&self, when: &str) {
        let (objects, records) = (self.world.objects(), self.records());
        let changes = records.iter().filter_map(|it| it.spec.change.as_ref());
        let computed: BTreeMap<&str, &str> = changes.map(|it| (it.head.as_str(), it.tree.as_str())).collect();
        for commit in objects.walk_all(&[self.world.main().as_str()], 10_000).unwrap() {
            if !self.theirs.contains(&commit) {
                let tree = objects.tree_of(&commit).unwrap();
                assert_eq!(computed.get(&*commit), Some(&&*tree), "{when}: {commit} is in main");
            }
        }
        let reserved: Vec<_> = records
            .iter()
            .filter(|it| it.state() == S::MergeReserved)
            .map(|it| (it.status.timeline.last().unwrap().at, it.id()))
            .collect();
        for (end, _) in &reserved {
            let within = |at: &jiff::Timestamp| (0..HOUR_S).contains(&end.duration_since(*at).as_secs());
            let ids: BTreeSet<_> = reserved.iter().filter(|it| within(&it.0)).map(|it| it.1).collect();
            assert!(ids.len() <= GLOBAL_MAX as usize, "{when}: {ids:?} within the hour before {end}");
        }
        let report = self.world.audit();
        assert!(report.findings.is_empty(), "{when}: {:#?}", report.findings);
        let mut branches = BTreeSet::new();
        for pull in self.person.open_pulls() {
            assert!(branches.insert(pull.branch.clone()), "{when}: two pull requests from {}", pull.branch);
        }
        for (number, (round, deed)) in &self.forbidden {
            let merged = self.person.is_merged(*number);
            assert!(!merged, "{when}: #{number} was merged in spite of {deed:?} in round {round}");
        }
    }

    /// Every record of the ledger, oldest first.
    fn records(&self) -> Vec<RemediationAction> {
        self.world.entries().into_iter().filter_map(|it| it.record).collect()
    }

    fn count(&self, counts: &mut Counts) {
        let by_tars = |it: &&RemediationAction| {
            it.state() == S::Merged && it.status.merge.as_ref().is_some_and(|it| it.by == MergedBy::Tars)
        };
        counts.merged_by_tars += self.records().iter().filter(by_tars).count();
        counts.waiting += self.person.open_pulls().len();
    }
}

/// What came of what the person did.
#[derive(Debug)]
struct Act {
    pull: Option<Seen>,
    done: bool,
    /// A commit in main.
    commit: Option<String>,
}

fn act(person: &Person, deed: Deed, number: usize, pull: Seen) -> Act {
    let mut commit = None;
    let id = pull.number;
    let done = match deed {
        Deed::PushToBranch => person.write(&pull.branch, &app(number), Some("evil: true\n")).is_some(),
        Deed::PushToSameFile => {
            let text = deployment(&format!("t{number}")) + "# by hand\n";
            commit = person.write("main", &app(number), Some(&text));
            commit.is_some()
        }
        Deed::PushElsewhere => {
            commit = person.write("main", &format!("apps/other{number}.yaml"), Some("a: 1\n"));
            commit.is_some()
        }
        Deed::Retarget => person.edit(id, &json!({ "base": "release" })),
        Deed::CloseAndReopen => {
            person.edit(id, &json!({ "state": "closed" })) && person.edit(id, &json!({ "state": "open" }))
        }
        Deed::Close => person.edit(id, &json!({ "state": "closed" })),
        Deed::Hold => {
            let labels = json!({ "labels": ["tars/hold"] });
            person.ask("POST", &format!("/issues/{id}/labels"), Some(&labels)).is_some()
        }
        Deed::PolicyToPropose => {
            commit = person.write("main", &policy_file(number), Some(&policy(number, "Propose")));
            commit.is_some()
        }
        Deed::PolicyRemoved => {
            commit = person.write("main", &policy_file(number), None);
            commit.is_some()
        }
        Deed::DeleteBranch => {
            let place = format!("/branches/{}", pull.branch.replace('/', "%2F"));
            person.ask("DELETE", &place, None).is_some()
        }
        Deed::MakeDraft => person.edit(id, &json!({ "title": "WIP: not yet" })),
    };
    Act { pull: Some(pull), done, commit }
}

fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|it| it.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_people_do_to_a_pull_request_while_tars_merges_it_only_computed_trees_arrive() {
    let rounds = asked_for("TARS_RACES").map_or(ROUNDS, |it| usize::try_from(it).unwrap());
    let seed = asked_for("TARS_RACES_SEED").unwrap_or(1);
    let (mut dice, mut counts) = (Dice(seed), Counts::default());
    for start in (0..rounds).step_by(ROUNDS_EACH) {
        let Some(mut place) = Place::new(&format!("races-{start}")) else { return };
        for round in start..rounds.min(start + ROUNDS_EACH) {
            let deed = DEEDS[round % DEEDS.len()];
            place.round(round - start, deed, &mut dice, &mut counts).await;
        }
        place.count(&mut counts);
        let done = rounds.min(start + ROUNDS_EACH);
        let _ = writeln!(std::io::stderr(), "seed {seed}, {done} rounds: {counts:#?}");
    }
    assert!(counts.merged_by_tars > 0, "nothing was merged: nothing was raced");
}
