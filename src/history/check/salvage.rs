//! What can still be read of a damaged database, carried into a new one.

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::super::{HistoryError, schema};
use crate::data_folder::DataFolder;

/// Puts a new database with all rows that can be read in the place of the folder's, which is kept beside it.
pub fn carry_over(folder: &DataFolder) -> Result<(), HistoryError> {
    let path = &folder.database();
    let beside = |extension: &str| path.with_extension(extension);
    let fresh = beside("salvaged");
    let _ = std::fs::remove_file(&fresh);
    let opened = |source| HistoryError::Open { path: path.to_owned(), source };
    let old = folder.connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(opened)?;
    let mut new = folder.connect(&fresh, OpenFlags::default()).map_err(opened)?;
    schema::prepare(&mut new, &fresh)?;
    new.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = DELETE; BEGIN")?;
    for table in tables(&new)? {
        let columns = shared_columns(&old, &new, &table);
        if !columns.is_empty() {
            carry_table(&old, &new, &table, &columns)?;
        }
    }
    // Of a conversation whose own row could not be read, what its turns say.
    new.execute_batch(
        "INSERT OR IGNORE INTO conversations (id, created_at, updated_at)
             SELECT conversation, min(started_at), max(started_at) FROM turns GROUP BY conversation;
         UPDATE turns SET shelved = 0;",
    )?;
    drop_strays(&new)?;
    new.execute_batch("COMMIT")?;
    drop(new);
    drop(old);
    let write = |error: std::io::Error| HistoryError::Write(format!("{}: {error}", path.display()));
    let damaged = (0..).map(|n| beside(&format!("damaged-{n}"))).find(|path| !path.exists());
    let damaged = damaged.unwrap_or_else(|| beside("damaged"));
    // By a second name where the file system has such, so that there is a history at every moment.
    if std::fs::hard_link(path, &damaged).is_err() {
        std::fs::rename(path, &damaged).map_err(write)?;
    }
    for log in ["sqlite3-wal", "sqlite3-shm"] {
        let _ = std::fs::remove_file(beside(log));
    }
    std::fs::rename(&fresh, path).map_err(write)
}

/// What belongs to a row that could not be read goes with it.
fn drop_strays(new: &Connection) -> rusqlite::Result<()> {
    let mut statement = new.prepare("SELECT \"table\", rowid FROM pragma_foreign_key_check WHERE rowid IS NOT NULL")?;
    let strays: Vec<(String, i64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (table, row) in strays {
        new.execute(&format!("DELETE FROM {table} WHERE rowid = ?1"), [row])?;
    }
    Ok(())
}

/// The ordinary tables; those of the search are made anew.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn shared_columns(old: &Connection, new: &Connection, table: &str) -> Vec<String> {
    let (Ok(old), Ok(new)) = (columns(old, table), columns(new, table)) else { return Vec::new() };
    new.into_iter().filter(|column| old.contains(column)).collect()
}

/// From the first row on until one cannot be read, then from the last one back. A table without row numbers is read as it comes.
fn carry_table(old: &Connection, new: &Connection, table: &str, columns: &[String]) -> Result<(), HistoryError> {
    let names = columns.join(", ");
    let places = vec!["?"; columns.len()].join(", ");
    let mut insert = new.prepare(&format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"))?;
    for order in ["ORDER BY rowid ASC", "ORDER BY rowid DESC", ""] {
        // NOT INDEXED: an index may be what is damaged.
        let sql = format!("SELECT {names} FROM {table} NOT INDEXED {order}");
        let Ok(mut statement) = old.prepare(&sql) else { continue };
        let Ok(mut rows) = statement.query([]) else { continue };
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let values =
                        (0..columns.len()).map(|at| row.get::<_, Value>(at)).collect::<rusqlite::Result<Vec<_>>>();
                    if let Ok(values) = values {
                        // A row that no longer fits its table is one of the damaged.
                        let _ = insert.execute(params_from_iter(values));
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
    }
    Ok(())
}
