//! Did it help? Four answers; "no data" is never one of the first three.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The outcome of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Recovered,
    NotRecovered,
    Worse,
    /// Not enough data, or contradictory data. Never counts as success, never reverts.
    Unknown,
}

/// What was compared with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Median before the change and after the sync, in the unit of the signal; `None` without data.
    pub before: Option<f64>,
    pub after: Option<f64>,
    pub samples_before: u32,
    pub samples_after: u32,
    pub judged_at: Timestamp,
    /// One sentence with the numbers.
    pub text: String,
}
