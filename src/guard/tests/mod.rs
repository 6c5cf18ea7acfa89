//! The whole router as `avatar serve` puts it together, with real keys and a real history, and a negotiator that connects nobody.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod every_door;
mod headers;
mod paths;
mod routes;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use signaling::http::keys::Keys;
use signaling::http::negotiator::{Answer, Negotiator, Offer};
use signaling::line::{CallId, ConversationId, ItemId, Timings};
use signaling::negotiate::NegotiateError;
use signaling::secret::Secret;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::api::ApiState;
use crate::call::admission::{Exchange, SessionDefaults};
use crate::call::record::{Keeper, Question, TurnRecord};
use crate::cli::serve::doors;
use crate::config::Config;
use crate::engines::Missing;
use crate::history::History;
use crate::keys::{KeyStore, Wanted};
use crate::readiness::Readiness;
use crate::voices::Voices;

/// A key of the config.
const OWN: &str = "0123456789abcdef0123456789abcdef";
const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n";

/// Takes every offer, and remembers whose it was.
#[derive(Default)]
struct Switch(Mutex<Vec<(CallId, Option<String>)>>);

impl Negotiator for Switch {
    fn answer(&self, offer: Offer) -> BoxFuture<'_, Result<Answer, NegotiateError>> {
        let call = CallId::fresh();
        self.0.lock().unwrap().push((call.clone(), offer.grant.map(|grant| grant.key)));
        async move { Ok(Answer { call, sdp: "v=0\r\n".to_owned() }) }.boxed()
    }

    fn add_candidates<'a>(&'a self, call: &'a CallId, _: &'a str) -> BoxFuture<'a, Result<(), NegotiateError>> {
        let known = self.owner(call).is_some();
        async move { if known { Ok(()) } else { Err(NegotiateError::UnknownCall(call.clone())) } }.boxed()
    }

    fn restart<'a>(&'a self, call: &'a CallId, _: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>> {
        async move { Err(NegotiateError::UnknownCall(call.clone())) }.boxed()
    }

    fn answer_again<'a>(&'a self, call: &'a CallId, _: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>> {
        let known = self.owner(call).is_some();
        async move { if known { Ok("v=0\r\n".to_owned()) } else { Err(NegotiateError::UnknownCall(call.clone())) } }
            .boxed()
    }

    fn owner(&self, call: &CallId) -> Option<Option<String>> {
        self.0.lock().unwrap().iter().find(|(known, _)| known == call).map(|(_, owner)| owner.clone())
    }

    fn hang_up(&self, call: &CallId) -> bool {
        let mut calls = self.0.lock().unwrap();
        let before = calls.len();
        calls.retain(|(known, _)| known != call);
        calls.len() < before
    }
}

struct Server {
    router: Router,
    keys: Arc<KeyStore>,
    history: Arc<History>,
    switch: Arc<Switch>,
    folder: TempDir,
    /// Says that the server goes on.
    _stop: watch::Sender<bool>,
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Told {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text())).to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    /// With one key of its own.
    fn closed() -> Self {
        Self::with(|config| config.api_keys = vec![Secret::new(OWN)])
    }

    fn open() -> Self {
        Self::with(|_| {})
    }

    fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let mut config = Config { data_dir: data_dir.clone(), ..Config::default() };
        adjust(&mut config);
        let history = Arc::new(History::open(&data_dir).unwrap());
        let given = Arc::new(KeyStore::open(&data_dir).unwrap());
        let missing = Missing { what: "an engine".to_owned(), hint: "none are opened here".to_owned() };
        let readiness = Arc::new(Readiness::settled(Err(missing), Vec::new()));
        let defaults = SessionDefaults::plain();
        let exchange = Arc::new(Exchange::new(readiness.clone(), history.clone(), defaults, 5));
        let voices = Arc::new(Voices::open(&history, readiness.clone(), || false).unwrap());
        let state = ApiState { history: history.clone(), exchange, readiness };
        let keys = Arc::new(Keys::new(config.api_keys.iter().cloned()).with_book(given.clone()));
        let switch = Arc::new(Switch::default());
        let stop = watch::Sender::new(false);
        let router = doors(&config, switch.clone(), state, voices, &keys, stop.subscribe());
        Self { router, keys: given, history, switch, folder, _stop: stop }
    }

    /// A key that is given out now: its id and text.
    fn give(&self, name: &str) -> (String, String) {
        self.give_as(Wanted { name: name.to_owned(), ..Wanted::default() }, SystemTime::now())
    }

    fn give_as(&self, wanted: Wanted, now: SystemTime) -> (String, String) {
        let (id, key) = self.keys.create(&wanted, now).unwrap();
        (id, key.reveal().to_owned())
    }

    async fn ask(&self, request: Request<Body>) -> Told {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // Events go on for as long as somebody listens.
        let is_endless = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_endless { Bytes::new() } else { to_bytes(body, usize::MAX).await.unwrap() };
        Told { status: parts.status, headers: parts.headers, body }
    }

    async fn send(&self, method: Method, path: &str, key: Option<&str>) -> Told {
        self.ask(request(method, path, key, Body::empty())).await
    }

    async fn get(&self, path: &str, key: Option<&str>) -> Told {
        self.send(Method::GET, path, key).await
    }

    /// A conversation of one turn that was held with the key of that id.
    async fn said_by(&self, key: &str) -> String {
        let question = Question { item: ItemId::fresh(), text: "Hello?".to_owned(), language: None, audio: None };
        let record = TurnRecord {
            conversation: ConversationId::fresh(),
            call: CallId::fresh(),
            owner: Some(key.to_owned()),
            door: "webrtc",
            started: SystemTime::now(),
            question: Some(question),
            answer: None,
            timings: Timings::default(),
        };
        let conversation = record.conversation.as_str().to_owned();
        self.history.keep(record).await.unwrap();
        conversation
    }

    /// Whether calls with the key of that id may go on with a conversation.
    fn exchange_takes(&self, key: &str, conversation: &str) -> bool {
        self.history.is_open_to(&ConversationId::from_text(conversation), key)
    }

    /// The path of a call that the holder of `key` began.
    async fn call(&self, door: &str, key: &str) -> String {
        let mut offer = request(Method::POST, door, Some(key), Body::from(OFFER));
        offer.headers_mut().insert("content-type", "application/sdp".parse().unwrap());
        let told = self.ask(offer).await;
        assert_eq!(told.status, StatusCode::CREATED, "{}", told.text());
        told.header("location").to_owned()
    }

    async fn client_secret(&self, key: &str) -> String {
        let told = self.send(Method::POST, "/v1/realtime/client_secrets", Some(key)).await;
        told.json()["value"].as_str().unwrap().to_owned()
    }
}

fn request(method: Method, path: &str, key: Option<&str>, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = match key {
        Some(key) => request.header("authorization", format!("Bearer {key}")),
        None => request,
    };
    request.body(body).unwrap()
}

/// The same request, with one more header.
fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

const HOUR: Duration = Duration::from_secs(3_600);
