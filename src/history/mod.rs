//! What is remembered: conversations, their turns, both sides' audio.
//!
//! A turn is an audio file or two (Ogg Opus) and a row in SQLite. Files are written and synced first, then the row in one
//! transaction: a process that is killed leaves at worst a file without a row, never a row without its file. A conversation goes
//! the other way: its rows first, then its files. Whatever is read or changed is what its [`Viewer`] may see; the rest is as if it
//! were not there.

mod catch_up;
pub mod check;
mod edit;
pub mod export;
mod files;
pub mod news;
mod read;
pub mod renders;
pub mod retention;
mod schema;
mod search;
mod sessions;
mod timeline;
pub mod titles;
mod viewer;
mod words;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::stream;
use rusqlite::{Connection, OpenFlags};
use signaling::line::{ConversationId, Item};
use tokio::sync::watch;

use crate::call::attendance::{Attendance, CallLoad, CallLoads};
use crate::call::record::{Amendment, KeepError, Keeper, Kept, SessionRecord, TurnRecord};
use crate::call::resumption::TokenHash;
use crate::data_folder::{DataFolder, Stored};

pub use self::edit::Edit;
pub use self::news::Newsroom;
pub use self::read::{ConversationSummary, Side, Size, StoredConversation, StoredSide, StoredTurn};
pub use self::search::Match;
pub use self::viewer::Viewer;
pub use self::words::{Piece, Query};
pub use self::write::{Done, milliseconds};

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("the data folder {} cannot be written: {source}; choose another with --data-dir or mend its permissions", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the history {} cannot be opened: {source}; if the file is damaged, move it away and a new one is begun", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the history {} was written by a newer Avatar (version {found}, this one knows {known}); update Avatar", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("the history cannot be read or changed: {0}")]
    Read(#[from] rusqlite::Error),
    #[error("the history cannot be written: {0}")]
    Write(String),
    #[error("the history is {} changes behind and takes no more; the disk is too slow", write::JOBS_BOUND)]
    Behind,
    #[error("the conversation belongs to another key; begin a new one")]
    Anothers,
    #[error("the history is open elsewhere; stop Avatar first, then repair")]
    InUse,
    #[error("the turn has nothing on that side; edit the other one")]
    NothingSaid(Side),
}

/// The history of one data folder.
pub struct History {
    folder: DataFolder,
    /// For whoever looks at it; the writer has a connection of its own, and in WAL mode neither waits for the other.
    reader: Mutex<Connection>,
    /// For calls, which are not to wait for somebody's search.
    recaller: Mutex<Connection>,
    newsroom: Newsroom,
    loads: CallLoads,
    /// Replies that are kept are to be rendered.
    rendering: Arc<AtomicBool>,
    writer: write::Writer,
    /// Talks that may be mixed down at once: it takes a core.
    exports: Arc<tokio::sync::Semaphore>,
}

/// Mixdowns at once.
const EXPORTS_BOUND: usize = 2;

impl History {
    /// Opens the history in `folder`, which is made if it is not there; migrates an older one.
    pub fn open(folder: impl Into<DataFolder>) -> Result<Self, HistoryError> {
        let folder = folder.into();
        let (connection, path) = (open_database(&folder)?, folder.database());
        let reader = || {
            let reader = folder.connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            reader.busy_timeout(std::time::Duration::from_secs(5))?;
            // All statements there are stay prepared.
            reader.set_prepared_statement_cache_capacity(64);
            // Opens the files it needs now, not at some first request.
            reader.query_row("SELECT EXISTS (SELECT 1 FROM conversations)", [], |_| Ok(()))?;
            Ok(Mutex::new(reader))
        };
        let opened = |source| HistoryError::Open { path: path.clone(), source };
        let (first, second) = (reader().map_err(opened)?, reader().map_err(opened)?);
        let mut scribe = write::Scribe::new(connection, folder.clone());
        let caught_up = scribe.catch_up()?;
        if caught_up > 0 {
            tracing::info!(turns = caught_up, "turns of an older history can be searched now");
        }
        let (newsroom, rendering) = (scribe.newsroom.clone(), Arc::clone(&scribe.rendering));
        let writer = write::Writer::start(scribe)?;
        let exports = Arc::new(tokio::sync::Semaphore::new(EXPORTS_BOUND));
        Ok(Self {
            folder,
            reader: first,
            recaller: second,
            newsroom,
            loads: CallLoads::default(),
            rendering,
            writer,
            exports,
        })
    }

