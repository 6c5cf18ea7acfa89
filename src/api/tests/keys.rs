//! What is shown only to those who hold a key.

use super::*;

#[tokio::test]
async fn conversations_are_shown_only_to_who_holds_a_key() {
    let api = Api::with(&[KEY], [("stt", EngineState::Ready)]);
    let kept = api.keep(1_000).await;
    let shown = [
        "/api/conversations".to_owned(),
        format!("/api/conversations/{}", kept.conversation),
        format!("/api/conversations/{}/turns/1/audio/user", kept.conversation),
    ];
    for path in &shown {
        let without = api.get(path).await;
        assert_eq!(
            (without.status, without.error_code().as_str()),
            (StatusCode::UNAUTHORIZED, "missing_api_key"),
            "{path}"
        );
        assert_eq!(without.header("www-authenticate"), "Bearer");
        for wrong in ["Bearer wrong", "Bearer ek_wrong", &format!("Bearer {KEY}x"), &format!("Basic {KEY}")] {
            let refused = api.get_with(path, "authorization", wrong).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path} {wrong}");
            assert!(!String::from_utf8_lossy(&refused.body).contains("Question"), "{path} {wrong}");
        }
        let with = api.get_with(path, "authorization", &format!("Bearer {KEY}")).await;
        assert_eq!(with.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn health_and_the_page_need_no_key() {
    let api = Api::with(&[KEY], [("stt", EngineState::Ready)]);
    for path in ["/health", "/", "/history/x"] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
}
