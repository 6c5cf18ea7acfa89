//! What keys that were given out may use: calls at once, minutes of talk, their own conversations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avatar::call::allowance::{Allowances, Meter, Share};
use signaling::grant::Grant;
use signaling::line::{ConversationId, Refusal, SessionPatch, Switchboard};
use tokio::time::sleep;

use super::caller::House;

/// Adds up all days as one.
#[derive(Default)]
struct Sum(Mutex<HashMap<String, Duration>>);

impl Meter for Sum {
    fn talked(&self, key: &str, _: SystemTime) -> Duration {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    fn add_talk(&self, key: &str, _: SystemTime, talked: Duration) {
        *self.0.lock().unwrap().entry(key.to_owned()).or_default() += talked;
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

fn going_on(conversation: &str) -> SessionPatch {
    SessionPatch { conversation: Some(ConversationId::from_text(conversation)), ..SessionPatch::default() }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_its_calls_up_leaves_room_for_others() {
    let (house, _) = house(Share { calls: 2, talk_minutes_per_day: 0 });
    let mut calls: Vec<_> = (0..2).map(|_| house.call_as(SessionPatch::default(), Some(&ann()))).collect();
    match house.exchange.admit(Some(&ann()), None).err() {
        Some(Refusal::Quota { why, retry_after }) => {
            assert!(why.contains("2 at once") && retry_after >= Duration::from_secs(1), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let generous = Grant { calls: Some(3), ..ann() };
    drop(house.exchange.admit(Some(&generous), None).unwrap());
    drop(house.exchange.admit(Some(&Grant { key: "bob".to_owned(), ..ann() }), None).unwrap());
    drop(house.exchange.admit(None, None).unwrap());
    calls[0].hang_up();
    sleep(Duration::from_millis(10)).await;
    assert!(house.exchange.admit(Some(&ann()), None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_of_a_key_takes_none_of_its_places() {
    let (house, _) = house(Share { calls: 5, talk_minutes_per_day: 0 });
    let all: Vec<_> = (0..5).map(|_| house.exchange.admit(None, None).unwrap()).collect();
    for _ in 0..20 {
        assert!(matches!(house.exchange.admit(Some(&ann()), None).err(), Some(Refusal::Full { .. })));
    }
    drop(all);
    let seats: Vec<_> = (0..5).map(|_| house.exchange.admit(Some(&ann()), None).unwrap()).collect();
    assert_eq!(seats.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_talked_its_minutes_is_told_when_it_may_again() {
    let (house, meter) = house(Share { calls: 0, talk_minutes_per_day: 3 });
    let mut call = house.call_as(SessionPatch::default(), Some(&ann()));
    call.silence(150_000).await;
    // Charged while it goes on, so that a server which is killed forgets a minute at most.
    assert!(meter.talked("ann", SystemTime::now()) >= Duration::from_secs(120));
    assert!(house.exchange.admit(Some(&ann()), None).is_ok());
    call.silence(60_000).await;
    call.hang_up();
    house.ended().await;
    let talked = meter.talked("ann", SystemTime::now());
    assert!((Duration::from_secs(205)..Duration::from_secs(215)).contains(&talked), "{talked:?}");
    match house.exchange.admit(Some(&ann()), None).err() {
        Some(Refusal::Quota { why, retry_after }) => {
            assert!(why.contains("3 minutes") && retry_after <= Duration::from_secs(86_400), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(house.exchange.admit(Some(&Grant { talk_minutes_per_day: Some(9), ..ann() }), None).is_ok());
    assert!(house.exchange.admit(None, None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_talk_of_another_is_refused_as_if_it_were_not_there() {
    let (house, _) = house(Share::default());
    let foreign = ConversationId::from_text("bob-1");
    match house.exchange.admit(Some(&ann()), Some(&foreign)).err() {
        Some(refusal @ Refusal::NoSuchConversation(_)) => assert!(refusal.to_string().contains("`bob-1`")),
        other => panic!("{other:?}"),
    }
    assert!(house.exchange.admit(Some(&ann()), Some(&ConversationId::from_text("ann-1"))).is_ok());
    assert!(house.exchange.admit(None, Some(&foreign)).is_ok());
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
