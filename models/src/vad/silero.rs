//! Silero voice activity detection, version 6, at 16 kHz, through ONNX Runtime.
//!
//! The model takes a window of 512 samples with the 64 samples before it, and a recurrent state of 2 × 128 numbers, and gives
//! the probability of speech and the next state (snakers4/silero-vad, MIT). The session is one for all calls behind a mutex:
//! a window takes about 0.1 ms and comes every 32 ms, so a hundred calls would not wait for each other, while a session a
//! call would cost its loading at every hello. What belongs to a call is the context and the state.
//!
//! Long stretches of music or noise drag the state to where the speech that follows is under-reported: after a minute of
//! white noise the first second of a sentence went unheard. So two seconds after the last time, once 160 ms in a row are
//! clearly no speech, the state starts afresh, and the same sentence is heard from its first syllable.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::Session;
use ort::value::{Tensor, TensorRef};

use super::{VoiceDetector, VoiceStream, WINDOW};
use crate::error::EngineError;
use crate::onnx::{OnnxRuntime, expect_names};

const ENGINE: &str = "voice activity detection";
const CONTEXT: usize = 64;
const STATE: usize = 2 * 128;
const SAMPLE_RATE: i64 = 16_000;

/// 2 s of windows between fresh starts.
const WINDOWS_BETWEEN_FRESH_STARTS: usize = 2 * SAMPLE_RATE as usize / WINDOW;
/// 160 ms of windows, each under [`CLEARLY_QUIET`], so that a dip inside a word never counts.
const QUIET_WINDOWS: usize = 5;
const CLEARLY_QUIET: f32 = 0.1;

/// The loaded model.
pub struct Silero {
    session: Arc<Mutex<Session>>,
}

impl Silero {
    /// Loads `silero_vad_16k_op15.onnx` (or `silero_vad.onnx`, which answers the same and is larger).
    pub fn load(runtime: &OnnxRuntime, model: &Path) -> Result<Self, EngineError> {
        let session = runtime.session(model, 1)?;
        expect_names(&session, model, &["input", "state", "sr"], &["output", "stateN"])?;
        let detector = Self { session: Arc::new(Mutex::new(session)) };
        // The first window pays for the runtime's allocations; better now than in a call. It also shows that the model runs.
        detector.stream().push(&[0.0; WINDOW])?;
        Ok(detector)
    }
}

impl VoiceDetector for Silero {
    fn name(&self) -> &'static str {
        "silero-v6"
    }

    fn stream(&self) -> Box<dyn VoiceStream> {
        Box::new(SileroStream {
            session: Arc::clone(&self.session),
            input: [0.0; CONTEXT + WINDOW],
            state: [0.0; STATE],
            since_fresh: 0,
            quiet: 0,
        })
    }
}

struct SileroStream {
    session: Arc<Mutex<Session>>,
    /// The last samples of the window before, then this window.
    input: [f32; CONTEXT + WINDOW],
    state: [f32; STATE],
    since_fresh: usize,
    quiet: usize,
}

impl VoiceStream for SileroStream {
    fn push(&mut self, window: &[f32; WINDOW]) -> Result<f32, EngineError> {
        // A single NaN would stay in the recurrent state for the rest of the call.
        for (kept, sample) in self.input.iter_mut().skip(CONTEXT).zip(window) {
            *kept = if sample.is_finite() { *sample } else { 0.0 };
        }
        let probability = self.run().map_err(failed)?;
        self.input.copy_within(WINDOW.., 0);
        self.since_fresh += 1;
        self.quiet = if probability < CLEARLY_QUIET { self.quiet + 1 } else { 0 };
        if self.since_fresh >= WINDOWS_BETWEEN_FRESH_STARTS && self.quiet >= QUIET_WINDOWS {
            self.reset();
        }
        Ok(probability)
    }

    fn reset(&mut self) {
        self.input.fill(0.0);
        self.state.fill(0.0);
        self.since_fresh = 0;
        self.quiet = 0;
    }
}

impl SileroStream {
    fn run(&mut self) -> ort::Result<f32> {
        let input = TensorRef::from_array_view(([1, CONTEXT + WINDOW], &self.input[..]))?;
        let state = TensorRef::from_array_view(([2, 1, STATE / 2], &self.state[..]))?;
        let rate = Tensor::from_array(([0_usize; 0], vec![SAMPLE_RATE]))?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs! { "input" => input, "state" => state, "sr" => rate })?;
        let (_, probability) = outputs["output"].try_extract_tensor::<f32>()?;
        let (_, state) = outputs["stateN"].try_extract_tensor::<f32>()?;
        let answer = probability.first().copied();
        let (Some(answer), STATE) = (answer, state.len()) else {
            return Err(ort::Error::new("the model answered in another shape"));
        };
        self.state.copy_from_slice(state);
        Ok(answer)
    }
}

