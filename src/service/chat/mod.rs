//! `POST /v1/chat/completions`: a reply, whole or as it is written.

pub mod caches;
mod reply;
mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use models::error::EngineError;
use models::llm::{GenerateRequest, Generation, Piece, StopReason, TokenUsage};
use signaling::http::error::ApiError;
use tokio::time::Instant;

use self::reply::Reply;
use self::request::Asked;
use super::pipe::{Gone, Inlet, pipe};
use super::share::Turn;
use super::{LONGEST_ANSWER, Service, failure, json};
use crate::call::allowance::{Bill, Good};

/// Replies that are written at once; one while calls run. The engine itself takes eight.
pub const AT_ONCE: u32 = 4;
/// Requests that wait; the next is refused with 429. Each holds its conversation, at most 4 MiB.
pub const WAITING: usize = 16;
/// What a prompt is reckoned at while the model has not said how many tokens it has: English has some four characters a token.
const CHARACTERS_A_TOKEN: u64 = 4;
/// While nothing is to be said, a client's proxy is kept from thinking that nobody is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub async fn complete(State(service): State<Arc<Service>>, request: Request) -> Result<Response, ApiError> {
    let grant = service.admit(request.headers())?;
    let mut bill = service.bill(grant.as_ref(), Good::Tokens)?;
    let llm = service.llm()?;
    let place = service.generations.place()?;
    let asked = Asked::read(&json(request.into_body()).await?, &service.session)?;
    let model = service.model("llm", asked.model.as_deref())?;
    let turn = service.generations.turn(place, service.is_calling()).await?;
    let Asked { messages, sampling, cache_key, stream, include_usage, .. } = asked;
    let prompt = messages.iter().map(|message| message.text.chars().count() as u64).sum::<u64>() / CHARACTERS_A_TOKEN;
    let conversation = service.caches.name(cache_key.as_deref(), llm.as_ref());
    let generation = llm
        .generate_when_idle(GenerateRequest { conversation, messages, sampling })
        .map_err(|e| failure::engine(&e, "messages"))?;
    // Until it is known: whoever hangs up before the end does not read for nothing.
    bill.usage.tokens = prompt;
    let mut writing = Writing { generation, deadline: Instant::now() + LONGEST_ANSWER, bill, turn };
    let reply = Reply::new(model, include_usage);
    if !stream {
        let mut text = String::new();
        loop {
            match writing.next().await? {
                Wrote::Text(more) => text.push_str(&more),
                Wrote::Done { reason, usage } => return Ok(Json(reply.whole(&text, reason, usage)).into_response()),
            }
        }
    }
    // A prompt that cannot be answered is told by the status, not in the stream.
    let first = writing.next().await?;
    let events = pipe(|inlet| stream_out(inlet, reply, writing, first)).map(Ok::<_, std::convert::Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

async fn stream_out(inlet: Inlet<Event>, reply: Reply, mut writing: Writing, first: Wrote) -> Result<(), Gone> {
    inlet.send(event(&reply.opening())).await?;
    let mut wrote = Ok(first);
    loop {
        match wrote {
            Ok(Wrote::Text(text)) => inlet.send(event(&reply.more(&text))).await?,
            Ok(Wrote::Done { reason, usage }) => {
                inlet.send(event(&reply.end(reason))).await?;
                if let Some(usage) = reply.usage(usage) {
                    inlet.send(event(&usage)).await?;
                }
                break;
            }
            Err(error) => {
                inlet.send(event(&failure::event(&error))).await?;
                break;
            }
        }
        wrote = writing.next().await;
    }
    inlet.send(Event::default().data("[DONE]")).await
}

fn event(value: &serde_json::Value) -> Event {
    Event::default().data(value.to_string())
}

/// A reply being written; dropping it cancels, and lets the next have its turn.
struct Writing {
    generation: Generation,
    deadline: Instant,
    bill: Bill,
    #[expect(dead_code, reason = "held for its drop")]
    turn: Turn,
}

enum Wrote {
    Text(String),
    Done { reason: StopReason, usage: TokenUsage },
}

impl Writing {
    async fn next(&mut self) -> Result<Wrote, ApiError> {
        let piece = tokio::time::timeout_at(self.deadline, self.generation.next()).await;
        let piece = piece.map_err(|_| failure::too_slow(LONGEST_ANSWER))?;
        match piece.unwrap_or(Err(EngineError::Stopped { engine: "the language model" })) {
            Ok(Piece::Text(text)) => {
                self.bill.usage.tokens += 1;
                Ok(Wrote::Text(text))
            }
            // Half a reply is none to a program: it may ask again.
            Ok(Piece::Done { reason: StopReason::BrokenOff, .. }) => {
                let error = EngineError::Failed { engine: "the language model", reason: "it broke off".to_owned() };
                Err(self.failed(&error))
            }
            Ok(Piece::Done { reason, usage }) => {
                self.bill.usage.tokens = u64::from(usage.prompt_tokens) + u64::from(usage.generated_tokens);
                Ok(Wrote::Done { reason, usage })
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What the server could not do costs nothing.
    fn failed(&mut self, error: &EngineError) -> ApiError {
        self.bill.usage.tokens = 0;
        failure::engine(error, "messages")
    }
}
