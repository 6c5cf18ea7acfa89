//! What goes when it has been kept long enough.

use super::super::retention::{Removed, Retention};
use super::*;

const DAY: u64 = 86_400;

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

#[tokio::test]
async fn conversations_go_by_when_they_were_last_gone_on_with() {
    let place = Place::new();
    let (old, gone_on, young) = (ConversationId::fresh(), ConversationId::fresh(), ConversationId::fresh());
    for (id, day) in [(&old, 1), (&gone_on, 1), (&young, 20), (&gone_on, 20)] {
        place.history.keep(turn(id, "hello", day * DAY)).await.unwrap();
    }
    assert_eq!(place.recordings(), 8);
    let retention = Retention::of(10, 0);
    assert_eq!(place.history.retain(retention, at(11 * DAY)).await.unwrap(), Removed::default());
    let removed = place.history.retain(retention, at(21 * DAY)).await.unwrap();
    assert_eq!(removed.conversations, 1);
    assert!(removed.bytes > 1_000);
    assert_eq!(place.recordings(), 6);
    let mut left = place.found("hello");
    left.sort();
    let mut expected = [gone_on.as_str(), young.as_str()];
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(place.history.retain(retention, at(60 * DAY)).await.unwrap().conversations, 2);
    assert_eq!(place.recordings(), 0);
}

#[tokio::test]
async fn the_oldest_go_until_the_rest_fits() {
    let place = Place::new();
    let ids: Vec<_> = (0..4).map(|_| ConversationId::fresh()).collect();
    for (n, id) in ids.iter().enumerate() {
        place.history.keep(turn(id, "hello", (n as u64 + 1) * DAY)).await.unwrap();
    }
    let bytes = place.history.size(&Viewer::Everyone).unwrap().bytes as u64;
    let retention = Retention { longest: None, most_bytes: Some(bytes * 5 / 8) };
    let removed = place.history.retain(retention, at(10 * DAY)).await.unwrap();
    assert_eq!(removed.conversations, 2);
    assert_eq!(place.found("hello"), [ids[3].as_str(), ids[2].as_str()]);
    // However little may be kept, what was just said stays.
    let retention = Retention { longest: None, most_bytes: Some(0) };
    place.history.retain(retention, at(4 * DAY + 60)).await.unwrap();
    assert_eq!(place.found("hello"), [ids[3].as_str()]);
}
