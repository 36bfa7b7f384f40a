//! Names and identifiers with checked constructors: a value of these types is safe to place in a path, a
//! ref name or a trailer, because nothing else can be constructed or deserialised. A copy shares the text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// A name was refused; says which kind of name, what was given, and the rule it broke.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid {what} {given:?}: {rule}")]
pub struct InvalidName {
    pub what: &'static str,
    pub given: String,
    pub rule: &'static str,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, given: &str, rule: &'static str) -> Self {
        // An attacker-sized name must not become an attacker-sized error message.
        let given = given.chars().take(80).collect();
        Self { what, given, rule }
    }
}

macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule of this type.
            ///
            /// # Errors
            /// [`InvalidName`] with the broken rule.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(InvalidName::new($what, text, $rule))
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

/// RFC 1123 label or subdomain, as Kubernetes uses it for object names.
fn is_dns_name(text: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.bytes().all(|c| edge(c) || c == b'-' || c == b'.')
        && text.bytes().next().is_some_and(edge)
        && text.bytes().last().is_some_and(edge)
        && !text.contains("..")
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_prefixed_hex(text: &str, prefix: &str, digits: usize) -> bool {
    text.strip_prefix(prefix).is_some_and(|hex| hex.len() == digits && is_lower_hex(hex))
}

fn is_repo_path(text: &str) -> bool {
    (1..=1024).contains(&text.len())
        && text.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.eq_ignore_ascii_case(".git")
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-+@=".contains(&c))
        })
}

/// The subset of `git check-ref-format` that tars writes, and that a person's branch may have.
fn is_branch(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && !text.starts_with('-')
        && text.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.ends_with('.')
                && !part.ends_with(".lock")
                && !part.contains("..")
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-+".contains(&c))
        })
}

checked_string!(
    /// Name of a `RemediationPolicy`; also a branch component, hence a DNS label of at most 63 characters.
    /// `ledger` is reserved: the branch `tars/ledger` exists.
    PolicyName, "policy name",
    "lower-case letters, digits and '-', starting and ending with a letter or digit, at most 63; not 'ledger'",
    |t| t.len() <= 63 && is_dns_name(t) && !t.contains('.') && t != "ledger"
);
checked_string!(
    /// Kubernetes namespace.
    Namespace, "namespace",
    "a DNS label: lower-case letters, digits and '-', at most 63",
    |t| t.len() <= 63 && is_dns_name(t) && !t.contains('.')
);
checked_string!(
    /// Kubernetes object name.
    ObjectName, "object name",
    "a DNS subdomain: lower-case letters, digits, '-' and '.', at most 253",
    is_dns_name
);
checked_string!(
    /// Kubernetes kind, for example `Deployment`.
    KindName, "kind",
    "letters and digits, starting with an upper-case letter, at most 63",
    |t| (1..=63).contains(&t.len())
        && t.as_bytes()[0].is_ascii_uppercase()
        && t.bytes().all(|c| c.is_ascii_alphanumeric())
);
checked_string!(
    /// A file inside the repository: relative, `/`-separated, cannot escape, cannot name `.git`.
    RepoPath, "repository path",
    "relative, '/' between non-empty parts of [A-Za-z0-9._+@=-], no '.', '..' or '.git' part",
    is_repo_path
);
checked_string!(
    /// A branch below `refs/heads/`.
    BranchName, "branch name",
    "parts of [A-Za-z0-9._+-] with '/' between them, none starting with '.' or ending in '.lock'",
    is_branch
);
checked_string!(
    /// Object id of a commit or a tree: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
    ObjectId, "object id",
    "40 or 64 lower-case hex digits",
    |t| matches!(t.len(), 40 | 64) && is_lower_hex(t)
);
checked_string!(
    /// One remediation action, `act-` and 12 hex digits; derived from the fingerprint and the ledger
    /// position it was proposed at, so every replica computes the same one.
    ActionId, "action id", "'act-' and 12 lower-case hex digits",
    |t| is_prefixed_hex(t, "act-", 12)
);
checked_string!(
    /// One incident, `inc-` and 8 hex digits.
    IncidentId, "incident id", "'inc-' and 8 lower-case hex digits",
    |t| is_prefixed_hex(t, "inc-", 8)
);
checked_string!(
    /// What makes two incidents "the same cause": SHA-256 over policy, target, playbook and cause, in hex.
    Fingerprint, "fingerprint", "64 lower-case hex digits",
    |t| t.len() == 64 && is_lower_hex(t)
);
checked_string!(
    /// What makes two changes "the same change": SHA-256 over resource, field and new value, in hex.
    ChangeId, "change id", "64 lower-case hex digits",
    |t| t.len() == 64 && is_lower_hex(t)
);
checked_string!(
    /// One ledger entry: 32 hex digits, random, chosen before the push so that an unknown outcome can be
    /// settled by looking for it.
    EntryId, "entry id", "32 lower-case hex digits",
    |t| t.len() == 32 && is_lower_hex(t)
);
checked_string!(
    /// One running tars process: printable, without spaces.
    InstanceId, "instance id",
    "1 to 64 characters of [A-Za-z0-9._-]",
    |t| (1..=64).contains(&t.len()) && t.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
);
checked_string!(
    /// The repository a ledger belongs to, independent of how its URL was spelled.
    RepoId, "repository id",
    "1 to 200 printable ASCII characters without spaces",
    |t| (1..=200).contains(&t.len()) && t.bytes().all(|c| c.is_ascii_graphic())
);
checked_string!(
    /// Name of a signal or a service: bounded, printable, usable as a metric label value.
    SignalName, "signal or service name",
    "1 to 128 characters of [A-Za-z0-9._:/-]",
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|c| c.is_ascii_alphanumeric() || b"._:/-".contains(&c))
);

