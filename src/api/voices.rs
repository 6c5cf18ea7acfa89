//! Voices: the user's own and the engines', in one list; making one of a sample; listening to each.

mod form;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use signaling::http::error::ApiError;

use super::conversations::rfc3339;
use super::error::{bad_parameter, internal, not_found};
use super::recording;
use crate::history::Viewer;
use crate::readiness::Unready;
use crate::service::failure;
use crate::voices::{Added, Preset, PresetError, Profile, READING, SampleError, VoiceError, Voices, Workshop};

#[derive(Clone)]
struct VoicesState {
    voices: Arc<Voices>,
    /// What calls speak with unless they ask for another; empty is the first voice there is.
    usual: Arc<str>,
}

/// What concerns voices: to be shown only to those who hold a key, where there are keys.
pub fn router(voices: Arc<Voices>, usual: &str) -> Router {
    Router::new()
        // The form reads at most its own limit.
        .route("/api/voice-profile", post(add).layer(DefaultBodyLimit::disable()))
        .route("/api/voice-profiles", get(list))
        .route("/api/voice-profile/{id}", get(show).patch(rename).delete(remove))
        .route("/api/voice-profile/{id}/audio", get(audio))
        .route("/api/voice-cloning", get(cloning))
        .method_not_allowed_fallback(super::method_not_allowed)
        .with_state(VoicesState { voices, usual: usual.into() })
}

/// A voice in the list.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    name: String,
    /// Seconds of the sample; none of a preset.
    duration: Option<f64>,
    kind: &'static str,
    engine: Option<String>,
    language: String,
    /// What goes into `session.audio.output.voice`.
    voice: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    default: bool,
    created_at: Option<String>,
    transcript: Option<String>,
    /// Of the sample; of a preset, what its rate can carry.
    bandwidth_hz: u32,
}

impl VoicesState {
    fn profile(&self, profile: &Profile) -> Shown {
        let (state, reason) = self.voices.standing(profile);
        let engine = match self.voices.workshop() {
            Workshop::Open(cloning) => Some(cloning.cloner.engine().to_owned()),
            Workshop::Opening | Workshop::Missing(_) => None,
        };
        let (voice, language) = self.voices.voice(profile);
        Shown {
            default: *self.usual == *voice || *self.usual == *profile.id,
            id: profile.id.clone(),
            name: profile.name.clone(),
            duration: Some(profile.duration_ms as f64 / 1_000.0),
            kind: "profile",
            engine,
            language: language.to_owned(),
            voice,
            state: state.word(),
            reason,
            created_at: Some(rfc3339(profile.created_at)),
            transcript: profile.transcript.clone(),
            bandwidth_hz: profile.bandwidth_hz,
        }
    }

    fn preset(&self, preset: Preset, default: bool) -> Shown {
        Shown {
            default,
            id: preset.id,
            name: preset.name,
            duration: None,
            kind: "preset",
            engine: Some(preset.engine),
            language: preset.language.to_owned(),
            voice: preset.voice,
            state: "ready",
            reason: None,
            created_at: None,
            transcript: None,
            bandwidth_hz: preset.bandwidth_hz,
        }
    }

    /// All presets as they are shown. `profiles` are those that are shown with them: exactly one of all is the default.
    fn presets(&self, profiles: &[Shown]) -> Vec<Shown> {
        let presets = self.voices.presets();
        let is_usual = |preset: &Preset| {
            let called = [preset.voice.as_str(), preset.name.as_str(), preset.engine.as_str()];
            !self.usual.is_empty() && called.contains(&&*self.usual)
        };
        let taken = profiles.iter().any(|profile| profile.default);
        let first = (!taken).then(|| presets.iter().position(is_usual).unwrap_or(0));
        presets.into_iter().enumerate().map(|(at, preset)| self.preset(preset, first == Some(at))).collect()
    }
}

type Looking = Option<Extension<Viewer>>;

fn viewer(looking: Looking) -> Viewer {
    looking.map_or_else(Viewer::default, |Extension(viewer)| viewer)
}

/// `GET /api/voice-profiles`: the user's own, oldest first, then those of the engines, the default first.
async fn list(State(state): State<VoicesState>, looking: Looking) -> Result<Json<Vec<Shown>>, ApiError> {
    let profiles = state.voices.list(&viewer(looking)).await.map_err(refused)?;
    let mut shown: Vec<Shown> = profiles.iter().map(|profile| state.profile(profile)).collect();
    shown.extend(state.presets(&shown));
    Ok(Json(shown))
}

