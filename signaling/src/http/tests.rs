//! The doors, driven by requests and answered by a negotiator that makes no connection; and what all doors have in common.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use serde_json::Value;
use tower::ServiceExt;

use super::keys::Keys;
use super::keys::tests::Book;
use super::negotiator::{Answer, Negotiator, Offer};
use super::origins::Origins;
use super::{Doors, IceServer, body, router};
use crate::line::{CallEvent, CallId, ConversationId, Refusal, SessionPatch};
use crate::negotiate::NegotiateError;
use crate::secret::Secret;

pub const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n";

/// Answers as a real one would by the plainest reading of the offer, and writes down what it was asked.
#[derive(Default)]
pub struct Scripted {
    pub refusal: Option<Refusal>,
    pub breaks: bool,
    pub restarts: bool,
    pub offers: Mutex<Vec<(&'static str, SessionPatch)>>,
    pub fragments: Mutex<Vec<String>>,
    pub live: Mutex<Vec<(CallId, Option<String>)>>,
}

impl Scripted {
    pub fn sessions(&self) -> Vec<SessionPatch> {
        self.offers.lock().unwrap().iter().map(|(_, session)| session.clone()).collect()
    }

    pub fn live_calls(&self) -> usize {
        self.live.lock().unwrap().len()
    }

    fn take(&self, mut offer: Offer) -> Result<Answer, NegotiateError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone().into());
        }
        if self.breaks {
            return Err(NegotiateError::Internal { why: "no free port".to_owned() });
        }
        if !offer.sdp.contains("\r\n") {
            return Err(NegotiateError::Malformed { why: "line 1 does not end".to_owned() });
        }
        if !offer.sdp.contains("m=audio") {
            return Err(NegotiateError::NoAudio);
        }
        if !offer.sdp.contains("opus/48000/2") {
            return Err(NegotiateError::NoCodec { offered: "GSM/8000".to_owned() });
        }
        assert!(!offer.protocol.tell(&CallEvent::InputCleared).is_empty(), "the door brings a protocol that speaks");
        let call = CallId::fresh();
        self.offers.lock().unwrap().push((offer.door, offer.session));
        self.live.lock().unwrap().push((call.clone(), offer.grant.map(|grant| grant.key)));
        Ok(Answer { call, sdp: "v=0\r\n".to_owned() })
    }

    fn change(&self, call: &CallId, fragment: &str) -> Result<(), NegotiateError> {
        if self.owner(call).is_none() {
            return Err(NegotiateError::UnknownCall(call.clone()));
        }
        self.fragments.lock().unwrap().push(fragment.to_owned());
        Ok(())
    }
}

impl Negotiator for Scripted {
    fn answer(&self, offer: Offer) -> BoxFuture<'_, Result<Answer, NegotiateError>> {
        async move { self.take(offer) }.boxed()
    }

    fn add_candidates<'a>(&'a self, call: &'a CallId, fragment: &'a str) -> BoxFuture<'a, Result<(), NegotiateError>> {
        async move { self.change(call, fragment) }.boxed()
    }

    fn restart<'a>(&'a self, call: &'a CallId, fragment: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>> {
        async move {
            if !self.restarts {
                return Err(NegotiateError::Unsupported("ICE restart"));
            }
            self.change(call, fragment)?;
            Ok("a=ice-ufrag:new\r\na=ice-pwd:newer\r\n".to_owned())
        }
        .boxed()
    }

    fn owner(&self, call: &CallId) -> Option<Option<String>> {
        let live = self.live.lock().unwrap();
        live.iter().find(|(known, _)| known == call).map(|(_, owner)| owner.clone())
    }

    fn answer_again<'a>(&'a self, call: &'a CallId, offer: &'a str) -> BoxFuture<'a, Result<String, NegotiateError>> {
        async move {
            self.change(call, offer)?;
            Ok("v=0\r\na=ice-ufrag:new\r\n".to_owned())
        }
        .boxed()
    }

    fn hang_up(&self, call: &CallId) -> bool {
        let mut live = self.live.lock().unwrap();
        let before = live.len();
        live.retain(|(known, _)| known != call);
        live.len() < before
    }
}

/// A server of all doors.
pub struct Server {
    pub negotiator: Arc<Scripted>,
    router: Router,
}

impl Server {
    pub fn new() -> Self {
        Self::with(Scripted::default(), &[])
    }

    pub fn with(negotiator: Scripted, keys: &[&str]) -> Self {
        Self::of(negotiator, Keys::new(keys.iter().map(|key| Secret::new(*key))))
    }

