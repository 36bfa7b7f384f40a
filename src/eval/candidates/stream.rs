//! The streaming detector, as it would watch a live series; either its scores, or what of them is news after the
//! scores of the last hours.

use super::{Candidate, Meta};
use crate::detect::stream::{Detector, Settings, State};

#[derive(Debug)]
pub struct Stream {
    detector: Detector,
    state: State,
    news: bool,
}

impl Stream {
    pub fn new(meta: Meta, news: bool) -> Self {
        let false_alarms_per_week = meta.false_alarms_per_week;
        let detector = Detector::new(&Settings { false_alarms_per_week, ..Settings::default() });
        let state = detector.start(meta.interval_s);
        Self { detector, state, news }
    }
}

impl Candidate for Stream {
    fn step(&mut self, at_s: i64, value: Option<f64>) -> f64 {
        let step = self.detector.step(&mut self.state, at_s, value);
        let score = if self.news { Some(step.news) } else { step.score };
        score.map_or(0.0, |it| it.get())
    }
}
