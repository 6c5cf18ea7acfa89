//! Replies' better audio: which are to be rendered, how far each is, and what came of it.
//!
//! A row of `renders` is written in the transaction that writes its turn, so no reply is forgotten; every step from there
//! ([`stage::Stage`]) is one transaction of the writing thread. The file of a finished render is whole and synced before its row says
//! `ready`; its name follows from the reply's item, so that a render which is done twice leaves one file. A render that had begun when the
//! process was killed is found at the next start ([`History::recover_renders`]) and waits again.
//!
//! What is rendered is what was *heard*: all that was written of a reply that was played to its end, and of one that the caller cut what had
//! been played of it. The recording of a talk must not say what nobody heard. A reply that turns out to have been cut after it was rendered is rendered anew;
//! one of which nothing was heard has no better audio.

mod read;
pub mod stage;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use models::text::speakable;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

pub(super) use self::read::stored;
pub use self::read::{RenderCounts, RenderTally, StoredRender};
pub use self::stage::{ATTEMPTS_MAX, RenderState};
use self::stage::{Happening, Stage};
use super::news::{HistoryNews, News, RenderNews};
use super::viewer::Viewer;
use super::write::Done;
use super::write::{Scribe, milliseconds, stem};
use super::{History, HistoryError};
use super::{files, read as rows};
use crate::call::record::Answer;

/// Fast files that one transaction lets go of.
const DROPPED_AT_ONCE: usize = 100;

/// One reply to render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub turn: i64,
    /// As it was written, markup and all.
    pub text: String,
    /// What the call spoke it with.
    pub voice: String,
    /// The first is 1.
    pub attempt: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// A whole Ogg Opus file.
    pub file: Vec<u8>,
    pub duration: Duration,
    /// Id of the voice that spoke.
    pub voice: String,
}

/// What came of asking for a render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedAnew {
    Pending,
    /// There is no such turn in that conversation.
    NoTurn,
    /// Nothing that can be said was heard of its reply.
    NothingToSay,
}

impl History {
    /// Whether replies that are kept from now on are to be rendered; at first they are not.
    pub fn render_replies(&self, wanted: bool) {
        self.rendering.store(wanted, Ordering::Relaxed);
    }

    pub fn renders_replies(&self) -> bool {
        self.rendering.load(Ordering::Relaxed)
    }

    /// For the one renderer, before its first [`Self::next_render`]: what was begun before the process was killed waits again.
    /// Tells how many there were.
    pub fn recover_renders(&self, now: SystemTime) -> Done<usize> {
        self.writer.submit(move |scribe| {
            let turns = |scribe: &Scribe, which: &str| -> rusqlite::Result<Vec<i64>> {
                let mut statement = scribe.connection.prepare(&format!("SELECT turn FROM renders WHERE {which}"))?;
                statement.query_map([], |row| row.get(0))?.collect()
            };
            let found = turns(scribe, "state = 'rendering'")?;
            for turn in &found {
                let why = "the server ended while it was rendered";
                scribe.move_on(*turn, Happening::Found, Some(why), milliseconds(now), 0.0)?;
            }
            // `avatar doctor --repair` found their files gone.
            for turn in turns(scribe, "state = 'ready' AND audio IS NULL")? {
                scribe.move_on(turn, Happening::Asked, None, milliseconds(now), 0.0)?;
            }
            Ok(found.len())
        })
    }

    /// Takes the render that has been due for longest; `None` if none is due.
    pub fn next_render(&self, now: SystemTime) -> Done<Option<Work>> {
        self.writer.submit(move |scribe| {
            let now = milliseconds(now);
            let due = scribe
                .connection
                .prepare_cached(
                    "SELECT turn FROM renders WHERE state = 'pending' AND due_at <= ?1 ORDER BY due_at, turn LIMIT 1",
                )?
                .query_row([now], |row| row.get(0))
                .optional()?;
            let Some(turn) = due else { return Ok(None) };
            scribe.move_on(turn, Happening::Begun, None, now, 0.0)?;
            let (text, voice) = said(&scribe.connection, turn)?;
            let attempt = stage_of(&scribe.connection, turn)?.map_or(1, Stage::attempts);
            Ok(Some(Work { turn, text, voice, attempt }))
        })
    }

    /// Stores what was made. `false`, and nothing is stored, if it is not wanted any more: the turn is gone, or its text is another.
    pub fn render_made(&self, turn: i64, rendered: Rendered, now: SystemTime) -> Done<bool> {
        self.writer.submit(move |scribe| scribe.made(turn, &rendered, milliseconds(now)))
    }

    /// It could not be made. `for_good`: another attempt would come to the same. `chance`, 0.0 to 1.0, spreads the next attempt.
    pub fn render_failed(&self, turn: i64, reason: String, for_good: bool, now: SystemTime, chance: f64) -> Done<()> {
        self.writer.submit(move |scribe| {
            scribe.move_on(turn, Happening::Failed { for_good }, Some(&reason), milliseconds(now), chance).map(drop)
        })
    }

