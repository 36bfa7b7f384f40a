//! Scores the newest value of a series: with the streaming detector in `stream`, whose memory is in the hands of the caller,
//! or with the ensemble (STL, isolation forest, EWMA) on one window. A series comes in, an anomaly with evidence goes out.
//! No clock, no random source, no memory between calls.

pub mod cause;
mod ewma;
pub mod forecast;
mod forest;
mod period;
mod prepared;
mod robust;
mod sparkline;
mod stl;
pub mod stream;

#[cfg(test)]
mod story_tests;
#[cfg(test)]
mod tests;

use crate::model::anomaly::{
    Anomaly, FALSE_ALARMS_PER_WEEK, Method, ModelName, ModelScore, Score, Severity, Weights,
};
use crate::model::signal::Series;

pub use period::{CYCLES, find_period, find_periods};
pub use prepared::Prepared;
pub use sparkline::sparkline;

/// Values kept with an anomaly for a sparkline.
pub const RECENT: usize = 60;

/// Confidence at the end of the warm-up; it grows to this from 0. One model cannot disagree with itself,
/// so its spread says nothing.
const WARM_UP_CONFIDENCE: f64 = 0.5;

/// How to score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnsembleSettings {
    pub weights: Weights,
    /// Season in slots of the series; `None`: find it in the data. One that does not fit twice into the
    /// window (without its newest half hour) is not used.
    pub period: Option<u32>,
    /// Seed of the isolation forest: the same seed and series give the same score.
    pub seed: u64,
    /// Below this many values in the window the EWMA votes alone.
    pub warm_up_samples: usize,
    /// What a score of 0.8 of the stream means; one window alone cannot know how rare something is.
    pub false_alarms_per_week: f64,
}

impl Default for EnsembleSettings {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            period: None,
            seed: 42,
            warm_up_samples: 100,
            false_alarms_per_week: FALSE_ALARMS_PER_WEEK,
        }
    }
}

impl EnsembleSettings {
    /// The same for the streaming detector of series with this distance of values, seconds.
    #[must_use]
    pub fn streaming(&self, step_s: u32) -> stream::Settings {
        stream::Settings {
            weights: self.weights,
            warm_up_samples: u32::try_from(self.warm_up_samples).unwrap_or(u32::MAX),
            period_s: self.period.map(|slots| slots.saturating_mul(step_s)),
            false_alarms_per_week: self.false_alarms_per_week,
        }
    }
}

/// Scores the newest slot of a series that nobody knows anything of: a stream learns all of it, and where that is too little
/// the window is judged alone.
///
/// `None` when that slot is a gap or there are fewer than two values: "no data" is not a score.
#[must_use]
pub fn judge(series: &Series, settings: &EnsembleSettings) -> Option<Anomaly> {
    let detector = stream::Detector::new(&settings.streaming(series.step_s));
    let mut state = detector.start(series.step_s);
    detector.feed(&mut state, series, usize::MAX);
    detector.judge(&state, series).or_else(|| score(series, settings))
}

/// What one model says about the newest value of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    pub score: Score,
    /// Where the value would have scored less than 0.5, in normalised units; infinite when the model has no
    /// idea of it.
    pub expected: (f64, f64),
    pub evidence: String,
}

/// One member of the ensemble.
pub trait Model {
    fn name(&self) -> ModelName;

    /// The vote on `window.newest`, from everything before it. Always finite, for any window.
    fn score(&self, window: &Prepared) -> Vote;
}

