//! Client events: JSON to what a call is asked.

use serde_json::Value;

use super::MESSAGE_LIMIT;
use super::fields::{Fields, fault, invalid, missing, quoted, unsupported};
use super::session;
use crate::line::{Ask, Fault, Item, ItemId, ItemStatus, Medium, ReplyId, Role};

/// Longest id a client may give an event or an item.
const ID_LIMIT: usize = 512;

const KNOWN: &str = "session.update, conversation.item.create, conversation.item.retrieve, conversation.item.truncate, \
                     conversation.item.delete, response.create, response.cancel, output_audio_buffer.clear, \
                     input_audio_buffer.commit, input_audio_buffer.clear";

/// Reads one message: the client's own id of the event where it can be made out, and what it asks for.
pub(super) fn read(message: &str) -> (Option<String>, Result<Ask, Fault>) {
    if message.len() > MESSAGE_LIMIT {
        let message = format!("the message has {} bytes; send at most {MESSAGE_LIMIT}", message.len());
        return (None, Err(fault("message_too_large", None, message)));
    }
    let value: Value = match serde_json::from_str(message) {
        Ok(value) => value,
        Err(error) => {
            let message = format!("the message is not JSON: {error}; send one JSON object a message");
            return (None, Err(fault("invalid_json", None, message)));
        }
    };
    let event = match Fields::of(&value, "") {
        Ok(event) => event,
        Err(fault) => return (None, Err(fault)),
    };
    match event.text("event_id") {
        Ok(id) => match id.filter(|id| id.len() > ID_LIMIT) {
            Some(_) => (None, Err(invalid("event_id", format!("`event_id` must have at most {ID_LIMIT} bytes")))),
            None => (id.map(str::to_owned), understand(&event)),
        },
        Err(fault) => (None, Err(fault)),
    }
}

fn understand(event: &Fields<'_>) -> Result<Ask, Fault> {
    let kind = event.required_text("type")?;
    Ok(match kind {
        "session.update" => {
            let session = event.get("session").ok_or_else(|| missing("session"))?;
            Ask::UpdateSession(session::patch(session)?)
        }
        "conversation.item.create" => {
            let item = item(&event.object("item")?.ok_or_else(|| missing("item"))?)?;
            Ask::CreateItem { item, previous: optional_id(event, "previous_item_id")?.map(ItemId::from_text) }
        }
        "conversation.item.retrieve" => Ask::RetrieveItem(item_id(event)?),
        "conversation.item.delete" => Ask::DeleteItem(item_id(event)?),
        "conversation.item.truncate" => {
            let item = item_id(event)?;
            if event.get("content_index").is_some_and(|index| index.as_u64() != Some(0)) {
                return Err(invalid("content_index", "`content_index` must be 0: an item has one part".to_owned()));
            }
            let heard = event.millis("audio_end_ms")?.ok_or_else(|| missing("audio_end_ms"))?;
            Ask::TruncateItem { item, heard }
        }
        "response.create" => Ask::CreateReply { instructions: reply_instructions(event)? },
        "response.cancel" => Ask::CancelReply { reply: optional_id(event, "response_id")?.map(ReplyId::from_text) },
        "output_audio_buffer.clear" => Ask::ClearPlayout,
        "input_audio_buffer.commit" => Ask::CommitInput,
        "input_audio_buffer.clear" => Ask::ClearInput,
        "input_audio_buffer.append" => {
            let message = "over WebRTC audio travels on the audio track; send it there instead of \
                           `input_audio_buffer.append`";
            return Err(unsupported("type", message.to_owned()));
        }
        other => {
            let message = format!("`{}` is not a client event; send one of: {KNOWN}", quoted(other));
            return Err(fault("unknown_event", Some("type"), message));
        }
    })
}

/// What a `response.create` says beside "now".
fn reply_instructions(event: &Fields<'_>) -> Result<Option<String>, Fault> {
    let Some(response) = event.object("response")? else { return Ok(None) };
    if response.get("conversation").is_some_and(|conversation| conversation != "auto") {
        let message = "replies outside the conversation are not supported; leave `response.conversation` out or `auto`";
        return Err(unsupported("response.conversation", message.to_owned()));
    }
    if response.list("input")?.is_some() {
        let message = "a reply is always to the conversation; add items with `conversation.item.create` instead of \
                       `response.input`";
        return Err(unsupported("response.input", message.to_owned()));
    }
    Ok(response.text("instructions")?.map(str::to_owned))
}

fn item_id(event: &Fields<'_>) -> Result<ItemId, Fault> {
    let id = optional_id(event, "item_id")?.ok_or_else(|| missing("item_id"))?;
    Ok(ItemId::from_text(id))
}

fn optional_id<'a>(fields: &Fields<'a>, key: &str) -> Result<Option<&'a str>, Fault> {
    let id = fields.text(key)?;
    if id.is_some_and(|id| id.is_empty() || id.len() > ID_LIMIT) {
        let path = fields.path(key);
        return Err(invalid(&path, format!("`{path}` must have 1 to {ID_LIMIT} bytes")));
    }
    Ok(id)
}

/// A message that a client adds to the conversation.
fn item(fields: &Fields<'_>) -> Result<Item, Fault> {
    match fields.required_text("type")? {
        "message" => {}
        other => {
            let message = format!("items of type `{}` are not supported; only `message` is", quoted(other));
            return Err(unsupported(&fields.path("type"), message));
        }
    }
    let role = match fields.required_text("role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => {
            let path = fields.path("role");
            let message = format!("`{path}` must be `user`, `assistant` or `system`, not `{}`", quoted(other));
            return Err(invalid(&path, message));
        }
    };
    let status = match fields.text("status")? {
        Some("incomplete") => ItemStatus::Incomplete,
        _ => ItemStatus::Completed,
    };
    let (text, medium) = content(fields)?;
    let id = optional_id(fields, "id")?.map_or_else(ItemId::fresh, ItemId::from_text);
    Ok(Item { id, role, medium, text, status })
}

/// The text of a message's parts, and whether it was spoken.
fn content(fields: &Fields<'_>) -> Result<(String, Medium), Fault> {
    let path = fields.path("content");
    let parts = fields.list("content")?.filter(|parts| !parts.is_empty()).ok_or_else(|| missing(&path))?;
    let mut texts = Vec::new();
    let mut medium = Medium::Text;
    for (index, part) in parts.iter().enumerate() {
        let part = Fields::of(part, &format!("{path}.{index}"))?;
        match part.required_text("type")? {
            "input_text" | "output_text" | "text" => texts.push(part.required_text("text")?),
            kind @ ("input_audio" | "output_audio" | "audio") => {
                let Some(transcript) = part.text("transcript")? else {
                    let message = format!("`{kind}` needs a `transcript`; recorded audio cannot be added to a call");
                    return Err(unsupported(&part.path("transcript"), message));
                };
                medium = Medium::Voice;
                texts.push(transcript);
            }
            other => {
                let message = format!("parts of type `{}` are not supported; send text", quoted(other));
                return Err(unsupported(&part.path("type"), message));
            }
        }
    }
    Ok((texts.join("\n"), medium))
}
