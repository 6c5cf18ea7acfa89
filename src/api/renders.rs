//! Replies' better audio, as the REST interface shows it and lets it be asked for.

use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use signaling::http::error::ApiError;

use super::ApiState;
use super::conversations::{By, unreadable_path};
use super::error::{internal, not_found};
use crate::history::renders::{AskedAnew, StoredRender};

/// How far a reply's better audio is: `none` where none is made.
#[derive(Debug, Serialize)]
pub struct ShownRender {
    state: &'static str,
    /// Why it failed, or why it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<String>,
    /// There also while a newer one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
}

/// As it stands in a turn's `assistant.hq`.
pub fn shown(conversation: &str, turn: i64, render: Option<&StoredRender>) -> ShownRender {
    let audio = || format!("/api/conversations/{conversation}/turns/{turn}/audio/assistant?quality=hq");
    ShownRender {
        state: render.map_or("none", |render| render.state.as_str()),
        reason: render.and_then(|render| render.reason.clone()),
        voice: render.and_then(|render| render.voice.clone()),
        audio: render.and_then(|render| render.audio.as_ref()).map(|_| audio()),
        duration_ms: render.and_then(|render| render.duration_ms),
        attempts: render.map(|render| render.attempts).filter(|attempts| *attempts > 0),
    }
}

/// `POST /api/conversations/{id}/turns/{turn}/render`: renders the reply anew, or for the first time. 202; 409 where there is nothing
/// to render, or nobody who does.
pub async fn ask(
    State(state): State<ApiState>,
    By(viewer): By,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Path((conversation, turn)) = path.map_err(unreadable_path)?;
    let missing = || not_found(&format!("turn {turn} in conversation {conversation}"));
    let conflict = |code, message: &str| Err(ApiError::invalid(StatusCode::CONFLICT, code, message));
    let number = turn.parse().map_err(|_| missing())?;
    if !state.history.renders_replies() {
        let message =
            "no better voice is there to render with; /health says why, and hq.engine in the configuration chooses one";
        return conflict("no_hq_voice", message);
    }
    match state.history.ask_render(viewer, conversation.clone(), number, SystemTime::now()).await.map_err(internal)? {
        AskedAnew::Pending => Ok((StatusCode::ACCEPTED, Json(json!({ "state": "pending" })))),
        AskedAnew::NoTurn => Err(missing()),
        AskedAnew::NothingToSay => {
            conflict("nothing_to_render", "nothing was heard of this turn's reply that a voice could say")
        }
    }
}
