//! Why the newest value of a series scored as it did: the vote of each model in words and numbers, the band that
//! was expected, and the feature that stood out. A state comes in, an anomaly goes out.

use jiff::Timestamp;

use crate::detect::number;
use crate::model::anomaly::{Anomaly, Episode, Method, ModelName, ModelScore, Severity};
use crate::model::signal::SignalKey;

use super::season::{BAND, Season};
use super::{Detector, FEATURES, State, average, isolation, season};

/// Newness of less is not told, ln of hours.
const NEW: f32 = 1.0;
/// An episode that is over is told for so long, seconds: who looks late sees that it was there.
const SHOWN_AFTER_S: i64 = 3_600;

impl Detector {
    /// The newest value as an anomaly; `None` before there was one.
    #[must_use]
    pub fn explain(&self, state: &State, key: &SignalKey) -> Option<Anomaly> {
        if state.count == 0 {
            return None;
        }
        let (centre, sigma) = state.expected;
        let score = self.score(self.surprise(state));
        Some(Anomaly {
            key: key.clone(),
            at: Timestamp::from_second(state.last_s).ok()?,
            value: state.value,
            expected: (state.in_unit(centre - BAND * sigma), state.in_unit(centre + BAND * sigma)),
            score,
            confidence: self.confidence(state),
            severity: Severity::of(score),
            method: Method::Stream,
            warming_up: self.warms_up(state),
            models: self.models(state),
            period: self.period(state),
            recent: Vec::new(),
            episode: self.episode(state),
        })
    }

    /// The newest episode while it goes on, and for a while after it.
    fn episode(&self, state: &State) -> Option<Episode> {
        let newest = state.episode()?;
        let at = |second| Timestamp::from_second(second).ok();
        let end = newest.end_s.map_or(Some(None), |end_s| at(end_s).map(Some))?;
        let is_old = newest.end_s.is_some_and(|end_s| state.last_s.saturating_sub(end_s) > SHOWN_AFTER_S);
        let (start, peak) = (at(newest.start_s)?, at(newest.peak_s)?);
        (!is_old).then(|| Episode {
            start,
            peak,
            worst: self.score(newest.peak),
            end,
            adopted: newest.adopted,
        })
    }

    fn models(&self, state: &State) -> Vec<ModelScore> {
        let names: [&[&str]; 3] = [&season::FEATURES, &isolation::FEATURES, &average::FEATURES];
        let mut first = 0;
        let mut models = Vec::with_capacity(names.len());
        for (index, model) in ModelName::ALL.into_iter().enumerate() {
            let surprises = &state.surprises[first..first + FEATURES[index]];
            first += FEATURES[index];
            let share = self.shares(state)[index];
            if share > 0.0 {
                models.push(ModelScore {
                    model,
                    score: self.score(state.votes()[index]),
                    // As the settings have it: 0.4 is no number of a half of the bits.
                    weight: if self.warms_up(state) { 1.0 } else { self.settings.weights.of(model) },
                    evidence: self.evidence(state, index, names[index], surprises),
                });
            }
        }
        models
    }

    fn evidence(&self, state: &State, index: usize, names: &[&str], surprises: &[f32]) -> String {
        let vote = state.votes()[index] * self.shares(state)[index];
        let share = 100.0 * vote / self.surprise(state).max(f32::MIN_POSITIVE);
        let most = surprises.iter().zip(names).filter(|it| *it.0 > 0.0).max_by(|a, b| a.0.total_cmp(b.0));
        let expected = match index {
            0 => format!(", expected {} ({})", number(state.in_unit(state.expected.0)), self.basis(state)),
            2 => {
                let (mean, sigma) = state.averages.band();
                let sigma = number(f64::from(sigma) * state.unit());
                format!(", moving mean {} (sigma {sigma})", number(state.in_unit(mean)))
            }
            _ => String::new(),
        };
        let rare = most.map(|(most, name)| format!("{name} comes once in {}{expected}", duration(*most)));
        let new =
            new(state).filter(|_| index == 1).map(|what| format!("{what} was hardly ever there before"));
        let said: Vec<String> = rare.into_iter().chain(new).collect();
        if said.is_empty() {
            return "nothing stands out".into();
        }
        let learned = state.count;
        format!("{}, {share:.0} % of the score, learned from {learned} values", said.join(", and "))
    }

    fn basis(&self, state: &State) -> String {
        match state.seasons.season(state.last_s, state.step_s) {
            Season::None => "no season".into(),
            Season::Day => "season of a day".into(),
            Season::Week => "season of a week".into(),
            Season::Found(_) => {
                format!("season of {} slots", self.period(state).unwrap_or_default())
            }
        }
    }

    /// The season in use, in slots of the series.
    #[must_use]
    pub fn period(&self, state: &State) -> Option<u32> {
        let length_s = match state.seasons.season(state.last_s, state.step_s) {
            Season::None => return None,
            Season::Day => 86_400,
            Season::Week => 604_800,
            Season::Found(length_s) => length_s,
        };
        Some(length_s / state.step_s)
    }
}

/// What is new, where that says something.
fn new(state: &State) -> Option<&'static str> {
    let [step, shape] = state.newness;
    let what = if step > shape { "such a step" } else { "such a mean with such a deviation" };
    (step + shape >= NEW).then_some(what)
}

/// A time in words from the logarithm of its hours.
fn duration(surprise: f32) -> String {
    let hours = f64::from(surprise).exp();
    match hours {
        short if short < 48.0 => format!("{} h", number(short)),
        days if days < 24.0 * 365.0 => format!("{} days", number(days / 24.0)),
        _ => "more than a year".into(),
    }
}
