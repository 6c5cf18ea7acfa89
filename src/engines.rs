//! Opens the engines that the configuration names, or the best that are present, and says which.
//!
//! An engine that is missing does not keep the server from starting: the page comes up, says what is missing and how to get it,
//! and calls are refused with the same words until it is there.

mod cloning;
mod hq;
mod remote;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use models::catalogue::{Catalogue, CatalogueError, Kind, Model, State, Store};
use models::error::EngineError;
use models::llm::LanguageModel;
use models::llm::gguf::{GgufModel, GgufOptions};
use models::memory::{Place, Placement, Plan, Role};
use models::onnx::OnnxRuntime;
use models::remote::Standing;
use models::stt::moonshine::Moonshine;
use models::stt::pool::{PoolLimits, RecognizerPool};
use models::stt::whisper::{Whisper, WhisperOptions};
use models::stt::{Recognizer, SpeechToText};
use models::tts::TextToSpeech;
use models::tts::festival::Festival;
use models::tts::flite::Flite;
use models::tts::pocket::{PocketTts, Precision, Release};
use models::tts::service::SpeechService;
use models::tts::voices::Voices;
use models::vad::silero::Silero;
use models::vad::smart_turn::SmartTurn;
use models::vad::{TurnModel, VoiceDetector};

pub use self::cloning::Cloning;
use crate::call::driver::Engines;
use crate::config::{Config, HQ_OFF, Stt};
use crate::placing;
use crate::readiness::HQ;

pub use self::hq::open_hq;

/// Recognisers at work at the same time. Two: one caller's final text does not wait for another's partial.
pub(crate) const RECOGNIZERS: usize = 2;
/// Warm Festival processes.
const FESTIVALS: usize = 2;

/// A neural voice that needs more of real time than this for its speech is not what `auto` speaks with.
const KEEPS_UP: f32 = 0.8;

/// What was found of one engine.
#[derive(Debug, Clone)]
pub struct EngineReport {
    /// `vad`, `turn`, `stt`, `llm`, `tts`, `hq`.
    pub kind: &'static str,
    /// Engine and model; for a missing one what was looked for.
    pub name: String,
    pub state: EngineState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// Its turn has not come, or its files are being read: so much of it is done, 0 to 100.
    Loading {
        percent: u8,
    },
    /// Loaded, and making its first run.
    WarmingUp,
    Ready,
    /// Loaded, but its first run went wrong; it is tried again.
    Failing {
        reason: String,
        needed: bool,
    },
    /// `needed`: no call without it.
    Missing {
        hint: String,
        needed: bool,
    },
}

/// The engines, as far as they are there.
pub struct Opened {
    /// What calls are made with, or what keeps them from being made.
    pub engines: Result<Engines, Missing>,
    /// What is there of them, also where that is not enough for a call.
    pub parts: Parts,
    pub reports: Vec<EngineReport>,
}

/// Each engine by itself.
#[derive(Clone, Default)]
pub struct Parts {
    pub vad: Option<Arc<dyn VoiceDetector>>,
    pub turn: Option<Arc<dyn TurnModel>>,
    pub stt: Option<Arc<dyn SpeechToText>>,
    pub llm: Option<Arc<dyn LanguageModel>>,
    pub tts: Option<Arc<dyn TextToSpeech>>,
    /// What makes voices of recordings.
    pub cloning: Option<Cloning>,
    /// How the servers of remote engines fare, by kind.
    pub standings: Vec<(&'static str, Standing)>,
}

/// Is told what becomes of each engine while they are opened, from whichever thread.
pub type Tell<'a> = &'a (dyn Fn(EngineReport) + Sync);

/// An engine without which no call can be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    pub hint: String,
}

/// What will be opened, before it is.
pub fn expected(config: &Config) -> Vec<EngineReport> {
    let names = &config.engines;
    let all =
        [("vad", &names.vad), ("turn", &names.turn), ("stt", &names.stt), ("llm", &names.llm), ("tts", &names.tts)];
    let wanted = all.into_iter().filter(|(kind, name)| (*kind, name.as_str()) != ("turn", "off"));
    let rendering = (config.hq.engine != HQ_OFF).then_some((HQ, &config.hq.engine));
    wanted.chain(rendering).map(|(kind, name)| loading(kind, name, 0)).collect()
}

