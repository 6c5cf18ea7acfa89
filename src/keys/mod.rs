//! Keys that are given out: made, listed and revoked with `avatar keys`, looked up by a running server.
//!
//! Only a SHA-256 of each key is stored. A key is 244 random bits, which nobody finds by trying, however fast each try is; the slow
//! hashes that passwords need would only slow the server. A key carries its own id, so that looking it up tells nothing by its
//! time: the row is found by the id, which is no secret, and the hashes are compared in constant time. A key that is made or
//! revoked counts at the next request, since nothing is remembered here.

mod ledger;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use signaling::grant::Grant;
use signaling::http::keys::{BookError, KeyBook};
use signaling::secret::Secret;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use self::ledger::{Entry, Ledger};
use crate::call::allowance::{Meter, Usage};
use crate::data_folder::DataFolder;
use crate::history::{HistoryError, milliseconds, open_database};

/// What every key that is given out begins with, so that people and scanners of source code know one when they see it.
pub const PREFIX: &str = "sk-avatar-";
/// Letters of a key's id.
const ID_LENGTH: usize = 12;
/// Longest name, characters.
const NAME_LIMIT: usize = 60;
const DAY_MS: i64 = 86_400_000;

/// Why a key cannot be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the keys cannot be read or written: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("a key needs a name of 1 to {NAME_LIMIT} characters, without line breaks, to tell it from others")]
    Name,
    #[error("a key's {0} must be at least 1; leave it out for what the server allows each key")]
    Zero(&'static str),
    #[error("there is no key `{0}`; `avatar keys list` shows the ids")]
    Unknown(String),
    #[error("the key cannot expire that late; choose a shorter time")]
    Expiry,
}

/// What a new key is to be.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub name: String,
    /// How long it is valid; for ever if `None`.
    pub valid: Option<Duration>,
    pub calls: Option<u16>,
    pub requests_per_minute: Option<u32>,
    pub talk_minutes_per_day: Option<u32>,
    pub speech_characters_per_day: Option<u32>,
    pub transcribed_minutes_per_day: Option<u32>,
    pub tokens_per_day: Option<u32>,
}

/// A key as it is listed. Times are milliseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub grant: Grant,
    pub name: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

impl Listed {
    /// Whether it opens anything at `now`.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| expires > milliseconds(now))
    }
}

/// The keys of one data folder.
pub struct KeyStore {
    connection: Mutex<Connection>,
    ledger: Ledger,
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStore")
    }
}

impl KeyStore {
    /// Beside whatever else has the folder's database open, in this process or another.
    pub fn open(folder: impl Into<DataFolder>) -> Result<Self, HistoryError> {
        let folder = folder.into();
        let ledger = Ledger::start(open_database(&folder)?)?;
        Ok(Self { connection: Mutex::new(open_database(&folder)?), ledger })
    }

