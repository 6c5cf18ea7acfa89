//! Server events: what a call tells, as the protocol's JSON messages.
//!
//! The order inside a reply is the one that clients are written for: `response.created`; the item and its part are added;
//! deltas; `output_audio.done`, `output_audio_transcript.done`, `content_part.done`, `conversation.item.done`,
//! `output_item.done`; `response.done`. A reply that was cut closes its item as `incomplete`, with what was heard of it.
//!
//! Avatar's own events are `avatar.turn.timings` (when each stage of a turn was reached, in milliseconds with fractions),
//! `avatar.hq.ready` (where a reply can be heard in a better voice than could be made live), and `avatar.session.resumable` and
//! `avatar.session.resumed` (how a talk goes on after its connection was lost).

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{OpenReply, RealtimeProtocol, session};
use crate::line::{
    CallEvent, Fault, HqAudio, Item, ItemId, ItemStatus, Medium, Outcome, ReplyId, Role, Session, Timings, Usage,
};

/// A reply has one item, and that has one part.
const OUTPUT_INDEX: u32 = 0;
const CONTENT_INDEX: u32 = 0;

/// The messages that tell `event`, in order.
pub(super) fn word(protocol: &mut RealtimeProtocol, event: &CallEvent) -> Vec<String> {
    let mut out = Events::default();
    match event {
        CallEvent::SessionCreated(session) => {
            protocol.session = Some(session.clone());
            out.push("session.created", json!({ "session": session::show(session) }));
        }
        CallEvent::SessionUpdated(session) => {
            protocol.session = Some(session.clone());
            out.push("session.updated", json!({ "session": session::show(session) }));
        }
        CallEvent::SessionResumed { conversation, from, reply } => {
            let body = json!({ "conversation_id": conversation, "from": from, "response_id": reply });
            out.push("avatar.session.resumed", body);
        }
        CallEvent::SessionResumable { conversation, token, expires_after } => {
            let expires = whole_ms(*expires_after);
            let body = json!({ "conversation_id": conversation, "token": token.reveal(), "expires_after_ms": expires });
            out.push("avatar.session.resumable", body);
        }
        CallEvent::SpeechStarted { item, at } => {
            protocol.speech_started(item, *at);
            out.push("input_audio_buffer.speech_started", json!({ "item_id": item, "audio_start_ms": whole_ms(*at) }));
        }
        CallEvent::SpeechStopped { item, at } => {
            protocol.speech_stopped(item, *at);
            out.push("input_audio_buffer.speech_stopped", json!({ "item_id": item, "audio_end_ms": whole_ms(*at) }));
        }
        CallEvent::InputCommitted { item, previous } => {
            out.push("input_audio_buffer.committed", json!({ "item_id": item, "previous_item_id": previous }));
        }
        CallEvent::InputCleared => out.push("input_audio_buffer.cleared", json!({})),
        CallEvent::ItemAdded { item, previous } => out.item_added(item, previous.as_ref()),
        CallEvent::ItemDone { item, previous } => out.item_done(item, previous.as_ref()),
        CallEvent::ItemRetrieved(item) => out.push("conversation.item.retrieved", json!({ "item": show_item(item) })),
        CallEvent::ItemTruncated { item, heard } => {
            let body = json!({ "item_id": item, "content_index": CONTENT_INDEX, "audio_end_ms": whole_ms(*heard) });
            out.push("conversation.item.truncated", body);
        }
        CallEvent::ItemDeleted(item) => out.push("conversation.item.deleted", json!({ "item_id": item })),
        CallEvent::TranscriptDelta { item, delta } => {
            let body = json!({ "item_id": item, "content_index": CONTENT_INDEX, "delta": delta });
            out.push("conversation.item.input_audio_transcription.delta", body);
        }
        CallEvent::TranscriptDone { item, text } => {
            let seconds = protocol.spoken(item).as_secs_f64();
            let usage = json!({ "type": "duration", "seconds": seconds });
            let body = json!({ "item_id": item, "content_index": CONTENT_INDEX, "transcript": text, "usage": usage });
            out.push("conversation.item.input_audio_transcription.completed", body);
        }
        CallEvent::TranscriptFailed { item, fault } => {
            protocol.spoken(item);
            let mut error = json!({ "type": fault.kind, "code": fault.code, "message": fault.message });
            // Absent, not null: clients check that it is a string where it is there.
            if let (Some(error), Some(param)) = (error.as_object_mut(), &fault.param) {
                error.insert("param".to_owned(), json!(param));
            }
            let body = json!({ "item_id": item, "content_index": CONTENT_INDEX, "error": error });
            out.push("conversation.item.input_audio_transcription.failed", body);
        }
        CallEvent::ReplyStarted { reply } => {
            protocol.open_reply(reply);
            let response = response(protocol.session.as_ref(), reply, "in_progress", Value::Null, &[], Value::Null);
            out.push("response.created", json!({ "response": response }));
        }
        CallEvent::ReplyItem { reply, item, previous } => {
            open_item(&mut out, protocol.open_reply(reply), item, previous.as_ref());
        }
        CallEvent::ReplyText { reply, item, delta } => {
            let open = protocol.open_reply(reply);
            let kind = match &mut open.item {
                Some((known, _)) => {
                    known.text.push_str(delta);
                    delta_event(known.medium)
                }
                None => delta_event(Medium::Voice),
            };
            out.part(kind, reply, item, json!({ "delta": delta }));
        }
        CallEvent::ReplySpoken { reply, item: _, text } => {
            let open = protocol.open_reply(reply);
            let finished = open.item.as_ref().map(|(item, _)| Item {
                text: text.clone(),
                status: ItemStatus::Completed,
                ..item.clone()
            });
            if let Some(item) = finished {
                close_item(&mut out, open, &item);
            }
        }
        CallEvent::ReplyDone { reply, item, outcome, usage } => {
            reply_done(&mut out, protocol, reply, item.as_ref(), outcome, usage);
        }
        CallEvent::PlayoutStarted { reply } => out.push("output_audio_buffer.started", json!({ "response_id": reply })),
        CallEvent::PlayoutStopped { reply } => out.push("output_audio_buffer.stopped", json!({ "response_id": reply })),
        CallEvent::PlayoutCleared { reply } => out.push("output_audio_buffer.cleared", json!({ "response_id": reply })),
        CallEvent::Timings(timings) => out.push("avatar.turn.timings", show_timings(timings)),
        CallEvent::HqReady(audio) => out.push("avatar.hq.ready", show_hq_audio(audio)),
        CallEvent::Failed(fault) => out.push("error", json!({ "error": show_fault(fault) })),
    }
    out.0
}

