//! Engines that do as they are told, and remember what they were asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use models::cancel::Cancelled;
use models::error::EngineError;
use models::llm::{GenerateRequest, Generation, LanguageModel, Piece, StopReason, TokenUsage};
use models::stt::{SpeechToText, TranscribeRequest, Transcript, Transcription};
use models::tts::{SpeakRequest, Speech, TextToSpeech, Voice};
use models::vad::{VoiceDetector, VoiceStream, WINDOW};

use crate::call::driver::Engines;

/// What an engine does with a request, after what it does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    #[default]
    Finishes,
    /// Begins, and never ends.
    Hangs,
    /// Begins, and fails.
    Breaks,
    /// Takes nothing.
    Refuses,
    Overloaded,
}

/// One engine's manner, and what it was asked.
pub struct Desk<R> {
    pub manner: Mutex<Manner>,
    pub asked: Mutex<Vec<R>>,
    pub cancelled: Mutex<Vec<Cancelled>>,
}

impl<R> Default for Desk<R> {
    fn default() -> Self {
        Self { manner: Mutex::default(), asked: Mutex::default(), cancelled: Mutex::default() }
    }
}

impl<R> Desk<R> {
    pub fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.lock().unwrap().last().is_some_and(Cancelled::is_set)
    }

    fn take(&self, request: R, cancelled: Cancelled) -> Result<Manner, EngineError> {
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Refuses => return Err(EngineError::BadRequest("scripted: it is too long".to_owned())),
            Manner::Overloaded => return Err(EngineError::Overloaded { engine: "scripted", waiting: 9 }),
            _ => {}
        }
        self.asked.lock().unwrap().push(request);
        self.cancelled.lock().unwrap().push(cancelled);
        Ok(manner)
    }
}

fn broken() -> EngineError {
    EngineError::Failed { engine: "scripted", reason: "as scripted".to_owned() }
}

#[derive(Default)]
pub struct Mind(pub Desk<GenerateRequest>);

impl LanguageModel for Mind {
    fn name(&self) -> String {
        "scripted mind".to_owned()
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let (generation, pieces, cancelled) = Generation::new();
        let manner = self.0.take(request, cancelled)?;
        tokio::spawn(async move {
            for word in ["All ", "is ", "well."] {
                let _ = pieces.send(Ok(Piece::Text(word.to_owned()))).await;
            }
            let usage = TokenUsage { prompt_tokens: 30, cached_tokens: 20, generated_tokens: 3, dropped_messages: 1 };
            let _ = match manner {
                Manner::Hangs => return std::future::pending().await,
                Manner::Breaks => pieces.send(Err(broken())).await,
                _ => pieces.send(Ok(Piece::Done { reason: StopReason::EndOfTurn, usage })).await,
            };
        });
        Ok(generation)
    }

    fn forget(&self, _: &str) {}
}

/// Hears how many seconds a stretch lasts.
#[derive(Default)]
pub struct Ear(pub Desk<TranscribeRequest>);

impl SpeechToText for Ear {
    fn name(&self) -> String {
        "scripted ear".to_owned()
    }

    fn languages(&self) -> &[&'static str] {
        &["en"]
    }

    fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription, EngineError> {
        let (transcription, answer, cancelled) = Transcription::new();
        let text = format!("{} seconds.", SampleRate::HZ_16000.duration_of(request.audio.len()).as_secs());
        let manner = self.0.take(request, cancelled)?;
        let heard = Transcript {
            text,
            language: Some("en".to_owned()),
            mean_log_probability: -0.25,
            refused: None,
            queued: Duration::ZERO,
            computed: Duration::ZERO,
        };
        match manner {
            Manner::Hangs => drop(tokio::spawn(async move {
                let _held = answer;
                std::future::pending::<()>().await;
            })),
            Manner::Breaks => drop(answer.send(Err(broken()))),
            _ => drop(answer.send(Ok(heard))),
        }
        Ok(transcription)
    }
}

/// A tenth of a second of tone a word.
/// `scripted/voice_…` are voices that were added.
pub struct Mouth(pub Desk<SpeakRequest>, Vec<Voice>);

impl Default for Mouth {
    fn default() -> Self {
        let voice =
            |id: &str| Voice { id: id.to_owned(), name: id.to_owned(), language: "en", rate: SampleRate::HZ_16000 };
        Self(Desk::default(), vec![voice("scripted/one"), voice("scripted/two")])
    }
}

impl TextToSpeech for Mouth {
    fn name(&self) -> String {
        "scripted mouth".to_owned()
    }

    fn voices(&self) -> &[Voice] {
        &self.1
    }

    fn added_voice(&self, wanted: &str) -> Option<String> {
        let name = wanted.strip_prefix("scripted/").unwrap_or(wanted);
        name.starts_with("voice_").then(|| format!("scripted/{name}"))
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let (speech, chunks, cancelled) = Speech::new();
        let words = request.text.split_whitespace().count();
        let is_silent = request.text.contains("silence");
        let is_foreign = request.text.contains("foreign");
        let manner = self.0.take(request, cancelled)?;
        tokio::spawn(async move {
            if is_foreign {
                let _ = chunks.send(Err(EngineError::BadRequest("scripted: another language".to_owned()))).await;
                return;
            }
            for _ in 0..if is_silent { 0 } else { words } {
                let _ = chunks.send(Ok(Pcm::new(SampleRate::HZ_16000, vec![0.2; 1_600]))).await;
            }
            match manner {
                Manner::Hangs => {
                    let _held = chunks;
                    std::future::pending::<()>().await;
                }
                Manner::Breaks => drop(chunks.send(Err(broken())).await),
                _ => {}
            }
        });
        Ok(speech)
    }
}

/// Takes what is loud for speech.
#[derive(Clone, Copy, Default)]
pub struct Detector;

impl VoiceDetector for Detector {
    fn name(&self) -> &'static str {
        "scripted detector"
    }

    fn stream(&self) -> Box<dyn VoiceStream> {
        Box::new(*self)
    }
}

impl VoiceStream for Detector {
    fn push(&mut self, window: &[f32; WINDOW]) -> Result<f32, EngineError> {
        let loud = window.iter().filter(|sample| sample.abs() >= 0.05).count();
        Ok(if loud > WINDOW / 2 { 0.95 } else { 0.02 })
    }

    fn reset(&mut self) {}
}

#[derive(Clone, Default)]
pub struct Scripted {
    pub mind: Arc<Mind>,
    pub ear: Arc<Ear>,
    pub mouth: Arc<Mouth>,
}

impl Scripted {
    pub fn engines(&self) -> Engines {
        Engines {
            vad: Arc::new(Detector),
            turn: None,
            stt: self.ear.clone(),
            llm: self.mind.clone(),
            tts: self.mouth.clone(),
        }
    }
}
