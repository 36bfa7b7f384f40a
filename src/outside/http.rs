//! The one HTTP client: deadlines, a body cap, no redirects, no proxy of the environment, TLS by rustls.
//! In: an address, parameters, a token. Out: status, server time and bytes, or the kind of failure. It never
//! follows a redirect (a token would travel), never decompresses, never prints a user, password or query.

#![expect(clippy::disallowed_methods, reason = "the one file that builds an HTTP client")]

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, DATE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use thiserror::Error;

use super::secret::Secret;

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
}

/// An answer, whatever its status: a redirect arrives here as a 3xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    /// The server's clock (RFC 9110 `Date`), to compare ours with.
    pub date: Option<Timestamp>,
    /// Empty when the server names none.
    pub content_type: String,
    pub body: Vec<u8>,
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

/// A client; cheap to clone, connections are shared.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
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
        let client = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .user_agent(&settings.user_agent)
            .redirect(Policy::none())
            .referer(false)
            // Settings are resolved in one place; a variable of the environment is not that place.
            .no_proxy()
            // A request is never sent twice behind the caller's back.
            .retry(reqwest::retry::never())
            .build()
            .map_err(|_| HttpError::Request("the client cannot be built from these settings"))?;
        Ok(Self { client, timeout: settings.timeout, body_max: settings.body_max })
    }

    /// GET with query parameters, encoded here.
    ///
    /// # Errors
    /// See [`HttpError`]; a status of 400 and more is an answer, not an error.
    pub async fn get(
        &self,
        url: &str,
        query: &[(&str, &str)],
        bearer: Option<&Secret>,
    ) -> Result<HttpReply, HttpError> {
        let url = parse(url)?;
        self.send(self.client.get(url.clone()).query(query), &url, bearer).await
    }

    /// POST of a body.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post(
        &self,
        url: &str,
        content_type: &str,
        body: Vec<u8>,
        bearer: Option<&Secret>,
    ) -> Result<HttpReply, HttpError> {
        let url = parse(url)?;
        self.send(self.client.post(url.clone()).header(CONTENT_TYPE, content_type).body(body), &url, bearer)
            .await
    }

    async fn send(
        &self,
        request: RequestBuilder,
        url: &Url,
        bearer: Option<&Secret>,
    ) -> Result<HttpReply, HttpError> {
        let shown = printable_url(url);
        let request = match bearer {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let exchange = async {
            let reply =
                request.header(ACCEPT_ENCODING, "identity").send().await.map_err(|e| failed(&shown, e))?;
            self.read(reply, &shown).await
        };
        // The client's own deadline covers this too; this one does not depend on how it counts.
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout { url: shown }),
        }
    }

    async fn read(&self, mut reply: Response, shown: &str) -> Result<HttpReply, HttpError> {
        let too_large = || HttpError::BodyTooLarge { url: shown.to_owned(), bytes_max: self.body_max };
        let header = |name| reply.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let date = header(DATE).and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
        let content_type = header(CONTENT_TYPE).unwrap_or_default();
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
        Ok(HttpReply { status, date, content_type, body })
    }
}

fn parse(text: &str) -> Result<Url, HttpError> {
    let url = Url::parse(text).map_err(|_| HttpError::Request("the address cannot be parsed"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(HttpError::Request("the address is neither http nor https"));
    }
    Ok(url)
}

/// Scheme, host, port and path: never a user, a password or a query.
fn printable_url(url: &Url) -> String {
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
