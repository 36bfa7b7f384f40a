//! One HTTP API: a base address, one token, and the manners a busy server expects.
//! In: path, query, JSON; or a request that somebody else has signed ([`Api::carry`]). Out: the answer, whatever its
//! status, or why there is none and whether the request may have been carried out. The token goes to this origin only:
//! a redirect is an error, a next page elsewhere too. What must not happen twice is sent twice only when the server
//! cannot have begun it. What was read before is asked for again under the condition that it changed (`remembered`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use thiserror::Error;

use super::clock::{Clock, OutsideClock, wait};
use super::http::{self, Http, HttpError, HttpReply, HttpRequest, Method, Scheme};
use super::random::jitter;
use super::remembered::Remembered;
use super::secret::Secret;

/// Tries of one request, the first included.
pub const TRIES: u32 = 3;
/// Wait before the second try; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest wait between two tries. A server that asks for more gets no further try.
pub const PAUSE_MAX: Duration = Duration::from_secs(20);
/// Share by which a wait is moved, so that replicas do not return in step.
const JITTER: f64 = 0.2;
/// What is assumed of a rate limit that does not say when it ends.
const LIMIT_DEFAULT: SignedDuration = SignedDuration::from_secs(60);
/// Furthest a server can put us off; a larger number is a mistake or a joke.
const LIMIT_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Headers to which 304 is an answer.
const CONDITIONS: [&str; 2] = ["if-none-match", "if-modified-since"];

/// Why there is no answer that can be used.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Nothing was carried out, or it does not matter: the request may be sent again.
    #[error("no usable answer{}", tries_note(*.tries))]
    NoAnswer {
        tries: u32,
        #[source]
        source: HttpError,
    },
    /// The request was sent and its answer was lost, or could not be read.
    #[error("the answer was lost, so it is not known whether the server did it")]
    Lost(#[source] HttpError),
    #[error("{url} redirects (HTTP {status}) to {to}; the token is not taken there")]
    Redirected { url: String, status: u16, to: String },
    /// Something between us and the server has a memory of its own, and no manners.
    #[error("{url} says that nothing has changed (HTTP 304), which it was not asked")]
    Unasked { url: String, is_read: bool },
    #[error("{url} limits the rate of requests until {until}")]
    RateLimited { url: String, until: Timestamp },
    #[error("{url} names {to} as its next page, which is not below {base}")]
    ForeignPage { url: String, to: String, base: String },
    #[error("the address of the API is not usable: {0}")]
    Address(&'static str),
}

fn tries_note(tries: u32) -> String {
    if tries > 1 { format!(" after {tries} tries") } else { String::new() }
}

/// One request to the API.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub method: Method,
    /// Segments below the base, encoded here: a `/` inside one stays inside it.
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    /// JSON.
    pub body: Option<&'a [u8]>,
    /// Sending it twice leaves the server as sending it once does.
    pub repeatable: bool,
}

/// A page of a list: the first one by path, the next ones as the server names them.
#[derive(Debug, Clone)]
pub struct Page(Url);

/// The client; the base may have a path.
pub struct Api {
    http: Http,
    clock: Arc<dyn Clock>,
    base: Url,
    /// `None`: each request brings its own.
    token: Option<(Scheme, Secret)>,
    seen: Mutex<Option<OutsideClock>>,
    remembered: Mutex<Remembered>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Api").field(&http::printable_url(&self.base)).finish()
    }
}

impl Api {
    /// An API below `base` that takes `token` after the word of `scheme`.
    ///
    /// # Errors
    /// When `base` is not an http address, or holds a user, a password or a query.
    pub fn new(
        http: Http,
        clock: Arc<dyn Clock>,
        base: &str,
        token: (Scheme, Secret),
    ) -> Result<Self, ApiError> {
        Ok(Self { token: Some(token), ..Self::without_token(http, clock, base)? })
    }