    /// Where changes are told.
    pub fn news(&self) -> &Newsroom {
        &self.newsroom
    }

    /// The calls that run, for work that can wait.
    pub fn calls(&self) -> watch::Receiver<CallLoad> {
        self.loads.watch()
    }

    fn audio_folder(&self) -> PathBuf {
        audio_folder(&self.folder)
    }

    /// The folder that all of it is in.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Where a stored audio file is.
    pub fn audio_path(&self, stored: &str) -> PathBuf {
        self.audio_folder().join(stored)
    }

    /// A stored audio file.
    pub fn open_audio(&self, stored: &str) -> io::Result<Stored> {
        // Rows may have been written by anybody.
        if !files::is_plain(stored) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.folder.read(&self.audio_path(stored))
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        let connection = self.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(query(&connection)?)
    }

    /// At most `limit` conversations, newest first, begun before the conversation `before` if given.
    pub fn conversations(
        &self,
        viewer: &Viewer,
        limit: usize,
        before: Option<&str>,
    ) -> Result<Vec<ConversationSummary>, HistoryError> {
        self.read(|connection| read::conversations(connection, viewer, limit, before))
    }

    /// The same of those in which `query` was said, or which are called so, with the place; `None` for a place in the title.
    pub fn search(
        &self,
        viewer: &Viewer,
        query: &Query,
        limit: usize,
        before: Option<&str>,
    ) -> Result<Vec<(ConversationSummary, Option<Match>)>, HistoryError> {
        self.read(|connection| search::find(connection, viewer, query, limit, before))
    }

    /// A conversation with its turns; `None` if there is none of that id.
    pub fn conversation(&self, viewer: &Viewer, id: &str) -> Result<Option<StoredConversation>, HistoryError> {
        self.read(|connection| read::conversation(connection, viewer, id))
    }

    /// Stored name of one side's audio of a turn.
    pub fn audio(
        &self,
        viewer: &Viewer,
        conversation: &str,
        turn: i64,
        side: Side,
    ) -> Result<Option<String>, HistoryError> {
        self.read(|connection| read::audio(connection, viewer, conversation, turn, side))
    }

    /// How much there is.
    pub fn size(&self, viewer: &Viewer) -> Result<Size, HistoryError> {
        self.read(|connection| read::size(connection, viewer))
    }

    /// The same for calls: small queries by an index, well under a millisecond.
    fn recall_by<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        let connection = self.recaller.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(query(&connection)?)
    }

    /// Whether a call of `viewer` may go on with a conversation: it is theirs, or there is none of that id yet.
    pub fn may_go_on(&self, viewer: &Viewer, conversation: &str) -> Result<bool, HistoryError> {
        self.recall_by(|connection| {
            let theirs = read::seq(connection, viewer, conversation)?.is_some();
            Ok(theirs || read::seq(connection, &Viewer::Everyone, conversation)?.is_none())
        })
    }

    /// Sets a conversation's title, or takes it away so that the language model may find one; `None` if there is none of that id.
    pub async fn rename(
        &self,
        viewer: Viewer,
        id: String,
        title: Option<String>,
    ) -> Result<Option<ConversationSummary>, HistoryError> {
        self.writer.submit(move |scribe| scribe.rename(&viewer, &id, title.as_deref())).await
    }

    /// Edits the caller's and the avatar's text of a turn. Gives the turn's place in the conversation and the turn as it then
    /// stands; `None` if it is not there.
    pub async fn edit(
        &self,
        viewer: Viewer,
        conversation: String,
        turn: i64,
        user: Edit,
        assistant: Edit,
    ) -> Result<Option<(usize, StoredTurn)>, HistoryError> {
        self.writer.submit(move |scribe| scribe.edit(&viewer, &conversation, turn, [user, assistant])).await
    }

    /// Deletes a conversation, rows and files; says whether it was there. A call that still goes on begins it anew with its next
    /// turn.
    pub async fn delete(&self, viewer: Viewer, id: String) -> Result<bool, HistoryError> {
        let names = self.writer.submit(move |scribe| scribe.take_out(&viewer, &id)).await?;
        let Some(names) = names else { return Ok(false) };
        let audio = self.audio_folder();
        // Not on the writing thread, which turns wait for.
        let removed = tokio::task::spawn_blocking(move || files::remove(&audio, names).1).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "recordings of a deleted conversation are left; `avatar doctor --repair` removes them");
        }
        Ok(true)
    }
}

