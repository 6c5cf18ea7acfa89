//! Voices.
#![allow(dead_code, reason = "described, never called")]

use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::Refused;
use super::history::Success;

/// Every voice there is: those that were made of samples, and those that came with the engines.
#[utoipa::path(
    get, path = "/api/voice-profiles", tag = "voices",
    responses((status = 200, description = "All voices", body = Vec<Voice>), Refused)
)]
pub fn list() {}

#[derive(ToSchema)]
pub struct Voice {
    id: String,
    name: String,
    /// Seconds of the sample; none of a preset.
    duration: Option<f64>,
    /// `profile` or `preset`.
    kind: String,
    engine: Option<String>,
    /// BCP 47.
    language: String,
    /// What goes into `session.audio.output.voice`.
    voice: String,
    /// `waiting`, `computing`, `ready` or `failed`.
    state: String,
    reason: Option<String>,
    default: bool,
    created_at: Option<String>,
    transcript: Option<String>,
    bandwidth_hz: u32,
}

/// Makes a voice of a sample of 3 to 30 seconds of speech, of somebody who agrees.
#[utoipa::path(
    post, path = "/api/voice-profile", tag = "voices",
    request_body(content = Sample, content_type = "multipart/form-data"),
    responses((status = 201, description = "The sample will do; the voice is made of it next", body = Made), Refused)
)]
pub fn add() {}

#[derive(ToSchema)]
pub struct Sample {
    #[schema(min_length = 1, max_length = 60)]
    name: String,
    /// WAV, FLAC, MP3, Ogg or WebM.
    #[schema(format = Binary)]
    audio: String,
    /// What is said in it; found out if not given.
    transcript: Option<String>,
    /// That the speaker agrees.
    #[schema(pattern = "^true$")]
    consent: String,
}

#[derive(ToSchema)]
pub struct Made {
    profile_id: String,
    name: String,
    duration: f64,
    /// What could be better about the sample.
    warnings: Vec<String>,
}

/// One voice.
#[utoipa::path(
    get, path = "/api/voice-profile/{id}", tag = "voices", params(("id" = String, Path)),
    responses((status = 200, description = "The voice", body = Voice), Refused)
)]
pub fn show() {}

/// Gives a voice of one's own another name.
#[utoipa::path(
    patch, path = "/api/voice-profile/{id}", tag = "voices", params(("id" = String, Path)),
    request_body(content = VoiceName),
    responses((status = 200, description = "The voice as it then stands", body = Voice), Refused)
)]
pub fn rename() {}

#[derive(ToSchema)]
pub struct VoiceName {
    #[schema(min_length = 1, max_length = 60)]
    name: String,
}

/// Deletes a voice of one's own, its sample and what was computed of it.
#[utoipa::path(
    delete, path = "/api/voice-profile/{id}", tag = "voices", params(("id" = String, Path)),
    responses((status = 200, description = "It is gone", body = Success), Refused)
)]
pub fn remove() {}

/// What a voice sounds like: its sample, or a sentence that a preset says. Ogg Opus, in ranges where asked.
#[utoipa::path(
    get, path = "/api/voice-profile/{id}/audio", tag = "voices", params(("id" = String, Path)),
    responses((status = 200, description = "The sound", content_type = "audio/ogg", body = Vec<u8>), Refused)
)]
pub fn audio() {}

/// Whether voices can be made of samples here, how that comes about where not, and texts to read for a sample.
#[utoipa::path(
    get, path = "/api/voice-cloning", tag = "voices",
    responses((status = 200, description = "What there is", body = Cloning), Refused)
)]
pub fn cloning() {}

#[derive(ToSchema)]
pub struct Cloning {
    available: bool,
    engine: Option<String>,
    hint: Option<String>,
    /// By language.
    reading: Object,
}
