//! The one task that renders: takes what is due, lets any live call go first, stores what was made.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use audio::pcm::Pcm;
use models::cancel::CancelOnDrop;
use models::error::EngineError;
use models::tts::{SpeakRequest, TextToSpeech};
use tokio::sync::watch;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::master::{MasterError, Mastered, Part, master};
use super::quiet::Quiet;
use super::script::{Line, script};
use super::voices::{Candidate, HqVoices};
use crate::config::KeepFast;
use crate::history::news::Listener;
use crate::history::renders::{ATTEMPTS_MAX, Rendered, Work};
use crate::history::{Done, History};

/// When a sentence is due: any call's are due before.
const DUE: Duration = Duration::from_secs(60);
/// The longest that one sentence may take to make; an engine that takes longer hangs.
const SENTENCE_PATIENCE: Duration = Duration::from_secs(300);
/// The longest reply that is rendered: some 20 MB of samples a minute are held while it is.
const LONGEST_REPLY: Duration = Duration::from_secs(600);
/// How often what is kept of fast audio is looked through.
const SWEEP: Duration = Duration::from_secs(3_600);
/// After the history refused a change.
const HISTORY_PATIENCE: Duration = Duration::from_secs(2);

/// The time, as the history has it.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How it renders.
#[derive(Debug, Clone, Copy)]
pub struct RenderSettings {
    /// Bits a second.
    pub bitrate: u32,
    pub keep_fast: KeepFast,
}

/// Renders until it is told to stop.
pub struct Renderer {
    pub history: Arc<History>,
    pub voices: HqVoices,
    pub quiet: Quiet,
    pub settings: RenderSettings,
    pub clock: Clock,
    pub stopping: watch::Receiver<bool>,
}

/// Why a reply was not made.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    #[error("no voice here speaks its language; set a server that does in [remote.tts]")]
    NoVoice,
    #[error("there is nothing in it to say")]
    NothingToSay,
    #[error("it is longer than {} minutes", LONGEST_REPLY.as_secs() / 60)]
    TooLong,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the voice did not finish a sentence within {} s", SENTENCE_PATIENCE.as_secs())]
    Hangs,
    #[error(transparent)]
    Master(#[from] MasterError),
    #[error("its encoding panicked")]
    Panicked,
}

impl RenderError {
    /// Whether another attempt would come to the same.
    fn is_for_good(&self) -> bool {
        match self {
            Self::NoVoice | Self::NothingToSay | Self::TooLong | Self::Master(_) | Self::Panicked => true,
            Self::Engine(error) => matches!(error, EngineError::BadRequest(_)),
            Self::Hangs => false,
        }
    }
}

impl Renderer {
    pub async fn run(mut self) {
        let Some(mut news) = self.until_stopped(listen(&self.history)).await else { return };
        let recovered = self.history.recover_renders((self.clock)());
        if let Some(found @ 1..) = self.changed(recovered).await {
            info!(found, "replies that were being rendered when the server ended are rendered again");
        }
        loop {
            self.sweep().await;
            let asleep = tokio::time::Instant::now() + SWEEP;
            while tokio::time::Instant::now() < asleep {
                if *self.stopping.borrow() {
                    return;
                }
                if let Some(work) = self.next_work().await {
                    self.render(work).await;
                    continue;
                }
                // Read before the wait, so that what comes now is heard.
                let due = self.due_in().map_or(asleep, |wait| asleep.min(tokio::time::Instant::now() + wait));
                let woken = self.until_stopped(async {
                    let _ = tokio::time::timeout_at(due, news.next()).await;
                });
                woken.await;
                while news.try_next().is_some() {}
            }
        }
    }

    /// What is due, once no call is in its way.
    async fn next_work(&mut self) -> Option<Work> {
        if !self.due_in().is_some_and(|wait| wait.is_zero()) {
            return None;
        }
        let mut quiet = self.quiet.clone();
        self.until_stopped(quiet.settled()).await?;
        let taken = self.history.next_render((self.clock)());
        self.changed(taken).await.flatten()
    }

    /// How long until the next render is due; `None` if none waits.
    fn due_in(&self) -> Option<Duration> {
        // One look into an index.
        let due = self.history.next_render_due().unwrap_or_else(|error| {
            warn!(%error, "what is to be rendered cannot be read");
            None
        })?;
        let due = SystemTime::UNIX_EPOCH + Duration::from_millis(due.unsigned_abs());
        Some(due.duration_since((self.clock)()).unwrap_or_default())
    }

    async fn render(&mut self, work: Work) {
        let turn = work.turn;
        let made = self.until_stopped(self.make(&work)).await;
        let now = (self.clock)();
        let written = match made {
            None => self.history.render_put_back(turn, now),
            Some(Ok(rendered)) => {
                info!(turn, voice = rendered.voice, length = ?rendered.duration, "reply rendered");
                let made = self.history.render_made(turn, rendered, now);
                Box::pin(async { made.await.map(drop) })
            }
            Some(Err(error)) => {
                let for_good = error.is_for_good();
                warn!(turn, %error, attempt = work.attempt, for_good, "reply not rendered");
                let chance = Uuid::new_v4().as_u128() as f64 / u128::MAX as f64;
                self.history.render_failed(turn, error.to_string(), for_good, now, chance)
            }
        };
        self.changed(written).await;
        if self.settings.keep_fast == KeepFast::UntilReady {
            self.sweep().await;
        }
    }

