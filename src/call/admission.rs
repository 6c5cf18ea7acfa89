//! Which calls are let in: a fixed number of places, a clear refusal beyond, and a drain at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use signaling::grant::Grant;
use signaling::line::{CallId, ConversationId, Line, Refusal, Seat, Session, SessionPatch, Switchboard, TurnEnd};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use super::allowance::Allowances;
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
    /// What keys that were given out may use; without, no less than the server's own.
    allowances: Option<Allowances>,
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
            allowances: None,
            draining: AtomicBool::new(false),
            active: watch::Sender::new(0),
        }
    }

    /// With a share of calls and talk for each key that was given out.
    pub fn with_allowances(self, allowances: Allowances) -> Self {
        Self { allowances: Some(allowances), ..self }
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

    /// Whether a caller may go on with that conversation: the server's own keys with any, even one that is yet to begin.
    fn may_continue(&self, conversation: &ConversationId, owner: Option<&str>) -> bool {
        owner.is_none_or(|owner| self.keeper.is_open_to(conversation, owner))
    }

    fn session(&self, call: CallId, model: String, asked: &SessionPatch, owner: Option<&str>) -> Session {
        let defaults = &self.defaults;
        // The door has asked before; it may have been deleted since.
        let asked_for = asked.conversation.clone().filter(|conversation| self.may_continue(conversation, owner));
        Session {
            call,
            conversation: asked_for.unwrap_or_else(ConversationId::fresh),
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
    fn admit(&self, grant: Option<&Grant>, conversation: Option<&ConversationId>) -> Result<Seat, Refusal> {
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
        if let Some(conversation) = conversation
            && !self.may_continue(conversation, grant.map(|grant| grant.key.as_str()))
        {
            return Err(Refusal::NoSuchConversation(conversation.clone()));
        }
        let allowed = self.allowances.as_ref().zip(grant);
        let own = allowed.map(|(allowances, grant)| allowances.place(grant, SystemTime::now())).transpose()?;
        let full = |_| Refusal::Full { limit: self.limit, retry_after: RETRY_AFTER };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        Ok(Seat::new((place, own)))
    }

    fn connect(&self, line: Line, seat: Seat) {
        // None is admitted without engines.
        let Ok(engines) = self.readiness.calls() else { return };
        let owner = line.owner.clone();
        let session = self.session(line.call.clone(), engines.llm.name(), &line.session, owner.as_deref());
        let writing = Writing { temperature: self.defaults.temperature, max_tokens: self.defaults.max_reply_tokens };
        let span = tracing::info_span!("call", id = %line.call);
        let call = drive(line, session, writing, engines, Arc::clone(&self.keeper)).instrument(span);
        let counted = Counted::new(&self.active);
        let held = (counted, seat);
        match self.allowances.as_ref().zip(owner) {
            Some((allowances, owner)) => tokio::spawn(ended(allowances.charged(owner, call), held)),
            None => tokio::spawn(ended(call, held)),
        };
    }
}

/// Gives back what a call held, in this order, once it is over.
async fn ended(call: impl Future<Output = ()>, held: (Counted, Seat)) {
    call.await;
    let (counted, seat) = held;
    drop(counted);
    drop(seat);
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
