//! What the history is given of a turn.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use super::attendance::Attendance;
use audio::pcm::Pcm;
use serde::{Deserialize, Serialize};
use signaling::line::{CallId, ConversationId, Item, ItemId, ReplyId, Session, Timings, TurnEnd};

use super::resumption::TokenHash;

/// One turn: what the caller said and what came back, either of which may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnRecord {
    pub conversation: ConversationId,
    pub call: CallId,
    /// Whose key the call came in with; `None` where it has no owner but the server's own.
    pub owner: Option<String>,
    /// Which door the call came in by.
    pub door: &'static str,
    pub started: SystemTime,
    pub question: Option<Question>,
    pub answer: Option<Answer>,
    pub timings: Timings,
}

/// What the caller said.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub item: ItemId,
    pub text: String,
    /// BCP 47, where known.
    pub language: Option<String>,
    /// 16 kHz; `None` for a typed message.
    pub audio: Option<Pcm>,
}

/// What the avatar said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub reply: ReplyId,
    pub item: ItemId,
    /// All that was written.
    pub text: String,
    /// How much of the text was heard; the whole of it, unless the caller spoke over it.
    pub heard: String,
    pub audio: Option<Pcm>,
    pub interrupted: bool,
    /// Why there is no answer, or only a part.
    pub failure: Option<String>,
    pub voice: String,
    pub model: String,
}

/// What turned out about a turn after it was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Amendment {
    pub reply: ReplyId,
    pub heard: String,
    pub interrupted: bool,
    /// How much of the answer's audio was sent to the caller.
    pub played: Duration,
}

/// A session as it is kept, so that the holder of its token can go on with it when its call has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    pub conversation: ConversationId,
    /// Whose key it is bound to.
    pub owner: Option<String>,
    pub token: TokenHash,
    pub settings: SessionSettings,
    pub expires_at: SystemTime,
}

/// What a client can set of its session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSettings {
    pub instructions: String,
    pub voice: String,
    pub language: Option<String>,
    pub turn_end: TurnEnd,
    pub create_response: bool,
    pub interrupt_response: bool,
}

impl SessionSettings {
    pub fn of(session: &Session) -> Self {
        Self {
            instructions: session.instructions.clone(),
            voice: session.voice.clone(),
            language: session.language.clone(),
            turn_end: session.turn_end,
            create_response: session.create_response,
            interrupt_response: session.interrupt_response,
        }
    }
}

pub type Kept<T> = Pin<Box<dyn Future<Output = Result<T, KeepError>> + Send>>;

/// Why a turn could not be written down.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeepError {
    #[error("the history cannot be written: {0}; check the space and the permissions of the data folder")]
    Storage(String),
    #[error("the history is {0} turns behind and takes no more; the disk is too slow")]
    Behind(usize),
}

/// Where turns are kept. Takes no longer than a hand-over; the writing happens on the keeper's own thread.
pub trait Keeper: Send + Sync + 'static {
    /// Resolves when the turn would survive the process being killed.
    fn keep(&self, turn: TurnRecord) -> Kept<()>;
    fn amend(&self, amendment: Amendment) -> Kept<()>;
    /// Keeps a session in place of what was kept of the same conversation.
    fn keep_session(&self, session: SessionRecord) -> Kept<()>;
    /// Nobody will go on with this session.
    fn forget_session(&self, conversation: &ConversationId) -> Kept<()>;
    /// The session that a token was told for, unless it has expired. Asked before a call is let in: it must not take long.
    fn session(&self, token: &TokenHash) -> Option<SessionRecord>;
    /// The items of an earlier conversation, oldest first; empty if there is none of that name.
    fn recall(&self, conversation: &ConversationId) -> Kept<Vec<Item>>;
    /// A call of that conversation begins.
    fn attend(&self, _conversation: &ConversationId) -> Attendance {
        Attendance::default()
    }

    /// Whether calls with the key of that id may go on with the conversation: it was begun with that key, or there is none of that
    /// name yet. Must answer within a millisecond.
    fn is_open_to(&self, conversation: &ConversationId, owner: &str) -> bool {
        let _nobody_knows = (conversation, owner);
        false
    }

    /// Whether a voice, by its id with or without its engine, was made with the key of that id. Must answer within a millisecond.
    fn voice_is_open_to(&self, voice: &str, owner: &str) -> bool {
        let _nobody_knows = (voice, owner);
        false
    }
}
