//! Queries. Each is served by an index; none locks out the writer, and none shows what its viewer may not see.

use rusqlite::{Connection, OptionalExtension, Row, params};
use signaling::line::{Item, ItemId, ItemStatus, Medium, Role};

use super::renders::{self, RenderTally, StoredRender};
use super::viewer::Viewer;

/// A conversation in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationSummary {
    pub id: String,
    pub title: Option<String>,
    pub turns: i64,
    /// Milliseconds since 1970, UTC.
    pub created_at: i64,
    pub updated_at: i64,
    /// The first thing the caller said.
    pub preview: String,
    /// Length of the time line.
    pub duration_ms: i64,
    /// Of the latest turn.
    pub door: String,
    pub voice: Option<String>,
    /// How many of its replies are how far on their way to better audio.
    pub renders: RenderTally,
}

/// A conversation with all that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConversation {
    pub id: String,
    pub title: Option<String>,
    /// Milliseconds since 1970, UTC.
    pub created_at: i64,
    pub updated_at: i64,
    /// Length of the time line.
    pub duration_ms: i64,
    /// Oldest first.
    pub turns: Vec<StoredTurn>,
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
    /// As it was heard or written at first.
    pub text: String,
    /// What somebody put in its place.
    pub edit: Option<String>,
    /// Name of its file.
    pub audio: Option<String>,
    pub duration_ms: Option<i64>,
    /// On the conversation's time line.
    pub starts_ms: Option<i64>,
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
    /// BCP 47, of what the caller said.
    pub language: Option<String>,
    /// What of the reply was heard.
    pub heard: Option<String>,
    /// How much of the reply's audio was sent, where not all.
    pub played_ms: Option<i64>,
    pub interrupted: bool,
    pub failure: Option<String>,
    /// The way of the reply to its better audio.
    pub render: Option<StoredRender>,
    pub voice: Option<String>,
    pub model: Option<String>,
    /// Milliseconds from the end of the caller's voice, by stage.
    pub timings: serde_json::Value,
}

/// How much a viewer's history holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub conversations: i64,
    pub turns: i64,
    /// Of audio.
    pub bytes: i64,
}

/// The owner whose conversations alone are shown; `None` shows all.
pub fn owner(viewer: &Viewer) -> Option<&str> {
    match viewer {
        Viewer::Everyone => None,
        Viewer::Owner(owner) => Some(owner),
    }
}

const SUMMARY: &str = "SELECT id, title, turns, created_at, updated_at,
        coalesce((SELECT coalesce(user_edit, user_text) FROM turns
                  WHERE conversation = c.id AND coalesce(user_edit, user_text) <> '' ORDER BY number LIMIT 1), ''),
        line_ms,
        coalesce((SELECT door FROM turns WHERE conversation = c.id ORDER BY number DESC LIMIT 1), ''),
        (SELECT voice FROM turns WHERE conversation = c.id AND voice IS NOT NULL ORDER BY number DESC LIMIT 1),
        (SELECT count(*) FROM turns JOIN renders ON turn = number WHERE conversation = c.id AND state IN ('pending', 'rendering')),
        (SELECT count(*) FROM turns JOIN renders ON turn = number WHERE conversation = c.id AND state = 'ready'),
        (SELECT count(*) FROM turns JOIN renders ON turn = number WHERE conversation = c.id AND state = 'failed')
     FROM conversations c";

fn summarised(row: &Row<'_>) -> rusqlite::Result<ConversationSummary> {
    Ok(ConversationSummary {
        id: row.get(0)?,
        title: row.get(1)?,
        turns: row.get(2)?,
        created_at: row.get(3)?,
        updated_at: row.get(4)?,
        preview: row.get(5)?,
        duration_ms: row.get(6)?,
        door: row.get(7)?,
        voice: row.get(8)?,
        renders: RenderTally { pending: row.get(9)?, ready: row.get(10)?, failed: row.get(11)? },
    })
}

/// A conversation's place in the order of their beginning.
pub fn seq(connection: &Connection, viewer: &Viewer, id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT seq FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)")?
        .query_row(params![id, owner(viewer)], |row| row.get(0))
        .optional()
}

pub fn summary(connection: &Connection, viewer: &Viewer, seq: i64) -> rusqlite::Result<Option<ConversationSummary>> {
    connection
        .prepare_cached(&format!("{SUMMARY} WHERE seq = ?1 AND (?2 IS NULL OR owner = ?2)"))?
        .query_row(params![seq, owner(viewer)], summarised)
        .optional()
}

pub fn conversations(
    connection: &Connection,
    viewer: &Viewer,
    limit: usize,
    before: Option<&str>,
) -> rusqlite::Result<Vec<ConversationSummary>> {
    let below = match before {
        None => i64::MAX,
        Some(before) => match seq(connection, viewer, before)? {
            Some(seq) => seq,
            None => return Ok(Vec::new()),
        },
    };
    // Two statements, so that each has its index.
    let whose = if owner(viewer).is_some() { "owner = ?3" } else { "?3 IS NULL" };
    let mut statement =
        connection.prepare_cached(&format!("{SUMMARY} WHERE {whose} AND seq < ?1 ORDER BY seq DESC LIMIT ?2"))?;
    statement.query_map(params![below, limit as i64, owner(viewer)], summarised)?.collect()
}