fn open_item(out: &mut Events, open: &mut OpenReply, item: &Item, previous: Option<&ItemId>) {
    let item = Item { status: ItemStatus::InProgress, ..item.clone() };
    out.output_item("response.output_item.added", &open.id, &item);
    out.item_added(&item, previous);
    let part = json!({ "part": show_part(item.medium, "") });
    out.part("response.content_part.added", &open.id, &item.id, part);
    open.item = Some((item, previous.cloned()));
}

/// Tells once that the item has all its text and audio.
fn close_item(out: &mut Events, open: &mut OpenReply, item: &Item) {
    if std::mem::replace(&mut open.closed, true) {
        return;
    }
    let previous = open.item.as_ref().and_then(|(_, previous)| previous.as_ref());
    match item.medium {
        Medium::Voice => {
            out.part("response.output_audio.done", &open.id, &item.id, json!({}));
            let body = json!({ "transcript": item.text });
            out.part("response.output_audio_transcript.done", &open.id, &item.id, body);
        }
        Medium::Text => out.part("response.output_text.done", &open.id, &item.id, json!({ "text": item.text })),
    }
    let part = json!({ "part": show_part(item.medium, &item.text) });
    out.part("response.content_part.done", &open.id, &item.id, part);
    out.item_done(item, previous);
    out.output_item("response.output_item.done", &open.id, item);
}

fn reply_done(
    out: &mut Events,
    protocol: &mut RealtimeProtocol,
    reply: &ReplyId,
    item: Option<&Item>,
    outcome: &Outcome,
    usage: &Usage,
) {
    let mut open =
        protocol.close_reply(reply).unwrap_or_else(|| OpenReply { id: reply.clone(), item: None, closed: false });
    let status = if *outcome == Outcome::Completed { ItemStatus::Completed } else { ItemStatus::Incomplete };
    let known = open.item.as_ref().map(|(known, _)| known);
    let last = item.or(known).map(|item| Item { status, ..item.clone() });
    if let Some(last) = &last {
        if open.item.is_none() {
            open_item(out, &mut open, last, None);
        }
        close_item(out, &mut open, last);
    }
    let (status, details) = show_outcome(outcome);
    let response = response(protocol.session.as_ref(), reply, status, details, last.as_slice(), show_usage(usage));
    out.push("response.done", json!({ "response": response }));
}

/// The messages of one call event.
#[derive(Default)]
struct Events(Vec<String>);

impl Events {
    fn push(&mut self, kind: &str, body: Value) {
        let mut event = match body {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        event.insert("type".to_owned(), kind.into());
        event.insert("event_id".to_owned(), format!("event_{}", Uuid::now_v7().simple()).into());
        self.0.push(Value::Object(event).to_string());
    }

    /// An event about the one part of a reply's item.
    fn part(&mut self, kind: &str, reply: &ReplyId, item: &ItemId, mut body: Value) {
        body["response_id"] = json!(reply);
        body["item_id"] = json!(item);
        body["output_index"] = json!(OUTPUT_INDEX);
        body["content_index"] = json!(CONTENT_INDEX);
        self.push(kind, body);
    }

    fn output_item(&mut self, kind: &str, reply: &ReplyId, item: &Item) {
        self.push(kind, json!({ "response_id": reply, "output_index": OUTPUT_INDEX, "item": show_item(item) }));
    }

    /// `previous_item_id` is always there: clients read `null` as "this is the first".
    fn item_added(&mut self, item: &Item, previous: Option<&ItemId>) {
        self.push("conversation.item.added", json!({ "item": show_item(item), "previous_item_id": previous }));
    }

    fn item_done(&mut self, item: &Item, previous: Option<&ItemId>) {
        self.push("conversation.item.done", json!({ "item": show_item(item), "previous_item_id": previous }));
    }
}

fn delta_event(medium: Medium) -> &'static str {
    match medium {
        Medium::Voice => "response.output_audio_transcript.delta",
        Medium::Text => "response.output_text.delta",
    }
}

