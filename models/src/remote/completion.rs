//! Chat completions on the wire: the request's body, and what an answer's objects say.
//!
//! Pure. Reads what OpenAI, vLLM, llama.cpp, Ollama and the like send, and forgives where they differ: no usage, `finish_reason` of
//! any name, a first delta with a role only, `null` content, an error object in mid-stream. `reasoning_content` is not for the
//! caller's ears and is dropped.

use serde_json::{Map, Value, json};

use crate::llm::{GenerateRequest, Message, Speaker, StopReason, TokenUsage};

/// What may be left out, or is named otherwise, where a server does not know it.
const OPTIONAL: [&str; 9] = [
    "stream_options",
    "max_tokens",
    "seed",
    "top_p",
    "temperature",
    "user",
    "stop",
    "frequency_penalty",
    "presence_penalty",
];

/// What an object of the answer says; several at once are possible.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    pub text: String,
    pub finished: Option<StopReason>,
    pub usage: Option<TokenUsage>,
    pub error: Option<String>,
}

/// Reads one object; `None` if it is none.
pub(super) fn read(data: &str) -> Option<Said> {
    let value: Value = serde_json::from_str(data).ok()?;
    let object = value.as_object()?;
    if let Some(error) = error_of(object) {
        return Some(Said { error: Some(error), ..Said::default() });
    }
    let choice = &value["choices"][0];
    // A server that does not stream sends the whole `message`.
    let text = [&choice["delta"]["content"], &choice["message"]["content"]].into_iter().find_map(Value::as_str);
    let finished = choice["finish_reason"].as_str().map(|reason| match reason {
        "length" | "max_tokens" | "model_length" => StopReason::Length,
        _ => StopReason::EndOfTurn,
    });
    let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
    let usage = &value["usage"];
    let usage = count(&usage["completion_tokens"]).map(|generated_tokens| TokenUsage {
        prompt_tokens: count(&usage["prompt_tokens"]).unwrap_or(0),
        cached_tokens: count(&usage["prompt_tokens_details"]["cached_tokens"]).unwrap_or(0),
        generated_tokens,
        dropped_messages: count(&usage["dropped_messages"]).unwrap_or(0),
    });
    Some(Said { text: text.unwrap_or_default().to_owned(), finished, usage, error: None })
}

/// What an error's body says: `{"error": {"message"}}`, `{"error": "…"}`, `{"message"}`, `{"detail"}`, or plain text.
pub(super) fn error_text(body: &str) -> String {
    let value: Option<Value> = serde_json::from_str(body).ok();
    let text = value.as_ref().and_then(Value::as_object).and_then(error_of);
    text.unwrap_or_else(|| if body.trim_start().starts_with('<') { String::new() } else { body.to_owned() })
}

fn error_of(object: &Map<String, Value>) -> Option<String> {
    // vLLM: {"object": "error", "message": …}
    let whole = object.get("object").and_then(Value::as_str) == Some("error") || !object.contains_key("choices");
    match (object.get("error"), object.get("message"), object.get("detail")) {
        (Some(Value::Object(error)), ..) => {
            Some(error.get("message").and_then(Value::as_str).unwrap_or("without a message").to_owned())
        }
        (Some(Value::String(text)), ..) => Some(text.clone()),
        (_, Some(Value::String(text)), _) | (_, _, Some(Value::String(text))) if whole => Some(text.clone()),
        (_, _, Some(detail @ Value::Array(_))) if whole => Some(detail.to_string()),
        _ => None,
    }
}

/// Which parameters a server has shown not to know, and what is always sent along.
#[derive(Debug, Clone, Default)]
pub(super) struct Dialect {
    refused: Vec<&'static str>,
    extra: Map<String, Value>,
}

impl Dialect {
    pub fn new(extra: Map<String, Value>) -> Self {
        Self { refused: Vec::new(), extra }
    }

    /// The server refused a request with this message: which parameter to do without, if it names one that can be spared.
    pub fn spare(&mut self, message: &str) -> bool {
        let named = OPTIONAL.into_iter().find(|name| message.contains(name) && !self.refused.contains(name));
        self.refused.extend(named);
        named.is_some()
    }

    /// The body that asks for `request`.
    pub fn body(&self, request: &GenerateRequest, model: &str) -> Vec<u8> {
        let sampling = &request.sampling;
        let mut body = Map::new();
        if !model.is_empty() {
            body.insert("model".into(), model.into());
        }
        body.insert("messages".into(), request.messages.iter().map(message).collect());
        body.insert("stream".into(), true.into());
        let optional = [
            ("stream_options", Some(json!({"include_usage": true}))),
            ("max_tokens", Some(sampling.max_tokens.into())),
            // Text-generation servers read it as a signed number of 63 bits.
            ("seed", Some((sampling.seed >> 1).into())),
            ("top_p", sampling.top_p.map(Value::from)),
            ("temperature", Some(sampling.temperature.into())),
            // Of what else can be asked, the interface has these; `repeat_penalty` and the like every server names its own way.
            ("stop", (!sampling.stop.is_empty()).then(|| sampling.stop.clone().into())),
            ("frequency_penalty", penalty(sampling.frequency_penalty)),
            ("presence_penalty", penalty(sampling.presence_penalty)),
            // Servers that keep a cache a user find the conversation's by it.
            ("user", Some(request.conversation.as_str().into())),
        ];
        for (name, value) in optional {
            let Some(value) = value else { continue };
            if !self.refused.contains(&name) {
                body.insert(name.into(), value);
            } else if name == "max_tokens" {
                body.insert("max_completion_tokens".into(), value);
            }
        }
        body.extend(self.extra.clone());
        Value::Object(body).to_string().into_bytes()
    }
}

