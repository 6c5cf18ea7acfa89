//! REST: conversations and their audio, health and status, what the page needs for a call, and the page. Decides nothing.

mod conversations;
mod error;
mod events;
mod health;
pub mod openapi;
mod page;
mod recording;
mod renders;
mod status;
pub mod voices;

use std::sync::Arc;

use axum::http::header;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use signaling::http::IceServer;
use signaling::http::error::ApiError;
use signaling::secret::Secret;

use crate::call::admission::Exchange;
pub use crate::guard::with_safe_headers;
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

/// Conversations, and how the server is: to be shown only to those who hold a key, where there are keys.
pub fn conversations(state: ApiState) -> Router {
    status::begin();
    conversations::routes()
        .route("/api/conversations/{id}/turns/{turn}/render", post(renders::ask))
        .route("/api/events", get(events::events))
        .route("/api/status", get(status::status))
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

#[cfg(test)]
mod tests;
