//! Moonshine (useful sensors, MIT), an encoder and decoder whose cost follows the length of the speech: there is no padding to
//! thirty seconds. Through ONNX Runtime, on two files (`encoder_model.ort`, `decoder_model_merged.ort`) and `tokenizer.bin`.
//!
//! The encoder takes 16 kHz samples as they are. The decoder is run one token at a time, greedily, on a cache of keys and
//! values; its `encoder_attention_mask` masks samples, not hidden frames, and the encoder's half of the cache is valid only as
//! the first step gives it. Promises: never more than 6.5 tokens a second of speech, a look at the cancellation before every
//! step. A longer recording than [`LONGEST_PIECE`] is cut where it is quietest, and the cuts stay where they are as it grows.
//!
//! It knows only English. On noise it makes up words ("You", "Thank you for watching."); see the gate.

pub(crate) mod tokens;

use std::path::Path;
use std::time::Duration;

use audio::pcm::SampleRate;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use self::tokens::{END, START, Vocabulary};
use super::pieces::pieces;
use super::{Recognized, Recognizer};
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
/// Attention costs the square of the length: 20 s take 0.35 s, 60 s would take ten times as much.
pub const LONGEST_PIECE: Duration = Duration::from_secs(20);
/// A cut falls no earlier than this in a piece.
const SHORTEST_PIECE: Duration = Duration::from_secs(10);

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

    /// The tokens of at most [`LONGEST_PIECE`] of speech, and each one's log probability.
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

    fn recognize(
        &mut self,
        audio: &[f32],
        _language: Option<&str>,
        cancelled: &Cancelled,
    ) -> Result<Recognized, EngineError> {
        let (mut texts, mut sum, mut count) = (Vec::new(), 0.0, 0);
        for range in pieces(audio, SHORTEST_PIECE, LONGEST_PIECE) {
            let piece = audio.get(range).unwrap_or_default();
            let shortest = RATE.samples_in(SHORTEST);
            let padded: Vec<f32>;
            let piece = if piece.len() < shortest {
                padded = piece.iter().copied().chain(std::iter::repeat(0.0)).take(shortest).collect();
                &padded
            } else {
                piece
            };
            let (tokens, log_probabilities) = self.piece(piece, cancelled)?;
            texts.push(self.vocabulary.text(&tokens));
            sum += log_probabilities.iter().sum::<f32>();
            count += log_probabilities.len();
        }
        texts.retain(|text| !text.is_empty());
        Ok(Recognized {
            text: texts.join(" "),
            language: Some("en".to_owned()),
            mean_log_probability: if count == 0 { 0.0 } else { sum / count as f32 },
            no_speech_probability: None,
        })
    }
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
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::gate::{self, Evidence};
    use super::super::pool::{PoolLimits, RecognizerPool};
    use super::super::recordings::{self, SECOND};
    use super::super::stream::{Ending, PrefixAgreement};
    use super::super::wer::{word_error_rate, words};
    use super::super::{Refused, SpeechToText, TranscribeRequest, Urgency};
    use super::*;
    use crate::cancel::CancelOnDrop;
    use crate::vad::silero::Silero;
    use crate::vad::{VoiceDetector, WINDOW};

    const BECKETT: &str = "ever tried ever failed no matter try again fail again fail better";
    const TWO_CITIES: &str = "it was the best of times it was the worst of times it was the age of wisdom it was the age of \
        foolishness it was the epoch of belief it was the epoch of incredulity it was the season of light it was the season \
        of darkness it was the spring of hope it was the winter of despair we had everything before us we had nothing before \
        us we were all going direct to heaven we were all going direct the other way in short the period was so far like the \
        present period that some of its noisiest authorities insisted on its being received for good or for evil in the \
        superlative degree of comparison only";

    fn moonshine() -> Moonshine {
        let folder = recordings::model("moonshine-tiny-en/tokenizer.bin");
        Moonshine::load(&recordings::runtime(), folder.parent().unwrap(), 1).unwrap()
    }

    fn hear(moonshine: &mut Moonshine, audio: &[f32]) -> Recognized {
        moonshine.recognize(audio, None, &Cancelled::default()).unwrap()
    }

    #[test]
    fn what_a_person_says_is_written_down() {
        let mut moonshine = moonshine();
        let beckett = hear(&mut moonshine, &recordings::speech("beckett"));
        assert!(word_error_rate(BECKETT, &beckett.text) <= 0.1, "{}", beckett.text);
        assert!(beckett.mean_log_probability > -0.5, "{}", beckett.mean_log_probability);
    }

    #[test]
    fn a_recording_longer_than_a_piece_is_heard_to_its_end() {
        let heard = hear(&mut moonshine(), &recordings::speech("two_cities"));
        assert!(word_error_rate(TWO_CITIES, &heard.text) <= 0.1, "{}", heard.text);
    }

    #[test]
    fn nothing_and_a_click_are_not_an_error() {
        let mut moonshine = moonshine();
        assert_eq!(hear(&mut moonshine, &[]).text, "");
        hear(&mut moonshine, &[0.5]);
        hear(&mut moonshine, &recordings::tone(200, 1_000.0));
        let broken = moonshine.recognize(&[f32::NAN; 2_000], None, &Cancelled::default());
        assert!(matches!(broken, Err(EngineError::Failed { .. })), "{broken:?}");
    }

    #[test]
    fn noise_does_not_babble_without_end() {
        let mut moonshine = moonshine();
        for (name, audio) in recordings::not_speech() {
            let (tokens, _) = moonshine.piece(&audio, &Cancelled::default()).unwrap();
            assert!(tokens.len() <= 26, "{name}: {} tokens in four seconds", tokens.len());
        }
    }

    #[test]
    fn a_minute_of_noise_gives_no_turn_and_speech_does() {
        let mut moonshine = moonshine();
        let detector =
            Silero::load(&recordings::runtime(), &recordings::model("silero-vad/silero_vad_16k_op15.onnx")).unwrap();
        let mut refused = |audio: &[f32]| {
            let mut stream = detector.stream();
            let windows = audio.as_chunks().0.iter().filter(|window| stream.push(window).unwrap() > 0.5).count();
            let recognized = hear(&mut moonshine, audio);
            gate::refuse(&Evidence::of(&recognized, Some(RATE.duration_of(windows * WINDOW))))
        };
        for (name, audio) in
            recordings::not_speech().into_iter().chain(recordings::extra("noise").map(|it| ("room", it)))
        {
            for length in [SECOND, 2 * SECOND, 4 * SECOND] {
                assert!(refused(&audio[..length]).is_some(), "{name}, {length} samples");
            }
        }
        assert_eq!(refused(&recordings::speech("beckett")[..2 * SECOND]), None);
        assert_eq!(refused(&recordings::speech("clone-test")), None);
    }

    #[test]
    fn partials_of_growing_speech_are_the_beginning_of_the_final_text() {
        let mut moonshine = moonshine();
        for speech in [recordings::speech("beckett"), recordings::speech("two_cities")[..9 * SECOND].to_vec()] {
            let mut agreement = PrefixAgreement::default();
            let mut published = String::new();
            for end in (SECOND..speech.len()).step_by(SECOND) {
                published.extend(agreement.pass(&hear(&mut moonshine, &speech[..end]).text));
            }
            let text = hear(&mut moonshine, &speech).text;
            assert!(2 * words(&published).len() > words(&text).len(), "too late to be of use: {published:?}");
            let ending = agreement.finish(&text);
            let Ending::Delta(rest) = ending else { unreachable!("{published:?} and then {text:?}") };
            assert_eq!(words(&(published + &rest)), words(&text));
        }
    }

    #[tokio::test]
    async fn a_pool_answers_with_text_and_withholds_what_is_no_speech() {
        let recognizer: Box<dyn Recognizer> = Box::new(moonshine());
        let pool = RecognizerPool::start(vec![recognizer], vec!["en"], PoolLimits::default()).unwrap();
        let ask = |audio: Vec<f32>, seconds: f32| TranscribeRequest {
            audio: audio.into(),
            language: None,
            urgency: Urgency::Final,
            speech: Some(Duration::from_secs_f32(seconds)),
        };
        let spoken = pool.transcribe(ask(recordings::speech("clone-test"), 3.3)).unwrap();
        let silent = pool.transcribe(ask(vec![0.0; 2 * SECOND], 0.0)).unwrap();
        let spoken = spoken.finished().await.unwrap();
        assert_eq!(
            (words(&spoken.text), spoken.refused),
            (words("I do. I think that America could do it very well."), None)
        );
        assert!(spoken.computed > Duration::ZERO);
        let silent = silent.finished().await.unwrap();
        assert_eq!((silent.text.as_str(), silent.refused), ("", Some(Refused::Phantom)));
    }

    #[test]
    fn a_cancelled_request_stops_before_the_next_token() {
        let cancelled = CancelOnDrop::default().watch();
        let answer = moonshine().recognize(&recordings::speech("beckett"), None, &cancelled);
        assert!(matches!(answer, Err(EngineError::Failed { .. })), "{answer:?}");
    }

    #[test]
    fn the_probability_of_a_sure_choice_is_near_one() {
        let (index, log_probability) = most_probable(&[9.0, 0.0, 50.0, 1.0], 3).unwrap();
        assert_eq!(index, 1);
        assert!(log_probability.abs() < 1e-6);
        assert!((most_probable(&[1.0, 1.0], 2).unwrap().1 + 2_f32.ln()).abs() < 1e-6);
        assert_eq!(most_probable(&[f32::NAN], 1), None);
        assert_eq!(most_probable(&[1.0], 2), None);
    }

    #[test]
    fn a_folder_with_a_damaged_file_is_refused_and_named() {
        let runtime = recordings::runtime();
        let whole = recordings::model("moonshine-tiny-en/tokenizer.bin");
        let names = ["tokenizer.bin", "encoder_model.ort", "decoder_model_merged.ort"];
        for damaged in names {
            let folder = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::copy(whole.with_file_name(name), folder.path().join(name)).unwrap();
            }
            let path = folder.path().join(damaged);
            std::fs::remove_file(&path).unwrap();
            let refused = Moonshine::load(&runtime, folder.path(), 1).err().unwrap();
            assert!(matches!(&refused, EngineError::Missing { path: named, .. } if *named == path), "{refused}");
            let bytes = std::fs::read(whole.with_file_name(damaged)).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2 + 1]).unwrap();
            let refused = Moonshine::load(&runtime, folder.path(), 1).err().unwrap();
            assert!(
                matches!(&refused, EngineError::Corrupt { path: named, .. } if named.ends_with(damaged)),
                "{refused}"
            );
        }
    }
}
