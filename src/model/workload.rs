//! What the repository says about a target, as a decision needs it: desired state, never live state.

use serde::{Deserialize, Serialize};

use super::ids::{ObjectId, RepoPath, WorkloadRef};

/// Who owns the replica count of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaOwner {
    /// The workload's own `spec.replicas` (or a Kustomize `replicas:` entry for it).
    Workload,
    /// A HorizontalPodAutoscaler with these bounds.
    Autoscaler { target: WorkloadRef, min: u32, max: u32 },
    /// Something tars may not edit around, for example a KEDA ScaledObject; the text says what.
    Other(String),
}

/// A container and its image as rendered for the target's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub name: String,
    pub image: String,
}

/// An earlier state of the target's pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRelease {
    /// Newest commit at which the containers below were in force.
    pub commit: ObjectId,
    pub containers: Vec<Container>,
    /// Did anything of the pod template except images differ from today's?
    pub only_images_differ: bool,
}

/// Desired state of one target at one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub target: WorkloadRef,
    /// File that declares the object (the Kustomize base when there is one).
    pub declared_in: RepoPath,
    /// Rendered `spec.replicas`; `None` when the manifest leaves it out.
    pub replicas: Option<u32>,
    pub owner: ReplicaOwner,
    pub containers: Vec<Container>,
    /// `kubectl.kubernetes.io/restartedAt` of the pod template.
    pub restarted_at: Option<String>,
    /// The most pods a rollout may take down at once under the declared strategy; `None`: all of them
    /// (`Recreate`).
    pub max_unavailable: Option<u32>,
    /// When the pod template last changed, and the commit that did it; `None` when history does not show it.
    pub last_release: Option<(jiff::Timestamp, ObjectId)>,
    /// What ran before that.
    pub previous: Option<PastRelease>,
    /// Why history shows no release to go back to, when it says more than that.
    pub no_release: Option<String>,
    /// Nothing renders the target here, for this reason: of it, only the count at a named place is known.
    pub unrendered: Option<String>,
}

/// How many replicas a workload has in the cluster, and who decides that there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCount {
    pub replicas: u32,
    /// Who wrote the count last, as the API server notes it.
    pub set_by: Option<String>,
    pub autoscaler: Option<LiveAutoscaler>,
}

/// A HorizontalPodAutoscaler that scales the workload in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAutoscaler {
    pub name: String,
    pub min: u32,
    pub max: u32,
}
