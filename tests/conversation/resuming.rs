//! The line is lost in the middle of a talk, and another takes its place.

use signaling::line::{Ask, CallEvent, Outcome, ResumedFrom, SessionPatch, TurnEnd};

use super::world::{Failing, Script, World};

const LONG: &str = "One two three four five six seven eight nine ten. Eleven twelve thirteen fourteen fifteen sixteen.";

fn counting() -> Script {
    Script { answer: Box::new(|_| LONG.to_owned()), ..Script::default() }
}

fn playing(event: &CallEvent) -> bool {
    matches!(event, CallEvent::PlayoutStarted { .. })
}

/// A reply of 4.8 seconds has been playing for about `ms`.
fn mid_reply(script: Script, ms: u64) -> World {
    let mut world = World::with(script, |_| {});
    world.say("Please count.", 900);
    while world.when(playing).is_none() {
        world.silence(20);
        assert!(world.ms() < 6_000, "no reply");
    }
    world.silence(ms);
    world
}

/// What has been told since the last `session.created`, that one included.
fn told_again(world: &World) -> Vec<&CallEvent> {
    let events: Vec<_> = world.events.iter().map(|(_, event)| event).collect();
    let last = events.iter().rposition(|event| matches!(event, CallEvent::SessionCreated(_))).unwrap();
    events[last..].to_vec()
}

#[test]
fn a_reply_goes_on_where_the_caller_was_lost_without_a_gap_and_without_saying_anything_twice() {
    for unnoticed in [0, 40, 600, 2_500] {
        let mut world = mid_reply(counting(), 1_500);
        world.lose_the_line(unnoticed);
        world.silence(8_000);
        world.come_back(SessionPatch::default());
        // What the first line had sent when the caller was lost, and what the second is given, is the whole.
        let (made, rest) = (16 * 300, world.given[1]);
        let heard = made - rest;
        assert!((1_400..=1_640).contains(&heard), "{unnoticed}: {heard} ms were taken for heard");
        world.silence(9_000);
        assert_eq!(world.outcomes().last(), Some(&Outcome::Completed), "{unnoticed}");
        assert_eq!(world.replies(), 2, "the same reply, told again");
        assert_eq!(world.kept.len(), 1);
        let answer = world.kept[0].answer.as_ref().unwrap();
        assert!(!answer.interrupted && answer.heard == LONG, "{answer:?}");
    }
}

#[test]
fn who_comes_back_is_told_all_there_is_in_order() {
    let mut world = mid_reply(counting(), 1_000);
    world.lose_the_line(600);
    world.come_back(SessionPatch::default());
    let told = told_again(&world);
    let CallEvent::SessionCreated(session) = told[0] else { panic!("{told:?}") };
    assert_eq!((session.call.as_str(), &session.conversation), ("rtc_next", world.conversation.id()));
    let CallEvent::SessionResumed { from: ResumedFrom::Memory, reply: Some(reply), .. } = told[1] else {
        panic!("{told:?}")
    };
    assert!(matches!(told[2], CallEvent::SessionResumable { .. }), "{told:?}");
    assert!(matches!(told[3], CallEvent::ItemAdded { item, .. } if item.text == "Please count."), "{told:?}");
    assert!(matches!(told[5], CallEvent::ReplyStarted { reply: again } if again == reply), "{told:?}");
    let text = told.iter().find_map(|event| match event {
        CallEvent::ReplyText { delta, .. } => Some(delta.trim()),
        _ => None,
    });
    assert_eq!(text, Some(LONG));
    assert!(told.iter().any(|event| matches!(event, CallEvent::ReplyDone { .. })), "it was written down meanwhile");
    world.silence(200);
    assert_eq!(world.count(|event| matches!(event, CallEvent::Timings(_))), 1, "it is one turn");
}

#[test]
fn what_the_caller_was_saying_is_answered_when_they_come_back() {
    let mut world = World::new();
    world.say("What's the weather like?", 1_000);
    world.lose_the_line(0);
    world.silence(6_000);
    assert_eq!(world.count(playing), 0);
    world.come_back(SessionPatch::default());
    world.silence(6_000);
    assert_eq!(world.outcomes(), [Outcome::Completed]);
    assert_eq!(world.kept.len(), 1);
    assert_eq!(world.kept[0].question.as_ref().unwrap().text, "What's the weather like?");
    assert!(world.given[0] == 0 && world.given[1] > 2_000, "all of it is heard on the second line: {:?}", world.given);
}