/// Scores the newest slot of the last 24 hours of `series` by these alone, and says so.
///
/// `None` when that slot is a gap or there are fewer than two values: "no data" is not a score.
#[must_use]
pub fn score(series: &Series, settings: &EnsembleSettings) -> Option<Anomaly> {
    let window = Prepared::of(series)?;
    let samples = window.past.len() + 1;
    let warming_up = samples < settings.warm_up_samples;
    let mut period = None;
    let mut votes = Vec::with_capacity(ModelName::ALL.len());
    if warming_up {
        votes.push(vote(&ewma::Ewma {}, &window, 1.0));
    } else {
        let fits = |period: &u32| *period >= 2 && window.grid.len() / 2 >= *period as usize;
        period = settings.period.or_else(|| find_period(&window.grid)).filter(fits);
        let models: [&dyn Model; 3] =
            [&stl::Stl { period }, &forest::Forest { seed: settings.seed }, &ewma::Ewma {}];
        votes.extend(models.map(|model| vote(model, &window, settings.weights.of(model.name()))));
    }
    // A model without a share has no voice in the confidence either; its band is as good as ever.
    let voting = votes.iter().filter(|(score, _)| score.weight > 0.0);
    let models: Vec<ModelScore> = voting.map(|(score, _)| score.clone()).collect();
    let (score, agreement) = combine(&models);
    let confidence = if warming_up {
        Score::clamped(WARM_UP_CONFIDENCE * samples as f64 / settings.warm_up_samples as f64)
    } else {
        agreement
    };
    let mut models = explained(models, score);
    if let (Some(given), None, false, Some(first)) = (settings.period, period, warming_up, models.first_mut())
    {
        first.evidence.push_str(&format!("; a season of {given} slots does not fit into it twice"));
    }
    let (lower, upper) = votes.first().map_or((0.0, 0.0), |&(_, expected)| expected);
    let newest = series.values.len() - 1;
    Some(Anomaly {
        key: series.key.clone(),
        at: series.at(newest),
        value: series.values[newest]?,
        expected: (window.in_unit(lower), window.in_unit(upper)),
        score,
        confidence,
        severity: Severity::of(score),
        method: Method::Window,
        warming_up,
        models,
        period,
        recent: recent(series),
        episode: None,
    })
}

/// Votes with their part of `score`.
fn explained(models: Vec<ModelScore>, score: Score) -> Vec<ModelScore> {
    let share = |of: &ModelScore| 100.0 * of.weight * of.score.get() / score.get().max(f64::MIN_POSITIVE);
    let explained = |mut model: ModelScore| {
        model.evidence.push_str(&format!(", {:.0} % of the score, from the window alone", share(&model)));
        model
    };
    models.into_iter().map(explained).collect()
}

/// The newest values, for a sparkline.
fn recent(series: &Series) -> Vec<f64> {
    let slots = &series.values[series.values.len().saturating_sub(RECENT)..];
    slots.iter().flatten().copied().filter(|value| value.is_finite()).collect()
}

fn vote(model: &dyn Model, window: &Prepared, weight: f64) -> (ModelScore, (f64, f64)) {
    let Vote { score, expected, evidence } = model.score(window);
    (ModelScore { model: model.name(), score, weight, evidence }, expected)
}

/// The weighted mean of the model scores, and the confidence in it: 1 - their population standard
/// deviation. No models: no score and no confidence.
#[must_use]
pub fn combine(scores: &[ModelScore]) -> (Score, Score) {
    let total: f64 = scores.iter().map(|model| model.weight).sum();
    if scores.is_empty() || total <= 0.0 {
        return (Score::ZERO, Score::ZERO);
    }
    let weighted: f64 = scores.iter().map(|model| model.weight * model.score.get()).sum();
    let count = scores.len() as f64;
    let mean: f64 = scores.iter().map(|model| model.score.get()).sum::<f64>() / count;
    let variance = scores.iter().map(|model| (model.score.get() - mean).powi(2)).sum::<f64>() / count;
    (Score::clamped(weighted / total), Score::clamped(1.0 - variance.sqrt()))
}

/// The scale all models share: z^2 / (z^2 + 9) for a distance of z sigma-equivalents, so 0.5 at 3, 0.8 at 6,
/// 0.92 at 10 and 0.95 at 13; increasing, and never quite 1.
fn calibrated(z: f64) -> Score {
    let square = z.clamp(-1e9, 1e9).powi(2);
    Score::clamped(square / (square + 9.0))
}

/// Four significant digits, as short as they go.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        f64::INFINITY => "beyond 1.8e308".into(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.2e}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
