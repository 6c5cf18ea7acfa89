//! `POST /v1/audio/speech`: a text as sound, sent while it is made.
//!
//! The text is stripped of markup and said sentence by sentence. Sentences of calls are due earlier and go first. A text whose
//! beginning the voice cannot say is refused; a later sentence that it cannot say, as one in another language, is left out: by then
//! nothing could be told but by breaking off.

mod request;
mod sound;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use models::error::EngineError;
use models::tts::{SpeakRequest, Speech, TextToSpeech};
use serde_json::json;
use signaling::http::error::ApiError;
use tokio::time::Instant;

use self::request::Asked;
use self::sound::Sound;
use super::pipe::{Gone, Inlet, pipe};
use super::share::Turn;
use super::{LONGEST_ANSWER, Service, failure, json};
use crate::call::allowance::{Bill, Good};

/// Texts that are said at once; one while calls run.
pub const AT_ONCE: u32 = 2;
/// Requests that wait; the next is refused with 429.
pub const WAITING: usize = 16;
/// Sentences that an engine is given ahead, so that it need not wait for the client.
const AHEAD: usize = 2;
/// When the sentences of a request are due: any call's are due before.
const DUE: Duration = Duration::from_secs(60);
/// Which voice speaks, where the client asked for one of OpenAI's.
const VOICE_HEADER: HeaderName = HeaderName::from_static("x-avatar-voice");

pub async fn speak(State(service): State<Arc<Service>>, request: Request) -> Result<Response, ApiError> {
    let grant = service.admit(request.headers())?;
    let bill = service.bill(grant.as_ref(), Good::Speech)?;
    let tts = service.readiness.tts().map_err(failure::unready)?;
    let place = service.speeches.place()?;
    let owner = grant.as_ref().map(|grant| grant.key.as_str());
    let added = |wanted: &str| service.exchange.wardrobe().added_voice(&*tts, owner, wanted);
    let asked = Asked::read(&json(request.into_body()).await?, tts.voices(), &added, &service.session.voice)?;
    service.model("tts", asked.model.as_deref())?;
    let turn = service.speeches.turn(place, service.is_calling()).await?;
    let Asked { sentences, voice, format, as_events, .. } = asked;
    let sound = Sound::new(format);
    let deadline = Instant::now() + LONGEST_ANSWER;
    let mut speaking = Speaking {
        tts,
        voice,
        waiting: sentences.into(),
        begun: VecDeque::new(),
        sound,
        has_spoken: false,
        is_over: false,
        deadline,
        bill,
        turn,
    };
    // What cannot be said is told by the status, not by a sound that breaks off.
    let Some(first) = speaking.next().await? else {
        let message = "the voice makes no sound of that text; send text in its language";
        return Err(ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_value", message).about("input"));
    };
    let headers = [(VOICE_HEADER, speaking.voice.clone())];
    if as_events {
        let events = pipe(|inlet| events_out(inlet, speaking, first)).map(Ok::<_, std::convert::Infallible>);
        return Ok((headers, Sse::new(events)).into_response());
    }
    let body = Body::from_stream(pipe(|inlet| sound_out(inlet, speaking, first)));
    Ok((headers, [(header::CONTENT_TYPE, format.content_type())], body).into_response())
}

async fn sound_out(
    inlet: Inlet<Result<Vec<u8>, std::io::Error>>,
    mut speaking: Speaking,
    first: Vec<u8>,
) -> Result<(), Gone> {
    inlet.send(Ok(first)).await?;
    loop {
        match speaking.next().await {
            Ok(Some(bytes)) => inlet.send(Ok(bytes)).await?,
            Ok(None) => return Ok(()),
            // The status is sent: only a connection that breaks off tells that the sound is not whole.
            Err(error) => return inlet.send(Err(std::io::Error::other(error.message))).await,
        }
    }
}

async fn events_out(inlet: Inlet<Event>, mut speaking: Speaking, first: Vec<u8>) -> Result<(), Gone> {
    let event = |value: serde_json::Value| Event::default().data(value.to_string());
    let mut next = Ok(Some(first));
    loop {
        match next {
            Ok(Some(bytes)) => {
                let audio = BASE64_STANDARD.encode(bytes);
                inlet.send(event(json!({ "type": "speech.audio.delta", "audio": audio }))).await?;
            }
            Ok(None) => return inlet.send(event(json!({ "type": "speech.audio.done" }))).await,
            Err(error) => return inlet.send(event(failure::event(&error))).await,
        }
        next = speaking.next().await;
    }
}

/// A text being said; dropping it cancels, and lets the next have its turn.
struct Speaking {
    tts: Arc<dyn TextToSpeech>,
    voice: String,
    waiting: VecDeque<String>,
    /// With the engine, at most [`AHEAD`].
    begun: VecDeque<Speech>,
    sound: Sound,
    /// Something was said already: what cannot be said from here on is left out.
    has_spoken: bool,
    is_over: bool,
    deadline: Instant,
    bill: Bill,
    #[expect(dead_code, reason = "held for its drop")]
    turn: Turn,
}

impl Speaking {
    /// The next bytes of the answer; none at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            while self.begun.len() < AHEAD
                && let Some(text) = self.waiting.pop_front()
            {
                let deadline = std::time::Instant::now() + DUE;
                let characters = text.chars().count() as u64;
                let request = SpeakRequest { text, voice: self.voice.clone(), deadline };
                match self.tts.speak(request) {
                    Ok(speech) => self.begun.push_back(speech),
                    Err(error) => {
                        self.leave_out(&error)?;
                        continue;
                    }
                }
                self.bill.usage.speech_characters += characters;
            }
            let Some(speech) = self.begun.front_mut() else {
                if std::mem::replace(&mut self.is_over, true) {
                    return Ok(None);
                }
                let rest = self.sound.finish().map_err(internal)?;
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let chunk = tokio::time::timeout_at(self.deadline, speech.next()).await;
            match chunk.map_err(|_| failure::too_slow(LONGEST_ANSWER))? {
                Some(Ok(pcm)) => {
                    self.has_spoken = true;
                    let bytes = self.sound.push(&pcm).map_err(internal)?;
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => {
                    self.leave_out(&error)?;
                    self.begun.pop_front();
                }
                None => drop(self.begun.pop_front()),
            }
        }
    }

    /// Goes on without a sentence that the voice cannot say; any other error, and one at the beginning, is the answer's.
    fn leave_out(&self, error: &EngineError) -> Result<(), ApiError> {
        if !self.has_spoken || !matches!(error, EngineError::BadRequest(_)) {
            return Err(failure::engine(error, "input"));
        }
        tracing::warn!(%error, "a sentence is left out");
        Ok(())
    }
}

fn internal(error: audio::ogg::OggError) -> ApiError {
    tracing::error!(%error, "speech could not be encoded");
    ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", error.to_string())
}
