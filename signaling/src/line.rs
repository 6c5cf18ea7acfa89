//! The joint between a door and a call: one [`Line`].
//!
//! The caller's PCM comes in with its arrival time, reply PCM goes out with a playout position coming back, events travel
//! both ways, and either end can hang up. WebRTC, WebSocket and SIP are makers of lines; a test with a virtual clock is
//! another. The call never learns which it has.

mod ids;
mod items;

use std::time::{Duration, Instant};

use audio::pcm::Pcm;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::ids::{CallId, ConversationId, ItemId, ReplyId};
pub use self::items::{Fault, Item, ItemStatus, Medium, Role, Timings, Usage};
use crate::secret::Secret;
pub use crate::switchboard::{Asking, Refusal, Seat, Switchboard};

/// How many [`FromCaller`] may wait for the call: five seconds of 20 ms frames. When full the door drops the newest audio
/// frame (counted) and waits with everything else.
pub const INCOMING_BOUND: usize = 250;
/// How many [`ToCaller`] may wait for the door. When full the call waits: audio is already queued seconds ahead.
pub const OUTGOING_BOUND: usize = 256;

/// What a call is given by its door.
pub struct Line {
    pub call: CallId,
    /// Which door it came in by: `webrtc`, `whip`, `websocket`, `sip`. For history and logs only.
    pub door: &'static str,
    /// What the client asked for when it called.
    pub session: SessionPatch,
    /// Id of the key it came in with, where that was given out ([`crate::grant::Grant::key`]): whose the conversation is.
    pub owner: Option<String>,
    pub incoming: mpsc::Receiver<FromCaller>,
    pub outgoing: mpsc::Sender<ToCaller>,
}

/// The door's half of a [`Line`].
pub struct LineEnd {
    pub incoming: mpsc::Sender<FromCaller>,
    pub outgoing: mpsc::Receiver<ToCaller>,
}

impl Line {
    /// A line and the door's half of it.
    pub fn new(call: CallId, door: &'static str, session: SessionPatch, owner: Option<String>) -> (Self, LineEnd) {
        let (incoming_tx, incoming) = mpsc::channel(INCOMING_BOUND);
        let (outgoing, outgoing_rx) = mpsc::channel(OUTGOING_BOUND);
        let line = Self { call, door, session, owner, incoming, outgoing };
        (line, LineEnd { incoming: incoming_tx, outgoing: outgoing_rx })
    }
}

/// From the door to the call.
#[derive(Debug)]
pub enum FromCaller {
    /// 20 ms of what the caller's microphone heard: 320 samples, 16 kHz mono, in order and without gaps (lost packets are
    /// concealed, silence of a paused sender is filled).
    Audio(CallerAudio),
    Command(Command),
    Playout(Playout),
    /// Last message of a line.
    HungUp(HangUp),
}

#[derive(Debug, Clone)]
pub struct CallerAudio {
    /// When the packet that carried it arrived at the socket; for a concealed frame, when it was due.
    pub arrived: Instant,
    pub samples: Vec<f32>,
    /// Made up by concealment: no packet carried it.
    pub concealed: bool,
}

/// What came of reply audio that was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Playout {
    /// The packet with the first audible sample of this reply was sent at `at`.
    Started { reply: ReplyId, at: Instant },
    /// How much of the reply's audio has been sent so far. Every 100 ms while it plays, and once before `Drained` and `Cut`.
    Position { reply: ReplyId, played: Duration },
    /// The queue ran dry though the reply is not finished; `Started` is not sent again when it goes on.
    Starved { reply: ReplyId },
    /// Everything of a finished reply has been sent.
    Drained { reply: ReplyId, played: Duration },
    /// The reply was cut on command, faded out, and what was queued is gone.
    Cut { reply: ReplyId, played: Duration },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// The client said so: `DELETE`, hang-up request, or its data channel or connection closed, unless it asked for
    /// [`SessionPatch::keep_on_close`].
    ByCaller,
    /// Nothing was heard of the client for too long, the connection failed, or it closed and the client may come back.
    Vanished,
    /// The call core asked for it, or the server is stopping.
    ByServer,
}

/// From the call to the door.
#[derive(Debug)]
pub enum ToCaller {
    /// Queue reply audio, at any sample rate. The first chunk of a new `reply` follows what is queued of the one before.
    Speak {
        reply: ReplyId,
        pcm: Pcm,
    },
    /// The reply has no more audio; answered by [`Playout::Drained`] when the queue has been sent.
    Finish {
        reply: ReplyId,
    },
    /// Fade out now and forget what is queued; answered by [`Playout::Cut`]. Of a reply that is not queued: answered with
    /// what was played of it, or zero.
    Cut {
        reply: ReplyId,
    },
    Event(CallEvent),
    HangUp,
}

/// How the end of a turn is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum TurnEnd {
    /// By silence alone.
    Silence(Duration),
    /// By silence, shortened or lengthened by the turn model (`semantic_vad`).
    Semantic,
    /// The client commits turns itself.
    Manual,
}

/// What a session is; shown in `session.created` and `session.updated`.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub call: CallId,
    pub conversation: ConversationId,
    /// Name of the language model.
    pub model: String,
    pub instructions: String,
    pub voice: String,
    /// BCP 47, or `None` for automatic.
    pub language: Option<String>,
    pub turn_end: TurnEnd,
    /// A reply begins by itself when a turn ends.
    pub create_response: bool,
    /// Speaking over a reply stops it.
    pub interrupt_response: bool,
}

