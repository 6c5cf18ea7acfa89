//! Profiles with the engine that clones on small random weights, real speech, and the real detector and recogniser.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deciding;
mod making;
mod refusing;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use models::error::EngineError;
use models::onnx::OnnxRuntime;
use models::stt::SpeechToText;
use models::stt::moonshine::Moonshine;
use models::stt::pool::{PoolLimits, RecognizerPool};
use models::tts::pocket::config::Config;
use models::tts::pocket::random::write_random_weights;
use models::tts::pocket::{PocketTts, Precision};
use models::tts::{SpeakRequest, Speech, TextToSpeech};
use models::vad::VoiceDetector;
use models::vad::silero::Silero;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::engines::{Missing, Parts};

/// A thread may be starved for long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of the starter models.
fn model(relative: &str) -> PathBuf {
    let root = std::env::var_os("AVATAR_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data/models"), PathBuf::from);
    let path = root.join(relative);
    assert!(path.exists(), "{} is missing: run `make models`, or set AVATAR_MODELS", path.display());
    path
}

/// One of the starter's human recordings, at its own rate.
pub(crate) fn speech(name: &str) -> Pcm {
    audio::wav::read_file(&model(&format!("speech-samples/{name}.wav"))).unwrap()
}

/// As a WAV file.
pub(crate) fn wav(pcm: &Pcm) -> Bytes {
    let mut bytes = Vec::new();
    audio::wav::write(pcm, &mut bytes).unwrap();
    bytes.into()
}

/// The real detector, one for all tests.
pub(crate) fn detector() -> Arc<dyn VoiceDetector> {
    static LOADED: OnceLock<Arc<dyn VoiceDetector>> = OnceLock::new();
    let load = || {
        let runtime = OnnxRuntime::load(&model("onnxruntime/libonnxruntime.so")).unwrap();
        Arc::new(Silero::load(&runtime, &model("silero-vad/silero_vad_16k_op15.onnx")).unwrap())
            as Arc<dyn VoiceDetector>
    };
    Arc::clone(LOADED.get_or_init(load))
}

fn recogniser() -> Arc<dyn SpeechToText> {
    let runtime = OnnxRuntime::load(&model("onnxruntime/libonnxruntime.so")).unwrap();
    let moonshine = Moonshine::load(&runtime, &model("moonshine-tiny-en"), 1).unwrap();
    Arc::new(RecognizerPool::start(vec![Box::new(moonshine)], vec!["en"], PoolLimits::default()).unwrap())
}

