//! A `RemediationPolicy` after it was read and checked: what may trigger, what may be done, how often.

use serde::{Deserialize, Serialize};

use super::anomaly::{Score, Severity};
use super::forecast::Crossing;
use super::ids::{KindName, Namespace, ObjectId, ObjectName, PolicyName, RepoPath, WorkloadRef};
use super::playbook::PlaybookSpec;
use super::signal::SignalKey;

/// The trust ladder. `dryRun: true` in a policy means [`Mode::Observe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Decide and record, change nothing.
    Observe,
    /// Open proposals; people merge.
    Propose,
    /// Low-risk proposals inside every budget merge by themselves.
    AutoMerge,
}

/// Where policies are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PoliciesFrom {
    /// Files of the watched branch.
    #[default]
    Repository,
    /// Objects of the cluster.
    Cluster,
    /// Both: of two with one name the repository's is in force.
    Both,
}

/// The folder in [`Policy::path`] of a policy that is an object of the cluster; its `commit` is a digest of what was
/// read.
pub const CLUSTER_FOLDER: &str = "@cluster";

/// What starts a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Trigger {
    /// A scored signal at or above `threshold` for `for_s` seconds.
    Anomaly { signal: SignalKey, threshold: Score, min_severity: Option<Severity>, for_s: u32 },
    /// A signal that will cross a limit within that time with at least this probability, for `for_s` seconds.
    Forecast { signal: SignalKey, crossing: Crossing, within_s: u32, probability: Score, for_s: u32 },
    /// A PromQL query whose result is not empty for `for_s` seconds.
    Promql { query: String, for_s: u32 },
    /// A firing alert with this name and (a subset of) these labels.
    Webhook { alertname: String, labels: std::collections::BTreeMap<String, String> },
}

/// One `kind`/`name` pair that a policy may touch, in the policy's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedResource {
    pub kind: KindName,
    pub name: ObjectName,
}

/// A field that has a place in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WriteField {
    Replicas,
    MinReplicas,
    Image,
    RestartedAt,
}

impl WriteField {
    /// As it stands in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::MinReplicas => "minReplicas",
            Self::Image => "image",
            Self::RestartedAt => "restartedAt",
        }
    }
}

/// The place that a person named for a field: it wins over what tars would find, and is proven like any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WriteTo {
    pub field: WriteField,
    /// Only for this resource; `None`: for every resource of the policy.
    pub resource: Option<AllowedResource>,
    pub file: RepoPath,
    /// Position of the document in the file, from 0.
    pub document: usize,
    /// Path in the document; `a.b|c.d` is `c.d` inside the YAML text at `a.b`.
    pub path: String,
}

/// What counts as recovered, and for how long to look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifySpec {
    /// Signal to judge; the trigger's own signal when the policy names none.
    pub signal: SignalKey,
    /// Recovered means below this value; `None`: back inside the band expected before the incident.
    pub below: Option<f64>,
    /// Length of the before and the after window, seconds.
    pub window_s: u32,
    /// Give up (Unknown) when no verdict is possible this long after the sync, seconds.
    pub within_s: u32,
    /// Signals of dependants that must not get worse.
    pub dependants: Vec<SignalKey>,
}

/// A checked policy and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    pub name: PolicyName,
    pub namespace: Namespace,
    /// File in the repository, and the commit it was read at: the audit names both. See [`CLUSTER_FOLDER`].
    pub path: RepoPath,
    pub commit: ObjectId,
    pub mode: Mode,
    pub suspend: bool,
    pub triggers: Vec<Trigger>,
    /// In order of preference; the first that is applicable is used.
    pub actions: Vec<PlaybookSpec>,
    /// Empty means nothing is allowed.
    pub allowed_resources: Vec<AllowedResource>,
    /// Repository path prefixes that may be written; empty means wherever the target's manifests are.
    pub allowed_paths: Vec<RepoPath>,
    /// Places that people named for fields of the targets.
    #[serde(default)]
    pub write_to: Vec<WriteTo>,
    pub cooldown_s: u32,
    pub max_executions_per_hour: u32,
    pub verify: VerifySpec,
    /// Propose to undo the change when the signal has been calm and this many seconds have passed.
    pub revert_after_s: Option<u32>,
    /// May a revert or scale-back of a low-risk action merge by itself?
    pub auto_revert: bool,
}

impl Policy {
    /// Is it an object of the cluster, and no file of the repository?
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.path.as_str().split('/').next() == Some(CLUSTER_FOLDER)
    }

    /// Is `target` one of the allowed resources, in the policy's own namespace?
    #[must_use]
    pub fn allows(&self, target: &WorkloadRef) -> bool {
        target.namespace == self.namespace
            && self.allowed_resources.iter().any(|it| it.kind == target.kind && it.name == target.name)
    }

    /// The allowed resources as targets.
    #[must_use]
    pub fn targets(&self) -> Vec<WorkloadRef> {
        let in_namespace = |it: &AllowedResource| WorkloadRef {
            namespace: self.namespace.clone(),
            kind: it.kind.clone(),
            name: it.name.clone(),
        };
        self.allowed_resources.iter().map(in_namespace).collect()
    }
}
