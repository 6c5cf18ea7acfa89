//! Whisper, from any ggml file, through whisper.cpp (MIT) and its binding `whisper-rs`.
//!
//! One context (the weights) is shared; each recogniser has one state (its caches) for its lifetime, made at load, so the
//! memory is bounded by their number. Promises: a damaged file is refused with its reason before whisper.cpp sees it, since
//! its loader would end the process; a request that was given up stops at the decoder's next step (the encoder can't be
//! stopped). Only the first pass at temperature 0 is made: what it gets wrong is the gate's to refuse, a second pass would
//! double the caller's wait.
//!
//! The encoder looks at no more than the speech is long, plus a margin ([`audio_context`]): the cost follows the length.
//! Quantised to `q8_0` it is fastest on a CPU; flash attention gains nothing there.
//!
//! The tests run on a generated model with random weights, whose text is noise: they prove loading, running, cancelling and
//! refusing, and nothing about words.

mod ffi;
mod footprint;
pub mod ggml;
mod place;
#[cfg(test)]
mod random_model;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use audio::pcm::SampleRate;
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperError, WhisperState};

pub use self::footprint::{Footprint, footprint};
use super::pieces::pieces;
use super::{Recognized, Recognizer};
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::memory::Place;
use crate::onnx::{corrupt, readable};

const ENGINE: &str = "whisper";
const RATE: SampleRate = SampleRate::HZ_16000;

/// Whisper's window is 30 s; longer recordings are cut where they are quietest.
const LONGEST_PIECE: Duration = Duration::from_secs(28);
const SHORTEST_PIECE: Duration = Duration::from_secs(15);
/// Shorter speech is padded with silence; whisper.cpp ignores what is under 0.1 s.
const SHORTEST: Duration = Duration::from_secs(1);
/// Dense Mandarin takes about ten; more is repetition.
const TOKENS_PER_SECOND: f32 = 12.0;
const TOKENS_FREE: f32 = 8.0;

/// One thread's recogniser.
pub struct Whisper {
    name: String,
    state: WhisperState,
    is_multilingual: bool,
    threads: i32,
    /// The binding leaks the name of a language whenever it is set, so parameters are made once a language and copied.
    parameters: HashMap<Option<&'static str>, FullParams<'static, 'static>>,
}

impl Whisper {
    /// Loads the ggml file at `model` once into `place`, and gives `count` recognisers that share it, each to run on `threads`
    /// threads. [`EngineError::OutOfMemory`] where a card has no room for it.
    pub fn load(model: &Path, count: usize, threads: usize, place: Place) -> Result<Vec<Self>, EngineError> {
        let model = readable(model, "the Whisper model")?;
        let file = File::open(&model).map_err(|error| corrupt(&model, error))?;
        let header = ggml::check(BufReader::new(file)).map_err(|reason| corrupt(&model, reason))?;

        whisper_rs::install_logging_hooks();
        // whisper.cpp says no more than that it failed. The file is known to be whole, so on a card it is the memory.
        let refused = |error: WhisperError| match place {
            Place::Cpu => corrupt(&model, format!("whisper.cpp refuses it: {error}")),
            _ => EngineError::OutOfMemory { engine: ENGINE, place: place.to_string(), reason: error.to_string() },
        };
        let context = WhisperContext::new_with_params(&model, place::parameters(place)).map_err(refused)?;
        let stem = model.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let recogniser = || -> Result<Self, EngineError> {
            let mut recogniser = Self {
                name: format!("whisper/{stem}"),
                state: context.create_state().map_err(refused)?,
                is_multilingual: header.is_multilingual(),
                threads: i32::try_from(threads.max(1)).unwrap_or(1),
                parameters: HashMap::new(),
            };
            // The first run pays for allocations. It also finds weights that are no numbers, which would later break
            // whisper.cpp's sorting of languages.
            recogniser.piece(&[0.0; 1], Some("en"), &Cancelled::default())?;
            let logits = recogniser.state.get_logits().map_err(refused)?;
            let is_sound = !logits.is_empty() && logits.iter().all(|logit| logit.is_finite());
            is_sound.then_some(recogniser).ok_or_else(|| corrupt(&model, "its weights are damaged"))
        };
        (0..count).map(|_| recogniser()).collect()
    }

    /// Whether it knows other languages than English.
    pub fn is_multilingual(&self) -> bool {
        self.is_multilingual
    }

