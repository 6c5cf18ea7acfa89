//! Conversations.
#![allow(dead_code, reason = "described, never called")]

use utoipa::ToSchema;

use super::Refused;

/// Conversations, newest first.
#[utoipa::path(
    get, path = "/api/conversations", tag = "history",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "20 unless given"),
        ("before" = Option<String>, Query, description = "Id of the last one of the page before"),
    ),
    responses((status = 200, description = "Fewer than `limit` on the last page", body = Vec<Listed>), Refused)
)]
pub fn list() {}

#[derive(ToSchema)]
pub struct Listed {
    id: String,
    turns: u32,
    /// RFC 3339, UTC; as all times here.
    created_at: String,
    updated_at: String,
    /// The first thing the caller said.
    preview: String,
}

/// One conversation with its turns, oldest first.
#[utoipa::path(
    get, path = "/api/conversations/{id}", tag = "history",
    params(("id" = String, Path)),
    responses((status = 200, description = "The conversation", body = Object), Refused)
)]
pub fn show() {}

/// What one side said in a turn: Ogg Opus, in ranges where asked.
#[utoipa::path(
    get, path = "/api/conversations/{id}/turns/{turn}/audio/{side}", tag = "history",
    params(
        ("id" = String, Path),
        ("turn" = u64, Path),
        ("side" = String, Path, pattern = "^(user|assistant)$"),
    ),
    responses((status = 200, description = "The sound", content_type = "audio/ogg", body = Vec<u8>), Refused)
)]
pub fn audio() {}
