//! Who may call: API keys of the server's owner, and short-lived client secrets (`ek_…`) that holders of an API key hand
//! to browsers.
//!
//! A server without API keys lets everybody in, whatever bearer token they send; it should listen on loopback alone.
//! Tokens are compared in constant time, and never shown by `Debug`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use uuid::Uuid;

use super::error::ApiError;
use crate::line::SessionPatch;
use crate::secret::Secret;

/// How many client secrets may be valid at once. When that many are, no more are made until one has expired.
pub const SECRETS_BOUND: usize = 1024;

/// The keys of one server.
#[derive(Debug)]
pub struct Keys {
    api: Vec<Secret>,
    secrets: Mutex<Vec<ClientSecret>>,
}

/// A client secret, and the session it is for.
#[derive(Debug, Clone)]
pub struct ClientSecret {
    pub value: Secret,
    pub expires_at: SystemTime,
    pub session: SessionPatch,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Holder {
    /// The server has no keys.
    Anyone,
    /// The holder of an API key.
    Owner,
    /// The holder of a client secret, which says what the session is.
    Client(SessionPatch),
}

impl Holder {
    /// What the session is before the request has its say.
    pub fn session(self) -> SessionPatch {
        match self {
            Self::Anyone | Self::Owner => SessionPatch::default(),
            Self::Client(session) => session,
        }
    }
}

impl Keys {
    /// `api` are the server's API keys; empty lets everybody in. Blank ones are left out.
    pub fn new(api: impl IntoIterator<Item = Secret>) -> Self {
        let api = api.into_iter().filter(|key| !key.reveal().trim().is_empty()).collect();
        Self { api, secrets: Mutex::new(Vec::new()) }
    }

    /// Who sent a request with these headers.
    pub fn holder(&self, headers: &HeaderMap, now: SystemTime) -> Result<Holder, ApiError> {
        let token = bearer(headers);
        if let Some(secret) = token.and_then(|token| self.find(token, now)) {
            return Ok(Holder::Client(secret.session));
        }
        if self.api.is_empty() {
            return Ok(Holder::Anyone);
        }
        let Some(token) = token else {
            let message = "a key is needed; send `Authorization: Bearer <key>`";
            return Err(ApiError::unauthorized("missing_api_key", message));
        };
        // Every key is compared, so that the time does not tell which one came close.
        if self.api.iter().fold(false, |found, key| found | key.matches(token)) {
            return Ok(Holder::Owner);
        }
        let message = "the key is not one of this server's, or the client secret has expired; get a new one";
        Err(ApiError::unauthorized("invalid_api_key", message))
    }

    /// Makes a client secret. Only for holders of an API key; the caller sees to that.
    pub fn mint(&self, session: SessionPatch, valid: Duration, now: SystemTime) -> Result<ClientSecret, ApiError> {
        let mut secrets = self.lock();
        secrets.retain(|secret| secret.expires_at > now);
        if secrets.len() >= SECRETS_BOUND {
            let next = secrets.iter().map(|secret| secret.expires_at).min().unwrap_or(now);
            let wait = next.duration_since(now).unwrap_or_default();
            let message = format!("{SECRETS_BOUND} client secrets are valid already; retry when one has expired");
            let error = ApiError::invalid(StatusCode::TOO_MANY_REQUESTS, "too_many_client_secrets", message);
            return Err(error.retry_after(wait));
        }
        let value = Secret::new(format!("ek_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let secret = ClientSecret { value, expires_at: now + valid, session };
        secrets.push(secret.clone());
        Ok(secret)
    }

    fn find(&self, token: &str, now: SystemTime) -> Option<ClientSecret> {
        if !token.starts_with("ek_") {
            return None;
        }
        let secrets = self.lock();
        // Every one is compared, as above.
        let matching =
            secrets.iter().fold(None, |found, secret| if secret.value.matches(token) { Some(secret) } else { found });
        matching.filter(|secret| secret.expires_at > now).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ClientSecret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bearer token of a request (RFC 6750); its scheme's case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// Lets only those pass to `routes` who hold a key, where there are keys.
pub fn require(routes: Router, keys: Arc<Keys>) -> Router {
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let holder = keys.holder(request.headers(), SystemTime::now());
        async move {
            match holder {
                Ok(_) => next.run(request).await,
                Err(refused) => refused.into_response(),
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::http::HeaderValue;

    use super::*;

    fn with_token(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn spoken_as(voice: &str) -> SessionPatch {
        SessionPatch { voice: Some(voice.to_owned()), ..SessionPatch::default() }
    }

    #[test]
    fn a_server_without_keys_lets_everybody_in() {
        let keys = Keys::new([Secret::new("  ")]);
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(keys.holder(&HeaderMap::new(), now).unwrap(), Holder::Anyone);
        assert_eq!(keys.holder(&with_token("whatever"), now).unwrap(), Holder::Anyone);
    }

    #[test]
    fn a_server_with_keys_refuses_prefixes_extensions_and_strangers() {
        let keys = Keys::new([Secret::new("sk-one"), Secret::new("sk-two")]);
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(keys.holder(&with_token("sk-one"), now).unwrap(), Holder::Owner);
        assert_eq!(keys.holder(&with_token("sk-two"), now).unwrap(), Holder::Owner);
        for wrong in ["sk-on", "sk-one1", "SK-ONE", "sk-oneX", "ek_", "x"] {
            assert_eq!(keys.holder(&with_token(wrong), now).unwrap_err().code, "invalid_api_key", "{wrong}");
        }
        assert_eq!(keys.holder(&HeaderMap::new(), now).unwrap_err().code, "missing_api_key");
    }

    #[test]
    fn a_client_secret_opens_until_it_expires_and_no_longer() {
        let keys = Keys::new([Secret::new("sk-one")]);
        let start = SystemTime::UNIX_EPOCH;
        let secret = keys.mint(spoken_as("slt"), Duration::from_secs(10), start).unwrap();
        let headers = with_token(secret.value.reveal());
        let just_before = start + Duration::from_millis(9_999);
        assert_eq!(keys.holder(&headers, just_before).unwrap(), Holder::Client(spoken_as("slt")));
        assert!(keys.holder(&headers, start + Duration::from_secs(10)).is_err());
    }

    #[test]
    fn client_secrets_are_bounded_and_expired_ones_make_room() {
        let keys = Keys::new([]);
        let start = SystemTime::UNIX_EPOCH;
        let valid = Duration::from_secs(60);
        for _ in 0..SECRETS_BOUND {
            keys.mint(SessionPatch::default(), valid, start).unwrap();
        }
        let refused = keys.mint(SessionPatch::default(), valid, start + Duration::from_secs(20)).unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(keys.mint(SessionPatch::default(), valid, start + valid).is_ok());
    }

    #[test]
    fn a_key_is_never_shown_by_debug() {
        let keys = Keys::new([Secret::new("sk-visible")]);
        let secret = keys.mint(SessionPatch::default(), Duration::from_secs(60), SystemTime::UNIX_EPOCH).unwrap();
        let shown = format!("{keys:?} {secret:?}");
        assert!(!shown.contains("sk-visible") && !shown.contains("ek_"), "{shown}");
    }
}
