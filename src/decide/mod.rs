//! What may be done about an incident, and what may merge by itself; the only room that makes a merge permit.
//! Anomalies, alerts, policies, facts and history come in; decisions with reasons go out. It writes nothing.

mod budget;
mod choose;
mod drift;
mod incidents;
mod permit;
mod playbooks;
mod pulls;
mod rivals;
mod undo;

#[cfg(test)]
mod choose_tests;
#[cfg(test)]
mod incidents_tests;
#[cfg(test)]
mod permit_tests;
#[cfg(test)]
mod undo_tests;

use crate::model::anomaly::Score;
use crate::model::reason::Reason;
use crate::model::suspension::Suspension;
use crate::model::workload::Workload;

pub use choose::{cause_elsewhere, decide, left_alone, mode_and_risk};
pub use drift::drifted;
pub use incidents::{Evidence, active_triggers, cause_key, incidents, lasts, suspected};
pub use permit::{BranchSeen, MergePermit, PermitRequest, permit};
pub use playbooks::plan;
pub use pulls::{Ground, HOLD_LABEL, OnForge, PullSeen};
pub use rivals::{RECENT_S, yields};
pub use undo::{Undoing, undo};

/// What the repository and the signals say about a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub workload: Result<Workload, Reason>,
    /// Newest value of the load signal that a queue-sized ScaleOut names.
    pub load: Option<f64>,
    /// Is the newest value of the signal that verification judges by inside its target? `None`: no data.
    pub inside_target: Option<bool>,
}

/// What the surroundings say: nothing merges by itself while one of these objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Guards {
    /// The freeze, when there is one; it may be over.
    pub frozen: Option<Suspension>,
    /// The comparison of the local clock with an outside one.
    pub clock: Result<(), Reason>,
    /// Evidence older than this, in seconds, merges nothing.
    pub evidence_age_max_s: u32,
    /// Anomalies below this confidence merge nothing.
    pub min_confidence: Score,
}