/// A small Pocket TTS with random weights in the shape of a recorded configuration: `usual` and `slim` have other weights.
fn pocket(shape: &str) -> (Arc<PocketTts>, TempDir) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/parity/pocket");
    let config = || -> Config {
        serde_json::from_str(&std::fs::read_to_string(recorded.join(format!("{shape}.json"))).unwrap()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    write_random_weights(config(), &folder.path().join("model.safetensors")).unwrap();
    std::fs::copy(recorded.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let voice = folder.path().join("voice-alba.safetensors");
    std::fs::copy(recorded.join(format!("{shape}-voice.safetensors")), voice).unwrap();
    let (engine, _) = PocketTts::open_as(folder.path(), "small", config(), Precision::Single).unwrap();
    (Arc::new(engine), folder)
}

/// A voice whose files are there for as long as it is.
struct Mouth(Arc<PocketTts>, #[expect(dead_code, reason = "held for its drop")] TempDir);

impl TextToSpeech for Mouth {
    fn name(&self) -> String {
        self.0.name()
    }

    fn voices(&self) -> &[Voice] {
        self.0.voices()
    }

    fn has_voice(&self, id: &str) -> bool {
        self.0.has_voice(id)
    }

    fn added_voice(&self, wanted: &str) -> Option<String> {
        self.0.added_voice(wanted)
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        self.0.speak(request)
    }
}

/// Engines that can do all that voices need.
pub(crate) fn parts(shape: &str) -> Parts {
    let (engine, folder) = pocket(shape);
    let mouth = Arc::new(Mouth(engine.clone(), folder));
    let tts: Arc<dyn TextToSpeech> = Arc::new(models::tts::voices::Voices::new(vec![mouth], None).unwrap());
    let cloning = Some(Cloning { cloner: engine, real_time_factor: 0.5 });
    Parts { vad: Some(detector()), tts: Some(tts), cloning, ..Parts::default() }
}

/// A server's voices in a folder that outlives it.
pub(crate) struct House {
    pub voices: Arc<Voices>,
    pub parts: Parts,
    pub changes: Arc<Mutex<Vec<Change>>>,
    pub is_calling: Arc<AtomicBool>,
    changed: Arc<Notify>,
    stop: watch::Sender<bool>,
    maker: Option<JoinHandle<()>>,
}

impl House {
    pub fn new(folder: &Path, parts: Parts) -> Self {
        Self::of(folder, parts, true)
    }

    /// `is_making`: whether voices are made at all.
    pub fn of(folder: &Path, parts: Parts, is_making: bool) -> Self {
        let history = History::open(folder).unwrap();
        let none = Missing { what: "an engine".to_owned(), hint: "none are opened here".to_owned() };
        let readiness = Arc::new(Readiness::settled(Err(none), Vec::new()).with_parts(parts.clone()));
        let is_calling = Arc::new(AtomicBool::new(false));
        let calling = Arc::clone(&is_calling);
        let voices = Arc::new(Voices::open(&history, readiness, move || calling.load(Ordering::SeqCst)).unwrap());
        let (changes, changed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (seen, told) = (Arc::clone(&changes), Arc::clone(&changed));
        voices.on_change(move |change| {
            seen.lock().unwrap().push(change);
            told.notify_one();
        });
        let stop = watch::Sender::new(false);
        let maker = is_making.then(|| tokio::spawn(Arc::clone(&voices).make(stop.subscribe())));
        Self { voices, parts, changes, is_calling, changed, stop, maker }
    }

    pub async fn add(&self, name: &str, pcm: &Pcm) -> Result<Added, VoiceError> {
        let upload = Upload { name: name.to_owned(), recording: wav(pcm), transcript: None, consent: true };
        self.voices.add(&Viewer::Everyone, upload).await
    }

    /// Waits until the profile is in `state`.
    pub async fn until(&self, id: &str, state: State) -> Profile {
        let reached = async {
            loop {
                let profile = self.voices.profile(&Viewer::Everyone, id).await.unwrap().unwrap();
                if self.voices.standing(&profile).0 == state {
                    return profile;
                }
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("it never was {state:?}"))
    }

    /// The states that were told of, in order.
    pub fn told(&self) -> Vec<State> {
        self.changes.lock().unwrap().iter().filter_map(|change| change.state).collect()
    }

    /// As a process that is told to stop.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(maker) = self.maker.take() {
            maker.await.unwrap();
        }
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The first seconds of a recording.
pub(crate) fn first(pcm: &Pcm, seconds: f32) -> Pcm {
    let count = (seconds * pcm.rate.hertz() as f32) as usize;
    Pcm::new(pcm.rate, pcm.samples[..count.min(pcm.samples.len())].to_vec())
}

pub(crate) fn at_16_khz(pcm: &Pcm) -> Pcm {
    audio::resample::resample(pcm, SampleRate::HZ_16000).unwrap()
}

/// A row as if that voice had been made.
pub(crate) fn insert_voice(folder: &Path, id: &str, owner: Option<&str>) {
    let profile = Profile {
        id: id.to_owned(),
        owner: owner.map(str::to_owned),
        name: id.to_owned(),
        created_at: 0,
        duration_ms: 5_000,
        bandwidth_hz: 8_000,
        transcript: None,
        is_transcribed: true,
        stage: Stage::Waiting,
    };
    store::Store::open(open_database(&folder.into()).unwrap()).unwrap().insert(&profile).unwrap();
}
