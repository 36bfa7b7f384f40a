//! A metric source over the Prometheus HTTP API, version 1: Prometheus, Mimir, Thanos, VictoriaMetrics, and Loki, whose
//! metric queries are asked and answered in the same form. In go a query and times, out come samples. It retries what
//! may pass by itself, splits what is too long for one answer, and remembers the newest time the server's clock showed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::metrics::{InstantResult, Labels, MetricSource, RangeResult, SourceError};
use super::prometheus_wire::{decode_instant, decode_range, form};
use crate::outside::clock::{Clock, OutsideClock, wait};
use crate::outside::http::{Http, HttpError, HttpReply, HttpRequest, Method, Scheme};
use crate::outside::random::jitter;
use crate::outside::secret::Secret;

/// Most points of one series in one answer; the server refuses more (`web/api/v1` of Prometheus).
const MAX_POINTS: i64 = 11_000;
/// Tries of one request, the first included.
const TRIES: u32 = 3;
/// Wait before the second try; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Share by which a wait is moved, so that replicas do not return in step.
const JITTER: f64 = 0.5;
const FORM: &str = "application/x-www-form-urlencoded";

/// Prometheus, or something that speaks its API.
pub struct Prometheus {
    http: Http,
    clock: Arc<dyn Clock>,
    /// Where the endpoints are, for example `http://host/prometheus/api/v1`.
    api_url: String,
    /// Whose data is asked for, where several share a server.
    tenant: Option<String>,
    bearer: Option<Secret>,
    seen: Mutex<Option<OutsideClock>>,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may carry a password.
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

impl Prometheus {
    /// A client for the API below `base_url`, with an optional bearer token.
    #[must_use]
    pub fn new(http: Http, clock: Arc<dyn Clock>, base_url: &str, bearer: Option<Secret>) -> Self {
        let api_url = format!("{}/api/v1", base_url.trim_end_matches('/'));
        Self { http, clock, api_url, tenant: None, bearer, seen: Mutex::new(None) }
    }

    /// The same for Loki.
    #[must_use]
    pub fn loki(http: Http, clock: Arc<dyn Clock>, base_url: &str, bearer: Option<Secret>) -> Self {
        Self::new(http, clock, &format!("{}/loki", base_url.trim_end_matches('/')), bearer)
    }

    /// Where several share a server: whose data is asked for.
    #[must_use]
    pub fn of_tenant(self, tenant: Option<String>) -> Self {
        Self { tenant, ..self }
    }

    async fn ask(&self, endpoint: &str, pairs: &[(&str, &str)]) -> Result<HttpReply, SourceError> {
        let url = format!("{}/{endpoint}", self.api_url);
        let body = form(pairs);
        let tenant = self.tenant.as_deref().map(|it| ("x-scope-orgid", it));
        let request = HttpRequest {
            method: Method::Post,
            query: &[],
            headers: tenant.as_slice(),
            body: Some((FORM, &body)),
            credential: self.bearer.as_ref().map(|it| (Scheme::Bearer, it)),
        };
        let mut tries = 1;
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = self.http.send(&url, request).await;
            let passing = match &outcome {
                Ok(reply) => reply.status >= 500,
                // A query changes nothing, so sending it twice is harmless. Whoever took all its time once would take that of
                // the next question too.
                Err(error) => error.is_transient() && !matches!(error, HttpError::Timeout { .. }),
            };
            if !passing || tries == TRIES {
                let reply =
                    outcome.map_err(|cause| SourceError::Unreachable { tries, cause: Box::new(cause) })?;
                self.note_clock(&reply);
                return Ok(reply);
            }
            wait(jitter(pause, JITTER)).await;
            pause *= 2;
            tries += 1;
        }
    }

    fn note_clock(&self, reply: &HttpReply) {
        if let Some(says) = reply.date {
            let seen = OutsideClock { says, seen_at: self.clock.now() };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        }
    }

    async fn read_range(
        &self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> Result<RangeResult, SourceError> {
        if step_s == 0 || end < start {
            return Err(SourceError::BadRange("the step is 0 or the end lies before the start"));
        }
        let step = step_s.to_string();
        let longest = SignedDuration::from_secs(i64::from(step_s) * (MAX_POINTS - 1));
        let mut all = RangeResult::default();
        let mut from = start;
        while from <= end {
            let to = from.checked_add(longest).map_or(end, |limit| limit.min(end));
            let (from_text, to_text) = (unix(from), unix(to));
            let pairs = [("query", query), ("start", &from_text), ("end", &to_text), ("step", &step)];
            let reply = self.ask("query_range", &pairs).await?;
            let part = decode_range(reply.status, &reply.body)?;
            append(&mut all, part);
            let Ok(next) = to.checked_add(SignedDuration::from_secs(i64::from(step_s))) else { break };
            from = next;
        }
        Ok(all)
    }
}

impl MetricSource for Prometheus {
    fn range<'a>(
        &'a self,
        query: &'a str,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        Box::pin(self.read_range(query, start, end, step_s))
    }

    fn instant<'a>(
        &'a self,
        query: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        Box::pin(async move {
            let reply = self.ask("query", &[("query", query), ("time", &unix(at))]).await?;
            decode_instant(reply.status, &reply.body)
        })
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a later part of the same answer.
fn append(all: &mut RangeResult, part: RangeResult) {
    all.warnings = part.warnings;
    if all.series.is_empty() {
        all.series = part.series;
        return;
    }
    let mut known: HashMap<Labels, usize> =
        all.series.iter().enumerate().map(|(at, it)| (it.labels.clone(), at)).collect();
    for found in part.series {
        let at = *known.entry(found.labels.clone()).or_insert(all.series.len());
        match all.series.get_mut(at) {
            Some(before) => before.samples.extend(found.samples),
            None => all.series.push(found),
        }
    }
}

/// Seconds since the epoch with milliseconds, as the API reads times.
fn unix(at: Timestamp) -> String {
    let ms = at.as_millisecond();
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
