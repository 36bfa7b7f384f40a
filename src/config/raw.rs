//! First stage: the settings file as it is written. Text comes in, plain values with defaults go out.
//! Nothing is checked against another field here, and the world is not touched: help, schema and
//! `tars config validate` work when everything else is broken.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::raw_roles::{Detectors, Role, Shard};
pub use super::raw_signals::{Detection, Jaeger, ModelWeights, Push, Server, Signal, SignalSource};
use super::{ConfigError, lines};
use crate::model::policy;

/// Settings of `tars run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "tars settings")]
pub struct RawSettings {
    /// all: one process does everything. detector and remediator share the work.
    pub role: Role,
    pub shard: Shard,
    pub detectors: Detectors,
    pub repository: Repository,
    /// The most any policy may do; a policy may ask for less.
    pub mode: Mode,
    pub signing: SigningKeys,
    pub sops: Sops,
    pub forge: Forge,
    /// Prometheus, or what has its API: the base URL (of a Mimir with `/prometheus` at its end; of Thanos that of the querier; a VictoriaMetrics
    /// is 30 s behind by its `-search.latencyOffset`). Needed by signals without another source, `sync.kind: metric` and
    /// PromQL triggers of policies.
    pub prometheus: Server,
    /// Loki, for signals that count log lines: the base URL.
    pub loki: Server,
    pub jaeger: Jaeger,
    pub push: Push,
    pub detection: Detection,
    /// The time series to watch; policies name them by signal and service.
    pub signals: Vec<Signal>,
    /// Which services call which others. With it, a policy whose target is only the victim of a service that it calls
    /// is held. Names are those of the signals' `service`. A service that is listed calls exactly these; what others call
    /// is taken from Jaeger, where `jaeger` names one. Default: nothing is declared.
    pub services: Vec<Service>,
    /// Time between two looks at the world (duration).
    pub tick: Tick,
    pub limits: Limits,
    pub batch: Batch,
    pub sync: Sync,
    pub cluster: Cluster,
    pub webhook: Webhook,
    /// Address of API, metrics and webhook.
    pub listen: Listen,
    pub pushgateway: Pushgateway,
    /// Who receives the scores by Prometheus remote write 1.0: the whole address, such as http://mimir:8080/api/v1/push.
    pub remote_write: Server,
    /// Name of this process in commits and where its scores go. Default: made up at start for commits, its machine and port for scores.
    pub instance: Option<String>,
    pub log: Log,
    pub clock: Clock,
    /// Oldest sample that may be acted on (duration).
    pub evidence_age_max: EvidenceAge,
    #[serde(skip)]
    pub(super) source: Source,
}

/// Where the settings stood, for error messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Source {
    pub file: String,
    pub lines: BTreeMap<String, u32>,
}

macro_rules! text_with_default {
    ($($name:ident = $default:literal),*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(pub String);

        impl Default for $name {
            fn default() -> Self {
                Self($default.into())
            }
        }
    )*};
}
text_with_default!(Tick = "30s", Listen = "127.0.0.1:8080", EvidenceAge = "5m");

/// The GitOps repository: what is watched, what is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Repository {
    /// Anything git can fetch from and push to: https, ssh, or an absolute path. No password in it.
    pub url: Option<String>,
    /// Other addresses of the same repository, as Argo CD and Flux name it: https, ssh or `git@host:path`, with or
    /// without `.git`. What comes from an address that is neither `url` nor one of these is another repository.
    pub aliases: Vec<String>,
    /// File with the access token for an https address; it is sent to the host of `url` only.
    pub token_file: Option<String>,
    /// The branch that reaches the cluster.
    pub branch: String,
    /// Folder of the policies on that branch.
    pub policies_path: String,
    /// The branch that holds the ledger.
    pub ledger_branch: String,
    /// Identity that budgets are counted for. Default: the URL in its canonical spelling.
    pub repo_id: Option<String>,
    /// Folder for disposable clones and spooled alerts.
    pub state_dir: String,
    /// Most time one git command may take, seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_s: u32,
    /// Most room the clone may take on disk, MiB. A remote that sends more is given up.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub clone_max_mib: u32,
}

impl Default for Repository {
    fn default() -> Self {
        Self {
            url: None,
            aliases: Vec::new(),
            token_file: None,
            branch: "main".into(),
            policies_path: "policies".into(),
            ledger_branch: "tars/ledger".into(),
            repo_id: None,
            state_dir: "/var/lib/tars".into(),
            timeout_s: 30,
            clone_max_mib: 2_048,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Decide and record, change nothing.
    Observe,
    /// Open proposals; people merge.
    Propose,
    /// Policies that say so merge low-risk proposals by themselves.
    #[default]
    AutoMerge,
}

impl From<Mode> for policy::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observe,
            Mode::Propose => Self::Propose,
            Mode::AutoMerge => Self::AutoMerge,
        }
    }
}

