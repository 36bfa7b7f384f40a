//! The `RemediationPolicy` objects of a cluster. Lists go out; objects, read and checked, come in. No copy of anything else
//! is kept, and what cannot be read is an error: whoever decides must not go on with policies that may have changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::crd::object::{PolicyObject, RawPolicy};
use crate::model::ids::Namespace;
use crate::model::policy::PoliciesFrom;
use crate::outside::kube::{Kube, KubeError, Resource, Selection};

/// Most objects; with more of them none is in force.
const OBJECTS_MAX: usize = 1_000;

pub const POLICIES: Resource =
    Resource { group: "aiops.tars", version: "v1alpha1", plural: "remediationpolicies" };

/// Which policies the cluster has is not known.
#[derive(Debug, Error)]
pub enum PoliciesError {
    #[error("could not list the policies of the cluster")]
    Unread(#[source] KubeError),
    #[error("the cluster has more than {OBJECTS_MAX} policies")]
    TooMany,
}

/// The policies of one cluster, as of the last look.
#[derive(Debug)]
pub struct ClusterPolicies {
    kube: Kube,
    /// Empty: all.
    namespaces: Vec<Namespace>,
    from: PoliciesFrom,
    objects: Vec<Arc<PolicyObject>>,
    /// Nobody wants to see objects that cannot be in force.
    is_quiet: bool,
}

impl ClusterPolicies {
    #[must_use]
    pub fn new(kube: Kube, namespaces: Vec<Namespace>, from: PoliciesFrom) -> Self {
        Self { kube, namespaces, from, objects: Vec::new(), is_quiet: false }
    }

    #[must_use]
    pub fn from(&self) -> PoliciesFrom {
        self.from
    }

    #[must_use]
    pub fn objects(&self) -> &[Arc<PolicyObject>] {
        &self.objects
    }

    /// Quiet: only what may be in force is looked at.
    pub fn set_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    /// Looks at the objects again.
    ///
    /// # Errors
    /// When they cannot be read, or are too many, and some of them may be in force. When none can be, there are none.
    pub async fn look(&mut self) -> Result<(), PoliciesError> {
        let may_be_in_force = self.from != PoliciesFrom::Repository;
        if self.is_quiet && !may_be_in_force {
            self.objects.clear();
            return Ok(());
        }
        match self.listed().await {
            Ok(raw) => {
                let known: BTreeMap<_, _> =
                    self.objects.iter().map(|it| (it.meta.uid.as_str(), it.as_ref())).collect();
                let read = |it: RawPolicy| {
                    let before = known.get(it.metadata.uid.as_str()).copied();
                    Arc::new(PolicyObject::new(it, before))
                };
                self.objects = raw.into_iter().map(read).collect();
                Ok(())
            }
            Err(_) if !may_be_in_force => {
                self.objects.clear();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn listed(&self) -> Result<Vec<RawPolicy>, PoliciesError> {
        let named = self.namespaces.iter().map(|it| Some(it.as_str()));
        let places: Vec<Option<&str>> = if self.namespaces.is_empty() { vec![None] } else { named.collect() };
        let mut all = Vec::new();
        for namespace in places {
            let selection = Selection { namespace, ..Selection::default() };
            let room = OBJECTS_MAX - all.len();
            let listed = self.kube.list::<RawPolicy>(POLICIES, selection, room).await;
            let listed = listed.map_err(PoliciesError::Unread)?;
            all.extend(listed.items);
            if listed.is_cut {
                return Err(PoliciesError::TooMany);
            }
        }
        Ok(all)
    }
}