fn failed(error: ort::Error) -> EngineError {
    EngineError::Failed { engine: ENGINE, reason: error.to_string() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::stt::recordings::{self, SECOND};

    fn silero() -> Silero {
        Silero::load(&recordings::runtime(), &recordings::model("silero-vad/silero_vad_16k_op15.onnx")).unwrap()
    }

    fn probabilities(stream: &mut dyn VoiceStream, audio: &[f32]) -> Vec<f32> {
        audio.as_chunks().0.iter().map(|window| stream.push(window).unwrap()).collect()
    }

    fn share_over_half(probabilities: &[f32]) -> f32 {
        probabilities.iter().filter(|p| **p > 0.5).count() as f32 / probabilities.len() as f32
    }

    /// Of the windows within 20 dB of the loudest, the share that is heard as speech. Measured: beckett 0.89, two_cities 0.95.
    fn share_of_loud_windows_heard(stream: &mut dyn VoiceStream, audio: &[f32]) -> f32 {
        let windows = audio.as_chunks::<WINDOW>().0;
        let loudness = |window: &[f32; WINDOW]| window.iter().map(|sample| sample * sample).sum::<f32>();
        let loudest = windows.iter().map(loudness).fold(0.0, f32::max);
        let heard: Vec<f32> = windows
            .iter()
            .map(|window| (loudness(window), stream.push(window).unwrap()))
            .filter_map(|(loudness, probability)| (loudness > loudest / 100.0).then_some(probability))
            .collect();
        share_over_half(&heard)
    }

    #[test]
    fn speech_is_heard_as_speech() {
        let silero = silero();
        for name in ["beckett", "two_cities"] {
            let share = share_of_loud_windows_heard(silero.stream().as_mut(), &recordings::speech(name)[..9 * SECOND]);
            assert!(share > 0.85, "{name}: only {share} of the windows with a voice");
        }
    }

    #[test]
    fn noise_tones_and_silence_are_not_heard_as_speech() {
        let silero = silero();
        for (name, audio) in recordings::not_speech() {
            let share = share_over_half(&probabilities(silero.stream().as_mut(), &audio));
            assert!(share < 0.02, "{name}: {share} of the windows");
        }
    }

    /// Without fresh starts the first words after loud noise are lost for 0.3 to 1.1 s.
    #[test]
    fn speech_after_half_a_minute_of_noise_is_heard_at_once() {
        let silero = silero();
        let speech = &recordings::speech("beckett")[..2 * SECOND];
        let onset = |probabilities: Vec<f32>| probabilities.iter().position(|p| *p > 0.5).unwrap();
        let alone = onset(probabilities(silero.stream().as_mut(), speech));
        for (name, noise) in recordings::not_speech() {
            let mut stream = silero.stream();
            let before: Vec<f32> = noise.iter().copied().cycle().take(30 * SECOND / WINDOW * WINDOW).collect();
            probabilities(stream.as_mut(), &before);
            let after = onset(probabilities(stream.as_mut(), speech));
            assert!(after <= alone + 3, "after {name} speech is heard at window {after}, alone at {alone}");
        }
    }

    #[test]
    fn one_caller_does_not_disturb_another() {
        let silero = silero();
        let speech = recordings::speech("beckett");
        let alone = probabilities(silero.stream().as_mut(), &speech);
        let (mut one, mut other) = (silero.stream(), silero.stream());
        let noise = recordings::white_noise(10 * SECOND, 0.1);
        for ((window, noise), expected) in speech.as_chunks().0.iter().zip(noise.as_chunks().0).zip(alone) {
            other.push(noise).unwrap();
            assert_eq!(one.push(window).unwrap(), expected);
        }
    }

    #[test]
    fn a_broken_sample_does_not_deafen_the_rest_of_the_call() {
        let silero = silero();
        let mut stream = silero.stream();
        stream.push(&[f32::NAN; WINDOW]).unwrap();
        stream.push(&[f32::INFINITY; WINDOW]).unwrap();
        assert!(share_of_loud_windows_heard(stream.as_mut(), &recordings::speech("beckett")) > 0.85);
    }

    #[test]
    fn a_model_file_of_another_kind_is_refused_at_start() {
        let runtime = recordings::runtime();
        let wrong = recordings::model("smart-turn-v3/smart-turn-v3.2-cpu.onnx");
        assert!(matches!(Silero::load(&runtime, &wrong), Err(EngineError::Corrupt { .. })));
    }
}
