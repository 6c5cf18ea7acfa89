//! REST: conversations and their audio, health, what the page needs for a call, and the page. Reads; decides nothing.

mod conversations;
mod error;
mod health;
mod page;
pub mod voices;

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use signaling::http::IceServer;
use signaling::http::error::ApiError;
use signaling::secret::Secret;
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

/// `GET /api/ice-servers`: the STUN and TURN servers of the config, in the browser's own form (`RTCIceServer`). With their passwords: to
/// be shown only to those who hold a key, where there are keys.
pub fn ice_servers(servers: &[IceServer]) -> Router {
    let servers = servers.iter().map(|server| {
        let credential = server.credential.as_ref().map(Secret::reveal);
        match (&server.username, credential) {
            (Some(username), Some(credential)) => {
                json!({ "urls": server.urls, "username": username, "credential": credential })
            }
            _ => json!({ "urls": server.urls }),
        }
    });
    let list = Value::Array(servers.collect());
    let answer = move || async move { ([(header::CACHE_CONTROL, "no-store")], Json(list)) };
    Router::new().route("/api/ice-servers", get(answer)).method_not_allowed_fallback(method_not_allowed)
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
