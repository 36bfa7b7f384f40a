//! The status of `RemediationPolicy` objects. What is known about the policies comes in, a status is written where it is not
//! what it should be. It is a projection: any replica may write it, and writing it twice changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::projection::{Outage, put_status};
use crate::crd::object::{PolicyObject, Standing};
use crate::crd::policy_status::{Facts, status};
use crate::model::action::API_VERSION;
use crate::model::ids::{PolicyName, RepoId};
use crate::outside::kube::{Kube, KubeError, Place, Resource};

/// Most writes of one tick; what is left waits for the next one.
const WRITES_MAX: usize = 100;

/// The objects of one cluster.
#[derive(Debug)]
pub struct Policies {
    kube: Kube,
    resource: Resource,
    repository: RepoId,
    outage: Outage,
}

/// An object, what became of it, and what is known about the policy when it is in force.
type Shown<'a> = (&'a PolicyObject, &'a Standing, Option<&'a Facts>);

impl Policies {
    #[must_use]
    pub fn new(kube: Kube, resource: Resource, repository: RepoId) -> Self {
        Self { kube, resource, repository, outage: Outage::default() }
    }

    /// Brings the status of each object in line. What cannot be written is logged and tried again at the next tick.
    pub async fn show<'a>(
        &mut self,
        objects: impl Iterator<Item = (&'a PolicyObject, &'a Standing)>,
        facts: &BTreeMap<PolicyName, Facts>,
        now: Timestamp,
    ) {
        let known = |it: &PolicyObject, standing: &Standing| {
            let is_shown = matches!(standing, Standing::Used | Standing::SameInRepository);
            facts.iter().find(|(name, _)| is_shown && name.as_str() == it.meta.name).map(|(_, facts)| facts)
        };
        let all: Vec<Shown<'_>> = objects.map(|(it, standing)| (it, standing, known(it, standing))).collect();
        let outcome = self.bring_in_line(&all, now).await;
        self.outage.note(outcome);
    }

    async fn bring_in_line(&self, all: &[Shown<'_>], now: Timestamp) -> Result<(), KubeError> {
        let head = json!({ "apiVersion": API_VERSION, "kind": "RemediationPolicy" });
        let (mut writes, mut first_error) = (0, None);
        for (it, standing, facts) in all {
            let Some(wanted) = status(it, standing, *facts, &self.repository, now) else { continue };
            let place =
                Place { resource: self.resource, namespace: Some(&it.meta.namespace), name: &it.meta.name };
            match put_status(&self.kube, place, &head, &it.status, &wanted).await {
                Ok(count) => writes += count,
                // Deleted since it was read.
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
            if writes >= WRITES_MAX {
                break;
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}
