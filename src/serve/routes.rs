//! The routes and their bounds. In goes a request, out comes an answer or a problem document. A body is
//! read only after the sender was admitted, never beyond its limit and never past its deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::predict::{Posted, Predicted, Prediction, Request};
use super::problem::Problem;
use super::server::{Backend, Readiness, Refusal, TokenCheck};
use super::write::{self, Door};
use super::{anomalies, hooks};
use crate::telemetry::events::Event;
use crate::telemetry::names::{Metrics, OPENMETRICS, Received};

/// Largest webhook body, bytes.
pub const MAX_WEBHOOK_BYTES: usize = 1024 * 1024;
/// Largest `/predict` body, bytes: 20 000 points with RFC 3339 times.
pub const MAX_PREDICT_BYTES: usize = 2 * 1024 * 1024;
/// A body must have arrived after this long.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Webhook messages being read or stored at the same time.
pub const WEBHOOKS_AT_ONCE: usize = 64;
/// Series being read or scored at the same time: scoring is all processor.
pub const PREDICTIONS_AT_ONCE: usize = 2;

const INDEX: &str = "tars

POST /webhook/alertmanager  Alertmanager webhook, version 4 (bearer token)
POST /api/v1/write          Prometheus remote write, 1.0 and 2.0, when push.enabled
POST /webhook/forge         GitHub, Gitea, Forgejo and GitLab webhooks (signed)
POST /predict               score a series: {\"values\": [1, 2, null], \"timestamps\": [...]},
                            or many: {\"series\": [{\"values\": [...]}, ...]}
GET  /api/v1/anomalies        what a detector knows of its shard (bearer token)
GET  /metrics               OpenMetrics
GET  /healthz               does the loop still turn
GET  /readyz                what is ready and what is not
";

pub(super) struct App {
    token: Option<TokenCheck>,
    /// There is a secret for the forge's webhooks.
    pub(super) forge_hooks: bool,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) metrics: Arc<Metrics>,
    /// `None`: there is no receiver for samples.
    pub(super) push: Option<Door>,
    /// `None`: no remediator asks here.
    pub(super) anomalies: Option<Door>,
    pub(super) anomaly_places: Arc<Semaphore>,
    pub(super) writes: Arc<Semaphore>,
    webhooks: Arc<Semaphore>,
    pub(super) forge_places: Arc<Semaphore>,
    predictions: Arc<Semaphore>,
    pub(super) read_deadline: Duration,
}

/// Which routes there are, and for whom.
#[derive(Clone)]
pub struct Doors {
    /// `None`: the alerts' webhook is open; the caller has checked that this is allowed.
    pub token: Option<TokenCheck>,
    /// There is a secret for the forge's webhooks.
    pub forge_hooks: bool,
    /// `None`: nobody pushes samples.
    pub push: Option<Door>,
    /// `None`: nobody asks for anomalies.
    pub anomalies: Option<Door>,
}

/// All routes.
pub fn router(
    doors: Doors,
    backend: Arc<dyn Backend>,
    metrics: Arc<Metrics>,
    read_deadline: Duration,
) -> Router {
    let Doors { token, forge_hooks, push, anomalies } = doors;
    let app = App {
        token,
        forge_hooks,
        push,
        anomalies,
        anomaly_places: Arc::new(Semaphore::new(anomalies::ANOMALIES_AT_ONCE)),
        writes: Arc::new(Semaphore::new(write::WRITES_AT_ONCE)),
        backend,
        metrics,
        webhooks: Arc::new(Semaphore::new(WEBHOOKS_AT_ONCE)),
        forge_places: Arc::new(Semaphore::new(hooks::FORGE_HOOKS_AT_ONCE)),
        predictions: Arc::new(Semaphore::new(PREDICTIONS_AT_ONCE)),
        read_deadline,
    };
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/webhook/alertmanager", post(webhook))
        .route("/webhook/forge", post(hooks::forge))
        .route("/api/v1/write", post(write::write))
        .route("/api/v1/anomalies", get(anomalies::anomalies))
        .route("/predict", post(predict))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|| async { nothing_here() })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has another method; see /")
        })
        .with_state(Arc::new(app))
}

