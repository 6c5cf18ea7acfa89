//! The language model: what comes of each thing a server may do.

use super::scripted::{Act, answer, chunk, delta, end, events, head, reply};
use super::*;
use crate::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker, StopReason, TokenUsage};

fn request() -> GenerateRequest {
    GenerateRequest {
        conversation: "c".into(),
        messages: vec![Message { speaker: Speaker::User, text: "How are you?".into() }],
        sampling: Sampling { temperature: 0.0, max_tokens: 9, seed: 1, ..Sampling::default() },
    }
}

fn engine(server: &Scripted, change: impl FnOnce(&mut ServerSettings)) -> RemoteLlm {
    let mut server = settings(&server.address);
    change(&mut server);
    RemoteLlm::new(network(), RemoteLlmSettings { server, extra: serde_json::Map::new() })
}

/// What was said, and how it ended.
async fn ask(engine: &RemoteLlm) -> (String, Result<(StopReason, TokenUsage), String>) {
    let mut generation = match engine.generate(request()) {
        Ok(generation) => generation,
        Err(error) => return (String::new(), Err(error.to_string())),
    };
    let mut text = String::new();
    loop {
        match generation.next().await {
            Some(Ok(Piece::Text(more))) => text.push_str(&more),
            Some(Ok(Piece::Done { reason, usage })) => return (text, Ok((reason, usage))),
            Some(Err(error)) => return (text, Err(error.to_string())),
            None => return (text, Err("it ended without an end".into())),
        }
    }
}

async fn outcome(scripts: Vec<Vec<Act>>) -> (String, Result<StopReason, String>, usize) {
    let server = Scripted::start(scripts);
    let engine = engine(&server, |_| {});
    let (text, ended) = ask(&engine).await;
    (text, ended.map(|(reason, _)| reason), server.seen().len())
}

#[tokio::test]
async fn a_reply_is_passed_on_word_by_word_with_its_usage() {
    let server = Scripted::start([reply(&["I am", " fine", "."])]);
    let engine = engine(&server, |_| {});
    let (text, ended) = ask(&engine).await;
    assert_eq!(text, "I am fine.");
    let usage = TokenUsage { prompt_tokens: 7, generated_tokens: 3, ..TokenUsage::default() };
    assert_eq!(ended, Ok((StopReason::EndOfTurn, usage)));
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/v1/chat/completions");
    assert!(seen.head.contains("authorization: Bearer hunter2-hunter2\r\n"), "{}", seen.head);
}

#[tokio::test]
async fn servers_that_differ_from_the_book_are_understood() {
    let keep_alives = events(&[]).into_iter().take(1).chain([
        chunk(b": keep-alive\n\n: keep-alive\r\n\r\n"),
        chunk(b"data:{\"choices\":[{\"delta\":{\"content\":null,\"reasoning_content\":\"Hm.\"}}]}\n\n"),
        chunk(format!("data:{}\n", delta("Hi")).as_bytes()),
        chunk(b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"eos\"}]}"),
        end(),
    ]);
    let whole = answer(200, "", r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"length"}]}"#);
    let done_only = events(&[&delta("Hi"), "[DONE]"]);
    for (script, expected) in [
        (keep_alives.collect(), StopReason::EndOfTurn),
        (whole, StopReason::Length),
        (done_only, StopReason::EndOfTurn),
    ] {
        let server = Scripted::start([script]);
        let (text, ended) = ask(&engine(&server, |_| {})).await;
        let usage = TokenUsage { generated_tokens: 1, ..TokenUsage::default() };
        assert_eq!((text.as_str(), ended), ("Hi", Ok((expected, usage))));
    }
}

#[tokio::test]
async fn the_model_that_is_listed_first_is_taken_where_none_is_named() {
    let server = Scripted::start([reply(&["Hi"])]);
    let engine = engine(&server, |settings| settings.model.clear());
    ask(&engine).await.1.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&server.seen()[0].body).unwrap();
    assert_eq!(body["model"], "first-listed");
    assert!(engine.name().starts_with("first-listed at http://127.0.0.1:"));
}

