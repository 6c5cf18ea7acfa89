//! Opening a model's folder, and finding out how fast it is here.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use audio::pcm::SampleRate;

use super::config::Config;
use super::linear::Precision;
use super::model::Model;
use super::random;
use super::service::PocketTts;
use super::speech::failed;
use super::tokens::Tokens;
use super::voice::VoiceState;
use super::weights::{SafeFile, corrupt};
use crate::error::EngineError;

const WEIGHTS: &str = "model.safetensors";
/// Either one; a release has the one or the other.
const TOKENIZERS: [&str; 2] = ["tokenizer.json", "tokenizer.model"];
/// Files of preset voices are named so, with the voice's name between.
const VOICE_PREFIX: &str = "voice-";
const VOICE_SUFFIX: &str = ".safetensors";
/// Said when there is one.
const DEFAULT_VOICE: &str = "alba";
/// Frames of the warm-up sentence: two seconds of speech.
const WARM_UP_FRAMES: usize = 25;
/// Tokens of the warm-up sentence: a first clause.
const WARM_UP_TOKENS: usize = 20;

/// A released model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 100 M parameters.
    English,
    /// 18 M parameters: several times as fast, less natural.
    English18M,
}

impl Release {
    pub fn config(self) -> Config {
        match self {
            Self::English => Config::english(),
            Self::English18M => Config::english_18m(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::English => "Pocket TTS",
            Self::English18M => "Pocket TTS 18M",
        }
    }
}

/// How fast a model speaks on this machine with nothing else to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Time to make a second of speech, in seconds.
    pub real_time_factor: f32,
    /// From the text to the first 80 ms of audio.
    pub first_audio: Duration,
}

impl PocketTts {
    /// Opens the folder of a release: `model.safetensors`, its tokenizer, and `voice-NAME.safetensors` for each preset voice. Takes seconds
    /// and, held in eight bits, about half of the file's size in memory.
    pub fn open(folder: &Path, release: Release, precision: Precision) -> Result<(Self, Speed), EngineError> {
        Self::open_as(folder, release.name(), release.config(), precision)
    }

    /// The same for a model of another shape, as `config` has it.
    pub fn open_as(
        folder: &Path,
        name: &str,
        config: Config,
        precision: Precision,
    ) -> Result<(Self, Speed), EngineError> {
        let path = folder.join(WEIGHTS);
        let mut file = SafeFile::open(&path, "the voice model")?;
        let model = Model::load(&mut file, config, precision).map_err(|flaw| corrupt(&path, &flaw))?;
        let tokenizer = TOKENIZERS.map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
        let tokenizer = tokenizer.unwrap_or_else(|| folder.join(TOKENIZERS[0]));
        let tokens = Tokens::open(&tokenizer, model.config.flow_lm.lookup_table.n_bins)?;
        let presets = presets(folder)?;
        let voice = match presets.first() {
            Some((_, path)) => {
                let mut file = SafeFile::open(path, "the voice")?;
                VoiceState::read(&mut file, &model.config, Some(&model.fingerprint))
                    .map_err(|flaw| corrupt(path, &flaw))?
            }
            None => {
                return Err(EngineError::Missing {
                    what: "a preset voice of Pocket TTS".into(),
                    path: folder.join(format!("{VOICE_PREFIX}{DEFAULT_VOICE}{VOICE_SUFFIX}")),
                    hint: "fetch it with `avatar models pull`".into(),
                });
            }
        };
        let speed = warm_up(&model, &voice)?;
        Ok((Self::start(name, model, tokens, presets)?, speed))
    }

    /// A model of the release's shape with random weights and one voice, `pocket-tts/nobody`, written to the file `voice`: it speaks noise,
    /// always to the greatest length, at the true speed. For measuring.
    pub fn random(release: Release, precision: Precision, voice: &Path) -> Result<(Self, Speed), EngineError> {
        let config = Config { default_eos_threshold: f32::MAX, ..release.config() };
        let vocabulary = config.flow_lm.lookup_table.n_bins;
        let model = random::random_model(config, precision).map_err(failed)?;
        let tokens = Tokens::read(random::random_tokenizer(vocabulary).as_bytes(), vocabulary).map_err(failed)?;
        let rate = SampleRate::new(model.config.mimi.sample_rate).ok_or_else(|| failed("its sample rate is absurd"))?;
        let heard =
            model.hear(&random::random_values("audio", rate.samples_in(Duration::from_secs(5)))).map_err(failed)?;
        let bytes = heard.write(&model.fingerprint).map_err(failed)?;
        std::fs::write(voice, bytes).map_err(failed)?;
        let speed = warm_up(&model, &heard)?;
        let presets = vec![("nobody".to_owned(), voice.to_owned())];
        Ok((Self::start(release.name(), model, tokens, presets)?, speed))
    }
}

/// Names and files of the preset voices, the default first.
fn presets(folder: &Path) -> Result<Vec<(String, PathBuf)>, EngineError> {
    let unreadable = |error: std::io::Error| corrupt(folder, &error.to_string());
    let mut presets = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(name) = name.strip_prefix(VOICE_PREFIX).and_then(|name| name.strip_suffix(VOICE_SUFFIX)) {
            presets.push((name.to_owned(), path.clone()));
        }
    }
    presets.sort_by_key(|(name, _)| (name != DEFAULT_VOICE, name.clone()));
    Ok(presets)
}

/// Says something twice, the first time to wake the weights, and measures the second.
fn warm_up(model: &Model, voice: &VoiceState) -> Result<Speed, EngineError> {
    let mut speed = Speed { real_time_factor: 0.0, first_audio: Duration::ZERO };
    for frames in [2, WARM_UP_FRAMES] {
        let began = Instant::now();
        let text = (1..=WARM_UP_TOKENS as u32).collect();
        let silence = Box::new(|values: &mut [f32]| values.fill(0.0));
        let mut thinking = model.start(voice, text, frames, silence).map_err(failed)?;
        let mut state = model.start_audio();
        let mut samples = 0;
        for frame in 0..frames {
            let Some(latent) = model.think(&mut [&mut thinking]).map_err(failed)?.pop().flatten() else { break };
            samples += model.sound(&[latent], &mut state).map_err(failed)?.len();
            if frame == 0 {
                speed.first_audio = began.elapsed();
            }
        }
        let spoken = samples as f32 / model.config.mimi.sample_rate as f32;
        speed.real_time_factor = began.elapsed().as_secs_f32() / spoken.max(f32::EPSILON);
    }
    Ok(speed)
}
