//! The door `/ws/chat`: a talk over one WebSocket in JSON messages, for clients without WebRTC.
//!
//! | type | direction | fields |
//! |---|---|---|
//! | `audio_chunk` | client → server | `data`: base64 of 16-bit little-endian mono samples; `sr`: 8000 to 96000; `ts` |
//! | `transcription` | server → client | `text`, `is_final`, `turn_id` |
//! | `llm_token` | server → client | `token`, `turn_id` |
//! | `audio_response` | server → client | `data`: base64 of a whole WAV file (`hq`: as `mime` says), `mode`, `turn_id`, `seq`, `is_last`, `mime` |
//! | `error` | server → client | `code`, `message` |
//! | `interrupted` | server → client | `turn_id`: the caller spoke over the reply; what was sent of it should not be played on |
//! | `response_done` | server → client | `turn_id`, `status` |
//! | `session`, `session_resumable`, `session_resumed` | server → client | see [`wording`] |
//!
//! The key comes as `Authorization: Bearer`, or where headers cannot be set as the subprotocol `avatar-key.<key>` or
//! `openai-insecure-api-key.<key>`; a resume token likewise, as `Avatar-Resume-Token` or `avatar-resume.<token>`. Without a key
//! the handshake is refused with 401. A call that cannot be had is told by `error` (`busy`, `loading`), since a web page cannot
//! read the answer of a handshake that failed.
//!
//! Promises that neither a client that floods nor one that doesn't read takes more than a few megabytes. Decides nothing.

pub mod hearing;
pub mod playing;
mod talk;
pub mod wording;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::watch;

use self::talk::{CUT_OFF_BYTES, Talk};
use crate::http;
use crate::http::error::ApiError;
use crate::http::keys::{Keys, SUBPROTOCOLS};
use crate::http::origins::{self, Origins};
use crate::line::{ConversationId, HqAudio, SessionPatch, Switchboard};
use crate::secret::Secret;

const RESUME_PREFIX: &str = "avatar-resume.";
/// Longest value of a query parameter that is looked up.
const PARAMETER_LIMIT: usize = 128;

/// Where better audio of replies lies.
pub trait Recordings: Send + Sync + 'static {
    /// The whole file, if it is still there and has at most `most` bytes.
    fn better(&self, audio: &HqAudio, most: usize) -> BoxFuture<'static, Option<Recorded>>;
}

/// An audio file that plays by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub file: Vec<u8>,
    /// Its media type.
    pub mime: &'static str,
}

/// What the door is built from.
pub struct ChatDoor {
    pub switchboard: Arc<dyn Switchboard>,
    pub keys: Arc<Keys>,
    pub recordings: Arc<dyn Recordings>,
    /// Becomes true when the server stops: calls are hung up.
    pub stopping: watch::Receiver<bool>,
}

pub fn router(door: ChatDoor, origins: Origins) -> Router {
    let routes = Router::new().route("/ws/chat", get(open)).with_state(Arc::new(door));
    origins::guard(routes.method_not_allowed_fallback(|| async { ApiError::method_not_allowed() }), origins)
}

/// What a client may ask for in the address.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    conversation: Option<String>,
    voice: Option<String>,
    language: Option<String>,
}

async fn open(
    State(door): State<Arc<ChatDoor>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let offered = Offered::read(&headers);
    let holder = door.keys.holder(&headers, SystemTime::now())?;
    let grant = holder.grant().cloned();
    let Query(asked) = asked.map_err(|error| {
        ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_query", format!("the address cannot be read: {error}"))
    })?;
    let base = holder.session();
    let session = SessionPatch {
        conversation: parameter("conversation", asked.conversation)?
            .map(ConversationId::from_text)
            .or(base.conversation),
        voice: parameter("voice", asked.voice)?.or(base.voice),
        language: match parameter("language", asked.language)? {
            Some(language) => Some(Some(language).filter(|language| language != "auto")),
            None => base.language,
        },
        resume: offered.resume.or_else(|| http::resume_token(&headers)).or(base.resume),
        ..base
    };
    let upgrade = upgrade.map_err(|_| {
        let message = "this address speaks WebSocket; connect with `ws://` or `wss://`";
        ApiError::invalid(StatusCode::UPGRADE_REQUIRED, "websocket_needed", message)
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
    })?;
    let mut upgrade = upgrade.max_message_size(CUT_OFF_BYTES).max_frame_size(CUT_OFF_BYTES);
    if let Some(protocol) = offered.answer {
        upgrade.set_selected_protocol(protocol);
    }
    Ok(upgrade.on_upgrade(move |socket| Talk::begin(socket, door, session, grant)))
}

fn parameter(name: &'static str, value: Option<String>) -> Result<Option<String>, ApiError> {
    match value {
        Some(value) if value.is_empty() || value.len() > PARAMETER_LIMIT => {
            let message = format!("`{name}` must have 1 to {PARAMETER_LIMIT} bytes");
            Err(ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_value", message).about(name))
        }
        value => Ok(value),
    }
}

/// What the client says in its list of subprotocols.
#[derive(Debug, Default)]
struct Offered {
    resume: Option<Secret>,
    /// The one that is answered with: browsers fail a handshake that chooses none of theirs.
    answer: Option<HeaderValue>,
}

impl Offered {
    fn read(headers: &HeaderMap) -> Self {
        let mut offered = Self::default();
        let mut secret = None;
        let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
        for name in lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
            let token = name.strip_prefix(RESUME_PREFIX);
            if let Some(token) = token {
                offered.resume = Some(Secret::new(token));
            }
            // Who the key is of, `Keys` reads.
            let is_secret = token.is_some() || SUBPROTOCOLS.iter().any(|prefix| name.starts_with(prefix));
            let slot = if is_secret { &mut secret } else { &mut offered.answer };
            if slot.is_none() {
                *slot = HeaderValue::from_str(name).ok();
            }
        }
        // What holds a secret is only repeated where nothing else was offered.
        offered.answer = offered.answer.or(secret);
        offered
    }
}

#[cfg(test)]
mod tests;
