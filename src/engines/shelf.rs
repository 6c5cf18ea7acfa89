//! What models there are, where they lie, and how each is opened.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use models::catalogue::{Catalogue, CatalogueError, Kind, Model, State, Store};
use models::error::EngineError;
use models::llm::LanguageModel;
use models::llm::gguf::{GgufModel, GgufOptions};
use models::memory::{Place, Placement, Plan, Role};
use models::onnx::OnnxRuntime;
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

use super::{Cloning, FESTIVALS, Found, KEEPS_UP, RECOGNIZERS};
use crate::config::{Config, Stt};
use crate::placing;

/// What models there are, and where they lie.
pub(super) struct Shelf {
    pub(super) catalogue: Catalogue,
    pub(super) store: Store,
    pub(super) plan: Plan,
    /// Set when an engine that clones is opened.
    pub(super) cloning: RefCell<Option<Cloning>>,
}

impl Shelf {
    pub(super) fn of(config: &Config) -> Result<Self, CatalogueError> {
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

    pub(super) fn folder(&self, model: &Model) -> PathBuf {
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

    pub(super) fn vad(&self, wanted: &str) -> Found<Arc<dyn VoiceDetector>> {
        let model = self.choose(Kind::Vad, wanted)?;
        let opened = self.runtime().and_then(|runtime| Silero::load(&runtime, &self.file(model)));
        let vad = opened.map_err(|error| failed(model, &error))?;
        let name = vad.name().to_owned();
        Ok((Arc::new(vad), name))
    }

    pub(super) fn turn(&self, wanted: &str) -> Found<Arc<dyn TurnModel>> {
        let model = self.choose(Kind::Turn, wanted)?;
        let opened = self.runtime().and_then(|runtime| SmartTurn::load(&runtime, &self.file(model), 2));
        let turn = opened.map_err(|error| failed(model, &error))?;
        let name = turn.name().to_owned();
        Ok((Arc::new(turn), name))
    }

    pub(super) fn stt(&self, wanted: &str, settings: &Stt) -> Found<Arc<dyn SpeechToText>> {
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
    pub(super) fn llm(
        &self,
        wanted: &str,
        system_prompt: &str,
        reading: &(dyn Fn(f32) + Sync),
    ) -> Found<Arc<dyn LanguageModel>> {
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
    pub(super) fn tts(&self, wanted: &str) -> Found<Arc<dyn TextToSpeech>> {
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
pub(super) fn pocket_release(model: &Model) -> Option<Release> {
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

pub(super) fn festival() -> Result<Arc<dyn TextToSpeech>, EngineError> {
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
