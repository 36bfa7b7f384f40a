//! The routes and their bounds. In goes a request, out comes an answer or a problem document. A body is
//! read only after the sender was admitted, never beyond its limit and never past its deadline; a place to work on it is
//! taken when it is there.

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
use super::server::{Backend, Readiness, Refusal, Settings};
use super::{anomalies, hooks, write};
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
/// Requests with series that arrive, or wait to be scored, at the same time: slow senders hold up nobody else until there
/// are so many.
pub const PREDICTIONS_READ_AT_ONCE: usize = 32;
/// Requests being scored at the same time: that is all processor.
pub const PREDICTIONS_AT_ONCE: usize = 2;
/// Answers of `/metrics` being made at the same time: of a hundred thousand series one has some thirty megabytes.
pub const METRICS_AT_ONCE: usize = 2;
/// What is done in less than this is waited for: that is cheaper for both than to send again.
const PLACE_WAIT: Duration = Duration::from_secs(5);

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

/// The routes' own settings, and how many of what may be under way.
pub(super) struct App {
    pub(super) settings: Settings,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) anomaly_places: Arc<Semaphore>,
    pub(super) write_reads: Arc<Semaphore>,
    pub(super) writes: Arc<Semaphore>,
    webhooks: Arc<Semaphore>,
    pub(super) forge_reads: Arc<Semaphore>,
    pub(super) forge_places: Arc<Semaphore>,
    predict_reads: Arc<Semaphore>,
    predictions: Arc<Semaphore>,
    metric_places: Arc<Semaphore>,
    pub(super) read_deadline: Duration,
}

impl App {
    fn new(
        settings: Settings,
        backend: Arc<dyn Backend>,
        metrics: Arc<Metrics>,
        read_deadline: Duration,
    ) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            settings,
            backend,
            metrics,
            anomaly_places: places(anomalies::ANOMALIES_AT_ONCE),
            write_reads: places(write::WRITES_READ_AT_ONCE),
            writes: places(write::WRITES_AT_ONCE),
            webhooks: places(WEBHOOKS_AT_ONCE),
            forge_reads: places(hooks::FORGE_READS_AT_ONCE),
            forge_places: places(hooks::FORGE_HOOKS_AT_ONCE),
            predict_reads: places(PREDICTIONS_READ_AT_ONCE),
            predictions: places(PREDICTIONS_AT_ONCE),
            metric_places: places(METRICS_AT_ONCE),
            read_deadline,
        }
    }
}

/// All routes.
pub fn router(
    settings: Settings,
    backend: Arc<dyn Backend>,
    metrics: Arc<Metrics>,
    read_deadline: Duration,
) -> Router {
    let app = App::new(settings, backend, metrics, read_deadline);
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
    app.settings.webhook.as_ref().ok_or_else(nothing_here)?.admit(&headers)?;
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
    let reading = admit(&app.predict_reads)?;
    let body = read(body, MAX_PREDICT_BYTES, app.read_deadline).await?;
    let place = wait_for_place(&app.predictions).await?;
    drop(reading);
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
    let place = wait_for_place(&app.metric_places).await?;
    let metrics = Arc::clone(&app.metrics);
    let text = blocking(place, move || metrics.encode()).await?;
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

pub(super) fn admit(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(places).try_acquire_owned().map_err(|_| too_many())
}

/// As [`admit`], after a while if there is none at once.
pub(super) async fn wait_for_place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let place = timeout(PLACE_WAIT, Arc::clone(places).acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or_else(too_many)
}

fn too_many() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tests::{LONG, Stub, settings};

    #[tokio::test]
    async fn metrics_are_made_for_a_few_at_the_same_time_and_the_others_wait_for_their_turn() {
        let metrics = Arc::new(Metrics::new("0.1.0", []));
        let app = Arc::new(App::new(settings(), Arc::new(Stub::default()), metrics, LONG));
        let all = u32::try_from(METRICS_AT_ONCE).unwrap();
        let places = app.metric_places.try_acquire_many(all).unwrap();
        let mut asked = std::pin::pin!(metrics_text(State(Arc::clone(&app))));
        tokio::select! {
            biased;
            answer = &mut asked => panic!("all places are taken: {answer:?}"),
            () = tokio::task::yield_now() => {}
        }
        drop(places);
        assert_eq!(asked.await.unwrap().status(), StatusCode::OK);
        app.metric_places.close();
        assert!(metrics_text(State(app)).await.is_err(), "nobody is answered without a place");
    }
}