/// Every commit and ledger entry is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SigningKeys {
    /// Private key without passphrase: in OpenSSH format, or an armored OpenPGP key. The file says which.
    pub key_file: Option<String>,
    /// SSH keys whose ledger entries are believed, as ssh-keygen(1) describes under ALLOWED SIGNERS.
    pub allowed_signers_file: Option<String>,
    /// OpenPGP keys whose ledger entries are believed: armored certificates, as gpg --armor --export writes them. Both
    /// files may be named; one of them must be.
    pub allowed_keys_file: Option<String>,
    /// Author of the commits.
    pub name: String,
    pub email: String,
}

impl Default for SigningKeys {
    fn default() -> Self {
        Self {
            key_file: None,
            allowed_signers_file: None,
            allowed_keys_file: None,
            name: "tars".into(),
            email: "tars@localhost".into(),
        }
    }
}

/// What may be done with files of the repository that are encrypted with SOPS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sops {
    /// Files with age identities (AGE-SECRET-KEY-1...), readable by their owner only. Without one, only plain values
    /// that no MAC covers can be changed.
    pub age_key_files: Vec<String>,
    /// Exactly who can read every file that is changed: age or SSH recipients, or `kind:name` for a key service. A
    /// file with one more or one less is left alone. Default: not checked. A `.sops.yaml` is never asked.
    pub recipients: Vec<String>,
}

/// Where proposals become pull requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forge {
    /// local: proposals stay branches, and the ledger holds their text. gitea: Gitea and Forgejo. github: github.com
    /// and Enterprise. gitlab: gitlab.com and self-managed.
    #[schemars(extend("enum" = ["local", "gitea", "github", "gitlab"]))]
    pub kind: String,
    /// Address of the web interface, as the forge itself writes it; that of github is github.com unless it is named.
    pub url: Option<String>,
    /// owner/name; of GitLab group/subgroup/name, as deep as it is.
    pub repository: Option<String>,
    /// File with the access token, readable by its owner only; it is sent to the host of `url` only.
    pub token_file: Option<String>,
    /// Instead of a token: the GitHub App that tars is. Its tokens are made when needed, for this repository only.
    pub app: ForgeApp,
    /// Certificate authorities (PEM) that are believed beside the system's.
    pub ca_file: Option<String>,
    /// File with the secret that the forge signs its webhooks with, readable by its owner only. Default: none are
    /// taken, and the forge is asked at every tick only.
    pub webhook_secret_file: Option<String>,
    /// Checks that must be success on the very commit before anything merges by itself, beside those that the branch's
    /// protection asks for.
    pub required_checks: Vec<ForgeCheck>,
    /// Accounts that are asked for a review when a person has to merge.
    pub reviewers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeCheck {
    /// Name of the check, or a pattern with *.
    pub context: String,
    /// The account or app that has to post it.
    pub by: Option<String>,
}

impl Default for Forge {
    fn default() -> Self {
        Self {
            kind: "local".into(),
            url: None,
            repository: None,
            token_file: None,
            app: ForgeApp::default(),
            ca_file: None,
            required_checks: Vec::new(),
            reviewers: Vec::new(),
            webhook_secret_file: None,
        }
    }
}

/// A GitHub App.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForgeApp {
    /// App ID, as the app's page shows it.
    pub id: Option<u64>,
    /// The number at the end of the installation's address.
    pub installation_id: Option<u64>,
    /// The private key that GitHub gave out (PEM), readable by its owner only.
    pub private_key_file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
    /// The services that it calls.
    #[schemars(length(max = 200))]
    pub calls: Vec<String>,
}

/// Limits over all policies together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most actions in any 60 minutes.
    #[schemars(range(min = 1, max = 600))]
    pub max_executions_per_hour: u32,
    /// Most proposals that are open at once.
    #[schemars(range(min = 1, max = 1000))]
    pub max_open_proposals: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let it = crate::model::limits::GlobalLimits::default();
        Self {
            max_executions_per_hour: it.max_executions_per_hour,
            max_open_proposals: it.max_open_proposals,
        }
    }
}

/// Proposals that wait for a person on one branch, one commit each. What may merge by itself never joins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// How long others may join a branch after its first commit (duration). Default: never; each has its own.
    pub window: Option<String>,
    /// Most actions on one branch.
    #[schemars(range(min = 2, max = 50))]
    pub max_actions: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { window: None, max_actions: 10 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncKind {
    /// What Argo CD or Flux report in the cluster, and the rollout of the workload; needs `cluster.access`.
    Cluster,
    /// It takes `wait`, and nobody reports it.
    FixedWait,
    /// A page (`url`) that names the commit that is live.
    Http,
    /// A query that gives at least 1 once the commit is live; `$commit` stands for its id.
    Metric,
}

/// How tars learns that a merged commit is live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// Default: cluster with `cluster.access`, else fixedWait.
    pub kind: Option<SyncKind>,
    /// For fixedWait (duration). Default 1m.
    pub wait: Option<String>,
    /// For http.
    pub url: Option<String>,
    /// For metric.
    pub query: Option<String>,
    /// For cluster: ask Argo CD or Flux to look now, by an annotation. tars's account needs the right to patch them.
    pub refresh: bool,
    /// Not live after this time: the outcome is Unknown (duration).
    pub timeout: String,
}

