//! Chat, whole and streamed.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use futures_util::StreamExt;
use models::llm::Speaker;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::engines::Manner;
use super::house::{House, chat};
use crate::service::chat::{AT_ONCE, WAITING};

const PATH: &str = "/v1/chat/completions";

fn hello(stream: bool) -> Value {
    json!({"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "Hi."}]})
}

#[tokio::test]
async fn a_whole_reply_has_what_clients_read() {
    let house = House::new();
    let told = house.post(PATH, &hello(false)).await;
    let reply = told.json();
    assert_eq!((told.status, &reply["object"]), (StatusCode::OK, &json!("chat.completion")));
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(reply["model"], "scripted-mind");
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["message"]["role"], &choice["message"]["content"]),
        (&json!("assistant"), &json!("All is well."))
    );
    assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("stop")));
    let expected = json!({
        "prompt_tokens": 30, "completion_tokens": 3, "total_tokens": 33,
        "prompt_tokens_details": {"cached_tokens": 20, "dropped_messages": 1},
    });
    assert_eq!(reply["usage"], expected);
}

#[tokio::test]
async fn a_stream_begins_with_the_role_gives_the_words_and_says_when_it_is_done() {
    let house = House::new();
    let told = house.post(PATH, &hello(true)).await;
    assert_eq!(told.events().last().unwrap(), "[DONE]");
    let chunks = told.json_events();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"]));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "nobody asked what it cost");
    let deltas: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(deltas[0], &json!({"role": "assistant", "content": ""}));
    let text: String = deltas.iter().filter_map(|delta| delta["content"].as_str()).collect();
    assert_eq!(text, "All is well.");
    let ends: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(ends, ["stop"]);
}

#[tokio::test]
async fn a_stream_says_what_it_cost_in_a_chunk_of_its_own_if_asked() {
    let house = House::new();
    let mut asked = hello(true);
    asked["stream_options"] = json!({"include_usage": true});
    let chunks = house.post(PATH, &asked).await.json_events();
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(33)));
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[tokio::test]
async fn the_engine_is_asked_what_the_client_asked() {
    let house = House::new();
    let asked = json!({
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}],
        "stop": ["\n"], "max_tokens": 5, "temperature": 0.7, "prompt_cache_key": "conv_0197",
    });
    house.post(PATH, &asked).await;
    house.post(PATH, &asked).await;
    let requests = house.engines.mind.0.asked.lock().unwrap();
    assert_eq!(requests[0].messages[0].speaker, Speaker::System);
    let sampling = &requests[0].sampling;
    assert_eq!((sampling.max_tokens, sampling.temperature, &sampling.stop), (5, 0.7, &vec!["\n".to_owned()]));
    assert_eq!(requests[0].conversation, requests[1].conversation);
    assert_ne!(requests[0].conversation, "conv_0197", "a call's cache is the call's own");
}

#[tokio::test]
async fn a_prompt_that_the_engine_refuses_is_told_by_the_status_also_of_a_stream() {
    let house = House::new();
    for (manner, status, code) in [
        (Manner::Refuses, StatusCode::BAD_REQUEST, "invalid_value"),
        (Manner::Overloaded, StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
    ] {
        house.engines.mind.0.set(manner);
        for stream in [false, true] {
            let told = house.post(PATH, &hello(stream)).await;
            assert_eq!((told.status, told.error_code().as_str()), (status, code), "{manner:?}");
            assert_eq!(told.header("retry-after").is_empty(), manner == Manner::Refuses);
        }
    }
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_not_taken_for_a_whole_one() {
    let house = House::new();
    house.engines.mind.0.set(Manner::Breaks);
    let told = house.post(PATH, &hello(false)).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "engine_failed"));
    let chunks = house.post(PATH, &hello(true)).await.json_events();
    assert_eq!(chunks.last().unwrap()["error"]["code"], "engine_failed");
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_cancels_its_reply_and_lets_the_next_in() {
    let house = House::new();
    house.engines.mind.0.set(Manner::Hangs);
    for _ in 0..2 * AT_ONCE {
        let mut stream = house.ask(chat(&hello(true))).await.into_body().into_data_stream();
        stream.next().await.unwrap().unwrap();
        assert!(!house.engines.mind.0.is_cancelled());
        drop(stream);
        sleep(Duration::from_millis(1)).await;
        assert!(house.engines.mind.0.is_cancelled());

        let whole = house.ask(chat(&hello(false)));
        assert!(tokio::time::timeout(Duration::from_secs(1), whole).await.is_err());
        assert!(house.engines.mind.0.is_cancelled());
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_can_wait_are_told_to_come_back() {
    let house = House::new();
    house.engines.mind.0.set(Manner::Hangs);
    let most = AT_ONCE as usize + WAITING;
    let mut waiting: Vec<_> = (0..most).map(|_| Box::pin(house.ask(chat(&hello(false))))).collect();
    for asked in &mut waiting {
        assert!(futures_util::poll!(asked).is_pending());
    }
    sleep(Duration::from_millis(1)).await;
    let told = house.post(PATH, &hello(false)).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"));
    assert_eq!(told.header("retry-after"), "2");
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused() {
    let house = House::new();
    let request = axum::http::Request::post(PATH).body(Body::from(vec![b' '; 5 * 1024 * 1024])).unwrap();
    assert_eq!(house.ask(request).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
