//! Text in, sound out.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use serde_json::json;

use super::engines::Manner;
use super::house::House;

const PATH: &str = "/v1/audio/speech";

#[tokio::test]
async fn a_text_becomes_sound_in_each_format() {
    let house = House::new();
    // Two sentences of four words: 0.8 s.
    let input = "This is **one** sentence. Here comes another one.";
    for (format, kind) in [("wav", "audio/wav"), ("pcm", "audio/pcm"), ("opus", "audio/ogg")] {
        let told = house.post(PATH, &json!({"input": input, "voice": "alloy", "response_format": format})).await;
        assert_eq!((told.status, told.header("content-type")), (StatusCode::OK, kind));
        assert_eq!(told.header("x-avatar-voice"), "scripted/one");
        let seconds = match format {
            "wav" => audio::wav::read(&told.body[..]).unwrap().duration(),
            "opus" => audio::ogg::read(&told.body[..]).unwrap().duration(),
            _ => Duration::from_micros(told.body.len() as u64 * 1_000_000 / 48_000),
        };
        assert!(seconds.abs_diff(Duration::from_millis(800)) < Duration::from_millis(2), "{format}: {seconds:?}");
    }
}

#[tokio::test]
async fn sentences_go_to_the_chosen_voice_without_markup_and_due_after_any_calls() {
    let house = House::new();
    let now = Instant::now();
    house.post(PATH, &json!({"input": "It is *here*. And it is gone.", "voice": "scripted/two"})).await;
    let asked = house.engines.mouth.0.asked.lock().unwrap();
    let texts: Vec<_> = asked.iter().map(|request| request.text.as_str()).collect();
    assert_eq!(texts, ["It is here.", "And it is gone."]);
    for request in asked.iter() {
        assert_eq!(request.voice, "scripted/two");
        assert!(request.deadline > now + Duration::from_secs(30));
    }
}

#[tokio::test]
async fn sound_as_events_is_the_same_sound() {
    let house = House::new();
    let asked = json!({"input": "This is one sentence.", "response_format": "pcm"});
    let plain = house.post(PATH, &asked).await.body;
    let mut as_events = asked;
    as_events["stream_format"] = json!("sse");
    let events = house.post(PATH, &as_events).await.json_events();
    let (done, deltas) = events.split_last().unwrap();
    assert_eq!(done["type"], "speech.audio.done");
    let sound: Vec<u8> =
        deltas.iter().flat_map(|delta| BASE64_STANDARD.decode(delta["audio"].as_str().unwrap()).unwrap()).collect();
    assert!(sound == plain, "{} bytes, not {}", sound.len(), plain.len());
}

#[tokio::test]
async fn what_cannot_be_said_is_told_by_the_status() {
    let house = House::new();
    let told = house.post(PATH, &json!({"input": "silence"})).await;
    assert_eq!((told.status, &told.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("input")));
    for (manner, status, code) in [
        (Manner::Refuses, StatusCode::BAD_REQUEST, "invalid_value"),
        (Manner::Overloaded, StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
    ] {
        house.engines.mouth.0.set(manner);
        let told = house.post(PATH, &json!({"input": "Hello there."})).await;
        assert_eq!((told.status, told.error_code().as_str()), (status, code));
    }
}

#[tokio::test]
async fn a_sentence_in_another_language_does_not_break_off_the_sound_of_the_others() {
    let house = House::new();
    let say = async |input: &str| house.post(PATH, &json!({"input": input, "response_format": "pcm"})).await;
    let without = say("Hello there my friend. Until we meet again soon.").await;
    let with = say("Hello there my friend. This is a foreign sentence. Until we meet again soon.").await;
    assert_eq!((with.status, with.body.len()), (StatusCode::OK, without.body.len()));
    assert!(!with.body.is_empty());
    // At the beginning the status can still tell it.
    let told = say("This is a foreign sentence. Hello there my friend.").await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"));
}

#[tokio::test]
async fn a_sound_that_breaks_off_is_not_taken_for_a_whole_one() {
    let house = House::new();
    house.engines.mouth.0.set(Manner::Breaks);
    let request = Request::post(PATH).body(Body::from(json!({"input": "Hello there."}).to_string())).unwrap();
    let mut sound = house.ask(request).await.into_body().into_data_stream();
    let mut last = Ok(());
    while let Some(piece) = sound.next().await {
        last = piece.map(drop);
    }
    assert!(last.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hangs_up_cancels_the_speech() {
    let house = House::new();
    house.engines.mouth.0.set(Manner::Hangs);
    let request = Request::post(PATH).body(Body::from(json!({"input": "Hello there."}).to_string())).unwrap();
    let mut sound = house.ask(request).await.into_body().into_data_stream();
    sound.next().await.unwrap().unwrap();
    assert!(!house.engines.mouth.0.is_cancelled());
    drop(sound);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(house.engines.mouth.0.is_cancelled());
}
