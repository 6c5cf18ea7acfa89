//! One conversation with its turns.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use signaling::http::error::ApiError;

use super::{By, named, rfc3339};
use crate::api::ApiState;
use crate::api::renders::{self, ShownRender};
use crate::history::{StoredConversation, StoredSide, StoredTurn};

#[derive(Debug, Serialize)]
pub struct ShownConversation {
    id: String,
    title: Option<String>,
    created_at: String,
    updated_at: String,
    duration_ms: i64,
    turns: Vec<ShownTurn>,
}

#[derive(Debug, Serialize)]
pub struct ShownTurn {
    id: i64,
    index: usize,
    created_at: String,
    door: String,
    user: Option<ShownSide>,
    assistant: Option<ShownSide>,
    timings: serde_json::Value,
    voice: Option<String>,
    model: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownSide {
    item: String,
    /// As it was edited, where it was.
    text: String,
    /// What stood there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<String>,
    /// What of the original was heard, where that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<String>,
    audio: Option<String>,
    duration_ms: Option<i64>,
    starts_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hq: Option<ShownRender>,
}

/// `GET /api/conversations/{id}`: all turns, oldest first.
pub async fn show(
    State(state): State<ApiState>,
    By(viewer): By,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ShownConversation>, ApiError> {
    named(&state, viewer, id).await.map(|found| Json(ShownConversation::new(found)))
}

impl ShownConversation {
    pub fn new(stored: StoredConversation) -> Self {
        let StoredConversation { id, title, created_at, updated_at, duration_ms, turns } = stored;
        let turns = turns.into_iter().enumerate().map(|(index, turn)| ShownTurn::new(&id, index, turn)).collect();
        Self { title, created_at: rfc3339(created_at), updated_at: rfc3339(updated_at), duration_ms, turns, id }
    }
}

impl ShownTurn {
    /// `index`: how many turns of the conversation came before it.
    pub fn new(conversation: &str, index: usize, turn: StoredTurn) -> Self {
        let audio = |side: &StoredSide, name: &str| {
            let path = || format!("/api/conversations/{conversation}/turns/{}/audio/{name}", turn.number);
            side.audio.as_ref().map(|_| path())
        };
        let said = |side: &StoredSide, name: &str| {
            let (text, original) = match &side.edit {
                Some(edit) => (edit.clone(), Some(side.text.clone())),
                None => (side.text.clone(), None),
            };
            ShownSide {
                item: side.item.clone(),
                text,
                original,
                heard: None,
                audio: audio(side, name),
                duration_ms: side.duration_ms,
                starts_ms: side.starts_ms,
                interrupted: None,
                failure: None,
                hq: None,
            }
        };
        let user = turn.user.as_ref().map(|user| said(user, "user"));
        let assistant = turn.assistant.as_ref().map(|reply| ShownSide {
            heard: turn.heard.clone().filter(|heard| turn.interrupted && *heard != reply.text),
            interrupted: Some(turn.interrupted),
            failure: turn.failure.clone(),
            hq: Some(renders::shown(conversation, turn.number, turn.render.as_ref())),
            audio: audio(reply, "assistant?quality=fast"),
            ..said(reply, "assistant")
        });
        Self {
            id: turn.number,
            index,
            created_at: rfc3339(turn.started_at),
            door: turn.door,
            user,
            assistant,
            timings: turn.timings,
            voice: turn.voice,
            model: turn.model,
        }
    }
}
