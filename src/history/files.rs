//! Which files belong to which turn, and how they are removed. The one place that knows: what deletes, exports, counts and checks
//! asks here.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use rusqlite::Connection;

/// A column that names files in the audio folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    pub table: &'static str,
    /// Its column with the turn's number.
    pub turn: &'static str,
    pub file: &'static str,
}

/// Every column that names files.
pub const SHELVES: &[Shelf] = &[
    Shelf { table: "turns", turn: "number", file: "user_audio" },
    Shelf { table: "turns", turn: "number", file: "reply_audio" },
];

/// The files of one conversation.
pub fn of_conversation(connection: &Connection, conversation: &str) -> rusqlite::Result<Vec<String>> {
    let mut files = Vec::new();
    for Shelf { table, turn, file } in SHELVES {
        let sql = format!(
            "SELECT {file} FROM {table} WHERE {turn} IN (SELECT number FROM turns WHERE conversation = ?1) AND {file} IS NOT NULL"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        for name in statement.query_map([conversation], |row| row.get(0))? {
            files.push(name?);
        }
    }
    Ok(files)
}

/// Every file that a row names.
pub fn of_all(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for Shelf { table, file, .. } in SHELVES {
        let mut statement = connection.prepare(&format!("SELECT {file} FROM {table} WHERE {file} IS NOT NULL"))?;
        for name in statement.query_map([], |row| row.get(0))? {
            files.insert(name?);
        }
    }
    Ok(files)
}

/// Makes the rows say that a file is not there.
pub fn forget(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    for Shelf { table, file, .. } in SHELVES {
        connection.execute(&format!("UPDATE {table} SET {file} = NULL WHERE {file} = ?1"), [name])?;
    }
    Ok(())
}

/// Whether a name, from a row that anybody may have written, is one of a file in the audio folder itself.
pub fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
}

/// Removes files of the audio folder; one that is gone already is no error. Gives how many bytes went, and the first error.
pub fn remove(audio: &Path, names: impl IntoIterator<Item = impl AsRef<str>>) -> (u64, io::Result<()>) {
    let (mut bytes, mut failed) = (0, Ok(()));
    for name in names.into_iter().filter(|name| is_plain(name.as_ref())) {
        let path = audio.join(name.as_ref());
        let length = path.symlink_metadata().map_or(0, |found| found.len());
        match std::fs::remove_file(&path) {
            Ok(()) => bytes += length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failed = failed.and(Err(error)),
        }
    }
    (bytes, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_none_of_its_files() {
        assert!(is_plain("item_1.ogg"));
        for name in ["", ".", "..", "../history.sqlite3", "/etc/passwd", "a/b.ogg"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