impl Default for Sync {
    fn default() -> Self {
        Self { kind: None, wait: None, url: None, query: None, refresh: false, timeout: "15m".into() }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClusterAccess {
    /// No API server is asked.
    #[default]
    None,
    /// With the service account of the pod.
    InCluster,
    /// With the file `kubeconfig`.
    Kubeconfig,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PoliciesFrom {
    /// Files below repository.policies_path.
    #[default]
    Repository,
    /// RemediationPolicy objects.
    Cluster,
    /// Both; of two with one name the repository's is in force.
    Both,
}

/// The cluster that the repository reaches. tars reads it and tells about itself there; it changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    pub access: ClusterAccess,
    /// For kubeconfig. One that runs a program for a credential is refused.
    pub kubeconfig: Option<String>,
    /// For kubeconfig. Default: its current context.
    pub context: Option<String>,
    /// Namespaces that are looked at. Default: all.
    pub namespaces: Vec<String>,
    /// Where policies are read.
    pub policies: PoliciesFrom,
    /// The Lease, in tars' own namespace, by which one of the replicas speaks for all. Default: tars. A tars for another
    /// repository in the same namespace needs another.
    pub lease: Option<String>,
}

/// Alertmanager's webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    pub enabled: bool,
    /// File with the bearer token that senders must present.
    pub secret_file: Option<String>,
    /// Accept alerts from anybody; only on a loopback address.
    pub insecure: bool,
}

impl Default for Webhook {
    fn default() -> Self {
        Self { enabled: true, secret_file: None, insecure: false }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pushgateway {
    /// Base URL of a Prometheus Pushgateway that receives the scores. Default: none.
    pub url: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clock {
    /// Most difference to outside clocks before automatic merges hold, seconds.
    #[schemars(range(min = 1, max = 300))]
    pub max_skew_s: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Self { max_skew_s: 30 }
    }
}

/// Reads the text of a settings file; `file` is its name for messages. An empty text is all defaults.
///
/// # Errors
/// [`ConfigError`] with the line of a syntax error, an unknown field or a value of the wrong type.
pub fn parse(text: &str, file: &str) -> Result<RawSettings, ConfigError> {
    let source = Source { file: file.to_owned(), lines: lines::by_path(text) };
    // A file of comments is an empty document, which YAML calls null.
    let parsed: Result<Option<RawSettings>, _> = yaml_serde::from_str(text);
    match parsed {
        Ok(settings) => Ok(RawSettings { source, ..settings.unwrap_or_default() }),
        Err(error) => Err(unreadable(&error, &source)),
    }
}

/// JSON schema (2020-12) of the settings file.
#[must_use]
pub fn schema() -> String {
    format!("{:#}", schemars::schema_for!(RawSettings).to_value())
}

/// Longest message about one setting, characters.
const MESSAGE_CHARS_MAX: usize = 200;

fn unreadable(error: &yaml_serde::Error, source: &Source) -> ConfigError {
    let text = error.to_string();
    let line = error.location().map(|it| it.line());
    let message = text.split(" at line ").next().unwrap_or_default();
    // The parser puts the path in front: `repository: unknown field ...`.
    let path_end = message.find(": ").filter(|end| message[..*end].bytes().all(is_path_byte));
    let (path, message) = path_end.map_or(("", message), |end| (&message[..end], &message[end + 2..]));
    // `invalid type: string "...", expected ...` would show the value, and a misplaced one may be a secret.
    let expected = message.rfind(", expected ").filter(|_| message.starts_with("invalid "));
    let message = expected.map_or(message, |at| &message[at + 2..]);
    let section = "expected a section: its settings below it, indented";
    let message = if message.starts_with("expected struct") { section } else { message };
    let field = match quoted_names(message).first() {
        Some(unknown) if message.starts_with("unknown field") => [path, unknown].join("."),
        _ => path.to_owned(),
    };
    let field = field.trim_matches('.');
    // A list that has no room is no help when it is cut in the middle; the fix says where all names are.
    let room = message.chars().count() <= MESSAGE_CHARS_MAX || !message.starts_with("unknown ");
    let shown = if room { message } else { message.split(", expected ").next().unwrap_or(message) };
    ConfigError {
        origin: line.map_or_else(|| source.file.clone(), |line| format!("{}:{line}", source.file)),
        field: if field.is_empty() { "settings".into() } else { field.chars().take(80).collect() },
        message: shown
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MESSAGE_CHARS_MAX)
            .collect(),
        fix: fix_of(message),
    }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.[]".contains(&byte)
}

/// What stands between backticks: the parser's way to name fields and variants.
fn quoted_names(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

fn fix_of(message: &str) -> String {
    let names = quoted_names(message);
    if let [given, known @ ..] = names.as_slice()
        && message.starts_with("unknown ")
    {
        if ["secret", "token", "bearer_token", "password", "key"].contains(given) {
            return "put the secret into a file and name the file: see `tars config schema`".into();
        }
        let near = known.iter().map(|name| (strsim::damerau_levenshtein(given, name), name)).min();
        if let Some((wrong, name)) = near
            && wrong <= (name.len() / 3).max(1)
        {
            return format!("did you mean `{name}`?");
        }
    }
    "every setting is described by `tars config schema`".into()
}
