//! `GET /api/v1/anomalies`: what a detector says about the series of its shard. In go a token and the least score that is
//! wanted, out comes the newest look, bounded, or a refusal. Nothing is scored here.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::problem::Problem;
use super::routes::{App, admit, blocking, nothing_here};
use crate::model::anomaly::Score;
use crate::model::shard::ShardReport;

/// Answers being made at the same time; each may be two megabytes.
pub const ANOMALIES_AT_ONCE: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Series that score less are left out.
    #[serde(default)]
    floor: f64,
}

/// Answers who may ask, if there is anybody.
pub(super) async fn anomalies(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    match report(&app, &headers, wanted).await {
        Ok(report) => Json(report).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn report(
    app: &App,
    headers: &HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<ShardReport, Problem> {
    let Some(door) = &app.settings.anomalies else { return Err(nothing_here()) };
    door.admit(headers)?;
    let floor = wanted.ok().and_then(|it| Score::new(it.floor).ok());
    let floor = floor.ok_or_else(|| Problem::field("floor", "a score from 0 to 1, and nothing else"))?;
    let place = admit(&app.anomaly_places)?;
    let report = app.backend.anomalies().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the first look at the signals is not finished")
    })?;
    blocking(place, move || report.above(floor)).await
}
