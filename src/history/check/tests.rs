//! Folders that are really damaged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use signaling::line::ConversationId;

use super::super::tests::{Place, silent, turn};
use super::super::{History, Query, Viewer};
use super::*;
use crate::call::record::Keeper;
use crate::data_folder::DATABASE;

/// Two turns with sound and some without.
async fn lived_in() -> tempfile::TempDir {
    let Place { history, folder } = Place::new();
    for n in 0..2 {
        history.keep(turn(&ConversationId::fresh(), "What's the weather like?", 1_000 + n)).await.unwrap();
    }
    for n in 0..40 {
        let text = format!("Question {n} {}", "and so on ".repeat(200));
        history.keep(silent(&ConversationId::fresh(), &text, "Yes.", 2_000 + n)).await.unwrap();
    }
    folder
}

/// Long after whatever the test wrote.
fn later() -> SystemTime {
    SystemTime::now() + 10 * FRESH
}

fn look_at(folder: &Path) -> Findings {
    examine(folder, later()).unwrap().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    listed(&folder.join("audio")).unwrap().into_keys().collect()
}

#[tokio::test]
async fn a_whole_history_is_sound_and_left_as_it_is() {
    let folder = lived_in().await;
    let found = look_at(folder.path());
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.turns, found.recordings), (42, 4));
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["audio", "history.sqlite3"], "looking left something behind");
    assert_eq!(repair(folder.path(), later()).unwrap(), found);
    assert!(examine(&folder.path().join("nowhere"), later()).unwrap().is_none());
}

#[tokio::test]
async fn files_that_a_killed_process_left_are_found_and_removed_and_foreign_ones_are_not() {
    let folder = lived_in().await;
    let audio = folder.path().join("audio");
    for name in ["item_orphan.ogg", "item_half.partial", "notes.txt"] {
        std::fs::write(audio.join(name), b"OggS and so on").unwrap();
    }
    // While it is fresh it may be a turn that is being written.
    assert!(examine(folder.path(), SystemTime::now()).unwrap().unwrap().is_sound());
    let found = look_at(folder.path());
    assert_eq!(
        (found.orphans, found.partials),
        (vec!["item_orphan.ogg".to_owned()], vec!["item_half.partial".to_owned()])
    );
    assert!(repair(folder.path(), later()).unwrap().is_sound());
    assert_eq!(names(folder.path()).len(), 4);
    assert!(audio.join("notes.txt").exists());
}

#[tokio::test]
async fn recordings_that_are_gone_or_are_none_are_told_and_their_texts_stay() {
    let folder = lived_in().await;
    let audio = folder.path().join("audio");
    let recordings = names(folder.path());
    std::fs::remove_file(audio.join(&recordings[0])).unwrap();
    std::fs::write(audio.join(&recordings[1]), b"").unwrap();
    let found = look_at(folder.path());
    assert_eq!((&found.missing, &found.broken), (&vec![recordings[0].clone()], &vec![recordings[1].clone()]));
    let mended = repair(folder.path(), later()).unwrap();
    assert!(mended.is_sound(), "{mended:?}");
    assert_eq!((mended.turns, mended.recordings), (42, 2));
    let history = History::open(folder.path()).unwrap();
    assert_eq!(history.search(&Viewer::Everyone, &Query::read("weather"), 10, None).unwrap().len(), 2);
    let size = history.size(&Viewer::Everyone).unwrap();
    let bytes: u64 = names(folder.path()).iter().map(|name| audio.join(name).metadata().unwrap().len()).sum();
    assert_eq!(size.bytes as u64, bytes);
}

#[tokio::test]
async fn a_history_whose_recordings_are_all_gone_keeps_its_texts() {
    let folder = lived_in().await;
    std::fs::remove_dir_all(folder.path().join("audio")).unwrap();
    assert_eq!(look_at(folder.path()).missing.len(), 4);
    let mended = repair(folder.path(), later()).unwrap();
    assert_eq!((mended.is_sound(), mended.turns, mended.recordings), (true, 42, 0));
    let history = History::open(folder.path()).unwrap();
    assert_eq!(history.size(&Viewer::Everyone).unwrap().bytes, 0);
}

