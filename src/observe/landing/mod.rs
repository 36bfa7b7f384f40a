//! Where a merged commit is in the cluster: which Argo CD or Flux object brings the target, what that has applied, and
//! whether the workload has followed. An action and the index of the repository come in; what the API server shows goes
//! out as [`Seen`]. Nothing is written, a message of a controller decides nothing, and what could not be read is an error
//! and never "not yet".

mod delivery;
mod live;
mod origin;
mod rollout;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value as Json;

pub use self::delivery::Delivery;
use self::origin::{Bringer, BringerKind};
use crate::layout::{self, Index};
use crate::model::action::RemediationAction;
use crate::model::change::RenderedChange;
use crate::model::ids::{Namespace, ObjectId, WorkloadRef};
use crate::model::playbook::Plan;
use crate::model::workload::LiveCount;
use crate::outside::kube::{Kube, KubeError, Place, Resource, Selection};

/// Deepest chain of deliveries that bring deliveries that is followed; real ones have two or three.
const CHAIN_MAX: usize = 5;
/// Most Applications of one name that are looked at.
const NAMESAKES_MAX: usize = 20;
/// Most objects of one action that are looked at.
const OBJECTS_MAX: usize = 20;
/// Most autoscalers of one namespace that are looked at.
const AUTOSCALERS_MAX: usize = 1_000;

pub const APPLICATIONS: Resource =
    Resource { group: "argoproj.io", version: "v1alpha1", plural: "applications" };
pub const KUSTOMIZATIONS: Resource =
    Resource { group: "kustomize.toolkit.fluxcd.io", version: "v1", plural: "kustomizations" };
pub const HELM_RELEASES: Resource =
    Resource { group: "helm.toolkit.fluxcd.io", version: "v2", plural: "helmreleases" };
const GIT_REPOSITORIES: Resource =
    Resource { group: "source.toolkit.fluxcd.io", version: "v1", plural: "gitrepositories" };
const AUTOSCALERS: Resource =
    Resource { group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers" };
const HELM_CHARTS: Resource =
    Resource { group: "source.toolkit.fluxcd.io", version: "v1", plural: "helmcharts" };

/// Kinds that a change is looked for in.
fn resource_of(kind: &str) -> Option<Resource> {
    let (group, version, plural) = match kind {
        "Deployment" => ("apps", "v1", "deployments"),
        "StatefulSet" => ("apps", "v1", "statefulsets"),
        "DaemonSet" => ("apps", "v1", "daemonsets"),
        "HorizontalPodAutoscaler" => return Some(AUTOSCALERS),
        "Rollout" => ("argoproj.io", "v1alpha1", "rollouts"),
        "ScaledObject" => ("keda.sh", "v1alpha1", "scaledobjects"),
        _ => return None,
    };
    Some(Resource { group, version, plural })
}

/// Looks at one cluster.
#[derive(Debug, Clone)]
pub struct Landing {
    kube: Kube,
    /// Empty: all.
    namespaces: Vec<Namespace>,
}

/// What the cluster shows of one action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What brings the objects, the nearest first.
    pub chain: Vec<Delivery>,
    /// What of the change does not run yet.
    pub waits: Option<String>,
    /// The objects are not in this cluster.
    pub is_elsewhere: bool,
}

/// What the objects in the cluster say about one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// It is applied, and the workload has followed.
    Yes,
    /// Not yet, and why.
    NotYet(String),
}

impl Seen {
    /// Has the commit arrived? `contains` says whether a commit contains it, `None` when that commit is not known.
    #[must_use]
    pub fn landed(&self, contains: &dyn Fn(&ObjectId) -> Option<bool>) -> Landed {
        let (mut problem, mut behind) = (None, None);
        for delivery in &self.chain {
            let label = &delivery.label;
            let answers: Vec<Option<bool>> = delivery.applied.iter().map(contains).collect();
            if answers.contains(&Some(true)) {
                return problem.map_or_else(|| self.runs(behind), Landed::NotYet);
            }
            let own = delivery.problem.as_ref().map(|problem| format!("{label} {problem}"));
            problem = problem.or(own);
            // What is not of this history says nothing: what brings it in its turn has to.
            let older = delivery.applied.iter().zip(&answers).find(|(_, answer)| **answer == Some(false));
            behind = behind.or(older.map(|(id, _)| format!("{label} is at {} still", id.short())));
        }
        Landed::NotYet(problem.or(behind).unwrap_or_else(|| match self.chain.first() {
            None => "nothing says which Argo CD or Flux object brings it".to_owned(),
            Some(first) => format!("{} names no commit of this repository", first.label),
        }))
    }

    /// The commit is applied; `behind`: by something around what brings the objects, which itself may be meant to stay
    /// where it is. Then the objects alone show what arrived.
    fn runs(&self, behind: Option<String>) -> Landed {
        let far = self.chain.first().filter(|it| it.is_far && self.is_elsewhere);
        let waits = match far {
            // Its objects cannot be looked at here; what applied them can tell.
            Some(it) if it.is_healthy => None,
            Some(it) => Some(format!("{} is not healthy in its other cluster", it.label)),
            None => self.waits.clone(),
        };
        match (waits, behind) {
            (None, None) => Landed::Yes,
            (None, Some(_)) if far.is_none() => Landed::Yes,
            (Some(waits), Some(behind)) => Landed::NotYet(format!("{behind}; {waits}")),
            (Some(why), None) | (None, Some(why)) => Landed::NotYet(why),
        }
    }
}

