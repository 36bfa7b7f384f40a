//! The settings about the cluster, resolved: how its API server is reached. Raw settings come in,
//! a place that can be asked goes out. No file is opened and nothing is asked.

use std::path::PathBuf;

use super::ConfigError;
use super::raw::{self, ClusterAccess};
use super::resolve::Resolve;
use crate::model::ids::{Namespace, ObjectName};
use crate::model::policy::PoliciesFrom;

/// Most namespaces that are looked at one by one; whoever has more looks at all.
const NAMESPACES_MAX: usize = 100;

const LEASE: &str = "tars";

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum ClusterAt {
    /// With the service account of the pod.
    InCluster,
    Kubeconfig {
        path: PathBuf,
        context: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClusterSettings {
    pub at: ClusterAt,
    /// Empty: all.
    pub namespaces: Vec<Namespace>,
    pub policies: PoliciesFrom,
    /// Of tars's own namespace; shared by the replicas of one installation.
    pub lease: ObjectName,
}

impl Resolve<'_> {
    pub(super) fn cluster(&self, raw: &raw::Cluster) -> Result<Option<ClusterSettings>, ConfigError> {
        let at = match raw.access {
            ClusterAccess::None => {
                self.without_a_cluster(raw)?;
                return Ok(None);
            }
            ClusterAccess::InCluster => {
                self.is_absent("kubeconfig", raw.kubeconfig.as_ref())?;
                self.is_absent("context", raw.context.as_ref())?;
                ClusterAt::InCluster
            }
            ClusterAccess::Kubeconfig => {
                let path = self.required("cluster.kubeconfig", raw.kubeconfig.as_ref())?.into();
                ClusterAt::Kubeconfig { path, context: raw.context.clone() }
            }
        };
        self.at_most("cluster.namespaces", &raw.namespaces, NAMESPACES_MAX)?;
        let mut namespaces = Vec::new();
        for (index, name) in raw.namespaces.iter().enumerate() {
            let path = format!("cluster.namespaces.{index}");
            let name = self.name(&path, Namespace::new(name.as_str()))?;
            if namespaces.contains(&name) {
                return Err(self.origins.error(&path, "this namespace is there twice", "remove one of them"));
            }
            namespaces.push(name);
        }
        let policies = match raw.policies {
            raw::PoliciesFrom::Repository => PoliciesFrom::Repository,
            raw::PoliciesFrom::Cluster => PoliciesFrom::Cluster,
            raw::PoliciesFrom::Both => PoliciesFrom::Both,
        };
        let lease = self.name("cluster.lease", ObjectName::new(raw.lease.as_deref().unwrap_or(LEASE)))?;
        Ok(Some(ClusterSettings { at, namespaces, policies, lease }))
    }

    fn without_a_cluster(&self, raw: &raw::Cluster) -> Result<(), ConfigError> {
        self.is_absent("kubeconfig", raw.kubeconfig.as_ref())?;
        self.is_absent("context", raw.context.as_ref())?;
        self.is_absent("namespaces", raw.namespaces.first())?;
        self.is_absent("lease", raw.lease.as_ref())?;
        if raw.policies == raw::PoliciesFrom::Repository {
            return Ok(());
        }
        let message = "policies cannot be read from a cluster that is not asked";
        Err(self.origins.error("cluster.policies", message, "see cluster.access, or remove it"))
    }

    fn is_absent(&self, field: &str, value: Option<&String>) -> Result<(), ConfigError> {
        if value.is_none() {
            return Ok(());
        }
        let message = "this does not belong to this kind of access";
        let fix = "see cluster.access, or remove it";
        Err(self.origins.error(&format!("cluster.{field}"), message, fix))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, Settings, parse, resolve};
    use super::*;

    fn resolved(lines: &str) -> Result<Settings, ConfigError> {
        let needed = "repository: {url: 'https://git.example.com/a/b'}\nprometheus: {url: 'http://p:9090'}\n\
                      signing: {key_file: /k, allowed_signers_file: /a}\nwebhook: {enabled: false}\n";
        resolve(&parse(&format!("{needed}{lines}\n"), "tars.yaml")?, &|_| None, &Overrides::default())
    }

    #[test]
    fn a_cluster_is_asked_only_when_the_settings_say_how() {
        assert_eq!(resolved("").unwrap().cluster, None);
        let lines = "cluster: {access: kubeconfig, kubeconfig: /k, context: c, namespaces: [shop]}";
        let expected = ClusterSettings {
            at: ClusterAt::Kubeconfig { path: "/k".into(), context: Some("c".into()) },
            namespaces: vec![Namespace::new("shop").unwrap()],
            policies: PoliciesFrom::Repository,
            lease: ObjectName::new("tars").unwrap(),
        };
        assert_eq!(resolved(lines).unwrap().cluster, Some(expected));
        let it = resolved("cluster: {access: inCluster}").unwrap().cluster.unwrap();
        assert_eq!(it.at, ClusterAt::InCluster);
        let it = resolved("cluster: {access: inCluster, policies: both, lease: shop-tars}").unwrap();
        let it = it.cluster.unwrap();
        assert_eq!((it.policies, it.lease.as_str()), (PoliciesFrom::Both, "shop-tars"));
    }

    #[test]
    fn what_does_not_belong_to_the_kind_of_access_is_refused_where_it_stands() {
        for (lines, field) in [
            ("cluster: {kubeconfig: /k}", "cluster.kubeconfig"),
            ("cluster: {namespaces: [shop]}", "cluster.namespaces"),
            ("cluster: {policies: cluster}", "cluster.policies"),
            ("cluster: {lease: tars}", "cluster.lease"),
            ("cluster: {access: inCluster, lease: Shop}", "cluster.lease"),
            ("cluster: {access: inCluster, context: c}", "cluster.context"),
            ("cluster: {access: kubeconfig}", "cluster.kubeconfig"),
            ("cluster: {access: inCluster, namespaces: [Shop]}", "cluster.namespaces.0"),
            ("cluster: {access: inCluster, namespaces: [a, a]}", "cluster.namespaces.1"),
        ] {
            assert_eq!(resolved(lines).unwrap_err().field, field, "{lines}");
        }
    }
}
