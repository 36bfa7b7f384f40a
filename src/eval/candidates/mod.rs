//! The detectors that can be compared. A series comes in row by row, a score per row goes out; a candidate never
//! sees a label or a later row. Figures are made elsewhere.

mod batch;
mod ewma;
mod gaussian;
mod seasonal;
mod stream;

/// What a detector is told of a series before its first row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meta {
    pub interval_s: u32,
    /// A detector that refits for every score may do so only every so many rows; its score stands in between.
    pub every: usize,
    /// What a score of 0.8 of the streaming detector means.
    pub false_alarms_per_week: f64,
}

/// A detector under test.
pub trait Candidate {
    /// The score of the next row, finite and in 0..=1; 0 for a missing value.
    fn step(&mut self, at_s: i64, value: Option<f64>) -> f64;
}

/// Which detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateName {
    /// The declared ensemble, refitted for every score.
    Batch,
    /// Moving average and variance alone.
    Ewma,
    /// Mean and deviation of a sliding window.
    Gaussian,
    /// Trend and seasons, refitted every day.
    Seasonal,
    /// The ensemble, updated by every value.
    Stream,
    /// The same, less what it said in the last hours: what a page is worth.
    StreamNews,
}

impl CandidateName {
    #[cfg(test)]
    pub const ALL: [Self; 6] =
        [Self::Batch, Self::Ewma, Self::Gaussian, Self::Seasonal, Self::Stream, Self::StreamNews];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Ewma => "ewma",
            Self::Gaussian => "gaussian",
            Self::Seasonal => "seasonal",
            Self::Stream => "stream",
            Self::StreamNews => "stream-news",
        }
    }

    /// Does it refit for every score, so that [`Meta::every`] matters?
    #[must_use]
    pub fn refits(self) -> bool {
        matches!(self, Self::Batch)
    }

    /// A fresh detector for one series.
    #[must_use]
    pub fn start(self, meta: Meta) -> Box<dyn Candidate> {
        match self {
            Self::Batch => Box::new(batch::Batch::new(meta)),
            Self::Ewma => Box::new(ewma::Ewma::default()),
            Self::Gaussian => Box::new(gaussian::Gaussian::default()),
            Self::Seasonal => Box::new(seasonal::Seasonal::new(meta)),
            Self::Stream => Box::new(stream::Stream::new(meta, false)),
            Self::StreamNews => Box::new(stream::Stream::new(meta, true)),
        }
    }
}

/// The scale that all candidates share with the ensemble: 0.5 at 3 sigma, 0.8 at 6.
fn of_sigmas(z: f64) -> f64 {
    let square = z.clamp(-1e9, 1e9).powi(2);
    if square.is_finite() { square / (square + 9.0) } else { 0.0 }
}
