//! The catalogue of actions. A variant here has a folder in `templates/`, a fixture and a heading in the
//! documentation of the same name; the architecture test compares the lists.

use serde::{Deserialize, Serialize};

use super::ids::ObjectId;
use super::signal::SignalKey;

/// Name of a playbook: a bounded set, so it may be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlaybookName {
    ScaleOut,
    Rollback,
    RestartPod,
}

impl PlaybookName {
    pub const ALL: [Self; 3] = [Self::ScaleOut, Self::Rollback, Self::RestartPod];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScaleOut => "ScaleOut",
            Self::Rollback => "Rollback",
            Self::RestartPod => "RestartPod",
        }
    }

    /// Folder below `templates/`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::ScaleOut => "scale-out",
            Self::Rollback => "rollback",
            Self::RestartPod => "restart-pod",
        }
    }
}

/// How far one ScaleOut goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ScaleBy {
    /// Add this many replicas.
    Step(u32),
    /// Multiply by this many percent (150 = half as many again), rounded up.
    FactorPercent(u32),
    /// As many as the queue needs: ceil(load / (per_replica x utilisation)), where `load` is the newest
    /// value of a signal that counts busy servers plus waiting requests.
    Queue { load: SignalKey, per_replica: u32, utilisation_percent: u32 },
}

/// What a Rollback restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RollbackScope {
    /// The image fields of the containers that changed.
    Image,
    /// The whole pod template.
    PodTemplate,
}

/// A playbook with the bounds a policy gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum PlaybookSpec {
    ScaleOut {
        by: ScaleBy,
        max_replicas: u32,
    },
    /// `max_age_s`: the release to undo must be younger than this.
    Rollback {
        scope: RollbackScope,
        max_age_s: u32,
    },
    /// Refuses when the rollout strategy could take down more than `max_pods` at once.
    RestartPod {
        max_pods: u32,
    },
}

impl PlaybookSpec {
    #[must_use]
    pub fn name(&self) -> PlaybookName {
        match self {
            Self::ScaleOut { .. } => PlaybookName::ScaleOut,
            Self::Rollback { .. } => PlaybookName::Rollback,
            Self::RestartPod { .. } => PlaybookName::RestartPod,
        }
    }
}

/// Exactly what is to change, decided; still without file or byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Plan {
    /// Replica count of the workload, or `minReplicas` of the autoscaler that owns it.
    Scale { from: u32, to: u32, autoscaler: Option<super::ids::WorkloadRef> },
    /// Images of containers back to what they were at `good`: (container, from, to).
    Images { good: ObjectId, images: Vec<ImageChange> },
    /// The pod template as it was at `good`.
    PodTemplate { good: ObjectId },
    /// `kubectl.kubernetes.io/restartedAt` on the pod template.
    Restart { restarted_at: jiff::Timestamp, previous: Option<String> },
    /// Undo of an earlier action: every field from what that action wrote back to its value before.
    Undo { changes: Vec<super::change::FieldChange> },
}

impl Plan {
    /// The commit whose tree is needed to carry this out.
    #[must_use]
    pub fn good_commit(&self) -> Option<&ObjectId> {
        match self {
            Self::Images { good, .. } | Self::PodTemplate { good } => Some(good),
            Self::Scale { .. } | Self::Restart { .. } | Self::Undo { .. } => None,
        }
    }
}

/// One container image to restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageChange {
    pub container: String,
    pub from: String,
    pub to: String,
}
