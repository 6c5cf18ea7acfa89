//! Rows of engines that do what a test says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};

use super::*;
use crate::error::EngineError;
use crate::llm::{
    GenerateRequest, Generation, LanguageModel, Message, Piece, Sampling, Speaker, StopReason, TokenUsage,
};
use crate::remote::IoThread;
use crate::stt::{SpeechToText, TranscribeRequest, Transcript, Transcription, Urgency};
use crate::tts::{SpeakRequest, Speech, TextToSpeech, Voice};

fn failed(name: &str) -> EngineError {
    EngineError::Failed { engine: "scripted", reason: format!("{name} is out of memory") }
}

/// How an engine fares.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fares {
    Well,
    /// Takes nothing.
    Refuses,
    /// Has no room.
    Busy,
    FailsFirst,
    FailsLater,
    /// Says nothing, ever.
    Hangs,
}

struct Scripted {
    name: &'static str,
    fares: Fares,
    asked: AtomicUsize,
    cancelled: Arc<AtomicUsize>,
    voices: Vec<Voice>,
}

fn scripted(name: &'static str, fares: Fares, rate: SampleRate) -> Arc<Scripted> {
    let voice = Voice { id: format!("{name}/one"), name: "one".into(), language: "en", rate };
    Arc::new(Scripted { name, fares, asked: AtomicUsize::new(0), cancelled: Arc::default(), voices: vec![voice] })
}

fn engine(name: &'static str, fares: Fares) -> Arc<Scripted> {
    scripted(name, fares, SampleRate::HZ_24000)
}

