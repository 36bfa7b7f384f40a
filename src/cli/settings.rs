//! Reads the settings file and makes from it what a reconciler consists of. The same parts for `tars run`,
//! `tars check` and `tars config`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, Kind};
use super::sops::identities;
use super::{cluster, detectors};
use crate::config::{
    self, ConfigError, DetectorSettings, ForgeAt, ForgeCredential, ForgeKind, ForgeSettings, InForce,
    Overrides, RawSettings, ServerSettings, Settings, SyncSettings, Watching,
};
use crate::detect::EnsembleSettings;
use crate::layout::{About, Surroundings};
use crate::model::ids::InstanceId;
use crate::model::selector::Selector;
use crate::model::services::ServiceGraph;
use crate::model::signal::SourceKind;
use crate::observe::forge_hooks::ForgeHooks;
use crate::observe::jaeger::{self, Jaeger};
use crate::observe::landing::Landing;
use crate::observe::metrics::MetricSource;
use crate::observe::prometheus::Prometheus;
use crate::observe::pushed::Pushed;
use crate::observe::repository::Repository;
use crate::observe::signals::{Keep, SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::observe::spool::{Spool, SpoolError};
use crate::observe::sync_probe::SyncProbe;
use crate::outside::api::ApiError;
use crate::outside::clock::{Clock, SystemClock};
use crate::outside::files::{self, FileError};
use crate::outside::git::GitSettings;
use crate::outside::http::{Ear, Http, HttpSettings};
use crate::outside::random;
use crate::outside::secret::Secret;
use crate::outside::sign::{AllowedSigners, SigningKey};
use crate::outside::system;
use crate::propose::Writer;
use crate::propose::forge::gitea::Gitea;
use crate::propose::forge::github::GitHub;
use crate::propose::forge::github_client::{App, AppKey, ForgeAccess};
use crate::propose::forge::gitlab::GitLab;
use crate::propose::forge::{Forge, Traffic};
use crate::reconcile::calls::{Calls, START_WAIT_MAX};
use crate::reconcile::desk::{Desk, DeskSettings};
use crate::reconcile::evidence::Observer;
use crate::reconcile::memory::Memory;
use crate::reconcile::{Parts, Rules};
use crate::render::Templates;
use crate::report::refresh::Refresh;
use crate::sops::{Access, Identities, Recipient};
use crate::telemetry::names::{ForgeProduct, Metrics};

const SETTINGS_BYTES_MAX: usize = 1024 * 1024;
/// Alerts older than this are forgotten even if nobody ever said "resolved".
const ALERT_AGE_MAX_S: u32 = 7 * 86_400;
/// Most bytes of one answer of Prometheus: ten values of each of 50,000 series with some 900 bytes of labels.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of one answer of a forge: a page of fifty pull requests with long bodies.
const FORGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Least time between two writes to a forge, which is what GitHub asks of everybody, and between any two requests to one
/// that is in trouble.
const FORGE_PACE: Duration = Duration::from_secs(1);
/// For one request to a forge.
const FORGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest file of certificate authorities.
const AUTHORITIES_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads and resolves the settings.
///
/// # Errors
/// When the file cannot be read or a setting is wrong; names file, line, field and fix.
pub fn load(file: &Path, flags: &Overrides) -> Result<Settings, Failure> {
    config::resolve(&read(file)?, &system::var, flags).map_err(wrong)
}

/// As [`load`], for the role that the settings name.
///
/// # Errors
/// As [`load`].
pub fn load_role(file: &Path, flags: &Overrides) -> Result<InForce, Failure> {
    config::resolve_role(&read(file)?, &system::var, flags).map_err(wrong)
}

fn wrong(error: ConfigError) -> Failure {
    Failure::usage("the settings are not valid").because(error)
}

fn read(file: &Path) -> Result<RawSettings, Failure> {
    let bytes = files::read_bounded(file, SETTINGS_BYTES_MAX).map_err(|error| {
        Failure::usage(format!("could not read the settings in {}", file.display())).because(error).hint(
            "name the file with --config FILE or TARS_CONFIG; tars config schema prints what may stand in it",
        )
    })?;
    let text = String::from_utf8_lossy(&bytes);
    config::parse(&text, &file.display().to_string()).map_err(wrong)
}

/// What to do about a folder that does not take what tars keeps.
const STATE_HINT: &str = "repository.state_dir must be a folder that tars may write to, with space left";

fn failed(what: &str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Failure {
    let message = format!("could not prepare {what}");
    move |source| Failure { source: Some(source), ..Failure::new(Kind::Usage, message.clone()) }
}

/// A secret kept in a file.
///
/// # Errors
/// When the file cannot be read.
pub fn secret(file: &Path) -> Result<Secret, Failure> {
    Secret::from_file(file).map_err(|error| {
        failed(&format!("the secret in {}", file.display()))(error.into())
            .hint("the file holds the secret on one line, readable for tars alone")
    })
}

/// The clone's settings.
fn git(settings: &Settings) -> Result<GitSettings, Failure> {
    Ok(GitSettings {
        url: settings.repository_url.clone(),
        state_dir: settings.state_dir.clone(),
        timeout_s: settings.git_timeout_s,
        clone_max_mib: settings.clone_max_mib,
        ssh_identity: None,
        ssh_known_hosts: None,
        name: settings.signing.name.clone(),
        email: settings.signing.email.clone(),
        token: settings.git_token_file.as_deref().map(secret).transpose()?,
    })
}

/// What a server is asked with: a client with its deadline, and the token for it.
///
/// # Errors
/// When the HTTP client or the token file cannot be used.
pub fn reach(at: &ServerSettings) -> Result<(Http, Option<Secret>), Failure> {
    let http = http(Duration::from_secs(u64::from(at.timeout_s)))?;
    Ok((http, at.token_file.as_deref().map(secret).transpose()?))
}

type Client = fn(Http, Arc<dyn Clock>, &str, Option<Secret>) -> Prometheus;

/// Where the signals' samples come from.
#[derive(Debug)]
pub struct Feeds {
    pub sources: Sources,
    /// What the receiver of remote write fills; there is one even when nobody may push.
    pub pushed: Arc<Pushed>,
}

/// Every source that the settings name.
///
/// # Errors
/// When the HTTP client or a token file cannot be used, or the query of a pushed signal is no selector.
pub fn feeds(watching: &Watching, clock: &Arc<dyn Clock>) -> Result<Feeds, Failure> {
    let mut selectors = BTreeMap::new();
    for signal in watching.signals.iter().filter(|it| it.source == SourceKind::Push) {
        let selector = Selector::parse(&signal.query).map_err(|error| failed("a selector")(error.into()))?;
        selectors.insert(signal.query.clone(), selector);
    }
    let pushed = Arc::new(Pushed::new(selectors));
    let source = |at: &ServerSettings, client: Client| -> Result<Arc<dyn MetricSource>, Failure> {
        let (http, token) = reach(at)?;
        Ok(Arc::new(client(http, Arc::clone(clock), &at.url, token).of_tenant(at.tenant.clone())))
    };
    let prometheus = watching.prometheus.as_ref().map(|at| source(at, Prometheus::new));
    let loki = watching.loki.as_ref().map(|at| source(at, Prometheus::loki));
    let sources = Sources {
        prometheus: prometheus.transpose()?,
        push: watching.push.as_ref().map(|_| Arc::clone(&pushed) as Arc<dyn MetricSource>),
        loki: loki.transpose()?,
        jaeger: jaeger(watching)?.map(|it| Arc::new(it) as Arc<dyn MetricSource>),
    };
    Ok(Feeds { sources, pushed })
}

/// Jaeger, if the settings name it.
///
/// # Errors
/// When the HTTP client or the token file cannot be used.
pub fn jaeger(watching: &Watching) -> Result<Option<Jaeger>, Failure> {
    let Some(at) = &watching.jaeger else { return Ok(None) };
    let (http, token) = reach(at)?;
    Ok(Some(Jaeger::new(http, &at.url, token)))
}

/// What the repository is read with: its addresses, the watched branch, and what may be done with SOPS files.
///
/// # Errors
/// When a key file is readable by others or holds no identity, or a recipient is none.
pub fn surroundings(settings: &Settings) -> Result<Surroundings, Failure> {
    let own = &settings.repository_url;
    // Nobody but tars reaches a repository by a path of this machine: what Argo CD and Flux call it is not known.
    let known = !settings.aliases.is_empty() || !(own.starts_with('/') || own.starts_with("file:"));
    let urls = if known { [std::slice::from_ref(own), &settings.aliases[..]].concat() } else { Vec::new() };
    Ok(Surroundings {
        about: About { urls, branch: Some(settings.branch.to_string()) },
        sops: Arc::new(access(settings)?),
        ..Surroundings::default()
    })
}

fn access(settings: &Settings) -> Result<Access, Failure> {
    let mut identities = Identities::default();
    for file in &settings.sops.age_key_files {
        let exposed = files::exposed(file).map_err(|error| {
            Failure::usage(format!("could not read the age key file {}", file.display())).because(error)
        })?;
        if let Some(mode) = exposed {
            let shown = file.display();
            return Err(Failure::usage(format!("others can read the age key file {shown} (mode {mode:o})"))
                .hint(format!("chmod 600 {shown}, and make a new identity if anybody may have read it")));
        }
        let found = identities::read(file)?;
        if found.is_empty() {
            let unused = found.unused().first().map_or_else(String::new, |kind| format!(": {kind}"));
            return Err(Failure::usage(format!("{} holds no age identity{unused}", file.display()))
                .hint("age-keygen -o FILE makes one; give its recipient to sops updatekeys"));
        }
        identities.extend(found);
    }
    let recipient = |(index, text): (usize, &String)| {
        let wrong = |error| Failure::usage(format!("sops.recipients.{index} is not valid")).because(error);
        Recipient::parse(text).map_err(wrong)
    };
    let expected = settings.sops.recipients.iter().enumerate().map(recipient).collect::<Result<_, _>>()?;
    Ok(Access { identities, expected: (!settings.sops.recipients.is_empty()).then_some(expected) })
}

/// An HTTP client with this deadline.
///
/// # Errors
/// When TLS cannot be set up.
pub fn http(timeout: Duration) -> Result<Http, Failure> {
    client(timeout, ANSWER_BYTES_MAX, None)
}

/// The same for answers of this many bytes at most.
///
/// # Errors
/// As [`http()`], or when an authority is no certificate.
pub fn client(timeout: Duration, body_max: usize, authorities: Option<Vec<u8>>) -> Result<Http, Failure> {
    let settings = HttpSettings {
        timeout,
        connect_timeout: CONNECT_TIMEOUT,
        body_max,
        user_agent: concat!("tars/", env!("CARGO_PKG_VERSION")).to_owned(),
        authorities,
    };
    Http::new(&settings).map_err(|error| failed("the HTTP client")(error.into()))
}

/// The adapter for the forge, with what the settings name as its credential.
///
/// # Errors
/// When the file with the token or key cannot be read or others can, or an authority is no certificate.
pub fn forge_at(
    at: &ForgeAt,
    clock: Arc<dyn Clock>,
    ear: Option<Arc<dyn Ear>>,
) -> Result<Arc<dyn Forge>, Failure> {
    let access = match &at.credential {
        ForgeCredential::TokenFile(file) => ForgeAccess::Token(forge_token(file)?),
        ForgeCredential::App { id, installation_id, private_key_file } => {
            let key = app_key(private_key_file)?;
            ForgeAccess::App(App { id: *id, installation: *installation_id, key })
        }
    };
    forge_with(at, clock, access, ear)
}

/// The same with a credential that is kept nowhere yet.
///
/// # Errors
/// When an authority is no certificate.
pub fn forge_with(
    at: &ForgeAt,
    clock: Arc<dyn Clock>,
    access: ForgeAccess,
    ear: Option<Arc<dyn Ear>>,
) -> Result<Arc<dyn Forge>, Failure> {
    let http = forge_http(at, FORGE_TIMEOUT)?.gently(FORGE_PACE);
    let http = match ear {
        Some(ear) => http.heard_by(ear),
        None => http,
    };
    let place = (at.owner.as_str(), at.name.as_str());
    let forge: Result<Arc<dyn Forge>, ApiError> = match (at.kind, access) {
        (ForgeKind::GitHub, access) => {
            GitHub::new(http, clock, &at.url, place, access).map(|it| Arc::new(it) as Arc<dyn Forge>)
        }
        (ForgeKind::Gitea, ForgeAccess::Token(token)) => {
            Gitea::new(http, clock, &at.url, place, token).map(|it| Arc::new(it) as Arc<dyn Forge>)
        }
        (ForgeKind::GitLab, ForgeAccess::Token(token)) => {
            let project = format!("{}/{}", at.owner, at.name);
            GitLab::new(http, clock, &at.url, &project, token).map(|it| Arc::new(it) as Arc<dyn Forge>)
        }
        (ForgeKind::Gitea | ForgeKind::GitLab, ForgeAccess::App(_)) => {
            return Err(Failure::usage("only GitHub has apps").hint("use forge.token_file"));
        }
    };
    forge.map_err(|error| failed("the forge's address")(error.into()))
}

/// A client that believes what the settings say about the forge's certificates.
///
/// # Errors
/// When an authority is no certificate.
pub fn forge_http(at: &ForgeAt, timeout: Duration) -> Result<Http, Failure> {
    let authorities = at.ca_file.as_deref().map(|file| {
        files::read_bounded(file, AUTHORITIES_BYTES_MAX)
            .map_err(|error| failed(&format!("the authorities in {}", file.display()))(error.into()))
    });
    client(timeout, FORGE_BYTES_MAX, authorities.transpose()?)
}

fn forge_token(file: &Path) -> Result<Secret, Failure> {
    Secret::from_private_file(file).map_err(|error| {
        failed(&format!("the forge's token in {}", file.display()))(error.into())
            .hint("make one in the forge's settings; SECURITY.md lists its scopes; tars forge login keeps it")
    })
}

fn app_key(file: &Path) -> Result<AppKey, Failure> {
    let what = format!("the app's key in {}", file.display());
    let pem = Secret::private_bytes(file).map_err(|error| failed(&what)(error.into()))?;
    AppKey::from_pem(&pem).ok_or_else(|| {
        Failure::usage(format!("{what} is no RSA key")).hint("make one on the app's page under Private keys")
    })
}

fn desk(settings: &Settings, clock: Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Result<Option<Desk>, Failure> {
    let ForgeSettings::At(at) = &settings.forge else { return Ok(None) };
    let instance = instance(&settings.watching)?;
    let desk = DeskSettings {
        required_checks: at.required_checks.clone(),
        reviewers: at.reviewers.clone(),
        pace: FORGE_PACE,
    };
    let product = match at.kind {
        ForgeKind::Gitea => ForgeProduct::Gitea,
        ForgeKind::GitHub => ForgeProduct::GitHub,
        ForgeKind::GitLab => ForgeProduct::GitLab,
    };
    let traffic = Traffic { metrics: Arc::clone(metrics), product };
    Ok(Some(Desk::new(
        forge_at(at, clock, Some(Arc::new(traffic)))?,
        settings.branch.clone(),
        instance,
        desk,
    )))
}

/// Least length of the secret of a webhook: what somebody can guess from a captured delivery is no secret.
const HOOK_SECRET_BYTES_MIN: usize = 16;

/// The secret that the forge signs its webhooks with.
///
/// # Errors
/// When the file cannot be read or others can, or what it holds is short.
pub fn hook_secret(file: &Path) -> Result<Secret, Failure> {
    let shown = file.display();
    let hint = format!(
        "openssl rand -hex 32 > {shown}; chmod 600 {shown}; and the same secret into the forge's webhook"
    );
    let secret = Secret::from_private_file(file).map_err(|error| {
        failed(&format!("the webhook's secret in {shown}"))(error.into()).hint(hint.clone())
    })?;
    if secret.expose().len() < HOOK_SECRET_BYTES_MIN {
        let short =
            format!("the webhook's secret in {shown} has fewer than {HOOK_SECRET_BYTES_MIN} characters");
        return Err(Failure::usage(short).hint(hint));
    }
    Ok(secret)
}

/// Who judges the forge's deliveries; `None` when the settings name no secret.
///
/// # Errors
/// As [`hook_secret`].
pub fn forge_hooks(settings: &Settings) -> Result<Option<ForgeHooks>, Failure> {
    let ForgeSettings::At(at) = &settings.forge else { return Ok(None) };
    let Some(file) = &at.webhook_secret_file else { return Ok(None) };
    Ok(Some(ForgeHooks::new(hook_secret(file)?, format!("{}/{}", at.owner, at.name))))
}

/// How the settings say a commit is recognised as applied, and whether anybody is asked to apply it now.
async fn probe(settings: &Settings) -> Result<(SyncProbe, Option<Refresh>), Failure> {
    let probe = match (&settings.sync, &settings.cluster) {
        (SyncSettings::Cluster { refresh }, Some(at)) => {
            let kube = cluster::client(at).await?;
            let refresh = refresh.then(|| Refresh::new(kube.clone()));
            return Ok((SyncProbe::Cluster(Landing::new(kube, at.namespaces.clone())), refresh));
        }
        // Refused when the settings were resolved.
        (SyncSettings::Cluster { .. }, None) => {
            return Err(Failure::usage("sync.kind: cluster needs cluster.access"));
        }
        (SyncSettings::FixedWait { wait_s }, _) => SyncProbe::FixedWait { wait_s: *wait_s },
        (SyncSettings::Http { url }, _) => SyncProbe::Http { url: url.clone() },
        (SyncSettings::Metric { query }, _) => SyncProbe::Metric { query: query.clone() },
    };
    Ok((probe, None))
}

/// Signals as the observer wants them.
#[must_use]
pub fn signals(watching: &Watching) -> Vec<SignalConfig> {
    let signal = |it: &config::SignalSettings| SignalConfig {
        signal: it.signal.clone(),
        service: it.service.clone(),
        source: it.source,
        query: jaeger::query_of(&it.query, it.source, &it.service),
        step_s: it.step_s,
        window_s: it.window_s,
        period: it.period,
        staleness_s: it.staleness_s,
    };
    watching.signals.iter().map(signal).collect()
}

/// How signals are scored, as the detector wants it.
#[must_use]
pub fn ensemble(watching: &Watching) -> EnsembleSettings {
    let config::DetectionSettings { weights, warm_up_samples, false_alarms_per_week } = watching.detection;
    let warm_up_samples = warm_up_samples as usize;
    EnsembleSettings { weights, warm_up_samples, false_alarms_per_week, ..EnsembleSettings::default() }
}

/// The name of this process in the ledger and the cluster, where no two are the same, not even before and after a restart.
fn instance(watching: &Watching) -> Result<InstanceId, Failure> {
    if let Some(instance) = &watching.instance {
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
        .map_err(|error| failed("the state folder")(error.into()).hint(STATE_HINT))?;
    let signing = &settings.signing;
    let signer = SigningKey::load(&signing.key_file).map_err(|error| {
        failed(&format!("the signing key in {}", signing.key_file.display()))(error.into())
            .hint(format!("to make one: ssh-keygen -t ed25519 -N '' -f {}", signing.key_file.display()))
    })?;
    let files = [&signing.allowed_signers_file, &signing.allowed_keys_file];
    let named =
        files.into_iter().flatten().map(|it| it.display().to_string()).collect::<Vec<_>>().join(" or ");
    let allowed =
        AllowedSigners::load(signing.allowed_signers_file.as_deref(), signing.allowed_keys_file.as_deref())
            .map_err(|error| failed(&format!("the allowed keys in {named}"))(error.into()))?;
    allowed.accepts(&signer, SystemClock.now().as_second()).map_err(|why| {
        Failure::usage(format!("a signature of the signing key would not count now: {why}")).hint(format!(
            "put its public half in {named}, or tars would not believe its own ledger: the line of the .pub file, or \
             the certificate from gpg --armor --export"
        ))
    })?;
    Ok(GitSide {
        git: git(settings)?,
        writer: Writer {
            signer,
            name: signing.name.clone(),
            email: signing.email.clone(),
            main: settings.branch.clone(),
            ledger: settings.ledger_branch.clone(),
        },
        memory: Memory::open(
            allowed,
            settings.repo_id.clone(),
            instance(&settings.watching)?,
            &settings.state_dir,
        )
        .map_err(|error| {
            let hint = error.hint();
            failed("the memory of the ledger")(error.into()).hint(hint)
        })?,
    })
}

/// The inbox for alerts. One process at a time may use it.
fn spool(settings: &Settings) -> Result<Spool, Failure> {
    Spool::open(&settings.state_dir.join("inbox"), ALERT_AGE_MAX_S).map_err(|error| {
        let in_use = matches!(&error, SpoolError::Open { cause: FileError::Locked { .. }, .. });
        let failure = failed("the inbox for alerts")(error.into());
        if !in_use {
            return failure.hint(STATE_HINT);
        }
        Failure { kind: Kind::Conflict, ..failure }.hint(
            "another tars runs with this state_dir; stop it, or give this one its own \
             (TARS_REPOSITORY_STATE_DIR)",
        )
    })
}

fn observer(watching: &Watching, sources: Sources, keep: Keep) -> Result<Observer, Failure> {
    let windows = SignalWindows::new(signals(watching));
    let mut windows = windows.map_err(|error| failed("the signals")(error.into()))?;
    windows.keep(keep);
    Ok(Observer::new(sources, windows, ensemble(watching)))
}

/// What a detector watches with: the series of its shard.
///
/// # Errors
/// When the signals or the folder for what is learned cannot be used.
pub fn shard_observer(settings: &DetectorSettings, sources: Sources) -> Result<Observer, Failure> {
    let observer = observer(&settings.watching, sources, Keep::Shard(settings.shard))?;
    let Some(folder) = &settings.state_dir else { return Ok(observer) };
    files::create_private_dir(folder).map_err(|error| {
        failed("the state folder")(error.into())
            .hint("shard.state_dir must be a folder that tars may write to")
    })?;
    Ok(observer.kept_in(folder.join(format!("shard-{}.states", settings.shard.ordinal()))))
}

async fn deciding_observer(
    settings: &Settings,
    sources: Sources,
    clock: &dyn Clock,
) -> Result<Observer, Failure> {
    let graph = ServiceGraph::joined(&settings.calls, []);
    let mut observer = observer(&settings.watching, sources, Keep::All)?.with_graph(graph);
    if let Some(jaeger) = jaeger(&settings.watching)? {
        let mut calls = Calls::new(settings.calls.clone(), Arc::new(jaeger));
        calls.first(clock.now(), START_WAIT_MAX).await;
        observer = observer.with_calls(calls);
    }
    if let Some(at) = &settings.detectors {
        observer.hear(Arc::new(detectors::detectors(at)?));
    }
    Ok(observer.kept_in(settings.state_dir.join("detector.states")))
}

/// What a process of any role watches, for verbs that only read.
///
/// # Errors
/// As [`load`].
pub fn watching(file: &Path) -> Result<Watching, Failure> {
    Ok(load_role(file, &Overrides::default())?.watching().clone())
}

/// Everything a reconciler is made of, on the real world.
///
/// # Errors
/// When a file named by the settings cannot be used, or another process uses the state folder.
pub async fn parts(settings: &Settings, sources: Sources, metrics: &Arc<Metrics>) -> Result<Parts, Failure> {
    let GitSide { git, writer, memory } = git_side(settings)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (probe, refresh) = probe(settings).await?;
    Ok(Parts {
        observer: deciding_observer(settings, sources, &*clock).await?,
        clock,
        spool: Arc::new(spool(settings)?),
        git,
        writer,
        memory,
        repository: Repository::new(settings.policies_path.clone())
            .in_surroundings(surroundings(settings)?)
            .with_facts(settings.state_dir.join("index.facts")),
        policies: None,
        owners: None,
        templates: Templates::built_in().map_err(|error| failed("the templates")(error.into()))?,
        rules: Rules {
            limits: settings.limits.clone(),
            max_skew_s: settings.watching.clock_max_skew_s,
            evidence_age_max_s: settings.evidence_age_max_s,
            sync_timeout_s: settings.sync_timeout_s,
            batch: settings.batch.clone(),
        },
        probe,
        refresh,
        http: http(Duration::from_secs(10))?,
        mode_ceiling: settings.mode,
        desk: desk(settings, Arc::new(SystemClock), metrics)?,
    })
}
