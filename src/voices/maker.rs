//! The one task that makes voices: writes down what samples say, lets the engine compute, and gives it what was computed before.
//!
//! One profile after the other, the oldest first. Computing takes seconds of the whole machine, so it is not begun while a call
//! runs, for [`HELD_MOST`] at most. What is due is found in the table, not remembered: a restart goes on where it stopped.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audio::pcm::SampleRate;
use audio::resample::resample;
use models::error::EngineError;
use models::stt::{SpeechToText, TranscribeRequest, Urgency};
use models::tts::ClonedVoice;

use super::store::{Profile, Stage};
use super::{State, VoiceError, Voices, Workshop, blocking};
use crate::engines::Cloning;
use crate::history::Viewer;

/// How often it is looked whether calls have ended.
const HELD_STEP: Duration = Duration::from_millis(500);
/// Calls that go on for longer than this are disturbed.
const HELD_MOST: Duration = Duration::from_secs(300);
/// A recogniser that is busy with calls is asked again so often, after so long.
const ASKS: u32 = 60;
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// After something failed that may work later.
const AGAIN: Duration = Duration::from_secs(30);

/// What is to be done for a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Write down what is said in its sample.
    Transcribe,
    Compute,
    /// Give the engine what was computed.
    Load,
}

/// What is due for `profile`. `weights`: those of the engine, if there is one; `is_spoken`: whether the engine has the voice.
pub(super) fn due(profile: &Profile, can_hear: bool, weights: Option<&str>, is_spoken: bool) -> Option<Task> {
    if can_hear && !profile.is_transcribed {
        return Some(Task::Transcribe);
    }
    let weights = weights?;
    match &profile.stage {
        Stage::Waiting | Stage::Computing => Some(Task::Compute),
        Stage::Failed { weights: with, .. } => (with != weights).then_some(Task::Compute),
        Stage::Ready { .. } if is_spoken => None,
        Stage::Ready { weights: with, .. } => Some(if with == weights { Task::Load } else { Task::Compute }),
    }
}

/// Ends with the server.
pub(super) async fn run(voices: &Arc<Voices>) {
    // Whether all engines are there does not matter here.
    let _ = voices.readiness.known().await;
    // Given up until the next start.
    let mut left = HashSet::new();
    loop {
        let cloning = match voices.workshop() {
            Workshop::Open(cloning) => Some(cloning),
            Workshop::Opening | Workshop::Missing(_) => None,
        };
        let ear = voices.readiness.stt().ok();
        let next = match next(voices, ear.is_some(), cloning.as_ref(), &left).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the voice profiles cannot be read; it is tried again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let Some((profile, task)) = next else {
            voices.due.notified().await;
            continue;
        };
        let done = match (task, &ear, &cloning) {
            (Task::Transcribe, Some(ear), _) => transcribe(voices, &profile, ear.as_ref()).await,
            (Task::Load, _, Some(cloning)) => load(voices, &profile, cloning).await,
            (Task::Compute, _, Some(cloning)) => compute(voices, &profile, cloning).await,
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::error!(id = profile.id, ?task, %error, "a voice is left as it is until the next start");
            left.insert(profile.id);
        }
    }
}

async fn next(
    voices: &Arc<Voices>,
    can_hear: bool,
    cloning: Option<&Cloning>,
    left: &HashSet<String>,
) -> Result<Option<(Profile, Task)>, VoiceError> {
    let profiles = voices.list(&Viewer::Everyone).await?;
    let weights = cloning.map(|cloning| cloning.cloner.fingerprint());
    let spoken = voices.spoken();
    let due = profiles.into_iter().filter(|profile| !left.contains(&profile.id)).filter_map(|profile| {
        let task = due(&profile, can_hear, weights, spoken.contains_key(&profile.id))?;
        Some((profile, task))
    });
    // What only has to be loaded is what somebody may be waiting for.
    Ok(due.min_by_key(|(_, task)| *task != Task::Load))
}

async fn transcribe(voices: &Arc<Voices>, profile: &Profile, ear: &dyn SpeechToText) -> Result<(), VoiceError> {
    let (reader, id) = (Arc::clone(voices), profile.id.clone());
    let audio = blocking(move || {
        let sample = reader.files.read_reference(&id).map_err(std::io::Error::other)?;
        Ok(resample(&sample, SampleRate::HZ_16000).map_err(std::io::Error::other)?.samples)
    });
    let request =
        TranscribeRequest { audio: audio.await?.into(), language: None, urgency: Urgency::Background, speech: None };
    let heard = hear(ear, &request).await;
    let text = match heard {
        Ok(text) => Some(text).filter(|text| !text.is_empty()),
        Err(EngineError::Stopped { .. }) => return Err(VoiceError::Stopped),
        Err(error) => {
            tracing::warn!(id = profile.id, %error, "what the sample says is not known");
            None
        }
    };
    let (voices, id) = (Arc::clone(voices), profile.id.clone());
    blocking(move || Ok(voices.store().set_transcript(&id, text.as_deref()).map(drop)?)).await
}