    pub fn of(negotiator: Scripted, keys: Keys) -> Self {
        let negotiator = Arc::new(negotiator);
        let ice_servers = vec![
            IceServer { urls: vec!["stun:stun.example:3478".to_owned()], username: None, credential: None },
            IceServer {
                urls: vec!["turn:turn.example:3478?transport=udp".to_owned()],
                username: Some("me".to_owned()),
                credential: Some(Secret::new("a\"b")),
            },
            IceServer { urls: vec!["stun:\nbroken".to_owned()], username: None, credential: None },
        ];
        let router = router(Doors {
            negotiator: negotiator.clone(),
            keys: Arc::new(keys),
            origins: Origins::default(),
            ice_servers,
        });
        Self { negotiator, router }
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, content) = response.into_parts();
        let content = axum::body::to_bytes(content, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8(content.to_vec()).unwrap() }
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The code of an error that is whole: type, code, message, and a param that may be null.
    pub fn code(&self) -> String {
        let error = &self.json()["error"];
        assert!(error["type"].is_string() && error.get("param").is_some(), "{self:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        error["code"].as_str().unwrap().to_owned()
    }

    pub fn refused(&self, status: StatusCode, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
    }
}

pub fn request(method: Method, path: &str, kind: &str, content: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8080");
    let request = if kind.is_empty() { request } else { request.header(header::CONTENT_TYPE, kind) };
    request.body(content.into()).unwrap()
}

pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

const DOORS: [&str; 2] = ["/v1/realtime/calls", "/whip"];

fn offer(door: &str, content: impl Into<Body>) -> Request<Body> {
    request(Method::POST, door, "application/sdp", content)
}

#[tokio::test]
async fn each_bad_offer_is_refused_with_its_own_code_at_every_door() {
    let server = Server::new();
    let large = "x".repeat(body::OFFER_LIMIT + 1);
    let cases: [(&[u8], StatusCode, &str); 8] = [
        (b"", StatusCode::BAD_REQUEST, "invalid_sdp"),
        (b" \r\n", StatusCode::BAD_REQUEST, "invalid_sdp"),
        (b"hello", StatusCode::BAD_REQUEST, "invalid_sdp"),
        (b"v=0\xff\xfe", StatusCode::BAD_REQUEST, "invalid_sdp"),
        (b"v=0 and nothing", StatusCode::BAD_REQUEST, "invalid_sdp"),
        (b"v=0\r\nm=video 9 X 96\r\n", StatusCode::BAD_REQUEST, "no_audio"),
        (b"v=0\r\nm=audio 9 X 3\r\na=rtpmap:3 GSM/8000\r\n", StatusCode::BAD_REQUEST, "no_common_codec"),
        (large.as_bytes(), StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
    ];
    for door in DOORS {
        for (content, status, code) in cases {
            server.send(offer(door, content.to_vec())).await.refused(status, code);
        }
        for kind in ["", "text/plain", "application/octet-stream", "application/sdpx", "video/mp4"] {
            let reply = server.send(request(Method::POST, door, kind, OFFER)).await;
            reply.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type");
        }
    }
    assert_eq!(server.negotiator.live_calls(), 0);
}

#[tokio::test]
async fn an_offer_of_exactly_the_limit_is_read() {
    let filler = "a=x\r\n".repeat((body::OFFER_LIMIT - OFFER.len()) / 5);
    let offer_text = format!("{OFFER}{filler}{}", "\n".repeat((body::OFFER_LIMIT - OFFER.len()) % 5));
    assert_eq!(offer_text.len(), body::OFFER_LIMIT);
    assert_eq!(Server::new().send(offer("/whip", offer_text)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_full_server_says_when_to_come_again_at_every_door() {
    let refusal = Refusal::Full { limit: 5, retry_after: Duration::from_millis(2_500) };
    let server = Server::with(Scripted { refusal: Some(refusal), ..Scripted::default() }, &[]);
    for door in DOORS {
        let reply = server.send(offer(door, OFFER)).await;
        reply.refused(StatusCode::SERVICE_UNAVAILABLE, "server_full");
        assert_eq!(reply.header("retry-after"), "3");
    }
}

#[tokio::test]
async fn a_missing_engine_a_stopping_server_and_a_fault_are_told_apart() {
    let missing = Refusal::EngineMissing { what: "the voice".to_owned(), hint: "run `make models`".to_owned() };
    let server = Server::with(Scripted { refusal: Some(missing), ..Scripted::default() }, &[]);
    let reply = server.send(offer("/whip", OFFER)).await;
    reply.refused(StatusCode::SERVICE_UNAVAILABLE, "engine_missing");
    assert!(reply.body.contains("make models") && reply.header("retry-after").is_empty(), "{reply:?}");

    let draining = Refusal::Draining { retry_after: Duration::ZERO };
    let server = Server::with(Scripted { refusal: Some(draining), ..Scripted::default() }, &[]);
    let reply = server.send(offer("/whip", OFFER)).await;
    reply.refused(StatusCode::SERVICE_UNAVAILABLE, "server_draining");
    assert_eq!(reply.header("retry-after"), "1");

    let server = Server::with(Scripted { breaks: true, ..Scripted::default() }, &[]);
    server.send(offer("/whip", OFFER)).await.refused(StatusCode::INTERNAL_SERVER_ERROR, "internal_error");
}

#[tokio::test]
async fn a_wrong_method_and_an_unknown_call_are_answered_in_the_doors_own_words() {
    let server = Server::new();
    for door in DOORS {
        server
            .send(request(Method::GET, door, "", ""))
            .await
            .refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        let reply = server.send(request(Method::DELETE, &format!("{door}/rtc_nobody"), "", "")).await;
        reply.refused(StatusCode::NOT_FOUND, "call_not_found");
    }
}

#[tokio::test]
async fn a_server_with_keys_lets_nobody_do_anything_without_one() {
    let server = Server::with(Scripted::default(), &["sk-mine"]);
    let requests = || {
        [
            offer("/v1/realtime/calls", OFFER),
            offer("/whip", OFFER),
            request(Method::DELETE, "/v1/realtime/calls/x", "", ""),
            request(Method::PATCH, "/v1/realtime/calls/x", "application/sdp", OFFER),
            request(Method::POST, "/v1/realtime/calls/x/hangup", "", ""),
            request(Method::DELETE, "/whip/x", "", ""),
            request(Method::PATCH, "/whip/x", "application/trickle-ice-sdpfrag", "a=x"),
            request(Method::POST, "/v1/realtime/client_secrets", "", ""),
        ]
    };
    for request in requests() {
        let reply = server.send(request).await;
        reply.refused(StatusCode::UNAUTHORIZED, "missing_api_key");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    for request in requests() {
        let reply = server.send(with(request, "authorization", "Bearer sk-yours")).await;
        reply.refused(StatusCode::UNAUTHORIZED, "invalid_api_key");
    }
    for door in DOORS {
        let reply = server.send(with(offer(door, OFFER), "authorization", "bearer sk-mine")).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn a_call_of_another_key_does_not_exist() {
    let book = Arc::new(Book::with(&["sk-ann", "sk-bob"]));
    let server = Server::of(Scripted::default(), Keys::new([Secret::new("sk-mine")]).with_book(book));
    for door in DOORS {
        let taken = server.send(with(offer(door, OFFER), "authorization", "Bearer sk-ann")).await;
        assert_eq!(taken.status, StatusCode::CREATED);
        let call = taken.header("location").to_owned();
        let touches = || {
            [
                request(Method::DELETE, &call, "", ""),
                with(request(Method::PATCH, &call, "application/trickle-ice-sdpfrag", "a=x"), "if-match", "*"),
                request(Method::POST, &format!("{call}/hangup"), "", ""),
            ]
        };
        for request in touches() {
            let path = request.uri().path().to_owned();
            let reply = server.send(with(request, "authorization", "Bearer sk-bob")).await;
            // What this door has not got is answered as to everybody; what it has, as if the call were not there.
            assert!(matches!(reply.status.as_u16(), 404 | 405), "{path}: {reply:?}");
        }
        let deleted = |key: &str| with(request(Method::DELETE, &call, "", ""), "authorization", key);
        server.send(deleted("Bearer sk-bob")).await.refused(StatusCode::NOT_FOUND, "call_not_found");
        assert_eq!(server.send(deleted("Bearer sk-ann")).await.status, StatusCode::OK);

        let taken = server.send(with(offer(door, OFFER), "authorization", "Bearer sk-ann")).await;
        let call = taken.header("location").to_owned();
        let by_the_server = with(request(Method::DELETE, &call, "", ""), "authorization", "Bearer sk-mine");
        assert_eq!(server.send(by_the_server).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_client_secret_acts_as_the_key_it_comes_from() {
    let book = Arc::new(Book::with(&["sk-ann", "sk-bob"]));
    let server = Server::of(Scripted::default(), Keys::new([Secret::new("sk-mine")]).with_book(book.clone()));
    let minted = |key: &str| {
        with(request(Method::POST, "/v1/realtime/client_secrets", "", ""), "authorization", &format!("Bearer {key}"))
    };
    let secret = server.send(minted("sk-ann")).await.json()["value"].as_str().unwrap().to_owned();
    let of_the_server = server.send(minted("sk-mine")).await.json()["value"].as_str().unwrap().to_owned();
    let as_secret = format!("Bearer {secret}");
    let call = server.send(with(offer("/v1/realtime/calls", OFFER), "authorization", &as_secret)).await;
    let path = call.header("location").to_owned();
    let deleted = |key: &str| with(request(Method::DELETE, &path, "", ""), "authorization", key);
    // A secret of the server's own key is no key of the server.
    for stranger in ["Bearer sk-bob".to_owned(), format!("Bearer {of_the_server}")] {
        server.send(deleted(&stranger)).await.refused(StatusCode::NOT_FOUND, "call_not_found");
    }
    server.send(minted(&secret)).await.refused(StatusCode::FORBIDDEN, "api_key_needed");
    book.revoke("sk-ann");
    server.send(deleted(&as_secret)).await.refused(StatusCode::UNAUTHORIZED, "invalid_api_key");
    assert_eq!(server.negotiator.live_calls(), 1);
    assert_eq!(server.send(deleted("Bearer sk-mine")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_talk_of_another_and_a_key_that_had_its_share_are_told_apart() {
    let missing = Refusal::NoSuchConversation(ConversationId::from_text("conv_1"));
    let server = Server::with(Scripted { refusal: Some(missing), ..Scripted::default() }, &[]);
    server.send(offer("/whip", OFFER)).await.refused(StatusCode::NOT_FOUND, "conversation_not_found");

    let quota = Refusal::Quota { why: "enough for today".to_owned(), retry_after: Duration::from_secs(90) };
    let server = Server::with(Scripted { refusal: Some(quota), ..Scripted::default() }, &[]);
    let reply = server.send(offer("/whip", OFFER)).await;
    reply.refused(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded");
    assert_eq!(reply.header("retry-after"), "90");
}

#[tokio::test]
async fn openais_package_may_send_its_headers_from_a_listed_page() {
    let origins = Origins::new(["https://shop.example".to_owned()]);
    let router = router(Doors {
        negotiator: Arc::new(Scripted::default()),
        keys: Arc::new(Keys::new([])),
        origins,
        ice_servers: Vec::new(),
    });
    let preflight = request(Method::OPTIONS, "/v1/realtime/client_secrets", "", "");
    let reply = router.oneshot(with(preflight, "origin", "https://shop.example")).await.unwrap();
    assert_eq!(reply.status(), StatusCode::NO_CONTENT);
    let allowed = reply.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
    // What the `openai` package for JavaScript sends from a browser.
    for name in [
        "authorization",
        "content-type",
        "openai-organization",
        "openai-project",
        "openai-beta",
        "x-stainless-arch",
        "x-stainless-lang",
        "x-stainless-os",
        "x-stainless-package-version",
        "x-stainless-retry-count",
        "x-stainless-runtime",
        "x-stainless-runtime-version",
        "x-stainless-timeout",
        "x-stainless-helper-method",
        "x-stainless-poll-helper",
        "x-stainless-custom-poll-interval",
    ] {
        assert!(allowed.contains(&name), "{name} is not in {allowed:?}");
    }
}

#[tokio::test]
async fn a_page_of_this_server_may_ask_first_and_then_read_where_its_call_is() {
    let server = Server::with(Scripted::default(), &["sk-mine"]);
    for path in ["/v1/realtime/calls", "/v1/realtime/calls/x", "/v1/realtime/client_secrets", "/whip", "/whip/x"] {
        let preflight = with(request(Method::OPTIONS, path, "", ""), "origin", "http://127.0.0.1:8080");
        let reply = server.send(preflight).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "http://127.0.0.1:8080");
        for name in ["Authorization", "Content-Type", "X-OpenAI-Agents-SDK"] {
            assert!(reply.header("access-control-allow-headers").contains(name), "{path} {name}");
        }
    }
    let asked = with(offer("/v1/realtime/calls", OFFER), "authorization", "Bearer sk-mine");
    let reply = server.send(with(asked, "origin", "http://localhost:5173")).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert!(reply.header("access-control-expose-headers").contains("Location"));
    assert_eq!(reply.header("vary"), "Origin");
}

#[tokio::test]
async fn a_foreign_page_takes_no_call_slot_even_with_a_request_that_needs_no_preflight() {
    let server = Server::new();
    let form = "--b\r\ncontent-disposition: form-data; name=\"sdp\"\r\n\r\nv=0\r\n--b--\r\n";
    let asked = request(Method::POST, "/v1/realtime/calls", "multipart/form-data; boundary=b", form);
    let reply = server.send(with(asked, "origin", "https://evil.example")).await;
    reply.refused(StatusCode::FORBIDDEN, "origin_not_allowed");
    assert!(reply.header("access-control-allow-origin").is_empty());
    assert_eq!(server.negotiator.live_calls(), 0);
}
