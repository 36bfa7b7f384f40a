//! Who brings an object to its cluster, as the object itself says by the labels and annotations that Flux and Argo CD
//! leave on it. The object comes in, the names of what brings it go out, the nearest first. Nothing is read here.

use std::fmt;

use serde_json::Value as Json;

/// What kind of object brings others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BringerKind {
    /// Argo CD.
    Application,
    /// Flux.
    Kustomization,
    /// Flux.
    HelmRelease,
}

/// The name of an object that brings others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bringer {
    pub kind: BringerKind,
    /// `None`: an Application in the namespace of its Argo CD, wherever that is.
    pub namespace: Option<String>,
    pub name: String,
    /// It counts only if it lists the object among its resources: the label is one that many charts set too.
    pub is_guess: bool,
}

impl fmt::Display for Bringer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            BringerKind::Application => "Application",
            BringerKind::Kustomization => "Kustomization",
            BringerKind::HelmRelease => "HelmRelease",
        };
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}

/// Everything that `object` names as bringing it, the nearest first.
#[must_use]
pub fn bringers(object: &Json) -> Vec<Bringer> {
    let (labels, annotations) = (&object["metadata"]["labels"], &object["metadata"]["annotations"]);
    let of_flux = |kind, prefix: &str| {
        let named = |field: &str| labels[format!("{prefix}/{field}")].as_str().map(str::to_owned);
        Some(Bringer { kind, namespace: Some(named("namespace")?), name: named("name")?, is_guess: false })
    };
    let mut found = Vec::new();
    found.extend(of_flux(BringerKind::HelmRelease, "helm.toolkit.fluxcd.io"));
    found.extend(of_flux(BringerKind::Kustomization, "kustomize.toolkit.fluxcd.io"));
    let tracked = annotations["argocd.argoproj.io/tracking-id"].as_str();
    match tracked.and_then(|id| tracking(id, object)) {
        Some(application) => found.push(application),
        None => {
            let label = labels["argocd.argoproj.io/instance"].as_str();
            let label = label.or(labels["app.kubernetes.io/instance"].as_str());
            found.extend(label.map(|name| Bringer { is_guess: true, ..named_by_argo_cd(name) }));
        }
    }
    found
}

/// Reads `<application>:<group>/<kind>:<namespace>/<name>`. One that was copied from another object names that one.
fn tracking(id: &str, object: &Json) -> Option<Bringer> {
    let (application, rest) = id.split_once(':')?;
    let group = object["apiVersion"].as_str()?.rsplit_once('/').map_or("", |(group, _)| group);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let meta = &object["metadata"];
    let own =
        format!("{group}/{}:{}/{}", text(&object["kind"]), text(&meta["namespace"]), text(&meta["name"]));
    (rest == own).then(|| named_by_argo_cd(application))
}

/// `name`, or `namespace_name` for one outside of Argo CD's own namespace.
fn named_by_argo_cd(name: &str) -> Bringer {
    let (namespace, name) = match name.split_once('_') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, name),
    };
    Bringer { kind: BringerKind::Application, namespace, name: name.to_owned(), is_guess: false }
}

/// What this Application says about the object, if it counts it among its resources.
#[must_use]
pub fn listed<'a>(application: &'a Json, object: &Json) -> Option<&'a Json> {
    let resources = application["status"]["resources"].as_array();
    let meta = &object["metadata"];
    resources.into_iter().flatten().find(|it| {
        it["kind"] == object["kind"] && it["name"] == meta["name"] && it["namespace"] == meta["namespace"]
    })
}
