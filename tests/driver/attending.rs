//! What the history knows of a running call, and what the call is told of better audio.

use std::time::Duration;

use avatar::call::attendance::{CallLoad, Change};
use signaling::line::{CallEvent, ConversationId, HqAudio, Item, ItemId, ItemStatus, Medium, ReplyId, Role};

use super::caller::{House, playing};
use tokio::sync::mpsc;

fn load(house: &House) -> CallLoad {
    *house.book.loads.watch().borrow()
}

#[tokio::test(start_paused = true)]
async fn a_call_needs_the_engines_from_the_first_word_until_its_answer_has_been_heard() {
    let house = House::new();
    let mut caller = house.call();
    caller.silence(1_000).await;
    assert_eq!(load(&house), CallLoad { calls: 1, engaged: 0 });
    caller.say(600).await;
    assert_eq!(load(&house).engaged, 1, "the caller speaks");
    caller.until(playing).await;
    assert_eq!(load(&house).engaged, 1, "the answer is heard");
    caller.until(|event| matches!(event, CallEvent::PlayoutStopped { .. })).await;
    caller.silence(200).await;
    assert_eq!(load(&house), CallLoad { calls: 1, engaged: 0 });
    caller.say(600).await;
    caller.hang_up();
    house.ended().await;
    assert_eq!(load(&house), CallLoad::default(), "gone in mid-word");
}

#[tokio::test(start_paused = true)]
async fn better_audio_is_told_to_the_caller_beside_everything_else() {
    let house = House::new();
    let audio = HqAudio {
        conversation: ConversationId::fresh(),
        turn: 3,
        reply: ReplyId::fresh(),
        item: ItemId::fresh(),
        duration: Duration::from_millis(900),
    };
    house.book.better.lock().unwrap().push(audio.clone());
    let mut caller = house.call();
    caller.until(|event| *event == CallEvent::HqReady(audio.clone())).await;
    caller.exchange().await;
    assert_eq!(caller.outcomes().len(), 1);
    assert_eq!(caller.count(|event| matches!(event, CallEvent::HqReady(_))), 1);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_during_a_call_reaches_its_model() {
    let house = House::new();
    let (changed, changes) = mpsc::unbounded_channel();
    *house.book.changes.lock().unwrap() = Some(changes);
    let mut caller = house.call();
    caller.exchange().await;
    let asked = house.book.kept()[0].question.clone().unwrap();
    let shown = || {
        let request = house.engines.mind.desk.requests().pop().unwrap();
        request.messages.into_iter().map(|message| message.text).collect::<Vec<_>>()
    };
    changed.send(Change::Corrected(vec![(asked.item.clone(), "Corrected.".to_owned())])).unwrap();
    caller.exchange().await;
    assert_eq!(shown()[1], "Corrected.");
    // What was lost on the way is read again.
    let again = Item {
        id: asked.item,
        role: Role::User,
        medium: Medium::Voice,
        text: "Read again.".to_owned(),
        status: ItemStatus::Completed,
    };
    house.book.recalled.lock().unwrap().push(again);
    changed.send(Change::Missed).unwrap();
    caller.exchange().await;
    assert_eq!(shown()[1], "Read again.");
    changed.send(Change::Deleted).unwrap();
    caller.exchange().await;
    assert_eq!(shown().len(), 2, "the instructions, and what was said last");
}
