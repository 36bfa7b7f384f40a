//! A reconciler on a virtual clock, a programmable metric source and a real bare repository in a temporary
//! folder, for tests of the whole order. Nothing in it is simulated but time and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::evidence::Observer;
use super::memory::{Memory, read_entry};
use super::report::TickReport;
use super::{Parts, Reconciler, Rules};
use crate::detect::EnsembleSettings;
use crate::ledger::MainCommit;
use crate::model::action::{ActionState, RemediationAction};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::entry::{Entry, Signer};
use crate::model::fixtures::at;
use crate::model::history::History;
use crate::model::ids::{BranchName, InstanceId, ObjectId, RepoId, RepoPath, SignalName, WorkloadRef};
use crate::model::limits::GlobalLimits;
use crate::model::policy::Mode;
use crate::model::signal::{Sample, ServiceOf, SignalKey, SourceKind};
use crate::observe::metrics::{InstantResult, MetricSource, RangeResult, SourceError};
use crate::observe::repository::Repository;
use crate::observe::signals::{SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::observe::spool::Spool;
use crate::observe::sync_probe::SyncProbe;
use crate::outside::clock::{Clock as _, OutsideClock, VirtualClock};
use crate::outside::files;
use crate::outside::git::{CommitDraft, GitSettings, Objects};
use crate::outside::http::{Http, HttpSettings};
use crate::outside::secret::Secret;
use crate::outside::sign::{AllowedSigners, SignatureCheck, SigningKey};
use crate::propose::Writer;
use crate::render::Templates;

pub const TICK: Duration = Duration::from_secs(30);
pub const MAIN: &str = "refs/heads/main";
pub const POLICY: &str = "policies/latency.yaml";
pub const APP: &str = "apps/backend.yaml";
/// The query of the signal that [`latency_policy`] is verified by; its level is 500 until it is set.
pub const LATENCY: &str = "latency";
/// The query of the trigger of [`latency_policy`]; it fires until it is quenched.
pub const SLOW: &str = "slow";

/// A deployment of three replicas.
pub fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  \
         replicas: 3 # three\n  selector:\n    matchLabels: {{ app: {name} }}\n  template:\n    metadata:\n      \
         labels: {{ app: {name} }}\n    spec:\n      containers:\n        - name: app\n          image: r.example/app:1\n"
    )
}

/// A policy that scales `target` by two while `query` answers, and judges by [`LATENCY`] below 250.
pub fn scale_policy(name: &str, target: &str, query: &str, mode: &str) -> String {
    format!(
        "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  \
         mode: {mode}\n  triggers:\n    - {{ type: promql, query: {query} }}\n  actions:\n    - type: ScaleOut\n      \
         scaleOut: {{ step: 2, maxReplicas: 10 }}\n  allowedResources: [Deployment/{target}]\n  verify:\n    \
         signal: latency_p95\n    service: backend\n    below: 250\n    window: 5m\n    within: 15m\n  revertAfter: 30m\n"
    )
}

pub fn latency_policy(mode: &str) -> String {
    scale_policy("latency", "backend", SLOW, mode)
}

/// Metrics as a test wants them.
#[derive(Debug, Clone)]
pub struct Metrics {
    clock: VirtualClock,
    state: Arc<Mutex<MetricState>>,
}

#[derive(Debug, Default)]
struct MetricState {
    /// Level from a time on, oldest first.
    levels: Vec<(Timestamp, Option<f64>)>,
    /// The same for one query alone.
    of_query: BTreeMap<String, Vec<(Timestamp, Option<f64>)>>,
    firing: BTreeSet<String>,
    /// How far the outside clock is ahead.
    ahead_s: i64,
    is_deaf: bool,
}

impl Metrics {
    /// From now on the latency has this level; `None`: no data.
    pub fn level(&self, level: impl Into<Option<f64>>) {
        self.state.lock().unwrap().levels.push((self.clock.now(), level.into()));
    }

    /// From now on what `query` measures has this level; its past is 100.
    pub fn level_of(&self, query: &str, level: f64) {
        let (mut state, now) = (self.state.lock().unwrap(), self.clock.now());
        let levels = state.of_query.entry(query.to_owned());
        levels.or_insert_with(|| vec![(Timestamp::MIN, Some(100.0))]).push((now, Some(level)));
    }

    pub fn fire(&self, query: &str) {
        self.state.lock().unwrap().firing.insert(query.to_owned());
    }

