//! How far renders are, read beside the writer.

use std::sync::PoisonError;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Row, params};
use signaling::line::HqAudio;
use signaling::ws_chat::{Recorded, Recordings};

use super::super::viewer::Viewer;
use super::super::{History, HistoryError, read as rows};
use super::of_word;
use super::stage::RenderState;

/// How far a reply's better audio is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRender {
    pub state: RenderState,
    /// Why it failed, or why it is tried again.
    pub reason: Option<String>,
    pub attempts: u32,
    pub voice: Option<String>,
    /// Stored name of the audio; there also while a newer one is made.
    pub audio: Option<String>,
    pub duration_ms: Option<i64>,
}

/// How many replies of a conversation are how far. Those that are being rendered are among the pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RenderTally {
    pub pending: i64,
    pub ready: i64,
    pub failed: i64,
}

/// How many replies of all conversations are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RenderCounts {
    pub pending: i64,
    pub rendering: i64,
    pub failed: i64,
}

impl History {
    /// When the next render is due, milliseconds since 1970; `None` if none waits.
    pub fn next_render_due(&self) -> Result<Option<i64>, HistoryError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT min(due_at) FROM renders WHERE state = 'pending'")?
                .query_row([], |row| row.get(0))
        })
    }

    /// Of all that a viewer may see.
    pub fn render_counts(&self, viewer: &Viewer) -> Result<RenderCounts, HistoryError> {
        let whose = rows::owner(viewer);
        let from = match whose {
            None => "renders WHERE ?2 IS NULL",
            Some(_) => {
                "renders JOIN turns ON turn = number JOIN conversations c ON c.id = conversation WHERE c.owner = ?2"
            }
        };
        self.read(|connection| {
            let count = |state: &str| -> rusqlite::Result<i64> {
                connection
                    .prepare_cached(&format!("SELECT count(*) FROM {from} AND state = ?1"))?
                    .query_row(params![state, whose], |row| row.get(0))
            };
            Ok(RenderCounts { pending: count("pending")?, rendering: count("rendering")?, failed: count("failed")? })
        })
    }

    /// Stored name of the better audio of a turn's reply.
    pub fn better_audio(&self, viewer: &Viewer, conversation: &str, turn: i64) -> Result<Option<String>, HistoryError> {
        self.read(|connection| better_audio(connection, viewer, conversation, turn))
    }
}

fn better_audio(
    connection: &Connection,
    viewer: &Viewer,
    conversation: &str,
    turn: i64,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT audio FROM turns JOIN renders ON turn = number JOIN conversations c ON c.id = conversation
             WHERE conversation = ?1 AND number = ?2 AND (?3 IS NULL OR c.owner = ?3)",
        )?
        .query_row(params![conversation, turn, rows::owner(viewer)], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

impl Recordings for History {
    fn better(&self, audio: &HqAudio, most: usize) -> BoxFuture<'static, Option<Recorded>> {
        // One row by an index, and not behind somebody's search. Whom it is told to has the call of that conversation.
        let connection = self.recaller.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = better_audio(&connection, &Viewer::Everyone, audio.conversation.as_str(), audio.turn);
        drop(connection);
        let path = match stored {
            Ok(name) => name.map(|name| self.audio_path(&name)),
            Err(error) => {
                tracing::warn!(%error, "better audio cannot be looked up");
                None
            }
        };
        let folder = self.folder.clone();
        Box::pin(async move {
            let path = path?;
            let file = tokio::task::spawn_blocking(move || folder.read_at_most(&path, most)).await.ok()?;
            Some(Recorded { file: file.ok().flatten()?, mime: "audio/ogg" })
        })
    }
}

/// Of a row with the columns of a render, each with `render_` before its name; `None` if the turn has none.
pub fn stored(row: &Row<'_>) -> rusqlite::Result<Option<StoredRender>> {
    let Some(state) = row.get::<_, Option<String>>("render_state")? else { return Ok(None) };
    Ok(Some(StoredRender {
        state: of_word(&state),
        reason: row.get("render_reason")?,
        attempts: row.get("render_attempts")?,
        voice: row.get("render_voice")?,
        audio: row.get("render_audio")?,
        duration_ms: row.get("render_ms")?,
    }))
}
