//! The voices that come with the engines, in the same list as the user's own, each with a sentence to listen to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::Pcm;
use models::error::EngineError;
use models::tts::{SpeakRequest, TextToSpeech};

use super::{VoiceError, Voices, blocking};
use crate::readiness::Unready;

/// When a sample sentence is due: the sentences of calls are due before.
const DUE: Duration = Duration::from_secs(60);
/// Longest that a voice may take to say it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A voice of an engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Its voice's id, as one part of an address: `flite:slt`.
    pub id: String,
    /// As sessions ask for it.
    pub voice: String,
    pub name: String,
    pub engine: String,
    pub language: &'static str,
    pub bandwidth_hz: u32,
}

/// Why there is nothing to listen to.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    #[error("no voice is available yet")]
    Unready(Unready),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the voice did not finish its sentence within {} s", PATIENCE.as_secs())]
    TooSlow,
    #[error(transparent)]
    Voice(#[from] VoiceError),
}

impl Voices {
    /// The engines' own voices, the default first; none while they are loaded.
    pub fn presets(&self) -> Vec<Preset> {
        let Ok(tts) = self.readiness.tts() else { return Vec::new() };
        tts.voices()
            .iter()
            .map(|voice| Preset {
                id: voice.id.replace('/', ":"),
                engine: voice.id.split_once('/').map_or("", |(engine, _)| engine).to_owned(),
                voice: voice.id.clone(),
                name: voice.name.clone(),
                language: voice.language,
                bandwidth_hz: voice.rate.hertz() / 2,
            })
            .collect()
    }

    /// The preset of that id, in either spelling.
    pub fn preset(&self, id: &str) -> Option<Preset> {
        self.presets().into_iter().find(|preset| preset.id == id || preset.voice == id)
    }

    /// A file in which the voice says a sentence. It is said when it is first asked for, and kept.
    pub async fn preset_sample(self: &Arc<Self>, preset: &Preset) -> Result<PathBuf, PresetError> {
        let path = self.files.preset(&preset.voice);
        // The others wait, and find it made.
        let _turn = self.sampling.lock().await;
        if path.exists() {
            return Ok(path);
        }
        let tts = self.readiness.tts().map_err(PresetError::Unready)?;
        let spoken = tokio::time::timeout(PATIENCE, say(tts.as_ref(), preset)).await;
        let spoken = spoken.map_err(|_| PresetError::TooSlow)??;
        let (voices, to) = (Arc::clone(self), path.clone());
        blocking(move || voices.files.write_ogg(&to, &spoken)).await?;
        Ok(path)
    }
}

async fn say(tts: &dyn TextToSpeech, preset: &Preset) -> Result<Pcm, EngineError> {
    let request = SpeakRequest {
        text: sentence(preset.language).to_owned(),
        voice: preset.voice.clone(),
        deadline: Instant::now() + DUE,
    };
    let speech = tts.speak(request)?;
    let spoken = speech.whole().await?;
    spoken.ok_or_else(|| EngineError::BadRequest("the voice makes no sound of its sample sentence".to_owned()))
}

fn sentence(language: &str) -> &'static str {
    match language.split('-').next().unwrap_or_default() {
        "zh" => "你好，這就是我說話的聲音。想聊什麼，隨時都可以開始。",
        _ => "Hello, this is the voice I speak with. Whenever you like, we can begin.",
    }
}
