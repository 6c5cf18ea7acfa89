//! How a reply is prepared, spoken and reported.

use models::llm::StopReason;
use signaling::line::{CallEvent, Outcome, Timings};

use super::world::{Script, World};

fn timings(world: &World) -> Timings {
    let last = |(_, event): &(u64, CallEvent)| match event {
        CallEvent::Timings(timings) => Some(timings.clone()),
        _ => None,
    };
    world.events.iter().rev().find_map(last).unwrap()
}

#[test]
fn the_first_audio_does_not_wait_for_the_last_word() {
    let script = Script { llm_word_ms: 200, ..Script::default() };
    let mut world = World::with(script, |_| {});
    world.exchange("What's the weather like?");
    let spoken = world.when(|event| matches!(event, CallEvent::ReplySpoken { .. })).unwrap();
    let began = world.when(|event| matches!(event, CallEvent::PlayoutStarted { .. })).unwrap();
    assert!(began + 500 < spoken, "{began} {spoken}");
}

#[test]
fn an_answer_prepared_in_the_pause_is_heard_soon_after_the_commit() {
    let mut world = World::new();
    world.exchange("What's the weather like?");
    let timings = timings(&world);
    let first_packet = timings.first_packet.unwrap();
    assert!(first_packet.as_millis() < 420, "{timings:?}");
    assert!(timings.first_token.unwrap() < first_packet);
}

#[test]
fn nothing_of_a_prepared_answer_is_seen_before_the_turn_is_over() {
    let mut world = World::with(Script { llm_first_ms: 1, ..Script::default() }, |_| {});
    world.exchange("What's the weather like?");
    let stopped = world.when(|event| matches!(event, CallEvent::SpeechStopped { .. })).unwrap();
    let created = world.when(|event| matches!(event, CallEvent::ReplyStarted { .. })).unwrap();
    assert!(created >= stopped);
}

