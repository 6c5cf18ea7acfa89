//! Which calls are let in: a fixed number of places, a clear refusal beyond, and a drain at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signaling::line::{CallId, ConversationId, Line, Refusal, Seat, Session, SessionPatch, Switchboard, TurnEnd};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use super::driver::{Writing, drive};
use super::record::Keeper;
use crate::readiness::{Readiness, Unready};

/// When a refused caller may try again: about the length of one short talk turn, so that a freed place is found soon.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a session is when the client asks for nothing else.
#[derive(Debug, Clone)]
pub struct SessionDefaults {
    pub instructions: String,
    /// Empty: the first voice there is.
    pub voice: String,
    /// BCP 47, or `None` for automatic.
    pub language: Option<String>,
    pub turn_end: TurnEnd,
    pub interrupt_response: bool,
    pub temperature: f64,
    /// Longest reply, tokens.
    pub max_reply_tokens: usize,
}

/// Takes calls from every door.
pub struct Exchange {
    /// What calls are made with, once it is there.
    readiness: Arc<Readiness>,
    keeper: Arc<dyn Keeper>,
    defaults: SessionDefaults,
    limit: usize,
    places: Arc<Semaphore>,
    draining: AtomicBool,
    /// How many calls run.
    active: watch::Sender<usize>,
}

impl Exchange {
    /// At most `limit` calls at once.
    pub fn new(readiness: Arc<Readiness>, keeper: Arc<dyn Keeper>, defaults: SessionDefaults, limit: usize) -> Self {
        Self {
            readiness,
            keeper,
            defaults,
            limit,
            places: Arc::new(Semaphore::new(limit)),
            draining: AtomicBool::new(false),
            active: watch::Sender::new(0),
        }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Calls that run.
    pub fn active(&self) -> usize {
        *self.active.borrow()
    }

    /// The same as it changes.
    pub fn watch_active(&self) -> watch::Receiver<usize> {
        self.active.subscribe()
    }

    /// Places taken: by calls, and by those that are just connecting.
    pub fn taken(&self) -> usize {
        self.limit.saturating_sub(self.places.available_permits())
    }

    /// Lets no more calls in.
    pub fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Waits at most `grace` for the calls that run.
    pub async fn drain(&self, grace: Duration) {
        let mut active = self.active.subscribe();
        let ended = active.wait_for(|active| *active == 0);
        let _ = tokio::time::timeout(grace, ended).await;
    }

    fn session(&self, call: CallId, model: String, asked: &SessionPatch) -> Session {
        let defaults = &self.defaults;
        Session {
            call,
            conversation: asked.conversation.clone().unwrap_or_else(ConversationId::fresh),
            model,
            instructions: asked.instructions.clone().unwrap_or_else(|| defaults.instructions.clone()),
            voice: asked.voice.clone().unwrap_or_else(|| defaults.voice.clone()),
            language: asked.language.clone().unwrap_or_else(|| defaults.language.clone()),
            turn_end: asked.turn_end.unwrap_or(defaults.turn_end),
            create_response: asked.create_response.unwrap_or(true),
            interrupt_response: asked.interrupt_response.unwrap_or(defaults.interrupt_response),
        }
    }
}

impl Switchboard for Exchange {
    fn admit(&self) -> Result<Seat, Refusal> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining { retry_after: RETRY_AFTER });
        }
        match self.readiness.calls() {
            Ok(_) => {}
            Err(Unready::Loading { percent }) => return Err(Refusal::Loading { percent, retry_after: RETRY_AFTER }),
            Err(Unready::Missing(missing)) => {
                return Err(Refusal::EngineMissing { what: missing.what, hint: missing.hint });
            }
        }
        let full = |_| Refusal::Full { limit: self.limit, retry_after: RETRY_AFTER };
        Arc::clone(&self.places).try_acquire_owned().map(Seat::new).map_err(full)
    }

    fn connect(&self, line: Line, seat: Seat) {
        // None is admitted without engines.
        let Ok(engines) = self.readiness.calls() else { return };
        let session = self.session(line.call.clone(), engines.llm.name(), &line.session);
        let writing = Writing { temperature: self.defaults.temperature, max_tokens: self.defaults.max_reply_tokens };
        let span = tracing::info_span!("call", id = %line.call);
        let call = drive(line, session, writing, engines, Arc::clone(&self.keeper)).instrument(span);
        let counted = Counted::new(&self.active);
        tokio::spawn(async move {
            call.await;
            drop(counted);
            drop(seat);
        });
    }
}

/// Counts a call for as long as it lives, even if its task panics.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(active: &watch::Sender<usize>) -> Self {
        active.send_modify(|active| *active += 1);
        Self(active.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|active| *active = active.saturating_sub(1));
    }
}
