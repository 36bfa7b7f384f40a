//! One identity for a repository, however its URL is spelled, so that two spellings never give two budgets.
//! A URL comes in, the identity goes out. Nothing is looked up: neither names nor files.

use crate::model::ids::{RepoId, digest_hex};

/// Longest canonical text that is its own identity; a longer one is replaced by its digest.
const MAX_CHARS: usize = 200;

/// The identity of the repository at `url`. Scheme, user, default port, case, `.git` and extra slashes do not
/// count.
///
/// Forges treat owner and repository names without regard to case, so the path's case does not count either.
/// Two repositories that differ in nothing else would share an identity: they keep separate ledgers, and at
/// worst refuse each other's.
///
/// # Errors
/// What is wrong with the URL, without the URL: it may hold a password.
pub fn of_url(url: &str) -> Result<RepoId, &'static str> {
    if url.is_empty() || url.trim() != url || url.chars().any(char::is_control) {
        return Err("it is empty, or has blanks at an end or control characters");
    }
    // git reads `-...` as an option and `ext::...` as a program to run.
    let helper =
        url.split_once("::").is_some_and(|(name, _)| name.bytes().all(|c| c.is_ascii_alphanumeric()));
    if url.starts_with('-') || helper {
        return Err("it is not a repository URL that tars uses");
    }
    let text = match url.split_once("://") {
        Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
            "file" => local(rest.strip_prefix("localhost").unwrap_or(rest))?,
            "ssh" | "git+ssh" => network(rest, "22", true)?,
            "https" => network(rest, "443", false)?,
            "http" => network(rest, "80", false)?,
            "git" => network(rest, "9418", false)?,
            _ => return Err("its scheme is not one of https, http, ssh, git, file"),
        },
        None => match scp_like(url) {
            Some((host, path)) => network(&format!("{host}/{path}"), "22", true)?,
            None => local(url)?,
        },
    };
    let id =
        if text.len() > MAX_CHARS { format!("sha256:{}", digest_hex(&["repository", &text])) } else { text };
    RepoId::new(id).map_err(|_| "it has no canonical form")
}

/// `[user@]host:path`, which git takes for ssh when no slash stands before the colon (git-fetch(1)).
fn scp_like(url: &str) -> Option<(&str, &str)> {
    // An IPv6 address has colons of its own, inside brackets.
    let from = url.find(']').unwrap_or(0);
    let colon = from + url[from..].find(':')?;
    let (host, path) = (&url[..colon], &url[colon + 1..]);
    (!host.contains('/') && !host.is_empty()).then_some((host, path))
}

fn network(rest: &str, default_port: &str, user_is_plain: bool) -> Result<String, &'static str> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match authority.rsplit_once('@') {
        Some((user, _)) if !user_is_plain || user.contains(':') => {
            return Err("it holds a user or a password; use an ssh key or a credential file");
        }
        Some((_, host)) => host,
        None => authority,
    };
    let port_at = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let (name, port) = port_at.map_or((host, ""), |at| (&host[..at], &host[at + 1..]));
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_[]:".contains(&c)) {
        return Err("it has no plain host name");
    }
    if !port.bytes().all(|c| c.is_ascii_digit()) {
        return Err("its port is not a number");
    }
    let path = percent_encoded(&canonical_path(&percent_decoded(path).to_lowercase())?);
    Ok(if port.is_empty() || port == default_port {
        format!("{name}/{path}")
    } else {
        format!("{name}:{port}/{path}")
    })
}

/// A path on this machine keeps its case, and is compared as text: links are not followed.
fn local(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') {
        return Err("a local repository needs an absolute path");
    }
    Ok(format!("file:/{}", percent_encoded(&canonical_path(&percent_decoded(path))?)))
}

