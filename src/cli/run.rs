//! `tars run`: the reconciler as a process, with its HTTP side. Stopping it loses nothing: alerts are in the
//! inbox, everything else is in git.

use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::args::{LogFormat, ModeArg, Run};
use super::checklist::within;
use super::failure::{Failure, Kind, denied};
use super::inbox::{self, Inbox};
use super::output::Console;
use super::pace::{NUDGE_DISTANCE, Pace};
use super::settings::{self, Feeds};
use super::telling::Telling;
use crate::config::{self, Overrides, Settings};
use crate::model::ids::InstanceId;
use crate::outside::clock::{Clock, Stopwatch, SystemClock};
use crate::outside::system;
use crate::reconcile::Reconciler;
use crate::reconcile::error::{ErrorCategory, TurnError};
use crate::reconcile::evidence::Evidence;
use crate::reconcile::measure::{self, Said};
use crate::reconcile::report::TickReport;
use crate::report::pushgateway::Pushgateway;
use crate::report::remote_write::RemoteWrite;
use crate::serve::server::{self, Check, Readiness, Server};
use crate::telemetry::events::Event;
use crate::telemetry::names::Metrics;
use crate::telemetry::setup::{self, LogSettings};

/// How long a tick may still run after the process was asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Deadline of one push to the Pushgateway.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);

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
    let settings = settings::load(&args.config, &flags)?;
    start_log(&settings, console)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    let outcome = runtime.block_on(within(args.timeout, "the tick", reconcile(&settings, args.once)));
    if matches!(&outcome, Err(failure) if failure.kind == Kind::TimedOut) {
        // Nothing is half done: every write is one push, and the next tick reads what came of it.
        runtime.shutdown_background();
    }
    outcome
}

fn start_log(settings: &Settings, console: &Console) -> Result<(), Failure> {
    let log = LogSettings {
        format: match settings.log_format {
            config::LogFormat::Text => setup::LogFormat::Text,
            config::LogFormat::Json => setup::LogFormat::Json,
        },
        filter: format!("warn,tars_gitops={}", settings.log_level),
        ansi: console.colours_talk(),
    };
    setup::start(&log, io::stderr).map_err(|error| Failure::usage("could not start the log").because(error))
}

async fn reconcile(settings: &Settings, once: bool) -> Result<(), Failure> {
    system::outlive_file_size_limits();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Feeds { sources, pushed } = settings::feeds(settings, &clock)?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), []));
    let mut parts = settings::parts(settings, sources, &metrics).await?;
    let pace = Arc::new(Pace::new(NUDGE_DISTANCE));
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
    };
    let mut cluster = Telling::start(settings, &mut parts, &pace).await?;
    let mut reconciler = Reconciler::new(parts);
    if once {
        let watch = Stopwatch::start();
        let (evidence, report) = reconciler.tick().await;
        reconciler.keep();
        Notes { metrics, ready, said: Said::default() }.note(
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
    let (token, insecure_webhook) = inbox::token_check(settings)?;
    let push = inbox::push_door(settings)?;
    let serving = server::Settings { listen: settings.listen, token, insecure_webhook, forge_hooks, push };
    let server = Server::bind(serving, Arc::new(backend), Arc::clone(&metrics)).await.map_err(|error| {
        Failure::usage("could not start the HTTP side")
            .because(error)
            .hint("choose an address of this machine that is free: `listen` in the settings, or --listen")
    })?;
    let stop = Arc::new(Notify::new());
    let told = Arc::clone(&stop);
    let server = tokio::spawn(server.run(async move { told.notified().await }));
    let tick = Duration::from_secs(u64::from(settings.tick_s));
    let mut notes = Notes { metrics, ready, said: Said::default() };
    let mut told = Told::of(settings, reconciler.memory().instance(), cluster)?;
    turn(&mut reconciler, &mut notes, &pace, &mut told, tick).await?;
    reconciler.keep();
    if let Some(cluster) = &mut told.cluster {
        cluster.end().await;
    }
    stop.notify_one();
    Event::Stopped.emit();
    match server.await {
        Ok(Err(error)) => Err(Failure::new(Kind::No, "the HTTP side failed").because(error)),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
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
        if let Some(push) = &told.push {
            push.push(&notes.metrics).await;
        }
        if let Some(write) = &told.write {
            write.push(&notes.metrics, SystemClock.now()).await;
        }
        if let (Some(cluster), Some((evidence, _))) = (&mut told.cluster, &outcome) {
            cluster.tell(reconciler, evidence).await;
        }
        tokio::select! {
            () = pace.next(&watch, tick) => {}
            _ = &mut stop => return Ok(()),
        }
    }
}

/// Who is told after a tick, besides log and metrics.
struct Told {
    push: Option<Pushgateway>,
    write: Option<RemoteWrite>,
    cluster: Option<Telling>,
}

impl Told {
    fn of(settings: &Settings, instance: &InstanceId, cluster: Option<Telling>) -> Result<Self, Failure> {
        let push = match settings.pushgateway_url.as_deref() {
            Some(url) => {
                let http = settings::http(PUSH_TIMEOUT)?;
                Some(Pushgateway::new(http, url, instance, None))
            }
            None => None,
        };
        let write = match &settings.remote_write {
            Some((url, token_file)) => {
                let token = token_file.as_deref().map(settings::secret).transpose()?;
                let http = settings::http(PUSH_TIMEOUT)?;
                Some(RemoteWrite::new(http, url, instance, token))
            }
            None => None,
        };
        Ok(Self { push, write, cluster })
    }
}

fn starting() -> Readiness {
    let check = Check { name: "first-tick", ok: false, detail: "the first look is not finished".to_owned() };
    Readiness { checks: vec![check], newest_evidence_age_s: None }
}

/// Where a tick is told: metrics, readiness and log.
struct Notes {
    metrics: Arc<Metrics>,
    ready: Arc<RwLock<Readiness>>,
    said: Said,
}

impl Notes {
    fn note(&mut self, evidence: &Evidence, report: &TickReport, reconciler: &Reconciler, took: Duration) {
        measure::tick(&self.metrics, evidence, report, reconciler, (took, &mut self.said));
        let age = evidence.signals.values().filter_map(|state| state.age_s).min();
        let failed = report.errors.first().map(ToString::to_string);
        let checks = vec![
            Check { name: "first-tick", ok: true, detail: "done".to_owned() },
            Check {
                name: "repository",
                ok: failed.is_none(),
                detail: failed.unwrap_or_else(|| "read at the last tick".to_owned()),
            },
        ];
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) =
            Readiness { checks, newest_evidence_age_s: age };
    }
}
