//! What clients ask, off the wire.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::line::{
    Ask, CallId, Command, ConversationId, Fault, Item, ItemId, ItemStatus, Medium, ReplyId, Role, Session,
    SessionPatch, TurnEnd,
};
use crate::protocol::Protocol;
use crate::realtime::{MESSAGE_LIMIT, RealtimeProtocol, session};

fn understand(message: &str) -> Command {
    RealtimeProtocol::new().understand(message).unwrap()
}

fn ask(message: Value) -> Ask {
    understand(&message.to_string()).ask
}

fn fault(message: &str) -> Fault {
    match understand(message).ask {
        Ask::Unintelligible(fault) => fault,
        other => panic!("{message} was understood as {other:?}"),
    }
}

fn patch(session: Value) -> SessionPatch {
    match ask(json!({ "type": "session.update", "session": session })) {
        Ask::UpdateSession(patch) => patch,
        other => panic!("not a patch: {other:?}"),
    }
}

#[test]
fn every_client_event_is_understood() {
    let item = || ItemId::from_text("item_1");
    let cases = [
        (json!({ "type": "conversation.item.retrieve", "item_id": "item_1" }), Ask::RetrieveItem(item())),
        (json!({ "type": "conversation.item.delete", "item_id": "item_1" }), Ask::DeleteItem(item())),
        (
            json!({ "type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 640 }),
            Ask::TruncateItem { item: item(), heard: Duration::from_millis(640) },
        ),
        (json!({ "type": "response.create" }), Ask::CreateReply { instructions: None }),
        (
            json!({ "type": "response.create", "response": { "instructions": "Greet.", "conversation": "auto" } }),
            Ask::CreateReply { instructions: Some("Greet.".to_owned()) },
        ),
        (json!({ "type": "response.cancel" }), Ask::CancelReply { reply: None }),
        (
            json!({ "type": "response.cancel", "response_id": "resp_1" }),
            Ask::CancelReply { reply: Some(ReplyId::from_text("resp_1")) },
        ),
        (json!({ "type": "output_audio_buffer.clear" }), Ask::ClearPlayout),
        (json!({ "type": "input_audio_buffer.commit" }), Ask::CommitInput),
        (json!({ "type": "input_audio_buffer.clear" }), Ask::ClearInput),
        (
            json!({ "type": "conversation.item.create", "previous_item_id": "root", "item": {
                "type": "message", "id": "item_1", "role": "user",
                "content": [{ "type": "input_text", "text": "Hello." }],
            } }),
            Ask::CreateItem {
                item: Item {
                    id: item(),
                    role: Role::User,
                    medium: Medium::Text,
                    text: "Hello.".to_owned(),
                    status: ItemStatus::Completed,
                },
                previous: Some(ItemId::from_text(ItemId::ROOT)),
            },
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(ask(message.clone()), expected, "{message}");
    }
}

#[test]
fn a_history_that_a_client_restores_keeps_its_transcripts() {
    let created = ask(json!({ "type": "conversation.item.create", "item": {
        "type": "message", "role": "assistant", "status": "incomplete",
        "content": [{ "type": "output_audio", "transcript": "It is", "audio": null }],
    } }));
    let Ask::CreateItem { item, previous: None } = created else { panic!("{created:?}") };
    assert_eq!((item.role, item.medium, item.status), (Role::Assistant, Medium::Voice, ItemStatus::Incomplete));
    assert_eq!(item.text, "It is");
}

#[test]
fn the_first_update_that_the_browser_sdk_sends_changes_nothing() {
    assert_eq!(patch(json!({ "type": "realtime", "tracing": "auto" })), SessionPatch::default());
}

#[test]
fn the_sdks_default_session_is_taken() {
    let patch = patch(json!({
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "Be brief.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": { "type": "audio/pcm", "rate": 24000 },
                "noise_reduction": null,
                "transcription": { "model": "gpt-4o-mini-transcribe" },
                "turn_detection": { "type": "semantic_vad" },
            },
            "output": { "format": { "type": "audio/pcm", "rate": 24000 }, "speed": 1 },
        },
    }));
    let expected = SessionPatch {
        instructions: Some("Be brief.".to_owned()),
        turn_end: Some(TurnEnd::Semantic),
        ..SessionPatch::default()
    };
    assert_eq!(patch, expected);
}

#[test]
fn both_shapes_of_a_session_are_read_and_the_newer_one_holds() {
    let newer = json!({
        "audio": {
            "input": {
                "turn_detection": { "type": "server_vad", "silence_duration_ms": 250, "create_response": false,
                                    "interrupt_response": true },
                "transcription": { "language": "zh" },
            },
            "output": { "voice": { "id": "rms" } },
        },
        "avatar": { "conversation_id": "conv_7" },
    });
    let expected = SessionPatch {
        voice: Some("rms".to_owned()),
        language: Some(Some("zh".to_owned())),
        turn_end: Some(TurnEnd::Silence(Duration::from_millis(250))),
        create_response: Some(false),
        interrupt_response: Some(true),
        conversation: Some(ConversationId::from_text("conv_7")),
        instructions: None,
        ..SessionPatch::default()
    };
    assert_eq!(patch(newer.clone()), expected);

    let mut both = newer;
    both["voice"] = json!("slt");
    both["turn_detection"] = Value::Null;
    both["input_audio_transcription"] = json!({ "language": "en" });
    assert_eq!(patch(both), expected);

    let older = json!({
        "voice": "slt",
        "turn_detection": { "type": "server_vad" },
        "input_audio_transcription": { "model": "whisper-1", "language": null },
        "input_audio_format": "pcm16",
    });
    let expected = SessionPatch {
        voice: Some("slt".to_owned()),
        language: Some(None),
        turn_end: Some(TurnEnd::Silence(Duration::from_millis(500))),
        ..SessionPatch::default()
    };
    assert_eq!(patch(older), expected);
}

#[test]
fn turn_detection_that_is_null_means_that_the_client_commits_its_turns() {
    let manual = patch(json!({ "audio": { "input": { "turn_detection": null } } }));
    assert_eq!(manual.turn_end, Some(TurnEnd::Manual));
    assert_eq!(patch(json!({ "audio": { "input": {} } })).turn_end, None);
}

#[test]
fn a_session_that_is_sent_back_as_it_was_shown_stays_as_it_is() {
    for turn_end in [TurnEnd::Semantic, TurnEnd::Manual, TurnEnd::Silence(Duration::from_millis(700))] {
        let shown = Session {
            call: CallId::from_text("rtc_1"),
            conversation: ConversationId::from_text("conv_1"),
            model: "m".to_owned(),
            instructions: "Be brief.".to_owned(),
            voice: "slt".to_owned(),
            language: Some("en".to_owned()),
            turn_end,
            create_response: true,
            interrupt_response: false,
        };
        let patch = session::patch(&session::show(&shown)).unwrap();
        let manual = turn_end == TurnEnd::Manual;
        let expected = SessionPatch {
            instructions: Some(shown.instructions),
            voice: Some(shown.voice),
            language: Some(shown.language),
            turn_end: Some(turn_end),
            create_response: (!manual).then_some(true),
            interrupt_response: (!manual).then_some(false),
            conversation: Some(shown.conversation),
            ..SessionPatch::default()
        };
        assert_eq!(patch, expected);
    }
}

#[test]
fn what_cannot_be_understood_is_answered_with_a_code_and_the_clients_event_id() {
    let cases = [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("\u{0}", "invalid_json"),
        ("[]", "invalid_type"),
        ("null", "invalid_type"),
        ("{}", "missing_required_parameter"),
        (r#"{"type":7}"#, "invalid_type"),
        (r#"{"type":"session.update"}"#, "missing_required_parameter"),
        (r#"{"type":"session.update","session":"x"}"#, "invalid_type"),
        (r#"{"type":"session.update","session":{"instructions":1}}"#, "invalid_type"),
        (r#"{"type":"session.update","session":{"type":"transcription"}}"#, "unsupported"),
        (r#"{"type":"session.update","session":{"turn_detection":{"type":"psychic"}}}"#, "invalid_value"),
        (r#"{"type":"session.update","session":{"turn_detection":{"silence_duration_ms":-1}}}"#, "invalid_value"),
        (r#"{"type":"session.update","session":{"turn_detection":{"silence_duration_ms":1e300}}}"#, "invalid_value"),
        (r#"{"type":"session.update","session":{"turn_detection":{"silence_duration_ms":61000}}}"#, "invalid_value"),
        (r#"{"type":"conversation.item.create"}"#, "missing_required_parameter"),
        (r#"{"type":"conversation.item.create","item":{"type":"function_call_output"}}"#, "unsupported"),
        (r#"{"type":"conversation.item.create","item":{"type":"message","role":"tool"}}"#, "invalid_value"),
        (
            r#"{"type":"conversation.item.create","item":{"type":"message","role":"user"}}"#,
            "missing_required_parameter",
        ),
        (
            r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_image"}]}}"#,
            "unsupported",
        ),
        (
            r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_audio","audio":"AAAA"}]}}"#,
            "unsupported",
        ),
        (r#"{"type":"conversation.item.retrieve"}"#, "missing_required_parameter"),
        (r#"{"type":"conversation.item.retrieve","item_id":""}"#, "invalid_value"),
        (r#"{"type":"conversation.item.truncate","item_id":"a","content_index":1,"audio_end_ms":1}"#, "invalid_value"),
        (r#"{"type":"conversation.item.truncate","item_id":"a","content_index":0}"#, "missing_required_parameter"),
        (r#"{"type":"response.create","response":{"conversation":"none"}}"#, "unsupported"),
        (r#"{"type":"response.create","response":{"input":[]}}"#, "unsupported"),
        (r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#, "unsupported"),
        (r#"{"type":"make.coffee"}"#, "unknown_event"),
    ];
    for (message, code) in cases {
        let fault = fault(message);
        assert_eq!((fault.code, fault.kind), (code, "invalid_request_error"), "{message}: {}", fault.message);
    }

    let fault = fault(r#"{"type":"make.coffee","event_id":"mine"}"#);
    assert_eq!(fault.event_id.as_deref(), Some("mine"));
    assert!(fault.message.contains("make.coffee") && fault.message.contains("session.update"), "{}", fault.message);
}

#[test]
fn a_wrong_field_is_named_by_its_whole_path() {
    let fault = fault(
        r#"{"type":"session.update","session":{"audio":{"input":{"turn_detection":{"silence_duration_ms":"long"}}}}}"#,
    );
    assert_eq!(fault.param.as_deref(), Some("session.audio.input.turn_detection.silence_duration_ms"));
}

#[test]
fn a_message_that_is_too_large_or_too_deep_is_refused_unread() {
    let large = format!(r#"{{"type":"session.update","session":{{"instructions":"{}"}}}}"#, "x".repeat(MESSAGE_LIMIT));
    assert_eq!(fault(&large).code, "message_too_large");
    let deep = "[".repeat(10_000);
    assert_eq!(fault(&deep).code, "invalid_json");
}

#[test]
fn a_long_name_is_not_echoed_whole() {
    let message = json!({ "type": "é".repeat(5_000), "event_id": "x".repeat(513) });
    let fault = fault(&message.to_string());
    assert!(fault.message.len() < 1_000 && fault.event_id.is_none());
}

/// JSON made of the protocol's own words, so that it gets past the first checks.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "session.update",
        "conversation.item.create",
        "conversation.item.truncate",
        "response.create",
        "message",
        "user",
        "server_vad",
        "root",
        "input_text",
        "",
        "é",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "type",
        "event_id",
        "session",
        "item",
        "item_id",
        "content",
        "role",
        "text",
        "audio",
        "input",
        "output",
        "turn_detection",
        "silence_duration_ms",
        "voice",
        "id",
        "transcription",
        "language",
        "response",
        "instructions",
        "audio_end_ms",
        "content_index",
        "previous_item_id",
        "avatar",
        "conversation_id",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_makes_the_protocol_panic(message in "\\PC{0,200}") {
        prop_assert!(RealtimeProtocol::new().understand(&message).is_some());
    }

    #[test]
    fn no_json_makes_the_protocol_panic(kind in "(session\\.update|conversation\\.item\\.(create|truncate|delete)|response\\.create)", mut message in any_json()) {
        if let Value::Object(fields) = &mut message {
            fields.insert("type".to_owned(), kind.into());
        }
        prop_assert!(RealtimeProtocol::new().understand(&message.to_string()).is_some());
    }
}