    /// Makes a key: its id, and the key, which cannot be shown again.
    pub fn create(&self, wanted: &Wanted, now: SystemTime) -> Result<(String, Secret), KeysError> {
        let name = wanted.name.trim();
        if name.is_empty() || name.chars().count() > NAME_LIMIT || name.chars().any(char::is_control) {
            return Err(KeysError::Name);
        }
        let zeros = [
            ("calls", wanted.calls == Some(0)),
            ("requests per minute", wanted.requests_per_minute == Some(0)),
            ("minutes of talk", wanted.talk_minutes_per_day == Some(0)),
            ("characters of speech", wanted.speech_characters_per_day == Some(0)),
            ("minutes of recordings", wanted.transcribed_minutes_per_day == Some(0)),
            ("tokens", wanted.tokens_per_day == Some(0)),
        ];
        if let Some((what, _)) = zeros.iter().find(|(_, is_zero)| *is_zero) {
            return Err(KeysError::Zero(what));
        }
        let created = milliseconds(now);
        let expires = match wanted.valid {
            None => None,
            Some(valid) => {
                let valid = i64::try_from(valid.as_millis()).map_err(|_| KeysError::Expiry)?;
                Some(created.checked_add(valid).filter(|at| rfc3339(*at).is_some()).ok_or(KeysError::Expiry)?)
            }
        };
        let id: String = Uuid::new_v4().simple().to_string().chars().take(ID_LENGTH).collect();
        let key = format!("{PREFIX}{id}-{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.lock().execute(
            "INSERT INTO keys (id, name, hash, created_at, expires_at, calls, requests_per_minute, talk_minutes_per_day,
                               speech_characters_per_day, transcribed_minutes_per_day, tokens_per_day)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                id,
                name,
                &hash(&key)[..],
                created,
                expires,
                wanted.calls,
                wanted.requests_per_minute,
                wanted.talk_minutes_per_day,
                wanted.speech_characters_per_day,
                wanted.transcribed_minutes_per_day,
                wanted.tokens_per_day
            ],
        )?;
        Ok((id, Secret::new(key)))
    }

    /// All that were ever made, oldest first.
    pub fn list(&self) -> Result<Vec<Listed>, KeysError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT * FROM keys ORDER BY created_at, id")?;
        let rows = statement.query_map([], listed)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Ends a key, and with it the client secrets that it minted. What was made with it stays.
    pub fn revoke(&self, id: &str, now: SystemTime) -> Result<Listed, KeysError> {
        let connection = self.lock();
        connection.execute(
            "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
            params![id, milliseconds(now)],
        )?;
        let found = connection.query_row("SELECT * FROM keys WHERE id = ?1", [id], listed).optional()?;
        found.ok_or_else(|| KeysError::Unknown(id.chars().take(64).collect()))
    }

    /// The row of that id, with its hash, if the key is valid at `now`.
    fn valid(&self, id: &str, now: SystemTime) -> Result<Option<(Grant, Vec<u8>)>, BookError> {
        let found = self
            .lock()
            .prepare_cached(
                "SELECT * FROM keys WHERE id = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
            )
            .and_then(|mut statement| {
                let row = |row: &Row<'_>| Ok((listed(row)?.grant, row.get("hash")?));
                statement.query_row(params![id, milliseconds(now)], row).optional()
            });
        found.map_err(unreadable)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyBook for KeyStore {
    fn has_keys(&self) -> Result<bool, BookError> {
        let connection = self.lock();
        let asked = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM keys)");
        asked.and_then(|mut statement| statement.query_row([], |row| row.get(0))).map_err(unreadable)
    }

    fn find(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, BookError> {
        let presented = hash(token);
        let Some((id, _)) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else { return Ok(None) };
        if id.len() != ID_LENGTH {
            return Ok(None);
        }
        let Some((grant, stored)) = self.valid(id, now)? else { return Ok(None) };
        if !bool::from(stored.ct_eq(&presented[..])) {
            return Ok(None);
        }
        self.ledger.used(&grant.key, milliseconds(now));
        Ok(Some(grant))
    }

    fn grant(&self, key: &str, now: SystemTime) -> Result<Option<Grant>, BookError> {
        Ok(self.valid(key, now)?.map(|(grant, _)| grant))
    }
}

impl Meter for KeyStore {
    fn used(&self, key: &str, now: SystemTime) -> Usage {
        let connection = self.lock();
        let asked = connection.prepare_cached(
            "SELECT talk_ms, speech_characters, transcribed_ms, tokens FROM key_usage WHERE key = ?1 AND day = ?2",
        );
        let found = asked.and_then(|mut statement| {
            let day = milliseconds(now) / DAY_MS;
            statement.query_row(params![key, day], usage).optional()
        });
        let used = found.unwrap_or_else(|error| {
            tracing::error!(%error, "what a key has used cannot be read");
            None
        });
        used.unwrap_or_default()
    }

    fn add(&self, key: &str, now: SystemTime, usage: Usage) {
        self.ledger.write(Entry::Spent { key: key.to_owned(), day: milliseconds(now) / DAY_MS, usage });
    }
}

fn usage(row: &Row<'_>) -> rusqlite::Result<Usage> {
    let amount = |column: &str| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0));
    Ok(Usage {
        talk: Duration::from_millis(amount("talk_ms")?),
        speech_characters: amount("speech_characters")?,
        transcribed: Duration::from_millis(amount("transcribed_ms")?),
        tokens: amount("tokens")?,
    })
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let grant = Grant {
        key: row.get("id")?,
        calls: row.get("calls")?,
        requests_per_minute: row.get("requests_per_minute")?,
        talk_minutes_per_day: row.get("talk_minutes_per_day")?,
        speech_characters_per_day: row.get("speech_characters_per_day")?,
        transcribed_minutes_per_day: row.get("transcribed_minutes_per_day")?,
        tokens_per_day: row.get("tokens_per_day")?,
    };
    Ok(Listed {
        grant,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.get("revoked_at")?,
        last_used_at: row.get("last_used_at")?,
    })
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn unreadable(error: rusqlite::Error) -> BookError {
    BookError(error.to_string())
}

/// `None` for a time that no calendar has.
pub fn rfc3339(milliseconds: i64) -> Option<String> {
    let format = &time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1_000)).ok()?;
    at.format(format).ok()
}

#[cfg(test)]
mod tests;
