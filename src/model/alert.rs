//! Alerts as Alertmanager sends them, reduced to what a decision needs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::WorkloadRef;

/// Alertmanager's two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

/// One alert of a webhook message. Label names and values are written by strangers: they are data, and
/// never become structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    pub status: AlertStatus,
    pub labels: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    /// When it was resolved; `None` while firing.
    pub ends_at: Option<Timestamp>,
    /// Alertmanager's fingerprint of the label set.
    pub fingerprint: String,
    /// The workload that owns the pod it is about, where the cluster was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<WorkloadRef>,
}

impl Alert {
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }
}
