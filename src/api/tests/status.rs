//! The server at a glance.

use super::*;

#[tokio::test]
async fn the_status_has_engines_calls_memory_and_how_much_is_remembered() {
    let api = Api::with(&[], [("stt", EngineState::Ready), ("tts", missing(true))]);
    api.keep(1_000).await;
    let told = api.get("/api/status").await.json();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["uptime_s"].is_u64());
    let expected = json!([
        { "role": "stt", "name": "stt-model", "state": "ready" },
        { "role": "tts", "name": "tts-model", "state": "missing", "hint": "run `make models`" },
    ]);
    assert_eq!(told["engines"], expected);
    assert_eq!(told["calls"], json!({ "active": 0, "limit": 5 }));
    assert_eq!((&told["history"]["conversations"], &told["history"]["turns"]), (&json!(1), &json!(1)));
    let files = std::fs::read_dir(api.folder.path().join("audio")).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(told["history"]["bytes"], bytes);
    if cfg!(target_os = "linux") {
        assert!(told["memory"]["rss_bytes"].as_u64().unwrap() > 1 << 20);
    }
}

#[tokio::test]
async fn an_engine_that_loads_shows_how_far_it_is() {
    let api = Api::with(&[], [("llm", EngineState::Loading { percent: 40 })]);
    let told = api.get("/api/status").await.json();
    assert_eq!(told["engines"][0], json!({ "role": "llm", "name": "llm-model", "state": "loading", "percent": 40 }));
}

#[tokio::test]
async fn the_status_is_shown_only_to_who_holds_a_key() {
    let api = Api::with(&[KEY], [("stt", EngineState::Ready)]);
    assert_eq!(api.get("/api/status").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(api.get_with("/api/status", "authorization", &format!("Bearer {KEY}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_engine_that_is_there_shows_how_much_it_has_to_do() {
    let api = Api::at_work();
    api.history.render_replies(true);
    api.keep(1_000).await;
    let told = api.get("/api/status").await.json();
    let queues: Vec<_> = told["engines"].as_array().unwrap().iter().map(|engine| engine["queue"].clone()).collect();
    let expected = [json!({"waiting": 3, "busy": 2}), Value::Null, json!({"waiting": 1, "busy": 0})];
    assert_eq!(queues, expected, "{told}");
}