fn loading(kind: &'static str, name: &str, percent: u8) -> EngineReport {
    EngineReport { kind, name: name.to_owned(), state: EngineState::Loading { percent } }
}

/// Opens what the configuration names, one engine after the other. Takes seconds: not for a tokio worker.
pub fn open(config: &Config, tell: Tell<'_>) -> Result<Opened, CatalogueError> {
    let shelf = Shelf::of(config)?;
    shelf.plan.to_string().lines().for_each(|line| tracing::info!("{line}"));
    let names = &config.engines;
    let mut reports = Vec::new();
    let vad = report(&mut reports, tell, "vad", true, shelf.vad(&names.vad));
    let turn = match names.turn.as_str() {
        "off" => None,
        wanted => report(&mut reports, tell, "turn", false, shelf.turn(wanted)),
    };
    let rows = remote::Rows::new(&shelf, config);
    let stt = report(&mut reports, tell, "stt", true, rows.stt());
    let reading = |share: f32| tell(loading("llm", &names.llm, (share.clamp(0.0, 1.0) * 100.0) as u8));
    let llm = report(&mut reports, tell, "llm", true, rows.llm(&reading));
    let tts = report(&mut reports, tell, "tts", true, rows.tts());
    let standings = rows.standings();
    let cloning = shelf.cloning.take();
    let parts = Parts {
        vad: vad.clone(),
        turn: turn.clone(),
        stt: stt.clone(),
        llm: llm.clone(),
        tts: tts.clone(),
        cloning,
        standings,
    };
    let engines = match (vad, stt, llm, tts) {
        (Some(vad), Some(stt), Some(llm), Some(tts)) => Ok(Engines { vad, turn, stt, llm, tts }),
        _ => Err(first_missing(&reports)),
    };
    Ok(Opened { engines, parts, reports })
}

/// Speech to text alone, as for `avatar transcribe`.
pub fn open_stt(config: &Config) -> anyhow::Result<Arc<dyn SpeechToText>> {
    alone(remote::Rows::new(&Shelf::of(config)?, config).stt())
}

/// Text to speech alone, as for `avatar say`.
pub fn open_tts(config: &Config) -> anyhow::Result<Arc<dyn TextToSpeech>> {
    alone(remote::Rows::new(&Shelf::of(config)?, config).tts())
}

fn alone<T>(found: Found<T>) -> anyhow::Result<T> {
    found.map(|(engine, _)| engine).map_err(|(name, hint)| anyhow::anyhow!("{name}: {hint}"))
}

/// One line that says which engines are used.
pub fn summary(reports: &[EngineReport]) -> String {
    let words = reports.iter().map(|report| match &report.state {
        EngineState::Missing { .. } => format!("{} MISSING", report.kind),
        _ => format!("{} {}", report.kind, report.name),
    });
    words.collect::<Vec<_>>().join(" · ")
}

fn first_missing(reports: &[EngineReport]) -> Missing {
    let missing = reports.iter().find_map(|report| match &report.state {
        EngineState::Missing { hint, needed: true } => {
            Some(Missing { what: format!("{} ({})", kind_in_words(report.kind), report.name), hint: hint.clone() })
        }
        _ => None,
    });
    missing.unwrap_or(Missing { what: "an engine".to_owned(), hint: "run `avatar doctor`".to_owned() })
}

/// An engine's kind as people call it.
pub fn kind_in_words(kind: &str) -> &str {
    match kind {
        "vad" => "voice activity",
        "turn" => "the turn model",
        "stt" => "speech to text",
        "llm" => "the language model",
        HQ => "the better voice of the history",
        _ => "text to speech",
    }
}

/// An engine with the name it reports, or what was looked for and why it is not there.
type Found<T> = Result<(T, String), (String, String)>;

fn report<T>(
    reports: &mut Vec<EngineReport>,
    tell: Tell<'_>,
    kind: &'static str,
    needed: bool,
    found: Found<T>,
) -> Option<T> {
    let (engine, name, state) = match found {
        // It has yet to make its first run.
        Ok((engine, name)) => (Some(engine), name, EngineState::WarmingUp),
        Err((name, hint)) => {
            tracing::warn!(kind, name, hint, "engine missing");
            (None, name, EngineState::Missing { hint, needed })
        }
    };
    let report = EngineReport { kind, name, state };
    tell(report.clone());
    reports.push(report);
    engine
}

