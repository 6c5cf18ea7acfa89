//! Whether the history on disk is whole, and mending it: for `avatar doctor`.
//!
//! What can be wrong: a process was killed between a file and its row, or in the middle of a file; somebody removed files; a disk
//! gave back other bytes than it was given. Mending never makes anything up: a row whose recording is gone stays and says so, a
//! recording without a row goes, what can still be read of a damaged database is carried into a new one and the damaged one is kept.

mod salvage;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::write::Scribe;
use super::{HistoryError, audio_folder, files, schema, search};
use crate::data_folder::{DataFolder, is_sealed_file, lock};

/// A file this young may be one whose row is just being written.
const FRESH: Duration = Duration::from_secs(600);
/// Lines of SQLite's own check that are kept.
const DAMAGE_LINES: i64 = 20;

/// What is wrong with a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub turns: i64,
    /// Recordings that are there and belong to a turn.
    pub recordings: usize,
    /// What SQLite says of its file.
    pub damage: Vec<String>,
    /// Recordings that no turn knows.
    pub orphans: Vec<String>,
    /// Recordings that were begun and never finished.
    pub partials: Vec<String>,
    /// Recordings that a turn names and that are not there.
    pub missing: Vec<String>,
    /// Recordings that are there and are none.
    pub broken: Vec<String>,
    /// Texts that the search lacks, or has and should not.
    pub unsearchable: usize,
    /// Written by an older Avatar; brought up to date when the server starts.
    pub is_old: bool,
}

impl Findings {
    pub fn is_sound(&self) -> bool {
        let Self { turns: _, recordings: _, damage, orphans, partials, missing, broken, unsearchable, is_old: _ } =
            self;
        damage.is_empty() && [orphans, partials, missing, broken].into_iter().all(Vec::is_empty) && *unsearchable == 0
    }
}

/// Looks at the history in `folder` and changes nothing; `None` if there is none.
pub fn examine(folder: impl Into<DataFolder>, now: SystemTime) -> Result<Option<Findings>, HistoryError> {
    let folder = folder.into();
    let path = folder.database();
    if !path.is_file() {
        return Ok(None);
    }
    let opened = |source| HistoryError::Open { path: path.clone(), source };
    // Not read-only: that would leave the write-ahead log of a killed server lying about.
    let connection = folder.connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(opened)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(opened)?;
    look(&connection, &folder, now).map(Some)
}

fn look(connection: &Connection, folder: &DataFolder, now: SystemTime) -> Result<Findings, HistoryError> {
    let path = folder.database();
    let opened = |source| HistoryError::Open { path: path.clone(), source };
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(opened)?;
    let known = schema::MIGRATIONS.len() as i64;
    if version > known {
        return Err(HistoryError::Newer { path, found: version, known });
    }
    let mut found = Findings { damage: damage(connection)?, is_old: version < known, ..Findings::default() };
    // An older file lacks tables that are asked for here; a damaged one may not answer.
    if found.is_old || !found.damage.is_empty() {
        return Ok(found);
    }
    found.turns = connection.query_row("SELECT count(*) FROM turns", [], |row| row.get(0))?;
    found.unsearchable = unsearchable(connection)?;
    let named = files::of_all(connection)?;
    let there = listed(&audio_folder(folder))?;
    let is_fresh = |name: &str| {
        let since = there.get(name).and_then(|modified| now.duration_since(*modified).ok());
        since.is_none_or(|since| since < FRESH)
    };
    for name in there.keys().filter(|name| !named.contains(*name) && !is_fresh(name)) {
        match name.ends_with(".partial") {
            true => found.partials.push(name.clone()),
            false => found.orphans.push(name.clone()),
        }
    }
    for name in named {
        if !there.contains_key(&name) {
            found.missing.push(name);
        } else if is_recording(folder, &audio_folder(folder).join(&name)) {
            found.recordings += 1;
        } else {
            found.broken.push(name);
        }
    }
    Ok(found)
}

fn damage(connection: &Connection) -> Result<Vec<String>, HistoryError> {
    let mut lines = Vec::new();
    let mut check = || -> rusqlite::Result<()> {
        let mut statement = connection.prepare(&format!("PRAGMA integrity_check({DAMAGE_LINES})"))?;
        for line in statement.query_map([], |row| row.get::<_, String>(0))? {
            lines.push(line?);
        }
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        for table in statement.query_map([], |row| row.get::<_, String>(0))?.take(1) {
            lines.push(format!("rows of {} belong to nothing", table?));
        }
        Ok(())
    };
    if let Err(error) = check() {
        lines.push(error.to_string());
    }
    lines.retain(|line| line != "ok");
    Ok(lines)
}

