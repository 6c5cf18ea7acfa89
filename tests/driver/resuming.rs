//! A call that outlives its line: who may take it over, until when, and what that costs.

use std::time::Duration;

use signaling::grant::Grant;
use signaling::line::{
    Asking, CallEvent, ConversationId, FromCaller, HangUp, Outcome, Refusal, ResumedFrom, Seat, SessionPatch,
    Switchboard, TurnEnd,
};
use signaling::secret::Secret;
use tokio::time::sleep;

use super::caller::{Caller, House, defaults, playing};
use super::engines::Script;
use avatar::call::admission::SessionDefaults;
use avatar::call::attendance::CallLoad;

const PATIENCE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn house() -> House {
    let defaults = SessionDefaults { resume: PATIENCE, resume_from_history: DAY, ..defaults() };
    let script = Script { chunks: 20, ..Script::default() };
    House::with_defaults(script, defaults)
}

fn conversation(caller: &Caller) -> ConversationId {
    let told = |event: &CallEvent| match event {
        CallEvent::SessionCreated(session) => Some(session.conversation.clone()),
        _ => None,
    };
    caller.events.iter().find_map(told).unwrap()
}

fn with(token: &Secret) -> SessionPatch {
    SessionPatch { resume: Some(token.clone()), ..SessionPatch::default() }
}

fn vanish(caller: &Caller) {
    caller.say_last(FromCaller::HungUp(HangUp::Vanished));
}

fn ada() -> Grant {
    Grant { key: "ada".to_owned(), ..Grant::default() }
}

/// Of a holder of that key, or of none that was given out.
fn refused(house: &House, token: &Secret, grant: Option<&Grant>) -> bool {
    let asking = Asking { grant, session: &with(token) };
    matches!(house.exchange.admit(asking).err(), Some(Refusal::ResumeTokenInvalid))
}

fn claim(house: &House, token: &Secret) -> Result<Seat, Refusal> {
    house.exchange.admit(Asking { grant: None, session: &with(token) })
}

fn resumed_from(caller: &Caller) -> Vec<ResumedFrom> {
    let told = |event: &CallEvent| match event {
        CallEvent::SessionResumed { from, .. } => Some(*from),
        _ => None,
    };
    caller.events.iter().filter_map(told).collect()
}

