//! Request bodies: bounded in size and in time, and told apart by content type.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::error::ApiError;
use crate::negotiate::NegotiateError;

/// The longest body of an offer.
pub const OFFER_LIMIT: usize = 1024 * 1024;
/// How long a body may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a body that is too long is read and thrown away, so that the client gets to read the answer instead of
/// having its connection reset.
const DISCARDED: usize = 8 * 1024 * 1024;

/// The whole body, if it has at most `limit` bytes.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    read_within(body, limit, PATIENCE).await
}

/// The same, for bodies that need longer than [`PATIENCE`] to arrive.
pub async fn read_within(body: Body, limit: usize, patience: Duration) -> Result<Bytes, ApiError> {
    tokio::time::timeout(patience, collect(body, limit)).await.unwrap_or_else(|_| {
        let message = format!("the request's body did not arrive within {} s", patience.as_secs());
        Err(ApiError::invalid(StatusCode::REQUEST_TIMEOUT, "timeout", message))
    })
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            let message = format!("the request's body broke off: {error}");
            ApiError::invalid(StatusCode::BAD_REQUEST, "incomplete_body", message)
        })?;
        seen = seen.saturating_add(chunk.len());
        if seen <= limit {
            kept.extend_from_slice(&chunk);
        } else if seen > limit.saturating_add(DISCARDED) {
            break;
        }
    }
    if seen > limit {
        let message = format!("the request has more than {limit} bytes, which is the most that is taken here");
        return Err(ApiError::invalid(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    Ok(kept.freeze())
}

/// The content type without its parameters, in lower case; empty if there is none.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An offer's text, if it can be one at all.
pub fn sdp(bytes: &[u8]) -> Result<String, ApiError> {
    let bad = |reason: &str| ApiError::from(NegotiateError::Malformed { why: reason.to_owned() });
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(NegotiateError::Empty.into());
    }
    if !text.starts_with("v=0") {
        return Err(bad("it does not begin with `v=0`"));
    }
    Ok(text.to_owned())
}
