//! One request being spoken: its pieces, its two states, and its way out to the caller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::LANGUAGE;
use super::codec::DecoderState;
use super::model::{Model, Noise, Thinking};
use super::script;
use super::tokens::Tokens;
use super::voice::VoiceState;
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::text::spoken_form;
use crate::tts::CHUNKS_BOUND;
use crate::tts::trim::EdgeTrim;

/// A fresh codec begins with a small step, heard as a click: this much is faded in.
const FADE: Duration = Duration::from_millis(5);

/// A listener who has this much audio in hand is given several frames at once, which costs the codec less than one by one.
const IN_HAND: Duration = Duration::from_millis(600);
const FRAMES_TOGETHER: usize = 4;

/// A caller who has this many chunks unread, up to twenty seconds, gets no more until some are read: who interrupts wastes no more than
/// that, and what waits is bounded.
const UNREAD_MAX: usize = 64;

/// A request that waits for its turn.
pub(super) struct Job {
    pub text: String,
    /// The voice's id, and the voice if it was in memory when it was asked for.
    pub voice: String,
    pub loaded: Option<Arc<VoiceState>>,
    pub deadline: Instant,
    pub queued: Instant,
    pub chunks: mpsc::Sender<Result<Pcm, EngineError>>,
    pub cancelled: Cancelled,
}

/// A request under way.
pub(super) struct Speaking {
    job: Job,
    voice: Arc<VoiceState>,
    rate: SampleRate,
    /// What is still to be begun.
    pieces: VecDeque<String>,
    thinking: Thinking,
    audio: DecoderState,
    /// Latents that are not audio yet. At most [`FRAMES_TOGETHER`].
    held: Vec<Vec<f32>>,
    begun: bool,
    trim: EdgeTrim,
    /// Audio the caller has been given.
    pub spoken: Duration,
    pub began: Instant,
    pub first_chunk: Option<Duration>,
}

/// Where a speech stands after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    Over,
}

impl Speaking {
    /// Begins a request in `voice`.
    pub fn begin(
        job: Job,
        voice: Arc<VoiceState>,
        model: &Model,
        tokens: &Tokens,
        rate: SampleRate,
    ) -> Result<Self, EngineError> {
        let spoken = spoken_form(&job.text, LANGUAGE);
        let mut pieces = VecDeque::from(script::pieces(&spoken, tokens, &model.config)?);
        let Some(thinking) = next_piece(&mut pieces, &voice, model, tokens)? else {
            return Err(EngineError::BadRequest("the text has nothing that can be spoken; leave it out".into()));
        };
        Ok(Self {
            job,
            voice,
            rate,
            pieces,
            thinking,
            audio: model.start_audio(),
            held: Vec::new(),
            begun: false,
            trim: EdgeTrim::new(),
            spoken: Duration::ZERO,
            began: Instant::now(),
            first_chunk: None,
        })
    }

    pub fn job(&self) -> &Job {
        &self.job
    }

    /// When the listener runs out of audio.
    pub fn dry(&self) -> Instant {
        self.job.deadline + self.spoken
    }

    pub fn is_gone(&self) -> bool {
        self.job.cancelled.is_set() || self.job.chunks.is_closed()
    }

    /// Whether the caller listens fast enough to be given more.
    pub fn has_room(&self) -> bool {
        self.job.chunks.capacity() > CHUNKS_BOUND - UNREAD_MAX
    }

    pub fn thinking(&mut self) -> &mut Thinking {
        &mut self.thinking
    }

    /// Takes the latent of a step, `None` at the end of a piece, and sends its audio on: at once if the listener needs it at `now`.
    pub fn take(
        &mut self,
        latent: Option<Vec<f32>>,
        now: Instant,
        model: &Model,
        tokens: &Tokens,
    ) -> Result<Progress, EngineError> {
        let Some(latent) = latent else {
            self.sound(model)?;
            return self.next(model, tokens);
        };
        self.held.push(latent);
        if self.held.len() >= FRAMES_TOGETHER || self.dry() < now + IN_HAND {
            self.sound(model)?;
        }
        Ok(Progress::Going)
    }

    /// Makes audio of what is held, and sends it.
    fn sound(&mut self, model: &Model) -> Result<(), EngineError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let mut samples = model.sound(&held, &mut self.audio).map_err(failed)?;
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(failed("it made samples that are not numbers"));
        }
        if !self.begun {
            self.begun = true;
            let fade = self.rate.samples_in(FADE);
            for (at, sample) in samples.iter_mut().take(fade).enumerate() {
                *sample *= at as f32 / fade as f32;
            }
        }
        samples.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        let audible = self.trim.push(&Pcm::new(self.rate, samples));
        self.send(audible)
    }

    /// A piece has ended: the next one begins, or the speech is over.
    fn next(&mut self, model: &Model, tokens: &Tokens) -> Result<Progress, EngineError> {
        if self.thinking.ran_on() {
            tracing::warn!(engine = super::ENGINE, "a piece of text was spoken to its longest length without an end");
        }
        if let Some(next) = next_piece(&mut self.pieces, &self.voice, model, tokens)? {
            (self.thinking, self.audio, self.begun) = (next, model.start_audio(), false);
            return Ok(Progress::Going);
        }
        let rest = self.trim.finish();
        self.send(rest)?;
        Ok(Progress::Over)
    }

    fn send(&mut self, samples: Vec<f32>) -> Result<(), EngineError> {
        if samples.is_empty() {
            return Ok(());
        }
        let pcm = Pcm::new(self.rate, samples);
        self.first_chunk.get_or_insert_with(|| self.began.elapsed());
        self.spoken += pcm.duration();
        match self.job.chunks.try_send(Ok(pcm)) {
            // Who has gone is dropped before the next step.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(failed("the caller's channel was full")),
        }
    }

    /// Ends the speech with an error, which the caller's log explains.
    pub fn fail(self, error: EngineError) {
        let _ = self.job.chunks.try_send(Err(error));
    }
}

fn next_piece(
    pieces: &mut VecDeque<String>,
    voice: &VoiceState,
    model: &Model,
    tokens: &Tokens,
) -> Result<Option<Thinking>, EngineError> {
    while let Some(piece) = pieces.pop_front() {
        let Some(piece) = script::finish(&piece, &model.config) else { continue };
        let ids = tokens.encode(&piece.text)?;
        if !ids.is_empty() {
            return model.start(voice, ids, piece.frames_after_end, noise()).map(Some).map_err(failed);
        }
    }
    Ok(None)
}

/// Standard normal noise (Box–Muller).
fn noise() -> Noise {
    let mut random = StdRng::from_os_rng();
    Box::new(move |values| {
        for pair in values.chunks_mut(2) {
            let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
            let (sin, cos) = (std::f32::consts::TAU * random.random::<f32>()).sin_cos();
            for (value, wave) in pair.iter_mut().zip([cos, sin]) {
                *value = radius * wave;
            }
        }
    })
}

pub(super) fn failed(reason: impl ToString) -> EngineError {
    EngineError::Failed { engine: super::ENGINE, reason: reason.to_string() }
}
