//! What reaches the conversation, and what it wants done: the whole boundary between the pure core and its driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::Pcm;
use models::error::EngineError;
use models::llm::{Message, Piece};
use models::stt::{Transcript, Urgency};
use signaling::line::{CallEvent, CallerAudio, Command, ItemId, Playout, ReplyId, Session};

use super::record::{Amendment, TurnRecord};

/// Numbers the transcriptions that were asked for, so that an answer finds what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Something has happened.
#[derive(Debug)]
pub enum Input {
    /// The next 20 ms of the caller, and the speech probability of each voice-activity window that they completed.
    Heard {
        audio: CallerAudio,
        voicing: Vec<f32>,
    },
    /// The turn model's opinion of a pause.
    Judged {
        pause: u64,
        sounds_finished: f32,
    },
    Transcribed {
        ask: AskId,
        result: Result<Transcript, EngineError>,
    },
    /// The language model wrote the next piece of a reply, or failed.
    Wrote {
        reply: ReplyId,
        piece: Result<Piece, EngineError>,
    },
    /// The voice made the next chunk of a sentence, or has finished it, or failed.
    Voiced {
        reply: ReplyId,
        sentence: usize,
        made: Made,
    },
    Playout(Playout),
    Command(Command),
    /// Somebody corrected what these items say, or deleted all that was kept of them.
    Corrected(Vec<(ItemId, String)>),
    Deleted,
    /// The history has written a turn, or could not.
    Kept {
        reply: ReplyId,
        result: Result<(), String>,
    },
}

/// What came of a sentence given to the voice.
#[derive(Debug)]
pub enum Made {
    Chunk(Pcm),
    All,
    Failed(EngineError),
}

/// Something the driver has to do.
#[derive(Debug, PartialEq)]
pub enum Step {
    Tell(CallEvent),
    /// Answered by [`Input::Transcribed`]. A newer one replaces whatever was asked for the same turn before.
    Transcribe {
        ask: AskId,
        audio: Arc<[f32]>,
        language: Option<String>,
        urgency: Urgency,
        speech: Duration,
    },
    /// Answered by [`Input::Judged`], or not at all.
    Judge {
        pause: u64,
        audio: Arc<[f32]>,
    },
    /// Answered by [`Input::Wrote`], until `Done` or an error.
    Generate {
        reply: ReplyId,
        messages: Vec<Message>,
    },
    /// Answered by [`Input::Voiced`].
    Synthesize {
        reply: ReplyId,
        sentence: usize,
        text: String,
        voice: String,
        deadline: Instant,
    },
    /// Drop what the language model and the voice are doing for this reply.
    Abandon {
        reply: ReplyId,
    },
    Play {
        reply: ReplyId,
        pcm: Pcm,
    },
    FinishPlayout {
        reply: ReplyId,
    },
    /// Answered by [`Playout::Cut`].
    CutPlayout {
        reply: ReplyId,
    },
    /// Write a turn down; answered by [`Input::Kept`] if it has a reply.
    Keep(Box<TurnRecord>),
    Amend(Box<Amendment>),
    /// Keep the session as it is now, so that another line or another process can go on with it.
    KeepSession(Box<Session>),
}
