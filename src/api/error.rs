//! Errors of the REST interface, worded as those of every door.

use axum::http::StatusCode;
use signaling::http::error::ApiError;

/// `what` may hold what the client asked for; a long one is not given back whole.
pub fn not_found(what: &str) -> ApiError {
    let shown: String = what.chars().take(100).collect();
    ApiError::invalid(StatusCode::NOT_FOUND, "not_found", format!("there is no {shown}"))
}

pub fn bad_parameter(name: &str, message: String) -> ApiError {
    ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_value", message).about(name)
}

pub fn internal(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a request failed");
    ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", error.to_string())
}
