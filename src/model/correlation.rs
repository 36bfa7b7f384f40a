//! How the trouble of one service hangs together with that of others: who is suspected to be the cause, and by
//! which calls it reaches the others. Kept as evidence; nobody computes it here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the graph of calls and the metrics say about one service in trouble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Correlation {
    /// The calls from this service to the suspected cause, both included; it alone when it is the cause.
    pub way: Vec<String>,
    /// What of the suspected cause left its past the farthest, by how many sigma-equivalents, and since when.
    pub metric: String,
    pub sigmas: f64,
    pub since: Timestamp,
    /// Others in trouble that call the suspected cause, directly or not, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub victims: Vec<String>,
}

impl Correlation {
    #[must_use]
    pub fn is_victim(&self) -> bool {
        self.way.len() > 1
    }

    #[must_use]
    pub fn suspect(&self) -> &str {
        self.way.last().map_or("", String::as_str)
    }
}

/// `web calls checkout calls payment, where cpu left its past by 21 sigma since 02:44:00Z`.
impl std::fmt::Display for Correlation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (metric, sigmas, since) = (&self.metric, self.sigmas.abs(), self.since.strftime("%H:%M:%SZ"));
        write!(
            f,
            "{}, where {metric} left its past by {sigmas:.0} sigma since {since}",
            self.way.join(" calls ")
        )
    }
}
