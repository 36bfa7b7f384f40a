//! Second stage: settings that can be used. Raw settings, environment and flags come in; typed, bounded
//! values or the first error go out. No file is opened: whether a file exists is found out where it is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::duration;
use crate::model::ids::{BranchName, InvalidName, RepoId, RepoPath, SignalName};
use crate::model::limits::{BatchLimits, GlobalLimits};
use crate::model::policy::Mode;
use crate::model::services::{CALLS_MAX, DeclaredCalls};
use crate::outside::http::plain_address;

use super::cluster::ClusterSettings;
use super::forge::ForgeSettings;
use super::overlay::{self, Origins, Overrides};
use super::raw::{self, RawSettings, Role, SyncKind};
use super::watching::{DetectorSettings, DetectorsSettings, Watching};
use super::{ConfigError, repo_id};

pub(super) const DAY_S: u32 = 86_400;
/// Most calls of one service.
const CALLS_OF_ONE_MAX: usize = 200;
/// Most other addresses of the repository.
const MAX_ALIASES: usize = 32;
/// Most files with age identities.
const MAX_KEY_FILES: usize = 16;
/// Most recipients of one SOPS file, as the reader of such files has it.
const MAX_RECIPIENTS: usize = 256;
/// Longest recipient: an SSH key of 16384 bits.
const MAX_RECIPIENT_BYTES: usize = 4096;

/// Everything that a process which decides needs to know.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Settings {
    #[serde(flatten)]
    pub watching: Watching,
    /// Who scores the signals; `None`: this process.
    pub detectors: Option<DetectorsSettings>,
    pub repository_url: String,
    /// Other addresses of the same repository.
    pub aliases: Vec<String>,
    pub git_token_file: Option<PathBuf>,
    pub branch: BranchName,
    pub policies_path: RepoPath,
    pub ledger_branch: BranchName,
    pub repo_id: RepoId,
    pub state_dir: PathBuf,
    /// Most time for one git command, seconds.
    pub git_timeout_s: u32,
    pub clone_max_mib: u32,
    /// The most any policy may do.
    pub mode: Mode,
    pub signing: Signing,
    pub sops: SopsSettings,
    pub forge: ForgeSettings,
    pub calls: DeclaredCalls,
    pub limits: GlobalLimits,
    /// `None`: every proposal has a branch of its own.
    pub batch: Option<BatchLimits>,
    pub sync: SyncSettings,
    /// Without a report for this long after the merge the outcome is Unknown, seconds.
    pub sync_timeout_s: u32,
    /// `None`: no API server is asked.
    pub cluster: Option<ClusterSettings>,
    pub webhook: WebhookAuth,
    pub evidence_age_max_s: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signing {
    pub key_file: PathBuf,
    pub allowed_signers_file: Option<PathBuf>,
    pub allowed_keys_file: Option<PathBuf>,
    pub name: String,
    pub email: String,
}

/// SOPS files: who opens them, and who can.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SopsSettings {
    pub age_key_files: Vec<PathBuf>,
    /// Empty: not checked.
    pub recipients: Vec<String>,
}

/// How tars learns that a commit is live.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum SyncSettings {
    /// What Argo CD or Flux report in the cluster; `refresh`: they are asked to look now.
    Cluster {
        refresh: bool,
    },
    FixedWait {
        wait_s: u32,
    },
    Http {
        url: String,
    },
    /// `$commit` in the query stands for the commit id.
    Metric {
        query: String,
    },
}

/// Who may post alerts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum WebhookAuth {
    /// Nobody: there is no webhook.
    Off,
    /// Who presents the bearer token in this file.
    SecretFile(PathBuf),
    /// Anybody who reaches the loopback address.
    InsecureLoopback,
}

/// The settings of a process, by its role.
#[derive(Debug, Clone, PartialEq)]
pub enum InForce {
    Detector(Box<DetectorSettings>),
    Whole(Box<Settings>),
}

