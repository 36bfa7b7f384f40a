//! Alerts as Alertmanager sends them, reduced to what a decision needs.

use std::collections::BTreeMap;
use std::sync::Arc;

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

/// Every alert that is remembered, found by name or by fingerprint. A storm brings thousands, and every look at the
/// policies asks; so it is sorted once, when one comes or goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alerts {
    all: BTreeMap<String, Arc<Alert>>,
    firing: BTreeMap<String, Vec<Arc<Alert>>>,
}

impl Alerts {
    /// Those that fire under this `alertname`.
    #[must_use]
    pub fn firing(&self, name: &str) -> &[Arc<Alert>] {
        self.firing.get(name).map_or(&[], Vec::as_slice)
    }

    #[must_use]
    pub fn find(&self, fingerprint: &str) -> Option<&Alert> {
        self.all.get(fingerprint).map(Arc::as_ref)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// In the order of their fingerprints.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.all.values().map(Arc::as_ref)
    }

    /// All of them, some replaced by what `change` makes of them; `None` when it changes none.
    #[must_use]
    pub fn changed(&self, change: impl Fn(&Alert) -> Option<Alert>) -> Option<Self> {
        let mut is_changed = false;
        let all = self.all.values().map(|alert| match change(alert) {
            Some(other) => {
                is_changed = true;
                Arc::new(other)
            }
            None => Arc::clone(alert),
        });
        let all = all.collect();
        is_changed.then_some(all)
    }
}

impl FromIterator<Arc<Alert>> for Alerts {
    fn from_iter<I: IntoIterator<Item = Arc<Alert>>>(alerts: I) -> Self {
        let mut sorted = Self::default();
        for alert in alerts {
            if alert.status == AlertStatus::Firing {
                sorted.firing.entry(alert.name().to_owned()).or_default().push(Arc::clone(&alert));
            }
            sorted.all.insert(alert.fingerprint.clone(), alert);
        }
        sorted
    }
}
