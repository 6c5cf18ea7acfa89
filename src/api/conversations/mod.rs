//! Conversations: the list, one with its turns, the audio of a turn; renaming, editing, deleting, taking away.
//!
//! Whatever belongs to another [`Viewer`] is answered as if it were not there.

mod change;
mod export;
mod list;
mod show;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, patch};
use serde::Deserialize;
use signaling::http::error::ApiError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::ApiState;
use super::error::{bad_parameter, internal, not_found};
use super::recording;
use crate::history::{History, HistoryError, Side, StoredConversation, Viewer};

pub fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/conversations", get(list::list))
        .route("/api/conversations/{id}", get(show::show).patch(change::rename).delete(change::delete))
        .route("/api/conversations/{id}/export", get(export::document))
        .route("/api/conversations/{id}/export/audio", get(export::audio))
        .route("/api/conversations/{id}/turns/{turn}", patch(change::edit))
        .route("/api/conversations/{id}/turns/{turn}/audio/{side}", get(audio))
}

/// Who asks: what a layer before has found out, or everyone.
pub struct By(pub Viewer);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Viewer>().cloned().unwrap_or_default()))
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    quality: Option<String>,
}

/// `GET /api/conversations/{id}/turns/{turn}/audio/{user|assistant}?quality=fast|hq`: Ogg Opus, in ranges where asked. Without a
/// quality the best there is.
async fn audio(
    State(state): State<ApiState>,
    By(viewer): By,
    path: Result<Path<(String, String, String)>, PathRejection>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path((id, turn, side)) = path.map_err(unreadable_path)?;
    let missing = || not_found(&format!("audio of {side} in turn {turn}"));
    let (Ok(number), Some(which)) = (turn.parse(), parse_side(&side)) else { return Err(missing()) };
    let Query(wanted) = wanted.map_err(|rejection| bad_parameter("query", rejection.body_text()))?;
    let (fast, hq) = match wanted.quality.as_deref() {
        None => (true, true),
        Some("fast") => (true, false),
        Some("hq") => (false, true),
        Some(_) => return Err(bad_parameter("quality", "quality must be fast or hq".to_owned())),
    };
    let stored = read(&state.history, move |history| {
        let better = if hq && which == Side::Assistant { history.better_audio(&viewer, &id, number)? } else { None };
        if better.is_some() || !fast { Ok(better) } else { history.audio(&viewer, &id, number, which) }
    });
    let stored = stored.await?.ok_or_else(missing)?;
    let history = &state.history;
    // Somebody may have removed the file.
    recording::serve(history.folder(), history.audio_path(&stored), &headers).await?.ok_or_else(missing)
}

/// Not UTF-8.
pub(super) fn unreadable_path(rejection: PathRejection) -> ApiError {
    bad_parameter("path", rejection.body_text())
}

/// The conversation that a path names, as its viewer may see it.
async fn named(
    state: &ApiState,
    viewer: Viewer,
    id: Result<Path<String>, PathRejection>,
) -> Result<StoredConversation, ApiError> {
    let Path(id) = id.map_err(unreadable_path)?;
    let wanted = id.clone();
    let found = read(&state.history, move |history| history.conversation(&viewer, &wanted)).await?;
    found.ok_or_else(|| no_conversation(&id))
}

fn no_conversation(id: &str) -> ApiError {
    not_found(&format!("conversation {id}"))
}

fn parse_side(side: &str) -> Option<Side> {
    match side {
        "user" => Some(Side::User),
        "assistant" => Some(Side::Assistant),
        _ => None,
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::User => "user",
        Side::Assistant => "assistant",
    }
}

/// Queries off the async workers.
pub(super) async fn read<T: Send + 'static>(
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
