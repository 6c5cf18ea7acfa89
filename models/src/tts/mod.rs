//! Text to speech: a sentence in, PCM out while it is being made.
//!
//! An engine is blocking and simple ([`Synthesizer`]); a thread (or pool) with one bounded queue makes it the shared,
//! cancellable [`TextToSpeech`]. In the queue the most urgent deadline goes first.

mod english;
pub mod festival;
pub mod flite;
pub mod pocket;
pub mod service;
pub(crate) mod trim;
pub mod voices;

use std::ops::ControlFlow;
use std::time::Instant;

use audio::pcm::{Pcm, SampleRate};
use tokio::sync::mpsc;

use crate::cancel::{CancelOnDrop, Cancelled};
use crate::error::EngineError;
use crate::queue::QueueDepth;

/// How many chunks may wait for the call. When full the engine waits: a chunk is at least 20 ms.
pub const CHUNKS_BOUND: usize = 512;

/// One sentence to say.
#[derive(Debug, Clone)]
pub struct SpeakRequest {
    /// Speakable text: no markup, no emoji. Numbers, dates and signs may stay as they are written.
    pub text: String,
    /// One of [`TextToSpeech::voices`], or empty for the default.
    pub voice: String,
    /// When the listener runs out of audio; the earliest goes first.
    pub deadline: Instant,
}

/// A voice that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// `engine/name`, as `flite/slt`.
    pub id: String,
    pub name: String,
    /// BCP 47.
    pub language: &'static str,
    pub rate: SampleRate,
}

/// Text to speech as calls use it: shared, queued, cancellable.
pub trait TextToSpeech: Send + Sync {
    fn name(&self) -> String;
    /// Those that are always there; more may be added while it runs ([`VoiceCloner`]).
    fn voices(&self) -> &[Voice];
    /// Whether a voice of this id can be asked for, added ones included.
    fn has_voice(&self, id: &str) -> bool {
        self.voices().iter().any(|voice| voice.id == id)
    }
    /// The id of the voice that was added and is meant by `wanted`: its id, or its name without the engine.
    fn added_voice(&self, wanted: &str) -> Option<String> {
        let _ = wanted;
        None
    }
    /// Queues the request; [`EngineError::Overloaded`] at once if the queue is full.
    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError>;
    /// How much it has to do; `None` if it has no queue here, as an engine on another server.
    fn queue(&self) -> Option<QueueDepth> {
        None
    }
}

/// Makes voices of recordings.
pub trait VoiceCloner: Send + Sync {
    /// What its voices' ids begin with.
    fn engine(&self) -> &'static str;
    /// Tells its weights from others: a voice that was computed with others has to be computed again.
    fn fingerprint(&self) -> &str;
    /// Whether it can compute voices at all, or what it lacks.
    fn can_clone(&self) -> Result<(), EngineError>;
    /// Computes the voice of at least three seconds of speech; what is after thirty is left out. Takes seconds of a whole machine: not for
    /// a tokio worker. [`EngineError::BadRequest`] says what is wrong with a recording.
    fn condition(&self, audio: &Pcm) -> Result<ClonedVoice, EngineError>;
    /// Makes a computed voice available as `engine/name` until it is removed, replacing one of that name.
    /// [`EngineError::BadRequest`] if it was computed by another engine or other weights, or too many are there.
    fn add_voice(&self, name: &str, voice: &ClonedVoice) -> Result<Voice, EngineError>;
    /// Whether there was such an added voice. Speech that has begun goes on.
    fn remove_voice(&self, id: &str) -> bool;
}

/// A computed voice: bytes to be kept in a file, checked whenever they are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClonedVoice {
    /// The engine that made it, and the only one that can use it.
    pub engine: &'static str,
    pub bytes: Vec<u8>,
}

/// A sentence being spoken; dropping it cancels.
pub struct Speech {
    chunks: mpsc::Receiver<Result<Pcm, EngineError>>,
    #[expect(dead_code, reason = "held for its drop")]
    cancel: CancelOnDrop,
}

impl Speech {
    /// The handle, and what the engine's side needs.
    pub fn new() -> (Self, mpsc::Sender<Result<Pcm, EngineError>>, Cancelled) {
        let (tx, chunks) = mpsc::channel(CHUNKS_BOUND);
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.watch();
        (Self { chunks, cancel }, tx, cancelled)
    }

    /// The next chunk, leading silence already trimmed; `None` at the end, or after an error.
    pub async fn next(&mut self) -> Option<Result<Pcm, EngineError>> {
        self.chunks.recv().await
    }

    /// All of it in one piece, for who need not hear it while it is made; `None` if it has no sound.
    pub async fn whole(mut self) -> Result<Option<Pcm>, EngineError> {
        let mut whole: Option<Pcm> = None;
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            match &mut whole {
                Some(whole) => whole.samples.extend(chunk.samples),
                None => whole = Some(chunk),
            }
        }
        Ok(whole)
    }
}

/// Refuses a text of more than `most` characters, and one without anything to say: what every voice asks before it queues.
pub(crate) fn check_text(text: &str, most: usize) -> Result<(), EngineError> {
    let length = text.chars().count();
    if length > most {
        return Err(EngineError::BadRequest(format!(
            "the text has {length} characters and at most {most} are said at once; send it in parts"
        )));
    }
    if !text.chars().any(char::is_alphanumeric) {
        return Err(EngineError::BadRequest("the text has nothing that can be spoken; leave it out".into()));
    }
    Ok(())
}

/// A blocking synthesiser on one thread.
pub trait Synthesizer: Send {
    fn name(&self) -> String;
    fn voices(&self) -> Vec<Voice>;
    /// Says `text`, which is words by now ([`crate::text::spoken_form`]), giving chunks to `sink` as they are made; stops within
    /// one chunk of `ControlFlow::Break`. The service
    /// trims leading silence.
    fn synthesize(
        &mut self,
        text: &str,
        voice: &str,
        sink: &mut dyn FnMut(Pcm) -> ControlFlow<()>,
    ) -> Result<(), EngineError>;
}
