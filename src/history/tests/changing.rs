//! Titles, edits, deletion.

use super::*;
use crate::call::attendance::{Change, Told};
use crate::history::news::{Heard, HistoryNews, NEWS_BOUND, News};

#[tokio::test]
async fn an_edit_stands_beside_the_original_and_is_what_is_recalled() {
    let place = Place::new();
    let id = place.talk(&[("My name is Aida.", "Hello Aida.")]).await;
    let number = place.shown(&id).turns[0].number;
    let edit = |user: Edit, assistant: Edit| place.history.edit(Viewer::Everyone, id.clone(), number, user, assistant);
    let (index, edited) = edit(Some(Some("My name is Ada.".to_owned())), None).await.unwrap().unwrap();
    assert_eq!(index, 0);
    let user = edited.user.unwrap();
    assert_eq!((user.text.as_str(), user.edit.as_deref()), ("My name is Aida.", Some("My name is Ada.")));
    edit(None, Some(Some("Hello Ada.".to_owned()))).await.unwrap().unwrap();
    let said = |items: Vec<Item>| items.into_iter().map(|item| item.text).collect::<Vec<_>>();
    let recalled = place.history.recall(&ConversationId::from_text(&*id)).await.unwrap();
    assert_eq!(said(recalled), ["My name is Ada.", "Hello Ada."]);
    assert_eq!(place.history.conversations(&Viewer::Everyone, 1, None).unwrap()[0].preview, "My name is Ada.");
    // Taken back, and edited to what it was.
    edit(Some(None), Some(Some("Hello Aida.".to_owned()))).await.unwrap().unwrap();
    let turn = &place.shown(&id).turns[0];
    assert_eq!((&turn.user.as_ref().unwrap().edit, &turn.assistant.as_ref().unwrap().edit), (&None, &None));
    let recalled = place.history.recall(&ConversationId::from_text(&*id)).await.unwrap();
    assert_eq!(said(recalled), ["My name is Aida.", "Hello Aida."]);
}

#[tokio::test]
async fn a_side_that_was_never_said_cannot_be_edited_and_nothing_changes() {
    let place = Place::new();
    let conversation = ConversationId::fresh();
    let mut record = silent(&conversation, "Hello?", "", 1_000);
    record.answer = None;
    place.history.keep(record).await.unwrap();
    let (user, assistant) = (Some(Some("Hi".to_owned())), Some(Some("Hi".to_owned())));
    let id = conversation.as_str().to_owned();
    let refused = place.history.edit(Viewer::Everyone, id.clone(), 1, user, assistant).await;
    assert!(matches!(refused, Err(HistoryError::NothingSaid(Side::Assistant))), "{refused:?}");
    assert_eq!(place.shown(&id).turns[0].user.as_ref().unwrap().edit, None, "half of it was done");
}

#[tokio::test]
async fn a_deleted_conversation_leaves_no_row_no_file_and_nothing_to_find() {
    let place = Place::new();
    let (gone, stays) = (ConversationId::fresh(), ConversationId::fresh());
    for id in [&gone, &stays] {
        place.history.keep(turn(id, "What's the weather like?", 1_000)).await.unwrap();
        let title = Some("Weather".to_owned());
        place.history.rename(Viewer::Everyone, id.as_str().to_owned(), title).await.unwrap();
    }
    assert_eq!(place.recordings(), 4);
    assert!(place.history.delete(Viewer::Everyone, gone.as_str().to_owned()).await.unwrap());
    assert!(!place.history.delete(Viewer::Everyone, gone.as_str().to_owned()).await.unwrap());
    assert_eq!(place.recordings(), 2);
    assert_eq!(place.found("weather"), [stays.as_str()]);
    assert!(place.history.conversation(&Viewer::Everyone, gone.as_str()).unwrap().is_none());
    let size = place.history.size(&Viewer::Everyone).unwrap();
    assert_eq!((size.conversations, size.turns), (1, 1));
    assert!(size.bytes > 1_000, "{size:?}");
    let now = SystemTime::now() + Duration::from_secs(86_400);
    assert!(check::examine(place.folder.path(), now).unwrap().unwrap().is_sound());
}

#[tokio::test]
async fn a_conversation_that_is_deleted_in_mid_call_begins_anew_with_the_next_turn() {
    let place = Place::new();
    let id = ConversationId::fresh();
    place.history.keep(silent(&id, "one", "one", 1_000)).await.unwrap();
    place.history.delete(Viewer::Everyone, id.as_str().to_owned()).await.unwrap();
    place.history.keep(silent(&id, "two", "two", 1_010)).await.unwrap();
    let shown = place.shown(id.as_str());
    assert_eq!((shown.turns.len(), shown.created_at), (1, 1_010_000));
    assert_eq!((place.found("one").len(), place.found("two").len()), (0, 1));
}