/// What models there are, and where they lie.
struct Shelf {
    catalogue: Catalogue,
    store: Store,
    plan: Plan,
    /// Set when an engine that clones is opened.
    cloning: RefCell<Option<Cloning>>,
}

impl Shelf {
    fn of(config: &Config) -> Result<Self, CatalogueError> {
        let (catalogue, store) = (Catalogue::builtin()?, Store::new(config.models_dir()));
        let plan = placing::for_this_machine(config, &catalogue, &store);
        Ok(Self { catalogue, store, plan, cloning: RefCell::default() })
    }

    /// What the plan has for `role`, where that is what was asked for: a fallback may be another.
    fn tries(&self, role: Role, wanted: &str) -> Vec<&Placement> {
        let tries = self.plan.tries(role).into_iter();
        tries.filter(|placement| wanted == "auto" || placement.model == wanted).collect()
    }

    /// Opens the model that the plan has for `role`, or what would do in its stead; without a plan the one that was asked for.
    fn open_planned<T>(
        &self,
        role: Role,
        kind: Kind,
        wanted: &str,
        open: impl Fn(&Model, Option<&Placement>) -> Result<T, EngineError>,
    ) -> Result<T, (String, String)> {
        let tries = self.tries(role, wanted);
        let opened = placing::open_first(&tries, |placement| {
            let model =
                self.catalogue.get(&placement.model).map_err(|error| EngineError::BadRequest(error.to_string()))?;
            open(model, Some(placement))
        });
        match opened {
            Some(opened) => opened.map_err(|error| {
                (tries.first().map_or_else(String::new, |placement| placement.model.clone()), error.to_string())
            }),
            None => {
                let model = self.choose(kind, wanted)?;
                open(model, None).map_err(|error| failed(model, &error))
            }
        }
    }

    /// The model of that id, or the best one present for `auto`.
    fn choose(&self, kind: Kind, wanted: &str) -> Result<&Model, (String, String)> {
        let missing = |name: &str, hint: String| (name.to_owned(), hint);
        if wanted == "auto" {
            let hint = "run `avatar models pull --starter` (or `make models`), then start again".to_owned();
            // One that was meant to be there and is damaged is named rather than passed over.
            let damaged = || {
                let mut models = self.catalogue.of_kind(kind).into_iter();
                let damaged =
                    models.find(|model| !matches!(self.store.state(model), State::Absent | State::Present { .. }))?;
                Some(missing(&damaged.id, self.remedy(damaged)))
            };
            let best = self.catalogue.best_present(kind, &self.store);
            return best.ok_or_else(|| damaged().unwrap_or_else(|| missing("auto", hint)));
        }
        let model = self.catalogue.get(wanted).map_err(|error| missing(wanted, error.to_string()))?;
        if model.kind != kind {
            return Err(missing(
                wanted,
                format!("{wanted} is a model of kind {}, not {kind}; see `avatar models list`", model.kind),
            ));
        }
        if !self.catalogue.is_ready(model, &self.store) {
            return Err(missing(wanted, self.remedy(model)));
        }
        Ok(model)
    }

    /// What is wrong with a model that is not ready, and what to do.
    fn remedy(&self, model: &Model) -> String {
        let pull = format!("run `avatar models pull {}`, then start again", model.id);
        match self.store.state(model) {
            State::Corrupt { file, reason } => {
                format!("{} is damaged: {reason}; {pull}", self.store.path(model, &file).display())
            }
            State::Partial { have, of } => format!("only {have} of its {of} bytes are there; {pull}"),
            State::Absent | State::Present { .. } => pull,
        }
    }

    fn folder(&self, model: &Model) -> PathBuf {
        self.store.folder(model)
    }

    /// The first file of the model, which for one-file models is the model.
    fn file(&self, model: &Model) -> PathBuf {
        let name = model.files.first().map_or("", |file| file.name.as_str());
        self.store.path(model, name)
    }