    pub fn quench(&self, query: &str) {
        self.state.lock().unwrap().firing.remove(query);
    }

    /// The past had this level, as far back as anybody asks; levels set before are forgotten.
    pub fn calm_past(&self, level: f64) {
        self.state.lock().unwrap().levels = vec![(Timestamp::MIN, Some(level))];
    }

    /// From now on queries of triggers are not answered, or are again.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.state.lock().unwrap().is_deaf = is_deaf;
    }

    pub fn outside_clock_ahead(&self, seconds: i64) {
        self.state.lock().unwrap().ahead_s = seconds;
    }
}

impl MetricSource for Metrics {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let state = self.state.lock().unwrap();
        let end = end.min(self.clock.now());
        let times = std::iter::successors(Some(start), |it| {
            it.checked_add(SignedDuration::from_secs(i64::from(step_s))).ok()
        });
        let levels = state.of_query.get(query).unwrap_or(&state.levels);
        let value = |at: Timestamp| levels.iter().rev().find(|it| it.0 <= at).and_then(|it| it.1);
        let sample = |at| value(at).map(|value| Sample { at, value });
        let samples = times.take_while(|it| *it <= end).filter_map(sample).collect();
        std::future::ready(Ok(RangeResult::one(samples))).boxed()
    }

    fn instant<'a>(
        &'a self,
        query: &'a str,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        let state = self.state.lock().unwrap();
        if state.is_deaf {
            return std::future::ready(Err(SourceError::OutOfTime)).boxed();
        }
        let non_empty = state.firing.contains(query);
        std::future::ready(Ok(InstantResult { non_empty, value: non_empty.then_some(1.0) })).boxed()
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        let now = self.clock.now();
        let ahead = SignedDuration::from_secs(self.state.lock().unwrap().ahead_s);
        Some(OutsideClock { says: now.checked_add(ahead).unwrap(), seen_at: now })
    }
}

/// The shared repository, the clock and the metrics; any number of reconcilers may watch it.
pub struct World {
    temp: tempfile::TempDir,
    pub hub: PathBuf,
    pub clock: VirtualClock,
    pub metrics: Metrics,
    person: SigningKey,
    /// Address and token of a server that keeps the repository; `None`: reconcilers use the folder itself.
    remote: Option<(String, Secret)>,
}

impl World {
    /// A repository with one deployment, `shop/Deployment/backend`, and one policy.
    pub fn new(policy: &str) -> Self {
        Self::with(&[(APP, &deployment("backend")), (POLICY, policy)])
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let hub = temp.path().join("hub.git");
        Objects::init_bare(&hub).unwrap();
        let world = Self::around(temp, hub, None);
        let edits: Vec<_> = files.iter().map(|(path, text)| (*path, Some(*text))).collect();
        world.commit(&edits);
        world
    }

    /// Around a repository that a server keeps: `hub` is where it lies on the disk, for looking only.
    pub fn on_server(hub: PathBuf, url: String, token: Secret) -> Self {
        Self::around(tempfile::tempdir().unwrap(), hub, Some((url, token)))
    }

    fn around(temp: tempfile::TempDir, hub: PathBuf, remote: Option<(String, Secret)>) -> Self {
        let clock = VirtualClock::at(at(86_400));
        let metrics = Metrics { clock: clock.clone(), state: Arc::default() };
        metrics.fire(SLOW);
        metrics.state.lock().unwrap().levels.push((Timestamp::MIN, Some(500.0)));
        let (_, public) = SigningKey::generate(&temp.path().join("key")).unwrap();
        let line = format!("tars@x namespaces=\"git\" {public}\n");
        files::write_durable(&temp.path().join("allowed"), line.as_bytes()).unwrap();
        let (person, _) = SigningKey::generate(&temp.path().join("person")).unwrap();
        Self { temp, hub, clock, metrics, person, remote }
    }

    /// A process that watches the repository; the same name finds its state folder again.
    pub fn reconciler(&self, instance: &str) -> Reconciler {
        self.reconciler_with(instance, |_| {})
    }

