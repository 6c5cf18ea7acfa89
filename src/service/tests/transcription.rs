//! Recordings in, text out.

use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use axum::http::StatusCode;
use models::stt::Urgency;
use serde_json::json;

use super::engines::Manner;
use super::house::{House, Told};

const PATH: &str = "/v1/audio/transcriptions";

/// A WAV file at 8 kHz of parts that last so many seconds, loud or silent.
pub fn recording(parts: &[(f32, u32)]) -> Vec<u8> {
    let samples = parts.iter().flat_map(|(level, seconds)| std::iter::repeat_n(*level, *seconds as usize * 8_000));
    // A square wave: loud to the scripted detector after resampling, too.
    let samples = samples.enumerate().map(|(n, level)| if n / 8 % 2 == 0 { level } else { -level });
    let mut bytes = Vec::new();
    audio::wav::write(&Pcm::new(SampleRate::HZ_8000, samples.collect()), &mut bytes).unwrap();
    bytes
}

async fn transcribe(house: &House, file: Option<&[u8]>, fields: &[(&str, &str)]) -> Told {
    transcribe_as(house, None, file, fields).await
}

pub async fn transcribe_as(house: &House, key: Option<&str>, file: Option<&[u8]>, fields: &[(&str, &str)]) -> Told {
    let mut form = Vec::new();
    for (name, value) in fields {
        form.extend(format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    if let Some(file) = file {
        form.extend(b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n");
        form.extend(file);
        form.extend(b"\r\n");
    }
    form.extend(b"--b--\r\n");
    house.post_raw_as(key, PATH, "multipart/form-data; boundary=b", form).await
}

#[tokio::test]
async fn silence_is_an_empty_text_and_no_recogniser_is_asked_what_it_makes_of_it() {
    let house = House::new();
    let told = transcribe(&house, Some(&recording(&[(0.0, 40)])), &[]).await;
    assert_eq!(told.json(), json!({"text": "", "usage": {"type": "duration", "seconds": 40}}));
    assert!(house.engines.ear.0.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_recording_of_more_than_two_megabytes_is_taken() {
    let long = recording(&[(0.0, 140)]);
    assert!(long.len() > 2 * 1024 * 1024);
    let told = transcribe(&House::new(), Some(&long), &[]).await;
    assert_eq!(told.json(), json!({"text": "", "usage": {"type": "duration", "seconds": 140}}));
}

#[tokio::test]
async fn speech_is_heard_stretch_by_stretch_behind_every_call() {
    let house = House::new();
    let told = transcribe(&house, Some(&recording(&[(0.0, 3), (0.5, 4), (0.0, 5), (0.5, 6), (0.0, 3)])), &[]).await;
    assert_eq!(told.json()["text"], "4 seconds. 6 seconds.");
    let asked = house.engines.ear.0.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    for (request, seconds) in asked.iter().zip([4, 6]) {
        assert_eq!(request.urgency, Urgency::Background);
        let speech = request.speech.unwrap();
        assert!(speech.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(100), "{speech:?}");
    }
}

#[tokio::test]
async fn each_shape_is_what_its_readers_expect() {
    let house = House::new();
    let file = recording(&[(0.5, 2), (0.0, 3)]);
    for (shape, kind, text) in [
        ("json", "application/json", "\"text\":\"2 seconds.\""),
        ("text", "text/plain; charset=utf-8", "2 seconds.\n"),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,000 --> 00:00:02,"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.000 --> 00:00:02."),
        ("verbose_json", "application/json", "\"duration\":5.0"),
    ] {
        let told = transcribe(&house, Some(&file), &[("response_format", shape), ("language", "en-GB")]).await;
        assert_eq!((told.status, told.header("content-type")), (StatusCode::OK, kind));
        assert!(told.text().contains(text), "{shape}: {}", told.text());
    }
}

#[tokio::test]
async fn a_stream_gives_each_stretch_and_then_the_whole() {
    let house = House::new();
    let file = recording(&[(0.5, 4), (0.0, 5), (0.5, 6)]);
    let events = transcribe(&house, Some(&file), &[("stream", "true")]).await.json_events();
    let told: Vec<_> = events.iter().map(|event| (event["type"].as_str().unwrap(), event)).collect();
    assert_eq!((told[0].0, &told[0].1["delta"]), ("transcript.text.delta", &json!("4 seconds.")));
    assert_eq!((told[1].0, &told[1].1["delta"]), ("transcript.text.delta", &json!(" 6 seconds.")));
    assert_eq!((told[2].0, &told[2].1["text"]), ("transcript.text.done", &json!("4 seconds. 6 seconds.")));
    assert_eq!(told.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_transcribed_is_refused_with_the_name_of_the_field() {
    let house = House::new();
    let file = recording(&[(0.5, 1)]);
    type Case<'a> = (Option<&'a [u8]>, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);
    let cases: [Case<'_>; 9] = [
        (None, &[], 400, "missing_required_parameter", "file"),
        (Some(b""), &[], 400, "invalid_audio", "file"),
        (Some(b"this is no recording"), &[], 400, "invalid_audio", "file"),
        (Some(&file), &[("response_format", "docx")], 400, "unsupported", "response_format"),
        (Some(&file), &[("language", "zh")], 400, "unsupported", "language"),
        (Some(&file), &[("language", "?")], 400, "invalid_value", "language"),
        (Some(&file), &[("timestamp_granularities[]", "word")], 400, "unsupported", "timestamp_granularities[]"),
        (Some(&file), &[("stream", "true"), ("response_format", "srt")], 400, "unsupported", "response_format"),
        (Some(&file), &[("model", "whisper-9")], 404, "model_not_found", "model"),
    ];
    for (file, fields, status, code, param) in cases {
        let told = transcribe(&house, file, fields).await;
        assert_eq!((told.status.as_u16(), told.error_code().as_str()), (status, code), "{fields:?}");
        assert_eq!(told.json()["error"]["param"], param);
    }
    let told = house.post(PATH, &json!({})).await;
    assert_eq!(
        (told.status, told.error_code().as_str()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type")
    );
    assert!(house.engines.ear.0.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_recogniser_that_fails_is_not_an_empty_text() {
    let house = House::new();
    house.engines.ear.0.set(Manner::Breaks);
    let file = recording(&[(0.5, 2)]);
    let told = transcribe(&house, Some(&file), &[]).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "engine_failed"));
    let events = transcribe(&house, Some(&file), &[("stream", "true")]).await.json_events();
    assert_eq!(events.last().unwrap()["error"]["code"], "engine_failed");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stays_full_is_told_and_not_waited_for_endlessly() {
    let house = House::new();
    house.engines.ear.0.set(Manner::Overloaded);
    let told = transcribe(&house, Some(&recording(&[(0.5, 2)])), &[]).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
}
