//! What the HTTP doors share: who may come in, how an offer is handed to whoever negotiates, and how a refusal reads.
//!
//! Every refusal is `{"error":{"type","code","message","param"}}` with the status that fits. No request body is read past
//! its limit into memory, and none is waited for longer than [`body::PATIENCE`]. A call is ended and changed only by whose it is:
//! any route here whose path has a `{call}` in it is guarded so.

pub mod body;
mod calls;
pub mod error;
pub mod keys;
pub mod negotiator;
pub mod origins;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

use self::error::ApiError;
use self::keys::Keys;
use self::negotiator::Negotiator;
use self::origins::Origins;
use crate::secret::Secret;

/// A STUN or TURN server that clients are told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` addresses of it (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub credential: Option<Secret>,
}

/// A token with which a client goes on with an earlier call, at doors whose request has no session to name it in.
pub const RESUME_TOKEN: HeaderName = HeaderName::from_static("avatar-resume-token");

/// The resume token that a request brings in its header.
pub fn resume_token(headers: &HeaderMap) -> Option<Secret> {
    let token = headers.get(RESUME_TOKEN)?.to_str().ok()?.trim();
    Some(Secret::new(token)).filter(|_| !token.is_empty())
}

/// What the doors are built from.
pub struct Doors {
    pub negotiator: Arc<dyn Negotiator>,
    pub keys: Arc<Keys>,
    pub origins: Origins,
    /// Told to WHIP clients.
    pub ice_servers: Vec<IceServer>,
}

/// `/v1/realtime/calls`, `/v1/realtime/client_secrets` and `/whip`, and what stands below them.
pub fn router(doors: Doors) -> Router {
    let Doors { negotiator, keys, origins, ice_servers } = doors;
    let routes = Router::new()
        .merge(crate::realtime::calls::router(negotiator.clone(), keys.clone()))
        .merge(crate::realtime::secrets::router(keys.clone()))
        .merge(crate::whip::router(negotiator.clone(), keys.clone(), &ice_servers));
    let routes = calls::keep_to_owners(routes, negotiator, keys);
    origins::guard(routes.method_not_allowed_fallback(|| async { ApiError::method_not_allowed() }), origins)
}

#[cfg(test)]
pub(crate) mod tests;
