//! Detectors that share the work: which series belongs to whom, and what one of them says about its own. In go keys and
//! scores, out come places and answers in which "no anomaly" and "not known" are two things. It asks nobody.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::anomaly::{Anomaly, Score};
use super::ids::SignalName;
use super::signal::{ServiceOf, SignalKey};

/// Most detectors that share the work.
pub const SHARDS_MAX: u32 = 64;
/// Most anomalies of one answer: some two megabytes of JSON.
pub const ANOMALIES_MAX: usize = 1_000;

/// Most series that a signal names as not watched; of one with more nothing is known.
pub const UNWATCHED_MAX: usize = 1_000;

/// There is no such shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("shard {ordinal} of {total}: there are 1 to {SHARDS_MAX}, counted from 0")]
pub struct InvalidShard {
    pub ordinal: u32,
    pub total: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    ordinal: u32,
    total: u32,
}

/// One of `total` equal parts of all series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub struct Shard {
    ordinal: u32,
    total: u32,
}

impl Shard {
    /// # Errors
    /// [`InvalidShard`] when there are too few, too many, or not so many.
    pub fn new(ordinal: u32, total: u32) -> Result<Self, InvalidShard> {
        let is_one = total <= SHARDS_MAX && ordinal < total;
        if is_one { Ok(Self { ordinal, total }) } else { Err(InvalidShard { ordinal, total }) }
    }

    /// Which of them it is, from 0.
    #[must_use]
    pub fn ordinal(self) -> u32 {
        self.ordinal
    }

    /// Does this series belong here?
    #[must_use]
    pub fn has(self, key: &SignalKey) -> bool {
        home(key, self.total) == self.ordinal
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.ordinal, self.total)
    }
}

impl TryFrom<Numbers> for Shard {
    type Error = InvalidShard;
    fn try_from(it: Numbers) -> Result<Self, InvalidShard> {
        Self::new(it.ordinal, it.total)
    }
}

impl From<Shard> for Numbers {
    fn from(it: Shard) -> Self {
        Self { ordinal: it.ordinal, total: it.total }
    }
}

/// The ordinal of the shard, of `total`, that `key` belongs to: the first eight bytes of the SHA-256 of service, a zero
/// byte and signal, as a big-endian number, modulo `total`. Every version of tars computes the same, or two detectors would
/// watch a series, or none.
#[must_use]
pub fn home(key: &SignalKey, total: u32) -> u32 {
    let mut hash = Sha256::new();
    hash.update(key.service.as_str());
    hash.update([0]);
    hash.update(key.signal.as_str());
    let start = hash.finalize().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    u32::try_from(start % u64::from(total.max(1))).unwrap_or_default()
}

/// How one signal was read at the last look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRead {
    pub signal: SignalName,
    pub of: ServiceOf,
    /// Why what is known of it is not complete; `None`: it is, but for what is not watched.
    pub trouble: Option<String>,
    /// Services whose series nobody watches: two claim to be the same one, or there was no room. [`UNWATCHED_MAX`] at most.
    #[serde(default)]
    pub unwatched: BTreeSet<SignalName>,
}

impl SignalRead {
    fn is_of(&self, key: &SignalKey) -> bool {
        let served = |service: &SignalName| *service == key.service;
        self.signal == key.signal
            && match &self.of {
                ServiceOf::Named(service) => served(service),
                ServiceOf::Label(_) => true,
            }
    }
}

/// What a detector says about the series of its shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardReport {
    pub shard: Shard,
    /// When it looked.
    pub at: Timestamp,
    /// How many series it watches.
    pub series: usize,
    pub signals: Vec<SignalRead>,
    /// Series that score less are not listed, unless their episode goes on.
    pub floor: Score,
    /// The highest first.
    pub anomalies: Vec<Anomaly>,
    /// How many are missing at the end of the list.
    pub left_out: usize,
}

