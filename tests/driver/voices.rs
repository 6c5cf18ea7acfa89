//! Voices that come and go while calls run, and whose they are.

use std::time::Duration;

use avatar::call::admission::SessionDefaults;
use signaling::grant::Grant;
use signaling::line::{Ask, CallEvent, Command, FromCaller, HangUp, SessionPatch};

use super::caller::{Caller, House, defaults};
use super::engines::Script;

fn with_voice(voice: &str) -> SessionPatch {
    SessionPatch { voice: Some(voice.to_owned()), ..SessionPatch::default() }
}

/// What the last sentence was asked to be spoken in.
fn spoken(house: &House) -> String {
    house.engines.mouth.desk.requests().last().map(|request| request.voice.clone()).unwrap_or_default()
}

async fn choose(caller: &mut Caller, voice: &str) {
    caller.tell(FromCaller::Command(Command { event_id: None, ask: Ask::UpdateSession(with_voice(voice)) }));
    caller.silence(40).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_speaks_in_a_voice_of_the_users_own_by_either_of_its_names() {
    for name in ["voice_1", "cloner/voice_1"] {
        let house = House::new();
        house.engines.mouth.added.lock().unwrap().push("voice_1");
        let mut caller = house.call_with(with_voice(name));
        caller.exchange().await;
        assert_eq!(spoken(&house), "cloner/voice_1", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_is_made_during_a_call_can_be_chosen_in_it() {
    let house = House::new();
    let mut caller = house.call();
    caller.exchange().await;
    let usual = spoken(&house);
    choose(&mut caller, "voice_1").await;
    caller.exchange().await;
    assert_eq!(spoken(&house), usual, "it is not there yet");
    house.engines.mouth.added.lock().unwrap().push("voice_1");
    choose(&mut caller, "voice_1").await;
    let told =
        caller.count(|event| matches!(event, CallEvent::SessionUpdated(session) if session.voice == "cloner/voice_1"));
    assert_eq!(told, 1);
    caller.exchange().await;
    assert_eq!(spoken(&house), "cloner/voice_1");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_voice_is_deleted_goes_on_in_the_default_one() {
    let house = House::new();
    house.engines.mouth.added.lock().unwrap().push("voice_1");
    let mut caller = house.call_with(with_voice("voice_1"));
    caller.exchange().await;
    house.engines.mouth.added.lock().unwrap().clear();
    caller.exchange().await;
    assert_ne!(spoken(&house), "cloner/voice_1");
    assert_eq!(caller.faults(), Vec::<&str>::new());
    assert_eq!(caller.outcomes().len(), 2);
}

fn ann() -> Grant {
    Grant { key: "ann".to_owned(), ..Grant::default() }
}

/// What `grant` is told that it speaks in and what it does speak in, having asked for `voice` as a call begins, and while it runs.
async fn chosen(house: &House, grant: &Grant, voice: &str) -> [String; 4] {
    let told = |caller: &Caller| {
        let said = |event: &CallEvent| match event {
            CallEvent::SessionCreated(session) | CallEvent::SessionUpdated(session) => Some(session.voice.clone()),
            _ => None,
        };
        caller.events.iter().rev().find_map(said).unwrap()
    };
    let mut begun = house.call_as(with_voice(voice), Some(grant));
    begun.exchange().await;
    let first = [told(&begun), spoken(house)];
    let mut running = house.call_as(SessionPatch::default(), Some(grant));
    choose(&mut running, voice).await;
    running.exchange().await;
    let [told_first, spoken_first] = first;
    [told_first, spoken_first, told(&running), spoken(house)]
}

#[tokio::test(start_paused = true)]
async fn the_voice_of_another_key_is_as_one_that_is_not_there() {
    let house = House::new();
    house.engines.mouth.added.lock().unwrap().extend(["ann_voice", "bob_voice", "house_voice"]);
    let nobodys = chosen(&house, &ann(), "no_voice").await;
    for another in ["bob_voice", "cloner/bob_voice", "house_voice", "cloner/house_voice"] {
        assert_eq!(chosen(&house, &ann(), another).await, nobodys, "{another}");
    }
    for own in ["ann_voice", "cloner/ann_voice"] {
        assert_eq!(chosen(&house, &ann(), own).await, ["cloner/ann_voice"; 4], "{own}");
    }
    // The server's own keys have all.
    let mut caller = house.call_with(with_voice("bob_voice"));
    caller.exchange().await;
    assert_eq!(spoken(&house), "cloner/bob_voice");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_takes_a_call_over_brings_no_voice_of_another_into_it() {
    let patience = Duration::from_secs(30);
    let defaults = SessionDefaults { resume: patience, resume_from_history: 10 * patience, ..defaults() };
    let house = House::with_defaults(Script::default(), defaults);
    house.engines.mouth.added.lock().unwrap().extend(["ann_voice", "bob_voice"]);
    let mut lost = house.call_as(with_voice("ann_voice"), Some(&ann()));
    lost.exchange().await;
    lost.say_last(FromCaller::HungUp(HangUp::Vanished));
    let resume = SessionPatch { resume: Some(lost.token()), ..with_voice("bob_voice") };
    let mut again = house.call_as(resume, Some(&ann()));
    again.silence(100).await;
    again.exchange().await;
    assert_ne!(spoken(&house), "cloner/bob_voice");
    again.say_last(FromCaller::HungUp(HangUp::Vanished));
    tokio::time::sleep(2 * patience).await;
    // From the history.
    let resume = SessionPatch { resume: Some(again.token()), ..with_voice("bob_voice") };
    let mut last = house.call_as(resume, Some(&ann()));
    last.silence(100).await;
    last.exchange().await;
    assert_ne!(spoken(&house), "cloner/bob_voice");
}

#[tokio::test(start_paused = true)]
async fn the_usual_voice_is_for_everybody_though_it_is_the_houses_own() {
    let defaults = SessionDefaults { voice: "house_voice".to_owned(), ..defaults() };
    let house = House::with_defaults(Script::default(), defaults);
    house.engines.mouth.added.lock().unwrap().extend(["house_voice", "bob_voice"]);
    let mut usual = house.call_as(SessionPatch::default(), Some(&ann()));
    usual.exchange().await;
    assert_eq!(spoken(&house), "cloner/house_voice");
    assert_eq!(chosen(&house, &ann(), "cloner/house_voice").await, ["cloner/house_voice"; 4]);
    assert!(!chosen(&house, &ann(), "bob_voice").await.contains(&"cloner/bob_voice".to_owned()));
}
