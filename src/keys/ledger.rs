//! What keys were used for, written down on a thread of its own: a request does not wait for the disk.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, params};

use crate::call::allowance::Usage;
use crate::history::HistoryError;

/// How many entries may wait for the disk. When so many do, further ones are dropped with a warning: a use that is not noted is
/// better than a request that waits.
const ENTRIES_BOUND: usize = 256;
/// How exactly the last use of a key is known.
const USE_NOTED_EVERY_MS: i64 = 60_000;
/// How many keys' last uses are remembered, so as not to write each down; more are written down more often.
const REMEMBERED: usize = 4_096;

pub enum Entry {
    Used { key: String, at: i64 },
    Spent { key: String, day: i64, usage: Usage },
}

/// Dropping it waits for the last entry.
pub struct Ledger {
    entries: Option<SyncSender<Entry>>,
    thread: Option<JoinHandle<()>>,
    noted: Mutex<HashMap<String, i64>>,
}

impl Ledger {
    pub fn start(connection: Connection) -> Result<Self, HistoryError> {
        let (entries, waiting) = sync_channel(ENTRIES_BOUND);
        let work = move || write_down(&connection, &waiting);
        let thread = std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(work)
            .map_err(|error| HistoryError::Write(error.to_string()))?;
        Ok(Self { entries: Some(entries), thread: Some(thread), noted: Mutex::default() })
    }

    /// The key opened something at `at`, milliseconds since 1970.
    pub fn used(&self, key: &str, at: i64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(key).is_some_and(|last| at - last < USE_NOTED_EVERY_MS) {
            return;
        }
        if noted.len() >= REMEMBERED {
            noted.clear();
        }
        noted.insert(key.to_owned(), at);
        drop(noted);
        self.write(Entry::Used { key: key.to_owned(), at });
    }

    pub fn write(&self, entry: Entry) {
        let written = self.entries.as_ref().map(|entries| entries.try_send(entry).is_ok());
        if written != Some(true) {
            tracing::warn!("what a key was used for could not be noted; the disk is too slow");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.entries = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that notes what keys are used for had panicked");
        }
    }
}

fn whole(amount: u128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn write_down(connection: &Connection, waiting: &Receiver<Entry>) {
    while let Ok(entry) = waiting.recv() {
        let written = match &entry {
            Entry::Used { key, at } => {
                connection.execute("UPDATE keys SET last_used_at = ?2 WHERE id = ?1", params![key, at])
            }
            Entry::Spent { key, day, usage } => connection.execute(
                "INSERT INTO key_usage (key, day, talk_ms, speech_characters, transcribed_ms, tokens) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (key, day) DO UPDATE SET talk_ms = talk_ms + ?3, speech_characters = speech_characters + ?4,
                     transcribed_ms = transcribed_ms + ?5, tokens = tokens + ?6",
                params![
                    key,
                    day,
                    whole(usage.talk.as_millis()),
                    whole(usage.speech_characters.into()),
                    whole(usage.transcribed.as_millis()),
                    whole(usage.tokens.into())
                ],
            ),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "what a key was used for could not be noted");
        }
    }
}
