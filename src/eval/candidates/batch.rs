//! The declared ensemble as the loop runs it: every score refits all models on the last day. The window and the
//! scoring are those of `detect`; nothing of them is repeated here.

use super::{Candidate, Meta};
use crate::detect::{EnsembleSettings, score};
use crate::model::ids::SignalName;
use crate::model::signal::{Series, SignalKey};

/// What the ensemble looks back on, seconds.
const WINDOW_S: usize = 86_400;

#[derive(Debug, Clone)]
pub struct Batch {
    /// `None` only if the fixed name were refused.
    series: Option<Series>,
    every: usize,
    rows: usize,
    standing: f64,
}

impl Batch {
    pub fn new(meta: Meta) -> Self {
        let key = SignalName::new("series").ok().map(|it| SignalKey { signal: it.clone(), service: it });
        let series = |key| Series {
            key,
            start: jiff::Timestamp::UNIX_EPOCH,
            step_s: meta.interval_s,
            values: Vec::new(),
        };
        Self { series: key.map(series), every: meta.every.max(1), rows: 0, standing: 0.0 }
    }
}

impl Candidate for Batch {
    fn step(&mut self, _at_s: i64, value: Option<f64>) -> f64 {
        let Some(series) = &mut self.series else { return 0.0 };
        let length = (WINDOW_S / series.step_s.max(1) as usize).max(2);
        series.values.push(value);
        // Cut in blocks: a vector that loses its first value moves all others.
        if series.values.len() >= 2 * length {
            series.values.drain(..series.values.len() - length);
        }
        self.rows += 1;
        if self.rows.is_multiple_of(self.every) {
            self.standing = score(series, &EnsembleSettings::default()).map_or(0.0, |it| it.score.get());
        }
        if value.is_some() { self.standing } else { 0.0 }
    }
}
