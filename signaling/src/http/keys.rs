//! Who may call: API keys of the server's owner, keys that were given out ([`KeyBook`]), and short-lived client secrets (`ek_…`)
//! that holders of either hand to browsers.
//!
//! A server that never had a key lets everybody in, whatever bearer token they send; it should listen on loopback alone. As soon
//! as one key is given out it is closed, and stays so when that key has expired or is revoked. A client secret acts as the key
//! that minted it and dies with it. Tokens are compared in constant time, and never shown by `Debug`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, StatusCode, header};
use uuid::Uuid;

use super::error::ApiError;
use crate::grant::Grant;
use crate::line::SessionPatch;
use crate::secret::Secret;

/// How many client secrets may be valid at once. When that many are, no more are made until one has expired.
pub const SECRETS_BOUND: usize = 1024;
/// How many of them may come from one key that was given out, so that it leaves room for the others.
pub const SECRETS_OF_ONE_KEY: usize = SECRETS_BOUND / 4;
/// How a browser says its key where it can set no headers: as a subprotocol of a WebSocket.
pub(crate) const SUBPROTOCOLS: [&str; 2] = ["openai-insecure-api-key.", "avatar-key."];

/// The keys that were given out, wherever they are kept. Asked at every request, so that a key which is made or revoked counts
/// at once; must answer within a millisecond and compare in constant time.
pub trait KeyBook: fmt::Debug + Send + Sync + 'static {
    /// Whether any key was ever given out, valid or not.
    fn has_keys(&self) -> Result<bool, BookError>;
    /// The key whose text is `token`, if it is valid at `now`.
    fn find(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, BookError>;
    /// The key of that id, if it is valid at `now`.
    fn grant(&self, key: &str, now: SystemTime) -> Result<Option<Grant>, BookError>;
}

/// The keys that were given out cannot be looked up. Nobody is let in then but holders of the server's own keys.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the keys cannot be read: {0}; see to the data folder")]
pub struct BookError(pub String);

impl From<BookError> for ApiError {
    fn from(error: BookError) -> Self {
        tracing::error!(%error, "a key could not be checked");
        let message = "keys cannot be checked at the moment; retry shortly";
        Self::server(StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable", message).retry_after(Duration::from_secs(5))
    }
}

/// The keys of one server.
#[derive(Debug)]
pub struct Keys {
    api: Vec<Secret>,
    book: Option<Arc<dyn KeyBook>>,
    secrets: Mutex<Vec<ClientSecret>>,
}

/// A client secret, and the session it is for.
#[derive(Debug, Clone)]
pub struct ClientSecret {
    pub value: Secret,
    pub expires_at: SystemTime,
    pub session: SessionPatch,
    /// Id of the key that was given out which minted it; `None` for the server's own.
    owner: Option<String>,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Holder {
    /// The server has no keys.
    Anyone,
    /// The holder of one of the server's own keys.
    Owner,
    /// The holder of a key that was given out.
    Given(Grant),
    /// The holder of a client secret, which says what the session is; with the key that minted it, if that was given out.
    Client { session: SessionPatch, grant: Option<Grant> },
}

impl Holder {
    /// What the session is before the request has its say.
    pub fn session(self) -> SessionPatch {
        match self {
            Self::Anyone | Self::Owner | Self::Given(_) => SessionPatch::default(),
            Self::Client { session, .. } => session,
        }
    }

    /// The key that was given out which they hold, or their client secret comes from.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Anyone | Self::Owner => None,
            Self::Given(grant) => Some(grant),
            Self::Client { grant, .. } => grant.as_ref(),
        }
    }

    /// Whose the calls are that they make.
    pub fn owner(&self) -> Option<&str> {
        self.grant().map(|grant| grant.key.as_str())
    }

    /// Whether they may end or change a call of `owner`.
    pub fn may_touch(&self, owner: Option<&str>) -> bool {
        match self {
            Self::Anyone | Self::Owner => true,
            Self::Given(_) | Self::Client { .. } => self.owner() == owner,
        }
    }
}

