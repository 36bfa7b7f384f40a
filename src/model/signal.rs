//! Measured values: samples on a regular grid, with gaps kept as gaps.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::SignalName;

/// Which time series: the `signal` and `service` labels that every score carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalKey {
    pub signal: SignalName,
    pub service: SignalName,
}

impl std::fmt::Display for SignalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.signal)
    }
}

/// Who has the samples of a signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Prometheus, or what speaks its API, is asked.
    #[default]
    Prometheus,
    /// They are sent here by remote write.
    Push,
    /// Loki is asked for a metric query over its logs.
    Loki,
    /// Jaeger is asked for spans.
    Jaeger,
}

impl SourceKind {
    /// How long after its time a sample is there, seconds: a sender waits until a message is full, logs and spans are
    /// collected in heaps. A slot that is looked at before is a gap, or has the value of the one before.
    #[must_use]
    pub fn settled_after_s(self) -> u32 {
        match self {
            Self::Prometheus => 0,
            Self::Push | Self::Loki => 5,
            Self::Jaeger => 15,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Push => "push",
            Self::Loki => "loki",
            Self::Jaeger => "jaeger",
        }
    }
}

/// Which service a series of a signal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceOf {
    /// There is one series, and this is its service.
    Named(SignalName),
    /// There are many; this label of each names it.
    Label(String),
}

/// One measured value; `value` may be NaN or infinite as it came from the source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    pub value: f64,
}

/// A window of one signal on a regular grid, oldest first. A missing, NaN or infinite sample is `None`: a
/// gap is visible and is never a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub key: SignalKey,
    /// Time of the first slot.
    pub start: Timestamp,
    /// Distance between two slots, seconds, at least 1.
    pub step_s: u32,
    pub values: Vec<Option<f64>>,
}

impl Series {
    /// Time of slot `index`.
    #[must_use]
    pub fn at(&self, index: usize) -> Timestamp {
        let offset_s = i64::from(self.step_s).saturating_mul(index as i64);
        self.start.checked_add(jiff::SignedDuration::from_secs(offset_s)).unwrap_or(Timestamp::MAX)
    }

    /// Time of the newest slot that holds a value.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.values.iter().rposition(Option::is_some).map(|index| self.at(index))
    }

    /// The newest value, with its time.
    #[must_use]
    pub fn last(&self) -> Option<(Timestamp, f64)> {
        let index = self.values.iter().rposition(Option::is_some)?;
        Some((self.at(index), self.values[index]?))
    }

    /// The values whose slot lies in `from..=to`, gaps left out.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Vec<f64> {
        (0..self.values.len())
            .filter(|&index| (from..=to).contains(&self.at(index)))
            .filter_map(|index| self.values[index])
            .collect()
    }

    #[cfg(test)]
    /// Number of slots that hold a value.
    #[must_use]
    pub fn present(&self) -> usize {
        self.values.iter().flatten().count()
    }
}
