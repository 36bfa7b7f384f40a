//! A `RemediationPolicy` as it is written. These types are deserialised only after their own JSON schema was
//! checked against the document, place by place. No rule about two fields is here; see `check`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// When and how a known, bounded remedy may be applied, by a commit, to which resources, and how often.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "RemediationPolicy")]
pub(super) struct PolicyFile {
    /// Group and version.
    #[schemars(extend("const" = crate::model::action::API_VERSION))]
    #[expect(dead_code, reason = "compared before the types are read; part of the schema")]
    pub api_version: String,
    #[schemars(extend("const" = super::KIND))]
    #[expect(dead_code, reason = "compared before the types are read; part of the schema")]
    pub kind: String,
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    /// Lower-case letters, digits and '-', at most 63; part of branch names.
    pub name: String,
    /// The namespace that every allowed resource is in.
    pub namespace: String,
    #[serde(default)]
    #[expect(dead_code, reason = "allowed and not read")]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    #[expect(dead_code, reason = "allowed and not read")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    /// How far this policy may go; the settings of tars may allow less. Default: Propose (dryRun: Observe).
    pub mode: Option<Mode>,
    /// Keep the policy in the file and do nothing with it.
    #[serde(default)]
    pub suspend: bool,
    /// Decide and record, write nothing: the same as mode Observe.
    #[serde(default)]
    pub dry_run: bool,
    /// What starts the policy; any one of them is enough.
    #[schemars(length(min = 1, max = 20))]
    pub triggers: Vec<Trigger>,
    /// What may be done, in order of preference; the first that is applicable is used.
    #[schemars(length(min = 1, max = 10))]
    pub actions: Vec<Action>,
    /// The only objects that may be changed; kind and name, or "Kind/name".
    #[schemars(length(min = 1, max = 100))]
    pub allowed_resources: Vec<Allowed>,
    /// Repository paths below which files may be changed; none: wherever the target's manifests are.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub allowed_paths: Vec<String>,
    /// Where fields are written when tars cannot find it out, or finds another place than is wanted.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub write_to: Vec<WriteTo>,
    /// Least time between two actions on the same target, seconds.
    #[serde(default = "cooldown_s")]
    #[schemars(range(min = 0, max = 86_400))]
    pub cooldown_seconds: u32,
    /// Most actions of this policy in any 60 minutes.
    #[serde(default = "max_executions_per_hour")]
    #[schemars(range(min = 1, max = 60))]
    pub max_executions_per_hour: u32,
    /// How recovery is judged. Default: the first anomaly trigger's signal is back inside its usual band.
    pub verify: Option<Verify>,
    /// Propose to undo the change this long after it, once the signal is calm (duration, at most 720h).
    pub revert_after: Option<String>,
    /// May the undoing of a low-risk action merge by itself?
    #[serde(default)]
    pub auto_revert: bool,
}

fn cooldown_s() -> u32 {
    900
}

