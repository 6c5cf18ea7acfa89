//! The messages of `/ws/chat`: what a call's events become, and how a client's chunk is read.
//!
//! Beyond the five messages of the contract there are a few that its clients may ignore: `session`, `interrupted`,
//! `response_done`, `session_resumable`, `session_resumed`.

use std::collections::VecDeque;

use audio::pcm::{SampleRate, from_i16};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Recorded;
use super::playing::Piece;
use crate::line::{CallEvent, Command, Fault, HqAudio, Item, ItemId, Outcome, Refusal, ReplyId, Role};
use crate::protocol::Protocol;

/// The longest message that is read: five seconds of 48 kHz in base64, where a chunk should have 0.3.
pub const MESSAGE_LIMIT: usize = 768 * 1024;
/// Sample rates that are taken.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=96_000;
/// Turns that are remembered, so that what comes of them later can be told under their name.
const REMEMBERED: usize = 64;

/// What is wrong, as `error` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatError {
    pub code: &'static str,
    pub message: String,
}

impl ChatError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn to_message(&self) -> String {
        json!({ "type": "error", "code": self.code, "message": self.message }).to_string()
    }
}

impl From<&Refusal> for ChatError {
    fn from(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::Full { .. } | Refusal::Draining { .. } => "busy",
            Refusal::Loading { .. } => "loading",
            Refusal::EngineMissing { .. } => "internal",
            Refusal::ResumeTokenInvalid => "resume_token_invalid",
            Refusal::Quota { .. } => "quota_exceeded",
            Refusal::NoSuchConversation(_) => "conversation_not_found",
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<&Fault> for ChatError {
    fn from(fault: &Fault) -> Self {
        let code = match (fault.kind, fault.code) {
            (_, "overloaded") => "overloaded",
            ("invalid_request_error", _) => "bad_message",
            _ => "internal",
        };
        Self::new(code, fault.message.clone())
    }
}

/// A chunk of the client's microphone.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    pub rate: SampleRate,
    pub samples: Vec<f32>,
}

/// Reads `{"type":"audio_chunk","data","ts","sr"}`: base64 of 16-bit little-endian mono samples. `ts` is the client's own note and
/// is not used: what counts is when a chunk arrives.
pub fn read(text: &str) -> Result<Chunk, ChatError> {
    let bad = |message: String| ChatError::new("bad_message", message);
    if text.len() > MESSAGE_LIMIT {
        let message =
            format!("a message has {} bytes; at most {MESSAGE_LIMIT} are read, send shorter chunks", text.len());
        return Err(ChatError::new("too_large", message));
    }
    let message: Value =
        serde_json::from_str(text).map_err(|error| bad(format!("the message is not JSON: {error}")))?;
    if !message.is_object() {
        return Err(bad("the message is no JSON object".to_owned()));
    }
    match message.get("type").and_then(Value::as_str) {
        Some("audio_chunk") => {}
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            let text = format!("there is no message of type `{shown}`; send `audio_chunk`");
            return Err(ChatError::new("unknown_type", text));
        }
        None => return Err(bad("the message has no `type`; send `audio_chunk`".to_owned())),
    }
    let hertz = message.get("sr").and_then(Value::as_f64).filter(|hertz| hertz.fract() == 0.0);
    let hertz = hertz.filter(|hertz| (f64::from(*RATES.start())..=f64::from(*RATES.end())).contains(hertz));
    let rate = hertz.and_then(|hertz| SampleRate::new(hertz as u32)).ok_or_else(|| {
        let message = format!("`sr` must be a whole number of hertz, {} to {}", RATES.start(), RATES.end());
        ChatError::new("bad_rate", message)
    })?;
    let bad = |message: &str| ChatError::new("bad_audio", message);
    let data = message.get("data").and_then(Value::as_str).ok_or_else(|| bad("`data` must be base64 text"))?;
    let bytes = STANDARD.decode(data).map_err(|error| bad(&format!("`data` is not base64: {error}")))?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(bad("`data` must be 16-bit samples, so an even number of bytes"));
    }
    Ok(Chunk { rate, samples: pairs.iter().map(|pair| from_i16(i16::from_le_bytes(*pair))).collect() })
}

/// The protocol's state for one connection.
#[derive(Default)]
pub struct ChatProtocol {
    /// What has been transcribed so far of the turn that is spoken.
    partial: Option<(ItemId, String)>,
    /// The caller's last turn.
    turn: Option<ItemId>,
    /// Which turn a reply answers.
    replies: VecDeque<(ReplyId, String)>,
    /// Which turn an item of the avatar's answers, where it was said before this connection.
    items: VecDeque<(ItemId, String)>,
}

impl ChatProtocol {
    /// The turn that a reply answers; of a reply to nothing, its own name.
    fn turn_of(&self, reply: &ReplyId) -> String {
        let known = self.replies.iter().find(|(id, _)| id == reply).map(|(_, turn)| turn.clone());
        known.unwrap_or_else(|| reply.as_str().to_owned())
    }

