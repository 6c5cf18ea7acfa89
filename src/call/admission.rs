//! Which calls are let in: a fixed number of places, a clear refusal beyond, and a drain at the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use signaling::grant::Grant;
use signaling::line::{Asking, CallId, ConversationId, Line, Refusal, Seat, Session, Switchboard, TurnEnd};
use signaling::secret::Secret;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use super::allowance::{Allowances, Bill, Good};
use super::driver::{Stay, Writing, drive, now};
use super::place::Place;
use super::record::{Keeper, SessionRecord, SessionSettings};
use super::resumption::{Resumptions, TokenHash};
use super::wardrobe::Wardrobe;
use crate::readiness::{Readiness, Unready};

/// When a refused caller may try again: about the length of one short talk turn, so that a freed place is found soon. After as
/// long a call without a line makes room.
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
    /// How long a call that has lost its line waits for another; zero: not at all.
    pub resume: Duration,
    /// How long a session can be gone on with when its call has ended; zero: not at all.
    pub resume_from_history: Duration,
}

#[cfg(test)]
impl SessionDefaults {
    /// For tests of what lies round calls.
    pub(crate) fn plain() -> Self {
        Self {
            instructions: String::new(),
            voice: String::new(),
            language: None,
            turn_end: TurnEnd::Semantic,
            interrupt_response: true,
            temperature: 0.0,
            max_reply_tokens: 1,
            resume: Duration::ZERO,
            resume_from_history: Duration::ZERO,
        }
    }
}

/// Takes calls from every door.
pub struct Exchange {
    /// What calls are made with, once it is there.
    readiness: Arc<Readiness>,
    keeper: Arc<dyn Keeper>,
    wardrobe: Wardrobe,
    defaults: SessionDefaults,
    limit: usize,
    places: Arc<Semaphore>,
    /// What keys that were given out may use; without, no less than the server's own.
    allowances: Option<Allowances>,
    /// No more calls are let in, and none waits for another line.
    draining: watch::Sender<bool>,
    /// How many calls run.
    active: watch::Sender<usize>,
    resumptions: Resumptions,
}

impl Exchange {
    /// At most `limit` calls at once.
    pub fn new(readiness: Arc<Readiness>, keeper: Arc<dyn Keeper>, defaults: SessionDefaults, limit: usize) -> Self {
        Self {
            readiness,
            wardrobe: Wardrobe::new(Arc::clone(&keeper), &defaults.voice),
            keeper,
            defaults,
            limit,
            places: Arc::new(Semaphore::new(limit)),
            allowances: None,
            draining: watch::Sender::new(false),
            active: watch::Sender::new(0),
            resumptions: Resumptions::default(),
        }
    }

    /// With a share of calls and talk for each key that was given out.
    pub fn with_allowances(self, allowances: Allowances) -> Self {
        Self { allowances: Some(allowances), ..self }
    }

    /// Lets a key use an engine by itself, if it has some of that left today; see [`Allowances::bill`].
    pub fn bill(&self, grant: Option<&Grant>, good: Good) -> Result<Bill, Refusal> {
        let counted = self.allowances.as_ref().zip(grant);
        counted.map_or(Ok(Bill::default()), |(allowances, grant)| allowances.bill(grant, good, SystemTime::now()))
    }

    /// Which of the voices that were added a caller may use.
    pub fn wardrobe(&self) -> &Wardrobe {
        &self.wardrobe
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
        self.draining.send_replace(true);
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

    /// A place for one more call. A call that has been without a line for a while is ended where it takes somebody's place: its
    /// caller may be gone for good, and still finds the talk in the history.
    fn place(&self, grant: Option<&Grant>) -> Result<Place, Refusal> {
        let waiting_since = now().checked_sub(RETRY_AFTER);
        let make_room =
            |owner: Option<&str>| waiting_since.is_some_and(|since| self.resumptions.make_room(since, owner));
        let own = self
            .allowances
            .as_ref()
            .zip(grant)
            .map(|(allowances, grant)| allowances.place(grant, SystemTime::now(), || make_room(Some(&grant.key))));
        let own = own.transpose()?;
        loop {
            match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => return Ok(Place::new(place, own)),
                Err(_) if make_room(None) => {}
                Err(_) => return Err(Refusal::Full { limit: self.limit, retry_after: RETRY_AFTER }),
            }
        }
    }

