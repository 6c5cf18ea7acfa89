//! Voices over HTTP: the list, an upload, listening, renaming, deleting; and whose they are.

use std::sync::Arc;

use axum::Extension;

use super::*;
use crate::engines::Parts;
use crate::history::Viewer;
use crate::voices::State;
use crate::voices::tests::{House, first, folder, parts, speech, wav};

/// The routes over a house, looked at by `viewer`.
struct Web {
    house: House,
    folder: TempDir,
}

impl Web {
    fn new(parts: Parts) -> Self {
        let folder = folder();
        let house = House::new(folder.path(), parts);
        Self { house, folder }
    }

    async fn ask_as(&self, viewer: Option<Viewer>, request: Request<Body>) -> Told {
        let mut router = with_safe_headers(super::super::voices::router(Arc::clone(&self.house.voices), ""));
        if let Some(viewer) = viewer {
            router = router.layer(Extension(viewer));
        }
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        Told { status: parts.status, headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    async fn ask(&self, request: Request<Body>) -> Told {
        self.ask_as(None, request).await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn delete(&self, path: &str) -> Told {
        self.ask(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    async fn patch(&self, path: &str, body: &str) -> Told {
        self.ask(Request::patch(path).body(Body::from(body.to_owned())).unwrap()).await
    }
}

const BOUNDARY: &str = "----a-boundary";

/// A form as a browser sends it.
fn form(fields: &[(&str, &[u8])]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, content) in fields {
        let file = if *name == "audio" { "; filename=\"sample.wav\"" } else { "" };
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    Request::post("/api/voice-profile")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Body::from(body))
        .unwrap()
}

fn sample() -> Bytes {
    wav(&speech("beckett"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_sample_is_listed_listened_to_renamed_and_deleted() {
    let web = Web::new(parts("usual"));
    let text = "Ever tried. Ever failed.".as_bytes();
    // Far more than the two megabytes that the framework would take.
    let mut large = speech("beckett");
    large = audio::resample::resample(&large, SampleRate::HZ_48000).unwrap();
    let mut recording = wav(&large).to_vec();
    recording.extend(vec![0; 3 << 20]);
    let told =
        web.ask(form(&[("name", b"Sam"), ("audio", &recording), ("consent", b"true"), ("transcript", text)])).await;
    assert_eq!(told.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&told.body));
    let made = told.json();
    let keys: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["duration", "name", "profile_id", "warnings"]);
    let id = made["profile_id"].as_str().unwrap().to_owned();
    let path = format!("/api/voice-profile/{id}");
    web.house.until(&id, State::Ready).await;

    let list = web.get("/api/voice-profiles").await.json();
    let expected = json!([
        {
            "id": id, "name": "Sam", "duration": made["duration"], "kind": "profile", "engine": "pocket-tts",
            "language": "en-US", "voice": format!("pocket-tts/{id}"), "state": "ready", "default": false,
            "created_at": list[0]["created_at"], "transcript": "Ever tried. Ever failed.",
            "bandwidth_hz": list[0]["bandwidth_hz"],
        },
        {
            "id": "pocket-tts:alba", "name": "alba", "duration": null, "kind": "preset", "engine": "pocket-tts",
            "language": "en-US", "voice": "pocket-tts/alba", "state": "ready", "default": true, "created_at": null,
            "transcript": null, "bandwidth_hz": 4_000,
        },
    ]);
    assert_eq!(list, expected);
    assert!(list[0]["created_at"].as_str().unwrap().ends_with('Z'));
    assert!((6_000..=8_500).contains(&list[0]["bandwidth_hz"].as_u64().unwrap()), "{list}");
    assert_eq!(web.get(&path).await.json(), list[0]);

    let heard = web.get(&format!("{path}/audio")).await;
    assert_eq!((heard.status, heard.header("content-type")), (StatusCode::OK, "audio/ogg"));
    let heard = audio::ogg::read(&heard.body[..]).unwrap();
    assert!((heard.duration().as_secs_f64() - made["duration"].as_f64().unwrap()).abs() < 0.05);
    let part = Request::get(format!("{path}/audio")).header("range", "bytes=0-3").body(Body::empty()).unwrap();
    let part = web.ask(part).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &b"OggS"[..]));

    let renamed = web.patch(&path, r#"{"name": " Samuel "}"#).await;
    assert_eq!((renamed.status, renamed.json()["name"].as_str()), (StatusCode::OK, Some("Samuel")));
    for (body, code) in [("", "invalid_json"), ("{}", "invalid_value"), (r#"{"name": ""}"#, "invalid_value")] {
        let told = web.patch(&path, body).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, code), "{body}");
    }
    let deleted = web.delete(&path).await;
    assert_eq!((deleted.status, deleted.json()), (StatusCode::OK, json!({ "success": true })));
    for gone in [web.delete(&path).await, web.get(&path).await, web.get(&format!("{path}/audio")).await] {
        assert_eq!((gone.status, gone.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    }
    assert_eq!(web.get("/api/voice-profiles").await.json().as_array().unwrap().len(), 1);
    web.house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_will_not_do_is_refused_by_the_name_of_its_field() {
    let web = Web::new(Parts::default());
    let (good, short) = (sample(), wav(&first(&speech("beckett"), 1.8)));
    let yes: (&str, &[u8]) = ("consent", b"true");
    for (fields, code, param) in [
        (vec![("name", &b"Sam"[..]), ("audio", &good[..])], "consent_needed", "consent"),
        (vec![("name", b"Sam"), ("audio", &good), ("consent", b"false")], "consent_needed", "consent"),
        (vec![("audio", &good), yes], "invalid_value", "name"),
        (vec![("name", b"Sam"), yes], "missing_parameter", "audio"),
        (vec![("name", b"Sam"), ("sample", &short), yes], "too_short", "audio"),
        (vec![("name", b"Sam"), ("file", b"a text"), yes], "not_audio", "audio"),
        (vec![("name", &[0xff, 0xfe]), ("audio", &good), yes], "invalid_value", "name"),
        (vec![("name", b"Sam"), ("transcript", &[b'a'; 20_000]), ("audio", &good), yes], "invalid_value", "transcript"),
    ] {
        let told = web.ask(form(&fields)).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, code));
        assert_eq!(told.json()["error"]["param"], param, "{code}");
    }
    let taken = [("name", &b"Sam"[..]), ("audio", &good[..]), yes];
    assert_eq!(web.ask(form(&taken)).await.status, StatusCode::CREATED);
    assert_eq!(web.ask(form(&taken)).await.error_code(), "name_taken");
    let plain = Request::post("/api/voice-profile").header("content-type", "audio/wav").body(Body::from(good)).unwrap();
    assert_eq!(web.ask(plain).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let torn = Request::post("/api/voice-profile")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Body::from(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\nRIFF")))
        .unwrap();
    assert_eq!(web.ask(torn).await.error_code(), "invalid_form");
    let huge = vec![0; 26 << 20];
    let told = web.ask(form(&[("name", b"Sam"), ("audio", &huge), yes])).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    let put = Request::put("/api/voice-profiles").body(Body::empty()).unwrap();
    assert_eq!(web.ask(put).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_voice_of_somebody_elses_key_is_not_there() {
    let web = Web::new(Parts::default());
    let as_key = |name: &str| Some(Viewer::Owner(name.to_owned()));
    let fields = [("name", &b"Sam"[..]), ("audio", &sample()[..]), ("consent", &b"true"[..])];
    let made = web.ask_as(as_key("key_1"), form(&fields)).await;
    let id = made.json()["profile_id"].as_str().unwrap().to_owned();
    let path = format!("/api/voice-profile/{id}");
    let asked = || {
        [
            Request::get(&path).body(Body::empty()).unwrap(),
            Request::get(format!("{path}/audio")).body(Body::empty()).unwrap(),
            Request::patch(&path).body(Body::from(r#"{"name": "mine"}"#)).unwrap(),
            Request::delete(&path).body(Body::empty()).unwrap(),
        ]
    };
    for request in asked() {
        let told = web.ask_as(as_key("key_2"), request).await;
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    }
    let list = || Request::get("/api/voice-profiles").body(Body::empty()).unwrap();
    assert_eq!(web.ask_as(as_key("key_2"), list()).await.json(), json!([]));
    assert_eq!(web.ask_as(as_key("key_1"), list()).await.json()[0]["id"], id.as_str());
    assert_eq!(web.ask_as(None, list()).await.json()[0]["name"], "Sam");
    for request in asked() {
        assert_eq!(web.ask_as(as_key("key_1"), request).await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_can_be_heard_but_not_changed() {
    let web = Web::new(parts("usual"));
    for id in ["pocket-tts:alba", "pocket-tts%2Falba"] {
        let path = format!("/api/voice-profile/{id}");
        assert_eq!(web.get(&path).await.json()["voice"], "pocket-tts/alba", "{id}");
        let heard = web.get(&format!("{path}/audio")).await;
        assert_eq!(heard.status, StatusCode::OK, "{}", String::from_utf8_lossy(&heard.body));
        assert_eq!(heard.header("content-type"), "audio/ogg");
        assert!(audio::ogg::read(&heard.body[..]).unwrap().duration() > Duration::from_millis(500));
        for told in [web.patch(&path, r#"{"name": "mine"}"#).await, web.delete(&path).await] {
            assert_eq!((told.status, told.error_code().as_str()), (StatusCode::CONFLICT, "preset_voice"));
        }
    }
    let kept: Vec<_> = std::fs::read_dir(web.folder.path().join("voices/samples")).unwrap().collect();
    assert_eq!(kept.len(), 1, "it is said once");
    let unknown = web.get("/api/voice-profile/..%2F..%2Fhistory.sqlite3/audio").await;
    assert_eq!((unknown.status, unknown.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(web.get("/api/voice-profile/%FF").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_learns_whether_voices_can_be_made_and_what_to_read() {
    let told = Web::new(parts("usual")).get("/api/voice-cloning").await.json();
    assert_eq!(
        (&told["available"], &told["engine"], &told["hint"]),
        (&json!(true), &json!("pocket-tts"), &json!(null))
    );
    for language in ["en", "zh-TW"] {
        assert!(told["reading"][language].as_str().unwrap().chars().count() > 80, "{language}");
    }
    let told = Web::new(Parts::default()).get("/api/voice-cloning").await.json();
    assert_eq!((&told["available"], &told["engine"]), (&json!(false), &json!(null)));
    let hint = told["hint"].as_str().unwrap();
    assert!(hint.contains("avatar models pull pocket-tts") && hint.contains("login"), "{hint}");
}
