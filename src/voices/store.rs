//! The table of profiles. All queries are over at most [`PROFILES_MAX`] rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{PROFILES_MAX, VoiceError};
use crate::history::Viewer;

/// One profile as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub id: String,
    /// Whose key; none is the whole house.
    pub owner: Option<String>,
    pub name: String,
    /// Milliseconds since 1970, UTC. Consent was given at the same time.
    pub created_at: i64,
    pub duration_ms: i64,
    pub bandwidth_hz: u32,
    pub transcript: Option<String>,
    /// Whether the transcript is settled, also where there is none.
    pub is_transcribed: bool,
    pub stage: Stage,
}

/// How far the making of its voice is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    Waiting,
    Computing,
    /// The voice was computed by `engine` with `weights`, and lies in its file.
    Ready {
        engine: String,
        weights: String,
    },
    /// It could not be made with `weights`.
    Failed {
        reason: String,
        weights: String,
    },
}

const COLUMNS: &str =
    "id, owner, name, created_at, duration_ms, bandwidth_hz, transcript, transcribed, state, reason, engine, weights";
/// `?1` is the owner who looks; none sees all.
const VISIBLE: &str = "(?1 IS NULL OR owner = ?1)";

pub(super) struct Store(Connection);

impl Store {
    /// What was being computed when the process ended is to be computed.
    pub fn open(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute("UPDATE voices SET state = 'waiting' WHERE state = 'computing'", [])?;
        Ok(Self(connection))
    }

    pub fn ids(&self) -> rusqlite::Result<Vec<String>> {
        self.0.prepare_cached("SELECT id FROM voices")?.query_map([], |row| row.get(0))?.collect()
    }

    /// Refuses a name that is taken, and one profile too many.
    pub fn room_for(&self, owner: Option<&str>, name: &str) -> Result<(), VoiceError> {
        let count: i64 = self.0.query_row("SELECT count(*) FROM voices", [], |row| row.get(0))?;
        if count >= PROFILES_MAX as i64 {
            return Err(VoiceError::TooMany);
        }
        let taken = "SELECT 1 FROM voices WHERE coalesce(owner, '') = coalesce(?1, '') AND name = ?2 COLLATE NOCASE";
        match self.0.prepare_cached(taken)?.exists(params![owner, name])? {
            true => Err(VoiceError::NameTaken(name.to_owned())),
            false => Ok(()),
        }
    }

    pub fn insert(&self, profile: &Profile) -> Result<(), VoiceError> {
        self.room_for(profile.owner.as_deref(), &profile.name)?;
        let inserted = self.0.execute(
            "INSERT INTO voices (id, owner, name, created_at, consent_at, duration_ms, bandwidth_hz, transcript, transcribed)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8)",
            params![
                profile.id,
                profile.owner,
                profile.name,
                profile.created_at,
                profile.duration_ms,
                profile.bandwidth_hz,
                profile.transcript,
                profile.is_transcribed,
            ],
        );
        taken(inserted, &profile.name).map(drop)
    }

    pub fn list(&self, viewer: &Viewer) -> rusqlite::Result<Vec<Profile>> {
        let query = format!("SELECT {COLUMNS} FROM voices WHERE {VISIBLE} ORDER BY created_at, id");
        self.0.prepare_cached(&query)?.query_map([looking(viewer)], profile)?.collect()
    }

    pub fn profile(&self, viewer: &Viewer, id: &str) -> rusqlite::Result<Option<Profile>> {
        let query = format!("SELECT {COLUMNS} FROM voices WHERE {VISIBLE} AND id = ?2");
        self.0.prepare_cached(&query)?.query_row(params![looking(viewer), id], profile).optional()
    }

    pub fn rename(&self, viewer: &Viewer, id: &str, name: &str) -> Result<(), VoiceError> {
        let renamed = self.0.execute(
            &format!("UPDATE voices SET name = ?3 WHERE {VISIBLE} AND id = ?2"),
            params![looking(viewer), id, name],
        );
        taken(renamed, name).map(drop)
    }

    pub fn remove(&self, viewer: &Viewer, id: &str) -> rusqlite::Result<bool> {
        let query = format!("DELETE FROM voices WHERE {VISIBLE} AND id = ?2");
        Ok(self.0.execute(&query, params![looking(viewer), id])? > 0)
    }

    /// Whether the profile was still there.
    pub fn set_stage(&self, id: &str, stage: &Stage) -> rusqlite::Result<bool> {
        let (state, reason, engine, weights) = match stage {
            Stage::Waiting => ("waiting", None, None, None),
            Stage::Computing => ("computing", None, None, None),
            Stage::Ready { engine, weights } => ("ready", None, Some(engine), Some(weights)),
            Stage::Failed { reason, weights } => ("failed", Some(reason), None, Some(weights)),
        };
        let set = "UPDATE voices SET state = ?2, reason = ?3, engine = ?4, weights = ?5 WHERE id = ?1";
        Ok(self.0.execute(set, params![id, state, reason, engine, weights])? > 0)
    }

    pub fn set_transcript(&self, id: &str, transcript: Option<&str>) -> rusqlite::Result<bool> {
        let set = "UPDATE voices SET transcript = ?2, transcribed = 1 WHERE id = ?1";
        Ok(self.0.execute(set, params![id, transcript])? > 0)
    }
}

fn looking(viewer: &Viewer) -> Option<&str> {
    match viewer {
        Viewer::Everyone => None,
        Viewer::Owner(owner) => Some(owner),
    }
}

fn taken<T>(done: rusqlite::Result<T>, name: &str) -> Result<T, VoiceError> {
    done.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => VoiceError::NameTaken(name.to_owned()),
        _ => error.into(),
    })
}

fn profile(row: &Row<'_>) -> rusqlite::Result<Profile> {
    let state: String = row.get("state")?;
    let text = |column: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.unwrap_or_default());
    let stage = match state.as_str() {
        "computing" => Stage::Computing,
        "ready" => Stage::Ready { engine: text("engine")?, weights: text("weights")? },
        "failed" => Stage::Failed { reason: text("reason")?, weights: text("weights")? },
        _ => Stage::Waiting,
    };
    Ok(Profile {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        duration_ms: row.get("duration_ms")?,
        bandwidth_hz: row.get("bandwidth_hz")?,
        transcript: row.get("transcript")?,
        is_transcribed: row.get("transcribed")?,
        stage,
    })
}