#[test]
fn a_caller_who_goes_on_makes_the_prepared_answer_vanish() {
    let mut world = World::with(Script { llm_first_ms: 1, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_000);
    world.silence(190);
    assert_eq!(world.prompts.len(), 1, "prepared");
    world.say("In Taipei?", 800);
    world.silence(9_000);
    assert_eq!(world.replies(), 1);
    assert_eq!(world.transcripts(), ["What's the weather like? In Taipei?"]);
    assert_eq!(world.outcomes(), [Outcome::Completed]);
    assert_eq!(world.kept.len(), 1);
}

#[test]
fn events_of_a_turn_come_in_the_order_clients_rely_on() {
    let mut world = World::new();
    world.exchange("What's the weather like?");
    let name = |event: &CallEvent| format!("{event:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    let mut names: Vec<_> = world.events.iter().map(|(_, event)| name(event)).collect();
    names.dedup();
    let expected = "SessionCreated SpeechStarted TranscriptDelta SpeechStopped InputCommitted ItemAdded ItemDone TranscriptDelta \
                    TranscriptDone ReplyStarted ReplyItem ReplyText PlayoutStarted Timings ReplyText ReplySpoken ReplyDone \
                    PlayoutStopped";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn a_second_turn_knows_the_first() {
    let mut world = World::new();
    world.exchange("My name is Ada.");
    world.exchange("What is my name?");
    let prompt = world.last_prompt();
    assert_eq!(
        prompt,
        "System: Be brief.\nUser: My name is Ada.\nAssistant: It is sunny today. Tomorrow it will rain.\nUser: What is my name?"
    );
}

#[test]
fn a_long_reply_is_spoken_without_running_dry_and_not_all_at_once() {
    let answer = "This is a sentence of exactly nine words here. ".repeat(30);
    let script = Script { answer: Box::new(move |_| answer.clone()), ..Script::default() };
    let mut world = World::with(script, |_| {});
    world.say("Tell me everything.", 1_000);
    world.silence(3_000);
    assert!(world.spoken.len() < 6, "made far ahead: {}", world.spoken.len());
    world.silence(90_000);
    assert_eq!(world.spoken.len(), 30);
    assert_eq!(world.outcomes(), [Outcome::Completed]);
}

#[test]
fn a_reply_of_nothing_speakable_is_done_and_the_call_goes_on() {
    let script = Script { answer: Box::new(|_| "😀😀😀".to_owned()), ..Script::default() };
    let mut world = World::with(script, |_| {});
    world.exchange("Show me a smile.");
    assert_eq!(world.outcomes(), [Outcome::Completed]);
    assert!(world.spoken.is_empty());
    world.exchange("And again?");
    assert_eq!(world.outcomes().len(), 2);
}

#[test]
fn a_reply_at_the_token_limit_does_not_break_off_in_mid_sentence() {
    for (answer, spoken) in [
        ("It is sunny today. Tomorrow it will", vec!["It is sunny today."]),
        ("It is sunny today and", vec!["It is sunny today and"]),
    ] {
        let answer = answer.to_owned();
        let script =
            Script { stop_reason: StopReason::Length, answer: Box::new(move |_| answer.clone()), ..Script::default() };
        let mut world = World::with(script, |_| {});
        world.exchange("What's the weather like?");
        assert_eq!(world.spoken, spoken);
        assert_eq!(world.outcomes(), [Outcome::Completed]);
    }
}

#[test]
fn a_reply_that_breaks_off_is_spoken_to_its_last_whole_sentence_and_that_is_told() {
    let script = Script {
        stop_reason: StopReason::BrokenOff,
        answer: Box::new(|_| "It is sunny today. Tomorrow it will".to_owned()),
        llm_first_ms: 3_000,
        ..Script::default()
    };
    let mut world = World::with(script, |_| {});
    world.exchange("What's the weather like?");
    assert_eq!(world.spoken, ["It is sunny today."]);
    assert_eq!(world.outcomes(), [Outcome::Completed]);
    assert_eq!(world.faults(), ["engine_failed"]);
}

#[test]
fn a_reply_that_breaks_off_before_anyone_saw_it_is_made_anew() {
    let script = Script { stop_reason: StopReason::BrokenOff, llm_first_ms: 1, llm_word_ms: 1, ..Script::default() };
    let mut world = World::with(script, |_| {});
    world.say("What's the weather like?", 1_000);
    world.silence(175);
    assert_eq!(world.prompts.len(), 1);
    world.script.stop_reason = StopReason::EndOfTurn;
    world.silence(6_000);
    assert!(world.faults().is_empty());
    assert_eq!(world.outcomes(), [Outcome::Completed]);
}

#[test]
fn an_empty_reply_is_done_too() {
    let script = Script { answer: Box::new(|_| String::new()), ..Script::default() };
    let mut world = World::with(script, |_| {});
    world.exchange("Say nothing.");
    assert_eq!(world.outcomes(), [Outcome::Completed]);
}

#[test]
fn the_reply_is_spoken_in_the_chosen_voice_and_an_unknown_voice_is_the_default() {
    for (asked, spoken) in
        [("slt-hts", "festival/slt-hts"), ("festival/slt-hts", "festival/slt-hts"), ("alloy", "flite/slt")]
    {
        let mut world = World::with(Script::default(), |session| session.voice = asked.to_owned());
        world.exchange("Hello?");
        assert_eq!(world.voices.first().map(String::as_str), Some(spoken), "{asked}");
    }
}

#[test]
fn a_client_that_wants_no_automatic_reply_gets_none() {
    let mut world = World::with(Script::default(), |session| session.create_response = false);
    world.exchange("What's the weather like?");
    assert_eq!(world.replies(), 0);
    assert!(world.prompts.is_empty());
    assert_eq!(world.kept.len(), 1);
    assert!(world.kept[0].answer.is_none());
}
