//! `POST /webhook/forge`: which forge sends, and how it proves itself. In go the headers of a request, out comes a
//! delivery to be judged with its raw body, or a refusal before the body is read. Nothing is parsed here.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64ct::{Base64, Encoding as _};

use super::problem::Problem;
use super::routes::{App, admit, blocking, nothing_here, read};
use crate::model::delivery::{Delivery, Heard, Proof, Sender};

/// Largest delivery, bytes: a push of many commits.
pub const MAX_FORGE_BYTES: usize = 5 * 1024 * 1024;
/// Deliveries being read at the same time, whose senders may take their time, and being judged.
pub const FORGE_READS_AT_ONCE: usize = 16;
pub const FORGE_HOOKS_AT_ONCE: usize = 4;
/// Most codes of one delivery that are compared: a sender that changes its key sends two.
const CODES_MAX: usize = 4;

/// Takes a delivery, if there is a secret to check it with.
pub async fn forge(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    if !app.settings.forge_hooks {
        return nothing_here().into_response();
    }
    let heard = take(&app, &headers, body).await;
    app.metrics.count_forge_hook(heard);
    answer(heard, app.read_deadline)
}

async fn take(app: &Arc<App>, headers: &HeaderMap, body: Body) -> Heard {
    let Some(delivery) = delivery(headers) else { return Heard::Unsigned };
    let Ok(_reading) = admit(&app.forge_reads) else { return Heard::Shed };
    let body: Bytes = match read(body, MAX_FORGE_BYTES, app.read_deadline).await {
        Ok(body) => body,
        Err(problem) if problem.is(StatusCode::REQUEST_TIMEOUT) => return Heard::TooSlow,
        Err(_) => return Heard::TooLarge,
    };
    let Ok(place) = admit(&app.forge_places) else { return Heard::Shed };
    let backend = Arc::clone(&app.backend);
    blocking(place, move || backend.hear(&delivery, &body)).await.unwrap_or(Heard::Shed)
}

/// 200 and 202 are the same to a forge; a person who looks at its list of deliveries reads the word.
fn answer(heard: Heard, deadline: Duration) -> Response {
    let (status, detail) = match heard {
        Heard::Nudged | Heard::Ignored | Heard::OtherRepository => (StatusCode::ACCEPTED, String::new()),
        Heard::Ping | Heard::Replayed => (StatusCode::OK, String::new()),
        Heard::Unsigned | Heard::Forged => {
            (StatusCode::UNAUTHORIZED, "sign the delivery with the secret of this webhook".to_owned())
        }
        Heard::NotJson => (
            StatusCode::BAD_REQUEST,
            "not a JSON payload; choose the content type application/json".to_owned(),
        ),
        Heard::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, format!("at most {MAX_FORGE_BYTES} bytes")),
        Heard::TooSlow => {
            let detail = format!("the body did not arrive within {} s", deadline.as_secs());
            (StatusCode::REQUEST_TIMEOUT, detail)
        }
        Heard::Shed => (StatusCode::SERVICE_UNAVAILABLE, "too many deliveries at the same time".to_owned()),
    };
    if status.is_success() {
        return (status, Json(serde_json::json!({ "heard": heard.as_str() }))).into_response();
    }
    Problem::new(status, detail).into_response()
}

/// What the headers say; `None` without a proof that could be right. Gitea sends GitHub's headers beside its own.
fn delivery(headers: &HeaderMap) -> Option<Delivery> {
    let text = |name: &str| single(headers, name).and_then(|it| it.to_str().ok());
    let owned = |name: &str| text(name).map(str::to_owned);
    if let Some(event) = owned("x-gitea-event") {
        let proof = Proof::OverBody(hex(text("x-gitea-signature")?)?);
        return Some(Delivery { sender: Sender::Gitea, event, id: owned("x-gitea-delivery"), proof });
    }
    if let Some(event) = owned("x-github-event") {
        let code = text("x-hub-signature-256")?.strip_prefix("sha256=")?;
        let proof = Proof::OverBody(hex(code)?);
        return Some(Delivery { sender: Sender::GitHub, event, id: owned("x-github-delivery"), proof });
    }
    let event = owned("x-gitlab-event")?;
    let id = owned("idempotency-key").or_else(|| owned("x-gitlab-event-uuid"));
    let proof = if headers.contains_key("webhook-signature") {
        let codes = text("webhook-signature")?.split(' ').take(CODES_MAX).filter_map(standard).collect();
        Proof::OverAll { id: owned("webhook-id")?, at_s: text("webhook-timestamp")?.parse().ok()?, codes }
    } else {
        Proof::Token(single(headers, "x-gitlab-token")?.as_bytes().to_vec())
    };
    Some(Delivery { sender: Sender::GitLab, event, id, proof })
}

/// The one header of this name; two of them prove nothing.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut code = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in code.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(code)
}

/// `v1,<base64>` (Standard Webhooks).
fn standard(text: &str) -> Option<[u8; 32]> {
    Base64::decode_vec(text.strip_prefix("v1,")?).ok()?.try_into().ok()
}