#[tokio::test]
async fn both_sides_stand_on_one_time_line_and_a_cut_reply_ends_where_it_was_cut() {
    let place = Place::new();
    let id = ConversationId::fresh();
    let first = turn(&id, "one", 1_000);
    let reply = first.answer.as_ref().unwrap().reply.clone();
    place.history.keep(first).await.unwrap();
    // 1 s, 413 ms, 1 s.
    assert_eq!(place.shown(id.as_str()).duration_ms, 2_413);
    let played = Duration::from_millis(300);
    place.history.amend(Amendment { reply, heard: "It".to_owned(), interrupted: true, played }).await.unwrap();
    assert_eq!(place.shown(id.as_str()).duration_ms, 1_713);
    place.history.keep(turn(&id, "two", 1_002)).await.unwrap();
    let shown = place.shown(id.as_str());
    let starts = |turn: &StoredTurn| {
        (turn.user.as_ref().unwrap().starts_ms.unwrap(), turn.assistant.as_ref().unwrap().starts_ms.unwrap())
    };
    assert_eq!((starts(&shown.turns[0]), starts(&shown.turns[1])), ((0, 1_413), (2_000, 3_413)));
    assert_eq!((shown.turns[0].played_ms, shown.turns[1].played_ms), (Some(300), None));
    assert_eq!(shown.duration_ms, 4_413);
}

#[tokio::test]
async fn a_call_hears_what_is_changed_of_its_own_conversation_and_of_no_other() {
    let place = Place::new();
    let (id, other) = (ConversationId::fresh(), ConversationId::fresh());
    for conversation in [&id, &other] {
        place.history.keep(silent(conversation, "My name is Aida.", "Hello Aida.", 1_000)).await.unwrap();
    }
    let mut call = place.history.attend(&id);
    let edit = |conversation: &ConversationId, number: i64, user: Option<&str>, assistant: Edit| {
        let user = Some(user.map(str::to_owned));
        place.history.edit(Viewer::Everyone, conversation.as_str().to_owned(), number, user, assistant)
    };
    let number = |conversation: &ConversationId| place.shown(conversation.as_str()).turns[0].number;
    edit(&other, number(&other), Some("Nonsense."), None).await.unwrap();
    let (_, turn) =
        edit(&id, number(&id), Some("My name is Ada."), Some(Some("Hello Ada.".to_owned()))).await.unwrap().unwrap();
    let items = [turn.user.unwrap().item, turn.assistant.unwrap().item].map(ItemId::from_text);
    let said = |texts: [&str; 2]| items.iter().cloned().zip(texts.map(str::to_owned)).collect();
    assert_eq!(call.told(true).await, Told::Changed(Change::Corrected(said(["My name is Ada.", "Hello Ada."]))));
    // Taken back; the other side is left as it is.
    edit(&id, number(&id), None, None).await.unwrap();
    let first = vec![(items[0].clone(), "My name is Aida.".to_owned())];
    assert_eq!(call.told(true).await, Told::Changed(Change::Corrected(first)));
    assert!(place.history.delete(Viewer::Everyone, other.as_str().to_owned()).await.unwrap());
    assert!(place.history.delete(Viewer::Everyone, id.as_str().to_owned()).await.unwrap());
    assert_eq!(call.told(true).await, Told::Changed(Change::Deleted));
}

#[tokio::test]
async fn a_call_that_missed_changes_is_told_to_read_again() {
    let place = Place::new();
    let mut call = place.history.attend(&ConversationId::fresh());
    for _ in 0..=NEWS_BOUND {
        place.history.news().title_changed(None, "another", None);
    }
    assert_eq!(call.told(false).await, Told::Changed(Change::Missed));
}

#[tokio::test]
async fn an_edit_and_a_deletion_are_news_to_whose_conversation_it_is() {
    let place = Place::new();
    let conversation = ConversationId::fresh();
    let record = TurnRecord { owner: Some("ann".to_owned()), ..silent(&conversation, "one", "two", 1_000) };
    place.history.keep(record).await.unwrap();
    let id = conversation.as_str().to_owned();
    let turn = place.shown(&id).turns[0].clone();
    let mut listener = place.history.news().listen().unwrap();
    let user = Some(Some("three".to_owned()));
    place.history.edit(Viewer::Everyone, id.clone(), turn.number, user, None).await.unwrap();
    place.history.delete(Viewer::Everyone, id.clone()).await.unwrap();
    let edit = HistoryNews::Edit {
        conversation: id.clone(),
        turn: turn.number,
        items: vec![(turn.user.unwrap().item, "three".to_owned())],
    };
    for what in [edit, HistoryNews::Deleted { conversation: id }] {
        let news = News { owner: Some("ann".to_owned()), what };
        assert_eq!(listener.next().await, Some(Heard::News(news.into())));
    }
}