#[test]
fn nothing_is_told_or_played_while_nobody_is_there() {
    let mut world = mid_reply(Script { llm_word_ms: 300, ..counting() }, 300);
    world.lose_the_line(0);
    let (told, given) = (world.events.len(), world.given.clone());
    world.silence(20_000);
    assert_eq!((world.events.len(), &world.given), (told, &given));
    world.come_back(SessionPatch::default());
    world.silence(12_000);
    assert_eq!(world.kept[0].answer.as_ref().unwrap().text, LONG, "the language model went on meanwhile");
    assert_eq!(world.outcomes(), [Outcome::Completed]);
}

#[test]
fn who_never_comes_back_leaves_what_was_heard_and_no_more() {
    let mut world = mid_reply(counting(), 1_400);
    world.lose_the_line(2_000);
    world.silence(30_000);
    world.hang_up();
    let heard = world.amended.last().map(|amended| amended.heard.as_str());
    let heard = heard.or(world.kept[0].answer.as_ref().map(|answer| answer.heard.as_str())).unwrap();
    assert!(heard.starts_with("One two three") && !heard.contains("seven"), "{heard}");
}

#[test]
fn a_client_that_comes_back_before_it_was_missed_goes_on_all_the_same() {
    let mut world = mid_reply(counting(), 1_000);
    world.come_back(SessionPatch::default());
    world.silence(9_000);
    assert!((3_500..=3_900).contains(&world.given[1]), "{:?}", world.given);
    assert_eq!(world.kept.len(), 1);
}

#[test]
fn speaking_over_a_reply_that_goes_on_counts_what_was_heard_on_both_lines() {
    let mut world = mid_reply(counting(), 1_500);
    world.lose_the_line(0);
    world.come_back(SessionPatch::default());
    world.silence(900);
    world.say("Stop.", 400);
    world.silence(200);
    let heard = world.amended.last().unwrap();
    assert!(heard.interrupted && heard.heard.contains("seven") && !heard.heard.contains("ten"), "{heard:?}");
}

#[test]
fn a_reply_that_was_being_cut_when_the_line_was_lost_is_cut() {
    let mut world = mid_reply(counting(), 1_000);
    // The line has no time to say what was played.
    world.ask(Ask::CancelReply { reply: None });
    world.lose_the_line(0);
    world.come_back(SessionPatch::default());
    world.silence(3_000);
    assert_eq!(world.given[1], 0);
    assert_eq!(world.kept.len(), 1);
}

#[test]
fn a_second_loss_rewinds_on_the_second_line() {
    let mut world = mid_reply(counting(), 1_000);
    world.lose_the_line(600);
    world.come_back(SessionPatch::default());
    world.silence(1_000);
    world.lose_the_line(600);
    world.come_back(SessionPatch::default());
    let heard = 16 * 300 - world.given[2];
    assert!((1_800..=2_200).contains(&heard), "{heard}");
}

#[test]
fn the_session_is_kept_as_it_changes_and_goes_on_as_it_was() {
    let mut world = World::new();
    assert_eq!(world.sessions.len(), 1);
    let instructions = Some("Speak like a pirate.".to_owned());
    world.ask(Ask::UpdateSession(SessionPatch { instructions, ..SessionPatch::default() }));
    assert_eq!(world.sessions.last().unwrap().instructions, "Speak like a pirate.");
    world.lose_the_line(0);
    let turn_end = Some(TurnEnd::Manual);
    world.come_back(SessionPatch { turn_end, ..SessionPatch::default() });
    let session = world.sessions.last().unwrap();
    assert_eq!((session.instructions.as_str(), session.turn_end), ("Speak like a pirate.", TurnEnd::Manual));
    assert_eq!(session.call.as_str(), "rtc_next");
}

#[test]
fn an_engine_that_fails_while_nobody_is_there_does_not_stop_the_talk() {
    let mut world = mid_reply(Script { llm_word_ms: 300, ..counting() }, 100);
    world.script.fail = Some(Failing::Tts);
    world.lose_the_line(0);
    world.silence(5_000);
    world.script.fail = None;
    world.come_back(SessionPatch::default());
    world.exchange("Please go on.");
    assert_eq!(world.outcomes().last(), Some(&Outcome::Completed));
    assert_eq!(world.kept.len(), 2);
}
