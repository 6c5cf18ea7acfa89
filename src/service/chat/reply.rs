//! A reply in OpenAI's words: `chat.completion`, or a row of `chat.completion.chunk`.

use models::llm::{StopReason, TokenUsage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::now;

/// What all parts of one reply have in common.
pub struct Reply {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
}

impl Reply {
    /// `include_usage`: the stream ends with what it cost.
    pub fn new(model: String, include_usage: bool) -> Self {
        Self { id: format!("chatcmpl-{}", Uuid::new_v4().simple()), created: now(), model, include_usage }
    }

    pub fn whole(&self, text: &str, reason: StopReason, usage: TokenUsage) -> Value {
        let message = json!({ "role": "assistant", "content": text, "refusal": null });
        let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish(reason) });
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice], "usage": cost(usage),
        })
    }

    pub fn opening(&self) -> Value {
        self.chunk(&json!({ "role": "assistant", "content": "" }), None)
    }

    pub fn more(&self, text: &str) -> Value {
        self.chunk(&json!({ "content": text }), None)
    }

    pub fn end(&self, reason: StopReason) -> Value {
        self.chunk(&json!({}), Some(finish(reason)))
    }

    /// The chunk after the last, if it was asked for.
    pub fn usage(&self, usage: TokenUsage) -> Option<Value> {
        self.include_usage.then(|| self.chunk_of(json!([]), cost(usage)))
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        self.chunk_of(json!([choice]), Value::Null)
    }

    fn chunk_of(&self, choices: Value, usage: Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        });
        // Only a stream that was asked for it has the field.
        if let Some(chunk) = chunk.as_object_mut().filter(|_| self.include_usage) {
            chunk.insert("usage".to_owned(), usage);
        }
        chunk
    }
}

fn finish(reason: StopReason) -> &'static str {
    match reason {
        StopReason::EndOfTurn | StopReason::StopString => "stop",
        StopReason::Length | StopReason::BrokenOff => "length",
    }
}

/// `dropped_messages` is Avatar's own: the oldest that the context had no room for.
fn cost(usage: TokenUsage) -> Value {
    let TokenUsage { prompt_tokens, cached_tokens, generated_tokens, dropped_messages } = usage;
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated_tokens,
        "total_tokens": u64::from(prompt_tokens) + u64::from(generated_tokens),
        "prompt_tokens_details": { "cached_tokens": cached_tokens, "dropped_messages": dropped_messages },
    })
}
