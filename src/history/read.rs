//! Queries. Each is served by an index; none locks out the writer.

use rusqlite::{Connection, OptionalExtension, Row, params};
use signaling::line::{Item, ItemId, ItemStatus, Medium, Role};

/// A conversation in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationSummary {
    pub id: String,
    pub turns: i64,
    /// Milliseconds since 1970, UTC.
    pub created_at: i64,
    pub updated_at: i64,
    /// The first thing the caller said.
    pub preview: String,
}

/// Which side of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    User,
    Assistant,
}

/// What one side said in a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSide {
    pub item: String,
    pub text: String,
    pub has_audio: bool,
    pub duration_ms: Option<i64>,
}

/// One turn as it was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTurn {
    /// Unique, ascending.
    pub number: i64,
    pub started_at: i64,
    pub door: String,
    pub user: Option<StoredSide>,
    pub assistant: Option<StoredSide>,
    /// What of the reply was heard.
    pub heard: Option<String>,
    pub interrupted: bool,
    pub failure: Option<String>,
    pub voice: Option<String>,
    pub model: Option<String>,
    /// Milliseconds from the end of the caller's voice, by stage.
    pub timings: serde_json::Value,
}

pub fn conversations(
    connection: &Connection,
    limit: usize,
    before: Option<&str>,
) -> rusqlite::Result<Vec<ConversationSummary>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, (SELECT count(*) FROM turns WHERE conversation = c.id), created_at, updated_at,
                coalesce((SELECT user_text FROM turns WHERE conversation = c.id AND user_text <> '' ORDER BY number LIMIT 1), '')
         FROM conversations c
         WHERE ?2 IS NULL OR (created_at, id) < (SELECT created_at, id FROM conversations WHERE id = ?2)
         ORDER BY created_at DESC, id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map(params![limit as i64, before], |row| {
        Ok(ConversationSummary {
            id: row.get(0)?,
            turns: row.get(1)?,
            created_at: row.get(2)?,
            updated_at: row.get(3)?,
            preview: row.get(4)?,
        })
    })?;
    rows.collect()
}

pub fn conversation(connection: &Connection, id: &str) -> rusqlite::Result<Option<(i64, Vec<StoredTurn>)>> {
    let created = connection
        .prepare_cached("SELECT created_at FROM conversations WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(created) = created else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT number, started_at, door, user_item, user_text, user_audio, user_ms, reply_item, reply_text, reply_audio,
                reply_ms, reply_heard, interrupted, failure, voice, model, timings
         FROM turns WHERE conversation = ?1 ORDER BY number",
    )?;
    let turns = statement.query_map([id], stored_turn)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some((created, turns)))
}

fn stored_turn(row: &Row<'_>) -> rusqlite::Result<StoredTurn> {
    let timings: String = row.get("timings")?;
    Ok(StoredTurn {
        number: row.get("number")?,
        started_at: row.get("started_at")?,
        door: row.get("door")?,
        user: stored_side(row, "user_item", "user_text", "user_audio", "user_ms")?,
        assistant: stored_side(row, "reply_item", "reply_text", "reply_audio", "reply_ms")?,
        heard: row.get("reply_heard")?,
        interrupted: row.get("interrupted")?,
        failure: row.get("failure")?,
        voice: row.get("voice")?,
        model: row.get("model")?,
        timings: serde_json::from_str(&timings).unwrap_or_default(),
    })
}

fn stored_side(row: &Row<'_>, item: &str, text: &str, audio: &str, ms: &str) -> rusqlite::Result<Option<StoredSide>> {
    let Some(item) = row.get::<_, Option<String>>(item)? else { return Ok(None) };
    Ok(Some(StoredSide {
        item,
        text: row.get::<_, Option<String>>(text)?.unwrap_or_default(),
        has_audio: row.get::<_, Option<String>>(audio)?.is_some(),
        duration_ms: row.get(ms)?,
    }))
}

pub fn audio(connection: &Connection, conversation: &str, turn: i64, side: Side) -> rusqlite::Result<Option<String>> {
    let column = match side {
        Side::User => "user_audio",
        Side::Assistant => "reply_audio",
    };
    connection
        .prepare_cached(&format!("SELECT {column} FROM turns WHERE conversation = ?1 AND number = ?2"))?
        .query_row(params![conversation, turn], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// The items of a conversation as the language model is to know them: of a reply, what was heard.
pub fn items(connection: &Connection, conversation: &str) -> rusqlite::Result<Vec<Item>> {
    let mut statement = connection.prepare_cached(
        "SELECT user_item, user_text, reply_item, reply_heard, interrupted
         FROM (SELECT * FROM turns WHERE conversation = ?1 ORDER BY number DESC LIMIT 200) ORDER BY number",
    )?;
    let mut items = Vec::new();
    let mut rows = statement.query([conversation])?;
    while let Some(row) = rows.next()? {
        let interrupted: bool = row.get(4)?;
        let said = [(0, 1, Role::User, ItemStatus::Completed), (2, 3, Role::Assistant, reply_status(interrupted))];
        for (id, text, role, status) in said {
            if let (Some(id), Some(text)) = (row.get::<_, Option<String>>(id)?, row.get::<_, Option<String>>(text)?) {
                items.push(Item { id: ItemId::from_text(id), role, medium: Medium::Voice, text, status });
            }
        }
    }
    Ok(items)
}

fn reply_status(interrupted: bool) -> ItemStatus {
    if interrupted { ItemStatus::Incomplete } else { ItemStatus::Completed }
}
