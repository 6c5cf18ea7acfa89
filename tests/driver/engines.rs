//! Engines that do as they are told, and remember what they were asked and whether whoever asked has gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use avatar::call::attendance::{Attendance, CallLoads, Change};
use avatar::call::driver::Engines;
use avatar::call::record::{Amendment, KeepError, Keeper, Kept, SessionRecord, TurnRecord};
use avatar::call::resumption::TokenHash;
use futures_util::stream;
use models::cancel::Cancelled;
use models::error::EngineError;
use models::llm::{GenerateRequest, Generation, LanguageModel, Piece, StopReason, TokenUsage};
use models::stt::{SpeechToText, TranscribeRequest, Transcript, Transcription, Urgency};
use models::tts::{SpeakRequest, Speech, TextToSpeech, Voice};
use models::vad::{TurnModel, VoiceDetector, VoiceStream, WINDOW};
use signaling::line::{ConversationId, HqAudio, Item};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// What an engine does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Works,
    /// Takes it and never answers.
    Hangs,
    Overloaded,
    /// Takes the caller's task down with it.
    Panics,
    /// Its thread dies with the request.
    Dies,
}

/// One engine's manner, and what it was asked so far.
pub struct Desk<R> {
    manner: Mutex<Manner>,
    asked: Mutex<Vec<(R, Cancelled)>>,
}

impl<R> Default for Desk<R> {
    fn default() -> Self {
        Self { manner: Mutex::new(Manner::Works), asked: Mutex::default() }
    }
}

impl<R: Clone> Desk<R> {
    pub fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub fn requests(&self) -> Vec<R> {
        self.asked.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    /// Of each request, whether whoever asked has gone.
    pub fn cancelled(&self) -> Vec<bool> {
        self.asked.lock().unwrap().iter().map(|(_, cancelled)| cancelled.is_set()).collect()
    }

    /// Of the last request.
    pub fn last_is_cancelled(&self) -> bool {
        self.cancelled().last().copied().unwrap_or_else(|| panic!("the engine was not asked"))
    }

    /// Takes a request, or refuses it, in the manner set.
    fn take(&self, engine: &'static str, request: R, cancelled: Cancelled) -> Result<Manner, EngineError> {
        let manner = *self.manner.lock().unwrap();
        if manner == Manner::Overloaded {
            return Err(EngineError::Overloaded { engine, waiting: 64 });
        }
        assert!(manner != Manner::Panics, "scripted: {engine} panics");
        self.asked.lock().unwrap().push((request, cancelled));
        Ok(manner)
    }
}

type Heard = Box<dyn Fn(&[f32]) -> String + Send + Sync>;

/// Hears what `hears` says of the audio, after 30 ms.
pub struct Ear {
    pub desk: Desk<TranscribeRequest>,
    hears: Heard,
}

impl SpeechToText for Ear {
    fn name(&self) -> String {
        "scripted ear".to_owned()
    }

    fn languages(&self) -> &[&'static str] {
        &["en"]
    }

    fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription, EngineError> {
        let (transcription, answer, cancelled) = Transcription::new();
        let text = (self.hears)(&request.audio);
        match self.desk.take("speech to text", request, cancelled)? {
            Manner::Dies => drop(answer),
            Manner::Hangs => hold(answer),
            _ => drop(tokio::spawn(async move {
                sleep(Duration::from_millis(30)).await;
                let _ = answer.send(Ok(Transcript {
                    text,
                    language: Some("en".to_owned()),
                    mean_log_probability: -0.1,
                    refused: None,
                    queued: Duration::ZERO,
                    computed: Duration::from_millis(30),
                }));
            })),
        }
        Ok(transcription)
    }
}

/// Writes its text word by word, one each `pace`.
pub struct Mind {
    pub desk: Desk<GenerateRequest>,
    pub forgotten: Mutex<Vec<String>>,
    writes: String,
    pace: Duration,
}

impl LanguageModel for Mind {
    fn name(&self) -> String {
        "scripted mind".to_owned()
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let (generation, pieces, cancelled) = Generation::new();
        match self.desk.take("language model", request, cancelled)? {
            Manner::Dies => drop(pieces),
            Manner::Hangs => hold(pieces),
            _ => {
                let words: Vec<_> = self.writes.split_inclusive(' ').map(str::to_owned).collect();
                let pace = self.pace;
                tokio::spawn(async move {
                    for word in words {
                        sleep(pace).await;
                        if pieces.send(Ok(Piece::Text(word))).await.is_err() {
                            return;
                        }
                    }
                    let done = Piece::Done { reason: StopReason::EndOfTurn, usage: TokenUsage::default() };
                    let _ = pieces.send(Ok(done)).await;
                });
            }
        }
        Ok(generation)
    }

