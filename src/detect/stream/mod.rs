//! The streaming detector: one small state per series, one cheap step per value. A value comes in, a score with
//! its reasons goes out; states become bytes and back. No clock, no random source, no series kept, and nothing
//! allocated by a step.

mod average;
mod cycle;
mod episode;
mod explain;
mod isolation;
mod newness;
mod pack;
mod season;
mod state;
mod tail;
mod window;

#[cfg(test)]
mod incidents_tests;
#[cfg(test)]
mod tests;

pub use state::State;

use crate::model::anomaly::{FALSE_ALARMS_PER_WEEK, ModelName, Score, Weights};
use cycle::Ring;
use tail::{Blocks, SURPRISE_MAX};

/// Hours of a week: false alarms are counted per week, surprises are ln of hours.
const WEEK_H: f64 = 168.0;
/// Confidence at the end of the warm-up, as the batch ensemble has it.
const WARM_UP_CONFIDENCE: f64 = 0.5;
/// Equal values in a row after which a line is flat, which is no anomaly where it lies within its band: one that fell to 0 is, until
/// that is the new normal.
const FLAT_POINTS: u16 = 16;
/// Features of each vote: seasonal, isolation, average.
const FEATURES: [usize; 3] = [season::FEATURES.len(), isolation::FEATURES.len(), average::FEATURES.len()];
/// What the isolation vote says more for a step, and for a shape, that was never seen before, ln of hours.
const NEWNESS: [f32; 2] = [5.0, 10.0];
const ALL_FEATURES: usize = FEATURES[0] + FEATURES[1] + FEATURES[2];

/// Settings of all series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub weights: Weights,
    /// Before so many values the averages vote alone.
    pub warm_up_samples: u32,
    /// A period that is known, seconds; `None`: look for one. Days and weeks need not be told.
    pub period_s: Option<u32>,
    /// A score of 0.8 is what a series without faults gives about so often.
    pub false_alarms_per_week: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            warm_up_samples: 100,
            period_s: None,
            false_alarms_per_week: FALSE_ALARMS_PER_WEEK,
        }
    }
}

/// Immutable and shared by all series.
#[derive(Debug, Clone)]
pub struct Detector {
    settings: Settings,
    weights: [f32; 3],
    /// The surprise that scores 0.8.
    alert: f32,
    logs: [f32; 256],
}

/// One value as the models see it, in units of the series.
#[derive(Debug, Clone, Copy)]
struct Point {
    at_s: i64,
    step_s: u32,
    step_h: f32,
    value: f32,
    /// To the value before; 0 after a gap.
    difference: f32,
    /// Values so far, this one included.
    count: f32,
    /// The smallest deviation that means anything.
    floor: f32,
    /// The part of it that follows from the size of the value alone.
    least: f32,
}

/// Weight of the newest value in an average over so many.
fn rate(span: f32) -> f32 {
    2.0 / (span + 1.0)
}

fn rate_of_hours(hours: f32, step_h: f32) -> f32 {
    rate((hours / step_h).max(3.0))
}

/// What one step says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// `None`: a gap, not a number, or no time after the last value. That is not a score.
    pub score: Option<Score>,
    /// The score, or 0 where a higher one of the last hours already said it and all was not calm since: what a page is worth.
    pub news: Score,
    pub confidence: Score,
    pub warming_up: bool,
}

