//! The one HTTP client: deadlines, a body cap, no redirects, no proxy of the environment, TLS by rustls.
//! In: an address, parameters, a token. Out: status, server time, the headers somebody asks for and bytes, or the
//! kind of failure. It never follows a redirect (a token would travel), never decompresses, never prints a user,
//! password or query.

#![expect(clippy::disallowed_methods, reason = "the one file that builds an HTTP client")]

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use thiserror::Error;

use super::gentle::Gentle;
use super::secret::Secret;

/// The headers of an answer that are kept: what says how to ask again, and when, and what a token may do.
const KEPT_HEADERS: [&str; 9] = [
    "etag",
    "last-modified",
    "link",
    "location",
    "ratelimit-remaining",
    "retry-after",
    "x-oauth-scopes",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];
/// Longest kept header, in bytes; a longer one counts as absent.
const HEADER_BYTES_MAX: usize = 4096;

/// Bounds of every request.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// For the whole exchange, body included.
    pub timeout: Duration,
    /// For name resolution, connection and TLS.
    pub connect_timeout: Duration,
    /// Most bytes of an answer's body.
    pub body_max: usize,
    pub user_agent: String,
    /// Certificate authorities (PEM) that are believed beside the system's.
    pub authorities: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// The word before a token in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Bearer,
    Token,
}

/// One request, except where it goes to.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    pub method: Method,
    /// Encoded here.
    pub query: &'a [(&'a str, &'a str)],
    /// `Accept`, `If-None-Match`; what travels secretly does not belong here.
    pub headers: &'a [(&'static str, &'a str)],
    /// Content type and bytes.
    pub body: Option<(&'a str, &'a [u8])>,
    pub credential: Option<(Scheme, &'a Secret)>,
}

/// An answer, whatever its status: a redirect arrives here as a 3xx.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    /// The server's clock (RFC 9110 `Date`), to compare ours with.
    pub date: Option<Timestamp>,
    /// Empty when the server names none.
    pub content_type: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl HttpReply {
    /// A header of [`KEPT_HEADERS`], by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub(super) fn for_test(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { status, headers, body: body.to_vec(), ..Self::default() }
    }

    /// The same with those of `names` that only `other` has.
    pub(super) fn with_missing(mut self, other: &Self, names: &[&str]) -> Self {
        let missing = |it: &&(&'static str, String)| names.contains(&it.0) && self.header(it.0).is_none();
        let missing: Vec<_> = other.headers.iter().filter(missing).cloned().collect();
        self.headers.extend(missing);
        self
    }
}

/// Why there is no answer. The request may still have been carried out, unless it is `Connect` or `Request`.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("no answer from {url} in time")]
    Timeout { url: String },
    #[error("cannot connect to {url}")]
    Connect {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the answer of {url} is larger than {bytes_max} bytes")]
    BodyTooLarge { url: String, bytes_max: usize },
    #[error("the exchange with {url} failed")]
    Other {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the request cannot be made: {0}")]
    Request(&'static str),
}

impl HttpError {
    /// Whether the same request may succeed later. Whether it may be *sent* again is for the caller to know.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Connect { .. } | Self::Other { .. })
    }
}

/// Hears how every exchange ended, tries of the same request one by one. To count, and for nothing else.
pub trait Ear: Debug + Send + Sync {
    /// `None`: without an answer.
    fn ended(&self, reply: Option<&HttpReply>);
}

/// A client; cheap to clone, connections are shared.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    ear: Option<Arc<dyn Ear>>,
    gentle: Option<Arc<Gentle>>,
    timeout: Duration,
    body_max: usize,
}