    /// The language as whisper.cpp names it, `None` to detect.
    fn language(&self, asked: Option<&str>) -> Result<Option<&'static str>, EngineError> {
        if !self.is_multilingual {
            return Ok(Some("en"));
        }
        let Some(asked) = asked else { return Ok(None) };
        let primary = asked.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        // The binding panics on a zero byte.
        let is_plain = !primary.is_empty() && primary.bytes().all(|byte| byte.is_ascii_lowercase());
        let known = is_plain.then(|| whisper_rs::get_lang_id(&primary)).flatten().and_then(whisper_rs::get_lang_str);
        known
            .map(Some)
            .ok_or_else(|| EngineError::BadRequest(format!("whisper knows no language {asked:?}; use one as \"en\"")))
    }

    /// Transcribes at most [`LONGEST_PIECE`]; the answer is in the state.
    fn piece(
        &mut self,
        samples: &[f32],
        language: Option<&'static str>,
        cancelled: &Cancelled,
    ) -> Result<(), EngineError> {
        let length = samples.len().max(RATE.samples_in(SHORTEST));
        let padded: Vec<f32> = samples
            .iter()
            .map(|sample| if sample.is_finite() { *sample } else { 0.0 })
            .chain(std::iter::repeat(0.0))
            .take(length)
            .collect();
        let threads = self.threads;
        let mut parameters = self.parameters.entry(language).or_insert_with(|| parameters(language, threads)).clone();
        parameters.set_audio_ctx(audio_context(length));
        let seconds = RATE.duration_of(length).as_secs_f32();
        parameters.set_max_tokens((TOKENS_FREE + TOKENS_PER_SECOND * seconds) as i32);
        let done = ffi::full(&mut self.state, parameters, &padded, cancelled);
        if cancelled.is_set() {
            return Err(given_up());
        }
        done.map_err(|error| EngineError::Failed { engine: ENGINE, reason: error.to_string() })
    }
}

impl Recognizer for Whisper {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn recognize(
        &mut self,
        audio: &[f32],
        language: Option<&str>,
        cancelled: &Cancelled,
    ) -> Result<Recognized, EngineError> {
        let mut language = self.language(language)?;
        let (mut text, mut sum, mut count) = (String::new(), 0.0, 0_u32);
        for range in pieces(audio, SHORTEST_PIECE, LONGEST_PIECE) {
            if cancelled.is_set() {
                return Err(given_up());
            }
            self.piece(audio.get(range).unwrap_or_default(), language, cancelled)?;
            for segment in self.state.as_iter() {
                text.push_str(&segment.to_str_lossy().unwrap_or_default());
                for token in (0..segment.n_tokens()).filter_map(|token| segment.get_token(token)) {
                    sum += token.token_data().plog;
                    count += 1;
                }
            }
            // What was detected in the first piece holds for the rest.
            language = language.or_else(|| whisper_rs::get_lang_str(self.state.full_lang_id_from_state()));
        }
        Ok(Recognized {
            text: text.trim().to_owned(),
            language: language.map(str::to_owned),
            mean_log_probability: if count == 0 { 0.0 } else { sum / count as f32 },
            // whisper.cpp has one, but takes it from a row of logits that the step did not write: it is the last utterance's.
            no_speech_probability: None,
        })
    }
}

fn given_up() -> EngineError {
    EngineError::Failed { engine: ENGINE, reason: "the request was cancelled".to_owned() }
}

fn parameters(language: Option<&'static str>, threads: i32) -> FullParams<'static, 'static> {
    let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    parameters.set_language(language);
    parameters.set_n_threads(threads);
    parameters.set_no_context(true);
    parameters.set_no_timestamps(true);
    parameters.set_single_segment(true);
    parameters.set_suppress_nst(true);
    parameters.set_temperature(0.0);
    parameters.set_temperature_inc(0.0);
    // A probability: never reached. See `no_speech_probability` above; it must not withhold text.
    parameters.set_no_speech_thold(2.0);
    parameters.set_print_special(false);
    parameters.set_print_progress(false);
    parameters.set_print_realtime(false);
    parameters.set_print_timestamps(false);
    parameters
}

