//! `tars demo`: the main job with nothing installed. The reconciler, the git work, the signatures and the
//! files are the real ones; the clock, the cluster and the metrics are simulated.

mod source;
mod storm;
mod story;
mod workload;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::source::{APPLIED_QUERY, Measure, Simulated};
use self::story::Story;
use self::workload::Workload;
use self::world::{Cluster, World};
use super::args::{Demo, Scenario};
use super::failure::{Failure, Kind};
use super::output::{Console, Piece, Symbol, Table};
use super::settings;
use crate::detect::EnsembleSettings;
use crate::model::action::{ActionState, RemediationAction};
use crate::model::ids::{BranchName, InstanceId, RepoId, SignalName, WorkloadRef};
use crate::model::limits::GlobalLimits;
use crate::model::policy::Mode;
use crate::model::services::ServiceGraph;
use crate::model::signal::{ServiceOf, SourceKind};
use crate::observe::repository::Repository;
use crate::observe::signals::{SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::observe::spool::Spool;
use crate::observe::sync_probe::SyncProbe;
use crate::outside::clock::{Clock, VirtualClock};
use crate::outside::git::GitSettings;
use crate::outside::random;
use crate::outside::sign::{AllowedSigners, SigningKey};
use crate::outside::system;
use crate::propose::Writer;
use crate::reconcile::evidence::Observer;
use crate::reconcile::memory::Memory;
use crate::reconcile::{Parts, Reconciler, Rules};
use crate::render::Templates;

/// 2026-11-23T09:50:00Z: the virtual morning every scenario starts on.
const START_S: i64 = 1_795_427_400;
const STEP_S: u32 = 30;
/// Virtual time between two looks while something is going on, and while nothing is.
const TICK: Duration = Duration::from_secs(30);
const QUIET_TICK: Duration = Duration::from_secs(300);
/// A scenario that has not ended after this much virtual time has failed.
const VIRTUAL_END_S: i64 = 4 * 3600;
/// Score from which on the demo looks at every tick.
const LIVELY_SCORE: f64 = 0.5;

/// One scenario while it is played.
struct Stage<'c> {
    clock: VirtualClock,
    world: World,
    source: Simulated,
    cluster: Cluster,
    reconciler: Reconciler,
    story: Story<'c>,
}

/// Plays a scenario and ends by itself.
///
/// # Errors
/// When the story did not end as it must, or the folder cannot be used.
pub fn run(args: &Demo, console: &Console) -> Result<(), Failure> {
    if args.list {
        return list(console);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    runtime.block_on(play(args, console))
}

fn list(console: &Console) -> Result<(), Failure> {
    let scenarios = [
        ("latency-scaleout", "a surge; replicas 3 to 5 merge by themselves, and the scale-back is proposed"),
        ("bad-release-rollback", "a bad release; the image goes back once a person agrees (--approve)"),
        ("storm", "10,000 alerts and three competing replicas; one pull request"),
    ];
    let names: Vec<String> = scenarios.iter().map(|(name, _)| (*name).to_owned()).collect();
    let items: Vec<_> =
        scenarios.iter().map(|(name, what)| serde_json::json!({ "name": name, "story": what })).collect();
    let row = |(name, what): (&str, &str)| vec![Piece::from(name), Piece::from(what)];
    let rows = scenarios.into_iter().map(row).collect();
    console.list(&Table { headers: vec!["SCENARIO", "STORY"], wide: 0, rows }, &names, &items, "")
}

async fn play(args: &Demo, console: &Console) -> Result<(), Failure> {
    // The clones name the repository by its path, and git would read a relative one from elsewhere.
    let folder = match &args.keep {
        Some(folder) => std::path::absolute(folder).map_err(|error| {
            Failure::usage(format!("{} is no place for the demo", folder.display())).because(error)
        })?,
        None => fresh_folder()?,
    };
    let start = Timestamp::from_second(START_S).unwrap_or(Timestamp::UNIX_EPOCH);
    let clock = VirtualClock::at(start);
    let world = World::create(&folder, &clock)?;
    let story = Story::new(console);
    match args.scenario {
        Scenario::LatencyScaleout => latency_scaleout(args, Stage::new(args, clock, world, story)?).await,
        Scenario::BadReleaseRollback => bad_release(args, Stage::new(args, clock, world, story)?).await,
        Scenario::Storm => storm::play(args, &clock, &world, story).await,
    }
}

fn fresh_folder() -> Result<PathBuf, Failure> {
    let name = random::hex(4).map_err(|error| Failure::new(Kind::No, "no random bytes").because(error))?;
    Ok(system::temp_dir().join(format!("tars-demo-{name}")))
}

/// A constant that is known to be valid, as its checked type.
fn known<T, E: std::error::Error + Send + Sync + 'static>(made: Result<T, E>) -> Result<T, Failure> {
    made.map_err(|error| Failure::new(Kind::No, "could not prepare the demo").because(error))
}

