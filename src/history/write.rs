//! The one thread that writes: audio files first, then the row.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use audio::ogg::OggOpusWriter;
use audio::pcm::Pcm;
use rusqlite::{Connection, params};
use signaling::line::{ConversationId, Timings};
use tokio::sync::{mpsc, oneshot};

use super::{HistoryError, sessions};
use crate::call::record::{Amendment, KeepError, Kept, SessionRecord, TurnRecord};

/// How many turns may wait to be written. A turn takes some 50 ms, mostly to encode; when full, a turn is refused with an
/// error that says so, rather than holding up the call.
const JOBS_BOUND: usize = 64;

pub enum Job {
    Keep(Box<TurnRecord>),
    Amend(Amendment),
    KeepSession(Box<SessionRecord>),
    ForgetSession(ConversationId),
}

type Answer = oneshot::Sender<Result<(), KeepError>>;

/// Hands jobs to the writing thread. Dropping it waits for the last job and closes the file, so that a process which ends in an
/// orderly way leaves no half-written audio and no write-ahead log.
pub struct Writer {
    jobs: Option<mpsc::Sender<(Job, Answer)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(connection: Connection, audio: PathBuf) -> Result<Self, HistoryError> {
        let (jobs, mut queue) = mpsc::channel::<(Job, Answer)>(JOBS_BOUND);
        let mut scribe = Scribe { connection, audio };
        let work = move || {
            while let Some((job, answer)) = queue.blocking_recv() {
                let written = match job {
                    Job::Keep(turn) => scribe.keep(&turn),
                    Job::Amend(amendment) => scribe.amend(&amendment),
                    Job::KeepSession(session) => sessions::keep(&scribe.connection, &session),
                    Job::ForgetSession(conversation) => sessions::forget(&scribe.connection, &conversation),
                };
                let _ = answer.send(written.map_err(|error| KeepError::Storage(error.to_string())));
            }
        };
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(work)
            .map_err(|error| HistoryError::Write(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub fn submit(&self, job: Job) -> Kept<()> {
        let (answer, answered) = oneshot::channel();
        let queued = self.jobs.as_ref().map(|jobs| jobs.try_send((job, answer)).is_ok());
        Box::pin(async move {
            if queued != Some(true) {
                return Err(KeepError::Behind(JOBS_BOUND));
            }
            answered.await.unwrap_or_else(|_| Err(KeepError::Storage("the writing thread has stopped".to_owned())))
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

struct Scribe {
    connection: Connection,
    audio: PathBuf,
}

impl Scribe {
    fn keep(&mut self, turn: &TurnRecord) -> Result<(), HistoryError> {
        let question = turn.question.as_ref();
        let answer = turn.answer.as_ref();
        let user_audio =
            self.write_audio(question.map(|q| q.item.as_str()), question.and_then(|q| q.audio.as_ref()))?;
        let reply_audio = self.write_audio(answer.map(|a| a.item.as_str()), answer.and_then(|a| a.audio.as_ref()))?;
        let started = milliseconds(turn.started);
        let duration = |pcm: Option<&Pcm>| pcm.map(|pcm| pcm.duration().as_millis() as i64);

        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO conversations (id, created_at, updated_at) VALUES (?1, ?2, ?2)
             ON CONFLICT (id) DO UPDATE SET updated_at = max(updated_at, ?2)",
            params![turn.conversation.as_str(), started],
        )?;
        transaction.execute(
            "INSERT INTO turns (conversation, call, door, started_at, user_item, user_text, user_language, user_audio, user_ms,
                                reply, reply_item, reply_text, reply_heard, reply_audio, reply_ms, interrupted, failure,
                                voice, model, timings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            params![
                turn.conversation.as_str(),
                turn.call.as_str(),
                turn.door,
                started,
                question.map(|q| q.item.as_str()),
                question.map(|q| q.text.as_str()),
                question.and_then(|q| q.language.as_deref()),
                user_audio,
                duration(question.and_then(|q| q.audio.as_ref())),
                answer.map(|a| a.reply.as_str()),
                answer.map(|a| a.item.as_str()),
                answer.map(|a| a.text.as_str()),
                answer.map(|a| a.heard.as_str()),
                reply_audio,
                duration(answer.and_then(|a| a.audio.as_ref())),
                answer.is_some_and(|a| a.interrupted),
                answer.and_then(|a| a.failure.as_deref()),
                answer.map(|a| a.voice.as_str()),
                answer.map(|a| a.model.as_str()),
                stages(&turn.timings).to_string(),
            ],
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn amend(&mut self, amendment: &Amendment) -> Result<(), HistoryError> {
        self.connection.execute(
            "UPDATE turns SET reply_heard = ?2, interrupted = ?3 WHERE reply = ?1",
            params![amendment.reply.as_str(), amendment.heard, amendment.interrupted],
        )?;
        Ok(())
    }

    /// Writes one side's audio under its item's name; gives the file's name, or `None` if there was nothing to hear.
    fn write_audio(&self, item: Option<&str>, pcm: Option<&Pcm>) -> Result<Option<String>, HistoryError> {
        let (Some(item), Some(pcm)) = (item, pcm.filter(|pcm| !pcm.samples.is_empty())) else { return Ok(None) };
        // Item ids can come from clients: only ours are used as file names.
        let name = format!("{}.ogg", item.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-"));
        let path = self.audio.join(&name);
        write_ogg(&path, pcm).map_err(|error| HistoryError::Write(format!("{}: {error}", path.display())))?;
        Ok(Some(name))
    }
}

/// Writes beside the final name, syncs, renames: the file is whole or not there.
fn write_ogg(path: &Path, pcm: &Pcm) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut writer = OggOpusWriter::new(BufWriter::new(File::create(&partial)?)).map_err(std::io::Error::other)?;
    writer.push(pcm).map_err(std::io::Error::other)?;
    let mut file = writer.finish().map_err(std::io::Error::other)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    std::fs::rename(&partial, path)
}

pub(super) fn milliseconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
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
