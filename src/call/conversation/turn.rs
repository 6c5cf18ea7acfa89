//! One turn of the caller, from the first word to its text.

use std::time::{Instant, SystemTime};

use models::stt::Transcript;
use models::stt::stream::{Cadence, PrefixAgreement};
use signaling::line::{ItemId, Session, Timings};

use super::super::record::{Answer, Question, TurnRecord};
use super::super::step::{AskId, Step};

/// A turn of the caller.
#[derive(Debug)]
pub struct Turn {
    pub item: ItemId,
    pub started: Instant,
    pub partials: PrefixAgreement,
    pub cadence: Cadence,
    /// The partial transcription in work.
    pub partial: Option<AskId>,
    /// What is known about the pause the caller is in.
    pub pause: Option<Pause>,
    /// Set when the turn is over.
    pub over: Option<Over>,
}

/// A silence that may be the turn's end.
#[derive(Debug)]
pub struct Pause {
    pub number: u64,
    /// The transcription that was asked for; `None` once it has failed.
    pub ask: Option<AskId>,
    pub transcript: Option<Transcript>,
    pub text_at: Option<Instant>,
}

/// What is kept of a turn that is over.
#[derive(Debug)]
pub struct Over {
    pub at: Instant,
    pub voice_end: Option<Instant>,
    pub audio: Vec<f32>,
    /// The transcription that gives its text.
    pub ask: AskId,
}

/// A turn with its text, on its way into the history with the reply to it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub started: Instant,
    pub question: Question,
}

/// What every record of a call has in common.
#[derive(Debug, Clone, Copy)]
pub struct Ledger<'a> {
    pub session: &'a Session,
    pub door: &'static str,
    pub owner: Option<&'a str>,
    /// The call's start, by both clocks.
    pub epoch: (Instant, SystemTime),
}

impl Ledger<'_> {
    /// The step that writes down a turn which began at `started`: a question, an answer, or both.
    pub fn keep(self, started: Instant, question: Option<Question>, answer: Option<Answer>, timings: Timings) -> Step {
        let (start, wall) = self.epoch;
        Step::Keep(Box::new(TurnRecord {
            conversation: self.session.conversation.clone(),
            call: self.session.call.clone(),
            owner: self.owner.map(str::to_owned),
            door: self.door,
            started: wall + started.saturating_duration_since(start),
            question,
            answer,
            timings,
        }))
    }
}

impl Turn {
    pub fn new(item: ItemId, started: Instant) -> Self {
        Self {
            item,
            started,
            partials: PrefixAgreement::default(),
            cadence: Cadence::default(),
            partial: None,
            pause: None,
            over: None,
        }
    }
}
