//! REST: conversations and their audio, health, and the page. Reads; decides nothing.

mod conversations;
mod error;
mod health;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use signaling::http::error::ApiError;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::call::admission::Exchange;
use crate::history::History;
use crate::readiness::Readiness;

/// What the handlers need.
#[derive(Clone)]
pub struct ApiState {
    pub history: Arc<History>,
    pub exchange: Arc<Exchange>,
    /// What is known of each engine.
    pub readiness: Arc<Readiness>,
}

/// What concerns conversations: to be shown only to those who hold a key, where there are keys.
pub fn conversations(state: ApiState) -> Router {
    Router::new()
        .route("/api/conversations", get(conversations::list))
        .route("/api/conversations/{id}", get(conversations::show))
        .route("/api/conversations/{id}/turns/{turn}/audio/{side}", get(conversations::audio))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

/// What anyone may see: health, and the page.
pub fn public(state: ApiState) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback_service(get(page::page).fallback(method_not_allowed))
        .with_state(state)
}

/// In the words of the doors.
async fn method_not_allowed() -> ApiError {
    ApiError::method_not_allowed()
}

/// Headers that keep a page safe; on every answer of every door.
pub fn with_safe_headers(router: Router) -> Router {
    let policy = "default-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; img-src 'self' data:; \
                  style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .layer(set(header::CONTENT_SECURITY_POLICY, policy))
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"))
}

#[cfg(test)]
mod tests;
