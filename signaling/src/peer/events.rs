//! The data channel: a call's events out, the client's commands in, each in the words of the client's protocol.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use crate::line::{Ask, CallEvent, Command, Fault};
use crate::peer::EVENTS_LABEL;
use crate::peer::connection::MESSAGE_BOUND;
use crate::peer::stats::{CallCounters, count};
use crate::protocol::Protocol;

/// Messages that may wait for the channel to open or to take them. When full the oldest is dropped and counted: a client
/// without a channel wants none, and one that stopped reading is past caring for the oldest.
const UNSENT_BOUND: usize = 256;

pub(super) struct Events {
    protocol: Box<dyn Protocol>,
    channel: Option<Arc<dyn DataChannel>>,
    unsent: VecDeque<String>,
    counters: Arc<CallCounters>,
}

impl Events {
    pub(super) fn new(protocol: Box<dyn Protocol>, counters: Arc<CallCounters>) -> Self {
        Self { protocol, channel: None, unsent: VecDeque::new(), counters }
    }

    /// Takes the client's channel, if it is the one for events, and sends what waited for it.
    pub(super) async fn open(&mut self, channel: Arc<dyn DataChannel>) {
        // Without a label it has closed already: a client that hung up at once, whose close is still to be read.
        let ours = match channel.label().await {
            Ok(label) => label == EVENTS_LABEL,
            Err(_) => self.channel.is_none(),
        };
        if ours {
            self.channel = Some(channel);
            self.flush().await;
        }
    }

    pub(super) fn channel(&self) -> Option<&dyn DataChannel> {
        self.channel.as_deref()
    }

    /// There is something to tell and no channel to tell it on.
    pub(super) fn lack_channel(&self) -> bool {
        self.channel.is_none() && !self.unsent.is_empty()
    }

    /// What a message asks for.
    pub(super) fn read(&mut self, message: &RTCDataChannelMessage) -> Option<Command> {
        count(&self.counters.messages_in);
        let refuse = |code, text: String| {
            count(&self.counters.messages_refused);
            let fault = Fault { kind: "invalid_request_error", code, message: text, param: None, event_id: None };
            Some(Command { event_id: None, ask: Ask::Unintelligible(fault) })
        };
        if message.data.len() > MESSAGE_BOUND {
            let bytes = message.data.len();
            return refuse(
                "message_too_large",
                format!("a message has {bytes} bytes; at most {MESSAGE_BOUND} are read"),
            );
        }
        match std::str::from_utf8(&message.data) {
            Ok(text) if message.is_string => self.protocol.understand(text),
            _ => refuse("not_text", "a message is not text; send events as JSON text".to_owned()),
        }
    }

    pub(super) async fn tell(&mut self, event: &CallEvent) {
        for message in self.protocol.tell(event) {
            if self.unsent.len() >= UNSENT_BOUND {
                self.unsent.pop_front();
                count(&self.counters.messages_dropped);
            }
            self.unsent.push_back(message);
        }
        self.flush().await;
    }

    /// Sends what the channel takes now.
    pub(super) async fn flush(&mut self) {
        let Some(channel) = &self.channel else { return };
        while let Some(message) = self.unsent.front() {
            if channel.try_send_text(message).await.is_err() {
                return;
            }
            self.unsent.pop_front();
            count(&self.counters.messages_out);
        }
    }

    /// Until the client has acknowledged everything.
    pub(super) async fn drain(&mut self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        loop {
            self.flush().await;
            let Some(channel) = &self.channel else { return };
            match channel.outstanding_bytes().await {
                Ok(0) if self.unsent.is_empty() => return,
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_) => return,
            }
        }
    }
}

/// Closes the channel and waits until the other side has, too: without the wait the library would stop before the close
/// was on its way, and the other side would only find out by a timeout.
pub(crate) async fn close(channel: Option<&dyn DataChannel>) {
    let Some(channel) = channel else { return };
    if channel.close().await.is_err() {
        return;
    }
    while !matches!(channel.poll().await, None | Some(DataChannelEvent::OnClose)) {}
}

/// The next thing on the channel, `None` when it is gone; never, while there is none.
pub(super) async fn next(channel: Option<&dyn DataChannel>) -> Option<DataChannelEvent> {
    match channel {
        Some(channel) => channel.poll().await,
        None => std::future::pending().await,
    }
}