/// How many encoder frames to look at: those of the speech, 1,500 in thirty seconds, and 128 more. With fewer the decoder
/// tends to loop; the model was trained on windows of thirty seconds.
fn audio_context(samples: usize) -> i32 {
    let window = RATE.samples_in(Duration::from_secs(30));
    let frames = samples.saturating_mul(ggml::AUDIO_CONTEXT as usize).div_ceil(window).saturating_add(128);
    i32::try_from(frames).map_or(ggml::AUDIO_CONTEXT, |frames| frames.min(ggml::AUDIO_CONTEXT))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::recordings::{self, SECOND};
    use super::*;
    use crate::cancel::CancelOnDrop;

    fn load(bytes: &[u8], count: usize) -> Result<Vec<Whisper>, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ggml-random.bin");
        std::fs::write(&path, bytes).unwrap();
        Whisper::load(&path, count, 1, Place::Cpu)
    }

    fn random() -> Whisper {
        load(random_model::bytes(), 1).unwrap().remove(0)
    }

    #[test]
    fn the_same_speech_gives_the_same_text_and_numbers() {
        let mut whisper = random();
        assert_eq!(whisper.name(), "whisper/ggml-random");
        assert!(whisper.is_multilingual());
        let speech = recordings::white_noise(2 * SECOND, 0.1);
        let one = whisper.recognize(&speech, Some("en"), &Cancelled::default()).unwrap();
        let again = whisper.recognize(&speech, Some("en"), &Cancelled::default()).unwrap();
        assert_eq!(one, again);
        assert_eq!(one.language.as_deref(), Some("en"));
        assert!(one.mean_log_probability < 0.0 && one.mean_log_probability.is_finite());
        assert!(one.text.split_whitespace().count() <= 33, "{}", one.text);
    }

    #[test]
    fn one_model_serves_recognisers_on_their_own_threads() {
        let speech = recordings::white_noise(SECOND, 0.1);
        let answers: Vec<_> = load(random_model::bytes(), 2)
            .unwrap()
            .into_iter()
            .map(|mut whisper| {
                let speech = speech.clone();
                std::thread::spawn(move || whisper.recognize(&speech, Some("en"), &Cancelled::default()).unwrap())
            })
            .collect();
        let [one, other] = answers.try_into().map(|pair: [_; 2]| pair.map(|it| it.join().unwrap())).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn nothing_and_broken_samples_are_not_an_error() {
        let mut whisper = random();
        assert_eq!(whisper.recognize(&[], Some("en"), &Cancelled::default()).unwrap().text, "");
        whisper.recognize(&[f32::NAN; 100], Some("en"), &Cancelled::default()).unwrap();
    }

    #[test]
    fn languages_are_taken_as_callers_write_them_and_unknown_ones_refused() {
        let mut whisper = random();
        for (asked, expected) in [("zh-TW", "zh"), ("EN", "en"), ("de_DE", "de")] {
            let heard = whisper.recognize(&[0.1; 1_600], Some(asked), &Cancelled::default()).unwrap();
            assert_eq!(heard.language.as_deref(), Some(expected));
        }
        for asked in ["tlh", "", "e\0n", "-", "English please"] {
            let refused = whisper.recognize(&[0.1; 1_600], Some(asked), &Cancelled::default());
            assert!(matches!(refused, Err(EngineError::BadRequest(_))), "{asked:?}: {refused:?}");
        }
        assert!(whisper.recognize(&[0.1; 1_600], None, &Cancelled::default()).unwrap().language.is_some());
    }

    #[test]
    fn a_request_given_up_before_it_began_does_nothing() {
        let cancelled = CancelOnDrop::default().watch();
        let answer = random().recognize(&[0.1; SECOND], Some("en"), &cancelled);
        assert!(matches!(answer, Err(EngineError::Failed { .. })), "{answer:?}");
    }

    #[test]
    fn a_request_given_up_stops_the_decoder_and_the_next_one_runs() {
        let mut whisper = random();
        let cancelled = CancelOnDrop::default().watch();
        // Past the check before a piece, as when the caller goes while the encoder runs.
        assert!(whisper.piece(&[0.1; SECOND], Some("en"), &cancelled).is_err());
        assert_eq!(whisper.state.full_n_segments(), 0);
        let next = whisper.recognize(&[0.1; SECOND], Some("en"), &Cancelled::default()).unwrap();
        assert!(!next.text.is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused_and_the_server_lives() {
        let whole = random_model::bytes();
        let mut no_numbers = whole.to_vec();
        let name = b"decoder.token_embedding.weight";
        let weights = whole.windows(name.len()).position(|bytes| bytes == name).unwrap() + name.len();
        no_numbers[weights..weights + 1_000].as_chunks_mut().0.fill(0x7e00_u16.to_le_bytes());
        let mut other_name = whole.to_vec();
        other_name[random_model::tensors_at() + 20] ^= 1;
        for (what, bytes) in [
            ("empty", &[][..]),
            ("text", b"<html>not found</html>"),
            ("half", &whole[..whole.len() / 2]),
            ("a name no tensor has", &other_name),
            ("weights that are no numbers", &no_numbers),
        ] {
            let refused = load(bytes, 1).err();
            assert!(matches!(&refused, Some(EngineError::Corrupt { .. })), "{what}: {refused:?}");
        }
        assert!(load(&no_numbers, 1).err().unwrap().to_string().contains("its weights are damaged"));
        let missing = Whisper::load(Path::new("/nowhere/ggml.bin"), 1, 1, Place::Cpu).err();
        assert!(matches!(missing, Some(EngineError::Missing { .. })), "{missing:?}");
    }

    #[test]
    fn the_encoder_looks_at_the_speech_and_a_margin() {
        assert_eq!(audio_context(3 * SECOND), 278);
        assert_eq!(audio_context(27 * SECOND), 1_478);
        assert_eq!(audio_context(30 * SECOND), 1_500);
        assert_eq!(audio_context(usize::MAX), 1_500);
    }
}
