//! The language model: messages in, a stream of text out.
//!
//! The contract is stateless: each request carries the whole conversation as it now stands. The engine keeps the key-value
//! cache of each conversation and prefills only what comes after the longest prefix of tokens that the cache already holds, so
//! a new turn costs its new words, and a reply that was cut to what was heard costs the difference.

pub mod gguf;

use tokio::sync::mpsc;

use crate::cancel::{CancelOnDrop, Cancelled};
use crate::error::EngineError;
use crate::queue::QueueDepth;

/// How many pieces of text may wait for the call. When full the engine's sequence waits, the others go on.
pub const PIECES_BOUND: usize = 256;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    System,
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub speaker: Speaker,
    pub text: String,
}

/// One reply to make.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// Whose key-value cache to use. Any text; a new one starts an empty cache.
    pub conversation: String,
    /// Oldest first: system prompt, then the turns, the last from the user.
    pub messages: Vec<Message>,
    pub sampling: Sampling,
}

/// Stop strings a request may have.
pub const STOP_STRINGS_BOUND: usize = 16;
/// Bytes a stop string may have: as much text may be held back while it is not known whether one has begun.
pub const STOP_STRING_BYTES_BOUND: usize = 256;

/// How tokens are chosen and when to stop. [`Sampling::default`] leaves the model's own distribution as it is.
///
/// What is out of range is brought into it; only stop strings beyond their bounds, or empty, are a
/// [`EngineError::BadRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0.0 is greedy.
    pub temperature: f64,
    /// The smallest set of tokens, best first, that holds this share of the probability.
    pub top_p: Option<f64>,
    /// That many of the best tokens; `None` and 0 are all.
    pub top_k: Option<usize>,
    /// Tokens at least this share as probable as the best.
    pub min_p: Option<f64>,
    /// Divides the scores of tokens among the latest 64, prompt included. 1.0 is none.
    pub repeat_penalty: f32,
    /// Taken off a token's score for each time that the reply has it, as OpenAI's API defines it. -2.0 to 2.0, 0.0 is none.
    pub frequency_penalty: f32,
    /// Taken off a token's score if the reply has it, as OpenAI's API defines it. -2.0 to 2.0, 0.0 is none.
    pub presence_penalty: f32,
    pub max_tokens: usize,
    pub seed: u64,
    /// Texts that end the reply where the first of them begins. Neither it nor a part of it is let out. At most
    /// [`STOP_STRINGS_BOUND`] of [`STOP_STRING_BYTES_BOUND`].
    pub stop: Vec<String>,
    /// Whether a model that can think aloud may: its thoughts then come as text, between `<think>` and `</think>`. Without, it is
    /// told not to where its template can, and what it thinks all the same is kept back.
    pub thinking: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: None,
            top_k: None,
            min_p: None,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            max_tokens: 256,
            seed: 0,
            stop: Vec::new(),
            thinking: false,
        }
    }
}

/// What a generation yields, in order; `Done` is last.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Whole characters, in the order they are to be read.
    Text(String),
    Done {
        reason: StopReason,
        usage: TokenUsage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended its message.
    EndOfTurn,
    /// `max_tokens`, or the end of the context.
    Length,
    /// One of [`Sampling::stop`].
    StopString,
    /// The engine failed after it had begun: what has come is all there will be.
    BrokenOff,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub prompt_tokens: u32,
    /// Of the prompt, how many were in the cache.
    pub cached_tokens: u32,
    pub generated_tokens: u32,
    /// How many of the oldest messages were left out because the conversation has outgrown the context. System prompts stay.
    pub dropped_messages: u32,
}

/// The language model as calls use it: shared, queued, cancellable.
pub trait LanguageModel: Send + Sync {
    /// Engine and model, as `doctor` and the history show it.
    fn name(&self) -> String;
    /// Queues the request; [`EngineError::Overloaded`] at once if the queue is full.
    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError>;
    /// The same for somebody who can wait: while any reply asked for by [`Self::generate`] is being written, this one stands
    /// still. An engine that cannot tell them apart treats them alike.
    fn generate_when_idle(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        self.generate(request)
    }
    /// The conversation is over: its cache may go.
    fn forget(&self, conversation: &str);
    /// How much it has to do; `None` if it has no queue here, as an engine on another server.
    fn queue(&self) -> Option<QueueDepth> {
        None
    }
}

/// A reply in the making; dropping it cancels.
pub struct Generation {
    pieces: mpsc::Receiver<Result<Piece, EngineError>>,
    #[expect(dead_code, reason = "held for its drop")]
    cancel: CancelOnDrop,
}

impl Generation {
    /// The handle, and what the engine's side needs.
    pub fn new() -> (Self, mpsc::Sender<Result<Piece, EngineError>>, Cancelled) {
        let (tx, pieces) = mpsc::channel(PIECES_BOUND);
        let cancel = CancelOnDrop::default();
        let cancelled = cancel.watch();
        (Self { pieces, cancel }, tx, cancelled)
    }

    /// The next piece; `None` after `Done`, after an error, or when the engine has stopped.
    pub async fn next(&mut self) -> Option<Result<Piece, EngineError>> {
        self.pieces.recv().await
    }
}
