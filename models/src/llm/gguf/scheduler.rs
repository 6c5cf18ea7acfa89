//! Who is served next: the one thread that owns network and caches, and what it does in a step.
//!
//! A step reads, for every running sequence at once, either its newest token or a share of its unread prompt, so a long prompt
//! delays nobody for longer than a step. Between steps, sequences whose caller has gone are dropped, finished ones make room, and
//! waiting ones start. A sequence whose consumer is slow stands still; the others go on. A panic or an error inside the network
//! ends only the sequence that caused it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::ENGINE;
use super::cache::{CacheShape, KvCache};
use super::network::{Network, Segment};
use super::sampler::Sampler;
use super::store::CacheStore;
use super::template::ChatTemplate;
use super::tokens::{Spelling, Tokens};
use super::window::{Unfit, fit};
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::llm::{GenerateRequest, Message, Piece, StopReason, TokenUsage};

/// Requests that may wait to be started. When full, new ones are refused.
pub(super) const WAITING_BOUND: usize = 32;
/// Sequences that run at once; the next wait.
pub(super) const RUNNING_BOUND: usize = 8;
/// Prompt tokens read in a step, shared by all that have some to read.
pub(super) const PROMPT_SHARE: usize = 64;
/// How often to look again at consumers that were slow.
const SLOW_CONSUMER_POLL: Duration = Duration::from_millis(5);

/// A request on its way to the thread.
pub(super) struct Job {
    pub request: GenerateRequest,
    pub pieces: Sender<Result<Piece, EngineError>>,
    pub cancelled: Cancelled,
}

/// What calls leave for the thread.
#[derive(Default)]
pub(super) struct Inbox {
    post: Mutex<Post>,
    news: Condvar,
}

#[derive(Default)]
struct Post {
    /// At most [`WAITING_BOUND`].
    jobs: VecDeque<Job>,
    /// Emptied at every step.
    forgotten: Vec<String>,
    closed: bool,
}

impl Inbox {
    pub fn submit(&self, job: Job) -> Result<(), EngineError> {
        let mut post = self.lock();
        if post.closed {
            return Err(EngineError::Stopped { engine: ENGINE });
        }
        post.jobs.retain(|waiting| !waiting.cancelled.is_set());
        if post.jobs.len() >= WAITING_BOUND {
            return Err(EngineError::Overloaded { engine: ENGINE, waiting: post.jobs.len() });
        }
        post.jobs.push_back(job);
        self.news.notify_one();
        Ok(())
    }

    pub fn forget(&self, conversation: &str) {
        let mut post = self.lock();
        if !post.closed && !post.forgotten.iter().any(|name| name == conversation) {
            post.forgotten.push(conversation.into());
            self.news.notify_one();
        }
    }

