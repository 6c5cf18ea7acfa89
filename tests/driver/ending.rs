//! How calls end: what is written down, whose place becomes free, and when.

use std::time::Duration;

use signaling::line::{CallEvent, Outcome, Switchboard};
use tokio::time::{Instant, sleep};

use super::caller::{Caller, House, playing};
use super::engines::{Manner, Script};

/// Whether all five places can be had.
fn all_places_are_free(house: &House) -> bool {
    let seats: Vec<_> = (0..5).map(|_| house.exchange.admit(House::anyone())).collect();
    seats.iter().all(Result::is_ok)
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_in_mid_reply_waits_for_the_history_and_then_ends() {
    let house = House::new();
    *house.book.delay.lock().unwrap() = Duration::from_secs(3);
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.until(playing).await;
    caller.silence(200).await;
    assert!(house.book.kept().is_empty());
    caller.hang_up();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(house.exchange.active(), 1, "the history is still writing");
    let hung_up = Instant::now();
    house.ended().await;
    assert!(hung_up.elapsed() < Duration::from_secs(4), "{:?}", hung_up.elapsed());
    let kept = house.book.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].question.as_ref().unwrap().text, "What's the weather like?");
    assert!(all_places_are_free(&house));
}

#[tokio::test(start_paused = true)]
async fn the_language_model_may_forget_a_conversation_when_its_call_ends_and_not_before() {
    let house = House::new();
    let mut caller = house.call();
    caller.exchange().await;
    assert!(house.engines.mind.forgotten.lock().unwrap().is_empty());
    caller.hang_up();
    house.ended().await;
    let asked = house.engines.mind.desk.requests();
    assert_eq!(*house.engines.mind.forgotten.lock().unwrap(), [asked[0].conversation.clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_never_spoke_leaves_nothing_in_the_history() {
    let house = House::new();
    let mut caller = house.call();
    caller.silence(5_000).await;
    caller.hang_up();
    house.ended().await;
    assert!(house.book.kept().is_empty());
    assert!(house.engines.ear.desk.requests().is_empty());
}

/// More small chunks than the line holds.
fn talkative() -> House {
    House::with(Script {
        chunk: Duration::from_millis(20),
        chunks: 1_000,
        chunk_takes: Duration::from_millis(1),
        ..Script::default()
    })
}

/// Asks something, and takes nothing more from the line.
async fn ask_and_turn_away(house: &House) -> Caller {
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.silence(160).await;
    caller
}

/// Silence, while nothing is taken from the line.
async fn hold_the_line(caller: &mut Caller, wait: Duration) {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        let samples = vec![0.0; 320];
        let arrived = Instant::now().into_std();
        caller.tell(signaling::line::FromCaller::Audio(signaling::line::CallerAudio {
            arrived,
            samples,
            concealed: false,
        }));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_door_that_takes_nothing_for_five_seconds_ends_the_call_and_frees_its_place() {
    let house = talkative();
    let mut caller = ask_and_turn_away(&house).await;
    hold_the_line(&mut caller, Duration::from_secs(4)).await;
    assert_eq!(house.exchange.active(), 1, "four seconds are a hiccup");
    hold_the_line(&mut caller, Duration::from_secs(4)).await;
    assert_eq!(house.exchange.active(), 0);
    assert!(all_places_are_free(&house));
    // The engines are let go, and what was said is kept.
    assert!(house.engines.mind.desk.last_is_cancelled() && house.engines.mouth.desk.last_is_cancelled());
    assert_eq!(house.book.kept().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_door_that_is_slow_for_four_seconds_loses_nothing() {
    let house = talkative();
    let mut caller = ask_and_turn_away(&house).await;
    hold_the_line(&mut caller, Duration::from_secs(4)).await;
    let deadline = Instant::now() + Duration::from_secs(90);
    while caller.outcomes().is_empty() {
        assert!(Instant::now() < deadline, "no answer");
        caller.silence(20).await;
    }
    assert_eq!(caller.outcomes(), [Outcome::Completed]);
    let kept = house.book.kept();
    let answer = kept[0].answer.as_ref().unwrap();
    assert_eq!(answer.audio.as_ref().unwrap().duration(), Duration::from_millis(2 * 1_000 * 20));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_panics_costs_its_call_and_no_place() {
    for engine in ["ear", "mind", "mouth"] {
        let house = House::new();
        match engine {
            "ear" => house.engines.ear.desk.set(Manner::Panics),
            "mind" => house.engines.mind.desk.set(Manner::Panics),
            _ => house.engines.mouth.desk.set(Manner::Panics),
        }
        let (mut caller, mut other) = (house.call(), house.call());
        caller.say(1_000).await;
        caller.silence(1_000).await;
        assert!(caller.over, "{engine}: its door is told by the line's end");
        assert_eq!(house.exchange.active(), 1, "{engine}: the other call goes on");
        other.silence(40).await;
        assert!(!other.over, "{engine}");
        other.hang_up();
        house.ended().await;
        assert!(all_places_are_free(&house), "{engine}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_dies_is_told_of_and_the_call_goes_on() {
    for (engine, code) in [("ear", "engine_failed"), ("mind", "engine_failed")] {
        let house = House::new();
        let desk = |manner| match engine {
            "ear" => house.engines.ear.desk.set(manner),
            _ => house.engines.mind.desk.set(manner),
        };
        let mut caller = house.call();
        desk(Manner::Dies);
        caller.say(1_000).await;
        caller.silence(3_000).await;
        assert_eq!(caller.faults(), [code], "{engine}");
        let told = caller.outcomes().len();
        desk(Manner::Works);
        caller.exchange().await;
        assert_eq!(caller.outcomes()[told..], [Outcome::Completed], "{engine}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_cannot_be_read_is_begun_anew() {
    let house = House::new();
    let conversation = Some(signaling::line::ConversationId::from_text("conv_unreadable"));
    let mut caller = house.call_with(signaling::line::SessionPatch { conversation, ..Default::default() });
    caller.exchange().await;
    assert_eq!(caller.outcomes(), [Outcome::Completed]);
    assert_eq!(house.engines.mind.desk.requests()[0].conversation, "conv_unreadable");
    assert_eq!(caller.count(|event| matches!(event, CallEvent::SessionCreated(_))), 1);
}