impl Landing {
    #[must_use]
    pub fn new(kube: Kube, namespaces: Vec<Namespace>) -> Self {
        Self { kube, namespaces }
    }

    /// Looks at everything that has a hand in `record`'s change.
    ///
    /// # Errors
    /// When the API server does not answer, or does not let tars see what it asks for.
    pub async fn look(&self, record: &RemediationAction, index: &Index) -> Result<Seen, KubeError> {
        let changes = changes_of(record);
        let target = &record.spec.target;
        let mut objects: Vec<&WorkloadRef> = changes.iter().map(|it| &it.object).collect();
        objects.push(target);
        let mut seen = BTreeSet::new();
        // What tars cannot look at says nothing either way.
        objects.retain(|it| resource_of(it.kind.as_str()).is_some() && seen.insert(*it));
        let mut lives = Vec::new();
        for object in objects.into_iter().take(OBJECTS_MAX) {
            lives.push((object, self.live(object).await?));
        }
        let workload = lives.iter().find(|(it, _)| *it == target).and_then(|(_, live)| live.as_ref());
        let is_elsewhere = lives.iter().all(|(_, live)| live.is_none());
        let waits = lives.iter().find_map(|(object, live)| {
            let Some(live) = live else { return Some(format!("{object} is not in the cluster")) };
            let mut own = changes.iter().filter(|it| it.object == **object);
            let why = own.find_map(|change| rollout::differs(live, change));
            let why = why.or_else(|| workload.and_then(|workload| rollout::not_followed(live, workload)));
            why.or_else(|| rollout::unfinished(live)).map(|why| format!("{object}: {why}"))
        });
        let first = lives.first().map_or((target, None), |(first, live)| (*first, live.as_ref()));
        let chain = self.chain(first.0, first.1, index).await?;
        Ok(Seen { chain, waits, is_elsewhere })
    }

    /// The count of a target in the cluster and who owns it there; `None` when the target is not in this cluster.
    ///
    /// # Errors
    /// As [`Landing::look`].
    pub async fn count(&self, target: &WorkloadRef) -> Result<Option<LiveCount>, KubeError> {
        let Some(workload) = self.live(target).await? else { return Ok(None) };
        let selection = Selection { namespace: Some(target.namespace.as_str()), ..Selection::default() };
        let autoscalers = self.kube.list::<Json>(AUTOSCALERS, selection, AUTOSCALERS_MAX).await?;
        Ok(Some(live::count(&workload, &autoscalers.items)))
    }

    /// An object of the repository as it is in the cluster; `None` when it is not there, or of a kind tars cannot look at.
    async fn live(&self, object: &WorkloadRef) -> Result<Option<Json>, KubeError> {
        let Some(resource) = resource_of(object.kind.as_str()) else { return Ok(None) };
        self.get(resource, object.namespace.as_str(), object.name.as_str()).await
    }

