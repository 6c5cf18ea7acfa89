//! How far the server is with its engines: what is loading, what is there, and whether calls can be taken.
//!
//! The ports are open before the engines are. Until all that a call needs is loaded and has made its first run, calls are
//! refused with a time to come back, and `/health` and the page show how far it is. An engine that fails its first run is tried
//! again for as long as the server runs: another machine's engine may be back in a minute.

use std::sync::Arc;
use std::time::Duration;

use models::llm::LanguageModel;
use models::stt::SpeechToText;
use models::tts::TextToSpeech;
use models::vad::VoiceDetector;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::call::driver::Engines;
use crate::config::Config;
use crate::engines::{self, Cloning, EngineReport, EngineState, Missing, Opened, Parts};
use crate::warm_up::warm_up;

/// How long after a failed first run the next is tried.
const AGAIN: Duration = Duration::from_secs(15);
/// Of an engine's way to being ready, what loading is, in percent; the rest is its first run.
const LOADED: u8 = 90;

/// The kind of the engine that renders replies again; no call needs it, and calls do not wait for it.
pub const HQ: &str = "hq";

/// Why an engine cannot be used yet, or at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// `percent` of the way to taking calls.
    Loading {
        percent: u8,
    },
    Missing(Missing),
}

/// Shared by whoever opens the engines and all who wait for them.
pub struct Readiness(watch::Sender<Standing>);

struct Standing {
    reports: Vec<EngineReport>,
    parts: Parts,
    /// What calls are made with; `None` until it is known.
    calls: Option<Result<Engines, Missing>>,
}

impl Readiness {
    /// Nothing is there yet.
    pub fn expecting(reports: Vec<EngineReport>) -> Self {
        Self(watch::Sender::new(Standing { reports, parts: Parts::default(), calls: None }))
    }

    /// All is known from the beginning.
    pub fn settled(engines: Result<Engines, Missing>, reports: Vec<EngineReport>) -> Self {
        let parts = engines.clone().map_or_else(|_| Parts::default(), Parts::from);
        Self(watch::Sender::new(Standing { reports, parts, calls: Some(engines) }))
    }

    /// What is known of each engine.
    pub fn reports(&self) -> Vec<EngineReport> {
        self.0.borrow().reports.clone()
    }

    /// Why the server of a remote engine isn't asked, while it isn't.
    pub fn trouble(&self, kind: &str) -> Option<String> {
        let standing = self.0.borrow();
        standing.parts.standings.iter().find(|(of, _)| *of == kind)?.1.trouble()
    }

    /// What calls are made with.
    pub fn calls(&self) -> Result<Engines, Unready> {
        let standing = self.0.borrow();
        match &standing.calls {
            Some(Ok(engines)) => Ok(engines.clone()),
            Some(Err(missing)) => Err(Unready::Missing(missing.clone())),
            None => Err(Unready::Loading { percent: percent(&standing.reports) }),
        }
    }

    pub fn vad(&self) -> Result<Arc<dyn VoiceDetector>, Unready> {
        self.part("vad", |parts| parts.vad.clone())
    }

    pub fn stt(&self) -> Result<Arc<dyn SpeechToText>, Unready> {
        self.part("stt", |parts| parts.stt.clone())
    }

    pub fn llm(&self) -> Result<Arc<dyn LanguageModel>, Unready> {
        self.part("llm", |parts| parts.llm.clone())
    }

    pub fn tts(&self) -> Result<Arc<dyn TextToSpeech>, Unready> {
        self.part("tts", |parts| parts.tts.clone())
    }

    /// What makes voices of recordings.
    pub fn cloning(&self) -> Result<Cloning, Unready> {
        self.part("cloning", |parts| parts.cloning.clone())
    }

    /// The same with these engines each by itself.
    pub fn with_parts(self, parts: Parts) -> Self {
        self.0.send_modify(|standing| standing.parts = parts);
        self
    }

    /// One engine, which may be there though others are not.
    fn part<T>(&self, kind: &'static str, choose: impl Fn(&Parts) -> Option<T>) -> Result<T, Unready> {
        let standing = self.0.borrow();
        if standing.calls.is_none() {
            return Err(Unready::Loading { percent: percent(&standing.reports) });
        }
        choose(&standing.parts).ok_or_else(|| {
            let report = standing.reports.iter().find(|report| report.kind == kind);
            Unready::Missing(lacking(report).unwrap_or_else(|| Missing {
                what: engines::kind_in_words(kind).to_owned(),
                hint: "run `avatar doctor`".to_owned(),
            }))
        })
    }

