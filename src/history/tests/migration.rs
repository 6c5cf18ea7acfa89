//! Histories of older versions.

use super::*;

/// A file as the first version left it.
fn first_version(folder: &std::path::Path) -> Connection {
    let connection = Connection::open(folder.join("history.sqlite3")).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL;").unwrap();
    connection.execute_batch(schema::MIGRATIONS[0]).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
}

#[tokio::test]
async fn a_history_of_the_first_version_keeps_every_row_and_can_be_searched() {
    let folder = tempfile::tempdir().unwrap();
    let old = first_version(folder.path());
    std::fs::create_dir(folder.path().join("audio")).unwrap();
    std::fs::write(folder.path().join("audio/item_0.ogg"), [7; 1_000]).unwrap();
    old.execute_batch("BEGIN").unwrap();
    // More than are caught up at once, begun in another order than written.
    for n in 0..450_i64 {
        let (id, begun) = (format!("conv_{n}"), 1_000_000 - n);
        old.execute("INSERT INTO conversations VALUES (?1, ?2, ?2)", (&id, begun)).unwrap();
        for turn in 0..2_i64 {
            old.execute(
                "INSERT INTO turns (conversation, call, door, started_at, user_item, user_text, user_audio, user_ms, reply,
                                    reply_item, reply_text, reply_heard, reply_ms, timings)
                 VALUES (?1, 'rtc', 'webrtc', ?2, ?3, ?4, ?5, 2000, ?6, ?6, 'A reply.', 'A reply.', 1000, ?7)",
                rusqlite::params![
                    id,
                    begun + turn * 9_000,
                    format!("item_{n}"),
                    format!("question {n} 問題"),
                    (n == 0 && turn == 0).then_some("item_0.ogg"),
                    format!("resp_{n}_{turn}"),
                    r#"{"turn_commit_ms": 300.0, "first_packet_ms": 800.0}"#,
                ],
            )
            .unwrap();
        }
    }
    old.execute_batch("COMMIT").unwrap();
    drop(old);
    let history = History::open(folder.path()).unwrap();
    let everyone = Viewer::Everyone;
    let size = history.size(&everyone).unwrap();
    assert_eq!((size.conversations, size.turns, size.bytes), (450, 900, 1_000));
    let listed = history.conversations(&everyone, 450, None).unwrap();
    let ids: Vec<_> = (0..450).map(|n| format!("conv_{n}")).collect();
    assert_eq!(listed.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), ids, "newest first");
    assert_eq!((listed[0].turns, listed[0].preview.as_str()), (2, "question 0 問題"));
    let found = history.search(&everyone, &Query::read("question 77"), 10, None).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(history.search(&everyone, &Query::read("問題"), 1_000, None).unwrap().len(), 450);
    let turns = history.conversation(&everyone, "conv_7").unwrap().unwrap().turns;
    let starts = turns.iter().map(|turn| {
        (turn.user.as_ref().unwrap().starts_ms.unwrap(), turn.assistant.as_ref().unwrap().starts_ms.unwrap())
    });
    assert_eq!(starts.collect::<Vec<_>>(), [(0, 2_500), (9_000, 11_500)]);
    // And it goes on.
    let id = ConversationId::from_text("conv_7");
    history.keep(silent(&id, "And now?", "Now too.", 1_000)).await.unwrap();
    assert_eq!(history.conversation(&everyone, "conv_7").unwrap().unwrap().turns.len(), 3);
    let next = ConversationId::fresh();
    history.keep(silent(&next, "New", "New", 2_000)).await.unwrap();
    assert_eq!(history.conversations(&everyone, 1, None).unwrap()[0].id, next.as_str());
}

#[test]
fn a_catching_up_that_was_killed_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let old = first_version(folder.path());
    old.execute("INSERT INTO conversations VALUES ('conv_a', 1, 1)", ()).unwrap();
    let insert = "INSERT INTO turns (conversation, call, door, started_at, user_item, user_text, timings)
                  VALUES ('conv_a', 'rtc', 'webrtc', 1, 'item', 'late words', '{}')";
    old.execute(insert, ()).unwrap();
    drop(old);
    drop(History::open(folder.path()).unwrap());
    // As if it had been killed after the tables and before the rows.
    let killed = Connection::open(folder.path().join("history.sqlite3")).unwrap();
    killed.execute_batch("INSERT INTO search (search) VALUES ('delete-all'); UPDATE turns SET shelved = 0;").unwrap();
    drop(killed);
    let history = History::open(folder.path()).unwrap();
    assert_eq!(history.search(&Viewer::Everyone, &Query::read("late"), 10, None).unwrap().len(), 1);
}

#[tokio::test]
async fn what_an_older_version_put_into_the_search_is_found_in_either_script_afterwards() {
    let place = Place::new();
    let call = place.talk(&[("我要打電話", "好的"), ("hello", "hello")]).await;
    let titled = place.talk(&[("hello", "hello")]).await;
    place.history.rename(Viewer::Everyone, titled.clone(), Some("台灣電話".to_owned())).await.unwrap();
    let Place { history, folder } = place;
    drop(history);
    // As it was: each character as it was written, and the change of the tables yet to come.
    let old = Connection::open(folder.path().join("history.sqlite3")).unwrap();
    let rows: Vec<(i64, &str)> = {
        let mut statement =
            old.prepare("SELECT rowid FROM search WHERE search MATCH '\"电 话\"' ORDER BY rowid").unwrap();
        let found = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(Result::unwrap);
        found.zip(["我 要 打 電 話", "台 灣 電 話"]).collect()
    };
    assert_eq!(rows.len(), 2);
    for (row, text) in rows {
        old.execute("DELETE FROM search WHERE rowid = ?1", [row]).unwrap();
        old.execute("INSERT INTO search (rowid, shown, original) VALUES (?1, ?2, '')", (row, text)).unwrap();
    }
    let change = schema::MIGRATIONS.iter().find(|migration| migration.contains("GLOB")).unwrap();
    old.execute_batch(change).unwrap();
    let behind: i64 = old.query_row("SELECT count(*) FROM turns WHERE shelved = 0", [], |row| row.get(0)).unwrap();
    assert_eq!(behind, 2, "turns without a Chinese character are left as they are");
    drop(old);
    let place = Place { history: std::sync::Arc::new(History::open(folder.path()).unwrap()), folder };
    for typed in ["电话", "電話", "电話"] {
        assert_eq!(place.found(typed), [titled.as_str(), call.as_str()], "{typed}");
    }
}
