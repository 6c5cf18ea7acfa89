//! A language model behind `/chat/completions`, streamed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout, timeout_at};

use super::completion::{self, Dialect, Said};
use super::failure::Failure;
use super::network::Network;
use super::server::{Server, ServerSettings, Trial, next_chunk, read_all};
use super::sse::EventReader;
use super::{IN_FLIGHT_MAX, Standing, deadline};
use crate::error::EngineError;
use crate::llm::{GenerateRequest, Generation, LanguageModel, Piece, StopReason, TokenUsage};

const SECTION: &str = "remote.llm";
/// An answer that comes whole: far more than a reply.
const WHOLE_MAX: usize = 1024 * 1024;
/// How long the usage is waited for once the text is at its end: the last sentence waits with it.
const USAGE_WAIT: std::time::Duration = std::time::Duration::from_millis(100);
/// How long a finished answer's end is waited for, so that its connection can be used again.
const END_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
/// How often a request is changed to a server's liking.
const DIALECTS_MAX: usize = 4;

/// How replies are asked for.
#[derive(Debug, Clone)]
pub struct RemoteLlmSettings {
    pub server: ServerSettings,
    /// Goes into every request as it is.
    pub extra: Map<String, Value>,
}

/// See the module. A conversation's cache is the server's affair.
pub struct RemoteLlm {
    server: Arc<Server>,
    dialect: Arc<Mutex<Dialect>>,
}

impl RemoteLlm {
    pub fn new(network: Arc<Network>, settings: RemoteLlmSettings) -> Self {
        let dialect = Arc::new(Mutex::new(Dialect::new(settings.extra)));
        Self { server: Server::new(network, SECTION, settings.server), dialect }
    }

    pub fn standing(&self) -> Standing {
        Standing::of(&self.server)
    }
}

impl LanguageModel for RemoteLlm {
    fn name(&self) -> String {
        self.server.name()
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let mut trial = self.server.admit(IN_FLIGHT_MAX)?;
        let (generation, pieces, _) = Generation::new();
        let (server, dialect) = (Arc::clone(&self.server), Arc::clone(&self.dialect));
        self.server.spawn(async move {
            let work = reply(&server, &dialect, &request, &pieces, &mut trial);
            // Whoever goes away takes the request with it: dropping it closes its connection.
            let ended = tokio::select! {
                biased;
                () = pieces.closed() => return,
                ended = work => ended,
            };
            match ended {
                Ok(answer) => {
                    drop(trial);
                    let _ = timeout(END_WAIT, answer.drain()).await;
                }
                Err(failure) => {
                    trial.failed(&failure);
                    drop(trial);
                    let _ = pieces.send(Err(server.error(&failure))).await;
                }
            }
        });
        Ok(generation)
    }

    fn forget(&self, _conversation: &str) {}
}

/// Passes on one reply from its first piece to `Done`.
async fn reply(
    server: &Arc<Server>,
    dialect: &Mutex<Dialect>,
    request: &GenerateRequest,
    pieces: &Sender<Result<Piece, EngineError>>,
    trial: &mut Trial,
) -> Result<Answer, Failure> {
    let settings = &server.settings;
    let end = deadline(settings.total);
    let first = deadline(settings.first).min(end);
    let mut answer = server.persist(first, "the first word", || open(server, dialect, request)).await?;
    // From here on a caller who goes away has had an answer.
    trial.answered();
    let mut counted = 0;
    let (mut usage, mut finished) = (None, None);
    let reason = loop {
        let pause = deadline(if finished.is_some() { USAGE_WAIT } else { settings.pause }).min(end);
        let said = match (timeout_at(pause, answer.next(server)).await, finished) {
            (Ok(Ok(Some(said))), _) => said,
            // What comes after the last word is only for the books.
            (_, Some(reason)) => break reason,
            (Ok(Ok(None)), None) if answer.is_done => break StopReason::EndOfTurn,
            (Ok(Ok(None)), None) => return Err(Failure::Broken("its answer ended in the middle".into())),
            (Ok(Err(failure)), None) => return Err(failure),
            (Err(_), None) => return Err(Failure::Silent { awaited: "the next word", after: settings.pause }),
        };
        usage = said.usage.or(usage);
        if !said.text.is_empty() {
            counted += 1;
            if pieces.send(Ok(Piece::Text(said.text))).await.is_err() {
                return Ok(answer);
            }
            if counted == 1 {
                // More may have come with it: whoever waits for the first word goes before them.
                tokio::task::yield_now().await;
            }
        }
        finished = finished.or(said.finished);
        if finished.is_some_and(|_| usage.is_some()) || answer.is_done {
            break finished.unwrap_or(StopReason::EndOfTurn);
        }
    };
    let usage = usage.unwrap_or(TokenUsage { generated_tokens: counted, ..TokenUsage::default() });
    // If the consumer has gone, nobody minds.
    let _ = pieces.send(Ok(Piece::Done { reason, usage })).await;
    Ok(answer)
}

