//! The settings about scoring, resolved. Raw settings come in, bounded values go out. No file is opened.

use std::ops::RangeInclusive;

use super::ConfigError;
use super::raw::{self, RawSettings};
use super::resolve::Resolve;
use crate::model::anomaly::Weights;

/// Rarer is a promise that nobody can check, more often is no alarm.
pub const ALARMS_PER_WEEK: RangeInclusive<f64> = 0.01..=100.0;
const WARM_UP: (u32, u32) = (20, 10_000);
const WEIGHT: RangeInclusive<f64> = 0.0..=100.0;

/// How every signal is scored.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct DetectionSettings {
    /// Of one series without faults, at a score of 0.8.
    pub false_alarms_per_week: f64,
    pub warm_up_samples: u32,
    pub weights: Weights,
}

impl Resolve<'_> {
    pub(super) fn detection(&self, raw: &RawSettings) -> Result<DetectionSettings, ConfigError> {
        let raw = &raw.detection;
        let path = "detection.false_alarms_per_week";
        Ok(DetectionSettings {
            false_alarms_per_week: self.number(path, raw.false_alarms_per_week, ALARMS_PER_WEEK)?,
            warm_up_samples: self.bounded("detection.warm_up_samples", raw.warm_up_samples, WARM_UP)?,
            weights: self.weights(&raw.weights)?,
        })
    }

    fn weights(&self, raw: &raw::ModelWeights) -> Result<Weights, ConfigError> {
        let stl = self.number("detection.weights.stl", raw.stl, WEIGHT)?;
        let forest = self.number("detection.weights.isolation_forest", raw.isolation_forest, WEIGHT)?;
        let ewma = self.number("detection.weights.ewma", raw.ewma, WEIGHT)?;
        Weights::in_proportion(stl, forest, ewma).ok_or_else(|| {
            let fix = "give one of them more than 0; they count in proportion and need not add up to 1";
            self.origins.error("detection.weights", "no model has a weight", fix)
        })
    }

    fn number(&self, path: &str, value: f64, allowed: RangeInclusive<f64>) -> Result<f64, ConfigError> {
        // Written so that what is no number is out of bounds.
        if allowed.contains(&value) {
            return Ok(value);
        }
        let fix = format!("use {} to {}", allowed.start(), allowed.end());
        Err(self.origins.error(path, format!("{value} is out of bounds"), fix))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{InForce, Overrides, parse, resolve_role};
    use super::*;
    use crate::model::anomaly::ModelName;

    fn detection(
        lines: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<DetectionSettings, ConfigError> {
        let text =
            format!("prometheus: {{url: 'http://p'}}\nrole: detector\nshard: {{insecure: true}}\n{lines}\n");
        let settings = resolve_role(&parse(&text, "tars.yaml")?, env, &Overrides::default())?;
        assert!(matches!(settings, InForce::Detector(_)), "a detector is who needs it");
        Ok(settings.watching().detection)
    }

    fn shares(it: &DetectionSettings) -> [f64; 3] {
        ModelName::ALL.map(|model| it.weights.of(model))
    }

    #[test]
    fn the_defaults_are_the_declared_ensemble_and_one_alarm_in_four_weeks() {
        let it = detection("", &|_| None).unwrap();
        assert_eq!((it.false_alarms_per_week, it.warm_up_samples), (0.25, 100));
        assert_eq!((shares(&it), it.weights), ([0.4, 0.4, 0.2], Weights::default()));
    }

    #[test]
    fn weights_count_in_proportion_and_the_others_keep_theirs() {
        let of = |weights: &str| {
            shares(&detection(&format!("detection: {{weights: {weights}}}"), &|_| None).unwrap())
        };
        assert_eq!(of("{stl: 2, isolation_forest: 1, ewma: 1}"), [0.5, 0.25, 0.25]);
        assert_eq!(of("{ewma: 0}"), [0.5, 0.5, 0.0]);
        let env = |name: &str| (name == "TARS_DETECTION_WEIGHTS_EWMA").then(|| "0.8".to_owned());
        assert_eq!(shares(&detection("", &env).unwrap()), [0.25, 0.25, 0.5]);
    }

    #[test]
    fn what_is_no_rate_and_no_weight_is_refused_where_it_stands_with_what_to_write() {
        for (lines, line, field, fix) in [
            ("detection:\n  false_alarms_per_week: 0", 5, "detection.false_alarms_per_week", "0.01 to 100"),
            ("detection:\n  false_alarms_per_week: 101", 5, "detection.false_alarms_per_week", "0.01 to 100"),
            ("detection:\n  false_alarms_per_week: .nan", 5, "detection.false_alarms_per_week", "a number"),
            ("detection:\n  false_alarms_per_week: often", 5, "detection.false_alarms_per_week", "schema"),
            ("detection:\n  warm_up_samples: 3", 5, "detection.warm_up_samples", "20 to 10000"),
            ("detection:\n  weights:\n    ewma: -1", 6, "detection.weights.ewma", "0 to 100"),
            ("detection:\n  weights:\n    stl: .inf", 6, "detection.weights.stl", "a number"),
            (
                "detection:\n  weights: {stl: 0, isolation_forest: 0, ewma: 0}",
                5,
                "detection.weights",
                "more than 0",
            ),
            ("detection:\n  weights: {forest: 1}", 5, "detection.weights.forest", "schema"),
        ] {
            // A variable of another setting takes no blame.
            let env = |name: &str| (name == "TARS_REPOSITORY_BRANCH").then(|| "main".to_owned());
            let error = detection(lines, &env).unwrap_err();
            let at = format!("tars.yaml:{line}");
            assert_eq!(
                (error.origin.as_str(), error.field.as_str()),
                (at.as_str(), field),
                "{lines}: {error}"
            );
            assert!(error.fix.contains(fix), "{lines}: {error}");
        }
        let env = |name: &str| (name == "TARS_DETECTION_FALSE_ALARMS_PER_WEEK").then(|| "NaN".to_owned());
        assert_eq!(detection("", &env).unwrap_err().origin, "TARS_DETECTION_FALSE_ALARMS_PER_WEEK");
    }
}
