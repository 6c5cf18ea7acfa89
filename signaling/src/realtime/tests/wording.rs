//! What a call tells, on the wire.

use std::time::Duration;

use serde_json::{Value, json};

use crate::line::{
    CallEvent, CallId, ConversationId, Fault, HqAudio, Item, ItemId, ItemStatus, Medium, Outcome, ReplyId, Role,
    Session, Timings, TurnEnd, Usage,
};
use crate::protocol::Protocol;
use crate::realtime::RealtimeProtocol;

/// The reviewed messages of one whole turn, one a line; event ids are numbered.
const WHOLE_TURN: &str = include_str!("../../../tests/snapshots/realtime_whole_turn.jsonl");

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn session() -> Session {
    Session {
        call: CallId::from_text("rtc_1"),
        conversation: ConversationId::from_text("conv_1"),
        model: "smollm2-135m-instruct".to_owned(),
        instructions: "Be brief.".to_owned(),
        voice: "slt".to_owned(),
        language: Some("en".to_owned()),
        turn_end: TurnEnd::Semantic,
        create_response: true,
        interrupt_response: true,
    }
}

fn user() -> ItemId {
    ItemId::from_text("item_user")
}

fn avatar() -> ItemId {
    ItemId::from_text("item_avatar")
}

fn reply() -> ReplyId {
    ReplyId::from_text("resp_1")
}

fn heard(text: &str) -> Item {
    Item { id: user(), role: Role::User, medium: Medium::Voice, text: text.to_owned(), status: ItemStatus::Completed }
}

fn said(text: &str, status: ItemStatus) -> Item {
    Item { id: avatar(), role: Role::Assistant, medium: Medium::Voice, text: text.to_owned(), status }
}

fn fault() -> Fault {
    Fault {
        kind: "server_error",
        code: "stt_failed",
        message: "the recogniser stopped".to_owned(),
        param: None,
        event_id: None,
    }
}

fn reply_item() -> CallEvent {
    CallEvent::ReplyItem { reply: reply(), item: said("", ItemStatus::InProgress), previous: Some(user()) }
}

fn text(delta: &str) -> CallEvent {
    CallEvent::ReplyText { reply: reply(), item: avatar(), delta: delta.to_owned() }
}

fn spoken(text: &str) -> CallEvent {
    CallEvent::ReplySpoken { reply: reply(), item: avatar(), text: text.to_owned() }
}

fn done(item: Option<Item>, outcome: Outcome) -> CallEvent {
    let usage = Usage { input_tokens: 40, cached_tokens: 28, output_tokens: 9, dropped_messages: 2 };
    CallEvent::ReplyDone { reply: reply(), item, outcome, usage }
}

fn hq_audio() -> HqAudio {
    let conversation = ConversationId::from_text("conv_1");
    HqAudio { conversation, turn: 7, reply: reply(), item: avatar(), duration: ms(2_340) }
}

fn whole_turn() -> Vec<CallEvent> {
    vec![
        CallEvent::SessionCreated(session()),
        CallEvent::SessionUpdated(Session { turn_end: TurnEnd::Silence(ms(400)), language: None, ..session() }),
        CallEvent::SpeechStarted { item: user(), at: ms(1_200) },
        CallEvent::TranscriptDelta { item: user(), delta: "What time ".to_owned() },
        CallEvent::SpeechStopped { item: user(), at: ms(2_450) },
        CallEvent::InputCommitted { item: user(), previous: None },
        CallEvent::ItemAdded { item: heard(""), previous: None },
        CallEvent::ItemDone { item: heard(""), previous: None },
        CallEvent::TranscriptDelta { item: user(), delta: "is it?".to_owned() },
        CallEvent::TranscriptDone { item: user(), text: "What time is it?".to_owned() },
        CallEvent::ReplyStarted { reply: reply() },
        reply_item(),
        text("It is "),
        text("noon."),
        CallEvent::PlayoutStarted { reply: reply() },
        spoken("It is noon."),
        CallEvent::PlayoutStopped { reply: reply() },
        done(Some(said("It is noon.", ItemStatus::Completed)), Outcome::Completed),
        CallEvent::Timings(Timings {
            item: Some(user()),
            reply: Some(reply()),
            turn_commit: Some(Duration::from_micros(215_250)),
            text_final: Some(ms(240)),
            first_token: Some(ms(290)),
            first_sentence: Some(ms(330)),
            first_audio: Some(ms(420)),
            first_packet: None,
        }),
    ]
}