/// Calls fill the queue before samples do.
async fn hear(ear: &dyn SpeechToText, request: &TranscribeRequest) -> Result<String, EngineError> {
    let mut asked = 0;
    loop {
        let heard = match ear.transcribe(request.clone()) {
            Ok(transcription) => transcription.finished().await,
            Err(error) => Err(error),
        };
        asked += 1;
        match heard {
            Err(EngineError::Overloaded { .. }) if asked < ASKS => tokio::time::sleep(ASK_AGAIN).await,
            heard => return heard.map(|transcript| transcript.text),
        }
    }
}

/// Gives the engine a voice that was computed. One that it does not take is computed again.
async fn load(voices: &Arc<Voices>, profile: &Profile, cloning: &Cloning) -> Result<(), VoiceError> {
    let (voices, profile, cloning) = (Arc::clone(voices), profile.clone(), cloning.clone());
    blocking(move || {
        if let Err(error) = speak_with(&voices, &profile, &cloning) {
            tracing::warn!(id = profile.id, %error, "a voice is computed again");
            voices.files.remove_computed(&profile.id);
            voices.store().set_stage(&profile.id, &Stage::Waiting)?;
        }
        Ok(())
    })
    .await
}

async fn compute(voices: &Arc<Voices>, profile: &Profile, cloning: &Cloning) -> Result<(), VoiceError> {
    held(voices, profile).await;
    let (voices, profile, cloning) = (Arc::clone(voices), profile.clone(), cloning.clone());
    blocking(move || {
        // It may have been computed just before the process ended.
        if speak_with(&voices, &profile, &cloning).is_ok() {
            return Ok(());
        }
        if !voices.come_to(&profile, &Stage::Computing, State::Computing)? {
            return Ok(());
        }
        let began = std::time::Instant::now();
        let made = voices.files.read_reference(&profile.id).map_err(|error| error.to_string()).and_then(|sample| {
            let voice = cloning.cloner.condition(&sample).map_err(|error| error.to_string())?;
            voices.files.write_computed(&profile.id, &voice.bytes).map_err(|error| error.to_string())?;
            speak_with(&voices, &profile, &cloning)
        });
        match made {
            Ok(()) => tracing::info!(id = profile.id, took = ?began.elapsed(), "a voice was made"),
            Err(reason) => {
                tracing::warn!(id = profile.id, reason, "a voice could not be made");
                voices.files.remove_computed(&profile.id);
                let weights = cloning.cloner.fingerprint().to_owned();
                voices.come_to(&profile, &Stage::Failed { reason, weights }, State::Failed)?;
            }
        }
        Ok(())
    })
    .await
}

/// Puts the computed voice into the engine, and writes down that it is ready; takes it out again if the profile has been deleted.
fn speak_with(voices: &Voices, profile: &Profile, cloning: &Cloning) -> Result<(), String> {
    let engine = cloning.cloner.engine();
    let bytes = voices.files.read_computed(&profile.id).map_err(|error| error.to_string())?;
    let voice =
        cloning.cloner.add_voice(&profile.id, &ClonedVoice { engine, bytes }).map_err(|error| error.to_string())?;
    voices.spoken().insert(profile.id.clone(), voice);
    let ready = Stage::Ready { engine: engine.to_owned(), weights: cloning.cloner.fingerprint().to_owned() };
    let is_there = voices.come_to(profile, &ready, State::Ready).map_err(|error| error.to_string())?;
    if !is_there {
        voices.hush(&profile.id);
        voices.files.remove(&profile.id);
    }
    Ok(())
}

/// Until no call runs.
async fn held(voices: &Voices, profile: &Profile) {
    let waited = async {
        while (voices.is_calling)() {
            if !voices.held.swap(true, Ordering::Relaxed) {
                voices.tell(profile, Some(State::Waiting));
            }
            tokio::time::sleep(HELD_STEP).await;
        }
    };
    let _ = tokio::time::timeout(HELD_MOST, waited).await;
    voices.held.store(false, Ordering::Relaxed);
}
