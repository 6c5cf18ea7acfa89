//! When a turn begins and ends.

use std::time::Duration;

use models::stt::Urgency;
use signaling::line::{Ask, CallEvent, TurnEnd};

use super::world::{Script, World};

fn started(event: &CallEvent) -> bool {
    matches!(event, CallEvent::SpeechStarted { .. })
}

fn stopped(event: &CallEvent) -> bool {
    matches!(event, CallEvent::SpeechStopped { .. })
}

#[test]
fn a_question_gets_one_turn_and_one_answer() {
    let mut world = World::new();
    world.exchange("What's the weather like?");
    assert_eq!(world.transcripts(), ["What's the weather like?"]);
    assert_eq!(world.replies(), 1);
    assert_eq!(world.spoken, ["It is sunny today.", "Tomorrow it will rain."]);
}

#[test]
fn a_finished_question_is_committed_within_three_hundred_milliseconds() {
    let mut world = World::new();
    world.say("What's the weather like?", 1_200);
    world.silence(2_000);
    let stopped = world.when(stopped).unwrap();
    assert!((1_400..=1_500).contains(&stopped), "{stopped}");
}

#[test]
fn a_question_that_does_not_sound_finished_is_committed_as_soon_as_one_that_does() {
    let mut world = World::with(Script { sounds_finished: Some(0.02), ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_200);
    world.silence(2_000);
    let stopped = world.when(stopped).unwrap();
    assert!((1_440..=1_500).contains(&stopped), "{stopped}");
}

#[test]
fn a_finished_sentence_that_does_not_sound_so_is_committed_within_four_hundred_milliseconds() {
    let mut world = World::with(Script { sounds_finished: Some(0.02), ..Script::default() }, |_| {});
    world.say("The child almost hurt the small dog.", 2_000);
    world.silence(2_000);
    let stopped = world.when(stopped).unwrap();
    assert!((2_300..=2_400).contains(&stopped), "{stopped}");
}

#[test]
fn an_if_clause_is_waited_for() {
    let mut world = World::new();
    world.say("If it rains tomorrow,", 1_200);
    world.silence(1_000);
    world.say("we will stay at home.", 1_200);
    world.silence(3_000);
    assert_eq!(world.transcripts(), ["If it rains tomorrow, we will stay at home."]);
}

#[test]
fn a_pause_in_mid_sentence_does_not_end_the_turn() {
    let mut world = World::with(Script { sounds_finished: Some(0.1), ..Script::default() }, |_| {});
    world.say("And so my fellow Americans", 1_500);
    world.silence(700);
    world.say("ask not what your country can do for you.", 2_000);
    world.silence(3_000);
    assert_eq!(world.transcripts(), ["And so my fellow Americans ask not what your country can do for you."]);
    assert_eq!(world.replies(), 1);
}

#[test]
fn a_thinking_pause_that_sounds_finished_does_not_end_an_unfinished_sentence() {
    let mut world = World::new();
    world.say("I would like to book a table for", 1_500);
    world.silence(450);
    world.say("two people.", 700);
    world.silence(3_000);
    assert_eq!(world.transcripts(), ["I would like to book a table for two people."]);
}

#[test]
fn an_unfinished_sentence_is_answered_in_the_end() {
    let mut world = World::new();
    world.say("I would like to", 900);
    world.silence(4_000);
    assert_eq!(world.transcripts(), ["I would like to"]);
    assert_eq!(world.replies(), 1);
}

#[test]
fn a_cough_of_sixty_milliseconds_is_not_a_turn() {
    let mut world = World::new();
    world.say("(cough)", 60);
    world.silence(3_000);
    assert_eq!(world.count(started), 0);
    assert!(world.transcriptions.is_empty());
}

#[test]
fn a_minute_of_noise_that_the_gate_refuses_gets_no_reply() {
    let mut world = World::with(Script { noise: true, ..Script::default() }, |_| {});
    for _ in 0..30 {
        world.say("Thank you for watching.", 800);
        world.silence(1_200);
    }
    assert!(world.count(started) > 0, "the noise was loud enough to be looked at");
    assert_eq!(world.replies(), 0);
    assert!(world.kept.is_empty());
    assert!(world.prompts.is_empty());
    assert_eq!(world.count(|event| matches!(event, CallEvent::ItemAdded { .. })), 0);
}

#[test]
fn a_minute_of_silence_asks_no_engine_for_anything() {
    let mut world = World::new();
    world.silence(60_000);
    assert!(world.transcriptions.is_empty());
    assert_eq!(world.judgements, 0);
    assert_eq!(world.events.len(), 1, "only the session");
}

#[test]
fn words_appear_while_the_caller_still_speaks() {
    let mut world = World::new();
    world.say("It was the best of times", 2_500);
    assert!(world.count(|event| matches!(event, CallEvent::TranscriptDelta { .. })) > 0);
    assert_eq!(world.count(stopped), 0);
}

#[test]
fn partial_words_joined_are_the_final_text() {
    let mut world = World::new();
    world.say("It was the best of times,", 2_000);
    world.say("it was the worst of times.", 2_000);
    world.silence(2_000);
    let joined: String = world
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            CallEvent::TranscriptDelta { delta, .. } => Some(delta.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(world.transcripts(), [joined.trim()]);
}

#[test]
fn a_partial_is_not_asked_for_while_one_is_in_work() {
    let mut world = World::with(Script { stt_ms: 3_000, ..Script::default() }, |_| {});
    world.say("A slow machine listens to a long sentence", 5_000);
    let partials = world.transcriptions.iter().filter(|urgency| **urgency == Urgency::Partial).count();
    assert!((1..=2).contains(&partials), "{partials}");
}

#[test]
fn the_turn_ends_without_a_turn_model_too() {
    let mut world = World::with(Script { sounds_finished: None, ..Script::default() }, |_| {});
    world.exchange("What's the weather like?");
    assert_eq!(world.replies(), 1);
}

#[test]
fn a_slow_transcript_delays_the_answer_and_loses_nothing() {
    let mut world = World::with(Script { stt_ms: 2_500, ..Script::default() }, |_| {});
    world.exchange("What's the weather like?");
    assert_eq!(world.transcripts(), ["What's the weather like?"]);
    assert_eq!(world.replies(), 1);
}

#[test]
fn speech_during_a_slow_transcript_is_answered_once_with_both_parts() {
    let mut world = World::with(Script { stt_ms: 1_500, sounds_finished: None, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_000);
    world.silence(900);
    world.say("In Taipei, I mean.", 1_000);
    world.silence(9_000);
    assert_eq!(world.transcripts(), ["What's the weather like?", "In Taipei, I mean."]);
    assert_eq!(world.replies(), 1);
    assert!(world.last_prompt().contains("What's the weather like? In Taipei, I mean."), "{}", world.last_prompt());
}

#[test]
fn a_client_that_commits_turns_itself_is_not_interrupted_by_pauses() {
    let mut world = World::with(Script::default(), |session| session.turn_end = TurnEnd::Manual);
    world.say("First part.", 800);
    world.silence(3_000);
    world.say("Second part.", 800);
    assert_eq!(world.count(stopped), 0);
    world.ask(Ask::CommitInput);
    world.silence(2_000);
    assert_eq!(world.transcripts(), ["First part. Second part."]);
    assert_eq!(world.replies(), 1);
}

#[test]
fn a_fixed_silence_is_kept_exactly() {
    let silence = TurnEnd::Silence(Duration::from_millis(800));
    let mut world = World::with(Script::default(), |session| session.turn_end = silence);
    world.say("Done.", 600);
    world.silence(3_000);
    let stopped = world.when(stopped).unwrap();
    assert!((1_380..=1_450).contains(&stopped), "{stopped}");
}

#[test]
fn the_caller_hears_every_turn_counted_on_their_own_clock() {
    let mut world = World::new();
    world.silence(1_000);
    world.say("Hello there.", 1_000);
    world.silence(2_000);
    let (mut began, mut ended) = (Duration::ZERO, Duration::ZERO);
    for (_, event) in &world.events {
        match event {
            CallEvent::SpeechStarted { at, .. } => began = *at,
            CallEvent::SpeechStopped { at, .. } => ended = *at,
            _ => {}
        }
    }
    // The pre-roll belongs to the turn.
    assert!((650..=800).contains(&began.as_millis()), "{began:?}");
    assert!((1_950..=2_050).contains(&ended.as_millis()), "{ended:?}");
}