    pub fn reconciler_with(&self, instance: &str, change: impl FnOnce(&mut Parts)) -> Reconciler {
        let state_dir = self.state_dir(instance);
        let config = SignalConfig {
            signal: signal().signal,
            service: ServiceOf::Named(signal().service),
            source: SourceKind::Prometheus,
            query: LATENCY.to_owned(),
            step_s: 30,
            window_s: 2_400,
            period: None,
            staleness_s: 300,
        };
        let (url, token) = match &self.remote {
            Some((url, token)) => (url.clone(), Some(token.clone())),
            None => (self.hub.to_str().unwrap().to_owned(), None),
        };
        let git = GitSettings {
            url,
            state_dir: state_dir.clone(),
            timeout_s: 60,
            clone_max_mib: 64,
            ssh_identity: None,
            ssh_known_hosts: None,
            name: "tars".to_owned(),
            email: "tars@example.org".to_owned(),
            token,
        };
        let mut parts = Parts {
            clock: Arc::new(self.clock.clone()),
            observer: Observer::new(
                Sources::only(Arc::new(self.metrics.clone())),
                SignalWindows::new(vec![config]).unwrap(),
                EnsembleSettings::default(),
            ),
            spool: Arc::new(Spool::open(&state_dir.join("inbox"), 86_400).unwrap()),
            writer: Writer {
                signer: SigningKey::load(&self.temp.path().join("key")).unwrap(),
                name: git.name.clone(),
                email: git.email.clone(),
                main: BranchName::new("main").unwrap(),
                ledger: BranchName::new("tars/ledger").unwrap(),
            },
            memory: self.memory(instance),
            git,
            repository: Repository::new(RepoPath::new("policies").unwrap()),
            policies: None,
            owners: None,
            templates: Templates::built_in().unwrap(),
            rules: Rules {
                limits: GlobalLimits::default(),
                max_skew_s: 30,
                evidence_age_max_s: 300,
                sync_timeout_s: 1_200,
                batch: None,
            },
            probe: SyncProbe::FixedWait { wait_s: 30 },
            refresh: None,
            http: http(),
            mode_ceiling: Mode::AutoMerge,
            desk: None,
        };
        change(&mut parts);
        Reconciler::new(parts)
    }

    /// What `instance` knows of the ledger when it starts.
    pub fn memory(&self, instance: &str) -> Memory {
        let allowed = AllowedSigners::load(Some(&self.temp.path().join("allowed")), None).unwrap();
        let (repo, id) = (RepoId::new("test").unwrap(), InstanceId::new(instance).unwrap());
        Memory::open(allowed, repo, id, &self.state_dir(instance)).unwrap()
    }

    fn state_dir(&self, instance: &str) -> PathBuf {
        self.temp.path().join(format!("state-{instance}"))
    }

    /// A key of somebody who may not write the ledger.
    pub fn unlisted_key(&self) -> SigningKey {
        SigningKey::load(&self.temp.path().join("person")).unwrap()
    }

    pub fn objects(&self) -> Objects {
        Objects::open(&self.hub).unwrap()
    }

    pub fn head(&self, branch: &str) -> Option<ObjectId> {
        let head = self.objects().resolve(branch).unwrap();
        head.map(|head| ObjectId::new(head).unwrap())
    }

    pub fn main(&self) -> ObjectId {
        self.head(MAIN).unwrap()
    }

    /// A person commits to main: contents, or `None` to remove a file.
    pub fn commit(&self, edits: &[(&str, Option<&str>)]) -> ObjectId {
        self.commit_on(MAIN, edits)
    }

    /// A person or a bot commits to a branch, which starts at main.
    pub fn commit_on(&self, branch: &str, edits: &[(&str, Option<&str>)]) -> ObjectId {
        let (objects, head) = (self.objects(), self.head(branch));
        let parent = head.clone().or_else(|| self.head(MAIN));
        let edits =
            edits.iter().map(|(path, text)| ((*path).to_owned(), text.map(|it| it.as_bytes().to_vec())));
        let draft = CommitDraft {
            base_tree: parent.as_ref().map(ToString::to_string),
            edits: edits.collect(),
            parents: parent.iter().map(ToString::to_string).collect(),
            message: "Somebody's work\n".to_owned(),
            author: ("Person".to_owned(), "person@example.org".to_owned()),
            time_s: self.clock.now().as_second(),
        };
        let written = objects.write_commit(&draft, &self.person).unwrap();
        objects.set_local_ref(branch, &written.commit, head.as_ref().map(ObjectId::as_str)).unwrap();
        ObjectId::new(written.commit).unwrap()
    }