impl InForce {
    #[must_use]
    pub fn watching(&self) -> &Watching {
        match self {
            Self::Detector(settings) => &settings.watching,
            Self::Whole(settings) => &settings.watching,
        }
    }
}

/// Settings in force: `flags` over `env` over `raw`.
///
/// # Errors
/// [`ConfigError`] for the first setting that is missing, malformed or out of bounds.
pub fn resolve(
    raw: &RawSettings,
    env: &dyn Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<Settings, ConfigError> {
    let (raw, origins) = overlay::apply(raw, env, flags)?;
    whole(&raw, &Resolve { origins: &origins })
}

/// As [`resolve`], for the role that the settings name.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_role(
    raw: &RawSettings,
    env: &dyn Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<InForce, ConfigError> {
    let (raw, origins) = overlay::apply(raw, env, flags)?;
    let at = Resolve { origins: &origins };
    Ok(match raw.role {
        Role::Detector => InForce::Detector(Box::new(at.detector(&raw, env("HOSTNAME").as_deref())?)),
        Role::All | Role::Remediator => InForce::Whole(Box::new(whole(&raw, &at)?)),
    })
}

fn whole(raw: &RawSettings, at: &Resolve<'_>) -> Result<Settings, ConfigError> {
    let origins = at.origins;
    let repository_url = at.required("repository.url", raw.repository.url.as_ref())?;
    let derived_id = repo_id::of_url(&repository_url).map_err(|rule| {
        let fix = "for example https://host/owner/repository.git or /srv/git/repository.git";
        origins.error("repository.url", rule, fix)
    })?;
    let repo_id = match &raw.repository.repo_id {
        Some(given) => at.name("repository.repo_id", RepoId::new(given.as_str()))?,
        None => derived_id,
    };
    let branch = at.name("repository.branch", BranchName::new(raw.repository.branch.as_str()))?;
    let ledger_branch =
        at.name("repository.ledger_branch", BranchName::new(raw.repository.ledger_branch.as_str()))?;
    if branch == ledger_branch {
        let fix = "give the ledger a branch of its own, for example tars/ledger";
        return Err(origins.error("repository.ledger_branch", "this is the watched branch", fix));
    }
    let watching = at.watching(raw)?;
    let policies_path = raw.repository.policies_path.trim_end_matches('/');
    Ok(Settings {
        detectors: at.detectors(raw)?,
        git_token_file: at.git_token(raw.repository.token_file.as_deref(), &repository_url)?,
        aliases: at.aliases(&raw.repository.aliases)?,
        repository_url,
        branch,
        policies_path: at.name("repository.policies_path", RepoPath::new(policies_path))?,
        ledger_branch,
        repo_id,
        state_dir: at.absolute("repository.state_dir", &raw.repository.state_dir)?,
        git_timeout_s: at.bounded("repository.timeout_s", raw.repository.timeout_s, (1, 3600))?,
        clone_max_mib: at.bounded("repository.clone_max_mib", raw.repository.clone_max_mib, (1, 1 << 20))?,
        mode: raw.mode.into(),
        signing: at.signing(&raw.signing)?,
        sops: at.sops(&raw.sops)?,
        forge: at.forge(&raw.forge)?,
        calls: at.calls(&raw.services)?,
        limits: at.limits(&raw.limits)?,
        batch: at.batch(&raw.batch)?,
        sync: at.sync(&raw.sync, raw.cluster.access != raw::ClusterAccess::None)?,
        sync_timeout_s: at.duration("sync.timeout", &raw.sync.timeout, (1, DAY_S))?,
        cluster: at.cluster(&raw.cluster)?,
        webhook: at.webhook(&raw.webhook, watching.listen)?,
        evidence_age_max_s: at.duration("evidence_age_max", &raw.evidence_age_max.0, (1, DAY_S))?,
        watching,
    })
}

pub(super) struct Resolve<'a> {
    pub(super) origins: &'a Origins,
}

