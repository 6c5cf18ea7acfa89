//! Every address, asked for by somebody whose conversation it is not.

use super::*;

#[tokio::test]
async fn anothers_conversation_is_not_there_at_any_address() {
    let api = Api::new();
    let mut owned = turn(1_000);
    owned.owner = Some("ada".to_owned());
    let path = format!("/api/conversations/{}", owned.conversation);
    api.history.keep(owned).await.unwrap();
    let requests = [
        (Method::GET, path.clone(), Value::Null),
        (Method::PATCH, path.clone(), json!({ "title": "mine" })),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::PATCH, format!("{path}/turns/1"), json!({ "user_text": "mine" })),
        (Method::GET, format!("{path}/turns/1/audio/user"), Value::Null),
        (Method::GET, format!("{path}/turns/1/audio/assistant"), Value::Null),
        (Method::GET, format!("{path}/export"), Value::Null),
        (Method::GET, format!("{path}/export/audio"), Value::Null),
    ];
    let ask = async |viewer: &str, method: &Method, path: &str, body: &Value| {
        let request = Request::builder().method(method.clone()).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        api.ask_as(Viewer::Owner(viewer.to_owned()), request).await
    };
    for (method, path, body) in &requests {
        let told = ask("bob", method, path, body).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{method} {path}");
    }
    for list in ["/api/conversations", "/api/conversations?q=question"] {
        assert_eq!(ask("bob", &Method::GET, list, &Value::Null).await.json(), json!([]));
        assert_eq!(ask("ada", &Method::GET, list, &Value::Null).await.json().as_array().unwrap().len(), 1);
    }
    let counted = ask("bob", &Method::GET, "/api/status", &Value::Null).await.json();
    assert_eq!(counted["history"], json!({ "conversations": 0, "turns": 0, "bytes": 0 }));
    // Its owner is served at each; deleting last.
    let (deleting, rest): (Vec<_>, Vec<_>) = requests.iter().partition(|(method, ..)| method == Method::DELETE);
    for (method, path, body) in rest.into_iter().chain(deleting) {
        let told = ask("ada", method, path, body).await;
        assert_eq!(told.status, StatusCode::OK, "{method} {path}");
    }
}