/// The signals of the example's settings that the workload has: name, service, and what answers it.
const SIGNALS: [(&str, &str, Measure); 3] = [
    ("latency_p95", "backend", Measure::LatencyP95Ms),
    ("error_ratio", "backend", Measure::ErrorRatio),
    ("latency_p95", "frontend", Measure::FrontendLatencyP95Ms),
];
/// Who calls whom, as there.
const CALL: (&str, &str) = ("frontend", "backend");

fn query(name: &str, service: &str) -> String {
    format!("{service}:{name}")
}

fn after(start: Timestamp, minutes: i64) -> Timestamp {
    start.checked_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
}

/// The reconciler of one replica on `world`, as `tars run` would make it from the example's settings.
fn reconciler(
    world: &World,
    source: &Simulated,
    clock: &VirtualClock,
    instance: &str,
) -> Result<Reconciler, Failure> {
    let state_dir = world.folder.join(format!("state-{instance}"));
    let signal = |(name, service, _): (&str, &str, Measure)| -> Result<SignalConfig, Failure> {
        Ok(SignalConfig {
            signal: known(SignalName::new(name))?,
            service: ServiceOf::Named(known(SignalName::new(service))?),
            source: SourceKind::Prometheus,
            query: query(name, service),
            step_s: STEP_S,
            window_s: 86_400,
            period: Some(3_600 / STEP_S),
            staleness_s: 300,
        })
    };
    let configs = SIGNALS.into_iter().map(signal).collect::<Result<_, _>>()?;
    let allowed = known(AllowedSigners::load(Some(&world.allowed_signers), None))?;
    let instance = known(InstanceId::new(instance))?;
    let git = GitSettings {
        url: world.repository.display().to_string(),
        state_dir: state_dir.clone(),
        timeout_s: 30,
        clone_max_mib: 64,
        ssh_identity: None,
        ssh_known_hosts: None,
        name: "tars (demo)".to_owned(),
        email: "tars@demo.invalid".to_owned(),
        token: None,
    };
    let parts = Parts {
        clock: Arc::new(clock.clone()),
        observer: Observer::new(
            Sources::only(Arc::new(source.clone())),
            known(SignalWindows::new(configs))?,
            EnsembleSettings::default(),
        )
        .with_graph(ServiceGraph::of([CALL])),
        spool: Arc::new(known(Spool::open(&state_dir.join("inbox"), 86_400))?),
        writer: Writer {
            signer: known(SigningKey::load(&world.signing_key))?,
            name: git.name.clone(),
            email: git.email.clone(),
            main: known(BranchName::new("main"))?,
            ledger: known(BranchName::new("tars/ledger"))?,
        },
        memory: known(Memory::open(allowed, known(RepoId::new("demo"))?, instance, &state_dir))?,
        git,
        repository: Repository::new(world::policies_path()?),
        policies: None,
        owners: None,
        templates: known(Templates::built_in())?,
        rules: Rules {
            limits: GlobalLimits::default(),
            max_skew_s: 30,
            evidence_age_max_s: 300,
            sync_timeout_s: 1_200,
            batch: None,
        },
        probe: SyncProbe::Metric { query: APPLIED_QUERY.to_owned() },
        refresh: None,
        http: settings::http(Duration::from_secs(5))?,
        mode_ceiling: Mode::AutoMerge,
        desk: None,
    };
    Ok(Reconciler::new(parts))
}

fn queries() -> BTreeMap<String, Measure> {
    SIGNALS.into_iter().map(|(name, service, measure)| (query(name, service), measure)).collect()
}

