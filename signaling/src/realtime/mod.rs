//! The OpenAI Realtime protocol (general-availability form), and the HTTP door that its clients call in by.
//!
//! [`RealtimeProtocol`] words a call's events as the protocol's server events and reads its client events. It holds no
//! socket and no audio: over WebRTC audio travels on the tracks, so that `input_audio_buffer.append` is refused.
//!
//! It promises that every message carries `event_id` and every field that client SDKs check, because they silently ignore
//! an event which lacks one; that parts and items which were opened are closed before `response.done`, however the reply
//! ended; and that no message from a client can make it panic.

mod ask;
pub mod calls;
pub mod events;
pub mod fields;
pub mod secrets;
pub mod session;

use std::collections::VecDeque;
use std::time::Duration;

use crate::line::{Ask, CallEvent, Command, Fault, Item, ItemId, ReplyId, Session};
use crate::protocol::Protocol;

/// Longest client message that is read. Longer ones are answered with an error; an honest event is a few kilobytes.
pub const MESSAGE_LIMIT: usize = 256 * 1024;

/// How many replies, and how many spans of the caller's speech, are remembered at once. A call has one or two of each
/// under way; when more are, the oldest is forgotten.
const REMEMBERED: usize = 16;

/// The protocol's state for one connection: what has been opened and must still be closed.
#[derive(Default)]
pub struct RealtimeProtocol {
    session: Option<Session>,
    replies: VecDeque<OpenReply>,
    spans: VecDeque<Span>,
}

/// A reply between `response.created` and `response.done`.
struct OpenReply {
    id: ReplyId,
    /// Its item once that exists, with the text so far and the item before it.
    item: Option<(Item, Option<ItemId>)>,
    /// The item's `done` events have been sent.
    closed: bool,
}

/// When the caller spoke an item, on the caller's audio clock.
struct Span {
    item: ItemId,
    from: Duration,
    to: Duration,
}

impl RealtimeProtocol {
    pub fn new() -> Self {
        Self::default()
    }

    fn open_reply(&mut self, id: &ReplyId) -> &mut OpenReply {
        let known = self.replies.iter().position(|reply| reply.id == *id);
        let at = known.unwrap_or_else(|| {
            self.replies.truncate(REMEMBERED - 1);
            self.replies.push_front(OpenReply { id: id.clone(), item: None, closed: false });
            0
        });
        &mut self.replies[at]
    }

    fn close_reply(&mut self, id: &ReplyId) -> Option<OpenReply> {
        let at = self.replies.iter().position(|reply| reply.id == *id)?;
        self.replies.remove(at)
    }

    fn speech_started(&mut self, item: &ItemId, at: Duration) {
        self.spans.retain(|span| span.item != *item);
        self.spans.truncate(REMEMBERED - 1);
        self.spans.push_front(Span { item: item.clone(), from: at, to: at });
    }

    fn speech_stopped(&mut self, item: &ItemId, at: Duration) {
        if let Some(span) = self.spans.iter_mut().find(|span| span.item == *item) {
            span.to = at;
        }
    }

    /// How long the caller spoke `item`; zero where the call has not said.
    fn spoken(&mut self, item: &ItemId) -> Duration {
        let at = self.spans.iter().position(|span| span.item == *item);
        let span = at.and_then(|at| self.spans.remove(at));
        span.map_or(Duration::ZERO, |span| span.to.saturating_sub(span.from))
    }
}

impl Protocol for RealtimeProtocol {
    fn tell(&mut self, event: &CallEvent) -> Vec<String> {
        events::word(self, event)
    }

    fn understand(&mut self, message: &str) -> Option<Command> {
        let (event_id, read) = ask::read(message);
        let ask = read.unwrap_or_else(|fault| Ask::Unintelligible(Fault { event_id: event_id.clone(), ..fault }));
        Some(Command { event_id, ask })
    }
}

#[cfg(test)]
mod tests;