    fn forget(&self, conversation: &str) {
        self.forgotten.lock().unwrap().push(conversation.to_owned());
    }
}

/// Says a sentence in chunks of `chunk`, `chunks` of them, one each `pace`.
pub struct Mouth {
    pub desk: Desk<SpeakRequest>,
    voices: Vec<Voice>,
    /// Names of voices that were added.
    pub added: Mutex<Vec<&'static str>>,
    chunk: Duration,
    chunks: usize,
    pace: Duration,
}

impl TextToSpeech for Mouth {
    fn name(&self) -> String {
        "scripted mouth".to_owned()
    }

    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn has_voice(&self, id: &str) -> bool {
        self.voices.iter().any(|voice| voice.id == id) || self.added_voice(id).is_some()
    }

    fn added_voice(&self, wanted: &str) -> Option<String> {
        let name = wanted.strip_prefix("cloner/").unwrap_or(wanted);
        self.added.lock().unwrap().iter().find(|added| **added == name).map(|added| format!("cloner/{added}"))
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let (speech, chunks, cancelled) = Speech::new();
        match self.desk.take("text to speech", request, cancelled)? {
            Manner::Dies => drop(chunks),
            Manner::Hangs => hold(chunks),
            _ => {
                let (count, pace) = (self.chunks, self.pace);
                let samples = vec![0.2; SampleRate::HZ_16000.samples_in(self.chunk)];
                tokio::spawn(async move {
                    for _ in 0..count {
                        sleep(pace).await;
                        if chunks.send(Ok(Pcm::new(SampleRate::HZ_16000, samples.clone()))).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
        Ok(speech)
    }
}

/// Keeps a sender for ever, as an engine does that is stuck with the request.
fn hold<T: Send + 'static>(sender: T) {
    tokio::spawn(async move {
        let _held = sender;
        std::future::pending::<()>().await;
    });
}

/// Takes what is loud for speech, and remembers every window it was shown.
#[derive(Clone, Default)]
pub struct Detector {
    pub shown: Arc<Mutex<Vec<f32>>>,
    pub broken: Arc<AtomicBool>,
}

impl VoiceDetector for Detector {
    fn name(&self) -> &'static str {
        "scripted detector"
    }

    fn stream(&self) -> Box<dyn VoiceStream> {
        Box::new(self.clone())
    }
}

impl VoiceStream for Detector {
    fn push(&mut self, window: &[f32; WINDOW]) -> Result<f32, EngineError> {
        self.shown.lock().unwrap().extend_from_slice(window);
        if self.broken.load(Ordering::Relaxed) {
            return Err(EngineError::Failed { engine: "voice activity", reason: "scripted".to_owned() });
        }
        let loud = window.iter().filter(|sample| sample.abs() >= 0.05).count();
        Ok(if loud > WINDOW / 2 { 0.95 } else { 0.02 })
    }

    fn reset(&mut self) {}
}

/// Finds every pause final, after 30 ms; or never says a word.
#[derive(Default)]
pub struct Judge {
    pub hangs: AtomicBool,
    /// It was asked.
    pub begun: AtomicBool,
    /// Whoever asked has gone.
    pub given_up: Arc<AtomicBool>,
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl TurnModel for Judge {
    fn name(&self) -> &'static str {
        "scripted judge"
    }

    fn judge(&self, _utterance: Vec<f32>) -> Pin<Box<dyn Future<Output = Result<f32, EngineError>> + Send>> {
        self.begun.store(true, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            let given_up = SetOnDrop(Arc::clone(&self.given_up));
            return Box::pin(async move {
                let _given_up = given_up;
                std::future::pending().await
            });
        }
        Box::pin(async {
            sleep(Duration::from_millis(30)).await;
            Ok(0.95)
        })
    }
}

/// A history that takes `delay` to write.
#[derive(Default)]
pub struct Book {
    pub delay: Mutex<Duration>,
    pub kept: Arc<Mutex<Vec<TurnRecord>>>,
    pub amended: Arc<Mutex<Vec<Amendment>>>,
    pub loads: CallLoads,
    /// What the next call is told of.
    pub better: Mutex<Vec<HqAudio>>,
    /// What somebody changes while the next call runs.
    pub changes: Mutex<Option<mpsc::UnboundedReceiver<Change>>>,
    /// What every conversation is recalled to have said.
    pub recalled: Mutex<Vec<Item>>,
    pub sessions: Mutex<Vec<SessionRecord>>,
}

impl Book {
    fn write<T: Send + 'static>(&self, list: &Arc<Mutex<Vec<T>>>, entry: T) -> Kept<()> {
        let (delay, list) = (*self.delay.lock().unwrap(), Arc::clone(list));
        Box::pin(async move {
            sleep(delay).await;
            list.lock().unwrap().push(entry);
            Ok(())
        })
    }

    pub fn kept(&self) -> Vec<TurnRecord> {
        self.kept.lock().unwrap().clone()
    }
}

impl Keeper for Book {
    fn keep(&self, turn: TurnRecord) -> Kept<()> {
        self.write(&self.kept, turn)
    }

    fn amend(&self, amendment: Amendment) -> Kept<()> {
        self.write(&self.amended, amendment)
    }

    /// Named after their owners here.
    fn is_open_to(&self, conversation: &ConversationId, owner: &str) -> bool {
        conversation.as_str().starts_with(owner)
    }

    fn voice_is_open_to(&self, voice: &str, owner: &str) -> bool {
        voice.rsplit('/').next().is_some_and(|name| name.starts_with(owner))
    }

    fn keep_session(&self, session: SessionRecord) -> Kept<()> {
        let mut sessions = self.sessions.lock().unwrap();
        sessions.retain(|kept| kept.conversation != session.conversation);
        sessions.push(session);
        Box::pin(async { Ok(()) })
    }

    fn forget_session(&self, conversation: &ConversationId) -> Kept<()> {
        self.sessions.lock().unwrap().retain(|kept| kept.conversation != *conversation);
        Box::pin(async { Ok(()) })
    }

    fn session(&self, token: &TokenHash) -> Option<SessionRecord> {
        self.sessions.lock().unwrap().iter().find(|kept| kept.token == *token).cloned()
    }

    fn recall(&self, conversation: &ConversationId) -> Kept<Vec<Item>> {
        let unreadable = conversation.as_str() == "conv_unreadable";
        let said = self.recalled.lock().unwrap().clone();
        let found = if unreadable { Err(KeepError::Storage("scripted".to_owned())) } else { Ok(said) };
        Box::pin(async move { found })
    }

    fn attend(&self, _: &ConversationId) -> Attendance {
        let better = std::mem::take(&mut *self.better.lock().unwrap());
        let attendance = Attendance::new(&self.loads, stream::iter(better));
        match self.changes.lock().unwrap().take() {
            Some(mut changes) => attendance.with_changes(stream::poll_fn(move |context| changes.poll_recv(context))),
            None => attendance,
        }
    }
}

/// How the scripted engines behave while they work.
pub struct Script {
    pub hears: Heard,
    pub writes: &'static str,
    /// Time to write a word.
    pub word: Duration,
    /// Audio of a chunk of speech, how many a sentence has, and the time that making one takes.
    pub chunk: Duration,
    pub chunks: usize,
    pub chunk_takes: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            hears: Box::new(|_| "What's the weather like?".to_owned()),
            writes: "It is sunny today. Tomorrow it will rain.",
            word: Duration::from_millis(20),
            chunk: Duration::from_millis(300),
            chunks: 4,
            chunk_takes: Duration::from_millis(5),
        }
    }
}

/// All of them.
pub struct Scripted {
    pub ear: Arc<Ear>,
    pub mind: Arc<Mind>,
    pub mouth: Arc<Mouth>,
    pub detector: Detector,
    pub judge: Arc<Judge>,
}

impl Scripted {
    pub fn new(script: Script) -> Self {
        let Script { hears, writes, word, chunk, chunks, chunk_takes } = script;
        let voice = Voice {
            id: "scripted/voice".to_owned(),
            name: "Voice".to_owned(),
            language: "en",
            rate: SampleRate::HZ_16000,
        };
        Self {
            ear: Arc::new(Ear { desk: Desk::default(), hears }),
            mind: Arc::new(Mind {
                desk: Desk::default(),
                forgotten: Mutex::default(),
                writes: writes.to_owned(),
                pace: word,
            }),
            mouth: Arc::new(Mouth {
                desk: Desk::default(),
                voices: vec![voice],
                added: Mutex::default(),
                chunk,
                chunks,
                pace: chunk_takes,
            }),
            detector: Detector::default(),
            judge: Arc::default(),
        }
    }

    pub fn engines(&self) -> Engines {
        Engines {
            vad: Arc::new(self.detector.clone()),
            turn: Some(self.judge.clone()),
            stt: self.ear.clone(),
            llm: self.mind.clone(),
            tts: self.mouth.clone(),
        }
    }

    /// Of the transcriptions asked for, those at the end of a turn.
    pub fn finals(&self) -> Vec<TranscribeRequest> {
        self.ear.desk.requests().into_iter().filter(|request| request.urgency == Urgency::Final).collect()
    }
}
