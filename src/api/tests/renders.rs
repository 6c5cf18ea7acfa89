//! Better audio of replies: shown, asked for, served; and the stream of what changes.

use futures_util::StreamExt;
use tokio::time::timeout;

use super::*;
use crate::history::Viewer;
use crate::history::renders::Rendered;

const PATIENCE: Duration = Duration::from_secs(20);

impl Api {
    async fn post(&self, path: &str) -> Told {
        self.ask(Request::post(path).body(Body::empty()).unwrap()).await
    }

    /// Renders what is due, as if it were made of `file`.
    async fn render(&self, file: &[u8]) {
        let now = SystemTime::now() + Duration::from_secs(60);
        let work = self.history.next_render(now).await.unwrap().unwrap();
        let rendered = Rendered {
            file: file.to_vec(),
            duration: Duration::from_millis(1_500),
            voice: "festival/slt-hts".to_owned(),
        };
        assert!(self.history.render_made(work.turn, rendered, now).await.unwrap());
    }
}

#[tokio::test]
async fn a_turn_shows_how_far_its_better_audio_is_and_serves_it() {
    let api = Api::new();
    let plain = api.keep(1_000).await;
    api.history.render_replies(true);
    let kept = api.keep(1_001).await;
    let path = format!("/api/conversations/{}", kept.conversation);
    let shown = || async { api.get(&path).await.json()["turns"][0]["assistant"].clone() };
    let before = shown().await;
    assert_eq!(before["hq"], json!({ "state": "pending" }));
    api.render(b"better").await;
    let after = shown().await;
    let (hq, fast) = (&after["hq"], &after["audio"]);
    assert_eq!(
        (&hq["state"], &hq["voice"], &hq["duration_ms"]),
        (&json!("ready"), &json!("festival/slt-hts"), &json!(1_500))
    );
    let better = api.get(hq["audio"].as_str().unwrap()).await;
    assert_eq!((&better.body[..], better.header("content-type")), (&b"better"[..], "audio/ogg"));
    let fast = api.get(fast.as_str().unwrap()).await;
    assert!(fast.status == StatusCode::OK && fast.body != better.body);
    // Without a quality: the best there is.
    let audio = |id: &ConversationId, turn: u32| format!("/api/conversations/{id}/turns/{turn}/audio/assistant");
    assert_eq!(api.get(&audio(&kept.conversation, 2)).await.body, better.body);
    assert_eq!(api.get(&audio(&plain.conversation, 1)).await.status, StatusCode::OK);
    let none = api.get(&format!("{}?quality=hq", audio(&plain.conversation, 1))).await;
    assert_eq!((none.status, none.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    let odd = api.get(&format!("{}?quality=best", audio(&plain.conversation, 1))).await;
    assert_eq!((odd.status, odd.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"));
    let listed = api.get("/api/conversations").await.json();
    assert_eq!(listed[0]["hq"], json!({ "pending": 0, "ready": 1, "failed": 0 }));
    assert_eq!(listed[1]["hq"], json!({ "pending": 0, "ready": 0, "failed": 0 }));
    assert_eq!(
        api.get(&format!("/api/conversations/{}", plain.conversation)).await.json()["turns"][0]["assistant"]["hq"]["state"],
        "none"
    );
}

#[tokio::test]
async fn a_render_can_be_asked_for_where_there_is_a_voice_and_something_to_say() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let path = |turn: &str| format!("/api/conversations/{}/turns/{turn}/render", kept.conversation);
    let nobody = api.post(&path("1")).await;
    assert_eq!((nobody.status, nobody.error_code().as_str()), (StatusCode::CONFLICT, "no_hq_voice"));
    api.history.render_replies(true);
    let asked = api.post(&path("1")).await;
    assert_eq!((asked.status, asked.json()), (StatusCode::ACCEPTED, json!({ "state": "pending" })));
    api.render(b"better").await;
    // Somebody else's is not there.
    let another = || Viewer::Owner("key_2".to_owned());
    let better = format!("/api/conversations/{}/turns/1/audio/assistant?quality=hq", kept.conversation);
    for request in [Request::post(path("1")), Request::get(&better)] {
        let told = api.ask_as(another(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(api.get(&better).await.status, StatusCode::OK);
    assert_eq!(api.post(&path("1")).await.status, StatusCode::ACCEPTED, "anew");
    let mut cut = turn(1_001);
    cut.conversation = kept.conversation.clone();
    let answer = cut.answer.as_mut().unwrap();
    (answer.heard, answer.interrupted) = (String::new(), true);
    api.history.keep(cut).await.unwrap();
    let unheard = api.post(&path("2")).await;
    assert_eq!((unheard.status, unheard.error_code().as_str()), (StatusCode::CONFLICT, "nothing_to_render"));
    for missing in [path("3"), path("one"), path("-1"), "/api/conversations/conv_none/turns/1/render".to_owned()] {
        let told = api.post(&missing).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{missing}");
    }
    assert_eq!(api.get(&path("1")).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// The events that a viewer is told of, as `name data`, until one whose name is `last`.
async fn told_until(body: Body, last: &str) -> Vec<String> {
    let (mut stream, mut text) = (body.into_data_stream(), String::new());
    while !text.contains(&format!("event: {last}\n")) || !text.ends_with("\n\n") {
        let piece = timeout(PATIENCE, stream.next()).await.unwrap_or_else(|_| panic!("no more comes after: {text}"));
        text.push_str(std::str::from_utf8(&piece.unwrap().unwrap()).unwrap());
    }
    let events = text.split("\n\n").filter_map(|event| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        Some(format!("{} {}", field("event: ")?, field("data: ")?))
    });
    events.collect()
}

#[tokio::test]
async fn who_listens_is_told_of_its_own_changes_as_they_happen() {
    let api = Api::new();
    api.history.render_replies(true);
    let listen = |viewer: Viewer| {
        let request = Request::get("/api/events").extension(viewer).body(Body::empty()).unwrap();
        // Behind the guard, which says who listens.
        let router = api.unguarded.clone();
        async move { router.oneshot(request).await.unwrap() }
    };
    let everyone = listen(Viewer::Everyone).await;
    assert_eq!(everyone.headers()["content-type"], "text/event-stream");
    let mine = listen(Viewer::Owner("key_1".to_owned())).await;
    let theirs = api.keep(1_000).await;
    let mut own = turn(1_001);
    own.owner = Some("key_1".to_owned());
    api.history.keep(own.clone()).await.unwrap();
    let news = api.history.news();
    let other = theirs.conversation.as_str().to_owned();
    api.history.rename(Viewer::Everyone, other, Some("Not for everybody".to_owned())).await.unwrap();
    let id = own.conversation.as_str().to_owned();
    let corrected = Some(Some("Corrected.".to_owned()));
    api.history.edit(Viewer::Everyone, id.clone(), 2, corrected, None).await.unwrap();
    api.history.delete(Viewer::Everyone, id).await.unwrap();
    news.voice_changed(Some("key_1".to_owned()), "pocket-tts/me", "ready");
    let (id, reply) = (&own.conversation, &own.answer.as_ref().unwrap().reply);
    let render = json!({"conversation": id, "turn": 2, "reply": reply, "state": "pending"});
    let expected = [
        format!("turn {}", json!({"conversation": id, "turn": 2})),
        format!("render {render}"),
        // It says something else now, and then it is gone.
        format!("turn {}", json!({"conversation": id, "turn": 2})),
        format!("conversation {}", json!({"id": id, "state": "deleted"})),
        format!("voice {}", json!({"id": "pocket-tts/me", "state": "ready"})),
    ];
    assert_eq!(told_until(mine.into_body(), "voice").await, expected);
    let all = told_until(everyone.into_body(), "voice").await;
    assert_eq!(all.len(), 8, "{all:?}");
    assert_eq!(all[4], format!("title {}", json!({"conversation": theirs.conversation, "title": "Not for everybody"})));
}

#[tokio::test]
async fn who_falls_behind_is_told_to_read_again() {
    let api = Api::new();
    let response = api.router.clone().oneshot(Request::get("/api/events").body(Body::empty()).unwrap()).await.unwrap();
    for _ in 0..=crate::history::news::NEWS_BOUND {
        api.history.news().title_changed(None, "conv_1", None);
    }
    let told = told_until(response.into_body(), "title").await;
    assert_eq!((told[0].as_str(), told[1].as_str()), ("lagged {}", r#"title {"conversation":"conv_1","title":null}"#));
}
