//! What the history knows of a running call, and what the call is told of better audio.

use std::time::Duration;

use avatar::call::attendance::CallLoad;
use signaling::line::{CallEvent, ConversationId, HqAudio, ItemId, ReplyId};

use super::caller::{House, playing};

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
