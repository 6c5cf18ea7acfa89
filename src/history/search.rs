//! Finding conversations by what was said in them.
//!
//! The index has a row for each side of a turn and for each title, whose number is made of the conversation's place in the order of
//! their beginning, the turn's number and the side. So the rows of a conversation stand together, newest conversation first when
//! read backwards, and a page of results ends the reading as soon as it is full, however common the word.

use rusqlite::{Connection, OptionalExtension, params};

use super::read::{self, ConversationSummary, Side};
use super::viewer::Viewer;
use super::words::{Piece, Query, spaced};

/// Where a conversation was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    pub turn: i64,
    pub side: Side,
    pub pieces: Vec<Piece>,
}

/// What a row of the index stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Title,
    Said(i64, Side),
}

/// Number of a row of the index. `seq` and turn numbers below two thousand million each.
fn row(seq: i64, place: Place) -> i64 {
    let within = match place {
        Place::Title => 0,
        Place::Said(turn, Side::User) => turn << 1,
        Place::Said(turn, Side::Assistant) => turn << 1 | 1,
    };
    first_row(seq) | within & 0xFFFF_FFFF
}

fn first_row(seq: i64) -> i64 {
    seq << 32
}

fn place(row: i64) -> (i64, Place) {
    let within = row & 0xFFFF_FFFF;
    let place = match (within >> 1, within & 1) {
        (0, _) => Place::Title,
        (turn, 0) => Place::Said(turn, Side::User),
        (turn, _) => Place::Said(turn, Side::Assistant),
    };
    (row >> 32, place)
}

/// The rows that the index is to have, so that a check can compare.
pub fn wanted(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut rows = Vec::new();
    let mut statement = connection.prepare(
        "SELECT c.seq, t.number, t.user_text, t.user_edit, t.reply_text, t.reply_edit
         FROM turns t JOIN conversations c ON c.id = t.conversation WHERE t.shelved <> 0",
    )?;
    let mut found = statement.query([])?;
    while let Some(turn) = found.next()? {
        let (seq, number) = (turn.get(0)?, turn.get(1)?);
        for (side, at) in [(Side::User, 2), (Side::Assistant, 4)] {
            let (text, edit): (Option<String>, Option<String>) = (turn.get(at)?, turn.get(at + 1)?);
            if entry(text.as_deref(), edit.as_deref()).is_some() {
                rows.push(row(seq, Place::Said(number, side)));
            }
        }
    }
    let mut statement = connection.prepare("SELECT seq, title FROM conversations WHERE title IS NOT NULL")?;
    let mut found = statement.query([])?;
    while let Some(conversation) = found.next()? {
        let title: String = conversation.get(1)?;
        if entry(Some(&title), None).is_some() {
            rows.push(row(conversation.get(0)?, Place::Title));
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

/// What the index has of a text and its edit: the words of what is shown, and of what was there before.
fn entry(text: Option<&str>, edit: Option<&str>) -> Option<(String, String)> {
    let text = spaced(text.unwrap_or_default());
    let (shown, original) = match edit {
        Some(edit) => (spaced(edit), text),
        None => (text, String::new()),
    };
    (!shown.is_empty() || !original.is_empty()).then_some((shown, original))
}

/// Has one side of a turn, or a title, found by what it says now.
pub fn put(
    connection: &Connection,
    seq: i64,
    at: Place,
    text: Option<&str>,
    edit: Option<&str>,
) -> rusqlite::Result<()> {
    let row = row(seq, at);
    connection.prepare_cached("DELETE FROM search WHERE rowid = ?1")?.execute([row])?;
    if let Some((shown, original)) = entry(text, edit) {
        let mut insert =
            connection.prepare_cached("INSERT INTO search (rowid, shown, original) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![row, shown, original])?;
    }
    Ok(())
}

/// Has a conversation not found any more. Before its rows go.
pub fn remove(connection: &Connection, seq: i64, conversation: &str) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM search WHERE rowid = ?1")?;
    delete.execute([row(seq, Place::Title)])?;
    let mut statement = connection.prepare_cached("SELECT number FROM turns WHERE conversation = ?1")?;
    for number in statement.query_map([conversation], |row| row.get::<_, i64>(0))? {
        let number = number?;
        delete.execute([row(seq, Place::Said(number, Side::User))])?;
        delete.execute([row(seq, Place::Said(number, Side::Assistant))])?;
    }
    Ok(())
}

/// At most `limit` conversations in which all of `query` was said or written in one place, newest first, begun before `before`.
pub fn find(
    connection: &Connection,
    viewer: &Viewer,
    query: &Query,
    limit: usize,
    before: Option<&str>,
) -> rusqlite::Result<Vec<(ConversationSummary, Option<Match>)>> {
    let mut found = Vec::new();
    if query.is_empty() || limit == 0 {
        return Ok(found);
    }
    let below = match before {
        None => i64::MAX,
        Some(before) => match read::seq(connection, viewer, before)? {
            Some(seq) => first_row(seq),
            None => return Ok(found),
        },
    };
    let mut statement = connection
        .prepare_cached("SELECT rowid FROM search WHERE search MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC")?;
    let mut rows = statement.query(params![query.to_match(), below])?;
    let mut looked_at = None;
    while let Some(hit) = rows.next()? {
        let (seq, at) = place(hit.get(0)?);
        // The newest hit of a conversation is the first.
        if looked_at.replace(seq) == Some(seq) {
            continue;
        }
        let Some(summary) = read::summary(connection, viewer, seq)? else { continue };
        let matched = match at {
            Place::Title => None,
            Place::Said(turn, side) => said(connection, query, turn, side)?,
        };
        found.push((summary, matched));
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

/// What of one side of a turn is to be shown of the hit: of the edit if that has it, else of what was there before.
fn said(connection: &Connection, query: &Query, turn: i64, side: Side) -> rusqlite::Result<Option<Match>> {
    let columns = match side {
        Side::User => "user_text, user_edit",
        Side::Assistant => "reply_text, reply_edit",
    };
    let texts: Option<(Option<String>, Option<String>)> = connection
        .prepare_cached(&format!("SELECT {columns} FROM turns WHERE number = ?1"))?
        .query_row([turn], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((text, edit)) = texts else { return Ok(None) };
    let pieces = [edit, text].into_iter().flatten().map(|text| query.pieces(&text)).find(|pieces| !pieces.is_empty());
    Ok(Some(Match { turn, side, pieces: pieces.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_index_says_what_it_stands_for() {
        for seq in [1, 7, 2_000_000_000] {
            for at in [Place::Title, Place::Said(1, Side::User), Place::Said(2_000_000_000, Side::Assistant)] {
                assert_eq!(place(row(seq, at)), (seq, at));
                assert!(row(seq, at) >= first_row(seq) && row(seq, at) < first_row(seq + 1));
            }
        }
    }
}
