//! Who is served next: the one thread that owns network and caches, and what it does in a step.
//!
//! A step reads, for every running sequence at once, either its newest token or a share of its unread prompt, so a long prompt
//! delays nobody for longer than a step. Between steps, sequences whose caller has gone are dropped, finished ones make room, and
//! waiting ones start, in order, as far as their caches fit into the budget. A sequence whose consumer is slow stands still; the others go on. A panic or an error inside the network
//! ends only the sequence that caused it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ENGINE;
use super::cache::{CacheShape, KvCache};
use super::inbox::{Inbox, Job};
use super::network::{Network, Segment};
use super::outlet::Outlet;
use super::pace::{FIRST_SHARE, Pace};
use super::sampler::Sampler;
use super::sequence::{Sequence, not_a_number};
use super::store::CacheStore;
use super::template::ChatTemplate;
use super::tokens::Tokens;
use super::window::{Unfit, fit};
use crate::error::EngineError;
use crate::llm::{GenerateRequest, Message, Speaker, TokenUsage};

/// Sequences that run at once; the next wait.
pub(super) const RUNNING_BOUND: usize = 8;
/// How often to look again at consumers that were slow.
const SLOW_CONSUMER_POLL: Duration = Duration::from_millis(5);

/// What the scheduler needs of a network and of the time it takes; [`Network`], or a test's.
pub(super) trait Reader {
    fn cache_shape(&self) -> CacheShape;
    /// See [`Network::forward`].
    fn read(&self, segments: &mut [Segment<'_>]) -> candle_core::Result<Vec<Option<Vec<f32>>>>;
    fn now(&self) -> Instant {
        Instant::now()
    }
}

impl Reader for Network {
    fn cache_shape(&self) -> CacheShape {
        Network::cache_shape(self)
    }

    fn read(&self, segments: &mut [Segment<'_>]) -> candle_core::Result<Vec<Option<Vec<f32>>>> {
        self.forward(segments)
    }
}

pub(super) struct Scheduler<R> {
    reader: R,
    tokens: Tokens,
    template: ChatTemplate,
    /// Tokens that prompt and reply may take together.
    context: usize,
    /// Bytes that all caches may take together. One conversation is always let in.
    cache_budget: usize,
    store: CacheStore,
    running: Vec<Sequence>,
    /// Ready to run, but their caches might outgrow the budget beside the others'. At most [`RUNNING_BOUND`]: nothing is
    /// started while somebody is held up.
    held_up: VecDeque<Sequence>,
    pace: Pace,
}

impl<R: Reader> Scheduler<R> {
    pub fn new(reader: R, tokens: Tokens, template: ChatTemplate, context: usize, cache_budget: usize) -> Self {
        let store = CacheStore::new(reader.cache_shape(), cache_budget);
        let (running, held_up, pace) = (Vec::new(), VecDeque::new(), Pace::default());
        Self { reader, tokens, template, context, cache_budget, store, running, held_up, pace }
    }

    /// Runs every kernel once, so that the first caller does not pay for it, and keeps what conversations that begin with
    /// `beginning` have in common.
    pub fn warm_up(&mut self, beginning: &[Message]) -> Result<(), EngineError> {
        let question = Message { speaker: Speaker::User, text: "a".into() };
        let shown: Vec<&Message> = beginning.iter().chain([&question]).collect();
        let mut prompt = self.encode(&shown, false).map_err(failed)?;
        prompt.truncate(self.context);
        let mut cache = KvCache::new(self.reader.cache_shape());
        for part in prompt.chunks(FIRST_SHARE).chain(prompt.last_chunk::<1>().map(<[u32; 1]>::as_slice)) {
            let segment = Segment { cache: &mut cache, tokens: part, wants_logits: true };
            let read = guarded(|| self.reader.read(&mut [segment]).map_err(|error| failed(error.to_string())))?;
            if read.iter().flatten().flatten().any(|logit| !logit.is_finite()) {
                return Err(not_a_number());
            }
        }
        cache.truncate(prompt.len());
        self.store.set_common(cache);
        Ok(())
    }

    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.held_up.is_empty() && !self.running.iter().any(Sequence::is_running)
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
                    let all = self.running.iter_mut().chain(&mut self.held_up);
                    all.filter(|sequence| sequence.conversation == conversation).for_each(|one| one.forgotten = true);
                }
                while self.held_up.is_empty() && self.running.len() + started.len() < RUNNING_BOUND {
                    let next = post.jobs.iter().position(|job| self.is_free(&job.request.conversation, &started));
                    let Some(job) = next.and_then(|index| post.jobs.remove(index)) else { break };
                    started.push(job);
                }
                post.held_up = self.held_up.len();
                post.begun = self.running.len() + self.held_up.len() + started.len();
                if !started.is_empty() || self.has_room() || self.running.iter().any(Sequence::is_running) {
                    break;
                }
                post = inbox.wait(post, (!self.running.is_empty()).then_some(SLOW_CONSUMER_POLL));
            }
        }
        for job in started {
            self.start(job);
        }
        self.admit();
        true
    }

    /// Whether the first of those held up may run: its cache fits beside the others', whatever becomes of them, or it is alone.
    fn has_room(&self) -> bool {
        let per_token = self.reader.cache_shape().bytes_per_token();
        let busy = self.running.iter().filter(|sequence| sequence.cache.is_some());
        let taken: usize = busy.map(|sequence| per_token * sequence.most_tokens()).sum();
        let wanted = self.held_up.front().map(|sequence| per_token * sequence.most_tokens());
        wanted.is_some_and(|wanted| taken == 0 || taken + wanted <= self.cache_budget)
    }

    /// Lets those in for whom there is room.
    fn admit(&mut self) {
        while self.has_room() {
            let Some(mut sequence) = self.held_up.pop_front() else { break };
            let taken = guarded(|| {
                let taken = self.store.take(&sequence.conversation, &sequence.tokens);
                taken.map_err(|error| failed(error.to_string()))
            });
            match taken {
                Ok(cache) => {
                    sequence.usage.cached_tokens = cache.len() as u32;
                    sequence.cache = Some(cache);
                    self.running.push(sequence);
                }
                // The channel is empty: there is room; and if nobody listens, nobody minds.
                Err(error) => drop(sequence.pieces.try_send(Err(error))),
            }
        }
    }

    /// Requests of one conversation follow one another.
    fn is_free(&self, conversation: &str, started: &[Job]) -> bool {
        let answering = self.running.iter().filter(|sequence| sequence.cache.is_some());
        let is_answering = answering.chain(&self.held_up).any(|sequence| sequence.conversation == conversation);
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
            let gone = self.running.remove(index);
            self.give_back(gone);
        }
        self.held_up.retain(|sequence| !sequence.cancelled.is_set());
    }

    fn give_back(&mut self, sequence: Sequence) {
        if let Some(cache) = sequence.cache.filter(|_| !sequence.forgotten) {
            self.store.put(sequence.conversation, cache);
        }
    }

    fn encode(&self, shown: &[&Message], thinking: bool) -> Result<Vec<u32>, String> {
        let defused: Vec<Message> = shown
            .iter()
            .map(|message| Message { speaker: message.speaker, text: self.tokens.defused(&message.text) })
            .collect();
        self.tokens.encode(&self.template.render(&defused, thinking)?)
    }

    fn start(&mut self, job: Job) {
        let Job { request, pieces, cancelled, yields } = job;
        match guarded(|| self.prepare(&request)) {
            Ok(Prepared { prompt, limit, dropped }) => self.held_up.push_back(Sequence {
                conversation: request.conversation,
                usage: TokenUsage {
                    prompt_tokens: prompt.len() as u32,
                    cached_tokens: 0,
                    generated_tokens: 0,
                    dropped_messages: dropped as u32,
                },
                cache: None,
                tokens: prompt,
                limit,
                sampler: Sampler::new(&request.sampling),
                spelling: self.tokens.spelling(),
                outlet: Outlet::new(&request.sampling),
                pieces,
                unsent: VecDeque::new(),
                cancelled,
                yields,
                forgotten: false,
            }),
            // The channel is empty: there is room; and if nobody listens, nobody minds.
            Err(error) => drop(pieces.try_send(Err(error))),
        }
    }

    fn prepare(&self, request: &GenerateRequest) -> Result<Prepared, EngineError> {
        let (wanted, thinking) = (request.sampling.max_tokens, request.sampling.thinking);
        let room = self.context - wanted.min(self.context / 4);
        let shown =
            fit(&request.messages, room, |shown| self.encode(shown, thinking)).map_err(|unfit| match unfit {
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
            tracing::info!(
                dropped = shown.dropped,
                of = request.messages.len(),
                "the conversation has outgrown the context; its oldest messages are left out"
            );
        }
        let limit = wanted.min(self.context - shown.prompt.len()).max(1);
        Ok(Prepared { prompt: shown.prompt, limit, dropped: shown.dropped })
    }

    /// One pass through the network for all that run, and what follows from it.
    pub fn step(&mut self) {
        let somebody_waits = self.running.iter().any(|sequence| sequence.is_running() && !sequence.yields);
        let has_turn = |sequence: &Sequence| sequence.is_running() && !(somebody_waits && sequence.yields);
        let unread: Vec<usize> =
            self.running.iter().map(|sequence| if has_turn(sequence) { sequence.unread() } else { 0 }).collect();
        let others_wait = unread.iter().filter(|&&unread| unread > 0).count() > 1;
        let shares = shares(&unread, self.pace.share(others_wait));
        let started = self.reader.now();
        let read = self.read_all(&shares);
        self.pace.learn(shares.iter().sum(), self.reader.now().saturating_duration_since(started));
        for (sequence, outcome) in self.running.iter_mut().zip(read) {
            let step = match outcome {
                Ok(Some(logits)) => guarded(|| sequence.advance(logits, &self.tokens)),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match step {
                Ok(false) => {}
                Ok(true) => {
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
        let busy = self.running.iter().filter_map(|sequence| sequence.cache.as_ref());
        self.store.make_room(busy.map(KvCache::bytes).sum());
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

/// What a request needs to run.
struct Prepared {
    prompt: Vec<u32>,
    /// Tokens that may be generated.
    limit: usize,
    /// Messages that were left out.
    dropped: usize,
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
    EngineError::Failed { engine: ENGINE, reason }.or_out_of_memory(ENGINE, "its device")
}
