//! Whisper, from any ggml file, through whisper.cpp (MIT) and its binding `whisper-rs`.
//!
//! One context (the weights) is shared; each recogniser has one state (its caches) for its lifetime, made at load, so the
//! memory is bounded by their number. Promises: a damaged file is refused with its reason before whisper.cpp sees it, since
//! its loader would end the process; a request that was given up stops at the decoder's next step, or inside the encoder at
//! the next node of its graph (on a CPU; see `ffi`). Only the first pass at temperature 0 is made: what it gets wrong is the
//! gate's to refuse, a second pass would double the caller's wait.
//!
//! The encoder looks at no more than the speech is long, plus a margin ([`audio_context`]): the cost follows the length.
//! Quantised to `q8_0` it is fastest on a CPU; flash attention gains nothing there.
//!
//! What was said before the piece, and the names and jargon that the configuration gives, are its prompt.
//!
//! The tests run on a generated model with random weights, whose text is noise: they prove loading, running, cancelling,
//! refusing, and the same numbers as openai-whisper, and nothing about words.

mod decoder;
mod ffi;
mod footprint;
pub mod ggml;
mod place;
#[cfg(test)]
mod random_model;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::SampleRate;
use whisper_rs::{WhisperContext, WhisperError, WhisperState};

use self::decoder::{DecodeError, Decoded, Pass, Tokens, Wanted};
use self::ffi::Backends;
pub use self::footprint::{Footprint, footprint};
use super::pieces::Cutting;
use super::{Piece, Recognized, Recognizer};
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::memory::Place;
use crate::onnx::{corrupt, readable};

const ENGINE: &str = "whisper";
const RATE: SampleRate = SampleRate::HZ_16000;

/// Whisper's window is 30 s. Cut at pauses much earlier, so that little is left to do when the caller stops.
const CUTTING: Cutting = Cutting { shortest: Duration::from_secs(6), longest: Duration::from_secs(20) };
/// Shorter speech is padded with silence; whisper.cpp ignores what is under 0.1 s.
const SHORTEST: Duration = Duration::from_secs(1);
/// Dense Mandarin takes about ten; more is repetition.
const TOKENS_PER_SECOND: f32 = 12.0;
const TOKENS_FREE: f32 = 8.0;
/// Of a longer text only the end can be in the prompt, which has room for about this much.
const PROMPT_CHARACTERS: usize = 1_000;

/// How a model is opened.
#[derive(Debug, Clone, Default)]
pub struct WhisperOptions {
    /// Recognisers that share the weights, each with its own caches: one at least.
    pub recognizers: usize,
    /// Threads of each pass: one at least.
    pub threads: usize,
    /// Names and jargon that callers use, as they are written. Of more than 223 tokens the last are heeded.
    pub prompt: String,
    /// Where weights and states lie.
    pub place: Place,
}

/// One thread's recogniser.
pub struct Whisper {
    name: String,
    state: WhisperState,
    /// Of `state`.
    backends: Backends,
    shared: Arc<Shared>,
}

/// What the recognisers of one model share.
struct Shared {
    context: WhisperContext,
    tokens: Tokens,
    is_multilingual: bool,
    threads: usize,
    /// The configured prompt.
    prompt: Vec<i32>,
}

