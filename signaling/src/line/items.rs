//! What a conversation is made of, and what is told about its making.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ItemId, ReplyId};

/// Who an item is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// How an item came to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Spoken: the text is a transcript.
    Voice,
    Text,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub id: ItemId,
    pub role: Role,
    pub medium: Medium,
    /// What was said; for a reply that was cut, what was heard of it.
    pub text: String,
    pub status: ItemStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// Tokens read and written for a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u32,
    /// Of the input, how many were still in the key-value cache.
    pub cached_tokens: u32,
    pub output_tokens: u32,
    /// Oldest messages of the conversation that the model's context had no room for.
    pub dropped_messages: u32,
}

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// `invalid_request_error`, `server_error`, …
    pub kind: &'static str,
    /// One word a program can match on.
    pub code: &'static str,
    /// What happened and what to do, for a person.
    pub message: String,
    /// Which field was wrong.
    pub param: Option<String>,
    /// The client event that caused it.
    pub event_id: Option<String>,
}

/// When each stage of a turn was reached, measured from the arrival of the packet with the caller's last voiced sample.
/// A stage that was overlapped with the wait for the turn's end can be earlier than the commit. `None`: not reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timings {
    pub item: Option<ItemId>,
    pub reply: Option<ReplyId>,
    /// The turn was judged over.
    pub turn_commit: Option<Duration>,
    /// Its final transcript was there.
    pub text_final: Option<Duration>,
    pub first_token: Option<Duration>,
    /// The first clause that was given to the voice was complete.
    pub first_sentence: Option<Duration>,
    /// The voice's first audio was queued.
    pub first_audio: Option<Duration>,
    /// The first packet with audible reply audio was sent: voice-to-voice.
    pub first_packet: Option<Duration>,
}
