//! What tars needs to be allowed in a cluster, and for what: one table. The roles of the chart are compared with it, and so is
//! what the API server says is allowed; the settings say which rows matter. Nothing is written.

use serde::Deserialize;
use serde_json::json;

use super::checklist::{Line, fail, pass, warn};
use crate::config::ClusterSettings;
use crate::model::causes::causes;
use crate::model::policy::PoliciesFrom;
use crate::outside::kube::{Kube, KubeError, Resource, Verb};

const REVIEWS: Resource =
    Resource { group: "authorization.k8s.io", version: "v1", plural: "selfsubjectrulesreviews" };
/// No namespace has this name, so what is allowed there is what is allowed everywhere.
const NOWHERE: &str = "tars-asks-what-is-allowed-everywhere";

/// Why a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    Policies,
    Actions,
    Events,
    Lease,
    Owners,
    Delivery,
}

impl Feature {
    fn about(self) -> &'static str {
        match self {
            Self::Policies => "policies kept in the cluster, and their status",
            Self::Actions => "the ledger as RemediationAction objects",
            Self::Events => "Events beside workloads and policies",
            Self::Lease => "one replica speaks for all",
            Self::Owners => "which workload an alert about a pod is about",
            Self::Delivery => "what delivers commits, and what owns a count of replicas",
        }
    }
}

/// Verbs on one resource.
#[derive(Debug)]
pub struct Right {
    pub group: &'static str,
    /// With its subresource.
    pub resource: &'static str,
    pub verbs: &'static [Verb],
    pub feature: Feature,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [Verb],
    feature: Feature,
) -> Right {
    Right { group, resource, verbs, feature }
}

const READ: &[Verb] = &[Verb::Get, Verb::List, Verb::Watch];
const OURS: &str = "aiops.tars";

/// Where workloads are.
pub const WATCHED: &[Right] = &[
    right("apps", "deployments", READ, Feature::Delivery),
    right("apps", "statefulsets", READ, Feature::Delivery),
    right("apps", "daemonsets", READ, Feature::Delivery),
    right("apps", "replicasets", &[Verb::Get], Feature::Owners),
    right("", "pods", &[Verb::Get], Feature::Owners),
    right("autoscaling", "horizontalpodautoscalers", READ, Feature::Delivery),
    right("argoproj.io", "rollouts", &[Verb::Get], Feature::Delivery),
    right("keda.sh", "scaledobjects", &[Verb::Get], Feature::Delivery),
    right("argoproj.io", "applications", READ, Feature::Delivery),
    right("source.toolkit.fluxcd.io", "gitrepositories", READ, Feature::Delivery),
    right("source.toolkit.fluxcd.io", "helmcharts", &[Verb::Get], Feature::Delivery),
    right("kustomize.toolkit.fluxcd.io", "kustomizations", READ, Feature::Delivery),
    right("helm.toolkit.fluxcd.io", "helmreleases", READ, Feature::Delivery),
    right(OURS, "remediationpolicies", &[Verb::List, Verb::Watch], Feature::Policies),
    right(OURS, "remediationpolicies/status", &[Verb::Patch], Feature::Policies),
    // An apply that makes the object needs both.
    right(
        OURS,
        "remediationactions",
        &[Verb::List, Verb::Create, Verb::Patch, Verb::Delete],
        Feature::Actions,
    ),
    right(OURS, "remediationactions/status", &[Verb::Patch], Feature::Actions),
    right("events.k8s.io", "events", &[Verb::Create], Feature::Events),
];

/// In tars's own namespace.
pub const OWN: &[Right] =
    &[right("coordination.k8s.io", "leases", &[Verb::Create, Verb::Get, Verb::Update], Feature::Lease)];

#[derive(Debug, Deserialize)]
struct Review {
    status: Allowed,
}

/// What the API server says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allowed {
    #[serde(default)]
    resource_rules: Vec<Rule>,
    /// Not all is listed: an authorizer cannot say.
    #[serde(default)]
    incomplete: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Rule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

impl Rule {
    fn allows(&self, right: &Right, verb: Verb, lease: &str) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|it| it == "*" || it == wanted);
        // The only name that tars asks for is that of its Lease.
        let named = self.resource_names.is_empty()
            || right.feature == Feature::Lease && self.resource_names.iter().any(|it| it == lease);
        named
            && has(&self.verbs, verb.as_str())
            && has(&self.api_groups, right.group)
            && has(&self.resources, right.resource)
    }
}

impl Allowed {
    fn lacks(&self, right: &Right, lease: &str) -> Vec<&'static str> {
        let allows = |verb: &&Verb| self.resource_rules.iter().any(|it| it.allows(right, **verb, lease));
        right.verbs.iter().filter(|it| !allows(it)).map(|it| it.as_str()).collect()
    }
}

async fn allowed(kube: &Kube, namespace: &str) -> Result<Allowed, KubeError> {
    let asked = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": namespace },
    });
    Ok(kube.create::<Review>(REVIEWS, None, &asked).await?.status)
}

/// Every right that is missing, of those that the settings need.
pub async fn check(kube: &Kube, settings: &ClusterSettings) -> Vec<Line> {
    let own = kube.default_namespace();
    let mut places: Vec<(&str, &str, &[Right])> = match settings.namespaces.as_slice() {
        [] => vec![(NOWHERE, "all namespaces", WATCHED)],
        some => some.iter().map(|it| (it.as_str(), it.as_str(), WATCHED)).collect(),
    };
    places.push((own, own, OWN));
    let mut lines = Vec::new();
    for (asked, shown, rights) in places {
        match allowed(kube, asked).await {
            Ok(allowed) => lines.extend(missing(&allowed, shown, rights, settings)),
            Err(error) => {
                let detail = format!("what is allowed in {shown} is not known: {}", causes(&error));
                lines.push(warn(
                    "rights",
                    detail,
                    "every account may ask that, unless somebody took it away",
                ));
            }
        }
    }
    if lines.is_empty() {
        lines.push(pass("rights", "everything that the settings need is allowed"));
    }
    lines
}

fn missing(allowed: &Allowed, place: &str, rights: &[Right], settings: &ClusterSettings) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut delivery = Vec::new();
    let fix = "the roles of the chart have it (rbac.create); SECURITY.md has the table";
    let unsure = if allowed.incomplete { " (the server says that it does not know all)" } else { "" };
    for right in rights {
        let verbs = allowed.lacks(right, settings.lease.as_str());
        if verbs.is_empty() {
            continue;
        }
        let dot = if right.group.is_empty() { "" } else { "." };
        let what = format!("{} on {}{dot}{}", verbs.join(", "), right.resource, right.group);
        if right.feature == Feature::Delivery {
            delivery.push(what);
            continue;
        }
        let detail = format!("no {what} in {place}: {}{unsure}", right.feature.about());
        let decides = right.feature == Feature::Policies
            && settings.policies != PoliciesFrom::Repository
            && !right.resource.contains('/');
        lines.push(if decides { fail("rights", detail, fix) } else { warn("rights", detail, fix) });
    }
    // Somebody who has no Argo CD gives no rights on it: one line for all of these, and what is needed is theirs to say.
    if !delivery.is_empty() {
        let detail = format!("no {} in {place}: {}{unsure}", delivery.join("; "), Feature::Delivery.about());
        lines.push(warn("rights", detail, fix));
    }
    lines
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
