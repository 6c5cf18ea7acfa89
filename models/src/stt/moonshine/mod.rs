//! Moonshine (useful sensors, MIT), an encoder and decoder whose cost follows the length of the speech: there is no padding to
//! thirty seconds. Through ONNX Runtime, on two files (`encoder_model.ort`, `decoder_model_merged.ort`) and `tokenizer.bin`.
//!
//! The encoder takes 16 kHz samples as they are. The decoder is run one token at a time, greedily, on a cache of keys and
//! values; its `encoder_attention_mask` masks samples, not hidden frames, and the encoder's half of the cache is valid only as
//! the first step gives it. Promises: never more than 6.5 tokens a second of speech, a look at the cancellation before every
//! step.
//!
//! It knows only English. On noise it makes up words ("You", "Thank you for watching."); see the gate.

pub(crate) mod tokens;

use std::path::Path;
use std::time::Duration;

use audio::pcm::SampleRate;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use self::tokens::{END, START, Vocabulary};
use super::pieces::Cutting;
use super::{Piece, Recognized, Recognizer};
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::onnx::{OnnxRuntime, corrupt, expect_names};

const ENGINE: &str = "moonshine";
const RATE: SampleRate = SampleRate::HZ_16000;

/// English speech has fewer; what comes out faster is repetition.
const TOKENS_PER_SECOND: f32 = 6.5;
/// Room for a short word and the end token.
const FEWEST_TOKENS: usize = 4;
/// What the encoder's convolutions need at least; shorter speech is padded with silence.
const SHORTEST: Duration = Duration::from_millis(100);
/// Attention costs the square of the length, and little is to be left to do when the caller stops; but a short phrase alone is
/// heard less well than in its sentence.
const CUTTING: Cutting = Cutting { shortest: Duration::from_secs(8), longest: Duration::from_secs(16) };

/// The loaded model, named after its folder. One a thread: ONNX Runtime's sessions are not to be run from two threads at once.
pub struct Moonshine {
    name: String,
    encoder: Session,
    decoder: Session,
    vocabulary: Vocabulary,
    /// The decoder's inputs, in its order.
    inputs: Vec<DecoderInput>,
    heads: usize,
    head_size: usize,
}

/// What goes into one of the decoder's inputs.
enum DecoderInput {
    Mask,
    Token,
    Hidden,
    UseCache,
    /// The cache entry, and the output that holds it after a step.
    Past {
        present: String,
        /// The encoder's half comes from the first step alone.
        of_encoder: bool,
    },
}

impl Moonshine {
    /// Loads `encoder_model.ort`, `decoder_model_merged.ort` and `tokenizer.bin` from `folder`; the model runs on
    /// `intra_threads` threads (a second one gains little on utterances).
    pub fn load(runtime: &OnnxRuntime, folder: &Path, intra_threads: usize) -> Result<Self, EngineError> {
        let encoder_path = folder.join("encoder_model.ort");
        let decoder_path = folder.join("decoder_model_merged.ort");
        let tokenizer_path = folder.join("tokenizer.bin");
        let vocabulary = Vocabulary::load(&tokenizer_path)?;
        let encoder = runtime.session(&encoder_path, intra_threads)?;
        expect_names(&encoder, &encoder_path, &["input_values", "attention_mask"], &["last_hidden_state"])?;
        let decoder = runtime.session(&decoder_path, intra_threads)?;
        expect_names(&decoder, &decoder_path, &["input_ids", "past_key_values.0.decoder.key"], &["logits"])?;

        let mut inputs = Vec::with_capacity(decoder.inputs().len());
        for outlet in decoder.inputs() {
            inputs.push(DecoderInput::named(outlet.name()).ok_or_else(|| {
                corrupt(&decoder_path, format!("it is another model: it wants a `{}`", outlet.name()))
            })?);
        }
        for input in &inputs {
            if let DecoderInput::Past { present, .. } = input {
                expect_names(&decoder, &decoder_path, &[], &[present])?;
            }
        }
        let cache = decoder.inputs().iter().find(|outlet| outlet.name() == "past_key_values.0.decoder.key");
        let cache_shape = cache.and_then(|outlet| outlet.dtype().tensor_shape()).map_or(&[][..], |shape| shape);
        let (heads, head_size) = match cache_shape {
            &[_, heads, _, head_size] if heads > 0 && head_size > 0 => (heads as usize, head_size as usize),
            _ => return Err(corrupt(&decoder_path, "its cache has an unknown shape")),
        };
        let name =
            folder.file_name().map_or_else(|| "moonshine".to_owned(), |name| name.to_string_lossy().into_owned());
        let mut moonshine = Self { name, encoder, decoder, vocabulary, inputs, heads, head_size };
        // The first run pays for allocations, and shows that the files belong together.
        let warm_up = vec![0.0; RATE.samples_in(Duration::from_secs(1))];
        moonshine.piece(&warm_up, &Cancelled::default()).map_err(|error| corrupt(&decoder_path, error))?;
        Ok(moonshine)
    }

    /// The tokens of a piece of speech, and each one's log probability.
    fn piece(&mut self, samples: &[f32], cancelled: &Cancelled) -> Result<(Vec<i64>, Vec<f32>), EngineError> {
        let hidden = self.encode(samples).map_err(failed)?;
        let seconds = RATE.duration_of(samples.len()).as_secs_f32();
        let limit = ((seconds * TOKENS_PER_SECOND).ceil() as usize).max(FEWEST_TOKENS);
        let mut cache = self.empty_cache().map_err(failed)?;
        let mask = vec![1_i64; samples.len()];
        let (mut tokens, mut log_probabilities) = (Vec::new(), Vec::new());
        let mut last = START;
        while last != END && tokens.len() < limit {
            if cancelled.is_set() {
                return Err(EngineError::Failed { engine: ENGINE, reason: "the request was cancelled".to_owned() });
            }
            let (token, log_probability) =
                self.step(last, tokens.is_empty(), &mask, &hidden, &mut cache).map_err(failed)?;
            tokens.push(token);
            log_probabilities.push(log_probability);
            last = token;
        }
        Ok((tokens, log_probabilities))
    }