/// Changes to a session; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionPatch {
    pub instructions: Option<String>,
    pub voice: Option<String>,
    /// `Some(None)` sets automatic.
    pub language: Option<Option<String>>,
    pub turn_end: Option<TurnEnd>,
    pub create_response: Option<bool>,
    pub interrupt_response: Option<bool>,
    /// Go on with an earlier conversation.
    pub conversation: Option<ConversationId>,
    /// Go on with the call, or the session, that this token was told for.
    pub resume: Option<Secret>,
    /// A connection that closes without a hang-up is a lost one to this client: it may come back with its token, as a page does
    /// that is loaded anew. Counts where the line is made.
    pub keep_on_close: Option<bool>,
}

/// What a client may ask of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The client's own id of the event, quoted in an error about it.
    pub event_id: Option<String>,
    pub ask: Ask,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    UpdateSession(SessionPatch),
    /// Add a typed message (or a system message) to the conversation after `previous`, or at its end. A `previous` of
    /// [`ItemId::ROOT`] puts it first.
    CreateItem {
        item: Item,
        previous: Option<ItemId>,
    },
    RetrieveItem(ItemId),
    /// The client's own account of how much of a reply was heard.
    TruncateItem {
        item: ItemId,
        heard: Duration,
    },
    DeleteItem(ItemId),
    /// Reply now, to what has been said so far.
    CreateReply {
        instructions: Option<String>,
    },
    /// Stop the running reply, and what is queued of it.
    CancelReply {
        reply: Option<ReplyId>,
    },
    /// Stop what is playing.
    ClearPlayout,
    /// The turn is over (manual turns).
    CommitInput,
    /// Forget what was said since the last commit.
    ClearInput,
    /// Something the door could not make sense of; the call answers with `error`.
    Unintelligible(Fault),
}

/// What a call tells its client. One module a protocol maps these to its own words.
#[derive(Debug, Clone, PartialEq)]
pub enum CallEvent {
    SessionCreated(Session),
    SessionUpdated(Session),
    /// The talk that a token was told for goes on; `reply` is the one that is heard on from where it broke off. The last items
    /// and that reply are told again after it, under their ids.
    SessionResumed {
        conversation: ConversationId,
        from: ResumedFrom,
        reply: Option<ReplyId>,
    },
    /// With this token another call can go on with this talk, for so long after this one has lost its line. Each token is good
    /// once.
    SessionResumable {
        conversation: ConversationId,
        token: Secret,
        expires_after: Duration,
    },
    /// `at` is on the caller's audio clock: time since the call's first sample.
    SpeechStarted {
        item: ItemId,
        at: Duration,
    },
    SpeechStopped {
        item: ItemId,
        at: Duration,
    },
    InputCommitted {
        item: ItemId,
        previous: Option<ItemId>,
    },
    InputCleared,
    /// An item that is not a reply's joined the conversation; `previous` is `None` for the first item alone, here and below:
    /// clients put an item without a predecessor before all others.
    ItemAdded {
        item: Item,
        previous: Option<ItemId>,
    },
    ItemDone {
        item: Item,
        previous: Option<ItemId>,
    },
    ItemRetrieved(Item),
    ItemTruncated {
        item: ItemId,
        heard: Duration,
    },
    ItemDeleted(ItemId),
    /// Words that will not change any more, while the caller still speaks or after.
    TranscriptDelta {
        item: ItemId,
        delta: String,
    },
    TranscriptDone {
        item: ItemId,
        text: String,
    },
    TranscriptFailed {
        item: ItemId,
        fault: Fault,
    },
    ReplyStarted {
        reply: ReplyId,
    },
    /// The reply's item exists; its text and audio follow.
    ReplyItem {
        reply: ReplyId,
        item: Item,
        previous: Option<ItemId>,
    },
    ReplyText {
        reply: ReplyId,
        item: ItemId,
        delta: String,
    },
    /// All audio of the reply has been made (not: played).
    ReplySpoken {
        reply: ReplyId,
        item: ItemId,
        text: String,
    },
    ReplyDone {
        reply: ReplyId,
        item: Option<Item>,
        outcome: Outcome,
        usage: Usage,
    },
    PlayoutStarted {
        reply: ReplyId,
    },
    PlayoutStopped {
        reply: ReplyId,
    },
    PlayoutCleared {
        reply: ReplyId,
    },
    Timings(Timings),
    /// A reply of this conversation can now be heard in a better voice than could be made live.
    HqReady(HqAudio),
    Failed(Fault),
}

/// A reply's better audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HqAudio {
    pub conversation: ConversationId,
    /// The turn's id in the history.
    pub turn: i64,
    pub reply: ReplyId,
    pub item: ItemId,
    pub duration: Duration,
}

impl HqAudio {
    /// Where the history has it, on the same server.
    pub fn url(&self) -> String {
        format!("/api/conversations/{}/turns/{}/audio/assistant?quality=hq", self.conversation, self.turn)
    }
}

/// Where a talk that goes on was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumedFrom {
    /// The call still ran: all of it is there, and an unfinished reply goes on.
    Memory,
    /// The call has ended: settings and finished turns are there.
    History,
}

/// How a reply ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Completed,
    /// The caller spoke over it.
    TurnDetected,
    /// The client asked to stop.
    ClientCancelled,
    Failed(Fault),
}
