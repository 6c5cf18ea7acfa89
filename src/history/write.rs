//! The one thread that writes: audio files first, then the row.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use audio::ogg::{OggError, OggOpusWriter};
use audio::pcm::Pcm;
use rusqlite::{Connection, OptionalExtension, params};
use signaling::line::Timings;
use tokio::sync::{mpsc, oneshot};

use super::news::{HistoryNews, News, Newsroom};
use super::read::Side;
use super::search::{self, Place};
use super::timeline::{Line, Spoken};
use super::{HistoryError, audio_folder, files, renders};
use crate::call::record::{Amendment, TurnRecord};
use crate::data_folder::{DataFolder, Whole};

/// How many turns and changes may wait to be written. A turn takes some 50 ms, mostly to encode; when full, it is refused with an
/// error that says so, rather than holding up the call.
pub const JOBS_BOUND: usize = 64;

/// What comes of a job, once it is on disk.
pub type Done<T> = Pin<Box<dyn Future<Output = Result<T, HistoryError>> + Send>>;

type Job = Box<dyn FnOnce(&mut Scribe) + Send>;

/// Hands jobs to the writing thread. Dropping it waits for the last job and closes the file, so that a process which ends in an
/// orderly way leaves no half-written audio and no write-ahead log.
pub struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(mut scribe: Scribe) -> Result<Self, HistoryError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_BOUND);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut scribe);
            }
        };
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(work)
            .map_err(|error| HistoryError::Write(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Has a job done in its turn, also if nobody waits for what comes of it.
    pub fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Scribe) -> Result<T, HistoryError> + Send + 'static,
    ) -> Done<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |scribe| {
            let _ = answer.send(job(scribe));
        });
        let is_queued = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok());
        Box::pin(async move {
            if !is_queued {
                return Err(HistoryError::Behind);
            }
            answered.await.unwrap_or_else(|_| Err(HistoryError::Write("the writing thread has stopped".to_owned())))
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the history had panicked");
        }
    }
}

/// What the writing thread works with.
pub struct Scribe {
    pub(super) connection: Connection,
    folder: DataFolder,
    pub(super) audio: PathBuf,
    pub(super) newsroom: Newsroom,
    /// Replies that are kept are to be rendered.
    pub(super) rendering: Arc<AtomicBool>,
}

/// A file that has been written: its name and length.
struct Written {
    name: String,
    bytes: u64,
}

impl Scribe {
    pub fn new(connection: Connection, folder: DataFolder) -> Self {
        let audio = audio_folder(&folder);
        Self { connection, folder, audio, newsroom: Newsroom::default(), rendering: Arc::default() }
    }