impl Whisper {
    /// Loads the ggml file at `model` once, and gives the recognisers that share it. [`EngineError::OutOfMemory`] where a card
    /// has no room for it.
    pub fn load(model: &Path, options: &WhisperOptions) -> Result<Vec<Self>, EngineError> {
        let model = readable(model, "the Whisper model")?;
        let file = File::open(&model).map_err(|error| corrupt(&model, error))?;
        let header = ggml::check(BufReader::new(file)).map_err(|reason| corrupt(&model, reason))?;

        whisper_rs::install_logging_hooks();
        // whisper.cpp says no more than that it failed. The file is known to be whole, so on a card it is the memory.
        let refused = |error: WhisperError| match options.place {
            Place::Cpu => corrupt(&model, format!("whisper.cpp refuses it: {error}")),
            place => EngineError::OutOfMemory { engine: ENGINE, place: place.to_string(), reason: error.to_string() },
        };
        let context = WhisperContext::new_with_params(&model, place::parameters(options.place)).map_err(refused)?;
        let stem = model.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut shared = Shared {
            tokens: Tokens::of(&context, &header),
            context,
            is_multilingual: header.is_multilingual(),
            threads: options.threads.max(1),
            prompt: Vec::new(),
        };
        shared.prompt = shared.tokenize(&options.prompt);
        let shared = Arc::new(shared);
        let recognizer = || -> Result<Self, EngineError> {
            let (state, backends) = ffi::watch_backends(|| shared.context.create_state()).map_err(refused)?;
            let name = format!("whisper/{stem}");
            let mut recognizer = Self { name, state, backends, shared: Arc::clone(&shared) };
            // The first run pays for allocations. It also finds weights that are no numbers.
            let mut is_sound = true;
            let silence = Piece { audio: &[0.0; 1], language: Some("en"), before: "" };
            let decoded = recognizer.piece(&silence, Some(0), &Cancelled::default(), |logits| {
                is_sound &= logits.iter().all(|logit| logit.is_finite());
            });
            match decoded {
                Ok(_) if is_sound => Ok(recognizer),
                Ok(_) | Err(DecodeError::NotFinite) => Err(corrupt(&model, "its weights are damaged")),
                Err(error) => Err(corrupt(&model, error)),
            }
        };
        let recognizers: Vec<Self> = (0..options.recognizers.max(1)).map(|_| recognizer()).collect::<Result<_, _>>()?;
        if recognizers.iter().any(|recognizer| !recognizer.backends.can_stop()) {
            tracing::warn!("whisper.cpp's encoder cannot be stopped; a request given up ends with its current pass");
        }
        Ok(recognizers)
    }

    /// Whether it knows other languages than English.
    pub fn is_multilingual(&self) -> bool {
        self.shared.is_multilingual
    }

    /// whisper.cpp's number of the language, `None` to detect.
    fn language(&self, asked: Option<&str>) -> Result<Option<i32>, EngineError> {
        let Some(asked) = asked.filter(|_| self.shared.is_multilingual) else { return Ok(None) };
        let primary = asked.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        // The binding panics on a zero byte, and whisper.cpp takes names of languages, too.
        let is_plain = matches!(primary.len(), 2..=3) && primary.bytes().all(|byte| byte.is_ascii_lowercase());
        let known = is_plain.then(|| whisper_rs::get_lang_id(&primary)).flatten();
        known
            .filter(|language| self.shared.tokens.knows(*language))
            .map(Some)
            .ok_or_else(|| EngineError::BadRequest(format!("whisper knows no language {asked:?}; use one as \"en\"")))
    }

    /// For measuring: encodes `audio`, looking at `frames` of it, and decodes exactly `tokens`, whatever they are. Gives how long
    /// either took.
    #[doc(hidden)]
    pub fn measure(
        &mut self,
        audio: &[f32],
        frames: i32,
        tokens: usize,
        cancelled: &Cancelled,
    ) -> Result<(Duration, Duration), EngineError> {
        let failed = |error: DecodeError| EngineError::Failed { engine: ENGINE, reason: error.to_string() };
        let Self { state, backends, shared, .. } = self;
        let mut pass = Pass { state, backends, tokens: &shared.tokens, threads: shared.threads, cancelled };
        let started = Instant::now();
        pass.encode(audio, frames).map_err(failed)?;
        let encoded = started.elapsed();
        let wanted = Wanted { language: Some(0), prompt: &[], most_tokens: tokens };
        pass.decode(&wanted, |_| {}).map_err(failed)?;
        Ok((encoded, started.elapsed() - encoded))
    }