    /// It was begun and is given up unfinished: the server stops.
    pub fn render_put_back(&self, turn: i64, now: SystemTime) -> Done<()> {
        self.writer
            .submit(move |scribe| scribe.move_on(turn, Happening::PutBack, None, milliseconds(now), 0.0).map(drop))
    }

    /// Renders a turn's reply anew, or for the first time.
    pub fn ask_render(&self, viewer: Viewer, conversation: String, turn: i64, now: SystemTime) -> Done<AskedAnew> {
        self.writer.submit(move |scribe| {
            if rows::turn(&scribe.connection, &viewer, &conversation, turn)?.is_none() {
                return Ok(AskedAnew::NoTurn);
            }
            if !can_be_said(&said(&scribe.connection, turn)?.0) {
                return Ok(AskedAnew::NothingToSay);
            }
            let now = milliseconds(now);
            let new = "INSERT INTO renders (turn, state, due_at) VALUES (?1, 'pending', ?2) ON CONFLICT DO NOTHING";
            scribe.connection.execute(new, params![turn, now])?;
            scribe.move_on(turn, Happening::Asked, None, now, 0.0)?;
            Ok(AskedAnew::Pending)
        })
    }

    /// Lets go of the fast audio of replies whose better audio has been there since `before`. Tells how many files that was.
    pub fn drop_fast_audio(&self, before: SystemTime) -> Done<usize> {
        self.writer.submit(move |scribe| {
            let mut dropped = 0;
            loop {
                let some = scribe.drop_fast(milliseconds(before))?;
                dropped += some;
                if some < DROPPED_AT_ONCE {
                    return Ok(dropped);
                }
            }
        })
    }
}

/// With the turn, in its transaction: its reply is to be rendered, if anything of it can be said. Tells whether it is.
pub(super) fn enqueue(
    transaction: &Transaction<'_>,
    turn: i64,
    answer: Option<&Answer>,
    now: i64,
) -> rusqlite::Result<bool> {
    let said = answer.map(|answer| if answer.interrupted { &answer.heard } else { &answer.text });
    if !said.is_some_and(|said| can_be_said(said)) {
        return Ok(false);
    }
    transaction.execute("INSERT INTO renders (turn, state, due_at) VALUES (?1, 'pending', ?2)", params![turn, now])?;
    Ok(true)
}

impl Scribe {
    /// Tells who listens how far a turn's render is.
    pub(super) fn tell_of_render(&self, turn: i64) -> Result<(), HistoryError> {
        let news = self
            .connection
            .prepare_cached(
                "SELECT owner, conversation, reply, reply_item, state, reason, ms FROM turns JOIN renders ON turn = number
                 JOIN conversations c ON c.id = conversation WHERE number = ?1",
            )?
            .query_row([turn], |row| {
                let state = state_of(row, "state")?;
                let what = HistoryNews::Render(RenderNews {
                    conversation: row.get(1)?,
                    turn,
                    reply: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                    item: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                    state,
                    reason: row.get(5)?,
                    duration_ms: row.get::<_, Option<i64>>(6)?.filter(|_| state == RenderState::Ready),
                });
                Ok(News { owner: row.get(0)?, what })
            })
            .optional()?;
        if let Some(news) = news {
            self.newsroom.publish(news);
        }
        Ok(())
    }

    /// One step of a turn's render, and the news of it. `false` if the step is out of date.
    fn move_on(
        &mut self,
        turn: i64,
        happening: Happening,
        reason: Option<&str>,
        now: i64,
        chance: f64,
    ) -> Result<bool, HistoryError> {
        let Some(next) = stage_of(&self.connection, turn)?.and_then(|stage| stage.after(happening, now, chance)) else {
            return Ok(false);
        };
        write_stage(&self.connection, turn, next, reason, now)?;
        self.tell_of_render(turn)?;
        Ok(true)
    }

    fn made(&mut self, turn: i64, rendered: &Rendered, now: i64) -> Result<bool, HistoryError> {
        let Some(next) = stage_of(&self.connection, turn)?.and_then(|stage| stage.after(Happening::Made, now, 0.0))
        else {
            return Ok(false);
        };
        let item: String =
            self.connection.query_row("SELECT reply_item FROM turns WHERE number = ?1", [turn], |row| row.get(0))?;
        let name = format!("{}.hq.ogg", stem(&item));
        let before = self.length(&name);
        let stored = self.store(&name, |file| file.write_all(&rendered.file))?;
        let transaction = self.connection.transaction()?;
        write_stage(&transaction, turn, next, None, now)?;
        transaction.execute(
            "UPDATE renders SET voice = ?2, audio = ?3, ms = ?4, ready_at = ?5 WHERE turn = ?1",
            params![turn, rendered.voice, name, rendered.duration.as_millis() as i64, now],
        )?;
        grow(&transaction, turn, signed(stored) - signed(before))?;
        transaction.commit()?;
        self.tell_of_render(turn)?;
        Ok(true)
    }