/// How many rows the index lacks or has too many.
fn unsearchable(connection: &Connection) -> Result<usize, HistoryError> {
    let wanted: BTreeSet<i64> = search::wanted(connection)?.into_iter().collect();
    let mut statement = connection.prepare("SELECT id FROM search_docsize")?;
    let there: BTreeSet<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(wanted.symmetric_difference(&there).count())
}

/// The files of the audio folder that are of our making, and when they were written. Anything else in there is left alone.
fn listed(audio: &Path) -> Result<BTreeMap<String, SystemTime>, HistoryError> {
    let failed = |source| HistoryError::Folder { path: audio.to_owned(), source };
    let entries = match std::fs::read_dir(audio) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut there = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // One that has gone meanwhile is not there.
        let Ok(found) = entry.metadata() else { continue };
        if found.is_file() && (name.ends_with(".ogg") || name.ends_with(".partial")) {
            there.insert(name, found.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        }
    }
    Ok(there)
}

/// Whether a file begins as our recordings do. One that is encrypted with another key may be one.
fn is_recording(folder: &DataFolder, path: &Path) -> bool {
    let mut magic = [0; 4];
    match folder.read(path) {
        Ok(mut stored) => stored.read_exact(&mut magic).is_ok() && &magic == b"OggS",
        Err(_) => is_sealed_file(path).unwrap_or(false),
    }
}

/// Mends what [`examine`] finds, and gives what is still wrong then. Refuses while a server has the history open.
pub fn repair(folder: impl Into<DataFolder>, now: SystemTime) -> Result<Findings, HistoryError> {
    let folder = &folder.into();
    let path = folder.database();
    let mut connection = open_alone(folder)?;
    let mut is_salvaged = false;
    if !damage(&connection)?.is_empty() {
        // Often it is an index alone.
        let _ = connection.execute_batch("INSERT INTO search (search) VALUES ('delete-all'); REINDEX");
        let _ = connection.execute_batch("UPDATE turns SET shelved = 0");
        if !damage(&connection)?.is_empty() {
            drop(connection);
            salvage::carry_over(folder)?;
            is_salvaged = true;
            connection = open_alone(folder)?;
        }
    }
    schema::prepare(&mut connection, &path)?;
    let audio = audio_folder(folder);
    let mut scribe = Scribe::new(connection, folder.clone());
    scribe.catch_up()?;
    let found = look(&scribe.connection, folder, now)?;
    let transaction = scribe.connection.transaction()?;
    files::forget(&transaction, found.missing.iter().chain(&found.broken))?;
    transaction.commit()?;
    let failed = |source| HistoryError::Folder { path: audio.clone(), source };
    let useless = found.partials.iter().chain(&found.broken);
    match is_salvaged {
        // Their turns may be among what could not be read: they are put aside, for their owner to listen to.
        true => put_aside(&audio, &folder.path().join("lost"), &found.orphans).map_err(failed)?,
        false => files::remove(&audio, &found.orphans).1.map_err(failed)?,
    }
    files::remove(&audio, useless).1.map_err(failed)?;
    if found.unsearchable > 0 {
        scribe.forget_search()?;
    }
    scribe.catch_up()?;
    scribe.connection.execute_batch(
        "UPDATE conversations SET (turns, audio_bytes) =
             (SELECT count(*), coalesce(sum(audio_bytes), 0) FROM turns WHERE conversation = conversations.id)",
    )?;
    look(&scribe.connection, folder, now)
}

fn put_aside(audio: &Path, lost: &Path, names: &[String]) -> std::io::Result<()> {
    if !names.is_empty() {
        std::fs::create_dir_all(lost)?;
    }
    names.iter().try_for_each(|name| std::fs::rename(audio.join(name), lost.join(name)))
}

/// The history for this process alone.
fn open_alone(folder: &DataFolder) -> Result<Connection, HistoryError> {
    let path = folder.database();
    let opened = |source| HistoryError::Open { path: path.clone(), source };
    let connection = folder.connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(opened)?;
    match lock(&connection) {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Err(HistoryError::InUse),
        // A damaged one may not let itself be locked: that is what is to be mended.
        _ => Ok(connection),
    }
}

#[cfg(test)]
mod tests;