/// Asks, and waits for the first words: until then nothing has been passed on.
async fn open(server: &Arc<Server>, dialect: &Mutex<Dialect>, request: &GenerateRequest) -> Result<Answer, Failure> {
    let model = server.model().await;
    let mut changes = 0;
    let response = loop {
        let body = lock(dialect).body(request, &model);
        let json = HeaderValue::from_static("application/json");
        match server.post("chat/completions", &json, body.into()).await {
            Err(Failure::Status { code: 400 | 422, message, .. })
                if changes < DIALECTS_MAX && lock(dialect).spare(&message) =>
            {
                changes += 1;
                tracing::info!(engine = SECTION, message, "the server refuses a parameter; going on without it");
            }
            other => break other?,
        }
    };
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/html") {
        return Err(Failure::Nonsense("it answered with a page".into()));
    }
    let is_whole = kind.starts_with("application/json");
    let mut answer = Answer::of(response.into_body());
    if is_whole {
        let Some(body) = answer.body.take() else { return Ok(answer) };
        let whole = read_all(body, WHOLE_MAX, "a reply").await?;
        answer.waiting.push_back(String::from_utf8_lossy(&whole).into_owned());
        answer.is_done = true;
    }
    // The first object with words, or with the end of a reply of none.
    let mut before = Vec::new();
    while let Some(said) = answer.next(server).await? {
        let is_begun = !said.text.is_empty() || said.finished.is_some();
        before.push(said);
        if is_begun {
            break;
        }
    }
    if !before.last().is_some_and(|said| !said.text.is_empty() || said.finished.is_some()) && !answer.is_done {
        return Err(Failure::Broken("its answer ended before its first word".into()));
    }
    let joined = before.into_iter().fold(Said::default(), |sum, said| Said {
        text: sum.text + &said.text,
        finished: sum.finished.or(said.finished),
        usage: said.usage.or(sum.usage),
        error: None,
    });
    answer.first = Some(joined);
    Ok(answer)
}

fn lock(dialect: &Mutex<Dialect>) -> std::sync::MutexGuard<'_, Dialect> {
    dialect.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer being read.
struct Answer {
    /// `None` once it has been read to its end.
    body: Option<Incoming>,
    events: EventReader,
    /// Read, not yet looked at: the objects of one packet.
    waiting: VecDeque<String>,
    first: Option<Said>,
    /// `[DONE]` was said, or the answer came whole.
    is_done: bool,
    began: Instant,
}

impl Answer {
    fn of(body: Incoming) -> Self {
        let (events, waiting) = (EventReader::default(), VecDeque::new());
        Self { body: Some(body), events, waiting, first: None, is_done: false, began: Instant::now() }
    }

    /// What the next object says; `None` at the end of the answer. Loses nothing when dropped.
    async fn next(&mut self, server: &Server) -> Result<Option<Said>, Failure> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            if let Some(data) = self.waiting.pop_front() {
                if data == "[DONE]" {
                    self.is_done = true;
                    continue;
                }
                let said = completion::read(&data)
                    .ok_or_else(|| Failure::Nonsense("its answer is not one to a chat completion".into()))?;
                if let Some(error) = said.error {
                    return Err(Failure::Told(server.presentable(&error)));
                }
                return Ok(Some(said));
            }
            if self.is_done {
                return Ok(None);
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            let mut events = Vec::new();
            match next_chunk(body).await? {
                Some(chunk) => self.events.push(&chunk, &mut events).map_err(|_| Failure::TooMuch("one line"))?,
                None => {
                    self.body = None;
                    events.extend(self.events.finish());
                }
            }
            self.waiting.extend(events);
        }
    }

    /// Reads what may be left, so that the connection can be used again.
    async fn drain(mut self) {
        while let Some(body) = &mut self.body {
            if !matches!(next_chunk(body).await, Ok(Some(_))) {
                self.body = None;
            }
        }
        tracing::trace!(engine = SECTION, took = ?self.began.elapsed(), "an answer is at its end");
    }
}
