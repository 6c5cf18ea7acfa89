//! Voices that come and go while calls run.

use signaling::line::{Ask, CallEvent, Command, FromCaller, SessionPatch};

use super::caller::{Caller, House};

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
