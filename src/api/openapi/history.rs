//! Conversations.
#![allow(dead_code, reason = "described, never called")]

use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::Refused;

/// Conversations, newest first.
#[utoipa::path(
    get, path = "/api/conversations", tag = "history",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "20 unless given"),
        ("before" = Option<String>, Query, description = "Id of the last one of the page before"),
        ("q" = Option<String>, Query, max_length = 200, description = "Only those in which this was said, or which are called so"),
    ),
    responses((status = 200, description = "`Link` says how to get the next page, where there is one", body = Vec<Listed>), Refused)
)]
pub fn list() {}

#[derive(ToSchema)]
pub struct Listed {
    id: String,
    title: Option<String>,
    turns: u32,
    /// RFC 3339, UTC; as all times here.
    created_at: String,
    updated_at: String,
    /// The first thing the caller said.
    preview: String,
    duration_ms: u64,
    /// Of the latest turn.
    door: String,
    voice: Option<String>,
    hq: Tally,
    /// With `q` alone.
    r#match: Option<Match>,
}

/// How many replies are how far on their way to better audio.
#[derive(ToSchema)]
pub struct Tally {
    pending: u32,
    ready: u32,
    failed: u32,
}

#[derive(ToSchema)]
pub struct Match {
    turn: i64,
    /// `user` or `assistant`.
    side: String,
    pieces: Vec<Piece>,
}

#[derive(ToSchema)]
pub struct Piece {
    text: String,
    hit: bool,
}

/// One conversation with its turns, oldest first.
#[utoipa::path(
    get, path = "/api/conversations/{id}", tag = "history",
    params(("id" = String, Path)),
    responses((status = 200, description = "The conversation", body = Conversation), Refused)
)]
pub fn show() {}

#[derive(ToSchema)]
pub struct Conversation {
    id: String,
    title: Option<String>,
    created_at: String,
    updated_at: String,
    duration_ms: u64,
    turns: Vec<Turn>,
}

#[derive(ToSchema)]
pub struct Turn {
    id: i64,
    index: u32,
    created_at: String,
    door: String,
    user: Option<Side>,
    assistant: Option<Side>,
    /// Milliseconds from the end of the caller's voice, by stage.
    timings: Object,
    voice: Option<String>,
    model: Option<String>,
}

#[derive(ToSchema)]
pub struct Side {
    item: String,
    /// As it was edited, where it was.
    text: String,
    /// What stood there before an edit.
    original: Option<String>,
    /// What of a reply was heard, where that is less.
    heard: Option<String>,
    /// Where its sound is.
    audio: Option<String>,
    duration_ms: Option<i64>,
    /// On the conversation's time line.
    starts_ms: Option<i64>,
    interrupted: Option<bool>,
    failure: Option<String>,
    /// Of the avatar's side alone.
    hq: Option<Render>,
}

#[derive(ToSchema)]
pub struct Render {
    /// `none`, `pending`, `rendering`, `ready` or `failed`.
    state: String,
    reason: Option<String>,
    voice: Option<String>,
    audio: Option<String>,
    duration_ms: Option<i64>,
    attempts: Option<u32>,
}

/// Asks for a reply's better audio, again or for the first time.
#[utoipa::path(
    post, path = "/api/conversations/{id}/turns/{turn}/render", tag = "history",
    params(("id" = String, Path), ("turn" = u64, Path)),
    responses((status = 202, description = "It will be rendered", body = Asked), Refused)
)]
pub fn render() {}

#[derive(ToSchema)]
pub struct Asked {
    state: String,
}

/// What changes in the history, as server-sent events: `turn` (new, or corrected), `render`, `title`, `conversation` (deleted),
/// `voice` (added, renamed, in another state, deleted), `lagged`.
#[utoipa::path(
    get, path = "/api/events", tag = "history",
    responses((status = 200, description = "It goes on for as long as the client listens", content_type = "text/event-stream", body = String), Refused)
)]
pub fn events() {}

/// Gives a conversation a title, or with `null` takes it away so that the language model may find one.
#[utoipa::path(
    patch, path = "/api/conversations/{id}", tag = "history", params(("id" = String, Path)),
    request_body(content = Renaming),
    responses((status = 200, description = "The conversation as it is listed", body = Listed), Refused)
)]
pub fn rename() {}

#[derive(ToSchema)]
pub struct Renaming {
    #[schema(required, nullable, min_length = 1, max_length = 200)]
    title: Option<String>,
}

/// Deletes a conversation, texts and recordings.
#[utoipa::path(
    delete, path = "/api/conversations/{id}", tag = "history", params(("id" = String, Path)),
    responses((status = 200, description = "It is gone", body = Success), Refused)
)]
pub fn delete() {}

#[derive(ToSchema)]
pub struct Success {
    success: bool,
}

/// Edits what was understood or said in a turn; `null` takes an edit back.
#[utoipa::path(
    patch, path = "/api/conversations/{id}/turns/{turn}", tag = "history",
    params(("id" = String, Path), ("turn" = u64, Path)),
    request_body(content = Editing),
    responses((status = 200, description = "The turn as it then stands", body = Turn), Refused)
)]
pub fn edit() {}

#[derive(ToSchema)]
pub struct Editing {
    #[schema(max_length = 10000)]
    user_text: Option<String>,
    #[schema(max_length = 10000)]
    assistant_text: Option<String>,
}

/// Everything of a conversation, as a file.
#[utoipa::path(
    get, path = "/api/conversations/{id}/export", tag = "history", params(("id" = String, Path)),
    responses((status = 200, description = "A download", body = Conversation), Refused)
)]
pub fn export() {}

/// The whole talk as one stereo recording: the caller left, the avatar right.
#[utoipa::path(
    get, path = "/api/conversations/{id}/export/audio", tag = "history", params(("id" = String, Path)),
    responses((status = 200, description = "A download", content_type = "audio/ogg", body = Vec<u8>), Refused)
)]
pub fn export_audio() {}

/// What one side said in a turn: Ogg Opus, in ranges where asked.
#[utoipa::path(
    get, path = "/api/conversations/{id}/turns/{turn}/audio/{side}", tag = "history",
    params(
        ("id" = String, Path),
        ("turn" = u64, Path),
        ("side" = String, Path, pattern = "^(user|assistant)$"),
        ("quality" = Option<String>, Query, pattern = "^(fast|hq)$", description = "The best there is unless given"),
    ),
    responses((status = 200, description = "The sound", content_type = "audio/ogg", body = Vec<u8>), Refused)
)]
pub fn audio() {}
