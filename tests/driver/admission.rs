//! Who is let in.

use std::sync::Arc;
use std::time::Duration;

use avatar::call::admission::Exchange;
use avatar::engines::Missing;
use avatar::readiness::Readiness;
use signaling::line::{Refusal, Switchboard};
use tokio::time::{Instant, sleep};

use super::caller::{House, defaults};
use super::engines::Book;

#[tokio::test(start_paused = true)]
async fn a_sixth_call_is_refused_with_a_time_and_let_in_when_one_has_ended() {
    let house = House::new();
    let mut callers: Vec<_> = (0..5).map(|_| house.call()).collect();
    sleep(Duration::from_millis(10)).await;
    assert_eq!((house.exchange.active(), house.exchange.limit()), (5, 5));
    match house.exchange.admit(House::anyone()).err() {
        Some(Refusal::Full { limit: 5, retry_after }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    callers[2].hang_up();
    sleep(Duration::from_millis(10)).await;
    let mut sixth = house.call();
    assert!(house.exchange.admit(House::anyone()).is_err());
    sixth.exchange().await;
    assert_eq!(sixth.outcomes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_comes_to_nothing_gives_its_place_back() {
    let house = House::new();
    for _ in 0..100 {
        let seats: Vec<_> = (0..5).map(|_| house.exchange.admit(House::anyone()).unwrap()).collect();
        assert!(house.exchange.admit(House::anyone()).is_err());
        assert_eq!(house.exchange.active(), 0, "a seat is not yet a call");
        drop(seats);
    }
}

#[tokio::test(start_paused = true)]
async fn without_engines_every_call_is_refused_with_what_to_do() {
    let missing = Missing { what: "the language model (auto)".to_owned(), hint: "run `make models`".to_owned() };
    let exchange =
        Exchange::new(Arc::new(Readiness::settled(Err(missing), Vec::new())), Arc::new(Book::default()), defaults(), 5);
    let refusal = exchange.admit(House::anyone()).err().unwrap();
    assert!(matches!(refusal, Refusal::EngineMissing { .. }));
    let text = refusal.to_string();
    assert!(text.contains("the language model") && text.contains("make models"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_lets_nobody_in_and_waits_for_those_who_talk() {
    let house = House::new();
    let mut caller = house.call();
    caller.say(1_000).await;
    house.exchange.stop();
    match house.exchange.admit(House::anyone()).err() {
        Some(Refusal::Draining { retry_after }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    let begun = Instant::now();
    let (drained, ()) = tokio::join!(
        async {
            house.exchange.drain(Duration::from_secs(30)).await;
            begun.elapsed()
        },
        async {
            caller.silence(4_000).await;
            caller.hang_up();
        },
    );
    assert!(drained >= Duration::from_secs(4) && drained < Duration::from_secs(5), "{drained:?}");
    assert_eq!(caller.outcomes().len(), 1, "the call that ran was answered");
    assert_eq!(house.exchange.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_end_is_not_waited_for_beyond_the_grace() {
    let house = House::new();
    let _caller = house.call();
    sleep(Duration::from_millis(10)).await;
    let begun = Instant::now();
    house.exchange.stop();
    house.exchange.drain(Duration::from_secs(3)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(house.exchange.active(), 1);
}
