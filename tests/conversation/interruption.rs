//! Speaking over a reply.

use std::time::Duration;

use signaling::line::{CallEvent, Outcome};

use super::world::{Script, World};

fn long_answer() -> Script {
    let text = "One two three four five six seven eight nine ten. Eleven twelve thirteen fourteen fifteen sixteen.";
    Script { answer: Box::new(|_| text.to_owned()), ..Script::default() }
}

/// A reply of five seconds has been playing for about `ms`.
fn mid_reply(ms: u64) -> World {
    let mut world = World::with(long_answer(), |_| {});
    world.say("Please count.", 900);
    let before = world.ms();
    while world.when(|event| matches!(event, CallEvent::PlayoutStarted { .. })).is_none() {
        world.silence(20);
        assert!(world.ms() < before + 3_000, "no reply");
    }
    world.silence(ms);
    world
}

#[test]
fn reply_stops_when_caller_interrupts() {
    let mut world = mid_reply(1_000);
    let spoke_at = world.ms();
    world.say("Stop.", 400);
    let cut = world.when(|event| matches!(event, CallEvent::PlayoutCleared { .. })).unwrap();
    assert!(cut - spoke_at <= 150, "{} ms", cut - spoke_at);
}

#[test]
fn only_what_was_heard_is_remembered() {
    let mut world = mid_reply(1_400);
    world.say("Wait, what was the last number?", 1_500);
    world.silence(9_000);
    let prompt = world.last_prompt();
    assert!(prompt.contains("Assistant: One two three"), "{prompt}");
    assert!(!prompt.contains("seven"), "{prompt}");
}

#[test]
fn the_cut_reply_is_reported_cut_with_what_was_heard() {
    let mut world = mid_reply(1_400);
    world.say("Stop.", 400);
    world.silence(200);
    assert_eq!(world.outcomes(), [Outcome::Completed], "all of it had been made and written down");
    let heard = world.events.iter().find_map(|(_, event)| match event {
        CallEvent::ItemTruncated { heard, .. } => Some(*heard),
        _ => None,
    });
    assert!(
        heard.unwrap() > Duration::from_millis(1_300) && heard.unwrap() < Duration::from_millis(1_700),
        "{heard:?}"
    );
    assert_eq!(world.amended.len(), 1);
    assert!(world.amended[0].interrupted);
    assert!(world.amended[0].heard.starts_with("One two three"), "{:?}", world.amended);
}

#[test]
fn a_reply_cut_while_it_is_still_written_is_cancelled_by_the_turn() {
    let script = Script { llm_word_ms: 400, ..long_answer() };
    let mut world = World::with(script, |_| {});
    world.say("Please count.", 900);
    world.silence(5_000);
    world.say("Stop.", 400);
    world.silence(300);
    assert_eq!(world.outcomes(), [Outcome::TurnDetected]);
    let record = &world.kept[0];
    let answer = record.answer.as_ref().unwrap();
    assert!(answer.interrupted && answer.text.len() > answer.heard.len(), "{answer:?}");
}

#[test]
fn nothing_of_a_cut_reply_is_spoken_afterwards() {
    let mut world = mid_reply(500);
    world.say("Stop.", 400);
    let sentences = world.spoken.len();
    world.silence(150);
    assert_eq!(world.spoken.len(), sentences);
    let played_after =
        world.events.iter().rev().take_while(|(_, event)| !matches!(event, CallEvent::PlayoutCleared { .. }));
    assert_eq!(played_after.filter(|(_, event)| matches!(event, CallEvent::ReplyText { .. })).count(), 0);
}

#[test]
fn the_interruption_is_answered() {
    let mut world = mid_reply(1_000);
    world.say("Stop. What time is it?", 1_500);
    world.silence(9_000);
    assert_eq!(world.replies(), 2);
    assert_eq!(world.outcomes().len(), 2);
    assert_eq!(world.outcomes().last(), Some(&Outcome::Completed));
    assert_eq!(world.kept.len(), 2);
}

#[test]
fn a_caller_who_resumes_before_the_answer_is_heard_is_understood_as_one() {
    // A false end: judged finished, but the caller goes on just when the reply would begin.
    let mut world = World::with(Script { llm_first_ms: 900, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_000);
    world.silence(400);
    world.say("In Taipei, I mean.", 1_000);
    world.silence(9_000);
    assert_eq!(world.count(|event| matches!(event, CallEvent::PlayoutStarted { .. })), 1);
    assert!(
        world.last_prompt().ends_with("User: What's the weather like? In Taipei, I mean."),
        "{}",
        world.last_prompt()
    );
}

#[test]
fn a_client_that_forbids_interruption_hears_the_reply_out() {
    let mut world = World::with(long_answer(), |session| session.interrupt_response = false);
    world.say("Please count.", 900);
    world.silence(1_500);
    world.say("Hm.", 200);
    world.silence(200);
    assert_eq!(world.count(|event| matches!(event, CallEvent::PlayoutCleared { .. })), 0);
}

#[test]
fn speech_after_the_reply_has_ended_cuts_nothing() {
    let mut world = World::new();
    world.exchange("What's the weather like?");
    world.say("And tomorrow?", 800);
    world.silence(9_000);
    assert_eq!(world.count(|event| matches!(event, CallEvent::PlayoutCleared { .. })), 0);
    assert_eq!(world.outcomes(), [Outcome::Completed, Outcome::Completed]);
}
