//! What tars says about itself: metrics with bounded labels, and typed events for the log.
//! In go model values; out come OpenMetrics text and log lines. No free text ever becomes a metric label, and
//! nothing here decides, reads or writes anything else.

pub mod events;
pub mod failures;
mod labels;
pub mod names;
pub mod setup;