    /// Less of a reply was heard than had been written: what was rendered of it, or is about to be, is not what was heard.
    pub(super) fn reconsider_render(&mut self, reply: &str) -> Result<(), HistoryError> {
        let found = self
            .connection
            .query_row("SELECT turn, audio FROM turns JOIN renders ON turn = number WHERE reply = ?1", [reply], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
            })
            .optional()?;
        let Some((turn, audio)) = found else { return Ok(()) };
        if can_be_said(&said(&self.connection, turn)?.0) {
            self.move_on(turn, Happening::Asked, None, milliseconds(SystemTime::now()), 0.0)?;
            return Ok(());
        }
        let bytes = audio.as_ref().map_or(0, |name| self.length(name));
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM renders WHERE turn = ?1", [turn])?;
        grow(&transaction, turn, -signed(bytes))?;
        transaction.commit()?;
        remove(&self.audio, audio.iter());
        Ok(())
    }

    fn drop_fast(&mut self, before: i64) -> Result<usize, HistoryError> {
        let due: Vec<(i64, Option<String>, Option<String>)> = {
            let mut statement = self.connection.prepare_cached(
                "SELECT turn, reply_audio, audio FROM renders JOIN turns ON turn = number
                 WHERE state = 'ready' AND fast_dropped = 0 AND ready_at <= ?1 LIMIT ?2",
            )?;
            let rows = statement.query_map(params![before, DROPPED_AT_ONCE as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        // Nobody is left without either: where somebody took the better file away, the fast one stays.
        let due = due.into_iter().map(|(turn, fast, better)| {
            let fast = fast.filter(|_| better.is_some_and(|better| self.length(&better) > 0));
            (turn, fast.as_ref().map_or(0, |fast| self.length(fast)), fast)
        });
        let due: Vec<_> = due.collect();
        let transaction = self.connection.transaction()?;
        for (turn, bytes, fast) in &due {
            transaction.execute("UPDATE renders SET fast_dropped = 1 WHERE turn = ?1", [turn])?;
            if fast.is_some() {
                transaction.execute("UPDATE turns SET reply_audio = NULL WHERE number = ?1", [turn])?;
                grow(&transaction, *turn, -signed(*bytes))?;
            }
        }
        transaction.commit()?;
        remove(&self.audio, due.iter().filter_map(|(_, _, fast)| fast.as_ref()));
        Ok(due.len())
    }
}

/// What of a turn's reply was heard, and the voice that spoke.
fn said(connection: &Connection, turn: i64) -> rusqlite::Result<(String, String)> {
    connection
        .prepare_cached(
            "SELECT coalesce(iif(interrupted, reply_heard, reply_text), ''), coalesce(voice, '') FROM turns WHERE number = ?1",
        )?
        .query_row([turn], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn can_be_said(text: &str) -> bool {
    speakable(text).chars().any(char::is_alphanumeric)
}

fn stage_of(connection: &Connection, turn: i64) -> rusqlite::Result<Option<Stage>> {
    let stage = |row: &Row<'_>| {
        let (due_at, attempts) = (row.get(1)?, row.get(2)?);
        Ok(match state_of(row, "state")? {
            RenderState::Pending => Stage::Pending { due_at, attempts },
            RenderState::Rendering => Stage::Rendering { attempts },
            RenderState::Ready => Stage::Ready,
            RenderState::Failed => Stage::Failed { attempts },
        })
    };
    connection
        .prepare_cached("SELECT state, due_at, attempts FROM renders WHERE turn = ?1")?
        .query_row([turn], stage)
        .optional()
}

fn write_stage(
    connection: &Connection,
    turn: i64,
    stage: Stage,
    reason: Option<&str>,
    now: i64,
) -> rusqlite::Result<()> {
    let due_at = if let Stage::Pending { due_at, .. } = stage { due_at } else { now };
    connection
        .prepare_cached("UPDATE renders SET state = ?2, due_at = ?3, attempts = ?4, reason = ?5 WHERE turn = ?1")?
        .execute(params![turn, stage.state().as_str(), due_at, stage.attempts(), reason])
        .map(drop)
}

fn state_of(row: &Row<'_>, column: &str) -> rusqlite::Result<RenderState> {
    Ok(of_word(&row.get::<_, String>(column)?))
}

/// The table lets no other word in.
fn of_word(word: &str) -> RenderState {
    RenderState::of(word).unwrap_or(RenderState::Failed)
}

/// A turn's recordings take so many bytes more.
fn grow(connection: &Connection, turn: i64, bytes: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE turns SET audio_bytes = max(0, audio_bytes + ?2) WHERE number = ?1")?
        .execute([turn, bytes])
        .map(drop)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn remove<'a>(audio: &Path, names: impl Iterator<Item = &'a String>) {
    if let Err(error) = files::remove(audio, names).1 {
        tracing::warn!(%error, "recordings that are not needed any more are left; `avatar doctor --repair` removes them");
    }
}

#[cfg(test)]
mod tests;
