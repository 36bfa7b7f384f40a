//! Which paths may be written. A path and a policy's prefixes come in, permission or a refusal goes out;
//! content is not looked at here.

use crate::model::ids::RepoPath;
use crate::model::reason::{Reason, ReasonCode};

/// Files that decide who may change files, and what tars itself may do: never written, whatever a policy
/// allows. Compared without case, because forges look some of them up that way.
fn is_protected(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let first = path.split('/').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    matches!(first, ".github" | ".gitlab" | ".gitea" | ".forgejo" | "policies")
        || first.starts_with("tars")
        || matches!(last, "codeowners" | ".sops.yaml" | ".sops.yml" | ".gitlab-ci.yml" | ".gitlab-ci.yaml")
        || matches!(last, ".gitattributes" | ".gitmodules")
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
        ] {
            let refused = may_write(&path(protected), &[path(protected)]).unwrap_err();
            assert_eq!(refused.code, ReasonCode::PathNotAllowed, "{protected}");
        }
        assert!(may_write(&path("apps/policies/x.yaml"), &[]).is_ok());
    }

    #[test]
    fn a_prefix_ends_at_a_folder() {
        assert!(may_write(&path("apps/shop/a.yaml"), &[path("apps/shop")]).is_ok());
        assert!(may_write(&path("apps/shop-other/a.yaml"), &[path("apps/shop")]).is_err());
        assert!(may_write(&path("apps/shop/a.yaml"), &[path("apps/shop/a.yaml")]).is_ok());
    }
}
