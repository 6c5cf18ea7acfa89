//! A call without a line that nobody waits for any more: its caller hangs up by another way, or somebody else needs its place.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avatar::call::admission::SessionDefaults;
use avatar::call::allowance::{Allowances, Meter, Share, Usage};
use signaling::grant::Grant;
use signaling::line::{Asking, CallEvent, CallId, FromCaller, HangUp, Refusal, ResumedFrom, SessionPatch, Switchboard};
use tokio::time::sleep;

use super::caller::{Caller, House, defaults, playing};
use super::engines::Script;

/// How long a call without a line is left its place, whoever asks.
const UNDISTURBED: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

struct Free;

impl Meter for Free {
    fn used(&self, _: &str, _: SystemTime) -> Usage {
        Usage::default()
    }

    fn add(&self, _: &str, _: SystemTime, _: Usage) {}
}

fn house() -> House {
    let defaults = SessionDefaults { resume: PATIENCE, resume_from_history: 100 * PATIENCE, ..defaults() };
    House::with_defaults(Script { chunks: 20, ..Script::default() }, defaults)
}

fn key(name: &str) -> Grant {
    Grant { key: name.to_owned(), ..Grant::default() }
}

fn vanish(caller: &Caller) {
    caller.say_last(FromCaller::HungUp(HangUp::Vanished));
}

fn back(caller: &Caller) -> SessionPatch {
    SessionPatch { resume: Some(caller.token()), ..SessionPatch::default() }
}

fn refusal(house: &House, grant: Option<&Grant>, session: &SessionPatch) -> Option<Refusal> {
    house.exchange.admit(Asking { grant, session }).err()
}

fn is_full(house: &House) -> bool {
    matches!(refusal(house, None, &SessionPatch::default()), Some(Refusal::Full { .. }))
}

fn from_history(caller: &Caller) -> bool {
    caller.count(|event| matches!(event, CallEvent::SessionResumed { from: ResumedFrom::History, .. })) == 1
}

/// Callers who have all been heard of.
async fn callers(house: &House, count: usize) -> Vec<Caller> {
    let mut callers: Vec<_> = (0..count).map(|_| house.call()).collect();
    for caller in &mut callers {
        caller.silence(40).await;
    }
    callers
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_line_is_ended_by_its_caller_and_not_gone_on_with() {
    let house = house();
    let mut caller = house.call_as(SessionPatch::default(), Some(&key("ada")));
    caller.say(1_000).await;
    caller.until(playing).await;
    vanish(&caller);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(house.exchange.owner(&caller.id), Some(Some("ada".to_owned())));
    assert!(house.exchange.hang_up(&caller.id));
    house.ended().await;
    assert_eq!(house.exchange.taken(), 0);
    assert!(matches!(refusal(&house, Some(&key("ada")), &back(&caller)), Some(Refusal::ResumeTokenInvalid)));
    assert_eq!(house.book.kept().len(), 1, "what was said is written down");
    assert!(house.book.sessions.lock().unwrap().is_empty(), "whoever hangs up does not come back");
    assert!(!house.exchange.hang_up(&caller.id) && house.exchange.owner(&caller.id).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_that_is_quicker_than_the_end_of_its_line_counts() {
    let house = house();
    let mut caller = house.call();
    caller.silence(100).await;
    assert!(house.exchange.hang_up(&caller.id));
    caller.silence(100).await;
    assert_eq!(house.exchange.active(), 1, "the line ends in its own time");
    vanish(&caller);
    house.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_was_replaced_ends_no_call() {
    let house = house();
    let mut caller = house.call();
    caller.silence(100).await;
    let mut again = house.call_with(back(&caller));
    again.silence(100).await;
    assert!(!house.exchange.hang_up(&caller.id) && !house.exchange.hang_up(&CallId::fresh()));
    assert!(house.exchange.owner(&caller.id).is_none());
    vanish(&again);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(house.exchange.active(), 1);
    assert!(house.exchange.hang_up(&again.id));
    house.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_house_lets_its_own_caller_back_in_and_for_a_while_nobody_else() {
    let house = house();
    let callers = callers(&house, 5).await;
    vanish(&callers[0]);
    sleep(UNDISTURBED - Duration::from_secs(1)).await;
    assert!(is_full(&house));
    let mut again = house.call_with(back(&callers[0]));
    again.exchange().await;
    assert_eq!(again.outcomes().len(), 1);
    sleep(UNDISTURBED).await;
    assert!(is_full(&house), "it has a line again");
    assert_eq!(house.exchange.taken(), 5);
}

#[tokio::test(start_paused = true)]
async fn callers_are_not_refused_for_those_who_closed_their_pages() {
    let house = house();
    let callers = callers(&house, 5).await;
    for gone in [3, 1] {
        vanish(&callers[gone]);
        sleep(Duration::from_secs(1)).await;
    }
    sleep(UNDISTURBED).await;
    // The one who has been away longest first.
    let mut new = house.call();
    new.exchange().await;
    assert_eq!(new.outcomes().len(), 1);
    assert_eq!((house.exchange.active(), house.exchange.taken()), (5, 5));
    assert_eq!(house.exchange.owner(&callers[3].id), None);
    assert_eq!(house.exchange.owner(&callers[1].id), Some(None));
    let _another = house.call();
    assert!(is_full(&house), "whoever talks is not disturbed");

    // Who has lost the place finds the talk in the history, once there is another.
    assert!(matches!(refusal(&house, None, &back(&callers[3])), Some(Refusal::Full { .. })));
    new.hang_up();
    sleep(Duration::from_secs(1)).await;
    let mut late = house.call_with(back(&callers[3]));
    late.silence(40).await;
    assert!(from_history(&late));
}

#[tokio::test(start_paused = true)]
async fn a_line_on_its_way_back_keeps_the_place() {
    let house = house();
    let callers = callers(&house, 5).await;
    vanish(&callers[0]);
    sleep(2 * UNDISTURBED).await;
    let session = back(&callers[0]);
    let seat = house.exchange.admit(Asking { grant: None, session: &session }).unwrap();
    assert!(is_full(&house));
    let mut again = house.connect(session, None, seat);
    assert!(is_full(&house));
    again.silence(100).await;
    assert!(!from_history(&again));
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_page_was_closed_may_call_again_and_takes_nobody_elses_place() {
    let mut house = house();
    let share = Share { calls: 1, ..Share::default() };
    house.exchange = house.exchange.with_allowances(Allowances::new(share, Arc::new(Free)));
    let (ada, bob) = (key("ada"), key("bob"));
    let of = |grant: &Grant| house.call_as(SessionPatch::default(), Some(grant));
    let (mut adas, mut bobs) = (of(&ada), of(&bob));
    for caller in [&mut bobs, &mut adas] {
        caller.silence(40).await;
        vanish(caller);
        sleep(Duration::from_secs(1)).await;
    }
    let nothing = SessionPatch::default();
    assert!(matches!(refusal(&house, Some(&ada), &nothing), Some(Refusal::Quota { .. })));
    sleep(UNDISTURBED).await;
    let mut new = of(&ada);
    new.silence(40).await;
    assert_eq!(house.exchange.owner(&adas.id), None);
    assert_eq!(house.exchange.owner(&bobs.id), Some(Some("bob".to_owned())), "there was room enough");
    assert!(matches!(refusal(&house, Some(&ada), &nothing), Some(Refusal::Quota { .. })));
    assert_eq!((house.exchange.active(), house.exchange.taken()), (2, 2));
}
