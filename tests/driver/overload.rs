//! Engines that take no more: the caller is told, and the call goes on.

use signaling::line::Outcome;

use super::caller::{Caller, House};
use super::engines::Manner;

/// The engine has room again.
async fn goes_on(caller: &mut Caller) {
    let told = caller.outcomes().len();
    let faults = caller.faults().len();
    caller.exchange().await;
    assert_eq!(caller.outcomes()[told..], [Outcome::Completed]);
    assert_eq!(caller.faults().len(), faults);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_transcriber_is_told_the_speech_kept_and_the_call_goes_on() {
    let house = House::new();
    let mut caller = house.call();
    house.engines.ear.desk.set(Manner::Overloaded);
    caller.say(1_000).await;
    caller.silence(2_000).await;
    assert_eq!(caller.faults(), ["overloaded"]);
    assert!(caller.transcripts().is_empty() && caller.outcomes().is_empty());
    assert!(house.book.kept()[0].question.as_ref().unwrap().audio.is_some());
    house.engines.ear.desk.set(Manner::Works);
    goes_on(&mut caller).await;
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_language_model_is_told_the_question_kept_and_the_call_goes_on() {
    let house = House::new();
    let mut caller = house.call();
    house.engines.mind.desk.set(Manner::Overloaded);
    caller.say(1_000).await;
    caller.silence(2_000).await;
    assert_eq!(caller.faults(), ["overloaded"]);
    assert!(matches!(&caller.outcomes()[..], [Outcome::Failed(fault)] if fault.code == "overloaded"));
    assert_eq!(house.book.kept()[0].question.as_ref().unwrap().text, "What's the weather like?");
    house.engines.mind.desk.set(Manner::Works);
    goes_on(&mut caller).await;
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_voice_is_told_the_text_kept_and_the_call_goes_on() {
    let house = House::new();
    let mut caller = house.call();
    house.engines.mouth.desk.set(Manner::Overloaded);
    caller.say(1_000).await;
    caller.silence(2_000).await;
    assert_eq!(caller.faults(), ["overloaded"]);
    assert!(house.book.kept()[0].answer.as_ref().unwrap().failure.is_some());
    house.engines.mouth.desk.set(Manner::Works);
    goes_on(&mut caller).await;
}