/// A caller in the middle of a reply.
async fn in_mid_reply(house: &House) -> Caller {
    let mut caller = house.call();
    caller.say(1_000).await;
    caller.until(playing).await;
    caller.silence(500).await;
    caller
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_comes_back_in_time_hears_on_and_keeps_conversation_place_and_cache() {
    let house = house();
    let caller = in_mid_reply(&house).await;
    let (first, conversation) = (caller.token(), conversation(&caller));
    vanish(&caller);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((house.exchange.active(), house.exchange.taken()), (1, 1));

    let mut again = house.call_with(with(&first));
    again.silence(100).await;
    assert_eq!(resumed_from(&again), [ResumedFrom::Memory]);
    assert_eq!(self::conversation(&again), conversation);
    assert_eq!((house.exchange.active(), house.exchange.taken()), (1, 1));
    again.until(|event| matches!(event, CallEvent::PlayoutStopped { .. })).await;
    // Two sentences of six seconds, each once.
    let heard = caller.heard() + again.heard();
    let whole = Duration::from_millis(2 * 20 * 300);
    assert!(heard >= whole - Duration::from_millis(40) && heard <= whole + Duration::from_millis(200), "{heard:?}");
    assert_eq!(again.outcomes().last(), Some(&Outcome::Completed));
    assert_eq!(house.book.kept().len(), 1);

    again.exchange().await;
    let asked = house.engines.mind.desk.requests();
    assert!(asked.iter().all(|request| request.conversation == conversation.as_str()));
    assert!(house.engines.mind.forgotten.lock().unwrap().is_empty(), "the cache was kept all along");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_in_time_gives_the_place_back() {
    let house = house();
    let caller = in_mid_reply(&house).await;
    vanish(&caller);
    sleep(PATIENCE - Duration::from_secs(1)).await;
    assert_eq!(house.exchange.active(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((house.exchange.active(), house.exchange.taken()), (0, 0));
    assert_eq!(house.book.kept().len(), 1);
    assert_eq!(house.engines.mind.forgotten.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_once_and_only_for_its_owner() {
    let house = house();
    let ada = ada();
    let mut caller = house.call_as(SessionPatch::default(), Some(&ada));
    caller.silence(100).await;
    let first = caller.token();
    vanish(&caller);
    sleep(Duration::from_secs(1)).await;

    assert!(refused(&house, &first, None), "a holder of no key");
    assert!(refused(&house, &first, Some(&Grant { key: "bob".to_owned(), ..ada.clone() })));
    assert!(refused(&house, &Secret::new("rt_guessed"), Some(&ada)));

    let mut again = house.call_as(with(&first), Some(&ada));
    again.silence(100).await;
    assert!(refused(&house, &first, Some(&ada)), "used");
    let second = again.token();
    assert_ne!(second, first);
    vanish(&again);
    let mut third = house.call_as(with(&second), Some(&ada));
    third.silence(100).await;
    assert_eq!(resumed_from(&third), [ResumedFrom::Memory]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_line_lets_work_that_can_wait_go_on() {
    let house = house();
    let loads = house.book.loads.watch();
    let caller = in_mid_reply(&house).await;
    assert_eq!(*loads.borrow(), CallLoad { calls: 1, engaged: 1 });
    vanish(&caller);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*loads.borrow(), CallLoad { calls: 1, engaged: 0 });
    let mut again = house.call_with(with(&caller.token()));
    again.silence(100).await;
    assert_eq!(*loads.borrow(), CallLoad { calls: 1, engaged: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_being_connected_is_waited_for() {
    let house = house();
    let caller = in_mid_reply(&house).await;
    let first = caller.token();
    vanish(&caller);
    sleep(PATIENCE - Duration::from_secs(1)).await;
    let seat = claim(&house, &first).unwrap();
    sleep(Duration::from_secs(10)).await;
    let mut again = house.connect(with(&first), None, seat);
    again.silence(100).await;
    assert_eq!(resumed_from(&again), [ResumedFrom::Memory]);
    // One that comes to nothing is not waited for, for ever.
    vanish(&again);
    drop(claim(&house, &again.token()).unwrap());
    sleep(PATIENCE + Duration::from_secs(2)).await;
    assert_eq!(house.exchange.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_line_replaces_one_that_was_not_missed_yet() {
    let house = house();
    let mut caller = in_mid_reply(&house).await;
    let mut again = house.call_with(with(&caller.token()));
    again.silence(100).await;
    caller.take();
    assert!(caller.over, "the line before is let go of");
    assert_eq!((house.exchange.active(), house.exchange.taken()), (1, 1));
    again.until(|event| matches!(event, CallEvent::PlayoutStopped { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_from_the_history_when_its_call_has_ended_and_not_after_a_goodbye() {
    let house = house();
    let asked = SessionPatch {
        instructions: Some("Speak like a pirate.".to_owned()),
        turn_end: Some(TurnEnd::Silence(Duration::from_millis(700))),
        ..SessionPatch::default()
    };
    let mut caller = house.call_with(asked);
    caller.exchange().await;
    let (first, before) = (caller.token(), conversation(&caller));
    vanish(&caller);
    sleep(PATIENCE + Duration::from_secs(2)).await;
    assert_eq!(house.exchange.active(), 0);

    let mut again = house.call_with(with(&first));
    again.silence(40).await;
    assert_eq!(resumed_from(&again), [ResumedFrom::History]);
    let session = again.events.iter().find_map(|event| match event {
        CallEvent::SessionCreated(session) => Some(session.clone()),
        _ => None,
    });
    let session = session.unwrap();
    assert_eq!((&session.conversation, session.instructions.as_str()), (&before, "Speak like a pirate."));
    assert_eq!(session.turn_end, TurnEnd::Silence(Duration::from_millis(700)));
    assert!(refused(&house, &first, None), "it was good once");

    let second = again.token();
    again.hang_up();
    house.ended().await;
    assert!(refused(&house, &second, None), "whoever says goodbye does not come back");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_for_nobody_who_was_lost() {
    let house = house();
    let caller = in_mid_reply(&house).await;
    let first = caller.token();
    vanish(&caller);
    sleep(Duration::from_secs(1)).await;
    house.exchange.stop();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(house.exchange.active(), 0);
    assert!(matches!(claim(&house, &first).err(), Some(Refusal::Draining { .. })));
    assert_eq!(house.book.sessions.lock().unwrap().len(), 1, "the next process can go on with it");
}

#[tokio::test(start_paused = true)]
async fn where_it_is_not_wanted_no_token_is_told_and_no_call_waits() {
    let house = House::new();
    let mut caller = house.call();
    caller.silence(100).await;
    assert_eq!(caller.count(|event| matches!(event, CallEvent::SessionResumable { .. })), 0);
    vanish(&caller);
    house.ended().await;
    assert!(house.book.sessions.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_the_hash_of_a_token_is_kept() {
    let house = house();
    let mut caller = house.call();
    caller.silence(100).await;
    let kept = format!("{:?}", house.book.sessions.lock().unwrap());
    assert!(!kept.contains(caller.token().reveal()));
}
