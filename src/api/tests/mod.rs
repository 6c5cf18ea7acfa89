//! The REST interface as its clients see it: requests through the router, a real history in a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod conversations;
mod exports;
mod keys;
mod page;
mod renders;
mod searches;
mod status;
mod viewers;
mod voices;

use std::path::Path;
use std::time::{Duration, SystemTime};

use audio::pcm::{Pcm, SampleRate};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use models::error::EngineError;
use models::queue::QueueDepth;
use models::stt::{SpeechToText, TranscribeRequest, Transcription};
use serde_json::{Value, json};
use signaling::http::keys::Keys;
use signaling::line::{CallId, ConversationId, ItemId, ReplyId, Timings};
use signaling::secret::Secret;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::call::admission::SessionDefaults;
use crate::call::record::{Answer, Keeper, Question, TurnRecord};
use crate::config;
use crate::data_folder::DataFolder;
use crate::engines::{EngineReport, EngineState, Missing, Parts};
use crate::guard::Guard;
use crate::history::Viewer;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The routes as `avatar serve` puts them together, without the doors.
struct Api {
    router: Router,
    /// What stands behind the guard.
    unguarded: Router,
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

struct BusyEar;

impl SpeechToText for BusyEar {
    fn name(&self) -> String {
        "busy".to_owned()
    }

    fn languages(&self) -> &[&'static str] {
        &[]
    }

    fn transcribe(&self, _: TranscribeRequest) -> Result<Transcription, EngineError> {
        Err(EngineError::Stopped { engine: "speech to text" })
    }

    fn queue(&self) -> Option<QueueDepth> {
        Some(QueueDepth { waiting: 3, busy: 2 })
    }
}

impl Api {
    fn new() -> Self {
        Self::with(&[], [("stt", EngineState::Ready)])
    }

    /// With an ear that has much to do.
    fn at_work() -> Self {
        let parts = Parts { stt: Some(Arc::new(BusyEar)), ..Parts::default() };
        Self::of(&[], ["stt", "llm", "hq"].map(|kind| (kind, EngineState::Ready)), parts, |folder| folder.into())
    }

    fn with<const N: usize>(keys: &[&str], engines: [(&'static str, EngineState); N]) -> Self {
        Self::of(keys, engines, Parts::default(), |folder| folder.into())
    }

    fn in_folder(open: impl FnOnce(&Path) -> DataFolder) -> Self {
        Self::of(&[], [("stt", EngineState::Ready)], Parts::default(), open)
    }

    fn of<const N: usize>(
        keys: &[&str],
        engines: [(&'static str, EngineState); N],
        parts: Parts,
        open: impl FnOnce(&Path) -> DataFolder,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = Arc::new(History::open(open(folder.path())).unwrap());
        let defaults = SessionDefaults::plain();
        let none = Missing { what: "an engine".to_owned(), hint: "none are opened here".to_owned() };
        let reports = engines.map(|(kind, state)| EngineReport { kind, name: format!("{kind}-model"), state });
        let is_loading = reports.iter().any(|report| matches!(report.state, EngineState::Loading { .. }));
        let readiness = if is_loading {
            Readiness::expecting(reports.into())
        } else {
            Readiness::settled(Err(none), reports.into())
        };
        let readiness = Arc::new(readiness.with_parts(parts));
        let exchange = Arc::new(Exchange::new(readiness.clone(), history.clone(), defaults, 5));
        let state = ApiState { history: history.clone(), exchange, readiness };
        let keys = Arc::new(Keys::new(keys.iter().map(|key| Secret::new(*key))));
        let turn = IceServer {
            urls: vec!["turn:turn.example:3478?transport=udp".to_owned()],
            username: Some("caller".to_owned()),
            credential: Some(Secret::new("hush")),
        };
        let stun = IceServer { urls: vec!["stun:stun.example:3478".to_owned()], username: None, credential: None };
        let guarded = super::conversations(state.clone()).merge(ice_servers(&[stun, turn]));
        let guard = Guard::new(keys, &config::Limits::default(), &config::Security::default());
        let unguarded = guarded.clone();
        let router = guard.receive(public(state).merge(guard.protect(guarded)));
        Self { router: with_safe_headers(router), unguarded, history, folder }
    }

    /// Of somebody whom the guard has let in.
    async fn ask_as(&self, viewer: Viewer, mut request: Request<Body>) -> Told {
        request.extensions_mut().insert(viewer);
        let response = self.unguarded.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Told { status: parts.status, headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
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

    async fn send(&self, method: Method, path: &str, body: &Value) -> Told {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.ask(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Told {
        self.send(Method::PATCH, path, body).await
    }

    async fn delete(&self, path: &str) -> Told {
        self.ask(Request::delete(path).body(Body::empty()).unwrap()).await
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
        owner: None,
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
