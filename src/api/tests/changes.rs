//! Renaming, editing, deleting.

use super::*;

fn path(kept: &TurnRecord) -> String {
    format!("/api/conversations/{}", kept.conversation)
}

#[tokio::test]
async fn a_title_is_given_and_taken_away() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let told = api.patch(&path(&kept), &json!({ "title": " The\nweather \u{7} " })).await;
    assert_eq!((told.status, &told.json()["title"]), (StatusCode::OK, &json!("The weather")));
    assert_eq!(told.json(), api.get("/api/conversations").await.json()[0], "as the list has it");
    assert_eq!(api.get(&path(&kept)).await.json()["title"], "The weather");
    let told = api.patch(&path(&kept), &json!({ "title": null })).await;
    assert_eq!((told.status, &told.json()["title"]), (StatusCode::OK, &Value::Null));
}

#[tokio::test]
async fn a_title_that_is_none_is_refused_with_its_name() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    for title in [json!(""), json!(" \n "), json!("x".repeat(201))] {
        let told = api.patch(&path(&kept), &json!({ "title": title })).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"), "{title}");
        assert_eq!(told.json()["error"]["param"], "title");
    }
    for body in [json!({}), json!({ "title": 5 }), json!({ "titel": "x" }), json!([]), json!(null)] {
        let told = api.patch(&path(&kept), &body).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"), "{body}");
    }
    let long = "字".repeat(200);
    assert_eq!(api.patch(&path(&kept), &json!({ "title": long })).await.json()["title"], long);
    for bad in ["{", "{\"title\": \"\\ud800\"}"] {
        let request = Request::patch(path(&kept)).header("content-type", "application/json");
        let told = api.ask(request.body(Body::from(bad)).unwrap()).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"));
    }
}

#[tokio::test]
async fn an_edit_is_shown_with_the_original_until_it_is_taken_back() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let turn = format!("{}/turns/1", path(&kept));
    let told = api.patch(&turn, &json!({ "user_text": "How is the weather?" })).await;
    assert_eq!(told.status, StatusCode::OK);
    let user = &told.json()["user"];
    assert_eq!((&user["text"], &user["original"]), (&json!("How is the weather?"), &json!("Question of second 1000?")));
    assert_eq!(told.json(), api.get(&path(&kept)).await.json()["turns"][0], "as the conversation has it");
    assert!(told.json()["assistant"].get("original").is_none());
    let told = api.patch(&turn, &json!({ "user_text": null, "assistant_text": "It rains." })).await.json();
    assert_eq!(told["user"]["text"], "Question of second 1000?");
    assert!(told["user"].get("original").is_none());
    assert_eq!(
        (&told["assistant"]["text"], &told["assistant"]["original"]),
        (&json!("It rains."), &json!("It is sunny today."))
    );
}

#[tokio::test]
async fn an_edit_that_cannot_be_is_refused_with_its_name_and_changes_nothing() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let turn = format!("{}/turns/1", path(&kept));
    let long = "x".repeat(10_001);
    for body in [json!({}), json!({ "user_text": 1 }), json!({ "user_text": long }), json!({ "text": "x" })] {
        let told = api.patch(&turn, &body).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"));
    }
    let mut bare = super::turn(2_000);
    bare.question = None;
    let nowhere = format!("/api/conversations/{}/turns/2", bare.conversation);
    api.history.keep(bare).await.unwrap();
    let told = api.patch(&nowhere, &json!({ "user_text": "x", "assistant_text": "x" })).await;
    assert_eq!((told.status, &told.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("user_text")));
    let shown = api.get(&path(&kept)).await.json();
    assert!(shown["turns"][0]["user"].get("original").is_none());
    let huge = json!({ "user_text": "x".repeat(3_000_000) });
    let told = api.patch(&turn, &huge).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
}

#[tokio::test]
async fn a_deleted_conversation_is_gone_with_its_recordings() {
    let api = Api::new();
    let (gone, stays) = (api.keep(1_000).await, api.keep(1_001).await);
    let told = api.delete(&path(&gone)).await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!({ "success": true })));
    let left = std::fs::read_dir(api.folder.path().join("audio")).unwrap().count();
    assert_eq!(left, 2);
    for missing in [path(&gone), format!("{}/turns/1/audio/user", path(&gone)), format!("{}/export", path(&gone))] {
        assert_eq!(api.get(&missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
    let told = api.delete(&path(&gone)).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(api.get(&path(&stays)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let edit = json!({ "user_text": "x" });
    for turn in ["2", "one", "-1", "99999999999999999999999"] {
        let told = api.patch(&format!("{}/turns/{turn}", path(&kept)), &edit).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{turn}");
    }
    let told = api.patch("/api/conversations/conv_none", &json!({ "title": "x" })).await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
    let told = api.send(Method::PUT, &path(&kept), &json!({})).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
}
