//! Tables, and how an older file becomes a newer one.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::HistoryError;

/// One entry a version, applied in order; never changed once released.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE conversations (
        id          TEXT PRIMARY KEY,
        created_at  INTEGER NOT NULL, -- milliseconds since 1970, UTC; as all times here
        updated_at  INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX conversations_by_time ON conversations (created_at, id);
    CREATE TABLE turns (
        number          INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation    TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        call            TEXT NOT NULL,
        door            TEXT NOT NULL,
        started_at      INTEGER NOT NULL,
        user_item       TEXT,
        user_text       TEXT,
        user_language   TEXT,
        user_audio      TEXT,    -- file name in the audio folder
        user_ms         INTEGER,
        reply           TEXT UNIQUE,
        reply_item      TEXT,
        reply_text      TEXT,
        reply_heard     TEXT,    -- what of it was played
        reply_audio     TEXT,
        reply_ms        INTEGER,
        interrupted     INTEGER NOT NULL DEFAULT 0,
        failure         TEXT,
        voice           TEXT,
        model           TEXT,
        timings         TEXT NOT NULL -- JSON, milliseconds from the end of the caller's voice
    ) STRICT;
    CREATE INDEX turns_by_conversation ON turns (conversation, number);
",
    "
    CREATE TABLE sessions (
        conversation    TEXT PRIMARY KEY,       -- which need not have a turn yet
        token           BLOB NOT NULL UNIQUE,   -- SHA-256 of it
        owner           TEXT,
        settings        TEXT NOT NULL,          -- JSON
        expires_at      INTEGER NOT NULL
    ) STRICT;
    CREATE TRIGGER sessions_end_with_their_conversation AFTER DELETE ON conversations
    BEGIN
        DELETE FROM sessions WHERE conversation = OLD.id;
    END;
",
];

/// Sets the connection up and brings the tables up to date.
pub fn prepare(connection: &mut Connection, path: &Path) -> Result<(), HistoryError> {
    let opened = |source| HistoryError::Open { path: path.to_owned(), source };
    connection.busy_timeout(Duration::from_secs(5)).map_err(opened)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(opened)?;
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(opened)?;
    if found > known {
        return Err(HistoryError::Newer { path: path.to_owned(), found, known });
    }
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction().map_err(opened)?;
        transaction.execute_batch(migration).map_err(opened)?;
        transaction.pragma_update(None, "user_version", version).map_err(opened)?;
        transaction.commit().map_err(opened)?;
    }
    Ok(())
}
