//! A house with scripted engines, and the caller at the other end of a line: speaks in 20 ms frames, plays what comes back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use avatar::call::admission::{Exchange, SessionDefaults};
use avatar::readiness::Readiness;
use signaling::grant::Grant;
use signaling::line::{
    Asking, CallEvent, CallId, CallerAudio, FromCaller, HangUp, Line, LineEnd, Outcome, Playout, ReplyId, Seat,
    SessionPatch, Switchboard, ToCaller, TurnEnd,
};
use signaling::secret::Secret;
use tokio::time::{Instant, sleep};

use super::engines::{Book, Script, Scripted};

const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: usize = 320;
/// Loud enough for the scripted detector.
pub const LOUD: f32 = 0.5;
/// Longer than anything here may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `avatar serve` puts together, of scripted parts.
pub struct House {
    pub engines: Scripted,
    pub book: Arc<Book>,
    pub exchange: Exchange,
}

pub fn defaults() -> SessionDefaults {
    SessionDefaults {
        instructions: "Be brief.".to_owned(),
        voice: String::new(),
        language: None,
        turn_end: TurnEnd::Semantic,
        interrupt_response: true,
        temperature: 0.0,
        max_reply_tokens: 100,
        resume: Duration::ZERO,
        resume_from_history: Duration::ZERO,
    }
}

impl House {
    pub fn new() -> Self {
        Self::with(Script::default())
    }

    pub fn with(script: Script) -> Self {
        Self::with_defaults(script, defaults())
    }

    pub fn with_defaults(script: Script, defaults: SessionDefaults) -> Self {
        let engines = Scripted::new(script);
        let book = Arc::new(Book::default());
        let exchange =
            Exchange::new(Arc::new(Readiness::settled(Ok(engines.engines()), Vec::new())), book.clone(), defaults, 5);
        Self { engines, book, exchange }
    }

    /// Somebody without a key who asks for nothing.
    pub fn anyone() -> Asking<'static> {
        static NOTHING: LazyLock<SessionPatch> = LazyLock::new(SessionPatch::default);
        Asking { grant: None, session: &NOTHING }
    }

    /// A caller who has been let in.
    pub fn call(&self) -> Caller {
        self.call_with(SessionPatch::default())
    }

    pub fn call_with(&self, session: SessionPatch) -> Caller {
        self.call_as(session, None)
    }

    /// A caller who holds a key that was given out.
    pub fn call_as(&self, session: SessionPatch, grant: Option<&Grant>) -> Caller {
        let seat = self.exchange.admit(Asking { grant, session: &session }).unwrap();
        self.connect(session, grant, seat)
    }

    /// A caller for whom there is a seat.
    pub fn connect(&self, session: SessionPatch, grant: Option<&Grant>, seat: Seat) -> Caller {
        let owner = grant.map(|grant| grant.key.clone());
        let (line, end) = Line::new(CallId::fresh(), "test", session, owner);
        let id = line.call.clone();
        self.exchange.connect(line, seat);
        Caller::new(id, end)
    }

    /// Waits until no call runs.
    pub async fn ended(&self) {
        self.exchange.drain(PATIENCE).await;
        assert_eq!(self.exchange.active(), 0, "a call goes on");
        // Tasks that were told to stop get their turn to do so.
        sleep(Duration::from_millis(1)).await;
    }
}

/// The test, as a door.
pub struct Caller {
    /// The line's.
    pub id: CallId,
    end: LineEnd,
    /// Everything told to the client.
    pub events: Vec<CallEvent>,
    /// The server has let go of the line.
    pub over: bool,
    queue: VecDeque<(ReplyId, Duration)>,
    played: HashMap<ReplyId, Duration>,
    finished: HashSet<ReplyId>,
}

impl Caller {
    fn new(id: CallId, end: LineEnd) -> Self {
        Self {
            id,
            end,
            events: Vec::new(),
            over: false,
            queue: VecDeque::new(),
            played: HashMap::new(),
            finished: HashSet::new(),
        }
    }

    /// The last token it was told.
    pub fn token(&self) -> Secret {
        let told = |event: &CallEvent| match event {
            CallEvent::SessionResumable { token, .. } => Some(token.clone()),
            _ => None,
        };
        self.events.iter().rev().find_map(told).unwrap()
    }

    pub async fn say(&mut self, ms: u64) {
        self.say_at(LOUD, ms).await;
    }

    pub async fn say_at(&mut self, amplitude: f32, ms: u64) {
        for _ in 0..ms / 20 {
            self.frame(vec![amplitude; FRAME_SAMPLES]).await;
        }
    }

