//! Recognises deliveries among objects. Live objects come in, deliveries go out.

use std::sync::Arc;

use super::Delivery;
use crate::layout::kustomize::Live;
use crate::layout::objects::FieldPath;

/// What kind of object delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Argo CD.
    Application,
    /// Argo CD.
    ApplicationSet,
    /// Flux, not the file of Kustomize.
    Kustomization,
    /// Flux.
    HelmRelease,
}

impl Kind {
    /// As it stands in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::ApplicationSet => "ApplicationSet",
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
        }
    }

    fn of(live: &Live) -> Option<Self> {
        match (live.api_version.split('/').next().unwrap_or_default(), live.kind.as_str()) {
            ("argoproj.io", "Application") => Some(Self::Application),
            ("argoproj.io", "ApplicationSet") => Some(Self::ApplicationSet),
            ("kustomize.toolkit.fluxcd.io", "Kustomization") => Some(Self::Kustomization),
            ("helm.toolkit.fluxcd.io", "HelmRelease") => Some(Self::HelmRelease),
            _ => None,
        }
    }
}

/// Every delivery among `objects`.
#[must_use]
pub fn find(objects: &[Arc<Live>]) -> Vec<Delivery> {
    objects.iter().filter_map(|live| delivery_of(live)).collect()
}

fn delivery_of(live: &Live) -> Option<Delivery> {
    Some(Delivery {
        kind: Kind::of(live)?,
        name: live.name().to_owned(),
        namespace: live.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        value: live.value.clone(),
        declared: live.declared.clone(),
        at: FieldPath::default(),
        through: live.layers.clone(),
        delivered: live.delivered.clone(),
        refusals: live.refusals.clone(),
    })
}
