//! `POST /v1/audio/transcriptions`: a recording as text, whole, with times, or piece by piece.
//!
//! Listens for speech first, so that silence is an empty text and not what a recogniser makes up of it. Each stretch of speech is
//! recognised by itself at the lowest urgency: a call waits for one stretch at most, and only if all recognisers are at work.

mod form;
mod listen;
mod segment;
mod words;

use std::sync::Arc;
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use audio::recording;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use signaling::http::error::ApiError;

use self::form::Form;
use self::listen::Listening;
use self::words::Heard;
use super::pipe::{Gone, Inlet, pipe};
use super::share::Turn;
use super::{LONGEST_ANSWER, Service, failure};
use crate::call::allowance::Good;

/// Recordings that are listened to at once: one, so that of two recognisers one is always there for calls.
pub const AT_ONCE: u32 = 1;
/// Requests that wait; the next is refused with 429. Each holds its upload, at most 25 MiB.
pub const WAITING: usize = 7;
/// The longest recording. As samples it takes 230 MB.
const LONGEST: Duration = Duration::from_secs(3_600);

pub async fn transcribe(State(service): State<Arc<Service>>, request: Request) -> Result<Response, ApiError> {
    let grant = service.admit(request.headers())?;
    let bill = service.bill(grant.as_ref(), Good::Transcription)?;
    let stt = service.readiness.stt().map_err(failure::unready)?;
    let vad = service.readiness.vad().map_err(failure::unready)?;
    let place = service.recordings.place()?;
    let Form { file, asked } = form::read(request).await?;
    service.model("stt", asked.model.as_deref())?;
    asked.check_language(stt.languages())?;
    let turn = service.recordings.turn(place, service.is_calling()).await?;
    let recording = decode(file).await?;
    let duration = recording.duration();
    let listening = Listening::new(recording.samples, vad.stream(), stt, asked.language.clone(), bill);
    let heard = Heard { language: asked.language.clone(), duration, passages: Vec::new() };
    let work = Work { listening, heard, turn };
    if asked.stream {
        let events = pipe(|inlet| stream_out(inlet, work)).map(Ok::<_, std::convert::Infallible>);
        return Ok(Sse::new(events).into_response());
    }
    let heard = tokio::time::timeout(LONGEST_ANSWER, work.whole()).await;
    let heard = heard.map_err(|_| failure::too_slow(LONGEST_ANSWER))??;
    Ok(heard.shaped(asked.shape))
}

/// The recording's samples at 16 kHz. Takes up to seconds, so it has a thread.
async fn decode(file: Bytes) -> Result<Pcm, ApiError> {
    let read = tokio::task::spawn_blocking(move || recording::read(file, SampleRate::HZ_16000, LONGEST)).await;
    let read = read.map_err(|_| {
        let message = "the recording could not be read; convert it to WAV";
        ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })?;
    read.map_err(|error| ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_audio", error.to_string()).about("file"))
}

/// A recording being listened to; dropping it cancels, and lets the next have its turn.
struct Work {
    listening: Listening,
    heard: Heard,
    #[expect(dead_code, reason = "held for its drop")]
    turn: Turn,
}

impl Work {
    async fn whole(mut self) -> Result<Heard, ApiError> {
        while let Some(passage) = self.listening.next().await? {
            self.heard.take(passage);
        }
        Ok(self.heard)
    }
}

async fn stream_out(inlet: Inlet<Event>, mut work: Work) -> Result<(), Gone> {
    let event = |value: serde_json::Value| Event::default().data(value.to_string());
    let deadline = tokio::time::Instant::now() + LONGEST_ANSWER;
    loop {
        let next = tokio::time::timeout_at(deadline, work.listening.next()).await;
        match next.unwrap_or_else(|_| Err(failure::too_slow(LONGEST_ANSWER))) {
            Ok(Some(passage)) => {
                let delta = work.heard.take(passage);
                inlet.send(event(json!({ "type": "transcript.text.delta", "delta": delta }))).await?;
            }
            Ok(None) => break,
            Err(error) => return inlet.send(event(failure::event(&error))).await,
        }
    }
    let done = json!({ "type": "transcript.text.done", "text": work.heard.text(), "usage": work.heard.usage() });
    inlet.send(event(done)).await
}
