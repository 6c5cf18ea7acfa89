//! Messages, word by word.

use audio::pcm::{Pcm, SampleRate};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::line::{
    CallEvent, ConversationId, Fault, HqAudio, Item, ItemId, ItemStatus, Medium, Outcome, ReplyId, Role, Usage,
};
use crate::protocol::Protocol;
use crate::ws_chat::Recorded;
use crate::ws_chat::playing::Piece;
use crate::ws_chat::wording::{ChatProtocol, MESSAGE_LIMIT, read};

fn chunk(data: &str, sr: Value) -> String {
    json!({ "type": "audio_chunk", "data": data, "ts": 1_234.5, "sr": sr }).to_string()
}

fn said(protocol: &mut ChatProtocol, event: CallEvent) -> Vec<Value> {
    protocol.tell(&event).iter().map(|message| serde_json::from_str(message).unwrap()).collect()
}

fn better(reply: &ReplyId) -> HqAudio {
    let conversation = ConversationId::from_text("conv_1");
    let duration = std::time::Duration::from_secs(2);
    HqAudio { conversation, turn: 7, reply: reply.clone(), item: ItemId::fresh(), duration }
}

fn recorded() -> Recorded {
    Recorded { file: b"OggS".to_vec(), mime: "audio/ogg" }
}

fn user(id: &ItemId) -> CallEvent {
    let text = "What's the weather like?".to_owned();
    let item = Item { id: id.clone(), role: Role::User, medium: Medium::Voice, text, status: ItemStatus::Completed };
    CallEvent::ItemAdded { item, previous: None }
}

#[test]
fn a_chunk_is_little_endian_16_bit_samples() {
    let data = STANDARD.encode([0, 0, 0, 0x80, 0xff, 0x7f, 0, 0x40]);
    let chunk = read(&chunk(&data, json!(44_100))).unwrap();
    assert_eq!(chunk.rate.hertz(), 44_100);
    assert_eq!(chunk.samples, [0.0, -1.0, 32_767.0 / 32_768.0, 0.5]);
}

#[test]
fn each_bad_message_is_told_by_its_own_code() {
    let good = STANDARD.encode([0; 32]);
    let long = "x".repeat(MESSAGE_LIMIT + 1);
    let cases: Vec<(String, &str)> = vec![
        (long, "too_large"),
        (String::new(), "bad_message"),
        ("{".to_owned(), "bad_message"),
        ("[1]".to_owned(), "bad_message"),
        ("null".to_owned(), "bad_message"),
        (json!({ "data": good }).to_string(), "bad_message"),
        (json!({ "type": 7 }).to_string(), "bad_message"),
        (json!({ "type": "video_chunk" }).to_string(), "unknown_type"),
        (json!({ "type": "audio_chunk", "data": good }).to_string(), "bad_rate"),
        (chunk(&good, json!(7_999)), "bad_rate"),
        (chunk(&good, json!(96_001)), "bad_rate"),
        (chunk(&good, json!(16_000.5)), "bad_rate"),
        (chunk(&good, json!("16000")), "bad_rate"),
        (chunk(&good, json!(-16_000)), "bad_rate"),
        (chunk("not base64!", json!(16_000)), "bad_audio"),
        (chunk(&STANDARD.encode([0; 3]), json!(16_000)), "bad_audio"),
        (json!({ "type": "audio_chunk", "sr": 16_000 }).to_string(), "bad_audio"),
    ];
    for (message, code) in cases {
        let error = read(&message).unwrap_err();
        let shown: String = message.chars().take(60).collect();
        assert_eq!(error.code, code, "{shown}");
        assert!(!error.message.is_empty() && error.message.len() < 300, "{shown}");
    }
    assert!(read(&chunk("", json!(16_000))).unwrap().samples.is_empty(), "nothing is not wrong");
    assert!(read(&chunk(&good, json!(16_000.0))).is_ok());
}

