//! Models as a service: the engines that calls use, for any program that speaks OpenAI's HTTP API.
//!
//! `POST /v1/chat/completions`, `POST /v1/audio/transcriptions`, `POST /v1/audio/speech`, `GET /v1/models`. Translates and
//! bounds; decides nothing. A live call goes first: of each engine a bounded share is lent ([`share`]), files are listened to at the
//! lowest urgency and sentences are due late. Whoever hangs up cancels. What a client says and gets is never logged.
//!
//! Refuses what it would not do honestly, naming the parameter; ignores what changes nothing here (`store`, `metadata`, …).

mod chat;
pub(crate) mod failure;
mod listing;
mod pipe;
mod share;
mod speech;
mod transcription;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use models::llm::LanguageModel;
use serde_json::Value;
use signaling::grant::Grant;
use signaling::http::body;
use signaling::http::error::ApiError;
use signaling::http::keys::{Holder, Keys};
use signaling::http::origins::{self, Origins};
use signaling::negotiate::NegotiateError;

use self::chat::caches::Caches;
use self::share::Share;
use crate::call::admission::Exchange;
use crate::call::allowance::{Bill, Good};
use crate::config::SessionDefaults;
use crate::readiness::Readiness;

/// The longest JSON request: a conversation far longer than any model's context.
const JSON_LIMIT: usize = 4 * 1024 * 1024;
/// The longest that one answer may take to make.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// What the service is built from.
pub struct ServiceParts {
    pub readiness: Arc<Readiness>,
    /// Whose calls go first.
    pub exchange: Arc<Exchange>,
    pub keys: Arc<Keys>,
    pub origins: Origins,
    /// How the language model writes when a request does not say.
    pub session: SessionDefaults,
}

/// What the handlers share.
struct Service {
    readiness: Arc<Readiness>,
    exchange: Arc<Exchange>,
    keys: Arc<Keys>,
    session: SessionDefaults,
    /// When the server came up: what `created` of each model says.
    since: u64,
    generations: Share,
    recordings: Share,
    speeches: Share,
    caches: Caches,
}

/// The routes.
pub fn router(parts: ServiceParts) -> Router {
    let ServiceParts { readiness, exchange, keys, origins, session } = parts;
    let service = Service {
        readiness,
        exchange,
        keys,
        session,
        since: now(),
        generations: Share::new("the language model", chat::AT_ONCE, chat::WAITING),
        recordings: Share::new("speech to text", transcription::AT_ONCE, transcription::WAITING),
        speeches: Share::new("text to speech", speech::AT_ONCE, speech::WAITING),
        caches: Caches::default(),
    };
    let routes = Router::new()
        .route("/v1/chat/completions", post(chat::complete).options(preflight))
        .route("/v1/audio/transcriptions", post(transcription::transcribe).options(preflight))
        // Each reads at most its own limit; the framework's is 2 MB.
        .layer(DefaultBodyLimit::disable())
        .route("/v1/audio/speech", post(speech::speak).options(preflight))
        .route("/v1/models", get(listing::list).options(preflight))
        .route("/v1/models/{id}", get(listing::show).options(preflight))
        .with_state(Arc::new(service));
    origins::guard(routes.method_not_allowed_fallback(|| async { ApiError::method_not_allowed() }), origins)
}

/// What there is to say is in the headers that the origin guard adds.
async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

impl Service {
    /// Lets keys in, and gives what was granted with one that was given out; a client secret is for a call and nothing else.
    fn admit(&self, headers: &HeaderMap) -> Result<Option<Grant>, ApiError> {
        match self.keys.holder(headers, SystemTime::now())? {
            Holder::Anyone | Holder::Owner => Ok(None),
            Holder::Given(grant) => Ok(Some(grant)),
            Holder::Client { .. } => {
                let message = "a client secret opens a call and nothing else; use an API key";
                Err(ApiError::invalid(StatusCode::FORBIDDEN, "api_key_needed", message))
            }
        }
    }

    /// Lets a key have more of what an engine does, if it has some of that left today.
    fn bill(&self, grant: Option<&Grant>, good: Good) -> Result<Bill, ApiError> {
        self.exchange.bill(grant, good).map_err(|refusal| NegotiateError::Refused(refusal).into())
    }

    /// Whether calls run, which then go first.
    fn is_calling(&self) -> bool {
        self.exchange.active() > 0
    }

    fn llm(&self) -> Result<Arc<dyn LanguageModel>, ApiError> {
        self.readiness.llm().map_err(failure::unready)
    }
}

/// A request's JSON, whatever it calls its content.
async fn json(body: Body) -> Result<Value, ApiError> {
    let content = body::read(body, JSON_LIMIT).await?;
    serde_json::from_slice(&content).map_err(|error| {
        // Where it is wrong, but not what stands there.
        let message = format!("the request is not JSON: line {}, column {}", error.line(), error.column());
        ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_json", message)
    })
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