impl<'c> Stage<'c> {
    fn new(args: &Demo, clock: VirtualClock, world: World, story: Story<'c>) -> Result<Self, Failure> {
        let workload = Workload { seed: args.seed, surge: None, running: Vec::new() };
        let source = Simulated::new(clock.clone(), workload, queries());
        let target = known(WorkloadRef::parse("production/Deployment/backend"))?;
        let mut cluster = Cluster::new(target)?;
        cluster.sync(&world, &source, true)?;
        let reconciler = reconciler(&world, &source, &clock, "demo")?;
        Ok(Self { clock, world, source, cluster, reconciler, story })
    }

    /// Plays until `done` says so; every tick first lets the cluster follow main.
    async fn until(
        &mut self,
        what: &str,
        done: impl Fn(&BTreeMap<String, RemediationAction>) -> bool,
    ) -> Result<(), Failure> {
        let end = START_S + VIRTUAL_END_S;
        while !done(self.story.records()) {
            if self.clock.now().as_second() > end {
                let failure = Failure::new(Kind::No, format!("the story did not reach its end: {what}"));
                let held = self.story.held().iter().map(|reason| format!("held: {reason}"));
                let failure = held.fold(failure, Failure::hint);
                return Err(failure.hint("this is a fault in tars; please report it with the seed"));
            }
            self.cluster.sync(&self.world, &self.source, false)?;
            let (evidence, report) = self.reconciler.tick().await;
            let lively = evidence.anomalies.iter().any(|it| it.score.get() >= LIVELY_SCORE)
                || !self.reconciler.memory().history().open.is_empty();
            self.story.tell(&evidence, report, self.reconciler.memory().history())?;
            self.clock.advance(if lively { TICK } else { QUIET_TICK });
        }
        Ok(())
    }

    fn waiting(&self) -> Option<RemediationAction> {
        self.story.records().values().find(|it| it.state() == ActionState::Proposed).cloned()
    }

    /// The human of `--approve`.
    fn approve(&mut self) -> Result<(), Failure> {
        let head = self.waiting().and_then(|record| record.spec.change.map(|change| change.head));
        let Some(head) = head else {
            return Err(Failure::new(Kind::No, "there is no proposal to approve"));
        };
        self.world.approve(&head)?;
        self.story.line(self.clock.now(), Symbol::Done, "a person merges it with plain git (--approve)")
    }
}

fn reached(records: &BTreeMap<String, RemediationAction>, state: ActionState) -> bool {
    records.values().any(|it| it.state() == state)
}

async fn latency_scaleout(args: &Demo, mut stage: Stage<'_>) -> Result<(), Failure> {
    stage
        .story
        .title("latency-scaleout: 24 h of simulated traffic, then a surge; simulated cluster, real git")?;
    let start = stage.clock.now();
    stage.source.with(|model| model.surge = Some((after(start, 8), after(start, 45))));
    stage.until("verified", |records| reached(records, ActionState::Verified)).await?;
    stage.story.cooldown(stage.reconciler.memory().history(), stage.clock.now())?;
    stage
        .until("the scale-back is proposed", |records| {
            reached(records, ActionState::Verified) && reached(records, ActionState::Proposed)
        })
        .await?;
    if args.approve {
        stage.approve()?;
        stage.until("the scale-back is verified", |records| reached(records, ActionState::Expired)).await?;
    }
    stage.story.end(&stage.world.repository)
}

async fn bad_release(args: &Demo, mut stage: Stage<'_>) -> Result<(), Failure> {
    stage.story.title("bad-release-rollback: a release raises 5xx; simulated cluster, real git")?;
    stage
        .until("a quiet start", {
            let clock = stage.clock.clone();
            move |_| clock.now().as_second() >= START_S + 480
        })
        .await?;
    let release = stage.world.release_bad_version()?;
    let now = stage.clock.now();
    stage.story.line(
        now,
        Symbol::Waiting,
        &format!("the platform team releases the backend as {}", release.short()),
    )?;
    stage.until("the rollback is proposed", |records| reached(records, ActionState::Proposed)).await?;
    if args.approve {
        stage.approve()?;
        stage.until("verified", |records| reached(records, ActionState::Verified)).await?;
    }
    stage.story.end(&stage.world.repository)
}
