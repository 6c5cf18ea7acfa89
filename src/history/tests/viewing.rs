//! Whose conversations are seen.

use super::*;

async fn keep_as(place: &Place, owner: Option<&str>, text: &str) -> String {
    let id = ConversationId::fresh();
    let record = TurnRecord { owner: owner.map(str::to_owned), ..silent(&id, text, "Yes.", 1_000) };
    place.history.keep(record).await.unwrap();
    id.as_str().to_owned()
}

#[tokio::test]
async fn what_belongs_to_another_is_as_if_it_were_not_there() {
    let place = Place::new();
    let ada = keep_as(&place, Some("ada"), "apples").await;
    let bob = keep_as(&place, Some("bob"), "apples").await;
    let nobody = keep_as(&place, None, "apples").await;
    let viewer = Viewer::Owner("ada".to_owned());
    let query = Query::read("apples");
    let ids = |listed: Vec<ConversationSummary>| listed.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(ids(place.history.conversations(&viewer, 10, None).unwrap()), [ada.clone()]);
    let found = place.history.search(&viewer, &query, 10, None).unwrap();
    assert_eq!(ids(found.into_iter().map(|(one, _)| one).collect()), [ada.clone()]);
    assert_eq!(place.history.size(&viewer).unwrap().conversations, 1);
    for other in [&bob, &nobody] {
        let number = place.shown(other).turns[0].number;
        assert!(place.history.conversation(&viewer, other).unwrap().is_none());
        assert!(place.history.audio(&viewer, other, number, Side::User).unwrap().is_none());
        assert!(place.history.conversations(&viewer, 10, Some(other)).unwrap().is_empty(), "no cursor either");
        assert!(place.history.search(&viewer, &query, 10, Some(other)).unwrap().is_empty());
        let title = Some("mine".to_owned());
        assert!(place.history.rename(viewer.clone(), other.clone(), title.clone()).await.unwrap().is_none());
        let edit = Some(title);
        assert!(place.history.edit(viewer.clone(), other.clone(), number, edit, None).await.unwrap().is_none());
        assert!(!place.history.delete(viewer.clone(), other.clone()).await.unwrap());
        assert!(!place.history.may_go_on(&viewer, other).unwrap());
        let shown = place.shown(other);
        assert_eq!((shown.title, &shown.turns[0].user.as_ref().unwrap().edit), (None, &None));
    }
    assert!(place.history.may_go_on(&viewer, &ada).unwrap());
    assert!(place.history.may_go_on(&viewer, "conv_new").unwrap());
    assert_eq!(place.history.conversations(&Viewer::Everyone, 10, None).unwrap().len(), 3);
    assert!(place.history.delete(viewer, ada).await.unwrap());
}

#[tokio::test]
async fn a_turn_is_not_written_into_anothers_conversation() {
    let place = Place::new();
    let ada = keep_as(&place, Some("ada"), "apples").await;
    let mut record = turn(&ConversationId::from_text(&*ada), "mine", 1_010);
    record.owner = Some("bob".to_owned());
    assert!(place.history.keep(record).await.is_err());
    assert_eq!((place.shown(&ada).turns.len(), place.recordings()), (1, 0));
    // The server's own keys may.
    place.history.keep(silent(&ConversationId::from_text(&*ada), "ours", "Yes.", 1_020)).await.unwrap();
    assert_eq!(place.shown(&ada).turns.len(), 2);
}