    pub async fn silence(&mut self, ms: u64) {
        self.say_at(0.0, ms).await;
    }

    /// Is silent until `is` was told.
    pub async fn until(&mut self, is: impl Fn(&CallEvent) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.events.iter().any(&is) {
            assert!(!self.over, "the call has ended; told: {:?}", self.events);
            assert!(Instant::now() < deadline, "never told; told: {:?}", self.events);
            self.silence(20).await;
        }
    }

    /// Asks something and hears the whole answer.
    pub async fn exchange(&mut self) {
        let replies = self.outcomes().len();
        self.say(1_000).await;
        let deadline = Instant::now() + PATIENCE;
        while self.outcomes().len() == replies || !self.queue.is_empty() {
            assert!(Instant::now() < deadline, "no answer; told: {:?}", self.events);
            self.silence(20).await;
        }
        self.silence(100).await;
    }

    /// 20 ms of the call: a frame goes out, 20 ms of what is queued is played, what was told is taken.
    pub async fn frame(&mut self, samples: Vec<f32>) {
        let audio = CallerAudio { arrived: Instant::now().into_std(), samples, concealed: false };
        self.tell(FromCaller::Audio(audio));
        self.play();
        sleep(FRAME).await;
        self.take();
    }

    /// As a door does: what finds no room is dropped.
    pub fn tell(&mut self, message: FromCaller) {
        let _ = self.end.incoming.try_send(message);
    }

    fn play(&mut self) {
        let mut said = Vec::new();
        if let Some((reply, left)) = self.queue.front_mut() {
            let (reply, step) = (reply.clone(), (*left).min(FRAME));
            *left -= step;
            if left.is_zero() {
                self.queue.pop_front();
            }
            if !self.played.contains_key(&reply) {
                said.push(Playout::Started { reply: reply.clone(), at: Instant::now().into_std() });
            }
            let played = self.played.entry(reply.clone()).or_default();
            *played += step;
            said.push(Playout::Position { reply, played: *played });
        } else {
            let played = &self.played;
            let drained =
                |reply: ReplyId| Playout::Drained { played: played.get(&reply).copied().unwrap_or_default(), reply };
            said.extend(self.finished.drain().map(drained));
        }
        for playout in said {
            self.tell(FromCaller::Playout(playout));
        }
    }

    /// Takes what the call has sent.
    pub fn take(&mut self) {
        loop {
            match self.end.outgoing.try_recv() {
                Ok(ToCaller::Event(event)) => self.events.push(event),
                Ok(ToCaller::Speak { reply, pcm }) => self.queue.push_back((reply, pcm.duration())),
                Ok(ToCaller::Finish { reply }) => drop(self.finished.insert(reply)),
                Ok(ToCaller::Cut { reply }) => {
                    self.queue.retain(|(queued, _)| *queued != reply);
                    self.finished.remove(&reply);
                    let played = self.played.get(&reply).copied().unwrap_or_default();
                    self.tell(FromCaller::Playout(Playout::Cut { reply, played }));
                }
                Ok(ToCaller::HangUp) => {}
                Err(tokio::sync::mpsc::error::TryRecvError::Empty) => return,
                Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => {
                    self.over = true;
                    return;
                }
            }
        }
    }

    /// The last thing that the line brings.
    pub fn say_last(&self, message: FromCaller) {
        self.end.incoming.try_send(message).unwrap();
    }

    /// How much of all replies was played.
    pub fn heard(&self) -> Duration {
        self.played.values().sum()
    }

    pub fn hang_up(&mut self) {
        self.tell(FromCaller::HungUp(HangUp::ByCaller));
    }

    // What came of it.

    pub fn count(&self, is: impl Fn(&CallEvent) -> bool) -> usize {
        self.events.iter().filter(|event| is(event)).count()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |event: &CallEvent| match event {
            CallEvent::ReplyDone { outcome, .. } => Some(outcome.clone()),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    pub fn transcripts(&self) -> Vec<String> {
        let text = |event: &CallEvent| match event {
            CallEvent::TranscriptDone { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    /// Codes of the faults that were told, of a transcript's too.
    pub fn faults(&self) -> Vec<&'static str> {
        let fault = |event: &CallEvent| match event {
            CallEvent::Failed(fault) | CallEvent::TranscriptFailed { fault, .. } => Some(fault.code),
            _ => None,
        };
        self.events.iter().filter_map(fault).collect()
    }
}

pub fn playing(event: &CallEvent) -> bool {
    matches!(event, CallEvent::PlayoutStarted { .. })
}
