//! The service as its clients see it: requests through the router, engines that do as they are told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chat;
mod engines;
mod house;
mod quotas;
mod speech;
mod transcription;

use axum::http::StatusCode;
use serde_json::json;

use self::house::{House, KEY};
use super::*;
use crate::engines::{EngineReport, EngineState, Missing};

const ENDPOINTS: [&str; 3] = ["/v1/chat/completions", "/v1/audio/transcriptions", "/v1/audio/speech"];

#[tokio::test]
async fn the_models_that_are_loaded_are_listed_and_each_is_shown_by_its_id() {
    let house = House::new();
    let listed = house.get("/v1/models").await.json();
    assert_eq!(listed["object"], "list");
    let models = listed["data"].as_array().unwrap();
    let ids: Vec<_> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["scripted-mind", "scripted-ear", "scripted-mouth"]);
    for model in models {
        assert_eq!((&model["object"], &model["owned_by"]), (&json!("model"), &json!("local")));
        assert!(model["created"].as_u64().unwrap() > 1_700_000_000);
        let shown = house.get(&format!("/v1/models/{}", model["id"].as_str().unwrap())).await;
        assert_eq!((shown.status, &shown.json()), (StatusCode::OK, model));
    }
    assert_eq!(models[2]["voices"][0]["id"], "scripted/one");
    let unknown = house.get("/v1/models/gpt-9").await;
    assert_eq!((unknown.status, unknown.error_code().as_str()), (StatusCode::NOT_FOUND, "model_not_found"));
}

#[tokio::test]
async fn a_model_that_is_not_there_is_refused_with_those_that_are() {
    let house = House::new();
    for (path, asked, known) in [
        (
            "/v1/chat/completions",
            json!({"model": "gpt-9", "messages": [{"role": "user", "content": "Hi."}]}),
            "scripted-mind",
        ),
        // Another kind's model does not serve it either.
        ("/v1/audio/speech", json!({"model": "scripted-mind", "input": "Hi."}), "scripted-mouth"),
    ] {
        let told = house.post(path, &asked).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "model_not_found"));
        let error = &told.json()["error"];
        assert_eq!(error["param"], "model");
        assert!(error["message"].as_str().unwrap().contains(known), "{error}");
    }
}

#[tokio::test]
async fn nobody_is_served_without_a_key_where_there_are_keys() {
    let house = House::with_keys(&[KEY]);
    for path in ENDPOINTS {
        for (key, code) in [(None, "missing_api_key"), (Some("wrong-wrong-wrong-wrong"), "invalid_api_key")] {
            let told = house.post_as(key, path, &json!({})).await;
            assert_eq!((told.status, told.error_code().as_str()), (StatusCode::UNAUTHORIZED, code), "{path}");
        }
        assert_eq!(house.post_as(Some(KEY), path, &json!({})).await.status.as_u16() / 100, 4);
        assert_ne!(house.post_as(Some(KEY), path, &json!({})).await.status, StatusCode::UNAUTHORIZED);
    }
    for path in ["/v1/models", "/v1/models/scripted-mind"] {
        assert_eq!(house.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn the_secret_of_a_page_opens_calls_but_not_the_models() {
    let house = House::with_keys(&[KEY]);
    let secret = house.client_secret();
    for path in ENDPOINTS {
        let told = house.post_as(Some(&secret), path, &json!({})).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::FORBIDDEN, "api_key_needed"), "{path}");
    }
}

#[tokio::test]
async fn while_models_load_a_request_is_told_when_to_come_back() {
    let report = EngineReport { kind: "llm", name: "a model".to_owned(), state: EngineState::Loading { percent: 50 } };
    let house = House::of(Readiness::expecting(vec![report]), &[]);
    for path in ENDPOINTS {
        let told = house.post(path, &json!({})).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "server_loading"));
        assert!(told.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert!(told.json()["error"]["message"].as_str().unwrap().contains("45 %"));
    }
    assert_eq!(house.get("/v1/models").await.json()["data"], json!([]));
}

#[tokio::test]
async fn an_engine_that_is_missing_is_named_with_what_to_do() {
    let hint = "run `make models`";
    let state = EngineState::Missing { hint: hint.to_owned(), needed: true };
    let reports = vec![EngineReport { kind: "tts", name: "a voice".to_owned(), state }];
    let missing = Missing { what: "the voice".to_owned(), hint: hint.to_owned() };
    let house = House::of(Readiness::settled(Err(missing), reports), &[]);
    let told = house.post("/v1/audio/speech", &json!({"input": "Hi."})).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "engine_missing"));
    let message = told.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("text to speech (a voice)") && message.contains(hint), "{message}");
}

#[tokio::test]
async fn a_request_that_is_no_json_is_refused_without_its_words() {
    let house = House::new();
    for path in ["/v1/chat/completions", "/v1/audio/speech"] {
        let told = house.post_raw(path, "application/json", b"{\"secret words".to_vec()).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_json"));
        assert!(!told.text().contains("secret"), "{}", told.text());
    }
}

#[tokio::test]
async fn other_methods_and_foreign_pages_are_refused_as_by_every_door() {
    let house = House::new();
    let told = house.get("/v1/chat/completions").await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    let told = house.get_from_page("https://evil.example", "/v1/models").await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::FORBIDDEN, "origin_not_allowed"));
    let told = house.get_from_page("http://localhost:5173", "/v1/models").await;
    assert_eq!((told.status, told.header("access-control-allow-origin")), (StatusCode::OK, "http://localhost:5173"));
}
