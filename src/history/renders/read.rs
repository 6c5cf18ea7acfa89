//! How far renders are, read beside the writer.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{OptionalExtension, Row, params};

use super::super::{History, HistoryError};
use super::stage::RenderState;
use super::state_of;

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

    /// The renders of a conversation's turns, by turn.
    pub fn renders(&self, conversation: &str) -> Result<BTreeMap<i64, StoredRender>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT turn, state, reason, attempts, r.voice, audio, ms FROM turns JOIN renders r ON turn = number
                 WHERE conversation = ?1",
            )?;
            statement.query_map([conversation], |row| Ok((row.get(0)?, stored(row)?)))?.collect()
        })
    }

    /// Of each of these conversations, how many replies are how far; one without any is left out.
    pub fn render_tallies(&self, conversations: &[String]) -> Result<HashMap<String, RenderTally>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sum(state IN ('pending', 'rendering')), sum(state = 'ready'), sum(state = 'failed')
                 FROM turns JOIN renders ON turn = number WHERE conversation = ?1 HAVING count(*) > 0",
            )?;
            let mut tallies = HashMap::new();
            for conversation in conversations {
                let tally =
                    |row: &Row<'_>| Ok(RenderTally { pending: row.get(0)?, ready: row.get(1)?, failed: row.get(2)? });
                if let Some(tally) = statement.query_row([conversation], tally).optional()? {
                    tallies.insert(conversation.clone(), tally);
                }
            }
            Ok(tallies)
        })
    }

    pub fn render_counts(&self) -> Result<RenderCounts, HistoryError> {
        self.read(|connection| {
            let count = |state: &str| -> rusqlite::Result<i64> {
                connection
                    .prepare_cached("SELECT count(*) FROM renders WHERE state = ?1")?
                    .query_row([state], |row| row.get(0))
            };
            Ok(RenderCounts { pending: count("pending")?, rendering: count("rendering")?, failed: count("failed")? })
        })
    }

    /// Stored name of the better audio of a turn's reply.
    pub fn better_audio(&self, conversation: &str, turn: i64) -> Result<Option<String>, HistoryError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT audio FROM turns JOIN renders ON turn = number WHERE conversation = ?1 AND number = ?2",
                )?
                .query_row(params![conversation, turn], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredRender> {
    Ok(StoredRender {
        state: state_of(row, "state")?,
        reason: row.get("reason")?,
        attempts: row.get("attempts")?,
        voice: row.get("voice")?,
        audio: row.get("audio")?,
        duration_ms: row.get("ms")?,
    })
}
