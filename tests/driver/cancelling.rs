//! Whoever asked has gone: the engines must learn of it, or they work for nobody.

use std::sync::atomic::Ordering;
use std::time::Duration;

use models::stt::Urgency;
use signaling::line::{Ask, CallEvent, Command, FromCaller, Outcome};

use super::caller::{House, playing};
use super::engines::{Manner, Script};

/// A reply that is written, made and heard for half a minute.
fn long_winded() -> House {
    House::with(Script {
        writes: "One two three four five six. Seven eight nine ten eleven twelve. Thirteen fourteen fifteen sixteen.",
        word: Duration::from_millis(300),
        chunks: 30,
        chunk_takes: Duration::from_millis(250),
        ..Script::default()
    })
}

#[tokio::test(start_paused = true)]
async fn an_interruption_stops_the_language_model_and_the_voice() {
    let house = long_winded();
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.until(playing).await;
    caller.silence(300).await;
    assert_eq!(house.engines.mind.desk.cancelled(), [false], "it is still writing");
    assert_eq!(house.engines.mouth.desk.cancelled(), [false], "it is still speaking");
    caller.say(300).await;
    assert_eq!(house.engines.mind.desk.cancelled(), [true]);
    assert_eq!(house.engines.mouth.desk.cancelled(), [true]);
    assert_eq!(caller.outcomes(), [Outcome::TurnDetected]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cancels_stops_the_language_model_and_the_voice() {
    let house = long_winded();
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.until(playing).await;
    caller.tell(FromCaller::Command(Command { event_id: None, ask: Ask::CancelReply { reply: None } }));
    caller.silence(40).await;
    assert_eq!(house.engines.mind.desk.cancelled(), [true]);
    assert_eq!(house.engines.mouth.desk.cancelled(), [true]);
    assert_eq!(caller.outcomes(), [Outcome::ClientCancelled]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_on_after_a_pause_stops_the_prepared_reply() {
    let house = long_winded();
    let mut caller = house.call();
    caller.say(1_000).await;
    // Long enough for a reply to be prepared, too short for the turn's end.
    caller.silence(180).await;
    assert_eq!(house.engines.mind.desk.cancelled(), [false], "the reply is prepared in the pause");
    caller.say(300).await;
    assert!(house.engines.mind.desk.cancelled()[0]);
    assert_eq!(caller.count(|event| matches!(event, CallEvent::ReplyStarted { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn hanging_up_stops_the_transcript() {
    let house = House::new();
    house.engines.ear.desk.set(Manner::Hangs);
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.silence(400).await;
    assert!(!house.engines.ear.desk.last_is_cancelled());
    caller.hang_up();
    house.ended().await;
    assert!(house.engines.ear.desk.cancelled().iter().all(|cancelled| *cancelled));
}

#[tokio::test(start_paused = true)]
async fn hanging_up_stops_the_language_model() {
    let house = House::new();
    house.engines.mind.desk.set(Manner::Hangs);
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.silence(1_000).await;
    assert!(!house.engines.mind.desk.last_is_cancelled());
    caller.hang_up();
    house.ended().await;
    assert_eq!(house.engines.mind.desk.cancelled(), [true]);
}

#[tokio::test(start_paused = true)]
async fn hanging_up_stops_the_voice() {
    let house = House::new();
    house.engines.mouth.desk.set(Manner::Hangs);
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.silence(1_000).await;
    assert!(!house.engines.mouth.desk.last_is_cancelled());
    caller.hang_up();
    house.ended().await;
    assert_eq!(house.engines.mouth.desk.cancelled(), [true]);
}

#[tokio::test(start_paused = true)]
async fn hanging_up_stops_the_turn_model() {
    let house = House::new();
    house.engines.judge.hangs.store(true, Ordering::Relaxed);
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.silence(200).await;
    assert!(house.engines.judge.begun.load(Ordering::Relaxed));
    assert!(!house.engines.judge.given_up.load(Ordering::Relaxed));
    caller.hang_up();
    house.ended().await;
    assert!(house.engines.judge.given_up.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_stops_everything_as_a_hang_up_does() {
    let house = long_winded();
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.until(playing).await;
    drop(caller);
    house.ended().await;
    assert_eq!(house.engines.mind.desk.cancelled(), [true]);
    assert_eq!(house.engines.mouth.desk.cancelled(), [true]);
    assert_eq!(house.book.kept().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_final_transcript_does_not_wait_behind_a_partial_nobody_needs() {
    let house = House::new();
    house.engines.ear.desk.set(Manner::Hangs);
    let mut caller = house.call();
    caller.say(2_000).await;
    caller.silence(160).await;
    let asked: Vec<_> = house.engines.ear.desk.requests().iter().map(|request| request.urgency).collect();
    assert_eq!(asked, [Urgency::Partial, Urgency::Final]);
    assert_eq!(house.engines.ear.desk.cancelled(), [true, false]);
}
