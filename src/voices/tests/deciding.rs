//! The decisions, without engines or files.

use super::super::maker::{Task, due};
use super::super::{NO_ENGINE, is_profile_id, named, standing};
use super::*;

fn profile(stage: Stage, is_transcribed: bool) -> Profile {
    Profile {
        id: "voice_1".to_owned(),
        owner: None,
        name: "Ann".to_owned(),
        created_at: 0,
        duration_ms: 9_000,
        bandwidth_hz: 8_000,
        transcript: None,
        is_transcribed,
        stage,
    }
}

fn ready(weights: &str) -> Stage {
    Stage::Ready { engine: "pocket-tts".to_owned(), weights: weights.to_owned() }
}

fn failed(weights: &str) -> Stage {
    Stage::Failed { reason: "too strange".to_owned(), weights: weights.to_owned() }
}

#[test]
fn a_voice_is_computed_once_for_each_set_of_weights() {
    let with = |stage, weights, is_spoken| due(&profile(stage, true), true, weights, is_spoken);
    assert_eq!(with(Stage::Waiting, Some("a"), false), Some(Task::Compute));
    assert_eq!(with(Stage::Computing, Some("a"), false), Some(Task::Compute), "the process was killed");
    assert_eq!(with(ready("a"), Some("a"), false), Some(Task::Load));
    assert_eq!(with(ready("a"), Some("a"), true), None);
    assert_eq!(with(ready("a"), Some("b"), false), Some(Task::Compute), "the weights changed");
    assert_eq!(with(failed("a"), Some("a"), false), None, "it would fail again");
    assert_eq!(with(failed("a"), Some("b"), false), Some(Task::Compute));
    for stage in [Stage::Waiting, ready("a"), failed("a")] {
        assert_eq!(due(&profile(stage, true), true, None, false), None, "there is no engine");
    }
}

#[test]
fn what_a_sample_says_is_written_down_where_there_is_an_ear() {
    assert_eq!(due(&profile(ready("a"), false), true, Some("a"), true), Some(Task::Transcribe));
    assert_eq!(due(&profile(ready("a"), false), false, Some("a"), true), None);
    assert_eq!(due(&profile(Stage::Waiting, false), false, Some("a"), false), Some(Task::Compute));
}

#[test]
fn a_profile_shows_where_it_stands_and_what_would_help() {
    let open = |real_time_factor| Workshop::Open(Cloning { cloner: pocket("usual").0, real_time_factor });
    let (fast, slow) = (open(0.3), open(2.5));
    let missing = || Workshop::Missing(NO_ENGINE.to_owned());
    let told = |stage: Stage, workshop: &Workshop, is_spoken, is_held| {
        let (state, reason) = standing(&stage, workshop, is_spoken, is_held);
        (state, reason.unwrap_or_default())
    };
    assert_eq!(told(ready("a"), &fast, true, false), (State::Ready, String::new()));
    assert_eq!(told(ready("a"), &fast, false, false).0, State::Waiting, "not given to the engine yet");
    assert_eq!(told(Stage::Computing, &fast, false, false), (State::Computing, String::new()));
    let (state, reason) = told(ready("a"), &slow, true, false);
    assert!(state == State::Ready && reason.contains("2.5 s for a second"), "{reason}");
    let (state, reason) = told(Stage::Waiting, &fast, false, true);
    assert!(state == State::Waiting && reason.contains("a call is going on"), "{reason}");
    for stage in [Stage::Waiting, Stage::Computing, ready("a")] {
        let (state, reason) = told(stage.clone(), &missing(), false, false);
        assert!(state == State::Waiting && reason.contains("models pull pocket-tts"), "{reason}");
        assert_eq!(told(stage, &Workshop::Opening, false, false).0, State::Waiting);
    }
    for workshop in [&fast, &missing(), &Workshop::Opening] {
        assert_eq!(told(failed("a"), workshop, false, false), (State::Failed, "too strange".to_owned()));
    }
}

#[test]
fn names_are_bounded_and_ids_are_told_from_voices() {
    assert_eq!(named("  Ann\u{7}\n ").unwrap(), "Ann");
    assert!(named(&"字".repeat(60)).is_ok());
    for name in ["", "   ", "\u{0}", &"字".repeat(61)] {
        assert!(matches!(named(name), Err(VoiceError::Name)), "{name:?}");
    }
    let id = format!("voice_{}", uuid::Uuid::new_v4().simple());
    assert!(is_profile_id(&id) && is_profile_id(&format!("pocket-tts/{id}")));
    for voice in ["", "flite/slt", "voice_", "voice_1", "voice_zz23456789abcdef0123456789abcdef"] {
        assert!(!is_profile_id(voice), "{voice}");
    }
}
