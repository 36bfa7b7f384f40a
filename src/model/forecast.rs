//! What a forecaster says about one signal and one limit: whether it is crossed soon, and how sure that is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::anomaly::Score;
use super::duration;
use super::signal::SignalKey;

/// The farthest look ahead, seconds.
pub const MAX_WITHIN_S: u32 = 30 * 60;
/// The shortest, seconds.
pub const MIN_WITHIN_S: u32 = 60;
/// No forecast is surer than this: it is calibrated by past errors, and there are only so many of them.
pub const MAX_PROBABILITY: f64 = 0.98;

/// The limit, and from which side it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crossing {
    /// Some value is at least this.
    Above(f64),
    /// Some value is at most this.
    Below(f64),
}

impl Crossing {
    #[must_use]
    pub fn limit(self) -> f64 {
        match self {
            Self::Above(limit) | Self::Below(limit) => limit,
        }
    }
}

impl std::fmt::Display for Crossing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Above(limit) => write!(f, "above {limit}"),
            Self::Below(limit) => write!(f, "below {limit}"),
        }
    }
}

/// How one limit of one signal looks from now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forecast {
    pub key: SignalKey,
    /// Time of the newest value that it is made from.
    pub at: Timestamp,
    pub value: f64,
    pub crossing: Crossing,
    pub within_s: u32,
    /// Of the limit being crossed at any time within `within_s`.
    pub probability: Score,
    /// The value expected at the end of that time, and where nine of ten such values lie.
    pub expected: f64,
    pub interval: (f64, f64),
}

impl Forecast {
    /// Is this the answer to a question about this limit?
    #[must_use]
    pub fn answers(&self, key: &SignalKey, crossing: Crossing, within_s: u32) -> bool {
        self.key == *key && self.crossing == crossing && self.within_s == within_s
    }

    #[must_use]
    pub fn is_finite(&self) -> bool {
        let numbers = [self.value, self.crossing.limit(), self.expected, self.interval.0, self.interval.1];
        numbers.into_iter().all(f64::is_finite)
    }

    /// `20m`
    #[must_use]
    pub fn within(&self) -> String {
        duration::format_s(self.within_s)
    }
}
