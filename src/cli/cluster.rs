//! The API server: made from the settings, and checked. Settings come in; a client, or what is wrong with it and what
//! to do about that, goes out.

use super::checklist::{Line, fail, pass};
use super::failure::{Failure, Kind};
use super::rights;
use crate::config::{ClusterAt, ClusterSettings};
use crate::model::causes::causes;
use crate::outside::kube::{Access, Kube, KubeError};

/// The client of the cluster.
///
/// # Errors
/// When the kubeconfig, or the account of the pod, cannot be used.
pub async fn client(settings: &ClusterSettings) -> Result<Kube, Failure> {
    let access = match &settings.at {
        ClusterAt::InCluster => Access::InCluster,
        ClusterAt::Kubeconfig { path, context } => {
            Access::Kubeconfig { path: path.clone(), context: context.clone() }
        }
    };
    Kube::new(&access).await.map_err(|error| {
        Failure::new(Kind::Usage, "could not prepare the cluster's client")
            .because(error)
            .hint("check cluster.access, cluster.kubeconfig and cluster.context")
    })
}

/// Is there an API server that knows us?
pub async fn check(settings: &ClusterSettings) -> Vec<Line> {
    let kube = match client(settings).await {
        Ok(kube) => kube,
        Err(failure) => {
            let why = failure.source.as_deref().map_or_else(|| failure.message.clone(), |it| causes(it));
            return vec![fail(
                "cluster",
                why,
                "check cluster.access, cluster.kubeconfig and cluster.context",
            )];
        }
    };
    match kube.version().await {
        Ok(version) => {
            let mut lines = vec![pass("cluster", format!("{}, Kubernetes {version}", kube.server()))];
            lines.extend(rights::check(&kube, settings).await);
            lines
        }
        Err(error) => vec![unusable(&error)],
    }
}

fn unusable(error: &KubeError) -> Line {
    let fix = "is the API server up, and does a NetworkPolicy let tars reach it?";
    fail("cluster", causes(error), error.hint().unwrap_or_else(|| fix.to_owned()))
}
