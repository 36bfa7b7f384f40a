//! Which paths and which kinds of object may be written. A path with a policy's prefixes, or an object, comes
//! in; permission or a refusal goes out. What a field means is not looked at here.

use serde_json::Value as Json;

use crate::model::ids::RepoPath;
use crate::model::reason::{Reason, ReasonCode};

/// First folders that decide what runs on a push, or who may push.
const FOLDERS: [&str; 9] = [
    ".github",
    ".gitlab",
    ".gitea",
    ".forgejo",
    ".circleci",
    ".buildkite",
    ".woodpecker",
    ".tekton",
    "policies",
];

/// File names that do the same, wherever they stand; without `.yml` or `.yaml`.
const FILES: [&str; 14] = [
    "codeowners",
    "owners",
    "owners_aliases",
    ".sops",
    ".gitlab-ci",
    ".drone",
    ".travis",
    ".woodpecker",
    ".pre-commit-config",
    "azure-pipelines",
    "bitbucket-pipelines",
    "appveyor",
    ".gitattributes",
    ".gitmodules",
];

/// API groups whose objects decide who may do what, or what may run; every group below them as well.
const GROUPS: [&str; 15] = [
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "certificates.k8s.io",
    "policy.networking.k8s.io",
    "kyverno.io",
    "gatekeeper.sh",
    "cilium.io",
    "projectcalico.org",
    "security.istio.io",
    "cert-manager.io",
    "external-secrets.io",
    "bitnami.com",
    "aiops.tars",
];

/// Kinds that do the same in whatever group they claim to be.
const KINDS: [&str; 11] = [
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ServiceAccount",
    "Secret",
    "SealedSecret",
    "Namespace",
    "NetworkPolicy",
    "PodSecurityPolicy",
    "AppProject",
];

/// Files that decide who may change files, and what tars itself may do: never written, whatever a policy
/// allows. Compared without case, because forges look some of them up that way.
fn is_protected(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let first = path.split('/').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let stem = last.strip_suffix(".yaml").or_else(|| last.strip_suffix(".yml")).unwrap_or(last);
    FOLDERS.contains(&first) || first.starts_with("tars") || FILES.contains(&stem)
}

/// May this object, or this document of a file, be changed? Not when it decides who may do what: no change
/// to such an object is a remediation, whatever a policy allows.
///
/// # Errors
/// `TargetNotAllowed`.
pub fn may_change(object: &Json) -> Result<(), Reason> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let group = version.split_once('/').map_or("", |(group, _)| group).to_ascii_lowercase();
    let in_group = |it: &str| group == it || group.strip_suffix(it).is_some_and(|above| above.ends_with('.'));
    if GROUPS.iter().any(|it| in_group(it)) || KINDS.contains(&kind) {
        let text = format!("{kind} ({version}) is a protected kind: it decides who may do what");
        return Err(Reason::new(ReasonCode::TargetNotAllowed, text));
    }
    Ok(())
}

/// May `path` be written under these prefixes? No prefix means everywhere that is not protected.
///
/// # Errors
/// `PathNotAllowed`.
pub fn may_write(path: &RepoPath, allowed: &[RepoPath]) -> Result<(), Reason> {
    let refuse = |why: String| Err(Reason::new(ReasonCode::PathNotAllowed, why));
    if is_protected(path.as_str()) {
        return refuse(format!("{path} is a protected path"));
    }
    let below = |prefix: &RepoPath| {
        path.as_str()
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if allowed.is_empty() || allowed.iter().any(below) {
        return Ok(());
    }
    let prefixes: Vec<&str> = allowed.iter().map(RepoPath::as_str).collect();
    refuse(format!("{path} is not below {}", prefixes.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    #[test]
    fn protected_paths_stay_protected_even_when_a_policy_names_them() {
        for protected in [
            "CODEOWNERS",
            "docs/CODEOWNERS",
            ".github/workflows/ci.yml",
            ".GitHub/workflows/ci.yml",
            ".gitlab-ci.yml",
            ".sops.yaml",
            "apps/.sops.yaml",
            "policies/backend.yaml",
            "tars.yaml",
            "tars/config.yaml",
            ".circleci/config.yml",
            "azure-pipelines.yml",
            "x/.woodpecker.yaml",
            "OWNERS",
        ] {
            let refused = may_write(&path(protected), &[path(protected)]).unwrap_err();
            assert_eq!(refused.code, ReasonCode::PathNotAllowed, "{protected}");
        }
        assert!(may_write(&path("apps/policies/x.yaml"), &[]).is_ok());
    }

    #[test]
    fn kinds_that_decide_who_may_do_what_are_protected_in_every_spelling_of_their_group() {
        let object = |version: &str, kind: &str| serde_json::json!({"apiVersion": version, "kind": kind});
        for (version, kind) in [
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
            ("RBAC.authorization.k8s.io/v1", "Anything"),
            ("policies.kyverno.io/v1", "ValidatingPolicy"),
            ("constraints.gatekeeper.sh/v1beta1", "K8sRequiredLabels"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("v1", "Secret"),
            ("", "Role"),
            ("aiops.tars/v1alpha1", "RemediationPolicy"),
        ] {
            let refused = may_change(&object(version, kind)).unwrap_err();
            assert_eq!(refused.code, ReasonCode::TargetNotAllowed, "{version} {kind}");
            assert!(refused.text.contains(kind), "{}", refused.text);
        }
        for (version, kind) in [
            ("apps/v1", "Deployment"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
            ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
            ("argoproj.io/v1alpha1", "Application"),
            ("networking.istio.io/v1", "DestinationRule"),
            ("notkyverno.io/v1", "Deployment"),
            ("", ""),
        ] {
            may_change(&object(version, kind)).unwrap();
        }
    }

    #[test]
    fn a_prefix_ends_at_a_folder() {
        assert!(may_write(&path("apps/shop/a.yaml"), &[path("apps/shop")]).is_ok());
        assert!(may_write(&path("apps/shop-other/a.yaml"), &[path("apps/shop")]).is_err());
        assert!(may_write(&path("apps/shop/a.yaml"), &[path("apps/shop/a.yaml")]).is_ok());
    }
}
