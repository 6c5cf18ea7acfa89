//! The engines by themselves. `docs/service.md` says what of OpenAI's parameters does what.
#![allow(dead_code, reason = "described, never called")]

use utoipa::ToSchema;

use super::Refused;

/// A reply, whole or as it is written.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "service", request_body(content = Chat),
    responses(
        (status = 200, description = "The reply", content((Object = "application/json"), (String = "text/event-stream"))),
        Refused,
    )
)]
pub fn complete() {}

#[derive(ToSchema)]
pub struct Chat {
    /// An id of `/v1/models`, or `auto`.
    #[schema(example = "auto")]
    model: Option<String>,
    #[schema(min_items = 1, max_items = 4096)]
    messages: Vec<Message>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 1)]
    max_completion_tokens: Option<u32>,
    seed: Option<i64>,
    stream: Option<bool>,
    /// Names a conversation whose cache is kept.
    user: Option<String>,
}

#[derive(ToSchema)]
pub struct Message {
    #[schema(pattern = "^(system|developer|user|assistant)$")]
    role: String,
    content: String,
}

/// A recording as text.
#[utoipa::path(
    post, path = "/v1/audio/transcriptions", tag = "service",
    request_body(content = Recording, content_type = "multipart/form-data"),
    responses(
        (
            status = 200, description = "The text",
            content(
                (Object = "application/json"), (String = "text/plain"), (String = "application/x-subrip"), (String = "text/vtt"),
                (String = "text/event-stream")
            )
        ),
        Refused,
    )
)]
pub fn transcribe() {}

#[derive(ToSchema)]
pub struct Recording {
    /// WAV, FLAC, MP3, Ogg, WebM or M4A; at most 25 MiB and an hour.
    #[schema(format = Binary, value_type = String)]
    file: Vec<u8>,
    model: Option<String>,
    #[schema(example = "en")]
    language: Option<String>,
    #[schema(pattern = "^(json|text|verbose_json|srt|vtt)$")]
    response_format: Option<String>,
    stream: Option<bool>,
}

/// A text as sound, sent while it is made.
#[utoipa::path(
    post, path = "/v1/audio/speech", tag = "service", request_body(content = Speech),
    responses(
        (
            status = 200, description = "The sound; `x-avatar-voice` says whose",
            content((Vec<u8> = "audio/wav"), (Vec<u8> = "audio/pcm"), (Vec<u8> = "audio/ogg"), (String = "text/event-stream"))
        ),
        Refused,
    )
)]
pub fn speak() {}

#[derive(ToSchema)]
pub struct Speech {
    #[schema(max_length = 4096)]
    input: String,
    #[schema(example = "auto")]
    model: Option<String>,
    #[schema(example = "alloy")]
    voice: Option<String>,
    #[schema(pattern = "^(wav|pcm|opus)$")]
    response_format: Option<String>,
    #[schema(pattern = "^(audio|sse)$")]
    stream_format: Option<String>,
}

/// What is loaded.
#[utoipa::path(
    get, path = "/v1/models", tag = "service",
    responses((status = 200, description = "The models", body = Models), Refused)
)]
pub fn models() {}

#[derive(ToSchema)]
pub struct Models {
    object: String,
    data: Vec<Model>,
}

#[derive(ToSchema)]
pub struct Model {
    id: String,
    object: String,
    created: u64,
    owned_by: String,
    name: String,
    /// `llm`, `stt` or `tts`.
    kind: String,
}

/// One of them.
#[utoipa::path(
    get, path = "/v1/models/{id}", tag = "service", params(("id" = String, Path)),
    responses((status = 200, description = "The model", body = Model), Refused)
)]
pub fn model() {}