    /// Waits until it is known whether calls can be taken.
    pub async fn known(&self) -> Result<Engines, Unready> {
        let mut standing = self.0.subscribe();
        // The sender is `self`: it does not go while it is waited for.
        let _ = standing.wait_for(|standing| standing.calls.is_some()).await;
        self.calls()
    }

    /// What has become of an engine.
    pub fn tell(&self, told: EngineReport) {
        self.0.send_modify(|standing| match standing.reports.iter_mut().find(|report| report.kind == told.kind) {
            Some(report) => *report = told,
            None => standing.reports.push(told),
        });
    }

    fn set_state(&self, kind: &'static str, state: EngineState) {
        self.0.send_modify(|standing| {
            if let Some(report) = standing.reports.iter_mut().find(|report| report.kind == kind) {
                report.state = state;
            }
        });
    }

    /// The kinds of those that have yet to make a first run, or to make it well.
    fn due(&self) -> Vec<&'static str> {
        let is_due = |state: &EngineState| !matches!(state, EngineState::Ready | EngineState::Missing { .. });
        let of_calls = |report: &&EngineReport| report.kind != HQ && is_due(&report.state);
        self.0.borrow().reports.iter().filter(of_calls).map(|report| report.kind).collect()
    }

    /// After a round of first runs: calls are taken if all that they need is there and none of it failed.
    fn settle(&self, engines: &Result<Engines, Missing>, parts: &Parts) {
        self.0.send_modify(|standing| {
            let failing = standing
                .reports
                .iter()
                .find(|report| matches!(report.state, EngineState::Failing { needed: true, .. }));
            standing.calls = Some(match lacking(failing) {
                Some(failing) => Err(failing),
                None => engines.clone(),
            });
            standing.parts = parts.clone();
        });
    }
}

/// Opens the engines and lets them make their first runs, telling `readiness` of each step; returns once none fails any more,
/// or `stopping` says so. For a thread that may block.
pub fn bring_up(config: &Config, readiness: &Readiness, runtime: &Handle, stopping: &watch::Receiver<bool>) {
    let Opened { engines, parts, reports } = match engines::open(config, &|report| readiness.tell(report)) {
        Ok(opened) => opened,
        Err(error) => {
            warn!(%error, "no engine could be opened");
            let missing = Missing { what: "the catalogue of models".to_owned(), hint: error.to_string() };
            readiness.settle(&Err(missing), &Parts::default());
            return;
        }
    };
    info!("engines: {}", engines::summary(&reports));
    while !*stopping.borrow() {
        let due = readiness.due();
        let tell = |kind, state| readiness.set_state(kind, state);
        let failed = runtime.block_on(warm_up(&parts, &due, &config.session, tell));
        readiness.settle(&engines, &parts);
        if !failed {
            return;
        }
        let mut stopping = stopping.clone();
        let told = stopping.wait_for(|stopping| *stopping);
        let _ = runtime.block_on(async { tokio::time::timeout(AGAIN, told).await.is_ok() });
    }
}

impl From<Engines> for Parts {
    fn from(engines: Engines) -> Self {
        let Engines { vad, turn, stt, llm, tts } = engines;
        Self {
            vad: Some(vad),
            turn,
            stt: Some(stt),
            llm: Some(llm),
            tts: Some(tts),
            cloning: None,
            standings: Vec::new(),
        }
    }
}

/// What is wrong with an engine, in the words that refusals use.
fn lacking(report: Option<&EngineReport>) -> Option<Missing> {
    let report = report?;
    let what = format!("{} ({})", engines::kind_in_words(report.kind), report.name);
    match &report.state {
        EngineState::Missing { hint, .. } => Some(Missing { what, hint: hint.clone() }),
        EngineState::Failing { reason, .. } => {
            let hint = format!("its first run failed and is tried again every {} s: {reason}", AGAIN.as_secs());
            Some(Missing { what, hint })
        }
        EngineState::Loading { .. } | EngineState::WarmingUp | EngineState::Ready => None,
    }
}

/// How far the server is on its way to taking calls, all engines alike.
pub fn percent(reports: &[EngineReport]) -> u8 {
    let reports: Vec<_> = reports.iter().filter(|report| report.kind != HQ).collect();
    let each = reports.iter().map(|report| match report.state {
        EngineState::Loading { percent } => u32::from(percent.min(100)) * u32::from(LOADED) / 100,
        EngineState::WarmingUp => u32::from(LOADED),
        EngineState::Ready | EngineState::Failing { .. } | EngineState::Missing { .. } => 100,
    });
    let sum: u32 = each.sum();
    (sum / u32::try_from(reports.len()).unwrap_or(u32::MAX).max(1)) as u8
}

#[cfg(test)]
mod tests;
