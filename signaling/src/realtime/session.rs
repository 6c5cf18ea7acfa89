//! A session, as JSON: what a client may change of it, and how it is shown.
//!
//! [`patch`] reads both the general-availability shape (`audio.input.turn_detection`, `audio.output.voice`, …) and the
//! older beta one (the same at the top level); where both are there the former holds. Fields which Avatar has no use for
//! (audio formats over WebRTC, tracing, tools, …) are read over, and [`show`] tells what is in force instead.
//!
//! Avatar's own fields stand under `avatar`: `avatar.conversation_id` goes on with an earlier conversation, and
//! `avatar.resume_token` with a call that has lost its connection. `avatar.keep_on_close` says that this client comes back with its
//! token when its connection closes without a hang-up.

use std::time::Duration;

use serde_json::{Value, json};

use super::fields::{Fields, invalid, quoted, unsupported};
use crate::line::{ConversationId, Fault, Session, SessionPatch, TurnEnd};
use crate::secret::Secret;

/// What `server_vad` waits for when the client does not say.
const SILENCE: Duration = Duration::from_millis(500);
/// The longest silence that may end a turn.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How much audio before the first voiced sample belongs to a turn.
const PRE_ROLL: Duration = Duration::from_millis(300);
/// Longest conversation id that is looked up.
const CONVERSATION_ID_LIMIT: usize = 128;
/// Longest resume token that is looked up; this server's have 67 bytes.
const RESUME_TOKEN_LIMIT: usize = 128;

/// Reads the `session` of a `session.update`, of an offer, or of a client secret.
pub fn patch(session: &Value) -> Result<SessionPatch, Fault> {
    let session = Fields::of(session, "session")?;
    if let Some(kind) = session.text("type")?.filter(|kind| *kind != "realtime") {
        let message = format!("sessions of type `{}` are not supported; only `realtime` is", quoted(kind));
        return Err(unsupported("session.type", message));
    }
    let audio = session.object("audio")?;
    let input = section(audio.as_ref(), "input")?;
    let output = section(audio.as_ref(), "output")?;

    let mut patch =
        SessionPatch { instructions: session.text("instructions")?.map(str::to_owned), ..Default::default() };
    patch.voice = match &output {
        Some(output) if output.has("voice") => voice(output)?,
        _ => voice(&session)?,
    };
    match &input {
        Some(input) if input.has("turn_detection") => turn_detection(input, &mut patch)?,
        _ if session.has("turn_detection") => turn_detection(&session, &mut patch)?,
        _ => {}
    }
    let transcription = match section(input.as_ref(), "transcription")? {
        Some(transcription) => Some(transcription),
        None => session.object("input_audio_transcription")?,
    };
    if let Some(transcription) = transcription.filter(|transcription| transcription.has("language")) {
        let language = transcription.text("language")?.filter(|language| !matches!(*language, "" | "auto"));
        patch.language = Some(language.map(str::to_owned));
    }
    if let Some(own) = session.object("avatar")? {
        patch.conversation = conversation(&own)?;
        patch.resume = resume_token(&own)?;
        patch.keep_on_close = own.flag("keep_on_close")?;
    }
    Ok(patch)
}

/// `patch` where it says something, `base` elsewhere.
pub fn over(patch: SessionPatch, base: SessionPatch) -> SessionPatch {
    SessionPatch {
        instructions: patch.instructions.or(base.instructions),
        voice: patch.voice.or(base.voice),
        language: patch.language.or(base.language),
        turn_end: patch.turn_end.or(base.turn_end),
        create_response: patch.create_response.or(base.create_response),
        interrupt_response: patch.interrupt_response.or(base.interrupt_response),
        conversation: patch.conversation.or(base.conversation),
        resume: patch.resume.or(base.resume),
        keep_on_close: patch.keep_on_close.or(base.keep_on_close),
    }
}

