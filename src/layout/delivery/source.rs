//! Is a source this repository, at the commit that is looked at? Addresses and revisions come in, an answer goes
//! out.

/// What is known about the repository that is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Every address people write for it; empty: not known, and every address is taken for it.
    pub urls: Vec<String>,
    /// The watched branch; `None`: not known.
    pub branch: Option<String>,
}

/// Whose repository an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Ours,
    /// Taken for ours because nothing says otherwise.
    Presumed,
    Other,
}

impl About {
    /// A sentence part about an address that is not ours.
    #[must_use]
    pub fn foreign(&self, url: &str) -> String {
        format!(
            "{url}, which is another repository; if it is this one, add the address to repository.aliases"
        )
    }

    /// Is it a repository of the same name as this one, at whatever address?
    #[must_use]
    pub fn is_namesake(&self, url: &str) -> bool {
        let name = |url: &str| normal(url).rsplit('/').next().unwrap_or_default().to_owned();
        self.urls.iter().any(|own| name(own) == name(url))
    }

    #[must_use]
    pub fn whose(&self, url: &str) -> Whose {
        if self.urls.is_empty() {
            return Whose::Presumed;
        }
        let wanted = normal(url);
        if self.urls.iter().any(|own| normal(own) == wanted) { Whose::Ours } else { Whose::Other }
    }

    /// Does `revision` follow the watched branch? Otherwise the reason, to be put behind the source's name.
    ///
    /// # Errors
    /// A sentence part.
    pub fn follows(&self, revision: Option<&str>) -> Result<(), String> {
        let revision = revision.unwrap_or_default();
        let name = revision.strip_prefix("refs/heads/").unwrap_or(revision);
        if name.is_empty() || name == "HEAD" {
            return Ok(());
        }
        match &self.branch {
            Some(branch) if branch == name => Ok(()),
            Some(branch) => Err(format!("follows {revision}, not the watched branch {branch}")),
            None if is_fixed(revision) => Err(format!("stays at {revision}")),
            None => Ok(()),
        }
    }
}

/// A tag, a version range or a commit: what is committed to a branch does not arrive.
fn is_fixed(revision: &str) -> bool {
    let digits = revision.strip_prefix('v').unwrap_or(revision);
    let is_commit = revision.len() >= 7 && revision.bytes().all(|c| c.is_ascii_hexdigit());
    revision.starts_with("refs/")
        || is_commit
        || digits.starts_with(|c: char| c.is_ascii_digit())
        || revision.contains(['*', '^', '~', '>', '<', '='])
}

/// `host/path` in lower case: scheme, user, port, `.git` and slashes at the end say nothing about which
/// repository it is.
fn normal(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url).trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(s, rest)| (Some(s), rest));
    let (host, path) = match (scheme, rest.split_once(':')) {
        // git@host:path
        (None, Some((host, path))) if !host.contains('/') => (host, path),
        _ => rest.split_once('/').unwrap_or((rest, "")),
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = host.split(':').next().unwrap_or(host);
    format!("{}/{}", host, path.trim_matches('/')).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_many_addresses() {
        let about =
            About { urls: vec!["ssh://git@git.example.com:2222/shop/gitops.git".into()], branch: None };
        for (url, whose) in [
            ("https://git.example.com/shop/gitops", Whose::Ours),
            ("https://Git.example.com/shop/gitops.git/", Whose::Ours),
            ("git@git.example.com:shop/gitops.git", Whose::Ours),
            ("https://git.example.com/shop/other.git", Whose::Other),
            ("https://elsewhere.example.com/shop/gitops.git", Whose::Other),
        ] {
            assert_eq!(about.whose(url), whose, "{url}");
        }
        assert_eq!(About::default().whose("https://x"), Whose::Presumed);
    }

    #[test]
    fn only_the_watched_branch_is_followed() {
        let about = About { urls: Vec::new(), branch: Some("main".into()) };
        for (revision, follows) in [
            (None, true),
            (Some(""), true),
            (Some("HEAD"), true),
            (Some("main"), true),
            (Some("refs/heads/main"), true),
            (Some("release"), false),
            (Some("v1.2.3"), false),
        ] {
            assert_eq!(about.follows(revision).is_ok(), follows, "{revision:?}");
        }
        let unknown = About::default();
        for (revision, follows) in [
            ("main", true),
            ("production", true),
            ("v1.2.3", false),
            ("1.*", false),
            (">= 1.0", false),
            ("0123456789abcdef0123456789abcdef01234567", false),
            ("refs/tags/x", false),
        ] {
            assert_eq!(unknown.follows(Some(revision)).is_ok(), follows, "{revision:?}");
        }
    }
}
