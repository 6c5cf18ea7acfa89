//! What clients ask for.

use std::time::Duration;

use signaling::line::{Ask, CallEvent, Fault, Item, ItemId, ItemStatus, Medium, Outcome, ReplyId, Role, SessionPatch};

use super::world::{Script, World};

fn typed(id: &str, text: &str) -> Ask {
    let item = Item {
        id: ItemId::from_text(id),
        role: Role::User,
        medium: Medium::Text,
        text: text.to_owned(),
        status: ItemStatus::Completed,
    };
    Ask::CreateItem { item, previous: None }
}

#[test]
fn a_typed_question_is_answered_aloud_and_written_down() {
    let mut world = World::new();
    world.ask(typed("typed_1", "What's the weather like?"));
    world.ask(Ask::CreateReply { instructions: None });
    world.silence(9_000);
    assert_eq!(world.outcomes(), [Outcome::Completed]);
    assert_eq!(world.kept[0].question.as_ref().unwrap().text, "What's the weather like?");
    assert!(world.kept[0].question.as_ref().unwrap().audio.is_none());
}

#[test]
fn instructions_for_one_reply_do_not_stay() {
    let mut world = World::new();
    world.ask(typed("typed_1", "Hello."));
    world.ask(Ask::CreateReply { instructions: Some("Answer in rhyme.".to_owned()) });
    assert!(world.last_prompt().starts_with("System: Answer in rhyme."));
    world.silence(9_000);
    world.exchange("Hello?");
    assert!(world.last_prompt().starts_with("System: Be brief."));
}

#[test]
fn two_replies_at_once_are_refused() {
    let mut world = World::new();
    world.ask(typed("typed_1", "Hello."));
    world.ask(Ask::CreateReply { instructions: None });
    world.ask(Ask::CreateReply { instructions: None });
    assert_eq!(world.faults(), ["conversation_already_has_active_response"]);
}

#[test]
fn cancel_stops_the_reply_and_says_the_client_did_it() {
    let mut world = World::with(Script { llm_word_ms: 400, ..Script::default() }, |_| {});
    world.say("What's the weather like?", 1_000);
    world.silence(3_000);
    world.ask(Ask::CancelReply { reply: None });
    world.silence(500);
    assert_eq!(world.outcomes(), [Outcome::ClientCancelled]);
}

#[test]
fn cancelling_what_is_not_there_is_an_error_that_quotes_the_event() {
    let mut world = World::new();
    world.ask(Ask::CancelReply { reply: Some(ReplyId::fresh()) });
    let fault = world.events.iter().find_map(|(_, event)| match event {
        CallEvent::Failed(fault) => Some(fault.clone()),
        _ => None,
    });
    assert_eq!(fault.unwrap().event_id.as_deref(), Some("event_1"));
    assert_eq!(world.faults(), ["response_cancel_not_active"]);
}

#[test]
fn clearing_what_plays_silences_it() {
    let mut world = World::new();
    world.say("What's the weather like?", 1_000);
    world.silence(1_200);
    world.ask(Ask::ClearPlayout);
    world.silence(300);
    assert_eq!(world.count(|event| matches!(event, CallEvent::PlayoutCleared { .. })), 1);
}

#[test]
fn an_item_can_be_fetched_and_deleted_once() {
    let mut world = World::new();
    world.ask(typed("typed_1", "Hello."));
    world.ask(Ask::RetrieveItem(ItemId::from_text("typed_1")));
    world.ask(Ask::DeleteItem(ItemId::from_text("typed_1")));
    world.ask(Ask::DeleteItem(ItemId::from_text("typed_1")));
    assert_eq!(world.count(|event| matches!(event, CallEvent::ItemRetrieved(_))), 1);
    assert_eq!(world.count(|event| matches!(event, CallEvent::ItemDeleted(_))), 1);
    assert_eq!(world.faults(), ["item_not_found"]);
}

#[test]
fn an_updated_session_is_confirmed_and_used() {
    let mut world = World::new();
    let patch = SessionPatch { instructions: Some("Speak like a pirate.".to_owned()), ..SessionPatch::default() };
    world.ask(Ask::UpdateSession(patch));
    assert_eq!(world.count(|event| matches!(event, CallEvent::SessionUpdated(_))), 1);
    world.exchange("Hello?");
    assert!(world.last_prompt().starts_with("System: Speak like a pirate."));
}

#[test]
fn an_empty_commit_is_an_error() {
    let mut world = World::new();
    world.ask(Ask::CommitInput);
    assert_eq!(world.faults(), ["input_audio_buffer_commit_empty"]);
}

#[test]
fn cleared_speech_is_forgotten() {
    let mut world = World::new();
    world.say("Never mind what I", 900);
    world.ask(Ask::ClearInput);
    world.silence(4_000);
    assert_eq!(world.replies(), 0);
    assert!(world.kept.is_empty());
}

#[test]
fn a_client_may_say_how_much_was_heard() {
    let mut world = World::new();
    world.say("What's the weather like?", 1_000);
    world.silence(1_500);
    let item = world.events.iter().find_map(|(_, event)| match event {
        CallEvent::ReplyItem { item, .. } => Some(item.id.clone()),
        _ => None,
    });
    world.ask(Ask::TruncateItem { item: item.unwrap(), heard: Duration::from_millis(700) });
    world.exchange("Go on?");
    assert!(world.last_prompt().contains("Assistant: It is"), "{}", world.last_prompt());
}

#[test]
fn what_cannot_be_understood_is_answered_not_ignored() {
    let mut world = World::new();
    let fault = Fault {
        kind: "invalid_request_error",
        code: "unknown_event",
        message: "no such event".to_owned(),
        param: None,
        event_id: None,
    };
    world.ask(Ask::Unintelligible(fault));
    assert_eq!(world.faults(), ["unknown_event"]);
}