/// The session object of `session.created` and `session.updated`.
pub fn show(session: &Session) -> Value {
    json!({
        "type": "realtime",
        "object": "realtime.session",
        "id": session.call.as_str(),
        "model": session.model,
        "output_modalities": ["audio"],
        "instructions": session.instructions,
        "audio": {
            "input": {
                "format": format(),
                "transcription": { "model": null, "language": session.language, "prompt": null },
                "noise_reduction": null,
                "turn_detection": show_turn_detection(session),
            },
            "output": { "format": format(), "voice": session.voice, "speed": 1.0 },
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": null,
        "truncation": "auto",
        "prompt": null,
        "include": null,
        // A call lasts until somebody hangs up.
        "expires_at": null,
        "avatar": { "call_id": session.call.as_str(), "conversation_id": session.conversation.as_str() },
    })
}

/// The format that the protocol names for audio which a WebRTC track carries.
pub(super) fn format() -> Value {
    json!({ "type": "audio/pcm", "rate": 24000 })
}

fn section<'a>(of: Option<&Fields<'a>>, key: &str) -> Result<Option<Fields<'a>>, Fault> {
    of.map_or(Ok(None), |fields| fields.object(key))
}

/// A voice by name, or as an object with its `id`.
fn voice(fields: &Fields<'_>) -> Result<Option<String>, Fault> {
    let name = match fields.get("voice") {
        Some(Value::Object(_)) => match fields.object("voice")? {
            Some(voice) => Some(voice.required_text("id")?),
            None => None,
        },
        _ => fields.text("voice")?,
    };
    Ok(name.map(str::to_owned))
}

fn turn_detection(of: &Fields<'_>, patch: &mut SessionPatch) -> Result<(), Fault> {
    let Some(detection) = of.object("turn_detection")? else {
        patch.turn_end = Some(TurnEnd::Manual);
        return Ok(());
    };
    let silence = detection.millis("silence_duration_ms")?;
    if silence.is_some_and(|silence| silence > SILENCE_LIMIT) {
        let path = detection.path("silence_duration_ms");
        return Err(invalid(&path, format!("`{path}` must be at most {}", SILENCE_LIMIT.as_millis())));
    }
    patch.turn_end = match detection.text("type")? {
        Some("server_vad") => Some(TurnEnd::Silence(silence.unwrap_or(SILENCE))),
        Some("semantic_vad") => Some(TurnEnd::Semantic),
        Some("none") => Some(TurnEnd::Manual),
        None => silence.map(TurnEnd::Silence),
        Some(other) => {
            let path = detection.path("type");
            let other = quoted(other);
            return Err(invalid(&path, format!("`{path}` must be `server_vad` or `semantic_vad`, not `{other}`")));
        }
    };
    patch.create_response = detection.flag("create_response")?;
    patch.interrupt_response = detection.flag("interrupt_response")?;
    Ok(())
}

fn show_turn_detection(session: &Session) -> Value {
    match session.turn_end {
        TurnEnd::Manual => Value::Null,
        TurnEnd::Semantic => json!({
            "type": "semantic_vad",
            "eagerness": "auto",
            "create_response": session.create_response,
            "interrupt_response": session.interrupt_response,
        }),
        TurnEnd::Silence(silence) => json!({
            "type": "server_vad",
            "prefix_padding_ms": PRE_ROLL.as_millis() as u64,
            "silence_duration_ms": silence.as_millis() as u64,
            "idle_timeout_ms": null,
            "create_response": session.create_response,
            "interrupt_response": session.interrupt_response,
        }),
    }
}

fn conversation(own: &Fields<'_>) -> Result<Option<ConversationId>, Fault> {
    let id = own.text("conversation_id")?;
    if id.is_some_and(|id| id.is_empty() || id.len() > CONVERSATION_ID_LIMIT) {
        let path = own.path("conversation_id");
        return Err(invalid(&path, format!("`{path}` must have 1 to {CONVERSATION_ID_LIMIT} bytes")));
    }
    Ok(id.map(ConversationId::from_text))
}

fn resume_token(own: &Fields<'_>) -> Result<Option<Secret>, Fault> {
    let token = own.text("resume_token")?;
    if token.is_some_and(|token| token.is_empty() || token.len() > RESUME_TOKEN_LIMIT) {
        let path = own.path("resume_token");
        return Err(invalid(&path, format!("`{path}` must have 1 to {RESUME_TOKEN_LIMIT} bytes")));
    }
    Ok(token.map(Secret::new))
}
