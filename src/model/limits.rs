//! Budgets: how often, for one policy and for all, and how many proposals at once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Limits over all policies of one repository, from the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GlobalLimits {
    pub max_executions_per_hour: u32,
    pub max_open_proposals: u32,
}

impl Default for GlobalLimits {
    fn default() -> Self {
        Self { max_executions_per_hour: 6, max_open_proposals: 10 }
    }
}

/// When a proposal that waits for a person joins the branch of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchLimits {
    /// A branch is joined for this long after its first commit, seconds.
    pub window_s: u32,
    /// Most actions on one branch.
    pub max_actions: u32,
}

/// The limits in force when a reservation was made; recorded with it, so that an audit can recount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsInForce {
    pub policy_per_hour: u32,
    pub global_per_hour: u32,
    pub cooldown_s: u32,
    pub max_open_proposals: u32,
}

/// One line of the budget: used, allowed, and when the next slot frees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetUse {
    pub name: String,
    pub used: u32,
    pub limit: u32,
    pub next_free: Option<Timestamp>,
}
