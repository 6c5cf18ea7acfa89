//! What a profile is made of, as a form brings it; and a new name, as JSON does.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use serde_json::Value;
use signaling::http::body;
use signaling::http::error::ApiError;

use crate::voices::Upload;

/// The largest recording.
const FILE_LIMIT: usize = 25 * 1024 * 1024;
/// What is around it: boundaries, and the other fields.
const FORM_LIMIT: usize = FILE_LIMIT + 64 * 1024;
/// The longest of the other fields, in bytes.
const FIELD_LIMIT: usize = 16 * 1024;
/// How long it may take to arrive: 25 MiB at 2 Mbit/s.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn read(request: Request) -> Result<Upload, ApiError> {
    if body::content_type(request.headers()) != "multipart/form-data" {
        let message = "the request must be a form; send it as multipart/form-data with the recording in `audio`";
        return Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message));
    }
    let broken = |reason: String| bad("invalid_form", format!("the multipart form cannot be read: {reason}"));
    let (parts, content) = request.into_parts();
    let content = body::read_within(content, FORM_LIMIT, PATIENCE).await?;
    let request = Request::from_parts(parts, Body::from(content));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    let mut upload = Upload::default();
    let mut is_sent = false;
    while let Some(field) = form.next_field().await.map_err(|error| broken(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let content = field.bytes().await.map_err(|error| broken(error.body_text()))?;
        if let "audio" | "file" | "sample" = name.as_str() {
            if content.len() > FILE_LIMIT {
                let message =
                    format!("the recording has {} bytes, and at most {FILE_LIMIT} are taken; cut it", content.len());
                return Err(ApiError::invalid(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).about("audio"));
            }
            (upload.recording, is_sent) = (content, true);
            continue;
        }
        let text = std::str::from_utf8(&content).ok().filter(|text| text.len() <= FIELD_LIMIT);
        let text = || {
            text.ok_or_else(|| bad("invalid_value", "a field is too long, or no text".to_owned()).about(name.clone()))
        };
        match name.as_str() {
            "name" => upload.name = text()?.to_owned(),
            "transcript" => upload.transcript = Some(text()?.to_owned()),
            "consent" => upload.consent = matches!(text()?.trim(), "true" | "1" | "on" | "yes"),
            // What would change nothing here is passed over.
            _ => {}
        }
    }
    if !is_sent {
        return Err(bad("missing_parameter", "there is no recording; send it in `audio`".to_owned()).about("audio"));
    }
    Ok(upload)
}

/// The new name in `{"name": …}`.
pub async fn name(request: Request) -> Result<String, ApiError> {
    let content = body::read(request.into_body(), FIELD_LIMIT).await?;
    let value: Value = serde_json::from_slice(&content)
        .map_err(|error| bad("invalid_json", format!("the body is no JSON: {error}; send {{\"name\": …}}")))?;
    let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
    name.ok_or_else(|| bad("invalid_value", "`name` must be a text; send {\"name\": …}".to_owned()).about("name"))
}

fn bad(code: &'static str, message: String) -> ApiError {
    ApiError::invalid(StatusCode::BAD_REQUEST, code, message)
}
