//! What people change: titles, transcripts, and whether a conversation is there at all.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use signaling::http::error::ApiError;

use super::list::ListedConversation;
use super::show::ShownTurn;
use super::{By, no_conversation, unreadable_path};
use crate::api::ApiState;
use crate::api::error::{bad_parameter, internal, not_found};
use crate::history::{HistoryError, Side};

/// Characters of a title.
const LONGEST_TITLE: usize = 200;
/// Characters of a text.
const LONGEST_TEXT: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renaming {
    #[serde(default, deserialize_with = "given")]
    title: Option<Option<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Editing {
    #[serde(default, deserialize_with = "given")]
    user_text: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    assistant_text: Option<Option<String>>,
}

/// Tells `null` from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `PATCH /api/conversations/{id}`, `{"title": string|null}`: the conversation as the list has it.
pub async fn rename(
    State(state): State<ApiState>,
    By(viewer): By,
    id: Result<Path<String>, PathRejection>,
    body: Result<Json<Renaming>, JsonRejection>,
) -> Result<Json<ListedConversation>, ApiError> {
    let Path(id) = id.map_err(unreadable_path)?;
    let Json(Renaming { title }) = body.map_err(unreadable_body)?;
    let Some(title) = title else {
        return Err(bad_parameter("title", "give a title, or null to take it away".to_owned()));
    };
    let title = title.map(|title| one_line(&title));
    if title.as_ref().is_some_and(|title| !(1..=LONGEST_TITLE).contains(&title.chars().count())) {
        return Err(bad_parameter("title", format!("a title has 1 to {LONGEST_TITLE} characters")));
    }
    let renamed = state.history.rename(viewer, id.clone(), title).await.map_err(refused)?;
    renamed.map(|summary| Json(ListedConversation::new(summary, None))).ok_or_else(|| no_conversation(&id))
}

/// `DELETE /api/conversations/{id}`.
pub async fn delete(
    State(state): State<ApiState>,
    By(viewer): By,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(unreadable_path)?;
    match state.history.delete(viewer, id.clone()).await.map_err(refused)? {
        true => Ok(Json(json!({ "success": true }))),
        false => Err(no_conversation(&id)),
    }
}

/// `PATCH /api/conversations/{id}/turns/{turn}`, `{"user_text": string|null, "assistant_text": string|null}`: the turn as it then
/// stands. `null` takes an edit back.
pub async fn edit(
    State(state): State<ApiState>,
    By(viewer): By,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Json<Editing>, JsonRejection>,
) -> Result<Json<ShownTurn>, ApiError> {
    let Path((id, turn)) = path.map_err(unreadable_path)?;
    let Json(Editing { user_text, assistant_text }) = body.map_err(unreadable_body)?;
    for (name, text) in [("user_text", &user_text), ("assistant_text", &assistant_text)] {
        if text.iter().flatten().any(|text| text.chars().count() > LONGEST_TEXT) {
            return Err(bad_parameter(name, format!("a text has at most {LONGEST_TEXT} characters")));
        }
    }
    if user_text.is_none() && assistant_text.is_none() {
        return Err(bad_parameter("user_text", "give user_text, assistant_text or both".to_owned()));
    }
    let missing = || not_found(&format!("turn {turn} in conversation {id}"));
    let number = turn.parse().map_err(|_| missing())?;
    let edited = state.history.edit(viewer, id.clone(), number, user_text, assistant_text).await.map_err(refused)?;
    let (index, turn) = edited.ok_or_else(missing)?;
    Ok(Json(ShownTurn::new(&id, index, turn)))
}

fn one_line(title: &str) -> String {
    title
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn unreadable_body(rejection: JsonRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::invalid(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is too long; shorten the text")
        }
        _ => bad_parameter("body", rejection.body_text()),
    }
}

fn refused(error: HistoryError) -> ApiError {
    match &error {
        HistoryError::Behind => ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "overloaded", error.to_string())
            .retry_after(std::time::Duration::from_secs(2)),
        HistoryError::NothingSaid(side) => {
            let name = if *side == Side::User { "user_text" } else { "assistant_text" };
            bad_parameter(name, error.to_string())
        }
        _ => internal(error),
    }
}
