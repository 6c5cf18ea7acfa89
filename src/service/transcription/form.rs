//! The form that a recording comes in.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use signaling::http::body;
use signaling::http::error::ApiError;
use signaling::line::Fault;
use signaling::realtime::fields::{invalid, missing, quoted, unsupported};

use super::words::Shape;

/// The largest recording, as OpenAI has it.
const FILE_LIMIT: usize = 25 * 1024 * 1024;
/// What is around it: boundaries, and the other fields.
const FORM_LIMIT: usize = FILE_LIMIT + 64 * 1024;
/// The longest of the other fields.
const FIELD_LIMIT: usize = 16 * 1024;
/// How long it may take to arrive: 25 MiB at 2 Mbit/s.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Form {
    pub file: Bytes,
    pub asked: Asked,
}

/// What is asked of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub model: Option<String>,
    /// BCP 47; none is to be found out.
    pub language: Option<String>,
    pub shape: Shape,
    pub stream: bool,
}

impl Asked {
    /// Refuses a language that the recogniser does not know; `known` is empty where it knows many.
    pub fn check_language(&self, known: &[&str]) -> Result<(), Fault> {
        let Some(language) = &self.language else { return Ok(()) };
        let primary = language.split('-').next().unwrap_or_default();
        if known.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(primary)) {
            return Ok(());
        }
        let message = format!("`language` is `{}`, and this model understands {}", quoted(language), known.join(", "));
        Err(unsupported("language", message))
    }
}

pub async fn read(request: Request) -> Result<Form, ApiError> {
    if body::content_type(request.headers()) != "multipart/form-data" {
        let message = "the request must be a form; send it as multipart/form-data with the recording in `file`";
        return Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message));
    }
    let broken = |reason: String| {
        let message = format!("the multipart form cannot be read: {reason}");
        ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_form", message)
    };
    let (parts, content) = request.into_parts();
    let content = body::read_within(content, FORM_LIMIT, PATIENCE).await?;
    let request = Request::from_parts(parts, Body::from(content));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    let mut file = None;
    let mut asked = Asked { model: None, language: None, shape: Shape::Json, stream: false };
    while let Some(field) = form.next_field().await.map_err(|error| broken(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let content = field.bytes().await.map_err(|error| broken(error.body_text()))?;
        if name == "file" {
            file = Some(content);
        } else {
            take(&mut asked, &name, &content)?;
        }
    }
    let file = file.ok_or_else(|| missing("file"))?;
    if file.len() > FILE_LIMIT {
        let message =
            format!("`file` has {} bytes, and at most {FILE_LIMIT} are taken; split the recording", file.len());
        return Err(ApiError::invalid(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).about("file"));
    }
    if asked.stream && !matches!(asked.shape, Shape::Json | Shape::Text) {
        let message = "with `stream` the `response_format` must be json or text";
        return Err(unsupported("response_format", message.to_owned()).into());
    }
    Ok(Form { file, asked })
}

/// One field besides the recording. What would change nothing here (`temperature`, `prompt`, …) is passed over.
fn take(asked: &mut Asked, name: &str, content: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(content).ok().filter(|text| text.len() <= FIELD_LIMIT);
    let wrong = |message: String| invalid(name, message);
    let text = text.ok_or_else(|| wrong(format!("`{}` is too long, or no text", quoted(name))))?.trim();
    match name {
        "model" => asked.model = Some(text.to_owned()),
        "language" if text.is_empty() => {}
        "language" => {
            let is_tag = text.len() <= 35 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if !is_tag {
                return Err(wrong(format!("`language` is `{}`; write it as `en` or `zh-TW`", quoted(text))));
            }
            asked.language = Some(text.to_owned());
        }
        "response_format" => {
            let shape = Shape::ALL.into_iter().find(|(name, _)| *name == text);
            let known = Shape::ALL.map(|(name, _)| name).join(", ");
            asked.shape = shape.map(|(_, shape)| shape).ok_or_else(|| {
                unsupported(name, format!("`response_format` is `{}`; use one of {known}", quoted(text)))
            })?;
        }
        "stream" => {
            asked.stream = match text.to_ascii_lowercase().as_str() {
                "true" | "1" => true,
                "false" | "0" | "" => false,
                _ => return Err(wrong("`stream` must be true or false".to_owned())),
            };
        }
        "timestamp_granularities[]" | "timestamp_granularities" if text != "segment" => {
            return Err(unsupported(name, "only `segment` is timed here, not single words".to_owned()));
        }
        "include[]" | "include" | "known_speaker_names[]" | "known_speaker_references[]" => {
            return Err(unsupported(name, format!("`{name}` is not supported here; leave it out")));
        }
        _ => {}
    }
    Ok(())
}