    fn begin(&mut self, reply: &ReplyId) {
        let turn = self.turn.as_ref().map_or(reply.as_str(), |turn| turn.as_str()).to_owned();
        remember(&mut self.replies, reply.clone(), turn);
    }

    /// A piece of a reply: a whole WAV file.
    pub fn piece(&self, piece: &Piece) -> Result<String, std::io::Error> {
        let mut file = Vec::with_capacity(64 + 2 * piece.pcm.samples.len());
        audio::wav::write(&piece.pcm, &mut file)?;
        Ok(json!({
            "type": "audio_response",
            "data": STANDARD.encode(&file),
            "mode": "fast",
            "turn_id": self.turn_of(&piece.reply),
            "seq": piece.seq,
            "is_last": piece.is_last,
            "mime": "audio/wav",
        })
        .to_string())
    }

    /// A reply in the better voice: the whole of it in one file, once that is there.
    pub fn high_quality(&self, audio: &HqAudio, recorded: &Recorded) -> String {
        let answered = self.items.iter().find(|(item, _)| *item == audio.item).map(|(_, turn)| turn.clone());
        json!({
            "type": "audio_response",
            "data": STANDARD.encode(&recorded.file),
            "mode": "hq",
            "turn_id": answered.unwrap_or_else(|| self.turn_of(&audio.reply)),
            "seq": 0,
            "is_last": true,
            "mime": recorded.mime,
        })
        .to_string()
    }
}

fn remember<K: PartialEq>(turns: &mut VecDeque<(K, String)>, of: K, turn: String) {
    turns.retain(|(known, _)| *known != of);
    if turns.len() >= REMEMBERED {
        turns.pop_front();
    }
    turns.push_back((of, turn));
}

fn transcription(item: &ItemId, text: &str, is_final: bool) -> Value {
    json!({ "type": "transcription", "text": text, "is_final": is_final, "turn_id": item })
}

impl Protocol for ChatProtocol {
    fn tell(&mut self, event: &CallEvent) -> Vec<String> {
        let message = match event {
            CallEvent::SessionCreated(session) => json!({
                "type": "session",
                "call_id": session.call,
                "conversation_id": session.conversation,
                "voice": session.voice,
                "language": session.language,
            }),
            CallEvent::SessionResumable { conversation, token, expires_after } => json!({
                "type": "session_resumable",
                "conversation_id": conversation,
                "token": token.reveal(),
                "expires_after_ms": u64::try_from(expires_after.as_millis()).unwrap_or(u64::MAX),
            }),
            CallEvent::SessionResumed { conversation, from, reply } => json!({
                "type": "session_resumed",
                "conversation_id": conversation,
                "from": from,
                "turn_id": reply.as_ref().map(|reply| self.turn_of(reply)),
            }),
            CallEvent::TranscriptDelta { item, delta } => {
                let text = match self.partial.take().filter(|(partial, _)| partial == item) {
                    Some((_, before)) => before + delta,
                    None => delta.clone(),
                };
                let message = transcription(item, text.trim(), false);
                self.partial = Some((item.clone(), text));
                message
            }
            CallEvent::TranscriptDone { item, text } => {
                self.partial = None;
                transcription(item, text, true)
            }
            CallEvent::ItemAdded { item: Item { id, role: Role::User, .. }, .. } => {
                self.turn = Some(id.clone());
                return Vec::new();
            }
            CallEvent::ItemAdded { item: Item { id, role: Role::Assistant, .. }, .. } => {
                if let Some(turn) = &self.turn {
                    remember(&mut self.items, id.clone(), turn.as_str().to_owned());
                }
                return Vec::new();
            }
            CallEvent::ReplyStarted { reply } => {
                self.begin(reply);
                return Vec::new();
            }
            CallEvent::ReplyText { reply, delta, .. } => {
                json!({ "type": "llm_token", "token": delta, "turn_id": self.turn_of(reply) })
            }
            CallEvent::PlayoutCleared { reply } => json!({ "type": "interrupted", "turn_id": self.turn_of(reply) }),
            CallEvent::ReplyDone { reply, outcome, .. } => {
                let status = match outcome {
                    Outcome::Completed => "completed",
                    Outcome::TurnDetected | Outcome::ClientCancelled => "cancelled",
                    Outcome::Failed(_) => "failed",
                };
                json!({ "type": "response_done", "turn_id": self.turn_of(reply), "status": status })
            }
            CallEvent::Failed(fault) | CallEvent::TranscriptFailed { fault, .. } => {
                return vec![ChatError::from(fault).to_message()];
            }
            _ => return Vec::new(),
        };
        vec![message.to_string()]
    }

    /// A client asks for nothing: it sends audio, which [`read`] reads.
    fn understand(&mut self, _message: &str) -> Option<Command> {
        None
    }
}