/// Without empty parts, `.`, and the `.git` at the end; `..` is refused, because links decide what it means.
fn canonical_path(path: &str) -> Result<String, &'static str> {
    let parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty() && *it != ".").collect();
    if parts.contains(&"..") {
        return Err("its path contains `..`");
    }
    let path = parts.join("/");
    // `x/.git` is the same repository as `x`.
    let path = path.strip_suffix("/.git").unwrap_or(&path);
    let path = path.strip_suffix(".git").unwrap_or(path);
    if path.is_empty() { Err("it has no path") } else { Ok(path.to_owned()) }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|it| std::str::from_utf8(it).ok());
        // from_str_radix alone would accept a sign.
        let hex = hex.filter(|it| it.bytes().all(|c| c.is_ascii_hexdigit()));
        if let Some(byte) = hex.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(url: &str) -> String {
        of_url(url).unwrap_or_else(|rule| panic!("{url}: {rule}")).as_str().to_owned()
    }

    #[test]
    fn one_repository_has_one_identity_however_it_is_spelled() {
        let spellings = [
            "git@h.example:o/r",
            "git@h.example:/o/r.git",
            "h.example:o/r.git/",
            "ssh://git@h.example/o/r.git",
            "ssh://h.example:22/o/r",
            "git+ssh://git@h.example/o/r",
            "https://h.example/o/r",
            "https://H.Example/O/R/",
            "HTTPS://h.example.:443//o/./r.git/",
            "http://h.example:80/o/r.git",
            "git://h.example:9418/o/r",
            "https://h.example/o/%72",
        ];
        for url in spellings {
            assert_eq!(id(url), "h.example/o/r", "{url}");
        }
        for url in [
            "/srv/git/Shop.git",
            "/srv/git//Shop/",
            "file:///srv/git/Shop.git",
            "file://localhost/srv/./git/Shop/.git",
        ] {
            assert_eq!(id(url), "file:/srv/git/Shop", "{url}");
        }
    }

    #[test]
    fn different_repositories_have_different_identities() {
        let urls = [
            "https://h.example/o/r",
            "https://h.example:8443/o/r",
            "https://h.example/o/r2",
            "https://i.example/o/r",
            "/h.example/o/r",
            "/H.example/o/r",
            "ssh://[::1]/o/r",
            "ssh://[::1]:2222/o/r",
            "https://h.example/o/r%20x",
        ];
        let ids: BTreeSet<String> = urls.iter().map(|url| id(url)).collect();
        assert_eq!(ids.len(), urls.len(), "{ids:?}");
        let long = |end: &str| id(&format!("https://h.example/{}{end}", "x".repeat(300)));
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn a_url_that_git_would_run_or_that_leaves_its_folder_is_refused() {
        for url in [
            "",
            " /srv/x",
            "-u/x:y",
            "--upload-pack=x",
            "ext::sh -c x",
            "fd::17",
            "/srv/../etc",
            "https://h/../x",
            "./x",
            "x",
            "https://h.example",
            "https:///x",
            "ftp://h/x",
            "https://h:port/x",
            "https://tok@h/x",
            "ssh://a:b@h/x",
            "h:",
            "/",
            "https://h/%2e%2e/x",
        ] {
            assert!(of_url(url).is_err(), "{url:?} must be refused");
        }
    }

    proptest! {
        #[test]
        fn decoration_never_changes_an_identity(owner in "[a-z][a-z0-9-]{0,8}", name in "[a-z][a-z0-9_-]{0,8}") {
            let plain = id(&format!("https://h.example/{owner}/{name}"));
            for url in [
                format!("git@h.example:{owner}/{name}.git"),
                format!("ssh://git@H.EXAMPLE:22/{owner}/{name}/"),
                format!("https://h.example:443/{}/{}.GIT", owner.to_uppercase(), name.to_uppercase()),
            ] {
                prop_assert_eq!(&id(&url), &plain, "{}", url);
            }
        }

        #[test]
        fn no_url_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ = of_url(&text);
            let _ = of_url(&format!("https://{text}"));
        }
    }
}
