//! One server as an engine uses it: asked with its key, within its time, again where that helps, and left alone while it is down.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::address::ServerAddress;
use super::breaker::{Breaker, BreakerSettings, BreakerState, Outcome, Pass};
use super::completion::error_text;
use super::failure::Failure;
use super::network::{Network, innermost};
use crate::error::EngineError;

/// Bytes that are read of an error, and of a list of models.
const ERROR_MAX: usize = 16 * 1024;
const MODELS_MAX: usize = 1024 * 1024;
/// Characters of a server's own words that are shown.
const MESSAGE_MAX: usize = 200;
/// How long a server may take to list its models.
const KNOCK_LIMIT: Duration = Duration::from_secs(3);

/// Where an engine is, and how long it is waited for.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub address: ServerAddress,
    /// `Bearer …`, marked as sensitive, so that no `Debug` shows it: see [`bearer`].
    pub authorization: Option<HeaderValue>,
    /// Its name for the model; empty takes the first that it lists.
    pub model: String,
    /// From the request to the first piece of the answer, attempts and waits between them included.
    pub first: Duration,
    /// Between two pieces of the answer.
    pub pause: Duration,
    /// For the whole answer.
    pub total: Duration,
    /// How often a request is sent again.
    pub retries: u32,
    pub breaker: BreakerSettings,
}

