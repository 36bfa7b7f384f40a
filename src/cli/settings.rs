//! Reads the settings file and makes from it what a reconciler consists of. The same parts for `tars run`,
//! `tars check` and `tars config`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, Kind};
use crate::config::{self, Overrides, Settings, SyncSettings};
use crate::detect::EnsembleSettings;
use crate::model::ids::InstanceId;
use crate::observe::prometheus::Prometheus;
use crate::observe::repository::Repository;
use crate::observe::signals::{SignalConfig, SignalWindows};
use crate::observe::spool::{Spool, SpoolError};
use crate::observe::sync_probe::SyncProbe;
use crate::outside::clock::{Clock, SystemClock};
use crate::outside::files::{self, FileError};
use crate::outside::git::GitSettings;
use crate::outside::http::{Http, HttpSettings};
use crate::outside::random;
use crate::outside::secret::Secret;
use crate::outside::sign::{AllowedSigners, SshSigner};
use crate::outside::system;
use crate::propose::Writer;
use crate::reconcile::evidence::Observer;
use crate::reconcile::memory::Memory;
use crate::reconcile::{Parts, Rules};
use crate::render::Templates;

const SETTINGS_BYTES_MAX: usize = 1024 * 1024;
/// Alerts older than this are forgotten even if nobody ever said "resolved".
const ALERT_AGE_MAX_S: u32 = 7 * 86_400;
/// Most bytes of one answer of Prometheus.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads and resolves the settings.
///
/// # Errors
/// When the file cannot be read or a setting is wrong; names file, line, field and fix.
pub fn load(file: &Path, flags: &Overrides) -> Result<Settings, Failure> {
    let bytes = files::read_bounded(file, SETTINGS_BYTES_MAX).map_err(|error| {
        Failure::usage(format!("could not read the settings in {}", file.display())).because(error).hint(
            "name the file with --config FILE or TARS_CONFIG; tars config schema prints what may stand in it",
        )
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let wrong = |error| Failure::usage("the settings are not valid").because(error);
    let raw = config::parse(&text, &file.display().to_string()).map_err(wrong)?;
    config::resolve(&raw, &system::var, flags).map_err(wrong)
}

fn failed(what: &str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Failure {
    let message = format!("could not prepare {what}");
    move |source| Failure { source: Some(source), ..Failure::new(Kind::Usage, message.clone()) }
}

/// A secret kept in a file.
///
/// # Errors
/// When the file cannot be read.
pub fn secret(file: &Path) -> Result<Secret, Failure> {
    Secret::from_file(file)
        .map_err(|error| failed(&format!("the secret in {}", file.display()))(error.into()))
}

/// The clone's settings.
fn git(settings: &Settings) -> Result<GitSettings, Failure> {
    Ok(GitSettings {
        url: settings.repository_url.clone(),
        state_dir: settings.state_dir.clone(),
        timeout_s: settings.git_timeout_s,
        ssh_identity: None,
        ssh_known_hosts: None,
        name: settings.signing.name.clone(),
        email: settings.signing.email.clone(),
        token: settings.git_token_file.as_deref().map(secret).transpose()?,
    })
}

/// The metric source.
///
/// # Errors
/// When the HTTP client or the token file cannot be used.
pub fn prometheus(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Prometheus, Failure> {
    let http = http(Duration::from_secs(u64::from(settings.prometheus_timeout_s)))?;
    let token = settings.prometheus_token_file.as_deref().map(secret).transpose()?;
    Ok(Prometheus::new(http, clock, &settings.prometheus_url, token))
}

/// An HTTP client with this deadline.
///
/// # Errors
/// When TLS cannot be set up.
pub fn http(timeout: Duration) -> Result<Http, Failure> {
    let settings = HttpSettings {
        timeout,
        connect_timeout: CONNECT_TIMEOUT,
        body_max: ANSWER_BYTES_MAX,
        user_agent: concat!("tars/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Http::new(&settings).map_err(|error| failed("the HTTP client")(error.into()))
}

/// How the settings say a commit is recognised as applied.
#[must_use]
pub fn probe(settings: &Settings) -> SyncProbe {
    match &settings.sync {
        SyncSettings::FixedWait { wait_s } => SyncProbe::FixedWait { wait_s: *wait_s },
        SyncSettings::Http { url } => SyncProbe::Http { url: url.clone() },
        SyncSettings::Metric { query } => SyncProbe::Metric { query: query.clone() },
    }
}

/// Signals as the observer wants them.
#[must_use]
pub fn signals(settings: &Settings) -> Vec<SignalConfig> {
    let signal = |it: &config::SignalSettings| SignalConfig {
        key: it.key.clone(),
        query: it.query.clone(),
        step_s: it.step_s,
        window_s: it.window_s,
        period: it.period,
        staleness_s: it.staleness_s,
    };
    settings.signals.iter().map(signal).collect()
}

fn instance(settings: &Settings) -> Result<InstanceId, Failure> {
    if let Some(instance) = &settings.instance {
        return Ok(instance.clone());
    }
    let suffix = random::hex(3).map_err(|error| failed("an instance name")(error.into()))?;
    let name: String = system::instance_name().chars().take(48).collect();
    InstanceId::new(format!("{name}-{suffix}")).map_err(|error| failed("an instance name")(error.into()))
}

/// The part of a reconciler that reads and writes git. Any number of them may share one state folder.
#[derive(Debug)]
pub struct GitSide {
    pub git: GitSettings,
    pub writer: Writer,
    pub memory: Memory,
}

/// Keys and folders for reading and writing git.
///
/// # Errors
/// When a key, or the list of allowed ones, cannot be used.
pub fn git_side(settings: &Settings) -> Result<GitSide, Failure> {
    files::create_private_dir(&settings.state_dir)
        .map_err(|error| failed("the state folder")(error.into()))?;
    let signing = &settings.signing;
    let signer = SshSigner::load(&signing.key_file).map_err(|error| {
        failed(&format!("the signing key in {}", signing.key_file.display()))(error.into())
            .hint(format!("to make one: ssh-keygen -t ed25519 -N '' -f {}", signing.key_file.display()))
    })?;
    let allowed_file = &signing.allowed_signers_file;
    let allowed = AllowedSigners::load(allowed_file).map_err(|error| {
        failed(&format!("the allowed signers in {}", allowed_file.display()))(error.into())
    })?;
    if !allowed.fingerprints().contains(&signer.fingerprint()) {
        return Err(Failure::usage(format!(
            "the signing key is not one of the keys in {}",
            allowed_file.display()
        ))
        .hint("add the line of its .pub file there, or tars would not believe its own ledger"));
    }
    Ok(GitSide {
        git: git(settings)?,
        writer: Writer {
            signer,
            name: signing.name.clone(),
            email: signing.email.clone(),
            main: settings.branch.clone(),
            ledger: settings.ledger_branch.clone(),
        },
        memory: Memory::new(allowed, settings.repo_id.clone(), instance(settings)?, &settings.state_dir),
    })
}

/// The inbox for alerts. One process at a time may use it.
fn spool(settings: &Settings) -> Result<Spool, Failure> {
    Spool::open(&settings.state_dir.join("inbox"), ALERT_AGE_MAX_S).map_err(|error| {
        let in_use = matches!(&error, SpoolError::Open { cause: FileError::Locked { .. }, .. });
        let failure = failed("the inbox for alerts")(error.into());
        if !in_use {
            return failure;
        }
        Failure { kind: Kind::Conflict, ..failure }.hint(
            "another tars runs with this state_dir; stop it, or give this one its own \
             (TARS_REPOSITORY_STATE_DIR)",
        )
    })
}

/// Everything a reconciler is made of, on the real world.
///
/// # Errors
/// When a file named by the settings cannot be used, or another process uses the state folder.
pub fn parts(settings: &Settings) -> Result<Parts, Failure> {
    let GitSide { git, writer, memory } = git_side(settings)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let configs = signals(settings);
    let source = Arc::new(prometheus(settings, Arc::clone(&clock))?);
    let windows = SignalWindows::new(configs).map_err(|error| failed("the signals")(error.into()))?;
    Ok(Parts {
        clock,
        observer: Observer::new(source, windows, EnsembleSettings::default()),
        spool: Arc::new(spool(settings)?),
        git,
        writer,
        memory,
        repository: Repository::new(settings.policies_path.clone())
            .with_facts(settings.state_dir.join("index.facts")),
        templates: Templates::built_in().map_err(|error| failed("the templates")(error.into()))?,
        rules: Rules {
            limits: settings.limits.clone(),
            max_skew_s: settings.clock_max_skew_s,
            evidence_age_max_s: settings.evidence_age_max_s,
            sync_timeout_s: settings.sync_timeout_s,
            batch: settings.batch.clone(),
        },
        probe: probe(settings),
        http: http(Duration::from_secs(10))?,
        mode_ceiling: settings.mode,
    })
}
