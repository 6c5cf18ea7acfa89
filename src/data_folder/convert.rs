//! A data folder from one key to another, or to none, or from none: while no server has it open.
//!
//! Recordings first, each whole or as it was; then the database, written anew beside the old one and put in its place. Stopped at any
//! moment, it goes on where it was when it is asked for again.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    DATABASE, DataKey, KeyError, Kind, MARKER, Marker, database_kind, files, is_sealed_file, lock, mark, marker, open,
};

/// The folders whose files are encrypted.
const KEPT: [&str; 3] = ["audio", "voices", "lost"];

/// Why a folder could not be converted. What was done stays done, and can be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{} cannot be converted: {source}; mend that and run the command again", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the database cannot be converted: {0}; `avatar doctor` tells more")]
    Database(#[from] rusqlite::Error),
    #[error("the history is open elsewhere; stop Avatar first")]
    InUse,
    #[error("the database opens with neither key: it is damaged, or encrypted with a third")]
    NoKeyFits,
}

/// What was converted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Files, the database among them.
    pub changed: usize,
    /// Files that no key opens to their end; they are left as they are.
    pub damaged: Vec<PathBuf>,
}

/// Converts `folder` from the key `from` to the key `to`, where `None` is readable by anybody. `told` is given how many files are done,
/// of how many.
pub fn convert(
    folder: &Path,
    from: Option<&DataKey>,
    to: Option<&DataKey>,
    told: &mut dyn FnMut(usize, usize),
) -> Result<Converted, ConvertError> {
    let database = alone(folder, from, to)?;
    if let Some(Marker { wanted, .. }) = marker(folder)? {
        // Nothing is begun that could not be finished.
        let ours = [from, to].into_iter().flatten().map(DataKey::recipient).collect::<Vec<_>>();
        if !ours.contains(&wanted) {
            let folder = folder.to_owned();
            return Err(match ours.into_iter().next() {
                Some(found) => KeyError::Wrong { folder, wanted, found },
                None => KeyError::Missing { folder, wanted },
            }
            .into());
        }
    }
    let path = folder.join(MARKER);
    if let Some(key) = to.or(from) {
        // From now on no server takes what it cannot read for damaged.
        mark(folder, key, true).map_err(at(&path))?;
    }
    let kept = files_of(folder)?;
    let mut converted = Converted::default();
    for (done, path) in kept.iter().enumerate() {
        told(done, kept.len());
        match convert_file(path, from, to) {
            Ok(is_changed) => converted.changed += usize::from(is_changed),
            Err(error) if is_damage(&error) => converted.damaged.push(path.clone()),
            Err(error) => return Err(at(path)(error)),
        }
    }
    told(kept.len(), kept.len());
    if let Some(database) = database {
        converted.changed += usize::from(convert_database(folder, database, to)?);
    }
    match to {
        Some(key) => mark(folder, key, false).map_err(at(&path))?,
        None if path.is_file() => fs::remove_file(&path).map_err(at(&path))?,
        None => {}
    }
    Ok(converted)
}

fn at(path: &Path) -> impl Fn(io::Error) -> ConvertError {
    let path = path.to_owned();
    move |source| ConvertError::File { path: path.clone(), source }
}

/// Whether it is the file that is at fault, and not the disk.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Every file that is to be converted.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ConvertError> {
    let mut found = Vec::new();
    let mut folders: VecDeque<PathBuf> =
        KEPT.iter().map(|name| folder.join(name)).filter(|path| path.is_dir()).collect();
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            // What a link leads to is not the folder's own.
            let kind = entry.file_type().map_err(at(&entry.path()))?;
            if kind.is_dir() {
                folders.push_back(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Says whether there was anything to do.
fn convert_file(path: &Path, from: Option<&DataKey>, to: Option<&DataKey>) -> io::Result<bool> {
    let is_done = match to {
        Some(to) => is_sealed_file(path)? && open(path, Some(to)).is_ok(),
        None => !is_sealed_file(path)?,
    };
    if is_done {
        return Ok(false);
    }
    let mut content = open(path, from)?;
    files::write(path, to, |out| io::copy(&mut content, out).map(drop))?;
    Ok(true)
}

/// An open database, and whether it is opened with the key that it is to have.
struct Database {
    connection: Connection,
    is_done: bool,
}

/// The database for this process alone, by whichever key opens it; `None` if there is none.
fn alone(folder: &Path, from: Option<&DataKey>, to: Option<&DataKey>) -> Result<Option<Database>, ConvertError> {
    let Some(kind) = database_kind(folder)? else { return Ok(None) };
    for (key, is_done) in [(to, true), (from, false)] {
        if key.is_none() != (kind == Kind::Readable) {
            continue;
        }
        // Flags that let it attach a new one.
        let connection = Connection::open_with_flags(folder.join(DATABASE), OpenFlags::default())?;
        if let Some(key) = key {
            key.unlock(&connection)?;
        }
        match lock(&connection) {
            Ok(()) => return Ok(Some(Database { connection, is_done })),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Err(ConvertError::InUse);
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ConvertError::NoKeyFits)
}

/// Says whether there was anything to do.
fn convert_database(folder: &Path, database: Database, to: Option<&DataKey>) -> Result<bool, ConvertError> {
    let Database { connection, is_done } = database;
    if is_done {
        return Ok(false);
    }
    let (path, fresh) = (folder.join(DATABASE), folder.join("history.converting"));
    if fresh.exists() {
        fs::remove_file(&fresh).map_err(at(&fresh))?;
    }
    // The lengths of recordings have changed: they are counted anew at the next start, where there is such a count.
    let counted =
        connection
            .query_row("SELECT count(*) FROM pragma_table_info('turns') WHERE name = 'shelved'", [], |row| row.get(0));
    if counted.unwrap_or(0) > 0 {
        connection.execute_batch("UPDATE turns SET shelved = 0")?;
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let key = to.map_or("", DataKey::of_database);
    connection.execute("ATTACH DATABASE ?1 AS fresh KEY ?2", [fresh.to_string_lossy().as_ref(), key])?;
    connection.query_row("SELECT sqlcipher_export('fresh')", [], |_| Ok(()))?;
    connection.execute_batch(&format!("PRAGMA fresh.user_version = {version}; DETACH DATABASE fresh"))?;
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(at(&fresh))?;
    // Nothing that is still in the old one's log may be played into the new one.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(connection);
    for log in ["history.sqlite3-wal", "history.sqlite3-shm"].map(|log| folder.join(log)) {
        if log.exists() {
            fs::remove_file(&log).map_err(at(&log))?;
        }
    }
    fs::rename(&fresh, &path).map_err(at(&path))?;
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    Ok(true)
}
