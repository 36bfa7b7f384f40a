//! Where a commit can be looked at in a browser. The address of a clone's remote comes in, addresses of pages
//! go out; nothing is asked over the network. A host that does not say which forge it is gets no links: a
//! link to nowhere is worse than none.

/// Pages of one repository on its forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forge {
    base: String,
    commits: &'static str,
}

impl Forge {
    /// Recognises `https://host/owner/name`, `ssh://git@host/owner/name` and `git@host:owner/name` on hosts
    /// whose name has `github`, `gitlab`, `gitea`, `forgejo`, `codeberg` or `bitbucket` in it.
    #[must_use]
    pub fn of_remote(url: &str) -> Option<Self> {
        let (host, path) = match url.split_once("://") {
            Some(("https" | "http" | "ssh", rest)) => rest.split_once('/')?,
            Some(_) => return None,
            None => url.split_once(':').filter(|(host, _)| host.contains('@'))?,
        };
        // What stands before the `@` may be a password.
        let host = host.rsplit_once('@').map_or(host, |it| it.1);
        let host = host.split_once(':').map_or(host, |it| it.0).to_ascii_lowercase();
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let plain = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-/~".contains(&c));
        if path.is_empty() || !plain(&host) || !plain(path) || host.contains('/') {
            return None;
        }
        let label = |word: &str| host.split(['.', '-']).any(|it| it == word);
        let commits = match () {
            () if label("gitlab") => "-/commit",
            () if label("bitbucket") => "commits",
            () if ["github", "gitea", "forgejo", "codeberg"].into_iter().any(label) => "commit",
            () => return None,
        };
        Some(Self { base: format!("https://{host}/{path}"), commits })
    }

    /// The page of a commit, given its whole id.
    #[must_use]
    pub fn commit(&self, id: &str) -> String {
        format!("{}/{}/{id}", self.base, self.commits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_has_its_page_on_every_known_forge() {
        for (url, page) in [
            ("https://github.com/shop/gitops.git", "https://github.com/shop/gitops/commit/abc"),
            ("git@github.com:shop/gitops.git", "https://github.com/shop/gitops/commit/abc"),
            (
                "https://me:secret@gitlab.shop.example/a/b/c.git/",
                "https://gitlab.shop.example/a/b/c/-/commit/abc",
            ),
            (
                "ssh://git@gitea.shop.example:2222/shop/gitops",
                "https://gitea.shop.example/shop/gitops/commit/abc",
            ),
            ("https://bitbucket.org/shop/gitops", "https://bitbucket.org/shop/gitops/commits/abc"),
        ] {
            assert_eq!(Forge::of_remote(url).map(|it| it.commit("abc")).as_deref(), Some(page), "{url}");
        }
    }

    #[test]
    fn an_unknown_host_a_path_or_an_odd_url_has_none() {
        for url in [
            "/srv/git/github.git",
            "file:///srv/github.com/a",
            "https://git.shop.example/a/b",
            "https://notgithub.example/a/b",
            "https://github.com/",
            "https://github.com/a\u{1b}]8;;evil",
            "https://github.com/a b",
            "C:\\github",
        ] {
            assert_eq!(Forge::of_remote(url), None, "{url}");
        }
    }
}
