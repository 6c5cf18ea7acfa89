//! What is written down, and when.

use std::time::{Duration, SystemTime};

use avatar::call::dialogue::spoken;
use avatar::call::step::Input;
use signaling::line::{Ask, CallEvent, Item, ItemId, ItemStatus, Medium, Outcome, Role};

use super::world::{Failing, Script, World};

#[test]
fn a_turn_is_written_down_before_it_is_reported_done() {
    let mut world = World::with(Script { keep_ms: 4_000, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_200);
    world.silence(3_000);
    assert_eq!(world.kept.len(), 1);
    assert!(world.outcomes().is_empty());
    world.silence(9_000);
    assert_eq!(world.outcomes(), [Outcome::Completed]);
}

#[test]
fn a_record_has_both_texts_both_sides_audio_and_the_timings() {
    let mut world = World::new();
    world.silence(2_000);
    world.exchange("What's the weather like?");
    let record = &world.kept[0];
    let question = record.question.as_ref().unwrap();
    let answer = record.answer.as_ref().unwrap();
    assert_eq!(question.text, "What's the weather like?");
    let asked = question.audio.as_ref().unwrap().duration();
    assert!((1_600..=2_000).contains(&asked.as_millis()), "pre-roll, speech and pause: {asked:?}");
    assert_eq!(answer.text, "It is sunny today. Tomorrow it will rain.");
    assert_eq!(answer.heard, answer.text);
    assert_eq!(answer.audio.as_ref().unwrap().duration(), Duration::from_millis(8 * 300));
    assert!(record.timings.first_packet.is_some() && record.timings.turn_commit.is_some());
    let started = record.started.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!((1_000_002.0..1_000_002.4).contains(&started.as_secs_f64()), "{started:?}");
}

#[test]
fn hanging_up_in_mid_reply_keeps_what_was_heard() {
    let mut world = World::new();
    world.say("What's the weather like?", 1_200);
    world.silence(1_500);
    world.hang_up();
    assert_eq!(world.kept.len(), 1);
    let heard = world
        .amended
        .first()
        .map_or_else(|| world.kept[0].answer.as_ref().unwrap().heard.clone(), |amendment| amendment.heard.clone());
    assert!(heard.starts_with("It is") && !heard.contains("rain"), "{heard}");
    // How much of the sound was sent is in no record, and is told whether the record came before the cut or after it.
    let cut = world.amended.last().unwrap();
    assert!(cut.interrupted && cut.played > Duration::ZERO && cut.played < Duration::from_millis(8 * 300), "{cut:?}");
}

#[test]
fn hanging_up_while_the_answer_is_thought_of_keeps_the_question() {
    let mut world = World::with(Script { llm_first_ms: 5_000, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_200);
    world.silence(1_000);
    world.hang_up();
    assert_eq!(world.kept.len(), 1);
    assert_eq!(world.kept[0].question.as_ref().unwrap().text, "What's the weather like?");
}

#[test]
fn hanging_up_before_the_transcript_keeps_the_audio() {
    let mut world = World::with(Script { stt_ms: 5_000, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_200);
    world.silence(1_500);
    world.hang_up();
    assert_eq!(world.kept.len(), 1);
    assert!(world.kept[0].question.as_ref().unwrap().audio.is_some());
}

#[test]
fn hanging_up_between_turns_writes_nothing_twice() {
    let mut world = World::new();
    world.exchange("What's the weather like?");
    world.hang_up();
    assert_eq!(world.kept.len(), 1);
    assert!(world.amended.is_empty());
}

#[test]
fn a_full_disk_is_told_and_the_talk_goes_on() {
    let mut world = World::with(Script { fail: Some(Failing::History), ..Script::default() }, |_| {});
    world.exchange("What's the weather like?");
    assert_eq!(world.faults(), ["history_failed"]);
    world.exchange("And tomorrow?");
    assert_eq!(world.outcomes().len(), 2);
}

#[test]
fn an_earlier_conversation_goes_on() {
    let said = |id: &str, role, text: &str| spoken(ItemId::from_text(id), role, text, ItemStatus::Completed);
    let earlier = vec![said("a", Role::User, "My name is Ada."), said("b", Role::Assistant, "Hello Ada.")];
    let mut world = World::going_on(Script::default(), earlier, |_| {});
    world.exchange("What is my name?");
    assert!(world.last_prompt().contains("User: My name is Ada.\nAssistant: Hello Ada.\nUser: What is my name?"));
    let added = world.count(|event| matches!(event, CallEvent::ItemAdded { .. }));
    assert_eq!(added, 1, "only what is new is announced");
}

#[test]
fn what_somebody_corrects_during_a_call_is_what_the_next_reply_is_to() {
    let mut world = World::new();
    world.exchange("My name is Aida.");
    let record = &world.kept[0];
    let (asked, answered) =
        (record.question.as_ref().unwrap().item.clone(), record.answer.as_ref().unwrap().item.clone());
    world.give(Input::Corrected(vec![(asked, "My name is Ada.".to_owned()), (answered, "Hello Ada.".to_owned())]));
    // Of another call, or older than what is in memory.
    world.give(Input::Corrected(vec![(ItemId::fresh(), "Nonsense.".to_owned())]));
    world.exchange("What is my name?");
    let prompt = world.last_prompt();
    assert!(prompt.ends_with("User: My name is Ada.\nAssistant: Hello Ada.\nUser: What is my name?"), "{prompt}");
}

#[test]
fn a_question_that_is_corrected_while_its_answer_is_heard_is_corrected_for_the_next() {
    let mut world = World::new();
    world.say("My name is Aida.", 1_200);
    world.silence(1_500);
    let stopped = |world: &World| world.count(|event| matches!(event, CallEvent::PlayoutStopped { .. }));
    assert_eq!(stopped(&world), 0, "the answer is being heard");
    let (asked, _) = world
        .events
        .iter()
        .find_map(|(_, event)| match event {
            CallEvent::ItemAdded { item, previous } => Some((item.id.clone(), previous.clone())),
            _ => None,
        })
        .unwrap();
    world.give(Input::Corrected(vec![(asked, "My name is Ada.".to_owned())]));
    world.silence(9_000);
    assert_eq!((world.outcomes(), stopped(&world)), (vec![Outcome::Completed], 1), "it is not cut");
    world.exchange("What is my name?");
    assert!(world.last_prompt().contains("User: My name is Ada.\nAssistant: It is sunny"), "{}", world.last_prompt());
}

#[test]
fn a_reply_that_was_prepared_before_the_correction_is_made_anew() {
    // The caller seems to go on, so that the reply is prepared and held.
    let mut world = World::with(Script { sounds_finished: Some(0.3), ..Script::default() }, |_| {});
    world.exchange("My name is Aida.");
    let asked = world.kept[0].question.as_ref().unwrap().item.clone();
    world.say("What is my name?", 1_200);
    let before = world.prompts.len();
    while world.prompts.len() == before {
        world.silence(20);
    }
    assert_eq!(world.replies(), 1, "it is held");
    world.give(Input::Corrected(vec![(asked, "My name is Ada.".to_owned())]));
    world.silence(9_000);
    assert_eq!(world.outcomes().len(), 2);
    assert!(world.last_prompt().contains("User: My name is Ada."), "{}", world.last_prompt());
}

#[test]
fn what_is_deleted_from_the_history_is_not_spoken_of_in_the_call_that_runs() {
    let mut world = World::with(Script { llm_first_ms: 2_000, ..Script::default() }, |_| {});
    let beside = Item {
        id: ItemId::fresh(),
        role: Role::System,
        medium: Medium::Text,
        text: "The shop closes at six.".to_owned(),
        status: ItemStatus::Completed,
    };
    world.ask(Ask::CreateItem { item: beside, previous: None });
    world.exchange("My secret is blue.");
    world.say("And my name is Ada.", 1_200);
    world.silence(1_500);
    assert_eq!(world.kept.len(), 1, "the second is being answered");
    world.give(Input::Deleted);
    let gone = world.count(|event| matches!(event, CallEvent::ItemDeleted(_)));
    assert_eq!(gone, 2, "not the turn that is being answered, nor what the client put there");
    world.silence(9_000);
    world.exchange("What is my secret?");
    let prompt = world.last_prompt();
    assert!(!prompt.contains("blue"), "{prompt}");
    assert!(prompt.contains("six.") && prompt.contains("Ada.") && prompt.ends_with("What is my secret?"), "{prompt}");
}