/// What a report says about one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known<'a> {
    Scored(&'a Anomaly),
    /// It scores less than was asked for, or has no value to score.
    Less,
    /// Nobody knows, and why.
    Unknown(&'a str),
}

impl ShardReport {
    /// Of everything that was scored the highest.
    #[must_use]
    pub fn new(
        shard: Shard,
        at: Timestamp,
        signals: Vec<SignalRead>,
        scored: &[Anomaly],
        series: usize,
    ) -> Self {
        let mut highest: Vec<&Anomaly> = scored.iter().collect();
        highest.sort_by(|a, b| b.score.get().total_cmp(&a.score.get()).then_with(|| a.key.cmp(&b.key)));
        let left_out = highest.len().saturating_sub(ANOMALIES_MAX);
        let anomalies = highest.into_iter().take(ANOMALIES_MAX).cloned().collect();
        Self { shard, at, series, signals, floor: Score::ZERO, anomalies, left_out }
    }

    /// The same without what scores less than `floor` and is no lull of an anomaly of that.
    #[must_use]
    pub fn above(&self, floor: Score) -> Self {
        let mut report = self.clone();
        report.floor = if floor > self.floor { floor } else { self.floor };
        report.anomalies.retain(|it| it.score >= report.floor || it.lasts_at(report.floor));
        // What is missing scores no more than what was cut here.
        if report.anomalies.len() < self.anomalies.len() {
            report.left_out = 0;
        }
        report
    }

    /// Does `key` score `threshold` or more?
    #[must_use]
    pub fn about(&self, key: &SignalKey, threshold: Score) -> Known<'_> {
        let Some(read) = self.signals.iter().find(|it| it.is_of(key)) else {
            return Known::Unknown("its detector does not know the signal");
        };
        if let Some(trouble) = &read.trouble {
            return Known::Unknown(trouble);
        }
        if read.unwatched.contains(&key.service) {
            return Known::Unknown("two series claim to be it, or its detector had no room for it");
        }
        if let Some(anomaly) = self.anomalies.iter().find(|it| it.key == *key) {
            return Known::Scored(anomaly);
        }
        let lowest = self.anomalies.last().map_or(Score::ZERO, |it| it.score);
        if threshold < self.floor {
            return Known::Unknown("its detector was not asked for scores as low as that yet");
        }
        if self.left_out > 0 && threshold <= lowest {
            return Known::Unknown("its detector has more anomalies than it could list");
        }
        Known::Less
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::anomaly::Episode;
    use crate::model::fixtures::{anomaly, at, signal};

    fn score(value: f64) -> Score {
        Score::new(value).unwrap()
    }

    fn read(signal: &str, trouble: Option<&str>) -> SignalRead {
        SignalRead {
            signal: SignalName::new(signal).unwrap(),
            of: ServiceOf::Label("app".into()),
            trouble: trouble.map(str::to_owned),
            unwatched: BTreeSet::new(),
        }
    }

    fn report(scores: &[f64]) -> ShardReport {
        let scored: Vec<_> = scores
            .iter()
            .enumerate()
            .map(|(index, score)| anomaly(signal(&format!("s{index}"), "latency"), *score, at(0)))
            .collect();
        let signals = vec![read("latency", None), read("errors", Some("no answer"))];
        ShardReport::new(Shard::new(0, 2).unwrap(), at(0), signals, &scored, scored.len())
    }

    /// The first is made from `printf 'backend\0latency_p95' | sha256sum`. Never change one: detectors of two versions would disagree.
    #[test]
    fn the_home_of_a_series_is_what_it_always_was() {
        let home_of = |service, name| [1, 2, 3, 7, 64].map(|total| home(&signal(service, name), total));
        assert_eq!(home_of("backend", "latency_p95"), [0, 0, 1, 4, 40]);
        assert_eq!(home_of("frontend", "latency_p95"), [0, 1, 0, 5, 13]);
        assert_eq!(home_of("checkout", "errors_5xx"), [0, 1, 0, 4, 59]);
    }

    #[test]
    fn thousand_services_spread_evenly() {
        for total in [2, 3, 8] {
            let mut shares = BTreeMap::new();
            for index in 0..3_000 {
                *shares
                    .entry(home(&signal(&format!("service-{index}"), "latency"), total))
                    .or_insert(0_u32) += 1;
            }
            let even = 3_000 / total;
            assert_eq!(shares.len(), total as usize);
            assert!(shares.values().all(|it| it.abs_diff(even) < even / 5), "{shares:?}");
        }
    }

    #[test]
    fn a_shard_is_one_of_those_there_are() {
        assert!(
            Shard::new(0, 0).is_err() && Shard::new(2, 2).is_err() && Shard::new(0, SHARDS_MAX + 1).is_err()
        );
        assert_eq!(serde_json::to_string(&Shard::new(1, 2).unwrap()).unwrap(), r#"{"ordinal":1,"total":2}"#);
        assert!(serde_json::from_str::<Shard>(r#"{"ordinal":2,"total":2}"#).is_err());
    }

    #[test]
    fn what_is_not_listed_is_less_only_where_the_list_is_complete() {
        let report = report(&[0.9, 0.3, 0.85]);
        let asked = |report: &ShardReport, service, least| match report
            .about(&signal(service, "latency"), score(least))
        {
            Known::Scored(anomaly) => anomaly.score.get().to_string(),
            Known::Less => "less".to_owned(),
            Known::Unknown(_) => "unknown".to_owned(),
        };
        assert_eq!(asked(&report, "s1", 0.8), "0.3");
        let above = report.above(score(0.8));
        assert_eq!([asked(&above, "s0", 0.8), asked(&above, "s1", 0.8)], ["0.9", "less"]);
        assert_eq!(asked(&above, "s1", 0.2), "unknown", "nobody asked for so little");
        let errors = SignalKey { signal: SignalName::new("errors").unwrap(), ..signal("s0", "x") };
        assert_eq!(report.about(&errors, score(0.8)), Known::Unknown("no answer"));
        assert!(matches!(report.about(&signal("s0", "queue"), score(0.8)), Known::Unknown(_)));
    }

    #[test]
    fn a_lull_of_an_anomaly_is_listed_and_what_is_over_is_not() {
        let lull = |service, end| Anomaly {
            episode: Some(Episode {
                start: at(-300),
                peak: at(-200),
                worst: score(0.9),
                end,
                adopted: false,
            }),
            ..anomaly(signal(service, "latency"), 0.7, at(0))
        };
        let scored = [lull("open", None), lull("over", Some(at(-60)))];
        let report =
            ShardReport::new(Shard::new(0, 2).unwrap(), at(0), vec![read("latency", None)], &scored, 2);
        assert_eq!(report.above(score(0.8)).anomalies, scored[..1]);
    }

    #[test]
    fn more_anomalies_than_an_answer_holds_leave_the_lower_ones_unknown() {
        let mut scores = vec![0.95; ANOMALIES_MAX];
        scores.extend([0.9, 0.99]);
        let report = report(&scores);
        assert_eq!((report.anomalies.len(), report.left_out), (ANOMALIES_MAX, 2));
        assert_eq!(report.anomalies[0].score, score(0.99));
        let unlisted = signal(&format!("s{ANOMALIES_MAX}"), "latency");
        assert!(matches!(report.about(&unlisted, score(0.95)), Known::Unknown(_)));
        assert_eq!(report.about(&unlisted, score(0.96)), Known::Less);
        let above = report.above(score(0.97));
        assert_eq!((above.anomalies.len(), above.left_out), (1, 0));
        assert_eq!(above.about(&unlisted, score(0.97)), Known::Less);
    }

    proptest! {
        /// Every series has exactly one home.
        #[test]
        fn shards_part_the_series(service in "[a-z][a-z0-9-]{0,20}", name in "[a-z][a-z0-9_]{0,20}", total in 1_u32..=SHARDS_MAX) {
            let key = signal(&service, &name);
            let homes = (0..total).filter(|it| Shard::new(*it, total).unwrap().has(&key));
            prop_assert_eq!(homes.collect::<Vec<_>>(), [home(&key, total)]);
        }
    }
}