impl Detector {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let alert = (WEEK_H / settings.false_alarms_per_week.clamp(0.01, 100.0)).ln() as f32;
        let weights = ModelName::ALL.map(|name| settings.weights.of(name) as f32);
        Self { settings: *settings, weights, alert, logs: isolation::logs() }
    }

    /// The state of a series that nothing is known of.
    #[must_use]
    pub fn start(&self, step_s: u32) -> State {
        self.start_in_turn(step_s, 0)
    }

    /// The same for one of many that begin at the same time: what takes long falls into another tick for another `turn`.
    #[must_use]
    pub fn start_in_turn(&self, step_s: u32, turn: u32) -> State {
        let mut state = State::new(step_s);
        state.ring = Ring::in_turn(turn);
        state.seasons.found(self.settings.period_s.unwrap_or(0));
        state
    }

    /// One value further. Never panics, whatever the value or the time.
    pub fn step(&self, state: &mut State, at_s: i64, value: Option<f64>) -> Step {
        let Some(value) = value.filter(|it| it.is_finite() && at_s > state.last_s) else {
            let confidence = Score::ZERO;
            return Step { score: None, news: Score::ZERO, confidence, warming_up: self.warms_up(state) };
        };
        let point = state.point(at_s, value);
        let adopts = self.update(state, &point);
        let surprise = self.surprise(state);
        let news = state.episodes.step(at_s, surprise, (self.alert, adopts));
        Step {
            score: Some(self.score(surprise)),
            news: self.score(news),
            confidence: self.confidence(state),
            warming_up: self.warms_up(state),
        }
    }

    /// Every model judges the value, then it becomes part of what they know. True for the value with which what lasted is the
    /// new normal.
    fn update(&self, state: &mut State, point: &Point) -> bool {
        state.expected = state.seasons.band(point.at_s, point.step_s);
        if self.settings.period_s.is_none()
            && let Some(period_s) = state.ring.step(state.seasons.off_anchor(point.value), point)
        {
            state.seasons.found(period_s);
        }
        let off_level = state.seasons.off_level(point);
        let (seasonal, adopts) = state.seasons.step(point);
        let (isolation, newness) = state.isolation.step(point, off_level, &self.logs);
        let averages = state.averages.step(point, adopts);
        let (length, worth) = Blocks::length(point.step_s);
        let is_flat = state.flat >= FLAT_POINTS && !state.seasons.is_outside(point.step_s);
        let settled = state.blocks.settled() && !is_flat;
        let all = seasonal.into_iter().chain(isolation).chain(averages);
        for (kept, surprise) in state.surprises.iter_mut().zip(all) {
            *kept = if settled { (surprise + worth).clamp(0.0, SURPRISE_MAX) } else { 0.0 };
        }
        for (index, new) in newness.into_iter().enumerate() {
            state.newness[index] = if settled { new * NEWNESS[index] } else { 0.0 };
        }
        if state.blocks.advance(length, state.seasons.is_outside(point.step_s)) {
            state.seasons.close(&state.blocks, point);
            state.isolation.close(&state.blocks, point);
            state.averages.close(&state.blocks, point);
        }
        adopts
    }

    fn warms_up(&self, state: &State) -> bool {
        state.count < self.settings.warm_up_samples
    }

    /// Weights of the votes: the averages alone while the series warms up.
    fn shares(&self, state: &State) -> [f32; 3] {
        if self.warms_up(state) { [0.0, 0.0, 1.0] } else { self.weights }
    }

    /// ln of the hours in which something like the newest value comes once.
    fn surprise(&self, state: &State) -> f32 {
        state.votes().iter().zip(self.shares(state)).map(|(vote, share)| vote * share).sum()
    }

    /// 0.8 at the surprise that comes as often as false alarms may, and the shape of the batch ensemble's scale.
    fn score(&self, surprise: f32) -> Score {
        let square = f64::from(surprise / self.alert).powi(2);
        Score::clamped(square / (square + 0.25))
    }

    fn confidence(&self, state: &State) -> Score {
        if self.warms_up(state) {
            let share = f64::from(state.count) / f64::from(self.settings.warm_up_samples.max(1));
            return Score::clamped(WARM_UP_CONFIDENCE * share);
        }
        let voting = self.shares(state).map(|share| if share > 0.0 { 1.0 } else { 0.0 });
        let scores = state.votes().map(|vote| self.score(vote).get());
        let mean_of = |values: [f64; 3]| {
            let sum: f64 = values.iter().zip(voting).map(|(value, counts)| value * counts).sum();
            sum / voting.iter().sum::<f64>().max(1.0)
        };
        let mean = mean_of(scores);
        let variance = mean_of(scores.map(|it| (it - mean).powi(2)));
        Score::clamped(1.0 - variance.sqrt())
    }
}