impl Keys {
    /// `api` are the server's API keys; empty lets everybody in. Blank ones are left out.
    pub fn new(api: impl IntoIterator<Item = Secret>) -> Self {
        let api = api.into_iter().filter(|key| !key.reveal().trim().is_empty()).collect();
        Self { api, book: None, secrets: Mutex::new(Vec::new()) }
    }

    /// With keys that were given out beside the server's own.
    pub fn with_book(self, book: Arc<dyn KeyBook>) -> Self {
        Self { book: Some(book), ..self }
    }

    /// Whether everybody is let in, as no key was ever made.
    pub fn are_none(&self) -> Result<bool, BookError> {
        if !self.api.is_empty() {
            return Ok(false);
        }
        self.book.as_ref().map_or(Ok(true), |book| book.has_keys().map(|has| !has))
    }

    /// Who sent a request with these headers.
    pub fn holder(&self, headers: &HeaderMap, now: SystemTime) -> Result<Holder, ApiError> {
        let token = token(headers);
        if let Some(token) = token {
            if let Some(secret) = self.find(token, now) {
                return self.client(secret, now);
            }
            // Every key is compared, so that the time does not tell which one came close.
            if self.api.iter().fold(false, |found, key| found | key.matches(token)) {
                return Ok(Holder::Owner);
            }
        }
        if self.are_none()? {
            return Ok(Holder::Anyone);
        }
        let Some(token) = token else {
            let message = "a key is needed; send `Authorization: Bearer <key>`";
            return Err(ApiError::unauthorized("missing_api_key", message));
        };
        match self.book.as_ref().map(|book| book.find(token, now)).transpose()?.flatten() {
            Some(grant) => Ok(Holder::Given(grant)),
            None => Err(invalid_key()),
        }
    }

    fn client(&self, secret: ClientSecret, now: SystemTime) -> Result<Holder, ApiError> {
        let ClientSecret { session, owner, .. } = secret;
        let Some(owner) = owner else { return Ok(Holder::Client { session, grant: None }) };
        match self.book.as_ref().map(|book| book.grant(&owner, now)).transpose()?.flatten() {
            Some(grant) => Ok(Holder::Client { session, grant: Some(grant) }),
            None => Err(invalid_key()),
        }
    }

    /// Makes a client secret for `holder`, who must not hold one himself; the caller sees to that.
    pub fn mint(
        &self,
        holder: &Holder,
        session: SessionPatch,
        valid: Duration,
        now: SystemTime,
    ) -> Result<ClientSecret, ApiError> {
        let owner = holder.owner().map(str::to_owned);
        let mut secrets = self.lock();
        secrets.retain(|secret| secret.expires_at > now);
        let of_one = secrets.iter().filter(|secret| owner.is_some() && secret.owner == owner).count();
        if secrets.len() >= SECRETS_BOUND || of_one >= SECRETS_OF_ONE_KEY {
            let next = secrets.iter().map(|secret| secret.expires_at).min().unwrap_or(now);
            let wait = next.duration_since(now).unwrap_or_default();
            let message = format!("{} client secrets are valid already; retry when one has expired", secrets.len());
            let error = ApiError::invalid(StatusCode::TOO_MANY_REQUESTS, "too_many_client_secrets", message);
            return Err(error.retry_after(wait));
        }
        let value = Secret::new(format!("ek_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let secret = ClientSecret { value, expires_at: now + valid, session, owner };
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

fn invalid_key() -> ApiError {
    let message = "the key is not one of this server's, was revoked, or has expired; get a new one";
    ApiError::unauthorized("invalid_api_key", message)
}

/// The token of a request: a bearer token (RFC 6750; its scheme's case does not matter), or a subprotocol of a WebSocket.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| subprotocol(headers))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',').map(str::trim));
    offered
        .find_map(|offered| SUBPROTOCOLS.iter().find_map(|prefix| offered.strip_prefix(prefix)))
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
pub(super) mod tests;