    /// Renders with the first voice that can; a voice that fails for now is tried again later, and in the last attempt the next stands in.
    async fn make(&self, work: &Work) -> Result<Rendered, RenderError> {
        let lines = script(&work.text);
        if lines.is_empty() {
            return Err(RenderError::NothingToSay);
        }
        let mut failed = RenderError::NoVoice;
        for candidate in self.voices.candidates(&work.text, &work.voice) {
            match self.make_with(&candidate, &lines).await {
                Ok(rendered) => return Ok(rendered),
                Err(error) if error.is_for_good() || work.attempt >= ATTEMPTS_MAX => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    async fn make_with(&self, candidate: &Candidate, lines: &[Line]) -> Result<Rendered, RenderError> {
        let mut quiet = self.quiet.clone();
        let mut parts = Vec::with_capacity(lines.len());
        let mut length = Duration::ZERO;
        for line in lines {
            let pcm = loop {
                if !quiet.is_now() {
                    debug!("a call goes first");
                    quiet.settled().await;
                }
                let mut watch = quiet.clone();
                tokio::select! {
                    biased;
                    // Letting go of it stops the engine within one chunk.
                    () = watch.broken() => {}
                    said = say(candidate, &line.text) => break said?,
                }
            };
            length += pcm.duration() + line.pause;
            if length > LONGEST_REPLY {
                return Err(RenderError::TooLong);
            }
            parts.push(Part { pcm, pause: line.pause });
        }
        let mastered = self.finish(parts, &mut quiet).await?;
        Ok(Rendered { file: mastered.file, duration: mastered.duration, voice: candidate.voice.clone() })
    }

    /// Makes one file of the sentences, which are all made.
    async fn finish(&self, parts: Vec<Part>, quiet: &mut Quiet) -> Result<Mastered, RenderError> {
        let (parts, bitrate): (Arc<[Part]>, _) = (parts.into(), self.settings.bitrate);
        loop {
            if !quiet.is_now() {
                quiet.settled().await;
            }
            let guard = CancelOnDrop::default();
            let (parts, stopped) = (Arc::clone(&parts), guard.watch());
            let work = tokio::task::spawn_blocking(move || master(&parts, bitrate, &stopped));
            let mut watch = quiet.clone();
            tokio::select! {
                biased;
                // Dropping the guard stops it.
                () = watch.broken() => {}
                done = work => return Ok(done.map_err(|_| RenderError::Panicked)??),
            }
        }
    }

    async fn sweep(&self) {
        let now = (self.clock)();
        let before = match self.settings.keep_fast {
            KeepFast::Always => return,
            KeepFast::UntilReady => Some(now),
            KeepFast::Days(days) => now.checked_sub(Duration::from_secs(u64::from(days) * 86_400)),
        };
        let Some(before) = before else { return };
        if let Some(dropped @ 1..) = self.changed(self.history.drop_fast_audio(before)).await {
            info!(dropped, "fast audio of rendered replies let go of");
        }
    }

    /// What came of a change to the history; `None` if it could not be made, which is logged.
    async fn changed<T>(&self, change: Done<T>) -> Option<T> {
        match change.await {
            Ok(done) => Some(done),
            Err(error) => {
                warn!(%error, "a render could not be written down");
                self.until_stopped(tokio::time::sleep(HISTORY_PATIENCE)).await;
                None
            }
        }
    }

    /// `None` if the server is told to stop first.
    async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            // Who could tell it to stop is gone: the same.
            _ = stopping.wait_for(|stopping| *stopping) => None,
            done = work => Some(done),
        }
    }
}

/// All places may be taken by others for now.
async fn listen(history: &History) -> Listener {
    loop {
        match history.news().listen() {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(HISTORY_PATIENCE).await,
        }
    }
}

async fn say(candidate: &Candidate, text: &str) -> Result<Pcm, RenderError> {
    match tokio::time::timeout(SENTENCE_PATIENCE, speak(candidate.speaks.as_ref(), &candidate.voice, text)).await {
        Ok(said) => Ok(said?),
        Err(_) => Err(RenderError::Hangs),
    }
}

async fn speak(speaks: &dyn TextToSpeech, voice: &str, text: &str) -> Result<Pcm, EngineError> {
    let deadline = std::time::Instant::now() + DUE;
    let speech = speaks.speak(SpeakRequest { text: text.to_owned(), voice: voice.to_owned(), deadline })?;
    let said = speech.whole().await?;
    let failed = || EngineError::Failed { engine: "the rendering voice", reason: "it made no sound".to_owned() };
    said.ok_or_else(failed)
}
