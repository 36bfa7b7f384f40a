//! `tars run`: the reconciler as a process, with its HTTP side. Stopping it loses nothing: alerts are in the
//! inbox, everything else is in git.

use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::args::{LogFormat, ModeArg, Run};
use super::checklist::within;
use super::detector;
use super::failure::{Failure, Kind, denied};
use super::inbox::{self, Inbox};
use super::outlets::Outlets;
use super::output::Console;
use super::pace::{NUDGE_DISTANCE, Pace};
use super::serving::Serving;
use super::settings::{self, Feeds};
use super::telling::Telling;
use crate::config::{self, InForce, Overrides, Settings, Watching};
use crate::observe::signals::SignalConfig;
use crate::outside::clock::{Clock, Stopwatch, SystemClock};
use crate::outside::system;
use crate::reconcile::Reconciler;
use crate::reconcile::error::{ErrorCategory, TurnError};
use crate::reconcile::evidence::Evidence;
use crate::reconcile::measure::{self, Said};
use crate::reconcile::report::TickReport;
use crate::serve::server::{self, Check, Readiness};
use crate::telemetry::events::Event;
use crate::telemetry::names::Metrics;
use crate::telemetry::setup::{self, LogSettings};

/// How long a tick may still run after the process was asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// A tick that takes longer than this, than so many of them should, and than its git commands may, hangs: whoever asks `/healthz`
/// starts the process anew.
const STUCK_LEAST: Duration = Duration::from_secs(30 * 60);
const STUCK_TICKS: u32 = 20;
const STUCK_GIT_COMMANDS: u32 = 4;

/// Runs until asked to stop.
///
/// # Errors
/// When the settings are wrong, the port is taken, or (with `--once`) the tick failed or took too long.
pub fn run(args: &Run, console: &Console) -> Result<(), Failure> {
    let mode = args.mode.map(|mode| match mode {
        ModeArg::Observe => "Observe",
        ModeArg::Propose => "Propose",
        ModeArg::Auto => "AutoMerge",
    });
    let format = args.log_format.map(|format| match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    });
    let level = match args.verbose {
        0 if console.is_quiet() => Some("error"),
        0 => None,
        1 => Some("debug"),
        _ => Some("trace"),
    };
    let flags = Overrides::default()
        .with("mode", mode.map(str::to_owned))
        .with("listen", args.listen.clone())
        .with("webhook.insecure", args.insecure_webhook.then(|| "true".to_owned()))
        .with("log.format", format.map(str::to_owned))
        .with("log.level", level.map(str::to_owned));
    let settings = settings::load_role(&args.config, &flags)?;
    start_log(settings.watching(), console)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    let work = async {
        match &settings {
            InForce::Detector(settings) => detector::watch(settings, args.once).await,
            InForce::Whole(settings) => reconcile(settings, args.once).await,
        }
    };
    let outcome = runtime.block_on(within(args.timeout, "the tick", work));
    if matches!(&outcome, Err(failure) if failure.kind == Kind::TimedOut) {
        // Nothing is half done: every write is one push, and the next tick reads what came of it.
        runtime.shutdown_background();
    }
    outcome
}

fn start_log(settings: &Watching, console: &Console) -> Result<(), Failure> {
    let log = LogSettings {
        format: match settings.log_format {
            config::LogFormat::Text => setup::LogFormat::Text,
            config::LogFormat::Json => setup::LogFormat::Json,
        },
        // What the Kubernetes client says about a failed request, an Event of ours says with the reason.
        filter: format!("warn,kube_client=off,tars_gitops={}", settings.log_level),
        ansi: console.colours_talk(),
    };
    setup::start(&log, io::stderr).map_err(|error| Failure::usage("could not start the log").because(error))
}

async fn reconcile(settings: &Settings, once: bool) -> Result<(), Failure> {
    system::outlive_file_size_limits();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Feeds { sources, pushed } = settings::feeds(&settings.watching, &clock)?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), []));
    let mut parts = settings::parts(settings, sources, &metrics).await?;
    let pace =
        Arc::new(Pace::new(NUDGE_DISTANCE, stuck_after(settings.watching.tick_s, settings.git_timeout_s)));
    let hooks = settings::forge_hooks(settings)?;
    let ready = Arc::new(RwLock::new(starting()));
    Event::Started { version: env!("CARGO_PKG_VERSION"), instance: parts.memory.instance().as_str() }.emit();
    for file in parts.spool.unreadable() {
        Event::InboxFileUnreadable { file }.emit();
    }
    let forge_hooks = hooks.is_some();
    let backend = Inbox {
        spool: Arc::clone(&parts.spool),
        hooks,
        pace: Arc::clone(&pace),
        ready: Arc::clone(&ready),
        pushed,
        ensemble: settings::ensemble(&settings.watching),
    };
    let mut cluster = Telling::start(settings, &mut parts, &pace).await?;
    let mut reconciler = Reconciler::new(parts);
    let signals = settings::signals(&settings.watching);
    if once {
        let watch = Stopwatch::start();
        let (evidence, report) = reconciler.tick().await;
        reconciler.keep();
        Notes { metrics, ready, said: Said::default(), signals }.note(
            &evidence,
            &report,
            &reconciler,
            watch.elapsed(),
        );
        if let Some(cluster) = &mut cluster {
            cluster.tell(&mut reconciler, &evidence).await;
            cluster.end().await;
        }
        return report.errors.into_iter().next().map_or(Ok(()), |error| Err(tick_failed(error)));
    }
    let doors = server::Settings {
        listen: settings.watching.listen,
        webhook: inbox::webhook_door(settings)?,
        forge_hooks,
        push: inbox::push_door(&settings.watching)?,
        anomalies: None,
    };
    let serving = Serving::start(doors, Arc::new(backend), &metrics).await?;
    let tick = Duration::from_secs(u64::from(settings.watching.tick_s));
    let mut notes = Notes { metrics, ready, said: Said::default(), signals };
    // The detectors send the scores.
    let outlets = match &settings.detectors {
        Some(_) => Outlets::default(),
        None => Outlets::of(&settings.watching)?,
    };
    let mut told = Told { outlets, cluster };
    turn(&mut reconciler, &mut notes, &pace, &mut told, tick).await?;
    reconciler.keep();
    told.outlets.end(&notes.metrics).await;
    if let Some(cluster) = &mut told.cluster {
        cluster.end().await;
    }
    serving.end().await
}

