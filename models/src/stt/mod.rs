//! Speech to text.
//!
//! An engine is blocking and simple ([`Recognizer`]); a pool of threads with one bounded queue makes it the shared, cancellable
//! [`SpeechToText`] that calls use. While a caller speaks, the growing utterance is transcribed again and again at
//! [`Urgency::Partial`]; what two passes agree on is published (see `stream`). At the turn's end one pass at
//! [`Urgency::Final`] overtakes every partial in the queue, and stops one in work if no thread is free.
//!
//! Speech is cut at pauses into pieces whose cuts stay where they are as it grows (`pieces`), and a piece that is complete is
//! transcribed once (`sliding`, `memory`): each pass, the final one too, has only the tail to do, and speech of any length
//! costs what its last piece does. What was settled is the engine's prompt for what follows.

pub mod gate;
mod memory;
pub mod moonshine;
pub mod pieces;
pub mod pool;
pub mod script;
pub mod sliding;
pub mod stream;
pub mod wer;
pub mod whisper;

#[cfg(test)]
pub(crate) mod recordings;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use self::pieces::Cutting;
use crate::cancel::{CancelOnDrop, Cancelled};
use crate::error::EngineError;
use crate::queue::QueueDepth;

/// A caller's request to have speech written down.
#[derive(Debug, Clone)]
pub struct TranscribeRequest {
    /// 16 kHz mono.
    pub audio: Arc<[f32]>,
    /// BCP 47, or `None` to detect.
    pub language: Option<String>,
    pub urgency: Urgency,
    /// How much of the audio the voice activity detector held for speech, where one listened: evidence for the gate.
    pub speech: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody waits: history, files.
    Background,
    /// The caller is still speaking; worthless once a newer one is asked for.
    Partial,
    /// The turn is over and a person waits.
    Final,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// Trimmed; empty when nothing was said, or when the gate refused it.
    pub text: String,
    /// BCP 47 of what was spoken, where the engine knows.
    pub language: Option<String>,
    /// Mean natural-log probability a token; nearer 0 is surer.
    pub mean_log_probability: f32,
    /// Why the text was withheld, if it was: not speech, a known phantom phrase, endless repetition.
    pub refused: Option<Refused>,
    /// Time spent waiting in the queue, and computing.
    pub queued: Duration,
    pub computed: Duration,
}

/// Why a transcript is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Empty,
    Unsure,
    Phantom,
    Repetition,
}

/// Speech to text as calls use it: shared, queued, cancellable.
pub trait SpeechToText: Send + Sync {
    /// Engine and model, as `doctor` and the history show it.
    fn name(&self) -> String;
    /// Languages it understands, BCP 47; empty means many, detected.
    fn languages(&self) -> &[&'static str];
    /// Queues the request; [`EngineError::Overloaded`] at once if the queue is full.
    fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription, EngineError>;
    /// How much it has to do; `None` if it has no queue here, as an engine on another server.
    fn queue(&self) -> Option<QueueDepth> {
        None
    }
}

/// A transcription in work; dropping it cancels.
pub struct Transcription {
    answer: oneshot::Receiver<Result<Transcript, EngineError>>,
    cancel: CancelOnDrop,
}

impl Transcription {
    /// The handle, and what the engine's side needs: where to answer, and when to give up.
    pub fn new() -> (Self, oneshot::Sender<Result<Transcript, EngineError>>, Cancelled) {
        let (tx, answer) = oneshot::channel();
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.watch();
        (Self { answer, cancel }, tx, cancelled)
    }

    /// Waits for the transcript.
    pub async fn finished(mut self) -> Result<Transcript, EngineError> {
        let answer = (&mut self.answer).await;
        drop(self.cancel);
        answer.unwrap_or(Err(EngineError::Stopped { engine: "speech to text" }))
    }
}

/// A blocking speech recogniser on one thread, which takes a piece of speech at a time. The pool cuts what is longer, applies
/// the gate, and joins the texts.
pub trait Recognizer: Send {
    fn name(&self) -> String;
    /// How long its pieces are.
    fn cutting(&self) -> Cutting;
    /// Transcribes one piece, looking at `cancelled` once an engine step. The text is raw.
    fn recognize(&mut self, piece: &Piece<'_>, cancelled: &Cancelled) -> Result<Recognized, EngineError>;
}

/// What a recogniser is given at once.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// 16 kHz mono, no longer than [`Recognizer::cutting`] says.
    pub audio: &'a [f32],
    /// BCP 47, or `None` to detect.
    pub language: Option<&'a str>,
    /// What was said just before, in the same utterance; empty at its beginning.
    pub before: &'a str,
}

/// A recogniser's raw answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognized {
    pub text: String,
    pub language: Option<String>,
    /// Mean natural-log probability a token.
    pub mean_log_probability: f32,
    /// How many tokens that is the mean of.
    pub tokens: u32,
    /// Probability that nothing was said, where the model gives one.
    pub no_speech_probability: Option<f32>,
}