fn response(
    session: Option<&Session>,
    reply: &ReplyId,
    status: &str,
    status_details: Value,
    output: &[Item],
    usage: Value,
) -> Value {
    json!({
        "object": "realtime.response",
        "id": reply,
        "status": status,
        "status_details": status_details,
        "output": output.iter().map(show_item).collect::<Vec<_>>(),
        "conversation_id": session.map(|session| session.conversation.as_str()),
        "output_modalities": ["audio"],
        "audio": { "output": { "format": session::format(), "voice": session.map(|session| session.voice.as_str()) } },
        "max_output_tokens": "inf",
        "usage": usage,
        "metadata": null,
    })
}

fn show_outcome(outcome: &Outcome) -> (&'static str, Value) {
    match outcome {
        Outcome::Completed => ("completed", Value::Null),
        Outcome::TurnDetected => ("cancelled", json!({ "type": "cancelled", "reason": "turn_detected" })),
        Outcome::ClientCancelled => ("cancelled", json!({ "type": "cancelled", "reason": "client_cancelled" })),
        Outcome::Failed(fault) => {
            let error = json!({ "type": fault.kind, "code": fault.code, "message": fault.message });
            ("failed", json!({ "type": "failed", "error": error }))
        }
    }
}

/// Tokens of the language model, which reads and writes text alone.
fn show_usage(usage: &Usage) -> Value {
    json!({
        "total_tokens": u64::from(usage.input_tokens) + u64::from(usage.output_tokens),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_token_details": {
            "text_tokens": usage.input_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": { "text_tokens": usage.cached_tokens, "audio_tokens": 0, "image_tokens": 0 },
            // Avatar's own.
            "dropped_messages": usage.dropped_messages,
        },
        "output_token_details": { "text_tokens": usage.output_tokens, "audio_tokens": 0 },
    })
}

fn show_item(item: &Item) -> Value {
    let content = match (item.role, item.medium) {
        (Role::Assistant, _) if item.status == ItemStatus::InProgress && item.text.is_empty() => json!([]),
        (Role::Assistant, Medium::Voice) => json!([{ "type": "output_audio", "transcript": item.text }]),
        (Role::Assistant, Medium::Text) => json!([{ "type": "output_text", "text": item.text }]),
        // Not transcribed yet: null, and never absent.
        (Role::User, Medium::Voice) => {
            let transcript = Some(&item.text).filter(|text| !text.is_empty());
            json!([{ "type": "input_audio", "transcript": transcript }])
        }
        (Role::User, Medium::Text) | (Role::System, _) => json!([{ "type": "input_text", "text": item.text }]),
    };
    let status = match item.status {
        ItemStatus::InProgress => "in_progress",
        ItemStatus::Completed => "completed",
        ItemStatus::Incomplete => "incomplete",
    };
    json!({
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": item.role,
        "content": content,
    })
}

/// A part of a reply. Its type is `audio` or `text`, unlike that of an item's content.
fn show_part(medium: Medium, text: &str) -> Value {
    match medium {
        Medium::Voice => json!({ "type": "audio", "transcript": text }),
        Medium::Text => json!({ "type": "text", "text": text }),
    }
}

fn show_fault(fault: &Fault) -> Value {
    json!({
        "type": fault.kind,
        "code": fault.code,
        "message": fault.message,
        "param": fault.param,
        "event_id": fault.event_id,
    })
}

fn show_timings(timings: &Timings) -> Value {
    json!({
        "item_id": timings.item,
        "response_id": timings.reply,
        "stages": {
            "turn_commit_ms": fractional_ms(timings.turn_commit),
            "text_final_ms": fractional_ms(timings.text_final),
            "first_token_ms": fractional_ms(timings.first_token),
            "first_sentence_ms": fractional_ms(timings.first_sentence),
            "first_audio_ms": fractional_ms(timings.first_audio),
            "first_packet_ms": fractional_ms(timings.first_packet),
        },
    })
}

fn show_hq_audio(audio: &HqAudio) -> Value {
    json!({
        "conversation_id": audio.conversation,
        "turn_id": audio.turn,
        "response_id": audio.reply,
        "item_id": audio.item,
        "audio_url": audio.url(),
        "duration_ms": whole_ms(audio.duration),
    })
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn fractional_ms(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_nanos() as f64 / 1_000_000.0)
}