#[tokio::test]
async fn a_search_that_lost_rows_or_has_too_many_is_made_anew() {
    let folder = lived_in().await;
    let database = Connection::open(folder.path().join(DATABASE)).unwrap();
    let some = "DELETE FROM search WHERE rowid IN (SELECT id FROM search_docsize ORDER BY id LIMIT 3)";
    assert_eq!(database.execute(some, ()).unwrap(), 3);
    database.execute("INSERT INTO search (rowid, shown, original) VALUES (7, 'ghost', '')", ()).unwrap();
    drop(database);
    assert_eq!(look_at(folder.path()).unsearchable, 4);
    assert!(repair(folder.path(), later()).unwrap().is_sound());
    let history = History::open(folder.path()).unwrap();
    assert_eq!(history.search(&Viewer::Everyone, &Query::read("weather"), 10, None).unwrap().len(), 2);
}

/// Overwrites pages of the database that hold rows.
fn overwrite(path: &Path, from: usize, pages: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let range = from * page..((from + pages) * page).min(bytes.len());
    bytes[range].fill(0xA5);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn of_a_database_with_overwritten_pages_the_readable_rows_are_carried_over_and_the_old_file_is_kept() {
    let folder = lived_in().await;
    let path = folder.path().join(DATABASE);
    let pages: Vec<usize> = {
        let database = Connection::open(&path).unwrap();
        let mut statement = database
            .prepare("SELECT pageno FROM dbstat WHERE name = 'turns' AND pagetype = 'leaf' ORDER BY pageno")
            .unwrap();
        statement.query_map((), |row| row.get::<_, i64>(0)).unwrap().map(|page| page.unwrap() as usize).collect()
    };
    assert!(pages.len() > 6, "{pages:?}");
    overwrite(&path, pages[pages.len() / 2] - 1, 1);
    let found = look_at(folder.path());
    assert!(!found.damage.is_empty());
    let mended = repair(folder.path(), later()).unwrap();
    assert!(mended.is_sound(), "{mended:?}");
    assert!((30..42).contains(&mended.turns), "{} of 42 turns", mended.turns);
    assert!(folder.path().join("history.damaged-0").exists());
    let history = History::open(folder.path()).unwrap();
    assert!(history.search(&Viewer::Everyone, &Query::read("question"), 1_000, None).unwrap().len() >= 28);
}

#[tokio::test]
async fn turns_whose_conversation_was_lost_get_one_again() {
    let folder = lived_in().await;
    let database = Connection::open(folder.path().join(DATABASE)).unwrap();
    database.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM conversations WHERE seq <= 2").unwrap();
    drop(database);
    assert!(!look_at(folder.path()).damage.is_empty());
    let mended = repair(folder.path(), later()).unwrap();
    assert_eq!((mended.is_sound(), mended.turns, mended.recordings), (true, 42, 4), "{mended:?}");
    let history = History::open(folder.path()).unwrap();
    let listed = history.conversations(&Viewer::Everyone, 100, None).unwrap();
    assert_eq!((listed.len(), listed.iter().map(|one| one.turns).sum::<i64>()), (42, 42));
    assert_eq!(history.search(&Viewer::Everyone, &Query::read("weather"), 10, None).unwrap().len(), 2);
}

#[tokio::test]
async fn of_a_file_that_is_no_database_any_more_the_recordings_are_put_aside() {
    let folder = lived_in().await;
    let path = folder.path().join(DATABASE);
    overwrite(&path, 0, 100_000 / 4_096);
    assert!(examine(folder.path(), later()).is_err());
    let mended = repair(folder.path(), later()).unwrap();
    assert_eq!((mended.turns, mended.is_sound()), (0, true));
    assert_eq!(std::fs::read_dir(folder.path().join("lost")).unwrap().count(), 4);
    assert!(History::open(folder.path()).is_ok());
}

#[tokio::test]
async fn nothing_is_repaired_under_a_running_server() {
    let folder = lived_in().await;
    let history = History::open(folder.path()).unwrap();
    assert!(matches!(repair(folder.path(), later()), Err(HistoryError::InUse)));
    drop(history);
    assert!(repair(folder.path(), later()).is_ok());
}
