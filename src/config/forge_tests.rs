//! Addresses of forges as people write them: what is understood, and what is refused with the right one.

use super::*;

#[test]
fn a_forge_is_found_under_every_spelling_of_its_address() {
    for (kind, url, repository, expected) in [
        (
            "gitlab",
            "https://git.example.com/",
            "group/sub/project",
            ("https://git.example.com", "group/sub", "project"),
        ),
        (
            "gitlab",
            "https://Git.Example.COM:443/lab/",
            "A/b.c/D",
            ("https://git.example.com/lab", "A/b.c", "D"),
        ),
        ("github", "https://GitHub.com", "Shop/GitOps", ("https://github.com", "Shop", "GitOps")),
        (
            "github",
            "https://example.com/github/",
            "shop/gitops",
            ("https://example.com/github", "shop", "gitops"),
        ),
        ("gitea", "http://[::1]:3000", "shop/git", ("http://[::1]:3000", "shop", "git")),
        ("gitea", "http://git:80/Sub", "shop/my.github", ("http://git/Sub", "shop", "my.github")),
    ] {
        let lines =
            format!("forge: {{kind: {kind}, url: '{url}', repository: {repository}, token_file: /t}}");
        let ForgeSettings::At(at) = resolved(&with(&lines)).unwrap().forge else { panic!("{lines}") };
        assert_eq!((at.url.as_str(), at.owner.as_str(), at.name.as_str()), expected, "{lines}");
    }
}

#[test]
fn what_people_take_for_the_address_of_a_forge_is_refused_with_the_right_one() {
    for (kind, url, repository, fix) in [
        ("gitea", "https://h/shop/gitops", "shop/gitops", "before the owner"),
        ("gitea", "https://h/Shop/GitOps.git", "shop/gitops", "before the owner"),
        ("gitlab", "https://h/lab/a/b/c", "a/b/c", "before the owner"),
        ("github", "https://github.com/shop", "shop/gitops", "before the owner"),
        ("github", "https://api.github.com", "shop/gitops", "web interface"),
        ("github", "https://h/base/api/v3/", "shop/gitops", "web interface"),
        ("gitea", "https://h/api/v1", "shop/gitops", "web interface"),
        ("gitlab", "https://h/api/v4", "shop/gitops", "web interface"),
        ("gitea", "https://h:99999", "shop/gitops", "[::1]"),
        ("gitea", "https://[::1", "shop/gitops", "[::1]"),
        ("gitea", "git@h:shop/gitops.git", "shop/gitops", "http://"),
        ("gitea", "https://h", "shop/gitops.git", "without .git"),
        ("gitlab", "https://h", "a/b/c.Git", "without .git"),
        ("gitlab", "https://h", "/a/b", "group/name"),
        ("github", "https://h", "shop/gitops/", "owner/name"),
        ("github", "https://h", "https://h/shop/gitops", "owner/name"),
        ("github", "https://h", "gitops", "owner/name"),
    ] {
        let lines =
            format!("forge: {{kind: {kind}, url: '{url}', repository: '{repository}', token_file: /t}}");
        let said = resolved(&with(&lines)).unwrap_err().to_string();
        assert!(said.contains(fix), "{lines}: {said}");
    }
}
