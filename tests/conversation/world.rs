//! A world in virtual time round one [`Conversation`]: a caller, engines that take as long as they are told, a line that plays
//! in real time, a history.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use audio::pcm::{Pcm, SampleRate};
use avatar::call::conversation::{Conversation, Opening, Resumable, Return};
use avatar::call::floor::FloorSettings;
use avatar::call::record::{Amendment, TurnRecord};
use avatar::call::step::{Input, Made, Step};
use models::error::EngineError;
use models::llm::{Message, Piece, StopReason, TokenUsage};
use models::stt::{Refused, Transcript, Urgency};
use signaling::line::{
    Ask, CallEvent, CallId, CallerAudio, Command, ConversationId, Item, Outcome, Playout, ReplyId, Session,
    SessionPatch, TurnEnd,
};
use signaling::secret::Secret;

pub const TICK: Duration = Duration::from_millis(1);
const FRAME_MS: u64 = 20;

/// What the language model replies to what it is shown.
pub type Answer = Box<dyn Fn(&[Message]) -> String>;

/// How the engines behave.
pub struct Script {
    /// What the turn model says of every pause; `None`: it never answers.
    pub sounds_finished: Option<f32>,
    pub stt_ms: u64,
    /// Transcripts are refused as not speech.
    pub noise: bool,
    pub llm_first_ms: u64,
    pub llm_word_ms: u64,
    pub tts_first_ms: u64,
    /// Audio that a word lasts.
    pub word_audio_ms: u64,
    pub keep_ms: u64,
    pub fail: Option<Failing>,
    pub stop_reason: StopReason,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    Stt,
    Llm,
    /// After its first words.
    LlmMidway,
    Tts,
    History,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            sounds_finished: Some(0.95),
            stt_ms: 30,
            noise: false,
            llm_first_ms: 120,
            llm_word_ms: 15,
            tts_first_ms: 12,
            word_audio_ms: 300,
            keep_ms: 20,
            fail: None,
            stop_reason: StopReason::EndOfTurn,
            answer: Box::new(|_| "It is sunny today. Tomorrow it will rain.".to_owned()),
        }
    }
}

struct Due {
    at: Instant,
    order: u64,
    input: Input,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What has become of the caller's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Up,
    /// The caller is gone and nobody has noticed: silence is made up, and replies play to nobody.
    Unnoticed,
    Lost,
}

#[derive(Default)]
struct Line {
    queue: VecDeque<(ReplyId, Duration)>,
    played: BTreeMap<ReplyId, Duration>,
    finished: HashSet<ReplyId>,
    announced: HashSet<ReplyId>,
}