impl Resolve<'_> {
    pub(super) fn required(&self, path: &str, value: Option<&String>) -> Result<String, ConfigError> {
        let value = value.filter(|it| !it.trim().is_empty()).cloned();
        value.ok_or_else(|| {
            let variable = format!("TARS_{}", path.to_ascii_uppercase().replace('.', "_"));
            self.origins.error(path, "this setting is missing", format!("set it in the file, or {variable}"))
        })
    }

    fn git_token(&self, file: Option<&str>, url: &str) -> Result<Option<PathBuf>, ConfigError> {
        let is_http = url.starts_with("https://") || url.starts_with("http://");
        if file.is_some() && !is_http {
            let fix = "remove it, or use an https address; ssh has keys of its own";
            let message = "a token cannot travel to this kind of address";
            return Err(self.origins.error("repository.token_file", message, fix));
        }
        Ok(file.map(PathBuf::from))
    }

    pub(super) fn name<T>(&self, path: &str, name: Result<T, InvalidName>) -> Result<T, ConfigError> {
        name.map_err(|error| {
            let message = format!("invalid {} {:?}", error.what, error.given);
            self.origins.error(path, message, format!("use {}", error.rule))
        })
    }

    pub(super) fn bounded(
        &self,
        path: &str,
        value: u32,
        (least, most): (u32, u32),
    ) -> Result<u32, ConfigError> {
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(self.origins.error(path, format!("{value} is out of bounds"), format!("use {least} to {most}")))
    }

    pub(super) fn duration(&self, path: &str, text: &str, bounds_s: (u32, u32)) -> Result<u32, ConfigError> {
        let fix = || {
            let (least, most) = (duration::format_s(bounds_s.0), duration::format_s(bounds_s.1));
            format!("use {least} to {most}, written like 90s, 10m or 1h30m")
        };
        let seconds =
            duration::parse_s(text).map_err(|error| self.origins.error(path, error.to_string(), fix()))?;
        if (bounds_s.0..=bounds_s.1).contains(&seconds) {
            return Ok(seconds);
        }
        Err(self.origins.error(path, format!("{text} is out of bounds"), fix()))
    }

    pub(super) fn absolute(&self, path: &str, text: &str) -> Result<PathBuf, ConfigError> {
        if text.starts_with('/') {
            return Ok(PathBuf::from(text));
        }
        Err(self.origins.error(path, "this is not an absolute path", "begin it with /"))
    }

    /// Plain http(s) with a host, and nobody's password in it; without a slash at the end.
    pub(super) fn http_url(&self, path: &str, text: &str) -> Result<String, ConfigError> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            let fix = "remove it; a bearer token goes into a file";
            return Err(self.origins.error(path, "the URL holds a user or a password", fix));
        }
        if authority.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(self.origins.error(
                path,
                "this is not an http URL",
                "for example http://prometheus:9090",
            ));
        }
        if plain_address(text).is_none() {
            let fix = "for example http://prometheus:9090 or http://[::1]:9090";
            return Err(self.origins.error(path, "this URL has no usable host or port", fix));
        }
        Ok(text.trim_end_matches('/').to_owned())
    }

    pub(super) fn maybe_url(&self, path: &str, text: Option<&str>) -> Result<Option<String>, ConfigError> {
        text.map(|text| self.http_url(path, text)).transpose()
    }

    fn signing(&self, raw: &raw::SigningKeys) -> Result<Signing, ConfigError> {
        for (path, text) in [("signing.name", &raw.name), ("signing.email", &raw.email)] {
            // These characters end a name or an address in a commit header.
            if text.trim().is_empty() || text.chars().any(|c| c.is_control() || "<>".contains(c)) {
                return Err(self.origins.error(
                    path,
                    "this cannot stand in a commit",
                    "use text without < and >",
                ));
            }
        }
        let key_file = self.required("signing.key_file", raw.key_file.as_ref())?.into();
        let allowed_keys_file = raw.allowed_keys_file.as_ref().map(PathBuf::from);
        let allowed_signers_file = match (&raw.allowed_signers_file, &allowed_keys_file) {
            (None, Some(_)) => None,
            (file, _) => Some(self.required("signing.allowed_signers_file", file.as_ref())?.into()),
        };
        Ok(Signing {
            key_file,
            allowed_signers_file,
            allowed_keys_file,
            name: raw.name.clone(),
            email: raw.email.clone(),
        })
    }

    fn aliases(&self, raw: &[String]) -> Result<Vec<String>, ConfigError> {
        self.at_most("repository.aliases", raw, MAX_ALIASES)?;
        for (index, url) in raw.iter().enumerate() {
            let wrong = |rule| {
                let fix = "for example https://host/owner/repository.git or git@host:owner/repository.git";
                self.origins.error(&format!("repository.aliases.{index}"), rule, fix)
            };
            repo_id::of_url(url).map_err(wrong)?;
        }
        Ok(raw.to_vec())
    }

    fn sops(&self, raw: &raw::Sops) -> Result<SopsSettings, ConfigError> {
        self.at_most("sops.age_key_files", &raw.age_key_files, MAX_KEY_FILES)?;
        self.at_most("sops.recipients", &raw.recipients, MAX_RECIPIENTS)?;
        for (index, recipient) in raw.recipients.iter().enumerate() {
            let field = format!("sops.recipients.{index}");
            if recipient.trim() != recipient || recipient.chars().any(char::is_control) {
                let fix = "use age1..., ssh-ed25519 ..., or kind:name";
                return Err(self.origins.error(&field, "blanks at an end or control characters", fix));
            }
            if recipient.is_empty() || recipient.len() > MAX_RECIPIENT_BYTES {
                let fix = format!("use 1 to {MAX_RECIPIENT_BYTES} bytes");
                return Err(self.origins.error(&field, "out of bounds", fix));
            }
            if raw.recipients[..index].contains(recipient) {
                return Err(self.origins.error(
                    &field,
                    "this recipient is there twice",
                    "remove one of them",
                ));
            }
        }
        Ok(SopsSettings {
            age_key_files: raw.age_key_files.iter().map(PathBuf::from).collect(),
            recipients: raw.recipients.clone(),
        })
    }

    pub(super) fn at_most<T>(&self, path: &str, list: &[T], most: usize) -> Result<(), ConfigError> {
        if list.len() <= most {
            return Ok(());
        }
        Err(self.origins.error(path, format!("{} of them", list.len()), format!("at most {most}")))
    }

    fn limits(&self, raw: &raw::Limits) -> Result<GlobalLimits, ConfigError> {
        let per_hour = raw.max_executions_per_hour;
        Ok(GlobalLimits {
            max_executions_per_hour: self.bounded("limits.max_executions_per_hour", per_hour, (1, 600))?,
            max_open_proposals: self.bounded(
                "limits.max_open_proposals",
                raw.max_open_proposals,
                (1, 1000),
            )?,
        })
    }

    fn batch(&self, raw: &raw::Batch) -> Result<Option<BatchLimits>, ConfigError> {
        let max_actions = self.bounded("batch.max_actions", raw.max_actions, (2, 50))?;
        let Some(window) = &raw.window else { return Ok(None) };
        let window_s = self.duration("batch.window", window, (1, DAY_S))?;
        Ok(Some(BatchLimits { window_s, max_actions }))
    }

    fn calls(&self, raw: &[raw::Service]) -> Result<DeclaredCalls, ConfigError> {
        let (mut declared, mut all) = (DeclaredCalls::new(), 0);
        for (index, it) in raw.iter().enumerate() {
            let path = format!("services.{index}");
            let caller = self.name(&format!("{path}.name"), SignalName::new(it.name.as_str()))?;
            for (place, callee) in it.calls.iter().enumerate() {
                let path = format!("{path}.calls.{place}");
                let callee = self.name(&path, SignalName::new(callee.as_str()))?;
                if callee == caller {
                    let message = format!("{caller} calls itself, which says nothing");
                    return Err(self.origins.error(&path, message, "remove it"));
                }
                declared.entry(caller.clone()).or_default().insert(callee);
            }
            // Nobody is called: that is said too.
            declared.entry(caller).or_default();
            all += it.calls.len();
            if it.calls.len() > CALLS_OF_ONE_MAX || all > CALLS_MAX {
                let message = format!("more than {CALLS_OF_ONE_MAX} calls of one, or {CALLS_MAX} of all");
                return Err(self.origins.error(&path, message, "leave out what no policy is about"));
            }
        }
        Ok(declared)
    }

    fn sync(&self, raw: &raw::Sync, sees_cluster: bool) -> Result<SyncSettings, ConfigError> {
        let given =
            [("wait", raw.wait.is_some()), ("url", raw.url.is_some()), ("query", raw.query.is_some())];
        let kind = raw.kind.unwrap_or(if sees_cluster { SyncKind::Cluster } else { SyncKind::FixedWait });
        let (wanted, fix) = match kind {
            SyncKind::Cluster => ("", "name the kind it belongs to (`sync.kind`), or remove it"),
            SyncKind::FixedWait => ("wait", "it has `wait`"),
            SyncKind::Http => ("url", "it has `url`"),
            SyncKind::Metric => ("query", "it has `query`"),
        };
        if let Some((field, _)) = given.iter().find(|(field, given)| *given && *field != wanted) {
            let message = "this does not belong to the sync kind";
            return Err(self.origins.error(&format!("sync.{field}"), message, fix));
        }
        if raw.refresh && kind != SyncKind::Cluster {
            let fix = "set `sync.kind` to cluster, or remove it";
            return Err(self.origins.error("sync.refresh", "nobody is asked with this sync kind", fix));
        }
        match kind {
            SyncKind::Cluster if sees_cluster => Ok(SyncSettings::Cluster { refresh: raw.refresh }),
            SyncKind::Cluster => {
                let fix = "set cluster.access, or choose another kind";
                Err(self.origins.error("sync.kind", "no cluster is looked at", fix))
            }
            SyncKind::FixedWait => {
                let wait = raw.wait.as_deref().unwrap_or("1m");
                Ok(SyncSettings::FixedWait { wait_s: self.duration("sync.wait", wait, (0, DAY_S))? })
            }
            SyncKind::Http => {
                let url = self.required("sync.url", raw.url.as_ref())?;
                self.http_url("sync.url", &url)?;
                Ok(SyncSettings::Http { url })
            }
            SyncKind::Metric => {
                let query = self.required("sync.query", raw.query.as_ref())?;
                if !query.contains("$commit") {
                    let fix = "for example count(app_info{revision=\"$commit\"})";
                    return Err(self.origins.error("sync.query", "the query does not name $commit", fix));
                }
                Ok(SyncSettings::Metric { query })
            }
        }
    }

    fn webhook(&self, raw: &raw::Webhook, listen: SocketAddr) -> Result<WebhookAuth, ConfigError> {
        match (raw.enabled, &raw.secret_file, raw.insecure) {
            (false, _, _) => Ok(WebhookAuth::Off),
            (true, Some(_), true) => {
                let message = "a secret and `insecure` contradict each other";
                Err(self.origins.error("webhook.insecure", message, "remove one of them"))
            }
            (true, Some(file), false) => Ok(WebhookAuth::SecretFile(file.into())),
            (true, None, true) if listen.ip().is_loopback() => Ok(WebhookAuth::InsecureLoopback),
            (true, None, true) => {
                let message = format!("anybody could post alerts to {listen}");
                Err(self.origins.error(
                    "webhook.insecure",
                    message,
                    "use webhook.secret_file, or listen on 127.0.0.1",
                ))
            }
            (true, None, false) => {
                let fix = "set it or TARS_WEBHOOK_SECRET_FILE; without alerts: webhook.enabled: false";
                Err(self.origins.error("webhook.secret_file", "the webhook has no secret", fix))
            }
        }
    }
}
