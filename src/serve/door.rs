//! Who is let in at a route. In go the headers of a request, out comes a refusal or nothing, before the body is read.
//! What the secret is, the caller knows.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;

/// Is this the secret? The comparison must take the same time for every wrong one.
pub type TokenCheck = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What a sender has to show.
#[derive(Clone)]
pub enum Door {
    /// The token.
    Bearer(TokenCheck),
    /// User and password, as base64 of `user:password`.
    Basic(TokenCheck),
    /// Nothing: whoever reaches the port may enter. Only possible on a loopback address.
    Open,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Basic(_) => "Basic",
            Self::Open => "Open",
        })
    }
}

impl Door {
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let (scheme, check) = match self {
            Self::Bearer(check) => ("Bearer", check),
            Self::Basic(check) => ("Basic", check),
            Self::Open => return Ok(()),
        };
        if credential(headers, scheme).is_some_and(|it| check(it)) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::UNAUTHORIZED, "send the credential that the settings name"))
    }
}

/// What the one `Authorization` header has after this scheme (RFC 7235); the scheme's case does not matter.
fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?.as_bytes();
    if all.next().is_some() {
        return None;
    }
    let (given, rest) = value.split_at_checked(scheme.len())?;
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.strip_prefix(b" "))?
}