    /// The session that a token names to `owner`, and that no call keeps any longer.
    fn kept(&self, token: &Secret, owner: Option<&str>) -> Option<SessionRecord> {
        self.keeper.session(&TokenHash::of(token)).filter(|kept| kept.owner.as_deref() == owner)
    }

    /// What the client asks for, over what was kept, over what is the default.
    fn session(&self, model: String, line: &Line, kept: Option<SessionRecord>) -> Session {
        let asked = &line.session;
        let (conversation, defaults) = match kept {
            Some(SessionRecord { conversation, settings, .. }) => (Some(conversation), settings),
            None => (asked.conversation.clone(), self.settings()),
        };
        // It was asked before; it may have been deleted since.
        let conversation = conversation.filter(|conversation| self.may_continue(conversation, line.owner.as_deref()));
        Session {
            call: line.call.clone(),
            conversation: conversation.unwrap_or_else(ConversationId::fresh),
            model,
            instructions: asked.instructions.clone().unwrap_or(defaults.instructions),
            voice: asked.voice.clone().unwrap_or(defaults.voice),
            language: asked.language.clone().unwrap_or(defaults.language),
            turn_end: asked.turn_end.unwrap_or(defaults.turn_end),
            create_response: asked.create_response.unwrap_or(defaults.create_response),
            interrupt_response: asked.interrupt_response.unwrap_or(defaults.interrupt_response),
        }
    }

    fn settings(&self) -> SessionSettings {
        let defaults = &self.defaults;
        SessionSettings {
            instructions: defaults.instructions.clone(),
            voice: defaults.voice.clone(),
            language: defaults.language.clone(),
            turn_end: defaults.turn_end,
            create_response: true,
            interrupt_response: defaults.interrupt_response,
        }
    }
}

impl Switchboard for Exchange {
    fn admit(&self, asking: Asking<'_>) -> Result<Seat, Refusal> {
        if *self.draining.borrow() {
            return Err(Refusal::Draining { retry_after: RETRY_AFTER });
        }
        if let Some(token) = &asking.session.resume {
            // Its call has a place already, and one of its key's.
            if let Some(claim) = self.resumptions.claim(token, asking.owner()) {
                return Ok(Seat::new(claim));
            }
            self.kept(token, asking.owner()).ok_or(Refusal::ResumeTokenInvalid)?;
        }
        match self.readiness.calls() {
            Ok(_) => {}
            Err(Unready::Loading { percent }) => return Err(Refusal::Loading { percent, retry_after: RETRY_AFTER }),
            Err(Unready::Missing(missing)) => {
                return Err(Refusal::EngineMissing { what: missing.what, hint: missing.hint });
            }
        }
        if let Some(conversation) = &asking.session.conversation
            && !self.may_continue(conversation, asking.owner())
        {
            return Err(Refusal::NoSuchConversation(conversation.clone()));
        }
        Ok(Seat::new(self.place(asking.grant)?))
    }

    fn owner(&self, line: &CallId) -> Option<Option<String>> {
        self.resumptions.owner(line)
    }

    fn hang_up(&self, line: &CallId) -> bool {
        self.resumptions.hang_up(line)
    }

    fn connect(&self, line: Line, seat: Seat) {
        // None is admitted without engines.
        let Ok(engines) = self.readiness.calls() else { return };
        let owner = line.owner.clone();
        let resume = line.session.resume.clone();
        let Some(line) = self.resumptions.attach(line) else { return };
        let kept = resume.as_ref().and_then(|token| self.kept(token, owner.as_deref()));
        // A claim is worth nothing without the call that it was for.
        let place = seat.held::<Place>().filter(|_| resume.is_none() || kept.is_some());
        let Some(place) = place.cloned() else {
            tracing::info!(call = %line.call, "another line was quicker, or the call has ended; this one is hung up");
            return;
        };
        let resumed = kept.is_some();
        let session = self.session(engines.llm.name(), &line, kept);
        let SessionDefaults { resume, resume_from_history, .. } = self.defaults;
        let stay = Stay {
            patience: resume,
            kept_for: resume_from_history,
            resumed,
            calls: self.resumptions.clone(),
            place,
            stopping: self.draining.subscribe(),
        };
        let writing = Writing { temperature: self.defaults.temperature, max_tokens: self.defaults.max_reply_tokens };
        let span = tracing::info_span!("call", id = %line.call);
        let call = drive(line, session, writing, engines, Arc::clone(&self.keeper), self.wardrobe.clone(), stay)
            .instrument(span);
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