/// What cannot happen in the same turn as the rest.
fn other_events() -> Vec<CallEvent> {
    vec![
        CallEvent::InputCleared,
        CallEvent::ItemRetrieved(heard("What time is it?")),
        CallEvent::ItemTruncated { item: avatar(), heard: ms(640) },
        CallEvent::ItemDeleted(user()),
        CallEvent::TranscriptFailed { item: user(), fault: fault() },
        CallEvent::PlayoutCleared { reply: reply() },
        CallEvent::HqReady(hq_audio()),
        CallEvent::Failed(fault()),
    ]
}

fn tell(protocol: &mut RealtimeProtocol, events: &[CallEvent]) -> Vec<Value> {
    let messages = events.iter().flat_map(|event| protocol.tell(event));
    messages.map(|message| serde_json::from_str(&message).unwrap()).collect()
}

fn tell_all(events: &[CallEvent]) -> Vec<Value> {
    tell(&mut RealtimeProtocol::new(), events)
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

fn last<'a>(messages: &'a [Value], kind: &str) -> &'a Value {
    messages.iter().rev().find(|message| message["type"] == kind).unwrap()
}

/// The fields that client SDKs check, by the event's type; a path's parts are separated by dots.
fn required(kind: &str) -> &'static [&'static str] {
    const PART: &[&str] = &["response_id", "item_id", "output_index", "content_index"];
    match kind {
        "session.created" | "session.updated" => &[
            "session.type",
            "session.object",
            "session.id",
            "session.model",
            "session.output_modalities",
            "session.instructions",
            "session.audio.input.format.type",
            "session.audio.input.transcription",
            "session.audio.input.turn_detection.type",
            "session.audio.output.format.type",
            "session.audio.output.voice",
            "session.audio.output.speed",
            "session.tools",
            "session.tool_choice",
            "session.max_output_tokens",
        ],
        "input_audio_buffer.speech_started" => &["item_id", "audio_start_ms"],
        "input_audio_buffer.speech_stopped" => &["item_id", "audio_end_ms"],
        "input_audio_buffer.committed" | "conversation.item.deleted" => &["item_id"],
        "input_audio_buffer.cleared" => &[],
        "conversation.item.added" | "conversation.item.done" | "conversation.item.retrieved" => {
            &["item.id", "item.object", "item.type", "item.role", "item.status", "item.content"]
        }
        "conversation.item.truncated" => &["item_id", "content_index", "audio_end_ms"],
        "conversation.item.input_audio_transcription.delta" => &["item_id", "content_index", "delta"],
        "conversation.item.input_audio_transcription.completed" => {
            &["item_id", "content_index", "transcript", "usage.type", "usage.seconds"]
        }
        "conversation.item.input_audio_transcription.failed" => {
            &["item_id", "content_index", "error.type", "error.code", "error.message"]
        }
        "response.created" | "response.done" => {
            &["response.id", "response.object", "response.status", "response.output", "response.conversation_id"]
        }
        "response.output_item.added" | "response.output_item.done" => {
            &["response_id", "output_index", "item.id", "item.type", "item.role", "item.status", "item.content"]
        }
        "response.content_part.added" | "response.content_part.done" => {
            &["response_id", "item_id", "output_index", "content_index", "part.type"]
        }
        "response.output_audio_transcript.delta" | "response.output_text.delta" => {
            &["response_id", "item_id", "output_index", "content_index", "delta"]
        }
        "response.output_audio_transcript.done" => {
            &["response_id", "item_id", "output_index", "content_index", "transcript"]
        }
        "response.output_text.done" => &["response_id", "item_id", "output_index", "content_index", "text"],
        "response.output_audio.done" => PART,
        "output_audio_buffer.started" | "output_audio_buffer.stopped" | "output_audio_buffer.cleared" => {
            &["response_id"]
        }
        "avatar.turn.timings" => &["item_id", "response_id", "stages.turn_commit_ms"],
        "avatar.hq.ready" => &["conversation_id", "turn_id", "response_id", "item_id", "audio_url", "duration_ms"],
        "error" => &["error.type", "error.code", "error.message"],
        other => panic!("`{other}` is no event of the protocol"),
    }
}

#[test]
fn a_whole_turn_is_told_in_the_reviewed_words_and_order() {
    let mut told = tell_all(&whole_turn());
    for (number, message) in told.iter_mut().enumerate() {
        message["event_id"] = json!(format!("event_{number}"));
    }
    // As values: the order of an object's fields says nothing.
    let reviewed: Vec<Value> = WHOLE_TURN.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<String> = told.iter().map(Value::to_string).collect();
    assert!(told == reviewed, "told differently; review, and if it is right, keep this:\n{}", lines.join("\n"));
}

