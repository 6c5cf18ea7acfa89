//! What a chat request asks for: read, checked, and brought into the engine's words.

use std::time::{SystemTime, UNIX_EPOCH};

use models::llm::{Message, STOP_STRING_BYTES_BOUND, STOP_STRINGS_BOUND, Sampling, Speaker};
use serde_json::Value;
use signaling::line::Fault;
use signaling::realtime::fields::{Fields, invalid, missing, quoted, unsupported};

use crate::config::SessionDefaults;

/// Longest reply to a request that does not say.
const DEFAULT_TOKENS: u64 = 1024;
/// The same for everybody: what calls use, for small models repeat themselves without it.
const REPEAT_PENALTY: f64 = 1.1;
/// Messages of one conversation.
const MOST_MESSAGES: usize = 4096;

/// A chat request.
#[derive(Debug, PartialEq)]
pub struct Asked {
    pub model: Option<String>,
    pub messages: Vec<Message>,
    pub sampling: Sampling,
    /// Whose conversation it is, in the client's words.
    pub cache_key: Option<String>,
    pub stream: bool,
    pub include_usage: bool,
}

impl Asked {
    pub fn read(value: &Value, session: &SessionDefaults) -> Result<Self, Fault> {
        let fields = Fields::of(value, "")?;
        refuse_unsupported(&fields)?;
        let keys = ["prompt_cache_key", "safety_identifier", "user"].map(|name| fields.text(name));
        let mut cache_key = None;
        for key in keys {
            cache_key = cache_key.or(key?.filter(|key| !key.is_empty()));
        }
        let options = fields.object("stream_options")?;
        let include_usage = options.map(|options| options.flag("include_usage")).transpose()?.flatten();
        Ok(Self {
            model: fields.text("model")?.map(str::to_owned),
            messages: messages(&fields)?,
            sampling: sampling(&fields, session)?,
            cache_key: cache_key.map(str::to_owned),
            stream: fields.flag("stream")?.unwrap_or(false),
            include_usage: include_usage.unwrap_or(false),
        })
    }
}

/// What would change the reply and is not done here.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    let is_empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        other => *other == Value::Bool(false) || *other == Value::from(0),
    };
    for name in
        ["tools", "functions", "logprobs", "top_logprobs", "logit_bias", "audio", "prediction", "web_search_options"]
    {
        if fields.get(name).is_some_and(|value| !is_empty(value)) {
            return Err(unsupported(name, format!("`{name}` is not supported here; leave it out")));
        }
    }
    if fields.get("n").is_some_and(|n| n.as_u64() != Some(1)) {
        return Err(unsupported("n", "`n` must be 1: one request makes one reply".to_owned()));
    }
    if let Some(format) = fields.object("response_format")?
        && format.text("type")?.is_some_and(|kind| kind != "text")
    {
        let message = "`response_format.type` must be `text`: replies are not forced into a shape here";
        return Err(unsupported("response_format.type", message.to_owned()));
    }
    let modalities = fields.list("modalities")?.unwrap_or_default();
    if modalities.iter().any(|kind| kind.as_str() != Some("text")) {
        let message = "`modalities` must be [\"text\"]; use /v1/audio/speech for sound";
        return Err(unsupported("modalities", message.to_owned()));
    }
    Ok(())
}

fn messages(fields: &Fields<'_>) -> Result<Vec<Message>, Fault> {
    let list = fields.list("messages")?.ok_or_else(|| missing("messages"))?;
    if list.is_empty() {
        return Err(invalid("messages", "`messages` is empty; send at least the user's".to_owned()));
    }
    if list.len() > MOST_MESSAGES {
        let message = format!("`messages` has {} entries, and at most {MOST_MESSAGES} are read", list.len());
        return Err(invalid("messages", message));
    }
    list.iter().enumerate().map(|(at, value)| message(value, &format!("messages[{at}]"))).collect()
}