/// Hashes `parts` so that no two different lists give the same bytes (each part is length-prefixed).
#[must_use]
pub fn digest_hex(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Fingerprint {
    /// Fingerprint of a cause: the same policy, target, playbook and cause text always give the same value.
    #[must_use]
    pub fn of(policy: &PolicyName, target: &WorkloadRef, playbook: &str, cause: &str) -> Self {
        Self(digest_hex(&["fingerprint", policy.as_str(), &target.to_string(), playbook, cause]).into())
    }

    /// The first eight digits, for titles and file names.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl ActionId {
    /// The id an action gets when it is recorded as entry `seq` for `fingerprint`.
    #[must_use]
    pub fn derive(fingerprint: &Fingerprint, seq: u64) -> Self {
        Self(format!("act-{}", &digest_hex(&["action", fingerprint.as_str(), &seq.to_string()])[..12]).into())
    }
}

impl IncidentId {
    /// The id of the incident whose first entry is `seq`.
    #[must_use]
    pub fn derive(fingerprint: &Fingerprint, seq: u64) -> Self {
        Self(
            format!("inc-{}", &digest_hex(&["incident", fingerprint.as_str(), &seq.to_string()])[..8]).into(),
        )
    }
}

impl ChangeId {
    /// Hash of the sorted list of (resource, field, new value).
    #[must_use]
    pub fn of<'a>(changes: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let mut rows: Vec<_> = changes.into_iter().collect();
        rows.sort_unstable();
        let flat: Vec<&str> = rows.iter().flat_map(|(a, b, c)| [*a, *b, *c]).collect();
        Self(digest_hex(&flat).into())
    }
}

impl ObjectId {
    /// The first seven digits, as `git log --oneline` prints them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

/// A workload (or any object) in a cluster: namespace, kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadRef {
    pub namespace: Namespace,
    pub kind: KindName,
    pub name: ObjectName,
}

impl WorkloadRef {
    /// Parses `namespace/Kind/name`.
    ///
    /// # Errors
    /// [`InvalidName`] when there are not three parts or one of them breaks its rule.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let parts: Vec<&str> = text.split('/').collect();
        let [namespace, kind, name] = parts[..] else {
            return Err(InvalidName::new("target", text, "namespace/Kind/name"));
        };
        Ok(Self {
            namespace: Namespace::new(namespace)?,
            kind: KindName::new(kind)?,
            name: ObjectName::new(name)?,
        })
    }

    /// File and branch component of this target: `shop.deployment.checkout`. Injective, because neither a
    /// namespace nor a kind can contain a dot.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}.{}", self.namespace, self.kind.as_str().to_ascii_lowercase(), self.name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_path_cannot_escape() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/./b",
            "a\\b",
            "a/.git/config",
            "a/.GIT/x",
            "a\0b",
            "..%2f",
            "a b",
            "a/",
            "-\n",
        ] {
            assert!(RepoPath::new(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(RepoPath::new("apps/backend/overlays/production/kustomization.yaml").is_ok());
    }

    #[test]
    fn a_branch_cannot_become_an_option_or_a_lock() {
        for bad in ["-x", "--upload-pack=x", "a..b", "a.lock", "a/.b", "a b", "a~1", "refs/heads/", "a:b"] {
            assert!(BranchName::new(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(BranchName::new("tars/backend-latency/shop.deployment.backend/act-0123456789ab").is_ok());
    }

    #[test]
    fn the_ledger_branch_cannot_be_shadowed_by_a_policy() {
        assert!(PolicyName::new("ledger").is_err());
        assert!(PolicyName::new("backend-latency").is_ok());
    }

    #[test]
    fn digests_of_different_lists_differ_even_when_the_concatenation_is_equal() {
        assert_ne!(digest_hex(&["ab", "c"]), digest_hex(&["a", "bc"]));
    }

    #[test]
    fn a_change_id_does_not_depend_on_the_order_of_the_changes() {
        let a = ("shop/Deployment/a", "spec.replicas", "5");
        let b = ("shop/Deployment/b", "spec.replicas", "4");
        assert_eq!(ChangeId::of([a, b]), ChangeId::of([b, a]));
        assert_ne!(ChangeId::of([a]), ChangeId::of([b]));
    }
}