pub fn conversation(
    connection: &Connection,
    viewer: &Viewer,
    id: &str,
) -> rusqlite::Result<Option<StoredConversation>> {
    let found = connection
        .prepare_cached(
            "SELECT id, title, created_at, updated_at, line_ms FROM conversations WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)",
        )?
        .query_row(params![id, owner(viewer)], |row| {
            Ok(StoredConversation {
                id: row.get(0)?,
                title: row.get(1)?,
                created_at: row.get(2)?,
                updated_at: row.get(3)?,
                duration_ms: row.get(4)?,
                turns: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut conversation) = found else { return Ok(None) };
    let mut statement = connection.prepare_cached(&format!("{TURN} WHERE conversation = ?1 ORDER BY number"))?;
    conversation.turns = statement.query_map([id], stored_turn)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(conversation))
}

/// One turn, and how many of the conversation came before it.
pub fn turn(
    connection: &Connection,
    viewer: &Viewer,
    conversation: &str,
    number: i64,
) -> rusqlite::Result<Option<(usize, StoredTurn)>> {
    if seq(connection, viewer, conversation)?.is_none() {
        return Ok(None);
    }
    let turn = connection
        .prepare_cached(&format!("{TURN} WHERE conversation = ?1 AND number = ?2"))?
        .query_row(params![conversation, number], stored_turn)
        .optional()?;
    let Some(turn) = turn else { return Ok(None) };
    let earlier: i64 = connection
        .prepare_cached("SELECT count(*) FROM turns WHERE conversation = ?1 AND number < ?2")?
        .query_row(params![conversation, number], |row| row.get(0))?;
    Ok(Some((usize::try_from(earlier).unwrap_or(0), turn)))
}

/// A turn with its render, which has columns of other names.
const TURN: &str = "SELECT turns.*, r.state AS render_state, r.reason AS render_reason, r.attempts AS render_attempts,
        r.voice AS render_voice, r.audio AS render_audio, r.ms AS render_ms
     FROM turns LEFT JOIN renders r ON r.turn = turns.number";

fn stored_turn(row: &Row<'_>) -> rusqlite::Result<StoredTurn> {
    let timings: String = row.get("timings")?;
    Ok(StoredTurn {
        number: row.get("number")?,
        started_at: row.get("started_at")?,
        door: row.get("door")?,
        user: stored_side(row, "user")?,
        assistant: stored_side(row, "reply")?,
        language: row.get("user_language")?,
        heard: row.get("reply_heard")?,
        played_ms: row.get("reply_played")?,
        interrupted: row.get("interrupted")?,
        failure: row.get("failure")?,
        render: renders::stored(row)?,
        voice: row.get("voice")?,
        model: row.get("model")?,
        timings: serde_json::from_str(&timings).unwrap_or_default(),
    })
}

fn stored_side(row: &Row<'_>, side: &str) -> rusqlite::Result<Option<StoredSide>> {
    let column = |name: &str| format!("{side}_{name}");
    let Some(item) = row.get::<_, Option<String>>(&*column("item"))? else { return Ok(None) };
    Ok(Some(StoredSide {
        item,
        text: row.get::<_, Option<String>>(&*column("text"))?.unwrap_or_default(),
        edit: row.get(&*column("edit"))?,
        audio: row.get(&*column("audio"))?,
        duration_ms: row.get(&*column("ms"))?,
        starts_ms: row.get(&*column("starts"))?,
    }))
}

pub fn audio(
    connection: &Connection,
    viewer: &Viewer,
    conversation: &str,
    turn: i64,
    side: Side,
) -> rusqlite::Result<Option<String>> {
    let column = match side {
        Side::User => "user_audio",
        Side::Assistant => "reply_audio",
    };
    connection
        .prepare_cached(&format!(
            "SELECT t.{column} FROM turns t JOIN conversations c ON c.id = t.conversation
             WHERE t.conversation = ?1 AND t.number = ?2 AND (?3 IS NULL OR c.owner = ?3)"
        ))?
        .query_row(params![conversation, turn, owner(viewer)], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

pub fn size(connection: &Connection, viewer: &Viewer) -> rusqlite::Result<Size> {
    let whose = if owner(viewer).is_some() { "owner = ?1" } else { "?1 IS NULL" };
    connection
        .prepare_cached(&format!(
            "SELECT count(*), coalesce(sum(turns), 0), coalesce(sum(audio_bytes), 0) FROM conversations WHERE {whose}"
        ))?
        .query_row([owner(viewer)], |row| {
            Ok(Size { conversations: row.get(0)?, turns: row.get(1)?, bytes: row.get(2)? })
        })
}

/// The items of a conversation as the language model is to know them: as they were edited, and of a reply else what was heard.
pub fn items(connection: &Connection, viewer: &Viewer, conversation: &str) -> rusqlite::Result<Vec<Item>> {
    let mut items = Vec::new();
    if seq(connection, viewer, conversation)?.is_none() {
        return Ok(items);
    }
    let mut statement = connection.prepare_cached(
        "SELECT user_item, coalesce(user_edit, user_text), reply_item, coalesce(reply_edit, reply_heard), interrupted
         FROM (SELECT * FROM turns WHERE conversation = ?1 ORDER BY number DESC LIMIT 200) ORDER BY number",
    )?;
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

/// What an item of a turn is recalled to say; `None` if the turn has no such item.
pub fn said(connection: &Connection, turn: i64, item: &str) -> rusqlite::Result<Option<String>> {
    let text = connection
        .prepare_cached(
            "SELECT iif(user_item = ?2, coalesce(user_edit, user_text), coalesce(reply_edit, reply_heard))
             FROM turns WHERE number = ?1 AND ?2 IN (user_item, reply_item)",
        )?
        .query_row(params![turn, item], |row| row.get(0))
        .optional()?;
    Ok(text.flatten())
}

fn reply_status(interrupted: bool) -> ItemStatus {
    if interrupted { ItemStatus::Incomplete } else { ItemStatus::Completed }
}
