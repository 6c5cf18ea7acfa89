//! Engines on other servers, and engines in a row: who does it, and who does it when the first can't.
//!
//! A server need not be up when Avatar starts: it is used as soon as it is, and until then the fallback answers.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use models::fallback::{FallbackLlm, FallbackStt, FallbackTts};
use models::llm::LanguageModel;
use models::remote::{IoThread, Network, RemoteLlm, RemoteStt, RemoteTts, Standing};
use models::stt::SpeechToText;
use models::tts::TextToSpeech;

use super::Found;
use super::shelf::Shelf;
use crate::config::{Config, REMOTE};

/// Opens the engines of `[engines]`, each with its fallback.
pub(super) struct Rows<'a> {
    shelf: &'a Shelf,
    config: &'a Config,
    /// Started when the first needs it.
    io: OnceCell<Arc<IoThread>>,
    network: OnceCell<Arc<Network>>,
    standings: RefCell<Vec<(&'static str, Standing)>>,
}

impl<'a> Rows<'a> {
    pub fn new(shelf: &'a Shelf, config: &'a Config) -> Self {
        Self { shelf, config, io: OnceCell::new(), network: OnceCell::new(), standings: RefCell::default() }
    }

    pub fn stt(&self) -> Found<Arc<dyn SpeechToText>> {
        let names = &self.config.engines;
        let open =
            |wanted: &str| if wanted == REMOTE { self.remote_stt() } else { self.shelf.stt(wanted, &self.config.stt) };
        self.row("stt", &names.stt, &names.stt_fallback, open, |io, row| Arc::new(FallbackStt::new(io, row)))
    }

    /// `reading` is told how much of a local model is read.
    pub fn llm(&self, reading: &(dyn Fn(f32) + Sync)) -> Found<Arc<dyn LanguageModel>> {
        let names = &self.config.engines;
        let prompt = &self.config.session.instructions;
        let open =
            |wanted: &str| if wanted == REMOTE { self.remote_llm() } else { self.shelf.llm(wanted, prompt, reading) };
        self.row("llm", &names.llm, &names.llm_fallback, open, |io, row| Arc::new(FallbackLlm::new(io, row)))
    }

    pub fn tts(&self) -> Found<Arc<dyn TextToSpeech>> {
        let names = &self.config.engines;
        let open = |wanted: &str| if wanted == REMOTE { self.remote_tts() } else { self.shelf.tts(wanted) };
        self.row("tts", &names.tts, &names.tts_fallback, open, |io, row| Arc::new(FallbackTts::new(io, row)))
    }

    /// How the servers fare, by kind.
    pub fn standings(self) -> Vec<(&'static str, Standing)> {
        self.standings.into_inner()
    }

    /// The engine, and behind it its fallback if it has one.
    fn row<T: ?Sized>(
        &self,
        kind: &'static str,
        wanted: &str,
        fallback: &str,
        open: impl Fn(&str) -> Found<Arc<T>>,
        join: impl Fn(Arc<IoThread>, Vec<Arc<T>>) -> Arc<T>,
    ) -> Found<Arc<T>> {
        let is_remote = wanted == REMOTE;
        let first = open(wanted);
        let fallback = match fallback {
            "off" => None,
            "auto" => is_remote.then_some("auto"),
            same if same == wanted => None,
            other => Some(other),
        };
        if fallback.is_none() && !is_remote {
            return first;
        }
        let second = fallback.and_then(|fallback| match open(fallback) {
            Ok(found) => Some(found),
            Err((name, hint)) => {
                tracing::warn!(kind, name, hint, "there is no fallback");
                None
            }
        });
        let (engines, names): (Vec<_>, Vec<_>) = match (first, second) {
            (Ok(first), second) => std::iter::once(first).chain(second).unzip(),
            (Err((name, hint)), Some(second)) => {
                tracing::warn!(kind, name, hint, "the fallback stands in");
                std::iter::once(second).unzip()
            }
            (Err(missing), None) => return Err(missing),
        };
        let io = self.io().map_err(|error| (wanted.to_owned(), error))?;
        Ok((join(io, engines), names.join(", else ")))
    }

    fn io(&self) -> Result<Arc<IoThread>, String> {
        if let Some(io) = self.io.get() {
            return Ok(Arc::clone(io));
        }
        let io = IoThread::start().map_err(|error| error.to_string())?;
        Ok(Arc::clone(self.io.get_or_init(|| io)))
    }

    fn network(&self) -> Result<Arc<Network>, String> {
        if let Some(network) = self.network.get() {
            return Ok(Arc::clone(network));
        }
        let network = Network::new(self.io()?, &self.config.remote.network()).map_err(|error| error.to_string())?;
        Ok(Arc::clone(self.network.get_or_init(|| network)))
    }

    fn remote_stt(&self) -> Found<Arc<dyn SpeechToText>> {
        let settings = needed(self.config.remote.stt_server())?;
        let stt = RemoteStt::new(self.network().map_err(missing)?, settings, self.config.stt.script());
        self.standings.borrow_mut().push(("stt", stt.standing()));
        let name = stt.name();
        Ok((Arc::new(stt), name))
    }

    fn remote_llm(&self) -> Found<Arc<dyn LanguageModel>> {
        let settings = needed(self.config.remote.llm_server())?;
        let llm = RemoteLlm::new(self.network().map_err(missing)?, settings);
        self.standings.borrow_mut().push(("llm", llm.standing()));
        let name = llm.name();
        Ok((Arc::new(llm), name))
    }

    pub fn remote_tts(&self) -> Found<Arc<dyn TextToSpeech>> {
        let settings = needed(self.config.remote.tts_server())?;
        let tts = RemoteTts::new(self.network().map_err(missing)?, settings);
        self.standings.borrow_mut().push(("tts", tts.standing()));
        let name = tts.name();
        Ok((Arc::new(tts), name))
    }
}

fn needed<T, E: std::fmt::Display>(settings: Result<Option<T>, E>) -> Result<T, (String, String)> {
    let settings = settings.map_err(|error| missing(error.to_string()))?;
    settings.ok_or_else(|| missing("set url in its section of [remote]".to_owned()))
}

fn missing(hint: String) -> (String, String) {
    (REMOTE.to_owned(), hint)
}
