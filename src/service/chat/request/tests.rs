//! What clients send, and what is made of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

fn read(value: &Value) -> Result<Asked, Fault> {
    Asked::read(value, &SessionDefaults::default())
}

/// A good request with `field` set.
fn with(field: &str, value: Value) -> Value {
    let mut asked = json!({"messages": [{"role": "user", "content": "Hi."}]});
    asked[field] = value;
    asked
}

#[test]
fn a_whole_request_is_understood() {
    let asked = read(&json!({
        "model": "auto", "stream": true, "stream_options": {"include_usage": true}, "user": "u-7",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "new?"}]},
            {"role": "assistant", "content": "Nothing.", "tool_calls": []},
            {"role": "user", "content": ""},
        ],
        "temperature": 0, "top_p": 0.5, "top_k": 40, "min_p": 0.1, "max_completion_tokens": 7, "max_tokens": 9,
        "stop": ["\n", "User:"], "seed": -1, "frequency_penalty": 0.5, "presence_penalty": -2, "repetition_penalty": 1.0,
        "store": true, "metadata": {}, "n": 1, "tools": [], "response_format": {"type": "text"}, "logprobs": false,
    }))
    .unwrap();
    let message = |speaker, text: &str| Message { speaker, text: text.to_owned() };
    assert_eq!(
        asked.messages,
        [
            message(Speaker::System, "Be brief."),
            message(Speaker::User, "What is new?"),
            message(Speaker::Assistant, "Nothing."),
            message(Speaker::User, ""),
        ]
    );
    let sampling = Sampling {
        temperature: 0.0,
        top_p: Some(0.5),
        top_k: Some(40),
        min_p: Some(0.1),
        repeat_penalty: 1.0,
        frequency_penalty: 0.5,
        presence_penalty: -2.0,
        max_tokens: 7,
        seed: u64::MAX,
        stop: vec!["\n".to_owned(), "User:".to_owned()],
        ..Sampling::default()
    };
    assert_eq!(asked.sampling, sampling);
    assert_eq!((asked.stream, asked.include_usage, asked.cache_key.as_deref()), (true, true, Some("u-7")));
}

#[test]
fn a_bare_request_is_answered_as_calls_are() {
    let asked = read(&with("stop", json!("END"))).unwrap();
    assert_eq!(asked.sampling.temperature, SessionDefaults::default().temperature);
    assert_eq!(asked.sampling.stop, ["END"]);
    assert_eq!((asked.stream, asked.cache_key, asked.model), (false, None, None));
}

#[test]
fn the_key_that_says_most_of_the_cache_is_taken() {
    let mut asked = with("user", json!("u"));
    asked["safety_identifier"] = json!("s");
    assert_eq!(read(&asked).unwrap().cache_key.as_deref(), Some("s"));
    asked["prompt_cache_key"] = json!("p");
    assert_eq!(read(&asked).unwrap().cache_key.as_deref(), Some("p"));
}

#[test]
fn what_is_not_done_here_is_refused_with_the_name_of_the_parameter() {
    for (field, value) in [
        ("tools", json!([{"type": "function"}])),
        ("functions", json!([{}])),
        ("n", json!(2)),
        ("n", json!("1")),
        ("logprobs", json!(true)),
        ("top_logprobs", json!(3)),
        ("logit_bias", json!({"50256": -100})),
        ("modalities", json!(["text", "audio"])),
    ] {
        let fault = read(&with(field, value)).unwrap_err();
        assert_eq!((fault.code, fault.param.as_deref()), ("unsupported", Some(field)), "{fault:?}");
    }
    let fault = read(&with("response_format", json!({"type": "json_schema"}))).unwrap_err();
    assert_eq!(fault.param.as_deref(), Some("response_format.type"));
}

#[test]
fn what_is_out_of_range_is_refused_with_the_name_of_the_parameter() {
    let long = "x".repeat(STOP_STRING_BYTES_BOUND + 1);
    for (field, value) in [
        ("temperature", json!(2.1)),
        ("temperature", json!("warm")),
        ("top_p", json!(-0.1)),
        ("min_p", json!(2)),
        ("top_k", json!(-1)),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!(1.5)),
        ("frequency_penalty", json!(3)),
        ("presence_penalty", json!(-2.5)),
        ("seed", json!(0.5)),
        ("stop", json!("")),
        ("stop", json!([1])),
        ("stop", json!(long)),
        ("stop", json!(vec!["x"; STOP_STRINGS_BOUND + 1])),
        ("stream", json!("yes")),
        ("user", json!(7)),
        ("messages", json!([])),
        ("messages", json!("Hi.")),
        ("messages", Value::Null),
        ("model", json!({})),
    ] {
        let fault = read(&with(field, value.clone())).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some(field), "{value}: {fault:?}");
    }
    assert!(read(&json!([1])).is_err());
}

#[test]
fn a_message_that_cannot_be_read_is_named_with_its_place() {
    for (message, param) in [
        (json!({"role": "tool", "content": "7"}), "messages[0].role"),
        (json!({"content": "Hi."}), "messages[0].role"),
        (json!({"role": "user"}), "messages[0].content"),
        (json!({"role": "user", "content": 7}), "messages[0].content"),
        (json!({"role": "user", "content": [{"type": "image_url"}]}), "messages[0].content[0].type"),
        (json!({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text"),
        (json!({"role": "assistant", "content": "", "tool_calls": [{}]}), "messages[0].tool_calls"),
        (json!("Hi."), "messages[0]"),
    ] {
        let fault = read(&with("messages", json!([message]))).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some(param), "{fault:?}");
    }
}

#[test]
fn an_error_gives_back_no_more_than_a_little_of_what_was_sent() {
    let fault = read(&with("messages", json!([{"role": "x".repeat(10_000), "content": ""}]))).unwrap_err();
    assert!(fault.message.len() < 300, "{}", fault.message.len());
}