    /// Transcribes one piece; `see` as for [`Pass::decode`].
    fn piece(
        &mut self,
        piece: &Piece<'_>,
        language: Option<i32>,
        cancelled: &Cancelled,
        see: impl FnMut(&[f32]),
    ) -> Result<Decoded, DecodeError> {
        let length = piece.audio.len().max(RATE.samples_in(SHORTEST));
        let samples = piece.audio.iter().map(|sample| if sample.is_finite() { *sample } else { 0.0 });
        let padded: Vec<f32> = samples.chain(std::iter::repeat(0.0)).take(length).collect();
        let seconds = RATE.duration_of(length).as_secs_f32();
        let prompt = self.shared.prompt(piece.before);
        let wanted =
            Wanted { language, prompt: &prompt, most_tokens: (TOKENS_FREE + TOKENS_PER_SECOND * seconds) as usize };
        let Self { state, backends, shared, .. } = self;
        let mut pass = Pass { state, backends, tokens: &shared.tokens, threads: shared.threads, cancelled };
        pass.encode(&padded, audio_context(length))?;
        pass.decode(&wanted, see)
    }
}

impl Shared {
    /// The configured prompt and what was said before, as much of both as there is room for.
    fn prompt(&self, before: &str) -> Vec<i32> {
        let before = self.tokenize(before);
        let room = self.tokens.longest_prompt();
        // What was said before is of less use than the names: it gets what they leave.
        let names = self.prompt.get(self.prompt.len().saturating_sub(room)..).unwrap_or_default();
        let skipped = before.len().saturating_sub(room - names.len());
        names.iter().chain(before.iter().skip(skipped)).copied().collect()
    }

    /// The tokens of the end of `text`, with the space before it that words in a text have.
    fn tokenize(&self, text: &str) -> Vec<i32> {
        let text = text.trim().replace('\0', "");
        let skipped = text.chars().count().saturating_sub(PROMPT_CHARACTERS);
        let end: String = text.chars().skip(skipped).collect();
        if end.is_empty() {
            return Vec::new();
        }
        let end = format!(" {end}");
        // A token is a byte at least. With less room than is needed the binding would read past its buffer.
        self.context.tokenize(&end, end.len() + 1).unwrap_or_default()
    }

    fn text(&self, tokens: &[i32]) -> String {
        let bytes = tokens.iter().filter_map(|token| self.context.token_to_bytes(*token).ok());
        let bytes: Vec<u8> = bytes.flatten().copied().collect();
        // A character cut off at the end of the limit is none.
        String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').trim().to_owned()
    }
}

impl Recognizer for Whisper {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn cutting(&self) -> Cutting {
        CUTTING
    }

    fn recognize(&mut self, piece: &Piece<'_>, cancelled: &Cancelled) -> Result<Recognized, EngineError> {
        let language = self.language(piece.language)?;
        let failed = |error: DecodeError| EngineError::Failed { engine: ENGINE, reason: error.to_string() };
        let decoded = self.piece(piece, language, cancelled, |_| {}).map_err(failed)?;
        let language =
            decoded.language.and_then(whisper_rs::get_lang_str).or((!self.is_multilingual()).then_some("en"));
        Ok(Recognized {
            text: self.shared.text(&decoded.tokens),
            language: language.map(str::to_owned),
            mean_log_probability: decoded.mean_log_probability,
            tokens: decoded.steps,
            no_speech_probability: Some(decoded.no_speech_probability),
        })
    }
}

/// How many encoder frames to look at: those of the speech, 1,500 in thirty seconds, and 128 more. With fewer the decoder
/// tends to loop; the model was trained on windows of thirty seconds.
fn audio_context(samples: usize) -> i32 {
    let window = RATE.samples_in(Duration::from_secs(30));
    let frames = samples.saturating_mul(ggml::AUDIO_CONTEXT as usize).div_ceil(window).saturating_add(128);
    i32::try_from(frames).map_or(ggml::AUDIO_CONTEXT, |frames| frames.min(ggml::AUDIO_CONTEXT))
}

#[cfg(test)]
mod tests;
