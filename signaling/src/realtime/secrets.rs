//! The door `/v1/realtime/client_secrets`: short-lived keys that a web application's server gets for its pages.
//!
//! The answer's `session` is what was asked for, as it will be asked of the call; `session.created` then tells what is in
//! force.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::calls;
use super::fields::{Fields, invalid};
use super::session;
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::keys::{Holder, Keys};
use crate::line::Fault;

/// The longest request: with [`crate::http::keys::SECRETS_BOUND`] it bounds what secrets can hold, at 64 MiB.
const REQUEST_LIMIT: usize = 64 * 1024;
const VALID: Duration = Duration::from_secs(600);
const VALID_RANGE: std::ops::RangeInclusive<u64> = 10..=7200;

pub fn router(keys: Arc<Keys>) -> Router {
    Router::new().route("/v1/realtime/client_secrets", post(create).options(calls::preflight)).with_state(keys)
}

async fn create(State(keys): State<Arc<Keys>>, request: Request) -> Result<Json<Value>, ApiError> {
    let now = SystemTime::now();
    let holder = keys.holder(request.headers(), now)?;
    if let Holder::Client { .. } = holder {
        let message = "a client secret cannot make another; use an API key";
        return Err(ApiError::invalid(StatusCode::FORBIDDEN, "api_key_needed", message));
    }
    let kind = body::content_type(request.headers());
    let content = body::read(request.into_body(), REQUEST_LIMIT).await?;
    let value = match (content.is_empty(), kind.as_str()) {
        (true, _) => json!({}),
        (false, "application/json") => calls::json(&content, "the request")?,
        (false, _) => {
            let message = "the request must be JSON; send it as application/json";
            return Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message));
        }
    };
    let fields = Fields::of(&value, "")?;
    let asked = fields.get("session");
    let patch = asked.map(session::patch).transpose()?.unwrap_or_default();
    let secret = keys.mint(&holder, patch, validity(&fields)?, now)?;
    Ok(Json(json!({
        "value": secret.value.reveal(),
        "expires_at": epoch_seconds(secret.expires_at),
        "session": shown(asked),
    })))
}

fn validity(fields: &Fields<'_>) -> Result<Duration, Fault> {
    let Some(after) = fields.object("expires_after")? else { return Ok(VALID) };
    if after.text("anchor")?.is_some_and(|anchor| anchor != "created_at") {
        return Err(invalid("expires_after.anchor", "`expires_after.anchor` must be `created_at`".to_owned()));
    }
    let Some(seconds) = after.get("seconds") else { return Ok(VALID) };
    match seconds.as_u64().filter(|seconds| VALID_RANGE.contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => {
            let (from, to) = (VALID_RANGE.start(), VALID_RANGE.end());
            let message = format!("`expires_after.seconds` must be a whole number from {from} to {to}");
            Err(invalid("expires_after.seconds", message))
        }
    }
}

fn shown(asked: Option<&Value>) -> Value {
    let mut session = asked.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    session.insert("type".to_owned(), "realtime".into());
    session.insert("object".to_owned(), "realtime.session".into());
    session.insert("id".to_owned(), format!("sess_{}", Uuid::now_v7().simple()).into());
    Value::Object(session)
}

fn epoch_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