#[test]
fn no_event_lacks_a_field_whose_absence_makes_clients_ignore_it() {
    let mut protocol = RealtimeProtocol::new();
    let mut ids = std::collections::HashSet::new();
    for event in whole_turn().into_iter().chain(other_events()) {
        let messages = tell(&mut protocol, std::slice::from_ref(&event));
        assert!(!messages.is_empty(), "{event:?} is not told");
        for message in messages {
            assert!(ids.insert(message["event_id"].as_str().unwrap().to_owned()), "{message} has a used event id");
            for path in required(message["type"].as_str().unwrap()) {
                let pointer = format!("/{}", path.replace('.', "/"));
                let field = message.pointer(&pointer);
                assert!(field.is_some_and(|field| !field.is_null()), "{message} lacks {path}");
            }
        }
    }
}

#[test]
fn an_item_says_what_it_follows_even_when_it_follows_nothing() {
    for message in tell_all(&whole_turn()) {
        if matches!(message["type"].as_str(), Some("conversation.item.added" | "conversation.item.done")) {
            let previous = message.get("previous_item_id").unwrap();
            let expected = if message["item"]["id"] == "item_user" { Value::Null } else { json!("item_user") };
            assert_eq!(*previous, expected);
        }
    }
}

#[test]
fn a_part_is_audio_but_the_content_of_its_item_is_output_audio() {
    let told = tell_all(&whole_turn());
    assert_eq!(last(&told, "response.content_part.added")["part"]["type"], "audio");
    assert_eq!(
        last(&told, "response.content_part.done")["part"],
        json!({ "type": "audio", "transcript": "It is noon." })
    );
    let content = &last(&told, "response.done")["response"]["output"][0]["content"];
    assert_eq!(*content, json!([{ "type": "output_audio", "transcript": "It is noon." }]));
}

#[test]
fn what_the_caller_said_is_null_before_it_is_transcribed_and_never_absent() {
    let told = tell_all(&[
        CallEvent::ItemAdded { item: heard(""), previous: None },
        CallEvent::ItemRetrieved(heard("What time is it?")),
    ]);
    assert_eq!(told[0]["item"]["content"], json!([{ "type": "input_audio", "transcript": null }]));
    assert_eq!(told[1]["item"]["content"][0]["transcript"], "What time is it?");
}

#[test]
fn a_transcript_says_how_long_the_caller_spoke() {
    let told = tell_all(&whole_turn());
    let usage = &last(&told, "conversation.item.input_audio_transcription.completed")["usage"];
    assert_eq!(*usage, json!({ "type": "duration", "seconds": 1.25 }));
}

