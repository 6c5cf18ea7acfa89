//! Opens the engines that the configuration names, or the best that are present, and says which.
//!
//! An engine that is missing does not keep the server from starting: the page comes up, says what is missing and how to get it,
//! and calls are refused with the same words until it is there.

mod cloning;
mod hq;
mod remote;
mod shelf;

use std::sync::Arc;

use models::catalogue::CatalogueError;
use models::llm::LanguageModel;
use models::remote::Standing;
use models::stt::SpeechToText;
use models::tts::TextToSpeech;
use models::vad::{TurnModel, VoiceDetector};

pub use self::cloning::Cloning;
pub use self::hq::open_hq;
use self::shelf::Shelf;
use crate::call::driver::Engines;
use crate::config::{Config, HQ_OFF};
use crate::readiness::HQ;

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