    /// The thread ends at its next step; what waits is dropped.
    pub fn close(&self) {
        let mut post = self.lock();
        post.closed = true;
        post.jobs.clear();
        self.news.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the scheduler needs of a network; [`Network`], or a test's.
pub(super) trait Reader {
    fn cache_shape(&self) -> CacheShape;
    /// See [`Network::forward`].
    fn read(&self, segments: &mut [Segment<'_>]) -> candle_core::Result<Vec<Option<Vec<f32>>>>;
}

impl Reader for Network {
    fn cache_shape(&self) -> CacheShape {
        Network::cache_shape(self)
    }

    fn read(&self, segments: &mut [Segment<'_>]) -> candle_core::Result<Vec<Option<Vec<f32>>>> {
        self.forward(segments)
    }
}

/// A reply in the making.
struct Sequence {
    conversation: String,
    /// `None` once it has gone back to the store.
    cache: Option<KvCache>,
    /// Prompt and what was generated; the cache holds a beginning of it.
    tokens: Vec<u32>,
    usage: TokenUsage,
    /// Tokens that may be generated.
    limit: usize,
    sampler: Sampler,
    spelling: Spelling,
    pieces: Sender<Result<Piece, EngineError>>,
    /// What the consumer had no room for: at most a text and the end.
    unsent: VecDeque<Result<Piece, EngineError>>,
    cancelled: Cancelled,
    /// Its conversation was forgotten meanwhile.
    forgotten: bool,
}

impl Sequence {
    fn is_running(&self) -> bool {
        self.cache.is_some() && self.unsent.is_empty()
    }

    fn unread(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| self.tokens.len() - cache.len().min(self.tokens.len()))
    }

    /// Sends what the consumer has room for. `false`: the consumer has gone.
    fn flush(&mut self) -> bool {
        while let Some(piece) = self.unsent.pop_front() {
            match self.pieces.try_send(piece) {
                Ok(()) => {}
                Err(TrySendError::Full(piece)) => {
                    self.unsent.push_front(piece);
                    break;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        true
    }
}

pub(super) struct Scheduler<R> {
    reader: R,
    tokens: Tokens,
    template: ChatTemplate,
    /// Tokens that prompt and reply may take together.
    context: usize,
    store: CacheStore,
    running: Vec<Sequence>,
}

impl<R: Reader> Scheduler<R> {
    pub fn new(reader: R, tokens: Tokens, template: ChatTemplate, context: usize, cache_budget: usize) -> Self {
        let store = CacheStore::new(reader.cache_shape(), cache_budget);
        Self { reader, tokens, template, context, store, running: Vec::new() }
    }

    /// Runs every kernel once, so that the first caller does not pay for it, and keeps what conversations that begin with
    /// `beginning` have in common.
    pub fn warm_up(&mut self, beginning: &[Message]) -> Result<(), EngineError> {
        let question = Message { speaker: crate::llm::Speaker::User, text: "a".into() };
        let shown: Vec<&Message> = beginning.iter().chain([&question]).collect();
        let prompt = self.encode(&shown).map_err(failed)?;
        let mut cache = KvCache::new(self.reader.cache_shape());
        for part in prompt.chunks(PROMPT_SHARE).chain(prompt.last_chunk::<1>().map(<[u32; 1]>::as_slice)) {
            let segment = Segment { cache: &mut cache, tokens: part, wants_logits: true };
            guarded(|| self.reader.read(&mut [segment]).map_err(|error| failed(error.to_string())))?;
        }
        cache.truncate(prompt.len());
        self.store.set_common(cache);
        Ok(())
    }

    /// Serves until the inbox is closed.
    pub fn run(mut self, inbox: &Arc<Inbox>) {
        /// Whatever ends the thread, nobody may wait for it.
        struct CloseOnDrop<'a>(&'a Inbox);
        impl Drop for CloseOnDrop<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let _closing = CloseOnDrop(inbox);
        while self.take_post(inbox) {
            self.step();
        }
    }

    /// Takes what came in, waiting for it while there is nothing else to do. `false`: the inbox is closed.
    pub fn take_post(&mut self, inbox: &Inbox) -> bool {
        let mut started = Vec::new();
        {
            let mut post = inbox.lock();
            loop {
                post.jobs.retain(|job| !job.cancelled.is_set());
                self.drop_cancelled();
                if post.closed {
                    return false;
                }
                for conversation in post.forgotten.drain(..) {
                    self.store.forget(&conversation);
                    for sequence in self.running.iter_mut().filter(|sequence| sequence.conversation == conversation) {
                        sequence.forgotten = true;
                    }
                }
                while self.running.len() + started.len() < RUNNING_BOUND {
                    let next = post.jobs.iter().position(|job| self.is_free(&job.request.conversation, &started));
                    let Some(job) = next.and_then(|index| post.jobs.remove(index)) else { break };
                    started.push(job);
                }
                if !started.is_empty() || self.running.iter().any(Sequence::is_running) {
                    break;
                }
                if self.running.is_empty() {
                    post = inbox.news.wait(post).unwrap_or_else(PoisonError::into_inner);
                } else {
                    let waited = inbox.news.wait_timeout(post, SLOW_CONSUMER_POLL);
                    post = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        for job in started {
            self.start(job);
        }
        true
    }

    /// Requests of one conversation follow one another.
    fn is_free(&self, conversation: &str, started: &[Job]) -> bool {
        let is_answering =
            self.running.iter().any(|sequence| sequence.cache.is_some() && sequence.conversation == conversation);
        !is_answering && started.iter().all(|job| job.request.conversation != conversation)
    }

    /// Sends what waits for slow consumers, and lets go of sequences that are over or that nobody listens to.
    fn drop_cancelled(&mut self) {
        for index in (0..self.running.len()).rev() {
            let Some(sequence) = self.running.get_mut(index) else { continue };
            let is_heard = !sequence.cancelled.is_set() && sequence.flush();
            if is_heard && (sequence.cache.is_some() || !sequence.unsent.is_empty()) {
                continue;
            }
            let mut gone = self.running.remove(index);
            self.give_back(&mut gone);
        }
    }

    fn give_back(&mut self, sequence: &mut Sequence) {
        if let Some(cache) = sequence.cache.take().filter(|_| !sequence.forgotten) {
            self.store.put(sequence.conversation.clone(), cache);
        }
    }

    fn encode(&self, shown: &[&Message]) -> Result<Vec<u32>, String> {
        let defused: Vec<Message> = shown
            .iter()
            .map(|message| Message { speaker: message.speaker, text: self.tokens.defused(&message.text) })
            .collect();
        self.tokens.encode(&self.template.render(&defused)?)
    }

    fn start(&mut self, job: Job) {
        let Job { request, pieces, cancelled } = job;
        match guarded(|| self.prepare(&request)) {
            Ok((tokens, cache, limit)) => self.running.push(Sequence {
                conversation: request.conversation,
                usage: TokenUsage {
                    prompt_tokens: tokens.len() as u32,
                    cached_tokens: cache.len() as u32,
                    generated_tokens: 0,
                },
                cache: Some(cache),
                tokens,
                limit,
                sampler: Sampler::new(&request.sampling),
                spelling: Spelling::default(),
                pieces,
                unsent: VecDeque::new(),
                cancelled,
                forgotten: false,
            }),
            // The channel is empty: there is room; and if nobody listens, nobody minds.
            Err(error) => drop(pieces.try_send(Err(error))),
        }
    }

    /// The prompt, the cache that holds its beginning, and how many tokens may be generated.
    fn prepare(&mut self, request: &GenerateRequest) -> Result<(Vec<u32>, KvCache, usize), EngineError> {
        let wanted = request.sampling.max_tokens;
        let room = self.context - wanted.min(self.context / 4);
        let shown = fit(&request.messages, room, |shown| self.encode(shown)).map_err(|unfit| match unfit {
            Unfit::TooLong(length) => EngineError::BadRequest(format!(
                "the message is too long: {} tokens where the model has room for {room}; shorten it",
                length.map_or_else(|| "far more".into(), |length| length.to_string())
            )),
            Unfit::Flaw(flaw) => EngineError::BadRequest(flaw),
        })?;
        if shown.prompt.is_empty() {
            return Err(EngineError::BadRequest("the chat template made an empty prompt of the conversation".into()));
        }
        if shown.dropped > 0 {
            tracing::debug!(
                dropped = shown.dropped,
                "the conversation has outgrown the context; its oldest turns are left out"
            );
        }
        let cache = self.store.take(&request.conversation, &shown.prompt).map_err(|error| failed(error.to_string()))?;
        let limit = wanted.min(self.context - shown.prompt.len()).max(1);
        Ok((shown.prompt, cache, limit))
    }

    /// One pass through the network for all that run, and what follows from it.
    pub fn step(&mut self) {
        let unread: Vec<usize> =
            self.running.iter().map(|sequence| if sequence.is_running() { sequence.unread() } else { 0 }).collect();
        let shares = shares(&unread, PROMPT_SHARE);
        let read = self.read_all(&shares);
        for (sequence, outcome) in self.running.iter_mut().zip(read) {
            let step = match outcome {
                Ok(Some(logits)) => guarded(|| Ok(advance(sequence, logits, &self.tokens))),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match step {
                Ok(None) => {}
                Ok(Some(end)) => {
                    sequence.unsent.push_back(Ok(end));
                    if let Some(cache) = sequence.cache.take().filter(|_| !sequence.forgotten) {
                        self.store.put(sequence.conversation.clone(), cache);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a reply failed");
                    sequence.unsent.push_back(Err(error));
                    sequence.cache = None;
                }
            }
            // If the consumer has gone, the next step finds out.
            sequence.flush();
        }
    }

    /// Reads each sequence's share. If reading all together fails, each is read alone, so that only the culprit fails.
    fn read_all(&mut self, shares: &[usize]) -> Vec<Result<Option<Vec<f32>>, EngineError>> {
        let mut outcomes: Vec<Result<Option<Vec<f32>>, EngineError>> = shares.iter().map(|_| Ok(None)).collect();
        let reader = &self.reader;
        let mut indices = Vec::new();
        let mut segments = Vec::new();
        for (index, (sequence, &share)) in self.running.iter_mut().zip(shares).enumerate() {
            let Some(cache) = sequence.cache.as_mut().filter(|_| share > 0) else { continue };
            let held = cache.len();
            let Some(tokens) = sequence.tokens.get(held..held + share) else { continue };
            let wants_logits = held + share == sequence.tokens.len();
            indices.push(index);
            segments.push(Segment { cache, tokens, wants_logits });
        }
        let read =
            |segments: &mut [Segment<'_>]| guarded(|| reader.read(segments).map_err(|error| failed(error.to_string())));
        let together = read(&mut segments);
        let results: Vec<Result<Option<Vec<f32>>, EngineError>> = match together {
            Ok(logits) => logits.into_iter().map(Ok).collect(),
            Err(error) if segments.len() == 1 => vec![Err(error)],
            Err(_) => segments
                .iter_mut()
                .map(|segment| {
                    let alone =
                        Segment { cache: segment.cache, tokens: segment.tokens, wants_logits: segment.wants_logits };
                    read(&mut [alone]).map(|mut logits| logits.pop().flatten())
                })
                .collect(),
        };
        for (index, result) in indices.into_iter().zip(results) {
            if let Some(outcome) = outcomes.get_mut(index) {
                *outcome = result;
            }
        }
        outcomes
    }
}

/// Chooses the sequence's next token and queues its text; gives the end, if this was it.
fn advance(sequence: &mut Sequence, mut logits: Vec<f32>, tokens: &Tokens) -> Option<Piece> {
    let chosen = sequence.sampler.choose(&mut logits, &sequence.tokens, |token| tokens.is_control(token));
    // Without a number among the logits there is nothing to say.
    let token = chosen.filter(|&token| !tokens.ends_turn(token));
    let mut reason = StopReason::EndOfTurn;
    let is_over = match token {
        None => true,
        Some(token) => {
            sequence.tokens.push(token);
            sequence.usage.generated_tokens += 1;
            let text = sequence.spelling.push(tokens, token);
            if !text.is_empty() {
                sequence.unsent.push_back(Ok(Piece::Text(text)));
            }
            reason = StopReason::Length;
            sequence.usage.generated_tokens as usize >= sequence.limit
        }
    };
    is_over.then_some(Piece::Done { reason, usage: sequence.usage })
}

/// How many tokens each sequence reads in a step: those with one unread token read it, the others share `budget` evenly.
fn shares(unread: &[usize], budget: usize) -> Vec<usize> {
    let mut readers = unread.iter().filter(|&&unread| unread > 1).count();
    let mut left = budget;
    unread
        .iter()
        .map(|&unread| {
            if unread <= 1 {
                return unread;
            }
            let share = (left / readers.max(1)).clamp(1, unread);
            readers = readers.saturating_sub(1);
            left = left.saturating_sub(share);
            share
        })
        .collect()
}

/// Runs `work`; a panic in it becomes an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        Err(failed(words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())))
    })
}

fn failed(reason: String) -> EngineError {
    EngineError::Failed { engine: ENGINE, reason }
}
