//! Each engine's first run, before the first caller has to wait for it: a voice says a few words, they are listened to, judged and
//! answered.
//!
//! A first run pays for what engines put off: memory, kernels, threads, connections. It also shows that the engine works at all.

use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use models::error::EngineError;
use models::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker};
use models::stt::{SpeechToText, TranscribeRequest, Urgency};
use models::tts::{SpeakRequest, TextToSpeech};
use models::vad::{TurnModel, VoiceDetector, WINDOW};
use tracing::{info, warn};

use crate::config::SessionDefaults;
use crate::engines::{EngineState, Parts};

/// Longest that one engine's first run may take. Slow machines with large models need some; a remote engine may never answer.
const PATIENCE: Duration = Duration::from_secs(60);
const WORDS: &str = "Hello, how are you today?";
/// Enough for the decoding kernels to have run.
const TOKENS: usize = 4;
/// Whose key-value cache is used; forgotten afterwards.
const CONVERSATION: &str = "warm-up";

/// Runs each engine of `due` that is there, and tells what came of it. Whether one failed.
pub async fn warm_up(
    parts: &Parts,
    due: &[&'static str],
    session: &SessionDefaults,
    tell: impl Fn(&'static str, EngineState) + Sync,
) -> bool {
    let started = Instant::now();
    let tell_of = |kind: &'static str, needed: bool, ran: &Result<(), String>| {
        let state = match ran {
            Ok(()) => EngineState::Ready,
            Err(reason) => {
                warn!(kind, reason, "an engine failed its first run");
                EngineState::Failing { reason: reason.clone(), needed }
            }
        };
        tell(kind, state);
        ran.is_err()
    };
    let mut failed = false;
    // What the others listen to; silence where no voice is.
    let mut said = Pcm::new(SampleRate::HZ_16000, vec![0.0; 16_000]);
    let is_due = |kind: &str| due.contains(&kind);
    if let Some(tts) = parts.tts.as_ref().filter(|_| is_due("tts")) {
        // A voice of the user's own is given to the engine after this.
        let voice = if crate::voices::is_profile_id(&session.voice) { "" } else { &session.voice };
        let spoken = within(speak(tts.as_ref(), voice)).await;
        let ran = spoken.map(|spoken| said = spoken);
        failed |= tell_of("tts", true, &ran);
    }
    if let Some(vad) = parts.vad.as_ref().filter(|_| is_due("vad")) {
        failed |= tell_of("vad", true, &detect(vad.as_ref(), &said.samples).map_err(|error| error.to_string()));
    }
    if let Some(turn) = parts.turn.as_ref().filter(|_| is_due("turn")) {
        failed |= tell_of("turn", false, &within(judge(turn.as_ref(), said.samples.clone())).await);
    }
    if let Some(stt) = parts.stt.as_ref().filter(|_| is_due("stt")) {
        failed |= tell_of("stt", true, &within(listen(stt.as_ref(), said.samples, session.language.clone())).await);
    }
    if let Some(llm) = parts.llm.as_ref().filter(|_| is_due("llm")) {
        failed |= tell_of("llm", true, &within(answer(llm.as_ref(), &session.instructions)).await);
    }
    info!(took = ?started.elapsed(), "engines have made their first runs");
    failed
}

async fn within<T>(run: impl Future<Output = Result<T, EngineError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, run).await {
        Ok(ran) => ran.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it did not finish within {} s", PATIENCE.as_secs())),
    }
}

/// What a voice makes of [`WORDS`], as listeners take it.
async fn speak(tts: &dyn TextToSpeech, voice: &str) -> Result<Pcm, EngineError> {
    let speech =
        tts.speak(SpeakRequest { text: WORDS.to_owned(), voice: voice.to_owned(), deadline: Instant::now() })?;
    let spoken = speech.whole().await?;
    let failed = |reason: String| EngineError::Failed { engine: "text to speech", reason };
    let spoken = spoken.ok_or_else(|| failed("it made no sound".to_owned()))?;
    resample(&spoken, SampleRate::HZ_16000).map_err(|error| failed(error.to_string()))
}

fn detect(vad: &dyn VoiceDetector, samples: &[f32]) -> Result<(), EngineError> {
    let mut stream = vad.stream();
    samples.as_chunks::<WINDOW>().0.iter().try_for_each(|window| stream.push(window).map(drop))
}

async fn judge(turn: &dyn TurnModel, samples: Vec<f32>) -> Result<(), EngineError> {
    turn.judge(samples).await.map(drop)
}

async fn listen(stt: &dyn SpeechToText, samples: Vec<f32>, language: Option<String>) -> Result<(), EngineError> {
    let request = TranscribeRequest { audio: samples.into(), language, urgency: Urgency::Final, speech: None };
    stt.transcribe(request)?.finished().await.map(drop)
}

async fn answer(llm: &dyn LanguageModel, instructions: &str) -> Result<(), EngineError> {
    let message = |speaker, text: &str| Message { speaker, text: text.to_owned() };
    let request = GenerateRequest {
        conversation: CONVERSATION.to_owned(),
        messages: vec![message(Speaker::System, instructions), message(Speaker::User, WORDS)],
        sampling: Sampling { temperature: 0.0, max_tokens: TOKENS, ..Sampling::default() },
    };
    let mut generation = llm.generate(request)?;
    let mut done = Err(EngineError::Stopped { engine: "the language model" });
    while let Some(piece) = generation.next().await {
        if let Piece::Done { .. } = piece? {
            done = Ok(());
        }
    }
    llm.forget(CONVERSATION);
    done
}
