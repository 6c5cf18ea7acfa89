//! Tables, and how an older file becomes a newer one.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::HistoryError;

/// One entry a version, applied in order; never changed once released.
pub(super) const MIGRATIONS: &[&str] = &["
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
", "
    ALTER TABLE conversations ADD COLUMN seq INTEGER;        -- in the order of their beginning
    ALTER TABLE conversations ADD COLUMN title TEXT;
    ALTER TABLE conversations ADD COLUMN owner TEXT;         -- whose key it was begun with
    ALTER TABLE conversations ADD COLUMN line_ms INTEGER NOT NULL DEFAULT 0; -- length of its time line
    ALTER TABLE conversations ADD COLUMN line_until INTEGER; -- what the clock showed at the time line's end
    UPDATE conversations SET seq = ranked.rank
        FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS rank FROM conversations) AS ranked
        WHERE ranked.id = conversations.id;
    DROP INDEX conversations_by_time;
    CREATE UNIQUE INDEX conversations_by_seq ON conversations (seq);
    CREATE INDEX conversations_by_owner ON conversations (owner, seq);
    CREATE INDEX conversations_by_update ON conversations (updated_at);
    CREATE INDEX conversations_without_title ON conversations (seq) WHERE title IS NULL;
    CREATE TRIGGER conversations_are_numbered AFTER INSERT ON conversations WHEN NEW.seq IS NULL BEGIN
        UPDATE conversations SET seq = (SELECT coalesce(max(seq), 0) + 1 FROM conversations) WHERE id = NEW.id;
    END;
    ALTER TABLE turns ADD COLUMN user_edit TEXT;       -- what somebody wrote in place of user_text
    ALTER TABLE turns ADD COLUMN reply_edit TEXT;
    ALTER TABLE turns ADD COLUMN user_starts INTEGER;  -- milliseconds on the conversation's time line
    ALTER TABLE turns ADD COLUMN reply_starts INTEGER;
    ALTER TABLE turns ADD COLUMN reply_played INTEGER; -- milliseconds of reply_audio that were sent, where not all
    ALTER TABLE turns ADD COLUMN audio_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE turns ADD COLUMN shelved INTEGER NOT NULL DEFAULT 0; -- whether the time line and the search have it
    CREATE INDEX turns_unshelved ON turns (number) WHERE shelved = 0;
    -- Kept by the triggers below.
    ALTER TABLE conversations ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE conversations ADD COLUMN audio_bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE conversations SET turns = (SELECT count(*) FROM turns WHERE conversation = conversations.id);
    CREATE TRIGGER turns_are_counted AFTER INSERT ON turns BEGIN
        UPDATE conversations SET turns = turns + 1, audio_bytes = audio_bytes + NEW.audio_bytes WHERE id = NEW.conversation;
    END;
    CREATE TRIGGER turns_are_discounted AFTER DELETE ON turns BEGIN
        UPDATE conversations SET turns = turns - 1, audio_bytes = audio_bytes - OLD.audio_bytes WHERE id = OLD.conversation;
    END;
    CREATE TRIGGER turns_are_weighed AFTER UPDATE OF audio_bytes ON turns WHEN NEW.audio_bytes <> OLD.audio_bytes BEGIN
        UPDATE conversations SET audio_bytes = audio_bytes + NEW.audio_bytes - OLD.audio_bytes WHERE id = NEW.conversation;
    END;
    -- The words of each side of each turn, and of each title; `search.rs` says what its rows are.
    CREATE VIRTUAL TABLE search USING fts5 (
        shown, original, content = '', contentless_delete = 1, prefix = '1 2 3', tokenize = 'unicode61 remove_diacritics 0'
    );
"];

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