#[tokio::test]
async fn what_fails_before_the_first_word_is_asked_again_and_said_once() {
    for first in [
        answer(500, "", r#"{"error":{"message":"busy"}}"#),
        answer(503, "retry-after: 0\r\n", ""),
        answer(429, "retry-after: 0.01\r\n", ""),
        vec![Act::Close],
        vec![head("text/event-stream"), Act::Close],
        vec![head("text/event-stream"), end()],
    ] {
        let shown = format!("{first:?}");
        assert_eq!(outcome(vec![first, reply(&["Hi"])]).await, ("Hi".into(), Ok(StopReason::EndOfTurn), 2), "{shown}");
    }
}

#[tokio::test]
async fn what_was_said_is_never_said_again() {
    for last in [vec![Act::Close], vec![chunk(b"data: {\"error\":{\"message\":\"out of memory\"}}\n\n")], vec![end()]] {
        let shown = format!("{last:?}");
        let begun = [head("text/event-stream"), chunk(format!("data: {}\n\n", delta("I am")).as_bytes())];
        let (text, ended, asked) = outcome(vec![begun.into_iter().chain(last).collect(), reply(&["Hi"])]).await;
        assert_eq!((text.as_str(), asked), ("I am", 1), "{shown}");
        assert!(ended.unwrap_err().contains("http://127.0.0.1:"), "{shown}");
    }
}

#[tokio::test]
async fn nobody_is_pressed_who_says_when_to_come_back() {
    let (_, ended, asked) = outcome(vec![answer(429, "retry-after: 30\r\n", "")]).await;
    assert!(ended.unwrap_err().contains("429"));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn what_can_not_get_better_is_told_at_once_with_its_cure() {
    for (script, part) in [
        (answer(401, "", r#"{"error":{"message":"Incorrect API key: hunter2-hunter2"}}"#), "api_key in [remote.llm]"),
        (answer(404, "", r#"{"error":{"message":"no model m"}}"#), "model in [remote.llm]"),
        (answer(307, "location: http://127.0.0.1:9/elsewhere\r\n", ""), "redirects are not followed"),
        (vec![head("text/html"), chunk(b"<html>"), end()], "it answered with a page"),
        (events(&["nonsense"]), "OpenAI-compatible"),
    ] {
        let (text, ended, asked) = outcome(vec![script]).await;
        let error = ended.unwrap_err();
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        assert_eq!((text.as_str(), asked), ("", 1), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = settings(&format!("http://{gone}"));
    let engine = RemoteLlm::new(network(), RemoteLlmSettings { server, extra: serde_json::Map::new() });
    let error = ask(&engine).await.1.unwrap_err();
    assert!(error.contains("no connection") && error.contains("url in [remote.llm]"), "{error}");
}

#[tokio::test]
async fn silence_is_waited_for_no_longer_than_allowed() {
    let short = |settings: &mut ServerSettings| {
        settings.first = Duration::from_millis(100);
        settings.pause = Duration::from_millis(100);
    };
    let begun = chunk(format!("data: {}\n\n", delta("I am")).as_bytes());
    for (script, said, part) in [
        (vec![Act::UntilClosed], "", "the first word did not come"),
        (vec![head("text/event-stream"), Act::UntilClosed], "", "the first word did not come"),
        (vec![head("text/event-stream"), Act::Trickle(b':')], "", "the first word did not come"),
        (vec![head("text/event-stream"), Act::Trickle(b'\n')], "", "the first word did not come"),
        (vec![head("text/event-stream"), begun.clone(), Act::UntilClosed], "I am", "the next word did not come"),
        (vec![head("text/event-stream"), begun, Act::Trickle(b'x')], "I am", "the next word did not come"),
    ] {
        let server = Scripted::start([script]);
        let (text, ended) = ask(&engine(&server, short)).await;
        assert!(text == said && ended.clone().unwrap_err().contains(part), "{text} {ended:?}");
        until(|| server.closed() == 1).await;
    }
}

#[tokio::test]
async fn a_line_without_end_is_not_kept() {
    let endless = std::iter::repeat_n(chunk(&[b'x'; 65_536]), 8);
    let script = std::iter::once(head("text/event-stream")).chain(endless).chain([Act::UntilClosed]).collect();
    let (text, ended, _) = outcome(vec![script]).await;
    assert!(text.is_empty() && ended.unwrap_err().contains("more than is taken"));
}

#[tokio::test]
async fn a_caller_who_goes_away_closes_the_connection() {
    let begun = chunk(format!("data: {}\n\n", delta("I am")).as_bytes());
    let server = Scripted::start([vec![Act::UntilClosed], vec![head("text/event-stream"), begun, Act::UntilClosed]]);
    let engine = engine(&server, |settings| settings.first = Duration::from_secs(60));
    let waiting = engine.generate(request()).unwrap();
    until(|| server.seen().len() == 1).await;
    drop(waiting);
    until(|| server.closed() == 1).await;
    let mut begun = engine.generate(request()).unwrap();
    assert_eq!(begun.next().await.unwrap().unwrap(), Piece::Text("I am".into()));
    drop(begun);
    until(|| server.closed() == 2).await;
}

#[tokio::test]
async fn the_next_reply_comes_over_the_same_connection() {
    let server = Scripted::start([reply(&["Hi"])]);
    let engine = engine(&server, |_| {});
    for _ in 0..3 {
        assert_eq!(ask(&engine).await.0, "Hi");
        // The end of the answer is read after its last piece was passed on.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connections: std::collections::HashSet<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections.len() <= 2, "{connections:?}");
}

#[tokio::test]
async fn a_refused_parameter_is_left_out_and_not_tried_again() {
    let refusal = answer(400, "", r#"{"error":{"message":"Unrecognized request argument: stream_options"}}"#);
    let server = Scripted::start([refusal, reply(&["Hi"])]);
    let engine = engine(&server, |_| {});
    for _ in 0..2 {
        assert_eq!(ask(&engine).await.0, "Hi");
    }
    let asked: Vec<bool> =
        server.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).contains("stream_options")).collect();
    assert_eq!(asked, [true, false, false]);
}
