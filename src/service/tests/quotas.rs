//! What keys that were given out may have of each engine, and whose voices they may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::StreamExt;

use super::engines::Manner;
use super::house::Told;
use super::transcription::{recording, transcribe_as};
use super::*;
use crate::call::allowance::{Meter, Share, Usage};
use crate::voices::tests::insert_voice;

/// Adds up all days as one.
#[derive(Default)]
struct Sum(Mutex<HashMap<String, Usage>>);

impl Meter for Sum {
    fn used(&self, key: &str, _: SystemTime) -> Usage {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    fn add(&self, key: &str, _: SystemTime, more: Usage) {
        let mut all = self.0.lock().unwrap();
        let used = all.entry(key.to_owned()).or_default();
        used.talk += more.talk;
        used.speech_characters += more.speech_characters;
        used.transcribed += more.transcribed;
        used.tokens += more.tokens;
    }
}

fn house(share: Share) -> (House, Arc<Sum>) {
    let meter = Arc::new(Sum::default());
    (House::giving(share, meter.clone()), meter)
}

const ANN: Option<&str> = Some("key-ann");

impl Sum {
    fn of_ann(&self) -> Usage {
        self.used("key-ann", SystemTime::now())
    }
}

/// The refusal says what was used up, and when to come again.
fn assert_spent(told: &Told, what: &str) {
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"));
    let wait: u64 = told.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    let error = &told.json()["error"];
    assert_eq!(error["type"], "rate_limit_error");
    assert!(error["message"].as_str().unwrap().contains(what), "{error}");
}

#[tokio::test]
async fn a_key_has_so_many_characters_said_a_day_and_others_as_many() {
    let (house, meter) = house(Share { speech_characters_per_day: 20, ..Share::default() });
    let asked = json!({"input": "It is **here**. And gone."});
    for (format, said) in [("wav", 20), ("pcm", 20)] {
        let told = house.post_as(ANN, "/v1/audio/speech", &asked).await;
        match format {
            // Markup is not said, and is not counted.
            "wav" => assert_eq!((told.status, meter.of_ann().speech_characters), (StatusCode::OK, said)),
            _ => assert_spent(&told, "20 characters"),
        }
    }
    assert_eq!(house.post_as(Some("key-bob"), "/v1/audio/speech", &asked).await.status, StatusCode::OK);
    for _ in 0..3 {
        assert_eq!(house.post_as(Some(KEY), "/v1/audio/speech", &asked).await.status, StatusCode::OK);
    }
    // What else the key may have is not touched.
    let chat = json!({"messages": [{"role": "user", "content": "Hi."}]});
    assert_eq!(house.post_as(ANN, "/v1/chat/completions", &chat).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_has_so_many_minutes_listened_to_a_day() {
    let (house, meter) = house(Share { transcribed_minutes_per_day: 1, ..Share::default() });
    let recording = recording(&[(0.0, 3), (0.5, 4), (0.0, 33)]);
    for minute in 1..=2 {
        let told = transcribe_as(&house, ANN, Some(&recording), &[]).await;
        assert_eq!(told.json()["text"], "4 seconds.");
        assert_eq!(meter.of_ann().transcribed, Duration::from_secs(40 * minute));
    }
    assert_spent(&transcribe_as(&house, ANN, Some(&recording), &[]).await, "1 minutes");
    // What is no recording costs nothing.
    let told = transcribe_as(&house, Some("key-bob"), Some(b"no sound"), &[]).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    assert_eq!(meter.used("key-bob", SystemTime::now()), Usage::default());
}

#[tokio::test]
async fn a_key_has_so_many_tokens_read_and_written_a_day_streamed_or_not() {
    let (house, meter) = house(Share { tokens_per_day: 60, ..Share::default() });
    let asked = |stream: bool| json!({"messages": [{"role": "user", "content": "Hi."}], "stream": stream});
    for (stream, tokens) in [(false, 33), (true, 66)] {
        let told = house.post_as(ANN, "/v1/chat/completions", &asked(stream)).await;
        assert_eq!((told.status, meter.of_ann().tokens), (StatusCode::OK, tokens));
    }
    assert_spent(&house.post_as(ANN, "/v1/chat/completions", &asked(true)).await, "60 tokens");
    assert_eq!(house.engines.mind.0.asked.lock().unwrap().len(), 2, "the model is not asked");
}

#[tokio::test]
async fn an_answer_that_fails_costs_nothing_and_one_that_is_hung_up_on_is_charged_for_what_was_done() {
    let (house, meter) = house(Share::default());
    let asked = json!({"messages": [{"role": "user", "content": "a".repeat(400)}], "stream": true});
    house.engines.mind.0.set(Manner::Breaks);
    house.post_as(ANN, "/v1/chat/completions", &asked).await;
    assert_eq!(meter.of_ann(), Usage::default());
    house.engines.mind.0.set(Manner::Hangs);
    let request = axum::http::Request::post("/v1/chat/completions").header("authorization", "Bearer key-ann");
    let mut body = house.ask(request.body(Body::from(asked.to_string())).unwrap()).await.into_body().into_data_stream();
    // The opening, and three words.
    let mut told = String::new();
    while !told.contains("well.") {
        told.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
    }
    drop(body);
    let charged = async {
        while meter.of_ann().tokens == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), charged).await.unwrap();
    assert!(meter.of_ann().tokens >= 100 + 3, "{:?}", meter.of_ann());
}

#[tokio::test]
async fn the_voice_of_another_key_is_refused_in_the_words_of_one_that_is_not_there() {
    let (house, _) = house(Share::default());
    for (id, owner) in [("voice_ann", Some("key-ann")), ("voice_bob", Some("key-bob")), ("voice_house", None)] {
        insert_voice(house.history.folder().path(), id, owner);
    }
    let speak = |key: Option<&'static str>, voice: &str| {
        let asked = json!({"input": "Hi.", "voice": voice});
        let house = &house;
        async move { house.post_as(key, "/v1/audio/speech", &asked).await }
    };
    let unknown = speak(ANN, "robot").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    for another in ["voice_bob", "scripted/voice_bob", "voice_house", "scripted/voice_house"] {
        let told = speak(ANN, another).await;
        assert_eq!((told.status, told.text()), (unknown.status, unknown.text().replace("robot", another)));
    }
    for own in ["voice_ann", "scripted/voice_ann"] {
        let told = speak(ANN, own).await;
        assert_eq!((told.status, told.header("x-avatar-voice")), (StatusCode::OK, "scripted/voice_ann"));
    }
    assert_eq!(speak(Some(KEY), "voice_bob").await.header("x-avatar-voice"), "scripted/voice_bob");
}