impl Keeper for History {
    fn keep(&self, turn: TurnRecord) -> Kept<()> {
        let kept = self.writer.submit(move |scribe| scribe.keep(&turn));
        Box::pin(async move { kept.await.map_err(KeepError::from) })
    }

    fn amend(&self, amendment: Amendment) -> Kept<()> {
        let kept = self.writer.submit(move |scribe| scribe.amend(&amendment));
        Box::pin(async move { kept.await.map_err(KeepError::from) })
    }

    fn is_open_to(&self, conversation: &ConversationId, owner: &str) -> bool {
        let viewer = Viewer::Owner(owner.to_owned());
        self.may_go_on(&viewer, conversation.as_str()).unwrap_or_else(|error| {
            tracing::error!(%error, "whose a conversation is cannot be told; it is treated as another's");
            false
        })
    }

    fn voice_is_open_to(&self, voice: &str, owner: &str) -> bool {
        let id = voice.rsplit('/').next().unwrap_or_default();
        let asked = self.recall_by(|connection| {
            let theirs = "SELECT 1 FROM voices WHERE id = ?1 AND owner = ?2";
            connection.prepare_cached(theirs)?.exists([id, owner])
        });
        asked.unwrap_or_else(|error| {
            tracing::error!(%error, "whose a voice is cannot be told; it is treated as another's");
            false
        })
    }

    fn keep_session(&self, session: SessionRecord) -> Kept<()> {
        let kept = self.writer.submit(move |scribe| sessions::keep(&scribe.connection, &session));
        Box::pin(async move { kept.await.map_err(KeepError::from) })
    }

    fn forget_session(&self, conversation: &ConversationId) -> Kept<()> {
        let conversation = conversation.clone();
        let forgotten = self.writer.submit(move |scribe| sessions::forget(&scribe.connection, &conversation));
        Box::pin(async move { forgotten.await.map_err(KeepError::from) })
    }

    fn session(&self, token: &TokenHash) -> Option<SessionRecord> {
        let found = self.recall_by(|connection| sessions::find(connection, token, SystemTime::now()));
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "a session cannot be looked up");
            None
        })
    }

    fn recall(&self, conversation: &ConversationId) -> Kept<Vec<Item>> {
        // At most a few hundred short rows.
        let items = self.recall_by(|connection| read::items(connection, &Viewer::Everyone, conversation.as_str()));
        let items = items.map_err(|error| KeepError::Storage(error.to_string()));
        Box::pin(async move { items })
    }

    fn attend(&self, conversation: &ConversationId) -> Attendance {
        match (self.newsroom.listen(), self.newsroom.listen()) {
            (Ok(better), Ok(changes)) => Attendance::new(&self.loads, better.better_audio_of(conversation.clone()))
                .with_changes(changes.changes_of(conversation.clone())),
            // Without the news a call is as good.
            _ => Attendance::new(&self.loads, stream::empty()),
        }
    }
}

fn audio_folder(folder: &DataFolder) -> PathBuf {
    folder.path().join("audio")
}

/// The data folder's database with its tables as they are today. The folder is made if it is not there.
pub fn open_database(folder: &DataFolder) -> Result<Connection, HistoryError> {
    let failed = |source| HistoryError::Folder { path: folder.path().to_owned(), source };
    std::fs::create_dir_all(audio_folder(folder)).map_err(failed)?;
    // Fails early, with the folder's name, rather than at the first turn.
    let probe = folder.path().join(".writable");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(failed)?;
    folder.claim().map_err(failed)?;
    let path = folder.database();
    let opened = folder.connect(&path, OpenFlags::default());
    let mut connection = opened.map_err(|source| HistoryError::Open { path: path.clone(), source })?;
    schema::prepare(&mut connection, &path)?;
    Ok(connection)
}

impl From<HistoryError> for KeepError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Behind => Self::Behind(write::JOBS_BOUND),
            error => Self::Storage(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
