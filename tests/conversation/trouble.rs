//! Engines that fail.

use signaling::line::{CallEvent, Outcome};

use super::world::{Failing, Script, World};

fn after(failing: Failing) -> World {
    let mut world = World::with(Script { fail: Some(failing), ..Script::default() }, |_| {});
    world.exchange("What's the weather like?");
    world
}

/// The engine recovers, and so must the call.
fn goes_on(mut world: World) {
    world.script.fail = None;
    let before = world.outcomes().len();
    world.exchange("Are you still there?");
    assert_eq!(world.outcomes().len(), before + 1);
    assert_eq!(world.outcomes().last(), Some(&Outcome::Completed));
}

#[test]
fn a_failed_transcript_is_told_its_audio_kept_and_the_call_goes_on() {
    let world = after(Failing::Stt);
    assert_eq!(world.count(|event| matches!(event, CallEvent::TranscriptFailed { .. })), 1);
    assert_eq!(world.replies(), 0);
    assert!(world.kept[0].question.as_ref().unwrap().audio.is_some());
    goes_on(world);
}

#[test]
fn a_failed_language_model_is_told_and_the_question_kept() {
    let world = after(Failing::Llm);
    assert_eq!(world.faults(), ["engine_failed"]);
    assert!(matches!(world.outcomes()[..], [Outcome::Failed(_)]));
    assert_eq!(world.kept[0].question.as_ref().unwrap().text, "What's the weather like?");
    assert!(world.kept[0].answer.as_ref().unwrap().failure.is_some());
    goes_on(world);
}

#[test]
fn a_language_model_that_fails_midway_leaves_what_was_said() {
    let world = after(Failing::LlmMidway);
    let answer = world.kept[0].answer.as_ref().unwrap();
    assert!(answer.text.starts_with("It is sunny today."), "{answer:?}");
    assert!(matches!(world.outcomes()[..], [Outcome::Failed(_)]));
    goes_on(world);
}

#[test]
fn a_failed_voice_is_told_and_the_text_kept() {
    let world = after(Failing::Tts);
    assert!(matches!(world.outcomes()[..], [Outcome::Failed(_)]));
    assert!(world.kept[0].answer.as_ref().unwrap().text.starts_with("It is sunny today."));
    goes_on(world);
}

#[test]
fn a_language_model_that_fails_while_preparing_is_tried_again_unseen() {
    let mut world = World::with(Script { fail: Some(Failing::Llm), llm_first_ms: 5, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_000);
    world.silence(175);
    assert_eq!(world.prompts.len(), 1);
    world.script.fail = None;
    world.silence(6_000);
    assert!(world.faults().is_empty());
    assert_eq!(world.outcomes(), [Outcome::Completed]);
}
