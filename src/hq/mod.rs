//! The better voice of the history: every reply is rendered again, with more care than there was time for while somebody waited.
//!
//! Which replies, and how far each is, is the history's ([`crate::history::renders`]); this is who makes them. A [`renderer::Renderer`] takes one at a
//! time, says it sentence by sentence ([`script`]) with the best voice there is ([`voices`]), and makes one file of it at one loudness
//! ([`master`]). Any live call goes first ([`quiet`]): the sentence in work is dropped within one chunk of its engine, and said again when
//! it is quiet; those before it are kept.

pub mod master;
pub mod quiet;
pub mod renderer;
pub mod script;
pub mod voices;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tracing::{info, warn};

use self::quiet::Quiet;
use self::renderer::{RenderSettings, Renderer};
use crate::config::{Config, HQ_OFF};
use crate::engines::{self, EngineReport, EngineState};
use crate::history::History;
use crate::readiness::{HQ, Readiness};

/// Opens the better voice once calls have their engines, and renders until the server stops. Returns at once where it is off.
pub async fn serve(
    config: Config,
    readiness: Arc<Readiness>,
    history: Arc<History>,
    mut stopping: watch::Receiver<bool>,
) {
    let wanted = config.hq.engine.clone();
    if wanted == HQ_OFF {
        return;
    }
    // Turns may come before the voice is there; they wait for it.
    history.render_replies(true);
    let settings = RenderSettings { bitrate: config.hq.bitrate, keep_fast: config.hq.keep_fast };
    let quiet = Quiet::new(history.calls(), config.hq.beside_calls);
    let opened = tokio::select! {
        biased;
        _ = stopping.wait_for(|stopping| *stopping) => return,
        opened = open(config, Arc::clone(&readiness)) => opened,
    };
    let tell = |name: String, state| readiness.tell(EngineReport { kind: HQ, name, state });
    match opened {
        Ok(voices) => {
            let name = voices.name();
            info!(name, "replies are rendered again");
            tell(name, EngineState::Ready);
            let clock = Arc::new(SystemTime::now);
            Renderer { history, voices, quiet, settings, clock, stopping }.run().await;
        }
        Err(hint) => {
            warn!(wanted, hint, "replies are not rendered again");
            // They would wait for ever.
            history.render_replies(false);
            tell(wanted, EngineState::Missing { hint, needed: false });
        }
    }
}

async fn open(config: Config, readiness: Arc<Readiness>) -> Result<voices::HqVoices, String> {
    // Whether or not calls can be taken: the voice may be there without the ear.
    let _ = readiness.known().await;
    let opening = move || {
        let tell = |report: EngineReport| readiness.tell(report);
        engines::open_hq(&config, readiness.tts().ok(), &tell)
    };
    match tokio::task::spawn_blocking(opening).await {
        Ok(opened) => opened,
        Err(_) => Err("opening it panicked; the log says where".to_owned()),
    }
}

#[cfg(test)]
mod tests;
