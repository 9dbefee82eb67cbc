//! The door for webhooks: takes the bytes of a request within bounds of size, time and number, hands them to the engine as they
//! came, and says what it answered. Headers that proxies add mean nothing here.

use std::sync::Arc;
use std::time::Duration;

use affluent_engine::{WebhookAnswer, Webhooks};
use affluent_model::limits::{WEBHOOK_BYTES_MAX, WEBHOOK_READ_MS_MAX, WEBHOOKS_AT_ONCE_MAX};
use affluent_model::webhook::WebhookRequest;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// The webhooks of the process and the room for them.
pub(crate) struct Doors {
    webhooks: Webhooks,
    room: Semaphore,
}

impl Doors {
    pub(crate) fn new(webhooks: Webhooks) -> Self {
        Self { webhooks, room: Semaphore::new(WEBHOOKS_AT_ONCE_MAX) }
    }
}

/// 200 for a genuine webhook, whatever becomes of it; 401 for another; 404 where none are taken; 408, 413 and 503 for those that
/// are too slow, too large and too many.
pub(crate) async fn take_in(State(doors): State<Arc<Doors>>, Path(connection): Path<String>, request: Request) -> Response {
    if !doors.webhooks.are_offered(&connection) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let deadline = Instant::now() + Duration::from_millis(WEBHOOK_READ_MS_MAX);
    let Ok(Ok(_room)) = timeout_at(deadline, doors.room.acquire()).await else { return later() };
    let (parts, body) = request.into_parts();
    let (method, headers) = (parts.method.to_string(), as_they_came(&parts.headers));
    let reading = Bytes::from_request(Request::from_parts(parts, body), &());
    let body = match timeout_at(deadline, reading).await {
        Ok(Ok(body)) => body.to_vec(),
        Ok(Err(refused)) => return refused.status().into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    match doors.webhooks.receive(&connection, &WebhookRequest { method, headers, body }).await {
        Ok(WebhookAnswer::Taken) => StatusCode::OK.into_response(),
        Ok(WebhookAnswer::Refused) => StatusCode::UNAUTHORIZED.into_response(),
        Ok(WebhookAnswer::NotOffered) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => later(),
    }
}

/// The bound on what [`take_in`] reads.
pub(crate) fn bound() -> DefaultBodyLimit {
    DefaultBodyLimit::max(WEBHOOK_BYTES_MAX)
}

fn as_they_came(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

fn later() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response()
}
