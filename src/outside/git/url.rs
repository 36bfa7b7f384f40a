//! Which remote addresses are acceptable, and what is allowed for each kind. A string in, a [`RemoteUrl`] or
//! the reason out. A refused address is never repeated in the message: it may hold a password.

use std::net::IpAddr;

use reqwest::Url;

use super::GitError;

const URL_BYTES_MAX: usize = 2048;

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Local,
    Https,
    /// Only to this machine.
    Http,
    Ssh,
}

impl Scheme {
    /// Git's name of the protocol, as in `protocol.<name>.allow`.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Local => "file",
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
        }
    }
}

/// An accepted address. It holds no password and is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteUrl {
    pub(super) scheme: Scheme,
    pub(super) text: String,
    /// `https://host:port/`, to which alone a token may be sent; empty for other kinds.
    pub(super) origin: String,
}

impl RemoteUrl {
    pub(super) fn parse(text: &str) -> Result<Self, GitError> {
        check_characters(text)?;
        if let Some(path) = text.strip_prefix("file://").or_else(|| text.starts_with('/').then_some(text)) {
            check_local(path)?;
            return Ok(Self { scheme: Scheme::Local, text: text.to_owned(), origin: String::new() });
        }
        let Some((name, _)) = text.split_once("://") else {
            return refuse("it has no scheme");
        };
        let scheme = match name {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            "ssh" => Scheme::Ssh,
            _ => return refuse("its scheme is not supported"),
        };
        let Ok(url) = Url::parse(text) else {
            return refuse("it cannot be parsed");
        };
        check_remote(scheme, &url)?;
        let origin = match scheme {
            Scheme::Https | Scheme::Http => format!("{}/", url.origin().ascii_serialization()),
            Scheme::Local | Scheme::Ssh => String::new(),
        };
        Ok(Self { scheme, text: text.to_owned(), origin })
    }
}

/// Raw and percent-encoded line ends and NUL have sent credentials to the wrong host before (CVE-2020-5260).
fn check_characters(text: &str) -> Result<(), GitError> {
    if text.is_empty() || text.len() > URL_BYTES_MAX {
        return refuse("it is empty or too long");
    }
    if text.starts_with('-') || text.contains("::") && !text.contains("://[") {
        return refuse("it would be read as an option or a transport helper");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('\\') {
        return refuse("it holds a blank, a control character, a backslash or a character that is not ASCII");
    }
    let lower = text.to_ascii_lowercase();
    if ["%0a", "%0d", "%00"].iter().any(|code| lower.contains(code)) {
        return refuse("it holds an encoded control character");
    }
    Ok(())
}

fn check_local(path: &str) -> Result<(), GitError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if !path.starts_with('/') || parts.is_empty() {
        return refuse("a local address is an absolute path below the root");
    }
    if parts.iter().any(|part| *part == ".." || part.starts_with('-')) || path.contains('%') {
        return refuse("its path holds '..', '%' or a component that starts with '-'");
    }
    Ok(())
}

fn check_remote(scheme: Scheme, url: &Url) -> Result<(), GitError> {
    let host = url.host_str().unwrap_or_default();
    let plain =
        host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    if host.is_empty() || host.starts_with('-') || !plain {
        return refuse("its host is missing or not a plain name");
    }
    if url.password().is_some() || scheme != Scheme::Ssh && !url.username().is_empty() {
        return refuse("it holds a user name or a password");
    }
    let user = url.username();
    if user.starts_with('-')
        || !user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    {
        return refuse("its user name is not plain");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it has a query or a fragment");
    }
    let mut parts = url.path().split('/').filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() || parts.any(|part| part == ".." || part.starts_with('-')) {
        return refuse("its path is empty or has a component that is '..' or starts with '-'");
    }
    if scheme == Scheme::Http && !is_loopback(host) {
        return refuse("plain http is for this machine only");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn refuse<T>(why: &str) -> Result<T, GitError> {
    Err(GitError::Settings {
        what: format!("the repository address is refused: {why}"),
        hint: "use /absolute/path, file:///path, https://host/path or ssh://user@host/path, no credentials",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_addresses_are_refused_and_not_repeated() {
        for bad in [
            "",
            "-u",
            "--upload-pack=touch /x",
            "ext::sh -c x",
            "ext::sh",
            "fd::17",
            "ssh://-oProxyCommand=x/",
            "ssh://-oProxyCommand=x@h/r",
            "file:///",
            "file://",
            "/",
            "file://host/x",
            "file:///a/../b",
            "relative/x",
            "https://h/--x",
            "https://evil/%0ahost=forge",
            "https://evil/%0D%0Ax",
            "https://h/%00",
            "https://h/a\nb",
            "https://h/a b",
            "https://canary:canary@h/x",
            "https://canary@h/x",
            "ssh://u:canary@h/x",
            "git://h/x",
            "http://example.org/x",
            "http://127.0.0.1.evil.org/x",
            "https://h",
            "https:///x",
            "https://h/x?y=1",
            "https://h/x#y",
            "git@h:x",
            "https://h\\@evil/x",
            "https://h/é",
            "FILE:///x",
            "ftp://h/x",
            "file:///a%2e%2e/b",
            "/-x/y",
            "ssh://h",
            "http://localhost.evil.org/x",
            "file::///x",
        ] {
            let error = RemoteUrl::parse(bad).unwrap_err();
            assert!(matches!(error, GitError::Settings { .. }), "{bad}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn ordinary_addresses_pass_and_name_their_protocol() {
        for (good, protocol, origin) in [
            ("/srv/git/gitops.git", "file", ""),
            ("file:///srv/git/gitops.git", "file", ""),
            ("https://forge.example/org/gitops.git", "https", "https://forge.example/"),
            ("https://forge.example:8443/gitops", "https", "https://forge.example:8443/"),
            ("http://127.0.0.1:3000/org/gitops.git", "http", "http://127.0.0.1:3000/"),
            ("http://[::1]:3000/gitops.git", "http", "http://[::1]:3000/"),
            ("ssh://git@forge.example:2222/org/gitops.git", "ssh", ""),
        ] {
            let url = RemoteUrl::parse(good).unwrap();
            assert_eq!((url.scheme.protocol(), &url.origin[..]), (protocol, origin), "{good}");
        }
    }
}