impl Http {
    /// Builds the client and installs the process's TLS provider if there is none yet.
    ///
    /// # Errors
    /// When the system's certificates cannot be used or the user agent cannot be sent.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpError> {
        // An error only says that one is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .user_agent(&settings.user_agent)
            .redirect(Policy::none())
            .referer(false)
            // Settings are resolved in one place; a variable of the environment is not that place.
            .no_proxy()
            // A request is never sent twice behind the caller's back.
            .retry(reqwest::retry::never());
        if let Some(pem) = &settings.authorities {
            let unusable = HttpError::Request("the certificate authorities are not PEM certificates");
            let authorities = Certificate::from_pem_bundle(pem).ok().filter(|it| !it.is_empty());
            builder = builder.tls_certs_merge(authorities.ok_or(unusable)?);
        }
        let client = builder
            .build()
            .map_err(|_| HttpError::Request("the client cannot be built from these settings"))?;
        Ok(Self { client, ear: None, gentle: None, timeout: settings.timeout, body_max: settings.body_max })
    }

    /// The same, and `ear` hears of it.
    #[must_use]
    pub fn heard_by(self, ear: Arc<dyn Ear>) -> Self {
        Self { ear: Some(ear), ..self }
    }

    /// The same, with a pause between two requests while the server is in trouble, shared by all clones.
    #[must_use]
    pub fn gently(self, distance: Duration) -> Self {
        Self { gentle: Some(Arc::new(Gentle::new(distance))), ..self }
    }

    /// GET with query parameters.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn get(
        &self,
        url: &str,
        query: &[(&str, &str)],
        bearer: Option<&Secret>,
    ) -> Result<HttpReply, HttpError> {
        let credential = bearer.map(|token| (Scheme::Bearer, token));
        self.send(url, HttpRequest { method: Method::Get, query, headers: &[], body: None, credential }).await
    }

    /// One request, sent once.
    ///
    /// # Errors
    /// See [`HttpError`]; a status of 300 and more is an answer, not an error.
    pub async fn send(&self, url: &str, request: HttpRequest<'_>) -> Result<HttpReply, HttpError> {
        let url = parse(url)?;
        let shown = printable_url(&url);
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.client.request(method, url).header(ACCEPT_ENCODING, "identity");
        if !request.query.is_empty() {
            builder = builder.query(request.query);
        }
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        if let Some((content_type, bytes)) = request.body {
            builder = builder.header(CONTENT_TYPE, content_type).body(bytes.to_vec());
        }
        if let Some(credential) = request.credential {
            builder = builder.header(AUTHORIZATION, authorization(credential)?);
        }
        let exchange = async {
            let reply = builder.send().await.map_err(|e| failed(&shown, e))?;
            self.read(reply, &shown).await
        };
        if let Some(gentle) = &self.gentle {
            gentle.turn().await;
        }
        // The client's own deadline covers this too; this one does not depend on how it counts.
        let ended = tokio::time::timeout(self.timeout, exchange).await;
        let ended = ended.unwrap_or_else(|_| Err(HttpError::Timeout { url: shown.clone() }));
        if let Some(ear) = &self.ear {
            ear.ended(ended.as_ref().ok());
        }
        if let Some(gentle) = &self.gentle {
            gentle.ended(ended.as_ref()).await;
        }
        ended
    }

    async fn read(&self, mut reply: Response, shown: &str) -> Result<HttpReply, HttpError> {
        let too_large = || HttpError::BodyTooLarge { url: shown.to_owned(), bytes_max: self.body_max };
        let date = header_of(&reply, DATE.as_str()).and_then(|text| http_date(&text));
        let content_type = header_of(&reply, CONTENT_TYPE.as_str()).unwrap_or_default();
        let kept = |name: &'static str| {
            header_of(&reply, name).filter(|it| it.len() <= HEADER_BYTES_MAX).map(|it| (name, it))
        };
        let headers = KEPT_HEADERS.into_iter().filter_map(kept).collect();
        let status = reply.status().as_u16();
        let announced = reply.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |length| length > self.body_max) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(|e| failed(shown, e))? {
            if chunk.len() > self.body_max - body.len() {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpReply { status, date, content_type, headers, body })
    }
}

fn header_of(reply: &Response, name: &str) -> Option<String> {
    reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A time as HTTP headers write it.
#[must_use]
pub fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn authorization((scheme, token): (Scheme, &Secret)) -> Result<HeaderValue, HttpError> {
    let word = match scheme {
        Scheme::Bearer => "Bearer",
        Scheme::Token => "token",
    };
    let mut value = HeaderValue::from_str(&format!("{word} {}", token.expose()))
        .map_err(|_| HttpError::Request("the token cannot travel in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn parse(text: &str) -> Result<Url, HttpError> {
    let url = Url::parse(text).map_err(|_| HttpError::Request("the address cannot be parsed"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(HttpError::Request("the address is neither http nor https"));
    }
    Ok(url)
}

/// An http address in its one spelling: the host in lower case, no default port, no slash at the end; `None` when it is none.
#[must_use]
pub fn plain_address(text: &str) -> Option<String> {
    parse(text).ok().map(|it| it.as_str().trim_end_matches('/').to_owned())
}

/// Scheme, host, port and path: never a user, a password or a query.
pub(super) fn printable_url(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn failed(shown: &str, error: reqwest::Error) -> HttpError {
    let url = shown.to_owned();
    // The error would print the whole address.
    let source = error.without_url();
    if source.is_timeout() {
        HttpError::Timeout { url }
    } else if source.is_connect() {
        HttpError::Connect { url, source }
    } else {
        HttpError::Other { url, source }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