    fn encode(&mut self, samples: &[f32]) -> ort::Result<DynValue> {
        let mask = vec![1_i64; samples.len()];
        let mut outputs = self.encoder.run(ort::inputs! {
            "input_values" => TensorRef::from_array_view(([1, samples.len()], samples))?,
            "attention_mask" => Tensor::from_array(([1, mask.len()], mask))?,
        })?;
        outputs.remove("last_hidden_state").ok_or_else(|| ort::Error::new("the encoder gave no hidden state"))
    }

    /// One entry for each [`DecoderInput::Past`], in order, with no positions in it.
    fn empty_cache(&self) -> ort::Result<Vec<DynValue>> {
        let entries = self.inputs.iter().filter(|input| matches!(input, DecoderInput::Past { .. }));
        let empty = || Tensor::<f32>::new(self.decoder.allocator(), [1, self.heads, 0, self.head_size]);
        entries.map(|_| Ok(empty()?.into_dyn())).collect()
    }

    /// Feeds one token; gives the next with its log probability, and moves the cache on.
    fn step(
        &mut self,
        token: i64,
        first: bool,
        mask: &[i64],
        hidden: &DynValue,
        cache: &mut [DynValue],
    ) -> ort::Result<(i64, f32)> {
        let mut past = cache.iter();
        let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            values.push(match input {
                DecoderInput::Mask => TensorRef::from_array_view(([1, mask.len()], mask))?.into(),
                DecoderInput::Token => Tensor::from_array(([1_usize, 1], vec![token]))?.into(),
                DecoderInput::Hidden => hidden.into(),
                DecoderInput::UseCache => Tensor::from_array(([1_usize], vec![!first]))?.into(),
                DecoderInput::Past { .. } => {
                    past.next().ok_or_else(|| ort::Error::new("the cache is incomplete"))?.into()
                }
            });
        }
        let mut outputs = self.decoder.run(&values[..])?;
        drop(values);
        let logits = outputs.get("logits").ok_or_else(|| ort::Error::new("the decoder gave no logits"))?;
        let answer = most_probable(logits.try_extract_tensor::<f32>()?.1, self.vocabulary.len())
            .ok_or_else(|| ort::Error::new("the decoder gave no finite logits"))?;
        let entries = self.inputs.iter().filter_map(|input| match input {
            DecoderInput::Past { present, of_encoder } => Some((present, *of_encoder)),
            _ => None,
        });
        for (kept, (present, of_encoder)) in cache.iter_mut().zip(entries) {
            if first || !of_encoder {
                *kept = outputs.remove(present).ok_or_else(|| ort::Error::new("the decoder gave no cache"))?;
            }
        }
        Ok(answer)
    }
}

impl DecoderInput {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "encoder_attention_mask" => Self::Mask,
            "input_ids" => Self::Token,
            "encoder_hidden_states" => Self::Hidden,
            "use_cache_branch" => Self::UseCache,
            _ => {
                let entry = name.strip_prefix("past_key_values.")?;
                Self::Past { present: format!("present.{entry}"), of_encoder: entry.contains(".encoder.") }
            }
        })
    }
}

impl Recognizer for Moonshine {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn cutting(&self) -> Cutting {
        CUTTING
    }

    fn recognize(&mut self, piece: &Piece<'_>, cancelled: &Cancelled) -> Result<Recognized, EngineError> {
        let shortest = RATE.samples_in(SHORTEST);
        let padded: Vec<f32>;
        let audio = match piece.audio {
            [] => &[],
            short if short.len() < shortest => {
                padded = short.iter().copied().chain(std::iter::repeat(0.0)).take(shortest).collect();
                &padded[..]
            }
            long => long,
        };
        let (tokens, log_probabilities) =
            if audio.is_empty() { Default::default() } else { self.piece(audio, cancelled)? };
        let count = log_probabilities.len();
        Ok(Recognized {
            text: self.vocabulary.text(&tokens),
            language: Some("en".to_owned()),
            mean_log_probability: if count == 0 { 0.0 } else { log_probabilities.iter().sum::<f32>() / count as f32 },
            tokens: u32::try_from(count).unwrap_or(u32::MAX),
            no_speech_probability: None,
        })
    }
}

/// Whether `bytes` are a `tokenizer.bin`, and what comes of its tokens: for fuzzing.
#[doc(hidden)]
pub fn read_tokenizer(bytes: &[u8], tokens: &[i64]) -> Option<String> {
    Vocabulary::parse(bytes).map(|vocabulary| vocabulary.text(tokens))
}

/// The index of the largest of the last `size` logits, and the natural logarithm of its probability.
fn most_probable(logits: &[f32], size: usize) -> Option<(i64, f32)> {
    let last = logits.len().checked_sub(size).and_then(|from| logits.get(from..))?;
    let (index, largest) = last.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let log_sum = last.iter().map(|logit| (logit - largest).exp()).sum::<f32>().ln();
    log_sum.is_finite().then_some((i64::try_from(index).ok()?, -log_sum))
}

fn failed(error: ort::Error) -> EngineError {
    EngineError::Failed { engine: ENGINE, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