impl Scripted {
    fn take(&self) -> Result<(), EngineError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.fares {
            Fares::Refuses => Err(failed(self.name)),
            Fares::Busy => Err(EngineError::Overloaded { engine: "scripted", waiting: 9 }),
            _ => Ok(()),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl LanguageModel for Scripted {
    fn name(&self) -> String {
        self.name.into()
    }

    fn generate(&self, _: GenerateRequest) -> Result<Generation, EngineError> {
        self.take()?;
        let (generation, tx, _) = Generation::new();
        let (fares, name, cancelled) = (self.fares, self.name, Arc::clone(&self.cancelled));
        tokio::spawn(async move {
            let done = Piece::Done { reason: StopReason::EndOfTurn, usage: TokenUsage::default() };
            let sent = match fares {
                Fares::FailsFirst => vec![Err(failed(name))],
                Fares::FailsLater => vec![Ok(Piece::Text(format!("{name} said. And"))), Err(failed(name))],
                Fares::Hangs => Vec::new(),
                _ => vec![Ok(Piece::Text(format!("{name} said."))), Ok(done)],
            };
            for piece in sent {
                let _ = tx.send(piece).await;
            }
            if fares == Fares::Hangs {
                tx.closed().await;
                cancelled.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(generation)
    }

    fn forget(&self, _: &str) {
        self.asked.fetch_add(100, Ordering::SeqCst);
    }
}

impl SpeechToText for Scripted {
    fn name(&self) -> String {
        self.name.into()
    }

    fn languages(&self) -> &[&'static str] {
        &["en"]
    }

    fn transcribe(&self, _: TranscribeRequest) -> Result<Transcription, EngineError> {
        self.take()?;
        let (transcription, tx, _) = Transcription::new();
        let transcript = Transcript {
            text: self.name.into(),
            language: None,
            mean_log_probability: -0.1,
            refused: None,
            queued: Duration::ZERO,
            computed: Duration::ZERO,
        };
        let _ = tx.send(if self.fares == Fares::Well { Ok(transcript) } else { Err(failed(self.name)) });
        Ok(transcription)
    }
}

impl TextToSpeech for Scripted {
    fn name(&self) -> String {
        self.name.into()
    }

    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        self.take()?;
        assert!(request.voice.is_empty() || request.voice == self.voices[0].id, "it has no voice {}", request.voice);
        let (speech, tx, _) = Speech::new();
        let rate = self.voices[0].rate;
        let chunk = Ok(Pcm::new(rate, vec![0.25; rate.hertz() as usize / 10]));
        let sent = match self.fares {
            Fares::FailsFirst => vec![Err(failed(self.name))],
            Fares::FailsLater => vec![chunk, Err(failed(self.name))],
            _ => vec![chunk.clone(), chunk],
        };
        for piece in sent {
            let _ = tx.try_send(piece);
        }
        Ok(speech)
    }
}

fn request() -> GenerateRequest {
    GenerateRequest {
        conversation: "c".into(),
        messages: vec![Message { speaker: Speaker::User, text: "Hi".into() }],
        sampling: Sampling { temperature: 0.0, max_tokens: 9, seed: 1, ..Sampling::default() },
    }
}

async fn answer(row: &FallbackLlm) -> Result<(String, StopReason), String> {
    let mut generation = row.generate(request()).map_err(|error| error.to_string())?;
    let mut text = String::new();
    while let Some(piece) = generation.next().await {
        match piece.map_err(|error| error.to_string())? {
            Piece::Text(more) => text.push_str(&more),
            Piece::Done { reason, .. } => return Ok((text, reason)),
        }
    }
    Err("no end".into())
}

fn models(row: &[&Arc<Scripted>]) -> FallbackLlm {
    let row = row.iter().map(|engine| Arc::clone(engine) as Arc<dyn LanguageModel>).collect();
    FallbackLlm::new(IoThread::start().unwrap(), row)
}

#[tokio::test]
async fn a_reply_comes_once_from_the_first_that_can() {
    for fares in [Fares::Refuses, Fares::Busy, Fares::FailsFirst] {
        let (first, second) = (engine("first", fares), engine("second", Fares::Well));
        let row = models(&[&first, &second]);
        assert_eq!(answer(&row).await, Ok(("second said.".into(), StopReason::EndOfTurn)), "{fares:?}");
        assert_eq!((first.asked(), second.asked(), row.switch().active()), (1, 1, 1), "{fares:?}");
    }
    let (first, second) = (engine("first", Fares::Well), engine("second", Fares::Well));
    let row = models(&[&first, &second]);
    assert_eq!(answer(&row).await.unwrap().0, "first said.");
    assert_eq!((second.asked(), row.switch().switched()), (0, 0));
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_ended_and_nobody_begins_another() {
    let (first, second) = (engine("first", Fares::FailsLater), engine("second", Fares::Well));
    let ended = answer(&models(&[&first, &second])).await;
    assert_eq!(ended, Ok(("first said. And".into(), StopReason::BrokenOff)));
    assert_eq!(second.asked(), 0);
}

#[tokio::test]
async fn when_nobody_can_the_last_one_s_error_is_told() {
    for (one, other) in
        [(Fares::Refuses, Fares::Refuses), (Fares::FailsFirst, Fares::FailsFirst), (Fares::Busy, Fares::FailsFirst)]
    {
        let error = answer(&models(&[&engine("first", one), &engine("second", other)])).await.unwrap_err();
        assert!(error.contains("second is out of memory"), "{error}");
    }
}

#[tokio::test]
async fn going_away_cancels_whoever_works() {
    let (first, second) = (engine("first", Fares::Refuses), engine("second", Fares::Hangs));
    let waiting = models(&[&first, &second]).generate(request()).unwrap();
    drop(waiting);
    while second.cancelled.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_conversation_is_forgotten_by_all() {
    let (first, second) = (engine("first", Fares::Well), engine("second", Fares::Well));
    models(&[&first, &second]).forget("c");
    assert_eq!((first.asked(), second.asked()), (100, 100));
}

fn heard(urgency: Urgency) -> TranscribeRequest {
    TranscribeRequest { audio: vec![0.0; 160].into(), language: None, urgency, speech: None }
}

#[tokio::test]
async fn speech_is_written_down_by_the_first_that_can() {
    for fares in [Fares::Refuses, Fares::Busy, Fares::FailsFirst] {
        for urgency in [Urgency::Final, Urgency::Partial] {
            let (first, second) = (engine("first", fares), engine("second", Fares::Well));
            let row: Vec<Arc<dyn SpeechToText>> = vec![first.clone(), second.clone()];
            let row = FallbackStt::new(IoThread::start().unwrap(), row);
            let heard = match row.transcribe(heard(urgency)) {
                Ok(transcription) => transcription.finished().await,
                Err(error) => Err(error),
            };
            if (fares, urgency) == (Fares::Busy, Urgency::Partial) {
                assert!(matches!(heard, Err(EngineError::Overloaded { .. })), "the next partial comes soon");
                assert_eq!(second.asked(), 0);
            } else {
                assert_eq!(heard.unwrap().text, "second", "{fares:?} {urgency:?}");
            }
        }
    }
}

async fn spoken(row: &FallbackTts, voice: &str) -> (Vec<u32>, usize, bool) {
    let request = SpeakRequest { text: "Hi.".into(), voice: voice.into(), deadline: Instant::now() };
    let mut speech = row.speak(request).unwrap();
    let (mut rates, mut samples) = (Vec::new(), 0);
    while let Some(chunk) = speech.next().await {
        match chunk {
            Ok(pcm) => {
                rates.push(pcm.rate.hertz());
                samples += pcm.samples.len();
            }
            Err(_) => return (rates, samples, false),
        }
    }
    rates.dedup();
    (rates, samples, true)
}

fn voices(row: &[&Arc<Scripted>]) -> FallbackTts {
    let row = row.iter().map(|engine| Arc::clone(engine) as Arc<dyn TextToSpeech>).collect();
    FallbackTts::new(IoThread::start().unwrap(), row)
}

#[tokio::test]
async fn another_voice_speaks_at_the_rate_the_reply_began_with() {
    for fares in [Fares::Refuses, Fares::FailsFirst] {
        let first = scripted("first", fares, SampleRate::HZ_24000);
        let second = scripted("second", Fares::Well, SampleRate::HZ_16000);
        let row = voices(&[&first, &second]);
        for voice in ["", "first/one"] {
            let (rates, samples, whole) = spoken(&row, voice).await;
            assert_eq!((rates.as_slice(), whole), (&[24_000][..], true), "{fares:?}");
            assert!(samples.abs_diff(4_800) < 48, "{samples} samples of 200 ms");
        }
        assert_eq!(row.switch().active(), 1);
    }
}

#[tokio::test]
async fn a_voice_that_only_the_second_has_is_its_own_and_no_fallback() {
    let first = scripted("first", Fares::Well, SampleRate::HZ_24000);
    let second = scripted("second", Fares::Well, SampleRate::HZ_16000);
    let row = voices(&[&first, &second]);
    assert_eq!(spoken(&row, "second/one").await, (vec![16_000], 3_200, true));
    assert_eq!((first.asked(), row.switch().switched()), (0, 0));
    let all: Vec<&str> = row.voices().iter().map(|voice| voice.id.as_str()).collect();
    assert_eq!(all, ["first/one", "second/one"]);
}

#[tokio::test]
async fn half_a_sentence_is_not_said_again() {
    let (first, second) = (engine("first", Fares::FailsLater), engine("second", Fares::Well));
    assert_eq!(spoken(&voices(&[&first, &second]), "").await, (vec![24_000], 2_400, false));
    assert_eq!(second.asked(), 0);
}