    /// Moves any branch anywhere, as a person with force would; `None` deletes it.
    pub fn force(&self, branch: &str, to: Option<&ObjectId>) {
        let hub = git2::Repository::open_bare(&self.hub).unwrap();
        match to {
            Some(to) => {
                drop(hub.reference(branch, git2::Oid::from_str(to.as_str()).unwrap(), true, "").unwrap());
            }
            None => hub.find_reference(branch).unwrap().delete().unwrap(),
        }
    }

    /// A person brings `commits` into main, one after the other, each as git would cherry-pick it.
    pub fn cherry_pick(&self, commits: &[ObjectId]) {
        for commit in commits {
            let message = self.objects().commit(commit.as_str()).unwrap().message;
            self.apply(commit, &message, |hub, commit, main| hub.cherrypick_commit(commit, main, 0, None));
        }
    }

    /// A person reverts one commit of main, as git would.
    pub fn revert(&self, commit: &ObjectId) {
        let message = format!("Revert {}\n", commit.short());
        self.apply(commit, &message, |hub, commit, main| hub.revert_commit(commit, main, 0, None));
    }

    fn apply(
        &self,
        commit: &ObjectId,
        message: &str,
        how: impl Fn(&git2::Repository, &git2::Commit<'_>, &git2::Commit<'_>) -> Result<git2::Index, git2::Error>,
    ) {
        let hub = git2::Repository::open_bare(&self.hub).unwrap();
        let find = |id: &ObjectId| hub.find_commit(git2::Oid::from_str(id.as_str()).unwrap()).unwrap();
        let (commit, main) = (find(commit), find(&self.main()));
        let mut index = how(&hub, &commit, &main).unwrap();
        assert!(!index.has_conflicts(), "it does not apply cleanly");
        let tree = hub.find_tree(index.write_tree_to(&hub).unwrap()).unwrap();
        let now = git2::Time::new(self.clock.now().as_second(), 0);
        let person = git2::Signature::new("Person", "person@example.org", &now).unwrap();
        hub.commit(Some(MAIN), &person, &person, message, &tree, &[&main]).unwrap();
    }

    /// A person merges a commit into main: with a merge commit, or squashed into one.
    pub fn merge(&self, commit: &ObjectId, squash: bool) {
        let hub = git2::Repository::open_bare(&self.hub).unwrap();
        let find = |id: &ObjectId| hub.find_commit(git2::Oid::from_str(id.as_str()).unwrap()).unwrap();
        let (commit, main) = (find(commit), find(&self.main()));
        let mut index = hub.merge_commits(&main, &commit, None).unwrap();
        assert!(!index.has_conflicts(), "it does not merge cleanly");
        let tree = hub.find_tree(index.write_tree_to(&hub).unwrap()).unwrap();
        let now = git2::Time::new(self.clock.now().as_second(), 0);
        let person = git2::Signature::new("Person", "person@example.org", &now).unwrap();
        let parents = if squash { vec![&main] } else { vec![&main, &commit] };
        hub.commit(Some(MAIN), &person, &person, "Merge it\n", &tree, &parents).unwrap();
    }

    /// What `tars audit verify` would say of the repository as it is now.
    pub fn audit(&self) -> crate::ledger::AuditReport {
        let (objects, allowed) =
            (self.objects(), AllowedSigners::load(Some(&self.temp.path().join("allowed")), None).unwrap());
        let read = |commit: String| {
            let raw = objects.commit(&commit).unwrap();
            MainCommit {
                commit: ObjectId::new(raw.id).unwrap(),
                parents: raw.parents.into_iter().map(|it| ObjectId::new(it).unwrap()).collect(),
                tree: ObjectId::new(raw.tree).unwrap(),
                signer: match allowed.verify(&raw.payload, raw.signature.as_deref(), raw.time_s) {
                    SignatureCheck::Allowed(key) => Signer::Allowed(key),
                    SignatureCheck::Unsigned => Signer::Unsigned,
                    SignatureCheck::Rejected(why) => Signer::Rejected(why),
                },
                message: raw.message,
                time: Timestamp::from_second(raw.time_s).unwrap(),
            }
        };
        let main = objects.walk_all(&[self.main().as_str()], 10_000).unwrap();
        crate::ledger::audit(&self.entries(), &main.into_iter().map(read).collect::<Vec<_>>())
    }

    /// Installs a hook on the shared side.
    pub fn hook(&self, name: &str, script: &str) {
        let hooks = self.hub.join("hooks");
        files::create_private_dir(&hooks).unwrap();
        files::write_new(&hooks.join(name), format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755).unwrap();
    }