    pub(super) fn keep(&mut self, turn: &TurnRecord) -> Result<(), HistoryError> {
        self.refuse_anothers(turn)?;
        let question = turn.question.as_ref();
        let answer = turn.answer.as_ref();
        let user_audio =
            self.write_audio(question.map(|q| q.item.as_str()), question.and_then(|q| q.audio.as_ref()))?;
        let reply_audio = self.write_audio(answer.map(|a| a.item.as_str()), answer.and_then(|a| a.audio.as_ref()))?;
        let started = milliseconds(turn.started);
        let duration = |pcm: Option<&Pcm>| pcm.map(|pcm| pcm.duration().as_millis() as i64);
        let user_ms = duration(question.and_then(|q| q.audio.as_ref()));
        let reply_ms = duration(answer.and_then(|a| a.audio.as_ref()));
        let timings = stages(&turn.timings);
        let bytes: u64 = [&user_audio, &reply_audio].into_iter().flatten().map(|written| written.bytes).sum();

        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO conversations (id, created_at, updated_at, owner) VALUES (?1, ?2, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET updated_at = max(updated_at, ?2)",
            params![turn.conversation.as_str(), started, turn.owner],
        )?;
        let (seq, line) = transaction.query_row(
            "SELECT seq, line_ms, line_until FROM conversations WHERE id = ?1",
            [turn.conversation.as_str()],
            |row| Ok((row.get::<_, i64>(0)?, Line { length_ms: row.get(1)?, until: row.get(2)? })),
        )?;
        let spoken = Spoken { user_ms, reply_ms, ..Spoken::of(started, &timings) };
        let (places, line) = line.add(spoken);
        transaction.execute(
            "UPDATE conversations SET line_ms = ?2, line_until = ?3 WHERE seq = ?1",
            params![seq, line.length_ms, line.until],
        )?;
        transaction.execute(
            "INSERT INTO turns (conversation, call, door, started_at, user_item, user_text, user_language, user_audio, user_ms,
                                reply, reply_item, reply_text, reply_heard, reply_audio, reply_ms, interrupted, failure,
                                voice, model, timings, user_starts, reply_starts, audio_bytes, shelved)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, 1)",
            params![
                turn.conversation.as_str(),
                turn.call.as_str(),
                turn.door,
                started,
                question.map(|q| q.item.as_str()),
                question.map(|q| q.text.as_str()),
                question.and_then(|q| q.language.as_deref()),
                user_audio.as_ref().map(|written| written.name.as_str()),
                user_ms,
                answer.map(|a| a.reply.as_str()),
                answer.map(|a| a.item.as_str()),
                answer.map(|a| a.text.as_str()),
                answer.map(|a| a.heard.as_str()),
                reply_audio.as_ref().map(|written| written.name.as_str()),
                reply_ms,
                answer.is_some_and(|a| a.interrupted),
                answer.and_then(|a| a.failure.as_deref()),
                answer.map(|a| a.voice.as_str()),
                answer.map(|a| a.model.as_str()),
                timings.to_string(),
                question.map(|_| places.user),
                answer.map(|_| places.reply),
                i64::try_from(bytes).unwrap_or(i64::MAX),
            ],
        )?;
        let number = transaction.last_insert_rowid();
        for (side, text) in
            [(Side::User, question.map(|q| q.text.as_str())), (Side::Assistant, answer.map(|a| a.text.as_str()))]
        {
            search::put(&transaction, seq, Place::Said(number, side), text, None)?;
        }
        let is_rendered = self.rendering.load(Ordering::Relaxed)
            && renders::enqueue(&transaction, number, answer, milliseconds(SystemTime::now()))?;
        transaction.commit()?;
        let what = HistoryNews::Turn { conversation: turn.conversation.as_str().to_owned(), turn: number };
        self.newsroom.publish(News { owner: turn.owner.clone(), what });
        if is_rendered { self.tell_of_render(number) } else { Ok(()) }
    }

    /// A conversation is gone on with by whoever began it, and by the server's own keys.
    fn refuse_anothers(&self, turn: &TurnRecord) -> Result<(), HistoryError> {
        let Some(owner) = &turn.owner else { return Ok(()) };
        let begun_by: Option<Option<String>> = self
            .connection
            .prepare_cached("SELECT owner FROM conversations WHERE id = ?1")?
            .query_row([turn.conversation.as_str()], |row| row.get(0))
            .optional()?;
        match begun_by {
            Some(begun_by) if begun_by.as_ref() != Some(owner) => Err(HistoryError::Anothers),
            _ => Ok(()),
        }
    }

    pub(super) fn amend(&mut self, amendment: &Amendment) -> Result<(), HistoryError> {
        let transaction = self.connection.transaction()?;
        let played = i64::try_from(amendment.played.as_millis()).unwrap_or(i64::MAX);
        transaction.execute(
            "UPDATE turns SET reply_heard = ?2, interrupted = ?3, reply_played = min(?4, reply_ms) WHERE reply = ?1",
            params![amendment.reply.as_str(), amendment.heard, amendment.interrupted, played],
        )?;
        let conversation = transaction
            .query_row(
                "SELECT c.id, c.line_ms, c.line_until FROM turns t JOIN conversations c ON c.id = t.conversation WHERE t.reply = ?1",
                [amendment.reply.as_str()],
                |row| Ok((row.get::<_, String>(0)?, Line { length_ms: row.get(1)?, until: row.get(2)? })),
            )
            .optional()?;
        if let Some((conversation, line)) = conversation {
            let line = line.ending_at(end_of_line(&transaction, &conversation)?);
            transaction.execute(
                "UPDATE conversations SET line_ms = ?2, line_until = ?3 WHERE id = ?1",
                params![conversation, line.length_ms, line.until],
            )?;
        }
        transaction.commit()?;
        self.reconsider_render(amendment.reply.as_str())
    }

    /// Writes one side's audio under its item's name; `None` if there was nothing to hear.
    fn write_audio(&self, item: Option<&str>, pcm: Option<&Pcm>) -> Result<Option<Written>, HistoryError> {
        let (Some(item), Some(pcm)) = (item, pcm.filter(|pcm| !pcm.samples.is_empty())) else { return Ok(None) };
        // Item ids can come from clients: only ours are used as file names.
        let name = format!("{}.ogg", stem(item));
        let encode = |file: &mut Whole| -> Result<(), OggError> {
            let mut writer = OggOpusWriter::new(file)?;
            writer.push(pcm)?;
            writer.finish().map(drop)
        };
        let bytes = self.store(&name, |file| encode(file).map_err(io::Error::other))?;
        Ok(Some(Written { name, bytes }))
    }

    /// Stores a whole audio file: it is there and synced, or the one of that name is as it was. Gives the bytes it takes.
    pub(super) fn store(
        &self,
        name: &str,
        fill: impl FnOnce(&mut Whole) -> io::Result<()>,
    ) -> Result<u64, HistoryError> {
        let path = self.audio.join(name);
        let stored = self.folder.write(&path, fill);
        stored.map_err(|error| HistoryError::Write(format!("{}: {error}", path.display())))
    }

    /// The length of a file that a row names, zero if it is not there.
    pub(super) fn length(&self, name: &str) -> u64 {
        let path = Some(self.audio.join(name)).filter(|_| files::is_plain(name));
        path.and_then(|path| path.symlink_metadata().ok()).map_or(0, |found| found.len())
    }
}

