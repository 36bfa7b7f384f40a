//! What one tick did and why, as data: the log, the demo's story and the status page are made from it.

use jiff::Timestamp;

use super::error::TurnError;
use super::memory::Recorded;
use crate::crd::PolicyProblem;
use crate::model::action::RemediationAction;
use crate::model::decision::Incident;
use crate::model::reason::Reason;
use crate::render::TemplateProblem;

/// Something that happened to an action in this tick; the record is as it is afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    pub at: Timestamp,
    pub record: RemediationAction,
}

/// An incident that tars did not act on, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub incident: Incident,
    /// A person has to look.
    pub escalate: bool,
    pub reasons: Vec<Reason>,
}

/// The outcome of one tick.
#[derive(Debug, Default)]
pub struct TickReport {
    pub happenings: Vec<Happening>,
    pub held: Vec<Held>,
    /// What went wrong; empty when the tick finished.
    pub errors: Vec<TurnError>,
    /// Policies of the watched branch that were not accepted, and why.
    pub problems: Vec<PolicyProblem>,
    /// Why the repository's own template is not used.
    pub template_problem: Option<TemplateProblem>,
    /// How every push of the ledger ended.
    pub pushes: Vec<Recorded>,
    /// Times the ledger moved under a decision and it was taken again.
    pub races_lost: u32,
}
