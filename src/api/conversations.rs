//! Conversations: the list, one with its turns, and the audio of a turn.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use signaling::http::error::ApiError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower_http::services::ServeFile;

use super::ApiState;
use super::error::{bad_parameter, internal, not_found};
use crate::history::{History, HistoryError, Side, StoredSide, StoredTurn};

/// Conversations a page shows when it does not say.
const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Paging {
    limit: Option<String>,
    /// Id of the last conversation of the page before.
    before: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ListedConversation {
    id: String,
    turns: i64,
    created_at: String,
    updated_at: String,
    preview: String,
}

/// `GET /api/conversations?limit=20&before=ID`: newest first; shorter than `limit` on the last page.
pub async fn list(
    State(state): State<ApiState>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<Vec<ListedConversation>>, ApiError> {
    let Query(paging) = paging.map_err(|rejection| bad_parameter("query", rejection.body_text()))?;
    let limit = match paging.limit.as_deref().map(str::parse::<usize>) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit @ 1..=LARGEST_LIMIT)) => limit,
        Some(_) => {
            let message = format!("limit must be a number from 1 to {LARGEST_LIMIT}");
            return Err(bad_parameter("limit", message));
        }
    };
    let listed = read(&state.history, move |history| history.conversations(limit, paging.before.as_deref())).await?;
    let listed = listed.into_iter().map(|c| ListedConversation {
        id: c.id,
        turns: c.turns,
        created_at: rfc3339(c.created_at),
        updated_at: rfc3339(c.updated_at),
        preview: c.preview,
    });
    Ok(Json(listed.collect()))
}

#[derive(Debug, Serialize)]
pub struct ShownConversation {
    id: String,
    created_at: String,
    turns: Vec<ShownTurn>,
}

#[derive(Debug, Serialize)]
struct ShownTurn {
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
    text: String,
    /// What of the text was heard, where that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<String>,
    audio: Option<String>,
    duration_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// `GET /api/conversations/{id}`: all turns, oldest first.
pub async fn show(
    State(state): State<ApiState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ShownConversation>, ApiError> {
    let Path(id) = id.map_err(unreadable_path)?;
    let wanted = id.clone();
    let found = read(&state.history, move |history| history.conversation(&wanted)).await?;
    let Some((created_at, turns)) = found else { return Err(not_found(&format!("conversation {id}"))) };
    let turns = turns.into_iter().enumerate().map(|(index, turn)| shown_turn(&id, index, turn)).collect();
    Ok(Json(ShownConversation { created_at: rfc3339(created_at), turns, id }))
}

fn shown_turn(conversation: &str, index: usize, turn: StoredTurn) -> ShownTurn {
    let audio = |side: &StoredSide, name: &str| {
        side.has_audio.then(|| format!("/api/conversations/{conversation}/turns/{}/audio/{name}", turn.number))
    };
    let user = turn.user.as_ref().map(|user| ShownSide {
        item: user.item.clone(),
        text: user.text.clone(),
        heard: None,
        audio: audio(user, "user"),
        duration_ms: user.duration_ms,
        interrupted: None,
        failure: None,
    });
    let assistant = turn.assistant.as_ref().map(|reply| ShownSide {
        item: reply.item.clone(),
        text: reply.text.clone(),
        heard: turn.heard.clone().filter(|heard| turn.interrupted && *heard != reply.text),
        audio: audio(reply, "assistant"),
        duration_ms: reply.duration_ms,
        interrupted: Some(turn.interrupted),
        failure: turn.failure.clone(),
    });
    ShownTurn {
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

/// `GET /api/conversations/{id}/turns/{turn}/audio/{user|assistant}`: Ogg Opus, in ranges where asked.
pub async fn audio(
    State(state): State<ApiState>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path((id, turn, side)) = path.map_err(unreadable_path)?;
    let missing = || not_found(&format!("audio of {side} in turn {turn}"));
    let (Ok(number), Some(which)) = (turn.parse(), parse_side(&side)) else { return Err(missing()) };
    let stored = read(&state.history, move |history| history.audio(&id, number, which)).await?.ok_or_else(missing)?;
    let mime = "audio/ogg".parse().map_err(|_| internal("the media type is not one"))?;
    let served = ServeFile::new_with_mime(state.history.audio_path(&stored), &mime).try_call(request).await;
    let response = served.map_err(internal)?;
    // Somebody may have removed the file.
    if response.status() == StatusCode::NOT_FOUND { Err(missing()) } else { Ok(response.into_response()) }
}

/// Not UTF-8.
fn unreadable_path(rejection: PathRejection) -> ApiError {
    bad_parameter("path", rejection.body_text())
}

fn parse_side(side: &str) -> Option<Side> {
    match side {
        "user" => Some(Side::User),
        "assistant" => Some(Side::Assistant),
        _ => None,
    }
}

/// Queries off the async workers.
async fn read<T: Send + 'static>(
    history: &Arc<History>,
    query: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, ApiError> {
    let history = Arc::clone(history);
    let answer = tokio::task::spawn_blocking(move || query(&history)).await;
    answer.map_err(internal)?.map_err(internal)
}

pub(super) fn rfc3339(milliseconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
