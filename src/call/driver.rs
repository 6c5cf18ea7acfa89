//! The one task a call has: owns its clock and channels, gives the conversation what happens, carries out what it wants.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use models::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling};
use models::stt::{SpeechToText, TranscribeRequest, Urgency};
use models::tts::{SpeakRequest, TextToSpeech};
use models::vad::{TurnModel, VoiceDetector, VoiceStream, WINDOW};
use signaling::line::{CallEvent, FromCaller, HangUp, Line, ReplyId, Session, ToCaller};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::conversation::{Conversation, Opening};
use super::floor::FloorSettings;
use super::record::Keeper;
use super::step::{AskId, Input, Made, Step};
use super::tasks::Tasks;

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

/// Drives one call until either end hangs up.
pub async fn drive(line: Line, session: Session, writing: Writing, engines: Engines, keeper: Arc<dyn Keeper>) {
    let (answers_tx, mut answers) = mpsc::channel(ANSWERS_BOUND);
    let Line { call, door, session: _, owner, mut incoming, outgoing } = line;
    let earlier = match keeper.recall(&session.conversation).await {
        Ok(items) => items,
        Err(error) => {
            warn!(%call, %error, "the earlier conversation cannot be read; starting anew");
            Vec::new()
        }
    };
    let mut attendance = keeper.attend(&session.conversation);
    let voices = engines.tts.voices().iter().map(|voice| voice.id.clone()).collect();
    let epoch = (now(), SystemTime::now());
    let opening = Opening { session, door, owner, floor: FloorSettings::default(), voices, earlier, epoch };
    let mut driver = Driver {
        voicing: Voicing::new(engines.vad.stream()),
        conversation: Conversation::new(opening),
        engines,
        writing,
        keeper,
        outgoing,
        answers: answers_tx,
        tasks: Tasks::default(),
    };
    info!(%call, door, "call begins");
    let hang_up = loop {
        if let Err(gone) = driver.carry_out().await {
            break gone;
        }
        attendance.set_engaged(driver.conversation.is_engaged());
        // Answers first: they are what a person waits for, and each makes room for the next.
        tokio::select! {
            biased;
            Some(input) = answers.recv() => driver.conversation.handle(now(), input),
            message = incoming.recv() => match message {
                Some(FromCaller::HungUp(reason)) => break reason,
                Some(message) => driver.hear(message),
                None => break HangUp::Vanished,
            },
            audio = attendance.better() => {
                if let Err(gone) = driver.send(ToCaller::Event(CallEvent::HqReady(audio))).await {
                    break gone;
                }
            }
        }
    };
    // Answers are taken no more, so that nobody waits to give one.
    drop(answers);
    driver.end().await;
    info!(%call, ?hang_up, "call ended");
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Driver {
    conversation: Conversation,
    voicing: Voicing,
    engines: Engines,
    writing: Writing,
    keeper: Arc<dyn Keeper>,
    outgoing: mpsc::Sender<ToCaller>,
    answers: mpsc::Sender<Input>,
    tasks: Tasks,
}

impl Driver {
    fn hear(&mut self, message: FromCaller) {
        let input = match message {
            FromCaller::Audio(audio) => {
                let voicing = self.voicing.hear(&audio.samples);
                Input::Heard { audio, voicing }
            }
            FromCaller::Command(command) => Input::Command(command),
            FromCaller::Playout(playout) => Input::Playout(playout),
            FromCaller::HungUp(_) => return,
        };
        self.conversation.handle(now(), input);
    }

    /// Does all that the conversation wants done.
    async fn carry_out(&mut self) -> Result<(), HangUp> {
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
                    self.synthesize(reply, sentence, SpeakRequest { text, voice, deadline });
                }
                Step::Abandon { reply } => self.tasks.abandon(&reply),
                other @ (Step::Keep(_) | Step::Amend(_)) => self.keep(other),
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: ToCaller) -> Result<(), HangUp> {
        match tokio::time::timeout(DOOR_PATIENCE, self.outgoing.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(HangUp::Vanished),
        }
    }

    fn transcribe(&mut self, ask: AskId, urgency: Urgency, request: TranscribeRequest) {
        let answers = self.answers.clone();
        let transcription = self.engines.stt.transcribe(request);
        self.tasks.transcribe(ask, urgency, async move {
            let result = match transcription {
                Ok(transcription) => transcription.finished().await,
                Err(error) => Err(error),
            };
            let _ = answers.send(Input::Transcribed { ask, result }).await;
        });
    }

    fn judge(&mut self, pause: u64, utterance: Vec<f32>) {
        let Some(turn_model) = &self.engines.turn else { return };
        let judgement = turn_model.judge(utterance);
        let answers = self.answers.clone();
        self.tasks.judge(async move {
            match judgement.await {
                Ok(sounds_finished) => {
                    let _ = answers.send(Input::Judged { pause, sounds_finished }).await;
                }
                Err(error) => debug!(%error, "the turn model gave no opinion; silence and words decide"),
            }
        });
    }

    fn generate(&mut self, reply: ReplyId, messages: Vec<Message>) {
        let request = GenerateRequest {
            conversation: self.conversation.id().as_str().to_owned(),
            messages,
            sampling: self.writing.sampling(),
        };
        let generation = self.engines.llm.generate(request);
        let answers = self.answers.clone();
        let id = reply.clone();
        self.tasks.reply(&reply, async move {
            let send = |piece| answers.send(Input::Wrote { reply: id.clone(), piece });
            let mut generation = match generation {
                Ok(generation) => generation,
                Err(error) => {
                    let _ = send(Err(error)).await;
                    return;
                }
            };
            let mut done = false;
            while let Some(piece) = generation.next().await {
                done = matches!(piece, Ok(Piece::Done { .. }) | Err(_));
                if send(piece).await.is_err() {
                    return;
                }
            }
            if !done {
                let _ = send(Err(models::error::EngineError::Stopped { engine: "language model" })).await;
            }
        });
    }

    fn synthesize(&mut self, reply: ReplyId, sentence: usize, request: SpeakRequest) {
        let speech = self.engines.tts.speak(request);
        let answers = self.answers.clone();
        let id = reply.clone();
        self.tasks.reply(&reply, async move {
            let send = |made| answers.send(Input::Voiced { reply: id.clone(), sentence, made });
            let mut speech = match speech {
                Ok(speech) => speech,
                Err(error) => {
                    let _ = send(Made::Failed(error)).await;
                    return;
                }
            };
            while let Some(chunk) = speech.next().await {
                let failed = chunk.is_err();
                if send(chunk.map_or_else(Made::Failed, Made::Chunk)).await.is_err() || failed {
                    return;
                }
            }
            let _ = send(Made::All).await;
        });
    }

    fn keep(&mut self, step: Step) {
        match step {
            Step::Keep(record) => {
                let reply = record.answer.as_ref().map(|answer| answer.reply.clone());
                let kept = self.keeper.keep(*record);
                let answers = self.answers.clone();
                self.tasks.keep(async move {
                    let result = kept.await.map_err(|error| error.to_string());
                    if let Err(error) = &result {
                        warn!(%error, "a turn could not be written down");
                    }
                    if let Some(reply) = reply {
                        let _ = answers.send(Input::Kept { reply, result }).await;
                    }
                });
            }
            Step::Amend(amendment) => {
                let kept = self.keeper.amend(*amendment);
                self.tasks.keep(async move {
                    if let Err(error) = kept.await {
                        warn!(%error, "what was heard of a reply could not be written down");
                    }
                });
            }
            _ => {}
        }
    }

    /// The line is gone: writes down what is unfinished, and lets go of everything else.
    async fn end(mut self) {
        self.conversation.end();
        while let Some(step) = self.conversation.next_step() {
            self.keep(step);
        }
        let _ = self.outgoing.try_send(ToCaller::HangUp);
        self.engines.llm.forget(self.conversation.id().as_str());
        self.tasks.finish().await;
    }
}

/// Cuts the caller's frames into voice-activity windows and asks for each.
struct Voicing {
    stream: Box<dyn VoiceStream>,
    rest: Vec<f32>,
    failed: bool,
}

impl Voicing {
    fn new(stream: Box<dyn VoiceStream>) -> Self {
        Self { stream, rest: Vec::with_capacity(2 * WINDOW), failed: false }
    }

    /// The speech probability of each window that `samples` complete.
    fn hear(&mut self, samples: &[f32]) -> Vec<f32> {
        self.rest.extend_from_slice(samples);
        let mut probabilities = Vec::new();
        let mut windows = self.rest.chunks_exact(WINDOW);
        for window in &mut windows {
            let Ok(window) = <&[f32; WINDOW]>::try_from(window) else { break };
            let probability = self.stream.push(window).unwrap_or_else(|error| {
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(%error, "voice activity cannot be told; hearing silence");
                }
                0.0
            });
            probabilities.push(probability);
        }
        let rest = windows.remainder().to_vec();
        self.rest = rest;
        probabilities
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