pub struct World {
    pub script: Script,
    pub conversation: Conversation,
    start: Instant,
    pub now: Instant,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
    abandoned: HashSet<ReplyId>,
    line: Line,
    reach: Reach,
    /// What each line was given to play, in milliseconds.
    pub given: Vec<u64>,
    /// Words of the caller's current turn.
    saying: String,
    windows: usize,
    /// Everything told to the client, with the time in milliseconds.
    pub events: Vec<(u64, CallEvent)>,
    pub kept: Vec<TurnRecord>,
    pub amended: Vec<Amendment>,
    /// The session each time it was to be kept.
    pub sessions: Vec<Session>,
    /// What the language model was shown, each time it was asked.
    pub prompts: Vec<Vec<Message>>,
    pub judgements: usize,
    pub transcriptions: Vec<Urgency>,
    pub spoken: Vec<String>,
    pub voices: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        Self::with(Script::default(), |_| {})
    }

    pub fn with(script: Script, adjust: impl FnOnce(&mut Session)) -> Self {
        Self::going_on(script, Vec::new(), adjust)
    }

    pub fn going_on(script: Script, earlier: Vec<Item>, adjust: impl FnOnce(&mut Session)) -> Self {
        let start = Instant::now();
        let mut session = Session {
            call: CallId::fresh(),
            conversation: ConversationId::fresh(),
            model: "scripted".to_owned(),
            instructions: "Be brief.".to_owned(),
            voice: String::new(),
            language: None,
            turn_end: TurnEnd::Semantic,
            create_response: true,
            interrupt_response: true,
        };
        adjust(&mut session);
        let conversation = Conversation::new(Opening {
            session,
            door: "test",
            owner: None,
            floor: FloorSettings::default(),
            voices: vec!["flite/slt".to_owned(), "festival/slt-hts".to_owned()],
            earlier,
            resumed: false,
            resumable: None,
            epoch: (start, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)),
        });
        let mut world = Self {
            script,
            conversation,
            start,
            now: start,
            due: BinaryHeap::new(),
            order: 0,
            abandoned: HashSet::new(),
            line: Line::default(),
            reach: Reach::Up,
            given: vec![0],
            saying: String::new(),
            windows: 0,
            events: Vec::new(),
            kept: Vec::new(),
            amended: Vec::new(),
            sessions: Vec::new(),
            prompts: Vec::new(),
            judgements: 0,
            transcriptions: Vec::new(),
            spoken: Vec::new(),
            voices: Vec::new(),
        };
        world.carry_out();
        world
    }

    pub fn ms(&self) -> u64 {
        (self.now - self.start).as_millis() as u64
    }

    /// The caller says `text`, which takes `ms`.
    pub fn say(&mut self, text: &str, ms: u64) {
        if !self.saying.is_empty() {
            self.saying.push(' ');
        }
        self.saying.push_str(text);
        self.run(ms, 0.95);
    }

    /// Nobody speaks for `ms`.
    pub fn silence(&mut self, ms: u64) {
        self.run(ms, 0.02);
    }

    /// The caller asks `text` and waits for the whole answer.
    pub fn exchange(&mut self, text: &str) {
        self.say(text, 1_200);
        self.silence(12_000);
    }

    /// Sound of the given speech probability.
    pub fn run(&mut self, ms: u64, probability: f32) {
        for _ in 0..ms {
            self.now += TICK;
            if self.ms().is_multiple_of(FRAME_MS) && self.reach != Reach::Lost {
                self.hear_frame(probability);
                self.play_frame();
            }
            while self.due.peek().is_some_and(|Reverse(due)| due.at <= self.now) {
                let Some(Reverse(due)) = self.due.pop() else { break };
                self.give(due.input);
            }
        }
    }

    pub fn ask(&mut self, ask: Ask) {
        self.give(Input::Command(Command { event_id: Some("event_1".to_owned()), ask }));
    }

    pub fn give(&mut self, input: Input) {
        let gone = match &input {
            Input::Wrote { reply, .. } | Input::Voiced { reply, .. } => self.abandoned.contains(reply),
            _ => false,
        };
        if !gone {
            self.conversation.handle(self.now, input);
            self.carry_out();
        }
    }

    /// The caller is gone, which is noticed `ms` later.
    pub fn lose_the_line(&mut self, ms: u64) {
        self.reach = Reach::Unnoticed;
        self.silence(ms);
        self.reach = Reach::Lost;
        self.line = Line::default();
        self.conversation.leave(self.now);
        self.carry_out();
    }

    /// The caller comes back on another line.
    pub fn come_back(&mut self, patch: SessionPatch) {
        self.reach = Reach::Up;
        self.line = Line::default();
        self.given.push(0);
        let next = Resumable { token: Secret::new("next"), expires_after: Duration::from_secs(30) };
        let line = Return { call: CallId::from_text("rtc_next"), door: "other", patch, next };
        self.conversation.resume(self.now, line);
        self.carry_out();
    }

    pub fn hang_up(&mut self) {
        self.conversation.end();
        self.carry_out();
    }

    fn hear_frame(&mut self, probability: f32) {
        let samples = vec![probability * 0.1; 320];
        self.windows += samples.len();
        let complete = self.windows / 512;
        self.windows %= 512;
        let audio = CallerAudio { arrived: self.now, samples, concealed: self.reach != Reach::Up };
        self.give(Input::Heard { audio, voicing: vec![probability; complete] });
    }

    fn later(&mut self, ms: u64, input: Input) {
        self.order += 1;
        self.due.push(Reverse(Due { at: self.now + Duration::from_millis(ms), order: self.order, input }));
    }

    fn carry_out(&mut self) {
        while let Some(step) = self.conversation.next_step() {
            self.carry_out_one(step);
        }
    }

    fn carry_out_one(&mut self, step: Step) {
        match step {
            Step::Tell(event) => {
                if matches!(event, CallEvent::SpeechStopped { .. }) {
                    self.saying.clear();
                }
                self.events.push((self.ms(), event));
            }
            Step::Transcribe { ask, urgency, audio, .. } => {
                assert!(!audio.is_empty(), "nothing to transcribe");
                self.transcriptions.push(urgency);
                let result = self.transcript();
                self.later(self.script.stt_ms, Input::Transcribed { ask, result });
            }
            Step::Judge { pause, .. } => {
                self.judgements += 1;
                if let Some(sounds_finished) = self.script.sounds_finished {
                    self.later(30, Input::Judged { pause, sounds_finished });
                }
            }
            Step::Generate { reply, messages } => self.generate(&reply, messages),
            Step::Synthesize { reply, sentence, text, voice, .. } => self.synthesize(&reply, sentence, text, voice),
            Step::Abandon { reply } => {
                self.abandoned.insert(reply);
            }
            Step::Play { reply, pcm } => {
                assert_ne!(self.reach, Reach::Lost, "there is nobody to play to");
                if let Some(given) = self.given.last_mut() {
                    *given += pcm.duration().as_millis() as u64;
                }
                self.line.queue.push_back((reply, pcm.duration()));
            }
            Step::FinishPlayout { reply } => {
                self.line.finished.insert(reply);
            }
            Step::CutPlayout { reply } => {
                self.line.queue.retain(|(queued, _)| *queued != reply);
                self.line.finished.remove(&reply);
                let played = self.line.played.get(&reply).copied().unwrap_or_default();
                self.later(0, Input::Playout(Playout::Cut { reply, played }));
            }
            Step::Keep(record) => {
                let failed = self.script.fail == Some(Failing::History);
                if let Some(answer) = &record.answer {
                    let result = if failed { Err("the disk is full".to_owned()) } else { Ok(()) };
                    self.later(self.script.keep_ms, Input::Kept { reply: answer.reply.clone(), result });
                }
                self.kept.push(*record);
            }
            Step::Amend(amendment) => self.amended.push(*amendment),
            Step::KeepSession(session) => self.sessions.push(*session),
        }
    }

    fn transcript(&self) -> Result<Transcript, EngineError> {
        if self.script.fail == Some(Failing::Stt) {
            return Err(EngineError::Failed { engine: "speech to text", reason: "scripted".to_owned() });
        }
        Ok(Transcript {
            text: if self.script.noise { String::new() } else { self.saying.clone() },
            language: Some("en".to_owned()),
            mean_log_probability: -0.1,
            refused: self.script.noise.then_some(Refused::Phantom),
            queued: Duration::ZERO,
            computed: Duration::from_millis(self.script.stt_ms),
        })
    }

    fn generate(&mut self, reply: &ReplyId, messages: Vec<Message>) {
        let text = (self.script.answer)(&messages);
        self.prompts.push(messages);
        let failure = || Err(EngineError::Failed { engine: "language model", reason: "scripted".to_owned() });
        if self.script.fail == Some(Failing::Llm) {
            return self.later(self.script.llm_first_ms, Input::Wrote { reply: reply.clone(), piece: failure() });
        }
        let words: Vec<_> = text.split_inclusive(' ').map(str::to_owned).collect();
        let mut at = self.script.llm_first_ms;
        let count = words.len() as u32;
        for (n, word) in words.into_iter().enumerate() {
            if n == 6 && self.script.fail == Some(Failing::LlmMidway) {
                return self.later(at, Input::Wrote { reply: reply.clone(), piece: failure() });
            }
            self.later(at, Input::Wrote { reply: reply.clone(), piece: Ok(Piece::Text(word)) });
            at += self.script.llm_word_ms;
        }
        let usage = TokenUsage { prompt_tokens: 20, cached_tokens: 5, generated_tokens: count, dropped_messages: 0 };
        let done = Piece::Done { reason: self.script.stop_reason, usage };
        self.later(at, Input::Wrote { reply: reply.clone(), piece: Ok(done) });
    }

    fn synthesize(&mut self, reply: &ReplyId, sentence: usize, text: String, voice: String) {
        let voiced = |made| Input::Voiced { reply: reply.clone(), sentence, made };
        if self.script.fail == Some(Failing::Tts) {
            let error = EngineError::Failed { engine: "text to speech", reason: "scripted".to_owned() };
            return self.later(self.script.tts_first_ms, voiced(Made::Failed(error)));
        }
        let words = text.split_whitespace().count();
        let mut at = self.script.tts_first_ms;
        for _ in 0..words {
            let samples = vec![0.2; (16 * self.script.word_audio_ms) as usize];
            self.later(at, voiced(Made::Chunk(Pcm::new(SampleRate::HZ_16000, samples))));
            at += 2;
        }
        self.later(at, voiced(Made::All));
        self.spoken.push(text);
        self.voices.push(voice);
    }

    fn play_frame(&mut self) {
        let frame = Duration::from_millis(FRAME_MS);
        let Some((reply, left)) = self.line.queue.front_mut() else { return self.drain() };
        let (reply, take) = (reply.clone(), (*left).min(frame));
        *left -= take;
        if left.is_zero() {
            self.line.queue.pop_front();
        }
        let played = self.line.played.entry(reply.clone()).or_default();
        *played += take;
        let played = *played;
        if self.line.announced.insert(reply.clone()) {
            self.give(Input::Playout(Playout::Started { reply: reply.clone(), at: self.now }));
        }
        if self.ms().is_multiple_of(100) {
            self.give(Input::Playout(Playout::Position { reply, played }));
        }
    }

    fn drain(&mut self) {
        for reply in std::mem::take(&mut self.line.finished) {
            let played = self.line.played.get(&reply).copied().unwrap_or_default();
            self.give(Input::Playout(Playout::Drained { reply, played }));
        }
    }

    // What came of it.

    pub fn count(&self, is: impl Fn(&CallEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| is(event)).count()
    }

    /// When the first such event was told.
    pub fn when(&self, is: impl Fn(&CallEvent) -> bool) -> Option<u64> {
        self.events.iter().find(|(_, event)| is(event)).map(|(ms, _)| *ms)
    }

    pub fn replies(&self) -> usize {
        self.count(|event| matches!(event, CallEvent::ReplyStarted { .. }))
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |(_, event): &(u64, CallEvent)| match event {
            CallEvent::ReplyDone { outcome, .. } => Some(outcome.clone()),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    pub fn transcripts(&self) -> Vec<String> {
        let text = |(_, event): &(u64, CallEvent)| match event {
            CallEvent::TranscriptDone { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    pub fn faults(&self) -> Vec<&'static str> {
        let fault = |(_, event): &(u64, CallEvent)| match event {
            CallEvent::Failed(fault) => Some(fault.code),
            _ => None,
        };
        self.events.iter().filter_map(fault).collect()
    }

    pub fn last_prompt(&self) -> String {
        let shown = self.prompts.last().map_or(&[][..], Vec::as_slice);
        shown.iter().map(|message| format!("{:?}: {}", message.speaker, message.text)).collect::<Vec<_>>().join("\n")
    }
}