fn message(value: &Value, path: &str) -> Result<Message, Fault> {
    let fields = Fields::of(value, path)?;
    let role = fields.required_text("role")?;
    let speaker = match role {
        "system" | "developer" => Speaker::System,
        "user" => Speaker::User,
        "assistant" => Speaker::Assistant,
        other => {
            let path = fields.path("role");
            let message = format!(
                "`{path}` is `{}`, and only system, developer, user and assistant are understood",
                quoted(other)
            );
            return Err(unsupported(&path, message));
        }
    };
    if fields.get("tool_calls").is_some_and(|calls| calls.as_array().is_none_or(|calls| !calls.is_empty())) {
        let path = fields.path("tool_calls");
        return Err(unsupported(&path, format!("`{path}` is not supported: no tools are called here")));
    }
    Ok(Message { speaker, text: content(&fields)? })
}

/// A message's text: a string, or parts that are all text.
fn content(fields: &Fields<'_>) -> Result<String, Fault> {
    let path = fields.path("content");
    match fields.get("content") {
        None => Err(missing(&path)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            for (at, part) in parts.iter().enumerate() {
                let part = Fields::of(part, &format!("{path}[{at}]"))?;
                let kind = part.required_text("type")?;
                if kind != "text" {
                    let path = part.path("type");
                    let message = format!("`{path}` is `{}`, and only text is understood", quoted(kind));
                    return Err(unsupported(&path, message));
                }
                text.push_str(part.required_text("text")?);
            }
            Ok(text)
        }
        Some(_) => Err(invalid(&path, format!("`{path}` must be a string, or a list of parts"))),
    }
}

fn sampling(fields: &Fields<'_>, session: &SessionDefaults) -> Result<Sampling, Fault> {
    let tokens = match fields.whole("max_completion_tokens")? {
        Some(tokens) => ("max_completion_tokens", Some(tokens)),
        None => ("max_tokens", fields.whole("max_tokens")?),
    };
    if let (name, Some(0)) = tokens {
        return Err(invalid(name, format!("`{name}` must be at least 1")));
    }
    let penalty = |name| fields.number(name, -2.0..=2.0).map(|penalty| penalty.unwrap_or(0.0) as f32);
    let repeat = match fields.number("repetition_penalty", 1.0..=2.0)? {
        Some(penalty) => penalty,
        None => fields.number("repeat_penalty", 1.0..=2.0)?.unwrap_or(REPEAT_PENALTY),
    };
    let top_k = fields.whole("top_k")?;
    let seed = match fields.get("seed") {
        None => fresh_seed(),
        // Any number that JSON can hold, negative ones too.
        Some(seed) => seed
            .as_i64()
            .map(|seed| seed as u64)
            .or_else(|| seed.as_u64())
            .ok_or_else(|| invalid("seed", "`seed` must be a whole number".to_owned()))?,
    };
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(session.temperature),
        top_p: fields.number("top_p", 0.0..=1.0)?,
        top_k: top_k.map(|top_k| usize::try_from(top_k).unwrap_or(usize::MAX)),
        min_p: fields.number("min_p", 0.0..=1.0)?,
        repeat_penalty: repeat as f32,
        frequency_penalty: penalty("frequency_penalty")?,
        presence_penalty: penalty("presence_penalty")?,
        max_tokens: usize::try_from(tokens.1.unwrap_or(DEFAULT_TOKENS)).unwrap_or(usize::MAX),
        seed,
        stop: stop(fields)?,
        ..Sampling::default()
    })
}

fn stop(fields: &Fields<'_>) -> Result<Vec<String>, Fault> {
    let wrong = || {
        let message = format!(
            "`stop` must be a string or a list of at most {STOP_STRINGS_BOUND}, each of 1 to {STOP_STRING_BYTES_BOUND} bytes"
        );
        invalid("stop", message)
    };
    let list = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if list.len() > STOP_STRINGS_BOUND {
        return Err(wrong());
    }
    let fits = |text: &&str| (1..=STOP_STRING_BYTES_BOUND).contains(&text.len());
    list.iter().map(|text| text.as_str().filter(fits).map(str::to_owned).ok_or_else(wrong)).collect()
}

/// Replies need not repeat unless somebody asks for it.
fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