#[test]
fn a_reply_cut_while_it_was_made_closes_its_item_as_incomplete_with_what_was_heard() {
    let told = tell_all(&[
        CallEvent::ReplyStarted { reply: reply() },
        reply_item(),
        text("It is noon, and the sun"),
        CallEvent::PlayoutCleared { reply: reply() },
        done(Some(said("It is noon,", ItemStatus::Incomplete)), Outcome::TurnDetected),
    ]);
    assert_eq!(
        kinds(&told)[6..],
        [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    assert_eq!(last(&told, "response.output_audio_transcript.done")["transcript"], "It is noon,");
    assert_eq!(last(&told, "conversation.item.done")["item"]["status"], "incomplete");
    let response = &last(&told, "response.done")["response"];
    assert_eq!(response["status"], "cancelled");
    assert_eq!(response["status_details"], json!({ "type": "cancelled", "reason": "turn_detected" }));
    assert_eq!(response["output"][0]["status"], "incomplete");
}

#[test]
fn a_reply_cut_after_its_audio_was_made_is_not_closed_twice() {
    let told = tell_all(&[
        CallEvent::ReplyStarted { reply: reply() },
        reply_item(),
        text("It is noon."),
        spoken("It is noon."),
        done(Some(said("It is", ItemStatus::Incomplete)), Outcome::ClientCancelled),
    ]);
    for once in ["response.output_audio.done", "conversation.item.done", "response.output_item.done"] {
        assert_eq!(kinds(&told).iter().filter(|kind| **kind == once).count(), 1, "{once}");
    }
    let response = &last(&told, "response.done")["response"];
    assert_eq!(response["status_details"]["reason"], "client_cancelled");
    assert_eq!(response["output"][0]["content"][0]["transcript"], "It is");
}

#[test]
fn a_reply_that_failed_says_why_and_one_without_an_item_has_no_output() {
    let told = tell_all(&[CallEvent::ReplyStarted { reply: reply() }, done(None, Outcome::Failed(fault()))]);
    assert_eq!(kinds(&told), ["response.created", "response.done"]);
    let response = &told[1]["response"];
    assert_eq!(response["status"], "failed");
    assert_eq!(response["status_details"]["error"]["code"], "stt_failed");
    assert_eq!(response["output"], json!([]));
}

#[test]
fn a_reply_whose_item_is_lost_at_the_end_still_closes_it() {
    let told = tell_all(&[
        CallEvent::ReplyStarted { reply: reply() },
        reply_item(),
        text("It is "),
        text("noon"),
        done(None, Outcome::ClientCancelled),
    ]);
    assert_eq!(last(&told, "response.output_item.done")["item"]["content"][0]["transcript"], "It is noon");
}

#[test]
fn two_replies_under_way_do_not_mix() {
    let (second, item) = (ReplyId::from_text("resp_2"), ItemId::from_text("item_2"));
    let told = tell_all(&[
        CallEvent::ReplyStarted { reply: reply() },
        reply_item(),
        text("one"),
        CallEvent::ReplyStarted { reply: second.clone() },
        CallEvent::ReplyItem {
            reply: second.clone(),
            item: Item { id: item.clone(), ..said("", ItemStatus::InProgress) },
            previous: Some(avatar()),
        },
        CallEvent::ReplyText { reply: second, item, delta: "two".to_owned() },
        done(None, Outcome::TurnDetected),
    ]);
    let response = &last(&told, "response.done")["response"];
    assert_eq!(response["id"], "resp_1");
    assert_eq!(response["output"][0]["content"][0]["transcript"], "one");
}

#[test]
fn a_written_reply_is_told_as_text() {
    let item = Item { medium: Medium::Text, ..said("", ItemStatus::InProgress) };
    let told = tell_all(&[
        CallEvent::ReplyStarted { reply: reply() },
        CallEvent::ReplyItem { reply: reply(), item, previous: None },
        text("Noon."),
        spoken("Noon."),
    ]);
    assert_eq!(
        kinds(&told)[3..],
        [
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
        ]
    );
    assert_eq!(last(&told, "response.content_part.done")["part"], json!({ "type": "text", "text": "Noon." }));
}

#[test]
fn a_failed_transcript_leaves_an_absent_parameter_out_because_null_is_not_a_string() {
    let told = tell_all(&[CallEvent::TranscriptFailed { item: user(), fault: fault() }]);
    assert!(told[0]["error"].get("param").is_none());
}

#[test]
fn usage_adds_up() {
    let told = tell_all(&whole_turn());
    let usage = &last(&told, "response.done")["response"]["usage"];
    assert_eq!(usage["total_tokens"], 49);
    assert_eq!(usage["input_token_details"]["cached_tokens"], 28);
    assert_eq!(usage["input_token_details"]["dropped_messages"], 2, "that it forgets is said");
}

#[test]
fn a_stage_that_was_not_reached_is_null_and_the_rest_keep_their_fractions() {
    let told = tell_all(&whole_turn());
    let stages = &last(&told, "avatar.turn.timings")["stages"];
    assert_eq!(stages["turn_commit_ms"], 215.25);
    assert_eq!(stages["first_packet_ms"], Value::Null);
}

#[test]
fn better_audio_is_told_with_where_it_is() {
    let told = tell_all(&[CallEvent::HqReady(hq_audio())]);
    assert_eq!(told[0]["audio_url"], "/api/conversations/conv_1/turns/7/audio/assistant?quality=hq");
    assert_eq!((&told[0]["turn_id"], &told[0]["duration_ms"]), (&json!(7), &json!(2_340)));
}

#[test]
fn a_call_of_a_thousand_unfinished_replies_keeps_few_of_them() {
    let mut protocol = RealtimeProtocol::new();
    for _ in 0..1_000 {
        protocol.tell(&CallEvent::ReplyStarted { reply: ReplyId::fresh() });
        protocol.tell(&CallEvent::SpeechStarted { item: ItemId::fresh(), at: ms(0) });
    }
    assert!(protocol.replies.len() <= 16 && protocol.spans.len() <= 16);
}
