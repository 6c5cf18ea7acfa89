//! What is remembered: conversations, their turns, both sides' audio.
//!
//! A turn is an audio file or two (Ogg Opus) and a row in SQLite. Files are written and synced first, then the row in one
//! transaction: a process that is killed leaves at worst a file without a row, never a row without its file.

mod read;
mod schema;
mod sessions;
mod viewer;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};
use signaling::line::{ConversationId, Item};

use crate::call::record::{Amendment, KeepError, Keeper, Kept, SessionRecord, TurnRecord};
use crate::call::resumption::TokenHash;

pub use self::read::{ConversationSummary, Side, StoredSide, StoredTurn};
pub use self::viewer::Viewer;

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("the data folder {} cannot be written: {source}; choose another with --data-dir or mend its permissions", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the history {} cannot be opened: {source}; if the file is damaged, move it away and a new one is begun", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the history {} was written by a newer Avatar (version {found}, this one knows {known}); update Avatar", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("the history cannot be read: {0}")]
    Read(#[from] rusqlite::Error),
    #[error("the history cannot be written: {0}")]
    Write(String),
}

/// The history of one data folder.
pub struct History {
    folder: PathBuf,
    /// For reading; the writer has a connection of its own, and in WAL mode neither waits for the other.
    reader: Mutex<Connection>,
    writer: write::Writer,
}

impl History {
    /// Opens the history in `folder`, which is made if it is not there; migrates an older one.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        let audio = folder.join("audio");
        std::fs::create_dir_all(&audio).map_err(|source| HistoryError::Folder { path: folder.to_owned(), source })?;
        probe_writable(folder)?;
        let path = folder.join("history.sqlite3");
        let mut connection =
            Connection::open(&path).map_err(|source| HistoryError::Open { path: path.clone(), source })?;
        schema::prepare(&mut connection, &path)?;
        let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(|source| HistoryError::Open { path, source })?;
        let writer = write::Writer::start(connection, audio)?;
        Ok(Self { folder: folder.to_owned(), reader: Mutex::new(reader), writer })
    }

    /// Where a stored audio file is.
    pub fn audio_path(&self, stored: &str) -> PathBuf {
        self.folder.join("audio").join(stored)
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        let connection = self.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(query(&connection)?)
    }

    /// At most `limit` conversations, newest first, older than `before` if given.
    pub fn conversations(&self, limit: usize, before: Option<&str>) -> Result<Vec<ConversationSummary>, HistoryError> {
        self.read(|connection| read::conversations(connection, limit, before))
    }

    /// When a conversation began (milliseconds since 1970) and its turns, oldest first; `None` if there is none of that id.
    pub fn conversation(&self, id: &str) -> Result<Option<(i64, Vec<StoredTurn>)>, HistoryError> {
        self.read(|connection| read::conversation(connection, id))
    }

    /// Stored name of one side's audio of a turn.
    pub fn audio(&self, conversation: &str, turn: i64, side: Side) -> Result<Option<String>, HistoryError> {
        self.read(|connection| read::audio(connection, conversation, turn, side))
    }
}

impl Keeper for History {
    fn keep(&self, turn: TurnRecord) -> Kept<()> {
        self.writer.submit(write::Job::Keep(Box::new(turn)))
    }

    fn amend(&self, amendment: Amendment) -> Kept<()> {
        self.writer.submit(write::Job::Amend(amendment))
    }

    fn keep_session(&self, session: SessionRecord) -> Kept<()> {
        self.writer.submit(write::Job::KeepSession(Box::new(session)))
    }

    fn forget_session(&self, conversation: &ConversationId) -> Kept<()> {
        self.writer.submit(write::Job::ForgetSession(conversation.clone()))
    }

    fn session(&self, token: &TokenHash) -> Option<SessionRecord> {
        // One row, by an index.
        self.read(|connection| sessions::find(connection, token, SystemTime::now())).unwrap_or_else(|error| {
            tracing::warn!(%error, "a session cannot be looked up");
            None
        })
    }

    fn recall(&self, conversation: &ConversationId) -> Kept<Vec<Item>> {
        // Indexed, and at most a few hundred short rows: well under a millisecond.
        let items = self
            .read(|connection| read::items(connection, conversation.as_str()))
            .map_err(|error| KeepError::Storage(error.to_string()));
        Box::pin(async move { items })
    }
}

/// Fails early, with the folder's name, rather than at the first turn.
fn probe_writable(folder: &Path) -> Result<(), HistoryError> {
    let probe = folder.join(".writable");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|source| HistoryError::Folder { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests;
