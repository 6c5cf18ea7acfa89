//! Health and the page.

use super::*;

#[tokio::test]
async fn health_is_ok_while_calls_can_be_taken_and_503_while_not() {
    let ready = || EngineState::Ready;
    let cases = [
        ([("stt", ready()), ("turn", ready())], 200, "ok"),
        ([("stt", ready()), ("turn", missing(false))], 200, "degraded"),
        ([("stt", missing(true)), ("turn", ready())], 503, "down"),
        ([("stt", missing(true)), ("turn", missing(false))], 503, "down"),
    ];
    for (engines, status, word) in cases {
        let told = Api::with(&[], engines.clone()).get("/health").await;
        let health = told.json();
        assert_eq!((told.status.as_u16(), &health["status"]), (status, &json!(word)), "{engines:?}");
        assert_eq!(health["calls"], json!({"active": 0, "limit": 5}));
        for (kind, state) in engines {
            let (state, hint) = match state {
                EngineState::Ready => ("ready", Value::Null),
                EngineState::Missing { hint, .. } => ("missing", json!(hint)),
                other => panic!("{other:?} is not among the cases"),
            };
            assert_eq!(health["models"][kind]["state"], state);
            assert_eq!(health["models"][kind]["hint"], hint);
            assert_eq!(health["models"][kind]["name"], format!("{kind}-model"));
        }
    }
}

#[tokio::test]
async fn health_while_loading_is_503_and_says_how_far_it_is() {
    let loading = |percent| EngineState::Loading { percent };
    let engines =
        [("vad", EngineState::Ready), ("stt", EngineState::WarmingUp), ("llm", loading(50)), ("tts", loading(0))];
    let told = Api::with(&[], engines).get("/health").await;
    let health = told.json();
    assert_eq!((told.status.as_u16(), &health["status"]), (503, &json!("loading")));
    assert_eq!(health["models"]["llm"], json!({"name": "llm-model", "state": "loading", "percent": 50}));
    assert_eq!(health["models"]["stt"], json!({"name": "stt-model", "state": "warming_up"}));
    assert_eq!(health["models"]["vad"]["state"], "ready");
    // A quarter each: all, 90, 45 and nothing of it.
    assert_eq!(health["percent"], 58);
}

#[tokio::test]
async fn an_address_of_the_page_shows_the_page_and_a_missing_file_is_missing() {
    let api = Api::new();
    for path in ["/", "/history", "/history/conv_0197", "/settings"] {
        let told = api.get(path).await;
        assert_eq!(told.status, StatusCode::OK, "{path}");
        assert!(told.header("content-type").starts_with("text/html"), "{path}");
        assert!(told.body.starts_with(b"<!doctype html>") || told.body.starts_with(b"<!DOCTYPE html>"), "{path}");
    }
    for path in ["/assets/nope.js", "/api/nope", "/v1/nope", "/favicon.nope"] {
        let told = api.get(path).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_only_for_reading() {
    let api = Api::new();
    for (method, path) in [(Method::POST, "/"), (Method::DELETE, "/history/x"), (Method::PUT, "/nothing")] {
        let told = api.ask(Request::builder().method(&method).uri(path).body(Body::empty()).unwrap()).await;
        assert_eq!(told.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(told.error_code(), "method_not_allowed");
    }
    for path in ["/api/conversations", "/health"] {
        let told = api.ask(Request::post(path).body(Body::empty()).unwrap()).await;
        assert_eq!(
            (told.status, told.error_code().as_str()),
            (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_a_page_safe() {
    let api = Api::with(&[KEY], [("stt", missing(true))]);
    for path in
        ["/", "/history/x", "/assets/nope.js", "/api/nope", "/api/conversations", "/health", "/api/conversations/x"]
    {
        let told = api.get(path).await;
        let policy = told.header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(told.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(told.header("referrer-policy"), "no-referrer", "{path}");
        assert!(told.header("permissions-policy").contains("microphone=(self)"), "{path}");
    }
}

#[tokio::test]
async fn no_address_leads_out_of_the_page() {
    let api = Api::new();
    let paths = [
        "/../Cargo.toml",
        "/../../Cargo.toml",
        "/..%2f..%2fCargo.toml",
        "/assets/../../../Cargo.toml",
        "/%2e%2e/%2e%2e/Cargo.toml",
        "//etc/passwd.txt",
        "/.git/config.x",
    ];
    for path in paths {
        let told = api.get(path).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
    }
    let told = api.get("//etc/passwd").await;
    assert!(told.header("content-type").starts_with("text/html") && !told.body.starts_with(b"root:"));
}
