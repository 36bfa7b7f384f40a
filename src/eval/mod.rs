//! Judges detectors on labelled series. Scores and labels come in, the figures of an evaluation go out.
//! Never: a file, a clock, or a label in the hands of a detector. Sources stand with each metric.

mod ahead;
mod candidates;
mod causes;
mod clips;
mod dataset;
mod events;
mod incidents;
mod nab;
mod plot;
mod points;
mod quantile;
mod read;
mod record;
mod report;
mod unit;
mod vus;

#[cfg(test)]
mod tests;

pub use ahead::{AheadFigures, Answers, ForecasterName, ahead_figures, foresee};
pub use candidates::{CandidateName, Meta};
pub use causes::{
    Case, CauseFigures, Placed, RankerName, Wide, beginning, cause_figures, read_calls, read_cases, read_wide,
};
pub use clips::{Clip, choose, clips};
pub use dataset::{Figures, Judged, Scored, figures, judge};
pub use read::{Labelled, Manifest, ReadError, SeriesEntry, read_manifest, read_series};
pub use record::manifest;
pub use report::{Comparison, Page};