#[test]
fn a_turn_is_told_in_the_words_of_the_contract() {
    let mut protocol = ChatProtocol::default();
    let (item, reply) = (ItemId::fresh(), ReplyId::fresh());
    let delta = |delta: &str| CallEvent::TranscriptDelta { item: item.clone(), delta: delta.to_owned() };
    let transcription = |text: &str, is_final: bool| json!({ "type": "transcription", "text": text, "is_final": is_final, "turn_id": item });
    assert_eq!(said(&mut protocol, delta("What's the")), [transcription("What's the", false)]);
    assert_eq!(said(&mut protocol, delta(" weather")), [transcription("What's the weather", false)]);
    assert!(said(&mut protocol, user(&item)).is_empty());
    let done = CallEvent::TranscriptDone { item: item.clone(), text: "What's the weather like?".to_owned() };
    assert_eq!(said(&mut protocol, done), [transcription("What's the weather like?", true)]);

    assert!(said(&mut protocol, CallEvent::ReplyStarted { reply: reply.clone() }).is_empty());
    let text = CallEvent::ReplyText { reply: reply.clone(), item: ItemId::fresh(), delta: "It is sunny. ".to_owned() };
    assert_eq!(said(&mut protocol, text), [json!({ "type": "llm_token", "token": "It is sunny. ", "turn_id": item })]);

    let pcm = Pcm::new(SampleRate::HZ_24000, vec![0.25; 2_400]);
    let piece = Piece { reply: reply.clone(), seq: 3, is_last: true, pcm: pcm.clone() };
    let message: Value = serde_json::from_str(&protocol.piece(&piece).unwrap()).unwrap();
    let file = STANDARD.decode(message["data"].as_str().unwrap()).unwrap();
    let again = audio::wav::read(&file[..]).unwrap();
    assert_eq!((again.rate, again.samples.len()), (pcm.rate, pcm.samples.len()), "each piece plays by itself");
    let fields = ["type", "mode", "turn_id", "seq", "is_last", "mime"].map(|name| message[name].clone());
    let turn = json!(item);
    assert_eq!(fields, [json!("audio_response"), json!("fast"), turn, json!(3), json!(true), json!("audio/wav")]);

    let cleared = said(&mut protocol, CallEvent::PlayoutCleared { reply: reply.clone() });
    assert_eq!(cleared, [json!({ "type": "interrupted", "turn_id": item })]);
    let outcome = Outcome::TurnDetected;
    let over = CallEvent::ReplyDone { reply: reply.clone(), item: None, outcome, usage: Usage::default() };
    assert_eq!(said(&mut protocol, over)[0]["status"], "cancelled");
    // Long afterwards, when other turns have come and gone.
    for _ in 0..20 {
        said(&mut protocol, user(&ItemId::fresh()));
        said(&mut protocol, CallEvent::ReplyStarted { reply: ReplyId::fresh() });
    }
    let hq: Value = serde_json::from_str(&protocol.high_quality(&better(&reply), &recorded())).unwrap();
    assert_eq!((&hq["mode"], &hq["turn_id"], &hq["mime"]), (&json!("hq"), &json!(item), &json!("audio/ogg")));
    assert_eq!(STANDARD.decode(hq["data"].as_str().unwrap()).unwrap(), b"OggS");
}

#[test]
fn better_audio_is_told_under_its_turn_by_a_connection_that_came_later() {
    let mut protocol = ChatProtocol::default();
    let (caller, audio) = (ItemId::fresh(), better(&ReplyId::fresh()));
    said(&mut protocol, user(&caller));
    let CallEvent::ItemAdded { item, previous } = user(&audio.item) else { panic!("no item") };
    let item = Item { role: Role::Assistant, ..item };
    said(&mut protocol, CallEvent::ItemAdded { item, previous });
    said(&mut protocol, user(&ItemId::fresh()));
    let hq: Value = serde_json::from_str(&protocol.high_quality(&audio, &recorded())).unwrap();
    assert_eq!(hq["turn_id"], json!(caller));
}

#[test]
fn faults_are_told_by_the_codes_of_the_contract() {
    let fault = |kind, code| Fault { kind, code, message: "what to do".to_owned(), param: None, event_id: None };
    for (kind, code, told) in [
        ("server_error", "overloaded", "overloaded"),
        ("server_error", "engine_failed", "internal"),
        ("invalid_request_error", "item_not_found", "bad_message"),
    ] {
        let error = said(&mut ChatProtocol::default(), CallEvent::Failed(fault(kind, code)));
        assert_eq!(error, [json!({ "type": "error", "code": told, "message": "what to do" })]);
    }
}

proptest! {
    #[test]
    fn no_message_makes_the_door_panic(text in "\\PC{0,200}", data in "[A-Za-z0-9+/=]{0,64}", sr in any::<f64>()) {
        let _refused = read(&text);
        let _refused = read(&json!({ "type": "audio_chunk", "data": data, "sr": sr }).to_string());
    }
}
