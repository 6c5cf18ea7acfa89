//! Taking a conversation away.

use super::*;

#[tokio::test]
async fn the_document_is_the_conversation_as_it_is_shown_as_a_file() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let path = format!("/api/conversations/{}", kept.conversation);
    api.patch(&format!("{path}/turns/1"), &json!({ "user_text": "Edited." })).await;
    let told = api.get(&format!("{path}/export")).await;
    assert_eq!(
        told.header("content-disposition"),
        format!("attachment; filename=\"conversation-{}.json\"", kept.conversation)
    );
    assert_eq!(told.json(), api.get(&path).await.json());
    assert_eq!(told.json()["turns"][0]["user"]["original"], "Question of second 1000?");
    assert_eq!(told.json()["turns"][0]["timings"]["first_packet_ms"], 412.0);
}

#[tokio::test]
async fn the_recording_is_one_stereo_file_of_the_whole_time_line() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let path = format!("/api/conversations/{}", kept.conversation);
    let told = api.get(&format!("{path}/export/audio")).await;
    assert_eq!((told.status, told.header("content-type")), (StatusCode::OK, "audio/ogg"));
    assert!(told.header("content-disposition").ends_with(".ogg\""));
    let heard = audio::ogg::read(&told.body[..]).unwrap();
    let duration = api.get(&path).await.json()["duration_ms"].as_i64().unwrap();
    assert_eq!(heard.samples.len() as i64, duration * 48);
    assert_eq!(duration, 2_412);
}

#[tokio::test]
async fn a_client_that_hangs_up_lets_the_next_one_in() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let path = format!("/api/conversations/{}/export/audio", kept.conversation);
    for _ in 0..20 {
        let request = Request::get(&path).body(Body::empty()).unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert!(matches!(response.status(), StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE));
    }
    // Sooner or later all of them have noticed.
    loop {
        let told = api.get(&path).await;
        if told.status == StatusCode::OK {
            break;
        }
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
        assert_eq!(told.header("retry-after"), "5");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_conversation_without_sound_is_a_file_without_audio() {
    let api = Api::new();
    let mut silent = turn(1_000);
    silent.question.as_mut().unwrap().audio = None;
    silent.answer = None;
    let path = format!("/api/conversations/{}/export/audio", silent.conversation);
    api.history.keep(silent).await.unwrap();
    let told = api.get(&path).await;
    assert_eq!((told.status, &told.body[..4]), (StatusCode::OK, &b"OggS"[..]));
    assert_eq!(api.get("/api/conversations/conv_none/export/audio").await.status, StatusCode::NOT_FOUND);
}
