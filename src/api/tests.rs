//! The REST interface as its clients see it: requests through the router, a real history in a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use audio::pcm::{Pcm, SampleRate};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use signaling::http::keys::{Keys, require};
use signaling::line::{CallId, ConversationId, ItemId, ReplyId, Timings, TurnEnd};
use signaling::secret::Secret;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::call::admission::SessionDefaults;
use crate::call::record::{Answer, Keeper, Question, TurnRecord};
use crate::engines::{EngineState, Missing};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The routes as `avatar serve` puts them together, without the doors.
struct Api {
    router: Router,
    history: Arc<History>,
    folder: TempDir,
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of an error in the words of every door; panics at an error worded otherwise.
    fn error_code(&self) -> String {
        let error = &self.json()["error"];
        let fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "message", "param", "type"]);
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Api {
    fn new() -> Self {
        Self::with(&[], [("stt", EngineState::Ready)])
    }

    fn with<const N: usize>(keys: &[&str], engines: [(&'static str, EngineState); N]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = Arc::new(History::open(folder.path()).unwrap());
        let defaults = SessionDefaults {
            instructions: String::new(),
            voice: String::new(),
            language: None,
            turn_end: TurnEnd::Semantic,
            interrupt_response: true,
            temperature: 0.0,
            max_reply_tokens: 1,
        };
        let none = Missing { what: "an engine".to_owned(), hint: "none are opened here".to_owned() };
        let exchange = Arc::new(Exchange::new(Err(none), history.clone(), defaults, 5));
        let reports =
            engines.map(|(kind, state)| EngineReport { kind, name: format!("{kind}-model"), state, standing: None });
        let state = ApiState { history: history.clone(), exchange, engines: Arc::new(reports.into()) };
        let keys = Arc::new(Keys::new(keys.iter().map(|key| Secret::new(*key))));
        let guarded = require(conversations(state.clone()), keys);
        Self { router: with_safe_headers(public(state).merge(guarded)), history, folder }
    }

    async fn ask(&self, request: Request<Body>) -> Told {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Told { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Told {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn get_with(&self, path: &str, name: &str, value: &str) -> Told {
        self.ask(Request::get(path).header(name, value).body(Body::empty()).unwrap()).await
    }

    /// Writes down one conversation of one turn that began at `second`.
    async fn keep(&self, second: u64) -> TurnRecord {
        let record = turn(second);
        self.history.keep(record.clone()).await.unwrap();
        record
    }
}

fn turn(second: u64) -> TurnRecord {
    let tone = |hertz: f32| {
        let samples = (0..16_000).map(|n| (n as f32 * hertz * std::f32::consts::TAU / 16_000.0).sin() * 0.3);
        Some(Pcm::new(SampleRate::HZ_16000, samples.collect()))
    };
    let question = Question {
        item: ItemId::fresh(),
        text: format!("Question of second {second}?"),
        language: Some("en".to_owned()),
        audio: tone(440.0),
    };
    let answer = Answer {
        reply: ReplyId::fresh(),
        item: ItemId::fresh(),
        text: "It is sunny today.".to_owned(),
        heard: "It is sunny today.".to_owned(),
        audio: tone(880.0),
        interrupted: false,
        failure: None,
        voice: "flite/slt".to_owned(),
        model: "smollm2".to_owned(),
    };
    TurnRecord {
        conversation: ConversationId::fresh(),
        call: CallId::fresh(),
        door: "webrtc",
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        question: Some(question),
        answer: Some(answer),
        timings: Timings { first_packet: Some(Duration::from_millis(412)), ..Timings::default() },
    }
}

fn missing(needed: bool) -> EngineState {
    EngineState::Missing { hint: "run `make models`".to_owned(), needed }
}

// The list.

#[tokio::test]
async fn a_client_of_the_contract_finds_id_turns_and_created_at_in_the_list() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let told = api.get("/api/conversations").await;
    assert_eq!(told.status, StatusCode::OK);
    let expected = json!([{
        "id": kept.conversation.as_str(),
        "turns": 1,
        "created_at": "1970-01-01T00:16:40Z",
        "updated_at": "1970-01-01T00:16:40Z",
        "preview": "Question of second 1000?",
    }]);
    assert_eq!(told.json(), expected);
}

#[tokio::test]
async fn an_empty_history_is_an_empty_list() {
    let told = Api::new().get("/api/conversations").await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!([])));
}

#[tokio::test]
async fn pages_show_every_conversation_once_newest_first() {
    let api = Api::new();
    let mut expected = Vec::new();
    for second in 1..=5 {
        expected.insert(0, api.keep(second).await.conversation.as_str().to_owned());
    }
    let (mut seen, mut lengths, mut before) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/api/conversations?limit=2{before}")).await.json();
        let ids: Vec<_> = page.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        lengths.push(ids.len());
        before = format!("&before={}", ids.last().unwrap());
        seen.extend(ids);
        if lengths.last() < Some(&2) {
            break;
        }
    }
    assert_eq!((seen, lengths), (expected, vec![2, 2, 1]));
}

#[tokio::test]
async fn a_page_is_twenty_unless_asked_otherwise() {
    let api = Api::new();
    for second in 0..21 {
        let bare = TurnRecord { question: None, answer: None, ..turn(second) };
        api.history.keep(bare).await.unwrap();
    }
    assert_eq!(api.get("/api/conversations").await.json().as_array().unwrap().len(), 20);
    assert_eq!(api.get("/api/conversations?limit=100").await.json().as_array().unwrap().len(), 21);
    assert_eq!(api.get("/api/conversations?limit=1").await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_limit_that_is_none_is_refused_with_its_name() {
    let api = Api::new();
    for limit in ["0", "101", "abc", "-1", "", "1.5", "99999999999999999999999"] {
        let told = api.get(&format!("/api/conversations?limit={limit}")).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{limit}");
        assert_eq!(told.error_code(), "invalid_value", "{limit}");
        assert_eq!(told.json()["error"]["param"], "limit", "{limit}");
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_in_the_same_words() {
    let told = Api::new().get("/api/conversations?limit=1&limit=2").await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"));
}

// One conversation and its audio.

#[tokio::test]
async fn a_conversation_shows_both_texts_and_where_their_audio_is() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let told = api.get(&format!("/api/conversations/{}", kept.conversation)).await.json();
    let turn = &told["turns"][0];
    assert_eq!(told["id"], kept.conversation.as_str());
    assert_eq!(turn["index"], 0);
    assert_eq!(turn["door"], "webrtc");
    assert_eq!(turn["user"]["text"], "Question of second 1000?");
    assert_eq!(turn["assistant"]["text"], "It is sunny today.");
    assert_eq!(turn["assistant"]["interrupted"], false);
    assert_eq!(turn["timings"]["first_packet_ms"], 412.0);
    assert_eq!((&turn["voice"], &turn["model"]), (&json!("flite/slt"), &json!("smollm2")));
    for side in ["user", "assistant"] {
        assert_eq!(turn[side]["duration_ms"], 1_000);
        let audio = api.get(turn[side]["audio"].as_str().unwrap()).await;
        assert_eq!((audio.status, audio.header("content-type")), (StatusCode::OK, "audio/ogg"), "{side}");
        let heard = audio::ogg::read(&audio.body[..]).unwrap();
        assert!((heard.duration().as_secs_f64() - 1.0).abs() < 0.03, "{side}: {:?}", heard.duration());
    }
}

#[tokio::test]
async fn what_was_heard_is_shown_of_a_cut_reply_alone() {
    let api = Api::new();
    let mut cut = turn(1_000);
    let answer = cut.answer.as_mut().unwrap();
    (answer.heard, answer.interrupted) = ("It is".to_owned(), true);
    let whole = TurnRecord { conversation: cut.conversation.clone(), ..turn(1_001) };
    let path = format!("/api/conversations/{}", cut.conversation);
    api.history.keep(cut).await.unwrap();
    api.history.keep(whole).await.unwrap();
    let turns = &api.get(&path).await.json()["turns"];
    assert_eq!(
        (&turns[0]["assistant"]["heard"], &turns[0]["assistant"]["interrupted"]),
        (&json!("It is"), &json!(true))
    );
    assert_eq!(turns[0]["assistant"]["text"], "It is sunny today.");
    assert!(turns[1]["assistant"].get("heard").is_none());
}

#[tokio::test]
async fn a_player_that_seeks_gets_the_part_it_asks_for() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let path = format!("/api/conversations/{}/turns/1/audio/user", kept.conversation);
    let whole = api.get(&path).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = api.get_with(&path, "range", "bytes=100-299").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-range"), format!("bytes 100-299/{}", whole.body.len()));
    assert_eq!(part.body, whole.body.slice(100..300));
    let beyond = api.get_with(&path, "range", "bytes=99999999-").await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_says_what() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let conversation = format!("/api/conversations/{}", kept.conversation);
    let paths = [
        "/api/conversations/conv_none".to_owned(),
        "/api/conversations/conv_none/turns/1/audio/user".to_owned(),
        format!("{conversation}/turns/2/audio/user"),
        format!("{conversation}/turns/one/audio/user"),
        format!("{conversation}/turns/-1/audio/user"),
        format!("{conversation}/turns/1/audio/both"),
    ];
    for path in paths {
        let told = api.get(&path).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(told.error_code(), "not_found", "{path}");
    }
}

#[tokio::test]
async fn a_turn_of_one_conversation_is_not_served_as_anothers() {
    let api = Api::new();
    let (first, second) = (api.keep(1_000).await, api.keep(1_001).await);
    let path =
        |conversation: &ConversationId, turn: u32| format!("/api/conversations/{conversation}/turns/{turn}/audio/user");
    assert_eq!(api.get(&path(&first.conversation, 1)).await.status, StatusCode::OK);
    assert_eq!(api.get(&path(&second.conversation, 1)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn audio_that_was_deleted_by_hand_is_not_found_and_the_texts_stay() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    std::fs::remove_dir_all(api.folder.path().join("audio")).unwrap();
    let told = api.get(&format!("/api/conversations/{}/turns/1/audio/user", kept.conversation)).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    let shown = api.get(&format!("/api/conversations/{}", kept.conversation)).await;
    assert_eq!(shown.json()["turns"][0]["user"]["text"], "Question of second 1000?");
}

// Hostile addresses.

#[tokio::test]
async fn no_id_leads_out_of_the_history() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let long = "x".repeat(20_000);
    let ids = [
        "..%2F..%2Fhistory.sqlite3",
        "%2e%2e",
        "..%5c..%5cx",
        "'%20OR%201=1--",
        "%00",
        "%FF%FE",
        "%F0%9F%90%9F",
        &long,
    ];
    for id in ids {
        for path in [
            format!("/api/conversations/{id}"),
            format!("/api/conversations/{id}/turns/1/audio/user"),
            format!("/api/conversations/{}/turns/{id}/audio/user", kept.conversation),
            format!("/api/conversations/{}/turns/1/audio/{id}", kept.conversation),
        ] {
            let told = api.get(&path).await;
            assert!(matches!(told.status.as_u16(), 400 | 404), "{}: {}", told.status, &path[..path.len().min(80)]);
            told.error_code();
            assert!(told.body.len() < 1_000, "what was asked for comes back whole");
        }
    }
    assert_eq!(api.get("/api/conversations").await.json().as_array().unwrap().len(), 1);
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

// Health.

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
            };
            assert_eq!(health["models"][kind]["state"], state);
            assert_eq!(health["models"][kind]["hint"], hint);
            assert_eq!(health["models"][kind]["name"], format!("{kind}-model"));
        }
    }
}

// The page.

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

// Keys.

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