pub(super) fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here; see /")
}

async fn healthz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    app.backend.alive().map(|()| "ok\n").map_err(|what| Problem::new(StatusCode::SERVICE_UNAVAILABLE, what))
}

async fn webhook(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<StatusCode, Problem> {
    if let Some(check) = &app.token
        && !credential(&headers, "Bearer").is_some_and(|token| check(token))
    {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "send the configured bearer token"));
    }
    let place = admit(&app.webhooks).inspect_err(|_| app.metrics.count_alerts(Received::Shed, 1))?;
    let body = read(body, MAX_WEBHOOK_BYTES, app.read_deadline).await?;
    let backend = Arc::clone(&app.backend);
    let taken = blocking(place, move || backend.accept(&body)).await?.map_err(|refusal| {
        let (counted, problem) = refused(refusal);
        app.metrics.count_alerts(counted, 1);
        problem
    })?;
    for (status, count) in [
        (Received::Firing, taken.firing),
        (Received::Resolved, taken.resolved),
        (Received::Repeated, taken.repeated),
        (Received::Refused, taken.refused),
    ] {
        app.metrics.count_alerts(status, count);
    }
    if taken.firing + taken.resolved + taken.refused > 0 {
        let (firing, resolved, repeated, refused) =
            (taken.firing, taken.resolved, taken.repeated, taken.refused);
        Event::AlertsReceived { firing, resolved, repeated, refused }.emit();
    }
    Ok(StatusCode::NO_CONTENT)
}

fn refused(refusal: Refusal) -> (Received, Problem) {
    match refusal {
        Refusal::NotJson(detail) => (Received::Refused, Problem::new(StatusCode::BAD_REQUEST, detail)),
        Refusal::Field { field, rule } => (Received::Refused, Problem::field(field, rule)),
        Refusal::TryLater(detail) => {
            Event::AlertsRefused { reason: &detail }.emit();
            // What stands in the log may name paths; the sender learns only that it should come again.
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "alerts cannot be stored now");
            (Received::Shed, problem)
        }
    }
}

async fn predict(State(app): State<Arc<App>>, body: Body) -> Result<Json<Predicted>, Problem> {
    let place = admit(&app.predictions)?;
    let body = read(body, MAX_PREDICT_BYTES, app.read_deadline).await?;
    let backend = Arc::clone(&app.backend);
    let scored = blocking(place, move || {
        let score = |Request { series, period, timed }: Request| {
            let anomaly = backend.score(series, period).map_err(|detail| Problem::field("values", detail))?;
            Ok::<_, Problem>(Prediction::of(anomaly, timed))
        };
        match Posted::parse(&body)? {
            Posted::One(request) => score(request).map(Predicted::One),
            Posted::Many(requests) => {
                let scored = requests.into_iter().enumerate();
                let scored = scored.map(|(index, it)| score(it).map_err(|problem| problem.in_series(index)));
                Ok(Predicted::Many { predictions: scored.collect::<Result<_, _>>()? })
            }
        }
    });
    scored.await?.map(Json)
}

async fn metrics_text(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app.metrics.encode();
    let text =
        text.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
    #[serde(flatten)]
    readiness: Readiness,
}

async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let readiness = app.backend.ready();
    let ready = readiness.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, readiness }))
}

/// What the one `Authorization` header has after this scheme (RFC 7235); the scheme's case does not matter.
pub(super) fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?.as_bytes();
    if all.next().is_some() {
        return None;
    }
    let (given, rest) = value.split_at_checked(scheme.len())?;
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.strip_prefix(b" "))?
}

pub(super) fn admit(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time"))
}

/// The whole body, if it is small and quick enough.
pub(super) async fn read(body: Body, max_bytes: usize, deadline: Duration) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {max_bytes} bytes"));
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    match timeout(deadline, to_bytes(body, max_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // The only other failure is a connection that broke, and then nobody reads the answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", deadline.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// Runs `work` where it may block. It keeps its place until it is done, even if the client has left.
pub(super) async fn blocking<T: Send + 'static>(
    place: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let work = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    work.await.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed"))
}
