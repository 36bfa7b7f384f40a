//! `POST /api/v1/write`: the receiver of Prometheus remote write, versions 1.0 and 2.0 (prometheus.io, "Remote Write").
//! In go the headers of a request, out comes a message to be read with its version, or a refusal before the body is
//! read. Nothing is unpacked here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::door::Door;
use super::problem::Problem;
use super::routes::{App, blocking, nothing_here, read, wait_for_place};
use crate::model::pushed::{Tally, WriteRefusal, WriteVersion};
use crate::telemetry::names::{Metrics, Pushed, Written};

/// Largest message as it is sent, bytes.
pub const MAX_WRITE_BYTES: usize = 4 * 1024 * 1024;
/// Messages that arrive, or wait to be stored, at the same time: slow senders hold up nobody else until there are so many.
pub const WRITES_READ_AT_ONCE: usize = 32;
/// Messages being stored at the same time; each may be sixteen megabytes unpacked.
pub const WRITES_AT_ONCE: usize = 4;

const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// Takes a message, if anybody may push.
pub(super) async fn write(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let Some(door) = &app.settings.push else { return nothing_here().into_response() };
    match take(&app, door, &headers, body).await {
        Ok((version, tally)) => answer(&app.metrics, version, &tally),
        Err((outcome, problem)) => {
            app.metrics.count_written(outcome);
            let mut response = problem.into_response();
            if outcome == Written::Unauthorized && matches!(door, Door::Basic(_)) {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            }
            response
        }
    }
}

type Refused = (Written, Problem);

async fn take(
    app: &Arc<App>,
    door: &Door,
    headers: &HeaderMap,
    body: Body,
) -> Result<(WriteVersion, Tally), Refused> {
    door.admit(headers).map_err(|problem| (Written::Unauthorized, problem))?;
    let version = version(headers)
        .map_err(|detail| (Written::OtherType, Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)))?;
    let shed = |problem| (Written::Shed, problem);
    let reading = wait_for_place(&app.write_reads).await.map_err(shed)?;
    let body = read(body, MAX_WRITE_BYTES, app.read_deadline).await.map_err(unread)?;
    let place = wait_for_place(&app.writes).await.map_err(shed)?;
    drop(reading);
    let backend = Arc::clone(&app.backend);
    let taken = blocking(place, move || backend.write(version, &body)).await;
    match taken.map_err(shed)? {
        Ok(tally) => Ok((version, tally)),
        Err(WriteRefusal::Malformed(detail)) => {
            Err((Written::Malformed, Problem::new(StatusCode::BAD_REQUEST, detail)))
        }
        Err(WriteRefusal::TooLarge(detail)) => {
            Err((Written::TooLarge, Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)))
        }
    }
}

/// A sender repeats what met a 5xx, and nothing else but 429: after a 408 its samples would be gone.
fn unread(problem: Problem) -> Refused {
    match problem.is(StatusCode::REQUEST_TIMEOUT) {
        true => (Written::TooSlow, problem.with_status(StatusCode::SERVICE_UNAVAILABLE)),
        false => (Written::TooLarge, problem),
    }
}

/// The version by content type, as both specifications say; the header with the version only has to be one of ours.
fn version(headers: &HeaderMap) -> Result<WriteVersion, &'static str> {
    let text =
        |name: &str| headers.get(name).map(|it| it.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    if text("content-encoding").is_some_and(|it| it != "snappy") {
        return Err("compress the message with snappy (block format)");
    }
    let known = |it: &str| ["0.", "1.", "2."].iter().any(|major| it.starts_with(major));
    if text("x-prometheus-remote-write-version").is_some_and(|it| !known(&it)) {
        return Err("this version is not known here; 0.1.0 and 2.0.0 are");
    }
    let Some(kind) = text("content-type") else { return Ok(WriteVersion::One) };
    let mut parts = kind.split(';').map(str::trim);
    if parts.next() != Some("application/x-protobuf") {
        return Err("send application/x-protobuf");
    }
    match parts.find_map(|it| it.strip_prefix("proto=")) {
        None | Some("prometheus.writerequest") => Ok(WriteVersion::One),
        Some("io.prometheus.write.v2.request") => Ok(WriteVersion::Two),
        Some(_) => Err("the message is neither prometheus.WriteRequest nor io.prometheus.write.v2.Request"),
    }
}

fn answer(metrics: &Metrics, version: WriteVersion, tally: &Tally) -> Response {
    count(metrics, tally);
    let mut response = if tally.refused_series > 0 {
        metrics.count_written(Written::Refused);
        let detail = format!(
            "{} series have no metric name, or labels that are empty, too long, too many or there twice; the others \
             were taken",
            tally.refused_series
        );
        Problem::new(StatusCode::BAD_REQUEST, detail).into_response()
    } else {
        metrics.count_written(Written::Taken);
        StatusCode::NO_CONTENT.into_response()
    };
    if version == WriteVersion::Two {
        let headers = response.headers_mut();
        headers.insert(SAMPLES_WRITTEN, HeaderValue::from(tally.written()));
        headers.insert(HISTOGRAMS_WRITTEN, HeaderValue::from(0));
        headers.insert(EXEMPLARS_WRITTEN, HeaderValue::from(0));
    }
    response
}

fn count(metrics: &Metrics, tally: &Tally) {
    for (outcome, count) in [
        (Pushed::Kept, tally.kept),
        (Pushed::Unwatched, tally.unwatched),
        (Pushed::OutOfOrder, tally.out_of_order),
        (Pushed::Repeated, tally.repeated),
        (Pushed::Late, tally.late),
        (Pushed::Ahead, tally.ahead),
        (Pushed::NoRoom, tally.no_room),
        (Pushed::Refused, tally.refused),
        (Pushed::Histogram, tally.histograms),
    ] {
        metrics.count_pushed(outcome, count);
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
