//! What went wrong in an engine, as an HTTP client is told.

use axum::http::StatusCode;
use models::error::EngineError;
use serde_json::{Value, json};
use signaling::http::error::ApiError;

use super::share::RETRY_AFTER;
use crate::readiness::Unready;

/// The engine is not there, or not yet.
pub fn unready(unready: Unready) -> ApiError {
    let unavailable = |code, message: String| ApiError::server(StatusCode::SERVICE_UNAVAILABLE, code, message);
    match unready {
        Unready::Loading { percent } => {
            let message = format!("the server is loading its models, {percent} % are there; retry shortly");
            unavailable("server_loading", message).retry_after(RETRY_AFTER)
        }
        Unready::Missing(missing) => {
            unavailable("engine_missing", format!("{} is not available: {}", missing.what, missing.hint))
        }
    }
}

/// The engine did not do it. `param` is what a request that it cannot serve had wrong.
pub fn engine(error: &EngineError, param: &str) -> ApiError {
    let message = error.to_string();
    match error {
        EngineError::BadRequest(_) => ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_value", message).about(param),
        EngineError::Overloaded { .. } => {
            ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(RETRY_AFTER)
        }
        _ => {
            tracing::error!(%error, "a request to the service failed");
            ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "engine_failed", message)
        }
    }
}

/// It took longer than anything may.
pub fn too_slow(limit: std::time::Duration) -> ApiError {
    let message = format!("the answer was not finished within {} s; ask for less", limit.as_secs());
    ApiError::server(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
}

/// An error as an event of a stream that has begun.
pub fn event(error: &ApiError) -> Value {
    let ApiError { kind, code, message, param, .. } = error;
    json!({ "error": { "type": kind, "code": code, "message": message, "param": param } })
}