/// A key as it is sent; `None` if it has characters that can't be.
pub fn bearer(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// See the module.
pub(super) struct Server {
    pub settings: ServerSettings,
    /// `remote.llm` and the like: where its settings stand, and what it is called in the log.
    pub section: &'static str,
    network: Arc<Network>,
    guard: Mutex<Guard>,
    in_flight: AtomicUsize,
    /// It answers, but lists no models: asking each time would cost each request a round trip.
    lists_none: AtomicBool,
    /// The model it listed first.
    first_model: OnceLock<String>,
}

struct Guard {
    breaker: Breaker,
    /// Somebody waits to knock; never two.
    is_knocking: bool,
}

/// A place among the requests in flight, with the breaker's pass. What became of it is told when it is dropped.
pub(super) struct Trial {
    server: Arc<Server>,
    pass: Option<Pass>,
    outcome: Outcome,
}

impl Trial {
    pub fn answered(&mut self) {
        self.outcome = Outcome::Answered;
    }

    pub fn failed(&mut self, failure: &Failure) {
        self.outcome = failure.outcome();
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.server.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(pass) = self.pass.take() {
            Server::change(&self.server, |breaker, now| breaker.settle(now, pass, self.outcome));
        }
    }
}

impl Server {
    /// Greets the server in the background: the connection is open before the first call needs it.
    pub fn new(network: Arc<Network>, section: &'static str, settings: ServerSettings) -> Arc<Self> {
        let server = Self::silent(network, section, settings);
        let greeting = Arc::clone(&server);
        server.spawn(async move {
            if let Err(failure) = greeting.models().await {
                let error = greeting.error(&failure);
                tracing::warn!(engine = greeting.section, %error, "a remote engine does not answer yet");
            }
        });
        server
    }

    pub fn silent(network: Arc<Network>, section: &'static str, settings: ServerSettings) -> Arc<Self> {
        Arc::new(Self {
            guard: Mutex::new(Guard { breaker: Breaker::new(settings.breaker), is_knocking: false }),
            settings,
            section,
            network,
            in_flight: AtomicUsize::new(0),
            lists_none: AtomicBool::new(false),
            first_model: OnceLock::new(),
        })
    }

    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.network.io().spawn(work);
    }

    /// A place for one more request, of at most `most`; or why it can't be sent now.
    pub fn admit(self: &Arc<Self>, most: usize) -> Result<Trial, EngineError> {
        let waiting = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut trial = Trial { server: Arc::clone(self), pass: None, outcome: Outcome::Unknown };
        if waiting >= most {
            return Err(EngineError::Overloaded { engine: self.section, waiting });
        }
        match Self::change(self, |breaker, now| breaker.admit(now)) {
            Ok(pass) => trial.pass = Some(pass),
            Err(rest) => return Err(self.resting(rest)),
        }
        Ok(trial)
    }

    fn resting(&self, rest: Duration) -> EngineError {
        EngineError::Remote {
            server: self.settings.address.to_string(),
            reason: "it failed again and again and is left alone for now".into(),
            hint: format!("it is tried again in {} s; see the log for what failed", rest.as_secs_f64().ceil()),
        }
    }

    /// Why it isn't asked, while it isn't.
    pub fn trouble(&self) -> Option<String> {
        match self.lock().breaker.state() {
            BreakerState::Open { until, .. } => {
                let rest = until.saturating_duration_since(Instant::now().into_std());
                Some(self.resting(rest).to_string())
            }
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } => None,
        }
    }

    pub fn error(&self, failure: &Failure) -> EngineError {
        failure.told(&self.settings.address.to_string(), self.section)
    }

    /// Makes attempts until one succeeds or trying again can't help. `attempt` must not have passed anything on when it fails.
    pub async fn persist<T, F>(
        &self,
        deadline: Instant,
        awaited: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let began = Instant::now();
        for tries in 1.. {
            let ended = timeout_at(deadline, attempt()).await;
            let failure = match ended {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(Failure::Silent { awaited, after: began.elapsed() }),
            };
            let (now, deadline) = (Instant::now().into_std(), deadline.into_std());
            match failure.wait(tries, self.settings.retries, rand::random(), now, deadline) {
                Some(wait) => {
                    tracing::debug!(engine = self.section, error = %self.error(&failure), ?wait, "asking again");
                    sleep(wait).await;
                }
                None => return Err(failure),
            }
        }
        Err(Failure::Silent { awaited, after: began.elapsed() })
    }

    /// Posts a body; the answer, if it is 2xx.
    pub async fn post(
        &self,
        resource: &str,
        content_type: &HeaderValue,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        self.ask(Method::POST, resource, Some(content_type), body).await
    }

    async fn ask(
        &self,
        method: Method,
        resource: &str,
        content_type: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let uri = self.settings.address.of(resource).map_err(|error| Failure::Connection(error.to_string()))?;
        let mut request = Request::builder().method(method).uri(uri).header(ACCEPT, "*/*");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(authorization) = &self.settings.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|error| Failure::Connection(error.to_string()))?;
        let response = self.network.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(seconds);
        let body = read_all(response.into_body(), ERROR_MAX, "an error").await.unwrap_or_default();
        let message = self.presentable(&error_text(&String::from_utf8_lossy(&body)));
        Err(Failure::Status { code, message, retry_after })
    }

    /// A server's words as they may be shown: one short line without the key, which some repeat.
    pub fn presentable(&self, text: &str) -> String {
        let key = self.settings.authorization.as_ref().and_then(|value| value.to_str().ok());
        let key = key.and_then(|value| value.strip_prefix("Bearer ")).filter(|key| !key.is_empty());
        let text = key.map_or_else(|| text.to_owned(), |key| text.replace(key, "[redacted]"));
        let line: String = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .fold(String::new(), |mut line, word| {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                line
            });
        if line.chars().count() <= MESSAGE_MAX { line } else { line.chars().take(MESSAGE_MAX).chain(['…']).collect() }
    }

    /// The names of its models. Remembers the first that is for this engine's work, where the list tells what they are for.
    pub async fn models(&self) -> Result<Vec<String>, Failure> {
        let asked = async {
            let response = self.ask(Method::GET, "models", None, Bytes::new()).await?;
            read_all(response.into_body(), MODELS_MAX, "a list of models").await
        };
        let answered = timeout_at(Instant::now() + KNOCK_LIMIT, asked).await;
        let body = answered.unwrap_or(Err(Failure::Silent { awaited: "its list of models", after: KNOCK_LIMIT }))?;
        let list: Value =
            serde_json::from_slice(&body).map_err(|_| Failure::Nonsense("its list of models is not JSON".into()))?;
        let models = list["data"].as_array().or_else(|| list["models"].as_array());
        let models = models.ok_or_else(|| Failure::Nonsense("its list of models has no data".into()))?;
        let name = |model: &Value| model["id"].as_str().or_else(|| model["name"].as_str()).map(str::to_owned);
        let first = |wanted| models.iter().filter(|model| serves(model, self.section) == wanted).find_map(name);
        if let Some(first) = first(Some(true)).or_else(|| first(None)) {
            let _ = self.first_model.set(first);
        }
        Ok(models.iter().filter_map(name).collect())
    }

    /// What to ask for: the model of the settings, or the first that is listed; empty if it lists none.
    pub async fn model(&self) -> String {
        if !self.settings.model.is_empty() {
            return self.settings.model.clone();
        }
        if self.first_model.get().is_none() && !self.lists_none.load(Ordering::Relaxed) {
            let listed = self.models().await;
            let answers = matches!(listed, Ok(_) | Err(Failure::Status { .. } | Failure::Nonsense(_)));
            self.lists_none.store(answers && self.first_model.get().is_none(), Ordering::Relaxed);
        }
        self.known_model().to_owned()
    }

    /// The same, as far as it is known yet.
    pub fn known_model(&self) -> &str {
        match self.settings.model.as_str() {
            "" => self.first_model.get().map_or("", String::as_str),
            model => model,
        }
    }

    /// As `doctor` and the history show it.
    pub fn name(&self) -> String {
        let model = self.known_model();
        let model = if model.is_empty() { "its first model" } else { model };
        format!("{model} at {}", self.settings.address)
    }

    fn lock(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the breaker, and sees to what follows: a line in the log, and knocking while it is open.
    fn change<T>(server: &Arc<Self>, change: impl FnOnce(&mut Breaker, std::time::Instant) -> T) -> T {
        let mut guard = server.lock();
        let before = guard.breaker.state();
        let result = change(&mut guard.breaker, Instant::now().into_std());
        let after = guard.breaker.state();
        let is_open = matches!(after, BreakerState::Open { .. });
        let knocks = is_open && !guard.is_knocking;
        guard.is_knocking |= is_open;
        drop(guard);
        if knocks {
            let knocking = Arc::downgrade(server);
            server.spawn(Self::knock(knocking));
        }
        let (engine, address) = (server.section, &server.settings.address);
        match (before, after) {
            (BreakerState::Closed { .. }, BreakerState::Open { rest, .. }) => {
                tracing::warn!(engine, server = %address, ?rest, "a remote engine fails and is left alone");
            }
            (BreakerState::HalfOpen { .. }, BreakerState::Closed { .. }) => {
                tracing::info!(engine, server = %address, "a remote engine works again");
            }
            _ => {}
        }
        result
    }

    /// Knocks at the end of each rest until somebody opens, a request has found out, or nobody needs the server any more.
    async fn knock(server: Weak<Self>) {
        while let Some(at) = server.upgrade().and_then(|server| server.next_knock()) {
            sleep_until(at.into()).await;
            let Some(server) = server.upgrade() else { return };
            if server.lock().breaker.knock_at() != Some(at) {
                continue;
            }
            let answered = server.models().await;
            if let Err(failure) = &answered {
                let error = server.error(failure);
                tracing::debug!(engine = server.section, %error, "a remote engine is still down");
            }
            Self::change(&server, |breaker, now| breaker.knocked(now, answered.is_ok()));
        }
    }

    /// When to knock next; `None` ends the knocking.
    fn next_knock(&self) -> Option<std::time::Instant> {
        let mut guard = self.lock();
        let at = guard.breaker.knock_at();
        guard.is_knocking = at.is_some();
        at
    }
}

/// Whether a listed model is for the work of a section; `None` where the list does not tell. Avatar tells its `kind`, speaches its
/// `task`; others have but one kind.
fn serves(model: &Value, section: &str) -> Option<bool> {
    let told = model["kind"].as_str().or_else(|| model["task"].as_str())?;
    let names = match section {
        "remote.llm" => ["llm", "text-generation"],
        "remote.stt" => ["stt", "automatic-speech-recognition"],
        _ => ["tts", "text-to-speech"],
    };
    Some(names.contains(&told))
}

/// `Retry-After` in seconds; the form with a date is passed over.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads a body of at most `most` bytes.
pub(super) async fn read_all(mut body: Incoming, most: usize, what: &'static str) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(chunk) = next_chunk(&mut body).await? {
        if all.len() + chunk.len() > most {
            return Err(Failure::TooMuch(what));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next_chunk(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::Broken(innermost(&error))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.has_remaining() => return Ok(Some(data)),
                Ok(_) | Err(_) => {}
            },
        }
    }
}
