//! The one task a call has: owns its clock and channels, gives the conversation what happens, carries out what it wants.

mod asking;
mod voicing;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use models::llm::{LanguageModel, Sampling};
use models::stt::{SpeechToText, TranscribeRequest};
use models::tts::{SpeakRequest, TextToSpeech};
use models::vad::{TurnModel, VoiceDetector};
use signaling::line::{Ask, CallEvent, FromCaller, HangUp, Line, Session, SessionPatch, ToCaller};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use self::voicing::Voicing;
use super::attendance::{Change, Told};
use super::conversation::{Conversation, Opening, Resumable, Return};
use super::floor::FloorSettings;
use super::place::Place;
use super::record::Keeper;
use super::resumption::{Attach, Resumptions, TokenHash, fresh_token};
use super::step::{Input, Step};
use super::tasks::Tasks;
use super::wardrobe::Wardrobe;

/// How many answers of engines may wait for the call; when full the engines' tasks wait, and with them the engines' streams.
const ANSWERS_BOUND: usize = 256;
/// A door that takes nothing for this long is gone.
const DOOR_PATIENCE: Duration = Duration::from_secs(5);

/// What all calls share.
#[derive(Clone)]
pub struct Engines {
    pub vad: Arc<dyn VoiceDetector>,
    /// Without one, turns end by silence and words alone.
    pub turn: Option<Arc<dyn TurnModel>>,
    pub stt: Arc<dyn SpeechToText>,
    pub llm: Arc<dyn LanguageModel>,
    pub tts: Arc<dyn TextToSpeech>,
}

/// How replies are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Writing {
    /// 0.0 always takes the likeliest word; small models talk nonsense above 0.5.
    pub temperature: f64,
    pub max_tokens: usize,
}

impl Writing {
    fn sampling(self) -> Sampling {
        // Replies need not repeat; nobody needs to foresee them either.
        let seed =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos().into());
        Sampling {
            temperature: self.temperature,
            repeat_penalty: 1.1,
            max_tokens: self.max_tokens,
            seed,
            ..Sampling::default()
        }
    }
}

/// How a call may outlive its line.
pub struct Stay {
    /// How long another line is waited for once one is lost; zero: not at all.
    pub patience: Duration,
    /// How long its session is kept in the history; zero: not at all.
    pub kept_for: Duration,
    /// The call goes on with a session that was kept.
    pub resumed: bool,
    /// Where lines that take over come from.
    pub calls: Resumptions,
    /// Given up when it waits for a line and another call needs it.
    pub place: Place,
    /// Becomes true when the server stops: nobody is waited for any more.
    pub stopping: watch::Receiver<bool>,
}

