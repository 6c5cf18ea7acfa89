//! Tables, and how an older file becomes a newer one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

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
", "
    -- Better audio of replies; a turn without a row has none and gets none.
    CREATE TABLE renders (
        turn            INTEGER PRIMARY KEY REFERENCES turns (number) ON DELETE CASCADE,
        state           TEXT NOT NULL CHECK (state IN ('pending', 'rendering', 'ready', 'failed')),
        reason          TEXT,    -- why it failed, or is tried again
        attempts        INTEGER NOT NULL DEFAULT 0,
        due_at          INTEGER NOT NULL,
        voice           TEXT,    -- what it was rendered with
        audio           TEXT,    -- file name in the audio folder
        ms              INTEGER,
        ready_at        INTEGER,
        fast_dropped    INTEGER NOT NULL DEFAULT 0 -- the turn's reply_audio was let go of, or is to stay
    ) STRICT;
    CREATE INDEX renders_by_state ON renders (state, due_at);
    CREATE INDEX renders_with_fast ON renders (ready_at) WHERE state = 'ready' AND fast_dropped = 0;
", "
    CREATE TABLE keys (
        id                  TEXT PRIMARY KEY,
        name                TEXT NOT NULL,
        hash                BLOB NOT NULL,  -- SHA-256 of the key; the key itself is nowhere
        created_at          INTEGER NOT NULL,
        expires_at          INTEGER,
        revoked_at          INTEGER,
        last_used_at        INTEGER,        -- to the minute
        calls               INTEGER,        -- most at once
        requests_per_minute INTEGER,
        talk_minutes_per_day INTEGER
    ) STRICT;
    CREATE TABLE key_usage (
        key     TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
        day     INTEGER NOT NULL, -- since 1970, UTC
        talk_ms INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (key, day)
    ) STRICT, WITHOUT ROWID;
", "
    CREATE TABLE voices (
        id            TEXT PRIMARY KEY,   -- and the name of its files, and of the voice in the engine
        owner         TEXT,               -- whose key; NULL is the whole house
        name          TEXT NOT NULL,
        created_at    INTEGER NOT NULL,
        consent_at    INTEGER NOT NULL,   -- when it was said that the speaker agrees
        duration_ms   INTEGER NOT NULL,   -- of the sample that was kept
        bandwidth_hz  INTEGER NOT NULL,
        transcript    TEXT,
        transcribed   INTEGER NOT NULL DEFAULT 0, -- whether the transcript is settled, also where there is none
        state         TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'computing', 'ready', 'failed')),
        reason        TEXT,               -- of the failure
        engine        TEXT,               -- that computed it, or failed to
        weights       TEXT                -- the engine's, as it tells them apart
    ) STRICT;
    CREATE UNIQUE INDEX voices_by_name ON voices (coalesce(owner, ''), name COLLATE NOCASE);
", "
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
", "
    ALTER TABLE keys ADD COLUMN speech_characters_per_day INTEGER;
    ALTER TABLE keys ADD COLUMN transcribed_minutes_per_day INTEGER;
    ALTER TABLE keys ADD COLUMN tokens_per_day INTEGER;
    ALTER TABLE key_usage ADD COLUMN speech_characters INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE key_usage ADD COLUMN transcribed_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE key_usage ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
", "
    -- The search has Chinese in one script now: what was written in any is put into it again, as opening the history does.
    UPDATE turns SET shelved = 0 WHERE user_text GLOB '*[㐀-鿿]*' OR user_edit GLOB '*[㐀-鿿]*' OR reply_text GLOB '*[㐀-鿿]*'
        OR reply_edit GLOB '*[㐀-鿿]*' OR conversation IN (SELECT id FROM conversations WHERE title GLOB '*[㐀-鿿]*');
"];

/// Sets the connection up and brings the tables up to date.
pub fn prepare(connection: &mut Connection, path: &Path) -> Result<(), HistoryError> {
    let opened = |source| HistoryError::Open { path: path.to_owned(), source };
    // A writer that holds the file may be starved for seconds on a busy machine.
    connection.busy_timeout(Duration::from_secs(20)).map_err(opened)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(opened)?;
    // Whoever is to write waits for others that do, as keys are made and noted beside the history. A transaction that reads first and
    // then finds that somebody else has written would fail at once, however long it may wait.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let known = MIGRATIONS.len() as i64;
    let version = |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let mut found = version(connection).map_err(opened)?;
    while found < known {
        let transaction = connection.transaction().map_err(opened)?;
        // Another process may have brought it further meanwhile.
        found = version(&transaction).map_err(opened)?;
        let Some(migration) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found)) else { break };
        transaction.execute_batch(migration).map_err(opened)?;
        found += 1;
        transaction.pragma_update(None, "user_version", found).map_err(opened)?;
        transaction.commit().map_err(opened)?;
    }
    if found > known {
        return Err(HistoryError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}