/// No tick takes this long, whose git commands may take so much each.
pub fn stuck_after(tick_s: u32, git_timeout_s: u32) -> Duration {
    let ticks = STUCK_TICKS * Duration::from_secs(tick_s.into());
    STUCK_LEAST.max(ticks).max(STUCK_GIT_COMMANDS * Duration::from_secs(git_timeout_s.into()))
}

/// What could not be done with the remote and its ledger, for people.
pub fn tick_failed(error: TurnError) -> Failure {
    let kind = match error.category() {
        ErrorCategory::Remote if denied(&error) => Kind::Denied,
        ErrorCategory::Remote => Kind::Unreachable,
        ErrorCategory::Ledger => Kind::Refused,
        ErrorCategory::Configuration => Kind::Usage,
        ErrorCategory::Local => Kind::No,
    };
    let hint = error.hint();
    Failure::new(kind, "the tick failed").because(error).hint(hint)
}

/// Ticks until asked to stop. A tick that is under way then may finish.
async fn turn(
    reconciler: &mut Reconciler,
    notes: &mut Notes,
    pace: &Pace,
    told: &mut Told,
    tick: Duration,
) -> Result<(), Failure> {
    let mut stop = pin!(system::stop_requested());
    loop {
        let watch = Stopwatch::start();
        let (outcome, stopping) = {
            let mut ticking = pin!(reconciler.tick());
            tokio::select! {
                outcome = &mut ticking => (Some(outcome), false),
                _ = &mut stop => (tokio::time::timeout(STOP_GRACE, ticking).await.ok(), true),
            }
        };
        if let Some((evidence, report)) = &outcome {
            notes.note(evidence, report, reconciler, watch.elapsed());
        }
        if stopping {
            return Ok(());
        }
        // What is not told when the process ends, the next one tells.
        let telling = async {
            told.outlets.send(&notes.metrics).await;
            if let (Some(cluster), Some((evidence, _))) = (&mut told.cluster, &outcome) {
                cluster.tell(reconciler, evidence).await;
            }
            pace.next(&watch, tick).await;
        };
        tokio::select! {
            () = telling => {}
            _ = &mut stop => return Ok(()),
        }
    }
}

/// Who is told after a tick, besides log and metrics.
struct Told {
    outlets: Outlets,
    cluster: Option<Telling>,
}

/// What is ready before the first look.
pub fn starting() -> Readiness {
    let check = Check { name: "first-tick", ok: false, detail: "the first look is not finished".to_owned() };
    Readiness { checks: vec![check], newest_evidence_age_s: None }
}

/// Where a tick is told: metrics, readiness and log.
struct Notes {
    metrics: Arc<Metrics>,
    ready: Arc<RwLock<Readiness>>,
    said: Said,
    signals: Vec<SignalConfig>,
}

impl Notes {
    fn note(&mut self, evidence: &Evidence, report: &TickReport, reconciler: &Reconciler, took: Duration) {
        measure::tick(&self.metrics, evidence, report, reconciler, (took, &mut self.said));
        measure::availability(&self.metrics, evidence, &self.signals);
        let age = evidence.signals.values().filter_map(|state| state.age_s).min();
        let failed = report.errors.first().map(ToString::to_string);
        let mut checks = vec![
            Check { name: "first-tick", ok: true, detail: "done".to_owned() },
            Check {
                name: "repository",
                ok: failed.is_none(),
                detail: failed.unwrap_or_else(|| "read at the last tick".to_owned()),
            },
        ];
        // A detector that is away holds what it sees; there is nothing that another process would do better.
        if let Some(gathered) = &evidence.gathered {
            let (all, lost) = (gathered.total(), gathered.lost().count());
            let detail = format!("{} of {all} answer", all - lost);
            checks.push(Check { name: "detectors", ok: true, detail });
        }
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) =
            Readiness { checks, newest_evidence_age_s: age };
    }
}
