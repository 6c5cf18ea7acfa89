//! The router with scripted engines behind it, and what a request came to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use signaling::grant::Grant;
use signaling::http::keys::{BookError, Holder, KeyBook, Keys};
use signaling::http::origins::Origins;
use signaling::line::SessionPatch;
use signaling::secret::Secret;
use tower::ServiceExt;

use super::engines::Scripted;
use crate::call::admission::{Exchange, SessionDefaults};
use crate::call::allowance::{self, Allowances, Meter};
use crate::history::History;
use crate::readiness::Readiness;
use crate::service::{ServiceParts, router};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

pub struct House {
    pub engines: Scripted,
    router: Router,
    keys: Arc<Keys>,
    pub history: Arc<History>,
    #[expect(dead_code, reason = "held for its drop")]
    folder: tempfile::TempDir,
}

/// Every word that begins with `key-` is a key that was given out, and its own id.
#[derive(Debug)]
struct Ids;

impl KeyBook for Ids {
    fn has_keys(&self) -> Result<bool, BookError> {
        Ok(true)
    }

    fn find(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, BookError> {
        self.grant(token, now)
    }

    fn grant(&self, key: &str, _: SystemTime) -> Result<Option<Grant>, BookError> {
        Ok(key.starts_with("key-").then(|| Grant { key: key.to_owned(), ..Grant::default() }))
    }
}

/// What a request came to.
pub struct Told {
    pub status: StatusCode,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text())).to_owned()
    }

    /// The data of each event of a stream.
    pub fn events(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), "text/event-stream");
        self.text().lines().filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
    }

    /// The same as JSON, without what ends a chat's.
    pub fn json_events(&self) -> Vec<Value> {
        let events = self.events();
        events.iter().filter(|event| *event != "[DONE]").map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

impl House {
    pub fn new() -> Self {
        Self::with_keys(&[])
    }

    pub fn with_keys(keys: &[&str]) -> Self {
        let engines = Scripted::default();
        let readiness = Readiness::settled(Ok(engines.engines()), Vec::new());
        Self { engines, ..Self::of(readiness, keys) }
    }

    /// With keys that were given out, each to be presented as its own id; what they use is added up by `meter`.
    pub fn giving(share: allowance::Share, meter: Arc<dyn Meter>) -> Self {
        let engines = Scripted::default();
        let readiness = Readiness::settled(Ok(engines.engines()), Vec::new());
        let keys = Keys::new([Secret::new(KEY)]).with_book(Arc::new(Ids));
        Self { engines, ..Self::put_together(readiness, keys, Some(Allowances::new(share, meter))) }
    }

    /// With whatever is ready; its own scripted engines are then in nobody's hands.
    pub fn of(readiness: Readiness, keys: &[&str]) -> Self {
        Self::put_together(readiness, Keys::new(keys.iter().map(|key| Secret::new(*key))), None)
    }

    fn put_together(readiness: Readiness, keys: Keys, allowances: Option<Allowances>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let readiness = Arc::new(readiness);
        let defaults = SessionDefaults::plain();
        let history = Arc::new(History::open(folder.path()).unwrap());
        let exchange = Exchange::new(readiness.clone(), history.clone(), defaults, 5);
        let exchange = match allowances {
            Some(allowances) => exchange.with_allowances(allowances),
            None => exchange,
        };
        let (exchange, keys) = (Arc::new(exchange), Arc::new(keys));
        let router = router(ServiceParts {
            readiness,
            exchange,
            keys: keys.clone(),
            origins: Origins::default(),
            session: crate::config::SessionDefaults::default(),
        });
        Self { engines: Scripted::default(), router, keys, history, folder }
    }

    pub fn client_secret(&self) -> String {
        let secret = self
            .keys
            .mint(&Holder::Owner, SessionPatch::default(), Duration::from_secs(60), SystemTime::now())
            .unwrap();
        secret.value.reveal().to_owned()
    }

    /// The answer while its body is still being made.
    pub async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn told(&self, request: Request<Body>) -> Told {
        let (parts, body) = self.ask(request).await.into_parts();
        Told { status: parts.status, headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    pub async fn get(&self, path: &str) -> Told {
        self.told(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn get_from_page(&self, origin: &str, path: &str) -> Told {
        self.told(Request::get(path).header("origin", origin).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, value: &Value) -> Told {
        self.post_as(None, path, value).await
    }

    pub async fn post_as(&self, key: Option<&str>, path: &str, value: &Value) -> Told {
        self.post_raw_as(key, path, "application/json", value.to_string().into_bytes()).await
    }

    pub async fn post_raw(&self, path: &str, kind: &str, body: Vec<u8>) -> Told {
        self.post_raw_as(None, path, kind, body).await
    }

    pub async fn post_raw_as(&self, key: Option<&str>, path: &str, kind: &str, body: Vec<u8>) -> Told {
        let mut request = Request::post(path).header("content-type", kind);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.told(request.body(Body::from(body)).unwrap()).await
    }
}

/// A chat request that has not been read to its end.
pub fn chat(value: &Value) -> Request<Body> {
    Request::post("/v1/chat/completions").body(Body::from(value.to_string())).unwrap()
}