    fn runtime(&self) -> Result<Arc<OnnxRuntime>, EngineError> {
        let runtime = self.catalogue.of_kind(Kind::Runtime).into_iter().find(|model| model.id == "onnxruntime");
        let path = runtime.map_or_else(PathBuf::new, |model| self.file(model));
        OnnxRuntime::load(&path)
    }

    fn vad(&self, wanted: &str) -> Found<Arc<dyn VoiceDetector>> {
        let model = self.choose(Kind::Vad, wanted)?;
        let opened = self.runtime().and_then(|runtime| Silero::load(&runtime, &self.file(model)));
        let vad = opened.map_err(|error| failed(model, &error))?;
        let name = vad.name().to_owned();
        Ok((Arc::new(vad), name))
    }

    fn turn(&self, wanted: &str) -> Found<Arc<dyn TurnModel>> {
        let model = self.choose(Kind::Turn, wanted)?;
        let opened = self.runtime().and_then(|runtime| SmartTurn::load(&runtime, &self.file(model), 2));
        let turn = opened.map_err(|error| failed(model, &error))?;
        let name = turn.name().to_owned();
        Ok((Arc::new(turn), name))
    }

    fn stt(&self, wanted: &str, settings: &Stt) -> Found<Arc<dyn SpeechToText>> {
        let script = settings.script();
        let stt = self.open_planned(Role::SpeechToText, Kind::Stt, wanted, |model, placement| {
            let place = placement.map_or(Place::Cpu, |placement| placement.place);
            let recognizers = self.recognizers(model, settings, place)?;
            RecognizerPool::start_writing(recognizers, languages(model), PoolLimits::default(), script)
        })?;
        let name = stt.name();
        Ok((Arc::new(stt), name))
    }

    fn recognizers(
        &self,
        model: &Model,
        settings: &Stt,
        place: Place,
    ) -> Result<Vec<Box<dyn Recognizer>>, EngineError> {
        if model.id.starts_with("whisper") {
            let options = WhisperOptions {
                recognizers: RECOGNIZERS,
                threads: whisper_threads(),
                prompt: settings.prompt.clone(),
                place,
            };
            let whispers = Whisper::load(&self.file(model), &options)?;
            return Ok(whispers.into_iter().map(|whisper| Box::new(whisper) as Box<dyn Recognizer>).collect());
        }
        let runtime = self.runtime()?;
        let load = |_| Ok(Box::new(Moonshine::load(&runtime, &self.folder(model), 1)?) as Box<dyn Recognizer>);
        (0..RECOGNIZERS).map(load).collect()
    }

    /// `reading` is told the share of the file that has been read, 0.0 to 1.0.
    fn llm(&self, wanted: &str, system_prompt: &str, reading: &(dyn Fn(f32) + Sync)) -> Found<Arc<dyn LanguageModel>> {
        let options = |placement: Option<&Placement>| -> Result<GgufOptions, EngineError> {
            let mut options = GgufOptions { system_prompt: Some(system_prompt.to_owned()), ..GgufOptions::default() };
            if let Some(placement) = placement {
                options.device = placement.place.device()?;
                options.context = placement.context.unwrap_or(options.context);
                options.cache_budget = usize::try_from(placement.calls).unwrap_or(options.cache_budget);
            }
            Ok(options)
        };
        let load = |path: &Path, placement: Option<&Placement>| {
            let place = placement.map_or(Place::Cpu, |placement| placement.place);
            GgufModel::load(path, &options(placement)?, reading)
                .map_err(|error| error.or_out_of_memory("the language model", place))
        };
        // A path to any GGUF file will do as well.
        let llm = if wanted.ends_with(".gguf") {
            let path = Path::new(wanted);
            let opened =
                placing::open_first(&self.tries(Role::LanguageModel, wanted), |placement| load(path, Some(placement)));
            opened.unwrap_or_else(|| load(path, None)).map_err(|error| (wanted.to_owned(), error.to_string()))?
        } else {
            self.open_planned(Role::LanguageModel, Kind::Llm, wanted, |model, placement| {
                load(&self.file(model), placement)
            })?
        };
        let name = llm.name();
        Ok((Arc::new(llm), name))
    }