/// `POST /api/voice-profile`: a form with `name`, `audio`, `consent`, and `transcript` where it is known.
async fn add(State(state): State<VoicesState>, looking: Looking, request: Request) -> Result<Response, ApiError> {
    let upload = form::read(request).await?;
    let Added { profile, warnings } = state.voices.add(&viewer(looking), upload).await.map_err(refused)?;
    let duration = profile.duration_ms as f64 / 1_000.0;
    let told = json!({ "profile_id": profile.id, "name": profile.name, "duration": duration, "warnings": warnings });
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

/// `GET /api/voice-profile/{id}`.
async fn show(
    State(state): State<VoicesState>,
    looking: Looking,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Shown>, ApiError> {
    let Path(id) = id.map_err(|rejection| bad_parameter("path", rejection.body_text()))?;
    if let Some(profile) = state.voices.profile(&viewer(looking), &id).await.map_err(refused)? {
        return Ok(Json(state.profile(&profile)));
    }
    let preset = state.presets(&[]).into_iter().find(|preset| preset.id == id || preset.voice == id);
    preset.map(Json).ok_or_else(|| no_such(&id))
}

/// `PATCH /api/voice-profile/{id}` with `{"name": …}`.
async fn rename(
    State(state): State<VoicesState>,
    looking: Looking,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Shown>, ApiError> {
    let Path(id) = id.map_err(|rejection| bad_parameter("path", rejection.body_text()))?;
    let name = form::name(request).await?;
    let renamed = state.voices.rename(&viewer(looking), &id, &name).await.map_err(refused)?;
    match renamed {
        Some(profile) => Ok(Json(state.profile(&profile))),
        None => Err(state.voices.preset(&id).map_or_else(|| no_such(&id), |_| preset_stays("renamed"))),
    }
}

/// `DELETE /api/voice-profile/{id}`.
async fn remove(
    State(state): State<VoicesState>,
    looking: Looking,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(|rejection| bad_parameter("path", rejection.body_text()))?;
    match state.voices.remove(&viewer(looking), &id).await.map_err(refused)? {
        true => Ok(Json(json!({ "success": true }))),
        false => Err(state.voices.preset(&id).map_or_else(|| no_such(&id), |_| preset_stays("deleted"))),
    }
}

/// `GET /api/voice-profile/{id}/audio`: the sample, or what the preset says of itself; Ogg Opus, in ranges where asked.
async fn audio(
    State(state): State<VoicesState>,
    looking: Looking,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|rejection| bad_parameter("path", rejection.body_text()))?;
    let path = match state.voices.profile(&viewer(looking), &id).await.map_err(refused)? {
        Some(profile) => state.voices.sample(&profile),
        None => {
            let preset = state.voices.preset(&id).ok_or_else(|| no_such(&id))?;
            state.voices.preset_sample(&preset).await.map_err(unspoken)?
        }
    };
    // Somebody may have removed the file.
    recording::serve(state.voices.folder(), path, &headers).await?.ok_or_else(|| no_such(&id))
}

/// `GET /api/voice-cloning`: whether voices can be made here, how they could, and what to read for a sample.
async fn cloning(State(state): State<VoicesState>) -> Json<Value> {
    let (engine, hint) = match state.voices.workshop() {
        Workshop::Open(cloning) => (Some(cloning.cloner.engine()), None),
        Workshop::Opening => (None, Some("the engines are being loaded; ask again shortly".to_owned())),
        Workshop::Missing(hint) => (None, Some(hint)),
    };
    let reading: serde_json::Map<String, Value> =
        READING.into_iter().map(|(language, text)| (language.to_owned(), text.into())).collect();
    Json(json!({ "available": engine.is_some(), "engine": engine, "hint": hint, "reading": reading }))
}

fn no_such(id: &str) -> ApiError {
    not_found(&format!("voice {id}"))
}

fn preset_stays(done: &str) -> ApiError {
    let message = format!("this voice comes with its engine and cannot be {done}");
    ApiError::invalid(StatusCode::CONFLICT, "preset_voice", message)
}

fn refused(error: VoiceError) -> ApiError {
    let message = error.to_string();
    let bad = |code, param| ApiError::invalid(StatusCode::BAD_REQUEST, code, message.clone()).about(param);
    match &error {
        VoiceError::Name => bad("invalid_value", "name"),
        VoiceError::NameTaken(_) => bad("name_taken", "name"),
        VoiceError::Transcript => bad("invalid_value", "transcript"),
        VoiceError::Consent => bad("consent_needed", "consent"),
        VoiceError::TooMany => bad("too_many_voices", "audio"),
        VoiceError::Sample(SampleError::Detector(_)) => internal(error),
        VoiceError::Sample(sample) => bad(sample.code(), "audio"),
        VoiceError::Busy => {
            ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(RETRY_AFTER)
        }
        VoiceError::Stopped => ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "server_stopping", message),
        VoiceError::History(_) | VoiceError::Files(_) | VoiceError::Encoding(_) => internal(error),
    }
}

const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

fn unspoken(error: PresetError) -> ApiError {
    match error {
        PresetError::Unready(unready @ (Unready::Loading { .. } | Unready::Missing(_))) => failure::unready(unready),
        PresetError::Engine(error) => failure::engine(&error, "id"),
        PresetError::TooSlow => ApiError::server(StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string()),
        PresetError::Voice(error) => refused(error),
    }
}