    /// An API below `base` whose requests bring their own credential.
    ///
    /// # Errors
    /// As [`Api::new`].
    pub fn without_token(http: Http, clock: Arc<dyn Clock>, base: &str) -> Result<Self, ApiError> {
        let base = http::parse(base).map_err(|_| ApiError::Address("it is neither http nor https"))?;
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(ApiError::Address("it holds a user, a password or a query"));
        }
        Ok(Self { http, clock, base, token: None, seen: Mutex::default(), remembered: Mutex::default() })
    }

    /// The newest time the server's own clock showed.
    #[must_use]
    pub fn outside_clock(&self) -> Option<OutsideClock> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `call`, again where that is safe, at most [`TRIES`] times.
    ///
    /// # Errors
    /// [`ApiError`]; a status of 400 and more is an answer.
    pub async fn ask(&self, call: Call<'_>) -> Result<HttpReply, ApiError> {
        let request = HttpRequest {
            method: call.method,
            query: call.query,
            headers: &[("accept", "application/json")],
            body: call.body.map(|bytes| ("application/json", bytes)),
            credential: self.credential(),
        };
        self.exchange(&self.address(call.path)?, request, call.repeatable).await
    }

    /// Sends a request that was made elsewhere, with the same manners. `target` is path and query below the base.
    ///
    /// # Errors
    /// As [`Api::ask`]; a target that climbs out of the base is not sent.
    pub async fn carry(
        &self,
        target: &str,
        request: HttpRequest<'_>,
        repeatable: bool,
    ) -> Result<HttpReply, ApiError> {
        let base = self.base.as_str().trim_end_matches('/');
        let url = http::parse(&format!("{base}/{}", target.trim_start_matches('/')));
        let url = url.ok().filter(|it| self.is_below(it));
        let url = url.ok_or(ApiError::Address("the request leads out of it"))?;
        self.exchange(&url, request, repeatable).await
    }

    /// Path and query of a page below the base, for [`Api::carry`].
    #[must_use]
    pub fn target(&self, page: &Page) -> String {
        let base = self.base.path().trim_end_matches('/');
        let path = page.0.path().strip_prefix(base).unwrap_or_default();
        page.0.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    fn credential(&self) -> Option<(Scheme, &Secret)> {
        self.token.as_ref().map(|(scheme, token)| (*scheme, token))
    }

    fn is_below(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
            && url.path().starts_with(self.base.path())
            && url.username().is_empty()
            && url.password().is_none()
    }

    /// The first page of a list.
    ///
    /// # Errors
    /// As [`Api::page`].
    pub fn first_page(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Page, ApiError> {
        let mut url = self.address(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(Page(url))
    }

    /// One page, and the next one if the server names it.
    ///
    /// # Errors
    /// [`ApiError`]; in particular when the next page is on another server.
    pub async fn page(&self, page: &Page) -> Result<(HttpReply, Option<Page>), ApiError> {
        let request = HttpRequest {
            method: Method::Get,
            query: &[],
            headers: &[("accept", "application/json")],
            body: None,
            credential: self.credential(),
        };
        let reply = self.exchange(&page.0, request, true).await?;
        let next = self.next_page(page, &reply)?;
        Ok((reply, next))
    }

    /// The page that the answer to `page` names as the next one.
    ///
    /// # Errors
    /// When it is on another server, or not below the base.
    pub fn next_page(&self, page: &Page, reply: &HttpReply) -> Result<Option<Page>, ApiError> {
        let Some(next) = reply.header("link").and_then(next_link) else { return Ok(None) };
        let foreign = |to: String| ApiError::ForeignPage {
            url: http::printable_url(&page.0),
            to,
            base: http::printable_url(&self.base),
        };
        let next = page.0.join(next).map_err(|_| foreign("something that is no address".into()))?;
        if !self.is_below(&next) {
            return Err(foreign(http::printable_url(&next)));
        }
        Ok(Some(Page(next)))
    }

    fn address(&self, path: &[&str]) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        // Such a segment would climb instead of naming something.
        if path.iter().any(|it| matches!(*it, "" | "." | "..")) {
            return Err(ApiError::Address("a part of the path is empty or made of dots"));
        }
        url.path_segments_mut()
            .map_err(|()| ApiError::Address("it cannot have a path"))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    fn memory(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request, under the condition that its answer is another than the one that is remembered.
    async fn exchange(
        &self,
        url: &Url,
        request: HttpRequest<'_>,
        repeatable: bool,
    ) -> Result<HttpReply, ApiError> {
        let Some(question) = self.memory().question(url, &request) else {
            // Before, because its answer may be lost.
            self.memory().forget(url);
            return self.insist(url, request, repeatable).await;
        };
        let known = self.memory().find(&question);
        let condition = known.as_ref().map(|it| it.condition());
        let headers: Vec<_> = request.headers.iter().copied().chain(condition).collect();
        let reply = self.insist(url, HttpRequest { headers: &headers, ..request }, repeatable).await?;
        self.memory().take(question, &reply);
        Ok(match known {
            Some(known) if reply.status == 304 => known.confirmed(&reply),
            _ => reply,
        })
    }

    /// Again, where that is safe and may help.
    async fn insist(
        &self,
        url: &Url,
        request: HttpRequest<'_>,
        repeatable: bool,
    ) -> Result<HttpReply, ApiError> {
        let mut tries = 1;
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = self.once(url, request).await;
            let now = self.clock.now();
            let again = match &outcome {
                // A request that was turned away at the door was not begun.
                Ok(reply) if is_limited(reply) => limited_until(reply, now)
                    .and_then(|until| Duration::try_from(until.duration_since(now)).ok())
                    // Never earlier than asked, and not all at once.
                    .map(|rest| rest + jitter(rest / 10, 1.0)),
                Ok(reply) => (repeatable && reply.status >= 500).then(|| jitter(pause, JITTER)),
                Err(HttpError::Connect { .. }) => Some(jitter(pause, JITTER)),
                Err(error) => (repeatable && error.is_transient()).then(|| jitter(pause, JITTER)),
            };
            match again.filter(|it| *it <= PAUSE_MAX && tries < TRIES) {
                Some(rest) => wait(rest).await,
                None => return self.settled(url, &request, (repeatable, tries), outcome),
            }
            pause *= 2;
            tries += 1;
        }
    }

    async fn once(&self, url: &Url, request: HttpRequest<'_>) -> Result<HttpReply, HttpError> {
        let reply = self.http.send(url.as_str(), request).await?;
        if let Some(says) = reply.date {
            let seen = OutsideClock { says, seen_at: self.clock.now() };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        }
        Ok(reply)
    }

    fn settled(
        &self,
        url: &Url,
        request: &HttpRequest<'_>,
        (repeatable, tries): (bool, u32),
        outcome: Result<HttpReply, HttpError>,
    ) -> Result<HttpReply, ApiError> {
        let shown = || http::printable_url(url);
        match outcome {
            Ok(reply) if is_limited(&reply) => {
                let now = self.clock.now();
                let later = || now.checked_add(LIMIT_DEFAULT).unwrap_or(now);
                let until = limited_until(&reply, now).unwrap_or_else(later);
                Err(ApiError::RateLimited { url: shown(), until })
            }
            Ok(reply) if reply.status == 304 => {
                if request.headers.iter().any(|(name, _)| CONDITIONS.contains(name)) {
                    return Ok(reply);
                }
                Err(ApiError::Unasked { url: shown(), is_read: request.method == Method::Get })
            }
            Ok(reply) if (300..400).contains(&reply.status) => {
                let to = reply.header("location").and_then(|it| url.join(it).ok());
                let to = to.map_or_else(|| "nowhere".to_owned(), |it| http::printable_url(&it));
                Err(ApiError::Redirected { url: shown(), status: reply.status, to })
            }
            Ok(reply) => Ok(reply),
            Err(source @ (HttpError::Connect { .. } | HttpError::Request(_))) => {
                Err(ApiError::NoAnswer { tries, source })
            }
            Err(source) if repeatable => Err(ApiError::NoAnswer { tries, source }),
            Err(source) => Err(ApiError::Lost(source)),
        }
    }
}

/// 429, or the 403 and 503 by which some servers and proxies say the same.
fn is_limited(reply: &HttpReply) -> bool {
    match reply.status {
        429 => true,
        403 => reply.header("x-ratelimit-remaining") == Some("0") || reply.header("retry-after").is_some(),
        503 => reply.header("retry-after").is_some(),
        _ => false,
    }
}

/// When the server wants to be asked again, if it says so; never before now.
fn limited_until(reply: &HttpReply, now: Timestamp) -> Option<Timestamp> {
    let limit = now.checked_add(LIMIT_MAX).unwrap_or(now);
    let in_seconds = |text: &str| {
        let seconds = text.parse::<u32>().ok()?;
        now.checked_add(SignedDuration::from_secs(seconds.into())).ok()
    };
    let retry = reply.header("retry-after").map(str::trim);
    let reset = reply.header("x-ratelimit-reset").and_then(|it| it.trim().parse::<i64>().ok());
    let until = retry
        .and_then(|text| in_seconds(text).or_else(|| http::http_date(text)))
        .or_else(|| reset.and_then(|at_s| Timestamp::from_second(at_s).ok()))?;
    Some(until.clamp(now, limit))
}

/// The address of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (address, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split(';').map(|it| it.trim().trim_end_matches(',').trim());
        if is_next.into_iter().any(|it| matches!(it, "rel=\"next\"" | "rel=next")) {
            return Some(address);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