    /// The neural voice that is wanted; for `auto` the best one present that keeps up with real time here, as a warm-up sentence shows, else
    /// the smallest one. With it whether it keeps up.
    fn neural_voices(&self, wanted: &str, why: &mut Vec<String>) -> Vec<(&Model, Arc<dyn TextToSpeech>, bool)> {
        let mut slow = Vec::new();
        for model in self.catalogue.of_kind(Kind::Tts) {
            let Some(release) = pocket_release(model) else { continue };
            if wanted != model.id && (wanted != "auto" || !self.catalogue.is_ready(model, &self.store)) {
                continue;
            }
            match PocketTts::open(&self.folder(model), release, Precision::default()) {
                Ok((voice, speed)) => {
                    let (factor, first_audio) = (speed.real_time_factor, speed.first_audio);
                    tracing::info!(model = model.id, factor, ?first_audio, "neural voice warmed up");
                    let keeps_up = factor < KEEPS_UP || wanted == model.id;
                    let voice = Arc::new(voice);
                    self.cloning.replace(Some(Cloning { cloner: voice.clone(), real_time_factor: factor }));
                    let opened: Vec<(&Model, Arc<dyn TextToSpeech>, bool)> = vec![(model, voice, keeps_up)];
                    if keeps_up {
                        return opened;
                    }
                    slow = opened;
                }
                Err(error) => why.push(error.to_string()),
            }
        }
        slow
    }

    /// The wanted voice's engine first; the others too, so that each call can choose.
    fn tts(&self, wanted: &str) -> Found<Arc<dyn TextToSpeech>> {
        let mut engines = Vec::new();
        let mut why = Vec::new();
        let mut neural = self.neural_voices(wanted, &mut why);
        for (name, engine) in [("flite", flite()), ("festival", festival())] {
            match engine {
                Ok(engine) => engines.push((name, engine)),
                Err(error) => why.push(error.to_string()),
            }
        }
        // First what keeps up, best first; what does not is still there for who asks for it.
        neural.reverse();
        for (model, engine, keeps_up) in neural {
            engines.insert(if keeps_up { 0 } else { engines.len() }, (model.id.as_str(), engine));
        }
        // Ids of the catalogue begin with the engine's name, as `festival-slt-hts`.
        engines.sort_by_key(|(name, _)| !wanted.starts_with(name));
        let found = wanted == "auto" || engines.first().is_some_and(|(name, _)| wanted.starts_with(name));
        if !found {
            return Err((wanted.to_owned(), why.join("; ")));
        }
        let engines = engines.into_iter().map(|(_, engine)| engine).collect();
        let voices =
            Voices::new(engines, None).map_err(|error| (wanted.to_owned(), format!("{error}; {}", why.join("; "))))?;
        let name = voices.name();
        Ok((Arc::new(voices), name))
    }
}

/// Which release of Pocket TTS a model of the catalogue is.
fn pocket_release(model: &Model) -> Option<Release> {
    match model.id.as_str() {
        "pocket-tts" => Some(Release::English),
        "pocket-tts-18m" => Some(Release::English18M),
        _ => None,
    }
}

/// Threads of one Whisper pass: more than four gain nothing on short speech, more than there are would wait for each other.
fn whisper_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

fn flite() -> Result<Arc<dyn TextToSpeech>, EngineError> {
    let service = SpeechService::start("flite", vec![Box::new(Flite::open()?)])?;
    Ok(Arc::new(service))
}

fn festival() -> Result<Arc<dyn TextToSpeech>, EngineError> {
    let pool = (0..FESTIVALS).map(|_| Ok(Box::new(Festival::open()?) as _)).collect::<Result<_, EngineError>>()?;
    Ok(Arc::new(SpeechService::start("festival", pool)?))
}

fn failed(model: &Model, error: &EngineError) -> (String, String) {
    (model.id.clone(), error.to_string())
}

/// The languages a model understands, as the contract has them: known tags only, none meaning many.
fn languages(model: &Model) -> Vec<&'static str> {
    const KNOWN: [&str; 2] = ["en", "zh"];
    KNOWN.into_iter().filter(|known| model.languages.iter().any(|language| language == known)).collect()
}
