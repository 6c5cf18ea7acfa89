//! `GET /v1/models`: which engines there are, by the names that requests call them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use signaling::http::error::ApiError;
use signaling::realtime::fields::quoted;

use super::Service;

/// Besides its id and nothing at all, what a request may call a model: whichever is loaded.
const AUTO: &str = "auto";

/// A model that can be asked.
struct Served {
    id: String,
    /// `llm`, `stt` or `tts`.
    kind: &'static str,
    name: String,
    endpoint: &'static str,
    /// What else there is to know.
    more: Value,
}

impl Served {
    fn shown(&self, since: u64) -> Value {
        let Self { id, kind, name, endpoint, more } = self;
        let mut shown = json!({
            "id": id, "object": "model", "created": since, "owned_by": "local",
            "name": name, "kind": kind, "endpoints": [endpoint],
        });
        if let (Some(shown), Some(more)) = (shown.as_object_mut(), more.as_object()) {
            shown.extend(more.clone());
        }
        shown
    }
}

/// Every model that is loaded.
pub async fn list(State(service): State<Arc<Service>>, headers: HeaderMap) -> Result<Json<Value>, ApiError> {
    service.admit(&headers)?;
    let models: Vec<_> = service.served().iter().map(|model| model.shown(service.since)).collect();
    Ok(Json(json!({ "object": "list", "data": models })))
}

/// One of them.
pub async fn show(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    service.admit(&headers)?;
    let served = service.served();
    let model = served.iter().find(|model| model.id == id).ok_or_else(|| not_found(&id, &served))?;
    Ok(Json(model.shown(service.since)))
}

impl Service {
    fn served(&self) -> Vec<Served> {
        let mut served = Vec::new();
        if let Ok(llm) = self.readiness.llm() {
            let (kind, endpoint, name) = ("llm", "/v1/chat/completions", llm.name());
            served.push(Served { id: id_of(&name, kind), kind, name, endpoint, more: json!({}) });
        }
        if let Ok(stt) = self.readiness.stt() {
            let (kind, endpoint, name) = ("stt", "/v1/audio/transcriptions", stt.name());
            let more = json!({ "languages": stt.languages() });
            served.push(Served { id: id_of(&name, kind), kind, name, endpoint, more });
        }
        if let Ok(tts) = self.readiness.tts() {
            let (kind, endpoint, name) = ("tts", "/v1/audio/speech", tts.name());
            let voices: Vec<_> = tts
                .voices()
                .iter()
                .map(|voice| json!({ "id": voice.id, "name": voice.name, "language": voice.language }))
                .collect();
            served.push(Served { id: id_of(&name, kind), kind, name, endpoint, more: json!({ "voices": voices }) });
        }
        served
    }

    /// The id of the model of `kind` that a request for `asked` is served by; 404 when it asks for another.
    pub fn model(&self, kind: &'static str, asked: Option<&str>) -> Result<String, ApiError> {
        let served = self.served();
        let asked = asked.unwrap_or_default().trim();
        let is_it = |model: &&Served| {
            model.kind == kind && (asked.is_empty() || asked == AUTO || asked == model.id || asked == model.name)
        };
        match served.iter().find(is_it) {
            Some(model) => Ok(model.id.clone()),
            None => Err(not_found(asked, served.iter().filter(|model| model.kind == kind)).about("model")),
        }
    }
}

fn not_found<'a>(asked: &str, served: impl IntoIterator<Item = &'a Served>) -> ApiError {
    let known: Vec<_> = served.into_iter().map(|model| model.id.as_str()).collect();
    let message = format!("there is no model `{}` here; use {}, or `{AUTO}`", quoted(asked), known.join(" or "));
    ApiError::invalid(StatusCode::NOT_FOUND, "model_not_found", message)
}

/// An engine's name as one word for addresses and settings: lower case, `-` for whatever needs care. Its kind, if nothing is left.
fn id_of(name: &str, kind: &str) -> String {
    let mut id = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') {
            id.push(character.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    let id = id.trim_end_matches('-');
    if id.is_empty() { kind.to_owned() } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_needs_no_quoting_in_an_address() {
        for (name, id) in [
            ("candle SmolLM2-135M-Instruct.Q4_1", "candle-smollm2-135m-instruct.q4_1"),
            ("flite 2.2, festival (HTS)", "flite-2.2-festival-hts"),
            ("語音", "tts"),
        ] {
            assert_eq!(id_of(name, "tts"), id);
        }
    }
}
