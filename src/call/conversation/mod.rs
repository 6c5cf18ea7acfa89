//! The conversation of one call: hears the caller, decides when to answer, speaks, and knows what was heard.
//!
//! Pure: [`Conversation::handle`] takes what happened and when, [`Conversation::next_step`] gives what to do; there is no clock,
//! task, socket or engine in here. A turn goes like this:
//!
//! 1. The floor says *started*: a [`Turn`] is opened, a reply that is playing is cut.
//! 2. While the caller speaks, the growing utterance is transcribed again and again for partials.
//! 3. The floor says *paused*: the final transcript and the turn model's opinion are asked for at once, and where both say
//!    "finished" a reply is begun and held back. If the caller goes on, all of it is thrown away.
//! 4. The floor says *over*: what was prepared is released, or what is still missing is waited for.

mod commands;
mod hearing;
mod leaving;
mod replying;
mod turn;

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use signaling::line::{CallEvent, ConversationId, Item, ResumedFrom, Session, Timings};

pub use self::leaving::{Resumable, Return};
use self::replying::LiveReply;
use self::turn::{Asked, Ledger, Turn};
use super::dialogue::Dialogue;
use super::floor::{Floor, FloorSettings};
use super::step::{AskId, Input, Step};
use super::utterance::Utterance;

/// What a conversation is told at its start.
#[derive(Debug, Clone)]
pub struct Opening {
    pub session: Session,
    pub door: &'static str,
    /// Whose the conversation is; see [`signaling::line::Line::owner`].
    pub owner: Option<String>,
    pub floor: FloorSettings,
    /// Voices that can be chosen; another name means the first.
    pub voices: Vec<String>,
    /// Items of an earlier call of the same conversation.
    pub earlier: Vec<Item>,
    /// It goes on with a session that was kept.
    pub resumed: bool,
    /// How another line may take over, where it may.
    pub resumable: Option<Resumable>,
    /// Wall-clock time at the call's start, for the history.
    pub epoch: (Instant, SystemTime),
}

/// The state of one call.
pub struct Conversation {
    session: Session,
    door: &'static str,
    owner: Option<String>,
    voices: Vec<String>,
    epoch: (Instant, SystemTime),
    floor: Floor,
    utterance: Utterance,
    /// Length of the caller's audio so far: the caller's clock.
    heard: Duration,
    dialogue: Dialogue,
    /// What the caller is saying.
    turn: Option<Turn>,
    /// What was typed since the last reply.
    typed: Option<Asked>,
    /// Turns that are over and whose text is not there yet.
    awaiting_text: Vec<Turn>,
    /// The reply that is being prepared, made or played.
    reply: Option<LiveReply>,
    /// Replies that were cut, until their end is written down.
    closing: Vec<LiveReply>,
    asks: u64,
    /// There is no line: nothing can be told or played.
    away: bool,
    /// When the caller was last heard of.
    contact: Option<Instant>,
    steps: VecDeque<Step>,
}

impl Conversation {
    pub fn new(opening: Opening) -> Self {
        let Opening { mut session, door, owner, floor, voices, earlier, resumed, resumable, epoch } = opening;
        session.voice = choose_voice(&voices, &session.voice);
        let mut floor_settings = floor;
        floor_settings.turn_end = session.turn_end;
        let mut conversation = Self {
            session,
            door,
            owner,
            voices,
            epoch,
            floor: Floor::new(floor_settings),
            utterance: Utterance::default(),
            heard: Duration::ZERO,
            dialogue: Dialogue::with_items(earlier),
            turn: None,
            typed: None,
            awaiting_text: Vec::new(),
            reply: None,
            closing: Vec::new(),
            asks: 0,
            away: false,
            contact: None,
            steps: VecDeque::new(),
        };
        conversation.open(resumed, resumable);
        conversation
    }

    fn open(&mut self, resumed: bool, resumable: Option<Resumable>) {
        self.tell(CallEvent::SessionCreated(self.session.clone()));
        if resumed {
            let conversation = self.session.conversation.clone();
            self.tell(CallEvent::SessionResumed { conversation, from: ResumedFrom::History, reply: None });
        }
        if let Some(next) = resumable {
            self.tell_resumable(next);
        }
        self.keep_session();
    }

    /// A voice that was added since the call began can be chosen.
    pub fn learn_voice(&mut self, id: String) {
        if !self.voices.contains(&id) {
            self.voices.push(id);
        }
    }

    /// A voice is not there any more; answers which one speaks in its stead.
    pub fn forget_voice(&mut self, id: &str) -> String {
        self.voices.retain(|voice| voice != id);
        self.session.voice = choose_voice(&self.voices, &self.session.voice);
        self.session.voice.clone()
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match &input {
            Input::Heard { audio, .. } if !audio.concealed => self.contact = Some(audio.arrived),
            Input::Command(_) => self.contact = Some(now),
            _ => {}
        }
        match input {
            Input::Heard { audio, voicing } => self.hear(now, &audio, &voicing),
            Input::Judged { pause, sounds_finished } => self.judged(now, pause, sounds_finished),
            Input::Transcribed { ask, result } => self.transcribed(now, ask, result),
            Input::Wrote { reply, piece } => self.wrote(now, &reply, piece),
            Input::Voiced { reply, sentence, made } => self.voiced(now, &reply, sentence, made),
            Input::Playout(playout) => self.played(now, playout),
            Input::Command(command) => self.obey(now, command),
            Input::Kept { reply, result } => self.kept(&reply, result),
            Input::Corrected(items) => self.correct(items),
            Input::Deleted => self.forget_what_was_kept(),
        }
    }

    /// The next thing to do; call until `None` after each [`Self::handle`].
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The call is over: what is unfinished is written down as it stands.
    pub fn end(&mut self) {
        self.cut_everything();
        self.keep_awaiting();
    }

    /// Whether somebody speaks, or what was said has yet to be answered or played: the call needs the engines.
    pub fn is_engaged(&self) -> bool {
        self.turn.is_some() || self.reply.is_some() || !self.awaiting_text.is_empty() || !self.closing.is_empty()
    }

    pub fn id(&self) -> &ConversationId {
        &self.session.conversation
    }

    fn tell(&mut self, event: CallEvent) {
        self.on_the_line(Step::Tell(event));
    }

    /// A step that needs a line; without one it is left out.
    fn on_the_line(&mut self, step: Step) {
        if !self.away {
            self.steps.push_back(step);
        }
    }

    fn next_ask(&mut self) -> AskId {
        self.asks += 1;
        AskId(self.asks)
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger { session: &self.session, door: self.door, owner: self.owner.as_deref(), epoch: self.epoch }
    }
}

/// The voice of that name (with or without its engine), or the first.
fn choose_voice(voices: &[String], wanted: &str) -> String {
    let fits = |voice: &&String| {
        *voice == wanted || voice.split_once('/').is_some_and(|(_, name)| !wanted.is_empty() && name == wanted)
    };
    voices.iter().find(fits).or(voices.first()).cloned().unwrap_or_default()
}

/// Timings of a turn whose voice ended at `voice_end`.
#[derive(Debug, Clone, Default)]
struct Clocked {
    voice_end: Option<Instant>,
    timings: Timings,
}

impl Clocked {
    /// A stage was reached, unless it had been before.
    fn mark(&mut self, now: Instant, slot: impl FnOnce(&mut Timings) -> &mut Option<Duration>) {
        let slot = slot(&mut self.timings);
        if let (None, Some(voice_end)) = (*slot, self.voice_end) {
            *slot = Some(now.saturating_duration_since(voice_end));
        }
    }
}
