//! First stage, the sections about signals and those who have their samples. As `raw.rs`, of which this is a part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::anomaly::FALSE_ALARMS_PER_WEEK;

/// A server over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Its address. Default: none.
    pub url: Option<String>,
    /// Whose data is meant, where several share the server (`X-Scope-OrgID` of Mimir and Loki).
    pub tenant: Option<String>,
    pub bearer_token_file: Option<String>,
    /// Most time one request may take, seconds.
    #[schemars(range(min = 1, max = 600))]
    pub timeout_s: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self { url: None, tenant: None, bearer_token_file: None, timeout_s: 10 }
    }
}

/// Jaeger's query service: for signals about spans, and for the calls between services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jaeger {
    /// Base URL of the HTTP API.
    pub url: Option<String>,
    pub bearer_token_file: Option<String>,
    /// Most time one query may take, seconds.
    #[schemars(range(min = 1, max = 600))]
    pub timeout_s: u32,
}

/// What Jaeger calls a tenant comes in another header, which tars does not send.
impl From<Jaeger> for Server {
    fn from(it: Jaeger) -> Self {
        let Jaeger { url, bearer_token_file, timeout_s } = it;
        Self { url, tenant: None, bearer_token_file, timeout_s }
    }
}

impl Default for Jaeger {
    fn default() -> Self {
        Self { url: None, bearer_token_file: None, timeout_s: 10 }
    }
}

/// The receiver of Prometheus remote write (`/api/v1/write`), versions 1.0 and 2.0, for signals with `source: push`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    pub enabled: bool,
    /// File with the bearer token that senders must present, or with the password of `user`.
    pub secret_file: Option<String>,
    /// Senders present this user and the secret as HTTP basic authentication instead of a bearer token.
    pub user: Option<String>,
    /// Take samples from anybody; only on a loopback address.
    pub insecure: bool,
}

/// How signals are scored. What was learned of them does not depend on it: a change holds from the next start on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Detection {
    /// What a score of 0.8 means: how often in a week one series in which nothing is wrong comes to it by chance. A smaller
    /// number makes every score lower.
    #[schemars(range(min = 0.01, max = 100.0))]
    pub false_alarms_per_week: f64,
    /// Values of a series before all models vote; until then the averages vote alone.
    #[schemars(range(min = 20, max = 10_000))]
    pub warm_up_samples: u32,
    pub weights: ModelWeights,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            false_alarms_per_week: FALSE_ALARMS_PER_WEEK,
            warm_up_samples: 100,
            weights: ModelWeights::default(),
        }
    }
}

/// How much each model counts in a score, in proportion to the others: they need not add up to 1. 0 takes a model out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelWeights {
    /// What season and trend do not explain.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub stl: f64,
    /// How easily value, change, mean and spread are told from all others, and whether they were ever there before.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub isolation_forest: f64,
    /// How far it is from its moving averages.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub ewma: f64,
}

impl Default for ModelWeights {
    fn default() -> Self {
        Self { stl: 0.4, isolation_forest: 0.4, ewma: 0.2 }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignalSource {
    /// `query` is PromQL, asked with every tick.
    #[default]
    Prometheus,
    /// `query` is a vector selector; its samples come by remote write, see `push`.
    Push,
    /// `query` is a LogQL metric query.
    Loki,
    /// `query` is `span_latency_ms{service="...", kind="server", quantile="0.95"}`: the quantile over all spans that match.
    /// With `service_label: operation` each operation is a series, and what a name cannot have is written `:20`, as URLs have
    /// `%20`: `GET /pay` is `GET:20/pay`.
    Jaeger,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub signal: String,
    /// The service that the query's one series belongs to.
    pub service: Option<String>,
    /// Instead of a service: the query gives many series, and this label of each names its service.
    pub service_label: Option<String>,
    /// What is asked, in the language of the source.
    pub query: String,
    /// Where the samples come from.
    #[serde(default)]
    pub source: SignalSource,
    /// Distance of two samples (duration). Default 30s.
    pub step: Option<String>,
    /// What is kept and learned from (duration). Default 24h.
    pub window: Option<String>,
    /// Length of the season (duration), at most half the window. Default: found in the data.
    pub period: Option<String>,
    /// A sample older than this is no evidence (duration). Default: four steps, and what the source takes to have it.
    pub staleness: Option<String>,
}