fn max_executions_per_hour() -> u32 {
    2
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Mode {
    /// Decide and record, change nothing.
    Observe,
    /// Open proposals; people merge.
    Propose,
    /// Low-risk proposals inside every budget merge by themselves.
    AutoMerge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TriggerType {
    /// A scored signal: signal, service, threshold, minSeverity, for.
    Anomaly,
    /// A limit that will be crossed soon: signal, service, above or below, within, probability, for.
    Forecast,
    /// A query whose result is not empty: query, for.
    Promql,
    /// A firing alert: alertname, labels.
    Webhook,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Trigger {
    #[serde(rename = "type")]
    pub kind: TriggerType,
    /// Name of the signal in the settings.
    pub signal: Option<String>,
    /// Service of the signal in the settings.
    pub service: Option<String>,
    /// Least ensemble score, 0 to 1. Default 0.8.
    #[schemars(range(min = 0, max = 1))]
    pub threshold: Option<f64>,
    /// Least severity, besides the threshold.
    pub min_severity: Option<Severity>,
    /// How long it must hold (duration, at most 24h). Default 0s.
    #[serde(rename = "for")]
    pub hold: Option<String>,
    /// The limit that is about to be reached from below; or:
    pub above: Option<Quantity>,
    /// from above. Either is 250, 250m or "0.25".
    pub below: Option<Quantity>,
    /// How far ahead (duration, 1m to 30m). Default 20m.
    pub within: Option<String>,
    /// Least probability, more than "0.5" and at most "0.98". Default "0.9".
    pub probability: Option<Quantity>,
    /// PromQL; triggers while its result is not empty.
    #[schemars(length(min = 1, max = 10_000))]
    pub query: Option<String>,
    /// Name of the alert.
    #[schemars(length(min = 1, max = 200))]
    pub alertname: Option<String>,
    /// Labels the alert must have besides its name.
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum ActionType {
    /// More replicas.
    ScaleOut,
    /// The image or pod template of the release before.
    Rollback,
    /// A rolling restart.
    RestartPod,
}

/// The parameters stand in the block named after the type, or directly beside it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Action {
    #[serde(rename = "type")]
    pub kind: ActionType,
    pub scale_out: Option<ScaleOut>,
    pub rollback: Option<Rollback>,
    pub restart_pod: Option<RestartPod>,
    // Flattening the three blocks would say the same; serde cannot flatten and refuse unknown fields.
    #[schemars(range(min = 1, max = 1000))]
    pub step: Option<u32>,
    #[schemars(range(min = 101, max = 1000))]
    pub factor_percent: Option<u32>,
    pub queue: Option<Queue>,
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: Option<u32>,
    pub scope: Option<Scope>,
    pub max_age: Option<String>,
    #[schemars(range(min = 1, max = 1000))]
    pub max_pods: Option<u32>,
}

/// One of step, factorPercent and queue. Default: step 1.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ScaleOut {
    /// Replicas to add.
    #[schemars(range(min = 1, max = 1000))]
    pub step: Option<u32>,
    /// Percent of today's replicas to have afterwards (150: half as many again), rounded up.
    #[schemars(range(min = 101, max = 1000))]
    pub factor_percent: Option<u32>,
    /// As many as the queue needs.
    pub queue: Option<Queue>,
    /// Never more than this. Default 10.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: Option<u32>,
}

/// Replicas = load / (perReplica x utilisationPercent), rounded up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Queue {
    /// A signal that counts busy servers plus waiting requests.
    pub signal: String,
    pub service: String,
    /// Requests one replica serves at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_replica: u32,
    /// How busy a replica may be. Default 80.
    #[serde(default = "utilisation_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub utilisation_percent: u32,
}

fn utilisation_percent() -> u32 {
    80
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Scope {
    /// The image fields of the containers that changed.
    Image,
    /// The whole pod template.
    PodTemplate,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rollback {
    /// What is restored. Default Image.
    pub scope: Option<Scope>,
    /// The release to undo must be younger than this (duration, at most 720h). Default 1h.
    pub max_age: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RestartPod {
    /// Refuse when the rollout could take down more pods at once. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub max_pods: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Allowed {
    Pair(KindAndName),
    /// "Deployment/backend"
    Short(String),
}

/// The place of one field.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteTo {
    /// Which field of the target.
    pub field: WriteField,
    /// Only for this resource; kind and name, or "Kind/name". Default: every resource of the policy.
    pub resource: Option<Allowed>,
    /// File of the repository.
    pub file: String,
    /// Position of the document in the file, from 0.
    #[serde(default)]
    #[schemars(range(max = 999))]
    pub document: usize,
    /// Path in the document, such as `image.tag`; `a.b|c` is `c` inside the YAML text at `a.b`.
    #[schemars(length(max = 1024))]
    pub path: String,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum WriteField {
    Replicas,
    MinReplicas,
    Image,
    RestartedAt,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KindAndName {
    pub kind: String,
    pub name: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    /// Default: the signal of the first anomaly trigger.
    pub signal: Option<String>,
    pub service: Option<String>,
    /// Recovered means below this value; 250, 250m or "0.25". Default: inside the band that was usual before the
    /// incident.
    pub below: Option<Quantity>,
    /// Length of the windows before and after that are compared (duration, at most 24h). Default 10m.
    pub window: Option<String>,
    /// Without a verdict after this time the outcome is Unknown (duration, at most 24h). Default 20m.
    pub within: Option<String>,
    /// Signals of services that depend on the target, which must not get worse.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub dependants: Vec<SignalOf>,
}

/// A number; one that is not whole is better written as text, as API servers want it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Quantity {
    Number(f64),
    Text(String),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalOf {
    pub signal: String,
    pub service: String,
}

/// The JSON schema of [`PolicyFile`].
pub(super) fn schema() -> Json {
    schemars::schema_for!(PolicyFile).to_value()
}
