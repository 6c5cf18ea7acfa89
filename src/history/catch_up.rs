//! Turns that an older version wrote, or whose index was lost, are put on the time line and into the search.
//!
//! A conversation at a time, oldest first, each in one transaction: what is killed goes on where it was.

use rusqlite::{OptionalExtension, params};

use super::HistoryError;
use super::read::Side;
use super::search::{self, Place};
use super::timeline::{Line, Spoken};
use super::write::Scribe;

/// Conversations in one transaction.
const AT_ONCE: usize = 200;

struct Turn {
    number: i64,
    started_at: i64,
    user: Option<i64>,
    reply: Option<i64>,
    played: Option<i64>,
    has: (bool, bool),
    timings: String,
    texts: [(Option<String>, Option<String>); 2],
    audio: [Option<String>; 2],
}

impl Scribe {
    /// Does all there is to do; gives how many turns that were.
    pub(super) fn catch_up(&mut self) -> Result<usize, HistoryError> {
        let mut turns = 0;
        loop {
            let behind: Vec<(i64, String)> = self
                .connection
                .prepare(
                    "SELECT DISTINCT c.seq, c.id FROM turns t JOIN conversations c ON c.id = t.conversation
                     WHERE t.shelved = 0 ORDER BY c.seq LIMIT ?1",
                )?
                .query_map([AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            if behind.is_empty() {
                return Ok(turns);
            }
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            let done = behind.iter().try_fold(0, |sum, (seq, id)| Ok(sum + self.shelve(*seq, id)?));
            match done {
                Ok(done) => {
                    self.connection.execute_batch("COMMIT")?;
                    turns += done;
                }
                Err(error) => {
                    let _ = self.connection.execute_batch("ROLLBACK");
                    return Err(error);
                }
            }
        }
    }

    fn shelve(&self, seq: i64, conversation: &str) -> Result<usize, HistoryError> {
        let turns: Vec<Turn> = self
            .connection
            .prepare_cached(
                "SELECT number, started_at, user_ms, reply_ms, reply_played, user_item, reply_item, timings,
                        user_text, user_edit, reply_text, reply_edit, user_audio, reply_audio
                 FROM turns WHERE conversation = ?1 ORDER BY number",
            )?
            .query_map([conversation], |row| {
                Ok(Turn {
                    number: row.get(0)?,
                    started_at: row.get(1)?,
                    user: row.get(2)?,
                    reply: row.get(3)?,
                    played: row.get(4)?,
                    has: (row.get::<_, Option<String>>(5)?.is_some(), row.get::<_, Option<String>>(6)?.is_some()),
                    timings: row.get(7)?,
                    texts: [(row.get(8)?, row.get(9)?), (row.get(10)?, row.get(11)?)],
                    audio: [row.get(12)?, row.get(13)?],
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut line = Line::default();
        let mut update = self.connection.prepare_cached(
            "UPDATE turns SET user_starts = ?2, reply_starts = ?3, audio_bytes = ?4, shelved = 1 WHERE number = ?1",
        )?;
        for turn in &turns {
            let timings = serde_json::from_str(&turn.timings).unwrap_or_default();
            let reply_ms = turn.played.or(turn.reply);
            let (places, longer) =
                line.add(Spoken { user_ms: turn.user, reply_ms, ..Spoken::of(turn.started_at, &timings) });
            line = longer;
            let bytes: u64 = turn.audio.iter().flatten().map(|name| self.length(name)).sum();
            let (user, reply) = turn.has;
            update.execute(params![
                turn.number,
                user.then_some(places.user),
                reply.then_some(places.reply),
                i64::try_from(bytes).unwrap_or(i64::MAX)
            ])?;
            for (side, (text, edit)) in [Side::User, Side::Assistant].into_iter().zip(&turn.texts) {
                let at = Place::Said(turn.number, side);
                search::put(&self.connection, seq, at, text.as_deref(), edit.as_deref())?;
            }
        }
        self.connection
            .prepare_cached("UPDATE conversations SET line_ms = ?2, line_until = ?3 WHERE seq = ?1")?
            .execute(params![seq, line.length_ms, line.until])?;
        let title: Option<String> = self
            .connection
            .prepare_cached("SELECT title FROM conversations WHERE seq = ?1")?
            .query_row([seq], |row| row.get(0))
            .optional()?
            .flatten();
        search::put(&self.connection, seq, Place::Title, title.as_deref(), None)?;
        Ok(turns.len())
    }

    /// Throws the search away, to be made anew by [`Self::catch_up`].
    pub(super) fn forget_search(&mut self) -> Result<(), HistoryError> {
        let transaction = self.connection.transaction()?;
        transaction
            .execute_batch("INSERT INTO search (search) VALUES ('delete-all'); UPDATE turns SET shelved = 0;")?;
        transaction.commit()?;
        Ok(())
    }
}