    async fn get(&self, resource: Resource, namespace: &str, name: &str) -> Result<Option<Json>, KubeError> {
        let place = Place { resource, namespace: Some(namespace), name };
        match self.kube.get::<Json>(place).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What brings `object`, and what brings that. The object in the cluster says so itself; the repository is asked
    /// when it does not.
    async fn chain(
        &self,
        object: &WorkloadRef,
        live: Option<&Json>,
        index: &Index,
    ) -> Result<Vec<Delivery>, KubeError> {
        let mut chain: Vec<Delivery> = Vec::new();
        let mut brought = live.cloned().unwrap_or_default();
        let mut next = self.bringer(&brought).await?;
        if next.is_none()
            && let Some(declared) = declared(object, index)
        {
            next = self.find(declared, &brought).await?;
        }
        while let Some((bringer, body)) = next {
            let mut delivery = delivery::read(&bringer, &body, &brought);
            if chain.len() == CHAIN_MAX || chain.iter().any(|it| it.label == delivery.label) {
                break;
            }
            self.look_at_source(&bringer, &body, &mut delivery).await?;
            chain.push(delivery);
            brought = body;
            next = self.bringer(&brought).await?;
        }
        Ok(chain)
    }

    /// The nearest object that brings `object` and is there.
    async fn bringer(&self, object: &Json) -> Result<Option<(Bringer, Json)>, KubeError> {
        for bringer in origin::bringers(object) {
            if let Some(found) = self.find(bringer, object).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn find(&self, bringer: Bringer, of: &Json) -> Result<Option<(Bringer, Json)>, KubeError> {
        let resource = match bringer.kind {
            BringerKind::Application => APPLICATIONS,
            BringerKind::Kustomization => KUSTOMIZATIONS,
            BringerKind::HelmRelease => HELM_RELEASES,
        };
        if let Some(namespace) = bringer.namespace.as_deref().filter(|_| !bringer.is_guess) {
            let found = self.get(resource, namespace, &bringer.name).await?;
            return Ok(found.map(|body| (bringer, body)));
        }
        let fields = format!("metadata.name={}", bringer.name);
        let places: Vec<Option<&str>> = match &bringer.namespace {
            Some(namespace) => vec![Some(namespace.as_str())],
            None if self.namespaces.is_empty() => vec![None],
            None => self.namespaces.iter().map(|it| Some(it.as_str())).collect(),
        };
        let mut found: Vec<Json> = Vec::new();
        for namespace in &places {
            let selection =
                Selection { namespace: *namespace, fields: Some(&fields), ..Selection::default() };
            match self.kube.list::<Json>(resource, selection, NAMESAKES_MAX).await {
                Ok(listed) => found.extend(listed.items),
                // A guess needs no Argo CD.
                Err(KubeError::NotServed { .. } | KubeError::Forbidden { .. }) if bringer.is_guess => {}
                Err(error) => return Err(error),
            }
        }
        if bringer.is_guess || found.len() > 1 {
            found.retain(|application| origin::listed(application, of).is_some());
        }
        // Items of a list do not say their kind.
        Ok(found.into_iter().next().map(|mut body| {
            body["apiVersion"] = format!("{}/{}", resource.group, resource.version).into();
            body["kind"] = "Application".into();
            let namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
            (Bringer { namespace, ..bringer }, body)
        }))
    }

    /// One step further up: the source of a Flux object, and who looks at the repository.
    async fn look_at_source(
        &self,
        bringer: &Bringer,
        body: &Json,
        delivery: &mut Delivery,
    ) -> Result<(), KubeError> {
        let own = bringer.namespace.as_deref().unwrap_or_default();
        if bringer.kind == BringerKind::Application {
            delivery.looks = Some((APPLICATIONS, own.to_owned(), bringer.name.clone()));
            return Ok(());
        }
        if bringer.kind == BringerKind::HelmRelease {
            let Some((namespace, name)) =
                body["status"]["helmChart"].as_str().and_then(|it| it.split_once('/'))
            else {
                return Ok(());
            };
            if let Some(chart) = self.get(HELM_CHARTS, namespace, name).await? {
                let released = delivery::chart_commit(body, &chart).filter(|_| delivery.problem.is_none());
                delivery.applied.extend(released);
                let problem = delivery::flux_problem(&chart);
                let problem = problem.map(|why| format!("waits: HelmChart {namespace}/{name} {why}"));
                delivery.problem = delivery.problem.take().or(problem);
                delivery.looks = git_repository(&chart, namespace);
            }
            return Ok(());
        }
        let Some(source) = git_repository(body, own) else { return Ok(()) };
        let (_, namespace, name) = &source;
        let problem = match self.get(GIT_REPOSITORIES, namespace, name).await? {
            Some(body) => delivery::flux_problem(&body),
            None => Some("is not there".to_owned()),
        };
        let problem = problem.map(|why| format!("waits: GitRepository {namespace}/{name} {why}"));
        delivery.problem = delivery.problem.take().or(problem);
        delivery.looks = Some(source);
        Ok(())
    }
}

/// The GitRepository that an object of Flux in `namespace` takes its files from.
fn git_repository(object: &Json, namespace: &str) -> Option<(Resource, String, String)> {
    let source = &object["spec"]["sourceRef"];
    let name = source["name"].as_str().filter(|_| source["kind"] == "GitRepository")?;
    let namespace = source["namespace"].as_str().unwrap_or(namespace);
    Some((GIT_REPOSITORIES, namespace.to_owned(), name.to_owned()))
}

/// What the repository says brings `object`.
fn declared(object: &WorkloadRef, index: &Index) -> Option<Bringer> {
    let layout::Bringer { kind, namespace, name } = index.brought_by(object)?;
    let (kind, namespace) = match kind {
        // Its namespace is Argo CD's own where the repository leaves it out.
        layout::DeliveryKind::Application | layout::DeliveryKind::ApplicationSet => {
            (BringerKind::Application, namespace)
        }
        layout::DeliveryKind::Kustomization => (BringerKind::Kustomization, Some(namespace?)),
        layout::DeliveryKind::HelmRelease => (BringerKind::HelmRelease, Some(namespace?)),
    };
    Some(Bringer { kind, namespace, name, is_guess: false })
}

/// The fields of objects in the cluster that have to become what the commit came to.
fn changes_of(record: &RemediationAction) -> Vec<RenderedChange> {
    let spec = &record.spec;
    let rendered = spec.change.as_ref().map(|it| it.rendered.as_slice()).unwrap_or_default();
    let changes: Vec<RenderedChange> = rendered.iter().filter(|it| !it.carrier).cloned().collect();
    match &spec.plan {
        // Nothing renders it here: the plan is all that is known.
        Plan::Scale { from, to, autoscaler: None } if changes.is_empty() => vec![RenderedChange {
            object: spec.target.clone(),
            field: "spec.replicas".to_owned(),
            from: Some(from.to_string()),
            to: Some(to.to_string()),
            carrier: false,
        }],
        _ => changes,
    }
}