    /// The same commit with a message that is not UTF-8, as an old editor writes it.
    pub fn with_latin1_message(&self, commit: &ObjectId) -> ObjectId {
        let hub = git2::Repository::open_bare(&self.hub).unwrap();
        let odb = hub.odb().unwrap();
        let oid = git2::Oid::from_str(commit.as_str()).unwrap();
        let raw = odb.read(oid).unwrap().data().to_vec();
        let end = raw.windows(2).position(|it| it == b"\n\n").unwrap();
        let odd = [&raw[..end], b"\nencoding ISO-8859-1\n\nZur\xfcck\n"].concat();
        let written = odb.write(git2::ObjectType::Commit, &odd).unwrap();
        ObjectId::new(written.to_string()).unwrap()
    }

    /// Text of a file on main.
    pub fn file(&self, path: &str) -> String {
        let hub = git2::Repository::open_bare(&self.hub).unwrap();
        let tree = hub.find_reference(MAIN).unwrap().peel_to_tree().unwrap();
        let blob = tree.get_path(path.as_ref()).unwrap().to_object(&hub).unwrap().peel_to_blob().unwrap();
        String::from_utf8(blob.content().to_vec()).unwrap()
    }

    /// All branches but main and the ledger.
    pub fn proposals(&self) -> BTreeMap<String, String> {
        let mut refs = self.objects().refs("refs/heads/").unwrap();
        refs.retain(|name, _| name != MAIN && name != "refs/heads/tars/ledger");
        refs
    }

    /// Every entry of the ledger, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        let Some(head) = self.head("refs/heads/tars/ledger") else { return Vec::new() };
        let objects = self.objects();
        let commits = objects.walk(head.as_str(), None, 10_000).unwrap();
        let read =
            |commit: &String| read_entry(&objects, &ObjectId::new(commit.as_str()).unwrap(), None).unwrap();
        commits.iter().rev().map(read).collect()
    }

    /// The states of the ledger's transitions, oldest first, with the policy of each.
    pub fn story(&self) -> Vec<(String, ActionState)> {
        let row = |entry: Entry| entry.record.map(|it| (it.spec.policy.to_string(), it.state()));
        self.entries().into_iter().filter_map(row).collect()
    }

    pub fn states(&self) -> Vec<ActionState> {
        self.story().into_iter().map(|(_, state)| state).collect()
    }

    /// One tick, then time passes.
    pub async fn tick(&self, reconciler: &mut Reconciler) -> TickReport {
        let (_, report) = reconciler.tick().await;
        self.clock.advance(TICK);
        report
    }

    /// Ticks without an error until `done`, at most `ticks` times; returns the last report.
    pub async fn until(
        &self,
        reconciler: &mut Reconciler,
        ticks: usize,
        done: impl Fn(&History) -> bool,
    ) -> TickReport {
        for _ in 0..ticks {
            let report = self.tick(reconciler).await;
            assert!(report.errors.is_empty(), "{:#?}\n{:?}", report.errors, self.story());
            if done(reconciler.memory().history()) {
                return report;
            }
        }
        panic!("not reached: {:?}", self.story());
    }

    /// Runs for `ticks`, whatever happens; returns the last report.
    pub async fn run(&self, reconciler: &mut Reconciler, ticks: usize) -> TickReport {
        let mut report = TickReport::default();
        for _ in 0..ticks {
            report = self.tick(reconciler).await;
        }
        report
    }
}

fn http() -> Http {
    let settings = HttpSettings {
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        body_max: 1024,
        user_agent: "test".to_owned(),
        authorities: None,
    };
    Http::new(&settings).unwrap()
}

pub fn signal() -> SignalKey {
    let name = |text: &str| SignalName::new(text).unwrap();
    SignalKey { signal: name("latency_p95"), service: name("backend") }
}

pub fn target(name: &str) -> WorkloadRef {
    WorkloadRef::parse(&format!("shop/Deployment/{name}")).unwrap()
}

/// The open action of `shop/Deployment/<name>`.
pub fn open<'a>(history: &'a History, name: &str) -> Option<&'a RemediationAction> {
    history.open_for(&target(name))
}

pub fn alert(name: &str, status: AlertStatus, starts_at: Timestamp) -> Alert {
    let labels = [("alertname", name), ("namespace", "shop"), ("deployment", "backend")];
    Alert {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        fingerprint: "00ff".to_owned(),
        status,
        starts_at,
        ends_at: None,
        owner: None,
    }
}