fn penalty(penalty: f32) -> Option<Value> {
    (penalty != 0.0).then(|| f64::from(penalty).into())
}

fn message(message: &Message) -> Value {
    let role = match message.speaker {
        Speaker::System => "system",
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
    };
    json!({"role": role, "content": message.text})
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::llm::Sampling;

    #[test]
    fn what_real_servers_send_is_understood() {
        let text = |data: &str| read(data).unwrap().text;
        assert_eq!(text(r#"{"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#), "");
        assert_eq!(text(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#), "");
        assert_eq!(text(r#"{"choices":[{"delta":{"content":null,"reasoning_content":"Hm."}}]}"#), "");
        assert_eq!(text(r#"{"choices":[{"delta":{"content":" two"},"logprobs":null}],"usage":null}"#), " two");
        assert_eq!(text(r#"{"choices":[{"message":{"role":"assistant","content":"whole"}}]}"#), "whole");
        assert_eq!(text(r#"{"choices":[]}"#), "");
        for (reason, expected) in [
            ("stop", StopReason::EndOfTurn),
            ("eos", StopReason::EndOfTurn),
            ("tool_calls", StopReason::EndOfTurn),
            ("length", StopReason::Length),
            ("max_tokens", StopReason::Length),
        ] {
            let data = json!({"choices": [{"delta": {}, "finish_reason": reason}]}).to_string();
            assert_eq!(read(&data).unwrap().finished, Some(expected), "{reason}");
        }
    }

    #[test]
    fn usage_counts_what_was_cached_where_it_is_told() {
        let usage = |data: &str| read(data).unwrap().usage;
        let whole = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":7}}}"#;
        let expected = TokenUsage { prompt_tokens: 9, cached_tokens: 7, generated_tokens: 4, dropped_messages: 0 };
        assert_eq!(usage(whole), Some(expected));
        assert_eq!(
            usage(r#"{"choices":[],"usage":{"completion_tokens":4,"prompt_tokens_details":null}}"#)
                .unwrap()
                .generated_tokens,
            4
        );
        assert_eq!(usage(r#"{"choices":[],"usage":{"completion_tokens":-1}}"#), None);
    }

    #[test]
    fn an_error_is_an_error_however_it_is_wrapped() {
        for body in [
            r#"{"error":{"message":"out of memory","type":"server_error"}}"#,
            r#"{"error":"out of memory"}"#,
            r#"{"object":"error","message":"out of memory","code":500}"#,
            r#"{"detail":"out of memory"}"#,
        ] {
            assert_eq!(read(body).unwrap().error.as_deref(), Some("out of memory"), "{body}");
            assert_eq!(error_text(body), "out of memory");
        }
        assert_eq!(error_text("upstream down"), "upstream down");
        assert_eq!(error_text("<html><h1>502</h1>"), "");
        assert!(
            error_text(r#"{"detail":[{"loc":["body","model"],"msg":"field required"}]}"#).contains("field required")
        );
    }

    #[test]
    fn what_is_no_object_is_not_taken_for_silence() {
        for data in ["", "nonsense", "[1]", "\"text\"", "{\"choices\":"] {
            assert_eq!(read(data), None, "{data}");
        }
    }

    #[test]
    fn a_parameter_that_a_server_refuses_is_left_out_from_then_on() {
        let request = GenerateRequest {
            conversation: "c".into(),
            messages: vec![
                Message { speaker: Speaker::System, text: "Be brief.".into() },
                Message { speaker: Speaker::User, text: "你好".into() },
            ],
            sampling: Sampling { temperature: 0.2, max_tokens: 9, seed: u64::MAX, ..Sampling::default() },
        };
        let extra = json!({"chat_template_kwargs": {"enable_thinking": false}});
        let mut dialect = Dialect::new(extra.as_object().unwrap().clone());
        let body = |dialect: &Dialect| serde_json::from_slice::<Value>(&dialect.body(&request, "m")).unwrap();
        assert_eq!(
            body(&dialect),
            json!({
                "model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 9,
                "seed": i64::MAX, "temperature": 0.2, "user": "c", "chat_template_kwargs": {"enable_thinking": false},
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}],
            })
        );
        assert!(dialect.spare("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."));
        assert_eq!(
            (&body(&dialect)["max_tokens"], &body(&dialect)["max_completion_tokens"]),
            (&Value::Null, &json!(9))
        );
        assert!(dialect.spare("unknown field stream_options"));
        assert_eq!(body(&dialect)["stream_options"], Value::Null);
        assert!(!dialect.spare("unknown field stream_options"), "it would be asked for ever");
        assert!(!dialect.spare("the model is not loaded"));
    }
}
