//! What the detector says about one signal at one moment, with the evidence of every model.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::signal::SignalKey;

/// A score or confidence was not a finite number in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("{0} is not a finite number between 0 and 1")]
pub struct InvalidScore(pub f64);

/// A finite number in 0..=1; 0 is "as always", 1 is "never seen".
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Score(f64);

impl Score {
    pub const ZERO: Self = Self(0.0);

    /// # Errors
    /// [`InvalidScore`] for NaN, infinities and values outside 0..=1.
    pub fn new(value: f64) -> Result<Self, InvalidScore> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(InvalidScore(value)) }
    }

    /// The nearest score; NaN becomes 0, because "cannot tell" must never look like an anomaly.
    #[must_use]
    pub fn clamped(value: f64) -> Self {
        if value.is_nan() { Self(0.0) } else { Self(value.clamp(0.0, 1.0)) }
    }

    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Score {
    type Error = InvalidScore;
    fn try_from(value: f64) -> Result<Self, InvalidScore> {
        Self::new(value)
    }
}

impl From<Score> for f64 {
    fn from(score: Score) -> f64 {
        score.0
    }
}

/// low < 0.8 <= medium < 0.85 <= high < 0.95 <= critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    #[must_use]
    pub fn of(score: Score) -> Self {
        match score.get() {
            s if s >= 0.95 => Self::Critical,
            s if s >= 0.85 => Self::High,
            s if s >= 0.8 => Self::Medium,
            _ => Self::Low,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The models of the ensemble; a bounded set, so it may be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    Stl,
    IsolationForest,
    Ewma,
}

impl ModelName {
    pub const ALL: [Self; 3] = [Self::Stl, Self::IsolationForest, Self::Ewma];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stl => "stl",
            Self::IsolationForest => "isolation-forest",
            Self::Ewma => "ewma",
        }
    }
}

/// How often a week one series without faults comes to a score of 0.8, unless set: with four signals of a service that is
/// about one false incident per service and week.
pub const FALSE_ALARMS_PER_WEEK: f64 = 0.25;

/// Share of each model in the score; the shares add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Weights {
    stl: f64,
    isolation_forest: f64,
    ewma: f64,
}

impl Weights {
    /// Shares in the proportion of these numbers; `None` when they are in none: one is negative or not finite, or all are 0.
    #[must_use]
    pub fn in_proportion(stl: f64, isolation_forest: f64, ewma: f64) -> Option<Self> {
        let total = stl + isolation_forest + ewma;
        let share = |it: f64| it / total;
        let all = [stl, isolation_forest, ewma];
        (all.iter().all(|it| *it >= 0.0) && total > 0.0 && total.is_finite()).then(|| Self {
            stl: share(stl),
            isolation_forest: share(isolation_forest),
            ewma: share(ewma),
        })
    }

    #[must_use]
    pub fn of(&self, model: ModelName) -> f64 {
        match model {
            ModelName::Stl => self.stl,
            ModelName::IsolationForest => self.isolation_forest,
            ModelName::Ewma => self.ewma,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { stl: 0.4, isolation_forest: 0.4, ewma: 0.2 }
    }
}

/// One model's vote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelScore {
    pub model: ModelName,
    pub score: Score,
    /// Share of this model in the ensemble score, 0..=1; the weights of one anomaly add up to 1.
    pub weight: f64,
    /// What the model saw, in words and numbers, for example `residual 312 is 9.1 MAD from 0`.
    pub evidence: String,
}

/// A stretch of time in which a signal was anomalous without a break that counts: it begins at a score of 0.8, and is over
/// when the signal was well below that for ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Episode {
    pub start: Timestamp,
    /// When the score was highest.
    pub peak: Timestamp,
    pub worst: Score,
    /// The last moment that belonged to it; `None`: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// It lasted so long that it was taken for the new normal: its end says nothing of the values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// `anomalous since 2026-11-23T12:31:00Z, worst 0.97 at 12:34:30Z`.
impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        // The day once, unless it changes.
        let moment = |at: Timestamp| match day(at) == day(self.start) {
            true => at.strftime("%H:%M:%SZ").to_string(),
            false => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        let (start, time) = (day(self.start), moment(self.start));
        let since = if self.end.is_some() { "was anomalous from" } else { "anomalous since" };
        write!(f, "{since} {start}T{time}, worst {:.2} at {}", self.worst.get(), moment(self.peak))?;
        let over = if self.adopted { "taken for the new normal since" } else { "over since" };
        self.end.map_or(Ok(()), |end| write!(f, ", {over} {}", moment(end)))
    }
}

/// Who came to a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The streaming detector: 0.8 is as rare as the settings say, whatever the series.
    Stream,
    /// The ensemble on one window, before a stream has seen enough: 0.8 is six sigma from what it expects.
    Window,
}

impl Method {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Window => "window",
        }
    }
}

/// A scored signal. Every scored signal is one of these; it *is* an anomaly when the score reaches the
/// threshold of the policy that looks at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anomaly {
    pub key: SignalKey,
    pub at: Timestamp,
    pub value: f64,
    /// The band within which the value would have been normal (lower, upper), in the unit of the signal.
    pub expected: (f64, f64),
    pub score: Score,
    /// 1 - standard deviation of the model scores.
    pub confidence: Score,
    pub severity: Severity,
    pub method: Method,
    /// Fewer samples so far than all models take: the score is the EWMA's alone.
    pub warming_up: bool,
    pub models: Vec<ModelScore>,
    /// Season found or given, in slots of the series; `None` when there is none.
    pub period: Option<u32>,
    /// The newest values, oldest first, for a sparkline (at most 60).
    pub recent: Vec<f64>,
    /// The stretch that `at` belongs to, or that ended a short time before; `None`: there was none, or one window alone was
    /// judged, which does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<Episode>,
}

impl Anomaly {
    /// Is this a lull of an anomaly, whatever its score right now: its episode goes on, and came to `threshold`?
    #[must_use]
    pub fn lasts_at(&self, threshold: Score) -> bool {
        self.episode.is_some_and(|it| it.end.is_none() && it.worst >= threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{anomaly, at, signal};

    fn episode(end_s: Option<i64>) -> Episode {
        Episode {
            start: at(60),
            peak: at(270),
            worst: Score::clamped(0.974),
            end: end_s.map(at),
            adopted: false,
        }
    }

    #[test]
    fn an_episode_says_since_when_how_bad_and_whether_it_is_over() {
        assert_eq!(
            episode(None).to_string(),
            "anomalous since 2026-11-23T10:01:00Z, worst 0.97 at 10:04:30Z"
        );
        assert_eq!(
            episode(Some(600)).to_string(),
            "was anomalous from 2026-11-23T10:01:00Z, worst 0.97 at 10:04:30Z, over since 10:10:00Z"
        );
        let late = episode(Some(86_400)).to_string();
        assert!(late.ends_with("over since 2026-11-24T10:00:00Z"), "{late}");
        let adopted = Episode { adopted: true, ..episode(Some(7_200)) }.to_string();
        assert!(
            adopted.ends_with("worst 0.97 at 10:04:30Z, taken for the new normal since 12:00:00Z"),
            "{adopted}"
        );
    }

    #[test]
    fn an_anomaly_travels_with_its_episode_and_one_that_was_written_without_is_read() {
        for episode in [None, Some(episode(None)), Some(episode(Some(600)))] {
            let sent = Anomaly { episode, ..anomaly(signal("backend", "latency_p95"), 0.9, at(0)) };
            let text = serde_json::to_string(&sent).unwrap();
            assert_eq!(text.contains("episode"), episode.is_some(), "{text}");
            assert_eq!(serde_json::from_str::<Anomaly>(&text).unwrap(), sent);
        }
    }
}