/// While another line is being connected, how often to look whether it has come to nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Drives one call until either end hangs up, or its line is lost and no other comes.
pub async fn drive(
    line: Line,
    session: Session,
    writing: Writing,
    engines: Engines,
    keeper: Arc<dyn Keeper>,
    wardrobe: Wardrobe,
    stay: Stay,
) {
    let (answers_tx, mut answers) = mpsc::channel(ANSWERS_BOUND);
    let Line { call, door, session: _, owner, incoming, outgoing } = line;
    let earlier = match keeper.recall(&session.conversation).await {
        Ok(items) => items,
        Err(error) => {
            warn!(%call, %error, "the earlier conversation cannot be read; starting anew");
            Vec::new()
        }
    };
    let mut attendance = keeper.attend(&session.conversation);
    let Stay { patience, kept_for, resumed, calls, place, mut stopping } = stay;
    let token = fresh_token();
    let (listed, mut lines, mut ending) = calls.list(&token, call.clone(), owner.clone(), place);
    let hash = TokenHash::of(&token);
    let expires_after = patience.max(kept_for);
    let resumable = (!expires_after.is_zero()).then_some(Resumable { token, expires_after });
    let voices = engines.tts.voices().iter().map(|voice| voice.id.clone());
    let voices = voices.chain(wardrobe.added_voice(&*engines.tts, owner.as_deref(), &session.voice)).collect();
    let opening = Opening {
        session,
        door,
        owner: owner.clone(),
        floor: FloorSettings::default(),
        voices,
        earlier,
        resumed,
        resumable,
        epoch: (now(), SystemTime::now()),
    };
    let mut driver = Driver {
        voicing: Voicing::new(engines.vad.stream()),
        conversation: Conversation::new(opening),
        engines,
        writing,
        keeper,
        wardrobe,
        outgoing: Some(outgoing),
        answers: answers_tx,
        tasks: Tasks::default(),
        ticket: Ticket { owner, hash, kept_for, expires_after },
    };
    info!(%call, door, "call begins");
    let mut incoming = Some(incoming);
    // Until when another line is waited for.
    let mut until: Option<Instant> = None;
    let hang_up = loop {
        let lost = if driver.carry_out().await.is_err() {
            true
        } else {
            let has_line = incoming.is_some();
            // A call that waits for another line lets work that can wait go on.
            attendance.set_engaged(has_line && driver.conversation.is_engaged());
            // Answers first: they are what a person waits for, and each makes room for the next.
            tokio::select! {
                biased;
                Some(input) = answers.recv() => {
                    driver.conversation.handle(now(), input);
                    false
                }
                Some(attach) = lines.recv() => {
                    info!(%call, into = %attach.line.call, door = attach.line.door, "call goes on");
                    until = None;
                    listed.set_waiting(None);
                    incoming = Some(driver.attach(attach));
                    false
                }
                message = hear_from(incoming.as_mut()) => match message {
                    Some(FromCaller::HungUp(HangUp::Vanished)) | None => true,
                    Some(FromCaller::HungUp(reason)) => break reason,
                    Some(message) => {
                        driver.hear(message);
                        false
                    }
                },
                told = attendance.told(has_line) => match told {
                    Told::Better(audio) => driver.send(ToCaller::Event(CallEvent::HqReady(audio))).await.is_err(),
                    Told::Changed(change) => {
                        driver.changed(change).await;
                        false
                    }
                },
                why = ended(&mut ending), if !has_line => break why,
                () = given_up(until, &mut stopping) => {
                    if *stopping.borrow() || listed.leave() {
                        break HangUp::Vanished;
                    }
                    until = Some(now() + LOOK_AGAIN);
                    false
                }
            }
        };
        if lost {
            // Whoever has hung up by another way closes the line as well.
            if let Some(why) = *ending.borrow() {
                break why;
            }
            if patience.is_zero() {
                break HangUp::Vanished;
            }
            info!(%call, "the line is lost; another may take over");
            (incoming, until) = (None, Some(now() + patience));
            listed.set_waiting(Some(now()));
            driver.leave();
        }
    };
    // Answers are taken no more, so that nobody waits to give one.
    drop((answers, lines, listed));
    driver.end(hang_up).await;
    info!(%call, ?hang_up, "call ended");
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Why the call is ended without its line; never, while it is not.
async fn ended(ending: &mut watch::Receiver<Option<HangUp>>) -> HangUp {
    match ending.wait_for(Option::is_some).await.ok().and_then(|why| *why) {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

/// What the line brings next; without one, nothing ever.
async fn hear_from(incoming: Option<&mut mpsc::Receiver<FromCaller>>) -> Option<FromCaller> {
    match incoming {
        Some(incoming) => incoming.recv().await,
        None => std::future::pending().await,
    }
}

/// Until nobody is waited for any more: at `until`, or when the server stops; never, while there is a line.
async fn given_up(until: Option<Instant>, stopping: &mut watch::Receiver<bool>) {
    let Some(until) = until else { return std::future::pending().await };
    let stopped = stopping.wait_for(|stopping| *stopping);
    let _either = tokio::time::timeout_at(until.into(), stopped).await;
}

/// The door takes nothing any more.
struct Gone;

struct Driver {
    conversation: Conversation,
    voicing: Voicing,
    engines: Engines,
    writing: Writing,
    keeper: Arc<dyn Keeper>,
    wardrobe: Wardrobe,
    /// `None` while there is no line.
    outgoing: Option<mpsc::Sender<ToCaller>>,
    answers: mpsc::Sender<Input>,
    tasks: Tasks,
    ticket: Ticket,
}

/// By what the session is found again.
struct Ticket {
    owner: Option<String>,
    hash: TokenHash,
    kept_for: Duration,
    /// How long the token is good for anything.
    expires_after: Duration,
}

impl Driver {
    fn hear(&mut self, message: FromCaller) {
        let input = match message {
            FromCaller::Audio(audio) => {
                let voicing = self.voicing.hear(&audio.samples);
                Input::Heard { audio, voicing }
            }
            FromCaller::Command(command) => {
                if let Ask::UpdateSession(patch) = &command.ask {
                    self.learn_voice(patch);
                }
                Input::Command(command)
            }
            FromCaller::Playout(playout) => Input::Playout(playout),
            FromCaller::HungUp(_) => return,
        };
        self.conversation.handle(now(), input);
    }

    /// The line is lost: the door is told by its end.
    fn leave(&mut self) {
        self.outgoing = None;
        self.conversation.leave(now());
    }

    /// Another line takes over; gives what comes from it.
    fn attach(&mut self, attach: Attach) -> mpsc::Receiver<FromCaller> {
        let Attach { line: Line { call, door, session: patch, owner: _, incoming, outgoing }, token } = attach;
        self.outgoing = Some(outgoing);
        self.voicing = Voicing::new(self.engines.vad.stream());
        self.ticket.hash = TokenHash::of(&token);
        let next = Resumable { token, expires_after: self.ticket.expires_after };
        self.learn_voice(&patch);
        self.conversation.resume(now(), Return { call, door, patch, next });
        incoming
    }

    /// Does all that the conversation wants done.
    async fn carry_out(&mut self) -> Result<(), Gone> {
        while let Some(step) = self.conversation.next_step() {
            match step {
                Step::Tell(event) => {
                    note(&event);
                    self.send(ToCaller::Event(event)).await?;
                }
                Step::Play { reply, pcm } => self.send(ToCaller::Speak { reply, pcm }).await?,
                Step::FinishPlayout { reply } => self.send(ToCaller::Finish { reply }).await?,
                Step::CutPlayout { reply } => self.send(ToCaller::Cut { reply }).await?,
                Step::Transcribe { ask, audio, language, urgency, speech } => {
                    let request = TranscribeRequest { audio, language, urgency, speech: Some(speech) };
                    self.transcribe(ask, urgency, request);
                }
                Step::Judge { pause, audio } => self.judge(pause, audio.to_vec()),
                Step::Generate { reply, messages } => self.generate(reply, messages),
                Step::Synthesize { reply, sentence, text, voice, deadline } => {
                    let voice = self.present(voice);
                    self.synthesize(reply, sentence, SpeakRequest { text, voice, deadline });
                }
                Step::Abandon { reply } => self.tasks.abandon(&reply),
                other @ (Step::Keep(_) | Step::Amend(_) | Step::KeepSession(_)) => self.keep(other),
            }
        }
        Ok(())
    }

    /// A voice that was added since the call began can be chosen too.
    fn learn_voice(&mut self, patch: &SessionPatch) {
        let owner = self.ticket.owner.as_deref();
        let added = |voice: &str| self.wardrobe.added_voice(&*self.engines.tts, owner, voice);
        if let Some(added) = patch.voice.as_deref().and_then(added) {
            self.conversation.learn_voice(added);
        }
    }

    /// Somebody changed what was said: the next reply is to what is true now.
    async fn changed(&mut self, change: Change) {
        let input = match change {
            Change::Corrected(items) => Input::Corrected(items),
            Change::Deleted => Input::Deleted,
            Change::Missed => match self.keeper.recall(self.conversation.id()).await {
                Ok(items) => Input::Corrected(items.into_iter().map(|item| (item.id, item.text)).collect()),
                Err(error) => {
                    warn!(%error, "what was changed of the conversation cannot be read; the call goes on as it was");
                    return;
                }
            },
        };
        self.conversation.handle(now(), input);
    }

    /// The voice, or the default one if it has been removed since it was chosen.
    fn present(&mut self, voice: String) -> String {
        if voice.is_empty() || self.engines.tts.has_voice(&voice) {
            return voice;
        }
        warn!(voice, "the chosen voice is gone; the default one speaks");
        self.conversation.forget_voice(&voice)
    }

    async fn send(&mut self, message: ToCaller) -> Result<(), Gone> {
        let Some(outgoing) = &self.outgoing else { return Ok(()) };
        match tokio::time::timeout(DOOR_PATIENCE, outgoing.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// The call is over: writes down what is unfinished, and lets go of everything else.
    async fn end(mut self, why: HangUp) {
        self.conversation.end();
        while let Some(step) = self.conversation.next_step() {
            self.keep(step);
        }
        if why == HangUp::ByCaller && !self.ticket.kept_for.is_zero() {
            // Whoever says goodbye does not come back.
            let forgotten = self.keeper.forget_session(self.conversation.id());
            self.tasks.keep(async move {
                if let Err(error) = forgotten.await {
                    warn!(%error, "a session that is over could not be forgotten");
                }
            });
        }
        if let Some(outgoing) = &self.outgoing {
            let _ = outgoing.try_send(ToCaller::HangUp);
        }
        self.engines.llm.forget(self.conversation.id().as_str());
        self.tasks.finish().await;
    }
}

/// One line a stage of a turn, without what was said.
fn note(event: &CallEvent) {
    match event {
        CallEvent::Timings(timings) => info!(
            reply = timings.reply.as_ref().map(|reply| reply.as_str()),
            turn_commit = ?timings.turn_commit,
            text_final = ?timings.text_final,
            first_token = ?timings.first_token,
            first_sentence = ?timings.first_sentence,
            first_audio = ?timings.first_audio,
            first_packet = ?timings.first_packet,
            "turn"
        ),
        CallEvent::Failed(fault) => warn!(code = fault.code, message = fault.message, "told the caller of a fault"),
        _ => {}
    }
}