/// Where the last sound of a conversation ends on its time line.
fn end_of_line(connection: &Connection, conversation: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT coalesce(max(max(coalesce(user_starts + coalesce(user_ms, 0), 0),
                                     coalesce(reply_starts + coalesce(reply_played, reply_ms, 0), 0))), 0)
             FROM turns WHERE conversation = ?1",
        )?
        .query_row([conversation], |row| row.get(0))
}

/// What an item's files are called.
pub fn stem(item: &str) -> String {
    item.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-")
}

/// Since 1970, as all times in the database.
pub fn milliseconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A turn's stages as the history and the REST interface have them: milliseconds, to the microsecond.
fn stages(timings: &Timings) -> serde_json::Value {
    let ms = |stage: Option<Duration>| stage.map(|stage| stage.as_micros() as f64 / 1_000.0);
    serde_json::json!({
        "turn_commit_ms": ms(timings.turn_commit),
        "text_final_ms": ms(timings.text_final),
        "first_token_ms": ms(timings.first_token),
        "first_sentence_ms": ms(timings.first_sentence),
        "first_audio_ms": ms(timings.first_audio),
        "first_packet_ms": ms(timings.first_packet),
    })
}

impl Spoken {
    /// What a turn's stages, as they are stored, say of its times.
    pub(super) fn of(started: i64, timings: &serde_json::Value) -> Self {
        let stage = |name: &str| timings.get(name).and_then(serde_json::Value::as_f64);
        let (commit_ms, first_packet_ms) = (stage("turn_commit_ms"), stage("first_packet_ms"));
        Self { started, commit_ms, first_packet_ms, ..Self::default() }
    }
}
