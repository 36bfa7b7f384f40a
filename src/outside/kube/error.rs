//! Why a request to the server came to nothing: the kind of failure, so that callers need no text to tell.
//! In: a status and the server's `Status` object, or the client's error. Out: [`KubeError`].

use std::error::Error;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use super::{Asked, Resource};

/// Longest text of the server that an error repeats, in characters.
const SAYS_CHARS_MAX: usize = 600;

/// As RBAC names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Patch,
    Update,
    Delete,
}

impl Verb {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no answer, or a refusal.
#[derive(Debug, Error)]
pub enum KubeError {
    #[error("cannot use {what}")]
    Access {
        what: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the kubeconfig is refused: {0}")]
    Unsafe(&'static str),
    #[error("the API server {server} cannot be reached")]
    Unreachable {
        server: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("no answer from the API server {server} in time")]
    Timeout { server: String },
    #[error("the API server {server} does not know who we are")]
    Unauthorized { server: String },
    #[error("not allowed to {verb} {resource}{}", within(namespace.as_deref()))]
    Forbidden { verb: Verb, resource: Resource, namespace: Option<String>, says: String },
    #[error("{asked}: it is not there")]
    NotFound { asked: String },
    #[error("the API server does not serve {resource} in version {}", resource.version)]
    NotServed { resource: Resource },
    #[error("{asked}: somebody else changed it")]
    Conflict { asked: String },
    #[error("{asked}: the name is taken")]
    Exists { asked: String },
    #[error("{asked}: that state is too old to go on from")]
    Expired { asked: String },
    #[error("{asked} is refused: {says}")]
    Invalid { asked: String, says: String },
    #[error("the API server is busy")]
    Busy { retry_after_s: Option<u32> },
    #[error("{asked}: HTTP {status}: {says}")]
    Other { asked: String, status: u16, says: String },
    #[error("{asked}: larger than {bytes_max} bytes")]
    TooLarge { asked: String, bytes_max: usize },
    #[error("{asked}: the answer is not what it should be")]
    Unreadable {
        asked: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("a name cannot stand in an address")]
    Address,
}

fn within(namespace: Option<&str>) -> String {
    namespace.map_or_else(|| " in all namespaces".to_owned(), |it| format!(" in namespace {it}"))
}

impl KubeError {
    /// The same request may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Busy { .. } | Self::Expired { .. } => {
                true
            }
            Self::Other { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The object is not there; a kind that is not served is something else.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Forbidden { verb, resource, .. } => Some(format!(
                "give tars's account the verb {verb} on {} of {:?}; the role in the chart has it",
                resource.plural, resource.group
            )),
            Self::NotServed { resource } => Some(format!(
                "install the custom resource definition of {resource}, or turn off what needs it"
            )),
            Self::Unauthorized { .. } => Some("renew the token or certificate of tars's account".to_owned()),
            _ => None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Status {
    pub message: String,
    pub reason: String,
    pub code: u16,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    kind: String,
    name: String,
}

/// The error for an answer with a status of 300 or more.
pub(super) fn refused(
    server: &str,
    asked: Asked<'_>,
    status: u16,
    retry_after_s: Option<u32>,
    body: &[u8],
) -> KubeError {
    // A path that nobody serves is answered in plain text.
    let said: Status = serde_json::from_slice(body).unwrap_or_default();
    of_status(server, asked, status, retry_after_s, &said)
}

pub(super) fn of_status(
    server: &str,
    asked: Asked<'_>,
    code: u16,
    retry_after_s: Option<u32>,
    said: &Status,
) -> KubeError {
    let shown = asked.to_string();
    let says = printable(&said.message);
    match code {
        401 => KubeError::Unauthorized { server: server.to_owned() },
        403 => KubeError::Forbidden {
            verb: asked.verb,
            resource: asked.resource,
            namespace: asked.namespace.map(str::to_owned),
            says,
        },
        404 if said.details.as_ref().is_some_and(|it| !it.kind.is_empty() && !it.name.is_empty()) => {
            KubeError::NotFound { asked: shown }
        }
        404 => KubeError::NotServed { resource: asked.resource },
        409 if said.reason == "AlreadyExists" => KubeError::Exists { asked: shown },
        409 => KubeError::Conflict { asked: shown },
        410 => KubeError::Expired { asked: shown },
        400 | 422 => KubeError::Invalid { asked: shown, says },
        429 | 503 => KubeError::Busy { retry_after_s },
        status => KubeError::Other { asked: shown, status, says },
    }
}

/// The error for a request that got no answer.
pub(super) fn unsent(server: &str, error: kube::Error) -> KubeError {
    let server = server.to_owned();
    KubeError::Unreachable { server, source: error.into() }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAYS_CHARS_MAX).collect()
}
