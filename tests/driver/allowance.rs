//! What keys that were given out may use: calls at once, minutes of talk, their own conversations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avatar::call::admission::SessionDefaults;
use avatar::call::allowance::{Allowances, Meter, Share, Usage};
use signaling::grant::Grant;
use signaling::line::{Asking, ConversationId, FromCaller, HangUp, Refusal, Seat, SessionPatch, Switchboard};
use tokio::time::sleep;

use super::caller::{Caller, House, defaults};
use super::engines::Script;

/// Adds up all days as one.
#[derive(Default)]
struct Sum(Mutex<HashMap<String, Duration>>);

impl Meter for Sum {
    fn used(&self, key: &str, _: SystemTime) -> Usage {
        Usage { talk: self.0.lock().unwrap().get(key).copied().unwrap_or_default(), ..Usage::default() }
    }

    fn add(&self, key: &str, _: SystemTime, usage: Usage) {
        *self.0.lock().unwrap().entry(key.to_owned()).or_default() += usage.talk;
    }
}

fn house(share: Share) -> (House, Arc<Sum>) {
    let (mut house, meter) = (House::new(), Arc::new(Sum::default()));
    house.exchange = house.exchange.with_allowances(Allowances::new(share, meter.clone()));
    (house, meter)
}

fn ann() -> Grant {
    Grant { key: "ann".to_owned(), ..Grant::default() }
}

fn ask(house: &House, grant: Option<&Grant>) -> Result<Seat, Refusal> {
    house.exchange.admit(Asking { grant, ..House::anyone() })
}

fn ask_for(house: &House, grant: Option<&Grant>, conversation: &str) -> Result<Seat, Refusal> {
    house.exchange.admit(Asking { grant, session: &going_on(conversation) })
}

fn going_on(conversation: &str) -> SessionPatch {
    SessionPatch { conversation: Some(ConversationId::from_text(conversation)), ..SessionPatch::default() }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_its_calls_up_leaves_room_for_others() {
    let (house, _) = house(Share { calls: 2, ..Share::default() });
    let mut calls: Vec<_> = (0..2).map(|_| house.call_as(SessionPatch::default(), Some(&ann()))).collect();
    match ask(&house, Some(&ann())).err() {
        Some(Refusal::Quota { why, retry_after }) => {
            assert!(why.contains("2 at once") && retry_after >= Duration::from_secs(1), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let generous = Grant { calls: Some(3), ..ann() };
    drop(ask(&house, Some(&generous)).unwrap());
    drop(ask(&house, Some(&Grant { key: "bob".to_owned(), ..ann() })).unwrap());
    drop(house.exchange.admit(House::anyone()).unwrap());
    calls[0].hang_up();
    sleep(Duration::from_millis(10)).await;
    assert!(ask(&house, Some(&ann())).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_lost_its_line_is_counted_once_before_and_after_it_goes_on() {
    let patience = Duration::from_secs(30);
    let defaults = SessionDefaults { resume: patience, resume_from_history: 10 * patience, ..defaults() };
    let mut house = House::with_defaults(Script::default(), defaults);
    house.exchange = house
        .exchange
        .with_allowances(Allowances::new(Share { calls: 1, ..Share::default() }, Arc::new(Sum::default())));
    let is_full = |house: &House| matches!(ask(house, Some(&ann())).err(), Some(Refusal::Quota { .. }));
    let mut call = house.call_as(SessionPatch::default(), Some(&ann()));
    call.silence(100).await;
    call.say_last(FromCaller::HungUp(HangUp::Vanished));
    sleep(Duration::from_secs(1)).await;
    assert!(is_full(&house), "it has only just lost it, and keeps its place");
    let resume = |call: &Caller| SessionPatch { resume: Some(call.token()), ..SessionPatch::default() };
    let mut again = house.call_as(resume(&call), Some(&ann()));
    again.silence(100).await;
    assert_eq!((house.exchange.active(), house.exchange.taken()), (1, 1));
    assert!(is_full(&house));

    again.say_last(FromCaller::HungUp(HangUp::Vanished));
    sleep(2 * patience).await;
    assert_eq!((house.exchange.active(), house.exchange.taken()), (0, 0));
    // From the history it is another call, and takes a place as such.
    let mut last = house.call_as(resume(&again), Some(&ann()));
    last.silence(100).await;
    assert!(is_full(&house));
    last.hang_up();
    house.ended().await;
    assert!(ask(&house, Some(&ann())).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_of_a_key_takes_none_of_its_places() {
    let (house, _) = house(Share { calls: 5, ..Share::default() });
    let all: Vec<_> = (0..5).map(|_| house.exchange.admit(House::anyone()).unwrap()).collect();
    for _ in 0..20 {
        assert!(matches!(ask(&house, Some(&ann())).err(), Some(Refusal::Full { .. })));
    }
    drop(all);
    let seats: Vec<_> = (0..5).map(|_| ask(&house, Some(&ann())).unwrap()).collect();
    assert_eq!(seats.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_talked_its_minutes_is_told_when_it_may_again() {
    let (house, meter) = house(Share { talk_minutes_per_day: 3, ..Share::default() });
    let mut call = house.call_as(SessionPatch::default(), Some(&ann()));
    call.silence(150_000).await;
    // Charged while it goes on, so that a server which is killed forgets a minute at most.
    assert!(meter.used("ann", SystemTime::now()).talk >= Duration::from_secs(120));
    assert!(ask(&house, Some(&ann())).is_ok());
    call.silence(60_000).await;
    call.hang_up();
    house.ended().await;
    let talked = meter.used("ann", SystemTime::now()).talk;
    assert!((Duration::from_secs(205)..Duration::from_secs(215)).contains(&talked), "{talked:?}");
    match ask(&house, Some(&ann())).err() {
        Some(Refusal::Quota { why, retry_after }) => {
            assert!(why.contains("3 minutes") && retry_after <= Duration::from_secs(86_400), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(ask(&house, Some(&Grant { talk_minutes_per_day: Some(9), ..ann() })).is_ok());
    assert!(house.exchange.admit(House::anyone()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_talk_of_another_is_refused_as_if_it_were_not_there() {
    let (house, _) = house(Share::default());
    match ask_for(&house, Some(&ann()), "bob-1").err() {
        Some(refusal @ Refusal::NoSuchConversation(_)) => assert!(refusal.to_string().contains("`bob-1`")),
        other => panic!("{other:?}"),
    }
    assert!(ask_for(&house, Some(&ann()), "ann-1").is_ok());
    assert!(ask_for(&house, None, "bob-1").is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_said_with_a_key_is_kept_as_its_own() {
    let (house, _) = house(Share::default());
    for (grant, owner) in [(Some(ann()), Some("ann")), (None, None)] {
        let mut call = house.call_as(going_on("ann-1"), grant.as_ref());
        call.exchange().await;
        call.hang_up();
        house.ended().await;
        let kept = house.book.kept();
        let last = kept.last().unwrap();
        assert_eq!((last.owner.as_deref(), last.conversation.as_str()), (owner, "ann-1"));
    }
}
